package bonus

import (
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sentence"
)

// Book is what is kept of a customer's bonus checks and promotions: every use
// of them, and how far Rule's copy has followed. What is left of a check is
// what it opened with less its uses, whatever Rule's copy says.
type Book struct {
	Rev     int64   `json:"-"`       // of the stored book, 0 for none
	Version int64   `json:"version"` // counts changes of what Rule is to show
	Synced  int64   `json:"synced"`  // the version that Rule shows
	Entries []Entry `json:"entries,omitempty"`
	// Early are returns that came before the order that they credit.
	Early []GivesBack `json:"early,omitempty"`
	// Holder may write Rule's copy until Until; nobody else may.
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// Kind tells bonus checks from promotions.
type Kind string

// The kinds of what a customer can use.
const (
	Check     Kind = "bonuscheck"
	Promotion Kind = "promotion"
)

// Entry is one bonus check or promotion that has been used.
type Entry struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
	// Opening is what could be used of it before the first use, nil while that
	// is not known: an order may prove the use of a check that Rule does not list.
	Opening *decimal.Decimal `json:"opening,omitempty"`
	// Before is when it had been used before that, as Rule said it, "" if not.
	Before string `json:"before,omitempty"`
	Uses   []Use  `json:"uses"` // oldest first
	// Until is before when it can be used, as Rule's copy said at its last use;
	// zero for ever, or if that is not known. It says how long the uses are kept.
	Until time.Time `json:"valid_until,omitzero"`
}

// Use is one use of a check, taken back or not.
type Use struct {
	Order  string          `json:"order,omitempty"` // Sitoo's order id, "" if the till did not say
	Asked  string          `json:"asked,omitempty"` // what the till called the order, if that is not its id
	Amount decimal.Decimal `json:"amount"`          // 1 for a promotion
	Left   decimal.Decimal `json:"left"`            // what was left right after it
	Date   time.Time       `json:"date"`
	// Heard is when the call came, if its date is the till's own: one without a
	// time of day or a time zone is hours off.
	Heard  time.Time `json:"heard,omitzero"`
	Told   bool      `json:"told,omitempty"`     // by the till's redeem call
	Proved bool      `json:"proved,omitempty"`   // by a row of the order
	BackAt time.Time `json:"back_at,omitzero"`   // when it was taken back, zero if it was not
	Rows   []Row     `json:"rows,omitempty"`     // the rows of the order that prove it
	Given  []Return  `json:"returned,omitempty"` // returns of the order
}

// Row is a row of an order that was discounted with a check.
type Row struct {
	ID       string          `json:"id"` // Sitoo's orderitemid
	Quantity decimal.Decimal `json:"quantity"`
	Amount   decimal.Decimal `json:"amount"` // the row's discount, VAT included
}

// Return is a return of the order, and what it gave back.
type Return struct {
	Order  string          `json:"order"`
	Amount decimal.Decimal `json:"amount"`
	Rows   []Row           `json:"rows,omitempty"` // which rows, with the quantities returned
}

const (
	// maxUses bounds a customer's book, which must fit one DynamoDB item.
	maxUses = 1000
	// adoptWithin is how far apart the time of a redeem call that names no order,
	// as the till says it or as the call came, and the time of the order may be:
	// the same sale at the same till.
	adoptWithin = time.Hour
)

func (b *Book) entry(k Kind, id string) *Entry {
	for i := range b.Entries {
		if e := &b.Entries[i]; e.Kind == k && e.ID == id {
			return e
		}
	}
	return nil
}

// open returns the entry of a check, which is made if it is the first use.
func (b *Book) open(k Kind, id string, o Offer, listed bool) *Entry {
	e := b.entry(k, id)
	if e == nil {
		b.Entries = append(b.Entries, Entry{Kind: k, ID: id})
		e = &b.Entries[len(b.Entries)-1]
	}
	if e.Opening == nil && listed && o.problem == "" {
		e.Opening, e.Before = &o.Left, o.DateRedeemed
	}
	if listed && o.problem == "" {
		e.Until = o.Until
	}
	return e
}

