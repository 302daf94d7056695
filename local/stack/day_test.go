package stack_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// A whole day at the till of a shop that has just been connected: nothing is in
// Rule, nobody is known, and no account exists.
func TestDayAtTheTill(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	playDay(t, r, r.settle)
	if n := r.rule.RequestsDuringBlock(key); n != 0 {
		t.Errorf("%d requests during a block", n)
	}
}

// playDay is also played over the AWS wire. settle waits until the orders that
// were sent are in Rule.
func playDay(t *testing.T, r *rig, settle func()) {
	find := func(k string) []any {
		t.Helper()
		return r.want(r.call("GET", "/contacts?key="+url.QueryEscape(k), nil), 200).([]any)
	}
	// 1. Nobody is found, so the cashier registers the customer by mobile.
	if got := find("070-174 06 05"); len(got) != 0 {
		t.Fatalf("found %v in an empty register", got)
	}
	id, ok := r.want(r.call("POST", "/contacts", map[string]any{
		"mobile": "070-174 06 05", "namefirst": "Kund", "namelast": "Exempel", "email": "", "personalid": "19121212-1212",
		"invoice_city": "Malmö", "invoice_countryid": "se", "birthday": "1986-05-15T00:00:00Z", "accepts_email": true, "accepts_sms": false,
	}), 200).(string)
	if _, err := strconv.ParseInt(id, 10, 64); !ok || err != nil {
		t.Fatalf("new id %q is not a number in a string", id)
	}
	// 2. Found by every spelling of the number, and by no part of it.
	for _, spelling := range []string{"070-174 06 05", "+46701740605", "0046 70 174 06 05", "0701740605", " +46 (0)70-174 06 05 "} {
		if got := find(spelling); len(got) != 1 || got[0].(map[string]any)["contactid"] != id {
			t.Errorf("key %q finds %v", spelling, got)
		}
	}
	for _, part := range []string{"07017406", "Kund", "Exempel", "19121212-1212", "191212121212", "", "*", "%", "@example.com", "070-174 06 05 x"} {
		if got := find(part); len(got) != 0 {
			t.Errorf("key %q finds somebody", part)
		}
	}
	// 3. The customer gives an email address as well; the old members stay.
	r.want(r.call("PUT", "/contacts/"+id, map[string]any{"email": "Kund.Exempel@Example.com"}), 200)
	card := find("kund.exempel@example.com")[0].(map[string]any)
	for member, want := range map[string]any{
		"contactid": id, "email": "kund.exempel@example.com", "mobile": "+46701740605", "namefirst": "Kund", "invoice_city": "Malmö", "invoice_countryid": "SE",
		"birthday": "1986-05-15T00:00:00Z", "accepts_email": true, "accepts_sms": false, "personalid": "", "storeexternalid": nil,
	} {
		if got := card[member]; got != want {
			t.Errorf("card: %s is %v, want %v", member, got, want)
		}
	}
	// 4. A purchase, and a return of part of it; the second comes twice.
	sold := r.want(r.call("POST", "/transactions", sale(210334, of(id))), 200)
	if diff := cmp.Diff(map[string]any{"orderid": 210334.0, "status": "queued"}, sold); diff != "" {
		t.Errorf("answer to a sale: %s", diff)
	}
	refund := sale(210502, func(o map[string]any) {
		of(id)(o)
		o["creditorderid"] = 210334
		o["orderdate"] = 1772438400
		for _, m := range []string{"moneyfinal_net", "moneyfinal_vat", "moneytotal_gross_all"} {
			o[m] = "-100.00"
		}
	})
	r.want(r.call("POST", "/transactions", refund), 200)
	r.want(r.call("POST", "/transactions", refund), 200)
	r.want(r.call("POST", "/transactions", sale(210503, nil)), 200) // anonymous
	settle()
	// 5. The card shows them, newest first, and Rule has started the automations.
	list := r.want(r.call("GET", "/contacts/"+id+"/transactions", nil), 200).([]any)
	want := []any{
		map[string]any{"transactionid": "210502", "receiptid": "SII000000150000420871", "date": "2026-03-02T08:00:00Z", "storename": "Example Concept Store", "currencycode": "SEK", "total": "-100.00"},
		map[string]any{"transactionid": "210334", "receiptid": "SII000000150000420871", "date": "2026-03-02T07:00:00Z", "storename": "Example Concept Store", "currencycode": "SEK", "total": "879.00"},
	}
	rows := []any{
		map[string]any{"productname": "Merino Sweater", "sku": "SW-100-M", "quantity": "1", "total": "799.00"},
		map[string]any{"productname": "Wool Socks", "sku": "SO-200-39", "quantity": "1", "total": "79.90"},
	}
	for _, w := range want {
		w.(map[string]any)["rows"] = rows
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("purchases: %s", diff)
	}
	n, _ := strconv.ParseInt(id, 10, 64)
	var fired []string
	for _, a := range r.rule.Automations(key) {
		if a.Subscriber == n {
			fired = append(fired, a.Tag+" "+a.Mode)
		}
	}
	slices.Sort(fired)
	for _, want := range []string{"OrderCompleted reset", "RefundCompleted reset"} {
		if c := count(fired, want); c != 1 {
			t.Errorf("automation %q fired %d times: %v", want, c, fired)
		}
	}
	entries := r.rule.Entries(key, n, order.Group)
	if len(entries) != 2 {
		t.Errorf("%d entries, want 2", len(entries))
	}
	sub, _ := r.rule.Subscriber(key, n)
	for _, tag := range []string{"Sitoo", "Newsletter", "OrderCompleted", "RefundCompleted"} {
		if !slices.Contains(sub.Tags, tag) {
			t.Errorf("tag %s is missing: %v", tag, sub.Tags)
		}
	}
	all, _ := json.Marshal(r.rule.Subscribers(key))
	if strings.Contains(string(all), "1212") {
		t.Error("a personal number reached Rule")
	}
	// 6. The rest of the till's calls.
	r.want(r.call("GET", "/lookup_contacts?key=070", nil), 200)
	r.want(r.call("GET", "/consents", nil), 200)
	r.want(r.call("GET", "/contacts/"+id+"?include_extended=true", nil), 200)
	r.want(r.call("GET", "/contacts/999", nil), 404)
}

