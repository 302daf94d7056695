package contract

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/account"
)

// accounts is one store under test.
type accounts struct {
	account.Store
	t *testing.T
}

func (s accounts) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// create stores an account of a new id.
func (s accounts) create() account.Account {
	s.t.Helper()
	a := account.Account{ID: newID(), Name: "Exempelbutiken AB", Created: start}
	s.must(s.Create(s.t.Context(), a))
	return a
}

func (s accounts) get(id, label string) account.Account {
	s.t.Helper()
	a, _, err := s.Get(s.t.Context(), id, label, "")
	s.must(err)
	return a
}

func (s accounts) want(want account.Account) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.get(want.ID, want.Label)); diff != "" {
		s.t.Errorf("account %s, label %q (-want +got):\n%s", want.ID, want.Label, diff)
	}
}

// key stores a key of an account.
func (s accounts) key(of string) account.Key {
	s.t.Helper()
	k := account.Key{ID: newID(), Account: of, Sealed: []byte{0, 1, 0xff}, Last4: "7f3a", FirstSeen: start, FirstAccepted: start, Accepted: start}
	got, err := s.AddKey(s.t.Context(), k)
	s.must(err)
	if diff := cmp.Diff(k, got); diff != "" {
		s.t.Errorf("AddKey (-want +got):\n%s", diff)
	}
	return k
}

func (s accounts) wantKey(want account.Key) {
	s.t.Helper()
	got, err := s.Key(s.t.Context(), want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		s.t.Errorf("Key: %v (-want +got):\n%s", err, diff)
	}
}

// Accounts tests an account.Store.
func Accounts(t *testing.T, open func(t *testing.T) account.Store) {
	for name, test := range map[string]func(s accounts){
		"an account comes back as it was stored, and the first Create wins": theAccount,
		"what is not there is ErrNotFound":                                  notThere,
		"Block and SetSchema only move forward":                             forward,
		"an unknown key that was refused":                                   refusedKey,
		"keys lead to their account for good":                               keys,
		"what Rule last said of a key counts":                               verdicts,
		"a key is dropped and taken back":                                   dropped,
		"settings and countries":                                            settings,
		"access to Sitoo is a label's":                                      access,
		"whose a shop is":                                                   claims,
		"of many that claim a shop at once one gets it":                     claimAtOnce,
		"attempts":                                   attempts,
		"attempts at once are all counted":           attemptsAtOnce,
		"what is parked is counted up to its limits": parked,
		"a cancelled context":                        cancelledAccounts,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(accounts{open(t), t})
		})
	}
}

func theAccount(s accounts) {
	a := account.Account{ID: newID(), Name: "Exempelbutiken AB", Created: start.In(time.FixedZone("CET", 3600)).Add(999 * time.Microsecond)}
	s.must(s.Create(s.t.Context(), a))
	a.Created = start // in UTC, to the millisecond
	s.want(a)
	s.must(s.Create(s.t.Context(), account.Account{ID: a.ID, Name: "Another", Created: start.Add(time.Hour)}))
	s.want(a)
	nameless := account.Account{ID: newID(), Created: start}
	s.must(s.Create(s.t.Context(), nameless))
	s.want(nameless)
	for _, label := range []string{"", "se", "", "fi"} {
		s.must(s.SawLabel(s.t.Context(), a.ID, label))
	}
	a.Labels = []string{"", "fi", "se"}
	s.want(a)
}

func notThere(s accounts) {
	ctx, id := s.t.Context(), newID()
	a, k, err := s.Get(ctx, id, "", id)
	if !errors.Is(err, account.ErrNotFound) || !cmp.Equal(a, account.Account{}) || !cmp.Equal(k, account.Key{}) {
		s.t.Errorf("Get = %+v, %+v, %v, want ErrNotFound alone", a, k, err)
	}
	_, keyErr := s.Key(ctx, id)
	_, longErr := s.Key(ctx, strings.Repeat("k", 3000))
	_, _, longGet := s.Get(ctx, strings.Repeat("4", 3000), "", "")
	_, parkErr := s.Park(ctx, id, 1, 1, account.Parked{Count: 9, Bytes: 9})
	_, watchErr := s.Watch(ctx, id, start, start)
	for op, err := range map[string]error{
		"Key": keyErr, "Key, long": longErr, "Get, long": longGet, "Park": parkErr, "Watch": watchErr,
		"Block": s.Block(ctx, id, start), "SetSchema": s.SetSchema(ctx, id, 1), "SawLabel": s.SawLabel(ctx, id, "fi"),
		"AcceptKey": s.AcceptKey(ctx, id, "", start), "RefuseKey": s.RefuseKey(ctx, id, start),
		"DeliveredKey": s.DeliveredKey(ctx, id, start), "DropKey": s.DropKey(ctx, id, start), "DropKey, back": s.DropKey(ctx, id, time.Time{}),
	} {
		if !errors.Is(err, account.ErrNotFound) {
			s.t.Errorf("%s = %v, want ErrNotFound", op, err)
		}
	}
	if _, _, err := s.Get(ctx, id, "", ""); !errors.Is(err, account.ErrNotFound) {
		s.t.Errorf("Get after all that = %v, want ErrNotFound still", err)
	}
	if list, err := s.Keys(ctx, id); err != nil || len(list) > 0 {
		s.t.Errorf("Keys = %v, %v; want none", list, err)
	}
}

