package queue_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

// orders is a standard queue with a dead-letter queue, history a FIFO one.
var (
	orders      = template.Queue{ID: "Orders", Visibility: 30 * time.Second, Retention: 4 * day, DeadLetters: "Dead", MaxReceives: 3}
	dead        = template.Queue{ID: "Dead", Visibility: 30 * time.Second, Retention: 14 * day}
	history     = template.Queue{ID: "History", FIFO: true, Visibility: 30 * time.Second, Retention: 4 * day, DeadLetters: "HistoryDead", MaxReceives: 2}
	historyDead = template.Queue{ID: "HistoryDead", FIFO: true, ContentDedup: true, Visibility: 30 * time.Second, Retention: 4 * day}
)

func broker(t testing.TB, queues ...template.Queue) *queue.Broker {
	t.Helper()
	b, err := queue.NewBroker(queues)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func named(t testing.TB, b *queue.Broker, id string) *queue.Queue {
	t.Helper()
	q, ok := b.Queue(id)
	if !ok {
		t.Fatalf("no queue %q", id)
	}
	return q
}

func standard(t testing.TB) (q, dlq *queue.Queue) {
	t.Helper()
	b := broker(t, orders, dead)
	return named(t, b, "Orders"), named(t, b, "Dead")
}

func fifo(t testing.TB) (q, dlq *queue.Queue) {
	t.Helper()
	b := broker(t, history, historyDead)
	return named(t, b, "History"), named(t, b, "HistoryDead")
}

// send puts messages written as group:body on a queue.
func send(t testing.TB, q *queue.Queue, messages ...string) {
	t.Helper()
	for _, s := range messages {
		group, body, _ := strings.Cut(s, ":")
		if group == "" {
			group = "0a1b"
		}
		m := worker.Message{Group: group, Body: body}
		if strings.HasSuffix(q.Name(), ".fifo") {
			m.Dedup = body
		}
		if err := q.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func bodies(batch []events.SQSMessage) string {
	var out []string
	for _, m := range batch {
		out = append(out, m.Body)
	}
	return strings.Join(out, " ")
}

// states writes what is in a queue as body=state.
func states(q *queue.Queue) string {
	var out []string
	for _, m := range q.Messages() {
		out = append(out, m.Body+"="+string(m.State))
	}
	return strings.Join(out, " ")
}

func code(err error) string {
	if e, ok := errors.AsType[*queue.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func TestSendChecks(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m["a"+strconv.Itoa(i)] = "x"
		}
		return m
	}
	tests := []struct {
		name  string
		queue string
		m     worker.Message
		kind  fault.Kind
		want  string // code, <nil> if taken
	}{
		{"plain", "Orders", worker.Message{Body: "x", Group: "g"}, 0, "<nil>"},
		{"group on standard", "Orders", worker.Message{Body: "x", Group: "0a1b"}, 0, "<nil>"},
		{"no group on standard", "Orders", worker.Message{Body: "x"}, fault.Internal, "InvalidParameterValue"},
		{"dedup on standard", "Orders", worker.Message{Body: "x", Group: "g", Dedup: "å"}, 0, "<nil>"},
		{"empty", "Orders", worker.Message{Group: "g"}, fault.Invalid, "MissingParameter"},
		{"1 MiB", "Orders", worker.Message{Body: strings.Repeat("a", mb), Group: "g"}, 0, "<nil>"},
		{"over 1 MiB", "Orders", worker.Message{Body: strings.Repeat("a", mb+1), Group: "g"}, fault.TooLarge, "InvalidParameterValue"},
		{"1 MiB with attribute", "Orders", worker.Message{Body: strings.Repeat("a", mb-11), Attributes: map[string]string{"abc": "de"}, Group: "g"}, 0, "<nil>"},
		{"over 1 MiB with attribute", "Orders", worker.Message{Body: strings.Repeat("a", mb-10), Attributes: map[string]string{"abc": "de"}, Group: "g"}, fault.TooLarge, "InvalidParameterValue"},
		{"bytes count, not letters", "Orders", worker.Message{Body: strings.Repeat("å", mb/2+1), Group: "g"}, fault.TooLarge, "InvalidParameterValue"},
		{"10 attributes", "Orders", worker.Message{Body: "x", Attributes: many(10), Group: "g"}, 0, "<nil>"},
		{"11 attributes", "Orders", worker.Message{Body: "x", Attributes: many(11), Group: "g"}, fault.Internal, "InvalidParameterValue"},
		{"empty attribute", "Orders", worker.Message{Body: "x", Attributes: map[string]string{"a": "", "..": ""}, Group: "g"}, 0, "<nil>"},
		{"attribute's name", "Orders", worker.Message{Body: "x", Attributes: map[string]string{"a b": "c"}, Group: "g"}, fault.Internal, "InvalidParameterValue"},
		{"dots in a name", "Orders", worker.Message{Body: "x", Attributes: map[string]string{"a..b": "c"}, Group: "g"}, fault.Internal, "InvalidParameterValue"},
		{"reserved name", "Orders", worker.Message{Body: "x", Attributes: map[string]string{"AWS.a": "c"}, Group: "g"}, fault.Internal, "InvalidParameterValue"},
		{"bad attribute", "Orders", worker.Message{Body: "x", Attributes: map[string]string{"a": "\x01"}, Group: "g"}, fault.Invalid, "InvalidMessageContents"},
		{"white space", "Orders", worker.Message{Body: "\t\n\r ", Group: "g"}, 0, "<nil>"},
		{"control character", "Orders", worker.Message{Body: "a\x00", Group: "g"}, fault.Invalid, "InvalidMessageContents"},
		{"not a character", "Orders", worker.Message{Body: "a\uffff", Group: "g"}, fault.Invalid, "InvalidMessageContents"},
		{"replacement character", "Orders", worker.Message{Body: "a\ufffd", Group: "g"}, 0, "<nil>"},
		{"astral", "Orders", worker.Message{Body: "🛒", Group: "g"}, 0, "<nil>"},
		{"not UTF-8", "Orders", worker.Message{Body: "a\xff", Group: "g"}, fault.Invalid, "InvalidMessageContents"},
		{"surrogate", "Orders", worker.Message{Body: "\xed\xa0\x80", Group: "g"}, fault.Invalid, "InvalidMessageContents"},
		{"group with space", "Orders", worker.Message{Body: "x", Group: "a b"}, fault.Internal, "InvalidParameterValue"},
		{"group of 129", "Orders", worker.Message{Body: "x", Group: strings.Repeat("a", 129)}, fault.Internal, "InvalidParameterValue"},
		{"FIFO", "History", worker.Message{Body: "x", Group: "a", Dedup: "1"}, 0, "<nil>"},
		{"FIFO without group", "History", worker.Message{Body: "x", Dedup: "1"}, fault.Internal, "InvalidParameterValue"},
		{"FIFO without dedup", "History", worker.Message{Body: "x", Group: "a"}, fault.Internal, "InvalidParameterValue"},
		{"FIFO with bad dedup", "History", worker.Message{Body: "x", Group: "a", Dedup: "å"}, fault.Internal, "InvalidParameterValue"},
		{"delayed", "Orders", worker.Message{Body: "x", Group: "g", Delay: 15 * time.Minute}, 0, "<nil>"},
		{"delayed too long", "Orders", worker.Message{Body: "x", Group: "g", Delay: 15*time.Minute + 1}, fault.Internal, "InvalidParameterValue"},
		{"delayed on FIFO", "History", worker.Message{Body: "x", Group: "a", Dedup: "1", Delay: 1}, fault.Internal, "InvalidParameterValue"},
		{"FIFO by content", "HistoryDead", worker.Message{Body: "x", Group: "a"}, 0, "<nil>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := named(t, broker(t, orders, dead, history, historyDead), tt.queue)
			err := q.Send(t.Context(), tt.m)
			if code(err) != tt.want || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("Send: %v (%s), want %s (%s)", err, fault.KindOf(err), tt.want, tt.kind)
			}
			want := 0
			if tt.want == "<nil>" {
				want = 1
			}
			if got := q.Counts(); got.Visible+got.Delayed != want || got.Delayed > 0 != (want > 0 && tt.m.Delay > 0) {
				t.Errorf("%+v, want %d messages", got, want)
			}
		})
	}
}

// TestContract runs the suite that the adapter of SQS passes too.
func TestContract(t *testing.T) {
	t.Parallel()
	alone := history
	alone.DeadLetters = ""
	for name, def := range map[string]template.Queue{"standard": dead, "fifo": alone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract.Queue(t, func(t *testing.T) contract.QueueUnderTest {
				q := named(t, broker(t, def), def.ID)
				return contract.QueueUnderTest{
					Sender: q, Delayer: q, FIFO: def.FIFO,
					Receive: func(_ *testing.T, n int) []contract.Delivery {
						var out []contract.Delivery
						for _, m := range q.Receive(n) {
							attrs := map[string]string{}
							for name, a := range m.MessageAttributes {
								attrs[name] = *a.StringValue
							}
							count, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
							if err != nil {
								t.Fatal(err)
							}
							out = append(out, contract.Delivery{
								ID: m.MessageId, Receipt: m.ReceiptHandle, Body: m.Body,
								Group: m.Attributes["MessageGroupId"], Attributes: attrs, Count: count,
							})
						}
						return out
					},
					Delete: func(t *testing.T, receipt string) {
						if err := q.Delete(receipt); err != nil {
							t.Fatal(err)
						}
					},
				}
			})
		})
	}
}

