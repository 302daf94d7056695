package sitoo

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
)

// Order states, payment states and types that Sitoo documents. Others exist or
// will: unknown ones are kept as they are.
const (
	StateOpen      = 0
	StateClosed    = 10
	StateCancelled = 20
	StateAbandoned = -1

	PaymentCancelled = 30
	PaymentFailed    = 40

	TypeOrder   = 10
	TypeBooking = 100
	TypeParked  = 110
)

// Order is Sitoo's order object, as far as the connector uses it. Amounts are
// in the order's currency.
type Order struct {
	ID       int64
	CreditID int64 // the order that this one gives back, 0 if none
	Date     time.Time
	// Undated is set where Date stands in for one that the order does not say.
	Undated bool
	// State, PaymentState and Type are -999 where the order does not say.
	State, PaymentState, Type int
	Currency                  string

	Email, Phone, FirstName, LastName, Company string
	// Address holds the invoice_* and delivery_* members by their names.
	Address map[string]string

	Net, VAT, RoundOff, Total decimal.Decimal
	Additional                map[string]string
	Items                     []Item
	Payments                  []Payment
}

// Unsaid is a state or type that an order does not carry.
const Unsaid = -999

// Item is a row of an order. Quantity and totals are negative on a return.
type Item struct {
	ID                    string // unique in its order only, "" if the row has none
	Name, SKU, Attributes string
	Quantity              decimal.Decimal
	// Units is what per-unit amounts are multiplied by: Quantity, of weighed
	// goods times the weight of one (two bags of 250 g at a price per kg: 0.5).
	Units                    decimal.Decimal
	VATPercent               decimal.Decimal
	Net, VAT                 decimal.Decimal // of the row
	Discount                 decimal.Decimal // per unit, net
	VoucherName, VoucherCode string
	Additional               map[string]string
}

// Payment is a means by which an order was paid.
type Payment struct {
	Name       string
	Amount     decimal.Decimal
	Additional map[string]string
}

// addressMembers are the members that Address holds.
var addressMembers = []string{
	"invoice_address", "invoice_address2", "invoice_zip", "invoice_city", "invoice_state", "invoice_countryid",
	"delivery_address", "delivery_address2", "delivery_zip", "delivery_city", "delivery_state", "delivery_countryid",
}

// maxRows is more than any receipt has; a document with more is not an order.
const maxRows = 20_000

// DecodeOrder reads an order. orderid is required and positive; everything else
// may be absent, but what is there must be of its kind. body has passed Check if
// it comes from outside; of Sitoo's own answers, the last of two members of one
// name counts.
func DecodeOrder(body []byte) (Order, error) {
	var err error
	o := newObject(body, "", &err)
	if err != nil {
		return Order{}, fault.New(fault.Invalid, "The body is not a JSON object; Sitoo's order object is expected.")
	}
	if _, ok := o.raw("orderid"); !ok {
		o.fail("orderid", "is missing, the order's number is expected")
	}
	out := Order{
		ID: o.integer("orderid"), CreditID: o.integer("creditorderid"), Currency: strings.ToUpper(strings.TrimSpace(o.text("currencycode"))),
		State: o.state("orderstateid"), PaymentState: o.state("paymentstateid"), Type: o.state("ordertypeid"),
		Email: strings.TrimSpace(o.text("email")), Phone: strings.TrimSpace(o.text("phone")),
		FirstName: o.text("namefirst"), LastName: o.text("namelast"), Company: o.text("company"),
		Net: o.money("moneyfinal_net"), VAT: o.money("moneyfinal_vat"), RoundOff: o.money("moneytotal_gross_roundoff"), Total: o.money("moneytotal_gross_all"),
		Additional: o.texts("additionaldata"), Address: map[string]string{},
	}
	out.Date = o.date("orderdate")
	if err == nil && out.ID <= 0 {
		o.fail("orderid", "is %d, a number above 0 is expected", out.ID)
	}
	for _, m := range addressMembers {
		if v := o.text(m); v != "" {
			out.Address[m] = v
		}
	}
	o.objects("orderitems", func(i object) {
		if len(out.Items) == maxRows {
			o.fail("orderitems", "has more than %d rows", maxRows)
			return
		}
		item := Item{
			ID:   strings.TrimSpace(i.text("orderitemid")),
			Name: i.text("productname"), SKU: i.text("sku"), Attributes: i.text("productattributes"),
			Quantity: i.money("quantity"), VATPercent: i.money("vatvalue"),
			Net: i.money("moneyitemtotal_net"), VAT: i.money("moneyitemtotal_vat"), Discount: i.money("moneydiscount"),
			VoucherName: i.text("vouchername"), VoucherCode: i.text("vouchercode"), Additional: i.texts("additionaldata"),
			Units: i.money("decimalquantitytotal"),
		}
		if item.Units.IsZero() {
			item.Units = item.Quantity
		}
		out.Items = append(out.Items, item)
	})
	o.objects("payments", func(p object) {
		out.Payments = append(out.Payments, Payment{Name: p.text("name"), Amount: p.money("moneyamount"), Additional: p.texts("additionaldata")})
	})
	if err != nil {
		return Order{}, err
	}
	return out, nil
}

// WithoutPersonalID returns an order's JSON without the personal identity
// number, which no part of the connector has a use for. body is as for DecodeOrder.
func WithoutPersonalID(body []byte) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The body is not a JSON object; Sitoo's order object is expected.")
	}
	delete(members, "personalid")
	return json.Marshal(members)
}

func (o object) state(name string) int {
	if strings.TrimSpace(o.text(name)) == "" { // not a 0, which is "open"
		return Unsaid
	}
	n := o.integer(name)
	if n < -1_000_000 || n > 1_000_000 {
		o.fail(name, "is out of range, a state number of Sitoo's is expected")
		return Unsaid
	}
	return int(n)
}

// date returns a moment given in seconds since 1970 or in RFC 3339; zero if
// absent.
func (o object) date(name string) time.Time {
	s := strings.TrimSpace(o.text(name))
	if s == "" || s == "0" {
		return time.Time{}
	}
	t, ok := moment(s, time.RFC3339)
	if !ok {
		o.fail(name, "is not a moment in time, seconds since 1970 such as 1727433600 are expected")
	}
	return t
}

// moment reads seconds since 1970 or one of the layouts, between 1970 and 2200.
func moment(s string, layouts ...string) (time.Time, bool) {
	if secs, err := strconv.ParseInt(s, 10, 64); err == nil {
		if secs > 0 && secs < 7_000_000_000 { // until the year 2191
			return time.Unix(secs, 0).UTC(), true
		}
		return time.Time{}, false
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 && t.Year() < 2200 {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
