// Package fakesitoo stands in for Sitoo's REST API on a developer's machine
// and in tests: a made-up shop with its orders, behind the URLs, errors and
// limits of the real one as far as they are known (the contract notes on the
// REST API; what they leave open is said where it is decided).
//
// For people there is a page at / with the newest orders, a till at /till, and
// POST /_sell, which sells something and sends the copy of the order to the
// connector the way a till does.
package fakesitoo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What Options default to: the credentials that `make run` prints.
const (
	DefaultAccountID int64 = 90001
	DefaultAPIID           = "90001-1"
	DefaultPassword        = "demo-password"
)

const (
	defaultNum    = 10
	defaultMaxNum = 1000
)

// Options say what the stand-in serves. The zero value is an empty shop with
// the default credentials.
type Options struct {
	AccountID int64  // in the URL, default DefaultAccountID
	APIID     string // Basic user name, default DefaultAPIID
	Password  string // Basic password, default DefaultPassword

	Seed      uint64     // of the made-up orders
	Orders    int        // how many there are
	Customers []Customer // who buys, default DefaultCustomers; not empty

	// Grow is how many made-up orders come in after each page of orders that is
	// served, as tills go on selling.
	Grow int
	// Latency, if set, is how long an answer with so many objects takes. The
	// request is under way meanwhile.
	Latency func(objects int) time.Duration

	MaxNum         int    // cap of num, default 1000
	RetryAfter     string // Retry-After of a 429, not sent if ""
	RateLimitReset string // X-Rate-Limit-Reset of a 429, not sent if ""

	// Connector is the API URL that POST /_sell sends orders to, Token the API
	// token it sends; both as a shop would enter them in Sitoo. Without a
	// Connector the order is only made.
	Connector string
	Token     string
	// SPI is which of Sitoo's interfaces the till speaks: 1, the default, is
	// Custom CRM v1, which posts a copy of each order; 2 is CRM SPI v2, where an
	// event tells of it below Connector/v2 and rows and orders name checks and
	// customers by v2's keys. Events go out by SendEvents or RunEvents.
	SPI int
	// EventDelay is how long an event waits before it is first sent,
	// EventRepeats how often more a batch is sent that was taken already,
	// EventPause the wait between tries in place of Sitoo's own.
	EventDelay   time.Duration
	EventRepeats int
	EventPause   time.Duration
	Client       *http.Client     // for the connector, default one with the till's 10 s
	Now          func() time.Time // date of sold orders, default time.Now

	// Observe, if set, is told of every request to the API before the end of
	// its answer goes out. Calls may come at the same time; they may change the
	// shop.
	Observe func(Request)
}

// Request is one request to the API.
type Request struct {
	Method string
	Path   string
	Query  string
	Status int // 0 if a fault ended the connection without an answer
}

// Server is the stand-in: an http.Handler, safe for concurrent use. It starts
// no goroutines and needs no closing.
type Server struct {
	o      Options
	people http.Handler // the pages and what they call
	sells  sync.Mutex   // one sale at a time, so that ids are in the order of the tills

	events outbox

	books sync.RWMutex // guards book
	book  *book

	mu          sync.Mutex // guards the rest
	faults      []*Fault
	ask         func(*http.Request) *Fault
	inFlight    int
	maxInFlight int
}

// New returns a shop with its made-up orders.
func New(o Options) *Server {
	if o.AccountID == 0 {
		o.AccountID = DefaultAccountID
	}
	if o.APIID == "" {
		o.APIID = DefaultAPIID
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	if len(o.Customers) == 0 {
		o.Customers = DefaultCustomers()
	}
	if o.MaxNum <= 0 {
		o.MaxNum = defaultMaxNum
	}
	if o.Client == nil {
		o.Client = &http.Client{
			Timeout:       10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, book: newBook(newGenerator(o.Seed, max(o.Orders, 0), o.Customers))}
	s.people = s.pages()
	s.events.more = make(chan struct{}, 1)
	return s
}

// Add puts an order in the shop, replacing one with the same orderid. It is
// served as it is given; an error means that it is no JSON object or that a
// member the filters need has the wrong type or, orderid, is missing.
func (s *Server) Add(o json.RawMessage) error {
	parsed, err := parseObject(o)
	if err != nil {
		return fmt.Errorf("fakesitoo: add an order: %w", err)
	}
	e, err := entryOf(parsed)
	if err != nil {
		return fmt.Errorf("fakesitoo: add an order: %w", err)
	}
	e.added = parsed
	s.books.Lock()
	defer s.books.Unlock()
	s.book.add(e)
	return nil
}

// Grow lets n more made-up orders come in and returns their ids, which are
// ascending and higher than any before. They are those that a shop made with so
// many orders more would have, but for an exchange that was cut in two, and for
// the ids if orders were sold or added.
func (s *Server) Grow(n int) []int64 {
	s.books.Lock()
	defer s.books.Unlock()
	return s.book.grow(max(n, 0))
}

// Open returns the ids of the open sales, ascending. Bookings and parked orders
// are none.
func (s *Server) Open() []int64 {
	s.books.RLock()
	defer s.books.RUnlock()
	var ids []int64
	for i := range s.book.entries {
		if e := &s.book.entries[i]; e.open() {
			ids = append(ids, e.id)
		}
	}
	return ids
}

// Close finishes open sales, which are then closed and paid. The error names the
// first one that is none; those before it are closed.
func (s *Server) Close(ids ...int64) error { return s.end(ids, stateClosed, paymentSuccessful) }

// Cancel is Close for sales that come to nothing.
func (s *Server) Cancel(ids ...int64) error { return s.end(ids, stateCancelled, paymentCancelled) }

func (s *Server) end(ids []int64, state, payment int64) error {
	s.books.Lock()
	defer s.books.Unlock()
	for _, id := range ids {
		if err := s.book.end(id, state, payment); err != nil {
			return err
		}
	}
	return nil
}

// MaxInFlight returns the most API requests that were ever under way at the
// same time, refused ones included: 1 for a client that keeps to the limit.
func (s *Server) MaxInFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxInFlight
}

// ServeHTTP serves the API below /v2/accounts/ and the pages for people.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		s.serveAPI(w, r)
		return
	}
	s.people.ServeHTTP(w, r)
}
