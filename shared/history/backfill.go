package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	// lastPage is how much of a delivery's time is kept: a page that may not end
	// before it is left to the next delivery.
	lastPage = 20 * time.Second
	// slow is after how long a page of Sitoo's that did not come was too much to
	// ask for: Sitoo computes some of an order's members while it lists. fewest
	// is below what a page is never cut.
	slow   = 20 * time.Second
	fewest = 10
	// listLasts is how long a list of who is in Rule is gone by: somebody who was
	// deleted there since must not come back by an old order. Stores keep lists
	// for 14 days, longer than a part may wait.
	listLasts = 24 * time.Hour
	// listTakes is how long a listing may take before it is begun anew.
	listTakes = 24 * time.Hour
	// goodPages is after how many pages that came they are made larger again.
	goodPages = 4
	// aheadMost is how many parts may be queued and not written: reading waits for
	// writing then, so that nothing gets too old on the queue.
	aheadMost = 50
	// listings is how many pages of Rule's subscribers are noted at once.
	listings = 50
	// pages is the default of Backfill.Pages.
	pages = 4
	// between is how long Sitoo is left alone after a page: other integrations of
	// the shop want their turn, too.
	between = 200 * time.Millisecond
	// maxPart is how many orders one message holds, and maxPartSize how many
	// bytes they are before compression, to a tenth or so: the more orders go to
	// Rule together, the fewer calls they take. maxPartMessage is what SQS takes
	// (1 MiB), less room for the attributes.
	maxPart        = 1000
	maxPartSize    = 4 << 20
	maxPartMessage = 1<<20 - 4096
	// reopened is how many orders are looked at again at a time.
	reopened = sitoo.MaxIDs
	// rounds bounds how often a job is read again because somebody paused or
	// resumed it meanwhile.
	rounds = 20
)

// The reasons why an order is not brought over. Reports count by them, and name
// the orders that are lost: Unreadable, TooLarge and Missing.
const (
	NotRegister = "not sold at a register"
	NoCustomer  = "no customer"
	NotInRule   = "customer not in Rule"
	Nameless    = "customer not in Rule, and nothing to make one of" // a contact id of another CRM, say
	Gone        = "customer not in Rule any more"                    // or a contact of another CRM: an old order brings back nobody who was deleted
	StillOpen   = "still open"
	Unreadable  = "cannot be read"
	Missing     = "not in Sitoo"
	Outside     = "outside the period"
	TooLarge    = "too large"
)

// NoMonth is the month of orders that do not say when they were made.
const NoMonth = "unknown"

// Directory is what a job needs to act for an account.
type Directory interface {
	// Session returns the account of a scope with a session with Rule, by a key
	// that Rule accepts; fault.NotFound if there is no such account.
	Session(ctx context.Context, scope string) (account.Account, *rule.Session, error)
	// Shop returns the account's shop in Sitoo; fault.NotFound if the merchant
	// has entered no credentials.
	Shop(ctx context.Context, a account.Account) (*sitoo.Shop, error)
	// Begin makes sure that no order of the account's shop can be known under
	// another label, and notes that this one has some.
	Begin(ctx context.Context, a account.Account) error
	// Claims returns whose the sites of a Sitoo account are.
	Claims(ctx context.Context, sitooAccount string) ([]account.Claim, error)
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
	// Ledger says what a dry run would find in Rule; it is only read.
	Ledger interface {
		Get(ctx context.Context, k order.Key) (r order.Record, ok bool, err error)
	}
	Phones customer.Phones
	Log    *slog.Logger
	Now    func() time.Time
	// NewID returns an id that no other part has.
	NewID func() string
	// Pages is how many pages of Sitoo's are read, at the most, before what was
	// found in them is queued, 0 for 4.
	Pages int
	// Part is how many orders one message holds, 0 for 1000, and Ahead how many
	// messages may be queued and not written before reading waits, 0 for 50.
	Part, Ahead int
	// Retention is how long the ledger remembers which orders are in Rule: no
	// backfill of an account that is older reaches further back.
	Retention order.Retention
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
	if err = b.step(ctx, *at, request); err == nil {
		err = forget(ctx, b.Jobs, b.People, at.Account, at.Job, at.Run)
	}
	if fault.SinceOf(err).IsZero() { // its first failure as far as is known
		err = fault.Since(err, b.Now())
	}
	return *at, err
}

