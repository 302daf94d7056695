package sitoo_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The three example orders of the contract with Sitoo.
func TestDecodeOrder(t *testing.T) {
	t.Parallel()
	one, zero := dec("1"), decimal.Zero
	goods := map[string]string{"product-group-name": "Common Goods"}
	for file, want := range map[string]sitoo.Order{
		"cash-sale.json": {
			ID: 210334, Date: time.Date(2024, 9, 27, 10, 40, 0, 0, time.UTC), State: sitoo.StateClosed, PaymentState: 20, Type: sitoo.TypeOrder, Currency: "SEK",
			Email: "kund.ett@example.com", Phone: "+46701740605", FirstName: "Kund", LastName: "Ett",
			Address: map[string]string{"invoice_address": "Exempelgatan 1", "invoice_zip": "11111", "invoice_city": "Stockholm", "invoice_countryid": "SE"},
			Net:     dec("703.12"), VAT: dec("175.78"), RoundOff: dec("0.10"), Total: dec("879.00"),
			Additional: map[string]string{
				"pos-receiptid": "SII000000150000420871", "pos-staff-userid": "{0A1B2C3D-0000-4000-8000-00000000AAAA}", "pos-staff-externalid": "1007",
				"pos-timezone": "Europe/Stockholm", "store-externalid": "200", "store-externalgroupid": "SE", "store-name": "Example Concept Store",
				"crm-customerid": "c0ffee00-0000-4000-8000-000000000001", "crm-membernumber": "700001",
			},
			Items: []sitoo.Item{
				{ID: "0", Name: "Merino Sweater", SKU: "SW-100-M", Attributes: "Color: Navy, Size: M", Quantity: one, Units: one, VATPercent: dec("25"), Net: dec("639.20"), VAT: dec("159.80"), Discount: zero, Additional: goods},
				{ID: "1", Name: "Wool Socks", SKU: "SO-200-39", Attributes: "Size: 39-42", Quantity: one, Units: one, VATPercent: dec("25"), Net: dec("63.92"), VAT: dec("15.98"), Discount: zero, Additional: goods},
			},
			Payments: []sitoo.Payment{{Name: "Cash", Amount: dec("879.00"), Additional: map[string]string{}}},
		},
		"bonus-check.json": {
			ID: 210335, Date: time.Date(2024, 9, 27, 11, 40, 0, 0, time.UTC), State: sitoo.StateClosed, PaymentState: 20, Type: sitoo.TypeOrder, Currency: "SEK",
			Address: map[string]string{}, Net: dec("1000.00"), VAT: dec("202.80"), Total: dec("1202.80"),
			Additional: map[string]string{
				"pos-receiptid": "SII000000150000420872", "pos-staff-userid": "{0A1B2C3D-0000-4000-8000-00000000AAAA}", "pos-timezone": "Europe/Stockholm",
				"store-externalid": "200", "store-name": "Example Concept Store", "voyado-contactid": "c0ffee00-0000-4000-8000-000000000002", "voyado-membernumber": "700002",
			},
			Items: []sitoo.Item{
				{ID: "0", Name: "Rain Jacket", SKU: "JA-300-L", Attributes: "Size: L", Quantity: one, Units: one, VATPercent: dec("25"), Net: dec("720.00"), VAT: dec("180.00"), Discount: dec("80.00"), VoucherName: "Bonus check 100 kr", Additional: map[string]string{"crm-bonuscheckid": "bc-000123", "product-group-name": "Common Goods"}},
				{ID: "1", Name: "Trail Guide", SKU: "BK-001", Quantity: one, Units: one, VATPercent: dec("6"), Net: dec("180.00"), VAT: dec("10.80"), Discount: dec("20.00"), VoucherName: "10% off books", VoucherCode: "BOOK10", Additional: map[string]string{"product-group-name": "Books"}},
				{ID: "2", Name: "Coffee Beans", SKU: "CF-250", Quantity: dec("2"), Units: dec("2"), VATPercent: dec("12"), Net: dec("100.00"), VAT: dec("12.00"), Additional: map[string]string{"product-group-name": "Food"}},
			},
			Payments: []sitoo.Payment{{Name: "Card", Amount: dec("1202.80"), Additional: map[string]string{"verifone-card-masked-pan": "************0000"}}},
		},
		"return.json": {
			ID: 210502, CreditID: 210334, Date: time.Date(2024, 10, 4, 10, 0, 0, 0, time.UTC), State: sitoo.StateClosed, PaymentState: 20, Type: sitoo.TypeOrder, Currency: "SEK",
			Email: "kund.ett@example.com", Phone: "+46701740605", FirstName: "Kund", LastName: "Ett", Address: map[string]string{},
			Net: dec("-639.20"), VAT: dec("-159.80"), Total: dec("-799.00"),
			Additional: map[string]string{
				"pos-receiptid": "SII000000150000510010", "pos-originalsales-orderid": "210334", "pos-timezone": "Europe/Stockholm", "refundreasoncode-reasoncode": "101",
				"refundreasoncode-comment": "Wrong size", "store-externalid": "201", "store-name": "Example Outlet",
				"crm-customerid": "c0ffee00-0000-4000-8000-000000000001", "crm-membernumber": "700001",
			},
			Items: []sitoo.Item{{
				ID: "0", Name: "Merino Sweater", SKU: "SW-100-M", Attributes: "Color: Navy, Size: M", Quantity: dec("-1"), Units: dec("-1"), VATPercent: dec("25"), Net: dec("-639.20"), VAT: dec("-159.80"),
				Additional: map[string]string{"pos-originalsales-orderitemid": "0", "reasoncode-return": "101", "return-warehouseid": "9"},
			}},
			Payments: []sitoo.Payment{{Name: "Cash", Amount: dec("-799.00"), Additional: map[string]string{"pos-originalsales-payment-index": "0"}}},
		},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			body := read(t, file)
			if err := sitoo.Check(body); err != nil {
				t.Fatal(err)
			}
			got, err := sitoo.DecodeOrder(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Sitoo's documentation says to expect numbers as strings and strings as
// numbers, and empty strings and nulls for what is not there.
func TestDecodeOrderLiberal(t *testing.T) {
	t.Parallel()
	empty := sitoo.Order{ID: 1, State: sitoo.Unsaid, PaymentState: sitoo.Unsaid, Type: sitoo.Unsaid, Address: map[string]string{}}
	for name, c := range map[string]struct {
		body string
		want func(o *sitoo.Order)
	}{
		"nothing but a number": {`{"orderid":1}`, func(*sitoo.Order) {}},
		"numbers as strings": {
			`{"orderid":"210334","creditorderid":" 7 ","orderdate":"1727433600","orderstateid":"10","ordertypeid":"100","orderitems":[{"quantity":"-2","vatvalue":"25.00"}]}`,
			func(o *sitoo.Order) {
				o.ID, o.CreditID, o.State, o.Type = 210334, 7, 10, 100
				o.Date = time.Unix(1727433600, 0).UTC()
				o.Items = []sitoo.Item{{Quantity: dec("-2"), Units: dec("-2"), VATPercent: dec("25")}}
			},
		},
		"strings as numbers": {
			`{"orderid":1,"phone":46701740605,"namefirst":7,"company":true,"invoice_zip":11111,"additionaldata":{"store-externalid":200,"pos-receiptid":1.50}}`,
			func(o *sitoo.Order) {
				o.Phone, o.FirstName, o.Company = "46701740605", "7", "true"
				o.Address["invoice_zip"] = "11111"
				o.Additional = map[string]string{"store-externalid": "200", "pos-receiptid": "1.50"}
			},
		},
		"a whole number with a decimal": {`{"orderid":210334.0,"orderstateid":"10.0"}`, func(o *sitoo.Order) { o.ID, o.State = 210334, 10 }},
		"empty strings": {
			`{"orderid":1,"creditorderid":"","orderdate":"","orderstateid":"","moneyfinal_net":"","email":" ","currencycode":" sek ","invoice_city":""}`,
			func(o *sitoo.Order) { o.Currency = "SEK" }, // above all, the state is not 0
		},
		"null everywhere": {
			`{"orderid":1,"creditorderid":null,"orderdate":null,"orderstateid":null,"paymentstateid":null,"ordertypeid":null,"currencycode":null,"email":null,"phone":null,
			"namefirst":null,"namelast":null,"company":null,"invoice_zip":null,"moneyfinal_net":null,"moneyfinal_vat":null,"moneytotal_gross_roundoff":null,
			"moneytotal_gross_all":null,"additionaldata":null,"orderitems":null,"payments":null}`,
			func(*sitoo.Order) {},
		},
		"null in rows": {
			`{"orderid":1,"orderitems":[{"orderitemid":null,"productname":null,"sku":null,"quantity":null,"vatvalue":null,"moneyitemtotal_net":null,"moneydiscount":null,"additionaldata":null}],"payments":[{"name":null,"moneyamount":null}]}`,
			func(o *sitoo.Order) { o.Items, o.Payments = []sitoo.Item{{}}, []sitoo.Payment{{}} },
		},
		"empty lists":                         {`{"orderid":1,"orderitems":[],"payments":[],"additionaldata":{}}`, func(o *sitoo.Order) { o.Additional = map[string]string{} }},
		"additional data as PHP's empty list": {`{"orderid":1,"additionaldata":[ ]}`, func(*sitoo.Order) {}},
		"additional data with more than texts": {
			`{"orderid":1,"additionaldata":{"a":"x","b":{"c":1},"d":[1],"e":null,"f":7,"g":false}}`,
			func(o *sitoo.Order) { o.Additional = map[string]string{"a": "x", "e": "", "f": "7", "g": "false"} },
		},
		"rows by weight": {
			`{"orderid":1,"orderitems":[{"quantity":2,"decimalunitquantity":"0.250","decimalquantitytotal":"0.500"},{"quantity":-1,"decimalquantitytotal":-0.25},
				{"quantity":3,"decimalquantitytotal":null},{"quantity":3,"decimalquantitytotal":"0.000"},{"decimalquantitytotal":"1.000"}]}`,
			func(o *sitoo.Order) {
				o.Items = []sitoo.Item{
					{Quantity: dec("2"), Units: dec("0.5")},
					{Quantity: dec("-1"), Units: dec("-0.25")},
					{Quantity: dec("3"), Units: dec("3")},
					{Quantity: dec("3"), Units: dec("3")},
					{Units: dec("1")},
				}
			},
		},
		"a row's id in every form": {
			`{"orderid":1,"orderitems":[{"orderitemid":0},{"orderitemid":"1"},{"orderitemid":" 2 "},{"orderitemid":"{3CCB}"},{"orderitemid":""},{}]}`,
			func(o *sitoo.Order) { o.Items = []sitoo.Item{{ID: "0"}, {ID: "1"}, {ID: "2"}, {ID: "{3CCB}"}, {}, {}} },
		},
		"a date in words":      {`{"orderid":1,"orderdate":"2024-09-27T12:40:00+02:00"}`, func(o *sitoo.Order) { o.Date = time.Unix(1727433600, 0).UTC() }},
		"no date":              {`{"orderid":1,"orderdate":0}`, func(*sitoo.Order) {}},
		"members nobody knows": {`{"orderid":1,"tomorrow":{"a":[{"b":1}]}}`, func(*sitoo.Order) {}},
		"the largest number":   {`{"orderid":9223372036854775807}`, func(o *sitoo.Order) { o.ID = 9223372036854775807 }},
		"states nobody knows":  {`{"orderid":1,"orderstateid":-1,"paymentstateid":999999,"ordertypeid":-999998}`, func(o *sitoo.Order) { o.State, o.PaymentState, o.Type = -1, 999999, -999998 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sitoo.DecodeOrder([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			want := empty
			want.Address = map[string]string{}
			c.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeOrderRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, member, says string }{
		"not an object":         {`[]`, "", "not a JSON object"},
		"null":                  {`null`, "", "not a JSON object"},
		"no number":             {`{}`, "orderid", "is missing"},
		"a null number":         {`{"orderid":null}`, "orderid", "is missing"},
		"an empty number":       {`{"orderid":""}`, "orderid", "above 0"},
		"zero":                  {`{"orderid":0}`, "orderid", "above 0"},
		"negative":              {`{"orderid":-7}`, "orderid", "above 0"},
		"a fraction":            {`{"orderid":1.5}`, "orderid", "whole number"},
		"an exponent":           {`{"orderid":1e3}`, "orderid", "whole number"},
		"over 64 bits":          {`{"orderid":9223372036854775808}`, "orderid", "whole number"},
		"hexadecimal":           {`{"orderid":"0x10"}`, "orderid", "whole number"},
		"with a separator":      {`{"orderid":"1_000"}`, "orderid", "whole number"},
		"words":                 {`{"orderid":"ett"}`, "orderid", "whole number"},
		"a truth":               {`{"orderid":true}`, "orderid", "whole number"},
		"digits of elsewhere":   {`{"orderid":"١٢٣"}`, "orderid", "whole number"},
		"a list for a number":   {`{"orderid":[1]}`, "orderid", "not a string"},
		"an object for a text":  {`{"orderid":1,"email":{"a":1}}`, "email", "not a string"},
		"a list for an address": {`{"orderid":1,"delivery_zip":[]}`, "delivery_zip", "not a string"},
		"a date in words":       {`{"orderid":1,"orderdate":"i tisdags"}`, "orderdate", "moment in time"},
		"a date before 1970":    {`{"orderid":1,"orderdate":-1}`, "orderdate", "moment in time"},
		"a date in ms":          {`{"orderid":1,"orderdate":1727433600000}`, "orderdate", "moment in time"},
		"a date of year 1":      {`{"orderid":1,"orderdate":"0001-01-01T00:00:00Z"}`, "orderdate", "moment in time"},
		"a state out of range":  {`{"orderid":1,"orderstateid":1000001}`, "orderstateid", "out of range"},
		"rows that are none":    {`{"orderid":1,"orderitems":{"0":{}}}`, "orderitems", "not an array"},
		"rows as text":          {`{"orderid":1,"orderitems":"[]"}`, "orderitems", "not an array"},
		"a row that is none":    {`{"orderid":1,"orderitems":[{},7]}`, "orderitems[1]", "not an object"},
		"a null row":            {`{"orderid":1,"orderitems":[null]}`, "orderitems[0]", "not an object"},
		"a member of a row":     {`{"orderid":1,"orderitems":[{},{},{"quantity":"två"}]}`, "orderitems[2].quantity", "not an amount"},
		"a weight":              {`{"orderid":1,"orderitems":[{"decimalquantitytotal":"ett kilo"}]}`, "orderitems[0].decimalquantitytotal", "not an amount"},
		"a row's id":            {`{"orderid":1,"orderitems":[{"orderitemid":[0]}]}`, "orderitems[0].orderitemid", "not a string"},
		"a text of a row":       {`{"orderid":1,"orderitems":[{"sku":{}}]}`, "orderitems[0].sku", "not a string"},
		"a key of a row":        {`{"orderid":1,"orderitems":[{"additionaldata":"x"}]}`, "orderitems[0].additionaldata", "not an object"},
		"a member of a payment": {`{"orderid":1,"payments":[{"moneyamount":"NaN"}]}`, "payments[0].moneyamount", "not an amount"},
		"a list of data":        {`{"orderid":1,"additionaldata":["a"]}`, "additionaldata", "not an object"},
		"rows without end":      {`{"orderid":1,"orderitems":[` + strings.Repeat("{},", 20_000) + `{}]}`, "orderitems", "more than 20000 rows"},
		// The first mistake counts, whatever comes after it.
		"two mistakes": {`{"orderid":"x","orderitems":7}`, "orderid", "whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := sitoo.DecodeOrder([]byte(c.body))
			if err == nil {
				t.Fatalf("accepted: %+v", o)
			}
			f := fault.As(err)
			if f.Kind != fault.Invalid || f.Member != c.member || !strings.Contains(f.Message, c.says) {
				t.Errorf("got %v, want member %q and something with %q", err, c.member, c.says)
			}
			if diff := cmp.Diff(sitoo.Order{}, o); diff != "" {
				t.Errorf("half an order came with the error: %s", diff)
			}
		})
	}
}

// amounts are what a till has been seen to write for money, and what it has not.
var amounts = []struct{ in, want string }{
	{`"879.00"`, "879"},
	{`879.00`, "879"},
	{`0`, "0"},
	{`-0`, "0"},
	{`"-0.00"`, "0"},
	{`"12,50"`, "12.5"},
	{`"12.345"`, "12.345"},
	{`"-639.20"`, "-639.2"},
	{`"+5"`, "5"},
	{`" 7.10 "`, "7.1"},
	{`"007"`, "7"},
	{`"1."`, "1"},
	{`"0.000001"`, "0.000001"},
	{`"999999999999.999999"`, "999999999999.999999"},
	{`""`, "0"},
	{`null`, "0"},

	{`1e9`, ""},
	{`"1E9"`, ""},
	{`1e999999999`, ""},
	{`"1e-999999999"`, ""},
	{`"NaN"`, ""},
	{`"Infinity"`, ""},
	{`"-"`, ""},
	{`"."`, ""},
	{`".5"`, ""},
	{`","`, ""},
	{`"--1"`, ""},
	{`"+-1"`, ""},
	{`"1-"`, ""},
	{`"1.2.3"`, ""},
	{`"1,2,3"`, ""},
	{`"1.234,50"`, ""},
	{`"1 234.50"`, ""},
	{`"1\u00a0234"`, ""},
	{`"12 kr"`, ""},
	{`"0x1F"`, ""},
	{`"1_000"`, ""},
	{`"１２"`, ""},
	{`true`, ""},
	{`{}`, ""},
	{`[1]`, ""},
	{`"0.0000001"`, ""},
	{`"1000000000000"`, ""},
	{`"` + strings.Repeat("9", 100_000) + `"`, ""},
	{`0.` + strings.Repeat("0", 100_000), ""},
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range amounts {
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"moneytotal_gross_all":` + c.in + `}`))
		name := c.in[:min(len(c.in), 40)]
		switch {
		case c.want == "" && (err == nil || fault.As(err).Member != "moneytotal_gross_all"):
			t.Errorf("%s: got %v, %v; want a refusal that names the member", name, o.Total, err)
		case c.want != "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && o.Total.String() != c.want:
			t.Errorf("%s: got %s, want %s", name, o.Total, c.want)
		}
	}
}

// Whatever a till writes for money is refused or is exactly what it wrote.
func FuzzMoney(f *testing.F) {
	for _, c := range amounts {
		if len(c.in) < 100 {
			f.Add(strings.Trim(c.in, `"`))
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted, err := json.Marshal(s)
		if err != nil {
			return
		}
		body := []byte(`{"orderid":1,"moneytotal_gross_all":` + string(quoted) + `}`)
		o, err := sitoo.DecodeOrder(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if o.Total.Abs().GreaterThanOrEqual(dec("1000000000000")) || o.Total.Exponent() < -6 || len(o.Total.String()) > 20 {
			t.Errorf("%q gives %s, which no receipt has", s, o.Total)
		}
		plain := strings.Replace(strings.TrimSpace(s), ",", ".", 1)
		if plain == "" {
			plain = "0"
		}
		if want, err := strconv.ParseFloat(plain, 64); err != nil || want != o.Total.InexactFloat64() {
			t.Errorf("%q gives %s", s, o.Total)
		}
	})
}

func TestWithoutPersonalID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"a number":        {`{"orderid":1,"personalid":"19121212-1212","email":"kund.ett@example.com"}`, `{"email":"kund.ett@example.com","orderid":1}`},
		"none":            {`{"orderid":1}`, `{"orderid":1}`},
		"of another kind": {`{"personalid":{"no":["19121212-1212"]},"orderid":1}`, `{"orderid":1}`},
		"spelled another": {`{"\u0070ersonalid":"19121212-1212","orderid":1}`, `{"orderid":1}`},
		"all else stays":  {`{"orderid":12345678901234567890,"a":1.10,"b":"å\n","c":null,"d":[ ],"e":{"z":1,"a":2}}`, `{"a":1.10,"b":"å\n","c":null,"d":[],"e":{"z":1,"a":2},"orderid":12345678901234567890}`},
	} {
		got, err := sitoo.WithoutPersonalID([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{`[]`, `7`, `{"a":`} {
		if got, err := sitoo.WithoutPersonalID([]byte(bad)); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: got %s, %v; want an Invalid error", bad, got, err)
		}
	}
}
