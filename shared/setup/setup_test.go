package setup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/setup"
	"sitoo-rule/shared/sitoo"
)

const (
	key = fakerule.DefaultKey
	// phone is the test customer's.
	phone = "+46701740699"
)

// wire carries requests to the stand-in in this process, and loses answers as a
// network does.
type wire struct{ h http.Handler }

var errLost = errors.New("read: connection reset by peer")

func (w wire) RoundTrip(r *http.Request) (res *http.Response, err error) {
	if t := httptrace.ContextClientTrace(r.Context()); t != nil && t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{})
	}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			res, err = nil, errLost
		} else if p != nil {
			panic(p)
		}
	}()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := httptest.NewRecorder()
	w.h.ServeHTTP(out, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return out.Result(), nil
}

// rig is a check of an account in Rule's stand-in, with synctest's clock.
type rig struct {
	t       *testing.T
	rule    *fakerule.Server
	session *rule.Session
	account account.Account
	shop    *sitoo.Shop
	before  []fakerule.Subscriber
}

// newRig has the stand-in's example people, who have all fields.
func newRig(t *testing.T, load bool) *rig {
	t.Helper()
	r := &rig{t: t, rule: fakerule.New(fakerule.Options{}), account: account.Account{ID: account.ID(key)}}
	if load {
		if err := r.rule.Load(fakerule.Seed()); err != nil {
			t.Fatal(err)
		}
	}
	r.renew()
	return r
}

// renew begins anew with the session, as another process does.
func (r *rig) renew() {
	c := rule.New(rule.Config{URL: "http://rule.example.com", HTTP: &http.Client{Transport: wire{r.rule}}})
	r.session = c.Session(key, time.Time{}, nil)
	r.before = r.rule.Subscribers(key)
}

// call makes a request to Rule past the check.
func (r *rig) call(method, target, body string) {
	r.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	w := httptest.NewRecorder()
	r.rule.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		r.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	r.before = r.rule.Subscribers(key)
	r.rule.ResetRequests()
}

var lineNames = []string{
	"API key", "Groups and fields", "Order history", "Tags", "Test customer", "Found by email", "Found by phone",
	"Customer card", "Order", "Bonus check", "Removed again", "Sitoo credentials", "Sitoo site", "Sitoo orders",
}

// run runs a check, and fails if it did anything that it never does.
func (r *rig) run(ctx context.Context) map[string]setup.Line {
	r.t.Helper()
	ids := 0
	c := &setup.Check{Now: time.Now, NewID: func() string { ids++; return fmt.Sprintf("ID%d", ids) }}
	began := time.Now()
	list := c.Run(ctx, r.account, r.session, r.shop)
	if took := time.Since(began); took > 24*time.Second {
		r.t.Errorf("it took %v", took)
	}
	var got []string
	lines := map[string]setup.Line{}
	for _, l := range list {
		got = append(got, l.Name)
		lines[l.Name] = l
		if !slices.Contains([]string{setup.OK, setup.Failed, setup.Skipped}, l.Status) || l.Detail == "" || !strings.HasSuffix(l.Detail, ".") ||
			l.Status == setup.Failed && l.Advice == "" || l.Advice != "" && !strings.HasSuffix(l.Advice, ".") || l.Status == setup.OK && (l.Advice != "" || l.Err != nil) {
			r.t.Errorf("a merchant reads %+v", l)
		}
		for _, secret := range []string{key, fakesitoo.DefaultPassword, "Authorization", "\n"} {
			if strings.Contains(fmt.Sprintf("%+v", l), secret) {
				r.t.Errorf("%q is in %+v", secret, l)
			}
		}
	}
	if diff := cmp.Diff(lineNames, got); diff != "" {
		r.t.Errorf("lines (-want +got):\n%s", diff)
	}
	if n := r.rule.Automations(key); len(n) > len(r.automations()) {
		r.t.Errorf("automations started: %v", n)
	}
	if n := r.rule.RequestsDuringBlock(key); n > 0 {
		r.t.Errorf("%d requests during a block", n)
	}
	if n := r.session.Calls(); n > 35 {
		r.t.Errorf("%d requests", n)
	}
	r.left(lines)
	return lines
}

// automations are those that the stand-in begins with: none.
func (r *rig) automations() []fakerule.Automation { return nil }

