package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

const (
	// settle is how long Rule is given to work through a call whose answer was
	// lost.
	settle = order.Settle
	// lease is how long a call's orders are held: as long as a delivery lasts and
	// Rule may need to settle. Until then nobody, not a live delivery either, is
	// to look for an entry that may still be on its way.
	lease = settle + 6*time.Minute
	// atOnce is how many ledger items are written at a time.
	atOnce = 16
	// lastCall is how much of a delivery's time a call to Rule needs, lastOrder
	// how much an order that goes by itself does.
	lastCall  = 30 * time.Second
	lastOrder = order.Lease - 10*time.Second
	// maxCall is how many orders go to Rule in one call.
	maxCall = 1000
	// pushAfter is how long a job may do nothing before a part that waits for it
	// gives it a push.
	pushAfter = 10 * time.Minute
	// lag is the default of Writer.Lag.
	lag = 3 * time.Second
	// fewErrors is how many errors in 10 minutes say nothing of their share: at
	// the beginning one refused call would be all of it.
	fewErrors = 12
	// fieldRounds is how often a call is repeated less the fields that Rule
	// refuses, before it is halved.
	fieldRounds = 4
	// entryPage is how many entries of a customer are read at a time, and
	// entryPages how many times before it is cheaper to ask for one entry.
	entryPage  = 50
	entryPages = 4
	// liveFor is how long an order that came from the till is left to the order
	// worker, which keeps a message for 48 hours.
	liveFor = 72 * time.Hour
)

// OnItsWay is the reason why an order is not brought over that the till has sent
// and the order worker has not delivered yet: written quietly, it would cost the
// customer the receipt.
const OnItsWay = "on its way from the till"

// Writer brings the queued orders of jobs into Rule, many in one call. It is
// safe for concurrent use.
//
// Before a call every order of it is held in the ledger, with whose it is. If
// the call's outcome is not known, or the process dies, they stay held until
// Rule has settled; whoever is next, history or till, asks Rule first.
type Writer struct {
	Jobs      Jobs
	People    People
	Ledger    order.Ledger
	Deliverer *order.Deliverer // for orders that go one by one
	Directory Directory
	Steps     worker.Sender // the backfill worker's queue
	Phones    customer.Phones
	Log       *slog.Logger
	Now       func() time.Time
	// NewID tells one message of its own from another.
	NewID func() string
	// AtOnce is how many ledger items are written at a time, 0 for 16.
	AtOnce int
	// Lag is how long after its answer Rule has carried out a large call, 0 for 3 s
	// (assumed): until then no small one is sent, which would overtake it.
	Lag time.Duration

	large sync.Map // account id -> time.Time: when this process's last large call ended
}

const (
	// byPrefix begins what the ledger says of an order that history has in hand,
	// and attemptPrefix the ids of its attempts.
	byPrefix      = order.QuietPrefix
	attemptPrefix = "history-"
)

// by is what the ledger says of an order that a job has written.
func by(job string) string { return byPrefix + job }

// Work writes a part's orders, each once whatever happens to this delivery;
// attempt is unique to it. It may be repeated. fault.Busy says when it goes on.
func (w *Writer) Work(ctx context.Context, body, attempt string) (m PartMessage, r *rule.Session, err error) {
	m, raw, err := DecodePart(body)
	if err != nil {
		return m, nil, err
	}
	r, err = w.work(ctx, m, raw, attempt)
	if fault.KindOf(err) == fault.Unavailable && fault.SinceOf(err).IsZero() { // its first failure as far as is known
		err = fault.Since(err, w.Now())
	}
	return m, r, err
}

