package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

var now = time.Date(2026, 5, 14, 12, 12, 16, 0, time.UTC)

// queue records what the edge asks of its queue and of the dead-letter queue.
type queue struct {
	mu       sync.Mutex
	delays   map[string]time.Duration // by receipt
	aside    []worker.Message
	delayErr error
	sendErr  error
	refuse   func(m worker.Message) error // what Send answers beside sendErr
	check    func(ctx context.Context)    // what else a call has to fulfil
	noted    func(ctx context.Context, d *worker.Delivery, cause error) error
	log      bytes.Buffer
}

func (q *queue) Delay(ctx context.Context, receipt string, d time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.check != nil {
		q.check(ctx)
	}
	if q.delays == nil {
		q.delays = map[string]time.Duration{}
	}
	q.delays[receipt] = d
	return q.delayErr
}

func (q *queue) Send(ctx context.Context, m worker.Message) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.check != nil {
		q.check(ctx)
	}
	if q.refuse != nil {
		if err := q.refuse(m); err != nil {
			return err
		}
	}
	q.aside = append(q.aside, m)
	return q.sendErr
}

func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.log.Write(p)
}

// lines returns the log's lines with that message.
func (q *queue) lines(t *testing.T, msg string) []map[string]any {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []map[string]any
	for line := range strings.Lines(q.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == msg {
			list = append(list, m)
		}
	}
	return list
}

// work hands an event to a worker and returns the ids of the messages that are
// to come again.
func (q *queue) work(t testing.TB, ctx context.Context, event []byte, process worker.Process) []string {
	t.Helper()
	edge := &worker.Edge{Queue: q, DeadLetters: q, Aside: q.noted, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now }}
	raw, err := edge.Handler("order-worker", process).Invoke(ctx, event)
	if err != nil {
		t.Fatalf("the function fails as a whole: %v", err)
	}
	var out map[string][]map[string]string
	if err := json.Unmarshal(raw, &out); err != nil || out["batchItemFailures"] == nil {
		t.Fatalf("answer %s (%v), want batchItemFailures, a list", raw, err)
	}
	ids := []string{}
	for _, f := range out["batchItemFailures"] {
		ids = append(ids, f["itemIdentifier"])
	}
	return ids
}

