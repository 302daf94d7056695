package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

const (
	// refusedPrefix begins the id of an item that stands for a refused key, and
	// sitooPrefix of one that stands for an account in Sitoo. Our account ids are
	// hexadecimal, so none begins with either.
	refusedPrefix = "refused#"
	sitooPrefix   = "sitoo#"
	// sitePrefix begins the attribute that says whose a site is.
	sitePrefix = "site"
)

// errHops is the error of aliases that lead on and on.
var errHops = errors.New("aliases lead from one to the next")

// Accounts is the account.Store of a DynamoDB table. Its errors are
// account.ErrNotFound, or a fault: Unavailable when another try may help,
// Internal for a damaged item or a request that DynamoDB refuses.
type Accounts struct {
	client Client
	table  string
}

var _ account.Store = (*Accounts)(nil)

// NewAccounts returns the store of accounts in table.
func NewAccounts(client Client, table string) *Accounts {
	return &Accounts{client: client, table: table}
}

// Get returns the account, or the one that an alias leads to, or
// account.ErrNotFound. The reads are strongly consistent.
func (s *Accounts) Get(ctx context.Context, id string) (account.Account, error) {
	a, err := s.find(ctx, id)
	if err != nil {
		return account.Account{}, fmt.Errorf("get account %s: %w", id, err)
	}
	return a, nil
}

func (s *Accounts) find(ctx context.Context, id string) (account.Account, error) {
	for range account.MaxHops + 1 {
		found, err := s.get(ctx, id)
		if err != nil {
			return account.Account{}, awsfault.Wrap(err, "get item")
		}
		if len(found) == 0 {
			return account.Account{}, account.ErrNotFound
		}
		r := reader{item: found}
		if to := leadsTo(&r); to != "" {
			id = to
			continue
		}
		a := account.Account{
			ID:           r.text("id"),
			SealedKey:    r.bytes("sealedkey"),
			Created:      r.moment("created"),
			BlockedUntil: r.moment("blockeduntil"),
			Schema:       int(r.number("schema")),
		}
		r.must("sealedkey")
		if sealed := r.bytes("sitoosealed"); sealed != nil {
			a.Sitoo = &account.SitooAccess{
				BaseURL:   r.text("sitoobase"),
				AccountID: r.text("sitooaccount"),
				Site:      r.number("sitoosite"),
				Sealed:    sealed,
				Since:     r.moment("sitoosince"),
				Used:      r.moment("sitooused"),
			}
			r.must("sitoobase")
			r.must("sitooaccount")
			r.must("sitoosite")
		}
		if r.err != nil {
			return account.Account{}, damaged(r.err)
		}
		return a, nil
	}
	return account.Account{}, damaged(errHops)
}

// leadsTo returns where an alias leads, "" for an item that is none.
func leadsTo(r *reader) string {
	if r.item["sealedkey"] != nil {
		return ""
	}
	return r.text("account")
}

// Create stores a, unless there is an account or an alias of that id already:
// that is no error, and cannot be told from an earlier try of this very call.
func (s *Accounts) Create(ctx context.Context, a account.Account) error {
	put := item{
		"id":        text(a.ID),
		"sealedkey": &types.AttributeValueMemberB{Value: a.SealedKey},
		"created":   moment(a.Created),
	}
	if !a.BlockedUntil.IsZero() {
		put["blockeduntil"] = moment(a.BlockedUntil)
	}
	if a.Schema != 0 {
		put["schema"] = number(int64(a.Schema))
	}
	maps.Copy(put, access(a.Sitoo))
	const condition = "attribute_not_exists(#id)"
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:                aws.String(s.table),
		Item:                     put,
		ConditionExpression:      aws.String(condition),
		ExpressionAttributeNames: names(condition),
	})
	if _, ok := refused(err); ok {
		return nil
	}
	return awsfault.Wrap(err, "create account %s", a.ID)
}

// Block moves the account's BlockedUntil forward to until, never back.
// account.ErrNotFound if there is no such account.
func (s *Accounts) Block(ctx context.Context, id string, until time.Time) error {
	return s.raise(ctx, id, "blockeduntil", moment(until))
}

