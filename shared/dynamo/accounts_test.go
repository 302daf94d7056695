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
			_, getErr := store.Get(t.Context(), "shop")
			_, claimErr := store.ClaimShop(t.Context(), account.Shop{Account: "90001", Site: 1}, "shop")
			_, ownerErr := store.ShopOwner(t.Context(), "90001")
			_, refusedErr := store.Refused(t.Context(), "shop")
			for op, err := range map[string]error{
				"Get":       getErr,
				"Refused":   refusedErr,
				"Create":    store.Create(t.Context(), account.Account{ID: "shop"}),
				"Block":     store.Block(t.Context(), "shop", now),
				"SetSchema": store.SetSchema(t.Context(), "shop", 1),
				"Refuse":    store.Refuse(t.Context(), "shop", now),
				"SetSitoo":  store.SetSitoo(t.Context(), "shop", nil),
				"UsedSitoo": store.UsedSitoo(t.Context(), "shop", now),
				"ClaimShop": claimErr,
				"ShopOwner": ownerErr,
				"Renew":     store.Renew(t.Context(), "shop", []byte("x"), "alias"),
			} {
				if got := fault.KindOf(err); err == nil || got != tt.want {
					t.Errorf("%s = %v (%v), want %v", op, err, got, tt.want)
				}
				if err != nil && !strings.Contains(err.Error(), tt.err.Error()) {
					t.Errorf("%s = %v, want it to keep the cause %v", op, err, tt.err)
				}
				if err != nil && !strings.Contains(err.Error(), "shop") {
					t.Errorf("%s = %v, want it to name the account", op, err)
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
	if err := store.Create(t.Context(), account.Account{ID: "shop"}); err != nil {
		t.Errorf("Create = %v, want nil: the account is there", err)
	}

	there := item{"id": s("shop"), "sealedkey": &types.AttributeValueMemberB{Value: []byte("sealed")}, "blockeduntil": n(nowMilli), "schema": n("2")}
	if err := dynamo.NewAccounts(updates(t, there), "accounts").Block(t.Context(), "shop", now); err != nil {
		t.Errorf("Block = %v, want nil: it is blocked until then", err)
	}
	if err := dynamo.NewAccounts(updates(t, there), "accounts").SetSchema(t.Context(), "shop", 2); err != nil {
		t.Errorf("SetSchema = %v, want nil: the schema is that one", err)
	}
	if err := dynamo.NewAccounts(updates(t, item(nil)), "accounts").Block(t.Context(), "shop", now); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("Block where there is no item = %v, want ErrNotFound", err)
	}
}

