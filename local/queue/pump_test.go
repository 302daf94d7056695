package queue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/queue"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/worker"
)

var (
	orderWorker = template.Function{ID: "OrderWorker", Name: "order-worker", Timeout: 5 * time.Second}
	fromOrders  = template.EventSource{ID: "OrderWorker.Orders", Queue: "Orders", Function: "OrderWorker", BatchSize: 10, PartialBatch: true, Enabled: true}
	fromHistory = template.EventSource{ID: "OrderWorker.History", Queue: "History", Function: "OrderWorker", BatchSize: 10, PartialBatch: true, Enabled: true}
)

// bench is a broker with one pump, to be run inside a synctest bubble.
type bench struct {
	t *testing.T
	b *queue.Broker
	q *queue.Queue
}

// start runs pumps on the four queues of this test until the test ends.
func start(t *testing.T, configs ...queue.PumpConfig) *bench {
	t.Helper()
	b := broker(t, orders, dead, history, historyDead)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, c := range configs {
		c.Function = orderWorker
		p, err := queue.NewPump(b, c)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { p.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return &bench{t: t, b: b, q: named(t, b, configs[0].Source.Queue)}
}

func (b *bench) drain() {
	b.t.Helper()
	if err := b.b.Drain(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// batches records the bodies of each batch, and answers what reply makes of it.
type batches struct {
	mu    sync.Mutex
	got   []string
	reply func(e events.SQSEvent) (string, error)
}

func (r *batches) invoke(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var e events.SQSEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.got = append(r.got, bodies(e.Records))
	r.mu.Unlock()
	if r.reply == nil {
		return nil, nil
	}
	out, err := r.reply(e)
	return []byte(out), err
}

func (r *batches) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// failing answers with the ids of the messages that have one of the bodies.
func failing(bad ...string) func(events.SQSEvent) (string, error) {
	return func(e events.SQSEvent) (string, error) {
		var resp events.SQSEventResponse
		for _, m := range e.Records {
			if slices.Contains(bad, m.Body) {
				resp.BatchItemFailures = append(resp.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			}
		}
		out, err := json.Marshal(resp)
		return string(out), err
	}
}

func TestPumpInvocation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []byte
		b := start(t, queue.PumpConfig{Source: fromOrders, Invoke: func(ctx context.Context, function string, payload []byte) ([]byte, error) {
			lc, ok := lambdacontext.FromContext(ctx)
			if !ok || lc.AwsRequestID == "" || lc.InvokedFunctionArn != "arn:aws:lambda:eu-north-1:000000000000:function:order-worker" {
				t.Errorf("lambdacontext = %+v, %t", lc, ok)
			}
			if deadline, _ := ctx.Deadline(); time.Until(deadline) != 5*time.Second || function != "order-worker" {
				t.Errorf("%s has %v", function, time.Until(deadline))
			}
			got = payload
			return nil, nil
		}})
		if err := b.q.Send(t.Context(), worker.Message{Body: `{"a":"<&>"}`, Group: "0a1b", Attributes: map[string]string{"kind": "order"}}); err != nil {
			t.Fatal(err)
		}
		b.drain()
		var e events.SQSEvent
		if err := json.Unmarshal(got, &e); err != nil {
			t.Fatal(err)
		}
		m := e.Records[0]
		want := `{"Records":[{"messageId":"` + m.MessageId + `","receiptHandle":"` + m.ReceiptHandle + `","body":"{\"a\":\"<&>\"}",` +
			`"md5OfBody":"` + m.Md5OfBody + `","md5OfMessageAttributes":"` + m.Md5OfMessageAttributes + `",` +
			`"attributes":{"ApproximateFirstReceiveTimestamp":"946684800000","ApproximateReceiveCount":"1","MessageGroupId":"0a1b","SenderId":"000000000000","SentTimestamp":"946684800000"},` +
			`"messageAttributes":{"kind":{"stringValue":"order","stringListValues":[],"binaryListValues":[],"dataType":"String"}},` +
			`"eventSourceARN":"arn:aws:sqs:eu-north-1:000000000000:Orders","eventSource":"aws:sqs","awsRegion":"eu-north-1"}]}` + "\n"
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		if got := states(b.q); got != "" {
			t.Errorf("left: %s", got)
		}
	})
}

func TestBatchResponses(t *testing.T) {
	t.Parallel()
	const all = "a=in flight b=in flight c=in flight"
	tests := []struct {
		name  string
		reply string // A, B and C stand for the ids of a, b and c
		err   error
		whole bool // without ReportBatchItemFailures
		want  string
	}{
		{name: "nothing", reply: ``},
		{name: "null", reply: `null`},
		{name: "empty object", reply: `{}`},
		{name: "null list", reply: `{"batchItemFailures":null}`},
		{name: "empty list", reply: `{"batchItemFailures":[]}`},
		{name: "another member", reply: `{"failures":[1]}`},
		{name: "one", reply: `{"batchItemFailures":[{"itemIdentifier":"B"}]}`, want: "b=in flight"},
		{name: "one twice", reply: `{"batchItemFailures":[{"itemIdentifier":"B"},{"itemIdentifier":"B"}]}`, want: "b=in flight"},
		{name: "all", reply: `{"batchItemFailures":[{"itemIdentifier":"A"},{"itemIdentifier":"B"},{"itemIdentifier":"C"}]}`, want: all},
		{name: "unknown id", reply: `{"batchItemFailures":[{"itemIdentifier":"B"},{"itemIdentifier":"x"}]}`, want: all},
		{name: "empty id", reply: `{"batchItemFailures":[{"itemIdentifier":""}]}`, want: all},
		{name: "null id", reply: `{"batchItemFailures":[{"itemIdentifier":null}]}`, want: all},
		{name: "number as id", reply: `{"batchItemFailures":[{"itemIdentifier":1}]}`, want: all},
		{name: "bad key", reply: `{"batchItemFailures":[{"itemidentifier":"B"}]}`, want: all},
		{name: "null entry", reply: `{"batchItemFailures":[null]}`, want: all},
		{name: "ids only", reply: `{"batchItemFailures":["B"]}`, want: all},
		{name: "not a list", reply: `{"batchItemFailures":{}}`, want: all},
		{name: "not JSON", reply: `ok`, want: all},
		{name: "list", reply: `[]`, want: all},
		{name: "error", err: errors.New("boom"), want: all},
		{name: "whole batch", whole: true, reply: `{"batchItemFailures":[{"itemIdentifier":"B"}]}`},
		{name: "whole batch, not JSON", whole: true, reply: `ok`},
		{name: "whole batch, error", whole: true, err: errors.New("boom"), want: all},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := fromOrders
				source.PartialBatch = !tt.whole
				source.BatchSize, source.Window = 3, time.Second
				r := &batches{reply: func(e events.SQSEvent) (string, error) {
					ids := strings.NewReplacer(`"A"`, `"`+e.Records[0].MessageId+`"`, `"B"`, `"`+e.Records[1].MessageId+`"`, `"C"`, `"`+e.Records[2].MessageId+`"`)
					return ids.Replace(tt.reply), tt.err
				}}
				b := start(t, queue.PumpConfig{Source: source, Invoke: r.invoke})
				send(t, b.q, ":a", ":b", ":c")
				b.drain()
				if diff := cmp.Diff([]string{"a b c"}, r.seen()); diff != "" {
					t.Fatalf("batches (-want +got):\n%s", diff)
				}
				if got := states(b.q); got != tt.want {
					t.Errorf("left: %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestFailedBatchComesAgainThenDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &batches{reply: failing("bad")}
		b := start(t, queue.PumpConfig{Source: fromOrders, Invoke: r.invoke})
		send(t, b.q, ":good", ":bad")
		b.drain()
		for range 2 {
			time.Sleep(30*time.Second - 1)
			b.drain()
			if got := states(b.q); got != "bad=in flight" {
				t.Fatalf("before the visibility timeout: %s", got)
			}
			time.Sleep(time.Nanosecond)
			b.drain()
		}
		time.Sleep(30 * time.Second)
		b.drain()
		if got := states(named(t, b.b, "Dead")); got != "bad=visible" || states(b.q) != "" {
			t.Errorf("dead letters: %q, left: %q", got, states(b.q))
		}
		tries := 0
		for _, batch := range r.seen() {
			tries += strings.Count(batch, "bad")
		}
		if tries != 3 {
			t.Errorf("%d tries, want maxReceiveCount, 3: %q", tries, r.seen())
		}
	})
}

func TestWorkerMovesItsMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q *queue.Queue
		first := true
		var again time.Duration
		begin := time.Now()
		r := &batches{reply: func(e events.SQSEvent) (string, error) {
			if !first {
				again = time.Since(begin)
				return "", nil
			}
			first = false
			if err := q.Delay(context.Background(), e.Records[0].ReceiptHandle, 7*time.Minute); err != nil {
				return "", err
			}
			return failing("a")(e)
		}}
		b := start(t, queue.PumpConfig{Source: fromOrders, Invoke: r.invoke})
		q = b.q
		send(t, b.q, ":a")
		time.Sleep(10 * time.Minute)
		b.drain()
		if again != 7*time.Minute || states(b.q) != "" {
			t.Errorf("delivered again after %v, want 7m; left %q", again, states(b.q))
		}
	})
}

