package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sitoo"
)

// strangersKey is one of another account in Rule, strangersAccount that account's number.
const strangersKey, strangersAccount = "a-strangers-key", "43"

// The two environments of Sitoo that everybody may name.
const production, sandbox = "api.mysitoo.com", "api-sandbox.mysitoo.com"

// environments are Sitoo's hosts, each with a shop of the same number behind it.
type environments map[string]*fakesitoo.Server

// RoundTrip asks the host that is named, and no other.
func (e environments) RoundTrip(req *http.Request) (*http.Response, error) {
	shop, ok := e[req.URL.Host]
	if !ok {
		return nil, fmt.Errorf("%s is not there", req.URL.Host)
	}
	return shop.Client().Transport.RoundTrip(req)
}

// options give a shop's functions these environments in place of Sitoo's own.
func (e environments) options() options {
	return options{
		rule: fakerule.Options{Keys: []string{key, strangersKey}},
		Options: stack.Options{Change: func(_ string, p *app.Parts) {
			if p.Sitoo != nil {
				p.Sitoo = sitoo.NewREST(sitoo.RESTConfig{HTTP: &http.Client{Transport: e}, Now: p.Now, Pause: -1})
			}
		}},
	}
}

func credentialsAt(host string) map[string]any {
	return map[string]any{
		"baseurl": fmt.Sprintf("https://%s/v2/accounts/%d", host, fakesitoo.DefaultAccountID), "site": 1,
		"apiid": fakesitoo.DefaultAPIID, "password": fakesitoo.DefaultPassword,
	}
}

// addOld puts finished orders of a customer into a shop, and returns their numbers.
func addOld(t *testing.T, shop *fakesitoo.Server, first int64, n int, email string) (numbers []string) {
	t.Helper()
	for i := range int64(n) {
		b, err := json.Marshal(sale(first+i, receipt(fmt.Sprint("SII", first+i), 1727433600+60*i, func(o map[string]any) {
			o["email"], o["registerid"] = email, "150000"
		})))
		if err != nil {
			t.Fatal(err)
		}
		if err := shop.Add(b); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, fmt.Sprint(first+i))
	}
	return numbers
}

// written returns how many entries of orders an account in Rule has.
func (r *rig) written(token string) (n int) {
	for _, sub := range r.rule.Subscribers(token) {
		n += len(r.rule.Entries(token, sub.ID, order.Group))
	}
	return n
}

const wholeYear = `{"account":%q,"from":"2024-01-01","to":"2024-12-31"}`

// A stranger, an integrator for one, has the credentials of a shop that is another
// account's. It is 409 for him, nothing moves, and the shop's orders, those of its
// tills and the old ones, go on into the account that they are of.
func TestStrangerWithTheShopsCredentials(t *testing.T) {
	t.Parallel()
	shop := fakesitoo.New(fakesitoo.Options{})
	playStranger(t, newRig(t, environments{production: shop}.options()), shop)
}

