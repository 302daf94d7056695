package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sitoo-rule/shared/fault"
)

// secrets is what of a shop's access to Sitoo is sealed, as JSON.
type secrets struct {
	APIID    string `json:"apiid"`
	Password string `json:"password"`
}

// Enter keeps how a shop is read from Sitoo, for the account a that the token,
// which Rule accepts, led to. at says which shop; its Sealed, Since and Used are
// not looked at. Sitoo has accepted the API id and the password: whoever has
// them is the shop. So if the shop is another account's, this is that account
// with a renewed key: it gets the token as its key, and what a is in the store
// becomes an alias of it. renewed says that the account, which is returned as it
// is afterwards, has another key now.
//
// It is fault.Conflict for an account that has another shop of its own. It may
// be repeated, also where it failed halfway.
func (d *Directory) Enter(ctx context.Context, a Account, token string, at SitooAccess, apiID, password string) (kept Account, renewed bool, err error) {
	fail := func(doing string, err error) (Account, bool, error) {
		return Account{}, false, fmt.Errorf("%s: %w", doing, err)
	}
	owner, err := d.Store.ClaimShop(ctx, at.Shop(), a.ID)
	if err != nil {
		return fail("claim shop", err)
	}
	from := a
	if owner != a.ID {
		if a, err = d.Get(ctx, owner); err != nil {
			if errors.Is(err, ErrNotFound) {
				err = &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("the shop's account is gone: %w", err)}
			}
			return fail("look up the shop's account", err)
		}
	}
	if a.ID != from.ID && from.Sitoo != nil {
		return Account{}, false, fault.New(fault.Conflict, "These credentials are of a shop that has been connected with another API key, and this API key already has the Sitoo account %s, site %d. Remove those credentials first if this key is the other shop's new one.", from.Sitoo.AccountID, from.Sitoo.Site)
	}
	raw, err := json.Marshal(secrets{apiID, password})
	if err != nil {
		return fail("encode credentials", err)
	}
	if at.Sealed, err = d.Sealer.Seal(ctx, a.ID, string(raw)); err != nil {
		return fail("seal credentials", err)
	}
	at.Since, at.Used = d.Now(), time.Time{}
	if err := d.Store.SetSitoo(ctx, a.ID, &at); err != nil {
		return fail("keep credentials", err)
	}
	key, err := d.Key(ctx, a)
	if err != nil {
		return fail("compare keys", err)
	}
	if key != token {
		sealed, err := d.Sealer.Seal(ctx, a.ID, token)
		if err != nil {
			return fail("seal key", err)
		}
		if err := d.Store.Renew(ctx, a.ID, sealed, ID(token)); err != nil {
			return fail("renew key", err)
		}
		d.Log.InfoContext(ctx, "renewed key", "account", a.ID, "key", ID(token))
	}
	if a, err = d.Get(ctx, a.ID); err != nil {
		return fail("read account", err)
	}
	return a, key != token, nil
}

// Leave forgets how an account's shop is read from Sitoo. The shop stays the
// account's: entered again, also with a renewed key, it is found again. It may
// be repeated.
func (d *Directory) Leave(ctx context.Context, a Account) error {
	if err := d.Store.SetSitoo(ctx, a.ID, nil); err != nil {
		return fmt.Errorf("remove credentials: %w", err)
	}
	return nil
}

// Access returns the API id and the password with which an account's shop is
// read from Sitoo, and notes that they are used. It is fault.NotFound, with a
// sentence, if the merchant has entered none.
func (d *Directory) Access(ctx context.Context, a Account) (apiID, password string, err error) {
	if a.Sitoo == nil {
		return "", "", fault.New(fault.NotFound, "The merchant has entered no credentials for Sitoo. PUT /sitoo/credentials takes them.")
	}
	raw, err := d.open(ctx, "sitoo#"+a.ID, a.ID, a.Sitoo.Sealed)
	if err != nil {
		return "", "", fmt.Errorf("open credentials: %w", err)
	}
	var s secrets
	if json.Unmarshal([]byte(raw), &s) != nil { // its error could quote the text
		return "", "", fault.New(fault.Internal, "the sealed credentials are damaged")
	}
	if err := d.Store.UsedSitoo(ctx, a.ID, d.Now()); err != nil {
		d.Log.WarnContext(ctx, "could not note that the credentials are used", "account", a.ID, "error", err)
	}
	return s.APIID, s.Password, nil
}

// Accounts returns the ids of the accounts that sites of a Sitoo account belong
// to, each once, in order; none if nobody has entered credentials of it.
func (d *Directory) Accounts(ctx context.Context, sitooAccount string) ([]string, error) {
	owners, err := d.Store.ShopOwner(ctx, sitooAccount)
	if err != nil {
		return nil, fmt.Errorf("look up whose a Sitoo account is: %w", err)
	}
	var ids []string
	for _, owner := range owners {
		a, err := d.Get(ctx, owner)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up whose a Sitoo account is: %w", err)
		}
		ids = append(ids, a.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
