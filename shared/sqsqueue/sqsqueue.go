// Package sqsqueue puts messages on SQS queues.
package sqsqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

const (
	// MaxSize is what SQS takes of one message: body and attributes (names,
	// types and values) in bytes. The queue's MaximumMessageSize may be lower.
	MaxSize = 1 << 20
	// MaxAttributes is how many attributes SQS takes beside the body.
	MaxAttributes = 10
	// MaxDelay is the longest delay asked for. SQS hides a delivered message
	// for 12 hours at the most, counted from its delivery, and refuses a delay
	// that ends later; the quarter of an hour that is missing is the longest a
	// function can have worked on the message.
	MaxDelay = 12*time.Hour - 15*time.Minute
	// MaxSendDelay is how long SQS can hide a new message.
	MaxSendDelay = 15 * time.Minute
)

// Client is what the package calls of SQS; *sqs.Client fits.
type Client interface {
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	ChangeMessageVisibility(context.Context, *sqs.ChangeMessageVisibilityInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
}

// Queue is one SQS queue. Its errors are faults: Unavailable when another try
// may help, TooLarge and Invalid for a message SQS would not take whole,
// Internal for a request that SQS refuses.
type Queue struct {
	client Client
	url    string
}

var (
	_ worker.Sender  = (*Queue)(nil)
	_ worker.Delayer = (*Queue)(nil)
)

// New returns the queue with that URL. A URL that ends in .fifo is a FIFO
// queue, as SQS requires of their names.
func New(client Client, url string) *Queue { return &Queue{client: client, url: url} }

// Send returns when SQS has the whole message. An error means that it may or
// may not have it; on a FIFO queue the same message sent again within five
// minutes is taken once. Attributes with an empty value, which SQS does not
// take, are left out, and so is Dedup on a standard queue. A Delay is rounded up
// to whole seconds; without one the queue's own counts. More than MaxSendDelay,
// or any on a FIFO queue, which has none for single messages, is Internal.
func (q *Queue) Send(ctx context.Context, m worker.Message) error {
	if err := q.check(m); err != nil {
		return fmt.Errorf("send to %s: %w", q.name(), err)
	}
	in := &sqs.SendMessageInput{
		QueueUrl:       aws.String(q.url),
		MessageBody:    aws.String(m.Body),
		MessageGroupId: aws.String(m.Group),
		DelaySeconds:   seconds(m.Delay),
	}
	if q.fifo() {
		in.MessageDeduplicationId = aws.String(m.Dedup)
	}
	for name, value := range m.Attributes {
		if value == "" {
			continue
		}
		if in.MessageAttributes == nil {
			in.MessageAttributes = make(map[string]types.MessageAttributeValue, len(m.Attributes))
		}
		in.MessageAttributes[name] = types.MessageAttributeValue{
			DataType:    aws.String(attributeType),
			StringValue: aws.String(value),
		}
	}
	_, err := q.client.SendMessage(ctx, in)
	return awsfault.Wrap(err, "send to %s", q.name())
}

// Delay lets the delivery with that receipt handle come again in delay, whole
// seconds rounded up and held between 0 and MaxDelay. It may be repeated.
func (q *Queue) Delay(ctx context.Context, receipt string, delay time.Duration) error {
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl:          aws.String(q.url),
		ReceiptHandle:     aws.String(receipt),
		VisibilityTimeout: seconds(min(delay, MaxDelay)),
	})
	return awsfault.Wrap(err, "delay a message of %s", q.name())
}

// seconds is a delay as SQS takes it: whole seconds, rounded up, 0 at the least.
func seconds(d time.Duration) int32 { return int32((max(d, 0) + time.Second - 1) / time.Second) }

const attributeType = "String"

// check refuses what SQS would refuse, or worse, change: it replaces
// characters that XML has no room for.
func (q *Queue) check(m worker.Message) error {
	refuse := func(k fault.Kind, format string, args ...any) error {
		return &fault.Error{Kind: k, Err: fmt.Errorf(format, args...)}
	}
	if m.Group == "" {
		return refuse(fault.Internal, "the message has no group")
	}
	if q.fifo() && m.Dedup == "" {
		return refuse(fault.Internal, "the message has no deduplication id, and the queue is a FIFO queue")
	}
	if q.fifo() && m.Delay > 0 {
		return refuse(fault.Internal, "the message has a delay, and the queue is a FIFO queue")
	}
	if m.Delay > MaxSendDelay {
		return refuse(fault.Internal, "a delay of %v, SQS takes %v", m.Delay, MaxSendDelay)
	}
	if m.Body == "" {
		return refuse(fault.Invalid, "the message is empty")
	}
	size := len(m.Body)
	count := 0
	for name, value := range m.Attributes {
		if value == "" {
			continue
		}
		count++
		size += len(name) + len(attributeType) + len(value)
		if err := whole(value); err != nil {
			return refuse(fault.Invalid, "attribute %s: %w", name, err)
		}
	}
	if count > MaxAttributes {
		return refuse(fault.Internal, "%d attributes, SQS takes %d", count, MaxAttributes)
	}
	if size > MaxSize {
		return refuse(fault.TooLarge, "%d bytes with attributes, SQS takes %d", size, MaxSize)
	}
	if err := whole(m.Body); err != nil {
		return refuse(fault.Invalid, "body: %w", err)
	}
	return nil
}

// whole reports the first character that SQS does not carry.
func whole(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("not valid UTF-8")
	}
	for i, r := range s {
		switch {
		case r == '\t', r == '\n', r == '\r',
			r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000:
		default:
			return fmt.Errorf("SQS does not carry the character %U at byte %d", r, i)
		}
	}
	return nil
}

func (q *Queue) fifo() bool { return strings.HasSuffix(q.url, ".fifo") }

// name is the queue's name, the last part of its URL.
func (q *Queue) name() string { return q.url[strings.LastIndexByte(q.url, '/')+1:] }
