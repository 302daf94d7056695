package contract

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

// Bonus tests a bonus.Store.
func Bonus(t *testing.T, open func(t *testing.T) bonus.Store) {
	newKey := func() bonus.Key { return bonus.Key{Account: newID(), Subscriber: 4711} }
	get := func(t *testing.T, s bonus.Store, k bonus.Key) bonus.Book {
		t.Helper()
		b, err := s.Get(t.Context(), k)
		if err != nil {
			t.Fatalf("Get(%v): %v", k, err)
		}
		return b
	}
	put := func(t *testing.T, s bonus.Store, k bonus.Key, b bonus.Book) {
		t.Helper()
		if err := s.Put(t.Context(), k, b); err != nil {
			t.Fatalf("Put(%v) of revision %d: %v", k, b.Rev, err)
		}
	}
	amount := func(s string) decimal.Decimal { return decimal.RequireFromString(s) }
	full := func() bonus.Book {
		opening := amount("100.00")
		return bonus.Book{
			Version: 3, Synced: 2, Holder: "c0ffee", Until: start.Add(time.Minute),
			Entries: []bonus.Entry{
				{Kind: bonus.Check, ID: "bc-1001", Opening: &opening, Uses: []bonus.Use{
					{
						Order: "1001", Amount: amount("60"), Left: amount("40"), Date: start, Told: true, Proved: true,
						Rows:  []bonus.Row{{ID: "1", Quantity: amount("2"), Amount: amount("60")}},
						Given: []bonus.Return{{Order: "1002", Amount: amount("30"), Rows: []bonus.Row{{ID: "1", Quantity: amount("1")}}}},
					},
					{Amount: amount("0.01"), Left: amount("39.99"), Date: start.Add(123456789), BackAt: start.Add(time.Hour)},
				}},
				{Kind: bonus.Promotion, ID: `pr "å" <&> 1`, Uses: []bonus.Use{{Amount: amount("1"), Date: start, Proved: true}}},
			},
		}
	}

	t.Run("the day of the latest order never goes back, and is no book", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		for _, step := range []struct{ day, want string }{{"", ""}, {"2026-03-02", "2026-03-02"}, {"2024-09-27", "2026-03-02"}, {"", "2026-03-02"}, {"2026-03-02", "2026-03-02"}, {"2026-03-03", "2026-03-03"}} {
			if got, err := s.Latest(t.Context(), k, step.day, time.Time{}); err != nil || got.Day != step.want {
				t.Errorf("after %q the latest is %q, %v; want %q", step.day, got, err, step.want)
			}
		}
		if diff := cmp.Diff(bonus.Book{}, get(t, s, k)); diff != "" {
			t.Errorf("it made a book: %s", diff)
		}
		put(t, s, k, full())
		if got, err := s.Latest(t.Context(), k, "2026-03-04", time.Time{}); err != nil || got.Day != "2026-03-04" {
			t.Errorf("beside a book the latest is %q, %v", got, err)
		}
		b := get(t, s, k)
		if b.Rev != 1 || len(b.Entries) != len(full().Entries) {
			t.Errorf("the book has become %+v", b)
		}
		put(t, s, k, b)
		if got, err := s.Latest(t.Context(), k, "", time.Time{}); err != nil || got.Day != "2026-03-04" {
			t.Errorf("a book was put, and the latest is %q, %v", got, err)
		}
		if other, err := s.Latest(t.Context(), newKey(), "", time.Time{}); err != nil || other.Day != "" {
			t.Errorf("another customer's is %q, %v", other, err)
		}
	})

	t.Run("until when the day is unsettled, seen by whoever notes a newer one", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		none, early, late := time.Time{}, start.Add(time.Minute), start.Add(20*time.Minute)
		for i, step := range []struct {
			day   string
			until time.Time
			want  bonus.Latest // of a read
		}{
			{"2026-02-01", none, bonus.Latest{Day: "2026-02-01"}},
			{"2026-02-02", early, bonus.Latest{Day: "2026-02-02", Unsettled: early}},
			{"2026-02-02", late, bonus.Latest{Day: "2026-02-02", Unsettled: late}},
			{"2026-03-02", none, bonus.Latest{Day: "2026-03-02", Unsettled: late}},
			{"2026-01-02", none, bonus.Latest{Day: "2026-03-02", Unsettled: late}},
			{"2026-01-02", late.Add(time.Hour), bonus.Latest{Day: "2026-03-02", Unsettled: late.Add(time.Hour)}},
		} {
			if got, err := s.Latest(t.Context(), k, step.day, step.until); err != nil || got.Day != step.want.Day {
				t.Errorf("step %d: noted %+v, %v; want %+v", i, got, err, step.want)
			}
			if got, err := s.Latest(t.Context(), k, "", none); err != nil || got.Day != step.want.Day || !got.Unsettled.Equal(step.want.Unsettled) {
				t.Errorf("step %d: read %+v, %v; want %+v", i, got, err, step.want)
			}
		}
		if diff := cmp.Diff(bonus.Book{}, get(t, s, k)); diff != "" {
			t.Errorf("it made a book: %s", diff)
		}
		put(t, s, k, full())
		if got, err := s.Latest(t.Context(), k, "", none); err != nil || got.Unsettled.IsZero() {
			t.Errorf("a book was put, and the day is %+v, %v", got, err)
		}
	})

	t.Run("a customer without a book", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		if diff := cmp.Diff(bonus.Book{}, get(t, s, k)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
		for _, rev := range []int64{1, 7, -1} {
			if err := s.Put(t.Context(), k, bonus.Book{Rev: rev}); !errors.Is(err, bonus.ErrChanged) {
				t.Errorf("Put of revision %d = %v, want ErrChanged", rev, err)
			}
		}
		if diff := cmp.Diff(bonus.Book{}, get(t, s, k)); diff != "" {
			t.Errorf("Get after that (-want +got):\n%s", diff)
		}
	})

	t.Run("a book comes back as it was put, one revision on", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for name, b := range map[string]bonus.Book{"empty": {}, "full": full(), "held": {Holder: "c0ffee", Until: start}} {
			k := newKey()
			for rev := range int64(3) {
				b.Rev = rev
				put(t, s, k, b)
				want := b
				want.Rev = rev + 1
				if diff := cmp.Diff(want, get(t, s, k)); diff != "" {
					t.Errorf("%s, revision %d (-want +got):\n%s", name, rev, diff)
				}
			}
		}
	})

	t.Run("nothing of the book before is left", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		put(t, s, k, full())
		put(t, s, k, bonus.Book{Rev: 1, Version: 9})
		if diff := cmp.Diff(bonus.Book{Rev: 2, Version: 9}, get(t, s, k)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
	})

	t.Run("a book that has changed is not overwritten", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		put(t, s, k, full())
		put(t, s, k, bonus.Book{Rev: 1, Version: 4})
		for _, rev := range []int64{0, 1, 3, -2} {
			b := full()
			b.Rev = rev
			if err := s.Put(t.Context(), k, b); !errors.Is(err, bonus.ErrChanged) {
				t.Errorf("Put of revision %d = %v, want ErrChanged", rev, err)
			}
		}
		if diff := cmp.Diff(bonus.Book{Rev: 2, Version: 4}, get(t, s, k)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
	})

	t.Run("what the caller does to a book stays with the caller", func(t *testing.T) {
		t.Parallel()
		s, k, b := open(t), newKey(), full()
		put(t, s, k, b)
		b.Entries[0].Uses[0].Rows[0].ID = "changed"
		*b.Entries[0].Opening = amount("1")
		got := get(t, s, k)
		got.Entries[0].Uses[0].Given[0].Order = "changed"
		got.Entries[1].ID = "changed"
		want := full()
		want.Rev = 1
		if diff := cmp.Diff(want, get(t, s, k)); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
	})

	t.Run("customers are told apart by account and by number", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		put(t, s, k, full())
		for _, other := range []bonus.Key{
			{Account: k.Account, Subscriber: k.Subscriber + 1},
			{Account: k.Account, Subscriber: -k.Subscriber},
			{Account: k.Account, Subscriber: 1<<63 - 1},
			{Account: newID(), Subscriber: k.Subscriber},
		} {
			if got := get(t, s, other); got.Rev != 0 {
				t.Errorf("Get(%v) = %+v, want none", other, got)
			}
			put(t, s, other, bonus.Book{Version: 1})
		}
		if got := get(t, s, k); got.Rev != 1 || len(got.Entries) != 2 {
			t.Errorf("Get(%v) = %+v, want it as it was", k, got)
		}
	})

	t.Run("of twenty tills at once one wins", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		for rev := range int64(3) {
			var (
				all  sync.WaitGroup
				mu   sync.Mutex
				wins []string
			)
			for i := range 20 {
				all.Go(func() {
					holder := fmt.Sprintf("till %02d", i)
					err := s.Put(t.Context(), k, bonus.Book{Rev: rev, Holder: holder})
					switch {
					case err == nil:
						mu.Lock()
						wins = append(wins, holder)
						mu.Unlock()
					case !errors.Is(err, bonus.ErrChanged):
						t.Errorf("Put: %v", err)
					}
				})
			}
			all.Wait()
			got := get(t, s, k)
			if len(wins) != 1 || got.Holder != wins[0] || got.Rev != rev+1 {
				t.Errorf("%q won, and the book is %+v; want one winner at revision %d", wins, got, rev+1)
			}
		}
	})

	t.Run("who reads again after ErrChanged gets through", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		const tills = 4
		var all sync.WaitGroup
		for range tills {
			all.Go(func() {
				for t.Context().Err() == nil {
					b, err := s.Get(t.Context(), k)
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					b.Version++
					if err = s.Put(t.Context(), k, b); err == nil {
						return
					}
					if !errors.Is(err, bonus.ErrChanged) {
						t.Errorf("Put: %v", err)
						return
					}
				}
			})
		}
		all.Wait()
		if got := get(t, s, k); got.Version != tills || got.Rev != tills {
			t.Errorf("Get = %+v, want every one of %d changes", got, tills)
		}
	})

	t.Run("a book that is too large", func(t *testing.T) {
		t.Parallel()
		s, k := open(t), newKey()
		large := func(bytes int) bonus.Book {
			return bonus.Book{Version: 1, Entries: []bonus.Entry{{Kind: bonus.Check, ID: strings.Repeat("x", bytes)}}}
		}
		err := s.Put(t.Context(), k, large(400_000))
		if fault.KindOf(err) != fault.TooLarge || fault.As(err).Message == "" {
			t.Errorf("Put = %v, want too large, with a sentence", err)
		}
		if got := get(t, s, k); got.Rev != 0 {
			t.Errorf("revision %d was stored", got.Rev)
		}
		put(t, s, k, large(399_000))
		if got := get(t, s, k); got.Rev != 1 || len(got.Entries[0].ID) != 399_000 {
			t.Errorf("revision %d is not what was put", got.Rev)
		}
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, k, ctx := open(t), newKey(), cancelled(t)
		_, err := s.Get(ctx, k)
		wantUnavailable(t, "Get", err)
		wantUnavailable(t, "Put", s.Put(ctx, k, full()))
		if got := get(t, s, k); got.Rev != 0 {
			t.Errorf("revision %d: the cancelled Put took effect", got.Rev)
		}
	})
}
