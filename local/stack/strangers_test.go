package stack_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/account"
)

// with sends a request with another key than the shop's.
func (r *rig) with(token, method, path string, body any) answer {
	r.t.Helper()
	req := r.request(method, path, body)
	req.Header.Set("Authorization", "Bearer "+token)
	return r.send(req)
}

// refusals counts the requests that Rule answered 401.
func (r *rig) refusals() int {
	n := 0
	for _, q := range r.rule.Requests() {
		if q.Status == http.StatusUnauthorized {
			n++
		}
	}
	return n
}

// Anyone may send keys that no shop has. At most 60 a minute reach Rule, of all
// functions together; the others are 503 and cost Rule nothing; the shops that
// are there do not notice; and a new shop comes in with the next minute.
func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true, rule: fakerule.Options{Keys: []string{key, "new-shop"}}})
	r.want(r.call("GET", "/lookup_contacts?key=x", nil), 200)
	calls := []struct {
		method, path string
		body         any
	}{
		{"GET", "/contacts?key=kund.ett@example.com", nil}, {"GET", "/consents", nil}, {"POST", "/transactions", sale(1, nil)}, {"PUT", "/credentials", `{}`},
	}
	var mu sync.Mutex
	statuses := map[int]int{}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 50 {
				c := calls[(worker+i)%len(calls)]
				a := r.with(fmt.Sprintf("invented-%d-%d", worker, i), c.method, c.path, c.body)
				mu.Lock()
				statuses[a.Status]++
				mu.Unlock()
				if a.Status == 503 && (a.Header.Get("Retry-After") == "" || !strings.Contains(a.Body, "too_many_keys")) {
					t.Errorf("503 with Retry-After %q and %s", a.Header.Get("Retry-After"), a.Body)
				}
			}
		})
	}
	wg.Wait()
	if got := r.refusals(); got != account.MaxStrangers || statuses[401] != account.MaxStrangers || statuses[503] != 400-account.MaxStrangers {
		t.Errorf("Rule refused %d, answers %v; want %d at Rule, as many 401, and 503 for the rest of 400", got, statuses, account.MaxStrangers)
	}
	r.want(r.call("GET", "/contacts?key=kund.ett@example.com", nil), 200)
	r.want(r.with("new-shop", "GET", "/consents", nil), 503)
	r.clock.Advance(time.Minute)
	r.want(r.with("new-shop", "GET", "/consents", nil), 200)
}

// Thirty shops that begin at the same moment, each in several functions, come in.
func TestThirtyNewShopsAtOnce(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("shop-key-%d", i))
	}
	r := newRig(t, options{rule: fakerule.Options{Keys: keys}})
	var wg sync.WaitGroup
	for _, k := range keys {
		for _, path := range []string{"/consents", "/lookup_contacts?key=x"} {
			wg.Go(func() {
				if a := r.with(k, "GET", path, nil); a.Status != 200 {
					t.Errorf("%s of a new shop: %d %s", path, a.Status, a.Body)
				}
			})
		}
	}
	wg.Wait()
	for i := range account.MaxStrangers { // none of them counts
		r.want(r.with(fmt.Sprint("invented-", i), "GET", "/consents", nil), 401)
	}
	r.want(r.with("invented-last", "GET", "/consents", nil), 503)
}

// Once a process has seen the budget used up, an unknown key costs DynamoDB one
// read and nothing else, until the next minute.
func TestUnknownKeyCostsOneRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	for i := range account.MaxStrangers + 1 {
		r.with(fmt.Sprint("invented-", i), "GET", "/consents", nil)
	}
	var mu sync.Mutex
	var ops []string
	r.Accounts.Fail = func(op string) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasSuffix(strings.ToLower(op), "done") {
			ops = append(ops, op)
		}
		return nil
	}
	before := len(r.rule.Requests())
	r.want(r.with("invented-more", "GET", "/consents", nil), 503)
	mu.Lock()
	defer mu.Unlock()
	if len(ops) != 1 || ops[0] != "Key" || len(r.rule.Requests()) != before {
		t.Errorf("calls of the store %v and %d requests to Rule, want one read and none", ops, len(r.rule.Requests())-before)
	}
}

// What one shop's key shows and changes is that shop's: another shop's customers,
// purchases, bonus checks, imports and backfills are not there for it, by
// whatever id, and its own writes do not reach them.
func TestAnothersShopIsNotThere(t *testing.T) {
	t.Parallel()
	const other = "another-shop"
	r := newRig(t, options{seeded: true, rule: fakerule.Options{Keys: []string{key, other}}})
	r.want(r.call("GET", "/contacts/255934461?include_extended=true", nil), 200)
	imported := r.want(r.call("POST", "/bonuschecks", "mobile;bonuscheckid;name;value\n+46701740605;bc-strangers-1;Check;100\n"), 202).(map[string]any)
	r.drain()
	before := len(r.rule.Requests())
	if v := r.want(r.with(other, "GET", "/contacts?key=kund.ett@example.com", nil), 200).([]any); len(v) != 0 {
		t.Errorf("another shop finds %v", v)
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/contacts/255934461", ""},
		{"PUT", "/contacts/255934461", `{"namefirst":"Tagen"}`},
		{"POST", "/contacts/255934461/bonuschecks/bc-strangers-1/redeem", `{"orderid":1}`},
		{"DELETE", "/contacts/255934461/bonuschecks/bc-strangers-1/redeem?orderid=1", ""},
		{"GET", fmt.Sprint("/bonuschecks/imports/", imported["importid"]), ""},
		{"GET", "/backfills/abcdefghijklmnopqrstuvwxyz", ""},
		{"POST", "/backfills/abcdefghijklmnopqrstuvwxyz/cancel", ""},
	} {
		var body any
		if c.body != "" {
			body = c.body
		}
		if a := r.with(other, c.method, c.path, body); a.Status != 404 {
			t.Errorf("%s %s with another shop's key: %d %s, want 404", c.method, c.path, a.Status, a.Body)
		}
	}
	if a := r.with(other, "GET", "/contacts/255934461/transactions", nil); a.Status != 404 && strings.TrimSpace(a.Body) != "[]" {
		t.Errorf("purchases with another shop's key: %d %s", a.Status, a.Body)
	}
	if list := r.want(r.with(other, "GET", "/bonuschecks/imports", nil), 200).([]any); len(list) != 0 {
		t.Errorf("another shop's list of imports: %v", list)
	}
	mine := ""
	for _, q := range r.rule.Requests()[before:] {
		if mine == "" {
			mine = q.Account
		}
		if q.Account != mine {
			t.Errorf("%s reached the account %s with another shop's key", q.Route, q.Account)
		}
	}
	card := r.call("GET", "/contacts/255934461?include_extended=true", nil)
	if r.want(card, 200); strings.Contains(card.Body, "Tagen") || !strings.Contains(card.Body, "bc-strangers-1") {
		t.Errorf("the customer has changed: %s", card.Body)
	}
}
