package history_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/fault"
)

// A part that fails says since when, try after try, and not since when its
// message is on the queue: it may have waited there for days.
func TestWriterFailsSince(t *testing.T) {
	t.Parallel()
	r := newWriterRig(t, rigOptions{customers: 40, server: fakerule.Options{AsyncDelay: -1}})
	orders, _ := shopping(40)
	body := r.body("p1", orders...)
	broken := func(from int64) { // the ledger fails from the n-th order on
		var n atomic.Int64
		r.each(func(op string) error {
			if op == "Claim" && n.Add(1) >= from {
				return &fault.Error{Kind: fault.Unavailable}
			}
			return nil
		})
	}
	fails := func(when string, since time.Time) {
		t.Helper()
		err := r.work(body)
		if err == nil || fault.KindOf(err) == fault.Busy {
			t.Fatalf("%s: %v", when, err)
		}
		if at := fault.SinceOf(err); !at.Equal(since) {
			t.Errorf("%s: failing since %s, want %s", when, at, since)
		}
		if p := r.part("p1"); !p.Since.Equal(since) {
			t.Errorf("%s: the part says %s", when, p.Since)
		}
		r.pass(time.Hour)
	}
	first := r.clock()
	broken(1)
	fails("first", first)
	fails("again", first)
	broken(20)
	fails("after a call that went well", r.clock())
	last := r.clock().Add(-time.Hour)
	fails("and again", last)
	r.each(nil)
	r.rule.BlockFor(fakerule.DefaultKey, time.Minute)
	if err := r.work(body); fault.KindOf(err) != fault.Busy {
		t.Fatalf("in a block: %v", err)
	}
	if p := r.part("p1"); !p.Since.IsZero() {
		t.Errorf("a part that waits has failed since %s", p.Since)
	}
	r.pass(11 * time.Minute)
	broken(1)
	fails("after it had waited", r.clock())
	r.each(nil)
	r.drive(body)
	// A store that does not answer says nothing of what was before.
	r.each(func(string) error { return &fault.Error{Kind: fault.Unavailable} })
	if err := r.work(r.body("p2", json.RawMessage(`{}`))); !fault.SinceOf(err).Equal(r.clock()) {
		t.Errorf("no store: %v since %s", err, fault.SinceOf(err))
	}
}

// The same of a job that reads.
func TestBackfillFailsSince(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 5, Orders: 40, MaxNum: 10}, fakerule.Options{})
		o.post(posted(winterly))
		if err := o.deliver(); err != nil {
			t.Fatal(err)
		}
		o.sitoo.SetFault(func(*http.Request) *fakesitoo.Fault { return &fakesitoo.Fault{Kind: fakesitoo.Status, Status: 500} })
		fails := func(when string, since time.Time) {
			t.Helper()
			err := o.deliver()
			if err == nil || !fault.SinceOf(err).Equal(since) || !o.job().Since.Equal(since) {
				t.Errorf("%s: %v since %s, the job since %s; want %s", when, err, fault.SinceOf(err), o.job().Since, since)
			}
			time.Sleep(time.Hour)
		}
		first := time.Now()
		fails("first", first)
		fails("again", first)
		o.sitoo.Heal()
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		if j := o.job(); !j.Since.IsZero() {
			t.Errorf("a job that is read has failed since %s", j.Since)
		}
	})
}