func TestSendAfterContextEnded(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Send(ctx, worker.Message{Body: "x", Group: "g"}); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable || len(q.Messages()) != 0 {
		t.Errorf("Send = %v with %d messages, want Canceled, unavailable and none", err, len(q.Messages()))
	}
	if err := q.Delay(ctx, "", 0); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable || fault.As(err).Message != "" {
		t.Errorf("Delay = %v, want Canceled, unavailable, nothing for a caller to read", err)
	}
}

func TestNewBrokerRefuses(t *testing.T) {
	t.Parallel()
	self := template.Queue{ID: "Q", DeadLetters: "Q", MaxReceives: 1}
	for name, queues := range map[string][]template.Queue{
		"twice": {dead, dead}, "no dead-letter queue": {orders}, "itself": {self},
	} {
		if _, err := queue.NewBroker(queues); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, _ := standard(t)
		sent := worker.Message{Body: `{"orderid":1}`, Group: "0a1b", Attributes: map[string]string{"timestamp": "1493147359900", "kind": "order"}}
		if err := q.Send(t.Context(), sent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		first := q.Receive(10)
		time.Sleep(30 * time.Second)
		second := q.Receive(10)
		if len(first) != 1 || len(second) != 1 {
			t.Fatalf("received %d, then %d messages, want 1 and 1", len(first), len(second))
		}
		if first[0].ReceiptHandle == second[0].ReceiptHandle {
			t.Error("both deliveries have one receipt handle")
		}
		text := func(s string) events.SQSMessageAttribute {
			return events.SQSMessageAttribute{StringValue: &s, StringListValues: []string{}, BinaryListValues: [][]byte{}, DataType: "String"}
		}
		want := events.SQSMessage{
			MessageId:              first[0].MessageId,
			ReceiptHandle:          second[0].ReceiptHandle,
			Body:                   `{"orderid":1}`,
			Md5OfBody:              second[0].Md5OfBody,
			Md5OfMessageAttributes: second[0].Md5OfMessageAttributes, // both: TestDigests
			Attributes: map[string]string{
				"ApproximateReceiveCount": "2", "SentTimestamp": "946684800000", "SenderId": "000000000000",
				"ApproximateFirstReceiveTimestamp": "946684802000", "MessageGroupId": "0a1b",
			},
			MessageAttributes: map[string]events.SQSMessageAttribute{"timestamp": text("1493147359900"), "kind": text("order")},
			EventSourceARN:    "arn:aws:sqs:eu-north-1:000000000000:Orders",
			EventSource:       "aws:sqs",
			AWSRegion:         "eu-north-1",
		}
		if diff := cmp.Diff(want, second[0]); diff != "" {
			t.Errorf("second delivery (-want +got):\n%s", diff)
		}
	})
}

