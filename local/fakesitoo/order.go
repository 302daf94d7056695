package fakesitoo

// order is one order before it becomes JSON. Money and quantities are positive
// on purchases and negative on returns.
type order struct {
	id         int64
	eshopID    int64
	externalID string // "" is written as null
	credits    int64  // the order this one credits, 0 is written as null
	customer   Customer
	ship       bool // the delivery address is filled in
	date       int64
	state      int64
	payment    int64
	kind       int64
	checkout   string
	delivery   string
	freightNet ore // with 25 % VAT
	roundoff   ore
	register   *register // nil for web orders
	staff      int       // index of the cashier, for orders with a register
	warehouse  int64
	additional map[string]string
	rows       []row
	payments   []payment
}

// row is one order item.
type row struct {
	product     product
	quantity    int64 // negative on returned rows
	perUnit     milli // amount per unit of weighed goods, 0 for none
	discount    ore   // net, per unit
	voucherID   int64 // campaign, 0 for none
	voucherCode string
	voucherName string
	additional  map[string]string // beside the product group
}

func (r row) unitNet() ore { return r.product.net - r.discount }

// quantityNet is the net price of one unit of the row: of a bag of tea, not of
// a kilogram.
func (r row) quantityNet() ore {
	if r.perUnit == 0 {
		return r.unitNet()
	}
	return ratio(r.unitNet(), int64(r.perUnit), 1000)
}

func (r row) net() ore { return r.quantityNet() * ore(r.quantity) }
func (r row) vat() ore { return ratio(r.net(), r.product.vat, 100) }

// payment is one payment of an order.
type payment struct {
	name       string
	amount     ore
	external   string // "" is written as null, as are the next three
	refType    string
	refID      string
	issuer     string
	additional map[string]string
}

func (o *order) rowsNet() (sum ore) {
	for _, r := range o.rows {
		sum += r.net()
	}
	return sum
}

func (o *order) rowsVAT() (sum ore) {
	for _, r := range o.rows {
		sum += r.vat()
	}
	return sum
}

func (o *order) freightVAT() ore { return ratio(o.freightNet, 25, 100) }

// gross is the sum to pay before cash rounding.
func (o *order) gross() ore {
	return o.rowsNet() + o.rowsVAT() + o.freightNet + o.freightVAT()
}

