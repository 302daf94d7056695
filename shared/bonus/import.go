package bonus

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"
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
	// Dates are those of them that hold dates or say so, with their letters: they
	// may be days until which checks are meant to be valid.
	Dates []string
}

// Message says in a sentence what of a file that can be imported may not be as
// it is meant, "" if there is nothing.
func (p Plan) Message() string {
	switch len(p.Dates) {
	case 0:
		return ""
	case 1:
		return "Column " + p.Dates[0] + " looks like dates and is not used. If it says how long a check is valid, call it validfrom or validto and send the file again."
	}
	return "Columns " + strings.Join(p.Dates[:len(p.Dates)-1], ", ") + " and " + p.Dates[len(p.Dates)-1] + " look like dates and are not used. If one says how long a check is valid, call it validfrom or validto and send the file again."
}

// What a column can hold: a member of a bonus check, or one of these.
const (
	columnEmail  = "email"
	columnPhone  = "phone"
	columnChecks = "bonuschecks" // all checks of a customer, as in Rule's json field
)

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
	pl := planner{header: header, phones: phones, byEmail: map[string]*Customer{}, byPhone: map[string]*Customer{}, tied: map[*Customer]int{}, lose: map[string]int{}}
	if p.Ignored, err = pl.columns(); err != nil {
		return Plan{}, nil, 0, err
	}
	dates := newDates(p.Ignored, &pl)
	for n, cells := range rows {
		if !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" }) {
			continue
		}
		p.Rows++
		pl.row(n, cells)
		dates.see(cells)
	}
	p.Dates = dates.names()
	if p.Rows == 0 {
		return Plan{}, nil, 0, ofTable("file", "file_no_rows")
	}
	lost := pl.lost()
	for _, c := range pl.people {
		if len(c.Lines) > 0 && !lost { // else its rows are bad, or became another's
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

	// The rows with ids that could have lost their last digits, these ids with how
	// many digits of each, and whether an id as long has kept them.
	rounded  []int
	lose     map[string]int
	exact    bool
	currency string
	priced   int // the row that names the currency
}

// ofTable is an error about the table as a whole: its columns, or the file. Its
// message is without the name, as of any member.
func ofTable(member, code string, args ...any) error {
	f := fault.Say(fault.Invalid, code, args...)
	f.Member, f.Message = member, strings.TrimSuffix(strings.TrimPrefix(f.Message, member+" "), ".")
	return f
}

// columns finds out what the columns hold.
func (p *planner) columns() (ignored []string, err error) {
	p.at = map[string]int{}
	twice := p.find()
	list, hasList := p.at[columnChecks]
	id, hasID := p.at[memberCheckID]
	if hasList {
		if hasID && plain(p.header[id]) == "id" {
			hasID = false // in a file with a row for each customer, the customer's own
		}
		if hasID {
			return nil, ofTable("columns", "file_two_lists", "first", p.name(id), "second", p.name(list))
		}
		for member := range p.at {
			if member != columnChecks && member != columnEmail && member != columnPhone {
				delete(p.at, member)
			}
		}
	}
	for _, c := range columns {
		if _, ok := p.at[c.member]; ok && twice[c.member] != nil {
			return nil, twice[c.member]
		}
	}
	_, mail := p.at[columnEmail]
	_, phone := p.at[columnPhone]
	_, value := p.at[memberValue]
	switch {
	case !mail && !phone:
		return nil, ofTable("columns", "file_no_person")
	case !hasList && !hasID:
		return nil, ofTable("columns", "file_no_checks")
	case !hasList && !value:
		return nil, ofTable("columns", "file_no_value")
	}
	for i, h := range p.header {
		if !p.used(i) && strings.TrimSpace(h) != "" {
			ignored = append(ignored, cut(strings.TrimSpace(h), 60))
		}
	}
	return ignored, nil
}

// find looks the headings up. It returns what is wrong with the members that two
// columns hold.
func (p *planner) find() (twice map[string]error) {
	nouns := map[string]string{}
	for _, c := range columns {
		nouns[c.member] = c.noun
	}
	twice = map[string]error{}
	known, ranks := known()
	for rank := range ranks {
		var found []string
		for i, h := range p.header {
			m, ok := known[plain(h)]
			if !ok || m.rank != rank {
				continue
			}
			first, there := p.at[m.member]
			switch {
			case !there:
				p.at[m.member], found = i, append(found, m.member)
			case slices.Contains(found, m.member):
				twice[m.member] = ofTable("columns", "file_column_twice", "first", p.name(first), "second", p.name(i), "noun", nouns[m.member])
			}
		}
	}
	return twice
}

// used says whether a column means something here.
func (p *planner) used(i int) bool {
	for _, at := range p.at {
		if at == i {
			return true
		}
	}
	return false
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
					x.add("", "contradicts", Args{Row: first.row})
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
			x.add("", "rows_over", Args{Limit: maxFileRows})
		case len(ids) > MaxFileChecks:
			over = true
			x.add("", "checks_over", Args{Limit: MaxFileChecks})
		case size > maxCopy:
			over = true
			x.add("", "characters_over", Args{Limit: maxCopy})
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
