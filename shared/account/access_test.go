package account_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
)

const (
	newKey   = "demo-key-renewed"
	apiID    = "90001-1"
	password = "demo-password"
)

// place is the shop that most tests are about.
var place = account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1}

// shop is a shop with credentials, entered by its first key.
func shop(t *testing.T, w *shared) account.Account {
	t.Helper()
	a, renewed := enter(t, w.process(nil), key, place)
	if renewed || a.ID != account.ID(key) {
		t.Fatalf("account %s, renewed %v; want the key's own", a.ID, renewed)
	}
	return a
}

// enter is a merchant who enters credentials with a key.
func enter(t *testing.T, d *account.Directory, key string, at account.SitooAccess) (account.Account, bool) {
	t.Helper()
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, renewed, err := d.Enter(t.Context(), a, key, at, apiID, password)
	if err != nil {
		t.Fatal(err)
	}
	return a, renewed
}

func TestEnter(t *testing.T) {
	t.Parallel()
	w := newShared()
	a := shop(t, w)
	sealed := fmt.Sprintf(`sealed %s {"apiid":"90001-1","password":"demo-password"}`, a.ID)
	want := account.Account{
		ID: account.ID(key), SealedKey: []byte("sealed " + account.ID(key) + " " + key), Created: start,
		Sitoo: &account.SitooAccess{BaseURL: place.BaseURL, AccountID: "90001", Site: 1, Sealed: []byte(sealed), Since: start},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	// Again, later: they are kept anew.
	w.later(time.Hour)
	want.Sitoo.Since = start.Add(time.Hour)
	again, renewed := enter(t, w.process(nil), key, place)
	if diff := cmp.Diff(want, again); renewed || diff != "" {
		t.Errorf("renewed %v; account (-want +got):\n%s", renewed, diff)
	}
	// Another site in place of the first; both stay this account's.
	second := place
	second.Site = 2
	if got, renewed := enter(t, w.process(nil), key, second); renewed || got.Sitoo.Site != 2 {
		t.Errorf("site %d, renewed %v; want 2, and no", got.Sitoo.Site, renewed)
	}
	ids, err := w.process(nil).Accounts(t.Context(), "90001")
	if diff := cmp.Diff([]string{a.ID}, ids); err != nil || diff != "" {
		t.Errorf("Accounts: %v (-want +got):\n%s", err, diff)
	}
	// Removed, and removed again.
	d := w.process(nil)
	for range 2 {
		if err := d.Leave(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Get(t.Context(), a.ID); err != nil || got.Sitoo != nil {
			t.Errorf("%+v, %v; want no access", got.Sitoo, err)
		}
	}
}

func TestRenewedKey(t *testing.T) {
	t.Parallel()
	w := newShared()
	old := shop(t, w)
	if err := w.store.SetSchema(t.Context(), old.ID, 3); err != nil {
		t.Fatal(err)
	}
	here, there := w.process(nil), w.process(nil)
	if got, err := here.Key(t.Context(), old); err != nil || got != key {
		t.Fatalf("Key = %q, %v", got, err)
	}
	for _, d := range []*account.Directory{here, there} {
		// Both processes know the account, and the new key as one of its own.
		for _, k := range []string{key, newKey} {
			if _, err := d.Authorize(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.later(time.Minute)
	var log bytes.Buffer
	a, renewed := enter(t, w.process(&log), newKey, place)
	if !renewed || a.ID != old.ID || a.Schema != 0 || !a.Created.Equal(start) || !a.Sitoo.Since.Equal(start.Add(time.Minute)) {
		t.Errorf("renewed %v, %+v; want the old account", renewed, a)
	}
	if strings.Contains(log.String(), newKey) || strings.Contains(log.String(), password) || !strings.Contains(log.String(), "renewed key") {
		t.Errorf("log = %s, want a line about it, without a secret", log.String())
	}
	for name, d := range map[string]*account.Directory{"a process that knew": here, "another one": there, "a new one": w.process(nil)} {
		for _, k := range []string{key, newKey} {
			for how, authorize := range authorizes {
				got, err := authorize(d, t.Context(), k)
				if diff := cmp.Diff(a, got); err != nil || diff != "" {
					t.Errorf("%s, %s of %s: %v (-want +got):\n%s", name, how, k, err, diff)
				}
				if secret, err := d.Key(t.Context(), got); err != nil || secret != newKey {
					t.Errorf("%s: Key = %q, %v; want the new one", name, secret, err)
				}
				if id, pass, err := d.Access(t.Context(), got); err != nil || id != apiID || pass != password {
					t.Errorf("%s: Access = %q, %q, %v; want what was entered", name, id, pass, err)
				}
				a.Sitoo.Used = start.Add(time.Minute)
			}
		}
	}
	if again, renewed := enter(t, here, newKey, place); renewed || again.ID != old.ID {
		t.Errorf("entered again: account %s, renewed %v", again.ID, renewed)
	}
	// The merchant goes back to the first key, which is good still.
	if back, renewed := enter(t, there, key, place); !renewed || back.ID != old.ID {
		t.Errorf("back to the first key: account %s, renewed %v", back.ID, renewed)
	}
	for _, d := range []*account.Directory{here, there} {
		got, err := d.Authorize(t.Context(), newKey)
		if err != nil || got.ID != old.ID {
			t.Fatalf("%+v, %v; want the account", got, err)
		}
		if secret, err := d.Key(t.Context(), got); err != nil || secret != key {
			t.Errorf("Key = %q, %v; want the first one", secret, err)
		}
	}
}

// A key that was removed in Rule is refused; the new one is not, in whatever
// order they come.
func TestOldKeyRefused(t *testing.T) {
	t.Parallel()
	w := newShared()
	a := shop(t, w)
	enter(t, w.process(nil), newKey, place)
	d := w.process(nil)
	if _, err := d.Authorize(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	d.Refuse(t.Context(), account.ID(key))
	if _, err := d.Authorize(t.Context(), key); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("the old key: %v, want unauthorized", err)
	}
	for _, authorize := range authorizes {
		if got, err := authorize(d, t.Context(), newKey); err != nil || got.ID != a.ID {
			t.Errorf("the new key: %+v, %v; want the account", got, err)
		}
	}
	if got, err := d.Accepted(t.Context(), key); err != nil || got.ID != a.ID {
		t.Errorf("what must not be lost, with the old key: %+v, %v; want the account", got, err)
	}
}

// While the store does not answer, an alias leads on to what is known, and a
// block that is told by either id holds.
func TestAliasWithoutStore(t *testing.T) {
	t.Parallel()
	w := newShared()
	d := w.process(nil)
	if _, err := d.Authorize(t.Context(), newKey); err != nil { // an account of its own at first
		t.Fatal(err)
	}
	a := shop(t, w)
	enter(t, w.process(nil), newKey, place)
	if _, err := d.Authorize(t.Context(), newKey); err != nil {
		t.Fatal(err)
	}
	w.failing("Block", errDown)
	until := start.Add(10 * time.Minute)
	d.Block(t.Context(), account.ID(newKey), until)
	w.failing("Get", errDown)
	for _, id := range []string{a.ID, account.ID(newKey)} {
		if got, err := d.Get(t.Context(), id); err != nil || got.ID != a.ID || !got.BlockedUntil.Equal(until) || got.Sitoo == nil {
			t.Errorf("Get(%s) = %+v, %v; want what is known, blocked", id, got, err)
		}
	}
	w.failing("Get", account.ErrNotFound)
	if _, err := d.Get(t.Context(), account.ID(newKey)); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("%v, want not found", err)
	}
	w.failing("Get", errDown)
	if _, err := d.Get(t.Context(), account.ID(newKey)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v, want unavailable: that it was an alias is forgotten", err)
	}
	w.failing("Get", nil)
	w.failing("Block", nil)
	d.Block(t.Context(), account.ID(newKey), until)
	if got, err := w.process(nil).Get(t.Context(), a.ID); err != nil || !got.BlockedUntil.Equal(until) {
		t.Errorf("%+v, %v; want the block shared", got, err)
	}
}

// A key that has a shop of its own does not take another's over by mistake.
func TestEnterAnothersShop(t *testing.T) {
	t.Parallel()
	w := newShared()
	first := shop(t, w)
	other := place
	other.Site = 3
	second, _ := enter(t, w.process(nil), newKey, other)
	d := w.process(nil)
	_, renewed, err := d.Enter(t.Context(), second, newKey, place, apiID, password)
	if f := fault.As(err); renewed || f == nil || f.Kind != fault.Conflict || !strings.Contains(f.Message, "90001, site 3") {
		t.Errorf("renewed %v, %v; want a conflict that names its own shop", renewed, err)
	}
	for _, want := range []account.Account{first, second} {
		if got, err := d.Get(t.Context(), want.ID); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	// Once they are removed, it does; whoever led to it is led on.
	if err := d.Leave(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if a, renewed := enter(t, d, newKey, place); !renewed || a.ID != first.ID {
		t.Errorf("account %s, renewed %v; want the first", a.ID, renewed)
	}
	ids, err := d.Accounts(t.Context(), "90001")
	if diff := cmp.Diff([]string{first.ID}, ids); err != nil || diff != "" {
		t.Errorf("Accounts of two sites, one account's by now: %v (-want +got):\n%s", err, diff)
	}
}

// Whatever fails on the way, the same once more brings it to its end, and until
// then the old key works.
func TestEnterHalfway(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"ClaimShop", "SetSitoo", "Renew", "Get", "seal"} {
		for _, lost := range []string{"", " done"} {
			t.Run(op+lost, func(t *testing.T) {
				t.Parallel()
				w := newShared()
				old := shop(t, w)
				d := w.process(nil)
				a, err := d.Authorize(t.Context(), newKey)
				if err != nil {
					t.Fatal(err)
				}
				w.failing(op+lost, errDown)
				if op == "Get" {
					d = w.process(nil) // it knows nothing to go on with
				}
				if op == "seal" {
					w.sealer.err = errDown
				}
				if got, renewed, err := d.Enter(t.Context(), a, newKey, place, apiID, password); fault.KindOf(err) != fault.Unavailable || renewed || got.ID != "" {
					t.Errorf("%+v, %v, %v; want unavailable alone", got, renewed, err)
				} else if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), newKey) {
					t.Errorf("%v holds a secret", err)
				}
				w.failing(op+lost, nil)
				w.sealer.err = nil
				got, err := d.Get(t.Context(), old.ID)
				if err != nil {
					t.Fatal(err)
				}
				if secret, err := d.Key(t.Context(), got); err != nil || secret != key && op+lost != "Renew done" {
					t.Errorf("Key = %q, %v; want the old one", secret, err)
				}
				if a, _ := enter(t, d, newKey, place); a.ID != old.ID {
					t.Errorf("once more: account %s, want %s", a.ID, old.ID)
				}
				if got, err := d.Authorize(t.Context(), newKey); err != nil || got.ID != old.ID {
					t.Errorf("the new key: %+v, %v; want the account", got, err)
				}
			})
		}
	}
}

// The account that a shop belongs to was deleted by hand.
func TestEnterAccountGone(t *testing.T) {
	t.Parallel()
	w := newShared()
	if _, err := w.store.ClaimShop(t.Context(), place.Shop(), "gone"); err != nil {
		t.Fatal(err)
	}
	d := w.process(nil)
	a, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Enter(t.Context(), a, key, place, apiID, password); fault.KindOf(err) != fault.Internal {
		t.Errorf("%v, want internal", err)
	}
	if ids, err := d.Accounts(t.Context(), "90001"); err != nil || len(ids) > 0 {
		t.Errorf("Accounts = %v, %v; want none", ids, err)
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	w := newShared()
	var log bytes.Buffer
	d := w.process(&log)
	fresh, err := d.Authorize(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if id, pass, err := d.Access(t.Context(), fresh); fault.KindOf(err) != fault.NotFound || fault.As(err).Message == "" || id != "" || pass != "" {
		t.Errorf("Access of none = %q, %q, %v; want not found with a sentence", id, pass, err)
	}
	a := shop(t, w)
	w.later(time.Hour)
	opens := w.sealer.opens
	for range 2 {
		if id, pass, err := d.Access(t.Context(), a); err != nil || id != apiID || pass != password || w.sealer.opens != opens+1 {
			t.Errorf("Access = %q, %q, %v after %d openings; want what was entered after one", id, pass, err, w.sealer.opens-opens)
		}
	}
	if got, err := d.Get(t.Context(), a.ID); err != nil || !got.Sitoo.Used.Equal(start.Add(time.Hour)) {
		t.Errorf("%+v, %v; want it used by now", got.Sitoo, err)
	}
	for range 2 {
		if secret, err := d.Key(t.Context(), a); err != nil || secret != key {
			t.Errorf("Key beside it = %q, %v", secret, err)
		}
		if _, _, err := d.Access(t.Context(), a); err != nil || w.sealer.opens != opens+2 {
			t.Errorf("Access beside it: %v after %d openings, want one of each", err, w.sealer.opens-opens)
		}
	}
	// That they are used can be noted later.
	w.failing("UsedSitoo", errDown)
	if _, _, err := d.Access(t.Context(), a); err != nil || !strings.Contains(log.String(), "are used") {
		t.Errorf("%v, log %s; want a warning only", err, log.String())
	}
	// Others in place of them are opened anew.
	w.failing("UsedSitoo", nil)
	if _, _, err := d.Enter(t.Context(), a, key, place, "90001-2", "another"); err != nil {
		t.Fatal(err)
	}
	a, err = d.Get(t.Context(), a.ID)
	if id, pass, aerr := d.Access(t.Context(), a); err != nil || aerr != nil || id != "90001-2" || pass != "another" {
		t.Errorf("Access = %q, %q, %v; want the new ones", id, pass, aerr)
	}
	for name, sealed := range map[string]string{"of another account": "sealed x {}", "no JSON": "sealed " + a.ID + " " + password} {
		damaged := a
		damaged.Sitoo = &account.SitooAccess{Sealed: []byte(sealed)}
		if id, pass, err := w.process(nil).Access(t.Context(), damaged); err == nil || id+pass != "" || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %q, %q, %v; want an error without the text", name, id, pass, err)
		}
	}
	w.sealer.err = errDown
	if _, _, err := w.process(nil).Access(t.Context(), a); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("while the seal cannot be opened: %v, want unavailable", err)
	}
	if strings.Contains(log.String(), password) || strings.Contains(log.String(), key) {
		t.Errorf("log holds a secret: %s", log.String())
	}
	w.failing("ShopOwner", errDown)
	if _, err := d.Accounts(context.Background(), "90001"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Accounts without a store = %v, want unavailable", err)
	}
}
