package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

const (
	// settle is how long Rule is given to work through a call whose answer was
	// lost, before it is asked which orders it has: it works large calls later.
	settle = 15 * time.Minute
	// claimsAtOnce bounds how many ledger items are written at a time.
	claimsAtOnce = 16
	// lastCall is how much of a delivery's time a call to Rule needs.
	lastCall = 30 * time.Second
	// lease is how long a call's orders are held: longer than a delivery lasts.
	lease = 6 * time.Minute
	// maxCall is how many orders go to Rule in one call.
	maxCall = 1000
)

// Writer brings the queued orders of jobs into Rule, many in one call. It is
// safe for concurrent use.
type Writer struct {
	Jobs      Jobs
	People    People
	Ledger    order.Ledger
	Deliverer *order.Deliverer // for orders that go one by one
	Directory Directory
	Phones    customer.Phones
	Log       *slog.Logger
	Now       func() time.Time
}

// by is what the ledger says of an order that a job has written.
func by(job string) string { return "backfill " + job }

// Work writes a part's orders, each once whatever happens to this delivery;
// attempt is unique to it. It may be repeated. fault.Busy says when it goes on.
func (w *Writer) Work(ctx context.Context, body, attempt string) (m PartMessage, r *rule.Session, err error) {
	m, raw, err := DecodePart(body)
	if err != nil {
		return m, nil, err
	}
	j, err := w.Jobs.Get(ctx, m.Account, m.Job)
	if errors.Is(err, ErrNoJob) || err == nil && (j.Run != m.Run || j.State == Cancelled) {
		return m, nil, nil // nobody waits for it any more
	}
	if err != nil {
		return m, nil, fmt.Errorf("read job: %w", err)
	}
	p, err := w.Jobs.Part(ctx, m.Account, m.Job, m.Run, m.Part)
	if err != nil {
		return m, nil, fmt.Errorf("read part: %w", err)
	}
	if p.Finished {
		return m, nil, w.end(ctx, m)
	}
	a, r, err := w.Directory.Session(ctx, m.Account)
	if err != nil {
		return m, nil, err
	}
	t := &task{Writer: w, m: m, job: j, account: a, rule: r, attempt: attempt}
	t.read(raw)
	if err := t.write(ctx); err != nil {
		reason, until := "Rule does not answer; it is tried again.", time.Time{}
		f := fault.As(err)
		switch f.Kind {
		case fault.Busy:
			reason, until = busy(err), f.RetryAt
		case fault.Unauthorized:
			reason = "Rule refuses the shop's API key."
		}
		w.save(ctx, m, Part{ID: m.Part, Done: t.settled(), Reason: reason, Until: until, Updated: w.Now()})
		if k := f.Kind; k == fault.Invalid || k == fault.Conflict || k == fault.TooLarge || k == fault.NotFound {
			err = fault.Wrap(fault.Unavailable, err, "Rule refuses a call.")
		}
		return m, r, err
	}
	part := t.result()
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, part); err != nil {
		return m, r, fmt.Errorf("save part: %w", err)
	}
	return m, r, w.end(ctx, m)
}

func (w *Writer) end(ctx context.Context, m PartMessage) error {
	return finish(ctx, w.Jobs, m.Account, m.Job, m.Run, w.Now)
}

func (w *Writer) save(ctx context.Context, m PartMessage, p Part) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, p); err != nil {
		w.Log.WarnContext(ctx, "could not note how far a part has come", "account", m.Account, "job", m.Job, "error", err)
	}
}

// GiveUp notes that a part is put aside: what of it is not in Rule has failed.
// It may be repeated.
func (w *Writer) GiveUp(ctx context.Context, body string, cause error) error {
	m, raw, err := DecodePart(body)
	if err != nil {
		return nil
	}
	t := &task{Writer: w, m: m}
	t.read(raw)
	why := "given up: " + fault.As(cause).Kind.String()
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" {
			continue
		}
		rec, _, err := w.Ledger.Get(ctx, order.Key{Account: m.Account, Order: o.ID})
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		switch {
		case rec.State == order.Sent && rec.Reason == by(m.Job):
			o.outcome = written
		case rec.State == order.Sent:
			o.outcome = already
		default:
			o.outcome, o.reason = failed, why
		}
	}
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, t.result()); err != nil {
		return fmt.Errorf("save part: %w", err)
	}
	err = w.end(ctx, m)
	if errors.Is(err, ErrNoJob) {
		return nil
	}
	return err
}

