package fakesitoo_test

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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/local/fakesitoo"
)

// names returns the member names of a JSON object, in order, with blanks between.
func names(t testing.TB, data []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var all []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		all = append(all, name.(string))
	}
	return strings.Join(all, " ")
}

type list struct {
	Total int               `json:"totalcount"`
	Items []json.RawMessage `json:"items"`
}

func (l list) orders(t testing.TB) []order {
	t.Helper()
	all := make([]order, len(l.Items))
	for i, item := range l.Items {
		all[i] = decode(t, item)
	}
	return all
}

// get calls the API below the account, in process.
func get(t testing.TB, s *fakesitoo.Server, path string) (int, http.Header, []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/accounts/90001"+path, nil)
	r.SetBasicAuth("90001-1", "demo-password")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.Bytes()
}

func getList(t testing.TB, s *fakesitoo.Server, path string) list {
	t.Helper()
	status, _, body := get(t, s, path)
	var l list
	if err := json.Unmarshal(body, &l); err != nil || status != http.StatusOK {
		t.Fatalf("GET %s: %d %s (%v)", path, status, body, err)
	}
	if l.Items == nil {
		t.Fatalf("GET %s: items is null: %s", path, body)
	}
	return l
}

func TestFilters(t *testing.T) {
	t.Parallel()
	const n = 400
	all := generate(t, 5, n)
	some := func(keep func(order) bool) (ids []int64) {
		for _, o := range all {
			if keep(o) {
				ids = append(ids, o.ID)
			}
		}
		return ids
	}
	a, b := all[100].ID, all[300].ID
	day := all[200].Date
	returned := all[slices.IndexFunc(all, func(o order) bool { return o.Credit != nil })]
	web := all[slices.IndexFunc(all, func(o order) bool { return o.ExternalID != nil })]
	till := all[slices.IndexFunc(all, func(o order) bool { return o.Additional["pos-receiptid"] != "" })]
	tests := []struct {
		query string
		want  []int64
	}{
		{"", some(func(order) bool { return true })},
		{"eshopid=1", some(func(o order) bool { return o.ShopID == 1 })},
		{"eshopid=1,2", some(func(order) bool { return true })},
		{"eshopid=9", nil},
		{fmt.Sprintf("orderid=%d,%d,1", b, a), []int64{a, b}},
		{fmt.Sprintf("orderidfrom=%d&orderidto=%d", a, b), some(func(o order) bool { return o.ID >= a && o.ID < b })},
		{fmt.Sprintf("orderidfrom=%d&orderidto=%d", b, a), nil},
		{fmt.Sprintf("orderidfrom=%d", a+1), some(func(o order) bool { return o.ID > a })},
		{"orderidto=1", nil},
		{fmt.Sprintf("orderdatefrom=%d&orderdateto=%d", day, day+3600), some(func(o order) bool { return o.Date >= day && o.Date < day+3600 })},
		{"orderstate=0,20", some(func(o order) bool { return o.State == 0 || o.State == 20 })},
		{"orderstate=-1", some(func(o order) bool { return o.State == -1 })},
		{"paymentstate=20", some(func(o order) bool { return o.Payment == 20 })},
		{"ordertype=100,110", some(func(o order) bool { return o.Type >= 100 })},
		{"orderstate=10&orderstate=20", some(func(o order) bool { return o.State == 20 })},
		{"orderstate=", some(func(order) bool { return true })},
		{"warehouseid=5", some(func(o order) bool { return *o.Warehouse == 5 })},
		{"email=KUND.Tre@example.com", some(func(o order) bool { return o.Email == "kund.tre@example.com" })},
		{"externalid=" + *web.ExternalID, []int64{web.ID}},
		{"receiptid=" + till.Additional["pos-receiptid"], []int64{till.ID}},
		{"receiptid=" + till.Additional["pos-receiptid"] + "&orderid=1", []int64{till.ID}},
		{"receiptid=none", nil},
		{fmt.Sprintf("creditorderid=%d&orderid=1", *returned.Credit), []int64{returned.ID}},
		{"datelastmodified-from=1&weather=fine", some(func(order) bool { return true })},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: n})
			l := getList(t, s, "/orders.json?num=1000&sort=orderid&"+tt.query)
			var got []int64
			for _, o := range l.orders(t) {
				got = append(got, o.ID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
			if l.Total != len(tt.want) {
				t.Errorf("totalcount %d, want %d", l.Total, len(tt.want))
			}
		})
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 60, MaxNum: 25})
	all := generate(t, 5, 60)
	tests := []struct {
		query       string
		first, last int // positions by ascending id
		count       int
	}{
		{"", 59, 50, 10},
		{"sort=-orderid&num=3", 59, 57, 3},
		{"sort=orderid", 0, 9, 10},
		{"sort=orderid&start=58&num=10", 58, 59, 2},
		{"sort=orderid&start=60", 0, 0, 0},
		{"num=0", 0, 0, 0},
		{"sort=orderid&num=1000", 0, 24, 25},
	}
	for _, tt := range tests {
		l := getList(t, s, "/orders?"+tt.query)
		if l.Total != 60 || len(l.Items) != tt.count {
			t.Errorf("%q: %d of %d, want %d of 60", tt.query, len(l.Items), l.Total, tt.count)
			continue
		}
		if tt.count == 0 {
			continue
		}
		got := l.orders(t)
		if got[0].ID != all[tt.first].ID || got[tt.count-1].ID != all[tt.last].ID {
			t.Errorf("%q: %d to %d, want %d to %d", tt.query, got[0].ID, got[tt.count-1].ID, all[tt.first].ID, all[tt.last].ID)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 40})
	id := generate(t, 5, 1)[0].ID
	const defaults = "email namefirst namelast company moneyfinal_net moneyfinal_vat moneytotal_gross_roundoff moneytotal_gross_all " +
		"checkouttypename deliverytypename orderdate orderstateid paymentstateid ordertypeid registerid warehouseid datereserved currencycode " +
		"additionaldata orderitems payments"
	tests := []struct{ path, want string }{
		{"/orders.json?num=1", "orderid eshopid " + defaults},
		{"/sites/1/orders.json?num=1", "orderid " + defaults},
		{"/orders.json?num=1&fields=phone,orderid,nonsense,,creditorderid", "orderid creditorderid phone"},
		{"/orders.json?num=1&fields=nonsense", ""},
		{"/sites/1/orders.json?num=1&fields=eshopid,orderid", "orderid"},
		{"/orders.json?num=1&fields=orderlogitems", "orderlogitems"},
	}
	for _, tt := range tests {
		if got := names(t, getList(t, s, tt.path).Items[0]); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.path, got, tt.want)
		}
	}
	_, _, single := get(t, s, fmt.Sprintf("/sites/1/orders/%d.json?fields=orderid", id))
	if got := names(t, single); !strings.Contains(got, "creditorderid") || !strings.HasSuffix(got, "orderlogitems") {
		t.Errorf("a single order has the members %s, want all", got)
	}
	for want := range fakesitoo.Generate(5, 1) {
		if diff := cmp.Diff(string(want), string(single)); diff != "" {
			t.Errorf("served order differs from the generated one:\n%s", diff)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	const huge = "1208925819614629174706176"
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 40})
	id := generate(t, 5, 1)[0].ID
	tests := []struct {
		path   string
		status int
		text   string
	}{
		{"/orders.json?orderstate=open", 400, "Invalid value 'open' for parameter 'orderstate'."},
		{"/orders.json?num=-1", 400, "Invalid value '-1' for parameter 'num'."},
		{"/orders.json?start=x", 400, "Invalid value 'x' for parameter 'start'."},
		{"/orders.json?orderidfrom=1e9", 400, "Invalid value '1e9' for parameter 'orderidfrom'."},
		{"/orders.json?orderid=" + huge, 400, "Invalid value '" + huge + "' for parameter 'orderid'."},
		{"/orders.json?sort=date", 400, "Invalid value 'date' for parameter 'sort'."},
		{"/orders.json?a=%zz", 400, "Invalid query string"},
		{"/sites/1/stores.json?num=x", 400, "Invalid value 'x' for parameter 'num'."},
		{"/sites/1/orders/1.json", 404, "Order not found"},
		{"/sites/1/orders/abc.json", 404, "Not found"},
		{fmt.Sprintf("/sites/2/orders/%d.json", id), 404, "Order not found"},
		{"/sites/77/orders.json", 404, "Not found"},
		{"/sites/x/orders.json", 404, "Not found"},
		{"/customers.json", 404, "Not found"},
		{"/sites/1/customers.json", 404, "Not found"},
		{"/sites/1/orders/1/2/3.json", 404, "Not found"},
		{"/", 404, "Not found"},
	}
	for _, tt := range tests {
		status, h, body := get(t, s, tt.path)
		want := fmt.Sprintf(`{"statuscode":%d,"errortext":%s}`, tt.status, strconv.Quote(tt.text))
		if status != tt.status || string(body) != want {
			t.Errorf("%s: %d %s, want %s", tt.path, status, body, want)
		}
		if ct := h.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s: Content-Type %q", tt.path, ct)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, account, user, password string
		status                        int
	}{
		{"right", "42", "42-7", "pw", 200},
		{"wrong password", "42", "42-7", "demo-password", 401},
		{"wrong user", "42", "90001-1", "pw", 401},
		{"none", "42", "", "", 401},
		{"another account", "43", "42-7", "pw", 401},
	}
	s := fakesitoo.New(fakesitoo.Options{AccountID: 42, APIID: "42-7", Password: "pw"})
	for _, tt := range tests {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/accounts/"+tt.account+"/orders.json", nil)
		if tt.user != "" {
			r.SetBasicAuth(tt.user, tt.password)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, w.Code, w.Body, tt.status)
		}
		if tt.status == 401 && (w.Header().Get("WWW-Authenticate") == "" || !strings.Contains(w.Body.String(), `"statuscode":401`)) {
			t.Errorf("%s: %v %s", tt.name, w.Header(), w.Body)
		}
	}
}

