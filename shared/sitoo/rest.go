package sitoo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sitoo-rule/shared/fault"
)

const (
	defaultRESTPause    = time.Second
	defaultRESTPatience = 30 * time.Second
	// minRESTRetry is the least time left for which a second try makes sense.
	minRESTRetry = 2 * time.Second
	// maxRESTAnswer bounds an answer: 500 orders of ten times the usual size.
	maxRESTAnswer = 32 << 20
	// maxRESTRefusal is more than an error takes.
	maxRESTRefusal = 4 << 10
)

// RESTConfig is what a REST client needs. Its zero value is usable.
type RESTConfig struct {
	HTTP *http.Client // NewRESTHTTPClient() if nil; redirects are never followed
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Pause is the longest wait before a second try (the wait is random below
	// it), 1 s if zero, none if negative.
	Pause time.Duration
	// Patience bounds one try, 30 s if zero: Sitoo computes some of an order's
	// members while it lists.
	Patience time.Duration
	// Jitter returns a number from 0 up to 1 that spreads back-off and pauses,
	// math/rand's if nil. It may be called at the same time.
	Jitter func() float64
	// AllowAnyHost lets base URLs outside Sitoo's hosts through, plain http
	// ones too. For local use: with it, whoever enters credentials can make
	// this process call any address that it reaches.
	AllowAnyHost bool
	// Hosts are allowed beside Sitoo's known ones, in small letters.
	Hosts []string
}

// REST reads shops through Sitoo's REST API v2. It holds what all accounts
// share, the connections, and what is known of each account's limits. It is safe
// for concurrent use and built once per process.
//
// Sitoo takes one request at a time per account and refuses a second one with
// status 429. Within one process REST keeps to that: a call waits for its
// account's earlier one to end. Between processes it is up to the caller.
type REST struct {
	http     *http.Client
	now      func() time.Time
	pause    time.Duration
	patience time.Duration
	jitter   func() float64
	hosts    Hosts

	mu    sync.Mutex
	gates map[string]*gate
}

// gate is what this process knows of one account: whether a request is under
// way, and until when Sitoo wants none.
type gate struct {
	slot chan struct{} // holds a token while a request is under way

	mu       sync.Mutex
	until    time.Time
	refusals int // 429s in a row
}

// maxGates bounds how many accounts a process remembers.
const maxGates = 10_000

// NewREST returns a REST client.
func NewREST(c RESTConfig) *REST {
	web := NewRESTHTTPClient()
	if c.HTTP != nil {
		other := *c.HTTP
		web = &other
	}
	// The password must not travel elsewhere, whoever made the client.
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return &REST{
		http: web, now: c.Now, jitter: c.Jitter, hosts: Hosts{Any: c.AllowAnyHost, More: c.Hosts},
		pause: cmp.Or(c.Pause, defaultRESTPause), patience: cmp.Or(c.Patience, defaultRESTPatience),
		gates: map[string]*gate{},
	}
}

// Shop is one account's site, read with one set of credentials. It is safe for
// concurrent use. Its errors are *fault.Error around *RESTError:
//
//   - Unauthorized: Sitoo refuses the credentials (401, 403).
//   - NotFound: there is no such order, or no such account at this base URL.
//   - Busy: 429, another request of the account is under way; RetryAt says when
//     to come back, and until then calls fail here, without a request.
//   - Unavailable: no answer, a 5xx, or an answer that is not what Sitoo
//     documents; RetryAt is set if Sitoo said when.
//   - TooLarge: the answer is over 32 MiB; a smaller page may fit.
//   - Invalid: the credentials cannot be right (nothing was sent), or Sitoo
//     finds fault with the request (any other 4xx).
//
// Their Message is a sentence for the merchant or for support: it has the status
// and, where it is short and plain, Sitoo's text, but never a credential.
type Shop struct {
	c     *REST
	site  int64
	root  string // up to and including the account's number
	wrong error  // what is wrong with the credentials, nil if nothing
	calls atomic.Int64
	gate  *gate
	// authorise adds the credentials to a request. A function, so that no
	// printed Shop shows them.
	authorise func(*http.Request)
	// harmful reports whether a text holds a credential.
	harmful func(string) bool
}

// Shop returns the shop that credentials are for. Credentials that cannot be
// right (see Credentials.Check) make every call fail with what is wrong.
func (c *REST) Shop(creds Credentials) *Shop {
	checked, err := c.Check(creds)
	if err != nil {
		return &Shop{c: c, wrong: err}
	}
	basic := base64.StdEncoding.EncodeToString([]byte(checked.APIID + ":" + checked.Password))
	return &Shop{
		c: c, site: checked.Site, root: checked.BaseURL, gate: c.gateOf(checked.BaseURL),
		authorise: func(r *http.Request) { r.Header.Set("Authorization", "Basic "+basic) },
		harmful: func(text string) bool {
			return strings.Contains(text, checked.Password) || strings.Contains(text, basic)
		},
	}
}

// Check returns credentials as they are used, see Credentials.Check.
func (c *REST) Check(creds Credentials) (Credentials, error) { return creds.Check(c.hosts) }

func (c *REST) gateOf(account string) *gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.gates[account]
	if !ok {
		if len(c.gates) >= maxGates {
			c.gates = map[string]*gate{}
		}
		g = &gate{slot: make(chan struct{}, 1)}
		c.gates[account] = g
	}
	return g
}

