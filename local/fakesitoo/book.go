package fakesitoo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// entry is what the list filters need of an order. The order itself is made
// again from its position (made) or kept as it was added.
type entry struct {
	id, eshopID, credits, warehouse int64
	date, state, payment, kind      int64
	email, receiptID, externalID    string

	made  int    // position in the generator, when added is nil
	added object // the order as it was added
}

// book holds the account's orders by ascending id.
type book struct {
	generator *generator
	entries   []entry
}

func newBook(g *generator) *book {
	b := &book{generator: g, entries: make([]entry, g.n)}
	for i := range b.entries {
		b.entries[i] = b.make(i)
	}
	return b
}

// make returns the entry of a made-up order.
func (b *book) make(i int) entry {
	o := b.generator.unpaid(i)
	if b.generator.kind(i) == unfinished {
		leaveUnfinished(&o, i)
	}
	return entry{
		id: o.id, eshopID: o.eshopID, credits: o.credits, warehouse: o.warehouse,
		date: o.date, state: o.state, payment: o.payment, kind: o.kind,
		email: o.customer.Email, receiptID: o.additional["pos-receiptid"], externalID: o.externalID,
		made: i,
	}
}

// grow adds n made-up orders, above all that there are, and returns their ids.
func (b *book) grow(n int) []int64 {
	from := b.generator.n
	b.generator.grow(n, b.nextID()-1)
	ids := make([]int64, n)
	for i := range ids {
		e := b.make(from + i)
		b.entries = append(b.entries, e)
		ids[i] = e.id
	}
	return ids
}

// order returns a made-up order as it is now.
func (b *book) order(e entry) order {
	o := b.generator.order(e.made)
	if o.state != e.state || o.payment != e.payment {
		o.state, o.payment = e.state, e.payment
		if e.state == stateClosed {
			settle(&o, b.generator.source(e.made, forPayment))
		}
	}
	return o
}

// append writes the order of an entry, the members that keep wants.
func (b *book) append(buf []byte, e entry, keep map[string]bool) ([]byte, error) {
	if e.added != nil {
		return e.added.append(buf, keep)
	}
	o := b.order(e)
	return o.append(buf, keep), nil
}

// end gives an open order another state.
func (b *book) end(id, state, payment int64) error {
	i, has := slices.BinarySearchFunc(b.entries, id, byID)
	if !has {
		return fmt.Errorf("fakesitoo: there is no order %d", id)
	}
	e := &b.entries[i]
	if !e.open() {
		return fmt.Errorf("fakesitoo: order %d is not open", id)
	}
	e.state, e.payment = state, payment
	if e.added != nil {
		e.added = slices.Clone(e.added).set("orderstateid", state).set("paymentstateid", payment)
	}
	return nil
}

// The states of orders and payments that the stand-in gives.
const (
	stateOpen, stateClosed, stateCancelled       = 0, 10, 20
	paymentSuccessful, paymentCancelled    int64 = 20, 30
)

// open reports whether an order is a sale that is still to be finished.
func (e *entry) open() bool { return e.kind == 10 && e.state == stateOpen }

func (b *book) find(id int64) (entry, bool) {
	i, has := slices.BinarySearchFunc(b.entries, id, byID)
	if !has {
		return entry{}, false
	}
	return b.entries[i], true
}

// add puts an order in its place, instead of the one with its id if there is one.
func (b *book) add(e entry) {
	i, has := slices.BinarySearchFunc(b.entries, e.id, byID)
	if has {
		b.entries[i] = e
		return
	}
	b.entries = slices.Insert(b.entries, i, e)
}

func (b *book) nextID() int64 {
	if len(b.entries) == 0 {
		return firstID
	}
	return b.entries[len(b.entries)-1].id + 1
}

func byID(e entry, id int64) int { return cmp.Compare(e.id, id) }

// entryOf reads what the filters need of an order in JSON.
func entryOf(o object) (entry, error) {
	var e entry
	var faults []error
	number := func(v any) (n int64) {
		raw, _ := v.(json.RawMessage)
		var p *int64
		if err := json.Unmarshal(raw, &p); err != nil {
			faults = append(faults, err)
		}
		if p != nil {
			n = *p
		}
		return n
	}
	text := func(v any) (s string) {
		raw, _ := v.(json.RawMessage)
		var p *string
		if err := json.Unmarshal(raw, &p); err != nil {
			faults = append(faults, err)
		}
		if p != nil {
			s = *p
		}
		return s
	}
	for _, m := range o {
		before := len(faults)
		switch m.name {
		case "orderid":
			e.id = number(m.value)
		case "eshopid":
			e.eshopID = number(m.value)
		case "creditorderid":
			e.credits = number(m.value)
		case "warehouseid":
			e.warehouse = number(m.value)
		case "orderdate":
			e.date = number(m.value)
		case "orderstateid":
			e.state = number(m.value)
		case "paymentstateid":
			e.payment = number(m.value)
		case "ordertypeid":
			e.kind = number(m.value)
		case "email":
			e.email = text(m.value)
		case "externalid":
			e.externalID = text(m.value)
		case "additionaldata":
			raw, _ := m.value.(json.RawMessage)
			var a map[string]any
			if err := json.Unmarshal(raw, &a); err != nil {
				faults = append(faults, err)
			}
			e.receiptID, _ = a["pos-receiptid"].(string)
		}
		if len(faults) > before {
			faults[before] = fmt.Errorf("%s: %w", m.name, faults[before])
		}
	}
	if len(faults) == 0 && e.id <= 0 {
		faults = append(faults, errors.New("orderid: a positive number is needed"))
	}
	return e, errors.Join(faults...)
}

