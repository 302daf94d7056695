package order

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/sitoo"
)

// An entry is a digital receipt: what was sold and for how much, what it cost
// besides, VAT by rate, and how it was paid.

// Product is one row of the json field products: flat, so that a template in
// Rule can loop over it. Amounts are strings with the decimals of the currency,
// VAT included except where the name says otherwise. quantity x price is total,
// or Note says why it is not. Members that most rows do not have are left out of
// those.
type Product struct {
	Name       string `json:"name"`
	SKU        string `json:"sku"`
	Attributes string `json:"attributes"`
	Quantity   string `json:"quantity"`
	Price      string `json:"price"`    // per unit, before discount
	Discount   string `json:"discount"` // of the row
	VAT        string `json:"vat"`      // percent
	Total      string `json:"total"`    // of the row
	// Kind is "freight" or "fee", "" for goods.
	Kind string `json:"kind,omitempty"`
	// Unit is what the goods are measured in, such as kg; Units how much of that
	// the row has, and UnitPrice what one costs, where that is not the quantity.
	Unit      string `json:"unit,omitempty"`
	Units     string `json:"units,omitempty"`
	UnitPrice string `json:"unitprice,omitempty"`
	// Returned is "true" for a row that an order which also sells takes back.
	Returned string `json:"returned,omitempty"`
	// Note says why quantity x price is not total: a discount, or what rounding
	// left over.
	Note string `json:"note,omitempty"`
}

// VATRow is one row of the json field vatrows.
type VATRow struct {
	Rate  string `json:"rate"` // percent
	Net   string `json:"net"`
	VAT   string `json:"vat"`
	Total string `json:"total"`
}

// PaymentRow is one row of the json field paymentrows.
type PaymentRow struct {
	Name   string `json:"name"`
	Amount string `json:"amount"`
	Issuer string `json:"issuer,omitempty"` // of the card
}

// words are those that an entry has of itself.
type words struct{ freight, fee, discount, rounded, unread string }

func wordsOf(language string) words {
	if language == "en" {
		return words{"Shipping", "Fee", "discount", "rounded", "quantity missing"}
	}
	return words{"Frakt", "Avgift", "rabatt", "avrundat", "antal saknas"}
}

const (
	maxPayments = 100
	maxRates    = 50
)

var hundred = decimal.NewFromInt(100)

// money writes an amount as Rule compares it: dot, the currency's decimals, and
// no negative zero.
func money(d decimal.Decimal, decimals int32) string {
	if d = d.Round(decimals); d.IsZero() {
		d = decimal.Zero
	}
	return d.StringFixed(decimals)
}

func (v *view) money(d decimal.Decimal) string { return money(d, v.decimals) }

// read writes an amount of the order, "" for one that could not be read.
func (v *view) read(member string, d decimal.Decimal) string {
	if slices.Contains(v.Unread, member) {
		return ""
	}
	return v.money(d)
}

// total is what was paid. Where it could not be read, it is the sum of its parts.
func (v *view) total() string {
	if s := v.read("moneytotal_gross_all", v.Total); s != "" {
		return s
	}
	for _, part := range []string{"moneyfinal_net", "moneyfinal_vat", "moneyfinal_salestax", "moneytotal_gross_roundoff"} {
		if slices.Contains(v.Unread, part) {
			return ""
		}
	}
	if v.Net.IsZero() && v.VAT.IsZero() {
		return ""
	}
	return v.money(decimal.Sum(v.Net, v.VAT, v.SalesTax, v.RoundOff))
}

func (v *view) salesTax() string {
	if v.SalesTax.IsZero() {
		return ""
	}
	return v.money(v.SalesTax)
}

// mixed reports whether an order both sells and takes back.
func mixed(o sitoo.Order) bool {
	sold := slices.ContainsFunc(o.Items, func(i sitoo.Item) bool { return i.Quantity.IsPositive() })
	return sold && slices.ContainsFunc(o.Items, func(i sitoo.Item) bool { return i.Quantity.IsNegative() })
}

