package order_test

import (
	"encoding/json"
	"testing"
	"time"
	_ "time/tzdata" // of the tills, also where the machine has none

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sitoo"
)

// An entry says all that a receipt does.
func TestReceipt(t *testing.T) {
	t.Parallel()
	o := decoded(t, `{"orderid":1,"orderdate":1772442000,"currencycode":"SEK","deliverytypename":"Hemleverans","moneydelivery_net":"39.20","moneydelivery_vat":"9.80","moneycheckout_net":"20.00","moneycheckout_vat":"5.00",
		"moneyfinal_net":"195.76","moneyfinal_vat":"38.52","moneytotal_gross_roundoff":"-0.28","moneytotal_gross_all":"234.00",
		"orderitems":[
			{"productname":"Ost","sku":"O-1","quantity":1,"unitlabel":"kg","decimalunitquantity":"0.472","decimalquantitytotal":"0.472","vatvalue":12,"moneyitemtotal_net":"84.29","moneyitemtotal_vat":"10.11"},
			{"productname":"Bok","sku":"B-1","quantity":3,"vatvalue":6,"moneyitemtotal_net":"94.34","moneyitemtotal_vat":"5.66"},
			{"productname":"Tröja","sku":"T-1","quantity":1,"vatvalue":25,"moneyitemtotal_net":"80.00","moneyitemtotal_vat":"20.00","moneydiscount":"20.00"},
			{"productname":"Sko","sku":"S-1","quantity":-1,"vatvalue":25,"moneyitemtotal_net":"-80.00","moneyitemtotal_vat":"-20.00","additionaldata":{"product-group-name":"Skor"}}],
		"payments":[{"name":"Kort","moneyamount":"200.00","cardissuer":"Visa"},{"name":"Presentkort","moneyamount":"34.00"}]}`)
	got := values(t, order.Entry(o, ""))
	want := []order.Product{
		{Name: "Ost", SKU: "O-1", Quantity: "1", Price: "94.40", Discount: "0.00", VAT: "12", Total: "94.40", Unit: "kg", Units: "0.472", UnitPrice: "200.00"},
		{Name: "Bok", SKU: "B-1", Quantity: "3", Price: "33.33", Discount: "0.00", VAT: "6", Total: "100.00", Note: "avrundat"},
		{Name: "Tröja", SKU: "T-1", Quantity: "1", Price: "125.00", Discount: "25.00", VAT: "25", Total: "100.00", Note: "rabatt"},
		{Name: "Sko", SKU: "S-1", Quantity: "-1", Price: "100.00", Discount: "0.00", VAT: "25", Total: "-100.00", Returned: "true"},
		{Name: "Hemleverans", Quantity: "1", Price: "49.00", Discount: "0.00", VAT: "25", Total: "49.00", Kind: "freight"},
		{Name: "Avgift", Quantity: "1", Price: "25.00", Discount: "0.00", VAT: "25", Total: "25.00", Kind: "fee"},
	}
	if diff := cmp.Diff(want, products(t, got)); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"vatrows":     `[{"rate":"25","net":"59.20","vat":"14.80","total":"74.00"},{"rate":"12","net":"84.29","vat":"10.11","total":"94.40"},{"rate":"6","net":"94.34","vat":"5.66","total":"100.00"}]`,
		"paymentrows": `[{"name":"Kort","amount":"200.00","issuer":"Visa"},{"name":"Presentkort","amount":"34.00"}]`,
	} {
		if raw, err := json.Marshal(got[name]); err != nil || string(raw) != want {
			t.Errorf("%s: got %s, want %s", name, raw, want)
		}
	}
	if diff := cmp.Diff([]string{"Ost", "Bok", "Tröja"}, got["names"]); diff != "" {
		t.Errorf("names: %s", diff)
	}
	if got["productgroups"] != nil || got["productcount"] != "4" {
		t.Errorf("groups %v, count %v", got["productgroups"], got["productcount"])
	}
	english := products(t, values(t, order.Entry(o, "en")))
	if english[5].Name != "Fee" || english[2].Note != "discount" || english[1].Note != "rounded" {
		t.Errorf("in English: %+v", english)
	}
}

// A return's rows are all of one kind: they are named as a purchase's are.
func TestReturnNamesItsRows(t *testing.T) {
	t.Parallel()
	got := values(t, order.Entry(decoded(t, `{"orderid":1,"creditorderid":7,"moneydelivery_net":"-40","moneydelivery_vat":"-10","orderitems":[{"productname":"Sko","sku":"S-1","quantity":-1,"moneyitemtotal_net":"-80.00","moneyitemtotal_vat":"-20.00","vatvalue":25}]}`), ""))
	rows := products(t, got)
	if diff := cmp.Diff([]string{"S-1"}, got["skus"]); diff != "" || rows[0].Returned != "" || rows[1].Quantity != "-1" || rows[1].Total != "-50.00" {
		t.Errorf("%s, rows %+v", diff, rows)
	}
}

// Amounts have the decimals of their currency.
func TestCurrencies(t *testing.T) {
	t.Parallel()
	for currency, want := range map[string][]string{"JPY": {"1000", "1000", "50"}, "SEK": {"1000.00", "1000.00", "50.00"}, "KWD": {"1000.000", "1000.000", "50.000"}} {
		got := values(t, order.Entry(decoded(t, `{"orderid":1,"currencycode":"`+currency+`","moneytotal_gross_all":"1000.0000001","orderitems":[{"quantity":1,"vatvalue":10,"moneyitemtotal_net":"909.0909","moneyitemtotal_vat":"90.9091","moneydiscount":"45.454545"}]}`), ""))
		row := products(t, got)[0]
		if have := []string{got["total"].(string), row.Total, row.Discount}; !cmp.Equal(have, want) {
			t.Errorf("%s: %v, want %v", currency, have, want)
		}
	}
}

// An entry has the time on the till's clock, and the instant.
func TestZones(t *testing.T) {
	t.Parallel()
	const autumn = 1792886400 // 2026-10-25 00:00 UTC
	for name, c := range map[string]struct {
		zone       string
		at         int64
		date, inst string
	}{
		"Sweden":             {"Europe/Stockholm", 1772442000, "2026-03-02 10:00:00", "2026-03-02T09:00:00Z"},
		"Finland":            {"Europe/Helsinki", 1772442000, "2026-03-02 11:00:00", "2026-03-02T09:00:00Z"},
		"New York":           {"America/New_York", 1772442000, "2026-03-02 04:00:00", "2026-03-02T09:00:00Z"},
		"unknown":            {"Europe/Storstad", 1772442000, "2026-03-02 10:00:00", "2026-03-02T09:00:00Z"},
		"the first of two":   {"", autumn + 1800, "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"},
		"the second of them": {"", autumn + 5400, "2026-10-25 02:30:00", "2026-10-25T01:30:00Z"},
	} {
		got := values(t, order.Entry(sitoo.Order{ID: 1, Date: time.Unix(c.at, 0), Additional: map[string]string{"pos-timezone": c.zone}}, ""))
		if got["orderdate"] != c.date || got["orderdateutc"] != c.inst {
			t.Errorf("%s: %v, %v; want %s, %s", name, got["orderdate"], got["orderdateutc"], c.date, c.inst)
		}
	}
}
