package bonus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

func row(id, quantity, amount string) bonus.Row {
	return bonus.Row{ID: id, Quantity: dec(quantity), Amount: dec(amount)}
}

func proof(id, order, amount string, rows ...bonus.Row) bonus.Proof {
	return bonus.Proof{Kind: bonus.Check, ID: id, Order: order, Date: now, Amount: dec(amount), Rows: rows}
}

func prove(t testing.TB, b *bonus.Book, l bonus.List, p bonus.Proof) {
	t.Helper()
	o, ok := l.Find(p.ID)
	if changed, _, err := b.Prove(o, ok, p); err != nil || !changed {
		t.Fatalf("Prove(%+v): changed %v, error %v", p, changed, err)
	}
}

// scene is a book and the field it is about.
type scene struct {
	book bonus.Book
	list bonus.List
	kind bonus.Kind
	now  time.Time
}

// A step is one operation on check a; it returns what came of it in short:
// "used/left date", "changed", "-" for nothing, or the refusal.
type step func(s *scene) string

func answer(a bonus.Answer, changed bool, err error) string {
	if err != nil {
		f := fault.As(err)
		return strings.TrimSpace(fmt.Sprintf("%s %s", f.Kind, f.Member)) + ": " + f.Message
	}
	out := a.Used.StringFixed(2) + "/" + a.Remaining.StringFixed(2)
	if a.Date != "" {
		out += " " + strings.TrimSuffix(strings.TrimPrefix(a.Date, "2026-"), ":00Z")
	}
	if !changed {
		out += " again"
	}
	return out
}

// redeem is asked with an order, "" for none, and with what is to remain, "" for
// nothing.
func redeem(order, remaining string) step {
	return func(s *scene) string {
		r := bonus.Request{Kind: s.kind, ID: "a", Order: order}
		if remaining != "" {
			r.Remaining = ptr(remaining)
		}
		o, ok := s.list.Find("a")
		return answer(s.book.Redeem(o, ok, r, s.now))
	}
}

// dated is redeem by a till that says when.
func dated(order, remaining, when string) step {
	return func(s *scene) string {
		date, err := time.Parse(time.RFC3339, when)
		if err != nil {
			return err.Error()
		}
		o, ok := s.list.Find("a")
		return answer(s.book.Redeem(o, ok, bonus.Request{Kind: s.kind, ID: "a", Order: order, Remaining: ptr(remaining), Date: date}, s.now))
	}
}

func restore(order string) step {
	return func(s *scene) string {
		o, ok := s.list.Find("a")
		return answer(s.book.Restore(o, ok, bonus.Request{Kind: s.kind, ID: "a", Order: order}, s.now))
	}
}

// proved is an order of now less ago.
func proved(order, amount string, ago time.Duration, rows ...bonus.Row) step {
	return func(s *scene) string {
		p := proof("a", order, amount, rows...)
		p.Kind, p.Date = s.kind, s.now.Add(-ago)
		o, ok := s.list.Find("a")
		changed, short, err := s.book.Prove(o, ok, p)
		switch {
		case err != nil:
			return answer(bonus.Answer{}, false, err)
		case !short.IsZero():
			return "short " + short.StringFixed(2)
		case changed:
			return "changed"
		}
		return "-"
	}
}

func returned(order, original string, rows ...bonus.Row) step {
	return func(s *scene) string {
		if s.book.Return(bonus.GivesBack{Order: order, Original: original, Rows: rows}) {
			return "changed"
		}
		return "-"
	}
}

func later(d time.Duration) step {
	return func(s *scene) string { s.now = s.now.Add(d); return "-" }
}

// list replaces the field.
func list(raw string) step {
	return func(s *scene) string {
		l, err := bonus.Parse(s.kind, json.RawMessage(raw))
		if err != nil {
			return err.Error()
		}
		s.list = l
		return "-"
	}
}

func adopt(s *scene) string { return fmt.Sprint(s.book.Adopt(s.list)) }

type told struct {
	do   step
	want string
	left string // on the card afterwards, "" for not there, "." for not asked
}

const hundred = `[{"bonuscheckid":"a","value":"100"}]`