// row writes a row of the order, and returns its discount.
func (v *view) row(i sitoo.Item, mixed bool) (Product, decimal.Decimal) {
	// Sitoo's per-unit amounts are net; a customer reads gross. The price before
	// discount follows from the row: quantity x price - discount = total.
	total := i.Net.Add(i.VAT).Round(v.decimals)
	discount := grossDiscount(i, v.decimals)
	before := total.Add(discount)
	price := decimal.Zero
	if !i.Quantity.IsZero() {
		price = before.Div(i.Quantity).Round(v.decimals)
	}
	p := Product{
		Name: i.Name, SKU: i.SKU, Attributes: i.Attributes, Quantity: i.Quantity.String(),
		Price: v.money(price), Discount: v.money(discount), VAT: i.VATPercent.String(), Total: v.money(total), Unit: i.Unit,
	}
	if !i.Units.Equal(i.Quantity) && !i.Units.IsZero() {
		p.Units, p.UnitPrice = i.Units.String(), v.money(before.Div(i.Units))
	}
	if mixed && i.Quantity.IsNegative() {
		p.Returned = "true"
	}
	var why []string
	if !discount.IsZero() {
		why = append(why, v.words.discount)
	}
	if rest := before.Sub(price.Mul(i.Quantity)); !rest.IsZero() && i.Quantity.IsZero() {
		why = append(why, v.words.unread)
	} else if !rest.IsZero() {
		why = append(why, v.words.rounded)
	}
	p.Note = strings.Join(why, ", ")
	return p, discount
}

// chargeRows writes freight and fees as rows.
func (v *view) chargeRows() []Product {
	var list []Product
	for _, c := range []struct {
		kind, name string
		sitoo.Charge
	}{{"freight", v.words.freight, v.Freight}, {"fee", v.words.fee, v.Fee}} {
		total := c.Net.Add(c.VAT).Round(v.decimals)
		if total.IsZero() {
			continue
		}
		p := Product{
			Name: c.name, Quantity: "1", Price: v.money(total.Abs()), Discount: v.money(decimal.Zero),
			VAT: rate(c.Net, c.VAT, v.Items).String(), Total: v.money(total), Kind: c.kind,
		}
		if name := strings.TrimSpace(c.Charge.Name); name != "" {
			p.Name = name
		}
		if total.IsNegative() {
			p.Quantity = "-1"
			if v.kind == Purchase {
				p.Returned = "true"
			}
		}
		list = append(list, p)
	}
	return list
}

// rate returns the VAT rate of an amount that does not say it, in percent: the
// nearest of the order's rows, if one is near, since amounts are rounded.
func rate(net, vat decimal.Decimal, rows []sitoo.Item) decimal.Decimal {
	if net.IsZero() || vat.IsZero() {
		return decimal.Zero
	}
	exact := vat.Div(net).Mul(hundred)
	for _, i := range rows {
		if i.VATPercent.Sub(exact).Abs().LessThan(decimal.New(5, -1)) {
			return i.VATPercent
		}
	}
	if whole := exact.Round(0); whole.Sub(exact).Abs().LessThan(decimal.New(2, -1)) {
		return whole
	}
	return exact.Round(1)
}

// vatRows writes what the order's rows, freight and fees have of VAT, by rate, the
// highest first; nothing where rows are missing and it is not known what they add
// up to.
func (v *view) vatRows() json.RawMessage {
	type sum struct{ rate, net, vat decimal.Decimal }
	var sums []sum
	add := func(percent, net, vat decimal.Decimal) {
		if net.IsZero() && vat.IsZero() {
			return
		}
		if percent.IsZero() && !vat.IsZero() {
			percent = rate(net, vat, v.Items)
		}
		n := slices.IndexFunc(sums, func(s sum) bool { return s.rate.Equal(percent) })
		if n < 0 {
			n = len(sums)
			sums = append(sums, sum{rate: percent})
		}
		sums[n].net, sums[n].vat = sums[n].net.Add(net), sums[n].vat.Add(vat)
	}
	for _, i := range v.Items {
		add(i.VATPercent, i.Net, i.VAT)
		if len(sums) > maxRates {
			return nil
		}
	}
	for _, c := range []sitoo.Charge{v.Freight, v.Fee} {
		add(decimal.Zero, c.Net, c.VAT)
	}
	for _, r := range v.Rest {
		add(r.Rate, r.Net, r.VAT)
	}
	if v.Omitted > 0 && v.Rest == nil {
		return nil
	}
	slices.SortStableFunc(sums, func(a, b sum) int { return b.rate.Cmp(a.rate) })
	var rows [][]byte
	for _, s := range sums {
		rows = append(rows, encode(VATRow{s.rate.String(), v.money(s.net), v.money(s.vat), v.money(s.net.Add(s.vat))}))
	}
	return join(rows)
}

// paymentRows writes by what the order was paid, and how much by each.
func (v *view) paymentRows() json.RawMessage {
	var rows [][]byte
	size := 0
	for n, p := range v.Payments {
		if strings.TrimSpace(p.Name) == "" && p.Amount.IsZero() {
			continue
		}
		row := encode(PaymentRow{clipText(strings.TrimSpace(p.Name)), v.money(p.Amount), clipText(p.Issuer)})
		if size += escaped(string(row)); n == maxPayments || size > maxAside {
			break
		}
		rows = append(rows, row)
	}
	return join(rows)
}
