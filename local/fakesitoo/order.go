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

// object returns the order with every documented field, in the documented
// order of contract section 10.
func (o *order) object() object {
	c := o.customer
	deliver := func(s string) string {
		if o.ship {
			return s
		}
		return ""
	}
	country := func(has bool) string {
		if has {
			return "SE"
		}
		return ""
	}
	var registerID, staffID any
	if o.register != nil {
		registerID, staffID = o.register.id, staff[o.staff].id
	}
	items := make([]object, len(o.rows))
	for i, r := range o.rows {
		items[i] = r.object(i)
	}
	payments := make([]object, len(o.payments))
	for i, p := range o.payments {
		payments[i] = p.object()
	}
	additional := o.additional
	if additional == nil {
		additional = map[string]string{}
	}
	log := []object{{
		{"datelog", o.date},
		{"orderid", o.id},
		{"orderlogtypeid", 999},
		{"strvalue", "Order created"},
		{"fvalue", 0},
	}}
	return object{
		{"orderid", o.id},
		{"eshopid", o.eshopID},
		{"externalid", orNull(o.externalID)},
		{"creditorderid", idOrNull(o.credits)},
		{"checkouttypeid", 0},
		{"deliverytypeid", 0},
		{"email", c.Email},
		{"namefirst", c.NameFirst},
		{"namelast", c.NameLast},
		{"personalid", ""},
		{"company", ""},
		{"phone", c.Phone},
		{"invoice_address", c.Address},
		{"invoice_address2", ""},
		{"invoice_zip", c.Zip},
		{"invoice_city", c.City},
		{"invoice_state", ""},
		{"invoice_countryid", country(c.Address != "")},
		{"delivery_address", deliver(c.Address)},
		{"delivery_address2", ""},
		{"delivery_zip", deliver(c.Zip)},
		{"delivery_city", deliver(c.City)},
		{"delivery_state", ""},
		{"delivery_countryid", country(o.ship)},
		{"comment", ""},
		{"commentinternal", ""},
		{"customerref", ""},
		{"checkoutref", ""},
		{"moneytotal_net", o.rowsNet()},
		{"moneytotal_vat", o.rowsVAT()},
		{"moneycheckout_net", ore(0)},
		{"moneycheckout_vat", ore(0)},
		{"moneytotal_gross_checkout", ore(0)},
		{"moneydelivery_net", o.freightNet},
		{"moneydelivery_vat", o.freightVAT()},
		{"moneytotal_gross_delivery", o.freightNet + o.freightVAT()},
		{"moneyfinal_net", o.rowsNet() + o.freightNet},
		{"moneyfinal_vat", o.rowsVAT() + o.freightVAT()},
		{"moneyfinal_salestax", ore(0)},
		{"moneytotal_gross_roundoff", o.roundoff},
		{"moneytotal_gross_all", o.gross() + o.roundoff},
		{"checkouttypename", o.checkout},
		{"checkoutmethodid", 0},
		{"checkoutmethodsubid", 0},
		{"deliverytypename", o.delivery},
		{"orderdate", o.date},
		{"orderstateid", o.state},
		{"paymentstateid", o.payment},
		{"ordertypeid", o.kind},
		{"userid_staff", staffID},
		{"registerid", registerID},
		{"warehouseid", idOrNull(o.warehouse)},
		{"datereserved", nil},
		{"currencycode", "SEK"},
		{"additionaldata", additional},
		{"orderitems", items},
		{"payments", payments},
		{"reservedpayments", []object{}},
		{"orderlogitems", log},
	}
}

func (r row) object(position int) object {
	additional := map[string]string{"product-group-name": r.product.group}
	for k, v := range r.additional {
		additional[k] = v
	}
	var perUnit any
	total := milli(r.quantity * 1000)
	if r.perUnit != 0 {
		perUnit, total = r.perUnit, r.perUnit*milli(r.quantity)
	}
	var discounted ore // "0.00" when there is no discount
	if r.discount != 0 {
		discounted = r.unitNet()
	}
	return object{
		{"orderitemid", position},
		{"orderitemtype", 10},
		{"productid", r.product.id},
		{"productname", r.product.name},
		{"sku", r.product.sku},
		{"productattributes", r.product.attributes},
		{"externalinput", ""},
		{"externalinputtitle", ""},
		{"unitlabel", r.product.unit},
		{"quantity", r.quantity},
		{"decimalunitquantity", perUnit},
		{"moneynetpriceperunit", r.unitNet()},
		{"moneypriceorg", ore(0)},
		{"vatvalue", r.product.vat},
		{"deliveryinfo", ""},
		{"moneyitemtotal_net", r.net()},
		{"moneyitemtotal_vat", r.vat()},
		{"voucherid", r.voucherID},
		{"vouchercode", r.voucherCode},
		{"vouchername", r.voucherName},
		{"moneyoriginalprice", r.product.net},
		{"moneydiscountedprice", discounted},
		{"moneydiscount", r.discount},
		{"salestaxes", []object{}},
		{"additionaldata", additional},
		{"decimalquantitytotal", total},
		{"moneynetpriceperquantity", r.quantityNet()},
	}
}

func (p payment) object() object {
	additional := p.additional
	if additional == nil {
		additional = map[string]string{}
	}
	return object{
		{"name", p.name},
		{"moneyamount", p.amount},
		{"externalid", orNull(p.external)},
		{"reftype", orNull(p.refType)},
		{"refid", orNull(p.refID)},
		{"cardissuer", orNull(p.issuer)},
		{"additionaldata", additional},
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func idOrNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}
