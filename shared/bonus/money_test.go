package bonus_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

// ledger is one customer's checks and promotions, and what was handed out. It
// counts from the book's data alone, not by its methods.
type ledger struct {
	book    bonus.Book
	lists   map[bonus.Kind]bonus.List
	opening map[string]decimal.Decimal // of what the fields list, by kind and id
	now     time.Time
}

func (l *ledger) key(k bonus.Kind, id string) string { return string(k) + " " + id }

// amountOf draws an amount in whole öre.
func amountOf(t *rapid.T, label string, most int64) decimal.Decimal {
	return decimal.New(rapid.Int64Range(0, most).Draw(t, label), -2)
}

func newLedger(t *rapid.T) *ledger {
	l := &ledger{lists: map[bonus.Kind]bonus.List{}, opening: map[string]decimal.Decimal{}, now: now}
	var checks, promotions []map[string]any
	for i := range rapid.IntRange(1, 4).Draw(t, "checks") {
		value := amountOf(t, "value", 30_000)
		left := decimal.Min(value, amountOf(t, "remaining", 60_000))
		one := map[string]any{"bonuscheckid": fmt.Sprint("c", i), "value": value.StringFixed(2), "unknown": i}
		if rapid.Bool().Draw(t, "a number") {
			one["value"] = json.Number(value.String())
		}
		if !left.Equal(value) {
			one["remaining"] = left.String()
		}
		checks = append(checks, one)
		l.opening[l.key(bonus.Check, fmt.Sprint("c", i))] = left
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "promotions") {
		promotions = append(promotions, map[string]any{"promotionid": fmt.Sprint("p", i)})
		l.opening[l.key(bonus.Promotion, fmt.Sprint("p", i))] = dec("1")
	}
	for kind, field := range map[bonus.Kind]any{bonus.Check: checks, bonus.Promotion: promotions} {
		raw, err := json.Marshal(field)
		if err != nil {
			t.Fatal(err)
		}
		if l.lists[kind], err = bonus.Parse(kind, raw); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

var (
	orders = rapid.SampledFrom([]string{"1", "2", "3", "4"})
	rowIDs = rapid.SampledFrom([]string{"r1", "r2", "r3"})
)

// pick draws a check or promotion, one that is not listed now and then.
func (l *ledger) pick(t *rapid.T) (k bonus.Kind, id string, o bonus.Offer, listed bool) {
	k = rapid.SampledFrom([]bonus.Kind{bonus.Check, bonus.Check, bonus.Check, bonus.Promotion}).Draw(t, "kind")
	id = fmt.Sprint(string(k[0]), rapid.IntRange(0, 2).Draw(t, "id"))
	if k == bonus.Check {
		id = "c" + id[1:]
	}
	o, listed = l.lists[k].Find(id)
	return k, id, o, listed
}

func rows(t *rapid.T) []bonus.Row {
	var list []bonus.Row
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		list = append(list, bonus.Row{
			ID: rowIDs.Draw(t, "row"), Quantity: decimal.New(rapid.Int64Range(-2, 7).Draw(t, "quantity"), rapid.SampledFrom([]int32{0, 0, -1}).Draw(t, "unit")),
			Amount: amountOf(t, "discount", 20_000),
		})
	}
	return list
}

// refused fails for an error that is not the till's to read.
func refused(t *rapid.T, err error) {
	if k := fault.KindOf(err); err != nil && (k != fault.Conflict && k != fault.Invalid && k != fault.NotFound || fault.As(err).Message == "") {
		t.Fatalf("error %v", err)
	}
}

func (l *ledger) Redeem(t *rapid.T) {
	k, id, o, listed := l.pick(t)
	r := bonus.Request{Kind: k, ID: id, Order: rapid.SampledFrom([]string{"", "1", "2", "3", "4"}).Draw(t, "order")}
	if rapid.Bool().Draw(t, "in part") {
		left := amountOf(t, "left", 30_000)
		r.Remaining = &left
	}
	a, changed, err := l.book.Redeem(o, listed, r, l.now)
	refused(t, err)
	if err != nil || r.Order == "" {
		return
	}
	b, again, err := l.book.Redeem(o, listed, r, l.now.Add(time.Hour))
	if !a.Used.Equal(b.Used) || !a.Remaining.Equal(b.Remaining) || a.Date != b.Date || again || err != nil {
		t.Fatalf("Redeem answers %+v (changed %v), then %+v (changed %v), %v", a, changed, b, again, err)
	}
}

func (l *ledger) Restore(t *rapid.T) {
	k, id, o, listed := l.pick(t)
	r := bonus.Request{Kind: k, ID: id, Order: rapid.SampledFrom([]string{"", "1", "2", "3", "4"}).Draw(t, "order")}
	a, _, err := l.book.Restore(o, listed, r, l.now)
	refused(t, err)
	if err != nil {
		return
	}
	if b, changed, err := l.book.Restore(o, listed, r, l.now.Add(time.Hour)); changed || err != nil || !b.Remaining.Equal(a.Remaining) {
		t.Fatalf("Restore answers %+v, then %+v (changed %v), %v", a, b, changed, err)
	}
}

func (l *ledger) Prove(t *rapid.T) {
	k, id, o, listed := l.pick(t)
	p := bonus.Proof{Kind: k, ID: id, Order: orders.Draw(t, "order"), Date: l.now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes ago")) * time.Minute), Rows: rows(t)}
	for _, r := range p.Rows {
		p.Amount = p.Amount.Add(r.Amount)
	}
	_, short, err := l.book.Prove(o, listed, p)
	refused(t, err)
	if short.IsNegative() {
		t.Fatalf("short by %s", short)
	}
	if changed, _, err := l.book.Prove(o, listed, p); changed || err != nil {
		t.Fatalf("proved again: changed %v, error %v", changed, err)
	}
}

func (l *ledger) Return(t *rapid.T) {
	g := bonus.GivesBack{Order: fmt.Sprint("return ", rapid.IntRange(1, 6).Draw(t, "return")), Original: orders.Draw(t, "original"), Rows: rows(t)}
	l.book.Return(g)
	if l.book.Return(g) {
		t.Fatal("a return counted twice")
	}
}

// Follow rewrites Rule's copy, as whoever holds the lease does.
func (l *ledger) Follow(*rapid.T) {
	for _, list := range l.lists {
		l.book.Adopt(list)
	}
	for k, list := range l.lists {
		l.lists[k], _ = list.With(l.book)
	}
}

// List hands out a check that orders may have used before it was listed.
func (l *ledger) List(t *rapid.T) {
	_, id, _, listed := l.pick(t)
	if listed || id[0] != 'c' {
		return
	}
	value := amountOf(t, "value", 30_000)
	raw, err := json.Marshal(map[string]any{"bonuscheckid": id, "value": value.String()})
	if err != nil {
		t.Fatal(err)
	}
	before := l.used(bonus.Check, id)
	merged, changed, _ := l.lists[bonus.Check].Merge(l.book, []json.RawMessage{raw})
	if changed != 1 {
		t.Fatalf("Merge of a new check: changed %d", changed)
	}
	l.lists[bonus.Check] = merged
	// It may have been used for more than it turns out to be worth: nobody could
	// know. Then there is nothing to be exact about.
	if before.LessThanOrEqual(value) {
		l.opening[l.key(bonus.Check, id)] = value
	}
}

func (l *ledger) Wait(t *rapid.T) {
	l.now = l.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "minutes")) * time.Minute)
}

