package history_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

var errGone = errors.New("the process is gone")

// office is all that a backfill meets, with its two queues. Everything that it
// does towards the outside is a step, before it has its effect and after, at
// which the process can be killed: nothing it tries has an effect from then on.
// It lives in a synctest bubble, where time passes by itself.
type office struct {
	ledger memory.Ledger
	*testing.T
	sitoo    *fakesitoo.Server
	rule     *fakerule.Server
	store    *memory.History
	backfill *history.Backfill
	desk     *history.Desk // of a process that is not killed
	created  time.Time     // when the account was
	password string        // that the merchant has entered, "" for no credentials
	accounts map[string][]string
	delivery time.Duration // how long one may last, 5 minutes if 0
	at       func(n int, step string) error

	mu    sync.Mutex
	names []string // of the steps
	dead  bool
	queue []worker.Message // of steps
	parts []worker.Message
	taken map[string]time.Time
	quiet bool // the desk's own steps do not count
}

// step is the n-th thing that the process does, from 1.
func (o *office) step(name string) error {
	o.mu.Lock()
	if o.quiet {
		defer o.mu.Unlock()
		return nil
	}
	if o.dead {
		defer o.mu.Unlock()
		return errGone
	}
	o.names = append(o.names, name)
	n := len(o.names)
	o.mu.Unlock()
	if o.at == nil {
		return nil
	}
	err := o.at(n, name)
	if errors.Is(err, errGone) {
		o.mu.Lock()
		o.dead = true
		o.mu.Unlock()
	}
	return err
}

// apart does something that is not the process's.
func (o *office) apart(do func()) {
	o.mu.Lock()
	before := o.quiet
	o.quiet = true
	o.mu.Unlock()
	do()
	o.mu.Lock()
	o.quiet = before
	o.mu.Unlock()
}

// sender is one of the two queues. A FIFO queue takes a message once within
// five minutes.
type sender struct {
	*office
	name string
	to   *[]worker.Message
}

func (s sender) Send(_ context.Context, m worker.Message) error {
	if err := s.step("send " + s.name); err != nil {
		return err
	}
	s.mu.Lock()
	if m.Group != shopAccount || m.Dedup == "" || len(m.Body) > 1<<20 {
		s.Errorf("%s: a message of %d bytes in group %q with id %q", s.name, len(m.Body), m.Group, m.Dedup)
	}
	if at, ok := s.taken[s.name+m.Dedup]; !ok || time.Since(at) > 5*time.Minute {
		s.taken[s.name+m.Dedup] = time.Now()
		*s.to = append(*s.to, m)
	}
	s.mu.Unlock()
	return s.step("send " + s.name + " done")
}

// wire is the connection to one of the two, in this process.
type wire struct {
	*office
	name string
	to   http.RoundTripper
}

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := w.step(w.name); err != nil {
		return nil, err
	}
	res, err := w.to.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := w.step(w.name + " done"); err != nil {
		return nil, err
	}
	return res, nil
}

type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// Directory of the office: one account.
type directory struct {
	*office
	clients *rule.Client
	shops   *sitoo.REST
}

func (d directory) Session(_ context.Context, id string) (account.Account, *rule.Session, error) {
	if id != shopAccount {
		return account.Account{}, nil, fault.New(fault.NotFound, "There is no account with this id.")
	}
	return account.Account{ID: id, Created: d.created}, d.clients.Session(fakerule.DefaultKey, time.Time{}, nil), nil
}

func (d directory) Shop(context.Context, account.Account) (*sitoo.Shop, error) {
	if d.password == "" {
		return nil, fault.New(fault.NotFound, "The merchant has entered no Sitoo credentials.")
	}
	return d.shops.Shop(sitoo.Credentials{
		BaseURL: "https://api.mysitoo.com", AccountID: fmt.Sprint(fakesitoo.DefaultAccountID), Site: 1,
		APIID: fakesitoo.DefaultAPIID, Password: d.password,
	}), nil
}

func (d directory) Begin(context.Context, account.Account) error { return nil }

func (d directory) Claims(_ context.Context, sitooAccount string) (list []account.Claim, _ error) {
	for i, scope := range d.accounts[sitooAccount] {
		list = append(list, account.Claim{Shop: account.Shop{Environment: "api.mysitoo.com", Account: sitooAccount, Site: int64(i + 1)}, Scope: scope})
	}
	return list, nil
}

// newOffice returns a shop of some customers, half of whom Rule knows: in turn
// by email and phone, by email, and by phone.
func newOffice(t *testing.T, o fakesitoo.Options, ro fakerule.Options) *office {
	t.Helper()
	x := &office{T: t, password: fakesitoo.DefaultPassword, taken: map[string]time.Time{}, accounts: map[string][]string{"90001": {shopAccount}, "90002": {shopAccount, "other"}}}
	if o.Customers == nil {
		o.Customers = fakesitoo.DefaultCustomers()
	}
	x.sitoo, x.rule = fakesitoo.New(o), fakerule.New(ro)
	type person struct {
		ID    int64  `json:"id,omitempty"`
		Email string `json:"email,omitempty"`
		Phone string `json:"phone_number,omitempty"`
	}
	var people []person
	for i, c := range o.Customers {
		p := person{Email: c.Email, Phone: c.Phone}
		switch i % 6 {
		case 0: // Rule has the contact that the till knew
			p.ID, _ = strconv.ParseInt(c.ContactID, 10, 64)
		case 2:
			p.Phone = ""
		case 4:
			if p.Phone != "" {
				p.Email = ""
			}
		default:
			continue
		}
		people = append(people, p)
	}
	seed, err := json.Marshal(map[string]any{"accounts": []any{map[string]any{"subscribers": people}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.rule.Load(strings.NewReader(string(seed))); err != nil {
		t.Fatal(err)
	}
	x.store = &memory.History{Fail: func(op string) error { return x.step("store " + op) }}
	ids := 0
	newID := func() string {
		x.mu.Lock()
		defer x.mu.Unlock()
		ids++
		return fmt.Sprintf("id-%d", ids)
	}
	steps := sender{x, "step", &x.queue}
	x.backfill = &history.Backfill{
		Ledger: &x.ledger,
		Jobs:   x.store, People: x.store, Steps: steps, Parts: sender{x, "part", &x.parts},
		Phones: phone.Parser("SE"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now, NewID: newID, Pages: 1,
		Directory: directory{
			x,
			rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: wire{x, "rule", served{x.rule}}}, Pause: -1}),
			sitoo.NewREST(sitoo.RESTConfig{HTTP: &http.Client{Transport: wire{x, "sitoo", x.sitoo.Client().Transport}}, Pause: -1, Jitter: func() float64 { return 0 }}),
		},
	}
	x.desk = &history.Desk{Jobs: x.store, Steps: steps, Now: time.Now, NewID: newID}
	t.Cleanup(func() {
		if n := x.sitoo.MaxInFlight(); n > 1 {
			t.Errorf("%d requests to Sitoo at the same time", n)
		}
		if n := x.rule.RequestsDuringBlock(fakerule.DefaultKey); n > 0 {
			t.Errorf("%d requests to Rule during a block", n)
		}
		for _, r := range x.rule.Requests() {
			if r.Method != http.MethodGet {
				t.Errorf("%s %s: a backfill only reads", r.Method, r.Path)
			}
		}
	})
	return x
}

// add puts a short order in the shop: a finished one of a customer whom Rule
// knows, but for its other members.
func (o *office) add(id int, members string) {
	o.Helper()
	err := o.sitoo.Add(json.RawMessage(fmt.Sprintf(
		`{"orderid":%d,"eshopid":1,"orderdate":1673000000,"orderstateid":10,"paymentstateid":20,"ordertypeid":10,"registerid":"{A}","email":"kund.ett@example.com",%s}`, id, members)))
	if err != nil {
		o.Fatal(err)
	}
}

func (o *office) post(body string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, worker.Message{Body: body, Group: shopAccount})
}

