package runtimeapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sitoo-rule/local/runtimeapi"
)

// programs is the folder the two test programs are built into.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "runtimeapi-test-*"); err != nil {
		panic(err)
	}
	for _, name := range []string{"lambda", "rogue"} {
		build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(programs, name, "bootstrap"), "./testdata/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("build %s: %v\n%s", name, err, out))
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(programs)
		os.Exit(code)
	}))
}

func start(t *testing.T, program string, o runtimeapi.Options) *runtimeapi.Process {
	t.Helper()
	o.Path = filepath.Join(programs, program, "bootstrap")
	p, err := runtimeapi.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

type reply struct {
	Text      string   `json:"text"`
	RequestID string   `json:"requestid"`
	ARN       string   `json:"arn"`
	Deadline  bool     `json:"deadline"`
	Env       []string `json:"env"`
	Count     int      `json:"count"`
}

func invoke(t *testing.T, p *runtimeapi.Process, payload string) (reply, runtimeapi.Result) {
	t.Helper()
	res, err := p.Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatalf("invoke %s: %v", payload, err)
	}
	var r reply
	if res.Err == nil {
		if err := json.Unmarshal(res.Payload, &r); err != nil {
			t.Fatalf("reply %s: %v", res.Payload, err)
		}
	}
	return r, res
}

func TestManyInvocationsOfOneProcess(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{Name: "ContactFind"})
	if p.StartTime() <= 0 || p.StartTime() > 10*time.Second {
		t.Errorf("start time %v, want a positive one within the limit", p.StartTime())
	}
	for i := range 200 {
		got, res := invoke(t, p, fmt.Sprintf(`{"text":"t%d"}`, i))
		want := reply{
			Text:      fmt.Sprintf("t%d", i),
			RequestID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1),
			ARN:       "arn:aws:lambda:eu-north-1:000000000000:function:ContactFind",
			Deadline:  true,
			Count:     i + 1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("invocation %d (-want +got):\n%s", i, diff)
		}
		if res.Duration <= 0 {
			t.Errorf("invocation %d lasted %v, want more than nothing", i, res.Duration)
		}
	}
}

func TestInvocationsAreServedOneAtATime(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{})
	var wg sync.WaitGroup
	counts := make(chan int, 20)
	for range cap(counts) {
		wg.Go(func() {
			res, err := p.Invoke(t.Context(), []byte(`{"do":"print","text":"x"}`))
			var r reply
			if err != nil || json.Unmarshal(res.Payload, &r) != nil {
				t.Errorf("invoke: %v, %s", err, res.Payload)
			}
			if len(res.Log) != 3 {
				t.Errorf("log %q, want the three lines of this invocation alone", res.Log)
			}
			counts <- r.Count
		})
	}
	wg.Wait()
	close(counts)
	var got []int
	for c := range counts {
		got = append(got, c)
	}
	slices.Sort(got)
	for i, c := range got {
		if c != i+1 {
			t.Fatalf("the function counted %v, want 1 to %d once each", got, cap(counts))
		}
	}
}

func TestLogBelongsToItsInvocation(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{Env: []string{"SAY_AT_START=good morning"}})
	if diff := cmp.Diff([]string{"good morning"}, p.InitLog()); diff != "" {
		t.Errorf("init log (-want +got):\n%s", diff)
	}
	for _, text := range []string{"one", "two"} {
		_, res := invoke(t, p, `{"do":"print","text":"`+text+`"}`)
		if diff := cmp.Diff([]string{"out " + text, "err " + text, "no newline"}, res.Log); diff != "" {
			t.Errorf("log of %s (-want +got):\n%s", text, diff)
		}
	}
	if _, res := invoke(t, p, `{}`); len(res.Log) != 0 {
		t.Errorf("log of a silent invocation: %q", res.Log)
	}
}

func TestFunctionErrorsLeaveTheProcessAlive(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{})
	tests := []struct{ payload, kind, message string }{
		{`{"do":"fail","text":"no such thing"}`, "errorString", "no such thing"},
		{`{"do":1}`, "UnmarshalTypeError", "json: cannot unmarshal"},
		{`{"do":"large"}`, "Function.ResponseSizeTooLarge", "limit"},
		{`{"do":"torn"}`, "errorString", "the rest is gone"},
	}
	for _, tt := range tests {
		_, res := invoke(t, p, tt.payload)
		if res.Err == nil || res.Err.Type != tt.kind || !strings.Contains(res.Err.Message, tt.message) {
			t.Errorf("%s: got %v, want %s: %s", tt.payload, res.Err, tt.kind, tt.message)
		}
		if res.Payload != nil {
			t.Errorf("%s: a payload beside the error: %.40s", tt.payload, res.Payload)
		}
		if tt.kind == "Function.ResponseSizeTooLarge" {
			// aws-lambda-go ends the process when a reply is refused.
			p = start(t, "lambda", runtimeapi.Options{})
		}
	}
	if got, _ := invoke(t, p, `{"text":"alive"}`); got.Text != "alive" {
		t.Errorf("after the errors: %+v", got)
	}
}

func TestPanicIsReportedAndEndsTheProcess(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{})
	_, res := invoke(t, p, `{"do":"panic","text":"oh no"}`)
	if res.Err == nil || res.Err.Type != "string" || res.Err.Message != "oh no" || len(res.Err.Stack) == 0 {
		t.Errorf("got %+v, want the panic with its stack", res.Err)
	}
	if _, err := p.Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, runtimeapi.ErrExited) {
		t.Errorf("the next invocation: %v, want ErrExited", err)
	}
}

