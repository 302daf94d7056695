package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/order"
)

const firstCustomer = 255934461

// entry returns the values of an order's one entry in Rule.
func (r *rig) entry(id int64) map[string]string {
	r.t.Helper()
	var found map[string]string
	for _, s := range r.rule.Subscribers(key) {
		for _, e := range r.rule.Entries(key, s.ID, order.Group) {
			if e.Value("orderid") != fmt.Sprint(id) {
				continue
			}
			if found != nil {
				r.t.Fatalf("order %d has two entries", id)
			}
			found = map[string]string{"subscriber": fmt.Sprint(s.ID)}
			for _, f := range e.Fields {
				found[f.Name] = f.Value
			}
		}
	}
	if found == nil {
		rec, _, _ := r.books.Get(r.t.Context(), order.Key{Account: r.id, Order: id})
		r.t.Fatalf("order %d is not in Rule; ledger %+v", id, rec)
	}
	return found
}

// has fails unless the entry has the values.
func (r *rig) has(entry, want map[string]string) {
	r.t.Helper()
	for name, v := range want {
		if entry[name] != v {
			r.t.Errorf("%s is %q, want %q", name, entry[name], v)
		}
	}
}

// started returns the tags whose automations have started at a customer's.
func (r *rig) started(subscriber int64) []string {
	var list []string
	for _, a := range r.rule.Automations(key) {
		if a.Subscriber == subscriber {
			list = append(list, a.Tag)
		}
	}
	return list
}

func vats(t *testing.T, products string) []string {
	t.Helper()
	var rows []order.Product
	if err := json.Unmarshal([]byte(products), &rows); err != nil {
		t.Fatalf("%v in %s", err, products)
	}
	var list []string
	for _, p := range rows {
		list = append(list, p.VAT)
	}
	return list
}

// Floats as tills and their languages write them lose no order.
func TestFloatsAtTheDoor(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for _, body := range []string{
		`{"orderid":990001,"orderdate":1772442000,"currencycode":"SEK","moneytotal_gross_all":"106.00","moneyfinal_net":"100.00","moneyfinal_vat":"6.00","email":"kund.ett@example.com","orderitems":[{"productname":"Bok","sku":"B-1","quantity":1,"vatvalue":6.000000000000005,"moneyitemtotal_net":"100.00","moneyitemtotal_vat":"6.00"}]}`,
		`{"orderid":990002,"orderdate":1772442000.0,"currencycode":"SEK","moneytotal_gross_all":"106.00","moneytotal_gross_roundoff":1.4210854715202004e-14,"email":"kund.ett@example.com"}`,
		`{"orderid":9.90003E5,"orderdate":1.772442E+9,"currencycode":"SEK","moneytotal_gross_all":878.9999999999999,"additionaldata":{"customcrm-contactid":255934461.0},"orderitems":[{"sku":"F-1","quantity":0.30000000000000004,"moneyitemtotal_net":24.000000000000004,"moneyitemtotal_vat":5.999999999999999,"vatvalue":25.0}]}`,
		`{"orderid":990004,"orderdate":1772442000000,"currencycode":"JPY","moneytotal_gross_all":1234.5,"additionaldata":{"customcrm-contactid":2.55934461E8}}`,
		`{"orderid":990005,"orderdate":"2026-03-02T10:00:00+0100","currencycode":"KWD","moneytotal_gross_all":"1.2345","email":"kund.ett@example.com","x":1,"x":2,"orderitems":[null,{"sku":"A","quantity":1,"y":1,"y":2}]}`,
	} {
		r.want(r.call("POST", "/transactions", body), 200)
	}
	r.drain()
	first := r.entry(990001)
	r.has(first, map[string]string{"total": "106.00", "totalnet": "100.00", "totalvat": "6.00", "orderdate": "2026-03-02 10:00:00"})
	if got := vats(t, first["products"]); !slices.Equal(got, []string{"6"}) {
		t.Errorf("VAT %v, want 6", got)
	}
	r.has(r.entry(990002), map[string]string{"total": "106.00", "roundoff": "0.00", "orderdate": "2026-03-02 10:00:00"})
	third := r.entry(990003)
	r.has(third, map[string]string{"total": "879.00", "orderdate": "2026-03-02 10:00:00", "productcount": "0.3", "subscriber": "255934461"})
	if !strings.Contains(third["products"], `"quantity":"0.3"`) || !strings.Contains(third["products"], `"total":"30.00"`) {
		t.Errorf("products %s", third["products"])
	}
	r.has(r.entry(990004), map[string]string{"total": "1235", "orderdate": "2026-03-02 10:00:00", "subscriber": "255934461"})
	r.has(r.entry(990005), map[string]string{"total": "1.235", "orderdate": "2026-03-02 10:00:00", "skus": `["A"]`})
	card := r.want(r.call("GET", "/contacts/255934461/transactions", nil), 200).([]any)
	totals := map[string]string{}
	for _, v := range card {
		m := v.(map[string]any)
		totals[fmt.Sprint(m["transactionid"])] = fmt.Sprint(m["total"])
	}
	for id, want := range map[string]string{"990003": "879.00", "990004": "1235", "990005": "1.235"} {
		if totals[id] != want {
			t.Errorf("the card shows %q for order %s, want %q", totals[id], id, want)
		}
	}
}

