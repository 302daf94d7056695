// Package phone reads phone numbers as people write them. It is a package of
// its own because the numbering plans of the world weigh 5 MB: only functions
// that read phone numbers link it.
package phone

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"sitoo-rule/shared/customer/typed"
)

// maxLength is more than any spelling of a number needs; E.164 has 15 digits.
const maxLength = 40

// Parser returns a function that turns a phone number in any usual spelling
// into E.164. Numbers without a country code are read as dialled in the first of
// countries (ISO 3166, such as "SE"; "" for home), or in home if none is given,
// and in the others where they do not fit there. ok is false for what is no phone
// number; letters and extensions are refused, since they never identify a person.
// Safe for concurrent use.
//
// A number is taken if the numbering plans know it. They are behind the times,
// so one is taken as well that is possible and written with its country code, or
// possible and as long as a mobile number of the first country: 078 is a range of
// Swedish mobiles that the library does not know.
func Parser(home string) func(raw string, countries ...string) (e164 string, ok bool) {
	return func(raw string, countries ...string) (string, bool) {
		clean, ok := dialled(raw)
		if !ok {
			return "", false
		}
		first := home
		if len(countries) > 0 && countries[0] != "" {
			first = countries[0]
		}
		countries = append([]string{first}, countries...)
		for _, country := range countries {
			if n, err := phonenumbers.Parse(clean, strings.ToUpper(country)); err == nil && country != "" && n.GetExtension() == "" && phonenumbers.IsValidNumber(n) {
				return phonenumbers.Format(n, phonenumbers.E164), true
			}
		}
		return possible(typed.Digits(clean), strings.HasPrefix(clean, "+"), strings.ToUpper(first))
	}
}

// possible reads a number that no numbering plan knows: with a country code, or
// as it is dialled in a country, if it is as long as a mobile number there.
func possible(digits string, plus bool, country string) (e164 string, ok bool) {
	rest, abroad := strings.CutPrefix(digits, "00")
	if plus || abroad {
		n, err := phonenumbers.Parse("+"+rest, "")
		if err != nil || !phonenumbers.IsPossibleNumber(n) {
			return "", false
		}
		return phonenumbers.Format(n, phonenumbers.E164), true
	}
	example := phonenumbers.GetExampleNumberForType(country, phonenumbers.MOBILE)
	n, err := phonenumbers.Parse(digits, country)
	if example == nil || err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", false
	}
	as := phonenumbers.GetNationalSignificantNumber(example)
	number := phonenumbers.GetNationalSignificantNumber(n)
	// Where numbers are dialled with a 0 first, nine digits without it are no
	// phone number: a contact's id, perhaps.
	trunk := strings.HasPrefix(phonenumbers.Format(example, phonenumbers.NATIONAL), "0")
	if len(number) != len(as) || trunk && digits != "0"+number {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

// dialled returns what was written in the characters that the library reads;
// ok is false if there are others, such as letters.
func dialled(raw string) (clean string, ok bool) {
	clean = typed.Phone(raw)
	if clean == "" || len(clean) > maxLength {
		return "", false
	}
	for i, r := range clean {
		switch {
		case r >= '0' && r <= '9', strings.ContainsRune(" -()./", r):
		case r == '+' && i == 0:
		default:
			return "", false
		}
	}
	return clean, true
}
