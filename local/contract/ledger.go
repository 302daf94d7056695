package contract

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sitoo-rule/shared/order"
)

const minute = time.Minute

// Ledger tests an order.Ledger.
func Ledger(t *testing.T, open func(t *testing.T) order.Ledger) {
	at := func(d time.Duration) time.Time { return start.Add(d) }

	t.Run("an unknown order", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		if r, ok, err := l.Get(t.Context(), l.k); ok || err != nil {
			t.Errorf("Get = %+v, %v, %v; want none", r, ok, err)
		}
		if err := l.Note(t.Context(), l.k, "a", 1, start); !errors.Is(err, order.ErrLost) {
			t.Errorf("Note = %v, want ErrLost", err)
		}
		if err := l.Finish(t.Context(), l.k, "a", order.Sent, "", false, start); !errors.Is(err, order.ErrLost) {
			t.Errorf("Finish = %v, want ErrLost", err)
		}
		l.reopen(start)
		if r, ok, err := l.Get(t.Context(), l.k); ok || err != nil {
			t.Errorf("Get = %+v, %v, %v; want none still", r, ok, err)
		}
	})

	t.Run("from the till to Rule", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.queue(at(0))
		l.want(order.Record{State: order.Queued, Queued: at(0), Updated: at(0)})
		l.queue(at(minute)) // Sitoo sends it again
		l.want(order.Record{State: order.Queued, Queued: at(0), Updated: at(0)})

		r := order.Record{
			Key: l.k, State: order.Working, Attempts: 1, Attempt: "a",
			Queued: at(0), Updated: at(2 * minute), Lease: at(3 * minute),
		}
		l.claim("a", at(2*minute), minute, order.Claim{Record: r, Mine: true})
		l.want(r)
		l.queue(at(2*minute + 1)) // while it is worked on
		l.want(r)

		l.note("a", 4711, at(2*minute+time.Second))
		r.Subscriber, r.Updated = 4711, at(2*minute+time.Second)
		l.want(r)

		l.finish("a", order.Sent, "", false, at(2*minute+2*time.Second))
		r.State, r.Updated, r.Lease = order.Sent, at(2*minute+2*time.Second), time.Time{}
		l.want(r)

		l.queue(at(time.Hour))
		l.claim("b", at(time.Hour), minute, order.Claim{Record: r})
		l.claim("a", at(time.Hour), minute, order.Claim{Record: r})
		l.want(r)
	})

	t.Run("an order the ledger does not know is created by its claim", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.claim("a", at(0), minute, order.Claim{Mine: true, Record: order.Record{
			Key: l.k, State: order.Working, Attempts: 1, Attempt: "a",
			Queued: at(0), Updated: at(0), Lease: at(minute),
		}})
	})

	t.Run("orders are told apart by account and by number", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.queue(at(0))
		for _, k := range []order.Key{
			{Account: l.k.Account, Order: l.k.Order + 1},
			{Account: l.k.Account, Order: -l.k.Order},
			{Account: newID(), Order: l.k.Order},
		} {
			if _, ok, err := l.Get(t.Context(), k); ok || err != nil {
				t.Errorf("Get(%v) = %v, %v; want none", k, ok, err)
			}
		}
		big := order.Key{Account: l.k.Account, Order: 1<<63 - 1}
		if err := l.Queue(t.Context(), big, order.Stamp{}, at(0)); err != nil {
			t.Fatalf("Queue(%v): %v", big, err)
		}
		if r, ok, err := l.Get(t.Context(), big); !ok || err != nil || r.Key != big {
			t.Errorf("Get(%v) = %+v, %v, %v", big, r, ok, err)
		}
	})

	t.Run("a claim asked for twice is one attempt", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		want := order.Claim{Mine: true, Record: order.Record{
			Key: l.k, State: order.Working, Attempts: 1, Attempt: "a",
			Queued: at(0), Updated: at(0), Lease: at(minute),
		}}
		l.claim("a", at(0), minute, want)
		l.claim("a", at(0), minute, want)
		l.claim("a", at(time.Second), minute, want) // no longer lease either
		l.want(want.Record)
	})

	t.Run("a claim without attempt or lease is refused", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		if c, err := l.Claim(t.Context(), l.k, order.Stamp{}, "", start, minute); err == nil {
			t.Errorf("Claim without an attempt = %+v, want an error", c)
		}
		for _, lease := range []time.Duration{0, -minute} {
			if c, err := l.Claim(t.Context(), l.k, order.Stamp{}, "a", start, lease); err == nil {
				t.Errorf("Claim with a lease of %v = %+v, want an error", lease, c)
			}
		}
		if _, ok, err := l.Get(t.Context(), l.k); ok || err != nil {
			t.Errorf("Get = %v, %v; want none", ok, err)
		}
	})

	t.Run("twenty claims at once give the order to one", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			name      string
			prepare   func(l *ledger)
			uncertain bool
		}{
			{"unknown", func(*ledger) {}, false},
			{"queued", func(l *ledger) { l.queue(at(0)) }, false},
			{"failed", func(l *ledger) {
				l.mine("z", at(-time.Hour), minute)
				l.finish("z", order.Failed, "given up", false, at(-time.Hour))
			}, false},
			{"lease expired", func(l *ledger) { l.mine("z", at(-time.Hour), minute) }, true},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				l := ledgerOf(t, open)
				tt.prepare(l)
				before, _, err := l.Get(t.Context(), l.k)
				if err != nil {
					t.Fatal(err)
				}
				const attempts = 20
				claims := make([]order.Claim, attempts)
				var all sync.WaitGroup
				for i := range attempts {
					all.Go(func() {
						var err error
						claims[i], err = l.Claim(t.Context(), l.k, order.Stamp{}, fmt.Sprintf("attempt-%d", i), at(minute), minute)
						if err != nil {
							t.Errorf("Claim: %v", err)
						}
					})
				}
				all.Wait()
				var winners []string
				for i, c := range claims {
					if c.Mine {
						winners = append(winners, fmt.Sprintf("attempt-%d", i))
					}
				}
				if len(winners) != 1 {
					t.Fatalf("winners = %q, want exactly one", winners)
				}
				for i, c := range claims {
					if c.State != order.Working || c.Attempt != winners[0] || !c.Lease.Equal(at(2*minute)) {
						t.Errorf("claim %d = %+v, want it to say that %s is working", i, c, winners[0])
					}
				}
				got, _, err := l.Get(t.Context(), l.k)
				if err != nil || got.Attempts != before.Attempts+1 || got.Uncertain != tt.uncertain {
					t.Errorf("Get = %+v, %v; want %d attempts, uncertain %v", got, err, before.Attempts+1, tt.uncertain)
				}
			})
		}
	})

	t.Run("a lease runs out at its end, not before", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		held := l.get()
		l.claim("b", at(minute-time.Millisecond), minute, order.Claim{Record: held})
		l.want(held)
		want := held
		want.Attempt, want.Attempts, want.Uncertain = "b", 2, true
		want.Updated, want.Lease = at(minute), at(2*minute)
		l.claim("b", at(minute), minute, order.Claim{Record: want, Mine: true})
		l.claim("b", at(minute), minute, order.Claim{Record: want, Mine: true}) // asked twice
		l.want(want)
	})

	t.Run("an attempt that comes back after its lease may have written", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		if c := l.mine("a", at(minute), minute); !c.Uncertain || c.Attempts != 2 {
			t.Errorf("Claim = %+v, want uncertain and a second attempt", c)
		}
	})

	t.Run("who lost the lease is fenced off", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		l.note("a", 1, at(0))
		l.mine("b", at(minute), minute)
		held := l.get()
		if held.Subscriber != 1 {
			t.Errorf("subscriber = %d after the takeover, want 1: the next attempt looks there", held.Subscriber)
		}
		if err := l.Note(t.Context(), l.k, "a", 2, at(minute)); !errors.Is(err, order.ErrLost) {
			t.Errorf("Note = %v, want ErrLost", err)
		}
		for _, s := range []order.State{order.Sent, order.Waiting, order.Skipped, order.Failed} {
			if err := l.Finish(t.Context(), l.k, "a", s, "late", false, at(minute)); !errors.Is(err, order.ErrLost) {
				t.Errorf("Finish(%s) = %v, want ErrLost", s, err)
			}
		}
		l.want(held)
		l.finish("b", order.Sent, "", false, at(minute))
	})

	t.Run("an expired lease that nobody took still counts", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		l.note("a", 7, at(time.Hour))
		l.finish("a", order.Sent, "", false, at(time.Hour))
		if r := l.get(); r.State != order.Sent || r.Subscriber != 7 || r.Uncertain {
			t.Errorf("record = %+v, want sent to 7", r)
		}
	})

	t.Run("how an attempt ends", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			state     order.State
			reason    string
			uncertain bool
			again     bool // the order can be claimed again
			queue     bool // Queue puts it back
			reopen    bool // Reopen puts it back
		}{
			{state: order.Sent, reopen: true},
			{state: order.Skipped, reason: "no customer", reopen: true},
			{state: order.Waiting, reason: "Rule answers 429", again: true},
			{state: order.Waiting, reason: "no answer from Rule", uncertain: true, again: true},
			{state: order.Failed, reason: "refused", again: true, queue: true, reopen: true},
			{state: order.Failed, reason: "no answer, ever", uncertain: true, again: true, queue: true, reopen: true},
		} {
			t.Run(fmt.Sprintf("%s uncertain %v", tt.state, tt.uncertain), func(t *testing.T) {
				t.Parallel()
				l := ledgerOf(t, open)
				l.mine("a", at(0), minute)
				for range 2 { // repeated, the second changes nothing
					l.finish("a", tt.state, tt.reason, tt.uncertain, at(time.Second))
				}
				done := order.Record{
					State: tt.state, Reason: tt.reason, Uncertain: tt.uncertain,
					Attempts: 1, Attempt: "a", Queued: at(0), Updated: at(time.Second),
				}
				l.want(done)
				if err := l.Note(t.Context(), l.k, "a", 2, at(2*time.Second)); !errors.Is(err, order.ErrLost) {
					t.Errorf("Note after Finish = %v, want ErrLost", err)
				}
				if err := l.Finish(t.Context(), l.k, "a", tt.state, tt.reason, !tt.uncertain, at(2*time.Second)); !errors.Is(err, order.ErrLost) {
					t.Errorf("another Finish = %v, want ErrLost", err)
				}
				if err := l.Finish(t.Context(), l.k, "b", tt.state, tt.reason, tt.uncertain, at(2*time.Second)); !errors.Is(err, order.ErrLost) {
					t.Errorf("Finish of another attempt = %v, want ErrLost", err)
				}
				l.want(done)

				l.queue(at(time.Minute))
				if tt.queue {
					done.State, done.Reason, done.Updated = order.Queued, "", at(time.Minute)
				}
				l.want(done)

				done.Key = l.k
				if !tt.again {
					l.claim("b", at(time.Minute), minute, order.Claim{Record: done})
					return
				}
				done.State, done.Reason, done.Attempt, done.Attempts = order.Working, "", "b", 2
				done.Updated, done.Lease = at(time.Minute), at(2*time.Minute)
				l.claim("b", at(time.Minute), minute, order.Claim{Record: done, Mine: true})
				l.want(done)
			})
			t.Run(fmt.Sprintf("%s uncertain %v, reopened", tt.state, tt.uncertain), func(t *testing.T) {
				t.Parallel()
				l := ledgerOf(t, open)
				l.mine("a", at(0), minute)
				l.note("a", 4711, at(0))
				l.finish("a", tt.state, tt.reason, tt.uncertain, at(time.Second))
				done := l.get()
				for _, d := range []time.Duration{0, time.Second} { // a late repetition
					l.reopen(at(d))
					l.want(done)
				}
				for range 2 {
					l.reopen(at(time.Minute))
					if tt.reopen {
						done.State, done.Reason, done.Updated = order.Queued, "", at(time.Minute)
					}
					l.want(done)
				}
				if !tt.reopen {
					return
				}
				c := l.mine("b", at(time.Hour), minute)
				if c.Subscriber != 4711 || c.Attempts != 2 || c.Uncertain != tt.uncertain || !c.Queued.Equal(at(0)) {
					t.Errorf("Claim = %+v, want the order with its history", c)
				}
				l.reopen(at(2 * time.Hour)) // while it is worked on
				l.want(c.Record)
			})
		}
	})

	t.Run("reopened, and known to be written", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		l.note("a", 4711, at(0))
		l.finish("a", order.Sent, "backfill 1", false, at(time.Second))
		done := l.get()
		for range 2 {
			if err := l.Reopen(t.Context(), l.k, at(minute), true); err != nil {
				t.Fatalf("Reopen: %v", err)
			}
			done.State, done.Reason, done.Uncertain, done.Updated = order.Queued, "", true, at(minute)
			l.want(done)
		}
		if c := l.mine("b", at(time.Hour), minute); c.Subscriber != 4711 || !c.Uncertain {
			t.Errorf("Claim = %+v, want one that asks Rule first", c)
		}
	})

	t.Run("an attempt cannot end as something else", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		l.mine("a", at(0), minute)
		held := l.get()
		for _, s := range []order.State{order.Queued, order.Working, "", "sold"} {
			if err := l.Finish(t.Context(), l.k, "a", s, "", false, at(0)); err == nil || errors.Is(err, order.ErrLost) {
				t.Errorf("Finish(%q) = %v, want an error that is not ErrLost", s, err)
			}
		}
		l.want(held)
	})

	stamps(t, open)

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		l, ctx := ledgerOf(t, open), cancelled(t)
		wantUnavailable(t, "Queue", l.Queue(ctx, l.k, order.Stamp{}, start))
		_, err := l.Claim(ctx, l.k, order.Stamp{}, "a", start, minute)
		wantUnavailable(t, "Claim", err)
		wantUnavailable(t, "Note", l.Note(ctx, l.k, "a", 1, start))
		wantUnavailable(t, "Finish", l.Finish(ctx, l.k, "a", order.Sent, "", false, start))
		wantUnavailable(t, "Reopen", l.Reopen(ctx, l.k, start, false))
		_, _, err = l.Get(ctx, l.k)
		wantUnavailable(t, "Get", err)
		if _, ok, err := l.Get(t.Context(), l.k); ok || err != nil {
			t.Errorf("Get = %v, %v; want none", ok, err)
		}
	})

	t.Run("any sequence of calls", func(t *testing.T) {
		t.Parallel()
		l := open(t)
		rapid.Check(t, func(t *rapid.T) { sequence(t, l) })
	})
}

