package bonus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

const (
	// lease is how long one process may write Rule's copy. It is longer than a
	// till's call or a worker's sync lasts, so that a holder whose lease is over
	// is dead.
	lease = time.Minute
	// syncAfter is when the message comes that completes Rule's copy, should the
	// process that used a check die: after its lease.
	syncAfter = 90 * time.Second
	// syncPatience is how long a till waits for Rule's copy, which the message
	// completes as well.
	syncPatience = 2 * time.Second
	// rounds bounds how often a decision is made anew because somebody else's
	// came first. Each round means that somebody got somewhere.
	rounds = 50
)

// Service redeems, restores and keeps Rule's copy. It is safe for concurrent
// use.
type Service struct {
	Store Store
	// Syncs takes the delayed messages that complete Rule's copy: see Sync.
	Syncs worker.Sender
	Log   *slog.Logger
	Now   func() time.Time
	// NewID returns an id that no other process uses, for leases.
	NewID func() string
}

// Message is what is queued to complete Rule's copy.
type Message struct {
	Account    string `json:"account"`
	Subscriber int64  `json:"subscriber"`
	Request    string `json:"request"` // id of the request it is about
}

// DecodeMessage reads a queued message; fault.Invalid if it cannot be read.
func DecodeMessage(body string) (Message, error) {
	var m Message
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return Message{}, fault.Wrap(fault.Invalid, err, "The message is not the JSON that is queued for Rule's copy of bonus checks.")
	}
	if m.Account == "" {
		return Message{}, fault.Bad("account", "is missing, the account id is expected")
	}
	if m.Subscriber <= 0 {
		return Message{}, fault.Bad("subscriber", "is missing, Rule's numeric subscriber id is expected")
	}
	return m, nil
}

// Fields are the json fields as Rule holds them.
type Fields struct{ Checks, Promotions json.RawMessage }

func (f Fields) of(k Kind) json.RawMessage {
	if k == Promotion {
		return f.Promotions
	}
	return f.Checks
}

func fields(v rule.Values) Fields {
	g := v[customer.ContactGroup]
	return Fields{Checks: g[Check.field()].JSON(), Promotions: g[Promotion.field()].JSON()}
}

// kinds are all kinds, in the order in which a card has them.
var kinds = []Kind{Check, Promotion}

// copies is what Rule shows, as read at a revision of the book.
type copies struct {
	lists map[Kind]List // those that can be read
	rev   int64
}

// read reads Rule's copy. A field that cannot be read is not in it, and is
// never rewritten.
func (s *Service) read(ctx context.Context, r *rule.Session, k Key, rev int64) (copies, error) {
	values, err := r.Fields(ctx, k.Subscriber, customer.ContactGroup)
	if err != nil {
		return copies{}, err
	}
	c := copies{lists: map[Kind]List{}, rev: rev}
	f := fields(values)
	for _, kind := range kinds {
		l, err := Parse(kind, f.of(kind))
		if err != nil {
			s.Log.WarnContext(ctx, "field in Rule cannot be read, and is left as it is", "field", kind.field(), "account", k.Account, "subscriber", k.Subscriber, "error", err)
			continue
		}
		c.lists[kind] = l
	}
	return c, nil
}

