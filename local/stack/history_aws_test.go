package stack_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	gocmp "github.com/google/go-cmp/cmp"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

const (
	oldOrders = 1200
	// oldBuyers is how few they are because the emulator takes its time with each
	// of them, as with each order that is written.
	oldBuyers = 20
	// oldPage is how many orders Sitoo lists at a time, and oldPages how many of
	// those pages are read before the job is committed: so that it is, several
	// times.
	oldPage, oldPages = 60, 4
	// oldCall is up to how many customers Rule answers a call when it is done.
	oldCall = 3
	// strangers is up to how many contact ids orders name that Rule does not have.
	strangers = 40
	// firstOld is Rule's id of the first customer. The stand-in gives out none of
	// these by itself.
	firstOld = 255940001
)

// oldShop is a shop with old orders and real adapters: Sitoo, and who of its
// customers is in Rule.
type oldShop struct {
	*cloudRig
	sitoo   *fakesitoo.Server
	ids     map[string]int64 // Rule's, by email address, phone number and contact id
	dynamo  *dynamodb.Client
	deaths  *deaths
	mu      sync.Mutex
	stopAt  int // the page of orders, from now, that stop holds back
	held    chan struct{}
	release chan struct{}
}

// newOldShop is newCloudRig with a shop of old orders behind it, and workers
// that die as d says.
func newOldShop(t *testing.T, cfg aws.Config, d *deaths) *oldShop {
	s := &oldShop{
		cloudRig: &cloudRig{worked: make(chan struct{}, 1), name: stack.Prefix + strings.ToLower(rand.Text()) + "-", sqs: sqs.NewFromConfig(cfg)}, deaths: d,
		dynamo: dynamodb.NewFromConfig(cfg),
	}
	people, seed := s.people(t)
	s.sitoo = fakesitoo.New(fakesitoo.Options{Orders: oldOrders, Customers: people, MaxNum: oldPage, Observe: s.observe})

	// Rule's clock is the rig's, which newRig makes.
	var fake *fakerule.Server
	ready := make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ready:
			fake.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(backend.Close)
	cloud := cfg
	cloud.HTTPClient = &http.Client{Transport: mortalWire{cfg.HTTPClient.(*http.Client).Transport}}
	w := &oldWorkers{deaths: d, delay: map[string]worker.Delayer{}, name: s.name}
	o := options{rule: fakerule.Options{AsyncAbove: oldCall}, Options: stack.Options{Cloud: &cloud, Name: s.name, RuleURL: backend.URL, SitooAnyHost: true}}
	o.Change = func(function string, p *app.Parts) {
		if p.Rule != nil { // the real one but for its clock, by which a block ends
			p.Rule = rule.New(rule.Config{URL: backend.URL, HTTP: &http.Client{Transport: mortalWire{http.DefaultTransport}}, Now: p.Now, Pause: -1, Patience: time.Minute})
		}
		switch function {
		case "backfill-worker":
			w.delay[function] = p.StepsDelay
			p.StepsDelay = noted{}
		case "history-worker":
			w.delay[function] = p.OldOrdersDelay
			p.OldOrdersDelay = noted{}
		}
	}
	o.Wrap = func(function string, h lambda.Handler) lambda.Handler {
		if _, ok := w.delay[function]; ok {
			h = oldWorker{h, function, w}
		}
		if strings.HasSuffix(function, "-worker") {
			h = announced{h, s.worked}
		}
		return h
	}
	declared, err := readTemplate()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"BackfillQueue", "HistoryQueue"} {
		q, ok := declared.Queue(id)
		if !ok || w.visibility != 0 && w.visibility != q.Visibility {
			t.Fatalf("the template's %s is visible again after %v, the other one after %v", id, q.Visibility, w.visibility)
		}
		w.visibility = q.Visibility
	}
	s.rig = newRig(t, o)
	s.books = nil // s.ledgerItems reads all of it
	fake = s.rule
	w.passing.Lock()
	w.clock = s.clock
	w.passing.Unlock()
	if err := fake.Load(bytes.NewReader(seed)); err != nil {
		t.Fatal(err)
	}
	close(ready)
	return s
}