// sequence plays random calls on one order and checks each against a model
// that was written from the interface's comments alone.
func sequence(t *rapid.T, l order.Ledger) {
	var (
		ctx   = context.Background()
		k     = order.Key{Account: newID(), Order: rapid.Int64Range(1, 1<<40).Draw(t, "order")}
		now   = start
		model *order.Record
		names = rapid.SampledFrom([]string{"a", "b", "c"})
	)
	holds := func(attempt string) bool {
		return model != nil && model.State == order.Working && model.Attempt == attempt
	}
	t.Repeat(map[string]func(*rapid.T){
		"wait": func(t *rapid.T) {
			now = now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(t, "ms")) * time.Millisecond)
		},
		"queue": func(t *rapid.T) {
			s := someStamps.Draw(t, "stamp")
			if err := l.Queue(ctx, k, s, now); err != nil {
				t.Fatalf("Queue: %v", err)
			}
			switch {
			case model == nil:
				model = &order.Record{Key: k, State: order.Queued, Queued: now, Updated: now, Stamp: s}
			case model.State == order.Failed && model.Updated.Before(now) && !model.Stamp.Conflicts(s):
				model.State, model.Reason, model.Updated, model.Stamp = order.Queued, "", now, model.Stamp.With(s)
			}
		},
		"reopen": func(t *rapid.T) {
			written := rapid.Bool().Draw(t, "written")
			if err := l.Reopen(ctx, k, now, written); err != nil {
				t.Fatalf("Reopen: %v", err)
			}
			if model == nil || !model.Updated.Before(now) {
				return
			}
			switch model.State {
			case order.Sent, order.Skipped, order.Failed:
				model.State, model.Reason, model.Updated = order.Queued, "", now
				model.Uncertain = model.Uncertain || written
			}
		},
		"claim": func(t *rapid.T) {
			attempt := names.Draw(t, "attempt")
			lease := time.Duration(rapid.IntRange(1, 60_000).Draw(t, "lease ms")) * time.Millisecond
			s := someStamps.Draw(t, "stamp")
			got, err := l.Claim(ctx, k, s, attempt, now, lease)
			if err != nil {
				t.Fatalf("Claim: %v", err)
			}
			if model == nil {
				model = &order.Record{Key: k, Queued: now}
			}
			final := model.State == order.Sent || model.State == order.Skipped
			working := model.State == order.Working
			running := working && now.Before(model.Lease)
			other := model.Stamp.Conflicts(s)
			mine := running && model.Attempt == attempt && !other
			if !running && !other {
				model.Stamp = model.Stamp.With(s)
			}
			if !final && !running && !other {
				mine = true
				model.Uncertain = model.Uncertain || working
				model.State, model.Reason, model.Attempt = order.Working, "", attempt
				model.Attempts++
				model.Updated, model.Lease = now, now.Add(lease)
			}
			if diff := cmp.Diff(order.Claim{Record: *model, Mine: mine}, got); diff != "" {
				t.Fatalf("Claim (-want +got):\n%s", diff)
			}
		},
		"note": func(t *rapid.T) {
			attempt, subscriber := names.Draw(t, "attempt"), rapid.Int64Range(1, 1<<40).Draw(t, "subscriber")
			wantLost(t, "Note", l.Note(ctx, k, attempt, subscriber, now), !holds(attempt))
			if holds(attempt) {
				model.Subscriber, model.Updated = subscriber, now
			}
		},
		"finish": func(t *rapid.T) {
			attempt := names.Draw(t, "attempt")
			s := rapid.SampledFrom([]order.State{order.Waiting, order.Sent, order.Skipped, order.Failed}).Draw(t, "state")
			reason := rapid.SampledFrom([]string{"", "Rule answers 500"}).Draw(t, "reason")
			uncertain := rapid.Bool().Draw(t, "uncertain")
			repeated := model != nil && model.Attempt == attempt && model.State == s &&
				model.Reason == reason && model.Uncertain == uncertain
			wantLost(t, "Finish", l.Finish(ctx, k, attempt, s, reason, uncertain, now), !holds(attempt) && !repeated)
			if holds(attempt) {
				model.State, model.Reason, model.Uncertain = s, reason, uncertain
				model.Updated, model.Lease = now, time.Time{}
			}
		},
		"": func(t *rapid.T) {
			got, ok, err := l.Get(ctx, k)
			if err != nil || ok != (model != nil) {
				t.Fatalf("Get = %v, %v; want %v", ok, err, model != nil)
			}
			if !ok {
				return
			}
			if diff := cmp.Diff(*model, got); diff != "" {
				t.Fatalf("Get (-want +got):\n%s", diff)
			}
		},
	})
}

