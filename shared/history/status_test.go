package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/memory"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/worker"
)

var began = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

// pushes are the steps that a desk has queued.
type pushes []worker.Message

func (p *pushes) Send(_ context.Context, m worker.Message) error {
	*p = append(*p, m)
	return nil
}

// reception is a desk, minutes after a job has begun.
func reception(t *testing.T, j history.Job, minutes int, parts ...history.Part) (*history.Desk, *pushes) {
	t.Helper()
	store, queue, ids := &memory.History{}, &pushes{}, 0
	for _, p := range parts {
		if err := store.SavePart(t.Context(), j.Account, j.ID, j.Run, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	return &history.Desk{
		Jobs: store, Steps: queue,
		Now:   func() time.Time { return began.Add(time.Duration(minutes) * time.Minute) },
		NewID: func() string { ids++; return fmt.Sprintf("push-%d", ids) },
	}, queue
}

// after is a moment in minutes after a job has begun.
func after(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }

// underWay is a job that has read half of the orders.
func underWay(change func(j *history.Job)) history.Job {
	j := history.Job{
		Account: shopAccount, ID: "0123456789ab", Run: 2, Spec: winter, State: history.Running, Phase: history.Reading,
		Created: began, Began: after(1), Updated: after(10), People: 700, First: 200_001, Last: 210_001, Cursor: 205_001, Step: 9,
		Parts: []string{"a", "b", "c"}, Read: 1000, Matched: 400, Skipped: map[string]int{history.NoCustomer: 550, history.Outside: 50},
		Months: map[string]history.Month{"2023-01": {Sitoo: 500, Skipped: 300}, "2023-02": {Sitoo: 450, Skipped: 250}},
	}
	if change != nil {
		change(&j)
	}
	return j
}

// written are results of the job's parts: 300 of 400 orders are settled, the
// second part is not finished. The last one was never committed.
var written = []history.Part{
	{
		ID: "a", Done: 200, Written: 150, Already: 20, Skipped: map[string]int{history.NoCustomer: 7, history.NotInRule: 20}, Finished: true, Began: after(2), Updated: after(9),
		Failed: map[string][]int64{"refused": {200_500, 200_400}, "given up": {200_600}}, Failures: 3,
		Months: map[string]history.Month{"2023-01": {Written: 170, Skipped: 27, Failed: 3}},
	},
	{
		ID: "b", Done: 100, Written: 90, Already: 4, Skipped: map[string]int{history.NotInRule: 5}, Reason: "waits for Rule's budget", Until: after(40), Began: after(9), Updated: after(12),
		Failed: map[string][]int64{"refused": {200_700}}, Failures: 1,
		Months: map[string]history.Month{"2023-01": {Written: 0}, "2023-02": {Written: 94, Skipped: 5, Failed: 1}},
	},
	{ID: "orphan", Done: 200, Written: 200, Finished: true, Began: after(200), Updated: after(300), Months: map[string]history.Month{"2023-01": {Written: 200}}},
}

func TestStatus(t *testing.T) {
	t.Parallel()
	lost := func(j *history.Job) {
		j.Lost = map[string][]int64{history.Unreadable: {200_020, 200_010}} // open ones are read last
	}
	d, _ := reception(t, underWay(lost), 13, written...)
	got, err := d.Status(t.Context(), shopAccount, "0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	want := history.Status{
		State: history.Running, Percent: 43, ID: "0123456789ab", Account: shopAccount, Run: 2, Phase: history.Reading,
		Reason: "waits for Rule's budget", Until: after(40), From: "2022-12-01", To: "2023-03-31", Customers: "known",
		Listed: 700, Read: 1000, Matched: 400, Written: 240, Already: 24,
		Skipped: map[string]int{history.NoCustomer: 557, history.Outside: 50, history.NotInRule: 25},
		Lost:    []history.Failure{{Reason: history.Unreadable, Orders: []int64{200_010, 200_020}}},
		Failed:  []history.Failure{{Reason: "given up", Orders: []int64{200_600}}, {Reason: "refused", Orders: []int64{200_400, 200_500, 200_700}}},
		Rate:    83.3, Ends: after(103).Add(20 * time.Second), Since: began, Last: after(12),
		Months: []history.MonthReport{
			{Name: "2023-01", Month: history.Month{Sitoo: 500, Written: 170, Skipped: 327, Failed: 3}},
			{Name: "2023-02", Month: history.Month{Sitoo: 450, Written: 94, Skipped: 255, Failed: 1}, Left: 100},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Status (-want +got):\n%s", diff)
	}
	list, err := d.List(t.Context(), shopAccount)
	want.Months = nil
	if diff := cmp.Diff([]history.Status{want}, list); err != nil || diff != "" {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
	raw, err := json.Marshal(want)
	if err != nil || !strings.HasPrefix(string(raw), `{"state":"running","percent":43,"backfillid":"0123456789ab"`) {
		t.Errorf("JSON %s, %v", raw, err)
	}
	if _, err := d.Status(t.Context(), shopAccount, "another"); fault.KindOf(err) != fault.NotFound || fault.As(err).Message != "There is no backfill with that id." {
		t.Errorf("another job: %v", err)
	}
	if list, err := d.List(t.Context(), "another"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("another account: %v, %v", list, err)
	}
}

func TestStatusProgress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(j *history.Job)
		minutes int
		parts   []history.Part
		percent int
		stalled bool
		reason  string
		ends    time.Time
	}{
		"not begun": {func(j *history.Job) {
			*j = history.Job{Account: j.Account, ID: j.ID, Run: 1, State: history.Waiting, Created: began, Updated: began}
		}, 1, nil, 0, false, "", time.Time{}},
		"lists customers":       {func(j *history.Job) { j.Phase, j.Cursor, j.First, j.Matched = history.Customers, 0, 0, 0 }, 11, nil, 0, false, "", time.Time{}},
		"nothing written":       {nil, 11, nil, 25, false, "", time.Time{}},
		"nothing to write":      {func(j *history.Job) { j.Matched = 0 }, 11, nil, 50, false, "", after(21)},
		"a dry run":             {func(j *history.Job) { j.DryRun, j.Parts = true, nil }, 11, nil, 50, false, "", after(21)},
		"chosen orders":         {func(j *history.Job) { j.Orders, j.Cursor, j.Matched = []int64{3, 5, 7, 9}, 7, 0 }, 11, nil, 75, false, "", after(14).Add(20 * time.Second)},
		"one order":             {func(j *history.Job) { j.First, j.Last, j.Cursor = 7, 7, 7 }, 11, nil, 0, false, "", time.Time{}},
		"all read":              {func(j *history.Job) { j.Phase = history.Writing }, 13, written, 87, false, "waits for Rule's budget", after(52).Add(40 * time.Second)},
		"open ones":             {func(j *history.Job) { j.Phase = history.Reopening }, 11, nil, 50, false, "", time.Time{}},
		"all but done":          {func(j *history.Job) { j.Phase, j.Matched = history.Writing, 300 }, 13, written, 99, false, "waits for Rule's budget", after(40)},
		"done":                  {func(j *history.Job) { j.State, j.Phase, j.Ended = history.Done, history.Writing, after(20) }, 90, written, 100, false, "", time.Time{}},
		"cancelled":             {func(j *history.Job) { j.State, j.Reason = history.Cancelled, "cancelled by request" }, 90, written, 43, false, "cancelled by request", time.Time{}},
		"paused for long":       {func(j *history.Job) { j.State, j.Reason = history.Paused, "paused by request" }, 90, nil, 25, false, "paused by request", time.Time{}},
		"quiet":                 {nil, 40, nil, 25, false, "", time.Time{}},
		"stalled":               {nil, 41, nil, 25, true, "Nothing happens: resume gives it a push; if that does not help, look in BackfillDeadLetters.", time.Time{}},
		"stalled before it ran": {func(j *history.Job) { j.State = history.Waiting }, 41, nil, 25, true, "Nothing happens: resume gives it a push; if that does not help, look in BackfillDeadLetters.", time.Time{}},
		"stalled for a reason":  {func(j *history.Job) { j.Reason = "Rule refuses the shop's API key." }, 41, nil, 25, true, "Rule refuses the shop's API key.", time.Time{}},
		"stalled at its end":    {func(j *history.Job) { j.Phase = history.Writing }, 41, written[:1], 75, true, "2 of 3 parts are not written, and nothing happens: look for them in HistoryDeadLetters.", time.Time{}},
		"waits for long":        {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 59, nil, 25, false, "waits for Sitoo, which is busy", time.Time{}},
		"is to have gone on":    {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 85, nil, 25, false, "waits for Sitoo, which is busy", time.Time{}},
		"has not gone on":       {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 91, nil, 25, true, "waits for Sitoo, which is busy", time.Time{}},
		"a part has gone on":    {nil, 41, written, 43, false, "waits for Rule's budget", after(106)},
	} {
		d, _ := reception(t, underWay(c.change), c.minutes, c.parts...)
		st, err := d.Status(t.Context(), shopAccount, "0123456789ab")
		if err != nil || st.Percent != c.percent || st.Stalled != c.stalled || st.Reason != c.reason || !st.Ends.Equal(c.ends) {
			t.Errorf("%s: %d percent, stalled %t because of %q, ends %v, %v", name, st.Percent, st.Stalled, st.Reason, st.Ends, err)
		}
	}
}

// How fast a job goes, and when it ends: by the slower of reading and writing,
// with its waits, and not before there is something to go by.
func TestStatusPace(t *testing.T) {
	t.Parallel()
	all := func(change ...func(j *history.Job)) func(j *history.Job) {
		return func(j *history.Job) {
			for _, c := range change {
				c(j)
			}
		}
	}
	nothing := func(j *history.Job) { j.Matched, j.Parts = 0, nil } // to be written
	writing := func(j *history.Job) { j.Phase = history.Writing }
	// part is one of the job's, in hand from one minute to another.
	part := func(id string, orders, from, to int, finished bool) history.Part {
		return history.Part{ID: id, Done: orders, Written: orders, Finished: finished, Began: after(from), Updated: after(to)}
	}
	waits := func(p history.Part, until int) history.Part {
		p.Reason, p.Until = "waits", after(until)
		return p
	}
	putAside := history.Part{ID: "a", Done: 200, Failures: 200, Finished: true, Updated: after(20)}
	for name, c := range map[string]struct {
		change  func(j *history.Job)
		minutes int
		parts   []history.Part
		rate    float64
		ends    time.Time
	}{
		"lists customers":         {func(j *history.Job) { j.Phase, j.Began, j.Read = history.Customers, time.Time{}, 0 }, 40, nil, 0, time.Time{}},
		"lists them once more":    {all(nothing, func(j *history.Job) { j.Phase = history.Customers }), 11, nil, 100, after(21)},
		"reads for a short time":  {nothing, 10, nil, 111.1, time.Time{}},
		"reads":                   {nothing, 11, nil, 100, after(21)},
		"whatever came before":    {all(nothing, func(j *history.Job) { j.Created = began.Add(-9 * time.Hour) }), 11, nil, 100, after(21)},
		"waits for Sitoo":         {all(nothing, func(j *history.Job) { j.Reason, j.Until = "waits", after(60) }), 51, nil, 20, after(119)},
		"has waited":              {all(nothing, func(j *history.Job) { j.Reason, j.Until = "waits", after(60) }), 71, nil, 14.3, after(141)},
		"fails":                   {all(nothing, func(j *history.Job) { j.Reason = "Sitoo did not answer. It is tried again." }), 11, nil, 100, time.Time{}},
		"Sitoo has counted":       {all(nothing, func(j *history.Job) { j.Counted = 4000 }), 11, nil, 100, after(41)},
		"with those not there":    {all(nothing, func(j *history.Job) { j.Counted, j.Skipped[history.Missing] = 5000, 250 }), 11, nil, 100, after(41)},
		"there are more":          {all(nothing, func(j *history.Job) { j.Counted = 999 }), 11, nil, 100, after(21)},
		"open ones are left":      {all(nothing, func(j *history.Job) { j.Phase, j.Counted = history.Reopening, 1250 }), 11, nil, 100, after(13).Add(30 * time.Second)},
		"hardly begun":            {all(nothing, func(j *history.Job) { j.Last = 1 << 50 }), 11, nil, 100, time.Time{}},
		"paused":                  {func(j *history.Job) { j.State, j.Reason = history.Paused, "paused by request" }, 90, written, 111.1, time.Time{}},
		"nothing is written yet":  {nil, 51, []history.Part{waits(part("a", 0, 2, 3, false), 60)}, 20, time.Time{}},
		"writes for a short time": {nil, 12, []history.Part{part("a", 200, 3, 12, true)}, 90.9, time.Time{}},
		"writes slowly":           {nil, 13, []history.Part{part("a", 200, 2, 12, true)}, 83.3, after(43)},
		"writes fast":             {nil, 13, []history.Part{part("a", 200, 2, 3, true)}, 83.3, after(25)},
		"had nothing to write":    {nil, 101, []history.Part{part("a", 200, 2, 3, true), part("b", 100, 100, 101, true)}, 10, after(201)},
		"a part waits":            {writing, 20, []history.Part{part("a", 200, 2, 7, true), waits(part("b", 100, 9, 12, false), 24)}, 18.8, after(30).Add(40 * time.Second)},
		"a part has waited":       {writing, 30, []history.Part{part("a", 200, 2, 7, true), waits(part("b", 100, 9, 12, false), 24)}, 11.5, after(38).Add(40 * time.Second)},
		"a part fails":            {writing, 20, []history.Part{part("a", 200, 2, 7, true), {ID: "b", Done: 100, Began: after(9), Updated: after(12), Reason: "Rule does not answer as expected. It is tried again."}}, 18.8, time.Time{}},
		"a part was put aside":    {writing, 40, []history.Part{putAside, part("b", 100, 20, 30, true)}, 10, after(50)},
		"all are settled":         {writing, 40, []history.Part{part("a", 200, 2, 12, true), part("b", 200, 20, 30, true)}, 20, after(40)},
		"done":                    {all(writing, func(j *history.Job) { j.State, j.Ended = history.Done, after(30) }), 90, []history.Part{part("a", 200, 2, 12, true), part("b", 200, 20, 30, true)}, 20, time.Time{}},
		"cancelled in between":    {all(writing, func(j *history.Job) { j.State, j.Ended = history.Cancelled, after(29) }), 90, []history.Part{part("a", 200, 2, 12, true), part("b", 0, 19, 20, false)}, 10, time.Time{}},
		"a dry run is done":       {all(writing, func(j *history.Job) { j.State, j.Ended, j.DryRun, j.Updated = history.Done, after(11), true, after(11) }), 90, nil, 100, time.Time{}},
		"nothing matched":         {all(nothing, writing, func(j *history.Job) { j.State, j.Ended, j.Updated = history.Done, after(11), after(11) }), 90, nil, 100, time.Time{}},
	} {
		d, _ := reception(t, underWay(c.change), c.minutes, c.parts...)
		st, err := d.Status(t.Context(), shopAccount, "0123456789ab")
		if err != nil || st.Rate != c.rate || !st.Ends.Equal(c.ends) {
			t.Errorf("%s: %g a minute, ends %v, want %g and %v; %v", name, st.Rate, st.Ends, c.rate, c.ends, err)
		}
	}
}

// The end that is expected, asked for every half minute of a job that uses up its
// share of Rule's budget at once and waits for the rest of ten minutes, again and
// again.
func TestStatusEndInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const orders, perPart, perPage, share = 12_000, 1000, 500, 900
		store := &memory.History{}
		d := &history.Desk{Jobs: store, Now: time.Now}
		j := history.Job{
			Account: shopAccount, ID: "0123456789ab", Run: 1, Spec: winter, State: history.Running, Phase: history.Reading,
			Created: time.Now(), Began: time.Now(), Updated: time.Now(), Counted: orders, Last: 9,
		}
		parts, used, window := []history.Part{}, 0, time.Now()
		var asked []history.Status
		var at []time.Time
		for finished := 0; finished < orders/perPart; {
			if j.Phase == history.Reading { // a page in half a minute
				j.Read, j.Matched, j.Updated = j.Read+perPage, j.Matched+perPage, time.Now()
				if j.Matched%perPart == 0 {
					id := fmt.Sprint(len(parts))
					j.Parts, parts = append(j.Parts, id), append(parts, history.Part{ID: id})
				}
				if j.Read == orders {
					j.Phase = history.Writing
				}
			}
			if time.Since(window) >= 10*time.Minute {
				used, window = 0, time.Now()
			}
			for finished < len(parts) {
				p := &parts[finished]
				if p.Began.IsZero() {
					p.Began = time.Now()
				}
				n := min(share-used, perPart-p.Done)
				p.Done, p.Written, used, p.Updated, p.Reason, p.Until = p.Done+n, p.Written+n, used+n, time.Now(), "", time.Time{}
				if p.Finished = p.Done == perPart; !p.Finished {
					p.Reason, p.Until = "waits for Rule's budget", time.Now().Add(2*time.Minute)
				}
				if err := store.SavePart(t.Context(), j.Account, j.ID, j.Run, *p); err != nil {
					t.Fatal(err)
				}
				if !p.Finished {
					break
				}
				finished++
			}
			if err := store.Put(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			j.Rev++
			st, err := d.Status(t.Context(), j.Account, j.ID)
			if err != nil {
				t.Fatal(err)
			}
			asked, at = append(asked, st), append(at, time.Now())
			time.Sleep(30 * time.Second)
		}
		end := at[len(at)-1]
		for i, st := range asked {
			ran, left, says := at[i].Sub(at[0]), end.Sub(at[i]), st.Ends.Sub(at[i])
			switch early := ran < 10*time.Minute; {
			case early != st.Ends.IsZero():
				// A part that begins half a minute late is ten minutes old later, too.
				if early || ran > 11*time.Minute {
					t.Errorf("after %s: expected end %v", ran, st.Ends)
				}
			case early:
			case says < 0 || st.Ends.Before(st.Until):
				t.Errorf("after %s: expected to have ended, at %v", ran, st.Ends)
			// A round of ten minutes more or less: what it has done in this one counts
			// from its beginning on.
			case says < left/2-10*time.Minute || says > 2*left+10*time.Minute:
				t.Errorf("after %s: ends in %s, really in %s", ran, says, left)
			}
			if st.Written != 0 && st.Written%share != 0 && st.Written%perPart != 0 {
				t.Errorf("after %s: %d written", ran, st.Written)
			}
		}
		if took := end.Sub(at[0]); took < 2*time.Hour || took > 3*time.Hour {
			t.Errorf("it took %s", took)
		}
	})
}