func forward(s accounts) {
	a := s.create()
	for _, step := range []struct {
		block, want        time.Duration
		schema, wantSchema int
	}{
		{time.Minute, time.Minute, 2, 2},
		{time.Second, time.Minute, 1, 2},
		{time.Minute, time.Minute, 2, 2},
		{time.Hour, time.Hour, 10, 10},
	} {
		s.must(s.Block(s.t.Context(), a.ID, start.Add(step.block)))
		s.must(s.SetSchema(s.t.Context(), a.ID, step.schema))
		a.BlockedUntil, a.Schema = start.Add(step.want), step.wantSchema
		s.want(a)
	}
}

func refusedKey(s accounts) {
	id := newID()
	want := func(want time.Time) {
		s.t.Helper()
		if got, err := s.Refused(s.t.Context(), id); err != nil || !got.Equal(want) {
			s.t.Errorf("Refused = %v, %v; want %v", got, err, want)
		}
	}
	want(time.Time{})
	for _, until := range []time.Time{start.Add(time.Minute), start.Add(time.Minute), start.Add(-24 * time.Hour)} {
		s.must(s.Refuse(s.t.Context(), id, until))
		want(until)
	}
	if _, err := s.Key(s.t.Context(), id); !errors.Is(err, account.ErrNotFound) {
		s.t.Errorf("Key of one that was refused = %v, want ErrNotFound", err)
	}
}

func keys(s accounts) {
	a, b := s.create(), s.create()
	first := s.key(a.ID)
	other := first
	other.Account, other.Sealed = b.ID, []byte("another")
	got, err := s.AddKey(s.t.Context(), other)
	if diff := cmp.Diff(first, got); err != nil || diff != "" {
		s.t.Errorf("a key that is settled moved: %v\n%s", err, diff)
	}
	second := first
	second.ID, second.FirstSeen, second.FirstAccepted, second.Accepted, second.Last4 = newID(), start.Add(time.Second), time.Time{}, time.Time{}, ""
	if _, err := s.AddKey(s.t.Context(), second); err != nil {
		s.t.Fatal(err)
	}
	for id, want := range map[string][]account.Key{a.ID: {first, second}, b.ID: nil} {
		list, err := s.Keys(s.t.Context(), id)
		if diff := cmp.Diff(want, list); err != nil || diff != "" {
			s.t.Errorf("Keys: %v (-want +got):\n%s", err, diff)
		}
	}
	_, k, err := s.Get(s.t.Context(), a.ID, "fi", second.ID)
	if diff := cmp.Diff(second, k); err != nil || diff != "" {
		s.t.Errorf("Get with a key: %v (-want +got):\n%s", err, diff)
	}
	if _, k, err = s.Get(s.t.Context(), a.ID, "", newID()); err != nil || k.ID != "" {
		s.t.Errorf("Get with an unknown key = %+v, %v; want none", k, err)
	}
	k, err = s.Key(s.t.Context(), first.ID)
	s.must(err)
	k.Sealed[0] = 9 // stays with the caller
	s.wantKey(first)
}

