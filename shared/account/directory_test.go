package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
)

const key = "demo-key"

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// An account id is in the store, in the queue and in logs: it never changes.
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

// shared is what all processes have in common.
type shared struct {
	store  *memory.Accounts
	sealer *sealer
	ops    []string         // calls of the store
	fail   map[string]error // the store's, by call
	mu     sync.Mutex
	now    time.Time

	asked  atomic.Int32 // how often Rule was asked about a key
	verify func(ctx context.Context, key string) error
}

func newShared() *shared {
	w := &shared{store: &memory.Accounts{}, sealer: &sealer{}, fail: map[string]error{}, now: start}
	w.verify = func(context.Context, string) error { return nil }
	w.store.Fail = func(op string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !strings.HasSuffix(op, "Done") && !strings.HasSuffix(op, "done") {
			w.ops = append(w.ops, op)
		}
		return w.fail[op]
	}
	return w
}

func (w *shared) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *shared) later(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *shared) failing(op string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[op] = err
}

// calls returns the calls of the store since it was last asked.
func (w *shared) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return ops
}

// process is a new process: it shares the store and remembers nothing.
func (w *shared) process(log *bytes.Buffer) *account.Directory {
	l := slog.New(slog.DiscardHandler)
	if log != nil {
		l = slog.New(slog.NewJSONHandler(log, nil))
	}
	return &account.Directory{Store: w.store, Sealer: w.sealer, Now: w.clock, Log: l, Verify: func(ctx context.Context, k string) error {
		w.asked.Add(1)
		return w.verify(ctx, k)
	}}
}

var (
	errDown    = fault.Wrap(fault.Unavailable, errors.New("no answer"), "")
	errBadKey  = fault.Wrap(fault.Unauthorized, errors.New("status 401"), "")
	authorizes = map[string]func(*account.Directory, context.Context, string) (account.Account, error){
		"Authorize": (*account.Directory).Authorize, "Accepted": (*account.Directory).Accepted,
	}
)

func TestFirstUse(t *testing.T) {
	t.Parallel()
	for name, authorize := range authorizes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShared()
			var log bytes.Buffer
			d := w.process(&log)
			got, err := authorize(d, t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			id := account.ID(key)
			want := account.Account{ID: id, SealedKey: []byte("sealed " + id + " " + key), Created: start}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("account differs (-want +got):\n%s", diff)
			}
			stored, err := w.store.Get(t.Context(), id)
			if err != nil || !cmp.Equal(want, stored) {
				t.Errorf("store holds %+v, %v; want %+v", stored, err, want)
			}
			if strings.Contains(log.String(), key) || strings.Count(log.String(), "new account") != 1 || !strings.Contains(log.String(), id) {
				t.Errorf("log = %s, want one line of the new account, without its key", log.String())
			}
			w.later(time.Hour)
			again, err := authorize(d, t.Context(), key)
			if err != nil || !cmp.Equal(want, again) {
				t.Errorf("the second call gave %+v, %v; want %+v", again, err, want)
			}
			if w.asked.Load() != 1 || w.sealer.seals != 1 {
				t.Errorf("Rule was asked %d times, the key sealed %d times; want once each", w.asked.Load(), w.sealer.seals)
			}
			// Another process finds it in the store.
			if other, err := authorize(w.process(nil), t.Context(), key); err != nil || !cmp.Equal(want, other) || w.asked.Load() != 1 {
				t.Errorf("another process: %+v, %v after %d questions to Rule; want the account after one", other, err, w.asked.Load())
			}
		})
	}
}

// Two tills send a shop's first call at the same moment, to two processes: both
// get the one account.
func TestFirstUseOfTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newShared()
	both := make(chan struct{}, 2)
	gate := make(chan struct{})
	w.verify = func(context.Context, string) error { both <- struct{}{}; <-gate; return nil }
	var got [2]account.Account
	var wg sync.WaitGroup
	for i := range got {
		d := w.process(nil)
		wg.Go(func() {
			var err error
			if got[i], err = d.Authorize(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	<-both
	<-both
	w.later(time.Second)
	close(gate)
	wg.Wait()
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("the two accounts differ:\n%s", diff)
	}
	if stored, err := w.store.Get(t.Context(), account.ID(key)); err != nil || !cmp.Equal(stored, got[0]) {
		t.Errorf("store holds %+v, %v; want %+v", stored, err, got[0])
	}
}

// One process, many calls at once: for the race detector.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			token := fmt.Sprintf("demo-key%d", i%5)
			a, err := d.Authorize(t.Context(), token)
			if err != nil {
				t.Error(err)
				return
			}
			d.Block(t.Context(), a.ID, start.Add(time.Duration(i)*time.Second))
			if got, err := d.Key(t.Context(), a); err != nil || got != token {
				t.Errorf("Key = %q, %v; want %q", got, err, token)
			}
			d.Refuse(t.Context(), account.ID("demo-key-bad"))
		})
	}
	wg.Wait()
}

