package sentence_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/sentence"
)

// Every sentence is written in both languages, with the same arguments, as whole
// sentences that end with a full stop, and says more than "wrong".
func TestCatalogue(t *testing.T) {
	t.Parallel()
	argument := regexp.MustCompile(`\{\w+\}`)
	for _, code := range sentence.Codes() {
		if strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("code %q", code)
		}
		var arguments [][]string
		for _, language := range []string{sentence.Swedish, sentence.English} {
			text, ok := sentence.Text(language, code, nil)
			if !ok || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text || strings.ContainsAny(text, "\r\n") {
				t.Errorf("%s in %s: %q", code, language, text)
			}
			list := argument.FindAllString(text, -1)
			slices.Sort(list)
			arguments = append(arguments, slices.Compact(list))
		}
		sv, en := arguments[0], arguments[1]
		for _, a := range sv { // the office reads more than the till
			if !slices.Contains(en, a) && a != "{field}" {
				t.Errorf("%s: the Swedish sentence has %v, the English one %v", code, sv, en)
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	args := sentence.Args{sentence.Field: "mobile"}
	for _, tt := range []struct {
		language, code string
		args           sentence.Args
		want           string
	}{
		{"sv", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"fi", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"en", "identifier_needed", nil, "An email address or a mobile number is needed."},
		{"sv", "phone_wrong", args, "Mobilnumret är inget telefonnummer. Skriv till exempel 070-174 06 05 eller +46701740605."},
		{"en", "phone_wrong", args, "The mobile number is not a phone number; something like 070-174 06 05 or +46701740605 is expected."},
		{"sv", "yes_or_no", sentence.Args{sentence.Field: "include_extended"}, "include_extended ska vara true eller false."},
		{"sv", "text_long", sentence.Args{sentence.Field: "namefirst", "count": 300, "most": 255}, "Förnamnet har 300 tecken; högst 255 får plats."},
		{"sv", "check_used_on", sentence.Args{sentence.What: "promotion", "date": "2026-03-02 10:00"}, "Kampanjen är redan använd, 2026-03-02 10:00."},
	} {
		if got, ok := sentence.Text(tt.language, tt.code, tt.args); got != tt.want || !ok {
			t.Errorf("%s in %q: %q, %v; want %q", tt.code, tt.language, got, ok, tt.want)
		}
	}
	if got, ok := sentence.Text("sv", "no_such_code", nil); ok || got != "" {
		t.Errorf("an unknown code gives %q", got)
	}
}
