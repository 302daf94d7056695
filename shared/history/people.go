package history

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/rule"
)

// Digest stands for an email address or a phone number: 96 bits that only who
// has the shop's API key can make. Two of a million customers share one once in
// 10^17 shops.
type Digest [12]byte

// Seals makes what stores keep of subscribers' addresses and numbers, with keys
// that are made of the shop's Rule API key and kept nowhere: without that key,
// which is sealed elsewhere, the stores tell nobody anything. It is safe for
// concurrent use.
type Seals struct {
	account string
	name    string
	digests []byte
	aead    cipher.AEAD
}

// NewSeals returns the seals of an account, whose session it is.
func NewSeals(account string, s *rule.Session) (*Seals, error) {
	var keys [3][]byte
	for i, purpose := range []string{"name", "digests", "contacts"} {
		var err error
		if keys[i], err = s.Derive("sitoo-rule history " + purpose); err != nil {
			return nil, fmt.Errorf("seals: %w", err)
		}
	}
	block, err := aes.NewCipher(keys[2])
	if err != nil {
		return nil, fmt.Errorf("seals: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seals: %w", err)
	}
	return &Seals{account, hex.EncodeToString(keys[0][:8]), keys[1], aead}, nil
}

// Name tells seals apart: with a renewed API key they have another one, and know
// nothing of what was made with the old one.
func (s *Seals) Name() string { return s.name }

// Digest returns the digest of a key; only one of its members may be set.
func (s *Seals) Digest(k customer.Key) Digest {
	sum := hmac.New(sha256.New, s.digests)
	sum.Write([]byte(s.account + "\x00" + k.Email + "\x00" + k.Phone))
	return Digest(sum.Sum(nil)[:12])
}

// maxSealed is how many bytes of an address are sealed: with what seals them, a
// store has room for them. No address that mail can be sent to is longer.
const maxSealed = 220

// Seal closes by what Rule knows a subscriber. A zero key is sealed, too, and
// one that is too long is sealed as if it were zero.
func (s *Seals) Seal(id int64, k customer.Key) []byte {
	text := "@" + k.Email
	if k.Email == "" {
		text = k.Phone
	}
	if len(text) > maxSealed {
		text = ""
	}
	return s.aead.Seal(nil, nil, []byte(text), s.bound(id))
}

// Open returns what Seal was given. It is an error if the shop has another API
// key since, or the bytes belong to another subscriber.
func (s *Seals) Open(id int64, sealed []byte) (customer.Key, error) {
	text, err := s.aead.Open(nil, nil, sealed, s.bound(id))
	switch {
	case err != nil:
		return customer.Key{}, errors.New("sealed with another key")
	case len(text) > 0 && text[0] == '@':
		return customer.Key{Email: string(text[1:])}, nil
	}
	return customer.Key{Phone: string(text)}, nil
}

// bound is what a seal holds beside its content: whose it is.
func (s *Seals) bound(id int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(s.account+"\x00"), uint64(id))
}
