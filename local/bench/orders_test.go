package bench_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/order"
)

// BenchmarkOrders measures how many orders a second pass from the till to their
// entries in Rule: the door, the queue, batches of up to ten, the worker, Rule.
// A worker is one function at work. Rule's stand-in takes 50 ms for each answer,
// so that what shows is how the work is spread and not this machine's
// processors; an order that names its customer by email takes three answers in a
// row. Rule's limits are off: a real shop may send 2000 requests in 10 minutes.
func BenchmarkOrders(b *testing.B) {
	const (
		delay     = 50 * time.Millisecond
		customers = 40
		batches   = 10 // for each worker in one iteration, if all are full
	)
	var alone float64
	for _, workers := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			r := newRule(b)
			s := newShop(b, r, stack.Options{
				RuleURL: inMemory, HTTP: &http.Client{Transport: distant{direct{r}, delay}}, Workers: workers,
			})
			sales := workers * batches * 10
			before := entries(r)
			n := 0
			for b.Loop() {
				b.StopTimer()
				list := make([][]byte, sales)
				for i := range list {
					list[i] = s.order("", fmt.Sprintf("kund.%d@example.com", i%customers))
				}
				b.StartTimer()
				s.sell(list...)
				n += sales
			}
			rate := float64(n) / b.Elapsed().Seconds()
			if got := entries(r) - before; got != n {
				b.Fatalf("%d entries in Rule, want %d", got, n)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "orders/s")
			if workers == 1 {
				alone = rate
			}
			if alone > 0 {
				b.ReportMetric(rate/alone, "x-1worker")
			}
		})
	}
}

// entries counts the orders in Rule.
func entries(r *fakerule.Server) int {
	n := 0
	for _, sub := range r.Subscribers(fakerule.DefaultKey) {
		for _, g := range sub.Groups {
			if g.Name == order.Group {
				n += len(g.Entries)
			}
		}
	}
	return n
}
