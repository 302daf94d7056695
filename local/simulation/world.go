// Package simulation plays a shop's backfill, from the merchant's credentials to
// the report, in virtual time: the whole product as `make run` has it, the
// stand-ins for Rule and Sitoo with their limits, tills that go on selling, and
// whatever can go wrong. It runs in a bubble of testing/synctest, where hours
// take no time. What happens is drawn from a seed, so that it can be played
// again, and an auditor holds what Rule has in the end against what Sitoo has.
package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// Options say what is played. Template is required.
type Options struct {
	Template *template.Template
	Seed     uint64
	Orders   int // that the shop has before anything begins
	// Customers is how many people made them, and Known how many of those Rule
	// knows: see person.
	Customers, Known int
	// Sales is how many purchases tills make just before the backfill begins and
	// while it runs.
	Sales int
	// Faults is the chance that something goes wrong before or after any one
	// effect: a write, a message, a request. 0 is a world without faults.
	Faults float64
	// Part is how many orders a message holds, and Ahead how many messages may be
	// queued before reading waits, without AtOnce: small ones give a small shop more
	// of everything. 0 is as usual.
	Part, Ahead int
	// Create asks for the orders of customers whom Rule does not know, too.
	Create bool
	// Server are Rule's limits.
	Server fakerule.Options
	// Page is how long Sitoo takes for an answer with so many orders, and Answer
	// how long Rule takes for one; nil and 0 are no time.
	Page   func(orders int) time.Duration
	Answer time.Duration
	// AtOnce works the queues as Lambda does, side by side; else one delivery
	// after the other, and within one another, in an order that Seed gives.
	AtOnce bool
	// Till is how often a cashier looks somebody up meanwhile, with AtOnce; 0 is
	// never.
	Till time.Duration
	// Look, if set, is called before and after each effect of a function, without
	// AtOnce.
	Look func(function, effect string)
	// Wrap lets a test come between Lambda and a function.
	Wrap func(function string, h lambda.Handler) lambda.Handler
	// Begun, if set, is told of the world before anything happens in it.
	Begun func(w *World)
}

// Key is the shop's Rule API key.
const Key = fakerule.DefaultKey

// begins is when everything is played: later than any made-up order.
var begins = time.Date(2030, time.March, 4, 9, 0, 0, 0, time.UTC)

// from and to are the period of the job; it leaves out some orders.
const from, to = "2023-01-10", "2030-12-31"

// World is what is played.
type World struct {
	*stack.Stack
	o     Options
	Rule  *fakerule.Server
	Sitoo *fakesitoo.Server
	// Account is the shop's account id.
	Account string
	// Known are the people whom Rule knows in the beginning, by Rule's ids.
	Known map[int64]fakerule.Subscriber
	// Copies are the orders whose copies the door has answered with 200, each
	// with how often, and Accepted when the first one was.
	Copies   map[int64]int
	Counts   Counts
	began    time.Time // the job
	dice     *rand.Rand
	trace    hash.Hash64
	running  []*process // the one at work last; those before it wait for it
	pending  []copyOf
	sales    int
	sources  []template.EventSource
	job      string
	opened   []int64 // orders that have been open from the beginning
	closed   map[int64]bool
	untold   int // blocks that a process took with it into its grave
	problems []string
	done     bool // the job has said that it is
}

// Counts say what happened.
type Counts struct {
	Deliveries, Effects, Kills, Faults int
	// LookedUp is how many customers cashiers looked up, and Refused how often
	// they did not get an answer, or waited for over a second.
	LookedUp, Refused int
}

// copyOf is an order whose copy the till has not posted yet.
type copyOf struct {
	id   int64
	body []byte
	due  time.Time
}

// process is one invocation of a function.
type process struct {
	function string
	ctx      context.Context
	dead     bool
	spared   bool // the door, for which nothing goes wrong
	told     bool // of a block by Rule that no other process knows of yet
}

// queues are those that the job's functions work, and deadLetters where those put
// what they give up.
var (
	queues      = []string{"OrdersQueue", "BackfillQueue", "HistoryQueue", "BonusQueue"}
	deadLetters = []string{"OrdersDeadLetters", "BackfillDeadLetters", "HistoryDeadLetters", "BonusDeadLetters"}
)

