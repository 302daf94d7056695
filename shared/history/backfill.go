package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
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
	// share is how much of the account's budget with Rule may be used up when
	// history goes on, in percent: the rest is left to the tills.
	share = 50
	// pause is how long history leaves a crowded account alone.
	pause = 2 * time.Minute
	// lastPage is how much of a delivery's time a page needs: without it, the job
	// goes on in the next delivery.
	lastPage = 20 * time.Second
	// listings is how many pages of Rule's subscribers are noted at once.
	listings = 50
	// maxPart is how many orders one message holds, and maxPartSize how many
	// bytes they are before compression, to a tenth or so.
	maxPart     = 500
	maxPartSize = 4 << 20
	// reopened is how many orders are looked at again at a time.
	reopened = sitoo.MaxIDs
	// rounds bounds how often a job is read again because somebody paused or
	// resumed it meanwhile.
	rounds = 20
)

// The reasons why an order is not brought over. Reports count by them.
const (
	NotRegister = "not sold at a register"
	NoCustomer  = "no customer"
	NotInRule   = "customer not in Rule"
	StillOpen   = "still open"
	Unreadable  = "cannot be read"
	Missing     = "not in Sitoo"
	Outside     = "outside the period"
)

// Directory is what a job needs to act for an account.
type Directory interface {
	// Session returns the account with a session with Rule; fault.NotFound if
	// there is no such account.
	Session(ctx context.Context, id string) (account.Account, *rule.Session, error)
	// Shop returns the account's shop in Sitoo; fault.NotFound if the merchant
	// has entered no credentials.
	Shop(ctx context.Context, a account.Account) (*sitoo.Shop, error)
	// Accounts returns the ids of the accounts that have a Sitoo account.
	Accounts(ctx context.Context, sitooAccount string) ([]string, error)
}

// Backfill reads orders from Sitoo. It is safe for concurrent use; the queue
// sees to it that an account has one delivery at a time, so that Sitoo never
// gets a second request beside the first.
type Backfill struct {
	Jobs      Jobs
	People    People
	Directory Directory
	Steps     worker.Sender // the queue that Work's messages come from
	Parts     worker.Sender // the history worker's
	Phones    customer.Phones
	Log       *slog.Logger
	Now       func() time.Time
	// NewID returns an id that no other part has.
	NewID func() string
}

// Work begins a job, or takes one a few pages further; request is the
// delivery's id. It may be repeated. It returns what the message was about, as
// far as it says.
func (b *Backfill) Work(ctx context.Context, body, request string) (step Step, err error) {
	start, at, err := DecodeBackfill(body)
	if err != nil {
		return Step{}, err
	}
	if start != nil {
		return b.start(ctx, *start)
	}
	return *at, b.step(ctx, *at, request)
}

// start creates the job that a message asks for, or joins it.
func (b *Backfill) start(ctx context.Context, s Start) (Step, error) {
	id := s.Account
	if id == "" {
		ids, err := b.Directory.Accounts(ctx, s.SitooAccount)
		if err != nil {
			return Step{}, err
		}
		switch len(ids) {
		case 0:
			return Step{}, fault.New(fault.NotFound, "No shop has entered credentials for this Sitoo account. The merchant does that once, with PUT /sitoo/credentials.")
		case 1:
			id = ids[0]
		default:
			return Step{}, fault.Bad("sitooaccount", "has %d sites with an account each; account is expected: %v", len(ids), ids)
		}
	}
	a, _, err := b.Directory.Session(ctx, id)
	if err != nil {
		return Step{Account: id}, err
	}
	shop, err := b.Directory.Shop(ctx, a)
	if err != nil {
		return Step{Account: a.ID}, err
	}
	_ = shop // only that there is one: the first step asks it
	jobID := JobID(a.ID, s.Spec)
	for range rounds {
		j, err := b.Jobs.Get(ctx, a.ID, jobID)
		if err != nil && !errors.Is(err, ErrNoJob) {
			return Step{Account: a.ID, Job: jobID}, fmt.Errorf("read job: %w", err)
		}
		if err == nil && !j.State.Final() {
			b.Log.InfoContext(ctx, "the message joins a job that is under way", "account", a.ID, "job", jobID)
			return Step{a.ID, jobID, j.Run, j.Step}, b.kick(ctx, j)
		}
		next := Job{
			Account: a.ID, ID: jobID, Rev: j.Rev, Run: j.Run + 1, Spec: s.Spec, State: Waiting, Phase: Customers,
			Created: b.Now(), Updated: b.Now(), Skipped: map[string]int{}, Months: map[string]Month{},
		}
		if s.Create || len(s.Orders) > 0 {
			next.Phase = Reading
		}
		switch err := b.Jobs.Put(ctx, next); {
		case errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return Step{Account: a.ID, Job: jobID}, fmt.Errorf("write job: %w", err)
		}
		return Step{a.ID, jobID, next.Run, 0}, b.kick(ctx, next)
	}
	return Step{Account: a.ID, Job: jobID}, &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job kept changing")}
}

