package sitoo

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"sitoo-rule/shared/fault"
)

// RESTError is what Sitoo answered instead of what was asked. It is for the log.
type RESTError struct {
	What   string // method and resource, without ids
	Status int    // HTTP status, 0 if there was no answer
	Text   string // what went wrong, in Sitoo's words or ours, without credentials
}

// Error returns the resource, the status and the text.
func (e *RESTError) Error() string {
	s := "sitoo: " + e.What
	if e.Status != 0 {
		s += ": status " + strconv.Itoa(e.Status)
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// maxRESTText is how much of a text is kept, in bytes.
const maxRESTText = 160

// harmless returns a text that came from outside, or "" if it is not a short
// plain sentence that anybody may read.
func (s *Shop) harmless(text string) string {
	text = strings.TrimSpace(text)
	odd := func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune("@<>{}", r) || r == unicode.ReplacementChar
	}
	if len(text) > maxRESTText || strings.ContainsFunc(text, odd) || s.harmful(text) {
		return ""
	}
	return text
}

// answered is a status and Sitoo's text as they stand in a sentence.
func answered(status int, text string) string {
	if text = strings.TrimRight(text, "."); text != "" {
		return fmt.Sprintf("status %d: %s", status, text)
	}
	return fmt.Sprintf("status %d", status)
}

// refused reads an answer whose status is not 2xx.
func (s *Shop) refused(what string, status int, text string, h http.Header) (again bool, err error) {
	text = s.harmless(text)
	in := answered(status, text)
	f := &fault.Error{Err: &RESTError{What: what, Status: status, Text: text}}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Kind, f.Message = fault.Unauthorized, "Sitoo does not accept the credentials ("+in+")."
	case status == http.StatusNotFound:
		f.Kind, f.Message = fault.NotFound, "Sitoo has nothing there ("+in+"): the base URL, the account id, the site or the order is another one."
	case status == http.StatusTooManyRequests:
		f.Kind, f.Message = fault.Busy, "Sitoo takes one request at a time, and another one is under way ("+in+")."
		f.RetryAt = s.gate.refuse(h, s.c.now(), s.c.jitter)
	case status/100 == 3:
		f.Kind, f.Message = fault.Unavailable, "Sitoo sends us elsewhere, where the credentials must not go ("+in+")."
	case status/100 == 4 && status != http.StatusRequestTimeout:
		f.Kind, f.Message = fault.Invalid, "Sitoo finds fault with our request ("+in+")."
	default:
		f.Kind, f.Message = fault.Unavailable, "Sitoo cannot answer just now ("+in+")."
		if wait, ok := restWait(h, s.c.now()); ok {
			f.RetryAt = s.c.now().Add(wait)
		}
		again = f.RetryAt.IsZero()
	}
	return again, f
}

// unavailable is an answer that is of no use. text is ours, or harmless.
func (s *Shop) unavailable(what string, status int, text string) error {
	return &fault.Error{
		Kind: fault.Unavailable, Message: "Sitoo did not answer as expected.",
		Err: &RESTError{What: what, Status: status, Text: cut(text, 2*maxRESTText)},
	}
}

func (s *Shop) unanswered(what string, status int, err error) error {
	// A *url.Error repeats the URL; its cause is enough.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	text := err.Error()
	if s.harmful(text) { // net/http quotes what it cannot read
		text = "(not shown)"
	}
	return &fault.Error{
		Kind: fault.Unavailable, Message: "Sitoo did not answer.",
		Err: &RESTError{What: what, Status: status, Text: "no answer: " + cut(text, maxRESTText)},
	}
}

func (g *gate) blockedUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

// accepted ends a row of refusals.
func (g *gate) accepted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusals = 0
}

const (
	firstBackoff = 5 * time.Second
	lastBackoff  = 2 * time.Minute
	minRESTWait  = time.Second
	// maxRESTWait keeps a garbled answer from silencing an account for long.
	maxRESTWait = time.Hour
)

// refuse notes a 429 and returns when to come back: as Sitoo says, else after
// 5 s that double to 2 minutes, at least half of them at random.
func (g *gate) refuse(h http.Header, now time.Time, jitter func() float64) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait, ok := restWait(h, now)
	if !ok {
		wait = min(firstBackoff<<min(g.refusals, 10), lastBackoff)
		wait = wait/2 + time.Duration(jitter()*float64(wait/2))
	}
	g.refusals++
	if until := now.Add(wait); until.After(g.until) {
		g.until = until
	}
	return g.until
}

// restWait reads how long Sitoo wants us to wait: Retry-After in seconds or as
// a date, else X-Rate-Limit-Reset in seconds or as a moment (clients read both;
// whether Sitoo sends either is not published). The answer's Date tells Sitoo's
// clock, so that ours may be off.
func restWait(h http.Header, now time.Time) (time.Duration, bool) {
	server := now
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		server = d
	}
	// Above this a number of seconds is a moment: it is the year 2001.
	const epoch = 1e9
	for _, name := range []string{"Retry-After", "X-Rate-Limit-Reset"} {
		value := strings.TrimSpace(h.Get(name))
		var wait time.Duration
		if secs, err := strconv.ParseFloat(value, 64); err == nil && secs >= 0 && secs < 1e11 {
			wait = time.Duration(min(secs, maxRESTWait.Seconds()) * float64(time.Second))
			if secs >= epoch {
				wait = time.Unix(int64(secs), 0).Sub(server)
			}
		} else if t, err := http.ParseTime(value); err == nil {
			wait = t.Sub(server)
		} else {
			continue
		}
		return min(max(wait, minRESTWait), maxRESTWait), true
	}
	return 0, false
}
