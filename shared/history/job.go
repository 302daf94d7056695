// Package history brings a shop's old orders from Sitoo into Rule: each once,
// as a historical entry, without a single message to a customer. A job reads
// Sitoo page by page and queues what it finds; nothing is lost or doubled
// wherever it is killed.
package history

import (
	"context"
	"errors"
	"time"
)

// State is what a job is doing.
type State string

// The states of a job. Done, Failed and Cancelled are final.
const (
	Waiting   State = "waiting" // no worker has taken it up yet
	Running   State = "running"
	Paused    State = "paused" // by somebody; goes on when resumed
	Done      State = "done"   // everything is read and written, and the report stands
	Failed    State = "failed" // given up; Reason says why
	Cancelled State = "cancelled"
)

// Final reports whether nothing more happens in a state.
func (s State) Final() bool { return s == Done || s == Failed || s == Cancelled }

// Phase is what a running job is at.
type Phase string

// The phases of a job, in their order.
const (
	Customers Phase = "customers" // lists who is in Rule
	Reading   Phase = "reading"   // reads orders from Sitoo, by ascending order id
	Reopening Phase = "reopening" // looks again at the orders that were open
	Writing   Phase = "writing"   // everything is queued; waits for the last to be written
)

// Spec is what a job is asked to do.
type Spec struct {
	From   time.Time `json:"from"` // order dates from here
	To     time.Time `json:"to"`   // and before here
	DryRun bool      `json:"dryrun,omitempty"`
	// Orders, if any, are the only orders to bring over, written again if Rule
	// does not have them; From and To are not looked at.
	Orders []int64 `json:"orders,omitempty"`
	// Create makes a subscriber of a customer whom Rule does not know; otherwise
	// that customer's orders are skipped.
	Create bool `json:"create,omitempty"`
}

// Job is one backfill. It is kept as one item, which is written under the
// condition that nobody has written it since it was read.
type Job struct {
	// Account is the account, and the label if there is one: see account.Scope.
	Account string `json:"account"`
	// ID tells an account's jobs apart; a job that was asked for with the same
	// Spec again has the same one.
	ID  string `json:"id"`
	Rev int64  `json:"-"` // of the stored job, 0 for none
	// Run counts how often the same job was started, from 1. What is left over
	// of an earlier run on the queues is of no account.
	Run int `json:"run"`
	Spec
	State   State     `json:"state"`
	Phase   Phase     `json:"phase"`
	Reason  string    `json:"reason,omitempty"` // why it waits or failed
	Until   time.Time `json:"until,omitzero"`   // until when it waits, zero if unknown
	Created time.Time `json:"created"`          // of this run
	Updated time.Time `json:"updated"`
	Ended   time.Time `json:"ended,omitzero"`

	// Since is from when on it has failed, try after try, zero if it has not.
	Since time.Time `json:"since,omitzero"`
	// Began is when it began to read orders, later by as long as it was paused
	// since; zero before that.
	Began time.Time `json:"began,omitzero"`

	// Listed is where the listing of Rule's subscribers goes on, "" at its start.
	Listed string `json:"listed,omitempty"`
	// Listing is the number of the list that is being made, and ListBegan and
	// ListName when and with what seals it was begun.
	Listing   int       `json:"listing,omitempty"`
	ListBegan time.Time `json:"list_began,omitzero"`
	ListName  string    `json:"list_name,omitempty"`
	// Lists is the number of the last list that is complete, who is in Rule, and
	// ListedAt and ListedBy when and with what seals it was completed.
	Lists    int       `json:"lists,omitempty"`
	ListedAt time.Time `json:"listed_at,omitzero"`
	ListedBy string    `json:"listed_by,omitempty"`
	// People is how many subscribers have been listed.
	People int `json:"people,omitempty"`
	// First is the first order id that it met, and Last the highest one when the
	// job began: it reads no further.
	First int64 `json:"first,omitempty"`
	Last  int64 `json:"last,omitempty"`
	// Counted is how many orders Sitoo counted for the job's query when reading
	// began: those up to Last, of the period and a day more on both sides. 0 if it
	// did not say.
	Counted int `json:"counted,omitempty"`
	// Page is how many orders it asks Sitoo for at a time, 0 for sitoo.MaxPage;
	// it is less once a page was too large, or took too long, and more again after
	// Good pages that came.
	Page int `json:"page,omitempty"`
	Good int `json:"good,omitempty"`
	// Cursor is the order id up to which every order is safely queued.
	Cursor int64 `json:"cursor,omitempty"`
	// Step counts what the worker has committed: it makes the next message.
	Step int `json:"step"`
	// Open are orders that were open when they were read.
	Open []int64 `json:"open,omitempty"`
	// Parts are the ids of the parts that are committed, in their order.
	Parts []string `json:"parts,omitempty"`
	// Read counts orders read from Sitoo, Skipped those that are not queued, by
	// reason, and Months all of them by month of their order date.
	Read    int `json:"read"`
	Matched int `json:"matched"` // queued to be written, or in a dry run to be
	// Already counts those that the ledger has as sent, in a dry run: else the parts
	// do.
	Already int              `json:"already,omitempty"`
	Skipped map[string]int   `json:"skipped,omitempty"`
	Months  map[string]Month `json:"months,omitempty"`
	// Lost are the ids of orders that were to be brought over and cannot be, by
	// the reason why they are skipped: the first MaxLost of each.
	Lost map[string][]int64 `json:"lost,omitempty"`
}