// kick queues the step that a job is at. It may be repeated: a step that the
// job has left behind does nothing.
func (b *Backfill) kick(ctx context.Context, j Job) error { return kick(ctx, b.Steps, j, "") }

// kick queues a job's step; again tells one try from another, which the queue
// would otherwise take for the same.
func kick(ctx context.Context, steps worker.Sender, j Job, again string) error {
	s := Step{j.Account, j.ID, j.Run, j.Step}
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode step: %w", err)
	}
	dedup := s.Dedup()
	if again != "" {
		dedup += "-" + again
	}
	if err := steps.Send(ctx, worker.Message{Body: string(body), Group: j.Account, Dedup: dedup}); err != nil {
		return fmt.Errorf("queue step: %w", err)
	}
	return nil
}

// step takes a job further until the delivery's time is nearly over.
func (b *Backfill) step(ctx context.Context, s Step, request string) error {
	j, err := b.Jobs.Get(ctx, s.Account, s.Job)
	if errors.Is(err, ErrNoJob) {
		return fault.Wrap(fault.NotFound, err, "There is no such job.")
	}
	if err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	if j.Run != s.Run || j.Step != s.Step {
		return nil // left behind
	}
	r := &run{Backfill: b, job: j, request: request}
	if err := r.open(ctx); err != nil {
		return r.failed(ctx, err)
	}
	for !r.job.State.Final() && r.job.State != Paused {
		if r.job.Phase == Writing {
			return b.finish(ctx, r.job)
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < lastPage {
			break
		}
		if err := r.page(ctx); err != nil {
			return r.failed(ctx, err)
		}
	}
	if r.job.State.Final() || r.job.State == Paused {
		return nil
	}
	return b.kick(ctx, r.job)
}

// run is one delivery's work on a job.
type run struct {
	*Backfill
	job     Job
	account account.Account
	rule    *rule.Session
	shop    *sitoo.Shop
	request string
}

func (r *run) open(ctx context.Context) (err error) {
	if r.account, r.rule, err = r.Directory.Session(ctx, r.job.Account); err != nil {
		return err
	}
	if r.shop, err = r.Directory.Shop(ctx, r.account); err != nil {
		return err
	}
	if r.job.State != Waiting {
		return nil
	}
	last := int64(0)
	if len(r.job.Orders) == 0 {
		if last, err = r.shop.LastOrder(ctx); err != nil {
			return err
		}
	}
	return r.commit(ctx, func(j *Job) {
		j.Last = last
		if j.State == Waiting {
			j.State = Running
		}
	})
}

// commit stores a change of the job, which is a step further then. Whoever
// pauses or cancels it meanwhile changes only its state, which stays.
func (r *run) commit(ctx context.Context, change func(j *Job)) error {
	for range rounds {
		j := r.job
		j.Skipped, j.Months = maps.Clone(j.Skipped), maps.Clone(j.Months)
		j.Open, j.Parts = slices.Clone(j.Open), slices.Clone(j.Parts)
		change(&j)
		j.Step++
		j.Reason, j.Until, j.Updated = "", time.Time{}, r.Now()
		err := r.Jobs.Put(ctx, j)
		if err == nil {
			j.Rev++
			r.job = j
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return fmt.Errorf("write job: %w", err)
		}
		now, err := r.Jobs.Get(ctx, r.job.Account, r.job.ID)
		if err != nil {
			return fmt.Errorf("read job: %w", err)
		}
		if now.Run != r.job.Run || now.Step != r.job.Step {
			return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job went on without this delivery")}
		}
		r.job = now
		if now.State == Cancelled {
			return nil // what was queued is dropped
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job kept changing")}
}

// failed notes why a job waits, and returns what becomes of the message.
func (r *run) failed(ctx context.Context, err error) error {
	note := func(state State, reason string, until time.Time) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if nerr := change(ctx, r.Jobs, r.job.Account, r.job.ID, r.job.Run, func(j *Job) bool {
			if j.State.Final() {
				return false
			}
			if state != "" {
				j.State = state
			}
			j.Reason, j.Until = reason, until
			return true
		}, r.Now); nerr != nil {
			r.Log.WarnContext(ctx, "could not note why a job waits", "account", r.job.Account, "job", r.job.ID, "error", nerr)
		}
	}
	f := fault.As(err)
	_, ofSitoo := errors.AsType[*sitoo.RESTError](err)
	switch {
	case f.Kind == fault.Unauthorized && ofSitoo:
		note(Paused, "Sitoo refuses the credentials. Enter them again, then resume.", time.Time{})
		return nil
	case f.Kind == fault.NotFound && f.Message != "" && !ofSitoo: // the account, or its credentials, are gone
		note(Failed, f.Message, time.Time{})
		return nil
	case f.Kind == fault.Busy:
		note("", busy(err), f.RetryAt)
		return err
	case f.Kind == fault.Unauthorized:
		note("", "Rule refuses the shop's API key.", time.Time{})
		return err
	}
	note("", "Sitoo or Rule does not answer; it is tried again.", time.Time{})
	if k := f.Kind; k == fault.Invalid || k == fault.Conflict || k == fault.TooLarge || k == fault.NotFound {
		// What one request is refused for is not the message's fault.
		return fault.Wrap(fault.Unavailable, err, "Sitoo or Rule refuses a request.")
	}
	return err
}

func busy(err error) string {
	if _, ok := errors.AsType[*sitoo.RESTError](err); ok {
		return "waits for Sitoo, which is busy"
	}
	f := fault.As(err)
	if f.Message != "" {
		return f.Message
	}
	return "waits for Rule, which blocks the account"
}

// change changes a job that is at a run, whoever else changes it. No change is
// stored if do returns false.
func change(ctx context.Context, jobs Jobs, account, id string, run int, do func(*Job) bool, now func() time.Time) error {
	for range rounds {
		j, err := jobs.Get(ctx, account, id)
		if err != nil {
			return err
		}
		if run != 0 && j.Run != run || !do(&j) {
			return nil
		}
		j.Updated = now()
		if err := jobs.Put(ctx, j); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job kept changing")}
}

// crowded is the error of a job that leaves Rule to the tills for a while, nil
// if it need not.
func crowded(r *rule.Session, now time.Time) error {
	if until := r.BlockedUntil(); now.Before(until) {
		return &fault.Error{Kind: fault.Busy, Message: "waits for Rule, which blocks the account", RetryAt: until}
	}
	if r.Crowded(share) {
		return &fault.Error{Kind: fault.Busy, Message: "waits for Rule's budget, half of which is left to the tills", RetryAt: now.Add(pause)}
	}
	return nil
}

// page does the next piece of work.
func (r *run) page(ctx context.Context) error {
	switch r.job.Phase {
	case Customers:
		return r.list(ctx)
	case Reopening:
		return r.reopen(ctx)
	}
	if len(r.job.Orders) > 0 {
		return r.chosen(ctx)
	}
	return r.read(ctx)
}

// list notes who is in Rule.
func (r *run) list(ctx context.Context) error {
	next, ended := r.job.Listed, false
	people := map[Digest]int64{}
	n := 0
	var stop error
	for range listings {
		if stop = crowded(r.rule, r.Now()); stop != nil {
			break
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < lastPage {
			break
		}
		list, more, err := r.rule.List(ctx, next)
		if err != nil {
			stop = err
			break
		}
		for _, s := range list {
			n++
			if mail, ok := customer.NormaliseEmail(s.Email); ok {
				people[DigestOf(r.job.Account, customer.Key{Email: mail})] = s.ID
			}
			if s.Phone != "" {
				people[DigestOf(r.job.Account, customer.Key{Phone: s.Phone})] = s.ID
			}
		}
		next = more
		if ended = more == ""; ended {
			break
		}
	}
	if n > 0 || ended {
		if err := r.People.Add(ctx, r.job.Account, r.listName(), people); err != nil {
			return fmt.Errorf("note who is in Rule: %w", err)
		}
		err := r.commit(ctx, func(j *Job) {
			j.Listed = next
			j.People += n
			if ended {
				j.Phase = Reading
			}
		})
		if err != nil {
			return err
		}
	}
	return stop
}

func (r *run) listName() string { return listName(r.job) }

func listName(j Job) string { return j.ID + "-" + strconv.Itoa(j.Run) }

// found is what becomes of orders that were read.
type found struct {
	orders  []json.RawMessage // to be queued
	read    int
	skipped map[string]int
	months  map[string]Month
	open    []int64
}

// read reads a page of orders and queues what is to be written.
func (r *run) read(ctx context.Context) error {
	q := sitoo.Query{After: r.job.Cursor, Upto: r.job.Last, From: r.job.From.AddDate(0, 0, -1), To: r.job.To.AddDate(0, 0, 1), Addresses: r.job.Create}
	var p sitoo.Page
	if r.job.Last > r.job.Cursor {
		var err error
		if p, err = r.shop.Orders(ctx, q); err != nil {
			return err
		}
	}
	if len(p.Orders) == 0 {
		return r.commit(ctx, func(j *Job) {
			j.Cursor, j.Phase = j.Last, Reopening
			if len(j.Open) == 0 {
				j.Phase = Writing
			}
		})
	}
	f, err := r.sort(ctx, p.Orders, true)
	if err != nil {
		return err
	}
	return r.queue(ctx, f, func(j *Job) {
		j.Cursor = p.Last()
		j.Open = append(j.Open, f.open...)
	})
}

// reopen looks again at orders that were open when they were read.
func (r *run) reopen(ctx context.Context) error {
	if len(r.job.Open) == 0 {
		return r.commit(ctx, func(j *Job) { j.Phase = Writing })
	}
	ids := r.job.Open[:min(len(r.job.Open), reopened)]
	p, err := r.shop.Orders(ctx, sitoo.Query{IDs: ids, Addresses: r.job.Create})
	if err != nil {
		return err
	}
	f, err := r.sort(ctx, p.Orders, false)
	if err != nil {
		return err
	}
	return r.queue(ctx, f, func(j *Job) { j.Open = j.Open[len(ids):] })
}

// chosen reads the orders that a message names.
func (r *run) chosen(ctx context.Context) error {
	at, _ := slices.BinarySearch(r.job.Orders, r.job.Cursor+1)
	ids := r.job.Orders[at:min(at+reopened, len(r.job.Orders))]
	if len(ids) == 0 {
		return r.commit(ctx, func(j *Job) { j.Phase = Writing })
	}
	p, err := r.shop.Orders(ctx, sitoo.Query{IDs: ids, Addresses: true})
	if err != nil {
		return err
	}
	f, err := r.sort(ctx, p.Orders, false)
	if err != nil {
		return err
	}
	if n := len(ids) - len(p.Orders); n > 0 {
		f.skipped[Missing] += n
	}
	return r.queue(ctx, f, func(j *Job) { j.Cursor = ids[len(ids)-1] })
}

// queue queues what was found, then commits it: killed in between, the same
// page is read again, and what is queued twice is written once.
func (r *run) queue(ctx context.Context, f found, also func(j *Job)) error {
	var parts []string
	if !r.job.DryRun {
		for rest := f.orders; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && n < maxPart && (n == 0 || size+len(rest[n]) <= maxPartSize) {
				size += len(rest[n])
				n++
			}
			m := PartMessage{
				Account: r.job.Account, Job: r.job.ID, Run: r.job.Run, Part: r.NewID(), Request: r.request,
				Create: r.job.Create, Resend: len(r.job.Orders) > 0,
			}
			if err := m.Pack(rest[:n]); err != nil {
				return err
			}
			body, err := json.Marshal(m)
			if err != nil {
				return fmt.Errorf("encode part: %w", err)
			}
			if err := r.Parts.Send(ctx, worker.Message{Body: string(body), Group: r.job.Account, Dedup: m.Part}); err != nil {
				return fmt.Errorf("queue part: %w", err)
			}
			parts = append(parts, m.Part)
			rest = rest[n:]
		}
	}
	return r.commit(ctx, func(j *Job) {
		j.Read += f.read
		j.Matched += len(f.orders)
		for why, n := range f.skipped {
			j.Skipped[why] += n
		}
		for month, m := range f.months {
			sum := j.Months[month]
			sum.Sitoo += m.Sitoo
			sum.Skipped += m.Skipped
			j.Months[month] = sum
		}
		j.Parts = append(j.Parts, parts...)
		also(j)
	})
}

// sort tells what becomes of each order. again says that open ones are looked
// at once more later.
func (r *run) sort(ctx context.Context, listed []sitoo.Listed, again bool) (found, error) {
	f := found{skipped: map[string]int{}, months: map[string]Month{}}
	type candidate struct {
		raw   json.RawMessage
		month string
		keys  []Digest
	}
	var wait []candidate
	var ask []Digest
	count := func(month, why string) {
		m := f.months[month]
		m.Sitoo++
		if why != "" {
			m.Skipped++
			f.skipped[why]++
		}
		f.months[month] = m
	}
	for _, l := range listed {
		f.read++
		if sitoo.Check(l.Body) != nil {
			count("unknown", Unreadable)
			continue
		}
		o, err := sitoo.DecodeOrder(l.Body)
		if err != nil {
			r.Log.WarnContext(ctx, "an order of Sitoo's cannot be read", "account", r.job.Account, "order", l.ID, "error", fault.As(err).Member)
			count("unknown", Unreadable)
			continue
		}
		month := o.Date.In(rule.Stockholm).Format("2006-01")
		if len(r.job.Orders) == 0 && (o.Date.Before(r.job.From) || !o.Date.Before(r.job.To)) {
			f.skipped[Outside]++
			continue
		}
		if o.State == sitoo.StateOpen && again {
			f.open = append(f.open, o.ID)
			f.read-- // it is counted when it is looked at again
			continue
		}
		if o.State == sitoo.StateOpen {
			count(month, StillOpen)
			continue
		}
		if why, ok := order.Completed(o); !ok {
			count(month, why)
			continue
		}
		if l.Register == "" && len(r.job.Orders) == 0 {
			count(month, NotRegister)
			continue
		}
		p, ok := order.PersonOf(o)
		if !ok {
			count(month, NoCustomer)
			continue
		}
		raw, err := sitoo.WithoutPersonalID(l.Body)
		if err != nil {
			count(month, Unreadable)
			continue
		}
		c := candidate{raw: raw, month: month}
		if !r.job.Create && len(r.job.Orders) == 0 && p.ContactID == 0 {
			for _, k := range keysOf(p, r.Phones) {
				c.keys = append(c.keys, DigestOf(r.job.Account, k))
			}
			ask = append(ask, c.keys...)
			if len(c.keys) == 0 {
				count(month, NoCustomer)
				continue
			}
		}
		wait = append(wait, c)
	}
	have := map[Digest]int64{}
	if len(ask) > 0 {
		var err error
		if have, err = r.People.Find(ctx, r.job.Account, r.listName(), ask); err != nil {
			return found{}, fmt.Errorf("look up customers: %w", err)
		}
	}
	for _, c := range wait {
		if c.keys != nil && !slices.ContainsFunc(c.keys, func(d Digest) bool { return have[d] != 0 }) {
			count(c.month, NotInRule)
			continue
		}
		count(c.month, "")
		f.orders = append(f.orders, c.raw)
	}
	return f, nil
}

// keysOf returns by what Rule may know an order's customer, best first.
func keysOf(p order.Person, phones customer.Phones) (keys []customer.Key) {
	if p.Email != "" {
		keys = append(keys, customer.Key{Email: p.Email})
	}
	if number, ok := phones(p.Phone); ok && p.Phone != "" {
		keys = append(keys, customer.Key{Phone: number})
	}
	return keys
}

// finish ends a job that has nothing left to read, once every part is written.
func (b *Backfill) finish(ctx context.Context, j Job) error {
	return finish(ctx, b.Jobs, j.Account, j.ID, j.Run, b.Now)
}

// finish ends a job if it is complete. Both workers ask after their own last
// write, so that whoever comes last ends it.
func finish(ctx context.Context, jobs Jobs, account, id string, run int, now func() time.Time) error {
	var failed error
	err := change(ctx, jobs, account, id, run, func(j *Job) bool {
		if j.State.Final() || j.Phase != Writing {
			return false
		}
		var parts []Part
		if parts, failed = jobs.Parts(ctx, account, id, run); failed != nil {
			return false
		}
		finished := map[string]bool{}
		for _, p := range parts {
			finished[p.ID] = p.Finished
		}
		if slices.ContainsFunc(j.Parts, func(part string) bool { return !finished[part] }) {
			return false
		}
		j.State, j.Reason, j.Until, j.Ended = Done, "", time.Time{}, now()
		return true
	}, now)
	return errors.Join(err, failed)
}

// GiveUp notes that a job's message is put aside, and why. It may be repeated.
func (b *Backfill) GiveUp(ctx context.Context, body string, cause error) error {
	_, s, err := DecodeBackfill(body)
	if err != nil || s == nil {
		return nil // no job came of it
	}
	err = change(ctx, b.Jobs, s.Account, s.Job, s.Run, func(j *Job) bool {
		if j.State.Final() || j.Step != s.Step {
			return false
		}
		j.State, j.Reason, j.Until, j.Ended = Failed, "given up: "+fault.As(cause).Kind.String(), time.Time{}, b.Now()
		return true
	}, b.Now)
	if errors.Is(err, ErrNoJob) {
		return nil
	}
	return err
}
