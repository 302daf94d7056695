package bonus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

const (
	// maxPart is how many customers one message of an import has: ten batches
	// that fill rule.BulkLimit, which a worker gets through in one delivery.
	maxPart = 10 * rule.BulkLimit
	// maxPartSize is how many bytes of customers one message has. SQS takes 1 MiB.
	maxPartSize = 900 << 10
	// sendsAtOnce bounds how many messages are on their way to the queue.
	sendsAtOnce = 16
	// queuedWithin is when an import that is not queued is given up: no function
	// that answers a request lives so long.
	queuedWithin = 15 * time.Minute

	// bulkShare is how much of the account's budget with Rule may be used up
	// when an import goes on, in percent: half of the 2000 requests and 24 of the
	// 49 percent of errors are left to the tills, which come first.
	bulkShare = 50
	// bulkPause is how long an import leaves a crowded account alone. Rule counts
	// over 10 minutes, so there is some room again by then.
	bulkPause = 2 * time.Minute
	// readsAtOnce bounds the requests to Rule and to the books at a time.
	readsAtOnce = 8
	// importLease is how long a batch may write Rule's copies: longer than the
	// worker's 120 s, so that a holder whose lease is over is dead.
	importLease = 150 * time.Second
	// lastBatch is how much of a delivery's time a batch needs: without it, the
	// part goes on in the next delivery.
	lastBatch = 15 * time.Second
	// settling is how long leases are given back and progress is noted, also
	// when a delivery's time is over.
	settling = 2 * time.Second
)

// PartMessage is a part of an import on its way to the worker.
type PartMessage struct {
	Account   string     `json:"account"`
	Import    string     `json:"import"`
	Part      int        `json:"part"` // from 1
	Request   string     `json:"request"`
	Customers []Customer `json:"customers"`
}

func (m *PartMessage) encode() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return "", fmt.Errorf("encode part of import: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

func (m *PartMessage) rows() (n int) {
	for _, c := range m.Customers {
		n += len(c.Lines)
	}
	return n
}

// DecodePart reads a queued part. The error is fault.Invalid: a message that
// cannot be read never will be. Where it is about the customers, the rest of the
// message is returned with it.
func DecodePart(body string) (PartMessage, error) {
	var m PartMessage
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return PartMessage{}, fault.Wrap(fault.Invalid, err, "The message is not the JSON that bonuscheck-import queues.")
	}
	switch {
	case m.Account == "":
		return PartMessage{}, fault.Bad("account", "is missing, the account id is expected")
	case m.Import == "":
		return PartMessage{}, fault.Bad("import", "is missing, the import's id is expected")
	case m.Part < 1:
		return PartMessage{}, fault.Bad("part", "is %d, a number from 1 is expected", m.Part)
	}
	for i, c := range m.Customers {
		if c.Email == "" && c.Phone == "" {
			return m, fault.Bad("customers", "number %d has neither email nor phone", i+1)
		}
		for _, l := range c.Lines {
			for _, raw := range l.Checks {
				members, problem := object(raw)
				if o := Check.offer(members); cmp.Or(problem, o.problem) != "" {
					return m, fault.Bad("customers", "number %d has a bonus check that cannot be read: %s", i+1, cmp.Or(problem, o.problem))
				}
			}
		}
	}
	return m, nil
}

// Importer queues imports and tells how far they have come. It is safe for
// concurrent use.
type Importer struct {
	Imports Imports
	// Parts takes the parts, in order for each account.
	Parts worker.Sender
	Now   func() time.Time
	// NewID returns an id that no other import has.
	NewID func() string
}