// deliver delivers the first message of the queue, as a Lambda is given it.
func (o *office) deliver() error {
	o.mu.Lock()
	m := o.queue[0]
	o.dead = false
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(o.delivery, 5*time.Minute))
	defer cancel()
	_, err := o.backfill.Work(ctx, m.Body, "delivery")
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return errGone
	}
	if err == nil {
		o.queue = o.queue[1:]
	}
	return err
}

// run delivers what is on the queue until it is empty, as the queue's edge does.
func (o *office) run() (errs []error) {
	o.Helper()
	for range 400 {
		if len(o.queue) == 0 {
			return errs
		}
		err := o.deliver()
		if err == nil {
			continue
		}
		errs = append(errs, err)
		wait := 15 * time.Second
		switch f := fault.As(err); {
		case errors.Is(err, errGone):
			wait = 6 * time.Minute // the queue's visibility timeout
		case f.Kind == fault.Busy:
			wait = max(wait, time.Until(f.RetryAt))
		case f.Kind != fault.Unavailable:
			o.Fatalf("the message is put aside: %v", err)
		}
		time.Sleep(wait)
	}
	o.Fatalf("the job does not come to an end: %v", errs[:min(len(errs), 5)])
	return nil
}

func (o *office) seals() *history.Seals {
	o.Helper()
	s, err := history.NewSeals(shopAccount, rule.New(rule.Config{}).Session(fakerule.DefaultKey, time.Time{}, nil))
	if err != nil {
		o.Fatal(err)
	}
	return s
}

// the job of the office; there is one.
func (o *office) job() (j history.Job) {
	o.Helper()
	o.apart(func() {
		jobs, err := o.store.List(o.Context(), shopAccount)
		if err != nil || len(jobs) != 1 {
			o.Fatalf("%d jobs, %v", len(jobs), err)
		}
		j = jobs[0]
	})
	return j
}

func (o *office) status() (st history.Status) {
	o.Helper()
	j := o.job()
	o.apart(func() {
		var err error
		if st, err = o.desk.Status(o.Context(), shopAccount, j.ID); err != nil {
			o.Fatal(err)
		}
		if strings.HasPrefix(st.Reason, "waits") && st.Until.IsZero() {
			o.Errorf("%s: until when?", st.Reason)
		}
	})
	return st
}

func (o *office) resume() {
	o.Helper()
	j := o.job()
	o.apart(func() {
		if _, err := o.desk.Resume(o.Context(), shopAccount, j.ID); err != nil {
			o.Fatal(err)
		}
	})
}

// want is what becomes of the orders of the shop, by its own audit: the reason
// why each is skipped, "" for one that is queued.
func (o *office) want(s history.Spec) map[int64]string {
	known, contacts := map[string]bool{}, map[int64]bool{}
	for _, sub := range o.rule.Subscribers(fakerule.DefaultKey) {
		known[sub.Email], known[sub.Phone], contacts[sub.ID] = true, true, true
	}
	delete(known, "")
	want := map[int64]string{}
	for _, a := range o.sitoo.Audit() {
		if a.Site != 1 || a.Date.Before(s.From) || !a.Date.Before(s.To) {
			continue
		}
		contact, _ := strconv.ParseInt(a.ContactID, 10, 64)
		why := ""
		switch {
		case a.Kind == fakesitoo.Open:
			why = history.StillOpen
		case a.Kind == fakesitoo.Booking:
			why = "it is a booking"
		case a.Kind != fakesitoo.Purchase && a.Kind != fakesitoo.Return:
			why = "it is " + a.Kind
		case !a.Till:
			why = history.NotRegister
		case contact == 0 && a.Email == "" && a.Phone == "":
			why = history.NoCustomer
		case contacts[contact] || known[a.Email] || known[a.Phone]:
		case !s.Create:
			why = history.NotInRule
		case a.Email == "" && a.Phone == "": // nobody can be made of a number of another CRM
			why = history.Nameless
		case contact != 0: // whom Rule had once
			why = history.Gone
		}
		want[a.ID] = why
	}
	return want
}

// queued returns the orders of the job's committed parts, each with its place.
func (o *office) queued(j history.Job) map[int64]json.RawMessage {
	o.Helper()
	all := map[int64]json.RawMessage{}
	left := slices.Clone(j.Parts)
	for _, msg := range o.parts {
		m, orders, err := history.DecodePart(msg.Body)
		if err != nil {
			o.Fatal(err)
		}
		i := slices.Index(left, m.Part)
		if i < 0 {
			continue // queued and never committed
		}
		left = slices.Delete(left, i, i+1)
		if m.Account != shopAccount || m.Job != j.ID || m.Run != j.Run || m.Request != "delivery" || m.Create != j.Create || m.Resend != (len(j.Orders) > 0) || msg.Dedup != m.Part {
			o.Errorf("part %+v of job %+v", m, j)
		}
		last := int64(0)
		for _, raw := range orders {
			var id struct {
				OrderID  int64           `json:"orderid"`
				Personal json.RawMessage `json:"personalid"`
			}
			if err := json.Unmarshal(raw, &id); err != nil || id.Personal != nil {
				o.Errorf("order %s: %v", raw, err)
			}
			if _, twice := all[id.OrderID]; twice || id.OrderID <= last {
				o.Errorf("order %d comes twice, or out of order", id.OrderID)
			}
			all[id.OrderID], last = raw, id.OrderID
		}
	}
	if len(left) > 0 {
		o.Errorf("parts %v are committed and not queued", left)
	}
	return all
}

