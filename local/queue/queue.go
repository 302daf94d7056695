package queue

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/local/template"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

// Limits of the service.
const (
	MaxVisibility = 12 * time.Hour  // from a message's receipt until it is visible again
	DedupWindow   = 5 * time.Minute // for how long a FIFO queue knows a deduplication id
)

// Queue is one queue. It is safe for concurrent use.
type Queue struct {
	b    *Broker
	def  template.Queue
	dead *Queue

	faults  Faults
	all     map[uint64]*message // by sequence number
	groups  map[string]*group   // those with a message that is visible or in flight
	waiting waiting             // messages in flight and delayed
	turn    uint64              // counts turns of groups
	dedup   map[string]time.Time
	dedups  []string // keys of dedup, oldest first
}

var (
	_ worker.Sender  = (*Queue)(nil)
	_ worker.Delayer = (*Queue)(nil)
)

// Error is a refusal by the service.
type Error struct {
	Code    string // the service's, such as InvalidMessageContents
	Message string
}

// Error returns code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode returns the service's code, as the AWS SDK's errors do.
func (e *Error) ErrorCode() string { return e.Code }

// Faults makes a queue fail for a test. Each func may be nil, and is called
// without locks: it may use the queue.
type Faults struct {
	// BeforeSend returns the error with which Send fails, the message not taken.
	BeforeSend func(ctx context.Context, m worker.Message) error
	// AfterSend returns the error with which Send fails although the queue has
	// the message: an answer that got lost.
	AfterSend func(ctx context.Context, m worker.Message) error
	// Duplicate tells whether a standard queue delivers the message twice, under
	// one message id, as it may by its contract.
	Duplicate func(m worker.Message) bool
}

// State says where in its life a message is.
type State string

// The states that SQS counts.
const (
	Visible  State = "visible"
	InFlight State = "in flight" // received, and neither deleted nor visible again
	Delayed  State = "delayed"   // not visible yet for the first time
)

// Message is what Messages tells about a message.
type Message struct {
	ID           string
	Body         string
	Group        string
	Dedup        string
	Attributes   map[string]string
	State        State
	Receives     int       // times received, those before the dead-letter queue too
	Sent         time.Time // first sent, also before the dead-letter queue
	FirstReceive time.Time // zero if never
	VisibleAt    time.Time // when it was or will be visible
	Source       string    // in a dead-letter queue, the logical id of the queue it comes from
}

// Counts are the numbers of messages by state. Unlike the service's they are exact.
type Counts struct {
	Visible, InFlight, Delayed int
}

type message struct {
	id, body, md5         string
	group, dedup          string
	attrs                 map[string]string
	attrsMD5              string
	size                  int // bytes as JSON in an event, rounded up
	seq                   uint64
	sent, enqueued        time.Time // enqueued counts for retention
	visibleAt, receivedAt time.Time
	firstReceive          time.Time
	receives              int
	receivesHere          int // since it came into this queue
	state                 State
	source                *Queue
	index                 int // in waiting
}

// group is the messages of one message group; "" is a group too.
type group struct {
	name     string
	ready    []*message // visible, next first
	inFlight int
	turn     uint64 // when it was served last
}

func newQueue(b *Broker, def template.Queue) *Queue {
	return &Queue{b: b, def: def, all: map[uint64]*message{}, groups: map[string]*group{}, dedup: map[string]time.Time{}}
}

// ID returns the logical id.
func (q *Queue) ID() string { return q.def.ID }

// Name returns the queue's name: the logical id, with .fifo on FIFO queues.
func (q *Queue) Name() string {
	if q.def.FIFO {
		return q.def.ID + ".fifo"
	}
	return q.def.ID
}

// ARN returns what !GetAtt of Arn gives.
func (q *Queue) ARN() string {
	return "arn:" + template.Partition + ":sqs:" + template.Region + ":" + template.AccountID + ":" + q.Name()
}

