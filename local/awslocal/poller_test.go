package awslocal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/awslocal"
)

var queue = awslocal.Created{URL: "http://127.0.0.1/1/orders", ARN: "arn:aws:sqs:eu-north-1:123456789012:orders"}

// source is an SQS that hands out what a test prepared: one answer a poll, and
// nothing, after the wait that was asked for, when there is no more.
type source struct {
	mu      sync.Mutex
	answers []any // []types.Message or error
	polls   []*sqs.ReceiveMessageInput
	aborted bool // a poll's context ended before its answer
	deleted []string
	refuse  func(*sqs.DeleteMessageBatchInput) (*sqs.DeleteMessageBatchOutput, error)
}

func (s *source) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	s.mu.Lock()
	s.polls = append(s.polls, in)
	var answer any
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	switch a := answer.(type) {
	case []types.Message:
		return &sqs.ReceiveMessageOutput{Messages: a}, nil
	case error:
		return nil, a
	}
	select {
	case <-ctx.Done():
		s.mu.Lock()
		s.aborted = true
		s.mu.Unlock()
		return nil, ctx.Err()
	case <-time.After(time.Duration(in.WaitTimeSeconds) * time.Second):
		return &sqs.ReceiveMessageOutput{}, nil
	}
}

func (s *source) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.refuse != nil {
		return s.refuse(in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make(map[string]bool)
	for _, e := range in.Entries {
		if ids[aws.ToString(e.Id)] {
			return nil, errors.New("two entries have one id")
		}
		ids[aws.ToString(e.Id)] = true
		s.deleted = append(s.deleted, aws.ToString(e.ReceiptHandle))
	}
	return &sqs.DeleteMessageBatchOutput{}, nil
}

// handler is a lambda.Handler.
type handler func(ctx context.Context, payload []byte) ([]byte, error)

func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) { return h(ctx, payload) }

func messages(ids ...string) []types.Message {
	var m []types.Message
	for _, id := range ids {
		m = append(m, types.Message{
			MessageId: aws.String(id), ReceiptHandle: aws.String("receipt-" + id), Body: aws.String("body of " + id),
		})
	}
	return m
}

func TestPollerDeletesWhatTheWorkerIsDoneWith(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		partial bool
		answer  string
		err     error
		panics  bool
		deleted []string
		logged  string
	}{
		"all done, empty list":          {partial: true, answer: `{"batchItemFailures":[]}`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"all done, null list":           {partial: true, answer: `{"batchItemFailures":null}`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"all done, empty object":        {partial: true, answer: `{}`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"all done, null":                {partial: true, answer: `null`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"all done, nothing":             {partial: true, answer: ``, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"one failed":                    {partial: true, answer: `{"batchItemFailures":[{"itemIdentifier":"b"}]}`, deleted: []string{"receipt-a", "receipt-c"}},
		"one failed, named twice":       {partial: true, answer: `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}`, deleted: []string{"receipt-a", "receipt-c"}},
		"all failed":                    {partial: true, answer: `{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}`},
		"names a stranger":              {partial: true, answer: `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"x"}]}`, logged: "not in the batch"},
		"names nothing":                 {partial: true, answer: `{"batchItemFailures":[{"itemIdentifier":""}]}`, logged: "not in the batch"},
		"misspelt member":               {partial: true, answer: `{"batchItemFailures":[{"id":"b"}]}`, logged: "not in the batch"},
		"not JSON":                      {partial: true, answer: `oops`, logged: "decode the worker's answer"},
		"error":                         {partial: true, err: errors.New("boom"), logged: "boom"},
		"panic":                         {partial: true, panics: true, logged: "panic"},
		"whole batches: done":           {answer: `oops`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
		"whole batches: failed":         {err: errors.New("boom"), logged: "boom"},
		"whole batches: answer is moot": {answer: `{"batchItemFailures":[{"itemIdentifier":"b"}]}`, deleted: []string{"receipt-a", "receipt-b", "receipt-c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &source{answers: []any{messages("a", "b", "c")}}
				p := &awslocal.Poller{
					Client: s, Queue: queue, PartialFailures: tt.partial,
					Log: slog.New(slog.NewTextHandler(&log, nil)),
					Handler: handler(func(context.Context, []byte) ([]byte, error) {
						if tt.panics {
							panic("worker")
						}
						return []byte(tt.answer), tt.err
					}),
				}
				run(t, p)
				if !slices.Equal(s.deleted, tt.deleted) {
					t.Errorf("deleted %q, want %q", s.deleted, tt.deleted)
				}
				if tt.logged == "" && log.Len() > 0 || !strings.Contains(log.String(), tt.logged) {
					t.Errorf("logged %q, want %q", log.String(), tt.logged)
				}
			})
		})
	}
}

// run lets a poller work until it only waits, and stops it.
func run(t *testing.T, p *awslocal.Poller) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	time.Sleep(time.Minute) // of the bubble's time
	cancel()
	<-done
}

func TestPollerEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := types.Message{
			MessageId: aws.String("a"), ReceiptHandle: aws.String("receipt-a"), Body: aws.String(`{"orderid":1001}`),
			MD5OfBody: aws.String("d41d"), MD5OfMessageAttributes: aws.String("8cd9"),
			Attributes: map[string]string{"ApproximateReceiveCount": "2", "MessageGroupId": "shop"},
			MessageAttributes: map[string]types.MessageAttributeValue{
				"request": {DataType: aws.String("String"), StringValue: aws.String("c0ffee")},
			},
		}
		const want = `{"Records": [{
			"messageId": "a", "receiptHandle": "receipt-a", "body": "{\"orderid\":1001}",
			"md5OfBody": "d41d", "md5OfMessageAttributes": "8cd9",
			"attributes": {"ApproximateReceiveCount": "2", "MessageGroupId": "shop"},
			"messageAttributes": {"request": {"stringValue": "c0ffee", "stringListValues": [], "binaryListValues": [], "dataType": "String"}},
			"eventSourceARN": "arn:aws:sqs:eu-north-1:123456789012:orders", "eventSource": "aws:sqs", "awsRegion": "eu-north-1"
		}]}`
		s := &source{answers: []any{[]types.Message{m}}}
		var payload []byte
		p := &awslocal.Poller{
			Client: s, Queue: queue, BatchSize: 5, Timeout: 7 * time.Second,
			Handler: handler(func(ctx context.Context, in []byte) ([]byte, error) {
				payload = in
				deadline, _ := ctx.Deadline()
				if left := time.Until(deadline); left != 7*time.Second {
					t.Errorf("the worker has %v, want the function's 7s", left)
				}
				if lc, ok := lambdacontext.FromContext(ctx); !ok || lc.AwsRequestID == "" {
					t.Error("the worker has no request id")
				}
				return nil, nil
			}),
		}
		run(t, p)
		var got, wanted any
		if err := json.Unmarshal(payload, &got); err != nil {
			t.Fatalf("payload: %v", err)
		}
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
		if in := s.polls[0]; in.MaxNumberOfMessages != 5 || aws.ToString(in.QueueUrl) != queue.URL {
			t.Errorf("polled %s for %d messages, want %s for 5", aws.ToString(in.QueueUrl), in.MaxNumberOfMessages, queue.URL)
		}
	})
}