// TestDigests compares with what other programs compute: md5sum, and the
// algorithm of the developer guide done by hand in Python.
func TestDigests(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	m := worker.Message{Body: "Message Body", Group: "g", Attributes: map[string]string{"timestamp": "1493147359900", "kind": "order"}}
	if err := q.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	send(t, q, ":plain")
	got := q.Receive(2)
	if want := "77a3cf88eba293be44f5fd5c61835a43"; got[0].Md5OfBody != want {
		t.Errorf("md5OfBody = %s, want %s", got[0].Md5OfBody, want)
	}
	if want := "8b33396b6b0fe180d5f2ba319946a93a"; got[0].Md5OfMessageAttributes != want {
		t.Errorf("md5OfMessageAttributes = %s, want %s", got[0].Md5OfMessageAttributes, want)
	}
	if got[1].Md5OfMessageAttributes != "" {
		t.Errorf("md5OfMessageAttributes without attributes = %s", got[1].Md5OfMessageAttributes)
	}
}

func TestVisibility(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, _ := standard(t)
		send(t, q, ":a")
		receipt := q.Receive(1)[0].ReceiptHandle
		delay := func(d time.Duration) string { return code(q.Delay(t.Context(), receipt, d)) }
		if got := bodies(q.Receive(1)); got != "" {
			t.Errorf("received %q while in flight", got)
		}
		time.Sleep(29 * time.Second)
		if got := delay(time.Minute); got != "<nil>" {
			t.Fatal(got)
		}
		time.Sleep(time.Minute - 1)
		if got := q.Counts(); got != (queue.Counts{InFlight: 1}) {
			t.Errorf("counts = %+v, want one in flight", got)
		}
		for _, d := range []time.Duration{12 * time.Hour, 400 * time.Hour} {
			got := delay(d)
			if m := q.Messages()[0]; got != "<nil>" || m.VisibleAt.Sub(m.FirstReceive) != 12*time.Hour {
				t.Errorf("Delay(%v): %s, until %v after the receive; want 12h", d, got, m.VisibleAt.Sub(m.FirstReceive))
			}
		}
		if got := delay(1200 * time.Millisecond); got != "<nil>" { // two seconds
			t.Fatal(got)
		}
		time.Sleep(2*time.Second - 1)
		if got := states(q); got != "a=in flight" {
			t.Errorf("after 1.9 s: %s", got)
		}
		time.Sleep(time.Nanosecond)
		if got := states(q); got != "a=visible" {
			t.Errorf("after 2 s: %s", got)
		}
		if got := delay(time.Second); got != "MessageNotInflight" {
			t.Errorf("Delay of a visible message: %s", got)
		}
		old := receipt
		receipt = q.Receive(1)[0].ReceiptHandle
		for _, d := range []time.Duration{0, 0, -time.Hour} { // repeated
			if got := delay(d); got != "<nil>" || states(q) != "a=visible" {
				t.Errorf("Delay(%v): %s, %s", d, got, states(q))
			}
		}
		receipt = old
		if got := delay(0); got != "MessageNotInflight" {
			t.Errorf("Delay of an old delivery: %s", got)
		}
		if got := code(q.Delay(t.Context(), "nonsense", 0)); got != "ReceiptHandleIsInvalid" {
			t.Errorf("unknown receipt: %s", got)
		}
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, dlq := standard(t)
		send(t, q, ":a")
		old := q.Receive(1)[0].ReceiptHandle
		time.Sleep(30 * time.Second)
		latest := q.Receive(1)[0].ReceiptHandle
		if err := q.Delete(old); err != nil || states(q) != "a=in flight" {
			t.Errorf("with the old handle: %v, %s; want nothing to happen", err, states(q))
		}
		time.Sleep(30 * time.Second)
		if err := q.Delete(latest); err != nil || states(q) != "" {
			t.Errorf("after the visibility timeout: %v, %s; want it deleted", err, states(q))
		}
		if err := q.Delete(latest); err != nil {
			t.Errorf("again: %v", err)
		}
		for _, bad := range []string{"", "a", "T3JkZXJz", latest[1:], "T3JkZXJzL3gvMQ=="} {
			if got := code(q.Delete(bad)); got != "ReceiptHandleIsInvalid" {
				t.Errorf("Delete(%q): %s", bad, got)
			}
		}
		if got := code(dlq.Delete(latest)); got != "ReceiptHandleIsInvalid" {
			t.Errorf("another queue's handle: %s", got)
		}

		f, _ := fifo(t)
		send(t, f, "g:a")
		handle := f.Receive(1)[0].ReceiptHandle
		time.Sleep(30 * time.Second)
		if got := code(f.Delete(handle)); got != "InvalidParameterValue" || states(f) != "a=visible" {
			t.Errorf("FIFO after the visibility timeout: %s, %s; want it refused", got, states(f))
		}
	})
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, dlq := standard(t)
		start := time.Now()
		send(t, q, "g:poison", "h:good")
		for i := range 3 {
			for _, m := range q.Receive(10) {
				if m.Body == "good" {
					if err := q.Delete(m.ReceiptHandle); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(30 * time.Second)
			// Visible again, and not moved before somebody asks for it.
			if states(q) != "poison=visible" || states(dlq) != "" {
				t.Fatalf("after receive %d: %s, dead letters %s", i+1, states(q), states(dlq))
			}
		}
		if got := bodies(q.Receive(10)); got != "" {
			t.Errorf("the fourth receive gave %q", got)
		}
		want := []queue.Message{{Body: "poison", Group: "g", State: queue.Visible, Receives: 3, Sent: start, FirstReceive: start, VisibleAt: time.Now(), Source: "Orders"}}
		got := dlq.Messages()
		for i := range got {
			got[i].ID = ""
		}
		if diff := cmp.Diff(want, got); diff != "" || len(q.Messages()) != 0 {
			t.Errorf("dead letters (-want +got):\n%s", diff)
		}
		m := dlq.Receive(1)[0]
		if m.Attributes["DeadLetterQueueSourceArn"] != q.ARN() || m.Attributes["ApproximateReceiveCount"] != "4" {
			t.Errorf("attributes of the dead letter = %v", m.Attributes)
		}
	})
}

func TestRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, dlq := standard(t)
		send(t, q, ":a", ":b")
		time.Sleep(4*day - time.Second)
		if got := bodies(q.Receive(1)); got != "a" {
			t.Errorf("just before: %q", got)
		}
		time.Sleep(time.Second)
		if got := bodies(q.Receive(10)) + states(q); got != "" {
			t.Errorf("after 4 days: %q", got)
		}

		// A standard dead-letter queue counts from the first sending, a FIFO one
		// from the arrival.
		f, fdlq := fifo(t)
		send(t, q, ":a")
		send(t, f, "g:a")
		time.Sleep(3 * day)
		for range 4 {
			q.Receive(1)
			f.Receive(1)
			time.Sleep(30 * time.Second)
		}
		time.Sleep(2 * day)
		if states(dlq) != "a=visible" || states(fdlq) != "a=visible" {
			t.Errorf("dead letters: %q, FIFO %q", states(dlq), states(fdlq))
		}
		time.Sleep(9 * day)
		if states(dlq) != "" {
			t.Errorf("14 days after sending: %q", states(dlq))
		}
	})
}

func TestDelayedQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := dead
		def.Delay = time.Minute
		q := named(t, broker(t, def), "Dead")
		send(t, q, ":a")
		if got := bodies(q.Receive(1)); got != "" || q.Counts() != (queue.Counts{Delayed: 1}) {
			t.Errorf("received %q, counts %+v; want it delayed", got, q.Counts())
		}
		time.Sleep(time.Minute)
		if got := bodies(q.Receive(1)); got != "a" {
			t.Errorf("after the delay: %q", got)
		}
	})
}

func TestDelayedMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := dead
		def.Delay = time.Minute
		q := named(t, broker(t, def), "Dead")
		for body, delay := range map[string]time.Duration{
			"own": 0, "past": -time.Hour, "1s": 1, "2s": time.Second + 1, "15m": 15 * time.Minute,
		} {
			if err := q.Send(t.Context(), worker.Message{Body: body, Group: "g", Delay: delay}); err != nil {
				t.Fatal(err)
			}
		}
		if got := q.Counts(); got != (queue.Counts{Delayed: 5}) {
			t.Errorf("counts %+v, want all delayed", got)
		}
		begin := time.Now()
		for _, tt := range []struct {
			at   time.Duration
			want []string
		}{
			{time.Second - 1, nil},
			{time.Second, []string{"1s"}},
			{2*time.Second - 1, nil},
			{2 * time.Second, []string{"2s"}},
			{time.Minute - 1, nil},
			{time.Minute, []string{"own", "past"}}, // the queue's
			{15*time.Minute - 1, nil},
			{15 * time.Minute, []string{"15m"}},
		} {
			time.Sleep(tt.at - time.Since(begin))
			got := q.Receive(10)
			list := strings.Fields(bodies(got))
			slices.Sort(list)
			if !slices.Equal(list, tt.want) {
				t.Errorf("after %v: %q, want %q", tt.at, list, tt.want)
			}
			for _, m := range got {
				if m.Attributes["ApproximateReceiveCount"] != "1" {
					t.Errorf("%s: the delay counted as a receive", m.Body)
				}
				if err := q.Delete(m.ReceiptHandle); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestGroupsTakeTurnsOnStandard(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	for i := range 6 {
		send(t, q, fmt.Sprintf("big:b%d", i))
	}
	send(t, q, "small:s0", "mid:m0", "mid:m1", "one:o0")
	if got, want := bodies(q.Receive(3)), "b0 s0 m0"; got != want {
		t.Errorf("first %q, want %q", got, want)
	}
	if got, want := bodies(q.Receive(7)), "o0 b1 m1 b2 b3 b4 b5"; got != want {
		t.Errorf("then %q, want %q", got, want)
	}
}

func TestFIFO(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, dlq := fifo(t)
		send(t, q, "a:1", "a:2", "b:3", "a:4", "a:4", "b:5")
		if got := states(q); strings.Count(got, "4=") != 1 {
			t.Errorf("a deduplication id that was seen gave a message: %s", got)
		}
		first := q.Receive(2)
		if bodies(first) != "1 2" || bodies(q.Receive(10)) != "3 5" || bodies(q.Receive(10)) != "" {
			t.Fatalf("want 1 and 2 of one group together, then the other group, then nothing: %s", states(q))
		}
		if seq := first[1].Attributes; len(seq["SequenceNumber"]) != 20 || seq["MessageDeduplicationId"] != "2" || seq["MessageGroupId"] != "a" {
			t.Errorf("attributes = %v", seq)
		}
		// 1 is done, 2 failed: nothing of the group until it is visible again.
		if err := q.Delete(first[0].ReceiptHandle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Second - 1)
		if got := bodies(q.Receive(10)); got != "" {
			t.Errorf("%q was let by", got)
		}
		time.Sleep(time.Nanosecond)
		if got, want := bodies(q.Receive(3)), "2 4 3"; got != want {
			t.Errorf("again: %q, want %q", got, want)
		}
		// Both of b have been seen once, so they are seen once more; 2 is a dead letter then.
		time.Sleep(30 * time.Second)
		if got := bodies(q.Receive(10)); got != "4 5" {
			t.Errorf("after the dead letters: %q, want %q", got, "4 5")
		}
		if got := states(dlq); got != "2=visible 3=visible" {
			t.Errorf("dead letters: %s", got)
		}
		// The id is forgotten five minutes after the first sending.
		time.Sleep(4*time.Minute - 1)
		send(t, q, "c:1")
		if got := strings.Count(states(q), "1="); got != 0 {
			t.Error("the window ended early")
		}
		time.Sleep(time.Nanosecond)
		send(t, q, "c:1")
		if got := strings.Count(states(q), "1="); got != 1 {
			t.Error("the window did not end")
		}
	})
}