// MaxLost is how many ids of lost orders a job remembers for each reason.
const MaxLost = 100

// Month is what a report says of one month, such as 2026-03, of order dates in
// Swedish time.
type Month struct {
	Sitoo   int `json:"sitoo"`   // orders in Sitoo
	Written int `json:"written"` // entries in Rule, by this job or before it
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

// Part is the result of one message of a job, so far: the history worker saves
// it once every order of it is settled, and whenever it has to wait. Written,
// Already, Skipped and Failures always sum up to Done.
type Part struct {
	ID   string `json:"id"`
	Done int    `json:"done"` // orders settled
	// Doubts counts calls to Rule, one after the other, that ended without an
	// answer. From the second on Most is how many orders go in one call, half of
	// what the last one had: 0 is as many as can be, -1 each by itself.
	Doubts int `json:"doubts,omitempty"`
	Most   int `json:"most,omitempty"`
	// Meeting says that customers may have been made whom Rule was not told yet to
	// send no campaigns.
	Meeting  bool               `json:"meeting,omitempty"`
	Written  int                `json:"written"`
	Already  int                `json:"already"` // were in Rule before
	Skipped  map[string]int     `json:"skipped,omitempty"`
	Failed   map[string][]int64 `json:"failed,omitempty"` // order ids by reason, the first MaxFailed
	Failures int                `json:"failures"`
	Months   map[string]Month   `json:"months,omitempty"`
	Finished bool               `json:"finished"`
	Began    time.Time          `json:"began,omitzero"`   // when it was first in hand, zero for one that was put aside
	Reason   string             `json:"reason,omitempty"` // why it waits
	Until    time.Time          `json:"until,omitzero"`
	Since    time.Time          `json:"since,omitzero"` // from when on it has failed, try after try
	Updated  time.Time          `json:"updated"`
}

// MaxFailed is how many order ids a part remembers for each reason: as many as
// it has orders, so that a report lists each.
const MaxFailed = maxPart

// nobody is why an order is left out whose customer Rule does not know; named says
// that somebody could be made of it.
func (j Job) nobody(named bool) string {
	switch {
	case !j.Create:
		return NotInRule
	case named:
		return Gone
	}
	return Nameless
}

// listed reports whether the job knows who is in Rule: not for too long, and not
// by an API key that the shop has renewed since.
func (j Job) listed(s *Seals, now time.Time) bool {
	return j.Lists > 0 && j.ListedBy == s.Name() && now.Sub(j.ListedAt) <= listLasts
}

// Errors of stores.
var (
	// ErrChanged is returned by Jobs.Put for a job that somebody else has
	// written since it was read. Nothing was stored.
	ErrChanged = errors.New("history: the job has changed since it was read")
	// ErrNoJob is returned for a job that a store does not hold.
	ErrNoJob = errors.New("history: no such job")
)

// Jobs keeps jobs and their parts. Implementations are safe for concurrent use
// and read their own writes.
type Jobs interface {
	// Get returns a job, ErrNoJob if there is none.
	Get(ctx context.Context, account, id string) (Job, error)
	// List returns the account's jobs, those created last first, at most 50.
	List(ctx context.Context, account string) ([]Job, error)
	// Put stores j as revision j.Rev+1, provided that the stored job is at j.Rev
	// (0: that there is none); otherwise it is ErrChanged. A repetition below
	// this interface, by a transport whose answer was lost, is recognised.
	Put(ctx context.Context, j Job) error
	// Part returns the result of a part of a job's run, a Part with nothing but
	// its id if there is none.
	Part(ctx context.Context, account, job string, run int, id string) (Part, error)
	// Parts returns all results of a job's run, committed or not.
	Parts(ctx context.Context, account, job string, run int) ([]Part, error)
	// SavePart notes a part's result. It only moves forward: one that is
	// finished, or whose stored Done is higher, is left as it is, which is not
	// an error.
	SavePart(ctx context.Context, account, job string, run int, p Part) error
}

// People knows which email addresses and phone numbers are in Rule, whose they
// are, and by which of them Rule knows a subscriber, without telling either:
// identifiers are digests, see Digest, and what has to be read again is sealed,
// see Seals. Implementations are safe for concurrent use.
type People interface {
	// Add notes subscribers by digest. It may be repeated; the last word holds.
	Add(ctx context.Context, account, list string, people map[Digest]int64) error
	// Find returns those of the digests that are known.
	Find(ctx context.Context, account, list string, of []Digest) (map[Digest]int64, error)
	// AddContacts notes subscribers by Rule's id, each with at most 255 bytes. It
	// may be repeated; the last word holds.
	AddContacts(ctx context.Context, account, list string, sealed map[int64][]byte) error
	// FindContacts returns those of the ids that are known.
	FindContacts(ctx context.Context, account, list string, ids []int64) (map[int64][]byte, error)
	// Forget deletes all lists of a job's run, those that ListsOf names. It may be
	// repeated.
	Forget(ctx context.Context, account, job string, run int) error
}
