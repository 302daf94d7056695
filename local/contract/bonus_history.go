package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// BonusHistory has tills redeem, take back and read one customer's bonus checks
// side by side, and orders prove and return them, on a store and a stand-in for
// Rule, while processes are killed at any step, writes to Rule arrive late, and
// messages complete Rule's copy. It fails unless the answers are those of some
// order in which one process at a time could have given them (they are
// linearizable), and Rule's copy says in the end what the book says.
//
// One process at a time takes one step at a time, chosen by a seed, so that a
// history that fails is played again by its seed: -rapid.seed, which rapid
// prints. How many histories are played is rapid's -rapid.checks.
func BonusHistory(t *testing.T, s bonus.Store) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		if err := playBonus(s, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	})
}

// The operations of a history.
type bonusOp int

const (
	opRead bonusOp = iota
	opRedeem
	opRestore
	opProve
	opReturn
	opSync // no caller hears of it, so it is not part of the history
)

var bonusOpNames = [...]string{"read", "redeem", "restore", "prove", "return", "sync"}

// bonusInput is what is asked for. Amounts are in öre here.
type bonusInput struct {
	op     bonusOp
	checks []int  // which; one but for a proof
	order  string // "" if the till does not say; of a return, what it credits
	remain int64  // redeem: what is to be left
	amount int64  // prove: the discount
	credit string // return: its own order id
	half   bool   // return: one of the order's two units
}

func (in bonusInput) String() string {
	return fmt.Sprintf("%s %v order %q remain %d amount %d credit %q half %v", bonusOpNames[in.op], in.checks, in.order, in.remain, in.amount, in.credit, in.half)
}

// bonusOutput is what the caller heard.
type bonusOutput struct {
	unknown bool // nothing: the process died
	refusal fault.Kind
	refused bool
	used    int64
	left    [3]int64 // redeem, restore: of the first; read: of each check
}

// The sequential specification: what one customer's checks do when one thing
// happens at a time. It is written from the rules, not from package bonus, and
// leaves out what a history does not use, as limits in time. All proofs are
// dated before every other operation, and within the hour.
type (
	specUse struct {
		order        string
		amount, left int64 // left right after it
		told, proved bool
		taken        bool // taken back
		back         int64
		units        int64 // of the two, that came back
		credits      string
	}
	specCheck struct {
		opening int64
		uses    []specUse
	}
)

func (c *specCheck) left() int64 {
	left := c.opening
	for _, u := range c.uses {
		left -= u.net()
	}
	return left
}

func (u *specUse) net() int64 {
	if u.taken {
		return 0
	}
	return u.amount - u.back
}

// by returns the use by an order that stands, or else the last that was taken
// back; nil if there is none.
func (c *specCheck) by(order string) (found *specUse) {
	for i := range c.uses {
		if u := &c.uses[i]; u.order == order && (found == nil || found.taken) {
			found = u
		}
	}
	return found
}

func (c *specCheck) redeem(in bonusInput) bonusOutput {
	left := c.left()
	if u := c.by(in.order); in.order != "" && u != nil && !u.taken {
		if !u.told { // the order came first; what the till says of the amount holds
			if more := left + u.net() - in.remain; more > 0 && u.credits == "" {
				u.amount = more
			}
			u.told, u.left = true, c.left()
		}
		return bonusOutput{used: u.amount, left: [3]int64{u.left}}
	}
	switch {
	case left == 0:
		return bonusOutput{refused: true, refusal: fault.Conflict}
	case in.remain >= left:
		return bonusOutput{refused: true, refusal: fault.Invalid}
	}
	c.uses = append(c.uses, specUse{order: in.order, amount: left - in.remain, left: in.remain, told: true})
	return bonusOutput{used: left - in.remain, left: [3]int64{in.remain}}
}

func (c *specCheck) restore(in bonusInput) bonusOutput {
	var u *specUse
	switch {
	case in.order != "":
		if u = c.by(in.order); u == nil {
			return bonusOutput{refused: true, refusal: fault.NotFound}
		}
	case len(c.uses) == 0:
		return bonusOutput{refused: true, refusal: fault.Conflict}
	default:
		if u = &c.uses[len(c.uses)-1]; u.proved && !u.taken { // a completed order's
			return bonusOutput{refused: true, refusal: fault.Conflict}
		}
	}
	u.taken = true
	return bonusOutput{left: [3]int64{c.left()}}
}

