package order_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

func decoded(t *testing.T, body string) sitoo.Order {
	t.Helper()
	o, err := sitoo.DecodeOrder([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// quietly delivers an order to the seed's account, and returns what Rule has of
// it by subscriber.
func quietly(t *testing.T, w *order.Worker, server *fakerule.Server, o sitoo.Order, attempt string, m order.Mode) (map[int64]int, error) {
	t.Helper()
	v, err := w.Directory.Open(t.Context(), "a", "")
	if err != nil {
		t.Fatal(err)
	}
	err = w.Quietly(t.Context(), v.Account, v.Rule, o, attempt, m)
	have := map[int64]int{}
	for _, s := range server.Subscribers(fakerule.DefaultKey) {
		for _, e := range server.Entries(fakerule.DefaultKey, s.ID, order.Group) {
			if e.Value("orderid") == fmt.Sprint(o.ID) {
				have[s.ID]++
			}
		}
		for _, tag := range []string{order.PurchaseTag, order.ReturnTag} {
			if s.ID > 255934470 && slices.Contains(s.Tags, tag) {
				t.Errorf("subscriber %d has the tag %s", s.ID, tag)
			}
		}
	}
	if got := server.Automations(fakerule.DefaultKey); len(got) != 0 {
		t.Errorf("automations %+v", got)
	}
	return have, err
}

// An old order comes without a message, to whom the caller knows or the order
// names.
func TestQuietly(t *testing.T) {
	t.Parallel()
	const known = 255934461
	for name, c := range map[string]struct {
		members string
		mode    order.Mode
		whose   int64 // 0 for somebody new, -1 for nobody
		state   order.State
		reason  string
	}{
		"a contact's":                {`"additionaldata":{"customcrm-contactid":"255934461"}`, order.Mode{By: "backfill x"}, known, order.Sent, "backfill x"},
		"by email":                   {`"email":"ny@example.com"`, order.Mode{By: "backfill x"}, 0, order.Sent, "backfill x"},
		"by phone":                   {`"phone":"070-174 06 95"`, order.Mode{}, 0, order.Sent, ""},
		"a return":                   {`"email":"ny@example.com","moneytotal_gross_all":"-10.00"`, order.Mode{}, 0, order.Sent, ""},
		"known, another named":       {`"email":"ny@example.com","additionaldata":{"customcrm-contactid":"7"}`, order.Mode{Subscriber: known}, known, order.Sent, ""},
		"known, and by what":         {`"email":"ny@example.com"`, order.Mode{Subscriber: known, Who: customer.Key{Email: "kund.ett@example.com"}}, known, order.Sent, ""},
		"known by what Rule rejects": {`"email":"ny@example.com"`, order.Mode{Subscriber: known, Who: customer.Key{Phone: "12"}}, known, order.Sent, ""},
		"known and deleted":          {`"email":"ny@example.com"`, order.Mode{Subscriber: 7}, -1, order.Skipped, "the customer was deleted in Rule"},
		"nobody":                     {`"orderid":900001`, order.Mode{Subscriber: known}, -1, order.Skipped, "the order names no customer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, server := newWorker(t)
			before := len(server.Subscribers(fakerule.DefaultKey))
			members := c.members
			if !strings.Contains(members, `"orderid"`) {
				members = `"orderid":900001,` + members
			}
			have, err := quietly(t, w, server, decoded(t, `{"orderdate":1727433600,`+members+`}`), "one", c.mode)
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for sub, n := range have {
				total += n
				if c.whose > 0 && sub != c.whose {
					t.Errorf("the entry is %d's", sub)
				}
			}
			if want := map[bool]int{true: 0, false: 1}[c.whose < 0]; total != want {
				t.Errorf("%d entries, want %d", total, want)
			}
			if made := len(server.Subscribers(fakerule.DefaultKey)) - before; (made == 1) != (c.whose == 0) {
				t.Errorf("%d new people", made)
			}
			rec, _, err := w.Ledger.Get(t.Context(), order.Key{Account: "a", Order: 900001})
			if err != nil || rec.State != c.state || rec.Reason != c.reason {
				t.Errorf("ledger %+v, %v", rec, err)
			}
			// The till's own delivery of it later has nothing to do.
			if _, err := quietly(t, w, server, decoded(t, `{"orderdate":1727433600,`+members+`}`), "two", order.Mode{}); err != nil {
				t.Error(err)
			}
			a, _, err := w.Directory.(directory).Accounts.Get(t.Context(), "a", "", "")
			if err != nil {
				t.Fatal(err)
			}
			n := len(server.Requests())
			if err := w.Deliver(t.Context(), a, w.Directory.(directory).rule.Session(fakerule.DefaultKey, time.Time{}, nil), decoded(t, `{"orderdate":1727433600,`+members+`}`), "three"); err != nil || len(server.Requests()) != n {
				t.Errorf("%v, %d requests", err, len(server.Requests())-n)
			}
		})
	}
}

// An order whose attempt failed says on whose behalf it waits.
func TestQuietlyWaits(t *testing.T) {
	t.Parallel()
	w, server := newWorker(t)
	server.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Status: 503} })
	_, err := quietly(t, w, server, decoded(t, `{"orderid":900001,"orderdate":1727433600,"email":"ny@example.com"}`), "one", order.Mode{By: "backfill x"})
	rec, _, gerr := w.Ledger.Get(t.Context(), order.Key{Account: "a", Order: 900001})
	if fault.KindOf(err) != fault.Unavailable || gerr != nil || rec.State != order.Waiting || !strings.HasPrefix(rec.Reason, "backfill x: rule: ") {
		t.Errorf("%v, ledger %+v, %v", err, rec, gerr)
	}
}