// URL returns what !Ref gives. Nothing listens there.
func (q *Queue) URL() string {
	return "https://sqs." + template.Region + ".amazonaws.com/" + template.AccountID + "/" + q.Name()
}

// SetFaults replaces what goes wrong; the zero value ends all faults.
func (q *Queue) SetFaults(f Faults) {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	q.faults = f
}

// Send implements worker.Sender as the adapter of SQS does, with the service's
// limits: an *Error in the chain says which one the message breaks, its fault
// kind whose mistake that is. Attributes with an empty value are left out, and so
// is Dedup on a standard queue. A Delay is rounded up to whole seconds; without
// one the queue's own counts. On a FIFO queue a deduplication id that was seen
// in the last five minutes is taken and dropped.
func (q *Queue) Send(ctx context.Context, m worker.Message) error {
	if err := ctx.Err(); err != nil {
		return &fault.Error{Kind: fault.Unavailable, Err: fmt.Errorf("send to %s: %w", q.def.ID, err)}
	}
	m.Attributes = maps.Clone(m.Attributes)
	maps.DeleteFunc(m.Attributes, func(_, value string) bool { return value == "" })
	if !q.def.FIFO {
		m.Dedup = ""
	}
	q.b.mu.Lock()
	faults := q.faults
	q.b.mu.Unlock()
	if faults.BeforeSend != nil {
		if err := faults.BeforeSend(ctx, m); err != nil {
			return fmt.Errorf("send to %s: %w", q.def.ID, err)
		}
	}
	if err := check(q.def, m); err != nil {
		return fmt.Errorf("send to %s: %w", q.def.ID, err)
	}
	copies := 1
	if faults.Duplicate != nil && !q.def.FIFO && faults.Duplicate(m) {
		copies = 2
	}
	q.put(m, copies)
	if faults.AfterSend != nil {
		if err := faults.AfterSend(ctx, m); err != nil {
			return fmt.Errorf("send to %s: %w", q.def.ID, err)
		}
	}
	return nil
}

func (q *Queue) put(in worker.Message, copies int) {
	id, sum := newID(), hexMD5(in.Body)
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	now, delay := time.Now(), q.def.Delay
	if in.Delay > 0 {
		delay = wholeSeconds(in.Delay)
	}
	if q.def.FIFO {
		if in.Dedup == "" {
			in.Dedup = fmt.Sprintf("%x", sha256.Sum256([]byte(in.Body)))
		}
		id := in.Dedup
		if q.def.GroupDedup {
			id = in.Group + " " + id // neither can have a space
		}
		if q.seen(id, now) {
			return
		}
	}
	for range copies {
		m := &message{
			id: id, body: in.Body, md5: sum, group: in.Group, dedup: in.Dedup,
			attrs: in.Attributes, attrsMD5: attributesMD5(in.Attributes), size: eventSize(in),
			seq: q.b.next(), sent: now, enqueued: now, visibleAt: now.Add(delay),
		}
		q.all[m.seq] = m
		if delay > 0 {
			m.state = Delayed
			heap.Push(&q.waiting, m)
		} else {
			q.show(m)
		}
	}
	q.b.notify()
}

// seen tells whether a deduplication id is known, and notes it if not.
func (q *Queue) seen(id string, now time.Time) bool {
	for len(q.dedups) > 0 && !now.Before(q.dedup[q.dedups[0]]) {
		delete(q.dedup, q.dedups[0])
		q.dedups = q.dedups[1:]
	}
	if _, ok := q.dedup[id]; ok {
		return true
	}
	q.dedup[id] = now.Add(DedupWindow)
	q.dedups = append(q.dedups, id)
	return false
}

// Receive takes up to n visible messages without waiting, in the form in which
// Lambda hands them to workers. Each is invisible for the queue's visibility
// timeout. A message that has been received as often as the redrive policy
// allows is moved to the dead-letter queue instead.
func (q *Queue) Receive(n int) []events.SQSMessage {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	out, _, _ := q.take(n, 0, math.MaxInt)
	return out
}

