package fakesitoo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// What Sitoo's Events SPI does with a batch.
const (
	maxEvents = 10 // in one request
	// retriesEnd is how long a batch is sent again, retriesSoon how long every
	// six minutes, ten tries in all; after that it is hourly.
	retriesEnd, retriesSoon = 24 * time.Hour, time.Hour
	eventPatience           = 15 * time.Second
)

// Event is one event of Sitoo's Events SPI, about an order.
type Event struct {
	ID        string    `json:"event_id"` // 32 hex digits
	Type      string    `json:"event_type"`
	Date      int64     `json:"event_date"` // Unix seconds
	AccountID int64     `json:"account_id"`
	Data      EventData `json:"data"`
}

// EventData says what happened to an order; the order itself is read over REST.
type EventData struct {
	EshopID     int64  `json:"eshop_id"`
	OrderID     int64  `json:"order_id"`
	WarehouseID int64  `json:"warehouse_id,omitempty"`
	Type        string `json:"order_event_type"` // add, update, ready-for-pickup, pickup-rejected, email-receipt
	State       string `json:"order_state_changed,omitempty"`
}

// Delivery is what became of one batch of events.
type Delivery struct {
	Events []Event `json:"events"`
	Tries  int     `json:"tries"`
	Status int     `json:"status"` // of the last answer, 0 for none
	// State is waiting, delivered, or dropped: refused for good, or too old.
	State string    `json:"state"`
	Next  time.Time `json:"next"` // of a waiting one

	first time.Time
	again int // how often it is still to be repeated after it was taken
}

// The states of a Delivery.
const (
	EventsWaiting   = "waiting"
	EventsDelivered = "delivered"
	EventsDropped   = "dropped"
)

// outbox holds the events that a shop sends: one batch at a time, in order.
type outbox struct {
	sending sync.Mutex // one request at a time

	mu      sync.Mutex // guards the rest
	waiting []Event
	due     []time.Time // when each may be sent first
	batch   *Delivery   // the one under way; nothing else is sent meanwhile
	done    []Delivery
	more    chan struct{} // has one when something was added
}

// Tell adds an event about an order, to be sent with SPI 2.
func (s *Server) Tell(data EventData) {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	now := s.o.Now()
	b := &s.events
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, Event{ID: hex.EncodeToString(raw), Type: "order", Date: now.Unix(), AccountID: s.o.AccountID, Data: data})
	b.due = append(b.due, now.Add(s.o.EventDelay))
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// Deliveries returns every batch so far, oldest first, the one under way last.
func (s *Server) Deliveries() []Delivery {
	b := &s.events
	b.mu.Lock()
	defer b.mu.Unlock()
	list := append([]Delivery{}, b.done...)
	if b.batch != nil {
		list = append(list, *b.batch)
	}
	return list
}

// SendEvents sends the batch that is due, if there is one, and reports whether
// it sent something and when the next is due, zero if nothing waits. A batch is
// up to ten events; answered 200 it is delivered, and sent EventRepeats times
// more, as Sitoo does at times; 429, 503, 504 and no answer (assumed) keep it,
// alone, for a day; anything else drops it for good.
func (s *Server) SendEvents(ctx context.Context) (sent bool, next time.Time) {
	b := &s.events
	b.sending.Lock()
	defer b.sending.Unlock()
	batch := s.takeBatch()
	if batch == nil {
		return false, s.nextEvents()
	}
	body, err := json.Marshal(batch.Events)
	if err != nil {
		panic("fakesitoo: encode events: " + err.Error()) // numbers and strings always encode
	}
	ctx, cancel := context.WithTimeout(ctx, eventPatience)
	defer cancel()
	said := s.callV2(ctx, http.MethodPost, "/events", body)
	s.settleBatch(said.Status)
	return true, s.nextEvents()
}

// takeBatch returns the batch that is due, nil if there is none.
func (s *Server) takeBatch() *Delivery {
	b := &s.events
	b.mu.Lock()
	defer b.mu.Unlock()
	now := s.o.Now()
	if b.batch == nil {
		n := 0
		for n < min(len(b.due), maxEvents) && !b.due[n].After(now) {
			n++
		}
		if n == 0 {
			return nil
		}
		b.batch = &Delivery{Events: slices.Clone(b.waiting[:n]), State: EventsWaiting, Next: now, first: now, again: s.o.EventRepeats}
		b.waiting, b.due = slices.Delete(b.waiting, 0, n), slices.Delete(b.due, 0, n)
	}
	if b.batch.Next.After(now) {
		return nil
	}
	return b.batch
}

// settleBatch decides what an answer means for the batch under way.
func (s *Server) settleBatch(status int) {
	b := &s.events
	b.mu.Lock()
	defer b.mu.Unlock()
	now, d := s.o.Now(), b.batch
	d.Tries, d.Status = d.Tries+1, status
	switch status {
	case http.StatusOK:
		if d.again > 0 {
			d.again--
			return
		}
		d.State = EventsDelivered
	case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		pause := time.Hour
		if now.Sub(d.first) < retriesSoon {
			pause = 6 * time.Minute
		}
		if s.o.EventPause > 0 {
			pause = s.o.EventPause
		}
		if d.Next = now.Add(pause); d.Next.Sub(d.first) <= retriesEnd {
			return
		}
		d.State = EventsDropped
	default:
		d.State = EventsDropped
	}
	b.done, b.batch = append(b.done, *d), nil
}

// nextEvents is when something is due, zero if nothing waits.
func (s *Server) nextEvents() time.Time {
	b := &s.events
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.batch != nil:
		return b.batch.Next
	case len(b.due) > 0:
		return b.due[0]
	}
	return time.Time{}
}

// RunEvents sends events as they come until ctx ends.
func (s *Server) RunEvents(ctx context.Context) {
	for ctx.Err() == nil {
		sent, next := s.SendEvents(ctx)
		if sent {
			continue
		}
		var due <-chan time.Time // never, if nothing waits
		if !next.IsZero() {
			due = time.After(max(next.Sub(s.o.Now()), time.Millisecond))
		}
		select {
		case <-ctx.Done():
		case <-due:
		case <-s.events.more:
		}
	}
}
