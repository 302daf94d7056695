package customer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/rule"
)

var phones = phone.Parser("SE")

// What a cashier types finds one person exactly, or nobody.
func TestParseKey(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]customer.Key{
		"070-174 06 05":       {Phone: "+46701740605"},
		"0701740605":          {Phone: "+46701740605"},
		" 070 174 06 05 ":     {Phone: "+46701740605"},
		"+46701740605":        {Phone: "+46701740605"},
		"+46 (0)70-174 06 05": {Phone: "+46701740605"},
		"0046 70 174 06 05":   {Phone: "+46701740605"},
		"0046701740605":       {Phone: "+46701740605"},
		"+47 412 34 567":      {Phone: "+4741234567"},
		"004741234567":        {Phone: "+4741234567"},
		"0045 32 12 34 56":    {Phone: "+4532123456"},
		"+358 41 2345678":     {Phone: "+358412345678"},
		"08-465 004 05":       {Phone: "+46846500405"},

		// Phone numbers that spell a date.
		"0701740614":          {Phone: "+46701740614"},
		"070-174 06 14":       {Phone: "+46701740614"},
		"070 174 0614":        {Phone: "+46701740614"},
		"070-1740614":         {Phone: "+46701740614"},
		"+46 (0)70 174 06 14": {Phone: "+46701740614"},
		"+460701740614":       {Phone: "+46701740614"},
		"+46701740614":        {Phone: "+46701740614"},
		"004611121212":        {Phone: "+4611121212"}, // 011-12 12 12: no century is 00
		"0046 11 12 12 12":    {Phone: "+4611121212"},
		"011-12 12 12":        {Phone: "+4611121212"},

		"kund.ett@example.com":    {Email: "kund.ett@example.com"},
		" Kund.Ett@EXAMPLE.com\n": {Email: "kund.ett@example.com"},

		// Personal numbers, however they are written. 900101… would be a phone
		// number to the library.
		"19121212-1212": {}, "191212121212": {}, "121212-1212": {}, "1212121212": {}, "121212+1212": {}, "19121212+1212": {}, "121212 1212": {},
		"19121212 - 1212": {}, "1912-12-12-1212": {}, "900101-1234": {}, "9001011234": {}, "199001011234": {}, "900101–1234": {}, "900101−1234": {},
		"900101.1234": {}, "900101/1234": {}, "900101 - 1234": {}, "900101--1234": {}, "90-01-01-1234": {}, "90 01 01 12 34": {}, "(900101)1234": {}, "900101\u00a01234": {},
		"070101-1234": {}, "070101+1234": {}, "070101–1234": {}, "200701011234": {}, "20070101-1234": {}, "000101-1234": {}, "0001011234": {},
		// Coordination numbers: the day is 60 higher.
		"701063-2391": {}, "7010632391": {}, "19701063-2391": {}, "900161-1234": {}, "9001911234": {},
		// Organisation numbers are not phone numbers.
		"559999-0000": {}, "5599990000": {}, "16559999-0000": {}, "SE559999000001": {},

		// Parts and patterns.
		"": {}, " ": {}, "@": {}, "kund": {}, "Kund Ett": {}, "kund.ett": {}, "kund.ett@": {}, "@example.com": {}, "kund.ett@example": {}, "kund.ett@example.c": {},
		"*@example.com": {Email: "*@example.com"}, // a legal address, and nobody's: the search is exact
		"%":             {}, "*": {}, "0701740": {}, "1740605": {}, "06 05": {}, "112": {}, "100001": {}, "255934461": {},
		"kund.ett@example.com, kund.tva@example.com": {}, "kund.ett@example.com OR 1=1": {}, "Kund Ett <kund.ett@example.com>": {},
		"070-174 06 05 070-174 06 06": {}, "070-174 06 05 Kund": {},

		// Digits that are none, and what hides between them.
		"٠٧٠١٧٤٠٦٠٥": {}, "O70-174 06 O5": {}, "070\x001740605": {}, "070\n1740605": {}, "\u202e5060471070": {},
		"kund.ett@exаmple.com": {}, // a Cyrillic а
		"kund\x00@example.com": {}, "kund@exam\nple.com": {}, "k\xffnd@example.com": {}, "kund.ett＠example.com": {},
		strings.Repeat("0", 10_000): {}, strings.Repeat("a", 10_000) + "@example.com": {}, "a@" + strings.Repeat("b.", 5_000) + "com": {}, strings.Repeat("@", 10_000): {},
	} {
		got := customer.ParseKey(raw, phones)
		if got != want {
			t.Errorf("%.60q gives %+v, want %+v", raw, got, want)
		}
		if got.Zero() != (want == customer.Key{}) {
			t.Errorf("%.60q: Zero is %v", raw, got.Zero())
		}
	}
}

