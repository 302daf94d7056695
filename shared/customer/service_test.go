package customer_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
)

type (
	texts = map[customer.Member]string
	flags = map[customer.Member]bool
	lists = map[customer.Member][]string
)

// Each refusal names the member and what was expected, and costs no request.
func TestAddRefuses(t *testing.T) {
	t.Parallel()
	type refusal struct {
		in           customer.Contact
		member, says string
	}
	mobile := func(m customer.Member, v string) customer.Contact {
		c := customer.Contact{Text: texts{customer.Mobile: "0701740605"}}
		c.Text[m] = v
		return c
	}
	cases := map[string]refusal{
		"nothing":             {customer.Contact{}, "email, mobile, phone", "is needed"},
		"only a name":         {customer.Contact{Text: texts{customer.FirstName: "Kund", customer.Email: " ", customer.Mobile: ""}}, "email, mobile, phone", "is needed"},
		"an email":            {mobile(customer.Email, "kund(at)example.com"), "email", "not an email address"},
		"half an email":       {mobile(customer.Email, "kund@"), "email", "not an email address"},
		"a mobile":            {mobile(customer.Mobile, "saknas"), "mobile", "not a phone number"},
		"a short mobile":      {mobile(customer.Mobile, "070-174"), "mobile", "not a phone number"},
		"a phone":             {mobile(customer.Phone, "070-174 06 05 x 7"), "phone", "not a phone number"},
		"a country":           {mobile(customer.InvoiceCountry, "Sverige"), "invoice_countryid", "two letters"},
		"another country":     {mobile(customer.DeliveryCountry, "S1"), "delivery_countryid", "two letters"},
		"a country, not ours": {mobile(customer.DeliveryCountry, "é"), "delivery_countryid", "two letters"},
		"a birthday":          {mobile(customer.Birthday, "i maj"), "birthday", "1986-05-15"},
		"a day that is none":  {mobile(customer.Birthday, "1986-02-30"), "birthday", "1986-05-15"},
		"too many consents":   {customer.Contact{Text: texts{customer.Mobile: "0701740605"}, Lists: lists{customer.Consents: make([]string, 101)}}, "acceptedconsents", "at most 100"},
		"a long consent":      {customer.Contact{Text: texts{customer.Mobile: "0701740605"}, Lists: lists{customer.Consents: {strings.Repeat("1", 256)}}}, "acceptedconsents", "at most 255"},
		"a broken voucher":    {customer.Contact{Text: texts{customer.Mobile: "0701740605"}, Lists: lists{customer.Vouchers: {"VIP", "V\tP"}}}, "voucherpasswords", "control character"},
	}
	for _, m := range customer.TextMembers() {
		for what, v := range map[string]struct{ v, says string }{
			"10,000 characters": {strings.Repeat("ö", 10_000), "has 10000 characters, at most 255"},
			"a line break":      {"Kund\nEtt", "control character"},
			"a null":            {"Kund\x00Ett", "control character"},
			"an escape":         {"Kund\x1b[31m", "control character"},
			"a C1 control":      {"Kund\u0085Ett", "control character"},
			"invalid UTF-8":     {"Kund\xff", "UTF-8"},
		} {
			cases[string(m)+" with "+what] = refusal{mobile(m, v.v), string(m), v.says}
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "")
			id, err := s.Add(t.Context(), s.r, account, c.in)
			wantFault(t, err, fault.Invalid, c.member, c.says)
			if id != 0 || len(s.routes()) != 0 {
				t.Errorf("id %d, requests to Rule: %v", id, s.routes())
			}
		})
	}
}

// member is a member with spellings of values and what is shown of them.
type value struct{ raw, shown string }

var values = map[customer.Member][]value{
	customer.Email:          {{"Kund.Ett@Example.com", "kund.ett@example.com"}, {"kund.tva@example.com", "kund.tva@example.com"}},
	customer.Mobile:         {{"070-174 06 05", "+46701740605"}, {"+46701740606", "+46701740606"}, {"+47 412 34 567", "+4741234567"}},
	customer.Phone:          {{"08-465 004 05", "+46846500405"}, {"0701740605", "+46701740605"}, {"0046701740607", "+46701740607"}},
	customer.MemberNumber:   {{"100001", "100001"}, {"0042", "0042"}},
	customer.FirstName:      {{" Kund ", "Kund"}, {"Å\"/\\<b>&", "Å\"/\\<b>&"}, {strings.Repeat("ö", 255), strings.Repeat("ö", 255)}},
	customer.LastName:       {{"Ett", "Ett"}, {"null", "null"}, {"🙂", "🙂"}},
	customer.Company:        {{"Exempel AB", "Exempel AB"}},
	customer.CompanyID:      {{"559999-0000", "559999-0000"}, {"SE559999000001", "SE559999000001"}, {"121212-1212", ""}, {"SE121212121201", ""}, {"19900101–1234", ""}},
	customer.Gender:         {{"female", "female"}, {"male", "male"}},
	customer.Birthday:       {{"1986-05-15T00:00:00Z", "1986-05-15"}, {"1986-05-15", "1986-05-15"}, {"2000-02-29 12:00:00", "2000-02-29"}, {"1912-12-12T00:00:00", "1912-12-12"}},
	customer.HomeStore:      {{"200", "200"}},
	customer.InvoiceAddress: {{"Exempelgatan 1", "Exempelgatan 1"}},
	customer.InvoiceZip:     {{"111 22", "111 22"}},
	customer.InvoiceCity:    {{"Umeå", "Umeå"}, {"[1,2]", "[1,2]"}},
	customer.InvoiceCountry: {{"se", "SE"}, {"No", "NO"}},
	customer.DeliveryCity:   {{`{"a":1}`, `{"a":1}`}, {"true", "true"}},
}