func (c *specCheck) prove(in bonusInput) {
	u := c.by(in.order)
	if u != nil && (u.proved || u.taken) {
		return // heard before, or taken back since
	}
	for _, taken := range []bool{false, true} { // one that a till told of without the order's id
		for i := range c.uses {
			if x := &c.uses[i]; u == nil && x.order == "" && x.taken == taken {
				u = x
			}
		}
	}
	if u != nil {
		u.order, u.proved = in.order, true
		return
	}
	left := c.left()
	amount := min(in.amount, left)
	if left-amount <= 3 { // as much as Sitoo's rounding of two units in a row
		amount = left
	}
	c.uses = append(c.uses, specUse{order: in.order, amount: amount, left: left - amount, proved: true})
}

func (c *specCheck) giveBack(in bonusInput) {
	u := c.by(in.order)
	if u == nil || u.taken || strings.Contains(u.credits, in.credit+",") {
		return
	}
	whole := u.amount
	if in.half && u.proved {
		u.units++
		whole = (u.amount*min(u.units, 2) + 1) / 2
	}
	u.back = max(u.back, whole)
	u.credits += in.credit + ","
}

func specStep(state any, input, output any) (bool, any) {
	in, out := input.(bonusInput), output.(bonusOutput)
	checks := slices.Clone(state.([]specCheck))
	var want bonusOutput
	for _, i := range in.checks {
		c := &checks[i]
		c.uses = slices.Clone(c.uses)
		switch in.op {
		case opRedeem:
			want = c.redeem(in)
		case opRestore:
			want = c.restore(in)
		case opProve:
			c.prove(in)
		case opReturn:
			c.giveBack(in)
		case opRead:
			want.left[i] = c.left()
		}
	}
	return out.unknown || out == want, checks
}

// stage is one history being played.
type stage struct {
	store bonus.Store
	key   bonus.Key
	rule  *fakerule.Server
	rng   *rand.Rand
	now   time.Time
	ticks int64
	ids   int

	waiting []*actor
	pause   chan *actor // an actor that waits for its turn, or has left

	queue []time.Time     // when messages come that complete Rule's copy
	late  []*http.Request // writes to Rule that are still on their way
	trace []string
}

var errKilled = errors.New("the process was killed")

// actor is one till, or one worker: a process after the other, each for one
// operation. It takes a step when the stage says so.
type actor struct {
	*stage
	name  string
	turn  chan struct{}
	pace  int // how often it has a turn, compared with others
	gone  bool
	kill  int  // steps until this process is killed, -1 for never
	dead  bool // killed
	loses bool // its writes to Rule are late, and unanswered
}

// step is taken before and after every effect of a process.
func (a *actor) step(what string) error {
	if a.dead {
		return errKilled
	}
	a.pause <- a
	<-a.turn
	a.trace = append(a.trace, a.name+": "+what)
	if a.kill == 0 {
		a.dead = true
		a.trace = append(a.trace, a.name+" is killed")
		return errKilled
	}
	a.kill--
	return nil
}

// around takes the steps of one effect.
func (a *actor) around(what string, effect func() error) error {
	if err := a.step(what); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	return a.step(what + " done")
}

func (a *actor) Get(ctx context.Context, k bonus.Key) (b bonus.Book, err error) {
	err = a.around("get", func() (err error) { b, err = a.store.Get(ctx, k); return err })
	return b, err
}

// Latest is no step of a book.
func (a *actor) Latest(ctx context.Context, k bonus.Key, day string, unsettled time.Time) (bonus.Latest, error) {
	return a.store.Latest(ctx, k, day, unsettled)
}

func (a *actor) Put(ctx context.Context, k bonus.Key, b bonus.Book) error {
	return a.around("put", func() error { return a.store.Put(ctx, k, b) })
}

