package sitoo_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// known stands for the text members of a contact.
var known = []string{"email", "mobile", "namefirst", "birthday", "storeexternalid"}

func TestDecodeContact(t *testing.T) {
	t.Parallel()
	type contact = sitoo.Contact
	for name, c := range map[string]struct {
		body string
		want contact
	}{
		"nothing": {`{}`, contact{}},
		"texts": {
			`{"email":"Kund.Ett@example.com","mobile":" 070-174 06 05 ","namefirst":"","birthday":"1986-05-15T00:00:00Z"}`,
			contact{Strings: map[string]string{"email": "Kund.Ett@example.com", "mobile": " 070-174 06 05 ", "namefirst": "", "birthday": "1986-05-15T00:00:00Z"}},
		},
		"numbers and truths for texts": {`{"mobile":46701740605,"namefirst":true,"storeexternalid":200}`, contact{Strings: map[string]string{"mobile": "46701740605", "namefirst": "true", "storeexternalid": "200"}}},
		"null is not sent":             {`{"email":null,"storeexternalid":null,"accepts_email":null,"acceptedconsents":null}`, contact{}},
		"flags in every form": {
			`{"accepts_email":true,"accepts_sms":"False","accepts_mail":1}`,
			contact{Flags: map[string]bool{"accepts_email": true, "accepts_sms": false, "accepts_mail": true}},
		},
		"flags as digits in texts":      {`{"accepts_email":" 1 ","accepts_sms":"0","accepts_mail":0}`, contact{Flags: map[string]bool{"accepts_email": true, "accepts_sms": false, "accepts_mail": false}}},
		"an empty flag says nothing":    {`{"accepts_email":"","accepts_sms":false}`, contact{Flags: map[string]bool{"accepts_sms": false}}},
		"lists":                         {`{"acceptedconsents":["11",12,"",null],"voucherpasswords":[]}`, contact{Lists: map[string][]string{"acceptedconsents": {"11", "12"}, "voucherpasswords": {}}}},
		"one for a list":                {`{"acceptedconsents":11,"voucherpasswords":"VIP"}`, contact{Lists: map[string][]string{"acceptedconsents": {"11"}, "voucherpasswords": {"VIP"}}}},
		"an empty text for a list":      {`{"acceptedconsents":""}`, contact{}},
		"what is ours to say":           {`{"contactid":"1","personalid":"19121212-1212","bonuschecks":[{"bonuscheckid":"x"}],"promotions":7}`, contact{}},
		"what nobody knows":             {`{"shoesize":43,"email2":{"a":1}}`, contact{}},
		"a name in another case is not": {`{"Email":"kund.ett@example.com"}`, contact{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := sitoo.DecodeContact([]byte(c.body), append(known, "contactid", "personalid", "bonuschecks", "accepts_email"))
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want.Strings == nil {
				want.Strings = map[string]string{}
			}
			if want.Flags == nil {
				want.Flags = map[string]bool{}
			}
			if want.Lists == nil {
				want.Lists = map[string][]string{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeContactRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, member, says string }{
		"a list":                   {`[{}]`, "", "not an object"},
		"null":                     {`null`, "", "not an object"},
		"an object for a text":     {`{"email":{"work":"kund.ett@example.com"}}`, "email", "not a text"},
		"a list for a text":        {`{"mobile":["070-174 06 05"]}`, "mobile", "not a text"},
		"a flag that is none":      {`{"accepts_sms":"kanske"}`, "accepts_sms", "not a yes or no"},
		"a flag of two":            {`{"accepts_sms":2}`, "accepts_sms", "not a yes or no"},
		"a list for a flag":        {`{"accepts_email":[true]}`, "accepts_email", "not a text"},
		"an object for a list":     {`{"acceptedconsents":{"11":true}}`, "acceptedconsents", "not a text"},
		"an object in a list":      {`{"acceptedconsents":["11",{"id":12}]}`, "acceptedconsents[1]", "not a text"},
		"a list in a list":         {`{"voucherpasswords":[["VIP"]]}`, "voucherpasswords[0]", "not a text"},
		"the first mistake counts": {`{"accepts_email":"x","email":{}}`, "accepts_email", "not a yes or no"},
	} {
		_, err := sitoo.DecodeContact([]byte(c.body), known)
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || f.Member != c.member || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s: got %v, want member %q and something with %q", name, err, c.member, c.says)
		}
	}
}

// Cards as they go over the wire.
func TestCard(t *testing.T) {
	t.Parallel()
	used := "2026-02-01T10:00:00Z"
	full := sitoo.Card{
		ContactID: "255934461",
		Strings: map[string]string{
			"membernumber": "100001", "email": "kund.ett@example.com", "namefirst": `Kund "K" <b>&`, "namelast": "Ett\u2028",
			"mobile": "+46701740605", "birthday": "1986-05-15T00:00:00Z", "storeexternalid": "200",
		},
		Flags:    map[string]bool{"accepts_email": true, "accepts_sms": false, "accepts_mail": false},
		Lists:    map[string][]string{"acceptedconsents": {"11"}, "voucherpasswords": nil},
		Extended: true,
		BonusChecks: []sitoo.BonusCheck{
			{ID: "bc-1", Name: "Bonus", Description: "Februari", Value: "50.00"},
			{ID: "bc-2", Name: "Bonus", Value: "100.00", Redeemed: true, DateRedeemed: &used},
		},
		Promotions: []sitoo.Promotion{{ID: "p-1", Name: "Tre för två", Redeemed: true}},
	}
	bare := sitoo.Card{ContactID: "7", Strings: map[string]string{"email": "", "storeexternalid": ""}, Lists: map[string][]string{"acceptedconsents": nil}}
	extended := bare
	extended.Extended = true
	for file, card := range map[string]sitoo.Card{"card-full.json": full, "card-bare.json": bare, "card-extended-empty.json": extended} {
		got, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, got, "", "  "); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(read(t, file)), pretty.String()+"\n"); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		`{"consentid":"11","name":"Nyheter","description":"Klubben","value":true}`: sitoo.Consent{ID: "11", Name: "Nyheter", Description: "Klubben", Value: true},
		`{"transactionid":"210334","receiptid":"R1","date":"2024-09-27T10:40:00Z","storename":"Butik","currencycode":"SEK","total":"879.00","rows":[{"productname":"Strumpor","sku":"S1","quantity":"2","total":"79.90"}]}`: sitoo.Transaction{
			ID: "210334", ReceiptID: "R1", Date: "2024-09-27T10:40:00Z", StoreName: "Butik", Currency: "SEK", Total: "879.00",
			Rows: []sitoo.TransactionRow{{ProductName: "Strumpor", SKU: "S1", Quantity: "2", Total: "79.90"}},
		},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}