// Adopt notes what the checks opened with that Rule did not list when an order
// proved their use. It must be called before Rule's copy is rewritten, which
// would make it say what is left instead. changed is false if there was none.
func (b *Book) Adopt(l List) (changed bool) {
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Kind != l.kind || e.Opening != nil {
			continue
		}
		if o, ok := l.Find(e.ID); ok && o.problem == "" {
			e.Until = o.Until
			e.Opening, e.Before, changed = &o.Left, o.DateRedeemed, true
		}
	}
	return changed
}

// left returns what is left of an offer, and when it was used last, "" if it is
// not used now.
func (b *Book) left(o Offer) (decimal.Decimal, string) {
	e := b.entry(o.Kind, o.ID)
	if e == nil {
		return o.Left, o.DateRedeemed
	}
	opening := o.Left
	if e.Opening != nil {
		opening = *e.Opening
	}
	date := e.Before
	for _, u := range e.Uses {
		if u.net().IsPositive() {
			date = u.Date.UTC().Format(time.RFC3339)
		}
	}
	return decimal.Max(opening.Sub(e.used()), decimal.Zero), date
}

// used returns the sum of an entry's uses that count.
func (e *Entry) used() decimal.Decimal {
	sum := decimal.Zero
	for _, u := range e.Uses {
		sum = sum.Add(u.net())
	}
	return sum
}

// net returns what a use takes of its check now.
func (u *Use) net() decimal.Decimal {
	if !u.BackAt.IsZero() {
		return decimal.Zero
	}
	return u.Amount.Sub(u.returned())
}

func (u *Use) returned() decimal.Decimal {
	sum := decimal.Zero
	for _, r := range u.Given {
		sum = sum.Add(r.Amount)
	}
	return sum
}

// of returns the use by an order that was not taken back, of which there is one
// at most; otherwise the latest that was, nil if there is none. One that a till
// told of without the order's id can be older than one that was taken back.
func (e *Entry) of(order string) *Use {
	var back *Use
	for i := range slices.Backward(e.Uses) {
		u := &e.Uses[i]
		switch {
		case u.Order != order && (u.Asked == "" || u.Asked != order):
		case u.BackAt.IsZero():
			return u
		case back == nil:
			back = u
		}
	}
	return back
}

// changed notes that Rule's copy has to follow.
func (b *Book) changed() { b.Version++ }

// Request is what a till asks for.
type Request struct {
	Kind      Kind
	ID        string
	Order     string           // "" if the till does not say
	Date      time.Time        // zero for now
	Remaining *decimal.Decimal // what is to be left, nil for nothing
}

// Answer is what a till is told.
type Answer struct {
	Used, Remaining decimal.Decimal
	Date            string // when it was used last, "" if it is not used
}

