// Package customer keeps a till's contact and Rule's subscriber the same
// person. It knows one table, which contact member is which field in Rule, and
// the operations a cashier has: find, get, register, edit, consents.
package customer

import (
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sitoo-rule/shared/customer/typed"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Member is a member of a contact, by Sitoo's own name.
type Member string

// The members of a contact. PersonalID and whatever else a till sends is never
// read: what is not here cannot reach Rule.
const (
	MemberNumber     Member = "membernumber"
	Email            Member = "email"
	FirstName        Member = "namefirst"
	LastName         Member = "namelast"
	Company          Member = "company"
	CompanyID        Member = "companyid"
	Phone            Member = "phone"
	Mobile           Member = "mobile"
	InvoiceAddress   Member = "invoice_address"
	InvoiceAddress2  Member = "invoice_address2"
	InvoiceZip       Member = "invoice_zip"
	InvoiceCity      Member = "invoice_city"
	InvoiceState     Member = "invoice_state"
	InvoiceCountry   Member = "invoice_countryid"
	DeliveryAddress  Member = "delivery_address"
	DeliveryAddress2 Member = "delivery_address2"
	DeliveryZip      Member = "delivery_zip"
	DeliveryCity     Member = "delivery_city"
	DeliveryState    Member = "delivery_state"
	DeliveryCountry  Member = "delivery_countryid"
	Gender           Member = "gender"
	Birthday         Member = "birthday"
	HomeStore        Member = "storeexternalid"
	AcceptsEmail     Member = "accepts_email"
	AcceptsSMS       Member = "accepts_sms"
	AcceptsMail      Member = "accepts_mail"
	Consents         Member = "acceptedconsents"
	Vouchers         Member = "voucherpasswords"
)

// Contact is a customer as a till knows one. A member that is absent from its
// map is not known, or not to be changed; one that is there and empty is to be
// cleared.
type Contact struct {
	ID int64 // Rule's subscriber id, 0 for a new one
	// Text holds the text members; phone numbers in E.164, Birthday as
	// YYYY-MM-DD once normalised.
	Text  map[Member]string
	Flags map[Member]bool     // the accepts_* members
	Lists map[Member][]string // Consents, Vouchers
	// BonusChecks and Promotions are the raw JSON that Rule holds, nil if none.
	BonusChecks, Promotions json.RawMessage
}

// withoutConsents returns the contact less what Rule must be told of in its own
// way first.
func (c Contact) withoutConsents() Contact {
	c.Flags, c.Lists = maps.Clone(c.Flags), maps.Clone(c.Lists)
	delete(c.Flags, AcceptsEmail)
	delete(c.Flags, AcceptsSMS)
	delete(c.Lists, Consents)
	return c
}

// kind is how a member is written in Rule and read from a till.
type kind int

const (
	text kind = iota
	date
	flag
	list
	number  // a phone number: normalised to E.164
	address // an email address: normalised to lower case
	country // two letters: normalised to upper case
)

// The groups in Rule. The help pages that merchants read promise these names.
const (
	ContactGroup = "Sitoo-Contact"
	AddressGroup = "Sitoo-Address"
)

// table is the one place that says which member is which field in Rule. The
// field has the member's name. An empty group means that Rule has a place of
// its own: email is a system field there. (A phone number is one as well, but a
// contact has two of them and Rule has room for one: see phoneNumber.)
var table = []struct {
	member Member
	group  string
	kind   kind
}{
	{Email, "", address},
	{MemberNumber, ContactGroup, text},
	{FirstName, ContactGroup, text},
	{LastName, ContactGroup, text},
	{Company, ContactGroup, text},
	{CompanyID, ContactGroup, text},
	{Phone, ContactGroup, number},
	{Mobile, ContactGroup, number},
	{Gender, ContactGroup, text},
	{Birthday, ContactGroup, date},
	{HomeStore, ContactGroup, text},
	{AcceptsEmail, ContactGroup, flag},
	{AcceptsSMS, ContactGroup, flag},
	{AcceptsMail, ContactGroup, flag},
	{Consents, ContactGroup, list},
	{Vouchers, ContactGroup, list},
	{InvoiceAddress, AddressGroup, text},
	{InvoiceAddress2, AddressGroup, text},
	{InvoiceZip, AddressGroup, text},
	{InvoiceCity, AddressGroup, text},
	{InvoiceState, AddressGroup, text},
	{InvoiceCountry, AddressGroup, country},
	{DeliveryAddress, AddressGroup, text},
	{DeliveryAddress2, AddressGroup, text},
	{DeliveryZip, AddressGroup, text},
	{DeliveryCity, AddressGroup, text},
	{DeliveryState, AddressGroup, text},
	{DeliveryCountry, AddressGroup, country},
}

// The fields that hold what a customer can redeem. They are written by the
// merchant's imports, not from a contact.
const (
	bonusChecks = "bonuschecks"
	promotions  = "promotions"
)

func (k kind) fieldType() rule.FieldType {
	switch k {
	case date:
		return rule.Date
	case list:
		return rule.Multiple
	default:
		return rule.Text
	}
}

// Schema returns every field that a merchant has a use for, with its type and no
// value; the note of a refusal (see refusedField) is made where it is needed.
func Schema() []rule.Field {
	var fields []rule.Field
	for _, row := range table {
		if row.group != "" {
			fields = append(fields, rule.Field{Group: row.group, Name: string(row.member), Type: row.kind.fieldType()})
		}
	}
	return append(fields,
		rule.Field{Group: ContactGroup, Name: bonusChecks, Type: rule.JSON},
		rule.Field{Group: ContactGroup, Name: promotions, Type: rule.JSON})
}

const (
	maxText  = 255 // characters of a text member
	maxList  = 100 // entries of a list member
	dateOnly = "2006-01-02"
)

// Phones turns a phone number in any spelling into E.164; see customer/phone.
// Numbers without a country code are read as dialled in the first of countries
// (ISO 3166, "" for the deployment's own), and in the others where they do not
// fit there.
type Phones func(raw string, countries ...string) (e164 string, ok bool)

// normalise checks a contact that came from a till and brings its members to
// the form they are stored in. The error is fault.Invalid and names the member.
func normalise(c Contact, phones Phones) (Contact, error) {
	out := Contact{ID: c.ID, Text: map[Member]string{}, Flags: c.Flags, Lists: map[Member][]string{}}
	for _, row := range table {
		if raw, ok := c.Text[row.member]; ok {
			v, err := normaliseText(row.member, row.kind, raw, phones)
			if err != nil {
				return Contact{}, err
			}
			out.Text[row.member] = v
		}
		if many, ok := c.Lists[row.member]; ok {
			if len(many) > maxList {
				return Contact{}, fault.SayBad(string(row.member), "list_long", "count", len(many), "most", maxList)
			}
			clean := make([]string, 0, len(many))
			for _, raw := range many {
				v, err := normaliseText(row.member, text, raw, nil)
				if err != nil {
					return Contact{}, err
				}
				if v != "" {
					clean = append(clean, v)
				}
			}
			out.Lists[row.member] = clean
		}
	}
	return out, nil
}

func normaliseText(m Member, k kind, raw string, phones Phones) (string, error) {
	v := strings.TrimSpace(raw)
	switch k {
	case number:
		v = typed.Phone(v)
	case address:
		v = typed.Email(v)
	}
	if v == "" {
		return "", nil
	}
	name := string(m)
	// API Gateway replaces bytes that are no text before we see them.
	if !utf8.ValidString(v) || strings.ContainsRune(v, utf8.RuneError) {
		return "", fault.SayBad(name, "text_broken")
	}
	if n := utf8.RuneCountInString(v); n > maxText {
		return "", fault.SayBad(name, "text_long", "count", n, "most", maxText)
	}
	if strings.ContainsFunc(v, unicode.IsControl) {
		return "", fault.SayBad(name, "text_control")
	}
	switch k {
	case address:
		mail, ok := NormaliseEmail(v)
		if !ok {
			return "", fault.SayBad(name, "email_wrong")
		}
		return mail, nil
	case number:
		if identity(v) {
			return "", fault.SayBad(name, "phone_personal")
		}
		e164, ok := phones(v)
		if !ok {
			return "", fault.SayBad(name, "phone_wrong")
		}
		return e164, nil
	case country:
		if len(v) != 2 || strings.ContainsFunc(v, func(r rune) bool { return r > 'z' || !unicode.IsLetter(r) }) {
			return "", fault.SayBad(name, "country_wrong")
		}
		return strings.ToUpper(v), nil
	case date:
		if zeroDate(v) {
			return "", nil
		}
		t, ok := parseDate(v)
		if !ok {
			return "", fault.SayBad(name, "date_wrong")
		}
		return t.Format(dateOnly), nil
	}
	if m == CompanyID {
		// A sole trader's company number is the person's own number, and the
		// VAT number SE...01 holds it; it never goes to Rule.
		id := strings.ToUpper(v)
		if vat, ok := strings.CutPrefix(id, "SE"); ok {
			id = strings.TrimSuffix(vat, "01")
		}
		if personalNumber(v) || personalNumber(id) {
			return "", nil
		}
	}
	return v, nil
}

func parseDate(v string) (time.Time, bool) {
	for _, layout := range []string{dateOnly, time.RFC3339, "2006-01-02T15:04:05", rule.TimeLayout} {
		if t, err := time.Parse(layout, v); err == nil && t.Year() >= 1800 && t.Year() < 2200 {
			return t, true
		}
	}
	return time.Time{}, false
}

// zeroDate reports whether a date is what programs write for none: 0, the year 0
// of a database, the year 1, or the year -1 that PHP makes of year 0.
func zeroDate(v string) bool {
	for _, none := range []string{"0000-", "0001-01-01", "-0001-"} {
		if strings.HasPrefix(v, none) {
			return true
		}
	}
	return strings.Trim(v, "0.") == "" // 0, and 0.0
}

// The expressions are compiled when they are first used: not every function that
// links this package reads what people type.
var email = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[^\s@<>()\[\],;:"\\]{1,64}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
})

