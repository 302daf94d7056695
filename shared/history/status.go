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

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// stalledAfter is how long a job may go without a change before its status says
// so.
const stalledAfter = 30 * time.Minute

// Status tells how far a job has come. Counts are of orders.
type Status struct {
	State   State  `json:"state"`
	Percent int    `json:"percent"` // whole; 100 only when it is done
	ID      string `json:"backfillid"`
	Account string `json:"account"`
	Run     int    `json:"run"`
	Phase   Phase  `json:"phase,omitempty"`
	// Reason is why it waits or has failed, Until until when it waits.
	Reason  string    `json:"reason,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Stalled bool      `json:"stalled,omitempty"` // nothing has changed for half an hour

	From      string  `json:"from,omitempty"` // the first day
	To        string  `json:"to,omitempty"`   // the last day
	Orders    []int64 `json:"orders,omitempty"`
	DryRun    bool    `json:"dryrun,omitempty"`
	Customers string  `json:"customers"` // known or create

	Listed  int            `json:"listed"`  // Rule's subscribers
	Read    int            `json:"read"`    // from Sitoo
	Matched int            `json:"matched"` // to be written
	Written int            `json:"written"`
	Already int            `json:"already"` // were in Rule before
	Skipped map[string]int `json:"skipped,omitempty"`
	Failed  []Failure      `json:"failed,omitempty"`

	// Rate is of orders read, from the beginning on, Ends when the job will be
	// done if it goes on like that, zero if that cannot be said.
	Rate  float64   `json:"orders_per_minute"`
	Ends  time.Time `json:"expected_end,omitzero"`
	Since time.Time `json:"created"`
	Last  time.Time `json:"updated"`
	Ended time.Time `json:"ended,omitzero"`

	Months []MonthReport `json:"months,omitempty"`
}

// Failure says why orders could not be written, and which.
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
		State: j.State, ID: j.ID, Account: j.Account, Run: j.Run, Phase: j.Phase, Reason: j.Reason, Until: j.Until,
		Orders: j.Orders, DryRun: j.DryRun, Customers: "known", Listed: j.People, Read: j.Read, Matched: j.Matched,
		Skipped: maps.Clone(j.Skipped), Since: j.Created, Last: j.Updated, Ended: j.Ended,
	}
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
	settled, finished := 0, 0
	for _, p := range parts {
		if !committed[p.ID] {
			continue // queued, and never committed: counted as another part
		}
		if p.Updated.After(st.Last) {
			st.Last = p.Updated
		}
		settled += p.Done
		if p.Finished {
			finished++
		} else {
			if st.Reason == "" && !j.State.Final() {
				st.Reason, st.Until = p.Reason, p.Until
			}
			continue
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
	for _, why := range slices.Sorted(maps.Keys(failures)) {
		slices.Sort(failures[why])
		st.Failed = append(st.Failed, Failure{why, failures[why]})
	}
	for _, name := range slices.Sorted(maps.Keys(months)) {
		m := months[name]
		st.Months = append(st.Months, MonthReport{name, m, m.Sitoo - m.Written - m.Skipped - m.Failed})
	}
	now := d.Now()
	if !j.idle() && now.Sub(later(st.Last, st.Until)) > stalledAfter {
		st.Stalled = true
		if st.Reason == "" && j.Phase == Writing {
			st.Reason = fmt.Sprintf("%d of %d parts are not written, and nothing happens: look for them in the dead-letter queue of history.", len(j.Parts)-finished, len(j.Parts))
		}
		st.Reason = cmp.Or(st.Reason, "Nothing happens: resume gives it a push; if that does not help, look in the dead-letter queue of backfills.")
	}
	st.Percent = percent(j, settled)
	took := cmp.Or(j.Ended, st.Last).Sub(j.Created)
	if took > 0 {
		st.Rate = math.Round(float64(st.Read)/took.Minutes()*10) / 10
	}
	if j.State == Running && !st.Stalled && st.Percent > 0 && took > 0 {
		st.Ends = later(j.Created.Add(took*100/time.Duration(st.Percent)), later(now, st.Until)).Truncate(time.Second)
	}
	return st, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// percent is how much of a job is done: half of it is to read, by order ids, and
// half to write what was read.
func percent(j Job, settled int) int {
	if j.State == Done {
		return 100
	}
	read := 0.0
	switch {
	case j.Phase == Writing || j.Phase == Reopening:
		read = 1
	case len(j.Orders) > 0:
		at, _ := slices.BinarySearch(j.Orders, j.Cursor+1)
		read = float64(at) / float64(len(j.Orders))
	case j.Cursor >= j.First && j.Last > j.First:
		read = float64(j.Cursor-j.First) / float64(j.Last-j.First)
	}
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
		if j.State != Paused { // else it has said why already
			j.State, j.Reason, j.Until = Paused, "paused by request", time.Time{}
		}
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
			return nil
		case j.State.Final():
			return fault.New(fault.Conflict, "The backfill is %s already.", j.State)
		}
		j.State, j.Reason, j.Until, j.Ended = Cancelled, "cancelled by request", time.Time{}, d.Now()
		return nil
	})
}

func (d *Desk) control(ctx context.Context, account, id string, do func(*Job) error) (Status, error) {
	var refused error
	err := change(ctx, d.Jobs, account, id, 0, func(j *Job) bool {
		refused = do(j)
		return refused == nil
	}, d.Now)
	switch {
	case errors.Is(err, ErrNoJob):
		return Status{}, errNoJob
	case refused != nil:
		return Status{}, refused
	case err != nil:
		return Status{}, fmt.Errorf("change job: %w", err)
	}
	return d.Status(ctx, account, id)
}