// one is an event of one message.
func one(t testing.TB, change func(m *events.SQSMessage)) []byte {
	t.Helper()
	m := events.SQSMessage{MessageId: "m-1", ReceiptHandle: "r-1", Body: `{"order":40025}`, Attributes: map[string]string{"ApproximateReceiveCount": "1", "MessageGroupId": "shop"}}
	if change != nil {
		change(&m)
	}
	raw, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{m}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func received(times string) func(*events.SQSMessage) {
	return func(m *events.SQSMessage) { m.Attributes["ApproximateReceiveCount"] = times }
}

// old is a message that was sent seven hours ago and delivered some times.
func old(times string) func(*events.SQSMessage) {
	return func(m *events.SQSMessage) {
		m.Attributes["ApproximateReceiveCount"] = times
		m.Attributes["SentTimestamp"] = fmt.Sprint(now.Add(-7 * time.Hour).UnixMilli())
	}
}

func TestDecision(t *testing.T) {
	t.Parallel()
	const (
		deleted = "deleted"
		aside   = "aside"
		again   = "again"
	)
	in := func(d time.Duration) error { return &fault.Error{Kind: fault.Busy, RetryAt: now.Add(d)} }
	doubling := []time.Duration{
		15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour,
	}
	type row struct {
		name     string
		err      error
		receives int
		want     string
		delay    time.Duration // the least; up to a tenth more is allowed
	}
	var rows []row
	backoff := func(receives int) time.Duration { return doubling[min(receives, len(doubling))-1] }
	for _, receives := range []int{1, 2, 5, 1000} {
		for _, k := range []fault.Kind{fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound} {
			rows = append(rows, row{k.String(), fault.New(k, "no"), receives, aside, 0})
		}
		rows = append(rows,
			row{"none", nil, receives, deleted, 0},
			row{"unauthorized", fault.New(fault.Unauthorized, "no"), receives, again, time.Hour},
			row{"busy", in(7 * time.Minute), receives, again, max(7*time.Minute, backoff(receives))},
			row{"busy for a moment", in(1), receives, again, backoff(receives)},
			row{"busy for days", in(48 * time.Hour), receives, again, 12 * time.Hour},
		)
	}
	for i, wait := range doubling {
		rows = append(rows,
			row{"unavailable", fault.New(fault.Unavailable, ""), i + 1, again, wait},
			row{"busy, it does not say until when", &fault.Error{Kind: fault.Busy}, i + 1, again, wait},
			row{"busy until now", in(0), i + 1, again, wait},
			row{"busy in the past", in(-time.Hour), i + 1, again, wait},
			row{"wrapped", fmt.Errorf("deliver: %w", fault.New(fault.Unavailable, "")), i + 1, again, wait},
			row{"joined: the first kind counts", errors.Join(errors.New("x"), fault.New(fault.Unavailable, ""), fault.New(fault.Invalid, "")), i + 1, again, wait},
			row{"internal", fault.New(fault.Internal, ""), i + 1, again, wait},
			row{"no kind", errors.New("x"), i + 1, again, wait},
			row{"kind that is none", fault.New(fault.Kind(99), ""), i + 1, again, wait},
			row{"time is up", context.DeadlineExceeded, i + 1, again, wait})
	}
	rows = append(rows,
		row{"unavailable, forever", fault.New(fault.Unavailable, ""), 1 << 30, again, time.Hour},
		row{"unavailable, wherever it began", &fault.Error{Kind: fault.Unavailable, RetryAt: now.Add(24 * time.Hour)}, 1, again, 15 * time.Second},
	)
	for _, tt := range rows {
		t.Run(fmt.Sprintf("%s, received %d times", tt.name, tt.receives), func(t *testing.T) {
			t.Parallel()
			q := &queue{}
			failed := q.work(t, t.Context(), one(t, received(fmt.Sprint(tt.receives))), func(_ context.Context, d *worker.Delivery) error {
				if d.Receives != tt.receives {
					t.Errorf("Receives = %d, want %d", d.Receives, tt.receives)
				}
				return tt.err
			})
			got := deleted
			switch delay, delayed := q.delays["r-1"]; {
			case len(q.aside) == 1 && !delayed && len(failed) == 0:
				got = aside
			case delayed && len(q.aside) == 0 && slices.Equal(failed, []string{"m-1"}):
				got = again
				if most := min(tt.delay+tt.delay/10, 12*time.Hour); delay < tt.delay || delay > most {
					t.Errorf("again in %v, want %v to %v", delay, tt.delay, most)
				}
			case delayed || len(q.aside) > 0 || len(failed) > 0:
				got = fmt.Sprintf("delayed: %v, put aside: %v, failed: %v", delayed, q.aside, failed)
			}
			if got != tt.want {
				t.Errorf("message is %s, want %s", got, tt.want)
			}
			lines := q.lines(t, "done")
			outcome := map[string]string{deleted: "done", aside: "put aside", again: "again"}[tt.want]
			if len(lines) != 1 || lines[0]["outcome"] != outcome || lines[0]["operation"] != "order-worker" || lines[0]["message"] != "m-1" || lines[0]["receives"] != float64(tt.receives) {
				t.Errorf("log lines %v, want one, with outcome %q", lines, outcome)
			}
			if tt.err != nil && len(lines) == 1 && lines[0]["kind"] != fault.KindOf(tt.err).String() {
				t.Errorf("log says kind %v, want %v", lines[0]["kind"], fault.KindOf(tt.err))
			}
		})
	}
}

// What failed together does not return together.
func TestDelaysVary(t *testing.T) {
	t.Parallel()
	delays := map[time.Duration]bool{}
	for range 50 {
		q := &queue{}
		q.work(t, t.Context(), one(t, nil), func(context.Context, *worker.Delivery) error { return fault.New(fault.Unavailable, "") })
		delays[q.delays["r-1"]] = true
	}
	if len(delays) < 40 {
		t.Errorf("50 delays, only %d different", len(delays))
	}
	q := &queue{}
	edge := &worker.Edge{Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now }, Jitter: func(n time.Duration) time.Duration { return n - 1 }}
	if _, err := edge.Handler("order-worker", func(context.Context, *worker.Delivery) error { return fault.New(fault.Unavailable, "") }).Invoke(t.Context(), one(t, nil)); err != nil {
		t.Fatal(err)
	}
	if got := q.delays["r-1"]; got != 16500*time.Millisecond {
		t.Errorf("with a jitter of its own: %v", got)
	}
}