// Whatever is wrong with any member of an order, the order is taken, its entry is
// in Rule, and the worker's log line names the member and nothing of its value.
func TestEveryMemberOfAnyKind(t *testing.T) {
	t.Parallel()
	values := []string{
		`null`, `true`, `7`, `-1e400`, `1e-400`, `0.1e1`, `"hemligt"`, `""`, `[]`, `{}`, `[[]]`, `{"hemligt":"hemligt"}`, `["hemligt",{"a":[1]}]`, `NaN`, `-Infinity`, `undefined`, `.5`, `+5`,
		strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), `"` + strings.Repeat("x", 200_000) + `"`, `"\u0000\ud800"`, "\"a\nb\"", "\"\xff\xfe\"", `9` + strings.Repeat("9", 5000),
	}
	top := []string{
		"creditorderid", "orderdate", "orderstateid", "paymentstateid", "ordertypeid", "currencycode", "phone", "namefirst", "namelast", "company", "invoice_zip", "delivery_city",
		"moneyfinal_net", "moneyfinal_vat", "moneyfinal_salestax", "moneytotal_gross_roundoff", "moneytotal_gross_all", "moneydelivery_net", "moneycheckout_vat", "deliverytypename", "additionaldata", "orderitems", "payments", "unheardof",
	}
	inside := []string{"orderitemid", "productname", "sku", "productattributes", "quantity", "unitlabel", "decimalquantitytotal", "vatvalue", "moneyitemtotal_net", "moneyitemtotal_vat", "moneydiscount", "vouchername", "vouchercode", "additionaldata", "unheardof"}
	r := newRig(t, options{seeded: true})
	id := int64(910000)
	bodies := map[int64]string{}
	for i, value := range values {
		var members, row []string
		for j, m := range top { // each value at each member, a third of the members at a time
			if (i+j)%3 == 0 && m != "orderstateid" && m != "paymentstateid" && m != "ordertypeid" && (m != "orderitems") {
				members = append(members, `"`+m+`":`+value)
			}
		}
		for _, m := range inside {
			row = append(row, `"`+m+`":`+value)
		}
		for _, extra := range []string{
			strings.Join(members, ","), `"orderitems":[{` + strings.Join(row, ",") + `},{"sku":"B","quantity":1,"moneyitemtotal_net":"80","moneyitemtotal_vat":"20"}]`,
			`"orderitems":[` + value + `,{"sku":"B"}],"payments":[` + value + `,{"name":"Kort","moneyamount":` + value + `}]`, `"orderitems":` + value, `"additionaldata":{"pos-receiptid":` + value + `,"pos-timezone":` + value + `}`,
		} {
			id++
			bodies[id] = fmt.Sprintf(`{%s,"orderid":%d,"email":"kund.ett@example.com"}`, extra, id)
		}
	}
	for id, body := range bodies {
		if a := r.call("POST", "/transactions", body); a.Status != 200 || !strings.Contains(a.Body, `"queued"`) {
			t.Errorf("%d: %d %s: %.200s", id, a.Status, a.Body, body)
		}
	}
	r.drain()
	for id := range bodies {
		if rec := r.ledger(id); rec.State != order.Sent {
			t.Errorf("order %d is %s, %s: %.200s", id, rec.State, rec.Reason, bodies[id])
		}
		r.entry(id)
	}
	if n := len(r.deadLetters().Messages()); n != 0 {
		t.Errorf("%d are on the dead-letter queue", n)
	}
	if strings.Contains(r.logs.String(), "hemligt") {
		t.Error("the log has a value")
	}
}

