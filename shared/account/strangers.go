package account

import (
	"context"
	"time"
)

// Known reports whether a token is a key that Rule has accepted before and has
// not refused lately. It asks the store alone: at most two reads, and in doubt
// no. It is for what may not be told of a stranger, not for letting anyone in.
func Known(ctx context.Context, store Store, token string, now time.Time) bool {
	if !wellFormed(token) {
		return false
	}
	id := ID(token)
	if _, err := store.Get(ctx, id); err != nil {
		return false
	}
	until, err := store.Refused(ctx, id)
	return err == nil && !now.Before(until)
}
