package stack_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

var errKilled = errors.New("the process was killed")

// killer counts every step that a process takes towards the outside, before it
// has its effect and after, and kills the process at one of them: from then on
// nothing the process tries has an effect, and nothing it answers arrives.
type killer struct {
	mu    sync.Mutex
	at    int // the step that kills, counted from 0; -1 for none
	steps []string
	dead  bool
	// instead, if set, is what happens at the step, once; the process lives on.
	instead func(step string)
}

// arm makes the step at from now kill.
func (k *killer) arm(at int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.steps = at, nil
}

func (k *killer) step(name string) error {
	struck, err := k.count(name)
	if struck {
		k.instead(name)
	}
	return err
}

func (k *killer) count(name string) (struck bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return false, errKilled
	}
	struck = len(k.steps) == k.at
	k.steps = append(k.steps, name)
	if struck && k.instead == nil {
		k.dead = true
		return false, errKilled
	}
	return struck, nil
}

// restart starts the process anew; it is not killed again.
func (k *killer) restart() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead, k.at = false, -1
}

func (k *killer) killed() (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.dead {
		return "", false
	}
	return k.steps[len(k.steps)-1], true
}

// RoundTrip counts a request to Rule as two steps.
func (k *killer) RoundTrip(req *http.Request) (*http.Response, error) {
	name := req.Method + " " + strings.SplitN(strings.TrimPrefix(req.URL.Path, "/"), "/", 3)[1]
	if err := k.step(name); err != nil {
		return nil, err
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		if err := k.step(name + " done"); err != nil {
			_ = res.Body.Close()
			return nil, err
		}
	}
	return res, err
}

type mortalQueue struct {
	k    *killer
	name string
	worker.Sender
	worker.Delayer
}

func (q mortalQueue) Send(ctx context.Context, m worker.Message) error {
	if err := q.k.step("send to " + q.name); err != nil {
		return err
	}
	if err := q.Sender.Send(ctx, m); err != nil {
		return err
	}
	return q.k.step("send to " + q.name + " done")
}

func (q mortalQueue) Delay(ctx context.Context, receipt string, d time.Duration) error {
	if err := q.k.step("delay"); err != nil {
		return err
	}
	return q.Delayer.Delay(ctx, receipt, d)
}

type mortalFunction struct {
	k *killer
	lambda.Handler
}

func (f mortalFunction) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	out, err := f.Handler.Invoke(ctx, payload)
	if _, dead := f.k.killed(); dead {
		return nil, errKilled // what a dead process answers does not arrive
	}
	return out, err
}

func newMortalRig(t *testing.T, k *killer, o options) *rig {
	o.HTTP = &http.Client{Transport: k}
	o.Change = func(_ string, p *app.Parts) {
		if p.Orders != nil {
			q := mortalQueue{k, "orders", p.Orders, p.OrdersDelay}
			p.Orders, p.OrdersDelay = q, q
		}
		if p.DeadLetters != nil {
			p.DeadLetters = mortalQueue{k, "dead letters", p.DeadLetters, nil}
		}
		if p.Syncs != nil {
			q := mortalQueue{k, "syncs", p.Syncs, p.SyncsDelay}
			p.Syncs, p.SyncsDelay = q, q
		}
		if p.ImportParts != nil {
			q := mortalQueue{k, "parts", p.ImportParts, p.ImportPartsDelay}
			p.ImportParts, p.ImportPartsDelay = q, q
		}
	}
	o.Wrap = func(_ string, h lambda.Handler) lambda.Handler { return mortalFunction{k, h} }
	k.mu.Lock() // nothing counts until the rig stands
	at := k.at
	k.at = -1
	k.mu.Unlock()
	r := newRig(t, o)
	r.Accounts.Fail = func(op string) error { return k.step("accounts " + op) }
	r.Ledger.Fail = func(op string) error { return k.step("ledger " + op) }
	r.Bonus.Fail = func(op string) error { return k.step("bonus " + op) }
	r.Imports.Fail = func(op string) error { return k.step("imports " + op) }
	k.mu.Lock()
	k.at, k.steps = at, nil
	k.mu.Unlock()
	return r
}

