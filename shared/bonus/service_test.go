package bonus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

const (
	checksField     = "Sitoo-Contact.bonuschecks"
	promotionsField = "Sitoo-Contact.promotions"
	whose           = int64(255934461)
)

var book = bonus.Key{Account: "a", Subscriber: whose}

// shop is a Service with a stand-in for Rule and a store in memory. Every step
// that it takes towards the outside is noted, before its effect and, with
// " done", after it.
type shop struct {
	*bonus.Service
	t     *testing.T
	rule  *fakerule.Server
	books memory.Bonus
	r     *rule.Session
	log   bytes.Buffer

	mu    sync.Mutex
	now   time.Time
	ids   int
	steps []string
	sent  []worker.Message
	hook  func(step string) error // asked at every step, outside of all locks
}

// newShop opens a shop with one customer, whose bonus checks are given as JSON.
func newShop(t *testing.T, checks string) *shop {
	t.Helper()
	s := &shop{t: t, now: now}
	s.rule = fakerule.New(fakerule.Options{Now: s.clock})
	if err := s.rule.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	s.set(checksField, checks)
	s.set(promotionsField, `[]`)
	s.books.Fail = func(op string) error { return s.step(strings.ToLower(op)) }
	s.r = rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: s}, Now: s.clock, Pause: -1}).
		Session(fakerule.DefaultKey, time.Time{}, nil)
	s.Service = &bonus.Service{
		Store: &s.books, Syncs: s, Now: s.clock, NewID: s.newID,
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	return s
}

func (s *shop) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *shop) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *shop) newID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return fmt.Sprint("process ", s.ids)
}

func (s *shop) step(name string) error {
	s.mu.Lock()
	s.steps = append(s.steps, name)
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(name)
}

// at runs f once, at the n-th step of a name from now, counted from 1.
func (s *shop) at(name string, n int, f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = func(step string) error {
		s.mu.Lock()
		hit := step == name
		if hit {
			n--
		}
		hit = hit && n == 0
		s.mu.Unlock()
		if hit {
			return f()
		}
		return nil
	}
}

// always fails every step of the names given.
func (s *shop) always(err error, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = func(step string) error {
		if slices.Contains(names, step) {
			return err
		}
		return nil
	}
}

// heal ends what at and always began.
func (s *shop) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = nil
}

// taken returns the steps since it was called last, those after effects left out.
func (s *shop) taken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, step := range s.steps {
		if !strings.HasSuffix(step, " done") {
			out = append(out, step)
		}
	}
	s.steps = nil
	return strings.Join(out, " ")
}

func (s *shop) Send(_ context.Context, m worker.Message) error {
	if err := s.step("send"); err != nil {
		return err
	}
	s.mu.Lock()
	s.sent = append(s.sent, m)
	s.mu.Unlock()
	return s.step("send done")
}

// RoundTrip carries requests to the stand-in. A step that fails before the
// effect is a request that was sent and never arrived, for all one can tell.
func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if err := s.step(r.Method); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	s.rule.ServeHTTP(w, in)
	if err := s.step(r.Method + " done"); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (s *shop) set(field, v string) {
	s.t.Helper()
	if err := s.rule.SetField(fakerule.DefaultKey, whose, 0, field, v); err != nil {
		s.t.Fatal(err)
	}
}

// copied is what Rule holds of a field.
func (s *shop) copied(field string) string {
	s.t.Helper()
	sub, ok := s.rule.Subscriber(fakerule.DefaultKey, whose)
	if !ok {
		s.t.Fatal("the customer is gone")
	}
	f, _ := sub.Field(field)
	return f.Value
}

// stored is the book, read past all hooks.
func (s *shop) stored() bonus.Book {
	s.t.Helper()
	s.mu.Lock()
	hook := s.hook
	s.hook = nil
	s.mu.Unlock()
	b, err := s.books.Get(context.Background(), book)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.hook = hook
	s.steps = slices.Delete(s.steps, len(s.steps)-2, len(s.steps)) // ours
	s.mu.Unlock()
	return b
}

