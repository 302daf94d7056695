// Package worker is the queue edge: it gives each message of a batch to a
// process of its own, contains panics, and turns an error into what becomes of
// the message: done, again at a time, or put aside with its reason. It knows
// SQS events; the domain packages do not.
package worker

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/handler"
)

const (
	// margin is kept of the function's time for telling the queue.
	margin = 3 * time.Second
	// firstDelay and lastDelay bound the wait before a message comes again;
	// it doubles with each delivery.
	firstDelay = 15 * time.Second
	lastDelay  = time.Hour
	// unauthorizedDelay: somebody has to see to the key.
	unauthorizedDelay = time.Hour
	// fewWaits and manyWaits are how often a message may be received before it
	// waits for lateWait and lastWait at the least, where it may wait for days: each
	// time counts towards the queue's maximum of receives, 300, which is left for
	// messages that take the process down. 150 times lastWait are 12 days.
	fewWaits, lateWait  = 60, 15 * time.Minute
	manyWaits, lastWait = 150, 2 * time.Hour
	// fewTries is how many tries a message that may wait for days has at least in
	// the face of a defect, however old it is: that takes some hours.
	fewTries = 12
	// maxDelay is what SQS allows.
	maxDelay = 12 * time.Hour
	// maxAge is how old a message may get before it is put aside, whatever the
	// error; the queue's own maximum of receives, which knows no reason, is left
	// for messages that take the process down. maxDefectAge is the same for a
	// defect of ours, which seldom passes by itself.
	maxAge       = 48 * time.Hour
	maxDefectAge = 6 * time.Hour
)

// Delivery is one message as it arrived.
type Delivery struct {
	ID       string // the queue's message id
	Receipt  string
	Body     string
	Receives int    // how many times it has been delivered, this one included
	Attempt  string // unique to this delivery
	Log      *slog.Logger

	note []any
}

// Note adds to the one log line of the delivery. Values are never personal.
func (d *Delivery) Note(args ...any) { d.note = append(d.note, args...) }

// Process handles one message. It must be safe to repeat with the same message.
// Its error's kind decides what becomes of the message: see Edge.
type Process func(ctx context.Context, d *Delivery) error

// Edge is what a worker needs of its queue.
//
//	error's kind                             message
//	none                                     deleted
//	Invalid, TooLarge, Conflict, NotFound    put aside at once, with the reason
//	Busy                                     again at RetryAt, or as Unavailable if that is later
//	Unauthorized                             again in an hour
//	Unavailable                              again, 15 s doubling to an hour
//	Internal, panic                          the same, put aside when 6 hours old
//	any                                      put aside when 48 hours old
//
// An error that says since when it has happened (fault.Since) is as old as that
// says: a message that has waited long for its turn has a fair number of tries.
type Edge struct {
	Queue       Delayer
	DeadLetters Sender
	// Aside, if set, is told of a message that is about to be put aside. If it
	// fails, the message stays, unless the same will fail again each time.
	Aside func(ctx context.Context, d *Delivery, cause error) error
	Log   *slog.Logger
	Now   func() time.Time
	// MaxWait, if set, is for long work, which waits for its turn behind other
	// messages of its own: how old one may get that is Busy, in place of 48
	// hours. It comes again at RetryAt then, or later if that was so very often.
	MaxWait time.Duration
	// Jitter returns a duration from 0 up to n at random, rand.N if nil.
	Jitter func(n time.Duration) time.Duration
	// Weigh, if set, returns how many bytes a message unpacks to. Together those
	// that are worked at the same moment unpack to AtOnce at the most, and one
	// that is heavier is worked alone: a batch is bounded by what fits SQS, which
	// is a tenth and less of what it takes in memory.
	Weigh  func(body string) int
	AtOnce int

	// Begun, if set, tells of messages that took the process down: for a FIFO
	// queue, where one that does so again and again holds up its group.
	Begun Begun

	scales scales
}

