package worker

import (
	"context"
	"time"
)

// Message is what is put on a queue.
type Message struct {
	Body string
	// Group is the account id. Standard queues share their workers fairly
	// between groups; FIFO queues keep the order within one.
	Group string
	// Dedup makes a FIFO queue take the message once; "" on standard queues.
	Dedup string
	// Attributes are string attributes beside the body.
	Attributes map[string]string
	// Delay is how long a standard queue hides the message first, 15 minutes at
	// the most; FIFO queues take none.
	Delay time.Duration
}

// Sender puts messages on one queue. Send returns only when the queue has the
// whole message; an error means that it may or may not have it, so consumers
// are idempotent.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Delayer changes when a received message is delivered again: in delay from
// now, 12 hours at the most. receipt is the delivery's receipt handle.
type Delayer interface {
	Delay(ctx context.Context, receipt string, delay time.Duration) error
}
