// Package fakerule stands in for Rule's HTTP API, v2 and v3, on one machine. It
// follows the project's contract with Rule, quirks and limits included: the
// request and error budgets with their ten-minute blocks, both versions' error
// bodies, phones read as Swedish, historical groups, the 65,000 character
// limit, automations fired by tags, and batches that are applied later.
//
// Where the contract is silent the stand-in takes the reading that is hardest
// on its caller, and the comment at that place says "assumed".
//
// Nothing runs in the background: work that Rule does asynchronously waits
// until the clock given in [Options] has passed its delay, and is then done by
// whoever looks next, or at once by [Server.Settle]. A Server is safe for
// concurrent use; every request is one atomic change of one account.
package fakerule

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Server is the stand-in; it is an http.Handler that serves /v2/... and
// /v3/..., the same below /api, and for people GET / (a page), GET /_state
// (JSON) and POST /_reset. The switches take JSON:
//
//	GET  /_accounts     [{account_id, name, company, ..., details, keys: [{id, name, key (masked), revoked}]}]
//	POST /_accounts     {"account_id": 43, "name": "...", "key": "..."} -> {"account_id": 43, "key": "..."}
//	POST /_keys         {"account_id": 42, "name": "...", "key": "..."} -> {"account_id": 42, "key": "..."}
//	POST /_keys/revoke  {"key": "..."} or {"id": 7}; POST /_keys/accept takes it back
//	POST /_details      {"account_id": 42, "details": {"status": 403}}
//	POST /_historical   {"layout": "newest"}, or "groups", "lists", "object"
//
// Left out, an account_id is a new one, the first or (details) all accounts,
// and a key is made up. Details are the members of [Details]; none is as Rule
// answers.
type Server struct {
	opt     Options
	routes  []route
	control http.Handler

	mu       sync.RWMutex
	accounts []*account // oldest first
	keys     map[string]*apiKey
	lastKey  int
	loads    [][]byte // replayed by Reset
	fault    func(*http.Request, []byte) *Fault
	requests []*Request
	layout   HistoricalLayout
}

// New returns a Server with one empty account per key.
func New(o Options) *Server {
	o.Keys = slices.DeleteFunc(slices.Clone(o.Keys), func(k string) bool { return k == "" })
	if len(o.Keys) == 0 {
		o.Keys = []string{DefaultKey}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		n   *int
		def int
	}{
		{&o.Budget, DefaultBudget},
		{&o.ErrorPercent, DefaultErrorPercent},
		{&o.ErrorSample, DefaultErrorSample},
		{&o.AsyncAbove, DefaultAsyncAbove},
	} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	if o.AsyncDelay == 0 {
		o.AsyncDelay = DefaultAsyncDelay
	}
	s := &Server{
		opt:    o,
		keys:   map[string]*apiKey{},
		layout: o.Historical,
	}
	s.routes = slices.Concat(routesV2(), routesV3())
	s.control = s.controlHandler()
	for _, k := range o.Keys {
		s.AddKey(k)
	}
	return s
}

// Request is one API call that reached the Server. It holds no key, but its
// path holds whatever identifies the subscriber.
type Request struct {
	Method  string    `json:"method"`
	Path    string    `json:"path"`    // unescaped, without the query
	Route   string    `json:"route"`   // such as "GET /v2/subscribers/*", "" if there is none
	Status  int       `json:"status"`  // 0 while unanswered, and for good if the answer was lost
	Account string    `json:"account"` // as AccountID says, "" when the key was refused
	At      time.Time `json:"at"`
}

// FaultKind is what a Fault does to a request.
type FaultKind int

const (
	// FaultAnswer answers with the fault's Status, Header and Body, whatever
	// they are. A Content-Length longer than Body cuts the answer short.
	FaultAnswer FaultKind = iota
	// FaultReset resets the connection without an answer. Go's own client
	// sends a GET again by itself when that happens on a reused connection.
	FaultReset
	// FaultHang answers nothing until the client goes away.
	FaultHang
)

// Fault is a failure to play for one request.
type Fault struct {
	Kind FaultKind
	// After lets the request have its whole effect first, so that only its
	// answer is replaced or lost.
	After bool
	// Status, Header and Body are the answer of a FaultAnswer. Status 0 is 200.
	Status int
	Header http.Header
	Body   string
}