// change is what a till sends, and what of it a card is to show.
type change struct{ in, shown customer.Contact }

func empty() customer.Contact { return customer.Contact{Text: texts{}, Flags: flags{}, Lists: lists{}} }

var changes = rapid.Custom(func(t *rapid.T) change {
	c := change{empty(), empty()}
	for _, m := range customer.TextMembers() {
		if v := rapid.IntRange(-2, len(values[m])).Draw(t, string(m)); v >= 0 {
			all := append([]value{{"", ""}}, values[m]...)
			c.in.Text[m], c.shown.Text[m] = all[v].raw, all[v].shown
		}
	}
	for _, m := range []customer.Member{customer.AcceptsEmail, customer.AcceptsSMS, customer.AcceptsMail} {
		if v := rapid.IntRange(0, 2).Draw(t, string(m)); v > 0 {
			c.in.Flags[m] = v == 1
			c.shown.Flags[m] = v == 1
		}
	}
	for m, of := range map[customer.Member][]string{customer.Consents: {"11", "12", "21"}, customer.Vouchers: {"VIP", "vår", "a,b", `"`}} {
		if rapid.Bool().Draw(t, string(m)) {
			list := rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, len(of), rapid.ID).Draw(t, "entries of "+string(m))
			slices.Sort(list)
			c.in.Lists[m], c.shown.Lists[m] = list, list
		}
	}
	return c
})

// apply is how a card changes with what a till sends.
func (c change) apply(card *customer.Contact, edit bool) {
	for m, v := range c.shown.Text {
		card.Text[m] = v
		if v == "" {
			delete(card.Text, m)
		}
	}
	for m, v := range c.shown.Flags {
		// Nobody was asked yet, and the card showed that as no.
		if _, asked := card.Flags[m]; edit && !asked && !v {
			continue
		}
		card.Flags[m] = v
	}
	for m, v := range c.shown.Lists {
		card.Lists[m] = v
		if len(v) == 0 {
			delete(card.Lists, m)
		}
	}
}

var topics = []fakerule.PreferenceGroup{
	{ID: 1, Name: "Klubben", Preferences: []fakerule.Preference{{ID: 11, Name: "Nyheter"}, {ID: 12, Name: "Mode", FallbackOptIn: true}}},
	{ID: 2, Name: "Butiken", Preferences: []fakerule.Preference{{ID: 21, Name: "Evenemang"}}},
}

// For any contact: what is written is read again in its normal form, edit after
// edit; Rule knows the person by the mobile number, or else the phone number;
// and an echo of the card changes nothing.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newShop(t, "")
		s.rule.DefinePreferences(key, topics...)
		ctx := t.Context()
		card := empty()
		card.Flags[customer.AcceptsEmail], card.Flags[customer.AcceptsSMS] = true, true // until somebody says no
		first := changes.Filter(func(c change) bool {
			return c.shown.Text[customer.Email]+c.shown.Text[customer.Mobile]+c.shown.Text[customer.Phone] != ""
		}).Draw(t, "new customer")
		id, err := s.Add(ctx, s.r, account, first.in)
		if err != nil {
			t.Fatalf("add: %v", err)
		}
		first.apply(&card, false)
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			check(t, s, id, card)
			c := changes.Draw(t, "edit")
			next := customer.Contact{Text: maps.Clone(card.Text), Flags: maps.Clone(card.Flags), Lists: maps.Clone(card.Lists)}
			c.apply(&next, true)
			s.pass(customer.RefusalLasts) // a till's no holds that long
			err := s.Update(ctx, s.r, account, id, c.in)
			if next.Text[customer.Email]+next.Text[customer.Mobile]+next.Text[customer.Phone] == "" {
				wantFault(t, err, fault.Invalid, "email, mobile, phone", "at least one must stay")
				break // and the card is what it was
			}
			if err != nil {
				t.Fatalf("edit: %v", err)
			}
			card = next
		}
		check(t, s, id, card)
	})
}

func check(t *rapid.T, s *shop, id int64, want customer.Contact) {
	t.Helper()
	got, err := s.Get(t.Context(), s.r, id)
	if err != nil {
		t.Fatal(err)
	}
	shown := got
	shown.ID = 0
	if want.Text[customer.MemberNumber] == "" { // the contact id is shown in its place
		want.Text = maps.Clone(want.Text)
		want.Text[customer.MemberNumber] = strconv.FormatInt(id, 10)
	}
	for _, l := range shown.Lists {
		slices.Sort(l)
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Fatalf("card: %s", diff)
	}
	sub := s.subscriber(id)
	number := want.Text[customer.Mobile]
	if number == "" {
		number = want.Text[customer.Phone]
	}
	if sub.Email != want.Text[customer.Email] || sub.Phone != number || !slices.Contains(sub.Tags, customer.Tag) {
		t.Fatalf("Rule knows %q, %q, tags %v; want %q, %q", sub.Email, sub.Phone, sub.Tags, want.Text[customer.Email], number)
	}
	for _, k := range []string{want.Text[customer.Email], number} {
		if found, ok, err := s.Find(t.Context(), s.r, account, k); k != "" && (err != nil || !ok || found.ID != id) {
			t.Fatalf("key %q finds %v, %v, %v", k, found.ID, ok, err)
		}
	}
	if strings.Contains(s.snapshot(), "1212") && want.Text[customer.Birthday] != "1912-12-12" {
		t.Fatal("a personal number reached Rule")
	}
	before := s.snapshot()
	s.forget()
	if err := s.Update(t.Context(), s.r, account, id, echo(got)); err != nil {
		t.Fatalf("echo: %v", err)
	}
	if diff := cmp.Diff([]string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, s.routes()); diff != "" {
		t.Fatalf("an echo of the card is more than two reads: %s%v", diff, s.writes())
	}
	if after := s.snapshot(); after != before {
		t.Fatalf("an echo of the card changes Rule:\n%s\n%s", before, after)
	}
}

