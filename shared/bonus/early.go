package bonus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sitoo-rule/shared/fault"
)

// waiting names the book in which returns of an order are kept that came before
// it: whose it is, is not known yet. No subscriber of Rule's has a number below 0.
func waiting(account string, order int64) Key { return Key{account, -order} }

// Expect keeps a return until the order that it credits comes, which neither
// asks Rule for anything nor needs to know whose it is. scope is whose numbers the
// order's is among. It may be repeated.
func (s *Service) Expect(ctx context.Context, scope string, order int64, g GivesBack) error {
	if order <= 0 {
		return nil // no order has that number
	}
	k := waiting(scope, order)
	for range rounds {
		b, err := s.Store.Get(ctx, k)
		if err != nil {
			return fmt.Errorf("read returns of an order to come: %w", err)
		}
		if !b.Expect(g) {
			return nil
		}
		if err = s.Store.Put(ctx, k, b); err == nil {
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return fmt.Errorf("keep return of an order to come: %w", err)
		}
	}
	return &fault.Error{Kind: fault.Unavailable, Message: "Several returns of one order came at once."}
}

// Expected returns what Expect has kept for an order, none for most.
func (s *Service) Expected(ctx context.Context, scope string, order int64) ([]GivesBack, error) {
	b, err := s.Store.Get(ctx, waiting(scope, order))
	if err != nil {
		return nil, fmt.Errorf("read returns of an order: %w", err)
	}
	return b.Early, nil
}

// LatestOrder notes the day of an order of the customer's, such as 2026-03-02, and
// returns the latest that was noted; "" notes nothing. unsettled is until when a
// call that writes the day may be worked later, zero for one that Rule works when
// it answers. It may be repeated.
func (s *Service) LatestOrder(ctx context.Context, k Key, day string, unsettled time.Time) (Latest, error) {
	return s.Store.Latest(ctx, k, day, unsettled)
}
