package typed_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"sitoo-rule/shared/customer/typed"
)

// Whatever is typed: what comes out has no mark that nobody sees and no space
// around it, is text if it was, and is the same when it is typed again.
func FuzzTyped(f *testing.F) {
	for _, s := range []string{"", "070-174 06 05", "tel:+46701740605,", "(+46) 70", "\u200b070\u2011174", "０７０", "<Anna@Example.com>.", "mailto:anna@example.com", "\xff", "( ) ", "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, read := range map[string]func(string) string{"plain": typed.Plain, "phone": typed.Phone, "email": typed.Email, "digits": typed.Digits} {
			got := read(s)
			if utf8.ValidString(s) && !utf8.ValidString(got) {
				t.Errorf("%s of %q is no text: %q", name, s, got)
			}
			if strings.ContainsAny(got, "\u200b\u200e\u202a\u2060\ufeff\u00ad\t") {
				t.Errorf("%s of %q has an invisible mark: %q", name, s, got)
			}
			if name != "email" && got != strings.TrimSpace(got) {
				t.Errorf("%s of %q has spaces around it: %q", name, s, got)
			}
			if again := read(got); (name == "plain" || name == "digits") && again != got {
				t.Errorf("%s of %q is %q, and of that %q", name, s, got, again)
			}
		}
	})
}