func count(list []string, s string) int {
	n := 0
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// Every field is written with its right type from the first write, read back,
// and compared; the order group is historical from its first entry.
func TestEveryFieldThereAndBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	in := map[string]any{
		"membernumber": "100077", "email": "alla.falt@example.com", "namefirst": "Alla", "namelast": "Fält", "company": "Exempel AB", "companyid": "559999-0000",
		"phone": "070-174 06 07", "mobile": "+46701740606", "invoice_address": "Exempelgatan 1", "invoice_address2": "c/o Exempel", "invoice_zip": "111 22",
		"invoice_city": "Umeå", "invoice_state": "AC", "invoice_countryid": "se", "delivery_address": "Lagervägen 2", "delivery_address2": "Port 3",
		"delivery_zip": "222 33", "delivery_city": "Luleå", "delivery_state": "BD", "delivery_countryid": "NO", "gender": "female",
		"birthday": "1986-05-15T00:00:00Z", "accepts_email": true, "accepts_sms": true, "accepts_mail": true,
		"voucherpasswords": []any{"VIP", "vår"}, "storeexternalid": "200", "acceptedconsents": []any{"11"},
	}
	r.rule.DefinePreferences(key, fakerule.PreferenceGroup{ID: 1, Name: "Klubb", Preferences: []fakerule.Preference{{ID: 11, Name: "Nyheter"}, {ID: 12, Name: "Mode"}}})
	id := r.want(r.call("POST", "/contacts", in), 200).(string)
	want := map[string]any{}
	for k, v := range in {
		want[k] = v
	}
	want["contactid"], want["personalid"] = id, ""
	want["phone"], want["invoice_countryid"] = "+46701740607", "SE"
	got := r.want(r.call("GET", "/contacts/"+id, nil), 200)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back: %s", diff)
	}
	n, _ := strconv.ParseInt(id, 10, 64)
	sub, _ := r.rule.Subscriber(key, n)
	types := map[string]string{}
	for _, g := range sub.Groups {
		for _, f := range g.Entries[0].Fields {
			types[g.Name+"."+f.Name] = f.Type
		}
	}
	for f, want := range map[string]string{
		"Sitoo-Contact.namefirst": "text", "Sitoo-Contact.birthday": "date", "Sitoo-Contact.voucherpasswords": "multiple",
		"Sitoo-Contact.acceptedconsents": "multiple", "Sitoo-Contact.accepts_mail": "text", "Sitoo-Address.invoice_city": "text",
	} {
		if types[f] != want {
			t.Errorf("%s has type %q, want %q", f, types[f], want)
		}
	}

	// Clearing works member by member.
	out := map[string]any{}
	for k, v := range in {
		if s, ok := v.(string); ok && s != "" && k != "email" && k != "mobile" {
			out[k] = ""
		}
	}
	out["voucherpasswords"] = []any{}
	r.want(r.call("PUT", "/contacts/"+id, out), 200)
	card := r.want(r.call("GET", "/contacts/"+id, nil), 200).(map[string]any)
	if card["membernumber"] != id { // where Rule has none
		t.Errorf("membernumber is %v after clearing, want the contact id", card["membernumber"])
	}
	delete(out, "membernumber")
	for k := range out {
		if v := card[k]; v != "" && v != nil && len(v.([]any)) != 0 {
			t.Errorf("%s is %v after clearing", k, v)
		}
	}

	// The order's fields, all of them.
	o := sale(210335, func(o map[string]any) {
		of(id)(o)
		o["creditorderid"] = 7
		row := o["orderitems"].([]any)[0].(map[string]any)
		row["additionaldata"].(map[string]any)["customcrm-bonuscheckid"] = "bc-1"
	})
	r.want(r.call("POST", "/transactions", o), 200)
	r.drain()
	r.want(r.call("POST", "/transactions", sale(210336, of(id))), 200)
	r.drain()
	sub, _ = r.rule.Subscriber(key, n)
	for _, g := range sub.Groups {
		if g.Name != order.Group {
			continue
		}
		if !g.Historical || len(g.Entries) != 2 {
			t.Fatalf("group is historical: %v, entries %d; want true, 2", g.Historical, len(g.Entries))
		}
		gotTypes, gotValues := map[string]string{}, map[string]string{}
		for _, f := range g.Entries[0].Fields {
			gotTypes[f.Name], gotValues[f.Name] = f.Type, f.Value
		}
		wantTypes := map[string]string{}
		for _, f := range order.Schema() {
			if f.Name != "productsomitted" && f.Name != "salestax" { // only where there is one
				wantTypes[f.Name] = string(f.Type)
			}
		}
		if diff := cmp.Diff(wantTypes, gotTypes); diff != "" {
			t.Errorf("types of the entry: %s", diff)
		}
		wantValues := map[string]string{
			"orderid": "210335", "receiptid": "SII000000150000420871", "orderdate": "2026-03-02 08:00:00", "orderdateutc": "2026-03-02T07:00:00Z", "ordertype": "return", "originalorderid": "7",
			"storename": "Example Concept Store", "storeexternalid": "200", "currencycode": "SEK", "total": "879.00", "totalnet": "703.12", "totalvat": "175.78",
			"discount": "10.00", "roundoff": "0.10", "productcount": "2", "names": `["Merino Sweater","Wool Socks"]`, "skus": `["SW-100-M","SO-200-39"]`,
			"productgroups": `["Common Goods"]`, "payments": `["Cash"]`, "vouchers": `["10% off"]`, "bonuschecks": `["bc-1"]`,
			"products": `[{"name":"Merino Sweater","sku":"SW-100-M","attributes":"Color: Navy, Size: M","quantity":"1","price":"799.00","discount":"0.00","vat":"25","total":"799.00"},{"name":"Wool Socks","sku":"SO-200-39","attributes":"","quantity":"1","price":"89.90","discount":"10.00","vat":"25","total":"79.90","note":"rabatt"}]`,
			"vatrows":  `[{"rate":"25","net":"703.12","vat":"175.78","total":"878.90"}]`, "paymentrows": `[{"name":"Cash","amount":"879.00"}]`,
		}
		if diff := cmp.Diff(wantValues, gotValues); diff != "" {
			t.Errorf("values of the entry: %s", diff)
		}
	}
}

