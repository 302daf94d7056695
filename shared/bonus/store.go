package bonus

import (
	"context"
	"errors"
	"time"
)

// ErrChanged is returned by Store.Put for a book that somebody else has written
// since it was read. Nothing was stored.
var ErrChanged = errors.New("bonus: the book has changed since it was read")

// Key names a customer of an account: Subscriber is Rule's numeric id.
type Key struct {
	Account    string
	Subscriber int64
}

// Store keeps one Book per customer. It is what decides between two tills.
// Implementations are safe for concurrent use.
type Store interface {
	// Get returns the customer's book, the zero Book if there is none. The read
	// is strongly consistent.
	Get(ctx context.Context, k Key) (Book, error)
	// Put stores b as revision b.Rev+1, provided that the stored book is at
	// b.Rev (0: that there is none); otherwise it is ErrChanged. A repetition
	// below this interface, by a transport whose answer was lost, is recognised
	// and is not ErrChanged. Any other error leaves open whether b was stored.
	Put(ctx context.Context, k Key, b Book) error
	// Latest notes the day of an order of the customer's, such as 2026-03-02, and
	// returns the latest that was noted; "" notes nothing. Unless it is zero,
	// unsettled is noted as well, in the same write: see Latest. It may be repeated,
	// and does not touch the book.
	Latest(ctx context.Context, k Key, day string, unsettled time.Time) (Latest, error)
}

// Latest is what is noted of the day of a customer's latest order.
type Latest struct {
	Day string // such as 2026-03-02, "" if there is none
	// Unsettled is until when a call that Rule works later may still write an older
	// day, to the millisecond; zero if there was none. A Latest that noted a day
	// alone may leave it out.
	Unsettled time.Time
}

// Import is one file of bonus checks on its way to Rule.
type Import struct {
	Account, ID string
	File        string // the file's name, "" if it has none
	Rows        int    // rows of the file, headings and empty ones not counted
	Customers   int
	Parts       int
	Created     time.Time
	// Queued says that every part is on the queue. An import that is not queued
	// minutes after its creation never will be: the file must be sent again.
	Queued bool
}

// Part is the progress of one message of an import. Counts are of rows of the
// file. Each row is counted once, in one of Written, Unchanged and Failed.
type Part struct {
	Number  int // from 1
	Rows    int // how many rows of the file the part holds
	Done    int // customers done, from the first on
	Written int
	// Unchanged rows said what Rule had already, or were about a check that has
	// been used, which an import never changes.
	Unchanged int
	Failed    int
	Failures  []Failure // the first MaxFailures
	Finished  bool
	Reason    string    // why it waits, "" if it does not
	Until     time.Time // until when it waits, zero if unknown
	Updated   time.Time
}

// MaxFailures is how many failed rows a part remembers with their reason, and
// an import shows.
const MaxFailures = 100

// MaxLatest is how many of an account's latest imports are listed.
const MaxLatest = 10

// Failure says why a row could not be imported. It holds no personal data.
type Failure struct {
	Row    int    `json:"row"` // as a spreadsheet counts: 1 is the first line
	Column string `json:"column,omitempty"`
	// Code says why in a word that stays the same, "" in imports from before it
	// was there; Args is what is particular to this row.
	Code    string `json:"code,omitempty"`
	Args    Args   `json:"args,omitzero"`
	Reason  string `json:"reason"` // in English
	Swedish string `json:"reason_sv,omitempty"`
}

// Imports keeps the progress of imports for 90 days. Implementations are safe
// for concurrent use, read their own writes, and every method may be repeated.
type Imports interface {
	// Create notes an import. One of that id that exists is left as it is.
	Create(ctx context.Context, i Import) error
	// Queue notes that every part is on the queue. ErrNoImport if there is none.
	Queue(ctx context.Context, account, id string) error
	// Get returns an import and the parts that have begun, by number;
	// ErrNoImport if there is none.
	Get(ctx context.Context, account, id string) (Import, []Part, error)
	// Latest returns the ids of the account's latest imports, newest first, at
	// most MaxLatest.
	Latest(ctx context.Context, account string) ([]string, error)
	// Part returns the progress of a part, a Part with nothing but its number
	// if it has not begun.
	Part(ctx context.Context, account, id string, number int) (Part, error)
	// SavePart notes a part's progress. It only moves forward: a part that is
	// finished, or whose stored Done is higher, is left as it is, which is not
	// an error.
	SavePart(ctx context.Context, account, id string, p Part) error
}

// ErrNoImport is returned by Imports for an import it does not hold.
var ErrNoImport = errors.New("bonus: no such import")
