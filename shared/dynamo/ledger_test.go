package dynamo_test

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
)

var key = order.Key{Account: "shop", Order: 1001}

// working is the item of an order that an attempt has claimed for a minute.
func working(attempt string, since time.Time) item {
	return item{
		"account": s("shop"), "order": n("1001"), "state": s("working"), "attempts": n("1"),
		"queued": n(milli(since)), "updated": n(milli(since)),
		"attempt": s(attempt), "lease": n(milli(since.Add(time.Minute))),
	}
}

func with(i item, changes item) item {
	i = maps.Clone(i)
	maps.Copy(i, changes)
	return i
}

func milli(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func TestLedgerFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := dynamo.NewLedger(failing(tt.err), "ledger")
			_, claimErr := l.Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
			_, _, getErr := l.Get(t.Context(), key)
			for op, err := range map[string]error{
				"Queue":  l.Queue(t.Context(), key, order.Stamp{}, now),
				"Claim":  claimErr,
				"Note":   l.Note(t.Context(), key, "a", 1, now),
				"Finish": l.Finish(t.Context(), key, "a", order.Sent, "", false, now),
				"Reopen": l.Reopen(t.Context(), key, now, false),
				"Get":    getErr,
			} {
				if got := fault.KindOf(err); err == nil || got != tt.want {
					t.Errorf("%s = %v (%v), want %v", op, err, got, tt.want)
				}
				if err != nil && !strings.Contains(err.Error(), tt.err.Error()) {
					t.Errorf("%s = %v, want it to keep the cause %v", op, err, tt.err)
				}
				if err != nil && !strings.Contains(err.Error(), "order 1001 of account shop") {
					t.Errorf("%s = %v, want it to name the order", op, err)
				}
				if errors.Is(err, order.ErrLost) {
					t.Errorf("%s = %v, want no ErrLost: nobody knows", op, err)
				}
			}
		})
	}
}

// A write whose answer was lost is sent again by the SDK, and then meets what
// it wrote the first time.
func TestLedgerLostAnswers(t *testing.T) {
	t.Parallel()
	mine := working("a", now)
	done := item{
		"account": s("shop"), "order": n("1001"), "state": s("waiting"), "attempts": n("1"), "attempt": s("a"),
		"reason": s("Rule answers 500"), "uncertain": &types.AttributeValueMemberBOOL{Value: true},
	}

	t.Run("Queue", func(t *testing.T) {
		t.Parallel()
		l := dynamo.NewLedger(updates(t, item{"state": s("queued"), "queued": n(nowMilli), "updated": n(nowMilli)}), "ledger")
		if err := l.Queue(t.Context(), key, order.Stamp{}, now); err != nil {
			t.Errorf("Queue = %v, want nil", err)
		}
	})
	t.Run("Reopen", func(t *testing.T) {
		t.Parallel()
		for _, there := range []item{{"state": s("queued"), "updated": n(nowMilli)}, mine, nil} {
			if err := dynamo.NewLedger(updates(t, there), "ledger").Reopen(t.Context(), key, now, false); err != nil {
				t.Errorf("Reopen of %v = %v, want nil", there["state"], err)
			}
		}
	})
	t.Run("Claim", func(t *testing.T) {
		t.Parallel()
		l := dynamo.NewLedger(updates(t, mine), "ledger")
		c, err := l.Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
		if err != nil || !c.Mine || c.Attempts != 1 || c.Uncertain {
			t.Errorf("Claim = %+v, %v; want the first attempt's own", c, err)
		}
	})
	t.Run("Claim of an expired lease", func(t *testing.T) {
		t.Parallel()
		taken := with(mine, item{"attempts": n("2"), "uncertain": &types.AttributeValueMemberBOOL{Value: true}})
		l := dynamo.NewLedger(updates(t, working("z", now.Add(-time.Hour)), taken), "ledger")
		c, err := l.Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
		if err != nil || !c.Mine || c.Attempts != 2 || !c.Uncertain {
			t.Errorf("Claim = %+v, %v; want the second attempt's own, uncertain", c, err)
		}
	})
	t.Run("Finish", func(t *testing.T) {
		t.Parallel()
		l := dynamo.NewLedger(updates(t, done), "ledger")
		if err := l.Finish(t.Context(), key, "a", order.Waiting, "Rule answers 500", true, now); err != nil {
			t.Errorf("Finish = %v, want nil", err)
		}
	})
	t.Run("Finish of something else", func(t *testing.T) {
		t.Parallel()
		l := dynamo.NewLedger(updates(t, done), "ledger")
		if err := l.Finish(t.Context(), key, "a", order.Sent, "", false, now); !errors.Is(err, order.ErrLost) {
			t.Errorf("Finish = %v, want ErrLost", err)
		}
	})
}

