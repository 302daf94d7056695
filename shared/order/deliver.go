package order

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// SchemaVersion is the version of the fields that Declare brings into Rule. It
// is raised when a field is added.
const SchemaVersion = 1

// Lease is how long one attempt owns an order. It is longer than the worker
// function may run (30 s), so that an attempt whose lease is over is dead, and
// shorter than the queue's visibility timeout (180 s), so that a message that
// comes back finds the order free.
const Lease = 60 * time.Second

const (
	// Settle is how long Rule is given to work through a call for many customers,
	// before it is asked which orders it has: it works large calls later, and how
	// much later is not published.
	Settle = 15 * time.Minute
	// QuietPrefix begins what the ledger says of an order that a backfill has in
	// hand or has sent: see Mode.By.
	QuietPrefix = "backfill "
	// receiptFor is until how long after its purchase the till's own copy of an
	// order that a backfill found first still starts the automations.
	receiptFor = 72 * time.Hour
	// lookAgain is how often Rule is asked for an order of a large call.
	lookAgain = time.Minute
)

// Person is whom an order names. Sitoo's orders have no mobile member; phone is
// whatever number the till had.
type Person struct {
	ContactID int64 // Rule's subscriber id, 0 if the till knew no customer
	Email     string
	Phone     string // as written
}

// PersonOf returns whom an order names, best first: the contact that the
// cashier had found, the email address, the phone number. ok is false for an
// anonymous order.
func PersonOf(o sitoo.Order) (p Person, ok bool) {
	if id, err := strconv.ParseInt(strings.TrimSpace(o.Additional["customcrm-contactid"]), 10, 64); err == nil && id > 0 {
		p.ContactID = id
	}
	p.Email, _ = customer.NormaliseEmail(o.Email)
	if !customer.PersonalNumber(o.Phone) {
		p.Phone = o.Phone
	}
	return p, p.ContactID != 0 || p.Email != "" || p.Phone != ""
}

// Completed reports whether an order is one that the customer has made, and if
// not, why. An order that does not say is taken to be: Sitoo sends the copy
// after a completed transaction only.
func Completed(o sitoo.Order) (reason string, ok bool) {
	switch o.Type {
	case sitoo.TypeBooking:
		return "it is a booking", false
	case sitoo.TypeParked:
		return "it is parked", false
	}
	switch o.State {
	case sitoo.StateOpen:
		return "it is open", false
	case sitoo.StateCancelled:
		return "it is cancelled", false
	case sitoo.StateAbandoned:
		return "it is abandoned", false
	}
	switch o.PaymentState {
	case sitoo.PaymentCancelled:
		return "its payment was cancelled", false
	case sitoo.PaymentFailed:
		return "its payment failed", false
	}
	return "", true
}

// Deliverer brings orders into Rule.
type Deliverer struct {
	Ledger   Ledger
	Accounts interface {
		SetSchema(ctx context.Context, id string, version int) error
	}
	Phones customer.Phones
	Bonus  Bonus
	Now    func() time.Time
	Log    *slog.Logger
}

// skip is the error of an order that has nothing to do in Rule.
type skip struct{ reason string }

func (s skip) Error() string { return "skipped: " + s.reason }

// Deliver writes an order's entry and tags, once: whatever happens to this
// attempt, a later one with the same order completes it without doubling it.
// attempt is unique to the attempt. A nil error means that nothing is left to
// do; an error's kind says whether to try again.
//
// The entry is exactly once: an attempt that may have written it leaves that in
// the ledger, and the next one asks Rule. The tag that starts the automations
// is at least once: Rule has no way to ask whether it was given for this order,
// and a lost receipt is worse than one whose flow starts over ("reset").
func (d *Deliverer) Deliver(ctx context.Context, a account.Account, r *rule.Session, o sitoo.Order, attempt string) error {
	return d.deliver(ctx, a, r, o, attempt, Live)
}

// Mode says how an order comes to Rule.
type Mode struct {
	// Quiet brings the entry and nothing else: no automation starts, and the
	// tags that start them are not given.
	Quiet bool
	// Count keeps count of the bonus checks that the order used or gives back.
	Count bool
	// By is noted in the ledger as the reason of an order that is sent, and before
	// the reason of one that waits.
	By string
	// Subscriber is whose entry it is, if that is known; whatever the order names,
	// it is nobody else's then. 0 goes by what the order names.
	Subscriber int64
	// Who is by what Rule knows Subscriber, zero if only by id.
	Who customer.Key
}

// Live is how an order comes from the till.
var Live = Mode{Count: true}

// Quietly is Deliver for an old order: see Mode.
func (d *Deliverer) Quietly(ctx context.Context, a account.Account, r *rule.Session, o sitoo.Order, attempt string, m Mode) error {
	m.Quiet = true
	return d.deliver(ctx, a, r, o, attempt, m)
}

