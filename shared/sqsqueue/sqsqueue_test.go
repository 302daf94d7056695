package sqsqueue_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

const (
	standard = "https://sqs.eu-north-1.amazonaws.com/123456789012/orders"
	fifo     = "https://sqs.eu-north-1.amazonaws.com/123456789012/history.fifo"
)

// client is an SQS that answers as a test says.
type client struct {
	send  func(*sqs.SendMessageInput) error
	delay func(*sqs.ChangeMessageVisibilityInput) error
}

func (c client) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	return &sqs.SendMessageOutput{}, c.send(in)
}

func (c client) ChangeMessageVisibility(_ context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	return &sqs.ChangeMessageVisibilityOutput{}, c.delay(in)
}

func TestSend(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url        string
		message    worker.Message
		dedup      string
		attributes []string // of the input, sorted
	}{
		"standard queue":            {standard, worker.Message{Body: "{}", Group: "shop"}, "", nil},
		"dedup on a standard queue": {standard, worker.Message{Body: "{}", Group: "shop", Dedup: "1"}, "", nil},
		"FIFO queue":                {fifo, worker.Message{Body: "{}", Group: "shop", Dedup: "1"}, "1", nil},
		"no delay":                  {standard, worker.Message{Body: "{}", Group: "shop", Delay: -time.Hour}, "", nil},
		"no delay on FIFO":          {fifo, worker.Message{Body: "{}", Group: "shop", Dedup: "1", Delay: -1}, "1", nil},
		"attributes": {
			standard,
			worker.Message{Body: "{}", Group: "shop", Attributes: map[string]string{"b": "2", "a": "1", "c": ""}},
			"",
			[]string{"a=1", "b=2"},
		},
		"ten attributes and an empty one": {
			standard,
			worker.Message{Body: "{}", Group: "shop", Attributes: attributes(10)},
			"",
			[]string{"a=v", "b=v", "c=v", "d=v", "e=v", "f=v", "g=v", "h=v", "i=v", "j=v"},
		},
		"every kind of character": {standard, worker.Message{Body: "\t\n\r ~\u007f\u0085åäö\u2028\ud7ff\ue000\ufffd😀\U0010ffff", Group: "shop"}, "", nil},
		"as long as can be":       {standard, worker.Message{Body: strings.Repeat("x", sqsqueue.MaxSize-8), Group: "shop", Attributes: map[string]string{"n": "v"}}, "", []string{"n=v"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got *sqs.SendMessageInput
			q := sqsqueue.New(client{send: func(in *sqs.SendMessageInput) error { got = in; return nil }}, tt.url)
			if err := q.Send(t.Context(), tt.message); err != nil {
				t.Fatalf("Send: %v", err)
			}
			if aws.ToString(got.QueueUrl) != tt.url || aws.ToString(got.MessageBody) != tt.message.Body {
				t.Errorf("sent %d bytes to %s, want the body to %s", len(aws.ToString(got.MessageBody)), aws.ToString(got.QueueUrl), tt.url)
			}
			if g := aws.ToString(got.MessageGroupId); g != tt.message.Group {
				t.Errorf("group %q, want %q", g, tt.message.Group)
			}
			if got.DelaySeconds != 0 {
				t.Errorf("hidden for %d s, want the queue's own delay", got.DelaySeconds)
			}
			if (got.MessageDeduplicationId == nil) != (tt.dedup == "") || aws.ToString(got.MessageDeduplicationId) != tt.dedup {
				t.Errorf("deduplication id %v, want %q", got.MessageDeduplicationId, tt.dedup)
			}
			var sent []string
			for name, a := range got.MessageAttributes {
				if aws.ToString(a.DataType) != "String" {
					t.Errorf("attribute %s is a %s, want String", name, aws.ToString(a.DataType))
				}
				sent = append(sent, name+"="+aws.ToString(a.StringValue))
			}
			slices.Sort(sent)
			if !slices.Equal(sent, tt.attributes) {
				t.Errorf("attributes %q, want %q", sent, tt.attributes)
			}
		})
	}
}

// attributes returns n attributes and an empty one.
func attributes(n int) map[string]string {
	m := map[string]string{"empty": ""}
	for i := range n {
		m[string(rune('a'+i))] = "v"
	}
	return m
}