func (w *Writer) work(ctx context.Context, m PartMessage, raw []json.RawMessage, attempt string) (r *rule.Session, err error) {
	j, err := w.Jobs.Get(ctx, m.Account, m.Job)
	switch {
	case errors.Is(err, ErrNoJob):
		return nil, nil
	case err == nil && (j.Run != m.Run || j.State == Cancelled): // nobody waits for it any more
		return nil, w.leave(ctx, m, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read job: %w", err)
	}
	p, err := w.Jobs.Part(ctx, m.Account, m.Job, m.Run, m.Part)
	if err != nil {
		return nil, fmt.Errorf("read part: %w", err)
	}
	if p.Finished {
		return nil, w.end(ctx, m)
	}
	// since notes when a part began to fail, for errors before its orders' turn.
	since := func(err error) error {
		if k := fault.KindOf(err); k == fault.Busy || k == fault.NotFound {
			return err
		}
		p.Since, p.Reason, p.Until, p.Updated = cmp.Or(p.Since, w.Now()), waiting(err, "history-worker"), time.Time{}, w.Now()
		w.save(ctx, m, p)
		return fault.Since(err, p.Since)
	}
	a, r, err := w.Directory.Session(ctx, m.Account)
	if err != nil {
		return nil, since(err)
	}
	began := cmp.Or(p.Began, w.Now())
	if p.Reason != "" { // it goes on
		p.Reason, p.Until, p.Updated = "", time.Time{}, w.Now()
		w.save(ctx, m, p)
	}
	seals, err := NewSeals(m.Account, r)
	if err != nil {
		return nil, since(err)
	}
	if !m.Resend && !j.listed(seals, w.Now()) {
		return r, w.relist(ctx, j, p)
	}
	t := &task{Writer: w, m: m, job: j, account: a, rule: r, seals: seals, attempt: attemptPrefix + attempt, most: p.Most, doubts: p.Doubts, part: p}
	t.part.ID = m.Part
	t.read(raw)
	if err := t.write(ctx); err != nil {
		f := fault.As(err)
		now, since := t.result(began, false), p.Since
		if f.Kind == fault.Busy {
			since = time.Time{}
		} else if since.IsZero() || now.Done > p.Done {
			since = w.Now()
		}
		if now.Done < p.Done { // it has not come as far as an earlier delivery
			now = p
		}
		now.Reason, now.Until, now.Since, now.Most, now.Doubts, now.Meeting, now.Updated = waiting(err, "history-worker"), f.RetryAt, since, t.most, t.doubts, t.part.Meeting, w.Now()
		w.save(ctx, m, now)
		if k := f.Kind; k == fault.Invalid || k == fault.Conflict || k == fault.TooLarge || k == fault.NotFound {
			err = fault.Wrap(fault.Unavailable, err, "Rule refuses a call.")
		}
		return r, fault.Since(err, since)
	}
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, t.result(began, true)); err != nil {
		return r, fmt.Errorf("save part: %w", err)
	}
	return r, w.end(ctx, m)
}

// relist has the job list anew who is in Rule: a part that was on its way for
// long must not make somebody again who was deleted there since. It returns why
// the part waits, or that it cannot go on.
func (w *Writer) relist(ctx context.Context, j Job, p Part) error {
	if j.State.Final() {
		return fault.New(fault.Conflict, "Who is in Rule was listed too long ago, and the backfill is %s; its message posted again writes these orders.", j.State)
	}
	why := "waits until it is listed anew who is in Rule"
	if j.State == Paused {
		why = "waits until the backfill is resumed: who is in Rule must be listed anew"
	}
	push := false
	err := change(ctx, w.Jobs, j.Account, j.ID, j.Run, func(now *Job) bool {
		// One that reads sees to it by itself; unless nothing has come of it for a
		// while, as when the process died before it had told.
		ask := now.Phase == Writing && !now.idle()
		push = ask || !now.idle() && w.Now().Sub(now.Updated) > pushAfter
		if ask {
			now.Phase = Customers
		}
		j = *now
		return ask
	}, w.Now)
	if err == nil && push {
		err = kick(ctx, w.Steps, j, w.NewID())
	}
	if err != nil {
		return fmt.Errorf("have it listed who is in Rule: %w", err)
	}
	until := w.Now().Add(pause)
	p.Reason, p.Until, p.Since, p.Updated = why, until, time.Time{}, w.Now()
	w.save(ctx, PartMessage{Account: j.Account, Job: j.ID, Run: j.Run}, p)
	return &fault.Error{Kind: fault.Busy, Message: why, RetryAt: until}
}

func (w *Writer) end(ctx context.Context, m PartMessage) error {
	if err := finish(ctx, w.Jobs, m.Account, m.Job, m.Run, w.Now); err != nil {
		return err
	}
	return forget(ctx, w.Jobs, w.People, m.Account, m.Job, m.Run)
}

func (w *Writer) save(ctx context.Context, m PartMessage, p Part) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, p); err != nil {
		w.Log.WarnContext(ctx, "could not note how far a part has come", "account", m.Account, "job", m.Job, "error", err)
	}
}

// GiveUp notes that a part is put aside: what of it is not in Rule has failed.
// It may be repeated. It is fault.Busy while another delivery is at work on one
// of its orders.
func (w *Writer) GiveUp(ctx context.Context, body string, cause error) error {
	m, raw, err := DecodePart(body)
	if err != nil {
		return nil
	}
	j, err := w.Jobs.Get(ctx, m.Account, m.Job)
	if errors.Is(err, ErrNoJob) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	if err := w.leave(ctx, m, raw); err != nil || j.Run != m.Run { // nobody waits for that any more
		return err
	}
	t := &task{Writer: w, m: m, job: j}
	t.read(raw)
	why := gaveUp(cause)
	var open []*old
	for i := range t.orders {
		if t.orders[i].outcome == "" {
			open = append(open, &t.orders[i])
		}
	}
	if err := t.each(open, func(o *old) error { return t.giveUp(ctx, o, why) }); err != nil {
		return err
	}
	if err := w.Jobs.SavePart(ctx, m.Account, m.Job, m.Run, t.result(time.Time{}, true)); err != nil {
		return fmt.Errorf("save part: %w", err)
	}
	return w.end(ctx, m)
}

