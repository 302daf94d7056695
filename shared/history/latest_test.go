package history_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// later is the queue of what is done some time later.
type later struct {
	rig *writerRig

	mu    sync.Mutex
	queue []waiting
}

type waiting struct {
	worker.Message
	ready time.Time
}

func (l *later) Send(_ context.Context, m worker.Message) error {
	if err := l.rig.step("later"); err != nil {
		return err
	}
	l.mu.Lock()
	l.queue = append(l.queue, waiting{m, l.rig.clock().Add(m.Delay)})
	l.mu.Unlock()
	return l.rig.step("later done")
}

// drain works the queue until it is empty, and returns how many messages it had.
// Each one's first delivery comes to nothing where that is said.
func (l *later) drain(fail func(deliver func() error)) (n int) {
	l.rig.t.Helper()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.mu.Unlock()
			return n
		}
		m := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		n++
		if m.Delay > 10*time.Minute {
			l.rig.t.Errorf("a message waits %s, longer than the queue's alarm allows", m.Delay)
		}
		l.rig.pass(max(0, m.ready.Sub(l.rig.clock())))
		deliver := func() error {
			again, ok, err := order.DecodeAgain(m.Body)
			if !ok || err != nil {
				return fmt.Errorf("message %s: %w", m.Body, err)
			}
			return l.rig.writer.Deliverer.WriteAgain(context.Background(), again, func(ctx context.Context) (*rule.Session, error) {
				_, s, err := l.rig.writer.Directory.Session(ctx, "a")
				return s, err
			})
		}
		if fail != nil {
			fail(deliver)
		}
		if err := deliver(); err != nil {
			l.rig.t.Fatal(err)
		}
		if n > 1000 {
			l.rig.t.Fatal("the queue does not get empty")
		}
	}
}

// lastOrder is the day of customer n's latest order as Rule has it now: the stand-in
// works what is due when it is asked something.
func (r *writerRig) lastOrder(n int) string {
	r.t.Helper()
	if _, err := r.client.Session(fakerule.DefaultKey, time.Time{}, nil).Subscriber(context.Background(), rule.ByID(int64(firstCustomer+n))); err != nil {
		r.t.Fatal(err)
	}
	for _, e := range r.rule.Entries(fakerule.DefaultKey, int64(firstCustomer+n), "Sitoo-Contact") {
		if v := e.Value("lastorderdate"); v != "" {
			return v
		}
	}
	return ""
}

// sell delivers a sale of today's to customer n, as the till sends it.
func (r *writerRig) sell(id int64, n int, attempt string) error {
	o, err := sitoo.DecodeOrder(sale(id, map[string]any{"email": customerMail(n), "orderdate": time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Unix()}))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx := context.Background()
	a, s, err := r.writer.Directory.Session(ctx, "a")
	if err != nil {
		return err
	}
	return r.writer.Deliverer.Deliver(ctx, a, s, o, attempt)
}

const today, crowd = "2026-03-02", 24

// largeCall is a backfill's part that goes to Rule in one call, which Rule answers
// at once and works 14 minutes later.
func largeCall(t *testing.T) (r *writerRig, body string) {
	t.Helper()
	r = newWriterRig(t, rigOptions{customers: crowd + 1, job: history.Job{Parts: []string{"p1", "p2"}}, server: fakerule.Options{AsyncDelay: 14 * time.Minute}})
	var orders []json.RawMessage
	for n := range crowd {
		orders = append(orders, byMail(int64(100+n), n))
	}
	return r, r.body("p1", orders...)
}

