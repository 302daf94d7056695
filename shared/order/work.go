package order

import (
	"context"
	"fmt"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// Directory is what a worker needs to act for an account.
type Directory interface {
	// Open returns the account of a scope with a session with Rule, by the key of
	// that id, or if that is "" the one that Rule accepted last; fault.NotFound if
	// there is no such account or key.
	Open(ctx context.Context, scope, key string) (*account.Visit, error)
	// Verify makes sure that Rule has accepted the key within that time.
	Verify(ctx context.Context, v *account.Visit, within time.Duration) error
	// Get returns an account by its scope, account.ErrNotFound if there is none.
	Get(ctx context.Context, scope string) (account.Account, error)
	// Keys returns the account's keys that were not dropped.
	Keys(ctx context.Context, account string) ([]account.Key, error)
}

// Worker delivers queued messages.
type Worker struct {
	*Deliverer
	Directory Directory
	// Lot keeps orders whose key Rule refuses, and DeadLetters takes those that
	// have waited there for too long.
	Lot         *parking.Lot
	DeadLetters worker.Sender
}

// Work delivers one queued message; attempt is unique to this delivery of it.
// It may be repeated. The returned session, which may be nil, tells what the
// delivery cost. A message whose key Rule refuses is parked, and done with.
func (w *Worker) Work(ctx context.Context, body, attempt string) (m Message, id int64, r *rule.Session, err error) {
	m, o, err := w.decode(body)
	if err != nil {
		return m, o.ID, nil, err
	}
	v, err := w.Directory.Open(ctx, m.Scope(), m.Key)
	if err != nil {
		return m, o.ID, nil, err
	}
	if w.Lot != nil {
		w.Lot.Watch(ctx, v.Account)
	}
	if !v.Key.Dropped.IsZero() {
		return m, o.ID, v.Rule, settle(ctx, w.Ledger, Key{m.Scope(), o.ID}, StampOf(o), attempt, Skipped, droppedKey, w.Now())
	}
	if err = w.Directory.Verify(ctx, v, account.VerifiedFor); err == nil {
		err = w.Deliver(ctx, v.Account, v.Rule, o, attempt)
	}
	if err != nil && fault.KindOf(err) == fault.Unauthorized && w.Lot != nil {
		m.Key = v.Key.ID
		err = Park(ctx, w.Lot, w.Ledger, m, o, attempt+"-parked", w.Now())
	}
	return m, o.ID, v.Rule, err
}

// decode reads a message and its order.
func (w *Worker) decode(body string) (m Message, o sitoo.Order, err error) {
	if m, err = DecodeMessage(body); err != nil {
		return m, o, err
	}
	// The door has checked the order; a message posted by hand may hold anything.
	if err := sitoo.Check(m.Order); err != nil {
		return m, o, err
	}
	if o, err = sitoo.DecodeOrder(m.Order); err != nil {
		return m, sitoo.Order{}, err
	}
	if o.Date.IsZero() {
		o.Date, o.Undated = m.Received, true
	}
	if o.Date.IsZero() { // a message posted by hand
		o.Date, o.Undated = w.Now(), true
	}
	return m, o, nil
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
	k, stamp := Key{Account: m.Scope(), Order: o.ID}, StampOf(o)
	r, ok, err := w.Ledger.Get(ctx, k)
	if err == nil && r.Stamp.Conflicts(stamp) { // it is another order's, and is left alone
		k = k.Beside(stamp)
		r, ok, err = w.Ledger.Get(ctx, k)
	}
	if err != nil || !ok || r.State == Failed {
		return err
	}
	claim, err := w.Ledger.Claim(ctx, k, stamp, attempt, w.Now(), Lease)
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
