package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/setup"
	"sitoo-rule/shared/sitoo"
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
	Parked      parking.Store
	Orders      worker.Sender
	OrdersDelay worker.Delayer
	DeadLetters worker.Sender // of the queue that the function works
	Bonus       bonus.Store
	Syncs       worker.Sender // of messages that complete in Rule what a till was told
	SyncsDelay  worker.Delayer
	Consents    customer.Answers
	Imports     Imports
	ImportParts worker.Sender

	ImportPartsDelay worker.Delayer
	Sheets           spi.Sheets

	Sitoo          *sitoo.REST
	History        History
	Steps          worker.Sender // of jobs that bring old orders over
	StepsDelay     worker.Delayer
	OldOrders      worker.Sender
	OldOrdersDelay worker.Delayer

	Rule   *rule.Client
	Phones customer.Phones
	Log    *slog.Logger
	Now    func() time.Time
	Budget time.Duration // see spi.Edge
	// Jitter spreads retries, see worker.Edge; Claims is how many orders
	// history-worker holds at once, see history.Writer; PartSize and PartsAhead are
	// Backfill's Part and Ahead. All may be left zero.
	Jitter               func(n time.Duration) time.Duration
	Claims               int
	PartSize, PartsAhead int
	// Retention is how far back a backfill may reach, see history.Backfill.
	Retention order.Retention
}

// History is where jobs are kept, and who is in Rule while they run.
type History interface {
	history.Jobs
	history.People
	worker.Begun
}

// Imports is where the progress of imports is kept.
type Imports interface {
	bonus.Imports
	worker.Begun
}

// Function makes a function's handler of its parts.
type Function func(Parts) lambda.Handler

func (p Parts) directory() *account.Directory {
	strangers, _ := p.Accounts.(account.StrangerCount)
	return &account.Directory{
		Strangers: &account.Strangers{Count: strangers, Now: p.Now, Log: p.Log},
		Store:     p.Accounts, Sealer: p.Sealer, Rule: p.Rule, Now: p.Now, Log: p.Log,
	}
}

// lot returns where orders are parked whose key Rule refuses.
func (p Parts) lot() *parking.Lot {
	return &parking.Lot{Store: p.Parked, Accounts: p.Accounts, Sealer: p.Sealer, Watchers: p.Orders, Now: p.Now, Log: p.Log, NewID: rand.Text}
}

func (p Parts) edge() *spi.Edge {
	return &spi.Edge{Accounts: p.directory(), Log: p.Log, Now: p.Now, Budget: p.Budget}
}

func (p Parts) customers() *customer.Service {
	return &customer.Service{Phones: p.Phones, Syncs: p.Syncs, Answers: p.Consents, Log: p.Log, Now: p.Now, NewID: rand.Text}
}

func (p Parts) bonus() *bonus.Service {
	return &bonus.Service{Store: p.Bonus, Syncs: p.Syncs, Log: p.Log, Now: p.Now, NewID: rand.Text}
}

// ContactFind is the function contact-find. It needs Phones and Bonus.
func ContactFind(p Parts) lambda.Handler { return p.edge().ContactFind(p.customers(), p.bonus()) }

// ContactGet is the function contact-get. It needs Bonus.
func ContactGet(p Parts) lambda.Handler { return p.edge().ContactGet(p.customers(), p.bonus()) }

// ContactAdd is the function contact-add. It needs Phones, Syncs and Consents.
func ContactAdd(p Parts) lambda.Handler { return p.edge().ContactAdd(p.customers()) }

// ContactUpdate is the function contact-update. It needs Phones, Syncs and
// Consents.
func ContactUpdate(p Parts) lambda.Handler { return p.edge().ContactUpdate(p.customers()) }

// ContactLookup is the function contact-lookup.
func ContactLookup(p Parts) lambda.Handler { return p.edge().ContactLookup() }

// ConsentList is the function consent-list.
func ConsentList(p Parts) lambda.Handler { return p.edge().ConsentList(p.customers()) }

// PurchaseList is the function purchase-list.
func PurchaseList(p Parts) lambda.Handler { return p.edge().PurchaseList() }

// OrderReceive is the function order-receive. It needs Orders, Ledger and Parked.
func OrderReceive(p Parts) lambda.Handler { return p.edge().OrderReceive(p.Orders, p.Ledger, p.lot()) }

// UnknownRoute is the function unknown-route. It needs Accounts alone, to read.
func UnknownRoute(p Parts) lambda.Handler {
	known := func(ctx context.Context, token string) bool { return account.Known(ctx, p.Accounts, token, p.Now()) }
	return spi.UnknownRoute(known, p.Log, p.Now)
}

// BonusRedeem is the function bonuscheck-redeem. It needs Bonus and Syncs.
func BonusRedeem(p Parts) lambda.Handler { return p.edge().BonusRedeem(p.bonus()) }

