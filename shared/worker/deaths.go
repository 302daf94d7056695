package worker

import (
	"context"

	"sitoo-rule/shared/fault"
)

// maxDeaths is how often a message may take the process down before it is put
// aside. Each time it stays hidden for the queue's visibility timeout, half an
// hour, at the head of its shop's group.
const maxDeaths = 5

// Begun counts the deliveries of a message that have begun and not ended: those
// took the process down. Implementations are safe for concurrent use, and every
// method may be repeated with the same attempt.
type Begun interface {
	// Begin notes an attempt at a message of a group and returns how many are noted,
	// this one included.
	Begin(ctx context.Context, group, message, attempt string) (n int, err error)
	// End forgets all attempts at the message: this one has ended by itself.
	End(ctx context.Context, group, message string) error
}

// begin notes a delivery that is not the message's first, so that the usual one
// costs nothing. Its error says that the message has taken the process down too
// often. While the count cannot be read the work goes on.
func (e *Edge) begin(ctx context.Context, group string, d *Delivery) (end func(), err error) {
	if e.Begun == nil || d.Receives < 2 {
		return func() {}, nil
	}
	n, err := e.Begun.Begin(ctx, group, d.ID, d.Attempt)
	if err != nil {
		d.Log.WarnContext(ctx, "could not note that a delivery begins", "error", err)
		return func() {}, nil
	}
	if n > maxDeaths {
		return func() {}, fault.New(fault.Invalid, "The message took the process down %d times, by its memory or its time; the log says what came last before it ended.", n-1)
	}
	return func() {
		if err := e.Begun.End(ctx, group, d.ID); err != nil {
			d.Log.WarnContext(ctx, "could not note that a delivery has ended", "error", err)
		}
	}, nil
}
