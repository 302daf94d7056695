package bench_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
)

// bonusOperations are what happens with bonus checks at a till, and after it.
var bonusOperations = []operation{
	{"card-without-checks", func(s *shop) func() {
		id := s.register(s.email())
		return func() { s.card(id, 0) }
	}},
	{"card-with-a-check", func(s *shop) func() {
		id := s.holder()
		return func() { s.card(id, 1) }
	}},
	{"card-with-a-used-check", func(s *shop) func() {
		id := s.holder()
		s.redeem(http.StatusOK, id, 1, "0")
		return func() { s.card(id, 0) }
	}},
	{"redeem", func(s *shop) func() {
		id := s.holder()
		return func() { s.redeem(http.StatusOK, id, 1, "0") }
	}},
	{"redeem-in-part", func(s *shop) func() {
		id := s.holder()
		return func() { s.redeem(http.StatusOK, id, 1, "40") }
	}},
	{"redeem-again-same-order", func(s *shop) func() {
		id := s.holder()
		s.redeem(http.StatusOK, id, 1, "0")
		return func() { s.redeem(http.StatusOK, id, 1, "0") }
	}},
	{"redeem-refused", func(s *shop) func() {
		id := s.holder()
		s.redeem(http.StatusOK, id, 1, "0")
		return func() { s.redeem(http.StatusBadRequest, id, 2, "0") }
	}},
	{"take-back", func(s *shop) func() {
		id := s.holder()
		s.redeem(http.StatusOK, id, 1, "0")
		return func() { s.call("DELETE", redeemPath(id), nil) }
	}},
	{"take-back-again", func(s *shop) func() {
		id := s.holder()
		s.redeem(http.StatusOK, id, 1, "0")
		s.call("DELETE", redeemPath(id), nil)
		return func() { s.call("DELETE", redeemPath(id), nil) }
	}},
	{"message-after-redeem", func(s *shop) func() {
		id := s.holder()
		s.syncs() // what completes the registration
		s.redeem(http.StatusOK, id, 1, "0")
		return s.syncs
	}},
	{"order-without-check", func(s *shop) func() {
		o := s.order(s.holder(), "")
		return func() { s.sell(o) }
	}},
	{"order-proves", func(s *shop) func() {
		o, _ := s.discounted(s.holder())
		return func() { s.sell(o) }
	}},
	{"order-after-redeem", func(s *shop) func() {
		id := s.holder()
		o, number := s.discounted(id)
		s.redeem(http.StatusOK, id, number, "0")
		return func() { s.sell(o) }
	}},
}

// BenchmarkRedeem counts what bonus checks cost: the requests to Rule and the
// waits for them as BenchmarkRule does, the calls to the tables (each call to a
// store in memory is one to DynamoDB where the functions run), and the messages
// that are queued, those of orders included.
func BenchmarkRedeem(b *testing.B) {
	for _, op := range bonusOperations {
		b.Run(op.name, func(b *testing.B) {
			r := newRule(b)
			m := &meter{RoundTripper: distant{direct{r}, 5 * time.Millisecond}}
			s := newShop(b, r, stack.Options{RuleURL: inMemory, HTTP: &http.Client{Transport: m}})
			var sum usage
			var tables, messages int64
			n := 0.0
			for b.Loop() {
				do := op.ready(s)
				m.take()
				t, q := s.tables.Load(), s.queued.Load()
				do()
				u := m.take()
				tables += s.tables.Load() - t
				messages += s.queued.Load() - q
				sum.requests += u.requests
				sum.errors += u.errors
				sum.waits += u.waits
				n++
			}
			b.ReportMetric(0, "ns/op") // mostly the delay
			b.ReportMetric(float64(sum.requests)/n, "rule-requests/op")
			b.ReportMetric(float64(sum.errors)/n, "rule-errors/op")
			b.ReportMetric(float64(sum.waits)/n, "rule-waits/op")
			b.ReportMetric(float64(tables)/n, "dynamodb-calls/op")
			b.ReportMetric(float64(messages)/n, "messages/op")
		})
	}
}

func redeemPath(id string) string { return "/contacts/" + id + "/bonuschecks/bc-1/redeem" }

// holder registers a customer with one bonus check of 100, and returns the id.
func (s *shop) holder() string {
	s.b.Helper()
	id := s.register(s.email())
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		s.b.Fatal(err)
	}
	check := []any{map[string]any{"bonuscheckid": "bc-1", "name": "Vårcheck", "value": "100.00"}}
	if err := s.rule.SetField(s.key, n, 0, "Sitoo-Contact.bonuschecks", check); err != nil {
		s.b.Fatal(err)
	}
	return id
}

// card fetches a customer's card and expects so many bonus checks on it.
func (s *shop) card(id string, want int) {
	s.b.Helper()
	var card struct {
		Checks []json.RawMessage `json:"bonuschecks"`
	}
	body := s.call("GET", "/contacts/"+id+"?include_extended=true", nil)
	if err := json.Unmarshal(body, &card); err != nil || len(card.Checks) != want {
		s.b.Fatalf("card %s (%v), want %d bonus checks", body, err, want)
	}
}

// redeem uses the check of a holder with an order.
func (s *shop) redeem(status int, id string, order int64, remaining string) {
	s.b.Helper()
	s.answered(status, "POST", redeemPath(id), fmt.Appendf(nil, `{"orderid":%d,"remaining":%q}`, order, remaining))
}

// discounted returns an order that was discounted with a holder's check, and
// its number.
func (s *shop) discounted(id string) (order []byte, number int64) {
	s.b.Helper()
	var o map[string]any
	if err := json.Unmarshal(s.order(id, ""), &o); err != nil {
		s.b.Fatal(err)
	}
	row := o["orderitems"].([]any)[0].(map[string]any)
	row["orderitemid"], row["moneydiscount"] = 1, "80.00"
	row["additionaldata"].(map[string]any)["customcrm-bonuscheckid"] = "bc-1"
	raw, err := json.Marshal(o)
	if err != nil {
		s.b.Fatal(err)
	}
	return raw, int64(o["orderid"].(float64))
}

// syncs delivers the messages that complete Rule's copy, which come after 90 s.
func (s *shop) syncs() {
	s.b.Helper()
	q, ok := s.Broker.Queue("BonusQueue")
	if !ok {
		s.b.Fatal("there is no BonusQueue")
	}
	if n := q.Redeliver(func(queue.Message) bool { return true }); n != 1 {
		s.b.Fatalf("%d messages are on BonusQueue, want 1", n)
	}
	s.drain()
}
