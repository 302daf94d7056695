// Package setup tries everything that the connector does for a shop, once, with
// a customer that it makes up and removes again, and says line by line what
// works and what to do about the rest.
package setup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// The states of a line.
const (
	OK      = "ok"
	Failed  = "failed"
	Skipped = "skipped" // it does not apply, or an earlier line must be ok first
)

// Line is what was found of one thing. Nothing in it is secret, or about a
// person.
type Line struct {
	Name   string `json:"name"`
	Status string `json:"status"`           // OK, Failed or Skipped
	Code   string `json:"code,omitempty"`   // what was looked at and its status, for programs: "order_history_failed"
	Detail string `json:"detail,omitempty"` // what was found
	Advice string `json:"advice,omitempty"` // what to do about it
	// Err is why the line failed, for the log; nil where Detail says it all.
	Err error `json:"-"`
}

// Report is all lines and what they come to.
type Report struct {
	Status string `json:"status"` // Failed if a line is, else OK
	Lines  []Line `json:"lines"`
}

// NewReport sums lines up.
func NewReport(lines []Line) Report {
	r := Report{Status: OK, Lines: lines}
	for i, l := range lines {
		lines[i].Code = strings.ReplaceAll(strings.ToLower(l.Name), " ", "_") + "_" + l.Status
	}
	if slices.ContainsFunc(lines, func(l Line) bool { return l.Status == Failed }) {
		r.Status = Failed
	}
	return r
}

// The lines, in their order.
const (
	lineKey = iota
	lineFields
	lineHistory
	lineTags
	lineCustomer
	lineEmail
	linePhone
	lineCard
	lineOrder
	lineBonus
	lineRemoved
	lineSitoo
	lineSite
	lineOrders
	lineCount
)

var names = [lineCount]string{
	"API key", "Groups and fields", "Order history", "Tags", "Test customer", "Found by email", "Found by phone",
	"Customer card", "Order", "Bonus check", "Removed again", "Sitoo credentials", "Sitoo site", "Sitoo orders",
}

func (r *run) ok(line int, format string, args ...any) {
	r.lines[line] = Line{Status: OK, Detail: fmt.Sprintf(format, args...)}
}

func (r *run) skip(line int, format string, args ...any) {
	r.lines[line] = Line{Status: Skipped, Detail: fmt.Sprintf(format, args...)}
}

func (r *run) fail(line int, detail, advice string) {
	r.lines[line] = Line{Status: Failed, Detail: detail, Advice: advice}
}

const again = "Run this check again in a moment; if it stays like that, tell support what stands here."

// refused fails a line with what Rule answered.
func (r *run) refused(line int, err error) {
	detail, advice := said(err)
	r.lines[line] = Line{Status: Failed, Detail: detail, Advice: advice, Err: err}
}

// said tells a merchant what Rule answered. Rule's own words stay out.
func said(err error) (detail, advice string) {
	f := fault.As(err)
	switch f.Kind {
	case fault.Unauthorized:
		return "Rule does not accept the API key.", "Make a new API key in Rule (Settings > Developer) and paste it into Sitoo's box for the API token."
	case fault.Busy:
		return "Rule takes no calls " + until(f.RetryAt) + ".", "Run this check again after that."
	case fault.Unavailable:
		return "Rule did not answer as it should" + status(err) + ".", again
	default:
		return "Rule refuses it" + status(err) + ".", "Mend what the lines above say of fields and run this check again; if they are ok, tell support what stands here."
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return "just now"
	}
	return "before " + t.In(rule.Stockholm).Format("15:04:05") + " (Swedish time)"
}

// status adds what support needs to know.
func status(err error) string {
	e, ok := find(err)
	switch {
	case !ok || e.Status == 0:
		return ""
	case e.Code != "":
		return fmt.Sprintf(" (status %d %s)", e.Status, e.Code)
	}
	return fmt.Sprintf(" (status %d)", e.Status)
}
