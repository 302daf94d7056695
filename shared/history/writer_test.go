package history_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// errKilled is what every effect of a killed process ends with.
var errKilled = errors.New("the process is gone")

// writerRig is an account with customers in Rule and a writer for its old
// orders. Every effect on a store or on Rule passes step first, and again when it
// has happened.
type writerRig struct {
	later  *later
	t      *testing.T
	rule   *fakerule.Server
	client *rule.Client
	stores *memory.History
	ledger *memory.Ledger
	writer *history.Writer
	job    history.Job

	mu  sync.Mutex
	now time.Time
	on  func(op string) error // nil lets everything pass
}

func (r *writerRig) step(op string) error {
	r.mu.Lock()
	on := r.on
	r.mu.Unlock()
	if on == nil {
		return nil
	}
	return on(op)
}

func (r *writerRig) each(on func(op string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = on
}

func (r *writerRig) clock() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now }

func (r *writerRig) pass(d time.Duration) { r.mu.Lock(); defer r.mu.Unlock(); r.now = r.now.Add(d) }

// RoundTrip carries a request to the stand-in, whose lost connections are errors
// here.
func (r *writerRig) RoundTrip(q *http.Request) (res *http.Response, err error) {
	if err := r.step("rule"); err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(q.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			res, err = nil, errors.New("connection reset by peer")
		}
	}()
	if q.Body == nil { // as a server never has it
		q = q.Clone(q.Context())
		q.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	r.rule.ServeHTTP(w, q)
	if err := r.step("rule done"); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// writerDirectory knows the rig's one account.
type writerDirectory struct {
	accounts *memory.Accounts
	rig      *writerRig
}

func (d writerDirectory) Session(ctx context.Context, id string) (account.Account, *rule.Session, error) {
	a, _, err := d.accounts.Get(ctx, id, "", "")
	if err != nil {
		return account.Account{}, nil, fault.Wrap(fault.NotFound, err, "There is no such account.")
	}
	return a, d.rig.client.Session(fakerule.DefaultKey, a.BlockedUntil, nil), nil
}

func (writerDirectory) Shop(context.Context, account.Account) (*sitoo.Shop, error) {
	return nil, errors.New("the writer never asks Sitoo")
}

func (writerDirectory) Claims(context.Context, string) ([]account.Claim, error) { return nil, nil }

func (writerDirectory) Begin(context.Context, account.Account) error { return nil }

// drop takes every message.
type drop struct{}

func (drop) Send(context.Context, worker.Message) error { return nil }

const (
	firstCustomer = 255930000 // Rule's id of customer 0
	withPhone     = 90        // the customers below this have a phone number
)

func customerMail(n int) string  { return fmt.Sprintf("kund.%d@example.com", n) }
func customerPhone(n int) string { return fmt.Sprintf("+467017406%02d", 5+n) }

// rigOptions change a rig; the zero value is a declared account of the options'
// customers, all of them known to the job.
type rigOptions struct {
	customers  int
	undeclared bool
	settings   account.Settings
	job        history.Job
	server     fakerule.Options
}

func newWriterRig(t *testing.T, o rigOptions) *writerRig {
	t.Helper()
	r := &writerRig{t: t, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), stores: &memory.History{}, ledger: &memory.Ledger{}}
	o.server.Now = r.clock
	r.rule = fakerule.New(o.server)
	r.client = rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: r}, Now: r.clock, Pause: -1})
	fields := map[string]string{}
	for _, f := range order.Schema() {
		fields[f.Name] = string(f.Type)
	}
	var people []map[string]any
	for n := range o.customers {
		one := map[string]any{"id": firstCustomer + n, "email": customerMail(n)}
		if n < withPhone {
			one["phone_number"] = customerPhone(n)
		}
		people = append(people, one)
	}
	in := map[string]any{"subscribers": people}
	version := 0
	if !o.undeclared {
		in["schema"] = []any{
			map[string]any{"group": order.Group, "historical": true, "fields": fields},
			map[string]any{"group": customer.ContactGroup, "fields": map[string]string{"lastorderdate": string(rule.Date)}},
		}
		version = order.SchemaVersion
	}
	raw, err := json.Marshal(map[string]any{"accounts": []any{in}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.rule.Load(strings.NewReader(string(raw))); err != nil {
		t.Fatal(err)
	}
	accounts := &memory.Accounts{}
	if err := accounts.Create(t.Context(), account.Account{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := accounts.SetSettings(t.Context(), "a", "", o.settings); err != nil {
		t.Fatal(err)
	}
	if err := accounts.SetSchema(t.Context(), "a", version); err != nil {
		t.Fatal(err)
	}
	r.job = o.job
	r.job.Account, r.job.ID, r.job.Run, r.job.Created = "a", "0123456789ab", max(r.job.Run, 1), r.now
	if r.job.State == "" {
		r.job.State, r.job.Phase = history.Running, history.Writing
	}
	if r.job.Parts == nil {
		r.job.Parts = []string{"p1"}
	}
	r.job.Lists, r.job.ListedAt, r.job.ListedBy = 1, r.now, r.seals().Name()
	if err := r.stores.Put(t.Context(), r.job); err != nil {
		t.Fatal(err)
	}
	if len(r.job.Orders) == 0 {
		r.list()
	}
	r.stores.Fail, r.ledger.Fail = r.step, r.step
	log := slog.New(slog.DiscardHandler)
	r.later = &later{rig: r}
	checks := &bonus.Service{Store: &memory.Bonus{Fail: r.step}, Syncs: drop{}, Log: log, Now: r.clock, NewID: rand.Text}
	phones := phone.Parser("SE")
	r.writer = &history.Writer{
		Jobs: r.stores, People: r.stores, Ledger: r.ledger, Directory: writerDirectory{accounts, r}, Phones: phones, Log: log, Now: r.clock,
		Lag:   -1, // its time stands still
		Steps: r, NewID: rand.Text,
		Deliverer: &order.Deliverer{Customers: &customer.Service{Phones: phones, Syncs: drop{}, Answers: &memory.Consents{}, Log: log, Now: r.clock, NewID: rand.Text}, Ledger: r.ledger, Accounts: accounts, Phones: phones, Bonus: checks, Syncs: r.later, Now: r.clock, Log: log},
	}
	return r
}

func (r *writerRig) seals() *history.Seals {
	r.t.Helper()
	s, err := history.NewSeals("a", r.client.Session(fakerule.DefaultKey, time.Time{}, nil))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// list notes who is in Rule, as a job does before it reads.
func (r *writerRig) list() {
	r.t.Helper()
	seals, people, contacts := r.seals(), map[history.Digest]int64{}, map[int64][]byte{}
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		k := customer.Key{Email: s.Email}
		if s.Email == "" {
			k.Phone = s.Phone
		}
		contacts[s.ID] = seals.Seal(s.ID, k)
		for _, k := range []customer.Key{{Email: s.Email}, {Phone: s.Phone}} {
			if !k.Zero() {
				people[seals.Digest(k)] = s.ID
			}
		}
	}
	name := fmt.Sprintf("%s-%d-%d", r.job.ID, r.job.Run, r.job.Lists)
	if err := errors.Join(r.stores.Add(r.t.Context(), "a", name, people), r.stores.AddContacts(r.t.Context(), "a", name, contacts)); err != nil {
		r.t.Fatal(err)
	}
}

// Send is the backfill worker's queue: the job is asked to list anew who is in
// Rule, and does.
func (r *writerRig) Send(ctx context.Context, m worker.Message) error {
	j, err := r.stores.Get(ctx, "a", r.job.ID)
	if err != nil {
		return err
	}
	if j.Phase != history.Customers || m.Group != "a" || m.Dedup == "" {
		r.t.Errorf("message %+v for a job in %s", m, j.Phase)
	}
	r.job.Lists++
	j.Lists, j.ListedAt, j.ListedBy, j.Phase = r.job.Lists, r.clock(), r.seals().Name(), history.Writing
	r.list()
	return r.stores.Put(ctx, j)
}

// sale is an old order. Members are added to those that every order has.
func sale(id int64, members map[string]any) json.RawMessage {
	all := map[string]any{
		"orderid": id, "orderdate": time.Date(2025, 1+time.Month(id%3), 15, 12, 0, 0, 0, time.UTC).Unix(), "orderstateid": 10,
		"currencycode": "SEK", "moneyfinal_net": "80.00", "moneyfinal_vat": "20.00", "moneytotal_gross_all": "100.00",
		"orderitems": []any{map[string]any{"orderitemid": 1, "productname": "Tröja", "sku": "T1", "quantity": 1, "vatvalue": "25", "moneyitemtotal_net": "80.00", "moneyitemtotal_vat": "20.00"}},
	}
	maps.Copy(all, members)
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return raw
}

func byMail(id int64, n int) json.RawMessage {
	return sale(id, map[string]any{"email": customerMail(n)})
}

func byContact(id int64, n int) json.RawMessage {
	return sale(id, map[string]any{"additionaldata": map[string]any{"customcrm-contactid": fmt.Sprint(firstCustomer + n)}})
}

func (r *writerRig) body(part string, orders ...json.RawMessage) string {
	r.t.Helper()
	m := history.PartMessage{Account: "a", Job: r.job.ID, Run: r.job.Run, Part: part, Request: "q", Create: r.job.Create, Resend: len(r.job.Orders) > 0}
	if err := m.Pack(orders); err != nil {
		r.t.Fatal(err)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

func (r *writerRig) work(body string) error {
	_, _, err := r.writer.Work(context.Background(), body, rand.Text())
	return err
}

// drive delivers a message as the queue does, until it is done.
func (r *writerRig) drive(body string) {
	r.t.Helper()
	var err error
	for range 60 {
		if err = r.work(body); err == nil {
			return
		}
		r.again(err)
	}
	r.t.Fatalf("the part is not done after 60 deliveries: %v", err)
}

// again lets pass what the queue waits after an error.
func (r *writerRig) again(err error) {
	r.t.Helper()
	f := fault.As(err)
	switch f.Kind {
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		r.t.Fatalf("put aside: %v", err)
	case fault.Busy:
		if f.RetryAt.IsZero() {
			r.t.Fatalf("busy until when? %v", err)
		}
		r.pass(max(f.RetryAt.Sub(r.clock()), time.Minute))
	default:
		r.pass(2 * time.Minute)
	}
}

func (r *writerRig) part(id string) history.Part {
	r.t.Helper()
	p, err := r.stores.Part(context.Background(), "a", r.job.ID, r.job.Run, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *writerRig) record(id int64) order.Record {
	r.t.Helper()
	rec, _, err := r.ledger.Get(context.Background(), order.Key{Account: "a", Order: id})
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// whose returns the orders that Rule has, by subscriber, in the order in which
// they were entered.
func (r *writerRig) whose() map[int64][]string {
	r.rule.Settle()
	have := map[int64][]string{}
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		for _, e := range r.rule.Entries(fakerule.DefaultKey, s.ID, order.Group) {
			have[s.ID] = append(have[s.ID], e.Value("orderid"))
		}
	}
	return have
}

// quiet fails if anybody could have got a message, or Rule was called in a block.
func (r *writerRig) quiet() {
	r.t.Helper()
	if a := r.rule.Automations(fakerule.DefaultKey); len(a) != 0 {
		r.t.Errorf("automations: %+v", a)
	}
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		if slices.Contains(s.Tags, order.PurchaseTag) || slices.Contains(s.Tags, order.ReturnTag) {
			r.t.Errorf("subscriber %d has the tags %v", s.ID, s.Tags)
		}
	}
	if n := r.rule.RequestsDuringBlock(fakerule.DefaultKey); n != 0 {
		r.t.Errorf("%d requests during a block", n)
	}
}

// has fails unless Rule has exactly these orders, and nobody was told.
func (r *writerRig) has(want map[int64][]string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.whose()); diff != "" {
		r.t.Error(diff)
	}
	r.quiet()
}

func (r *writerRig) state() history.State {
	r.t.Helper()
	j, err := r.stores.Get(context.Background(), "a", r.job.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return j.State
}

// shopping returns orders of many customers, of whom a few have several, known
// in every way; and what Rule is to have of it.
func shopping(customers int) (orders []json.RawMessage, want map[int64][]string) {
	want = map[int64][]string{}
	add := func(n int, of func(id int64, n int) json.RawMessage) {
		id := int64(1000 + len(orders))
		orders = append(orders, of(id, n))
		want[int64(firstCustomer+n)] = append(want[int64(firstCustomer+n)], fmt.Sprint(id))
	}
	for n := range customers {
		switch n % 4 {
		case 0, 1:
			add(n, byMail)
		case 2:
			add(n, func(id int64, n int) json.RawMessage {
				return sale(id, map[string]any{"phone": customerPhone(n % withPhone)})
			})
		case 3: // the contact's, whatever address the receipt went to
			add(n, func(id int64, n int) json.RawMessage {
				return sale(id, map[string]any{"email": customerMail(0), "additionaldata": map[string]any{"customcrm-contactid": fmt.Sprint(firstCustomer + n)}})
			})
		}
	}
	for range 3 {
		add(1, byMail)
		add(2, byContact)
	}
	add(1, byContact)
	return orders, want
}

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, answer := range []fakerule.BatchAnswer{fakerule.BatchInFull, fakerule.BatchCounts, fakerule.BatchSubscribers, fakerule.BatchBare} {
		r := newWriterRig(t, rigOptions{customers: 60, server: fakerule.Options{BatchAnswer: answer, AsyncDelay: time.Minute}})
		orders, want := shopping(60)
		others := []json.RawMessage{
			sale(2000, nil), // nobody's
			sale(2001, map[string]any{"email": "okand@example.com"}),                                              // not in Rule
			sale(2002, map[string]any{"additionaldata": map[string]any{"customcrm-contactid": "7"}}),              // deleted
			json.RawMessage(`{"orderid":"tre"}`),                                                                  // not an order
			sale(2003, map[string]any{"email": "okand@example.com", "phone": customerPhone(5), "namefirst": "X"}), // known by one of the two
		}
		want[firstCustomer+5] = append(want[firstCustomer+5], "2003")
		r.drive(r.body("p1", slices.Concat(orders, others)...))
		r.has(want)
		p := r.part("p1")
		if p.Written != len(orders)+1 || p.Already != 0 || p.Failures != 0 || !p.Finished || p.Done != len(orders)+len(others) {
			t.Errorf("part %+v", p)
		}
		skipped := map[string]int{history.NoCustomer: 1, history.NotInRule: 2, history.Unreadable: 1}
		if diff := cmp.Diff(skipped, p.Skipped); diff != "" {
			t.Error(diff)
		}
		sum := history.Month{}
		for name, m := range p.Months {
			if name != "unknown" && !strings.HasPrefix(name, "2025-0") {
				t.Errorf("month %s", name)
			}
			sum.Written, sum.Skipped, sum.Failed = sum.Written+m.Written, sum.Skipped+m.Skipped, sum.Failed+m.Failed
		}
		if diff := cmp.Diff(history.Month{Written: len(orders) + 1, Skipped: 4}, sum); diff != "" {
			t.Error(diff)
		}
		if p.Months["unknown"].Skipped != 1 {
			t.Errorf("months %+v", p.Months)
		}
		if r.state() != history.Done {
			t.Errorf("the job is %s", r.state())
		}
		if rec := r.record(1000); rec.State != order.Sent || rec.Subscriber != firstCustomer || rec.Reason != "backfill 0123456789ab" {
			t.Errorf("ledger %+v", rec)
		}
		for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
			if len(want[s.ID]) > 0 && !slices.Contains(s.Tags, customer.Tag) {
				t.Errorf("subscriber %d has no tag of ours", s.ID)
			}
		}
		before := len(r.rule.Requests())
		r.drive(r.body("p1", orders...))
		if n := len(r.rule.Requests()) - before; n != 0 {
			t.Errorf("a part that is done cost %d requests", n)
		}
	}
}

// New people are made in calls of their own, so that the ledger knows whose each
// entry is; they get their names, unless Rule may have known them.
func TestWriterCreates(t *testing.T) {
	t.Parallel()
	for _, answer := range []fakerule.BatchAnswer{fakerule.BatchInFull, fakerule.BatchCounts, fakerule.BatchSubscribers, fakerule.BatchBare} {
		r := newWriterRig(t, rigOptions{customers: 3, job: history.Job{Spec: history.Spec{Create: true}}, server: fakerule.Options{BatchAnswer: answer}})
		var orders []json.RawMessage
		for n := range 30 {
			members := map[string]any{"email": fmt.Sprintf("ny.%d@example.com", n), "namefirst": "Namn"}
			orders = append(orders, sale(int64(100+2*n), members), sale(int64(101+2*n), members))
		}
		orders = append(orders, sale(90, map[string]any{"phone": "070-174 06 95"}), sale(91, map[string]any{"phone": customerPhone(1)}),
			sale(92, map[string]any{"phone": "112"}), sale(93, map[string]any{"additionaldata": map[string]any{"customcrm-contactid": "7"}}),
			sale(94, map[string]any{"email": "sist@example.com", "additionaldata": map[string]any{"customcrm-contactid": "7"}}))
		r.drive(r.body("p1", orders...))
		p := r.part("p1")
		if diff := cmp.Diff(map[string]int{history.NoCustomer: 1, history.Nameless: 1, history.Gone: 1}, p.Skipped); diff != "" || p.Written != 62 {
			t.Errorf("%s: part %+v", diff, p)
		}
		have := r.whose()
		n := 0
		for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
			n += len(have[s.ID])
			for _, id := range have[s.ID] {
				var number int64
				_, _ = fmt.Sscan(id, &number)
				if rec := r.record(number); rec.Subscriber != s.ID {
					t.Errorf("order %s is %d's, the ledger says %d's", id, s.ID, rec.Subscriber)
				}
			}
			first, _ := s.Field("Sitoo-Contact.namefirst")
			if strings.HasPrefix(s.Email, "ny.") && (first.Value != "Namn" || !unasked(s)) {
				t.Errorf("answer %d: %s is called %q, suppressed %v", answer, s.Email, first.Value, s.Suppressions)
			}
			if s.ID < firstCustomer+3 && s.ID >= firstCustomer && len(s.Suppressions) != 0 {
				t.Errorf("answer %d: somebody whom Rule knew is suppressed: %v", answer, s.Suppressions)
			}
		}
		if n != 62 {
			t.Errorf("%d entries, want 62", n)
		}
		r.quiet()
	}
}

// The first order of an account makes the group historical.
func TestWriterDeclares(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 30, undeclared: true})
	orders, want := shopping(30)
	r.drive(r.body("p1", orders...))
	r.has(want)
	a, _, err := r.writer.Directory.(writerDirectory).accounts.Get(t.Context(), "a", "", "")
	if err != nil || a.Schema != order.SchemaVersion {
		t.Errorf("schema %d, %v", a.Schema, err)
	}
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		for _, g := range s.Groups {
			if g.Name == order.Group && !g.Historical {
				t.Error("the group is not historical")
			}
		}
	}
	if e := r.rule.Entries(fakerule.DefaultKey, firstCustomer, order.Group); len(e) != 1 || e[0].Value("total") != "100.00" {
		t.Errorf("the first entry: %+v", e)
	}
}

