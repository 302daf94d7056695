// In package main, as a command exports nothing to test from outside.
package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

const root = "../.."

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const find255934461 = `{"httpMethod":"GET","path":"/sitoo/contacts","resource":"/sitoo/contacts",
	"headers":{"Authorization":"Bearer demo-key"},"multiValueHeaders":{"Authorization":["Bearer demo-key"]},
	"queryStringParameters":{"key":"kund.ett@example.com"},"multiValueQueryStringParameters":{"key":["kund.ett@example.com"]},
	"requestContext":{"requestId":"r1"},"isBase64Encoded":false}`

func TestInProcess(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fn, event string
		says      []string
		status    int
	}{
		{"contact-find", find255934461, []string{"contact-find with", "in this process", `"statusCode": 200`, `"contactid": "255934461"`, "duration "}, 0},
		{"contact-lookup", strings.ReplaceAll(find255934461, "demo-key", "wrong-key"), []string{`"statusCode": 401`}, 0},
		{"order-worker", `{"Records":[{"messageId":"m1","body":"{}","receiptHandle":"r1","eventSource":"aws:sqs"}]}`, []string{"reply:", "batchItemFailures", "log:"}, 0},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		status := run(t.Context(), []string{"-C", root, "-fn", tt.fn, "-event", file(t, tt.event)}, func(string) string { return "" }, &out, &errs)
		if status != tt.status {
			t.Errorf("%s: status %d, want %d: %s", tt.fn, status, tt.status, errs.String())
		}
		for _, text := range tt.says {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: it does not say %q:\n%s", tt.fn, text, out.String())
			}
		}
	}
}

// An event of the wrong kind is refused, and nothing is invoked.
func TestWrongEvent(t *testing.T) {
	t.Parallel()
	batch := `{"Records":[{"messageId":"m1","body":"{}","receiptHandle":"r1","eventSource":"aws:sqs"}]}`
	tests := []struct{ fn, event, says string }{
		{"order-worker", `{}`, "has no Records"},
		{"order-worker", `{"Records":[]}`, "has no Records"},
		{"order-worker", find255934461, "has no Records"},
		{"contact-find", `{}`, "has no httpMethod"},
		{"unknown-route", batch, "has no httpMethod"},
		{"contact-find", `[]`, "not an event"},
		{"contact-find", `{"httpMethod":"GET"`, "not an event"},
		{"contact-find", ``, "not an event"},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		status := run(t.Context(), []string{"-C", root, "-fn", tt.fn, "-event", file(t, tt.event)}, func(string) string { return "" }, &out, &errs)
		if status != 1 || !strings.Contains(errs.String(), tt.says) || out.Len() > 0 {
			t.Errorf("%s with %s: status %d, %q, %q, want 1 with %q and no output", tt.fn, tt.event, status, errs.String(), out.String(), tt.says)
		}
	}
}

