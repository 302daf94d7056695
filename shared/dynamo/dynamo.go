// Package dynamo keeps accounts, the order ledger, the books of bonus checks, the
// progress of imports, and backfills in DynamoDB.
//
// Support reads these items in the console, so their layout is written down
// here. Every time is a number: unix time in milliseconds, UTC; an attribute
// that has nothing to say is left out. No item holds personal data or a
// readable secret.
//
// # Accounts table, key id (S)
//
// What an item is, its id begins with; a function's policy names the kinds that it
// may write.
//
// An account in Rule:
//
//	id            S   "account#" and the account id: Rule's number of it, or where Rule
//	                  does not say that, the id of the key that led there first
//	name          S   the company's name in Rule
//	created       N   when Rule first accepted a key of it
//	keys          SS  ids of its keys
//	labels        SS  "/" and the label, for those under which orders have come
//	blockeduntil  N   Rule takes no call before this time
//	schema        N   version of the field schema declared in Rule
//	parked        N   how many orders are parked, and parkedbytes N their size;
//	                  parkedstamp S, random, new with every change of the two
//	watched       N   until when a message is under way that looks after them;
//	                  watchedstamp S, random, by whom that was noted
//
// A Rule API key:
//
//	id             S   "key#" and its id, a one-way digest of the key
//	account        S   the account it leads to, for good
//	sealedkey      B   the key, sealed; opens only under the account's id
//	lastfour       S   its last four characters
//	labels         SS  those it has come with, as above
//	firstseen      N   when Rule was first asked about it
//	firstaccepted  N   when Rule first accepted it for an operation that counts
//	accepted       N   when Rule last accepted it, noted every few minutes
//	refusedsince   N   since when Rule refuses it, and refused N when it last did
//	delivered      N   when an order or event last came with it
//	dropped        N   when the merchant dropped it
//
// What a shop has chosen:
//
//	id        S  "settings#" and the account id
//	consent   S
//	language  S
//	country   S  of no label; "country/" and a label for the name is that label's
//
// Sitoo's credentials of an account and a label:
//
//	id       S  "sitoo#" and the account id, then "/" and the label if there is one
//	base     S  base URL of Sitoo's REST API
//	account  S  account id in Sitoo
//	site     N  the site's eshopid
//	sealed   B  API id and password, sealed; open only under the account's id
//	since    N  when they were entered
//	used     N  when they were last used
//
// Whose the sites of a Sitoo account are:
//
//	id         S   "shop#" and the account id in Sitoo
//	owner/...  S   with the site's eshopid, "/" and the environment for the dots
//	               (owner/1/api.mysitoo.com): account id, "/" and label
//	home/...   S   where it stood last, also once it is released
//	out/...    SS  accounts that an operator has put out
//
// Attempts to enter credentials, by Rule account and by Sitoo account:
//
//	id       S  "attempts#", then "rule#" or "sitoo#" and the account's id
//	count    N  wrong ones in a row
//	last     N  when the last one was
//	until    N  there may be none before this time
//	rev      N  how many times the item has been written, and stamp S, random, by whom
//	expires  N  as below
//
// An unknown key that Rule refused:
//
//	id       S  "refused#" and the id the key would have
//	until    N  the key is not tried again before this time
//	expires  N  unix time in seconds, rounded up: the table's TTL attribute
//
// DynamoDB deletes expired items some days late and only when it likes; the
// code compares until with the clock and never relies on the deletion.
//
// # Ledger table, keys account (S) and order (N)
//
//	account     S     account id, then "/" and the label if there is one; and "#" and
//	                  eight characters of an order whose number is another's
//	order       N     Sitoo's orderid
//	dated       N     when the order was made, as far as a copy of it has said
//	receipt     S     a digest of the till's receipt number, likewise
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
//
// # Bonus table, keys account (S) and subscriber (N)
//
//	account     S  account id
//	subscriber  N  Rule's numeric id of the customer
//	rev         N  how many times the book has been written
//	stamp       S  random, new with every write
//	before      S  the stamp of the write before
//	book        S  the customer's bonus.Book, as JSON
//	updated     N  last change
//	latest      S  the day of the customer's latest order; there may be no book beside it
//	unsettled   N  until when Rule may still work a backfill's call with an older day
//
// Whoever writes a book says which rev was read, and the write fails if that is
// no longer the one. The stamps tell a writer whose answer was lost that the
// book is the one it wrote itself, even when one other has written since. Books
// have no TTL: what was forgotten could be used again.
//
// # Parked table, keys account (S) and item (S)
//
// What a shop has delivered and cannot be worked yet:
//
//	account  S  account id
//	item     S  when it was parked, and something random
//	kind     S  order
//	key      S  id of the API key that it came with, and label S its label
//	order    N  Sitoo's orderid
//	reason   S  why it waits
//	parked   N  when it was parked
//	bytes    N  size of the sealed body, and parts N of how many parts it is
//	datakey  B  what the body is sealed with, sealed; opens only under the account's id
//	expires  N  28 days after it was parked: the table's TTL attribute. After 14 it is
//	            in OrdersDeadLetters
//
// A part of its body has "#body" after the account, the part's number after item,
// and the attribute body (B).
//
// # Imports table, keys import (S) and part (N)
//
// An import of bonus checks:
//
//	import     S     account id, "/" and the import's id
//	part       N     0
//	file       S     the file's name
//	rows       N     rows of the file
//	customers  N     customers they are about
//	parts      N     messages they make
//	queued     BOOL  all of them are on the queue
//	created    N     when the file came
//	expires    N     90 days later, unix time in seconds: the table's TTL attribute
//
// A part of it that has begun:
//
//	import     S     as above
//	part       N     its number, from 1
//	rows       N     rows of the file it holds
//	done       N     customers done, from the first on
//	written    N     rows that Rule has now
//	unchanged  N     rows that said nothing new
//	failed     N     rows that could not be imported
//	failures   S     the first hundred of those, as JSON: row, column, reason
//	finished   BOOL  nothing is left to do
//	reason     S     why it waits
//	until      N     until when it waits
//	updated    N     last change
//	expires    N     90 days after that
//
// A line of the list of an account's imports:
//
//	import   S  account id alone
//	part     N  when the import was created, times 1000, and one more for each that
//	            was created in the same millisecond before it
//	id       S  the import's id
//	expires  N  as the import's
//
// # History table, keys account (S) and item (S)
//
// A backfill, whose cursor is the order id up to which every order is queued:
//
//	account  S  account id
//	item     S  "job#" and the job's id
//	rev      N  how many times the job has been written
//	stamp    S  random, new with every write
//	before   S  the stamp of the write before
//	job      S  the history.Job, as JSON: this is what counts
//	state    S  copies of some of it, to be read in the console
//	phase    S
//	cursor   N
//	created  N
//	updated  N
//
// The result of a part of one of its runs:
//
//	account   S     account id
//	item      S     "part#", the job's id, "#", the run's number, "#" and the part's id
//	result    S     the history.Part, as JSON
//	done      N     orders settled, from the first on
//	finished  BOOL  nothing is left to do
//	updated   N     last change
//	expires   N     180 days after that, unix time in seconds: the table's TTL attribute
//
// A bucket of a list of who is in Rule, one of up to 256:
//
//	account  S  account id
//	item     S  "people#", the list's name, "#" and the first byte of the digests in it, in hex
//	rev      N  how many times the bucket has been written
//	people   B  in the order of the digests: a digest of an email address or a
//	            phone number, 12 bytes, and Rule's id of the subscriber, 8 bytes
//	expires  N  14 days after the last change, in seconds
package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
}

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func set(members ...string) types.AttributeValue {
	return &types.AttributeValueMemberSS{Value: members}
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

// json reads a text as JSON into v; one that is absent leaves v as it is.
func (r *reader) json(name string, v any) {
	if s := r.text(name); s != "" {
		if err := json.Unmarshal([]byte(s), v); err != nil {
			r.fail(name, "want JSON: %v", err)
		}
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

// set reads a set of texts, in no order.
func (r *reader) set(name string) []string {
	switch v := r.item[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberSS:
		return slices.Clone(v.Value)
	default:
		r.wrongType(name, v, "SS")
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
