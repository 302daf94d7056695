package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// Who is made of an old order was not asked about marketing: see customer.Create.
// Here many are made in a call, with a note that says so, and Rule is told in one
// more to send them no campaigns. A delivery that dies in between is followed by
// another, which knows those by the note whom the part has made; and a part that
// nobody goes on with leaves them to the queue: see leave.

// note is the id of the note with which a part makes customers.
func note(m PartMessage) string { return attemptPrefix + m.Job + "-" + m.Part }

// leave has the queue complete what a part has begun that nobody goes on with. It
// may be repeated.
func (w *Writer) leave(ctx context.Context, m PartMessage, raw []json.RawMessage) error {
	p, err := w.Jobs.Part(ctx, m.Account, m.Job, m.Run, m.Part)
	if err != nil {
		return fmt.Errorf("read part: %w", err)
	}
	if !p.Meeting {
		return nil
	}
	seen := map[customer.Key]bool{}
	for _, one := range raw {
		o, err := sitoo.DecodeOrder(one)
		if err != nil {
			continue // it has made nobody
		}
		who, _ := order.PersonOf(o)
		keys := keysOf(who, w.Phones)
		if who.ContactID != 0 || len(keys) == 0 || seen[keys[0]] {
			continue
		}
		seen[keys[0]] = true
		if err := w.Deliverer.Customers.Leave(ctx, m.Account, keys[0], note(m), m.Request); err != nil {
			return err
		}
	}
	return nil
}

// acquaint makes subscribers of customers whom Rule may not know, so that it is
// known whose each entry is before it is written.
func (t *task) acquaint(ctx context.Context) error {
	strangers := map[customer.Key][]*old{}
	var list []*old
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" || o.sub != 0 || t.waits(o) {
			continue
		}
		if strangers[o.who] == nil {
			list = append(list, o)
		}
		strangers[o.who] = append(strangers[o.who], o)
	}
	if err := t.gone(ctx, strangers); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(o *old) bool { return o.outcome != "" })
	for batch := range slices.Chunk(list, rule.BulkLimit) {
		if err := t.meet(ctx, batch); err != nil {
			return err
		}
		met := map[Digest]int64{} // the parts after this one need not meet them again
		for _, o := range batch {
			if o.sub != 0 {
				met[t.seals.Digest(o.who)] = o.sub
			}
		}
		if err := t.People.Add(ctx, t.m.Account, listName(t.job, t.job.Lists), met); err != nil {
			return fmt.Errorf("note who is in Rule: %w", err)
		}
	}
	t.part.Meeting = false
	for _, o := range list {
		for _, other := range strangers[o.who][1:] {
			other.sub = o.sub
			if o.outcome != "" {
				other.settle(o.outcome, o.reason)
			}
		}
	}
	return nil
}

