package stack_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/local/queue"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sqsqueue"
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

// until works the queues until something holds. In memory time passes meanwhile.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	if r.cloud != nil {
		r.cloud.await(what, holds)
		return
	}
	for range 60 {
		if r.drain(); holds() {
			return
		}
		r.clock.Advance(2 * time.Minute)
		for _, name := range []string{"BackfillQueue", "HistoryQueue", "ImportsQueue"} {
			b, _ := r.Broker.Queue(name)
			b.Redeliver(func(queue.Message) bool { return true })
		}
	}
	r.t.Fatalf("still not: %s", what)
}

// delivered waits until orders are in Rule.
func (r *rig) delivered(ids ...int64) {
	r.t.Helper()
	r.until("the orders are sent", func() bool {
		for _, id := range ids {
			rec, ok, err := r.books.Get(r.t.Context(), order.Key{Account: r.id, Order: id})
			if err != nil {
				r.t.Fatal(err)
			}
			if !ok || rec.State != order.Sent {
				return false
			}
		}
		return true
	})
}

// post puts a message on the backfill queue as support does.
func (r *rig) post(body string) {
	r.t.Helper()
	m := worker.Message{Body: body, Group: "support", Dedup: rand.Text()}
	var err error
	if r.cloud != nil {
		err = sqsqueue.New(r.cloud.sqs, r.cloud.url("BackfillQueue")).Send(r.t.Context(), m)
	} else {
		q, _ := r.Broker.Queue("BackfillQueue")
		err = q.Send(r.t.Context(), m)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// refusedBackfill waits for a message of support's that begins nothing, and
// returns why.
func (r *rig) refusedBackfill() (reason string) {
	r.t.Helper()
	r.until("a message is a dead letter", func() bool {
		if r.cloud == nil {
			dead, _ := r.Broker.Queue("BackfillDeadLetters")
			for _, m := range dead.Messages() {
				reason = m.Attributes[worker.Reason]
			}
			return reason != ""
		}
		out, err := r.cloud.sqs.ReceiveMessage(r.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(r.cloud.url("BackfillDeadLetters")), MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range out.Messages {
			reason = aws.ToString(m.MessageAttributes[worker.Reason].StringValue)
		}
		return reason != ""
	})
	return reason
}

// atRest waits until no order is on its queue.
func (r *rig) atRest() {
	r.t.Helper()
	r.until("the orders' queue is empty", func() bool {
		return r.cloud == nil && len(r.orders().Messages()) == 0 || r.cloud != nil && r.cloud.waiting("OrdersQueue") == 0
	})
}

// backfill posts a message as support does, works until the job that it begins
// has ended, and returns what a token is told of it.
func (r *rig) backfill(token, account, body string) (st history.Status) {
	r.t.Helper()
	id := jobOf(r.t, account, body)
	before, _ := r.job(token, id)
	r.post(body)
	r.until("the backfill has ended", func() (ok bool) {
		st, ok = r.job(token, id)
		return ok && st.Run > before.Run && st.State.Final()
	})
	return st
}
