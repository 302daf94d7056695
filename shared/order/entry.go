// Package order brings an order from the till into Rule: as one entry of the
// historical group Sitoo-Order, once, however often the order is delivered. The
// ledger remembers where each order is.
package order

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// Group is the historical group in Rule, one entry per order. Merchants know
// its name from Rule's help pages.
const Group = "Sitoo-Order"

// The fields of an entry that are read back.
const (
	fieldOrderID  = "orderid"
	fieldReceipt  = "receiptid"
	fieldDate     = "orderdate"
	fieldInstant  = "orderdateutc" // which of the two hours in October it was
	fieldStore    = "storename"
	fieldCurrency = "currencycode"
	fieldTotal    = "total"
	fieldProducts = "products"
)

// The order types, as the field ordertype says them.
const (
	Purchase = "purchase"
	Return   = "return"
)

// The tags that automations in Rule start from.
const (
	PurchaseTag = "OrderCompleted"
	ReturnTag   = "RefundCompleted"
)

// table is the one place that says which fields an entry has, and their types.
var table = []struct {
	name string
	kind rule.FieldType
	of   func(v *view) any
}{
	{fieldOrderID, rule.Text, func(v *view) any { return strconv.FormatInt(v.ID, 10) }},
	{fieldReceipt, rule.Text, func(v *view) any { return v.Additional["pos-receiptid"] }},
	{fieldDate, rule.DateTime, func(v *view) any { return v.Date.In(sitoo.Zone(v.Additional)).Format(rule.TimeLayout) }},
	{fieldInstant, rule.Text, func(v *view) any { return v.Date.UTC().Format(time.RFC3339) }},
	{"ordertype", rule.Text, func(v *view) any { return v.kind }},
	{"originalorderid", rule.Text, func(v *view) any { return v.original() }},
	{fieldStore, rule.Text, func(v *view) any { return v.Additional["store-name"] }},
	{"storeexternalid", rule.Text, func(v *view) any { return v.Additional["store-externalid"] }},
	{fieldCurrency, rule.Text, func(v *view) any { return v.Currency }},
	{fieldTotal, rule.Text, func(v *view) any { return v.total() }},
	{"totalnet", rule.Text, func(v *view) any { return v.read("moneyfinal_net", v.Net) }},
	{"totalvat", rule.Text, func(v *view) any { return v.read("moneyfinal_vat", v.VAT) }},
	{"discount", rule.Text, func(v *view) any { return v.money(v.discount) }},
	{"roundoff", rule.Text, func(v *view) any { return v.read("moneytotal_gross_roundoff", v.RoundOff) }},
	{"salestax", rule.Text, func(v *view) any { return v.salesTax() }},
	{"vatrows", rule.JSON, func(v *view) any { return v.vatRows() }},
	{"productcount", rule.Text, func(v *view) any { return v.count.String() }},
	{fieldProducts, rule.JSON, func(v *view) any { return v.products }},
	{"productsomitted", rule.Text, func(v *view) any { return v.omitted }},
	{"names", rule.Multiple, func(v *view) any { return v.names }},
	{"skus", rule.Multiple, func(v *view) any { return v.skus }},
	{"productgroups", rule.Multiple, func(v *view) any { return v.groups }},
	{"payments", rule.Multiple, func(v *view) any { return v.payments }},
	{"paymentrows", rule.JSON, func(v *view) any { return v.paymentRows() }},
	{"vouchers", rule.Multiple, func(v *view) any { return v.vouchers }},
	{"bonuschecks", rule.Multiple, func(v *view) any { return v.checks }},
}

// Schema returns every field of an entry with its type and no value.
func Schema() []rule.Field {
	fields := make([]rule.Field, len(table))
	for i, row := range table {
		fields[i] = rule.Field{Group: Group, Name: row.name, Type: row.kind}
	}
	return fields
}

// view is an order as the entry shows it.
type view struct {
	sitoo.Order
	kind     string
	decimals int32 // of the currency
	words    words
	discount decimal.Decimal
	count    decimal.Decimal
	rows     []Product
	charges  []Product // freight and fees
	products json.RawMessage
	omitted  string

	names, skus, groups, payments, vouchers, checks []string
}

