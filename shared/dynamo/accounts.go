package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

// The ids of the items of the accounts table begin with what they are, so that a
// function's policy can name the kinds that it may write (dynamodb:LeadingKeys).
const (
	accountPrefix  = "account#"
	keyPrefix      = "key#"
	settingsPrefix = "settings#"
	sitooPrefix    = "sitoo#"
	shopPrefix     = "shop#"
	attemptsPrefix = "attempts#"
	refusedPrefix  = "refused#"
)

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

// wrapAccount says what was attempted with what.
func wrapAccount(err error, doing, id string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", doing, id, err)
}

// Key returns a key by its id, or account.ErrNotFound. The read is strongly
// consistent.
func (s *Accounts) Key(ctx context.Context, id string) (account.Key, error) {
	if len(id) > maxHash-len(keyPrefix) {
		return account.Key{}, account.ErrNotFound
	}
	found, err := s.get(ctx, keyPrefix+id)
	if err != nil {
		return account.Key{}, awsfault.Wrap(err, "get key %s", id)
	}
	if len(found) == 0 {
		return account.Key{}, wrapAccount(account.ErrNotFound, "get", "key "+id)
	}
	k, err := readKey(found)
	return k, wrapAccount(err, "get", "key "+id)
}

// Get returns an account as a label sees it, and a key with it, by one strongly
// consistent read of a few items.
func (s *Accounts) Get(ctx context.Context, id, label, key string) (account.Account, account.Key, error) {
	ids := []string{accountPrefix + id, settingsPrefix + id, sitooPrefix + account.Scope(id, label)}
	if key != "" {
		ids = append(ids, keyPrefix+key)
	}
	if slices.ContainsFunc(ids, func(id string) bool { return len(id) > maxHash }) {
		return account.Account{}, account.Key{}, account.ErrNotFound // it comes from outside
	}
	found, err := s.many(ctx, ids)
	if err != nil {
		return account.Account{}, account.Key{}, wrapAccount(err, "get", "account "+id)
	}
	if found[ids[0]] == nil {
		return account.Account{}, account.Key{}, wrapAccount(account.ErrNotFound, "get", "account "+id)
	}
	a, err := readAccount(found[ids[0]], found[ids[1]], found[ids[2]], label)
	if err != nil {
		return account.Account{}, account.Key{}, wrapAccount(err, "get", "account "+id)
	}
	a.ID = id
	var k account.Key
	if key != "" && found[ids[3]] != nil {
		if k, err = readKey(found[ids[3]]); err != nil {
			return account.Account{}, account.Key{}, wrapAccount(err, "get", "key "+key)
		}
	}
	return a, k, nil
}

func readAccount(main, settings, access item, label string) (account.Account, error) {
	r := reader{item: main}
	a := account.Account{
		Name: r.text("name"), Label: label, Created: r.moment("created"), BlockedUntil: r.moment("blockeduntil"), Schema: int(r.number("schema")),
		Labels: labelsOf(&r),
		Parked: account.Parked{Count: int(r.number("parked")), Bytes: r.number("parkedbytes"), Watched: r.moment("watched")},
	}
	r.must("created")
	if r.err != nil {
		return account.Account{}, damaged(r.err)
	}
	r = reader{item: settings}
	a.Settings = account.Settings{Consent: r.text("consent"), Language: r.text("language"), Country: r.text(account.Scope("country", label))}
	if r.err != nil {
		return account.Account{}, damaged(r.err)
	}
	r = reader{item: access}
	if sealed := r.bytes("sealed"); sealed != nil {
		a.Sitoo = &account.SitooAccess{
			BaseURL: r.text("base"), AccountID: r.text("account"), Site: r.number("site"), Sealed: sealed, Since: r.moment("since"), Used: r.moment("used"),
		}
		r.must("base")
		r.must("account")
		r.must("site")
	}
	if r.err != nil {
		return account.Account{}, damaged(r.err)
	}
	return a, nil
}

func readKey(found item) (account.Key, error) {
	r := reader{item: found}
	k := account.Key{
		ID: strings.TrimPrefix(r.text("id"), keyPrefix), Account: r.text("account"), Sealed: r.bytes("sealedkey"), Last4: r.text("lastfour"), Labels: labelsOf(&r),
		FirstSeen: r.moment("firstseen"), FirstAccepted: r.moment("firstaccepted"), Accepted: r.moment("accepted"),
		RefusedSince: r.moment("refusedsince"), Refused: r.moment("refused"), Delivered: r.moment("delivered"), Dropped: r.moment("dropped"),
	}
	r.must("account")
	r.must("sealedkey")
	if r.err != nil {
		return account.Key{}, damaged(r.err)
	}
	return k, nil
}

