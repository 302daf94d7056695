package fakesitoo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxSale is the largest body POST /_sell reads.
const maxSale = 1 << 20

// sale is the body of POST /_sell. Every member may be left out: an empty
// object sells two things to nobody in particular.
type sale struct {
	ContactID    string    `json:"contactid"` // the CRM's id; the till copies the customer if it knows them
	MemberNumber string    `json:"membernumber"`
	Email        string    `json:"email"`
	Phone        string    `json:"phone"`
	NameFirst    string    `json:"namefirst"`
	NameLast     string    `json:"namelast"`
	Payment      string    `json:"payment"` // "card" (default) or "cash", which is rounded
	Rows         []saleRow `json:"rows"`
	// Credit returns an earlier order, all of it or the rows named by sku, of
	// those all of it or a quantity. What was returned before does not count.
	Credit int64 `json:"creditorderid"`
	// Anonymous returns an order without its customer, as a till does that did
	// not attach one to the return.
	Anonymous bool `json:"anonymous"`
	// RepeatChecks lets the rows of a return name the bonus checks and
	// promotions of the original ones. Whether Sitoo's do is not known.
	RepeatChecks bool `json:"repeatchecks"`
	// Redeem makes the till ask the connector for every bonus check and
	// promotion of the rows before it sells, with the order's number; if one is
	// refused there is no sale. Without it the copy alone tells of their use.
	Redeem bool `json:"redeem"`
}

// saleRow is one row of a sale.
type saleRow struct {
	SKU          string `json:"sku"`
	Quantity     int64  `json:"quantity"`     // default 1, of a return all there is
	Discount     string `json:"discount"`     // of the row, VAT included, such as "100.00"
	BonusCheckID string `json:"bonuscheckid"` // the bonus check that pays the discount
	PromotionID  string `json:"promotionid"`  // the promotion that gives it
	Remaining    string `json:"remaining"`    // what is then left of the check, for Redeem; "" is nothing
}

// errSale is a sale that cannot be made; its text is for the person who asked.
type errSale struct{ text string }

func (e errSale) Error() string { return e.text }

func badSale(format string, args ...any) error { return errSale{fmt.Sprintf(format, args...)} }

// serveSell makes a finished order and sends its copy to the connector, as the
// till does after a sale. The order stands whatever the connector says.
func (s *Server) serveSell(w http.ResponseWriter, r *http.Request) {
	var body sale
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSale))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		send(w, failed(http.StatusBadRequest, "The sale is not readable: "+err.Error()), nil)
		return
	}
	order, redeemed, err := s.sell(r.Context(), body)
	if err != nil {
		status := http.StatusInternalServerError
		if _, is := errors.AsType[errSale](err); is {
			status = http.StatusBadRequest
		}
		send(w, failed(status, err.Error()), nil)
		return
	}
	send(w, succeeded(struct {
		Order     json.RawMessage `json:"order"`
		Redeemed  []delivered     `json:"redeemed,omitempty"`
		Connector *delivered      `json:"connector"`
	}{order, redeemed, s.deliver(r.Context(), order)}), nil)
}

// sell makes the order of a sale and puts it in the shop. It returns what the
// connector said to the uses of bonus checks, if it was asked.
func (s *Server) sell(ctx context.Context, body sale) (json.RawMessage, []delivered, error) {
	s.sells.Lock()
	defer s.sells.Unlock()
	o, err := s.orderOf(body)
	if err != nil {
		return nil, nil, err
	}
	var redeemed []delivered
	if body.Redeem && body.Credit == 0 {
		use := s.redeem
		if s.o.SPI == 2 {
			use = s.redeemV2
		}
		if redeemed, err = use(ctx, o.id, body); err != nil {
			return nil, nil, err
		}
	}
	if s.o.SPI == 2 {
		o.additional = renamed(o.additional, false)
		for i := range o.rows {
			o.rows[i].additional = renamed(o.rows[i].additional, false)
		}
	}
	data := o.append(nil, nil)
	if err := s.Add(data); err != nil {
		return nil, nil, err
	}
	if s.o.SPI == 2 {
		s.Tell(EventData{EshopID: o.eshopID, OrderID: o.id, WarehouseID: o.warehouse, Type: "add", State: "closed"})
	}
	return data, redeemed, nil
}

