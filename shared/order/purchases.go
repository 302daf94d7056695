package order

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"sitoo-rule/shared/rule"
)

const (
	// Shown is how many purchases a customer card lists.
	Shown = 20
	// perPage and maxPages bound what is read to find them: Rule does not say
	// in which order entries come, so all are looked at.
	perPage  = 100
	maxPages = 20
	// toShow is kept of the request's time for the answer.
	toShow = 300 * time.Millisecond
)

// Purchases returns a customer's latest orders, newest first. Entries that
// staff have damaged are left out and logged. The purchases of another label than
// the one that asks have it before their number (fi:210334). It costs a request for every
// hundred orders; they are sent side by side, one, then two, then four, so that
// nobody waits for many in a row. A customer with more than two thousand orders is
// cut off there. When the time is up, or Rule fails on the way, what is there by
// then is shown; an error is returned only if that is nothing.
func Purchases(ctx context.Context, r *rule.Session, log *slog.Logger, subscriber int64, label string) ([]Bought, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-toShow))
		defer cancel()
	}
	list := []Bought{}
	seen := map[string]bool{} // an order that comes meanwhile moves others to the next page
	for first, n := 1, 1; first <= maxPages; first, n = first+n, 2*n {
		pages, more, err := entries(ctx, r, subscriber, first, min(n, maxPages+1-first))
		for _, e := range pages {
			if b, ok := boughtOf(e); !ok {
				log.WarnContext(ctx, "order entry left out of the card: its number, date or total is damaged", "subscriber", subscriber, "entry", e.ID)
			} else if e.ID == "" || !seen[e.ID] {
				seen[e.ID] = true
				b.OrderID = shownID(e, label, b.OrderID)
				list = append(list, b)
			}
		}
		if err != nil && len(list) == 0 {
			return nil, err
		}
		if err != nil {
			log.WarnContext(ctx, "purchases are missing from the card: Rule did not answer for all of them in time", "subscriber", subscriber, "read", len(list), "error", err)
			break
		}
		if !more {
			break
		}
		if first+n > maxPages {
			log.WarnContext(ctx, "customer has more order entries than are read", "subscriber", subscriber, "read", maxPages*perPage)
		}
	}
	slices.SortStableFunc(list, func(a, b Bought) int {
		if c := b.Date.Compare(a.Date); c != 0 {
			return c
		}
		return cmp.Or(len(b.OrderID)-len(a.OrderID), strings.Compare(b.OrderID, a.OrderID))
	})
	if len(list) > Shown {
		list = list[:Shown]
	}
	return list, nil
}

// entries reads n pages of entries at the same time, from the first on. more says
// that there are others after them. With an error come those that were read.
func entries(ctx context.Context, r *rule.Session, subscriber int64, first, n int) (all []rule.Entry, more bool, err error) {
	lists, mores, errs := make([][]rule.Entry, n), make([]bool, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { lists[i], mores[i], errs[i] = r.Entries(ctx, subscriber, Group, first+i, perPage) })
	}
	wg.Wait()
	for i := range n {
		if errs[i] != nil && err == nil {
			err = errs[i]
		}
		all = append(all, lists[i]...)
	}
	return all, mores[n-1], err
}
