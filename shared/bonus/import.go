package bonus

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
)

const (
	// MaxFileChecks is how many bonus checks a file may hand out to one customer.
	MaxFileChecks = 100
	// maxFileRows bounds the rows of one customer, repetitions included.
	maxFileRows = 1000
	// maxCopy is how many characters a customer's bonus checks may have in Rule,
	// which takes 65,000 for a whole group of fields.
	maxCopy = 60_000

	maxName        = 255  // characters
	maxDescription = 1000 // characters
)

// Customer is somebody whom a file hands out bonus checks to.
type Customer struct {
	Email string `json:"email,omitempty"` // in lower case
	Phone string `json:"phone,omitempty"` // E.164
	Lines []Line `json:"lines"`           // by row
}

// Line is a row of a file with the bonus checks that it hands out, as they go
// to Rule: none if the row hands out none, or repeats another one.
type Line struct {
	Row    int               `json:"row"` // as a spreadsheet counts: 1 is the first line
	Checks []json.RawMessage `json:"checks,omitempty"`
}

// Plan is what a file says, once every row of it is checked.
type Plan struct {
	Customers []Customer // by first row
	Rows      int        // headings and empty rows not counted
	Ignored   []string   // headings of columns that mean nothing here
}

// What a column can hold: a member of a bonus check, or one of these.
const (
	columnEmail  = "email"
	columnPhone  = "phone"
	columnChecks = "bonuschecks" // all checks of a customer, as in Rule's json field
)

// columns are what columns can hold, and the headings that say so, as plain
// writes them.
var columns = []struct {
	member   string
	noun     string
	headings []string
}{
	{columnEmail, "the email address", []string{"email", "emailaddress", "epost", "epostadress", "mejl", "mejladress", "mail", "mailadress"}},
	{columnPhone, "the phone number", []string{"phone", "phonenumber", "mobile", "mobilephone", "mobilenumber", "mobil", "mobilnummer", "mobiltelefon", "telefon", "telefonnummer", "tel"}},
	{memberCheckID, "the bonus check's id", []string{"bonuscheckid", "checkid", "checknummer", "bonuschecknummer", "id"}},
	{memberName, "the bonus check's name", []string{"name", "namn", "titel", "rubrik"}},
	{memberDescription, "the description", []string{"description", "beskrivning"}},
	{memberValue, "the value", []string{"value", "amount", "belopp", "varde", "summa"}},
	{memberRemaining, "what is left", []string{"remaining", "kvar", "aterstar", "saldo"}},
	{memberRedeemed, "whether it is used", []string{"redeemed", "inlost", "anvand"}},
	{memberDateRedeemed, "when it was used", []string{"dateredeemed", "inlostdatum", "inlosningsdatum", "anvanddatum"}},
	{memberFrom, "the first day", []string{"validfrom", "giltigfran", "giltigtfran", "startdatum"}},
	{memberTo, "the last day", []string{"validto", "giltigtill", "giltigttill", "slutdatum", "expires", "utgar"}},
	{columnChecks, "all bonus checks of a customer", []string{"bonuschecks", "sitoocontactbonuschecks", "bonuscheckar"}},
}

// plain brings a heading to the form in which it is looked up: lower case,
// without spaces, marks and accents.
func plain(heading string) string {
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); {
		case r == 'å', r == 'ä':
			return 'a'
		case r == 'ö':
			return 'o'
		case r == '-', r == '_', r == '.', r == ':', unicode.IsSpace(r), unicode.Is(unicode.Mn, r), !unicode.IsPrint(r):
			return -1
		}
		return r
	}, heading)
}

// letter names a column as a spreadsheet does, from A for 0.
func letter(i int) string {
	name := ""
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('A'+(i-1)%26)) + name
	}
	return name
}

