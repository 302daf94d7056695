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

// Attempt counts an attempt to enter credentials of a Sitoo account, before Sitoo
// is asked: fault.Busy after three wrong ones in ten minutes, for that Sitoo
// account or from this Rule account. right takes it back once they turn out to be
// right.
func (d *Directory) Attempt(ctx context.Context, a Account, sitooAccount string) (right func(), err error) {
	names := []string{"rule#" + a.ID, "sitoo#" + sitooAccount}
	for _, name := range names {
		until, err := d.Store.Attempt(ctx, name, d.Now())
		if err != nil {
			return nil, fmt.Errorf("count attempts: %w", err)
		}
		if !until.IsZero() {
			return nil, &fault.Error{Kind: fault.Busy, RetryAt: until, Message: "Too many wrong credentials for Sitoo were entered in a short time. Nothing was tried; check them in Sitoo's Backoffice and enter them again later."}
		}
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
		defer cancel()
		for _, name := range names {
			if err := d.Store.Forgive(ctx, name); err != nil {
				d.Log.WarnContext(ctx, "could not take an attempt back", "account", a.ID, "error", err)
			}
		}
	}, nil
}

// Enter keeps how a shop is read from Sitoo, for an account and a label. Sitoo has
// accepted the API id and the password, which proves nothing about another
// account: a shop that is another's is fault.Conflict, unless that one's keys are
// all refused by Rule at this moment and none has delivered within Grace. at says
// which shop; its Sealed, Since and Used are not looked at. The account is
// returned as it is afterwards. It may be repeated, also where it failed halfway.
func (d *Directory) Enter(ctx context.Context, a Account, at SitooAccess, apiID, password string) (Account, error) {
	fail := func(doing string, err error) (Account, error) {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	if err := d.claim(ctx, a, at.Shop()); err != nil {
		return Account{}, err
	}
	raw, err := json.Marshal(secrets{apiID, password})
	if err != nil {
		return fail("encode credentials", err)
	}
	if at.Sealed, err = d.Sealer.Seal(ctx, a.ID, string(raw)); err != nil {
		return fail("seal credentials", err)
	}
	at.Since, at.Used = d.Now(), time.Time{}
	if err := d.Store.SetSitoo(ctx, a.ID, a.Label, &at); err != nil {
		return fail("keep credentials", err)
	}
	// The label had another shop before: nobody holds that now.
	if a.Sitoo != nil && a.Sitoo.Shop() != at.Shop() {
		if err := d.Store.Release(ctx, a.Sitoo.Shop(), a.Scope(), false); err != nil {
			return fail("release the earlier shop", err)
		}
	}
	if a, err = d.Get(ctx, a.Scope()); err != nil {
		return fail("read account", err)
	}
	return a, nil
}

// claim makes a shop the account's and label's.
func (d *Directory) claim(ctx context.Context, a Account, s Shop) error {
	claims, err := d.Store.Claims(ctx, s.Account)
	if err != nil {
		return fmt.Errorf("look up whose a shop is: %w", err)
	}
	var now Claim
	if i := slices.IndexFunc(claims, func(c Claim) bool { return c.Shop == s }); i >= 0 {
		now = claims[i]
	}
	instead := ""
	if err := d.mayClaim(ctx, a, now); err != nil {
		return err
	}
	if now.Scope != "" && now.Scope != a.Scope() {
		instead = now.Scope
	}
	got, err := d.Store.Claim(ctx, s, a.Scope(), instead)
	if err != nil {
		return fmt.Errorf("claim shop: %w", err)
	}
	if got.Scope != a.Scope() {
		return d.taken(ctx, a, got)
	}
	if instead == "" {
		return nil
	}
	first, label := SplitScope(instead)
	if first != a.ID {
		d.Log.WarnContext(ctx, "a shop whose account has no good key any more is another account's now", "account", a.ID, "from", first, "sitooaccount", s.Account, "site", s.Site)
	}
	if err := d.Store.SetSitoo(ctx, first, label, nil); err != nil {
		return fmt.Errorf("remove the earlier account's credentials: %w", err)
	}
	return nil
}

// mayClaim reports why an account may not have a shop.
func (d *Directory) mayClaim(ctx context.Context, a Account, c Claim) error {
	if slices.Contains(c.Out, a.ID) {
		return d.taken(ctx, a, c)
	}
	home, label := SplitScope(c.Home)
	// Where no order has come it moves; where some have, they are known under that
	// label only.
	if home == a.ID && label != a.Label && slices.Contains(a.Labels, label) {
		return fault.New(fault.Conflict, "This shop's orders are kept %s, and would be brought over twice %s. Enter its credentials with the API token %s.", under(label), under(a.Label), tokenOf(label))
	}
	owner, _ := SplitScope(c.Scope)
	if owner == "" || owner == a.ID {
		return nil
	}
	abandoned, err := d.abandoned(ctx, owner)
	if err != nil {
		return err
	}
	if !abandoned {
		return d.taken(ctx, a, c)
	}
	return nil
}

func under(label string) string {
	if label == "" {
		return "without a label"
	}
	return "under the label " + label
}

func tokenOf(label string) string {
	if label == "" {
		return "KEY, without a label"
	}
	return "KEY/" + label
}

func (d *Directory) taken(ctx context.Context, a Account, c Claim) error {
	owner, _ := SplitScope(c.Scope)
	d.Log.WarnContext(ctx, "a shop was entered that is another account's", "account", a.ID, "owner", owner, "sitooaccount", c.Account, "site", c.Site)
	return &fault.Error{Kind: fault.Conflict, Message: "This Sitoo shop is connected with another account in Rule. It can be entered here once that account has removed it (DELETE /sitoo/credentials there); if it should not be there at all, ask Rule's support."}
}

// abandoned reports whether Rule, asked at this moment, refuses all keys of an
// account, and none of them has delivered within Grace.
func (d *Directory) abandoned(ctx context.Context, id string) (bool, error) {
	keys, err := d.Store.Keys(ctx, id)
	if err != nil {
		return false, fmt.Errorf("look up the other account's keys: %w", err)
	}
	for _, k := range keys {
		if d.Now().Sub(k.Delivered) < Grace {
			return false, nil
		}
	}
	for _, k := range keys {
		if !k.Dropped.IsZero() {
			continue
		}
		accepted, err := d.accepts(ctx, k)
		if err != nil || accepted {
			return false, err
		}
	}
	return true, nil
}

// Leave forgets how an account's shop is read from Sitoo, and lets another account
// have the shop. It may be repeated.
func (d *Directory) Leave(ctx context.Context, a Account) error {
	if a.Sitoo == nil {
		return nil
	}
	if err := d.Store.Release(ctx, a.Sitoo.Shop(), a.Scope(), false); err != nil {
		return fmt.Errorf("release shop: %w", err)
	}
	if err := d.Store.SetSitoo(ctx, a.ID, a.Label, nil); err != nil {
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
	raw, err := d.open(ctx, "sitoo#"+a.Scope(), a.ID, a.Sitoo.Sealed)
	if err != nil {
		return "", "", fmt.Errorf("open credentials: %w", err)
	}
	var s secrets
	if json.Unmarshal([]byte(raw), &s) != nil { // its error could quote the text
		return "", "", fault.New(fault.Internal, "the sealed credentials are damaged")
	}
	if err := d.Store.UsedSitoo(ctx, a.ID, a.Label, d.Now()); err != nil {
		d.Log.WarnContext(ctx, "could not note that the credentials are used", "account", a.ID, "error", err)
	}
	return s.APIID, s.Password, nil
}

// ReleaseShop puts whoever has sites of a Sitoo account out: their credentials are
// removed, and they cannot claim those sites again. An operator calls it. It
// returns what was released; it may be repeated.
func (d *Directory) ReleaseShop(ctx context.Context, sitooAccount string) ([]Claim, error) {
	claims, err := d.Store.Claims(ctx, sitooAccount)
	if err != nil {
		return nil, fmt.Errorf("look up whose a Sitoo account is: %w", err)
	}
	var released []Claim
	for _, c := range claims {
		if c.Scope == "" {
			continue
		}
		id, label := SplitScope(c.Scope)
		if err := d.Store.SetSitoo(ctx, id, label, nil); err != nil {
			return released, fmt.Errorf("remove credentials: %w", err)
		}
		if err := d.Store.Release(ctx, c.Shop, c.Scope, true); err != nil {
			return released, fmt.Errorf("release shop: %w", err)
		}
		d.Log.WarnContext(ctx, "an operator has put an account out of a shop", "account", id, "sitooaccount", c.Account, "site", c.Site)
		released = append(released, c)
	}
	return released, nil
}

// Claims returns whose the sites of a Sitoo account are, in order; none if there
// are no credentials of it.
func (d *Directory) Claims(ctx context.Context, sitooAccount string) ([]Claim, error) {
	claims, err := d.Store.Claims(ctx, sitooAccount)
	if err != nil {
		return nil, fmt.Errorf("look up whose a Sitoo account is: %w", err)
	}
	return slices.DeleteFunc(claims, func(c Claim) bool { return c.Scope == "" }), nil
}

// BeginBackfill makes sure that none of the orders of an account's and label's shop
// can have come under another label, where a backfill does not know them:
// fault.Conflict where orders come under one that has no credentials of its own.
// It notes that the label has orders, and may be repeated.
func (d *Directory) BeginBackfill(ctx context.Context, a Account) error {
	for _, other := range a.Labels {
		if other == a.Label {
			continue
		}
		b, _, err := d.read(ctx, a.ID, other, "")
		if err != nil {
			return err
		}
		if b.Sitoo == nil {
			return fault.New(fault.Conflict, "Orders of this account also come %s, which has no credentials for Sitoo: they could be of this shop, and would be in Rule twice. Enter the credentials of each label's shop with its own API token (%s), or give all tills of one shop the same token.", under(other), tokenOf(other))
		}
	}
	if slices.Contains(a.Labels, a.Label) {
		return nil
	}
	if err := d.Store.SawLabel(ctx, a.ID, a.Label); err != nil {
		return fmt.Errorf("note label: %w", err)
	}
	return nil
}

// missing is the error of a message that names no account of ours.
func missing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fault.Wrap(fault.NotFound, err, unknownAccount)
	}
	return err
}