// Redeem uses a check or a promotion. A till that asks again with the same
// order gets its first answer. Without an order there is no telling a second
// till from a second try, so the call that would use what is used already is
// refused. fault.Conflict and fault.Invalid say why; b is unchanged then, and
// when changed is false.
func (b *Book) Redeem(o Offer, listed bool, r Request, now time.Time) (a Answer, changed bool, err error) {
	heard := now
	if r.Date.IsZero() {
		r.Date, heard = now, time.Time{}
	}
	e := b.entry(r.Kind, r.ID)
	var again *Use
	if e != nil && r.Order != "" {
		again = e.of(r.Order)
	}
	if again != nil && again.BackAt.IsZero() && again.Told {
		return Answer{again.Amount, again.Left, again.Date.UTC().Format(time.RFC3339)}, false, nil
	}
	if !listed {
		return a, false, fault.Say(fault.NotFound, r.Kind.unknown())
	}
	left, date := b.left(o)
	target := decimal.Zero
	if r.Remaining != nil && r.Kind == Check {
		target = *r.Remaining
	}
	if again != nil && again.BackAt.IsZero() { // proved by the order, and now told
		before := left.Add(again.net())
		if amount := before.Sub(target); amount.IsPositive() && len(again.Given) == 0 {
			again.Amount = amount
		}
		again.Told = true
		b.changed()
		again.Left, _ = b.left(o)
		return Answer{again.Amount, again.Left, again.Date.UTC().Format(time.RFC3339)}, true, nil
	}
	if _, err := o.usable(left, date, now); err != nil {
		return a, false, err
	}
	switch {
	case target.Equal(left):
		return a, false, fault.SayBad("remaining", "check_nothing_used", "remaining", left.StringFixed(2))
	case target.GreaterThan(left):
		return a, false, fault.SayBad("remaining", "check_too_little", "remaining", target.StringFixed(2), "left", left.StringFixed(2))
	}
	u := Use{Order: r.Order, Amount: left.Sub(target), Left: target, Date: r.Date, Heard: heard, Told: true}
	if err := b.add(r.Kind, r.ID, o, listed, u); err != nil {
		return a, false, err
	}
	return Answer{u.Amount, u.Left, u.Date.UTC().Format(time.RFC3339)}, true, nil
}

func (b *Book) add(k Kind, id string, o Offer, listed bool, u Use) error {
	n := 0
	for _, e := range b.Entries {
		n += len(e.Uses)
	}
	if n >= maxUses {
		return fault.Say(fault.Conflict, "checks_full", "count", maxUses)
	}
	e := b.open(k, id, o, listed)
	e.Uses = append(e.Uses, u)
	b.changed()
	return nil
}

// Restore takes a use back: the one by an order, or without one the latest. It
// may be repeated: what was taken back last is not followed by what was used
// before it.
func (b *Book) Restore(o Offer, listed bool, r Request, now time.Time) (a Answer, changed bool, err error) {
	e := b.entry(r.Kind, r.ID)
	var u *Use
	switch {
	case e != nil && r.Order != "":
		u = e.of(r.Order)
	case e != nil && len(e.Uses) > 0:
		u = &e.Uses[len(e.Uses)-1]
	}
	if u == nil {
		switch {
		case r.Order != "" && (e != nil || listed):
			return a, false, fault.Say(fault.NotFound, "check_not_by_order", sentence.What, r.Kind.what(), "order", r.Order)
		case listed:
			return a, false, fault.Say(fault.Conflict, "check_not_here", sentence.What, r.Kind.what())
		}
		return a, false, fault.Say(fault.NotFound, r.Kind.unknown())
	}
	if u.BackAt.IsZero() && u.Proved && r.Order == "" {
		return a, false, fault.Say(fault.Conflict, "check_in_order", sentence.What, r.Kind.what(), "order", u.Order)
	}
	if u.BackAt.IsZero() {
		u.BackAt = now
		b.changed()
		changed = true
	}
	if !listed {
		o = Offer{Kind: r.Kind, ID: r.ID}
	}
	a.Used = decimal.Zero
	a.Remaining, a.Date = b.left(o)
	return a, changed, nil
}

// Proof is what an order says of a check that it was discounted with.
type Proof struct {
	Kind   Kind
	ID     string
	Order  string
	Date   time.Time
	Rows   []Row
	Amount decimal.Decimal // the discount, VAT included; zero where the order does not say
}

// rounding is how far off the discount of an order can be from what the check
// gave: Sitoo rounds it for each unit, and each row.
func (p *Proof) rounding() decimal.Decimal {
	n := decimal.NewFromInt(int64(len(p.Rows)))
	for _, r := range p.Rows {
		n = n.Add(r.Quantity.Abs())
	}
	return n.Ceil().Shift(-2)
}