func (a *actor) Send(_ context.Context, m worker.Message) error {
	return a.around("send", func() error { a.queue = append(a.queue, a.now.Add(m.Delay)); return nil })
}

// RoundTrip carries requests to Rule. A write by a process that is killed
// before it has its effect may have left all the same, and arrive later.
func (a *actor) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	in := r.Clone(context.WithoutCancel(r.Context()))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	write, was := r.Method == http.MethodPut, a.dead
	err := a.step(r.Method)
	if write && !was && (a.loses || err != nil && a.rng.IntN(2) == 0) {
		a.late = append(a.late, in)
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	a.rule.ServeHTTP(w, in)
	if err := a.step(r.Method + " done"); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (s *stage) clock() time.Time { return s.now }

// service starts a process.
func (a *actor) service() (*bonus.Service, *rule.Session) {
	a.dead, a.loses, a.kill = false, a.rng.IntN(12) == 0, -1
	a.pace = 1 << (2 * a.rng.IntN(4)) // so that some sleep through what others do
	if a.rng.IntN(7) == 0 {
		a.kill = a.rng.IntN(14)
	}
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: a}, Now: a.clock, Pause: -1})
	return &bonus.Service{
		Store: a, Syncs: a, Now: a.clock, Log: slog.New(slog.DiscardHandler),
		NewID: func() string { a.ids++; return fmt.Sprint(a.ids) },
	}, client.Session(fakerule.DefaultKey, time.Time{}, nil)
}

var bonusIDs = []string{"a", "b", "c"}

func ore(d decimal.Decimal) int64 {
	if d = d.Shift(2); !d.IsInteger() {
		return math.MinInt64 // which no specification says
	}
	return d.IntPart()
}

// do carries out one operation as a new process, and returns what its caller
// heard.
func (a *actor) do(ctx context.Context, in bonusInput) (out bonusOutput, err error) {
	s, session := a.service()
	request := bonus.Request{Kind: bonus.Check, Order: in.order}
	if len(in.checks) > 0 {
		request.ID = bonusIDs[in.checks[0]]
	}
	var answer bonus.Answer
	switch in.op {
	case opRead:
		var values rule.Values
		if values, err = session.Fields(ctx, a.key.Subscriber, customer.ContactGroup); err != nil {
			break
		}
		shown, _ := s.Card(ctx, a.key, bonus.Fields{Checks: values["Sitoo-Contact"]["bonuschecks"].JSON()})
		for _, c := range shown {
			out.left[slices.Index(bonusIDs, c.ID)] = ore(c.Left)
		}
	case opRedeem:
		left := decimal.New(in.remain, -2)
		request.Remaining = &left
		answer, err = s.Redeem(ctx, session, a.key, request, "request")
		out.used, out.left[0] = ore(answer.Used), ore(answer.Remaining)
	case opRestore:
		answer, err = s.Restore(ctx, session, a.key, request, "request")
		out.left[0] = ore(answer.Remaining)
	case opProve:
		var proofs []bonus.Proof
		for _, i := range in.checks {
			amount := decimal.New(in.amount, -2)
			proofs = append(proofs, bonus.Proof{
				Kind: bonus.Check, ID: bonusIDs[i], Order: in.order, Date: start, Amount: amount,
				Rows: []bonus.Row{{ID: "row", Quantity: decimal.NewFromInt(2), Amount: amount}},
			})
		}
		err = s.Prove(ctx, session, a.key, proofs, "request")
	case opReturn:
		g := bonus.GivesBack{Order: in.credit, Original: in.order}
		if in.half {
			g.Rows = []bonus.Row{{ID: "row", Quantity: decimal.NewFromInt(1)}}
		}
		err = s.Return(ctx, session, a.key, g, false, "request")
	case opSync:
		err = s.Sync(ctx, session, a.key)
	}
	if a.dead {
		return bonusOutput{unknown: true}, nil
	}
	switch kind := fault.KindOf(err); {
	case err == nil || in.op == opSync:
		return out, err
	case kind == fault.Conflict || kind == fault.Invalid || kind == fault.NotFound:
		return bonusOutput{refused: true, refusal: kind}, nil
	}
	return out, fmt.Errorf("%v: %w", in, err)
}