func TestRefusedKey(t *testing.T) {
	t.Parallel()
	for name, authorize := range authorizes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShared()
			w.verify = func(context.Context, string) error { return errBadKey }
			here, there := w.process(nil), w.process(nil)
			refused := func(d *account.Directory, when string, asked int32) {
				t.Helper()
				_, err := authorize(d, t.Context(), key)
				f := fault.As(err)
				if f == nil || f.Kind != fault.Unauthorized || !strings.Contains(f.Message, "API token") {
					t.Errorf("%s: %v, want unauthorized with a sentence for the merchant", when, err)
				}
				if got := w.asked.Load(); got != asked {
					t.Errorf("%s: Rule was asked %d times, want %d", when, got, asked)
				}
			}
			refused(here, "first", 1)
			if diff := cmp.Diff([]string{"Get", "Refused", "Refuse"}, w.calls()); diff != "" {
				t.Errorf("calls of the store (-want +got):\n%s", diff)
			}
			w.later(59 * time.Second)
			refused(here, "a minute later, nearly", 1)
			if ops := w.calls(); name == "Authorize" && len(ops) != 0 {
				t.Errorf("calls of the store %v, want none: the process remembers", ops)
			}
			refused(there, "in another process", 1)
			w.calls()
			refused(there, "again in another process", 1)
			if ops := w.calls(); name == "Authorize" && len(ops) != 0 {
				t.Errorf("calls of the store %v, want none: the other process remembers too", ops)
			}
			w.later(time.Second)
			refused(here, "after a minute", 2)
			if _, err := w.store.Get(t.Context(), account.ID(key)); !errors.Is(err, account.ErrNotFound) {
				t.Errorf("store holds the refused key's account (%v)", err)
			}
			// The merchant has made the key good meanwhile.
			w.later(time.Minute)
			w.verify = func(context.Context, string) error { return nil }
			if _, err := authorize(there, t.Context(), key); err != nil {
				t.Errorf("after the key was made good: %v", err)
			}
			if w.sealer.seals != 1 {
				t.Errorf("%d keys were sealed, want the good one alone", w.sealer.seals)
			}
		})
	}
}

// The store cannot take that a key is refused: this process remembers still.
func TestRefuseWithoutStore(t *testing.T) {
	t.Parallel()
	w := newShared()
	w.verify = func(context.Context, string) error { return errBadKey }
	w.failing("Refuse", errDown)
	var log bytes.Buffer
	d := w.process(&log)
	for range 3 {
		if _, err := d.Authorize(t.Context(), key); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%v, want unauthorized", err)
		}
	}
	if w.asked.Load() != 1 || strings.Count(log.String(), "could not share") != 1 || strings.Contains(log.String(), key) {
		t.Errorf("Rule was asked %d times, log %s; want once, with one warning", w.asked.Load(), log.String())
	}
}

// An account's key is refused later on: the till hears of it for a minute
// without a call, but what must not be lost is still taken.
func TestKnownAccountRefused(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	d.Refuse(t.Context(), a.ID)
	w.calls()
	if _, err := d.Authorize(t.Context(), key); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("Authorize: %v, want unauthorized", err)
	}
	if ops := w.calls(); len(ops) != 0 {
		t.Errorf("calls of the store: %v, want none", ops)
	}
	if got, err := d.Accepted(t.Context(), key); err != nil || got.ID != a.ID {
		t.Errorf("Accepted = %+v, %v; want the account", got, err)
	}
	w.later(time.Minute)
	if _, err := d.Authorize(t.Context(), key); err != nil {
		t.Errorf("Authorize after a minute: %v", err)
	}
	if w.asked.Load() != 1 {
		t.Errorf("Rule was asked %d times, want once, at the start", w.asked.Load())
	}
}

