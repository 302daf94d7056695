package bonus

import (
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/rule"
)

// dates finds out which of the columns that mean nothing here hold dates.
type dates struct {
	p    *planner
	seen []dateColumn
}

// dateColumn is how many cells of a column are dates.
type dateColumn struct{ at, dates, others int }

// newDates looks at the headings that are ignored.
func newDates(ignored []string, p *planner) *dates {
	d := &dates{p: p}
	if _, list := p.at[columnChecks]; list || len(ignored) == 0 { // JSON has its own days
		return d
	}
	for i := range p.header {
		if !p.used(i) && strings.TrimSpace(p.header[i]) != "" {
			d.seen = append(d.seen, dateColumn{at: i})
		}
	}
	return d
}

// enough is how many cells of a column tell what it holds.
const enough = 100

// see looks at a row.
func (d *dates) see(cells []string) {
	for n := range d.seen {
		c := &d.seen[n]
		if c.at >= len(cells) || c.dates+c.others >= enough {
			continue
		}
		switch s := typed(cells[c.at]); {
		case s == "":
		case strings.ContainsAny(s, "-/. ") && isDay(s):
			c.dates++
		default:
			c.others++
		}
	}
}

// isDay says whether a text is a date, or could be two.
func isDay(s string) bool {
	_, code := dayText(s)
	return code == "" || code == "date_ambiguous"
}

// names returns the columns of which most cells are dates, or whose headings say
// that they are.
func (d *dates) names() (list []string) {
	words := []string{"datum", "date", "dato", "giltig", "valid", "gyldig", "voimassa", "galler", "expir", "utgar", "tom", "sistadag"}
	for _, c := range d.seen {
		heading := letters(d.p.header[c.at])
		says := slices.ContainsFunc(words, func(w string) bool {
			return strings.Contains(heading, w) && (w != "tom" || strings.HasSuffix(heading, w))
		})
		if c.dates > c.others || says && c.dates+c.others > 0 {
			list = append(list, d.p.name(c.at))
		}
	}
	return list
}

// Summary is what a file would hand out.
type Summary struct {
	Checks int    `json:"checks"`
	Sum    string `json:"sum"` // what they are worth together, with two decimals
	// First is the first day on which one of them is valid, and Last the last one,
	// "" if none says. Open are those without a last day.
	First string `json:"firstday,omitempty"`
	Last  string `json:"lastday,omitempty"`
	Open  int    `json:"withoutlastday"`
}

// Summary adds up the checks of a plan.
func (p Plan) Summary() Summary {
	var s Summary
	var sum decimal.Decimal
	var first, last time.Time
	for _, c := range p.Customers {
		for _, l := range c.Lines {
			for _, raw := range l.Checks {
				members, _ := object(raw)
				o := Check.offer(members)
				s.Checks++
				sum = sum.Add(o.Value)
				if o.Until.IsZero() {
					s.Open++
				} else if o.Until.After(last) {
					last = o.Until
				}
				if !o.From.IsZero() && (first.IsZero() || o.From.Before(first)) {
					first = o.From
				}
			}
		}
	}
	s.Sum = sum.StringFixed(2)
	if !first.IsZero() {
		s.First = first.In(rule.Stockholm).Format(time.DateOnly)
	}
	if !last.IsZero() { // the moment after it
		s.Last = last.Add(-time.Second).In(rule.Stockholm).Format(time.DateOnly)
	}
	return s
}
