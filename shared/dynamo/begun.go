package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/worker"
)

// keepBegun is longer than a queue keeps a message.
const keepBegun = 15 * 24 * time.Hour

// begunPrefix begins the name of the item that counts a message's deliveries.
const begunPrefix = "begun#"

var (
	_ worker.Begun = (*History)(nil)
	_ worker.Begun = (*Imports)(nil)
)

// begin notes an attempt in the set of an item: one that the SDK sends again
// counts once.
func begin(ctx context.Context, client Client, table string, key item, attempt string) (int, error) {
	const update = "ADD #begun :attempt SET #expires = :expires"
	out, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(table), Key: key, UpdateExpression: aws.String(update), ExpressionAttributeNames: names(update),
		ExpressionAttributeValues: item{
			":attempt": &types.AttributeValueMemberSS{Value: []string{attempt}}, ":expires": number(time.Now().Add(keepBegun).Unix()),
		},
		ReturnValues: types.ReturnValueAllNew,
	})
	if err != nil {
		return 0, awsfault.Wrap(err, "note that a delivery begins")
	}
	noted, _ := out.Attributes["begun"].(*types.AttributeValueMemberSS)
	if noted == nil {
		return 1, nil
	}
	return len(noted.Value), nil
}

func end(ctx context.Context, client Client, table string, key item) error {
	const update = "SET #expires = :expires REMOVE #begun"
	_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(table), Key: key, UpdateExpression: aws.String(update), ExpressionAttributeNames: names(update),
		ExpressionAttributeValues: item{":expires": number(time.Now().Add(keepBegun).Unix())},
	})
	return awsfault.Wrap(err, "note that a delivery has ended")
}

// Begin notes an attempt at a message and returns how many are noted.
func (s *History) Begin(ctx context.Context, group, message, attempt string) (int, error) {
	return begin(ctx, s.client, s.table, historyKey(group, begunPrefix+message), attempt)
}

// End forgets all attempts at a message.
func (s *History) End(ctx context.Context, group, message string) error {
	return end(ctx, s.client, s.table, historyKey(group, begunPrefix+message))
}

// Begin notes an attempt at a message and returns how many are noted.
func (s *Imports) Begin(ctx context.Context, group, message, attempt string) (int, error) {
	return begin(ctx, s.client, s.table, begunImport(group, message), attempt)
}

// End forgets all attempts at a message.
func (s *Imports) End(ctx context.Context, group, message string) error {
	return end(ctx, s.client, s.table, begunImport(group, message))
}

func begunImport(group, message string) item {
	return item{"import": text(begunPrefix + group + "#" + message), "part": number(0)}
}
