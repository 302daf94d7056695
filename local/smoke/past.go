package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/shopspring/decimal"

	"sitoo-rule/local/deployment"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
)

// past stores what other functions have left behind, for those that can do
// little without it. The others begin with empty tables.
func (w *world) past(ctx context.Context, d *deployment.Deployment, f template.Function) error {
	table := func(variable string) (string, error) {
		name, err := f.Environment[variable].Resolve(d.Resolve)
		if err != nil {
			return "", fmt.Errorf("%s of %s: %w", variable, f.ID, err)
		}
		return name, nil
	}
	client := dynamodb.NewFromConfig(w.cfg)
	shop := account.ID(fakerule.DefaultKey)
	switch f.Name {
	case "bonuscheck-restore", "bonuscheck-sync-worker":
		name, err := table("BONUS_TABLE")
		if err != nil {
			return err
		}
		return dynamo.NewBonus(client, name).Put(ctx, bonus.Key{Account: shop, Subscriber: 255934464}, used())
	case "bonuscheck-import-status", "bonuscheck-import-worker":
		name, err := table("IMPORTS_TABLE")
		if err != nil {
			return err
		}
		return imported(ctx, dynamo.NewImports(client, name), shop)
	}
	return nil
}

// used is the book of Rule's fourth customer after order 210350, which used 60
// of a bonus check's 100 and a promotion. Rule's copy has not followed.
func used() bonus.Book {
	one, opening := decimal.NewFromInt(1), decimal.NewFromInt(100)
	date := time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)
	return bonus.Book{Version: 2, Entries: []bonus.Entry{
		{Kind: bonus.Check, ID: "BC-2026-0001", Opening: &opening, Uses: []bonus.Use{
			{Order: "210350", Amount: decimal.NewFromInt(60), Left: decimal.NewFromInt(40), Date: date, Told: true},
		}},
		{Kind: bonus.Promotion, ID: "P-7", Opening: &one, Uses: []bonus.Use{
			{Order: "210350", Amount: one, Date: date, Told: true},
		}},
	}}
}

// imported stores three imports: one that is done, one that waits with its first
// part half done, and one that no worker has begun.
func imported(ctx context.Context, to bonus.Imports, shop string) error {
	day := func(d, hour, minute int) time.Time {
		return time.Date(2026, time.March, d, hour, minute, 0, 0, time.UTC)
	}
	for _, i := range []struct {
		bonus.Import
		parts []bonus.Part
	}{
		{
			bonus.Import{ID: "EXAMPLEDONE", File: "bonuschecks.xlsx", Rows: 6, Customers: 5, Parts: 1, Created: day(2, 9, 0), Queued: true},
			[]bonus.Part{{
				Number: 1, Rows: 6, Done: 5, Written: 4, Unchanged: 1, Failed: 1, Finished: true, Updated: day(2, 9, 1),
				Failures: []bonus.Failure{{Row: 5, Reason: "In Rule, the email address and the phone number belong to two subscribers."}},
			}},
		},
		{
			bonus.Import{ID: "EXAMPLEWAITING", File: "medlemmar.csv", Rows: 300, Customers: 300, Parts: 2, Created: day(3, 9, 0), Queued: true},
			[]bonus.Part{{
				Number: 1, Rows: 190, Done: 95, Written: 95, Updated: day(3, 9, 1),
				Reason: "Most of Rule's budget is used up; the tills come first.", Until: day(3, 9, 3),
			}},
		},
		{
			bonus.Import{ID: "EXAMPLEQUEUED", File: "vårbonus.txt", Rows: 4, Customers: 3, Parts: 1, Created: day(4, 9, 0), Queued: true},
			nil,
		},
	} {
		i.Account = shop
		if err := to.Create(ctx, i.Import); err != nil {
			return err
		}
		for _, p := range i.parts {
			if err := to.SavePart(ctx, shop, i.ID, p); err != nil {
				return err
			}
		}
	}
	return nil
}