// outcome is what has become of an order.
type outcome string

const (
	written outcome = "written"
	already outcome = "already"
	skipped outcome = "skipped"
	failed  outcome = "failed"
)

// old is one order of a part.
type old struct {
	sitoo.Order
	who     customer.Key // by what Rule knows the customer, or is to
	contact int64        // Rule's id where the order names nothing else
	sub     int64        // Rule's id where that is known
	claim   order.Claim
	outcome outcome
	reason  string
}

// task is one delivery's work on a part.
type task struct {
	*Writer
	m       PartMessage
	job     Job
	account account.Account
	rule    *rule.Session
	attempt string
	orders  []old // by ascending id
}

func (t *task) read(raw []json.RawMessage) {
	for _, one := range raw {
		o := old{}
		var err error
		if sitoo.Check(one) != nil {
			o.outcome, o.reason = skipped, Unreadable
		} else if o.Order, err = sitoo.DecodeOrder(one); err != nil {
			o.outcome, o.reason = skipped, Unreadable
		}
		t.orders = append(t.orders, o)
	}
	slices.SortStableFunc(t.orders, func(a, b old) int { return int(min(max(a.ID-b.ID, -1), 1)) })
}

func (t *task) settled() (n int) {
	for _, o := range t.orders {
		if o.outcome != "" {
			n++
		}
	}
	return n
}

func (t *task) result() Part {
	p := Part{ID: t.m.Part, Done: len(t.orders), Finished: true, Updated: t.Now(), Skipped: map[string]int{}, Failed: map[string][]int64{}, Months: map[string]Month{}}
	for _, o := range t.orders {
		month := o.Date.In(rule.Stockholm).Format("2006-01")
		m := p.Months[month]
		switch o.outcome {
		case written:
			p.Written++
			m.Written++
		case already:
			p.Already++
			m.Written++
		case skipped:
			p.Skipped[o.reason]++
			m.Skipped++
		default:
			p.Failures++
			m.Failed++
			if len(p.Failed[o.reason]) < MaxFailed {
				p.Failed[o.reason] = append(p.Failed[o.reason], o.ID)
			}
		}
		p.Months[month] = m
	}
	return p
}

// write settles every order of the part, or returns why it cannot now.
func (t *task) write(ctx context.Context) error {
	if err := t.identify(ctx); err != nil {
		return err
	}
	// An account's very first entry makes the group, historical from the start;
	// and what support asks for by number is looked for in Rule first. Both go
	// one by one.
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" || t.account.Schema >= order.SchemaVersion && !t.m.Resend {
			continue
		}
		if err := t.single(ctx, o); err != nil {
			return err
		}
		if t.m.Resend {
			continue
		}
		var err error
		if t.account, t.rule, err = t.again(ctx); err != nil {
			return err
		}
	}
	for {
		call := t.next()
		if len(call) == 0 {
			return nil
		}
		if err := t.call(ctx, call); err != nil {
			return err
		}
	}
}

// again reads the account anew, keeping the session.
func (t *task) again(ctx context.Context) (account.Account, *rule.Session, error) {
	a, _, err := t.Directory.Session(ctx, t.m.Account)
	return a, t.rule, err
}

// identify finds by what Rule knows each order's customer.
func (t *task) identify(ctx context.Context) error {
	var ask []Digest
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" {
			continue
		}
		p, _ := order.PersonOf(o.Order)
		o.contact = p.ContactID
		keys := keysOf(p, t.Phones)
		switch {
		case len(keys) > 0:
			o.who = keys[0]
			for _, k := range keys {
				ask = append(ask, DigestOf(t.m.Account, k))
			}
		case o.contact == 0:
			o.outcome, o.reason = skipped, NoCustomer
		}
	}
	known, err := t.People.Find(ctx, t.m.Account, listName(t.job), ask)
	if err != nil {
		return fmt.Errorf("look up customers: %w", err)
	}
	contacts := map[int64]rule.Subscriber{}
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" {
			continue
		}
		p, _ := order.PersonOf(o.Order)
		for _, k := range keysOf(p, t.Phones) {
			if id := known[DigestOf(t.m.Account, k)]; id != 0 {
				o.who, o.sub = k, id
				break
			}
		}
		// The till knew the contact: the entry is that contact's, whatever address
		// the receipt went to.
		if o.contact == 0 || o.contact == o.sub {
			continue
		}
		sub, seen := contacts[o.contact]
		if !seen {
			if err := crowded(t.rule, t.Now()); err != nil {
				return err
			}
			sub, err = t.rule.Subscriber(ctx, rule.ByID(o.contact))
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return err
			}
			contacts[o.contact] = sub
		}
		mail, _ := customer.NormaliseEmail(sub.Email)
		switch {
		case mail != "":
			o.who, o.sub = customer.Key{Email: mail}, sub.ID
		case sub.Phone != "":
			o.who, o.sub = customer.Key{Phone: sub.Phone}, sub.ID
		case o.sub == 0 && !t.m.Create && !t.m.Resend:
			o.outcome, o.reason = skipped, NotInRule
		}
	}
	return nil
}