// start creates the job that a message asks for, or joins it.
func (b *Backfill) start(ctx context.Context, s Start) (Step, error) {
	scope, err := b.scope(ctx, s)
	if err != nil {
		return Step{}, err
	}
	a, _, err := b.Directory.Session(ctx, scope)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		err = fault.Wrap(fault.NotFound, err, "There is no account %s that uses the connector; %s is expected, and Sitoo's own number goes into sitooaccount.", s.Account, ourAccount)
	}
	if err != nil {
		return Step{Account: scope}, err
	}
	if _, err := b.Directory.Shop(ctx, a); err != nil { // only that there is one: the first step asks it
		return Step{Account: scope}, err
	}
	if err := b.Directory.Begin(ctx, a); err != nil {
		return Step{Account: scope}, err
	}
	if err := b.reaches(a, s.Spec); err != nil {
		return Step{Account: scope}, err
	}
	jobID := JobID(scope, s.Spec)
	for range rounds {
		j, err := b.Jobs.Get(ctx, scope, jobID)
		if err != nil && !errors.Is(err, ErrNoJob) {
			return Step{Account: scope, Job: jobID}, fmt.Errorf("read job: %w", err)
		}
		if err == nil && !j.State.Final() {
			b.Log.InfoContext(ctx, "the message joins a job that is under way", "account", scope, "job", jobID)
			return Step{scope, jobID, j.Run, j.Step}, b.kick(ctx, j)
		}
		next := Job{
			Account: scope, ID: jobID, Rev: j.Rev, Run: j.Run + 1, Spec: s.Spec, State: Waiting, Phase: Customers,
			Created: b.Now(), Updated: b.Now(), Skipped: map[string]int{}, Months: map[string]Month{},
		}
		if len(s.Orders) > 0 { // of a few orders, Rule is asked whose they are
			next.Phase = Reading
		}
		switch err := b.Jobs.Put(ctx, next); {
		case errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return Step{Account: scope, Job: jobID}, fmt.Errorf("write job: %w", err)
		}
		return Step{scope, jobID, next.Run, 0}, b.kick(ctx, next)
	}
	return Step{Account: scope, Job: jobID}, &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job kept changing")}
}

// scope returns whose orders a message asks for.
func (b *Backfill) scope(ctx context.Context, s Start) (string, error) {
	if s.Account != "" {
		return account.Scope(s.Account, s.Label), nil
	}
	claims, err := b.Directory.Claims(ctx, s.SitooAccount)
	if err != nil {
		return "", err
	}
	if len(claims) == 0 {
		return "", fault.New(fault.NotFound, "No shop has entered credentials for this Sitoo account. The merchant does that once, with PUT /sitoo/credentials.")
	}
	if len(claims) == 1 {
		return claims[0].Scope, nil
	}
	var all []string
	for _, c := range claims {
		id, label := account.SplitScope(c.Scope)
		says := fmt.Sprintf("site %d at %s is account %s", c.Site, c.Environment, id)
		if label != "" {
			says += ", label " + label
		}
		all = append(all, says)
	}
	return "", fault.Bad("sitooaccount", "has several shops; account, and label where there is one, are expected: %s", strings.Join(all, "; "))
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
	switch {
	case j.Run != s.Run || j.idle():
		return nil // the one who starts or resumes it sends a message anew
	case j.Step != s.Step:
		// An earlier delivery of this message, or of one before it, came this far
		// and no further. The queue takes the message of the step the job is at
		// once, however many find it behind.
		return b.kick(ctx, j)
	case j.Phase == Writing:
		return b.finish(ctx, j)
	}
	r := &run{Backfill: b, job: j, request: request}
	if err := r.open(ctx); err != nil {
		return r.failed(ctx, err)
	}
	for !r.job.idle() && r.time(ctx) {
		if r.job.Phase == Writing {
			return b.finish(ctx, r.job)
		}
		err := r.page(ctx)
		if errors.Is(err, errMakesWay) {
			break
		}
		if err != nil {
			return r.failed(ctx, err)
		}
	}
	if r.job.idle() {
		return nil
	}
	if r.job.Step == s.Step { // the queue would take the message for this one
		return &fault.Error{Kind: fault.Busy, Message: "goes on in a moment", RetryAt: b.Now()}
	}
	return b.kick(ctx, r.job)
}

// idle reports whether nothing is to be read for a job: not now, or not any more.
func (j Job) idle() bool { return j.State.Final() || j.State == Paused }

// run is one delivery's work on a job.
type run struct {
	*Backfill
	job     Job
	account account.Account
	rule    *rule.Session
	shop    *sitoo.Shop
	seals   *Seals
	request string
	longest time.Duration // that a page of Sitoo's took
}