func TestOtherResources(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 40})
	const guid = "%7B7C3B1A20-0000-4000-8000-000000000001%7D"
	tests := []struct {
		path  string
		total int
		first string
	}{
		{"/sites.json", 2, `"eshopid":1`},
		{"/sites/1/warehouses.json", 3, `"warehouseid":4,`},
		{"/sites/1/warehouses", 3, `"storeid":1`},
		{"/sites/1/stores.json?fields=storeid,name&num=1", 2, `{"storeid":1,"name":"Example Concept Store"}`},
		{"/sites/1/cashregisters.json", 3, `"registerkey":"SII0000001500001"`},
		{"/sites/1/cashregisters.json?includenotregistered=true", 4, `"registerid"`},
		{"/sites/" + guid + "/orders.json", 0, ""},
		{"/sites/" + guid + "/warehouses.json", 0, ""},
	}
	for _, tt := range tests {
		l := getList(t, s, tt.path)
		if l.Total != tt.total {
			t.Errorf("%s: %d, want %d", tt.path, l.Total, tt.total)
		}
		if tt.first != "" && !strings.Contains(string(l.Items[0]), tt.first) {
			t.Errorf("%s: %s, want it to contain %s", tt.path, l.Items[0], tt.first)
		}
	}
	if status, _, body := get(t, s, "/sites/1/settings.json"); status != 200 || !strings.Contains(string(body), `"timezone":"Europe/Stockholm"`) {
		t.Errorf("settings: %d %s", status, body)
	}
}

