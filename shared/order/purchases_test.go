package order_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// entry is an entry as Rule answers it.
func entry(values map[string]string) rule.Entry {
	e := rule.Entry{ID: "1", Group: order.Group, Values: map[string]rule.Value{}}
	for name, raw := range values {
		e.Values[name] = rule.Value{Raw: json.RawMessage(raw)}
	}
	return e
}

// back is an order's entry as Rule answers it.
func back(t *testing.T, o sitoo.Order) rule.Entry {
	t.Helper()
	e := rule.Entry{ID: "1", Group: order.Group, Values: map[string]rule.Value{}}
	for _, f := range order.Entry(o, "") {
		raw, err := json.Marshal(f.Value)
		if err != nil {
			t.Fatal(err)
		}
		e.Values[f.Name] = rule.Value{Raw: raw}
	}
	return e
}

// What is damaged is left out, and the rest shows.
func TestBought(t *testing.T) {
	t.Parallel()
	row := order.Product{Name: "Strumpor", SKU: "S1", Quantity: "2", Price: "10.00", Discount: "0.00", VAT: "25", Total: "20.00"}
	const rowJSON = `{"name":"Strumpor","sku":"S1","attributes":"","quantity":"2","price":"10.00","discount":"0.00","vat":"25","total":"20.00"}`
	date := time.Date(2024, 9, 27, 10, 40, 0, 0, time.UTC)
	whole := order.Bought{OrderID: "210334", ReceiptID: "R1", StoreName: "Butik", Currency: "SEK", Total: "879.00", Date: date, Products: []order.Product{row}}
	bare := whole
	bare.Products = nil
	for name, c := range map[string]struct {
		change map[string]string // "" takes a value away
		want   func() (order.Bought, bool)
	}{
		"whole":                  {nil, func() (order.Bought, bool) { return whole, true }},
		"products in a string":   {map[string]string{"products": `"[` + strings.ReplaceAll(rowJSON, `"`, `\"`) + `]"`}, func() (order.Bought, bool) { return whole, true }},
		"no products":            {map[string]string{"products": ""}, func() (order.Bought, bool) { return bare, true }},
		"null products":          {map[string]string{"products": "null"}, func() (order.Bought, bool) { return bare, true }},
		"products in words":      {map[string]string{"products": `"oj"`}, func() (order.Bought, bool) { return bare, true }},
		"an object for products": {map[string]string{"products": rowJSON}, func() (order.Bought, bool) { return bare, true }},
		"a good row among bad":   {map[string]string{"products": `[7,"x",[],{"name":{}},` + rowJSON + `]`}, func() (order.Bought, bool) { return whole, true }},
		"spaces around":          {map[string]string{"orderid": `" 210334 "`, "total": `" 879.00 "`, "orderdate": `" 2024-09-27 12:40:00"`}, func() (order.Bought, bool) { return whole, true }},
		"numbers for texts":      {map[string]string{"orderid": `210334`, "total": `879`}, func() (order.Bought, bool) { return whole, true }},
		"a comma in the total":   {map[string]string{"total": `"879,00"`}, func() (order.Bought, bool) { return whole, true }},
		"a total of minus nothing": {map[string]string{"total": `"-0.00"`}, func() (order.Bought, bool) {
			b := whole
			b.Total = "0.00"
			return b, true
		}},
		"no receipt, no store": {map[string]string{"receiptid": "", "storename": "null", "currencycode": ""}, func() (order.Bought, bool) {
			b := whole
			b.ReceiptID, b.StoreName, b.Currency = "", "", ""
			return b, true
		}},
		"no number":             {map[string]string{"orderid": ""}, gone},
		"an empty number":       {map[string]string{"orderid": `" "`}, gone},
		"no total":              {map[string]string{"total": ""}, gone},
		"a total in words":      {map[string]string{"total": `"gratis"`}, gone},
		"a total of two":        {map[string]string{"total": `"1,234,00"`}, gone},
		"a total with exponent": {map[string]string{"total": `"1e9"`}, gone},
		"a total of gigabytes":  {map[string]string{"total": `1e999999999`}, gone},
		"a total without end":   {map[string]string{"total": `"` + strings.Repeat("9", 10_000) + `"`}, gone},
		"no date":               {map[string]string{"orderdate": ""}, gone},
		"a date in words":       {map[string]string{"orderdate": `"igår"`}, gone},
		"a date alone":          {map[string]string{"orderdate": `"2024-09-27"`}, gone},
		"a day that is none":    {map[string]string{"orderdate": `"2024-02-30 12:00:00"`}, gone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]string{
				"orderid": `"210334"`, "receiptid": `"R1"`, "storename": `"Butik"`, "currencycode": `"SEK"`, "total": `"879.00"`, "orderdate": `"2024-09-27 12:40:00"`, "products": `[` + rowJSON + `]`,
			}
			for k, v := range c.change {
				values[k] = v
				if v == "" {
					delete(values, k)
				}
			}
			want, wantOK := c.want()
			got, ok := order.BoughtOf(entry(values))
			if diff := cmp.Diff(want, got); diff != "" || ok != wantOK {
				t.Errorf("ok %v, want %v: %s", ok, wantOK, diff)
			}
		})
	}
}