// A customer whom Rule knows by nothing but the id has the orders all the same.
func TestWriterById(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 2})
	in := `{"accounts":[{"subscribers":[{"id":255939999,"custom_identifier":"k-1"}]}]}`
	if err := r.rule.Load(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	r.list()
	r.drive(r.body("p1", byContact(1, 9999), byMail(2, 0), byContact(3, 9999)))
	r.has(map[int64][]string{255939999: {"1", "3"}, firstCustomer: {"2"}})
}

// What Rule refuses costs no other order, and not one request for each.
func TestWriterRefused(t *testing.T) {
	t.Parallel()
	refusal := func(status int, body string) *fakerule.Fault { return &fakerule.Fault{Status: status, Body: body} }
	// about finds the place of an order in a call; -1 if it is not there.
	about := func(body []byte, id string) (at, of int) {
		var in struct {
			Subscribers []json.RawMessage `json:"subscribers"`
		}
		_ = json.Unmarshal(body, &in)
		return slices.IndexFunc(in.Subscribers, func(s json.RawMessage) bool { return strings.Contains(string(s), `"`+id+`"`) }), len(in.Subscribers)
	}
	for name, c := range map[string]struct {
		fault    func(q *http.Request, body []byte) *fakerule.Fault
		requests int      // at most
		failed   []string // orders that Rule does not get
		without  string   // a field that order 1005 lacks
	}{
		"one is named": {func(_ *http.Request, body []byte) *fakerule.Fault {
			if at, of := about(body, "1005"); of > 1 && at >= 0 {
				return refusal(400, fmt.Sprintf(`{"error":"BadRequest","fields":{"subscribers.%d.email":["no"]}}`, at))
			}
			return nil
		}, 20, nil, ""},
		"none is named": {func(_ *http.Request, body []byte) *fakerule.Fault {
			if at, of := about(body, "1005"); of > 1 && at >= 0 {
				return refusal(400, `{"error":"BadRequest"}`)
			}
			return nil
		}, 35, nil, ""},
		"a conflict": {func(_ *http.Request, body []byte) *fakerule.Fault {
			if at, of := about(body, "1005"); of > 1 && at >= 0 {
				return refusal(409, `{"error":"DuplicateSubscriber"}`)
			}
			return nil
		}, 35, nil, ""},
		"too large": {func(_ *http.Request, body []byte) *fakerule.Fault {
			if _, of := about(body, ""); of > 20 {
				return refusal(413, ``)
			}
			return nil
		}, 25, nil, ""},
		"a place beyond the list": {func(_ *http.Request, body []byte) *fakerule.Fault {
			if _, of := about(body, ""); of > 30 {
				return refusal(400, `{"error":"BadRequest","fields":{"subscribers.999.email":["no"]}}`)
			}
			return nil
		}, 25, nil, ""},
		"a field of one": {func(_ *http.Request, body []byte) *fakerule.Fault {
			at, _ := about(body, "1005")
			if at >= 0 && strings.Contains(string(body), "Sitoo-Order.products") {
				var in struct {
					Subscribers []struct {
						Fields []struct{ Key string } `json:"fields"`
					} `json:"subscribers"`
				}
				_ = json.Unmarshal(body, &in)
				i := slices.IndexFunc(in.Subscribers[at].Fields, func(f struct{ Key string }) bool { return f.Key == "Sitoo-Order.products" })
				if i >= 0 {
					return refusal(400, fmt.Sprintf(`{"error":"BadRequest","fields":{"subscribers.%d.fields.%d.value":["no"]}}`, at, i))
				}
			}
			return nil
		}, 16, nil, "products"},
		"one, always": {func(q *http.Request, body []byte) *fakerule.Fault {
			if strings.Contains(string(body), `"1005"`) && q.Method == http.MethodPost {
				return refusal(400, `{"error":"BadRequest"}`)
			}
			return nil
		}, 35, []string{"1005"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWriterRig(t, rigOptions{customers: 40})
			orders, want := shopping(40)
			r.rule.SetFault(c.fault)
			r.drive(r.body("p1", orders...))
			lookups := 0
			for _, q := range r.rule.Requests() {
				if q.Route == "GET /v2/subscribers/*" {
					lookups++
				}
			}
			if n := len(r.rule.Requests()) - lookups; n > c.requests {
				t.Errorf("%d requests, at most %d", n, c.requests)
			}
			have := r.whose()
			for sub, ids := range want {
				ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(c.failed, id) })
				got := have[sub]
				if slices.Sort(got); !slices.Equal(ids, got) {
					t.Errorf("%d has %v, want %v", sub, got, ids)
				}
			}
			p := r.part("p1")
			if p.Written != len(orders)-len(c.failed) || p.Failures != len(c.failed) || r.state() != history.Done {
				t.Errorf("part %+v of a job that is %s", p, r.state())
			}
			if len(c.failed) > 0 && r.record(1005).State != order.Failed {
				t.Errorf("ledger %+v", r.record(1005))
			}
			for _, other := range []int{5, 8} {
				e := r.rule.Entries(fakerule.DefaultKey, int64(firstCustomer+other), order.Group)
				if len(c.failed) == 0 && c.without != "" && (len(e) != 1 || (e[0].Value(c.without) == "") != (other == 5)) {
					t.Errorf("entry of customer %d: %+v", other, e)
				}
			}
			r.quiet()
		})
	}
}