// gone settles the orders of customers who were in Rule once: the ledger has
// noted whose an order was that an earlier delivery could not finish. They were
// deleted since, and do not come back.
func (t *task) gone(ctx context.Context, strangers map[customer.Key][]*old) error {
	var all []*old
	for _, orders := range strangers {
		all = append(all, orders...)
	}
	err := t.each(all, func(o *old) error {
		rec, known, err := t.Ledger.Get(ctx, order.Key{Account: t.account.ID, Order: o.ID})
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		if known && rec.Subscriber != 0 && rec.State != order.Sent {
			o.settle(skipped, Gone)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, orders := range strangers {
		if !slices.ContainsFunc(orders, func(o *old) bool { return o.outcome != "" }) {
			continue
		}
		for _, o := range orders {
			o.settle(skipped, Gone)
		}
	}
	return nil
}

// meet makes subscribers of the customers of some orders, all different ones, and
// has Rule send no campaigns to those whom it did not have.
func (t *task) meet(ctx context.Context, orders []*old) error {
	if !t.part.Meeting {
		t.part.Meeting = true
		if err := t.Jobs.SavePart(ctx, t.m.Account, t.m.Job, t.m.Run, t.part); err != nil {
			return fmt.Errorf("note that customers are made: %w", err)
		}
	}
	made, err := t.create(ctx, orders)
	if err != nil {
		return err
	}
	_, stop := t.Deliverer.Customers.Unasked(t.account, note(t.m))
	if len(made) == 0 || len(stop) == 0 {
		return nil
	}
	ids := make([]int64, len(made))
	for i, o := range made {
		ids[i] = o.sub
	}
	if err := t.room(ctx, lastCall); err != nil {
		return err
	}
	return t.rule.SuppressMany(ctx, ids, stop...)
}

// create makes subscribers of the customers of some orders and returns the orders
// of those whom this part has made.
func (t *task) create(ctx context.Context, orders []*old) (made []*old, err error) {
	if err := t.room(ctx, lastCall); err != nil {
		return nil, err
	}
	list := make([]rule.Upsert, len(orders))
	for i, o := range orders {
		list[i] = t.stranger(o)
	}
	out, err := t.rule.CreateMany(ctx, list, []string{customer.Tag})
	kind := fault.KindOf(err)
	switch {
	case err == nil:
		return t.identified(ctx, orders, out)
	case retry(err):
		return nil, err
	case len(orders) > 1: // whom it refuses or has, it says of each alone
		for _, o := range orders {
			one, err := t.create(ctx, []*old{o})
			if err != nil {
				return nil, err
			}
			made = append(made, one...)
		}
		return made, nil
	case kind == fault.Conflict:
		return t.identified(ctx, orders, rule.Bulk{Counted: true})
	}
	if kind == fault.Invalid && t.dropped(ctx, err, orders[0], list[0].Fields) {
		return t.create(ctx, orders)
	}
	orders[0].settle(skipped, "Rule refuses the order's email address or phone number")
	return nil, nil
}

// stranger is what is written of a customer whom Rule does not know: what the
// order says of her, and that she was not asked. What Rule refuses of it is left
// out: the orders matter more.
func (t *task) stranger(o *old) rule.Upsert {
	notes, _ := t.Deliverer.Customers.Unasked(t.account, note(t.m))
	fields := append(customer.FromOrder(customer.OrderPerson{FirstName: o.FirstName, LastName: o.LastName, Company: o.Company, Address: o.Address}, t.Phones), notes...)
	fields = slices.DeleteFunc(fields, func(f rule.Field) bool { return t.bare[o.ID] || t.refused[f.Group+"."+f.Name] })
	return rule.Upsert{Email: o.who.Email, Phone: o.who.Phone, Fields: fields}
}

// dropped takes note of the fields that a refusal is about, which no more
// customers are made with; false if it is about none. If it does not say which,
// the one customer is made without any.
func (t *task) dropped(ctx context.Context, err error, o *old, fields []rule.Field) bool {
	e, ok := errors.AsType[*rule.Error](err)
	if !ok || len(fields) == 0 || e.Names("email") || e.Names("phone_number") {
		return false
	}
	if t.refused == nil {
		t.refused, t.bare = map[string]bool{}, map[int64]bool{}
	}
	keep, less := rule.WithoutRefused(err, fields)
	if t.bare[o.ID] = !less; !less {
		keep = fields
	}
	for _, f := range fields {
		if !slices.ContainsFunc(keep, func(k rule.Field) bool { return k.Group == f.Group && k.Name == f.Name }) {
			t.refused[f.Group+"."+f.Name] = true
		}
	}
	t.Log.WarnContext(ctx, "Rule does not take what orders say of their customers", "account", t.account.ID, "error", err)
	return true
}

// identified notes who the customers of some orders are in Rule, by its answer or
// by asking, and returns the orders of those whom this part has made: all of them
// where Rule does not count fewer.
func (t *task) identified(ctx context.Context, orders []*old, out rule.Bulk) (made []*old, err error) {
	ids := map[customer.Key]int64{}
	for _, s := range out.Subscribers {
		if mail, ok := customer.NormaliseEmail(s.Email); ok {
			ids[customer.Key{Email: mail}] = s.ID
		}
		if s.Phone != "" {
			ids[customer.Key{Phone: s.Phone}] = s.ID
		}
	}
	all := !out.Counted || out.Created >= len(orders)
	for _, o := range orders {
		if o.sub = ids[o.who]; o.sub == 0 {
			if err := t.room(ctx, lastCall); err != nil {
				return nil, err
			}
			s, err := t.rule.Subscriber(ctx, o.who.Identifier())
			if err != nil && fault.KindOf(err) == fault.NotFound {
				o.settle(skipped, "Rule takes the order's email address or phone number, and does not keep it")
				continue
			}
			if err != nil {
				return nil, err
			}
			o.sub = s.ID
		}
		ours := all
		if !ours {
			if ours, err = t.Deliverer.Customers.Made(ctx, t.rule, o.sub, note(t.m)); err != nil {
				return nil, err
			}
		}
		if ours {
			made = append(made, o)
		}
	}
	return made, nil
}
