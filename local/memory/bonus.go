package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
)

// maxBook is how many bytes of JSON a Book may be, as in DynamoDB.
const maxBook = 400_000

// Bonus is a bonus.Store. The zero value is empty and ready; it must not be
// copied.
type Bonus struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	books  map[bonus.Key]page
	latest map[bonus.Key]bonus.Latest
}

// page is a Book as it is kept: as JSON, so that what comes back is what comes
// back from DynamoDB and shares nothing with what the caller has.
type page struct {
	rev  int64
	text []byte
}

var _ bonus.Store = (*Bonus)(nil)

// Get returns the customer's book, the zero Book if there is none.
func (s *Bonus) Get(ctx context.Context, k bonus.Key) (bonus.Book, error) {
	var b bonus.Book
	err := s.do(ctx, s.Fail, "Get", func() error {
		p, ok := s.books[k]
		if !ok {
			return nil
		}
		b.Rev = p.rev
		return json.Unmarshal(p.text, &b)
	})
	if err != nil {
		return bonus.Book{}, fmt.Errorf("get book of subscriber %d of account %s: %w", k.Subscriber, k.Account, err)
	}
	return b, nil
}

// Put stores b as revision b.Rev+1, provided that the stored book is at b.Rev;
// otherwise it is bonus.ErrChanged. A book over 400,000 bytes of JSON is
// fault.TooLarge.
func (s *Bonus) Put(ctx context.Context, k bonus.Key, b bonus.Book) error {
	err := s.do(ctx, s.Fail, "Put", func() error {
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		if len(text) > maxBook {
			return fault.New(fault.TooLarge, "The customer has used more bonus checks than can be kept count of.")
		}
		if s.books[k].rev != b.Rev {
			return bonus.ErrChanged
		}
		if s.books == nil {
			s.books = make(map[bonus.Key]page)
		}
		s.books[k] = page{b.Rev + 1, text}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put book of subscriber %d of account %s: %w", k.Subscriber, k.Account, err)
	}
	return nil
}

// Latest notes the day of an order of the customer's and returns the latest that
// was noted, with until when it is unsettled.
func (s *Bonus) Latest(ctx context.Context, k bonus.Key, day string, unsettled time.Time) (latest bonus.Latest, err error) {
	err = s.do(ctx, s.Fail, "Latest", func() error {
		if s.latest == nil {
			s.latest = make(map[bonus.Key]bonus.Latest)
		}
		latest = s.latest[k]
		latest.Day = max(latest.Day, day)
		if !unsettled.IsZero() {
			latest.Unsettled = unsettled.Truncate(time.Millisecond)
		}
		s.latest[k] = latest
		return nil
	})
	if err != nil {
		return bonus.Latest{}, fmt.Errorf("note latest order in book of subscriber %d of account %s: %w", k.Subscriber, k.Account, err)
	}
	return latest, nil
}
