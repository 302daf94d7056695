package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
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
		Created: began, Updated: after(10), People: 700, First: 200_001, Last: 210_001, Cursor: 205_001, Step: 9,
		Parts: []string{"a", "b", "c"}, Read: 1000, Matched: 400, Skipped: map[string]int{history.NoCustomer: 550, history.Outside: 50},
		Months: map[string]history.Month{"2023-01": {Sitoo: 500, Skipped: 300}, "2023-02": {Sitoo: 450, Skipped: 250}},
	}
	if change != nil {
		change(&j)
	}
	return j
}

// written are results of the job's parts: 300 of 400 orders are settled. The
// last one was never committed.
var written = []history.Part{
	{
		ID: "a", Done: 200, Written: 150, Already: 20, Skipped: map[string]int{history.NoCustomer: 7, history.NotInRule: 20}, Finished: true, Updated: after(9),
		Failed: map[string][]int64{"refused": {200_500, 200_400}, "given up": {200_600}}, Failures: 3,
		Months: map[string]history.Month{"2023-01": {Written: 170, Skipped: 27, Failed: 3}},
	},
	{ID: "b", Done: 100, Reason: "waits for Rule's budget", Until: after(40), Updated: after(12)},
	{ID: "orphan", Done: 200, Written: 200, Finished: true, Updated: after(300), Months: map[string]history.Month{"2023-01": {Written: 200}}},
}

func TestStatus(t *testing.T) {
	t.Parallel()
	d, _ := reception(t, underWay(nil), 13, written...)
	got, err := d.Status(t.Context(), shopAccount, "0123456789ab")
	if err != nil {
		t.Fatal(err)
	}
	want := history.Status{
		State: history.Running, Percent: 43, ID: "0123456789ab", Account: shopAccount, Run: 2, Phase: history.Reading,
		Reason: "waits for Rule's budget", Until: after(40), From: "2022-12-01", To: "2023-03-31", Customers: "known",
		Listed: 700, Read: 1000, Matched: 400, Written: 150, Already: 20,
		Skipped: map[string]int{history.NoCustomer: 557, history.Outside: 50, history.NotInRule: 20},
		Failed:  []history.Failure{{Reason: "given up", Orders: []int64{200_600}}, {Reason: "refused", Orders: []int64{200_400, 200_500}}},
		Rate:    83.3, Ends: after(40), Since: began, Last: after(12),
		Months: []history.MonthReport{
			{Name: "2023-01", Month: history.Month{Sitoo: 500, Written: 170, Skipped: 327, Failed: 3}},
			{Name: "2023-02", Month: history.Month{Sitoo: 450, Skipped: 250}, Left: 200},
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
		"nothing written":       {nil, 11, nil, 25, false, "", after(40)},
		"nothing to write":      {func(j *history.Job) { j.Matched = 0 }, 11, nil, 50, false, "", after(20)},
		"a dry run":             {func(j *history.Job) { j.DryRun, j.Parts = true, nil }, 11, nil, 50, false, "", after(20)},
		"chosen orders":         {func(j *history.Job) { j.Orders, j.Cursor, j.Matched = []int64{3, 5, 7, 9}, 7, 0 }, 11, nil, 75, false, "", after(13).Add(20 * time.Second)},
		"one order":             {func(j *history.Job) { j.First, j.Last, j.Cursor = 7, 7, 7 }, 11, nil, 0, false, "", time.Time{}},
		"all read":              {func(j *history.Job) { j.Phase = history.Writing }, 13, written, 87, false, "waits for Rule's budget", after(40)},
		"open ones":             {func(j *history.Job) { j.Phase = history.Reopening }, 11, nil, 50, false, "", after(20)},
		"all but done":          {func(j *history.Job) { j.Phase, j.Matched = history.Writing, 300 }, 13, written, 99, false, "waits for Rule's budget", after(40)},
		"done":                  {func(j *history.Job) { j.State, j.Phase, j.Ended = history.Done, history.Writing, after(20) }, 90, written, 100, false, "", time.Time{}},
		"cancelled":             {func(j *history.Job) { j.State, j.Reason = history.Cancelled, "cancelled by request" }, 90, written, 43, false, "cancelled by request", time.Time{}},
		"paused for long":       {func(j *history.Job) { j.State, j.Reason = history.Paused, "paused by request" }, 90, nil, 25, false, "paused by request", time.Time{}},
		"quiet":                 {nil, 40, nil, 25, false, "", after(40)},
		"stalled":               {nil, 41, nil, 25, true, "Nothing happens: resume gives it a push; if that does not help, look in the dead-letter queue of backfills.", time.Time{}},
		"stalled before it ran": {func(j *history.Job) { j.State = history.Waiting }, 41, nil, 25, true, "Nothing happens: resume gives it a push; if that does not help, look in the dead-letter queue of backfills.", time.Time{}},
		"stalled for a reason":  {func(j *history.Job) { j.Reason = "Rule refuses the shop's API key." }, 41, nil, 25, true, "Rule refuses the shop's API key.", time.Time{}},
		"stalled at its end":    {func(j *history.Job) { j.Phase = history.Writing }, 41, written[:1], 75, true, "2 of 3 parts are not written, and nothing happens: look for them in the dead-letter queue of history.", time.Time{}},
		"waits for long":        {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 59, nil, 25, false, "waits for Sitoo, which is busy", after(60)},
		"is to have gone on":    {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 85, nil, 25, false, "waits for Sitoo, which is busy", after(85)},
		"has not gone on":       {func(j *history.Job) { j.Reason, j.Until = "waits for Sitoo, which is busy", after(60) }, 91, nil, 25, true, "waits for Sitoo, which is busy", time.Time{}},
		"a part has gone on":    {nil, 41, written, 43, false, "waits for Rule's budget", after(41)},
	} {
		d, _ := reception(t, underWay(c.change), c.minutes, c.parts...)
		st, err := d.Status(t.Context(), shopAccount, "0123456789ab")
		if err != nil || st.Percent != c.percent || st.Stalled != c.stalled || st.Reason != c.reason || !st.Ends.Equal(c.ends) {
			t.Errorf("%s: %d percent, stalled %t because of %q, ends %v, %v", name, st.Percent, st.Stalled, st.Reason, st.Ends, err)
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
