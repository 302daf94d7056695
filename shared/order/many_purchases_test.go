package order_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
)

// far is a way to Rule on which each request takes a tenth of a second.
type far struct {
	next http.RoundTripper
	fail func(page string) bool

	mu       sync.Mutex
	requests int
}

const trip = 100 * time.Millisecond

func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.requests++
	f.mu.Unlock()
	wait := trip
	if f.fail != nil && f.fail(r.URL.Query().Get("page")) {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return f.next.RoundTrip(r)
}

// bought is a customer with n orders in Rule, and a way there.
func bought(t *testing.T, n int) (*far, *rule.Session, int64) {
	t.Helper()
	s := fakerule.New(fakerule.Options{Budget: 1 << 30, ErrorSample: 1 << 30})
	near := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: direct{s}}, Pause: -1}).Session(fakerule.DefaultKey, time.Time{}, nil)
	sub, err := near.Create(t.Context(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range n {
		fields := []rule.Field{}
		for name, v := range map[string]string{"orderid": strconv.Itoa(i + 1), "total": "1.00", "orderdate": first.AddDate(0, 0, i).Format(rule.TimeLayout)} {
			fields = append(fields, rule.Field{Group: order.Group, Name: name, Type: rule.Text, Value: v})
		}
		if err := near.AppendEntry(t.Context(), sub.ID, order.Group, fields); err != nil {
			t.Fatal(err)
		}
	}
	f := &far{next: direct{s}}
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: f}, Pause: -1})
	return f, client.Session(fakerule.DefaultKey, time.Time{}, nil), sub.ID
}

// However many orders a customer has, the card waits for a few requests in a row
// at the most, and shows the latest.
func TestPurchasesOfMany(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	for _, c := range []struct{ orders, waits, requests int }{{0, 1, 1}, {7, 1, 1}, {50, 1, 1}, {643, 3, 7}, {2000, 5, 20}} {
		t.Run(fmt.Sprint(c.orders), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, r, id := bought(t, c.orders)
				start := time.Now()
				list, err := order.Purchases(t.Context(), r, log, id, "")
				if err != nil || len(list) != min(c.orders, order.Shown) {
					t.Fatalf("%d purchases, %v", len(list), err)
				}
				if waits := int(time.Since(start) / trip); waits != c.waits || f.requests != c.requests {
					t.Errorf("%d waits, %d requests; want %d and %d", waits, f.requests, c.waits, c.requests)
				}
				for i, b := range list {
					if want := strconv.Itoa(c.orders - i); b.OrderID != want {
						t.Errorf("purchase %d is order %s, want %s", i, b.OrderID, want)
					}
				}
			})
		})
	}
}

// When the time is up, what is there is shown; nothing at all is an error.
func TestPurchasesInTime(t *testing.T) {
	t.Parallel()
	for slow, want := range map[string]int{"5": order.Shown, "1": 0} {
		synctest.Test(t, func(t *testing.T) {
			var logs strings.Builder
			f, r, id := bought(t, 643)
			f.fail = func(page string) bool { return page == slow }
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			list, err := order.Purchases(ctx, r, slog.New(slog.NewJSONHandler(&logs, nil)), id, "")
			if (err != nil) != (want == 0) || len(list) != want || time.Since(start) >= 2*time.Second {
				t.Errorf("page %s is slow: %d purchases, %v after %s", slow, len(list), err, time.Since(start))
			}
			if want > 0 && !strings.Contains(logs.String(), "missing from the card") {
				t.Errorf("log: %s", logs.String())
			}
		})
	}
}