// odd is an account with people as Rule's staff, imports and the people
// themselves leave them.
const odd = `{"accounts":[{
	"schema":[{"group":"Sitoo-Contact","fields":{"namefirst":"text","mobile":"text","phone":"text","birthday":"date","accepts_email":"text","accepts_sms":"text","accepts_mail":"text","acceptedconsents":"multiple"}}],
	"preferences":[{"id":1,"name":"Klubben","preferences":[{"id":11,"name":"Nyheter","fallback_opt_in":false},{"id":12,"name":"Mode","fallback_opt_in":true}]},
		{"id":2,"name":"Butiken","preferences":[{"id":21,"name":"Evenemang","fallback_opt_in":false}]}],
	"subscribers":[
	{"id":1,"email":"kund.ett@example.com","phone_number":"+46701740605","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"namefirst":"Kund","mobile":"+46701740605"}}]},
	{"id":2,"email":"utan.nummer@example.com","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"mobile":"+46701740611","phone":"+46701740612","accepts_mail":"false"}}]},
	{"id":3,"phone_number":"+46701740613","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"mobile":"+46701740699","phone":"+46846500405","accepts_mail":"true"}}]},
	{"id":4,"email":"kund@malmö.example","phone_number":"+46701740614","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"accepts_mail":"false"}}]},
	{"id":5,"email":"vantar@example.com","status":"PENDING","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"accepts_mail":"false"}}]},
	{"id":6,"email":"skadad@example.com","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"namefirst":"K\nund","mobile":"ring","phone":"saknas","accepts_mail":"nej","accepts_email":"kanske","acceptedconsents":["11","99"]}}]},
	{"id":7,"email":"nej.tack@example.com","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"accepts_email":"false","accepts_sms":"true","accepts_mail":"0"}}],
		"suppressions":[{"dispatcher_type":"campaign","message_type":"email","suppressed_source_type":"user"},{"dispatcher_type":"campaign","message_type":"text_message","suppressed_source_type":"spam"}]},
	{"id":8,"email":"kvitto@example.com","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"accepts_mail":"false"}}],
		"suppressions":[{"dispatcher_type":"transactional","message_type":"email","suppressed_source_type":"user"}]}
]}]}`

// A till that saves a card it did not touch changes nothing, whoever is on it;
// and one that changes the first name changes that.
func TestEcho(t *testing.T) {
	t.Parallel()
	for id := int64(1); id <= 8; id++ {
		t.Run(strconv.FormatInt(id, 10), func(t *testing.T) {
			t.Parallel()
			s := newShop(t, odd)
			card, err := s.Get(t.Context(), s.r, id)
			if err != nil {
				t.Fatal(err)
			}
			before := s.snapshot()
			s.forget()
			if err := s.Update(t.Context(), s.r, account, id, echo(card)); err != nil {
				t.Fatalf("echo of %v: %v", card.Text, err)
			}
			if diff := cmp.Diff([]string{"GET /v2/subscribers/*", "GET /v3/custom-field-data/*"}, s.routes()); diff != "" {
				t.Errorf("an echo of the card is more than two reads: %s%v", diff, s.writes())
			}
			if after := s.snapshot(); after != before {
				t.Errorf("an echo of the card changes Rule:\n%s\n%s", before, after)
			}
			s.forget()
			edited := echo(card)
			edited.Text[customer.FirstName] = "Ny"
			if err := s.Update(t.Context(), s.r, account, id, edited); err != nil {
				t.Fatal(err)
			}
			want := []request{{fmt.Sprintf("PUT /v2/subscribers/%d", id), `{"fields":[{"key":"Sitoo-Contact.namefirst","value":"Ny","type":"text"}]}`}}
			if diff := cmp.Diff(want, s.writes()); diff != "" {
				t.Errorf("an edit of the first name: %s", diff)
			}
		})
	}
}

// A number that Rule knows and our library does not, because its list is older,
// does not keep the customer from being edited.
func TestEchoOfANumberWeDoNotKnow(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	s.Phones = func(raw string, countries ...string) (string, bool) {
		if strings.Contains(raw, "740605") {
			return "", false
		}
		return phones(raw, countries...)
	}
	card, err := s.Get(t.Context(), s.r, 1)
	if err != nil || card.Text[customer.Mobile] != "+46701740605" {
		t.Fatalf("card %v, %v", card.Text, err)
	}
	in := echo(card)
	in.Text[customer.FirstName] = "Ny"
	if err := s.Update(t.Context(), s.r, account, 1, in); err != nil {
		t.Fatal(err)
	}
	if got := s.field(1, "Sitoo-Contact.namefirst"); got != "Ny" || s.subscriber(1).Phone != "+46701740605" {
		t.Errorf("first name is %q, number %q", got, s.subscriber(1).Phone)
	}
	in.Text[customer.Phone] = "0701740605"
	wantFault(t, s.Update(t.Context(), s.r, account, 1, in), fault.Invalid, "phone", "not a phone number")
}