// audit holds what is queued and counted against what is wanted.
func (o *office) audit(want map[int64]string) history.Job {
	o.Helper()
	j := o.job()
	o.apart(func() {
		skipped, months, matched := map[string]int{}, map[string]history.Month{}, 0
		dates := map[int64]time.Time{}
		for _, a := range o.sitoo.Audit() {
			dates[a.ID] = a.Date
		}
		queued := o.queued(j)
		for id, why := range want {
			name := dates[id].In(rule.Stockholm).Format("2006-01")
			m := months[name]
			m.Sitoo++
			if why == "" {
				matched++
				if _, ok := queued[id]; !ok && !j.DryRun {
					o.Errorf("order %d is not queued", id)
				}
			} else {
				m.Skipped++
				skipped[why]++
			}
			months[name] = m
		}
		for id := range queued {
			if why, ok := want[id]; !ok || why != "" || j.DryRun {
				o.Errorf("order %d is queued: %q", id, why)
			}
		}
		got := maps.Clone(j.Skipped)
		delete(got, history.Outside) // of the margin that Sitoo is asked for
		if diff := gocmp.Diff(skipped, got); diff != "" {
			o.Errorf("skipped (-want +got):\n%s", diff)
		}
		if diff := gocmp.Diff(months, j.Months); diff != "" {
			o.Errorf("months (-want +got):\n%s", diff)
		}
		sum := 0
		for _, n := range j.Skipped {
			sum += n
		}
		if j.Matched != matched || j.Read != matched+sum {
			o.Errorf("matched %d of %d read, %d skipped; want %d", j.Matched, j.Read, sum, matched)
		}
		if j.Began.Before(j.Created) || j.Began.After(j.Updated) {
			o.Errorf("began to read at %v, as a job of %v", j.Began, j.Created)
		}
		if len(j.Orders) == 0 && j.Counted != j.Read || len(j.Orders) > 0 && j.Counted != 0 {
			o.Errorf("Sitoo counts %d, and %d were read", j.Counted, j.Read)
		}
	})
	return j
}

// finish writes every part, as the history worker would, and the job is done.
func (o *office) finish() history.Status {
	o.Helper()
	j := o.job()
	if j.State != history.Done {
		if j.State != history.Running || j.Phase != history.Writing {
			o.Errorf("the job is %s at %s, want it to wait for what is to be written", j.State, j.Phase)
		}
		o.apart(func() {
			for _, msg := range o.parts { // those that were never committed, too
				m, orders, err := history.DecodePart(msg.Body)
				if err != nil {
					o.Fatal(err)
				}
				p := history.Part{ID: m.Part, Done: len(orders), Written: len(orders), Finished: true, Updated: time.Now(), Months: map[string]history.Month{}}
				for _, raw := range orders {
					order, err := sitoo.DecodeOrder(raw)
					if err != nil {
						o.Fatal(err)
					}
					name := order.Date.In(rule.Stockholm).Format("2006-01")
					month := p.Months[name]
					month.Written++
					p.Months[name] = month
				}
				if err := o.store.SavePart(o.Context(), m.Account, m.Job, m.Run, p); err != nil {
					o.Fatal(err)
				}
			}
		})
		o.resume()
		o.run()
	}
	st := o.status()
	if st.State != history.Done || st.Percent != 100 || st.Reason != "" || st.Note != "" || st.Written != st.Matched && !st.DryRun {
		o.Errorf("status %+v, want it to be done", st)
	}
	for _, m := range st.Months {
		if m.Left != 0 && !st.DryRun {
			o.Errorf("%+v does not sum up", m)
		}
	}
	return st
}

// winter is all that the small shops sell.
var winter = history.Spec{From: swedish("2022-12-01"), To: swedish("2023-04-01")}

const winterly = `{"from":"2022-12-01","to":"2023-03-31"}`

