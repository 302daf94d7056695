package fakesitoo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// credentials are those that a shop has by itself.
func credentials(base string, site int64) sitoo.Credentials {
	return sitoo.Credentials{
		BaseURL: base, AccountID: fmt.Sprint(fakesitoo.DefaultAccountID), Site: site,
		APIID: fakesitoo.DefaultAPIID, Password: fakesitoo.DefaultPassword,
	}
}

// client reads a site of s in this process, as the connector does.
func client(s *fakesitoo.Server, site int64, now func() time.Time) *sitoo.Shop {
	c := sitoo.NewREST(sitoo.RESTConfig{HTTP: s.Client(), Pause: -1, Now: now, Jitter: func() float64 { return 0 }})
	return c.Shop(credentials("https://api.mysitoo.com", site))
}

// readAll pages through a site as a backfill does, and comes back after an error
// when it is told to.
func readAll(t *testing.T, shop *sitoo.Shop, q sitoo.Query, clock *time.Time) map[int64]sitoo.Order {
	t.Helper()
	all := map[int64]sitoo.Order{}
	for tries := 0; ; tries++ {
		if tries > 5000 {
			t.Fatal("it does not come to an end")
		}
		page, err := shop.Orders(t.Context(), q)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Busy && kind != fault.Unavailable {
				t.Fatal(err)
			}
			if at := fault.As(err).RetryAt; at.After(*clock) {
				*clock = at
			}
			continue
		}
		for _, o := range page.Orders {
			if err := sitoo.Check(o.Body); err != nil {
				t.Fatalf("order %d: %v", o.ID, err)
			}
			decoded, err := sitoo.DecodeOrder(o.Body)
			if err != nil || decoded.ID != o.ID {
				t.Fatalf("order %d: %v, %v", o.ID, decoded.ID, err)
			}
			if _, twice := all[o.ID]; twice {
				t.Errorf("order %d comes twice", o.ID)
			}
			all[o.ID] = decoded
		}
		if !page.More {
			return all
		}
		q.After = page.Last()
	}
}

// Whatever goes wrong, from whatever seed, the connector's client reads what the
// auditor sees: every order up to the end that it set, once.
func TestClientReadsEverything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			clock := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
			s := fakesitoo.New(fakesitoo.Options{
				Seed: seed, Orders: 600, Grow: 3, MaxNum: 25 + int(seed)*25, Customers: fakesitoo.MakeCustomers(300), RetryAfter: []string{"", "4"}[seed%2],
			})
			shop := client(s, 1, func() time.Time { return clock })
			last, err := shop.LastOrder(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := map[int64]fakesitoo.Audited{}
			for _, a := range s.Audit() {
				if a.Site == 1 && a.ID <= last {
					want[a.ID] = a
				}
			}
			random := rand.New(rand.NewPCG(seed, 0))
			s.SetFault(func(*http.Request) *fakesitoo.Fault {
				if random.IntN(2) == 0 {
					return nil
				}
				return []*fakesitoo.Fault{
					{Kind: fakesitoo.Status, Status: 429},
					{Kind: fakesitoo.Status, Status: 429, Header: http.Header{"Retry-After": {"3"}}},
					{Kind: fakesitoo.Status, Status: 502},
					{Kind: fakesitoo.Garbage},
					{Kind: fakesitoo.Cut},
					{Kind: fakesitoo.Reset},
					{Kind: fakesitoo.Repeat},
				}[random.IntN(7)]
			})
			got := readAll(t, shop, sitoo.Query{Upto: last, Num: 100}, &clock)
			if len(got) != len(want) {
				t.Errorf("%d orders, want %d", len(got), len(want))
			}
			for id, a := range want {
				o, has := got[id]
				if !has {
					t.Errorf("order %d is missing", id)
					continue
				}
				read := fakesitoo.Audited{
					ID: o.ID, Site: 1, Date: o.Date, State: o.State, Payment: o.PaymentState, Type: o.Type, Kind: a.Kind, Till: o.Additional["pos-receiptid"] != "",
					ContactID: o.Additional["customcrm-contactid"], Email: o.Email, Phone: o.Phone, Credits: o.CreditID, Total: o.Total.StringFixed(2),
				}
				if diff := cmp.Diff(a, read); diff != "" {
					t.Errorf("order %d (-auditor +read):\n%s", id, diff)
				}
			}
			if s.MaxInFlight() != 1 {
				t.Errorf("%d requests at the same time, want 1", s.MaxInFlight())
			}
			if len(s.Audit()) <= 600 {
				t.Error("the shop has not grown")
			}
		})
	}
}