// Prove notes that an order used a check, whether or not the till has told so:
// each counts once, whichever comes first. What the till said of the amount
// holds. short is what the order was discounted with beyond what was left: a
// check used twice before anybody could know.
func (b *Book) Prove(o Offer, listed bool, p Proof) (changed bool, short decimal.Decimal, err error) {
	e := b.entry(p.Kind, p.ID)
	var u *Use
	if e != nil {
		u = e.of(p.Order)
	}
	if u != nil && (u.Proved || !u.BackAt.IsZero() && u.BackAt.After(p.Date)) {
		return false, short, nil // heard before, or taken back after the sale
	}
	if u != nil && !u.BackAt.IsZero() {
		u = nil // taken back before the sale was completed with it after all
	}
	known := listed && o.problem == "" || e != nil && e.Opening != nil
	left := decimal.Zero
	if known && listed {
		left, _ = b.left(o)
	} else if known {
		left = decimal.Max(e.Opening.Sub(e.used()), decimal.Zero)
	}
	if u == nil && e != nil {
		if u = e.unowned(p.Date, !left.IsPositive() && known); u == nil && p.Kind == Check && p.Amount.IsPositive() {
			// Clocks differ, and offline tills come late: the amount tells as well.
			u = e.nearest(p.Date, true, func(u *Use) bool {
				return u.BackAt.IsZero() && u.Amount.Sub(p.Amount).Abs().LessThanOrEqual(p.rounding())
			})
		}
	}
	if u != nil {
		if u.Order != p.Order {
			u.Asked = u.Order
		}
		u.Order, u.Proved, u.Rows = p.Order, true, p.Rows
		b.changed()
		b.returnEarly(p.Order)
		return true, short, nil
	}
	amount := p.Amount
	switch {
	case p.Kind == Promotion:
		amount = one
	case !amount.IsPositive() && known:
		amount = left // used, and it does not say for how much
	}
	if known && p.Kind == Check && amount.Sub(left).Abs().LessThanOrEqual(p.rounding()) {
		amount = left
	}
	if known && amount.GreaterThan(left) {
		amount, short = left, amount.Sub(left)
	}
	use := Use{Order: p.Order, Amount: amount, Left: decimal.Max(left.Sub(amount), decimal.Zero), Date: p.Date, Proved: true, Rows: p.Rows}
	if err := b.add(p.Kind, p.ID, o, listed, use); err != nil {
		return false, short, err
	}
	b.returnEarly(p.Order)
	return true, short, nil
}

// unowned returns the use that a till told of without naming the order, nearest
// in time to the order's date; any, if far, even when that is long before. One
// that was taken back after the sale will do, if there is no other.
func (e *Entry) unowned(date time.Time, far bool) *Use {
	if u := e.nearest(date, far, func(u *Use) bool { return u.BackAt.IsZero() }); u != nil {
		return u
	}
	return e.nearest(date, false, func(u *Use) bool { return u.BackAt.After(date) })
}

// number reports whether an order's id can be Sitoo's. A till may call an order
// something else before it has its number: a basket, or a receipt.
func number(order string) bool {
	return order != "" && strings.Trim(order, "0123456789") == ""
}

func (e *Entry) nearest(date time.Time, far bool, fits func(*Use) bool) *Use {
	var best *Use
	apart := time.Duration(0)
	for i := range e.Uses {
		u := &e.Uses[i]
		if number(u.Order) || !fits(u) {
			continue
		}
		d := u.Date.Sub(date).Abs()
		if !u.Heard.IsZero() {
			d = min(d, u.Heard.Sub(date).Abs())
		}
		if best == nil || d < apart {
			best, apart = u, d
		}
	}
	if apart > adoptWithin && !far {
		return nil
	}
	return best
}

// differs reports whether the till told of another amount than the discount of
// the order that proves the use.
func (b *Book) differs(p Proof) (told decimal.Decimal, differs bool) {
	e := b.entry(p.Kind, p.ID)
	if e == nil || p.Kind != Check || !p.Amount.IsPositive() {
		return told, false
	}
	u := e.of(p.Order)
	if u == nil || !u.Told {
		return told, false
	}
	return u.Amount, u.Amount.Sub(p.Amount).Abs().GreaterThan(p.rounding())
}