// newOrder is a finished order of the first till, without rows.
func (s *Server) newOrder(id int64) order {
	till := &registers[0]
	store, _ := storeOf(till.warehouse)
	return order{
		id: id, eshopID: 1, date: s.o.Now().Unix(), state: 10, payment: 20, kind: 10,
		register: till, warehouse: till.warehouse,
		additional: map[string]string{
			"pos-receiptid":         till.key + strconv.FormatInt(id, 10),
			"pos-staff-userid":      staff[0].id,
			"pos-staff-externalid":  staff[0].externalID,
			"pos-timezone":          "Europe/Stockholm",
			"store-externalid":      store.externalID,
			"store-externalgroupid": "SE",
			"store-name":            store.name,
		},
	}
}

// orderOf makes the order of a sale.
func (s *Server) orderOf(body sale) (order, error) {
	s.books.RLock()
	id := s.book.nextID()
	credited, has := s.book.find(body.Credit)
	s.books.RUnlock()

	o := s.newOrder(id)
	o.customer = s.buyer(body)
	body.MemberNumber = cmp.Or(body.MemberNumber, o.customer.MemberNumber)
	var err error
	switch {
	case body.Anonymous && body.Credit == 0:
		return o, badSale("anonymous: only for a return; a sale without contactid, membernumber, email and phone is anonymous.")
	case body.Anonymous && body.ContactID+body.MemberNumber+body.Email+body.Phone != "":
		return o, badSale("anonymous: contactid, membernumber, email or phone says who the customer is.")
	}
	if body.Credit != 0 {
		if !has {
			return o, badSale("creditorderid: the shop has no order %d.", body.Credit)
		}
		if err = s.giveBackSold(&o, credited, body); err != nil {
			return o, err
		}
	} else if o.rows, err = soldRows(body.Rows); err != nil {
		return o, err
	}
	for k, v := range map[string]string{"customcrm-contactid": body.ContactID, "customcrm-membernumber": body.MemberNumber} {
		if v != "" {
			o.additional[k] = v
		}
	}
	switch body.Payment {
	case "", "card":
		payByCard(&o)
	case "cash":
		payCash(&o)
	default:
		return o, badSale(`payment: "card" or "cash" is expected, not %q.`, body.Payment)
	}
	return o, nil
}

// buyer is the customer of a sale: whom the till knows by the contact id, with
// what the sale says itself.
func (s *Server) buyer(body sale) Customer {
	var c Customer
	if body.ContactID != "" {
		for _, known := range s.o.Customers {
			if known.ContactID == body.ContactID {
				c = known
			}
		}
	}
	c.Email, c.Phone = cmp.Or(body.Email, c.Email), cmp.Or(body.Phone, c.Phone)
	c.NameFirst, c.NameLast = cmp.Or(body.NameFirst, c.NameFirst), cmp.Or(body.NameLast, c.NameLast)
	return c
}

// soldRows turns the rows of a sale into order items.
func soldRows(rows []saleRow) ([]row, error) {
	if len(rows) == 0 {
		rows = []saleRow{{SKU: "SO-200-39"}, {SKU: "CF-250", Quantity: 2}}
	}
	all := make([]row, len(rows))
	for i, r := range rows {
		p, has := productBySKU(r.SKU)
		if !has {
			known := make([]string, len(products))
			for j, p := range products {
				known[j] = p.sku
			}
			return nil, badSale("rows[%d].sku: the shop does not sell %q, only %s.", i, r.SKU, strings.Join(known, ", "))
		}
		if r.Quantity == 0 {
			r.Quantity = 1
		}
		if r.Quantity < 0 || r.Quantity > 1000 {
			return nil, badSale("rows[%d].quantity: 1 to 1000 is expected, not %d; a return is sold with creditorderid.", i, r.Quantity)
		}
		out := row{product: p, quantity: r.Quantity}
		if p.unit != "" {
			out.perUnit = 250
		}
		if r.Discount != "" {
			gross, err := parseOre(r.Discount)
			if err != nil || gross < 0 {
				return nil, badSale(`rows[%d].discount: an amount such as "100.00" is expected, not %q.`, i, r.Discount)
			}
			// Per unit and net, of weighed goods per kilogram.
			num, den := int64(100), (100+p.vat)*r.Quantity
			if out.perUnit != 0 {
				num, den = num*1000, den*int64(out.perUnit)
			}
			out.discount = min(ratio(gross, num, den), p.net)
			out.voucherName = "Discount"
		}
		out.additional = map[string]string{}
		if r.PromotionID != "" {
			out.voucherName = "Promotion"
			out.additional[promotionKey] = r.PromotionID
		}
		if r.BonusCheckID != "" {
			out.voucherName = "Bonus check"
			out.additional[bonusCheckKey] = r.BonusCheckID
		}
		all[i] = out
	}
	return all, nil
}