// errGone is what every effect of a killed process ends with.
var errGone = errors.New("the process is gone")

// Run makes a world, begins its job and plays it to the end. It is to be called
// in a bubble of testing/synctest.
func Run(ctx context.Context, o Options) (*World, error) {
	w, err := New(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	return w, w.Play(ctx)
}

// New makes a world in which nothing has happened yet but that the merchant has
// entered credentials. It is for a test that makes its own jobs.
func New(ctx context.Context, o Options) (*World, error) {
	time.Sleep(time.Until(begins))
	w := &World{
		o: o, Account: "42", Known: map[int64]fakerule.Subscriber{}, Copies: map[int64]int{}, closed: map[int64]bool{}, sales: o.Sales,
		dice: rand.New(rand.NewPCG(o.Seed, 7)), trace: fnv.New64a(),
	}
	if o.Begun != nil {
		o.Begun(w)
	}
	o.Server.Now = nil
	w.Rule = fakerule.New(o.Server)
	customers := fakesitoo.MakeCustomers(o.Customers)
	w.Sitoo = fakesitoo.New(fakesitoo.Options{
		Seed: o.Seed, Orders: o.Orders, Customers: customers, Latency: o.Page, RetryAfter: "7",
		Connector: "http://connector.example/sitoo", Token: Key, Client: &http.Client{Transport: till{w}},
	})
	w.opened = w.Sitoo.Open()
	var people []person
	for i, c := range customers[:min(o.Known, len(customers))] {
		people = append(people, personOf(i, c))
	}
	raw, err := json.Marshal(map[string]any{"accounts": []any{map[string]any{"subscribers": people}}})
	if err != nil {
		return nil, err
	}
	if err := w.Rule.Load(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	for _, s := range w.Rule.Subscribers(Key) {
		w.Known[s.ID] = s
	}
	options := stack.Options{
		Template: o.Template, RuleURL: "http://rule.example", HTTP: &http.Client{Transport: wire{w, "rule", w.Rule}},
		SitooHTTP: &http.Client{Transport: wire{w, "sitoo", nil}}, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Pause: -1, Wrap: o.Wrap,
	}
	if !o.AtOnce {
		options.Change = func(_ string, p *app.Parts) {
			p.Claims, p.PartSize, p.PartsAhead = 1, o.Part, o.Ahead
			p.Jitter = func(n time.Duration) time.Duration { return n / 2 }
			p.Sitoo = sitoo.NewREST(sitoo.RESTConfig{HTTP: options.SitooHTTP, Now: time.Now, Pause: -1, Jitter: func() float64 { return 0.5 }})
			p.OrdersDelay, p.StepsDelay = delayer{w, p.OrdersDelay}, delayer{w, p.StepsDelay}
			p.OldOrdersDelay, p.SyncsDelay = delayer{w, p.OldOrdersDelay}, delayer{w, p.SyncsDelay}
		}
	}
	if w.Stack, err = stack.New(ctx, options); err != nil {
		return nil, err
	}
	if !o.AtOnce {
		w.Ledger.Fail = func(op string) error { return w.effect("ledger " + op) }
		w.History.Fail = func(op string) error { return w.effect("history " + op) }
		w.Accounts.Fail = func(op string) error { return w.effect("accounts " + op) }
		w.Bonus.Fail = func(op string) error { return w.effect("bonus " + op) }
		// A process that is gone gives up no message, either.
		for _, id := range slices.Concat(queues, deadLetters) {
			q, _ := w.Broker.Queue(id)
			q.SetFaults(queue.Faults{
				BeforeSend: func(context.Context, worker.Message) error { return w.effect("send " + id) },
				AfterSend:  func(context.Context, worker.Message) error { return w.effect("send " + id + done) },
				Duplicate:  func(worker.Message) bool { return o.Faults > 0 && w.dice.IntN(4) == 0 },
			})
		}
	}
	for _, s := range o.Template.EventSources {
		if slices.Contains(queues, s.Queue) {
			w.sources = append(w.sources, s)
		}
	}
	body := `{"baseurl":"https://api.mysitoo.com/v2/accounts/90001","site":1,"apiid":"` + fakesitoo.DefaultAPIID + `","password":"` + fakesitoo.DefaultPassword + `"}`
	if status, said := w.Call(http.MethodPut, "/credentials", body); status != http.StatusOK {
		return nil, fmt.Errorf("put credentials: %d %s", status, said)
	}
	for range o.Sales / 4 { // whose copies may come after the job has met them
		w.sell()
	}
	return w, nil
}

// person is somebody whom Rule knows.
type person struct {
	ID    int64  `json:"id,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone_number,omitempty"`
}

// personOf returns what Rule knows of the shop's i-th customer: in turn the till's
// contact with email and phone, another contact with the same email, the till's
// contact with nothing but a phone number, and the till's contact with another
// address than the orders have.
func personOf(i int, c fakesitoo.Customer) person {
	id, _ := strconv.ParseInt(c.ContactID, 10, 64)
	switch i % 4 {
	case 0:
		return person{id, c.Email, c.Phone}
	case 1:
		return person{Email: c.Email}
	case 2:
		if c.Phone != "" {
			return person{ID: id, Phone: c.Phone}
		}
		return person{ID: id, Email: c.Email}
	}
	return person{ID: id, Email: fmt.Sprintf("annan.%d@example.com", i)}
}

// apart does what is no process's: nothing goes wrong with it.
func (w *World) apart(do func()) {
	if !w.o.AtOnce {
		w.running = append(w.running, &process{spared: true})
		defer func() { w.running = w.running[:len(w.running)-1] }()
	}
	do()
}

// Call sends a request as a till or a merchant does, and nothing goes wrong.
func (w *World) Call(method, path, body string) (status int, said string) {
	r := httptest.NewRequest(method, "http://connector.example/sitoo"+path, bytes.NewReader([]byte(body)))
	r.Header.Set("Authorization", "Bearer "+Key)
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.apart(func() { w.Gateway.ServeHTTP(rec, r) })
	return rec.Code, rec.Body.String()
}

// start posts the message that begins the job, as support does.
func (w *World) start(ctx context.Context) error {
	m := map[string]any{"account": w.Account, "from": from, "to": to}
	if w.o.Create {
		m["customers"] = "create"
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	start, _, err := history.DecodeBackfill(string(raw))
	if err != nil {
		return err
	}
	w.job = history.JobID(w.Account, start.Spec)
	w.began = time.Now()
	q, _ := w.Broker.Queue("BackfillQueue")
	w.apart(func() {
		err = q.Send(ctx, worker.Message{Body: string(raw), Group: "support", Dedup: strconv.FormatInt(time.Now().UnixNano(), 36)})
	})
	return err
}

// Forget deletes somebody in Rule, as staff do; nobody expects any order of theirs
// that is not there yet.
func (w *World) Forget(id int64) {
	rec := httptest.NewRecorder()
	w.Rule.ServeHTTP(rec, httptest.NewRequest(http.MethodDelete, fmt.Sprintf("http://rule.example/v2/subscribers/%d?identified_by=id&apikey=%s", id, Key), nil))
	delete(w.Known, id)
	if _, there := w.Rule.Subscriber(Key, id); there {
		w.problems = append(w.problems, fmt.Sprintf("subscriber %d is not deleted: %d %s", id, rec.Code, rec.Body))
	}
}

// Job returns the job as it is stored.
func (w *World) Job() (j history.Job, err error) {
	w.apart(func() { j, err = w.History.Get(context.Background(), w.Account, w.job) })
	return j, err
}

// Status asks how the job comes along.
func (w *World) Status() (st history.Status, err error) {
	code, said := w.Call(http.MethodGet, "/backfills/"+w.job, "")
	if code != http.StatusOK {
		return st, fmt.Errorf("status of the job: %d %s", code, said)
	}
	return st, json.Unmarshal([]byte(said), &st)
}

// Trace sums up all that has happened, in its order: two worlds with the same
// options have the same one.
func (w *World) Trace() string { return strconv.FormatUint(w.trace.Sum64(), 16) }

func (w *World) note(format string, args ...any) {
	fmt.Fprintf(w.trace, format+"\n", args...)
	fmt.Fprintf(w.trace, "%d\n", time.Now().UnixMilli())
}

// Play runs until nothing is left on any queue, and with AtOnce until the job has
// ended.
func (w *World) Play(ctx context.Context) error {
	if w.o.AtOnce {
		return w.playAtOnce(ctx)
	}
	for step := 0; ; step++ {
		if step > 200*(w.o.Orders+1000) {
			st, err := w.Status()
			return fmt.Errorf("the job does not come to an end: %+v, %v", st, err)
		}
		if w.happens() {
			continue
		}
		next := w.next()
		if next.IsZero() {
			return nil
		}
		time.Sleep(time.Until(next))
	}
}

// playAtOnce works the queues as Lambda does.
func (w *World) playAtOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	till := time.Now()
	for {
		if w.o.Till == 0 {
			time.Sleep(time.Second)
		} else {
			till = till.Add(w.o.Till)
			time.Sleep(time.Until(till))
			w.lookUp()
		}
		j, err := w.Job()
		switch {
		case errors.Is(err, history.ErrNoJob):
		case err != nil:
			return err
		case j.State.Final():
			return nil
		}
		if time.Since(w.began) > 30*24*time.Hour {
			return fmt.Errorf("the job does not come to an end: %+v", j)
		}
	}
}

// lookUp is a cashier who looks for somebody by email.
func (w *World) lookUp() {
	began := time.Now()
	status, _ := w.Call(http.MethodGet, fmt.Sprintf("/contacts?key=kund.%05d@example.com", 100+w.Counts.LookedUp%900), "")
	w.Counts.LookedUp++
	if status != http.StatusOK || time.Since(began) > time.Second {
		w.Counts.Refused++
	}
}

// happens lets one thing happen, and reports whether there was one.
func (w *World) happens() bool {
	type choice func() bool
	var choices []choice
	for _, s := range w.sources {
		q, _ := w.Broker.Queue(s.Queue)
		if q.Counts().Visible > 0 {
			choices = append(choices, func() bool { return w.deliver(s) })
		}
	}
	now := time.Now()
	if i := slices.IndexFunc(w.pending, func(c copyOf) bool { return !c.due.After(now) }); i >= 0 {
		choices = append(choices, func() bool {
			c := w.pending[i]
			w.pending = slices.Delete(w.pending, i, i+1)
			w.post(c)
			return true
		})
	}
	if w.sales > 0 && w.dice.IntN(20) == 0 {
		choices = append(choices, func() bool { w.sell(); return true })
	}
	if len(w.opened) > 0 && w.o.Sales > 0 && w.dice.IntN(100) == 0 {
		choices = append(choices, func() bool { w.close(); return true })
	}
	w.dice.Shuffle(len(choices), func(i, j int) { choices[i], choices[j] = choices[j], choices[i] })
	for _, try := range choices {
		if try() { // nothing where the only message is of a group that has one in flight
			return true
		}
	}
	return false
}

// next is when something will happen by itself, zero if nothing will.
func (w *World) next() (next time.Time) {
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	now := time.Now()
	for _, s := range w.sources {
		q, _ := w.Broker.Queue(s.Queue)
		c := q.Counts()
		if c.InFlight+c.Delayed+c.Visible == 0 {
			continue
		}
		for _, m := range q.Messages() {
			if m.VisibleAt.After(now) {
				sooner(m.VisibleAt)
			}
		}
	}
	for _, c := range w.pending {
		sooner(c.due)
	}
	if w.sales > 0 {
		sooner(now.Add(time.Minute))
	}
	return next
}

// deliver gives one message of a queue to its function.
func (w *World) deliver(s template.EventSource) bool {
	q, _ := w.Broker.Queue(s.Queue)
	batch := q.Receive(1)
	if len(batch) == 0 {
		return false
	}
	f, _ := w.o.Template.Function(s.Function)
	payload, err := json.Marshal(events.SQSEvent{Records: batch})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.Timeout)
	defer cancel()
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: "simulated"})
	p := &process{function: f.Name, ctx: ctx}
	w.Counts.Deliveries++
	w.note("deliver %s", f.Name)
	w.running = append(w.running, p)
	out, err := w.Invoke(ctx, f.Name, payload)
	w.running = w.running[:len(w.running)-1]
	if p.told {
		w.untold++
	}
	var answer events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if p.dead || ctx.Err() != nil || err != nil {
		w.note("%s died", f.Name)
		return true // the message comes back when its visibility timeout ends
	}
	w.watch()
	if len(answer.BatchItemFailures) == 0 {
		if err := q.Delete(batch[0].ReceiptHandle); err != nil {
			w.note("not deleted")
		}
	}
	return true
}

