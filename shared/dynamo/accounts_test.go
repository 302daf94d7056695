package dynamo_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/fault"
)

var now = time.Date(2026, 3, 2, 9, 30, 0, 123e6, time.UTC)

const nowMilli = "1772443800123"

func TestAccountsFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewAccounts(failing(tt.err), "accounts")
			shop := account.Shop{Account: "90001", Site: 1}
			_, _, getErr := store.Get(t.Context(), "42", "", "key")
			_, keyErr := store.Key(t.Context(), "key")
			_, keysErr := store.Keys(t.Context(), "42")
			_, addErr := store.AddKey(t.Context(), account.Key{ID: "key", Account: "42"})
			_, claimErr := store.Claim(t.Context(), shop, "42", "")
			_, claimsErr := store.Claims(t.Context(), "90001")
			_, refusedErr := store.Refused(t.Context(), "key")
			_, attemptErr := store.Attempt(t.Context(), "rule#42", now)
			_, parkErr := store.Park(t.Context(), "42", 1, 1, account.Parked{Count: 2, Bytes: 2})
			_, watchErr := store.Watch(t.Context(), "42", now, now)
			for op, err := range map[string]error{
				"Get": getErr, "Key": keyErr, "Keys": keysErr, "AddKey": addErr, "Claim": claimErr, "Claims": claimsErr, "Refused": refusedErr,
				"Attempt": attemptErr, "Park": parkErr, "Watch": watchErr,
				"Forgive":      store.Forgive(t.Context(), "rule#42"),
				"Create":       store.Create(t.Context(), account.Account{ID: "42"}),
				"AcceptKey":    store.AcceptKey(t.Context(), "key", "", now),
				"RefuseKey":    store.RefuseKey(t.Context(), "key", now),
				"DeliveredKey": store.DeliveredKey(t.Context(), "key", now),
				"DropKey":      store.DropKey(t.Context(), "key", now),
				"Block":        store.Block(t.Context(), "42", now),
				"SetSchema":    store.SetSchema(t.Context(), "42", 1),
				"SawLabel":     store.SawLabel(t.Context(), "42", "fi"),
				"Refuse":       store.Refuse(t.Context(), "key", now),
				"SetSettings":  store.SetSettings(t.Context(), "42", "", account.Settings{Language: "en"}),
				"SetSitoo":     store.SetSitoo(t.Context(), "42", "", nil),
				"UsedSitoo":    store.UsedSitoo(t.Context(), "42", "", now),
				"Release":      store.Release(t.Context(), shop, "42", true),
			} {
				if got := fault.KindOf(err); err == nil || got != tt.want {
					t.Errorf("%s = %v (%v), want %v", op, err, got, tt.want)
				}
				if err != nil && !strings.Contains(err.Error(), tt.err.Error()) {
					t.Errorf("%s = %v, want it to keep the cause %v", op, err, tt.err)
				}
				if got := fault.As(err).Message; got != "" {
					t.Errorf("%s has the sentence %q for the caller, want none", op, got)
				}
			}
		})
	}
}

// A write whose answer was lost is sent again by the SDK, and then meets what
// it wrote the first time.
func TestAccountsLostAnswers(t *testing.T) {
	t.Parallel()
	store := dynamo.NewAccounts(client{
		put: func(*dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
			return nil, &types.ConditionalCheckFailedException{}
		},
	}, "accounts")
	if err := store.Create(t.Context(), account.Account{ID: "42"}); err != nil {
		t.Errorf("Create = %v, want nil: the account is there", err)
	}
	there := item{"id": s("account#42"), "created": n(nowMilli), "blockeduntil": n(nowMilli), "schema": n("2")}
	if err := dynamo.NewAccounts(updates(t, there), "accounts").Block(t.Context(), "42", now); err != nil {
		t.Errorf("Block = %v, want nil: it is blocked until then", err)
	}
	if err := dynamo.NewAccounts(updates(t, there), "accounts").SetSchema(t.Context(), "42", 2); err != nil {
		t.Errorf("SetSchema = %v, want nil: the schema is that one", err)
	}
	if err := dynamo.NewAccounts(updates(t, item(nil)), "accounts").Block(t.Context(), "42", now); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("Block where there is no item = %v, want ErrNotFound", err)
	}
}

