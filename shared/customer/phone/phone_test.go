package phone_test

import (
	"regexp"
	"strings"
	"testing"

	"sitoo-rule/shared/customer/phone"
)

func TestParser(t *testing.T) {
	t.Parallel()
	for country, numbers := range map[string]map[string]string{
		"SE": {
			// Swedish, in the spellings that people and systems use.
			"070-174 06 05":           "+46701740605",
			"070 174 06 05":           "+46701740605",
			"0701740605":              "+46701740605",
			"070-1740605":             "+46701740605",
			"070/174 06 05":           "+46701740605",
			"070.174.06.05":           "+46701740605",
			"(070) 174 06 05":         "+46701740605",
			" 070-174 06 05 ":         "+46701740605",
			"070\u00a0174\u00a006 05": "+46701740605",
			"070‑174\u202f06 05":      "+46701740605", // a non-breaking hyphen and a narrow space
			"070–174 06 05":           "+46701740605",
			"+46701740605":            "+46701740605",
			"+46 70 174 06 05":        "+46701740605",
			"+46 (0)70-174 06 05":     "+46701740605",
			"+46(0)701740605":         "+46701740605",
			"+460701740605":           "+46701740605",
			"0046701740605":           "+46701740605",
			"0046 (0)70 174 06 05":    "+46701740605",
			"00 46 70 174 06 05":      "+46701740605",
			"701740605":               "+46701740605",
			"08-465 004 05":           "+46846500405",
			"08-465 004 00":           "+46846500400",
			"0501-123 45":             "+4650112345",
			// The neighbours, with their country codes.
			"+47 412 34 567":     "+4741234567",
			"0047 41234567":      "+4741234567",
			"+45 32 12 34 56":    "+4532123456",
			"0045 32123456":      "+4532123456",
			"+358 41 2345678":    "+358412345678",
			"+358 (0)41 2345678": "+358412345678",
			"00358 41 2345678":   "+358412345678",
			// Not numbers.
			"":                          "",
			"   ":                       "",
			"070-174":                   "",
			"112":                       "",
			"070-174 06 05 06 07":       "",
			"41 23 45 67 89 01":         "",
			"ring växeln":               "",
			"070-174 06 05 x 12":        "",
			"070-174 06 05;ext=12":      "",
			"070-174 06 05,12":          "",
			"tel:+46701740605":          "",
			"tel:070;phone-context=+46": "",
			"070-KUNDNR1":               "",
			"+":                         "",
			"++46701740605":             "",
			"46+701740605":              "",
			"+0701740605":               "",
			"+99970174060":              "",
			"070-174 06 05\n":           "+46701740605", // a line end is white space, and stands outside
			"070-174\n06 05":            "",
			"070\x00174 06 05":          "",
			"０７０１７４０６０５":                "", // full-width digits
			"٠٧٠١٧٤٠٦٠٥":                "", // Arabic digits
			"O70-174 06 05":             "",
			"＋46701740605":              "",
			"070\u200b1740605":          "",
			"\xff070-174 06 05":         "",
			strings.Repeat("0", 41):     "",
			strings.Repeat("7", 10_000): "",
		},
		"NO": {"412 34 567": "+4741234567", "41234567": "+4741234567", "+46701740605": "+46701740605", "070-174 06 05": ""},
		"DK": {"32 12 34 56": "+4532123456", "070-174 06 05": ""},
		"FI": {"041 2345678": "+358412345678", "+46701740605": "+46701740605"},
		"":   {"+46701740605": "+46701740605", "070-174 06 05": ""},
		"XX": {"+46701740605": "+46701740605", "070-174 06 05": ""},
	} {
		parse := phone.Parser(country)
		for raw, want := range numbers {
			got, ok := parse(raw)
			if got != want || ok != (want != "") {
				t.Errorf("in %q, %.60q gives %q, %v; want %q", country, raw, got, ok, want)
			}
		}
	}
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{5,14}$`)

// Whatever a cashier types is refused or gives a number in E.164, and that
// number gives itself.
func FuzzParser(f *testing.F) {
	for _, s := range []string{"070-174 06 05", "+46 (0)70-174 06 05", "0047 41234567", "112", "", "+", "(((", "0701740605-", "+800 1234 5678", "+881 612345678"} {
		f.Add(s)
	}
	parse := phone.Parser("SE")
	f.Fuzz(func(t *testing.T, raw string) {
		got, ok := parse(raw)
		if !ok {
			if got != "" {
				t.Errorf("%q is refused and gives %q", raw, got)
			}
			return
		}
		if !e164.MatchString(got) {
			t.Errorf("%q gives %q, which is not E.164", raw, got)
		}
		if again, ok := parse(got); again != got || !ok {
			t.Errorf("%q gives %q, which gives %q, %v", raw, got, again, ok)
		}
	})
}
