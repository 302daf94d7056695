package sitoo_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
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
			Payments: []sitoo.Payment{{Name: "Card", Issuer: "Visa", Amount: dec("1202.80"), Additional: map[string]string{"verifone-card-masked-pan": "************0000"}}},
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

// Only what has no number, and what is no object, is refused.
func TestDecodeOrderRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, member, says string }{
		"nothing":              {``, "", "not an object"},
		"not an object":        {`[]`, "", "not an object"},
		"a list of one":        {`[{"orderid":1}]`, "", "not an object"},
		"null":                 {`null`, "", "not an object"},
		"a text":               {`"{}"`, "", "not an object"},
		"a form":               {`orderid=1`, "", "not an object"},
		"breaks off before it": {`{"orderid":`, "", "breaks off"},
		"breaks off in it":     {`{"orderid":12`, "", "breaks off"},
		"no number":            {`{}`, "orderid", "is missing"},
		"a null number":        {`{"orderid":null}`, "orderid", "is missing"},
		"an empty number":      {`{"orderid":""}`, "orderid", "is missing"},
		"spaces for a number":  {`{"orderid":" "}`, "orderid", "not valid"},
		"zero":                 {`{"orderid":0}`, "orderid", "above 0"},
		"zero as a float":      {`{"orderid":"0.0"}`, "orderid", "above 0"},
		"negative":             {`{"orderid":-7}`, "orderid", "above 0"},
		"a fraction":           {`{"orderid":1.5}`, "orderid", "not valid"},
		"over 64 bits":         {`{"orderid":9223372036854775808}`, "orderid", "not valid"},
		"an endless exponent":  {`{"orderid":1e999999999}`, "orderid", "not valid"},
		"hexadecimal":          {`{"orderid":"0x10"}`, "orderid", "not valid"},
		"with a separator":     {`{"orderid":"1_000"}`, "orderid", "not valid"},
		"in thousands":         {`{"orderid":"1 000"}`, "orderid", "not valid"},
		"words":                {`{"orderid":"ett"}`, "orderid", "not valid"},
		"a bare word":          {`{"orderid":NaN}`, "orderid", "not valid"},
		"a truth":              {`{"orderid":true}`, "orderid", "not valid"},
		"digits of elsewhere":  {`{"orderid":"١٢٣"}`, "orderid", "not valid"},
		"a list for a number":  {`{"orderid":[1]}`, "orderid", "not valid"},
		"an object for it":     {`{"orderid":{"id":1}}`, "orderid", "not valid"},
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

// Of an object that breaks off behind its number, the number is known: it can be
// queued, looked at and mended.
func TestDecodeOrderBroken(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"orderid":7,`, `{"orderid":7,"email":"kund.ett@exam`, `{"orderid":7,"orderitems":[{"sku":"A"},{`, `{"orderid":7} {"orderid":8}`, `{"orderid":7}}`,
		`{"a":1,"orderid":"7","b" 2}`, `{"orderid":7 "b":2}`, `{"orderid":7,"a":[}`, `{"orderid":7,'a':1}`, `{"orderid":7,"a":` + strings.Repeat("[", 300_000), `{"orderid":7,"b":}`,
	} {
		o, err := sitoo.DecodeOrder([]byte(body))
		if o.ID != 7 || fault.KindOf(err) != fault.Invalid || err == nil || !strings.Contains(err.Error(), "at byte") {
			t.Errorf("%.60s: got order %d, %v", body, o.ID, err)
		}
	}
}

// What cannot be read of an order is left out and named; the rest is taken.
func TestDecodeOrderLeavesOut(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000)
	for name, c := range map[string]struct {
		members string
		unread  string // the members that are named
		want    func(o *sitoo.Order)
	}{
		"an object for a text":      {`"email":{"a":1}`, "email", nil},
		"a list for an address":     {`"delivery_zip":[1],"invoice_city":"Umeå"`, "delivery_zip", func(o *sitoo.Order) { o.Address["invoice_city"] = "Umeå" }},
		"a date in words":           {`"orderdate":"i tisdags"`, "orderdate", nil},
		"a date before 1970":        {`"orderdate":-1`, "orderdate", nil},
		"a date without end":        {`"orderdate":1e20`, "orderdate", nil},
		"a state in words":          {`"orderstateid":"klar","ordertypeid":10`, "orderstateid", func(o *sitoo.Order) { o.Type = 10 }},
		"a state out of range":      {`"paymentstateid":1000001`, "paymentstateid", nil},
		"a state with a part":       {`"ordertypeid":10.5`, "ordertypeid", nil},
		"an order to credit":        {`"creditorderid":"A-7"`, "creditorderid", nil},
		"rows as text":              {`"orderitems":"x"`, "orderitems", nil},
		"rows as a number":          {`"orderitems":7,"payments":true`, "orderitems payments", nil},
		"a row that is none":        {`"orderitems":[{"sku":"A"},7,"x",[1],{"sku":"B"}]`, "orderitems[1] orderitems[2] orderitems[3]", func(o *sitoo.Order) { o.Items = []sitoo.Item{{SKU: "A"}, {SKU: "B"}} }},
		"a null row":                {`"orderitems":[null,{"sku":"A"}]`, "orderitems[0]", func(o *sitoo.Order) { o.Items = []sitoo.Item{{SKU: "A"}} }},
		"a null payment":            {`"payments":[{"name":"Kort"},null]`, "payments[1]", func(o *sitoo.Order) { o.Payments = []sitoo.Payment{{Name: "Kort"}} }},
		"a member of a row":         {`"orderitems":[{},{"quantity":"två","sku":"A"}]`, "orderitems[1].quantity", func(o *sitoo.Order) { o.Items = []sitoo.Item{{}, {SKU: "A"}} }},
		"every member of a row":     {`"orderitems":[{"orderitemid":[0],"sku":{"a":1},"vatvalue":"moms","moneydiscount":[2],"additionaldata":"x"}]`, "orderitems[0].vatvalue orderitems[0].additionaldata orderitems[0].orderitemid orderitems[0].sku orderitems[0].moneydiscount", func(o *sitoo.Order) { o.Items = []sitoo.Item{{}} }},
		"a member of a payment":     {`"payments":[{"moneyamount":"NaN","name":"Kort"}]`, "payments[0].moneyamount", func(o *sitoo.Order) { o.Payments = []sitoo.Payment{{Name: "Kort"}} }},
		"data as a text":            {`"additionaldata":"x"`, "additionaldata", nil},
		"data as a list":            {`"additionaldata":["a"]`, "additionaldata", nil},
		"bare words":                {`"moneyfinal_net":NaN,"email":undefined,"phone":"070-174 06 05"`, "moneyfinal_net email", func(o *sitoo.Order) { o.Phone = "070-174 06 05" }},
		"a known member twice":      {`"phone":"1","email":"a@example.com","email":"b@example.com"`, "email", func(o *sitoo.Order) { o.Phone, o.Email = "1", "b@example.com" }},
		"twice the same":            {`"email":"a@example.com","email":"a@example.com"`, "", func(o *sitoo.Order) { o.Email = "a@example.com" }},
		"twice, then null":          {`"email":"a@example.com","email":null`, "", func(o *sitoo.Order) { o.Email = "a@example.com" }},
		"an unknown member twice":   {`"x":1,"x":2,"orderitems":[{"y":1,"y":2}]`, "", func(o *sitoo.Order) { o.Items = []sitoo.Item{{}} }},
		"a deep unknown member":     {`"x":` + deep, "", nil},
		"a deep known member":       {`"email":` + deep + `,"phone":"1"`, "email", func(o *sitoo.Order) { o.Phone = "1" }},
		"deep rows":                 {`"orderitems":` + deep, "orderitems[0]", nil},
		"deep data":                 {`"additionaldata":{"a":` + deep + `,"b":"x"}`, "", func(o *sitoo.Order) { o.Additional = map[string]string{"b": "x"} }},
		"a comma too many":          {`"email":"a@example.com",`, "", func(o *sitoo.Order) { o.Email = "a@example.com" }},
		"text not in UTF-8":         {"\"namefirst\":\"Bj\xf6rn\"", "", func(o *sitoo.Order) { o.FirstName = "Bj\uFFFDrn" }},
		"a line break in a text":    {"\"namefirst\":\"A\nB\"", "", func(o *sitoo.Order) { o.FirstName = "A\nB" }},
		"an escape that is none":    {`"namefirst":"A\xB"`, "namefirst", nil},
		"a surrogate alone":         {`"namefirst":"A\ud800B"`, "", func(o *sitoo.Order) { o.FirstName = "A\uFFFDB" }},
		"names of the members long": {`"` + strings.Repeat("n", 100_000) + `":1`, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sitoo.DecodeOrder([]byte(`{"orderid":1,` + c.members + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if names := strings.Join(got.Unread, " "); len(names) != len(c.unread) || !sameWords(names, c.unread) {
				t.Errorf("named %q, want %q", names, c.unread)
			}
			want := sitoo.Order{ID: 1, State: sitoo.Unsaid, PaymentState: sitoo.Unsaid, Type: sitoo.Unsaid, Address: map[string]string{}, Unread: got.Unread}
			if c.want != nil {
				c.want(&want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// However many members cannot be read, a log line names but some.
func TestUnreadIsBounded(t *testing.T) {
	t.Parallel()
	o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"orderitems":[` + strings.Repeat(`{"quantity":"x"},`, 1000) + `{}]}`))
	if err != nil || len(o.Unread) != 20 || len(o.Items) != 1001 {
		t.Errorf("%d names, %d rows, %v", len(o.Unread), len(o.Items), err)
	}
}

// Programs write moments in many ways; each is the same one.
func TestOrderDates(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for _, in := range []string{
		`1772442000`, `"1772442000"`, `1772442000.0`, `"1772442000.75"`, `1.772442E+9`, `1.772442e9`, `"1.772442E9"`, `1772442000000`, `1772442000123`, `1.772442e12`, `1772442000000000`,
		`"2026-03-02T09:00:00Z"`, `"2026-03-02T10:00:00+01:00"`, `"2026-03-02T10:00:00+0100"`, `"2026-03-02T10:00:00+01"`, `"2026-03-02T09:00:00.000Z"`, `"2026-03-02T10:00:00.000+0100"`,
		`"2026-03-02 10:00:00+01:00"`, `"2026-03-02 10:00:00 +0100"`, `"2026-03-02 10:00:00"`, `"2026-03-02T10:00:00"`, `"2026-03-02T10:00"`, `" 2026-03-02 10:00 "`, `"Mon, 02 Mar 2026 09:00:00 GMT"`,
	} {
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"orderdate":` + in + `}`))
		if err != nil || !o.Date.Truncate(time.Second).Equal(want) || len(o.Unread) > 0 {
			t.Errorf("%s is %v, %v, %v", in, o.Date, o.Unread, err)
		}
	}
	o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"orderdate":"2026-03-02 11:00:00","additionaldata":{"pos-timezone":"Europe/Helsinki"}}`))
	if err != nil || !o.Date.Equal(want) {
		t.Errorf("a Finnish till's clock: %v, %v", o.Date, err)
	}
	for _, in := range []string{`0`, `"0"`, `0.0`, `""`, `null`, `"0000-00-00 00:00:00"`, `"0000-00-00"`, `"0001-01-01T00:00:00Z"`, `"-0001-11-30T00:00:00+0100"`, `"1970-01-01T00:00:00Z"`, `[]`, `{}`} {
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"orderdate":` + in + `}`))
		if err != nil || !o.Date.IsZero() || len(o.Unread) > 0 {
			t.Errorf("%s is %v, %v, %v; want no date", in, o.Date, o.Unread, err)
		}
	}
}

