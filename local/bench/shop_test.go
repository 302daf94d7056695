// Package bench measures the product: what an operation costs at Rule, what the
// connector adds of its own, how large the functions are and how fast they
// start, and how many orders pass through the queue.
//
// Counts are exact. Times are not: they are given as ratios between two things
// measured in turns in the same run, and nothing here fails on a time.
package bench_test

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// A customer of the stand-in's seed, who has bought before.
const (
	knownID    = "255934461"
	knownEmail = "kund.ett@example.com"
)

// inMemory is where Rule is when the calls never leave the process.
const inMemory = "http://rule.example.com"

//go:embed testdata/order.json
var orderJSON []byte

// shop is the whole product, serving one shop, with Rule's stand-in behind it.
type shop struct {
	*stack.Stack
	b      *testing.B
	rule   *fakerule.Server
	key    string
	serial *int64 // numbers what the shop makes
	tables *tally // calls to stores
	queued *tally // messages that were put on queues
}

// newRule returns the stand-in with its example customers, and without limits:
// a benchmark would be blocked otherwise.
func newRule(b *testing.B) *fakerule.Server {
	b.Helper()
	r := fakerule.New(fakerule.Options{Budget: math.MaxInt, ErrorPercent: 100})
	if err := r.Load(fakerule.Seed()); err != nil {
		b.Fatal(err)
	}
	return r
}

// newShop starts a shop that works its queues until the benchmark ends. Its
// account exists, and its first order has been delivered.
func newShop(b *testing.B, r *fakerule.Server, o stack.Options) *shop {
	b.Helper()
	if o.Template == nil {
		o.Template = load(b)
	}
	// The line of each operation is made, as in Lambda, but not printed.
	o.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
	tables, queued := &tally{}, &tally{}
	change := o.Change
	o.Change = func(function string, p *app.Parts) {
		if change != nil {
			change(function, p)
		}
		for _, q := range []*worker.Sender{&p.Orders, &p.Syncs, &p.ImportParts} {
			if *q != nil {
				*q = sender{*q, queued}
			}
		}
	}
	s, err := stack.New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	tables.watch(s)
	done := make(chan struct{})
	go func() { defer close(done); s.Run(b.Context()) }()
	b.Cleanup(func() { <-done })
	p := &shop{Stack: s, b: b, rule: r, key: fakerule.DefaultKey, serial: new(int64), tables: tables, queued: queued}
	p.call("GET", "/lookup_contacts?key=x", nil)
	p.sell(p.order(knownID, ""))
	return p
}

// another returns a second shop in the same stack, with an account that has just
// been made: it has no customers and has sold nothing.
func (s *shop) another() *shop {
	second := *s
	second.key = fmt.Sprintf("demo-key-%d", s.next())
	s.rule.AddKey(second.key)
	second.call("GET", "/lookup_contacts?key=x", nil)
	return &second
}

func (s *shop) next() int64 {
	*s.serial++
	return *s.serial
}

// email returns an address that nobody has yet.
func (s *shop) email() string { return fmt.Sprintf("kund.%d@example.com", s.next()) }