func TestBook(t *testing.T) {
	t.Parallel()
	const (
		when    = " 03-02T09:00"
		used    = "conflict: This bonus check has been used already, on 2026-03-02 10:00."
		hour    = time.Hour
		usedP   = "conflict: This promotion has been used already, on 2026-03-02 10:00."
		nothing = "conflict: This bonus check was not used at this shop's tills, so there is nothing to take back."
		absent  = "not_found: The customer has no bonus check with this id."
	)
	for name, c := range map[string]struct {
		kind  bonus.Kind
		list  string
		steps []told
	}{
		"redeem in full": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{redeem("1", ""), "100.00/0.00" + when + " again", ""},
			{redeem("2", ""), used, ""},
			{redeem("", ""), used, ""},
		}},
		"redeem in part": {list: hundred, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{later(hour), "-", "40.00"},
			{redeem("1", "40"), "60.00/40.00" + when + " again", "40.00"},
			{redeem("1", "0"), "60.00/40.00" + when + " again", "40.00"},
			{redeem("2", "40"), "invalid remaining: remaining is 40.00, which is what is left already: that would use nothing.", "40.00"},
			{redeem("2", "40.01"), "invalid remaining: remaining is 40.01, but only 40.00 is left.", "40.00"},
			{redeem("2", "39.99"), "0.01/39.99 03-02T10:00", "39.99"},
			{redeem("1", ""), "60.00/40.00" + when + " again", "39.99"},
			{redeem("3", ""), "39.99/0.00 03-02T10:00", ""},
		}},
		"redeem without an order": {list: hundred, steps: []told{
			{redeem("", "40"), "60.00/40.00" + when, "40.00"},
			{redeem("", "40"), "invalid remaining: remaining is 40.00, which is what is left already: that would use nothing.", "40.00"},
			{redeem("", ""), "40.00/0.00" + when, ""},
			{redeem("", ""), used, ""},
		}},
		"what cannot be used": {list: `[]`, steps: []told{
			{redeem("1", ""), absent, ""},
			{list(`[{"bonuscheckid":"a","value":"0"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check is worth nothing.", ""},
			{list(`[{"bonuscheckid":"a","value":"x"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check cannot be used: in Rule, its value is not an amount.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","redeemed":"ja","dateredeemed":"2026-01-05"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check has been used already, on 2026-01-05.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","redeemed":true}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check has been used already.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","remaining":"0"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check has been used already.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","validfrom":"2026-03-03"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check cannot be used before 2026-03-03.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","validto":"2026-03-01"}]`), "-", ""},
			{redeem("1", ""), "conflict: This bonus check has expired; it could be used until 2026-03-01.", ""},
			{list(`[{"bonuscheckid":"a","value":"5","validto":"2026-03-02"}]`), "-", "5.00"},
			{redeem("1", "6"), "invalid remaining: remaining is 6.00, but only 5.00 is left.", "5.00"},
			{redeem("1", ""), "5.00/0.00" + when, ""},
		}},
		"what was used before the book": {list: `[{"bonuscheckid":"a","value":"100","remaining":"40","dateredeemed":"2025-12-24"}]`, steps: []told{
			{restore(""), nothing, "40.00"},
			{redeem("1", "10"), "30.00/10.00" + when, "10.00"},
			{restore("1"), "0.00/40.00 2025-12-24", "40.00"},
		}},
		"the first answer, when it has expired meanwhile": {list: `[{"bonuscheckid":"a","value":"100","validto":"2026-03-02"}]`, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{later(24 * hour), "-", ""},
			{redeem("1", "40"), "60.00/40.00" + when + " again", ""},
			{redeem("2", ""), "conflict: This bonus check has expired; it could be used until 2026-03-02.", ""},
			{restore("1"), "0.00/100.00", ""},
			{list(`[]`), "-", ""},
			{redeem("2", ""), absent, ""},
		}},
		"restore": {list: hundred, steps: []told{
			{restore(""), nothing, "100.00"},
			{restore("1"), "not_found: This bonus check was not used by order 1.", "100.00"},
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{restore("2"), "not_found: This bonus check was not used by order 2.", ""},
			{restore("1"), "0.00/100.00", "100.00"},
			{restore("1"), "0.00/100.00 again", "100.00"},
			{restore(""), "0.00/100.00 again", "100.00"},
			{redeem("1", "90"), "10.00/90.00" + when, "90.00"},
			{redeem("1", "90"), "10.00/90.00" + when + " again", "90.00"},
		}},
		"restore one of several": {list: hundred, steps: []told{
			{redeem("1", "70"), "30.00/70.00" + when, "70.00"},
			{later(hour), "-", "70.00"},
			{redeem("2", "50"), "20.00/50.00 03-02T10:00", "50.00"},
			{restore("1"), "0.00/80.00 03-02T10:00", "80.00"},
			{restore("1"), "0.00/80.00 03-02T10:00 again", "80.00"},
			{restore(""), "0.00/100.00", "100.00"},
			{restore(""), "0.00/100.00 again", "100.00"},
		}},
		"restore without an order takes one back, not all": {list: hundred, steps: []told{
			{redeem("", "70"), "30.00/70.00" + when, "70.00"},
			{redeem("", "50"), "20.00/50.00" + when, "50.00"},
			{restore(""), "0.00/70.00" + when, "70.00"},
			{restore(""), "0.00/70.00" + when + " again", "70.00"},
			{redeem("", "60"), "10.00/60.00" + when, "60.00"},
			{restore(""), "0.00/70.00" + when, "70.00"},
		}},
		"restore what is not listed": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{list(`[]`), "-", ""},
			{restore("2"), "not_found: This bonus check was not used by order 2.", ""},
			{restore("1"), "0.00/100.00", ""},
			{list(hundred), "-", "100.00"},
		}},
		"restore what was never there": {list: `[]`, steps: []told{{restore(""), absent, ""}, {restore("1"), absent, ""}}},

		"told, then proved": {list: hundred, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{proved("1", "55", 0), "changed", "40.00"}, // what the till said holds
			{proved("1", "55", 0), "-", "40.00"},
			{redeem("1", "40"), "60.00/40.00" + when + " again", "40.00"},
		}},
		"proved, then told": {list: hundred, steps: []told{
			{proved("1", "60", 0), "changed", "40.00"},
			{proved("1", "60", 0), "-", "40.00"},
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{redeem("1", "40"), "60.00/40.00" + when + " again", "40.00"},
			{proved("1", "60", 0), "-", "40.00"},
		}},
		"proved, then told otherwise": {list: hundred, steps: []told{
			{proved("1", "60", 0), "changed", "40.00"},
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{redeem("1", "40"), "100.00/0.00" + when + " again", ""},
			{restore("1"), "0.00/100.00", "100.00"},
		}},
		"proved, used by others, then told": {list: hundred, steps: []told{
			{proved("1", "60", 0), "changed", "40.00"},
			{later(hour), "-", "40.00"},
			{redeem("2", "10"), "30.00/10.00 03-02T10:00", "10.00"},
			{redeem("1", "10"), "60.00/10.00" + when, "10.00"},
			{redeem("1", "10"), "60.00/10.00" + when + " again", "10.00"},
			{redeem("1", "70.01"), "60.00/10.00" + when + " again", "10.00"},
		}},
		"proved, then told of more than there was": {list: hundred, steps: []told{
			{proved("1", "60", 0), "changed", "40.00"},
			{redeem("1", "100"), "60.00/40.00" + when, "40.00"},
		}},
		"proved, returned in part, then told": {list: hundred, steps: []told{
			{proved("1", "60", 0, row("r", "2", "60")), "changed", "40.00"},
			{returned("9", "1", row("r", "1", "0")), "changed", "70.00"},
			{redeem("1", "0"), "60.00/70.00" + when, "70.00"},
		}},
		"proved without an amount": {list: hundred, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{proved("2", "0", 0), "changed", ""},
		}},
		"proved, an öre less for each unit and row": {list: hundred, steps: []told{
			{proved("1", "99.94", 0, row("r1", "2", "66.63"), row("r2", "1", "33.31")), "changed", "0.06"},
			{restore("1"), "0.00/100.00", "100.00"},
			{proved("2", "99.95", 0, row("r1", "2", "66.63"), row("r2", "0.5", "33.32")), "changed", ""},
			{restore("2"), "0.00/100.00", "100.00"},
			{proved("3", "100.02", 0, row("r1", "1", "100.02")), "changed", ""},
			{restore("3"), "0.00/100.00", "100.00"},
			{proved("4", "100.03", 0, row("r1", "1", "100.03")), "short 0.03", ""},
		}},
		"proved by two orders": {list: hundred, steps: []told{
			{proved("1", "60", 0), "changed", "40.00"},
			{proved("2", "60", 0), "short 20.00", ""},
			{proved("2", "60", 0), "-", ""},
			{proved("3", "1", 0), "short 1.00", ""},
			{restore("2"), "0.00/40.00" + when, "40.00"},
			{restore("3"), "0.00/40.00" + when, "40.00"}, // it had used nothing
			{restore("1"), "0.00/100.00", "100.00"},
		}},
		"told without an order, then proved": {list: hundred, steps: []told{
			{redeem("", "40"), "60.00/40.00" + when, "40.00"},
			{later(hour), "-", "40.00"},
			{proved("1", "60", 0), "changed", "40.00"},
			{proved("1", "60", 0), "-", "40.00"},
			{redeem("1", "40"), "60.00/40.00" + when + " again", "40.00"},
			{restore("1"), "0.00/100.00", "100.00"},
		}},
		"told without an order long before": {list: hundred, steps: []told{
			{redeem("", "40"), "60.00/40.00" + when, "40.00"},
			{later(hour + time.Second), "-", "40.00"},
			{proved("1", "30", 0), "changed", "10.00"},
		}},
		"told without an order long before, and nothing left": {list: hundred, steps: []told{
			{redeem("", ""), "100.00/0.00" + when, ""},
			{later(48 * hour), "-", ""},
			{proved("1", "100", 0), "changed", ""},
			{proved("2", "100", 0), "short 100.00", ""},
			{restore("1"), "0.00/100.00", "100.00"},
		}},
		// The till writes the day alone, or its own time as if it were UTC.
		"told without an order, with a date far off": {list: hundred, steps: []told{
			{dated("", "40", "2026-03-02T00:00:00Z"), "60.00/40.00 03-02T00:00", "40.00"},
			{later(time.Minute), "-", "40.00"},
			{proved("1", "60", 0), "changed", "40.00"},
			{dated("", "10", "2026-03-02T11:01:00Z"), "30.00/10.00 03-02T11:01", "10.00"},
			{later(hour), "-", "10.00"},
			{proved("2", "30", 0), "changed", "10.00"},
			{dated("", "5", "2026-03-02T18:00:00Z"), "5.00/5.00 03-02T18:00", "5.00"},
			{later(hour + time.Second), "-", "5.00"},
			{proved("3", "5", 0), "changed", "5.00"}, // late, and of that very amount
			{proved("4", "4", 0), "changed", "1.00"}, // another sale
		}},
		"told with a name of the till's own": {list: hundred, steps: []told{
			{redeem("till-7-basket", "40"), "60.00/40.00" + when, "40.00"},
			{proved("1", "60", 0), "changed", "40.00"},
			{redeem("till-7-basket", "40"), "60.00/40.00" + when + " again", "40.00"},
			{proved("1", "60", 0), "-", "40.00"},
			{restore("till-7-basket"), "0.00/100.00", "100.00"},
		}},
		"a completed order's use is not the latest to take back": {list: hundred, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{proved("1", "60", 0), "changed", "40.00"},
			{restore(""), "conflict: This bonus check was used by order 1, which is completed. Return that order, or name it to take the use back.", "40.00"},
			{restore("1"), "0.00/100.00", "100.00"},
			{restore(""), "0.00/100.00 again", "100.00"},
		}},
		"told twice without an order: the nearer": {list: hundred, steps: []told{
			{redeem("", "70"), "30.00/70.00" + when, "70.00"},
			{later(20 * time.Minute), "-", "70.00"},
			{redeem("", "50"), "20.00/50.00 03-02T09:20", "50.00"},
			{proved("1", "30", 19*time.Minute), "changed", "50.00"},
			{proved("2", "20", 0), "changed", "50.00"},
			{restore("1"), "0.00/80.00 03-02T09:20", "80.00"},
		}},
		"taken back after the sale": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{later(time.Minute), "-", ""},
			{restore("1"), "0.00/100.00", "100.00"},
			{proved("1", "100", 30*time.Second), "-", "100.00"},
		}},
		"taken back before the sale": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{restore("1"), "0.00/100.00", "100.00"},
			{later(time.Minute), "-", "100.00"},
			{proved("1", "80", 30*time.Second), "changed", "20.00"},
			{proved("1", "80", 30*time.Second), "-", "20.00"},
		}},
		"taken back after the sale, neither with an order": {list: hundred, steps: []told{
			{redeem("", ""), "100.00/0.00" + when, ""},
			{later(time.Minute), "-", ""},
			{restore(""), "0.00/100.00", "100.00"},
			{proved("1", "100", 30*time.Second), "changed", "100.00"},
			{proved("1", "100", 30*time.Second), "-", "100.00"},
		}},
		"taken back before the sale, neither with an order": {list: hundred, steps: []told{
			{redeem("", ""), "100.00/0.00" + when, ""},
			{restore(""), "0.00/100.00", "100.00"},
			{later(time.Minute), "-", "100.00"},
			{proved("1", "100", 30*time.Second), "changed", ""},
		}},
		"the order of an older use is heard once": {list: hundred, steps: []told{
			{redeem("", "60"), "40.00/60.00" + when, "60.00"},
			{redeem("7", "20"), "40.00/20.00" + when, "20.00"},
			{restore("7"), "0.00/60.00" + when, "60.00"},
			{later(time.Minute), "-", "60.00"},
			{proved("7", "40", 30*time.Second), "changed", "60.00"}, // it is the one without an order
			{proved("7", "40", 30*time.Second), "-", "60.00"},
			{redeem("7", "20"), "40.00/60.00" + when + " again", "60.00"},
			{restore("7"), "0.00/100.00", "100.00"},
		}},

		"not listed, and proved": {list: `[]`, steps: []told{
			{proved("1", "30", 0), "changed", ""},
			{proved("1", "30", 0), "-", ""},
			{redeem("1", ""), absent, ""},
			{list(hundred), "-", "70.00"},
			{adopt, "true", "70.00"},
			{adopt, "false", "70.00"},
			{redeem("2", ""), "70.00/0.00" + when, ""},
			{restore("1"), "0.00/30.00" + when, "30.00"},
		}},
		"not listed, proved, listed and used without Adopt": {list: `[]`, steps: []told{
			{proved("1", "30", 0), "changed", ""},
			{list(hundred), "-", "70.00"},
			{redeem("2", "50"), "20.00/50.00" + when, "50.00"},
			{adopt, "false", "50.00"},
			{list(`[]`), "-", ""},
			{proved("3", "60", 0), "short 10.00", ""},
			{list(hundred), "-", ""},
		}},
		"unreadable, and proved": {list: `[{"bonuscheckid":"a","value":"x"}]`, steps: []told{
			{proved("1", "30", 0), "changed", ""},
			{adopt, "false", ""},
			{list(hundred), "-", "70.00"},
		}},

		"return whole": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{returned("9", "2"), "-", ""},
			{returned("9", "1"), "changed", "100.00"},
			{returned("9", "1"), "-", "100.00"},
			{returned("10", "1"), "changed", "100.00"}, // noted, gives back nothing more
			{redeem("1", ""), "100.00/0.00" + when + " again", "100.00"},
			{restore("1"), "0.00/100.00", "100.00"},
			{redeem("2", ""), "100.00/0.00" + when, ""},
			{returned("11", "1"), "-", ""},
		}},
		"return by rows": {list: hundred, steps: []told{
			{proved("1", "100", 0, row("r1", "3", "50"), row("r2", "1", "50")), "changed", ""},
			{returned("8", "1", row("other", "1", "0")), "-", ""},
			{returned("9", "1", row("r1", "1", "0")), "changed", "16.67"},
			{returned("9", "1", row("r1", "1", "0")), "-", "16.67"},
			{returned("10", "1", row("r1", "1", "0"), row("other", "5", "0")), "changed", "33.33"},
			{returned("11", "1", row("r1", "1", "0")), "changed", "50.00"},
			{returned("12", "1", row("r1", "1", "0")), "changed", "50.00"}, // more than was bought
			{returned("13", "1", row("r2", "1", "0")), "changed", "100.00"},
		}},
		"return by rows, then the rest": {list: hundred, steps: []told{
			{proved("1", "89.99", 0, row("r1", "3", "89.99")), "changed", "10.01"},
			{returned("9", "1", row("r1", "2", "0")), "changed", "70.00"},
			{returned("10", "1"), "changed", "100.00"},
		}},
		"return of a row twice in one": {list: hundred, steps: []told{
			{proved("1", "100", 0, row("r1", "4", "100")), "changed", ""},
			{returned("9", "1", row("r1", "1", "0"), row("r1", "-2", "0")), "changed", "75.00"},
		}},
		"return of rows without a discount": {list: hundred, steps: []told{
			{redeem("1", "20"), "80.00/20.00" + when, "20.00"},
			{proved("1", "0", 0, row("r1", "3", "0"), row("r2", "1", "0")), "changed", "20.00"},
			{returned("9", "1", row("r1", "3", "0")), "changed", "80.00"},
			{returned("10", "1", row("r2", "1", "0")), "changed", "100.00"},
		}},
		"return of rows without a quantity": {list: hundred, steps: []told{
			{proved("1", "100", 0, row("r1", "0", "0")), "changed", ""},
			{returned("9", "1", row("r1", "1", "0")), "changed", "100.00"},
		}},
		"return by rows of a use that no order proved": {list: hundred, steps: []told{
			{redeem("1", "20"), "80.00/20.00" + when, "20.00"},
			{returned("9", "1", row("r1", "1", "0")), "changed", "100.00"},
		}},
		"return after it was taken back": {list: hundred, steps: []told{
			{redeem("1", ""), "100.00/0.00" + when, ""},
			{restore("1"), "0.00/100.00", "100.00"},
			{returned("9", "1"), "-", "100.00"},
		}},
		"return of one order of two": {list: hundred, steps: []told{
			{redeem("1", "40"), "60.00/40.00" + when, "40.00"},
			{redeem("2", "0"), "40.00/0.00" + when, ""},
			{returned("9", "2"), "changed", "40.00"},
			{returned("10", "1"), "changed", "100.00"},
		}},

		"a promotion": {kind: bonus.Promotion, list: `[{"promotionid":"a"}]`, steps: []told{
			{redeem("1", "0.5"), "1.00/0.00" + when, ""}, // no part of it is left
			{redeem("1", ""), "1.00/0.00" + when + " again", ""},
			{redeem("2", ""), usedP, ""},
			{restore("1"), "0.00/1.00", "1.00"},
			{redeem("2", ""), "1.00/0.00" + when, ""},
			{proved("3", "20", 0), "short 1.00", ""},
		}},
		"a promotion, proved": {kind: bonus.Promotion, list: `[{"promotionid":"a"}]`, steps: []told{
			{proved("1", "35.50", 0, row("r1", "2", "20"), row("r2", "1", "15.50")), "changed", ""},
			{redeem("1", ""), "1.00/0.00" + when, ""},
			{returned("9", "1", row("r1", "2", "0")), "changed", ""},
			{returned("10", "1", row("r2", "1", "0")), "changed", "1.00"},
			{returned("11", "1"), "changed", "1.00"},
		}},
		"a promotion on many, all but one returned": {kind: bonus.Promotion, list: `[{"promotionid":"a"}]`, steps: []told{
			{proved("1", "400", 0, row("r1", "400", "400")), "changed", ""},
			{returned("9", "1", row("r1", "399", "0")), "changed", ""},
			{returned("10", "1", row("r1", "1", "0")), "changed", "1.00"},
		}},
		"a promotion, returned whole": {kind: bonus.Promotion, list: `[{"promotionid":"a"}]`, steps: []told{
			{proved("1", "35.50", 0), "changed", ""},
			{returned("9", "1"), "changed", "1.00"},
		}},
		"a promotion that is not there": {kind: bonus.Promotion, list: `[]`, steps: []told{
			{redeem("1", ""), "not_found: The customer has no promotion with this id.", ""},
			{restore("1"), "not_found: The customer has no promotion with this id.", ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.kind == "" {
				c.kind = bonus.Check
			}
			s := &scene{kind: c.kind, now: now}
			if got := list(c.list)(s); got != "-" {
				t.Fatal(got)
			}
			for i, step := range c.steps {
				before := encode(t, s.book)
				got := step.do(s)
				if got != step.want {
					t.Errorf("step %d: %s, want %s", i, got, step.want)
				}
				left := ""
				if card, _ := bonus.Card(s.list, s.book, s.now); len(card) > 0 {
					left = card[0].Left.StringFixed(2)
				}
				if left != step.left {
					t.Errorf("step %d, %s: %q is left on the card, want %q", i, got, left, step.left)
				}
				quiet := got == "-" || strings.HasSuffix(got, " again") || strings.Contains(got, ": ")
				if diff := cmp.Diff(before, encode(t, s.book)); quiet && diff != "" {
					t.Errorf("step %d, %s: changed the book: %s", i, got, diff)
				}
			}
		})
	}
}

