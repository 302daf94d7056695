package dynamo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
)

// maxBook is how many bytes of JSON a Book may be. An item may have 409,600
// with its keys and the names of its attributes.
const maxBook = 400_000

// Bonus is the bonus.Store of a DynamoDB table. Its errors are
// bonus.ErrChanged, or a fault: TooLarge for a book that no item can hold,
// Unavailable when another try may help, Internal for a damaged item or a
// request that DynamoDB refuses.
type Bonus struct {
	// Retention is how long after its last change a book is kept whose checks have
	// all run out. Set it before the store is used.
	Retention order.Retention

	client Client
	table  string
}

var _ bonus.Store = (*Bonus)(nil)

// NewBonus returns the store of books in table.
func NewBonus(client Client, table string) *Bonus {
	return &Bonus{client: client, table: table}
}

// Get returns the customer's book, the zero Book if there is none. The read is
// strongly consistent.
func (s *Bonus) Get(ctx context.Context, k bonus.Key) (bonus.Book, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(s.table),
		Key:            bookKey(k),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return bonus.Book{}, wrapBook(awsfault.Wrap(err, "get item"), "get", k)
	}
	if _, kept := out.Item["rev"]; !kept && out.Item["book"] == nil { // nothing, or the day of an order alone
		return bonus.Book{}, nil
	}
	r := reader{item: out.Item}
	var b bonus.Book
	if r.text("book") == "" {
		r.fail("book", "missing")
	}
	r.json("book", &b)
	b.Rev = r.number("rev")
	if b.Rev < 1 {
		r.fail("rev", "want a number from 1, got %d", b.Rev)
	}
	if r.err != nil {
		return bonus.Book{}, wrapBook(damaged(r.err), "get", k)
	}
	return b, nil
}

// Put stores b as revision b.Rev+1, provided that the stored book is at b.Rev;
// otherwise it is bonus.ErrChanged. It recognises its own write, when the answer
// was lost and the SDK sends it again, also if one other write came in between.
func (s *Bonus) Put(ctx context.Context, k bonus.Key, b bonus.Book) error {
	update := "SET #rev = :next, #book = :book, #updated = :now, #stamp = :stamp, #before = if_not_exists(#stamp, :stamp)"
	book, err := json.Marshal(b)
	if err != nil {
		return wrapBook(err, "put", k)
	}
	if len(book) > maxBook {
		return wrapBook(fault.New(fault.TooLarge, "The customer has used more bonus checks than can be kept count of."), "put", k)
	}
	stamp, now := rand.Text(), time.Now()
	values := item{
		":next":  number(b.Rev + 1),
		":book":  text(string(book)),
		":now":   moment(now),
		":stamp": text(stamp),
	}
	if until, ok := b.KeptUntil(s.Retention.Until(now)); ok {
		update += ", #expires = :expires"
		values[":expires"] = number(until.Add(time.Second - 1).Unix()) // never before its time
	} else {
		update += " REMOVE #expires"
	}
	condition := "attribute_not_exists(#rev)"
	if b.Rev != 0 {
		condition = "#rev = :rev"
		values[":rev"] = number(b.Rev)
	}
	_, err = s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           aws.String(s.table),
		Key:                                 bookKey(k),
		UpdateExpression:                    aws.String(update),
		ConditionExpression:                 aws.String(condition),
		ExpressionAttributeNames:            names(update, condition),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if there, ok := refused(err); ok {
		r := reader{item: there}
		if r.text("stamp") == stamp || r.text("before") == stamp {
			return nil
		}
		return wrapBook(bonus.ErrChanged, "put", k)
	}
	return wrapBook(awsfault.Wrap(err, "update item"), "put", k)
}

// Latest notes the day of an order of the customer's and returns the latest that
// was noted. A day alone that is the latest costs one write, and its answer does
// not tell until when the customer's is unsettled.
func (s *Bonus) Latest(ctx context.Context, k bonus.Key, day string, unsettled time.Time) (bonus.Latest, error) {
	if day == "" && unsettled.IsZero() {
		out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(s.table), Key: bookKey(k), ConsistentRead: aws.Bool(true)})
		if err != nil {
			return bonus.Latest{}, wrapBook(awsfault.Wrap(err, "get item"), "read latest order in", k)
		}
		return latest(out.Item, k)
	}
	update, condition, values := "SET #latest = :day", "attribute_not_exists(#latest) OR #latest < :day", item{":day": text(day)}
	if !unsettled.IsZero() {
		update, condition = "SET #latest = :day, #unsettled = :unsettled", "attribute_not_exists(#latest) OR #latest <= :day"
		values[":unsettled"] = moment(unsettled)
	}
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: bookKey(k),
		UpdateExpression: aws.String(update), ConditionExpression: aws.String(condition),
		ExpressionAttributeNames: names(update, condition), ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	there, newer := refused(err)
	switch {
	case newer && unsettled.IsZero():
		return latest(there, k)
	case newer:
		return s.unsettle(ctx, k, unsettled)
	case err != nil:
		return bonus.Latest{}, wrapBook(awsfault.Wrap(err, "update item"), "note latest order in", k)
	}
	return bonus.Latest{Day: day, Unsettled: unsettled.Truncate(time.Millisecond)}, nil
}

// unsettle notes until when the latest day is unsettled, and returns what it is at
// that very moment: who notes a newer one afterwards sees that it is.
func (s *Bonus) unsettle(ctx context.Context, k bonus.Key, until time.Time) (bonus.Latest, error) {
	const update = "SET #unsettled = :unsettled"
	out, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: bookKey(k),
		UpdateExpression: aws.String(update), ExpressionAttributeNames: names(update), ExpressionAttributeValues: item{":unsettled": moment(until)},
		ReturnValues: types.ReturnValueAllNew,
	})
	if err != nil {
		return bonus.Latest{}, wrapBook(awsfault.Wrap(err, "update item"), "note latest order in", k)
	}
	return latest(out.Attributes, k)
}

func latest(i item, k bonus.Key) (bonus.Latest, error) {
	r := reader{item: i}
	l := bonus.Latest{Day: r.text("latest"), Unsettled: r.moment("unsettled")}
	if r.err != nil {
		return bonus.Latest{}, wrapBook(r.err, "read latest order in", k)
	}
	return l, nil
}

func bookKey(k bonus.Key) item {
	return item{"account": text(k.Account), "subscriber": number(k.Subscriber)}
}

// wrapBook says what was attempted with whose book.
func wrapBook(err error, doing string, k bonus.Key) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s book of subscriber %d of account %s: %w", doing, k.Subscriber, k.Account, err)
}
