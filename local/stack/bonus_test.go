package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/queue"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/order"
)

// The customer who has bonus checks, and the check that tests use.
const (
	fyra    = "255934464"
	hundred = "BC-2026-0001" // 100 kr
)

func bonusPath(id string) string { return "/contacts/" + fyra + "/bonuschecks/" + id + "/redeem" }

func promotionPath(id string) string { return "/contacts/" + fyra + "/promotions/" + id + "/redeem" }

// redeem is a till's redeem call; body may be "".
func (r *rig) redeem(method, path, body string) answer {
	r.t.Helper()
	if body == "" {
		return r.call(method, path, nil)
	}
	return r.call(method, path, body)
}

// shown returns what the customer's card shows: bonus checks with what is left,
// and promotions.
func (r *rig) shown() map[string]string {
	r.t.Helper()
	a := r.call("GET", "/contacts/"+fyra+"?include_extended=true", nil)
	r.want(a, 200)
	var card struct {
		BonusChecks []struct {
			ID       string      `json:"bonuscheckid"`
			Value    json.Number `json:"value"`
			Redeemed bool        `json:"redeemed"`
		} `json:"bonuschecks"`
		Promotions []struct {
			ID string `json:"promotionid"`
		} `json:"promotions"`
	}
	if err := json.Unmarshal([]byte(a.Body), &card); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range card.BonusChecks {
		if c.Redeemed {
			r.t.Errorf("the card shows %s, which is used", c.ID)
		}
		out[c.ID] = c.Value.String()
	}
	for _, p := range card.Promotions {
		out[p.ID] = "promotion"
	}
	return out
}

// inRule returns a bonus check or promotion as Rule's field has it.
func (r *rig) inRule(id string) map[string]any {
	r.t.Helper()
	s, ok := r.rule.Subscriber(key, 255934464)
	if !ok {
		r.t.Fatal("Rule has no such subscriber")
	}
	for _, name := range []string{"bonuschecks", "promotions"} {
		f, ok := s.Field("Sitoo-Contact." + name)
		if !ok {
			continue
		}
		var list []map[string]any
		if err := json.Unmarshal([]byte(f.Value), &list); err != nil {
			r.t.Fatalf("%s in Rule: %v: %s", name, err, f.Value)
		}
		for _, o := range list {
			if o["bonuscheckid"] == id || o["promotionid"] == id {
				return o
			}
		}
	}
	return nil
}

func (r *rig) bonusQueue() *queue.Queue {
	q, ok := r.Broker.Queue("BonusQueue")
	if !ok {
		r.t.Fatal("no queue BonusQueue")
	}
	return q
}

// sweep lets time pass until the messages come that complete Rule's copy; of two
// for one customer that come together, one waits for the other.
func (r *rig) sweep() {
	r.t.Helper()
	for range 2 {
		r.clock.Advance(2 * time.Minute)
		r.bonusQueue().Redeliver(func(queue.Message) bool { return true })
		r.drain()
	}
}

// discounted is a purchase by the customer, with a discount of 100.00 (80 net,
// 25 % VAT) that a bonus check or promotion gave on its first row.
func discounted(member, id string) func(o map[string]any) {
	return func(o map[string]any) {
		of(fyra)(o)
		row := o["orderitems"].([]any)[0].(map[string]any)
		row["orderitemid"] = 0
		row["moneydiscount"] = "80.00"
		row["additionaldata"].(map[string]any)[member] = id
		o["orderitems"].([]any)[1].(map[string]any)["orderitemid"] = 1
	}
}

// back makes an order the return of rows of another, of all if none is named.
func back(original int64, rows ...string) func(o map[string]any) {
	return func(o map[string]any) {
		of(fyra)(o)
		o["creditorderid"] = original
		items := o["orderitems"].([]any)
		for _, i := range items {
			i.(map[string]any)["quantity"] = -1
		}
		if len(rows) > 0 {
			items = items[:0:0]
			for _, id := range rows {
				items = append(items, map[string]any{
					"productname": "x", "quantity": -1, "vatvalue": 25, "additionaldata": map[string]any{"pos-originalsales-orderitemid": id},
				})
			}
			o["orderitems"] = items
		}
	}
}

