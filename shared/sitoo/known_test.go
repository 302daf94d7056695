package sitoo_test

import (
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// What is not read refuses nothing: deep, doubled, of any type, of any name.
func TestUnknownMembersRefuseNothing(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000)
	unknown := []string{
		`"x":1,"x":2`, `"x":{"y":1,"y":2}`, `"x":[{"y":1,"y":2},[],null]`, `"x":` + deep, `"x":` + strings.Repeat(`{"a":`, 50_000) + "1" + strings.Repeat("}", 50_000),
		`"":0,"":1`, `"Email":{},"EMAIL":[]`, `"x":1e999999`, `"x":"\ud800"`, "\"x\":\"\xff\"", `"\u0000":true`, `"personalid":{"a":1,"a":2},"personalid":[[]]`,
		`"contactid":[],"contactid":{}`, `"bonuschecks":` + deep, `"promotions":"x","promotions":7`, `"kund.ett@example.com":1,"kund.ett@example.com":2`,
	}
	for _, u := range unknown {
		for _, place := range []string{`{"email":"a@example.com","orderid":"7",%}`, `{%,"email":"a@example.com","orderid":"7"}`} {
			body := []byte(strings.Replace(place, "%", u, 1))
			name := string(body[:min(len(body), 80)])
			if err := sitoo.CheckContact(body, known); err != nil {
				t.Errorf("%s: a contact is refused: %v", name, err)
			} else if c, err := sitoo.DecodeContact(body, known); err != nil || c.Strings["email"] != "a@example.com" {
				t.Errorf("%s: contact %v, %v", name, c.Strings, err)
			}
			if err := sitoo.CheckOptional(body); err != nil {
				t.Errorf("%s: a redemption is refused: %v", name, err)
			} else if r, err := sitoo.DecodeRedemption(body); err != nil || r.OrderID != "7" {
				t.Errorf("%s: redemption %+v, %v", name, r, err)
			}
		}
	}
}

// What is read keeps its clear answers, and what is no JSON is told.
func TestKnownMembersAreChecked(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000)
	for body, want := range map[string]string{
		`{"email":"a@example.com","email":"b@example.com"}`:      "email: The email address is there twice",
		`{"accepts_sms":true,"x":{"x":1,"x":2},"accepts_sms":1}`: "accepts_sms: ",
		`{"email":{"x":1,"x":2}}`:                                "email: The email address is not a text",
		`{"namefirst":[[[]]]}`:                                   "namefirst: The first name is not a text",
		`{"email":` + deep + `}`:                                 "email: The email address is nested deeper",
		`{"acceptedconsents":[{"a":1,"a":2}]}`:                   "acceptedconsents[0] is not a text",
		`{"accepts_email":{}}`:                                   "accepts_email is not a text",
		"{\"namefirst\":\"\xff\"}":                               "not valid UTF-8",
		`{"email":tru}`:                                          "not JSON",
		`{"x":tru}`:                                              "not JSON",
		`{"x":{a:1}}`:                                            "not JSON",
		`{"x":1`:                                                 "not JSON",
		`{"x":1}{}`:                                              "goes on after",
		`[1]`:                                                    "not an object",
		`null`:                                                   "not an object",
		``:                                                       "no body",
		"\ufeff{}":                                               "not JSON",
	} {
		err := sitoo.CheckContact([]byte(body), known)
		if err == nil {
			_, err = sitoo.DecodeContact([]byte(body), known)
		}
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Member+": "+f.Sentence("en"), want) {
			t.Errorf("%s: %v, want %q", body[:min(len(body), 60)], err, want)
		}
	}
	if !slices.Contains(known, "email") {
		t.Error("email is not known: the test tests nothing")
	}
}
