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
	p.Phone = o.Phone
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
	k := Key{Account: a.ID, Order: o.ID}
	claim, err := d.Ledger.Claim(ctx, k, attempt, d.Now(), Lease)
	if err != nil {
		return fmt.Errorf("claim order: %w", err)
	}
	if !claim.Mine {
		if claim.State == Working {
			return &fault.Error{Kind: fault.Busy, Message: "Another attempt is at work on this order.", RetryAt: claim.Lease.Add(time.Second)}
		}
		return nil
	}
	uncertain, err := d.write(ctx, a, r, o, claim)
	state, reason := Sent, ""
	if err != nil {
		state, reason = Waiting, reasonOf(err)
		if s, ok := errors.AsType[skip](err); ok {
			state, reason, err = Skipped, s.reason, nil
		} else if hopeless(err) {
			state = Failed
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

// hopeless reports whether the same order would fail again for the same reason.
func hopeless(err error) bool {
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
func (d *Deliverer) write(ctx context.Context, a account.Account, r *rule.Session, o sitoo.Order, claim Claim) (uncertain bool, err error) {
	p, ok := PersonOf(o)
	if !ok {
		return false, skip{"the order names no customer"}
	}
	entry := Entry(o)
	found := false
	sub := claim.Subscriber
	// Without a noted subscriber the earlier attempt ended before it wrote.
	if claim.Uncertain && sub != 0 {
		var e rule.Entry
		if e, found, err = r.FindEntry(ctx, sub, Group, fieldOrderID, strconv.FormatInt(o.ID, 10)); err != nil {
			return true, err
		}
		if found {
			if err := d.complete(ctx, a, r, sub, o.ID, entry, e); err != nil {
				return true, err
			}
		}
	}
	if !found {
		if sub, uncertain, err = d.append(ctx, a, r, p, o, entry, claim); err != nil {
			return uncertain, err
		}
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

// append writes the entry, to whom the order names. uncertain as in write.
func (d *Deliverer) append(ctx context.Context, a account.Account, r *rule.Session, p Person, o sitoo.Order, entry []rule.Field, claim Claim) (sub int64, uncertain bool, err error) {
	candidates := []func() (int64, error){}
	if p.ContactID != 0 {
		candidates = append(candidates, func() (int64, error) { return p.ContactID, nil })
	}
	candidates = append(candidates, func() (int64, error) { return d.person(ctx, r, p, o) })
	for _, who := range candidates {
		if sub, err = who(); err != nil {
			return 0, false, err
		}
		if err = d.Ledger.Note(ctx, claim.Key, claim.Attempt, sub, d.Now()); err != nil {
			return 0, false, fmt.Errorf("note whose entry it is: %w", err)
		}
		uncertain, err = d.put(ctx, a, r, sub, o.ID, entry)
		if err == nil || fault.KindOf(err) != fault.NotFound {
			return sub, uncertain, err
		}
		// The contact has been deleted in Rule since; the order names the
		// person in other ways, perhaps.
	}
	return sub, false, err
}

// put writes the entry to a subscriber. The first entry of an account takes
// three requests: one that makes the group, historical from the start, since
// nothing but a new entry can; one that gives all fields their types, since an
// entry cannot; and one that fills the entry.
func (d *Deliverer) put(ctx context.Context, a account.Account, r *rule.Session, sub, id int64, entry []rule.Field) (uncertain bool, err error) {
	first := entry
	if a.Schema < SchemaVersion {
		first = slices.DeleteFunc(slices.Clone(entry), func(f rule.Field) bool { return f.Name != fieldOrderID })
	}
	if err := r.AppendEntry(ctx, sub, Group, first); err != nil {
		return rule.Uncertain(err), err
	}
	if a.Schema < SchemaVersion {
		if err := d.fill(ctx, a, r, sub, id, entry); err != nil {
			return true, err
		}
	}
	return false, nil
}

// complete fills an entry that an earlier attempt left with nothing but its
// number.
func (d *Deliverer) complete(ctx context.Context, a account.Account, r *rule.Session, sub, id int64, entry []rule.Field, have rule.Entry) error {
	if have.Values[fieldTotal].Text() != "" {
		return nil
	}
	return d.fill(ctx, a, r, sub, id, entry)
}

func (d *Deliverer) fill(ctx context.Context, a account.Account, r *rule.Session, sub, id int64, entry []rule.Field) error {
	if a.Schema < SchemaVersion {
		if err := r.Declare(ctx, slices.Concat(Schema(), customer.Schema())); err != nil {
			return err
		}
	}
	if err := r.PatchEntry(ctx, sub, Group, fieldOrderID, strconv.FormatInt(id, 10), entry); err != nil {
		return err
	}
	if a.Schema < SchemaVersion {
		if err := d.Accounts.SetSchema(ctx, a.ID, SchemaVersion); err != nil {
			// The next order declares them once more, which does no harm.
			d.Log.WarnContext(ctx, "could not note that the fields are declared", "account", a.ID, "error", err)
		}
	}
	return nil
}

// person finds or creates, in one request, the subscriber that an order names
// by email or phone. Only one of the two is used to find somebody, so that a
// receipt sent to a relative's address does not join two people.
func (d *Deliverer) person(ctx context.Context, r *rule.Session, p Person, o sitoo.Order) (int64, error) {
	number, _ := d.Phones(p.Phone)
	var last error = skip{"the order names no customer that Rule could know: no contact id that exists, no usable email address or phone number"}
	fields := customer.FromOrder(customer.OrderPerson{
		FirstName: o.FirstName, LastName: o.LastName, Company: o.Company, Address: o.Address,
	}, d.Phones)
	for _, k := range []customer.Key{{Email: p.Email}, {Phone: number}} {
		if k.Zero() {
			continue
		}
		sub, err := r.Upsert(ctx, rule.Upsert{Email: k.Email, Phone: k.Phone, Fields: fields, Tags: []string{customer.Tag}})
		if fault.KindOf(err) == fault.Invalid && err != nil && len(fields) > 0 {
			// A field that staff have given another type must not lose the order.
			sub, err = r.Upsert(ctx, rule.Upsert{Email: k.Email, Phone: k.Phone, Tags: []string{customer.Tag}})
		}
		if err == nil && sub.ID == 0 { // Rule's answer may leave the id out
			sub, err = r.Subscriber(ctx, k.Identifier())
		}
		if fault.KindOf(err) == fault.Invalid && err != nil {
			last = skip{"Rule refuses the order's email address or phone number"}
			continue
		}
		if err != nil {
			return 0, err
		}
		if k.Email != "" && number != "" && sub.Phone == "" {
			// Known by email only: the number is news. If it is somebody
			// else's, or Rule does not like it, the order matters more.
			if _, err := r.Update(ctx, sub.ID, rule.Change{Phone: &number}); err != nil && !hopeless(err) {
				return 0, err
			}
		}
		return sub.ID, nil
	}
	return 0, last
}
