package fakerule

import (
	"log/slog"
	"time"
)

// Defaults of [Options], and limits that do not move.
const (
	// DefaultKey is the API key that is accepted when Options names none.
	DefaultKey = "demo-key"
	// DefaultBudget is Rule's number of requests per Window and account.
	DefaultBudget = 2000
	// DefaultErrorPercent is the share of error answers that Rule accepts.
	DefaultErrorPercent = 49
	// DefaultErrorSample is the number of requests in the window from which on
	// the error share is judged. Rule publishes no such number; judging from
	// the first request would block an account for a single miss.
	DefaultErrorSample = 50
	// Window is the time over which requests and errors are counted.
	Window = 10 * time.Minute
	// Block is how long an account is refused after going over a limit.
	Block = 10 * time.Minute
	// DefaultAsyncAbove is the size of a v2 batch up to which it is applied
	// before it is answered. Rule does not publish its threshold; that it is
	// the one for automations is assumed.
	DefaultAsyncAbove = 19
	// DefaultAsyncDelay is how long asynchronous work waits (assumed).
	DefaultAsyncDelay = time.Second

	maxBody     = 64 << 20 // bytes; Rule's own limit is not published
	maxRequests = 100_000  // kept by Requests, the oldest are dropped
)

// RetryAfterStyle is the form of the Retry-After header on a 429.
type RetryAfterStyle int

const (
	// RetryAfterStockholm is what Rule was seen to send: "2006-01-02 15:04:05",
	// without a zone, in Stockholm time.
	RetryAfterStockholm RetryAfterStyle = iota
	// RetryAfterSeconds is what Rule documents: whole seconds from now.
	RetryAfterSeconds
	// RetryAfterHTTPDate is the other form that HTTP allows.
	RetryAfterHTTPDate
)

// BatchAnswer is what the answer of a v2 batch holds, of those that are applied
// before they are answered. Everything in it is optional in the contract.
type BatchAnswer int

const (
	// BatchInFull has the subscribers and how many were created and updated.
	BatchInFull BatchAnswer = iota
	// BatchCounts has only the numbers.
	BatchCounts
	// BatchSubscribers has only the subscribers, in no order that follows the
	// request's.
	BatchSubscribers
	// BatchBare has neither, as that of a batch that is applied later.
	BatchBare
)

// HistoricalLayout is how GET /v2/subscriber/{x}/fields shows the entries of a
// historical group, which no source says. Where it shows several, the newest is
// the first (assumed).
type HistoricalLayout int

const (
	// HistoricalNewest shows the newest entry alone, as an ordinary group's.
	HistoricalNewest HistoricalLayout = iota
	// HistoricalGroups repeats the group, once for each entry.
	HistoricalGroups
	// HistoricalLists shows the group once, its fields being a list of lists.
	HistoricalLists
	// HistoricalObject shows the group once, its fields being an object with a
	// list for each entry, by the entry's id.
	HistoricalObject
)

// historicalNames are the layouts as the switch calls them.
var historicalNames = []string{"newest", "groups", "lists", "object"}

// Options are the knobs of a Server. The zero value behaves as Rule does.
type Options struct {
	// Keys are the API keys that are accepted, one account each, the first with
	// the id DefaultAccount. Empty means DefaultKey alone. AddAccount makes
	// others, AddKeyTo and NewKey give an account more than one key.
	Keys []string
	// Now is the clock, time.Now if nil. It also makes the Date header.
	Now func() time.Time
	// RetryAfter is the form of Retry-After on a 429.
	RetryAfter RetryAfterStyle
	// Budget is the number of requests per Window and account, ErrorPercent
	// the share of errors in them that is accepted, ErrorSample the number of
	// requests from which on that share is judged. Zero means the default.
	Budget, ErrorPercent, ErrorSample int
	// AsyncAbove is the number of subscribers above which a v2 batch is only
	// acknowledged and applied later. Zero means DefaultAsyncAbove.
	AsyncAbove int
	// AsyncDelay is how long such a batch, and every v3 bulk call, waits.
	// Zero means DefaultAsyncDelay; a negative value applies it at once.
	AsyncDelay time.Duration
	// BatchAnswer is what the answer of a v2 batch holds.
	BatchAnswer BatchAnswer
	// Historical is how v2 shows the entries of historical groups.
	Historical HistoricalLayout
	// Log gets one line per request: method, route, status, account. Never a
	// key, and never a path, which may hold an email address. Nil is silent.
	Log *slog.Logger
}