// What each till's word on marketing does, by who had said no before.
func TestMarketing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(s *shop)   // to subscriber 1
		said   []flags         // edit after edit
		want   string          // suppressions
		tagged bool            // Newsletter
		shown  map[string]bool // accepts_email, accepts_sms
	}{
		"no":                     {nil, []flags{{customer.AcceptsEmail: false}}, "email api", false, map[string]bool{"email": false, "sms": true}},
		"no to both":             {nil, []flags{{customer.AcceptsEmail: false, customer.AcceptsSMS: false}}, "email api, text_message api", false, map[string]bool{"email": false, "sms": false}},
		"yes to what is on":      {nil, []flags{{customer.AcceptsEmail: true}}, "", false, map[string]bool{"email": true, "sms": true}},
		"no and yes":             {nil, []flags{{customer.AcceptsEmail: false}, {customer.AcceptsEmail: true}}, "", true, map[string]bool{"email": true, "sms": true}},
		"no, no and yes":         {nil, []flags{{customer.AcceptsEmail: false}, {customer.AcceptsEmail: false}, {customer.AcceptsEmail: true}}, "", true, map[string]bool{"email": true, "sms": true}},
		"no to both, yes to one": {nil, []flags{{customer.AcceptsEmail: false, customer.AcceptsSMS: false}, {customer.AcceptsSMS: true}}, "email api", true, map[string]bool{"email": false, "sms": true}},
		"yes, and no to both later": {
			nil, []flags{{customer.AcceptsSMS: false}, {customer.AcceptsSMS: true}, {customer.AcceptsEmail: false, customer.AcceptsSMS: false}}, "email api, text_message api", false, map[string]bool{"email": false, "sms": false},
		},
		"the customer said no":                {suppressed("email", "user"), []flags{{customer.AcceptsEmail: true}}, "email user", false, map[string]bool{"email": false, "sms": true}},
		"a spam report":                       {suppressed("email", "spam"), []flags{{customer.AcceptsEmail: true}}, "email spam", false, map[string]bool{"email": false, "sms": true}},
		"Rule's staff said no":                {suppressed("text_message", "admin"), []flags{{customer.AcceptsSMS: true}}, "text_message admin", false, map[string]bool{"email": true, "sms": false}},
		"another program's no":                {suppressed("email", "api"), []flags{{customer.AcceptsEmail: true}}, "email api", false, map[string]bool{"email": false, "sms": true}},
		"the till's no, then the customer's":  {noThen("user"), []flags{{customer.AcceptsEmail: true}}, "email user", false, map[string]bool{"email": false, "sms": true}},
		"the till's no, then a spam report":   {noThen("spam"), []flags{{customer.AcceptsEmail: true}}, "email spam", false, map[string]bool{"email": false, "sms": true}},
		"the till's no, then the staff's":     {noThen("admin"), []flags{{customer.AcceptsEmail: true}}, "email admin", false, map[string]bool{"email": false, "sms": true}},
		"one channel off, the other stays on": {nil, []flags{{customer.AcceptsSMS: false}, {customer.AcceptsSMS: true}, {customer.AcceptsEmail: false}}, "email api", true, map[string]bool{"email": false, "sms": true}},
		"no, where the customer said no":      {suppressed("email", "user"), []flags{{customer.AcceptsEmail: false}}, "email user", false, map[string]bool{"email": false, "sms": true}},
		"the other channel":                   {suppressed("text_message", "user"), []flags{{customer.AcceptsEmail: false}, {customer.AcceptsEmail: true}}, "text_message user", true, map[string]bool{"email": true, "sms": false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, odd)
			if c.before != nil {
				c.before(s)
			}
			for _, said := range c.said {
				s.pass(customer.RefusalLasts)
				if err := s.Update(t.Context(), s.r, account, 1, customer.Contact{Flags: said}); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.suppressions(1); got != c.want {
				t.Errorf("suppressions: %q, want %q", got, c.want)
			}
			if got := slices.Contains(s.subscriber(1).Tags, customer.NewsletterTag); got != c.tagged {
				t.Errorf("Newsletter tag: %v, want %v", got, c.tagged)
			}
			card, err := s.Get(t.Context(), s.r, 1)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{"email": card.Flags[customer.AcceptsEmail], "sms": card.Flags[customer.AcceptsSMS]}
			if diff := cmp.Diff(c.shown, got); diff != "" {
				t.Errorf("card: %s", diff)
			}
		})
	}
}

// noThen is a till's no to email, which somebody else's takes the place of.
func noThen(source string) func(s *shop) {
	return func(s *shop) {
		if err := s.Update(context.Background(), s.r, account, 1, customer.Contact{Flags: flags{customer.AcceptsEmail: false}}); err != nil {
			s.t.Fatal(err)
		}
		suppressed("email", source)(s)
	}
}

func suppressed(message, source string) func(s *shop) {
	return func(s *shop) {
		if err := s.rule.Suppress(key, 1, message, source); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Registering says yes and no as well; it lifts nothing.
func TestMarketingOfNewCustomers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		email  string
		said   flags
		want   string
		tagged bool
	}{
		"silence":                     {"ny@example.com", nil, "", false},
		"yes":                         {"ny@example.com", flags{customer.AcceptsEmail: true, customer.AcceptsSMS: true}, "", true},
		"yes to one":                  {"ny@example.com", flags{customer.AcceptsEmail: false, customer.AcceptsSMS: true}, "email api", true},
		"no":                          {"ny@example.com", flags{customer.AcceptsEmail: false, customer.AcceptsSMS: false}, "email api, text_message api", false},
		"post is no campaign":         {"ny@example.com", flags{customer.AcceptsMail: true}, "", false},
		"yes, where there was a no":   {"nej.tack@example.com", flags{customer.AcceptsEmail: true}, "email user, text_message spam", false},
		"no, where there was one":     {"nej.tack@example.com", flags{customer.AcceptsEmail: false}, "email user, text_message spam", false},
		"yes to what is on":           {"kvitto@example.com", flags{customer.AcceptsEmail: true}, "email user", true},
		"a box left unticked":         {"kvitto@example.com", flags{customer.AcceptsEmail: false}, "email user", false},
		"somebody who has to confirm": {"vantar@example.com", flags{customer.AcceptsEmail: false}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, odd)
			id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: c.email}, Flags: c.said})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.suppressions(id); got != c.want {
				t.Errorf("suppressions: %q, want %q", got, c.want)
			}
			if got := slices.Contains(s.subscriber(id).Tags, customer.NewsletterTag); got != c.tagged {
				t.Errorf("Newsletter tag: %v, want %v", got, c.tagged)
			}
		})
	}
}