// request is one that a till sends.
func (s *shop) request(method, path string, body []byte) *http.Request {
	r := httptest.NewRequestWithContext(s.b.Context(), method, "/sitoo"+path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Sitoo POS")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// call sends a request as a till does. Anything but 200 ends the benchmark.
func (s *shop) call(method, path string, body []byte) []byte {
	s.b.Helper()
	return s.answered(http.StatusOK, method, path, body)
}

// answered is call for another status.
func (s *shop) answered(status int, method, path string, body []byte) []byte {
	s.b.Helper()
	w := httptest.NewRecorder()
	s.Gateway.ServeHTTP(w, s.request(method, path, body))
	if w.Code != status {
		s.b.Fatalf("%s %s: status %d, want %d; body %s", method, path, w.Code, status, w.Body)
	}
	return w.Body.Bytes()
}

// register adds a customer and returns the id.
func (s *shop) register(email string) string {
	s.b.Helper()
	return strings.Trim(string(s.call("POST", "/contacts", []byte(`{"namefirst":"Kund","namelast":"Exempel","email":"`+email+`"}`))), "\"\n")
}

// buyer adds a customer who has bought so often, and returns the id.
func (s *shop) buyer(orders int) string {
	s.b.Helper()
	id := s.register(s.email())
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		s.b.Fatal(err)
	}
	direct := rule.New(rule.Config{URL: inMemory, HTTP: &http.Client{Transport: direct{s.rule}}, Pause: -1}).Session(s.key, time.Time{}, nil)
	for range orders {
		number := rule.Field{Group: order.Group, Name: "orderid", Type: rule.Text, Value: strconv.FormatInt(s.next(), 10)}
		if err := direct.AppendEntry(s.b.Context(), n, order.Group, []rule.Field{number}); err != nil {
			s.b.Fatal(err)
		}
	}
	return id
}

// order returns a new order of whom it names, by contact id or by email.
func (s *shop) order(contact, email string) []byte {
	s.b.Helper()
	var o map[string]any
	if err := json.Unmarshal(orderJSON, &o); err != nil {
		s.b.Fatal(err)
	}
	o["orderid"], o["email"] = s.next(), email
	o["orderdate"] = time.Now().Unix() // an old order starts no automations, and costs less
	o["additionaldata"].(map[string]any)["customcrm-contactid"] = contact
	raw, err := json.Marshal(o)
	if err != nil {
		s.b.Fatal(err)
	}
	return raw
}

// sell sends orders and waits until the worker is done with them.
func (s *shop) sell(orders ...[]byte) {
	s.b.Helper()
	for _, o := range orders {
		s.call("POST", "/transactions", o)
	}
	s.drain()
	for _, q := range []string{"OrdersQueue", "OrdersDeadLetters"} {
		if q, _ := s.Broker.Queue(q); len(q.Messages()) > 0 {
			s.b.Fatalf("%d messages are left in %s", len(q.Messages()), q.ID())
		}
	}
}

// drain waits until the workers are done with everything that is due.
func (s *shop) drain() {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), 5*time.Minute)
	defer cancel()
	if err := s.Broker.Drain(ctx); err != nil {
		s.b.Fatal(err)
	}
}

// tally counts.
type tally struct{ atomic.Int64 }

// watch counts the calls to a stack's stores, which must not have been used yet.
func (t *tally) watch(s *stack.Stack) {
	count := func(op string) error {
		if !strings.HasSuffix(op, memory.Done) {
			t.Add(1)
		}
		return nil
	}
	s.Accounts.Fail, s.Ledger.Fail, s.Bonus.Fail, s.Imports.Fail = count, count, count, count
}

// sender counts what is put on a queue.
type sender struct {
	worker.Sender
	queued *tally
}

// Send implements worker.Sender.
func (s sender) Send(ctx context.Context, m worker.Message) error {
	s.queued.Add(1)
	return s.Sender.Send(ctx, m)
}

// direct answers requests with a handler of this process, without a network.
type direct struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

// distant makes every request take the time that Rule's answer takes to come.
type distant struct {
	http.RoundTripper
	delay time.Duration
}

// RoundTrip implements http.RoundTripper.
func (d distant) RoundTrip(r *http.Request) (*http.Response, error) {
	wait := time.NewTimer(d.delay)
	defer wait.Stop()
	select {
	case <-wait.C:
		return d.RoundTripper.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// meter counts requests.
type meter struct {
	http.RoundTripper

	mu    sync.Mutex
	usage usage
}

// usage is what went to Rule.
type usage struct {
	requests int
	errors   int // answered with 4xx or 5xx
	waits    int // the longest chain of requests, each sent after the answer to the one before
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	m.usage.requests++
	waits := m.usage.waits + 1
	m.mu.Unlock()
	res, err := m.RoundTripper.RoundTrip(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && res.StatusCode >= http.StatusBadRequest {
		m.usage.errors++
	}
	m.usage.waits = max(m.usage.waits, waits)
	return res, err
}

// take returns the usage so far and starts again from nothing.
func (m *meter) take() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.usage
	m.usage = usage{}
	return u
}

// median returns the middle of values, which are not empty, and sorts them.
func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}
