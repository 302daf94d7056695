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
