package dynamo_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/history"
)

// listed notes a shop of so many subscribers as a backfill does, 5000 at a time,
// each with an email address and a number, and returns what DynamoDB writes
// for it: a unit for each begun kilobyte of each item.
func listed(ctx context.Context, n int) (units int64, err error) {
	var written atomic.Int64
	store := dynamo.NewHistory(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
		size := 60 // the other attributes and all names
		for _, v := range in.Key {
			size += len(v.(*types.AttributeValueMemberS).Value)
		}
		size += len(in.ExpressionAttributeValues[":people"].(*types.AttributeValueMemberB).Value)
		written.Add(int64(size+1023) / 1024)
		return &dynamodb.UpdateItemOutput{}, nil
	}}, "history")
	for from := 0; from < n; from += 5000 {
		people, sealed := map[history.Digest]int64{}, map[int64][]byte{}
		for i := from; i < min(from+5000, n); i++ {
			for kind := range 2 {
				var d history.Digest
				// Spread as digests are.
				binary.BigEndian.PutUint64(d[:], uint64(i*2+kind+1)*0x9E3779B97F4A7C15)
				people[d] = int64(i)
			}
			sealed[int64(i)] = make([]byte, 55)
		}
		if err := store.Add(ctx, "shop", "job-1-1", people); err != nil {
			return 0, err
		}
		if err := store.AddContacts(ctx, "shop", "job-1-1", sealed); err != nil {
			return 0, err
		}
	}
	return written.Load(), nil
}

// Noting who is in Rule costs as much for each subscriber of a large shop as for
// each of a small one.
func TestListingIsInProportion(t *testing.T) {
	t.Parallel()
	small, err := listed(t.Context(), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	large, err := listed(t.Context(), 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if large > 11*small || small > 4*10_000/10 {
		t.Errorf("10,000 subscribers cost %d units and 100,000 %d, want ten times as many at the most, and no more than 0.4 each", small, large)
	}
}

// BenchmarkListing shows what a list costs in DynamoDB's write units.
func BenchmarkListing(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var units int64
			for b.Loop() {
				var err error
				if units, err = listed(b.Context(), n); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(units), "write-units")
			b.ReportMetric(1000*float64(units)/float64(n), "write-units/1000-subscribers")
		})
	}
}