// A day with bonus checks: the card, in full and in part, the sentence for the
// second till, taking back, the order's own proof, a return.
func TestBonusDay(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	at := map[string]string{hundred: "100.00", "BC-2026-0002": "50.00", "P-7": "promotion"}
	show := func(id, left string) {
		t.Helper()
		if left == "" {
			delete(at, id)
		} else {
			at[id] = left
		}
		if diff := cmp.Diff(at, r.shown()); diff != "" {
			t.Errorf("card (-want +got):\n%s", diff)
		}
	}
	want := func(a answer, status int, body string) {
		t.Helper()
		if a.Status != status || a.Body != body {
			t.Errorf("%d %s\nwant %d %s", a.Status, a.Body, status, body)
		}
	}
	show(hundred, "100.00")

	// In part, told with the order, and told again.
	const first = `{"bonuscheckid":"BC-2026-0001","redeemed":false,"dateredeemed":"2026-03-02T08:59:00Z","used":60.00,"remaining":40.00}`
	body := `{"dateredeemed":"2026-03-02T08:59:00Z","remaining":"40","orderid":4711}`
	want(r.redeem("POST", bonusPath(hundred), body), 200, first)
	show(hundred, "40.00")
	want(r.redeem("PUT", bonusPath(hundred), body), 200, first)
	show(hundred, "40.00")
	if diff := cmp.Diff(map[string]any{
		"bonuscheckid": hundred, "name": "Bonuscheck 100 kr", "description": "Gäller hela sortimentet", "value": "100.00", "remaining": "40.00",
		"redeemed": false, "dateredeemed": "2026-03-02T08:59:00Z", "validfrom": "2026-01-01", "validto": "2099-12-31",
	}, r.inRule(hundred)); diff != "" {
		t.Errorf("in Rule (-want +got):\n%s", diff)
	}

	// Another till wants it all: it may have what is left, and then nothing.
	want(r.redeem("POST", bonusPath(hundred), `{"orderid":"4712"}`), 200,
		`{"bonuscheckid":"BC-2026-0001","redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z","used":40.00,"remaining":0.00}`)
	want(r.redeem("POST", bonusPath(hundred), `{"orderid":"4713"}`), 400,
		`{"error":"conflict","message":"Bonuschecken är redan använd, 2026-03-02 10:00.","code":"check_used_on","args":{"date":"2026-03-02 10:00","what":"bonuscheck"}}`)
	want(r.redeem("POST", bonusPath(hundred), ""), 400,
		`{"error":"conflict","message":"Bonuschecken är redan använd, 2026-03-02 10:00.","code":"check_used_on","args":{"date":"2026-03-02 10:00","what":"bonuscheck"}}`)
	want(r.redeem("POST", bonusPath(hundred), body), 200, first)
	show(hundred, "")

	// Taken back: the latest use, once however often it is asked for; and the one
	// by an order.
	for range 2 {
		want(r.redeem("DELETE", bonusPath(hundred), ""), 200,
			`{"bonuscheckid":"BC-2026-0001","redeemed":false,"dateredeemed":"2026-03-02T08:59:00Z","used":0.00,"remaining":40.00}`)
		show(hundred, "40.00")
	}
	for range 2 {
		want(r.redeem("DELETE", bonusPath(hundred)+"?orderid=4711", ""), 200,
			`{"bonuscheckid":"BC-2026-0001","redeemed":false,"dateredeemed":null,"used":0.00,"remaining":100.00}`)
		show(hundred, "100.00")
	}
	if got := r.inRule(hundred); got["remaining"] != "100.00" || got["redeemed"] != false || got["dateredeemed"] != nil {
		t.Errorf("in Rule: %v", got)
	}

	// The redeem call never comes; the order proves it. Then the order comes back.
	r.want(r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred))), 200)
	r.drain()
	show(hundred, "")
	r.want(r.call("POST", "/transactions", sale(5002, back(5001))), 200)
	r.drain()
	show(hundred, "100.00")
	r.want(r.call("POST", "/transactions", sale(5002, back(5001))), 200)
	r.drain()
	show(hundred, "100.00")

	// A promotion, once; and by its order.
	want(r.redeem("POST", promotionPath("P-7"), `{"orderid":4720}`), 200, `{"promotionid":"P-7","redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}`)
	show("P-7", "")
	want(r.redeem("POST", promotionPath("P-7"), `{"orderid":4721}`), 400, `{"error":"conflict","message":"Kampanjen är redan använd, 2026-03-02 10:00.","code":"check_used_on","args":{"date":"2026-03-02 10:00","what":"promotion"}}`)
	want(r.redeem("DELETE", promotionPath("P-7"), `{"orderid":4720}`), 200, `{"promotionid":"P-7","redeemed":false,"dateredeemed":null}`)
	show("P-7", "promotion")
	r.want(r.call("POST", "/transactions", sale(5003, discounted("crm-promotionid", "P-7"))), 200)
	r.drain()
	show("P-7", "")

	// What cannot be used says why.
	want(r.redeem("POST", bonusPath("BC-2025-0100"), ""), 400, `{"error":"conflict","message":"Bonuschecken har gått ut; den gällde till 2025-12-31.","code":"check_expired","args":{"date":"2025-12-31","what":"bonuscheck"}}`)
	want(r.redeem("POST", bonusPath("BC-2025-0099"), ""), 400, `{"error":"conflict","message":"Bonuschecken är redan använd, 2025-12-20 16:10.","code":"check_used_on","args":{"date":"2025-12-20 16:10","what":"bonuscheck"}}`)
	want(r.redeem("POST", bonusPath("nix"), ""), 404, `{"error":"not_found","message":"Kunden har ingen bonuscheck med det id:t.","code":"check_unknown"}`)
	want(r.redeem("POST", "/contacts/255930000/bonuschecks/x/redeem", ""), 404, `{"error":"not_found","message":"Det finns ingen kund med det id:t. Sök efter kunden igen.","code":"contact_unknown"}`)
	want(r.redeem("POST", "/contacts/abc/bonuschecks/x/redeem", ""), 400,
		`{"error":"invalid","message":"Kundens id är inget id; ett tal som 255934461 väntas.","member":"contactid","code":"contactid_wrong","args":{"field":"contactid"}}`)
	want(r.redeem("POST", bonusPath("BC-2026-0002"), `{"remaining":"60"}`), 400, `{"error":"invalid","message":"Kvar efter köpet är 60.00, men bara 50.00 finns kvar.","member":"remaining","code":"check_too_little","args":{"field":"remaining","left":"50.00","remaining":"60.00"}}`)
	want(r.redeem("POST", bonusPath("BC-2026-0002"), `{"remaining":50}`), 400,
		`{"error":"invalid","message":"Kvar efter köpet är 50.00, och så mycket finns redan: inget skulle användas.","member":"remaining","code":"check_nothing_used","args":{"field":"remaining","remaining":"50.00"}}`)
	want(r.redeem("DELETE", bonusPath("BC-2026-0002"), ""), 400,
		`{"error":"conflict","message":"Bonuschecken användes inte i den här butikens kassor, så det finns inget att ta tillbaka.","code":"check_not_here","args":{"what":"bonuscheck"}}`)
	show("BC-2026-0002", "50.00")

	// The messages that would have completed Rule's copy find nothing to do.
	before := len(r.rule.Requests())
	r.sweep()
	if n := len(r.rule.Requests()) - before; n != 0 {
		t.Errorf("%d requests to Rule by the messages, want none: %v", n, r.routes()[before:])
	}
	if n := len(r.bonusQueue().Messages()); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// Twenty tills at once: one gets the check, the others a sentence.
