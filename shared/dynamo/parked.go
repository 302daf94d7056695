package dynamo

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/parking"
)

const (
	// maxPart is how much of a body one item holds: DynamoDB takes 400 KB with the
	// attributes' names.
	maxPart = 380_000
	// bodyMark follows the account in the key of bodies, so that a list of what is
	// parked does not read them.
	bodyMark = "#body"
)

// Parked is the parking.Store of a DynamoDB table. Its errors are parking.ErrGone
// or faults, as those of Accounts.
type Parked struct {
	client Client
	table  string
}

var _ parking.Store = (*Parked)(nil)

// NewParked returns the store of what is parked in table.
func NewParked(client Client, table string) *Parked { return &Parked{client: client, table: table} }

func partID(id string, n int) string { return fmt.Sprintf("%s#%04d", id, n) }

// Put keeps an item and its body, the body first: what is listed is whole.
func (s *Parked) Put(ctx context.Context, i parking.Item, body []byte) error {
	expires := number(i.Expires().Unix())
	parts := 0
	for part := range slices.Chunk(body, maxPart) {
		if err := s.put(ctx, item{
			"account": text(i.Account + bodyMark), "item": text(partID(i.ID, parts)), "body": &types.AttributeValueMemberB{Value: part}, "expires": expires,
		}); err != nil {
			return awsfault.Wrap(err, "put %s of account %s", i.ID, i.Account)
		}
		parts++
	}
	main := item{
		"account": text(i.Account), "item": text(i.ID), "kind": text(i.Kind), "parked": moment(i.Parked), "bytes": number(i.Bytes),
		"parts": number(int64(parts)), "datakey": &types.AttributeValueMemberB{Value: i.DataKey}, "expires": expires,
	}
	for name, v := range map[string]string{"label": i.Label, "key": i.Key, "reason": i.Reason} {
		if v != "" {
			main[name] = text(v)
		}
	}
	if i.Order != 0 {
		main["order"] = number(i.Order)
	}
	return awsfault.Wrap(s.put(ctx, main), "put %s of account %s", i.ID, i.Account)
}

func (s *Parked) put(ctx context.Context, i item) error {
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(s.table), Item: i})
	return err
}

// List returns an account's items after an id, by id, at most limit. The read is
// strongly consistent.
func (s *Parked) List(ctx context.Context, account, after string, limit int) ([]parking.Item, error) {
	const condition = "#account = :account AND #item > :after"
	values := item{":account": text(account), ":after": text(after)}
	if after == "" {
		values[":after"] = text(" ") // before every id; a key cannot be empty
	}
	var list []parking.Item
	var from item
	for {
		out, err := s.client.Query(ctx, &dynamodb.QueryInput{
			TableName: aws.String(s.table), KeyConditionExpression: aws.String(condition), ExpressionAttributeNames: names(condition),
			ExpressionAttributeValues: values, ConsistentRead: aws.Bool(true), Limit: aws.Int32(int32(limit - len(list))), ExclusiveStartKey: from,
		})
		if err != nil {
			return nil, awsfault.Wrap(err, "list what account %s has parked", account)
		}
		for _, found := range out.Items {
			r := reader{item: found}
			i := parking.Item{
				Account: account, ID: r.text("item"), Kind: r.text("kind"), Label: r.text("label"), Key: r.text("key"), Order: r.number("order"),
				Reason: r.text("reason"), Parked: r.moment("parked"), Bytes: r.number("bytes"), DataKey: r.bytes("datakey"),
			}
			r.must("datakey")
			r.must("parked")
			if r.err != nil {
				return nil, fmt.Errorf("list what account %s has parked: %w", account, damaged(r.err))
			}
			list = append(list, i)
		}
		if from = out.LastEvaluatedKey; len(from) == 0 || len(list) >= limit {
			return list, nil
		}
	}
}

// Body returns an item's body, parking.ErrGone if it is not there.
func (s *Parked) Body(ctx context.Context, i parking.Item) ([]byte, error) {
	parts, err := s.parts(ctx, i)
	if err != nil {
		return nil, err
	}
	if parts == 0 {
		return nil, fmt.Errorf("body of %s of account %s: %w", i.ID, i.Account, parking.ErrGone)
	}
	var body []byte
	for n := range parts {
		found, err := s.get(ctx, i.Account+bodyMark, partID(i.ID, n))
		if err != nil {
			return nil, awsfault.Wrap(err, "body of %s of account %s", i.ID, i.Account)
		}
		r := reader{item: found}
		r.must("body")
		body = append(body, r.bytes("body")...)
		if r.err != nil {
			return nil, fmt.Errorf("body of %s of account %s: %w", i.ID, i.Account, damaged(r.err))
		}
	}
	return body, nil
}

// parts returns of how many parts an item's body is, 0 for an item that is not
// there.
func (s *Parked) parts(ctx context.Context, i parking.Item) (int, error) {
	found, err := s.get(ctx, i.Account, i.ID)
	if err != nil {
		return 0, awsfault.Wrap(err, "get %s of account %s", i.ID, i.Account)
	}
	r := reader{item: found}
	n := int(r.number("parts"))
	if r.err != nil {
		return 0, fmt.Errorf("get %s of account %s: %w", i.ID, i.Account, damaged(r.err))
	}
	return n, nil
}

func (s *Parked) get(ctx context.Context, account, id string) (item, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(s.table), Key: item{"account": text(account), "item": text(id)}, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// Delete forgets an item, and reports whether it was there: the body first, so that one that is listed still can be
// deleted again.
func (s *Parked) Delete(ctx context.Context, i parking.Item) (bool, error) {
	parts, err := s.parts(ctx, i)
	if err != nil || parts == 0 {
		return false, err
	}
	for n := range parts {
		if err := s.delete(ctx, i.Account+bodyMark, partID(i.ID, n)); err != nil {
			return false, awsfault.Wrap(err, "delete %s of account %s", i.ID, i.Account)
		}
	}
	if err := s.delete(ctx, i.Account, i.ID); err != nil {
		return false, awsfault.Wrap(err, "delete %s of account %s", i.ID, i.Account)
	}
	return true, nil
}

func (s *Parked) delete(ctx context.Context, account, id string) error {
	_, err := s.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(s.table), Key: item{"account": text(account), "item": text(id)}})
	return err
}
