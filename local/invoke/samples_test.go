package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/worker"
)

// The golden reply of a worker's sample event only says that the message is done
// with. Here is what it has done: what Rule shows of a customer's bonus check
// after it, how many messages have been put aside, and which queue holds them.
func TestSampleWork(t *testing.T) {
	t.Parallel()
	type step struct {
		event string
		check string // a bonus check of Rule's fourth customer
		shows string // what is left of it, "" if there is no such check
		aside int    // messages put aside up to here
	}
	tests := []struct {
		fn, dead string
		steps    []step
	}{
		{"order-worker", "OrdersDeadLetters", []step{
			{"1-purchase", "BC-2026-0001", "100.00", 0},
			{"7-bonus-check", "BC-2026-0001", "0.00", 0},
			{"7-bonus-check", "BC-2026-0001", "0.00", 0},
			{"8-return-of-the-bonus-check", "BC-2026-0001", "100.00", 0},
			{"9-the-return-again", "BC-2026-0001", "100.00", 0},
		}},
		{"bonuscheck-import-worker", "ImportsDeadLetters", []step{
			{"1-part", "BC-2026-0101", "100.00", 0},
			{"2-the-same-again", "BC-2026-0101", "100.00", 0},
			{"2-the-same-again", "BC-2025-0099", "0.00", 0}, // it was used
			{"3-damaged", "BC-2026-0101", "100.00", 1},
			{"4-unknown-account", "BC-2026-0101", "100.00", 2},
		}},
		{"bonuscheck-sync-worker", "BonusDeadLetters", []step{
			{"2-nothing-to-do", "BC-2026-0001", "100.00", 0},
			{"3-damaged-in-a-batch", "BC-2026-0001", "100.00", 3},
		}},
	}
	declared, err := template.Load(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.fn, func(t *testing.T) {
			t.Parallel()
			rule := fakerule.New(fakerule.Options{})
			if err := rule.Load(fakerule.Seed()); err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(rule)
			t.Cleanup(server.Close)
			var parts app.Parts
			s, err := stack.New(t.Context(), stack.Options{
				Template: declared, RuleURL: server.URL + "/api",
				Change: func(function string, p *app.Parts) {
					if function == tt.fn {
						parts = *p
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := addAccount(t.Context(), parts); err != nil {
				t.Fatal(err)
			}
			dead, ok := s.Broker.Queue(tt.dead)
			if !ok {
				t.Fatalf("there is no queue %s", tt.dead)
			}
			for _, st := range tt.steps {
				payload, err := os.ReadFile(filepath.Join(root, "events", tt.fn, st.event+".json"))
				if err != nil {
					t.Fatal(err)
				}
				reply, err := s.Invoke(t.Context(), tt.fn, payload)
				if err != nil || string(reply) != `{"batchItemFailures":[]}` {
					t.Errorf("%s: %s, %v", st.event, reply, err)
				}
				if got := left(t, rule, st.check); got != st.shows {
					t.Errorf("%s: Rule shows %q left of %s, want %q", st.event, got, st.check, st.shows)
				}
				if got := len(dead.Messages()); got != st.aside {
					t.Errorf("%s: %d messages are put aside, want %d", st.event, got, st.aside)
				}
			}
			if tt.fn != "bonuscheck-import-worker" {
				return
			}
			p, err := s.Imports.Part(t.Context(), strconv.Itoa(fakerule.DefaultAccount), "EXAMPLEQUEUED", 1)
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%d rows, %d written, %d unchanged, %d failed, finished %t", p.Rows, p.Written, p.Unchanged, p.Failed, p.Finished)
			if diff := cmp.Diff("4 rows, 3 written, 1 unchanged, 0 failed, finished true", got); diff != "" {
				t.Errorf("the part's progress (-want +got):\n%s", diff)
			}
		})
	}
}

// What each sample message of a backfill comes to: a job, or a reason that says
// to support what is wrong with it. Nothing of this is in the golden replies.
func TestSampleBackfills(t *testing.T) {
	t.Parallel()
	declared, err := template.Load(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var parts app.Parts
	s, err := stack.New(t.Context(), stack.Options{
		Template: declared, RuleURL: "http://127.0.0.1:1/api", // nobody asks it
		Change: func(function string, p *app.Parts) {
			if function == "backfill-worker" {
				parts = *p
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := addAccount(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	shop := strconv.Itoa(fakerule.DefaultAccount)
	directory := &account.Directory{Store: parts.Accounts, Sealer: parts.Sealer, Log: parts.Log, Now: parts.Now}
	access := account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1}
	a, err := directory.Get(t.Context(), shop)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := directory.Enter(t.Context(), a, access, "90001-1", "demo-password"); err != nil {
		t.Fatal(err)
	}
	dead, ok := s.Broker.Queue("BackfillDeadLetters")
	if !ok {
		t.Fatal("there is no queue BackfillDeadLetters")
	}
	paths, err := filepath.Glob(filepath.Join(root, "events", "backfill-worker", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	jobs, aside := 0, 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		payload, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := s.Invoke(t.Context(), "backfill-worker", payload)
		if err != nil || string(reply) != `{"batchItemFailures":[]}` {
			t.Errorf("%s: %s, %v", name, reply, err)
		}
		all, err := s.History.List(t.Context(), shop)
		if err != nil {
			t.Fatal(err)
		}
		letters := dead.Messages()
		switch {
		case len(letters) == aside+1 && len(all) == jobs:
			got[name] = letters[aside].Attributes[worker.Reason]
		case len(letters) == aside && len(all) == jobs+1:
			got[name] = "a job"
		case len(letters) == aside && len(all) == jobs:
			got[name] = "the job that is under way"
		default:
			t.Errorf("%s: %d jobs and %d messages put aside, after %d and %d", name, len(all), len(letters), jobs, aside)
		}
		jobs, aside = len(all), len(letters)
	}
	want := map[string]string{
		"1-period": "a job", "2-the-same-again": "the job that is under way", "3-dry-run": "a job",
		"4-customers-create": "a job", "5-orders": "a job", "6-by-sitooaccount": "a job",
		"account-and-sitooaccount":            `invalid: sitooaccount: is there beside account; one of the two is expected`,
		"day-that-does-not-exist":             `invalid: from: is 2024-02-30, a day that does not exist; one of the calendar is expected`,
		"neither-account":                     `invalid: account: is missing, and so is sitooaccount; one of them is expected: the account's number in Rule such as "42", as the log lines show it, or Sitoo's account id such as "90001"`,
		"not-json":                            `invalid: The message is not JSON from character 2 on; an object such as {"account":"...","from":"2024-01-01","to":"2024-12-31"} is expected. (invalid character 'a' looking for beginning of object key string)`,
		"orders-empty":                        `invalid: orders: is an empty list; 1 to 1000 order numbers are expected`,
		"orders-with-a-text":                  `invalid: orders: has a text in place 2 of 2; numbers without quotation marks are expected, a list such as [210334,210335]`,
		"orders-with-from":                    `invalid: orders: are there beside from or to; either orders, or from and to, are expected`,
		"quotation-marks-of-a-word-processor": `invalid: The message is not JSON: character 2 is a quotation mark as word processors make them, where a plain one (") is expected; an object such as {"account":"...","from":"2024-01-01","to":"2024-12-31"} is expected.`,
		"sitoos-number-as-account":            `not_found: There is no account 90001 that uses the connector; the account's number in Rule such as "42", as the log lines show it is expected, and Sitoo's own number goes into sitooaccount. (not_found: There is no account with the message's account id.: Get of account 90001: account: not found)`,
		"step-of-no-job":                      `not_found: There is no such job. (get job 000000000000 of account 42: history: no such job)`,
		"to-is-before-from":                   `invalid: to: is 2024-01-01 and before from, which is 2024-12-31; the last day is expected`,
		"unknown-account":                     `not_found: There is no account 0123456789abcdef0123456789abcdef that uses the connector; the account's number in Rule such as "42", as the log lines show it is expected, and Sitoo's own number goes into sitooaccount. (not_found: There is no account with the message's account id.: Get of account 0123456789abcdef0123456789abcdef: account: not found)`,
		"unknown-member":                      `invalid: dry_run: is not known; account, label, sitooaccount, from, to, dryrun, orders, customers are`,
		"unknown-sitoo-account":               `not_found: No shop has entered credentials for this Sitoo account. The merchant does that once, with PUT /sitoo/credentials.`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what came of the messages (-want +got):\n%s", diff)
	}
}

// left returns what Rule shows as left of a bonus check of its fourth customer,
// the value if it does not say, "" if there is no such check.
func left(t *testing.T, rule *fakerule.Server, id string) string {
	t.Helper()
	who, ok := rule.Subscriber(fakerule.DefaultKey, 255934464)
	if !ok {
		t.Fatal("Rule has no such subscriber")
	}
	field, _ := who.Field("Sitoo-Contact.bonuschecks")
	var checks []struct{ BonusCheckID, Value, Remaining string }
	if err := json.Unmarshal([]byte(field.Value), &checks); err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if c.BonusCheckID == id && c.Remaining != "" {
			return c.Remaining
		}
		if c.BonusCheckID == id {
			return c.Value
		}
	}
	return ""
}

// The sample requests of an import carry the sample files, as they are.
func TestSampleFiles(t *testing.T) {
	t.Parallel()
	for event, file := range map[string]string{
		"csv": "bonuschecks.csv", "txt": "bonuschecks.txt", "xlsx": "bonuschecks.xlsx", "form": "bonuschecks.xlsx",
	} {
		var request struct {
			Body            []byte
			IsBase64Encoded bool
		}
		payload, err := os.ReadFile(filepath.Join(root, "events", "bonuscheck-import", event+".json"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(root, "events", "bonuscheck-import", "files", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(payload, &request); err != nil {
			t.Fatal(err)
		}
		if !request.IsBase64Encoded || !bytes.Contains(request.Body, want) {
			t.Errorf("%s does not carry files/%s", event, file)
		}
	}
}
