package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sitoo-rule/shared/history"
)

// moment writes a time as the clock on the wall shows it, with the date unless
// it is today.
func (c *command) moment(t time.Time) string {
	t, now := t.Local(), c.now().Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// duration writes a time span in whole units, such as 1h 5m, 12m 30s or 10m.
func duration(d time.Duration) string {
	d = d.Round(time.Second)
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	var words []string
	for _, p := range []struct {
		n    time.Duration
		unit string
	}{{h, "h"}, {m, "m"}, {s, "s"}} {
		if p.n > 0 {
			words = append(words, strconv.FormatInt(int64(p.n), 10)+p.unit)
		}
	}
	return cmp.Or(strings.Join(words, " "), "0s")
}

// number writes n with its noun.
func number(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func failures(st history.Status) (n int) {
	for _, f := range st.Failed {
		n += len(f.Orders)
	}
	return n
}

// counts is how many orders have come how far.
func counts(st history.Status) string {
	s := fmt.Sprintf("%d read, %d matched, %d written, %d already there, %d skipped", st.Read, st.Matched, st.Written, st.Already, sum(st.Skipped))
	if n := failures(st); n > 0 {
		s += fmt.Sprintf(", %d failed", n)
	}
	return s
}

// rate is how fast a job goes: what is counted depends on its phase.
func rate(st history.Status) string {
	if st.Phase == history.Writing && st.Matched > 0 && !st.DryRun {
		return fmt.Sprintf("%g settled a minute", st.Rate)
	}
	return fmt.Sprintf("%g read a minute", st.Rate)
}

// progress is a line that says how far a job is.
func (c *command) progress(st history.Status) string {
	doing := string(st.State)
	if st.State == history.Running {
		doing += ", " + string(st.Phase)
	}
	s := fmt.Sprintf("%3d %%  %s: ", st.Percent, doing)
	if st.Phase == history.Customers && !st.State.Final() {
		s += fmt.Sprintf("%d customers of Rule listed; ", st.Listed)
	}
	s += counts(st)
	if st.Rate > 0 && st.State == history.Running {
		s += "; " + rate(st)
	}
	// One that is as soon as the wait is over says only that it is not before.
	if st.Ends.After(st.Until) && st.Ends.After(c.now()) {
		s += "; expected end " + c.moment(st.Ends)
	}
	if st.Stalled {
		s += "; nothing has changed for half an hour"
	}
	if st.Reason != "" {
		s += "; " + st.Reason
		if st.Until.After(c.now()) {
			s += " (until " + c.moment(st.Until) + ")"
		}
	}
	return s
}

// end shows the report of a job that has ended, or is paused, and says what to
// do next. Its error says why not everything is well.
func (w *watch) end(st history.Status) error {
	took := ""
	if !st.Ended.IsZero() {
		took = " after " + duration(st.Ended.Sub(st.Since))
		if st.Rate > 0 {
			took += ", " + rate(st)
		}
	}
	dry := ""
	if st.DryRun {
		dry = " (a dry run: nothing is written)"
	}
	w.say("")
	w.say("The backfill is %s%s%s", st.State, took, dry)
	w.say("  %s", counts(st))
	lost := map[string][]int64{}
	for _, f := range st.Lost {
		lost[f.Reason] = f.Orders
	}
	for _, why := range slices.Sorted(maps.Keys(st.Skipped)) {
		first := ""
		if n := len(lost[why]); n > 0 && n < st.Skipped[why] {
			first = fmt.Sprintf(", of which the first %d are", n)
		}
		w.say("  skipped, %s: %d%s", why, st.Skipped[why], first)
		w.ids(lost[why])
	}
	for _, f := range st.Failed {
		w.say("  failed, %s: %d", f.Reason, len(f.Orders))
		w.ids(f.Orders)
	}
	w.months(st)
	wrong := disagreements(st)
	for _, text := range wrong {
		w.say("  The sums do not agree: %s", text)
	}
	if len(wrong) == 0 && st.State == history.Done {
		w.say("  The sums agree: every order that was read is accounted for.")
	}
	if st.Note != "" {
		w.say("  %s", st.Note)
	} else if st.Counted > 0 && st.State == history.Done {
		w.say("  Sitoo counts as many as were read: %d.", st.Counted)
	}
	for _, text := range w.next(st, len(wrong) > 0) {
		w.say("%s", text)
	}
	failed := failures(st)
	switch {
	case st.State == history.Done && failed > 0:
		return fmt.Errorf("the backfill is done, but %s could not be written", number(failed, "order"))
	case len(wrong) > 0:
		return errors.New("the backfill is done, but its sums do not agree")
	case st.State == history.Done && len(lost) > 0:
		return errors.New("the backfill is done, but not every order could be brought over")
	case st.State == history.Done && st.Note != "":
		return errors.New("the backfill is done, but Sitoo does not count as many orders as were read")
	case st.State == history.Done:
		return nil
	case st.Reason != "":
		return fmt.Errorf("the backfill is %s: %s", st.State, st.Reason)
	}
	return fmt.Errorf("the backfill is %s", st.State)
}

func (w *watch) ids(list []int64) {
	for ids := range slices.Chunk(list, 10) {
		w.say("    %s", join(ids, " "))
	}
}

func join(ids []int64, by string) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(words, by)
}

// months shows the report by month, with a line of sums.
func (w *watch) months(st history.Status) {
	if len(st.Months) == 0 {
		return
	}
	left := "left"
	if st.DryRun {
		left = "to write"
	}
	w.say("")
	w.say("  %-8s %9s %9s %9s %9s %9s", "month", "in Sitoo", "in Rule", "skipped", "failed", left)
	for _, m := range append(slices.Clone(st.Months), total(st.Months)) {
		w.say("  %-8s %9d %9d %9d %9d %9d", m.Name, m.Sitoo, m.Written, m.Skipped, m.Failed, m.Left)
	}
}

// total is the sum of months.
func total(months []history.MonthReport) history.MonthReport {
	all := history.MonthReport{Name: "all"}
	for _, m := range months {
		all.Sitoo += m.Sitoo
		all.Written += m.Written
		all.Skipped += m.Skipped
		all.Failed += m.Failed
		all.Left += m.Left
	}
	return all
}

// disagreements says which numbers of a job that is done contradict each other:
// an order would be lost, or counted twice.
func disagreements(st history.Status) (list []string) {
	if st.State != history.Done {
		return nil // some are still on their way
	}
	all, failed, skipped := total(st.Months), failures(st), sum(st.Skipped)
	// Orders that Sitoo does not have are skipped without being read, and those
	// outside the period are in no month.
	missing, outside := st.Skipped[history.Missing], st.Skipped[history.Outside]
	inRule, left := st.Written+st.Already, 0
	if st.DryRun {
		left = st.Matched
	}
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"orders read", st.Read, inRule + left + skipped + failed - missing},
		{"orders in the months", all.Sitoo, st.Read - outside},
		{"orders in Rule in the months", all.Written, inRule},
		{"skipped orders in the months", all.Skipped, skipped - missing - outside},
		{"failed orders in the months", all.Failed, failed},
		{"orders left in the months", all.Left, left},
	} {
		if c.got != c.want {
			list = append(list, fmt.Sprintf("%s are %d, but %d by the other numbers", c.what, c.got, c.want))
		}
	}
	for _, m := range st.Months {
		if m.Left < 0 || m.Left > 0 && !st.DryRun || m.Left != m.Sitoo-m.Written-m.Skipped-m.Failed {
			list = append(list, fmt.Sprintf("in %s, %d of Sitoo's orders are not accounted for", m.Name, m.Sitoo-m.Written-m.Skipped-m.Failed))
		}
	}
	return list
}

