package order

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// promotionKeys are where a row names the promotion it was discounted with.
var promotionKeys = []string{"customcrm-promotionid", "crm-promotionid"}

// originalRow is where a row of a return names the row it takes back.
const originalRow = "pos-originalsales-orderitemid"

const (
	// inFlightDelay is how long a return waits for the order that it credits, while
	// that is on its way to Rule and may yet prove what it used, and by whom.
	inFlightDelay = 30 * time.Second
	// inFlightLimit is how long after that order was accepted a return that names
	// a customer goes on all the same: two that credit each other would never.
	inFlightLimit = time.Hour
)

// Original returns the order that a return credits, 0 if it names none.
func Original(o sitoo.Order) int64 {
	if o.CreditID > 0 {
		return o.CreditID
	}
	id, ok := sitoo.Whole(o.Additional["pos-originalsales-orderid"])
	if !ok || id < 0 {
		return 0
	}
	return id
}

// grossDiscount returns a row's discount, VAT included, in the currency's unit. Sitoo's is net, and per
// unit: of what is weighed per kilogram, however many bags the quantity counts.
func grossDiscount(i sitoo.Item, decimals int32) decimal.Decimal {
	units := i.Units
	if units.IsZero() {
		units = i.Quantity
	}
	gross := decimal.NewFromInt(1).Add(i.VATPercent.Div(hundred))
	return i.Discount.Mul(units).Mul(gross).Round(decimals)
}

// Proofs returns the bonus checks and promotions that an order was discounted
// with, each once, with the rows that say so. Rows that are taken back prove
// nothing: what they were discounted with was used by the order they credit.
func Proofs(o sitoo.Order) []bonus.Proof {
	var list []bonus.Proof
	add := func(k bonus.Kind, id string, i sitoo.Item) {
		id = strings.TrimSpace(id)
		if id == "" {
			return
		}
		row := bonus.Row{ID: i.ID, Quantity: i.Quantity, Amount: decimal.Max(grossDiscount(i, sitoo.Decimals(o.Currency)), decimal.Zero)}
		for n := range list {
			if p := &list[n]; p.Kind == k && p.ID == id {
				p.Rows = append(p.Rows, row)
				p.Amount = p.Amount.Add(row.Amount)
				return
			}
		}
		list = append(list, bonus.Proof{
			Kind: k, ID: id, Order: strconv.FormatInt(o.ID, 10), Date: o.Date, Rows: []bonus.Row{row}, Amount: row.Amount,
		})
	}
	for _, i := range o.Items {
		if i.Quantity.IsNegative() {
			continue
		}
		add(bonus.Check, first(i.Additional, bonusCheckKeys), i)
		add(bonus.Promotion, first(i.Additional, promotionKeys), i)
	}
	return list
}

func first(m map[string]string, keys []string) string {
	for _, k := range keys {
		if v := m[k]; v != "" {
			return v
		}
	}
	return ""
}

// givesBack is what a return says of the order that it credits; ok is false if
// it takes nothing back, as the sale that is one half of an exchange. Rows are
// empty if not every row that is taken back names its original: then all of it
// comes back.
func givesBack(o sitoo.Order) (g bonus.GivesBack, ok bool) {
	g = bonus.GivesBack{Order: strconv.FormatInt(o.ID, 10), Original: strconv.FormatInt(Original(o), 10)}
	nameless := false
	for _, i := range o.Items {
		if !i.Quantity.IsNegative() {
			continue
		}
		ok = true
		id := strings.TrimSpace(i.Additional[originalRow])
		if n, ok := sitoo.Whole(id); ok { // as the rows' own ids are read
			id = strconv.FormatInt(n, 10)
		}
		nameless = nameless || id == ""
		g.Rows = append(g.Rows, bonus.Row{ID: id, Quantity: i.Quantity.Neg()})
	}
	if nameless {
		g.Rows = nil
	}
	return g, ok || o.Total.IsNegative()
}

// Bonus keeps count of what orders use, and what returns give back.
type Bonus interface {
	// Prove notes what an order used. It may be repeated.
	Prove(ctx context.Context, r *rule.Session, k bonus.Key, proofs []bonus.Proof, request string) error
	// Return gives back what an order had used, or if it is early, what the order
	// will turn out to have used. It may be repeated.
	Return(ctx context.Context, r *rule.Session, k bonus.Key, g bonus.GivesBack, early bool, request string) error
	// Expect keeps a return of an order of an account's scope that has not come, or
	// whose customer is not known, and Expected returns what it kept. Expect may be
	// repeated.
	Expect(ctx context.Context, scope string, order int64, g bonus.GivesBack) error
	Expected(ctx context.Context, scope string, order int64) ([]bonus.GivesBack, error)
	// LatestOrder notes the day of a customer's order, and unless it is zero until
	// when a call that writes it may be worked later, and returns the latest that was
	// noted; "" notes nothing. It may be repeated.
	LatestOrder(ctx context.Context, k bonus.Key, day string, unsettled time.Time) (bonus.Latest, error)
}