// SetSchema raises the account's schema version, never lowers it.
// account.ErrNotFound if there is no such account.
func (s *Accounts) SetSchema(ctx context.Context, id string, version int) error {
	return s.raise(ctx, id, "schema", number(int64(version)))
}

// raise sets a number of an account unless it is there and as high already.
func (s *Accounts) raise(ctx context.Context, id, name string, to types.AttributeValue) error {
	_, err := s.change(ctx, id, fmt.Sprintf("SET #%s = :to", name),
		fmt.Sprintf("attribute_exists(#sealedkey) AND (attribute_not_exists(#%[1]s) OR #%[1]s < :to)", name), item{":to": to})
	return wrapAccount(err, "set "+name, id)
}

// SetSitoo keeps how the shop is read from Sitoo, nil removes it.
// account.ErrNotFound if there is no such account.
func (s *Accounts) SetSitoo(ctx context.Context, id string, a *account.SitooAccess) error {
	update := "REMOVE #sitoobase, #sitooaccount, #sitoosite, #sitoosealed, #sitoosince, #sitooused"
	var values item
	if a != nil {
		update = "SET #sitoobase = :sitoobase, #sitooaccount = :sitooaccount, #sitoosite = :sitoosite, #sitoosealed = :sitoosealed, #sitoosince = :sitoosince"
		if a.Used.IsZero() {
			update += " REMOVE #sitooused"
		} else {
			update += ", #sitooused = :sitooused"
		}
		values = item{}
		for name, v := range access(a) {
			values[":"+name] = v
		}
	}
	_, err := s.change(ctx, id, update, "attribute_exists(#sealedkey)", values)
	return wrapAccount(err, "set Sitoo's access", id)
}

// access returns the attributes of an access, none for nil.
func access(a *account.SitooAccess) item {
	if a == nil {
		return nil
	}
	i := item{
		"sitoobase":    text(a.BaseURL),
		"sitooaccount": text(a.AccountID),
		"sitoosite":    number(a.Site),
		"sitoosealed":  &types.AttributeValueMemberB{Value: a.Sealed},
		"sitoosince":   moment(a.Since),
	}
	if !a.Used.IsZero() {
		i["sitooused"] = moment(a.Used)
	}
	return i
}

// UsedSitoo moves the time of the access's last use forward to at, never back.
// account.ErrNotFound if there is no such account.
func (s *Accounts) UsedSitoo(ctx context.Context, id string, at time.Time) error {
	_, err := s.change(ctx, id, "SET #sitooused = :to",
		"attribute_exists(#sealedkey) AND attribute_exists(#sitoosealed) AND (attribute_not_exists(#sitooused) OR #sitooused < :to)",
		item{":to": moment(at)})
	return wrapAccount(err, "set use of Sitoo's access", id)
}

// change changes an account, or the one that an alias leads to, and returns its
// id. A condition that does not hold on an account that is there is no error:
// the change may have been made by an earlier try of this call.
func (s *Accounts) change(ctx context.Context, id, update, condition string, values item) (changed string, err error) {
	for range account.MaxHops + 1 {
		_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName:                           aws.String(s.table),
			Key:                                 item{"id": text(id)},
			UpdateExpression:                    aws.String(update),
			ConditionExpression:                 aws.String(condition),
			ExpressionAttributeNames:            names(condition, update),
			ExpressionAttributeValues:           values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		})
		there, ok := refused(err)
		if !ok {
			return id, awsfault.Wrap(err, "update item")
		}
		if len(there) == 0 {
			return "", account.ErrNotFound
		}
		r := reader{item: there}
		to := leadsTo(&r)
		if to == "" {
			r.must("sealedkey")
		}
		if r.err != nil {
			return "", damaged(r.err)
		}
		if to == "" {
			return id, nil
		}
		id = to
	}
	return "", damaged(errHops)
}

