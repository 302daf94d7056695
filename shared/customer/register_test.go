package customer_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	shops "sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
)

// people are four whom Rule knows: by both identifiers, by one, and with fields.
const people = `{"accounts":[{
	"schema":[{"group":"Sitoo-Contact","fields":{"namefirst":"text","namelast":"text","mobile":"text","accepts_mail":"text","voucherpasswords":"multiple"}}],
	"subscribers":[
	{"id":1,"email":"kund.ett@example.com","phone_number":"+46701740605","tags":["Sitoo"],"entries":[{"group":"Sitoo-Contact","values":{"namefirst":"Kund","namelast":"Ett","mobile":"+46701740605"}}]},
	{"id":2,"email":"kund.tva@example.com"},
	{"id":3,"phone_number":"+46701740607","entries":[{"group":"Sitoo-Contact","values":{"namefirst":"Tre"}}]},
	{"id":4,"email":"kund.fyra@example.com","phone_number":"+46701740608"},
	{"id":5,"email":"anna@xn--exmple-cua.com","phone_number":"+46701740609"}
]}]}`

func asked(t tb, seed string) *shop {
	s := newShop(t, seed)
	s.settings.Consent = shops.ConsentAsked
	return s
}

// Half of what identifies a person is not enough to become her: what contradicts
// Rule is refused with a sentence that says which half, and nothing is written.
func TestNobodyTakesOverAnother(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   texts
		code string
	}{
		"her mobile, another email":              {texts{customer.Mobile: "070-174 06 05", customer.Email: "ny@example.com"}, "phone_taken"},
		"her mobile as phone, another email":     {texts{customer.Phone: "070-174 06 05", customer.Email: "ny@example.com"}, "phone_taken"},
		"her email, another mobile":              {texts{customer.Email: "Kund.Ett@example.com", customer.Mobile: "+46701740699"}, "email_taken"},
		"two people's":                           {texts{customer.Email: "kund.ett@example.com", customer.Mobile: "+46701740608"}, "two_customers"},
		"two people's, each with one identifier": {texts{customer.Email: "kund.tva@example.com", customer.Mobile: "+46701740607"}, "two_customers"},
		"her IDN address, another mobile":        {texts{customer.Email: "anna@exämple.com", customer.Mobile: "+46701740699"}, "email_taken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := asked(t, people)
			before := s.snapshot()
			c.in[customer.FirstName], c.in[customer.LastName] = "Falsk", "Person"
			_, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: c.in, Flags: flags{customer.AcceptsEmail: true}})
			wantFault(t, err, fault.Conflict, "", "")
			if got := fault.As(err).Code; got != c.code {
				t.Errorf("code %q, want %q", got, c.code)
			}
			if err := s.deliver(); err != nil {
				t.Fatal(err)
			}
			if after := s.snapshot(); after != before {
				t.Errorf("something was written:\n%s\n%s", before, after)
			}
		})
	}
}

// Somebody whom Rule knows keeps what Rule has of her: what is empty is filled,
// and nothing is overwritten.
func TestRegisteringTheKnown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in           texts
		id           int64
		email, phone string
		first, last  string
		most         int // requests
	}{
		"both, another name": {texts{customer.Email: "kund.ett@example.com", customer.Mobile: "0701740605", customer.FirstName: "Falsk", customer.LastName: "Person"}, 1, "kund.ett@example.com", "+46701740605", "Kund", "Ett", 5},
		"email alone":        {texts{customer.Email: "kund.ett@example.com", customer.FirstName: "Falsk"}, 1, "kund.ett@example.com", "+46701740605", "Kund", "Ett", 3},
		"mobile alone":       {texts{customer.Mobile: "0701740605"}, 1, "kund.ett@example.com", "+46701740605", "Kund", "Ett", 3},
		"an empty number":    {texts{customer.Email: "kund.tva@example.com", customer.Mobile: "0701740666", customer.FirstName: "Kund", customer.LastName: "Två"}, 2, "kund.tva@example.com", "+46701740666", "Kund", "Två", 5},
		"an empty email":     {texts{customer.Email: "kund.tre@example.com", customer.Mobile: "0701740607", customer.FirstName: "Falsk", customer.LastName: "Tre"}, 3, "kund.tre@example.com", "+46701740607", "Tre", "Tre", 5},
		"an IDN address":     {texts{customer.Email: "Anna@EXÄMPLE.com", customer.FirstName: "Anna"}, 5, "anna@xn--exmple-cua.com", "+46701740609", "Anna", "", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := asked(t, people)
			s.forget()
			id, known, err := s.Service.Add(t.Context(), s.r, s.account(account), customer.Contact{Text: c.in}, "request")
			if err != nil || id != c.id || !known {
				t.Fatalf("%d, known %v, %v; want %d", id, known, err, c.id)
			}
			if n := len(s.routes()); n > c.most {
				t.Errorf("%d requests, want %d at most: %v", n, c.most, s.routes())
			}
			sub := s.subscriber(id)
			if sub.Email != c.email || sub.Phone != c.phone || !slices.Contains(sub.Tags, customer.Tag) || s.suppressions(id) != "" {
				t.Errorf("Rule has %+v", sub)
			}
			if first, last := s.field(id, "Sitoo-Contact.namefirst"), s.field(id, "Sitoo-Contact.namelast"); first != c.first || last != c.last {
				t.Errorf("name %q %q, want %q %q", first, last, c.first, c.last)
			}
			if err := s.deliver(); err != nil || s.suppressions(id) != "" {
				t.Errorf("later: %v, suppressions %q", err, s.suppressions(id))
			}
			before := s.snapshot()
			if again, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: c.in}); err != nil || again != c.id || s.snapshot() != before {
				t.Errorf("once more: %d, %v, or something was written", again, err)
			}
		})
	}
}