// A suppression that another program set through the API is not the till's to
// lift, however often the till says no and yes; one of the till's own stays so
// when the customer is registered once more.
func TestWhoseNo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		foreign bool
		want    string
	}{
		"another program's": {true, "email api"},
		"the till's own":    {false, ""},
	} {
		s := newShop(t, odd)
		no := customer.Contact{Text: texts{customer.Email: "kund.ett@example.com"}, Flags: flags{customer.AcceptsEmail: false}}
		if c.foreign {
			if err := s.rule.Suppress(key, 1, "email", "api"); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if _, err := s.Add(t.Context(), s.r, account, no); err != nil {
				t.Fatal(err)
			}
		}
		yes := customer.Contact{Flags: flags{customer.AcceptsEmail: true}}
		if err := s.Update(t.Context(), s.r, account, 1, yes); err != nil {
			t.Fatal(err)
		}
		if got := s.suppressions(1); got != c.want {
			t.Errorf("%s: suppressions %q, want %q", name, got, c.want)
		}
	}
}

// A topic that staff have just added can be accepted at once.
func TestNewTopic(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	if _, err := s.ConsentList(t.Context(), s.r, account); err != nil {
		t.Fatal(err)
	}
	s.rule.DefinePreferences(key, append(slices.Clone(topics), fakerule.PreferenceGroup{ID: 9, Name: "Nytt", Preferences: []fakerule.Preference{{ID: 91, Name: "Rea"}}})...)
	if err := s.Update(t.Context(), s.r, account, 1, customer.Contact{Lists: lists{customer.Consents: {"91"}}}); err != nil {
		t.Error(err)
	}
}

// A personal number in the box for a phone number is not kept as one.
func TestPersonalNumberAsPhone(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"900101-1234", "19900101-1234", "199001011234", "9001011234"} {
		s := newShop(t, odd)
		_, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com", customer.Mobile: number}})
		wantFault(t, err, fault.Invalid, "mobile", "phone number")
		if len(s.writes()) != 0 {
			t.Errorf("%s: something was written", number)
		}
	}
}

// Only the topics that changed are sent: the customer may have chosen otherwise
// since, on Rule's own page.
func TestPreferences(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	set := func(ids ...string) []request {
		t.Helper()
		s.forget()
		if err := s.Update(t.Context(), s.r, account, 1, customer.Contact{Lists: lists{customer.Consents: ids}}); err != nil {
			t.Fatal(err)
		}
		var sent []request
		for _, w := range s.writes() {
			if strings.HasPrefix(w.Route, "PATCH") {
				sent = append(sent, w)
			}
		}
		slices.SortFunc(sent, func(a, b request) int { return strings.Compare(a.Route, b.Route) })
		return sent
	}
	klubben, butiken := "PATCH /v2/subscriber/1/preference_group/1", "PATCH /v2/subscriber/1/preference_group/2"
	for i, c := range []struct {
		ids  []string
		want []request
	}{
		{[]string{"12"}, []request{{klubben, `{"preferences":[{"preference_id":12,"is_opted_in":true}]}`}}},
		{[]string{"12"}, nil},
		{[]string{"11", "12", "21"}, []request{{klubben, `{"preferences":[{"preference_id":11,"is_opted_in":true}]}`}, {butiken, `{"preferences":[{"preference_id":21,"is_opted_in":true}]}`}}},
		{[]string{"21", "11", "12", "11"}, nil},
		{[]string{"21"}, []request{{klubben, `{"preferences":[{"preference_id":11,"is_opted_in":false},{"preference_id":12,"is_opted_in":false}]}`}}},
		{[]string{}, []request{{butiken, `{"preferences":[{"preference_id":21,"is_opted_in":false}]}`}}},
	} {
		if diff := cmp.Diff(c.want, set(c.ids...)); diff != "" {
			t.Errorf("step %d, %v: %s", i, c.ids, diff)
		}
	}
	// One that the account no longer has can go, and need not be sent.
	s.forget()
	if err := s.Update(t.Context(), s.r, account, 6, customer.Contact{Lists: lists{customer.Consents: {"11"}}}); err != nil {
		t.Fatal(err)
	}
	for _, w := range s.writes() {
		if strings.HasPrefix(w.Route, "PATCH") {
			t.Errorf("sent %v", w)
		}
	}
}

// A consent that the account does not have is ignored, whatever else is saved.
func TestUnknownConsent(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"99", "0", "-11", "011", "1", "Nyheter", "19900101-1234"} {
		s := newShop(t, odd)
		added, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Lists: lists{customer.Consents: {"11", id}}})
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if err = s.Update(t.Context(), s.r, account, 1, customer.Contact{Text: texts{customer.FirstName: "Ny"}, Lists: lists{customer.Consents: {id, "12"}}}); err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		for who, want := range map[int64]string{added: "11", 1: "12"} {
			card, err := s.Get(t.Context(), s.r, who)
			if err != nil || !slices.Equal(card.Lists[customer.Consents], []string{want}) {
				t.Errorf("%q: %d accepts %v, %v; want %s", id, who, card.Lists[customer.Consents], err, want)
			}
		}
		if log := s.logs.String(); !strings.Contains(log, "does not have are ignored") && !strings.Contains(log, "are ignored") || strings.Contains(log, "19900101") {
			t.Errorf("%q: log %s", id, log)
		}
	}
	// An account without the feature has no consent at all: Sitoo's own example.
	s := newShop(t, "")
	if _, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Mobile: "+11223334455"}, Lists: lists{customer.Consents: {"1", "2"}}}); err != nil {
		t.Error(err)
	}
	if list, err := s.ConsentList(t.Context(), s.r, account); err != nil || len(list) != 0 || list == nil {
		t.Errorf("consents: %v, %v", list, err)
	}
}