// append writes the order with every documented field, in the documented order
// of contract section 10; those that keep wants, all of them if keep is nil. It
// writes the bytes itself: a backfill's test reads every order at least twice.
func (o *order) append(buf []byte, keep map[string]bool) []byte {
	c := o.customer
	var to Customer // whom the goods are sent to
	if o.ship {
		to = c
	}
	country := func(has bool) string {
		if has {
			return "SE"
		}
		return ""
	}
	var registerID, staffID string
	if o.register != nil {
		registerID, staffID = o.register.id, staff[o.staff].id
	}
	net, vat := o.rowsNet(), o.rowsVAT()
	w := begin(buf, keep)
	w.number("orderid", o.id)
	w.number("eshopid", o.eshopID)
	w.orNull("externalid", o.externalID)
	w.idOrNull("creditorderid", o.credits)
	w.number("checkouttypeid", 0)
	w.number("deliverytypeid", 0)
	w.text("email", c.Email)
	w.text("namefirst", c.NameFirst)
	w.text("namelast", c.NameLast)
	w.text("personalid", "")
	w.text("company", "")
	w.text("phone", c.Phone)
	w.text("invoice_address", c.Address)
	w.text("invoice_address2", "")
	w.text("invoice_zip", c.Zip)
	w.text("invoice_city", c.City)
	w.text("invoice_state", "")
	w.text("invoice_countryid", country(c.Address != ""))
	w.text("delivery_address", to.Address)
	w.text("delivery_address2", "")
	w.text("delivery_zip", to.Zip)
	w.text("delivery_city", to.City)
	w.text("delivery_state", "")
	w.text("delivery_countryid", country(o.ship))
	w.text("comment", "")
	w.text("commentinternal", "")
	w.text("customerref", "")
	w.text("checkoutref", "")
	w.money("moneytotal_net", net)
	w.money("moneytotal_vat", vat)
	w.money("moneycheckout_net", 0)
	w.money("moneycheckout_vat", 0)
	w.money("moneytotal_gross_checkout", 0)
	w.money("moneydelivery_net", o.freightNet)
	w.money("moneydelivery_vat", o.freightVAT())
	w.money("moneytotal_gross_delivery", o.freightNet+o.freightVAT())
	w.money("moneyfinal_net", net+o.freightNet)
	w.money("moneyfinal_vat", vat+o.freightVAT())
	w.money("moneyfinal_salestax", 0)
	w.money("moneytotal_gross_roundoff", o.roundoff)
	w.money("moneytotal_gross_all", o.gross()+o.roundoff)
	w.text("checkouttypename", o.checkout)
	w.number("checkoutmethodid", 0)
	w.number("checkoutmethodsubid", 0)
	w.text("deliverytypename", o.delivery)
	w.number("orderdate", o.date)
	w.number("orderstateid", o.state)
	w.number("paymentstateid", o.payment)
	w.number("ordertypeid", o.kind)
	w.orNull("userid_staff", staffID)
	w.orNull("registerid", registerID)
	w.idOrNull("warehouseid", o.warehouse)
	w.null("datereserved")
	w.text("currencycode", "SEK")
	w.texts("additionaldata", o.additional)
	if w.member("orderitems") {
		w.buf = append(w.buf, '[')
		for i, r := range o.rows {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = r.append(w.buf, i)
		}
		w.buf = append(w.buf, ']')
	}
	if w.member("payments") {
		w.buf = append(w.buf, '[')
		for i, p := range o.payments {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = p.append(w.buf)
		}
		w.buf = append(w.buf, ']')
	}
	if w.member("reservedpayments") {
		w.buf = append(w.buf, "[]"...)
	}
	if w.member("orderlogitems") {
		l := begin(append(w.buf, '['), nil)
		l.number("datelog", o.date)
		l.number("orderid", o.id)
		l.number("orderlogtypeid", 999)
		l.text("strvalue", "Order created")
		l.number("fvalue", 0)
		w.buf = append(l.end(), ']')
	}
	return w.end()
}

// append writes the row that stands at a position of its order.
func (r row) append(buf []byte, position int) []byte {
	total := milli(r.quantity * 1000)
	if r.perUnit != 0 {
		total = r.perUnit * milli(r.quantity)
	}
	var discounted ore // "0.00" when there is no discount
	if r.discount != 0 {
		discounted = r.unitNet()
	}
	w := begin(buf, nil)
	w.number("orderitemid", int64(position))
	w.number("orderitemtype", 10)
	w.number("productid", r.product.id)
	w.text("productname", r.product.name)
	w.text("sku", r.product.sku)
	w.text("productattributes", r.product.attributes)
	w.text("externalinput", "")
	w.text("externalinputtitle", "")
	w.text("unitlabel", r.product.unit)
	w.number("quantity", r.quantity)
	if r.perUnit != 0 {
		w.amount("decimalunitquantity", r.perUnit)
	} else {
		w.null("decimalunitquantity")
	}
	w.money("moneynetpriceperunit", r.unitNet())
	w.money("moneypriceorg", 0)
	w.number("vatvalue", r.product.vat)
	w.text("deliveryinfo", "")
	w.money("moneyitemtotal_net", r.net())
	w.money("moneyitemtotal_vat", r.vat())
	w.number("voucherid", r.voucherID)
	w.text("vouchercode", r.voucherCode)
	w.text("vouchername", r.voucherName)
	w.money("moneyoriginalprice", r.product.net)
	w.money("moneydiscountedprice", discounted)
	w.money("moneydiscount", r.discount)
	if w.member("salestaxes") {
		w.buf = append(w.buf, "[]"...)
	}
	w.texts("additionaldata", r.additional, pair{"product-group-name", r.product.group})
	w.amount("decimalquantitytotal", total)
	w.money("moneynetpriceperquantity", r.quantityNet())
	return w.end()
}

// append writes the payment.
func (p payment) append(buf []byte) []byte {
	w := begin(buf, nil)
	w.text("name", p.name)
	w.money("moneyamount", p.amount)
	w.orNull("externalid", p.external)
	w.orNull("reftype", p.refType)
	w.orNull("refid", p.refID)
	w.orNull("cardissuer", p.issuer)
	w.texts("additionaldata", p.additional)
	return w.end()
}
