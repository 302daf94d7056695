package fakerule_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, target, body, header string
		want                         int
	}{
		"bearer v2":              {"GET", "/v2/tags", "", "Bearer demo-key", 200},
		"scheme in any case":     {"GET", "/v2/tags", "", "bearer demo-key", 200},
		"below /api":             {"GET", "/api/v2/tags", "", "Bearer demo-key", 200},
		"bearer v3":              {"GET", "/v3/custom-field-data/255934461", "", "Bearer demo-key", 200},
		"query v2":               {"GET", "/v2/tags?apikey=demo-key", "", "", 200},
		"query v3":               {"GET", "/v3/custom-field-data/255934461?apikey=demo-key", "", "", 401},
		"body v2":                {"POST", "/v2/customizations", `{"apikey":"demo-key","fields":[{"key":"A.B"}]}`, "", 200},
		"body v3":                {"POST", "/v3/subscribers", `{"apikey":"demo-key","email":"a@example.com"}`, "", 401},
		"no key":                 {"GET", "/v2/tags", "", "", 401},
		"wrong key":              {"GET", "/v2/tags", "", "Bearer other-key", 401},
		"another scheme":         {"GET", "/v2/tags", "", "Basic demo-key", 401},
		"key in a broken body":   {"POST", "/v2/subscribers", `{"apikey":"demo-key"`, "", 401},
		"key of the wrong type":  {"POST", "/v2/subscribers", `{"apikey":7}`, "", 401},
		"unknown path, no key":   {"GET", "/v2/nothing", "", "", 401},
		"unknown path, with key": {"GET", "/v2/nothing", "", "Bearer demo-key", 404},
		"wrong method":           {"PATCH", "/v2/subscribers", "", "Bearer demo-key", 405},
		"broken escape":          {"GET", "/v2/tags/%2", "", "Bearer demo-key", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			if err := r.Load(fakerule.Seed()); err != nil {
				t.Fatal(err)
			}
			if tc.want == 0 { // net/http refuses it before we would see it
				if _, err := url.Parse(tc.target); err == nil {
					t.Fatal("the target can be parsed after all")
				}
				return
			}
			req := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
			if tc.header != "" {
				req.Header.Set("Authorization", tc.header)
			}
			got := r.send(req)
			if got.status != tc.want {
				t.Fatalf("status: got %d, want %d: %s", got.status, tc.want, got.body)
			}
			if tc.want == 401 {
				equal(t, "body", got.body, `{"error":"NotAuthorized"}`)
			}
		})
	}
}

func TestKeysComeAndGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	as := func(k string) int {
		req := request("GET", "/v2/subscribers", "")
		req.Header.Set("Authorization", "Bearer "+k)
		return r.send(req).status
	}
	equal(t, "before AddKey", as("second-key"), 401)
	r.AddKey("second-key")
	r.AddKey("second-key")
	equal(t, "after AddKey", as("second-key"), 200)
	r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	equal(t, "accounts are apart", len(r.Subscribers("second-key")), 0)
	equal(t, "account ids", []string{r.AccountID(key), r.AccountID("second-key"), r.AccountID("third-key")}, []string{"42", "43", ""})
	r.RevokeKey(key)
	equal(t, "after RevokeKey", as(key), 401)
	equal(t, "the account is kept", len(r.Subscribers(key)), 1)
	r.AddKey(key)
	equal(t, "after it came back", as(key), 200)
	equal(t, "with its subscribers", len(r.Subscribers(key)), 1)
}

func TestEveryAnswerHasDateAndUsage(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.must("GET", "/v2/tags", "")
	got := r.do("GET", "/v2/subscribers/nobody@example.com", "")
	for name, want := range map[string]string{
		"Date":                  "Thu, 14 May 2026 12:12:16 GMT",
		"RequestsCount-Allowed": "2000", "RequestsCount-Current": "2",
		"X-ErrorPercent-Limit": "49", "X-ErrorPercent-Current": "50",
		"Retry-After": "", "Content-Type": "application/json",
	} {
		equal(t, name, got.header.Get(name), want)
	}
	sameJSON(t, got.body, `{"error":"SubscriberNotFound","message":"Could not find subscriber"}`)
}

func TestRequestBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.clock.advance(900 * time.Millisecond) // blocks are in whole seconds all the same
	for range fakerule.DefaultBudget {
		r.must("GET", "/v2/tags", "")
	}
	got := r.do("GET", "/v2/tags", "")
	equal(t, "v2 status", got.status, 429)
	equal(t, "v2 body", got.body, `"Too Many Attempts."`)
	equal(t, "Retry-After", got.header.Get("Retry-After"), "2026-05-14 14:22:16")
	equal(t, "RequestsCount pair is absent", got.header.Get("RequestsCount-Current")+got.header.Get("RequestsCount-Allowed"), "")
	equal(t, "X-ErrorPercent-Limit", got.header.Get("X-ErrorPercent-Limit"), "49")
	equal(t, "the one that was told does not count", r.RequestsDuringBlock(key), 0)

	r.clock.advance(fakerule.Block - 901*time.Millisecond) // a millisecond early
	got = r.do("POST", "/v3/subscribers", `{"email":"a@example.com"}`)
	equal(t, "v3 status", got.status, 429)
	equal(t, "v3 body", got.body, "Too Many Requests. You can continue at 2026-05-14 14:22:16.")
	equal(t, "a request during the block", r.RequestsDuringBlock(key), 1)
	equal(t, "nothing was done", len(r.Subscribers(key)), 0)

	r.clock.advance(time.Millisecond) // exactly when it says
	r.must("GET", "/v2/tags", "")
	equal(t, "no more of them", r.RequestsDuringBlock(key), 1)
}

func TestWindowMoves(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{Budget: 3})
	for range 6 {
		r.must("GET", "/v2/tags", "")
		r.clock.advance(5 * time.Minute)
	}
	got := r.must("GET", "/v2/tags", "")
	equal(t, "used", got.header.Get("RequestsCount-Current"), "2")
}

func TestErrorShare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		good, bad int
		want      int
	}{
		"too few to judge":      {0, fakerule.DefaultErrorSample - 1, 200},
		"all of them":           {0, fakerule.DefaultErrorSample, 429},
		"exactly at the limit":  {51, 49, 200},
		"just above":            {50, 50, 429},
		"not a single error":    {100, 0, 200},
		"above, in small doses": {26, 25, 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			for range tc.good {
				r.must("GET", "/v2/tags", "")
			}
			for range tc.bad {
				r.do("GET", "/v2/subscribers/nobody@example.com", "")
			}
			equal(t, "status", r.do("GET", "/v2/tags", "").status, tc.want)
		})
	}
}

func TestKnockingDuringABlockCostsTheNextWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{ErrorSample: 10})
	r.BlockFor(key, time.Minute)
	for range 12 {
		equal(t, "status", r.do("GET", "/v2/tags", "").status, 429)
	}
	equal(t, "requests during the block", r.RequestsDuringBlock(key), 11)
	r.clock.advance(time.Minute)
	equal(t, "after the block", r.do("GET", "/v2/tags", "").status, 429)
}

func TestRetryAfterStyles(t *testing.T) {
	t.Parallel()
	for style, want := range map[fakerule.RetryAfterStyle]string{
		fakerule.RetryAfterStockholm: "2026-05-14 14:17:16",
		fakerule.RetryAfterSeconds:   "300",
		fakerule.RetryAfterHTTPDate:  "Thu, 14 May 2026 12:17:16 GMT",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{RetryAfter: style})
			r.BlockFor(key, 5*time.Minute)
			equal(t, "Retry-After", r.do("GET", "/v2/tags", "").header.Get("Retry-After"), want)
		})
	}
}

func TestRequestsHoldNoKey(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	r := newRig(t, fakerule.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	r.must("GET", "/v2/tags?apikey=demo-key", "")
	r.do("GET", "/v2/subscribers/kund.ett%40example.com?identified_by=email", "")
	req := httptest.NewRequest("GET", "/v2/tags?apikey=other-key", nil)
	r.send(req)
	equal(t, "requests", r.Requests(), []fakerule.Request{
		{Method: "GET", Path: "/v2/tags", Route: "GET /v2/tags", Status: 200, Account: "42", At: start},
		{Method: "GET", Path: "/v2/subscribers/kund.ett@example.com", Route: "GET /v2/subscribers/*", Status: 404, Account: "42", At: start},
		{Method: "GET", Path: "/v2/tags", Route: "GET /v2/tags", Status: 401, At: start},
	})
	r.ResetRequests()
	equal(t, "after ResetRequests", len(r.Requests()), 0)
	equal(t, "log lines", strings.Count(log.String(), "\n"), 3)
	for _, secret := range []string{"demo-key", "other-key", "kund.ett"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, log.String())
		}
	}
}

