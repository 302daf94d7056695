package stack_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"sitoo-rule/local/queue"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/worker"
)

// job returns what a backfill has come to, as a token is told; not if there is none.
func (r *rig) job(token, id string) (st history.Status, ok bool) {
	r.t.Helper()
	a := r.as(token, "GET", "/backfills/"+id, nil)
	if a.Status == http.StatusNotFound {
		return st, false
	}
	r.want(a, http.StatusOK)
	if err := json.Unmarshal([]byte(a.Body), &st); err != nil {
		r.t.Fatal(err)
	}
	return st, true
}

// jobOf is the id of the backfill that a message for an account begins.
func jobOf(t *testing.T, account, body string) string {
	t.Helper()
	start, _, err := history.DecodeBackfill(body)
	if err != nil {
		t.Fatal(err)
	}
	return history.JobID(account, start.Spec)
}

// backfill posts a message as support does, works until the job that it begins
// has ended, and returns what a token is told of it.
func (r *rig) backfill(token, account, body string) history.Status {
	r.t.Helper()
	id := jobOf(r.t, account, body)
	before, _ := r.job(token, id)
	q, _ := r.Broker.Queue("BackfillQueue")
	if err := q.Send(r.t.Context(), worker.Message{Body: body, Group: "support", Dedup: rand.Text()}); err != nil {
		r.t.Fatal(err)
	}
	for range 60 {
		r.drain()
		if st, ok := r.job(token, id); ok && st.Run > before.Run && st.State.Final() {
			return st
		}
		r.clock.Advance(2 * time.Minute)
		for _, name := range []string{"BackfillQueue", "HistoryQueue"} {
			b, _ := r.Broker.Queue(name)
			b.Redeliver(func(queue.Message) bool { return true })
		}
	}
	r.t.Fatalf("the backfill does not end: %s", r.as(token, "GET", "/backfills", nil).Body)
	return history.Status{}
}