// left checks that nobody but the test customer is other than before, and that
// a line names that one if it is still there.
func (r *rig) left(lines map[string]setup.Line) {
	r.t.Helper()
	r.rule.Settle()
	after := r.rule.Subscribers(key)
	var left []string
	after = slices.DeleteFunc(after, func(s fakerule.Subscriber) bool {
		if !strings.HasPrefix(s.Email, "sitoo-rule-setup-check-") || slices.ContainsFunc(r.before, func(b fakerule.Subscriber) bool { return b.ID == s.ID }) {
			return false
		}
		left = append(left, s.Email)
		return true
	})
	if diff := cmp.Diff(r.before, after); diff != "" {
		r.t.Errorf("people in Rule (-before +after):\n%s", diff)
	}
	l := lines["Removed again"]
	if len(left) == 0 {
		return
	}
	if l.Status != setup.Failed || !strings.Contains(l.Advice, left[0]) || len(left) > 1 {
		r.t.Errorf("%v is left behind, and the line says %+v", left, l)
	}
}

// statuses are those of the lines that are not ok.
func statuses(lines map[string]setup.Line) map[string]string {
	m := map[string]string{}
	for name, l := range lines {
		if l.Status != setup.OK {
			m[name] = l.Status
		}
	}
	return m
}

// sitooSkipped are the lines of a shop without credentials.
func with(m map[string]string) map[string]string {
	for _, name := range lineNames[11:] {
		m[name] = setup.Skipped
	}
	return m
}

// skippedAfter are the lines about Rule after one that failed.
func skippedAfter(failed string) map[string]string {
	m := map[string]string{failed: setup.Failed}
	for _, name := range lineNames[slices.Index(lineNames, failed)+1 : 11] {
		m[name] = setup.Skipped
	}
	return with(m)
}

func (r *rig) wants(lines map[string]setup.Line, want map[string]string) {
	r.t.Helper()
	if diff := cmp.Diff(want, statuses(lines)); diff != "" {
		r.t.Errorf("lines that are not ok (-want +got):\n%s\n%v", diff, lines)
	}
}

// says checks that a line's texts hold something.
func (r *rig) says(l setup.Line, want ...string) {
	r.t.Helper()
	for _, w := range want {
		if !strings.Contains(l.Detail+" "+l.Advice, w) {
			r.t.Errorf("%s says %q, %q, want %q", l.Name, l.Detail, l.Advice, w)
		}
	}
}

// bubble runs a test with a clock that jumps.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestAllWorks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, true)
		r.account.Schema = order.SchemaVersion
		lines := r.run(t.Context())
		r.wants(lines, with(map[string]string{}))
		// The example has no Sitoo-Order.bonuschecks yet, and none of its receipt.
		all := len(customer.Schema()) + len(order.Schema())
		r.says(lines["Groups and fields"], fmt.Sprintf("%d of %d fields are there", all-5, all))
		r.says(lines["Order history"], "is historical")
		if n := r.session.Calls(); n > 12 {
			t.Errorf("%d requests, want a dozen at most", n)
		}
		misses := 0
		for _, q := range r.rule.Requests() {
			if q.Status >= 400 {
				misses++
			}
		}
		if misses != 1 {
			t.Errorf("%d answers are errors, want one miss", misses)
		}
		if got := setup.NewReport([]setup.Line{lines["API key"], lines["Sitoo site"]}).Status; got != setup.OK {
			t.Errorf("report is %s", got)
		}
	})
}