// count keeps count of the bonus checks that an order used or gives back. It is
// done before the order goes to Rule, so that an order which is done there is
// done here as well; it may be repeated.
func (d *Deliverer) count(ctx context.Context, r *rule.Session, a account.Account, o sitoo.Order, attempt string) error {
	if err := d.countUses(ctx, r, a, o, attempt); err != nil {
		return err
	}
	original := Original(o)
	g, returns := givesBack(o)
	g.Order, g.Original = Ref(a.Label, g.Order), Ref(a.Label, g.Original)
	if original == 0 || original == o.ID || !returns {
		return nil
	}
	// The customer of the original order is asked for in the ledger: a return may
	// name another one, or nobody.
	k := Key{Account: a.Scope(), Order: original}
	rec, known, err := d.Ledger.Get(ctx, k)
	if err != nil {
		return fmt.Errorf("look up the order that is returned: %w", err)
	}
	if !known || rec.State == Failed || rec.State == Skipped {
		if err := d.Bonus.Expect(ctx, a.Scope(), original, g); err != nil {
			return err
		}
		// It may have come while the return was kept.
		if rec, known, err = d.Ledger.Get(ctx, k); err != nil {
			return fmt.Errorf("look up the order that is returned: %w", err)
		}
	}
	return d.giveBack(ctx, r, a, o, g, rec, known, attempt)
}

// countUses notes what an order used, and gives back what returns that came
// before it have taken back of that.
func (d *Deliverer) countUses(ctx context.Context, r *rule.Session, a account.Account, o sitoo.Order, attempt string) error {
	proofs := Proofs(o)
	if len(proofs) == 0 {
		return nil
	}
	for i := range proofs {
		proofs[i].Order = Ref(a.Label, proofs[i].Order)
	}
	sub, err := d.whose(ctx, r, o)
	if err != nil {
		return err
	}
	if sub == 0 {
		d.Log.WarnContext(ctx, "an order used a bonus check, and names no customer who is in Rule", "account", a.ID, "order", o.ID)
		return nil
	}
	k := bonus.Key{Account: a.ID, Subscriber: sub}
	if err := d.Bonus.Prove(ctx, r, k, proofs, attempt); err != nil {
		return fmt.Errorf("count used bonus checks: %w", err)
	}
	before, err := d.Bonus.Expected(ctx, a.Scope(), o.ID)
	if err != nil {
		return err
	}
	for _, g := range before {
		if err := d.Bonus.Return(ctx, r, k, g, false, attempt); err != nil {
			return fmt.Errorf("give back bonus checks: %w", err)
		}
	}
	return nil
}

// giveBack gives back what the order that is returned had used, as far as that is
// known.
func (d *Deliverer) giveBack(ctx context.Context, r *rule.Session, a account.Account, o sitoo.Order, g bonus.GivesBack, rec Record, known bool, attempt string) error {
	// What an order on its way has used is not known yet; whose it is, is noted
	// right after it has proved that.
	early := known && (rec.State == Queued || rec.State == Working || rec.State == Waiting)
	p, _ := PersonOf(o)
	if early && rec.Subscriber == 0 && (p.ContactID == 0 || d.Now().Sub(rec.Queued) < inFlightLimit) {
		return &fault.Error{Kind: fault.Busy, Message: "The order that is returned, which tells whose it is, is still on its way to Rule.", RetryAt: d.Now().Add(inFlightDelay)}
	}
	seen := map[int64]bool{0: true}
	for _, sub := range []int64{rec.Subscriber, p.ContactID} {
		if seen[sub] {
			continue
		}
		seen[sub] = true
		if err := d.Bonus.Return(ctx, r, bonus.Key{Account: a.ID, Subscriber: sub}, g, early, attempt); err != nil {
			return fmt.Errorf("give back bonus checks: %w", err)
		}
	}
	return nil
}

// whose returns the subscriber whom an order names, 0 if Rule knows nobody.
func (d *Deliverer) whose(ctx context.Context, r *rule.Session, o sitoo.Order) (int64, error) {
	p, ok := PersonOf(o)
	if !ok || p.ContactID != 0 {
		return p.ContactID, nil
	}
	var ids []rule.Identifier
	if p.Email != "" {
		ids = append(ids, rule.ByEmail(p.Email))
	}
	if number, ok := d.Phones(p.Phone); ok && p.Phone != "" {
		ids = append(ids, rule.ByPhone(number))
	}
	for _, id := range ids {
		sub, err := r.Subscriber(ctx, id)
		if err == nil {
			return sub.ID, nil
		}
		if fault.KindOf(err) != fault.NotFound {
			return 0, err
		}
	}
	return 0, nil
}
