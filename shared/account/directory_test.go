package account_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

const (
	key    = "demo-key"
	newKey = "demo-key-renewed"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// A key's id is in the store, in the queue and in logs: it never changes.
func TestID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"demo-key":  "f84b914e31148651ff051f0c357041a6",
		"demo-key2": "1823dff3ec6f21451544e033618692c4",
		"":          "de0d61b8837e201b0c07ccd0b7dec5a8",
	} {
		if got := account.ID(in); got != want {
			t.Errorf("ID(%q) = %s, want %s", in, got, want)
		}
	}
}

// What follows the last slash is a label, if it can be one.
func TestSplitToken(t *testing.T) {
	t.Parallel()
	for token, want := range map[string][2]string{
		"demo-key": {"demo-key", ""}, "demo-key/fi": {"demo-key", "fi"}, "demo-key/FI": {"demo-key", "fi"}, "a/b/Se-2": {"a/b", "se-2"},
		"demo-key/": {"demo-key/", ""}, "demo-key/12345678901234567890": {"demo-key", "12345678901234567890"},
		"demo-key/123456789012345678901": {"demo-key/123456789012345678901", ""}, "demo-key/f i": {"demo-key/f i", ""}, "demo-key/å": {"demo-key/å", ""}, "/fi": {"", "fi"},
	} {
		if key, label := account.SplitToken(token); key != want[0] || label != want[1] {
			t.Errorf("%q: %q, %q; want %q", token, key, label, want)
		}
	}
}

// sealer counts, and seals so that a test can look inside.
type sealer struct {
	mu           sync.Mutex
	seals, opens int
	err          error
}

func (s *sealer) Seal(_ context.Context, id, secret string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seals++
	return []byte("sealed " + id + " " + secret), s.err
}

func (s *sealer) Open(_ context.Context, id string, sealed []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens++
	secret, ok := strings.CutPrefix(string(sealed), "sealed "+id+" ")
	if !ok {
		return "", errors.New("sealed for another account")
	}
	return secret, s.err
}

type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// world is what all processes have in common, and Rule's stand-in.
type world struct {
	t      *testing.T
	store  *memory.Accounts
	sealer *sealer
	rule   *fakerule.Server
	logs   bytes.Buffer
	mu     sync.Mutex
	ops    []string         // calls of the store
	fail   map[string]error // the store's, by call
	now    time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, store: &memory.Accounts{}, sealer: &sealer{}, fail: map[string]error{}, now: start}
	w.rule = fakerule.New(fakerule.Options{Now: w.clock})
	w.store.Fail = func(op string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !strings.HasSuffix(op, memory.Done) {
			w.ops = append(w.ops, op)
		}
		return w.fail[op]
	}
	return w
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(p)
}

func (w *world) log() string { w.mu.Lock(); defer w.mu.Unlock(); return w.logs.String() }

func (w *world) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) later(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) failing(op string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[op] = err
}

// calls returns the calls of the store since it was last asked.
func (w *world) calls() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return strings.Join(ops, " ")
}

// asked returns the requests that Rule has got since it was last asked.
func (w *world) asked() string {
	var list []string
	for _, q := range w.rule.Requests() {
		list = append(list, q.Route)
	}
	w.rule.ResetRequests()
	return strings.Join(list, ", ")
}

// process is a new process: it shares the store and remembers nothing.
func (w *world) process() *account.Directory {
	c := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: direct{w.rule}}, Now: w.clock, Pause: -1})
	return &account.Directory{Store: w.store, Sealer: w.sealer, Rule: c, Now: w.clock, Log: slog.New(slog.NewJSONHandler(w, nil))}
}