func TestAnswerFaults(t *testing.T) {
	t.Parallel()
	const person = `{"subscribers":{"email":"a@example.com"}}`
	for name, tc := range map[string]struct {
		fault  fakerule.Fault
		status int
		body   string
		done   int // subscribers afterwards
	}{
		"instead": {fakerule.Fault{Status: 500, Body: `{"error":"UnexpectedError"}`}, 500, `{"error":"UnexpectedError"}`, 0},
		"after":   {fakerule.Fault{Status: 502, Body: "Bad Gateway", After: true}, 502, "Bad Gateway", 1},
		"garbage": {fakerule.Fault{Body: "<html>"}, 200, "<html>", 0},
		"200 with an error member": {
			fakerule.Fault{Body: `{"error":"UnexpectedError"}`, Header: http.Header{"Content-Type": {"application/json"}}},
			200, `{"error":"UnexpectedError"}`, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			var seen string
			r.SetFault(func(req *http.Request, body []byte) *fakerule.Fault {
				seen = req.Method + " " + req.URL.Path + " " + string(body)
				return &tc.fault
			})
			got := r.do("POST", "/v2/subscribers", person)
			equal(t, "what the fault saw", seen, "POST /v2/subscribers "+person)
			equal(t, "status", got.status, tc.status)
			equal(t, "body", got.body, tc.body)
			equal(t, "effect", len(r.Subscribers(key)), tc.done)
			r.SetFault(nil)
			r.must("GET", "/v2/tags", "")
			equal(t, "logged", r.Requests()[0].Status, tc.status)
		})
	}
}

func TestAFaultCountsAsTheErrorItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{ErrorSample: 2})
	r.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Status: 500} })
	r.do("GET", "/v2/tags", "")
	r.do("GET", "/v2/tags", "")
	r.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		t.Error("a fault was asked for although the account is blocked")
		return nil
	})
	equal(t, "status", r.do("GET", "/v2/tags", "").status, 429)
}

// overTCP starts the server on a port and returns a client without connection
// reuse, so that every fault meets a fresh connection.
func overTCP(t *testing.T, r *rig) (*http.Client, string) {
	t.Helper()
	ts := httptest.NewServer(r)
	t.Cleanup(ts.Close)
	tr := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, ts.URL
}

func TestConnectionFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault fakerule.Fault
		done  int
	}{
		"reset before": {fakerule.Fault{Kind: fakerule.FaultReset}, 0},
		"reset after":  {fakerule.Fault{Kind: fakerule.FaultReset, After: true}, 1},
		"hang before":  {fakerule.Fault{Kind: fakerule.FaultHang}, 0},
		"hang after":   {fakerule.Fault{Kind: fakerule.FaultHang, After: true}, 1},
		"cut short":    {fakerule.Fault{Body: `{"mess`, Header: http.Header{"Content-Length": {"100"}}, After: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The line in the log comes when the effect, if any, is there and
			// the connection starts to hang: then the client gives up.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := newRig(t, fakerule.Options{Log: slog.New(slog.NewTextHandler(writerFunc(func() {
				if tc.fault.Kind == fakerule.FaultHang {
					cancel()
				}
			}), nil))})
			client, base := overTCP(t, r)
			r.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &tc.fault })
			req, err := http.NewRequestWithContext(ctx, "POST", base+"/v2/subscribers", strings.NewReader(`{"subscribers":{"email":"a@example.com"}}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Fatal("the client got a whole answer")
			}
			if hung := errors.Is(err, context.Canceled); hung != (tc.fault.Kind == fakerule.FaultHang) {
				t.Errorf("got error %v", err)
			}
			equal(t, "effect", len(r.Subscribers(key)), tc.done)
		})
	}
}

// writerFunc is an io.Writer that only tells that something was written.
type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestFaultCanHoldARequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	release := make(chan struct{})
	arrived := make(chan struct{})
	r.SetFault(func(req *http.Request, _ []byte) *fakerule.Fault {
		if req.Method == "POST" {
			close(arrived)
			<-release
		}
		return nil
	})
	done := make(chan answer)
	go func() { done <- r.do("POST", "/v2/subscribers", `{"subscribers":{"email":"a@example.com"}}`) }()
	<-arrived
	r.must("GET", "/v2/tags", "") // others are not held up
	equal(t, "not yet", len(r.Subscribers(key)), 0)
	close(release)
	equal(t, "status", (<-done).status, 200)
}

func TestAnswersOverTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	client, base := overTCP(t, r)
	req, _ := http.NewRequest("GET", base+"/v2/tags", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, _ := bufio.NewReader(resp.Body).ReadString('\n')
	equal(t, "body", line, `{"meta":{"next":null},"tags":[]}`)
	equal(t, "one Date, the clock's", resp.Header["Date"], []string{"Thu, 14 May 2026 12:12:16 GMT"})
}

func TestSimultaneousRegistersMakeOneSubscriber(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := `{"update_on_duplicate":true,"tags":["Sitoo"],"subscribers":{"email":"Kund.Ett@example.com","phone_number":"070-174 06 05"}}`
			if i%2 == 1 {
				body = `{"update_on_duplicate":true,"tags":["Sitoo"],"subscribers":{"phone_number":"+46 70 174 06 05"}}`
			}
			if got := r.do("POST", "/v2/subscribers", body); got.status != 200 {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	subs := r.Subscribers(key)
	if len(subs) != 1 {
		t.Fatalf("got %d subscribers, want 1", len(subs))
	}
	equal(t, "email", subs[0].Email, "kund.ett@example.com")
	equal(t, "automations", len(r.Automations(key)), 1)
}

func TestSimultaneousCreatesWithoutUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for range 20 {
		wg.Go(func() {
			status := r.do("POST", "/v2/subscribers", `{"subscribers":{"email":"a@example.com"}}`).status
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	wg.Wait()
	equal(t, "answers", got, map[int]int{200: 1, 409: 19})
}

func FuzzRequests(f *testing.F) {
	for _, path := range []string{
		"/v2/subscribers", "/v2/subscribers/255934461/tags", "/v2/suppressions", "/v2/customizations",
		"/v3/subscribers", "/v3/custom-field-data/255934461", "/v3/suppressions", "/v3/subscribers/tags",
	} {
		for _, body := range []string{
			`{"subscribers":{"email":"a@example.com","fields":[{"key":"A.B","value":["x"],"type":"multiple"}]},"tags":["T",1]}`,
			`{"subscribers":[{"id":255934461},{"email":null}],"tags":["T"],"message_types":["email"]}`,
			`{"groups":[{"group":"A","create_if_not_exists":true,"historical":true,"values":[{"field":"b","create_if_not_exists":true,"value":[{"x":1}]}]}]}`,
			`{"identifier":{"data_id":1},"values":[{"field":1,"value":""}]}`,
			`[]`, `{"subscribers":[null,1,"x",[]]}`, `{"groups":[null]}`, "",
		} {
			f.Add("POST", path, body)
			f.Add("PUT", path+"?identified_by=id", body)
			f.Add("DELETE", path+"?page=2&limit=9", body)
		}
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		c := &clock{now: start}
		s := fakerule.New(fakerule.Options{Now: c.Now})
		if err := s.Load(fakerule.Seed()); err != nil {
			t.Fatal(err)
		}
		req := &http.Request{
			Method: method, URL: u, Host: "localhost", Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json;charset=utf-8"}},
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		s.Settle()
		if w.Code >= 500 {
			t.Errorf("%s %s %s: got %d %s", method, target, body, w.Code, w.Body)
		}
		page := httptest.NewRecorder()
		s.ServeHTTP(page, httptest.NewRequest("GET", "/", nil))
		if page.Code != 200 {
			t.Errorf("the page: got %d %s", page.Code, page.Body)
		}
	})
}

func ExampleServer() {
	s := fakerule.New(fakerule.Options{})
	_ = s.Load(fakerule.Seed())
	sub, _ := s.Subscriber(fakerule.DefaultKey, 255934461)
	name, _ := sub.Field("Sitoo-Contact.namefirst")
	fmt.Println(sub.Email, name.Value, len(s.Entries(fakerule.DefaultKey, sub.ID, "Sitoo-Order")))
	// Output: kund.ett@example.com Kund 2
}
