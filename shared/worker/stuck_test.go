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
