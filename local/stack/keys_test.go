package stack_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/worker"
)

const newKey = "demo-key-of-monday"

// as sends a request with another token.
func (r *rig) as(token, method, path string, body any) answer {
	r.t.Helper()
	req := r.request(method, path, body)
	req.Header.Set("Authorization", "Bearer "+token)
	return r.send(req)
}

// addKey makes another key of the shop's account in Rule.
func (r *rig) addKey(k string) {
	r.t.Helper()
	if err := r.rule.AddKeyTo(fakerule.DefaultAccount, k); err != nil {
		r.t.Fatal(err)
	}
}

// entriesOf returns the order numbers of a customer's entries in Rule, in their
// order.
func (r *rig) entriesOf(sub int64) (list []string) {
	for _, e := range r.rule.Entries(key, sub, order.Group) {
		list = append(list, e.Value("orderid"))
	}
	return list
}

// The key is renewed on Friday night and pasted on Monday: the 600 sales in
// between are in Rule in the end, once, in order, and nobody has lent a hand.
func TestKeyRenewedFridayPastedMonday(t *testing.T) {
	t.Parallel()
	const sales, customers = 600, 20
	r := newRig(t, options{})
	var ids []string
	for n := range customers {
		ids = append(ids, r.want(r.call("POST", "/contacts", map[string]any{"email": fmt.Sprintf("kund.%d@example.com", n)}), 200).(string))
	}
	r.rule.RevokeKey(key)
	if a := r.call("GET", "/contacts?key=kund.0@example.com", nil); a.Status != http.StatusUnauthorized {
		t.Errorf("a find: %d %s, want 401", a.Status, a.Body)
	}
	for n := range sales {
		r.want(r.call("POST", "/transactions", sale(int64(1000+n), of(ids[n%customers]))), 200)
		r.clock.Advance(time.Second)
	}
	r.drain()
	r.clock.Advance(50 * time.Hour)
	if rec := r.ledger(1000); rec.State != order.Waiting || rec.Reason != order.Refused {
		t.Errorf("the ledger says %+v", rec)
	}
	if n := len(r.orders().Messages()); n > 1 {
		t.Errorf("%d messages circle, want the one that looks after all of them", n)
	}
	if n := len(r.entriesOf(255934501)); n != 0 {
		t.Errorf("%d entries before the key is renewed", n)
	}
	r.later(time.Hour) // nothing to go by yet
	if a := r.call("GET", "/keys", nil); a.Status != http.StatusUnauthorized {
		t.Errorf("the list of keys with the refused one: %d", a.Status)
	}

	// Monday.
	r.addKey(newKey)
	list := r.want(r.as(newKey, "GET", "/keys", nil), 200).([]any)
	if len(list) != 2 || list[0].(map[string]any)["waiting"] != float64(sales) || list[0].(map[string]any)["refusedsince"] == nil {
		t.Errorf("keys: %v", list)
	}
	r.later(10 * time.Minute)
	if rec := r.ledger(1000); rec.State != order.Waiting {
		t.Errorf("looking at the keys has released an order: %+v", rec)
	}
	r.want(r.as(newKey, "GET", "/contacts?key=kund.0@example.com", nil), 200)
	for range 5 {
		r.later(10 * time.Minute)
	}
	for n, id := range ids {
		var want []string
		for order := n; order < sales; order += customers {
			want = append(want, fmt.Sprint(1000+order))
		}
		var sub int64
		fmt.Sscan(id, &sub)
		if got := r.entriesOf(sub); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("customer %s has %d entries: %v, want %v", id, len(got), got, want)
		}
	}
	if n := len(r.orders().Messages()) + len(r.deadLetters().Messages()); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	if rec := r.ledger(1599); rec.State != order.Sent {
		t.Errorf("the ledger says %+v", rec)
	}
	// The old key delivers for a day more, and no longer.
	r.want(r.call("POST", "/transactions", sale(2000, of(ids[0]))), 200)
	r.clock.Advance(24 * time.Hour)
	r.want(r.call("POST", "/transactions", sale(2001, of(ids[0]))), http.StatusUnauthorized)
}

