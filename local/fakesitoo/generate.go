package fakesitoo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Orders come in blocks of twenty with the same mix of kinds, so that every
// kind is met in any stretch of forty orders. The first two of a block are the
// halves of an exchange; the others are shuffled.
const (
	block   = 20
	firstID = 200001
	perDay  = 48
)

// The kinds of orders in a block.
type kind uint8

const (
	exchangeReturn   kind = iota // the half that gives money back
	exchangePurchase             // the half that takes it
	memberPurchase               // customcrm-contactid, with a discount at times
	bonusPurchase                // one row paid down with a bonus check
	otherCRM                     // crm- or voyado- ids from another CRM link
	emailPurchase
	phonePurchase
	anonymous
	receiptReturn // returns rows of a known order
	blindReturn   // a return without receipt: linked to nothing
	webOrder
	unfinished // open, cancelled, abandoned, booking or parked
	offlineSale
)

// mix is a block's content after the exchange.
var mix = [block - 2]kind{
	memberPurchase, memberPurchase, memberPurchase, memberPurchase, memberPurchase, memberPurchase,
	bonusPurchase, otherCRM, emailPurchase, phonePurchase,
	anonymous, anonymous, anonymous,
	receiptReturn, blindReturn, webOrder, unfinished, offlineSale,
}

// opened is the day of the first order; with 48 orders a day 50,000 orders end
// in November 2025. All in the past, so that nothing depends on today.
var opened = time.Date(2023, time.January, 2, 0, 0, 0, 0, time.UTC)

// Generate yields the first n orders of a made-up shop, oldest first, each as
// the JSON of a single-order call. The same seed gives the same orders, and
// fewer orders are a prefix of more (the last order of n aside, which is never
// half an exchange). Ids ascend with gaps. Nothing is kept: an order is made
// when it is asked for.
//
// The shop sells to customers known by customcrm-contactid, by another CRM's
// id, by email, by phone or not at all; it takes returns with and without
// receipt, in part and whole, exchanges, bonus checks, vouchers, gift cards and
// cash with rounding; it has open, cancelled, abandoned, booked and parked
// orders, web orders without a register and orders of a till that was offline.
func Generate(seed uint64, n int) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		g := newGenerator(seed, n, DefaultCustomers())
		for i := range n {
			o := g.order(i)
			if !yield(o.append(make([]byte, 0, 6<<10), nil)) {
				return
			}
		}
	}
}

// generator makes any order of the shop from its position alone.
type generator struct {
	seed      uint64
	n         int
	customers []Customer
	emailed   []int // positions of the customers with an email address
	phoned    []int // and of those with a phone

	slots []kind // of whole blocks, at least n of them
	// alone are the positions at which the shop once ended with a half of an
	// exchange: it stays the anonymous sale that it was.
	alone map[int]bool
	// shifts make room in the ids for orders that were sold meanwhile.
	shifts []shift
}

// shift is what is added to the ids from a position on.
type shift struct {
	at int
	by int64
}

func newGenerator(seed uint64, n int, customers []Customer) *generator {
	g := &generator{seed: seed, customers: customers, alone: map[int]bool{}}
	for i, c := range customers {
		if c.Email != "" {
			g.emailed = append(g.emailed, i)
		}
		if c.Phone != "" {
			g.phoned = append(g.phoned, i)
		}
	}
	g.grow(n, 0)
	return g
}

// grow lets the shop have n more orders, all with ids over above.
func (g *generator) grow(n int, above int64) {
	if d := above + 1 - g.id(g.n); d > 0 {
		g.shifts = append(g.shifts, shift{g.n, g.shifted(g.n) + d})
	}
	if last := g.n - 1; last >= block && g.slots[last] == exchangeReturn {
		g.alone[last], g.alone[last+1] = true, true
	}
	g.n += n
	for b := len(g.slots) / block; len(g.slots) < g.n; b++ {
		at := len(g.slots)
		g.slots = append(append(g.slots, exchangeReturn, exchangePurchase), mix[:]...)
		shuffled := g.slots[at+2:]
		g.source(b, forMix).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	}
}

// source returns the random numbers of one purpose at one position.
func (g *generator) source(i int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(g.seed, uint64(i)<<8|purpose))
}

// Purposes of random numbers.
const (
	forID = iota
	forMix
	forOrder
	forPayment
	forCustomer
)

