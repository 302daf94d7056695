package fakerule_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
)

// see asks for one of the pages that are for people.
func (r *rig) see(method, target string) answer {
	return r.send(httptest.NewRequest(method, target, nil))
}

func seeded(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, fakerule.Options{})
	if err := r.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSeed(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	got := map[string]string{}
	for _, s := range r.Subscribers(key) {
		name, _ := s.Field("Sitoo-Contact.namelast")
		got[name.Value] = s.Email + " " + s.Phone
	}
	equal(t, "people", got, map[string]string{
		"Ett": "kund.ett@example.com +46701740605", "Två": " +46701740606",
		"Tre": "kund.tre@example.com ", "Fyra": "kund.fyra@example.com +46701740608",
		"": "kund.webb@example.com +46701740604", // never at a till
	})
	ett, _ := r.Subscriber(key, 255934461)
	for name, want := range map[string]fakerule.Field{
		"Sitoo-Contact.birthday": {Name: "birthday", Type: "date", Value: "1986-05-15"},
		"Sitoo-Order.orderdate":  {Name: "orderdate", Type: "datetime", Value: "2026-02-21 11:40:55"},
		"Sitoo-Order.names":      {Name: "names", Type: "multiple", Value: `["Mössa"]`},
	} {
		f, ok := ett.Field(name)
		if !ok || f != want {
			t.Errorf("%s: got %+v, want %+v", name, f, want)
		}
	}
	// What WooCommerce leaves: an order for each of its states, the last of them
	// without a date, and a cart without a number.
	web := r.Entries(key, 255934465, "Order")
	var numbers, dates []string
	for _, e := range web {
		numbers, dates = append(numbers, e.Value("Number")), append(dates, e.Value("Date"))
	}
	equal(t, "a web shop's numbers", numbers, []string{"", "5001", "5001", "5001"})
	equal(t, "dates", dates, []string{"", "2026-02-10 21:04:58", "2026-02-10 21:04:58", ""})
	equal(t, "payment", web[1].Value("PaymentMethod"), `["klarna_payments"]`)
	equal(t, "orders", orders(r, 255934461), []string{"10001", "10007"})
	equal(t, "no automation fired", len(r.Automations(key)), 0)
	if id := r.upsert(`{"subscribers":{"email":"ny@example.com"}}`); id != 255934501 {
		t.Errorf("the next id: got %d", id)
	}
}

