// Package account knows which shops use the connector. A shop is its Rule API
// key: the account id is a one-way digest of it, the key itself is stored
// sealed, and Rule alone decides whether a key is good. A shop that renews its
// key keeps its account: by its Sitoo credentials it proves that it is the same
// shop, and the new key's id becomes an alias of the account's.
package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
)

// ErrNotFound is returned by a Store for an account it does not hold.
var ErrNotFound = errors.New("account: not found")

// Account is what is kept of a shop. It holds no readable secret.
type Account struct {
	ID           string    // ID(the first key); also the seal's context
	SealedKey    []byte    // the Rule API key, the newest if it was renewed, sealed
	Created      time.Time // when Rule first accepted the key
	BlockedUntil time.Time // Rule answers 429 until then; zero if it never did
	Schema       int       // version of the field schema declared in Rule, 0 for none
	// Sitoo is nil if the merchant has entered no credentials. It is not to be
	// changed.
	Sitoo *SitooAccess
	// Settings is what the shop has chosen.
	Settings Settings
}

// SitooAccess is how the shop's orders are read from Sitoo.
type SitooAccess struct {
	BaseURL   string
	AccountID string // in Sitoo
	Site      int64  // the site's eshopid
	Sealed    []byte // API id and password, sealed
	Since     time.Time
	Used      time.Time // when they were last opened to be used, zero if never
}

// Shop names the shop that the access is to: Sitoo's account and the site.
func (a SitooAccess) Shop() Shop { return Shop{a.AccountID, a.Site} }

// Shop is a site of an account in Sitoo.
type Shop struct {
	Account string
	Site    int64
}

// ID returns the account id of a Rule API key: 128 bits of its SHA-256 in
// lower-case hex. Keys are long and random, so the digest cannot be turned
// back; the prefix keeps it from equalling any other digest of the same key.
func ID(key string) string {
	sum := sha256.Sum256([]byte("sitoo-rule account\x00" + key))
	return hex.EncodeToString(sum[:16])
}

// MaxHops is how many aliases a Store follows from one to the next: an account
// that others lead to can itself become an alias, when its shop turns out to be
// another account's.
const MaxHops = 4

// Store keeps accounts. Implementations are safe for concurrent use, read
// their own writes, and every method may be repeated. Where a method takes the
// id of an account, an alias will do, but for Create, Refuse and Refused.
type Store interface {
	// Get returns the account, or ErrNotFound. The account that an alias leads
	// to has its own id.
	Get(ctx context.Context, id string) (Account, error)
	// Create stores a if no account of that id exists. One that exists is left
	// as it is, which is not an error: two first calls may race.
	Create(ctx context.Context, a Account) error
	// Block notes that Rule wants no call before until. It only ever moves the
	// time forward. ErrNotFound if there is no such account.
	Block(ctx context.Context, id string, until time.Time) error
	// SetSchema notes which version of the field schema Rule has. It only ever
	// raises the number. ErrNotFound if there is no such account.
	SetSchema(ctx context.Context, id string, version int) error
	// SetSitoo keeps how the shop is read from Sitoo in place of what was there;
	// nil removes it. ErrNotFound if there is no such account.
	SetSitoo(ctx context.Context, id string, a *SitooAccess) error
	// UsedSitoo notes when the access was used. It only ever moves the time
	// forward; an account without access is left as it is. ErrNotFound if there
	// is no such account.
	UsedSitoo(ctx context.Context, id string, at time.Time) error
	// ClaimShop gives a shop to an account, unless it is another's already: it
	// belongs to the first that claims it, for good. It returns whose it is.
	ClaimShop(ctx context.Context, s Shop, id string) (owner string, err error)
	// ShopOwner returns the accounts that sites of a Sitoo account belong to,
	// each once, in order; none is not an error. They may be aliases by now.
	ShopOwner(ctx context.Context, sitooAccount string) (ids []string, err error)
	// Renew gives the account a new sealed key and makes the id alias lead to
	// it, from then on and whatever was stored under alias. The schema counts as
	// undeclared again: nobody can tell whether the new key is for the same
	// account in Rule. ErrNotFound if there is no such account.
	Renew(ctx context.Context, id string, sealedKey []byte, alias string) error
	// Refuse remembers until when a key that Rule refused is not tried again.
	Refuse(ctx context.Context, id string, until time.Time) error
	// Refused returns that time, zero if there is none. It may lie in the past.
	Refused(ctx context.Context, id string) (time.Time, error)
}

// Sealer turns a secret into bytes that are safe to store. The account id is
// bound to the sealed bytes: opening them under another id fails.
type Sealer interface {
	Seal(ctx context.Context, accountID, secret string) ([]byte, error)
	Open(ctx context.Context, accountID string, sealed []byte) (string, error)
}
