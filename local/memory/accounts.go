package memory

import (
	"bytes"
	"context"
	"fmt"
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
	refused  map[string]time.Time
}

var _ account.Store = (*Accounts)(nil)

// Get returns the account, or account.ErrNotFound.
func (s *Accounts) Get(ctx context.Context, id string) (account.Account, error) {
	var got account.Account
	err := s.do(ctx, s.Fail, "Get", func() error {
		a, ok := s.accounts[id]
		if !ok {
			return account.ErrNotFound
		}
		a.SealedKey = bytes.Clone(a.SealedKey)
		got = a
		return nil
	})
	if err != nil {
		return account.Account{}, fmt.Errorf("get account %s: %w", id, err)
	}
	return got, nil
}

// Create stores a, unless there is an account of that id already, which is no
// error.
func (s *Accounts) Create(ctx context.Context, a account.Account) error {
	err := s.do(ctx, s.Fail, "Create", func() error {
		if _, ok := s.accounts[a.ID]; ok {
			return nil
		}
		a.SealedKey = bytes.Clone(a.SealedKey)
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
		a, ok := s.accounts[id]
		if !ok {
			return account.ErrNotFound
		}
		change(&a)
		s.accounts[id] = a
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s of account %s: %w", op, id, err)
	}
	return nil
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