// take receives up to n messages as long as an event that has size bytes stays
// within limit. It returns the event's new size, and whether it stopped because
// of the limit. mu is held.
func (q *Queue) take(n, size, limit int) (out []events.SQSMessage, newSize int, full bool) {
	now := time.Now()
	q.advance(now)
	var g *group
	changed := false
	for len(out) < n {
		// A FIFO group that is begun in this call goes on in it; to others it
		// is blocked by what is in flight.
		if g == nil || !q.def.FIFO || len(g.ready) == 0 {
			if g = q.pick(); g == nil {
				break
			}
		}
		m := g.ready[0]
		switch {
		case q.expired(m, now):
			q.remove(m)
			changed = true
			continue
		case q.dead != nil && m.receivesHere >= q.def.MaxReceives:
			q.remove(m)
			q.dead.adopt(m, q, now)
			changed = true
			continue
		}
		if m.size > limit-size {
			full = true
			break
		}
		q.turn++
		g.turn = q.turn
		g.ready[0] = nil
		g.ready = g.ready[1:]
		g.inFlight++
		m.receives++
		m.receivesHere++
		m.receivedAt, m.visibleAt, m.state = now, now.Add(q.def.Visibility), InFlight
		if m.firstReceive.IsZero() {
			m.firstReceive = now
		}
		heap.Push(&q.waiting, m)
		size += m.size
		out = append(out, q.delivery(m))
	}
	if changed {
		q.b.notify()
	}
	return out, size, full
}

// pick returns the group whose turn it is, nil if no message can be delivered. A
// standard queue serves the group with the least in flight, then the one that
// has waited longest, so that one shop's thousand orders don't hold up another's
// one. A FIFO queue passes over groups with anything in flight.
func (q *Queue) pick() *group {
	var best *group
	for _, g := range q.groups {
		if len(g.ready) == 0 || q.def.FIFO && g.inFlight > 0 {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(g.inFlight, best.inFlight),
			cmp.Compare(g.turn, best.turn),
			cmp.Compare(g.ready[0].seq, best.ready[0].seq),
		) < 0 {
			best = g
		}
	}
	return best
}

// deliverable tells whether take would return anything. mu is held.
func (q *Queue) deliverable(now time.Time) bool {
	q.advance(now)
	return q.pick() != nil
}

// advance shows what has become visible by now.
func (q *Queue) advance(now time.Time) {
	for len(q.waiting) > 0 && !q.waiting[0].visibleAt.After(now) {
		m := q.waiting[0]
		q.leave(m)
		q.show(m)
	}
}

// show makes a message, which is in no list, visible.
func (q *Queue) show(m *message) {
	g := q.groups[m.group]
	if g == nil {
		g = &group{name: m.group, turn: q.turn}
		q.groups[m.group] = g
	}
	m.state = Visible
	if !q.def.FIFO {
		g.ready = append(g.ready, m)
		return
	}
	i, _ := slices.BinarySearchFunc(g.ready, m.seq, func(o *message, seq uint64) int { return cmp.Compare(o.seq, seq) })
	g.ready = slices.Insert(g.ready, i, m)
}

// leave takes a message out of whatever list it is in.
func (q *Queue) leave(m *message) {
	g := q.groups[m.group]
	if m.state == Visible {
		g.ready = slices.DeleteFunc(g.ready, func(o *message) bool { return o == m })
	} else {
		heap.Remove(&q.waiting, m.index)
		if m.state == InFlight {
			g.inFlight--
		}
	}
	if g != nil && len(g.ready) == 0 && g.inFlight == 0 {
		delete(q.groups, g.name)
	}
}

func (q *Queue) remove(m *message) {
	q.leave(m)
	delete(q.all, m.seq)
}