// SetFault installs f, which is asked about every API request that a block does
// not turn away, unauthorised ones included, and gets the request and its whole
// body; nil means that nothing goes wrong. f runs outside every lock, at the
// same time for simultaneous requests, and may wait: a test can hold a request
// with it, or record bodies. SetFault(nil) ends the faults.
func (s *Server) SetFault(f func(r *http.Request, body []byte) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segments, ok := split(r.URL.EscapedPath())
	if ok && len(segments) > 0 && segments[0] == "api" {
		segments = segments[1:]
	}
	if !ok || len(segments) == 0 || (segments[0] != "v2" && segments[0] != "v3") {
		s.control.ServeHTTP(w, r)
		return
	}
	s.serveAPI(w, r, segments)
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, segments []string) {
	v3 := segments[0] == "v3"
	now := s.opt.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	tooLarge := false
	if err != nil {
		if _, tooLarge = errors.AsType[*http.MaxBytesError](err); !tooLarge {
			return // the client went away in the middle of its own request
		}
	}

	rt, args, known := s.match(r.Method, segments)
	c := &call{srv: s, r: r, v3: v3, body: body, args: args, query: r.URL.Query(), now: now}
	c.acc = s.authenticate(c)
	logged := s.note(Request{Method: r.Method, Path: r.URL.Path, Route: rt.name, At: now}, c.acc)

	var entry *hit
	if c.acc != nil {
		c.acc.mu.Lock()
		c.acc.settle(now)
		var blocked bool
		entry, blocked = c.acc.budget.admit(now)
		c.acc.mu.Unlock()
		if blocked {
			s.finish(w, c, logged, entry, s.tooMany(c))
			return
		}
	}

	s.mu.RLock()
	ask := s.fault
	s.mu.RUnlock()
	var f *Fault
	if ask != nil {
		f = ask(r, body)
	}

	var rep reply
	if f == nil || f.After {
		switch {
		case c.acc == nil:
			rep = jsonReply(http.StatusUnauthorized, map[string]string{"error": "NotAuthorized"})
		case tooLarge:
			rep = c.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The body is too large.")
		case rt.handle == nil && known:
			rep = c.fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed here.")
		case rt.handle == nil:
			rep = c.fail(http.StatusNotFound, "NotFound", "There is no such resource.")
		default:
			rep = c.run(rt.handle)
		}
	}
	if f != nil {
		switch f.Kind {
		case FaultReset:
			s.lose(c, logged)
			reset(w)
			return
		case FaultHang:
			s.lose(c, logged)
			<-r.Context().Done()
			return
		default:
			rep = reply{status: f.Status, header: f.Header.Clone(), body: []byte(f.Body)}
			if rep.status == 0 {
				rep.status = http.StatusOK
			}
		}
	}
	s.finish(w, c, logged, entry, rep)
}

// run calls a handler with the account locked, so that a request is one change.
func (c *call) run(h func(*call) reply) reply {
	c.acc.mu.Lock()
	defer c.acc.mu.Unlock()
	return h(c)
}

// finish counts the answer, adds the headers that every answer has, and sends it.
func (s *Server) finish(w http.ResponseWriter, c *call, logged *Request, entry *hit, rep reply) {
	h := w.Header()
	h.Set("Date", c.now.UTC().Format(http.TimeFormat))
	if c.acc != nil {
		c.acc.mu.Lock()
		b := &c.acc.budget
		b.answered(entry, rep.status >= 400)
		used, percent := b.usage(c.now)
		c.acc.mu.Unlock()
		h.Set("X-ErrorPercent-Limit", strconv.Itoa(s.opt.ErrorPercent))
		h.Set("X-ErrorPercent-Current", strconv.Itoa(percent))
		if rep.status != http.StatusTooManyRequests {
			h.Set("RequestsCount-Allowed", strconv.Itoa(s.opt.Budget))
			h.Set("RequestsCount-Current", strconv.Itoa(used))
		}
	}
	maps.Copy(h, rep.header)
	s.mu.Lock()
	logged.Status = rep.status
	s.mu.Unlock()
	s.opt.Log.Info("rule stand-in", "method", logged.Method, "route", logged.Route, "status", rep.status, "account", logged.Account)
	w.WriteHeader(rep.status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(rep.body)
}

// lose logs a request that gets no answer.
func (s *Server) lose(c *call, logged *Request) {
	s.opt.Log.Info("rule stand-in", "method", c.r.Method, "route", logged.Route, "status", 0, "account", logged.Account)
}

// reset ends the connection the hard way, so that the client reads a reset and
// not an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// HTTP/2 or a recorder: the nearest thing that net/http offers.
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close below is merely orderly
	}
	_ = conn.Close()
}

// authenticate returns the account of the request's key, nil if there is none.
// v2 takes the key as a bearer token, as ?apikey= and as a member of the body;
// v3 as a bearer token only.
func (s *Server) authenticate(c *call) *account {
	key := ""
	if scheme, token, ok := strings.Cut(c.r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		key = strings.TrimSpace(token)
	}
	if key == "" && !c.v3 {
		key = c.query.Get("apikey")
	}
	if key == "" && !c.v3 {
		var in struct {
			APIKey json.RawMessage `json:"apikey"`
		}
		// A body that is not an object is somebody else's complaint.
		_ = json.Unmarshal(c.body, &in)
		_ = json.Unmarshal(in.APIKey, &key)
	}
	return s.account(key)
}

// account returns the account of a key that is accepted now, nil if it is not.
func (s *Server) account(key string) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k := s.keys[key]; k != nil && !k.revoked {
		return k.acc
	}
	return nil
}

func (s *Server) note(r Request, a *account) *Request {
	if a != nil {
		r.Account = a.name()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= maxRequests {
		s.requests = slices.Delete(s.requests, 0, maxRequests/10)
	}
	s.requests = append(s.requests, &r)
	return &r
}

// tooMany is the 429 of a blocked account; v2 and v3 differ in the body.
func (s *Server) tooMany(c *call) reply {
	c.acc.mu.Lock()
	until := c.acc.budget.until
	c.acc.mu.Unlock()
	local := until.In(stockholm).Format(time.DateTime)
	rep := reply{status: http.StatusTooManyRequests, header: http.Header{}}
	switch s.opt.RetryAfter {
	case RetryAfterSeconds:
		// Counted from the whole second that Date shows.
		rep.header.Set("Retry-After", strconv.Itoa(int(until.Sub(c.now.Truncate(time.Second))/time.Second)))
	case RetryAfterHTTPDate:
		rep.header.Set("Retry-After", until.UTC().Format(http.TimeFormat))
	default:
		rep.header.Set("Retry-After", local)
	}
	if c.v3 {
		rep.header.Set("Content-Type", "text/plain; charset=utf-8")
		rep.body = []byte("Too Many Requests. You can continue at " + local + ".")
		return rep
	}
	rep.header.Set("Content-Type", "application/json")
	rep.body = []byte(`"Too Many Attempts."`)
	return rep
}