// What could not be read is named in the log line of the entry.
func TestUnreadIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/transactions", `{"orderid":920001,"email":"kund.ett@example.com","orderdate":"hemligt","moneytotal_gross_all":"hemligt","orderitems":[{"quantity":"hemligt"}]}`), 200)
	r.drain()
	want := []any{"moneytotal_gross_all", "orderdate", "orderitems[0].quantity"}
	for _, operation := range []string{"order-receive", "order-worker"} {
		lines := r.logs.lines(operation)
		if len(lines) != 1 {
			t.Fatalf("%d lines of %s", len(lines), operation)
		}
		if diff := cmp.Diff(want, lines[0]["unread"]); diff != "" || lines[0]["order"] != 920001.0 {
			t.Errorf("%s: order %v, %s", operation, lines[0]["order"], diff)
		}
	}
	if line := r.logs.lines("order-worker")[0]; line["state"] != "sent" {
		t.Errorf("state %v", line["state"])
	}
	// An amount that cannot be read is none, and not 0.
	if e := r.entry(920001); e["total"] != "" || e["orderdate"] != "2026-03-02 10:00:00" {
		t.Errorf("entry %v", e)
	}
	if strings.Contains(r.logs.String(), "hemligt") {
		t.Error("the log has a value")
	}
}

// An order that breaks off behind its number is not lost: it is put aside with
// its reason, the ledger has a line, and mended it goes on.
func TestBrokenOrders(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, body := range []string{
		`{"orderid":%d,"email":"kund.ett@example.com","personalid":"19121212-1212","orderitems":[{"sku":"A"},{`,
		`{"orderid":%d,"email":"kund.ett@example.com"} {"orderid":1}`,
		`{"personalid":"19121212-1212","orderid":"%d","a" 1}`,
		`{"orderid":%d,"personalid":"19121212`,
	} {
		id := int64(930000 + i)
		got := r.want(r.call("POST", "/transactions", fmt.Sprintf(body, id)), 200).(map[string]any)
		if got["status"] != "queued" {
			t.Errorf("%d: %v", id, got)
		}
		r.drain()
		if rec := r.ledger(id); rec.State != order.Failed || !strings.Contains(rec.Reason, "breaks off or goes wrong at byte") {
			t.Errorf("ledger: %+v", rec)
		}
	}
	aside := r.deadLetters().Messages()
	if len(aside) != 4 {
		t.Fatalf("%d messages on the dead-letter queue", len(aside))
	}
	for _, m := range aside {
		read, err := order.DecodeMessage(m.Body)
		if err != nil || !strings.HasPrefix(string(read.Order), "{") || strings.Contains(string(read.Order), "1212") {
			t.Errorf("%v: %s", err, read.Order)
		}
	}
	if strings.Contains(r.logs.String(), "1212-1212") {
		t.Error("the log has a personal number")
	}
	// Sent again whole, it is an order like any other.
	r.want(r.call("POST", "/transactions", sale(930000, of("255934461"))), 200)
	r.drain()
	if rec := r.ledger(930000); rec.State != order.Sent {
		t.Errorf("ledger: %+v", rec)
	}
}