// wholeItems are the items of an account, as they may be found.
func wholeItems() map[string]item {
	sealed := func(s string) types.AttributeValue { return &types.AttributeValueMemberB{Value: []byte(s)} }
	labels := &types.AttributeValueMemberSS{Value: []string{"/fi", "/"}}
	return map[string]item{
		"account#42":  {"id": s("account#42"), "name": s("Exempel AB"), "created": n(nowMilli), "blockeduntil": n(nowMilli), "schema": n("1"), "labels": labels, "note": s("written by support")},
		"settings#42": {"id": s("settings#42"), "language": s("en"), "country": s("SE"), "country/fi": s("FI")},
		"sitoo#42/fi": {"id": s("sitoo#42/fi"), "base": s("https://api.mysitoo.com/v2/accounts/90001"), "account": s("90001"), "site": n("1"), "sealed": sealed("pair"), "since": n(nowMilli)},
		"key#k":       {"id": s("key#k"), "account": s("42"), "sealedkey": sealed("sealed"), "lastfour": s("7f3a"), "labels": labels, "firstseen": n(nowMilli), "accepted": n(nowMilli)},
	}
}

func reading(t *testing.T, items map[string]item) *dynamo.Accounts {
	id := func(key item) string { return key["id"].(*types.AttributeValueMemberS).Value }
	return dynamo.NewAccounts(client{
		get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
			if !aws.ToBool(in.ConsistentRead) {
				t.Error("the read is not consistent")
			}
			return &dynamodb.GetItemOutput{Item: items[id(in.Key)]}, nil
		},
		// One item comes each time: DynamoDB may leave out what it likes.
		batch: func(in *dynamodb.BatchGetItemInput) (*dynamodb.BatchGetItemOutput, error) {
			want := in.RequestItems["accounts"]
			if !aws.ToBool(want.ConsistentRead) {
				t.Error("the read is not consistent")
			}
			out := &dynamodb.BatchGetItemOutput{Responses: map[string][]map[string]types.AttributeValue{}}
			if found := items[id(want.Keys[0])]; found != nil {
				out.Responses["accounts"] = append(out.Responses["accounts"], found)
			}
			if left := want.Keys[1:]; len(left) > 0 {
				out.UnprocessedKeys = map[string]types.KeysAndAttributes{"accounts": {Keys: left}}
			}
			return out, nil
		},
	}, "accounts")
}

func TestAccountsDamagedItems(t *testing.T) {
	t.Parallel()
	a, k, err := reading(t, wholeItems()).Get(t.Context(), "42", "fi", "k")
	want := account.Account{
		ID: "42", Name: "Exempel AB", Label: "fi", Created: now, BlockedUntil: now, Schema: 1, Labels: []string{"", "fi"},
		Sitoo:    &account.SitooAccess{BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1, Sealed: []byte("pair"), Since: now},
		Settings: account.Settings{Language: "en", Country: "FI"},
	}
	wantKey := account.Key{ID: "k", Account: "42", Sealed: []byte("sealed"), Last4: "7f3a", Labels: []string{"", "fi"}, FirstSeen: now, Accepted: now}
	if diff := cmp.Diff(want, a) + cmp.Diff(wantKey, k); err != nil || diff != "" {
		t.Errorf("Get of whole items: %v (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		item, attribute string
		value           types.AttributeValue
	}{
		{"account#42", "created", nil},
		{"account#42", "created", s("2026-03-02")},
		{"account#42", "created", n("1.5")},
		{"account#42", "created", n("1e90")},
		{"account#42", "blockeduntil", &types.AttributeValueMemberL{}},
		{"account#42", "schema", &types.AttributeValueMemberNULL{Value: true}},
		{"account#42", "schema", &types.UnknownUnionMember{Tag: "Q"}},
		{"account#42", "labels", s("/fi")},
		{"account#42", "parked", s("one")},
		{"settings#42", "language", n("1")},
		{"settings#42", "country/fi", n("1")},
		{"sitoo#42/fi", "sealed", s("pair")},
		{"sitoo#42/fi", "base", nil},
		{"sitoo#42/fi", "account", n("1")},
		{"sitoo#42/fi", "site", nil},
		{"sitoo#42/fi", "since", s("today")},
		{"key#k", "account", nil},
		{"key#k", "sealedkey", s("sealed")},
		{"key#k", "sealedkey", nil},
		{"key#k", "accepted", s("today")},
	} {
		items := wholeItems()
		items[tt.item][tt.attribute] = tt.value
		if tt.value == nil {
			delete(items[tt.item], tt.attribute)
		}
		a, k, err := reading(t, items).Get(t.Context(), "42", "fi", "k")
		wantDamaged(t, err, tt.attribute)
		if a.ID != "" || k.ID != "" {
			t.Errorf("%s of %s: an account beside the error: %+v %+v", tt.attribute, tt.item, a, k)
		}
	}
	for name, i := range map[string]item{
		"until is text":    {"id": s("refused#k"), "until": s("soon"), "expires": n("1")},
		"until is missing": {"id": s("refused#k"), "expires": n("1")},
	} {
		_, err := reading(t, map[string]item{"refused#k": i}).Refused(t.Context(), "k")
		if wantDamaged(t, err, "until"); err == nil {
			t.Error(name)
		}
	}
	_, err = reading(t, map[string]item{"shop#90001": {"id": s("shop#90001"), "owner/1/api.mysitoo.com": n("7")}}).Claims(t.Context(), "90001")
	wantDamaged(t, err, "owner/1/api.mysitoo.com")
	list, err := reading(t, map[string]item{"shop#90001": {"id": s("shop#90001"), "note": n("7"), "owner/x/y": n("1"), "home/2/a": s("42")}}).Claims(t.Context(), "90001")
	if err != nil || len(list) != 1 || list[0].Home != "42" {
		t.Errorf("Claims = %v, %v; want the one that can be read", list, err)
	}
}

func wantDamaged(t *testing.T, err error, names ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != fault.Internal {
		t.Fatalf("error = %v, want an internal one", err)
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error = %v, want it to name %s", err, name)
		}
	}
}

