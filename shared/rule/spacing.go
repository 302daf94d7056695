package rule

import (
	"context"
	"time"

	"sitoo-rule/shared/fault"
)

// Rule blocks an account for ten minutes when more than 49 % of its answers in
// ten minutes were errors, and an email address that belongs to nobody is one.
const (
	// judgedFrom is from how many requests in ten minutes on Rule is assumed to
	// look at the share of errors: it publishes no number, and judging from the
	// first on would block an account for a single miss.
	judgedFrom = 50
	// keptFree is the part of the errors that is never used by what may miss, in
	// percent: others of the account's calls fail, too.
	keptFree = 10
	// freely is how many errors must be left for a call that may miss to be sent
	// without asking how the account stands: other processes use it up, too, and
	// this one last heard of it with its own last answer. Below closely such calls
	// are sent one at a time, spacing apart.
	freely, closely = 15, 5
	spacing         = 4 * time.Second
	// answerTime is what a call takes itself of the time that a till waits.
	answerTime = 2500 * time.Millisecond
)

// spaced is what a process knows of calls that may miss, beside limits.
type spaced struct {
	pending int       // sent or about to be, their answers are not counted yet
	next    time.Time // when one may be sent again where few errors are left
}

// MayMiss is called before a call that Rule may well answer with 404, because a
// cashier has typed something, and done when it has been answered. While the
// account is far from Rule's limit of errors it costs nothing. Closer to it, Rule
// is first asked how the account stands, one request which never fails for a good
// key; then such calls are sent one at a time, a few seconds apart; and where one
// would wait longer than ctx allows, or tip the account over, it is fault.Busy:
// the shop goes on finding those whom it has found lately, and is not shut out
// for ten minutes. done is never nil, and safe to call once in any case.
func (s *Session) MayMiss(ctx context.Context) (done func(), err error) {
	done = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.spaced.pending--
	}
	s.mu.Lock()
	s.spaced.pending++
	left := s.errorsLeft()
	s.mu.Unlock()
	if left >= freely {
		return done, nil
	}
	if err := s.Verify(ctx); err != nil && fault.KindOf(err) != fault.Unavailable {
		return done, err
	}
	wait, until, ok := s.turn(ctx)
	if !ok {
		e := fault.Say(fault.Busy, "searches_spaced").With(&Error{What: "search", Text: "not sent: it would bring the account close to Rule's limit of errors", ours: true})
		e.RetryAt = until
		return done, e
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return done, &fault.Error{Kind: fault.Unavailable, Err: ctx.Err()}
		}
	}
	return done, nil
}

// turn says how long the caller has to wait for its turn; ok is false if that is
// too long, and until when it should come back.
func (s *Session) turn(ctx context.Context) (wait time.Duration, until time.Time, ok bool) {
	now := s.c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.errorsLeft()
	switch {
	case left >= closely:
		return 0, now, true
	case left < 0:
		return 0, now.Add(time.Minute), false // errors leave the ten minutes one by one
	}
	at := s.spaced.next
	if at.Before(now) {
		at = now
	}
	wait = at.Sub(now)
	if deadline, has := ctx.Deadline(); wait > spacing || has && wait > 0 && time.Until(deadline)-wait < answerTime {
		return 0, at, false
	}
	s.spaced.next = at.Add(spacing)
	return wait, at, true
}

// errorsLeft is how many more errors the account may have in these ten minutes,
// those counted that are under way, by what Rule said last. The lock is held.
func (s *Session) errorsLeft() int {
	u := s.usage
	if u.Used < 0 || u.ErrorsShare < 0 || u.ErrorLimit < 0 || s.c.now().Sub(s.told) > window {
		return freely + judgedFrom // nothing is known: the answer will tell
	}
	allowed := u.ErrorLimit * max(u.Used, judgedFrom) * (100 - keptFree) / 100
	have := (u.ErrorsShare + 1) * u.Used // Rule rounds the share down
	return (allowed-have)/100 - s.spaced.pending
}

// window is the time over which Rule counts.
const window = 10 * time.Minute