func TestLoadRefusesMistakes(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"not JSON":         `{`,
		"two documents":    `{} {}`,
		"unknown member":   `{"accounts":[{"subscribers":[{"mail":"a@example.com"}]}]}`,
		"no identifier":    `{"accounts":[{"subscribers":[{"id":1}]}]}`,
		"bad email":        `{"accounts":[{"subscribers":[{"email":"a"}]}]}`,
		"bad phone":        `{"accounts":[{"subscribers":[{"phone_number":"1"}]}]}`,
		"bad status":       `{"accounts":[{"subscribers":[{"email":"a@example.com","status":"on"}]}]}`,
		"bad language":     `{"accounts":[{"subscribers":[{"email":"a@example.com","language":"swe"}]}]}`,
		"tag of digits":    `{"accounts":[{"subscribers":[{"email":"a@example.com","tags":["1"]}]}]}`,
		"bad suppression":  `{"accounts":[{"subscribers":[{"email":"a@example.com","suppressions":[{"message_type":"fax"}]}]}]}`,
		"bad type":         `{"accounts":[{"schema":[{"group":"A","fields":{"b":"number"}}]}]}`,
		"other type":       `{"accounts":[{"schema":[{"group":"Sitoo-Contact","fields":{"birthday":"text"}}]}]}`,
		"bad group":        `{"accounts":[{"schema":[{"group":"A.b"}]}]}`,
		"bad value":        `{"accounts":[{"subscribers":[{"email":"a@example.com","entries":[{"group":"Sitoo-Contact","values":{"birthday":"x"}}]}]}]}`,
		"bad field":        `{"accounts":[{"subscribers":[{"email":"a@example.com","entries":[{"group":"A","values":{"b.c":"x"}}]}]}]}`,
		"email is taken":   `{"accounts":[{"subscribers":[{"email":"ny@example.com"},{"email":"Kund.Ett@example.com"}]}]}`,
		"email twice":      `{"accounts":[{"subscribers":[{"email":"ny@example.com"},{"email":"ny@example.com"}]}]}`,
		"id is taken":      `{"accounts":[{"subscribers":[{"id":255934461,"email":"ny@example.com"}]}]}`,
		"key twice":        `{"accounts":[{},{"key":"demo-key"}]}`,
		"second is broken": `{"accounts":[{"subscribers":[{"email":"ny@example.com"}]},{"key":"k2","subscribers":[{}]}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := seeded(t)
			if err := r.Load(strings.NewReader(file)); err == nil {
				t.Error("got no error")
			}
			equal(t, "nothing changed", len(r.Subscribers(key)), 5)
			equal(t, "no new account", r.AccountID("k2"), "")
		})
	}
}

func TestLoadAddsAccounts(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	err := r.Load(strings.NewReader(`{"accounts":[{"key":"second-key","subscribers":[{"custom_identifier":"c-1","status":"BLOCKED"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "subscribers", len(r.Subscribers("second-key")), 1)
	equal(t, "status", r.Subscribers("second-key")[0].Status, "BLOCKED")
}

func TestResetIsBackAtWhatWasLoaded(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	r.AddKey("second-key")
	r.upsert(`{"tags":["New"],"subscribers":{"email":"ny@example.com"}}`)
	r.BlockFor(key, time.Hour)
	got := r.see("POST", "/_reset")
	equal(t, "status", got.status, 303)
	equal(t, "subscribers", len(r.Subscribers(key)), 5)
	equal(t, "automations", len(r.Automations(key)), 0)
	equal(t, "requests", len(r.Requests()), 0)
	r.must("GET", "/v2/tags", "") // not blocked any more
	equal(t, "the second key stays", r.AccountID("second-key"), "43")

	foreign := httptest.NewRequest("POST", "/_reset", nil)
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	equal(t, "from somebody else's page", r.send(foreign).status, 403)
}

func TestPageShowsWhatAPersonSees(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["OrderCompleted"],"subscribers":{"email":"kund.ett@example.com"}}`)
	r.do("GET", "/v2/subscribers/nobody@example.com", "")
	got := r.see("GET", "/")
	equal(t, "status", got.status, 200)
	equal(t, "content type", got.header.Get("Content-Type"), "text/html; charset=utf-8")
	for _, want := range []string{
		"kund.ett@example.com · &#43;46701740605", "RefundCompleted", "no campaign text_message (by user)",
		"Sitoo-Contact", "birthday <i>(date)</i>", "1986-05-15", "historical, 2 entries, newest first", `<span class="pill">OrderCompleted</span> <a href="/?account=42&amp;q=255934461">`,
		`<td data-head="name">Stickad tröja</td>`, `<td data-head="bonuscheckid">BC-2026-0001</td>`, "<dd>Stickad tröja, Strumpor</dd>", "2 / 2000", "<b>50 %</b>", "Kund Ett · kund.ett@example.com",
		"account 42 (Exempelbutiken 42 AB)", "<b>de…ey</b>", "/v2/subscribers/nobody@example.com", "had the tag, mode reset",
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("there is no %q on the page", want)
		}
	}
	if strings.Index(got.body, "orderid 10007") > strings.Index(got.body, "orderid 10001") {
		t.Error("the older order stands before the newer one")
	}
	if strings.Index(got.body, `id="automations"`) > strings.Index(got.body, `id="subscribers"`) {
		t.Error("the automations do not stand on top")
	}
	// It is kept up to date by a script of its own, from this host alone.
	if strings.Contains(got.body, "http-equiv") || !strings.Contains(got.header.Get("Content-Security-Policy"), "script-src 'self'") {
		t.Error("the page loads itself anew, or takes scripts from elsewhere")
	}
	script := r.see("GET", "/_page.js")
	equal(t, "script", script.header.Get("Content-Type"), "text/javascript; charset=utf-8")
	if strings.Contains(script.body, "innerHTML") {
		t.Error("the script makes HTML of text")
	}
	r.BlockFor(key, time.Minute)
	if !strings.Contains(r.see("GET", "/").body, "until 2026-05-14 14:13:16") {
		t.Error("the page does not show the block")
	}
	equal(t, "no such page", r.see("GET", "/favicon.ico").status, 404)
}

// After a redemption the page shows what is left, among the check's other
// members, whatever they are.
func TestPageShowsWhatIsLeftOfABonusCheck(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	const cells = "<td>BC-2026-0001</td><td>Bonuscheck 100 kr</td><td>Gäller hela sortimentet</td><td>100.00</td>"
	for _, want := range []string{
		"<th>bonuscheckid</th><th>name</th><th>description</th><th>value</th><th>remaining</th><th>redeemed</th><th>dateredeemed</th><th>validfrom</th><th>validto</th></tr>",
		cells + "<td>100.00</td><td>false</td><td></td><td>2026-01-01</td><td>2099-12-31</td></tr>",
		"<td>P-7</td><td>Tre för två</td><td>Gäller strumpor</td><td>false</td><td></td><td>2026-01-01</td><td>2099-12-31</td></tr>",
	} {
		if !strings.Contains(plainCells(r.see("GET", "/").body), want) {
			t.Errorf("before the redemption there is no %q on the page", want)
		}
	}
	fyra, _ := r.Subscriber(key, 255934464)
	checks, _ := fyra.Field("Sitoo-Contact.bonuschecks")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(checks.Value)); err != nil {
		t.Fatal(err)
	}
	left := strings.Replace(compact.String(), `"remaining":"100.00","redeemed":false,"dateredeemed":null`, `"remaining":"40.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z","till":{"id":7}`, 1)
	encoded, err := json.Marshal(left)
	if err != nil {
		t.Fatal(err)
	}
	r.must("PUT", "/v2/subscribers/255934464", `{"fields":[{"key":"Sitoo-Contact.bonuschecks","type":"json","value":`+string(encoded)+`}]}`)
	page := plainCells(r.see("GET", "/").body)
	for _, want := range []string{
		"<th>dateredeemed</th><th>till</th><th>validfrom</th>",
		cells + "<td>40.00</td><td>false</td><td>2026-03-02T09:00:00Z</td><td>{&#34;id&#34;:7}</td><td>2026-01-01</td><td>2099-12-31</td></tr>",
		"<td>50.00</td><td>50.00</td><td>false</td><td></td><td></td><td>2026-01-01</td>", // the other has no such member
	} {
		if !strings.Contains(page, want) {
			t.Errorf("after the redemption there is no %q on the page", want)
		}
	}
}

// plainCells leaves out what a narrow screen shows above each cell.
func plainCells(page string) string {
	return regexp.MustCompile(`<td data-head="[^"]*">`).ReplaceAllString(page, "<td>")
}

func TestOneCustomerIsFoundOnThePage(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["A"],"subscribers":{"email":"kund.ett@example.com"}}`)
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["B"],"subscribers":{"email":"kund.fyra@example.com"}}`)
	one := regexp.MustCompile(`data-key="subscriber (\d+)"`)
	for q, want := range map[string][]string{
		"070-174 06 05": {"255934461"}, "0046701740605": {"255934461"}, "KUND.ETT@example.com": {"255934461"}, "255934461": {"255934461"},
		"kund fyra": {"255934464"}, "10007": {"255934461"}, "uppsala webb": {"255934465"}, "nobody": nil,
		"": {"255934461", "255934462", "255934463", "255934464", "255934465"},
	} {
		body := r.see("GET", "/?account=42&q="+url.QueryEscape(q)).body
		var ids []string
		fired := 0
		for _, m := range one.FindAllStringSubmatch(body, -1) {
			ids = append(ids, m[1])
			if m[1] == "255934461" || m[1] == "255934464" {
				fired++
			}
		}
		slices.Sort(ids)
		equal(t, q, ids, want)
		equal(t, q+": automations of those who are found", strings.Count(body, `data-key="automation`), fired)
	}
}