// Card returns what a customer can use now. fields must have been read from
// Rule before the call, so that the book is not older than they are: what comes
// back is then how things stood at one moment. If the book cannot be read
// nothing is shown, since what is shown can be used.
func (s *Service) Card(ctx context.Context, k Key, f Fields) (checks, promotions []Shown) {
	lists := map[Kind]List{}
	n := 0
	for _, kind := range kinds {
		l, err := Parse(kind, f.of(kind))
		if err != nil {
			s.Log.WarnContext(ctx, "field left out of the card: not in the expected format", "field", kind.field(), "subscriber", k.Subscriber, "error", err)
		}
		lists[kind] = l
		n += l.Len()
	}
	if n == 0 {
		return nil, nil
	}
	b, err := s.Store.Get(ctx, k)
	if err != nil {
		s.Log.ErrorContext(ctx, "the book of bonus checks does not answer; the card shows none", "subscriber", k.Subscriber, "error", err)
		return nil, nil
	}
	var out [2][]Shown
	for i, kind := range kinds {
		var left map[string]int
		out[i], left = Card(lists[kind], b, s.Now())
		for why, count := range left {
			level := slog.LevelWarn
			if ordinary[why] {
				level = slog.LevelInfo
			}
			s.Log.Log(ctx, level, "left out of the card", "field", kind.field(), "why", why, "count", count, "subscriber", k.Subscriber)
		}
	}
	return out[0], out[1]
}

// Redeem uses a check or promotion, once. What the book says when it returns is
// final; Rule's copy follows, at the latest by Sync. It may be repeated with
// the same order.
func (s *Service) Redeem(ctx context.Context, r *rule.Session, k Key, in Request, request string) (Answer, error) {
	var a Answer
	err := s.decide(ctx, r, k, request, func(b *Book, c copies) (changed bool, err error) {
		o, listed, readable := c.find(in.Kind, in.ID)
		if !readable {
			return false, fault.Say(fault.Conflict, "checks_unreadable", "name", customer.ContactGroup+"."+in.Kind.field())
		}
		a, changed, err = b.Redeem(o, listed, in, s.Now())
		return changed, err
	})
	return a, err
}

// Restore takes a use back. It may be repeated.
func (s *Service) Restore(ctx context.Context, r *rule.Session, k Key, in Request, request string) (Answer, error) {
	var a Answer
	err := s.decide(ctx, r, k, request, func(b *Book, c copies) (changed bool, err error) {
		o, listed, _ := c.find(in.Kind, in.ID)
		a, changed, err = b.Restore(o, listed, in, s.Now())
		return changed, err
	})
	return a, err
}

// Prove notes that an order used checks. It may be repeated. A customer who is
// not in Rule any more has nothing to keep count of.
func (s *Service) Prove(ctx context.Context, r *rule.Session, k Key, proofs []Proof, request string) error {
	b, err := s.Store.Get(ctx, k)
	if err != nil {
		return fmt.Errorf("read book: %w", err)
	}
	if b.proved(proofs) {
		return nil // an order that comes again costs no request to Rule
	}
	err = s.decide(ctx, r, k, request, func(b *Book, c copies) (any bool, _ error) {
		for _, p := range proofs {
			o, listed, _ := c.find(p.Kind, p.ID)
			changed, short, err := b.Prove(o, listed, p)
			if err != nil {
				return false, err
			}
			if told, differs := b.differs(p); changed && differs {
				s.Log.WarnContext(ctx, "the till and the order differ on what was used of a bonus check; the till's word counts", "account", k.Account, "subscriber", k.Subscriber, "order", p.Order, "till", told.StringFixed(2), "discount", p.Amount.StringFixed(2))
			}
			if short.IsPositive() {
				s.Log.ErrorContext(ctx, "an order was discounted with more than was left of the bonus check", "account", k.Account, "subscriber", k.Subscriber, "order", p.Order, "kind", p.Kind, "beyond", short.StringFixed(2))
			}
			if !listed && changed {
				s.Log.WarnContext(ctx, "an order used a bonus check that Rule does not list", "account", k.Account, "subscriber", k.Subscriber, "order", p.Order, "kind", p.Kind)
			}
			any = any || changed
		}
		return any, nil
	})
	if err != nil && fault.KindOf(err) == fault.NotFound {
		s.Log.WarnContext(ctx, "an order used a bonus check of a customer who is not in Rule", "account", k.Account, "subscriber", k.Subscriber)
		return nil
	}
	return err
}

