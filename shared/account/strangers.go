package account

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"sitoo-rule/shared/fault"
)

// MaxStrangers is how many keys a minute that the connector has never seen may
// be shown to Rule and be refused, of all callers together. Rule counts errors
// against whoever asks; 30 shops that begin at the same moment pass.
const MaxStrangers = 60

// StrangerCount counts, for all processes together, the unknown keys that are
// being shown to Rule or were refused. Implementations are safe for concurrent
// use, and every method may be repeated with the same ticket.
type StrangerCount interface {
	// TakeStranger notes a ticket for the minute that begins at minute, unless
	// limit tickets are noted for it: ok is false then. One that is noted already
	// is ok.
	TakeStranger(ctx context.Context, minute time.Time, ticket string, limit int) (ok bool, err error)
	// ReturnStranger takes a ticket back: the key was good. One that is not noted
	// is no error.
	ReturnStranger(ctx context.Context, minute time.Time, ticket string) error
}

// Strangers bounds how many unknown keys reach Rule, so that anyone who sends
// invented ones neither makes Rule block the connector nor costs more than a
// read. It is safe for concurrent use and lives as long as the process.
type Strangers struct {
	Count StrangerCount
	Now   func() time.Time
	Log   *slog.Logger

	mu     sync.Mutex
	usedUp time.Time // the minute for which nothing is left
}

// UsedUp returns an error if this process has seen the budget of this minute
// used up: fault.Busy until the next one. It costs no call. A nil Strangers has
// no bound.
func (s *Strangers) UsedUp() error {
	if s == nil {
		return nil
	}
	minute := s.minute()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usedUp.Equal(minute) {
		return tooMany(minute)
	}
	return nil
}

// Ask shows an unknown key to Rule by verify, if the budget of this minute
// allows it, and returns what verify does. A key that Rule accepts does not
// count. fault.Busy, without verify, where nothing is left.
func (s *Strangers) Ask(ctx context.Context, token string, verify func(ctx context.Context, token string) error) error {
	if s == nil {
		return verify(ctx, token)
	}
	if err := s.UsedUp(); err != nil {
		return err
	}
	minute, ticket := s.minute(), rand.Text()
	ok, err := s.Count.TakeStranger(ctx, minute, ticket, MaxStrangers)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "")
	}
	if !ok {
		s.mu.Lock()
		s.usedUp = minute
		s.mu.Unlock()
		s.Log.WarnContext(ctx, "unknown keys wait: too many were refused this minute", "limit", MaxStrangers)
		return tooMany(minute)
	}
	if err := verify(ctx, token); err != nil {
		return err
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.Count.ReturnStranger(after, minute, ticket); err != nil {
		s.Log.WarnContext(ctx, "could not take a good key out of the count of unknown ones", "error", err)
	}
	return nil
}

func (s *Strangers) minute() time.Time { return s.Now().UTC().Truncate(time.Minute) }

func tooMany(minute time.Time) error {
	e := fault.Say(fault.Busy, "too_many_keys")
	e.RetryAt = minute.Add(time.Minute)
	return e
}

// Known reports whether a token is a key that Rule has accepted before and has
// not refused lately. It asks the store alone: at most two reads, and in doubt
// no. It is for what may not be told of a stranger, not for letting anyone in.
func Known(ctx context.Context, store Store, token string, now time.Time) bool {
	key, _ := SplitToken(token)
	if !wellFormed(key) {
		return false
	}
	k, err := store.Key(ctx, ID(key))
	if err != nil || k.Bad() || !k.Dropped.IsZero() {
		return false
	}
	until, err := store.Refused(ctx, k.ID)
	return err == nil && !now.Before(until)
}