// people makes the customers, and what Rule has of them:
//
//	0  in Rule with both, and the till knew the contact
//	1  in Rule by email; of every other one the phone number is somebody else's
//	2  in Rule by phone
//	3  not in Rule
//	4  in Rule with both; some carry the id of another CRM
//	5  not in Rule; some carry the id of another CRM, and so do those of 6
//
// and more who are not in Rule.
//
// The receipts of the first one go to somebody else's address.
func (s *oldShop) people(t *testing.T) (all []fakesitoo.Customer, seed []byte) {
	s.ids = map[string]int64{}
	all = fakesitoo.MakeCustomers(oldBuyers)
	type person struct {
		ID    int64  `json:"id"`
		Email string `json:"email,omitempty"`
		Phone string `json:"phone_number,omitempty"`
	}
	var known []person
	know := func(p person) {
		known = append(known, p)
		s.ids[p.Email], s.ids[p.Phone], s.ids[strconv.FormatInt(p.ID, 10)] = p.ID, p.ID, p.ID
	}
	foreign := 0
	for i := range all {
		c := &all[i]
		if c.Email == "" || c.Phone == "" {
			t.Fatalf("customer %d has no email address or no phone number", i)
		}
		other := c.ContactID // which Rule does not have
		c.ContactID = ""
		id := int64(firstOld + 2*i)
		switch i % 10 {
		case 0:
			know(person{id, c.Email, c.Phone})
			c.ContactID = strconv.FormatInt(id, 10)
		case 1:
			know(person{id, c.Email, ""})
			if i%20 == 1 {
				know(person{id + 1, "", c.Phone})
			}
		case 2:
			know(person{id, "", c.Phone})
		case 4:
			know(person{id, c.Email, c.Phone})
			fallthrough
		case 5, 6:
			if foreign < strangers {
				foreign++
				c.ContactID = other
			}
		}
	}
	delete(s.ids, "")
	all[0].Email = all[10].Email
	seed, err := json.Marshal(map[string]any{"accounts": []any{map[string]any{"subscribers": known}}})
	if err != nil {
		t.Fatal(err)
	}
	return all, seed
}

