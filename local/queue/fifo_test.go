package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/queue"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

const imports = `
Transform: AWS::Serverless-2016-10-31
Resources:
  ImportsQueue:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      ContentBasedDeduplication: false
      DeduplicationScope: messageGroup
      VisibilityTimeout: 720
      MessageRetentionPeriod: 1209600
      RedrivePolicy: {deadLetterTargetArn: !GetAtt ImportsDeadLetters.Arn, maxReceiveCount: 5}
  ImportsDeadLetters:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true, ContentBasedDeduplication: false}
  ImportWorker:
    Type: AWS::Serverless::Function
    Properties:
      Timeout: 120
      Events:
        Parts:
          Type: SQS
          Properties:
            Queue: !GetAtt ImportsQueue.Arn
            BatchSize: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 2}
`

// Two shops import at once, from the template to the worker: one part of a shop
// at a time, in order; a part that waits holds back its shop and nobody else; a
// part that is refused, or takes the worker down each time, is put aside and
// lets the rest go on.
func TestFIFOWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tmpl, err := template.Parse([]byte(imports))
		if err != nil {
			t.Fatal(err)
		}
		b := broker(t, tmpl.Queues...)
		q, dlq := named(t, b, "ImportsQueue"), named(t, b, "ImportsDeadLetters")
		begin := time.Now()
		var (
			mu     sync.Mutex
			events []string
			active = map[string]int{}
		)
		edge := &worker.Edge{Queue: q, DeadLetters: dlq, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		handler := edge.Handler("import-worker", func(_ context.Context, d *worker.Delivery) error {
			shop, what, _ := strings.Cut(d.Body, " ")
			mu.Lock()
			events = append(events, fmt.Sprintf("%v %s", time.Since(begin).Truncate(time.Minute), d.Body))
			if active[shop]++; active[shop] > 1 {
				t.Errorf("two parts of %s at once: %q", shop, events)
			}
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			active[shop]--
			mu.Unlock()
			switch {
			case what == "waits" && d.Receives == 1:
				return &fault.Error{Kind: fault.Busy, RetryAt: time.Now().Add(time.Hour)}
			case what == "refused":
				return fault.New(fault.Invalid, "It is malformed.")
			}
			return nil
		})
		p, err := queue.NewPump(b, queue.PumpConfig{
			Source: tmpl.EventSources[0], Function: tmpl.Functions[0],
			Invoke: func(ctx context.Context, _ string, payload []byte) ([]byte, error) {
				if strings.Contains(string(payload), "b fatal") {
					return nil, fmt.Errorf("the process has gone")
				}
				return handler.Invoke(ctx, payload)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, body := range []string{"a 1", "b 1", "a waits", "a refused", "b fatal", "a refused", "b 2", "a 2"} {
			if err := q.Send(t.Context(), worker.Message{Body: body, Group: body[:1], Dedup: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.Run(ctx); close(done) }()
		time.Sleep(3 * time.Hour)
		cancel()
		<-done

		of := func(shop string) (list []string) {
			for _, e := range events {
				if strings.Contains(e, " "+shop+" ") {
					list = append(list, e)
				}
			}
			return list
		}
		// The wait is up to a tenth longer at random.
		var names []string
		for _, e := range of("a") {
			_, body, _ := strings.Cut(e, " ")
			names = append(names, body)
		}
		if want := []string{"a 1", "a waits", "a waits", "a refused", "a refused", "a 2"}; !slices.Equal(names, want) {
			t.Errorf("shop a's parts: %q, want %q", of("a"), want)
		}
		if first := of("a"); len(first) > 2 && !strings.HasPrefix(first[2], "1h") {
			t.Errorf("the part came again at %s, want an hour later", first[2])
		}
		// Five deliveries of the fatal one, 12 minutes apart; only then the next.
		if want := []string{"0s b 1", "1h1m0s b 2"}; !slices.Equal(of("b"), want) {
			t.Errorf("shop b's parts: %q, want %q", of("b"), want)
		}
		var aside []string
		for _, m := range dlq.Messages() {
			aside = append(aside, m.Body+" "+m.Group+" "+m.Attributes[worker.Reason])
		}
		slices.Sort(aside)
		if want := []string{"a refused a invalid: It is malformed.", "a refused a invalid: It is malformed.", "b fatal b "}; !slices.Equal(aside, want) {
			t.Errorf("dead letters %q, want %q", aside, want)
		}
		if got := states(q); got != "" {
			t.Errorf("left: %s", got)
		}
	})
}