func verdicts(s accounts) {
	ctx := s.t.Context()
	k := s.key(s.create().ID)
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	accept := func(m int, label string) { s.t.Helper(); s.must(s.AcceptKey(ctx, k.ID, label, at(m))) }
	refuse := func(m int) { s.t.Helper(); s.must(s.RefuseKey(ctx, k.ID, at(m))) }
	accept(5, "")
	k.Accepted, k.Labels = at(5), []string{""}
	s.wantKey(k)
	accept(4, "se") // comes late
	s.wantKey(k)
	accept(6, "fi")
	accept(6, "fi")
	k.Accepted, k.Labels = at(6), []string{"", "fi"}
	s.wantKey(k)
	refuse(5) // before it was accepted
	s.wantKey(k)
	refuse(7)
	k.RefusedSince, k.Refused = at(7), at(7)
	s.wantKey(k)
	refuse(9)
	k.Refused = at(9)
	s.wantKey(k)
	accept(8, "") // before it was refused last
	s.wantKey(k)
	accept(9, "") // the last word at the same moment
	k.Accepted, k.RefusedSince, k.Refused = at(9), time.Time{}, time.Time{}
	s.wantKey(k)
	for _, m := range []int{3, 8, 4} {
		s.must(s.DeliveredKey(ctx, k.ID, at(m)))
	}
	k.Delivered = at(8)
	s.wantKey(k)
}

func dropped(s accounts) {
	k := s.key(s.create().ID)
	for _, at := range []time.Time{start, start.Add(time.Hour), {}} {
		s.must(s.DropKey(s.t.Context(), k.ID, at))
		k.Dropped = at
		s.wantKey(k)
	}
}

func settings(s accounts) {
	ctx, a := s.t.Context(), s.create()
	fi := a
	fi.Label = "fi"
	s.must(s.SetSettings(ctx, a.ID, "", account.Settings{Consent: account.ConsentImplied, Language: "en", Country: "SE"}))
	a.Settings = account.Settings{Consent: account.ConsentImplied, Language: "en", Country: "SE"}
	fi.Settings = account.Settings{Consent: account.ConsentImplied, Language: "en"}
	s.want(a)
	s.want(fi)
	s.must(s.SetSettings(ctx, a.ID, "fi", account.Settings{Language: "sv", Country: "FI"}))
	a.Settings = account.Settings{Language: "sv", Country: "SE"}
	fi.Settings = account.Settings{Language: "sv", Country: "FI"}
	s.want(a)
	s.want(fi)
	s.must(s.SetSettings(ctx, a.ID, "fi", account.Settings{}))
	a.Settings, fi.Settings = account.Settings{Country: "SE"}, account.Settings{}
	s.want(a)
	s.want(fi)
}

func access(s accounts) {
	ctx, a := s.t.Context(), s.create()
	set := func(label string, at *account.SitooAccess) { s.t.Helper(); s.must(s.SetSitoo(ctx, a.ID, label, at)) }
	s.must(s.UsedSitoo(ctx, a.ID, "", start)) // there is nothing to use
	set("", nil)
	s.want(a)
	first := account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1, Sealed: []byte("a sealed pair"), Since: start}
	stored := first
	stored.Since, stored.Sealed = start.In(time.FixedZone("CET", 3600)).Add(999*time.Microsecond), slices.Clone(first.Sealed)
	a.Sitoo = &first
	for range 2 {
		set("", &stored)
		s.want(a)
	}
	stored.Sealed[0], stored.Site = 'x', 9
	s.get(a.ID, "").Sitoo.Sealed[0] = 'x'
	s.want(a)
	fi := a
	fi.Label, fi.Sitoo = "fi", nil
	s.want(fi)
	for _, step := range []struct{ at, want time.Duration }{{time.Minute, time.Minute}, {time.Second, time.Minute}, {time.Hour, time.Hour}} {
		s.must(s.UsedSitoo(ctx, a.ID, "", start.Add(step.at)))
		first.Used = start.Add(step.want)
		s.want(a)
	}
	second := account.SitooAccess{BaseURL: "https://api140.mysitoo.com/v2/accounts/90002", AccountID: "90002", Site: 3, Sealed: []byte{1}, Since: start.Add(time.Minute)}
	set("fi", &second) // another one, that has not been used
	fi.Sitoo = &second
	s.want(fi)
	s.want(a)
	for range 2 {
		set("", nil)
		a.Sitoo = nil
		s.want(a)
	}
	s.must(s.UsedSitoo(ctx, a.ID, "", start.Add(24*time.Hour)))
	s.want(a)
	s.want(fi)
}