func (d *Deliverer) deliver(ctx context.Context, a account.Account, r *rule.Session, o sitoo.Order, attempt string, m Mode) error {
	k, stamp := Key{Account: a.Scope(), Order: o.ID}, StampOf(o)
	at := d.Now()
	claim, err := d.Ledger.Claim(ctx, k, stamp, attempt, at, Lease)
	if err == nil && claim.Stamp.Conflicts(stamp) {
		return d.Conflict(ctx, k, stamp, attempt)
	}
	if err == nil && !m.Quiet && overtaken(claim.Record, o, at) {
		if err := d.follow(ctx, r, claim.Record, at); err != nil {
			return err
		}
		claim, err = d.Ledger.Claim(ctx, k, stamp, attempt, d.Now(), Lease)
		if err == nil && overtaken(claim.Record, o, at) { // noted by a clock that is ahead of this one
			return &fault.Error{Kind: fault.Busy, Message: "A backfill has sent this order just now.", RetryAt: at.Add(lookAgain)}
		}
	}
	if err != nil {
		return fmt.Errorf("claim order: %w", err)
	}
	if !claim.Mine {
		if claim.State == Working {
			// A backfill holds an order for longer than it takes it, as a rule.
			return &fault.Error{Kind: fault.Busy, Message: "Another attempt is at work on this order.", RetryAt: earlier(claim.Lease.Add(time.Second), d.Now().Add(lookAgain))}
		}
		return nil
	}
	uncertain, err := d.write(ctx, a, r, o, claim, m)
	state, reason := Sent, m.By
	if err != nil {
		state, reason = Waiting, reasonOf(err)
		if s, ok := errors.AsType[skip](err); ok {
			state, reason, err = Skipped, s.reason, nil
			if m.By != "" {
				reason = m.By + ": " + reason
			}
		} else if hopeless(err) {
			state = Failed
		} else if m.By != "" {
			reason = m.By + ": " + reason
		}
	}
	// The attempt's own time may be used up; the ledger must hear of it still.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if ferr := d.Ledger.Finish(ctx, k, attempt, state, reason, uncertain, d.Now()); ferr != nil {
		return errors.Join(fmt.Errorf("note in the ledger that order is %s: %w", state, ferr), err)
	}
	return err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// overtaken reports whether a backfill has brought an order into Rule, or given
// it up, before the till's copy of it came, which is to be told by its
// automations all the same.
func overtaken(rec Record, o sitoo.Order, now time.Time) bool {
	done := rec.State == Sent && rec.Subscriber != 0 || rec.State == Skipped
	return done && strings.HasPrefix(rec.Reason, QuietPrefix) && now.Sub(o.Date) < receiptFor
}

// follow lets the live delivery of an order that was overtaken go on: with what
// the entry is not, or without it where Rule turns out not to have one. at is
// when the ledger was asked, so that what another delivery has done since stays.
func (d *Deliverer) follow(ctx context.Context, r *rule.Session, rec Record, at time.Time) error {
	found := false
	if rec.State == Sent {
		var err error
		if _, found, err = Find(ctx, r, rec.Subscriber, rec.Account, rec.Order); err != nil {
			return err
		}
	}
	if settled := rec.Updated.Add(Settle); rec.State == Sent && !found && at.Before(settled) {
		return &fault.Error{Kind: fault.Busy, Message: "Rule is at work on the backfill's call that holds this order.", RetryAt: earlier(settled, at.Add(lookAgain))}
	}
	if err := d.Ledger.Reopen(ctx, rec.Key, at, found); err != nil {
		return fmt.Errorf("open order that a backfill has sent: %w", err)
	}
	return nil
}

// hopeless reports whether the same order would fail again for the same reason.
func hopeless(err error) bool {
	if err == nil {
		return false
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		return true
	}
	return false
}

// reasonOf is what the ledger tells support; no text of Rule's is in it.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*rule.Error](err); ok {
		return e.Error()
	}
	return fault.As(err).Error()
}

