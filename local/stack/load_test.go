package stack_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/worker"
)

// Twenty deliveries of one order at once, and each of them twice: one entry,
// one start of the automation.
func TestTwentyDeliveries(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any){
		"known": of("255934461"),
		"new":   func(o map[string]any) { o["email"] = "ny@example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("POST", "/transactions", sale(1, of("255934462"))), 200)
			r.drain()
			body, err := order.Message{Account: r.id, Received: r.clock.Now(), Order: mustJSON(t, sale(910000, change))}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			r.orders().SetFaults(queue.Faults{Duplicate: func(worker.Message) bool { return true }})
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if err := r.orders().Send(t.Context(), worker.Message{Body: body, Group: r.id}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			r.drain()
			for range 3 {
				r.later(4 * time.Minute)
			}
			check(t, r, "twenty at once", 910000, order.PurchaseTag)
			fired := 0
			for _, a := range r.rule.Automations(key) {
				if a.Subscriber == r.ledger(910000).Subscriber && a.Tag == order.PurchaseTag {
					fired++
				}
			}
			if fired != 1 {
				t.Errorf("the automation started %d times, want once", fired)
			}
		})
	}
}

// Two registers, and twenty, register the same person at once: one subscriber.
func TestTwoRegisters(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	before := len(r.rule.Subscribers(key))
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			a := r.call("POST", "/contacts", map[string]any{"email": "Samma@Example.com", "mobile": "070-174 06 77", "namefirst": "Samma"})
			if a.Status != 200 {
				t.Errorf("status %d %s", a.Status, a.Body)
			}
			ids[i] = a.Body
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("ids differ: %v", ids)
			break
		}
	}
	if n := len(r.rule.Subscribers(key)) - before; n != 1 {
		t.Errorf("%d new subscribers, want 1", n)
	}
}

// Rule blocks the account. Whatever form it tells it in, nobody calls before the
// time is up: not the till, not the worker, not another process.
func TestNobodyCallsDuringABlock(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]fakerule.RetryAfterStyle{
		"seconds": fakerule.RetryAfterSeconds, "HTTP date": fakerule.RetryAfterHTTPDate, "Stockholm": fakerule.RetryAfterStockholm,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true, rule: fakerule.Options{RetryAfter: style}})
			r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 200)
			r.drain()
			r.rule.BlockFor(key, 10*time.Minute)
			a := r.call("GET", "/contacts?key=0701740605", nil) // this one is told
			r.want(a, 503)
			if got := a.Header.Get("Retry-After"); got != "601" {
				t.Errorf("Retry-After %q, want 601", got)
			}
			r.rule.ResetRequests()
			for range 5 {
				r.want(r.call("GET", "/contacts?key=0701740605", nil), 503)
				r.want(r.call("POST", "/contacts", map[string]any{"email": "ny@example.com"}), 503)
			}
			for id := range int64(5) {
				r.want(r.call("POST", "/transactions", sale(920000+id, of("255934461"))), 200)
			}
			r.drain()
			r.later(5 * time.Minute)
			if n := len(r.routes()); n != 0 || r.rule.RequestsDuringBlock(key) != 0 {
				t.Errorf("%d requests during the block", n)
			}
			for _, m := range r.orders().Messages() {
				if wait := time.Until(m.VisibleAt); wait < 4*time.Minute || wait > 12*time.Minute {
					t.Errorf("an order comes again in %s, want about when the block ends", wait)
				}
			}
			r.later(6 * time.Minute)
			for id := range int64(5) {
				if rec := r.ledger(920000 + id); rec.State != order.Sent {
					t.Errorf("after the block: %+v", rec)
				}
			}
			r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
			if n := r.rule.RequestsDuringBlock(key); n != 0 {
				t.Errorf("%d requests during the block", n)
			}
		})
	}
}

// DynamoDB throttles: the till is told in words, an order stays queued, and
// what this process knows of an account helps over it.
func TestStoreThrottles(t *testing.T) {
	t.Parallel()
	throttled := fault.Wrap(fault.Unavailable, errors.New("ThrottlingException"), "")
	r := newRig(t, options{seeded: true})
	var mu sync.Mutex
	var failing string
	fail := func(op string) error {
		mu.Lock()
		defer mu.Unlock()
		if failing != "" && strings.HasPrefix(op, failing) {
			return throttled
		}
		return nil
	}
	set := func(op string) { mu.Lock(); defer mu.Unlock(); failing = op }
	r.Accounts.Fail, r.Ledger.Fail = fail, fail

	for _, op := range []string{"Key", "Refused", "Create", "AddKey", "Get"} {
		set(op)
		a := r.call("GET", "/contacts?key=0701740605", nil)
		if m := r.want(a, 503).(map[string]any); m["error"] != "unavailable" || strings.Contains(a.Body, "Throttl") {
			t.Errorf("%s throttled: %s", op, a.Body)
		}
	}
	set("")
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
	set("Get")
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
	set("")
	for i, op := range []string{"Queue", "Claim", "Note", "Finish", "SetSchema"} {
		id := int64(930000 + i)
		r.want(r.call("POST", "/transactions", sale(0, nil)), 400) // orderid 0
		set(op)
		r.want(r.call("POST", "/transactions", sale(id, of("255934461"))), 200)
		r.drain()
		set("")
		for range 3 {
			r.later(4 * time.Minute)
		}
		if rec := r.ledger(id); rec.State != order.Sent {
			t.Errorf("%s throttled: %+v", op, rec)
		}
		n := 0
		for _, e := range r.rule.Entries(key, 255934461, order.Group) {
			if e.Value("orderid") == "93000"+string(rune('0'+i)) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s throttled: %d entries", op, n)
		}
	}
}

// The queue cannot be reached: 503, so that the order is sent again; and when it
// took the message all the same, the order still counts once.
func TestQueueFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	gone := errors.New("connection refused")
	for name, f := range map[string]queue.Faults{
		"not taken": {BeforeSend: func(context.Context, worker.Message) error { return gone }},
		"taken":     {AfterSend: func(context.Context, worker.Message) error { return gone }},
	} {
		id := int64(940000 + len(name))
		r.orders().SetFaults(f)
		m := r.want(r.call("POST", "/transactions", sale(id, of("255934461"))), 503).(map[string]any)
		if m["code"] != "order_not_queued" {
			t.Errorf("%s: %v", name, m)
		}
		r.orders().SetFaults(queue.Faults{})
		r.want(r.call("POST", "/transactions", sale(id, of("255934461"))), 200)
		r.drain()
		for range 2 {
			r.later(4 * time.Minute)
		}
		if rec := r.ledger(id); rec.State != order.Sent {
			t.Errorf("%s: %+v", name, rec)
		}
	}
	counts := map[string]int{}
	for _, e := range r.rule.Entries(key, 255934461, order.Group) {
		counts[e.Value("orderid")]++
	}
	for id, n := range counts {
		if n != 1 {
			t.Errorf("order %s has %d entries", id, n)
		}
	}
}

// Rule hangs: the till still gets its sentence, after at most two tries.
func TestTwoTriesAtMost(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true, Options: patience(time.Second)})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.ResetRequests()
	r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Kind: fakerule.FaultHang} })
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 503)
	if n := len(r.routes()); n != 2 {
		t.Errorf("%d tries, want 2", n)
	}
}
