package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// Directory is what a worker needs to act for an account.
type Directory interface {
	// Get returns the account, account.ErrNotFound if there is none.
	Get(ctx context.Context, id string) (account.Account, error)
	// Key returns the account's Rule API key.
	Key(ctx context.Context, a account.Account) (string, error)
	// Block shares that Rule wants no calls before until.
	Block(ctx context.Context, id string, until time.Time)
}

// Worker delivers queued messages.
type Worker struct {
	*Deliverer
	Directory Directory
	Rule      *rule.Client
}

// Work delivers one queued message; attempt is unique to this delivery of it.
// It may be repeated. The returned session, which may be nil, tells what the
// delivery cost.
func (w *Worker) Work(ctx context.Context, body, attempt string) (m Message, id int64, r *rule.Session, err error) {
	if m, err = DecodeMessage(body); err != nil {
		return m, 0, nil, err
	}
	// The door has checked the order; a message posted by hand may hold anything.
	if err := sitoo.Check(m.Order); err != nil {
		return m, 0, nil, err
	}
	o, err := sitoo.DecodeOrder(m.Order)
	if err != nil {
		return m, 0, nil, err
	}
	if o.Date.IsZero() {
		o.Date = m.Received
	}
	if o.Date.IsZero() { // a message posted by hand
		o.Date = w.Now()
	}
	a, err := w.Directory.Get(ctx, m.Account)
	if errors.Is(err, account.ErrNotFound) {
		return m, o.ID, nil, fault.Wrap(fault.NotFound, err, "There is no account with the message's account id.")
	}
	if err != nil {
		return m, o.ID, nil, err
	}
	key, err := w.Directory.Key(ctx, a)
	if err != nil {
		return m, o.ID, nil, fmt.Errorf("account %s: %w", a.ID, err)
	}
	r = w.Rule.Session(key, a.BlockedUntil, func(ctx context.Context, until time.Time) { w.Directory.Block(ctx, a.ID, until) })
	mode := Live
	mode.Received = m.Received
	return m, o.ID, r, w.deliver(ctx, a, r, o, attempt, mode)
}

// GiveUp notes in the ledger that a message is put aside, and why. It may be
// repeated; an order that is done, or that a message does not name, is left as
// it is. attempt is the one that Work had for this delivery: where Work
// panicked, it still holds the order.
func (w *Worker) GiveUp(ctx context.Context, body, attempt string, cause error) error {
	m, err := DecodeMessage(body)
	if err != nil {
		return nil // nothing of it is in the ledger
	}
	o, err := sitoo.DecodeOrder(m.Order)
	if err != nil {
		return nil
	}
	// The account may have got a renewed key since, and be known by another id.
	a, err := w.Directory.Get(ctx, m.Account)
	if errors.Is(err, account.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up account: %w", err)
	}
	k := Key{Account: a.ID, Order: o.ID}
	if r, ok, err := w.Ledger.Get(ctx, k); err != nil || !ok || r.State == Failed {
		return err
	}
	claim, err := w.Ledger.Claim(ctx, k, attempt, w.Now(), Lease)
	if err != nil {
		return fmt.Errorf("claim order: %w", err)
	}
	if !claim.Mine {
		if claim.State == Working {
			return &fault.Error{Kind: fault.Busy, Message: "Another attempt is at work on this order.", RetryAt: claim.Lease}
		}
		return nil
	}
	return w.Ledger.Finish(ctx, k, attempt, Failed, reasonOf(cause), claim.Uncertain, w.Now())
}