// Staff made one of the fields anew with another type: one refusal, not one
// request for each order.
func TestWriterFieldType(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 40, undeclared: true})
	in := `{"accounts":[{"schema":[{"group":"Sitoo-Order","historical":true,"fields":{"orderid":"text","names":"date"}}]}]}`
	if err := r.rule.Load(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	orders, want := shopping(40)
	r.drive(r.body("p1", orders...))
	r.has(want)
	lookups := 0
	for _, q := range r.rule.Requests() {
		if q.Route == "GET /v2/subscribers/*" {
			lookups++
		}
	}
	if n := len(r.rule.Requests()) - lookups; n > 30 {
		t.Errorf("%d requests", n)
	}
}

// kinds are the ways in which a request can go wrong.
var kinds = map[string]*fakerule.Fault{
	"500":            {Status: 500, Body: `{"error":"UnexpectedError"}`},
	"502 afterwards": {Status: 502, Body: "<html>", After: true},
	"lost":           {Kind: fakerule.FaultReset},
	"answer lost":    {Kind: fakerule.FaultReset, After: true},
	"garbage":        {Status: 200, Body: "<html>"},
	"garbage after":  {Status: 200, Body: "<html>", After: true},
	"401":            {Status: 401, Body: `{"error":"NotAuthorized"}`},
	"403":            {Status: 403},
	"429":            {Status: 429, Header: http.Header{"Retry-After": {"60"}}, Body: `"Too Many Attempts."`},
}

