package bonus

import "time"

// KeptUntil returns until when the book has to be kept so that no check of it can
// be used again: to the given time at the least, and as long as a check can be
// used. ok is false if that is for good: a check without a last day, or one of
// which that is not known, stays used for ever.
func (b Book) KeptUntil(least time.Time) (until time.Time, ok bool) {
	for _, e := range b.Entries {
		if e.Until.IsZero() {
			return time.Time{}, false
		}
		if e.Until.After(least) {
			least = e.Until
		}
	}
	return least, true
}
