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
// It may be repeated. A message whose key Rule refuses is parked, and done with.
func (w *Worker) Work(ctx context.Context, body, attempt string) (d Worked, err error) {
	o, err := w.decode(body, &d)
	if err != nil {
		return d, err
	}
	v, err := w.Directory.Open(ctx, d.Scope(), d.Key)
	if err != nil {
		return d, err
	}
	d.Session = v.Rule
	if w.Lot != nil {
		w.Lot.Watch(ctx, v.Account)
	}
	if !v.Key.Dropped.IsZero() {
		d.State, d.Reason = Skipped, droppedKey
		return d, settle(ctx, w.Ledger, Key{d.Scope(), o.ID}, StampOf(o), attempt, Skipped, droppedKey, w.Now())
	}
	if err = w.Directory.Verify(ctx, v, account.VerifiedFor); err == nil {
		err = w.deliver(ctx, v.Account, v.Rule, o, attempt, w.live(&d, o))
	}
	if err != nil && fault.KindOf(err) == fault.Unauthorized && w.Lot != nil {
		m := d.Message
		m.Key = v.Key.ID
		err = Park(ctx, w.Lot, w.Ledger, m, o, attempt+"-parked", w.Now())
	}
	return d, err
}

// live is how an order goes to Rule that came from a till, and notes what becomes
// of it.
func (w *Worker) live(d *Worked, o sitoo.Order) Mode {
	m := Live
	m.Quiet = w.Now().Sub(o.Date) > automationsFor
	m.Received = d.Received
	m.Told = func(s State, reason string) { d.State, d.Reason = s, reason }
	m.Two = func(by string) { d.Two = by }
	return m
}

// decode reads a message and its order.
func (w *Worker) decode(body string, d *Worked) (o sitoo.Order, err error) {
	if d.Message, err = DecodeMessage(body); err != nil {
		return o, err
	}
	o, err = sitoo.DecodeOrder(d.Order)
	d.ID, d.Unread = o.ID, o.Unread
	if err != nil {
		return o, err
	}
	o.Omitted, o.Rest = d.Omitted, d.Rest
	if o.Date.IsZero() {
		o.Date, o.Undated = d.Received, true
	}
	if o.Date.IsZero() { // a message posted by hand
		o.Date, o.Undated = w.Now(), true
	}
	return o, nil
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
