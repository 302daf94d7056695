package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/worker"
)

// unasked reports whether no campaign reaches somebody, because nobody asked her.
func unasked(s fakerule.Subscriber) bool {
	stopped := func(message string) bool {
		return slices.ContainsFunc(s.Suppressions, func(x fakerule.Suppression) bool {
			return x.Dispatcher == "campaign" && x.MessageType == message && x.Source == "api"
		})
	}
	return stopped("email") && stopped("text_message") && !slices.ContainsFunc(s.Suppressions, func(x fakerule.Suppression) bool { return x.Dispatcher != "campaign" })
}

// inbox keeps the messages that complete a refusal.
type inbox struct {
	mu   sync.Mutex
	list []string
}

func (b *inbox) Send(_ context.Context, m worker.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, m.Body)
	return nil
}

// newcomers is a job that makes customers, and a part with the orders of some.
func newcomers(t *testing.T, o rigOptions, n int) (*writerRig, *inbox, string) {
	t.Helper()
	o.job.Create = true
	r := newWriterRig(t, o)
	box := &inbox{}
	r.writer.Deliverer.Customers.Syncs = box
	var orders []json.RawMessage
	for i := range n {
		orders = append(orders, sale(int64(1000+i), map[string]any{"email": fmt.Sprintf("ny.%d@example.com", i), "namefirst": "Namn"}))
	}
	return r, box, r.body("p1", orders...)
}

func (r *writerRig) asked(method, path string) (n int) {
	for _, q := range r.rule.Requests() {
		if q.Method == method && q.Path == path {
			n++
		}
	}
	return n
}

// asStaffMakes writes somebody in Rule as staff, an import or a till does.
func asStaffMakes(t *testing.T, r *writerRig, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	q := httptest.NewRequest(http.MethodPost, "/v2/subscribers?apikey="+fakerule.DefaultKey, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	if r.rule.ServeHTTP(w, q); w.Code/100 != 2 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

// Forty new people cost three calls that make them and three that stop campaigns.
func TestNewcomersAreStoppedInBulk(t *testing.T) {
	t.Parallel()
	r, box, body := newcomers(t, rigOptions{customers: 2}, 40)
	r.drive(body)
	people := r.rule.Subscribers(fakerule.DefaultKey)
	for _, s := range people {
		if strings.HasPrefix(s.Email, "ny.") != unasked(s) {
			t.Errorf("%s: %v", s.Email, s.Suppressions)
		}
		if says, _ := s.Field("Sitoo-Contact.accepts_email"); strings.HasPrefix(s.Email, "ny.") && says.Value != "false" {
			t.Errorf("%s: the note says %q", s.Email, says.Value)
		}
	}
	if made, stopped := r.asked("POST", "/v2/subscribers"), r.asked("POST", "/v2/suppressions"); len(people) != 42 || made != 4 || stopped != 3 {
		t.Errorf("%d people, %d calls that make or write, %d that stop; want 42, 4 and 3", len(people), made, stopped)
	}
	if len(box.list) != 0 {
		t.Errorf("messages %v", box.list)
	}
	r.quiet()
}

// Where the account's consent is implied, nothing is stopped.
func TestNewcomersOfImpliedConsent(t *testing.T) {
	t.Parallel()
	r, _, body := newcomers(t, rigOptions{settings: account.Settings{Consent: account.ConsentImplied}}, 3)
	r.drive(body)
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		if len(s.Suppressions) != 0 {
			t.Errorf("%s: %v", s.Email, s.Suppressions)
		}
	}
	if n := len(r.whose()); n != 3 {
		t.Errorf("%d people have orders", n)
	}
}

// Who came to Rule by herself since the job listed who is there keeps what she
// said, and her name; the others of the same call are made all the same.
func TestNewcomerWhoCameMeanwhile(t *testing.T) {
	t.Parallel()
	r, _, body := newcomers(t, rigOptions{}, 5)
	asStaffMakes(t, r, `{"subscribers":{"email":"ny.2@example.com","fields":[{"key":"Sitoo-Contact.namefirst","value":"Annat"}]}}`)
	r.drive(body)
	people := r.rule.Subscribers(fakerule.DefaultKey)
	for _, s := range people {
		name, _ := s.Field("Sitoo-Contact.namefirst")
		if here := s.Email == "ny.2@example.com"; here != (len(s.Suppressions) == 0) || here == unasked(s) || here != (name.Value == "Annat") {
			t.Errorf("%s is %v, suppressed %v", s.Email, name.Value, s.Suppressions)
		}
	}
	if len(people) != 5 || len(r.whose()) != 5 {
		t.Errorf("%d people, of whom %d have orders", len(people), len(r.whose()))
	}
}

// Wherever the process dies, and the job is cancelled or the part given up then,
// nobody whom it has made is left to campaigns for good.
func TestNewcomersOfAPartThatNobodyGoesOnWith(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"cancelled", "given up"} {
		for at := 1; ; at++ {
			r, box, body := newcomers(t, rigOptions{}, 3)
			var mu sync.Mutex
			n := 0
			r.each(func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if n++; n >= at {
					return errKilled
				}
				return nil
			})
			_ = r.work(body)
			over := n < at
			r.each(nil)
			r.pass(30 * time.Minute) // what a dead delivery holds is free
			if over {
				break
			}
			if end == "cancelled" {
				j, err := r.stores.Get(t.Context(), "a", r.job.ID)
				if err != nil {
					t.Fatal(err)
				}
				j.State = history.Cancelled
				if err := r.stores.Put(t.Context(), j); err != nil {
					t.Fatal(err)
				}
				if err := r.work(body); err != nil {
					t.Fatal(err)
				}
			} else if err := r.writer.GiveUp(t.Context(), body, errKilled); err != nil {
				t.Fatal(err)
			}
			for _, m := range box.list {
				message, ok, err := customer.DecodeMessage(m)
				if !ok || err != nil {
					t.Fatalf("message %s: %v", m, err)
				}
				if err := r.writer.Deliverer.Customers.Complete(t.Context(), r.client.Session(fakerule.DefaultKey, time.Time{}, nil), message); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
				if !unasked(s) {
					t.Fatalf("%s, killed at effect %d: %s is suppressed on %v; messages %v", end, at, s.Email, s.Suppressions, box.list)
				}
			}
		}
	}
}

