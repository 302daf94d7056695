package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/history"
)

// steady is a connector that answers the same for as long as anybody asks.
func steady(code int) step { return step{code: code, body: `{"message":"It is as it is."}`} }

// job is a step with a job of a run.
func job(run int, state history.State, change func(*history.Status)) step {
	st := history.Status{Run: run, State: state, Phase: history.Reading, Percent: 10}
	if state.Final() {
		st.Phase, st.Percent, st.Ended = history.Writing, 100, time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
		st.Since = st.Ended.Add(-90 * time.Minute)
	}
	if change != nil {
		change(&st)
	}
	return step{Status: st}
}

// A backfill from its message to its report: a line per change, what it waits
// for and until when, and what to do.
func TestWatched(t *testing.T) {
	t.Parallel()
	until, untilText := at(9, 2, 0)
	ends, endsText := at(10, 30, 5)
	tomorrow := until.Add(24 * time.Hour)
	began, _ := at(7, 54, 27)
	ended, _ := at(9, 7, 0)
	s := &script{steps: []step{
		{}, // not taken up yet
		job(1, history.Waiting, func(st *history.Status) { st.Percent = 0; st.Phase = history.Customers }),
		job(1, history.Running, func(st *history.Status) { st.Percent = 0; st.Phase = history.Customers; st.Listed = 300 }),
		job(1, history.Running, func(st *history.Status) {
			st.Percent, st.Listed, st.Read, st.Matched, st.Skipped, st.Rate, st.Ends = 5, 400, 1000, 600, map[string]int{"no customer": 300, "customer not in Rule": 100}, 350.5, ends
		}),
		job(1, history.Running, func(st *history.Status) {
			st.Percent, st.Read, st.Matched, st.Skipped, st.Rate, st.Ends = 5, 1000, 600, map[string]int{"no customer": 300, "customer not in Rule": 100}, 340, ends.Add(time.Minute)
		}),
		job(1, history.Running, func(st *history.Status) {
			st.Percent, st.Read, st.Matched, st.Written, st.Already, st.Rate, st.Ends = 50, 2000, 1300, 200, 7, 340, until
			st.Reason, st.Until = "waits for Rule's budget, half of which is left to the tills", until
		}),
		job(1, history.Running, func(st *history.Status) {
			st.Percent, st.Phase, st.Read, st.Matched, st.Written, st.Already, st.Stalled, st.Rate = 50, history.Writing, 2000, 1300, 200, 7, true, 34
			st.Reason, st.Until, st.Failed = "Nothing happens.\x1b[2J", tomorrow, []history.Failure{{Reason: "x", Orders: []int64{1}}}
		}),
		job(1, history.Done, func(st *history.Status) {
			st.Since, st.Ended, st.Rate = began, ended, 27.6
			st.Read, st.Matched, st.Written, st.Already = 2000, 1290, 1270, 7
			st.Skipped = map[string]int{"no customer": 610, "customer not in Rule": 100, "still open": 2}
			st.Failed = []history.Failure{{Reason: "given up: internal", Orders: []int64{9, 12}}, {Reason: "Rule refuses it", Orders: []int64{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13}}}
			st.Months = []history.MonthReport{
				{Name: "2024-01", Month: history.Month{Sitoo: 1500, Written: 1000, Skipped: 500}},
				{Name: "2024-02", Month: history.Month{Sitoo: 498, Written: 277, Skipped: 210, Failed: 11}},
				{Name: "unknown", Month: history.Month{Sitoo: 4, Skipped: 2, Failed: 2}},
			}
			st.Read, st.Counted = 2002, 2003
			st.Skipped["cannot be read"], st.Skipped["still open"] = 1, 1
			st.Lost = []history.Failure{{Reason: "cannot be read", Orders: []int64{210400}}}
			st.Note = "Sitoo counted 2003 orders when the reading began, and 2002 were read."
		}),
	}}
	i := &running{}
	err := i.run(t, t.Context(), s)
	if want := "the backfill is done, but 13 orders could not be written"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	id := "42"
	want := `posted {"account":"` + id + `","from":"2024-01-01","to":"2024-12-31"}
backfill ` + history.JobID(id, history.Spec{From: day(2024, 1, 1), To: day(2025, 1, 1)}) + `
  0 %  waiting: 0 customers of Rule listed; 0 read, 0 matched, 0 written, 0 already there, 0 skipped
  0 %  running, customers: 300 customers of Rule listed; 0 read, 0 matched, 0 written, 0 already there, 0 skipped
  5 %  running, reading: 1000 read, 600 matched, 0 written, 0 already there, 400 skipped; 350.5 read a minute; expected end ` + endsText + `
 50 %  running, reading: 2000 read, 1300 matched, 200 written, 7 already there, 0 skipped; 340 read a minute; waits for Rule's budget, half of which is left to the tills (until ` + untilText + `)
 50 %  running, writing: 2000 read, 1300 matched, 200 written, 7 already there, 0 skipped, 1 failed; 34 settled a minute; nothing has changed for half an hour; Nothing happens. [2J (until ` + tomorrow.Local().Format(time.DateTime) + `)
100 %  done: 2002 read, 1290 matched, 1270 written, 7 already there, 712 skipped, 13 failed

The backfill is done after 1h 13m, 27.6 settled a minute
  2002 read, 1290 matched, 1270 written, 7 already there, 712 skipped, 13 failed
  skipped, cannot be read: 1
    210400
  skipped, customer not in Rule: 100
  skipped, no customer: 610
  skipped, still open: 1
  failed, given up: internal: 2
    9 12
  failed, Rule refuses it: 11
    1 2 3 4 5 6 7 8 10 11
    13

  month     in Sitoo   in Rule   skipped    failed      left
  2024-01       1500      1000       500         0         0
  2024-02        498       277       210        11         0
  unknown          4         0         2         2         0
  all           2002      1277       712        13         0
  The sums agree: every order that was read is accounted for.
  Sitoo counted 2003 orders when the reading began, and 2002 were read.
What to do: mend the cause of what failed, then run the same command. What is in Rule already is not written again.
  Or only for those, in place of FROM and TO: ORDERS=1,2,3,4,5,6,7,8,9,10,11,12,13
What to do: once the open orders are finished in Sitoo (1), run the same command.
What to do: the lines of backfill-worker say what is wrong in the orders that cannot be read (1).
What to do: if the customers whom Rule does not know (100 orders) are to be made, add CUSTOMERS=create; it makes those whose orders have an email address or a phone number.
`
	if diff := cmp.Diff(want, i.out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// It is asked often while something changes, seldom while nothing does; counts
// alone make a line now and then, and nothing new makes none.
func TestLines(t *testing.T) {
	t.Parallel()
	read := func(n int) step {
		return job(1, history.Running, func(st *history.Status) { st.Read, st.Rate = n, float64(n) })
	}
	s, i := &script{}, &running{}
	for _, n := range []int{1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 7} {
		s.steps = append(s.steps, read(n))
	}
	s.steps = append(s.steps, done)
	if err := i.run(t, t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(i.out.String()) {
		if _, after, ok := strings.Cut(line, "running, reading: "); ok {
			got = append(got, after[:1])
		}
	}
	if diff := cmp.Diff([]string{"1", "2", "7"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	sec := time.Second
	if diff := cmp.Diff([]time.Duration{2 * sec, 4 * sec, 8 * sec, 10 * sec, 10 * sec, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 4 * sec}, i.clock.slept); diff != "" {
		t.Errorf("slept (-want +got):\n%s", diff)
	}
}

// Whatever changes but the counts makes a line at once.
func TestNews(t *testing.T) {
	t.Parallel()
	until, _ := at(9, 30, 0)
	changes := []func(*history.Status){
		func(*history.Status) {},
		func(st *history.Status) { st.Percent = 11 },
		func(st *history.Status) { st.Phase = history.Reopening },
		func(st *history.Status) { st.Reason = "waits" },
		func(st *history.Status) { st.Until = until },
		func(st *history.Status) { st.Until = until.Add(time.Minute) },
		func(st *history.Status) { st.Stalled = true },
	}
	s, i := &script{}, &running{}
	for n := range changes {
		s.steps = append(s.steps, job(1, history.Running, func(st *history.Status) {
			for _, change := range changes[:n+1] {
				change(st)
			}
		}))
	}
	s.steps = append(s.steps, done)
	if err := i.run(t, t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(i.out.String(), " %  running, re"); got != len(changes) {
		t.Errorf("%d lines, want %d:\n%s", got, len(changes), i.out.String())
	}
}

// The end of a run that had ended before the message was posted is not taken for
// that of the new one; a job that is under way is joined, and one that ends just
// before the message comes is followed when it begins anew.
func TestRuns(t *testing.T) {
	t.Parallel()
	seven := func(st *history.Status) {
		st.Read, st.Written, st.Matched = 7, 7, 7
		st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: 7, Written: 7}}}
	}
	_, ended := at(8, 0, 0)
	for name, tt := range map[string]struct {
		before step
		steps  []step
		says   []string
		never  []string
		fails  string
		slept  time.Duration // at the least
	}{
		"begun anew": {
			job(3, history.Done, seven),
			[]step{job(3, history.Done, seven), {}, job(3, history.Done, seven), job(4, history.Running, nil), job(4, history.Done, nil)},
			[]string{": its run 3 has ended (done, " + ended + "); it begins anew\n", " 10 %  running", "100 %  done: 0 read"},
			[]string{"7 read"},
			"", 0,
		},
		"begun anew after a failure": {
			job(1, history.Failed, func(st *history.Status) { st.Reason = "given up" }),
			[]step{job(1, history.Failed, nil), job(2, history.Done, nil)},
			[]string{"(failed, " + ended + "); it begins anew\n", "\nThe backfill is done"},
			[]string{"given up"},
			"", 0,
		},
		"never begun anew": {
			job(3, history.Done, seven),
			[]step{job(3, history.Done, seven)},
			nil,
			[]string{"7 read", "The backfill"},
			"no job has come of the message within 1m.", time.Minute,
		},
		"joined": {
			job(2, history.Running, nil),
			[]step{job(2, history.Running, func(st *history.Status) { st.Percent = 60 }), job(2, history.Running, func(st *history.Status) { st.Percent = 90 }), job(2, history.Done, nil)},
			[]string{": it is there already (running, 10 %); the message joins it\n", " 60 %  running", "\nThe backfill is done after 1h 30m\n"},
			[]string{"anew\n"},
			"", joins,
		},
		"joined, and done since": {
			job(2, history.Running, nil),
			[]step{job(2, history.Done, seven)},
			[]string{"100 %  done: 7 read", "\nThe backfill is done"},
			[]string{"anew"},
			"", joins,
		},
		"joined too late": {
			job(2, history.Running, nil),
			[]step{job(2, history.Done, seven), job(2, history.Done, seven), job(3, history.Running, nil), job(3, history.Done, nil)},
			[]string{"it had ended before the message came, and begins anew", "\nThe backfill is done after 1h 30m\n  0 read"},
			nil, "", 0,
		},
		"paused before": {
			job(2, history.Paused, nil),
			[]step{job(2, history.Paused, nil), steady(500)},
			[]string{": it is there already (paused, 10 %); the message joins it\n", "/resume\n"},
			[]string{"asked again"},
			"the backfill is paused", 0,
		},
		"joined long before": {
			job(2, history.Running, nil), append(slices.Repeat([]step{job(2, history.Running, nil)}, 5), job(2, history.Done, nil), steady(500)),
			[]string{"\nThe backfill is done"},
			[]string{"asked again"},
			"", joins,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{before: tt.before, steps: tt.steps}, &running{}
			err := i.run(t, t.Context(), s)
			if tt.fails == "" && err != nil {
				t.Error(err)
			} else if tt.fails != "" {
				fails(t, err, tt.fails)
			}
			i.says(t, tt.says...)
			i.never(t, tt.never...)
			var slept time.Duration
			for _, d := range i.clock.slept {
				slept += d
			}
			if slept < tt.slept || slept > 2*time.Minute {
				t.Errorf("watched for %s, want %s", slept, tt.slept)
			}
		})
	}
}

// A message that no job comes of.
func TestNoJob(t *testing.T) {
	t.Parallel()
	s, i := &script{}, &running{}
	err := i.run(t, t.Context(), s)
	want := "no job has come of the message within 1m. Look for the message in BackfillDeadLetters, where its attribute reason says why, and at the lines of backfill-worker"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	i.says(t, "curl -H 'Authorization: Bearer <the key>' http://connector/sitoo/backfills/", "the same command")
	if n := len(i.clock.slept); n != 31 {
		t.Errorf("asked %d times", n)
	}
}

// How a job ends is how the command does.
func TestEnds(t *testing.T) {
	t.Parallel()
	const again = "What is in Rule already is not written again.\n"
	for name, tt := range map[string]struct {
		env  map[string]string
		last step
		says []string
		want string // the error, "" for none
	}{
		"done":      {nil, job(1, history.Done, nil), []string{"The backfill is done after 1h 30m\n  0 read", "What to do: nothing.\n"}, ""},
		"failed":    {nil, job(1, history.Failed, func(st *history.Status) { st.Reason, st.Percent, st.Read = "given up: unavailable", 40, 5 }), []string{" 40 %  failed: 5 read", "; given up: unavailable\n", "What to do: mend the cause, then run the same command: it begins anew. " + again}, "the backfill is failed: given up: unavailable"},
		"cancelled": {nil, job(1, history.Cancelled, func(st *history.Status) { st.Reason = "cancelled by request" }), []string{"What to do: nothing, or run the same command to begin anew. " + again}, "the backfill is cancelled: cancelled by request"},
		"unsaid":    {nil, job(1, history.Cancelled, nil), nil, "the backfill is cancelled"},
		"paused": {nil, job(1, history.Paused, func(st *history.Status) {
			st.Reason = "Sitoo refuses the credentials. Enter them again, then resume."
			st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: 5, Written: 2}, Left: 3}}
		}), []string{
			"The backfill is paused\n", "2024-01          5         2         0         0         3\n",
			"What to do: when its reason is dealt with, let it go on; the same command watches it again then:\n  curl -X POST -H 'Authorization: Bearer <the key>' http://connector/sitoo/backfills/", "/resume\n",
		}, "the backfill is paused: Sitoo refuses the credentials. Enter them again, then resume."},
		"one failed": {nil, job(1, history.Done, func(st *history.Status) {
			st.Read, st.Failed = 1, []history.Failure{{Reason: "given up: internal", Orders: []int64{210334}}}
			st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: 1, Failed: 1}}}
		}), []string{"  failed, given up: internal: 1\n    210334\n", "ORDERS=210334\n", "The sums agree"}, "the backfill is done, but 1 order could not be written"},
		"one of those named": {map[string]string{"ORDERS": "210334"}, job(1, history.Done, func(st *history.Status) {
			st.Orders, st.Read, st.Failed = []int64{210334}, 1, []history.Failure{{Reason: "given up: internal", Orders: []int64{210334}}}
			st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: 1, Failed: 1}}}
		}), []string{"of what failed, then run the same command. " + again}, "the backfill is done, but 1 order could not be written"},
		"many failed": {nil, job(1, history.Done, func(st *history.Status) {
			f := history.Failure{Reason: "given up: internal"}
			for id := range int64(named + 1) {
				f.Orders = append(f.Orders, 1000+id)
			}
			st.Read, st.Failed = len(f.Orders), []history.Failure{f}
			st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: len(f.Orders), Failed: len(f.Orders)}}}
		}), []string{"\n    1000 1001 1002 1003 1004 1005 1006 1007 1008 1009\n", "\n    1050\n", "of what failed, then run the same command. " + again}, "the backfill is done, but 51 orders could not be written"},
		"a dry run": {map[string]string{"DRYRUN": "1"}, job(1, history.Done, func(st *history.Status) {
			st.DryRun, st.Read, st.Matched, st.Skipped = true, 5, 3, map[string]int{"no customer": 2, "not in Sitoo": 1, "outside the period": 1}
			st.Read = 6
			st.Months = []history.MonthReport{{Name: "2024-01", Month: history.Month{Sitoo: 5, Skipped: 2}, Left: 3}}
		}), []string{"The backfill is done after 1h 30m (a dry run: nothing is written)\n", "    failed  to write\n", "all              5         0         2         0         3\n", "The sums agree", "What to do: to write 3 orders, run the same command without DRYRUN.\n"}, ""},
		"some unreadable": {nil, job(1, history.Done, func(st *history.Status) {
			st.Read, st.Skipped = 1, map[string]int{"cannot be read": 1}
			st.Months = []history.MonthReport{{Name: "unknown", Month: history.Month{Sitoo: 1, Skipped: 1}}}
		}), []string{"What to do: the lines of backfill-worker say what is wrong in the orders that cannot be read (1).\n"}, ""},
		"some lost": {nil, job(1, history.Done, func(st *history.Status) {
			st.Read, st.Counted, st.Skipped = 4, 4, map[string]int{"cannot be read": 3, "too large": 1, "no customer": 0}
			st.Lost = []history.Failure{{Reason: "cannot be read", Orders: []int64{210334, 210335}}, {Reason: "too large", Orders: []int64{7}}}
			st.Months = []history.MonthReport{{Name: "unknown", Month: history.Month{Sitoo: 4, Skipped: 4}}}
		}), []string{
			"  skipped, cannot be read: 3, of which the first 2 are\n    210334 210335\n  skipped, no customer: 0\n  skipped, too large: 1\n    7\n",
			"The sums agree: every order that was read is accounted for.\n  Sitoo counts as many as were read: 4.\n",
			"What to do: the orders that are too large (1) stay where they are: they are not in Rule, and another backfill does not bring them.\n",
		}, "the backfill is done, but not every order could be brought over"},
		"some not there": {nil, job(1, history.Done, func(st *history.Status) {
			st.Orders, st.Skipped = []int64{210334}, map[string]int{"not in Sitoo": 1}
			st.Lost = []history.Failure{{Reason: "not in Sitoo", Orders: []int64{210334}}}
		}), []string{
			"  skipped, not in Sitoo: 1\n    210334\n",
			"What to do: look at the numbers of the orders that are not in Sitoo (1): Sitoo's site in the credentials does not have them.\n",
		}, "the backfill is done, but not every order could be brought over"},
		"Sitoo counts otherwise": {nil, job(1, history.Done, func(st *history.Status) {
			st.Counted, st.Note = 3, "Sitoo counted 3 orders when the reading began, and 0 were read."
		}), []string{"  Sitoo counted 3 orders when the reading began, and 0 were read.\n"}, "the backfill is done, but Sitoo does not count as many orders as were read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{steps: []step{job(1, history.Running, nil), tt.last, steady(500)}}, &running{env: tt.env}
			err := i.run(t, t.Context(), s)
			if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && got != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			i.says(t, tt.says...)
			if name != "one failed" {
				i.never(t, "ORDERS=")
			}
			if tt.last.State != history.Done {
				i.never(t, "The sums")
			}
		})
	}
}