// The items are what the package's documentation says: support reads them.
func TestAccountsItems(t *testing.T) {
	t.Parallel()
	var got []item
	store := dynamo.NewAccounts(client{
		get: func(*dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) { return &dynamodb.GetItemOutput{}, nil },
		put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
			if aws.ToString(in.TableName) != "accounts" {
				t.Errorf("table %q, want accounts", aws.ToString(in.TableName))
			}
			got = append(got, in.Item)
			return &dynamodb.PutItemOutput{}, nil
		},
		update: func(*dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
			return &dynamodb.UpdateItemOutput{}, nil
		},
	}, "accounts")
	sealed := &types.AttributeValueMemberB{Value: []byte("sealed")}
	for _, err := range []error{
		store.Create(t.Context(), account.Account{ID: "42", Name: "Exempel AB", Created: now}),
		store.SetSitoo(t.Context(), "42", "fi", &account.SitooAccess{BaseURL: "https://api.mysitoo.com", AccountID: "90001", Site: 1, Sealed: []byte("sealed"), Since: now, Used: now}),
		store.SetSitoo(t.Context(), "42", "", nil),
		store.Refuse(t.Context(), "k", now),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.AddKey(t.Context(), account.Key{ID: "k", Account: "42", Sealed: []byte("sealed"), Last4: "7f3a", FirstSeen: now, FirstAccepted: now, Accepted: now, Labels: []string{""}}); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("AddKey reads the key back: %v", err)
	}
	if _, err := store.Attempt(t.Context(), "rule#42", now); err != nil {
		t.Fatal(err)
	}
	delete(got[len(got)-1], "stamp")
	want := []item{
		{"id": s("account#42"), "name": s("Exempel AB"), "created": n(nowMilli)},
		{"id": s("sitoo#42/fi"), "base": s("https://api.mysitoo.com"), "account": s("90001"), "site": n("1"), "sealed": sealed, "since": n(nowMilli), "used": n(nowMilli)},
		{"id": s("sitoo#42")},
		{"id": s("refused#k"), "until": n(nowMilli), "expires": n("1772443801")},
		{
			"id": s("key#k"), "account": s("42"), "sealedkey": sealed, "lastfour": s("7f3a"), "firstseen": n(nowMilli), "firstaccepted": n(nowMilli), "accepted": n(nowMilli),
			"labels": &types.AttributeValueMemberSS{Value: []string{"/"}},
		},
		{"id": s("attempts#rule#42"), "count": n("1"), "last": n(nowMilli), "rev": n("1"), "expires": n("1772447400")},
	}
	if diff := cmp.Diff(want, got, unexported); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

// unexported lets attribute values be compared: their types have a marker of
// the SDK's that says nothing.
var unexported = cmpopts.IgnoreUnexported(
	types.AttributeValueMemberS{}, types.AttributeValueMemberN{},
	types.AttributeValueMemberB{}, types.AttributeValueMemberBOOL{}, types.AttributeValueMemberSS{},
)