// The real client over a real connection: credentials, sites, one order.
func TestClientOverHTTP(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 200})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := sitoo.NewREST(sitoo.RESTConfig{AllowAnyHost: true, Pause: -1})
	info, err := c.Shop(credentials(server.URL, 1)).Check(t.Context())
	all := s.Audit()
	n := 0
	for _, a := range all {
		if a.Site == 1 {
			n++
		}
	}
	want := sitoo.ShopInfo{Site: 1, URL: "https://shop.example.com/", Orders: n, LastOrder: all[199].ID}
	if err != nil || info != want {
		t.Errorf("check: %+v, %v, want %+v", info, err, want)
	}
	wrong := credentials(server.URL, 1)
	wrong.Password = "another"
	if _, err := c.Shop(wrong).Check(t.Context()); fault.KindOf(err) != fault.Unauthorized || !strings.Contains(err.Error(), "status 401: Authentication failed") {
		t.Errorf("wrong password: %v", err)
	}
	if _, err := c.Shop(credentials(server.URL, 7)).Check(t.Context()); fault.KindOf(err) != fault.Invalid || fault.As(err).Member != "site" {
		t.Errorf("another site: %v", err)
	}
	shop := c.Shop(credentials(server.URL, 1))
	body, err := shop.Order(t.Context(), all[3].ID)
	if o, err2 := sitoo.DecodeOrder(body); err != nil || err2 != nil || o.Total.StringFixed(2) != all[3].Total {
		t.Errorf("order: %v, %v, %v", o, err, err2)
	}
	if _, err := shop.Order(t.Context(), 5); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no order: %v", err)
	}
	wantIDs := []int64{all[2].ID, all[7].ID}
	page, err := shop.Orders(t.Context(), sitoo.Query{IDs: []int64{all[7].ID, 5, all[2].ID}})
	var got []int64
	for _, o := range page.Orders {
		got = append(got, o.ID)
	}
	if diff := cmp.Diff(wantIDs, got); err != nil || diff != "" {
		t.Errorf("orders by id: %v (-want +got):\n%s", err, diff)
	}
	from, to := all[50].Date, all[90].Date
	var within []int64
	for _, a := range all {
		if a.Site == 1 && !a.Date.Before(from) && a.Date.Before(to) {
			within = append(within, a.ID)
		}
	}
	page, err = shop.Orders(t.Context(), sitoo.Query{From: from, To: to, Addresses: true})
	got = nil
	for _, o := range page.Orders {
		if d, err := sitoo.DecodeOrder(o.Body); err != nil {
			t.Error(err)
		} else if !d.Date.Before(from) && d.Date.Before(to) {
			got = append(got, o.ID)
		}
	}
	if diff := cmp.Diff(within, got); err != nil || diff != "" {
		t.Errorf("orders between dates: %v (-want +got):\n%s", err, diff)
	}
}

