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
			Sitoo: &account.SitooAccess{
				BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1,
				Sealed: []byte{9, 0, 0xff}, Since: start.Add(time.Hour), Used: start.Add(2 * time.Hour),
			},
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
		for op, err := range map[string]error{
			"SetSchema":         s.SetSchema(t.Context(), id, 1),
			"SetSitoo":          s.SetSitoo(t.Context(), id, full().Sitoo),
			"SetSitoo, nothing": s.SetSitoo(t.Context(), id, nil),
			"UsedSitoo":         s.UsedSitoo(t.Context(), id, start),
			"Renew":             s.Renew(t.Context(), id, []byte("sealed"), newID()),
		} {
			if !errors.Is(err, account.ErrNotFound) {
				t.Errorf("%s = %v, want ErrNotFound", op, err)
			}
		}
		if _, err := s.Get(t.Context(), id); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get after all that = %v, want ErrNotFound still", err)
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

	t.Run("access to Sitoo", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		a := account.Account{ID: newID(), SealedKey: []byte("sealed"), Created: start, Schema: 2}
		create(t, s, a)
		want := func(at *account.SitooAccess) {
			t.Helper()
			a.Sitoo = at
			if diff := cmp.Diff(a, get(t, s, a.ID)); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
		}
		set := func(at *account.SitooAccess) {
			t.Helper()
			if err := s.SetSitoo(t.Context(), a.ID, at); err != nil {
				t.Fatalf("SetSitoo: %v", err)
			}
		}
		used := func(at time.Time) {
			t.Helper()
			if err := s.UsedSitoo(t.Context(), a.ID, at); err != nil {
				t.Fatalf("UsedSitoo: %v", err)
			}
		}
		used(start) // there is nothing to use
		set(nil)
		want(nil)
		first := account.SitooAccess{
			BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1,
			Sealed: []byte("a sealed pair"), Since: start,
		}
		stored := first
		stored.Since = start.In(time.FixedZone("CET", 3600)).Add(999 * time.Microsecond)
		stored.Sealed = []byte("a sealed pair")
		for range 2 {
			set(&stored)
			want(&first)
		}
		stored.Sealed[0], stored.Site = 'x', 9
		get(t, s, a.ID).Sitoo.Sealed[0] = 'x'
		get(t, s, a.ID).Sitoo.Site = 9
		want(&first)
		for _, step := range []struct{ at, want time.Duration }{{time.Minute, time.Minute}, {time.Second, time.Minute}, {time.Hour, time.Hour}} {
			used(start.Add(step.at))
			first.Used = start.Add(step.want)
			want(&first)
		}
		second := account.SitooAccess{BaseURL: "https://api140.mysitoo.com/v2/accounts/90002", AccountID: "90002", Site: 3, Sealed: []byte{1}, Since: start.Add(time.Minute)}
		set(&second) // another one, that has not been used
		want(&second)
		for range 2 {
			set(nil)
			want(nil)
		}
		used(start.Add(24 * time.Hour))
		want(nil)
		set(full().Sitoo)
		want(full().Sitoo)
	})

	t.Run("whose a shop is", func(t *testing.T) {
		t.Parallel()
		s, sitoo := open(t), newID()
		owners := func(want ...string) {
			t.Helper()
			slices.Sort(want)
			got, err := s.ShopOwner(t.Context(), sitoo)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("ShopOwner: %v (-want +got):\n%s", err, diff)
			}
		}
		claim := func(site int64, id, want string) {
			t.Helper()
			got, err := s.ClaimShop(t.Context(), account.Shop{Account: sitoo, Site: site}, id)
			if err != nil || got != want {
				t.Errorf("ClaimShop = %s, %v; want %s", got, err, want)
			}
		}
		owners()
		a, b := newID(), newID()
		claim(1, a, a)
		claim(1, a, a) // again
		claim(1, b, a)
		owners(a)
		claim(2, b, b)
		claim(12, b, b)
		owners(a, b)
		if got, err := s.ClaimShop(t.Context(), account.Shop{Account: sitoo + "1", Site: 1}, b); err != nil || got != b {
			t.Errorf("ClaimShop of another account's = %s, %v", got, err)
		}
		owners(a, b)
		for _, odd := range []string{"", "åäö 😀/#", strings.Repeat("x", 3000)} {
			if got, err := s.ShopOwner(t.Context(), odd); err != nil || len(got) > 0 {
				t.Errorf("ShopOwner(%.20q) = %v, %v; want none", odd, got, err)
			}
		}
	})

	t.Run("of many that claim a shop at once one gets it", func(t *testing.T) {
		t.Parallel()
		s, shop := open(t), account.Shop{Account: newID(), Site: 1}
		var all sync.WaitGroup
		got := make([]string, 10)
		for i := range got {
			all.Go(func() {
				var err error
				if got[i], err = s.ClaimShop(t.Context(), shop, newID()); err != nil {
					t.Errorf("ClaimShop: %v", err)
				}
			})
		}
		all.Wait()
		if slices.Sort(got); got[0] != got[len(got)-1] || got[0] == "" {
			t.Errorf("it belongs to %v, want one", slices.Compact(got))
		}
	})

	t.Run("a renewed key", func(t *testing.T) {
		t.Parallel()
		s, a, alias := open(t), full(), newID()
		create(t, s, a)
		interim := full() // its first call came before the shop proved itself
		interim.ID = alias
		create(t, s, interim)
		renew := func(id, key, alias string) {
			t.Helper()
			if err := s.Renew(t.Context(), id, []byte(key), alias); err != nil {
				t.Fatalf("Renew(%s): %v", id, err)
			}
		}
		want := func(ids ...string) {
			t.Helper()
			for _, id := range ids {
				if diff := cmp.Diff(a, get(t, s, id)); diff != "" {
					t.Errorf("Get(%s) (-want +got):\n%s", id, diff)
				}
			}
		}
		for range 2 {
			renew(a.ID, "new", alias)
			a.SealedKey, a.Schema = []byte("new"), 0
			want(a.ID, alias)
		}
		create(t, s, interim) // a late first call
		want(a.ID, alias)

		// An alias will do wherever an account's id does.
		a.BlockedUntil, a.Schema = start.Add(time.Hour), 9
		a.Sitoo.Used = start.Add(3 * time.Hour)
		for op, err := range map[string]error{
			"Block":     s.Block(t.Context(), alias, a.BlockedUntil),
			"SetSchema": s.SetSchema(t.Context(), alias, 9),
			"UsedSitoo": s.UsedSitoo(t.Context(), alias, a.Sitoo.Used),
		} {
			if err != nil {
				t.Errorf("%s of an alias: %v", op, err)
			}
		}
		want(a.ID, alias)
		a.Sitoo = nil
		if err := s.SetSitoo(t.Context(), alias, nil); err != nil {
			t.Errorf("SetSitoo of an alias: %v", err)
		}
		want(a.ID, alias)

		// The next key, and back to the first.
		third := newID()
		renew(alias, "third", third)
		a.SealedKey, a.Schema = []byte("third"), 0
		want(a.ID, alias, third)
		renew(a.ID, "first", a.ID)
		a.SealedKey = []byte("first")
		want(a.ID, alias, third)

		// The account turns out to be another one's.
		other := full()
		other.ID = newID()
		create(t, s, other)
		renew(other.ID, "moved", a.ID)
		other.SealedKey, other.Schema = []byte("moved"), 0
		first := a.ID
		a = other
		want(other.ID, first, alias, third)

		// What is known of a key that Rule refuses is about that key alone.
		if err := s.Refuse(t.Context(), first, start); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{alias, other.ID} {
			if until, err := s.Refused(t.Context(), id); err != nil || !until.IsZero() {
				t.Errorf("Refused(%s) = %v, %v; want none", id, until, err)
			}
		}
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, a, ctx := open(t), full(), cancelled(t)
		_, err := s.Get(ctx, a.ID)
		wantUnavailable(t, "Get", err)
		wantUnavailable(t, "Create", s.Create(ctx, a))
		wantUnavailable(t, "Block", s.Block(ctx, a.ID, start))
		wantUnavailable(t, "SetSchema", s.SetSchema(ctx, a.ID, 1))
		wantUnavailable(t, "SetSitoo", s.SetSitoo(ctx, a.ID, a.Sitoo))
		wantUnavailable(t, "UsedSitoo", s.UsedSitoo(ctx, a.ID, start))
		wantUnavailable(t, "Renew", s.Renew(ctx, a.ID, a.SealedKey, newID()))
		_, err = s.ClaimShop(ctx, account.Shop{Account: a.ID, Site: 1}, a.ID)
		wantUnavailable(t, "ClaimShop", err)
		_, err = s.ShopOwner(ctx, a.ID)
		wantUnavailable(t, "ShopOwner", err)
		wantUnavailable(t, "Refuse", s.Refuse(ctx, a.ID, start))
		_, err = s.Refused(ctx, a.ID)
		wantUnavailable(t, "Refused", err)
		if _, err := s.Get(t.Context(), a.ID); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound: the cancelled Create took effect", err)
		}
	})
}