// NewPlan reads a table of bonus checks: its headings, and its rows with their
// numbers as a spreadsheet counts them. Everything is checked, down to what
// rows say of each other; bad holds the first MaxFailures reasons by row, and
// count how many rows are bad. Nothing of a file with a bad row is to be
// imported, and the plan has no customers then. err is fault.Invalid, about the
// table as a whole. No sentence quotes an email address or a phone number.
func NewPlan(header []string, rows iter.Seq2[int, []string], phones customer.Phones) (p Plan, bad []Failure, count int, err error) {
	pl := planner{header: header, phones: phones, byEmail: map[string]*Customer{}, byPhone: map[string]*Customer{}, tied: map[*Customer]int{}}
	if p.Ignored, err = pl.columns(); err != nil {
		return Plan{}, nil, 0, err
	}
	for n, cells := range rows {
		if !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" }) {
			continue
		}
		p.Rows++
		pl.row(n, cells)
	}
	if p.Rows == 0 {
		return Plan{}, nil, 0, fault.Bad("file", "has no rows below its headings")
	}
	for _, c := range pl.people {
		if len(c.Lines) > 0 { // else its rows are bad, or became another's
			pl.settle(c)
			p.Customers = append(p.Customers, *c)
		}
	}
	if pl.count > 0 {
		p.Customers = nil
	}
	slices.SortFunc(p.Customers, func(a, b Customer) int { return cmp.Compare(a.Lines[0].Row, b.Lines[0].Row) })
	return p, pl.bad, pl.count, nil
}

// planner is a plan in the making.
type planner struct {
	header []string
	at     map[string]int // where a column is
	phones customer.Phones

	people           []*Customer
	byEmail, byPhone map[string]*Customer
	tied             map[*Customer]int // the row that has both

	bad   []Failure // the first MaxFailures by row
	count int
}

// columns finds out what the columns hold.
func (p *planner) columns() (ignored []string, err error) {
	p.at = map[string]int{}
	nouns, known := map[string]string{}, map[string]string{}
	for _, c := range columns {
		nouns[c.member] = c.noun
		for _, h := range c.headings {
			known[h] = c.member
		}
	}
	twice := map[string]string{}
	for i, h := range p.header {
		member, ok := known[plain(h)]
		if !ok {
			continue
		}
		if first, there := p.at[member]; there {
			twice[member] = fmt.Sprintf("%s and %s both hold %s, one of them is expected", p.name(first), p.name(i), nouns[member])
			continue
		}
		p.at[member] = i
	}
	list, hasList := p.at[columnChecks]
	id, hasID := p.at[memberCheckID]
	if hasList {
		if hasID && plain(p.header[id]) == "id" {
			hasID = false // in a file with a row for each customer, the customer's own
		}
		if hasID {
			return nil, fault.Bad("columns", "%s has a row's bonus check and %s all bonus checks of a customer, one of them is expected", p.name(id), p.name(list))
		}
		for member := range p.at {
			if member != columnChecks && member != columnEmail && member != columnPhone {
				delete(p.at, member)
			}
		}
	}
	for _, c := range columns {
		if _, ok := p.at[c.member]; ok && twice[c.member] != "" {
			return nil, fault.Bad("columns", "%s", twice[c.member])
		}
	}
	_, mail := p.at[columnEmail]
	_, phone := p.at[columnPhone]
	_, value := p.at[memberValue]
	switch {
	case !mail && !phone:
		return nil, fault.Bad("columns", "have neither an email address nor a phone number; the first row is expected to have headings, one of them email or phone")
	case !hasList && !hasID:
		return nil, fault.Bad("columns", "have no bonus checks; headings bonuscheckid and value are expected, or bonuschecks for a column with the JSON")
	case !hasList && !value:
		return nil, fault.Bad("columns", "do not say what the bonus checks are worth; the heading value is expected")
	}
	for i, h := range p.header {
		if at, ok := p.at[known[plain(h)]]; (!ok || at != i) && strings.TrimSpace(h) != "" {
			ignored = append(ignored, cut(strings.TrimSpace(h), 60))
		}
	}
	return ignored, nil
}

// name is what a column is called: its letter and its heading.
func (p *planner) name(i int) string {
	return strings.TrimSpace(letter(i) + " " + cut(strings.TrimSpace(p.header[i]), 60))
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n]) + "…"
}

// problems gathers what is wrong with a row.
type problems struct {
	p    *planner
	row  int
	list []Failure
}

// add notes a problem of a column, or of the row if member is "".
func (x *problems) add(member, format string, args ...any) {
	f := Failure{Row: x.row, Reason: fmt.Sprintf(format, args...)}
	if i, ok := x.p.at[member]; ok {
		f.Column = x.p.name(i)
	}
	x.list = append(x.list, f)
}

