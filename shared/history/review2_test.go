package history_test

// Tests of a second review, of what mended the findings of the first.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// flaky is a queue that does not take the first message.
type flaky struct {
	to    worker.Sender
	fails int
}

func (f *flaky) Send(ctx context.Context, m worker.Message) error {
	if f.fails > 0 {
		f.fails--
		return &fault.Error{Kind: fault.Unavailable, Err: errors.New("throttled")}
	}
	return f.to.Send(ctx, m)
}

// The process dies, or the queue does not answer, after the job is sent back to
// list who is in Rule, and before its message is queued: the next delivery of the
// part sees to the message.
func TestReview2RelistKickLost(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	r.writer.Steps = &flaky{to: r, fails: 1}
	r.pass(25 * time.Hour)
	body := r.body("p1", byMail(1, 0), byContact(2, 1))
	if n, took, err := r.deliveries(body); err != nil {
		j, jerr := r.stores.Get(t.Context(), "a", r.job.ID)
		t.Errorf("%d deliveries in %s, %v; the job is %s in %s, %v", n, took, err, j.State, j.Phase, jerr)
	}
}

// silent is a Rule that carries a small call out, and whose answer says less than
// that: nobody who is not changed otherwise, perhaps.
type silent struct {
	to     http.RoundTripper
	answer string
}

func (b silent) RoundTrip(q *http.Request) (*http.Response, error) {
	res, err := b.to.RoundTrip(q)
	if err == nil && q.Method == http.MethodPost && strings.HasSuffix(q.URL.Path, "/v2/subscribers") && res.StatusCode == http.StatusOK {
		res.Body = io.NopCloser(strings.NewReader(b.answer))
		res.ContentLength = -1
	}
	return res, err
}

// Whom the answer to a small call does not name may have the entry all the same:
// what is not known is asked, and never written again unasked.
func TestReview2LeftOutIsAsked(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 4})
	r.client = rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: silent{r, `{"success":true,"subscribers":[],"subscribers_created":0,"subscribers_updated":0}`}}, Now: r.clock, Pause: -1})
	r.drive(r.body("p1", byMail(1, 0), byMail(2, 1), byMail(3, 2), byMail(4, 3)))
	for sub, ids := range r.whose() {
		if len(ids) != 1 {
			t.Errorf("%d has %v", sub, ids)
		}
	}
}

// Whom Rule counts as suppressed, and not as updated, has the entry all the same.
func TestReview2SuppressedIsNotLeftOut(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	answer := `{"success":true,"subscribers":[{"id":255930000,"email":"kund.0@example.com"},{"id":255930001,"email":"kund.1@example.com"}],"subscribers_created":0,"subscribers_updated":2,"subscribers_suppressed":1}`
	r.client = rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: silent{r, answer}}, Now: r.clock, Pause: -1})
	r.drive(r.body("p1", byMail(1, 0), byMail(2, 1), byMail(3, 2)))
	for sub, ids := range r.whose() {
		if len(ids) != 1 {
			t.Errorf("%d has %v", sub, ids)
		}
	}
}

// locked is a directory whose keys cannot be opened: a policy lacks a permission.
type locked struct{ history.Directory }

func (locked) Session(context.Context, string) (account.Account, *rule.Session, error) {
	return account.Account{}, nil, &fault.Error{Kind: fault.Internal, Err: errors.New("AccessDenied")}
}

// A part that waited for its turn for ten hours and meets a defect before it writes
// anything has failed once: it is not put aside, with all parts behind it, at once.
func TestReview2FirstDefectIsNotOld(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 1})
	mended := r.writer.Directory
	r.writer.Directory = locked{mended}
	aside := 0
	edge := &worker.Edge{
		Queue: never{}, DeadLetters: drop{}, Log: r.writer.Log, Now: r.clock, MaxWait: 12 * 24 * time.Hour,
		Aside: func(ctx context.Context, d *worker.Delivery, cause error) error {
			aside++
			return r.writer.GiveUp(ctx, d.Body, cause)
		},
	}
	h := edge.Handler("history-worker", func(ctx context.Context, d *worker.Delivery) error {
		_, _, err := r.writer.Work(ctx, d.Body, d.Attempt)
		return err
	})
	raw, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{{
		MessageId: "m", Body: r.body("p1", byMail(1, 0)),
		Attributes: map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": fmt.Sprint(r.clock().Add(-10 * time.Hour).UnixMilli())},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Invoke(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	if p := r.part("p1"); aside > 0 || p.Finished {
		t.Errorf("put aside at the first failure: %+v", p)
	}
}

type never struct{}

func (never) Delay(context.Context, string, time.Duration) error { return nil }

// Paused for two days while it lists: what was listed before is older than a list
// may be, and would be gone by for another day.
func TestReview2ListIsAsOldAsItsBeginning(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 11, Orders: 12, Customers: fakesitoo.MakeCustomers(1400)}, fakerule.Options{Budget: 10})
		o.post(posted(winterly))
		for range 2 {
			_ = o.deliver()
		}
		j := o.job()
		o.apart(func() {
			if _, err := o.desk.Pause(t.Context(), shopAccount, j.ID); err != nil {
				t.Fatal(err)
			}
		})
		o.run()
		if j.Listed == "" || j.People == 0 {
			t.Fatalf("job %+v, want it to be paused while it lists", j)
		}
		gone := o.rule.Subscribers(fakerule.DefaultKey)[0]
		time.Sleep(time.Hour)
		asStaff(t, o.rule, http.MethodDelete, gone.ID, "")
		o.rule.ResetRequests()
		time.Sleep(60 * time.Hour)
		o.resume()
		o.run()
		j = o.job()
		known, err := o.store.FindContacts(t.Context(), shopAccount, fmt.Sprintf("%s-%d-%d", j.ID, j.Run, j.Lists), []int64{gone.ID})
		if len(known) > 0 || err != nil {
			t.Errorf("list %d, completed %s ago, has who was deleted 60 hours before that; %v", j.Lists, time.Since(j.ListedAt), err)
		}
	})
}