// adopt takes a message that another queue could not get done. Its id, its first
// sending and its count of receives stay.
func (q *Queue) adopt(m *message, from *Queue, now time.Time) {
	m.source, m.seq, m.visibleAt, m.receivesHere = from, q.b.next(), now, 0
	if q.def.FIFO {
		// Retention starts anew in a FIFO dead-letter queue, not in a standard one.
		m.enqueued = now
	}
	q.all[m.seq] = m
	q.show(m)
}

func (q *Queue) expired(m *message, now time.Time) bool {
	return !now.Before(m.enqueued.Add(q.def.Retention))
}

func (q *Queue) delivery(m *message) events.SQSMessage {
	attributes := map[string]string{
		"ApproximateReceiveCount":          strconv.Itoa(m.receives),
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"SenderId":                         template.AccountID,
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.firstReceive.UnixMilli(), 10),
	}
	if m.group != "" {
		attributes["MessageGroupId"] = m.group
	}
	if q.def.FIFO {
		attributes["MessageDeduplicationId"] = m.dedup
		attributes["SequenceNumber"] = fmt.Sprintf("%020d", m.seq)
	}
	if m.source != nil {
		attributes["DeadLetterQueueSourceArn"] = m.source.ARN()
	}
	own := make(map[string]events.SQSMessageAttribute, len(m.attrs))
	for name, value := range m.attrs {
		own[name] = events.SQSMessageAttribute{StringValue: &value, StringListValues: []string{}, BinaryListValues: [][]byte{}, DataType: "String"}
	}
	return events.SQSMessage{
		MessageId:              m.id,
		ReceiptHandle:          q.receipt(m),
		Body:                   m.body,
		Md5OfBody:              m.md5,
		Md5OfMessageAttributes: m.attrsMD5,
		Attributes:             attributes,
		MessageAttributes:      own,
		EventSourceARN:         q.ARN(),
		EventSource:            "aws:sqs",
		AWSRegion:              template.Region,
	}
}

// receipt makes the handle of a message's latest delivery.
func (q *Queue) receipt(m *message) string {
	return base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "%s/%d/%d", q.def.ID, m.seq, m.receives))
}

// received returns the message of a receipt handle, nil if it is not in the queue
// any more, and whether the handle is its latest delivery's.
func (q *Queue) received(receipt string) (m *message, latest bool, err error) {
	invalid := &Error{"ReceiptHandleIsInvalid", "the receipt handle is not one of this queue"}
	raw, err := base64.URLEncoding.DecodeString(receipt)
	if err != nil {
		return nil, false, invalid
	}
	parts := strings.Split(string(raw), "/")
	if len(parts) != 3 || parts[0] != q.def.ID {
		return nil, false, invalid
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return nil, false, invalid
	}
	m = q.all[seq]
	return m, m != nil && q.receipt(m) == receipt, nil
}

// Delete removes a received message. A standard queue ignores a handle that is
// not the latest delivery's, the least that the service promises; a FIFO queue
// refuses one whose visibility timeout is over. Deleting twice is no error.
func (q *Queue) Delete(receipt string) error {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	return q.delete(receipt)
}

func (q *Queue) delete(receipt string) error {
	q.advance(time.Now())
	m, latest, err := q.received(receipt)
	switch {
	case err != nil:
		return fmt.Errorf("delete from %s: %w", q.def.ID, err)
	case m == nil:
		return nil
	case q.def.FIFO && (!latest || m.state != InFlight):
		return fmt.Errorf("delete from %s: %w", q.def.ID, &Error{"InvalidParameterValue", "the receipt handle has expired"})
	case latest:
		q.remove(m)
		q.b.notify()
	}
	return nil
}