// Nobody renews the key: after two weeks the orders are dead letters.
func TestParkedForTooLong(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	r.rule.RevokeKey(key)
	r.want(r.call("GET", "/contacts?key=kund.ett@example.com", nil), http.StatusUnauthorized)
	r.want(r.call("POST", "/transactions", sale(1, of(id))), 200)
	r.later(14*24*time.Hour - time.Minute)
	if n := len(r.deadLetters().Messages()); n != 0 {
		t.Fatalf("%d dead letters too early", n)
	}
	r.later(time.Hour)
	dead := r.deadLetters().Messages()
	if len(dead) != 1 || dead[0].Attributes["reason"] == "" || !strings.Contains(dead[0].Body, `"orderid":1`) || r.ledger(1).State != order.Failed {
		t.Errorf("dead letters %+v, ledger %+v", dead, r.ledger(1))
	}
	if n := len(r.orders().Messages()); n != 0 {
		t.Errorf("%d messages look after nothing", n)
	}
	// Put back, with a key that Rule accepts, it is delivered.
	r.addKey(key)
	r.want(r.call("GET", "/contacts?key=kund.ett@example.com", nil), 200)
	if err := r.orders().Send(t.Context(), queueMessage(dead[0])); err != nil {
		t.Fatal(err)
	}
	r.drain()
	if rec := r.ledger(1); rec.State != order.Sent {
		t.Errorf("ledger %+v", rec)
	}
}

// A key that is revoked while its order is on the queue: the order is parked by
// the worker, and goes out when the key is accepted again. Dropped, it does not.
func TestKeyRevokedWhileAnOrderIsQueued(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{false, true} {
		r := newRig(t, options{})
		id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
		r.addKey(newKey)
		r.rule.RevokeKey(key)
		r.want(r.call("POST", "/transactions", sale(1, of(id))), 200)
		r.drain()
		if rec := r.ledger(1); rec.State != order.Waiting || rec.Reason != order.Refused {
			t.Fatalf("ledger %+v", rec)
		}
		r.clock.Advance(time.Minute)
		if drop {
			a := r.as(newKey, "DELETE", "/keys/"+account.ID(key), nil)
			r.want(a, 200)
		}
		r.want(r.as(newKey, "GET", "/contacts?key=kund.ett@example.com", nil), 200)
		r.later(2 * time.Minute)
		want := map[bool]order.State{false: order.Sent, true: order.Skipped}[drop]
		if rec := r.ledger(1); rec.State != want {
			t.Errorf("dropped %v: ledger %+v, want %s", drop, rec, want)
		}
		if drop {
			r.addKey(key) // whatever Rule says of it later
			r.want(r.call("POST", "/transactions", sale(2, of(id))), http.StatusUnauthorized)
			r.want(r.call("GET", "/contacts?key=kund.ett@example.com", nil), http.StatusUnauthorized)
		}
	}
}

// A revoked key does nothing for good: no import, no credentials, no backfill, no
// other key; and nothing else than to deliver.
func TestRevokedKeyDoesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.addKey(newKey)
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
	r.want(r.as(newKey, "GET", "/contacts?key=0701740605", nil), 200)
	r.rule.RevokeKey(key) // nobody here has noticed
	for path, c := range map[string]struct {
		method string
		body   any
	}{
		"/bonuschecks":                {"POST", "email;bonuscheckid;value\nkund.ett@example.com;stulen;99999"},
		"/credentials":                {"DELETE", nil},
		"/backfills/abc/cancel":       {"POST", nil},
		"/keys":                       {"GET", nil},
		"/keys/" + account.ID(newKey): {"DELETE", nil},
		"/contacts/255934461":         {"GET", nil},
		"/consents":                   {"GET", nil},
		"/contacts/255934461/bonuschecks/BC-2026-0001/redeem": {"POST", `{"orderid":1}`},
	} {
		if a := r.call(c.method, path, c.body); a.Status != http.StatusUnauthorized {
			t.Errorf("%s %s: %d %s, want 401", c.method, path, a.Status, a.Body)
		}
	}
	// What does not ask Rule by itself has heard of it by now.
	for _, path := range []string{"/lookup_contacts", "/backfills", "/bonuschecks/imports", "/contacts?key=19121212-1212"} {
		if a := r.call("GET", path, nil); a.Status != http.StatusUnauthorized {
			t.Errorf("GET %s: %d %s, want 401", path, a.Status, a.Body)
		}
	}
	r.drain()
	if got := r.want(r.as(newKey, "GET", "/bonuschecks/imports", nil), 200); len(got.([]any)) != 0 {
		t.Errorf("imports: %v", got)
	}
}

