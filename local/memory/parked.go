package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"sitoo-rule/shared/parking"
)

// Parked is a parking.Store. The zero value is empty and ready; it must not be
// copied.
type Parked struct {
	// Fail is as Accounts.Fail.
	Fail func(op string) error

	core
	items  map[[2]string]parking.Item
	bodies map[[2]string][]byte
}

var _ parking.Store = (*Parked)(nil)

func cloneItem(i parking.Item) parking.Item {
	i.DataKey, i.Parked = bytes.Clone(i.DataKey), milli(i.Parked)
	return i
}

// Put keeps an item and its body.
func (s *Parked) Put(ctx context.Context, i parking.Item, body []byte) error {
	err := s.do(ctx, s.Fail, "Put", func() error {
		at := [2]string{i.Account, i.ID}
		put(&s.items, at, cloneItem(i))
		put(&s.bodies, at, bytes.Clone(body))
		return nil
	})
	if err != nil {
		return fmt.Errorf("put %s of account %s: %w", i.ID, i.Account, err)
	}
	return nil
}

// List returns an account's items after an id, by id, at most limit.
func (s *Parked) List(ctx context.Context, account, after string, limit int) (list []parking.Item, err error) {
	err = s.do(ctx, s.Fail, "List", func() error {
		for at, i := range s.items {
			if at[0] == account && at[1] > after {
				list = append(list, cloneItem(i))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list what account %s has parked: %w", account, err)
	}
	slices.SortFunc(list, func(a, b parking.Item) int { return cmp.Compare(a.ID, b.ID) })
	return list[:min(limit, len(list))], nil
}

// Body returns an item's body, parking.ErrGone if it is not there.
func (s *Parked) Body(ctx context.Context, i parking.Item) (body []byte, err error) {
	err = s.do(ctx, s.Fail, "Body", func() error {
		b, ok := s.bodies[[2]string{i.Account, i.ID}]
		if !ok {
			return parking.ErrGone
		}
		body = bytes.Clone(b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("body of %s of account %s: %w", i.ID, i.Account, err)
	}
	return body, nil
}

// Delete forgets an item, and reports whether it was there.
func (s *Parked) Delete(ctx context.Context, i parking.Item) (there bool, err error) {
	err = s.do(ctx, s.Fail, "Delete", func() error {
		_, there = s.items[[2]string{i.Account, i.ID}]
		delete(s.items, [2]string{i.Account, i.ID})
		delete(s.bodies, [2]string{i.Account, i.ID})
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("delete %s of account %s: %w", i.ID, i.Account, err)
	}
	return there, nil
}