func gone() (order.Bought, bool) { return order.Bought{}, false }

// Rule's clock is Stockholm's, and has no zone: what is written in local time is
// read back as the same moment, but in the hour that comes twice.
func TestStockholmTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		utc, local string
		twice      bool
	}{
		{"2026-01-15T12:00:00Z", "2026-01-15 13:00:00", false},
		{"2026-07-15T12:00:00Z", "2026-07-15 14:00:00", false},
		{"2025-12-31T23:30:00Z", "2026-01-01 00:30:00", false},
		// Into summer time: 02:00 to 03:00 does not exist.
		{"2026-03-29T00:59:59Z", "2026-03-29 01:59:59", false},
		{"2026-03-29T01:00:00Z", "2026-03-29 03:00:00", false},
		// Out of it: 02:00 to 03:00 comes twice.
		{"2026-10-24T23:59:59Z", "2026-10-25 01:59:59", false},
		{"2026-10-25T00:00:00Z", "2026-10-25 02:00:00", true},
		{"2026-10-25T00:30:00Z", "2026-10-25 02:30:00", true},
		{"2026-10-25T01:00:00Z", "2026-10-25 02:00:00", true},
		{"2026-10-25T01:59:59Z", "2026-10-25 02:59:59", true},
		{"2026-10-25T02:00:00Z", "2026-10-25 03:00:00", false},
	} {
		at, err := time.Parse(time.RFC3339, c.utc)
		if err != nil {
			t.Fatal(err)
		}
		e := back(t, sitoo.Order{ID: 1, Date: at})
		if got := e.Values["orderdate"].Text(); got != c.local {
			t.Errorf("%s is written as %q, want %q", c.utc, got, c.local)
		}
		b, ok := order.BoughtOf(e)
		off := b.Date.Sub(at).Abs()
		if !ok || off != 0 && !c.twice || off > time.Hour || b.Date.In(rule.Stockholm).Format(rule.TimeLayout) != c.local {
			t.Errorf("%s is read back as %s", c.utc, b.Date.Format(time.RFC3339))
		}
	}
	// A moment that does not exist, typed by hand: the purchase shows.
	if b, ok := order.BoughtOf(entry(map[string]string{"orderid": `"1"`, "total": `"1"`, "orderdate": `"2026-03-29 02:30:00"`})); !ok || b.Date.Format("2006-01-02") != "2026-03-29" {
		t.Errorf("02:30 in the night without it: %+v, %v", b, ok)
	}
}

// An order shows on the card as it was sold.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	o := full()
	b, ok := order.BoughtOf(back(t, o))
	if !ok {
		t.Fatal("the entry does not show")
	}
	want := order.Bought{
		OrderID: "210334", ReceiptID: "R1", StoreName: "Butik", Currency: "SEK", Total: "100.00", Date: o.Date,
		Products: products(t, values(t, order.Entry(o, ""))),
	}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
}

var shown = regexp.MustCompile(`^-?[0-9]{1,20}\.[0-9]{2}$`)

// Whatever stands in an entry, what shows of it can be shown.
func FuzzPurchase(f *testing.F) {
	f.Add(`"210334"`, `"2024-09-27 12:40:00"`, `"879.00"`, `[{"name":"x","quantity":"1"}]`)
	f.Add(`1`, `"2026-03-29 02:30:00"`, `-0`, `"[{}]"`)
	f.Add(`null`, `null`, `null`, `null`)
	f.Add(`"1"`, `"0000-01-01 00:00:00"`, `"1e999999999"`, `"{"`)
	f.Add(`"1"`, `"9999-12-31 23:59:59"`, `".5"`, `[null]`)
	f.Fuzz(func(t *testing.T, id, date, total, rows string) {
		b, ok := order.BoughtOf(entry(map[string]string{"orderid": id, "orderdate": date, "total": total, "products": rows}))
		if !ok {
			if diff := cmp.Diff(order.Bought{}, b); diff != "" {
				t.Errorf("half a purchase: %s", diff)
			}
			return
		}
		if b.OrderID == "" || !shown.MatchString(b.Total) || b.Total == "-0.00" || b.Date.Location() != time.UTC {
			t.Errorf("id %q, date %q, total %q give %+v", id, date, total, b)
		}
		if _, err := b.Date.MarshalText(); err != nil {
			t.Errorf("date %q gives %v", date, err)
		}
	})
}