// More than the queue takes is cut and counted, and not refused, up to what
// Lambda passes on.
func TestOrdersWithoutEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	row := func(i int, data string) string {
		return fmt.Sprintf(`{"orderitemid":%d,"productname":"Tröja %d","sku":"S-%d","quantity":1,"vatvalue":25,"moneyitemtotal_net":"80.00","moneyitemtotal_vat":"20.00","deliveryinfo":"%s","moneydiscount":"8.00","additionaldata":{%s}}`, i, i, i, strings.Repeat("x", 38), data)
	}
	var rows []string
	for i := range 17_500 {
		data := ""
		if i == 17_499 {
			data = `"customcrm-bonuscheckid":"bc-sist"`
		}
		rows = append(rows, row(i, data))
	}
	body := `{"orderid":940001,"additionaldata":{"customcrm-contactid":"255934461"},"orderitems":[` + strings.Join(rows, ",") + `]}`
	if len(body) < 4_000_000 || len(body) > 4_400_000 {
		t.Fatalf("%d bytes", len(body))
	}
	r.want(r.call("POST", "/transactions", body), 200)
	r.want(r.call("POST", "/transactions", `{"orderid":940002,"comment":"`+strings.Repeat("x", 4_390_000)+`","email":"kund.ett@example.com","orderitems":[`+row(1, "")+`]}`), 200)
	r.want(r.call("POST", "/transactions", `{"orderid":940003,"email":"kund.ett@example.com","orderitems":[`+strings.Repeat("null,", 800_000)+row(1, "")+`]}`), 200)
	r.want(r.call("POST", "/transactions", `{"orderid":940004,"email":"kund.ett@example.com","x":`+strings.Repeat("[", 2_100_000)+strings.Repeat("]", 2_100_000)+`}`), 200)
	r.drain()
	e := r.entry(940001)
	var products []order.Product
	if err := json.Unmarshal([]byte(e["products"]), &products); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d of 17500", 17_500-len(products)); e["productsomitted"] != want || len(products) < 100 || e["bonuschecks"] != `["bc-sist"]` {
		t.Errorf("%d rows, omitted %q, want %q; checks %s", len(products), e["productsomitted"], want, e["bonuschecks"])
	}
	// The whole order is counted, the rows that were cut too.
	r.has(e, map[string]string{
		"productcount": "17500", "discount": "175000.00", "vatrows": `[{"rate":"25","net":"1400000.00","vat":"350000.00","total":"1750000.00"}]`,
	})
	r.has(r.entry(940002), map[string]string{"skus": `["S-1"]`, "productsomitted": ""})
	r.has(r.entry(940003), map[string]string{"skus": `["S-1"]`, "productsomitted": ""})
	r.entry(940004)
	for _, line := range r.logs.lines("order-worker") {
		if omitted, _ := line["omitted"].(float64); (omitted > 0) != (line["order"] == 940001.0) {
			t.Errorf("log line %v", line)
		}
	}
}

// An order that names its customer in vain is in the ledger with that reason, and
// Rule is not asked; anonymous ones are counted.
func TestCustomersThatCannotBeTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, c := range []struct{ members, reason string }{
		{`"email":"anna@localhost"`, "email address"},
		{`"email":"a@example.com, b@example.com"`, "not one address"},
		{`"email":"a@example.com;b@example.com"`, "not one address"},
		{`"email":"kund(at)example"`, "email address"},
		{`"email":{"address":"a@example.com"}`, "email cannot be read"},
		{`"phone":"19121212-1212"`, "personal number"},
		{`"phone":"12"`, "phone number"},
		{`"additionaldata":{"customcrm-contactid":"c0ffee00-0000-4000-8000-000000000001"}`, "contact id"},
		{`"additionaldata":{"customcrm-contactid":255934461.5}`, "contact id"},
	} {
		id := int64(950000 + i)
		r.want(r.call("POST", "/transactions", fmt.Sprintf(`{"orderid":%d,%s}`, id, c.members)), 200)
		r.drain()
		if rec := r.ledger(id); rec.State != order.Skipped || !strings.Contains(rec.Reason, c.reason) || strings.Contains(rec.Reason, "example.com") {
			t.Errorf("%s: ledger %s, %q", c.members, rec.State, rec.Reason)
		}
		lines := r.logs.lines("order-worker")
		line := lines[len(lines)-1]
		if line["order"] != float64(id) || line["state"] != "skipped" || !strings.Contains(fmt.Sprint(line["reason"]), c.reason) {
			t.Errorf("log line %v", line)
		}
	}
	if routes := r.routes(); len(routes) > 1 { // the key's own
		t.Errorf("Rule was asked: %v", routes)
	}
	for range 3 {
		got := r.want(r.call("POST", "/transactions", sale(960000, nil)), 200).(map[string]any)
		if got["status"] != "ignored" {
			t.Errorf("anonymous: %v", got)
		}
	}
	counted := 0
	for _, line := range r.logs.lines("order-receive") {
		if line["AnonymousOrders"] == 1.0 {
			counted++
			embedded, _ := json.Marshal(line["_aws"])
			if !strings.Contains(string(embedded), `"Name":"AnonymousOrders"`) || !strings.Contains(string(embedded), `"Timestamp":1772442000000`) {
				t.Errorf("no metric in %s", embedded)
			}
		}
	}
	if counted != 3 {
		t.Errorf("%d anonymous orders were counted, want 3", counted)
	}
}

