package history

import (
	"crypto/sha256"

	"sitoo-rule/shared/customer"
)

// Digest stands for an email address or a phone number: 96 bits of its SHA-256
// with the account's id. Two of a million customers share one once in 10^17
// shops.
type Digest [12]byte

// DigestOf returns the digest of a key; only one of its members may be set.
func DigestOf(account string, k customer.Key) Digest {
	sum := sha256.Sum256([]byte("sitoo-rule people\x00" + account + "\x00" + k.Email + "\x00" + k.Phone))
	return Digest(sum[:12])
}
