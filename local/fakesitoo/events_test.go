package fakesitoo_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakesitoo"
)

// eventShop is a shop that speaks v2 to a connector which answers as a test says,
// at a time that the test moves.
type eventShop struct {
	*fakesitoo.Server
	mu     sync.Mutex
	now    time.Time
	status int
	got    [][]fakesitoo.Event
}

func newEventShop(t *testing.T, o fakesitoo.Options) *eventShop {
	t.Helper()
	s := &eventShop{now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), status: 200}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		var batch []fakesitoo.Event
		if r.Method+" "+r.URL.Path != "POST /sitoo/v2/events" || user == "" || password != "demo-key" || json.Unmarshal(body, &batch) != nil {
			t.Errorf("%s %s, password %q: %s", r.Method, r.URL.Path, password, body)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, batch)
		w.WriteHeader(s.status)
	}))
	t.Cleanup(srv.Close)
	o.SPI, o.Connector, o.Token, o.Now = 2, srv.URL+"/sitoo", "demo-key", func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }
	s.Server = fakesitoo.New(o)
	return s
}

func (s *eventShop) set(status int, later time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.now = status, s.now.Add(later)
}

// sendAll sends what is due now, and returns how many requests that took.
func (s *eventShop) sendAll(t *testing.T) (n int) {
	t.Helper()
	for {
		if sent, _ := s.SendEvents(t.Context()); !sent {
			return n
		}
		n++
	}
}

func TestASaleOfV2IsToldByAnEvent(t *testing.T) {
	t.Parallel()
	s := newEventShop(t, fakesitoo.Options{})
	o := sell(t, s.Server, `{"contactid":"255934463","rows":[{"sku":"CF-250","discount":"10.00","bonuscheckid":"bc-1"}]}`)
	if o.Additional["crm-customerid"] != "255934463" || o.Additional["customcrm-contactid"] != "" || o.Items[0].Additional["crm-bonuscheckid"] != "bc-1" {
		t.Errorf("the order has v1's keys: %v %v", o.Additional, o.Items[0].Additional)
	}
	back := sell(t, s.Server, fmt.Sprintf(`{"creditorderid":%d,"repeatchecks":true}`, o.ID))
	if back.Additional["crm-customerid"] != "255934463" || back.Items[0].Additional["crm-bonuscheckid"] != "bc-1" {
		t.Errorf("the return: %v %v", back.Additional, back.Items[0].Additional)
	}
	if n := s.sendAll(t); n != 1 || len(s.got[0]) != 2 {
		t.Fatalf("%d requests: %+v", n, s.got)
	}
	e := s.got[0][0]
	if len(e.ID) != 32 || e.Type != "order" || e.AccountID != 90001 || e.Data.OrderID != o.ID || e.Data.EshopID != 1 || e.Data.Type != "add" || e.Data.State != "closed" {
		t.Errorf("event: %+v", e)
	}
	if d := s.Deliveries(); len(d) != 1 || d[0].State != fakesitoo.EventsDelivered || d[0].Tries != 1 {
		t.Errorf("deliveries: %+v", d)
	}
}

// Ten at a time, in order, and more than once.
func TestEventsComeInBatchesAndTwice(t *testing.T) {
	t.Parallel()
	s := newEventShop(t, fakesitoo.Options{EventRepeats: 1, EventDelay: time.Minute})
	for i := range 23 {
		s.Tell(fakesitoo.EventData{EshopID: 1, OrderID: int64(i), Type: "update"})
	}
	if n := s.sendAll(t); n != 0 {
		t.Errorf("%d requests before the delay", n)
	}
	s.set(200, time.Minute)
	if n := s.sendAll(t); n != 6 {
		t.Errorf("%d requests, want three batches twice", n)
	}
	var orders []int64
	for i, batch := range s.got {
		if i%2 == 1 {
			if !slices.Equal(batch, s.got[i-1]) {
				t.Errorf("batch %d is not the same again", i)
			}
			continue
		}
		for _, e := range batch {
			orders = append(orders, e.Data.OrderID)
		}
	}
	if len(orders) != 23 || !slices.IsSorted(orders) {
		t.Errorf("orders: %v", orders)
	}
}

// 429, 503 and 504 keep a batch, alone, for a day; everything else drops it.
func TestOnlyThreeAnswersKeepEvents(t *testing.T) {
	t.Parallel()
	for status, keeps := range map[int]bool{429: true, 503: true, 504: true, 500: false, 502: false, 400: false, 401: false, 404: false, 202: false, 204: false} {
		s := newEventShop(t, fakesitoo.Options{})
		s.Tell(fakesitoo.EventData{OrderID: 1, Type: "add"})
		s.set(status, 0)
		s.sendAll(t)
		s.Tell(fakesitoo.EventData{OrderID: 2, Type: "add"})
		s.set(200, 6*time.Minute)
		s.sendAll(t)
		var told []string
		for _, d := range s.Deliveries() {
			told = append(told, fmt.Sprint(d.State, " ", d.Tries))
		}
		want := "dropped 1, delivered 1"
		if keeps {
			want = "delivered 2, delivered 1"
		}
		if got := strings.Join(told, ", "); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

func TestEventsAreDroppedAfterADay(t *testing.T) {
	t.Parallel()
	s := newEventShop(t, fakesitoo.Options{})
	s.Tell(fakesitoo.EventData{OrderID: 1, Type: "add"})
	s.set(503, 0)
	for range 400 {
		s.sendAll(t)
		s.set(503, 6*time.Minute)
	}
	d := s.Deliveries()
	if len(d) != 1 || d[0].State != fakesitoo.EventsDropped || d[0].Tries != 34 { // ten in the first hour, then hourly
		t.Errorf("deliveries: %+v", d)
	}
}

func TestChecksOfV2AreUsedInOneCall(t *testing.T) {
	t.Parallel()
	_, c := shopWith(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		r.Header.Set("Authorization", "Bearer "+password)
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s := fakesitoo.New(fakesitoo.Options{SPI: 2, Connector: srv.URL + "/sitoo", Token: "demo-key"})
	const body = `{"contactid":"7","redeem":true,"rows":[{"sku":"CF-250","discount":"10.00","bonuscheckid":"a"},{"sku":"SO-200-39","promotionid":"p"}]}`
	if w := ask(t, s, "POST", "/_sell", body); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := c.asked()
	if len(got) != 1 || !strings.HasPrefix(got[0], `POST /sitoo/v2/customers/7/redeem {"bonus_checks":[{"bonus_check_id":"a","value":"10.00"}],"promotions":[{"promotion_id":"p"}],"transaction_id":"`) {
		t.Errorf("calls: %q", got)
	}
	c.answer = func(string, string) (int, string) {
		return 400, `{"error_code":"bad-request","error_data":{"message":"This bonus check has been used already."},"request_id":"x"}`
	}
	if w := ask(t, s, "POST", "/_sell", body); w.Code != 400 || !strings.Contains(w.Body.String(), "used already") || len(s.Deliveries()) != 0 {
		t.Errorf("refused: %d %s", w.Code, w.Body)
	}
}
