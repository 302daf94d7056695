package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
)

// claimRounds bounds how often Claim looks again when the order changes hands
// between its look and its write. Each round means that another attempt got
// somewhere, so two are rare.
const claimRounds = 4

// Ledger is the order.Ledger of a DynamoDB table. Its errors are
// order.ErrLost, or a fault: Unavailable when another try may help, Internal
// for a damaged item or a request that DynamoDB refuses. Times are kept to the
// millisecond.
type Ledger struct {
	// Retention is how long after its last change an order's line is kept. Set it
	// before the ledger is used.
	Retention order.Retention

	client Client
	table  string
}

var _ order.Ledger = (*Ledger)(nil)

// NewLedger returns the ledger in table.
func NewLedger(client Client, table string) *Ledger {
	return &Ledger{client: client, table: table}
}

// Queue notes an order accepted at now. An order the ledger knows is left as it
// is, except that one which failed before now becomes Queued again, unless its
// stamp conflicts; it keeps its history.
func (l *Ledger) Queue(ctx context.Context, k order.Key, s order.Stamp, now time.Time) error {
	values := item{":to": text(string(order.Queued)), ":failed": text(string(order.Failed)), ":now": moment(now)}
	set, same := stamp(s, values)
	_, _, err := l.update(ctx, k,
		"SET #state = :to, #updated = :now, #queued = if_not_exists(#queued, :now)"+set+" REMOVE #reason",
		"(attribute_not_exists(#account) OR #state = :failed AND #updated < :now)"+same, values)
	return wrap(err, "queue", k)
}

// stamp adds what an order's stamp holds to an update's values, and returns what
// of an update notes it where the record lacks it, and what of a condition holds
// where it does not conflict.
func stamp(s order.Stamp, values item) (set, same string) {
	note := func(name string, v types.AttributeValue) {
		values[":"+name] = v
		set += ", #" + name + " = if_not_exists(#" + name + ", :" + name + ")"
		same += " AND (attribute_not_exists(#" + name + ") OR #" + name + " = :" + name + ")"
	}
	if !s.Date.IsZero() {
		note("dated", moment(s.Date))
	}
	if s.Receipt != "" {
		note("receipt", text(s.Receipt))
	}
	return set, same
}

// Claim gives the order to an attempt as order.Ledger says. An attempt that
// asks again while its lease is running gets the claim it has; asking again
// does not lengthen the lease. After the lease has run out it is treated like
// any other attempt, so an attempt id belongs to one delivery of one message.
func (l *Ledger) Claim(ctx context.Context, k order.Key, s order.Stamp, attempt string, now time.Time, lease time.Duration) (order.Claim, error) {
	const (
		take = "SET #state = :working, #attempt = :attempt, #lease = :until, #updated = :now, " +
			"#queued = if_not_exists(#queued, :now), #attempts = if_not_exists(#attempts, :none) + :one"
		free = "(attribute_not_exists(#account) OR #state IN (:queued, :waiting, :failed))"
	)
	if attempt == "" || lease <= 0 {
		return order.Claim{}, wrap(errors.New("a claim needs an attempt id and a lease"), "claim", k)
	}
	values := item{
		":working": text(string(order.Working)),
		":attempt": text(attempt),
		":until":   moment(now.Add(lease)),
		":now":     moment(now),
		":none":    number(0),
		":one":     number(1),
	}
	set, same := stamp(s, values)
	freeValues := maps.Clone(values)
	for _, state := range []order.State{order.Queued, order.Waiting, order.Failed} {
		freeValues[":"+string(state)] = text(string(state))
	}

	now = now.Truncate(time.Millisecond) // as the leases it is compared with
	for range claimRounds {
		r, done, err := l.update(ctx, k, take+set+" REMOVE #reason", free+same, freeValues)
		if err != nil || done || r.Stamp.Conflicts(s) {
			return order.Claim{Record: r, Mine: done}, wrap(err, "claim", k)
		}
		if r.State == order.Working && !r.Lease.After(now) {
			takeover := maps.Clone(values)
			takeover[":old"] = text(r.Attempt)
			takeover[":expired"] = moment(r.Lease)
			takeover[":true"] = &types.AttributeValueMemberBOOL{Value: true}
			r, done, err = l.update(ctx, k, take+set+", #uncertain = :true REMOVE #reason",
				"#state = :working AND #attempt = :old AND #lease = :expired"+same, takeover)
			if err != nil || done {
				return order.Claim{Record: r, Mine: done}, wrap(err, "take over", k)
			}
		}
		switch r.State {
		case order.Sent, order.Skipped:
			if r.Stamp == r.Stamp.With(s) {
				return order.Claim{Record: r}, nil
			}
			// The copy that came first did not say all of it.
			known := item{":final": text(string(r.State))}
			set, same := stamp(s, known)
			r, done, err = l.update(ctx, k, "SET "+strings.TrimPrefix(set, ", "), "#state = :final"+same, known)
			if err != nil || done {
				return order.Claim{Record: r}, wrap(err, "note the stamp of", k)
			}
		case order.Working:
			if r.Lease.After(now) {
				return order.Claim{Record: r, Mine: r.Attempt == attempt}, nil
			}
		}
	}
	return order.Claim{}, wrap(&fault.Error{Kind: fault.Unavailable, Err: errors.New("it kept changing hands")}, "claim", k)
}

