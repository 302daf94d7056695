package contract

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sitoo-rule/shared/order"
)

var (
	bare    = order.Stamp{}
	monday  = order.Stamp{Date: start.Truncate(time.Second), Receipt: "ab12"}
	dated   = order.Stamp{Date: monday.Date}
	receipt = order.Stamp{Receipt: monday.Receipt}
	tuesday = order.Stamp{Date: monday.Date.Add(24 * time.Hour), Receipt: monday.Receipt}
	another = order.Stamp{Date: monday.Date, Receipt: "cd34"}
	// someStamps are those of orders that are one, and of others.
	someStamps = rapid.SampledFrom([]order.Stamp{bare, dated, receipt, monday, tuesday, another})
)

// stamps tests that the ledger takes one order's number for another's.
func stamps(t *testing.T, open func(t *testing.T) order.Ledger) {
	claimed := func(t *testing.T, l *ledger, s order.Stamp, attempt string, at time.Time) order.Claim {
		t.Helper()
		c, err := l.Claim(t.Context(), l.k, s, attempt, at, minute)
		if err != nil {
			t.Fatalf("Claim: %v", err)
		}
		return c
	}
	for _, first := range []struct {
		name  string
		bring func(t *testing.T, l *ledger, s order.Stamp)
	}{
		{"queued", func(t *testing.T, l *ledger, s order.Stamp) {
			if err := l.Queue(t.Context(), l.k, s, start); err != nil {
				t.Fatalf("Queue: %v", err)
			}
		}},
		{"waiting", func(t *testing.T, l *ledger, s order.Stamp) {
			claimed(t, l, s, "a", start)
			l.finish("a", order.Waiting, "Rule answers 500", false, start)
		}},
		{"failed", func(t *testing.T, l *ledger, s order.Stamp) {
			claimed(t, l, s, "a", start)
			l.finish("a", order.Failed, "refused", false, start)
		}},
		{"left by an attempt that died", func(t *testing.T, l *ledger, s order.Stamp) { claimed(t, l, s, "a", start) }},
		{"sent", func(t *testing.T, l *ledger, s order.Stamp) {
			claimed(t, l, s, "a", start)
			l.finish("a", order.Sent, "", false, start)
		}},
	} {
		for _, tt := range []struct {
			name          string
			first, second order.Stamp
			conflict      bool
		}{
			{"the same again", monday, monday, false},
			{"again without either", monday, bare, false},
			{"again without a receipt", monday, dated, false},
			{"again without a date", monday, receipt, false},
			{"first without either", bare, monday, false},
			{"first without a receipt", dated, monday, false},
			{"first without a date", receipt, monday, false},
			{"another date", monday, tuesday, true},
			{"another receipt", monday, another, true},
			{"another date, first without a receipt", dated, tuesday, true},
			{"another receipt, first without a date", receipt, another, true},
		} {
			t.Run("two copies, the first "+first.name+": "+tt.name, func(t *testing.T) {
				t.Parallel()
				l := ledgerOf(t, open)
				first.bring(t, l, tt.first)
				before := l.get()
				later := start.Add(time.Hour)
				c := claimed(t, l, tt.second, "b", later)
				if !tt.conflict {
					if c.Mine == (before.State == order.Sent) || c.Stamp != tt.first.With(tt.second) || l.get().Stamp != c.Stamp {
						t.Errorf("Claim = %+v, ledger %+v", c, l.get())
					}
					return
				}
				if c.Mine || !c.Stamp.Conflicts(tt.second) {
					t.Errorf("Claim = %+v, want it refused", c)
				}
				l.want(before)
				if err := l.Queue(t.Context(), l.k, tt.second, later); err != nil {
					t.Errorf("Queue: %v", err)
				}
				l.want(before)
			})
		}
	}
	t.Run("what a sent order's first copy lacked is remembered", func(t *testing.T) {
		t.Parallel()
		l := ledgerOf(t, open)
		claimed(t, l, bare, "a", start)
		l.finish("a", order.Sent, "", false, start)
		done := l.get()
		claimed(t, l, receipt, "b", start.Add(minute))
		claimed(t, l, dated, "b", start.Add(minute))
		done.Stamp = monday
		l.want(done)
		if c := claimed(t, l, another, "b", start.Add(minute)); !c.Stamp.Conflicts(another) {
			t.Errorf("Claim = %+v, want a conflict", c)
		}
	})
}