// serve starts s on a real connection.
func serve(t *testing.T, s *fakesitoo.Server) func(ctx context.Context, path string) (*http.Response, []byte, error) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return func(ctx context.Context, path string) (*http.Response, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v2/accounts/90001"+path, nil)
		if err != nil {
			return nil, nil, err
		}
		req.SetBasicAuth("90001-1", "demo-password")
		resp, err := server.Client().Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
}

func TestOneRequestInFlight(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 200, RetryAfter: "3", RateLimitReset: "1700000000"})
	call := serve(t, s)
	// One after the other never meets the limit, on as many connections as one likes.
	for i := range 100 {
		if resp, body, err := call(t.Context(), "/orders.json?num=3"); err != nil || resp.StatusCode != 200 {
			t.Fatalf("request %d: %v %s", i, err, body)
		}
	}
	if got := s.MaxInFlight(); got != 1 {
		t.Fatalf("%d in flight, want 1", got)
	}

	holding := make(chan struct{})
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Hang, Match: func(*http.Request) bool { close(holding); return true }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := call(ctx, "/orders.json")
		ended <- err
	}()
	<-holding
	resp, body, err := call(t.Context(), "/sites/1/stores.json")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"statuscode":429,"errortext":"Too many connections"}`; resp.StatusCode != 429 || string(body) != want {
		t.Errorf("got %d %s, want %s", resp.StatusCode, body, want)
	}
	if resp.Header.Get("Retry-After") != "3" || resp.Header.Get("X-Rate-Limit-Reset") != "1700000000" {
		t.Errorf("headers %v", resp.Header)
	}
	if got := s.MaxInFlight(); got != 2 {
		t.Errorf("%d in flight, want 2", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the hanging request: %v", err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 20})
	call := serve(t, s)

	s.Inject(fakesitoo.Fault{Status: 503, Header: http.Header{"Retry-After": {"9"}}, Times: 2})
	for range 2 {
		resp, body, err := call(t.Context(), "/orders.json")
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "9" || string(body) != `{"statuscode":503,"errortext":"Service Unavailable"}` {
			t.Errorf("status: %v %s %v", resp, body, err)
		}
	}
	if resp, _, err := call(t.Context(), "/orders.json"); err != nil || resp.StatusCode != 200 {
		t.Errorf("after two faults: %v %v", resp, err)
	}

	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Garbage})
	if resp, body, err := call(t.Context(), "/orders.json"); err != nil || resp.StatusCode != 200 || json.Valid(body) {
		t.Errorf("garbage: %v %s %v", resp, body, err)
	}
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Garbage, Status: 502, Body: "bad"})
	if resp, body, err := call(t.Context(), "/orders.json"); err != nil || resp.StatusCode != 502 || string(body) != "bad" {
		t.Errorf("garbage of our own: %v %s %v", resp, body, err)
	}
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Cut})
	if _, _, err := call(t.Context(), "/orders.json"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v, want an unexpected end", err)
	}
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Reset, Times: -1})
	for range 3 {
		if _, _, err := call(t.Context(), "/orders.json"); err == nil {
			t.Error("reset: an answer")
		}
	}
	s.Heal()
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Slow, Delay: time.Millisecond, Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "orders") }})
	if resp, _, err := call(t.Context(), "/sites.json"); err != nil || resp.StatusCode != 200 {
		t.Errorf("unmatched: %v %v", resp, err)
	}
	if resp, _, err := call(t.Context(), "/orders.json"); err != nil || resp.StatusCode != 200 {
		t.Errorf("slow: %v %v", resp, err)
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 20})
	first := generate(t, 5, 1)[0].ID
	good := []string{
		`{"orderid":7,"eshopid":1,"note":"kept as it is","moneytotal_net":"12,50"}`,
		fmt.Sprintf(`{"orderid":%d,"eshopid":1,"email":"new@example.com"}`, first),
		`{"orderid":9000000,"eshopid":1,"additionaldata":{"pos-receiptid":"R9"},"creditorderid":7,"externalid":null}`,
	}
	for _, o := range good {
		if err := s.Add(json.RawMessage(o)); err != nil {
			t.Errorf("add %s: %v", o, err)
		}
	}
	if _, _, body := get(t, s, "/sites/1/orders/7.json"); string(body) != good[0] {
		t.Errorf("got %s, want %s", body, good[0])
	}
	l := getList(t, s, "/orders.json?sort=orderid&num=100")
	ids := make([]int64, 0, len(l.Items))
	for _, o := range l.orders(t) {
		ids = append(ids, o.ID)
	}
	if l.Total != 22 || !slices.IsSorted(ids) || ids[0] != 7 || ids[21] != 9000000 {
		t.Errorf("%d orders, %v", l.Total, ids)
	}
	for _, query := range []string{"receiptid=R9", "creditorderid=7", "email=new@example.com"} {
		if l := getList(t, s, "/orders.json?"+query); l.Total != 1 {
			t.Errorf("%s: %d, want 1", query, l.Total)
		}
	}
	for _, o := range []string{``, `[]`, `"x"`, `{"orderid":0}`, `{}`, `{"orderid":"x"}`, `{"orderid":1,"email":5}`, `{"orderid":1.5}`, `{"orderid":1} {}`} {
		if err := s.Add(json.RawMessage(o)); err == nil {
			t.Errorf("added %s", o)
		}
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []fakesitoo.Request
	s := fakesitoo.New(fakesitoo.Options{Observe: func(r fakesitoo.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r)
	}})
	call := serve(t, s)
	for _, path := range []string{"/orders.json?num=1", "/nothing"} {
		if _, _, err := call(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	want := []fakesitoo.Request{
		{Method: "GET", Path: "/v2/accounts/90001/orders.json", Query: "num=1", Status: 200},
		{Method: "GET", Path: "/v2/accounts/90001/nothing", Status: 404},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestSell(t *testing.T) {
	t.Parallel()
	type copied struct {
		path, auth string
		order      order
	}
	copies := make(chan copied, 1)
	status, reply := 200, `{}`
	connector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		copies <- copied{r.Method + " " + r.URL.Path, r.Header.Get("Authorization"), decode(t, body)}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, reply)
	}))
	t.Cleanup(connector.Close)
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	s := fakesitoo.New(fakesitoo.Options{Orders: 20, Connector: connector.URL + "/sitoo", Token: "demo-key", Now: func() time.Time { return now }})

	sell := func(body string) (order, string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_sell", strings.NewReader(body)))
		var out struct {
			Order     json.RawMessage `json:"order"`
			Connector json.RawMessage `json:"connector"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
			t.Fatalf("sell %s: %d %s", body, w.Code, w.Body)
		}
		c := <-copies
		if c.path != "POST /sitoo/transactions" || c.auth != "Bearer demo-key" {
			t.Errorf("sell %s: the connector got %s, %s", body, c.path, c.auth)
		}
		o := decode(t, out.Order)
		if diff := cmp.Diff(o, c.order); diff != "" {
			t.Errorf("sell %s: the copy differs (-order +copy):\n%s", body, diff)
		}
		if _, _, single := get(t, s, fmt.Sprintf("/sites/1/orders/%d.json", o.ID)); !bytes.Equal(single, out.Order) {
			t.Errorf("sell %s: the shop has %s", body, single)
		}
		if o.State != 10 || o.Payment != 20 || o.Date != now.Unix() {
			t.Errorf("sell %s: not finished now: %+v", body, o)
		}
		return o, string(out.Connector)
	}

	anonymous, said := sell(``)
	if anonymous.Email != "" || anonymous.All.String() != "191.9" || len(anonymous.Items) != 2 {
		t.Errorf("anonymous: %+v", anonymous)
	}
	if want := `{"url":"` + connector.URL + `/sitoo/transactions","status":200,"body":{}}`; said != want {
		t.Errorf("the connector said %s, want %s", said, want)
	}

	bought, _ := sell(`{"contactid":"255934463","payment":"cash","rows":[{"sku":"JA-300-L","discount":"100.00","bonuscheckid":"bc-1"},{"sku":"TE-KG","quantity":2}]}`)
	if bought.Email != "kund.tre@example.com" || bought.Additional["customcrm-contactid"] != "255934463" || bought.ID != anonymous.ID+1 {
		t.Errorf("known contact: %+v", bought)
	}
	if r := bought.Items[0]; r.Discount.String() != "80" || r.Additional["customcrm-bonuscheckid"] != "bc-1" {
		t.Errorf("bonus row: %+v", r)
	}
	if got := bought.All.String(); got != "1124" {
		t.Errorf("total %s, want 1124", got) // 1000 - 100 + 2 bags of 250 g at 448 a kg
	}

	status, reply = 503, "not now"
	back, said := sell(fmt.Sprintf(`{"creditorderid":%d,"rows":[{"sku":"JA-300-L"}]}`, bought.ID))
	if back.Credit == nil || *back.Credit != bought.ID || back.All.String() != "-900" || back.Email != bought.Email {
		t.Errorf("return: %+v", back)
	}
	if !strings.Contains(said, `"status":503,"body":"not now"`) {
		t.Errorf("the connector said %s", said)
	}
	generated := generate(t, 0, 1)[0]
	if back, _ := sell(fmt.Sprintf(`{"creditorderid":%d}`, generated.ID)); !back.TotalNet.Equal(generated.TotalNet.Neg()) {
		t.Errorf("return of a made order: %s, want %s", back.TotalNet, generated.TotalNet.Neg())
	}

	connector.Close()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_sell", strings.NewReader(`{}`)))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"error":"`) {
		t.Errorf("connector down: %d %s", w.Code, w.Body)
	}
}

// sell makes a sale in a shop without a connector.
func sell(t *testing.T, s *fakesitoo.Server, body string) order {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_sell", strings.NewReader(body)))
	var out struct {
		Order json.RawMessage `json:"order"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 200 {
		t.Fatalf("sell %s: %d %s", body, w.Code, w.Body)
	}
	return decode(t, out.Order)
}