// inStep fails unless Rule's copy says what the book says, and the book knows.
func (s *shop) inStep(when string) {
	s.t.Helper()
	b := s.stored()
	if b.Version != b.Synced || b.Holder != "" {
		s.t.Errorf("%s: version %d, of which Rule has %d, held by %q", when, b.Version, b.Synced, b.Holder)
	}
	for field, k := range map[string]bonus.Kind{checksField: bonus.Check, promotionsField: bonus.Promotion} {
		l, err := bonus.Parse(k, json.RawMessage(s.copied(field)))
		if err != nil {
			continue
		}
		if want, changed := l.With(b); changed {
			s.t.Errorf("%s: Rule's copy is %s, the book says %s", when, text(s.t, l), text(s.t, want))
		}
	}
}

// onCard is what the card shows, read as a till's call does it.
func (s *shop) onCard() []string {
	s.t.Helper()
	sub, _ := s.rule.Subscriber(fakerule.DefaultKey, whose)
	c, _ := sub.Field(checksField)
	p, _ := sub.Field(promotionsField)
	checks, promotions := s.Card(s.t.Context(), book, bonus.Fields{Checks: json.RawMessage(c.Value), Promotions: json.RawMessage(p.Value)})
	return append(shown(checks), shown(promotions)...)
}

func (s *shop) redeem(id, order, remaining string) string {
	r := bonus.Request{Kind: bonus.Check, ID: id, Order: order}
	if remaining != "" {
		r.Remaining = ptr(remaining)
	}
	a, err := s.Redeem(s.t.Context(), s.r, book, r, "req-1")
	return answer(a, true, err)
}

func (s *shop) restore(id, order string) string {
	a, err := s.Restore(s.t.Context(), s.r, book, bonus.Request{Kind: bonus.Check, ID: id, Order: order}, "req-1")
	return answer(a, true, err)
}

func (s *shop) prove(proofs ...bonus.Proof) error {
	return s.Prove(s.t.Context(), s.r, book, proofs, "req-1")
}

func (s *shop) giveBack(order, original string) error {
	return s.Return(s.t.Context(), s.r, book, bonus.GivesBack{Order: order, Original: original}, false, "req-1")
}