// addKey makes another key of the first account in Rule.
func (w *world) addKey(k string) {
	w.t.Helper()
	if err := w.rule.AddKeyTo(fakerule.DefaultAccount, k); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) present(d *account.Directory, token string) *account.Visit {
	w.t.Helper()
	v, err := d.Present(w.t.Context(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

const (
	details = "GET /v2/sender/details"
	tags    = "GET /v2/tags"
)

var errDown = fault.Wrap(fault.Unavailable, errors.New("no answer"), "")

// The first call with a key asks Rule whose it is, and only that; every other
// process then goes by the store.
func TestFirstUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.process()
	v := w.present(d, key)
	if v.Account.ID != "42" || v.Account.Name == "" || v.Key.ID != account.ID(key) || string(v.Key.Sealed) != "sealed 42 "+key {
		t.Errorf("%+v", v)
	}
	if got := w.asked(); got != details {
		t.Errorf("Rule was asked %s, want %s", got, details)
	}
	w.calls()
	for name, p := range map[string]*account.Directory{"the process that knows": d, "a new one": w.process()} {
		again := w.present(p, key)
		if diff := cmp.Diff(v.Account, again.Account) + cmp.Diff(v.Key, again.Key); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		want := map[string]string{"the process that knows": "Get", "a new one": "Key Get"}[name]
		if got := w.calls(); got != want || w.asked() != "" {
			t.Errorf("%s calls the store: %s, want %s", name, got, want)
		}
	}
	if strings.Contains(w.log(), key) || !strings.Contains(w.log(), `"account":"42"`) {
		t.Errorf("log %s", w.log())
	}
}

// Several keys lead to one account, in whatever order, with or without a label.
func TestAnotherKeyNeedsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addKey(newKey)
	w.rule.AddKey("another-shop")
	for token, want := range map[string][2]string{key: {"42", ""}, newKey + "/fi": {"42", "fi"}, newKey + "/FI": {"42", "fi"}, "another-shop": {"43", ""}} {
		if v := w.present(w.process(), token); v.Account.ID != want[0] || v.Account.Label != want[1] || v.Account.Scope() != account.Scope(want[0], want[1]) {
			t.Errorf("%s leads to %s", token, v.Account.Scope())
		}
	}
	keys, err := w.process().Keys(t.Context(), "42")
	if err != nil || len(keys) != 2 {
		t.Errorf("Keys = %+v, %v; want two", keys, err)
	}
}

// Where Rule does not say whose a key is, the key stands for the account, the log
// says so once, and it stays: also once Rule would say.
func TestRuleDoesNotSayWhoseAKeyIs(t *testing.T) {
	t.Parallel()
	for _, status := range []int{403, 404} {
		w := newWorld(t)
		if err := w.rule.SetDetails(0, fakerule.Details{Status: status}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if v := w.present(w.process(), key); v.Account.ID != account.ID(key) {
				t.Errorf("%d: account %s, want the key's own", status, v.Account.ID)
			}
		}
		if n := strings.Count(w.log(), "does not say whose"); n != 1 {
			t.Errorf("%d: the log says so %d times, want once", status, n)
		}
		if err := w.rule.SetDetails(0, fakerule.Details{}); err != nil {
			t.Fatal(err)
		}
		if v := w.present(w.process(), key); v.Account.ID != account.ID(key) {
			t.Errorf("%d: account %s, want it to stay", status, v.Account.ID)
		}
		w.rule.RevokeKey(newKey)
		if _, err := w.process().Present(t.Context(), "never-good"); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%d: a bad key: %v", status, err)
		}
	}
}

// Any other answer settles nothing, and is asked for again.
func TestUnsettled(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]fakerule.Details{
		"500": {Status: 500}, "400": {Status: 400}, "409": {Status: 409}, "none": {NoAccountID: true}, "null": {AccountID: json.RawMessage(`null`)},
		"zero": {AccountID: json.RawMessage(`0`)}, "negative": {AccountID: json.RawMessage(`-42`)}, "a fraction": {AccountID: json.RawMessage(`42.5`)},
		"a word": {AccountID: json.RawMessage(`"fyrtiotvå"`)}, "a list": {AccountID: json.RawMessage(`[42]`)}, "a page": {Body: "<html>"}, "an error inside": {Body: `{"error":"SubscriberNotFound"}`},
		"huge": {AccountID: json.RawMessage(`1e30`)}, "with a zero": {AccountID: json.RawMessage(`"042"`)},
	} {
		w := newWorld(t)
		if err := w.rule.SetDetails(0, d); err != nil {
			t.Fatal(err)
		}
		p := w.process()
		if v, err := p.Present(t.Context(), key); err == nil || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %+v, %v; want unavailable", name, v, err)
		}
		if _, err := w.store.Key(t.Context(), account.ID(key)); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s: a key is stored: %v", name, err)
		}
		if err := w.rule.SetDetails(0, fakerule.Details{AccountID: json.RawMessage(`"42"`)}); err != nil {
			t.Fatal(err)
		}
		if v := w.present(p, key); v.Account.ID != "42" {
			t.Errorf("%s: then account %s", name, v.Account.ID)
		}
	}
}