// refuse notes that a row is bad, if there are problems with it.
func (p *planner) refuse(x *problems) (bad bool) {
	if len(x.list) == 0 {
		return false
	}
	p.count++
	for _, f := range x.list {
		at, _ := slices.BinarySearchFunc(p.bad, f.Row+1, func(have Failure, row int) int { return cmp.Compare(have.Row, row) })
		p.bad = slices.Insert(p.bad, at, f)
		p.bad = p.bad[:min(len(p.bad), MaxFailures)]
	}
	return true
}

// row reads one row.
func (p *planner) row(n int, cells []string) {
	x := problems{p: p, row: n}
	cell := map[string]string{}
	for _, c := range columns {
		i, ok := p.at[c.member]
		if !ok || i >= len(cells) {
			continue
		}
		if cell[c.member] = strings.TrimSpace(cells[i]); !clean(cells[i]) {
			x.add(c.member, "has characters in it that are not text")
			delete(cell, c.member)
		}
	}
	who := p.who(cell, &x)
	var checks []json.RawMessage
	if _, ok := p.at[columnChecks]; ok {
		checks = array(cell[columnChecks], &x)
	} else if raw := check(cell, &x); raw != nil {
		checks = append(checks, raw)
	}
	if !p.refuse(&x) {
		who.Lines = append(who.Lines, Line{n, checks})
	}
}

// clean reports whether a cell holds what a queue takes and people can read.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7F || r == 0xFFFE || r == 0xFFFF
	})
}

// who returns the customer of a row. The email address of one row and the phone
// number of another are one customer's as soon as a third row has both.
func (p *planner) who(cell map[string]string, x *problems) *Customer {
	email, phone := cell[columnEmail], cell[columnPhone]
	if email == "" && phone == "" && len(x.list) == 0 {
		x.add("", "There is neither an email address nor a phone number in this row.")
	}
	var ok bool
	if email != "" {
		if email, ok = customer.NormaliseEmail(email); !ok {
			x.add(columnEmail, "is not a whole email address")
		}
	}
	if phone != "" && customer.PersonalNumber(phone) {
		x.add(columnPhone, "is a personal identity number, which is not sent to Rule; a phone number is expected")
		phone = ""
	} else if phone != "" {
		if phone, ok = p.phones(phone); !ok {
			x.add(columnPhone, "is not a phone number")
		}
	}
	if len(x.list) > 0 {
		return nil
	}
	a, b := p.byEmail[email], p.byPhone[phone] // there is none of ""
	if email != "" && phone != "" {
		if a != nil && a.Phone != "" && a.Phone != phone {
			x.add(columnPhone, "is not the same as in row %d, which has the same email address", p.tied[a])
			return nil
		}
		if b != nil && b.Email != "" && b.Email != email {
			x.add(columnEmail, "is not the same as in row %d, which has the same phone number", p.tied[b])
			return nil
		}
	}
	c := cmp.Or(a, b)
	if c == nil {
		c = &Customer{}
		p.people = append(p.people, c)
	}
	if a != nil && b != nil && a != b { // a has an email address only, and b a phone number
		a.Lines, b.Lines = append(a.Lines, b.Lines...), nil
	}
	if email != "" {
		c.Email, p.byEmail[email] = email, c
	}
	if phone != "" {
		c.Phone, p.byPhone[phone] = phone, c
	}
	if email != "" && phone != "" && p.tied[c] == 0 {
		p.tied[c] = x.row
	}
	return c
}

