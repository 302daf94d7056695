package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/spi"
	"sitoo-rule/shared/worker"
)

// Parts is what functions are made of. Functions in Lambda get parts that speak
// to AWS, the local stack ones that do not; a function leaves those it does not
// need nil.
type Parts struct {
	Accounts    account.Store
	Sealer      account.Sealer
	Ledger      order.Ledger
	Orders      worker.Sender
	OrdersDelay worker.Delayer
	DeadLetters worker.Sender
	Rule        *rule.Client
	Phones      customer.Phones
	Log         *slog.Logger
	Now         func() time.Time
	Budget      time.Duration // see spi.Edge
}

// Function makes a function's handler of its parts.
type Function func(Parts) lambda.Handler

func (p Parts) directory() *account.Directory {
	return &account.Directory{
		Store: p.Accounts, Sealer: p.Sealer, Now: p.Now, Log: p.Log,
		Verify: func(ctx context.Context, key string) error { return p.Rule.Session(key, time.Time{}, nil).Verify(ctx) },
	}
}

func (p Parts) edge() *spi.Edge {
	return &spi.Edge{Accounts: p.directory(), Rule: p.Rule, Log: p.Log, Now: p.Now, Budget: p.Budget}
}

func (p Parts) customers() *customer.Service {
	return &customer.Service{Phones: p.Phones, Log: p.Log, Now: p.Now}
}

// ContactFind is the function contact-find. It needs Phones.
func ContactFind(p Parts) lambda.Handler { return p.edge().ContactFind(p.customers()) }

// ContactGet is the function contact-get.
func ContactGet(p Parts) lambda.Handler { return p.edge().ContactGet(p.customers()) }

// ContactAdd is the function contact-add. It needs Phones.
func ContactAdd(p Parts) lambda.Handler { return p.edge().ContactAdd(p.customers()) }

// ContactUpdate is the function contact-update. It needs Phones.
func ContactUpdate(p Parts) lambda.Handler { return p.edge().ContactUpdate(p.customers()) }

// ContactLookup is the function contact-lookup.
func ContactLookup(p Parts) lambda.Handler { return p.edge().ContactLookup() }

// ConsentList is the function consent-list.
func ConsentList(p Parts) lambda.Handler { return p.edge().ConsentList(p.customers()) }

// PurchaseList is the function purchase-list.
func PurchaseList(p Parts) lambda.Handler { return p.edge().PurchaseList() }

// OrderReceive is the function order-receive. It needs Orders and Ledger.
func OrderReceive(p Parts) lambda.Handler { return p.edge().OrderReceive(p.Orders, p.Ledger) }

// UnknownRoute is the function unknown-route. It needs nothing but Log and Now.
func UnknownRoute(p Parts) lambda.Handler { return spi.UnknownRoute(p.Log, p.Now) }

// OrderWorker is the function order-worker. It needs Phones, Ledger,
// OrdersDelay and DeadLetters.
func OrderWorker(p Parts) lambda.Handler {
	directory := p.directory()
	w := &order.Worker{
		Deliverer: &order.Deliverer{Ledger: p.Ledger, Accounts: p.Accounts, Phones: p.Phones, Now: p.Now, Log: p.Log},
		Directory: directory, Rule: p.Rule,
	}
	edge := &worker.Edge{
		Queue: p.OrdersDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error {
			return w.GiveUp(ctx, d.Body, d.Attempt, cause)
		},
	}
	return edge.Handler("order-worker", func(ctx context.Context, d *worker.Delivery) error {
		m, id, r, err := w.Work(ctx, d.Body, d.Attempt)
		d.Note("account", m.Account, "order", id, "request", m.Request)
		if !m.Received.IsZero() { // one posted by hand may not say
			d.Note("waited_ms", p.Now().Sub(m.Received).Milliseconds())
		}
		if r != nil {
			u := r.Usage()
			d.Note("rule_requests", r.Calls(), "rule_used", u.Used, "rule_errors_percent", u.ErrorsShare)
		}
		return err
	})
}