// A poll that is under way when Run is told to stop comes to its end, and so
// does the worker: nothing that was received is dropped.
func TestPollerStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &source{}
		p := &awslocal.Poller{Client: s, Queue: queue, Handler: handler(func(context.Context, []byte) ([]byte, error) {
			t.Error("the worker was called for nothing")
			return nil, nil
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.Run(ctx)
		}()
		synctest.Wait() // for the poll to wait
		start := time.Now()
		cancel()
		<-done
		if took := time.Since(start); took > time.Second {
			t.Errorf("stopping took %v, want a second at the most", took)
		}
		if s.aborted {
			t.Error("a poll was cut short")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &source{answers: []any{messages("a"), messages("b")}}
		p := &awslocal.Poller{Client: s, Queue: queue, Handler: handler(func(ctx context.Context, _ []byte) ([]byte, error) {
			cancel()
			time.Sleep(5 * time.Second) // of the bubble's time
			return nil, ctx.Err()
		})}
		p.Run(ctx)
		if want := []string{"receipt-a"}; !slices.Equal(s.deleted, want) {
			t.Errorf("deleted %q, want %q and no poll after that", s.deleted, want)
		}
	})
}

func TestPollerGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &source{answers: []any{errors.New("no connection"), messages("a"), messages("b")}}
		deletes := 0
		s.refuse = func(in *sqs.DeleteMessageBatchInput) (*sqs.DeleteMessageBatchOutput, error) {
			deletes++
			if deletes == 1 {
				return nil, errors.New("no answer")
			}
			return &sqs.DeleteMessageBatchOutput{Failed: []types.BatchResultErrorEntry{{
				Id: in.Entries[0].Id, Code: aws.String("ReceiptHandleIsInvalid"), Message: aws.String("too late"),
			}}}, nil
		}
		var got []string
		run(t, &awslocal.Poller{
			Client: s, Queue: queue, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Handler: handler(func(_ context.Context, in []byte) ([]byte, error) {
				var e events.SQSEvent
				if err := json.Unmarshal(in, &e); err != nil {
					return nil, err
				}
				for _, r := range e.Records {
					got = append(got, r.MessageId)
				}
				return nil, nil
			}),
		})
		if want := []string{"a", "b"}; !slices.Equal(got, want) {
			t.Errorf("worked on %q, want %q", got, want)
		}
		for _, want := range []string{"no connection", "no answer", "ReceiptHandleIsInvalid: too late"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
	})
}

func TestPollerConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answers: []any{messages("a"), messages("b"), messages("c"), messages("d")}}
		var mu sync.Mutex
		var now, most int
		run(t, &awslocal.Poller{
			Client: s, Queue: queue, Concurrency: 3,
			Handler: handler(func(context.Context, []byte) ([]byte, error) {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second) // of the bubble's time
				mu.Lock()
				now--
				mu.Unlock()
				return nil, nil
			}),
		})
		if most != 3 || len(s.deleted) != 4 {
			t.Errorf("%d at once and %d deleted, want 3 and 4", most, len(s.deleted))
		}
	})
}