// stop holds back the n-th page of orders that Sitoo is asked for from now on.
// It returns how to wait for that; what that returns lets the page go.
func (s *oldShop) stop(n int) (wait func() (release func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopAt, s.held, s.release = n, make(chan struct{}), make(chan struct{})
	held, release := s.held, s.release
	return func() func() {
		s.t.Helper()
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
		defer cancel()
		select {
		case <-held:
		case <-ctx.Done():
			s.t.Fatal("Sitoo is not asked for the page")
		}
		return sync.OnceFunc(func() { close(release) })
	}
}

// observe is told of requests before their answers are sent.
func (s *oldShop) observe(r fakesitoo.Request) {
	if !strings.HasSuffix(r.Path, "/orders.json") || !strings.Contains(r.Query, "orderdatefrom") {
		return
	}
	s.mu.Lock()
	s.stopAt--
	held, release, stop := s.held, s.release, s.stopAt == 0
	s.mu.Unlock()
	if !stop {
		return
	}
	close(held)
	select {
	case <-release:
	case <-s.t.Context().Done():
	}
}

// post puts support's message on the queue and returns the id of its job.
func (s *oldShop) post(body string) (job string) {
	s.t.Helper()
	err := sqsqueue.New(s.sqs, s.url("BackfillQueue")).Send(s.t.Context(), worker.Message{Body: body, Group: "support", Dedup: rand.Text()})
	if err != nil {
		s.t.Fatal(err)
	}
	start, _, err := history.DecodeBackfill(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return history.JobID(s.id, start.Spec)
}

func (s *oldShop) ask(method, path string) (st history.Status) {
	s.t.Helper()
	a := s.call(method, "/backfills/"+path, nil)
	s.want(a, http.StatusOK)
	if err := json.Unmarshal([]byte(a.Body), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// ended waits until a run of a job has come to a state and returns its status.
func (s *oldShop) ended(job string, run int, as history.State) (st history.Status) {
	s.t.Helper()
	s.await(fmt.Sprintf("run %d of backfill %s is %s", run, job, as), func() bool {
		a := s.call("GET", "/backfills/"+job, nil)
		if a.Status == http.StatusNotFound { // its message has not been worked on
			return false
		}
		s.want(a, http.StatusOK)
		st = history.Status{}
		if err := json.Unmarshal([]byte(a.Body), &st); err != nil {
			s.t.Fatal(err)
		}
		if st.Run == run && st.State.Final() && st.State != as {
			s.t.Fatalf("the backfill has ended: %s", a.Body)
		}
		return st.Run == run && st.State == as
	})
	return st
}

// period are the orders of some days, the last one included.
type period struct{ from, to time.Time }

func days(from, to string) period {
	day := func(v string) time.Time {
		t, err := time.ParseInLocation(time.DateOnly, v, rule.Stockholm)
		if err != nil {
			panic(err)
		}
		return t
	}
	return period{day(from), day(to).AddDate(0, 0, 1)}
}

func (p period) message(account, more string) string {
	return fmt.Sprintf(`{"account":%q,"from":%q,"to":%q%s}`, account, p.from.Format(time.DateOnly), p.to.AddDate(0, 0, -1).Format(time.DateOnly), more)
}

// reckoning is what a job of known customers comes to, by the auditor's list.
type reckoning struct {
	Read, Matched int
	Skipped       map[string]int
	Months        map[string]history.Month
	entries       map[int64]int64 // by order: whose it is, by Rule's id
}

// reckon goes by the orders as they are now.
func (s *oldShop) reckon(p period) reckoning {
	r := reckoning{Skipped: map[string]int{}, Months: map[string]history.Month{}, entries: map[int64]int64{}}
	for _, a := range s.sitoo.Audit() {
		if a.Site != 1 || a.Date.Before(p.from.AddDate(0, 0, -1)) || !a.Date.Before(p.to.AddDate(0, 0, 1)) {
			continue // Sitoo is asked for a day more on either side
		}
		r.Read++
		if a.Date.Before(p.from) || !a.Date.Before(p.to) {
			r.Skipped[history.Outside]++
			continue
		}
		whose := cmp.Or(s.ids[a.ContactID], s.ids[a.Email], s.ids[a.Phone])
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
		case a.ContactID == "" && a.Email == "" && a.Phone == "":
			why = history.NoCustomer
		case whose == 0:
			why = history.NotInRule
		}
		name := a.Date.In(rule.Stockholm).Format("2006-01")
		m := r.Months[name]
		m.Sitoo++
		if why == "" {
			r.Matched++
			m.Written++
			r.entries[a.ID] = whose
		} else {
			r.Skipped[why]++
			m.Skipped++
		}
		r.Months[name] = m
	}
	return r
}

// report is what a status says of the same.
func report(st history.Status) reckoning {
	r := reckoning{Read: st.Read, Matched: st.Matched, Skipped: st.Skipped, Months: map[string]history.Month{}}
	for _, m := range st.Months {
		r.Months[m.Name] = m.Month
	}
	return r
}

// settled compares a finished job's report with the auditor's list.
func (s *oldShop) settled(st history.Status, want reckoning) {
	s.t.Helper()
	if diff := gocmp.Diff(want, report(st), gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".entries" }, gocmp.Ignore())); diff != "" {
		s.t.Errorf("report (-auditor +report):\n%s", diff)
	}
	if st.Percent != 100 || st.Written != len(want.entries) || st.Already != 0 || len(st.Failed) > 0 || st.Reason != "" {
		s.t.Errorf("%d %%, %d written, %d already, failed %v, %q; want %d written", st.Percent, st.Written, st.Already, st.Failed, st.Reason, len(want.entries))
	}
	for _, m := range st.Months {
		if m.Left != 0 {
			s.t.Errorf("%s: %d orders are left", m.Name, m.Left)
		}
	}
}

// entriesInRule returns whose entries there are, by order.
func (s *oldShop) entriesInRule() map[int64]int64 {
	s.t.Helper()
	s.rule.Settle() // a large call is carried out when Rule's clock has gone on
	kinds, totals := map[string]string{}, map[string]string{}
	for _, a := range s.sitoo.Audit() {
		id := strconv.FormatInt(a.ID, 10)
		kinds[id], totals[id] = a.Kind, a.Total
	}
	all := map[int64]int64{}
	for _, sub := range s.rule.Subscribers(key) {
		for _, e := range s.rule.Entries(key, sub.ID, order.Group) {
			number := e.Value("orderid")
			if e.Value("ordertype") != kinds[number] || e.Value("total") != totals[number] {
				s.t.Errorf("the entry of order %s is a %s of %s, want a %s of %s", number, e.Value("ordertype"), e.Value("total"), kinds[number], totals[number])
			}
			id, err := strconv.ParseInt(number, 10, 64)
			if err != nil || all[id] != 0 {
				s.t.Errorf("order %q is twice in Rule, or is none: %d and %d have it", number, all[id], sub.ID)
			}
			all[id] = sub.ID
		}
	}
	return all
}

// inRule fails unless Rule has the orders, each once at its customer, and no
// others.
func (s *oldShop) inRule(when string, want map[int64]int64) {
	s.t.Helper()
	if diff := gocmp.Diff(want, s.entriesInRule()); diff != "" {
		s.t.Errorf("%s: whose orders are in Rule (-want +got):\n%s", when, diff)
	}
}

// items returns what a table holds, each item as text.
func (s *oldShop) items(table string) (all []string) {
	s.t.Helper()
	pages := dynamodb.NewScanPaginator(s.dynamo, &dynamodb.ScanInput{TableName: aws.String(s.name + table)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, item := range out.Items {
			var b strings.Builder
			for _, name := range slices.Sorted(maps.Keys(item)) {
				switch v := item[name].(type) {
				case *types.AttributeValueMemberB: // as it is, not in base 64
					fmt.Fprintf(&b, "%s=%s ", name, v.Value)
				case *types.AttributeValueMemberS:
					fmt.Fprintf(&b, "%s=%s ", name, v.Value)
				case *types.AttributeValueMemberN:
					fmt.Fprintf(&b, "%s=%s ", name, v.Value)
				case *types.AttributeValueMemberSS:
					fmt.Fprintf(&b, "%s=%s ", name, slices.Sorted(slices.Values(v.Value)))
				case *types.AttributeValueMemberBOOL:
					fmt.Fprintf(&b, "%s=%t ", name, v.Value)
				default:
					s.t.Fatalf("%s: %s is a %T", table, name, v)
				}
			}
			all = append(all, b.String())
		}
	}
	slices.Sort(all)
	return all
}

// nothingPersonal fails if a text holds a customer's address or number.
func (s *oldShop) nothingPersonal(where, text string) {
	s.t.Helper()
	for _, personal := range []string{"@example.com", "+4670174"} {
		if at := strings.Index(text, personal); at >= 0 {
			s.t.Errorf("%s holds %q: ...%s", where, personal, text[max(0, at-100):min(len(text), at+40)])
		}
	}
}

// A whole backfill over the wire: DynamoDB, SQS and KMS of an emulator, Rule's
// and Sitoo's stand-ins behind HTTP. On the way the workers die wherever it may
// hurt, the message is posted again, the job is paused, and Rule blocks the
// account. Each order is in Rule once, at its customer, and nothing else is. Then
// a dry run, a job that is cancelled and started anew, and orders by number.
func TestHistoryOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	d := &deaths{
		left: map[string][]death{
			"start": {
				{"before SendMessage BackfillQueue"}, // there is a job, and nobody goes on with it
				{"after SendMessage BackfillQueue"},
			},
			"step": {
				{"after UpdateItem HistoryTable"},    // committed, and not handed on
				{"before SendMessage BackfillQueue"}, // the next one finds that, and dies as well
				{"after SendMessage HistoryQueue"},   // queued, and not committed: queued twice
				{"after SendMessage HistoryQueue", "after UpdateItem HistoryTable"},
			},
			"part": {
				{"after POST /v3/custom-field-data"},                           // the account's first entry
				{"before POST /v2/subscribers"},                                // all held, and nothing sent
				{"after POST /v2/subscribers"},                                 // all sent, and nothing noted
				{"after POST /v2/subscribers", "after UpdateItem LedgerTable"}, // one of them noted
			}, // and more in the second job: five of one message would make it a dead letter
		},
	}
	s := newOldShop(t, cfg, d)
	sitoo := httptest.NewServer(s.sitoo)
	t.Cleanup(sitoo.Close)

	// The merchant.
	credentials := map[string]any{
		"baseurl": fmt.Sprintf("%s/v2/accounts/%d", sitoo.URL, fakesitoo.DefaultAccountID), "site": 1,
		"apiid": fakesitoo.DefaultAPIID, "password": fakesitoo.DefaultPassword,
	}
	if got := s.want(s.call("PUT", "/credentials", credentials), http.StatusOK).(map[string]any); got["status"] != "kept" {
		t.Errorf("credentials: %v", got)
	}
	if n := len(s.want(s.call("GET", "/backfills", nil), http.StatusOK).([]any)); n != 0 {
		t.Errorf("%d backfills before the first", n)
	}

	// Rule blocks the account in the middle of a part, once no process dies any
	// more: the time that this takes would be longer than the block.
	var block sync.Once
	s.rule.SetFault(func(r *http.Request, _ []byte) *fakerule.Fault {
		if r.Method == http.MethodPost && d.over("part") {
			block.Do(func() { s.rule.BlockFor(key, fakerule.Block) })
		}
		return nil
	})

	// The first pages come twice, because of the workers that die. While the one
	// after them is on its way support posts again, the merchant pauses, and the
	// tills finish some of what was open.
	first := days("2022-12-25", "2023-01-10")
	page := s.stop(2*oldPages + 1)
	job := s.post(first.message(s.id, ""))
	release := page()
	if again := s.post(first.message(s.id, "")); again != job {
		t.Errorf("the same message is backfill %s, and then %s", job, again)
	}
	open := s.sitoo.Open()
	if len(open) < 8 {
		t.Fatalf("only %d open orders", len(open))
	}
	for i, id := range open {
		end := []func(...int64) error{s.sitoo.Close, s.sitoo.Close, s.sitoo.Cancel, nil}[i%4]
		if end == nil {
			continue
		}
		if err := end(id); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.ask("POST", job+"/pause"); st.State != history.Paused {
		t.Errorf("paused: %+v", st)
	}
	release()
	// The first message has joined its own job twice, after its processes died.
	var paused history.Status
	s.await("the page that was on its way is committed, and the second message joins", func() bool {
		paused = s.ask("GET", job)
		return paused.Read > oldPages*oldPage && strings.Count(s.logs.String(), "joins a job that is under way") == 3
	})
	if paused.State != history.Paused || paused.Run != 1 || paused.Percent >= 100 {
		t.Errorf("paused: %+v", paused)
	}
	if st := s.ask("POST", job+"/resume"); st.State != history.Running || st.Read != paused.Read {
		t.Errorf("resumed: %+v, it had read %d", st, paused.Read)
	}
	st := s.ended(job, 1, history.Done)
	want := s.reckon(first)
	s.settled(st, want)
	s.inRule("first job", want.entries)
	if len(want.entries) < oldOrders/20 || len(want.Months) != 2 || want.Skipped[history.NotInRule] == 0 || want.Skipped[history.StillOpen] == 0 {
		t.Errorf("the shop is not what the test is about: %d orders to write, skipped %v", len(want.entries), want.Skipped)
	}
	for _, kind := range []string{"start", "step", "part"} {
		if !d.over(kind) {
			t.Errorf("%s: nobody has died at %v", kind, d.left[kind])
		}
	}
	if !slices.ContainsFunc(s.rule.Requests(), func(r fakerule.Request) bool { return r.Status == http.StatusTooManyRequests }) {
		t.Error("nobody has met the block")
	}

	// A dry run counts the same, all of it there already, and changes nothing.
	ledger, requests := s.items("LedgerTable"), len(s.rule.Requests())
	dry := s.post(first.message(s.id, `,"dryrun":true`))
	st = s.ended(dry, 1, history.Done)
	if st.Read != want.Read || st.Matched != 0 || st.Already != want.Matched || st.Written != 0 || !st.DryRun {
		t.Errorf("dry run: %+v", st)
	}
	for _, r := range s.rule.Requests()[requests:] {
		if r.Method != http.MethodGet {
			t.Errorf("dry run: %s", r.Route)
		}
	}
	if diff := gocmp.Diff(ledger, s.items("LedgerTable")); diff != "" {
		t.Errorf("dry run: ledger (-before +after):\n%s", diff)
	}
	s.inRule("dry run", want.entries)

	// The other days are cancelled before anything is committed: what was queued
	// is not written. The same message begins anew then.
	second := days("2023-01-11", "2023-01-13")
	page = s.stop(1)
	job = s.post(second.message(s.id, ""))
	release = page()
	if st := s.ask("POST", job+"/cancel"); st.State != history.Cancelled {
		t.Errorf("cancelled: %+v", st)
	}
	release()
	s.await("both workers have found out", func() bool {
		return s.deliveries("backfill-worker", job) == 2 && s.deliveries("history-worker", job) == 1
	})
	if st := s.ask("GET", job); st.State != history.Cancelled || st.Read != 0 || st.Written != 0 {
		t.Errorf("cancelled: %+v", st)
	}
	s.want(s.call("POST", "/backfills/"+job+"/resume", nil), http.StatusBadRequest)
	s.inRule("cancelled", want.entries)
	d.more("part", death{"before PutItem HistoryTable"}, death{"after PutItem HistoryTable"}) // all written, and nobody knows
	if again := s.post(second.message(s.id, "")); again != job {
		t.Errorf("the same message is backfill %s, and then %s", job, again)
	}
	st = s.ended(job, 2, history.Done)
	rest := s.reckon(second)
	s.settled(st, rest)
	if !d.over("part") {
		t.Error("nobody has died at the end of a part")
	}
	all := maps.Clone(want.entries)
	maps.Copy(all, rest.entries)
	if len(rest.entries) == 0 || len(all) != len(want.entries)+len(rest.entries) {
		t.Errorf("%d and %d orders are %d", len(want.entries), len(rest.entries), len(all))
	}
	s.inRule("second job", all)

	// Staff delete a customer's orders in Rule; support sends one of them again,
	// one that is there, and one that there never was.
	deleted, lost := s.fewest(all)
	s.forget(deleted)
	maps.DeleteFunc(all, func(_, whose int64) bool { return whose == deleted })
	s.inRule("deleted", all)
	s.clock.Advance(time.Second) // a list is in the order of time
	there := slices.Min(slices.Collect(maps.Keys(all)))
	chosen := s.post(fmt.Sprintf(`{"account":%q,"orders":[%d,%d,7]}`, s.id, lost, there))
	st = s.ended(chosen, 1, history.Done)
	if st.Written != 1 || st.Already != 1 || len(st.Failed) > 0 || !maps.Equal(st.Skipped, map[string]int{history.Missing: 1}) {
		t.Errorf("orders by number: %+v", st)
	}
	all[lost] = deleted
	s.inRule("orders by number", all)

	// The merchant sees all of it, the latest first, and nobody has noticed.
	var list []string
	for _, one := range s.want(s.call("GET", "/backfills", nil), http.StatusOK).([]any) {
		list = append(list, one.(map[string]any)["backfillid"].(string))
	}
	if len(list) != 4 || list[0] != chosen {
		t.Errorf("backfills %v, want 4 and %s first", list, chosen)
	}
	if fired := s.rule.Automations(key); len(fired) > 0 {
		t.Errorf("%d automations: %+v", len(fired), fired[0])
	}
	if n := s.rule.RequestsDuringBlock(key); n != 0 {
		t.Errorf("%d requests to Rule during a block", n)
	}
	if n := s.sitoo.MaxInFlight(); n != 1 {
		t.Errorf("%d requests to Sitoo at once, want 1", n)
	}
	for _, queue := range []string{"BackfillDeadLetters", "HistoryDeadLetters"} {
		if n := s.waiting(queue); n != 0 {
			t.Errorf("%d messages in %s", n, queue)
		}
	}

	// What is stored says whose an order is by Rule's id alone.
	jobs := 0
	for _, item := range s.items("HistoryTable") {
		if strings.Contains(item, "item=job#") {
			jobs++
		}
		s.nothingPersonal("an item of the history table", item)
	}
	ledger = s.items("LedgerTable")
	for _, item := range ledger {
		s.nothingPersonal("an item of the ledger", item)
	}
	if jobs != 4 || len(ledger) < len(all) {
		t.Errorf("%d jobs and %d orders are stored, want 4 and at least %d", jobs, len(ledger), len(all))
	}
	s.nothingPersonal("the log", s.logs.String())
}

// fewest returns a customer with as few orders as anybody, and one of them.
func (s *oldShop) fewest(all map[int64]int64) (sub, one int64) {
	count := map[int64]int{}
	for _, whose := range all {
		count[whose]++
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if n := count[all[id]]; sub == 0 || n < count[sub] {
			sub, one = all[id], id
		}
	}
	return sub, one
}

// forget deletes a customer's orders in Rule, as staff can.
func (s *oldShop) forget(sub int64) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodDelete, fmt.Sprintf("/v3/custom-field-data/%d/group/%s", sub, order.Group), nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	s.rule.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent {
		s.t.Fatalf("delete a customer's orders: %d %s", w.Code, w.Body)
	}
}

// deliveries returns how many messages of a job a worker is done with.
func (s *oldShop) deliveries(of, job string) (n int) {
	for _, line := range s.logs.lines(of) {
		if line["job"] == job && line["outcome"] == "done" {
			n++
		}
	}
	return n
}

// death is where a process dies: the last of some steps that it takes in this
// order. A step is a request to the outside, before it has its effect or after.
type death []string

// deaths are those to come, by what the process is at work on. Each takes one
// delivery.
type deaths struct {
	mu   sync.Mutex
	left map[string][]death
}

// more lets processes of a kind die that begin from now on.
func (d *deaths) more(kind string, list ...death) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left[kind] = append(d.left[kind], list...)
}