func (s *stage) input(checks int) bonusInput {
	one := []int{s.rng.IntN(checks)}
	orders := []string{"1", "2", "3"}
	order := orders[s.rng.IntN(len(orders))]
	maybe := append([]string{""}, orders...)[s.rng.IntN(4)]
	switch n := s.rng.IntN(20); {
	case n < 6:
		in := bonusInput{op: opRedeem, checks: one, order: maybe}
		if s.rng.IntN(2) == 0 {
			in.remain = 1000 * s.rng.Int64N(10)
		}
		return in
	case n < 9:
		return bonusInput{op: opRestore, checks: one, order: maybe}
	case n < 12:
		in := bonusInput{op: opProve, checks: one, order: order, amount: 2000 + 2000*s.rng.Int64N(4)}
		if checks > 1 && s.rng.IntN(2) == 0 {
			in.checks = []int{0, 1}
		}
		return in
	case n < 14:
		return bonusInput{op: opReturn, checks: []int{0, 1, 2}[:checks], order: order, credit: fmt.Sprint("credit ", s.rng.IntN(4)), half: s.rng.IntN(2) == 0}
	}
	return bonusInput{op: opRead, checks: []int{0, 1, 2}[:checks]}
}

// together lets scripts run side by side, each as an actor, one step at a time.
func (s *stage) together(scripts map[string]func(*actor)) {
	s.pause = make(chan *actor)
	names := make([]string, 0, len(scripts))
	for name := range scripts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := &actor{stage: s, name: name, turn: make(chan struct{}), pace: 1}
		s.waiting = append(s.waiting, a)
		go func() {
			<-a.turn
			scripts[name](a)
			a.gone = true
			s.pause <- a
		}()
	}
	for len(s.waiting) > 0 {
		i := s.next()
		a := s.waiting[i]
		a.turn <- struct{}{}
		if a = <-s.pause; a.gone {
			s.waiting = slices.Delete(s.waiting, i, i+1)
		}
	}
}

// next chooses whose turn it is.
func (s *stage) next() int {
	all := 0
	for _, a := range s.waiting {
		all += a.pace
	}
	n := s.rng.IntN(all)
	for i, a := range s.waiting {
		if n -= a.pace; n < 0 {
			return i
		}
	}
	return 0 // not reached
}

// due takes a message whose time has come.
func (s *stage) due() bool {
	i := slices.IndexFunc(s.queue, func(at time.Time) bool { return !at.After(s.now) })
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	return i >= 0
}

// syncs is a worker that handles the messages that are due.
func (s *stage) syncs(ctx context.Context, problem *error) func(*actor) {
	return func(a *actor) {
		for s.due() {
			out, err := a.do(ctx, bonusInput{op: opSync})
			switch busy := fault.KindOf(err) == fault.Busy; {
			case out.unknown:
				s.queue = append(s.queue, s.now.Add(time.Second))
			case busy:
				s.queue = append(s.queue, fault.As(err).RetryAt)
			case err != nil && rule.Uncertain(err):
				s.queue = append(s.queue, s.now.Add(time.Second))
			case err != nil:
				*problem = errors.Join(*problem, fmt.Errorf("sync: %w", err))
			}
		}
	}
}