// Whichever request of an account's first order goes wrong, before or after its
// effect, and whichever call of the ledger: the entry is there once, whole, and
// nobody was told.
func TestQuietlyAtEveryEffect(t *testing.T) {
	t.Parallel()
	errGone := errors.New("the process is gone")
	for _, subscriber := range []int64{0, 255934461} {
		for at := 1; ; at++ {
			w, server := newWorker(t)
			accounts := &memory.Accounts{}
			if err := accounts.Create(t.Context(), account.Account{ID: "a"}); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			n, passed := 0, time.Duration(0)
			clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now.Add(passed) }
			step := func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if n++; n >= at && passed == 0 {
					return errGone
				}
				return nil
			}
			ledger := &memory.Ledger{Fail: step}
			w.Accounts, w.Ledger, w.Now, w.Directory = accounts, ledger, clock, directory{Accounts: accounts}
			asks(w, rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: mortal{direct{server}, step}}, Now: clock, Pause: -1})
			o := decoded(t, `{"orderid":900001,"orderdate":1727433600,"email":"kund.ett@example.com","moneytotal_gross_all":"10.00"}`)
			m := order.Mode{By: "backfill x", Subscriber: subscriber}
			if _, err := quietly(t, w, server, o, "one", m); err == nil && n >= at {
				t.Errorf("killed at effect %d, and no error", at)
			}
			mu.Lock()
			over := n < at
			passed = 2 * order.Lease
			mu.Unlock()
			have, err := quietly(t, w, server, o, "two", m)
			if err != nil || len(have) != 1 || have[255934461] != 1 {
				t.Errorf("killed at effect %d: %v, entries %v", at, err, have)
			}
			entries := server.Entries(fakerule.DefaultKey, 255934461, order.Group)
			if e := entries[len(entries)-1]; e.Value("total") != "10.00" {
				t.Errorf("killed at effect %d: entry %+v", at, e)
			}
			if over || t.Failed() {
				break
			}
		}
	}
}

// mortal asks step before a request and after it.
type mortal struct {
	direct
	step func(string) error
}

func (m mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := m.step(""); err != nil {
		return nil, err
	}
	if r.Body == nil { // as a server never has it
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	res, err := m.direct.RoundTrip(r)
	if err == nil {
		err = m.step("")
	}
	return res, err
}