// What says that an order credits none makes it no return.
func TestCreditsNone(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{`-1`: 0, `"-1"`: 0, `0`: 0, `"0"`: 0, `0.0`: 0, `""`: 0, `null`: 0, `7`: 7, `7.0`: 7, `"7"`: 7, `7e0`: 7} {
		if o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"creditorderid":` + in + `}`)); err != nil || o.CreditID != want || len(o.Unread) > 0 {
			t.Errorf("%s credits %d, %v, %v; want %d", in, o.CreditID, o.Unread, err, want)
		}
	}
}

// amounts are what a till has been seen to write for money, and what it has not:
// "" is what cannot be read.
var amounts = []struct{ in, want string }{
	{`"879.00"`, "879"},
	{`879.00`, "879"},
	{`878.9999999999999`, "879"},
	{`1.4210854715202004e-14`, "0"},
	{`-1.4e-14`, "0"},
	{`0`, "0"},
	{`-0`, "0"},
	{`"-0.00"`, "0"},
	{`"12,50"`, "12.5"},
	{`"12.345"`, "12.35"},
	{`"12.344999999999999"`, "12.34"},
	{`-12.345`, "-12.35"},
	{`0.005`, "0.01"},
	{`-0.005`, "-0.01"},
	{`0.0049999999`, "0"},
	{`"-639.20"`, "-639.2"},
	{`"−639,20"`, "-639.2"},
	{`"+5"`, "5"},
	{`" 7.10 "`, "7.1"},
	{`"007"`, "7"},
	{`"1."`, "1"},
	{`".5"`, "0.5"},
	{`1e2`, "100"},
	{`1.5E+3`, "1500"},
	{`"1E9"`, "1000000000"},
	{`"1e-999999999"`, "0"},
	{`1e-99999999999999999999`, "0"},
	{`0e999999999`, "0"},
	{`0.` + strings.Repeat("0", 100_000), "0"},
	{`0.1` + strings.Repeat("0", 100_000), "0.1"},
	{`"0.0000001"`, "0"},
	{`"999999999999.99"`, "999999999999.99"},
	{`"1.234,50"`, "1234.5"},
	{`"1,234.50"`, "1234.5"},
	{`"1 234.50"`, "1234.5"},
	{`"1 234,50"`, "1234.5"},
	{`"-1 234"`, "-1234"},
	{`"1.234.567"`, "1234567"},
	{`""`, "0"},
	{`null`, "0"},
	{`{}`, "0"},
	{`[]`, "0"},

	{`1e999999999`, ""},
	{`1e12`, ""},
	{`"NaN"`, ""},
	{`"Infinity"`, ""},
	{`NaN`, ""},
	{`"-"`, ""},
	{`"."`, ""},
	{`","`, ""},
	{`"e5"`, ""},
	{`"1e"`, ""},
	{`"1e+-5"`, ""},
	{`"--1"`, ""},
	{`"+-1"`, ""},
	{`"1-"`, ""},
	{`"1.2.3"`, ""},
	{`"1,2,3"`, ""},
	{`"1 2"`, ""},
	{`"1,234,56"`, ""},
	{`"12 kr"`, ""},
	{`"0x1F"`, ""},
	{`"1_000"`, ""},
	{`"１２"`, ""},
	{`true`, ""},
	{`{"a":1}`, ""},
	{`[1]`, ""},
	{`"1000000000000"`, ""},
	{`"` + strings.Repeat("9", 100_000) + `"`, ""},
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range amounts {
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"moneytotal_gross_all":` + c.in + `}`))
		name := c.in[:min(len(c.in), 40)]
		switch unread := slices.Contains(o.Unread, "moneytotal_gross_all"); {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case unread != (c.want == ""):
			t.Errorf("%s: got %s, named %v", name, o.Total, o.Unread)
		case c.want != "" && o.Total.String() != c.want:
			t.Errorf("%s: got %s, want %s", name, o.Total, c.want)
		}
	}
}