// giveUp settles one order of a part that is put aside. The ledger hears of it,
// too: a return of an order that is on its way waits for it.
func (t *task) giveUp(ctx context.Context, o *old, why string) error {
	k := order.Key{Account: t.m.Account, Order: o.ID}
	rec, known, err := t.Ledger.Get(ctx, k)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	switch {
	case t.conflicts(ctx, o, rec):
		return nil
	case !known || rec.State == order.Failed:
	case rec.State == order.Sent || rec.State == order.Skipped:
		t.final(o, rec)
		return nil
	case t.live(rec):
		o.outcome, o.reason = skipped, OnItsWay
		return nil
	default:
		attempt := attemptPrefix + "give-up-" + t.m.Part
		c, err := t.Ledger.Claim(ctx, k, order.StampOf(o.Order), attempt, t.Now(), order.Lease)
		if err != nil {
			return fmt.Errorf("claim order: %w", err)
		}
		switch {
		case c.Mine:
			if err := t.Ledger.Finish(ctx, k, attempt, order.Failed, by(t.m.Job)+": "+why, c.Uncertain, t.Now()); err != nil {
				return fmt.Errorf("note that order is given up: %w", err)
			}
		case c.State == order.Working:
			return held(c.Lease)
		default:
			t.final(o, c.Record)
			return nil
		}
	}
	o.outcome, o.reason = failed, why
	return nil
}

// held is the error of a part that waits for orders which somebody holds.
func held(until time.Time) error {
	return &fault.Error{Kind: fault.Busy, Message: "waits for orders that an earlier call to Rule may still be writing", RetryAt: until.Add(time.Second)}
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
	month   string       // that the backfill counts it in
	who     customer.Key // by what Rule knows the customer, zero if only by id
	contact int64        // Rule's id as the till knew it, 0 if it did not
	sub     int64        // Rule's id of the customer, 0 while unknown
	fields  []rule.Field // of its entry, and latest
	latest  []rule.Field // the day of the customer's latest order
	mine    bool         // held in the ledger by this delivery
	doubt   bool         // an earlier call may have written it
	maybe   bool         // whether it is held is not known
	claim   order.Claim
	outcome outcome
	reason  string
}

func (o *old) settle(as outcome, reason string) { o.outcome, o.reason, o.fields = as, reason, nil }

// task is one delivery's work on a part.
type task struct {
	*Writer
	m       PartMessage
	job     Job
	account account.Account
	rule    *rule.Session
	seals   *Seals
	attempt string
	orders  []old // by ascending id

	part    Part                      // as it was saved
	refused map[string]bool           // the fields that Rule does not take of customers, by group and name
	bare    map[int64]bool            // the orders whose customers it takes without any
	most    int                       // see Part.Most
	doubts  int                       // see Part.Doubts
	entries map[int64]map[string]bool // the orders that a customer has in Rule

	mu    sync.Mutex
	until time.Time      // when all that is held elsewhere is free, zero if nothing is
	held  map[int64]bool // customers who wait for that, by Rule's id
	wait  map[int64]bool // orders of customers without one
	// again is until when a message is queued that writes the day of a customer's
	// latest order once more, by Rule's id.
	again map[int64]time.Time
}

func (t *task) read(raw []json.RawMessage) {
	for _, one := range raw {
		o := old{month: "unknown"}
		var err error
		if o.Order, err = sitoo.DecodeOrder(one); err != nil {
			o.outcome, o.reason = skipped, Unreadable
		} else {
			o.month = o.Date.In(rule.Stockholm).Format("2006-01")
			if o.Date.IsZero() { // as an order that comes from the till without one
				o.Date, o.Undated = t.Now(), true
			}
		}
		t.orders = append(t.orders, o)
	}
	slices.SortStableFunc(t.orders, func(a, b old) int { return cmp.Compare(a.ID, b.ID) })
}

// result sums up what has become of the orders so far.
func (t *task) result(began time.Time, finished bool) Part {
	p := Part{ID: t.m.Part, Finished: finished, Began: began, Updated: t.Now(), Skipped: map[string]int{}, Failed: map[string][]int64{}, Months: map[string]Month{}}
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome == "" {
			continue
		}
		p.Done++
		m := p.Months[o.month]
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
		p.Months[o.month] = m
	}
	return p
}

// write settles every order of the part, or returns why it cannot now.
func (t *task) write(ctx context.Context) error {
	if err := t.identify(ctx); err != nil {
		return err
	}
	// An account's very first entry makes the group, historical from the start;
	// what support asks for by number is looked for in Rule first; and a customer
	// without email and phone cannot be written to in a call. They go one by one.
	for i := range t.orders {
		o := &t.orders[i]
		undeclared := t.account.Schema < order.SchemaVersion
		if o.outcome != "" || !undeclared && !t.m.Resend && !o.who.Zero() && t.most >= 0 {
			continue
		}
		if err := t.single(ctx, o); err != nil {
			return err
		}
		if undeclared {
			a, _, err := t.Directory.Session(ctx, t.m.Account)
			if err != nil {
				return err
			}
			t.account = a
		}
	}
	if err := t.acquaint(ctx); err != nil {
		return err
	}
	for {
		call := t.next()
		if len(call) == 0 {
			break
		}
		if err := t.call(ctx, call); err != nil {
			return err
		}
	}
	if !t.until.IsZero() {
		return held(t.until)
	}
	return nil
}