func playStranger(t *testing.T, r *rig, shop *fakesitoo.Server) {
	t.Helper()
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.gammal@example.com"}), 200).(string)
	r.want(r.as(strangersKey, "POST", "/contacts", map[string]any{"email": "kund.gammal@example.com"}), 200)
	addOld(t, shop, 3001, 5, "kund.gammal@example.com")
	r.want(r.call("PUT", "/credentials", credentialsAt(production)), 200)
	r.want(r.call("POST", "/transactions", sale(1, of(id))), 200)
	r.delivered(1)
	before := r.call("GET", "/credentials", nil).Body

	for range 2 { // asking again does not help
		a := r.as(strangersKey, "PUT", "/credentials", credentialsAt(production))
		if r.want(a, http.StatusConflict); !strings.Contains(a.Body, `"conflict"`) || strings.Contains(a.Body, r.id) {
			t.Errorf("the stranger is told %s", a.Body)
		}
	}
	if n := strings.Count(r.logs.String(), `"msg":"a shop was entered that is another account's"`); n != 2 {
		t.Errorf("%d warnings, want one each time", n)
	}
	if got := r.call("GET", "/credentials", nil).Body; got != before {
		t.Errorf("the shop's credentials were %s and are %s", before, got)
	}
	if m := r.want(r.as(strangersKey, "GET", "/credentials", nil), 200).(map[string]any); m["entered"] != false {
		t.Errorf("the stranger has %v", m)
	}
	r.want(r.as(strangersKey, "DELETE", "/credentials", nil), 200) // his own, of which there are none
	// The shop sells on, and its old orders come over, by Sitoo's number, too.
	r.want(r.call("POST", "/transactions", sale(2, of(id))), 200)
	r.delivered(2)
	if st := r.backfill(key, r.id, `{"sitooaccount":"90001","from":"2024-01-01","to":"2024-12-31"}`); st.State != history.Done || st.Written != 5 {
		t.Errorf("the backfill: %+v", st)
	}
	if mine, his := r.written(key), r.written(strangersKey); mine != 7 || his != 0 {
		t.Errorf("%d entries with the shop, want 7; %d with the stranger, want none", mine, his)
	}
	// A backfill of his account reads nothing, and no job of the shop's is his.
	r.post(fmt.Sprintf(wholeYear, strangersAccount))
	if reason := r.refusedBackfill(); !strings.Contains(reason, "credentials") {
		t.Errorf("his message: %s", reason)
	}
	if list := r.want(r.as(strangersKey, "GET", "/backfills", nil), 200).([]any); len(list) != 0 {
		t.Errorf("the stranger's backfills: %v", list)
	}
	if n := r.written(strangersKey); n != 0 {
		t.Errorf("%d entries with the stranger", n)
	}
}

// Sitoo's sandbox has a shop of the same number: it is another shop. Neither takes
// the other over, each account's old orders are its own shop's, and a backfill that
// names the number alone is told which two there are.
func TestSandboxIsAnotherShop(t *testing.T) {
	t.Parallel()
	for _, first := range []string{production, sandbox} {
		t.Run(first+" first", func(t *testing.T) {
			t.Parallel()
			shops := environments{production: fakesitoo.New(fakesitoo.Options{}), sandbox: fakesitoo.New(fakesitoo.Options{})}
			playSandbox(t, newRig(t, shops.options()), shops, first)
		})
	}
}

// playSandbox is a day on which the shop is entered in the environment that is
// named, and the stranger's in the other one.
func playSandbox(t *testing.T, r *rig, shops environments, first string) {
	t.Helper()
	mine, his := production, sandbox
	if first == sandbox {
		mine, his = sandbox, production
	}
	for token, host := range map[string]string{key: mine, strangersKey: his} {
		r.want(r.as(token, "POST", "/contacts", map[string]any{"email": "kund.gammal@example.com"}), 200)
		addOld(t, shops[host], 3001, map[string]int{key: 3, strangersKey: 5}[token], "kund.gammal@example.com")
	}
	for range 2 {
		r.want(r.call("PUT", "/credentials", credentialsAt(mine)), 200)
		r.want(r.as(strangersKey, "PUT", "/credentials", credentialsAt(his)), 200)
	}
	// Each other's, they are refused.
	r.want(r.call("PUT", "/credentials", credentialsAt(his)), http.StatusConflict)
	r.want(r.as(strangersKey, "PUT", "/credentials", credentialsAt(mine)), http.StatusConflict)
	for token, host := range map[string]string{key: mine, strangersKey: his} {
		if m := r.want(r.as(token, "GET", "/credentials", nil), 200).(map[string]any); m["baseurl"] != credentialsAt(host)["baseurl"] {
			t.Errorf("%s has %v, want the one at %s", token, m, host)
		}
	}
	r.post(`{"sitooaccount":"90001","from":"2024-01-01","to":"2024-12-31"}`)
	if reason := r.refusedBackfill(); !strings.Contains(reason, "at "+mine+" is account 42") || !strings.Contains(reason, "at "+his+" is account 43") {
		t.Errorf("the message that names the number alone: %s", reason)
	}
	r.backfill(key, r.id, fmt.Sprintf(wholeYear, r.id))
	r.backfill(strangersKey, strangersAccount, fmt.Sprintf(wholeYear, strangersAccount))
	if a, b := r.written(key), r.written(strangersKey); a != 3 || b != 5 {
		t.Errorf("%d and %d entries, want 3 and 5", a, b)
	}
}