// The time for which a job is paused does not make it slow.
func TestPausedTimeDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(j *history.Job)
		want   time.Time
	}{
		"paused":       {func(j *history.Job) { j.State = history.Paused }, after(51)},
		"running":      {nil, after(1)},
		"not begun":    {func(j *history.Job) { j.State, j.Began = history.Paused, time.Time{} }, time.Time{}},
		"by its clock": {func(j *history.Job) { j.State, j.Updated = history.Paused, after(70) }, after(1)},
	} {
		d, _ := reception(t, underWay(c.change), 60)
		if _, err := d.Resume(t.Context(), shopAccount, "0123456789ab"); err != nil {
			t.Fatal(err)
		}
		j, err := d.Jobs.Get(t.Context(), shopAccount, "0123456789ab")
		if err != nil || !j.Began.Equal(c.want) {
			t.Errorf("%s: began at %v, want %v; %v", name, j.Began, c.want, err)
		}
	}
}

// Whether everything was read that Sitoo counts.
func TestStatusNote(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(j *history.Job)
		want   string
	}{
		"as many":        {func(j *history.Job) { j.Counted = 1000 }, ""},
		"fewer":          {func(j *history.Job) { j.Counted = 1003 }, "Sitoo counted 1003 orders when the reading began, and 1000 were read."},
		"more":           {func(j *history.Job) { j.Counted = 999 }, "Sitoo counted 999 orders when the reading began, and 1000 were read."},
		"some are gone":  {func(j *history.Job) { j.Counted, j.Skipped[history.Missing] = 1003, 3 }, ""},
		"done":           {func(j *history.Job) { j.Counted, j.State = 1003, history.Done }, "Sitoo counted 1003 orders when the reading began, and 1000 were read."},
		"not said":       {nil, ""},
		"not at the end": {func(j *history.Job) { j.Counted, j.Phase = 1003, history.Reopening }, ""},
	} {
		d, _ := reception(t, underWay(func(j *history.Job) {
			j.Phase = history.Writing
			if c.change != nil {
				c.change(j)
			}
		}), 11)
		st, err := d.Status(t.Context(), shopAccount, "0123456789ab")
		if err != nil || !strings.HasPrefix(st.Note, c.want) || (c.want == "") != (st.Note == "") {
			t.Errorf("%s: %q, want %q; %v", name, st.Note, c.want, err)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	const id = "0123456789ab"
	type result struct {
		State  history.State
		Reason string
		Pushes int
		Kind   fault.Kind
		Said   string
	}
	refused := func(state history.State, kind fault.Kind, said string) result {
		return result{State: state, Reason: "why", Kind: kind, Said: said}
	}
	waiting := func(j *history.Job) { j.State, j.Step = history.Waiting, 0 }
	for name, c := range map[string]struct {
		change                func(j *history.Job)
		pause, resume, cancel result
	}{
		"running": {
			nil,
			result{State: history.Paused, Reason: "paused by request"},
			result{State: history.Running, Reason: "why", Pushes: 1},
			result{State: history.Cancelled, Reason: "cancelled by request"},
		},
		"waiting": {
			waiting,
			result{State: history.Paused, Reason: "paused by request"},
			result{State: history.Waiting, Reason: "why", Pushes: 1},
			result{State: history.Cancelled, Reason: "cancelled by request"},
		},
		"paused": {
			func(j *history.Job) { j.State = history.Paused },
			result{State: history.Paused, Reason: "why"},
			result{State: history.Running, Pushes: 1},
			result{State: history.Cancelled, Reason: "cancelled by request"},
		},
		"paused at once": {
			func(j *history.Job) { waiting(j); j.State = history.Paused },
			result{State: history.Paused, Reason: "why"},
			result{State: history.Waiting, Pushes: 1},
			result{State: history.Cancelled, Reason: "cancelled by request"},
		},
		"done": {
			func(j *history.Job) { j.State = history.Done }, refused(history.Done, fault.Conflict, "The backfill is done already."),
			refused(history.Done, fault.Conflict, "The backfill is done; post its message again to start it anew."),
			refused(history.Done, fault.Conflict, "The backfill is done already."),
		},
		"failed": {
			func(j *history.Job) { j.State = history.Failed }, refused(history.Failed, fault.Conflict, "The backfill is failed already."),
			refused(history.Failed, fault.Conflict, "The backfill is failed; post its message again to start it anew."),
			refused(history.Failed, fault.Conflict, "The backfill is failed already."),
		},
		"cancelled": {
			func(j *history.Job) { j.State = history.Cancelled }, refused(history.Cancelled, fault.Conflict, "The backfill is cancelled already."),
			refused(history.Cancelled, fault.Conflict, "The backfill is cancelled; post its message again to start it anew."),
			result{State: history.Cancelled, Reason: "why"},
		},
	} {
		for what, want := range map[string]result{"pause": c.pause, "resume": c.resume, "cancel": c.cancel} {
			j := underWay(func(j *history.Job) {
				j.Reason, j.Until = "why", after(60)
				if c.change != nil {
					c.change(j)
				}
			})
			d, queue := reception(t, j, 13)
			do := map[string]func(context.Context, string, string) (history.Status, error){"pause": d.Pause, "resume": d.Resume, "cancel": d.Cancel}[what]
			said, err := do(t.Context(), shopAccount, id)
			st, serr := d.Status(t.Context(), shopAccount, id)
			got := result{State: st.State, Reason: st.Reason, Pushes: len(*queue)}
			if err != nil {
				got.Kind, got.Said = fault.KindOf(err), fault.As(err).Message
			} else if diff := cmp.Diff(st, said); diff != "" {
				t.Errorf("%s of a job that is %s says otherwise than its status:\n%s", what, name, diff)
			}
			if diff := cmp.Diff(want, got); serr != nil || diff != "" {
				t.Errorf("%s of a job that is %s: %v (-want +got):\n%s", what, name, serr, diff)
			}
			if _, err := do(t.Context(), shopAccount, "another"); fault.KindOf(err) != fault.NotFound || fault.As(err).Message != "There is no backfill with that id." {
				t.Errorf("%s of no job: %v", what, err)
			}
			if _, err := do(t.Context(), "ffffffffffffffffffffffffffffffff", id); fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s of another account's job: %v", what, err)
			}
			if what != "resume" || err != nil {
				continue
			}
			if _, err := do(t.Context(), shopAccount, id); err != nil || len(*queue) != 2 || (*queue)[0].Dedup == (*queue)[1].Dedup {
				t.Errorf("resumed again: %v, %v", err, *queue)
			}
			_, step, err := history.DecodeBackfill((*queue)[0].Body)
			if want := (history.Step{Account: shopAccount, Job: id, Run: 2, Step: j.Step}); err != nil || *step != want || (*queue)[0].Group != shopAccount {
				t.Errorf("resumed with %v, %v; want %+v", *queue, err, want)
			}
		}
	}
}

