package memory

import (
	"context"
	"fmt"
	"maps"
	"time"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/rule"
)

// Consents is a customer.Answers. The zero value is empty and ready; it must not
// be copied.
type Consents struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	refusals map[refuser]map[customer.Member]time.Time
	days     map[counted]counts
	tagged   map[refuser]bool
}

type refuser struct {
	account    string
	subscriber int64
}

type counted struct{ account, day string }

type counts struct{ asked, unasked int }

var _ customer.Answers = (*Consents)(nil)

func day(t time.Time) string { return t.In(rule.Stockholm).Format("2006-01-02") }

// Refuse notes when a customer said no to channels, in place of an earlier time.
func (s *Consents) Refuse(ctx context.Context, account string, subscriber int64, at time.Time, channels ...customer.Member) error {
	err := s.do(ctx, s.Fail, "Refuse", func() error {
		k := refuser{account, subscriber}
		if s.refusals == nil {
			s.refusals = map[refuser]map[customer.Member]time.Time{}
		}
		if s.refusals[k] == nil {
			s.refusals[k] = map[customer.Member]time.Time{}
		}
		for _, c := range channels {
			s.refusals[k][c] = at.UTC().Truncate(time.Millisecond)
		}
		return nil
	})
	return wrapped(err, "note refusal of subscriber %d of account %s", subscriber, account)
}

// Refused returns when a customer last said no, by channel.
func (s *Consents) Refused(ctx context.Context, account string, subscriber int64) (map[customer.Member]time.Time, error) {
	said := map[customer.Member]time.Time{}
	err := s.do(ctx, s.Fail, "Refused", func() error {
		maps.Copy(said, s.refusals[refuser{account, subscriber}])
		return nil
	})
	if err != nil {
		return nil, wrapped(err, "get refusal of subscriber %d of account %s", subscriber, account)
	}
	return said, nil
}

// Count counts a new customer under a day.
func (s *Consents) Count(ctx context.Context, account string, at time.Time, asked bool) error {
	err := s.do(ctx, s.Fail, "Count", func() error {
		if s.days == nil {
			s.days = map[counted]counts{}
		}
		k := counted{account, day(at)}
		n := s.days[k]
		if asked {
			n.asked++
		} else {
			n.unasked++
		}
		s.days[k] = n
		return nil
	})
	return wrapped(err, "count new customer of account %s", account)
}

// Counts returns how many were counted since the day of a time.
func (s *Consents) Counts(ctx context.Context, account string, since time.Time) (asked, unasked int, err error) {
	err = s.do(ctx, s.Fail, "Counts", func() error {
		for k, n := range s.days {
			if k.account == account && k.day >= day(since) {
				asked, unasked = asked+n.asked, unasked+n.unasked
			}
		}
		return nil
	})
	return asked, unasked, wrapped(err, "counts of account %s", account)
}

func wrapped(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// Tagged reports whether Marked has noted that a customer has the tag Sitoo.
func (s *Consents) Tagged(ctx context.Context, account string, subscriber int64) (has bool, err error) {
	err = s.do(ctx, s.Fail, "Tagged", func() error {
		has = s.tagged[refuser{account, subscriber}]
		return nil
	})
	return has, wrapped(err, "get tag of subscriber %d of account %s", subscriber, account)
}

// Marked notes that a customer has the tag Sitoo.
func (s *Consents) Marked(ctx context.Context, account string, subscriber int64) error {
	err := s.do(ctx, s.Fail, "Marked", func() error {
		if s.tagged == nil {
			s.tagged = map[refuser]bool{}
		}
		s.tagged[refuser{account, subscriber}] = true
		return nil
	})
	return wrapped(err, "note tag of subscriber %d of account %s", subscriber, account)
}