func (s *shop) sync() error { return s.Sync(s.t.Context(), s.r, book) }

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func none(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

const two = `[{"bonuscheckid":"a","value":"100","x":[1, 2]},{"bonuscheckid":"b","value":50}]`

// What each operation costs: reads and writes of the book, requests to Rule, and
// one message, which is on its way before anything is stored.
func TestSteps(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	const change = "get GET send put PUT put"
	for _, c := range []struct {
		what string
		do   func() string
		want string
		took string
	}{
		{"redeem", func() string { return s.redeem("a", "1", "40") }, "60.00/40.00 03-02T09:00", change},
		{"redeem again", func() string { return s.redeem("a", "1", "40") }, "60.00/40.00 03-02T09:00", "get GET"},
		{"redeem too much", func() string { return s.redeem("a", "2", "41") }, "invalid remaining: remaining is 41.00, but only 40.00 is left.", "get GET get"},
		{"redeem what is not there", func() string { return s.redeem("x", "2", "") }, "not_found: The customer has no bonus check with this id.", "get GET get"},
		{"prove what was told", func() string { return fmt.Sprint(s.prove(proof("a", "1", "60"))) }, "<nil>", "get get GET send put put"},
		{"prove again", func() string { return fmt.Sprint(s.prove(proof("a", "1", "60"))) }, "<nil>", "get"},
		{"prove two", func() string { return fmt.Sprint(s.prove(proof("a", "3", "10"), proof("b", "3", "5"))) }, "<nil>", "get " + change},
		{"prove two again", func() string { return fmt.Sprint(s.prove(proof("a", "3", "10"), proof("b", "3", "5"))) }, "<nil>", "get"},
		{"restore", func() string { return s.restore("a", "1") }, "0.00/90.00 03-02T09:00", change},
		{"restore again", func() string { return s.restore("a", "1") }, "0.00/90.00 03-02T09:00", "get GET"},
		{"return", func() string { return fmt.Sprint(s.giveBack("9", "3")) }, "<nil>", "get " + change},
		{"return again", func() string { return fmt.Sprint(s.giveBack("9", "3")) }, "<nil>", "get"},
		{"return of another order", func() string { return fmt.Sprint(s.giveBack("9", "4")) }, "<nil>", "get"},
		{"card", func() string { return fmt.Sprint(s.onCard()) }, "[a 100.00 b 50.00]", "get"},
		{"sync of what is in step", func() string { return fmt.Sprint(s.sync()) }, "<nil>", "get"},
		{"restore what was not used", func() string { return s.restore("a", "77") }, "not_found: This bonus check was not used by order 77.", "get GET get"},
	} {
		want(t, c.what, c.do(), c.want)
		want(t, c.what+" took", s.taken(), c.took)
		s.inStep(c.what)
	}
	want(t, "messages", len(s.sent), 5)
	s.set(checksField, ``)
	want(t, "an empty card", len(s.onCard()), 0)
	want(t, "an empty card took", s.taken(), "")
	want(t, "Rule's copy", s.copied(promotionsField), `[]`)
}

// Rule's field is one request away from what the till was told, and nobody
// else's part of it changes.
func TestCopy(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.redeem("a", "1", "40")
	want(t, "copy", s.copied(checksField), `[{"bonuscheckid":"a","value":"100","x":[1, 2],"remaining":"40.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z"},{"bonuscheckid":"b","value":50}]`)
	s.redeem("b", "1", "")
	want(t, "copy", s.copied(checksField), `[{"bonuscheckid":"a","value":"100","x":[1,2],"remaining":"40.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z"},{"bonuscheckid":"b","value":50,"remaining":0.00,"redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}]`)
}

func TestMessage(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.redeem("a", "1", "")
	want := []worker.Message{{Body: `{"account":"a","subscriber":255934461,"request":"req-1"}`, Group: "a", Delay: 90 * time.Second}}
	if diff := cmp.Diff(want, s.sent); diff != "" {
		t.Fatal(diff)
	}
	m, err := bonus.DecodeMessage(s.sent[0].Body)
	if wantM := (bonus.Message{Account: "a", Subscriber: whose, Request: "req-1"}); m != wantM || err != nil {
		t.Errorf("DecodeMessage = %+v, %v", m, err)
	}
	for body, member := range map[string]string{
		"": "", "null": "account", "[]": "", `{"account":"a"}`: "subscriber", `{"account":"a","subscriber":0}`: "subscriber", `{"account":"a","subscriber":-1}`: "subscriber",
		`{"subscriber":1}`: "account", `{"account":"a","subscriber":"1"}`: "", `{"account":"a","subscriber":1.5}`: "",
	} {
		if m, err := bonus.DecodeMessage(body); fault.KindOf(err) != fault.Invalid || fault.As(err).Member != member || m != (bonus.Message{}) {
			t.Errorf("DecodeMessage(%s) = %+v, %v; want a fault of %q", body, m, err, member)
		}
	}
}

// Without a message on its way nothing is stored: the till can try again.
func TestQueueFails(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"send", "send done"} {
		s := newShop(t, two)
		s.always(errors.New("no queue"), step)
		want(t, "redeem", s.redeem("a", "1", "40"), "unavailable: Nothing was changed. Try again in a moment.")
		want(t, "took", s.taken(), "get GET send")
		s.heal()
		want(t, "version", s.stored().Version, 0)
		want(t, "again", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00")
		s.inStep("again")
	}
}

// While one process writes Rule's copy, another's decision stands at once, and
// is written by the first: two processes never write the copy at a time.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.at("PUT", 1, func() error {
		s.heal()
		s.taken()
		want(t, "the other", s.redeem("b", "2", "20"), "30.00/20.00 03-02T09:00")
		want(t, "the other took", s.taken(), "get GET send put")
		if err := s.sync(); fault.KindOf(err) != fault.Busy || !fault.As(err).RetryAt.Equal(now.Add(time.Minute)) {
			t.Errorf("sync meanwhile: %v", err)
		}
		want(t, "on the card", fmt.Sprint(s.onCard()), "[a 40.00 b 20.00]")
		s.taken()
		return nil
	})
	want(t, "the first", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00")
	want(t, "the first took", s.taken(), "put get PUT put")
	s.inStep("afterwards")
}

