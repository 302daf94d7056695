package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
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
			p, err := s.Imports.Part(t.Context(), account.ID(fakerule.DefaultKey), "EXAMPLEQUEUED", 1)
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