// What the check writes is what was said: quietly, with all fields, and an entry
// with all of the order's.
func TestWhatIsWritten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, true)
		appended := 0
		r.rule.SetFault(func(q *http.Request, body []byte) *fakerule.Fault {
			switch {
			case q.Method == "POST" && strings.HasSuffix(q.URL.Path, "/v2/subscribers"):
				var in struct {
					Sync        *bool    `json:"sync_subscribers"`
					Automation  *string  `json:"automation"`
					Tags        []string `json:"tags"`
					Subscribers []struct {
						Email  string           `json:"email"`
						Phone  string           `json:"phone_number"`
						Fields []map[string]any `json:"fields"`
					} `json:"subscribers"`
				}
				if err := json.Unmarshal(body, &in); err != nil {
					t.Error(err)
				}
				if in.Sync == nil || *in.Sync || in.Automation != nil || !slices.Equal(in.Tags, []string{"Sitoo"}) || len(in.Subscribers) != 1 ||
					in.Subscribers[0].Email != "sitoo-rule-setup-check-20000101t000000z-id1@example.com" || in.Subscribers[0].Phone != phone || len(in.Subscribers[0].Fields) != len(customer.Schema()) {
					t.Errorf("written: %s", body)
				}
			case q.Method == "POST" && strings.Contains(q.URL.Path, "/v3/custom-field-data/"):
				appended++
				// Empty ones are left out: some of an order's always are.
				for _, f := range []string{"orderid", "orderdate", "products", "names", "total"} {
					if !bytes.Contains(body, []byte(`"`+f+`"`)) || !bytes.Contains(body, []byte(`"historical":true`)) {
						t.Errorf("entry without %s: %s", f, body)
					}
				}
			case q.Method == "POST" || q.Method == "PUT":
				t.Errorf("%s %s", q.Method, q.URL.Path)
			}
			return nil
		})
		r.wants(r.run(t.Context()), with(map[string]string{}))
		if appended != 2 {
			t.Errorf("%d entries, want 2", appended)
		}
	})
}

// A shop before its first purchase has no groups. The check begins them in the
// right way.
func TestNewShop(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, false)
		lines := r.run(t.Context())
		r.wants(lines, with(map[string]string{}))
		r.says(lines["Groups and fields"], "None of the groups Sitoo-Contact, Sitoo-Address, Sitoo-Order was in Rule")
		r.says(lines["Order history"], "now exists")

		// The second check sees what the first one has made, and nothing that would
		// stand in the first order's way.
		r.renew()
		lines = r.run(t.Context())
		r.wants(lines, with(map[string]string{}))
		r.says(lines["Groups and fields"], fmt.Sprintf("%d of %d fields are there, with the right types", len(customer.Schema())+1, len(customer.Schema())+len(order.Schema())))
		r.says(lines["Order history"], "every order stays")
	})
}

func declare(fields ...string) string {
	var list []string
	for _, f := range fields {
		name, kind, _ := strings.Cut(f, ":")
		list = append(list, fmt.Sprintf(`{"key":%q,"type":%q}`, name, kind))
	}
	return `{"fields":[` + strings.Join(list, ",") + `]}`
}

// Whatever staff have made of the fields is named, and does not keep the rest
// from being tried.
func TestFields(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		declared []string
		history  []string // groups made historical after that
		schema   int
		want     map[string]string
		says     map[string][]string
	}{
		"a contact's field of another type": {
			[]string{"Sitoo-Contact.birthday:text"},
			nil, 0,
			map[string]string{"Groups and fields": setup.Failed},
			map[string][]string{"Groups and fields": {"Sitoo-Contact.birthday is text and must be date"}, "Customer card": {"fields are as they were written"}},
		},
		"one of several": {[]string{"Sitoo-Contact.gender:single"}, nil, 0, map[string]string{}, map[string][]string{"Groups and fields": {"Not there yet: Sitoo-Address, Sitoo-Order;"}}},
		"the bonus checks' field": {
			[]string{"Sitoo-Contact.bonuschecks:text"},
			nil, 0,
			map[string]string{"Groups and fields": setup.Failed, "Bonus check": setup.Failed},
			map[string][]string{"Bonus check": {"has another type than json"}},
		},
		"order fields of other types": {
			[]string{"Sitoo-Order.orderdate:text", "Sitoo-Order.products:multiple", "Sitoo-Order.total:text"},
			[]string{"Sitoo-Order"},
			0,
			map[string]string{"Groups and fields": setup.Failed},
			map[string][]string{"Groups and fields": {"orderdate is text and must be datetime", "products is multiple and must be json"}},
		},
		"the order's number is a date": {
			[]string{"Sitoo-Order.orderid:date"},
			[]string{"Sitoo-Order"},
			0,
			map[string]string{"Groups and fields": setup.Failed, "Order": setup.Failed, "Order history": setup.Skipped},
			map[string][]string{"Order": {"Rule refuses it (status 422)"}},
		},
		"not historical": {
			[]string{"Sitoo-Order.orderid:text"},
			nil, 0,
			map[string]string{"Order history": setup.Failed},
			map[string][]string{"Order history": {"is not historical", "Switch the group Sitoo-Order to historical"}},
		},
		"a date is gone": {
			[]string{"Sitoo-Order.orderid:text"},
			[]string{"Sitoo-Order"},
			order.SchemaVersion,
			map[string]string{"Groups and fields": setup.Failed},
			map[string][]string{"Groups and fields": {"Sitoo-Order.orderdate (datetime) is missing"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				r := newRig(t, false)
				r.call("POST", "/v2/customizations", declare(tt.declared...))
				for _, g := range tt.history {
					r.rule.DefineHistorical(key, g, true)
				}
				r.account.Schema = tt.schema
				lines := r.run(t.Context())
				r.wants(lines, with(tt.want))
				for line, want := range tt.says {
					r.says(lines[line], want...)
				}
			})
		})
	}
}