func TestFIFOKeepsEverythingAfterTheFirstFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		failed := false
		r := &batches{}
		r.reply = func(e events.SQSEvent) (string, error) {
			if failed {
				return "", nil
			}
			failed = true
			return failing("2")(e)
		}
		source := fromHistory
		b := broker(t, history, historyDead)
		q := named(t, b, "History")
		send(t, q, "a:1", "a:2", "a:3", "b:4") // before the pump, so that they are one batch
		p, err := queue.NewPump(b, queue.PumpConfig{Source: source, Function: orderWorker, Invoke: r.invoke, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		if err := b.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		if got := states(q); got != "2=in flight 3=in flight 4=in flight" {
			t.Errorf("left: %s", got)
		}
		send(t, q, "a:5")
		time.Sleep(time.Second)
		if err := b.Drain(ctx); err != nil || states(q) != "2=in flight 3=in flight 4=in flight 5=visible" {
			t.Errorf("%v; the group did not wait: %s", err, states(q))
		}
		time.Sleep(30 * time.Second)
		if err := b.Drain(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if got := strings.Join(r.seen()[1:], " "); strings.ReplaceAll(got, "4", "") == got || strings.ReplaceAll(strings.ReplaceAll(got, " 4", ""), "4 ", "") != "2 3 5" {
			t.Errorf("batches: %q, want 2, 3, 5 in order and 4", r.seen())
		}
		if !strings.Contains(log.String(), "must name every message from the first failure on") {
			t.Errorf("no warning that Lambda would have deleted them:\n%s", log.String())
		}
	})
}

func TestFunctionErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		invoke queue.Invoke
		after  time.Duration
		cause  string
	}{
		{"panic", func(context.Context, string, []byte) ([]byte, error) { panic("boom") }, 0, "panic: boom"},
		{"error", func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("boom") }, 0, "boom"},
		{"time-out, heeded", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return []byte("{}"), nil // comes too late to count
		}, 5 * time.Second, "timed out after 5s"},
		{"time-out, not heeded", func(context.Context, string, []byte) ([]byte, error) {
			time.Sleep(time.Minute)
			return []byte("{}"), nil
		}, 5 * time.Second, "timed out after 5s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				begin := time.Now()
				b := start(t, queue.PumpConfig{Source: fromOrders, Invoke: tt.invoke, Log: slog.New(slog.NewTextHandler(&log, nil))})
				send(t, b.q, ":a")
				b.drain()
				if took := time.Since(begin); took != tt.after || states(b.q) != "a=in flight" {
					t.Errorf("after %v: %s; want it in flight after %v", took, states(b.q), tt.after)
				}
				if got := log.String(); !strings.Contains(got, tt.cause) || !strings.Contains(got, "queue=Orders function=order-worker records=1 left=1") {
					t.Errorf("log: %s", got)
				}
			})
		})
	}
}

func TestBatching(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		size   int
		window time.Duration
		every  time.Duration // between messages
		want   []string
	}{
		{"at once", 10, 0, time.Second, []string{"0", "1", "2", "3", "4"}},
		{"window", 10, 2500 * time.Millisecond, time.Second, []string{"0 1 2", "3 4"}},
		{"size before window", 2, 10 * time.Second, time.Second, []string{"0 1", "2 3", "4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := fromOrders
				source.BatchSize, source.Window = tt.size, tt.window
				r := &batches{}
				b := start(t, queue.PumpConfig{Source: source, Invoke: r.invoke})
				for i := range 5 {
					send(t, b.q, fmt.Sprintf(":%d", i))
					time.Sleep(tt.every)
				}
				b.drain()
				if diff := cmp.Diff(tt.want, r.seen()); diff != "" {
					t.Errorf("batches (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestBatchStaysUnderSixMegabytes with bodies that are twice as long in JSON.
func TestBatchStaysUnderSixMegabytes(t *testing.T) {
	t.Parallel()
	var largest atomic.Int64
	var total atomic.Int64
	b := broker(t, orders, dead)
	q := named(t, b, "Orders")
	for i := range 7 {
		if err := q.Send(t.Context(), worker.Message{Group: "g", Body: strings.Repeat([]string{`"`, "\u2028", "a", "å"}[i%4], 1<<18)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		if err := q.Send(t.Context(), worker.Message{Group: "g", Body: strings.Repeat(`"`, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := queue.NewPump(b, queue.PumpConfig{Source: fromOrders, Function: orderWorker, Invoke: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
		largest.Store(max(largest.Load(), int64(len(payload))))
		total.Add(int64(strings.Count(string(payload), `"messageId"`)))
		return nil, nil
	}, Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	if err := b.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if got := largest.Load(); got > queue.MaxEvent || got < queue.MaxEvent/2 || total.Load() != 11 {
		t.Errorf("largest event %d bytes, %d messages; want 11, and a good use of %d", got, total.Load(), queue.MaxEvent)
	}
	for _, m := range q.Messages() {
		t.Errorf("left: %d bytes, received %d times", len(m.Body), m.Receives)
	}
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ source, config, want int }{
		"default": {0, 0, 5}, "template's": {3, 0, 3}, "own": {3, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var running, most atomic.Int64
				source := fromOrders
				source.BatchSize, source.MaxConcurrency = 1, tt.source
				b := start(t, queue.PumpConfig{Source: source, Concurrency: tt.config, Invoke: func(context.Context, string, []byte) ([]byte, error) {
					most.Store(max(most.Load(), running.Add(1)))
					time.Sleep(time.Second)
					running.Add(-1)
					return nil, nil
				}})
				begin := time.Now()
				for i := range 12 {
					send(t, b.q, fmt.Sprintf(":%d", i))
				}
				b.drain()
				if want := time.Duration((12+tt.want-1)/tt.want) * time.Second; int(most.Load()) != tt.want || time.Since(begin) != want {
					t.Errorf("%d at once for %v, want %d for %v", most.Load(), time.Since(begin), tt.want, want)
				}
			})
		})
	}
}

func TestDisabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := fromOrders
		source.Enabled = false
		r := &batches{}
		b := start(t, queue.PumpConfig{Source: source, Invoke: r.invoke})
		send(t, b.q, ":a")
		time.Sleep(time.Hour)
		b.drain()
		if !b.b.Idle() || states(b.q) != "a=visible" || len(r.seen()) != 0 {
			t.Errorf("left: %s, batches %q", states(b.q), r.seen())
		}
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// The orders' worker hands everything on to history, whose worker is slow.
		var b *bench
		pass := func(ctx context.Context, _ string, payload []byte) ([]byte, error) {
			var e events.SQSEvent
			if err := json.Unmarshal(payload, &e); err != nil {
				return nil, err
			}
			next, _ := b.b.Queue("History")
			for _, m := range e.Records {
				if err := next.Send(ctx, worker.Message{Body: m.Body, Group: "g", Dedup: m.Body}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
		r := &batches{reply: func(events.SQSEvent) (string, error) { time.Sleep(time.Second); return "", nil }}
		b = start(t, queue.PumpConfig{Source: fromOrders, Invoke: pass}, queue.PumpConfig{Source: fromHistory, Invoke: r.invoke})
		if !b.b.Idle() {
			t.Error("not idle with nothing to do")
		}
		send(t, b.q, ":a", ":b", ":c")
		if b.b.Idle() {
			t.Error("idle with messages")
		}
		b.drain()
		if got := strings.Join(r.seen(), " "); got != "a b c" || !b.b.Idle() {
			t.Errorf("after Drain: %q, idle %t", got, b.b.Idle())
		}

		stuck, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		send(t, b.q, ":d")
		if err := b.b.Drain(stuck); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain = %v, want the context's error", err)
		}
		b.drain()
	})
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := fromOrders
		source.BatchSize, source.Window = 2, time.Minute
		b := broker(t, orders, dead)
		q := named(t, b, "Orders")
		var ended error
		p, err := queue.NewPump(b, queue.PumpConfig{Source: source, Function: orderWorker, Invoke: func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			ended = ctx.Err()
			return nil, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		send(t, q, ":a", ":b", ":c") // two at work, one waiting for its window
		time.Sleep(time.Second)
		synctest.Wait()
		if b.Idle() {
			t.Error("idle while a function runs")
		}
		cancel()
		<-done
		if !errors.Is(ended, context.Canceled) || !slices.Contains(strings.Fields(states(q)), "c=visible") || q.Counts().InFlight != 2 {
			t.Errorf("context %v, left %s; want two in flight and c given back", ended, states(q))
		}
	})
}

func TestNewPumpRefuses(t *testing.T) {
	t.Parallel()
	b := broker(t, orders, dead)
	r := &batches{}
	for name, c := range map[string]queue.PumpConfig{
		"no queue":       {Source: fromHistory, Function: orderWorker, Invoke: r.invoke},
		"other function": {Source: fromOrders, Function: template.Function{ID: "Other"}, Invoke: r.invoke},
		"no invoke":      {Source: fromOrders, Function: orderWorker},
	} {
		if _, err := queue.NewPump(b, c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestEverythingEndsSomewhere lets things go wrong at random: every message is
// done or dead, none is lost, and FIFO groups keep their order.
func TestEverythingEndsSomewhere(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				rnd := rand.New(rand.NewPCG(seed, 1))
				chance := func(percent int) bool {
					mu.Lock()
					defer mu.Unlock()
					return rnd.IntN(100) < percent
				}
				finished := map[string]bool{}
				order := map[string][]string{} // by FIFO group, of first success
				invoke := func(ctx context.Context, _ string, payload []byte) ([]byte, error) {
					var e events.SQSEvent
					if err := json.Unmarshal(payload, &e); err != nil {
						return nil, err
					}
					if chance(10) {
						panic("killed")
					}
					if chance(10) {
						time.Sleep(40 * time.Second) // over time-out and visibility timeout
						return nil, ctx.Err()        // Lambda would have ended it
					}
					var resp events.SQSEventResponse
					for _, m := range e.Records {
						isFIFO := strings.HasSuffix(m.EventSourceARN, ".fifo")
						if chance(30) || isFIFO && len(resp.BatchItemFailures) > 0 {
							resp.BatchItemFailures = append(resp.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
							continue
						}
						mu.Lock()
						if g := m.Attributes["MessageGroupId"]; isFIFO && !finished[m.Body] {
							order[g] = append(order[g], m.Body)
						}
						finished[m.Body] = true
						mu.Unlock()
					}
					return json.Marshal(resp)
				}
				b := start(t, queue.PumpConfig{Source: fromOrders, Invoke: invoke}, queue.PumpConfig{Source: fromHistory, Invoke: invoke})
				b.q.SetFaults(queue.Faults{Duplicate: func(worker.Message) bool { return chance(20) }})
				for i := range 60 {
					send(t, b.q, fmt.Sprintf("g%d:s%03d", i%3, i))
					send(t, named(t, b.b, "History"), fmt.Sprintf("g%d:f%03d", i%3, i))
					if chance(10) {
						b.q.Redeliver(func(queue.Message) bool { return chance(50) })
					}
				}
				time.Sleep(2 * time.Hour)
				b.drain()
				for _, id := range []string{"Orders", "History"} {
					if got := states(named(t, b.b, id)); got != "" {
						t.Errorf("%s after two hours: %s", id, got)
					}
				}
				mu.Lock() // a function that timed out may have ended without anyone waiting for it
				defer mu.Unlock()
				for _, id := range []string{"Dead", "HistoryDead"} {
					for _, m := range named(t, b.b, id).Messages() {
						finished[m.Body] = true
					}
				}
				if len(finished) != 120 {
					t.Errorf("%d of 120 messages are done or dead", len(finished))
				}
				for g, done := range order {
					if !slices.IsSorted(done) {
						t.Errorf("group %s was worked on in the order %v", g, done)
					}
				}
			})
		})
	}
}

func BenchmarkPump(b *testing.B) {
	for _, workers := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			br := broker(b, orders, dead)
			q := named(b, br, "Orders")
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			p, err := queue.NewPump(br, queue.PumpConfig{Source: fromOrders, Function: orderWorker, Concurrency: workers, Invoke: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
				if left.Add(-int64(bytes.Count(payload, []byte(`"messageId"`)))) == 0 {
					close(done)
				}
				return nil, nil
			}})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() { p.Run(ctx); close(ended) }()
			m := worker.Message{Body: strings.Repeat("x", 4096)}
			b.ReportAllocs()
			for i := range b.N {
				m.Group = groups[i%len(groups)]
				if err := q.Send(ctx, m); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.StopTimer()
			cancel()
			<-ended
		})
	}
}

var groups = []string{"a", "b", "c", "d", "e", "f", "g", "h"}
