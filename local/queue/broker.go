// Package queue is Amazon SQS, and Lambda's event source mapping in front of it,
// in memory: good enough that workers cannot tell. Queues are those of a SAM
// template. A Broker holds the queues, a Pump moves one queue's messages to a
// function. Everything goes by package time, so that testing/synctest can drive
// it, and nothing runs unless a Pump does.
//
// The service's rules are from the SQS developer guide and API reference, and
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html.
package queue

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"sitoo-rule/local/template"
)

// Broker holds a template's queues. It is safe for concurrent use.
type Broker struct {
	// mu guards all that is in the queues and pumps too: a message moves from
	// one queue to another in one step, and Idle looks at all of them at once.
	mu      sync.Mutex
	queues  map[string]*Queue
	pumps   []*Pump
	last    uint64        // sequence number given last
	changed chan struct{} // closed at the next change; nil when nobody waits
}

// NewBroker returns a broker with the queues, all empty. It is an error when two
// have one logical id, or a dead-letter queue is not another one of them.
func NewBroker(queues []template.Queue) (*Broker, error) {
	b := &Broker{queues: make(map[string]*Queue, len(queues))}
	for _, def := range queues {
		if b.queues[def.ID] != nil {
			return nil, fmt.Errorf("queue %q is declared twice", def.ID)
		}
		b.queues[def.ID] = newQueue(b, def)
	}
	for _, q := range b.queues {
		if q.def.DeadLetters == "" {
			continue
		}
		if q.dead = b.queues[q.def.DeadLetters]; q.dead == nil || q.dead == q {
			return nil, fmt.Errorf("queue %q: there is no other queue %q for its dead letters", q.def.ID, q.def.DeadLetters)
		}
	}
	return b, nil
}

// Queue returns the queue with a logical id.
func (b *Broker) Queue(id string) (*Queue, bool) {
	q, ok := b.queues[id]
	return q, ok
}

// Idle tells whether the pumps have nothing to do now: no function is running, no
// batch is being collected, and no message that a pump could take is visible.
// Messages that are delayed, or wait for their visibility timeout after a
// failure, do not count, nor do queues without an enabled pump.
func (b *Broker) Idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.idle()
}

func (b *Broker) idle() bool {
	now := time.Now()
	for _, p := range b.pumps {
		if p.active > 0 || p.source.Enabled && p.queue.deliverable(now) {
			return false
		}
	}
	return true
}

// Drain waits until the broker is idle or ctx ends, whose error it returns. The
// pumps must be running.
func (b *Broker) Drain(ctx context.Context) error {
	for {
		b.mu.Lock()
		if b.idle() {
			b.mu.Unlock()
			return nil
		}
		changed := b.wait()
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("drain queues: %w", context.Cause(ctx))
		}
	}
}

// wait returns a channel that the next change closes. mu is held.
func (b *Broker) wait() <-chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// notify wakes everyone who waits. mu is held.
func (b *Broker) notify() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *Broker) next() uint64 {
	b.last++
	return b.last
}

// newID returns a random UUID, version 4, as message ids are.
func newID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: it ends the program instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