// Start queues an import; file is the file's name, "" if it has none. When it
// returns without an error every part is on the queue. fault.Unavailable means
// that some may be: the file is to be sent again, which does no harm.
func (s *Importer) Start(ctx context.Context, account, request, file string, plan Plan) (Import, error) {
	parts := split(plan.Customers)
	i := Import{
		Account: account, ID: s.NewID(), File: cut(file, 200), Rows: plan.Rows, Customers: len(plan.Customers),
		Parts: len(parts), Created: s.Now(),
	}
	const again = "The import could not be queued. Send the file again: what is imported already stays as it is."
	if err := s.Imports.Create(ctx, i); err != nil {
		return Import{}, fault.Wrap(fault.Unavailable, err, again)
	}
	err := parallel(len(parts), sendsAtOnce, func(n int) error {
		m := PartMessage{Account: account, Import: i.ID, Part: n + 1, Request: request, Customers: parts[n]}
		body, err := m.encode()
		if err != nil {
			return err
		}
		return s.Parts.Send(ctx, worker.Message{Body: body, Group: account, Dedup: fmt.Sprintf("%s-%d", i.ID, m.Part)})
	})
	if err == nil {
		err = s.Imports.Queue(ctx, account, i.ID)
	}
	if err != nil {
		return Import{}, fault.Wrap(fault.Unavailable, err, again)
	}
	i.Queued = true
	return i, nil
}

// split makes parts of customers that fit a message each.
func split(all []Customer) (parts [][]Customer) {
	from, size := 0, 0
	for i, c := range all {
		// What encode writes is not longer: 64 bytes of names and marks for a
		// customer, 40 for a row.
		n := len(c.Email) + len(c.Phone) + 64
		for _, l := range c.Lines {
			n += 40
			for _, raw := range l.Checks {
				n += len(raw) + 1
			}
		}
		if i > from && (i-from == maxPart || size+n > maxPartSize) {
			parts = append(parts, all[from:i])
			from, size = i, 0
		}
		size += n
	}
	if from < len(all) {
		parts = append(parts, all[from:])
	}
	return parts
}