// watch holds a job that says that it is done against its parts.
func (w *World) watch() {
	if w.done || w.job == "" {
		return
	}
	j, err := w.Job()
	if err != nil || j.State != history.Done {
		return
	}
	w.done = true
	var parts []history.Part
	w.apart(func() { parts, err = w.History.Parts(context.Background(), w.Account, j.ID, j.Run) })
	for _, id := range j.Parts {
		if !slices.ContainsFunc(parts, func(p history.Part) bool { return p.ID == id && p.Finished }) {
			w.problems = append(w.problems, fmt.Sprintf("the job is done, and its part %s is not: %v", id, err))
		}
	}
}

// delayer delays messages, as long as its process lives.
type delayer struct {
	w  *World
	to worker.Delayer
}

func (d delayer) Delay(ctx context.Context, receipt string, delay time.Duration) error {
	if err := d.w.effect("delay"); err != nil {
		return err
	}
	return d.to.Delay(ctx, receipt, delay)
}

// till is how a till reaches the connector: the copy of an order is posted some
// time later.
type till struct{ w *World }

func (t till) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var o struct {
		ID int64 `json:"orderid"`
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	waits := time.Duration(0)
	if t.w.dice.IntN(2) == 0 {
		waits = time.Duration(t.w.dice.IntN(3600)) * time.Second
	}
	t.w.pending = append(t.w.pending, copyOf{o.ID, body, time.Now().Add(waits)})
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader([]byte(`{}`))), Request: r}, nil
}

