package order

import (
	"context"
	"errors"
	"time"
)

// State is where an order is on its way to Rule.
type State string

// The states of an order. Sent and Skipped are final unless somebody reopens the
// order; Failed is final for the message that carried the order, but the same
// order sent again is tried again.
const (
	Queued  State = "queued"  // accepted from Sitoo, waiting
	Working State = "working" // an attempt holds the lease
	Waiting State = "waiting" // the last attempt failed; the queue brings it back
	Sent    State = "sent"    // the entry is in Rule
	Skipped State = "skipped" // nothing to do in Rule; Reason says why
	Failed  State = "failed"  // given up and put aside; Reason says why
)

// ErrLost is returned when an attempt writes to an order whose lease has
// passed to another attempt.
var ErrLost = errors.New("order: lease lost to another attempt")

// Key names one order of one account and label: each label counts for itself.
type Key struct {
	Account string // see account.Scope
	Order   int64
}

// Record is the ledger's line about an order: what support reads. It holds no
// personal data; Subscriber is Rule's numeric id.
type Record struct {
	Key
	State      State
	Subscriber int64     // who the entry belongs to, 0 while unknown
	Attempts   int       // how many times a worker has claimed it
	Uncertain  bool      // an earlier attempt may have written the entry
	Reason     string    // why it waits, was skipped or failed
	Queued     time.Time // when it was accepted (or first seen)
	Updated    time.Time
	Attempt    string    // id of the attempt that holds or last held the lease
	Lease      time.Time // until when that attempt owns the order
	Stamp      Stamp     // tells it from another order of the same number
}

// Claim is the answer to an attempt that asks for an order.
type Claim struct {
	Record
	// Mine is true when the attempt now owns the order until Record.Lease.
	// When false, the state says why: Sent or Skipped means there is nothing
	// left to do, Working means another attempt owns it until Record.Lease. Where
	// the record's stamp conflicts with the attempt's, it is another order's.
	Mine bool
}

// Ledger remembers what happened to every order, so that its effect in Rule
// happens once however often it is delivered. Implementations are safe for
// concurrent use, and every method may be repeated with the same arguments: an
// implementation recognises its own earlier write.
type Ledger interface {
	// Queue notes an order accepted at now. An order the ledger knows is left
	// as it is, except that one which failed before now becomes Queued again,
	// unless its stamp conflicts.
	Queue(ctx context.Context, k Key, s Stamp, now time.Time) error
	// Claim gives the order to an attempt until now+lease, unless it is final
	// (Sent, Skipped) or another attempt's lease is still running. An order
	// the ledger does not know is created. Taking over an expired lease sets
	// Uncertain: nobody knows how far the earlier attempt came. An order whose
	// stamp conflicts is left as it is, and is not given; what the ledger's stamp
	// lacks is taken from s, of a final order as well.
	Claim(ctx context.Context, k Key, s Stamp, attempt string, now time.Time, lease time.Duration) (Claim, error)
	// Note records, under the attempt's lease, whose entry is about to be
	// written. ErrLost if the lease is another's.
	Note(ctx context.Context, k Key, attempt string, subscriber int64, now time.Time) error
	// Finish ends the attempt with a state other than Queued or Working and
	// frees the lease. uncertain says that the entry may have been written all
	// the same. ErrLost if the lease is another's.
	Finish(ctx context.Context, k Key, attempt string, s State, reason string, uncertain bool, now time.Time) error
	// Reopen makes an order that was Sent, Skipped or Failed before now Queued
	// again: for one whose entry turns out not to be in Rule, or with written for
	// one whose entry is there and something else is to be done, so that the next
	// attempt asks Rule for it. It keeps its subscriber and its history; any other
	// order, and one the ledger does not know, is left as it is, which is not an
	// error.
	Reopen(ctx context.Context, k Key, now time.Time, written bool) error
	// Get returns the record, ok false if the ledger has none.
	Get(ctx context.Context, k Key) (r Record, ok bool, err error)
}