// parallel calls do for 0 to n-1, limit at a time, and returns the first error.
// After an error no more calls are begun.
func parallel(n, limit int, do func(i int) error) error {
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, first == nil && next <= n
	}
	for range min(n, limit) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					first = cmp.Or(first, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// State is what an import is doing.
type State string

// The states of an import.
const (
	Queuing     State = "queuing"     // its parts are being queued
	Queued      State = "queued"      // no part has begun
	Running     State = "running"     // some parts have begun
	Waiting     State = "waiting"     // for what Reason says
	Done        State = "done"        // every row is counted
	Interrupted State = "interrupted" // queuing it failed: the file must be sent again
)

// Status tells how far an import has come. Counts are of rows.
type Status struct {
	State     State  `json:"state"`
	Percent   int    `json:"percent"` // whole; 100 only when it is done
	Rows      int    `json:"rows"`
	Done      int    `json:"done"` // written, unchanged or failed
	Written   int    `json:"written"`
	Unchanged int    `json:"unchanged"`
	Failed    int    `json:"failed"`
	Customers int    `json:"customers"`
	ID        string `json:"importid"`
	File      string `json:"file,omitempty"`
	// Reason is why it waits, Until until when, zero if that is not known.
	Reason   string    `json:"reason,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	Failures []Failure `json:"failures,omitempty"` // the first MaxFailures by row
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

// maxImportID is more than any import's id has.
const maxImportID = 100

// Status returns how far an import has come; fault.NotFound if the account has
// none of that id.
func (s *Importer) Status(ctx context.Context, account, id string) (Status, error) {
	const unknown = "There is no import with that id. Imports are remembered for 90 days."
	if id == "" || len(id) > maxImportID {
		return Status{}, fault.New(fault.NotFound, unknown)
	}
	i, parts, err := s.Imports.Get(ctx, account, id)
	if errors.Is(err, ErrNoImport) {
		return Status{}, fault.Wrap(fault.NotFound, err, unknown)
	}
	if err != nil {
		return Status{}, fmt.Errorf("read import: %w", err)
	}
	st := Status{ID: i.ID, File: i.File, Rows: i.Rows, Customers: i.Customers, Created: i.Created, Updated: i.Created}
	finished := 0
	for _, p := range parts {
		st.Written += p.Written
		st.Unchanged += p.Unchanged
		st.Failed += p.Failed
		st.Failures = append(st.Failures, p.Failures...)
		if p.Updated.After(st.Updated) {
			st.Updated = p.Updated
		}
		if p.Finished {
			finished++
		} else if p.Reason != "" {
			st.Reason, st.Until = p.Reason, p.Until
		}
	}
	slices.SortStableFunc(st.Failures, func(a, b Failure) int { return cmp.Compare(a.Row, b.Row) })
	st.Failures = st.Failures[:min(len(st.Failures), MaxFailures)]
	for i, f := range st.Failures {
		st.Failures[i].Swedish = failure(f.Row, f.Column, f.Code, f.Args).Swedish
	}
	st.Done = st.Written + st.Unchanged + st.Failed
	switch {
	case finished >= i.Parts:
		st.State, st.Percent = Done, 100
		return st, nil
	case !i.Queued && s.Now().Sub(i.Created) > queuedWithin:
		st.State, st.Reason, st.Until = Interrupted, "The file could not be queued. Send it again: what is imported already stays as it is.", time.Time{}
	case st.Reason != "":
		st.State = Waiting
	case len(parts) > 0:
		st.State = Running
	case !i.Queued:
		st.State = Queuing
	default:
		st.State = Queued
	}
	if i.Rows > 0 {
		st.Percent = min(st.Done*100/i.Rows, 99)
	}
	return st, nil
}

// Latest returns how far the account's latest imports have come, newest first.
func (s *Importer) Latest(ctx context.Context, account string) ([]Status, error) {
	ids, err := s.Imports.Latest(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("list imports: %w", err)
	}
	list := []Status{}
	for _, id := range ids {
		st, err := s.Status(ctx, account, id)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			continue // it never came to be
		}
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

// ImportWorker brings queued parts of imports to Rule. It is safe for
// concurrent use.
type ImportWorker struct {
	Books   Store
	Imports Imports
	// Session returns a session with Rule for an account; fault.NotFound if
	// there is no such account.
	Session func(ctx context.Context, account string) (*rule.Session, error)
	Log     *slog.Logger
	Now     func() time.Time
}

// errTime is why a part goes on in the next delivery: this one's time is over.
var errTime = errors.New("the delivery's time is over")

// Work brings a queued part to Rule, from where it has come to; attempt is
// unique to this delivery of it. It may be repeated: every row is counted once.
// fault.Busy says when it goes on, and why is noted for Importer.Status. The
// returned session, which may be nil, tells what the delivery cost.
func (w *ImportWorker) Work(ctx context.Context, body, attempt string) (m PartMessage, r *rule.Session, err error) {
	if m, err = DecodePart(body); err != nil {
		return m, nil, err
	}
	p, err := w.Imports.Part(ctx, m.Account, m.Import, m.Part)
	if err != nil {
		return m, nil, fmt.Errorf("read progress: %w", err)
	}
	if p.Finished {
		return m, nil, nil
	}
	p.Rows = m.rows()
	if r, err = w.Session(ctx, m.Account); err == nil {
		if err = w.run(ctx, r, m, &p, attempt); err == nil {
			return m, r, nil
		}
		// Rule's word about one request is not about the part.
		switch fault.KindOf(err) {
		case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
			err = fault.Wrap(fault.Unavailable, err, "Rule does not take what it took before.")
		}
	}
	if !errors.Is(err, errTime) && fault.KindOf(err) != fault.NotFound {
		p.Reason, p.Until = waits(err)
		if serr := w.save(ctx, m, p); serr != nil {
			w.Log.WarnContext(ctx, "could not note why an import waits", "account", m.Account, "import", m.Import, "part", m.Part, "error", serr)
		}
	}
	return m, r, err
}

// waits says what an import waits for, and until when.
func waits(err error) (reason string, until time.Time) {
	f := fault.As(err)
	_, rules := errors.AsType[*rule.Error](err)
	switch {
	case f.Kind == fault.Busy && rules:
		return "Rule's limit of requests is reached.", f.RetryAt
	case f.Kind == fault.Busy:
		return f.Message, f.RetryAt
	case f.Kind == fault.Unauthorized:
		return "Rule refuses the account's API key.", time.Time{}
	case rules:
		return "Rule does not answer, or not sensibly.", time.Time{}
	}
	return "Something in the connector fails; its log has the error.", time.Time{}
}

// GiveUp notes that a part is put aside: its rows that are not done have failed,
// because of cause. It may be repeated.
func (w *ImportWorker) GiveUp(ctx context.Context, body string, cause error) error {
	m, err := DecodePart(body)
	if err != nil && m.Import == "" {
		return nil // no import knows of it
	}
	p, err := w.Imports.Part(ctx, m.Account, m.Import, m.Part)
	if err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	if p.Finished {
		return nil
	}
	given := why{"given_up", Args{}}
	if f := fault.As(cause); f.Message != "" {
		given.args.Value = f.Message
	} else {
		given.args.Value, _ = waits(cause)
	}
	p.Rows = m.rows()
	for _, c := range m.Customers[min(p.Done, len(m.Customers)):] {
		for _, l := range c.Lines {
			p.fail(l.Row, given)
		}
	}
	p.Done, p.Finished, p.Reason, p.Until = max(p.Done, len(m.Customers)), true, "", time.Time{}
	return w.save(ctx, m, p)
}

// why is the code of why a row has failed, and what is particular to it.
type why struct {
	code string
	args Args
}

func (p *Part) fail(row int, reason why) {
	p.Failed++
	if len(p.Failures) < MaxFailures {
		f := failure(row, "", reason.code, reason.args)
		f.Swedish = "" // Importer.Status knows it
		p.Failures = append(p.Failures, f)
	}
}

func (w *ImportWorker) save(ctx context.Context, m PartMessage, p Part) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	p.Number, p.Updated = m.Part, w.Now()
	if err := w.Imports.SavePart(ctx, m.Account, m.Import, p); err != nil {
		return fmt.Errorf("note progress: %w", err)
	}
	return nil
}

// run brings a part to Rule, batch by batch, and notes each.
func (w *ImportWorker) run(ctx context.Context, r *rule.Session, m PartMessage, p *Part, holder string) error {
	for {
		rest := m.Customers[min(p.Done, len(m.Customers)):]
		batch := rest[:min(rule.BulkLimit, len(rest))]
		if len(batch) > 0 {
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < lastBatch {
				return &fault.Error{Kind: fault.Busy, Message: "The part goes on in the next delivery.", RetryAt: w.Now(), Err: errTime}
			}
			if r.Crowded(bulkShare) {
				return &fault.Error{Kind: fault.Busy, Message: "Most of Rule's budget is used up; the tills come first.", RetryAt: w.Now().Add(bulkPause)}
			}
		}
		jobs, err := w.batch(ctx, r, m.Account, batch, holder)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			for n, l := range j.customer.Lines {
				switch {
				case j.reason.code != "":
					p.fail(l.Row, j.reason)
				case j.changed[n]:
					p.Written++
				default:
					p.Unchanged++
				}
			}
		}
		p.Done += len(batch)
		p.Finished, p.Reason, p.Until = p.Done >= len(m.Customers), "", time.Time{}
		if err := w.save(ctx, m, *p); err != nil {
			return err
		}
		if p.Finished {
			return nil
		}
	}
}

// job is a customer of a batch.
type job struct {
	customer Customer
	id       int64 // in Rule
	fresh    bool  // Rule has made the subscriber just now
	lacks    bool  // Rule knows no phone number of the subscriber
	changed  []bool
	reason   why // why its rows have failed, if they have
}

func (j *job) handsOut() bool {
	return slices.ContainsFunc(j.customer.Lines, func(l Line) bool { return len(l.Checks) > 0 })
}

// upsert identifies the customer by one thing only, as Rule would join two
// people or change somebody's number where a file has a wrong digit. Somebody
// of whom Rule knows no number gets the file's as well.
func (j *job) upsert() rule.Upsert {
	switch c := j.customer; {
	case c.Email == "":
		return rule.Upsert{Phone: c.Phone}
	case j.fresh || j.lacks:
		return rule.Upsert{Email: c.Email, Phone: c.Phone}
	default:
		return rule.Upsert{Email: c.Email}
	}
}

// copyOf is Rule's copy of one subscriber's checks, on its way to what the file
// and the book say. Two customers of a file can be one subscriber: the file has
// the email address of one and the phone number of the other.
type copyOf struct {
	key   Key
	jobs  []*job
	book  Book
	field *rule.Field // to be written, nil if Rule has it all
	// before is what Rule shows, and after what field makes of it.
	before, after List
	// inStep says that Rule shows all that the book says, once field is written.
	inStep bool
	tried  bool // a lease may be held
	held   bool // a lease is held, on book
	wrote  bool
}

// fail notes why rows have failed.
func (c *copyOf) fail(code string) {
	c.field = nil
	for _, j := range c.jobs {
		j.reason = why{code: code}
	}
}

// batch brings some customers' checks to Rule, in one write for all of them.
// Nothing was counted if it returns an error; it may be repeated.
func (w *ImportWorker) batch(ctx context.Context, r *rule.Session, account string, customers []Customer, holder string) ([]*job, error) {
	var all, jobs []*job
	for _, c := range customers {
		j := &job{customer: c, changed: make([]bool, len(c.Lines))}
		all = append(all, j)
		if j.handsOut() {
			jobs = append(jobs, j)
		}
	}
	if err := ensure(ctx, r, jobs); err != nil {
		return nil, err
	}
	var copies []*copyOf
	at := map[int64]*copyOf{}
	for _, j := range jobs {
		if j.reason.code != "" {
			continue
		}
		if at[j.id] == nil {
			at[j.id] = &copyOf{key: Key{Account: account, Subscriber: j.id}}
			copies = append(copies, at[j.id])
		}
		at[j.id].jobs = append(at[j.id].jobs, j)
	}
	// No lease is taken before all can be: nobody is kept waiting for nothing.
	err := parallel(len(copies), readsAtOnce, func(i int) error { return w.prepare(ctx, r, copies[i]) })
	if err != nil {
		return nil, err
	}
	err = parallel(len(copies), readsAtOnce, func(i int) error { return w.take(ctx, r, copies[i], holder) })
	if err == nil {
		if err = write(ctx, r, copies); rule.Uncertain(err) {
			// The write may still arrive at Rule: the leases go on until it
			// certainly has, or has not.
			return nil, err
		}
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	rerr := parallel(len(copies), readsAtOnce, func(i int) error { return w.release(settle, r, copies[i], holder) })
	if rerr != nil { // they end by themselves
		w.Log.WarnContext(ctx, "could not give back leases on Rule's copy", "account", account, "error", rerr)
	}
	return all, err
}

// refused reports whether Rule would not have what was sent.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.TooLarge:
		return err != nil
	}
	return false
}

// refusal is why Rule refuses a customer; entry is the place in the request.
// Rule's own words stay out, since they can repeat an address.
func refusal(err error, entry int) why {
	if fault.KindOf(err) == fault.Conflict {
		return why{code: "rule_conflict"}
	}
	if e, ok := errors.AsType[*rule.Error](err); ok {
		for name := range e.Fields {
			what, ours := strings.CutPrefix(name, fmt.Sprintf("subscribers.%d.", entry))
			switch {
			case ours && what == "phone_number":
				return why{code: "rule_phone"}
			case ours && what == "email":
				return why{code: "rule_email"}
			}
		}
		return why{"rule_status", Args{Status: e.Status}}
	}
	return why{code: "rule_refuses"}
}

// ensure makes sure that Rule has the customers, whose ids it finds out. This
// way nobody is looked up in vain, which counts as an error against the account.
func ensure(ctx context.Context, r *rule.Session, jobs []*job) error {
	left := jobs
	for try := 1; len(left) > 0; try++ {
		err := upsert(ctx, r, left)
		if err == nil {
			break
		}
		if !refused(err) {
			return err
		}
		var named []int
		if e, ok := errors.AsType[*rule.Error](err); ok {
			named = slices.DeleteFunc(e.Entries(), func(i int) bool { return i >= len(left) })
		}
		if len(left) == 1 {
			named = []int{0}
		}
		if len(named) == 0 || try > 1 && len(left) > 1 {
			if err := oneByOne(ctx, r, left); err != nil {
				return err
			}
			break
		}
		for _, i := range named {
			left[i].reason = refusal(err, i)
		}
		left = accepted(left)
	}
	return parallel(len(jobs), readsAtOnce, func(i int) error {
		j := jobs[i]
		if j.reason.code != "" || j.id != 0 {
			return nil
		}
		who := rule.ByEmail(j.customer.Email)
		if j.customer.Email == "" {
			who = rule.ByPhone(j.customer.Phone)
		}
		s, err := r.Subscriber(ctx, who)
		if refused(err) {
			j.reason = refusal(err, 0)
			return nil
		}
		j.id, j.lacks = s.ID, err == nil && s.Phone == ""
		return err
	})
}

func accepted(jobs []*job) (list []*job) {
	for _, j := range jobs {
		if j.reason.code == "" {
			list = append(list, j)
		}
	}
	return list
}

// oneByOne finds out whom Rule refuses, where it does not say.
func oneByOne(ctx context.Context, r *rule.Session, jobs []*job) error {
	for _, j := range jobs {
		err := upsert(ctx, r, []*job{j})
		if refused(err) {
			j.reason = refusal(err, 0)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// upsert creates or finds customers in one request. Their ids are noted if the
// answer has them.
func upsert(ctx context.Context, r *rule.Session, jobs []*job) error {
	list := make([]rule.Upsert, len(jobs))
	for i, j := range jobs {
		list[i] = j.upsert()
	}
	bulk, err := r.UpsertMany(ctx, list, []string{customer.Tag})
	if err != nil {
		return err
	}
	ids, lacks := map[string]int64{}, map[string]bool{}
	for _, s := range bulk.Subscribers {
		if mail, ok := customer.NormaliseEmail(s.Email); ok {
			ids[mail], lacks[mail] = s.ID, s.Phone == ""
		}
		if s.Phone != "" {
			ids[s.Phone] = s.ID
		}
	}
	for _, j := range jobs {
		if j.id = ids[j.customer.Email]; j.customer.Email == "" {
			j.id = ids[j.customer.Phone]
		}
		j.lacks = lacks[j.customer.Email]
		j.fresh = bulk.Counted && bulk.Created == len(jobs)
	}
	return nil
}

// prepare reads a customer's book and then Rule's copy, and finds out what is to
// be written. The book must be stored unchanged before it is: then nobody has
// written the copy in between. fault.Busy while somebody else is writing it.
func (w *ImportWorker) prepare(ctx context.Context, r *rule.Session, c *copyOf) error {
	b, err := w.Books.Get(ctx, c.key)
	if err != nil {
		return fmt.Errorf("read book: %w", err)
	}
	if !b.free(w.Now()) {
		return &fault.Error{Kind: fault.Busy, Message: "Another process is writing the bonus checks of a customer.", RetryAt: b.Until}
	}
	c.book, c.field, c.inStep = b, nil, true
	for _, j := range c.jobs {
		clear(j.changed)
	}
	l := List{kind: Check}
	// Who was made just now and has no book, never had anything.
	if !c.jobs[0].fresh || b.Rev != 0 {
		values, err := r.Fields(ctx, rule.ByID(c.key.Subscriber))
		if refused(err) {
			c.fail("rule_hides")
			return nil
		}
		if err != nil {
			return err
		}
		f := fields(values)
		if l, err = Parse(Check, f.Checks); err != nil {
			c.fail("rule_damaged")
			return nil
		}
		if p, err := Parse(Promotion, f.Promotions); err == nil {
			_, behind := p.With(b)
			c.inStep = !behind
		}
	}
	c.before = l
	news := false
	for _, j := range c.jobs {
		for n, line := range j.customer.Lines {
			for _, raw := range line.Checks { // one by one: it matters which
				out, changed, _ := l.Merge(b, []json.RawMessage{raw})
				l, j.changed[n] = out, j.changed[n] || changed > 0
			}
			news = news || j.changed[n]
		}
	}
	if !news {
		return nil
	}
	// An order may have used a check before it was handed out.
	c.book.Adopt(l)
	l, _ = l.With(c.book)
	f, err := l.field()
	if err != nil {
		return err
	}
	if raw, ok := f.Value.(json.RawMessage); ok && utf8.RuneCount(raw) > maxCopy {
		c.fail("rule_full")
		return nil
	}
	c.field, c.after = &f, l
	return nil
}

// take takes the lease on Rule's copy, if it is to be written.
func (w *ImportWorker) take(ctx context.Context, r *rule.Session, c *copyOf, holder string) error {
	for range rounds {
		if c.field == nil {
			return nil
		}
		c.book.hold(holder, w.Now().Add(importLease))
		c.tried = true
		err := w.Books.Put(ctx, c.key, c.book)
		switch {
		case err == nil:
			c.book.Rev++
			c.held = true
			return nil
		case fault.KindOf(err) == fault.TooLarge:
			c.fail("book_full")
			return nil
		case !errors.Is(err, ErrChanged):
			return fmt.Errorf("write book: %w", err)
		}
		if err := w.prepare(ctx, r, c); err != nil {
			return err
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the book kept changing")}
}

// write brings the copies to Rule, in one request if Rule takes them all. The
// leases on them are held.
func write(ctx context.Context, r *rule.Session, copies []*copyOf) error {
	var changed []*copyOf
	var list []rule.Upsert
	for _, c := range copies {
		if c.field != nil {
			u := c.jobs[0].upsert()
			u.Fields = []rule.Field{*c.field}
			changed, list = append(changed, c), append(list, u)
		}
	}
	_, err := r.UpsertMany(ctx, list, []string{customer.Tag})
	if err == nil {
		for _, c := range changed {
			c.wrote = true
		}
		return nil
	}
	if !refused(err) {
		return err
	}
	for _, c := range changed {
		_, err := r.Update(ctx, c.key.Subscriber, rule.Change{Fields: []rule.Field{*c.field}})
		if refused(err) {
			c.fail("rule_checks")
		} else if err != nil {
			return err
		} else {
			c.wrote = true
		}
	}
	return nil
}

// undo makes checks what they were before the import that a till used for the
// first time while it was being written: b, the book as it is now, has opened
// them with what they were then worth.
func (c *copyOf) undo(ctx context.Context, r *rule.Session, b Book) error {
	if !c.wrote {
		return nil
	}
	fixed := List{kind: c.after.kind, items: slices.Clone(c.after.items)}
	again := false
	for i, it := range fixed.items {
		id := it.offer.ID
		e := b.entry(fixed.kind, id)
		if id == "" || e == nil || e.Opening == nil || c.book.entry(fixed.kind, id) != nil || e.Opening.Equal(it.offer.Left) {
			continue // not used, used before, or used with its new worth
		}
		at := slices.IndexFunc(c.before.items, func(x item) bool { return x.offer.ID == id })
		if at >= 0 && e.Opening.Equal(c.before.items[at].offer.Left) {
			fixed.items[i], again = c.before.items[at], true
		}
	}
	if !again {
		return nil
	}
	fixed, _ = fixed.With(b)
	f, err := fixed.field()
	if err != nil {
		return err
	}
	if _, err := r.Update(ctx, c.key.Subscriber, rule.Change{Fields: []rule.Field{f}}); err != nil {
		return fmt.Errorf("take a new value back from a check that was just used: %w", err)
	}
	c.after = fixed
	return nil
}

// release gives back a lease, and notes what Rule shows now. Whoever changed the
// book meanwhile has queued a message that completes Rule's copy.
func (w *ImportWorker) release(ctx context.Context, r *rule.Session, c *copyOf, holder string) error {
	if !c.tried {
		return nil
	}
	b, version := c.book, c.book.Version
	for range rounds {
		if !c.held { // perhaps it is, and the answer was lost
			var err error
			if b, err = w.Books.Get(ctx, c.key); err != nil {
				return fmt.Errorf("read book: %w", err)
			}
			if b.Holder != holder {
				return nil
			}
			if err := c.undo(ctx, r, b); err != nil {
				return err
			}
		}
		if c.wrote && c.inStep {
			b.Synced = max(b.Synced, version)
		}
		b.release()
		if err := w.Books.Put(ctx, c.key, b); !errors.Is(err, ErrChanged) {
			return err
		}
		c.held = false
	}
	return errors.New("the book kept changing")
}