// A batch as Lambda delivers it: each message has a fate of its own.
func TestPartialBatch(t *testing.T) {
	t.Parallel()
	batch, err := os.ReadFile(filepath.Join("testdata", "batch.json"))
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{}
	var mu sync.Mutex
	got := map[string]worker.Delivery{}
	var started sync.WaitGroup
	started.Add(3)
	failed := q.work(t, t.Context(), batch, func(_ context.Context, d *worker.Delivery) error {
		started.Done()
		started.Wait() // all at once, or never
		mu.Lock()
		got[d.ID] = worker.Delivery{ID: d.ID, Receipt: d.Receipt, Body: d.Body, Receives: d.Receives}
		mu.Unlock()
		d.Note("order", len(d.Body))
		switch {
		case strings.Contains(d.Body, "two"):
			return fault.New(fault.Unavailable, "")
		case strings.Contains(d.Body, "hand"):
			return fault.Bad("account", "is missing")
		}
		return nil
	})
	if want := []string{"2e1424d4-f796-459a-8184-9c92662be6da"}; !slices.Equal(failed, want) {
		t.Errorf("failed: %v, want %v", failed, want)
	}
	want := map[string]worker.Delivery{
		"059f36b4-87a3-44ab-83d2-661975830a7d": {ID: "059f36b4-87a3-44ab-83d2-661975830a7d", Receipt: "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a", Body: `{"account":"one","orderid":40025}`, Receives: 1},
		"2e1424d4-f796-459a-8184-9c92662be6da": {ID: "2e1424d4-f796-459a-8184-9c92662be6da", Receipt: "AQEBzWwaftRI0KuVm4tP+/7q1rGgNqicHq", Body: `{"account":"two","orderid":40026}`, Receives: 3},
		"d3a1c1f0-5a4e-4a8e-9f0e-0f6f3a1b2c3d": {ID: "d3a1c1f0-5a4e-4a8e-9f0e-0f6f3a1b2c3d", Receipt: "AQEBxUJ3kq9Yp1nB2d8s0v6aHq4mZc7wTe", Body: "posted by hand", Receives: 1},
	}
	if len(got) != len(want) {
		t.Errorf("%d deliveries, want %d", len(got), len(want))
	}
	for id, w := range want {
		if g := got[id]; g.Receipt != w.Receipt || g.Body != w.Body || g.Receives != w.Receives {
			t.Errorf("delivery %+v, want %+v", g, w)
		}
	}
	if d, ok := q.delays["AQEBzWwaftRI0KuVm4tP+/7q1rGgNqicHq"]; !ok || len(q.delays) != 1 || d < time.Minute {
		t.Errorf("delays %v, want a minute for the second message", q.delays)
	}
	// The message that was posted by hand has no group; it gets one, since
	// nothing is sent without.
	if diff := cmp.Diff([]worker.Message{{
		Body: "posted by hand", Group: "none", Dedup: "d3a1c1f0-5a4e-4a8e-9f0e-0f6f3a1b2c3d",
		Attributes: map[string]string{worker.Reason: "invalid: account: is missing", "source": "d3a1c1f0-5a4e-4a8e-9f0e-0f6f3a1b2c3d", "receives": "1"},
	}}, q.aside); diff != "" {
		t.Errorf("put aside (-want +got):\n%s", diff)
	}
	if lines := q.lines(t, "done"); len(lines) != 3 || slices.ContainsFunc(lines, func(l map[string]any) bool { return l["order"] == nil }) {
		t.Errorf("log lines %v, want one for each message, with what the process noted", lines)
	}
}

func TestEmptyBatch(t *testing.T) {
	t.Parallel()
	for _, event := range []string{`{"Records":[]}`, `{}`} {
		q := &queue{}
		if failed := q.work(t, t.Context(), []byte(event), func(context.Context, *worker.Delivery) error { t.Error("nothing was delivered"); return nil }); len(failed) != 0 {
			t.Errorf("failed: %v", failed)
		}
	}
}