func TestTwentyTills(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func(i int) string{
		"with orders":    func(i int) string { return fmt.Sprintf(`{"orderid":%d}`, 6000+i) },
		"without":        func(int) string { return "" },
		"the same order": func(int) string { return `{"orderid":6000}` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("GET", "/lookup_contacts", nil), 200)
			answers := make([]answer, 20)
			var wg sync.WaitGroup
			for i := range answers {
				wg.Go(func() { answers[i] = r.redeem("POST", bonusPath(hundred), body(i)) })
			}
			wg.Wait()
			won := 0
			for _, a := range answers {
				switch a.Status {
				case 200:
					won++
				case 400:
					if !strings.Contains(a.Body, "check_used_on") {
						t.Errorf("answer %s", a.Body)
					}
				default:
					t.Errorf("status %d: %s", a.Status, a.Body)
				}
			}
			want := 1
			if name == "the same order" {
				want = 20
			}
			if won != want {
				t.Errorf("%d tills got the check, want %d", won, want)
			}
			r.sweep()
			if got := r.inRule(hundred); got["redeemed"] != true || got["remaining"] != "0.00" {
				t.Errorf("in Rule: %v", got)
			}
		})
	}
}

// The proof of an order and the till's call meet in either order, with and
// without the order's id: the check is used once.
func TestProofAndCall(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		for _, callFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("order named %v, call first %v", named, callFirst), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, options{seeded: true})
				when := r.clock.Now().Unix()
				steps := []func(){
					func() {
						body := `{"remaining":"0"}`
						if named {
							body = `{"remaining":"0","orderid":"5001"}`
						}
						a := r.redeem("POST", bonusPath(hundred), body)
						// Without the order's number there is no telling another till
						// from the one whose order has proved it.
						if status := 200; a.Status != status && (named || callFirst || a.Status != 400) {
							t.Errorf("%d %s", a.Status, a.Body)
						}
					},
					func() {
						r.want(r.call("POST", "/transactions", sale(5001, func(o map[string]any) {
							discounted("customcrm-bonuscheckid", hundred)(o)
							o["orderdate"] = when
						})), 200)
						r.drain()
					},
				}
				if !callFirst {
					slices.Reverse(steps)
				}
				for range 2 { // and all of it comes twice
					for _, step := range steps {
						if callFirst && !named {
							step()
							continue
						}
						step()
					}
					steps = steps[len(steps)-1:]
				}
				b, err := r.Bonus.Get(t.Context(), bonus.Key{Account: r.id, Subscriber: 255934464})
				if err != nil {
					t.Fatal(err)
				}
				if len(b.Entries) != 1 || len(b.Entries[0].Uses) != 1 {
					t.Fatalf("book: %+v", b.Entries)
				}
				if u := b.Entries[0].Uses[0]; u.Amount.StringFixed(2) != "100.00" || u.Order != "5001" || !u.Proved {
					t.Errorf("use: %+v", u)
				}
			})
		}
	}
}