func claims(s accounts) {
	ctx := s.t.Context()
	shop := account.Shop{Environment: "api.mysitoo.com", Account: newID(), Site: 1}
	sandbox := shop
	sandbox.Environment = "api-sandbox.mysitoo.com"
	a, b := newID(), newID()
	held := map[account.Shop]account.Claim{}
	check := func() {
		s.t.Helper()
		var want []account.Claim
		for _, at := range []account.Shop{sandbox, shop} {
			if c, ok := held[at]; ok {
				want = append(want, c)
			}
		}
		got, err := s.Claims(ctx, shop.Account)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			s.t.Errorf("Claims: %v (-want +got):\n%s", err, diff)
		}
	}
	claim := func(at account.Shop, scope, instead, want string) {
		s.t.Helper()
		got, err := s.Claim(ctx, at, scope, instead)
		if want == scope {
			held[at] = account.Claim{Shop: at, Scope: scope, Home: scope, Out: held[at].Out}
		}
		if diff := cmp.Diff(held[at], got); err != nil || diff != "" || got.Scope != want {
			s.t.Errorf("Claim: %v, %s, want %s (-want +got):\n%s", err, got.Scope, want, diff)
		}
		check()
	}
	check()
	claim(shop, a, "", a)
	claim(shop, a, "", a) // again
	claim(shop, b, "", a)
	claim(shop, b, newID(), a)
	claim(sandbox, b, "", b) // the same number elsewhere is another shop
	claim(shop, a+"/fi", a, a+"/fi")
	claim(shop, b, a+"/fi", b)
	release := func(scope string, out bool) { s.t.Helper(); s.must(s.Release(ctx, shop, scope, out)); check() }
	release(a, false) // not its shop
	c := held[shop]
	c.Scope = ""
	held[shop] = c
	release(b, false)
	release(b, false)
	claim(shop, a, "", a)
	c = held[shop]
	c.Scope, c.Out = "", []string{a}
	held[shop] = c
	release(a, true)
	claim(shop, a, "", "")
	claim(shop, a+"/fi", "", "")
	claim(shop, b, "", b)
	claim(shop, a, b, b)
	for _, odd := range []string{"", "åäö 😀/#", strings.Repeat("x", 3000)} {
		if got, err := s.Claims(ctx, odd); err != nil || len(got) > 0 {
			s.t.Errorf("Claims(%.20q) = %v, %v; want none", odd, got, err)
		}
	}
	s.must(s.Release(ctx, account.Shop{Environment: "api.mysitoo.com", Account: newID(), Site: 1}, a, false))
}

func claimAtOnce(s accounts) {
	shop := account.Shop{Environment: "api.mysitoo.com", Account: newID(), Site: 1}
	var all sync.WaitGroup
	got := make([]string, 10)
	for i := range got {
		all.Go(func() {
			c, err := s.Claim(s.t.Context(), shop, newID(), "")
			if err != nil {
				s.t.Errorf("Claim: %v", err)
			}
			got[i] = c.Scope
		})
	}
	all.Wait()
	if slices.Sort(got); got[0] != got[len(got)-1] || got[0] == "" {
		s.t.Errorf("it belongs to %v, want one", slices.Compact(got))
	}
}

func attempts(s accounts) {
	name := newID()
	try := func(at, want time.Duration) {
		s.t.Helper()
		until, err := s.Attempt(s.t.Context(), name, start.Add(at))
		s.must(err)
		if wait := until.Sub(start); until.IsZero() && want != 0 || !until.IsZero() && wait != want {
			s.t.Errorf("an attempt after %v waits until %v, want %v", at, until, want)
		}
	}
	const s1, m = time.Second, time.Minute
	try(0, 0)
	try(s1, 0)
	try(2*s1, 0)
	try(3*s1, 0) // the fourth: the next one waits
	try(4*s1, 3*s1+m)
	try(3*s1+m, 0)
	try(4*s1+m, 3*s1+3*m) // twice as long
	s.must(s.Forgive(s.t.Context(), name))
	try(5*s1+m, 0)
	try(60*m, 0) // long ago
	try(60*m, 0)
	try(60*m, 0)
	s.must(s.Forgive(s.t.Context(), newID()))
}

