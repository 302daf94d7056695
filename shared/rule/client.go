// Package rule speaks Rule's HTTP API, v2 and v3: its wire types, its errors
// and its limits. It knows nothing of tills or orders.
//
// Everything that Rule's documentation leaves open is decided here, once; each
// such place says so with "assumed".
package rule

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sitoo-rule/shared/fault"
)

// DefaultURL is where Rule's API lives; /v2/… and /v3/… are appended.
const DefaultURL = "https://app.rule.io/api"

const (
	defaultPause    = 200 * time.Millisecond
	defaultPatience = 3500 * time.Millisecond
	// minRetryBudget is the least time left for which a second try makes sense.
	minRetryBudget = 500 * time.Millisecond
	// pingAfter is how long nothing may arrive on an HTTP/2 connection before it
	// is asked whether it lives, and how long the answer may take: within one
	// try's patience, so that the second one has a connection that works.
	pingAfter = time.Second
	// maxAnswer bounds an answer: a page of 50 order entries at Rule's 65,000
	// characters each, with room to spare.
	maxAnswer = 8 << 20
)

// Config is what a Client needs. The zero value of every member but none is
// usable.
type Config struct {
	URL  string       // base URL, DefaultURL if empty
	HTTP *http.Client // NewHTTPClient() if nil
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Pause is the longest wait before the second try (the wait is random
	// below it), 200 ms if zero, none if negative.
	Pause time.Duration
	// Patience bounds one try, 3.5 s if zero: two of them and a pause fit in
	// the 8 s that a till's request may take.
	Patience time.Duration
}

// Client holds what all accounts share, the connections, and what is known of
// each account's limits. It is safe for concurrent use and built once per
// process.
type Client struct {
	url      string
	http     *http.Client
	now      func() time.Time
	pause    time.Duration
	patience time.Duration

	mu     sync.Mutex
	limits map[[sha256.Size]byte]*limits
}

// limits is what this process knows of one account's limits. All sessions of a
// key share it: what one is told, the others keep to at once.
type limits struct {
	mu    sync.Mutex
	until time.Time
	usage Usage
	told  time.Time // when Rule last said something of the usage
	// noted is how many answers have told of it, newest which of them usage is of.
	noted, newest int

	spaced spaced
}

// maxLimits bounds how many accounts a process remembers.
const maxLimits = 10_000

func (c *Client) limitsOf(key string) *limits {
	id := sha256.Sum256([]byte(key))
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.limits[id]
	if !ok {
		if c.limits == nil || len(c.limits) >= maxLimits {
			c.limits = map[[sha256.Size]byte]*limits{}
		}
		l = &limits{usage: Usage{Allowed: -1, Used: -1, ErrorLimit: -1, ErrorsShare: -1}}
		c.limits[id] = l
	}
	return l
}

// New returns a Client.
func New(c Config) *Client {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.HTTP == nil {
		c.HTTP = NewHTTPClient()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pause == 0 {
		c.Pause = defaultPause
	}
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	return &Client{url: strings.TrimRight(c.URL, "/"), http: c.HTTP, now: c.Now, pause: c.Pause, patience: c.Patience}
}

// NewHTTPClient returns an HTTP client that keeps connections to one host
// open, and never follows a redirect: the key must not travel elsewhere.
func NewHTTPClient() *http.Client {
	dialer := &net.Dialer{Timeout: 1500 * time.Millisecond, KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			ForceAttemptHTTP2:   true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 2 * time.Second,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     4 * time.Minute,
			// One connection carries every request of HTTP/2. One that dies in
			// silence, in a firewall or while Lambda has frozen the process, is
			// used again and again, and each request waits for its time-out,
			// unless it is asked whether it lives.
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Usage is what Rule last said of the account's budget. A figure Rule has not
// told is -1. Rule allows 2000 requests and 49 % errors per 10 minutes.
type Usage struct {
	Allowed, Used           int
	ErrorLimit, ErrorsShare int // percent
}

// Session is one account's use of the Client. It is safe for concurrent use;
// once Rule has said 429, every further call of the account is refused in this
// process, without a request, until the block is over.
type Session struct {
	c       *Client
	key     string
	redact  *strings.Replacer
	onBlock func(ctx context.Context, until time.Time)

	calls    atomic.Int64
	accepted atomic.Bool
	verdict  func(ctx context.Context, accepted bool)
	*limits
}

// Session returns a session for an API key. blockedUntil is what is already
// known of a block (zero: nothing); onBlock, which may be nil, is told of a new
// one, so that it can be shared with other processes.
func (c *Client) Session(key string, blockedUntil time.Time, onBlock func(ctx context.Context, until time.Time)) *Session {
	s := &Session{c: c, key: key, onBlock: onBlock, redact: redactor(key), limits: c.limitsOf(key)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if blockedUntil.After(s.until) {
		s.until = blockedUntil
	}
	return s
}

// Calls returns how many requests the session has sent to Rule, second tries
// included.
func (s *Session) Calls() int { return int(s.calls.Load()) }

// Usage returns what the latest answer said of the budget.
func (s *Session) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// usageLasts is how long bulk work goes by what Rule said of the budget. Only
// calls tell how it is now, so a crowded account gets one to find out with.
const usageLasts = time.Minute

// Crowded tells bulk work to leave the account to the tills for now: of the
// requests or of the errors that Rule allows in 10 minutes, more than percent
// are used up. It goes by the latest answer that this process got for the
// account; what is not known, or was said over a minute ago, crowds nobody.
func (s *Session) Crowded(percent int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := func(used, allowed int) bool { return allowed >= 0 && used*100 > allowed*percent }
	return s.c.now().Sub(s.told) <= usageLasts &&
		(over(s.usage.Used, s.usage.Allowed) || over(s.usage.ErrorsShare, s.usage.ErrorLimit))
}

// BlockedUntil returns until when Rule wants no calls, zero or past if it does.
func (s *Session) BlockedUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

// call is one request.
type call struct {
	method  string
	path    string // from /v2 or /v3 on, already escaped
	query   url.Values
	body    any  // marshalled to JSON; nil for none
	out     any  // decoded from a 2xx answer; nil if the answer does not matter
	empty   bool // an answer of nothing will do, though there is an out
	repeats bool
}

func (c call) v3() bool { return strings.HasPrefix(c.path, "/v3") }

// do sends a call, at most twice. Its errors are *fault.Error around *Error.
func (s *Session) do(ctx context.Context, c call) error {
	what := c.method + " " + routeName(c.path)
	var body []byte
	if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body); err != nil {
			return fault.Wrap(fault.Internal, err, "encode %s", what)
		}
	}
	uncertain := false
	for try := 1; ; try++ {
		if until := s.BlockedUntil(); s.c.now().Before(until) {
			return &fault.Error{Kind: fault.Busy, RetryAt: until, Err: &Error{What: what, Text: "not sent: Rule's block is not over", Uncertain: uncertain, ours: true}}
		}
		err := s.once(ctx, c, what, body)
		s.judge(ctx, err)
		if err == nil {
			return nil
		}
		e, _ := errors.AsType[*Error](err)
		// What the first try may have done is not undone by how the second ended.
		if e != nil && uncertain {
			e.Uncertain = true
		}
		uncertain = e != nil && e.Uncertain
		// 4xx would be the same again and counts against the shop's error
		// share; what may have happened is repeated only where that is safe.
		again := try == 1 && fault.KindOf(err) == fault.Unavailable && (c.repeats || !e.Uncertain)
		if !again || ctx.Err() != nil {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < minRetryBudget {
			return err
		}
		if s.c.pause > 0 {
			wait := time.NewTimer(rand.N(s.c.pause) + 1)
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
				return err
			}
		}
	}
}

// once sends a call once.
func (s *Session) once(ctx context.Context, c call, what string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.patience)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	target := s.c.url + c.path
	if len(c.query) > 0 {
		target += "?" + c.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, reader)
	if err != nil {
		return fault.Wrap(fault.Internal, errors.New(s.redact.Replace(err.Error())), "build %s", what)
	}
	// The key goes in the header only: never in a URL, which ends up in logs.
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sitoo-rule")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if c.v3() {
			req.Header.Set("Content-Type", "application/json;charset=utf-8")
		}
	}
	s.calls.Add(1)
	after := s.answers()
	res, err := s.c.http.Do(req)
	if err != nil {
		return s.unanswered(what, err, sent.Load())
	}
	defer res.Body.Close()
	// Read to the end, so that the connection lives on.
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	s.note(res.Header, after)
	if res.StatusCode == http.StatusTooManyRequests {
		return s.blocked(ctx, what, res, answer)
	}
	if err != nil {
		return s.unanswered(what, err, true)
	}
	if len(answer) > maxAnswer {
		return s.unanswered(what, fmt.Errorf("answer over %d bytes", maxAnswer), true)
	}
	if res.StatusCode/100 != 2 {
		return refused(what, res.StatusCode, answer, s.redact)
	}
	if err := refusedInside(what, res.StatusCode, answer, s.redact); err != nil {
		return err
	}
	// A page of a proxy's can come with status 200, even where the answer itself
	// does not matter.
	err = nil
	switch {
	case len(bytes.TrimSpace(answer)) == 0 && (c.out == nil || c.empty):
	case c.out != nil:
		err = json.Unmarshal(answer, c.out)
	default:
		err = json.Unmarshal(answer, new(json.RawMessage))
	}
	if err != nil {
		return &fault.Error{Kind: fault.Unavailable, Err: &Error{
			What: what, Status: res.StatusCode, Uncertain: true, ours: true,
			Text: "answer is not the documented JSON: " + s.redact.Replace(err.Error()),
		}}
	}
	return nil
}