// The numbers of requests that the README promises, and whether 404s are spent.
func TestRequestsToRule(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts?key=x", nil), 200) // the account's first call asks about the key
	steps := []struct {
		name   string
		do     func()
		want   []string
		errors int
	}{
		{"a miss", func() { r.call("GET", "/contacts?key=nobody@example.com", nil) }, []string{"GET /v2/subscribers/*"}, 1},
		{"the same miss", func() { r.call("GET", "/contacts?key=nobody@example.com", nil) }, []string{"GET /v2/subscribers/*"}, 1},
		{"no key at all", func() { r.call("GET", "/contacts?key=Kund", nil) }, nil, 0},
		{"a hit", func() { r.call("GET", "/contacts?key=0701740605", nil) }, []string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, 0},
		{"a hit again", func() { r.call("GET", "/contacts?key=0701740605", nil) }, []string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, 0},
		{"by id", func() { r.call("GET", "/contacts/255934461", nil) }, []string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, 0},
		{"register", func() {
			r.call("POST", "/contacts", map[string]any{"email": "ny@example.com", "accepts_email": true, "accepts_sms": true})
		}, []string{"POST /v2/subscribers"}, 0},
		{"register a known one", func() { r.call("POST", "/contacts", map[string]any{"email": "ny@example.com"}) }, []string{"POST /v2/subscribers", "GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, 1},
		{"edit", func() { r.call("PUT", "/contacts/255934461", map[string]any{"namefirst": "Ny"}) }, []string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*", "PUT /v2/subscribers/*"}, 0},
		{"edit nothing", func() { r.call("PUT", "/contacts/255934461", map[string]any{"namefirst": "Ny"}) }, []string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, 0},
		{"purchases", func() { r.call("GET", "/contacts/255934461/transactions", nil) }, []string{"GET /v3/custom-field-data/*/group/*"}, 0},
		{"look up", func() { r.call("GET", "/lookup_contacts?key=0701740605", nil) }, nil, 0},
		{"consents", func() { r.call("GET", "/consents", nil) }, []string{"GET /v2/preference-groups"}, 0},
		{"consents again", func() { r.call("GET", "/consents", nil) }, nil, 0},
		{"the first order", func() { r.call("POST", "/transactions", sale(1, of("255934461"))); r.drain() }, []string{
			"POST /v3/custom-field-data/*", "POST /v2/customizations", "PUT /v3/custom-field-data/*", "GET /v3/custom-field-data/*/search", "POST /v3/custom-field-data/*",
			"POST /v2/subscribers/*/tags", "POST /v2/subscribers/*/tags", // Sitoo, for good
		}, 0},
		{"an order", func() { r.call("POST", "/transactions", sale(2, of("255934461"))); r.drain() }, []string{"POST /v3/custom-field-data/*", "POST /v2/subscribers/*/tags"}, 0},
		{"the same order", func() { r.call("POST", "/transactions", sale(2, of("255934461"))); r.drain() }, nil, 0},
		{"register, a box unticked", func() {
			r.call("POST", "/contacts", map[string]any{"email": "ny2@example.com", "accepts_sms": false})
		}, []string{"POST /v2/subscribers", "POST /v2/suppressions"}, 0},
		{"register, with a consent", func() {
			r.call("POST", "/contacts", map[string]any{"email": "ny3@example.com", "accepts_email": true, "accepts_sms": true, "acceptedconsents": []string{"11"}})
		}, []string{"GET /v2/preference-groups", "POST /v2/subscribers", "PATCH /v2/subscriber/*/preference_group/*", "PUT /v2/subscribers/*"}, 0},
		{"an order by email that says more", func() {
			r.call("POST", "/transactions", sale(4, func(o map[string]any) { o["email"], o["namefirst"] = "okand2@example.com", "Okänd" }))
			r.drain()
		}, []string{"GET /v2/subscribers/*", "POST /v2/subscribers", "POST /v2/suppressions", "POST /v3/custom-field-data/*", "POST /v2/subscribers/*/tags"}, 1},
		{"the same of somebody known", func() {
			r.call("POST", "/transactions", sale(5, func(o map[string]any) { o["email"], o["namefirst"] = "kund.tre@example.com", "Kund" }))
			r.drain()
		}, []string{"GET /v2/subscribers/*", "POST /v3/custom-field-data/*", "POST /v2/subscribers/*/tags"}, 0},
		{"an order by email", func() {
			r.call("POST", "/transactions", sale(3, func(o map[string]any) { o["email"] = "okand@example.com" }))
			r.drain()
		}, []string{"GET /v2/subscribers/*", "POST /v2/subscribers", "POST /v2/suppressions", "POST /v3/custom-field-data/*", "POST /v2/subscribers/*/tags"}, 1},
	}
	for _, s := range steps {
		r.rule.ResetRequests()
		s.do()
		got := r.routes()
		// Two that are sent at the same time arrive in either order.
		if len(got) >= 2 && got[1] == "GET /v2/subscribers/*" && got[0] == "GET /v3/custom-field-data/*" {
			got[0], got[1] = got[1], got[0]
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s: requests to Rule: %s", s.name, diff)
		}
		errs := 0
		for _, q := range r.rule.Requests() {
			if q.Status >= 400 {
				errs++
			}
		}
		if errs != s.errors {
			t.Errorf("%s: %d of Rule's answers were errors, want %d", s.name, errs, s.errors)
		}
	}
}

// What staff edit by hand in Rule does not make customers or orders vanish.
func TestDamagedByHand(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const id = 255934461
	for field, v := range map[string]any{
		"Sitoo-Contact.birthday": "i maj", "Sitoo-Contact.namefirst": strings.Repeat("x", 10_000), "Sitoo-Address.invoice_countryid": "Sverige",
		"Sitoo-Contact.accepts_mail": "kanske", "Sitoo-Contact.voucherpasswords": map[string]any{"a": 1}, "Sitoo-Contact.bonuschecks": "{not json", "Sitoo-Contact.mobile": "ring växeln",
		"Sitoo-Contact.promotions": `[{"promotionid":"p1","name":"Tre för två"},7,{"name":"utan id"}]`,
	} {
		if err := r.rule.SetField(key, id, 0, field, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/contacts?key=0701740605&include_extended=true", "/contacts/255934461?include_extended=true"} {
		v := r.want(r.call("GET", path, nil), 200)
		if list, ok := v.([]any); ok {
			if len(list) != 1 {
				t.Fatalf("%s: the customer is gone", path)
			}
			v = list[0]
		}
		card := v.(map[string]any)
		if card["namelast"] != "Ett" || card["mobile"] != "+46701740605" || card["birthday"] != "" || card["namefirst"] != "" || len(card["bonuschecks"].([]any)) != 0 {
			t.Errorf("%s: card %v", path, card)
		}
		if p := card["promotions"].([]any); len(p) != 1 || p[0].(map[string]any)["promotionid"] != "p1" {
			t.Errorf("%s: promotions %v", path, p)
		}
	}
	for _, field := range []string{"birthday", "namefirst", "invoice_countryid", "accepts_mail", "bonuschecks"} {
		if !strings.Contains(r.logs.String(), `"field":"`+field+`"`) {
			t.Errorf("the log does not name the damaged field %s", field)
		}
	}
	// Order entries: one damaged in each way, the other still shows.
	entries := r.rule.Entries(key, id, order.Group)
	for field, v := range map[string]any{"total": "gratis", "orderdate": "igår", "orderid": ""} {
		if err := r.rule.SetField(key, id, entries[0].ID, order.Group+"."+field, v); err != nil {
			t.Fatal(err)
		}
		list := r.want(r.call("GET", "/contacts/255934461/transactions", nil), 200).([]any)
		if len(list) != len(entries)-1 {
			t.Errorf("with a damaged %s, %d of %d purchases show", field, len(list), len(entries)-1)
		}
	}
	last := entries[len(entries)-1].ID
	if err := r.rule.SetField(key, id, last, order.Group+".products", "oj"); err != nil {
		t.Fatal(err)
	}
	list := r.want(r.call("GET", "/contacts/255934461/transactions", nil), 200).([]any)
	if len(list) != len(entries)-1 || len(list[0].(map[string]any)["rows"].([]any)) != 0 {
		t.Errorf("a damaged product list hides the purchase: %v", list)
	}
}

// Of many purchases the latest twenty show, whatever order Rule keeps them in.
func TestLatestTwenty(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const n = 130
	for i := range n {
		// The till was offline for a while: ids and dates run apart.
		date := 1727433600 + (i*37%n)*3600
		r.want(r.call("POST", "/transactions", sale(int64(300000+i), func(o map[string]any) {
			of("255934461")(o)
			o["orderdate"] = date + 5*365*24*3600
		})), 200)
	}
	r.drain()
	list := r.want(r.call("GET", "/contacts/255934461/transactions", nil), 200).([]any)
	if len(list) != 20 {
		t.Fatalf("%d purchases, want 20", len(list))
	}
	newest := time.Unix(1727433600+5*365*24*3600+(n-1)*3600, 0).UTC()
	for i, v := range list {
		if got, want := v.(map[string]any)["date"], newest.Add(-time.Duration(i)*time.Hour).Format(time.RFC3339); got != want {
			t.Errorf("purchase %d is of %v, want %v", i, got, want)
		}
	}
}

// An order with 2,000 rows goes through the queue whole, and its entry says what
// Rule had no room for.
func TestTwoThousandRows(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	o := sale(400000, func(o map[string]any) {
		of("255934461")(o)
		row := o["orderitems"].([]any)[0].(map[string]any)
		var rows []any
		for i := range 2000 {
			c := map[string]any{}
			for k, v := range row {
				c[k] = v
			}
			c["sku"], c["productname"], c["deliveryinfo"] = "SKU-"+strconv.Itoa(i), "Tröja/blå "+strconv.Itoa(i), strings.Repeat("x", 300)
			rows = append(rows, c)
		}
		o["orderitems"] = rows
	})
	r.want(r.call("POST", "/transactions", o), 200)
	r.drain()
	entries := r.rule.Entries(key, 255934461, order.Group)
	e := entries[len(entries)-1]
	if e.Value("orderid") != "400000" || e.Value("productcount") != "2000" || e.Value("total") != "879.00" {
		t.Fatalf("entry: %+v", e)
	}
	var products []order.Product
	if err := json.Unmarshal([]byte(e.Value("products")), &products); err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(2000-len(products)) + " of 2000"; e.Value("productsomitted") != want || len(products) < 200 {
		t.Errorf("%d products, productsomitted %q, want %q", len(products), e.Value("productsomitted"), want)
	}
	size := 0
	for _, f := range e.Fields {
		size += len(f.Value)
	}
	if size > rule.MaxGroup {
		t.Errorf("the entry has %d bytes, Rule takes %d characters", size, rule.MaxGroup)
	}
	if q := r.ledger(400000); q.State != order.Sent {
		t.Errorf("ledger: %+v", q)
	}
}

// Orders that are nothing for Rule are answered 200 and not queued.
func TestIgnoredOrders(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for name, change := range map[string]func(map[string]any){
		"anonymous":           nil,
		"only a name":         func(o map[string]any) { o["namefirst"] = "Kund" },
		"open":                func(o map[string]any) { of("255934461")(o); o["orderstateid"] = 0 },
		"cancelled":           func(o map[string]any) { of("255934461")(o); o["orderstateid"] = "20" },
		"abandoned":           func(o map[string]any) { of("255934461")(o); o["orderstateid"] = -1 },
		"booking":             func(o map[string]any) { of("255934461")(o); o["ordertypeid"] = 100 },
		"parked":              func(o map[string]any) { of("255934461")(o); o["ordertypeid"] = 110 },
		"payment failed":      func(o map[string]any) { of("255934461")(o); o["paymentstateid"] = 40 },
		"payment cancelled":   func(o map[string]any) { of("255934461")(o); o["paymentstateid"] = 30 },
		"additional data off": func(o map[string]any) { o["additionaldata"] = []any{} },
	} {
		got := r.want(r.call("POST", "/transactions", sale(500000, change)), 200).(map[string]any)
		if got["status"] != "ignored" || got["reason"] == "" {
			t.Errorf("%s: %v", name, got)
		}
	}
	r.drain()
	if _, known, _ := r.Ledger.Get(t.Context(), order.Key{Account: r.id, Order: 500000}); known {
		t.Error("an ignored order is in the ledger")
	}
	// States that nobody has heard of are not a reason to lose an order.
	r.want(r.call("POST", "/transactions", sale(500001, func(o map[string]any) {
		of("255934461")(o)
		o["orderstateid"], o["paymentstateid"], o["ordertypeid"] = 77, 99, "12"
	})), 200)
	r.drain()
	if got := r.ledger(500001).State; got != order.Sent {
		t.Errorf("an order with unknown states is %s, want sent", got)
	}
}

// Whom an order belongs to.
func TestWhoseOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o map[string]any)
		check  func(t *testing.T, r *rig, sub fakerule.Subscriber)
		state  order.State
	}{
		"the contact, not the receipt's address": {
			func(o map[string]any) { of("255934461")(o); o["email"] = "annan@example.com" },
			func(t *testing.T, _ *rig, s fakerule.Subscriber) {
				if s.ID != 255934461 || s.Email != "kund.ett@example.com" {
					t.Errorf("entry went to %d", s.ID)
				}
			}, order.Sent,
		},
		"a deleted contact, by email": {
			func(o map[string]any) { of("1")(o); o["email"] = "kund.ett@example.com" },
			func(t *testing.T, _ *rig, s fakerule.Subscriber) {
				if s.ID != 255934461 {
					t.Errorf("entry went to %d", s.ID)
				}
			}, order.Sent,
		},
		"a deleted contact and nothing else": {of("1"), nil, order.Skipped},
		"unknown, by email with phone and address": {func(o map[string]any) {
			o["email"], o["phone"], o["namefirst"], o["invoice_city"], o["invoice_countryid"] = "Helt.Ny@example.com", "070-174 06 66", "Helt", "Lund", "??"
		}, func(t *testing.T, _ *rig, s fakerule.Subscriber) {
			city, _ := s.Field("Sitoo-Address.invoice_city")
			if s.Email != "helt.ny@example.com" || s.Phone != "+46701740666" || city.Value != "Lund" || !slices.Contains(s.Tags, "Sitoo") {
				t.Errorf("created %+v", s)
			}
		}, order.Sent},
		"email of one and phone of another": {
			func(o map[string]any) { o["email"], o["phone"] = "helt.ny@example.com", "0701740605" },
			func(t *testing.T, r *rig, s fakerule.Subscriber) {
				ett, _ := r.rule.Subscriber(key, 255934461)
				if s.Email != "helt.ny@example.com" || s.Phone != "" || ett.Phone != "+46701740605" {
					t.Errorf("went to %+v", s)
				}
			}, order.Sent,
		},
		"a phone alone": {func(o map[string]any) { o["phone"] = "0701740605" }, func(t *testing.T, _ *rig, s fakerule.Subscriber) {
			if s.ID != 255934461 {
				t.Errorf("entry went to %d", s.ID)
			}
		}, order.Sent},
		"a phone that is none alone": {func(o map[string]any) { o["phone"] = "saknas" }, nil, order.Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("POST", "/transactions", sale(600000, c.change)), 200)
			r.drain()
			rec := r.ledger(600000)
			if rec.State != c.state || c.state == order.Skipped && rec.Reason == "" {
				t.Fatalf("ledger: %+v, want %s", rec, c.state)
			}
			if n := r.deadLetters().Counts().Visible; n != 0 {
				t.Errorf("%d messages were put aside", n)
			}
			if c.check == nil {
				return
			}
			sub, ok := r.rule.Subscriber(key, rec.Subscriber)
			if !ok {
				t.Fatalf("no subscriber %d", rec.Subscriber)
			}
			found := 0
			for _, e := range r.rule.Entries(key, sub.ID, order.Group) {
				if e.Value("orderid") == "600000" {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%d entries", found)
			}
			c.check(t, r, sub)
		})
	}
}