// A shop with all there is: returns and exchanges, unfinished orders, other
// sites, orders of offline tills, customers whom Rule knows in several ways, and
// orders that come while it is read.
func TestBackfill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 4, Orders: 700, Grow: 3, MaxNum: 200, Customers: fakesitoo.MakeCustomers(300)}, fakerule.Options{})
		spec := history.Spec{From: swedish("2023-01-05"), To: swedish("2023-01-15")}
		want := o.want(spec)
		o.sitoo.Inject(fakesitoo.Fault{Kind: fakesitoo.Repeat, Times: -1})
		o.post(posted(`{"from":"2023-01-05","to":"2023-01-14"}`))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		j := o.audit(want)
		if n := len(o.rule.Subscribers(fakerule.DefaultKey)); j.People != n || n <= 100 {
			t.Errorf("listed %d of %d subscribers", j.People, n)
		}
		kinds := map[string]int{}
		for _, why := range want {
			kinds[why]++
		}
		if len(kinds) < 8 || kinds[""] < 60 || j.Skipped[history.Outside] == 0 {
			t.Errorf("the shop has too little in it: %v", kinds)
		}
		st := o.finish()
		if st.From != "2023-01-05" || st.To != "2023-01-14" || st.Customers != "known" || len(st.Months) != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestBackfillCreate(t *testing.T) {
	t.Parallel()
	for _, dry := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, fakesitoo.Options{Seed: 5, Orders: 100, MaxNum: 40}, fakerule.Options{})
			spec := winter
			spec.Create = true
			o.post(posted(fmt.Sprintf(`{"from":"2022-12-01","to":"2023-03-31","customers":"create","dryrun":%t}`, dry)))
			if errs := o.run(); errs != nil {
				t.Errorf("errors %v", errs)
			}
			j := o.audit(o.want(spec))
			if len(o.rule.Requests()) != 1 || j.People != 10 {
				t.Errorf("Rule is asked %d times who is there, and has %d", len(o.rule.Requests()), j.People)
			}
			for _, raw := range o.queued(j) {
				if !strings.Contains(string(raw), `"invoice_city"`) {
					t.Fatalf("the order has no address: %s", raw)
				}
			}
			if dry != (len(o.parts) == 0) || dry != (j.State == history.Done) {
				t.Errorf("dry run %t: %d parts, %s", dry, len(o.parts), j.State)
			}
			if st := o.finish(); st.Customers != "create" || st.DryRun != dry {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestBackfillChosen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 6, Orders: 240, MaxNum: 30}, fakerule.Options{})
		want, missing, ids := map[int64]string{}, 0, []int64{}
		for i, a := range o.sitoo.Audit() {
			if i%2 == 0 {
				continue
			}
			ids = append(ids, a.ID)
			contact, _ := strconv.ParseInt(a.ContactID, 10, 64)
			switch {
			case a.Site != 1:
				missing++
				continue
			case a.Kind == fakesitoo.Open:
				want[a.ID] = history.StillOpen
			case a.Kind == fakesitoo.Booking:
				want[a.ID] = "it is a booking"
			case a.Kind != fakesitoo.Purchase && a.Kind != fakesitoo.Return:
				want[a.ID] = "it is " + a.Kind
			case contact == 0 && a.Email == "" && a.Phone == "":
				want[a.ID] = history.NoCustomer
			default: // web orders, and customers whom Rule does not know, too
				want[a.ID] = ""
			}
		}
		ids = append(ids, 1, 900_000_001, 900_000_002)
		missing += 3
		list, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		o.post(posted(`{"from":"-","to":"-","orders":` + string(list) + `}`))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		j := o.job()
		lost := o.status().Lost
		if j.Skipped[history.Missing] != missing || len(lost) != 1 || lost[0].Reason != history.Missing || len(lost[0].Orders) != missing {
			t.Errorf("%d orders are not in Sitoo, want %d; lost are %v", j.Skipped[history.Missing], missing, lost)
		}
		for _, id := range lost[0].Orders {
			if _, there := want[id]; there || !slices.Contains(ids, id) {
				t.Errorf("order %d is said not to be in Sitoo", id)
			}
		}
		o.apart(func() { // what is not there is not read
			delete(j.Skipped, history.Missing)
			if err := o.store.Put(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		})
		o.audit(want)
		if st := o.finish(); st.From != "" || st.To != "" || len(st.Orders) != len(ids) {
			t.Errorf("status %+v", st)
		}
	})
}

// Orders that are open when they are read are looked at again at the end.
func TestBackfillReopens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{MaxNum: 5}, fakerule.Options{})
		open := []int64{2, 3, 7, 9}
		for id := 1; id <= 12; id++ {
			state := 10
			if slices.Contains(open, int64(id)) {
				state = 0
			}
			o.add(id, fmt.Sprintf(`"orderstateid":%d,"paymentstateid":%d`, state, 2*state))
		}
		pages := 0
		o.at = func(_ int, step string) error {
			if step != "sitoo done" {
				return nil
			}
			// The newest order, and the three pages that there are: what happens to the
			// open ones then is seen at the end.
			if pages++; pages == 4 {
				if err := errors.Join(o.sitoo.Close(open[0]), o.sitoo.Cancel(open[1])); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		o.post(posted(winterly))
		o.run()
		want := o.want(winter)
		if want[open[0]] != "" || want[open[1]] != "it is cancelled" || want[open[2]] != history.StillOpen {
			t.Fatalf("the orders are %q, %q and %q", want[open[0]], want[open[1]], want[open[2]])
		}
		if j := o.audit(want); len(j.Open) != 0 {
			t.Errorf("%d orders are still to be looked at", len(j.Open))
		}
		o.finish()
	})
}

// slowly is a shop that takes three pages and four deliveries to read.
func slowly(t *testing.T) *office {
	o := newOffice(t, fakesitoo.Options{
		Seed: 22, Orders: 9, MaxNum: 3, Latency: func(int) time.Duration { return 14 * time.Second },
	}, fakerule.Options{})
	o.delivery = time.Minute
	return o
}

// However and wherever the process is killed, or one call goes wrong, every
// order is in one committed part.
func TestBackfillKilled(t *testing.T) {
	t.Parallel()
	var names []string
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		o.post(posted(winterly))
		o.run()
		o.audit(o.want(winter))
		names = o.names
	})
	for _, need := range []string{"store Put", "store Put done", "store Add done", "send step", "send part", "send part done", "sitoo done", "rule done"} {
		if !slices.Contains(names, need) {
			t.Errorf("there is no step %q among %v", need, names)
		}
	}
	for n := range len(names) {
		for how, err := range map[string]error{
			"killed":      errGone,
			"does not do": &fault.Error{Kind: fault.Unavailable, Err: errors.New("no answer")},
		} {
			// To be killed after a step is to be killed before the next one; of
			// calls that fail, those whose answer is lost are the harder half.
			if killed := err == errGone; killed == strings.HasSuffix(names[n], " done") || !killed && n%4 == 1 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				o := slowly(t)
				o.at = func(i int, _ string) error {
					if i == n+1 {
						return err
					}
					return nil
				}
				o.post(posted(winterly))
				o.run()
				o.audit(o.want(winter))
				o.finish()
				if t.Failed() {
					t.Errorf("%s at step %d, %s", how, n+1, names[n])
				}
			})
		}
	}
}

// A process that is killed again and again, from seeds.
func TestBackfillKilledOften(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			o := slowly(t)
			o.at = func(int, string) error {
				switch random.IntN(25) {
				case 0:
					return errGone
				case 1:
					return &fault.Error{Kind: fault.Unavailable, Err: errors.New("no answer")}
				}
				return nil
			}
			o.post(posted(winterly))
			o.run()
			o.at = nil
			o.audit(o.want(winter))
			o.finish()
			if t.Failed() {
				t.Errorf("seed %d", seed)
			}
		})
	}
}

