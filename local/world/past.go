package world

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/shopspring/decimal"

	"sitoo-rule/local/deployment"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/seal"
)

// past stores what other functions have left behind, for those that can do
// little without it. The others begin with empty tables.
func (w *World) past(ctx context.Context, d *deployment.Deployment, f template.Function) error {
	table := func(variable string) (string, error) {
		name, err := f.Environment[variable].Resolve(d.Resolve)
		if err != nil {
			return "", fmt.Errorf("%s of %s: %w", variable, f.ID, err)
		}
		return name, nil
	}
	client := dynamodb.NewFromConfig(w.cfg)
	shop := strconv.Itoa(fakerule.DefaultAccount)
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
	case "backfill-worker", "credentials-get", "credentials-delete", "key-list", "key-drop":
		accounts, err := table("ACCOUNTS_TABLE")
		if err != nil {
			return err
		}
		key, err := table("SECRETS_KEY_ID")
		if err != nil {
			return err
		}
		return entered(ctx, dynamo.NewAccounts(client, accounts), seal.NewKMS(kms.NewFromConfig(w.cfg), key))
	case "backfill-list", "backfill-control", "history-worker":
		name, err := table("HISTORY_TABLE")
		if err != nil {
			return err
		}
		return backfilled(ctx, dynamo.NewHistory(client, name), shop, f.Name)
	}
	return nil
}

// entered stores the account of the Rule API key, with credentials for Sitoo
// that open nothing: whoever finds them here never asks Sitoo.
func entered(ctx context.Context, to account.Store, sealer account.Sealer) error {
	at := func() time.Time { return time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC) }
	a := account.Account{ID: strconv.Itoa(fakerule.DefaultAccount), Created: at()}
	if _, err := account.Keep(ctx, to, sealer, a, fakerule.DefaultKey, true); err != nil {
		return fmt.Errorf("keep the account: %w", err)
	}
	d := &account.Directory{Store: to, Sealer: sealer, Log: slog.New(slog.DiscardHandler), Now: at}
	access := account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1}
	if _, err := d.Enter(ctx, a, access, "90001-1", "demo-password"); err != nil {
		return fmt.Errorf("enter credentials: %w", err)
	}
	return nil
}

// backfilled stores the backfill of the orders of 2024, known customers only, as
// far as the function is to find it: done for the list, beside one of 2023 that
// is paused; listing Rule's customers for whoever controls it, so that nothing
// of its status depends on the time of day; queued for whoever writes it, with
// both customers of its part among those that were listed.
func backfilled(ctx context.Context, to *dynamo.History, shop, function string) error {
	at := func(hour, minute int) time.Time { return time.Date(2026, time.March, 2, hour, minute, 0, 0, time.UTC) }
	year := func(y int, create bool) history.Job {
		s := history.Spec{
			From:   time.Date(y, time.January, 1, 0, 0, 0, 0, rule.Stockholm),
			To:     time.Date(y+1, time.January, 1, 0, 0, 0, 0, rule.Stockholm),
			Create: create,
		}
		return history.Job{
			Account: shop, ID: history.JobID(shop, s), Run: 1, Spec: s, State: history.Running, Phase: history.Customers,
			Created: at(9, 0), Updated: at(9, 10), First: 100000, Last: 110500, Step: 3,
		}
	}
	j := year(2024, false)
	switch function {
	case "backfill-control":
		j.First, j.People = 0, 5000
		return to.Put(ctx, j)
	case "history-worker":
		j.Phase, j.Cursor, j.People, j.Step = history.Writing, j.Last, 2, 5
		seals, err := history.NewSeals(shop, rule.New(rule.Config{}).Session(fakerule.DefaultKey, time.Time{}, nil))
		if err != nil {
			return err
		}
		// The function goes by the real time.
		j.ListedAt, j.ListedBy, j.Lists = time.Now(), seals.Name(), 1
		j.Parts, j.Read, j.Matched = []string{"EXAMPLEPART"}, 2, 2
		j.Months = map[string]history.Month{"2024-03": {Sitoo: 2}}
		if err := to.Put(ctx, j); err != nil {
			return err
		}
		return to.Add(ctx, shop, j.ID+"-1-1", map[history.Digest]int64{
			seals.Digest(customer.Key{Email: "kund.ett@example.com"}):  255934461,
			seals.Digest(customer.Key{Email: "kund.fyra@example.com"}): 255934464,
		})
	}
	j.State, j.Phase, j.Cursor, j.People, j.Step = history.Done, history.Writing, j.Last, 5000, 14
	j.Updated, j.Ended, j.Began, j.Counted = at(9, 40), at(9, 40), at(9, 5), 800
	j.Parts, j.Read, j.Matched = []string{"EXAMPLEPART1", "EXAMPLEPART2"}, 800, 600
	j.Skipped = map[string]int{history.NoCustomer: 150, history.NotInRule: 50}
	j.Months = map[string]history.Month{"2024-01": {Sitoo: 500, Skipped: 120}, "2024-02": {Sitoo: 300, Skipped: 80}}
	if err := to.Put(ctx, j); err != nil {
		return err
	}
	for _, p := range []history.Part{
		{
			ID: "EXAMPLEPART1", Done: 380, Written: 370, Already: 9, Failures: 1, Finished: true, Began: at(9, 20), Updated: at(9, 30),
			Failed: map[string][]int64{"given up: unavailable": {100017}},
			Months: map[string]history.Month{"2024-01": {Written: 379, Failed: 1}},
		},
		{
			ID: "EXAMPLEPART2", Done: 220, Written: 220, Finished: true, Began: at(9, 30), Updated: at(9, 40),
			Months: map[string]history.Month{"2024-02": {Written: 220}},
		},
	} {
		if err := to.SavePart(ctx, shop, j.ID, j.Run, p); err != nil {
			return err
		}
	}
	j = year(2023, true)
	j.State, j.Phase, j.Reason = history.Paused, history.Reading, "paused by request"
	j.Created, j.Updated = at(10, 0), at(10, 20)
	j.Cursor, j.Read = 105000, 400
	j.Skipped = map[string]int{history.NoCustomer: 400}
	return to.Put(ctx, j)
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