// How SPI v1 sends the token is not published: every usual form works, and an
// account exists only after Rule has accepted its key.
func TestTokens(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(req *http.Request)
		status int
		form   string
	}{
		"bearer":            {func(q *http.Request) { q.Header.Set("Authorization", "bearer  demo-key") }, 200, "bearer"},
		"basic as password": {func(q *http.Request) { q.SetBasicAuth("sitoo", "demo-key") }, 200, "basic, as password"},
		"basic as user":     {func(q *http.Request) { q.SetBasicAuth("demo-key", "") }, 200, "basic, as user"},
		"basic alone":       {func(q *http.Request) { q.Header.Set("Authorization", "Basic ZGVtby1rZXk=") }, 200, "basic, alone"},
		"bare":              {func(q *http.Request) { q.Header.Set("Authorization", "demo-key") }, 200, "authorization"},
		"x-api-key":         {func(q *http.Request) { q.Header.Set("X-Api-Key", "demo-key") }, 200, "x-api-key"},
		"x-api-token":       {func(q *http.Request) { q.Header.Set("x-api-token", " demo-key ") }, 200, "x-api-token"},
		"query":             {func(q *http.Request) { q.URL.RawQuery += "&apikey=demo-key" }, 200, "query"},
		"none":              {func(*http.Request) {}, 401, "none"},
		"wrong":             {func(q *http.Request) { q.Header.Set("Authorization", "Bearer other-key") }, 401, "bearer"},
		"empty bearer":      {func(q *http.Request) { q.Header.Set("Authorization", "Bearer ") }, 401, "none"},
		"basic not base64":  {func(q *http.Request) { q.Header.Set("Authorization", "Basic ???") }, 401, "basic, not base64"},
		"with a line break": {func(q *http.Request) { q.SetBasicAuth("x", "demo-key\r\nX-Evil: 1") }, 401, "basic, as password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			req := r.request("GET", "/contacts?key=0701740605", nil)
			req.Header.Del("Authorization")
			c.set(req)
			r.want(r.send(req), c.status)
			line := r.logs.lines("contact-find")[0]
			if line["token"] != c.form {
				t.Errorf("logged form %v, want %s", line["token"], c.form)
			}
			if log := r.logs.String(); strings.Contains(log, "demo-key") || strings.Contains(log, "other-key") || strings.Contains(log, "ZGVtb") || strings.Contains(log, "740605") {
				t.Errorf("the log has the key or the phone number: %s", log)
			}
			_, _, err := r.Accounts.Get(t.Context(), r.id, "", "")
			if (err == nil) != (c.status == 200) {
				t.Errorf("account: %v, status %d", err, c.status)
			}
		})
	}
}