// A field that staff have made with another type keeps nobody out, and nobody
// marketable; the calls after the first know.
func TestNewcomersAndAFieldOfAnotherType(t *testing.T) {
	t.Parallel()
	r, _, body := newcomers(t, rigOptions{}, 40)
	asStaffMakes(t, r, `{"subscribers":{"email":"staff@example.com","fields":[{"key":"Sitoo-Contact.namefirst","value":"2026-01-01","type":"date"}]}}`)
	r.drive(body)
	n := 0
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		if unasked(s) {
			n++
		}
	}
	if n != 40 || len(r.whose()) != 40 {
		t.Errorf("%d of 40 are stopped, %d have orders; part %+v", n, len(r.whose()), r.part("p1"))
	}
	refused := 0
	for _, q := range r.rule.Requests() {
		if q.Status == 400 {
			refused++
		}
	}
	if refused > 2 {
		t.Errorf("%d calls were refused", refused)
	}
}

// Who was deleted in Rule does not come back by an old order: where the order has
// the contact id that she had, or the ledger has noted whose an order of hers was.
func TestBackfillBringsNobodyBack(t *testing.T) {
	t.Parallel()
	r, _, _ := newcomers(t, rigOptions{customers: 1}, 0)
	k := order.Key{Account: "a", Order: 4}
	ctx := t.Context()
	if _, err := r.ledger.Claim(ctx, k, order.Stamp{}, "history-x", r.clock(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.Note(ctx, k, "history-x", 77, r.clock()); err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.Finish(ctx, k, "history-x", order.Waiting, "backfill y: not its turn yet", false, r.clock()); err != nil {
		t.Fatal(err)
	}
	gone := map[string]any{"customcrm-contactid": "77"}
	r.drive(r.body("p1",
		sale(1, map[string]any{"email": "borta@example.com", "additionaldata": gone}),
		sale(2, map[string]any{"phone": "070-174 06 95", "additionaldata": gone}),
		sale(3, map[string]any{"email": customerMail(0), "additionaldata": gone}), // by the address it is somebody's who is there
		sale(4, map[string]any{"email": "hon@example.com"}), sale(5, map[string]any{"email": "hon@example.com"}),
		sale(6, map[string]any{"email": "ny.1@example.com"})))
	people := map[string]int{}
	have := r.whose()
	for _, s := range r.rule.Subscribers(fakerule.DefaultKey) {
		people[s.Email+s.Phone] = len(have[s.ID])
	}
	if diff := cmp.Diff(map[string]int{customerMail(0) + customerPhone(0): 1, "ny.1@example.com": 1}, people); diff != "" {
		t.Errorf("people and their orders: %s", diff)
	}
	if p := r.part("p1"); p.Written != 2 || p.Skipped[history.Gone] != 4 {
		t.Errorf("part %+v", p)
	}
}