// A backfill whose parts are behind another one's says so, and is not taken for
// one that has stalled.
func TestStatusBehind(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	store := &memory.History{}
	put := func(id string, created time.Time, state history.State, finished bool) {
		t.Helper()
		j := history.Job{Account: "a", ID: id, Run: 1, State: state, Phase: history.Writing, Created: created, Updated: created, Parts: []string{"p"}, Matched: 1, Step: 3}
		if err := errors.Join(store.Put(t.Context(), j), store.SavePart(t.Context(), "a", id, 1, history.Part{ID: "p", Finished: finished, Updated: created})); err != nil {
			t.Fatal(err)
		}
	}
	put("done", began, history.Done, true)
	put("cancelled", began, history.Cancelled, false)
	put("written", began.Add(time.Second), history.Running, true)
	put("first", began.Add(time.Minute), history.Paused, false)
	put("second", began.Add(2*time.Minute), history.Running, false)
	for _, c := range []struct {
		id      string
		after   time.Duration
		reason  string
		stalled bool
	}{
		{"second", 150 * time.Second, "", false}, // it may be its turn in a moment
		{"second", 10 * time.Minute, "waits for backfill first of the same shop, whose orders are written before these", false},
		{"second", 10 * time.Hour, "waits for backfill first of the same shop, whose orders are written before these", false},
		{"written", 10 * time.Hour, "0 of 1 parts are not written, and nothing happens: look for them in HistoryDeadLetters.", true},
	} {
		desk := &history.Desk{Jobs: store, Now: func() time.Time { return began.Add(c.after) }}
		st, err := desk.Status(t.Context(), "a", c.id)
		if err != nil || st.Reason != c.reason || st.Stalled != c.stalled {
			t.Errorf("%s after %s: %q, stalled %v, %v; want %q, %v", c.id, c.after, st.Reason, st.Stalled, err, c.reason, c.stalled)
		}
	}
}

// What is asked for twice changes nothing: a pause is as long as it is.
func TestControlTwice(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	store := &memory.History{}
	for _, id := range []string{"paused", "cancelled"} {
		if err := store.Put(t.Context(), history.Job{Account: "a", ID: id, Run: 1, State: history.Running, Phase: history.Reading, Created: now, Updated: now}); err != nil {
			t.Fatal(err)
		}
	}
	desk := &history.Desk{Jobs: store, Now: func() time.Time { return now }}
	for id, do := range map[string]func() (history.Status, error){
		"paused":    func() (history.Status, error) { return desk.Pause(t.Context(), "a", "paused") },
		"cancelled": func() (history.Status, error) { return desk.Cancel(t.Context(), "a", "cancelled") },
	} {
		first, err := do()
		if err != nil || string(first.State) != id {
			t.Fatalf("%s: %+v, %v", id, first, err)
		}
		now = now.Add(time.Hour)
		again, err := do()
		if err != nil || string(again.State) != id || !again.Last.Equal(first.Last) || !again.Ended.Equal(first.Ended) {
			t.Errorf("%s again: %+v, %v; it was %+v", id, again, err, first)
		}
	}
}