// Between the look and the write of a claim the order may change hands.
func TestLedgerClaimRaces(t *testing.T) {
	t.Parallel()
	expired := working("z", now.Add(-time.Hour))
	finished := item{"state": s("sent"), "attempt": s("b")}
	waiting := item{"state": s("waiting"), "attempt": s("b")}
	for name, tt := range map[string]struct {
		answers []any
		want    order.State
		mine    bool
		kind    fault.Kind // of the error, when want is ""
	}{
		"another takes the expired lease first": {[]any{expired, working("b", now)}, order.Working, false, 0},
		"another took it and is done":           {[]any{expired, finished}, order.Sent, false, 0},
		"the late attempt finishes after all":   {[]any{expired, waiting, &dynamodb.UpdateItemOutput{Attributes: working("a", now)}}, order.Working, true, 0},
		"freed while it was looked at":          {[]any{waiting, &dynamodb.UpdateItemOutput{Attributes: working("a", now)}}, order.Working, true, 0},
		"it never stands still":                 {[]any{waiting, waiting, waiting, waiting}, "", false, fault.Unavailable},
		"the second write fails":                {[]any{expired, &types.InternalServerError{}}, "", false, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := dynamo.NewLedger(updates(t, tt.answers...), "ledger").Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
			if tt.want == "" {
				if err == nil || fault.KindOf(err) != tt.kind || c.Mine {
					t.Errorf("Claim = %+v, %v; want a %v error", c, err, tt.kind)
				}
				return
			}
			if err != nil || c.State != tt.want || c.Mine != tt.mine {
				t.Errorf("Claim = %+v, %v; want %s, mine %v", c, err, tt.want, tt.mine)
			}
		})
	}
}

func TestLedgerDamagedItems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		attribute string
		value     types.AttributeValue
	}{
		"state is a number":       {"state", n("1")},
		"state is missing":        {"state", nil},
		"state is unknown":        {"state", s("sold")},
		"subscriber is text":      {"subscriber", s("4711")},
		"attempts is a set":       {"attempts", &types.AttributeValueMemberNS{Value: []string{"1"}}},
		"attempts is a fraction":  {"attempts", n("0.5")},
		"uncertain is text":       {"uncertain", s("true")},
		"reason is a map":         {"reason", &types.AttributeValueMemberM{}},
		"queued is text":          {"queued", s("yesterday")},
		"updated is a truth":      {"updated", &types.AttributeValueMemberBOOL{}},
		"attempt is bytes":        {"attempt", &types.AttributeValueMemberB{}},
		"attempt is missing":      {"attempt", nil},
		"lease is text":           {"lease", s("a minute")},
		"lease is missing":        {"lease", nil},
		"lease is a set of texts": {"lease", &types.AttributeValueMemberSS{}},
		"lease is a set of bytes": {"lease", &types.AttributeValueMemberBS{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := with(working("a", now), item{tt.attribute: tt.value})
			if tt.value == nil {
				delete(i, tt.attribute)
			}
			reading := dynamo.NewLedger(client{get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
				if !aws.ToBool(in.ConsistentRead) {
					t.Error("the read is not consistent")
				}
				return &dynamodb.GetItemOutput{Item: i}, nil
			}}, "ledger")
			r, ok, err := reading.Get(t.Context(), key)
			wantDamaged(t, err, "order 1001 of account shop", "attribute "+tt.attribute)
			if diff := cmp.Diff(order.Record{}, r); ok || diff != "" {
				t.Errorf("Get returned a record beside its error: ok %v\n%s", ok, diff)
			}
			c, err := dynamo.NewLedger(updates(t, i), "ledger").Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
			wantDamaged(t, err, "order 1001 of account shop", "attribute "+tt.attribute)
			if c.Mine {
				t.Error("Claim gave away an order it cannot read")
			}
		})
	}
}