// Whichever request goes wrong, and however, each order is there once.
func TestWriterFaultAtEveryRequest(t *testing.T) {
	t.Parallel()
	for what, o := range scenarios() {
		for name, f := range kinds {
			for at := 1; ; at++ {
				r := newWriterRig(t, o.rigOptions)
				var mu sync.Mutex
				n := 0
				r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
					mu.Lock()
					defer mu.Unlock()
					if n++; n != at {
						return nil
					}
					if f.Status == 429 {
						r.rule.BlockFor(fakerule.DefaultKey, time.Minute)
					}
					return f
				})
				r.drive(r.body("p1", o.orders...))
				o.check(r, fmt.Sprintf("%s, %s at request %d", what, name, at))
				if t.Failed() || n < at {
					break
				}
			}
		}
	}
}

// scenario is a part with what Rule is to have of it.
type scenario struct {
	rigOptions
	orders []json.RawMessage
	want   map[string]string // order number: email of the customer
}

func (s scenario) check(r *writerRig, what string) {
	r.t.Helper()
	have := map[string]string{}
	for id, orders := range r.whose() {
		sub, _ := r.rule.Subscriber(fakerule.DefaultKey, id)
		if strings.HasPrefix(sub.Email, "ny.") && !unasked(sub) {
			r.t.Errorf("%s: %s was not asked, and is suppressed on %v", what, sub.Email, sub.Suppressions)
		}
		for _, o := range orders {
			have[o] += sub.Email
		}
	}
	if diff := cmp.Diff(s.want, have); diff != "" {
		r.t.Errorf("%s: %s", what, diff)
	}
	p := r.part("p1")
	if !p.Finished || p.Written+p.Already != len(s.want) || p.Failures != 0 || r.state() != history.Done {
		r.t.Errorf("%s: part %+v of a job that is %s", what, p, r.state())
	}
	r.quiet()
}