func TestIdentifier(t *testing.T) {
	t.Parallel()
	if got, want := (customer.Key{Email: "a@example.com"}).Identifier(), rule.ByEmail("a@example.com"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := (customer.Key{Phone: "+46701740605"}).Identifier(), rule.ByPhone("+46701740605"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// No key that is found holds a personal number of those digits.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"070-174 06 05", "900101-1234", "19900101 1234", "kund.ett@example.com", "+46 (0)70 174 06 14", "0046 11 12 12 12", "90.01.01/1234", "a@b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		k := customer.ParseKey(raw, phones)
		if k.Email != "" && k.Phone != "" {
			t.Errorf("%q gives two keys", raw)
		}
		if mail, ok := customer.NormaliseEmail(k.Email); k.Email != "" && (mail != k.Email || !ok) {
			t.Errorf("%q gives %q, which is not normal", raw, k.Email)
		}
		if again := customer.ParseKey(k.Phone, phones); k.Phone != "" && again != k {
			t.Errorf("%q gives %q, which gives %+v", raw, k.Phone, again)
		}
		digits := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, raw)
		// Ten digits that do not start with 0 and spell a day of the nineties.
		if len(digits) == 10 && strings.HasPrefix(digits, "90") && digits[2:4] >= "01" && digits[2:4] <= "12" && digits[4:6] >= "01" && digits[4:6] <= "31" && !strings.Contains(raw, "+") && k.Phone != "" {
			t.Errorf("the personal number %q would be looked up as %q", raw, k.Phone)
		}
	})
}

func TestNormaliseEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for raw, want := range map[string]string{
		"kund.ett@example.com":                  "kund.ett@example.com",
		" Kund.Ett@Example.COM ":                "kund.ett@example.com",
		"kund+sitoo@example.com":                "kund+sitoo@example.com",
		"k@b.example":                           "k@b.example",
		"kund_ett-2@sub-1.mail.example.com":     "kund_ett-2@sub-1.mail.example.com",
		"o'brien&co=1!#$%*/?^`{|}~@example.com": "o'brien&co=1!#$%*/?^`{|}~@example.com",
		"ÅSA@example.com":                       "åsa@example.com",
		"kund@xn--malm-8qa.example":             "kund@xn--malm-8qa.example",
		"kund@malmö.example":                    "kund@xn--malm-8qa.example",
		"KUND@MALMÖ.Example":                    "kund@xn--malm-8qa.example",
		"kund@malmo\u0308.example":              "kund@xn--malm-8qa.example", // ö in two characters
		"anna@exämple.com":                      "anna@xn--exmple-cua.com",
		"<kund@example.com>":                    "kund@example.com",
		"kund\u200b@example.com":                "kund@example.com",
		"\u202ekund@example.com\u202c":          "kund@example.com",
		"ku\u00adnd@example.com\ufeff":          "kund@example.com",
		"kund@example.com.":                     "kund@example.com",
		"kund@example.com,":                     "kund@example.com",
		"\u00a0kund@example.com ; ":             "kund@example.com",
		"mailto:kund@example.com":               "kund@example.com",
		"kund\u2011ett@example.com":             "kund-ett@example.com",
		long + "@example.com":                   long + "@example.com",

		"": "", "kund": "", "@": "", "kund@": "", "@example.com": "", "kund@example": "", "kund@.com": "", "kund@example.": "", "kund@example..com": "", "kund..ett@example.com": "",
		"kund@-example.com": "", "kund@example-.com": "", "kund@example.c": "", "kund@example.1": "", "kund@192.168.0.1": "", "kund@[127.0.0.1]": "",
		"kund ett@example.com": "", "kund@exam ple.com": "", "kund@@example.com": "", "kund@ett@example.com": "", "Kund <kund@example.com>": "",
		"kund,ett@example.com": "", "kund;ett@example.com": "", "kund:ett@example.com": "", `"kund"@example.com`: "", `kund\@example.com`: "", "kund(x)@example.com": "",
		"kund@example.com,b@example.com": "", "kund@example.com\r\nBcc: b@example.com": "", "kund\x00@example.com": "", "kund\u0085@example.com": "", "kund\u00a0ett@example.com": "",
		long + "a@example.com": "", "kund@" + strings.Repeat("b", 64) + ".com": "", "k@" + strings.Repeat("abcdefg.", 40) + "com": "", "k\xffnd@example.com": "",
		"kund@exаmple.com": "", // a Cyrillic а
	} {
		got, ok := customer.NormaliseEmail(raw)
		if got != want || ok != (want != "") {
			t.Errorf("%.60q gives %q, %v; want %q", raw, got, ok, want)
		}
	}
}

func TestPersonalNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]bool{
		"19121212-1212": true, "121212-1212": true, "121212+1212": true, "1212121212": true, "191212121212": true, "20121212 1212": true, "18991231-1234": true,
		"701063-2391": true, "700191-1234": true, "900101–1234": true, "90.01.01.1234": true,
		"559999-0000": false, "16559999-0000": false, "292001-0000": false, "892001-0000": false, // an authority's, an association's
		"121312-1212": false, "120012-1212": false, "121232-1212": false, "121260-1212": false, "121292-1212": false, "121200-1212": false,
		"21121212-1212": false, "121212-121": false, "121212-12123": false, "1121212-1212": false, "": false, "121212-121A": false, "X121212-1212": false, "١٢١٢١٢١٢١٢": false,
	} {
		if got := customer.LooksPersonal(v); got != want {
			t.Errorf("%q: got %v, want %v", v, got, want)
		}
	}
}

// The fields that merchants read about, with their types.
func TestSchema(t *testing.T) {
	t.Parallel()
	want := map[string]rule.FieldType{
		"Sitoo-Contact.birthday": rule.Date, "Sitoo-Contact.acceptedconsents": rule.Multiple, "Sitoo-Contact.voucherpasswords": rule.Multiple,
		"Sitoo-Contact.bonuschecks": rule.JSON, "Sitoo-Contact.promotions": rule.JSON,
	}
	for _, name := range strings.Fields("membernumber namefirst namelast company companyid phone mobile gender storeexternalid accepts_email accepts_sms accepts_mail") {
		want["Sitoo-Contact."+name] = rule.Text
	}
	for _, name := range strings.Fields("address address2 zip city state countryid") {
		want["Sitoo-Address.invoice_"+name], want["Sitoo-Address.delivery_"+name] = rule.Text, rule.Text
	}
	got := map[string]rule.FieldType{}
	for _, f := range customer.Schema() {
		if f.Value != nil {
			t.Errorf("%s has a value", f.Name)
		}
		got[f.Group+"."+f.Name] = f.Type
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	members := customer.TextMembers()
	for _, m := range []customer.Member{customer.AcceptsEmail, customer.AcceptsSMS, customer.AcceptsMail, customer.Consents, customer.Vouchers, "personalid"} {
		if slices.Contains(members, m) {
			t.Errorf("%s is listed as a text", m)
		}
	}
	if len(members) != 23 || members[0] != customer.Email {
		t.Errorf("text members are %v", members)
	}
}

// An order's customer: what is not in order is left out, and the order goes on.
func TestFromOrder(t *testing.T) {
	t.Parallel()
	got := map[string]any{}
	for _, f := range customer.FromOrder(customer.OrderPerson{
		FirstName: " Kund ", LastName: strings.Repeat("x", 10_000), Company: "Exempel\x00AB",
		Address: map[string]string{
			"invoice_city": "Lund", "invoice_countryid": "se", "delivery_countryid": "Sverige", "invoice_zip": "", "delivery_address": "Gatan 1",
			"email": "kund@example.com", "mobile": "070-174 06 05", "personalid": "19121212-1212", "gender": "", "accepts_email": "true",
		},
	}, phones) {
		got[f.Group+"."+f.Name] = f.Value
	}
	want := map[string]any{
		"Sitoo-Contact.namefirst": "Kund", "Sitoo-Address.invoice_city": "Lund", "Sitoo-Address.invoice_countryid": "SE", "Sitoo-Address.delivery_address": "Gatan 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