// What staff have damaged is something that Rule has.
func TestDamagedFieldsAreNotOverwritten(t *testing.T) {
	t.Parallel()
	s := asked(t, odd)
	if _, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "skadad@example.com", customer.FirstName: "Ny", customer.LastName: "Kund"}}); err != nil {
		t.Fatal(err)
	}
	if first, last := s.field(6, "Sitoo-Contact.namefirst"), s.field(6, "Sitoo-Contact.namelast"); first != "K\nund" || last != "Kund" {
		t.Errorf("name %q %q", first, last)
	}
}

// Ten tills that register one new person at once make one, and each gets her id.
func TestTenTillsRegisterOne(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]texts{
		"by both":   {customer.Email: "ny@example.com", customer.Mobile: "0701740666", customer.FirstName: "Ny"},
		"by mobile": {customer.Mobile: "0701740666", customer.FirstName: "Ny"},
	} {
		s := asked(t, people)
		var mu sync.Mutex
		ids := map[int64]int{}
		made := 0
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				id, known, err := s.Service.Add(t.Context(), s.r, s.account(account), customer.Contact{Text: in}, "request")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				ids[id]++
				if !known {
					made++
				}
			})
		}
		all.Wait()
		if len(ids) != 1 || made != 1 || len(s.rule.Subscribers(key)) != 6 {
			t.Errorf("%s: ids %v, %d say that they made her, Rule has %d", name, ids, made, len(s.rule.Subscribers(key)))
		}
		if err := s.deliver(); err != nil {
			t.Fatal(err)
		}
		for id := range ids {
			if got := s.suppressions(id); got != "email api, text_message api" {
				t.Errorf("%s: suppressions %q", name, got)
			}
		}
	}
}

// A new customer costs one request where she says yes to both, and one more
// otherwise.
func TestWhatRegisteringCosts(t *testing.T) {
	t.Parallel()
	const create, stop = "POST /v2/subscribers", "POST /v2/suppressions"
	for name, c := range map[string]struct {
		consent string
		said    flags
		want    []string
		sup     string
		tagged  bool
	}{
		"both":            {"", flags{customer.AcceptsEmail: true, customer.AcceptsSMS: true}, []string{create}, "", true},
		"email":           {"", flags{customer.AcceptsEmail: true}, []string{create, stop}, "text_message api", true},
		"sms":             {"", flags{customer.AcceptsEmail: false, customer.AcceptsSMS: true}, []string{create, stop}, "email api", true},
		"nothing said":    {"", nil, []string{create, stop}, "email api, text_message api", false},
		"no":              {"", flags{customer.AcceptsEmail: false, customer.AcceptsSMS: false}, []string{create, stop}, "email api, text_message api", false},
		"implied":         {shops.ConsentImplied, nil, []string{create}, "", false},
		"implied, and no": {shops.ConsentImplied, flags{customer.AcceptsSMS: false}, []string{create, stop}, "text_message api", false},
	} {
		s := newShop(t, people)
		s.settings.Consent = c.consent
		s.forget()
		id, known, err := s.Service.Add(t.Context(), s.r, s.account(account), customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: c.said}, "request")
		if err != nil || known {
			t.Fatalf("%s: known %v, %v", name, known, err)
		}
		if diff := cmp.Diff(c.want, s.routes()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		card, err := s.Get(t.Context(), s.r, id)
		if err != nil || s.suppressions(id) != c.sup || slices.Contains(s.subscriber(id).Tags, customer.NewsletterTag) != c.tagged ||
			card.Flags[customer.AcceptsEmail] != !strings.Contains(c.sup, "email") || card.Flags[customer.AcceptsSMS] != !strings.Contains(c.sup, "text") {
			t.Errorf("%s: suppressions %q, tags %v, card %v, %v", name, s.suppressions(id), s.subscriber(id).Tags, card.Flags, err)
		}
		// The message that completes it finds that nothing is left to do.
		s.forget()
		if err := s.deliver(); err != nil || len(s.writes()) != 0 || len(s.routes()) > 1 {
			t.Errorf("%s: later: %v, %v", name, err, s.routes())
		}
	}
}

