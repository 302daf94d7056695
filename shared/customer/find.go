package customer

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"sync"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Find returns the customer with exactly this email address or phone number;
// ok is false if there is none. A miss costs one request to Rule and a hit two,
// the second sent only after the first has found somebody, or beside it when
// the key has been found here before.
func (s *Service) Find(ctx context.Context, r *rule.Session, a account.Account, key string) (c Contact, ok bool, err error) {
	k := ParseKey(key, s.phonesOf(a))
	if k.Zero() {
		return Contact{}, false, nil
	}
	who := k.Identifier()
	id := s.found.id(a.ID, k)
	sub, values, err := s.both(ctx, r, who, id)
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.NotFound, kind == fault.Invalid: // what Rule cannot read names nobody there
		s.found.forget(a.ID, k)
		return Contact{}, false, nil
	default:
		return Contact{}, false, err
	}
	s.found.add(a.ID, k, sub.ID)
	return s.card(ctx, sub, values), true, nil
}

// Get returns the customer with an id, at the cost of two requests sent at the
// same time; fault.NotFound if there is none.
func (s *Service) Get(ctx context.Context, r *rule.Session, id int64) (Contact, error) {
	sub, values, err := s.both(ctx, r, rule.ByID(id), id)
	if err != nil {
		return Contact{}, unknown(err)
	}
	return s.card(ctx, sub, values), nil
}

// unknown gives an error about a customer's id its sentence.
func unknown(err error) error {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return fault.Say(fault.NotFound, "contact_unknown").With(err)
	}
	return err
}

// card is what a till shows. Who has no member number in Rule shows the contact id
// as one, since Sitoo prints it on the receipt; it is not written, see changed.
func (s *Service) card(ctx context.Context, sub rule.Subscriber, values rule.Values) Contact {
	c, bad := contactOf(sub, values, s.Phones, s.Now())
	for _, d := range bad {
		s.Log.WarnContext(ctx, "field left out of the card: not in the expected format", "group", d.Group, "field", d.Field, "subscriber", sub.ID)
	}
	c.Text[MemberNumber] = cmp.Or(c.Text[MemberNumber], strconv.FormatInt(c.ID, 10))
	return c
}

// both reads a subscriber and its fields, which are asked for by id: at the same
// time if the id is known (0: it is not), and once more if it turns out to be
// another one by now.
func (s *Service) both(ctx context.Context, r *rule.Session, who rule.Identifier, id int64) (rule.Subscriber, rule.Values, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var values rule.Values
	var ferr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if id != 0 {
			values, ferr = s.fields(ctx, r, id)
		}
	}()
	var sub rule.Subscriber
	var err error
	if id != 0 {
		sub, err = r.Subscriber(ctx, who)
	} else {
		sub, err = first(ctx, r, who)
	}
	if err != nil && fault.KindOf(err) == fault.Unavailable {
		// Only then: giving up a request costs its connection, and after an
		// answer such as 404 the other one's is a moment away.
		cancel()
	}
	<-done
	if err == nil && sub.ID != id {
		values, ferr = s.fields(ctx, r, sub.ID)
	}
	if err == nil {
		err = ferr
	}
	return sub, values, err
}

// fields reads a subscriber's fields; somebody without any has none. A group in
// a shape that is not known is left out: it must not hide the customer.
func (s *Service) fields(ctx context.Context, r *rule.Session, id int64) (rule.Values, error) {
	v, err := r.Fields(ctx, id, ContactGroup, AddressGroup)
	switch {
	case errors.Is(err, rule.ErrUnread):
		s.Log.WarnContext(ctx, "fields left out of the card: their group is in no known shape", "subscriber", id, "error", err)
		if v == nil {
			v = rule.Values{}
		}
		return v, nil
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return rule.Values{}, nil
	}
	return v, err
}

// Found remembers whom Rule has by a key, for FoundBefore.
func (s *Service) Found(account string, k Key, id int64) { s.found.add(account, k, id) }

// FoundBefore returns whom this process has found by a key, 0 if it has not. It
// is a hint: she may be gone, or have another address by now.
func (s *Service) FoundBefore(account string, k Key) int64 { return s.found.id(account, k) }

// recent remembers the ids of who was found by which key, the keys as hashes
// only: it is a hint that saves a round trip, and being wrong costs one request.
type recent struct {
	mu       sync.Mutex
	now, old map[uint64]int64
}

// maxRecent bounds the memory of recent to a few megabytes.
const maxRecent = 50_000

var seed = maphash.MakeSeed()

func (r *recent) hash(account string, k Key) uint64 {
	return maphash.Comparable(seed, [3]string{account, k.Email, k.Phone})
}

// id returns who was found by a key, 0 if that is not known.
func (r *recent) id(account string, k Key) int64 {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, ok := r.now[h]; ok {
		return id
	}
	return r.old[h]
}

func (r *recent) add(account string, k Key, id int64) {
	if k.Zero() || id == 0 {
		return
	}
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxRecent {
		r.old, r.now = r.now, map[uint64]int64{}
	}
	r.now[h] = id
}

func (r *recent) forget(account string, k Key) {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, h)
	delete(r.old, h)
}