// Delay implements worker.Delayer as the adapter of SQS does: the message is
// visible again in delay from now, whole seconds rounded up, held between 0 and
// what is left of the 12 hours since it was received. The error has an *Error in
// its chain if the message is not in flight any more. Delay may be repeated.
func (q *Queue) Delay(ctx context.Context, receipt string, delay time.Duration) error {
	if err := ctx.Err(); err != nil {
		return &fault.Error{Kind: fault.Unavailable, Err: fmt.Errorf("delay a message of %s: %w", q.def.ID, err)}
	}
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	if err := q.delay(receipt, min(max(delay, 0), MaxVisibility)); err != nil {
		return &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("delay a message of %s: %w", q.def.ID, err)}
	}
	return nil
}

func (q *Queue) delay(receipt string, delay time.Duration) error {
	delay = wholeSeconds(delay)
	now := time.Now()
	q.advance(now)
	m, latest, err := q.received(receipt)
	switch {
	case err != nil:
		return err
	case latest && m.state == Visible && delay == 0:
		return nil // as it was asked to be
	case !latest || m.state != InFlight:
		return &Error{"MessageNotInflight", "the message is not in flight under this receipt handle"}
	}
	at := now.Add(delay)
	if most := m.receivedAt.Add(MaxVisibility); at.After(most) {
		at = most
	}
	q.until(m, at)
	return nil
}

// wholeSeconds rounds a delay up, as the adapter of SQS does.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// until changes when a waiting message becomes visible.
func (q *Queue) until(m *message, at time.Time) {
	m.visibleAt = at
	heap.Fix(&q.waiting, m.index)
	q.b.notify()
}

// Redeliver makes those messages that match visible now, whether delayed or in
// flight, and returns how many. What is in flight is then delivered a second time
// although its first delivery may still be worked on, as happens when a worker
// is slower than the visibility timeout. match must not use the queue.
func (q *Queue) Redeliver(match func(Message) bool) int {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	now := time.Now()
	q.advance(now)
	n := 0
	for _, m := range slices.Clone(q.waiting) {
		if match(q.inspect(m)) {
			q.until(m, now)
			n++
		}
	}
	return n
}

// Messages returns what is in the queue, in the order of sending; in a
// dead-letter queue, of arriving there.
func (q *Queue) Messages() []Message {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	q.sweep()
	out := make([]Message, 0, len(q.all))
	for _, seq := range slices.Sorted(maps.Keys(q.all)) {
		out = append(out, q.inspect(q.all[seq]))
	}
	return out
}

// Counts returns how many messages are in the queue.
func (q *Queue) Counts() Counts {
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	q.sweep()
	var c Counts
	for _, m := range q.all {
		switch m.state {
		case Visible:
			c.Visible++
		case InFlight:
			c.InFlight++
		case Delayed:
			c.Delayed++
		}
	}
	return c
}

// sweep drops what is past retention.
func (q *Queue) sweep() {
	now := time.Now()
	q.advance(now)
	for _, m := range q.all {
		if q.expired(m, now) {
			q.remove(m)
		}
	}
}

func (q *Queue) inspect(m *message) Message {
	out := Message{
		ID: m.id, Body: m.body, Group: m.group, Dedup: m.dedup, Attributes: maps.Clone(m.attrs), State: m.state,
		Receives: m.receives, Sent: m.sent, FirstReceive: m.firstReceive, VisibleAt: m.visibleAt,
	}
	if m.source != nil {
		out.Source = m.source.def.ID
	}
	return out
}

// waiting is a heap by the time of becoming visible, then by sequence.
type waiting []*message

func (w waiting) Len() int { return len(w) }

func (w waiting) Less(i, j int) bool {
	return cmp.Or(w[i].visibleAt.Compare(w[j].visibleAt), cmp.Compare(w[i].seq, w[j].seq)) < 0
}

func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	m, ok := x.(*message)
	if !ok {
		return // container/heap passes on only what this package gives it
	}
	m.index = len(*w)
	*w = append(*w, m)
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	old := *w
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return m
}