func TestGrow(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 100})
	before := s.Audit()
	var added []int64
	for n := range 40 {
		added = append(added, s.Grow(n%4)...)
		after := s.Audit()
		if diff := cmp.Diff(before, after[:len(before)]); diff != "" {
			t.Errorf("old orders changed (-before +after):\n%s", diff)
		}
		before = after
	}
	all := s.Audit()
	if len(added) != 60 || len(all) != 160 {
		t.Fatalf("%d orders came, %d are there", len(added), len(all))
	}
	for i, o := range generate(t, 5, 160) {
		if all[i].ID != o.ID || i >= 100 && added[i-100] != o.ID {
			t.Errorf("order %d is %d, want %d as in a shop of 160", i, all[i].ID, o.ID)
		}
	}
	// Orders that are sold in between have lower ids than those that come later.
	for range 30 {
		sold := sell(t, s, `{}`).ID
		if ids := s.Grow(1); ids[0] <= sold {
			t.Fatalf("order %d comes after %d", ids[0], sold)
		}
	}
	byID := map[int64]order{}
	for _, item := range getList(t, s, "/orders.json?num=1000&sort=orderid").Items {
		o := decode(t, item)
		byID[o.ID] = o
	}
	if len(byID) != 220 {
		t.Errorf("%d orders, want 220", len(byID))
	}
	for id, o := range byID {
		for _, link := range []string{"pos-originalsales-orderid", "pos-refund-orderid", "pos-refundsales-orderid"} {
			if to := o.Additional[link]; to != "" {
				var n int64
				if _, err := fmt.Sscan(to, &n); err != nil || byID[n].ID == 0 {
					t.Errorf("order %d: %s is %s, which is not there", id, link, to)
				}
			}
		}
	}
	if s.Grow(0) != nil && len(s.Grow(-3)) != 0 {
		t.Error("orders where none were asked for")
	}
}

// An option lets orders come in while somebody pages.
func TestGrowOption(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 30, Grow: 2})
	first := getList(t, s, "/orders.json?num=10")
	second := getList(t, s, "/orders.json?num=10&start=10")
	if first.Total != 30 || second.Total != 32 {
		t.Errorf("%d and then %d orders, want 30 and 32", first.Total, second.Total)
	}
	// By position and newest first, orders come twice: that is the trap.
	last, next := first.orders(t), second.orders(t)
	if last[8].ID != next[0].ID || last[9].ID != next[1].ID {
		t.Errorf("page 2 begins with %d, want %d of page 1", next[0].ID, last[8].ID)
	}
	getList(t, s, "/sites.json")
	get(t, s, "/orders.json?num=x")
	if n := len(s.Audit()); n != 34 {
		t.Errorf("%d orders, want 34", n)
	}
}

func TestOpenOrdersEnd(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 5, Orders: 600})
	if err := s.Add(json.RawMessage(`{"orderid":9000000,"eshopid":1,"ordertypeid":10,"orderstateid":0,"paymentstateid":10}`)); err != nil {
		t.Fatal(err)
	}
	open := s.Open()
	if len(open) < 4 || open[len(open)-1] != 9000000 || !slices.IsSorted(open) {
		t.Fatalf("open are %v", open)
	}
	if err := s.Close(open[0], 9000000); err != nil {
		t.Error(err)
	}
	if err := s.Cancel(open[1]); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Close(open[0]), s.Cancel(open[1]), s.Close(5), s.Close(open[2], open[2])} {
		if err == nil {
			t.Error("what is not open is ended")
		}
	}
	one := func(id int64) order {
		_, _, body := get(t, s, fmt.Sprintf("/sites/1/orders/%d.json", id))
		return decode(t, body)
	}
	if o := one(open[0]); o.State != 10 || o.Payment != 20 || len(o.Payments) == 0 || !o.Payments[0].Amount.Equal(o.All) {
		t.Errorf("closed: %+v", o)
	}
	if o := one(open[1]); o.State != 20 || o.Payment != 30 || len(o.Payments) != 0 {
		t.Errorf("cancelled: %+v", o)
	}
	if o := one(9000000); o.State != 10 || o.Payment != 20 {
		t.Errorf("closed, added: %+v", o)
	}
	if diff := cmp.Diff(open[3:len(open)-1], s.Open()); diff != "" {
		t.Errorf("still open (-want +got):\n%s", diff)
	}
	kinds := map[int64]string{}
	for _, a := range s.Audit() {
		kinds[a.ID] = a.Kind
	}
	if got := []string{kinds[open[0]], kinds[open[1]], kinds[9000000], kinds[open[3]]}; !slices.Equal(got, []string{fakesitoo.Purchase, fakesitoo.Cancelled, fakesitoo.Purchase, fakesitoo.Open}) {
		t.Errorf("the auditor sees %v", got)
	}
	l := getList(t, s, "/orders.json?orderstate=0&ordertype=10&num=100")
	if l.Total != len(open)-4 {
		t.Errorf("%d open in the list, want %d", l.Total, len(open)-4)
	}
}