// gross is the discount of a row, VAT included, as the contract says to work it
// out of the row.
func gross(i item) string {
	return i.Discount.Mul(i.TotalDecimal).Mul(decimal.NewFromInt(100 + i.VATPercent)).Div(decimal.NewFromInt(100)).StringFixed(2)
}

// A row's discount goes in with VAT and stands in the order per unit and net.
func TestSellDiscounts(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{})
	for name, tt := range map[string]struct {
		row      string
		discount string // per unit and net
		gross    string // of the row
		total    string // of the row
		keys     map[string]string
	}{
		"a bonus check":           {`{"sku":"JA-300-L","discount":"100.00","bonuscheckid":"bc-1001"}`, "80.00", "100.00", "900.00", map[string]string{"customcrm-bonuscheckid": "bc-1001"}},
		"a promotion":             {`{"sku":"SO-200-39","quantity":2,"discount":"79.90","promotionid":"P-7"}`, "31.96", "79.90", "79.90", map[string]string{"customcrm-promotionid": "P-7"}},
		"both":                    {`{"sku":"BK-001","discount":"10.60","promotionid":"P-7","bonuscheckid":"bc-1"}`, "10.00", "10.60", "201.40", map[string]string{"customcrm-bonuscheckid": "bc-1", "customcrm-promotionid": "P-7"}},
		"neither":                 {`{"sku":"CF-250","quantity":2,"discount":"11.20"}`, "5.00", "11.20", "100.80", nil},
		"a promotion for nothing": {`{"sku":"CF-250","promotionid":"P-8"}`, "0.00", "0.00", "56.00", map[string]string{"customcrm-promotionid": "P-8"}},
		"three do not share it":   {`{"sku":"CF-250","quantity":3,"discount":"100.00","bonuscheckid":"bc-1"}`, "29.76", "99.99", "68.01", map[string]string{"customcrm-bonuscheckid": "bc-1"}},
		"more than it costs":      {`{"sku":"CF-250","discount":"100.00","bonuscheckid":"bc-1"}`, "50.00", "56.00", "0.00", map[string]string{"customcrm-bonuscheckid": "bc-1"}},
		"by weight":               {`{"sku":"TE-KG","quantity":2,"discount":"56.00","bonuscheckid":"bc-1"}`, "100.00", "56.00", "168.00", map[string]string{"customcrm-bonuscheckid": "bc-1"}},
	} {
		o := sell(t, s, `{"contactid":"255934464","rows":[`+tt.row+`]}`)
		back := sell(t, s, fmt.Sprintf(`{"creditorderid":%d,"repeatchecks":true}`, o.ID))
		if len(o.Items) != 1 || len(back.Items) != 1 {
			t.Fatalf("%s: %d rows, %d returned", name, len(o.Items), len(back.Items))
		}
		i, r := o.Items[0], back.Items[0]
		if got := i.Discount.StringFixed(2); got != tt.discount {
			t.Errorf("%s: discount %s, want %s", name, got, tt.discount)
		}
		if got := gross(i); got != tt.gross {
			t.Errorf("%s: discount of the row %s, want %s", name, got, tt.gross)
		}
		if got := i.Net.Add(i.VAT).StringFixed(2); got != tt.total || !o.All.Equal(i.Net.Add(i.VAT)) {
			t.Errorf("%s: the row costs %s, the order %s; want %s", name, got, o.All, tt.total)
		}
		if !r.Discount.Equal(i.Discount) || !r.Original.Equal(i.Original) || !r.UnitNet.Equal(i.UnitNet) || !r.Net.Equal(i.Net.Neg()) || !r.VAT.Equal(i.VAT.Neg()) {
			t.Errorf("%s: sold as %+v, returned as %+v", name, i, r)
		}
		for _, k := range []string{"customcrm-bonuscheckid", "customcrm-promotionid"} {
			if i.Additional[k] != tt.keys[k] || r.Additional[k] != tt.keys[k] {
				t.Errorf("%s: %s is %q, on the return %q; want %q", name, k, i.Additional[k], r.Additional[k], tt.keys[k])
			}
		}
	}
}

