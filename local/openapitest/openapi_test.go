// Package openapitest_test holds docs/openapi.yaml against what it describes: the
// routes of template.yaml, what API Gateway answers by itself, the golden answers
// of the sample events, and what the whole product answers while a day at the
// till is played.
package openapitest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/template"
)

// root is the top of the repository, seen from this package.
const root = "../.."

// document is docs/openapi.yaml, read and found valid, its examples included.
func document(t *testing.T) *openapi3.T {
	t.Helper()
	d, err := openapi3.NewLoader().LoadFromFile(filepath.Join(root, "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation(), openapi3.EnableSchemaPatternValidation()); err != nil {
		t.Fatal(err)
	}
	return d
}

func declared(t *testing.T) *template.Template {
	t.Helper()
	d, err := template.Load(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// operations are the operations of the document by method and path.
func operations(d *openapi3.T) map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for path, item := range d.Paths.Map() {
		for method, op := range item.Operations() {
			all[method+" "+path] = op
		}
	}
	return all
}

// Every route is described, with the function that serves it, and nothing else is.
// A route for every other method is there to answer "no such address".
func TestDocumentHasTheTemplatesRoutes(t *testing.T) {
	t.Parallel()
	d, want, got := declared(t), map[string]string{}, map[string]string{}
	for _, r := range d.Routes {
		f, ok := d.Function(r.Function)
		if !ok {
			t.Fatalf("%s %s is served by %s, which is not declared", r.Method, r.Path, r.Function)
		}
		if r.Method != "ANY" {
			want[r.Method+" "+r.Path] = f.Name
		}
	}
	for name, op := range operations(document(t)) {
		got[name], _ = op.Extensions["x-function"].(string)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes and their functions (-template +document):\n%s", diff)
	}
}

// Whatever API Gateway answers by itself can come of every operation, in the form
// of every other error.
func TestDocumentHasTheGatewaysAnswers(t *testing.T) {
	t.Parallel()
	d, all := declared(t), operations(document(t))
	for kind, r := range d.GatewayResponses {
		if r.Status == 0 {
			continue // the fault's own
		}
		for name := range all {
			if err := answered(all, name, r.Status, []byte(r.Body)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	// The fallbacks are answers, too.
	for name := range all {
		if err := answered(all, name, http.StatusBadRequest, []byte(d.GatewayResponses["DEFAULT_4XX"].Body)); err != nil {
			t.Errorf("DEFAULT_4XX: %v", err)
		}
	}
}

// own are the statuses that functions answer: see the table in package spi.
var own = []int{200, 202, 400, 401, 404, 409, 413, 503}

// No operation has a status that neither its function nor API Gateway answers.
func TestDocumentHasNoOtherStatus(t *testing.T) {
	t.Parallel()
	possible := map[string]bool{}
	for _, status := range own {
		possible[strconv.Itoa(status)] = true
	}
	for _, r := range declared(t).GatewayResponses {
		possible[strconv.Itoa(r.Status)] = true
	}
	for name, op := range operations(document(t)) {
		for status := range op.Responses.Map() {
			if !possible[status] {
				t.Errorf("%s has the status %s, which nothing answers", name, status)
			}
		}
	}
}

// The statuses that a retry depends on: Sitoo drops for good what is answered with
// any other of 5xx.
func TestDocumentKnowsNo5xxBut503(t *testing.T) {
	t.Parallel()
	for name, op := range operations(document(t)) {
		for status := range op.Responses.Map() {
			if strings.HasPrefix(status, "5") && status != "503" || status == "default" {
				t.Errorf("%s has the status %s", name, status)
			}
		}
	}
}

// What is answered has no members but those of the document: additionalProperties
// is written down at every object of an answer.
func TestAnswersAreClosed(t *testing.T) {
	t.Parallel()
	var look func(where string, s *openapi3.Schema)
	look = func(where string, s *openapi3.Schema) {
		if s.Type.Is("object") {
			a := s.AdditionalProperties
			if a.Schema == nil && a.Has == nil {
				t.Errorf("%s does not say whether it has other members", where)
			}
		}
		for name, p := range s.Properties {
			look(where+"."+name, p.Value)
		}
		if s.Items != nil {
			look(where+"[]", s.Items.Value)
		}
	}
	for name, op := range operations(document(t)) {
		for status, r := range op.Responses.Map() {
			for _, media := range r.Value.Content {
				look(name+" "+status, media.Schema.Value)
			}
		}
	}
}

// answered says whether an operation may answer like this.
func answered(all map[string]*openapi3.Operation, name string, status int, body []byte) error {
	op, ok := all[name]
	if !ok {
		return fmt.Errorf("%s is not in the document", name)
	}
	r := op.Responses.Status(status)
	if r == nil {
		return fmt.Errorf("%s has no status %d", name, status)
	}
	media := r.Value.Content.Get("application/json")
	if media == nil {
		return fmt.Errorf("%s %d has no JSON", name, status)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("%s answers %d with what is no JSON: %w", name, status, err)
	}
	if err := media.Schema.Value.VisitJSON(v, openapi3.MultiErrors(), openapi3.EnableFormatValidation()); err != nil {
		return fmt.Errorf("%s answers %d with %s: %w", name, status, body, err)
	}
	return nil
}

// The rules above hold only if a wrong answer is told from a right one.
func TestWrongAnswersAreTold(t *testing.T) {
	t.Parallel()
	all := operations(document(t))
	for _, tt := range []struct {
		name   string
		status int
		body   string
	}{
		{"GET /sitoo/nowhere", 200, `[]`},
		{"GET /sitoo/consents", 500, `{"error":"internal","message":"m"}`},
		{"GET /sitoo/consents", 200, `[{"consentid":"11","name":"n","description":"d","value":false,"extra":1}]`},
		{"GET /sitoo/consents", 200, `[{"consentid":11,"name":"n","description":"d","value":false}]`},
		{"GET /sitoo/consents", 200, `[{"consentid":"11","name":"n"}]`},
		{"GET /sitoo/consents", 401, `{"error":"no_such_kind","message":"m"}`},
		{"GET /sitoo/consents", 401, `not JSON`},
		{"POST /sitoo/contacts", 200, `255934461`},
		{"POST /sitoo/transactions", 200, `{"orderid":1,"status":"lost"}`},
	} {
		if answered(all, tt.name, tt.status, []byte(tt.body)) == nil {
			t.Errorf("%s may answer %d %s", tt.name, tt.status, tt.body)
		}
	}
}

// steady is what golden files have in place of a time of their run.
const steady = "(during this run)"

// Golden answers, which `make smoke` holds against the built functions, are
// answers of the document; and every operation has one that is no error.
func TestGoldenAnswers(t *testing.T) {
	t.Parallel()
	all, good := operations(document(t)), map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(root, "events", "*", "golden", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	played := 0
	for _, path := range paths {
		var in struct{ HTTPMethod, Resource string }
		var out struct {
			StatusCode int
			Body       string
		}
		err := errors.Join(read(filepath.Join(filepath.Dir(filepath.Dir(path)), filepath.Base(path)), &in), read(path, &out))
		if err != nil {
			t.Error(err)
			continue
		}
		name := in.HTTPMethod + " " + in.Resource
		if _, known := all[name]; in.HTTPMethod == "" || !known {
			continue // a queue's event, or no address of ours; see TestDocumentHasTheTemplatesRoutes
		}
		played++
		if err := answered(all, name, out.StatusCode, []byte(strings.ReplaceAll(out.Body, steady, "2026-03-02T09:00:00Z"))); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		good[name] = good[name] || out.StatusCode < 300
	}
	if played < 50 {
		t.Errorf("%d golden answers of operations", played)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		// PUT of a redemption is POST by another name. Sitoo is asked before
		// credentials are kept: TestAnswersOfTheStack has that. A key is dropped with
		// another one of the same account, which no sample event has.
		elsewhere := name == "PUT /sitoo/credentials" || name == "DELETE /sitoo/keys/{keyid}"
		if post := strings.Replace(name, "PUT ", "POST ", 1); !good[name] && !good[post] && !elsewhere {
			t.Errorf("%s: no golden answer of it is good", name)
		}
	}
}

// read reads a file of JSON. A golden error of a function is no answer: its
// members are left alone.
func read(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// What tills send and get 200 for is what the document says they may send.
func TestSampleRequests(t *testing.T) {
	t.Parallel()
	all, played := operations(document(t)), 0
	paths, err := filepath.Glob(filepath.Join(root, "events", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		var in struct {
			HTTPMethod, Resource, Body string
			IsBase64Encoded            bool
		}
		var out struct{ StatusCode int }
		if err := read(path, &in); err != nil || in.HTTPMethod == "" || in.Body == "" || in.IsBase64Encoded {
			continue
		}
		if err := read(filepath.Join(filepath.Dir(path), "golden", filepath.Base(path)), &out); err != nil || out.StatusCode != 200 {
			continue
		}
		op := all[in.HTTPMethod+" "+in.Resource]
		if op == nil || op.RequestBody == nil {
			continue
		}
		media := op.RequestBody.Value.Content.Get("application/json")
		var v any
		if err := json.Unmarshal([]byte(in.Body), &v); err != nil {
			continue // lenient: a byte order mark, say
		}
		played++
		if err := media.Schema.Value.VisitJSON(v); err != nil {
			t.Errorf("%s is taken: %v", path, err)
		}
	}
	if played < 8 {
		t.Errorf("%d requests with bodies", played)
	}
}
