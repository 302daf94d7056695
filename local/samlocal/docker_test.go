package samlocal

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sitoo-rule/local/runtimeapi"
)

// sam returns the SAM CLI with `make test-sam-local`. Without Docker there is
// nothing to test here.
func sam() (program string, ok bool) {
	program = os.Getenv("SITOO_RULE_SAM")
	return program, program != ""
}

// A sample event is answered as its golden file says, by `make sam-invoke` alone:
// what came before it has been played. Only the one function is built.
func TestSamInvokeInDocker(t *testing.T) {
	if _, ok := sam(); !ok {
		return
	}
	t.Chdir("../..")
	for _, e := range []struct{ function, event string }{
		{"contact-find", "found-by-phone.json"},
		{"order-worker", "2-the-same-again.json"},
	} {
		path := filepath.Join("events", e.function, e.event)
		golden, err := os.ReadFile(filepath.Join("events", e.function, "golden", e.event))
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "make", "--no-print-directory", "sam-invoke", "FN="+e.function, "EVENT="+path)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		if want := "\nreply:\n" + runtimeapi.Readable(golden) + "\n"; !strings.Contains(string(out), want) {
			t.Errorf("%s answers\n%s\nwant in it\n%s", path, out, want)
		}
		built, err := filepath.Glob(".aws-sam/invoke/*/bootstrap")
		if err != nil || len(built) != 1 {
			t.Errorf("%s: built are %v", path, built)
		}
	}
}

// A function that dies, at its start or with an event, is an error, by sam local
// invoke and by its Lambda; it is started again for the next event. What a function
// reports itself is its answer. It reaches what listens on this machine alone, and
// nothing is left of it.
func TestFunctionInDocker(t *testing.T) {
	program, ok := sam()
	if !ok {
		return
	}
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from here") }))
	defer here.Close()
	build := t.TempDir()
	compile := exec.CommandContext(t.Context(), "go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(build, "Echo", "bootstrap"), "../smoke/testdata/echo")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := `Transform: AWS::Serverless-2016-10-31
Parameters: {Architecture: {Type: String}}
Globals: {Function: {Runtime: provided.al2023, Handler: bootstrap, CodeUri: Echo, Timeout: 20, Architectures: [!Ref Architecture]}}
Resources:
  Echo: {Type: AWS::Serverless::Function}
  Broken: {Type: AWS::Serverless::Function}
`
	text = strings.ReplaceAll(text, "!Ref Architecture", "{Ref: Architecture}")
	if err := os.WriteFile(filepath.Join(build, "template.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	door, err := NewDoor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	l, err := New(t.Context(), door, Options{Program: program, Build: build, Env: map[string][]string{
		"Echo": {"GREETING=hello", "FETCH=" + here.URL}, "Broken": {"FAIL_AT_START=1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := l.Start(t.Context(), Lambda)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ id, event, reply, fault, err string }{
		{id: "Echo", event: `{"text":"a"}`, reply: `\"text\":\"a\"`},
		{id: "Echo", event: `{"do":"fetch"}`, reply: `from here`},
		{id: "Echo", event: `{"do":"fail","text":"no"}`, fault: "no"},
		{id: "Echo", event: `{"do":"exit"}`, err: "died"},
		{id: "Echo", event: `{"text":"b"}`, reply: `\"text\":\"b\"`},
		{id: "Broken", event: `{}`, err: "died"},
	} {
		res, err := s.Invoke(t.Context(), tt.id, []byte(tt.event))
		check(t, "start-lambda: "+tt.id+" "+tt.event, res, err, tt.reply, tt.fault, tt.err)
		if strings.Contains(tt.event, "do") && tt.err == "" {
			continue // `sam local invoke` takes seconds
		}
		res, err = l.Invoke(t.Context(), tt.id, []byte(tt.event))
		check(t, "invoke: "+tt.id+" "+tt.event, res, err, tt.reply, tt.fault, tt.err)
	}
	s.Close()
	for _, id := range s.started() {
		if exec.CommandContext(t.Context(), "docker", "inspect", id).Run() == nil {
			t.Errorf("container %s is still there", id)
		}
	}
	if len(s.started()) == 0 {
		t.Error("no container was seen")
	}
}

func check(t *testing.T, what string, res runtimeapi.Result, err error, reply, fault, says string) {
	t.Helper()
	if says != "" {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one with %q (reply %s)", what, err, says, res.Payload)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if got := fmt.Sprint(res.Err); fault != "" && !strings.Contains(got, fault) {
		t.Errorf("%s: the function's error is %s, want %s", what, got, fault)
	}
	if !strings.Contains(string(res.Payload), reply) {
		t.Errorf("%s: reply %s, want %s in it", what, res.Payload, reply)
	}
}
