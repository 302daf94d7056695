package history_test

// Tests of a review: each plays one way in which a backfill lost, doubled or
// misplaced orders, or stood still.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/worker"
)

// maxReceives is the queues' maxReceiveCount in template.yaml: a message that is
// received once more is moved away by SQS, and nobody in the product is told.
const maxReceives = 300

// wireTap changes a request to Rule on its way, or its answer.
type wireTap struct {
	to     http.RoundTripper
	out    func(q *http.Request, body []byte) []byte
	answer func(h http.Header)
}

func (b wireTap) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Body != nil && b.out != nil {
		raw, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		raw = b.out(q, raw)
		q = q.Clone(q.Context())
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	}
	res, err := b.to.RoundTrip(q)
	if err == nil && b.answer != nil {
		b.answer(res.Header)
	}
	return res, err
}

func (r *writerRig) via(b wireTap) {
	b.to = r
	r.client = rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: b}, Now: r.clock, Pause: -1})
}

// ignoring is a Rule that takes a call for many, and leaves one of them out.
func ignoring(mail string) wireTap {
	return wireTap{out: func(q *http.Request, body []byte) []byte {
		var m map[string]any
		if q.Method != http.MethodPost || json.Unmarshal(body, &m) != nil {
			return body
		}
		list, ok := m["subscribers"].([]any)
		if !ok {
			return body
		}
		m["subscribers"] = slices.DeleteFunc(list, func(s any) bool { return s.(map[string]any)["email"] == mail })
		raw, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		return raw
	}}
}

// deliveries works a part until it is done, and returns how often it was received.
func (r *writerRig) deliveries(body string) (n int, took time.Duration, last error) {
	began := r.clock()
	for n = 1; n <= 3*maxReceives; n++ {
		if last = r.work(body); last == nil {
			break
		}
		r.pass(max(15*time.Second, fault.As(last).RetryAt.Sub(r.clock())))
	}
	return n, r.clock().Sub(began), last
}

// The shop's other integrations and tills use over half of Rule's budget all day:
// a part may wait, but SQS must not take it away for that.
func TestReviewCrowdedAllDay(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 2})
	r.via(wireTap{answer: func(h http.Header) { h.Set("RequestsCount-Current", "1100") }})
	var orders []json.RawMessage
	for n := range 150 {
		orders = append(orders, byMail(int64(1000+n), 1))
	}
	if n, took, err := r.deliveries(r.body("p1", orders...)); n > maxReceives {
		t.Errorf("%d deliveries in %s, %v", n, took, err)
	}
}

// Rule, or what stands before it, cannot take large calls: smaller ones would do.
func TestReviewLargeCallsFail(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 300})
	r.rule.SetFault(func(_ *http.Request, body []byte) *fakerule.Fault {
		if strings.Count(string(body), `"Sitoo-Order.orderid"`) > 200 {
			return &fakerule.Fault{Status: 502, Body: "Bad Gateway"}
		}
		return nil
	})
	var orders []json.RawMessage
	for n := range 300 {
		orders = append(orders, byMail(int64(1000+n), n))
	}
	n, took, err := r.deliveries(r.body("p1", orders...))
	if n > maxReceives {
		t.Errorf("%d deliveries in %s, %d requests, %d customers have orders: %v", n, took, len(r.rule.Requests()), len(r.whose()), err)
	}
}

// One stranger whom Rule does not take must not cost the part.
func TestReviewStrangerIgnored(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 2, job: history.Job{Spec: history.Spec{Create: true}}})
	r.via(ignoring("ny3@example.com"))
	var orders []json.RawMessage
	for n := range 10 {
		orders = append(orders, sale(int64(1000+n), map[string]any{"email": fmt.Sprintf("ny%d@example.com", n)}))
	}
	if err := r.work(r.body("p1", orders...)); err != nil {
		t.Error(err)
	}
	if n := len(r.whose()); n != 9 {
		t.Errorf("%d customers have orders, want 9", n)
	}
}

// What Rule did not take, though it answered 200, is not written. Of a small call
// the answer's numbers say it.
func TestReviewOrderIgnored(t *testing.T) {
	t.Parallel()
	for _, size := range []int{4, 10, 19} {
		r := newWriterRig(t, rigOptions{customers: 50})
		r.via(ignoring(customerMail(3)))
		var orders []json.RawMessage
		for n := range size {
			orders = append(orders, byMail(int64(1000+n), n))
		}
		r.drive(r.body("p1", orders...))
		if p, have := r.part("p1"), r.whose(); p.Written != len(have) {
			t.Errorf("%d are written, and Rule has %d; the ledger has %+v", p.Written, len(have), r.record(1003))
		}
	}
}

