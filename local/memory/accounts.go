package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sitoo-rule/shared/account"
)

// Accounts is an account.Store. The zero value is empty and ready; it must
// not be copied.
type Accounts struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	accounts map[string]account.Account
	aliases  map[string]string
	shops    map[account.Shop]string
	refused  map[string]time.Time

	strangers map[int64][]string // tickets by their minute
}

var _ account.Store = (*Accounts)(nil)

// Get returns the account, or the one that an alias leads to, or
// account.ErrNotFound.
func (s *Accounts) Get(ctx context.Context, id string) (account.Account, error) {
	var got account.Account
	err := s.do(ctx, s.Fail, "Get", func() error {
		a, err := s.find(id)
		if err == nil {
			got = clone(a)
		}
		return err
	})
	if err != nil {
		return account.Account{}, fmt.Errorf("get account %s: %w", id, err)
	}
	return got, nil
}

// find returns the account that an id leads to.
func (s *Accounts) find(id string) (account.Account, error) {
	for range account.MaxHops + 1 {
		if a, ok := s.accounts[id]; ok {
			return a, nil
		}
		to, ok := s.aliases[id]
		if !ok {
			return account.Account{}, account.ErrNotFound
		}
		id = to
	}
	return account.Account{}, errors.New("aliases lead from one to the next")
}

// clone returns a copy that shares nothing with a.
func clone(a account.Account) account.Account {
	a.SealedKey = bytes.Clone(a.SealedKey)
	if a.Sitoo != nil {
		at := *a.Sitoo
		at.Sealed = bytes.Clone(at.Sealed)
		at.Since, at.Used = milli(at.Since), milli(at.Used)
		a.Sitoo = &at
	}
	return a
}

// Create stores a, unless there is an account or an alias of that id already,
// which is no error.
func (s *Accounts) Create(ctx context.Context, a account.Account) error {
	err := s.do(ctx, s.Fail, "Create", func() error {
		if _, ok := s.accounts[a.ID]; ok || s.aliases[a.ID] != "" {
			return nil
		}
		a = clone(a)
		a.Created, a.BlockedUntil = milli(a.Created), milli(a.BlockedUntil)
		if s.accounts == nil {
			s.accounts = make(map[string]account.Account)
		}
		s.accounts[a.ID] = a
		return nil
	})
	if err != nil {
		return fmt.Errorf("create account %s: %w", a.ID, err)
	}
	return nil
}

// Block moves the account's BlockedUntil forward to until, never back.
// account.ErrNotFound if there is no such account.
func (s *Accounts) Block(ctx context.Context, id string, until time.Time) error {
	return s.change(ctx, "Block", id, func(a *account.Account) {
		if until = milli(until); until.After(a.BlockedUntil) {
			a.BlockedUntil = until
		}
	})
}

// SetSchema raises the account's schema version, never lowers it.
// account.ErrNotFound if there is no such account.
func (s *Accounts) SetSchema(ctx context.Context, id string, version int) error {
	return s.change(ctx, "SetSchema", id, func(a *account.Account) {
		a.Schema = max(a.Schema, version)
	})
}

func (s *Accounts) change(ctx context.Context, op, id string, change func(*account.Account)) error {
	err := s.do(ctx, s.Fail, op, func() error {
		a, err := s.find(id)
		if err != nil {
			return err
		}
		change(&a)
		s.accounts[a.ID] = clone(a)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s of account %s: %w", op, id, err)
	}
	return nil
}

// SetSitoo keeps how the shop is read from Sitoo, nil removes it.
// account.ErrNotFound if there is no such account.
func (s *Accounts) SetSitoo(ctx context.Context, id string, at *account.SitooAccess) error {
	return s.change(ctx, "SetSitoo", id, func(a *account.Account) { a.Sitoo = at })
}

// UsedSitoo moves the time of the access's last use forward to at, never back.
// account.ErrNotFound if there is no such account.
func (s *Accounts) UsedSitoo(ctx context.Context, id string, at time.Time) error {
	return s.change(ctx, "UsedSitoo", id, func(a *account.Account) {
		if a.Sitoo != nil && milli(at).After(a.Sitoo.Used) {
			used := *a.Sitoo
			used.Used = at
			a.Sitoo = &used
		}
	})
}

// ClaimShop gives a shop to an account, unless it is another's, and returns
// whose it is. The first claim stands.
func (s *Accounts) ClaimShop(ctx context.Context, shop account.Shop, id string) (string, error) {
	var owner string
	err := s.do(ctx, s.Fail, "ClaimShop", func() error {
		if s.shops == nil {
			s.shops = make(map[account.Shop]string)
		}
		if s.shops[shop] == "" {
			s.shops[shop] = id
		}
		owner = s.shops[shop]
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("claim a shop of account %s: %w", id, err)
	}
	return owner, nil
}

// ShopOwner returns the accounts that sites of a Sitoo account belong to, in
// order.
func (s *Accounts) ShopOwner(ctx context.Context, sitooAccount string) ([]string, error) {
	var ids []string
	err := s.do(ctx, s.Fail, "ShopOwner", func() error {
		for shop, id := range s.shops {
			if shop.Account == sitooAccount && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for the owners of a shop: %w", err)
	}
	slices.Sort(ids)
	return ids, nil
}

// Renew gives the account a new sealed key and makes alias lead to it.
// account.ErrNotFound if there is no such account.
func (s *Accounts) Renew(ctx context.Context, id string, sealedKey []byte, alias string) error {
	return s.change(ctx, "Renew", id, func(a *account.Account) {
		a.SealedKey, a.Schema = sealedKey, 0
		if alias == a.ID {
			return
		}
		if s.aliases == nil {
			s.aliases = make(map[string]string)
		}
		s.aliases[alias] = a.ID
		delete(s.accounts, alias)
	})
}

// Refuse remembers until when a key that Rule refused is not tried again. The
// last call wins.
func (s *Accounts) Refuse(ctx context.Context, id string, until time.Time) error {
	err := s.do(ctx, s.Fail, "Refuse", func() error {
		if s.refused == nil {
			s.refused = make(map[string]time.Time)
		}
		s.refused[id] = milli(until)
		return nil
	})
	if err != nil {
		return fmt.Errorf("refuse key of account %s: %w", id, err)
	}
	return nil
}

// Refused returns until when the key is not tried again, zero if that is not
// known. It may lie in the past.
func (s *Accounts) Refused(ctx context.Context, id string) (time.Time, error) {
	var until time.Time
	err := s.do(ctx, s.Fail, "Refused", func() error {
		until = s.refused[id]
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look for refusal of account %s: %w", id, err)
	}
	return until, nil
}
