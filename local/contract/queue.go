package contract

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

// QueueUnderTest is a queue with the other end that only a test needs. It is
// empty and has a visibility timeout that does not run out during the test.
type QueueUnderTest struct {
	worker.Sender
	worker.Delayer
	// Receive takes up to n messages that can be had now, fewer if there are
	// no more.
	Receive func(t *testing.T, n int) []Delivery
	// Delete ends a delivery.
	Delete func(t *testing.T, receipt string)
	// FIFO says which kind of queue it is.
	FIFO bool
}

// Delivery is a message as its consumer gets it.
type Delivery struct {
	ID         string // the same at every delivery
	Receipt    string // new at every delivery
	Body       string
	Group      string
	Attributes map[string]string
	Count      int // deliveries so far, this one included
}

// Queue tests a worker.Sender and worker.Delayer.
func Queue(t *testing.T, open func(t *testing.T) QueueUnderTest) {
	message := func(q QueueUnderTest, body string) worker.Message {
		m := worker.Message{Body: body, Group: newID()}
		if q.FIFO {
			m.Dedup = newID()
		}
		return m
	}
	send := func(t *testing.T, q QueueUnderTest, m worker.Message) {
		t.Helper()
		if err := q.Send(t.Context(), m); err != nil {
			t.Fatalf("Send: %v", err)
		}
	}
	one := func(t *testing.T, q QueueUnderTest) Delivery {
		t.Helper()
		got := q.Receive(t, 10)
		if !q.FIFO { // it may have one twice: the client sends again where the answer is lost
			got = slices.CompactFunc(got, func(a, b Delivery) bool { return a.Body == b.Body })
		}
		if len(got) != 1 {
			t.Fatalf("received %d messages, want 1: %+v", len(got), got)
		}
		return got[0]
	}
	none := func(t *testing.T, q QueueUnderTest) {
		t.Helper()
		if got := q.Receive(t, 10); len(got) != 0 {
			t.Fatalf("received %+v, want nothing", got)
		}
	}

	t.Run("a message arrives whole", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		for _, m := range []worker.Message{
			{Body: "x"},
			{Body: `{"orderid":1001,"note":"Smörgås \ud83d\ude00 😀 <&>\n"}` + "\t\r\n"},
			{Body: "x", Attributes: map[string]string{"request": "c0ffee", "kind": "order"}},
			{Body: "x", Attributes: map[string]string{"request": "c0ffee", "empty": ""}},
		} {
			base := message(q, m.Body)
			base.Attributes = m.Attributes
			send(t, q, base)
			got := one(t, q)
			q.Delete(t, got.Receipt)
			if got.Body != base.Body || got.Group != base.Group || got.Count != 1 {
				t.Errorf("received %+v, want %+v for the first time", got, base)
			}
			want := maps.Clone(m.Attributes)
			maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
			if diff := cmp.Diff(want, got.Attributes, cmp.Transformer("filled", func(m map[string]string) map[string]string {
				if m == nil {
					return map[string]string{}
				}
				return m
			})); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
		}
		none(t, q)
	})

	t.Run("every message arrives", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		var want, got []string
		for i := range 25 {
			body := fmt.Sprintf("message %02d", i)
			want = append(want, body)
			send(t, q, message(q, body))
		}
		for {
			batch := q.Receive(t, 10)
			if len(batch) == 0 {
				break
			}
			for _, d := range batch {
				got = append(got, d.Body)
				q.Delete(t, d.Receipt)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("received (-want +got):\n%s", diff)
		}
	})

	t.Run("a delivery is delayed", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		send(t, q, message(q, "later"))
		first := one(t, q)
		none(t, q)
		for _, delay := range []time.Duration{time.Hour, 400 * time.Hour} {
			if err := q.Delay(t.Context(), first.Receipt, delay); err != nil {
				t.Fatalf("Delay(%v): %v", delay, err)
			}
			none(t, q)
		}
		for range 2 { // repeated, and no delay at all is fine
			if err := q.Delay(t.Context(), first.Receipt, 0); err != nil {
				t.Fatalf("Delay(0): %v", err)
			}
		}
		second := one(t, q)
		if second.ID != first.ID || second.Body != first.Body || second.Count != 2 {
			t.Errorf("received %+v, want %+v for the second time", second, first)
		}
		if err := q.Delay(t.Context(), second.Receipt, -time.Minute); err != nil {
			t.Fatalf("Delay into the past: %v", err)
		}
		third := one(t, q)
		if third.Count != 3 {
			t.Errorf("received %+v, want it for the third time", third)
		}
		q.Delete(t, third.Receipt)
		none(t, q)
	})

	t.Run("a message is hidden first", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		m := message(q, "later")
		if q.FIFO {
			m.Delay = time.Second
			if err := q.Send(t.Context(), m); fault.KindOf(err) != fault.Internal || err == nil {
				t.Errorf("Send with a delay = %v, want an internal error: a FIFO queue has none", err)
			}
			none(t, q)
			return
		}
		m.Delay = 15 * time.Minute
		send(t, q, m)
		m.Body, m.Delay = "now", -time.Minute
		send(t, q, m)
		if got := one(t, q); got.Body != "now" {
			t.Errorf("received %+v, want the message without a delay", got)
		}
		m.Body, m.Delay = "too late", 15*time.Minute+1
		if err := q.Send(t.Context(), m); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("Send with a delay of %v = %v, want an internal error", m.Delay, err)
		}
		none(t, q)
	})

	t.Run("a delayed delivery holds back its FIFO group and no other", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		if !q.FIFO {
			return
		}
		first, other := message(q, "first"), message(q, "other")
		second := first
		second.Body, second.Dedup = "second", newID()
		for _, m := range []worker.Message{first, second, other} {
			send(t, q, m)
		}
		got := q.Receive(t, 1)
		if len(got) != 1 || got[0].Body != "first" {
			t.Fatalf("received %+v, want the first", got)
		}
		if err := q.Delay(t.Context(), got[0].Receipt, time.Hour); err != nil {
			t.Fatalf("Delay: %v", err)
		}
		if got := one(t, q); got.Body != "other" {
			t.Errorf("received %+v, want the other group's", got)
		}
		none(t, q)
		if err := q.Delay(t.Context(), got[0].Receipt, 0); err != nil {
			t.Fatalf("Delay(0): %v", err)
		}
		for _, body := range []string{"first", "second"} {
			got := q.Receive(t, 1)
			if len(got) != 1 || got[0].Body != body {
				t.Fatalf("received %+v, want %q", got, body)
			}
			q.Delete(t, got[0].Receipt)
		}
		none(t, q)
	})

	t.Run("a FIFO queue keeps a group in order and takes a message once", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		if !q.FIFO {
			return // a standard queue promises neither
		}
		m := message(q, "first")
		send(t, q, m)
		send(t, q, m)
		next := m
		next.Body, next.Dedup = "second", newID()
		send(t, q, next)
		for _, want := range []string{"first", "second"} {
			got := q.Receive(t, 1)
			if len(got) != 1 || got[0].Body != want {
				t.Fatalf("received %+v, want %q", got, want)
			}
			none(t, q) // the group waits for this one
			q.Delete(t, got[0].Receipt)
		}
		none(t, q)
	})

	t.Run("what a queue does not take", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		const limit = 1 << 20
		for name, tt := range map[string]struct {
			change func(m *worker.Message)
			want   fault.Kind
		}{
			"empty":               {func(m *worker.Message) { m.Body = "" }, fault.Invalid},
			"not UTF-8":           {func(m *worker.Message) { m.Body = "a\xffb" }, fault.Invalid},
			"a control character": {func(m *worker.Message) { m.Body = "a\x00b" }, fault.Invalid},
			"no group":            {func(m *worker.Message) { m.Group = "" }, fault.Internal},
			"one byte too long":   {func(m *worker.Message) { m.Body = strings.Repeat("x", limit+1) }, fault.TooLarge},
			"too long by its note": {func(m *worker.Message) {
				m.Body, m.Attributes = strings.Repeat("x", limit), map[string]string{"n": "v"}
			}, fault.TooLarge},
		} {
			m := message(q, "x")
			tt.change(&m)
			err := q.Send(t.Context(), m)
			if got := fault.KindOf(err); err == nil || got != tt.want {
				t.Errorf("%s: Send = %v (%v), want %v", name, err, got, tt.want)
			}
		}
		none(t, q)
		m := message(q, strings.Repeat("x", limit))
		send(t, q, m)
		if got := one(t, q); got.Body != m.Body {
			t.Errorf("received %d bytes, want %d", len(got.Body), len(m.Body))
		}
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		q := open(t)
		wantUnavailable(t, "Send", q.Send(cancelled(t), message(q, "x")))
		none(t, q)
	})
}