var errKilled = errors.New("killed")

// killer ends a process at its n-th request to Rule, before it gets there or
// after.
type killer struct {
	http.RoundTripper
	mu    sync.Mutex
	n     int
	after bool
	dead  bool
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.n--
	at := k.n == 0
	dead := k.dead
	k.dead = k.dead || at
	k.mu.Unlock()
	switch {
	case dead, at && !k.after:
		return nil, errKilled
	case at:
		if res, err := k.RoundTripper.RoundTrip(r); err == nil {
			_ = res.Body.Close()
		}
		return nil, errKilled
	}
	return k.RoundTripper.RoundTrip(r)
}

// Wherever the process dies that registers somebody, or takes her no: the till
// may or may not try again, the card says no from when she is in Rule on, and
// within minutes Rule does, too.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	no := flags{customer.AcceptsEmail: false, customer.AcceptsSMS: false}
	for _, edit := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for _, again := range []bool{false, true} {
				for n := 1; n <= 5; n++ {
					t.Run(fmt.Sprintf("edit %v, after %v, again %v, request %d", edit, after, again, n), func(t *testing.T) {
						t.Parallel()
						s := asked(t, people)
						if edit { // she had said yes
							if _, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: flags{customer.AcceptsEmail: true, customer.AcceptsSMS: true}}); err != nil {
								t.Fatal(err)
							}
						}
						do := func() {
							if !edit {
								_, _ = s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: no})
								return
							}
							_ = s.Update(t.Context(), s.r, account, 6, customer.Contact{Flags: no})
						}
						k := &killer{n: n, after: after, RoundTripper: direct{s.rule}}
						whole := s.r
						s.r = s.session(k)
						do()
						s.r = whole
						if again {
							do()
						}
						if _, there, err := s.Find(t.Context(), s.r, account, "ny@example.com"); err != nil {
							t.Fatal(err)
						} else if !there {
							return // she was never made
						}
						card, _, err := s.Find(t.Context(), s.r, account, "ny@example.com")
						if noted := s.field(card.ID, "Sitoo-Contact.accepts_email") == "false"; err != nil || noted && (card.Flags[customer.AcceptsEmail] || card.Flags[customer.AcceptsSMS]) {
							t.Errorf("meanwhile the card says %v, %v", card.Flags, err)
						} else if !noted {
							return // the till was told nothing, and nothing was written
						}
						s.pass(completeAfter)
						if err := s.deliver(); err != nil {
							t.Fatal(err)
						}
						if got := s.suppressions(card.ID); got != "email api, text_message api" || slices.Contains(s.subscriber(card.ID).Tags, customer.NewsletterTag) {
							t.Errorf("suppressions %q, tags %v", got, s.subscriber(card.ID).Tags)
						}
					})
				}
			}
		}
	}
}

// Rule's suppressions fail for hours: the till is told that the customer is saved,
// the card says no all the while, and the no gets there when they work again.
func TestSuppressionsFail(t *testing.T) {
	t.Parallel()
	for _, edit := range []bool{false, true} {
		s := asked(t, people)
		s.fail("POST /v2/suppressions", &fakerule.Fault{Status: 500})
		id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: flags{customer.AcceptsEmail: edit, customer.AcceptsSMS: edit}})
		if err == nil && edit {
			err = s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: flags{customer.AcceptsEmail: false, customer.AcceptsSMS: false}})
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 24 {
			card, err := s.Get(t.Context(), s.r, id)
			if err != nil || card.Flags[customer.AcceptsEmail] || card.Flags[customer.AcceptsSMS] {
				t.Fatalf("edit %v: the card says %v, %v", edit, card.Flags, err)
			}
			s.pass(customer.RenewedForTest)
			if err := s.deliver(); err == nil {
				t.Fatal("completed, while Rule's suppressions fail")
			}
		}
		s.fail("", nil)
		if err := s.deliver(); err != nil || s.suppressions(id) != "email api, text_message api" {
			t.Errorf("edit %v: %v, suppressions %q", edit, err, s.suppressions(id))
		}
	}
}

