package stack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/order"
)

const key = "demo-key"

// clock is a clock that stands still until a test moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a shop: the whole product, and Rule's stand-in behind it.
type rig struct {
	*stack.Stack
	t     *testing.T
	clock *clock
	rule  *fakerule.Server
	api   *httptest.Server
	logs  *logBuffer
	id    string // the account's
	// books is the ledger, in memory or at AWS.
	books order.Ledger
	cloud *cloudRig // the same shop with the real adapters, nil in memory
}

type options struct {
	stack.Options
	rule   fakerule.Options
	seeded bool // Rule has the example customers
}

// readTemplate reads the template once: a test can start a hundred shops.
var readTemplate = sync.OnceValues(func() (*template.Template, error) { return template.Load("../../template.yaml") })

func loadTemplate(t testing.TB) *template.Template {
	t.Helper()
	read, err := readTemplate()
	if err != nil {
		t.Fatal(err)
	}
	tpl := *read
	// No test is about how fast this machine is.
	tpl.Functions = slices.Clone(tpl.Functions)
	for i := range tpl.Functions {
		tpl.Functions[i].Timeout = 2 * time.Minute
	}
	tpl.Queues = slices.Clone(tpl.Queues)
	for i := range tpl.Queues {
		tpl.Queues[i].Visibility = time.Hour
	}
	return &tpl
}

// newRig starts a shop; its queues are worked until the test ends.
func newRig(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{t: t, clock: newClock(), logs: &logBuffer{}, id: "42"}
	o.rule.Now = r.clock.Now
	r.rule = fakerule.New(o.rule)
	if o.seeded {
		if err := r.rule.Load(fakerule.Seed()); err != nil {
			t.Fatal(err)
		}
	}
	backend := httptest.NewServer(r.rule)
	t.Cleanup(backend.Close)
	o.Template, o.GatewayWait = loadTemplate(t), 2*time.Minute
	if o.RuleURL == "" {
		o.RuleURL = backend.URL
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	change := o.Change
	o.Change = func(function string, p *app.Parts) {
		p.Budget = 2 * time.Minute
		if change != nil {
			change(function, p)
		}
	}
	o.Now, o.Pause, o.Log = r.clock.Now, -1, slog.New(slog.NewJSONHandler(r.logs, nil))
	s, err := stack.New(t.Context(), o.Options)
	if err != nil {
		t.Fatal(err)
	}
	r.Stack, r.books = s, s.Ledger
	r.api = httptest.NewServer(s.Gateway)
	t.Cleanup(r.api.Close)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// answer is what the till gets.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// call sends a request as a till does, with the shop's token.
func (r *rig) call(method, path string, body any) answer {
	r.t.Helper()
	return r.send(r.request(method, path, body))
}

func (r *rig) request(method, path string, body any) *http.Request {
	r.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.api.URL+"/sitoo"+path, reader)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func (r *rig) send(req *http.Request) answer {
	r.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// want fails unless the answer has a status, and returns its body decoded.
func (r *rig) want(a answer, status int) any {
	r.t.Helper()
	if a.Status != status {
		r.t.Fatalf("status %d, want %d; body %s", a.Status, status, a.Body)
	}
	var v any
	if err := json.Unmarshal([]byte(a.Body), &v); err != nil {
		r.t.Fatalf("body is not JSON: %v: %s", err, a.Body)
	}
	return v
}

// drain waits until the queues have nothing to do now.
func (r *rig) drain() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Minute)
	defer cancel()
	if err := r.Broker.Drain(ctx); err != nil {
		r.t.Fatalf("queues do not come to rest: %v", err)
	}
}

// later lets time pass and brings back what waits on the orders queue.
func (r *rig) later(d time.Duration) {
	r.t.Helper()
	r.clock.Advance(d)
	r.orders().Redeliver(func(queue.Message) bool { return true })
	r.drain()
}

// settle waits until every order has been worked: one that waits for another, as
// a return does for its sale, is brought back a minute later.
func (r *rig) settle() {
	r.t.Helper()
	r.drain()
	for range 5 {
		if len(r.orders().Messages()) == 0 {
			return
		}
		r.later(time.Minute)
	}
	r.t.Fatalf("%d orders are still waiting", len(r.orders().Messages()))
}

func (r *rig) orders() *queue.Queue {
	q, ok := r.Broker.Queue("OrdersQueue")
	if !ok {
		r.t.Fatal("no queue OrdersQueue")
	}
	return q
}

func (r *rig) deadLetters() *queue.Queue {
	q, ok := r.Broker.Queue("OrdersDeadLetters")
	if !ok {
		r.t.Fatal("no queue OrdersDeadLetters")
	}
	return q
}

// ledger returns the ledger's record of an order.
func (r *rig) ledger(id int64) order.Record {
	r.t.Helper()
	rec, ok, err := r.books.Get(r.t.Context(), order.Key{Account: r.id, Order: id})
	if err != nil || !ok {
		r.t.Fatalf("ledger has no order %d: %v", id, err)
	}
	return rec
}

// routes returns the requests that reached Rule, in short.
func (r *rig) routes() []string {
	var list []string
	for _, q := range r.rule.Requests() {
		list = append(list, q.Route)
	}
	return list
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns the log lines of an operation.
func (l *logBuffer) lines(operation string) []map[string]any {
	var list []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["operation"] == operation && m["msg"] == "done" {
			list = append(list, m)
		}
	}
	return list
}

// sale is a finished order in Sitoo's form; change edits it.
func sale(id int64, change func(o map[string]any)) map[string]any {
	o := map[string]any{
		"orderid": id, "eshopid": 1, "creditorderid": nil, "email": "", "phone": "", "namefirst": "", "namelast": "", "personalid": "19121212-1212",
		"moneyfinal_net": "703.12", "moneyfinal_vat": "175.78", "moneytotal_gross_roundoff": "0.10", "moneytotal_gross_all": "879.00",
		"orderdate": 1772434800, "orderstateid": 10, "paymentstateid": 20, "ordertypeid": 10, "currencycode": "SEK",
		"additionaldata": map[string]any{"pos-receiptid": "SII000000150000420871", "store-name": "Example Concept Store", "store-externalid": "200"},
		"orderitems": []any{
			map[string]any{
				"productname": "Merino Sweater", "sku": "SW-100-M", "productattributes": "Color: Navy, Size: M", "quantity": 1, "vatvalue": 25,
				"moneyitemtotal_net": "639.20", "moneyitemtotal_vat": "159.80", "moneydiscount": "0.00", "additionaldata": map[string]any{"product-group-name": "Common Goods"},
			},
			map[string]any{
				"productname": "Wool Socks", "sku": "SO-200-39", "quantity": 1, "vatvalue": 25,
				"moneyitemtotal_net": "63.92", "moneyitemtotal_vat": "15.98", "moneydiscount": "8.00", "vouchername": "10% off", "additionaldata": map[string]any{"product-group-name": "Common Goods"},
			},
		},
		"payments": []any{map[string]any{"name": "Cash", "moneyamount": "879.00", "additionaldata": []any{}}},
	}
	if change != nil {
		change(o)
	}
	return o
}

// of makes the order one of a customer that the till had found.
func of(contact string) func(map[string]any) {
	return func(o map[string]any) {
		o["additionaldata"].(map[string]any)["customcrm-contactid"] = contact
	}
}