// A set of DynamoDB's holds no empty text, and "" is a label: each stands there
// after a slash.
func labelText(label string) string { return "/" + label }

func labelsOf(r *reader) []string {
	var list []string
	for _, l := range r.set("labels") {
		list = append(list, strings.TrimPrefix(l, "/"))
	}
	slices.Sort(list)
	return list
}

// Keys returns all keys of an account, those seen first first.
func (s *Accounts) Keys(ctx context.Context, id string) ([]account.Key, error) {
	found, err := s.get(ctx, accountPrefix+id)
	if err != nil {
		return nil, awsfault.Wrap(err, "list keys of account %s", id)
	}
	r := reader{item: found}
	ids := r.set("keys")
	if r.err != nil {
		return nil, wrapAccount(damaged(r.err), "list keys", "account "+id)
	}
	for i := range ids {
		ids[i] = keyPrefix + ids[i]
	}
	items, err := s.many(ctx, ids)
	if err != nil {
		return nil, wrapAccount(err, "list keys", "account "+id)
	}
	var list []account.Key
	for _, i := range items {
		k, err := readKey(i)
		if err != nil {
			return nil, wrapAccount(err, "list keys", "account "+id)
		}
		if k.Account == id { // or it was settled on another at the same time
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b account.Key) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// Create stores an account's id, name and time, unless there is one of that id.
func (s *Accounts) Create(ctx context.Context, a account.Account) error {
	i := item{"id": text(accountPrefix + a.ID), "created": moment(a.Created)}
	if a.Name != "" {
		i["name"] = text(a.Name)
	}
	return wrapAccount(s.add(ctx, i), "create", "account "+a.ID)
}

// add puts an item unless there is one of its id.
func (s *Accounts) add(ctx context.Context, i item) error {
	const condition = "attribute_not_exists(#id)"
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.table), Item: i, ConditionExpression: aws.String(condition), ExpressionAttributeNames: names(condition),
	})
	if _, ok := refused(err); ok {
		return nil
	}
	return awsfault.Wrap(err, "put item")
}

// AddKey stores a key, unless there is one of that id, and returns it. The account
// lists it first: what it lists and is not there does no harm.
func (s *Accounts) AddKey(ctx context.Context, k account.Key) (account.Key, error) {
	_, err := s.change(ctx, accountPrefix+k.Account, "ADD #keys :keys", "attribute_exists(#id)", item{":keys": set(k.ID)})
	if err != nil {
		return account.Key{}, wrapAccount(err, "list", "key "+k.ID)
	}
	i := item{"id": text(keyPrefix + k.ID), "account": text(k.Account), "sealedkey": &types.AttributeValueMemberB{Value: k.Sealed}}
	if k.Last4 != "" {
		i["lastfour"] = text(k.Last4)
	}
	for name, at := range map[string]time.Time{"firstseen": k.FirstSeen, "firstaccepted": k.FirstAccepted, "accepted": k.Accepted} {
		if !at.IsZero() {
			i[name] = moment(at)
		}
	}
	if len(k.Labels) > 0 {
		var all []string
		for _, l := range k.Labels {
			all = append(all, labelText(l))
		}
		i["labels"] = set(all...)
	}
	if err := s.add(ctx, i); err != nil {
		return account.Key{}, wrapAccount(err, "keep", "key "+k.ID)
	}
	return s.Key(ctx, k.ID)
}

// AcceptKey notes that Rule accepted a key.
func (s *Accounts) AcceptKey(ctx context.Context, id, label string, at time.Time) error {
	_, err := s.change(ctx, keyPrefix+id,
		"SET #accepted = :at, #firstaccepted = if_not_exists(#firstaccepted, :at) ADD #labels :labels REMOVE #refusedsince, #refused",
		"attribute_exists(#id) AND (attribute_not_exists(#refused) OR #refused <= :at) AND (attribute_not_exists(#accepted) OR #accepted <= :at)",
		item{":at": moment(at), ":labels": set(labelText(label))})
	return wrapAccount(err, "accept", "key "+id)
}