// A report that contradicts itself is an order lost, or counted twice: each sum
// is looked at.
func TestSums(t *testing.T) {
	t.Parallel()
	month := func(sitoo, inRule, skipped, failed, left int) history.MonthReport {
		return history.MonthReport{Name: "2024-01", Month: history.Month{Sitoo: sitoo, Written: inRule, Skipped: skipped, Failed: failed}, Left: left}
	}
	for name, tt := range map[string]struct {
		change func(*history.Status)
		want   string
	}{
		"they agree":        {func(*history.Status) {}, ""},
		"one read too many": {func(st *history.Status) { st.Read++ }, "orders read are 12, but 11 by the other numbers"},
		"one not counted":   {func(st *history.Status) { st.Written--; st.Months[0] = month(9, 4, 3, 1, 1) }, "orders read are 11, but 10 by the other numbers"},
		"one left":          {func(st *history.Status) { st.Written--; st.Months[0] = month(9, 4, 3, 1, 1) }, "in 2024-01, 1 of Sitoo's orders are not accounted for"},
		"one in no month":   {func(st *history.Status) { st.Months[0] = month(8, 4, 3, 1, 0) }, "orders in the months are 8, but 9 by the other numbers"},
		"not in Rule":       {func(st *history.Status) { st.Months[0] = month(9, 4, 4, 1, 0) }, "orders in Rule in the months are 4, but 5 by the other numbers"},
		"not skipped":       {func(st *history.Status) { st.Months[0] = month(9, 5, 4, 0, 0) }, "skipped orders in the months are 4, but 3 by the other numbers"},
		"not failed":        {func(st *history.Status) { st.Months[0] = month(9, 5, 4, 0, 0) }, "failed orders in the months are 0, but 1 by the other numbers"},
		"in two months": {func(st *history.Status) {
			st.Months = []history.MonthReport{month(5, 5, 3, 1, -4), month(4, 0, 0, 0, 4)}
		}, "in 2024-01, -4 of Sitoo's orders are not accounted for"},
		"a dry run's": {func(st *history.Status) {
			st.DryRun, st.Written, st.Already, st.Failed = true, 0, 0, nil
			st.Months[0] = month(9, 0, 3, 0, 6)
			st.Matched = 7
		}, "orders left in the months are 6, but 7 by the other numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			last := job(1, history.Done, func(st *history.Status) {
				st.Read, st.Matched, st.Written, st.Already = 11, 6, 3, 2
				st.Skipped = map[string]int{"no customer": 3, "not in Sitoo": 1, "outside the period": 2}
				st.Failed = []history.Failure{{Reason: "x", Orders: []int64{1}}}
				st.Months = []history.MonthReport{month(9, 5, 3, 1, 0)}
				tt.change(st)
			})
			i := &running{}
			err := i.run(t, t.Context(), &script{steps: []step{last}})
			if tt.want == "" {
				i.says(t, "The sums agree")
				return
			}
			i.says(t, "  The sums do not agree: "+tt.want+"\n", "What to do: tell the developers, with this report.\n")
			i.never(t, "The sums agree")
			if len(last.Failed) == 0 {
				fails(t, err, "the backfill is done, but its sums do not agree")
			}
		})
	}
}

