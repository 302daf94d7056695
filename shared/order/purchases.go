package order

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"

	"sitoo-rule/shared/rule"
)

const (
	// Shown is how many purchases a customer card lists.
	Shown = 20
	// perPage and maxPages bound what is read to find them: Rule does not say
	// in which order entries come, so all are looked at.
	perPage  = 50
	maxPages = 20
)

// Purchases returns a customer's latest orders, newest first. Entries that
// staff have damaged are left out and logged. The purchases of another label than
// the one that asks have it before their number (fi:210334). It costs one request for every
// fifty orders; a customer with more than a thousand is cut off there.
func Purchases(ctx context.Context, r *rule.Session, log *slog.Logger, subscriber int64, label string) ([]Bought, error) {
	list := []Bought{}
	for page := 1; page <= maxPages; page++ {
		entries, more, err := r.Entries(ctx, subscriber, Group, page, perPage)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if b, ok := boughtOf(e); ok {
				b.OrderID = shownID(e, label, b.OrderID)
				list = append(list, b)
			} else {
				log.WarnContext(ctx, "order entry left out of the card: its number, date or total is damaged", "subscriber", subscriber, "entry", e.ID)
			}
		}
		if !more {
			break
		}
		if page == maxPages {
			log.WarnContext(ctx, "customer has more order entries than are read", "subscriber", subscriber, "read", page*perPage)
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