// A flood of calls with a bad key does not reach Rule, and a key that Rule has
// never accepted queues no order.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	bad := func(method, path string, body any) answer {
		req := r.request(method, path, body)
		req.Header.Set("Authorization", "Bearer bad-key")
		return r.send(req)
	}
	for range 20 {
		r.want(bad("GET", "/contacts?key=0701740605", nil), 401)
	}
	r.want(bad("POST", "/transactions", sale(1, of("255934461"))), 401)
	if got := r.routes(); len(got) != 1 {
		t.Errorf("a bad key cost %d requests to Rule, want 1", len(got))
	}
	if n := len(r.orders().Messages()); n != 0 {
		t.Errorf("%d orders are queued for a key that Rule never accepted", n)
	}
	// A minute later it is asked again: the merchant may have made the key.
	r.clock.Advance(61 * time.Second)
	r.rule.AddKey("bad-key")
	r.want(bad("GET", "/contacts?key=0701740605", nil), 200)

	// A key that worked and was revoked: 401 at the till, but its orders are
	// kept until the key is renewed.
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
	r.rule.RevokeKey(key)
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 401)
	r.rule.ResetRequests()
	r.want(r.call("GET", "/contacts/255934461", nil), 401)
	r.want(r.call("POST", "/transactions", sale(2, of("255934461"))), 200)
	r.drain()
	if rec := r.ledger(2); rec.State != order.Waiting || rec.Reason != order.Refused {
		t.Errorf("ledger: %+v", rec)
	}
	r.rule.AddKey(key)
	r.later(2 * time.Hour)
	if rec := r.ledger(2); rec.State != order.Sent {
		t.Errorf("after the key is back: %+v", rec)
	}
}

