package seal

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

// KMSClient is what KMS calls of AWS; *kms.Client fits.
type KMSClient interface {
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// KMS seals with an AWS KMS key. The account id is the encryption context
// ("account"), which is part of the sealed bytes' authentication and is
// written to CloudTrail, as the id may be and the secret never is. Every call
// is a request to KMS. Errors are faults: Unavailable when another try may
// help, Internal when KMS refuses, as it does for another account's bytes.
type KMS struct {
	client KMSClient
	keyID  string
}

var _ account.Sealer = (*KMS)(nil)

// NewKMS returns a sealer that uses the key with that id, ARN or alias.
func NewKMS(client KMSClient, keyID string) *KMS { return &KMS{client: client, keyID: keyID} }

// Seal returns the secret sealed for the account; two calls give different bytes.
func (s *KMS) Seal(ctx context.Context, accountID, secret string) ([]byte, error) {
	if err := check(accountID, secret); err != nil {
		return nil, err
	}
	out, err := s.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId:             aws.String(s.keyID),
		Plaintext:         []byte(secret),
		EncryptionContext: map[string]string{"account": accountID},
	})
	if err != nil {
		return nil, awsfault.Wrap(err, "seal for account %s", accountID)
	}
	return out.CiphertextBlob, nil
}

// Open returns the secret that was sealed for the account with the same key.
func (s *KMS) Open(ctx context.Context, accountID string, sealed []byte) (string, error) {
	out, err := s.client.Decrypt(ctx, &kms.DecryptInput{
		// Naming the key keeps bytes sealed with anybody else's from opening.
		KeyId:             aws.String(s.keyID),
		CiphertextBlob:    sealed,
		EncryptionContext: map[string]string{"account": accountID},
	})
	if err != nil {
		return "", awsfault.Wrap(err, "open the seal of account %s", accountID)
	}
	return string(out.Plaintext), nil
}