// A job that is paused, or cancelled, at any step stops at it, and one that is
// resumed goes on as if nothing had been.
func TestBackfillControlled(t *testing.T) {
	t.Parallel()
	var names []string
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		o.post(posted(winterly))
		o.run()
		names = o.names
	})
	id := history.JobID(shopAccount, winter)
	for n := range len(names) {
		if strings.HasSuffix(names[n], " done") && names[n] != "store Put done" {
			continue // as the step after it
		}
		for i, what := range []string{"pause", "pause and resume", "cancel"} {
			if i != n%3 && names[n] != "store Put" {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				o := slowly(t)
				did, asked := false, 0
				o.at = func(i int, step string) error {
					if did && step == "sitoo" {
						asked++
					}
					if i <= n || did {
						return nil
					}
					o.apart(func() {
						var err error
						switch what {
						case "cancel":
							_, err = o.desk.Cancel(t.Context(), shopAccount, id)
						default:
							if _, err = o.desk.Pause(t.Context(), shopAccount, id); err == nil && what != "pause" {
								_, err = o.desk.Resume(t.Context(), shopAccount, id)
							}
						}
						if did = err == nil; !did && fault.KindOf(err) != fault.NotFound {
							t.Error(err)
						}
					})
					return nil
				}
				o.post(posted(winterly))
				o.run()
				if !did {
					return // at the very end
				}
				st := o.status()
				switch {
				case what == "cancel":
					if st.State != history.Cancelled || st.Reason != "cancelled by request" || st.Ended.IsZero() {
						t.Errorf("status %+v, want it to be cancelled", st)
					}
				case what == "pause":
					if st.State != history.Paused || st.Reason != "paused by request" {
						t.Errorf("status %+v, want it to be paused", st)
					}
					fallthrough
				default:
					o.resume()
					o.run()
					o.audit(o.want(winter))
					o.finish()
				}
				if what == "cancel" && asked > 1 {
					t.Errorf("Sitoo is asked %d times afterwards", asked)
				}
				if t.Failed() {
					t.Errorf("%s at step %d, %s", what, n+1, names[n])
				}
			})
		}
	}
}

func TestBackfillStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 9, Orders: 10}, fakerule.Options{})
		start := func(body string) (history.Step, error) {
			return o.backfill.Work(t.Context(), body, "delivery")
		}
		for body, want := range map[string]struct {
			kind fault.Kind
			text string
		}{
			`{}`: {fault.Invalid, "is missing"},
			posted(`{"account":"ffffffffffffffffffffffffffffffff"}`):             {fault.NotFound, "There is no account ffffffffffffffffffffffffffffffff that uses the connector"},
			posted(`{"account":"-","sitooaccount":"1"}`):                         {fault.NotFound, "No shop has entered credentials for this Sitoo account."},
			posted(`{"account":"-","sitooaccount":"90002"}`):                     {fault.Invalid, "has several shops; account, and label where there is one, are expected: site 1 at api.mysitoo.com is account " + shopAccount + "; site 2 at api.mysitoo.com is account other"},
			`{"account":"` + shopAccount + `","job":"nothing","run":1,"step":1}`: {fault.NotFound, "There is no such job."},
		} {
			if _, err := start(body); fault.KindOf(err) != want.kind || !strings.Contains(fault.As(err).Message, want.text) {
				t.Errorf("%s: %v, want %s", body, err, want.text)
			}
		}
		o.password = ""
		if _, err := start(posted(`{}`)); fault.KindOf(err) != fault.NotFound || fault.As(err).Message != "The merchant has entered no Sitoo credentials." {
			t.Errorf("without credentials: %v", err)
		}
		if len(o.queue) != 0 {
			t.Errorf("%d messages are queued", len(o.queue))
		}

		o.password = fakesitoo.DefaultPassword
		first, err := start(posted(`{"account":"-","sitooaccount":90001,"from":"2022-12-01","to":"2023-03-31"}`))
		if want := (history.Step{Account: shopAccount, Job: history.JobID(shopAccount, winter), Run: 1}); err != nil || first != want {
			t.Fatalf("start = %+v, %v; want %+v", first, err, want)
		}
		if j := o.job(); j.State != history.Waiting || j.Phase != history.Customers || !j.Created.Equal(time.Now()) {
			t.Errorf("job %+v, want it to wait", j)
		}
		// The same again joins it, at any time until it is done: the message is on
		// the queue already.
		if again, err := start(posted(winterly)); err != nil || again != first || len(o.queue) != 1 {
			t.Errorf("start again = %+v, %v, %d messages", again, err, len(o.queue))
		}
		time.Sleep(6 * time.Minute)
		if again, err := start(posted(winterly)); err != nil || again != first || len(o.queue) != 2 {
			t.Errorf("start later = %+v, %v, %d messages; want a push", again, err, len(o.queue))
		}
		o.run()
		if again, err := start(posted(winterly)); err != nil || again.Run != 1 || again.Step == 0 {
			t.Errorf("start at the end = %+v, %v", again, err)
		}
		o.run()
		o.audit(o.want(winter))
		o.finish()
		// Done, it is done again from the beginning; what the first run left on the
		// queue is of no account.
		o.parts = nil
		again, err := start(posted(winterly))
		if err != nil || again.Run != 2 || again.Step != 0 || again.Job != first.Job {
			t.Errorf("start anew = %+v, %v", again, err)
		}
		left, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		o.post(string(left))
		o.run()
		if j := o.audit(o.want(winter)); j.Run != 2 {
			t.Errorf("run %d", j.Run)
		}
		o.finish()
	})
}

// What Sitoo answers instead of orders.
func TestBackfillSitooFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  fakesitoo.Fault
		reason string // while it waits
		wait   time.Duration
		pauses bool
	}{
		"password changed": {fakesitoo.Fault{Status: 401}, "Sitoo does not accept the credentials (status 401: Unauthorized). Enter them again, then resume.", 0, true},
		"forbidden":        {fakesitoo.Fault{Status: 403}, "Sitoo does not accept the credentials (status 403: Forbidden). Enter them again, then resume.", 0, true},
		"account moved":    {fakesitoo.Fault{Status: 404}, "Sitoo has nothing there (status 404: Not Found): the base URL, the account id, the site or the order is another one. Enter the credentials again, then resume.", 0, true},
		"busy":             {fakesitoo.Fault{Status: 429, Header: http.Header{"Retry-After": {"90"}}}, "waits for Sitoo, which is busy", 90 * time.Second, false},
		"out of order":     {fakesitoo.Fault{Status: 503, Times: 2}, "Sitoo cannot answer just now (status 503: Service Unavailable). It is tried again.", 0, false},
		"a page of HTML":   {fakesitoo.Fault{Kind: fakesitoo.Garbage, Times: 2}, "Sitoo did not answer as expected. It is tried again.", 0, false},
		"cut off":          {fakesitoo.Fault{Kind: fakesitoo.Cut, Times: 2}, "Sitoo did not answer. It is tried again.", 0, false},
		"refused":          {fakesitoo.Fault{Status: 400}, "Sitoo finds fault with our request (status 400: Bad Request). It is tried again.", 0, false},
		"no answer":        {fakesitoo.Fault{Kind: fakesitoo.Hang}, "Sitoo did not answer. It is tried again.", 0, false},
	} {
		for after := range 2 { // at the very first request, and at the second page
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(t, fakesitoo.Options{Seed: 10, Orders: 12, MaxNum: 6}, fakerule.Options{})
				f, seen := tt.fault, 0
				f.Match = func(*http.Request) bool { seen++; return seen > 2*after }
				o.sitoo.Inject(f)
				o.post(posted(winterly))
				for o.job0() == nil { // start
					if err := o.deliver(); err != nil {
						t.Fatal(err)
					}
				}
				err := o.deliver()
				st := o.status()
				if st.Reason != tt.reason || (st.State == history.Paused) != tt.pauses || tt.pauses != (err == nil) {
					t.Errorf("%s: %v, %s because of %q", name, err, st.State, st.Reason)
				}
				if tt.wait != 0 && (!st.Until.Equal(time.Now().Add(tt.wait)) || fault.KindOf(err) != fault.Busy) {
					t.Errorf("%s: until %v (%v), want in %v", name, st.Until, err, tt.wait)
				}
				if !tt.pauses {
					if _, asked := fault.As(err), seen; o.deliver() != nil && tt.wait != 0 && seen != asked {
						t.Errorf("%s: Sitoo is asked before the time is over", name)
					}
				} else {
					o.resume()
				}
				o.run()
				o.audit(o.want(winter))
				if st := o.finish(); !st.Until.IsZero() {
					t.Errorf("%s: still until %v", name, st.Until)
				}
			})
		}
	}
}