// check builds the bonus check of a row from its columns. Empty cells are left
// out of it.
func check(cell map[string]string, x *problems) json.RawMessage {
	var members []member
	add := func(name string, value any) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(value) == nil { // texts and bools: always
			members = append(members, member{name, bytes.TrimSpace(b.Bytes())})
		}
	}
	switch id := cell[memberCheckID]; {
	case id == "":
		x.add(memberCheckID, "is missing, the id of the bonus check is expected")
	case len(id) > maxID:
		x.add(memberCheckID, "has more than %d characters", maxID)
	case strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		x.add(memberCheckID, "has characters in it that are not text")
	default:
		add(memberCheckID, id)
	}
	for _, m := range []struct {
		name  string
		limit int
	}{{memberName, maxName}, {memberDescription, maxDescription}} {
		s := cell[m.name]
		if n := utf8.RuneCountInString(s); n > m.limit {
			x.add(m.name, "has %d characters, at most %d are expected", n, m.limit)
		}
		if s != "" {
			add(m.name, s)
		}
	}
	value, ok := amount(cell[memberValue])
	switch s := cell[memberValue]; {
	case s == "":
		x.add(memberValue, "is missing, an amount such as 100 or 49,50 is expected")
	case !ok:
		x.add(memberValue, "%s is not an amount such as 100 or 49,50", quote(s))
	case value == "0.00":
		x.add(memberValue, "is 0, a bonus check is expected to be worth something")
	default:
		add(memberValue, value)
	}
	left, word := cell[memberRemaining], cell[memberRedeemed]
	if left != "" {
		text, fine := amount(left)
		rest, _ := Amount(text)
		whole, known := Amount(value)
		switch {
		case !fine:
			x.add(memberRemaining, "%s is not an amount such as 100 or 49,50", quote(left))
		case known && rest.GreaterThan(whole):
			x.add(memberRemaining, "%s is more than the value", quote(left))
		default:
			add(memberRemaining, text)
		}
		if used, _ := truth(word); used && rest.IsPositive() {
			x.add(memberRedeemed, "says that the bonus check is used, but something is left of it")
		}
	}
	if word != "" {
		used, fine := truth(word)
		if !fine {
			x.add(memberRedeemed, "is neither true nor false, yes nor no")
		}
		add(memberRedeemed, used)
	}
	for _, name := range []string{memberDateRedeemed, memberFrom, memberTo} {
		s := cell[name]
		if s == "" {
			continue
		}
		date, fine := dayText(s)
		if !fine {
			x.add(name, "%s is not a date such as 2026-12-31", quote(s))
			continue
		}
		add(name, date)
	}
	out := rebuilt(Check, members)
	ends(out.offer, memberTo, "", x)
	if out.offer.problem != "" && len(x.list) == 0 { // the worker would not take it
		x.add("", "The bonus check cannot be read: %s.", out.offer.problem)
	}
	if len(x.list) > 0 {
		return nil
	}
	return out.raw
}

// ends notes a period that ends before it begins. what names the check, if a
// row has many.
func ends(o Offer, member, what string, x *problems) {
	if !o.From.IsZero() && !o.Until.IsZero() && !o.From.Before(o.Until) {
		x.add(member, "%sis before validfrom", what)
	}
}

// array reads the JSON of a row. An empty cell hands out nothing.
func array(cell string, x *problems) []json.RawMessage {
	l, err := Parse(Check, json.RawMessage(cell))
	if err != nil {
		x.add(columnChecks, "is not a JSON array of bonus checks")
		return nil
	}
	switch n := utf8.RuneCountInString(cell); {
	case l.Len() > MaxFileChecks:
		x.add(columnChecks, "has %d bonus checks, at most %d are expected", l.Len(), MaxFileChecks)
		return nil
	case n > maxCopy:
		x.add(columnChecks, "has %d characters, at most %d are expected", n, maxCopy)
		return nil
	}
	var checks []json.RawMessage
	for i, it := range l.items {
		of := fmt.Sprintf("of bonus check %d, ", i+1)
		o := it.offer
		word := text(it.members, memberRedeemed)
		used, fine := truth(word)
		switch left, has := Amount(text(it.members, memberRemaining)); {
		case o.problem != "":
			x.add(columnChecks, "bonus check %d cannot be read: %s", i+1, o.problem)
		case !o.Value.IsPositive():
			x.add(columnChecks, "%sthe value is 0", of)
		case !fine || used != yes(word): // it is stored as it is
			x.add(columnChecks, "%sredeemed is neither true nor false", of)
		case has && used && left.IsPositive():
			x.add(columnChecks, "%sredeemed says that it is used, but something is left of it", of)
		}
		ends(o, columnChecks, of+"validto ", x)
		var b bytes.Buffer
		if json.Compact(&b, it.raw) == nil {
			checks = append(checks, b.Bytes())
		}
	}
	return checks
}