// query is what a list call asks for.
type query struct {
	eshopIDs, orderIDs, states, payments, kinds, warehouses []int64
	externalIDs                                             []string
	receiptID, email                                        string
	credits                                                 *int64
	idFrom, idTo, dateFrom, dateTo                          *int64
	page                                                    page
	ascending                                               bool
}

// page is the part of a query that every collection has.
type page struct {
	start, num int
	fields     map[string]bool // nil for the default set
}

// params reads query parameters, keeping the first fault in Sitoo's words. Of a
// parameter that comes twice the last value counts; an empty one is as good as none.
type params struct {
	values map[string][]string
	wrong  string // "" while all is well
	repeat bool   // the answer is to have the fault Repeat
}

func (p *params) text(name string) string {
	v := p.values[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

func (p *params) fault(name, value string) {
	if p.wrong == "" {
		p.wrong = fmt.Sprintf("Invalid value '%s' for parameter '%s'.", value, name)
	}
}

func (p *params) number(name string) *int64 {
	s := p.text(name)
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		p.fault(name, s)
		return nil
	}
	return &n
}

func (p *params) numbers(name string) []int64 {
	var all []int64
	for _, s := range p.texts(name) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			p.fault(name, s)
			return nil
		}
		all = append(all, n)
	}
	return all
}

func (p *params) texts(name string) []string {
	s := p.text(name)
	if s == "" {
		return nil
	}
	all := strings.Split(s, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// page reads start, num and fields. A num over most is cut to it.
func (p *params) page(most int) page {
	pg := page{num: defaultNum}
	if n := p.number("start"); n != nil {
		pg.start = int(min(*n, 1<<31))
		if *n < 0 {
			p.fault("start", p.text("start"))
		}
	}
	if n := p.number("num"); n != nil {
		pg.num = int(min(*n, 1<<31))
		if *n < 0 {
			p.fault("num", p.text("num"))
		}
	}
	pg.num = min(pg.num, most)
	if names := p.texts("fields"); names != nil {
		pg.fields = make(map[string]bool, len(names))
		for _, name := range names {
			pg.fields[name] = true
		}
	}
	return pg
}

func (p *params) query(most int) query {
	q := query{
		eshopIDs:    p.numbers("eshopid"),
		orderIDs:    p.numbers("orderid"),
		states:      p.numbers("orderstate"),
		payments:    p.numbers("paymentstate"),
		kinds:       p.numbers("ordertype"),
		warehouses:  p.numbers("warehouseid"),
		externalIDs: p.texts("externalid"),
		receiptID:   p.text("receiptid"),
		email:       p.text("email"),
		credits:     p.number("creditorderid"),
		idFrom:      p.number("orderidfrom"),
		idTo:        p.number("orderidto"),
		dateFrom:    p.number("orderdatefrom"),
		dateTo:      p.number("orderdateto"),
		page:        p.page(most),
	}
	switch sort := p.text("sort"); sort {
	case "", "-orderid":
	case "orderid":
		q.ascending = true
	default:
		p.fault("sort", sort)
	}
	if q.receiptID != "" || q.credits != nil {
		q.orderIDs = nil // both override orderid
	}
	return q
}

func (q *query) wants(e *entry) bool {
	return in(q.eshopIDs, e.eshopID) && in(q.orderIDs, e.id) && in(q.states, e.state) &&
		in(q.payments, e.payment) && in(q.kinds, e.kind) && in(q.warehouses, e.warehouse) &&
		in(q.externalIDs, e.externalID) &&
		(q.receiptID == "" || q.receiptID == e.receiptID) &&
		(q.email == "" || strings.EqualFold(q.email, e.email)) &&
		(q.credits == nil || *q.credits == e.credits) &&
		(q.dateFrom == nil || e.date >= *q.dateFrom) &&
		(q.dateTo == nil || e.date < *q.dateTo)
}

func in[T comparable](list []T, v T) bool { return list == nil || slices.Contains(list, v) }

// list returns how many orders match, and those of the page.
func (b *book) list(q query) (total int, found []entry) {
	window := b.entries
	if q.idTo != nil {
		end, _ := slices.BinarySearchFunc(window, *q.idTo, byID)
		window = window[:end]
	}
	if q.idFrom != nil {
		begin, _ := slices.BinarySearchFunc(window, *q.idFrom, byID)
		window = window[begin:]
	}
	for i := range window {
		e := &window[i]
		if !q.ascending {
			e = &window[len(window)-1-i]
		}
		if !q.wants(e) {
			continue
		}
		if total >= q.page.start && len(found) < q.page.num {
			found = append(found, *e)
		}
		total++
	}
	return total, found
}