// One message's panic is that message's alone, and what it held stays out of
// the log.
func TestPanic(t *testing.T) {
	t.Parallel()
	for name, boom := range map[string]func(){
		"text":    func() { panic("kund.ett@example.com") },
		"error":   func() { panic(errors.New("kund.ett@example.com")) },
		"runtime": func() { fmt.Fprint(io.Discard, map[any]int{}[[]string{"kund.ett@example.com"}]) },
		"nil":     func() { panic(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			batch, err := os.ReadFile(filepath.Join("testdata", "batch.json"))
			if err != nil {
				t.Fatal(err)
			}
			q := &queue{}
			failed := q.work(t, t.Context(), batch, func(_ context.Context, d *worker.Delivery) error {
				if strings.Contains(d.Body, "two") {
					boom()
				}
				return nil
			})
			if want := []string{"2e1424d4-f796-459a-8184-9c92662be6da"}; !slices.Equal(failed, want) || len(q.aside) != 0 {
				t.Errorf("failed: %v, put aside: %v; want %v again", failed, q.aside, want)
			}
			if lines := q.lines(t, "panic"); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["stack"]), "worker_test.go") {
				t.Errorf("log lines %v, want one with the stack", lines)
			}
			if strings.Contains(q.log.String(), "kund.ett") {
				t.Errorf("log holds what the panic said: %s", q.log.String())
			}
			q = &queue{}
			if failed := q.work(t, t.Context(), one(t, old("5")), func(context.Context, *worker.Delivery) error { boom(); return nil }); len(failed) != 0 || len(q.aside) != 1 {
				t.Fatalf("hours later: failed: %v, put aside: %v; want it put aside", failed, q.aside)
			}
			if reason := q.aside[0].Attributes[worker.Reason]; !strings.HasPrefix(reason, "internal: ") || !strings.Contains(reason, "panic") || strings.Contains(reason, "kund.ett") {
				t.Errorf("reason = %q, want a plain sentence about a panic", reason)
			}
		})
	}
}

// A process that neither returns nor panics has not done its work.
func TestProcessThatEnds(t *testing.T) {
	t.Parallel()
	q := &queue{}
	failed := q.work(t, t.Context(), one(t, nil), func(context.Context, *worker.Delivery) error { runtime.Goexit(); return nil })
	if !slices.Equal(failed, []string{"m-1"}) {
		t.Errorf("failed: %v, want the message again", failed)
	}
}