// ClaimShop gives a shop to an account, unless it is another's, and returns
// whose it is. The first claim stands.
func (s *Accounts) ClaimShop(ctx context.Context, shop account.Shop, id string) (owner string, err error) {
	name := sitePrefix + strconv.FormatInt(shop.Site, 10)
	out, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:        aws.String(s.table),
		Key:              item{"id": text(sitooPrefix + shop.Account)},
		UpdateExpression: aws.String("SET #site = if_not_exists(#site, :id)"),
		// Not by names: the attribute has a number in it.
		ExpressionAttributeNames:  map[string]string{"#site": name},
		ExpressionAttributeValues: item{":id": text(id)},
		ReturnValues:              types.ReturnValueAllNew,
	})
	if err != nil {
		return "", wrapAccount(awsfault.Wrap(err, "update item"), "claim a shop", id)
	}
	r := reader{item: out.Attributes}
	r.must(name)
	if owner = r.text(name); r.err != nil {
		return "", wrapAccount(damaged(r.err), "claim a shop", id)
	}
	return owner, nil
}

// ShopOwner returns the accounts that sites of a Sitoo account belong to, in
// order. The read is strongly consistent.
func (s *Accounts) ShopOwner(ctx context.Context, sitooAccount string) ([]string, error) {
	key := sitooPrefix + sitooAccount
	if len(key) > maxHash {
		return nil, nil // it comes from outside
	}
	found, err := s.get(ctx, key)
	if err != nil {
		return nil, awsfault.Wrap(err, "look for the owners of a shop")
	}
	r := reader{item: found}
	var ids []string
	for name := range found {
		if site, ok := strings.CutPrefix(name, sitePrefix); !ok || strings.Trim(site, "0123456789") != "" {
			continue
		}
		if id := r.text(name); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("look for the owners of a shop: %w", damaged(r.err))
	}
	slices.Sort(ids)
	return ids, nil
}

// Renew gives the account a new sealed key and makes alias lead to it.
// account.ErrNotFound if there is no such account. The key comes first: if that
// is all that happens, what the account's other keys bring goes on, with a key
// that works.
func (s *Accounts) Renew(ctx context.Context, id string, sealedKey []byte, alias string) error {
	to, err := s.change(ctx, id, "SET #sealedkey = :sealedkey REMOVE #schema", "attribute_exists(#sealedkey)",
		item{":sealedkey": &types.AttributeValueMemberB{Value: sealedKey}})
	if err != nil || alias == to {
		return wrapAccount(err, "renew key", id)
	}
	_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.table),
		Item:      item{"id": text(alias), "account": text(to)},
	})
	return wrapAccount(awsfault.Wrap(err, "put item"), "make "+alias+" an alias", id)
}

// wrapAccount says what was attempted with which account.
func wrapAccount(err error, doing, id string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of account %s: %w", doing, id, err)
}

// Refuse remembers until when a key that Rule refused is not tried again. The
// last call wins.
func (s *Accounts) Refuse(ctx context.Context, id string, until time.Time) error {
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.table),
		Item: item{
			"id":    text(refusedPrefix + id),
			"until": moment(until),
			// DynamoDB wants whole seconds; rounded up, the item is never
			// gone before its time.
			"expires": number(until.Add(time.Second - 1).Unix()),
		},
	})
	return awsfault.Wrap(err, "refuse key of account %s", id)
}

// Refused returns until when the key is not tried again, zero if that is not
// known. It may lie in the past: DynamoDB deletes late.
func (s *Accounts) Refused(ctx context.Context, id string) (time.Time, error) {
	found, err := s.get(ctx, refusedPrefix+id)
	if err != nil {
		return time.Time{}, awsfault.Wrap(err, "look for refusal of account %s", id)
	}
	if len(found) == 0 {
		return time.Time{}, nil
	}
	r := reader{item: found}
	r.must("until")
	until := r.moment("until")
	if r.err != nil {
		return time.Time{}, fmt.Errorf("look for refusal of account %s: %w", id, damaged(r.err))
	}
	return until, nil
}

func (s *Accounts) get(ctx context.Context, id string) (item, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(s.table),
		Key:            item{"id": text(id)},
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}