// Amounts are rounded to the currency's unit, half away from zero; quantities to
// six decimals.
func TestUnits(t *testing.T) {
	t.Parallel()
	for currency, want := range map[string]string{"JPY": "1235", "ISK": "1235", "SEK": "1234.57", "EUR": "1234.57", "KWD": "1234.568", "kwd": "1234.568", "": "1234.57", "kronor": "1234.57"} {
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"currencycode":"` + currency + `","moneytotal_gross_all":1234.5675,"payments":[{"moneyamount":"-1234.5675"}]}`))
		if err != nil || o.Total.String() != want || o.Payments[0].Amount.String() != "-"+want {
			t.Errorf("%q: %s, %s, %v; want %s", currency, o.Total, o.Payments[0].Amount, err, want)
		}
	}
	o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"orderitems":[{"quantity":0.30000000000000004,"vatvalue":6.000000000000005,"decimalquantitytotal":"0.12345649"}]}`))
	if i := o.Items[0]; err != nil || i.Quantity.String() != "0.3" || i.VATPercent.String() != "6" || i.Units.String() != "0.123456" {
		t.Errorf("%v, %v", o.Items, err)
	}
}

// Whatever a till writes for money cannot be read, or is what it wrote to half an
// öre.
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
		o, err := sitoo.DecodeOrder([]byte(`{"orderid":1,"moneytotal_gross_all":` + string(quoted) + `}`))
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if o.Total.Abs().GreaterThan(dec("1000000000000")) || o.Total.Exponent() < -2 || len(o.Total.String()) > 20 {
			t.Errorf("%q gives %s, which no receipt has", s, o.Total)
		}
		if want, err := strconv.ParseFloat(s, 64); err == nil && len(o.Unread) == 0 && math.Abs(want-o.Total.InexactFloat64()) > 0.0051 {
			if strings.Count(s, ".") < 2 { // thousands
				t.Errorf("%q gives %s", s, o.Total)
			}
		}
	})
}

