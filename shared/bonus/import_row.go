package bonus

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sitoo-rule/shared/customer"
)

// problems gathers what is wrong with a row.
type problems struct {
	p    *planner
	row  int
	list []Failure
}

// add notes a problem of a column, or of the row if member is "".
func (x *problems) add(member, code string, args Args) {
	column := ""
	if i, ok := x.p.at[member]; ok {
		column = x.p.name(i)
	}
	x.list = append(x.list, failure(x.row, column, code, args))
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
		if cell[c.member] = strings.TrimSpace(cells[i]); c.member != memberName && c.member != memberDescription {
			cell[c.member] = typed(cells[i])
		}
		if !clean(cells[i]) {
			x.add(c.member, "characters", Args{})
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
		x.add("", "person", Args{})
	}
	var ok bool
	if email != "" {
		if email, ok = customer.NormaliseEmail(email); !ok {
			x.add(columnEmail, "email", Args{})
		}
	}
	switch phone = whole(phone); {
	case phone == "":
	case scientific.MatchString(phone):
		x.add(columnPhone, "phone_scientific", Args{})
	case customer.PersonalNumber(phone):
		x.add(columnPhone, "personal_number", Args{})
	default:
		if phone, ok = p.phones(phone); !ok {
			x.add(columnPhone, "phone", Args{})
		}
	}
	if len(x.list) > 0 {
		return nil
	}
	a, b := p.byEmail[email], p.byPhone[phone] // there is none of ""
	if email != "" && phone != "" {
		if a != nil && a.Phone != "" && a.Phone != phone {
			x.add(columnPhone, "phone_differs", Args{Row: p.tied[a]})
			return nil
		}
		if b != nil && b.Email != "" && b.Email != email {
			x.add(columnEmail, "email_differs", Args{Row: p.tied[b]})
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
	if id := x.id(cell[memberCheckID]); id != "" {
		add(memberCheckID, id)
	}
	for _, m := range []struct {
		name  string
		limit int
	}{{memberName, maxName}, {memberDescription, maxDescription}} {
		s := cell[m.name]
		if n := utf8.RuneCountInString(s); n > m.limit {
			x.add(m.name, "text_long", Args{Has: n, Limit: m.limit})
		}
		if s != "" {
			add(m.name, s)
		}
	}
	value := x.amount(memberValue, cell[memberValue])
	switch {
	case cell[memberValue] == "":
		x.add(memberValue, "value_missing", Args{})
	case value == "0.00":
		x.add(memberValue, "zero", Args{})
	case value != "":
		add(memberValue, value)
	}
	x.rest(cell, value, add)
	for _, name := range []string{memberDateRedeemed, memberFrom, memberTo} {
		s := cell[name]
		if s == "" {
			continue
		}
		date, code := dayText(s)
		if code != "" {
			x.add(name, code, Args{Value: shown(s)})
			continue
		}
		add(name, date)
	}
	out := rebuilt(Check, members)
	if backwards(out.offer) {
		x.add(memberTo, "period", Args{})
	}
	if out.offer.problem != "" && len(x.list) == 0 { // the worker would not take it
		x.add("", "check", Args{Value: out.offer.problem})
	}
	if len(x.list) > 0 {
		return nil
	}
	return out.raw
}

// rest reads what is left of a check that is worth value, and whether it is used.
func (x *problems) rest(cell map[string]string, value string, add func(name string, value any)) {
	left, word := cell[memberRemaining], cell[memberRedeemed]
	if text := x.amount(memberRemaining, left); text != "" {
		rest, _ := Amount(text)
		if whole, known := Amount(value); known && rest.GreaterThan(whole) {
			x.add(memberRemaining, "remaining_over", Args{Value: shown(left)})
		} else {
			add(memberRemaining, text)
		}
		if used, _ := truth(word); used && rest.IsPositive() {
			x.add(memberRedeemed, "redeemed_left", Args{})
		}
	}
	if word != "" {
		used, fine := truth(word)
		if !fine {
			x.add(memberRedeemed, "redeemed", Args{})
		}
		add(memberRedeemed, used)
	}
}

// backwards says whether a check's period ends before it begins.
func backwards(o Offer) bool {
	return !o.From.IsZero() && !o.Until.IsZero() && !o.From.Before(o.Until)
}

// id returns the id of a row's check, "" if it cannot be one.
func (x *problems) id(s string) string {
	s = whole(s)
	switch {
	case s == "":
		x.add(memberCheckID, "id_missing", Args{})
	case scientific.MatchString(s):
		x.add(memberCheckID, "id_scientific", Args{Value: shown(s)})
	case len(s) > maxID:
		x.add(memberCheckID, "id_long", Args{Limit: maxID})
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		x.add(memberCheckID, "characters", Args{})
	default:
		switch {
		case rounded.MatchString(s):
			x.p.rounded = append(x.p.rounded, x.row)
			x.p.lose[s] = len(s) - 15
		case long.MatchString(s):
			x.p.exact = true
		}
		return s
	}
	return ""
}

// amount returns the amount of a cell with two decimals, "" if it has none.
func (x *problems) amount(member, s string) string {
	if s == "" {
		return ""
	}
	value, currency, ok := amount(s)
	switch p := x.p; {
	case percent.MatchString(s):
		x.add(member, "percent", Args{Value: shown(s)})
	case !ok:
		x.add(member, "amount", Args{Value: shown(s)})
	case !sameCurrency(currency, p.currency):
		x.add(member, "currency", Args{Row: p.priced})
	default:
		if p.currency == "" || p.currency == "kr" && currency != "" {
			p.currency, p.priced = currency, x.row
		}
		return value
	}
	return ""
}

// lost refuses the rows with long ids if a spreadsheet has lost the last digits
// of all of them: two checks can have become one.
func (p *planner) lost() bool {
	zeros := 0
	for _, n := range p.lose {
		zeros += n
	}
	// One in ten ids ends with a 0, and one may be the id of a whole campaign.
	if p.exact || len(p.lose) < 2 || zeros < 4 {
		return false
	}
	for _, row := range p.rounded {
		x := problems{p: p, row: row}
		x.add(memberCheckID, "id_rounded", Args{})
		p.refuse(&x)
	}
	return true
}

// array reads the JSON of a row. An empty cell hands out nothing.
func array(cell string, x *problems) []json.RawMessage {
	n := utf8.RuneCountInString(cell)
	l, err := Parse(Check, json.RawMessage(cell))
	switch {
	case err != nil:
		x.add(columnChecks, noJSON(cell, n), Args{})
		return nil
	case l.Len() > MaxFileChecks:
		x.add(columnChecks, "json_count", Args{Has: l.Len(), Limit: MaxFileChecks})
		return nil
	case n > maxCopy:
		x.add(columnChecks, "text_long", Args{Has: n, Limit: maxCopy})
		return nil
	}
	var checks []json.RawMessage
	for i, it := range l.items {
		o := it.offer
		of := Args{Check: i + 1}
		word := text(it.members, memberRedeemed)
		used, fine := truth(word)
		switch left, has := Amount(text(it.members, memberRemaining)); {
		case o.problem != "":
			of.Value = o.problem
			x.add(columnChecks, "json_check", of)
		case !o.Value.IsPositive():
			x.add(columnChecks, "json_zero", of)
		case !fine || used != yes(word): // it is stored as it is
			x.add(columnChecks, "json_redeemed", of)
		case has && used && left.IsPositive():
			x.add(columnChecks, "json_left", of)
		}
		if backwards(o) {
			x.add(columnChecks, "json_period", Args{Check: i + 1})
		}
		var b bytes.Buffer
		if json.Compact(&b, it.raw) == nil {
			checks = append(checks, b.Bytes())
		}
	}
	return checks
}

// noJSON is the code of why a cell of n characters is not JSON.
func noJSON(cell string, n int) string {
	const most = 32_767 // characters that a spreadsheet keeps of a cell
	begins := strings.TrimLeft(cell, "[{ \t\n\u00a0")
	switch {
	case !strings.HasPrefix(cell, "["):
		return "json"
	case strings.HasPrefix(begins, "'"):
		return "json_single"
	case strings.ContainsAny(cell, "“”„‟″»«"), strings.HasPrefix(begins, "‘"), strings.HasPrefix(begins, "’"):
		return "json_quotes"
	case n >= most-1 && n <= most && !strings.HasSuffix(cell, "]"):
		return "json_cut"
	}
	return "json"
}
