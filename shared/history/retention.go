package history

import (
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Forgotten is why an order that a message names is left out: it is older than
// the ledger remembers.
const Forgotten = "older than the ledger remembers"

// reaches refuses a period that begins before what the ledger remembers of an
// account: an order from before that may be in Rule, and would be written once
// more.
func (b *Backfill) reaches(a account.Account, s Spec) error {
	reach := b.Retention.Reach(a.Created, b.Now())
	if len(s.Orders) > 0 || !s.From.Before(reach) {
		return nil
	}
	first := reach.In(rule.Stockholm).AddDate(0, 0, 1).Format(time.DateOnly)
	return fault.Bad("from", "reaches further back than the connector remembers which orders it has written: they could be in Rule twice; %s or a later day is expected", first)
}