func wantLost(t *rapid.T, op string, err error, lost bool) {
	switch {
	case lost && !errors.Is(err, order.ErrLost):
		t.Fatalf("%s = %v, want ErrLost", op, err)
	case !lost && err != nil:
		t.Fatalf("%s: %v", op, err)
	}
}

// ledger is the ledger under test with one order that is new to it.
type ledger struct {
	order.Ledger
	t *testing.T
	k order.Key
}

func ledgerOf(t *testing.T, open func(t *testing.T) order.Ledger) *ledger {
	t.Helper()
	return &ledger{Ledger: open(t), t: t, k: order.Key{Account: newID(), Order: 1001}}
}

func (l *ledger) queue(now time.Time) {
	l.t.Helper()
	if err := l.Queue(l.t.Context(), l.k, order.Stamp{}, now); err != nil {
		l.t.Fatalf("Queue: %v", err)
	}
}

func (l *ledger) reopen(now time.Time) {
	l.t.Helper()
	if err := l.Reopen(l.t.Context(), l.k, now, false); err != nil {
		l.t.Fatalf("Reopen: %v", err)
	}
}

func (l *ledger) claim(attempt string, now time.Time, lease time.Duration, want order.Claim) {
	l.t.Helper()
	got, err := l.Claim(l.t.Context(), l.k, order.Stamp{}, attempt, now, lease)
	if err != nil {
		l.t.Fatalf("Claim: %v", err)
	}
	want.Key = l.k
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("Claim of %s (-want +got):\n%s", attempt, diff)
	}
}