// The process is killed at every step of an order's way, from the till's call to
// the last note in the ledger. Whatever the step: the order is in Rule once,
// whole, with its tag, and the automation has started.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	known := func(o map[string]any) { of("255934461")(o); o["email"] = "annan@example.com" }
	for name, c := range map[string]struct {
		order func(o map[string]any)
		warm  bool // the account and its fields exist already
		tag   string
	}{
		"a known customer": {known, true, order.PurchaseTag},
		"a return":         {func(o map[string]any) { known(o); o["creditorderid"] = 1 }, true, order.ReturnTag},
		"somebody new":     {func(o map[string]any) { o["email"], o["phone"] = "ny@example.com", "0701740699" }, true, order.PurchaseTag},
		"the shop's first": {known, false, order.PurchaseTag},
		"first, and new":   {func(o map[string]any) { o["email"] = "ny@example.com" }, false, order.PurchaseTag},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const id = 700000
			for at := 0; ; at++ {
				k := &killer{at: -1}
				r := newMortalRig(t, k, options{seeded: true})
				if c.warm {
					r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 200)
					r.drain()
				}
				before, fired := len(r.rule.Subscribers(key)), started(r, c.tag)
				k.mu.Lock()
				k.at, k.steps = at, nil
				k.mu.Unlock()
				a := r.call("POST", "/transactions", sale(id, c.order))
				r.drain()
				step, dead := k.killed()
				if !dead {
					if at < 10 {
						t.Fatalf("only %d steps: %v", at, k.steps)
					}
					if a.Status != 200 {
						t.Fatalf("without a kill: %d %s", a.Status, a.Body)
					}
					return
				}
				tagged := started(r, c.tag) - fired // by the attempt that was killed
				k.restart()
				if a.Status != 200 {
					if a.Status != 503 {
						t.Errorf("killed at %q: the till got %d, want 503 so that it sends again", step, a.Status)
					}
					r.want(r.call("POST", "/transactions", sale(id, c.order)), 200)
					r.drain()
				}
				for range 3 {
					r.later(4 * time.Minute) // longer than the lease and the visibility timeout
				}
				check(t, r, fmt.Sprintf("killed at step %d, %q", at, step), id, c.tag)
				// Once, unless the tag was given and the process died before it had
				// noted that: then the flow starts over, and no more than that.
				if n := started(r, c.tag) - fired; n != 1 && !(tagged == 1 && n == 2) {
					t.Errorf("killed at step %d, %q: the automation started %d times, %d of them before", at, step, n, tagged)
				}
				if n := len(r.rule.Subscribers(key)); n > before+1 {
					t.Errorf("killed at %q: %d new subscribers", step, n-before)
				}
			}
		})
	}
}

// started returns how often automations of a tag were started anew.
func started(r *rig, tag string) int {
	n := 0
	for _, a := range r.rule.Automations(key) {
		if a.Tag == tag && a.Mode == string(rule.Reset) {
			n++
		}
	}
	return n
}

// check fails unless an order is in Rule once and whole, and its automation has
// started.
func check(t *testing.T, r *rig, when string, id int64, tag string) {
	t.Helper()
	rec := r.ledger(id)
	if rec.State != order.Sent {
		t.Errorf("%s: the order is %s (%s), want sent", when, rec.State, rec.Reason)
		return
	}
	entries := 0
	for _, s := range r.rule.Subscribers(key) {
		for _, e := range r.rule.Entries(key, s.ID, order.Group) {
			if e.Value("orderid") != fmt.Sprint(id) {
				continue
			}
			entries++
			if s.ID != rec.Subscriber {
				t.Errorf("%s: the entry is at subscriber %d, the ledger says %d", when, s.ID, rec.Subscriber)
			}
			if e.Value("total") != "879.00" || e.Value("products") == "" || e.Value("orderdate") != "2026-03-02 08:00:00" {
				t.Errorf("%s: the entry is not whole: %+v", when, e)
			}
			if !slices.Contains(s.Tags, tag) || !slices.Contains(s.Tags, "Sitoo") {
				t.Errorf("%s: tags %v", when, s.Tags)
			}
		}
	}
	if entries != 1 {
		t.Errorf("%s: %d entries, want 1", when, entries)
	}
	if started(r, tag) < 1 {
		t.Errorf("%s: the automation did not start", when)
	}
	if n := len(r.deadLetters().Messages()); n != 0 {
		t.Errorf("%s: %d messages were put aside", when, n)
	}
	if n := len(r.orders().Messages()); n != 0 {
		t.Errorf("%s: %d messages are left", when, n)
	}
}

// badDays are the ways in which Rule fails one request.
var badDays = map[string]fakerule.Fault{
	"500":            {Status: 500, Body: `{"error":"UnexpectedError","message":"An unexpected error occurred."}`},
	"500, done":      {Status: 500, Body: `{"error":"UnexpectedError"}`, After: true},
	"502 page":       {Status: 502, Body: "<html>Bad gateway</html>"},
	"garbage":        {Status: 200, Body: "<html>"},
	"garbage, done":  {Status: 200, Body: "\x00\x01{", After: true},
	"error in a 200": {Status: 200, Body: `{"error":"UnexpectedError"}`},
	"string in 200":  {Status: 200, Body: `"Oops"`},
	"reset":          {Kind: fakerule.FaultReset},
	"reset, done":    {Kind: fakerule.FaultReset, After: true},
	"hang":           {Kind: fakerule.FaultHang},
	"hang, done":     {Kind: fakerule.FaultHang, After: true},
	"429":            {Status: 429, Body: `"Too Many Attempts."`, Header: http.Header{"Retry-After": {"600"}}},
}

