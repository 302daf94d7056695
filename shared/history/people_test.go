package history_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
)

// What is sealed is read again by who has the shop's API key, and by nobody else.
func TestSeals(t *testing.T) {
	t.Parallel()
	seals := func(account, key string) *history.Seals {
		s, err := history.NewSeals(account, rule.New(rule.Config{}).Session(key, time.Time{}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mine := seals("a", "key-1")
	long := strings.Repeat("x", 250) + "@example.com"
	for _, tt := range []struct{ seal, want customer.Key }{
		{customer.Key{Email: "kund.ett@example.com"}, customer.Key{Email: "kund.ett@example.com"}},
		{customer.Key{Phone: "+46701740605"}, customer.Key{Phone: "+46701740605"}},
		{customer.Key{}, customer.Key{}},
		{customer.Key{Email: long}, customer.Key{}},
	} {
		sealed := mine.Seal(7, tt.seal)
		if len(sealed) > 255 || tt.seal.Email != "" && bytes.Contains(sealed, []byte(tt.seal.Email[:4])) {
			t.Errorf("%v is sealed as %q", tt.seal, sealed)
		}
		if got, err := seals("a", "key-1").Open(7, sealed); err != nil || got != tt.want {
			t.Errorf("Open = %v, %v; want %v", got, err, tt.want)
		}
		for name, open := range map[string]func() (customer.Key, error){
			"another key":        func() (customer.Key, error) { return seals("a", "key-2").Open(7, sealed) },
			"another account":    func() (customer.Key, error) { return seals("b", "key-1").Open(7, sealed) },
			"another subscriber": func() (customer.Key, error) { return mine.Open(8, sealed) },
			"a changed byte": func() (customer.Key, error) {
				return mine.Open(7, append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1))
			},
			"nothing": func() (customer.Key, error) { return mine.Open(7, nil) },
		} {
			if got, err := open(); err == nil || !got.Zero() {
				t.Errorf("opened with %s: %v", name, got)
			}
		}
	}
	if bytes.Equal(mine.Seal(7, customer.Key{Phone: "+46701740605"}), mine.Seal(7, customer.Key{Phone: "+46701740605"})) {
		t.Error("two seals are alike")
	}
}
