package order_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// direct carries requests to a handler in this process.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// nowhere takes every message.
type nowhere struct{}

func (nowhere) Send(context.Context, worker.Message) error { return nil }

// directory is an order.Directory of one account.
type directory struct {
	*memory.Accounts
	rule *rule.Client
	key  error
}

func (d directory) Open(ctx context.Context, scope, _ string) (*account.Visit, error) {
	a, err := d.Get(ctx, scope)
	if errors.Is(err, account.ErrNotFound) {
		return nil, fault.Wrap(fault.NotFound, err, "There is no such account.")
	}
	if err != nil || d.key != nil {
		return nil, errors.Join(err, d.key)
	}
	return &account.Visit{Account: a, Rule: d.rule.Session(fakerule.DefaultKey, a.BlockedUntil, nil)}, nil
}

func (d directory) Get(ctx context.Context, scope string) (account.Account, error) {
	a, _, err := d.Accounts.Get(ctx, scope, "", "")
	return a, err
}

func (d directory) Keys(ctx context.Context, id string) ([]account.Key, error) {
	return d.Accounts.Keys(ctx, id)
}

func (d directory) Verify(context.Context, *account.Visit, time.Duration) error { return nil }

// asks lets a worker speak to Rule through another transport.
func asks(w *order.Worker, c rule.Config) {
	d := w.Directory.(directory)
	d.rule = rule.New(c)
	w.Directory = d
}

// declared stores the account "a" with a schema.
func declared(t *testing.T, s *memory.Accounts, version int) {
	t.Helper()
	if err := s.Create(t.Context(), account.Account{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSchema(t.Context(), "a", version); err != nil {
		t.Fatal(err)
	}
}

func newWorker(t *testing.T) (*order.Worker, *fakerule.Server) {
	t.Helper()
	clock := func() time.Time { return now }
	server := fakerule.New(fakerule.Options{Now: clock})
	if err := server.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	accounts := &memory.Accounts{}
	declared(t, accounts, order.SchemaVersion)
	log := slog.New(slog.DiscardHandler)
	checks := &bonus.Service{Store: &memory.Bonus{}, Syncs: nowhere{}, Log: log, Now: clock, NewID: rand.Text}
	return &order.Worker{
		Deliverer: &order.Deliverer{Customers: &customer.Service{Phones: phone.Parser("SE"), Syncs: nowhere{}, Answers: &memory.Consents{}, Log: log, Now: clock, NewID: rand.Text}, Ledger: &memory.Ledger{}, Accounts: accounts, Phones: phone.Parser("SE"), Bonus: checks, Syncs: nowhere{}, Now: clock, Log: log},
		Directory: directory{Accounts: accounts, rule: rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: direct{server}}, Now: clock, Pause: -1})},
	}, server
}

// A message that can never be delivered says so by its kind; one that is in
// order is delivered.
func TestWork(t *testing.T) {
	t.Parallel()
	const sale = `{"orderid":900001,"additionaldata":{"customcrm-contactid":"255934461"}}`
	for name, c := range map[string]struct {
		body string
		kind fault.Kind
		id   int64
	}{
		"garbage":            {"garbage", fault.Invalid, 0},
		"no order":           {`{"account":"a"}`, fault.Invalid, 0},
		"a null order":       {`{"account":"a","order":null}`, fault.Invalid, 0},
		"a list":             {`{"account":"a","order":[1]}`, fault.Invalid, 0},
		"broken off":         {`{"account":"a","order_gzip":"` + packed(`{"orderid":900001,"email":"kund.ett@exam`) + `"}`, fault.Invalid, 900001},
		"an order of words":  {`{"account":"a","order":{"orderid":"ett"}}`, fault.Invalid, 0},
		"an unknown account": {`{"account":"b","order":` + sale + `}`, fault.NotFound, 900001},
	} {
		w, server := newWorker(t)
		done, err := w.Work(t.Context(), c.body, "attempt-1")
		if fault.KindOf(err) != c.kind || err == nil || done.ID != c.id {
			t.Errorf("%s: order %d, %v; want %d, %s", name, done.ID, err, c.id, c.kind)
		}
		if n := len(server.Requests()); n != 0 {
			t.Errorf("%s: %d requests to Rule", name, n)
		}
	}

	w, _ := newWorker(t)
	w.Directory = directory{w.Directory.(directory).Accounts, nil, errors.New("KMS is down")}
	if done, err := w.Work(t.Context(), `{"account":"a","order":`+sale+`}`, "attempt-1"); fault.KindOf(err) != fault.Internal || err == nil || done.ID != 900001 {
		t.Errorf("a key that cannot be opened: order %d, %v", done.ID, err)
	}
}

// An order without a date has the one on which it came; a message posted by hand
// has that of its delivery.
func TestWorkDate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		date     string
		received time.Time
		want     string
	}{
		"the order's":    {`1727433600`, now.Add(-time.Hour), "2024-09-27 12:40:00"},
		"of its arrival": {`null`, now.Add(-time.Hour), "2026-03-02 09:00:00"},
		"the delivery's": {`null`, time.Time{}, "2026-03-02 10:00:00"},
	} {
		w, server := newWorker(t)
		body, err := order.Message{Account: "a", Received: c.received, Order: json.RawMessage(`{"orderid":900001,"orderdate":` + c.date + `,"additionaldata":{"customcrm-contactid":"255934461"}}`)}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if done, err := w.Work(t.Context(), body, "attempt-1"); err != nil || done.ID != 900001 || done.Session.Calls() == 0 {
			t.Fatalf("%s: order %d, %v", name, done.ID, err)
		}
		entries := server.Entries(fakerule.DefaultKey, 255934461, order.Group)
		if got := entries[len(entries)-1].Value("orderdate"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// packed compresses an order as a message carries what is no JSON.
func packed(order string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(order))
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// Where an order names two people, the first has the entry and the worker is told
// by what the other is named: where Rule is asked anyway, or this process has
// found the other before; an order of a known contact costs no request more.
func TestWorkTellsOfTwoPeople(t *testing.T) {
	t.Parallel()
	w, _ := newWorker(t)
	work := func(id, members, two string, requests int) {
		t.Helper()
		done, err := w.Work(t.Context(), `{"account":"a","order":{"orderid":`+id+`,"orderdate":1772442000,`+members+`}}`, "attempt-"+id)
		if err != nil || done.State != order.Sent || done.Two != two || requests > 0 && done.Session.Calls() != int(requests) {
			t.Errorf("order %s: %s, two by %q, %d requests, %v; want two by %q, %d requests", id, done.State, done.Two, done.Session.Calls(), err, two, requests)
		}
	}
	const one = `"additionaldata":{"customcrm-contactid":"255934461"}`
	work("1", one, "", 0)
	work("2", `"email":"annan@example.com"`, "", 0)
	work("3", one, "", 2)
	work("4", `"email":"annan@example.com"`, "", 0) // found
	work("5", `"email":"annan@example.com",`+one, "email", 2)
	work("6", `"email":"annan@example.com","phone":"070-174 06 98"`, "phone", 0)
}