// room returns why the account is left alone for now, nil if it need not be:
// see crowded. need is how much of the delivery's time the next thing takes.
func (t *task) room(ctx context.Context, need time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < need {
		return &fault.Error{Kind: fault.Busy, Message: "goes on at once", RetryAt: t.Now()}
	}
	err := crowded(t.rule, t.Now())
	if err == nil || t.Now().Before(t.rule.BlockedUntil()) {
		return err
	}
	if u := t.rule.Usage(); u.Used >= 0 && u.Used*100 <= u.Allowed*share && u.Used*u.ErrorsShare < fewErrors*100 {
		return nil
	}
	return err
}

// hold leaves an order, and the later ones of its customer, to the next
// delivery.
func (t *task) hold(o *old, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held, t.wait = map[int64]bool{}, map[int64]bool{}
	}
	t.wait[o.ID] = true
	if o.sub != 0 {
		t.held[o.sub] = true
	}
	if until.After(t.until) {
		t.until = until
	}
}

// waits reports whether an order is left to the next delivery.
func (t *task) waits(o *old) bool { return t.wait[o.ID] || t.held[o.sub] }

// identify finds whose each order is, and by what Rule knows the customer.
func (t *task) identify(ctx context.Context) error {
	var ask []Digest
	var ids []int64
	keys := make([][]customer.Key, len(t.orders))
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" {
			continue
		}
		p, _ := order.PersonOf(o.Order)
		o.contact, keys[i] = p.ContactID, keysOf(p, t.Phones)
		if o.contact == 0 && len(keys[i]) == 0 {
			o.settle(skipped, NoCustomer)
		}
		for _, k := range keys[i] {
			ask = append(ask, t.seals.Digest(k))
		}
		if o.contact != 0 {
			ids = append(ids, o.contact)
		}
	}
	known, contacts := map[Digest]int64{}, map[int64]customer.Key{}
	if !t.m.Resend { // nobody is listed for a few orders
		var err error
		if known, err = t.People.Find(ctx, t.m.Account, listName(t.job, t.job.Lists), ask); err != nil {
			return fmt.Errorf("look up customers: %w", err)
		}
		if contacts, err = t.contacts(ctx, ids); err != nil {
			return err
		}
	}
	asked := map[rule.Identifier]rule.Subscriber{}
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" {
			continue
		}
		for _, k := range keys[i] {
			if id := known[t.seals.Digest(k)]; id != 0 {
				o.who, o.sub = k, id
				break
			}
		}
		if o.sub == 0 && len(keys[i]) > 0 {
			o.who = keys[i][0]
		}
		// The till knew the contact: the entry is that contact's, whatever address
		// the receipt went to. One that Rule does not have was deleted since, or is
		// of another CRM: the order goes by what else it names, and makes nobody.
		if o.contact != 0 && o.contact != o.sub {
			k, listed := contacts[o.contact]
			switch {
			case listed:
				o.sub, o.who = o.contact, k
			case t.m.Resend:
				if err := t.ask(ctx, o, rule.ByID(o.contact), asked); err != nil {
					return err
				}
			}
		}
		// Nobody is created whom the job was not told to create: somebody whom the
		// list does not have any more, perhaps, because of being forgotten in Rule.
		if o.sub == 0 && t.m.Resend && !t.m.Create {
			for _, k := range keys[i] {
				if err := t.ask(ctx, o, k.Identifier(), asked); err != nil {
					return err
				}
				if o.sub != 0 {
					break
				}
			}
		}
		if o.sub == 0 && (!t.m.Create || o.who.Zero() || o.contact != 0) {
			o.settle(skipped, t.job.nobody(!o.who.Zero()))
		}
	}
	return nil
}

// contacts returns those of the ids that are listed, and by what Rule knows
// them: zero if only by id.
func (t *task) contacts(ctx context.Context, ids []int64) (map[int64]customer.Key, error) {
	keys := map[int64]customer.Key{}
	if len(ids) == 0 {
		return keys, nil
	}
	sealed, err := t.People.FindContacts(ctx, t.m.Account, listName(t.job, t.job.Lists), ids)
	if err != nil {
		return nil, fmt.Errorf("look up customers: %w", err)
	}
	for id, b := range sealed {
		k, err := t.seals.Open(id, b)
		if err != nil { // the order goes by the id alone
			t.Log.WarnContext(ctx, "a listed contact cannot be read", "account", t.account.ID, "subscriber", id, "error", err)
		}
		keys[id] = k
	}
	return keys, nil
}