// What a return has of the purchase, whole and in part, with and without the
// customer and the bonus check.
func TestSellReturns(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{})
	bought := sell(t, s, `{"contactid":"255934464","rows":[
		{"sku":"CH-070"},{"sku":"SO-200-39","quantity":3,"discount":"60.00","bonuscheckid":"bc-1001","promotionid":"P-7"},{"sku":"SO-200-39"},{"sku":"JA-300-L"}]}`)
	type row struct {
		Of    string // pos-originalsales-orderitemid
		Count int64
		Check string // bonus check and promotion
	}
	for name, tt := range map[string]struct {
		body  string
		rows  []row
		total string
	}{
		"all":                          {``, []row{{"0", -1, " "}, {"1", -3, " "}, {"2", -1, " "}, {"3", -1, " "}}, "-1287.60"},
		"all, and its checks":          {`,"repeatchecks":true`, []row{{"0", -1, " "}, {"1", -3, "bc-1001 P-7"}, {"2", -1, " "}, {"3", -1, " "}}, "-1287.60"},
		"a sku":                        {`,"rows":[{"sku":"SO-200-39"}]`, []row{{"1", -3, " "}, {"2", -1, " "}}, "-259.60"},
		"one of three":                 {`,"rows":[{"sku":"SO-200-39","quantity":1}]`, []row{{"1", -1, " "}}, "-59.90"},
		"one of three, and its checks": {`,"repeatchecks":true,"rows":[{"sku":"SO-200-39","quantity":1}]`, []row{{"1", -1, "bc-1001 P-7"}}, "-59.90"},
		"over two rows":                {`,"rows":[{"sku":"SO-200-39","quantity":4}]`, []row{{"1", -3, " "}, {"2", -1, " "}}, "-259.60"},
		"named twice":                  {`,"rows":[{"sku":"SO-200-39","quantity":1},{"sku":"JA-300-L"},{"sku":"SO-200-39","quantity":1}]`, []row{{"1", -2, " "}, {"3", -1, " "}}, "-1119.80"},
		"named again, as a whole":      {`,"rows":[{"sku":"SO-200-39","quantity":1},{"sku":"SO-200-39"},{"sku":"SO-200-39"}]`, []row{{"1", -3, " "}, {"2", -1, " "}}, "-259.60"},
		"without the customer":         {`,"anonymous":true,"rows":[{"sku":"SO-200-39","quantity":2}]`, []row{{"1", -2, " "}}, "-119.80"},
	} {
		back := sell(t, s, fmt.Sprintf(`{"creditorderid":%d%s}`, bought.ID, tt.body))
		var rows []row
		for i, it := range back.Items {
			if it.Position != i || it.Additional["reasoncode-return"] == "" {
				t.Errorf("%s: row %d is %+v", name, i, it)
			}
			rows = append(rows, row{it.Additional["pos-originalsales-orderitemid"], it.Quantity, it.Additional["customcrm-bonuscheckid"] + " " + it.Additional["customcrm-promotionid"]})
		}
		if diff := cmp.Diff(tt.rows, rows); diff != "" {
			t.Errorf("%s: rows differ (-want +got):\n%s", name, diff)
		}
		if got := back.All.StringFixed(2); got != tt.total {
			t.Errorf("%s: total %s, want %s", name, got, tt.total)
		}
		if back.Credit == nil || *back.Credit != bought.ID || back.Additional["pos-originalsales-orderid"] != fmt.Sprint(bought.ID) {
			t.Errorf("%s: it gives back %v and %q, want order %d", name, back.Credit, back.Additional["pos-originalsales-orderid"], bought.ID)
		}
		who := []string{back.Email, back.Phone, back.Additional["customcrm-contactid"], back.Additional["customcrm-membernumber"]}
		want := []string{"kund.fyra@example.com", "+46701740608", "255934464", "100004"}
		if name == "without the customer" {
			want = []string{"", "", "", ""}
		}
		if diff := cmp.Diff(want, who); diff != "" {
			t.Errorf("%s: the customer differs (-want +got):\n%s", name, diff)
		}
	}
	// The purchase stands as it was.
	var again order
	_, _, single := get(t, s, fmt.Sprintf("/sites/1/orders/%d.json", bought.ID))
	if again = decode(t, single); again.Items[1].Additional["customcrm-bonuscheckid"] != "bc-1001" {
		t.Errorf("after the returns the purchase is %+v", again)
	}
}