// id returns the order id at a position: ascending, with a gap at times.
func (g *generator) id(i int) int64 {
	return firstID + int64(i)*2 + g.source(i, forID).Int64N(2) + g.shifted(i)
}

func (g *generator) shifted(i int) int64 {
	at, has := slices.BinarySearchFunc(g.shifts, i, func(s shift, i int) int { return cmp.Compare(s.at, i) })
	switch {
	case has:
		return g.shifts[at].by
	case at > 0:
		return g.shifts[at-1].by
	}
	return 0
}

func (g *generator) kind(i int) kind {
	k := g.slots[i]
	switch k {
	case exchangeReturn, exchangePurchase:
		// Nothing to give back in the first block; and never one half alone.
		if i < block || (k == exchangeReturn && i+1 >= g.n) || g.alone[i] {
			return anonymous
		}
	case receiptReturn:
		if i < block {
			return anonymous
		}
	}
	return k
}

// find returns the position of the nth order of a kind in block b.
func (g *generator) find(b int, k kind, nth int) int {
	for at, got := range g.slots[b*block : (b+1)*block] {
		if got == k {
			if nth == 0 {
				return b*block + at
			}
			nth--
		}
	}
	return b * block // no block is without the kinds that are looked for
}

// order returns the order at a position.
func (g *generator) order(i int) order {
	o := g.unpaid(i)
	switch g.kind(i) {
	case exchangeReturn:
		settleExchange(&o, g.unpaidGross(i+1))
	case exchangePurchase:
		settleExchange(&o, g.unpaidGross(i-1))
	case webOrder:
		o.payments = []payment{{name: "Klarna", amount: o.gross(), external: "k-" + strconv.FormatInt(o.id, 10), refType: "klarna", refID: fmt.Sprintf("KLA%012d", o.id)}}
	case unfinished:
		leaveUnfinished(&o, i)
	default:
		settle(&o, g.source(i, forPayment))
	}
	return o
}

func (g *generator) unpaidGross(i int) ore {
	o := g.unpaid(i)
	return o.gross()
}

// unpaid returns the order at a position without its payments. It depends on
// earlier orders only, and only on their rows.
func (g *generator) unpaid(i int) order {
	r := g.source(i, forOrder)
	k := g.kind(i)
	till := registers[r.IntN(tills)]
	o := order{
		id:         g.id(i),
		eshopID:    1,
		date:       dateOf(i),
		state:      10,
		payment:    20,
		kind:       10,
		register:   &till,
		staff:      r.IntN(len(staff)),
		warehouse:  till.warehouse,
		additional: map[string]string{},
	}
	customer := g.customer(i, k, r)

	switch k {
	case receiptReturn, exchangeReturn:
		from := g.find(i/block-1, memberPurchase, 0)
		if k == exchangeReturn {
			from = g.find(i/block-1, memberPurchase, 1)
		} else if i/block%3 == 0 {
			from = g.find(i/block-1, bonusPurchase, 0)
		}
		giveBack(&o, g.unpaid(from), k == receiptReturn && r.IntN(2) == 0)
		if k == exchangeReturn {
			o.additional["pos-refundsales-orderid"] = strconv.FormatInt(g.id(i+1), 10)
		}
	case exchangePurchase:
		from := g.unpaid(i - 1)
		o.customer = from.customer
		copyContact(&o, from)
		o.additional["pos-refund-orderid"] = strconv.FormatInt(from.id, 10)
		o.additional["pos-refund-receiptid"] = from.additional["pos-receiptid"]
		// Both halves are made at the same till, in the same visit.
		o.register, o.staff, o.warehouse, o.date = from.register, from.staff, from.warehouse, from.date
		o.rows = basket(r)
	case memberPurchase, bonusPurchase, offlineSale:
		o.customer = customer
		if customer.ContactID != "" {
			o.additional["customcrm-contactid"] = customer.ContactID
			o.additional["customcrm-membernumber"] = customer.MemberNumber
		}
		if r.IntN(3) == 0 { // the till does not always copy the person
			o.customer = Customer{ContactID: customer.ContactID}
		}
		o.rows = basket(r)
		if k == bonusPurchase {
			o.rows[0] = payWithBonusCheck(o.rows[0], fmt.Sprintf("bc-%06d", i))
		}
		if k == offlineSale {
			o.date -= int64(3+r.IntN(18)) * 24 * 60 * 60
		}
	case otherCRM:
		prefix, id := "crm-customerid", "crm-membernumber"
		if r.IntN(2) == 0 {
			prefix, id = "voyado-contactid", "voyado-membernumber"
		}
		o.additional[prefix] = fmt.Sprintf("c0ffee00-0000-4000-8000-%012d", r.IntN(50)+1)
		o.additional[id] = strconv.Itoa(710001 + r.IntN(50))
		o.rows = basket(r)
	case emailPurchase:
		o.customer = Customer{Email: customer.Email}
		o.rows = basket(r)
	case phonePurchase:
		o.customer = Customer{Phone: customer.Phone, NameFirst: customer.NameFirst}
		o.rows = basket(r)
	case webOrder:
		o.eshopID = 1 + int64(i/block%2)
		o.externalID = fmt.Sprintf("web-%d", 5000+i)
		o.customer = customer
		o.ship = true
		o.register = nil
		o.warehouse = webWarehouse
		o.checkout, o.delivery = "Klarna", "Home delivery"
		o.freightNet = 3920
		o.additional["weborder"] = strconv.Itoa(5000 + i)
		o.rows = basket(r)
	case blindReturn:
		o.rows = basket(r)[:1]
		o.rows[0].quantity = -1
		o.rows[0].additional = map[string]string{"reasoncode-return": "102"}
		o.additional["refundreasoncode-reasoncode"] = "102"
	default: // anonymous, unfinished
		if k == unfinished && r.IntN(2) == 0 {
			o.customer = customer
		}
		o.rows = basket(r)
	}
	if o.register != nil {
		s, _ := storeOf(o.warehouse)
		a := o.additional
		a["pos-receiptid"] = o.register.key + strconv.Itoa(10000+i)
		a["pos-staff-userid"] = staff[o.staff].id
		a["pos-staff-externalid"] = staff[o.staff].externalID
		a["pos-timezone"] = "Europe/Stockholm"
		a["store-externalid"] = s.externalID
		a["store-externalgroupid"] = "SE"
		a["store-name"] = s.name
	}
	return o
}

