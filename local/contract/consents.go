package contract

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/customer"
)

// Consents tests a customer.Answers.
func Consents(t *testing.T, open func(t *testing.T) customer.Answers) {
	t.Run("refusals", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		want := func(subscriber int64, want map[customer.Member]time.Time) {
			t.Helper()
			got, err := s.Refused(t.Context(), account, subscriber)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("refusals of %d (-want +got):\n%s", subscriber, diff)
			}
		}
		refuse := func(subscriber int64, at time.Time, channels ...customer.Member) {
			t.Helper()
			if err := s.Refuse(t.Context(), account, subscriber, at, channels...); err != nil {
				t.Fatal(err)
			}
		}
		want(1, map[customer.Member]time.Time{})
		refuse(1, start, customer.AcceptsEmail)
		want(1, map[customer.Member]time.Time{customer.AcceptsEmail: start})
		later := start.Add(time.Hour)
		refuse(1, later, customer.AcceptsSMS)
		refuse(1, later, customer.AcceptsSMS)
		want(1, map[customer.Member]time.Time{customer.AcceptsEmail: start, customer.AcceptsSMS: later})
		refuse(1, later, customer.AcceptsEmail, customer.AcceptsSMS)
		want(1, map[customer.Member]time.Time{customer.AcceptsEmail: later, customer.AcceptsSMS: later})
		want(2, map[customer.Member]time.Time{})
		if got, err := s.Refused(t.Context(), newID(), 1); err != nil || len(got) != 0 {
			t.Errorf("another account's: %v, %v", got, err)
		}
	})
	t.Run("tags", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		want := func(account string, subscriber int64, want bool) {
			t.Helper()
			if got, err := s.Tagged(t.Context(), account, subscriber); err != nil || got != want {
				t.Errorf("tagged %v, %v; want %v", got, err, want)
			}
		}
		want(account, 1, false)
		for range 2 {
			if err := s.Marked(t.Context(), account, 1); err != nil {
				t.Fatal(err)
			}
		}
		want(account, 1, true)
		want(account, 2, false)
		want(newID(), 1, false)
	})
	t.Run("counts", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		for days, n := range map[int]int{0: 3, -6: 2, -7: 5} {
			// One after the other: one whose answer is lost, and behind which another was
			// counted, may count twice.
			for i := range n {
				if err := s.Count(t.Context(), account, start.AddDate(0, 0, days), i == 0); err != nil {
					t.Error(err)
				}
			}
		}
		if err := s.Refuse(t.Context(), account, 1, start, customer.AcceptsEmail); err != nil {
			t.Fatal(err)
		}
		asked, unasked, err := s.Counts(t.Context(), account, start.AddDate(0, 0, -6))
		if err != nil || asked != 2 || unasked != 3 {
			t.Errorf("%d asked, %d not, %v; want 2 and 3", asked, unasked, err)
		}
		if asked, unasked, err := s.Counts(t.Context(), newID(), start); err != nil || asked+unasked != 0 {
			t.Errorf("another account's: %d, %d, %v", asked, unasked, err)
		}
	})
}