// Whatever object has a number is taken; whatever has none says so.
func FuzzDecodeOrder(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"orderid":1}`, `{"orderid":"1","orderitems":[{"quantity":-1,"additionaldata":[]}],"payments":[null]}`,
		`{"orderid":1,"orderdate":"2024-09-27T12:40:00+02:00","additionaldata":{"a":[1],"b":null}}`, `{"orderid":1,"orderitems":{"1":{},"0":{"sku":"a"}}}`,
		`{"orderid":1,"orderitems":"[{\"sku\":\"A\"}]"}`, `{"orderid":1e3,"a":[[[[]]]]}`, `{"a":1,"a":2,"orderid":1.0}`, `{"orderid":1,`, "{\"orderid\":1,\"email\":\"\xff\"}", `{"personalid":{"a":1},"orderid":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := sitoo.DecodeOrder(body)
		var std struct {
			ID json.Number `json:"orderid"`
		}
		if n, bad := int64(0), json.Unmarshal(body, &std); bad == nil {
			if n, bad = std.ID.Int64(); bad == nil && n > 0 && err != nil && !strings.Contains(strings.ToLower(string(body)), "orderid\":") {
				t.Errorf("an order with the number %d is refused: %v", n, err)
			}
		}
		switch {
		case err == nil && (o.ID <= 0 || o.Address == nil || len(o.Unread) > 20):
			t.Errorf("accepts %+v", o)
		case err != nil && (fault.KindOf(err) != fault.Invalid || fault.As(err).Message == ""):
			t.Errorf("%v does not say what is wrong", err)
		}
		raw, lost := sitoo.WithoutPersonalID(body)
		if o.ID > 0 && lost != nil {
			t.Fatalf("without the personal number: %v", lost)
		}
		if again, err2 := sitoo.DecodeOrder(raw); o.ID > 0 && (again.ID != o.ID || (err == nil) != (err2 == nil) || again.Email != o.Email || len(again.Items) != len(o.Items)) {
			t.Errorf("without the personal number it is another order: %+v, %v; was %+v, %v", again, err2, o, err)
		}
	})
}