// The auditor and the API say the same of every order.
func TestAudit(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Seed: 2, Orders: 500})
	for _, o := range []string{
		`{"orderid":9000000,"eshopid":2,"registerid":"{X}","phone":"+46701740605","moneytotal_gross_all":"-5.00","ordertypeid":10,"orderstateid":10,"paymentstateid":20,"orderdate":1700000000,"email":"kund.ett@example.com","additionaldata":{"customcrm-contactid":"7"}}`,
		`{"orderid":9000001,"registerid":null,"phone":5,"moneytotal_gross_all":7,"additionaldata":{"customcrm-contactid":7}}`,
	} {
		if err := s.Add(json.RawMessage(o)); err != nil {
			t.Fatal(err)
		}
	}
	sell(t, s, `{"contactid":"255934463"}`)
	audit := s.Audit()
	l := getList(t, s, "/orders.json?num=1000&sort=orderid&fields=orderid,eshopid,orderdate,orderstateid,paymentstateid,ordertypeid,registerid,email,phone,creditorderid,moneytotal_gross_all,additionaldata")
	if l.Total != 503 || len(audit) != 503 {
		t.Fatalf("%d orders, %d audited", l.Total, len(audit))
	}
	seen := map[string]int{}
	for i, a := range audit {
		seen[a.Kind]++
		if a.ID == 9000001 {
			want := fakesitoo.Audited{ID: 9000001, Date: time.Unix(0, 0).UTC(), Kind: fakesitoo.Open}
			if diff := cmp.Diff(want, a); diff != "" {
				t.Errorf("added without anything (-want +got):\n%s", diff)
			}
			continue
		}
		o := decode(t, l.Items[i])
		want := fakesitoo.Audited{
			ID: o.ID, Site: o.ShopID, Date: time.Unix(o.Date, 0).UTC(), State: int(o.State), Payment: int(o.Payment), Type: int(o.Type),
			Kind: a.Kind, Till: o.Register != nil, ContactID: o.Additional["customcrm-contactid"], Email: o.Email, Phone: o.Phone, Total: o.All.StringFixed(2),
		}
		if o.Credit != nil {
			want.Credits = *o.Credit
		}
		if diff := cmp.Diff(want, a); diff != "" {
			t.Errorf("order %d (-API +auditor):\n%s", o.ID, diff)
		}
		if o.State == 10 && o.Type == 10 && !o.All.IsZero() && (a.Kind == fakesitoo.Return) != o.All.IsNegative() {
			t.Errorf("order %d of %s is a %s", o.ID, o.All, a.Kind)
		}
	}
	for _, kind := range []string{fakesitoo.Purchase, fakesitoo.Return, fakesitoo.Open, fakesitoo.Cancelled, fakesitoo.Abandoned, fakesitoo.Booking, fakesitoo.Parked} {
		if seen[kind] == 0 {
			t.Errorf("no order is %s", kind)
		}
	}
}