// job0 returns the job, nil if there is none yet.
func (o *office) job0() (j *history.Job) {
	o.apart(func() {
		if jobs, _ := o.store.List(o.Context(), shopAccount); len(jobs) > 0 {
			j = &jobs[0]
		}
	})
	return j
}

// A job whose credentials are removed waits for others.
func TestBackfillWithoutCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		o.post(posted(winterly))
		for range 2 {
			if err := o.deliver(); err != nil {
				t.Fatal(err)
			}
		}
		o.password = ""
		o.run()
		if st := o.status(); st.State != history.Paused || st.Reason != "The merchant has entered no Sitoo credentials. Enter them, then resume." {
			t.Errorf("status %+v", st)
		}
		o.password = "not-the-one"
		o.resume()
		o.run()
		if st := o.status(); st.State != history.Paused || !strings.HasPrefix(st.Reason, "Sitoo does not accept the credentials") {
			t.Errorf("status %+v", st)
		}
		o.password = fakesitoo.DefaultPassword
		o.resume()
		o.run()
		o.audit(o.want(winter))
		o.finish()
	})
}

// The tills' share of Rule's budget is left alone, and a block is kept to.
func TestBackfillRuleLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 11, Orders: 12, Customers: fakesitoo.MakeCustomers(1400)}, fakerule.Options{Budget: 10})
		o.post(posted(winterly))
		errs := o.run()
		if len(errs) == 0 || fault.KindOf(errs[0]) != fault.Busy {
			t.Errorf("errors %v, want it to wait", errs)
		}
		for i, r := range o.rule.Requests() {
			if r.Status != 200 {
				t.Errorf("request %d: status %d", i, r.Status)
			}
		}
		if j := o.audit(o.want(winter)); j.People != len(o.rule.Subscribers(fakerule.DefaultKey)) || j.People < 600 {
			t.Errorf("listed %d", j.People)
		}
		o.finish()
	})
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 11, Orders: 12, Customers: fakesitoo.MakeCustomers(600)}, fakerule.Options{})
		lists := 0
		o.at = func(_ int, step string) error {
			if step == "rule" {
				if lists++; lists == 2 {
					o.rule.BlockFor(fakerule.DefaultKey, 7*time.Minute)
				}
			}
			return nil
		}
		o.post(posted(winterly))
		for range 2 {
			_ = o.deliver()
		}
		st := o.status()
		if st.Reason != "waits until Rule takes calls of the account again: there were too many" || time.Until(st.Until) > 7*time.Minute || time.Until(st.Until) < 6*time.Minute || st.Listed != 100 {
			t.Errorf("status %+v", st)
		}
		for range 3 { // it is early
			if err := o.deliver(); err != nil && fault.KindOf(err) != fault.Busy {
				t.Error(err)
			}
		}
		if lists != 2 {
			t.Errorf("Rule is asked %d times", lists)
		}
		o.run()
		o.audit(o.want(winter))
		o.finish()
	})
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 11, Orders: 12}, fakerule.Options{})
		o.rule.RevokeKey(fakerule.DefaultKey)
		o.post(posted(winterly))
		for range 2 {
			if err := o.deliver(); err != nil && fault.KindOf(err) != fault.Unauthorized {
				t.Error(err)
			}
		}
		if st := o.status(); st.Reason != "Rule refuses the shop's API key. It is tried again; a renewed key works once it is entered with PUT /sitoo/credentials." || st.State != history.Running {
			t.Errorf("status %+v", st)
		}
	})
}

// A delivery ends before its time does, and the job with it goes on.
func TestBackfillDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{
			Seed: 12, Orders: 60, MaxNum: 4, Latency: func(int) time.Duration { return 25 * time.Second },
		}, fakerule.Options{})
		o.delivery = 297 * time.Second
		o.post(posted(winterly))
		deliveries, longest := 0, time.Duration(0)
		for len(o.queue) > 0 {
			began := time.Now()
			if err := o.deliver(); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(began))
			deliveries++
		}
		if longest > 277*time.Second || longest < 200*time.Second || deliveries != 3 {
			t.Errorf("%d deliveries, the longest takes %v", deliveries, longest)
		}
		o.audit(o.want(winter))
		o.finish()
	})
	// What is left of a delivery is too short to begin with: the message stays.
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 12, Orders: 10}, fakerule.Options{})
		o.post(posted(winterly))
		if err := o.deliver(); err != nil {
			t.Fatal(err)
		}
		o.delivery = 5 * time.Second
		if err := o.deliver(); err != nil { // the end of the orders is found
			t.Fatal(err)
		}
		if err := o.deliver(); fault.KindOf(err) != fault.Busy || len(o.queue) != 1 {
			t.Errorf("%v, %d messages", err, len(o.queue))
		}
		o.delivery = 0
		o.run()
		o.audit(o.want(winter))
	})
}