// asStaff changes a subscriber in the stand-in, as people do in Rule.
func asStaff(t *testing.T, s http.Handler, method string, id int64, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	q := httptest.NewRequest(method, fmt.Sprintf("/v2/subscribers/%d?identified_by=id&apikey=%s", id, fakerule.DefaultKey), strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	if s.ServeHTTP(w, q); w.Code/100 != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// A part may wait for days: who was deleted in Rule since the listing does not
// come back, and who has another address now is nobody new.
func TestReviewListOfLastWeek(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	asStaff(t, r.rule, http.MethodDelete, firstCustomer, "")
	asStaff(t, r.rule, http.MethodPut, firstCustomer+1, `{"email":"other@example.com"}`)
	r.pass(8 * 24 * time.Hour)
	r.drive(r.body("p1", byMail(1, 0), byContact(2, 1)))
	r.has(map[int64][]string{firstCustomer + 1: {"2"}})
	if n := len(r.rule.Subscribers(fakerule.DefaultKey)); n != 2 {
		t.Errorf("%d subscribers, want 2", n)
	}
}

// After a renewed key Rule is asked about contacts one by one: what it has said is
// not asked again by the next delivery.
func TestReviewRenewedKey(t *testing.T) {
	t.Parallel()
	const customers = 100
	r := newWriterRig(t, rigOptions{customers: customers, server: fakerule.Options{Budget: 150}})
	foreign, err := history.NewSeals("a", r.client.Session("the-old-key", time.Time{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	contacts := map[int64][]byte{}
	var orders []json.RawMessage
	for n := range int64(customers) {
		contacts[firstCustomer+n] = foreign.Seal(firstCustomer+n, customer.Key{Email: "another@example.com"})
		orders = append(orders, byContact(1000+n, int(n)))
	}
	if err := r.stores.AddContacts(t.Context(), "a", r.job.ID+"-1-1", contacts); err != nil {
		t.Fatal(err)
	}
	if n, took, err := r.deliveries(r.body("p1", orders...)); n > maxReceives {
		t.Errorf("%d deliveries in %s, %d requests, %d customers have orders: %v", n, took, len(r.rule.Requests()), len(r.whose()), err)
	}
}

// Orders asked for by number, customers known: nobody is made.
func TestReviewResendCreates(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 1, job: history.Job{Spec: history.Spec{Orders: []int64{4}}}})
	r.drive(r.body("p1", sale(4, map[string]any{"email": "forgotten@example.com"})))
	if n := len(r.rule.Subscribers(fakerule.DefaultKey)); n != 1 {
		t.Errorf("%d subscribers; part %+v", n, r.part("p1"))
	}
}

// The list has expired in the store when a part is redriven: that is not to be
// taken for a shop without customers.
func TestReviewListExpired(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 3})
	j, err := r.stores.Get(t.Context(), "a", r.job.ID)
	if err != nil {
		t.Fatal(err)
	}
	j.Lists = 2 // of which nothing is left
	j.State = history.Failed
	if err := r.stores.Put(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	r.pass(14 * 24 * time.Hour)
	if err := r.work(r.body("p1", byMail(1, 0), byMail(2, 1))); err == nil && r.part("p1").Skipped[history.NotInRule] > 0 {
		t.Errorf("part %+v", r.part("p1"))
	}
}

// A defect that is met before anything is written gets older, too.
func TestReviewAgeless(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 1})
	r.each(func(op string) error {
		if op == "Part" {
			return errors.New("the item is damaged")
		}
		return nil
	})
	body := r.body("p1", byMail(1, 0))
	_ = r.work(body)
	r.pass(10 * 24 * time.Hour)
	err := r.work(body)
	if age := r.clock().Sub(fault.SinceOf(err)); age < 6*time.Hour {
		t.Errorf("after ten days it is taken for %s old: %v", age, err)
	}
}

// Paused in a fault, and resumed three days later: the next failure is the first
// of a new row.
func TestReviewResumedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 20}, fakerule.Options{})
		o.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Status: 503} })
		o.post(posted(winterly))
		_, _ = o.deliver(), o.deliver()
		j := o.job()
		o.apart(func() {
			if _, err := o.desk.Pause(t.Context(), shopAccount, j.ID); err != nil {
				t.Fatal(err)
			}
		})
		o.run()
		time.Sleep(72 * time.Hour)
		o.resume()
		if err := o.deliver(); err == nil || time.Since(fault.SinceOf(err)) > time.Hour {
			t.Errorf("it is taken for %s old, and put aside: %v", time.Since(fault.SinceOf(err)), err)
		}
	})
}

// Sitoo hangs for less than an hour, and is quick again afterwards.
func TestReviewPageGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := true
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 400, Latency: func(n int) time.Duration {
			if slow && n > 1 {
				return 40 * time.Second
			}
			return 0
		}}, fakerule.Options{})
		o.post(posted(winterly))
		for i := range 8 {
			if err := o.deliver(); err != nil {
				time.Sleep(15 * time.Second << i)
			}
		}
		slow = false
		o.run()
		if j := o.job(); j.Page != 0 && j.Page < sitoo.MaxPage/5 {
			t.Errorf("pages of %d, to the end; %d parts for %d orders", j.Page, len(j.Parts), j.Matched)
		}
	})
}