// NormaliseEmail returns an email address in lower case, as Rule keeps it, a
// domain in letters of its own in punycode; ok is false for anything that is not
// one whole address.
func NormaliseEmail(raw string) (mail string, ok bool) {
	if !utf8.ValidString(raw) { // ToLower would mend it
		return "", false
	}
	mail = strings.ToLower(typed.Email(raw))
	if at := strings.LastIndexByte(mail, '@'); at >= 0 && strings.ContainsFunc(mail[at:], func(r rune) bool { return r > unicode.MaxASCII }) {
		domain, err := idna.Lookup.ToASCII(mail[at+1:])
		if err != nil || mixed(mail[at+1:]) {
			return "", false
		}
		mail = mail[:at+1] + domain
	}
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(mail) > 254 || !email().MatchString(mail) || strings.Contains(mail, "..") || strings.ContainsFunc(mail, invisible) {
		return "", false
	}
	return mail, true
}

// mixed reports whether a part of a domain has Latin letters beside those of an
// alphabet that has lookalikes of them: nobody types that by mistake.
func mixed(domain string) bool {
	for label := range strings.SplitSeq(domain, ".") {
		latin := strings.ContainsFunc(label, func(r rune) bool { return unicode.Is(unicode.Latin, r) })
		other := strings.ContainsFunc(label, func(r rune) bool { return unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian) })
		if latin && other {
			return true
		}
	}
	return false
}

