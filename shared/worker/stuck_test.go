package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

// A message that SQS refuses with its reason, being as long as a message may be,
// is put aside without: on a FIFO queue it would hold up its shop for days.
func TestMessageThatHasNoRoomForItsReason(t *testing.T) {
	t.Parallel()
	q := &queue{refuse: func(m worker.Message) error {
		size := len(m.Body)
		for name, v := range m.Attributes {
			size += len(name) + len(v)
		}
		if size > sqsqueue.MaxSize {
			return &fault.Error{Kind: fault.TooLarge, Err: fmt.Errorf("%d bytes", size)}
		}
		return nil
	}}
	long := strings.Repeat("x", sqsqueue.MaxSize-10)
	failed := q.work(t, t.Context(), one(t, func(m *events.SQSMessage) { m.Body = long }), func(context.Context, *worker.Delivery) error {
		return fault.New(fault.Invalid, "It is no order.")
	})
	if len(failed) != 0 || len(q.aside) != 1 || q.aside[0].Body != long || q.aside[0].Attributes != nil {
		t.Errorf("failed %v, %d put aside; want it put aside whole, without attributes", failed, len(q.aside))
	}
	lines := q.lines(t, "the dead-letter queue refuses the message with its reason; it goes without")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["reason"]), "It is no order.") {
		t.Errorf("log %v, want one line with the reason", lines)
	}
}

// Books that refuse the note for good, or panic over it, do not keep a message at
// the head of its shop's group; books that merely do not answer do.
func TestBooksThatRefuse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		noted    func() error
		receives string
		stays    bool
	}{
		"no such job":            {func() error { return fault.New(fault.NotFound, "") }, "1", false},
		"do not answer":          {func() error { return fault.New(fault.Unavailable, "") }, "299", true},
		"busy":                   {func() error { return fault.New(fault.Busy, "") }, "40", true},
		"damaged, at first":      {func() error { return fault.New(fault.Internal, "") }, "1", true},
		"damaged, for long":      {func() error { return fault.New(fault.Internal, "") }, "12", false},
		"panic, at first":        {func() error { panic("books") }, "1", true},
		"panic, time after time": {func() error { panic("books") }, "12", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queue{noted: func(context.Context, *worker.Delivery, error) error { return tt.noted() }}
			failed := q.work(t, t.Context(), one(t, received(tt.receives)), func(context.Context, *worker.Delivery) error { return fault.New(fault.Invalid, "no") })
			if stays := len(failed) == 1 && len(q.aside) == 0; stays != tt.stays {
				t.Errorf("failed %v, put aside %d; want it to stay %v", failed, len(q.aside), tt.stays)
			}
		})
	}
}

// What is worked at the same moment unpacks to no more than the worker has room
// for; a message that is heavier than that is worked alone; all are worked, and a
// heavy one is not overtaken by everything that comes after it.
func TestBatchIsWeighed(t *testing.T) {
	t.Parallel()
	weights := []int{3, 4, 12, 1, 1, 5, 5, 10, 2, 7}
	synctest.Test(t, func(t *testing.T) {
		var records []events.SQSMessage
		for i, w := range weights {
			records = append(records, events.SQSMessage{MessageId: fmt.Sprint(i), ReceiptHandle: fmt.Sprint(i), Body: strings.Repeat("x", w)})
		}
		raw, err := json.Marshal(events.SQSEvent{Records: records})
		if err != nil {
			t.Fatal(err)
		}
		q := &queue{}
		var mu sync.Mutex
		on, most, together, done := 0, 0, 0, []string{}
		count := 0
		edge := &worker.Edge{
			Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now },
			Weigh: func(body string) int { return len(body) }, AtOnce: 10,
		}
		out, err := edge.Handler("order-worker", func(_ context.Context, d *worker.Delivery) error {
			mu.Lock()
			count++
			on += min(len(d.Body), 10)
			most, together = max(most, on), max(together, count)
			mu.Unlock()
			time.Sleep(time.Second) // no real one
			mu.Lock()
			defer mu.Unlock()
			count--
			on -= min(len(d.Body), 10)
			done = append(done, d.ID)
			return nil
		}).Invoke(t.Context(), raw)
		if err != nil || !strings.Contains(string(out), `"batchItemFailures":[]`) {
			t.Fatalf("%s, %v", out, err)
		}
		if most > 10 || together < 2 || len(done) != len(weights) {
			t.Errorf("at most %d at once, %d messages, %d done; want 10 at the most, some together, all done", most, together, len(done))
		}
	})
}

