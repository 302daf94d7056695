package dynamo

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

// budgetPrefix begins the id of the item that counts a minute's unknown keys: a
// set of tickets, so that a write that the SDK sends again counts once.
const budgetPrefix = "budget#"

var _ account.StrangerCount = (*Accounts)(nil)

// TakeStranger notes a ticket for a minute, unless limit are noted for it.
func (s *Accounts) TakeStranger(ctx context.Context, minute time.Time, ticket string, limit int) (bool, error) {
	const (
		update    = "ADD #tickets :ticket SET #expires = :expires"
		condition = "attribute_not_exists(#tickets) OR size(#tickets) < :limit OR contains(#tickets, :one)"
	)
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                aws.String(s.table),
		Key:                      budgetOf(minute),
		UpdateExpression:         aws.String(update),
		ConditionExpression:      aws.String(condition),
		ExpressionAttributeNames: names(condition, update),
		ExpressionAttributeValues: item{
			":ticket": &types.AttributeValueMemberSS{Value: []string{ticket}}, ":one": text(ticket),
			":limit": number(int64(limit)), ":expires": number(minute.Add(time.Hour).Unix()),
		},
	})
	if _, full := refused(err); full {
		return false, nil
	}
	return err == nil, awsfault.Wrap(err, "count an unknown key")
}

// ReturnStranger takes a ticket back.
func (s *Accounts) ReturnStranger(ctx context.Context, minute time.Time, ticket string) error {
	const update = "DELETE #tickets :ticket SET #expires = :expires"
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                aws.String(s.table),
		Key:                      budgetOf(minute),
		UpdateExpression:         aws.String(update),
		ExpressionAttributeNames: names(update),
		ExpressionAttributeValues: item{
			":ticket": &types.AttributeValueMemberSS{Value: []string{ticket}}, ":expires": number(minute.Add(time.Hour).Unix()),
		},
	})
	return awsfault.Wrap(err, "take an unknown key out of the count")
}

func budgetOf(minute time.Time) item {
	return item{"id": text(budgetPrefix + strconv.FormatInt(minute.Unix(), 10))}
}