func TestExitIsReported(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{})
	res, err := p.Invoke(t.Context(), []byte(`{"do":"exit"}`))
	if !errors.Is(err, runtimeapi.ErrExited) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want ErrExited with status 3", err)
	}
	if diff := cmp.Diff([]string{"leaving"}, res.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestTimeoutKills(t *testing.T) {
	t.Parallel()
	tests := []struct {
		program, mode, payload string
		log                    []string
	}{
		{"lambda", "", `{"do":"hang"}`, []string{"hanging"}},
		{"rogue", "stuck-after-reply", `{}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			t.Parallel()
			p := start(t, tt.program, runtimeapi.Options{Timeout: 300 * time.Millisecond, Env: []string{"MODE=" + tt.mode}})
			res, err := p.Invoke(t.Context(), []byte(tt.payload))
			if !errors.Is(err, runtimeapi.ErrTimeout) {
				t.Errorf("got %v, want ErrTimeout", err)
			}
			if diff := cmp.Diff(tt.log, res.Log); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
			if _, err := p.Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, runtimeapi.ErrExited) {
				t.Errorf("the next invocation: %v, want ErrExited", err)
			}
		})
	}
}

func TestCancelAndCloseEndAnInvocation(t *testing.T) {
	t.Parallel()
	p := start(t, "lambda", runtimeapi.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Invoke(ctx, []byte(`{"do":"hang"}`)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}

	p = start(t, "lambda", runtimeapi.Options{})
	ended := make(chan error)
	go func() {
		_, err := p.Invoke(t.Context(), []byte(`{"do":"hang"}`))
		ended <- err
	}()
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-ended; !errors.Is(err, runtimeapi.ErrClosed) && !errors.Is(err, runtimeapi.ErrExited) {
		t.Errorf("the invocation under way: %v, want ErrClosed or ErrExited", err)
	}
	if _, err := p.Invoke(t.Context(), []byte(`{}`)); !errors.Is(err, runtimeapi.ErrClosed) {
		t.Errorf("after close: %v, want ErrClosed", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestFailedStarts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode string
		want error
		text string
	}{
		{"init-error", nil, "Config.Missing: RULE_URL is not set"},
		{"init-exit", runtimeapi.ErrExited, "exit status 2; it printed:\nconfig: RULE_URL is not set"},
		{"init-hang", runtimeapi.ErrTimeout, "no poll within"},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			p, err := runtimeapi.Start(t.Context(), runtimeapi.Options{
				Path:        filepath.Join(programs, "rogue", "bootstrap"),
				Env:         []string{"MODE=" + tt.mode},
				InitTimeout: 500 * time.Millisecond,
			})
			if err == nil {
				_ = p.Close()
				t.Fatal("started")
			}
			if _, is := errors.AsType[*runtimeapi.FunctionError](err); is != (tt.want == nil) {
				t.Errorf("got %v, function error %v", err, is)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %q, want it to contain %q", err, tt.text)
			}
		})
	}
	if _, err := runtimeapi.Start(t.Context(), runtimeapi.Options{Path: filepath.Join(programs, "nothing", "bootstrap")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v, want os.ErrNotExist", err)
	}
}

func TestRogueRuntimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode  string
		reply string
		err   string
		log   []string
	}{
		{mode: "no-reply", err: "Runtime.NoReply"},
		{mode: "text-error", err: "Runtime.UnknownError"},
		{mode: "odd-replies", reply: `"first"`, log: []string{"wrong id 400", "first 202", "second 400", "error 400", "path 404"}},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			p := start(t, "rogue", runtimeapi.Options{Env: []string{"MODE=" + tt.mode}})
			res, err := p.Invoke(t.Context(), []byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			kind := ""
			if res.Err != nil {
				kind = res.Err.Type
			}
			if string(res.Payload) != tt.reply || kind != tt.err {
				t.Errorf("got %q, %v; want %q, %q", res.Payload, res.Err, tt.reply, tt.err)
			}
			if diff := cmp.Diff(tt.log, res.Log); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
			if tt.mode == "no-reply" {
				if res, err := p.Invoke(t.Context(), []byte(`{}`)); err != nil || string(res.Payload) != `"second"` {
					t.Errorf("the next invocation: %q, %v", res.Payload, err)
				}
			}
		})
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "leaked")
	p := start(t, "lambda", runtimeapi.Options{Name: "OrderWorker", Env: []string{"RULE_URL=http://rule", "AWS_REGION=eu-west-1", "AWS_LAMBDA_RUNTIME_API=elsewhere"}})
	got, _ := invoke(t, p, `{"do":"env"}`)
	env := map[string]string{}
	for _, kv := range got.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	for k, want := range map[string]string{
		"RULE_URL":                 "http://rule",
		"AWS_REGION":               "eu-west-1",
		"AWS_LAMBDA_FUNCTION_NAME": "OrderWorker",
		"_HANDLER":                 "bootstrap",
	} {
		if env[k] != want {
			t.Errorf("%s = %q, want %q", k, env[k], want)
		}
	}
	for _, k := range []string{"SECRET_OF_THE_HOST", "PATH", "HOME"} {
		if v, has := env[k]; has {
			t.Errorf("%s = %q reached the function", k, v)
		}
	}
}