// What fails on the way leaves no account, and no refusal either: the same call
// succeeds once the failure is over.
func TestFirstUseFails(t *testing.T) {
	t.Parallel()
	errBusy := error(&fault.Error{Kind: fault.Busy, RetryAt: start.Add(time.Minute)})
	for name, tt := range map[string]struct {
		arrange func(w *shared)
		kind    fault.Kind
		asked   int32
	}{
		"Rule is unreachable":       {func(w *shared) { w.verify = func(context.Context, string) error { return errDown } }, fault.Unavailable, 1},
		"Rule has blocked":          {func(w *shared) { w.verify = func(context.Context, string) error { return errBusy } }, fault.Busy, 1},
		"the store is down":         {func(w *shared) { w.failing("Get", errDown) }, fault.Unavailable, 0},
		"refusals cannot be read":   {func(w *shared) { w.failing("Refused", errDown) }, fault.Unavailable, 0},
		"the key cannot be sealed":  {func(w *shared) { w.sealer.err = errDown }, fault.Unavailable, 1},
		"the account is not stored": {func(w *shared) { w.failing("Create", errDown) }, fault.Unavailable, 1},
		"a defect of the seal's":    {func(w *shared) { w.sealer.err = errors.New("no such key") }, fault.Internal, 1},
		"a defect of the store's":   {func(w *shared) { w.failing("Create", errors.New("no such table")) }, fault.Internal, 1},
		"Rule's answer has no kind": {func(w *shared) { w.verify = func(context.Context, string) error { return errors.New("?") } }, fault.Internal, 1},
		"Rule's kind is wrapped": {func(w *shared) {
			w.verify = func(context.Context, string) error { return fmt.Errorf("x: %w", errDown) }
		}, fault.Unavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShared()
			tt.arrange(w)
			var log bytes.Buffer
			d := w.process(&log)
			got, err := d.Authorize(t.Context(), key)
			if err == nil || fault.KindOf(err) != tt.kind || got.ID != "" {
				t.Errorf("%+v, %v; want no account and %v", got, err, tt.kind)
			}
			if strings.Contains(err.Error(), key) || strings.Contains(log.String(), key) {
				t.Errorf("error %q or log %q holds the key", err, log.String())
			}
			if w.asked.Load() != tt.asked {
				t.Errorf("Rule was asked %d times, want %d", w.asked.Load(), tt.asked)
			}
			for _, op := range []string{"Get", "Refused", "Create"} {
				w.failing(op, nil)
			}
			w.sealer.err = nil
			w.verify = func(context.Context, string) error { return nil }
			id := account.ID(key)
			if _, err := w.store.Get(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
				t.Errorf("store holds an account (%v)", err)
			}
			if until, err := w.store.Refused(t.Context(), id); err != nil || !until.IsZero() {
				t.Errorf("store holds a refusal until %v, %v", until, err)
			}
			if got, err := d.Authorize(t.Context(), key); err != nil || got.ID != id {
				t.Errorf("once that is over: %+v, %v; want the account", got, err)
			}
		})
	}
}

// While the store does not answer, a known account goes on for a quarter of an
// hour.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	w := newShared()
	var log bytes.Buffer
	d := w.process(&log)
	want, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authorize(t.Context(), "demo-key2"); err != nil {
		t.Fatal(err)
	}
	w.failing("Get", errDown)
	w.later(15*time.Minute - time.Second)
	for name, authorize := range authorizes {
		if got, err := authorize(d, t.Context(), key); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %+v, %v; want what is known, %+v", name, got, err, want)
		}
	}
	if strings.Count(log.String(), "does not answer") != 2 || strings.Contains(log.String(), key) {
		t.Errorf("log = %s, want a warning for each", log.String())
	}
	if _, err := w.process(nil).Authorize(t.Context(), key); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a new process: %v, want unavailable", err)
	}
	w.later(time.Second)
	if got, err := d.Authorize(t.Context(), key); fault.KindOf(err) != fault.Unavailable || got.ID != "" {
		t.Errorf("after a quarter of an hour: %+v, %v; want unavailable", got, err)
	}
	if w.asked.Load() != 2 {
		t.Errorf("Rule was asked %d times, want twice, at the start", w.asked.Load())
	}
}

// An account that is deleted in the store is not gone on with.
func TestDeletedAccount(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	w.failing("Get", account.ErrNotFound)
	if _, err := d.Get(t.Context(), a.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("%v, want not found", err)
	}
	w.failing("Get", errDown)
	if _, err := d.Get(t.Context(), a.ID); fault.KindOf(err) != fault.Unavailable || errors.Is(err, account.ErrNotFound) {
		t.Errorf("%v, want unavailable: what was known is forgotten", err)
	}
}

func TestBlock(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		block, get error // the store's
	}{
		"store takes it":                        {nil, nil},
		"store does not take it":                {errDown, nil},
		"store takes it, and fails then":        {nil, errDown},
		"store does not take it, and is silent": {errDown, errDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newShared()
			var log bytes.Buffer
			d := w.process(&log)
			a, err := d.Authorize(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			w.failing("Block", tt.block)
			w.failing("Get", tt.get)
			until := start.Add(10 * time.Minute)
			// The till's request is over when Rule says 429.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			d.Block(ctx, a.ID, until)
			d.Block(ctx, a.ID, until.Add(-time.Minute)) // never back
			for range 2 {
				if got, err := d.Authorize(t.Context(), key); err != nil || !got.BlockedUntil.Equal(until) {
					t.Errorf("%+v, %v; want blocked until %v in this process", got, err, until)
				}
			}
			if failed := strings.Contains(log.String(), "could not share"); failed != (tt.block != nil) || strings.Contains(log.String(), key) {
				t.Errorf("log = %s, want it to tell the failure, if any", log.String())
			}
			w.failing("Get", nil)
			got, err := w.process(nil).Authorize(t.Context(), key)
			if err != nil || got.BlockedUntil.Equal(until) != (tt.block == nil) {
				t.Errorf("another process: %+v, %v; want it to know: %v", got, err, tt.block == nil)
			}
		})
	}
	// An account that nobody knows can be blocked without harm.
	w := newShared()
	w.process(nil).Block(t.Context(), "nobody", start)
}

