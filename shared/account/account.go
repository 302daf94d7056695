// Package account knows which shops use the connector. A shop is its Rule API
// key: the account id is a one-way digest of it, the key itself is stored
// sealed, and Rule alone decides whether a key is good.
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
	ID           string    // ID(key); also the seal's context
	SealedKey    []byte    // the Rule API key, sealed
	Created      time.Time // when Rule first accepted the key
	BlockedUntil time.Time // Rule answers 429 until then; zero if it never did
	Schema       int       // version of the field schema declared in Rule, 0 for none
}

// ID returns the account id of a Rule API key: 128 bits of its SHA-256 in
// lower-case hex. Keys are long and random, so the digest cannot be turned
// back; the prefix keeps it from equalling any other digest of the same key.
func ID(key string) string {
	sum := sha256.Sum256([]byte("sitoo-rule account\x00" + key))
	return hex.EncodeToString(sum[:16])
}

// Store keeps accounts. Implementations are safe for concurrent use, read
// their own writes, and every method may be repeated.
type Store interface {
	// Get returns the account, or ErrNotFound.
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