// A bad key is shown to Rule once a minute, by all processes together, and costs
// the process that knows it nothing.
func TestBadKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.process()
	bad := func(p *account.Directory, want string) {
		t.Helper()
		w.asked()
		_, err := p.Present(t.Context(), "bad-key")
		if f := fault.As(err); f == nil || f.Kind != fault.Unauthorized || f.Message == "" || strings.Contains(err.Error(), "bad-key") {
			t.Errorf("%v, want unauthorized", err)
		}
		if got := w.asked(); got != want {
			t.Errorf("Rule was asked %q, want %q", got, want)
		}
	}
	bad(p, details)
	w.calls()
	bad(p, "")
	if got := w.calls(); got != "" {
		t.Errorf("the store was called: %s", got)
	}
	bad(w.process(), "")
	w.later(time.Minute)
	bad(w.process(), details)
	if _, err := p.Present(t.Context(), "bad-key/å"); err == nil || !strings.Contains(fault.As(err).Message, "letters") {
		t.Errorf("%v, want what a label is", err)
	}
	p.Strangers = &account.Strangers{Count: full{}, Now: w.clock, Log: p.Log}
	if _, err := p.Present(t.Context(), "another-bad-key"); fault.KindOf(err) != fault.Busy || w.asked() != "" {
		t.Errorf("%v, want no question beyond the budget", err)
	}
	p = w.process()
	w.present(p, key)
	p.Strangers = &account.Strangers{Count: full{}, Now: w.clock, Log: p.Log}
	w.present(p, key)
}

// full is a count of unknown keys with nothing left.
type full struct{ account.StrangerCount }

func (full) TakeStranger(context.Context, time.Time, string, int) (bool, error) { return false, nil }

// What fails on the way to a new account stores nothing that would be in the way.
func TestFirstUseFails(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"Key", "Refused", "Create", "Create done", "AddKey", "AddKey done", "Get", "seal"} {
		w := newWorld(t)
		w.failing(op, errDown)
		if op == "seal" {
			w.sealer.err = errDown
		}
		p := w.process()
		if v, err := p.Present(t.Context(), key); fault.KindOf(err) != fault.Unavailable || err == nil {
			t.Errorf("%s: %+v, %v; want unavailable", op, v, err)
		}
		w.failing(op, nil)
		w.sealer.err = nil
		for _, p := range []*account.Directory{p, w.process()} {
			if v := w.present(p, key); v.Account.ID != "42" || v.Key.ID == "" {
				t.Errorf("%s: afterwards %+v", op, v)
			}
		}
		if strings.Contains(w.log(), key) {
			t.Errorf("%s: log %s", op, w.log())
		}
	}
}

// Rule's word holds for a quarter of an hour, for all processes; then it is asked
// again, and what changes something for good asks at once.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	verify := func(within time.Duration, want string, kind error) {
		t.Helper()
		v := w.present(w.process(), key)
		w.asked()
		err := w.process().Verify(t.Context(), v, within)
		if (err == nil) != (kind == nil) || err != nil && fault.KindOf(err) != fault.KindOf(kind) {
			t.Errorf("Verify = %v, want %v", err, kind)
		}
		if got := w.asked(); got != want {
			t.Errorf("Rule was asked %q, want %q", got, want)
		}
	}
	refused := fault.New(fault.Unauthorized, "")
	verify(account.VerifiedFor, "", nil)
	verify(0, tags, nil)
	w.later(15*time.Minute - time.Second)
	verify(account.VerifiedFor, "", nil)
	w.later(time.Second)
	verify(account.VerifiedFor, tags, nil)
	verify(account.VerifiedFor, "", nil) // shared
	w.rule.RevokeKey(key)
	verify(account.VerifiedFor, "", nil)
	verify(0, tags, refused)
	verify(account.VerifiedFor, "", refused) // everywhere, at once
	verify(0, "", refused)                   // for a minute
	w.later(time.Minute)
	verify(account.VerifiedFor, tags, refused)
	w.addKey(key) // Rule has it again
	w.later(time.Minute)
	verify(account.VerifiedFor, tags, nil)
	verify(account.VerifiedFor, "", nil)
	k, err := w.store.Key(t.Context(), account.ID(key))
	if err != nil || !k.RefusedSince.IsZero() || !k.Accepted.Equal(w.clock()) {
		t.Errorf("%+v, %v; want it accepted now", k, err)
	}
	if err := w.rule.SetDetails(0, fakerule.Details{}); err != nil {
		t.Fatal(err)
	}
}