// A token that cannot be an API key reaches neither Rule nor the store.
func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		"", "abc", strings.Repeat("k", 513), "demo key", "demo\tkey", "demo-key\r\nX-Evil: 1", "demo-key\x00", "demo-key\x7f", "nyckel-å", "demo-key\u00a0", "demo-key\xff", " demo-key",
	} {
		w := newShared()
		d := w.process(nil)
		for name, authorize := range authorizes {
			_, err := authorize(d, t.Context(), token)
			if f := fault.As(err); f == nil || f.Kind != fault.Unauthorized || f.Message == "" {
				t.Errorf("%s(%q): %v, want unauthorized with a sentence", name, token, err)
			}
		}
		if ops := w.calls(); w.asked.Load() != 0 || len(ops) != 0 || w.sealer.seals != 0 {
			t.Errorf("%q: Rule was asked %d times, the store %v", token, w.asked.Load(), ops)
		}
	}
	for _, token := range []string{"abcd", strings.Repeat("k", 512), "!~#$%&'()*+,-./:;<=>?@[]^_`{|}\\\""} {
		if _, err := newShared().process(nil).Authorize(t.Context(), token); err != nil {
			t.Errorf("%q: %v, want it to be tried", token, err)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	want := func(a account.Account, secret string, opens int) {
		t.Helper()
		got, err := d.Key(t.Context(), a)
		if err != nil || got != secret || w.sealer.opens != opens {
			t.Errorf("Key = %q, %v after %d openings; want %q after %d", got, err, w.sealer.opens, secret, opens)
		}
	}
	want(a, key, 1)
	want(a, key, 1)
	a.SealedKey = []byte("sealed " + a.ID + " demo-key-new")
	want(a, "demo-key-new", 2)
	want(a, "demo-key-new", 2)

	broken := a
	broken.SealedKey = []byte("sealed another " + key)
	if got, err := d.Key(t.Context(), broken); err == nil || got != "" {
		t.Errorf("Key of a seal made for another account = %q, %v; want an error", got, err)
	}
	w.sealer.err = errDown
	if got, err := w.process(nil).Key(t.Context(), a); fault.KindOf(err) != fault.Unavailable || got != "" {
		t.Errorf("Key while the seal cannot be opened = %q, %v; want unavailable", got, err)
	}
	want(a, "demo-key-new", 4) // two failures more, and this process has the key still
}

// A flood of keys does not fill the memory: forgetting starts over, and costs a
// question each.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	const many = 10_001
	for i := range many {
		d.Refuse(t.Context(), fmt.Sprintf("id-%d", i))
	}
	w.store.Fail = nil
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		other := a
		other.ID = fmt.Sprintf("id-%d", i)
		other.SealedKey = []byte("sealed " + other.ID + " k")
		if _, err := d.Key(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	before := w.sealer.opens
	if _, err := d.Key(t.Context(), account.Account{ID: "id-0", SealedKey: []byte("sealed id-0 k")}); err != nil || w.sealer.opens != before+1 {
		t.Errorf("%v after %d openings: the first of %d keys is remembered still", err, w.sealer.opens-before, many)
	}
}

// Whatever a request carries as its token, only what can stand in a header
// reaches Rule.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{key, "", "abc", "demo key", "demo-key\r\nX: 1", "\xff\xfe\xfd\xfc", "åäöÅÄÖ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		w := newShared()
		w.verify = func(_ context.Context, k string) error {
			for _, c := range []byte(k) {
				if c <= ' ' || c > '~' {
					t.Errorf("Rule is asked about %q", k)
				}
			}
			return nil
		}
		a, err := w.process(nil).Authorize(t.Context(), token)
		if err == nil && a.ID != account.ID(token) {
			t.Errorf("account %s of %q, want %s", a.ID, token, account.ID(token))
		}
		if err != nil && (fault.KindOf(err) != fault.Unauthorized || w.asked.Load() != 0) {
			t.Errorf("%q: %v after %d questions to Rule", token, err, w.asked.Load())
		}
	})
}