func TestMakeCustomers(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(fakesitoo.DefaultCustomers(), fakesitoo.MakeCustomers(20)); diff != "" {
		t.Errorf("the first 20 (-want +got):\n%s", diff)
	}
	for _, n := range []int{-1, 0, 3} {
		if got := len(fakesitoo.MakeCustomers(n)); got != max(n, 0) {
			t.Errorf("%d customers, want %d", got, n)
		}
	}
	all := fakesitoo.MakeCustomers(3000)
	seen := map[string]bool{}
	for i, c := range all {
		for _, id := range []string{c.ContactID, c.MemberNumber, c.Email, c.Phone} {
			if id != "" && seen[id] || id == "" && id != c.Phone {
				t.Errorf("customer %d: %q", i, id)
			}
			seen[id] = true
		}
		if (c.Phone != "") != (i < 95) || c.Phone > "+46701740699" {
			t.Errorf("customer %d has the phone %q", i, c.Phone)
		}
	}
	// In a shop of many, some buy a lot and many a little, by every way there is.
	orders, phones, emails := map[string]int{}, 0, 0
	for _, a := range fakesitoo.New(fakesitoo.Options{Orders: 20_000, Customers: all}).Audit() {
		switch {
		case a.ContactID != "":
			orders[a.ContactID]++
		case a.Phone != "" && a.Email == "":
			phones++
		case a.Email != "" && a.Phone == "":
			emails++
		}
	}
	most, few := 0, 0
	for _, n := range orders {
		most = max(most, n)
		if n <= 5 {
			few++
		}
	}
	if most < 100 || few < 1000 || len(orders) < 2500 || phones < 500 || emails < 500 {
		t.Errorf("the best of %d customers has %d orders, %d have at most 5; %d orders by phone, %d by email", len(orders), most, few, phones, emails)
	}
}

func TestSetFault(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 40})
	n := 0
	s.SetFault(func(r *http.Request) *fakesitoo.Fault {
		if n++; n%2 == 0 || !strings.Contains(r.URL.Path, "orders") {
			return nil
		}
		return &fakesitoo.Fault{Status: 429, Header: http.Header{"Retry-After": {"5"}}}
	})
	for i, want := range []int{429, 200, 429} {
		status, h, body := get(t, s, "/orders.json")
		if status != want || (want == 429) != (h.Get("Retry-After") == "5") || want == 429 && string(body) != `{"statuscode":429,"errortext":"Too many connections"}` {
			t.Errorf("request %d: %d %v %s, want %d", i, status, h, body, want)
		}
	}
	s.Inject(fakesitoo.Fault{Status: 500})
	if status, _, _ := get(t, s, "/orders.json"); status != 500 || n != 3 {
		t.Errorf("%d, asked %d times; an injected fault comes first", status, n)
	}
	s.Heal()
	if status, _, _ := get(t, s, "/orders.json"); status != 200 || n != 3 {
		t.Errorf("healed: %d, asked %d times", status, n)
	}
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	s := fakesitoo.New(fakesitoo.Options{Orders: 40})
	all := s.Audit()
	page := func(first int) []int64 {
		var got []int64
		for _, o := range getList(t, s, fmt.Sprintf("/orders.json?sort=orderid&num=3&orderidfrom=%d", all[first].ID)).orders(t) {
			got = append(got, o.ID)
		}
		return got
	}
	s.Inject(fakesitoo.Fault{Kind: fakesitoo.Repeat, Times: 2})
	for first, want := range map[int][]int64{
		0: {all[0].ID, all[1].ID, all[2].ID, all[0].ID},
		9: {all[8].ID, all[9].ID, all[10].ID, all[11].ID, all[9].ID},
	} {
		if diff := cmp.Diff(want, page(first)); diff != "" {
			t.Errorf("from %d on (-want +got):\n%s", first, diff)
		}
	}
	if got := page(9); len(got) != 3 {
		t.Errorf("then %v", got)
	}
}