// failOnce makes the n-th request to Rule, from now and counted from 0, go
// wrong. It returns how to ask whether that has happened.
func failOnce(r *rig, n int, f fakerule.Fault) (struck func() bool) {
	var mu sync.Mutex
	seen, hit := 0, false
	r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		mu.Lock()
		defer mu.Unlock()
		seen++
		if seen-1 == n {
			hit = true
			return &f
		}
		return nil
	})
	return func() bool { mu.Lock(); defer mu.Unlock(); return hit }
}

// Rule fails at each request of an order, in every way: still one entry.
func TestRuleFailsAnOrder(t *testing.T) {
	t.Parallel()
	for name, fault := range badDays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for orderName, change := range map[string]func(map[string]any){
				"known": of("255934461"),
				"new":   func(o map[string]any) { o["email"], o["phone"] = "ny@example.com", "0701740699" },
			} {
				for n := 0; ; n++ {
					r := newRig(t, options{seeded: true, Options: patience(time.Second)})
					r.want(r.call("GET", "/lookup_contacts", nil), 200) // the account exists
					struck := failOnce(r, n, fault)
					r.want(r.call("POST", "/transactions", sale(710000, change)), 200)
					r.drain()
					if !struck() {
						if n < 4 {
							t.Fatalf("only %d requests", n)
						}
						break
					}
					for range 6 {
						r.later(11 * time.Minute)
					}
					check(t, r, fmt.Sprintf("%s order, %s at request %d", orderName, name, n), 710000, order.PurchaseTag)
					// A request that was not carried out starts nothing; one whose
					// answer was lost may have.
					if got := started(r, order.PurchaseTag); got != 1 && !(fault.After && got == 2) {
						t.Errorf("%s order, %s at request %d: the automation started %d times", orderName, name, n, got)
					}
					if d := r.rule.RequestsDuringBlock(key); d != 0 {
						t.Errorf("%d requests during a block", d)
					}
				}
			}
		})
	}
}

func patience(d time.Duration) (o stack.Options) { o.Patience = d; return o }

// Rule fails at each request of each of the till's calls, in every way: the till
// gets an answer it can read, at once, and doing it again works.
func TestRuleFailsTheTill(t *testing.T) {
	t.Parallel()
	calls := map[string]func(r *rig) answer{
		"find":      func(r *rig) answer { return r.call("GET", "/contacts?key=0701740605", nil) },
		"get":       func(r *rig) answer { return r.call("GET", "/contacts/255934461", nil) },
		"purchases": func(r *rig) answer { return r.call("GET", "/contacts/255934461/transactions", nil) },
		"consents":  func(r *rig) answer { return r.call("GET", "/consents", nil) },
		"add": func(r *rig) answer {
			return r.call("POST", "/contacts", map[string]any{"email": "ny@example.com", "namefirst": "Ny", "accepts_sms": false, "accepts_email": false, "acceptedconsents": []string{"11"}})
		},
		"update": func(r *rig) answer {
			return r.call("PUT", "/contacts/255934461", map[string]any{"namefirst": "Ny", "accepts_sms": false, "acceptedconsents": []string{"12"}})
		},
	}
	for name, fault := range badDays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for callName, do := range calls {
				for n := 0; ; n++ {
					r := newRig(t, options{seeded: true, Options: patience(time.Second)})
					r.want(r.call("GET", "/lookup_contacts", nil), 200)
					struck := failOnce(r, n, fault)
					a := do(r)
					if !struck() {
						if n == 0 {
							t.Fatalf("%s: no request to Rule", callName)
						}
						break
					}
					v := r.want(a, a.Status)
					switch a.Status {
					case 200: // one retry was enough
					case 503:
						m := v.(map[string]any)
						if m["error"] == "" || len(m["message"].(string)) < 20 || strings.Contains(a.Body, "500") {
							t.Errorf("%s, request %d: %s", callName, n, a.Body)
						}
						if name == "429" && a.Header.Get("Retry-After") == "" {
							t.Errorf("%s: no Retry-After during a block", callName)
						}
					default:
						t.Errorf("%s, request %d: status %d %s", callName, n, a.Status, a.Body)
					}
					r.clock.Advance(11 * time.Minute)
					r.want(do(r), 200)
					if d := r.rule.RequestsDuringBlock(key); d != 0 {
						t.Errorf("%s: %d requests during a block", callName, d)
					}
				}
			}
		})
	}
}