func TestConsentList(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	want := []customer.Consent{
		{ID: "11", Name: "Nyheter", Description: "Klubben"}, {ID: "12", Name: "Mode", Description: "Klubben", Default: true}, {ID: "21", Name: "Evenemang", Description: "Butiken"},
	}
	for range 3 {
		got, err := s.ConsentList(t.Context(), s.r, account)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if n := len(s.routes()); n != 1 {
		t.Errorf("%d requests for three lists, want 1", n)
	}
	// Staff add a topic: it shows within minutes. Another account's do not.
	s.rule.DefinePreferences(key, topics[1])
	s.mu.Lock()
	s.now = s.now.Add(5 * time.Minute)
	s.mu.Unlock()
	if got, err := s.ConsentList(t.Context(), s.r, account); err != nil || len(got) != 1 {
		t.Errorf("after five minutes: %v, %v", got, err)
	}
	s.fail("GET /v2/preference-groups", &fakerule.Fault{Status: 500})
	if got, err := s.ConsentList(t.Context(), s.r, "another"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("while Rule fails: %v, %v", got, err)
	}
	s.fail("GET /v2/preference-groups", &fakerule.Fault{Status: 401})
	if got, err := s.ConsentList(t.Context(), s.r, "another"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("with a bad key: %v, %v", got, err)
	}
}

// Somebody who has not confirmed the opt-in cannot have preferences: that is
// Rule's rule, and no reason to keep the customer out.
func TestPreferencesOfAPendingSubscriber(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	in := customer.Contact{Text: texts{customer.Email: "vantar@example.com", customer.FirstName: "Väntar"}, Lists: lists{customer.Consents: {"11"}}}
	id, err := s.Add(t.Context(), s.r, account, in)
	if err != nil || id != 5 {
		t.Fatalf("add: %d, %v", id, err)
	}
	if got := s.field(5, "Sitoo-Contact.namefirst"); got != "Väntar" {
		t.Errorf("first name is %q", got)
	}
	if err := s.Update(t.Context(), s.r, account, 5, customer.Contact{Lists: lists{customer.Consents: {"21"}}}); err != nil {
		t.Fatalf("update: %v", err)
	}
	// What Rule did not take is not shown as taken, and is sent again next time.
	if card, err := s.Get(t.Context(), s.r, 5); err != nil || len(card.Lists[customer.Consents]) != 0 {
		t.Errorf("the card shows consents that Rule refused: %v, %v", card.Lists[customer.Consents], err)
	}
	if n := strings.Count(s.logs.String(), "Rule refuses the consents"); n < 2 {
		t.Errorf("the log tells of %d refusals: %s", n, s.logs)
	}
	if strings.Contains(s.logs.String(), "vantar@") {
		t.Error("the log has an email address")
	}
}

// Email or phone that belong to somebody else: refused in a sentence, and
// nothing is half-written.
func TestTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(s *shop) error
		says string
	}{
		"a new customer of two": {func(s *shop) error {
			_, err := s.Add(context.Background(), s.r, account, customer.Contact{
				Text:  texts{customer.Email: "kund.ett@example.com", customer.Mobile: "+46701740613", customer.FirstName: "Ny"},
				Flags: flags{customer.AcceptsEmail: false}, Lists: lists{customer.Consents: {"11"}},
			})
			return err
		}, "two different customers"},
		"somebody's email": {func(s *shop) error {
			return s.Update(context.Background(), s.r, account, 2, customer.Contact{Text: texts{customer.Email: "Kund.Ett@example.com", customer.FirstName: "Ny"}, Flags: flags{customer.AcceptsEmail: false}})
		}, "another customer"},
		"somebody's number": {func(s *shop) error {
			return s.Update(context.Background(), s.r, account, 2, customer.Contact{Text: texts{customer.Mobile: "070-174 06 05"}, Lists: lists{customer.Consents: {"11"}}})
		}, "another customer"},
		"somebody's number as phone": {func(s *shop) error {
			return s.Update(context.Background(), s.r, account, 2, customer.Contact{Text: texts{customer.Phone: "070-174 06 05"}})
		}, "another customer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, odd)
			before := s.snapshot()
			wantFault(t, c.do(s), fault.Conflict, "", c.says)
			if after := s.snapshot(); after != before {
				t.Errorf("something was written:\n%s\n%s", before, after)
			}
		})
	}
}

func TestLastIdentifier(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	before := s.snapshot()
	for id, in := range map[int64]texts{
		1: {customer.Email: "", customer.Mobile: "", customer.Phone: ""},
		3: {customer.Mobile: "", customer.Phone: ""},
		5: {customer.Email: " "},
		6: {customer.Email: "", customer.Phone: ""},
	} {
		err := s.Update(t.Context(), s.r, account, id, customer.Contact{Text: in, Flags: flags{customer.AcceptsEmail: false}})
		wantFault(t, err, fault.Invalid, "email, mobile, phone", "at least one must stay")
	}
	if s.snapshot() != before || len(s.writes()) != 0 {
		t.Errorf("something was written: %v", s.writes())
	}
	// One of two goes; the landline takes over from the mobile, and the field
	// from the address.
	for id, c := range map[int64]struct {
		in           texts
		email, phone string
	}{
		1: {texts{customer.Email: ""}, "", "+46701740605"},
		3: {texts{customer.Mobile: ""}, "", "+46846500405"},
		2: {texts{customer.Email: ""}, "", "+46701740612"},
	} {
		if err := s.Update(t.Context(), s.r, account, id, customer.Contact{Text: c.in}); err != nil {
			t.Errorf("%d: %v", id, err)
			continue
		}
		if sub := s.subscriber(id); sub.Email != c.email || sub.Phone != c.phone {
			t.Errorf("%d: Rule knows %q and %q, want %q and %q", id, sub.Email, sub.Phone, c.email, c.phone)
		}
	}
}

