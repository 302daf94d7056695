package awslocal_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/contract"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

func TestCreateOnEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	suffix := strings.ToLower(rand.Text())

	t.Run("tables", func(t *testing.T) {
		t.Parallel()
		accounts := awslocal.Table{Name: "accounts-" + suffix, Hash: awslocal.Key{Name: "id", Type: "S"}, TTL: "expires"}
		ledger := awslocal.Table{
			Name: "ledger-" + suffix,
			Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "order", Type: "N"},
		}
		for range 2 { // the second time they are there
			if err := awslocal.CreateTables(t.Context(), cfg, []awslocal.Table{accounts, ledger}); err != nil {
				t.Fatal(err)
			}
		}
		is, err := dynamodb.NewFromConfig(cfg).DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(accounts.Name)})
		if err != nil || aws.ToString(is.TimeToLiveDescription.AttributeName) != "expires" {
			t.Errorf("TTL = %+v, %v; want it on expires", is, err)
		}
		for name, other := range map[string]awslocal.Table{
			"another name": {Name: accounts.Name, Hash: awslocal.Key{Name: "account", Type: "S"}},
			"another type": {Name: accounts.Name, Hash: awslocal.Key{Name: "id", Type: "N"}},
			"a range key":  {Name: accounts.Name, Hash: accounts.Hash, Range: awslocal.Key{Name: "order", Type: "N"}},
		} {
			err := awslocal.CreateTables(t.Context(), cfg, []awslocal.Table{other})
			if err == nil || !strings.Contains(err.Error(), other.Name) {
				t.Errorf("%s: CreateTables = %v, want an error that names the table", name, err)
			}
		}
	})

	t.Run("queues", func(t *testing.T) {
		t.Parallel()
		declared := []awslocal.Queue{
			{
				Name: "orders-" + suffix, DeadLetters: "dead-" + suffix, MaxReceives: 5,
				Attributes: map[string]string{"VisibilityTimeout": "180"},
			},
			{Name: "dead-" + suffix, Attributes: map[string]string{"MessageRetentionPeriod": "1209600"}},
			{Name: "history-" + suffix + ".fifo", Attributes: map[string]string{"FifoQueue": "true"}},
		}
		first, err := awslocal.CreateQueues(t.Context(), cfg, declared)
		if err != nil {
			t.Fatal(err)
		}
		declared[0].Attributes["VisibilityTimeout"] = "240" // the template has changed
		second, err := awslocal.CreateQueues(t.Context(), cfg, declared)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range declared {
			if first[q.Name] != second[q.Name] || first[q.Name].URL == "" || !strings.HasSuffix(first[q.Name].ARN, ":"+q.Name) {
				t.Errorf("queue %s = %+v, then %+v", q.Name, first[q.Name], second[q.Name])
			}
		}
		out, err := sqs.NewFromConfig(cfg).GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: aws.String(first["orders-"+suffix].URL), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Attributes["VisibilityTimeout"]; got != "240" {
			t.Errorf("visibility timeout = %s, want the changed 240", got)
		}
		if got := out.Attributes["RedrivePolicy"]; !strings.Contains(got, first["dead-"+suffix].ARN) || !strings.Contains(got, "5") {
			t.Errorf("redrive policy = %s, want 5 receives to %s", got, first["dead-"+suffix].ARN)
		}
		_, err = awslocal.CreateQueues(t.Context(), cfg, []awslocal.Queue{{Name: "lost-" + suffix, DeadLetters: "nowhere"}})
		if err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("CreateQueues = %v, want an error that names the missing dead-letter queue", err)
		}
	})

	t.Run("key", func(t *testing.T) {
		t.Parallel()
		first, err := awslocal.CreateKey(t.Context(), cfg, "alias/"+suffix)
		if err != nil || first == "" {
			t.Fatalf("CreateKey = %q, %v", first, err)
		}
		if second, err := awslocal.CreateKey(t.Context(), cfg, "alias/"+suffix); err != nil || second != first {
			t.Errorf("CreateKey again = %q, %v; want %q", second, err, first)
		}
	})
}

