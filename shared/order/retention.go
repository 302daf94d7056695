package order

import "time"

// Retention is how many months after its last change the ledger keeps an order's
// line, and a customer's book of bonus checks its uses; 0 stands for
// DefaultRetention. What is deleted is deleted some time after that, so whatever
// must not happen twice may not count on a line that is older, nor on its absence.
type Retention int

// DefaultRetention is three years: longer than a till, a queue or a redrive brings
// an order back, and than most checks can be used.
const DefaultRetention Retention = 36

// margin is kept longer, so that nothing is forgotten that a backfill, which may
// be under way for weeks, has been allowed to reach.
const margin = 31

// Until returns until when what changes at a time is kept: a month longer than
// Reach goes by.
func (r Retention) Until(changed time.Time) time.Time {
	return changed.AddDate(0, int(r.months()), margin)
}

// Reach returns how far back the ledger remembers all that an account of that age
// has had: what is older may be written a second time. It is zero, for no limit,
// while nothing can have been forgotten.
func (r Retention) Reach(created, now time.Time) time.Time {
	reach := now.AddDate(0, -int(r.months()), 0)
	if created.IsZero() || created.After(reach) {
		return time.Time{}
	}
	return reach
}

func (r Retention) months() Retention {
	if r <= 0 {
		return DefaultRetention
	}
	return r
}