func TestWithoutPersonalID(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"a number":         {`{"orderid":1,"personalid":"19121212-1212","email":"kund.ett@example.com"}`, `{"orderid":1,"email":"kund.ett@example.com"}`},
		"none":             {`{"orderid":1}`, `{"orderid":1}`},
		"of another kind":  {`{"personalid":{"no":["19121212-1212"]},"orderid":1}`, `{"orderid":1}`},
		"in capitals":      {`{"orderid":1,"personalID":"19121212-1212"}`, `{"orderid":1}`},
		"breaks off":       {`{"orderid":1,"personalid":"19121212-1212","a":`, `{"orderid":1,"personalid":"","a":`},
		"breaks off in it": {`{"orderid":1,"personalid":"19121212`, `{"orderid":1,"personalid":""`},
		"spelled another":  {`{"\u0070ersonalid":"19121212-1212","orderid":1}`, `{"orderid":1}`},
		"all else stays":   {`{ "orderid" :12345678901234567890, "a":1.10,"b":"å\n","c":null,"d":[ ],"e":{"z":1,"a":2}}`, `{"orderid":12345678901234567890,"a":1.10,"b":"å\n","c":null,"d":[ ],"e":{"z":1,"a":2}}`},
	} {
		got, err := sitoo.WithoutPersonalID([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{`[]`, `7`, ``} {
		if got, err := sitoo.WithoutPersonalID([]byte(bad)); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: got %s, %v; want an Invalid error", bad, got, err)
		}
	}
}