// A trial key enters the credentials, sells, redeems and brings 26 old orders over.
// Then the live key of the same account in Rule comes: it finds the same
// credentials, books, imports and jobs, and writes nothing twice, whether the till
// sends an order again or support asks for the old ones in whatever way. That the
// trial key ends then changes nothing.
func TestLiveKeyAfterTheTrialKey(t *testing.T) {
	t.Parallel()
	shop := fakesitoo.New(fakesitoo.Options{})
	playLiveKey(t, newRig(t, environments{production: shop}.options()), shop)
}

func playLiveKey(t *testing.T, r *rig, shop *fakesitoo.Server) {
	t.Helper()
	const live = "the-live-key"
	r.want(r.call("PUT", "/credentials", credentialsAt(production)), 200)
	id := r.want(r.call("POST", "/contacts", map[string]any{"email": "kund.gammal@example.com"}), 200).(string)
	imported := r.accepted(r.upload([]byte("email;bonuscheckid;value\nkund.gammal@example.com;bc-trial;100\n")))
	r.until("the import is done", func() bool { return r.status(imported).State == bonus.Done })
	use := "/contacts/" + id + "/bonuschecks/bc-trial/redeem"
	r.want(r.call("POST", use, `{"orderid":1}`), 200)
	numbers := addOld(t, shop, 3001, 26, "kund.gammal@example.com")
	for n := range int64(3) {
		r.want(r.call("POST", "/transactions", sale(1+n, of(id))), 200)
	}
	r.delivered(1, 2, 3)
	first := r.backfill(key, r.id, fmt.Sprintf(wholeYear, r.id))
	if first.State != history.Done || first.Written != 26 || r.written(key) != 29 {
		t.Fatalf("%d entries after the trial; the backfill: %+v", r.written(key), first)
	}
	before := r.call("GET", "/credentials", nil).Body

	r.addKey(live)
	for _, after := range []string{"beside the trial key", "after it"} {
		if after == "after it" {
			r.rule.RevokeKey(key)
			r.want(r.call("GET", "/contacts/"+id, nil), http.StatusUnauthorized)
		}
		// The same credentials, books, imports and jobs.
		if a := r.as(live, "GET", "/credentials", nil); a.Status != 200 || withoutUse(t, a.Body) != withoutUse(t, before) {
			t.Errorf("%s: credentials %d %s, want %s", after, a.Status, a.Body, before)
		}
		if a := r.as(live, "POST", use, `{"orderid":99}`); a.Status != 400 || !strings.Contains(a.Body, "check_used_on") {
			t.Errorf("%s: the used check: %d %s", after, a.Status, a.Body)
		}
		r.want(r.as(live, "POST", use, `{"orderid":1}`), 200) // the same use, told again
		if a := r.as(live, "GET", "/bonuschecks/imports", nil); !strings.Contains(a.Body, imported) {
			t.Errorf("%s: imports %s", after, a.Body)
		}
		if st, ok := r.job(live, first.ID); !ok || st.Written != first.Written {
			t.Errorf("%s: the job is %+v", after, st)
		}
		// The same orders, once more, in every way.
		for n := range int64(3) {
			r.want(r.as(live, "POST", "/transactions", sale(1+n, of(id))), 200)
		}
		r.want(r.as(live, "PUT", "/credentials", credentialsAt(production)), 200)
		if st := r.backfill(live, r.id, fmt.Sprintf(wholeYear, r.id)); st.State != history.Done || st.ID != first.ID || st.Written != 26 {
			t.Errorf("%s: the same job once more: %+v", after, st)
		}
		for _, body := range []string{
			`{"sitooaccount":"90001","from":"2024-09-01","to":"2024-10-31"}`,
			fmt.Sprintf(`{"account":%q,"from":"2024-09-01","to":"2024-10-31","customers":"create"}`, r.id),
			fmt.Sprintf(`{"account":%q,"orders":[%s]}`, r.id, strings.Join(numbers, ",")),
		} {
			if st := r.backfill(live, r.id, body); st.State != history.Done || st.Written != 0 || st.Already != 26 {
				t.Errorf("%s: %s: %+v", after, body, st)
			}
		}
		r.atRest()
		if n := r.written(live); n != 29 {
			t.Errorf("%s: %d entries, want 29", after, n)
		}
	}
}