// ask makes an order the subscriber's whom it names, if Rule has that one.
func (t *task) ask(ctx context.Context, o *old, who rule.Identifier, asked map[rule.Identifier]rule.Subscriber) error {
	sub, seen := asked[who]
	if !seen {
		if err := t.room(ctx, lastCall); err != nil {
			return err
		}
		var err error
		if sub, err = t.rule.Subscriber(ctx, who); err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		asked[who] = sub
	}
	if sub.ID != 0 {
		o.sub, o.who = sub.ID, keyOf(sub)
	}
	return nil
}

// next returns the orders of the next call: of each customer in it the oldest
// that is left. As few calls as can be, one for each order of whoever has the
// most; and all of about the same size, filled up with those who have fewer:
// Rule works large calls later than small ones, and an order must not overtake
// an older one of its customer.
func (t *task) next() (call []*old) {
	left, total, most := map[int64]int{}, 0, 0
	var oldest []*old
	once := map[int64]bool{} // one order could be there twice, as two customers'
	for i := range t.orders {
		o := &t.orders[i]
		if o.outcome != "" || t.waits(o) {
			continue
		}
		total++
		if left[o.sub]++; left[o.sub] == 1 && !once[o.ID] {
			oldest, once[o.ID] = append(oldest, o), true
		}
		most = max(most, left[o.sub])
	}
	slices.SortStableFunc(oldest, func(a, b *old) int { return cmp.Compare(left[b.sub], left[a.sub]) })
	for _, o := range oldest {
		if len(call) == maxCall || t.most > 0 && len(call) == t.most || left[o.sub] < most && len(call)*most >= total {
			break
		}
		call = append(call, o)
	}
	return call
}

// inTurn waits, before what Rule carries out at once, until it has carried out
// the account's last large call.
func (t *task) inTurn(ctx context.Context) error {
	last, ok := t.large.Load(t.account.ID)
	if !ok {
		return nil
	}
	wait := time.Until(last.(time.Time).Add(cmp.Or(t.Lag, lag)))
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return &fault.Error{Kind: fault.Busy, Message: "goes on at once", RetryAt: t.Now()}
	}
}