func TestAccountsDamagedItems(t *testing.T) {
	t.Parallel()
	whole := func() item {
		return item{
			"id": s("shop"), "sealedkey": &types.AttributeValueMemberB{Value: []byte("sealed")}, "created": n(nowMilli),
			"blockeduntil": n(nowMilli), "schema": n("1"), "note": s("written by support"),
			"sitoobase": s("https://api.mysitoo.com/v2/accounts/90001"), "sitooaccount": s("90001"), "sitoosite": n("1"),
			"sitoosealed": &types.AttributeValueMemberB{Value: []byte("pair")}, "sitoosince": n(nowMilli), "sitooused": n(nowMilli),
		}
	}
	reading := func(i item) *dynamo.Accounts {
		return dynamo.NewAccounts(client{get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
			if !aws.ToBool(in.ConsistentRead) {
				t.Error("the read is not consistent")
			}
			return &dynamodb.GetItemOutput{Item: i}, nil
		}}, "accounts")
	}

	got, err := reading(whole()).Get(t.Context(), "shop")
	want := account.Account{
		ID: "shop", SealedKey: []byte("sealed"), Created: now, BlockedUntil: now, Schema: 1,
		Sitoo: &account.SitooAccess{
			BaseURL: "https://api.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1, Sealed: []byte("pair"), Since: now, Used: now,
		},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Get of a whole item: %v (-want +got):\n%s", err, diff)
	}

	for name, tt := range map[string]struct {
		attribute string
		value     types.AttributeValue
	}{
		"id is a number":          {"id", n("1")},
		"key is text":             {"sealedkey", s("sealed")},
		"key is missing":          {"sealedkey", nil},
		"created is text":         {"created", s("2026-03-02")},
		"created is a fraction":   {"created", n("1.5")},
		"created is huge":         {"created", n("1e90")},
		"blocked is a list":       {"blockeduntil", &types.AttributeValueMemberL{}},
		"schema is null":          {"schema", &types.AttributeValueMemberNULL{Value: true}},
		"pair is text":            {"sitoosealed", s("pair")},
		"base is missing":         {"sitoobase", nil},
		"base is a number":        {"sitoobase", n("1")},
		"sitoo's id is missing":   {"sitooaccount", nil},
		"site is text":            {"sitoosite", s("one")},
		"site is missing":         {"sitoosite", nil},
		"since is text":           {"sitoosince", s("today")},
		"used is text":            {"sitooused", s("today")},
		"schema is unknown to us": {"schema", &types.UnknownUnionMember{Tag: "Q"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := whole()
			i[tt.attribute] = tt.value
			if tt.value == nil {
				delete(i, tt.attribute)
			}
			got, err := reading(i).Get(t.Context(), "shop")
			wantDamaged(t, err, "shop", tt.attribute)
			if diff := cmp.Diff(account.Account{}, got); diff != "" {
				t.Errorf("Get returned an account beside its error:\n%s", diff)
			}
		})
	}

	for name, i := range map[string]item{
		"until is text":    {"id": s("refused#shop"), "until": s("soon"), "expires": n("1")},
		"until is missing": {"id": s("refused#shop"), "expires": n("1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := reading(i).Refused(t.Context(), "shop")
			wantDamaged(t, err, "shop", "until")
		})
	}
}

// Aliases, as somebody may have left them behind.
func TestAccountsAliases(t *testing.T) {
	t.Parallel()
	sealed := &types.AttributeValueMemberB{Value: []byte("sealed")}
	for name, tt := range map[string]struct {
		items map[string]item
		want  string // the account that "a" leads to, "" for damaged items
		err   error
	}{
		"the account itself":      {map[string]item{"a": {"id": s("a"), "sealedkey": sealed}}, "a", nil},
		"an alias":                {map[string]item{"a": {"id": s("a"), "account": s("b")}, "b": {"id": s("b"), "sealedkey": sealed}}, "b", nil},
		"an account with a note":  {map[string]item{"a": {"id": s("a"), "account": s("b"), "sealedkey": sealed}}, "a", nil},
		"an alias to nothing":     {map[string]item{"a": {"id": s("a"), "account": s("b")}}, "", account.ErrNotFound},
		"an alias to itself":      {map[string]item{"a": {"id": s("a"), "account": s("a")}}, "", nil},
		"neither":                 {map[string]item{"a": {"id": s("a")}}, "", nil},
		"an alias to a number":    {map[string]item{"a": {"id": s("a"), "account": n("1")}}, "", nil},
		"an alias without target": {map[string]item{"a": {"id": s("a"), "account": s("")}}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrote string
			id := func(key item) string { return key["id"].(*types.AttributeValueMemberS).Value }
			store := dynamo.NewAccounts(client{
				get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
					return &dynamodb.GetItemOutput{Item: tt.items[id(in.Key)]}, nil
				},
				update: func(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
					there := tt.items[id(in.Key)]
					if there["sealedkey"] == nil {
						return nil, conditionFailed(there)
					}
					wrote = id(in.Key)
					return &dynamodb.UpdateItemOutput{}, nil
				},
				put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
					if diff := cmp.Diff(item{"id": s("new"), "account": s(tt.want)}, in.Item, unexported); diff != "" || wrote != tt.want {
						t.Errorf("alias (-want +got), after the key of %q:\n%s", wrote, diff)
					}
					return &dynamodb.PutItemOutput{}, nil
				},
			}, "accounts")
			got, err := store.Get(t.Context(), "a")
			for op, err := range map[string]error{
				"Get": err, "SetSitoo": store.SetSitoo(t.Context(), "a", nil), "Renew": store.Renew(t.Context(), "a", []byte("x"), "new"),
			} {
				switch {
				case tt.want != "":
					// Its own id is no alias of it.
					if err := store.Renew(t.Context(), "a", []byte("x"), tt.want); err != nil {
						t.Errorf("Renew: %v", err)
					}
					if err != nil || got.ID != tt.want || wrote != tt.want {
						t.Errorf("%s = %v of %q, wrote %q; want %q", op, err, got.ID, wrote, tt.want)
					}
				case tt.err != nil:
					if !errors.Is(err, tt.err) || got.ID != "" || wrote != "" {
						t.Errorf("%s = %v, want %v", op, err, tt.err)
					}
				default:
					wantDamaged(t, err, "account a")
				}
			}
		})
	}
}