// Somebody who has the number already stays as she is; what an earlier check
// could not remove goes.
func TestNumberIsTaken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		email string
		phone string // what the line is
		gone  bool
	}{
		"a customer":           {"kund.ett@example.com", setup.Skipped, false},
		"without an address":   {"", setup.Skipped, false},
		"looks like ours":      {"sitoo-rule-setup-check-20000101t000000z-id9@example.net", setup.Skipped, false},
		"too":                  {"sitoo-rule-setup-check-x@example.com", setup.Skipped, false},
		"another check's, now": {"sitoo-rule-setup-check-20000101t000000z-id9@example.com", setup.Skipped, false},
		"left behind":          {"sitoo-rule-setup-check-19991231t235500z-id9@example.com", setup.OK, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				r := newRig(t, false)
				who := fmt.Sprintf(`{"email":%q,"phone_number":%q}`, tt.email, phone)
				if tt.email == "" {
					who = fmt.Sprintf(`{"phone_number":%q}`, phone)
				}
				r.call("POST", "/v2/subscribers", `{"subscribers":[`+who+`],"tags":["Min tagg"],"sync_subscribers":false}`)
				if tt.gone {
					r.before = nil
				}
				want := with(map[string]string{})
				if tt.phone != setup.OK {
					want["Found by phone"] = tt.phone
				}
				r.wants(r.run(t.Context()), want)
			})
		})
	}
}