func attemptsAtOnce(s accounts) {
	name := newID()
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 12 {
		all.Go(func() {
			until, err := s.Attempt(s.t.Context(), name, start)
			if err != nil {
				s.t.Errorf("Attempt: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if until.IsZero() {
				made++
			}
		})
	}
	all.Wait()
	// One whose answer is lost, and behind which another was counted, counts twice:
	// then there are fewer, and never more.
	if made > 4 || made < 2 {
		s.t.Errorf("%d of 12 attempts at once could be made, want 4, or less where answers are lost", made)
	}
}

func parked(s accounts) {
	ctx, a := s.t.Context(), s.create()
	most := account.Parked{Count: 3, Bytes: 1000}
	for _, step := range []struct {
		count int
		bytes int64
		ok    bool
	}{
		{1, 400, true}, {4, 1, false}, {1, 601, false}, {1, 600, true}, {1, 1, false}, {-1, -600, true}, {1, 1, true}, {1, 1, true}, {1, 1, false}, {-3, -402, true},
	} {
		ok, err := s.Park(ctx, a.ID, step.count, step.bytes, most)
		if err != nil || ok != step.ok {
			s.t.Errorf("Park(%d, %d) = %v, %v; want %v", step.count, step.bytes, ok, err, step.ok)
		}
		if ok {
			a.Parked.Count, a.Parked.Bytes = a.Parked.Count+step.count, a.Parked.Bytes+step.bytes
		}
		s.want(a)
	}
	for _, step := range []struct {
		now, until int
		ok         bool
	}{{0, 10, true}, {5, 20, false}, {10, 20, true}, {11, 30, false}} {
		at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
		ok, err := s.Watch(ctx, a.ID, at(step.now), at(step.until))
		if err != nil || ok != step.ok {
			s.t.Errorf("Watch(%d, %d) = %v, %v; want %v", step.now, step.until, ok, err, step.ok)
		}
		if ok {
			a.Parked.Watched = at(step.until)
		}
		s.want(a)
	}
}

func cancelledAccounts(s accounts) {
	ctx, id, shop := cancelled(s.t), newID(), account.Shop{Account: newID(), Site: 1}
	for op, call := range map[string]func(ctx context.Context) error{
		"Key":          func(ctx context.Context) error { _, err := s.Key(ctx, id); return err },
		"Get":          func(ctx context.Context) error { _, _, err := s.Get(ctx, id, "", id); return err },
		"Keys":         func(ctx context.Context) error { _, err := s.Keys(ctx, id); return err },
		"Create":       func(ctx context.Context) error { return s.Create(ctx, account.Account{ID: id, Created: start}) },
		"AddKey":       func(ctx context.Context) error { _, err := s.AddKey(ctx, account.Key{ID: id, Account: id}); return err },
		"AcceptKey":    func(ctx context.Context) error { return s.AcceptKey(ctx, id, "", start) },
		"RefuseKey":    func(ctx context.Context) error { return s.RefuseKey(ctx, id, start) },
		"DeliveredKey": func(ctx context.Context) error { return s.DeliveredKey(ctx, id, start) },
		"DropKey":      func(ctx context.Context) error { return s.DropKey(ctx, id, start) },
		"Block":        func(ctx context.Context) error { return s.Block(ctx, id, start) },
		"SetSchema":    func(ctx context.Context) error { return s.SetSchema(ctx, id, 1) },
		"SawLabel":     func(ctx context.Context) error { return s.SawLabel(ctx, id, "") },
		"Park": func(ctx context.Context) error {
			_, err := s.Park(ctx, id, 1, 1, account.Parked{Count: 1, Bytes: 1})
			return err
		},
		"Watch":       func(ctx context.Context) error { _, err := s.Watch(ctx, id, start, start); return err },
		"SetSettings": func(ctx context.Context) error { return s.SetSettings(ctx, id, "", account.Settings{}) },
		"SetSitoo":    func(ctx context.Context) error { return s.SetSitoo(ctx, id, "", nil) },
		"UsedSitoo":   func(ctx context.Context) error { return s.UsedSitoo(ctx, id, "", start) },
		"Claims":      func(ctx context.Context) error { _, err := s.Claims(ctx, id); return err },
		"Claim":       func(ctx context.Context) error { _, err := s.Claim(ctx, shop, id, ""); return err },
		"Release":     func(ctx context.Context) error { return s.Release(ctx, shop, id, true) },
		"Attempt":     func(ctx context.Context) error { _, err := s.Attempt(ctx, id, start); return err },
		"Forgive":     func(ctx context.Context) error { return s.Forgive(ctx, id) },
		"Refuse":      func(ctx context.Context) error { return s.Refuse(ctx, id, start) },
		"Refused":     func(ctx context.Context) error { _, err := s.Refused(ctx, id); return err },
	} {
		wantUnavailable(s.t, op, call(ctx))
	}
	if _, _, err := s.Get(s.t.Context(), id, "", ""); !errors.Is(err, account.ErrNotFound) {
		s.t.Errorf("Get = %v, want ErrNotFound: the cancelled Create took effect", err)
	}
}