// Note records whose entry the attempt is about to write. order.ErrLost if
// the attempt does not hold the order.
func (l *Ledger) Note(ctx context.Context, k order.Key, attempt string, subscriber int64, now time.Time) error {
	_, done, err := l.update(ctx, k,
		"SET #subscriber = :subscriber, #updated = :now",
		"#state = :working AND #attempt = :attempt",
		item{
			":working":    text(string(order.Working)),
			":attempt":    text(attempt),
			":subscriber": number(subscriber),
			":now":        moment(now),
		})
	if err == nil && !done {
		err = order.ErrLost
	}
	return wrap(err, "note subscriber of", k)
}

// Finish ends the attempt and frees the lease. The same Finish again is fine
// until another attempt has claimed the order; from then on it is
// order.ErrLost.
func (l *Ledger) Finish(ctx context.Context, k order.Key, attempt string, s order.State, reason string, uncertain bool, now time.Time) error {
	switch s {
	case order.Waiting, order.Sent, order.Skipped, order.Failed:
	default:
		return wrap(fmt.Errorf("an attempt cannot end as %q", s), "finish", k)
	}
	values := item{
		":working":   text(string(order.Working)),
		":attempt":   text(attempt),
		":to":        text(string(s)),
		":uncertain": &types.AttributeValueMemberBOOL{Value: uncertain},
		":now":       moment(now),
	}
	update := "SET #state = :to, #uncertain = :uncertain, #updated = :now"
	if reason != "" {
		update += ", #reason = :reason REMOVE #lease"
		values[":reason"] = text(reason)
	} else {
		update += " REMOVE #lease, #reason"
	}
	r, done, err := l.update(ctx, k, update, "#state = :working AND #attempt = :attempt", values)
	if err == nil && !done && !(r.Attempt == attempt && r.State == s && r.Reason == reason && r.Uncertain == uncertain) {
		err = order.ErrLost
	}
	return wrap(err, "finish", k)
}