// Calls to Rule at the same time, as a customer and her fields are asked for, are
// told the same of the key at the same time.
func TestVerdictsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.process()
	for _, refused := range []bool{false, true} {
		v := w.present(p, key)
		if refused {
			w.rule.RevokeKey(key)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := v.Rule.Subscriber(t.Context(), rule.ByEmail("kund.ett@example.com"))
				if got := fault.KindOf(err); refused != (got == fault.Unauthorized) {
					t.Errorf("refused %v: %v", refused, err)
				}
				if err := p.Verify(t.Context(), v, 0); refused != (fault.KindOf(err) == fault.Unauthorized) {
					t.Errorf("refused %v: Verify = %v", refused, err)
				}
			})
		}
		wg.Wait()
		if k, err := w.store.Key(t.Context(), account.ID(key)); err != nil || refused == k.RefusedSince.IsZero() {
			t.Errorf("refused %v: %+v, %v", refused, k, err)
		}
	}
}

// What a session is told of its key is noted, and rarely: a till's find costs no
// write each time.
func TestVerdictsAreNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.process()
	w.present(p, key)
	use := func(want string) {
		t.Helper()
		v := w.present(p, key)
		w.calls()
		if _, err := v.Rule.Subscriber(t.Context(), rule.ByEmail("kund.ett@example.com")); err != nil && fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
		if got := w.calls(); got != want {
			t.Errorf("noted %q, want %q", got, want)
		}
	}
	use("AcceptKey") // with no label yet
	use("")
	w.later(5*time.Minute - time.Second)
	use("")
	w.later(time.Second)
	use("AcceptKey")
	use("")
	w.rule.RevokeKey(key)
	use("RefuseKey")
	w.addKey(key)
	use("AcceptKey")
	if v, err := p.PresentQuietly(t.Context(), key); err != nil {
		t.Error(err)
	} else if w.later(time.Hour); v.Rule.Verify(t.Context()) != nil {
		t.Error("refused")
	}
	if k, err := w.store.Key(t.Context(), account.ID(key)); err != nil || !k.Accepted.Equal(start.Add(5*time.Minute)) {
		t.Errorf("%+v, %v; want nothing noted by a call that releases nothing", k, err)
	}
}

// While the store does not answer, a known account goes on for a quarter of an
// hour.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.process()
	want := w.present(p, key)
	w.failing("Get", errDown)
	w.later(15*time.Minute - time.Second)
	if got := w.present(p, key); !cmp.Equal(want.Account, got.Account) {
		t.Errorf("%+v; want what is known, %+v", got.Account, want.Account)
	}
	if !strings.Contains(w.log(), "does not answer") {
		t.Errorf("log %s, want a warning", w.log())
	}
	if _, err := w.process().Present(t.Context(), key); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a new process: %v, want unavailable", err)
	}
	w.later(time.Second)
	if v, err := p.Present(t.Context(), key); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after a quarter of an hour: %+v, %v; want unavailable", v, err)
	}
	w.failing("Get", account.ErrNotFound)
	if v, err := p.Present(t.Context(), key); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of one that was deleted: %+v, %v; want unavailable", v, err)
	}
}

// A block that cannot be shared holds in this process.
func TestBlock(t *testing.T) {
	t.Parallel()
	for _, block := range []error{nil, errDown} {
		w := newWorld(t)
		p := w.process()
		w.present(p, key)
		w.failing("Block", block)
		until := start.Add(10 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context()) // the till's request is over when Rule says 429
		cancel()
		p.Block(ctx, "42", until)
		if v := w.present(p, key); !v.Account.BlockedUntil.Equal(until) || !v.Rule.BlockedUntil().Equal(until) {
			t.Errorf("%v: blocked until %v, want %v", block, v.Account.BlockedUntil, until)
		}
		if failed := strings.Contains(w.log(), "could not share"); failed != (block != nil) {
			t.Errorf("log = %s", w.log())
		}
		if v := w.present(w.process(), key); v.Account.BlockedUntil.Equal(until) != (block == nil) {
			t.Errorf("another process: %v", v.Account.BlockedUntil)
		}
		p.Block(t.Context(), "unknown", start)
	}
}