// RefuseKey notes that Rule refused a key.
func (s *Accounts) RefuseKey(ctx context.Context, id string, at time.Time) error {
	_, err := s.change(ctx, keyPrefix+id, "SET #refused = :at, #refusedsince = if_not_exists(#refusedsince, :at)",
		"attribute_exists(#id) AND (attribute_not_exists(#refused) OR #refused <= :at) AND (attribute_not_exists(#accepted) OR #accepted <= :at)",
		item{":at": moment(at)})
	return wrapAccount(err, "refuse", "key "+id)
}

// DeliveredKey notes that an order or event came with a key.
func (s *Accounts) DeliveredKey(ctx context.Context, id string, at time.Time) error {
	return wrapAccount(s.raise(ctx, keyPrefix+id, "delivered", moment(at)), "note delivery", "key "+id)
}

// DropKey notes that a key was dropped; the zero time takes it back.
func (s *Accounts) DropKey(ctx context.Context, id string, at time.Time) error {
	update, values := "SET #dropped = :at", item{":at": moment(at)}
	if at.IsZero() {
		update, values = "REMOVE #dropped", nil
	}
	_, err := s.change(ctx, keyPrefix+id, update, "attribute_exists(#id)", values)
	return wrapAccount(err, "drop", "key "+id)
}

// Block moves the account's BlockedUntil forward to until, never back.
func (s *Accounts) Block(ctx context.Context, id string, until time.Time) error {
	return wrapAccount(s.raise(ctx, accountPrefix+id, "blockeduntil", moment(until)), "block", "account "+id)
}

// SetSchema raises the account's schema version, never lowers it.
func (s *Accounts) SetSchema(ctx context.Context, id string, version int) error {
	return wrapAccount(s.raise(ctx, accountPrefix+id, "schema", number(int64(version))), "set schema", "account "+id)
}

// raise sets a number of an item unless it is there and as high already.
func (s *Accounts) raise(ctx context.Context, id, name string, to types.AttributeValue) error {
	_, err := s.change(ctx, id, fmt.Sprintf("SET #%s = :to", name),
		fmt.Sprintf("attribute_exists(#id) AND (attribute_not_exists(#%[1]s) OR #%[1]s < :to)", name), item{":to": to})
	return err
}

// SawLabel notes that an order came under a label.
func (s *Accounts) SawLabel(ctx context.Context, id, label string) error {
	_, err := s.change(ctx, accountPrefix+id, "ADD #labels :labels", "attribute_exists(#id)", item{":labels": set(labelText(label))})
	return wrapAccount(err, "note label", "account "+id)
}

// change changes an item. done is false for a condition that does not hold on an
// item that is there, which is no error: the change may have been made by an
// earlier try of this call. account.ErrNotFound if there is no such item.
func (s *Accounts) change(ctx context.Context, id, update, condition string, values item) (done bool, err error) {
	_, done, err = s.attempt(ctx, id, update, condition, values)
	return done, err
}

// attempt is change, with the item on which the condition does not hold.
func (s *Accounts) attempt(ctx context.Context, id, update, condition string, values item) (there item, done bool, err error) {
	_, err = s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
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
		return nil, err == nil, awsfault.Wrap(err, "update item")
	}
	if len(there) == 0 {
		return nil, false, account.ErrNotFound
	}
	return there, false, nil
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

const (
	// maxBatch is how many items DynamoDB reads at once.
	maxBatch = 100
	// maxRounds bounds how often what DynamoDB left out is asked for.
	maxRounds = 5
)

var errLeftOut = errors.New("DynamoDB leaves items out again and again")

// many reads items by their ids; those that are not there are left out. The reads
// are strongly consistent.
func (s *Accounts) many(ctx context.Context, ids []string) (map[string]item, error) {
	found := map[string]item{}
	for batch := range slices.Chunk(ids, maxBatch) {
		keys := make([]map[string]types.AttributeValue, len(batch))
		for i, id := range batch {
			keys[i] = item{"id": text(id)}
		}
		for round := 0; len(keys) > 0; round++ {
			if round == maxRounds {
				return nil, awsfault.Wrap(errLeftOut, "get items")
			}
			out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
				s.table: {Keys: keys, ConsistentRead: aws.Bool(true)},
			}})
			if err != nil {
				return nil, awsfault.Wrap(err, "get items")
			}
			for _, i := range out.Responses[s.table] {
				r := reader{item: i}
				found[r.text("id")] = i
			}
			keys = out.UnprocessedKeys[s.table].Keys
		}
	}
	return found, nil
}
