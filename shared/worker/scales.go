package worker

import (
	"context"
	"slices"
	"sync"

	"sitoo-rule/shared/fault"
)

// scales let so many bytes through at the same moment, in the order in which
// they came: a heavy message is not overtaken by light ones for ever. The zero
// value is empty and ready.
type scales struct {
	mu      sync.Mutex
	on      int // bytes that are being worked
	waiting []*load
}

type load struct {
	weight int
	free   chan struct{} // closed when it may go on
}

func (e *Edge) weight(body string) int {
	if e.Weigh == nil {
		return 0
	}
	return e.Weigh(body)
}

// acquire waits until weight fits beside what is being worked, limit bytes in
// all. What is heavier than that counts as limit. release is never nil and is to
// be called once. fault.Busy if ctx ends first: the message comes again.
func (s *scales) acquire(ctx context.Context, weight, limit int) (release func(), err error) {
	if limit <= 0 || weight <= 0 {
		return func() {}, nil
	}
	l := &load{weight: min(weight, limit), free: make(chan struct{})}
	release = func() { s.release(l, limit) }
	s.mu.Lock()
	s.waiting = append(s.waiting, l)
	s.next(limit)
	s.mu.Unlock()
	select {
	case <-l.free:
		return release, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, l); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.next(limit) // one that was behind it may fit
		release = func() {}
	}
	return release, fault.New(fault.Busy, "Heavier messages of the same batch took all of the worker's time.")
}

func (s *scales) release(l *load, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on -= l.weight
	s.next(limit)
}

// next lets those go on that fit. The lock is held.
func (s *scales) next(limit int) {
	for len(s.waiting) > 0 && s.on+s.waiting[0].weight <= limit {
		s.on += s.waiting[0].weight
		close(s.waiting[0].free)
		s.waiting = s.waiting[1:]
	}
}
