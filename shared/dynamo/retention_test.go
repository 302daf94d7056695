package dynamo_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/order"
)

// Every change of an order's line keeps it for the retention from then on, and a
// month longer than a backfill goes by.
func TestLedgerRetention(t *testing.T) {
	t.Parallel()
	k := order.Key{Account: "shop", Order: 7}
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for months, want := range map[order.Retention]time.Time{0: at.AddDate(3, 0, 31), 12: at.AddDate(1, 0, 31), 60: at.AddDate(5, 0, 31)} {
		var got []string
		l := dynamo.NewLedger(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
			if !strings.Contains(aws.ToString(in.UpdateExpression), "#expires = :expires") {
				t.Errorf("%s keeps the line for no longer", aws.ToString(in.UpdateExpression))
			}
			got = append(got, valueOf(in.ExpressionAttributeValues[":expires"]))
			return &dynamodb.UpdateItemOutput{}, nil
		}}, "ledger")
		l.Retention = months
		_ = l.Queue(t.Context(), k, order.Stamp{}, at)
		_, _ = l.Claim(t.Context(), k, order.Stamp{}, "attempt", at, time.Minute)
		_ = l.Note(t.Context(), k, "attempt", 4711, at)
		_ = l.Finish(t.Context(), k, "attempt", order.Sent, "", false, at)
		_ = l.Finish(t.Context(), k, "attempt", order.Waiting, "why", false, at)
		_ = l.Reopen(t.Context(), k, at, true)
		_ = l.Reopen(t.Context(), k, at, false)
		if len(got) != 7 {
			t.Fatalf("%d changes, want 7", len(got))
		}
		for i, v := range got {
			if v != valueOf(n(unix(want))) {
				t.Errorf("%d months, change %d: kept until %s, want %s", months, i, v, unix(want))
			}
		}
	}
}

// A book is kept as long as one of its checks can be used, and for good if that is
// not known of one.
func TestBookRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		least := time.Now().AddDate(0, 36, 31)
		soon, late := time.Now().AddDate(0, 6, 0), time.Now().AddDate(12, 0, 0)
		for name, tt := range map[string]struct {
			entries []bonus.Entry
			want    string // "" for good
		}{
			"empty":                 {nil, unix(least)},
			"runs out before":       {[]bonus.Entry{{ID: "a", Until: soon}}, unix(least)},
			"can be used for years": {[]bonus.Entry{{ID: "a", Until: soon}, {ID: "b", Until: late}}, unix(late)},
			"has no last day":       {[]bonus.Entry{{ID: "a", Until: soon}, {ID: "b"}, {ID: "c", Until: late}}, ""},
		} {
			var update, got string
			s := dynamo.NewBonus(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
				update = aws.ToString(in.UpdateExpression)
				if v := in.ExpressionAttributeValues[":expires"]; v != nil {
					got = valueOf(v)
				}
				return &dynamodb.UpdateItemOutput{}, nil
			}}, "bonus")
			if err := s.Put(t.Context(), bonus.Key{Account: "shop", Subscriber: 1}, bonus.Book{Entries: tt.entries}); err != nil {
				t.Fatal(err)
			}
			if got != tt.want || strings.HasSuffix(update, "REMOVE #expires") != (tt.want == "") {
				t.Errorf("%s: kept until %q by %q, want %q", name, got, update, tt.want)
			}
		}
	})
}

// valueOf is a number of DynamoDB's.
func valueOf(v types.AttributeValue) string {
	n, _ := v.(*types.AttributeValueMemberN)
	if n == nil {
		return ""
	}
	return n.Value
}
