package order_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

var update = flag.Bool("update", false, "write the golden files anew")

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

// values returns an entry's values by field name, and fails for a field that is
// there twice, of another group or empty.
func values(t interface {
	Helper()
	Errorf(string, ...any)
}, fields []rule.Field,
) map[string]any {
	t.Helper()
	m := map[string]any{}
	for _, f := range fields {
		if _, twice := m[f.Name]; twice || f.Group != order.Group {
			t.Errorf("field %s.%s", f.Group, f.Name)
		}
		switch v := f.Value.(type) {
		case string:
			if v == "" {
				t.Errorf("%s is empty", f.Name)
			}
		case []string:
			if len(v) == 0 {
				t.Errorf("%s is empty", f.Name)
			}
		case json.RawMessage:
			if !json.Valid(v) {
				t.Errorf("%s is not JSON: %.200s", f.Name, v)
			}
		default:
			t.Errorf("%s is a %T", f.Name, v)
		}
		m[f.Name] = f.Value
	}
	return m
}

// The three example orders of the contract with Sitoo, as Rule gets them.
func TestEntry(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cash-sale", "bonus-check", "return"} {
		body, err := os.ReadFile(filepath.Join("..", "sitoo", "testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := sitoo.DecodeOrder(body)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(values(t, order.Entry(o, ""))); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+"-entry.json")
		if *update {
			if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What the schema declares is what entries write, with the same types.
func TestSchema(t *testing.T) {
	t.Parallel()
	types := map[string]rule.FieldType{}
	for _, f := range order.Schema() {
		if f.Value != nil || f.Group != order.Group {
			t.Errorf("%+v", f)
		}
		types[f.Name] = f.Type
	}
	o := full()
	o.Items = append(o.Items, slices.Repeat([]sitoo.Item{{Name: strings.Repeat("x", 900), Quantity: dec("1")}}, 100)...)
	got := map[string]rule.FieldType{}
	for _, f := range order.Entry(o, "") {
		got[f.Name] = f.Type
	}
	if diff := cmp.Diff(types, got); diff != "" {
		t.Errorf("an entry with everything in it: %s", diff)
	}
	want := map[string]rule.FieldType{"orderdate": rule.DateTime, "products": rule.JSON, "vatrows": rule.JSON, "paymentrows": rule.JSON, "names": rule.Multiple, "skus": rule.Multiple, "productgroups": rule.Multiple, "payments": rule.Multiple, "vouchers": rule.Multiple, "bonuschecks": rule.Multiple}
	for name, typ := range types {
		if want[name] != typ && (want[name] != "" || typ != rule.Text) {
			t.Errorf("%s has type %s", name, typ)
		}
	}
}

// full is an order with a value for every field.
func full() sitoo.Order {
	return sitoo.Order{
		ID: 210334, CreditID: 7, Date: time.Unix(1727433600, 0).UTC(), Currency: "SEK", Net: dec("80"), VAT: dec("20"), RoundOff: dec("0.10"), SalesTax: dec("1"), Total: dec("100"),
		Additional: map[string]string{"pos-receiptid": "R1", "store-name": "Butik", "store-externalid": "200"},
		Items: []sitoo.Item{
			{Name: "Tröja", SKU: "T1", Attributes: "M", Quantity: dec("1"), VATPercent: dec("25"), Net: dec("40"), VAT: dec("10"), VoucherName: "Vår", VoucherCode: "V", Additional: map[string]string{"product-group-name": "Kläder", "customcrm-bonuscheckid": "bc-1"}},
			{Name: "Tröja", SKU: "T1", Quantity: dec("1"), VATPercent: dec("25"), Net: dec("40"), VAT: dec("10"), Discount: dec("8"), VoucherCode: "KOD", Additional: map[string]string{"product-group-name": " Kläder ", "crm-bonuscheckid": "bc-2"}},
		},
		Payments: []sitoo.Payment{{Name: "Kort"}, {Name: "Kontant"}, {Name: "Kort"}, {Name: ""}},
	}
}

// Lists name everything once, in the order of the receipt.
func TestLists(t *testing.T) {
	t.Parallel()
	got := values(t, order.Entry(full(), ""))
	want := map[string]any{
		"names": []string{"Tröja"}, "skus": []string{"T1"}, "productgroups": []string{"Kläder"}, "payments": []string{"Kort", "Kontant"},
		"vouchers": []string{"Vår", "KOD"}, "bonuschecks": []string{"bc-1", "bc-2"},
	}
	for name, w := range want {
		if diff := cmp.Diff(w, got[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got["originalorderid"] != "7" || got["discount"] != "10.00" || got["productcount"] != "2" {
		t.Errorf("entry: %v", got)
	}
	o := full()
	o.CreditID = 0
	o.Additional["pos-originalsales-orderid"] = "210300"
	if got := values(t, order.Entry(o, "")); got["originalorderid"] != "210300" || got["ordertype"] != order.Return {
		t.Errorf("a return with a receipt only: %v, %v", got["originalorderid"], got["ordertype"])
	}
	// An order with nothing but its number is an entry still.
	got = values(t, order.Entry(sitoo.Order{ID: 9, Date: time.Unix(0, 0)}, ""))
	if diff := cmp.Diff(map[string]any{
		"orderid": "9", "orderdate": "1970-01-01 01:00:00", "orderdateutc": "1970-01-01T00:00:00Z", "ordertype": "purchase", "total": "0.00", "totalnet": "0.00", "totalvat": "0.00", "discount": "0.00", "roundoff": "0.00", "productcount": "0",
	}, got); diff != "" {
		t.Errorf("an order with nothing in it: %s", diff)
	}
}

func products(t interface {
	Helper()
	Fatalf(string, ...any)
}, entry map[string]any,
) []order.Product {
	t.Helper()
	raw, ok := entry["products"].(json.RawMessage)
	if !ok {
		return nil
	}
	var list []order.Product
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		t.Fatalf("products: %v", err)
	}
	return list
}

var amount = regexp.MustCompile(`^-?[0-9]+\.[0-9]{2}$`)

// For any rows: the row totals add up to net and VAT, every row adds up to
// within the rounding of its price, and no amount looks like a machine's.
func TestArithmetic(t *testing.T) {
	t.Parallel()
	cents := func(lo, hi int) *rapid.Generator[decimal.Decimal] {
		return rapid.Map(rapid.IntRange(lo, hi), func(n int) decimal.Decimal { return decimal.New(int64(n), -2) })
	}
	quantity := rapid.OneOf(
		rapid.Map(rapid.IntRange(-9, 9), func(n int) decimal.Decimal { return decimal.NewFromInt(int64(n)) }),
		rapid.Map(rapid.IntRange(-5000, 5000), func(n int) decimal.Decimal { return decimal.New(int64(n), -3) }), // by weight
	)
	row := rapid.Custom(func(t *rapid.T) sitoo.Item {
		i := sitoo.Item{
			Name: "x", Quantity: quantity.Draw(t, "quantity"), VATPercent: rapid.SampledFrom([]decimal.Decimal{decimal.Zero, dec("6"), dec("12"), dec("25"), dec("25.5")}).Draw(t, "vat"),
			Discount: rapid.OneOf(rapid.Just(decimal.Zero), cents(0, 50_000)).Draw(t, "discount"),
		}
		// Mostly as a till would write it, sometimes anything.
		if rapid.IntRange(0, 4).Draw(t, "kind") > 0 {
			i.Net = cents(0, 100_000).Draw(t, "price").Sub(i.Discount).Mul(i.Quantity).Round(2)
			i.VAT = i.Net.Mul(i.VATPercent).Div(decimal.NewFromInt(100)).Round(2)
		} else {
			i.Net, i.VAT = cents(-1_000_000, 1_000_000).Draw(t, "net"), cents(-1000, 1000).Draw(t, "vat amount")
		}
		return i
	})
	rapid.Check(t, func(t *rapid.T) {
		o := sitoo.Order{ID: 1, Items: rapid.SliceOfN(row, 0, 12).Draw(t, "rows")}
		for _, i := range o.Items {
			o.Net, o.VAT = o.Net.Add(i.Net), o.VAT.Add(i.VAT)
		}
		o.RoundOff = cents(-50, 50).Draw(t, "round-off")
		o.Total = o.Net.Add(o.VAT).Add(o.RoundOff)
		entry := values(t, order.Entry(o, ""))
		for _, name := range []string{"total", "totalnet", "totalvat", "discount", "roundoff"} {
			if v, _ := entry[name].(string); !amount.MatchString(v) || v == "-0.00" {
				t.Fatalf("%s is %q", name, v)
			}
		}
		rows := products(t, entry)
		if len(rows) != len(o.Items) {
			t.Fatalf("%d rows of %d", len(rows), len(o.Items))
		}
		sum, discount, count := decimal.Zero, decimal.Zero, decimal.Zero
		for n, p := range rows {
			for what, v := range map[string]string{"price": p.Price, "discount": p.Discount, "total": p.Total} {
				if !amount.MatchString(v) || v == "-0.00" {
					t.Fatalf("row %d: %s is %q", n, what, v)
				}
			}
			if strings.ContainsAny(p.Quantity+p.VAT, "eE") || len(p.Quantity) > 7 || strings.HasPrefix(p.Quantity, "-0") && !strings.Contains(p.Quantity, ".") {
				t.Fatalf("row %d: quantity %q, VAT %q", n, p.Quantity, p.VAT)
			}
			q := dec(p.Quantity)
			sum, discount, count = sum.Add(dec(p.Total)), discount.Add(dec(p.Discount)), count.Add(q)
			off := q.Mul(dec(p.Price)).Sub(dec(p.Discount)).Sub(dec(p.Total)).Abs()
			if !q.Mul(dec(p.Price)).Equal(dec(p.Total)) && p.Note == "" {
				t.Fatalf("row %d: %s x %s is not %s, and it does not say why", n, p.Quantity, p.Price, p.Total)
			}
			// The price is rounded to half a cent, once for every unit.
			if limit := dec("0.005").Mul(q.Abs()); !q.IsZero() && off.GreaterThan(limit) {
				t.Fatalf("row %d: %s x %s - %s is %s off %s", n, p.Quantity, p.Price, p.Discount, off, p.Total)
			}
			if dec(p.Price).IsNegative() && !o.Items[n].Net.Add(o.Items[n].VAT).IsNegative() && q.IsPositive() && !o.Items[n].Discount.IsNegative() {
				t.Fatalf("row %d: negative price %s", n, p.Price)
			}
		}
		if !sum.Equal(o.Net.Add(o.VAT)) {
			t.Fatalf("rows add up to %s, net and VAT to %s", sum, o.Net.Add(o.VAT))
		}
		if !discount.Equal(dec(entry["discount"].(string))) || !count.Equal(dec(entry["productcount"].(string))) {
			t.Fatalf("discount %s, count %s; entry: %v, %v", discount, count, entry["discount"], entry["productcount"])
		}
		if got, want := dec(entry["total"].(string)), o.Total; !got.Equal(want) {
			t.Fatalf("total %s, want %s", got, want)
		}
	})
}

// Rows as receipts show them.
func TestRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   sitoo.Item
		want order.Product
	}{
		"one, with a discount": {
			sitoo.Item{Quantity: dec("1"), VATPercent: dec("25"), Net: dec("63.92"), VAT: dec("15.98"), Discount: dec("8.00")},
			order.Product{Quantity: "1", Price: "89.90", Discount: "10.00", VAT: "25", Total: "79.90", Note: "rabatt"},
		},
		"three that do not divide": {
			sitoo.Item{Quantity: dec("3"), VATPercent: dec("25"), Net: dec("80.00"), VAT: dec("20.00")},
			order.Product{Quantity: "3", Price: "33.33", Discount: "0.00", VAT: "25", Total: "100.00", Note: "avrundat"},
		},
		"a return with its discount": {
			sitoo.Item{Quantity: dec("-2"), VATPercent: dec("12"), Net: dec("-100.00"), VAT: dec("-12.00"), Discount: dec("10.00")},
			order.Product{Quantity: "-2", Price: "67.20", Discount: "-22.40", VAT: "12", Total: "-112.00", Note: "rabatt"},
		},
		"by weight":         {sitoo.Item{Quantity: dec("0.250"), VATPercent: dec("12.00"), Net: dec("25"), VAT: dec("3")}, order.Product{Quantity: "0.25", Price: "112.00", Discount: "0.00", VAT: "12", Total: "28.00"}},
		"nothing of it":     {sitoo.Item{Quantity: dec("0.00"), Net: dec("5"), Discount: dec("3")}, order.Product{Quantity: "0", Price: "0.00", Discount: "0.00", VAT: "0", Total: "5.00", Note: "antal saknas"}},
		"for nothing":       {sitoo.Item{Quantity: dec("1"), Net: dec("-0.004"), VAT: dec("0.001")}, order.Product{Quantity: "1", Price: "0.00", Discount: "0.00", VAT: "0", Total: "0.00"}},
		"a tenth and a bit": {sitoo.Item{Quantity: dec("3"), Net: dec("0.1").Add(dec("0.2"))}, order.Product{Quantity: "3", Price: "0.10", Discount: "0.00", VAT: "0", Total: "0.30"}},
		"half a cent":       {sitoo.Item{Quantity: dec("1"), Net: dec("0.005")}, order.Product{Quantity: "1", Price: "0.01", Discount: "0.00", VAT: "0", Total: "0.01"}},
	} {
		got := products(t, values(t, order.Entry(sitoo.Order{ID: 1, Items: []sitoo.Item{c.in}}, "")))
		if diff := cmp.Diff([]order.Product{c.want}, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// stored is how many characters v may take in Rule, whose platform writes what
// is not ASCII, and slashes, in longer forms than Go does.
func stored(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = 2
		for _, r := range v {
			switch {
			case r > 0xFFFF:
				n += 12
			case strings.ContainsRune("\"\\/\b\f\n\r\t", r):
				n += 2
			case r < 0x20 || r > 0x7F:
				n += 6
			default:
				n++
			}
		}
	case []any:
		n = 1 + max(1, len(v))
		for _, x := range v {
			n += stored(x)
		}
	case map[string]any:
		n = 1 + max(1, len(v))
		for name, x := range v {
			n += stored(name) + 1 + stored(x)
		}
	}
	return n
}

func size(t *rapid.T, entry map[string]any) int {
	n := 0
	for _, v := range entry {
		if s, ok := v.(string); ok {
			n += utf8.RuneCountInString(s)
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var parsed any
		if err := json.Unmarshal(raw, &parsed); err != nil {
			t.Fatal(err)
		}
		n += max(stored(parsed), utf8.RuneCount(raw))
	}
	return n
}

// Whatever an order holds, its entry keeps to Rule's limit, its rows are the
// first ones of the order, and it says how many are missing.
func TestSize(t *testing.T) {
	t.Parallel()
	alphabet := rapid.SampledFrom([]string{"a", "å", "🙂", `"`, `\`, "/", "<", "\u2028", "\x01", "\n", "\x7f", "\xff", "\xed\xa0\x80", "e\u0301", "\u00a0", "\ufffe"})
	long := rapid.SampledFrom([]int{0, 1, 12, 40, 300, 1500})
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(alphabet.Draw(t, "letter"), long.Draw(t, "length"))
	})
	count := rapid.SampledFrom([]int{0, 1, 2, 7, 60, 400})
	rapid.Check(t, func(t *rapid.T) {
		o := sitoo.Order{
			ID: 210334, Date: time.Unix(1727433600, 0), Currency: text.Draw(t, "currency"), Total: dec("-999999999999.99"),
			Additional: map[string]string{"pos-receiptid": text.Draw(t, "receipt"), "store-name": text.Draw(t, "store"), "store-externalid": text.Draw(t, "store id"), "pos-originalsales-orderid": text.Draw(t, "original")},
		}
		name, sku, attributes, group, voucher, check := text.Draw(t, "name"), text.Draw(t, "sku"), text.Draw(t, "attributes"), text.Draw(t, "group"), text.Draw(t, "voucher"), text.Draw(t, "check")
		for i := range count.Draw(t, "rows") {
			n := strconv.Itoa(i) // each of its own
			o.Items = append(o.Items, sitoo.Item{
				Name: n + name, SKU: sku + n, Attributes: attributes, Quantity: dec("1"), VATPercent: dec("25"), Net: dec("100"), VAT: dec("25"),
				VoucherName: n + voucher, Additional: map[string]string{"product-group-name": n + group, "customcrm-bonuscheckid": n + check},
			})
		}
		payment := text.Draw(t, "payment")
		for i := range count.Draw(t, "payments") {
			o.Payments = append(o.Payments, sitoo.Payment{Name: strconv.Itoa(i) + payment})
		}
		entry := values(t, order.Entry(o, ""))
		if n := size(t, entry); n > rule.MaxGroup {
			t.Fatalf("the entry may take %d characters, Rule takes %d", n, rule.MaxGroup)
		}
		rows := products(t, entry)
		omitted := ""
		if len(rows) < len(o.Items) {
			omitted = fmt.Sprintf("%d of %d", len(o.Items)-len(rows), len(o.Items))
		}
		if got, _ := entry["productsomitted"].(string); got != omitted {
			t.Fatalf("%d rows of %d, productsomitted %q", len(rows), len(o.Items), got)
		}
		for i, p := range rows {
			if !strings.HasPrefix(p.Name, strconv.Itoa(i)) {
				t.Fatalf("row %d is %.20q", i, p.Name)
			}
		}
		if entry["productcount"] != strconv.Itoa(len(o.Items)) || entry["total"] != "-999999999999.99" {
			t.Fatalf("count %v, total %v", entry["productcount"], entry["total"])
		}
		for name, v := range entry {
			list, _ := v.([]string)
			for _, s := range list {
				if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 1000 {
					t.Fatalf("%s has the value %.40q", name, s)
				}
			}
		}
	})
}

// A receipt that no shop has ever seen still ends in an entry, and soon.
func TestTwentyThousandRows(t *testing.T) {
	t.Parallel()
	o := full()
	o.Items = nil
	for i := range 20_000 {
		n := strconv.Itoa(100_000 + i)
		o.Items = append(o.Items, sitoo.Item{Name: "Namn " + n, SKU: "SKU-" + n, VoucherCode: "V" + n, Quantity: dec("1"), Net: dec("1"), Additional: map[string]string{"product-group-name": "G" + n, "crm-bonuscheckid": "bc-" + n}})
	}
	entry := values(t, order.Entry(o, ""))
	if n := len(products(t, entry)); n < 200 || entry["productsomitted"] != fmt.Sprintf("%d of 20000", 20_000-n) || entry["productcount"] != "20000" {
		t.Errorf("%d rows, productsomitted %v, productcount %v", n, entry["productsomitted"], entry["productcount"])
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	rows := func(quantities ...string) (list []sitoo.Item) {
		for _, q := range quantities {
			list = append(list, sitoo.Item{Quantity: dec(q)})
		}
		return list
	}
	for name, c := range map[string]struct {
		o    sitoo.Order
		want string
	}{
		"nothing":                 {sitoo.Order{}, order.Purchase},
		"a sale":                  {sitoo.Order{Total: dec("879"), Items: rows("1", "2")}, order.Purchase},
		"credits an order":        {sitoo.Order{CreditID: 7, Total: dec("5"), Items: rows("1")}, order.Return},
		"names the first receipt": {sitoo.Order{Additional: map[string]string{"pos-originalsales-orderid": "7"}}, order.Return},
		"a negative sum":          {sitoo.Order{Total: dec("-0.01"), Items: rows("1", "-1")}, order.Return},
		"every row negative":      {sitoo.Order{Items: rows("-1", "-2")}, order.Return},
		"an even exchange":        {sitoo.Order{Items: rows("1", "-1")}, order.Purchase},
		"an exchange upwards":     {sitoo.Order{Total: dec("50"), Items: rows("1", "-1")}, order.Purchase},
		"a row of nothing":        {sitoo.Order{Items: rows("0")}, order.Purchase},
	} {
		if got := order.Kind(c.o); got != c.want {
			t.Errorf("%s is a %s, want %s", name, got, c.want)
		}
	}
}

// An exchange on one receipt counts both ways.
func TestExchange(t *testing.T) {
	t.Parallel()
	entry := values(t, order.Entry(sitoo.Order{
		ID: 1, Net: dec("80"), VAT: dec("20"), Total: dec("100"),
		Items: []sitoo.Item{{Name: "Jacka", Quantity: dec("1"), VATPercent: dec("25"), Net: dec("720"), VAT: dec("180"), Discount: dec("80")}, {Name: "Jacka", Quantity: dec("-1"), VATPercent: dec("25"), Net: dec("-640"), VAT: dec("-160"), Discount: dec("160")}},
	}, ""))
	want := []order.Product{
		{Name: "Jacka", Quantity: "1", Price: "1000.00", Discount: "100.00", VAT: "25", Total: "900.00", Note: "rabatt"},
		{Name: "Jacka", Quantity: "-1", Price: "1000.00", Discount: "-200.00", VAT: "25", Total: "-800.00", Returned: "true", Note: "rabatt"},
	}
	if diff := cmp.Diff(want, products(t, entry)); diff != "" {
		t.Error(diff)
	}
	if entry["ordertype"] != "purchase" || entry["discount"] != "-100.00" || entry["productcount"] != "0" || entry["total"] != "100.00" {
		t.Errorf("entry: %v", entry)
	}
}

func TestPersonOf(t *testing.T) {
	t.Parallel()
	data := func(id string) map[string]string { return map[string]string{"customcrm-contactid": id} }
	for name, c := range map[string]struct {
		o    sitoo.Order
		want order.Person
		ok   bool
	}{
		"nobody":                 {sitoo.Order{FirstName: "Kund", LastName: "Ett"}, order.Person{}, false},
		"the cashier's customer": {sitoo.Order{Additional: data("255934461")}, order.Person{ContactID: 255934461}, true},
		"all three":              {sitoo.Order{Additional: data(" 7 "), Email: "Kund.Ett@Example.com", Phone: "070-174 06 05"}, order.Person{ContactID: 7, Email: "kund.ett@example.com", Phone: "070-174 06 05"}, true},
		"an email":               {sitoo.Order{Email: "kund.ett@example.com"}, order.Person{Email: "kund.ett@example.com"}, true},
		"an email that is none":  {sitoo.Order{Email: "kund(at)example.com"}, order.Person{}, false},
		"a phone":                {sitoo.Order{Phone: "saknas"}, order.Person{Phone: "saknas"}, true},
		"another program's id":   {sitoo.Order{Additional: data("c0ffee00-0000-4000-8000-000000000001")}, order.Person{}, false},
		"no id":                  {sitoo.Order{Additional: data("")}, order.Person{}, false},
		"zero":                   {sitoo.Order{Additional: data("0")}, order.Person{}, false},
		"a negative id":          {sitoo.Order{Additional: data("-255934461")}, order.Person{}, false},
		"an id over 64 bits":     {sitoo.Order{Additional: data("92233720368547758070")}, order.Person{}, false},
		"another program's key":  {sitoo.Order{Additional: map[string]string{"crm-customerid": "7", "voyado-contactid": "7"}}, order.Person{}, false},
	} {
		got, ok := order.PersonOf(c.o)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestCompleted(t *testing.T) {
	t.Parallel()
	const un = sitoo.Unsaid
	for name, c := range map[string]struct {
		state, payment, typ int
		reason              string
	}{
		"closed and paid":        {sitoo.StateClosed, 20, sitoo.TypeOrder, ""},
		"says nothing":           {un, un, un, ""},
		"states nobody knows":    {77, 99, 12, ""},
		"open":                   {sitoo.StateOpen, 20, sitoo.TypeOrder, "it is open"},
		"cancelled":              {sitoo.StateCancelled, 20, un, "it is cancelled"},
		"abandoned":              {sitoo.StateAbandoned, un, un, "it is abandoned"},
		"payment cancelled":      {sitoo.StateClosed, sitoo.PaymentCancelled, un, "its payment was cancelled"},
		"payment failed":         {un, sitoo.PaymentFailed, un, "its payment failed"},
		"booked":                 {un, un, sitoo.TypeBooking, "it is a booking"},
		"parked, and open at it": {sitoo.StateOpen, un, sitoo.TypeParked, "it is parked"},
	} {
		reason, ok := order.Completed(sitoo.Order{State: c.state, PaymentState: c.payment, Type: c.typ})
		if reason != c.reason || ok != (c.reason == "") {
			t.Errorf("%s: %q, %v; want %q", name, reason, ok, c.reason)
		}
	}
}
