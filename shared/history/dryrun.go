package history

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sitoo-rule/shared/order"
)

// askAtOnce is how many orders a dry run asks the ledger for at once.
const askAtOnce = 16

// there takes from what was found the orders that the ledger has in Rule, or on
// their way there, whoever brought them: what a dry run says it would write is
// what is missing. What is asked for by number is looked for in Rule by the
// writer, and stays.
func (r *run) there(ctx context.Context, f *found) error {
	if len(r.job.Orders) > 0 {
		return nil
	}
	states := make([]order.State, len(f.orders))
	errs := make([]error, len(f.orders))
	slots := make(chan struct{}, askAtOnce)
	var wg sync.WaitGroup
	for i, o := range f.orders {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			rec, known, err := r.Ledger.Get(ctx, order.Key{Account: r.job.Account, Order: o.id})
			if errs[i] = err; known {
				states[i] = rec.State
			}
		})
	}
	wg.Wait()
	var left []dated
	for i, o := range f.orders {
		if errs[i] != nil {
			return fmt.Errorf("read ledger: %w", errs[i])
		}
		m := f.months[o.month]
		switch states[i] {
		case order.Sent:
			f.already++
			m.Written++
		case order.Queued, order.Working, order.Waiting:
			f.skipped[OnItsWay]++
			m.Skipped++
		default:
			left = append(left, o)
		}
		f.months[o.month] = m
	}
	f.orders = slices.Clip(left)
	return nil
}