// Return gives back what an order had used; early says that the order is still
// on its way, and may yet prove what it used. It may be repeated, and costs
// nothing in Rule if there is nothing to give back.
func (s *Service) Return(ctx context.Context, r *rule.Session, k Key, g GivesBack, early bool, request string) error {
	back := (*Book).Return
	if early {
		back = (*Book).Expect
	}
	b, err := s.Store.Get(ctx, k)
	if err != nil {
		return fmt.Errorf("read book: %w", err)
	}
	if !back(&b, g) {
		return nil
	}
	err = s.decide(ctx, r, k, request, func(b *Book, _ copies) (bool, error) { return back(b, g), nil })
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil // deleted in Rule: there is nobody to give it back to
	}
	return err
}

// find returns an offer. readable is false if its field is not a JSON array.
func (c copies) find(k Kind, id string) (o Offer, listed, readable bool) {
	l, readable := c.lists[k]
	o, listed = l.Find(id)
	return o, listed, readable
}

// decide changes a book by a decision, which is made anew when somebody else
// has changed the book meanwhile. Before anything is stored, a message is on
// its way that completes Rule's copy should this process die.
func (s *Service) decide(ctx context.Context, r *rule.Session, k Key, request string, decision func(*Book, copies) (changed bool, err error)) error {
	holder := s.NewID()
	var c copies
	queued := false
	for range rounds {
		b, err := s.Store.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read book: %w", err)
		}
		// Rule's copy is read after the book, and written only by whoever could
		// store the book unchanged since: nobody has written the copy in between.
		free := b.free(s.Now())
		if c.lists == nil || free && c.rev != b.Rev {
			if c, err = s.read(ctx, r, k, b.Rev); err != nil {
				if fault.KindOf(err) == fault.NotFound {
					return fault.Say(fault.NotFound, "contact_unknown").With(err)
				}
				return unread(err)
			}
		}
		rev := b.Rev
		changed, err := decision(&b, c)
		if err != nil {
			// Rule's copy may show already what this book does not: the same order,
			// say, at work in two processes. A refusal must be by the latest book.
			if now, gerr := s.Store.Get(ctx, k); gerr == nil && now.Rev != rev {
				continue
			}
		}
		if err != nil || !changed {
			return err
		}
		if !queued {
			if err := s.queue(ctx, k, request); err != nil {
				return err
			}
			queued = true
		}
		if free {
			b.adopt(c)
			b.hold(holder, s.Now().Add(lease))
		}
		if err := s.Store.Put(ctx, k, b); errors.Is(err, ErrChanged) {
			continue
		} else if err != nil {
			return fmt.Errorf("write book: %w", err)
		}
		b.Rev++
		if free {
			// The decision stands; what is left to do is done by the message, too.
			follow, cancel := context.WithTimeout(ctx, syncPatience)
			defer cancel()
			if err := s.follow(follow, r, k, b, c); err != nil {
				s.Log.WarnContext(ctx, "Rule's copy of the bonus checks is not written yet", "account", k.Account, "subscriber", k.Subscriber, "error", err)
			}
		}
		return nil
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the book kept changing")}
}

// unread makes a refusal to tell what a customer has something that passes: it
// says nothing about what is asked for.
func unread(err error) error {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.TooLarge:
		return &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	return err
}

func (s *Service) queue(ctx context.Context, k Key, request string) error {
	body, err := json.Marshal(Message{k.Account, k.Subscriber, request})
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if err := s.Syncs.Send(ctx, worker.Message{Body: string(body), Group: k.Account, Delay: syncAfter}); err != nil {
		return fault.Say(fault.Unavailable, "nothing_changed").With(err)
	}
	return nil
}

// free reports whether nobody is writing Rule's copy.
func (b *Book) free(now time.Time) bool { return b.Holder == "" || !now.Before(b.Until) }

func (b *Book) hold(holder string, until time.Time) { b.Holder, b.Until = holder, until }