// few is up to how many customers all buy as often as each other.
const few = 100

// customer returns who makes the order at a position. In a shop with more than
// a few customers some buy much more often than others: of 3,000 customers and
// 50,000 orders, the best one has some hundreds.
func (g *generator) customer(i int, k kind, r *rand.Rand) Customer {
	pick := func(n int, r *rand.Rand) int {
		if n <= few {
			return r.IntN(n)
		}
		x := r.Float64()
		return int(x * x * float64(n))
	}
	c := g.customers[pick(len(g.customers), r)]
	for _, by := range []struct {
		needed bool
		some   []int
	}{{k == emailPurchase && c.Email == "", g.emailed}, {k == phonePurchase && c.Phone == "", g.phoned}} {
		if by.needed && len(by.some) > 0 {
			c = g.customers[by.some[pick(len(by.some), g.source(i, forCustomer))]]
		}
	}
	return c
}

// dateOf spreads a day's orders over the opening hours, 08:00 to 17:36 UTC.
func dateOf(i int) int64 {
	return opened.AddDate(0, 0, i/perDay).Add(8*time.Hour + time.Duration(i%perDay)*12*time.Minute).Unix()
}

// basket returns one to four rows, some with a campaign or weighed.
func basket(r *rand.Rand) []row {
	picks := r.Perm(len(products))[:1+r.IntN(4)]
	rows := make([]row, len(picks))
	for i, pick := range picks {
		p := products[pick]
		rows[i] = row{product: p, quantity: 1}
		if p.unit != "" {
			rows[i].perUnit = milli(100 + 25*r.IntN(20))
		} else if p.net < 10000 {
			rows[i].quantity = 1 + r.Int64N(3)
		}
		if p.group == "Books" && r.IntN(3) == 0 {
			rows[i].discount = ratio(p.net, 10, 100)
			rows[i].voucherID, rows[i].voucherCode, rows[i].voucherName = 31, "BOOK10", "10% off books"
		}
	}
	return rows
}