// In this process faults look as they do over a network, and time is the
// bubble's.
func TestClientInProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fakesitoo.New(fakesitoo.Options{Orders: 40, Latency: func(n int) time.Duration { return time.Duration(n) * time.Second }})
		call := func(timeout time.Duration, path string) (int, []byte, error) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.mysitoo.com/v2/accounts/90001"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth(fakesitoo.DefaultAPIID, fakesitoo.DefaultPassword)
			res, err := s.Client().Do(r)
			if err != nil {
				return 0, nil, err
			}
			body, err := io.ReadAll(res.Body)
			return res.StatusCode, body, errors.Join(err, res.Body.Close())
		}
		start := time.Now()
		status, body, err := call(time.Minute, "/orders.json?num=7")
		if err != nil || status != 200 || !json.Valid(body) || time.Since(start) != 7*time.Second {
			t.Errorf("a page of 7: %d %s %v in %v", status, body, err, time.Since(start))
		}
		if _, _, err := call(time.Second, "/orders.json?num=7"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too slow: %v", err)
		}
		for name, tt := range map[string]struct {
			fault fakesitoo.Fault
			want  error
		}{
			"hang":     {fakesitoo.Fault{Kind: fakesitoo.Hang}, context.DeadlineExceeded},
			"slow":     {fakesitoo.Fault{Kind: fakesitoo.Slow, Delay: time.Hour}, context.DeadlineExceeded},
			"cut":      {fakesitoo.Fault{Kind: fakesitoo.Cut}, io.ErrUnexpectedEOF},
			"one more": {fakesitoo.Fault{Kind: fakesitoo.Slow, Delay: time.Second}, nil},
		} {
			s.Inject(tt.fault)
			if _, _, err := call(time.Minute, "/orders.json?num=1"); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		s.Inject(fakesitoo.Fault{Kind: fakesitoo.Reset})
		if _, _, err := call(time.Minute, "/orders.json"); err == nil || !strings.Contains(err.Error(), "reset by peer") {
			t.Errorf("reset: %v", err)
		}
		// Two at the same time: the second one is refused.
		go func() { _, _, _ = call(time.Minute, "/orders.json?num=5") }()
		synctest.Wait()
		if status, _, err := call(time.Minute, "/sites.json"); status != 429 || err != nil {
			t.Errorf("the second of two: %d, %v", status, err)
		}
		time.Sleep(time.Minute)
		if s.MaxInFlight() != 2 {
			t.Errorf("%d in flight, want 2", s.MaxInFlight())
		}
		res, err := s.Client().Post("http://any/_sell", "application/json", strings.NewReader(`{"email":"kund.ett@example.com"}`))
		if err != nil || res.StatusCode != 200 {
			t.Errorf("sell: %v, %v", res, err)
		}
	})
}

// BenchmarkNew makes a shop of 50,000 orders.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	customers := fakesitoo.MakeCustomers(3000)
	for b.Loop() {
		fakesitoo.New(fakesitoo.Options{Orders: 50_000, Customers: customers})
	}
}

// BenchmarkAudit lists one.
func BenchmarkAudit(b *testing.B) {
	s := fakesitoo.New(fakesitoo.Options{Orders: 50_000, Customers: fakesitoo.MakeCustomers(3000)})
	b.ReportAllocs()
	for b.Loop() {
		s.Audit()
	}
}

// BenchmarkBackfill reads 50,000 orders in pages, as the connector does.
func BenchmarkBackfill(b *testing.B) {
	s := fakesitoo.New(fakesitoo.Options{Orders: 50_000, Customers: fakesitoo.MakeCustomers(3000)})
	b.ReportAllocs()
	for b.Loop() {
		shop, q, n := client(s, 1, time.Now), sitoo.Query{}, 0
		for more := true; more; {
			page, err := shop.Orders(b.Context(), q)
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Orders)
			q.After, more = page.Last(), page.More
		}
		if n < 48_000 {
			b.Fatalf("%d orders", n)
		}
	}
}
