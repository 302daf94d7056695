package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
)

// KeySize is the length of a Local sealer's key in bytes.
const KeySize = 32

// Local seals with AES-256-GCM in this process, where there is no KMS. The
// sealed bytes are a random nonce, the ciphertext and its tag; the account id
// is the additional data.
type Local struct {
	aead cipher.AEAD
}

var _ account.Sealer = (*Local)(nil)

// NewLocal returns a sealer with that key of KeySize bytes. A nil key stands
// for a random one: what it seals opens in this process only.
func NewLocal(key []byte) (*Local, error) {
	if key == nil {
		key = make([]byte, KeySize)
		rand.Read(key)
	}
	if len(key) != KeySize {
		return nil, fmt.Errorf("seal: a key of %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return &Local{aead: aead}, nil
}

// Seal returns the secret sealed for the account; two calls give different bytes.
func (s *Local) Seal(_ context.Context, accountID, secret string) ([]byte, error) {
	if err := check(accountID, secret); err != nil {
		return nil, err
	}
	return s.aead.Seal(nil, nil, []byte(secret), []byte(accountID)), nil
}

// Open returns the secret that was sealed for the account with the same key.
func (s *Local) Open(_ context.Context, accountID string, sealed []byte) (string, error) {
	secret, err := s.aead.Open(nil, nil, sealed, []byte(accountID))
	if err != nil {
		return "", &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("open the seal of account %s: %w", accountID, err)}
	}
	return string(secret), nil
}