// over reports whether all of a kind have died.
func (d *deaths) over(kind string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.left[kind]) == 0
}

// process is what works on one delivery. From its death on nothing that it tries
// has an effect.
type process struct {
	deaths *deaths
	kind   string
	met    int // steps on the way to the next death
	dead   bool
	kill   context.CancelFunc
	wait   time.Duration // after which the message is to come again
}

func (p *process) step(name string) error {
	p.deaths.mu.Lock()
	defer p.deaths.mu.Unlock()
	left := p.deaths.left[p.kind]
	switch {
	case p.dead:
		return killed{}
	case len(left) == 0 || p.met < len(left[0]) && left[0][p.met] != name:
		return nil
	}
	if p.met++; p.met < len(left[0]) {
		return nil
	}
	p.deaths.left[p.kind] = left[1:]
	p.dead = true
	p.kill()
	return killed{}
}

// end returns how long the message stays away: as the process has said, or if it
// was killed, the queue's visibility timeout.
func (p *process) end(visibility time.Duration) (wait time.Duration, dead bool) {
	p.deaths.mu.Lock()
	defer p.deaths.mu.Unlock()
	if p.dead {
		return visibility, true
	}
	return p.wait, false
}

// killed is the error of a request of a process that is dead. It says that it is
// not to be tried again, as that would take time.
type killed struct{}