func TestSellRefuses(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 20})
	of := sell(t, s, `{"rows":[{"sku":"CF-250","quantity":2}]}`)
	bought := func(more string) string { return fmt.Sprintf(`{"creditorderid":%d,%s}`, of.ID, more) }
	tests := []struct{ body, text string }{
		{`{`, "not readable"},
		{`{"mail":"x"}`, `unknown field`},
		{`[]`, "not readable"},
		{`{"rows":[{"sku":"nothing"}]}`, "rows[0].sku: the shop does not sell"},
		{`{"rows":[{"sku":"CF-250","quantity":-1}]}`, "rows[0].quantity"},
		{`{"rows":[{"sku":"CF-250","discount":"1e9"}]}`, "rows[0].discount"},
		{`{"rows":[{"sku":"CF-250","discount":"-0.01"}]}`, "rows[0].discount"},
		{`{"payment":"swish"}`, "payment:"},
		{`{"creditorderid":1}`, "the shop has no order 1"},
		{`{"anonymous":true}`, "anonymous: only for a return"},
		{`{"anonymous":true,"contactid":"255934464"}`, "anonymous: only for a return"},
		{bought(`"anonymous":true,"email":"kund.ett@example.com"`), "anonymous: contactid, membernumber, email or phone"},
		{bought(`"rows":[{"sku":"BK-001"}]`), "has no such row"},
		{bought(`"rows":[{"sku":"BK-001","quantity":1}]`), "has 0 of BK-001 to give back, not 1"},
		{bought(`"rows":[{"sku":"CF-250","quantity":3}]`), "has 2 of CF-250 to give back, not 3"},
		{bought(`"rows":[{"sku":"CF-250","quantity":-1}]`), "rows[0].quantity: how many"},
		{bought(`"rows":[{"sku":"CF-250","bonuscheckid":"bc-1"}]`), "rows[0]: a return keeps"},
		{`{"email":"` + strings.Repeat("x", 1<<20) + `"}`, "not readable"},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_sell", strings.NewReader(tt.body)))
		if w.Code != 400 || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%.60s: %d %s, want 400 with %s", tt.body, w.Code, w.Body, tt.text)
		}
	}
	if l := getList(t, s, "/orders.json"); l.Total != 21 {
		t.Errorf("%d orders after refusals, want 21", l.Total)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 80, Connector: "http://127.0.0.1:3000/sitoo"})
	if err := s.Add(json.RawMessage(`{"orderid":999999,"eshopid":1,"email":"<script>@example.com","additionaldata":{"x":1}}`)); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	body := w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, want := range []string{"90001-1:demo-password", "127.0.0.1:3000/sitoo/transactions", ">999999<", "&lt;script&gt;", "(of 81)", "return of", "web order"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := strings.Count(body, `<tr><td data-head="Order">`); got != 50 {
		t.Errorf("%d orders on the page, want 50", got)
	}
}