// Pages that take too long, or are too large, are asked for in smaller ones.
func TestBackfillSmallerPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{
			Seed: 13, Orders: 150, Latency: func(objects int) time.Duration { return time.Duration(objects) * time.Second / 3 },
		}, fakerule.Options{})
		o.post(posted(winterly))
		o.run()
		if j := o.audit(o.want(winter)); j.Page != 62 {
			t.Errorf("pages of %d, want 62", j.Page)
		}
		o.finish()
	})
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 20}, fakerule.Options{})
		o.sitoo.Inject(fakesitoo.Fault{
			Kind: fakesitoo.Garbage, Body: strings.Repeat(" ", 33<<20),
			Match: func(r *http.Request) bool { return r.URL.Query().Get("num") == "500" }, Times: -1,
		})
		o.post(posted(winterly))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		if j := o.audit(o.want(winter)); j.Page != 250 {
			t.Errorf("pages of %d, want 250", j.Page)
		}
	})
}

// Orders that are not as they should be cost themselves alone; and those that do
// not fit in a message come in several.
func TestBackfillOddOrders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Orders: 0}, fakerule.Options{})
		log := &bytes.Buffer{}
		o.backfill.Log = slog.New(slog.NewTextHandler(log, nil))
		noise := func(n int) string {
			random, b := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, n)
			for i := range b {
				b[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[random.IntN(64)]
			}
			return string(b)
		}
		want := map[int64]string{6: "", 7: history.TooLarge}
		add := o.add
		add(6, `"customerref":"one"`)
		add(7, `"customerref":"`+noise(1_060_000)+`"`)
		add(8, `"moneytotal_gross_all":"much"`)
		want[8] = "" // what cannot be read of it is left out
		add(9, `"company":"one","company":"two"`)
		add(10, `"phone":"saknas","email":""`)
		want[10] = history.NoCustomer
		add(11, `"personalid":"190001010000"`)
		want[11] = ""
		o.post(posted(winterly))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		j := o.job()
		if n := j.Skipped[history.Unreadable]; n != 0 || j.Skipped[history.TooLarge] != 1 || j.Skipped[history.NoCustomer] != 1 {
			t.Errorf("skipped %v", j.Skipped)
		}
		queued := o.queued(j)
		for id, why := range want {
			if _, ok := queued[id]; ok != (why == "") {
				t.Errorf("order %d is queued: %t, want %q", id, ok, why)
			}
		}
		if len(o.parts) != 2 || j.Months["2023-01"].Sitoo != j.Matched+2 || j.Months["2023-01"].Skipped != 2 {
			t.Errorf("%d parts, months %v, matched %d", len(o.parts), j.Months, j.Matched)
		}
		lost := []history.Failure{{Reason: history.TooLarge, Orders: []int64{7}}}
		if diff := gocmp.Diff(lost, o.finish().Lost); diff != "" {
			t.Errorf("lost (-want +got):\n%s", diff)
		}
		for _, want := range []string{
			`msg="an order is too large to be brought over" account=` + shopAccount + ` job=` + j.ID + ` order=7 bytes=10`,
		} {
			if strings.Count(log.String(), want) != 1 {
				t.Errorf("the log has %d times %s:\n%s", strings.Count(log.String(), want), want, log)
			}
		}
	})
}

// Only so many lost orders are named; all of them are counted.
func TestBackfillLosesMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{MaxNum: 40}, fakerule.Options{})
		const many = history.MaxLost + 30
		var ids []string
		for id := range many {
			o.add(1000+id, `"orderdate":0`)
			ids = append(ids, strconv.Itoa(1000+id))
		}
		o.post(posted(`{"from":"-","to":"-","orders":[` + strings.Join(ids, ",") + `]}`))
		o.run()
		st := o.finish()
		if len(st.Lost) != 1 || st.Skipped[history.Unreadable] != many || st.Read != many {
			t.Fatalf("status %+v", st)
		}
		if ids := st.Lost[0].Orders; len(ids) != history.MaxLost || ids[0] != 1000 || ids[history.MaxLost-1] != 1000+history.MaxLost-1 {
			t.Errorf("lost are %v", ids)
		}
	})
}

// Sitoo counts an order that it does not list, or does not count at all.
func TestBackfillCounts(t *testing.T) {
	t.Parallel()
	for total, want := range map[string]history.Status{
		`3`:    {Counted: 3, Note: "Sitoo counted 3 orders when the reading began, and 2 were read. When the backfill is done, post its message again: what is in Rule already is not written again. If the two still differ then, tell the developers."},
		`2`:    {Counted: 2},
		`null`: {},
		`0`:    {},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, fakesitoo.Options{}, fakerule.Options{})
			o.add(1, `"customerref":"one"`)
			o.add(2, `"customerref":"two"`)
			o.sitoo.Inject(fakesitoo.Fault{
				Kind: fakesitoo.Garbage, Match: func(r *http.Request) bool { return r.URL.Query().Has("orderidto") },
				Body: `{"totalcount":` + total + `,"items":[{"orderid":1,"eshopid":1,"orderdate":1673000000,"orderstateid":10,"paymentstateid":20,"ordertypeid":10},` +
					`{"orderid":2,"eshopid":1,"orderdate":1673000000,"orderstateid":10,"paymentstateid":20,"ordertypeid":10}]}`,
			})
			o.post(posted(winterly))
			o.run()
			st := o.status()
			if got := (history.Status{Counted: st.Counted, Note: st.Note}); !gocmp.Equal(want, got) || st.Read != 2 || st.State != history.Done {
				t.Errorf("of %s: %+v", total, st)
			}
		})
	}
}

// What is put aside fails the job, unless it is further than the message.
func TestBackfillGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		giveUp := func(body string) {
			t.Helper()
			if err := o.backfill.GiveUp(t.Context(), body, fault.New(fault.Internal, "The message made the worker panic; the log has the stack.")); err != nil {
				t.Error(err)
			}
		}
		for _, body := range []string{`{}`, ``, posted(winterly), `{"account":"a","job":"j","run":1,"step":1}`} {
			giveUp(body)
		}
		o.post(posted(winterly))
		for range 2 {
			if err := o.deliver(); err != nil {
				t.Fatal(err)
			}
		}
		j, queue := o.job(), o.queue
		body := func(run, step int) string {
			b, err := json.Marshal(history.Step{Account: shopAccount, Job: j.ID, Run: run, Step: step})
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		o.queue = nil
		giveUp(body(j.Run, j.Step-1))
		if st := o.status(); st.State != history.Running {
			t.Errorf("status %+v, want it to go on", st)
		}
		giveUp(body(j.Run+1, j.Step))
		time.Sleep(6 * time.Minute)
		giveUp(body(j.Run, j.Step-1))
		if len(o.queue) != 1 || o.queue[0].Body != queue[0].Body {
			t.Errorf("%d messages %v, want the step that it is at", len(o.queue), o.queue)
		}
		for range 2 {
			giveUp(body(j.Run, j.Step))
			if st := o.status(); st.State != history.Failed || st.Reason != "given up: something unexpected went wrong, as the log says: The message made the worker panic; the log has the stack." || st.Ended.IsZero() {
				t.Errorf("status %+v, want it to be given up", st)
			}
		}
		o.run() // the message that is left does nothing
		if after := o.job(); after.Step != j.Step {
			t.Errorf("step %d of a job that has failed", after.Step)
		}
	})
}