func (killed) Error() string        { return errKilled.Error() }
func (killed) RetryableError() bool { return false }

type processKey struct{}

func processOf(ctx context.Context) *process {
	p, _ := ctx.Value(processKey{}).(*process)
	return p
}

// mortalWire carries requests, those of a process as two steps.
type mortalWire struct{ http.RoundTripper }

func (w mortalWire) RoundTrip(r *http.Request) (*http.Response, error) {
	p := processOf(r.Context())
	if p == nil {
		return w.RoundTripper.RoundTrip(r)
	}
	r, name, err := named(r)
	if err != nil {
		return nil, err
	}
	if err := p.step("before " + name); err != nil {
		return nil, err
	}
	res, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if err := p.step("after " + name); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

// named says what a request is, such as "UpdateItem LedgerTable" or "POST
// /v2/subscribers". The request is to be sent as it is returned.
func named(r *http.Request) (*http.Request, string, error) {
	var raw []byte
	if r.Body != nil {
		var err error
		raw, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, "", err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(raw))
	}
	_, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if !ok {
		path := strings.Split(r.URL.Path, "/")
		return r, r.Method + " " + strings.Join(path[:min(3, len(path))], "/"), nil
	}
	var in struct{ TableName, QueueUrl string }
	_ = json.Unmarshal(raw, &in)
	at := cmp.Or(in.TableName, strings.TrimSuffix(in.QueueUrl, ".fifo"))
	return r, operation + " " + at[strings.LastIndex(at, "-")+1:], nil
}