// scenarios are small parts in which every path is taken.
func scenarios() map[string]scenario {
	all := map[string]scenario{}
	large := scenario{rigOptions: rigOptions{customers: 6, server: fakerule.Options{AsyncAbove: 3, AsyncDelay: 10 * time.Minute}}, want: map[string]string{}}
	for n := range 3 {
		large.orders = append(large.orders, byMail(int64(100+n), n))
		large.want[fmt.Sprint(100+n)] = customerMail(n)
	}
	large.orders = append(large.orders, byContact(200, 5), byMail(201, 0))
	large.want["200"], large.want["201"] = customerMail(5), customerMail(0)
	all["many"] = large

	first := scenario{rigOptions: rigOptions{customers: 3, undeclared: true}, want: map[string]string{"1": customerMail(0), "2": customerMail(1), "3": customerMail(0)}}
	first.orders = []json.RawMessage{byMail(1, 0), byMail(2, 1), byContact(3, 0)}
	all["an account's first"] = first

	created := scenario{rigOptions: rigOptions{customers: 1, job: history.Job{Spec: history.Spec{Create: true}}}, want: map[string]string{"1": "ny.1@example.com", "2": "ny.2@example.com", "3": "ny.1@example.com", "4": customerMail(0)}}
	for id, mail := range []string{"ny.1@example.com", "ny.2@example.com", "ny.1@example.com", customerMail(0)} {
		created.orders = append(created.orders, sale(int64(id+1), map[string]any{"email": mail, "namefirst": "Namn"}))
	}
	all["new people"] = created

	again := scenario{rigOptions: rigOptions{customers: 2, job: history.Job{Spec: history.Spec{Orders: []int64{1, 2}}}}, want: map[string]string{"1": customerMail(0), "2": customerMail(1)}}
	again.orders = []json.RawMessage{byMail(1, 0), byContact(2, 1)}
	all["resent"] = again
	return all
}

// Wherever the process is killed, before an effect or just after it, the next
// deliveries complete the part.
func TestWriterKilledAtEveryEffect(t *testing.T) {
	t.Parallel()
	for what, o := range scenarios() {
		for at := 1; ; at++ {
			r := newWriterRig(t, o.rigOptions)
			body := r.body("p1", o.orders...)
			var mu sync.Mutex
			n := 0
			r.each(func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if n++; n >= at {
					return errKilled
				}
				return nil
			})
			err := r.work(body)
			mu.Lock()
			over := n < at
			mu.Unlock()
			r.each(nil)
			if over {
				if err != nil {
					t.Errorf("%s: %v though nobody was killed", what, err)
				}
				break
			}
			r.pass(3 * time.Minute) // sooner than it was promised
			r.drive(body)
			if o.check(r, fmt.Sprintf("%s, killed at effect %d", what, at)); t.Failed() {
				break
			}
		}
	}
}

// A store's single failure is no different.
func TestWriterStoreFailsOnce(t *testing.T) {
	t.Parallel()
	for what, o := range scenarios() {
		for at := 1; ; at++ {
			r := newWriterRig(t, o.rigOptions)
			var mu sync.Mutex
			n := 0
			r.each(func(op string) error {
				mu.Lock()
				defer mu.Unlock()
				if strings.HasPrefix(op, "rule") {
					return nil
				}
				if n++; n == at {
					return fault.New(fault.Unavailable, "The store does not answer.")
				}
				return nil
			})
			r.drive(r.body("p1", o.orders...))
			mu.Lock()
			over := n < at
			mu.Unlock()
			r.each(nil)
			if o.check(r, fmt.Sprintf("%s, failed at effect %d", what, at)); over || t.Failed() {
				break
			}
		}
	}
}

// The same part delivered twice at once: the second begins at every effect of
// the first.
func TestWriterTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for what, o := range scenarios() {
		for at := 1; ; at++ {
			r := newWriterRig(t, o.rigOptions)
			body := r.body("p1", o.orders...)
			over := r.meanwhile(at, func() { _ = r.work(body) })
			if err := r.work(body); err != nil {
				r.again(err)
			}
			r.each(nil)
			r.drive(body)
			if o.check(r, fmt.Sprintf("%s, again at effect %d", what, at)); over() || t.Failed() {
				break
			}
		}
	}
}

// meanwhile runs other at an effect, once. over tells whether there were fewer
// effects than that.
func (r *writerRig) meanwhile(at int, other func()) (over func() bool) {
	var mu sync.Mutex
	n := 0
	r.each(func(string) error {
		mu.Lock()
		n++
		now := n == at
		mu.Unlock()
		if now {
			r.each(nil)
			other()
		}
		return nil
	})
	return func() bool { mu.Lock(); defer mu.Unlock(); return n < at }
}

// deliver delivers an order of customer 0 as the till sends it.
func (r *writerRig) deliver(id int64) error {
	o, err := sitoo.DecodeOrder(byMail(id, 0))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx := context.Background()
	a, s, err := r.writer.Directory.Session(ctx, "a")
	if err != nil {
		r.t.Fatal(err)
	}
	return r.writer.Deliverer.Deliver(ctx, a, s, o, rand.Text())
}

// An order that comes from the till and from history at the same time, whoever
// begins and wherever the other comes in between, is there once.
func TestWriterBesideTheTill(t *testing.T) {
	t.Parallel()
	for what, o := range scenarios() {
		var shared int64
		for id := range o.want {
			if o.want[id] == customerMail(0) {
				_, _ = fmt.Sscan(id, &shared)
			}
		}
		for _, first := range []string{"history", "till"} {
			for at := 1; ; at++ {
				r := newWriterRig(t, o.rigOptions)
				body := r.body("p1", o.orders...)
				// One that the till has sent is queued already, unless support has posted it.
				if what == "new people" {
					if err := r.ledger.Queue(t.Context(), order.Key{Account: "a", Order: shared}, order.Stamp{}, r.clock()); err != nil {
						t.Fatal(err)
					}
				}
				var over func() bool
				var till error
				if first == "history" {
					over = r.meanwhile(at, func() { till = r.deliver(shared) })
					if err := r.work(body); err != nil {
						r.again(err)
					}
				} else {
					over = r.meanwhile(at, func() {
						if err := r.work(body); err != nil && fault.KindOf(err) != fault.Busy {
							t.Error(err)
						}
					})
					till = r.deliver(shared)
				}
				r.each(nil)
				for range 5 {
					if till == nil && !over() {
						break
					}
					if till != nil {
						r.again(till)
					}
					till = r.deliver(shared)
				}
				if till != nil {
					t.Errorf("%s: the till's order: %v", what, till)
				}
				r.drive(body)
				have := map[string]int{}
				for _, orders := range r.whose() {
					for _, id := range orders {
						have[id]++
					}
				}
				for id := range o.want {
					if have[id] != 1 {
						t.Errorf("%s, %s first, the other at effect %d: %d entries of order %s", what, first, at, have[id], id)
					}
				}
				// The customer of the order that the till had sent before gets its message.
				for _, a := range r.rule.Automations(fakerule.DefaultKey) {
					if s, _ := r.rule.Subscriber(fakerule.DefaultKey, a.Subscriber); s.Email != customerMail(0) {
						t.Errorf("an automation for %s", s.Email)
					}
				}
				if over() || t.Failed() {
					break
				}
			}
		}
	}
}