func FuzzAPI(f *testing.F) {
	for _, seed := range []string{
		"orders.json?num=5&sort=orderid&fields=orderid", "sites/1/orders/200001.json", "sites/{X}/orders", "orders.json?orderid=1,,x",
		"orders.json?start=9223372036854775807&num=9223372036854775807", "//..//", "sites.json?start=-9",
	} {
		f.Add(seed)
	}
	s := fakesitoo.New(fakesitoo.Options{Orders: 40})
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut("/v2/accounts/90001/"+path, "?")
		r.SetBasicAuth("90001-1", "demo-password")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("not JSON: %s", w.Body)
		}
		if !slices.Contains([]int{200, 400, 404}, w.Code) {
			t.Errorf("status %d", w.Code)
		}
	})
}

func FuzzAdd(f *testing.F) {
	for o := range fakesitoo.Generate(1, 3) {
		f.Add([]byte(o))
	}
	f.Add([]byte(`{"orderid":1,"orderid":2,"additionaldata":null,"orderdate":1e3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := fakesitoo.New(fakesitoo.Options{})
		if s.Add(data) != nil {
			return
		}
		if l := getList(t, s, "/orders.json?fields=orderid"); l.Total != 1 {
			t.Errorf("%d orders", l.Total)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != 200 {
			t.Errorf("the page: %d", w.Code)
		}
	})
}
