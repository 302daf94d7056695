package dynamo_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/fault"
)

var customer = bonus.Key{Account: "shop", Subscriber: 4711}

func TestBonusFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewBonus(failing(tt.err), "bonus")
			_, getErr := store.Get(t.Context(), customer)
			for op, err := range map[string]error{
				"Get": getErr,
				"Put": store.Put(t.Context(), customer, bonus.Book{Rev: 1}),
			} {
				wantFailure(t, op, err, tt.err, tt.want, "subscriber 4711 of account shop")
				if errors.Is(err, bonus.ErrChanged) {
					t.Errorf("%s = %v, want no ErrChanged: nobody knows", op, err)
				}
			}
		})
	}
}

// wantFailure checks the error of a call that DynamoDB failed with cause.
func wantFailure(t *testing.T, op string, err, cause error, want fault.Kind, name string) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (%v), want %v", op, err, got, want)
		return
	}
	if !strings.Contains(err.Error(), cause.Error()) || !strings.Contains(err.Error(), name) {
		t.Errorf("%s = %v, want it to keep the cause %v and to name %s", op, err, cause, name)
	}
	if got := fault.As(err).Message; got != "" {
		t.Errorf("%s has the sentence %q for the caller, want none", op, got)
	}
}

// The item is what the package's documentation says: support reads it.
func TestBonusItem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got []*dynamodb.UpdateItemInput
		store := dynamo.NewBonus(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
			got = append(got, in)
			return &dynamodb.UpdateItemOutput{}, nil
		}}, "bonus")
		for _, rev := range []int64{0, 7} {
			if err := store.Put(t.Context(), customer, bonus.Book{Rev: rev, Version: 2, Holder: "c0ffee"}); err != nil {
				t.Fatal(err)
			}
		}
		stamps := map[string]bool{}
		for i, want := range []struct {
			condition string
			values    item
		}{
			{"attribute_not_exists(#rev)", item{":next": n("1")}},
			{"#rev = :rev", item{":next": n("8"), ":rev": n("7")}},
		} {
			in := got[i]
			if aws.ToString(in.TableName) != "bonus" || aws.ToString(in.ConditionExpression) != want.condition {
				t.Errorf("table %s, condition %s; want %s", aws.ToString(in.TableName), aws.ToString(in.ConditionExpression), want.condition)
			}
			if diff := cmp.Diff(item{"account": s("shop"), "subscriber": n("4711")}, in.Key, unexported); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
			stamp := in.ExpressionAttributeValues[":stamp"].(*types.AttributeValueMemberS).Value
			if stamps[stamp] || len(stamp) < 20 {
				t.Errorf("stamp %q is short, or was there before", stamp)
			}
			stamps[stamp] = true
			want.values[":stamp"] = s(stamp)
			want.values[":now"] = n(milli(time.Now()))
			want.values[":expires"] = n(unix(time.Now().AddDate(0, 36, 31)))
			want.values[":book"] = s(`{"version":2,"synced":0,"holder":"c0ffee"}`)
			if diff := cmp.Diff(want.values, in.ExpressionAttributeValues, unexported); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		}
	})
}

// A write whose answer was lost is sent again by the SDK, and then meets what
// it wrote the first time, or what another has made of that.
func TestBonusLostAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		there func(stamp string) item
		want  error
	}{
		"its own book":                  {func(stamp string) item { return item{"rev": n("4"), "stamp": s(stamp), "before": s("x")} }, nil},
		"its own, the first of all":     {func(stamp string) item { return item{"rev": n("4"), "stamp": s(stamp), "before": s(stamp)} }, nil},
		"another's, written after":      {func(stamp string) item { return item{"rev": n("5"), "stamp": s("y"), "before": s(stamp)} }, nil},
		"another's":                     {func(string) item { return item{"rev": n("4"), "stamp": s("y"), "before": s("x")} }, bonus.ErrChanged},
		"none":                          {func(string) item { return nil }, bonus.ErrChanged},
		"one whose stamp is a number":   {func(string) item { return item{"rev": n("4"), "stamp": n("1")} }, bonus.ErrChanged},
		"one that support has put back": {func(string) item { return item{"rev": n("9"), "book": s("{}")} }, bonus.ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewBonus(client{update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
				if in.ReturnValuesOnConditionCheckFailure != types.ReturnValuesOnConditionCheckFailureAllOld {
					t.Error("the write does not ask what is there instead")
				}
				return nil, conditionFailed(tt.there(in.ExpressionAttributeValues[":stamp"].(*types.AttributeValueMemberS).Value))
			}}, "bonus")
			if err := store.Put(t.Context(), customer, bonus.Book{Rev: 3}); !errors.Is(err, tt.want) {
				t.Errorf("Put = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestBonusTooLarge(t *testing.T) {
	t.Parallel()
	store := dynamo.NewBonus(client{}, "bonus") // nothing is sent
	err := store.Put(t.Context(), customer, bonus.Book{Holder: strings.Repeat("å", 200_000)})
	if f := fault.As(err); f == nil || f.Kind != fault.TooLarge || !strings.HasSuffix(f.Message, ".") {
		t.Errorf("Put = %v, want too large, with a sentence", err)
	}
}

func TestBonusDamagedItems(t *testing.T) {
	t.Parallel()
	reading := func(i item) *dynamo.Bonus {
		return dynamo.NewBonus(client{get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
			if !aws.ToBool(in.ConsistentRead) {
				t.Error("the read is not consistent")
			}
			return &dynamodb.GetItemOutput{Item: i}, nil
		}}, "bonus")
	}
	whole := item{
		"account": s("shop"), "subscriber": n("4711"), "rev": n("7"), "stamp": s("y"), "before": s("x"), "updated": n(nowMilli),
		"book": s(`{"version":2,"synced":1,"entries":[{"kind":"bonuscheck","id":"bc-1001","uses":null}],"later":1}`), "note": s("written by support"),
	}
	got, err := reading(whole).Get(t.Context(), customer)
	want := bonus.Book{Rev: 7, Version: 2, Synced: 1, Entries: []bonus.Entry{{Kind: bonus.Check, ID: "bc-1001"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Get of a whole item: %v (-want +got):\n%s", err, diff)
	}

	for name, tt := range map[string]struct {
		attribute string
		value     types.AttributeValue
	}{
		"rev is text":               {"rev", s("7")},
		"rev is missing":            {"rev", nil},
		"rev is none":               {"rev", n("0")},
		"rev is a fraction":         {"rev", n("1.5")},
		"book is missing":           {"book", nil},
		"book is empty":             {"book", s("")},
		"book is a map":             {"book", &types.AttributeValueMemberM{}},
		"book is not JSON":          {"book", s("{")},
		"book is a list":            {"book", s("[]")},
		"book has a bad amount":     {"book", s(`{"entries":[{"uses":[{"amount":"ten"}]}]}`)},
		"book has a bad moment":     {"book", s(`{"until":"tomorrow"}`)},
		"book has text for entries": {"book", s(`{"entries":"none"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := with(whole, item{tt.attribute: tt.value})
			if tt.value == nil {
				delete(i, tt.attribute)
			}
			got, err := reading(i).Get(t.Context(), customer)
			wantDamaged(t, err, "subscriber 4711 of account shop", "attribute "+tt.attribute)
			if diff := cmp.Diff(bonus.Book{}, got); diff != "" {
				t.Errorf("Get returned a book beside its error:\n%s", diff)
			}
		})
	}
}