// A token that cannot be an API key reaches neither Rule nor the store.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		"", "abc", "abc/fi", "/fi", strings.Repeat("k", 513), "demo key", "demo\tkey", "demo-key\r\nX-Evil: 1", "demo-key\x00", "demo-key\x7f", "nyckel-å", "demo-key\u00a0", "demo-key\xff", " demo-key",
	} {
		w := newWorld(t)
		_, err := w.process().Present(t.Context(), token)
		if f := fault.As(err); f == nil || f.Kind != fault.Unauthorized || f.Message == "" {
			t.Errorf("%q: %v, want unauthorized with a sentence", token, err)
		}
		if ops, asked := w.calls(), w.asked(); asked != "" || ops != "" || w.sealer.seals != 0 {
			t.Errorf("%q: Rule was asked %q, the store %q", token, asked, ops)
		}
	}
}

// A worker goes by the key that it is told, or by one that Rule accepts.
func TestOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addKey(newKey)
	p := w.process()
	w.present(p, key)
	w.later(time.Minute)
	w.present(p, newKey)
	open := func(id, want string) {
		t.Helper()
		v, err := w.process().Open(t.Context(), "42/fi", id)
		if err != nil || v.Key.ID != account.ID(want) || v.Account.Label != "fi" {
			t.Errorf("Open(%q) = %+v, %v; want %s", id, v, err, want)
		}
	}
	open(account.ID(key), key)
	open(account.ID(newKey), newKey)
	open("", key) // both are good: the one known longest, so that it does not change all the time
	w.rule.RevokeKey(key)
	v, err := w.process().OpenVerified(t.Context(), "42") // Rule's word of a minute ago
	if err != nil || v.Key.ID != account.ID(key) {
		t.Errorf("%+v, %v", v, err)
	}
	w.later(15 * time.Minute)
	if v, err = w.process().OpenVerified(t.Context(), "42"); err != nil || v.Key.ID != account.ID(newKey) {
		t.Errorf("%+v, %v; want the key that Rule accepts", v, err)
	}
	open("", newKey)
	w.rule.RevokeKey(newKey)
	w.later(time.Hour)
	if v, err := w.process().OpenVerified(t.Context(), "42"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("%+v, %v; want unauthorized", v, err)
	}
	for scope, id := range map[string]string{"4711": "", "42": account.ID("other"), "43": account.ID(key)} {
		if v, err := p.Open(t.Context(), scope, id); fault.KindOf(err) != fault.NotFound || fault.As(err).Message == "" {
			t.Errorf("Open(%s, %s) = %+v, %v; want not found", scope, id, v, err)
		}
	}
	w.sealer.err = errDown
	if v, err := w.process().Open(t.Context(), "42", account.ID(key)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%+v, %v; want unavailable", v, err)
	}
}

// What a refused key delivers is taken for fourteen days, unless a newer key has
// been accepted for a day.
func TestInGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addKey("an-older-key")
	p := w.process()
	w.present(p, "an-older-key")
	v := w.present(p, key)
	w.rule.RevokeKey(key)
	if err := p.Verify(t.Context(), v, 0); fault.KindOf(err) != fault.Unauthorized {
		t.Fatal(err)
	}
	grace := func(want bool) {
		t.Helper()
		if got, err := p.InGrace(t.Context(), w.present(p, key).Key); err != nil || got != want {
			t.Errorf("after %v: %v, %v; want %v", w.clock().Sub(start), got, err, want)
		}
	}
	grace(true)
	w.later(13 * 24 * time.Hour)
	grace(true)
	w.addKey(newKey)
	if _, err := p.PresentQuietly(t.Context(), newKey); err != nil { // seen, and nothing done with it
		t.Fatal(err)
	}
	w.later(time.Hour)
	if err := p.Verify(t.Context(), w.present(p, newKey), 0); err != nil {
		t.Fatal(err)
	}
	w.later(22 * time.Hour)
	grace(true)
	w.later(time.Hour)
	grace(false) // fourteen days
	if err := w.store.AcceptKey(t.Context(), account.ID(key), "", w.clock()); err != nil {
		t.Fatal(err)
	}
	if err := w.store.RefuseKey(t.Context(), account.ID(key), w.clock()); err != nil {
		t.Fatal(err)
	}
	w.later(48 * time.Hour)
	grace(true) // the other key was known before it was refused
	w.addKey("the-next-key")
	w.present(p, "the-next-key")
	w.later(24*time.Hour - time.Second)
	grace(true)
	w.later(time.Second)
	grace(false)
}