// write does the work of one attempt. uncertain says, with an error, that the
// entry may be in Rule all the same.
func (d *Deliverer) write(ctx context.Context, a account.Account, r *rule.Session, o sitoo.Order, claim Claim, m Mode) (uncertain bool, err error) {
	if m.Count {
		if err := d.count(ctx, r, a, o, claim.Attempt); err != nil {
			if !hopeless(err) {
				return claim.Uncertain, err
			}
			// It would be the same the next time, and must not cost an order.
			d.Log.ErrorContext(ctx, "the order's bonus checks cannot be counted", "account", a.ID, "order", o.ID, "error", err)
		}
	}
	p, ok := PersonOf(o)
	if !ok {
		return false, skip{"the order names no customer"}
	}
	entry := EntryOf(o, a.Label)
	found := false
	sub := claim.Subscriber
	var have rule.Entry
	// Without a noted subscriber the earlier attempt ended before it wrote.
	if claim.Uncertain && sub != 0 {
		if have, found, err = Find(ctx, r, sub, a.Scope(), o.ID); err != nil {
			return true, err
		}
	}
	if !found {
		if sub, uncertain, err = d.append(ctx, a, r, p, o, entry, claim, m); err != nil {
			return uncertain, err
		}
	}
	// What the entry was begun with is its number alone where the account had no
	// fields yet, now or when an earlier attempt began it.
	if a.Schema < SchemaVersion || found && have.Values[fieldTotal].Text() == "" {
		if err := d.fill(ctx, a, r, sub, o.ID, entry); err != nil {
			return true, err
		}
	}
	if m.Quiet {
		return false, nil
	}
	tag := PurchaseTag
	if Kind(o) == Return {
		tag = ReturnTag
	}
	if err := r.Tag(ctx, sub, []string{customer.Tag, tag}, rule.Reset); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return false, skip{"the customer was deleted in Rule just after the entry was written"}
		}
		return true, err
	}
	return false, nil
}

// append begins the entry, at whom the order names. uncertain as in write.
func (d *Deliverer) append(ctx context.Context, a account.Account, r *rule.Session, p Person, o sitoo.Order, entry []rule.Field, claim Claim, m Mode) (sub int64, uncertain bool, err error) {
	if m.Subscriber != 0 {
		p.ContactID = m.Subscriber
		if err := mark(ctx, r, m); err != nil {
			return 0, false, err
		}
	}
	candidates := []func() (int64, error){}
	if p.ContactID != 0 {
		candidates = append(candidates, func() (int64, error) { return p.ContactID, nil })
	}
	if m.Subscriber == 0 {
		candidates = append(candidates, func() (int64, error) { return d.person(ctx, r, p, o, m) })
	}
	// The first entry of an account takes more than one request: one that makes
	// the group, historical from the start, since nothing but a new entry can;
	// then fill.
	if a.Schema < SchemaVersion {
		entry = slices.DeleteFunc(slices.Clone(entry), func(f rule.Field) bool { return f.Name != fieldOrderID && f.Name != fieldOrderRef })
	}
	for _, who := range candidates {
		if sub, err = who(); err != nil {
			return 0, false, err
		}
		if err = d.Ledger.Note(ctx, claim.Key, claim.Attempt, sub, d.Now()); err != nil {
			return 0, false, fmt.Errorf("note whose entry it is: %w", err)
		}
		err = d.without(ctx, entry, func(fields []rule.Field) error { return r.AppendEntry(ctx, sub, Group, fields) })
		if err == nil || fault.KindOf(err) != fault.NotFound {
			return sub, rule.Uncertain(err), err
		}
		// The contact has been deleted in Rule since; the order names the
		// person in other ways, perhaps.
	}
	if m.Subscriber != 0 {
		return 0, false, skip{"the customer was deleted in Rule"}
	}
	return sub, false, err
}

// mark gives a known subscriber the tag that marks everybody we write, quietly,
// which takes an email address or a phone number. One that Rule refuses is not
// worth an order.
func mark(ctx context.Context, r *rule.Session, m Mode) error {
	if m.Who.Zero() {
		return nil
	}
	if _, err := upsert(ctx, r, m.Who, m); err != nil && !hopeless(err) {
		return err
	}
	return nil
}

// without calls write with fields, and again without those that it refuses:
// staff may have made a field of ours anew with another type, which must not
// lose an order. The entry's number is never left out.
func (d *Deliverer) without(ctx context.Context, fields []rule.Field, write func([]rule.Field) error) error {
	for {
		err := write(fields)
		keep, dropped := rule.WithoutRefused(err, fields)
		if !dropped || len(keep) == 0 || fields[0].Name == fieldOrderID && keep[0].Name != fieldOrderID {
			return err
		}
		d.Log.WarnContext(ctx, "Rule refuses a custom field; the order is written without it", "error", err)
		fields = keep
	}
}

