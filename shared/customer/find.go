package customer

import (
	"context"
	"hash/maphash"
	"sync"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Find returns the customer with exactly this email address or phone number;
// ok is false if there is none. A miss costs one request to Rule and a hit two,
// the second sent only after the first has found somebody, or beside it when
// the key has been found here before.
func (s *Service) Find(ctx context.Context, r *rule.Session, account, key string) (c Contact, ok bool, err error) {
	k := ParseKey(key, s.Phones)
	if k.Zero() {
		return Contact{}, false, nil
	}
	who := k.Identifier()
	known := s.found.has(account, k)
	var sub rule.Subscriber
	var values rule.Values
	if known {
		sub, values, err = both(ctx, r, who)
	} else if sub, err = r.Subscriber(ctx, who); err == nil {
		values, err = fields(ctx, r, rule.ByID(sub.ID))
	}
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.NotFound, kind == fault.Invalid: // what Rule cannot read names nobody there
		s.found.forget(account, k)
		return Contact{}, false, nil
	default:
		return Contact{}, false, err
	}
	s.found.add(account, k)
	return s.card(ctx, sub, values), true, nil
}

// Get returns the customer with an id, at the cost of two requests sent at the
// same time; fault.NotFound if there is none.
func (s *Service) Get(ctx context.Context, r *rule.Session, id int64) (Contact, error) {
	sub, values, err := both(ctx, r, rule.ByID(id))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return Contact{}, fault.Wrap(fault.NotFound, err, "There is no customer with that id.")
	}
	if err != nil {
		return Contact{}, err
	}
	return s.card(ctx, sub, values), nil
}

func (s *Service) card(ctx context.Context, sub rule.Subscriber, values rule.Values) Contact {
	c, bad := contactOf(sub, values, s.Phones)
	for _, d := range bad {
		s.Log.WarnContext(ctx, "field left out of the card: not in the expected format", "group", d.Group, "field", d.Field, "subscriber", sub.ID)
	}
	return c
}

// both reads a subscriber and its fields at the same time.
func both(ctx context.Context, r *rule.Session, who rule.Identifier) (rule.Subscriber, rule.Values, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var values rule.Values
	var ferr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		values, ferr = fields(ctx, r, who)
	}()
	sub, err := r.Subscriber(ctx, who)
	if err != nil && fault.KindOf(err) == fault.Unavailable {
		// Only then: giving up a request costs its connection, and after an
		// answer such as 404 the other one's is a moment away.
		cancel()
	}
	<-done
	if err == nil {
		err = ferr
	}
	return sub, values, err
}

// fields reads a subscriber's fields; somebody without any has none.
func fields(ctx context.Context, r *rule.Session, who rule.Identifier) (rule.Values, error) {
	v, err := r.Fields(ctx, who)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return rule.Values{}, nil
	}
	return v, err
}

// recent remembers which keys were found, as hashes only: it is a hint that
// saves a round trip, and being wrong costs one request.
type recent struct {
	mu       sync.Mutex
	now, old map[uint64]struct{}
}

// maxRecent bounds the memory of recent to a few megabytes.
const maxRecent = 50_000

var seed = maphash.MakeSeed()

func (r *recent) hash(account string, k Key) uint64 {
	return maphash.Comparable(seed, [3]string{account, k.Email, k.Phone})
}

func (r *recent) has(account string, k Key) bool {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, a := r.now[h]
	_, b := r.old[h]
	return a || b
}

func (r *recent) add(account string, k Key) {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxRecent {
		r.old, r.now = r.now, map[uint64]struct{}{}
	}
	r.now[h] = struct{}{}
}

func (r *recent) forget(account string, k Key) {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, h)
	delete(r.old, h)
}
