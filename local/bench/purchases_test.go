package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
)

// BenchmarkPurchases measures what the list of a customer's purchases costs: how
// many requests to Rule, and how many of them in a row, which is the time taken
// by what Rule's stand-in takes for each answer.
func BenchmarkPurchases(b *testing.B) {
	const answer = 50 * time.Millisecond
	for _, n := range []int{7, 50, 643, 2000} {
		b.Run(fmt.Sprint(n, " orders"), func(b *testing.B) {
			server := fakerule.New(fakerule.Options{Budget: 1 << 30, ErrorSample: 1 << 30})
			slow := false
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if slow {
					time.Sleep(answer)
				}
				server.ServeHTTP(w, r)
			}))
			defer web.Close()
			session := func() *rule.Session {
				return rule.New(rule.Config{URL: web.URL, HTTP: web.Client(), Pause: -1}).Session(fakerule.DefaultKey, time.Time{}, nil)
			}
			s := session()
			sub, err := s.Create(context.Background(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}, true)
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				if err := s.AppendEntry(context.Background(), sub.ID, order.Group, []rule.Field{{Group: order.Group, Name: "orderid", Type: rule.Text, Value: strconv.Itoa(i + 1)}}); err != nil {
					b.Fatal(err)
				}
			}
			slow = true
			calls, log := 0, slog.New(slog.DiscardHandler)
			b.ResetTimer()
			for range b.N {
				s := session()
				if _, err := order.Purchases(context.Background(), s, log, sub.ID, ""); err != nil {
					b.Fatal(err)
				}
				calls += s.Calls()
			}
			b.ReportMetric(float64(calls)/float64(b.N), "requests/op")
			b.ReportMetric(float64(b.Elapsed()/answer)/float64(b.N), "waits/op")
		})
	}
}