// Somebody else's change comes between the book's reading and its writing.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other func(s *shop) string
		says  string
		want  string
	}{
		"the same check":   {func(s *shop) string { return s.redeem("a", "2", "") }, "100.00/0.00 03-02T09:00", "conflict: This bonus check has been used already, on 2026-03-02 10:00."},
		"a part of it":     {func(s *shop) string { return s.redeem("a", "2", "70") }, "30.00/70.00 03-02T09:00", "30.00/40.00 03-02T09:00"},
		"another check":    {func(s *shop) string { return s.redeem("b", "2", "") }, "50.00/0.00 03-02T09:00", "60.00/40.00 03-02T09:00"},
		"the same order":   {func(s *shop) string { return s.redeem("a", "1", "40") }, "60.00/40.00 03-02T09:00", "60.00/40.00 03-02T09:00"},
		"the order itself": {func(s *shop) string { return fmt.Sprint(s.prove(proof("a", "1", "60"))) }, "<nil>", "60.00/40.00 03-02T09:00"},
	} {
		// At each point of the first process's work; what it sees of the other
		// differs, what comes out must not.
		for _, step := range []string{"GET", "GET done", "send", "put"} {
			t.Run(name+" at "+step, func(t *testing.T) {
				t.Parallel()
				s := newShop(t, two)
				s.at(step, 1, func() error {
					s.heal()
					want(t, "the other", c.other(s), c.says)
					return nil
				})
				want(t, "the first", s.redeem("a", "1", "40"), c.want)
				s.inStep("afterwards")
				if n := len(s.sent); n > 2 {
					t.Errorf("%d messages, one for each change at most", n)
				}
			})
		}
	}
}

