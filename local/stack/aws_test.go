package stack_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/order"
)

// The day at the till with the real adapters, over the wire: DynamoDB, SQS and
// KMS of an emulator. It runs with `make test-aws`; without an emulator there is
// nothing to test here.
func TestDayOverAWS(t *testing.T) {
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	r := newRig(t, options{Options: stack.Options{Cloud: &cfg}})
	r.books = dynamo.NewLedger(dynamodb.NewFromConfig(cfg), stack.Prefix+"LedgerTable")
	playDay(t, r, func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, id := range []int64{210334, 210502} {
			for {
				rec, found, err := r.books.Get(ctx, order.Key{Account: r.id, Order: id})
				if err != nil {
					t.Fatalf("order %d: %v", id, err)
				}
				if found && rec.State == order.Sent {
					break
				}
			}
		}
	})
}
