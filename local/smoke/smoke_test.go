// In package main, as a command exports nothing to test from outside.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/template"
)

// bootstrap is the built test function.
var bootstrap string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "smoke-test-*")
	if err != nil {
		panic(err)
	}
	bootstrap = filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", bootstrap, "./testdata/echo")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the test function: %v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// stage is a build folder and an events folder, made of files by path.
func stage(t *testing.T, built []string, files map[string]string) *smoke {
	t.Helper()
	root := t.TempDir()
	for _, id := range built {
		if err := os.MkdirAll(filepath.Join(root, "build", id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(bootstrap, filepath.Join(root, "build", id, "bootstrap")); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range files {
		path = filepath.Join(root, "events", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &smoke{
		build:  filepath.Join(root, "build"),
		events: filepath.Join(root, "events"),
		open: func(context.Context, template.Function) ([]string, func(), error) {
			return []string{"GREETING=hello"}, func() {}, nil
		},
		start:   native,
		measure: func(string) (int64, int64, error) { return 3 << 20, 1<<20 + 1<<19, nil },
	}
}

func functions(ids ...string) []template.Function {
	all := make([]template.Function, len(ids))
	for i, id := range ids {
		all[i] = template.Function{ID: id, Name: strings.ToLower(id), Timeout: 10 * time.Second}
	}
	return all
}

func play(t *testing.T, s *smoke, declared []template.Function, only string) (bool, string) {
	t.Helper()
	var out bytes.Buffer
	s.out = &out
	ok := s.run(t.Context(), declared, only)
	return ok, out.String()
}

const echoed = `{"body":"{\"count\":1,\"greeting\":\"hello\",\"text\":\"a\"}", "statusCode": 200}`

func TestRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		built    []string
		declared []string
		only     string
		files    map[string]string
		last     string   // the last line
		says     []string // found in the output
		silent   []string // not found in it
	}{
		{
			name: "all well", built: []string{"Echo"}, declared: []string{"Echo"},
			files:  map[string]string{"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": echoed},
			last:   "1 passed, 0 failed",
			says:   []string{"  ok    a", "start ", "bootstrap 3.0 MB, zipped 1.5 MB"},
			silent: []string{"FAIL"},
		},
		{
			name: "events go to one process in the order of their names", built: []string{"Echo"}, declared: []string{"Echo"},
			files: map[string]string{
				"echo/b.json": `{"text":"b"}`, "echo/golden/b.json": strings.NewReplacer(`\"a\"`, `\"b\"`, ":1", ":2").Replace(echoed),
				"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": echoed,
			},
			last: "2 passed, 0 failed",
		},
		{
			name: "a reply differs", built: []string{"Echo"}, declared: []string{"Echo"},
			files: map[string]string{"echo/a.json": `{"text":"b"}`, "echo/golden/a.json": echoed},
			last:  "0 passed, 1 failed",
			says:  []string{"FAIL  a: differs from", `-     "text": "a"`, `+     "text": "b"`, `      "count": 1`, `{"msg":"handled","count":1}`},
		},
		{
			name: "an event without golden", built: []string{"Echo"}, declared: []string{"Echo"},
			files: map[string]string{"echo/a.json": `{"text":"a"}`},
			last:  "0 passed, 1 failed", says: []string{"FAIL  a: no golden file"},
		},
		{
			name: "a golden without event", built: []string{"Echo"}, declared: []string{"Echo"},
			files: map[string]string{"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": echoed, "echo/golden/gone.json": echoed},
			last:  "1 passed, 1 failed", says: []string{"gone.json: a golden file without an event"},
		},
		{
			name: "no events", built: []string{"Echo"}, declared: []string{"Echo"},
			last: "0 passed, 1 failed", says: []string{"FAIL  echo: no event in"},
		},
		{
			name: "declared and not built", built: []string{"Echo"}, declared: []string{"Other"},
			last: "0 passed, 2 failed", says: []string{"the template declares Other", "Echo is built, and the template declares no such function"},
		},
		{name: "nothing at all", last: "0 passed, 2 failed", says: []string{"there is none to start"}},
		{
			name: "errors, panics and exits are the event's own", built: []string{"Echo"}, declared: []string{"Echo"},
			files: map[string]string{
				"echo/1.json": `{"do":"fail","text":"no"}`, "echo/golden/1.json": `{"errorType":"errorString","errorMessage":"no"}`,
				"echo/2.json": `{"do":"panic","text":"oh"}`, "echo/golden/2.json": `{}`,
				"echo/3.json": `{"do":"exit"}`, "echo/golden/3.json": `{}`,
				"echo/4.json": `{"text":"a"}`, "echo/golden/4.json": echoed,
			},
			last: "2 passed, 2 failed", says: []string{"FAIL  2: the function panicked at", "FAIL  3: ", "exit status 4", "  ok    4"},
		},
		{
			name: "only one", built: []string{"Echo", "Other"}, declared: []string{"Echo", "Other"}, only: "echo",
			files: map[string]string{"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": echoed},
			last:  "1 passed, 0 failed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := stage(t, tt.built, tt.files)
			ok, out := play(t, s, functions(tt.declared...), tt.only)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if got := lines[len(lines)-1]; got != tt.last {
				t.Errorf("last line %q, want %q", got, tt.last)
			}
			if ok != strings.HasSuffix(tt.last, " 0 failed") {
				t.Errorf("ok = %v beside %q", ok, tt.last)
			}
			for _, text := range tt.says {
				if !strings.Contains(out, text) {
					t.Errorf("it does not say %q", text)
				}
			}
			for _, text := range tt.silent {
				if strings.Contains(out, text) {
					t.Errorf("it says %q", text)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

func TestFailedStart(t *testing.T) {
	t.Parallel()
	files := map[string]string{"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": echoed}
	s := stage(t, []string{"Echo"}, files)
	s.open = func(context.Context, template.Function) ([]string, func(), error) {
		return []string{"FAIL_AT_START=1"}, func() {}, nil
	}
	if ok, out := play(t, s, functions("Echo"), ""); ok || !strings.Contains(out, "config: GREETING is not set") {
		t.Errorf("ok = %v:\n%s", ok, out)
	}
	s = stage(t, []string{"Echo"}, files)
	s.open = func(context.Context, template.Function) ([]string, func(), error) {
		return nil, nil, errors.New("no emulator")
	}
	if ok, out := play(t, s, functions("Echo"), ""); ok || !strings.Contains(out, "FAIL  echo: no emulator") {
		t.Errorf("ok = %v:\n%s", ok, out)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := stage(t, []string{"Echo"}, map[string]string{"echo/a.json": `{"text":"a"}`, "echo/golden/a.json": "old", "echo/b.json": `{"do":"fail","text":"no"}`})
	s.update = true
	if ok, out := play(t, s, functions("Echo"), ""); !ok {
		t.Fatalf("update failed:\n%s", out)
	}
	golden, err := os.ReadFile(filepath.Join(s.events, "echo", "golden", "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"body\": \"{\\\"count\\\":1,\\\"greeting\\\":\\\"hello\\\",\\\"text\\\":\\\"a\\\"}\",\n  \"statusCode\": 200\n}\n"
	if diff := cmp.Diff(want, string(golden)); diff != "" {
		t.Errorf("golden file (-want +got):\n%s", diff)
	}
	again := &smoke{build: s.build, events: s.events, open: s.open, start: s.start, measure: s.measure}
	if ok, out := play(t, again, functions("Echo"), ""); !ok {
		t.Errorf("after the update:\n%s", out)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("%d", i))
	}
	tests := []struct {
		name, want, got string
		diff            []string
	}{
		{"white space", `{"a": 1}`, "{\n\"a\":1}\n", nil},
		{"not JSON", "text", "text\n", nil},
		{"a number's spelling", `{"a":1.0}`, `{"a":1}`, []string{"  {", `-   "a": 1.0`, `+   "a": 1`, "  }"}},
		{"the order of members", `{"a":1,"b":2}`, `{"b":2,"a":1}`, []string{`- {"a":1,"b":2}`, `+ {"b":2,"a":1}`}},
		{"a body", `{"body":"{\"a\":1}"}`, `{"body":"{\"a\":2}"}`, []string{"  {", `    "body": {`, `-     "a": 1`, `+     "a": 2`, "    }", "  }"}},
		{"a reply that is none", `{"a":1}`, `oops`, []string{"- {", `-   "a": 1`, "- }", "+ oops"}},
		{"far away", "[" + strings.Join(many, ",") + "]", "[" + strings.Join(many[:19], ",") + ",99]", []string{"  ...", "    16,", "    17,", "    18,", "-   19", "+   99", "  ]"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.diff, compare([]byte(tt.want), []byte(tt.got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestSteady(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, time.June, 1, 12, 0, 0, 500_000_000, time.UTC)
	tests := []struct{ name, reply, want string }{
		{"a new id", `{"body":"{\"importid\":\"ABCDEFGHIJKLMNOPQRSTUVWXY7\"}"}`, `{"body":"{\"importid\":\"(new id)\"}"}`},
		{"an id of an event", `{"body":"{\"importid\":\"EXAMPLEDONE\"}"}`, `{"body":"{\"importid\":\"EXAMPLEDONE\"}"}`},
		{"not what makes ids", `{"body":"{\"importid\":\"ABCDEFGHIJKLMNOPQRSTUVWXY1\"}"}`, `{"body":"{\"importid\":\"ABCDEFGHIJKLMNOPQRSTUVWXY1\"}"}`},
		{"another member", `{"body":"{\"file\":\"ABCDEFGHIJKLMNOPQRSTUVWXY7\"}"}`, `{"body":"{\"file\":\"ABCDEFGHIJKLMNOPQRSTUVWXY7\"}"}`},
		{"before", `2026-06-01T11:59:59Z`, `2026-06-01T11:59:59Z`},
		{"the first second", `on 2026-06-01T12:00:00Z.`, `on (during this run).`},
		{"the last second", `[2026-06-01T12:00:09Z,2026-06-01T12:00:10Z]`, `[(during this run),2026-06-01T12:00:10Z]`},
		{"parts of a second", `2026-06-01T12:00:09.499999999Z, 2026-06-01T12:00:09.500000001Z`, `(during this run), 2026-06-01T12:00:09.500000001Z`},
		{"Swedish time", `on 2026-06-01 14:00, not 2026-06-01 12:00 or 2026-06-01 14:01`, `on (during this run), not 2026-06-01 12:00 or 2026-06-01 14:01`},
		{"a test customer", `as sitoo-rule-setup-check-20260302t150405z-k7ab2@example.com.`, `as sitoo-rule-setup-check-(new id)@example.com.`},
		{"a customer", `sitoo-rule@example.com`, `sitoo-rule@example.com`},
		{"no time", `2026-13-01T12:00:00Z`, `2026-13-01T12:00:00Z`},
	}
	for _, tt := range tests {
		if got := string(steady([]byte(tt.reply), begun, begun.Add(9*time.Second))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bootstrap")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 100_000), 0o755); err != nil {
		t.Fatal(err)
	}
	plain, zipped, err := sizes(path)
	if err != nil || plain != 100_000 || zipped <= 0 || zipped > 1000 {
		t.Errorf("sizes = %d, %d, %v, want 100000 and next to nothing", plain, zipped, err)
	}
	if _, _, err := sizes(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	nothing := func(string) string { return "" }
	good := filepath.Join("..", "..", "template.yaml")
	tests := []struct {
		args []string
		says string
	}{
		{[]string{"-nonsense"}, "flag provided but not defined"},
		{[]string{"extra"}, "Usage of smoke"},
		{[]string{"-template", "missing.yaml"}, "missing.yaml"},
		{[]string{"-template", good}, "AWS_ENDPOINT_URL is not set"},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		if status := run(t.Context(), tt.args, nothing, &out, &errs); status != 2 || !strings.Contains(errs.String(), tt.says) {
			t.Errorf("%q: status %d, %q, want 2 with %q", tt.args, status, errs.String(), tt.says)
		}
	}
}
