package spi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// silent is a Rule that takes every request and never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// Whatever Rule does, a till has its answer within 8 seconds. The time is
// synctest's, so the test takes none.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(r *rig) lambda.Handler
		in   request
	}{
		"find":      {func(r *rig) lambda.Handler { return r.ContactFind(r.customers, r.bonus) }, request{QueryStringParameters: map[string]string{"key": "0701740605"}}},
		"get":       {func(r *rig) lambda.Handler { return r.ContactGet(r.customers, r.bonus) }, request{PathParameters: map[string]string{"contactid": "255934461"}}},
		"add":       {func(r *rig) lambda.Handler { return r.ContactAdd(r.customers) }, request{Body: `{"email":"ny@example.com","acceptedconsents":["11"]}`}},
		"update":    {func(r *rig) lambda.Handler { return r.ContactUpdate(r.customers) }, request{PathParameters: map[string]string{"contactid": "255934461"}, Body: `{"namefirst":"Ny"}`}},
		"consents":  {func(r *rig) lambda.Handler { return r.ConsentList(r.customers) }, request{}},
		"purchases": {func(r *rig) lambda.Handler { return r.PurchaseList() }, request{PathParameters: map[string]string{"contactid": "255934461"}}},
		"first":     {func(r *rig) lambda.Handler { return r.ContactLookup() }, request{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				c.in.Headers = map[string]string{"Authorization": "Bearer " + key}
				if name != "first" { // its account exists before Rule falls silent
					if _, err := r.Accounts.Present(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
				client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: silent{}}})
				r.Accounts.Rule = client
				payload, err := json.Marshal(c.in)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				out, err := c.make(r).Invoke(t.Context(), payload)
				took := time.Since(start)
				var res response
				if err == nil {
					err = json.Unmarshal(out, &res)
				}
				if err != nil || res.StatusCode != 503 || len(res.Body) < 40 {
					t.Errorf("answer %s, %v", out, err)
				}
				if took < 3*time.Second || took > 8*time.Second {
					t.Errorf("it took %s, want two tries and no more than 8 s", took)
				}
			})
		})
	}
}

// reply answers with a status and a body after a while.
func reply(r *http.Request, after time.Duration, status int, body string) (*http.Response, error) {
	select {
	case <-time.After(after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// slowStore is a store that does not take in a block.
type slowStore struct{ account.Store }

func (slowStore) Block(ctx context.Context, _ string, _ time.Time) error {
	<-ctx.Done()
	return ctx.Err()
}

// Rule blocks at the last moment, and the block cannot be shared either: still
// within 8 seconds.
func TestDeadlineOfABlock(t *testing.T) {
	t.Parallel()
	type exchange func(*http.Request) (*http.Response, error)
	late := func(after time.Duration, status int, body string) exchange {
		return func(r *http.Request) (*http.Response, error) { return reply(r, after, status, body) }
	}
	blocked := func(after time.Duration) exchange { return late(after, http.StatusTooManyRequests, "") }
	for name, exchanges := range map[string][]exchange{
		"at the second try":                     {silent{}.RoundTrip, blocked(3400 * time.Millisecond)},
		"at the second try of a second request": {late(3400*time.Millisecond, 200, `{"subscriber":{"id":1}}`), silent{}.RoundTrip, blocked(1050 * time.Millisecond)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				if _, err := r.Accounts.Present(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				r.Accounts.Store = slowStore{r.Accounts.Store}
				n := -1 // a search that has found nobody before sends one request after the other
				r.Accounts.Rule = rule.New(rule.Config{URL: "http://rule.example", Pause: -1, HTTP: &http.Client{Transport: roundTripper(func(q *http.Request) (*http.Response, error) {
					n++
					return exchanges[n](q)
				})}})
				payload, err := json.Marshal(request{Headers: map[string]string{"Authorization": "Bearer " + key}, QueryStringParameters: map[string]string{"key": "0701740605"}})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				out, err := r.ContactFind(r.customers, r.bonus).Invoke(t.Context(), payload)
				if took := time.Since(start); err != nil || took < 6900*time.Millisecond || took > 8*time.Second || !strings.Contains(string(out), `"statusCode":503`) {
					t.Errorf("it took %s (%v), want a 503 close to 8 s and no later: %s", took, err, out)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An order is taken for an account whose key Rule refuses today, also where this
// very process has just been told so, and kept: what it carries must not be lost.
func TestOrderOfARefusedKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := now
	r.Now = func() time.Time { return at }
	r.Accounts.Now = r.Now
	if _, err := r.Accounts.Present(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	r.rule.RevokeKey(key)
	if got := invoke(t, r.ContactGet(r.customers, r.bonus), get("255934461", nil)); got.StatusCode != 401 {
		t.Fatalf("status %d with a revoked key, want 401", got.StatusCode)
	}
	var sent []worker.Message
	queue := sender(func(_ context.Context, m worker.Message) error { sent = append(sent, m); return nil })
	ledger, kept := &memory.Ledger{}, &memory.Parked{}
	lot := &parking.Lot{Store: kept, Accounts: r.Accounts.Store, Sealer: r.Accounts.Sealer, Watchers: queue, Now: r.Now, Log: r.Log, NewID: rand.Text}
	sell := func(id int, status int) {
		t.Helper()
		in := post(fmt.Sprintf(`{"orderid":%d,"email":"kund.ett@example.com"}`, id))
		if out := invoke(t, r.OrderReceive(queue, ledger, lot), in); out.StatusCode != status {
			t.Errorf("after %v: %d %s, want %d", at.Sub(now), out.StatusCode, out.Body, status)
		}
	}
	sell(1, 200)
	sell(2, 200)
	list, err := kept.List(t.Context(), "42", "", 10)
	if err != nil || len(list) != 2 || list[0].Order != 1 || list[0].Key != account.ID(key) {
		t.Fatalf("parked %+v, %v", list, err)
	}
	if body, err := kept.Body(t.Context(), list[0]); err != nil || bytes.Contains(body, []byte("kund")) {
		t.Errorf("what is kept is not sealed: %q, %v", body, err)
	}
	if body, err := lot.Open(t.Context(), list[0]); err != nil || !bytes.Contains(body, []byte("kund.ett")) {
		t.Errorf("opened: %q, %v", body, err)
	}
	if len(sent) != 1 || !strings.HasPrefix(sent[0].Body, `{"account":"42","parked":true`) {
		t.Errorf("queued %+v, want one message that looks after both", sent)
	}
	for id := int64(1); id <= 2; id++ {
		if rec, ok, err := ledger.Get(t.Context(), order.Key{Account: "42", Order: id}); err != nil || !ok || rec.State != order.Waiting || rec.Reason != order.Refused {
			t.Errorf("the ledger says %+v, %v", rec, err)
		}
	}
	// No more than so many.
	if ok, err := r.Accounts.Store.Park(t.Context(), "42", parking.MaxCount-2, 0, account.Parked{Count: parking.MaxCount, Bytes: parking.MaxBytes}); !ok || err != nil {
		t.Fatal(err)
	}
	sell(3, 503)
	if _, err := r.Accounts.Store.Park(t.Context(), "42", -5, 0, account.Parked{}); err != nil {
		t.Fatal(err)
	}
	at = at.Add(14*24*time.Hour - time.Second)
	sell(4, 200)
	at = at.Add(time.Second)
	sell(5, 401)
}

type sender func(context.Context, worker.Message) error

func (f sender) Send(ctx context.Context, m worker.Message) error { return f(ctx, m) }
