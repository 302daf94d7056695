package awslocal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	// pollWait is how long one poll waits for messages, in seconds, and with
	// that how long stopping takes at least. No poll is ever cut short: what it
	// had received would stay invisible for a whole visibility timeout, and an
	// emulator may lose it altogether.
	pollWait = 1
	// callTimeout is when a call to SQS has hung.
	callTimeout = 30 * time.Second
	// retryWait is the pause after a poll that failed.
	retryWait = time.Second
	// maxBatch is the most that SQS hands out, or deletes, at once.
	maxBatch = 10
)

// SQSClient is what a Poller calls of SQS; *sqs.Client fits.
type SQSClient interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// Poller plays Lambda's event source mapping for one queue: it receives
// messages, invokes the worker with the event JSON Lambda would send, and
// deletes what the worker is done with. What it is not done with stays on the
// queue, which brings it back or moves it to its dead-letter queue.
type Poller struct {
	Client  SQSClient
	Queue   Created
	Handler lambda.Handler
	// BatchSize is the most messages of one event, 10 if it is 0 or larger.
	BatchSize int
	// PartialFailures is ReportBatchItemFailures: the worker's answer names the
	// messages that failed. Without it, a batch succeeds or fails as a whole.
	PartialFailures bool
	// Concurrency is how many batches are worked on at once, 1 if it is 0.
	Concurrency int
	// Timeout is the function's; the worker's context ends then. 30 s if 0.
	Timeout time.Duration
	Log     *slog.Logger // slog.Default if nil
}

// Run moves messages until ctx is done. It then lets the polls and the workers
// that are under way come to their end, messages of a last poll included, and
// returns.
func (p *Poller) Run(ctx context.Context) {
	var all sync.WaitGroup
	for range max(p.Concurrency, 1) {
		all.Go(func() { p.loop(ctx) })
	}
	all.Wait()
}

func (p *Poller) loop(ctx context.Context) {
	for ctx.Err() == nil {
		messages, err := p.receive(ctx)
		if err != nil {
			p.log().ErrorContext(ctx, "poll failed", "queue", p.Queue.URL, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(retryWait):
			}
			continue
		}
		if len(messages) == 0 {
			continue
		}
		done, err := p.invoke(ctx, messages)
		if err != nil {
			p.log().ErrorContext(ctx, "worker failed, its messages stay on the queue", "queue", p.Queue.URL, "messages", len(messages), "error", err)
		}
		if err := p.delete(ctx, done); err != nil {
			p.log().ErrorContext(ctx, "delete failed, messages will come again", "queue", p.Queue.URL, "error", err)
		}
	}
}

func (p *Poller) receive(ctx context.Context) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	size := p.BatchSize
	if size < 1 || size > maxBatch {
		size = maxBatch
	}
	out, err := p.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    aws.String(p.Queue.URL),
		MaxNumberOfMessages:         int32(size),
		WaitTimeSeconds:             pollWait,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// invoke gives the worker one batch and returns the messages it is done with.
func (p *Poller) invoke(ctx context.Context, messages []types.Message) ([]types.Message, error) {
	payload, err := json.Marshal(event(p.Queue.ARN, messages))
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: rand.Text()})
	answer, err := contained(ctx, p.Handler, payload)
	if err != nil {
		return nil, err
	}
	if !p.PartialFailures {
		return messages, nil
	}
	return succeeded(answer, messages)
}

// contained turns a worker's panic into an error: Lambda would start a new
// process, and here there is only one.
func contained(ctx context.Context, h lambda.Handler, payload []byte) (answer []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return h.Invoke(ctx, payload)
}

// succeeded returns the messages that the worker's answer does not name.
// No answer at all, and one that names nothing, is success of the whole batch;
// an answer that cannot be understood, or that names a message that was not in
// the batch, is failure of the whole batch. These are Lambda's rules.
func succeeded(answer []byte, messages []types.Message) ([]types.Message, error) {
	failed := make(map[string]bool)
	if len(answer) > 0 {
		var r events.SQSEventResponse
		if err := json.Unmarshal(answer, &r); err != nil {
			return nil, fmt.Errorf("decode the worker's answer: %w", err)
		}
		for _, f := range r.BatchItemFailures {
			failed[f.ItemIdentifier] = true
		}
	}
	var done []types.Message
	for _, m := range messages {
		if id := aws.ToString(m.MessageId); failed[id] {
			delete(failed, id)
		} else {
			done = append(done, m)
		}
	}
	for id := range failed {
		return nil, fmt.Errorf("the worker's answer names %q, which is not in the batch", id)
	}
	return done, nil
}

func (p *Poller) delete(ctx context.Context, messages []types.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	in := &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(p.Queue.URL)}
	for i, m := range messages {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{
			Id: aws.String(fmt.Sprintf("m%d", i)), ReceiptHandle: m.ReceiptHandle,
		})
	}
	out, err := p.Client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range out.Failed {
		errs = append(errs, fmt.Errorf("%s: %s", aws.ToString(f.Code), aws.ToString(f.Message)))
	}
	return errors.Join(errs...)
}

func (p *Poller) log() *slog.Logger {
	if p.Log == nil {
		return slog.Default()
	}
	return p.Log
}

// event is what Lambda sends a worker for these messages.
func event(arn string, messages []types.Message) events.SQSEvent {
	var region string
	if parts := strings.Split(arn, ":"); len(parts) > 3 {
		region = parts[3]
	}
	e := events.SQSEvent{Records: make([]events.SQSMessage, 0, len(messages))}
	for _, m := range messages {
		attributes := make(map[string]events.SQSMessageAttribute, len(m.MessageAttributes))
		for name, a := range m.MessageAttributes {
			attributes[name] = events.SQSMessageAttribute{
				StringValue: a.StringValue,
				BinaryValue: a.BinaryValue,
				// SQS reserves the lists and never fills them.
				StringListValues: []string{},
				BinaryListValues: [][]byte{},
				DataType:         aws.ToString(a.DataType),
			}
		}
		e.Records = append(e.Records, events.SQSMessage{
			MessageId:              aws.ToString(m.MessageId),
			ReceiptHandle:          aws.ToString(m.ReceiptHandle),
			Body:                   aws.ToString(m.Body),
			Md5OfBody:              aws.ToString(m.MD5OfBody),
			Md5OfMessageAttributes: aws.ToString(m.MD5OfMessageAttributes),
			Attributes:             m.Attributes,
			MessageAttributes:      attributes,
			EventSourceARN:         arn,
			EventSource:            "aws:sqs",
			AWSRegion:              region,
		})
	}
	return e
}
