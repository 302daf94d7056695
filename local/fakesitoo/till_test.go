package fakesitoo_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakesitoo"
)

// crm is a connector that notes what it is asked, and says what a test wants.
type crm struct {
	mu     sync.Mutex
	calls  []string // method, path with its query, body
	answer func(method, path string) (int, string)
}

func (c *crm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer demo-key" {
		c.calls = append(c.calls, "without the token: "+r.URL.Path)
	}
	said := string(body)
	if strings.HasSuffix(r.URL.Path, "/transactions") && r.Method == http.MethodPost {
		said = "the order"
	}
	c.calls = append(c.calls, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+said))
	status, text := c.answer(r.Method, r.URL.Path)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (c *crm) asked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.calls
	c.calls = nil
	return list
}

// shopWith is a shop whose till asks a connector that says yes to everything.
func shopWith(t *testing.T) (*fakesitoo.Server, *crm) {
	t.Helper()
	c := &crm{answer: func(string, string) (int, string) { return 200, `{}` }}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	return fakesitoo.New(fakesitoo.Options{Orders: 20, Connector: srv.URL + "/sitoo", Token: "demo-key", Now: func() time.Time { return now }}), c
}

func ask(t *testing.T, s http.Handler, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body)))
	return w
}

// The till page asks as Sitoo's till does, and gets what the connector says,
// refusals included; the browser never has the token.
func TestTillCallsReachTheConnectorAsTheyAre(t *testing.T) {
	t.Parallel()
	s, c := shopWith(t)
	c.answer = func(method, path string) (int, string) {
		if method == http.MethodPost {
			return 400, `{"error":"invalid","message":"mobile is not a phone number.","member":"mobile"}`
		}
		return 200, `[{"contactid":"1"}]`
	}
	for target, method := range map[string]string{
		"/contacts?key=070-174%2006%2005&include_extended=false": "GET", "/contacts/1?include_extended=true": "GET", "/contacts/1/transactions": "GET",
		"/consents": "GET", "/lookup_contacts?key=x": "GET", "/contacts/1": "PUT", "/contacts/1/bonuschecks/b%2F1/redeem": "DELETE",
	} {
		w := ask(t, s, method, "/_till/crm"+target, "")
		if w.Code != 200 || w.Body.String() != `[{"contactid":"1"}]` {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if got := c.asked(); len(got) != 1 || got[0] != method+" /sitoo"+target {
			t.Errorf("%s: the connector was asked %q", target, got)
		}
	}
	w := ask(t, s, "POST", "/_till/crm/contacts", `{"mobile":"12"}`)
	if w.Code != 400 || !strings.Contains(w.Body.String(), `"member":"mobile"`) || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
	if got := c.asked(); len(got) != 1 || got[0] != `POST /sitoo/contacts {"mobile":"12"}` {
		t.Errorf("the connector was asked %q", got)
	}
	for _, target := range []string{"/_till/crm/credentials", "/_till/crm/", "/_till/crm/transactions", "/_till/crm/bonuschecks"} {
		if w := ask(t, s, "GET", target, ""); w.Code != 404 || len(c.asked()) != 0 {
			t.Errorf("%s is no call of a till: %d", target, w.Code)
		}
	}
	foreign := httptest.NewRequest("POST", "/_till/crm/contacts", strings.NewReader(`{}`))
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	w = httptest.NewRecorder()
	if s.ServeHTTP(w, foreign); w.Code != 403 || len(c.asked()) != 0 {
		t.Errorf("from another host's page: %d", w.Code)
	}
}

func TestTillWithoutAConnectorSaysSo(t *testing.T) {
	t.Parallel()
	if w := ask(t, fakesitoo.New(fakesitoo.Options{}), "GET", "/_till/crm/contacts?key=x", ""); w.Code != 502 || !strings.Contains(w.Body.String(), "No connector is set") {
		t.Errorf("none set: %d %s", w.Code, w.Body)
	}
	gone := fakesitoo.New(fakesitoo.Options{Connector: "http://127.0.0.1:1/sitoo"})
	if w := ask(t, gone, "GET", "/_till/crm/contacts?key=x", ""); w.Code != 502 || !strings.Contains(w.Body.String(), "no answer") {
		t.Errorf("none there: %d %s", w.Code, w.Body)
	}
}

// Bonus checks are used before the sale is made, with its number, and the copy
// goes out after it.
func TestASaleUsesItsChecksFirst(t *testing.T) {
	t.Parallel()
	s, c := shopWith(t)
	const body = `{"contactid":"255934464","namefirst":"Ny","redeem":true,"rows":[
		{"sku":"CF-250","discount":"56.00","bonuscheckid":"BC 1","remaining":"44.00"},{"sku":"SO-200-39","promotionid":"P-7"}]}`
	w := ask(t, s, "POST", "/_sell", body)
	var out struct {
		Order    order
		Redeemed []struct{ Status int }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 || len(out.Redeemed) != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := []string{
		fmt.Sprintf(`POST /sitoo/contacts/255934464/bonuschecks/BC%%201/redeem {"dateredeemed":"2026-05-04T12:00:00Z","orderid":%d,"remaining":"44.00"}`, out.Order.ID),
		fmt.Sprintf(`POST /sitoo/contacts/255934464/promotions/P-7/redeem {"dateredeemed":"2026-05-04T12:00:00Z","orderid":%d}`, out.Order.ID),
		"POST /sitoo/transactions the order",
	}
	if diff := cmp.Diff(want, c.asked()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := out.Order.Items[0].Additional["customcrm-bonuscheckid"]; got != "BC 1" {
		t.Errorf("the row names the check %q", got)
	}
}

// A refused check ends the sale: what was used before is given back, and the
// shop has no order.
func TestARefusedCheckEndsTheSale(t *testing.T) {
	t.Parallel()
	s, c := shopWith(t)
	c.answer = func(_, path string) (int, string) {
		if strings.Contains(path, "used-up") {
			return 400, `{"error":"conflict","message":"This bonus check has been used already."}`
		}
		return 200, `{}`
	}
	before := getList(t, s, "/orders.json").Total
	const body = `{"contactid":"1","redeem":true,"rows":[{"sku":"CF-250","bonuscheckid":"good"},{"sku":"CF-250","bonuscheckid":"used-up"}]}`
	w := ask(t, s, "POST", "/_sell", body)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "rows[1]: This bonus check has been used already.") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	got := c.asked()
	if len(got) != 3 || !strings.HasPrefix(got[2], "DELETE /sitoo/contacts/1/bonuschecks/good/redeem") {
		t.Errorf("calls: %q", got)
	}
	if after := getList(t, s, "/orders.json").Total; after != before {
		t.Errorf("%d orders, want %d", after, before)
	}
	if w := ask(t, s, "POST", "/_sell", `{"redeem":true,"rows":[{"sku":"CF-250","bonuscheckid":"x"}]}`); w.Code != 400 || !strings.Contains(w.Body.String(), "contactid") {
		t.Errorf("whose check: %d %s", w.Code, w.Body)
	}
}

// The pages need nothing but themselves, and make no HTML of others' text.
func TestPagesForPeopleAreTheirOwn(t *testing.T) {
	t.Parallel()
	s, _ := shopWith(t)
	for target, want := range map[string]string{"/": "text/html", "/till": "text/html", "/_page.js": "text/javascript", "/_till.js": "text/javascript"} {
		w := ask(t, s, "GET", target, "")
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), want) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
		for _, bad := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "//cdn", " onclick="} {
			if strings.Contains(w.Body.String(), bad) {
				t.Errorf("%s has %s", target, bad)
			}
		}
		if strings.Contains(w.Body.String(), "demo-key") {
			t.Errorf("%s has the token", target)
		}
	}
	var shop struct {
		Store    string
		Products []struct{ SKU, Price string }
	}
	if err := json.Unmarshal(ask(t, s, "GET", "/_till/shop", "").Body.Bytes(), &shop); err != nil {
		t.Fatal(err)
	}
	prices := map[string]string{}
	for _, p := range shop.Products {
		prices[p.SKU] = p.Price
	}
	if shop.Store != "Example Concept Store" || prices["SO-200-39"] != "79.90" || prices["TE-KG"] != "112.00" {
		t.Errorf("the shop: %+v", shop)
	}
	if body := ask(t, s, "GET", "/", "").Body.String(); !strings.Contains(body, `<button>Sell</button>`) || !strings.Contains(body, `data-return="`) {
		t.Error("the page has no button to sell, or none to return")
	}
}