// oldWorkers are the two workers of old orders. When a message is to come again
// later, or after its process has died, that time passes on the rig's clock, and
// the message comes at once. It passes between deliveries: none lasts so long.
type oldWorkers struct {
	deaths     *deaths
	name       string
	clock      *clock
	visibility time.Duration             // of both queues, as deployed
	delay      map[string]worker.Delayer // the queues, by function
	passing    sync.RWMutex              // deliveries read, time that passes writes
}

// noted is a queue whose messages come again when their process has ended.
type noted struct{}

func (noted) Delay(ctx context.Context, _ string, wait time.Duration) error {
	p := processOf(ctx)
	p.deaths.mu.Lock()
	defer p.deaths.mu.Unlock()
	if p.dead {
		return killed{}
	}
	p.wait = wait
	return nil
}

// oldWorker is one of them.
type oldWorker struct {
	lambda.Handler
	function string
	*oldWorkers
}

// Invoke works on a message in a process of its own.
func (w oldWorker) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var in events.SQSEvent
	if err := json.Unmarshal(payload, &in); err != nil || len(in.Records) != 1 {
		return nil, fmt.Errorf("%d messages in an event, want 1 (%w)", len(in.Records), err)
	}
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &process{deaths: w.deaths, kind: "part", kill: cancel}
	if w.function == "backfill-worker" {
		p.kind = "start"
		if strings.Contains(in.Records[0].Body, `"step"`) {
			p.kind = "step"
		}
	}
	w.passing.RLock()
	out, err := w.Handler.Invoke(context.WithValue(work, processKey{}, p), payload)
	w.passing.RUnlock()
	wait, dead := p.end(w.visibility)
	if wait == 0 {
		return out, err
	}
	w.passing.Lock()
	defer w.passing.Unlock()
	w.clock.Advance(wait)
	if derr := w.delay[w.function].Delay(ctx, in.Records[0].ReceiptHandle, 0); derr != nil {
		return nil, derr
	}
	if dead { // what it has answered does not arrive
		return nil, killed{}
	}
	return out, err
}
