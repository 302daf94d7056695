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

// automationsFor is until how long after its date an order starts automations:
// one that a till uploads later is history.
const automationsFor = 30 * 24 * time.Hour

// Worked is what became of one delivery of a message, for its log line.
type Worked struct {
	Message
	ID      int64         // of the order, 0 if the message names none
	State   State         // in the ledger, "" if it was not asked
	Reason  string        // for the state, "" for none
	Two     string        // by what the order names another customer than the one who has it, "" if it is not known to
	Unread  []string      // members of the order that were left out
	Session *rule.Session // tells what it cost, nil if Rule was not asked
}

// Work delivers one queued message; attempt is unique to this delivery of it.
// It may be repeated.
func (w *Worker) Work(ctx context.Context, body, attempt string) (d Worked, err error) {
	if d.Message, err = DecodeMessage(body); err != nil {
		return d, err
	}
	o, err := sitoo.DecodeOrder(d.Order)
	d.ID, d.Unread = o.ID, o.Unread
	if err != nil {
		return d, err
	}
	o.Omitted = d.Omitted
	if o.Date.IsZero() {
		o.Date = d.Received
	}
	if o.Date.IsZero() { // a message posted by hand
		o.Date = w.Now()
	}
	a, err := w.Directory.Get(ctx, d.Account)
	if errors.Is(err, account.ErrNotFound) {
		return d, fault.Wrap(fault.NotFound, err, "There is no account with the message's account id.")
	}
	if err != nil {
		return d, err
	}
	key, err := w.Directory.Key(ctx, a)
	if err != nil {
		return d, fmt.Errorf("account %s: %w", a.ID, err)
	}
	d.Session = w.Rule.Session(key, a.BlockedUntil, func(ctx context.Context, until time.Time) { w.Directory.Block(ctx, a.ID, until) })
	m := Live
	m.Quiet = w.Now().Sub(o.Date) > automationsFor
	m.Received = d.Received
	m.Told = func(s State, reason string) { d.State, d.Reason = s, reason }
	m.Two = func(by string) { d.Two = by }
	err = w.deliver(ctx, a, d.Session, o, attempt, m)
	return d, err
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
	o, _ := sitoo.DecodeOrder(m.Order)
	if o.ID == 0 {
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