// GivesBack is what a return says of the order that it credits.
type GivesBack struct {
	Order    string `json:"order"` // the return's own id
	Original string `json:"original"`
	Rows     []Row  `json:"rows,omitempty"` // rows of the original order, with what is returned of them, if the return says
}

// Return gives back what an order had used, once for each return: all of it, or
// where the return names the rows it takes back, their share. A promotion comes
// back when the last of its rows has. It may be repeated.
func (b *Book) Return(g GivesBack) (changed bool) {
	for i := range b.Entries {
		e := &b.Entries[i]
		u := e.of(g.Original)
		if u == nil || !u.BackAt.IsZero() || slices.ContainsFunc(u.Given, func(r Return) bool { return r.Order == g.Order }) {
			continue
		}
		r := Return{Order: g.Order}
		for _, row := range g.Rows {
			if slices.ContainsFunc(u.Rows, func(x Row) bool { return x.ID == row.ID }) {
				r.Rows = append(r.Rows, row)
			}
		}
		if len(g.Rows) > 0 && len(u.Rows) > 0 && len(r.Rows) == 0 {
			continue // other rows of the order come back
		}
		whole := u.Amount
		if len(g.Rows) > 0 && len(u.Rows) > 0 {
			part, all := u.share(append(slices.Clone(u.Given), r))
			whole = decimal.Min(u.Amount.Mul(part).Div(all).Round(2), u.Amount)
			if e.Kind == Promotion && part.LessThan(all) {
				whole = decimal.Zero
			}
		}
		r.Amount = decimal.Max(whole.Sub(u.returned()), decimal.Zero)
		u.Given = append(u.Given, r)
		b.changed()
		changed = true
	}
	return changed
}

// maxEarly bounds the returns that are kept for orders to come.
const maxEarly = 50

// Expect is Return for a return whose order is still on its way: what the order
// turns out to have used is given back when it proves it. It may be repeated.
func (b *Book) Expect(g GivesBack) (changed bool) {
	changed = b.Return(g)
	if slices.ContainsFunc(b.Early, func(x GivesBack) bool { return x.Order == g.Order }) {
		return changed
	}
	b.Early = append(b.Early, g)
	if n := len(b.Early) - maxEarly; n > 0 {
		b.Early = b.Early[n:] // orders that used nothing never ask for theirs
	}
	return true
}

// returnEarly gives back what an order has used that was returned already.
func (b *Book) returnEarly(order string) {
	for _, g := range b.Early {
		if g.Original == order {
			b.Return(g)
		}
	}
}

// share returns how large a part of a use, out of all, the returns of its rows
// give back together: exactly all when every row has come back whole.
func (u *Use) share(returns []Return) (part, all decimal.Decimal) {
	back := map[string]decimal.Decimal{}
	for _, r := range returns {
		for _, row := range r.Rows {
			back[row.ID] = back[row.ID].Add(row.Quantity.Abs())
		}
	}
	weigh := func(weight func(Row) decimal.Decimal) (sum, got decimal.Decimal) {
		for _, row := range u.Rows {
			w, q := weight(row), row.Quantity.Abs()
			sum = sum.Add(w)
			switch {
			case !q.IsPositive():
			case back[row.ID].GreaterThanOrEqual(q):
				got = got.Add(w)
			default:
				got = got.Add(w.Mul(back[row.ID]).Div(q))
			}
		}
		return sum, got
	}
	all, part = weigh(func(r Row) decimal.Decimal { return r.Amount.Abs() })
	if !all.IsPositive() {
		all, part = weigh(func(r Row) decimal.Decimal { return r.Quantity.Abs() })
	}
	if !all.IsPositive() {
		return one, one
	}
	return part, all
}