func TestPutAside(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		change func(*events.SQSMessage)
		want   worker.Message
	}{
		"sentence": {
			fault.New(fault.NotFound, "There is no such account."), nil,
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "not_found: There is no such account.", "source": "m-1", "receives": "1"}},
		},
		"member and cause": {
			&fault.Error{Kind: fault.Invalid, Member: "orderdate", Message: "is not a date", Err: errors.New("parsing time")}, received("4"),
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "invalid: orderdate: is not a date (parsing time)", "source": "m-1", "receives": "4"}},
		},
		"nothing but a kind": {
			&fault.Error{Kind: fault.TooLarge}, nil,
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "too_large", "source": "m-1", "receives": "1"}},
		},
		"no kind": {
			errors.New("x"), old("5"),
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "internal (x)", "source": "m-1", "receives": "5"}},
		},
		"body is kept as it is": {
			fault.New(fault.Invalid, "no"), func(m *events.SQSMessage) { m.Body = "{broken\n\tåäö" },
			worker.Message{Body: "{broken\n\tåäö", Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "invalid: no", "source": "m-1", "receives": "1"}},
		},
		"lines and what SQS does not carry": {
			fault.Wrap(fault.Conflict, errors.New("a\nb\x00c\xffd\uFFFEe"), "no"), nil,
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-1", Attributes: map[string]string{"reason": "conflict: no (a?b?c?d?e)", "source": "m-1", "receives": "1"}},
		},
		// Two messages of a FIFO queue may have the same body, and one that a
		// redrive has brought back keeps its deduplication id: neither may be
		// dropped.
		"a FIFO queue's": {
			fault.New(fault.Invalid, "no"), func(m *events.SQSMessage) {
				m.MessageId, m.Attributes["MessageDeduplicationId"], m.Attributes["SequenceNumber"] = "m-2", "import-1", "00000000000000000001"
			},
			worker.Message{Body: `{"order":40025}`, Group: "shop", Dedup: "m-2", Attributes: map[string]string{"reason": "invalid: no", "source": "m-2", "receives": "1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queue{}
			if failed := q.work(t, t.Context(), one(t, tt.change), func(context.Context, *worker.Delivery) error { return tt.err }); len(failed) != 0 {
				t.Errorf("failed: %v, want the message to be gone", failed)
			}
			if diff := cmp.Diff([]worker.Message{tt.want}, q.aside); diff != "" {
				t.Errorf("put aside (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLongReason(t *testing.T) {
	t.Parallel()
	q := &queue{}
	q.work(t, t.Context(), one(t, nil), func(context.Context, *worker.Delivery) error {
		return fault.New(fault.Invalid, "%s", strings.Repeat("å", 100_000))
	})
	if len(q.aside) != 1 {
		t.Fatalf("put aside: %v, want the message", q.aside)
	}
	if reason := q.aside[0].Attributes[worker.Reason]; len(reason) < 900 || len(reason) > 1010 || !utf8.ValidString(reason) {
		t.Errorf("reason has %d bytes, valid: %v; want about 1000 and valid", len(reason), utf8.ValidString(reason))
	}
}

// The dead-letter queue does not take the message: it stays where it is.
func TestPutAsideFails(t *testing.T) {
	t.Parallel()
	q := &queue{sendErr: fault.New(fault.Unavailable, "")}
	failed := q.work(t, t.Context(), one(t, nil), func(context.Context, *worker.Delivery) error { return fault.Bad("orderid", "is missing") })
	if !slices.Equal(failed, []string{"m-1"}) {
		t.Errorf("failed: %v, want the message again", failed)
	}
	if len(q.delays) != 0 {
		t.Errorf("delays %v, want the queue's own visibility timeout", q.delays)
	}
	if lines := q.lines(t, "done"); len(lines) != 1 || lines[0]["outcome"] != "again" || lines[0]["level"] != "ERROR" {
		t.Errorf("log lines %v, want one error with outcome again", lines)
	}
}

// The queue does not take the delay: the message comes again all the same.
func TestDelayFails(t *testing.T) {
	t.Parallel()
	q := &queue{delayErr: errors.New("no such receipt")}
	failed := q.work(t, t.Context(), one(t, nil), func(context.Context, *worker.Delivery) error { return fault.New(fault.Unavailable, "") })
	if !slices.Equal(failed, []string{"m-1"}) {
		t.Errorf("failed: %v, want the message again", failed)
	}
	if lines := q.lines(t, "could not set when the message comes again"); len(lines) != 1 {
		t.Errorf("log has %d warnings of it, want one", len(lines))
	}
}

// The function's last three seconds belong to the queue: a process that uses up
// its time is told of it before, and what becomes of the message still arrives.
func TestDeadlineMargin(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"again": fault.New(fault.Unavailable, ""), "aside": fault.New(fault.Invalid, "no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				start := time.Now()
				told := false
				q := &queue{check: func(ctx context.Context) {
					told = true
					if ctx.Err() != nil {
						t.Errorf("the queue is told with a context that is over: %v", ctx.Err())
					}
				}}
				q.work(t, ctx, one(t, nil), func(ctx context.Context, _ *worker.Delivery) error {
					<-ctx.Done()
					return err
				})
				if took := time.Since(start); took != 27*time.Second || !told {
					t.Errorf("after %v (queue told: %v), want after 27 s", took, told)
				}
			})
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		q := &queue{}
		q.work(t, context.Background(), one(t, nil), func(ctx context.Context, _ *worker.Delivery) error {
			if d, ok := ctx.Deadline(); ok {
				t.Errorf("deadline %v, want none", d)
			}
			return nil
		})
	})
}

// How old a message may get: two days, and six hours if the defect is ours. How
// often it has been delivered does not matter: blocks come and go.
func TestAge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		err   error
		sent  string
		aside bool
	}{
		{"unavailable, young", fault.New(fault.Unavailable, ""), fmt.Sprint(now.Add(-48*time.Hour + time.Second).UnixMilli()), false},
		{"unavailable, old", fault.New(fault.Unavailable, ""), fmt.Sprint(now.Add(-48 * time.Hour).UnixMilli()), true},
		{"unauthorized, old", fault.New(fault.Unauthorized, ""), fmt.Sprint(now.Add(-49 * time.Hour).UnixMilli()), true},
		{"busy, old", fault.New(fault.Busy, ""), fmt.Sprint(now.Add(-49 * time.Hour).UnixMilli()), true},
		{"busy, young", fault.New(fault.Busy, ""), fmt.Sprint(now.Add(-47 * time.Hour).UnixMilli()), false},
		{"internal, young", errors.New("x"), fmt.Sprint(now.Add(-6*time.Hour + time.Second).UnixMilli()), false},
		{"internal, old", errors.New("x"), fmt.Sprint(now.Add(-6 * time.Hour).UnixMilli()), true},
		{"done at last", nil, fmt.Sprint(now.Add(-1000 * time.Hour).UnixMilli()), false},
		{"of the future", errors.New("x"), fmt.Sprint(now.Add(1000 * time.Hour).UnixMilli()), false},
		{"does not say", errors.New("x"), "", false},
		{"says nonsense", errors.New("x"), "yesterday", false},
	} {
		q := &queue{}
		q.work(t, t.Context(), one(t, func(m *events.SQSMessage) {
			m.Attributes["SentTimestamp"], m.Attributes["ApproximateReceiveCount"] = c.sent, "3"
		}), func(context.Context, *worker.Delivery) error { return c.err })
		if got := len(q.aside) == 1; got != c.aside {
			t.Errorf("%s: put aside %v, want %v", c.name, got, c.aside)
		}
	}
}

