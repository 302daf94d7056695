package order_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// race is an order that a backfill found in Sitoo before the till's copy of it
// came.
type race struct {
	*order.Worker
	t      *testing.T
	rule   *fakerule.Server
	ledger *memory.Ledger

	mu  sync.Mutex
	now time.Time
	on  func() error // before and after every effect, nil lets all pass
}

const sold = 255934461 // whose order it is

func newRace(t *testing.T) *race {
	t.Helper()
	w, server := newWorker(t)
	r := &race{Worker: w, t: t, rule: server, now: now}
	r.ledger = &memory.Ledger{Fail: func(string) error { return r.step() }}
	w.Ledger, w.Now = r.ledger, r.clock
	asks(w, rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: mortal{direct{server}, func(string) error { return r.step() }}}, Now: r.clock, Pause: -1})
	return r
}

func (r *race) clock() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }

func (r *race) pass(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.now = r.now.Add(d) }

func (r *race) each(on func() error) { r.mu.Lock(); defer r.mu.Unlock(); r.on = on }

func (r *race) step() error {
	r.mu.Lock()
	on := r.on
	r.mu.Unlock()
	if on == nil {
		return nil
	}
	return on()
}

func (r *race) live(o sitoo.Order, attempt string) error {
	r.t.Helper()
	v, err := r.Directory.Open(r.t.Context(), "a", "")
	if err != nil {
		r.t.Fatal(err)
	}
	return r.Deliver(context.WithoutCancel(r.t.Context()), v.Account, v.Rule, o, attempt)
}

// soldBefore is a purchase that was made some time before the backfill met it.
func (r *race) soldBefore(d time.Duration) sitoo.Order {
	return decoded(r.t, fmt.Sprintf(`{"orderid":900001,"orderdate":%d,"moneytotal_gross_all":"10.00","additionaldata":{"customcrm-contactid":"%d"}}`, now.Add(-d).Unix(), sold))
}

// has fails unless the entry is there once, and so many automations have started.
func (r *race) has(when string, least, most int) {
	r.t.Helper()
	entries, started := 0, 0
	for _, e := range r.rule.Entries(fakerule.DefaultKey, sold, order.Group) {
		if e.Value("orderid") == "900001" {
			entries++
		}
	}
	for _, a := range r.rule.Automations(fakerule.DefaultKey) {
		if a.Subscriber == sold && a.Tag == order.PurchaseTag {
			started++
		}
	}
	if entries != 1 || started < least || started > most {
		r.t.Errorf("%s: %d entries, %d automations; want 1, %d to %d", when, entries, started, least, most)
	}
}

// The customer has the receipt even if a backfill was faster than the till's
// copy, once, and never for an old order.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age time.Duration
		by  string
		out int
	}{
		"just sold":                 {time.Hour, "backfill x", 1},
		"of two days ago":           {48 * time.Hour, "backfill x", 1},
		"of four days ago":          {96 * time.Hour, "backfill x", 0},
		"of two years ago":          {2 * 365 * 24 * time.Hour, "backfill x", 0},
		"sent on behalf of another": {time.Hour, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRace(t)
			o := r.soldBefore(c.age)
			if _, err := quietly(t, r.Worker, r.rule, o, "history-1", order.Mode{By: c.by}); err != nil {
				t.Fatal(err)
			}
			r.pass(time.Minute)
			for i := range 3 {
				if err := r.live(o, fmt.Sprint("live-", i)); err != nil {
					t.Error(err)
				}
				r.has(fmt.Sprint("delivery ", i), c.out, c.out)
				r.pass(time.Minute)
			}
			rec, _, err := r.Ledger.Get(t.Context(), order.Key{Account: "a", Order: 900001})
			if err != nil || rec.State != order.Sent || c.out == 1 && rec.Reason != "" || c.out == 0 && rec.Reason != c.by {
				t.Errorf("ledger %+v, %v", rec, err)
			}
		})
	}
}

// An order of a large call may not be in Rule yet: it is waited for, and written
// only if Rule has settled and does not have it.
func TestOvertakenByALargeCall(t *testing.T) {
	t.Parallel()
	for _, arrives := range []bool{true, false} {
		r := newRace(t)
		o := r.soldBefore(time.Hour)
		k := order.Key{Account: "a", Order: o.ID}
		if _, err := r.Ledger.Claim(t.Context(), k, order.Stamp{}, "history-1", r.clock(), time.Hour); err != nil {
			t.Fatal(err)
		}
		// While the backfill holds it, it is looked for again in a minute.
		if err := r.live(o, "live-0"); fault.KindOf(err) != fault.Busy || fault.As(err).RetryAt.Sub(r.clock()) > time.Minute {
			t.Errorf("held: %v", err)
		}
		if err := errors.Join(r.Ledger.Note(t.Context(), k, "history-1", sold, r.clock()), r.Ledger.Finish(t.Context(), k, "history-1", order.Sent, "backfill x", false, r.clock())); err != nil {
			t.Fatal(err)
		}
		sent := r.clock()
		for i := 1; ; i++ {
			err := r.live(o, fmt.Sprint("live-", i))
			if err == nil {
				break
			}
			wait := fault.As(err).RetryAt.Sub(r.clock())
			if fault.KindOf(err) != fault.Busy || wait <= 0 || wait > time.Minute || i > 20 {
				t.Fatalf("try %d: %v, in %s", i, err, wait)
			}
			r.pass(wait)
			if arrives && i == 3 {
				s := r.Directory.(directory).rule.Session(fakerule.DefaultKey, time.Time{}, nil)
				if err := s.AppendEntry(t.Context(), sold, order.Group, order.Entry(o, "")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := r.clock().Sub(sent); arrives && took != 3*time.Minute || !arrives && took != order.Settle {
			t.Errorf("it took %s", took)
		}
		r.has("in the end", 1, 1)
	}
}

// Wherever the live delivery of an overtaken order is killed, the next one
// completes it: one entry, and the automation starts.
func TestOvertakenAtEveryEffect(t *testing.T) {
	t.Parallel()
	errGone := errors.New("the process is gone")
	for at := 1; ; at++ {
		r := newRace(t)
		o := r.soldBefore(time.Hour)
		if _, err := quietly(t, r.Worker, r.rule, o, "history-1", order.Mode{By: "backfill x"}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		n := 0
		var mu sync.Mutex
		r.each(func() error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n >= at {
				return errGone
			}
			return nil
		})
		err := r.live(o, "live-1")
		over := n < at
		if (err == nil) != over {
			t.Errorf("killed at effect %d: %v", at, err)
		}
		r.each(nil)
		r.pass(2 * order.Lease)
		if err := r.live(o, "live-2"); err != nil {
			t.Errorf("killed at effect %d: %v", at, err)
		}
		r.has(fmt.Sprint("killed at effect ", at), 1, 2)
		if over {
			if at < 12 {
				t.Errorf("only %d effects", at)
			}
			return
		}
	}
}
