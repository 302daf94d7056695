package rule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/rule"
)

var update = flag.Bool("update", false, "write testdata/requests from what is sent now")

// Each call's request, as it stands in testdata/requests: method and URL,
// headers, body. Those files follow Rule's contract.
func TestRequests(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "requests")
	var names []string
	for _, call := range calls {
		name := strings.ReplaceAll(call.name, " ", "-") + ".txt"
		names = append(names, name)
		t.Run(call.name, func(t *testing.T) {
			t.Parallel()
			s, w := session(answered(400, ""))
			if err := call.do(t.Context(), s); err == nil {
				t.Fatal("a 400 is no error")
			}
			if w.count() != 1 {
				t.Fatalf("%d requests, want 1", w.count())
			}
			got := dump(t, w.requests[0])
			file := filepath.Join(dir, name)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("request differs from %s (-want +got):\n%s", name, diff)
			}
		})
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("%s belongs to no call", f.Name())
		}
	}
}

func dump(t *testing.T, r sent) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(r.Header[name], " | "))
	}
	if r.body == "" {
		if r.ContentLength != 0 {
			t.Errorf("content length %d without a body", r.ContentLength)
		}
		return b.String()
	}
	if r.ContentLength != int64(len(r.body)) {
		t.Errorf("content length %d, want the body's %d", r.ContentLength, len(r.body))
	}
	var body bytes.Buffer
	if err := json.Indent(&body, []byte(r.body), "", "  "); err != nil {
		t.Fatalf("body is not JSON: %v: %s", err, r.body)
	}
	return b.String() + "\n" + body.String() + "\n"
}

// Where the base URL comes from.
func TestBaseURL(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"":                               "https://app.rule.io/api/v2/tags?limit=1",
		"https://rule.example.com/api":   "https://rule.example.com/api/v2/tags?limit=1",
		"https://rule.example.com/api//": "https://rule.example.com/api/v2/tags?limit=1",
		"http://127.0.0.1:3001":          "http://127.0.0.1:3001/v2/tags?limit=1",
	} {
		w := &wire{replies: []reply{answered(200, "{}")}}
		s := rule.New(rule.Config{URL: base, HTTP: &http.Client{Transport: w}}).Session(key, noon, nil)
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.requests[0].URL.String(); got != want {
			t.Errorf("with URL %q, a request goes to %s, want %s", base, got, want)
		}
	}
}

// Update sends what the change names, and nothing else.
func TestUpdateSendsWhatChanges(t *testing.T) {
	t.Parallel()
	email, none := "kund.tva@example.com", ""
	for name, tt := range map[string]struct {
		change rule.Change
		want   string
	}{
		"nothing":           {rule.Change{}, `{}`},
		"email":             {rule.Change{Email: &email}, `{"email":"kund.tva@example.com"}`},
		"no phone any more": {rule.Change{Phone: &none}, `{"phone_number":null}`},
		"no email any more": {rule.Change{Email: &none}, `{"email":null}`},
		"tags":              {rule.Change{Tags: []string{"Sitoo"}}, `{"tags":["Sitoo"]}`},
		"empty lists":       {rule.Change{Tags: []string{}, Fields: []rule.Field{}}, `{}`},
	} {
		s, w := session(answered(200, `{}`))
		if _, err := s.Update(t.Context(), 7, tt.change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := w.requests[0].body; got != tt.want {
			t.Errorf("%s: body %s, want %s", name, got, tt.want)
		}
	}
}