// On a queue where messages wait long for their turn, one that fails has as long
// as any other, counted from its first failure; and what merely waits, longer.
func TestLongWait(t *testing.T) {
	t.Parallel()
	hours := func(n int) time.Time { return now.Add(time.Duration(-n) * time.Hour) }
	down, defect, busy := fault.New(fault.Unavailable, ""), errors.New("x"), fault.New(fault.Busy, "")
	for _, c := range []struct {
		name  string
		err   error
		sent  int // hours ago
		aside bool
	}{
		{"its first failure after a week", fault.Since(down, hours(0)), 7 * 24, false},
		{"failing for less than two days", fault.Since(down, hours(47)), 7 * 24, false},
		{"failing for two days", fault.Since(down, hours(48)), 7 * 24, true},
		{"wrapped", fmt.Errorf("write: %w", fault.Since(down, hours(47))), 7 * 24, false},
		{"a defect, new", fault.Since(defect, hours(5)), 7 * 24, false},
		{"a defect for six hours", fault.Since(defect, hours(6)), 7 * 24, true},
		{"as old as it can get", fault.Since(down, hours(1)), 12 * 24, true},
		{"not known since when", down, 7 * 24, true},
		{"waiting for a week", busy, 7 * 24, false},
		{"waiting, whatever failed before", fault.Since(busy, hours(72)), 7 * 24, false},
		{"waiting for too long", busy, 12 * 24, true},
		{"refused", fault.Since(fault.New(fault.Invalid, ""), hours(0)), 0, true},
	} {
		q := &queue{}
		edge := &worker.Edge{Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now }, MaxWait: 12 * 24 * time.Hour}
		event := one(t, func(m *events.SQSMessage) { m.Attributes["SentTimestamp"] = fmt.Sprint(hours(c.sent).UnixMilli()) })
		if _, err := edge.Handler("order-worker", func(context.Context, *worker.Delivery) error { return c.err }).Invoke(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		if got := len(q.aside) == 1; got != c.aside {
			t.Errorf("%s: put aside %v, want %v", c.name, got, c.aside)
		}
	}
}

