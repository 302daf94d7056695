package simulation

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/fault"
)

// done marks what has happened, as the stores do.
const done = memory.Done

// deep bounds how many deliveries begin within one another.
const deep = 3

// effect is asked before and after each effect of the process at work. Its error
// is that of the effect: of one that did not happen, or, after it, of one whose
// answer was lost.
func (w *World) effect(op string) error {
	p := w.at()
	if p == nil || p.spared {
		return nil
	}
	if p.dead || p.ctx.Err() != nil { // Lambda has stopped it
		p.dead = true
		return errGone
	}
	w.Counts.Effects++
	if w.o.Look != nil {
		w.o.Look(p.function, op)
	}
	w.note("%s", op)
	if p.told && strings.HasPrefix(op, "accounts Block") && strings.HasSuffix(op, done) {
		p.told = false
	}
	// Something else happens in the meantime.
	if len(w.running) < deep && w.dice.IntN(200) == 0 {
		w.happens()
	}
	// What there are few of goes wrong more often: messages, and what becomes of
	// jobs and parts.
	rate := w.o.Faults
	if rate > 0 && (strings.HasPrefix(op, "send") || strings.HasPrefix(op, "history Put") || strings.HasPrefix(op, "history SavePart")) {
		rate = max(rate, 0.1)
	}
	switch x := w.dice.Float64(); {
	case x < rate/4:
		w.Counts.Kills++
		w.note("killed")
		p.dead = true
		return errGone
	case x < rate && !strings.HasPrefix(op, "rule") && !strings.HasPrefix(op, "sitoo"):
		w.Counts.Faults++
		w.note("fault")
		return &fault.Error{Kind: fault.Unavailable, Err: errors.New("simulated")}
	}
	return nil
}

// at returns the process at work, nil if none is.
func (w *World) at() *process {
	if len(w.running) == 0 {
		return nil
	}
	return w.running[len(w.running)-1]
}

// wire is the connection to Rule or to Sitoo.
type wire struct {
	w    *World
	name string
	rule *fakerule.Server // nil for Sitoo
}

var errReset = errors.New("connection reset by peer")

// RoundTrip sends a request, or does with it what networks and servers do.
func (c wire) RoundTrip(r *http.Request) (res *http.Response, err error) {
	w := c.w
	if w.o.AtOnce {
		return c.send(r)
	}
	if err := w.effect(c.name); err != nil {
		return nil, err
	}
	drop := false
	rate := 4 * w.o.Faults
	if rate > 0 && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/v2/subscribers") {
		rate = max(rate, 0.1) // calls for many: their outcome matters
	}
	if p := w.at(); p != nil && !p.spared && w.dice.Float64() < rate {
		w.Counts.Faults++
		kind := w.dice.IntN(9)
		w.note("fault %d of %s", kind, c.name)
		switch kind {
		case 0: // it does not get there
			return nil, errors.New("connection refused")
		case 1:
			return answer(r, http.StatusInternalServerError, `{"error":"UnexpectedError","statuscode":500,"errortext":"Internal error"}`), nil
		case 2:
			return answer(r, http.StatusBadGateway, `<html>bad gateway</html>`), nil
		case 3: // carried out, and not answered
			drop = true
		case 4: // slow, maybe slower than the client waits
			if err := wait(r, time.Duration(w.dice.IntN(60))*time.Second); err != nil {
				return nil, err
			}
		case 5, 6:
			if c.rule != nil {
				if w.dice.IntN(4) == 0 {
					c.rule.BlockFor(Key, fakerule.Block)
				}
				break
			}
			return answer(r, http.StatusTooManyRequests, `{"statuscode":429,"errortext":"Too many connections"}`), nil
		case 7:
			if c.rule == nil {
				w.Sitoo.Inject(fakesitoo.Fault{Kind: fakesitoo.Repeat})
			}
		case 8:
			return answer(r, http.StatusOK, `not JSON`), nil
		}
	}
	if res, err = c.send(r); err != nil {
		return nil, err
	}
	if c.rule != nil && res.StatusCode == http.StatusTooManyRequests {
		if p := w.at(); p != nil {
			p.told = true
		}
	}
	if drop {
		return nil, errReset
	}
	if err := w.effect(c.name + done); err != nil {
		return nil, err
	}
	return res, nil
}

// send has the stand-in answer.
func (c wire) send(r *http.Request) (res *http.Response, err error) {
	if c.rule == nil {
		return c.w.Sitoo.Client().Transport.RoundTrip(r)
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if c.w.o.Answer > 0 {
		if err := wait(r, c.w.o.Answer); err != nil {
			return nil, err
		}
	}
	if r.Body == nil { // as a server never has it
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	c.rule.ServeHTTP(rec, r)
	res = rec.Result()
	res.Request = r
	return res, nil
}

// wait lets time pass, at most as long as whoever sent the request waits.
func wait(r *http.Request, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func answer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))),
		ContentLength: int64(len(body)), Request: r,
	}
}
