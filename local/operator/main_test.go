package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
)

// An operator puts out whoever has a shop, for good, and brings a dropped key back.
func TestOperator(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), &memory.Accounts{}
	shop := account.Shop{Environment: "api.mysitoo.com", Account: "90001", Site: 1}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, err := range []error{
		store.Create(ctx, account.Account{ID: "43", Created: at}),
		store.SetSitoo(ctx, "43", "", &account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1, Sealed: []byte("x"), Since: at}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Claim(ctx, shop, "43", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddKey(ctx, account.Key{ID: "k", Account: "43", Sealed: []byte("x"), FirstSeen: at}); err != nil {
		t.Fatal(err)
	}
	if err := store.DropKey(ctx, "k", at); err != nil {
		t.Fatal(err)
	}
	do := func(arg string, env map[string]string) (string, error) {
		var out bytes.Buffer
		err := run(ctx, []string{arg}, func(name string) string { return env[name] }, &out, func(context.Context, string) (account.Store, error) { return store, nil })
		return out.String(), err
	}
	if out, err := do("release-shop", map[string]string{"SITOO": "90001"}); err != nil || !strings.Contains(out, "90001, site 1 at api.mysitoo.com") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := do("release-shop", map[string]string{"SITOO": "90001"}); err != nil || !strings.Contains(out, "no account has") {
		t.Errorf("again: %q, %v", out, err)
	}
	if c, err := store.Claim(ctx, shop, "43", ""); err != nil || c.Scope != "" {
		t.Errorf("the account that was put out has it again: %+v, %v", c, err)
	}
	if a, _, err := store.Get(ctx, "43", "", ""); err != nil || a.Sitoo != nil {
		t.Errorf("%+v, %v; want no credentials", a, err)
	}
	if _, err := do("restore-key", map[string]string{"KEYID": "k"}); err != nil {
		t.Error(err)
	}
	if k, err := store.Key(ctx, "k"); err != nil || !k.Dropped.IsZero() {
		t.Errorf("%+v, %v", k, err)
	}
	for arg, env := range map[string]map[string]string{"release-shop": nil, "restore-key": {"KEYID": "none"}, "erase": {"SITOO": "1"}} {
		if out, err := do(arg, env); err == nil {
			t.Errorf("%s: %q, want an error", arg, out)
		}
	}
}