// truth reads a yes or a no, in English or in Swedish; fine is false for
// anything else. Nothing is a no.
func truth(s string) (yes, fine bool) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "ja", "sant":
		return true, true
	case "", "false", "0", "no", "nej", "falskt", "null":
		return false, true
	}
	return false, false
}

var (
	// money is an amount as people write it. Three digits after a point or comma
	// may be thousands or decimals: nobody knows. Databases write four.
	money = regexp.MustCompile(`^(\d{1,3}(?:[ \x{a0}\x{2009}\x{202f}]\d{3})+|\d+)(?:[.,](\d{1,2}|\d\d00))?$`)
	// unit is what may stand after an amount.
	unit = regexp.MustCompile(`(?i)[ \x{a0}\x{202f}]*(?:kr|sek|:-)$`)
)

// amount reads an amount and writes it with two decimals.
func amount(s string) (text string, ok bool) {
	m := money.FindStringSubmatch(unit.ReplaceAllString(s, ""))
	if m == nil {
		return "", false
	}
	whole := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, m[1])
	a, ok := Amount(whole + "." + cmp.Or(m[2], "0"))
	if !ok {
		return "", false
	}
	return a.StringFixed(2), true
}

// dayText reads a date and writes it as 2006-01-02, or where it has a time of
// day, with that.
func dayText(s string) (text string, ok bool) {
	for _, layout := range []string{time.DateOnly, "2006/01/02", "20060102", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		text := t.Format("2006-01-02T15:04:05")
		if layout == time.RFC3339 {
			text = t.Format(time.RFC3339)
		}
		if h, m, sec := t.Clock(); h == 0 && m == 0 && sec == 0 { // how spreadsheets write a date
			text = t.Format(time.DateOnly)
		}
		_, ok := day(text, false)
		return text, ok
	}
	return "", false
}

// quote repeats a value that cannot be read, unless it could be somebody's name,
// address or number, in the wrong column.
func quote(s string) string {
	digits, letters := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.IsLetter(r):
			letters++
		}
	}
	if digits == 0 || digits > 8 || letters > 3 || strings.ContainsRune(s, '@') || utf8.RuneCountInString(s) > 20 {
		return "the value"
	}
	return `"` + s + `"`
}

// settle brings a customer's rows into order, and checks what they say of each
// other: a check that is there twice must be the same one.
func (p *planner) settle(c *Customer) {
	slices.SortFunc(c.Lines, func(a, b Line) int { return cmp.Compare(a.Row, b.Row) })
	type seen struct {
		row     int
		members []member
	}
	if len(c.Lines) == 1 && len(c.Lines[0].Checks) <= 1 {
		return // most are: there is nothing to compare
	}
	ids := map[string]seen{}
	size := 2
	for n := range c.Lines {
		l := &c.Lines[n]
		x := problems{p: p, row: l.Row}
		over := false
		var checks []json.RawMessage
		for _, raw := range l.Checks {
			members, _ := object(raw)
			id := text(members, memberCheckID)
			if first, ok := ids[id]; ok {
				if !alike(first.members, members) {
					x.add("", "Row %d says something else about the same bonus check of the same customer.", first.row)
				}
				continue
			}
			ids[id] = seen{l.Row, members}
			checks = append(checks, raw)
			size += utf8.RuneCount(raw) + 1
		}
		l.Checks = checks
		switch {
		case n >= maxFileRows:
			over = true
			x.add("", "The customer has more than %d rows.", maxFileRows)
		case len(ids) > MaxFileChecks:
			over = true
			x.add("", "The customer gets more than %d bonus checks.", MaxFileChecks)
		case size > maxCopy:
			over = true
			x.add("", "The customer's bonus checks have more than %d characters together.", maxCopy)
		}
		p.refuse(&x)
		if over {
			return // what comes after it would say the same
		}
	}
}

// alike reports whether two checks say the same.
func alike(a, b []member) bool {
	says := func(a, b []member) bool {
		return !slices.ContainsFunc(b, func(m member) bool { return !same(find(a, m.name), find(b, m.name)) })
	}
	return says(a, b) && says(b, a)
}
