// Package stack is the whole product on one machine: it serves the routes and
// works the queues that template.yaml declares, with the handlers that the
// functions start. Its stores are in memory, or the real adapters against an AWS
// endpoint.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"

	"sitoo-rule/local/gateway"
	"sitoo-rule/local/memory"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/sheet"
	"sitoo-rule/shared/sitoo"
)

// functions are the handlers by function name: what each functions/*/main.go
// starts. New fails when this list and the template disagree.
var functions = map[string]app.Function{
	"contact-find": app.ContactFind, "contact-get": app.ContactGet, "contact-add": app.ContactAdd,
	"contact-update": app.ContactUpdate, "contact-lookup": app.ContactLookup, "consent-list": app.ConsentList,
	"purchase-list": app.PurchaseList, "order-receive": app.OrderReceive, "order-worker": app.OrderWorker,
	"bonuscheck-redeem": app.BonusRedeem, "bonuscheck-restore": app.BonusRestore, "bonuscheck-sync-worker": app.BonusSyncWorker,
	"bonuscheck-import": app.BonusImport, "bonuscheck-import-status": app.BonusImportStatus,
	"bonuscheck-import-worker": app.BonusImportWorker, "unknown-route": app.UnknownRoute,
	"credentials-put": app.CredentialsPut, "credentials-get": app.CredentialsGet, "credentials-delete": app.CredentialsDelete,
	"key-list": app.KeyList, "key-drop": app.KeyDrop, "setup-check": app.SetupCheck, "backfill-list": app.BackfillList, "backfill-control": app.BackfillControl,
	"backfill-worker": app.BackfillWorker, "history-worker": app.HistoryWorker,
}

// Options say what a stack is made of. Template is required.
type Options struct {
	Template *template.Template
	RuleURL  string // where Rule is, instead of the template's RULE_URL
	Log      *slog.Logger
	Now      func() time.Time // the handlers' clock, time.Now if nil
	Pause    time.Duration    // see rule.Config
	Patience time.Duration    // see rule.Config
	HTTP     *http.Client     // for calls to Rule, nil for the functions' own
	// SitooHTTP is for calls to Sitoo, nil for the functions' own.
	SitooHTTP *http.Client
	// SitooAnyHost lets credentials name a stand-in for Sitoo.
	SitooAnyHost bool
	// Workers is how many batches of a queue in memory are worked on at once, 0
	// for what the template says.
	Workers int
	// Cloud makes the stack use the real adapters there; nil keeps everything
	// in memory. What the template declares is created if it is missing.
	Cloud *aws.Config
	// Name goes before the names of what is made there, Prefix if empty.
	Name string
	// Throttle is the clock of the template's limits on requests; nil for none.
	Throttle func() time.Time
	// GatewayWait is the gateway's Wait.
	GatewayWait time.Duration
	// Change lets a test replace a function's parts before it is made.
	Change func(function string, p *app.Parts)
	// Wrap lets a test come between Lambda and a function.
	Wrap func(function string, h lambda.Handler) lambda.Handler
}

// Stack is a running product. The fields for memory are nil with Options.Cloud.
type Stack struct {
	Gateway  http.Handler // what Sitoo calls
	Broker   *queue.Broker
	Accounts *memory.Accounts
	Ledger   *memory.Ledger
	Bonus    *memory.Bonus
	Consents *memory.Consents
	Imports  *memory.Imports
	Parked   *memory.Parked
	History  *memory.History

	handlers map[string]lambda.Handler
	workers  []func(ctx context.Context)
}

// New builds a stack; Run works its queues.
func New(ctx context.Context, o Options) (*Stack, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Stack{handlers: map[string]lambda.Handler{}}
	var parts func(f template.Function, env func(string) string) (app.Parts, error)
	var resolve func(id, attr string) (string, error)
	var err error
	if o.Cloud == nil {
		resolve, parts, err = s.inMemory(o)
	} else {
		resolve, parts, err = s.inCloud(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	var errs []error
	seen := map[string]bool{}
	for _, f := range o.Template.Functions {
		seen[f.Name] = true
		make, ok := functions[f.Name]
		if !ok {
			errs = append(errs, fmt.Errorf("template.yaml declares the function %s, which has no handler here", f.ID))
			continue
		}
		env, err := environment(f, o, resolve)
		if err != nil {
			errs = append(errs, fmt.Errorf("environment of %s: %w", f.ID, err))
			continue
		}
		p, err := parts(f, env)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.ID, err))
			continue
		}
		p.Log, p.Now = o.Log, o.Now
		if o.Change != nil {
			o.Change(f.Name, &p)
		}
		s.handlers[f.Name] = make(p)
		if o.Wrap != nil {
			s.handlers[f.Name] = o.Wrap(f.Name, s.handlers[f.Name])
		}
	}
	for name := range functions {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("template.yaml does not declare the function %s", name))
		}
	}
	s.Gateway = gateway.New(gateway.Config{Template: o.Template, Invoke: s.Invoke, Log: o.Log, Throttle: o.Throttle, Wait: o.GatewayWait})
	return s, errors.Join(errs...)
}