// No request is made during a block, and none after a key is refused.
func TestBlockedOrRefused(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, true)
		r.session = rule.New(rule.Config{URL: "http://rule.example.com", HTTP: &http.Client{Transport: wire{r.rule}}}).Session(key, time.Now().Add(5*time.Minute), nil)
		lines := r.run(t.Context())
		r.wants(lines, skippedAfter("API key"))
		r.says(lines["API key"], "Rule takes no calls before 01:05:00 (Swedish time)")
		if n := r.session.Calls(); n != 0 {
			t.Errorf("%d requests", n)
		}

		r.renew()
		r.rule.BlockFor(key, time.Minute)
		lines = r.run(t.Context())
		r.wants(lines, skippedAfter("API key"))
		r.says(lines["API key"], "not known", "before 01:01:00")
		if n := r.session.Calls(); n != 1 {
			t.Errorf("%d requests", n)
		}

		time.Sleep(2 * time.Minute)
		r.renew()
		r.rule.RevokeKey(key)
		lines = r.run(t.Context())
		r.wants(lines, skippedAfter("API key"))
		r.says(lines["API key"], "Rule does not accept the API key", "Make a new API key")
		if n := r.session.Calls(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

var faults = map[string]fakerule.Fault{
	"400":                        {Status: 400, Body: `{"error":"BadRequest","message":"kund.ett@example.com","fields":{"x":["y"]}}`},
	"401":                        {Status: 401, Body: `{"error":"NotAuthorized"}`},
	"403":                        {Status: 403, Body: `<html>`},
	"404":                        {Status: 404, Body: `{"error":"NotFound"}`},
	"409":                        {Status: 409, Body: `{"error":"DuplicateSubscriber"}`},
	"429":                        {Status: 429, Body: `"Too Many Attempts."`},
	"500":                        {Status: 500, Body: `{"error":"UnexpectedError"}`},
	"502 after the effect":       {Status: 502, Body: `<html>`, After: true},
	"a page":                     {Status: 200, Body: `<html>`},
	"a page after the effect":    {Status: 200, Body: `<html>`, After: true},
	"an empty object, with it":   {Status: 200, Body: `{}`, After: true},
	"reset":                      {Kind: fakerule.FaultReset},
	"reset after the effect":     {Kind: fakerule.FaultReset, After: true},
	"no answer":                  {Kind: fakerule.FaultHang},
	"no answer after the effect": {Kind: fakerule.FaultHang, After: true},
}

// Whatever goes wrong, at whichever request, once or from then on, nobody is
// left behind unless a line says so, and nobody else is touched.
func TestFaults(t *testing.T) {
	t.Parallel()
	const requests = 11
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range requests {
				for _, forever := range []bool{false, true} {
					bubble(t, func(t *testing.T) {
						r := newRig(t, false)
						r.call("POST", "/v2/subscribers", `{"subscribers":[{"email":"kund.ett@example.com"}],"tags":["Min tagg"],"sync_subscribers":false}`)
						i := 0
						hit := false
						r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
							i++
							if forever && name == "404" && q.Method == "DELETE" {
								return nil // who says for good that nobody is there is believed
							}
							if i-1 == n || forever && i-1 > n {
								hit = true
								return &f
							}
							return nil
						})
						lines := r.run(t.Context())
						if !hit && !(forever && name == "404") {
							t.Errorf("request %d: there was none", n)
						}
						left := len(r.rule.Subscribers(key)) > len(r.before)
						// A single fault costs nobody a clean register, but where Rule
						// wants no calls any more.
						if left && !forever && !strings.HasPrefix(name, "429") && !(n == requests-1 && lines["Removed again"].Status == setup.Failed && strings.HasPrefix(name, "4")) {
							t.Errorf("request %d: somebody is left: %+v", n, lines["Removed again"])
						}
						if lost := strings.Contains(name, "effect") && !strings.HasPrefix(name, "429"); left && lost {
							t.Errorf("request %d, forever %v: somebody is left though every removal had its effect", n, forever)
						}
						if forever && setup.NewReport(slices.Collect(func(yield func(setup.Line) bool) {
							for _, l := range lines {
								if !yield(l) {
									return
								}
							}
						})).Status != setup.Failed && n < requests-1 {
							t.Errorf("request %d: nothing failed: %v", n, lines)
						}
					})
				}
			}
		})
	}
}

// The removal is tried for as long as there is time.
func TestRemovalGoesOn(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 500} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, true)
			n := 0
			r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
				if q.Method != "DELETE" {
					return nil
				}
				if n++; status == 500 && n > 3 || status == 404 && n > 1 {
					return nil
				}
				return &fakerule.Fault{Status: status}
			})
			r.wants(r.run(t.Context()), with(map[string]string{}))
			if got := r.rule.Subscribers(key); len(got) != len(r.before) {
				t.Errorf("%d, then answers: somebody is left", status)
			}
		})
	}
}

// The check ends with its caller at any moment, and still removes.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	for n := range 12 {
		for _, after := range []bool{false, true} {
			bubble(t, func(t *testing.T) {
				r := newRig(t, true)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				i := 0
				r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
					if i++; i-1 == n {
						cancel()
						if after {
							return &fakerule.Fault{Kind: fakerule.FaultHang, After: true}
						}
					}
					return nil
				})
				lines := r.run(ctx)
				if l := lines["Removed again"]; len(r.rule.Subscribers(key)) > len(r.before) || l.Status == setup.Failed {
					t.Errorf("ended at request %d: %+v", n, l)
				}
			})
		}
	}
}

// Rule shows what it has taken a moment later.
func TestRuleLags(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, true)
		seen := map[string]int{}
		r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
			if seen[q.Method+q.URL.Path]++; q.Method != "GET" || strings.HasSuffix(q.URL.Path, "/tags") || strings.HasSuffix(q.URL.Path, "/customizations") ||
				seen[q.Method+q.URL.Path] > 1 && !strings.Contains(q.URL.Path, phone) || seen[q.Method+q.URL.Path] > 2 {
				return nil
			}
			if strings.Contains(q.URL.Path, "custom-field-data") {
				return &fakerule.Fault{Status: 200, Body: `{"data":[]}`}
			}
			return &fakerule.Fault{Status: 404, Body: `{"error":"SubscriberNotFound"}`}
		})
		r.wants(r.run(t.Context()), with(map[string]string{}))
	})
}

