package contract

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sitoo-rule/shared/account"
)

// strangerMinute hands every test a minute of its own: a table may be shared.
var strangerMinute atomic.Int64

// Strangers tests an account.StrangerCount.
func Strangers(t *testing.T, open func(t *testing.T) account.StrangerCount) {
	minute := func() time.Time {
		return start.Truncate(time.Minute).Add(time.Duration(strangerMinute.Add(2)) * time.Minute)
	}
	take := func(t *testing.T, s account.StrangerCount, at time.Time, ticket string, limit int) bool {
		t.Helper()
		ok, err := s.TakeStranger(t.Context(), at, ticket, limit)
		if err != nil {
			t.Fatalf("TakeStranger(%s): %v", ticket, err)
		}
		return ok
	}

	t.Run("a minute takes so many tickets, each once", func(t *testing.T) {
		t.Parallel()
		s, at := open(t), minute()
		for i, want := range []bool{true, true, true, false, false} {
			if got := take(t, s, at, fmt.Sprint("ticket-", i), 3); got != want {
				t.Errorf("ticket %d: %v, want %v", i, got, want)
			}
		}
		if !take(t, s, at, "ticket-1", 3) {
			t.Error("a ticket that is noted is refused when it is asked for again")
		}
		if !take(t, s, at.Add(time.Minute), "ticket-9", 3) {
			t.Error("the next minute is used up by the one before")
		}
	})

	t.Run("a ticket that comes back makes room", func(t *testing.T) {
		t.Parallel()
		s, at := open(t), minute()
		take(t, s, at, "a", 1)
		for range 2 { // may be repeated
			if err := s.ReturnStranger(t.Context(), at, "a"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.ReturnStranger(t.Context(), at, "never taken"); err != nil {
			t.Errorf("one that was never taken: %v", err)
		}
		if !take(t, s, at, "b", 1) || take(t, s, at, "c", 1) {
			t.Error("want room for one, and no more")
		}
	})

	t.Run("tickets taken at the same moment are counted", func(t *testing.T) {
		t.Parallel()
		s, at := open(t), minute()
		var taken atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ok, err := s.TakeStranger(t.Context(), at, fmt.Sprint("at-once-", i), 7)
				if err != nil {
					t.Error(err)
				}
				if ok {
					taken.Add(1)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 7 {
			t.Errorf("%d of 20 were taken, want 7", taken.Load())
		}
	})
}