// What others put into the field until the book was stored is kept: the copy is
// read anew for each try.
func TestCopyReadAnew(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.at("put", 1, func() error {
		s.heal()
		s.redeem("b", "2", "20")
		s.set(checksField, strings.Replace(s.copied(checksField), `[`, `[{"bonuscheckid":"new","value":"7"},`, 1))
		return nil
	})
	want(t, "redeem", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00")
	want(t, "on the card", fmt.Sprint(s.onCard()), "[new 7.00 a 40.00 b 20.00]")
	s.inStep("afterwards")
}

// A book that never stands still ends in "try later", not in a guess.
func TestChangedForEver(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.always(fmt.Errorf("put: %w", bonus.ErrChanged), "put")
	want(t, "redeem", s.redeem("a", "1", ""), "unavailable: ")
	want(t, "messages", len(s.sent), 1)
	s.taken()
	s.heal()
	s.redeem("a", "1", "40")
	s.always(fmt.Errorf("put: %w", bonus.ErrChanged), "put")
	none(t, "sync of what is in step", s.sync())
}

// errLost is a connection that broke.
var errLost = errors.New("connection reset")

// A holder of the lease that dies leaves the copy to whoever comes when the
// lease is over; the book decides all the while.
func TestHolderDies(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	die := func() error {
		s.always(errLost, "get", "put", "send", "GET", "PUT", "put done", "GET done", "PUT done")
		return nil
	}
	s.at("put done", 1, die)
	want(t, "the first", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00") // nobody hears it
	s.heal()
	want(t, "version", s.stored().Version, 1)
	want(t, "copy", s.copied(checksField), two)
	want(t, "on the card", fmt.Sprint(s.onCard()), "[a 40.00 b 50.00]")

	s.wait(59 * time.Second)
	s.taken()
	want(t, "the same again", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00")
	want(t, "another", s.redeem("b", "2", "20"), "30.00/20.00 03-02T09:00:59Z")
	want(t, "took", s.taken(), "get GET get GET send put")
	if err := s.sync(); fault.KindOf(err) != fault.Busy || !fault.As(err).RetryAt.Equal(now.Add(time.Minute)) {
		t.Errorf("sync: %v, want busy until the lease is over", err)
	}
	s.wait(time.Second)
	s.taken()
	none(t, "sync", s.sync())
	want(t, "took", s.taken(), "get GET put PUT put")
	s.inStep("after the sync")
}

// A till that comes when a dead holder's lease is over writes the copy itself.
func TestNextTillCompletes(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.always(errLost, "PUT")
	s.redeem("a", "1", "40")
	s.heal()
	s.wait(time.Minute)
	s.redeem("b", "2", "20")
	s.inStep("the next till")
}

// Whether the lease goes on after a write to Rule that failed depends on
// whether the write may still arrive.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault *fakerule.Fault
		step  string
		held  bool
	}{
		"reset before":      {step: "PUT", held: true},
		"reset after":       {step: "PUT done", held: true},
		"500":               {fault: &fakerule.Fault{Status: 500, Body: `{"error":"UnexpectedError"}`}, held: true},
		"500, done":         {fault: &fakerule.Fault{Status: 500, Body: `{"error":"UnexpectedError"}`, After: true}, held: true},
		"garbage, done":     {fault: &fakerule.Fault{Status: 200, Body: `<html>`, After: true}, held: true},
		"refused":           {fault: &fakerule.Fault{Status: 400, Body: `{"error":"BadRequest","message":"no"}`}},
		"too many requests": {fault: &fakerule.Fault{Status: 429, Body: `"Too Many Attempts."`, Header: http.Header{"Retry-After": {"30"}}}},
		"a bad key":         {fault: &fakerule.Fault{Status: 401, Body: `{"error":"NotAuthorized"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, two)
			if c.step != "" {
				s.always(errLost, c.step)
			}
			s.rule.SetFault(func(r *http.Request, _ []byte) *fakerule.Fault {
				if r.Method == http.MethodPut {
					return c.fault
				}
				return nil
			})
			want(t, "redeem", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00") // it stands
			s.heal()
			s.rule.SetFault(nil)
			b := s.stored()
			want(t, "held", b.Holder != "", c.held)
			want(t, "behind", b.Version-b.Synced, 1)
			want(t, "on the card", fmt.Sprint(s.onCard()), "[a 40.00 b 50.00]")
			if !strings.Contains(s.log.String(), "is not written yet") {
				t.Error("nothing is logged")
			}
			if err := s.sync(); c.held != (fault.KindOf(err) == fault.Busy && fault.As(err).RetryAt.Equal(now.Add(time.Minute))) {
				t.Errorf("sync at once: %v", err)
			}
			s.wait(90 * time.Second)
			none(t, "sync", s.sync())
			s.inStep("after the sync")
		})
	}
}

// The till does not wait for Rule longer than a moment: the sale goes on.
func TestRuleHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, two)
		s.Now = time.Now
		start := time.Now()
		ctx := t.Context()
		s.rule.SetFault(func(r *http.Request, _ []byte) *fakerule.Fault {
			if r.Method == http.MethodPut {
				<-r.Context().Done()
				return &fakerule.Fault{Status: 504}
			}
			return nil
		})
		a, err := s.Redeem(ctx, s.r, book, bonus.Request{Kind: bonus.Check, ID: "a", Order: "1", Remaining: ptr("40")}, "req-1")
		none(t, "redeem", err)
		want(t, "left", a.Remaining.StringFixed(2), "40.00")
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("it took %s", d)
		}
		want(t, "held", s.stored().Holder != "", true)
	})
}

// The answer of a write to the book is lost: the till hears of an error, and
// what it asks again is answered as if nothing had happened.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"get", "get done", "put", "put done"} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprint(step, n), func(t *testing.T) {
				t.Parallel()
				s := newShop(t, two)
				s.at(step, n, func() error { return errLost })
				first := s.redeem("a", "1", "40")
				s.heal()
				want(t, "again", s.redeem("a", "1", "40"), "60.00/40.00 03-02T09:00")
				if decided := n == 2; decided != (first == "60.00/40.00 03-02T09:00") {
					t.Errorf("the first answer: %s", first)
				}
				s.wait(90 * time.Second)
				none(t, "sync", s.sync())
				s.inStep("after the sync")
				want(t, "on the card", fmt.Sprint(s.onCard()), "[a 40.00 b 50.00]")
			})
		}
	}
}

// A process is killed at every step of every operation. It is asked again, with
// the message: each operation has happened once, and Rule's copy follows.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(s *shop) bool // false if it must be asked again
		want string
	}{
		"redeem":  {func(s *shop) bool { return s.redeem("a", "1", "10") == "30.00/10.00 03-02T09:00" }, "[a 10.00 b 50.00]"},
		"prove":   {func(s *shop) bool { return s.prove(proof("a", "1", "30"), proof("b", "1", "20")) == nil }, "[a 10.00 b 30.00]"},
		"restore": {func(s *shop) bool { return s.restore("a", "0") == "0.00/100.00" }, "[a 100.00 b 50.00]"},
		"return":  {func(s *shop) bool { return s.giveBack("9", "0") == nil }, "[a 100.00 b 50.00]"},
		"sync":    {func(s *shop) bool { s.wait(time.Minute); return s.sync() == nil }, "[a 40.00 b 50.00]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 0; ; at++ {
				s := newShop(t, two)
				if name == "sync" {
					s.always(errLost, "PUT")
				}
				s.redeem("a", "0", "40")
				s.mu.Lock()
				steps, dead := []string(nil), false
				s.hook = func(step string) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					if dead = dead || len(steps) == at; dead {
						return errLost
					}
					steps = append(steps, step)
					return nil
				}
				s.mu.Unlock()
				c.do(s) // a dead process's answer reaches nobody
				s.heal()
				if !dead {
					if at < 8 {
						t.Fatalf("only %d steps: %v", at, steps)
					}
					want(t, "without a kill, on the card", fmt.Sprint(s.onCard()), c.want)
					return
				}
				if !c.do(s) {
					t.Errorf("killed after %v: asked again, it fails", steps)
				}
				s.wait(90 * time.Second)
				none(t, "sync", s.sync())
				s.inStep(fmt.Sprintf("killed after %v", steps))
				want(t, "on the card", fmt.Sprint(s.onCard()), c.want)
			}
		})
	}
}

// A field that cannot be read is never rewritten, and does not stop the other.
func TestDamagedField(t *testing.T) {
	t.Parallel()
	const damaged, promotion = `[{"bonuscheckid":"a","value":"100"},`, `[{"promotionid":"p","x":1}]`
	s := newShop(t, damaged)
	s.set(promotionsField, promotion)
	want(t, "redeem", s.redeem("a", "1", ""), "conflict: The customer's bonus checks or promotions cannot be read: in Rule, the field Sitoo-Contact.bonuschecks is not a JSON array.")
	want(t, "restore", s.restore("a", ""), "not_found: The customer has no bonus check with this id.")
	want(t, "on the card", fmt.Sprint(s.onCard()), "[p 1.00]")
	none(t, "prove", s.prove(proof("a", "1", "30")))
	a, err := s.Redeem(t.Context(), s.r, book, bonus.Request{Kind: bonus.Promotion, ID: "p", Order: "1"}, "req-1")
	want(t, "redeem the promotion", answer(a, true, err), "1.00/0.00 03-02T09:00")
	want(t, "promotions", s.copied(promotionsField), `[{"promotionid":"p","x":1,"redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}]`)
	want(t, "bonus checks", s.copied(checksField), damaged)
	if !strings.Contains(s.log.String(), "cannot be read, and is left as it is") || !strings.Contains(s.log.String(), "field left out of the card") {
		t.Errorf("log: %s", s.log.String())
	}

	s.set(checksField, two) // put right: what the order used meanwhile counts
	want(t, "on the card", fmt.Sprint(s.onCard()), "[a 70.00 b 50.00]")
	s.set(promotionsField, `{}`)
	want(t, "redeem", s.redeem("a", "2", "10"), "60.00/10.00 03-02T09:00")
	want(t, "promotions", s.copied(promotionsField), `{}`)
	s.inStep("afterwards")
}

// What is shown can be used: without the book nothing is shown.
func TestCardWithoutBook(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	for _, step := range []string{"get", "get done"} {
		s.always(errLost, step)
		want(t, "on the card", len(s.onCard()), 0)
		want(t, "redeem", s.redeem("a", "1", ""), "internal: ")
	}
	s.heal()
	if !strings.Contains(s.log.String(), "the card shows none") {
		t.Errorf("log: %s", s.log.String())
	}
	want(t, "on the card", fmt.Sprint(s.onCard()), "[a 100.00 b 50.00]")
}

// Rule does not answer when the copy is read: nothing has happened.
func TestRuleDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.always(errLost, "GET")
	want(t, "redeem", s.redeem("a", "1", ""), "unavailable: ")
	if err := s.prove(proof("a", "1", "30")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("prove: %v", err)
	}
	want(t, "messages", len(s.sent), 0)
	s.heal()
	want(t, "revision", s.stored().Rev, 0)
}

// A customer who was deleted in Rule has nothing to use or to get back; orders
// and messages about them are done.
func TestDeletedCustomer(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.always(errLost, "PUT")
	s.redeem("a", "1", "40")
	s.heal()
	s.wait(time.Minute)
	s.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		return &fakerule.Fault{Status: 404, Body: `{"error":"SubscriberNotFound","message":"Could not find subscriber"}`}
	})
	want(t, "redeem", s.redeem("a", "2", ""), "not_found: There is no customer with that id. Search for the customer again.")
	want(t, "restore", s.restore("a", ""), "not_found: There is no customer with that id. Search for the customer again.")
	none(t, "prove", s.prove(proof("a", "2", "30")))
	none(t, "return", s.giveBack("9", "1"))
	none(t, "sync", s.sync())
	if !strings.Contains(s.log.String(), "who is not in Rule") {
		t.Errorf("log: %s", s.log.String())
	}
}

// An order may use a check that Rule lists only later. Its opening is noted
// before the copy is rewritten, whoever rewrites it.
func TestListedLater(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(s *shop){
		"redeem another": func(s *shop) { s.redeem("b", "2", "20") },
		"redeem it":      func(s *shop) { s.redeem("a", "2", "60") },
		"sync": func(s *shop) {
			s.always(errLost, "PUT")
			s.redeem("b", "2", "20")
			s.heal()
			s.wait(time.Minute)
			none(s.t, "sync", s.sync())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, `[{"bonuscheckid":"b","value":50}]`)
			none(t, "prove", s.prove(proof("a", "1", "30")))
			if !strings.Contains(s.log.String(), "does not list") {
				t.Errorf("log: %s", s.log.String())
			}
			s.set(checksField, two)
			want(t, "on the card", fmt.Sprint(s.onCard()), "[a 70.00 b 50.00]")
			do(s)
			s.inStep("afterwards")
			left, says := "[a 70.00 b 20.00]", `"remaining":"70.00"`
			if name == "redeem it" {
				left, says = "[a 60.00 b 50.00]", `"remaining":"60.00"`
			}
			want(t, "on the card", fmt.Sprint(s.onCard()), left)
			if copied := s.copied(checksField); !strings.Contains(copied, says) {
				t.Errorf("Rule's copy is %s, want %s in it", copied, says)
			}
			want(t, "taken back", s.restore("a", "1")[:4], "0.00")
			s.inStep("taken back")
		})
	}
}

// More was taken with a check than was left: the log says so, for people to
// look at, with no name in it.
func TestShortIsLogged(t *testing.T) {
	t.Parallel()
	s := newShop(t, two)
	s.redeem("a", "1", "40")
	none(t, "prove", s.prove(proof("a", "2", "60")))
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "beyond=20.00") || !strings.Contains(log, "order=2") {
		t.Errorf("log: %s", log)
	}
	want(t, "on the card", fmt.Sprint(s.onCard()), "[b 50.00]")
}

// Twenty tills at once ask for one check: one gets it, and the others hear why
// they do not. One till that asks twenty times gets one answer.
func TestTwentyTills(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		s := newShop(t, two)
		s.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		var tills sync.WaitGroup
		answers := make([]string, 20)
		for i := range answers {
			order := "1"
			if !same {
				order = fmt.Sprint(i)
			}
			tills.Go(func() { answers[i] = s.redeem("a", order, "") })
		}
		tills.Wait()
		slices.Sort(answers)
		const got, lost = "100.00/0.00 03-02T09:00", "conflict: This bonus check has been used already, on 2026-03-02 10:00."
		for i, a := range answers {
			if w := map[bool]string{true: got, false: lost}[same || i == 0]; a != w {
				t.Errorf("same order %v: %s, want %s", same, a, w)
			}
		}
		s.wait(time.Minute)
		none(t, "sync", s.sync())
		s.inStep("afterwards")
	}
}
