package order

import (
	"cmp"
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
	"sitoo-rule/shared/worker"
)

// SchemaVersion is the version of the fields that Declare brings into Rule. It
// is raised when a field is added.
const SchemaVersion = 2

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
	// newSale is until how long after it came an order makes a customer anew whose
	// contact Rule does not have any more.
	newSale = time.Hour
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
	if id, ok := sitoo.Whole(o.Additional["customcrm-contactid"]); ok && id > 0 {
		p.ContactID = id
	}
	p.Email, _ = customer.NormaliseEmail(o.Email)
	if !customer.PersonalNumber(o.Phone) {
		p.Phone = o.Phone
	}
	return p, p.ContactID != 0 || p.Email != "" || p.Phone != ""
}

// Unnamed says why an order that names a customer does so in vain, "" if it
// names none at all. It is asked of an order of which PersonOf knows nobody.
func Unnamed(o sitoo.Order) string {
	var what []string
	if strings.TrimSpace(o.Additional["customcrm-contactid"]) != "" {
		what = append(what, "its contact id is no number of Rule's")
	}
	switch email := strings.TrimSpace(o.Email); {
	case strings.Count(email, "@") > 1:
		what = append(what, "its email address is not one address")
	case email != "":
		what = append(what, "its email address is none that mail could be sent to")
	}
	if strings.TrimSpace(o.Phone) != "" {
		what = append(what, "its phone number is a personal number")
	}
	for _, name := range []string{"email", "phone", "additionaldata"} {
		if slices.Contains(o.Unread, name) {
			what = append(what, "its "+name+" cannot be read")
		}
	}
	if len(what) == 0 {
		return ""
	}
	return "the order's customer cannot be told: " + strings.Join(what, ", ")
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
	// Customers makes the customers whom Rule does not know.
	Customers *customer.Service
	Bonus     Bonus
	// Syncs takes the delayed messages that write the day of a latest order once
	// more: see Again.
	Syncs worker.Sender
	Now   func() time.Time
	Log   *slog.Logger
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
	// Received is when the till's copy of the order came, zero if that is not known.
	Received time.Time
	// Told, if set, is told in which state the ledger has the order now, and why.
	Told func(s State, reason string)
	// Two, if set, is told where the order names two people, by what the one is not
	// named who has its entry: see Deliverer.two.
	Two func(by string)
}

func (m Mode) two(by string) {
	if m.Two != nil {
		m.Two(by)
	}
}

func (m Mode) tell(s State, reason string) {
	if m.Told != nil {
		m.Told(s, reason)
	}
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
		m.tell(Failed, Conflicting)
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
		m.tell(claim.State, claim.Reason)
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
	m.tell(state, reason)
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
		return false, skip{cmp.Or(Unnamed(o), "the order names no customer")}
	}
	entry := EntryOf(o, a.Label, a.Settings.Language)
	found := false
	sub := claim.Subscriber
	var have rule.Entry
	// Without a noted subscriber the earlier attempt ended before it wrote.
	if claim.Uncertain && sub != 0 {
		if have, found, err = Find(ctx, r, sub, a.Scope(), o.ID); err != nil {
			return true, err
		}
	}
	tagged := false         // known to have the tag that marks everybody we write
	var latest []rule.Field // the day of the latest order, as it was written
	if !found {
		var who whose
		who, latest, uncertain, err = d.append(ctx, a, r, p, o, entry, claim, m)
		if sub, tagged = who.id, who.tagged; err != nil {
			return uncertain, err
		}
	}
	// What the entry was begun with is its number alone where the account had no
	// fields yet, now or when an earlier attempt began it.
	if found {
		latest = OwnDay(o)
	}
	if a.Schema < SchemaVersion || found && have.Values[fieldTotal].Text() == "" {
		if err := d.fill(ctx, a, r, sub, o.ID, entry); err != nil {
			return true, err
		}
		if latest, err = d.declared(ctx, a, r, sub, o); err != nil {
			return true, err
		}
	}
	since := d.Now().Add(-Lease) // before this attempt
	if found {
		since = time.Time{}
	}
	unsettled, err := d.Overtaken(ctx, a, r, sub, latest, since)
	if err == nil {
		err = d.Again(ctx, a.ID, sub, o.ID, unsettled)
	}
	if err != nil {
		return true, err
	}
	if m.Quiet {
		return false, nil
	}
	tag := PurchaseTag
	if Kind(o) == Return {
		tag = ReturnTag
	}
	if !tagged {
		if err := d.Customers.Mark(ctx, r, a.ID, sub); err != nil && fault.KindOf(err) != fault.NotFound {
			return true, err
		}
	}
	if err := r.Tag(ctx, sub, []string{tag}, rule.Reset); err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return false, skip{"the customer was deleted in Rule just after the entry was written"}
		}
		return true, err
	}
	return false, nil
}