// used adds up what the uses of a check take of it, from the book's data.
func (l *ledger) used(k bonus.Kind, id string) decimal.Decimal {
	sum := decimal.Zero
	for _, e := range l.book.Entries {
		if e.Kind != k || e.ID != id {
			continue
		}
		for _, u := range e.Uses {
			if !u.BackAt.IsZero() {
				continue
			}
			sum = sum.Add(u.Amount)
			for _, r := range u.Given {
				sum = sum.Sub(r.Amount)
			}
		}
	}
	return sum
}

// Check is run after every step.
func (l *ledger) Check(t *rapid.T) {
	card := map[string]decimal.Decimal{}
	for k, list := range l.lists {
		shown, _ := bonus.Card(list, l.book, l.now)
		copied, changed := list.With(l.book)
		alone, _ := bonus.Card(copied, l.book, l.now)
		if fmt.Sprint(shown) != fmt.Sprint(alone) {
			t.Fatalf("the card shows %v, and over the copy that was rewritten %v", shown, alone)
		}
		if _, again := copied.With(l.book); again {
			t.Fatalf("the rewritten copy is rewritten again (changed %v)", changed)
		}
		for _, s := range shown {
			card[l.key(k, s.ID)] = s.Left
		}
	}
	for key, opening := range l.opening {
		var k bonus.Kind
		var id string
		if _, err := fmt.Sscan(key, &k, &id); err != nil {
			t.Fatal(err)
		}
		used, left := l.used(k, id), card[key]
		if !opening.Equal(used.Add(left)) {
			t.Fatalf("%s: %s was handed out, %s is used and %s is left\n%s", key, opening, used, left, encode(t, l.book))
		}
		if left.IsNegative() || used.IsNegative() {
			t.Fatalf("%s: %s is used and %s is left", key, used, left)
		}
		if !left.Equal(left.Truncate(2)) {
			t.Fatalf("%s: %s is left, which is not in whole öre", key, left)
		}
	}
	for _, e := range l.book.Entries {
		live := map[string]int{}
		for _, u := range e.Uses {
			if u.BackAt.IsZero() && u.Order != "" {
				live[u.Order]++
			}
			back := decimal.Zero
			for _, r := range u.Given {
				if r.Amount.IsNegative() {
					t.Fatalf("a return gives back %s", r.Amount)
				}
				back = back.Add(r.Amount)
			}
			if u.Amount.IsNegative() || back.GreaterThan(u.Amount) {
				t.Fatalf("a use of %s, of which %s came back", u.Amount, back)
			}
			if e.Kind == bonus.Promotion && !u.Amount.Sub(back).IsZero() && !u.Amount.Sub(back).Equal(dec("1")) {
				t.Fatalf("%s of a promotion came back", back)
			}
		}
		for order, n := range live {
			if n > 1 {
				t.Fatalf("%s %s: order %s uses it %d times", e.Kind, e.ID, order, n)
			}
		}
	}
	// What the copy says once it was rewritten is what the book says, without it.
	for k, list := range l.lists {
		book := l.book
		book.Entries = append([]bonus.Entry(nil), book.Entries...)
		book.Adopt(list)
		copied, _ := list.With(book)
		over, _ := bonus.Card(list, l.book, l.now)
		alone, _ := bonus.Card(copied, bonus.Book{}, l.now)
		if fmt.Sprint(over) != fmt.Sprint(alone) {
			t.Fatalf("%s: the card shows %v, Rule's copy says %v", k, over, alone)
		}
	}
}

// Money never differs by an öre: what was handed out is used or left, whatever
// tills, orders and returns do, repeat and contradict.
func TestMoney(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(t)
		l.Check(t)
		t.Repeat(rapid.StateMachineActions(l))
	})
}