// A custom field that staff have made with another type does not keep the
// customer out, and costs no other field.
func TestFieldOfAnotherType(t *testing.T) {
	t.Parallel()
	const retyped = `{"accounts":[{"schema":[{"group":"Sitoo-Contact","fields":{"birthday":"text","voucherpasswords":"json"}}]}]}`
	in := customer.Contact{
		Text:  texts{customer.Email: "ny@example.com", customer.FirstName: "Ny", customer.Birthday: "1986-05-15", customer.InvoiceCity: "Lund"},
		Lists: lists{customer.Vouchers: {"VIP"}},
	}
	s := newShop(t, retyped)
	id, err := s.Add(t.Context(), s.r, account, in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Sitoo-Contact.namefirst": "Ny", "Sitoo-Contact.birthday": "", "Sitoo-Contact.voucherpasswords": "", "Sitoo-Address.invoice_city": "Lund"}
	for field, v := range want {
		if got := s.field(id, field); got != v {
			t.Errorf("%s is %q, want %q", field, got, v)
		}
	}
	if !strings.Contains(s.logs.String(), "Rule refuses a custom field") || strings.Contains(s.logs.String(), "ny@example.com") || strings.Contains(s.logs.String(), "1986") {
		t.Errorf("log: %s", s.logs)
	}
	// An edit as well; and one of nothing but that field.
	in.Text[customer.FirstName] = "Nyare"
	in.Text[customer.Mobile] = "0701740620"
	if err := s.Update(t.Context(), s.r, account, id, in); err != nil {
		t.Fatal(err)
	}
	if sub := s.subscriber(id); s.field(id, "Sitoo-Contact.namefirst") != "Nyare" || sub.Phone != "+46701740620" {
		t.Errorf("after the edit: %+v", sub)
	}
	if err := s.Update(t.Context(), s.r, account, id, customer.Contact{Text: texts{customer.Birthday: "1987-01-01"}}); err != nil {
		t.Fatal(err)
	}

	// A refusal that does not say which: the customer is saved without any.
	for _, body := range []string{`{"error":"BadRequest","message":"mismatched value"}`, `{"error":"BadRequest","fields":{"fields":["no"]}}`, `{"error":"BadRequest","fields":{"fields.77.type":["no"]}}`, `no`} {
		s := newShop(t, "")
		var once bool
		s.rule.SetFault(func(r *http.Request, _ []byte) *fakerule.Fault {
			if r.Method == http.MethodPost && !once {
				once = true
				return &fakerule.Fault{Status: 400, Body: body}
			}
			return nil
		})
		id, err := s.Add(t.Context(), s.r, account, in)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if sub := s.subscriber(id); sub.Email != "ny@example.com" || len(sub.Groups) != 0 {
			t.Errorf("%s: %+v", body, sub)
		}
	}
}

// Refusals of Rule's that are the cashier's to mend name the member.
func TestRefusedByRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer fakerule.Fault
		in     texts
		kind   fault.Kind
		member string
	}{
		"the mobile":         {fakerule.Fault{Status: 400, Body: `{"error":"BadRequest","fields":{"phone_number":["x"]}}`}, texts{customer.Mobile: "0701740621", customer.Phone: "0701740622"}, fault.Invalid, "mobile"},
		"the phone":          {fakerule.Fault{Status: 400, Body: `{"error":"BadRequest","fields":{"subscribers.0.phone_number":["x"]}}`}, texts{customer.Phone: "0701740622"}, fault.Invalid, "phone"},
		"the email":          {fakerule.Fault{Status: 422, Body: `{"message":"x","errors":{"email":"x"}}`}, texts{customer.Email: "ny@example.com"}, fault.Invalid, "email"},
		"taken":              {fakerule.Fault{Status: 409, Body: `{"error":"DuplicateSubscriber"}`}, texts{customer.Email: "ny@example.com"}, fault.Conflict, ""},
		"taken, with a 200":  {fakerule.Fault{Status: 200, Body: `{"error":"DuplicateSubscriber"}`}, texts{customer.Email: "ny@example.com"}, fault.Conflict, ""},
		"a bad key":          {fakerule.Fault{Status: 401, Body: `{"error":"NotAuthorized"}`}, texts{customer.Email: "ny@example.com"}, fault.Unauthorized, ""},
		"a failure":          {fakerule.Fault{Status: 500, Body: `oops`}, texts{customer.Email: "ny@example.com"}, fault.Unavailable, ""},
		"garbage with a 200": {fakerule.Fault{Status: 200, Body: `<html>`}, texts{customer.Email: "ny@example.com"}, fault.Unavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, odd)
			s.fail("POST /v2/subscribers", &c.answer)
			_, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: c.in})
			kind := c.kind
			if kind == fault.Conflict { // with nobody who has it: made, or deleted, a moment ago
				kind = fault.Unavailable
			}
			wantFault(t, err, kind, c.member, "")
			s.fail("PUT /v2/subscribers", &c.answer)
			err = s.Update(t.Context(), s.r, account, 8, customer.Contact{Text: c.in})
			wantFault(t, err, c.kind, c.member, "")
			if m := fault.As(err).Message; strings.Contains(m, "example.com") || strings.Contains(m, "BadRequest") {
				t.Errorf("message %q quotes Rule or the customer", m)
			}
		})
	}
}