// whose says whose an entry is.
type whose struct {
	id     int64
	tagged bool // has the tag that marks everybody we write, as far as is known
}

// append begins the entry, at whom the order names. uncertain as in write.
func (d *Deliverer) append(ctx context.Context, a account.Account, r *rule.Session, p Person, o sitoo.Order, entry []rule.Field, claim Claim, m Mode) (sub whose, latest []rule.Field, uncertain bool, err error) {
	if m.Subscriber != 0 {
		p.ContactID = m.Subscriber
		if err := mark(ctx, r, m); err != nil {
			return whose{}, nil, false, err
		}
	}
	candidates := []func() (whose, error){}
	if p.ContactID != 0 {
		candidates = append(candidates, func() (whose, error) {
			d.two(a, p, o, m)
			return whose{id: p.ContactID}, nil
		})
	}
	if m.Subscriber == 0 {
		// Somebody whom Rule had when the order was first tried, and has no more, was
		// deleted there since. A till's new sale may name a contact that was deleted
		// before it.
		late := m.Quiet || claim.Attempts > 1 || !m.Received.IsZero() && d.Now().Sub(m.Received) > newSale
		deleted := claim.Subscriber != 0 || p.ContactID != 0 && late
		candidates = append(candidates, func() (whose, error) { return d.person(ctx, a, r, p, o, deleted, m) })
	}
	// The first entry of an account takes more than one request: one that makes
	// the group, historical from the start, since nothing but a new entry can;
	// then fill.
	if a.Schema < SchemaVersion {
		entry = slices.DeleteFunc(slices.Clone(entry), func(f rule.Field) bool { return f.Name != fieldOrderID && f.Name != fieldOrderRef })
	}
	for _, who := range candidates {
		if sub, err = who(); err != nil {
			return whose{}, nil, false, err
		}
		if err = d.Ledger.Note(ctx, claim.Key, claim.Attempt, sub.id, d.Now()); err != nil {
			return whose{}, nil, false, fmt.Errorf("note whose entry it is: %w", err)
		}
		latest, err = d.begin(ctx, a, r, sub.id, o, entry)
		if err == nil || fault.KindOf(err) != fault.NotFound {
			return sub, latest, rule.Uncertain(err), err
		}
		// The contact has been deleted in Rule since; the order names the
		// person in other ways, perhaps.
	}
	if m.Subscriber != 0 {
		return whose{}, nil, false, skip{"the customer was deleted in Rule"}
	}
	return sub, nil, false, err
}

// two tells of an order whose contact id is one person's and whose email address
// or phone number another's; the contact has the entry. To ask Rule would cost
// every order of a known customer a request: what counts is whom this process has
// found by them before, so that the first such order of a process is not seen.
func (d *Deliverer) two(a account.Account, p Person, o sitoo.Order, m Mode) {
	for _, k := range []customer.Key{{Phone: d.number(a, p, o)}, {Email: p.Email}} {
		if id := d.Customers.FoundBefore(a.ID, k); !k.Zero() && id != 0 && id != p.ContactID {
			by := "phone"
			if k.Email != "" {
				by = "email"
			}
			m.two(by)
		}
	}
}