// close ends an order that was open in the beginning, as long as the job has
// still to look at it again.
func (w *World) close() {
	if j, err := w.Job(); err == nil && j.Phase != history.Customers && j.Phase != history.Reading {
		return
	}
	i := w.dice.IntN(len(w.opened))
	id := w.opened[i]
	w.opened = slices.Delete(w.opened, i, i+1)
	w.closed[id] = true
	end := w.Sitoo.Close
	if w.dice.IntN(3) == 0 {
		end = w.Sitoo.Cancel
	}
	if err := end(id); err != nil {
		w.problems = append(w.problems, fmt.Sprintf("order %d cannot be closed: %v", id, err))
	}
	w.note("closed %d", id)
}

// sell makes a purchase by somebody whom the till has found.
func (w *World) sell() {
	w.sales--
	known := min(w.o.Known, w.o.Customers)
	i := 4*w.dice.IntN(max(known/4, 1)) + []int{0, 2, 3}[w.dice.IntN(3)]
	if i >= known {
		i = 0
	}
	c := fakesitoo.MakeCustomers(i + 1)[i]
	rec := httptest.NewRecorder()
	w.Sitoo.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "http://sitoo.example/_sell", bytes.NewReader([]byte(`{"contactid":"`+c.ContactID+`"}`))))
	if rec.Code != http.StatusOK {
		w.problems = append(w.problems, fmt.Sprintf("a sale fails: %d %s", rec.Code, rec.Body))
	}
	w.note("sold to %s", c.ContactID)
}

// post sends an order's copy to the door.
func (w *World) post(c copyOf) {
	w.note("copy of %d", c.id)
	status, said := w.Call(http.MethodPost, "/transactions", string(c.body))
	if status != http.StatusOK {
		w.problems = append(w.problems, fmt.Sprintf("the copy of order %d: %d %s", c.id, status, said))
		return
	}
	w.Copies[c.id]++
	if w.Copies[c.id] == 1 && w.dice.IntN(8) == 0 { // the till sends it twice
		c.due = time.Now().Add(time.Duration(w.dice.IntN(7200)) * time.Second)
		w.pending = append(w.pending, c)
	}
}