// Returns give back what they take back: all, or the share of their rows.
func TestReturns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		returns []func(o map[string]any)
		left    string
	}{
		"whole":              {[]func(map[string]any){back(5001)}, "100.00"},
		"the row":            {[]func(map[string]any){back(5001, "0")}, "100.00"},
		"the other row":      {[]func(map[string]any){back(5001, "1")}, ""},
		"both, one by one":   {[]func(map[string]any){back(5001, "1"), back(5001, "0")}, "100.00"},
		"of another order":   {[]func(map[string]any){back(5000)}, ""},
		"an exchange's sale": {[]func(map[string]any){func(o map[string]any) { of(fyra)(o); o["creditorderid"] = 5001 }}, ""},
		"without a customer": {[]func(map[string]any){func(o map[string]any) {
			back(5001)(o)
			delete(o["additionaldata"].(map[string]any), "customcrm-contactid")
		}}, "100.00"},
		"by additional data": {[]func(map[string]any){func(o map[string]any) {
			back(5001)(o)
			o["creditorderid"] = nil
			o["additionaldata"].(map[string]any)["pos-originalsales-orderid"] = "5001"
		}}, "100.00"},
		"twice, by two tills": {[]func(map[string]any){back(5001, "0"), back(5001, "0")}, "100.00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred))), 200)
			r.drain()
			for i, change := range c.returns {
				r.want(r.call("POST", "/transactions", sale(int64(5100+i), change)), 200)
				r.drain()
			}
			if got := r.shown()[hundred]; got != c.left {
				t.Errorf("left %q, want %q", got, c.left)
			}
		})
	}
}

// A return overtakes the order that it credits: it waits for it.
func TestReturnFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	// Rule is down while the purchase comes.
	r.rule.BlockFor(key, 10*time.Minute)
	r.want(r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred))), 200)
	r.want(r.call("POST", "/transactions", sale(5002, back(5001))), 200)
	r.drain()
	for range 4 {
		r.later(11 * time.Minute)
	}
	if got := r.shown()[hundred]; got != "100.00" {
		t.Errorf("left %q, want 100.00", got)
	}
	for _, id := range []int64{5001, 5002} {
		if rec := r.ledger(id); rec.State != "sent" {
			t.Errorf("order %d is %s: %s", id, rec.State, rec.Reason)
		}
	}
}

// A return that comes while its order is on its way gives back what the order
// turns out to have used, whoever returns it, and no more than its rows' share.
func TestReturnMeanwhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		told bool
		ret  func(o map[string]any)
		left string
	}{
		"by somebody else": {false, func(o map[string]any) {
			back(5001)(o)
			o["additionaldata"].(map[string]any)["customcrm-contactid"] = "255934461"
		}, "100.00"},
		"of the other row, told of by the till": {true, back(5001, "1"), ""},
		"of the row, told of by the till":       {true, back(5001, "0"), "100.00"},
		"of itself":                             {false, back(5002), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("GET", "/lookup_contacts", nil), 200)
			if c.told {
				if a := r.redeem("POST", bonusPath(hundred), `{"orderid":5001}`); a.Status != 200 {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
			}
			// It is accepted, and its message is behind the return's.
			if err := r.Ledger.Queue(t.Context(), order.Key{Account: r.id, Order: 5001}, order.Stamp{}, r.clock.Now()); err != nil {
				t.Fatal(err)
			}
			r.want(r.call("POST", "/transactions", sale(5002, c.ret)), 200)
			r.drain()
			r.want(r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred))), 200)
			r.drain()
			r.later(2 * time.Minute)
			if got := r.shown()[hundred]; got != c.left {
				t.Errorf("left %q, want %q", got, c.left)
			}
			for _, id := range []int64{5001, 5002} {
				if rec := r.ledger(id); rec.State != "sent" {
					t.Errorf("order %d is %s: %s", id, rec.State, rec.Reason)
				}
			}
		})
	}
}