// named is how many failed orders are offered for a message of their own.
const named = 50

// next says what to do.
func (w *watch) next(st history.Status, wrong bool) (list []string) {
	say := func(format string, args ...any) { list = append(list, "What to do: "+fmt.Sprintf(format, args...)) }
	const again = "What is in Rule already is not written again."
	switch st.State {
	case history.Paused:
		say("when its reason is dealt with, let it go on; the same command watches it again then:")
		return append(list, fmt.Sprintf("  curl -X POST -H 'Authorization: Bearer <the key>' %s/backfills/%s/resume", w.url, st.ID))
	case history.Failed:
		say("mend the cause, then run the same command: it begins anew. %s", again)
		return list
	case history.Cancelled:
		say("nothing, or run the same command to begin anew. %s", again)
		return list
	}
	if n := failures(st); n > 0 {
		say("mend the cause of what failed, then run the same command. %s", again)
		if n <= named && len(st.Orders) == 0 {
			var ids []int64
			for _, f := range st.Failed {
				ids = append(ids, f.Orders...)
			}
			slices.Sort(ids)
			list = append(list, "  Or only for those, in place of FROM and TO: ORDERS="+join(ids, ","))
		}
	}
	if wrong {
		say("tell the developers, with this report.")
	}
	if n := st.Skipped[history.StillOpen]; n > 0 {
		say("once the open orders are finished in Sitoo (%d), run the same command.", n)
	}
	if n := st.Skipped[history.Unreadable]; n > 0 {
		say("the lines of backfill-worker say what is wrong in the orders that cannot be read (%d).", n)
	}
	if n := st.Skipped[history.TooLarge]; n > 0 {
		say("the orders that are too large (%d) stay where they are: they are not in Rule, and another backfill does not bring them.", n)
	}
	if n := st.Skipped[history.Missing]; n > 0 {
		say("look at the numbers of the orders that are not in Sitoo (%d): Sitoo's site in the credentials does not have them.", n)
	}
	if n := st.Skipped[history.NotInRule]; n > 0 {
		say("if the customers whom Rule does not know (%s) are to be made, add CUSTOMERS=create; it makes those whose orders have an email address or a phone number.", number(n, "order"))
	}
	if st.DryRun && st.Matched > 0 {
		say("to write %s, run the same command without DRYRUN.", number(st.Matched, "order"))
	}
	if len(list) == 0 {
		say("nothing.")
	}
	return list
}