// Reopen makes an order that was Sent, Skipped or Failed before now Queued again;
// it keeps its subscriber and its history, and is Uncertain if written. Any other
// order, and one the ledger does not know, is left as it is.
func (l *Ledger) Reopen(ctx context.Context, k order.Key, now time.Time, written bool) error {
	update := "SET #state = :to, #updated = :now REMOVE #reason"
	values := item{
		":to":      text(string(order.Queued)),
		":sent":    text(string(order.Sent)),
		":skipped": text(string(order.Skipped)),
		":failed":  text(string(order.Failed)),
		":now":     moment(now),
	}
	if written {
		update = "SET #state = :to, #updated = :now, #uncertain = :written REMOVE #reason"
		values[":written"] = &types.AttributeValueMemberBOOL{Value: true}
	}
	_, _, err := l.update(ctx, k, update, "#state IN (:sent, :skipped, :failed) AND #updated < :now", values)
	return wrap(err, "reopen", k)
}

// Get returns the record, ok false if the ledger has none. The read is
// strongly consistent.
func (l *Ledger) Get(ctx context.Context, k order.Key) (r order.Record, ok bool, err error) {
	out, err := l.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      aws.String(l.table),
		Key:            key(k),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return order.Record{}, false, wrap(awsfault.Wrap(err, "get item"), "get", k)
	}
	if len(out.Item) == 0 {
		return order.Record{}, false, nil
	}
	if r, err = record(k, out.Item); err != nil {
		return order.Record{}, false, wrap(err, "get", k)
	}
	return r, true, nil
}

// update changes one item under a condition and returns the record as it is
// afterwards. done false means that the condition did not hold; the record is
// then what was there instead, zero but for its key if there was nothing.
func (l *Ledger) update(ctx context.Context, k order.Key, update, condition string, values item) (r order.Record, done bool, err error) {
	// Every change says when it was made; the line is kept from then on.
	update = strings.Replace(update, "#updated = :now", "#updated = :now, #expires = :expires", 1)
	values = maps.Clone(values)
	if n, ok := values[":now"].(*types.AttributeValueMemberN); ok {
		ms, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return order.Record{Key: k}, false, fault.Wrap(fault.Internal, err, "read the time of a change")
		}
		values[":expires"] = number(l.Retention.Until(time.UnixMilli(ms).UTC()).Unix())
	}
	out, err := l.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                           aws.String(l.table),
		Key:                                 key(k),
		UpdateExpression:                    aws.String(update),
		ConditionExpression:                 aws.String(condition),
		ExpressionAttributeNames:            names(update, condition),
		ExpressionAttributeValues:           values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var now item
	if there, ok := refused(err); ok {
		now = there
	} else if err != nil {
		return order.Record{Key: k}, false, awsfault.Wrap(err, "update item")
	} else {
		now, done = out.Attributes, true
	}
	if len(now) == 0 {
		return order.Record{Key: k}, done, nil
	}
	r, err = record(k, now)
	return r, done && err == nil, err
}

func key(k order.Key) item {
	return item{"account": text(k.Account), "order": number(k.Order)}
}

// record reads an item of the ledger.
func record(k order.Key, i item) (order.Record, error) {
	r := reader{item: i}
	rec := order.Record{
		Key:        k,
		State:      order.State(r.text("state")),
		Subscriber: r.number("subscriber"),
		Attempts:   int(r.number("attempts")),
		Uncertain:  r.flag("uncertain"),
		Reason:     r.text("reason"),
		Queued:     r.moment("queued"),
		Updated:    r.moment("updated"),
		Attempt:    r.text("attempt"),
		Lease:      r.moment("lease"),
		Stamp:      order.Stamp{Date: r.moment("dated"), Receipt: r.text("receipt")},
	}
	switch rec.State {
	case order.Working:
		r.must("attempt")
		r.must("lease")
	case order.Queued, order.Waiting, order.Sent, order.Skipped, order.Failed:
	default:
		r.fail("state", "want a state of package order, got %.40q", string(rec.State))
	}
	if r.err != nil {
		return order.Record{Key: k}, damaged(r.err)
	}
	return rec, nil
}

// wrap says what was attempted with which order.
func wrap(err error, doing string, k order.Key) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s order %d of account %s: %w", doing, k.Order, k.Account, err)
}
