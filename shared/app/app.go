package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
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
	DeadLetters worker.Sender // of the queue that the function works
	Bonus       bonus.Store
	Syncs       worker.Sender // of messages that complete Rule's copy of bonus checks
	SyncsDelay  worker.Delayer
	Imports     bonus.Imports
	ImportParts worker.Sender

	ImportPartsDelay worker.Delayer
	Sheets           spi.Sheets

	Rule   *rule.Client
	Phones customer.Phones
	Log    *slog.Logger
	Now    func() time.Time
	Budget time.Duration // see spi.Edge
}

// Function makes a function's handler of its parts.
type Function func(Parts) lambda.Handler

func (p Parts) directory() *account.Directory {
	return &account.Directory{
		Store: p.Accounts, Sealer: p.Sealer, Now: p.Now, Log: p.Log,
		Verify: func(ctx context.Context, key string) error { return p.Rule.Session(key, time.Time{}, nil).Verify(ctx) },
	}
}

// session returns a session with Rule for the account that a message names.
func (p Parts) session(ctx context.Context, d *account.Directory, id string) (*rule.Session, error) {
	a, err := d.Get(ctx, id)
	if errors.Is(err, account.ErrNotFound) {
		return nil, fault.Wrap(fault.NotFound, err, "There is no account with the message's account id.")
	}
	if err != nil {
		return nil, err
	}
	key, err := d.Key(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", id, err)
	}
	return p.Rule.Session(key, a.BlockedUntil, func(ctx context.Context, until time.Time) { d.Block(ctx, id, until) }), nil
}

func (p Parts) edge() *spi.Edge {
	return &spi.Edge{Accounts: p.directory(), Rule: p.Rule, Log: p.Log, Now: p.Now, Budget: p.Budget}
}

func (p Parts) customers() *customer.Service {
	return &customer.Service{Phones: p.Phones, Log: p.Log, Now: p.Now}
}

func (p Parts) bonus() *bonus.Service {
	return &bonus.Service{Store: p.Bonus, Syncs: p.Syncs, Log: p.Log, Now: p.Now, NewID: rand.Text}
}

// ContactFind is the function contact-find. It needs Phones and Bonus.
func ContactFind(p Parts) lambda.Handler { return p.edge().ContactFind(p.customers(), p.bonus()) }

// ContactGet is the function contact-get. It needs Bonus.
func ContactGet(p Parts) lambda.Handler { return p.edge().ContactGet(p.customers(), p.bonus()) }

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

// BonusRedeem is the function bonuscheck-redeem. It needs Bonus and Syncs.
func BonusRedeem(p Parts) lambda.Handler { return p.edge().BonusRedeem(p.bonus()) }

// BonusRestore is the function bonuscheck-restore. It needs Bonus and Syncs.
func BonusRestore(p Parts) lambda.Handler { return p.edge().BonusRestore(p.bonus()) }

// BonusSyncWorker is the function bonuscheck-sync-worker. It needs Bonus,
// SyncsDelay and DeadLetters.
func BonusSyncWorker(p Parts) lambda.Handler {
	service, directory := p.bonus(), p.directory()
	edge := &worker.Edge{Queue: p.SyncsDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now}
	return edge.Handler("bonuscheck-sync-worker", func(ctx context.Context, d *worker.Delivery) error {
		m, err := bonus.DecodeMessage(d.Body)
		d.Note("account", m.Account, "subscriber", m.Subscriber, "request", m.Request)
		if err != nil {
			return err
		}
		r, err := p.session(ctx, directory, m.Account)
		if err != nil {
			return err
		}
		err = service.Sync(ctx, r, bonus.Key{Account: m.Account, Subscriber: m.Subscriber})
		d.Note("rule_requests", r.Calls())
		return err
	})
}

func (p Parts) importer() *bonus.Importer {
	return &bonus.Importer{Imports: p.Imports, Parts: p.ImportParts, Now: p.Now, NewID: rand.Text}
}

// BonusImport is the function bonuscheck-import. It needs Imports, ImportParts,
// Phones and Sheets.
func BonusImport(p Parts) lambda.Handler {
	return p.edge().BonusImport(p.Sheets, p.Phones, p.importer())
}

// BonusImportStatus is the function bonuscheck-import-status. It needs Imports.
func BonusImportStatus(p Parts) lambda.Handler { return p.edge().BonusImportStatus(p.importer()) }

// BonusImportWorker is the function bonuscheck-import-worker. It needs Bonus,
// Imports, ImportPartsDelay and DeadLetters.
func BonusImportWorker(p Parts) lambda.Handler {
	directory := p.directory()
	w := &bonus.ImportWorker{
		Books: p.Bonus, Imports: p.Imports, Log: p.Log, Now: p.Now,
		Session: func(ctx context.Context, account string) (*rule.Session, error) {
			return p.session(ctx, directory, account)
		},
	}
	edge := &worker.Edge{
		Queue: p.ImportPartsDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error { return w.GiveUp(ctx, d.Body, cause) },
	}
	return edge.Handler("bonuscheck-import-worker", func(ctx context.Context, d *worker.Delivery) error {
		m, r, err := w.Work(ctx, d.Body, d.Attempt)
		d.Note("account", m.Account, "import", m.Import, "part", m.Part, "request", m.Request)
		if r != nil {
			u := r.Usage()
			d.Note("rule_requests", r.Calls(), "rule_used", u.Used, "rule_errors_percent", u.ErrorsShare)
		}
		return err
	})
}

// OrderWorker is the function order-worker. It needs Phones, Ledger, Bonus,
// Syncs, OrdersDelay and DeadLetters.
func OrderWorker(p Parts) lambda.Handler {
	directory := p.directory()
	w := &order.Worker{
		Deliverer: &order.Deliverer{Ledger: p.Ledger, Accounts: p.Accounts, Phones: p.Phones, Bonus: p.bonus(), Now: p.Now, Log: p.Log},
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