// environment returns a function's environment as the template declares it.
func environment(f template.Function, o Options, resolve func(id, attr string) (string, error)) (func(string) string, error) {
	env := map[string]string{}
	for name, v := range f.Environment {
		text, err := v.Resolve(resolve)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		env[name] = text
	}
	if _, has := env["RULE_URL"]; has && o.RuleURL != "" {
		env["RULE_URL"] = o.RuleURL
	}
	if _, has := env["SITOO_ANY_HOST"]; has && o.SitooAnyHost {
		env["SITOO_ANY_HOST"] = "true"
	}
	return func(name string) string { return env[name] }, nil
}

// inMemory gives functions parts that live in this process. A function gets
// only what its environment names, as in AWS it could reach nothing else.
func (s *Stack) inMemory(o Options) (func(id, attr string) (string, error), func(template.Function, func(string) string) (app.Parts, error), error) {
	broker, err := queue.NewBroker(o.Template.Queues)
	if err != nil {
		return nil, nil, fmt.Errorf("queues: %w", err)
	}
	sealer, err := seal.NewLocal(nil)
	if err != nil {
		return nil, nil, err
	}
	s.Broker, s.Accounts, s.Ledger = broker, &memory.Accounts{}, &memory.Ledger{}
	s.Parked = &memory.Parked{}
	s.Bonus, s.Consents, s.Imports, s.History = &memory.Bonus{}, &memory.Consents{}, &memory.Imports{}, &memory.History{}
	urls := map[string]*queue.Queue{}
	for _, q := range o.Template.Queues {
		if b, ok := broker.Queue(q.ID); ok {
			urls[b.URL()] = b
		}
	}
	resolve := func(id, attr string) (string, error) {
		if q, ok := broker.Queue(id); ok && attr == "" {
			return q.URL(), nil
		}
		return id, nil
	}
	web := o.HTTP
	if web == nil {
		web = rule.NewHTTPClient()
	}
	shops := o.SitooHTTP
	if shops == nil {
		shops = sitoo.NewRESTHTTPClient()
	}
	parts := func(_ template.Function, env func(string) string) (app.Parts, error) {
		c, err := app.FromEnv(env)
		if err != nil {
			return app.Parts{}, err
		}
		p := app.Parts{Phones: customer.Phones(phone.Parser(c.Country)), Sheets: sheet.Lines}
		if c.AccountsTable != "" {
			p.Accounts, p.Sealer = account.Store(s.Accounts), sealer
			p.Rule = rule.New(rule.Config{URL: c.RuleURL, HTTP: web, Now: o.Now, Pause: o.Pause, Patience: o.Patience})
		}
		if c.LedgerTable != "" {
			p.Ledger = s.Ledger
		}
		if c.ParkedTable != "" {
			p.Parked = s.Parked
		}
		if q, ok := urls[c.OrdersQueue]; ok {
			p.Orders, p.OrdersDelay = q, q
		}
		if c.BonusTable != "" {
			p.Bonus = s.Bonus
		}
		if c.ConsentsTable != "" {
			p.Consents = s.Consents
		}
		if c.ImportsTable != "" {
			p.Imports = s.Imports
		}
		if c.HistoryTable != "" {
			p.History = s.History
		}
		p.Sitoo = sitoo.NewREST(sitoo.RESTConfig{HTTP: shops, Now: o.Now, Pause: o.Pause, Patience: o.Patience, AllowAnyHost: c.SitooAnyHost, Hosts: c.Hosts()})
		if q, ok := urls[c.BackfillQueue]; ok {
			p.Steps, p.StepsDelay = q, q
		}
		if q, ok := urls[c.HistoryQueue]; ok {
			p.OldOrders, p.OldOrdersDelay = q, q
		}
		if q, ok := urls[c.BonusQueue]; ok {
			p.Syncs, p.SyncsDelay = q, q
		}
		if q, ok := urls[c.ImportsQueue]; ok {
			p.ImportParts, p.ImportPartsDelay = q, q
		}
		for _, url := range []string{c.OrdersDeadLetters, c.BonusDeadLetters, c.ImportDeadLetters, c.BackfillDeadLetters, c.HistoryDeadLetters} {
			if q, ok := urls[url]; ok {
				p.DeadLetters = q
			}
		}
		return p, nil
	}
	for _, source := range o.Template.EventSources {
		f, _ := o.Template.Function(source.Function)
		pump, err := queue.NewPump(broker, queue.PumpConfig{Source: source, Function: f, Invoke: s.Invoke, Concurrency: o.Workers, Log: o.Log})
		if err != nil {
			return nil, nil, fmt.Errorf("event source %s: %w", source.ID, err)
		}
		s.workers = append(s.workers, pump.Run)
	}
	return resolve, parts, nil
}

// Invoke runs a function, by its folder's name, with a Lambda event.
func (s *Stack) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	h, ok := s.handlers[function]
	if !ok {
		return nil, fmt.Errorf("there is no function %q", function)
	}
	if _, ok := lambdacontext.FromContext(ctx); !ok {
		ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: "local"})
	}
	return h.Invoke(ctx, payload)
}

// Run works the queues until ctx ends, and returns when every worker has.
func (s *Stack) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, run := range s.workers {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
}