// fill completes an entry that holds its number and nothing else. The first time
// for an account it gives all fields their types before that, since an entry
// cannot, and makes sure afterwards that the group keeps a history. It may be
// repeated.
func (d *Deliverer) fill(ctx context.Context, a account.Account, r *rule.Session, sub, id int64, entry []rule.Field) error {
	first := a.Schema < SchemaVersion
	if first {
		err := d.without(ctx, slices.Concat(Schema(), customer.Schema()), func(fields []rule.Field) error { return r.Declare(ctx, fields) })
		if err != nil && fault.KindOf(err) != fault.Invalid {
			return err
		}
		if err != nil { // it does not say which: the entry is written all the same
			d.Log.WarnContext(ctx, "Rule refuses the fields' types", "account", a.ID, "error", err)
		}
	}
	field, value := identifier(a.Label, id)
	err := d.without(ctx, entry, func(fields []rule.Field) error {
		return r.PatchEntry(ctx, sub, Group, field, value, fields)
	})
	if err != nil {
		return notYet(err)
	}
	if !first {
		return nil
	}
	e, found, err := Find(ctx, r, sub, a.Scope(), id)
	switch {
	case err != nil:
		return err
	case !found:
		return &fault.Error{Kind: fault.Unavailable, Message: "Rule does not find the entry that it has just taken."}
	case e.Overwritten:
		return &fault.Error{Kind: fault.Unavailable, Message: "The group " + Group + " is not historical in Rule, so each order would overwrite the last: switch the group to historical there."}
	}
	if err := d.Accounts.SetSchema(ctx, a.ID, SchemaVersion); err != nil {
		// The next order does all this once more, which does no harm.
		d.Log.WarnContext(ctx, "could not note that the fields are declared", "account", a.ID, "error", err)
	}
	return nil
}

// notYet makes a 404 for an entry that Rule has taken what it is: Rule's search
// may lag behind its writes, and another try helps.
func notYet(err error) error {
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	return &fault.Error{Kind: fault.Unavailable, Message: "Rule does not find the entry that it has just taken.", Err: fault.As(err).Err}
}

// person finds or creates, in one request, the subscriber that an order names
// by email or phone. Only one of the two is used to find somebody, so that a
// receipt sent to a relative's address does not join two people; and what else
// the order says of its customer is kept only where Rule knows nothing of the
// person yet.
func (d *Deliverer) person(ctx context.Context, r *rule.Session, p Person, o sitoo.Order, m Mode) (int64, error) {
	number := ""
	if p.Phone != "" {
		number, _ = d.Phones(p.Phone)
	}
	var last error = skip{"the order names no customer that Rule could know: no contact id that exists, no usable email address or phone number"}
	for _, k := range []customer.Key{{Email: p.Email}, {Phone: number}} {
		if k.Zero() {
			continue
		}
		sub, err := upsert(ctx, r, k, m)
		if err == nil && sub.ID == 0 { // Rule's answer may leave the id out
			sub, err = r.Subscriber(ctx, k.Identifier())
		}
		if err != nil && fault.KindOf(err) == fault.Invalid {
			last = skip{"Rule refuses the order's email address or phone number"}
			continue
		}
		if err != nil {
			return 0, err
		}
		return sub.ID, d.introduce(ctx, r, sub, number, o)
	}
	return 0, last
}

// upsert finds or creates a subscriber; quietly, even the tag that marks
// everybody we write starts nothing.
func upsert(ctx context.Context, r *rule.Session, k customer.Key, m Mode) (rule.Subscriber, error) {
	who := rule.Upsert{Email: k.Email, Phone: k.Phone}
	if !m.Quiet {
		who.Tags = []string{customer.Tag}
		return r.Upsert(ctx, who)
	}
	many, err := r.UpsertMany(ctx, []rule.Upsert{who}, []string{customer.Tag})
	if err != nil || len(many.Subscribers) != 1 {
		return rule.Subscriber{}, err
	}
	return many.Subscribers[0], nil
}

// introduce tells Rule what an order says of somebody of whom it knows only the
// email address or the phone number. What Rule refuses of it is left out: the
// order matters more.
func (d *Deliverer) introduce(ctx context.Context, r *rule.Session, sub rule.Subscriber, number string, o sitoo.Order) error {
	change := rule.Change{Fields: customer.FromOrder(customer.OrderPerson{
		FirstName: o.FirstName, LastName: o.LastName, Company: o.Company, Address: o.Address,
	}, d.Phones)}
	if number != "" && sub.Phone == "" {
		change.Phone = &number
	}
	if change.Phone == nil && len(change.Fields) == 0 {
		return nil
	}
	values, err := r.Fields(ctx, rule.ByID(sub.ID))
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if customer.Known(values) {
		return nil
	}
	err = d.without(ctx, change.Fields, func(fields []rule.Field) error {
		change.Fields = fields
		_, err := r.Update(ctx, sub.ID, change)
		return err
	})
	if hopeless(err) && change.Phone != nil && len(change.Fields) > 0 { // the number is somebody else's
		change.Phone = nil
		_, err = r.Update(ctx, sub.ID, change)
	}
	if hopeless(err) {
		d.Log.WarnContext(ctx, "Rule does not take what the order says of its customer", "subscriber", sub.ID, "error", err)
		return nil
	}
	return err
}