// The item of a Sitoo account, with what else somebody may have put there.
func TestAccountsShopOwner(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		item item
		want []string
		bad  bool
	}{
		"none":             {nil, nil, false},
		"two sites of one": {item{"id": s("sitoo#90001"), "site1": s("b"), "site20": s("b"), "site3": s("a"), "siteurl": n("1"), "note": n("2")}, []string{"a", "b"}, false},
		"a number":         {item{"id": s("sitoo#90001"), "site1": n("7")}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := dynamo.NewAccounts(client{
				get: func(in *dynamodb.GetItemInput) (*dynamodb.GetItemOutput, error) {
					if diff := cmp.Diff(item{"id": s("sitoo#90001")}, in.Key, unexported); diff != "" || !aws.ToBool(in.ConsistentRead) {
						t.Errorf("key (-want +got), consistent %v:\n%s", aws.ToBool(in.ConsistentRead), diff)
					}
					return &dynamodb.GetItemOutput{Item: tt.item}, nil
				},
				update: func(*dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
					return &dynamodb.UpdateItemOutput{Attributes: tt.item}, nil
				},
			}, "accounts")
			got, err := store.ShopOwner(t.Context(), "90001")
			if diff := cmp.Diff(tt.want, got); diff != "" || (err != nil) != tt.bad {
				t.Errorf("ShopOwner: %v (-want +got):\n%s", err, diff)
			}
			if tt.bad {
				wantDamaged(t, err, "site1")
				_, err := store.ClaimShop(t.Context(), account.Shop{Account: "90001", Site: 1}, "shop")
				wantDamaged(t, err, "site1", "shop")
			}
		})
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
	store := dynamo.NewAccounts(client{put: func(in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
		if aws.ToString(in.TableName) != "accounts" {
			t.Errorf("table %q, want accounts", aws.ToString(in.TableName))
		}
		got = append(got, in.Item)
		return &dynamodb.PutItemOutput{}, nil
	}}, "accounts")
	sealed := &types.AttributeValueMemberB{Value: []byte("sealed")}
	for _, a := range []account.Account{
		{ID: "shop", SealedKey: []byte("sealed"), Created: now},
		{ID: "shop", SealedKey: []byte("sealed"), Created: now, BlockedUntil: now, Schema: 3, Sitoo: &account.SitooAccess{
			BaseURL: "https://api.mysitoo.com", AccountID: "90001", Site: 1, Sealed: []byte("sealed"), Since: now, Used: now,
		}},
	} {
		if err := store.Create(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Refuse(t.Context(), "shop", now); err != nil {
		t.Fatal(err)
	}
	want := []item{
		{"id": s("shop"), "sealedkey": sealed, "created": n(nowMilli)},
		{
			"id": s("shop"), "sealedkey": sealed, "created": n(nowMilli), "blockeduntil": n(nowMilli), "schema": n("3"),
			"sitoobase": s("https://api.mysitoo.com"), "sitooaccount": s("90001"), "sitoosite": n("1"), "sitoosealed": sealed,
			"sitoosince": n(nowMilli), "sitooused": n(nowMilli),
		},
		{"id": s("refused#shop"), "until": n(nowMilli), "expires": n("1772443801")},
	}
	if diff := cmp.Diff(want, got, unexported); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
}

// unexported lets attribute values be compared: their types have a marker of
// the SDK's that says nothing.
var unexported = cmpopts.IgnoreUnexported(
	types.AttributeValueMemberS{}, types.AttributeValueMemberN{},
	types.AttributeValueMemberB{}, types.AttributeValueMemberBOOL{},
)
