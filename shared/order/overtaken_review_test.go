package order_test

import (
	"testing"
	"time"

	"sitoo-rule/shared/order"
)

// The till's copy is worked in the millisecond in which the backfill notes that
// the order is sent, or while that process's clock is a little ahead: the receipt
// may be late, but it is not lost.
func TestReviewOvertakenAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 5 * time.Millisecond, time.Second} {
		r := newRace(t)
		o := r.soldBefore(time.Hour)
		r.pass(ahead)
		if _, err := quietly(t, r.Worker, r.rule, o, "history-1", order.Mode{By: "backfill x"}); err != nil {
			t.Fatal(err)
		}
		r.pass(-ahead)
		if err := r.live(o, "live-1"); err != nil { // the message stays
			r.pass(time.Minute)
			if err := r.live(o, "live-2"); err != nil {
				t.Error(err)
			}
		}
		r.has("ahead by "+ahead.String(), 1, 1)
	}
}

// A backfill skips a fresh order because the customer whom it had listed is gone;
// the till's copy, which comes later, finds the person by what else it names.
func TestReviewSkippedByABackfill(t *testing.T) {
	t.Parallel()
	r := newRace(t)
	o := r.soldBefore(time.Hour)
	if _, err := quietly(t, r.Worker, r.rule, o, "history-1", order.Mode{By: "backfill x", Subscriber: 4711}); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	if err := r.live(o, "live-1"); err != nil {
		t.Error(err)
	}
	r.has("in the end", 1, 1)
}