func TestContentDedup(t *testing.T) {
	t.Parallel()
	q := named(t, broker(t, historyDead), "HistoryDead")
	for _, body := range []string{"x", "y", "x"} {
		if err := q.Send(t.Context(), worker.Message{Body: body, Group: "g"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := states(q); got != "x=visible y=visible" {
		t.Errorf("got %s", got)
	}
}

func TestDedupByGroup(t *testing.T) {
	t.Parallel()
	for scoped, want := range map[bool]string{false: "x=visible", true: "x=visible y=visible"} {
		def := historyDead
		def.GroupDedup = scoped
		q := named(t, broker(t, def), "HistoryDead")
		for _, m := range []worker.Message{{Body: "x", Group: "a", Dedup: "1"}, {Body: "y", Group: "b", Dedup: "1"}, {Body: "z", Group: "a", Dedup: "1"}} {
			if err := q.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if got := states(q); got != want {
			t.Errorf("by group %v: %s, want %s", scoped, got, want)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	q, _ := standard(t)
	hits := map[string]int{}
	q.SetFaults(queue.Faults{
		BeforeSend: func(_ context.Context, m worker.Message) error {
			hits[m.Body]++
			q.Counts() // may use the queue
			if m.Body == "before" {
				return lost
			}
			return nil
		},
		AfterSend: func(_ context.Context, m worker.Message) error {
			if m.Body == "after" {
				return lost
			}
			return nil
		},
		Duplicate: func(m worker.Message) bool { return m.Body == "twice" },
	})
	for body, want := range map[string]error{"before": lost, "after": lost, "twice": nil, "fine": nil} {
		if err := q.Send(t.Context(), worker.Message{Body: body, Group: "g"}); !errors.Is(err, want) {
			t.Errorf("Send(%s) = %v, want %v", body, err, want)
		}
	}
	ids := map[string][]string{}
	for _, m := range q.Receive(10) {
		ids[m.Body] = append(ids[m.Body], m.MessageId)
	}
	if len(ids["before"]) != 0 || len(ids["after"]) != 1 || len(ids["fine"]) != 1 || len(ids["twice"]) != 2 || ids["twice"][0] != ids["twice"][1] {
		t.Errorf("deliveries = %v", ids)
	}
	q.SetFaults(queue.Faults{})
	if err := q.Send(t.Context(), worker.Message{Body: "before", Group: "g"}); err != nil || hits["before"] != 1 {
		t.Errorf("after the faults ended: %v, %v", err, hits)
	}
}

func TestRedeliverWhileInFlight(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	send(t, q, ":a", ":b")
	first := q.Receive(2)
	if n := q.Redeliver(func(m queue.Message) bool { return m.Body == "a" }); n != 1 {
		t.Errorf("Redeliver = %d, want 1", n)
	}
	second := q.Receive(2)
	if bodies(second) != "a" || second[0].MessageId != first[0].MessageId {
		t.Fatalf("second delivery = %q", bodies(second))
	}
	if err := q.Delete(first[0].ReceiptHandle); err != nil || states(q) != "a=in flight b=in flight" {
		t.Errorf("the first delivery's handle: %v, %s", err, states(q))
	}
}

func TestMessagesAreCopies(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	m := worker.Message{Body: "x", Group: "g", Attributes: map[string]string{"a": "1"}}
	if err := q.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	m.Attributes["a"] = "2"
	q.Messages()[0].Attributes["a"] = "3"
	if got := *q.Receive(1)[0].MessageAttributes["a"].StringValue; got != "1" {
		t.Errorf("attribute = %q, want what was sent", got)
	}
}

// TestConcurrentReceivers hands every message to one receiver at a time.
func TestConcurrentReceivers(t *testing.T) {
	t.Parallel()
	q, _ := standard(t)
	const n = 500
	var wg sync.WaitGroup
	for s := range 5 {
		wg.Go(func() {
			for i := range n / 5 {
				if err := q.Send(context.Background(), worker.Message{Body: fmt.Sprint(s, "-", i), Group: fmt.Sprint(s)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for {
				batch := q.Receive(7)
				if len(batch) == 0 {
					return
				}
				for _, m := range batch {
					mu.Lock()
					seen[m.Body]++
					mu.Unlock()
					if err := q.Delete(m.ReceiptHandle); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != n || slices.Max(slices.Collect(maps.Values(seen))) != 1 || len(q.Messages()) != 0 {
		t.Errorf("%d messages seen, at most %d times, %d left", len(seen), slices.Max(slices.Collect(maps.Values(seen))), len(q.Messages()))
	}
}

func FuzzReceipt(f *testing.F) {
	f.Add("T3JkZXJzLzEvMQ==")
	f.Add("T3JkZXJzLy0xLzE=")
	f.Add("")
	f.Fuzz(func(t *testing.T, receipt string) {
		q, _ := standard(t)
		send(t, q, ":a")
		got := q.Receive(1)[0].ReceiptHandle
		if err := q.Delete(receipt); err == nil && receipt == got != (states(q) == "") {
			t.Errorf("Delete(%q) with the receipt %q left %q", receipt, got, states(q))
		}
	})
}

func FuzzSend(f *testing.F) {
	f.Add("body", "group", "dedup", "name", "value")
	f.Add("\x00", "", "", "..", "")
	f.Fuzz(func(t *testing.T, body, group, dedup, name, value string) {
		q, _ := fifo(t)
		m := worker.Message{Body: body, Group: group, Dedup: dedup, Attributes: map[string]string{name: value}}
		if err := q.Send(t.Context(), m); err != nil {
			if len(q.Messages()) != 0 {
				t.Errorf("refused (%v) and taken", err)
			}
			return
		}
		got := q.Receive(1)
		if len(got) != 1 || got[0].Body != body || len(value) > 0 && *got[0].MessageAttributes[name].StringValue != value {
			t.Errorf("received %+v for %+v", got, m)
		}
	})
}
