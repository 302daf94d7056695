package spi

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/setup"
	"sitoo-rule/shared/sitoo"
)

// setupBudget is what a set-up check may take: API Gateway waits for 29 s.
const setupBudget = 25 * time.Second

// SetupCheck answers GET /setup with a setup.Report: it tries everything with
// Rule and, if there are credentials, with Sitoo. What does not work is a line
// of a 200; a key that Rule refuses is 401 as everywhere. shop returns how the
// account's orders are read; it is asked only if the merchant has entered
// credentials.
func (e *Edge) SetupCheck(c *setup.Check, answers customer.Answers, shop func(ctx context.Context, a account.Account) (*sitoo.Shop, error)) lambda.Handler {
	return e.handler("setup-check", option{budget: setupBudget}, func(ctx context.Context, r *Request) (any, error) {
		var s *sitoo.Shop
		if r.Account.Sitoo != nil {
			var err error
			if s, err = shop(ctx, r.Account); err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, fmt.Errorf("open the credentials for Sitoo: %w", err)
			}
		}
		lines := c.Run(ctx, r.Account, r.Rule, s)
		e.delivering(ctx, r, &lines[0])
		asked, unasked, err := answers.Counts(ctx, r.Account.ID, e.Now().AddDate(0, 0, -6))
		report := setup.NewReport(append(lines, setup.Consent(r.Account, asked, unasked, err)))
		bad := 0
		for i, l := range report.Lines {
			if l.Status == setup.Failed {
				bad++
			}
			if l.Err == nil {
				continue
			}
			// The first line is about the key.
			if i == 0 && fault.KindOf(l.Err) == fault.Unauthorized {
				return nil, l.Err
			}
			r.Log.WarnContext(ctx, "set-up check", "account", r.Account.ID, "line", l.Name, "status", l.Status, "error", causes(l.Err))
		}
		r.Note("failed", bad)
		if s != nil {
			r.Note("sitoo_requests", s.Calls())
		}
		return report, nil
	})
}

// delivering adds to the line about the key that another key of the shop, which
// Rule refuses, still brings orders.
func (e *Edge) delivering(ctx context.Context, r *Request, line *setup.Line) {
	keys, err := e.Accounts.Keys(ctx, r.Account.ID)
	if err != nil {
		r.Log.WarnContext(ctx, "could not look for keys that Rule refuses", "account", r.Account.ID, "error", err)
		return
	}
	for _, k := range keys {
		if k.ID == r.visit.Key.ID || k.RefusedSince.IsZero() || !k.Delivered.After(k.RefusedSince) {
			continue
		}
		name := "An earlier API key of the shop"
		if k.Last4 != "" {
			name += " (it ends in " + k.Last4 + ")"
		}
		line.Detail += " " + name + " is refused by Rule, and a till still sends orders with it."
		line.Advice = "Paste the new key into Sitoo's box for the API token wherever the earlier one is, or drop that one: DELETE /sitoo/keys/" + k.ID + "."
		return
	}
}
