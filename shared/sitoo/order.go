package sitoo

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/zone"
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

	Net, VAT, SalesTax, RoundOff, Total decimal.Decimal

	Freight, Fee Charge
	Additional   map[string]string
	Items        []Item
	Payments     []Payment
	// Unread names the members that could not be read, the first 20.
	Unread []string
	// Omitted is how many more rows the order had than could be queued.
	Omitted int
	// Rest is what those rows add up to, nil if that is not known.
	Rest []Rest
}

// Rest is what rows of one VAT rate add up to, which are not there themselves.
type Rest struct {
	Rate     decimal.Decimal `json:"rate"` // percent
	Quantity decimal.Decimal `json:"quantity"`
	Net      decimal.Decimal `json:"net"`
	VAT      decimal.Decimal `json:"vat"`
	Discount decimal.Decimal `json:"discount"` // with VAT
}

// Charge is what an order costs besides its rows.
type Charge struct {
	Name     string // "" if it has none
	Net, VAT decimal.Decimal
}

// Unsaid is a state or type that an order does not carry.
const Unsaid = -999

// Item is a row of an order. Quantity and totals are negative on a return.
type Item struct {
	ID                    string // unique in its order only, "" if the row has none
	Name, SKU, Attributes string
	Unit                  string // what the goods are measured in, "kg"; "" for pieces
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
	Issuer     string // of the card
	Amount     decimal.Decimal
	Additional map[string]string
}

// addressMembers are the members that Address holds.
var addressMembers = []string{
	"invoice_address", "invoice_address2", "invoice_zip", "invoice_city", "invoice_state", "invoice_countryid",
	"delivery_address", "delivery_address2", "delivery_zip", "delivery_city", "delivery_state", "delivery_countryid",
}

// The members that are read of an order, of its rows and of its payments.
var (
	orderMembers = append([]string{
		"orderid", "creditorderid", "orderdate", "orderstateid", "paymentstateid", "ordertypeid", "currencycode",
		"email", "phone", "namefirst", "namelast", "company", "additionaldata", "orderitems", "payments",
		"moneyfinal_net", "moneyfinal_vat", "moneyfinal_salestax", "moneytotal_gross_roundoff", "moneytotal_gross_all",
		"moneydelivery_net", "moneydelivery_vat", "moneycheckout_net", "moneycheckout_vat", "deliverytypename",
	}, addressMembers...)
	itemMembers = []string{
		"orderitemid", "productname", "sku", "productattributes", "quantity", "unitlabel", "decimalquantitytotal", "vatvalue",
		"moneyitemtotal_net", "moneyitemtotal_vat", "moneydiscount", "vouchername", "vouchercode", "additionaldata",
	}
	paymentMembers = []string{"name", "moneyamount", "cardissuer", "additionaldata"}
)

func notAnOrder() error {
	return fault.Say(fault.Invalid, "body_not_object")
}

func brokenOff(err error) error {
	broken, _ := errors.AsType[errBroken](err)
	return fault.Say(fault.Invalid, "body_not_json", "byte", broken.at).With(err)
}

// DecodeOrder reads an order. Only its number is required: what cannot be read
// of the rest is left out and named in Unread, amounts are rounded to the
// currency's unit where they are final, half away from zero, and quantities to
// six decimals. Of two members of one name the last counts. The error is
// fault.Invalid. Of an object that breaks off behind its number, the Order holds
// that number, with the error.
func DecodeOrder(body []byte) (Order, error) {
	var u unread
	o, broken := newLoose(body, "", orderMembers, &u)
	if errors.Is(broken, errNoObject) {
		return Order{}, notAnOrder()
	}
	id, err := o.number()
	switch {
	case broken != nil && err != nil:
		return Order{}, brokenOff(broken)
	case broken != nil:
		return Order{ID: id}, brokenOff(broken)
	case err != nil:
		return Order{}, err
	}
	out := o.order()
	out.ID, out.Unread = id, u.names
	return out, nil
}

// number returns the order's number.
func (o loose) number() (int64, error) {
	if _, there := o.raw("orderid"); !there {
		return 0, fault.SayBad("orderid", "orderid_missing")
	}
	n, ok := Whole(loose{members: o.members, unread: &unread{}}.text("orderid"))
	switch {
	case !ok:
		return 0, fault.SayBad("orderid", "order_number_wrong")
	case n <= 0:
		return 0, fault.SayBad("orderid", "order_number_low", "number", n)
	}
	return n, nil
}

func (o loose) order() Order {
	out := Order{
		Currency: strings.ToUpper(strings.TrimSpace(o.text("currencycode"))),
		State:    o.state("orderstateid"), PaymentState: o.state("paymentstateid"), Type: o.state("ordertypeid"),
		Email: strings.TrimSpace(o.text("email")), Phone: strings.TrimSpace(o.text("phone")),
		FirstName: o.text("namefirst"), LastName: o.text("namelast"), Company: o.text("company"),
		Additional: o.texts("additionaldata"), Address: map[string]string{},
		Freight: Charge{Name: o.text("deliverytypename"), Net: o.money("moneydelivery_net"), VAT: o.money("moneydelivery_vat")},
		Fee:     Charge{Net: o.money("moneycheckout_net"), VAT: o.money("moneycheckout_vat")},
	}
	// A till whose order credits none has been seen to write 0, -1 and "".
	if n, ok := o.integer("creditorderid"); ok && n > 0 {
		out.CreditID = n
	}
	final := func(name string) decimal.Decimal { return o.money(name).Round(Decimals(out.Currency)) }
	out.Net, out.VAT, out.SalesTax = final("moneyfinal_net"), final("moneyfinal_vat"), final("moneyfinal_salestax")
	out.RoundOff, out.Total = final("moneytotal_gross_roundoff"), final("moneytotal_gross_all")
	out.Date = o.date("orderdate", Zone(out.Additional))
	for _, m := range addressMembers {
		if v := o.text(m); v != "" {
			out.Address[m] = v
		}
	}
	o.objects("orderitems", itemMembers, func(i loose) { out.Items = append(out.Items, i.item()) })
	o.objects("payments", paymentMembers, func(p loose) {
		out.Payments = append(out.Payments, Payment{
			Name: p.text("name"), Issuer: p.text("cardissuer"), Additional: p.texts("additionaldata"),
			Amount: p.money("moneyamount").Round(Decimals(out.Currency)),
		})
	})
	return out
}

func (o loose) item() Item {
	i := Item{
		ID:   strings.TrimSpace(o.text("orderitemid")),
		Name: o.text("productname"), SKU: o.text("sku"), Attributes: o.text("productattributes"), Unit: strings.TrimSpace(o.text("unitlabel")),
		Quantity: o.money("quantity").Round(6), VATPercent: o.money("vatvalue").Round(4),
		Net: o.money("moneyitemtotal_net"), VAT: o.money("moneyitemtotal_vat"), Discount: o.money("moneydiscount"),
		VoucherName: o.text("vouchername"), VoucherCode: o.text("vouchercode"), Additional: o.texts("additionaldata"),
		Units: o.money("decimalquantitytotal").Round(6),
	}
	if n, ok := Whole(i.ID); ok { // 1.0 is the row that others call 1
		i.ID = strconv.FormatInt(n, 10)
	}
	if i.Units.IsZero() {
		i.Units = i.Quantity
	}
	return i
}

// Zone returns the time zone of the till that an order's additional data names.
// One that it does not name, or that is not known, is Swedish.
func Zone(additional map[string]string) *time.Location { return zone.Named(additional["pos-timezone"]) }
