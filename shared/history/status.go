package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// stalledAfter is how long a job may go without a change before its status says
// so.
const stalledAfter = 30 * time.Minute

// behindAfter is after how long without a change it is looked whether another
// backfill is before it.
const behindAfter = time.Minute

// Status tells how far a job has come. Counts are of orders.
type Status struct {
	State   State  `json:"state"`
	Percent int    `json:"percent"` // whole; 100 only when it is done
	ID      string `json:"backfillid"`
	Account string `json:"account"`
	Label   string `json:"label,omitempty"`
	Run     int    `json:"run"`
	Phase   Phase  `json:"phase,omitempty"`
	// Reason is why it waits or has failed, Until until when it waits.
	Reason  string    `json:"reason,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Stalled bool      `json:"stalled,omitempty"` // nothing has changed for half an hour
	// Note says, once everything is read, that Sitoo counts other orders than were
	// read.
	Note string `json:"note,omitempty"`

	From      string  `json:"from,omitempty"` // the first day
	To        string  `json:"to,omitempty"`   // the last day
	Orders    []int64 `json:"orders,omitempty"`
	DryRun    bool    `json:"dryrun,omitempty"`
	Customers string  `json:"customers"` // known or create

	Listed int `json:"listed"` // Rule's subscribers
	// Counted is how many orders Sitoo counted for the same query when reading
	// began, 0 if it did not say: as many as are read in the end, and those Missing.
	Counted int            `json:"sitoo_counts,omitempty"`
	Read    int            `json:"read"`    // from Sitoo
	Matched int            `json:"matched"` // to be written
	Written int            `json:"written"`
	Already int            `json:"already"` // were in Rule before
	Skipped map[string]int `json:"skipped,omitempty"`
	// Lost are those of the skipped orders that were to be brought over and cannot
	// be, see Job.Lost.
	Lost   []Failure `json:"skipped_orders,omitempty"`
	Failed []Failure `json:"failed,omitempty"`

	// Rate is of orders read, since reading began; once all are read, and there are
	// any to write, of orders settled, while parts were in hand. Waits count, a
	// pause by request does not. Ends is when the slower of the two, reading and
	// writing, is done if both go on as until now; zero if that cannot be said.
	Rate  float64   `json:"orders_per_minute"`
	Ends  time.Time `json:"expected_end,omitzero"`
	Since time.Time `json:"created"`
	Last  time.Time `json:"updated"`
	Ended time.Time `json:"ended,omitzero"`

	Months []MonthReport `json:"months,omitempty"`
}

// Failure says why orders were not brought over, and which.
type Failure struct {
	Reason string  `json:"reason"`
	Orders []int64 `json:"orders"`
}

// MonthReport is a month of the report. Sitoo is the sum of the others; orders
// that have failed are listed by id in Status.Failed.
type MonthReport struct {
	Name string `json:"month"` // such as 2026-03
	Month
	// Left are orders still to be written, of a dry run those that would be. It
	// is 0 once any other job is done.
	Left int `json:"left"`
}

// before returns the id of a backfill of the same shop that began before and has
// parts to be written, "" if there is none: parts are written in their order.
func (d *Desk) before(ctx context.Context, j Job) (string, error) {
	jobs, err := d.Jobs.List(ctx, j.Account)
	if err != nil {
		return "", fmt.Errorf("list jobs: %w", err)
	}
	for _, other := range jobs {
		if other.ID == j.ID || other.State.Final() || !other.Created.Before(j.Created) {
			continue
		}
		parts, err := d.Jobs.Parts(ctx, other.Account, other.ID, other.Run)
		if err != nil {
			return "", fmt.Errorf("read parts: %w", err)
		}
		finished := 0
		for _, p := range parts {
			if p.Finished && slices.Contains(other.Parts, p.ID) {
				finished++
			}
		}
		if finished < len(other.Parts) {
			return other.ID, nil
		}
	}
	return "", nil
}

// Desk is where jobs are asked about and controlled. It is safe for concurrent
// use.
type Desk struct {
	Jobs  Jobs
	Steps worker.Sender // nil where nothing is resumed
	Now   func() time.Time
	// NewID tells one resumption from another.
	NewID func() string
}

var errNoJob = fault.New(fault.NotFound, "There is no backfill with that id.")

// List returns the account's jobs, those created last first.
func (d *Desk) List(ctx context.Context, account string) ([]Status, error) {
	jobs, err := d.Jobs.List(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	list := []Status{}
	for _, j := range jobs {
		st, err := d.status(ctx, j)
		if err != nil {
			return nil, err
		}
		st.Months = nil // each has its own page
		list = append(list, st)
	}
	return list, nil
}

// Status returns how far a job has come; fault.NotFound if there is none.
func (d *Desk) Status(ctx context.Context, account, id string) (Status, error) {
	j, err := d.Jobs.Get(ctx, account, id)
	if errors.Is(err, ErrNoJob) {
		return Status{}, errNoJob
	}
	if err != nil {
		return Status{}, fmt.Errorf("read job: %w", err)
	}
	return d.status(ctx, j)
}

func (d *Desk) status(ctx context.Context, j Job) (Status, error) {
	st := Status{
		State: j.State, ID: j.ID, Run: j.Run, Phase: j.Phase, Reason: j.Reason, Until: j.Until,
		Orders: j.Orders, DryRun: j.DryRun, Customers: "known", Listed: j.People, Read: j.Read, Matched: j.Matched, Already: j.Already,
		Counted: j.Counted, Skipped: maps.Clone(j.Skipped), Lost: failureList(j.Lost), Since: j.Created, Last: j.Updated, Ended: j.Ended,
	}
	st.Account, st.Label = account.SplitScope(j.Account)
	if j.Create {
		st.Customers = "create"
	}
	if len(j.Orders) == 0 {
		st.From, st.To = j.From.In(rule.Stockholm).Format(time.DateOnly), j.To.In(rule.Stockholm).AddDate(0, 0, -1).Format(time.DateOnly)
	}
	if st.Skipped == nil {
		st.Skipped = map[string]int{}
	}
	months := maps.Clone(j.Months)
	if months == nil {
		months = map[string]Month{}
	}
	parts, err := d.Jobs.Parts(ctx, j.Account, j.ID, j.Run)
	if err != nil {
		return Status{}, fmt.Errorf("read parts: %w", err)
	}
	committed := map[string]bool{}
	for _, id := range j.Parts {
		committed[id] = true
	}
	failures := map[string][]int64{}
	settled, finished, failing := 0, 0, j.Reason != "" && j.Until.IsZero()
	writing := pace{}
	for _, p := range parts {
		if !committed[p.ID] {
			continue // queued, and never committed: counted as another part
		}
		if p.Updated.After(st.Last) {
			st.Last = p.Updated
		}
		settled += p.Done
		writing.add(p)
		switch {
		case p.Finished:
			finished++
		case !j.State.Final():
			failing = failing || p.Reason != "" && p.Until.IsZero()
			if st.Reason == "" {
				st.Reason, st.Until = p.Reason, p.Until
			}
		}
		st.Written += p.Written
		st.Already += p.Already
		for why, n := range p.Skipped {
			st.Skipped[why] += n
		}
		for why, ids := range p.Failed {
			failures[why] = append(failures[why], ids...)
		}
		for name, m := range p.Months {
			sum := months[name]
			sum.Written += m.Written
			sum.Skipped += m.Skipped
			sum.Failed += m.Failed
			months[name] = sum
		}
	}
	st.Failed = failureList(failures)
	for _, name := range slices.Sorted(maps.Keys(months)) {
		m := months[name]
		st.Months = append(st.Months, MonthReport{name, m, m.Sitoo - m.Written - m.Skipped - m.Failed})
	}
	now := d.Now()
	behind := false
	if st.Reason == "" && !j.idle() && finished < len(j.Parts) && now.Sub(st.Last) > behindAfter {
		other, err := d.before(ctx, j)
		if err != nil {
			return Status{}, err
		}
		if behind = other != ""; behind {
			st.Reason = "waits for backfill " + other + " of the same shop, whose orders are written before these"
		}
	}
	if !behind && !j.idle() && now.Sub(later(st.Last, st.Until)) > stalledAfter {
		st.Stalled = true
		if st.Reason == "" && j.Phase == Writing {
			st.Reason = fmt.Sprintf("%d of %d parts are not written, and nothing happens: look for them in HistoryDeadLetters.", len(j.Parts)-finished, len(j.Parts))
		}
		st.Reason = cmp.Or(st.Reason, "Nothing happens: resume gives it a push; if that does not help, look in BackfillDeadLetters.")
	}
	st.Percent = percent(j, settled)
	st.Rate = rate(j, writing, now)
	if j.State == Running && !st.Stalled && !failing {
		st.Ends = ends(j, settled, writing, now, st.Until)
	}
	if seen := j.seen(); j.Phase == Writing && j.Counted > 0 && j.Counted != seen {
		st.Note = fmt.Sprintf("Sitoo counted %d orders when the reading began, and %d were read. When the backfill is done, post its message again: "+
			"what is in Rule already is not written again. If the two still differ then, tell the developers.", j.Counted, seen)
	}
	return st, nil
}

func failureList(by map[string][]int64) (list []Failure) {
	for _, why := range slices.Sorted(maps.Keys(by)) {
		ids := slices.Sorted(slices.Values(by[why]))
		list = append(list, Failure{why, ids})
	}
	return list
}

// pace is how fast a job's parts are written. One is in hand at a time, so what
// lies between parts is time in which there was nothing to write.
type pace struct {
	settled int           // orders of the parts that count
	took    time.Duration // of those that are finished
	open    []time.Time   // when each of the others began
	began   time.Time     // the first one
	until   time.Time     // until when one waits
}

func (p *pace) add(part Part) {
	if part.Began.IsZero() {
		return // put aside
	}
	p.settled += part.Done
	if p.began.IsZero() || part.Began.Before(p.began) {
		p.began = part.Began
	}
	if part.Finished {
		p.took += part.Updated.Sub(part.Began)
		return
	}
	p.open, p.until = append(p.open, part.Began), later(p.until, part.Until)
}

// at is how long parts have been in hand at a time.
func (p *pace) at(now time.Time) time.Duration {
	took := p.took
	for _, began := range p.open {
		took += max(now.Sub(began), 0)
	}
	return took
}

// rate is how many orders a job reads or writes a minute.
func rate(j Job, writing pace, now time.Time) float64 {
	n, took := j.Read, time.Duration(0)
	switch {
	case j.Phase == Writing && j.Matched > 0 && !j.DryRun:
		n, took = writing.settled, writing.at(cmp.Or(j.Ended, now))
	case j.Began.IsZero():
	case j.idle() || j.Phase == Writing: // what changed last is that it reads no more
		took = j.Updated.Sub(j.Began)
	default:
		took = now.Sub(j.Began)
	}
	if took <= 0 {
		return 0
	}
	return math.Round(float64(n)/took.Minutes()*10) / 10
}

const (
	// enough is how long reading and writing have to go on before they tell when
	// they end: the limits of Rule are for ten minutes, of which a job may use up
	// its share at once and wait for the rest.
	enough = 10 * time.Minute
	// unbelievable is what no job takes.
	unbelievable = 366 * 24 * time.Hour
)

// ends is when a running job will be done: when the slower of reading and
// writing is, at its speed until now. What is to be written of the orders that
// are not read yet goes by those that are. It is zero as long as there is too
// little to go by.
func ends(j Job, settled int, writing pace, now, until time.Time) time.Time {
	end, read := later(now, until), fraction(j)
	if read <= 0 {
		return time.Time{}
	}
	// more moves the end; done and left are in the same unit.
	more := func(from time.Time, took time.Duration, done, left float64) bool {
		rest := max(took.Seconds()*left/done, 0)
		if rest > unbelievable.Seconds() {
			return false
		}
		end = later(end, from.Add(time.Duration(rest*float64(time.Second))))
		return true
	}
	if read < 1 {
		from := later(now, j.Until)
		if j.Began.IsZero() || now.Sub(j.Began) < enough || !more(from, from.Sub(j.Began), read, 1-read) {
			return time.Time{}
		}
	}
	if left := float64(j.Matched)/read - float64(settled); left > 0 && !j.DryRun {
		from := later(now, writing.until)
		if writing.settled == 0 || now.Sub(writing.began) < enough || !more(from, writing.at(from), float64(writing.settled), left) {
			return time.Time{}
		}
	}
	return end.Add(time.Second - 1).Truncate(time.Second)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// seen is how many of the orders that Sitoo counted a job has dealt with.
func (j Job) seen() int { return j.Read + j.Skipped[Missing] }

// fraction is how much of its orders a job has read, 0 to 1: of those that Sitoo
// counted, or else by order ids.
func fraction(j Job) float64 {
	switch seen := j.seen(); {
	case j.Phase == Writing:
		return 1
	case len(j.Orders) > 0:
		at, _ := slices.BinarySearch(j.Orders, j.Cursor+1)
		return float64(at) / float64(len(j.Orders))
	case j.Counted > 0 && seen <= j.Counted:
		return float64(seen) / float64(j.Counted)
	case j.Phase == Reopening:
		return 1
	case j.Cursor >= j.First && j.Last > j.First:
		return float64(j.Cursor-j.First) / float64(j.Last-j.First)
	}
	return 0
}

// percent is how much of a job is done: half of it is to read, and half to write
// what was read.
func percent(j Job, settled int) int {
	if j.State == Done {
		return 100
	}
	read := fraction(j)
	wrote := 1.0
	if j.Matched > 0 && !j.DryRun {
		wrote = float64(settled) / float64(j.Matched)
	}
	return min(int(50*read+50*read*wrote), 99)
}

// Pause stops a job's reading; what is queued already is still written. It may
// be repeated.
func (d *Desk) Pause(ctx context.Context, account, id string) (Status, error) {
	return d.control(ctx, account, id, func(j *Job) error {
		if j.State.Final() {
			return fault.New(fault.Conflict, "The backfill is %s already.", j.State)
		}
		if j.State == Paused { // it has said why already
			return errAsItWas
		}
		j.State, j.Reason, j.Until = Paused, "paused by request", time.Time{}
		return nil
	})
}

// Resume lets a paused job go on. It may be repeated; a job that runs is given
// a push.
func (d *Desk) Resume(ctx context.Context, account, id string) (Status, error) {
	st, err := d.control(ctx, account, id, func(j *Job) error {
		if j.State.Final() {
			return fault.New(fault.Conflict, "The backfill is %s; post its message again to start it anew.", j.State)
		}
		if j.State == Paused {
			j.State, j.Reason, j.Until, j.Since = Waiting, "", time.Time{}, time.Time{}
			if j.Step > 0 {
				j.State = Running
			}
			if !j.Began.IsZero() { // the time that it was paused does not count
				j.Began = j.Began.Add(max(d.Now().Sub(j.Updated), 0))
			}
		}
		return nil
	})
	if err != nil {
		return Status{}, err
	}
	j, err := d.Jobs.Get(ctx, account, id)
	if err != nil {
		return Status{}, fmt.Errorf("read job: %w", err)
	}
	return st, kick(ctx, d.Steps, j, d.NewID())
}

// Cancel ends a job; what it has written stays. It may be repeated.
func (d *Desk) Cancel(ctx context.Context, account, id string) (Status, error) {
	return d.control(ctx, account, id, func(j *Job) error {
		switch {
		case j.State == Cancelled:
			return errAsItWas
		case j.State.Final():
			return fault.New(fault.Conflict, "The backfill is %s already.", j.State)
		}
		j.State, j.Reason, j.Until, j.Ended = Cancelled, "cancelled by request", time.Time{}, d.Now()
		return nil
	})
}

// errAsItWas says that a job is already as it is asked to be.
var errAsItWas = errors.New("as it was")

func (d *Desk) control(ctx context.Context, account, id string, do func(*Job) error) (Status, error) {
	var refused error
	err := change(ctx, d.Jobs, account, id, 0, func(j *Job) bool {
		refused = do(j)
		return refused == nil
	}, d.Now)
	switch {
	case errors.Is(err, ErrNoJob):
		return Status{}, errNoJob
	case refused != nil && refused != errAsItWas:
		return Status{}, refused
	case err != nil:
		return Status{}, fmt.Errorf("change job: %w", err)
	}
	return d.Status(ctx, account, id)
}