func encode(t interface {
	Helper()
	Fatal(args ...any)
}, b bonus.Book,
) string {
	t.Helper()
	raw, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Every change that Rule is to show counts in Version, and nothing else does.
func TestBookVersion(t *testing.T) {
	t.Parallel()
	s := &scene{kind: bonus.Check, now: now, list: parse(t, bonus.Check, hundred)}
	for i, c := range []struct {
		do   step
		want int64
	}{
		{redeem("1", "40"), 1},
		{redeem("1", "40"), 1},
		{redeem("2", "50"), 1},
		{proved("1", "60", 0), 2},
		{proved("1", "60", 0), 2},
		{restore("1"), 3},
		{restore("1"), 3},
		{redeem("2", "50"), 4},
		{returned("9", "2"), 5},
		{returned("9", "2"), 5},
	} {
		c.do(s)
		if s.book.Version != c.want {
			t.Errorf("step %d: version %d, want %d", i, s.book.Version, c.want)
		}
	}
}

// A customer's book has room for so many uses; what is beyond is refused, and
// what is in it can still be asked for and taken back.
func TestBookFull(t *testing.T) {
	t.Parallel()
	s := &scene{kind: bonus.Check, now: now, list: parse(t, bonus.Check, hundred)}
	left := dec("100")
	for i := range 1000 {
		left = left.Sub(dec("0.01"))
		if got := redeem(fmt.Sprint(i), left.String())(s); !strings.HasPrefix(got, "0.01/") {
			t.Fatal(got)
		}
	}
	const full = "conflict: The customer has used bonus checks 1000 times, which is as many as can be kept count of."
	for what, do := range map[string]step{"redeem": redeem("x", ""), "prove": proved("x", "1", 48*time.Hour)} {
		if got := do(s); got != full {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got, want := redeem("0", "")(s), "0.01/99.99 03-02T09:00 again"; got != want {
		t.Errorf("asked again: %s, want %s", got, want)
	}
	if got, want := restore("999")(s), "0.00/90.01 03-02T09:00"; got != want {
		t.Errorf("restore: %s, want %s", got, want)
	}
	if n := len(encode(t, s.book)); n > 400_000 {
		t.Errorf("the book is %d bytes of indented JSON", n)
	}
}

// The till's own date counts, in whatever zone it was written.
func TestRedeemDate(t *testing.T) {
	t.Parallel()
	var b bonus.Book
	l := parse(t, bonus.Check, hundred)
	at := time.Date(2026, 3, 2, 9, 30, 0, 0, time.FixedZone("", 3600))
	a := use(t, &b, l, bonus.Request{Kind: bonus.Check, ID: "a", Order: "1", Date: at})
	want := bonus.Answer{Used: dec("100"), Remaining: decimal.Zero, Date: "2026-03-02T08:30:00Z"}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
}

// A book is stored as JSON: nothing of it may be lost on the way.
func TestBookJSON(t *testing.T) {
	t.Parallel()
	s := &scene{kind: bonus.Check, now: now, list: parse(t, bonus.Check, hundred)}
	for _, do := range []step{
		redeem("", "70"), dated("2", "60", "2026-03-01T08:00:00Z"), proved("1", "30", 0, row("r", "1.5", "30")), returned("9", "1", row("r", "0.5", "0")), restore("2"),
	} {
		do(s)
	}
	s.book.Holder, s.book.Until, s.book.Synced = "x", now, 3
	raw, err := json.Marshal(s.book)
	if err != nil {
		t.Fatal(err)
	}
	var got bonus.Book
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.book, got); diff != "" {
		t.Error(diff)
	}
}