// What passes does not end the watch: it is asked again, said once, and the job
// is followed on.
func TestAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		step step
		want string
	}{
		"a pause":         {step{code: 503, body: `{"message":"Rule is taking a pause."}`}, "the connector answers 503: Rule is taking a pause.; asked again for 10m\n"},
		"too many":        {step{code: 429}, "the connector answers 429: Too Many Requests; asked again for 10m\n"},
		"a time-out":      {step{code: 408}, "the connector answers 408: Request Timeout; asked again for 10m\n"},
		"a gateway's":     {step{code: 504, body: "<html>" + testKey}, "the connector answers 504: Gateway Timeout; asked again for 10m\n"},
		"a page":          {step{body: "<html>Sign in</html>"}, "the answer is not the connector's: is URL its address, with /sitoo at the end?; asked again for 10m\n"},
		"another answer":  {step{body: `{"status":"ok"}`}, "the answer is not the connector's: is URL its address, with /sitoo at the end?; asked again for 10m\n"},
		"no answer":       {step{lost: true}, "the connector does not answer ("},
		"half an answer":  {step{cut: true}, "the connector's answer breaks off ("},
		"the key, echoed": {step{code: 500, body: `{"message":"` + testKey + `"}`}, "the connector answers 500: [key]; asked again for 10m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{}, &running{}
			s.steps = []step{job(1, history.Running, nil), tt.step, tt.step, tt.step, tt.step, job(1, history.Running, func(st *history.Status) { st.Percent = 30 }), job(1, history.Done, nil)}
			if err := i.run(t, t.Context(), s); err != nil {
				t.Fatalf("error %v\n%s", err, i.out.String())
			}
			i.says(t, tt.want, "the connector answers again\n 30 %  running", "The backfill is done")
			if n := strings.Count(i.out.String(), "; asked again"); n != 1 {
				t.Errorf("said %d times:\n%s", n, i.out.String())
			}
		})
	}
}