// Kind tells a return from a purchase: it credits an order, or its sum or every
// row is negative.
func Kind(o sitoo.Order) string {
	negative := len(o.Items) > 0 && !slices.ContainsFunc(o.Items, func(i sitoo.Item) bool { return !i.Quantity.IsNegative() })
	if o.CreditID > 0 || credited(o) != "" || o.Total.IsNegative() || negative {
		return Return
	}
	return Purchase
}

func (v *view) original() string {
	if v.CreditID > 0 {
		return strconv.FormatInt(v.CreditID, 10)
	}
	return credited(v.Order)
}

// credited returns the order that a return names in its additional data, ""
// where that says none: "", "0" and "-1" are no orders.
func credited(o sitoo.Order) string {
	s := strings.TrimSpace(o.Additional["pos-originalsales-orderid"])
	if n, ok := sitoo.Whole(s); ok {
		if n <= 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	return s
}

func viewOf(o sitoo.Order, language string) *view {
	v := &view{Order: o, kind: Kind(o), decimals: sitoo.Decimals(o.Currency), words: wordsOf(language)}
	mixed := mixed(o)
	var names, skus, groups, payments, vouchers, checks distinct
	for _, i := range o.Items {
		row, discount := v.row(i, mixed)
		v.discount = v.discount.Add(discount)
		v.count = v.count.Add(i.Quantity)
		v.rows = append(v.rows, row)
		if row.Returned == "" { // what an exchange takes back was not bought
			names.add(i.Name)
			skus.add(i.SKU)
			groups.add(i.Additional["product-group-name"])
		}
		if i.VoucherName != "" {
			vouchers.add(i.VoucherName)
		} else {
			vouchers.add(i.VoucherCode)
		}
		for _, key := range bonusCheckKeys {
			checks.add(i.Additional[key])
		}
	}
	for _, r := range o.Rest {
		v.discount, v.count = v.discount.Add(r.Discount), v.count.Add(r.Quantity)
	}
	for _, p := range o.Payments {
		payments.add(p.Name)
	}
	v.charges = v.chargeRows()
	v.names, v.skus, v.groups, v.vouchers = names.list, skus.list, groups.list, vouchers.list
	v.payments, v.checks = within(payments.list, maxAside), within(checks.list, maxAside)
	return v
}

// bonusCheckKeys are where a row names the bonus check it was discounted with:
// SPI v1's key and v2's.
var bonusCheckKeys = []string{"customcrm-bonuscheckid", "crm-bonuscheckid"}

// distinct is a list of texts, each once, in the order they came.
type distinct struct {
	list []string
	seen map[string]struct{}
}

func (d *distinct) add(s string) {
	s = strings.TrimSpace(s)
	if _, seen := d.seen[s]; seen || s == "" {
		return
	}
	if d.seen == nil {
		d.seen = map[string]struct{}{}
	}
	d.seen[s] = struct{}{}
	d.list = append(d.list, s)
}

// within returns the beginning of list that is not longer than limit.
func within(list []string, limit int) []string {
	size := 0
	for i, s := range list {
		if size += length([]string{clipText(s)}); size > limit {
			return list[:i]
		}
	}
	return list
}

// budget is what an entry may hold, a little below Rule's limit.
const budget = rule.MaxGroup - 1000

// Entry returns the fields of an order's entry, empty ones left out, within
// Rule's limit for one group. Where the product list does not fit, rows are cut
// from its end, the lists of names and numbers are cut to the same rows, and
// productsomitted says how many rows are missing, with those that could not be
// queued. Words in it are of the language, Swedish if "".
func Entry(o sitoo.Order, language string) []rule.Field {
	v := viewOf(o, language)
	encoded, charges := encodeAll(v.rows), encodeAll(v.charges)
	keep := len(encoded)
	for {
		v.products = join(slices.Concat(encoded[:keep], charges))
		if missing := len(encoded) - keep + o.Omitted; missing > 0 {
			v.omitted = fmt.Sprintf("%d of %d", missing, len(encoded)+o.Omitted)
		}
		if keep < len(encoded) {
			part := o
			part.Items = o.Items[:keep]
			short := viewOf(part, language)
			v.names, v.skus, v.groups, v.vouchers = short.names, short.skus, short.groups, short.vouchers
		}
		fields := make([]rule.Field, 0, len(table))
		size := 0
		for _, row := range table {
			value := clip(row.of(v))
			if n := length(value); n > 0 {
				size += n
				fields = append(fields, rule.Field{Group: Group, Name: row.name, Type: row.kind, Value: value})
			}
		}
		if size <= budget || keep == 0 {
			return fields
		}
		// Cut in proportion, and at least one row: a few rounds suffice.
		keep = min(keep-1, keep*budget/size)
	}
}

const (
	maxValue = 1000 // characters of a text value; names are shorter
	maxMany  = 2000 // values of a multiple field
	// maxAside bounds, in characters, the lists that are not cut with the rows.
	maxAside = 10_000
)

// clip bounds what a single value can take, so that an absurd name cannot
// crowd out the rest.
func clip(value any) any {
	switch v := value.(type) {
	case string:
		return clipText(v)
	case []string:
		if len(v) > maxMany {
			v = v[:maxMany]
		}
		out := make([]string, len(v))
		for i := range v {
			out[i] = clipText(v[i])
		}
		return out
	}
	return value
}

func clipText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7F { // no receipt has any
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if utf8.RuneCountInString(s) <= maxValue {
		return s
	}
	return string([]rune(s)[:maxValue-1]) + "…"
}

func encodeAll(rows []Product) [][]byte {
	list := make([][]byte, len(rows))
	for i, p := range rows {
		p.Name, p.SKU, p.Attributes, p.Unit = clipText(p.Name), clipText(p.SKU), clipText(p.Attributes), clipText(p.Unit)
		list[i] = encode(p)
	}
	return list
}

func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a struct of strings always encodes
	return bytes.TrimSpace(b.Bytes())
}