func TestPageEscapesAndHidesKeys(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert('x')</script>`
	r := newRig(t, fakerule.Options{Keys: []string{"a-long-api-key", "short"}})
	req := request("POST", "/v2/subscribers", `{"tags":["`+evil+`"],"subscribers":{"email":"a@example.com","fields":[
		{"key":"`+strings.ReplaceAll(evil, ".", "")+`.x","value":"`+evil+`"},
		{"key":"G.j","type":"json","value":"[{\"`+evil+`\":\"`+evil+`\"}]"}]}}`)
	req.Header.Set("Authorization", "Bearer a-long-api-key")
	if got := r.send(req); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	for _, target := range []string{"/", "/?account=43", "/?account=%3Cscript%3E&page=-1", "/_state"} {
		got := r.see("GET", target)
		equal(t, "status of "+target, got.status, 200)
		for _, secret := range []string{"a-long-api-key", "short"} {
			if strings.Contains(got.body, secret) {
				t.Errorf("%s holds the key %s", target, secret)
			}
		}
		if got.header.Get("Content-Type") != "application/json" && strings.Contains(got.body, "<script>") {
			t.Errorf("%s is not escaped", target)
		}
	}
	if !strings.Contains(r.see("GET", "/").body, "&lt;script&gt;") {
		t.Error("the value is not on the page")
	}
}

func TestPageStaysShort(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{AsyncDelay: -1})
	r.must("POST", "/v2/subscribers", `{"subscribers":`+people(120)+`}`)
	for target, want := range map[string]int{"/": 50, "/?page=3": 20, "/?page=4": 0} {
		got := r.see("GET", target)
		equal(t, target, strings.Count(got.body, `<section class="card"`), want)
	}
	id := r.Subscribers(key)[0].ID
	r.DefineHistorical(key, "Sitoo-Order", true)
	for range 25 {
		r.must("PUT", "/v2/subscribers/255934501", `{"fields":[{"key":"Sitoo-Order.orderid","value":"1"}]}`)
	}
	equal(t, "entries", len(r.Entries(key, id, "Sitoo-Order")), 25)
	if got := r.see("GET", "/"); strings.Count(got.body, `<details data-at="Sitoo-Order `) != 20 || !strings.Contains(got.body, "and 5 older entries") {
		t.Error("the page does not stop at 20 entries")
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	r.must("GET", "/v2/tags", "")
	got := r.see("GET", "/_state")
	var out struct {
		Accounts []struct {
			Keys        []fakerule.Key
			Requests    int `json:"requests_in_window"`
			Subscribers []fakerule.Subscriber
		}
		Requests []fakerule.Request
	}
	decode(t, got.body, &out)
	equal(t, "key", out.Accounts[0].Keys[0].Masked, "de…ey")
	equal(t, "subscribers", out.Accounts[0].Subscribers, r.Subscribers(key))
	equal(t, "requests", out.Accounts[0].Requests, 1)
	equal(t, "request", out.Requests[0].Path, "/v2/tags")
}