// What waits for days is received less often than the queue's maximum of
// receives, which would put it aside without a reason.
func TestLongWaitIsFewReceives(t *testing.T) {
	t.Parallel()
	const most = 300 // maxReceiveCount of template.yaml
	age, receives := time.Duration(0), 0
	for aside := false; !aside; {
		receives++
		q := &queue{}
		edge := &worker.Edge{
			Queue: q, DeadLetters: q, Log: slog.New(slog.NewJSONHandler(q, nil)), Now: func() time.Time { return now }, MaxWait: 12 * 24 * time.Hour,
			Jitter: func(time.Duration) time.Duration { return 0 },
		}
		event := one(t, func(m *events.SQSMessage) {
			m.Attributes["SentTimestamp"], m.Attributes["ApproximateReceiveCount"] = fmt.Sprint(now.Add(-age).UnixMilli()), fmt.Sprint(receives)
		})
		asked := 2 * time.Minute
		if receives == 2 {
			asked = 9 * time.Hour // it is asked for more
		}
		if _, err := edge.Handler("order-worker", func(context.Context, *worker.Delivery) error {
			return &fault.Error{Kind: fault.Busy, RetryAt: now.Add(asked)}
		}).Invoke(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		aside = len(q.aside) == 1
		wait := q.delays["r-1"]
		if !aside && (wait < asked || receives <= 60 && wait != asked) {
			t.Errorf("after %d receives it waits %s, asked for are %s", receives, wait, asked)
		}
		age += wait
	}
	if receives >= most {
		t.Errorf("it was received %d times", receives)
	}
}

// Whoever keeps books is told before a message is put aside; if that fails, the
// message stays.
func TestAside(t *testing.T) {
	t.Parallel()
	cause := fault.New(fault.Invalid, "no")
	for _, noted := range []error{nil, errors.New("books are closed")} {
		q := &queue{}
		var told []string
		q.noted = func(_ context.Context, d *worker.Delivery, err error) error {
			told = append(told, d.ID+" "+d.Body)
			if !errors.Is(err, cause) || d.Attempt == "" || len(q.aside) != 0 {
				t.Errorf("told of %v, attempt %q, with %d put aside already", err, d.Attempt, len(q.aside))
			}
			return noted
		}
		m := one(t, nil)
		failed := q.work(t, t.Context(), m, func(context.Context, *worker.Delivery) error { return cause })
		if want := []string{`m-1 {"order":40025}`}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if (len(q.aside) == 1) != (noted == nil) || (len(failed) == 0) != (noted == nil) {
			t.Errorf("books answer %v: put aside %v, failed %v", noted, q.aside, failed)
		}
		q.work(t, t.Context(), m, func(context.Context, *worker.Delivery) error { return nil })
		q.work(t, t.Context(), m, func(context.Context, *worker.Delivery) error { return fault.New(fault.Unavailable, "") })
		if len(told) != 1 {
			t.Errorf("told %d times, want only of what is put aside", len(told))
		}
	}
}

// A receive count that is none counts as the first.
func TestReceiveCount(t *testing.T) {
	t.Parallel()
	for _, count := range []string{"", "0", "-3", "many", "1e3", "99999999999999999999999"} {
		q := &queue{}
		q.work(t, t.Context(), one(t, received(count)), func(_ context.Context, d *worker.Delivery) error {
			if d.Receives < 1 {
				t.Errorf("%q: Receives = %d, want at least 1", count, d.Receives)
			}
			return fault.New(fault.Unavailable, "")
		})
		if d := q.delays["r-1"]; d < 15*time.Second || d > 66*time.Minute {
			t.Errorf("%q: again in %v, want 15 s to an hour", count, d)
		}
	}
	q := &queue{}
	q.work(t, t.Context(), one(t, func(m *events.SQSMessage) { m.Attributes = nil }), func(context.Context, *worker.Delivery) error { return fault.New(fault.Invalid, "no") })
	if len(q.aside) != 1 || q.aside[0].Group != "none" {
		t.Errorf("message without attributes is put aside as %v, want group none", q.aside)
	}
}

// Whatever is in the way of a message, its reason is something SQS takes.
func FuzzReason(f *testing.F) {
	f.Add("There is no such account.", "cause", 1)
	f.Add("\xff\x00\n", strings.Repeat("å", 600), 6)
	f.Add("\uFFFF\uFFFD", "", -1)
	f.Fuzz(func(t *testing.T, message, cause string, receives int) {
		q := &queue{}
		q.work(t, t.Context(), one(t, received(fmt.Sprint(receives))), func(context.Context, *worker.Delivery) error {
			return fault.Wrap(fault.Invalid, errors.New(cause), "%s", message)
		})
		if len(q.aside) != 1 {
			t.Fatalf("put aside: %v, want the message", q.aside)
		}
		reason := q.aside[0].Attributes[worker.Reason]
		if !utf8.ValidString(reason) || len(reason) > 2000 || !strings.HasPrefix(reason, "invalid") {
			t.Errorf("reason = %q", reason)
		}
		for _, r := range reason {
			if r < 0x20 || r > 0xFFFD && r < 0x10000 {
				t.Errorf("reason holds %U", r)
			}
		}
	})
}
