package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// receipt gives an order a till's receipt number and its date, "" and 0 for none.
func receipt(id string, date int64, more func(map[string]any)) func(map[string]any) {
	return func(o map[string]any) {
		more(o)
		if o["additionaldata"].(map[string]any)["pos-receiptid"] = id; id == "" {
			delete(o["additionaldata"].(map[string]any), "pos-receiptid")
		}
		if o["orderdate"] = date; date == 0 {
			delete(o, "orderdate")
		}
	}
}

// beside returns the ledger's record of an order that did not get its number.
func (r *rig) beside(o map[string]any) (order.Record, bool) {
	r.t.Helper()
	rec, ok, err := r.books.Get(r.t.Context(), order.Key{Account: r.id, Order: o["orderid"].(int64)}.Beside(stampOf(r.t, o)))
	if err != nil {
		r.t.Fatal(err)
	}
	return rec, ok
}

// Two Sitoo accounts deliver with one token, and their numbers collide: the second
// order of a number is failed, with the reason, a dead letter and a warning, and
// the first one stays as it is.
func TestTwoOrdersOfOneNumber(t *testing.T) {
	t.Parallel()
	const noon = 1727433600
	for _, tt := range []struct {
		name          string
		first, second func(of func(map[string]any)) func(map[string]any)
		conflict      bool
	}{
		{"another date and receipt", stamped("SII1", noon), stamped("SII2", noon+3600), true},
		{"another date", stamped("SII1", noon), stamped("SII1", noon+1), true},
		{"another receipt", stamped("SII1", noon), stamped("SII2", noon), true},
		{"another date, no receipts", stamped("", noon), stamped("", noon+60), true},
		{"the same again", stamped("SII1", noon), stamped("SII1", noon), false},
		{"again without either", stamped("SII1", noon), stamped("", 0), false},
		{"first without either", stamped("", 0), stamped("SII1", noon), false},
		{"both without either", stamped("", 0), stamped("", 0), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{})
			one := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
			two := one
			if tt.conflict {
				two = r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.tva@example.com"}), 200).(string)
			}
			first, second := sale(1001, tt.first(of(one))), sale(1001, tt.second(of(two)))
			r.want(r.call("POST", "/transactions", first), 200)
			r.drain()
			sent := r.ledger(1001)
			for range 2 { // the till sends it once more, as it does with everything
				r.clock.Advance(time.Minute)
				r.want(r.call("POST", "/transactions", second), 200)
				r.drain()
			}
			if n := len(r.entriesOf(sent.Subscriber)); n != 1 {
				t.Errorf("%d entries, want 1", n)
			}
			dead := r.deadLetters().Messages()
			warned := strings.Count(r.logs.String(), order.ConflictMessage)
			if now := r.ledger(1001); now.State != order.Sent || now.Subscriber != sent.Subscriber || !now.Updated.Equal(sent.Updated) {
				t.Errorf("the first order is %+v now, it was %+v", now, sent)
			}
			rec, ok := r.beside(second)
			if !tt.conflict {
				if len(dead) != 0 || warned != 0 || ok {
					t.Errorf("%d dead letters, %d warnings, %+v", len(dead), warned, rec)
				}
				return
			}
			if len(dead) != 2 || warned != 2 || !strings.Contains(dead[0].Attributes[worker.Reason], "label") {
				t.Errorf("%d dead letters, %d warnings", len(dead), warned)
			}
			if !ok || rec.State != order.Failed || rec.Reason != order.Conflicting {
				t.Errorf("the second order is %+v", rec)
			}
		})
	}
}

// stampOf is the stamp of an order as it goes over the wire.
func stampOf(t *testing.T, o map[string]any) order.Stamp {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := sitoo.DecodeOrder(b)
	if err != nil {
		t.Fatal(err)
	}
	return order.StampOf(decoded)
}

// conflicts are the orders that a backfill reports as another's number.
func conflicts(st history.Status) string {
	for _, f := range st.Failed {
		if f.Reason == order.Conflicting {
			return fmt.Sprint(f.Orders)
		}
	}
	return "none"
}

func stamped(id string, date int64) func(func(map[string]any)) func(map[string]any) {
	return func(more func(map[string]any)) func(map[string]any) { return receipt(id, date, more) }
}

// A label of its own is what helps: the same two orders are no conflict under two.
func TestTwoOrdersOfOneNumberUnderTwoLabels(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	r.want(r.as(key, "POST", "/transactions", sale(1001, receipt("SII1", 1727433600, of(id)))), 200)
	r.want(r.as(key+"/fi", "POST", "/transactions", sale(1001, receipt("SII2", 1727433700, of(id)))), 200)
	r.drain()
	if n := len(r.entriesOf(r.ledger(1001).Subscriber)); n != 2 || len(r.deadLetters().Messages()) != 0 {
		t.Errorf("%d entries, %d dead letters", n, len(r.deadLetters().Messages()))
	}
}