// While a call whose answer was lost may still be worked on, nobody looks for
// its entries, the till's worker neither.
func TestWriterLateCall(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: withPhone, server: fakerule.Options{AsyncDelay: 14 * time.Minute}})
	orders, want := shopping(withPhone)
	once := sync.Once{}
	r.rule.SetFault(func(q *http.Request, body []byte) (f *fakerule.Fault) {
		if strings.Count(string(body), `"fields"`) > 19 {
			once.Do(func() { f = kinds["502 afterwards"] })
		}
		return f
	})
	body := r.body("p1", orders...)
	err := r.work(body)
	f := fault.As(err)
	if f == nil || f.Kind != fault.Busy || f.RetryAt.Sub(r.clock()) < 15*time.Minute {
		t.Fatalf("%v", err)
	}
	if p := r.part("p1"); p.Finished || p.Reason == "" || !p.Until.Equal(f.RetryAt) {
		t.Errorf("part %+v", p)
	}
	r.pass(time.Minute)
	if err := r.deliver(1000); fault.KindOf(err) != fault.Busy {
		t.Errorf("the till's delivery: %v", err)
	}
	r.pass(f.RetryAt.Sub(r.clock()))
	if err := r.deliver(1000); err != nil {
		t.Error(err)
	}
	before := len(r.rule.Requests())
	r.drive(body)
	misses := 0
	for _, q := range r.rule.Requests()[before:] {
		if q.Status >= 400 {
			misses++
		}
	}
	if misses > 0 {
		t.Errorf("%d errors while it was asked what is there", misses)
	}
	have := r.whose()
	for id, n := range want {
		if len(have[id]) != len(n) {
			t.Errorf("%d has %v, want %v", id, have[id], n)
		}
	}
}

// A doubt lasts until Rule has said what it has.
func TestWriterDoubtLasts(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: withPhone, server: fakerule.Options{AsyncDelay: -1}})
	orders, want := shopping(withPhone)
	lost, asked := sync.Once{}, 0
	r.rule.SetFault(func(q *http.Request, body []byte) (f *fakerule.Fault) {
		if strings.Count(string(body), `"fields"`) > 19 {
			lost.Do(func() { f = kinds["answer lost"] })
		}
		if strings.Contains(q.URL.Path, "/group/") {
			if asked++; asked <= 4 {
				return kinds["500"]
			}
		}
		return f
	})
	r.drive(r.body("p1", orders...))
	if asked <= 4 {
		t.Errorf("Rule was asked %d times", asked)
	}
	r.has(want)
}

// An order that goes alone is the customer's whom the job knows: nobody else is
// made of what else it names.
func TestWriterAloneToTheKnown(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 2})
	r.rule.SetFault(func(_ *http.Request, body []byte) *fakerule.Fault {
		if strings.Contains(string(body), `"Sitoo-Order.orderid"`) {
			return &fakerule.Fault{Status: 400, Body: `{"error":"BadRequest"}`}
		}
		return nil
	})
	r.drive(r.body("p1", sale(1, map[string]any{"email": "okand@example.com", "phone": customerPhone(1)})))
	r.has(map[int64][]string{firstCustomer + 1: {"1"}})
	if n := len(r.rule.Subscribers(fakerule.DefaultKey)); n != 2 {
		t.Errorf("%d subscribers", n)
	}
}

// An order that the till has sent and that is not delivered yet is the order
// worker's: the customer waits for the receipt. One that it has given up, or
// left for days, is not.
func TestWriterLeavesTheTills(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 6})
	ctx := t.Context()
	key := func(id int64) order.Key { return order.Key{Account: "a", Order: id} }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	end := func(id int64, s order.State, reason string) {
		t.Helper()
		_, err := r.ledger.Claim(ctx, key(id), order.Stamp{}, "till", r.clock(), time.Minute)
		must(err)
		if s != "" {
			must(r.ledger.Finish(ctx, key(id), "till", s, reason, false, r.clock()))
		}
	}
	must(r.ledger.Queue(ctx, key(1), order.Stamp{}, r.clock())) // days ago
	r.pass(80 * time.Hour)
	must(r.ledger.Queue(ctx, key(2), order.Stamp{}, r.clock()))
	end(3, order.Waiting, "rule: no answer")
	end(4, "", "")
	end(5, order.Failed, "rule: no answer")
	end(6, order.Skipped, "the order names no customer")
	must(r.ledger.Queue(ctx, key(7), order.Stamp{}, r.clock()))
	end(7, order.Sent, "")
	r.drive(r.body("p1", byMail(1, 0), byMail(2, 1), byMail(3, 2), byMail(4, 3), byMail(5, 4), byMail(6, 5), byMail(7, 5)))
	r.has(map[int64][]string{firstCustomer: {"1"}, firstCustomer + 4: {"5"}})
	p := r.part("p1")
	if diff := cmp.Diff(map[string]int{history.OnItsWay: 3, "the order names no customer": 1}, p.Skipped); diff != "" || p.Written != 2 || p.Already != 1 {
		t.Errorf("%s: part %+v", diff, p)
	}
}