// Handler returns the Lambda handler of a worker: partial batches, one
// goroutine for each message.
func (e *Edge) Handler(operation string, process Process) lambda.Handler {
	return handler.Of(func(ctx context.Context, in events.SQSEvent) (events.SQSEventResponse, error) {
		out := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
		work := ctx
		if deadline, ok := ctx.Deadline(); ok {
			var cancel context.CancelFunc
			work, cancel = context.WithDeadline(ctx, deadline.Add(-margin))
			defer cancel()
		}
		done := make([]bool, len(in.Records)) // whatever does not say that it is done comes again
		var wg sync.WaitGroup
		for i, m := range in.Records {
			wg.Go(func() { done[i] = e.one(ctx, work, operation, process, m) })
		}
		wg.Wait()
		for i, m := range in.Records {
			if !done[i] {
				out.BatchItemFailures = append(out.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			}
		}
		return out, nil
	})
}

// one handles a message and reports whether it is done with.
func (e *Edge) one(ctx, work context.Context, operation string, process Process, m events.SQSMessage) (done bool) {
	start := time.Now()
	receives, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	if err != nil {
		receives = 1
	}
	log := e.Log.With("operation", operation, "message", m.MessageId)
	d := &Delivery{ID: m.MessageId, Receipt: m.ReceiptHandle, Body: m.Body, Receives: max(receives, 1), Attempt: newAttempt(), Log: log}
	release, err := e.scales.acquire(work, e.weight(d.Body), e.AtOnce)
	defer release()
	if err == nil {
		var end func()
		if end, err = e.begin(ctx, m.Attributes["MessageGroupId"], d); err == nil {
			err = contained(work, process, d)
			end()
		}
	}
	level, decision := slog.LevelInfo, "done"
	var again time.Duration
	if err == nil {
		done = true
	} else if e.aside(err, age(m, e.Now()), d.Receives, e.Now()) {
		level, decision = slog.LevelError, "put aside"
		if done = e.putAside(ctx, m, d, err); !done {
			decision = "again"
		}
	} else {
		level, decision = slog.LevelWarn, "again"
		again = e.delay(err, d.Receives, e.Now())
		if derr := e.Queue.Delay(ctx, d.Receipt, again); derr != nil {
			// The message comes back all the same, after the queue's own
			// visibility timeout.
			log.WarnContext(ctx, "could not set when the message comes again", "error", derr)
		}
	}
	args := []any{"outcome", decision, "duration_ms", time.Since(start).Milliseconds(), "receives", d.Receives}
	if err != nil {
		args = append(args, "kind", fault.KindOf(err).String(), "error", err.Error(), "again_s", int(again.Seconds()))
	}
	log.Log(ctx, level, "done", append(args, d.note...)...)
	return done
}

// newAttempt returns a random id: no two deliveries share one, not even of one
// message.
func newAttempt() string {
	b := make([]byte, 12)
	_, _ = crand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func contained(ctx context.Context, process Process, d *Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.ErrorContext(ctx, "panic", "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "The message made the worker panic; the log has the stack.")
		}
	}()
	return process(ctx, d)
}

// age is how long ago a message was sent, 0 if it does not say.
func age(m events.SQSMessage, now time.Time) time.Duration {
	ms, err := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)
	if err != nil {
		return 0
	}
	return now.Sub(time.UnixMilli(ms))
}

func (e *Edge) aside(err error, age time.Duration, receives int, now time.Time) bool {
	if at := fault.SinceOf(err); !at.IsZero() && fault.KindOf(err) != fault.Busy && age < cmp.Or(e.MaxWait, maxAge) {
		age = now.Sub(at)
	} else if e.MaxWait > 0 && receives < fewTries && fault.KindOf(err) == fault.Internal {
		return false // a panic, say, of one that has waited for its turn
	}
	switch fault.KindOf(err) {
	case fault.Busy:
		return age >= cmp.Or(e.MaxWait, maxAge)
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		return true
	case fault.Internal:
		return age >= maxDefectAge
	}
	return age >= maxAge
}