// What SQS would refuse or change never leaves.
func TestSendRefuses(t *testing.T) {
	t.Parallel()
	whole := worker.Message{Body: "{}", Group: "shop", Dedup: "1", Attributes: map[string]string{"n": "v"}}
	for name, tt := range map[string]struct {
		url    string
		change func(m *worker.Message)
		want   fault.Kind
		text   string
	}{
		"no group":              {standard, func(m *worker.Message) { m.Group = "" }, fault.Internal, "group"},
		"no dedup on FIFO":      {fifo, func(m *worker.Message) { m.Dedup = "" }, fault.Internal, "deduplication"},
		"empty":                 {standard, func(m *worker.Message) { m.Body = "" }, fault.Invalid, "empty"},
		"a NUL":                 {standard, func(m *worker.Message) { m.Body = "ab\x00" }, fault.Invalid, "U+0000 at byte 2"},
		"an escape":             {standard, func(m *worker.Message) { m.Body = "\x1b[31m" }, fault.Invalid, "U+001B"},
		"a noncharacter":        {standard, func(m *worker.Message) { m.Body = "\ufffe" }, fault.Invalid, "U+FFFE"},
		"not UTF-8":             {standard, func(m *worker.Message) { m.Body = "\xc3\x28" }, fault.Invalid, "UTF-8"},
		"a NUL in an attribute": {standard, func(m *worker.Message) { m.Attributes = map[string]string{"n": "\x00"} }, fault.Invalid, "attribute n"},
		"eleven attributes":     {standard, func(m *worker.Message) { m.Attributes = attributes(11) }, fault.Internal, "11 attributes"},
		"a delay on FIFO":       {fifo, func(m *worker.Message) { m.Delay = 1 }, fault.Internal, "FIFO"},
		"too long a delay":      {standard, func(m *worker.Message) { m.Delay = sqsqueue.MaxSendDelay + 1 }, fault.Internal, "15m0.000000001s"},
		"one byte too many":     {standard, func(m *worker.Message) { m.Body = strings.Repeat("x", sqsqueue.MaxSize-7) }, fault.TooLarge, "1048577 bytes"},
		"a long attribute":      {standard, func(m *worker.Message) { m.Attributes = map[string]string{"n": strings.Repeat("x", sqsqueue.MaxSize)} }, fault.TooLarge, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := whole
			m.Attributes = maps.Clone(m.Attributes)
			tt.change(&m)
			q := sqsqueue.New(client{send: func(*sqs.SendMessageInput) error {
				t.Error("the message was sent")
				return nil
			}}, tt.url)
			err := q.Send(t.Context(), m)
			if got := fault.KindOf(err); err == nil || got != tt.want {
				t.Errorf("Send = %v (%v), want %v", err, got, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Send = %v, want it to say %q", err, tt.text)
			}
		})
	}
}

func TestSendDelayed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		delay time.Duration
		want  int32
	}{
		{0, 0}, {1, 1}, {time.Second, 1}, {time.Second + 1, 2}, {90 * time.Second, 90}, {sqsqueue.MaxSendDelay - 1, 900}, {sqsqueue.MaxSendDelay, 900},
	} {
		var got *sqs.SendMessageInput
		q := sqsqueue.New(client{send: func(in *sqs.SendMessageInput) error { got = in; return nil }}, standard)
		if err := q.Send(t.Context(), worker.Message{Body: "{}", Group: "shop", Delay: tt.delay}); err != nil {
			t.Fatalf("Send with a delay of %v: %v", tt.delay, err)
		}
		if got.DelaySeconds != tt.want {
			t.Errorf("a delay of %v is sent as %d s, want %d", tt.delay, got.DelaySeconds, tt.want)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		delay time.Duration
		want  int32
	}{
		{0, 0},
		{-time.Hour, 0},
		{1, 1},
		{time.Second, 1},
		{time.Second + 1, 2},
		{90 * time.Second, 90},
		{sqsqueue.MaxDelay - 1, 42_300},
		{sqsqueue.MaxDelay, 42_300},
		{12 * time.Hour, 42_300},
		{1<<63 - 1, 42_300},
		{-1 << 63, 0},
	} {
		var got *sqs.ChangeMessageVisibilityInput
		q := sqsqueue.New(client{delay: func(in *sqs.ChangeMessageVisibilityInput) error { got = in; return nil }}, standard)
		if err := q.Delay(t.Context(), "receipt", tt.delay); err != nil {
			t.Fatalf("Delay(%v): %v", tt.delay, err)
		}
		if got.VisibilityTimeout != tt.want || aws.ToString(got.ReceiptHandle) != "receipt" || aws.ToString(got.QueueUrl) != standard {
			t.Errorf("Delay(%v) asked for %d s of %q at %s, want %d s of the receipt", tt.delay, got.VisibilityTimeout, aws.ToString(got.ReceiptHandle), aws.ToString(got.QueueUrl), tt.want)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"throttled":     {&types.RequestThrottled{}, fault.Unavailable},
		"timed out":     {context.DeadlineExceeded, fault.Unavailable},
		"unreachable":   {errors.New("no route to host"), fault.Unavailable},
		"no such queue": {&types.QueueDoesNotExist{}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := sqsqueue.New(client{
				send:  func(*sqs.SendMessageInput) error { return tt.err },
				delay: func(*sqs.ChangeMessageVisibilityInput) error { return tt.err },
			}, standard)
			for op, err := range map[string]error{
				"Send":  q.Send(t.Context(), worker.Message{Body: "a secret order", Group: "shop"}),
				"Delay": q.Delay(t.Context(), "receipt", time.Second),
			} {
				if got := fault.KindOf(err); got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%s = %v (%v), want %v that wraps %v", op, err, got, tt.want, tt.err)
				}
				if !strings.Contains(err.Error(), "orders") || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s = %v, want it to name the queue and show nothing of the message", op, err)
				}
			}
		})
	}
}