// each runs do for orders, some at a time, and returns the first error.
func (w *Writer) each(orders []*old, do func(o *old) error) error {
	errs := make([]error, len(orders))
	slots := make(chan struct{}, cmp.Or(w.AtOnce, atOnce))
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

// call writes one order of each of many customers, in one request if Rule takes
// them all.
func (t *task) call(ctx context.Context, orders []*old) (err error) {
	if err := t.room(ctx, lastCall); err != nil {
		return err
	}
	if err := t.claim(ctx, orders); err != nil {
		return errors.Join(err, t.free(ctx, orders))
	}
	mine := slices.DeleteFunc(slices.Clone(orders), func(o *old) bool { return !o.mine })
	slices.SortFunc(mine, func(a, b *old) int { return cmp.Compare(a.ID, b.ID) })
	unsettled := time.Time{}
	if len(mine) > rule.BulkLimit { // Rule works it later, and an order from the till may come first
		unsettled = t.Now().Add(lease)
	}
	err = t.each(mine, func(o *old) (err error) {
		o.fields = order.EntryOf(o.Order, t.account.Label, t.account.Settings.Language)
		if o.latest, err = t.Deliverer.Latest(ctx, t.account, o.sub, o.Order, unsettled); err == nil {
			o.fields = append(o.fields, o.latest...)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, t.free(ctx, mine))
	}
	groups := [][]*old{mine}
	for rounds := 0; len(groups) > 0; {
		g := groups[0]
		if len(g) == 0 {
			groups = groups[1:]
			continue
		}
		if err := t.room(ctx, lastCall); err != nil {
			return errors.Join(err, t.free(ctx, mine))
		}
		err := t.append(ctx, g)
		e, ofRule := errors.AsType[*rule.Error](err)
		some, isLeft := errors.AsType[leftOut](err)
		switch {
		case isLeft:
			// Of these it does not say that it has written to them: it is asked.
			in := slices.DeleteFunc(slices.Clone(g), func(o *old) bool { return slices.Contains(some.orders, o) })
			for _, o := range some.orders {
				o.doubt = true
				delete(t.entries, o.sub)
			}
			if err := t.sent(ctx, in); err != nil {
				return errors.Join(err, t.free(ctx, mine))
			}
			for _, o := range some.orders {
				there, err := t.there(ctx, o)
				if err == nil && there {
					err = t.sent(ctx, []*old{o})
				} else if err == nil {
					o.doubt = false
					err = t.byItself(ctx, o)
				}
				if err != nil {
					return errors.Join(err, t.free(ctx, mine))
				}
			}
			groups = groups[1:]
			continue
		case err == nil:
			t.doubts = 0
			if err := t.sent(ctx, g); err != nil {
				return errors.Join(err, t.free(ctx, slices.Concat(groups[1:]...)))
			}
			groups = groups[1:]
			continue
		case rule.Uncertain(err):
			// They stay held: until Rule has settled, the answer to who has an entry
			// may change. If that happens again and again, it may be too much.
			until := time.Time{}
			if t.doubts++; t.doubts > 1 {
				if t.most = len(g) / 2; t.most == 0 {
					t.most = -1
				}
			}
			for _, o := range g {
				o.mine = false
				if o.claim.Lease.After(until) {
					until = o.claim.Lease
				}
			}
			return errors.Join(held(until), err, t.free(ctx, mine))
		case !ofRule || retry(err):
			return errors.Join(err, t.free(ctx, mine))
		}
		// Nothing was written. What Rule names goes without the fields that it
		// refuses, or else alone; if it names nothing, halves tell.
		rest, alone, dropped := t.without(ctx, g, e)
		switch {
		case len(alone) == 0 && !dropped || dropped && rounds >= fieldRounds:
			if rest = g[len(g)/2:]; len(g) > 1 {
				groups = slices.Concat([][]*old{g[:len(g)/2], rest}, groups[1:])
				continue
			}
			alone, rest = g, nil
		case dropped:
			rounds++
		}
		groups[0] = rest
		for _, o := range alone {
			if err := t.byItself(ctx, o); err != nil {
				return errors.Join(err, t.free(ctx, mine))
			}
		}
	}
	return nil
}

// byItself writes an order that is held and was not written in a call.
func (t *task) byItself(ctx context.Context, o *old) error {
	if err := t.free(ctx, []*old{o}); err != nil {
		return err
	}
	return t.single(ctx, o)
}

// leftOut is the error of a call that Rule took and that it does not say to have
// carried out for some orders.
type leftOut struct{ orders []*old }

func (leftOut) Error() string {
	return "Rule does not say that it has carried out a call for everybody"
}

// left tells from the answer to a small call, which comes when it is carried out,
// whom it may not have been carried out for: whoever is not named, where it counts
// fewer than there were. Suppressed ones may be counted apart (assumed).
func left(orders []*old, b rule.Bulk) error {
	if !b.Counted || b.Created+b.Updated >= len(orders) {
		return nil
	}
	in := map[customer.Key]bool{}
	for _, s := range b.Subscribers {
		if mail, ok := customer.NormaliseEmail(s.Email); ok {
			in[customer.Key{Email: mail}] = true
		}
		in[customer.Key{Phone: s.Phone}] = true
	}
	var out leftOut
	for _, o := range orders {
		if !in[o.who] {
			out.orders = append(out.orders, o)
		}
	}
	if out.orders == nil {
		return nil
	}
	return out
}

// append writes the entries of orders, each a customer's.
func (t *task) append(ctx context.Context, orders []*old) error {
	list := make([]rule.Upsert, len(orders))
	for i, o := range orders {
		list[i] = rule.Upsert{Email: o.who.Email, Phone: o.who.Phone, Fields: o.fields}
	}
	if len(list) <= rule.BulkLimit {
		if err := t.inTurn(ctx); err != nil {
			return err
		}
	} else {
		defer func() { t.large.Store(t.account.ID, time.Now()) }()
	}
	out, err := t.rule.AppendMany(ctx, list, []string{customer.Tag})
	if err == nil && len(list) <= rule.BulkLimit {
		err = left(orders, out)
	}
	return err
}

// without takes from orders the fields that a refusal of their call is about.
// Orders that are named and would lose their number, or have no field named, are
// to go alone.
func (t *task) without(ctx context.Context, orders []*old, e *rule.Error) (rest, alone []*old, dropped bool) {
	named := e.Entries()
	if len(named) > 0 && named[len(named)-1] >= len(orders) {
		return orders, nil, false // of another list: it says nothing
	}
	for i, o := range orders {
		if !slices.Contains(named, i) {
			rest = append(rest, o)
			continue
		}
		own := &rule.Error{What: e.What, Status: e.Status, Fields: map[string][]string{}}
		prefix := fmt.Sprintf("subscribers.%d.", i)
		for name, says := range e.Fields {
			if name, ok := strings.CutPrefix(name, prefix); ok {
				own.Fields[name] = says
			}
		}
		keep, less := rule.WithoutRefused(&fault.Error{Kind: fault.Invalid, Err: own}, o.fields)
		if !less || len(keep) == 0 || keep[0].Name != o.fields[0].Name {
			alone = append(alone, o)
			continue
		}
		t.Log.WarnContext(ctx, "Rule refuses a custom field; the order is written without it", "account", t.account.ID, "order", o.ID, "error", own)
		o.fields, dropped = keep, true
		rest = append(rest, o)
	}
	return rest, alone, dropped
}

// claim takes orders in the ledger. Those that are to be written are mine then;
// the others are settled, or held elsewhere. After an error, free lets go of
// what was taken.
func (t *task) claim(ctx context.Context, orders []*old) error {
	err := t.each(orders, func(o *old) error {
		k := order.Key{Account: t.m.Account, Order: o.ID}
		rec, known, err := t.Ledger.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		switch {
		case t.conflicts(ctx, o, rec):
			return nil
		case known && t.live(rec):
			o.settle(skipped, OnItsWay)
			return nil
		}
		c, err := t.Ledger.Claim(ctx, k, order.StampOf(o.Order), t.attempt, t.Now(), lease)
		if err != nil {
			o.maybe = true
			return fmt.Errorf("claim order: %w", err)
		}
		o.claim = c
		switch {
		case t.conflicts(ctx, o, c.Record):
		case c.Mine:
			o.mine, o.doubt = true, c.Uncertain
		case c.State == order.Working:
			t.hold(o, c.Lease)
		default:
			t.final(o, c.Record)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range orders {
		if !o.mine || !o.doubt {
			continue
		}
		there, err := t.there(ctx, o)
		if err != nil {
			return err
		}
		o.doubt = there
		if there {
			if err := t.sent(ctx, []*old{o}); err != nil {
				return err
			}
		}
	}
	return t.each(orders, func(o *old) error {
		if !o.mine {
			return nil
		}
		if err := t.Ledger.Note(ctx, o.claim.Key, t.attempt, o.sub, t.Now()); err != nil {
			return fmt.Errorf("note whose entry it is: %w", err)
		}
		return nil
	})
}

// conflicts reports whether what the ledger has under an order's number is another
// order; the order has failed then. What the ledger cannot be told of it is logged.
func (t *task) conflicts(ctx context.Context, o *old, rec order.Record) bool {
	stamp := order.StampOf(o.Order)
	if !rec.Stamp.Conflicts(stamp) {
		return false
	}
	k := order.Key{Account: t.m.Account, Order: o.ID}
	if err := t.Deliverer.Conflict(ctx, k, stamp, attemptPrefix+"conflict-"+t.m.Part); fault.KindOf(err) != fault.Conflict {
		t.Log.ErrorContext(ctx, "the ledger does not say of an order that its number is another's", "account", t.m.Account, "order", o.ID, "error", err)
	}
	o.settle(failed, order.Conflicting)
	return true
}

// live reports whether an order is the order worker's to deliver.
func (t *task) live(rec order.Record) bool {
	switch rec.State {
	case order.Queued:
	case order.Waiting:
		if strings.HasPrefix(rec.Reason, byPrefix) {
			return false
		}
	case order.Working:
		if strings.HasPrefix(rec.Attempt, attemptPrefix) {
			return false
		}
	default:
		return false
	}
	return t.Now().Sub(rec.Updated) < liveFor
}

// final notes the outcome of an order that is settled in the ledger.
func (t *task) final(o *old, rec order.Record) {
	switch {
	case rec.State == order.Sent && rec.Reason == by(t.m.Job) && !rec.Updated.Before(t.job.Created.Truncate(time.Millisecond)):
		o.settle(written, "")
	case rec.State == order.Sent:
		o.settle(already, "")
	default:
		why := rec.Reason
		if rest, ours := strings.CutPrefix(why, byPrefix); ours { // whichever job's
			_, why, _ = strings.Cut(rest, ": ")
		}
		o.settle(skipped, cmp.Or(why, rec.Reason))
	}
}

// there asks Rule whether it has an order whose earlier write ended without an
// answer. Rule has settled that by now: the order was held until then. All of a
// customer's orders are asked for at once, which unlike a search is no error if
// there is none, and errors use up the shop's share.
func (t *task) there(ctx context.Context, o *old) (bool, error) {
	for _, sub := range slices.Compact([]int64{o.claim.Subscriber, o.sub}) {
		if sub == 0 {
			continue
		}
		if have, ok := t.entries[sub]; ok {
			if have[order.Ref(t.account.Label, number(o))] {
				return true, nil
			}
			continue
		}
		have, more := map[string]bool{}, true
		for page := 1; more && page <= entryPages; page++ {
			if err := t.room(ctx, lastCall); err != nil {
				return false, err
			}
			var list []rule.Entry
			var err error
			if list, more, err = t.rule.Entries(ctx, sub, order.Group, page, entryPage); err != nil {
				return false, err
			}
			for _, e := range list {
				have[order.RefOf(e)] = true
			}
		}
		if have[order.Ref(t.account.Label, number(o))] {
			return true, nil
		}
		if more {
			if _, found, err := order.Find(ctx, t.rule, sub, t.m.Account, o.ID); found || err != nil {
				return found, err
			}
			continue
		}
		if t.entries == nil {
			t.entries = map[int64]map[string]bool{}
		}
		t.entries[sub] = have
	}
	return false, nil
}

func number(o *old) string { return strconv.FormatInt(o.ID, 10) }

// day sees to the day of the latest order of the customer of an order that is in
// Rule. An order of a large call needs nothing: whoever has a newer one knows by
// our table that Rule may not have worked the call yet.
func (t *task) day(ctx context.Context, o *old) error {
	doubted := o.latest == nil
	if doubted {
		o.latest = order.OwnDay(o.Order)
	}
	unsettled, err := t.Deliverer.Overtaken(ctx, t.account, t.rule, o.sub, o.latest, t.Now().Add(-order.Lease))
	if err != nil || doubted { // Rule has settled, for as long it was held
		return err
	}
	t.mu.Lock()
	queued := !unsettled.After(t.again[o.sub])
	t.mu.Unlock()
	if queued {
		return nil
	}
	if err := t.Deliverer.Again(ctx, t.account.ID, o.sub, o.ID, unsettled); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.again == nil {
		t.again = map[int64]time.Time{}
	}
	t.again[o.sub] = unsettled
	return nil
}

// sent notes that orders are in Rule.
func (t *task) sent(ctx context.Context, orders []*old) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return t.each(orders, func(o *old) error {
		if len(orders) > rule.BulkLimit {
			// see day
		} else if err := t.day(ctx, o); err != nil {
			// The customer's next order writes the day once more.
			t.Log.WarnContext(ctx, "the day of a customer's latest order may be an older one", "account", t.account.ID, "order", o.ID, "error", err)
		}
		o.mine = false // if the ledger does not hear of it, it stays held: it may not be freed as if nothing were
		if err := t.Ledger.Finish(ctx, o.claim.Key, t.attempt, order.Sent, by(t.m.Job), false, t.Now()); err != nil {
			return fmt.Errorf("note that order is sent: %w", err)
		}
		o.settle(written, "")
		return nil
	})
}

// free lets go of those orders that are held and were not written.
func (t *task) free(ctx context.Context, orders []*old) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return t.each(orders, func(o *old) error {
		if !o.mine && !o.maybe {
			return nil
		}
		k := order.Key{Account: t.m.Account, Order: o.ID}
		// Of one that may not be held, nothing is known of an earlier call either.
		err := t.Ledger.Finish(ctx, k, t.attempt, order.Waiting, by(t.m.Job)+": not its turn yet", o.doubt || o.maybe, t.Now())
		if err != nil && !o.maybe {
			return fmt.Errorf("free order: %w", err)
		}
		o.mine, o.maybe = false, false
		return nil
	})
}

// single brings one order into Rule by itself.
func (t *task) single(ctx context.Context, o *old) error {
	if t.waits(o) {
		return nil
	}
	if err := t.room(ctx, lastOrder); err != nil {
		return err
	}
	k := order.Key{Account: t.m.Account, Order: o.ID}
	if t.m.Resend {
		if done, err := t.resend(ctx, o, k); done || err != nil {
			return err
		}
	} else {
		rec, known, err := t.Ledger.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		switch {
		case t.conflicts(ctx, o, rec):
			return nil
		case known && t.live(rec):
			o.settle(skipped, OnItsWay)
			return nil
		}
	}
	if err := t.inTurn(ctx); err != nil {
		return err
	}
	// An attempt must be over when its lease is, and this function may run longer.
	brief, cancel := context.WithTimeout(ctx, lastOrder)
	defer cancel()
	mode := order.Mode{Count: t.m.Resend, By: by(t.m.Job), Subscriber: o.sub, Who: o.who}
	err := t.Deliverer.Quietly(brief, t.account, t.rule, o.Order, t.attempt+"-"+number(o), mode)
	if err != nil && retry(err) {
		if _, ofRule := errors.AsType[*rule.Error](err); !ofRule && fault.KindOf(err) == fault.Busy {
			t.hold(o, fault.As(err).RetryAt)
			return nil
		}
		return err
	}
	rec, _, gerr := t.Ledger.Get(ctx, k)
	if gerr != nil {
		return fmt.Errorf("read ledger: %w", gerr)
	}
	if o.outcome != "" || t.conflicts(ctx, o, rec) {
		return nil
	}
	switch rec.State {
	case order.Failed:
		o.settle(failed, rec.Reason)
	case order.Sent, order.Skipped:
		t.final(o, rec)
	default: // the ledger has not heard of the outcome
		return fault.Wrap(fault.Unavailable, errors.Join(err, fmt.Errorf("order is %s in the ledger", rec.State)), "The ledger does not answer.")
	}
	return nil
}

// resend settles an order that the ledger has as sent and that Rule has; one
// that Rule does not have is opened again.
func (t *task) resend(ctx context.Context, o *old, k order.Key) (done bool, err error) {
	// What is sent while Rule is asked is not to be opened again.
	at := t.Now()
	rec, known, err := t.Ledger.Get(ctx, k)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	if t.conflicts(ctx, o, rec) {
		return true, nil
	}
	if !known || rec.State != order.Sent && rec.State != order.Skipped {
		return false, nil
	}
	for _, sub := range slices.Compact([]int64{rec.Subscriber, o.sub}) {
		if sub == 0 || rec.State != order.Sent {
			continue
		}
		_, found, err := order.Find(ctx, t.rule, sub, t.m.Account, o.ID)
		if err != nil {
			return false, err
		}
		if found {
			t.final(o, rec)
			return true, nil
		}
	}
	// One of a large call may not be there yet.
	if due := rec.Updated.Add(settle); rec.State == order.Sent && at.Before(due) {
		t.hold(o, due)
		return true, nil
	}
	if err := t.Ledger.Reopen(ctx, k, at, false); err != nil {
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