// Rule's answers may show less, or something else than what was written.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		route, body string
		want        map[string]string
		says        map[string]string
	}{
		"a bulk answer without people":  {"POST /v2/subscribers", "", map[string]string{}, nil},
		"no tag":                        {"GET /v2/subscribers/*email", `{"subscriber":{"id":%d,"email":%q,"phone_number":"` + phone + `","tags":[]}}`, map[string]string{"Tags": setup.Failed}, map[string]string{"Tags": "did not get the tag Sitoo"}},
		"somebody else by phone":        {"GET /v2/subscribers/*phone_number", `{"subscriber":{"id":%d,"email":"x%s","phone_number":"` + phone + `","tags":[]}}`, map[string]string{"Found by phone": setup.Failed}, nil},
		"other fields":                  {"GET /v3/custom-field-data/*fields", `{"data":[{"group_name":"Sitoo-Contact","values":[{"field_name":"birthday","field_value":"1996-02-28"}]}],"x":[%d,%q]}`, map[string]string{"Customer card": setup.Failed, "Bonus check": setup.Failed}, map[string]string{"Customer card": "Sitoo-Contact.birthday"}},
		"no entries":                    {"GET /v3/custom-field-data/*group", `{"data":[],"x":[%d,%q]}`, map[string]string{"Order": setup.Failed, "Order history": setup.Skipped}, nil},
		"entries that are written over": {"GET /v3/custom-field-data/*group", `{"data":[{"historical":false,"values":[{"field_name":"orderid","field_value":"1"}]},{"historical":false,"values":[{"field_name":"orderid","field_value":"2"}]}],"x":[%d,%q]}`, map[string]string{"Order history": setup.Failed}, nil},
		"one entry, and no word of it":  {"GET /v3/custom-field-data/*group", `{"data":[{"values":[{"field_name":"orderid","field_value":"2"}]}],"x":[%d,%q]}`, map[string]string{"Order history": setup.Failed}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				r := newRig(t, true)
				if name == "a bulk answer without people" {
					r.rule = fakerule.New(fakerule.Options{BatchAnswer: fakerule.BatchBare})
					r.renew()
				}
				route, by, _ := strings.Cut(tt.route, "*")
				r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
					test := slices.IndexFunc(r.rule.Subscribers(key), func(s fakerule.Subscriber) bool { return s.Phone == phone })
					entries := strings.Contains(q.URL.Path, "/group/")
					if by == "fields" && entries || by == "group" && !entries {
						return nil
					}
					by := by
					if by == "fields" || by == "group" {
						by = ""
					}
					if tt.body == "" || test < 0 || !strings.HasPrefix(q.Method+" "+q.URL.Path, route) || !strings.HasPrefix(by, "/") && by != "" && q.URL.Query().Get("identified_by") != by {
						return nil
					}
					s := r.rule.Subscribers(key)[test]
					return &fakerule.Fault{Status: 200, Body: fmt.Sprintf(tt.body, s.ID, s.Email)}
				})
				lines := r.run(t.Context())
				r.wants(lines, with(tt.want))
				for line, want := range tt.says {
					r.says(lines[line], want)
				}
			})
		})
	}
}

// shopOf reads a shop in Sitoo's stand-in.
func shopOf(s *fakesitoo.Server, site int64, password string) *sitoo.Shop {
	rest := sitoo.NewREST(sitoo.RESTConfig{HTTP: s.Client(), Jitter: func() float64 { return 0 }})
	return rest.Shop(sitoo.Credentials{
		BaseURL: "https://api.mysitoo.com", AccountID: fmt.Sprint(fakesitoo.DefaultAccountID), Site: site, APIID: fakesitoo.DefaultAPIID, Password: password,
	})
}