// time reports whether the delivery has time for one page more.
func (r *run) time(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) >= lastPage+r.longest
}

// orders asks Sitoo for a page, some time after the one before.
func (r *run) orders(ctx context.Context, q sitoo.Query) (sitoo.Page, error) {
	if r.longest > 0 {
		t := time.NewTimer(between)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return sitoo.Page{}, &fault.Error{Kind: fault.Busy, Message: "goes on in a moment", RetryAt: r.Now()}
		}
	}
	began := time.Now()
	p, err := r.shop.Orders(ctx, q)
	r.longest = max(r.longest, time.Since(began), 1)
	return p, err
}

func (r *run) open(ctx context.Context) (err error) {
	if r.account, r.rule, err = r.Directory.Session(ctx, r.job.Account); err != nil {
		return err
	}
	if r.shop, err = r.Directory.Shop(ctx, r.account); err != nil {
		return noShop{err}
	}
	if r.seals, err = NewSeals(r.job.Account, r.rule); err != nil {
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
		if j.Phase == Reading { // of the orders that a message names
			j.Began = r.Now()
		}
		if j.State == Waiting {
			j.State = Running
		}
	})
}

// noShop is the error of a job whose shop cannot be read with the credentials
// that there are, if any.
type noShop struct{ error }

func (e noShop) Unwrap() error { return e.error }

// errWentOn is the error of a delivery without which its job went on: its message
// has been delivered to another process, too.
var errWentOn = errors.New("the job went on without this delivery")

// commit stores a change of the job, which is a step further then. Whoever
// pauses or cancels it meanwhile changes only its state and its reason, which
// stay.
func (r *run) commit(ctx context.Context, change func(j *Job)) error {
	for range rounds {
		j := r.job
		// A store gives back nil for a map of nothing.
		j.Skipped, j.Months = maps.Clone(orEmpty(j.Skipped)), maps.Clone(orEmpty(j.Months))
		j.Open, j.Parts, j.Lost = slices.Clone(j.Open), slices.Clone(j.Parts), maps.Clone(orEmpty(j.Lost))
		change(&j)
		j.Step++
		j.Updated, j.Since = r.Now(), time.Time{}
		if j.State != Paused {
			j.Reason, j.Until = "", time.Time{}
		}
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
			return errWentOn
		}
		r.job = now
		if now.State.Final() {
			return nil // what was queued is dropped
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the job kept changing")}
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// failed notes why a job waits, and returns what becomes of the message.
func (r *run) failed(ctx context.Context, err error) error {
	if errors.Is(err, errWentOn) {
		j, err := r.Jobs.Get(ctx, r.job.Account, r.job.ID)
		if err != nil {
			return fmt.Errorf("read job: %w", err)
		}
		if j.Run != r.job.Run || j.idle() {
			return nil
		}
		return r.kick(ctx, j)
	}
	since := r.Now()
	note := func(state State, reason string, until time.Time) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return change(ctx, r.Jobs, r.job.Account, r.job.ID, r.job.Run, func(j *Job) bool {
			if j.idle() { // somebody has said why
				return false
			}
			j.State, j.Reason, j.Until = cmp.Or(state, j.State), reason, until
			if j.State.Final() {
				j.Ended = r.Now()
			}
			switch {
			case fault.KindOf(err) == fault.Busy:
				j.Since = time.Time{}
			case j.Since.IsZero():
				j.Since = r.Now()
			}
			since = j.Since
			return true
		}, r.Now)
	}
	// end is for what no delivery mends: the message is done with once the job
	// says so.
	end := func(state State, reason string) error {
		if nerr := note(state, reason, time.Time{}); nerr != nil {
			return fmt.Errorf("note why a job ends: %w", errors.Join(nerr, err))
		}
		return nil
	}
	f := fault.As(err)
	_, ofSitoo := errors.AsType[*sitoo.RESTError](err)
	_, ofRule := errors.AsType[*rule.Error](err)
	_, none := errors.AsType[noShop](err)
	switch {
	case ofSitoo && f.Kind == fault.Unauthorized:
		return end(Paused, f.Message+" Enter them again, then resume.")
	case ofSitoo && f.Kind == fault.NotFound:
		return end(Paused, f.Message+" Enter the credentials again, then resume.")
	case none && f.Kind == fault.NotFound:
		return end(Paused, cmp.Or(f.Message, "There are no credentials for Sitoo.")+" Enter them, then resume.")
	case !ofSitoo && !ofRule && f.Kind == fault.Invalid && f.Member != "": // what Credentials.Check says
		return end(Paused, "The credentials for Sitoo cannot be used: "+f.Member+" "+f.Message+". Enter them again, then resume.")
	case !ofSitoo && !ofRule && (f.Kind == fault.NotFound || f.Kind == fault.TooLarge) && f.Message != "": // the account is gone, or the job outgrows its place
		return end(Failed, f.Message)
	}
	if nerr := note("", waiting(err, "backfill-worker"), f.RetryAt); nerr != nil {
		r.Log.WarnContext(ctx, "could not note why a job waits", "account", r.job.Account, "job", r.job.ID, "error", nerr)
	}
	if k := f.Kind; k == fault.Invalid || k == fault.Conflict || k == fault.TooLarge || k == fault.NotFound {
		// What one request is refused for is not the message's fault.
		err = fault.Wrap(fault.Unavailable, err, "Sitoo or Rule refuses a request.")
	}
	return fault.Since(err, since)
}

// blocked is why a job waits while Rule takes no calls for its account.
const blocked = "waits until Rule takes calls of the account again: there were too many"

// waiting says why a job or a part waits, given the error that it met, in words
// for support. function is whose lines in the log have the error.
func waiting(err error, function string) string {
	f := fault.As(err)
	_, ofSitoo := errors.AsType[*sitoo.RESTError](err)
	_, ofRule := errors.AsType[*rule.Error](err)
	switch {
	case f.Kind == fault.Busy && ofSitoo:
		return "waits for Sitoo, which is busy"
	case f.Kind == fault.Busy:
		return cmp.Or(f.Message, blocked)
	case ofSitoo:
		return f.Message + " It is tried again."
	case f.Kind == fault.Unauthorized:
		return "Rule refuses the shop's API key. It is tried again; a renewed key works once it is entered with PUT /sitoo/credentials."
	case ofRule:
		return "Rule does not answer as expected. It is tried again."
	case f.Kind == fault.Unavailable:
		return "The connector's own tables or queues do not answer. It is tried again."
	}
	return "Something unexpected went wrong; the lines of " + function + " say what. It is tried again."
}

// gaveUp says why a message was put aside, in words for support.
func gaveUp(cause error) string {
	switch kind := fault.KindOf(cause); kind {
	case fault.Busy:
		return "given up: it had to wait for too long"
	case fault.Unavailable:
		return "given up: no usable answer for too long"
	case fault.Unauthorized:
		return "given up: Rule refused the shop's API key for too long"
	case fault.Internal:
		return "given up: something unexpected went wrong, as the log says"
	default:
		return "given up: " + cmp.Or(fault.As(cause).Message, kind.String())
	}
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
		return &fault.Error{Kind: fault.Busy, Message: blocked, RetryAt: until}
	}
	if r.Crowded(share) {
		return &fault.Error{Kind: fault.Busy, Message: "waits for Rule's budget, half of which is left to the tills", RetryAt: now.Add(pause)}
	}
	return nil
}