// One for which no time is left comes again, and costs those beside it nothing.
func TestBatchThatHasNoTimeForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var records []events.SQSMessage
		for i := range 4 {
			records = append(records, events.SQSMessage{MessageId: fmt.Sprint(i), ReceiptHandle: fmt.Sprint(i), Body: "xxxxxxxxxx"})
		}
		raw, err := json.Marshal(events.SQSEvent{Records: records})
		if err != nil {
			t.Fatal(err)
		}
		q := &queue{}
		edge := &worker.Edge{
			Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now },
			Weigh: func(body string) int { return len(body) }, AtOnce: 10,
		}
		ctx, cancel := context.WithTimeout(t.Context(), 13*time.Second) // 10 of them are for work
		defer cancel()
		worked := 0
		h := edge.Handler("order-worker", func(context.Context, *worker.Delivery) error {
			worked++ // one at a time
			time.Sleep(6 * time.Second)
			return nil
		})
		out, err := h.Invoke(ctx, raw)
		var failed struct{ BatchItemFailures []map[string]string }
		if err != nil || json.Unmarshal(out, &failed) != nil || worked != 2 || len(failed.BatchItemFailures) != 2 || len(q.aside) != 0 {
			t.Errorf("%s, %v: %d worked, %d put aside; want two worked and two again", out, err, worked, len(q.aside))
		}
		// The next batch finds the scales empty.
		worked = 0
		if out, err = h.Invoke(t.Context(), raw); err != nil || worked != 4 || !slices.Equal(out, []byte(`{"batchItemFailures":[]}`)) {
			t.Errorf("the next batch: %s, %v, %d worked", out, err, worked)
		}
	})
}

// diary is a worker.Begun in memory.
type diary struct {
	mu   sync.Mutex
	open map[string]map[string]bool
	asks int
}

func (d *diary) Begin(_ context.Context, group, message, attempt string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks++
	if d.open == nil {
		d.open = map[string]map[string]bool{}
	}
	k := group + " " + message
	if d.open[k] == nil {
		d.open[k] = map[string]bool{}
	}
	d.open[k][attempt] = true
	return len(d.open[k]), nil
}

func (d *diary) End(_ context.Context, group, message string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks++
	delete(d.open, group+" "+message)
	return nil
}

// A message that takes the process down is put aside, with a reason, after five
// times, and not after three hundred, each of which is half an hour at the head of
// its shop's group; one that merely comes again is not, however often; and the
// usual one, which comes once, costs nothing.
func TestMessageThatTakesTheProcessDown(t *testing.T) {
	t.Parallel()
	q, d := &queue{}, &diary{}
	edge := &worker.Edge{Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now }, Begun: d}
	deliver := func(receives int, process worker.Process) {
		event := one(t, received(fmt.Sprint(receives)))
		done := make(chan struct{})
		go func() { // a process that goes down takes its goroutine with it
			defer close(done)
			if _, err := edge.Handler("history-worker", process).Invoke(t.Context(), event); err != nil {
				t.Error(err)
			}
		}()
		<-done
	}
	deliver(1, func(context.Context, *worker.Delivery) error { return nil })
	if d.asks != 0 {
		t.Errorf("a message's first delivery asks %d times, want none", d.asks)
	}
	for n := 1; n <= 60; n++ {
		deliver(n, func(context.Context, *worker.Delivery) error { return fault.New(fault.Busy, "") })
	}
	if len(q.aside) != 0 {
		t.Fatalf("put aside after 60 waits: %v", q.aside)
	}
	downs := 0
	for n := 61; n <= 80 && len(q.aside) == 0; n++ {
		// What is left of a process that was killed is what it had noted.
		if _, err := d.Begin(t.Context(), "shop", "m-1", fmt.Sprint("killed-", n)); err != nil {
			t.Fatal(err)
		}
		downs++
		if downs == 5 {
			deliver(n+1, func(context.Context, *worker.Delivery) error { t.Error("it is tried a sixth time"); return nil })
		}
	}
	if downs != 5 || len(q.aside) != 1 || !strings.Contains(q.aside[0].Attributes[worker.Reason], "took the process down 5 times") {
		t.Errorf("after %d times: %v", downs, q.aside)
	}
}