var (
	personal = regexp.MustCompile(`^(?:18|19|20)?\d{2}(\d{2})(\d{2})\d{4}$`)
	// sixAndFour is how a personal number of ten digits is written, and hardly
	// ever a phone number.
	sixAndFour = regexp.MustCompile(`^\d{6}\D+\d{4}$`)
)

// personalNumber reports whether v looks like a Swedish personal identity
// number (or a coordination number, whose day is 60 higher), whatever marks
// stand between its digits. Organisation numbers have a "month" of 20 or more
// and do not match.
func personalNumber(v string) bool {
	m := personal.FindStringSubmatch(unmarked(typed.Plain(v)))
	if m == nil {
		return false
	}
	day := int(m[2][0]-'0')*10 + int(m[2][1]-'0')
	return m[1] >= "01" && m[1] <= "12" && (day >= 1 && day <= 31 || day >= 61 && day <= 91)
}

// unmarked returns v without the spaces and marks that people put between
// digits: a phone number is read without them, so a personal number must be.
func unmarked(v string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsPunct(r) || unicode.IsSymbol(r) {
			return -1
		}
		return r
	}, v)
}

// Key is what a search or an order can find a person by.
type Key struct{ Email, Phone string } // one of them, normalised

// Zero reports whether the key names nobody.
func (k Key) Zero() bool { return k == Key{} }

// Identifier returns the key in Rule's terms.
func (k Key) Identifier() rule.Identifier {
	if k.Email != "" {
		return rule.ByEmail(k.Email)
	}
	return rule.ByPhone(k.Phone)
}

// ParseKey reads what a cashier typed: a whole email address, or a phone number
// in any spelling. Anything else gives the zero Key: a part of a name or of a
// number, and a personal identity number above all, finds nobody (GDPR).
func ParseKey(raw string, phones Phones) Key {
	if plain := typed.Plain(raw); strings.Contains(plain, "@") {
		mail, _ := NormaliseEmail(raw)
		return Key{Email: mail}
	}
	if identity(raw) {
		return Key{}
	}
	e164, _ := phones(raw)
	return Key{Phone: e164}
}

// PersonalNumber reports whether raw, typed where a phone number belongs, is a
// personal identity number.
func PersonalNumber(raw string) bool { return identity(raw) }

// identity tells a personal identity number from a phone number that spells a
// date. A country code makes it a phone number. Ten digits that start with 0 are
// one too, unless they are written as six and four. All else that looks like a
// personal number is one.
func identity(raw string) bool {
	raw = typed.Phone(raw)
	digits := unmarked(raw)
	dialled := strings.HasPrefix(raw, "+") || strings.HasPrefix(digits, "0") && len(digits) == 10 && !sixAndFour.MatchString(raw)
	return personalNumber(raw) && !dialled
}

// TextMembers returns the members that a Contact keeps in Text, in the order of
// the table.
func TextMembers() []Member {
	var names []Member
	for _, row := range table {
		if row.kind != flag && row.kind != list {
			names = append(names, row.member)
		}
	}
	return names
}