// What a row says of the bonus check or promotion behind its discount.
const (
	bonusCheckKey = "customcrm-bonuscheckid"
	promotionKey  = "customcrm-promotionid"
)

// giveBackSold turns o into a return of an earlier order: of all its rows, or
// of those with a wanted sku. A row comes back at the price that was paid for
// it, discount included. Only orders that the shop made or sold have rows it
// can give back exactly; of one that was added the rows are read.
func (s *Server) giveBackSold(o *order, credited entry, body sale) error {
	from, err := s.soldOrder(credited)
	if err != nil {
		return err
	}
	keep := o.customer
	creditOf(o, from)
	if keep != (Customer{}) {
		o.customer = keep
	}
	if body.Anonymous {
		o.customer = Customer{}
		delete(o.additional, "customcrm-contactid")
		delete(o.additional, "customcrm-membernumber")
	}
	quantities := make([]int64, len(from.rows)) // to give back, by row
	if len(body.Rows) == 0 {
		for i, r := range from.rows {
			quantities[i] = r.quantity
		}
	}
	for i, w := range body.Rows {
		if w.Quantity < 0 {
			return badSale("rows[%d].quantity: how many to give back is expected, not %d.", i, w.Quantity)
		}
		if w.Discount+w.BonusCheckID+w.PromotionID != "" {
			return badSale("rows[%d]: a return keeps the original's discount; only sku and quantity are expected.", i)
		}
		left := w.Quantity
		for j, r := range from.rows {
			if r.product.sku != w.SKU || r.quantity <= 0 {
				continue
			}
			take := r.quantity - quantities[j]
			if w.Quantity > 0 {
				take = min(take, left)
				left -= take
			}
			quantities[j] += take
		}
		if left > 0 {
			return badSale("rows[%d].quantity: order %d has %d of %s to give back, not %d.", i, credited.id, w.Quantity-left, w.SKU, w.Quantity)
		}
	}
	for i, r := range from.rows {
		if quantities[i] <= 0 {
			continue
		}
		r.quantity = quantities[i]
		r = returned(r, i)
		if !body.RepeatChecks {
			delete(r.additional, bonusCheckKey) // of the copy that returned made
			delete(r.additional, promotionKey)
		}
		o.rows = append(o.rows, r)
	}
	if len(o.rows) == 0 {
		return badSale("creditorderid: order %d has no such row to give back.", credited.id)
	}
	return nil
}

// soldOrder returns an order as far as a return needs it.
func (s *Server) soldOrder(e entry) (order, error) {
	if e.added == nil {
		s.books.RLock()
		defer s.books.RUnlock()
		return s.book.order(e), nil
	}
	data, err := json.Marshal(e.added)
	if err != nil {
		return order{}, fmt.Errorf("fakesitoo: encode order %d: %w", e.id, err)
	}
	var in struct {
		Email      string            `json:"email"`
		Phone      string            `json:"phone"`
		NameFirst  string            `json:"namefirst"`
		NameLast   string            `json:"namelast"`
		Additional map[string]string `json:"additionaldata"`
		Rows       []struct {
			SKU         string            `json:"sku"`
			Quantity    int64             `json:"quantity"`
			Original    string            `json:"moneyoriginalprice"`
			Discount    string            `json:"moneydiscount"`
			VoucherName string            `json:"vouchername"`
			Additional  map[string]string `json:"additionaldata"`
		} `json:"orderitems"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return order{}, badSale("creditorderid: order %d cannot be given back: %v.", e.id, err)
	}
	o := order{
		id:         e.id,
		customer:   Customer{Email: in.Email, Phone: in.Phone, NameFirst: in.NameFirst, NameLast: in.NameLast},
		additional: renamed(in.Additional, true),
	}
	for i, r := range in.Rows {
		p, has := productBySKU(r.SKU)
		price, err1 := parseOre(r.Original)
		discount, err2 := parseOre(r.Discount)
		if !has || err1 != nil || err2 != nil {
			return order{}, badSale("creditorderid: row %d of order %d is no product of this shop.", i, e.id)
		}
		p.net = price
		out := row{product: p, quantity: r.Quantity, discount: discount, voucherName: r.VoucherName, additional: renamed(r.Additional, true)}
		if p.unit != "" {
			out.perUnit = 250
		}
		o.rows = append(o.rows, out)
	}
	return o, nil
}
