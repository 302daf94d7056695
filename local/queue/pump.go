package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/local/invocation"
	"sitoo-rule/local/template"
)

// MaxEvent is how many bytes of an event Lambda takes; a batch ends before it.
const MaxEvent = 6 << 20

// defaultConcurrency is with how many batches at once Lambda starts on a queue
// without a maximum.
const defaultConcurrency = 5

// Invoke runs a function; see invocation.Invoke.
type Invoke = invocation.Invoke

// PumpConfig is what NewPump needs.
type PumpConfig struct {
	Source   template.EventSource
	Function template.Function // the source's
	Invoke   Invoke
	// Concurrency is how many batches are worked on at once; 0 takes the
	// source's maximum, without one five.
	Concurrency int
	// Log gets one line per batch, without bodies. Nil logs nothing.
	Log *slog.Logger
}

// Pump is Lambda's event source mapping: it takes messages from one queue in
// batches and hands them to a function. What the function has done is deleted;
// the rest is visible again when its visibility timeout ends, unless the function
// has changed that.
type Pump struct {
	b           *Broker
	queue       *Queue
	source      template.EventSource
	function    template.Function
	invoke      Invoke
	concurrency int
	log         *slog.Logger

	active int // batches collected or worked on; guarded by b.mu
}

// NewPump adds a pump to the broker. It does nothing until Run. It is an error if
// the broker lacks the queue, or the function is not the source's.
func NewPump(b *Broker, c PumpConfig) (*Pump, error) {
	q, ok := b.Queue(c.Source.Queue)
	switch {
	case !ok:
		return nil, fmt.Errorf("event source %s: there is no queue %q", c.Source.ID, c.Source.Queue)
	case c.Function.ID != c.Source.Function:
		return nil, fmt.Errorf("event source %s: its function is %q, not %q", c.Source.ID, c.Source.Function, c.Function.ID)
	case c.Invoke == nil:
		return nil, fmt.Errorf("event source %s: nothing to invoke", c.Source.ID)
	}
	p := &Pump{b: b, queue: q, source: c.Source, function: c.Function, invoke: c.Invoke, concurrency: c.Concurrency, log: c.Log}
	if p.concurrency <= 0 {
		p.concurrency = c.Source.MaxConcurrency
	}
	if p.concurrency <= 0 {
		p.concurrency = defaultConcurrency
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pumps = append(b.pumps, p)
	return p, nil
}

// Run moves messages until ctx ends, and returns when every function it started
// has returned. Functions' contexts end with ctx: what they were working on stays
// in the queue. A disabled event source takes nothing. Run is called once.
func (p *Pump) Run(ctx context.Context) {
	if !p.source.Enabled {
		<-ctx.Done()
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, p.concurrency)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		batch := p.collect(ctx)
		if batch == nil {
			return
		}
		running.Go(func() {
			defer func() { <-slots }()
			p.work(ctx, batch, &running)
		})
	}
}

// collect waits for messages and returns a batch, or nil when ctx has ended. A
// batch is complete when it has its size, when its window has passed since its
// first message, or when the next message would make the event too large.
func (p *Pump) collect(ctx context.Context) []events.SQSMessage {
	const envelope = 16 // {"Records":[]}
	var (
		batch []events.SQSMessage
		size  = envelope
		end   time.Time // of the window
	)
	for ctx.Err() == nil {
		p.b.mu.Lock()
		more, grown, full := p.queue.take(p.source.BatchSize-len(batch), size, MaxEvent)
		if len(batch) == 0 && len(more) > 0 {
			p.active++
			end = time.Now().Add(p.source.Window)
		}
		batch, size = append(batch, more...), grown
		if len(batch) > 0 && (full || len(batch) == p.source.BatchSize || !time.Now().Before(end)) {
			p.b.mu.Unlock()
			return batch
		}
		changed, at := p.b.wait(), end
		if len(p.queue.waiting) > 0 {
			if next := p.queue.waiting[0].visibleAt; at.IsZero() || next.Before(at) {
				at = next
			}
		}
		p.b.mu.Unlock()
		await(ctx, changed, at)
	}
	if len(batch) > 0 {
		p.b.mu.Lock()
		defer p.b.mu.Unlock()
		p.giveBack(batch)
		p.active--
		p.b.notify()
	}
	return nil
}