// Calls returns how many requests were sent to Sitoo, second tries included.
func (s *Shop) Calls() int { return int(s.calls.Load()) }

// get is one request. All of them only read, so a second try is always safe.
type get struct {
	what  string // for the log, without ids
	path  string // below the account, escaped
	query url.Values
	// read decodes a 2xx answer; its error says what is not as documented.
	read func(answer []byte) error
}

// do sends a request, at most twice.
func (s *Shop) do(ctx context.Context, g get) error {
	if s.wrong != nil {
		return s.wrong
	}
	select {
	case s.gate.slot <- struct{}{}:
		defer func() { <-s.gate.slot }()
	case <-ctx.Done():
		return s.unavailable(g.what, 0, "not sent: an earlier request of the account is not over")
	}
	for try := 1; ; try++ {
		if until := s.gate.blockedUntil(); s.c.now().Before(until) {
			return &fault.Error{
				Kind: fault.Busy, RetryAt: until, Message: "Sitoo has asked us to wait before the account's next request.",
				Err: &RESTError{What: g.what, Text: "not sent: Sitoo's time to wait is not over"},
			}
		}
		again, err := s.once(ctx, g)
		if err == nil || !again || try == 2 || ctx.Err() != nil {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minRESTRetry {
			return err
		}
		if s.c.pause > 0 {
			wait := time.NewTimer(time.Duration(s.c.jitter()*float64(s.c.pause)) + 1)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
				return err
			}
		}
	}
}

// once sends a request once. again is true if a second try at once may help:
// after a time-out it does not, as the first request may still be under way at
// Sitoo.
func (s *Shop) once(ctx context.Context, g get) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.patience)
	defer cancel()
	target := s.root + g.path
	if len(g.query) > 0 {
		// A comma stands for itself in a query, and in Sitoo's documentation.
		target += "?" + strings.ReplaceAll(g.query.Encode(), "%2C", ",")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return false, fault.Wrap(fault.Internal, err, "build %s", g.what)
	}
	s.authorise(req)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sitoo-rule")
	s.calls.Add(1)
	res, err := s.c.http.Do(req)
	if err != nil {
		return ctx.Err() == nil, s.unanswered(g.what, 0, err)
	}
	defer res.Body.Close()
	// Read to the end, so that the connection lives on.
	var body bytes.Buffer
	body.Grow(int(min(max(res.ContentLength, 0), maxRESTAnswer)) + bytes.MinRead)
	_, err = body.ReadFrom(io.LimitReader(res.Body, maxRESTAnswer+1))
	answer := body.Bytes()
	status, text := said(res.StatusCode, answer)
	if status != http.StatusTooManyRequests {
		s.gate.accepted()
	}
	switch {
	case status/100 != 2: // the status counts even if the body broke off
	case err != nil:
		return ctx.Err() == nil, s.unanswered(g.what, status, err)
	case len(answer) > maxRESTAnswer:
		return false, &fault.Error{
			Kind: fault.TooLarge, Message: fmt.Sprintf("Sitoo's answer is over %d MiB.", maxRESTAnswer>>20),
			Err: &RESTError{What: g.what, Status: status, Text: "the answer is too large"},
		}
	default:
		if err := g.read(answer); err != nil { // a proxy's page, for one
			return true, s.unavailable(g.what, status, "the answer is not what Sitoo documents: "+err.Error())
		}
		return false, nil
	}
	return s.refused(g.what, status, text, res.Header)
}

// said returns what an answer says is wrong: its status, and Sitoo's text if
// there is one. Sitoo's batch calls put errors into answers of status 200; an
// answer of one error alone is taken as that error wherever it comes.
func said(status int, answer []byte) (int, string) {
	var body struct {
		Status int    `json:"statuscode"`
		Text   string `json:"errortext"`
	}
	if len(answer) > maxRESTRefusal || json.Unmarshal(answer, &body) != nil {
		return status, ""
	}
	if status/100 == 2 && body.Status >= 400 && body.Status < 600 {
		return body.Status, body.Text
	}
	return status, body.Text
}