// The shape of a call that nobody knows is logged, without values.
func TestUnknownRoute(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts?key=x", nil), 200) // the shop is known from here on
	a := r.call("POST", "/contacts/255934461/redeem_something?who=kund.ett@example.com", map[string]any{
		"bonus": []any{map[string]any{"id": "hemlig-1", "value": 12.5, "used": true, "x": nil}}, "invoice_address2": "hemlig-2",
	})
	if v := r.want(a, 404).(map[string]any); v["error"] != "not_found" {
		t.Errorf("answer %v", v)
	}
	line := r.logs.lines("unknown-route")[0]
	want := map[string]any{
		"method": "POST", "path": "/sitoo/contacts/{text}/redeem_something", "query": "who", "token": "bearer",
		"body": "{bonus:[{id:string,used:bool,value:number,x:null}]x1,{text}:string}",
	}
	for k, w := range want {
		if line[k] != w {
			t.Errorf("logged %s: %v, want %v", k, line[k], w)
		}
	}
	for _, secret := range []string{"hemlig", "kund.ett", "255934461", key} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	// A wrong method on a known path gets there too.
	r.want(r.call("DELETE", "/contacts", nil), 404)
	r.want(r.call("GET", "", nil), 404)
	// Of a caller with a key that no shop has, the log holds no word.
	req, err := http.NewRequest("PATCH", r.api.URL+"/sitoo/written/by-a-stranger?spelt=out", strings.NewReader(`{"smuggled":{"words":["x"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer a-key-of-nobody")
	stranger, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = stranger.Body.Close()
	lines := r.logs.lines("unknown-route")
	if n := len(lines); n != 4 || stranger.StatusCode != 404 {
		t.Fatalf("%d lines and status %d, want 4 and 404", n, stranger.StatusCode)
	}
	want = map[string]any{"method": "PATCH", "path": "/{text}/{text}/{text}", "query": "{text}", "body": "{{text}:{{text}:[string]x1}}", "token": "bearer"}
	for k, w := range want {
		if lines[3][k] != w {
			t.Errorf("of a stranger, logged %s: %v, want %v", k, lines[3][k], w)
		}
	}
	// Outside the base path API Gateway answers, in the same form.
	res, err := http.Get(r.api.URL + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 404 {
		t.Errorf("status %d outside the base path, want 404", res.StatusCode)
	}
}

// The wire type and the domain agree on the members of a contact.
func TestCardHasEveryMember(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	card := r.want(r.call("GET", "/contacts/255934461?include_extended=1", nil), 200).(map[string]any)
	want := strings.Fields(`contactid membernumber email namefirst namelast personalid company companyid phone mobile
		invoice_address invoice_address2 invoice_zip invoice_city invoice_state invoice_countryid
		delivery_address delivery_address2 delivery_zip delivery_city delivery_state delivery_countryid
		gender birthday accepts_email accepts_sms accepts_mail acceptedconsents voucherpasswords storeexternalid bonuschecks promotions`)
	var got []string
	for name := range card {
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members of a card: %s", diff)
	}
	_ = sitoo.Card{} // the type under test
}
