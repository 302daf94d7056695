package stack

import (
	"cmp"
	"context"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/local/deployment"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/sheet"
)

// What the stack makes at an AWS endpoint is called by these, so that it is told
// apart there and found again.
const (
	Prefix = "sitoo-rule-local-"
	Alias  = "alias/sitoo-rule-local-secrets"
)

// inCloud gives functions the parts that they have in Lambda, against
// Options.Cloud.
func (s *Stack) inCloud(ctx context.Context, o Options) (func(id, attr string) (string, error), func(template.Function, func(string) string) (app.Parts, error), error) {
	d, err := deployment.Make(ctx, *o.Cloud, o.Template, cmp.Or(o.Name, Prefix), Alias)
	if err != nil {
		return nil, nil, err
	}
	parts := func(f template.Function, env func(string) string) (app.Parts, error) {
		c, err := app.FromEnv(env)
		if err != nil {
			return app.Parts{}, err
		}
		var p app.Parts
		for _, x := range []struct {
			has bool
			add app.Part
		}{
			{c.AccountsTable != "" && c.SecretsKey != "", app.WithAccounts},
			{c.AccountsTable != "" && c.SecretsKey == "", app.WithKnownKeys},
			{f.Name == "history-worker", app.WithPatience},
			{c.LedgerTable != "", app.WithLedger},
			{c.ParkedTable != "", app.WithParked},
			{c.OrdersQueue != "", app.WithOrders},
			{c.OrdersDeadLetters != "", app.WithDeadLetters},
			{c.BonusTable != "", app.WithBonus},
			{c.BonusQueue != "", app.WithBonusQueue},
			{c.ConsentsTable != "", app.WithConsents},
			{c.BonusDeadLetters != "", app.WithBonusDeadLetters},
			{c.ImportsTable != "", app.WithImports},
			{c.ImportsQueue != "", app.WithImportsQueue},
			{c.ImportDeadLetters != "", app.WithImportsDeadLetters},
			{c.HistoryTable != "", app.WithHistory},
			{c.BackfillQueue != "", app.WithBackfillQueue},
			{c.BackfillDeadLetters != "", app.WithBackfillDeadLetters},
			{c.HistoryQueue != "", app.WithHistoryQueue},
			{c.HistoryDeadLetters != "", app.WithHistoryDeadLetters},
			{true, app.WithSitoo},
			{true, app.WithPhones(phone.Parser)},
			{true, app.WithSheets(sheet.Lines)},
		} {
			if x.has {
				if err := x.add(c, *o.Cloud, &p); err != nil {
					return app.Parts{}, err
				}
			}
		}
		return p, nil
	}
	pollers, err := d.Pollers(sqs.NewFromConfig(*o.Cloud), 2, o.Log, func(f template.Function) lambda.Handler { return worker{s, f.Name} })
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pollers {
		s.workers = append(s.workers, p.Run)
	}
	return d.Resolve, parts, nil
}

// worker is a function by name, which may not be made yet.
type worker struct {
	s    *Stack
	name string
}

var _ lambda.Handler = worker{}

// Invoke runs the function.
func (w worker) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return w.s.Invoke(ctx, w.name, payload)
}
