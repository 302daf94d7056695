package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

// refusedPrefix begins the id of an item that stands for a refused key.
// Account ids are hexadecimal, so none begins with it.
const refusedPrefix = "refused#"

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

// Get returns the account, or account.ErrNotFound. The read is strongly
// consistent.
func (s *Accounts) Get(ctx context.Context, id string) (account.Account, error) {
	found, err := s.get(ctx, id)
	if err != nil {
		return account.Account{}, awsfault.Wrap(err, "get account %s", id)
	}
	if len(found) == 0 {
		return account.Account{}, fmt.Errorf("get account %s: %w", id, account.ErrNotFound)
	}
	r := reader{item: found}
	a := account.Account{
		ID:           r.text("id"),
		SealedKey:    r.bytes("sealedkey"),
		Created:      r.moment("created"),
		BlockedUntil: r.moment("blockeduntil"),
		Schema:       int(r.number("schema")),
	}
	r.must("sealedkey")
	if r.err != nil {
		return account.Account{}, fmt.Errorf("get account %s: %w", id, damaged(r.err))
	}
	return a, nil
}

// Create stores a, unless there is an account of that id already: that is no
// error, and cannot be told from an earlier try of this very call.
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
	condition := fmt.Sprintf("attribute_exists(#id) AND (attribute_not_exists(#%[1]s) OR #%[1]s < :to)", name)
	update := fmt.Sprintf("SET #%s = :to", name)
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           aws.String(s.table),
		Key:                                 item{"id": text(id)},
		UpdateExpression:                    aws.String(update),
		ConditionExpression:                 aws.String(condition),
		ExpressionAttributeNames:            names(condition, update),
		ExpressionAttributeValues:           item{":to": to},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := refused(err); ok {
		if len(there) == 0 {
			return fmt.Errorf("set %s of account %s: %w", name, id, account.ErrNotFound)
		}
		return nil // as high already, if only by an earlier try of this call
	}
	return awsfault.Wrap(err, "set %s of account %s", name, id)
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