func TestSitoo(t *testing.T) {
	t.Parallel()
	orders := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/orders.json") }
	for name, tt := range map[string]struct {
		orders   int
		site     int64
		password string
		fault    *fakesitoo.Fault
		want     [3]string // the lines' states
		says     [3]string
	}{
		"all works":    {orders: 40, want: [3]string{"ok", "ok", "ok"}, says: [3]string{"accepts", "site 1 (https://shop.example.com/)", "there are "}},
		"a new shop":   {want: [3]string{"ok", "ok", "ok"}, says: [3]string{"", "", "none yet"}},
		"wrong":        {password: "wrong-password", want: [3]string{"failed", "skipped", "skipped"}, says: [3]string{"Sitoo does not accept the credentials (status 401"}},
		"impossible":   {password: "wrong password", want: [3]string{"failed", "skipped", "skipped"}, says: [3]string{"password is missing or not a password"}},
		"unknown site": {site: 9, want: [3]string{"ok", "failed", "skipped"}, says: [3]string{"", "site is 9, which the account does not have"}},
		"busy": {
			fault: &fakesitoo.Fault{Kind: fakesitoo.Status, Status: 429, Header: http.Header{"Retry-After": {"17"}}}, want: [3]string{"skipped", "skipped", "skipped"},
			says: [3]string{"not before 01:00:17 (Swedish time)."},
		},
		"down":              {fault: &fakesitoo.Fault{Kind: fakesitoo.Status, Status: 502, Times: -1}, want: [3]string{"failed", "skipped", "skipped"}, says: [3]string{"Sitoo cannot answer just now (status 502"}},
		"silent":            {fault: &fakesitoo.Fault{Kind: fakesitoo.Hang, Times: -1}, want: [3]string{"failed", "skipped", "skipped"}, says: [3]string{"Sitoo did not answer"}},
		"no right":          {fault: &fakesitoo.Fault{Kind: fakesitoo.Status, Status: 403, Match: orders}, want: [3]string{"ok", "ok", "failed"}, says: [3]string{"", "", "right to read orders"}},
		"orders unreadable": {fault: &fakesitoo.Fault{Kind: fakesitoo.Garbage, Match: orders, Times: -1}, want: [3]string{"ok", "ok", "failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T) {
				r := newRig(t, true)
				s := fakesitoo.New(fakesitoo.Options{Orders: tt.orders})
				if tt.fault != nil {
					s.Inject(*tt.fault)
				}
				if tt.site == 0 {
					tt.site = 1
				}
				if tt.password == "" {
					tt.password = fakesitoo.DefaultPassword
				}
				r.shop = shopOf(s, tt.site, tt.password)
				lines := r.run(t.Context())
				for i, name := range lineNames[11:] {
					if lines[name].Status != tt.want[i] {
						t.Errorf("%+v, want %s", lines[name], tt.want[i])
					}
					r.says(lines[name], tt.says[i])
				}
				// Rule's lines do not depend on Sitoo.
				for _, name := range lineNames[:11] {
					if lines[name].Status != setup.OK {
						t.Errorf("%+v", lines[name])
					}
				}
			})
		})
	}
}

// A defect does not leave anybody behind either.
func TestPanic(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		r := newRig(t, true)
		var writes atomic.Int32
		now := func() time.Time {
			if writes.Load() > 0 {
				panic("a defect")
			}
			return time.Now()
		}
		r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
			if q.Method == "POST" {
				writes.Add(1)
			}
			return nil
		})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the defect is hidden")
				}
			}()
			(&setup.Check{Now: now, NewID: func() string { return "id1" }}).Run(t.Context(), r.account, r.session, nil)
		}()
		if diff := cmp.Diff(r.before, r.rule.Subscribers(key)); diff != "" {
			t.Errorf("people in Rule (-before +after):\n%s", diff)
		}
	})
}

// The report is as documented.
func TestReport(t *testing.T) {
	t.Parallel()
	lines := []setup.Line{{Name: "API key", Status: setup.OK, Err: io.EOF}, {Name: "Order", Status: setup.Skipped, Detail: "d", Advice: "a"}}
	for want, list := range map[string][]setup.Line{
		`{"status":"ok","lines":[{"name":"API key","status":"ok","code":"api_key_ok"},{"name":"Order","status":"skipped","code":"order_skipped","detail":"d","advice":"a"}]}`: lines,
		`{"status":"failed","lines":[{"name":"x","status":"failed","code":"x_failed"}]}`:                                                                                      {{Name: "x", Status: setup.Failed}},
	} {
		got, err := json.Marshal(setup.NewReport(list))
		if err != nil || string(got) != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