// What says that an order takes nothing back makes it a purchase.
func TestNoReturn(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, members := range []string{
		`"additionaldata":{"pos-originalsales-orderid":"0"}`, `"additionaldata":{"pos-originalsales-orderid":0}`, `"additionaldata":{"pos-originalsales-orderid":"-1"}`, `"additionaldata":{"pos-originalsales-orderid":" "}`,
		`"additionaldata":{"pos-originalsales-orderid":null}`, `"creditorderid":-1`, `"creditorderid":"0"`, `"creditorderid":0.0`, `"creditorderid":"-1"`,
	} {
		id := int64(970000 + i)
		before := len(r.started(firstCustomer))
		r.want(r.call("POST", "/transactions", fmt.Sprintf(`{"orderid":%d,"orderdate":1772442000,"moneytotal_gross_all":"106.00","email":"kund.ett@example.com",%s}`, id, members)), 200)
		r.drain()
		r.has(r.entry(id), map[string]string{"ordertype": "purchase", "originalorderid": ""})
		if got := r.started(firstCustomer)[before:]; !slices.Contains(got, "OrderCompleted") || slices.Contains(got, "RefundCompleted") {
			t.Errorf("%s: started %v", members, got)
		}
	}
}

// A till that uploads what it sold over thirty days ago starts no automation.
func TestOldOrdersStartNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const day = 24 * 3600
	for id, age := range map[int64]int{980001: 31, 980002: 29, 980003: 400} {
		before := len(r.started(firstCustomer))
		r.want(r.call("POST", "/transactions", sale(id, func(o map[string]any) { of("255934461")(o); o["orderdate"] = 1772442000 - age*day })), 200)
		r.want(r.call("POST", "/transactions", sale(id+100, func(o map[string]any) {
			o["email"] = fmt.Sprintf("ny%d@example.com", age)
			o["orderdate"] = 1772442000 - age*day
		})), 200)
		r.drain()
		r.entry(id)
		got := r.started(firstCustomer)[before:]
		var welcome int
		for _, a := range r.rule.Automations(key) {
			if s := r.entry(id + 100)["subscriber"]; fmt.Sprint(a.Subscriber) == s {
				welcome++
			}
		}
		if old := age > 30; old != (len(got) == 0) || old != (welcome == 0) {
			t.Errorf("%d days old: started %v, %d at a new customer", age, got, welcome)
		}
	}
}

// A till that counts in floats gets its answer.
func TestRedeemFloat(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	m := r.want(r.redeem("POST", bonusPath(hundred), `{"remaining":40.10000000000001,"orderid":990010.0}`), 200).(map[string]any)
	if m["remaining"] != 40.1 || m["used"] != 59.9 || r.inRule(hundred)["remaining"] != "40.10" {
		t.Errorf("%v, in Rule %v", m, r.inRule(hundred))
	}
	again := r.want(r.redeem("POST", bonusPath(hundred), `{"remaining":"40.1","orderid":"990010"}`), 200)
	if diff := cmp.Diff(any(m), again); diff != "" {
		t.Errorf("the same order's second call: %s", diff)
	}
}