// A 401 anywhere ends a key everywhere, also for what would not ask Rule.
func TestRefusalIsShared(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.RevokeKey(key)
	r.want(r.call("GET", "/lookup_contacts", nil), 200) // Rule's word of just now
	r.want(r.call("GET", "/contacts/255934461", nil), 401)
	r.rule.ResetRequests()
	r.want(r.call("GET", "/lookup_contacts", nil), 401)
	if n := len(r.routes()); n != 0 {
		t.Errorf("Rule was asked %v", r.routes())
	}
}

// A till's find costs Rule what it did before keys had accounts, however long the
// key has not been seen: a hit two requests, the customer and her fields, and a
// miss one. Nothing is asked about the key, not for a new one of the account either
// once it is known.
func TestFindCostsNoRequestForItsKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.addKey(newKey)
	find := func(token, who string, want int) {
		t.Helper()
		r.rule.ResetRequests()
		if list := r.want(r.as(token, "GET", "/contacts?key="+who, nil), 200).([]any); len(list) != want-1 {
			t.Errorf("%s: %v", who, list)
		}
		if got := r.routes(); len(got) != want {
			t.Errorf("%s with %s: %v, want %d", who, token, got, want)
		}
	}
	for _, token := range []string{key, newKey} {
		r.want(r.as(token, "GET", "/contacts?key=0701740605", nil), 200)
		for _, wait := range []time.Duration{0, time.Minute, time.Hour, 15 * 24 * time.Hour} {
			r.clock.Advance(wait)
			find(token, "0701740605", 2)
			r.clock.Advance(wait)
			find(token, "ingen@example.com", 1)
		}
	}
}

// Two shops of a chain behind one account: their orders have the same numbers, and
// each comes to Rule.
func TestTwoLabelsOneNumber(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.ett@example.com"}), 200).(string)
	for _, token := range []string{key, key + "/fi", key + "/FI", key + "/se"} {
		r.want(r.as(token, "POST", "/transactions", sale(1, of(id))), 200)
	}
	r.drain()
	var sub int64
	fmt.Sscan(id, &sub)
	if got := r.entriesOf(sub); len(got) != 3 {
		t.Errorf("entries %v, want one for each label", got)
	}
	refs := map[string]int{}
	for _, e := range r.rule.Entries(key, sub, order.Group) {
		refs[e.Value("orderref")]++
	}
	if fmt.Sprint(refs) != "map[:1 fi/1:1 se/1:1]" {
		t.Errorf("orderref %v", refs)
	}
	for token, want := range map[string]string{key: "1 fi:1 se:1", key + "/fi": "1 :1 se:1"} {
		var shown []string
		for _, one := range r.want(r.as(token, "GET", "/contacts/"+id+"/transactions", nil), 200).([]any) {
			shown = append(shown, one.(map[string]any)["transactionid"].(string))
		}
		slices.Sort(shown)
		expected := strings.Fields(want)
		slices.Sort(expected)
		if !slices.Equal(shown, expected) {
			t.Errorf("the card of %s shows %v, want %v", token, shown, expected)
		}
	}
	// A return under one label credits that label's order, and the same order again
	// is not written twice.
	r.want(r.as(key+"/fi", "POST", "/transactions", sale(1, of(id))), 200)
	r.drain()
	if got := r.entriesOf(sub); len(got) != 3 {
		t.Errorf("entries %v after the same order again", got)
	}
}

func queueMessage(m queue.Message) (out worker.Message) {
	out.Body, out.Group = m.Body, m.Group
	return out
}

// While a refused key still delivers, the set-up check says so.
func TestSetupCheckTellsOfARefusedKeyThatDelivers(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.addKey(newKey)
	check := func() string {
		t.Helper()
		return fmt.Sprint(r.want(r.as(newKey, "GET", "/setup", nil), 200))
	}
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
	if got := check(); strings.Contains(got, "still sends") {
		t.Errorf("nothing is refused: %s", got)
	}
	r.rule.RevokeKey(key)
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 401)
	r.clock.Advance(time.Minute)
	r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 200)
	if got := check(); !strings.Contains(got, "still sends orders with it") || !strings.Contains(got, account.ID(key)) {
		t.Errorf("the check says %s", got)
	}
}
