package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitoo-rule/shared/order"
)

// Ledger is an order.Ledger. The zero value is empty and ready; it must not be
// copied.
type Ledger struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the ledger is used.
	Fail func(op string) error

	core
	records map[order.Key]order.Record
}

var _ order.Ledger = (*Ledger)(nil)

// Queue notes an order accepted at now. An order the ledger knows is left as it
// is, except that one which failed before now becomes Queued again, unless its
// stamp conflicts; it keeps its history.
func (l *Ledger) Queue(ctx context.Context, k order.Key, s order.Stamp, now time.Time) error {
	return l.run(ctx, "Queue", k, func(r *order.Record, known bool) error {
		if known && (r.State != order.Failed || !r.Updated.Before(milli(now)) || r.Stamp.Conflicts(s)) {
			return nil
		}
		if !known {
			r.Queued = milli(now)
		}
		r.Stamp = r.Stamp.With(s)
		r.State, r.Updated, r.Reason = order.Queued, milli(now), ""
		return nil
	})
}

// Claim gives the order to an attempt as order.Ledger says. An attempt that
// asks again while its lease is running gets the claim it has; asking again
// does not lengthen the lease. After the lease has run out it is treated like
// any other attempt, so an attempt id belongs to one delivery of one message.
func (l *Ledger) Claim(ctx context.Context, k order.Key, s order.Stamp, attempt string, now time.Time, lease time.Duration) (order.Claim, error) {
	var c order.Claim
	err := l.run(ctx, "Claim", k, func(r *order.Record, known bool) error {
		if attempt == "" || lease <= 0 {
			return errors.New("a claim needs an attempt id and a lease")
		}
		if r.Stamp.Conflicts(s) {
			c = order.Claim{Record: *r}
			return nil
		}
		// Not of an order that another attempt holds: it has said what it is.
		if r.State != order.Working || !r.Lease.After(milli(now)) {
			r.Stamp = r.Stamp.With(s)
		}
		switch {
		case r.State == order.Sent, r.State == order.Skipped:
			c = order.Claim{Record: *r}
			return nil
		case r.State == order.Working && r.Lease.After(milli(now)):
			c = order.Claim{Record: *r, Mine: r.Attempt == attempt}
			return nil
		case r.State == order.Working:
			r.Uncertain = true
		case !known:
			r.Queued = milli(now)
		}
		r.State, r.Reason, r.Updated = order.Working, "", milli(now)
		r.Attempt, r.Lease = attempt, milli(now.Add(lease))
		r.Attempts++
		c = order.Claim{Record: *r, Mine: true}
		return nil
	})
	if err != nil {
		return order.Claim{}, err
	}
	return c, nil
}

// Note records whose entry the attempt is about to write. order.ErrLost if
// the attempt does not hold the order.
func (l *Ledger) Note(ctx context.Context, k order.Key, attempt string, subscriber int64, now time.Time) error {
	return l.run(ctx, "Note", k, func(r *order.Record, _ bool) error {
		if r.State != order.Working || r.Attempt != attempt {
			return order.ErrLost
		}
		r.Subscriber, r.Updated = subscriber, milli(now)
		return nil
	})
}

// Finish ends the attempt and frees the lease. The same Finish again is fine
// until another attempt has claimed the order; from then on it is
// order.ErrLost.
func (l *Ledger) Finish(ctx context.Context, k order.Key, attempt string, s order.State, reason string, uncertain bool, now time.Time) error {
	return l.run(ctx, "Finish", k, func(r *order.Record, _ bool) error {
		switch s {
		case order.Waiting, order.Sent, order.Skipped, order.Failed:
		default:
			return fmt.Errorf("an attempt cannot end as %q", s)
		}
		if r.Attempt != attempt {
			return order.ErrLost
		}
		if r.State != order.Working {
			if r.State == s && r.Reason == reason && r.Uncertain == uncertain {
				return nil
			}
			return order.ErrLost
		}
		r.State, r.Reason, r.Uncertain, r.Updated, r.Lease = s, reason, uncertain, milli(now), time.Time{}
		return nil
	})
}

// Reopen makes an order that was Sent, Skipped or Failed before now Queued again;
// it keeps its subscriber and its history, and is Uncertain if written. Any other
// order is left as it is.
func (l *Ledger) Reopen(ctx context.Context, k order.Key, now time.Time, written bool) error {
	err := l.do(ctx, l.Fail, "Reopen", func() error {
		r, ok := l.records[k]
		if !ok || !r.Updated.Before(milli(now)) {
			return nil
		}
		switch r.State {
		case order.Sent, order.Skipped, order.Failed:
			r.State, r.Updated, r.Reason = order.Queued, milli(now), ""
			r.Uncertain = r.Uncertain || written
			l.records[k] = r
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("Reopen order %d of account %s: %w", k.Order, k.Account, err)
	}
	return nil
}

// Get returns the record, ok false if the ledger has none.
func (l *Ledger) Get(ctx context.Context, k order.Key) (r order.Record, ok bool, err error) {
	err = l.do(ctx, l.Fail, "Get", func() error {
		r, ok = l.records[k]
		return nil
	})
	if err != nil {
		return order.Record{}, false, fmt.Errorf("get order %d of account %s: %w", k.Order, k.Account, err)
	}
	return r, ok, nil
}

// run gives change the order's record, one that holds only its key if the
// ledger has none, and keeps what change leaves behind unless it fails.
func (l *Ledger) run(ctx context.Context, op string, k order.Key, change func(r *order.Record, known bool) error) error {
	err := l.do(ctx, l.Fail, op, func() error {
		r, known := l.records[k]
		r.Key = k
		if err := change(&r, known); err != nil {
			return err
		}
		if l.records == nil {
			l.records = make(map[order.Key]order.Record)
		}
		l.records[k] = r
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s order %d of account %s: %w", op, k.Order, k.Account, err)
	}
	return nil
}