// Several hundred strings that have broken programs go through an order.
func TestNaughtyStrings(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	list := naughty(t)
	for i, s := range list {
		id := int64(700_000 + i)
		o := map[string]any{
			"orderid": id, "orderdate": 1772442000, "moneytotal_gross_all": "10.00", "namefirst": s, "company": s, "comment": s, "deliverytypename": s,
			"additionaldata": map[string]any{"customcrm-contactid": "255934461", "store-name": s, "pos-receiptid": s, "pos-timezone": s, s: s},
			"orderitems":     []any{map[string]any{"productname": s, "sku": s, "productattributes": s, "quantity": 1, "unitlabel": s, "vouchername": s, "moneyitemtotal_net": "8.00", "moneyitemtotal_vat": "2.00", "additionaldata": map[string]any{"product-group-name": s}}},
			"payments":       []any{map[string]any{"name": s, "moneyamount": "10.00", "cardissuer": s}},
		}
		if a := r.call("POST", "/transactions", o); a.Status != http.StatusOK {
			t.Errorf("%.40q: %d %s", s, a.Status, a.Body)
		}
		if i%150 == 149 { // Rule takes 2,000 requests in ten minutes
			r.drain()
			r.clock.Advance(11 * time.Minute)
		}
	}
	r.drain()
	for i, s := range list {
		if rec := r.ledger(int64(700_000 + i)); rec.State != order.Sent {
			t.Errorf("%.40q: %s, %s", s, rec.State, rec.Reason)
		}
	}
	if n := len(r.rule.Entries(key, firstCustomer, order.Group)); n < len(list) {
		t.Errorf("%d entries of %d orders", n, len(list))
	}
	if a := r.call("GET", "/contacts/255934461/transactions", nil); a.Status != 200 {
		t.Errorf("the card: %d", a.Status)
	}
}

// naughty makes strings that have broken programs: each of a few hundred sorts.
func naughty(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "naughty.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for c := range 0x20 {
		list = append(list, string(rune(c)), "a"+string(rune(c))+"b")
	}
	for _, c := range []rune{0x7F, 0x80, 0x85, 0xA0, 0xAD, 0x200B, 0x200E, 0x202E, 0x2028, 0x2029, 0x2060, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x1F600, 0x10FFFF, 0xE000, 0x0301, 0xFE0F} {
		list = append(list, string(c), strings.Repeat(string(c), 40), "x"+string(c)+"y")
	}
	for _, s := range []string{"'", "\"", "\\", "`", "$", "%", "<", ">", "&", ";", "{", "}", "[", "]", "/", "|", "#", "?", "*", "~", "^", "=", "+", "-", "@", ",", ".", ":", "!", "(", ")", "_", " "} {
		list = append(list, s, strings.Repeat(s, 30), s+"a"+s)
	}
	for _, n := range []int{255, 256, 999, 1000, 1001, 4096, 16_000} {
		list = append(list, strings.Repeat("a", n), strings.Repeat("å", n), strings.Repeat("👪", n))
	}
	return list
}

// lastOrder is the day of a customer's latest purchase, as Rule has it.
func (r *rig) lastOrder(subscriber int64) (day, kind string) {
	for _, e := range r.rule.Entries(key, subscriber, "Sitoo-Contact") {
		for _, f := range e.Fields {
			if f.Name == "lastorderdate" {
				day, kind = f.Value, f.Type
			}
		}
	}
	return day, kind
}

// The day of the latest purchase is a date in Rule, whatever order comes last,
// and costs no request but for an account's first.
func TestLastOrderDate(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const day = 24 * 3600
	sell := func(id int64, days int64, change func(map[string]any)) []string {
		before := len(r.routes())
		r.want(r.call("POST", "/transactions", sale(id, func(o map[string]any) {
			of("255934461")(o)
			o["orderdate"] = 1772442000 - days*day
			if change != nil {
				change(o)
			}
		})), 200)
		r.drain()
		return r.routes()[before:]
	}
	sell(1, 3, nil)
	if got, kind := r.lastOrder(firstCustomer); got != "2026-02-27" || kind != "date" {
		t.Errorf("after the first order %q, of type %q", got, kind)
	}
	for _, c := range []struct {
		id, days int64
		change   func(map[string]any)
		want     string
	}{
		{2, 0, nil, "2026-03-02"},
		{3, 400, nil, "2026-03-02"},
		{4, 10, nil, "2026-03-02"},
		{5, 0, func(o map[string]any) {
			o["orderdate"] = 1772442000 + 15*3600
			o["additionaldata"].(map[string]any)["pos-timezone"] = "Asia/Tokyo"
		}, "2026-03-03"},
		{6, -2, func(o map[string]any) { o["creditorderid"] = 2; o["moneytotal_gross_all"] = "-5.00" }, "2026-03-03"},
	} {
		routes := sell(c.id, c.days, c.change)
		if got, _ := r.lastOrder(firstCustomer); got != c.want {
			t.Errorf("after order %d: %q, want %q", c.id, got, c.want)
		}
		if most := 2; len(routes) > most {
			t.Errorf("order %d took %v", c.id, routes)
		}
	}
	card := r.want(r.call("GET", "/contacts/255934461", nil), 200).(map[string]any)
	if card["namefirst"] != "Kund" {
		t.Errorf("card %v", card)
	}
}