// A key is dropped for good, whatever Rule says of it later; one that Rule still
// accepts only on confirmation, and none by itself.
func TestDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addKey(newKey)
	w.rule.AddKey("another-shop")
	p := w.process()
	v, old, other := w.present(p, newKey), w.present(p, key), w.present(p, "another-shop")
	drop := func(by *account.Visit, id string, confirmed bool, want fault.Kind, says string) {
		t.Helper()
		err := p.Drop(t.Context(), by, id, confirmed)
		if err == nil || fault.KindOf(err) != want || !strings.Contains(fault.As(err).Message, says) {
			t.Errorf("Drop = %v, want %v", err, want)
		}
	}
	drop(v, v.Key.ID, true, fault.Conflict, "itself")
	drop(v, old.Key.ID, false, fault.Conflict, "X-Confirm")
	drop(v, other.Key.ID, true, fault.NotFound, "")
	drop(other, old.Key.ID, true, fault.NotFound, "")
	if err := p.Drop(t.Context(), v, old.Key.ID, true); err != nil {
		t.Fatal(err)
	}
	drop(v, old.Key.ID, true, fault.NotFound, "")
	for _, p := range []*account.Directory{p, w.process()} {
		if _, err := p.Present(t.Context(), key); fault.KindOf(err) != fault.Unauthorized || !strings.Contains(fault.As(err).Message, "dropped") {
			t.Errorf("the dropped key: %v", err)
		}
	}
	if keys, err := p.Keys(t.Context(), "42"); err != nil || len(keys) != 1 {
		t.Errorf("Keys = %+v, %v; want one", keys, err)
	}
	if v, err := p.OpenVerified(t.Context(), "42"); err != nil || v.Key.ID != account.ID(newKey) {
		t.Errorf("%+v, %v", v, err)
	}
	if err := w.store.DropKey(t.Context(), old.Key.ID, time.Time{}); err != nil { // an operator
		t.Fatal(err)
	}
	w.present(p, key)
	w.rule.RevokeKey(key)
	if err := p.Drop(t.Context(), v, old.Key.ID, false); err != nil {
		t.Errorf("a key that Rule refuses: %v", err)
	}
}

// A flood of keys does not fill the memory: forgetting starts over.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Fail = nil
	p := w.process()
	for i := range 10_001 {
		if err := w.store.Refuse(t.Context(), account.ID(fmt.Sprintf("bad-key-%d", i)), start.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Present(t.Context(), fmt.Sprintf("bad-key-%d", i)); fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
	}
	w.present(p, key)
}

// Whatever a request carries as its token, only what can stand in a header
// reaches Rule.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{key, "", "abc", "demo key", "demo-key\r\nX: 1", "\xff\xfe\xfd\xfc", "åäöÅÄÖ", "demo-key/fi", "//", "a/b/c/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		w := newWorld(t)
		plain, label := account.SplitToken(token)
		if strings.ToLower(label) != label || len(label) > 20 || label != "" && !strings.EqualFold(plain+"/"+label, token) || label == "" && plain != token {
			t.Errorf("SplitToken(%q) = %q, %q", token, plain, label)
		}
		w.rule.AddKey(plain)
		v, err := w.process().Present(t.Context(), token)
		if err == nil && (v.Account.ID == "" || v.Account.Label != label) {
			t.Errorf("%+v of %q", v, token)
		}
		odd := slices.ContainsFunc([]byte(plain), func(c byte) bool { return c <= ' ' || c > '~' })
		if odd && (fault.KindOf(err) != fault.Unauthorized || w.asked() != "") {
			t.Errorf("%q: %v", token, err)
		}
	})
}
