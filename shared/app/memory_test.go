package app_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/local/memory"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/worker"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env  map[string]string
		want int64
	}{
		"512 MB":           {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}, 512 << 20 / 7 * 6},
		"the operator's":   {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "GOMEMLIMIT": "100MiB"}, 0},
		"not in Lambda":    {nil, 0},
		"nonsense":         {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "plenty"}, 0},
		"less than no MBs": {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "-1"}, 0},
	} {
		if got := app.MemoryLimit(env(tt.env)); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// Ten of the longest orders in one batch are not all unpacked at the same moment:
// decoded they would take more memory than the function has.
func TestOrdersAreUnpackedWithinBounds(t *testing.T) {
	t.Parallel()
	sealer, err := seal.NewLocal(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := order.Message{Account: strings.Repeat("0", 32), Received: time.Now(), Order: json.RawMessage(`{"orderid":40025,"x":"` + strings.Repeat("a", order.MaxSize-30) + `"}`)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	in := events.SQSEvent{}
	for range 10 {
		in.Records = append(in.Records, events.SQSMessage{MessageId: "m", Body: text})
	}
	event, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		at, most := 0, 0
		accounts := &memory.Accounts{Fail: func(op string) error {
			if op != "Get" { // the order is unpacked by now
				return nil
			}
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			time.Sleep(time.Second) // no real one
			mu.Lock()
			defer mu.Unlock()
			at--
			return nil
		}}
		dead := &outbox{}
		p := app.Parts{
			Accounts: accounts, Sealer: sealer, Ledger: &memory.Ledger{}, DeadLetters: &locked{o: dead}, OrdersDelay: dead, Now: time.Now,
			Log: slog.New(slog.DiscardHandler),
		}
		if _, err := app.OrderWorker(p).Invoke(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		if limit := order.AtOnce / order.MaxSize; most != limit || len(dead.messages) != 10 {
			t.Errorf("%d orders were unpacked at the same moment and %d put aside, want %d and all ten: there is no such account", most, len(dead.messages), limit)
		}
	})
}

// locked is an outbox that takes messages at the same time.
type locked struct {
	mu sync.Mutex
	o  *outbox
}

func (l *locked) Send(ctx context.Context, m worker.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.o.Send(ctx, m)
}