// Every sample event suits its function.
func TestSampleEvents(t *testing.T) {
	t.Parallel()
	tpl, err := template.Load(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tpl.Functions {
		names, err := filepath.Glob(filepath.Join(root, "events", f.Name, "*.json"))
		if err != nil || len(names) == 0 {
			t.Errorf("%s: no sample events (%v)", f.Name, err)
		}
		for _, name := range names {
			event, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := suits(tpl, f, event); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	event := file(t, `{}`)
	tests := []struct {
		args []string
		says string
	}{
		{nil, "Usage of invoke"},
		{[]string{"-fn", "contact-find"}, "Usage of invoke"},
		{[]string{"-nonsense"}, "flag provided but not defined"},
		{[]string{"-C", root, "-fn", "contact-find", "-event", "missing.json"}, "missing.json"},
		{[]string{"-C", root, "-fn", "contact-lose", "-event", event}, `no function "contact-lose", only`},
		{[]string{"-C", t.TempDir(), "-fn", "contact-find", "-event", event}, "template.yaml"},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		if status := run(t.Context(), tt.args, func(string) string { return "" }, &out, &errs); status != 2 || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("%q: status %d, %q, want 2 with %q", tt.args, status, errs.String(), tt.says)
		}
	}
}

type invokeFunc func() ([]byte, error)

func (f invokeFunc) Invoke(context.Context, string, []byte) ([]byte, error) { return f() }

func TestCall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		f       invokeFunc
		reply   string
		problem *runtimeapi.FunctionError
	}{
		{"a reply", func() ([]byte, error) { return []byte("1"), nil }, "1", nil},
		{"an error", func() ([]byte, error) { return nil, errors.New("no") }, "", &runtimeapi.FunctionError{Type: "errorString", Message: "no"}},
		{"an error with a type", func() ([]byte, error) { return nil, messages.InvokeResponse_Error{Type: "Busy", Message: "later"} }, "", &runtimeapi.FunctionError{Type: "Busy", Message: "later"}},
		{"a panic", func() ([]byte, error) { panic("oh") }, "", &runtimeapi.FunctionError{Type: "panic of string", Message: "oh"}},
	}
	for _, tt := range tests {
		reply, problem := call(t.Context(), tt.f, "echo", nil)
		if diff := cmp.Diff(tt.problem, problem); diff != "" || string(reply) != tt.reply {
			t.Errorf("%s: %q, (-want +got):\n%s", tt.name, reply, diff)
		}
	}
}

// TestBuildAndStart builds the test function of smoke with the real flags.
func TestBuildAndStart(t *testing.T) {
	t.Parallel()
	bootstrap := filepath.Join(t.TempDir(), "bootstrap")
	if err := build(t.Context(), root, "./local/smoke/testdata/echo", bootstrap); err != nil {
		t.Fatal(err)
	}
	f := template.Function{ID: "Echo", Name: "echo"}
	tests := []struct {
		payload string
		status  int
		says    []string
	}{
		{`{"text":"hej"}`, 0, []string{"reply:", `"text": "hej"`, `{"msg":"handled","count":1}`, "duration ", "start to first poll "}},
		{`{"do":"fail","text":"no"}`, 1, []string{"errorString: no"}},
		{`{"do":"panic","text":"oh"}`, 1, []string{"string: oh", "main.go:"}},
		{`{"do":"exit"}`, 1, []string{"failed:", "exit status 4", `"handled"`}},
	}
	for _, tt := range tests {
		out, err := start(t.Context(), outcome{}, runtimeapi.Options{Path: bootstrap, Timeout: 10 * time.Second}, []byte(tt.payload))
		var text bytes.Buffer
		if status := show(&text, f, "event.json", out, err); status != tt.status {
			t.Errorf("%s: status %d, want %d", tt.payload, status, tt.status)
		}
		for _, want := range tt.says {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: it does not say %q:\n%s", tt.payload, want, text.String())
			}
		}
	}
	if err := build(t.Context(), root, "./local/smoke/testdata/missing", bootstrap); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("no such folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := build(ctx, root, "./local/smoke/testdata/echo", bootstrap); err == nil {
		t.Error("built after the end")
	}
}

// TestBuilt builds and invokes a real function against the emulator, when there
// is one.
func TestBuilt(t *testing.T) {
	t.Parallel()
	if _, ok := contract.Emulator(t); !ok {
		return
	}
	var out, errs bytes.Buffer
	getenv := func(name string) string {
		if name == "AWS_ENDPOINT_URL" {
			return os.Getenv(name)
		}
		return ""
	}
	status := run(t.Context(), []string{"-C", root, "-fn", "contact-find", "-event", file(t, find255934461)}, getenv, &out, &errs)
	if status != 0 {
		t.Errorf("status %d: %s", status, errs.String())
	}
	for _, text := range []string{"the built function, against http://", `"contactid": "255934461"`, "start to first poll", "log:"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("it does not say %q:\n%s", text, out.String())
		}
	}
}