// A sale between the answer to a backfill's large call and Rule's work on it keeps
// its day; that costs one message and one request, and no other sale any.
func TestLatestOrderBesideALargeCall(t *testing.T) {
	t.Parallel()
	r, body := largeCall(t)
	if err := r.work(body); err != nil {
		t.Fatal(err)
	}
	if len(r.later.queue) != 0 {
		t.Errorf("the backfill alone queued %d messages", len(r.later.queue))
	}
	r.pass(time.Minute)
	before := len(r.rule.Requests())
	if err := r.sell(900000, crowd, "live"); err != nil { // nobody's whom the backfill has
		t.Fatal(err)
	}
	plain := len(r.rule.Requests()) - before
	if len(r.later.queue) != 0 {
		t.Error("the sale of a customer who is not in the call queued a message")
	}
	before = len(r.rule.Requests())
	if err := r.sell(900001, 3, "live"); err != nil {
		t.Fatal(err)
	}
	if len(r.later.queue) != 1 {
		t.Errorf("the sale queued %d messages, want 1", len(r.later.queue))
	}
	if got := len(r.rule.Requests()) - before; got != plain {
		t.Errorf("the sale took %d requests, another one %d", got, plain)
	}
	if got := r.lastOrder(3); got != today {
		t.Errorf("after the sale %q", got)
	}
	r.pass(14 * time.Minute)
	if got := r.lastOrder(3); got == today || got == "" { // or the test is in vain
		t.Errorf("Rule's late work has left %q", got)
	}
	before = len(r.rule.Requests())
	r.later.drain(nil)
	if got := len(r.rule.Requests()) - before; got != 1 {
		t.Errorf("it took %d requests, want 1", got)
	}
	if got := r.lastOrder(3); got != today {
		t.Errorf("in the end %q, want %q", got, today)
	}
	// A sale when all is settled queues nothing.
	r.pass(30 * time.Minute)
	if err := r.sell(900002, 3, "live"); err != nil {
		t.Fatal(err)
	}
	if got := len(r.later.queue); got != 0 {
		t.Errorf("a sale later queued %d messages", got)
	}
}

// A small call that follows a large one is worked first: its customers' days are
// written again as well, once for each customer.
func TestLatestOrderOfASmallCallBehindALargeOne(t *testing.T) {
	t.Parallel()
	r, body := largeCall(t)
	if err := r.work(body); err != nil {
		t.Fatal(err)
	}
	newer := func(id int64, day int) json.RawMessage {
		return sale(id, map[string]any{"email": customerMail(3), "orderdate": time.Date(2026, 2, day, 12, 0, 0, 0, time.UTC).Unix()})
	}
	if err := r.work(r.body("p2", newer(300, 1), newer(301, 2), newer(302, 3))); err != nil {
		t.Fatal(err)
	}
	if got := len(r.later.queue); got != 1 {
		t.Errorf("%d messages for one customer", got)
	}
	r.pass(14 * time.Minute)
	r.later.drain(nil)
	if got := r.lastOrder(3); got != "2026-02-03" {
		t.Errorf("in the end %q", got)
	}
}

// Wherever the backfill, the sale or the message is killed, the day is right in the
// end, whether the next try comes soon or when Rule has worked the call long since.
func TestLatestOrderKilledAtEveryEffect(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"backfill", "sale", "message"} {
		for _, pause := range []time.Duration{3 * time.Minute, 40 * time.Minute} {
			for at := 1; ; at++ {
				r, body := largeCall(t)
				var mu sync.Mutex
				n, reached := 0, false
				killed := func(name string, do func() error) error {
					if name != who {
						return do()
					}
					r.each(func(string) error {
						mu.Lock()
						defer mu.Unlock()
						if n++; n >= at {
							reached = true
							return errKilled
						}
						return nil
					})
					defer r.each(nil)
					return do()
				}
				if err := killed("backfill", func() error { return r.work(body) }); err != nil && who != "backfill" {
					t.Fatal(err)
				}
				r.pass(time.Minute)
				err := killed("sale", func() error { return r.sell(900001, 3, rand.Text()) })
				for i := 0; err != nil && i < 60; i++ {
					r.pass(pause)
					err = r.sell(900001, 3, rand.Text())
				}
				if err != nil {
					t.Fatalf("%s killed at effect %d: the sale: %v", who, at, err)
				}
				r.pass(pause)
				r.drive(body)
				r.later.drain(func(deliver func() error) { _ = killed("message", deliver) })
				r.pass(time.Hour)
				r.later.drain(nil)
				if got := r.lastOrder(3); got != today {
					t.Errorf("%s killed at effect %d, again after %s: the day is %q", who, at, pause, got)
				}
				if !reached || t.Failed() {
					if at < 3 {
						t.Errorf("%s has %d effects", who, at)
					}
					break
				}
			}
		}
	}
}
