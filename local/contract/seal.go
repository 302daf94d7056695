package contract

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
)

// Sealer tests an account.Sealer. notices says whether it can tell that sealed
// bytes were changed: AWS's keys can, the emulator's cannot.
func Sealer(t *testing.T, notices bool, open func(t *testing.T) account.Sealer) {
	t.Run("opens what it sealed", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		for _, secret := range []string{"x", "demo-key", "åäö \x00\xff", strings.Repeat("k", 4096)} {
			id := newID()
			sealed, err := s.Seal(t.Context(), id, secret)
			if err != nil {
				t.Fatalf("Seal of %d bytes: %v", len(secret), err)
			}
			if len(secret) > 1 && bytes.Contains(sealed, []byte(secret)) {
				t.Errorf("the sealed bytes contain the secret of %d bytes", len(secret))
			}
			got, err := s.Open(t.Context(), id, sealed)
			if err != nil || got != secret {
				t.Errorf("Open = %d bytes, %v; want the secret of %d bytes", len(got), err, len(secret))
			}
		}
	})

	t.Run("seals differ", func(t *testing.T) {
		t.Parallel()
		s, id := open(t), newID()
		one, err := s.Seal(t.Context(), id, "demo-key")
		if err != nil {
			t.Fatal(err)
		}
		two, err := s.Seal(t.Context(), id, "demo-key")
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(one, two) {
			t.Error("two seals of one secret are equal: the same key could be recognised")
		}
	})

	t.Run("opens nothing else", func(t *testing.T) {
		t.Parallel()
		s, id := open(t), newID()
		const secret = "demo-key-that-must-not-show"
		sealed, err := s.Seal(t.Context(), id, secret)
		if err != nil {
			t.Fatal(err)
		}
		flipped := slices.Clone(sealed)
		flipped[len(flipped)-1] ^= 1
		for name, tt := range map[string]struct {
			id     string
			sealed []byte
		}{
			"another account": {newID(), sealed},
			"no account":      {"", sealed},
			"one bit flipped": {id, flipped},
			"cut short":       {id, sealed[:len(sealed)-1]},
			"nothing":         {id, nil},
			"not sealed":      {id, []byte(secret)},
		} {
			if !notices && (name == "one bit flipped" || name == "cut short") {
				continue
			}
			got, err := s.Open(t.Context(), tt.id, tt.sealed)
			if err == nil || got != "" {
				t.Errorf("%s: Open = %q, %v; want an error alone", name, got, err)
				continue
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows the secret: %v", name, err)
			}
			if got := fault.KindOf(err); got != fault.Internal {
				t.Errorf("%s: error is %v, want internal: trying again does not help", name, got)
			}
		}
	})

	t.Run("secrets it does not take", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		long := strings.Repeat("demo-key-that-must-not-show", 200)
		for name, tt := range map[string]struct {
			id, secret string
			want       fault.Kind
		}{
			"empty":      {newID(), "", fault.Invalid},
			"too long":   {newID(), long, fault.TooLarge},
			"no account": {"", "demo-key-that-must-not-show", fault.Internal},
		} {
			sealed, err := s.Seal(t.Context(), tt.id, tt.secret)
			if err == nil || sealed != nil {
				t.Errorf("%s: Seal = %d bytes, %v; want an error alone", name, len(sealed), err)
				continue
			}
			if got := fault.KindOf(err); got != tt.want {
				t.Errorf("%s: error is %v, want %v", name, got, tt.want)
			}
			if strings.Contains(err.Error(), "must-not-show") {
				t.Errorf("%s: the error shows the secret: %v", name, err)
			}
		}
	})
}
