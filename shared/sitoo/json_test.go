package sitoo_test

import (
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// nested is an object whose member "a" holds n arrays, one in the other.
func nested(n int) string {
	return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		member string // of the refusal
		says   string // part of the refusal, "" if the body is accepted
	}{
		"an order":                    {`{"orderid":1,"orderitems":[{"sku":"A"},{"sku":"B"}]}`, "", ""},
		"white space around":          {" \r\n\t{ } \n", "", ""},
		"the same name in two places": {`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`, "", ""},
		"names that differ in case":   {`{"email":"x","Email":"y"}`, "", ""},
		"every kind of value":         {`{"a":null,"b":true,"c":-1.5e3,"d":"\u00e5","e":[],"f":{}}`, "", ""},
		"an empty name":               {`{"":1}`, "", ""},

		"nothing":             {"", "", "no body"},
		"white space":         {" \n\t", "", "no body"},
		"not JSON":            {"namefirst=Kund", "", "not JSON"},
		"a page":              {"<!doctype html>", "", "not JSON"},
		"a string":            {`"x"`, "", "not an object"},
		"a number":            {`7`, "", "not an object"},
		"null":                {`null`, "", "not an object"},
		"an array":            {`[{"orderid":1}]`, "", "not an object"},
		"two objects":         {`{"a":1}{"b":2}`, "", "goes on after"},
		"text behind":         {`{"a":1} x`, "", "not JSON"},
		"a bracket behind":    {`{"a":1}}`, "", "not JSON"},
		"breaks off at once":  {`{`, "", "not JSON"},
		"breaks off in name":  {`{"ord`, "", "not JSON"},
		"breaks off at colon": {`{"orderid":`, "", "not JSON"},
		"breaks off in value": {`{"orderid":1`, "", "not JSON"},
		"breaks off in array": {`{"orderitems":[{"sku":"A"},`, "", "not JSON"},
		"a comma too many":    {`{"a":1,}`, "", "not JSON"},
		"no comma":            {`{"a":1 "b":2}`, "", "not JSON"},
		"single quotes":       {`{'a':1}`, "", "not JSON"},
		"a bare word":         {`{"a":NaN}`, "", "not JSON"},
		"a leading zero":      {`{"a":01}`, "", "not JSON"},
		"a control character": {"{\"a\":\"x\x00y\"}", "", "not JSON"},
		"invalid UTF-8":       {"{\"namefirst\":\"Bj\xf6rn\"}", "", "UTF-8"},
		"a surrogate alone":   {"{\"namefirst\":\"\xed\xa0\x80\"}", "", "UTF-8"},

		"twice":                   {`{"email":"a@example.com","phone":"","email":"b@example.com"}`, "email", "twice"},
		"twice, spelled another":  {`{"email":1,"\u0065mail":2}`, "email", "twice"},
		"twice in a row":          {`{"orderid":1,"orderitems":[{"sku":"A"},{"sku":"B","sku":"C"}]}`, "orderitems.sku", "twice"},
		"twice after an object":   {`{"a":{"b":1},"c":{"d":{"x":1},"d":2}}`, "c.d", "twice"},
		"twice and a long name":   {`{"` + strings.Repeat("n", 500) + `":1,"` + strings.Repeat("n", 500) + `":2}`, strings.Repeat("n", 60) + "…", "twice"},
		"twice and no name":       {`{"kund.ett@example.com":1,"kund.ett@example.com":2}`, "?", "twice"},
		"twice and a line break":  {`{"a":{"x\r\nSet-Cookie: y":1,"x\r\nSet-Cookie: y":2}}`, "a.?", "twice"},
		"thirty-two levels":       {nested(31), "", ""},
		"thirty-three levels":     {nested(32), "a", "nested deeper than 32"},
		"300 KB of nested arrays": {nested(150_000), "a", "nested deeper than 32"},
		"300 KB of open arrays":   {`{"a":` + strings.Repeat("[", 300_000), "a", "nested deeper than 32"},
		"300 KB of open objects":  {strings.Repeat(`{"a":`, 60_000), strings.TrimSuffix(strings.Repeat("a.", 32), "."), "nested deeper than 32"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := sitoo.Check([]byte(c.body))
			if c.says == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			f := fault.As(err)
			if f == nil || f.Kind != fault.Invalid {
				t.Fatalf("got %v, want an Invalid error", err)
			}
			if f.Member != c.member || !strings.Contains(f.Message, c.says) {
				t.Errorf("member %q, message %q; want %q and something with %q", f.Member, f.Message, c.member, c.says)
			}
			if len(f.Member)+len(f.Message) > 400 {
				t.Errorf("a cashier cannot read a message of %d bytes", len(f.Message))
			}
		})
	}
}

// What Check lets through is one object that the decoders read or refuse, in
// their own words.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"orderid":1}`, `{"orderid":"1","orderitems":[{"quantity":-1,"additionaldata":[]}],"payments":[null]}`,
		`{"orderid":1,"orderdate":"2024-09-27T12:40:00+02:00","additionaldata":{"a":[1],"b":null}}`,
		`{"email":"a@example.com","accepts_email":"1","acceptedconsents":"11","voucherpasswords":[1,"a",null],"mobile":701740605}`,
		`{"a":[[[[]]]]}`, `{"a":1,"a":2}`, `{"a":1`, "\xff", `{"orderid":1e9}`, `{"personalid":{"a":1}}`, `{"moneyfinal_net":1e999999999,"orderid":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := sitoo.Check(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("Check: %v is not Invalid", err)
			}
			return
		}
		c, err := sitoo.DecodeContact(body, []string{"email", "mobile", "personalid"})
		if err != nil && (fault.KindOf(err) != fault.Invalid || fault.As(err).Member == "") {
			t.Errorf("DecodeContact: %v does not say what is wrong", err)
		}
		if _, told := c.Strings["personalid"]; told {
			t.Error("a personal number was read")
		}
		for name, list := range c.Lists {
			if slices.Contains(list, "") {
				t.Errorf("%s has an empty entry", name)
			}
		}
		raw, err := sitoo.WithoutPersonalID(body)
		if err != nil {
			t.Fatalf("WithoutPersonalID: %v", err)
		}
		if err := sitoo.Check(raw); err != nil {
			t.Errorf("without the personal number it is no longer in order: %v", err)
		}
	})
}
