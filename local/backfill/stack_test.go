package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// How many orders a made-up shop has: some, or so many that they are of two
// months. Of its buyers Rule knows every other one.
const (
	some      = 400
	twoMonths = 1560
	buyers    = 120
)

// product is the whole connector between the stand-ins of Rule and Sitoo, on a
// clock that moves while the command sleeps.
type product struct {
	*stack.Stack
	t     *testing.T
	rule  *fakerule.Server
	sitoo *httptest.Server
	key   string
	clock *clock
	moved time.Time // when what waits was last brought back
	from  string    // FROM
}

func newProduct(t *testing.T, orders int, o fakerule.Options) *product {
	t.Helper()
	tpl, err := template.Load("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range tpl.Functions { // no test is about how fast this machine is
		tpl.Functions[i].Timeout = 2 * time.Minute
	}
	for i := range tpl.Queues {
		tpl.Queues[i].Visibility = time.Hour
	}
	p := &product{t: t, key: testKey, clock: newClock(), from: "2023-01-04"}
	o.Keys, o.Now = []string{testKey}, p.clock.Now
	p.rule = fakerule.New(o)
	backend := httptest.NewServer(p.rule)
	t.Cleanup(backend.Close)
	customers := fakesitoo.MakeCustomers(buyers)
	known := make([]rule.Upsert, 0, buyers/2)
	for i := range customers {
		customers[i].ContactID = "" // they are told by their addresses
		if i%2 == 0 {
			known = append(known, rule.Upsert{Email: customers[i].Email, Phone: customers[i].Phone})
		}
	}
	session := rule.New(rule.Config{URL: backend.URL, Now: p.clock.Now}).Session(testKey, time.Time{}, nil)
	if _, err := session.UpsertMany(t.Context(), known, []string{"Sitoo"}); err != nil {
		t.Fatal(err)
	}
	p.rule.Settle()
	p.sitoo = httptest.NewServer(fakesitoo.New(fakesitoo.Options{Orders: orders, Customers: customers}))
	t.Cleanup(p.sitoo.Close)
	p.Stack, err = stack.New(t.Context(), stack.Options{
		Template: tpl, RuleURL: backend.URL, Now: p.clock.Now, Pause: -1, Patience: time.Minute, SitooAnyHost: true,
		Log:    slog.New(slog.DiscardHandler),
		Change: func(_ string, parts *app.Parts) { parts.Budget = 2 * time.Minute },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	p.clock.until = func(n int) error { return p.rest(n) }
	return p
}

// patient is how often a command may ask before a test gives it up.
const patient = 1000

// rest waits until the queues have nothing to do, and every two minutes brings
// back what waits: their own clock is another.
func (p *product) rest(asked int) error {
	if asked > patient {
		return errors.New("it does not come to an end")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if now := p.clock.Now(); now.Sub(p.moved) >= 2*time.Minute {
		p.moved = now
		// What a worker has is not brought back under its hands.
		if err := p.Broker.Drain(ctx); err != nil {
			return err
		}
		for _, id := range []string{"BackfillQueue", "HistoryQueue"} {
			q, ok := p.Broker.Queue(id)
			if !ok {
				return errors.New("there is no " + id)
			}
			q.Redeliver(func(queue.Message) bool { return true })
		}
	}
	return p.Broker.Drain(ctx)
}

// ServeHTTP serves the API, and beside it the queues, as `make run` does.
func (p *product) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, posts := strings.CutPrefix(r.URL.Path, "/_queues/")
	if !posts {
		p.Gateway.ServeHTTP(w, r)
		return
	}
	q, ok := p.Broker.Queue(id)
	body, err := io.ReadAll(r.Body)
	if !ok || err != nil || q.Send(r.Context(), worker.Message{Body: string(body), Group: "support", Dedup: strconv.FormatInt(time.Now().UnixNano(), 36)}) != nil {
		http.Error(w, `{"message":"The queue does not take the message."}`, http.StatusBadRequest)
	}
}

// call sends a request as a merchant or support does, and returns the answer.
func (p *product) call(method, path, body string) string {
	p.t.Helper()
	r := httptest.NewRequestWithContext(p.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+p.key)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		p.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// enter is the merchant's entering of the credentials.
func (p *product) enter() string {
	p.t.Helper()
	return p.call(http.MethodPut, "/sitoo/credentials", fmt.Sprintf(`{"baseurl":"%s/v2/accounts/%d","site":1,"apiid":"%s","password":"%s"}`,
		p.sitoo.URL, fakesitoo.DefaultAccountID, fakesitoo.DefaultAPIID, fakesitoo.DefaultPassword))
}

// run runs the command, for the orders from a day on.
func (p *product) run(env map[string]string) (*running, error) {
	p.t.Helper()
	all := map[string]string{"KEY": p.key}
	if env["ORDERS"] == "" {
		all["FROM"], all["TO"] = p.from, "2023-02-28"
	}
	for name, v := range env {
		all[name] = v
	}
	i := &running{clock: p.clock, env: all}
	i.queue = func(_ context.Context, url string) (worker.Sender, error) {
		q, ok := p.Broker.Queue(strings.TrimSuffix(url[strings.LastIndex(url, "/")+1:], ".fifo"))
		if !ok {
			return nil, errors.New("there is no such queue")
		}
		return q, nil
	}
	err := i.run(p.t, p.t.Context(), p)
	return i, err
}

// entries returns the order ids that Rule has entries of, by subscriber.
func (p *product) entries() map[int64][]int64 {
	p.rule.Settle() // it works through large calls later
	out := map[int64][]int64{}
	for _, s := range p.rule.Subscribers(testKey) {
		for _, e := range p.rule.Entries(testKey, s.ID, "Sitoo-Order") {
			for _, f := range e.Fields {
				if f.Name == "orderid" {
					id, _ := strconv.ParseInt(f.Value, 10, 64)
					out[s.ID] = append(out[s.ID], id)
				}
			}
		}
	}
	return out
}

func size(entries map[int64][]int64) (n int) {
	for _, ids := range entries {
		n += len(ids)
	}
	return n
}

// totals are the numbers of a report.
type totals struct{ read, matched, written, already, skipped int }

var (
	totalsLine = regexp.MustCompile(`(?m)^  (\d+) read, (\d+) matched, (\d+) written, (\d+) already there, (\d+) skipped$`)
	monthLine  = regexp.MustCompile(`(?m)^  (\d{4}-\d\d|all) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$`)
	skipLine   = regexp.MustCompile(`(?m)^  skipped, (.*): (\d+)$`)
)

func numbers(words []string) (list []int) {
	for _, w := range words {
		n, _ := strconv.Atoi(w)
		list = append(list, n)
	}
	return list
}

// report reads what was printed at the end, and checks what of it is to be the
// same twice.
func report(t *testing.T, i *running) (totals, map[string][]int) {
	t.Helper()
	text := i.out.String()
	m := totalsLine.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no totals in\n%s", text)
	}
	n := numbers(m[1:])
	sum := totals{n[0], n[1], n[2], n[3], n[4]}
	months, sums := map[string][]int{}, make([]int, 5)
	for _, m := range monthLine.FindAllStringSubmatch(text, -1) {
		months[m[1]] = numbers(m[2:])
		for k, n := range months[m[1]] {
			if m[1] != "all" {
				sums[k] += n
			}
		}
	}
	if !slices.Equal(months["all"], sums) {
		t.Errorf("the months are %v in all, the line says %v", sums, months["all"])
	}
	skipped := 0
	for _, m := range skipLine.FindAllStringSubmatch(text, -1) {
		skipped += numbers(m[2:])[0]
	}
	if skipped != sum.skipped {
		t.Errorf("%d are skipped by reason, %d in all", skipped, sum.skipped)
	}
	return sum, months
}

// A shop's orders through the whole connector: counted, brought over, brought
// over again, and one customer's written once more after Rule has lost them.
func TestBackfill(t *testing.T) {
	t.Parallel()
	p := newProduct(t, twoMonths, fakerule.Options{})
	p.from = "2023-01-25"
	if i, err := p.run(nil); err == nil || !strings.Contains(err.Error(), "no credentials for Sitoo") || i.out.Len() > 0 {
		t.Fatalf("without credentials: %v\n%s", err, i.out.String())
	}
	p.enter()

	i, err := p.run(map[string]string{"DRYRUN": "true"})
	if err != nil {
		t.Fatalf("dry run: %v\n%s", err, i.out.String())
	}
	dry, months := report(t, i)
	if len(months) != 3 || dry.written != 0 || dry.matched == 0 || months["all"][4] != dry.matched || size(p.entries()) != 0 {
		t.Fatalf("dry run: %+v, %v, %d entries", dry, months, size(p.entries()))
	}
	i.says(t, "(a dry run: nothing is written)", fmt.Sprintf("to write %d orders, run the same command without DRYRUN", dry.matched), "The sums agree")

	if i, err = p.run(nil); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	got, months := report(t, i)
	entries := p.entries()
	if want := (totals{dry.read, dry.matched, dry.matched, 0, dry.skipped}); got != want || size(entries) != got.written || months["all"][1] != got.written {
		t.Errorf("%+v, want %+v; %d entries, months %v", got, want, size(entries), months)
	}
	i.says(t, "100 %  done: ", "The sums agree", "skipped, customer not in Rule: ", "skipped, outside the period: ", "add CUSTOMERS=create")
	i.never(t, "What to do: mend")

	_ = p.clock.Sleep(t.Context(), time.Minute)
	if i, err = p.run(nil); err != nil {
		t.Fatalf("again: %v\n%s", err, i.out.String())
	}
	if again, _ := report(t, i); again.written != 0 || again.already != got.written || size(p.entries()) != got.written {
		t.Errorf("again: %+v after %+v; %d entries", again, got, size(p.entries()))
	}
	i.says(t, "its run 1 has ended (done, ", "The sums agree")

	var who int64
	for id, list := range entries {
		if len(list) > len(entries[who]) {
			who = id
		}
	}
	lost := entries[who]
	r := httptest.NewRequestWithContext(t.Context(), http.MethodDelete, fmt.Sprintf("/v3/custom-field-data/%d/group/Sitoo-Order", who), nil)
	r.Header.Set("Authorization", "Bearer "+testKey)
	w := httptest.NewRecorder()
	p.rule.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent || size(p.entries()) != got.written-len(lost) || len(lost) < 2 {
		t.Fatalf("to lose %v: %d, %s", lost, w.Code, w.Body)
	}
	if i, err = p.run(map[string]string{"ORDERS": fmt.Sprint(lost[0], ", 7")}); err == nil || !strings.Contains(err.Error(), "not every order could be brought over") {
		t.Fatalf("one order: %v\n%s", err, i.out.String())
	}
	if one, _ := report(t, i); one != (totals{1, 1, 1, 0, 1}) || !slices.Equal(p.entries()[who], lost[:1]) {
		t.Errorf("one order: %+v, entries %v, want %d", one, p.entries()[who], lost[0])
	}
	i.says(t, "skipped, not in Sitoo: 1", "The sums agree")
	if i, err = p.run(map[string]string{"ORDERS": strings.Trim(fmt.Sprint(lost), "[]")}); err != nil {
		t.Fatalf("all of them: %v\n%s", err, i.out.String())
	}
	if all, _ := report(t, i); all != (totals{len(lost), len(lost), len(lost) - 1, 1, 0}) || size(p.entries()) != got.written {
		t.Errorf("all of them: %+v; %d entries, want %d", all, size(p.entries()), got.written)
	}
}

// What a backfill waits for is shown, with the time; it ends all the same.
func TestWaits(t *testing.T) {
	t.Parallel()
	p := newProduct(t, some, fakerule.Options{Budget: 24})
	p.enter()
	i, err := p.run(nil)
	if err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	i.says(t, "; waits for Rule's budget, half of which is left to the tills (until ", "The sums agree")
	if got, _ := report(t, i); got.written == 0 || size(p.entries()) != got.written {
		t.Errorf("%+v, %d entries", got, size(p.entries()))
	}
}

// Cancelled or paused while it is watched, the command ends and says how it goes
// on; that way it does.
func TestControlled(t *testing.T) {
	t.Parallel()
	p := newProduct(t, some, fakerule.Options{Budget: 24})
	p.enter()
	var id string
	// waiting does something to the backfill once it waits for Rule.
	waiting := func(action string) {
		acted := false
		p.clock.until = func(n int) error {
			err := p.rest(n)
			list := p.call(http.MethodGet, "/sitoo/backfills", "")
			if !acted && strings.Contains(list, "waits for Rule's budget") {
				acted = true
				id = regexp.MustCompile(`"backfillid":"([0-9a-f]+)"`).FindStringSubmatch(list)[1]
				p.call(http.MethodPost, "/sitoo/backfills/"+id+"/"+action, "")
			}
			return err
		}
	}
	waiting("cancel")
	i, err := p.run(nil)
	fails(t, err, "the backfill is cancelled: cancelled by request")
	i.says(t, "What to do: nothing, or run the same command to begin anew.")

	waiting("pause")
	i, err = p.run(nil)
	fails(t, err, "the backfill is paused: paused by request")
	i.says(t, "backfill "+id+": its run 1 has ended (cancelled, ")
	m := regexp.MustCompile(`curl -X POST .* http://connector(\S+/resume)`).FindStringSubmatch(i.out.String())
	if m == nil {
		t.Fatalf("it does not say how to resume:\n%s", i.out.String())
	}
	p.call(http.MethodPost, m[1], "")
	if i, err = p.run(nil); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	i.says(t, "backfill "+id+": it is there already (running, ", "; the message joins it\n", "The backfill is done", "The sums agree")
}

// The message that the worker puts aside is the one that no job comes of; where
// it is then is what the command says.
func TestPutAside(t *testing.T) {
	t.Parallel()
	p := newProduct(t, some, fakerule.Options{})
	p.enter()
	const nobody = "0123456789abcdef0123456789abcdef"
	_, err := p.run(map[string]string{"ACCOUNT": nobody})
	fails(t, err, "KEY belongs to another account than ACCOUNT")
	if q, _ := p.Broker.Queue("BackfillDeadLetters"); len(q.Messages()) != 0 {
		t.Errorf("put aside: %+v", q.Messages())
	}
}

// A renewed key's backfill is that of the same account in Rule.
func TestRenewed(t *testing.T) {
	t.Parallel()
	p := newProduct(t, some, fakerule.Options{})
	p.enter()
	p.key = "en-ny-nyckel"
	if err := p.rule.AddKeyTo(fakerule.DefaultAccount, p.key); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		i, err := p.run(nil)
		if err != nil {
			t.Fatalf("run %d: %v\n%s", n+1, err, i.out.String())
		}
		i.says(t, "The backfill is done", "The sums agree")
		if n == 1 {
			i.says(t, "its run 1 has ended (done, ")
		}
	}
}

// With AWS=1 the queue gets each posting as a message of its own, though FIFO
// queues drop what they have seen within five minutes.
func TestQueue(t *testing.T) {
	t.Parallel()
	p := newProduct(t, some, fakerule.Options{})
	p.enter()
	env := map[string]string{"AWS": "1", "QUEUE_URL": "https://sqs.eu-north-1.amazonaws.com/123456789012/BackfillQueue.fifo", "ORDERS": "7"}
	for n := range 2 {
		i, err := p.run(env)
		if err == nil || !strings.Contains(err.Error(), "not every order could be brought over") {
			t.Fatalf("run %d: %v\n%s", n+1, err, i.out.String())
		}
		i.says(t, "skipped, not in Sitoo: 1", "The sums agree")
	}
	list := p.call(http.MethodGet, "/sitoo/backfills", "")
	if !strings.Contains(list, `"run":2`) || strings.Contains(list, `"state":"failed"`) {
		t.Errorf("backfills: %s", list)
	}
}
