package history_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/history"
)

// calls notes how many orders each call for many has, and when it came.
func (r *writerRig) calls() (sizes *[]int, at *[]time.Time) {
	sizes, at = &[]int{}, &[]time.Time{}
	r.rule.SetFault(func(q *http.Request, body []byte) *fakerule.Fault {
		if q.Method == http.MethodPost && strings.HasSuffix(q.URL.Path, "/v2/subscribers") {
			*sizes = append(*sizes, strings.Count(string(body), `"Sitoo-Order.orderid"`))
			*at = append(*at, time.Now())
		}
		return nil
	})
	return sizes, at
}

// bought returns orders of customers: of the n-th as many as counts has.
func bought(counts ...int) (orders []json.RawMessage) {
	id := int64(1000)
	for round := 0; round < slices.Max(counts); round++ {
		for n, count := range counts {
			if round < count {
				orders = append(orders, byMail(id, n))
				id++
			}
		}
	}
	return orders
}

// A part takes as many calls as its best customer has orders, all of about the
// same size.
func TestWriterCalls(t *testing.T) {
	t.Parallel()
	many := func(n, count int) []int { return slices.Repeat([]int{count}, n) }
	for name, c := range map[string]struct {
		counts, want []int
	}{
		"one each":                {many(60, 1), []int{60}},
		"one customer":            {many(1, 5), []int{1, 1, 1, 1, 1}},
		"a good one among many":   {append(many(57, 1), 3), []int{20, 20, 20}},
		"it does not divide":      {append(many(58, 1), 3), []int{21, 20, 20}},
		"two each, and some more": {append(many(20, 2), 3, 3), []int{16, 15, 15}},
		"most have the most":      {append(many(30, 2), 1, 1), []int{31, 31}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWriterRig(t, rigOptions{customers: len(c.counts), server: fakerule.Options{AsyncDelay: -1}})
			sizes, _ := r.calls()
			if err := r.work(r.body("p1", bought(c.counts...)...)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(*sizes, c.want) {
				t.Errorf("calls of %v, want %v", *sizes, c.want)
			}
			for sub, ids := range r.whose() {
				if !slices.IsSorted(ids) || len(ids) != c.counts[sub-firstCustomer] {
					t.Errorf("%d has %v", sub, ids)
				}
			}
		})
	}
}

// A small call, which Rule carries out at once, does not overtake a large one
// before it, of another part, which Rule carries out later.
func TestWriterInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newWriterRig(t, rigOptions{customers: 40, job: history.Job{Parts: []string{"p0", "p1", "p2"}}})
		r.writer.Lag = 0
		sizes, at := r.calls()
		began := time.Now()
		for i, part := range [][]json.RawMessage{bought(slices.Repeat([]int{1}, 40)...), {byMail(2000, 7), byMail(2001, 7)}, {byMail(3000, 7)}} {
			if err := r.work(r.body(fmt.Sprint("p", i), part...)); err != nil {
				t.Fatal(err)
			}
		}
		if want := []int{40, 1, 1, 1}; !slices.Equal(*sizes, want) {
			t.Fatalf("calls of %v, want %v", *sizes, want)
		}
		for i, want := range []time.Duration{0, 3 * time.Second, 3 * time.Second, 3 * time.Second} {
			if got := (*at)[i].Sub(began); got != want {
				t.Errorf("call %d after %s, want %s", i+1, got, want)
			}
		}
	})
}

// Pages are queued together, some at a time; what was read before one that does
// not come is not read again.
func TestBackfillPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pages := 0
		o := newOffice(t, fakesitoo.Options{Seed: 5, Orders: 100, MaxNum: 10, Observe: func(r fakesitoo.Request) {
			if strings.Contains(r.Query, "orderidto") {
				pages++
			}
		}}, fakerule.Options{})
		o.backfill.Pages = 0
		o.post(posted(winterly))
		var commits []int64
		o.at = func(_ int, step string) error {
			if step == "store Put" {
				o.apart(func() {
					if jobs, err := o.store.List(t.Context(), shopAccount); err == nil && len(jobs) > 0 && (len(commits) == 0 || commits[len(commits)-1] != jobs[0].Cursor) {
						commits = append(commits, jobs[0].Cursor)
					}
				})
			}
			return nil
		}
		// The sixth page does not come: the fifth is queued alone.
		n := 0
		o.sitoo.SetFault(func(r *http.Request) *fakesitoo.Fault {
			if strings.Contains(r.URL.RawQuery, "orderidto") {
				if n++; n == 6 || n == 7 {
					return &fakesitoo.Fault{Kind: fakesitoo.Status, Status: 500}
				}
			}
			return nil
		})
		if errs := o.run(); len(errs) != 1 {
			t.Errorf("errors %v, want the page's", errs)
		}
		j := o.audit(o.want(winter))
		if len(j.Parts) != 4 || pages != 10+2 {
			t.Errorf("%d parts of %d pages: %v", len(j.Parts), pages, commits)
		}
		o.finish()
	})
}