// delay is how long to wait for the next delivery, up to a tenth longer at
// random, so that what failed together does not return together.
func (e *Edge) delay(err error, receives int, now time.Time) time.Duration {
	wait := lastDelay
	if receives <= 8 {
		wait = min(firstDelay<<(receives-1), lastDelay)
	}
	switch f := fault.As(err); f.Kind {
	case fault.Busy: // one who says "in a second" each time is not asked each second
		if e.MaxWait > 0 {
			wait = patience(receives)
		}
		wait = max(wait, f.RetryAt.Sub(now))
	case fault.Unauthorized:
		wait = unauthorizedDelay
	}
	jitter := e.Jitter
	if jitter == nil {
		jitter = rand.N[time.Duration]
	}
	return min(wait+jitter(wait/10+1), maxDelay)
}

// patience is how long a message waits at the least that may wait for days.
func patience(receives int) time.Duration {
	switch {
	case receives <= fewWaits:
		return firstDelay
	case receives <= manyWaits:
		return lateWait
	}
	return lastWait
}

// Reason is the attribute of a message that was put aside: why.
const Reason = "reason"

// putAside moves a message to the dead-letter queue with its reason. If it
// cannot be moved, it stays.
func (e *Edge) putAside(ctx context.Context, m events.SQSMessage, d *Delivery, cause error) bool {
	if e.Aside != nil {
		err := contained(ctx, func(ctx context.Context, d *Delivery) error { return e.Aside(ctx, d, cause) }, d)
		switch {
		case err == nil:
		case lasting(err) && (fault.KindOf(err) != fault.Internal || d.Receives >= fewTries):
			// It would fail the next time, too, and on a FIFO queue the shop's
			// other messages would wait behind it for days.
			d.Log.ErrorContext(ctx, "could not note that the message is put aside; it is all the same", "error", err)
		default:
			d.Log.ErrorContext(ctx, "could not note that the message is put aside; it stays on its queue", "error", err)
			return false
		}
	}
	reason := fault.As(cause)
	text := reason.Kind.String()
	if reason.Member != "" {
		text += ": " + reason.Member
	}
	if reason.Message != "" {
		text += ": " + reason.Message
	}
	if reason.Err != nil {
		text += " (" + reason.Err.Error() + ")"
	}
	if len(text) > 1000 {
		text = text[:1000]
	}
	letter := Message{
		Body: m.Body, Group: cmp.Or(m.Attributes["MessageGroupId"], "none"), // one posted by hand may lack it
		// Put aside again because it was not deleted, it is there once; one that a
		// redrive has brought back has a new id.
		Dedup:      m.MessageId,
		Attributes: map[string]string{Reason: printable(text), "source": m.MessageId, "receives": m.Attributes["ApproximateReceiveCount"]},
	}
	err := e.DeadLetters.Send(ctx, letter)
	if err != nil && lasting(err) {
		// What SQS refuses it refuses the next time, too: a message that is as long
		// as SQS takes has no room for attributes. The reason is in the log.
		d.Log.ErrorContext(ctx, "the dead-letter queue refuses the message with its reason; it goes without", "error", err, "reason", text)
		letter.Attributes = nil
		err = e.DeadLetters.Send(ctx, letter)
	}
	if err != nil {
		d.Log.ErrorContext(ctx, "could not put the message aside; it stays on its queue", "error", err)
		return false
	}
	return true
}

// lasting reports whether the same will fail again, however often it is tried.
func lasting(err error) bool {
	switch fault.KindOf(err) {
	case fault.Busy, fault.Unavailable, fault.Unauthorized:
		return false
	}
	return true
}

// printable replaces what SQS does not take in an attribute.
func printable(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		if r < 0x20 || r == 0xFFFD || r == 0xFFFE || r == 0xFFFF {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}