// A job that outgrows its place in the store fails with what the store says.
func TestBackfillOutgrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		puts := 0
		o.at = func(_ int, step string) error {
			if step == "store Put" {
				if puts++; puts == 4 {
					return fault.New(fault.TooLarge, "Start one for a shorter period.")
				}
			}
			return nil
		}
		o.post(posted(winterly))
		o.run()
		if st := o.status(); st.State != history.Failed || st.Reason != "Start one for a shorter period." || st.Ended.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

// Why a job is paused is not lost to what goes wrong at the same time.
func TestBackfillPausedInAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		pages := 0
		o.at = func(_ int, step string) error {
			if step != "sitoo" {
				return nil
			}
			if pages++; pages != 2 {
				return nil
			}
			o.apart(func() {
				if _, err := o.desk.Pause(t.Context(), shopAccount, history.JobID(shopAccount, winter)); err != nil {
					t.Error(err)
				}
			})
			return errGoneWrong
		}
		o.sitoo.Inject(fakesitoo.Fault{Status: 503, Match: func(*http.Request) bool { return pages == 3 }})
		o.post(posted(winterly))
		o.run()
		if st := o.status(); st.State != history.Paused || st.Reason != "paused by request" {
			t.Errorf("status %+v, want it to be paused by request", st)
		}
		o.resume()
		o.run()
		o.audit(o.want(winter))
		o.finish()
	})
}

var errGoneWrong = errors.New("connection reset by peer")

// A job that is paused for weeks lists anew who is in Rule: stores forget it.
func TestBackfillPausedForWeeks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		id, paused := history.JobID(shopAccount, winter), false
		o.at = func(_ int, step string) error {
			if step == "send part done" && !paused {
				paused = true
				o.apart(func() {
					if _, err := o.desk.Pause(t.Context(), shopAccount, id); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}
		o.post(posted(winterly))
		o.run()
		if st := o.status(); !paused || st.State != history.Paused || st.Read == 0 {
			t.Fatalf("status %+v, want it to be paused while it reads", st)
		}
		time.Sleep(20 * 24 * time.Hour)
		before, job, resumed := len(o.rule.Requests()), o.job(), time.Now()
		o.resume()
		o.run()
		// It began to read when it did, list or no list, but for the pause.
		if got, want := o.job().Began, job.Began.Add(resumed.Sub(job.Updated)); job.Began.IsZero() || !got.Equal(want) {
			t.Errorf("began to read at %v, want %v", got, want)
		}
		lists := 0
		for _, r := range o.rule.Requests()[before:] {
			if strings.HasSuffix(r.Route, "/v2/subscribers") && strings.HasPrefix(r.Route, "GET") {
				lists++
			}
		}
		if lists == 0 {
			t.Errorf("who is in Rule is not listed anew: %v", o.rule.Requests()[before:])
		}
		o.audit(o.want(winter))
		o.finish()
	})
}

// Whoever is deleted in Rule while a job is paused for a day is not listed any
// more, and must not come back by an old order.
func TestBackfillForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := slowly(t)
		paused := false
		o.at = func(_ int, step string) error {
			if step == "store AddContacts"+memory.Done && !paused {
				paused = true
				o.apart(func() {
					if _, err := o.desk.Pause(t.Context(), shopAccount, history.JobID(shopAccount, winter)); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}
		o.post(posted(winterly))
		o.run()
		gone := o.rule.Subscribers(fakerule.DefaultKey)[0]
		rep := httptest.NewRecorder()
		q := httptest.NewRequest(http.MethodDelete, fmt.Sprintf("/v2/subscribers/%d?identified_by=id&apikey=%s", gone.ID, fakerule.DefaultKey), nil)
		if o.rule.ServeHTTP(rep, q); rep.Code != http.StatusOK {
			t.Fatalf("delete: %d %s", rep.Code, rep.Body)
		}
		o.rule.ResetRequests()
		time.Sleep(25 * time.Hour)
		o.resume()
		o.run()
		o.audit(o.want(winter))
		j := o.job()
		known, err := o.store.Find(t.Context(), shopAccount, fmt.Sprintf("%s-%d-%d", j.ID, j.Run, j.Lists), []history.Digest{o.seals().Digest(customer.Key{Email: gone.Email})})
		contacts, err2 := o.store.FindContacts(t.Context(), shopAccount, fmt.Sprintf("%s-%d-%d", j.ID, j.Run, j.Lists), []int64{gone.ID})
		if j.Lists < 2 || len(known) > 0 || len(contacts) > 0 || err != nil || err2 != nil {
			t.Errorf("list %d has %v, %v; %v, %v", j.Lists, known, contacts, err, err2)
		}
		o.finish()
	})
}

// A dry run says what is missing, and not what is in Rule already, whoever
// brought it.
func TestDryRunAsksTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{}, fakerule.Options{})
		for id := 1; id <= 5; id++ {
			o.add(id, `"customerref":"x"`)
		}
		for id, s := range map[int64]order.State{1: order.Sent, 2: order.Sent, 3: order.Waiting, 4: order.Failed} {
			k := order.Key{Account: shopAccount, Order: id}
			if _, err := o.ledger.Claim(t.Context(), k, order.Stamp{}, "a", time.Now(), time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := o.ledger.Finish(t.Context(), k, "a", s, "", false, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		o.post(posted(strings.TrimSuffix(winterly, "}") + `,"dryrun":true}`))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		st := o.finish()
		if st.Matched != 2 || st.Already != 2 || st.Skipped[history.OnItsWay] != 1 || len(o.parts) != 0 || st.Read != 5 {
			t.Errorf("status %+v", st)
		}
	})
}