func join(rows [][]byte) json.RawMessage {
	if len(rows) == 0 {
		return nil
	}
	out := append([]byte{'['}, bytes.Join(rows, []byte{','})...)
	return append(out, ']')
}

// length counts a value's characters as Rule may store them: what it encodes
// again as JSON can turn "ö" into six characters and "/" into two (assumed: the
// way of its platform's encoder). Go's encoder, on the way there, turns "&" into
// six.
func length(value any) int {
	switch v := value.(type) {
	case string:
		return utf8.RuneCountInString(v)
	case []string:
		n := 0
		for _, s := range v {
			n += 3 + escaped(s)
		}
		return n
	case json.RawMessage:
		return escaped(string(v))
	}
	return 0
}

func escaped(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r > 0xFFFF:
			n += 12
		case r > 0x7E || r < 0x20, r == '<' || r == '>' || r == '&':
			n += 6
		case r == '/' || r == '"' || r == '\\':
			n += 2
		default:
			n++
		}
	}
	return n
}

// Bought is one entry as the customer card shows it.
type Bought struct {
	OrderID, ReceiptID, StoreName, Currency, Total string

	Date     time.Time // UTC
	Products []Product
}

// boughtOf reads an entry back. ok is false for one that cannot be shown,
// because staff have damaged its number, date or sum.
func boughtOf(e rule.Entry) (b Bought, ok bool) {
	text := func(name string) string { return strings.TrimSpace(e.Values[name].Text()) }
	b = Bought{OrderID: text(fieldOrderID), ReceiptID: text(fieldReceipt), StoreName: text(fieldStore), Currency: text(fieldCurrency)}
	total, err := decimal.NewFromString(strings.Replace(text(fieldTotal), ",", ".", 1))
	if err != nil || b.OrderID == "" || len(text(fieldTotal)) > 20 || strings.ContainsAny(text(fieldTotal), "eE") {
		return Bought{}, false
	}
	b.Total = money(total, sitoo.Decimals(b.Currency))
	at, err := time.ParseInLocation(rule.TimeLayout, text(fieldDate), rule.Stockholm)
	if err != nil {
		return Bought{}, false
	}
	b.Date = at.UTC()
	// The instant counts unless the date has been edited by hand since: a till's
	// clock is at most a day from Sweden's.
	if instant, err := time.Parse(time.RFC3339, text(fieldInstant)); err == nil && instant.Sub(at).Abs() <= 26*time.Hour {
		b.Date = instant.UTC()
	}
	if raw := e.Values[fieldProducts].JSON(); len(raw) > 0 {
		var rows []json.RawMessage
		_ = json.Unmarshal(raw, &rows) // a damaged list: the purchase shows without rows
		for _, r := range rows {
			var p Product
			if json.Unmarshal(r, &p) == nil {
				b.Products = append(b.Products, p)
			}
		}
	}
	return b, true
}
