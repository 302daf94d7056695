package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
)

// Imports tests a bonus.Imports.
func Imports(t *testing.T, open func(t *testing.T) bonus.Imports) {
	newImport := func() bonus.Import {
		return bonus.Import{
			Account: newID(), ID: newID(), File: `bonus "våren" 2026.xlsx`,
			Rows: 1000, Customers: 700, Parts: 4, Created: start,
		}
	}
	create := func(t *testing.T, s bonus.Imports, i bonus.Import) {
		t.Helper()
		if err := s.Create(t.Context(), i); err != nil {
			t.Fatalf("Create: %v", err)
		}
	}
	save := func(t *testing.T, s bonus.Imports, i bonus.Import, p bonus.Part) {
		t.Helper()
		if err := s.SavePart(t.Context(), i.Account, i.ID, p); err != nil {
			t.Fatalf("SavePart(%d): %v", p.Number, err)
		}
	}
	want := func(t *testing.T, s bonus.Imports, i bonus.Import, parts ...bonus.Part) {
		t.Helper()
		got, gotParts, err := s.Get(t.Context(), i.Account, i.ID)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		if diff := cmp.Diff(i, got); diff != "" {
			t.Errorf("import (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(parts, gotParts); diff != "" {
			t.Errorf("parts (-want +got):\n%s", diff)
		}
		for _, p := range parts {
			one, err := s.Part(t.Context(), i.Account, i.ID, p.Number)
			if diff := cmp.Diff(p, one); err != nil || diff != "" {
				t.Errorf("Part(%d): %v (-want +got):\n%s", p.Number, err, diff)
			}
		}
	}
	full := func(number int) bonus.Part {
		return bonus.Part{
			Number: number, Rows: 250, Done: 38, Written: 50, Unchanged: 3, Failed: 2,
			Failures: []bonus.Failure{{Row: 7, Column: "value", Reason: `is not an amount: "å"`}, {Row: 9, Reason: "Rule refuses the row."}},
			Reason:   "Rule's limit", Until: start.Add(10 * time.Minute), Updated: start.Add(time.Second),
		}
	}

	t.Run("an unknown import", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		for _, id := range []string{i.ID, "", "åäö 😀/#", strings.Repeat("x", 3000)} {
			got, parts, err := s.Get(t.Context(), i.Account, id)
			if !errors.Is(err, bonus.ErrNoImport) || !cmp.Equal(got, bonus.Import{}) || parts != nil {
				t.Errorf("Get(%.40q) = %+v, %v, %v; want ErrNoImport", id, got, parts, err)
			}
		}
		if err := s.Queue(t.Context(), i.Account, i.ID); !errors.Is(err, bonus.ErrNoImport) {
			t.Errorf("Queue = %v, want ErrNoImport", err)
		}
		p, err := s.Part(t.Context(), i.Account, i.ID, 2)
		if diff := cmp.Diff(bonus.Part{Number: 2}, p); err != nil || diff != "" {
			t.Errorf("Part: %v (-want +got):\n%s", err, diff)
		}
		save(t, s, i, full(1)) // nobody may find a part alone
		if _, _, err := s.Get(t.Context(), i.Account, i.ID); !errors.Is(err, bonus.ErrNoImport) {
			t.Errorf("Get = %v, want ErrNoImport still", err)
		}
		if err := s.Queue(t.Context(), i.Account, i.ID); !errors.Is(err, bonus.ErrNoImport) {
			t.Errorf("Queue = %v, want ErrNoImport still", err)
		}
	})

	t.Run("from the file to Rule", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		stored := i
		stored.Created = start.In(time.FixedZone("CET", 3600)).Add(999 * time.Microsecond)
		create(t, s, stored) // comes back in UTC, to the millisecond
		want(t, s, i)
		for range 2 {
			if err := s.Queue(t.Context(), i.Account, i.ID); err != nil {
				t.Fatalf("Queue: %v", err)
			}
			i.Queued = true
			want(t, s, i)
		}
		first, third := full(1), full(3)
		save(t, s, i, third)
		save(t, s, i, first)
		want(t, s, i, first, third)
		// What a part waited for is gone when it goes on.
		first = bonus.Part{Number: 1, Rows: 250, Done: 190, Written: 250, Finished: true, Updated: start.Add(time.Minute)}
		save(t, s, i, first)
		want(t, s, i, first, third)
		minimal := bonus.Part{Number: 2, Updated: start}
		save(t, s, i, minimal)
		want(t, s, i, first, minimal, third)
	})

	t.Run("the first Create wins, however far the import has come", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		i.File = ""
		create(t, s, i)
		if err := s.Queue(t.Context(), i.Account, i.ID); err != nil {
			t.Fatalf("Queue: %v", err)
		}
		save(t, s, i, full(1))
		again := i
		again.Rows, again.Created = 1, start.Add(time.Hour)
		create(t, s, again)
		i.Queued = true
		want(t, s, i, full(1))
	})

	t.Run("a part only moves forward", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		at := func(done int, finished bool, reason string) bonus.Part {
			return bonus.Part{Number: 1, Rows: 250, Done: done, Finished: finished, Reason: reason, Updated: start}
		}
		for n, step := range []struct{ save, want bonus.Part }{
			{at(0, false, "begun"), at(0, false, "begun")},
			{at(19, false, ""), at(19, false, "")},
			{at(19, false, "waits"), at(19, false, "waits")}, // as far, and something new
			{at(18, false, "late"), at(19, false, "waits")},
			{at(18, true, "late"), at(19, false, "waits")},
			{at(0, false, ""), at(19, false, "waits")},
			{at(100, false, ""), at(100, false, "")}, // a number, not a text
			{at(20, false, ""), at(100, false, "")},
			{at(100, true, ""), at(100, true, "")},
			{at(100, true, "again"), at(100, true, "")},
			{at(100, false, "late"), at(100, true, "")},
			{at(190, false, "late"), at(100, true, "")},
		} {
			save(t, s, i, step.save)
			got, err := s.Part(t.Context(), i.Account, i.ID, 1)
			if diff := cmp.Diff(step.want, got); err != nil || diff != "" {
				t.Errorf("step %d: %v (-want +got):\n%s", n, err, diff)
			}
		}
	})

	t.Run("many workers at once", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		const most = 20
		var all sync.WaitGroup
		for done := range most {
			all.Go(func() {
				for _, number := range []int{1, 2} {
					err := s.SavePart(t.Context(), i.Account, i.ID, bonus.Part{Number: number, Done: done, Written: done, Updated: start})
					if err != nil {
						t.Errorf("SavePart: %v", err)
					}
				}
				p, err := s.Part(t.Context(), i.Account, i.ID, 1)
				if err != nil || p.Done < done || p.Written != p.Done {
					t.Errorf("Part = %+v, %v; own write of %d is not there", p, err, done)
				}
			})
		}
		all.Wait()
		last := bonus.Part{Done: most - 1, Written: most - 1, Updated: start}
		first, second := last, last
		first.Number, second.Number = 1, 2
		want(t, s, i, first, second)
	})

	t.Run("there is no part 0", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		for _, number := range []int{0, -1} {
			if p, err := s.Part(t.Context(), i.Account, i.ID, number); err == nil {
				t.Errorf("Part(%d) = %+v, want an error", number, p)
			}
			if err := s.SavePart(t.Context(), i.Account, i.ID, bonus.Part{Number: number, Done: 1, Updated: start}); err == nil {
				t.Errorf("SavePart(%d) = nil, want an error", number)
			}
		}
		want(t, s, i)
	})

	t.Run("the first failures are kept", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		failures := func(n int, reason string) (f []bonus.Failure) {
			for row := range n {
				f = append(f, bonus.Failure{Row: row + 2, Reason: reason})
			}
			return f
		}
		many := bonus.Part{Number: 1, Failed: 250, Failures: failures(250, "is not an email address"), Updated: start}
		save(t, s, i, many)
		many.Failures = many.Failures[:bonus.MaxFailures]
		want(t, s, i, many)

		// However long the reasons are: then it is fewer.
		long := bonus.Part{Number: 2, Failed: 99, Failures: failures(99, strings.Repeat("x", 10_000)), Updated: start}
		save(t, s, i, long)
		got, err := s.Part(t.Context(), i.Account, i.ID, 2)
		if err != nil || got.Failed != 99 || len(got.Failures) < 20 || !cmp.Equal(got.Failures, long.Failures[:len(got.Failures)]) {
			t.Errorf("Part = %d failures of %d, %v; want the first", len(got.Failures), got.Failed, err)
		}
		save(t, s, i, bonus.Part{Number: 3, Failures: []bonus.Failure{}, Updated: start})
		if got, err := s.Part(t.Context(), i.Account, i.ID, 3); err != nil || got.Failures != nil {
			t.Errorf("Part without failures = %+v, %v", got, err)
		}
	})

	t.Run("what the caller does to a part stays with the caller", func(t *testing.T) {
		t.Parallel()
		s, i, p := open(t), newImport(), full(1)
		create(t, s, i)
		save(t, s, i, p)
		p.Failures[0].Row = 99
		one, err := s.Part(t.Context(), i.Account, i.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		one.Failures[0].Row = 99
		_, parts, err := s.Get(t.Context(), i.Account, i.ID)
		if err != nil {
			t.Fatal(err)
		}
		parts[0].Failures[0].Row = 99
		want(t, s, i, full(1))
	})

	t.Run("imports are told apart by account and by id", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		for _, other := range []bonus.Import{
			{Account: i.Account, ID: newID(), Created: start},
			{Account: newID(), ID: i.ID, Created: start},
			{Account: i.Account, ID: i.ID + "x", Created: start},
		} {
			if _, _, err := s.Get(t.Context(), other.Account, other.ID); !errors.Is(err, bonus.ErrNoImport) {
				t.Errorf("Get = %v, want ErrNoImport", err)
			}
			create(t, s, other)
			save(t, s, other, full(1))
		}
		want(t, s, i)
	})

	t.Run("a large import, in the order of its parts", func(t *testing.T) {
		t.Parallel()
		s, i := open(t), newImport()
		create(t, s, i)
		var parts []bonus.Part
		for number := range 12 {
			p := bonus.Part{Number: number + 1, Failed: 25, Updated: start}
			for row := range 25 {
				p.Failures = append(p.Failures, bonus.Failure{Row: row, Reason: fmt.Sprint(number, strings.Repeat("x", 5000))})
			}
			parts = append(parts, p)
		}
		for _, p := range slices.Backward(parts) { // more than DynamoDB answers at once
			save(t, s, i, p)
		}
		want(t, s, i, parts...)
	})

	t.Run("the latest of an account, newest first", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		latest := func(want ...string) {
			t.Helper()
			got, err := s.Latest(t.Context(), account)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Latest: %v (-want +got):\n%s", err, diff)
			}
		}
		latest()
		var newest []string
		for n := range bonus.MaxLatest + 3 {
			i := newImport()
			i.Account, i.Created = account, start.Add(time.Duration(n)*time.Millisecond)
			create(t, s, i)
			i.Created = start.Add(time.Hour) // asked for again, later
			create(t, s, i)
			save(t, s, i, full(1))
			newest = slices.Insert(newest, 0, i.ID)
			latest(newest[:min(n+1, bonus.MaxLatest)]...)
		}
		other := newImport()
		other.Created = start.Add(24 * time.Hour)
		create(t, s, other)
		latest(newest[:bonus.MaxLatest]...)
	})

	t.Run("imports created at once are all listed, once each", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		var (
			all  sync.WaitGroup
			want []string
		)
		for range bonus.MaxLatest {
			i := newImport()
			i.Account = account
			want = append(want, i.ID)
			for range 2 {
				all.Go(func() {
					if err := s.Create(t.Context(), i); err != nil {
						t.Errorf("Create: %v", err)
					}
				})
			}
		}
		all.Wait()
		got, err := s.Latest(t.Context(), account)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Latest: %v (-want +got):\n%s", err, diff)
		}
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, i, ctx := open(t), newImport(), cancelled(t)
		wantUnavailable(t, "Create", s.Create(ctx, i))
		wantUnavailable(t, "Queue", s.Queue(ctx, i.Account, i.ID))
		_, _, err := s.Get(ctx, i.Account, i.ID)
		wantUnavailable(t, "Get", err)
		_, err = s.Latest(ctx, i.Account)
		wantUnavailable(t, "Latest", err)
		_, err = s.Part(ctx, i.Account, i.ID, 1)
		wantUnavailable(t, "Part", err)
		wantUnavailable(t, "SavePart", s.SavePart(ctx, i.Account, i.ID, full(1)))
		if _, _, err := s.Get(t.Context(), i.Account, i.ID); !errors.Is(err, bonus.ErrNoImport) {
			t.Errorf("Get = %v, want ErrNoImport: the cancelled Create took effect", err)
		}
	})
}