// await returns when changed is closed, at a time (never if zero), or when ctx ends.
func await(ctx context.Context, changed <-chan struct{}, at time.Time) {
	var timer <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-ctx.Done():
	}
}

// giveBack makes messages that no function has seen visible again. mu is held.
func (p *Pump) giveBack(batch []events.SQSMessage) {
	for _, m := range batch {
		if taken, latest, err := p.queue.received(m.ReceiptHandle); err == nil && latest {
			p.queue.until(taken, time.Now())
		}
	}
}

// work hands a batch to the function and deletes what it has done.
func (p *Pump) work(ctx context.Context, batch []events.SQSMessage, running *sync.WaitGroup) {
	start := time.Now()
	failed, err := p.call(ctx, batch, running)
	attrs := []slog.Attr{
		slog.String("queue", p.queue.def.ID),
		slog.String("function", p.function.Name),
		slog.Int("records", len(batch)),
	}

	p.b.mu.Lock()
	left := 0
	for i, m := range batch {
		if err != nil || failed[i] {
			left++
			continue
		}
		if err := p.queue.delete(m.ReceiptHandle); err != nil {
			left++
			attrs = append(attrs, slog.String("undeleted", err.Error()))
		}
	}
	p.b.mu.Unlock()

	level := slog.LevelInfo
	if left > 0 {
		level = slog.LevelWarn
	}
	attrs = append(attrs, slog.Int("left", left), slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000))
	if err != nil {
		attrs = append(attrs, slog.String("cause", err.Error()))
	}
	p.log.LogAttrs(ctx, level, "batch", attrs...)

	// Last of all, so that after Drain the line is there too.
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.active--
	p.b.notify()
}

// call returns for each message whether it failed; with an error all have.
func (p *Pump) call(ctx context.Context, batch []events.SQSMessage, running *sync.WaitGroup) ([]bool, error) {
	var payload bytes.Buffer
	enc := json.NewEncoder(&payload)
	enc.SetEscapeHTML(false) // escapes would count towards the limit
	if err := enc.Encode(events.SQSEvent{Records: batch}); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	out, err := p.run(ctx, payload.Bytes(), running)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.function.Name, err)
	}
	failed := make([]bool, len(batch))
	if !p.source.PartialBatch {
		return failed, nil
	}
	ids, err := failures(out)
	if err != nil {
		return nil, fmt.Errorf("%s: malformed batch response: %w", p.function.Name, err)
	}
	for _, id := range ids {
		known := false
		for i, m := range batch {
			if m.MessageId == id {
				failed[i], known = true, true
			}
		}
		if !known {
			return nil, fmt.Errorf("%s: malformed batch response: %q is not in the batch", p.function.Name, id)
		}
	}
	if first := slices.Index(failed, true); p.queue.def.FIFO && first >= 0 {
		if slices.Contains(failed[first:], false) {
			// Lambda leaves this to functions: it would delete these, and their
			// group would go on without the one that failed.
			p.log.LogAttrs(ctx, slog.LevelWarn, "a FIFO batch response must name every message from the first failure on; kept them",
				slog.String("function", p.function.Name))
		}
		for i := first; i < len(failed); i++ {
			failed[i] = true
		}
	}
	return failed, nil
}

// run invokes the function under its time-out. One that does not return in time
// is left behind, counted in running.
func (p *Pump) run(parent context.Context, payload []byte, running *sync.WaitGroup) ([]byte, error) {
	return invocation.Start(parent, p.function, newID(), p.invoke, payload, running.Go).Wait(nil)
}

// failures reads a partial batch response: the message ids that failed. As in the
// service nothing, null and an object without the list mean that none has; an
// entry without a proper id makes the whole answer malformed.
func failures(out []byte) ([]string, error) {
	out = bytes.TrimSpace(out)
	if len(out) == 0 {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(out, &members); err != nil {
		return nil, errors.New("not a JSON object")
	}
	raw, ok := members["batchItemFailures"]
	if !ok {
		return nil, nil
	}
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, errors.New("batchItemFailures is not a list of objects")
	}
	ids := make([]string, 0, len(items))
	for i, item := range items {
		var id string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil || id == "" {
			return nil, fmt.Errorf("batchItemFailures[%d] has no itemIdentifier", i)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
