package dynamo_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/order"
)

// DynamoDB refuses a placeholder that is not defined, a definition that is not
// used, and an attribute written without a placeholder whose name it reserves.
// Emulators are more patient, so every expression is checked here.
func TestExpressions(t *testing.T) {
	t.Parallel()
	placeholder := regexp.MustCompile(`[#:][a-z]+`)
	allowed := regexp.MustCompile(`^(SET|REMOVE|AND|OR|IN|attribute_exists|attribute_not_exists|if_not_exists|[#:][a-z]+)$`)
	checked := 0
	check := func(names map[string]string, values item, expressions ...string) {
		checked++
		var used, defined []string
		for _, e := range expressions {
			used = append(used, placeholder.FindAllString(e, -1)...)
			for word := range strings.FieldsFuncSeq(e, func(r rune) bool { return strings.ContainsRune(" ()=<+,", r) }) {
				if !allowed.MatchString(word) {
					t.Errorf("%q is written out in %q", word, e)
				}
			}
		}
		for name, attribute := range names {
			defined = append(defined, name)
			if name != "#"+attribute {
				t.Errorf("%s stands for %s", name, attribute)
			}
		}
		for value := range values {
			defined = append(defined, value)
		}
		slices.Sort(used)
		slices.Sort(defined)
		if diff := cmp.Diff(slices.Compact(used), defined); diff != "" {
			t.Errorf("placeholders of %q (-used +defined):\n%s", expressions, diff)
		}
	}
	expired := working("z", now.Add(-time.Hour))
	c := client{
		put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
			if in.ConditionExpression != nil {
				check(in.ExpressionAttributeNames, in.ExpressionAttributeValues, aws.ToString(in.ConditionExpression))
			}
			return &dynamodb.PutItemOutput{}, nil
		},
		update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
			check(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
				aws.ToString(in.UpdateExpression), aws.ToString(in.ConditionExpression))
			if _, free := in.ExpressionAttributeValues[":waiting"]; free {
				return nil, conditionFailed(expired)
			}
			return &dynamodb.UpdateItemOutput{Attributes: working("a", now)}, nil
		},
	}
	accounts, ledger := dynamo.NewAccounts(c, "accounts"), dynamo.NewLedger(c, "ledger")
	_, claimErr := ledger.Claim(t.Context(), key, "a", now, time.Minute)
	for op, err := range map[string]error{
		"Create":               accounts.Create(t.Context(), account.Account{ID: "shop"}),
		"Block":                accounts.Block(t.Context(), "shop", now),
		"SetSchema":            accounts.SetSchema(t.Context(), "shop", 1),
		"Queue":                ledger.Queue(t.Context(), key, now),
		"Claim":                claimErr,
		"Note":                 ledger.Note(t.Context(), key, "a", 1, now),
		"Finish":               ledger.Finish(t.Context(), key, "a", order.Sent, "", false, now),
		"Finish with a reason": ledger.Finish(t.Context(), key, "a", order.Failed, "refused", false, now),
	} {
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	if checked != 9 {
		t.Errorf("%d expressions were checked, want 9: a claim has two", checked)
	}
}