func (l *ledger) mine(attempt string, now time.Time, lease time.Duration) order.Claim {
	l.t.Helper()
	c, err := l.Claim(l.t.Context(), l.k, order.Stamp{}, attempt, now, lease)
	if err != nil || !c.Mine {
		l.t.Fatalf("Claim of %s = %+v, %v; want it to be mine", attempt, c, err)
	}
	return c
}

func (l *ledger) note(attempt string, subscriber int64, now time.Time) {
	l.t.Helper()
	if err := l.Note(l.t.Context(), l.k, attempt, subscriber, now); err != nil {
		l.t.Fatalf("Note: %v", err)
	}
}

func (l *ledger) finish(attempt string, s order.State, reason string, uncertain bool, now time.Time) {
	l.t.Helper()
	if err := l.Finish(l.t.Context(), l.k, attempt, s, reason, uncertain, now); err != nil {
		l.t.Fatalf("Finish: %v", err)
	}
}

func (l *ledger) get() order.Record {
	l.t.Helper()
	r, ok, err := l.Get(l.t.Context(), l.k)
	if err != nil || !ok {
		l.t.Fatalf("Get = %v, %v; want a record", ok, err)
	}
	return r
}

func (l *ledger) want(want order.Record) {
	l.t.Helper()
	want.Key = l.k
	if diff := cmp.Diff(want, l.get()); diff != "" {
		l.t.Errorf("record (-want +got):\n%s", diff)
	}
}
