package fakerule

import (
	"net/mail"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// normalPhone returns a phone number as E.164; without a country code it is
// Swedish.
func normalPhone(s string) (string, bool) {
	if strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789+-() ./\u00a0", r) }) {
		return "", false // the library would read letters as on a telephone's keys
	}
	n, err := phonenumbers.Parse(s, "SE")
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

// normalEmail returns an address in lower case.
func normalEmail(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	at, err := mail.ParseAddress(s)
	if err != nil || at.Name != "" || at.Address != s || len(s) > 254 {
		return "", false
	}
	_, domain, _ := strings.Cut(s, "@")
	if !strings.Contains(strings.Trim(domain, "."), ".") {
		return "", false
	}
	return s, true
}

func normalLanguage(s string) (string, bool) {
	s = strings.ToLower(s)
	ok := len(s) == 2 && s[0] >= 'a' && s[0] <= 'z' && s[1] >= 'a' && s[1] <= 'z'
	return s, ok
}

// number reads a positive decimal id written as digits only.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0
}