// playBonus plays the history of a seed.
func playBonus(store bonus.Store, seed uint64) error {
	ctx := context.Background()
	s := &stage{
		store: store, key: bonus.Key{Account: newID(), Subscriber: 255934461},
		rng: rand.New(rand.NewPCG(seed, 0)), now: start.Add(time.Second),
	}
	s.rule = fakerule.New(fakerule.Options{Now: s.clock, Budget: math.MaxInt32, ErrorSample: math.MaxInt32})
	const one = `{"accounts":[{"key":"` + fakerule.DefaultKey + `","schema":[{"group":"Sitoo-Contact","fields":{"bonuschecks":"json","promotions":"json"}}],
		"subscribers":[{"id":255934461,"email":"kund.ett@example.com"}]}]}`
	if err := s.rule.Load(strings.NewReader(one)); err != nil {
		return fmt.Errorf("load the stand-in: %w", err)
	}
	begin := []specCheck{{opening: 10_000}, {opening: 5_000}, {opening: 8_000}}[:1+s.rng.IntN(3)]
	field := []string{
		`{"bonuscheckid":"a","value":"100.00","mine":{"x":[1]}}`, `{"bonuscheckid":"b","value":60,"remaining":50}`, `{"bonuscheckid":"c","value":"80"}`,
	}[:len(begin)]
	const key = "Sitoo-Contact.bonuschecks"
	if err := s.rule.SetField(fakerule.DefaultKey, s.key.Subscriber, 0, key, "["+strings.Join(field, ",")+"]"); err != nil {
		return fmt.Errorf("set the stand-in's field: %w", err)
	}

	var history []porcupine.Operation
	var problem error
	till := func(a *actor) {
		for range 1 + s.rng.IntN(3) {
			in := s.input(len(begin))
			s.ticks++
			op := porcupine.Operation{Input: in, Call: s.ticks}
			s.trace = append(s.trace, a.name+" begins to "+in.String())
			out, err := a.do(ctx, in)
			if err != nil {
				problem = errors.Join(problem, err)
				return
			}
			s.trace = append(s.trace, fmt.Sprintf("%s hears %+v", a.name, out))
			s.ticks++
			op.Output, op.Return = out, s.ticks
			if out.unknown {
				op.Return = math.MaxInt64 // it may have its effect at any time, or never
			}
			if !out.unknown || in.op != opRead {
				history = append(history, op)
			}
		}
	}
	steps := []time.Duration{time.Second, 30 * time.Second, 61 * time.Second, 95 * time.Second}
	for range 4 {
		s.together(map[string]func(*actor){"till 1": till, "till 2": till, "till 3": till, "till 4": till, "worker": s.syncs(ctx, &problem)})
		// What is late arrives before the lease of whoever sent it is over.
		for _, r := range s.late {
			s.rule.ServeHTTP(httptest.NewRecorder(), r)
		}
		s.late = nil
		s.now = s.now.Add(steps[s.rng.IntN(len(steps))])
	}
	for len(s.queue) > 0 && problem == nil {
		s.now = s.now.Add(30 * time.Second)
		s.together(map[string]func(*actor){"worker": s.syncs(ctx, &problem)})
		for _, r := range s.late {
			s.rule.ServeHTTP(httptest.NewRecorder(), r)
		}
		s.late = nil
	}
	if problem == nil {
		problem = s.inStep(ctx, key)
	}
	model := porcupine.Model{
		Init: func() any { return begin }, Step: specStep,
		Equal: func(a, b any) bool {
			return slices.EqualFunc(a.([]specCheck), b.([]specCheck), func(a, b specCheck) bool { return slices.Equal(a.uses, b.uses) })
		},
	}
	switch porcupine.CheckOperationsTimeout(model, history, 30*time.Second) {
	case porcupine.Illegal:
		problem = errors.Join(problem, errors.New("the history is not linearizable"))
	case porcupine.Unknown:
		problem = errors.Join(problem, errors.New("the history was not judged in time"))
	}
	if problem != nil {
		return fmt.Errorf("%w\n%s", problem, strings.Join(s.trace, "\n"))
	}
	return nil
}

// inStep checks that Rule's copy says what the book says.
func (s *stage) inStep(ctx context.Context, key string) error {
	b, err := s.store.Get(ctx, s.key)
	if err != nil {
		return err
	}
	if b.Version != b.Synced {
		return fmt.Errorf("the book is at version %d, Rule's copy at %d, and no message is left", b.Version, b.Synced)
	}
	sub, _ := s.rule.Subscriber(fakerule.DefaultKey, s.key.Subscriber)
	f, _ := sub.Field(key)
	l, err := bonus.Parse(bonus.Check, json.RawMessage(f.Value))
	if err != nil {
		return fmt.Errorf("read the copy in Rule: %w", err)
	}
	if want, changed := l.With(b); changed {
		text, err := want.MarshalJSON()
		return errors.Join(fmt.Errorf("in the end Rule's copy is %s, the book says %s", f.Value, text), err)
	}
	return nil
}