func (s *Session) unanswered(what string, err error, sent bool) error {
	// A *url.Error repeats the URL; its cause is enough.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return &fault.Error{Kind: fault.Unavailable, Err: &Error{What: what, Text: "no answer: " + s.redact.Replace(err.Error()), Uncertain: sent, ours: true}}
}

func (s *Session) blocked(ctx context.Context, what string, res *http.Response, answer []byte) error {
	until := retryAt(res.Header, answer, s.c.now())
	s.mu.Lock()
	news := until.After(s.until)
	if news {
		s.until = until
	}
	s.mu.Unlock()
	if news && s.onBlock != nil {
		s.onBlock(ctx, until)
	}
	return &fault.Error{Kind: fault.Busy, RetryAt: until, Err: &Error{What: what, Status: res.StatusCode, Text: "too many requests"}}
}

// answers returns how many answers have told of the budget so far.
func (s *Session) answers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noted
}

// note keeps what the answer says of the budget; after is how many answers had
// told of it when the request was sent. Of requests that were under way together
// the answers come in any order, and the one that counts more requests is newer.
func (s *Session) note(h http.Header, after int) {
	said := func(name string) (int, bool) {
		v, err := strconv.ParseFloat(h.Get(name), 64)
		return int(v), err == nil && v >= 0 && v < 1e9
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	used, known := said("RequestsCount-Current")
	if known && after < s.newest && used < s.usage.Used {
		return
	}
	for name, to := range map[string]*int{
		"RequestsCount-Allowed": &s.usage.Allowed, "RequestsCount-Current": &s.usage.Used,
		"X-ErrorPercent-Limit": &s.usage.ErrorLimit, "X-ErrorPercent-Current": &s.usage.ErrorsShare,
	} {
		if v, ok := said(name); ok {
			*to, s.told = v, s.c.now()
		}
	}
	s.noted++
	if known {
		s.newest = s.noted
	}
}

// routeName is a path without anything that names a person: what follows
// /subscribers/ and /subscriber/ is an email address or a phone number.
func routeName(path string) string {
	parts := strings.Split(path, "/")
	for i := 3; i < len(parts); i++ {
		switch parts[i-1] {
		case "subscribers", "subscriber", "custom-field-data", "suppressions":
			if parts[i] != "tags" || i < len(parts)-1 {
				parts[i] = "{}"
			}
		}
	}
	return strings.Join(parts, "/")
}

// Derive returns a key of 32 bytes for a purpose. It is always the same for one
// API key, and nobody can make it who does not have that.
func (s *Session) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(s.key), nil, purpose, sha256.Size)
}