// A return that comes before its sale gives the check back when the sale comes,
// whoever it names.
func TestReturnBeforeItsSale(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]func(map[string]any){
		"the customer":    of("255934464"),
		"nobody":          func(map[string]any) {},
		"another":         of("255934461"),
		"by email":        func(o map[string]any) { o["email"] = "kund.ny@example.com" },
		"twice delivered": of("255934464"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			back := sale(700002, func(o map[string]any) {
				who(o)
				o["creditorderid"] = 700001
				o["moneytotal_gross_all"] = "-500.00"
				o["orderitems"] = []any{map[string]any{"orderitemid": 0, "sku": "A", "quantity": -1, "vatvalue": 25, "moneyitemtotal_net": "-320.00", "moneyitemtotal_vat": "-80.00"}}
			})
			r.want(r.call("POST", "/transactions", back), 200)
			if name == "twice delivered" {
				r.want(r.call("POST", "/transactions", back), 200)
			}
			r.drain()
			r.want(r.call("POST", "/transactions", sale(700001, func(o map[string]any) {
				of("255934464")(o)
				o["orderitems"] = []any{map[string]any{
					"orderitemid": 0, "sku": "A", "quantity": 1, "vatvalue": 25, "moneyitemtotal_net": "320.00", "moneyitemtotal_vat": "80.00", "moneydiscount": "80.00",
					"additionaldata": map[string]any{"customcrm-bonuscheckid": hundred},
				}}
			})), 200)
			r.drain()
			if got := r.shown()[hundred]; got != "100.00" {
				t.Errorf("the card shows %q, want the whole check", got)
			}
		})
	}
}

// A date that is none refuses no registration.
func TestZeroBirthday(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, zero := range []string{"0001-01-01T00:00:00Z", "0000-00-00", "0000-00-00 00:00:00", "-0001-11-30T00:00:00+0100", "0"} {
		id := r.want(r.call("POST", "/contacts", map[string]any{"email": fmt.Sprintf("ny%d@example.com", i), "birthday": zero}), 200).(string)
		if card := r.want(r.call("GET", "/contacts/"+id, nil), 200).(map[string]any); card["birthday"] != "" {
			t.Errorf("%s: birthday %v", zero, card["birthday"])
		}
	}
}

// The hour that comes twice in October shows as the instant that it was.
func TestOctober(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.clock.Advance(time.Unix(1792900000, 0).Sub(r.clock.Now()))
	for id, at := range map[int64]int64{1: 1792886400 + 1800, 2: 1792886400 + 5400} {
		r.want(r.call("POST", "/transactions", sale(id, func(o map[string]any) { of("255934464")(o); o["orderdate"] = at })), 200)
	}
	r.drain()
	list := r.want(r.call("GET", "/contacts/255934464/transactions", nil), 200).([]any)
	got := []string{}
	for _, v := range list {
		got = append(got, fmt.Sprint(v.(map[string]any)["transactionid"], " ", v.(map[string]any)["date"]))
	}
	if len(got) < 2 || got[0] != "2 2026-10-25T01:30:00Z" || got[1] != "1 2026-10-25T00:30:00Z" {
		t.Errorf("the card shows %v", got)
	}
	for _, id := range []int64{1, 2} {
		r.has(r.entry(id), map[string]string{"orderdate": "2026-10-25 02:30:00"})
	}
}
