package dynamo_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
)

// DynamoDB refuses a placeholder that is not defined, a definition that is not
// used, and an attribute written without a placeholder whose name it reserves.
// Emulators are more patient, so every expression is checked here.
func TestExpressions(t *testing.T) {
	t.Parallel()
	placeholder := regexp.MustCompile(`[#:][a-z]+`)
	allowed := regexp.MustCompile(`^(SET|REMOVE|ADD|AND|OR|NOT|IN|contains|attribute_exists|attribute_not_exists|begins_with|if_not_exists|[#:][a-z]+)$`)
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
			// A site's and a label's have what they are of after a slash.
			if first, _, _ := strings.Cut(attribute, "/"); name != "#"+first {
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
	bucket := item(nil)
	c := client{
		get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
			if aws.ToString(in.TableName) == "accounts" {
				return &dynamodb.GetItemOutput{Item: wholeItems()["key#k"]}, nil
			}
			return &dynamodb.GetItemOutput{Item: bucket}, nil
		},
		put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
			if in.ConditionExpression != nil {
				check(in.ExpressionAttributeNames, in.ExpressionAttributeValues, aws.ToString(in.ConditionExpression))
			}
			return &dynamodb.PutItemOutput{}, nil
		},
		query: func(in *dynamodb.QueryInput) (*dynamodb.QueryOutput, error) {
			check(in.ExpressionAttributeNames, in.ExpressionAttributeValues, aws.ToString(in.KeyConditionExpression))
			if aws.ToString(in.TableName) == "history" {
				return &dynamodb.QueryOutput{}, nil
			}
			return &dynamodb.QueryOutput{Items: []item{with(imported()[0], item{"id": s("file")})}}, nil
		},
		update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
			check(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
				aws.ToString(in.UpdateExpression), aws.ToString(in.ConditionExpression))
			if _, free := in.ExpressionAttributeValues[":waiting"]; free {
				return nil, conditionFailed(expired)
			}
			return &dynamodb.UpdateItemOutput{Attributes: with(working("a", now), item{"owner/1/api.mysitoo.com": s("shop")})}, nil
		},
	}
	accounts, ledger := dynamo.NewAccounts(c, "accounts"), dynamo.NewLedger(c, "ledger")
	books, imports := dynamo.NewBonus(c, "bonus"), dynamo.NewImports(c, "imports")
	_, _, getErr := imports.Get(t.Context(), "shop", "file")
	_, latestErr := imports.Latest(t.Context(), "shop")
	backfills := dynamo.NewHistory(c, "history")
	_, listErr := backfills.List(t.Context(), "shop")
	_, partsErr := backfills.Parts(t.Context(), "shop", "job", 1)
	addErr := backfills.Add(t.Context(), "shop", "list", map[history.Digest]int64{{1}: 1})
	bucket = item{"rev": n("1"), "people": &types.AttributeValueMemberB{Value: make([]byte, 20)}, "expires": n("1")}
	addAgainErr := backfills.Add(t.Context(), "shop", "list", map[history.Digest]int64{{1}: 1})
	shop := account.Shop{Environment: "api.mysitoo.com", Account: "90001", Site: 1}
	_, claimShopErr := accounts.Claim(t.Context(), shop, "shop", "")
	_, claimInsteadErr := accounts.Claim(t.Context(), shop, "shop", "another")
	_, addKeyErr := accounts.AddKey(t.Context(), account.Key{ID: "key", Account: "shop"})
	_, parkErr := accounts.Park(t.Context(), "shop", 1, 1, account.Parked{Count: 2, Bytes: 2})
	_, unparkErr := accounts.Park(t.Context(), "shop", -1, -1, account.Parked{})
	_, watchErr := accounts.Watch(t.Context(), "shop", now, now)
	_, attemptErr := accounts.Attempt(t.Context(), "shop", now)
	_, claimErr := ledger.Claim(t.Context(), key, order.Stamp{}, "a", now, time.Minute)
	for op, err := range map[string]error{
		"Create":               accounts.Create(t.Context(), account.Account{ID: "shop"}),
		"Block":                accounts.Block(t.Context(), "shop", now),
		"SetSchema":            accounts.SetSchema(t.Context(), "shop", 1),
		"SetSitoo":             accounts.SetSitoo(t.Context(), "shop", "", &account.SitooAccess{Sealed: []byte("x")}),
		"SetSitoo, nothing":    accounts.SetSitoo(t.Context(), "shop", "", nil),
		"UsedSitoo":            accounts.UsedSitoo(t.Context(), "shop", "", now),
		"Claim a shop":         claimShopErr,
		"Claim it instead":     claimInsteadErr,
		"Release":              accounts.Release(t.Context(), shop, "shop", false),
		"Release, out":         accounts.Release(t.Context(), shop, "shop", true),
		"AddKey":               addKeyErr,
		"AcceptKey":            accounts.AcceptKey(t.Context(), "key", "", now),
		"RefuseKey":            accounts.RefuseKey(t.Context(), "key", now),
		"DeliveredKey":         accounts.DeliveredKey(t.Context(), "key", now),
		"DropKey":              accounts.DropKey(t.Context(), "key", now),
		"DropKey, back":        accounts.DropKey(t.Context(), "key", time.Time{}),
		"SawLabel":             accounts.SawLabel(t.Context(), "shop", ""),
		"Park":                 parkErr,
		"Unpark":               unparkErr,
		"Watch":                watchErr,
		"Attempt":              attemptErr,
		"SetSettings":          accounts.SetSettings(t.Context(), "shop", "fi", account.Settings{Language: "en"}),
		"SetSettings, none":    accounts.SetSettings(t.Context(), "shop", "", account.Settings{}),
		"List jobs":            listErr,
		"Parts of a job":       partsErr,
		"Put a job":            backfills.Put(t.Context(), history.Job{Account: "shop", ID: "job"}),
		"Put a job again":      backfills.Put(t.Context(), history.Job{Account: "shop", ID: "job", Rev: 1}),
		"SavePart of a job":    backfills.SavePart(t.Context(), "shop", "job", 1, history.Part{ID: "a"}),
		"Add":                  addErr,
		"Add again":            addAgainErr,
		"Queue":                ledger.Queue(t.Context(), key, order.Stamp{}, now),
		"Claim":                claimErr,
		"Note":                 ledger.Note(t.Context(), key, "a", 1, now),
		"Finish":               ledger.Finish(t.Context(), key, "a", order.Sent, "", false, now),
		"Reopen":               ledger.Reopen(t.Context(), key, now, false),
		"Reopen what is there": ledger.Reopen(t.Context(), key, now, true),
		"Put":                  books.Put(t.Context(), customer, bonus.Book{}),
		"Put again":            books.Put(t.Context(), customer, bonus.Book{Rev: 1}),
		"Create an import":     imports.Create(t.Context(), bonus.Import{Account: "shop", ID: "file"}),
		"Queue an import":      imports.Queue(t.Context(), "shop", "file"),
		"Get an import":        getErr,
		"Latest":               latestErr,
		"SavePart":             imports.SavePart(t.Context(), "shop", "file", bonus.Part{Number: 1}),
		"Finish with a reason": ledger.Finish(t.Context(), key, "a", order.Failed, "refused", false, now),
	} {
		if err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	if checked != 45 {
		t.Errorf("%d expressions were checked, want 45: a claim has two", checked)
	}
}