// A shop sees and drops its own keys and no others, and sees of each its last four
// characters. One that is in use is dropped on confirmation only, and none itself.
func TestKeysAreTheirAccounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{rule: fakerule.Options{Keys: []string{key, strangersKey}}})
	r.addKey(newKey)
	for _, token := range []string{key, newKey, strangersKey} {
		r.want(r.as(token, "GET", "/lookup_contacts", nil), 200)
	}
	ids := func(token string) (list []any) {
		a := r.as(token, "GET", "/keys", nil)
		for _, row := range r.want(a, 200).([]any) {
			list = append(list, row.(map[string]any)["keyid"])
		}
		for _, secret := range []string{key, newKey, strangersKey} {
			if strings.Contains(a.Body, secret) {
				t.Errorf("the list shows a key: %s", a.Body)
			}
		}
		return list
	}
	if mine, his := ids(key), ids(strangersKey); len(mine) != 2 || len(his) != 1 || his[0] != account.ID(strangersKey) {
		t.Errorf("the shop's keys %v, the stranger's %v", mine, his)
	}
	drop := func(token, which string, confirm bool, status int) {
		t.Helper()
		req := r.request("DELETE", "/keys/"+account.ID(which), nil)
		req.Header.Set("Authorization", "Bearer "+token)
		if confirm {
			req.Header.Set("X-Confirm", "drop")
		}
		if a := r.send(req); a.Status != status {
			t.Errorf("DELETE, confirmed %v: %d %s, want %d", confirm, a.Status, a.Body, status)
		}
	}
	drop(strangersKey, key, true, 404)
	drop(key, strangersKey, true, 404)
	drop(newKey, newKey, true, 400)
	drop(newKey, key, false, 400)
	r.want(r.call("GET", "/lookup_contacts", nil), 200) // nothing has happened to it
	drop(newKey, key, true, 200)
	r.want(r.call("GET", "/lookup_contacts", nil), http.StatusUnauthorized)
	if got := ids(newKey); len(got) != 1 || got[0] != account.ID(newKey) {
		t.Errorf("keys %v", got)
	}
}

// withoutUse is what the API says of credentials, but for when they were used.
func withoutUse(t *testing.T, body string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	for member := range m {
		if member != "baseurl" && member != "site" && member != "accountid" && member != "account" && member != "entered" {
			delete(m, member)
		}
	}
	return fmt.Sprint(m)
}

// Two keys of one account share the books: of twenty tills, ten with each, one
// uses a check, round for round.
func TestTwoKeysOneCheck(t *testing.T) {
	t.Parallel()
	playTwoKeys(t, newRig(t, options{seeded: true}))
}

func playTwoKeys(t *testing.T, r *rig) {
	t.Helper()
	r.addKey(newKey)
	for _, token := range []string{key, newKey} {
		r.want(r.as(token, "GET", "/lookup_contacts", nil), 200)
	}
	for _, check := range []string{hundred, "BC-2026-0002"} {
		answers := make([]answer, 20)
		var wg sync.WaitGroup
		for i := range answers {
			req := r.request("POST", bonusPath(check), fmt.Sprintf(`{"orderid":%d}`, 6000+i))
			req.Header.Set("Authorization", "Bearer "+[]string{key, newKey}[i%2])
			wg.Go(func() { answers[i] = r.send(req) })
		}
		wg.Wait()
		won := 0
		for _, a := range answers {
			switch {
			case a.Status == 200:
				won++
			case a.Status != 400 || !strings.Contains(a.Body, "check_used_on"):
				t.Errorf("%s: %d %s", check, a.Status, a.Body)
			}
		}
		if won != 1 {
			t.Errorf("%d tills got the check %s, want 1", won, check)
		}
	}
}
