// Package dynamo keeps accounts and the order ledger in DynamoDB.
//
// Support reads these items in the console, so their layout is written down
// here. Every time is a number: unix time in milliseconds, UTC; an attribute
// that has nothing to say is left out. No item holds personal data or a
// readable secret.
//
// # Accounts table, key id (S)
//
// An account:
//
//	id            S  account id, the one-way digest of the Rule API key
//	sealedkey     B  the API key, sealed; opens only under this id
//	created       N  when Rule first accepted the key
//	blockeduntil  N  Rule takes no call before this time
//	schema        N  version of the field schema declared in Rule
//
// A key that Rule refused, an item of its own so that an account never gets
// lost in a flood of bad keys:
//
//	id       S  "refused#" and the account id the key would have
//	until    N  the key is not tried again before this time
//	expires  N  unix time in seconds, rounded up: the table's TTL attribute
//
// DynamoDB deletes expired items some days late and only when it likes; the
// code compares until with the clock and never relies on the deletion.
//
// # Ledger table, keys account (S) and order (N)
//
//	account     S     account id
//	order       N     Sitoo's orderid
//	state       S     queued, working, waiting, sent, skipped or failed
//	reason      S     why it waits, was skipped or failed
//	subscriber  N     Rule's numeric id of the customer
//	attempts    N     how many times a worker has claimed the order
//	uncertain   BOOL  an earlier attempt may have written the entry
//	queued      N     when the order was accepted, or first seen
//	updated     N     last change
//	attempt     S     the attempt that holds or last held the lease
//	lease       N     until when that attempt owns the order; only while working
//
// Ledger items have no TTL: an order can be sent again at any age, and
// forgetting it would write it twice.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/fault"
)

// Client is what the package calls of DynamoDB; *dynamodb.Client fits. Leave
// its retries on: every write here recognises a first try whose answer was lost.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
}

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func moment(t time.Time) types.AttributeValue { return number(t.UnixMilli()) }

// names lists the #name placeholders of expressions with the attribute each
// stands for. Every attribute is written that way: account, order, state and
// schema are among DynamoDB's reserved words.
func names(expressions ...string) map[string]string {
	m := make(map[string]string)
	for _, e := range expressions {
		for word := range strings.FieldsFuncSeq(e, func(r rune) bool {
			return r != '#' && r != ':' && (r < 'a' || r > 'z')
		}) {
			if name, ok := strings.CutPrefix(word, "#"); ok {
				m[word] = name
			}
		}
	}
	return m
}

// refused reports whether err says that a condition did not hold, with the
// item that was there; it is empty if there was none.
func refused(err error) (item, bool) {
	c, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return nil, false
	}
	return c.Item, true
}

// reader takes attributes out of an item and remembers the first that is not
// what it should be.
type reader struct {
	item item
	err  error
}

func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("attribute %s: %s", name, fmt.Sprintf(format, args...))
	}
}

func (r *reader) wrongType(name string, v types.AttributeValue, want string) {
	r.fail(name, "want type %s, got %s", want, typeOf(v))
}

func (r *reader) text(name string) string {
	switch v := r.item[name].(type) {
	case nil:
		return ""
	case *types.AttributeValueMemberS:
		return v.Value
	default:
		r.wrongType(name, v, "S")
		return ""
	}
}

func (r *reader) bytes(name string) []byte {
	switch v := r.item[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberB:
		return v.Value
	default:
		r.wrongType(name, v, "B")
		return nil
	}
}

func (r *reader) flag(name string) bool {
	switch v := r.item[name].(type) {
	case nil:
		return false
	case *types.AttributeValueMemberBOOL:
		return v.Value
	default:
		r.wrongType(name, v, "BOOL")
		return false
	}
}

func (r *reader) number(name string) int64 {
	switch v := r.item[name].(type) {
	case nil:
		return 0
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil {
			r.fail(name, "want a whole number of 64 bits, got %.40q", v.Value)
		}
		return n
	default:
		r.wrongType(name, v, "N")
		return 0
	}
}

// moment reads a time; one that is absent is the zero time.
func (r *reader) moment(name string) time.Time {
	if r.item[name] == nil {
		return time.Time{}
	}
	n := r.number(name)
	if r.err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// must notes an attribute that no item of its kind can be without.
func (r *reader) must(name string) {
	if r.item[name] == nil {
		r.fail(name, "missing")
	}
}

// damaged is the error of an item that somebody or something else has changed.
func damaged(err error) error {
	return &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("damaged item: %w", err)}
}

func typeOf(v types.AttributeValue) string {
	switch v.(type) {
	case *types.AttributeValueMemberS:
		return "S"
	case *types.AttributeValueMemberN:
		return "N"
	case *types.AttributeValueMemberB:
		return "B"
	case *types.AttributeValueMemberBOOL:
		return "BOOL"
	case *types.AttributeValueMemberNULL:
		return "NULL"
	case *types.AttributeValueMemberL:
		return "L"
	case *types.AttributeValueMemberM:
		return "M"
	case *types.AttributeValueMemberSS:
		return "SS"
	case *types.AttributeValueMemberNS:
		return "NS"
	case *types.AttributeValueMemberBS:
		return "BS"
	default:
		return "an unknown type"
	}
}