// Messages go over the wire to a worker that fails one of them until it has
// been received twice: that one ends in the dead-letter queue, the others are
// worked on once.
func TestPollerOnEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	suffix := strings.ToLower(rand.Text())
	made, err := awslocal.CreateQueues(t.Context(), cfg, []awslocal.Queue{
		{Name: "dead-" + suffix},
		{
			Name: "orders-" + suffix, DeadLetters: "dead-" + suffix, MaxReceives: 2,
			Attributes: map[string]string{"VisibilityTimeout": "1"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := sqs.NewFromConfig(cfg)
	orders := sqsqueue.New(client, made["orders-"+suffix].URL)
	for _, body := range []string{"good 1", "bad", "good 2"} {
		if err := orders.Send(t.Context(), worker.Message{Body: body, Group: "shop"}); err != nil {
			t.Fatal(err)
		}
	}

	var mu sync.Mutex
	var good []string
	bad := 0
	worked := handler(func(_ context.Context, in []byte) ([]byte, error) {
		var e events.SQSEvent
		if err := json.Unmarshal(in, &e); err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		var r events.SQSEventResponse
		for _, m := range e.Records {
			if m.Body == "bad" {
				bad++
				r.BatchItemFailures = append(r.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			} else {
				good = append(good, m.Body)
			}
		}
		return json.Marshal(r)
	})
	dead := make(chan string, 10)
	buried := handler(func(_ context.Context, in []byte) ([]byte, error) {
		var e events.SQSEvent
		if err := json.Unmarshal(in, &e); err != nil {
			return nil, err
		}
		for _, m := range e.Records {
			dead <- m.Body
		}
		return nil, nil
	})

	ctx, cancel := context.WithCancel(t.Context())
	var pollers sync.WaitGroup
	for _, p := range []*awslocal.Poller{
		{Client: client, Queue: made["orders-"+suffix], Handler: worked, PartialFailures: true, Concurrency: 2},
		{Client: client, Queue: made["dead-"+suffix], Handler: buried},
	} {
		pollers.Go(func() { p.Run(ctx) })
	}
	select {
	case got := <-dead:
		if got != "bad" {
			t.Errorf("dead-letter queue has %q, want bad", got)
		}
	case <-time.After(time.Minute):
		t.Error("nothing reached the dead-letter queue in a minute")
	}
	cancel()
	pollers.Wait()
	slices.Sort(good)
	if want := []string{"good 1", "good 2"}; !slices.Equal(good, want) || bad != 2 {
		t.Errorf("worked on %q and %d times on the bad one, want %q and twice", good, bad, want)
	}
}

// A FIFO queue over the wire: one message of a group at a time and in order,
// groups side by side, and a message that fails each time moves aside to a FIFO
// dead-letter queue and lets the rest of its group go on.
func TestFIFOPollerOnEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	suffix := strings.ToLower(rand.Text()) + ".fifo"
	made, err := awslocal.CreateQueues(t.Context(), cfg, []awslocal.Queue{
		{Name: "dead-" + suffix, Attributes: map[string]string{"FifoQueue": "true"}},
		{
			Name: "imports-" + suffix, DeadLetters: "dead-" + suffix, MaxReceives: 2,
			// As long as a busy machine may take for one message; the one that takes
			// the process down comes back only then.
			Attributes: map[string]string{"FifoQueue": "true", "VisibilityTimeout": "5", "DeduplicationScope": "messageGroup"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := sqs.NewFromConfig(cfg)
	imports, dead := sqsqueue.New(client, made["imports-"+suffix].URL), sqsqueue.New(client, made["dead-"+suffix].URL)
	for _, body := range []string{"a 1", "a bad", "b 1", "a refused", "a 2", "b 2"} {
		if err := imports.Send(t.Context(), worker.Message{Body: body, Group: body[:1], Dedup: strings.ReplaceAll(body, " ", "-")}); err != nil {
			t.Fatal(err)
		}
	}

	var (
		mu     sync.Mutex
		worked []string
		active = map[string]bool{}
		last   = make(chan string, 10)
	)
	edge := &worker.Edge{Queue: imports, DeadLetters: dead, Log: slog.New(slog.DiscardHandler), Now: time.Now}
	part := edge.Handler("import-worker", func(_ context.Context, d *worker.Delivery) error {
		switch d.Body[2:] {
		case "refused":
			return fault.New(fault.Invalid, "It is malformed.")
		case "2":
			last <- d.Body
		}
		return nil
	})
	one := handler(func(ctx context.Context, in []byte) ([]byte, error) {
		var e events.SQSEvent
		if err := json.Unmarshal(in, &e); err != nil {
			return nil, err
		}
		if len(e.Records) != 1 {
			t.Errorf("a batch of %d, want 1", len(e.Records))
		}
		m := e.Records[0]
		group := m.Attributes["MessageGroupId"]
		mu.Lock()
		if active[group] {
			t.Errorf("%s comes while another of its group is worked on", m.Body)
		}
		active[group] = true
		worked = append(worked, m.Body)
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			active[group] = false
		}()
		if m.Body == "a bad" {
			return nil, errors.New("the process has gone")
		}
		return part.Invoke(ctx, in)
	})
	buried := make(chan events.SQSMessage, 10)
	undertaker := handler(func(_ context.Context, in []byte) ([]byte, error) {
		var e events.SQSEvent
		if err := json.Unmarshal(in, &e); err != nil {
			return nil, err
		}
		for _, m := range e.Records {
			buried <- m
		}
		return nil, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var pollers sync.WaitGroup
	for _, p := range []*awslocal.Poller{
		{Client: client, Queue: made["imports-"+suffix], Handler: one, BatchSize: 1, PartialFailures: true, Concurrency: 2},
		{Client: client, Queue: made["dead-"+suffix], Handler: undertaker, BatchSize: 1},
	} {
		pollers.Go(func() { p.Run(ctx) })
	}
	reasons := map[string]string{}
	patience := time.After(time.Minute)
	for range 4 { // two dead letters, and the last message of each group
		select {
		case m := <-buried:
			reasons[m.Body] = aws.ToString(m.MessageAttributes[worker.Reason].StringValue)
		case <-last:
		case <-patience:
			t.Error("not everything came to its end in a minute")
		}
	}
	cancel()
	pollers.Wait()
	if diff := cmp.Diff(map[string]string{"a bad": "", "a refused": "invalid: It is malformed."}, reasons); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	of := func(group string) (list []string) {
		for _, body := range worked {
			if strings.HasPrefix(body, group) {
				list = append(list, body)
			}
		}
		return list
	}
	if a, want := of("a"), []string{"a 1", "a bad", "a bad", "a refused", "a 2"}; !slices.Equal(a, want) {
		t.Errorf("group a: %q, want %q", a, want)
	}
	if b, want := of("b"), []string{"b 1", "b 2"}; !slices.Equal(b, want) {
		t.Errorf("group b: %q, want %q", b, want)
	}
}
