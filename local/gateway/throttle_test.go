package gateway_test

import (
	"testing"
	"time"

	"sitoo-rule/local/gateway"
	"sitoo-rule/local/template"
)

// What floods one route is turned away with 503 and Retry-After, as the template
// says; orders have a limit of their own and still come through.
func TestThrottle(t *testing.T) {
	t.Parallel()
	tpl, err := template.Load("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	h := gateway.New(gateway.Config{Template: tpl, Invoke: answer(`{"statusCode":200}`), Throttle: func() time.Time { return now }})
	ask := func(n int, method, path string) map[int]int {
		got := map[int]int{}
		for range n {
			res := do(h, method, path, nil)
			got[res.StatusCode]++
			if res.StatusCode == 503 && (res.Header.Get("Retry-After") == "" || res.Header.Get("X-Amzn-Errortype") != "TooManyRequestsException") {
				t.Fatalf("503 with headers %v", res.Header)
			}
		}
		return got
	}
	if got := ask(300, "GET", "/sitoo/contacts"); got[200] != 200 || got[503] != 100 {
		t.Errorf("a flood of 300 finds: %v, want the burst of 200 answered", got)
	}
	if got := ask(200, "GET", "/sitoo/consents"); got[200] != 200 {
		t.Errorf("another route: %v, want a limit of its own", got)
	}
	if got := ask(1200, "POST", "/sitoo/transactions"); got[200] != 1000 || got[503] != 200 {
		t.Errorf("1200 orders: %v, want the higher burst of 1000", got)
	}
	now = now.Add(time.Second)
	if got := ask(300, "GET", "/sitoo/contacts"); got[200] != 100 {
		t.Errorf("a second later: %v, want 100 more", got)
	}
	if got := ask(600, "POST", "/sitoo/transactions"); got[200] != 500 {
		t.Errorf("orders a second later: %v, want 500 more", got)
	}
}
