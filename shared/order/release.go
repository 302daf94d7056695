package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// Refused is why an order waits whose key Rule refuses.
const Refused = "Rule refuses the shop's key"

// droppedKey is why an order is left out whose key the merchant has dropped.
const droppedKey = "its API key was dropped by the shop"

// errAccepted says that Rule accepts a key again.
var errAccepted = errors.New("order: Rule accepts the key again")

const (
	// lookSoon, lookOften and lookSeldom are how long is waited for a key that Rule
	// accepts, in the first hour, on the first day and later: another key of the shop
	// is in use, or the merchant renews it the same day, or forgets.
	lookSoon, lookOften, lookSeldom = 15 * time.Second, time.Minute, 2 * time.Minute
	// askAgain is how often Rule is asked about a refused key for whose orders
	// nobody else asks.
	askAgain = time.Hour
	// lastRelease is what is kept of a delivery's time: one order may not end
	// before it.
	lastRelease = 10 * time.Second
	// batch is how much of what is parked is read at a time.
	batch = 50
)

// Park keeps a message whose key Rule refuses, and notes in the ledger that it
// waits. attempt is unique to the try. fault.Unavailable if no more can be kept.
func Park(ctx context.Context, lot *parking.Lot, ledger Ledger, m Message, o sitoo.Order, attempt string, now time.Time) error {
	text, _, err := m.Fit()
	if err != nil {
		return err
	}
	i := parking.Item{Account: m.Account, Label: m.Label, Kind: parking.Order, Key: m.Key, Order: o.ID, Reason: Refused}
	if err := lot.Park(ctx, i, []byte(text)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := settle(ctx, ledger, Key{m.Scope(), o.ID}, StampOf(o), attempt, Waiting, Refused, now); err != nil {
		lot.Log.WarnContext(ctx, "order is parked, but the ledger does not say so yet", "account", m.Account, "order", o.ID, "error", err)
	}
	return nil
}

// settle notes a state of an order that no attempt is at work on and that is not
// final.
func settle(ctx context.Context, ledger Ledger, k Key, stamp Stamp, attempt string, s State, reason string, now time.Time) error {
	claim, err := ledger.Claim(ctx, k, stamp, attempt, now, Lease)
	if err != nil || !claim.Mine {
		return err
	}
	return ledger.Finish(ctx, k, attempt, s, reason, claim.Uncertain, now)
}

// Release works off what an account has parked, the oldest first: what a key that
// Rule has accepted since may deliver is delivered, one order after the other;
// what has waited for parking.Kept is a dead letter; what came with a key that was
// dropped is discarded. It comes again by itself until nothing is left. It may be
// repeated.
func (w *Worker) Release(ctx context.Context, watch parking.Watch, attempt string) (released int, err error) {
	id := watch.Account
	a, err := w.Directory.Get(ctx, id)
	if errors.Is(err, account.ErrNotFound) || err == nil && watch.Until != 0 && a.Parked.Watched.UnixMilli() > watch.Until {
		return 0, nil // another message looks after it by now
	}
	if err != nil {
		return 0, err
	}
	after := "" // behind the last one that cannot be worked for a defect
parked:
	for {
		list, err := w.Lot.Store.List(ctx, id, after, batch)
		if err != nil {
			return released, err
		}
		if len(list) == 0 && after != "" {
			return released, w.Lot.Again(ctx, watch, lookSeldom)
		}
		if len(list) == 0 {
			return released, nil
		}
		keys, err := w.Directory.Keys(ctx, id)
		if err != nil {
			return released, err
		}
		for _, i := range list {
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < lastRelease {
				return released, w.Lot.Again(ctx, watch, 0)
			}
			done, err := w.release(ctx, i, keys, fmt.Sprintf("%s-%d", attempt, released))
			if errors.Is(err, errAccepted) {
				continue parked
			}
			if err != nil {
				w.Log.WarnContext(ctx, "what is parked has to wait", "account", id, "order", i.Order, "error", err)
			}
			if err != nil && fault.KindOf(err) == fault.Internal {
				after = i.ID // it must not hold up the others
				continue
			}
			if err != nil || !done {
				return released, w.Lot.Again(ctx, watch, w.pause(i, err))
			}
			released++
		}
	}
}

// pause is how long what is parked waits.
func (w *Worker) pause(i parking.Item, err error) time.Duration {
	wait := lookSeldom
	switch parked := w.Now().Sub(i.Parked); {
	case parked < time.Hour:
		wait = lookSoon
	case parked < 24*time.Hour:
		wait = lookOften
	}
	if err != nil {
		wait = max(wait, min(fault.As(err).RetryAt.Sub(w.Now()), 15*time.Minute))
	}
	return wait
}

// release works off one item; done is false if it waits for a key.
func (w *Worker) release(ctx context.Context, i parking.Item, keys []account.Key, attempt string) (done bool, err error) {
	k := Key{account.Scope(i.Account, i.Label), i.Order}
	own, best := account.Key{}, account.Key{}
	for _, key := range keys {
		if key.ID == i.Key {
			own = key
		}
		if !key.Bad() && key.Accepted.After(i.Parked) && key.Accepted.After(best.Accepted) {
			best = key
		}
	}
	switch {
	case own.ID == "":
		if err := settle(ctx, w.Ledger, k, Stamp{}, attempt, Skipped, droppedKey, w.Now()); err != nil {
			return false, err
		}
		w.Log.WarnContext(ctx, "discarded, its key was dropped", "account", i.Account, "order", i.Order, "key", i.Key)
		return true, w.Lot.Remove(ctx, i)
	case w.Now().Sub(i.Parked) >= parking.Kept:
		return true, w.deadLetter(ctx, i, attempt, fault.New(fault.Unauthorized, "Rule has refused the shop's key for 14 days."))
	case best.ID == "":
		return false, w.ask(ctx, i, own)
	}
	err = w.deliverParked(ctx, i, best.ID, attempt)
	switch fault.KindOf(err) {
	case fault.Unauthorized:
		return err == nil, nil
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		return true, w.deadLetter(ctx, i, attempt, err)
	}
	if err != nil && !errors.Is(err, parking.ErrGone) {
		return false, err
	}
	return true, w.Lot.Remove(ctx, i)
}

// ask asks Rule about a key that it has refused for a while: it may accept it
// again, and where only orders come nobody else would notice.
func (w *Worker) ask(ctx context.Context, i parking.Item, own account.Key) error {
	if own.RefusedSince.IsZero() || w.Now().Sub(own.Refused) < askAgain {
		return nil
	}
	v, err := w.Directory.Open(ctx, i.Account, own.ID)
	if err != nil {
		return err
	}
	if err = w.Directory.Verify(ctx, v, account.VerifiedFor); err == nil {
		return errAccepted
	}
	if fault.KindOf(err) == fault.Unauthorized {
		return nil
	}
	return err
}

// deliverParked delivers a parked order by a key.
func (w *Worker) deliverParked(ctx context.Context, i parking.Item, key, attempt string) (err error) {
	defer func() {
		if p := recover(); p != nil { // one that makes the worker panic must not hold up the others
			err = fault.New(fault.Invalid, "The order made the worker panic.")
		}
	}()
	body, err := w.Lot.Open(ctx, i)
	if err != nil {
		return err
	}
	var d Worked
	o, err := w.decode(string(body), &d)
	if err != nil {
		return err
	}
	v, err := w.Directory.Open(ctx, d.Scope(), key)
	if err != nil {
		return err
	}
	if err := w.Directory.Verify(ctx, v, account.VerifiedFor); err != nil {
		return err
	}
	return w.deliver(ctx, v.Account, v.Rule, o, attempt, w.live(&d, o))
}

// deadLetter puts a parked order aside, with its reason.
func (w *Worker) deadLetter(ctx context.Context, i parking.Item, attempt string, cause error) error {
	body, err := w.Lot.Open(ctx, i)
	if err != nil {
		if errors.Is(err, parking.ErrGone) {
			return w.Lot.Remove(ctx, i)
		}
		return err
	}
	if err := w.GiveUp(ctx, string(body), attempt, cause); err != nil {
		return err
	}
	err = w.DeadLetters.Send(ctx, worker.Message{Body: string(body), Group: i.Account, Attributes: map[string]string{worker.Reason: reasonOf(cause)}})
	if err != nil {
		return err
	}
	w.Log.ErrorContext(ctx, "a parked order is put aside", "account", i.Account, "order", i.Order, "reason", reasonOf(cause))
	return w.Lot.Remove(ctx, i)
}
