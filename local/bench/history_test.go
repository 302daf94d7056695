package bench_test

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/simulation"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

const (
	// ruleTakes is how long Rule takes, and page and more what Sitoo does for a page
	// and for each order on it.
	ruleTakes = 250 * time.Millisecond
	page      = 400 * time.Millisecond
	more      = 3 * time.Millisecond
)

func pageOf(orders int) time.Duration { return page + time.Duration(orders)*more }

// simulated plays a world in virtual time, which is there in tests only.
func simulated(b *testing.B, o simulation.Options, then func(w *simulation.World)) {
	b.Helper()
	var err error
	if o.Template, err = template.Load("../../template.yaml"); err != nil {
		b.Fatal(err)
	}
	ok := testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, err := simulation.Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range w.Audit() {
				t.Fatal(wrong)
			}
			then(w)
		})
	}}})
	if !ok {
		b.Fatal("the simulated backfill went wrong")
	}
}

// BenchmarkBackfill brings the orders of a shop over, in a simulation in which
// Rule takes 250 ms for an answer and Sitoo 1.9 s for a page of 500 orders; some
// customers have hundreds of orders. It is audited.
//
// req/1000 are the requests to Rule for 1000 orders that were written, those that
// list its customers included, and x-fewer how many more the naive way takes. x-bound compares the time with that of reading the pages of Sitoo's
// one after the other, which no one can do faster; naive-h are the hours that
// Rule's whole budget makes of one by one.
//
// refused are the calls of a till, one every ten seconds meanwhile, that Rule
// refused or that took over a second, where Rule allows a fifth of what it does:
// 400 requests in ten minutes. backfill-MiB and history-MiB are what a
// worker holds in memory at its peak, in a shop of 50,000 orders, and x-memory how
// that compares with a shop of an eighth of the size.
func BenchmarkBackfill(b *testing.B) {
	orders := 100_000
	if os.Getenv("SHORT") != "" {
		orders = 16_000
	}
	shop := simulation.Options{Seed: 3, Orders: orders, Customers: orders / 8, Known: orders / 10, AtOnce: true, Answer: ruleTakes, Page: pageOf}

	b.Run("pace", func(b *testing.B) {
		for b.Loop() {
			simulated(b, shop, func(w *simulation.World) {
				st, err := w.Status()
				if err != nil {
					b.Fatal(err)
				}
				fast := float64(len(w.Rule.Requests())) / float64(st.Written) * 1000
				slow := oneByOne(b, w)
				bound := time.Duration((orders+sitoo.MaxPage-1)/sitoo.MaxPage) * pageOf(sitoo.MaxPage)
				naive := time.Duration(slow * float64(st.Written) / 1000 / fakerule.DefaultBudget * float64(fakerule.Window))
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(fast, "req/1000")
				b.ReportMetric(slow/fast, "x-fewer")
				b.ReportMetric(w.Took().Minutes(), "min")
				b.ReportMetric(w.Took().Seconds()/bound.Seconds(), "x-bound")
				b.ReportMetric(naive.Hours(), "naive-h")
			})
		}
	})

	b.Run("tills", func(b *testing.B) {
		o := shop
		o.Orders, o.Customers, o.Known, o.Till = orders/5, orders/40, orders/50, 10*time.Second
		o.Server.Budget = 400 // the backfill alone takes about as much
		for b.Loop() {
			simulated(b, o, func(w *simulation.World) {
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(w.Counts.LookedUp), "calls")
				b.ReportMetric(float64(w.Counts.Refused), "refused")
				b.ReportMetric(w.Took().Minutes(), "min")
			})
		}
	})

	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			var all [2]map[string]uint64
			for i, n := range []int{orders / 16, orders / 2} {
				w := &scale{before: map[string]uint64{}, peak: map[string]uint64{}}
				simulated(b, simulation.Options{Seed: 3, Orders: n, Customers: orders / 16, Known: orders / 20, Wrap: w.wrap, Look: w.look}, func(*simulation.World) {})
				all[i] = w.peak
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(all[1]["backfill-worker"])/(1<<20), "backfill-MiB")
			b.ReportMetric(float64(all[1]["history-worker"])/(1<<20), "history-MiB")
			b.ReportMetric(float64(all[1]["backfill-worker"])/float64(all[0]["backfill-worker"]), "x-memory-backfill")
			b.ReportMetric(float64(all[1]["history-worker"])/float64(all[0]["history-worker"]), "x-memory-history")
		}
	})
}

// oneByOne brings some of a world's orders into a Rule of its own the naive way,
// and returns how many requests 1000 of them take: for each one that finds or
// makes the customer, and one that writes the entry, which is not safe to repeat.
func oneByOne(b *testing.B, w *simulation.World) float64 {
	b.Helper()
	const sample = 500
	ctx := context.Background() // not of the world's time
	m := &meter{RoundTripper: direct{fakerule.New(fakerule.Options{Budget: 1 << 30})}}
	s := session(m)
	shop := sitoo.NewREST(sitoo.RESTConfig{HTTP: w.Sitoo.Client(), Pause: -1}).Shop(sitoo.Credentials{
		BaseURL: "https://api.mysitoo.com/v2/accounts/90001", Site: 1, APIID: "90001-1", Password: "demo-password",
	})
	done := 0
	for after := int64(0); done < sample; {
		p, err := shop.Orders(ctx, sitoo.Query{After: after, Upto: 1 << 40})
		if err != nil || len(p.Orders) == 0 {
			b.Fatalf("after order %d: %d orders, %v", after, len(p.Orders), err)
		}
		after = p.Last()
		for _, l := range p.Orders {
			o, err := sitoo.DecodeOrder(l.Body)
			if err != nil {
				b.Fatal(err)
			}
			if _, finished := order.Completed(o); !finished || o.Email == "" || l.Register == "" {
				continue
			}
			sub, err := s.Upsert(ctx, rule.Upsert{Email: o.Email, Tags: []string{customer.Tag}})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.AppendEntry(ctx, sub.ID, order.Group, order.Entry(o, "")); err != nil {
				b.Fatal(err)
			}
			done++
		}
	}
	return float64(m.take().requests) / float64(done) * 1000
}

// scale weighs what functions hold in memory, beside what was there when they
// began: at each request, with everything that is still in use and nothing else.
// When a job is committed it begins anew: what was queued is on the queue, which
// is in this process, too.
type scale struct {
	before, peak map[string]uint64
	committed    bool
}

func (s *scale) wrap(function string, h lambda.Handler) lambda.Handler {
	return invoked(func(ctx context.Context, payload []byte) ([]byte, error) {
		s.before[function] = inUse()
		return h.Invoke(ctx, payload)
	})
}

func (s *scale) look(function, effect string) {
	switch effect {
	case "history Put":
		s.committed = s.committed || function == "backfill-worker"
	case "rule", "sitoo", "send HistoryQueue":
		now := inUse()
		if s.committed && effect == "sitoo" {
			s.committed, s.before[function] = false, now
		}
		if now > s.before[function] {
			s.peak[function] = max(s.peak[function], now-s.before[function])
		}
	}
}

// inUse returns the bytes in use.
func inUse() uint64 {
	runtime.GC()
	m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}
