package order

import (
	"context"
	"fmt"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// A win-back flow waits for a customer who has not bought for a while. The entry
// that was written last can be an old one, which a backfill brought or a till
// uploads late, so the day of the latest purchase is a field of its own. It never
// goes back: our own table says what the latest is, and the entry's own request
// writes that.

// lastOrder is the field. v3 has no types, so that it has to be declared first.
func lastOrder(day string) rule.Field {
	f := rule.Field{Group: customer.ContactGroup, Name: "lastorderdate", Type: rule.Date}
	if day != "" {
		f.Value = day
	}
	return f
}

// Latest returns the field of the customer's latest purchase, the order's own
// included, to be written with the order's entry; nothing for a return, which is
// no purchase. unsettled is until when Rule may work the call that it is written
// with, zero for one that it works when it answers. It may be repeated.
func (d *Deliverer) Latest(ctx context.Context, a account.Account, sub int64, o sitoo.Order, unsettled time.Time) ([]rule.Field, error) {
	own := OwnDay(o)
	if own == nil || sub == 0 {
		return nil, nil
	}
	latest, err := d.Bonus.LatestOrder(ctx, bonus.Key{Account: a.ID, Subscriber: sub}, own[0].Value.(string), unsettled)
	if err != nil {
		return nil, fmt.Errorf("note the customer's latest order: %w", err)
	}
	return []rule.Field{lastOrder(latest.Day)}, nil
}

// Overtaken writes the field once more, if another order has come meanwhile that
// is newer than what was written: whose request Rule carried out last is not
// known. It costs Rule nothing where none has, and may be repeated. since is when
// the order was written at the earliest; if a call that Rule works later may still
// have set the day back after that, unsettled is until when, for Again; else it is
// zero.
func (d *Deliverer) Overtaken(ctx context.Context, a account.Account, r *rule.Session, sub int64, written []rule.Field, since time.Time) (unsettled time.Time, err error) {
	if len(written) == 0 {
		return time.Time{}, nil
	}
	have, _ := written[0].Value.(string)
	for {
		latest, err := d.Bonus.LatestOrder(ctx, bonus.Key{Account: a.ID, Subscriber: sub}, "", time.Time{})
		if err != nil {
			return time.Time{}, fmt.Errorf("read the customer's latest order: %w", err)
		}
		if latest.Unsettled.After(since) {
			unsettled = latest.Unsettled
		}
		if latest.Day <= have {
			return unsettled, nil
		}
		if err := d.overwrite(ctx, r, sub, lastOrder(latest.Day)); err != nil {
			return time.Time{}, err
		}
		have = latest.Day
	}
}

// overwrite writes the field by itself. One that Rule refuses is not worth an
// order.
func (d *Deliverer) overwrite(ctx context.Context, r *rule.Session, sub int64, f rule.Field) error {
	err := r.Overwrite(ctx, sub, f)
	if hopeless(err) {
		d.Log.WarnContext(ctx, "Rule refuses the day of the latest order", "subscriber", sub, "error", err)
		return nil
	}
	return err
}

// begin begins the entry, with the day of the latest order where the fields have
// been declared; written is the day as it was written.
func (d *Deliverer) begin(ctx context.Context, a account.Account, r *rule.Session, sub int64, o sitoo.Order, entry []rule.Field) (written []rule.Field, err error) {
	if a.Schema >= SchemaVersion {
		if written, err = d.Latest(ctx, a, sub, o, time.Time{}); err != nil {
			return nil, err
		}
	}
	err = d.without(ctx, entry, func(fields []rule.Field) error {
		err := r.AppendEntry(ctx, sub, Group, fields, written...)
		if len(written) > 0 && err != nil && fault.KindOf(err) == fault.Invalid {
			// Whether it is about the day, Rule may not say; nothing was written.
			written = nil
			err = r.AppendEntry(ctx, sub, Group, fields)
		}
		return err
	})
	return written, err
}

// OwnDay returns the field as an order that is in Rule has written it at the
// least; nothing for a return.
func OwnDay(o sitoo.Order) []rule.Field {
	if Kind(o) != Purchase || o.Date.IsZero() {
		return nil
	}
	return []rule.Field{lastOrder(o.Date.In(sitoo.Zone(o.Additional)).Format(time.DateOnly))}
}

// declared writes the field for the first time of an account, once it has its
// type.
func (d *Deliverer) declared(ctx context.Context, a account.Account, r *rule.Session, sub int64, o sitoo.Order) ([]rule.Field, error) {
	latest, err := d.Latest(ctx, a, sub, o, time.Time{})
	if err != nil || latest == nil {
		return nil, err
	}
	return latest, d.overwrite(ctx, r, sub, latest[0])
}
