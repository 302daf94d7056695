package stack_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/worker"
)

// seed is an account in Rule with one customer and fields that somebody has made
// with other types than ours.
func seeded(t *testing.T, r *rig, seed string) {
	t.Helper()
	if err := r.rule.Load(strings.NewReader(seed)); err != nil {
		t.Fatal(err)
	}
}

// A field that staff, or an older integration, made with another type stops no
// order: it is left out, and the rest is there.
func TestFieldsOfOtherTypes(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]string{
		"a contact's field": `{"group":"Sitoo-Contact","fields":{"birthday":"text"}}`,
		"an order's fields": `{"group":"Sitoo-Order","historical":true,"fields":{"orderdate":"date","names":"text","products":"text"}}`,
		"both":              `{"group":"Sitoo-Contact","fields":{"bonuschecks":"text"}},{"group":"Sitoo-Order","historical":true,"fields":{"vouchers":"date"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{})
			seeded(t, r, `{"accounts":[{"schema":[`+schema+`],"subscribers":[{"id":1,"email":"kund.ett@example.com"}]}]}`)
			for id := int64(1); id <= 3; id++ {
				r.want(r.call("POST", "/transactions", sale(id, of("1"))), 200)
				r.drain()
			}
			entries := r.rule.Entries(key, 1, order.Group)
			if len(entries) != 3 || len(r.deadLetters().Messages()) != 0 {
				t.Fatalf("%d entries, %d put aside; want 3 and none", len(entries), len(r.deadLetters().Messages()))
			}
			for i, e := range entries {
				if e.Value("total") != "879.00" || e.Value("storename") == "" || r.ledger(int64(i+1)).State != order.Sent {
					t.Errorf("entry %d: %+v, ledger %+v", i, e, r.ledger(int64(i+1)))
				}
			}
			if !strings.Contains(r.logs.String(), "refuses a custom field") {
				t.Error("the log does not say what was left out")
			}
		})
	}
}

// A group that keeps no history would lose all orders but the last: they wait,
// the ledger says for what, and go out once somebody has switched it.
func TestGroupWithoutHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	seeded(t, r, `{"accounts":[{"schema":[{"group":"Sitoo-Order","historical":false,"fields":{"orderid":"text"}}],"subscribers":[{"id":1,"email":"kund.ett@example.com"}]}]}`)
	for id := int64(1); id <= 3; id++ {
		r.want(r.call("POST", "/transactions", sale(id, of("1"))), 200)
		r.drain()
	}
	for id := int64(1); id <= 3; id++ {
		if rec := r.ledger(id); rec.State != order.Waiting || !strings.Contains(rec.Reason, "not historical") {
			t.Errorf("ledger: %+v", rec)
		}
	}
	if n := len(r.rule.Automations(key)); n != 0 {
		t.Errorf("%d automations started", n)
	}
	r.rule.DefineHistorical(key, order.Group, true)
	for range 3 {
		r.later(2 * time.Hour)
	}
	seen := map[string]int{}
	for _, e := range r.rule.Entries(key, 1, order.Group) {
		seen[e.Value("orderid")]++
		if e.Value("total") != "879.00" {
			t.Errorf("an entry is not whole: %+v", e)
		}
	}
	for _, id := range []string{"1", "2", "3"} {
		if seen[id] != 1 {
			t.Errorf("order %s has %d entries", id, seen[id])
		}
	}
}

// Rule's search lags behind its writes: the entry that it has just taken is not
// there yet. That is no deleted customer.
func TestSearchLags(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(o map[string]any){
		"contact":             of("255934461"),
		"contact and receipt": func(o map[string]any) { of("255934461")(o); o["email"] = "annan@example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			before := len(r.rule.Subscribers(key))
			r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
				if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "custom-field-data") {
					return &fakerule.Fault{Status: 404, Body: `{"message":"Not found"}`}
				}
				return nil
			})
			r.want(r.call("POST", "/transactions", sale(960000, change)), 200)
			r.drain()
			if rec := r.ledger(960000); rec.State != order.Waiting || !rec.Uncertain {
				t.Errorf("ledger: %+v", rec)
			}
			r.rule.SetFault(nil)
			r.later(5 * time.Minute)
			check(t, r, "after the lag", 960000, order.PurchaseTag)
			if n := len(r.rule.Subscribers(key)); n != before {
				t.Errorf("%d new subscribers", n-before)
			}
		})
	}
}

// Rule says "in a second" each time it blocks: it is not asked each second, and
// the order is not given up.
func TestShortBlocks(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		return &fakerule.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}, Body: `"Too Many Attempts."`}
	})
	r.want(r.call("POST", "/transactions", sale(970000, of("255934461"))), 200)
	r.drain()
	for range 60 {
		r.later(2 * time.Minute)
	}
	if n := len(r.deadLetters().Messages()); n != 0 {
		t.Fatal("the order was given up")
	}
	if m := r.orders().Messages(); len(m) != 1 || time.Until(m[0].VisibleAt) < 30*time.Minute {
		t.Errorf("after 60 short blocks it comes again too soon: %+v", m)
	}
	r.rule.SetFault(nil)
	r.later(2 * time.Hour)
	check(t, r, "after the blocks", 970000, order.PurchaseTag)
}

// A receipt sent to a relative's address tells nothing of the relative.
func TestRelative(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	mother := r.want(r.call("POST", "/contacts", map[string]any{"email": "mor@example.com", "namefirst": "Mor", "invoice_address": "Exempelgatan 1"}), 200).(string)
	r.want(r.call("POST", "/transactions", sale(980000, func(o map[string]any) {
		o["email"], o["phone"], o["namefirst"], o["invoice_address"] = "mor@example.com", "070-174 06 77", "Son", "Hemliga gatan 9"
	})), 200)
	r.drain()
	card := r.want(r.call("GET", "/contacts/"+mother, nil), 200).(map[string]any)
	if card["namefirst"] != "Mor" || card["invoice_address"] != "Exempelgatan 1" || card["mobile"] != "" || card["phone"] != "" {
		t.Errorf("card: %v", card)
	}
	if rec := r.ledger(980000); rec.State != order.Sent {
		t.Errorf("ledger: %+v", rec)
	}
}

// A personal number where the order's phone belongs never reaches Rule.
func TestPersonalNumberOnAnOrder(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"070112-1234", "19070112-1234", "900101-1234"} {
		r := newRig(t, options{seeded: true})
		before := len(r.rule.Subscribers(key))
		got := r.want(r.call("POST", "/transactions", sale(990000, func(o map[string]any) { o["phone"] = number })), 200).(map[string]any)
		r.drain()
		if rec := r.ledger(990000); rec.State != order.Skipped || !strings.Contains(rec.Reason, "personal number") || len(r.rule.Subscribers(key)) != before || len(r.routes()) > 1 {
			t.Errorf("%s: %v, ledger %+v", number, got, rec)
		}
	}
}

// The note of a till's no is lost: the next save makes it good, so that a till
// can take the no back.
func TestNoteOfANoIsLost(t *testing.T) {
	t.Parallel()
	for _, route := range []string{"POST /v2/suppressions", "PUT /v2/subscribers"} {
		r := newRig(t, options{seeded: true})
		fail := func() {
			r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
				if strings.HasPrefix(q.Method+" "+q.URL.Path, route) {
					return &fakerule.Fault{Status: 500, After: true}
				}
				return nil
			})
		}
		for _, save := range []func(v bool) answer{
			func(v bool) answer { return r.call("PUT", "/contacts/255934461", map[string]any{"accepts_email": v}) },
			func(v bool) answer {
				return r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com", "accepts_email": v})
			},
		} {
			fail()
			save(false)
			r.rule.SetFault(nil)
			r.want(save(false), 200)
			r.clock.Advance(12 * time.Hour)
			r.want(r.call("PUT", "/contacts/255934461", map[string]any{"accepts_email": true}), 200)
			if card := r.want(r.call("GET", "/contacts/255934461", nil), 200).(map[string]any); card["accepts_email"] != true {
				t.Errorf("%s fails: the till cannot take its no back: %v", route, card["accepts_email"])
			}
		}
	}
}

// The worker fails an order before the door has noted that it is queued: the
// ledger goes on saying that it failed.
func TestFailedBeforeQueued(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
		if strings.Contains(q.URL.Path, "custom-field-data") {
			return &fakerule.Fault{Status: 422, Body: `{"message":"The given data was invalid.","errors":{"groups":["bad"]}}`}
		}
		return nil
	})
	r.orders().SetFaults(queue.Faults{AfterSend: func(context.Context, worker.Message) error {
		r.drain() // the worker is faster than the door
		return nil
	}})
	r.want(r.call("POST", "/transactions", sale(995000, of("255934461"))), 200)
	if rec := r.ledger(995000); rec.State != order.Failed || rec.Reason == "" {
		t.Errorf("ledger: %+v", rec)
	}
	// Sent again later, it is tried again.
	r.orders().SetFaults(queue.Faults{})
	r.rule.SetFault(nil)
	r.clock.Advance(time.Minute)
	r.want(r.call("POST", "/transactions", sale(995000, of("255934461"))), 200)
	r.drain()
	if rec := r.ledger(995000); rec.State != order.Sent {
		t.Errorf("ledger: %+v", rec)
	}
}

// What Rule refuses of our own questions is not the till's mistake.
func TestRefusalsThatAreNotTheTills(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 405, 409, 413, 422} {
		r := newRig(t, options{seeded: true})
		r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Status: status} })
		r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 503)
		r.rule.SetFault(nil)
		r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 200)
	}
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Status: 400} })
	if got := r.want(r.call("GET", "/contacts?key=0701740605", nil), 200).([]any); len(got) != 0 {
		t.Errorf("found %v", got)
	}
}

// An empty text is as good as an absent member, in an order too.
func TestEmptyTexts(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/transactions", sale(997000, func(o map[string]any) {
		o["email"], o["additionaldata"], o["orderitems"], o["payments"] = "kund.ett@example.com", "", "", ""
		o["creditorderid"], o["orderstateid"], o["moneyfinal_vat"] = "", "", ""
	})), 200)
	r.drain()
	if rec := r.ledger(997000); rec.State != order.Sent || rec.Subscriber != 255934461 {
		t.Errorf("ledger: %+v", rec)
	}
}

// Registering somebody whom Rule knows with both boxes unticked takes nothing
// away: unticking them on her card does.
func TestReRegisteredWithNo(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com", "accepts_email": false, "accepts_sms": false}), 200)
	if sub, _ := r.rule.Subscriber(key, 255934461); !slices.Contains(sub.Tags, "Newsletter") || len(sub.Suppressions) != 0 {
		t.Errorf("tags %v, suppressions %v", sub.Tags, sub.Suppressions)
	}
	r.want(r.call("PUT", "/contacts/255934461", map[string]any{"accepts_email": false, "accepts_sms": false}), 200)
	if sub, _ := r.rule.Subscriber(key, 255934461); slices.Contains(sub.Tags, "Newsletter") || len(sub.Suppressions) != 2 {
		t.Errorf("tags %v, suppressions %v", sub.Tags, sub.Suppressions)
	}
}

// Numbers and flags in other shapes than documented hide nobody.
func TestOddShapes(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
		if strings.Contains(q.URL.Path, "/custom-field-data/") {
			return &fakerule.Fault{Status: 200, Body: `{"data":{"3":{"group_name":7,"values":[{"field_name":1,"field_value":2}]},"5":{"group_name":"Order","values":"x"},"7":{"group_name":"Sitoo-Contact","values":[{"field_name":12,"field_value":"x"},7,{"field_name":"namefirst","field_value":"Kund"}]}}}`}
		}
		return &fakerule.Fault{Status: 200, Body: `{"subscriber":{"id":"255934461","email":null,"phone_number":46701740605,"opted_in":0,"tags":null,"suppressed":false}}`}
	})
	card := r.want(r.call("GET", "/contacts/255934461", nil), 200).(map[string]any)
	if card["namefirst"] != "Kund" || card["mobile"] != "46701740605" || card["accepts_email"] != false {
		t.Errorf("card: %v", card)
	}
}