// Two orders of one number while Rule refuses the key: both are kept, and when they
// go out the second is a dead letter with its reason.
func TestTwoParkedOrdersOfOneNumber(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	r.rule.RevokeKey(key)
	r.want(r.call("POST", "/transactions", sale(1001, receipt("SII1", 1727433600, of(id)))), 200)
	r.clock.Advance(time.Second)
	second := sale(1001, receipt("SII2", 1727433700, of(id)))
	r.want(r.call("POST", "/transactions", second), 200)
	r.drain()
	r.clock.Advance(time.Hour)
	r.addKey(newKey)
	r.want(r.as(newKey, "GET", "/contacts?key=kund.ett@example.com", nil), 200)
	r.later(10 * time.Minute)
	if rec, ok := r.beside(second); !ok || rec.State != order.Failed || rec.Reason != order.Conflicting {
		t.Errorf("the second order is %+v", rec)
	}
	dead := r.deadLetters().Messages()
	if rec := r.ledger(1001); rec.State != order.Sent || len(r.entriesOf(rec.Subscriber)) != 1 || len(dead) != 1 {
		t.Errorf("the first order is %+v; %d dead letters", rec, len(dead))
	}
}

// A backfill meets orders that the tills have delivered, or are delivering: one of
// the same number, and another date or receipt, is failed in its report, whichever
// of the two ways it goes; the same order is there already.
func TestBackfillMeetsAnotherOrderOfTheNumber(t *testing.T) {
	t.Parallel()
	const day = 1727433600
	r := newRig(t, options{Options: stack.Options{SitooAnyHost: true}})
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	live := func(number int64, id2 string, date int64) map[string]any {
		return sale(number, receipt(id2, date, func(o map[string]any) { of(id)(o); o["email"] = "kund.ett@example.com" }))
	}
	shop := fakesitoo.New(fakesitoo.Options{})
	old := func(o map[string]any) {
		o["registerid"] = "150000"
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := shop.Add(b); err != nil {
			t.Fatal(err)
		}
	}
	api := httptest.NewServer(shop)
	t.Cleanup(api.Close)
	for n := range int64(4) {
		r.want(r.call("POST", "/transactions", live(2001+n, fmt.Sprint("SII", n), day+n)), 200)
	}
	r.drain()
	// Of one that is on its way still, only the note of the door is in the ledger.
	waiting := live(2005, "SII5", day)
	if err := r.books.Queue(t.Context(), order.Key{Account: r.id, Order: 2005}, stampOf(t, waiting), r.clock.Now()); err != nil {
		t.Fatal(err)
	}
	old(live(2001, "SII0", day))      // the same
	old(live(2002, "SII-A", day+1))   // another receipt
	old(live(2003, "SII2", day+7200)) // another date
	old(live(2004, "", day+3))        // the same, without a receipt
	old(live(2005, "SII-B", day))     // another receipt, of one on its way
	old(live(2006, "SII6", day))      // nobody has had it
	r.want(r.call("PUT", "/credentials", map[string]any{
		"baseurl": fmt.Sprintf("%s/v2/accounts/%d", api.URL, fakesitoo.DefaultAccountID), "site": 1,
		"apiid": fakesitoo.DefaultAPIID, "password": fakesitoo.DefaultPassword,
	}), http.StatusOK)
	st := r.backfill(key, r.id, fmt.Sprintf(`{"account":%q,"from":"2024-09-01","to":"2024-10-31"}`, r.id))
	if conflicts(st) != "[2002 2003 2005]" || st.Written != 1 || st.Already != 2 {
		t.Errorf("the backfill: %+v", st)
	}
	if n := len(r.entriesOf(r.ledger(2001).Subscriber)); n != 5 {
		t.Errorf("%d entries, want the tills' four and the one old order", n)
	}
	// A live order meets one that the backfill has brought over.
	r.want(r.call("POST", "/transactions", live(2006, "SII-C", day)), 200)
	r.drain()
	if rec := r.ledger(2006); rec.State != order.Sent || len(r.deadLetters().Messages()) != 1 {
		t.Errorf("%+v, %d dead letters", rec, len(r.deadLetters().Messages()))
	}
	// Support asks for one by its number: it is looked for in Rule, and is not it.
	again := r.backfill(key, r.id, fmt.Sprintf(`{"account":%q,"orders":[2002]}`, r.id))
	if conflicts(again) != "[2002]" {
		t.Errorf("by number: %+v", again)
	}
	if rec := r.ledger(2002); rec.State != order.Sent {
		t.Errorf("the till's order is %+v", rec)
	}
}
