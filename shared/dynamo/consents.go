package dynamo

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/rule"
)

// countsLast is how long it is kept how many were asked in a day.
const countsLast = 60 * 24 * time.Hour

// Consents is the customer.Answers of a DynamoDB table. Its errors are a fault:
// Unavailable when another try may help, Internal for a damaged item or a request
// that DynamoDB refuses.
type Consents struct {
	client Client
	table  string
}

var _ customer.Answers = (*Consents)(nil)

// NewConsents returns the store of answers in table.
func NewConsents(client Client, table string) *Consents {
	return &Consents{client: client, table: table}
}

func refusalKey(account string, subscriber int64) item {
	return item{"account": text(account), "item": text("refusal#" + strconv.FormatInt(subscriber, 10))}
}

func dayOf(t time.Time) string { return "day#" + t.In(rule.Stockholm).Format("2006-01-02") }

// Refuse notes when a customer said no to channels, in place of an earlier time.
func (s *Consents) Refuse(ctx context.Context, account string, subscriber int64, at time.Time, channels ...customer.Member) error {
	update := "SET #expires = :expires"
	values := item{":expires": number(at.Add(customer.RefusalLasts + time.Hour).Unix())}
	for _, c := range channels {
		update += fmt.Sprintf(", #%s = :at", refusalOf(c))
		values[":at"] = moment(at)
	}
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: refusalKey(account, subscriber),
		UpdateExpression: aws.String(update), ExpressionAttributeNames: names(update), ExpressionAttributeValues: values,
	})
	return wrapAnswer(err, "note refusal", account, subscriber)
}

// refusalOf is the attribute of a channel: names takes small letters alone.
func refusalOf(c customer.Member) string { return strings.ReplaceAll(string(c), "_", "") }

// Refused returns when a customer last said no, by channel. The read is strongly
// consistent.
func (s *Consents) Refused(ctx context.Context, account string, subscriber int64) (map[customer.Member]time.Time, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(s.table), Key: refusalKey(account, subscriber), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, wrapAnswer(err, "get refusal", account, subscriber)
	}
	r := reader{item: out.Item}
	said := map[customer.Member]time.Time{}
	for _, c := range []customer.Member{customer.AcceptsEmail, customer.AcceptsSMS} {
		if at := r.moment(refusalOf(c)); !at.IsZero() {
			said[c] = at
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("get refusal of subscriber %d of account %s: %w", subscriber, account, damaged(r.err))
	}
	return said, nil
}

// Count counts a new customer under a day. A write whose answer was lost, and that
// the client sends again, is told from a new one by the last ticket of the day: it
// counts twice only if another customer's came in between.
func (s *Consents) Count(ctx context.Context, account string, at time.Time, asked bool) error {
	const (
		update    = "SET #expires = :expires, #ticket = :ticket ADD #asked :asked, #unasked :unasked"
		condition = "attribute_not_exists(#ticket) OR #ticket <> :ticket"
	)
	values := item{":ticket": text(rand.Text()), ":expires": number(at.Add(countsLast).Unix()), ":asked": number(1), ":unasked": number(0)}
	if !asked {
		values[":asked"], values[":unasked"] = number(0), number(1)
	}
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: item{"account": text(account), "item": text(dayOf(at))},
		UpdateExpression: aws.String(update), ConditionExpression: aws.String(condition), ExpressionAttributeNames: names(update, condition), ExpressionAttributeValues: values,
	})
	if _, again := refused(err); again {
		return nil
	}
	return wrapAnswer(err, "count new customer", account, 0)
}

// Counts returns how many were counted since the day of a time.
func (s *Consents) Counts(ctx context.Context, account string, since time.Time) (asked, unasked int, err error) {
	const condition = "#account = :account AND #item BETWEEN :from AND :to"
	in := &dynamodb.QueryInput{
		TableName: aws.String(s.table), KeyConditionExpression: aws.String(condition), ExpressionAttributeNames: names(condition),
		ExpressionAttributeValues: item{":account": text(account), ":from": text(dayOf(since)), ":to": text("day#9")},
	}
	for {
		out, err := s.client.Query(ctx, in)
		if err != nil {
			return 0, 0, wrapAnswer(err, "query counts", account, 0)
		}
		for _, one := range out.Items {
			r := reader{item: one}
			asked += int(r.number("asked"))
			unasked += int(r.number("unasked"))
			if r.err != nil {
				return 0, 0, fmt.Errorf("counts of account %s: %w", account, damaged(r.err))
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return asked, unasked, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// wrapAnswer says what was attempted for whom.
func wrapAnswer(err error, doing, account string, subscriber int64) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of subscriber %d of account %s: %w", doing, subscriber, account, awsfault.Wrap(err, "consents"))
}

// taggedLasts is how long it is kept who has the tag Sitoo: to ask Rule once more
// after that costs one request.
const taggedLasts = 400 * 24 * time.Hour

func taggedKey(account string, subscriber int64) item {
	return item{"account": text(account), "item": text("tagged#" + strconv.FormatInt(subscriber, 10))}
}

// Tagged reports whether Marked has noted that a customer has the tag Sitoo.
func (s *Consents) Tagged(ctx context.Context, account string, subscriber int64) (bool, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(s.table), Key: taggedKey(account, subscriber)})
	if err != nil {
		return false, wrapAnswer(err, "get tag", account, subscriber)
	}
	return len(out.Item) > 0, nil
}

// Marked notes that a customer has the tag Sitoo.
func (s *Consents) Marked(ctx context.Context, account string, subscriber int64) error {
	const update = "SET #expires = :expires"
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: taggedKey(account, subscriber), UpdateExpression: aws.String(update),
		ExpressionAttributeNames: names(update), ExpressionAttributeValues: item{":expires": number(time.Now().Add(taggedLasts).Unix())},
	})
	return wrapAnswer(err, "note tag", account, subscriber)
}