// number is the order's phone number, "" if it is none.
func (d *Deliverer) number(a account.Account, p Person, o sitoo.Order) string {
	if p.Phone == "" {
		return ""
	}
	number, _ := d.Phones(p.Phone, a.Settings.Country, o.Address[string(customer.InvoiceCountry)])
	return number
}

// mark gives a known subscriber the tag that marks everybody we write, quietly,
// which takes an email address or a phone number. One that Rule refuses is not
// worth an order.
func mark(ctx context.Context, r *rule.Session, m Mode) error {
	if m.Who.Zero() {
		return nil
	}
	_, err := r.UpsertMany(ctx, []rule.Upsert{{Email: m.Who.Email, Phone: m.Who.Phone}}, []string{customer.Tag})
	if err != nil && !hopeless(err) {
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
		err := d.without(ctx, slices.Concat(Schema(), customer.Schema(), []rule.Field{lastOrder("")}), func(fields []rule.Field) error { return r.Declare(ctx, fields) })
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

// person finds the subscriber whom an order names by email or, without one, by
// phone, and creates one if Rule has none. Of a known one nothing is changed: a
// receipt that is sent to a relative's address does not join two people. deleted says that Rule had the customer once: an old order
// does not bring her back.
func (d *Deliverer) person(ctx context.Context, a account.Account, r *rule.Session, p Person, o sitoo.Order, deleted bool, m Mode) (whose, error) {
	number := d.number(a, p, o)
	// An email address says whose it is even where Rule does not know it yet: the
	// number beside it can be a relative's.
	keys := []customer.Key{{Email: p.Email}}
	if p.Email == "" {
		keys = []customer.Key{{Phone: number}}
	}
	if keys[0].Zero() {
		return whose{}, skip{"the order names no customer that Rule could know: no contact id that exists, no usable email address or phone number"}
	}
	for range 2 { // once more for somebody who is made between the look and the making
		for _, k := range keys {
			sub, err := r.Subscriber(ctx, k.Identifier())
			switch kind := fault.KindOf(err); {
			case err == nil:
				d.Customers.Found(a.ID, k, sub.ID)
				if number != "" && k.Phone == "" && sub.Phone != number {
					m.two("phone")
				}
				return whose{sub.ID, sub.Tagged(customer.Tag)}, nil
			case kind != fault.NotFound && kind != fault.Invalid:
				return whose{}, err
			}
		}
		if deleted {
			return whose{}, skip{"the customer is not in Rule, and an old order does not bring back who was deleted there"}
		}
		sub, err := d.create(ctx, a, r, p.Email, number, o, m)
		if err == nil {
			return whose{sub.ID, true}, nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return whose{}, err
		}
	}
	return whose{}, &fault.Error{Kind: fault.Unavailable, Message: "Rule says that the order's customer exists, and does not find her."}
}

// create makes the customer of an order. What Rule refuses of her is left out:
// the order matters more.
func (d *Deliverer) create(ctx context.Context, a account.Account, r *rule.Session, email, number string, o sitoo.Order, m Mode) (rule.Subscriber, error) {
	fields := customer.FromOrder(customer.OrderPerson{
		FirstName: o.FirstName, LastName: o.LastName, Company: o.Company, Address: o.Address,
	}, d.Phones)
	var last error
	for _, k := range []customer.Key{{Email: email, Phone: number}, {Email: email}, {Phone: number}} {
		if k.Zero() || k != (customer.Key{Email: email, Phone: number}) && (email == "" || number == "") {
			continue
		}
		sub, err := d.Customers.Create(ctx, r, a, k, fields, m.Quiet, strconv.FormatInt(o.ID, 10))
		switch kind := fault.KindOf(err); {
		case err == nil:
			return sub, nil
		case kind == fault.Conflict && k.Email != "" && k.Phone != "": // the number is somebody else's
			m.two("phone")
		case kind != fault.Invalid:
			return sub, err
		}
		last = err
	}
	if fault.KindOf(last) == fault.Conflict {
		return rule.Subscriber{}, last
	}
	return rule.Subscriber{}, skip{"Rule refuses the order's email address or phone number"}
}
