package customer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
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
	shops "sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

const (
	key     = fakerule.DefaultKey
	account = "0123456789abcdef0123456789abcdef"
)

// direct carries requests to a handler in this process.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// shop is a shop's account in Rule and the operations a till has on it.
type shop struct {
	*customer.Service
	t    tb
	rule *fakerule.Server
	r    *rule.Session
	logs *logBuffer
	// answers is what is remembered of tills; settings is what the shop has
	// chosen: implied consent, since most of these tests are not about it.
	answers  *memory.Consents
	settings shops.Settings

	clock func() time.Time

	mu     sync.Mutex
	now    time.Time
	bodies []request
	queued []worker.Message
}

// Send takes a message as the queue does, unless it is to fail.
func (s *shop) Send(_ context.Context, m worker.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = append(s.queued, m)
	return nil
}

// deliver works the messages of the queue, as often as one is there, and returns
// the first error.
func (s *shop) deliver() error {
	s.mu.Lock()
	list := s.queued
	s.queued = nil
	s.mu.Unlock()
	for i, m := range list {
		message, ok, err := customer.DecodeMessage(m.Body)
		if !ok || err != nil {
			s.t.Fatalf("message %s: %v, %v", m.Body, ok, err)
		}
		if err := s.Complete(context.Background(), s.r, message); err != nil {
			s.mu.Lock()
			s.queued = append(s.queued, list[i:]...)
			s.mu.Unlock()
			return err
		}
	}
	return nil
}

// completeAfter is when the queue's messages come.
const completeAfter = time.Minute

// session is a session with Rule over a transport.
func (s *shop) session(over http.RoundTripper) *rule.Session {
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: over}, Now: s.clock, Pause: -1})
	return client.Session(key, time.Time{}, nil)
}

// pass lets time pass.
func (s *shop) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *shop) account(id string) shops.Account { return shops.Account{ID: id, Settings: s.settings} }

func (s *shop) Find(ctx context.Context, r *rule.Session, account, key string) (customer.Contact, bool, error) {
	return s.Service.Find(ctx, r, s.account(account), key)
}

func (s *shop) Add(ctx context.Context, r *rule.Session, account string, c customer.Contact) (int64, error) {
	id, _, err := s.Service.Add(ctx, r, s.account(account), c, "request")
	return id, err
}

func (s *shop) Update(ctx context.Context, r *rule.Session, account string, id int64, c customer.Contact) error {
	return s.Service.Update(ctx, r, s.account(account), id, c, "request")
}

// request is one that reached Rule and may have changed something there.
type request struct {
	Route string
	Body  string
}

func newShop(t tb, seed string) *shop {
	t.Helper()
	s := &shop{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), logs: &logBuffer{}, answers: &memory.Consents{}}
	s.settings.Consent = shops.ConsentImplied
	var ids atomic.Int64
	clock := func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.now
	}
	s.rule = fakerule.New(fakerule.Options{Now: clock})
	if seed != "" {
		if err := s.rule.Load(strings.NewReader(seed)); err != nil {
			t.Fatal(err)
		}
	}
	s.fail("", nil)
	s.clock = clock
	s.r = s.session(direct{s.rule})
	s.Service = &customer.Service{Phones: phones, Syncs: s, Answers: s.answers, NewID: func() string { return strconv.FormatInt(ids.Add(1), 10) }, Log: slog.New(slog.NewJSONHandler(s.logs, nil)), Now: clock}
	return s
}

// fail answers the requests of a route with f, and goes on recording all.
func (s *shop) fail(route string, f *fakerule.Fault) {
	s.rule.SetFault(func(r *http.Request, body []byte) *fakerule.Fault {
		name := r.Method + " " + r.URL.Path
		if r.Method != http.MethodGet {
			s.mu.Lock()
			s.bodies = append(s.bodies, request{name, string(body)})
			s.mu.Unlock()
		}
		if f != nil && strings.HasPrefix(name, route) {
			return f
		}
		return nil
	})
}

// forget forgets the requests so far.
func (s *shop) forget() {
	s.mu.Lock()
	s.bodies = nil
	s.mu.Unlock()
	s.rule.ResetRequests()
	s.logs.reset()
}

// writes returns the requests since forget that were no reads.
func (s *shop) writes() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

// routes returns the routes of all requests since forget, sorted.
func (s *shop) routes() []string {
	var list []string
	for _, q := range s.rule.Requests() {
		list = append(list, q.Route)
	}
	slices.Sort(list)
	return list
}

// snapshot is all that Rule holds, as text.
func (s *shop) snapshot() string {
	b, err := json.Marshal(s.rule.Subscribers(key))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *shop) subscriber(id int64) fakerule.Subscriber {
	s.t.Helper()
	sub, ok := s.rule.Subscriber(key, id)
	if !ok {
		s.t.Fatalf("there is no subscriber %d", id)
	}
	return sub
}

func (s *shop) field(id int64, name string) string {
	s.t.Helper()
	f, _ := s.subscriber(id).Field(name)
	return f.Value
}

// suppressions returns who gets nothing on which channel, such as "email api".
func (s *shop) suppressions(id int64) string {
	var list []string
	for _, x := range s.subscriber(id).Suppressions {
		list = append(list, x.MessageType+" "+x.Source)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// echo is the contact that a till sends back when the cashier looks at a card
// and presses save: every member, as it was shown.
func echo(card customer.Contact) customer.Contact {
	c := customer.Contact{Text: map[customer.Member]string{}, Flags: map[customer.Member]bool{}, Lists: map[customer.Member][]string{}}
	for _, m := range customer.TextMembers() {
		c.Text[m] = card.Text[m]
	}
	for _, m := range []customer.Member{customer.AcceptsEmail, customer.AcceptsSMS, customer.AcceptsMail} {
		c.Flags[m] = card.Flags[m]
	}
	for _, m := range []customer.Member{customer.Consents, customer.Vouchers} {
		c.Lists[m] = append([]string{}, card.Lists[m]...)
	}
	return c
}

// wantFault fails unless err is of a kind and says something; it returns the
// fault.
func wantFault(t tb, err error, kind fault.Kind, member, says string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", kind)
	}
	f := fault.As(err)
	if f.Kind != kind || f.Member != member || !strings.Contains(f.Message, says) {
		t.Fatalf("got %v; want %s, member %q and something with %q", err, kind, member, says)
	}
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

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	_ io.Writer = (*logBuffer)(nil)
	_ tb        = (*testing.T)(nil)
)
