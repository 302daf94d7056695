// Package typed brings what people type and paste to plain characters: programs
// and phones add marks that nobody sees, and keyboards have many spaces, dashes
// and digits for one.
package typed

import (
	"regexp"
	"strings"
	"unicode"
)

// invisible are the marks that stand for nothing: directions of writing, joiners,
// soft hyphens, variants of a sign, the mark of a byte order.
func invisible(r rune) bool {
	switch {
	case r == 0xAD, r == 0x034F, r == 0x061C, r == 0x180E, r == 0xFEFF,
		r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x2069, r >= 0xFE00 && r <= 0xFE0F:
		return true
	}
	return false
}

// Plain returns s without invisible marks, with an ordinary space for every kind
// of space and a hyphen for every dash and minus; spaces around are gone.
func Plain(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case unicode.Is(unicode.Zs, r), r == '\t':
			return ' '
		}
		if unicode.Is(unicode.Pd, r) || r == 0x2212 || r == 0x2043 || r == 0xFF0D {
			return '-'
		}
		return r
	}, s))
}

// inParentheses is a country code written in them.
var inParentheses = regexp.MustCompile(`^\( *(\+[0-9]{1,3}) *\)`)

// narrow makes full-width signs ordinary ones.
func narrow(r rune) rune {
	if r >= 0xFF01 && r <= 0xFF5E {
		return r - 0xFEE0
	}
	return r
}

// Phone is Plain for a phone number: with full-width digits and signs as ordinary
// ones, without "tel:" before it, a comma or the like after it, and with a country
// code in parentheses taken out of them.
func Phone(s string) string {
	s = Plain(strings.Map(narrow, s))
	if len(s) >= 4 && strings.EqualFold(s[:4], "tel:") {
		s = strings.TrimSpace(s[4:])
	}
	s = strings.TrimRight(s, " ,;.")
	return inParentheses.ReplaceAllString(s, "$1")
}

// Email is Plain for an email address: out of "<...>", without "mailto:" before
// it or a comma, dot or the like after it.
func Email(s string) string {
	s = strings.TrimRight(Plain(s), " ,;.")
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = s[1 : len(s)-1]
	}
	if len(s) >= 7 && strings.EqualFold(s[:7], "mailto:") {
		s = s[7:]
	}
	return strings.Trim(s, " ,;.")
}

// Digits returns the digits 0 to 9 of s.
func Digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}
