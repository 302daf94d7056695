package seal_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/contract"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/seal"
)

func local(t *testing.T, key []byte) *seal.Local {
	t.Helper()
	s, err := seal.NewLocal(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLocal(t *testing.T) {
	t.Parallel()
	contract.Sealer(t, true, func(t *testing.T) account.Sealer { return local(t, nil) })
}

func TestLocalKeys(t *testing.T) {
	t.Parallel()
	given := bytes.Repeat([]byte{7}, seal.KeySize)
	sealed, err := local(t, given).Seal(t.Context(), "shop", "demo-key")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := local(t, given).Open(t.Context(), "shop", sealed); err != nil || got != "demo-key" {
		t.Errorf("Open with the same key = %q, %v; want the secret", got, err)
	}
	if got, err := local(t, nil).Open(t.Context(), "shop", sealed); err == nil {
		t.Errorf("Open with a random key = %q, want an error", got)
	}
	for _, key := range [][]byte{{}, make([]byte, 16), make([]byte, seal.KeySize+1)} {
		if _, err := seal.NewLocal(key); err == nil {
			t.Errorf("NewLocal took a key of %d bytes", len(key))
		}
	}
}

func TestKMSOnEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	id, err := awslocal.CreateKey(t.Context(), cfg, "alias/test-seal")
	if err != nil {
		t.Fatal(err)
	}
	contract.Sealer(t, false, func(*testing.T) account.Sealer { return seal.NewKMS(kms.NewFromConfig(cfg), id) })
}

// client is a KMS that answers as a test says.
type client struct {
	encrypt func(*kms.EncryptInput) (*kms.EncryptOutput, error)
	decrypt func(*kms.DecryptInput) (*kms.DecryptOutput, error)
}

func (c client) Encrypt(_ context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	return c.encrypt(in)
}

func (c client) Decrypt(_ context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	return c.decrypt(in)
}

func TestKMS(t *testing.T) {
	t.Parallel()
	context := map[string]string{"account": "shop"}
	s := seal.NewKMS(client{
		encrypt: func(in *kms.EncryptInput) (*kms.EncryptOutput, error) {
			if diff := cmp.Diff(context, in.EncryptionContext); diff != "" || aws.ToString(in.KeyId) != "key" {
				t.Errorf("key %s, context (-want +got):\n%s", aws.ToString(in.KeyId), diff)
			}
			return &kms.EncryptOutput{CiphertextBlob: append([]byte("sealed "), in.Plaintext...)}, nil
		},
		decrypt: func(in *kms.DecryptInput) (*kms.DecryptOutput, error) {
			if diff := cmp.Diff(context, in.EncryptionContext); diff != "" || aws.ToString(in.KeyId) != "key" {
				t.Errorf("key %s, context (-want +got):\n%s", aws.ToString(in.KeyId), diff)
			}
			return &kms.DecryptOutput{Plaintext: bytes.TrimPrefix(in.CiphertextBlob, []byte("sealed "))}, nil
		},
	}, "key")
	sealed, err := s.Seal(t.Context(), "shop", "demo-key")
	if err != nil || string(sealed) != "sealed demo-key" {
		t.Fatalf("Seal = %q, %v", sealed, err)
	}
	if got, err := s.Open(t.Context(), "shop", sealed); err != nil || got != "demo-key" {
		t.Errorf("Open = %q, %v; want the secret", got, err)
	}
}

func TestKMSFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"throttled":       {&types.LimitExceededException{}, fault.Unavailable},
		"KMS's own fault": {&types.KMSInternalException{}, fault.Unavailable},
		"dependency":      {&types.DependencyTimeoutException{}, fault.Unavailable},
		"unavailable key": {&types.KeyUnavailableException{}, fault.Unavailable},
		"timed out":       {context.DeadlineExceeded, fault.Unavailable},
		"another account": {&types.InvalidCiphertextException{}, fault.Internal},
		"another key":     {&types.IncorrectKeyException{}, fault.Internal},
		"no such key":     {&types.NotFoundException{}, fault.Internal},
		"key turned off":  {&types.DisabledException{}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := seal.NewKMS(client{
				encrypt: func(*kms.EncryptInput) (*kms.EncryptOutput, error) { return nil, tt.err },
				decrypt: func(*kms.DecryptInput) (*kms.DecryptOutput, error) { return nil, tt.err },
			}, "key")
			_, sealErr := s.Seal(t.Context(), "shop", "must-not-show")
			_, openErr := s.Open(t.Context(), "shop", []byte("sealed"))
			for op, err := range map[string]error{"Seal": sealErr, "Open": openErr} {
				if got := fault.KindOf(err); err == nil || got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%s = %v (%v), want %v that wraps %v", op, err, got, tt.want, tt.err)
				}
				if err != nil && (!strings.Contains(err.Error(), "shop") || strings.Contains(err.Error(), "must-not-show")) {
					t.Errorf("%s = %v, want it to name the account and not show the secret", op, err)
				}
			}
		})
	}
}