// payWithBonusCheck takes up to 100 kronor, VAT included, off a row.
func payWithBonusCheck(r row, id string) row {
	r.quantity = 1
	r.perUnit = 0
	r.product.unit = ""
	r.discount = min(ratio(10000, 100, 100+r.product.vat), r.product.net)
	r.voucherID, r.voucherCode, r.voucherName = 0, "", "Bonus check 100 kr"
	r.additional = map[string]string{"customcrm-bonuscheckid": id}
	return r
}

// giveBack turns o into a return of from: of its first row, or of all.
func giveBack(o *order, from order, whole bool) {
	creditOf(o, from)
	rows := from.rows
	if !whole {
		rows = rows[:1]
	}
	for i, r := range rows {
		o.rows = append(o.rows, returned(r, i))
	}
}

// creditOf links o to the order it credits.
func creditOf(o *order, from order) {
	o.credits = from.id
	o.customer = from.customer
	copyContact(o, from)
	o.additional["pos-originalsales-orderid"] = strconv.FormatInt(from.id, 10)
	o.additional["refundreasoncode-reasoncode"] = "101"
	o.additional["refundreasoncode-comment"] = "Wrong size"
}

// copyContact gives o the CRM ids of from.
func copyContact(o *order, from order) {
	for _, k := range []string{"customcrm-contactid", "customcrm-membernumber"} {
		if v, has := from.additional[k]; has {
			o.additional[k] = v
		}
	}
}

// returned is the row at a position of a purchase, given back whole.
func returned(r row, position int) row {
	r.quantity = -r.quantity
	additional := maps.Clone(r.additional)
	if additional == nil {
		additional = map[string]string{}
	}
	additional["pos-originalsales-orderitemid"] = strconv.Itoa(position)
	additional["reasoncode-return"] = "101"
	additional["return-warehouseid"] = strconv.Itoa(webWarehouse)
	r.additional = additional
	return r
}

// settle pays an order at the till: by card, in cash, or partly by gift card.
func settle(o *order, r *rand.Rand) {
	switch how := r.IntN(10); {
	case how < 3:
		payCash(o)
	case how < 4 && o.gross() > 30000:
		const onCard = 20000
		o.checkout = "Sitoo POS - Card"
		o.payments = []payment{
			{name: "Gift Card", amount: onCard, additional: map[string]string{"giftcard-cardnumber": fmt.Sprintf("GC%010d", o.id), "giftcard-cardnumber-display": fmt.Sprintf("******%04d", o.id%10000)}},
			card(o.id, o.gross()-onCard),
		}
	default:
		payByCard(o)
	}
	if o.credits != 0 {
		o.payments[0].additional = map[string]string{"pos-originalsales-payment-index": "0"}
	}
}

func payByCard(o *order) {
	o.checkout = "Sitoo POS - Card"
	o.payments = []payment{card(o.id, o.gross())}
}

func payCash(o *order) {
	o.checkout = "Sitoo POS - Cash"
	o.roundoff = wholeKronor(o.gross())
	o.payments = []payment{{name: "Cash", amount: o.gross() + o.roundoff}}
}

func card(id int64, amount ore) payment {
	return payment{
		name: "Card", amount: amount, external: fmt.Sprintf("%06d", id%1000000),
		refType: "verifonelpp", refID: fmt.Sprintf("%012d", id), issuer: "Visa",
		additional: map[string]string{"verifone-card-masked-pan": "************0000"},
	}
}

// settleExchange pays one half of an exchange: what both halves share moves no
// money, the rest goes by card.
func settleExchange(o *order, other ore) {
	mine := o.gross()
	shared := min(max(mine, -mine), max(other, -other))
	if mine < 0 {
		shared = -shared
	}
	o.checkout = "Sitoo POS - Card"
	o.payments = []payment{{name: "Other", amount: shared, additional: map[string]string{"virtual-payment": "true"}}}
	if rest := mine - shared; rest != 0 {
		o.payments = append(o.payments, card(o.id, rest))
	}
}

// leaveUnfinished gives an order one of the states that are no finished sale.
func leaveUnfinished(o *order, i int) {
	switch i / block % 5 {
	case 0:
		o.state, o.payment = 0, 10 // open
	case 1:
		o.state, o.payment = 20, 30 // cancelled
	case 2:
		o.state, o.payment, o.kind = 0, 0, 100 // booking
	case 3:
		o.state, o.payment, o.kind = 0, 0, 110 // parked
	case 4:
		o.state, o.payment = -1, 40 // abandoned
	}
	o.payments = nil
}