// One trouble after the other is said; each new outage has its own patience.
func TestOutages(t *testing.T) {
	t.Parallel()
	s, i := &script{}, &running{}
	for range 3 {
		s.steps = append(s.steps, slices.Repeat([]step{steady(500)}, 12)...)
		s.steps = append(s.steps, steady(502), job(1, history.Running, nil))
	}
	s.steps = append(s.steps, job(1, history.Done, nil))
	if err := i.run(t, t.Context(), s); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	for want, n := range map[string]int{"500: It is as it is.; asked again for 10m\n": 3, "502: It is as it is.; asked again for 5m 30s\n": 3, "answers again": 3} {
		if got := strings.Count(i.out.String(), want); got != n {
			t.Errorf("%q is said %d times, want %d:\n%s", want, got, n, i.out.String())
		}
	}
}

// A connector that is away for long is given up, and one that refuses to answer
// at once: the job goes on, and it is said how to look at it.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps []step
		want  string
		slept time.Duration
	}{
		"away":           {[]step{job(1, history.Running, nil), steady(503)}, "the connector answers 503: It is as it is.; not asked any more after 10m, and the backfill goes on by itself", patience},
		"away at once":   {[]step{steady(503)}, "the connector answers 503: It is as it is.; not asked any more after 10m, and the backfill goes on by itself", patience},
		"a revoked key":  {[]step{job(1, history.Running, nil), steady(401)}, "the connector answers 401: It is as it is.; the backfill goes on by itself", 0},
		"forbidden":      {[]step{job(1, history.Running, nil), steady(403)}, "the connector answers 403: It is as it is.; the backfill goes on by itself", 0},
		"gone elsewhere": {[]step{job(1, history.Running, nil), steady(301)}, "the connector answers 301: It is as it is.; the backfill goes on by itself", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{steps: tt.steps}, &running{}
			err := i.run(t, t.Context(), s)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			i.says(t, "To look at it: curl -H 'Authorization: Bearer <the key>' http://connector/sitoo/backfills/"+s.asked[0]+"\n", "To watch it again: the same command.")
			var slept, most time.Duration
			for _, d := range i.clock.slept {
				slept, most = slept+d, max(most, d)
			}
			if slept < tt.slept || slept > tt.slept+time.Minute || most > longest {
				t.Errorf("slept %s, %s at the most", slept, most)
			}
		})
	}
}