// Support asks for an order by its number.
func TestWriterResend(t *testing.T) {
	t.Parallel()
	spec := history.Job{Spec: history.Spec{Orders: []int64{1, 2, 3, 4}}}
	r := newWriterRig(t, rigOptions{customers: 5, job: spec})
	for id := int64(1); id <= 2; id++ { // both were sent, and one of them is gone in Rule
		k := order.Key{Account: "a", Order: id}
		for _, err := range []error{
			func() error {
				_, err := r.ledger.Claim(t.Context(), k, order.Stamp{}, "x", r.clock(), time.Minute)
				return err
			}(),
			r.ledger.Note(t.Context(), k, "x", int64(firstCustomer+id), r.clock()),
			r.ledger.Finish(t.Context(), k, "x", order.Sent, "", false, r.clock()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	_, s, err := r.writer.Directory.Session(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	o, err := sitoo.DecodeOrder(byMail(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AppendEntry(t.Context(), firstCustomer+1, order.Group, order.Entry(o, "")); err != nil {
		t.Fatal(err)
	}
	body := r.body("p1", byMail(1, 1), byMail(2, 2), byMail(3, 3), sale(4, map[string]any{"email": "ny@example.com"}))
	// What was sent a moment ago may not be there yet.
	r.pass(time.Minute)
	if err := r.work(body); fault.KindOf(err) != fault.Busy || fault.As(err).RetryAt.Before(r.clock().Add(13*time.Minute)) {
		t.Errorf("%v", err)
	}
	if got := r.whose()[firstCustomer+2]; got != nil {
		t.Errorf("sent again at once: %v", got)
	}
	r.drive(body)
	have := r.whose()
	for sub, want := range map[int64][]string{firstCustomer + 1: {"1"}, firstCustomer + 2: {"2"}, firstCustomer + 3: {"3"}} {
		if !slices.Equal(have[sub], want) {
			t.Errorf("%d has %v, want %v", sub, have[sub], want)
		}
	}
	if p := r.part("p1"); p.Written != 2 || p.Already != 1 || p.Skipped[history.NotInRule] != 1 || len(have) != 3 {
		t.Errorf("part %+v, %v", p, have)
	}
	r.quiet()
}

// Contacts cost no request, those that Rule has and those that it does not: of a
// shop that has changed its CRM nearly all orders name the latter, and a miss for
// each would use up Rule's share of errors.
func TestWriterContacts(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 60})
	var orders []json.RawMessage
	want := map[int64][]string{}
	for n := range 60 {
		id := int64(1000 + 5*n)
		orders = append(orders,
			byContact(id, n),
			sale(id+1, map[string]any{"additionaldata": map[string]any{"customcrm-contactid": fmt.Sprint(1000 + n)}}), // of another CRM, and nothing else
			sale(id+2, map[string]any{"email": customerMail(n), "additionaldata": map[string]any{"customcrm-contactid": fmt.Sprint(2000 + n)}}),
		)
		want[int64(firstCustomer+n)] = []string{fmt.Sprint(id), fmt.Sprint(id + 2)}
	}
	if err := r.work(r.body("p1", orders...)); err != nil {
		t.Fatal(err)
	}
	if n := len(r.rule.Requests()); n != 2 {
		t.Errorf("%d requests, want one for the first order of each customer and one for the second", n)
	}
	r.has(want)
	if p := r.part("p1"); p.Written != 120 || p.Skipped[history.NotInRule] != 60 {
		t.Errorf("part %+v", p)
	}
}

// A shop that has renewed its API key since the listing: what was sealed with the
// old one cannot be read, and Rule is asked.
func TestWriterRenewedKey(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	foreign, err := history.NewSeals("a", r.client.Session("the-old-key", time.Time{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	contacts := map[int64][]byte{}
	for n := range int64(3) {
		contacts[firstCustomer+n] = foreign.Seal(firstCustomer+n, customer.Key{Email: "another@example.com"})
	}
	if err := r.stores.AddContacts(t.Context(), "a", r.job.ID+"-1-1", contacts); err != nil {
		t.Fatal(err)
	}
	r.drive(r.body("p1", byContact(1, 0), byContact(2, 1), byContact(3, 0), byContact(4, 9)))
	r.has(map[int64][]string{firstCustomer: {"1", "3"}, firstCustomer + 1: {"2"}})
}

// Rule's budget is left to the tills, and the part goes on when there is room.
func TestWriterLeavesRoom(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 60, server: fakerule.Options{Budget: 20}, job: history.Job{Parts: []string{"p1", "p2"}}})
	orders := []json.RawMessage{}
	for n := range 15 { // a call for each
		orders = append(orders, byMail(int64(4000+n), 1))
	}
	body := r.body("p1", orders...)
	err := r.work(body)
	if fault.KindOf(err) != fault.Busy {
		t.Fatal(err)
	}
	if n := len(r.rule.Requests()); n > 11 {
		t.Errorf("%d requests of 20", n)
	}
	accounts := r.writer.Directory.(writerDirectory).accounts
	// It tells what it has written so far, and keeps that while it goes on.
	began, half := r.clock(), r.part("p1")
	if half.Reason == "" || half.Until.IsZero() || half.Finished || !half.Began.Equal(began) || half.Done == 0 || half.Written != half.Done ||
		half.Months["2025-01"].Written+half.Months["2025-02"].Written+half.Months["2025-03"].Written != half.Done {
		t.Errorf("part %+v", half)
	}
	r.pass(time.Minute)
	if err := accounts.Block(t.Context(), "a", half.Until.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := r.work(body); fault.KindOf(err) != fault.Busy {
		t.Fatal(err)
	}
	want := half
	want.Reason, want.Until, want.Updated = "waits until Rule takes calls of the account again: there were too many", half.Until.Add(time.Hour), r.clock()
	if diff := cmp.Diff(want, r.part("p1")); diff != "" {
		t.Errorf("part (-want +got):\n%s", diff)
	}
	r.pass(2 * time.Hour)
	r.drive(body)
	if p := r.part("p1"); p.Written != 15 || p.Done != 15 || !p.Finished || !p.Began.Equal(began) || p.Reason != "" {
		t.Errorf("part %+v", p)
	}
	if n := r.rule.RequestsDuringBlock(fakerule.DefaultKey); n != 0 {
		t.Errorf("%d requests in a block", n)
	}
	plain := []json.RawMessage{}
	for n := range 60 {
		plain = append(plain, byMail(int64(5000+n), n))
	}
	r.pass(11 * time.Minute)
	r.drive(r.body("p2", plain...))
	if n := len(r.whose()); n != 60 {
		t.Errorf("%d customers with orders", n)
	}
	r.quiet()
}

func TestWriterBlocked(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	accounts := r.writer.Directory.(writerDirectory).accounts
	until := r.clock().Add(9 * time.Minute)
	if err := accounts.Block(t.Context(), "a", until); err != nil {
		t.Fatal(err)
	}
	body := r.body("p1", byMail(1, 0))
	// An earlier delivery came further than this one does.
	if err := r.stores.SavePart(t.Context(), "a", r.job.ID, 1, history.Part{ID: "p1", Done: 1}); err != nil {
		t.Fatal(err)
	}
	if err := r.work(body); fault.KindOf(err) != fault.Busy || !fault.As(err).RetryAt.Equal(until) || len(r.rule.Requests()) != 0 {
		t.Errorf("%v, %d requests", err, len(r.rule.Requests()))
	}
	if p := r.part("p1"); p.Reason == "" || !p.Until.Equal(until) {
		t.Errorf("part %+v", p)
	}
	r.drive(body)
	r.has(map[int64][]string{firstCustomer: {"1"}})
	if p := r.part("p1"); p.Reason != "" || !p.Until.IsZero() {
		t.Errorf("part %+v", p)
	}
}

// What nobody waits for is dropped, and what has come too far to do more is left.
func TestWriterDrops(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		job     history.Job
		change  func(body string) string
		kind    fault.Kind
		written bool
	}{
		"cancelled":       {job: history.Job{State: history.Cancelled}},
		"an earlier run":  {job: history.Job{Run: 2}, change: func(b string) string { return strings.Replace(b, `"run":2`, `"run":1`, 1) }},
		"another job":     {change: func(b string) string { return strings.Replace(b, `"job":"0123`, `"job":"4567`, 1) }},
		"paused":          {job: history.Job{State: history.Paused, Phase: history.Reading}, written: true},
		"not a part":      {change: func(string) string { return "{}" }, kind: fault.Invalid},
		"not JSON":        {change: func(string) string { return "oj" }, kind: fault.Invalid},
		"not compressed":  {change: func(string) string { return `{"account":"a","job":"j","run":1,"part":"p"}` }, kind: fault.Invalid},
		"another account": {change: func(b string) string { return strings.Replace(b, `"account":"a"`, `"account":"b"`, 1) }},
	} {
		r := newWriterRig(t, rigOptions{customers: 2, job: c.job})
		body := r.body("p1", byMail(1, 0))
		if c.change != nil {
			body = c.change(body)
		}
		if err := r.work(body); (err != nil) != (c.kind != 0) || err != nil && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
		if got := r.whose()[firstCustomer] != nil; got != c.written {
			t.Errorf("%s: written %v, want %v", name, got, c.written)
		}
		if err := r.writer.GiveUp(t.Context(), body, fault.New(fault.Internal, "")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The job ends with its last part, whichever that is; not before everything is
// read, and orphans do not count.
func TestWriterEnds(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"p1", "p2"} {
		r := newWriterRig(t, rigOptions{customers: 4, job: history.Job{Parts: []string{"p1", "p2"}}})
		parts := map[string]string{"p1": r.body("p1", byMail(1, 0)), "p2": r.body("p2", byMail(2, 1)), "orphan": r.body("orphan", byMail(1, 0), byMail(2, 1))}
		for _, id := range []string{"orphan", "p1", "p2"} {
			if id != last {
				r.drive(parts[id])
			}
		}
		if r.state() != history.Running {
			t.Errorf("%s while %s is not written", r.state(), last)
		}
		r.drive(parts[last])
		if r.state() != history.Done {
			t.Errorf("%s when all is written", r.state())
		}
		r.has(map[int64][]string{firstCustomer: {"1"}, firstCustomer + 1: {"2"}})
		if a, b := r.part("p1"), r.part("p2"); a.Written != 1 || b.Written != 1 {
			t.Errorf("parts %+v, %+v", a, b)
		}
	}
	r := newWriterRig(t, rigOptions{customers: 4, job: history.Job{State: history.Running, Phase: history.Reading}})
	r.drive(r.body("p1", byMail(1, 0)))
	if r.state() != history.Running {
		t.Errorf("%s while it reads", r.state())
	}
}

// What an earlier run has written is there already in the next.
func TestWriterNextRun(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 4})
	r.drive(r.body("p1", byMail(1, 0), byMail(2, 1)))
	r.pass(time.Hour)
	j, err := r.stores.Get(t.Context(), "a", r.job.ID)
	if err != nil {
		t.Fatal(err)
	}
	j.Run, j.State, j.Created, j.Parts = 2, history.Running, r.clock(), []string{"p9"}
	if err := r.stores.Put(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	r.job.Run = 2
	r.list()
	r.drive(r.body("p9", byMail(1, 0), byMail(2, 1), byMail(3, 2)))
	if p := r.part("p9"); p.Written != 1 || p.Already != 2 {
		t.Errorf("part %+v", p)
	}
	r.has(map[int64][]string{firstCustomer: {"1"}, firstCustomer + 1: {"2"}, firstCustomer + 2: {"3"}})
}

// A part that is put aside says what of it is in Rule, and its job can end.
func TestWriterGiveUp(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 6})
	r.drive(r.body("px", byMail(1, 0)))
	if err := r.ledger.Queue(t.Context(), order.Key{Account: "a", Order: 2}, order.Stamp{}, r.clock()); err != nil {
		t.Fatal(err)
	}
	for id, s := range map[int64]order.State{3: order.Skipped, 4: order.Waiting} {
		k := order.Key{Account: "a", Order: id}
		if _, err := r.ledger.Claim(t.Context(), k, order.Stamp{}, "history-x", r.clock(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := r.ledger.Finish(t.Context(), k, "history-x", s, "backfill x: waits", false, r.clock()); err != nil {
			t.Fatal(err)
		}
	}
	k := order.Key{Account: "a", Order: 5}
	if _, err := r.ledger.Claim(t.Context(), k, order.Stamp{}, "history-y", r.clock(), time.Minute); err != nil {
		t.Fatal(err)
	}
	body := r.body("p1", byMail(1, 0), byMail(2, 1), byMail(3, 2), byMail(4, 3), byMail(5, 4), byMail(6, 5), json.RawMessage(`[]`))
	cause := fault.New(fault.Unavailable, "")
	if err := r.writer.GiveUp(t.Context(), body, cause); fault.KindOf(err) != fault.Busy {
		t.Errorf("while another delivery is at work: %v", err)
	}
	r.pass(2 * time.Minute)
	for range 2 {
		if err := r.writer.GiveUp(t.Context(), body, cause); err != nil {
			t.Fatal(err)
		}
	}
	p := r.part("p1")
	if diff := cmp.Diff(map[string]int{history.OnItsWay: 1, "waits": 1, history.Unreadable: 1}, p.Skipped); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string][]int64{"given up: no usable answer for too long": {4, 5, 6}}, p.Failed); diff != "" || p.Written != 1 || !p.Finished {
		t.Errorf("%s: part %+v", diff, p)
	}
	if rec := r.record(4); rec.State != order.Failed {
		t.Errorf("ledger %+v", rec)
	}
	if r.state() != history.Done {
		t.Errorf("the job is %s", r.state())
	}
}

// Requests for 1000 orders, against one by one.
func TestWriterRequests(t *testing.T) {
	t.Parallel()
	const customers = 350
	mix := func() (orders []json.RawMessage) {
		for i := range 1000 {
			n := i * 7 % customers
			if i%20 == 0 {
				n = i / 20 % 4 // a few buy often
			}
			switch i % 3 {
			case 0:
				orders = append(orders, sale(int64(1+i), map[string]any{"email": customerMail(n), "additionaldata": map[string]any{"customcrm-contactid": fmt.Sprint(firstCustomer + n)}}))
			default:
				orders = append(orders, byMail(int64(1+i), n))
			}
		}
		return orders
	}()
	bulk := newWriterRig(t, rigOptions{customers: customers, job: history.Job{Parts: []string{"p1", "p2"}}})
	bulk.drive(bulk.body("p1", mix[:500]...))
	bulk.pass(time.Minute)
	bulk.drive(bulk.body("p2", mix[500:]...))
	one := newWriterRig(t, rigOptions{customers: customers, server: fakerule.Options{Budget: 1_000_000}})
	a, s, err := one.writer.Directory.Session(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range mix[:len(mix)/4] { // the rest costs the same
		o, err := sitoo.DecodeOrder(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.writer.Deliverer.Quietly(t.Context(), a, s, o, rand.Text(), order.Mode{}); err != nil {
			t.Fatal(err)
		}
	}
	have := bulk.whose()
	for sub, orders := range one.whose() {
		if !slices.Equal(orders, have[sub][:min(len(orders), len(have[sub]))]) {
			t.Errorf("%d has %v in bulk, %v one by one", sub, have[sub], orders)
		}
	}
	many, naive := len(bulk.rule.Requests()), 4*len(one.rule.Requests())
	t.Logf("1000 orders of %d customers: %d requests in bulk, %d one by one: %.0f times fewer", customers, many, naive, float64(naive)/float64(many))
	if many*50 > naive {
		t.Errorf("%d requests, %d one by one: less than 50 times fewer", many, naive)
	}
	bulk.quiet()
	one.quiet()
}
