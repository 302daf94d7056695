package order

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// Stamp tells apart two orders that came under one number, as from two Sitoo
// accounts whose tills have the same token: their numbers are counted by each.
// Whatever an order does not say is zero. It holds no personal data.
type Stamp struct {
	Date    time.Time // when it was made, to the second
	Receipt string    // a digest of the till's receipt number
}

// Conflicting is what the ledger and the dead letter say of an order whose number
// the ledger has as another order's.
const Conflicting = "Another order of this shop has the same number, and another date or receipt: two Sitoo accounts deliver with one token. Give each a label of its own."

// StampOf returns an order's stamp: of its own date only, not of one that stands
// in for it.
func StampOf(o sitoo.Order) Stamp {
	var s Stamp
	if !o.Undated && !o.Date.IsZero() {
		s.Date = o.Date.UTC().Truncate(time.Second)
	}
	if id := strings.TrimSpace(o.Additional["pos-receiptid"]); id != "" {
		sum := sha256.Sum256([]byte(id))
		s.Receipt = hex.EncodeToString(sum[:8])
	}
	return s
}

// Conflicts reports whether two stamps are two orders': both say when they were
// made, or which receipt they have, and do not say the same.
func (s Stamp) Conflicts(other Stamp) bool {
	return !s.Date.IsZero() && !other.Date.IsZero() && !s.Date.Equal(other.Date) ||
		s.Receipt != "" && other.Receipt != "" && s.Receipt != other.Receipt
}

// With returns the stamp with what it lacks from another.
func (s Stamp) With(other Stamp) Stamp {
	if s.Date.IsZero() {
		s.Date = other.Date
	}
	if s.Receipt == "" {
		s.Receipt = other.Receipt
	}
	return s
}

// id is the stamp as part of a key.
func (s Stamp) id() string {
	sum := sha256.Sum256([]byte(s.Date.Format(time.RFC3339) + " " + s.Receipt))
	return hex.EncodeToString(sum[:4])
}

// Beside names an order in the ledger whose number is another's there.
func (k Key) Beside(s Stamp) Key { return Key{Account: k.Account + "#" + s.id(), Order: k.Order} }

// Conflict notes an order whose number is another's in the ledger as failed,
// beside that one, which stays as it is, and returns the error that says why. It
// may be repeated. It is logged as a warning, which an alarm counts.
func (d *Deliverer) Conflict(ctx context.Context, k Key, s Stamp, attempt string) error {
	beside := k.Beside(s)
	id, label := account.SplitScope(k.Account)
	d.Log.WarnContext(ctx, ConflictMessage, "account", id, "label", label, "order", k.Order, "ledger", beside.Account)
	if err := settle(ctx, d.Ledger, beside, s, attempt, Failed, Conflicting, d.Now()); err != nil {
		return fmt.Errorf("note that the order's number is another's: %w", err)
	}
	return fault.New(fault.Conflict, Conflicting)
}

// ConflictMessage is the log line's that the alarm on conflicts counts.
const ConflictMessage = "two orders of one number"