// page does the next piece of work.
func (r *run) page(ctx context.Context) error {
	if len(r.job.Orders) == 0 && r.job.Phase != Customers && !r.job.listed(r.seals, r.Now()) {
		// Reading goes on from the cursor afterwards.
		return r.commit(ctx, func(j *Job) { j.Phase = Customers })
	}
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
	if began := r.job.ListBegan; began.IsZero() || r.Now().Sub(began) > listTakes || r.job.ListName != r.seals.Name() {
		return r.commit(ctx, func(j *Job) {
			j.Listing++
			j.ListBegan, j.ListName, j.Listed, j.People = r.Now(), r.seals.Name(), "", 0
		})
	}
	next, ended := r.job.Listed, false
	people, contacts := map[Digest]int64{}, map[int64][]byte{}
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
				people[r.seals.Digest(customer.Key{Email: mail})] = s.ID
			}
			if number, ok := r.Phones(s.Phone); ok {
				people[r.seals.Digest(customer.Key{Phone: number})] = s.ID
			}
			contacts[s.ID] = r.seals.Seal(s.ID, keyOf(s))
		}
		next = more
		if ended = more == ""; ended {
			break
		}
	}
	if n > 0 || ended {
		name := listName(r.job, r.job.Listing)
		if err := r.People.Add(ctx, r.job.Account, name, people); err != nil {
			return fmt.Errorf("note who is in Rule: %w", err)
		}
		if err := r.People.AddContacts(ctx, r.job.Account, name, contacts); err != nil {
			return fmt.Errorf("note who is in Rule: %w", err)
		}
		err := r.commit(ctx, func(j *Job) {
			j.Listed = next
			j.People += n
			if ended {
				j.Phase, j.Listed, j.ListBegan = Reading, "", time.Time{}
				j.Lists, j.ListedAt, j.ListedBy = j.Listing, r.Now(), j.ListName
				if j.Began.IsZero() {
					j.Began = r.Now()
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return stop
}

// listName is the name of one of a job's lists, from 1 on.
func listName(j Job, list int) string { return ListsOf(j.ID, j.Run) + strconv.Itoa(list) }

// ListsOf is how the names of the lists of a job's run begin.
func ListsOf(job string, run int) string { return fmt.Sprintf("%s-%d-", job, run) }

// keyOf returns by what Rule knows a subscriber, in a call for many; zero if
// only by id.
func keyOf(s rule.Subscriber) (k customer.Key) {
	if mail, ok := customer.NormaliseEmail(s.Email); ok {
		k.Email = mail
	} else {
		k.Phone = s.Phone
	}
	return k
}

// found is what becomes of orders that were read.
type found struct {
	orders  []dated // to be queued
	read    int
	already int // of a dry run: in Rule, the ledger says
	skipped map[string]int
	months  map[string]Month
	open    []int64
	lost    map[string][]int64 // ids of those skipped that were to come over
}

func nothing() found {
	return found{skipped: map[string]int{}, months: map[string]Month{}, lost: map[string][]int64{}}
}

// dated is an order that is to be queued.
type dated struct {
	id    int64
	raw   json.RawMessage
	month string
}

// skip counts an order that was not taken into account before.
func (f *found) skip(month, why string) {
	m := f.months[month]
	m.Sitoo++
	m.Skipped++
	f.months[month] = m
	f.skipped[why]++
}

// add adds what was found after it.
func (f *found) add(more found) {
	f.orders, f.open, f.read = append(f.orders, more.orders...), append(f.open, more.open...), f.read+more.read
	for why, n := range more.skipped {
		f.skipped[why] += n
	}
	for why, ids := range more.lost {
		f.lost[why] = append(f.lost[why], ids...)
	}
	for name, m := range more.months {
		sum := f.months[name]
		sum.Sitoo += m.Sitoo
		sum.Skipped += m.Skipped
		f.months[name] = sum
	}
}

// read reads pages of orders, as many as fill a part, and queues what is to be
// written. What it has read when a page does not come is queued before that is
// met again.
func (r *run) read(ctx context.Context) error {
	if err := r.ahead(ctx); err != nil {
		return err
	}
	all := nothing()
	first, cursor, counted, size, ended := r.job.First, r.job.Cursor, r.job.Counted, 0, false
	good, stopped := 0, error(nil)
	for n := 0; n < cmp.Or(r.Pages, pages) && len(all.orders) < r.most() && size < maxPartSize && (n == 0 || r.time(ctx)); n++ {
		if r.job.Last <= cursor {
			ended = true
			break
		}
		q := sitoo.Query{
			After: cursor, Upto: r.job.Last, Num: r.job.Page, Addresses: r.job.Create,
			From: r.job.From.AddDate(0, 0, -1), To: r.job.To.AddDate(0, 0, 1),
		}
		began := time.Now()
		p, err := r.orders(ctx, q)
		if err != nil && n == 0 {
			return r.fewer(ctx, err, cmp.Or(q.Num, sitoo.MaxPage), time.Since(began))
		}
		if err != nil {
			stopped = err
			break
		}
		good++
		if cursor == 0 {
			counted = max(p.Total, 0)
		}
		if ended = len(p.Orders) == 0; ended {
			break
		}
		f, err := r.sort(ctx, p.Orders, true)
		if err != nil {
			return err
		}
		all.add(f)
		for _, o := range f.orders {
			size += len(o.raw)
		}
		if cursor == 0 {
			first = p.Orders[0].ID
		}
		cursor = p.Last()
	}
	err := r.queue(ctx, all, func(j *Job) {
		j.First, j.Cursor, j.Counted = first, cursor, counted
		j.Open = append(j.Open, all.open...)
		if j.Good += good; j.Page > 0 && j.Good >= goodPages {
			if j.Page, j.Good = 2*j.Page, 0; j.Page >= sitoo.MaxPage {
				j.Page = 0
			}
		}
		if ended {
			j.Cursor, j.Phase = j.Last, Reopening
			if len(j.Open) == 0 {
				j.Phase = Writing
			}
		}
	})
	// Sitoo may still be at work on a page that did not come: it is the next
	// delivery's to ask again.
	return cmp.Or(err, stopped)
}

// most is how many orders a part holds.
func (r *run) most() int { return cmp.Or(r.Part, maxPart) }

// errMakesWay is the error of a job whose next message goes to the end of its
// queue.
var errMakesWay = errors.New("makes way")

// ahead is the error of a job that has queued much more than is written.
func (r *run) ahead(ctx context.Context) error {
	if len(r.job.Parts) < cmp.Or(r.Ahead, aheadMost) {
		return nil
	}
	parts, err := r.Jobs.Parts(ctx, r.job.Account, r.job.ID, r.job.Run)
	if err != nil {
		return fmt.Errorf("read parts: %w", err)
	}
	open := len(r.job.Parts)
	for _, p := range parts {
		if p.Finished && slices.Contains(r.job.Parts, p.ID) {
			open--
		}
	}
	if open < cmp.Or(r.Ahead, aheadMost) {
		return nil
	}
	// Another backfill's part may be before this one's, and wait for a listing
	// whose message is behind this one.
	jobs, err := r.Jobs.List(ctx, r.job.Account)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	if slices.ContainsFunc(jobs, func(j Job) bool { return j.ID != r.job.ID && j.Phase == Customers && !j.idle() }) {
		if err := r.commit(ctx, func(*Job) {}); err != nil {
			return err
		}
		return errMakesWay
	}
	return &fault.Error{Kind: fault.Busy, Message: "waits until more of what is read is written", RetryAt: r.Now().Add(pause)}
}

// fewer asks for less from now on if a page of some size did not come because it
// was too much: at once where Sitoo's answer was too large, else in the next
// delivery, as Sitoo may still be at work on the request.
func (r *run) fewer(ctx context.Context, err error, size int, took time.Duration) error {
	large := fault.KindOf(err) == fault.TooLarge
	if size <= fewest || !large && (fault.KindOf(err) != fault.Unavailable || took < slow || ctx.Err() != nil) {
		return err
	}
	if cerr := r.commit(ctx, func(j *Job) { j.Page, j.Good = max(size/2, fewest), 0 }); cerr != nil || large {
		return cerr
	}
	return err
}

var errFewer = errors.New("smaller pages from now on")

// first returns as many of the ids as are asked for at a time.
func (r *run) first(ids []int64) []int64 {
	return ids[:min(len(ids), reopened, cmp.Or(r.job.Page, reopened))]
}

// byID reads orders by their ids, those of first. Orders that Sitoo does not
// have are not among them. errFewer says that it was too much, and is asked for
// again in smaller pages.
func (r *run) byID(ctx context.Context, ids []int64, addresses bool) (orders []sitoo.Listed, err error) {
	for q := (sitoo.Query{IDs: ids, Num: r.job.Page, Addresses: addresses}); ; {
		began := time.Now()
		p, err := r.orders(ctx, q)
		if err != nil {
			if err := r.fewer(ctx, err, len(ids), time.Since(began)); err != nil {
				return nil, err
			}
			return nil, errFewer
		}
		orders = append(orders, p.Orders...)
		if len(p.Orders) == 0 || len(orders) >= len(ids) { // p.More is true as long as the last id did not come
			return orders, nil
		}
		q.After = p.Last()
	}
}

// reopen looks again at orders that were open when they were read.
func (r *run) reopen(ctx context.Context) error {
	if len(r.job.Open) == 0 {
		return r.commit(ctx, func(j *Job) { j.Phase = Writing })
	}
	ids := r.first(r.job.Open)
	orders, err := r.byID(ctx, ids, r.job.Create)
	if errors.Is(err, errFewer) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := r.sort(ctx, orders, false)
	if err != nil {
		return err
	}
	r.missing(ctx, &f, ids, orders)
	return r.queue(ctx, f, func(j *Job) { j.Open = j.Open[len(ids):] })
}

// chosen reads the orders that a message names.
func (r *run) chosen(ctx context.Context) error {
	at, _ := slices.BinarySearch(r.job.Orders, r.job.Cursor+1)
	ids := r.first(r.job.Orders[at:])
	if len(ids) == 0 {
		return r.commit(ctx, func(j *Job) { j.Phase = Writing })
	}
	orders, err := r.byID(ctx, ids, true)
	if errors.Is(err, errFewer) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := r.sort(ctx, orders, false)
	if err != nil {
		return err
	}
	r.missing(ctx, &f, ids, orders)
	return r.queue(ctx, f, func(j *Job) { j.Cursor = ids[len(ids)-1] })
}

// missing counts those of the ids that Sitoo does not have.
func (r *run) missing(ctx context.Context, f *found, ids []int64, orders []sitoo.Listed) {
	there := map[int64]bool{}
	for _, o := range orders {
		there[o.ID] = true
	}
	for _, id := range ids {
		if !there[id] {
			r.Log.WarnContext(ctx, "an order is not in Sitoo", "account", r.job.Account, "job", r.job.ID, "order", id)
			f.skipped[Missing]++
			f.lost[Missing] = append(f.lost[Missing], id)
		}
	}
}

// queue queues what was found, then commits it: killed in between, the same
// page is read again, and what is queued twice is written once.
func (r *run) queue(ctx context.Context, f found, also func(j *Job)) error {
	var parts []string
	if r.job.DryRun {
		if err := r.there(ctx, &f); err != nil {
			return err
		}
	} else {
		for rest, most := f.orders, r.most(); len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && n < most && (n == 0 || size+len(rest[n].raw) <= maxPartSize) {
				size += len(rest[n].raw)
				n++
			}
			part, body, err := r.pack(rest[:n])
			if err != nil {
				return err
			}
			switch large := len(body) > maxPartMessage || size > maxUnpacked-4; { // [], and an end of line
			case large && n > 1:
				most = n / 2
				continue
			case large:
				r.Log.WarnContext(ctx, "an order is too large to be brought over", "account", r.job.Account, "job", r.job.ID, "order", rest[0].id, "bytes", size)
				f.skipped[TooLarge]++
				f.lost[TooLarge] = append(f.lost[TooLarge], rest[0].id)
				m := f.months[rest[0].month]
				m.Skipped++
				f.months[rest[0].month] = m
				f.orders = slices.Delete(slices.Clone(f.orders), len(f.orders)-len(rest), len(f.orders)-len(rest)+1)
			default:
				if err := r.Parts.Send(ctx, worker.Message{Body: body, Group: r.job.Account, Dedup: part}); err != nil {
					return fmt.Errorf("queue part: %w", err)
				}
				parts = append(parts, part)
			}
			rest, most = rest[n:], r.most()
		}
	}
	return r.commit(ctx, func(j *Job) {
		j.Read += f.read
		j.Matched += len(f.orders)
		j.Already += f.already
		for why, n := range f.skipped {
			j.Skipped[why] += n
		}
		for why, ids := range f.lost {
			all := slices.Concat(j.Lost[why], ids)
			j.Lost[why] = all[:min(len(all), MaxLost)]
		}
		for month, m := range f.months {
			sum := j.Months[month]
			sum.Sitoo += m.Sitoo
			sum.Skipped += m.Skipped
			sum.Written += m.Written
			j.Months[month] = sum
		}
		j.Parts = append(j.Parts, parts...)
		also(j)
	})
}

// pack makes the message of a part.
func (r *run) pack(orders []dated) (part, body string, err error) {
	m := PartMessage{
		Account: r.job.Account, Job: r.job.ID, Run: r.job.Run, Part: r.NewID(), Request: r.request,
		Create: r.job.Create, Resend: len(r.job.Orders) > 0,
	}
	raw := make([]json.RawMessage, len(orders))
	for i, o := range orders {
		raw[i] = o.raw
	}
	if err := m.Pack(raw); err != nil {
		return "", "", err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", "", fmt.Errorf("encode part: %w", err)
	}
	return m.Part, string(b), nil
}

// sort tells what becomes of each order. again says that open ones are looked
// at once more later.
func (r *run) sort(ctx context.Context, listed []sitoo.Listed, again bool) (found, error) {
	f := nothing()
	named := len(r.job.Orders) > 0
	type candidate struct {
		dated
		order.Person
		keys []Digest // by which else Rule may know the customer
	}
	var wait []candidate
	var contacts []int64
	var ask []Digest
	for _, l := range listed {
		f.read++
		o, err := sitoo.DecodeOrder(l.Body)
		if err == nil && o.Date.IsZero() {
			err = fault.Bad("orderdate", "is missing")
		}
		if err != nil {
			r.Log.WarnContext(ctx, "an order of Sitoo's cannot be read", "account", r.job.Account, "job", r.job.ID, "order", l.ID, "member", fault.As(err).Member)
			f.skip(NoMonth, Unreadable)
			f.lost[Unreadable] = append(f.lost[Unreadable], l.ID)
			continue
		}
		if named && o.Date.Before(r.Retention.Reach(r.account.Created, r.Now())) {
			f.skip(o.Date.In(rule.Stockholm).Format("2006-01"), Forgotten)
			continue
		}
		if !named && (o.Date.Before(r.job.From) || !o.Date.Before(r.job.To)) {
			f.skipped[Outside]++
			continue
		}
		month := o.Date.In(rule.Stockholm).Format("2006-01")
		if l.Register == "" && !named { // whatever its state: it is not looked at again
			f.skip(month, NotRegister)
			continue
		}
		why, ok := order.Completed(o)
		if !ok && o.State == sitoo.StateOpen && o.Type != sitoo.TypeBooking && o.Type != sitoo.TypeParked {
			if again {
				f.open = append(f.open, o.ID)
				f.read-- // it is counted when it is looked at again
				continue
			}
			why = StillOpen
		}
		if !ok {
			f.skip(month, why)
			continue
		}
		p, ok := order.PersonOf(o)
		if !ok {
			f.skip(month, NoCustomer)
			continue
		}
		raw, err := sitoo.WithoutPersonalID(l.Body)
		if err != nil {
			return found{}, fmt.Errorf("order %d without its personal number: %w", o.ID, err)
		}
		c := candidate{dated: dated{l.ID, raw, month}, Person: p}
		if !named { // else the writer asks Rule
			for _, k := range keysOf(p, r.Phones) {
				c.keys = append(c.keys, r.seals.Digest(k))
			}
			if len(c.keys) == 0 && p.ContactID == 0 { // a phone number that is none
				f.skip(month, NoCustomer)
				continue
			}
			if !r.job.Create || p.ContactID != 0 { // of all others somebody is made
				ask = append(ask, c.keys...)
			}
			if p.ContactID != 0 {
				contacts = append(contacts, p.ContactID)
			}
		}
		wait = append(wait, c)
	}
	have, known := map[Digest]int64{}, map[int64][]byte{}
	list, err := listName(r.job, r.job.Lists), error(nil)
	if len(ask) > 0 {
		if have, err = r.People.Find(ctx, r.job.Account, list, ask); err != nil {
			return found{}, fmt.Errorf("look up customers: %w", err)
		}
	}
	if len(contacts) > 0 {
		if known, err = r.People.FindContacts(ctx, r.job.Account, list, contacts); err != nil {
			return found{}, fmt.Errorf("look up customers: %w", err)
		}
	}
	for _, c := range wait {
		_, in := known[c.ContactID]
		in = in || named || slices.ContainsFunc(c.keys, func(d Digest) bool { return r.job.Create && c.ContactID == 0 || have[d] != 0 })
		if !in {
			f.skip(c.month, r.job.nobody(len(c.keys) > 0))
			continue
		}
		m := f.months[c.month]
		m.Sitoo++
		f.months[c.month] = m
		f.orders = append(f.orders, c.dated)
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

// forget deletes the lists of who is in Rule of a job that has ended. Whatever is
// noted for it after that, by a worker that was late, expires. It may be
// repeated.
func forget(ctx context.Context, jobs Jobs, people People, account, id string, run int) error {
	j, err := jobs.Get(ctx, account, id)
	if errors.Is(err, ErrNoJob) || err == nil && (j.Run != run || !j.State.Final()) {
		return nil
	}
	if err != nil {
		return err
	}
	return people.Forget(ctx, account, id, run)
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

// GiveUp notes that a job's message is put aside, and why. A job that is
// further than the message goes on with a message of its own. It may be
// repeated.
func (b *Backfill) GiveUp(ctx context.Context, body string, cause error) error {
	_, s, err := DecodeBackfill(body)
	if err != nil || s == nil {
		return nil // no job came of it
	}
	var further *Job
	err = change(ctx, b.Jobs, s.Account, s.Job, s.Run, func(j *Job) bool {
		further = nil
		if j.idle() {
			return false
		}
		if j.Step != s.Step {
			further = j
			return false
		}
		j.State, j.Reason, j.Until, j.Ended = Failed, gaveUp(cause), time.Time{}, b.Now()
		if said := fault.As(cause).Message; said != "" {
			j.Reason += ": " + said
		}
		return true
	}, b.Now)
	switch {
	case errors.Is(err, ErrNoJob):
		return nil
	case err != nil:
		return fmt.Errorf("note that a job is given up: %w", err)
	case further != nil:
		return b.kick(ctx, *further)
	}
	return forget(ctx, b.Jobs, b.People, s.Account, s.Job, s.Run)
}
