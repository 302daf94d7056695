// Package phone reads phone numbers as people write them. It is a package of
// its own because the numbering plans of the world weigh 5 MB: only functions
// that read phone numbers link it.
package phone

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// maxLength is more than any spelling of a number needs; E.164 has 15 digits.
const maxLength = 40

// Parser returns a function that turns a phone number in any usual spelling
// into E.164. Numbers without a country code are read as dialled in country
// (ISO 3166, such as "SE"). ok is false for what is not a valid number; letters
// and extensions are refused, since they never identify a person. Safe for
// concurrent use.
func Parser(country string) func(raw string) (e164 string, ok bool) {
	return func(raw string) (string, bool) {
		raw = strings.TrimSpace(raw)
		if raw == "" || len(raw) > maxLength {
			return "", false
		}
		for i, r := range raw {
			switch {
			case r >= '0' && r <= '9', strings.ContainsRune(" -()./\u00a0\u2010\u2011\u2012\u2013\u202f", r):
			case r == '+' && i == 0:
			default:
				return "", false
			}
		}
		// The library knows all of these marks but the narrow space.
		n, err := phonenumbers.Parse(strings.ReplaceAll(raw, "\u202f", " "), country)
		if err != nil || !phonenumbers.IsValidNumber(n) || n.GetExtension() != "" {
			return "", false
		}
		return phonenumbers.Format(n, phonenumbers.E164), true
	}
}