// The minute that a job may take to be there begins anew after an outage.
func TestLateJob(t *testing.T) {
	t.Parallel()
	s, i := &script{}, &running{}
	s.steps = append(slices.Repeat([]step{steady(500)}, 10), step{}, step{}, step{}, job(1, history.Done, nil))
	if err := i.run(t, t.Context(), s); err != nil {
		t.Error(err)
	}
}

// A job that is gone: `make run` was started anew.
func TestGone(t *testing.T) {
	t.Parallel()
	s, i := &script{steps: []step{job(1, history.Running, nil), {}}}, &running{}
	fails(t, i.run(t, t.Context(), s), "the connector does not know the backfill any more: if `make run` was started anew, enter the credentials and begin the backfill again")
}

// Interrupted, it says that the job goes on and how to look; before the message
// is posted, that it was not.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]step{
		"under way":   {job(1, history.Running, nil)},
		"no job yet":  {{}},
		"no answer":   {steady(500)},
		"in a repeat": {job(1, history.Running, nil), steady(503)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			s, i := &script{steps: steps}, &running{clock: newClock()}
			i.clock.until = func(n int) error {
				if n == 2 {
					cancel()
				}
				return ctx.Err()
			}
			err := i.run(t, ctx, s)
			if err == nil || err.Error() != "interrupted; the backfill goes on by itself" {
				t.Errorf("error %v", err)
			}
			i.says(t, "To look at it: curl -H 'Authorization: Bearer <the key>' http://connector/sitoo/backfills/"+s.asked[0]+"\n", "It joins a backfill that is under way")
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, i := &script{}, &running{}
	if err := i.run(t, ctx, s); err == nil || err.Error() != "interrupted; nothing was posted" || len(s.posts) > 0 || i.out.Len() > 0 {
		t.Errorf("at once: %v, %v, %q", err, s.posts, i.out.String())
	}
}

// Interrupted in the middle of a request, it says the same.
func TestInterruptedRequest(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]string{
		"GET /sitoo/credentials":       "interrupted; nothing was posted",
		"POST /_queues/BackfillQueue":  "post the message: interrupted; if it is on the queue nevertheless, the same command joins its job",
		"GET /sitoo/backfills/ posted": "interrupted; the backfill goes on by itself",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s, i := &script{steps: []step{job(1, history.Running, nil)}}, &running{}
		err := i.run(t, ctx, interrupting{s, when, cancel})
		if err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %q", when, err, want)
		}
		i.never(t, "does not answer")
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 12*time.Minute + 30*time.Second: "12m 30s",
		time.Hour: "1h", 25*time.Hour + 5*time.Minute + 29*time.Second: "25h 5m", time.Hour - 100*time.Millisecond: "1h",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