// next returns the orders of the next call: one for each customer, the oldest
// that is left.
func (t *task) next() (call []*old) {
	seen := map[customer.Key]bool{}
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" || seen[o.who] {
			continue
		}
		seen[o.who] = true
		if call = append(call, o); len(call) == maxCall {
			break
		}
	}
	return call
}

// each runs do for orders, some at a time, and returns the first error.
func each(orders []*old, do func(o *old) error) error {
	errs := make([]error, len(orders))
	slots := make(chan struct{}, claimsAtOnce)
	var wg sync.WaitGroup
	for i, o := range orders {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(o)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// call writes one order of each of many customers, in one request.
func (t *task) call(ctx context.Context, orders []*old) error {
	if err := crowded(t.rule, t.Now()); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < lastCall {
		return &fault.Error{Kind: fault.Busy, Message: "goes on at once", RetryAt: t.Now()}
	}
	mine, err := t.claim(ctx, orders)
	if err != nil {
		return errors.Join(t.free(ctx, mine, "", false), err)
	}
	refused := []*old{}
	for len(mine) > 0 {
		list := make([]rule.Upsert, len(mine))
		for i, o := range mine {
			list[i] = rule.Upsert{Email: o.who.Email, Phone: o.who.Phone, Fields: order.Entry(o.Order)}
		}
		_, err := t.rule.AppendMany(ctx, list, []string{customer.Tag})
		if err == nil {
			if err := t.sent(ctx, mine); err != nil {
				return err
			}
			break
		}
		e, ofRule := errors.AsType[*rule.Error](err)
		if k := fault.KindOf(err); !ofRule || k != fault.Invalid && k != fault.Conflict && k != fault.NotFound && k != fault.TooLarge {
			uncertain := rule.Uncertain(err)
			if ferr := t.free(ctx, mine, fault.As(err).Kind.String(), uncertain); ferr != nil {
				return errors.Join(ferr, err)
			}
			if uncertain {
				return &fault.Error{Kind: fault.Busy, Message: "waits until Rule has worked through a call whose answer was lost", RetryAt: t.Now().Add(settle), Err: err}
			}
			return err
		}
		// Nothing was written. Those that Rule names go one by one, the others
		// together; all of them do if it names none.
		bad := e.Entries()
		if len(bad) == 0 || bad[len(bad)-1] >= len(mine) {
			refused, mine = append(refused, mine...), nil
			break
		}
		var rest []*old
		for i, o := range mine {
			if slices.Contains(bad, i) {
				refused = append(refused, o)
			} else {
				rest = append(rest, o)
			}
		}
		mine = rest
	}
	if err := t.free(ctx, refused, "refused in a call with others", false); err != nil {
		return err
	}
	for _, o := range refused {
		if err := t.single(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// claim takes orders in the ledger, and returns those that are to be written.
func (t *task) claim(ctx context.Context, orders []*old) (mine []*old, err error) {
	var mu sync.Mutex
	err = each(orders, func(o *old) error {
		k := order.Key{Account: t.account.ID, Order: o.ID}
		c, err := t.Ledger.Claim(ctx, k, t.attempt, t.Now(), lease)
		if err != nil {
			return fmt.Errorf("claim order: %w", err)
		}
		o.claim = c
		switch {
		case c.Mine:
			mu.Lock()
			mine = append(mine, o)
			mu.Unlock()
		case c.State == order.Working:
			return &fault.Error{Kind: fault.Busy, Message: "waits for an order that is just being delivered", RetryAt: c.Lease.Add(time.Second)}
		default:
			t.final(o, c.Record)
		}
		return nil
	})
	if err != nil {
		return mine, err
	}
	slices.SortFunc(mine, func(a, b *old) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	kept := mine[:0:0]
	for i, o := range mine {
		if o.claim.Uncertain {
			there, err := t.there(ctx, o)
			if err != nil {
				return append(kept, mine[i:]...), err
			}
			if there {
				if err := t.sent(ctx, []*old{o}); err != nil {
					return append(kept, mine[i+1:]...), err
				}
				continue
			}
		}
		kept = append(kept, o)
	}
	err = each(kept, func(o *old) error {
		if o.sub == 0 {
			return nil
		}
		if err := t.Ledger.Note(ctx, o.claim.Key, t.attempt, o.sub, t.Now()); err != nil {
			return fmt.Errorf("note whose entry it is: %w", err)
		}
		return nil
	})
	return kept, err
}

// final notes the outcome of an order that somebody has settled.
func (t *task) final(o *old, rec order.Record) {
	switch {
	case rec.State == order.Sent && rec.Reason == by(t.m.Job):
		o.outcome = written
	case rec.State == order.Sent:
		o.outcome = already
	default:
		o.outcome, o.reason = skipped, rec.Reason
	}
}

// there asks Rule whether it has an order whose earlier write ended without an
// answer. Rule has worked through that call by now: the part waited for settle,
// or, where the process died, for the queue's visibility timeout, which is
// longer.
func (t *task) there(ctx context.Context, o *old) (bool, error) {
	sub := o.sub
	if sub == 0 {
		sub = o.claim.Subscriber
	}
	if sub == 0 {
		found, err := t.rule.Subscriber(ctx, o.who.Identifier())
		if err != nil && fault.KindOf(err) == fault.NotFound {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sub = found.ID
	}
	o.sub = sub
	_, found, err := t.rule.FindEntry(ctx, sub, order.Group, "orderid", fmt.Sprint(o.ID))
	return found, err
}

// sent notes that orders are in Rule.
func (t *task) sent(ctx context.Context, orders []*old) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return each(orders, func(o *old) error {
		if err := t.Ledger.Finish(ctx, o.claim.Key, t.attempt, order.Sent, by(t.m.Job), false, t.Now()); err != nil {
			return fmt.Errorf("note that order is sent: %w", err)
		}
		o.outcome = written
		return nil
	})
}

// free lets go of orders that were claimed.
func (t *task) free(ctx context.Context, orders []*old, why string, uncertain bool) error {
	if why == "" {
		why = "waits for the others of its call"
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return each(orders, func(o *old) error {
		if err := t.Ledger.Finish(ctx, o.claim.Key, t.attempt, order.Waiting, why, uncertain, t.Now()); err != nil {
			return fmt.Errorf("free order: %w", err)
		}
		return nil
	})
}

// single brings one order into Rule by itself.
func (t *task) single(ctx context.Context, o *old) error {
	if err := crowded(t.rule, t.Now()); err != nil {
		return err
	}
	k := order.Key{Account: t.account.ID, Order: o.ID}
	if t.m.Resend {
		if done, err := t.resend(ctx, o, k); done || err != nil {
			return err
		}
	}
	mode := order.Mode{Count: t.m.Resend, By: by(t.m.Job)}
	err := t.Deliverer.Quietly(ctx, t.account, t.rule, o.Order, t.attempt+"-"+strings.TrimSpace(fmt.Sprint(o.ID)), mode)
	if err != nil && retry(err) {
		return err
	}
	rec, _, gerr := t.Ledger.Get(ctx, k)
	if gerr != nil {
		return fmt.Errorf("read ledger: %w", gerr)
	}
	if err != nil || rec.State == order.Failed {
		o.outcome, o.reason = failed, rec.Reason
		return nil
	}
	t.final(o, rec)
	return nil
}

// resend settles an order that the ledger has as sent and that Rule has; one
// that Rule does not have is opened again.
func (t *task) resend(ctx context.Context, o *old, k order.Key) (done bool, err error) {
	rec, known, err := t.Ledger.Get(ctx, k)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	if !known || rec.State != order.Sent && rec.State != order.Skipped {
		return false, nil
	}
	if rec.State == order.Sent && rec.Subscriber != 0 {
		_, found, err := t.rule.FindEntry(ctx, rec.Subscriber, order.Group, "orderid", fmt.Sprint(o.ID))
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return false, err
		}
		if found {
			t.final(o, rec)
			return true, nil
		}
	}
	if err := t.Ledger.Reopen(ctx, k, t.Now()); err != nil {
		return false, fmt.Errorf("open order again: %w", err)
	}
	return false, nil
}

// retry reports whether another try may help.
func retry(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		return false
	}
	return true
}