// BonusRestore is the function bonuscheck-restore. It needs Bonus and Syncs.
func BonusRestore(p Parts) lambda.Handler { return p.edge().BonusRestore(p.bonus()) }

// BonusSyncWorker is the function bonuscheck-sync-worker. It needs Bonus, Syncs,
// SyncsDelay and DeadLetters.
func BonusSyncWorker(p Parts) lambda.Handler {
	service, customers, orders, directory := p.bonus(), p.customers(), p.deliverer(), p.directory()
	edge := &worker.Edge{Queue: p.SyncsDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now, Jitter: p.Jitter}
	return edge.Handler("bonuscheck-sync-worker", func(ctx context.Context, d *worker.Delivery) error {
		if m, ok, err := customer.DecodeMessage(d.Body); ok {
			d.Note("account", m.Account, "request", m.Request, "about", "marketing")
			if err != nil {
				return err
			}
			v, err := directory.OpenVerified(ctx, m.Account)
			if err != nil {
				return err
			}
			err = customers.Complete(ctx, v.Rule, m)
			d.Note("rule_requests", v.Rule.Calls())
			return err
		}
		if m, ok, err := order.DecodeAgain(d.Body); ok {
			d.Note("account", m.Account, "subscriber", m.Subscriber, "order", m.Order, "about", "latest order")
			if err != nil {
				return err
			}
			return orders.WriteAgain(ctx, m, func(ctx context.Context) (*rule.Session, error) {
				v, err := directory.OpenVerified(ctx, m.Account)
				if err != nil {
					return nil, err
				}
				return v.Rule, nil
			})
		}
		m, err := bonus.DecodeMessage(d.Body)
		d.Note("account", m.Account, "subscriber", m.Subscriber, "request", m.Request)
		if err != nil {
			return err
		}
		v, err := directory.OpenVerified(ctx, m.Account)
		if err != nil {
			return err
		}
		r := v.Rule
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
			v, err := directory.OpenVerified(ctx, account)
			if err != nil {
				return nil, err
			}
			return v.Rule, nil
		},
	}
	edge := &worker.Edge{
		Queue: p.ImportPartsDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now, MaxWait: maxWait, Jitter: p.Jitter, Begun: p.Imports,
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

// CredentialsPut is the function credentials-put. It needs Sitoo.
func CredentialsPut(p Parts) lambda.Handler { return p.edge().CredentialsPut(p.Sitoo) }

// CredentialsGet is the function credentials-get.
func CredentialsGet(p Parts) lambda.Handler { return p.edge().CredentialsGet() }

// CredentialsDelete is the function credentials-delete.
func CredentialsDelete(p Parts) lambda.Handler { return p.edge().CredentialsDelete() }

// KeyList is the function key-list. It needs Parked.
func KeyList(p Parts) lambda.Handler { return p.edge().KeyList(p.Parked) }

// KeyDrop is the function key-drop.
func KeyDrop(p Parts) lambda.Handler { return p.edge().KeyDrop() }

func (p Parts) desk() *history.Desk {
	return &history.Desk{Jobs: p.History, Steps: p.Steps, Now: p.Now, NewID: rand.Text}
}

// BackfillList is the function backfill-list. It needs History.
func BackfillList(p Parts) lambda.Handler { return p.edge().BackfillList(p.desk()) }

// BackfillControl is the function backfill-control. It needs History and Steps.
func BackfillControl(p Parts) lambda.Handler { return p.edge().BackfillControl(p.desk()) }

// scoped is what a log line says of an account and a label.
func scoped(scope string) []any {
	id, label := account.SplitScope(scope)
	if label == "" {
		return []any{"account", id}
	}
	return []any{"account", id, "label", label}
}

// maxWait is how long a part of an import or of a job may wait for its turn: a
// bit less than the queues keep it.
const maxWait = 12 * 24 * time.Hour

// people is who a job acts for: see history.Directory.
type people struct {
	Parts
	directory *account.Directory
}

func (d people) Session(ctx context.Context, scope string) (account.Account, *rule.Session, error) {
	v, err := d.directory.OpenVerified(ctx, scope)
	if err != nil {
		return account.Account{}, nil, err
	}
	return v.Account, v.Rule, nil
}

func (d people) Shop(ctx context.Context, a account.Account) (*sitoo.Shop, error) {
	id, password, err := d.directory.Access(ctx, a)
	if err != nil {
		return nil, err
	}
	return d.Sitoo.Shop(sitoo.Credentials{
		BaseURL: a.Sitoo.BaseURL, AccountID: a.Sitoo.AccountID, Site: a.Sitoo.Site, APIID: id, Password: password,
	}), nil
}

func (d people) Begin(ctx context.Context, a account.Account) error {
	return d.directory.BeginBackfill(ctx, a)
}

func (d people) Claims(ctx context.Context, sitooAccount string) ([]account.Claim, error) {
	return d.directory.Claims(ctx, sitooAccount)
}

// SetupCheck is the function setup-check. It needs Sitoo and Consents.
func SetupCheck(p Parts) lambda.Handler {
	newID := func() string { return strings.ToLower(rand.Text()) }
	return p.edge().SetupCheck(&setup.Check{Now: p.Now, NewID: newID}, p.Consents, people{p, p.directory()}.Shop)
}

// BackfillWorker is the function backfill-worker. It needs Ledger, Sitoo, History,
// Phones, Steps, StepsDelay, OldOrders and DeadLetters.
func BackfillWorker(p Parts) lambda.Handler {
	b := &history.Backfill{
		Jobs: p.History, People: p.History, Directory: people{p, p.directory()}, Steps: p.Steps, Parts: p.OldOrders, Ledger: p.Ledger,
		Phones: p.Phones, Log: p.Log, Now: p.Now, NewID: rand.Text, Part: p.PartSize, Ahead: p.PartsAhead, Retention: p.Retention,
	}
	edge := &worker.Edge{
		Queue: p.StepsDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now, MaxWait: maxWait, Jitter: p.Jitter, Begun: p.History,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error { return b.GiveUp(ctx, d.Body, cause) },
	}
	return edge.Handler("backfill-worker", func(ctx context.Context, d *worker.Delivery) error {
		s, err := b.Work(ctx, d.Body, d.Attempt)
		d.Note(append(scoped(s.Account), "job", s.Job, "run", s.Run, "step", s.Step)...)
		return err
	})
}

// HistoryWorker is the function history-worker. It needs History, Ledger,
// Phones, Bonus, Syncs, Steps, OldOrdersDelay and DeadLetters.
func HistoryWorker(p Parts) lambda.Handler {
	w := &history.Writer{
		Jobs: p.History, People: p.History, Ledger: p.Ledger, Directory: people{p, p.directory()}, Phones: p.Phones, Log: p.Log, Now: p.Now,
		Deliverer: p.deliverer(), AtOnce: p.Claims, Steps: p.Steps, NewID: rand.Text,
	}
	edge := &worker.Edge{
		Queue: p.OldOrdersDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now, MaxWait: maxWait, Jitter: p.Jitter, Begun: p.History,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error { return w.GiveUp(ctx, d.Body, cause) },
	}
	return edge.Handler("history-worker", func(ctx context.Context, d *worker.Delivery) error {
		m, r, err := w.Work(ctx, d.Body, d.Attempt)
		d.Note(append(scoped(m.Account), "job", m.Job, "run", m.Run, "part", m.Part, "request", m.Request)...)
		if r != nil {
			u := r.Usage()
			d.Note("rule_requests", r.Calls(), "rule_used", u.Used, "rule_errors_percent", u.ErrorsShare)
		}
		return err
	})
}

func (p Parts) deliverer() *order.Deliverer {
	return &order.Deliverer{Customers: p.customers(), Ledger: p.Ledger, Accounts: p.Accounts, Phones: p.Phones, Bonus: p.bonus(), Syncs: p.Syncs, Now: p.Now, Log: p.Log}
}

// OrderWorker is the function order-worker. It needs Phones, Ledger, Bonus,
// Syncs, Orders, OrdersDelay, Parked and DeadLetters.
func OrderWorker(p Parts) lambda.Handler {
	w := &order.Worker{Deliverer: p.deliverer(), Directory: p.directory(), Lot: p.lot(), DeadLetters: p.DeadLetters}
	edge := &worker.Edge{
		Queue: p.OrdersDelay, DeadLetters: p.DeadLetters, Log: p.Log, Now: p.Now, Jitter: p.Jitter,
		Weigh: order.Weight, AtOnce: order.AtOnce,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error {
			return w.GiveUp(ctx, d.Body, d.Attempt, cause)
		},
	}
	return edge.Handler("order-worker", func(ctx context.Context, d *worker.Delivery) error {
		if watch, ok := parking.DecodeWatch(d.Body); ok {
			n, err := w.Release(ctx, watch, d.Attempt)
			d.Note("account", watch.Account, "released", n)
			return err
		}
		done, err := w.Work(ctx, d.Body, d.Attempt)
		d.Note(append(scoped(done.Scope()), "order", done.ID, "request", done.Request)...)
		if done.State != "" {
			d.Note("state", done.State, "reason", done.Reason)
		}
		if done.Two != "" {
			d.Note("another_customer_by", done.Two)
		}
		if len(done.Unread) > 0 {
			d.Note("unread", done.Unread)
		}
		if done.Omitted > 0 {
			d.Note("omitted", done.Omitted)
		}
		if !done.Received.IsZero() { // one posted by hand may not say
			d.Note("waited_ms", p.Now().Sub(done.Received).Milliseconds())
		}
		if r := done.Session; r != nil {
			u := r.Usage()
			d.Note("rule_requests", r.Calls(), "rule_used", u.Used, "rule_errors_percent", u.ErrorsShare)
		}
		return err
	})
}
