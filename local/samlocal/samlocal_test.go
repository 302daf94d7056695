// In package samlocal: what it hides is what the SAM CLI is not to see.
package samlocal

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

// routesOf lists the methods of each path.
func routesOf(t *testing.T, text []byte) map[string][]string {
	t.Helper()
	var doc struct {
		Resources map[string]map[string]any `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	each(doc.Resources, func(_ string, _, properties map[string]any) {
		routes(properties, func(_ map[string]any, _, path, method string) { all[path] = append(all[path], method) })
	})
	for _, methods := range all {
		slices.Sort(methods)
	}
	return all
}

// Of the template that is deployed every route with a method of its own is kept,
// and so is ANY where a path has nothing else; no path has both.
func TestDerivedRoutes(t *testing.T) {
	t.Parallel()
	// The SAM CLI writes the same without CloudFormation's short forms.
	text, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	declared, err := template.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := Derive(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, r := range declared.Routes {
		want[r.Path] = append(want[r.Path], strings.ToLower(r.Method))
	}
	any := 0
	for path, methods := range want {
		if len(methods) > 1 {
			methods = slices.DeleteFunc(methods, func(m string) bool { return m == "any" })
		}
		slices.Sort(methods)
		want[path] = methods
		if slices.Contains(methods, "any") {
			any++
		}
	}
	if diff := cmp.Diff(want, routesOf(t, derived)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if any == 0 || want["/sitoo/{proxy+}"] == nil {
		t.Error("no path is left to unknown-route")
	}
}

// A function has what it is given in the place of what it declares, with the rest
// as it is; other functions and resources stay.
func TestDerivedEnvironment(t *testing.T) {
	t.Parallel()
	derived, err := Derive([]byte(`
AWSTemplateFormatVersion: "2010-09-09"
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 9
      Environment: {Variables: {QUEUE: {Ref: Queue}, COUNTRY: SE}}
  Bare:
    Type: AWS::Serverless::Function
    Properties: {}
  Other:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {QUEUE: {Ref: Queue}}}
  Queue: {Type: AWS::SQS::Queue}
`), map[string][]string{"Worker": {"QUEUE=http://a/b?c=d", "AWS_ENDPOINT_URL=http://e"}, "Bare": {"X=1", "X=2"}})
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(derived, &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(`{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Resources": {
			"Worker": {"Type": "AWS::Serverless::Function", "Properties": {"Timeout": 9, "Environment": {"Variables":
				{"QUEUE": "http://a/b?c=d", "COUNTRY": "SE", "AWS_ENDPOINT_URL": "http://e"}}}},
			"Bare": {"Type": "AWS::Serverless::Function", "Properties": {"Environment": {"Variables": {"X": "2"}}}},
			"Other": {"Type": "AWS::Serverless::Function", "Properties": {"Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}}}},
			"Queue": {"Type": "AWS::SQS::Queue"}
		}}`), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("derived (-want +got):\n%s", diff)
	}
	if _, err := Derive([]byte("- a list"), nil); err == nil {
		t.Error("a template that is none is taken")
	}
}

// Docker says its bridge's address, or the network whose first one it is. Where
// Docker runs in a machine of its own, that address is not one of this one's.
func TestBridge(t *testing.T) {
	t.Parallel()
	local := []net.Addr{
		&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)},
		&net.IPNet{IP: net.IPv4(172, 17, 0, 1), Mask: net.CIDRMask(16, 32)},
		&net.IPNet{IP: net.ParseIP("fd00::1"), Mask: net.CIDRMask(64, 128)},
	}
	for networks, want := range map[string]string{
		"172.17.0.1 172.17.0.0/16\n":          "172.17.0.1",
		" 172.17.0.0/16\n":                    "172.17.0.1",
		"fd00::1 fd00::/64\n 172.17.0.0/16\n": "172.17.0.1",
		"192.168.65.1 192.168.65.0/24\n":      "invalid IP",
		"":                                    "invalid IP",
		"<no value> <no value>\n":             "invalid IP",
	} {
		if got := bridge(networks, local).String(); got != want {
			t.Errorf("%q: %s, want %s", networks, got, want)
		}
	}
}

// Containers are given another address for what listens on this machine alone, and
// the same one for everything else.
func TestDoorOfAnotherMachine(t *testing.T) {
	t.Parallel()
	d := &Door{}
	got, err := d.OpenAll([]string{"A=http://127.0.0.1:3002/v2?x=1", "B=http://localhost:80", "C=https://app.rule.io/api", "D=orders", "E=", "F=http://example.com:81/"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=http://host.docker.internal:3002/v2?x=1", "B=http://host.docker.internal:80", "C=https://app.rule.io/api", "D=orders", "E=", "F=http://example.com:81/"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// The SAM CLI gets neither a developer's credentials nor what would replace a
// function's variable.
func TestEnviron(t *testing.T) {
	t.Parallel()
	got := environ([]string{
		"PATH=/bin", "AWS_PROFILE=shop", "AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=real", "AWS_SESSION_TOKEN=t",
		"RULE_URL=https://app.rule.io/api", "DOCKER_HOST=unix:///x", "AWS_ENDPOINT_URL=http://127.0.0.1:5",
	}, map[string][]string{"A": {"RULE_URL=http://127.0.0.1:6"}})
	for _, want := range []string{"PATH=/bin", "DOCKER_HOST=unix:///x", "AWS_ACCESS_KEY_ID=local", "AWS_ENDPOINT_URL_STS=http://127.0.0.1:5"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not there", want)
		}
	}
	for _, kv := range got {
		for _, never := range []string{"AWS_PROFILE=", "AWS_SESSION_TOKEN=", "RULE_URL=", "AWS_ENDPOINT_URL=", "AKIA", "real"} {
			if strings.Contains(kv, never) {
				t.Errorf("it gets %s", kv)
			}
		}
	}
}

// A function that died is told from one that reports an error, and from one that
// answers.
func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reply string
		fault string // the error that the function reports
		died  bool
	}{
		{reply: `{"statusCode":200}`},
		{reply: `null`},
		{reply: `{"errorType":"errorString","errorMessage":"no"}`, fault: "errorString"},
		{reply: "\n", died: true},
		{reply: `{"errorType":"Runtime.ExitError","errorMessage":"exit status 1"}`, died: true},
	}
	for _, tt := range tests {
		res, err := judge(runtimeapi.Result{}, []byte(tt.reply))
		if (err != nil) != tt.died {
			t.Errorf("%q: error %v", tt.reply, err)
		}
		if !tt.died && (res.Err != nil) != (tt.fault != "") {
			t.Errorf("%q: the function's error is %v", tt.reply, res.Err)
		}
		if tt.fault == "" && !tt.died && string(res.Payload) != tt.reply {
			t.Errorf("%q: reply %q", tt.reply, res.Payload)
		}
	}
}

// What functions print is shown, and the SAM CLI's own lines are not.
func TestChatter(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		`{"level":"INFO","message":"done"}`:                                  false,
		"panic: runtime error":                                               false,
		"Function 'OrderWorker' timed out after 9 seconds":                   false,
		"START RequestId: 1 Version: $LATEST":                                true,
		"2026-11-29 12:00:00 127.0.0.1 - - [] \"GET /sitoo HTTP/1.1\" 200 -": true,
		"2026-11-29 12:00:00 127.0.0.1 - - [29/Nov/2026 12:00:00] \"\x1b[33mGET /sitoo?key=1 HTTP/1.1\x1b[0m\" 404 -": true,
		".....": true,
		"":      true,
	} {
		if got := chatter(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// Without Docker nothing is started, and the error says so.
func TestNoDocker(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	if _, err := NewDoor(t.Context()); !errors.Is(err, ErrNoDocker) || !strings.Contains(err.Error(), "no Docker answers here") {
		t.Errorf("error %v", err)
	}
}
