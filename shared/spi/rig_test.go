package spi_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/spi"
)

const key = fakerule.DefaultKey

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// direct carries requests to a handler in this process.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// rig is the HTTP edge in front of Rule's stand-in.
type rig struct {
	*spi.Edge
	customers *customer.Service
	bonus     *bonus.Service
	rule      *fakerule.Server
	logs      *logBuffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	clock := func() time.Time { return now }
	r := &rig{rule: fakerule.New(fakerule.Options{Now: clock}), logs: &logBuffer{}}
	if err := r.rule.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.NewLocal(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(r.logs, nil))
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: direct{r.rule}}, Now: clock, Pause: -1})
	r.Edge = &spi.Edge{
		Accounts: &account.Directory{
			Store: &memory.Accounts{}, Sealer: sealer, Rule: client, Now: clock, Log: log,
		},
		Log: log, Now: clock,
	}
	r.customers = &customer.Service{Phones: phone.Parser("SE"), Log: log, Now: clock}
	r.bonus = &bonus.Service{Store: &memory.Bonus{}, Log: log, Now: clock, NewID: rand.Text}
	return r
}

type (
	request  = events.APIGatewayProxyRequest
	response = events.APIGatewayProxyResponse
)

// post is a request with the shop's key and a body.
func post(body string) request {
	return request{
		HTTPMethod: "POST", Path: "/sitoo/contacts", Body: body, Headers: map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"},
		RequestContext: events.APIGatewayProxyRequestContext{RequestID: "c0ffee00-0000-4000-8000-000000000001"},
	}
}

// get is a request with the shop's key, a path's id and a query.
func get(id string, query map[string]string) request {
	in := post("")
	in.HTTPMethod, in.QueryStringParameters = "GET", query
	if id != "" {
		in.PathParameters = map[string]string{"contactid": id}
	}
	return in
}

// invoke calls a function as Lambda does. Whatever was asked, the answer has
// one of the statuses that Sitoo knows, fixed headers and a JSON body.
func invoke(t *testing.T, h lambda.Handler, in request) response {
	t.Helper()
	payload, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := h.Invoke(t.Context(), payload)
	if err != nil {
		t.Fatalf("the function fails: %v", err)
	}
	var out response
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, out)
	return out
}

func checkAnswer(t *testing.T, out response) {
	t.Helper()
	if !slices.Contains([]int{200, 400, 401, 404, 409, 413, 503}, out.StatusCode) {
		t.Errorf("status %d", out.StatusCode)
	}
	want := map[string]string{"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
	if v, ok := out.Headers["Retry-After"]; ok && out.StatusCode == 503 && v != "" && strings.Trim(v, "0123456789") == "" {
		want["Retry-After"] = v
	}
	if !maps.Equal(want, out.Headers) || len(out.MultiValueHeaders) > 0 || out.IsBase64Encoded {
		t.Errorf("headers %v %v", out.Headers, out.MultiValueHeaders)
	}
	if !json.Valid([]byte(out.Body)) {
		t.Errorf("body is not JSON: %.200s", out.Body)
	}
	if out.StatusCode != 200 {
		f := failure(t, out)
		if f.Error == "" || f.Message == "" || strings.ContainsAny(f.Message, "\r\n") || !strings.HasSuffix(f.Message, ".") {
			t.Errorf("a cashier reads %+v", f)
		}
	}
}

type refusal struct {
	Error, Message, Member, Code string
	Args                         map[string]any
}

func failure(t *testing.T, out response) refusal {
	t.Helper()
	var f refusal
	d := json.NewDecoder(strings.NewReader(out.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Errorf("%s: %v", out.Body, err)
	}
	return f
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// line returns the last log line with a message.
func (l *logBuffer) line(t *testing.T, msg string) map[string]any {
	t.Helper()
	var last map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == msg {
			last = m
		}
	}
	if last == nil {
		t.Fatalf("no log line %q: %s", msg, l)
	}
	return last
}