// The process is killed at every step of a redemption, of a restoration and of
// an order that proves one. Afterwards the check is used once or not at all, the
// card never shows it as more than it is, and Rule's copy follows.
func TestBonusKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	redeem := func(r *rig) answer {
		return r.redeem("POST", bonusPath(hundred), `{"orderid":"5001","remaining":"40"}`)
	}
	for name, c := range map[string]struct {
		before func(r *rig)
		do     func(r *rig) answer
		was    string // what the card shows before
		left   string // and after
	}{
		"redeem": {func(*rig) {}, redeem, "100.00", "40.00"},
		"restore": {func(r *rig) { r.want(redeem(r), 200) }, func(r *rig) answer {
			return r.redeem("DELETE", bonusPath(hundred), "")
		}, "40.00", "100.00"},
		"order": {func(*rig) {}, func(r *rig) answer {
			a := r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred)))
			r.drain()
			return a
		}, "100.00", ""},
		"return": {func(r *rig) {
			r.want(r.call("POST", "/transactions", sale(5001, discounted("customcrm-bonuscheckid", hundred))), 200)
			r.drain()
		}, func(r *rig) answer {
			a := r.call("POST", "/transactions", sale(5002, back(5001)))
			r.drain()
			return a
		}, "", "100.00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 0; ; at++ {
				k := &killer{at: -1}
				r := newMortalRig(t, k, options{seeded: true})
				c.before(r)
				k.mu.Lock()
				k.at, k.steps = at, nil
				k.mu.Unlock()
				a := c.do(r)
				step, dead := k.killed()
				k.restart()
				when := fmt.Sprintf("killed at step %d, %q", at, step)
				if shown := r.shown()[hundred]; shown != c.left && (shown != c.was || a.Status == http.StatusOK && name != "order" && name != "return") {
					t.Errorf("%s: the card shows %q", when, shown)
				}
				if !dead {
					if at < 8 {
						t.Fatalf("only %d steps: %v", at, k.steps)
					}
					return
				}
				if a.Status != http.StatusOK {
					if a.Status != http.StatusServiceUnavailable {
						t.Errorf("%s: the till got %d %s", when, a.Status, a.Body)
					}
					r.want(c.do(r), 200)
				}
				for range 3 {
					r.later(4 * time.Minute)
				}
				r.sweep()
				if shown := r.shown()[hundred]; shown != c.left {
					t.Errorf("%s: in the end the card shows %q, want %q", when, shown, c.left)
				}
				left := c.left
				if left == "" {
					left = "0.00"
				}
				if got := r.inRule(hundred); got["remaining"] != left || got["redeemed"] != (left == "0.00") {
					t.Errorf("%s: in Rule %v, want %s left", when, got, left)
				}
				for _, q := range []string{"OrdersDeadLetters", "BonusDeadLetters", "BonusQueue", "OrdersQueue"} {
					if q, ok := r.Broker.Queue(q); !ok || len(q.Messages()) != 0 {
						t.Errorf("%s: messages on %s", when, q.ID())
					}
				}
			}
		})
	}
}

// Rule fails at each request of a redemption, in every way: the check is used
// once, and Rule's copy follows.
func TestRuleFailsARedemption(t *testing.T) {
	t.Parallel()
	for name, fault := range badDays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n++ {
				r := newRig(t, options{seeded: true, Options: patience(time.Second)})
				r.want(r.call("GET", "/lookup_contacts", nil), 200)
				struck := failOnce(r, n, fault)
				a := r.redeem("POST", bonusPath(hundred), `{"orderid":"5001"}`)
				if !struck() {
					if n < 2 {
						t.Fatalf("only %d requests", n)
					}
					break
				}
				if a.Status != 200 && a.Status != 503 {
					t.Errorf("request %d: %d %s", n, a.Status, a.Body)
				}
				r.clock.Advance(11 * time.Minute)
				if a.Status != 200 {
					r.want(r.redeem("POST", bonusPath(hundred), `{"orderid":"5001"}`), 200)
				}
				for range 3 {
					r.sweep()
				}
				if got := r.inRule(hundred); got["redeemed"] != true {
					t.Errorf("request %d: in Rule %v", n, got)
				}
				if n := r.rule.RequestsDuringBlock(key); n != 0 {
					t.Errorf("%d requests during a block", n)
				}
			}
		})
	}
}