// The customer is saved and then something fails: the sentence says so, and
// saving once more completes it.
func TestHalfSaved(t *testing.T) {
	t.Parallel()
	in := customer.Contact{Text: texts{customer.Email: "kund.ett@example.com", customer.FirstName: "Ny"}, Flags: flags{customer.AcceptsEmail: false}, Lists: lists{customer.Consents: {"11", "21"}}}
	for name, op := range map[string]func(s *shop) error{
		"add":    func(s *shop) error { _, err := s.Add(t.Context(), s.r, account, in); return err },
		"update": func(s *shop) error { return s.Update(t.Context(), s.r, account, 1, in) },
	} {
		const route = "PATCH /v2/subscriber/"
		s := newShop(t, odd)
		s.fail(route, &fakerule.Fault{Status: 500})
		wantFault(t, op(s), fault.Unavailable, "", "Save once more")
		s.fail(route, &fakerule.Fault{Status: 401})
		if err := op(s); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%s with a bad key: %v", name, err)
		}
		s.fail("", nil)
		s.forget()
		if err := op(s); err != nil {
			t.Errorf("%s once more: %v", name, err)
		}
		if !slices.ContainsFunc(s.writes(), func(r request) bool { return strings.HasPrefix(r.Route, "PATCH") }) {
			t.Errorf("%s once more: consents are not sent", name)
		}
		card, err := s.Get(t.Context(), s.r, 1)
		if err != nil || !slices.Equal(card.Lists[customer.Consents], []string{"11", "21"}) || card.Flags[customer.AcceptsEmail] != (name == "add") {
			t.Errorf("%s once more: card %+v, %v", name, card, err)
		}
	}
}

// Rule's answer may leave the new id out, or the whole subscriber.
func TestAnswerWithoutID(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"message":"Success"}`, `{"message":"Success","subscriber":null}`, `{"subscriber":{"email":"ny@example.com"}}`, `{"subscriber":{"id":null}}`} {
		for _, in := range []texts{{customer.Email: "ny@example.com"}, {customer.Mobile: "0701740623"}, {customer.Email: "ny@example.com", customer.Phone: "0701740623"}} {
			s := newShop(t, "")
			s.fail("POST /v2/subscribers", &fakerule.Fault{After: true, Body: body})
			id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: in})
			if all := s.rule.Subscribers(key); err != nil || len(all) != 1 || id != all[0].ID {
				t.Errorf("%s: id %d, %v; Rule has %v", body, id, err, all)
			}
		}
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	_, err := s.Get(t.Context(), s.r, 404)
	wantFault(t, err, fault.NotFound, "", "no customer with that id")
	wantFault(t, s.Update(t.Context(), s.r, account, 404, customer.Contact{Text: texts{customer.FirstName: "Ny"}}), fault.NotFound, "", "no customer with that id")
	// Deleted between the reads and the write.
	s.fail("PUT /v2/subscribers", &fakerule.Fault{Status: 404, Body: `{"error":"SubscriberNotFound"}`})
	wantFault(t, s.Update(t.Context(), s.r, account, 1, customer.Contact{Text: texts{customer.FirstName: "Ny"}}), fault.NotFound, "", "no customer with that id")
	// A key that names nobody costs nothing.
	s.forget()
	for _, k := range []string{"", "Kund", "121212-1212", "900101–1234"} {
		if _, ok, err := s.Find(t.Context(), s.r, account, k); ok || err != nil {
			t.Errorf("key %q: %v, %v", k, ok, err)
		}
	}
	if len(s.routes()) != 0 {
		t.Errorf("requests: %v", s.routes())
	}
	// Found, and gone the next time: that is forgotten again.
	for _, want := range []bool{true, false, false} {
		if _, ok, err := s.Find(t.Context(), s.r, account, "kund.ett@example.com"); ok != want || err != nil {
			t.Errorf("found %v, %v; want %v", ok, err, want)
		}
		s.fail("GET /v2/subscribers/", &fakerule.Fault{Status: 404, Body: `{"error":"SubscriberNotFound"}`})
	}
}

// Somebody without any field, and one whose fields are all damaged, show.
func TestFindsTheDamaged(t *testing.T) {
	t.Parallel()
	s := newShop(t, odd)
	for _, f := range customer.Schema() {
		for _, v := range []any{map[string]any{"a": 1}, []any{1, nil}, "\x00", 7, true, strings.Repeat("x", 10_000)} {
			if err := s.rule.SetField(key, 8, 0, f.Group+"."+f.Name, v); err != nil {
				t.Fatal(err)
			}
			card, ok, err := s.Find(t.Context(), s.r, account, "kvitto@example.com")
			if err != nil || !ok || card.ID != 8 || card.Text[customer.Email] != "kvitto@example.com" {
				t.Fatalf("with %s = %v: %v, %v, %v", f.Name, v, card.ID, ok, err)
			}
		}
	}
	if strings.Contains(s.logs.String(), "xxxx") || !strings.Contains(s.logs.String(), `"field":"birthday"`) {
		t.Error("the log has values, or does not name the field")
	}
	s.fail("GET /v3/custom-field-data/", &fakerule.Fault{Status: 404, Body: `{"error":"NotFound"}`})
	if card, err := s.Get(t.Context(), s.r, 1); err != nil || card.Text[customer.Mobile] != "+46701740605" {
		t.Errorf("without fields: %+v, %v", card, err)
	}
}