func (b *Book) release() { b.Holder, b.Until = "", time.Time{} }

// adopt is Adopt for every list that could be read.
func (b *Book) adopt(c copies) {
	for _, l := range c.lists {
		b.Adopt(l)
	}
}

// proved reports whether all proofs are in the book already.
func (b *Book) proved(proofs []Proof) bool {
	for _, p := range proofs {
		if e := b.entry(p.Kind, p.ID); e == nil || e.of(p.Order) == nil || !e.of(p.Order).Proved {
			return false
		}
	}
	return true
}

// follow writes Rule's copy as the book has it, and lets go of the lease that b
// holds. Whoever changes the book meanwhile leaves the copy to us.
func (s *Service) follow(ctx context.Context, r *rule.Session, k Key, b Book, c copies) error {
	holder := b.Holder
	for range rounds {
		version := b.Version
		if err := s.write(ctx, r, k, b, c); err != nil {
			if !rule.Uncertain(err) {
				b.release()
				err = errors.Join(err, ignore(s.Store.Put(ctx, k, b), ErrChanged))
			}
			// Otherwise the write may still arrive at Rule: the lease goes on
			// until it certainly has, or has not.
			return err
		}
		b.Synced = version
		b.release()
		err := s.Store.Put(ctx, k, b)
		if !errors.Is(err, ErrChanged) {
			return err
		}
		if b, err = s.Store.Get(ctx, k); err != nil {
			return err
		}
		if b.Holder != holder || b.free(s.Now()) {
			return nil // taken too long: somebody else sees to it
		}
	}
	return errors.New("the book kept changing")
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// write brings Rule's copy to what the book says, in one request or none. c is
// what Rule shows, before and after.
func (s *Service) write(ctx context.Context, r *rule.Session, k Key, b Book, c copies) error {
	var change []rule.Field
	for _, kind := range kinds {
		l, ok := c.lists[kind]
		if !ok {
			continue
		}
		out, changed := l.With(b)
		if !changed {
			continue
		}
		f, err := out.field()
		if err != nil {
			return err
		}
		change = append(change, f)
		c.lists[kind] = out
	}
	if len(change) == 0 {
		return nil
	}
	_, err := r.Update(ctx, k.Subscriber, rule.Change{Fields: change})
	return err
}

// field returns the list as a field for Rule.
func (l List) field() (rule.Field, error) {
	raw, err := l.MarshalJSON()
	if err != nil {
		return rule.Field{}, fmt.Errorf("encode %s: %w", l.kind.field(), err)
	}
	return rule.Field{Group: customer.ContactGroup, Name: l.kind.field(), Type: rule.JSON, Value: json.RawMessage(raw)}, nil
}

// Sync completes Rule's copy, if whoever used a check did not. It may be
// repeated. fault.Busy, with a time, while somebody else is at it.
func (s *Service) Sync(ctx context.Context, r *rule.Session, k Key) error {
	holder := s.NewID()
	for range rounds {
		b, err := s.Store.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read book: %w", err)
		}
		if b.Version == b.Synced {
			return nil
		}
		if !b.free(s.Now()) {
			return &fault.Error{Kind: fault.Busy, Message: "Another process is writing Rule's copy.", RetryAt: b.Until}
		}
		c, err := s.read(ctx, r, k, b.Rev)
		if err != nil {
			if fault.KindOf(err) == fault.NotFound {
				return nil // deleted in Rule, and the copy with it
			}
			return err
		}
		b.adopt(c)
		b.hold(holder, s.Now().Add(lease))
		if err := s.Store.Put(ctx, k, b); errors.Is(err, ErrChanged) {
			continue
		} else if err != nil {
			return fmt.Errorf("write book: %w", err)
		}
		b.Rev++
		return s.follow(ctx, r, k, b, c)
	}
	return &fault.Error{Kind: fault.Unavailable, Err: errors.New("the book kept changing")}
}
