package simulation_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/simulation"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// Two backfills of a shop. The older one is read, and its last part has waited for
// over a day: who is in Rule is to be listed anew, and that is queued behind the
// younger one's step. The younger one waits until parts are written, and those are
// behind the older one's part. Neither may wait for the other.
func TestReview2TwoJobs(t *testing.T) {
	t.Parallel()
	tpl, err := read()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.New(t.Context(), simulation.Options{Seed: 5, Orders: 100, Customers: 20, Known: 20, Template: tpl})
		if err != nil {
			t.Fatal(err)
		}
		seals, err := history.NewSeals(w.Account, rule.New(rule.Config{}).Session(simulation.Key, time.Time{}, nil))
		if err != nil {
			t.Fatal(err)
		}
		steps, _ := w.Broker.Queue("BackfillQueue")
		parts, _ := w.Broker.Queue("HistoryQueue")
		began := time.Now()
		job := func(id string, phase history.Phase, n int, listed time.Time) {
			j := history.Job{
				Account: w.Account, ID: id, Run: 1, State: history.Running, Phase: phase, Created: began.Add(-30 * time.Hour), Updated: began, Began: began.Add(-29 * time.Hour),
				Listing: 1, Lists: 1, ListedAt: listed, ListedBy: seals.Name(), Step: 7, Last: 1 << 40, First: 1, Cursor: 1,
			}
			j.From, j.To = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
			for i := range n {
				part := fmt.Sprintf("%s-%d", id, i)
				m := history.PartMessage{Account: w.Account, Job: id, Run: 1, Part: part}
				if err := m.Pack([]json.RawMessage{json.RawMessage(fmt.Sprintf(`{"orderid":%d,"orderdate":1673000000,"orderstateid":10,"email":"nobody@example.com"}`, 10+i))}); err != nil {
					t.Fatal(err)
				}
				raw, _ := json.Marshal(m)
				if err := parts.Send(t.Context(), worker.Message{Body: string(raw), Group: w.Account, Dedup: part}); err != nil {
					t.Fatal(err)
				}
				j.Parts = append(j.Parts, part)
			}
			if err := w.History.Put(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
		job("aaaaaaaaaaaa", history.Writing, 1, began.Add(-25*time.Hour))
		job("bbbbbbbbbbbb", history.Reading, 50, began.Add(-time.Hour))
		raw, _ := json.Marshal(history.Step{Account: w.Account, Job: "bbbbbbbbbbbb", Run: 1, Step: 7})
		if err := steps.Send(t.Context(), worker.Message{Body: string(raw), Group: w.Account, Dedup: "b"}); err != nil {
			t.Fatal(err)
		}
		if err := w.Play(t.Context()); err != nil {
			t.Error(err)
		}
		for _, id := range []string{"aaaaaaaaaaaa", "bbbbbbbbbbbb"} {
			j, err := w.History.Get(t.Context(), w.Account, id)
			if took := j.Ended.Sub(began); err != nil || j.State != history.Done || took > time.Hour {
				t.Errorf("job %s is %s in %s after %s, with nothing in its way; %v", id, j.State, j.Phase, took, err)
			}
		}
	})
}
