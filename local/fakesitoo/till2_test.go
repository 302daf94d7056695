package fakesitoo_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sitoo-rule/local/fakesitoo"
)

// The till page's questions and answers, put into v2's words and back.
func TestTillSpeaksV2(t *testing.T) {
	t.Parallel()
	const customer = `{"customer_id":"7","member_number":"100","email":"a@example.com","name_first":"Ny","name_last":"Kund","mobile":"+46701740605",
		"invoice_address":{"address":"Exempelgatan 1","zip":"11122","city":"Umeå","country_id":"SE"},"accepts_communication":["sms"],"consents":["11"],"birthday":"1990-02-03",
		"bonus_checks":[{"bonus_check_id":"b","name":"Check","value":"50.00","redeemed":false}],"promotions":[{"promotion_id":"p","name":"Tre"}],"voucher_passwords":[]}`
	const contact = `"contactid":"7"`
	for name, tt := range map[string]struct {
		method, target, body string
		asked, sent          string // of v2: the request, and what its body has
		status               int
		answer               string
		want                 []string
	}{
		"find by number": {"GET", "/contacts?key=070-174+06+05&include_extended=false", "", "GET /sitoo/v2/customers?key=070-174+06+05&key_type=mobile", "", 200, "[" + customer + "]", []string{contact, `"invoice_city":"Umeå"`}},
		"find by email":  {"GET", "/contacts?key=a%40example.com", "", "GET /sitoo/v2/customers?key=a%40example.com&key_type=email", "", 200, "[]", []string{"[]"}},
		"get": {"GET", "/contacts/7?include_extended=true", "", "GET /sitoo/v2/customers/7", "", 200, customer, []string{
			contact, `"bonuscheckid":"b"`, `"promotionid":"p"`, `"accepts_sms":true`, `"accepts_email":false`, `"acceptedconsents":["11"]`, `"membernumber":"100"`, `"birthday":"1990-02-03"`,
		}},
		"add": {
			"POST", "/contacts", `{"mobile":"070","namefirst":"Ny","invoice_city":"Umeå","accepts_email":true,"accepts_sms":false,"birthday":"1990-02-03T00:00:00Z","acceptedconsents":["11"]}`,
			"POST /sitoo/v2/customers", `{"accepts_communication":["email"],"birthday":"1990-02-03","consents":["11"],"invoice_address":{"city":"Umeå"},"mobile":"070","name_first":"Ny"}`, 200, customer,
			[]string{`"7"`},
		},
		"edit":      {"PUT", "/contacts/7", `{"email":""}`, "PUT /sitoo/v2/customers/7", `{"email":""}`, 200, customer, []string{`"7"`}},
		"refused":   {"POST", "/contacts", `{}`, "POST /sitoo/v2/customers", `{}`, 400, `{"error_code":"bad-request","error_data":{"message":"mobile is wrong."},"request_id":"x"}`, []string{`{"message":"mobile is wrong."}`}},
		"purchases": {"GET", "/contacts/7/transactions", "", "GET /sitoo/v2/customers/7/transactions", "", 200, `[{"transaction_id":"9","receipt_id":"R","store_name":"S","total":"5.00","rows":[{"product_name":"P","quantity":1}]}]`, []string{`"transactionid":"9"`, `"productname":"P"`, `"storename":"S"`}},
		"consents":  {"GET", "/consents", "", "GET /sitoo/v2/consents", "", 200, `[{"consent_id":"11","name":"Nyhetsbrev","value":false}]`, []string{`"consentid":"11"`}},
		"look up":   {"GET", "/lookup_contacts?key=x", "", "GET /sitoo/v2/lookup?key=x", "", 200, `[]`, []string{"[]"}},
		"odd":       {"GET", "/contacts/7", "", "GET /sitoo/v2/customers/7", "", 200, `[1]`, []string{`"bonuschecks":[]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &crm{answer: func(string, string) (int, string) { return tt.status, tt.answer }}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, password, _ := r.BasicAuth()
				r.Header.Set("Authorization", "Bearer "+password)
				c.ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			s := fakesitoo.New(fakesitoo.Options{SPI: 2, Connector: srv.URL + "/sitoo", Token: "demo-key"})
			w := ask(t, s, tt.method, "/_till/crm"+tt.target, tt.body)
			if got := c.asked(); len(got) != 1 || got[0] != strings.TrimSpace(tt.asked+" "+tt.sent) {
				t.Errorf("asked %q, want %q", got, tt.asked+" "+tt.sent)
			}
			if w.Code != tt.status || w.Header().Get("X-Till-Call") != strings.Replace(tt.asked, "/sitoo", "", 1) {
				t.Errorf("%d %s", w.Code, w.Header().Get("X-Till-Call"))
			}
			for _, want := range tt.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the page gets %s, without %s", w.Body, want)
				}
			}
		})
	}
}
