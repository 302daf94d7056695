package bench_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/local/stack"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
)

// operation is something that happens at a till. ready makes what it takes and
// returns the operation itself; only that is measured, and only once.
type operation struct {
	name  string
	ready func(s *shop) (do func())
}

var operations = []operation{
	{"find-nobody", func(s *shop) func() {
		return func() { s.find("nobody@example.com", 0) }
	}},
	{"find-first-time", func(s *shop) func() {
		email := s.email()
		s.register(email) // which another function does: the one that finds knows nothing of it
		return func() { s.find(email, 1) }
	}},
	{"find-again", func(s *shop) func() {
		s.find(knownEmail, 1)
		return func() { s.find(knownEmail, 1) }
	}},
	{"get", func(s *shop) func() {
		return func() { s.call("GET", "/contacts/"+knownID, nil) }
	}},
	{"get-unknown", func(s *shop) func() {
		return func() { s.answered(http.StatusNotFound, "GET", "/contacts/1", nil) }
	}},
	{"add-new", func(s *shop) func() {
		email := s.email()
		return func() { s.register(email) }
	}},
	{"add-new-who-says-yes", func(s *shop) func() {
		body := []byte(`{"namefirst":"Kund","email":"` + s.email() + `","accepts_email":true,"accepts_sms":true}`)
		return func() { s.call("POST", "/contacts", body) }
	}},
	{"add-known", func(s *shop) func() {
		return func() { s.register(knownEmail) }
	}},
	{"update", func(s *shop) func() {
		body := fmt.Appendf(nil, `{"company":"Exempel %d AB"}`, s.next())
		return func() { s.call("PUT", "/contacts/"+knownID, body) }
	}},
	purchases(7),
	purchases(50),
	purchases(643),
	purchases(2000),
	{"lookup", func(s *shop) func() {
		return func() { s.call("GET", "/lookup_contacts?key=0701740605", nil) }
	}},
	{"order-of-found-customer", func(s *shop) func() {
		o := s.order(knownID, knownEmail)
		return func() { s.sell(o) }
	}},
	{"order-by-email-of-known", func(s *shop) func() {
		o := s.order("", knownEmail)
		return func() { s.sell(o) }
	}},
	{"order-by-email-of-new", func(s *shop) func() {
		o := s.order("", s.email())
		return func() { s.sell(o) }
	}},
	{"order-first-of-shop", func(s *shop) func() {
		second := s.another()
		o := second.order(second.register(second.email()), "")
		return func() { second.sell(o) }
	}},
	{"order-sent-twice", func(s *shop) func() {
		o := s.order(knownID, "")
		s.sell(o)
		return func() { s.sell(o) }
	}},
}

// purchases lists what a customer has bought who has bought so often.
func purchases(orders int) operation {
	return operation{fmt.Sprintf("purchases-of-%d", orders), func(s *shop) func() {
		path := "/contacts/" + s.buyer(orders) + "/transactions"
		return func() { s.call("GET", path, nil) }
	}}
}

func (s *shop) find(key string, want int) {
	s.b.Helper()
	body := s.call("GET", "/contacts?key="+url.QueryEscape(key), nil)
	var found []json.RawMessage
	if err := json.Unmarshal(body, &found); err != nil || len(found) != want {
		s.b.Fatalf("found %s (%v), want %d contacts", body, err, want)
	}
}

// BenchmarkRule counts the requests to Rule that an operation costs, those among
// them that Rule answers with an error (which count against the shop's error
// share), and how often the till waits for an answer: requests that are under
// way at the same time are one wait.
func BenchmarkRule(b *testing.B) {
	for _, op := range operations {
		b.Run(op.name, func(b *testing.B) {
			r := newRule(b)
			// The delay tells requests at the same time from those in a row.
			m := &meter{RoundTripper: distant{direct{r}, 25 * time.Millisecond}}
			s := newShop(b, r, stack.Options{RuleURL: inMemory, HTTP: &http.Client{Transport: m}})
			var sum usage
			n := 0.0
			for b.Loop() {
				do := op.ready(s)
				m.take()
				do()
				u := m.take()
				sum.requests += u.requests
				sum.errors += u.errors
				sum.waits += u.waits
				n++
			}
			b.ReportMetric(0, "ns/op") // mostly the delay
			b.ReportMetric(float64(sum.requests)/n, "rule-requests/op")
			b.ReportMetric(float64(sum.errors)/n, "rule-errors/op")
			b.ReportMetric(float64(sum.waits)/n, "rule-waits/op")
		})
	}
}

// batch is a full batch of the worker: ten orders at once in one process.
var batch = operation{"order-batch-of-10", func(s *shop) func() {
	var in events.SQSEvent
	for range 10 {
		text, err := order.Message{Account: "42", Received: time.Now(), Order: s.order("", s.email())}.Encode()
		if err != nil {
			s.b.Fatal(err)
		}
		in.Records = append(in.Records, events.SQSMessage{MessageId: strconv.FormatInt(s.next(), 10), Body: text})
	}
	payload, err := json.Marshal(in)
	if err != nil {
		s.b.Fatal(err)
	}
	return func() {
		out, err := s.Invoke(s.b.Context(), "order-worker", payload)
		if want := `{"batchItemFailures":[]}`; err != nil || string(out) != want {
			s.b.Fatalf("order-worker answers %s (%v), want %s", out, err, want)
		}
	}
}}

// BenchmarkConnections counts the TLS connections that a warm function opens,
// with the HTTP client that the functions have. It must be none.
func BenchmarkConnections(b *testing.B) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, op := range append([]operation{batch}, operations...) {
			b.Run(strings.ToLower(protocol[:4])+protocol[5:6]+"/"+op.name, func(b *testing.B) { connections(b, protocol, op) })
		}
	}
}

func connections(b *testing.B, protocol string, op operation) {
	const warmUp = 5
	r := newRule(b)
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Proto != protocol {
			b.Errorf("the request came over %s, want %s", req.Proto, protocol)
		}
		// Long enough that what may be under way at the same time is.
		time.Sleep(2 * time.Millisecond)
		r.ServeHTTP(w, req)
	}))
	server.EnableHTTP2 = protocol == "HTTP/2.0"
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	b.Cleanup(server.Close)

	web := rule.NewHTTPClient()
	transport := web.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	b.Cleanup(transport.CloseIdleConnections)

	s := newShop(b, r, stack.Options{RuleURL: server.URL, HTTP: web})
	for range warmUp {
		op.ready(s)()
	}
	if opened.Load() == 0 {
		b.Fatal("no connection was seen at all")
	}
	opened.Store(0)
	n := 0.0
	for b.Loop() {
		op.ready(s)()
		n++
	}
	b.ReportMetric(0, "ns/op") // mostly the wait in the handler
	b.ReportMetric(float64(opened.Load())/n, "tls-connections/op")
	if got := opened.Load(); got != 0 {
		b.Errorf("%d TLS connections were opened by a warm function, want none", got)
	}
}
