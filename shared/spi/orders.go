package spi

import (
	"context"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// Received is the answer to the copy of an order.
type Received struct {
	OrderID int64  `json:"orderid"`
	Status  string `json:"status"` // "queued" or "ignored"
	Reason  string `json:"reason,omitempty"`
}

// ledgerPatience is how long the answer to a till may wait for the note in the
// ledger, which is for support only: the queue has the order by then.
const ledgerPatience = time.Second

// AnonymousOrders is the metric that counts orders which name no customer.
const AnonymousOrders = "AnonymousOrders"

// unchecked lets an order pass whatever else it holds: order-receive's own
// decoder takes every object with an order's number.
func unchecked([]byte) error { return nil }

// OrderReceive answers POST /transactions. It answers 200 only when the queue
// has the whole order, so that an order is never lost, and 400 only to what is no
// object or has no order's number: Sitoo drops for good what is refused. What is
// wrong with an order else, the worker says. One that has no customer, or was not
// completed, is answered 200 and not queued.
//
// Where Rule refuses the key, and has accepted it not long ago, the order is parked.
func (e *Edge) OrderReceive(queue worker.Sender, ledger order.Ledger, lot *parking.Lot) lambda.Handler {
	return e.handler("order-receive", option{body: maxOrder, check: unchecked, durable: true}, func(ctx context.Context, r *Request) (any, error) {
		o, broken := sitoo.DecodeOrder(r.Body)
		if broken != nil && o.ID == 0 {
			return nil, broken
		}
		r.Note("order", o.ID)
		if broken != nil {
			r.Note("broken", causes(broken))
		} else if reason := ignored(r, o); reason != "" {
			return Received{o.ID, "ignored", reason}, nil
		}
		raw, err := sitoo.WithoutPersonalID(r.Body)
		if err != nil {
			return nil, err
		}
		m := order.Message{Account: r.Account.ID, Label: r.Account.Label, Key: r.visit.Key.ID, Request: r.ID, Received: e.Now().UTC(), Order: raw}
		if r.visit.Key.Bad() {
			return e.park(ctx, r, m, o, ledger, lot)
		}
		text, omitted, err := m.Fit()
		if err != nil {
			return nil, err
		}
		if omitted > 0 {
			r.Note("omitted", omitted)
		}
		before := e.Now() // a failure that the worker notes after this is not undone below
		if err := queue.Send(ctx, worker.Message{Body: text, Group: r.Account.ID}); err != nil {
			if fault.KindOf(err) == fault.TooLarge {
				return nil, err
			}
			return nil, fault.Say(fault.Unavailable, "order_not_queued").With(err)
		}
		note, cancel := context.WithTimeout(ctx, ledgerPatience)
		defer cancel()
		if err := ledger.Queue(note, order.Key{Account: r.Account.Scope(), Order: o.ID}, order.StampOf(o), before); err != nil {
			r.Log.WarnContext(ctx, "order is queued, but the ledger does not say so yet", "order", o.ID, "error", err)
		}
		e.Accounts.Delivered(ctx, r.visit)
		return Received{OrderID: o.ID, Status: "queued"}, nil
	})
}

// park keeps an order whose key Rule refuses, while that is in its grace.
func (e *Edge) park(ctx context.Context, r *Request, m order.Message, o sitoo.Order, ledger order.Ledger, lot *parking.Lot) (any, error) {
	switch ok, err := e.Accounts.InGrace(ctx, r.visit.Key); {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fault.New(fault.Unauthorized, "")
	}
	if err := order.Park(ctx, lot, ledger, m, o, r.ID, e.Now()); err != nil {
		return nil, err
	}
	r.Note("parked", true)
	e.Accounts.Delivered(ctx, r.visit)
	return Received{OrderID: o.ID, Status: "queued"}, nil
}

// ignored says why an order has nothing to do in Rule, "" if it has.
func ignored(r *Request, o sitoo.Order) string {
	if len(o.Unread) > 0 {
		r.Note("unread", o.Unread)
	}
	if reason, ok := order.Completed(o); !ok {
		r.Note("ignored", reason)
		return "The order is not completed: " + reason + "."
	}
	// A return without its customer may still give a bonus check back: the ledger
	// knows whose the original order was. One that names a customer in a way that
	// cannot be read gets its line in the ledger, which says so.
	if _, ok := order.PersonOf(o); !ok && order.Original(o) == 0 && order.Unnamed(o) == "" {
		r.Note("ignored", "anonymous")
		r.Count(AnonymousOrders)
		return "The order has no customer: no contact id, email address or phone number."
	}
	return ""
}