// A card that was open at another till before a no does not lift it when it is
// saved, for twelve hours; after that an edit's yes does, and a registration's at
// any time. Where nobody said no, a yes is a yes at once.
func TestStaleCard(t *testing.T) {
	t.Parallel()
	yes := flags{customer.AcceptsEmail: true, customer.AcceptsSMS: true}
	no := flags{customer.AcceptsEmail: false, customer.AcceptsSMS: false}
	const off, on = "email api, text_message api", ""
	for name, c := range map[string]struct {
		do   func(s *shop, id int64) error
		want string
	}{
		"at once": {func(s *shop, id int64) error {
			return s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: yes})
		}, off},
		"just before it is over": {func(s *shop, id int64) error {
			s.pass(customer.RefusalLasts - 1)
			return s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: yes})
		}, off},
		"after twelve hours": {func(s *shop, id int64) error {
			s.pass(customer.RefusalLasts)
			return s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: yes})
		}, on},
		"a registration's": {func(s *shop, id int64) error {
			_, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: yes})
			return err
		}, on},
		"our memory does not answer": {func(s *shop, id int64) error {
			s.pass(customer.RefusalLasts)
			s.answers.Fail = func(string) error { return errKilled }
			return s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: yes})
		}, off},
	} {
		s := asked(t, people)
		id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}, Flags: yes})
		if err == nil {
			err = s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: no})
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(s, id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.deliver(); err != nil {
			t.Fatal(err)
		}
		if got := s.suppressions(id); got != c.want {
			t.Errorf("%s: suppressions %q, want %q", name, got, c.want)
		}
		if said := strings.Contains(s.logs.String(), "a till was told so"); said != (c.want == off) {
			t.Errorf("%s: the log says so: %v", name, said)
		}
	}
	s := asked(t, people)
	id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}})
	if err == nil {
		err = s.Update(t.Context(), s.r, account, id, customer.Contact{Flags: flags{customer.AcceptsEmail: true}})
	}
	if got := s.suppressions(id); err != nil || got != "text_message api" || !slices.Contains(s.subscriber(id).Tags, customer.NewsletterTag) {
		t.Errorf("where nobody was asked: %v, suppressions %q", err, got)
	}
}

// A yes on the web lifts the default, and a card shows it.
func TestYesOnTheWeb(t *testing.T) {
	t.Parallel()
	s := asked(t, people)
	id, err := s.Add(t.Context(), s.r, account, customer.Contact{Text: texts{customer.Email: "ny@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"email", "text_message"} {
		if err := s.r.Unsuppress(t.Context(), id, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.r.Tag(t.Context(), id, []string{customer.NewsletterTag}, ""); err != nil {
		t.Fatal(err)
	}
	card, err := s.Get(t.Context(), s.r, id)
	if err != nil || !card.Flags[customer.AcceptsEmail] || !card.Flags[customer.AcceptsSMS] {
		t.Errorf("card %v, %v", card.Flags, err)
	}
	// A form that does not give the tag is believed when the till's note is old.
	if err := s.r.Untag(t.Context(), id, customer.NewsletterTag); err != nil {
		t.Fatal(err)
	}
	s.pass(4 * customer.RenewedForTest)
	if card, err = s.Get(t.Context(), s.r, id); err != nil || !card.Flags[customer.AcceptsEmail] {
		t.Errorf("card %v, %v", card.Flags, err)
	}
}

// Who has no member number in Rule shows the contact id as one; a till that sends
// the card back, with another change or without, does not write it, and clears a
// real one only by leaving it empty.
func TestMemberNumberIsTheContactIDWhereRuleHasNone(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	ctx := t.Context()
	id, err := s.Add(ctx, s.r, account, customer.Contact{Text: texts{customer.Mobile: "070-174 06 05"}})
	if err != nil {
		t.Fatal(err)
	}
	number := strconv.FormatInt(id, 10)
	shows := func(want string) {
		t.Helper()
		got, err := s.Get(ctx, s.r, id)
		found, ok, ferr := s.Find(ctx, s.r, account, "0701740605")
		if err != nil || ferr != nil || !ok || got.Text[customer.MemberNumber] != want || found.Text[customer.MemberNumber] != want {
			t.Fatalf("the card shows %q, and %q when found; want %q (%v, %v)", got.Text[customer.MemberNumber], found.Text[customer.MemberNumber], want, err, ferr)
		}
	}
	edit := func(text texts) {
		t.Helper()
		if err := s.Update(ctx, s.r, account, id, customer.Contact{Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	shows(number)
	edit(texts{customer.MemberNumber: number, customer.FirstName: "Kund"})
	if s := s.snapshot(); strings.Contains(s, "membernumber") {
		t.Fatalf("the contact id was written: %s", s)
	}
	edit(texts{customer.MemberNumber: "100001"})
	shows("100001")
	edit(texts{customer.MemberNumber: ""})
	shows(number)
}
