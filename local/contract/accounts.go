package contract

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/account"
)

// Accounts tests an account.Store.
func Accounts(t *testing.T, open func(t *testing.T) account.Store) {
	full := func() account.Account {
		return account.Account{
			ID:           newID(),
			SealedKey:    []byte{0, 1, 2, 0xff},
			Created:      start,
			BlockedUntil: start.Add(10 * time.Minute),
			Schema:       3,
		}
	}
	get := func(t *testing.T, s account.Store, id string) account.Account {
		t.Helper()
		a, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatalf("Get(%s): %v", id, err)
		}
		return a
	}
	create := func(t *testing.T, s account.Store, a account.Account) {
		t.Helper()
		if err := s.Create(t.Context(), a); err != nil {
			t.Fatalf("Create: %v", err)
		}
	}

	t.Run("an account comes back as it was stored", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		minimal := account.Account{ID: newID(), SealedKey: []byte("sealed"), Created: start}
		stockholm := full()
		stockholm.Created = start.In(time.FixedZone("CET", 3600)).Add(999 * time.Microsecond)
		want := stockholm
		want.Created = start
		for _, tt := range []struct{ stored, want account.Account }{
			{minimal, minimal},
			{stockholm, want}, // in UTC, to the millisecond
		} {
			create(t, s, tt.stored)
			if diff := cmp.Diff(tt.want, get(t, s, tt.stored.ID)); diff != "" {
				t.Errorf("Get (-want +got):\n%s", diff)
			}
		}
	})

	t.Run("what the caller does to an account stays with the caller", func(t *testing.T) {
		t.Parallel()
		s, a := open(t), full()
		create(t, s, a)
		a.SealedKey[0] = 9
		get(t, s, a.ID).SealedKey[1] = 9
		if diff := cmp.Diff([]byte{0, 1, 2, 0xff}, get(t, s, a.ID).SealedKey); diff != "" {
			t.Errorf("sealed key (-want +got):\n%s", diff)
		}
	})

	t.Run("an unknown account is ErrNotFound", func(t *testing.T) {
		t.Parallel()
		s, id := open(t), newID()
		a, err := s.Get(t.Context(), id)
		if !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound", err)
		}
		if diff := cmp.Diff(account.Account{}, a); diff != "" {
			t.Errorf("Get returned an account beside its error:\n%s", diff)
		}
		if err := s.Block(t.Context(), id, start); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Block = %v, want ErrNotFound", err)
		}
		if err := s.SetSchema(t.Context(), id, 1); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("SetSchema = %v, want ErrNotFound", err)
		}
		if _, err := s.Get(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get after Block and SetSchema = %v, want ErrNotFound still", err)
		}
	})

	t.Run("the first Create wins", func(t *testing.T) {
		t.Parallel()
		s, first := open(t), full()
		create(t, s, first)
		second := first
		second.SealedKey = []byte("another")
		second.Schema = 9
		create(t, s, second)
		if diff := cmp.Diff(first, get(t, s, first.ID)); diff != "" {
			t.Errorf("after a second Create (-want +got):\n%s", diff)
		}
	})

	t.Run("Block and SetSchema only move forward", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		a := account.Account{ID: newID(), SealedKey: []byte("sealed"), Created: start}
		create(t, s, a)
		for _, step := range []struct {
			block, want time.Duration
			schema      int
			wantSchema  int
		}{
			{block: time.Minute, want: time.Minute, schema: 2, wantSchema: 2},
			{block: time.Second, want: time.Minute, schema: 1, wantSchema: 2},
			{block: time.Minute, want: time.Minute, schema: 2, wantSchema: 2},
			{block: time.Hour, want: time.Hour, schema: 10, wantSchema: 10},
		} {
			if err := s.Block(t.Context(), a.ID, start.Add(step.block)); err != nil {
				t.Fatalf("Block(%v): %v", step.block, err)
			}
			if err := s.SetSchema(t.Context(), a.ID, step.schema); err != nil {
				t.Fatalf("SetSchema(%d): %v", step.schema, err)
			}
			got := get(t, s, a.ID)
			if want := start.Add(step.want); !got.BlockedUntil.Equal(want) {
				t.Errorf("after Block(%v): blocked until %v, want %v", step.block, got.BlockedUntil, want)
			}
			if got.Schema != step.wantSchema {
				t.Errorf("after SetSchema(%d): schema %d, want %d", step.schema, got.Schema, step.wantSchema)
			}
			if diff := cmp.Diff(a.SealedKey, got.SealedKey); diff != "" {
				t.Errorf("sealed key changed (-want +got):\n%s", diff)
			}
		}
	})

	t.Run("many callers at once", func(t *testing.T) {
		t.Parallel()
		s, a := open(t), full()
		const callers = 20
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				mine := a
				mine.SealedKey = fmt.Appendf(nil, "sealed by %02d", i)
				if err := s.Create(t.Context(), mine); err != nil {
					t.Errorf("Create: %v", err)
				}
				if err := s.Block(t.Context(), a.ID, start.Add(time.Duration(i)*time.Hour)); err != nil {
					t.Errorf("Block: %v", err)
				}
				got, err := s.Get(t.Context(), a.ID)
				if err != nil || got.BlockedUntil.Before(start.Add(time.Duration(i)*time.Hour)) {
					t.Errorf("Get = blocked until %v, %v; own write of %d hours is not there", got.BlockedUntil, err, i)
				}
			})
		}
		all.Wait()
		got := get(t, s, a.ID)
		if want := start.Add((callers - 1) * time.Hour); !got.BlockedUntil.Equal(want) {
			t.Errorf("blocked until %v, want the latest, %v", got.BlockedUntil, want)
		}
		if again := get(t, s, a.ID); !cmp.Equal(got.SealedKey, again.SealedKey) {
			t.Errorf("sealed key %q, then %q: more than one Create won", got.SealedKey, again.SealedKey)
		}
	})

	t.Run("a refused key", func(t *testing.T) {
		t.Parallel()
		s, id := open(t), newID()
		wantRefused := func(want time.Time) {
			t.Helper()
			got, err := s.Refused(t.Context(), id)
			if err != nil || !got.Equal(want) {
				t.Errorf("Refused = %v, %v; want %v", got, err, want)
			}
		}
		wantRefused(time.Time{})
		for _, until := range []time.Time{
			start.Add(time.Minute),
			start.Add(time.Minute), // repeated
			start.Add(-24 * time.Hour),
		} {
			if err := s.Refuse(t.Context(), id, until); err != nil {
				t.Fatalf("Refuse: %v", err)
			}
			wantRefused(until)
		}
		if _, err := s.Get(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get of a refused key = %v, want ErrNotFound", err)
		}
		a := full()
		a.ID = id
		create(t, s, a)
		if diff := cmp.Diff(a, get(t, s, id)); diff != "" {
			t.Errorf("account of a once refused key (-want +got):\n%s", diff)
		}
		wantRefused(start.Add(-24 * time.Hour))
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, a, ctx := open(t), full(), cancelled(t)
		_, err := s.Get(ctx, a.ID)
		wantUnavailable(t, "Get", err)
		wantUnavailable(t, "Create", s.Create(ctx, a))
		wantUnavailable(t, "Block", s.Block(ctx, a.ID, start))
		wantUnavailable(t, "SetSchema", s.SetSchema(ctx, a.ID, 1))
		wantUnavailable(t, "Refuse", s.Refuse(ctx, a.ID, start))
		_, err = s.Refused(ctx, a.ID)
		wantUnavailable(t, "Refused", err)
		if _, err := s.Get(t.Context(), a.ID); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound: the cancelled Create took effect", err)
		}
	})
}