// Sitoo may still be at work on a page that did not come in time: it is not asked
// for another one at once.
func TestReviewSecondPageHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 150, MaxNum: 30, Latency: func(int) time.Duration {
			if calls.Add(1) == 3 { // after the newest order and the first page
				return 60 * time.Second
			}
			return time.Second
		}}, fakerule.Options{})
		o.backfill.Pages = 4
		var asked []time.Time
		o.at = func(_ int, step string) error {
			if step == "sitoo" {
				asked = append(asked, time.Now())
			}
			return nil
		}
		o.post(posted(winterly))
		o.run()
		if wait := asked[3].Sub(asked[2]) - 30*time.Second; wait < 5*time.Second {
			t.Errorf("asked again %s after it was given up", wait)
		}
	})
}

// Paused while it lists, and resumed weeks later: what was listed before is as old
// as that, and the store keeps it for 14 days.
func TestReviewPausedInListing(t *testing.T) {
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
		time.Sleep(20 * 24 * time.Hour)
		o.resume()
		o.run()
		j = o.job()
		known, err := o.store.FindContacts(t.Context(), shopAccount, fmt.Sprintf("%s-%d-%d", j.ID, j.Run, j.Lists), []int64{gone.ID})
		if len(known) > 0 || err != nil {
			t.Errorf("list %d, by which orders are read, has who was deleted 20 days ago; %v", j.Lists, err)
		}
	})
}

// A web order that is open is nobody's to look at again: it was not sold at a
// register. A shop may have any number of them, and a job's item has no room.
func TestReviewOpenWebOrders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 1}, fakerule.Options{})
		for n := range 30 {
			if err := o.sitoo.Add(json.RawMessage(fmt.Sprintf(`{"orderid":%d,"eshopid":1,"orderdate":1673000000,"orderstateid":0,"paymentstateid":0,"ordertypeid":10,"registerid":null,"email":"kund.ett@example.com"}`, 900_000_000+n))); err != nil {
				t.Fatal(err)
			}
		}
		o.post(posted(winterly))
		o.run()
		if j := o.job(); j.Skipped[history.NotRegister] != 30 {
			t.Errorf("skipped %v", j.Skipped)
		}
	})
}

// The process dies after it has sent the job back to listing, and before it has
// told the backfill worker: a later delivery tells it.
func TestReviewRelistUntold(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"send", "sent"} {
		r := newWriterRig(t, rigOptions{customers: 3})
		sends := 0
		r.writer.Steps = sending(func(ctx context.Context, m worker.Message) error {
			if sends++; sends == 1 && at == "send" {
				return &fault.Error{Kind: fault.Unavailable}
			}
			err := r.Send(ctx, m)
			if sends == 1 {
				return &fault.Error{Kind: fault.Unavailable}
			}
			return err
		})
		r.pass(25 * time.Hour)
		r.drive(r.body("p1", byMail(1, 0), byMail(2, 1)))
		r.has(map[int64][]string{firstCustomer: {"1"}, firstCustomer + 1: {"2"}})
		if want := map[string]int{"send": 2, "sent": 1}[at]; sends != want {
			t.Errorf("%s: told %d times, want %d", at, sends, want)
		}
	}
}

type sending func(ctx context.Context, m worker.Message) error

func (f sending) Send(ctx context.Context, m worker.Message) error { return f(ctx, m) }

// A part does not bring back a backfill that somebody has paused or cancelled.
func TestReviewRelistIdle(t *testing.T) {
	t.Parallel()
	for state, kind := range map[history.State]fault.Kind{history.Paused: fault.Busy, history.Failed: fault.Conflict, history.Done: fault.Conflict} {
		r := newWriterRig(t, rigOptions{customers: 3, job: history.Job{State: state, Phase: history.Writing}})
		r.writer.Steps = sending(func(context.Context, worker.Message) error {
			t.Errorf("%s: the backfill worker is told", state)
			return nil
		})
		r.pass(25 * time.Hour)
		body := r.body("p1", byMail(1, 0))
		err := r.work(body)
		if fault.KindOf(err) != kind || err == nil {
			t.Errorf("%s: %v", state, err)
		}
		if len(r.whose()) > 0 {
			t.Errorf("%s: written by an old list", state)
		}
		if state != history.Failed {
			continue
		}
		if err := r.writer.GiveUp(t.Context(), body, err); err != nil {
			t.Fatal(err)
		}
		if p := r.part("p1"); p.Failures != 1 || !strings.Contains(fmt.Sprint(p.Failed), "listed too long ago") {
			t.Errorf("part %+v", p)
		}
	}
}

// Two processes have the same step: the one that is too late leaves the job as it
// is, and its message is done with.
func TestReviewDeliveredToTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 13, Orders: 60, MaxNum: 10}, fakerule.Options{})
		o.post(posted(winterly))
		if err := o.deliver(); err != nil {
			t.Fatal(err)
		}
		step, once := o.queue[0], false
		o.at = func(_ int, op string) error {
			if op == "send part" && !once {
				once = true
				o.apart(func() { // another process is faster
					if _, err := o.backfill.Work(context.Background(), step.Body, "another"); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}
		if err := o.deliver(); err != nil {
			t.Errorf("the one that is too late: %v", err)
		}
		if j := o.job(); !once || j.Reason != "" || !j.Since.IsZero() {
			t.Errorf("job %+v", j)
		}
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
	})
}
