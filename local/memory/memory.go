// Package memory keeps accounts, the order ledger, the books of bonus checks, the
// progress of imports, and backfills in memory, for one process on one machine. The stores
// mean what the DynamoDB adapters mean, down to the millisecond; package
// contract holds both to it. Unlike those they can be made to fail on purpose.
package memory

import (
	"context"
	"sync"
	"time"

	"sitoo-rule/shared/fault"
)

// Done is what is added to an operation's name when its effect has happened.
const Done = " done"

// core is what all stores have: the lock and the order in which a call meets
// the context, the hook and the effect.
type core struct {
	mu sync.Mutex
}

// do runs effect under the lock and fail around it, without the lock, so that
// fail may block, call the store or panic.
func (c *core) do(ctx context.Context, fail func(op string) error, op string, effect func() error) error {
	if err := ctx.Err(); err != nil {
		return &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	if fail != nil {
		if err := fail(op); err != nil {
			return err
		}
	}
	if err := c.locked(effect); err != nil {
		return err
	}
	if fail != nil {
		return fail(op + Done)
	}
	return nil
}

func (c *core) locked(effect func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return effect()
}

// milli is t as it comes back from a store that keeps unix milliseconds.
func milli(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
