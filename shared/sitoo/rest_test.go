package sitoo_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

var update = flag.Bool("update", false, "write testdata/rest from what is sent now")

// evening is when the clocks of the REST tests stand.
var evening = time.Date(2026, 5, 14, 18, 0, 0, 0, time.UTC)

// demo are the credentials of the REST tests.
var demo = sitoo.Credentials{BaseURL: "https://api140.mysitoo.com/v2/accounts/90001", AccountID: "90001", Site: 1, APIID: "90001-1", Password: "demo-password"}

// reply answers one request.
type reply func(r *http.Request) (*http.Response, error)

// says replies with a status and a body.
func says(status int, body string, headers ...string) reply {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// fails replies with an error of the connection.
func fails(text string) reply {
	return func(*http.Request) (*http.Response, error) { return nil, errors.New(text) }
}

// silent never replies.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// breaksOff replies with a status and loses the connection inside the body.
func breaksOff(status int, begin string) reply {
	return func(r *http.Request) (*http.Response, error) {
		res, err := says(status, "")(r)
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(begin), failing{}))
		return res, err
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// wire is an http.RoundTripper that replies in turn, the last one for all that
// follow.
type wire struct {
	mu       sync.Mutex
	replies  []reply
	requests []*http.Request
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	answer := w.replies[min(len(w.requests), len(w.replies)-1)]
	w.requests = append(w.requests, r)
	w.mu.Unlock()
	return answer(r)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

func rest(w http.RoundTripper) *sitoo.REST {
	return sitoo.NewREST(sitoo.RESTConfig{
		HTTP: &http.Client{Transport: w}, Pause: -1,
		Now: func() time.Time { return evening }, Jitter: func() float64 { return 0.5 },
	})
}

// shop returns a shop whose requests get replies. Nobody waits between tries.
func shop(replies ...reply) (*sitoo.Shop, *wire) {
	w := &wire{replies: replies}
	return rest(w).Shop(demo), w
}

func orders(ctx context.Context, s *sitoo.Shop) error {
	_, err := s.Orders(ctx, sitoo.Query{})
	return err
}

// restCalls are all calls of a shop.
var restCalls = []struct {
	name string
	do   func(ctx context.Context, s *sitoo.Shop) error
}{
	{"orders from the first on", orders},
	{"orders of a job", func(ctx context.Context, s *sitoo.Shop) error {
		_, err := s.Orders(ctx, sitoo.Query{After: 210333, Upto: 250000, Num: 200, Types: []int{sitoo.TypeOrder}, States: []int{sitoo.StateClosed, sitoo.StateOpen}})
		return err
	}},
	{"orders between dates with addresses", func(ctx context.Context, s *sitoo.Shop) error {
		_, err := s.Orders(ctx, sitoo.Query{Addresses: true, From: time.Unix(1727433600, 0), To: time.Unix(1727520000, 0)})
		return err
	}},
	{"orders by id", func(ctx context.Context, s *sitoo.Shop) error {
		_, err := s.Orders(ctx, sitoo.Query{After: 7, IDs: []int64{210502, 7, 210334}})
		return err
	}},
	{"order", func(ctx context.Context, s *sitoo.Shop) error { _, err := s.Order(ctx, 210334); return err }},
	{"last order", func(ctx context.Context, s *sitoo.Shop) error { _, err := s.LastOrder(ctx); return err }},
	{"check", func(ctx context.Context, s *sitoo.Shop) error { _, err := s.Check(ctx); return err }},
}

// Each call's requests, as they stand in testdata/rest. Those files follow the
// contract; the credentials of a request are in its header only.
func TestRESTRequests(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "rest")
	var names []string
	for _, call := range restCalls {
		name := strings.ReplaceAll(call.name, " ", "-") + ".txt"
		names = append(names, name)
		t.Run(call.name, func(t *testing.T) {
			t.Parallel()
			s, w := shop(func(r *http.Request) (*http.Response, error) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/sites.json"):
					return says(200, `{"totalcount":1,"items":[{"eshopid":1}]}`)(r)
				case strings.Contains(r.URL.Path, "/sites/"):
					return says(200, `{"orderid":210334}`)(r)
				}
				return says(200, `{"totalcount":0,"items":[]}`)(r)
			})
			if err := call.do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if s.Calls() != w.count() {
				t.Errorf("Calls = %d, want %d", s.Calls(), w.count())
			}
			var b strings.Builder
			for _, r := range w.requests {
				if r.Body != nil {
					t.Error("a GET with a body")
				}
				if user, password, _ := r.BasicAuth(); user != demo.APIID || password != demo.Password {
					t.Errorf("credentials are %s and %s", user, password)
				}
				fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
				var headers []string
				for name := range r.Header {
					headers = append(headers, name)
				}
				slices.Sort(headers)
				for _, name := range headers {
					value := strings.Join(r.Header[name], " | ")
					if name == "Authorization" {
						value, _, _ = strings.Cut(value, " ")
					}
					fmt.Fprintf(&b, "%s: %s\n", name, value)
				}
				b.WriteString("\n")
			}
			file := filepath.Join(dir, name)
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("requests differ from %s (-want +got):\n%s", name, diff)
			}
		})
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("%s belongs to no call", f.Name())
		}
	}
}

// What every call makes of what goes wrong.
func TestRESTErrors(t *testing.T) {
	t.Parallel()
	const page = "<html><body>demo-password</body></html>"
	tooMany := `{"statuscode":429,"errortext":"Too many connections"}`
	for name, tt := range map[string]struct {
		replies []reply
		kind    fault.Kind
		message string        // all of it, or a part that begins with …
		wait    time.Duration // until RetryAt, 0 for none
		calls   int
	}{
		"wrong credentials": {
			[]reply{says(401, `{"statuscode":401,"errortext":"Authentication failed."}`)},
			fault.Unauthorized, "Sitoo does not accept the credentials (status 401: Authentication failed).", 0, 1,
		},
		"an address that may not call":        {[]reply{says(403, `{"statuscode":403,"errortext":"IP not allowed"}`)}, fault.Unauthorized, "…(status 403: IP not allowed).", 0, 1},
		"a page instead of a text":            {[]reply{says(401, page)}, fault.Unauthorized, "Sitoo does not accept the credentials (status 401).", 0, 1},
		"a text that repeats the password":    {[]reply{says(401, `{"errortext":"no user demo-password"}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a text that repeats the credentials": {[]reply{says(401, `{"errortext":"Basic OTAwMDEtMTpkZW1vLXBhc3N3b3Jk"}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a text with an address":              {[]reply{says(401, `{"errortext":"ask kund.ett@example.com"}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a long text":                         {[]reply{says(401, `{"errortext":"`+strings.Repeat("a", 161)+`"}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a text of two lines":                 {[]reply{says(401, `{"errortext":"a\nb"}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a text of another type":              {[]reply{says(401, `{"errortext":5}`)}, fault.Unauthorized, "…(status 401).", 0, 1},
		"a bad request":                       {[]reply{says(400, `{"statuscode":400,"errortext":"Missing required field 'x'."}`)}, fault.Invalid, "…(status 400: Missing required field 'x').", 0, 1},
		"too many, seconds":                   {[]reply{says(429, tooMany, "Retry-After", "7")}, fault.Busy, "…under way (status 429: Too many connections).", 7 * time.Second, 1},
		"too many, a date":                    {[]reply{says(429, tooMany, "Retry-After", "Thu, 14 May 2026 17:00:30 GMT", "Date", "Thu, 14 May 2026 17:00:00 GMT")}, fault.Busy, "…under way", 30 * time.Second, 1},
		"too many, a reset in seconds":        {[]reply{says(429, tooMany, "X-Rate-Limit-Reset", "12")}, fault.Busy, "…under way", 12 * time.Second, 1},
		"too many, a reset as a moment":       {[]reply{says(429, tooMany, "X-Rate-Limit-Reset", fmt.Sprint(evening.Add(time.Minute).Unix()))}, fault.Busy, "…under way", time.Minute, 1},
		"too many, both":                      {[]reply{says(429, tooMany, "X-Rate-Limit-Reset", "12", "Retry-After", "3")}, fault.Busy, "…under way", 3 * time.Second, 1},
		"too many, at once":                   {[]reply{says(429, tooMany, "Retry-After", "0")}, fault.Busy, "…under way", time.Second, 1},
		"too many, for ever":                  {[]reply{says(429, tooMany, "Retry-After", "99999999")}, fault.Busy, "…under way", time.Hour, 1},
		"too many, until the past":            {[]reply{says(429, tooMany, "X-Rate-Limit-Reset", "1500000000")}, fault.Busy, "…under way", time.Second, 1},
		"too many, gibberish":                 {[]reply{says(429, "", "Retry-After", "soon")}, fault.Busy, "…under way (status 429).", 3750 * time.Millisecond, 1},
		"too many, broken off":                {[]reply{breaksOff(429, `{"sta`)}, fault.Busy, "…under way (status 429).", 3750 * time.Millisecond, 1},
		"too many, inside a 200":              {[]reply{says(200, tooMany)}, fault.Busy, "…under way (status 429: Too many connections).", 3750 * time.Millisecond, 1},
		"a 500 twice":                         {[]reply{says(500, `{"statuscode":500,"errortext":"Internal error"}`)}, fault.Unavailable, "Sitoo cannot answer just now (status 500: Internal error).", 0, 2},
		"a 503 that says when":                {[]reply{says(503, "", "Retry-After", "60")}, fault.Unavailable, "…(status 503).", time.Minute, 1},
		"a 408":                               {[]reply{says(408, "")}, fault.Unavailable, "…(status 408).", 0, 2},
		"a 418":                               {[]reply{says(418, "")}, fault.Invalid, "…(status 418).", 0, 1},
		"a redirect":                          {[]reply{says(302, "", "Location", "https://169.254.169.254/")}, fault.Unavailable, "…(status 302).", 0, 1},
		"a page with status 200":              {[]reply{says(200, page)}, fault.Unavailable, "Sitoo did not answer as expected.", 0, 2},
		"nothing with status 200":             {[]reply{says(200, "")}, fault.Unavailable, "Sitoo did not answer as expected.", 0, 2},
		"null":                                {[]reply{says(200, "null")}, fault.Unavailable, "Sitoo did not answer as expected.", 0, 2},
		"an array":                            {[]reply{says(200, "[]")}, fault.Unavailable, "Sitoo did not answer as expected.", 0, 2},
		"a body that breaks off":              {[]reply{breaksOff(200, `{"totalcount":1,"items":[`)}, fault.Unavailable, "Sitoo did not answer.", 0, 2},
		"no connection":                       {[]reply{fails("dial tcp: connection refused")}, fault.Unavailable, "Sitoo did not answer.", 0, 2},
		"an answer that is no HTTP":           {[]reply{fails(`malformed HTTP response "demo-password"`)}, fault.Unavailable, "Sitoo did not answer.", 0, 2},
		"first a 502, then wrong credentials": {[]reply{says(502, page), says(401, "")}, fault.Unauthorized, "…(status 401).", 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range restCalls {
				s, w := shop(tt.replies...)
				err := call.do(t.Context(), s)
				f, ok := errors.AsType[*fault.Error](err)
				if _, is := errors.AsType[*sitoo.RESTError](err); !ok || !is {
					t.Fatalf("%s: error %v (%T) is no fault around a RESTError", call.name, err, err)
				}
				if f.Kind != tt.kind {
					t.Errorf("%s: %v is %v, want %v", call.name, err, f.Kind, tt.kind)
				}
				part, cut := strings.CutPrefix(tt.message, "…")
				if f.Message != tt.message && !(cut && strings.Contains(f.Message, part)) {
					t.Errorf("%s: message %q, want %q", call.name, f.Message, tt.message)
				}
				if strings.Contains(err.Error(), "demo-password") || strings.Contains(err.Error(), "OTAwMDEt") {
					t.Errorf("%s: the error shows the credentials: %v", call.name, err)
				}
				if got := f.RetryAt; tt.wait == 0 && !got.IsZero() || tt.wait != 0 && !got.Equal(evening.Add(tt.wait)) {
					t.Errorf("%s: RetryAt is %v, want %v after %v", call.name, got, tt.wait, evening)
				}
				if w.count() != tt.calls || s.Calls() != tt.calls {
					t.Errorf("%s: %d requests, %d counted, want %d", call.name, w.count(), s.Calls(), tt.calls)
				}
			}
		})
	}
}

// An answer is read up to a bound.
func TestRESTAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	s, w := shop(func(r *http.Request) (*http.Response, error) {
		res, err := says(200, "")(r)
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"items":[`), blanks{}))
		return res, err
	})
	err := orders(t.Context(), s)
	if got, want := fault.As(err).Message, "Sitoo's answer is over 32 MiB."; fault.KindOf(err) != fault.TooLarge || got != want || w.count() != 1 {
		t.Errorf("%v after %d requests, want too large after 1", err, w.count())
	}
}

// blanks has no end.
type blanks struct{}

func (blanks) Read(b []byte) (int, error) { return len(b), nil }

func TestRESTNotFound(t *testing.T) {
	t.Parallel()
	answer := says(404, `{"statuscode":404,"errortext":"Order not found"}`)
	for _, call := range restCalls {
		s, w := shop(answer)
		err := call.do(t.Context(), s)
		if fault.KindOf(err) != fault.NotFound || w.count() != 1 {
			t.Errorf("%s: %v after %d requests, want not found after 1", call.name, err, w.count())
		}
	}
	s, _ := shop(answer)
	_, err := s.Order(t.Context(), 7)
	if got, want := fault.As(err).Message, "Sitoo has no order 7 in site 1."; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	for _, id := range []int64{0, -5} {
		s, w := shop(says(200, "{}"))
		if _, err := s.Order(t.Context(), id); fault.KindOf(err) != fault.NotFound || w.count() != 0 {
			t.Errorf("order %d: %v after %d requests", id, err, w.count())
		}
	}
}

// A second try helps where the first one was not answered.
func TestRESTSecondTry(t *testing.T) {
	t.Parallel()
	good := says(200, `{"totalcount":1,"items":[{"orderid":5}]}`)
	for name, first := range map[string]reply{"500": says(500, ""), "lost": fails("EOF"), "garbage": says(200, "<html>"), "cut": breaksOff(200, "{")} {
		s, w := shop(first, good)
		p, err := s.Orders(t.Context(), sitoo.Query{})
		if err != nil || len(p.Orders) != 1 || w.count() != 2 {
			t.Errorf("%s: %v, %v after %d requests", name, p, err, w.count())
		}
	}
}

// A time-out is not tried again at once, and a caller that has gone is not waited
// for.
func TestRESTTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := shop(silent)
		start := time.Now()
		err := orders(t.Context(), s)
		if fault.KindOf(err) != fault.Unavailable || w.count() != 1 || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %d requests and %v, want unavailable after 1 and 30 s", err, w.count(), time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		// The pause before the second try, and a deadline too close for it.
		w := &wire{replies: []reply{says(500, "")}}
		s := sitoo.NewREST(sitoo.RESTConfig{HTTP: &http.Client{Transport: w}, Jitter: func() float64 { return 0.5 }}).Shop(demo)
		start := time.Now()
		if err := orders(t.Context(), s); err == nil || w.count() != 2 || time.Since(start).Round(time.Millisecond) != 500*time.Millisecond {
			t.Errorf("%v after %d requests and %v, want 2 with 500 ms between", err, w.count(), time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		defer cancel()
		if err := orders(ctx, s); err == nil || w.count() != 3 {
			t.Errorf("%v after %d requests, want 1 more", err, w.count()-2)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := orders(ctx, s); err == nil || w.count() != 4 {
			t.Errorf("%v after %d requests, want 1 more", err, w.count()-3)
		}
	})
}

// After a 429 the account is left alone until it is over, by every Shop of it;
// refusals in a row make it longer.
func TestRESTBackoff(t *testing.T) {
	t.Parallel()
	now := evening
	w := &wire{replies: []reply{says(429, "")}}
	c := sitoo.NewREST(sitoo.RESTConfig{
		HTTP: &http.Client{Transport: w}, Pause: -1, Now: func() time.Time { return now }, Jitter: func() float64 { return 0.999999 },
	})
	for i, want := range []time.Duration{5, 10, 20, 40, 80, 120, 120} {
		err := orders(t.Context(), c.Shop(demo))
		at := fault.As(err).RetryAt
		if got := at.Sub(now).Round(time.Second); fault.KindOf(err) != fault.Busy || got != want*time.Second {
			t.Fatalf("refusal %d: %v, wait %v, want %v", i, err, got, want*time.Second)
		}
		before := w.count()
		now = at.Add(-time.Millisecond)
		other := demo
		other.Site = 2
		if err := orders(t.Context(), c.Shop(other)); fault.KindOf(err) != fault.Busy || !fault.As(err).RetryAt.Equal(at) || w.count() != before {
			t.Fatalf("refusal %d: before the end of it: %v, %d requests", i, err, w.count()-before)
		}
		now = at
	}
	// Another account is not held up, and an answer ends the row.
	other := demo
	other.BaseURL, other.AccountID = "https://api140.mysitoo.com", "90002"
	before := w.count()
	if err := orders(t.Context(), c.Shop(other)); fault.As(err).RetryAt.Sub(now).Round(time.Second) != 5*time.Second || w.count() != before+1 {
		t.Errorf("another account: %v", err)
	}
	w.replies = []reply{says(200, `{"items":[]}`)}
	if err := orders(t.Context(), c.Shop(demo)); err != nil {
		t.Error(err)
	}
	w.replies = []reply{says(429, "")}
	if err := orders(t.Context(), c.Shop(demo)); fault.As(err).RetryAt.Sub(now).Round(time.Second) != 5*time.Second {
		t.Errorf("after an answer: %v", err)
	}
}

// One account has one request under way, whoever asks; two accounts two.
func TestRESTOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		all, mostOfAll := 0, 0
		c := rest(&wire{replies: []reply{func(r *http.Request) (*http.Response, error) {
			account := strings.Split(r.URL.Path, "/")[3]
			mu.Lock()
			now[account]++
			all++
			most[account], mostOfAll = max(most[account], now[account]), max(mostOfAll, all)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now[account]--
			all--
			mu.Unlock()
			return says(200, `{"items":[]}`)(r)
		}}})
		other := demo
		other.BaseURL, other.AccountID = "https://api.mysitoo.com", "90002"
		var group sync.WaitGroup
		start := time.Now()
		for _, creds := range []sitoo.Credentials{demo, demo, other, other, demo} {
			group.Go(func() {
				if err := orders(t.Context(), c.Shop(creds)); err != nil {
					t.Error(err)
				}
			})
		}
		// Who cannot wait is let go.
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		synctest.Wait()
		s := c.Shop(demo)
		if err := orders(ctx, s); fault.KindOf(err) != fault.Unavailable || s.Calls() != 0 {
			t.Errorf("%v after %d requests, want unavailable without one", err, s.Calls())
		}
		group.Wait()
		if most["90001"] != 1 || most["90002"] != 1 || mostOfAll != 2 || time.Since(start) != 3*time.Second {
			t.Errorf("at most %v, %d in all, in %v", most, mostOfAll, time.Since(start))
		}
	})
}

func ids(p sitoo.Page) []int64 {
	var list []int64
	for _, o := range p.Orders {
		list = append(list, o.ID)
	}
	return list
}

func TestOrdersPage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		query sitoo.Query
		body  string
		want  []int64
		total int
		more  bool
	}{
		"the usual":                         {sitoo.Query{After: 4, Upto: 9}, `{"totalcount":3,"items":[{"orderid":5},{"orderid":7},{"orderid":8}]}`, []int64{5, 7, 8}, 3, true},
		"up to the end":                     {sitoo.Query{After: 4, Upto: 8}, `{"totalcount":2,"items":[{"orderid":5},{"orderid":8}]}`, []int64{5, 8}, 2, false},
		"no end":                            {sitoo.Query{}, `{"totalcount":1,"items":[{"orderid":5}]}`, []int64{5}, 1, true},
		"nothing left":                      {sitoo.Query{After: 8, Upto: 9}, `{"totalcount":0,"items":[]}`, nil, 0, false},
		"no count":                          {sitoo.Query{}, `{"items":[{"orderid":5}]}`, []int64{5}, -1, true},
		"a count as a text":                 {sitoo.Query{}, `{"totalcount":"7","items":[{"orderid":"5"}]}`, []int64{5}, 7, true},
		"a count that is none":              {sitoo.Query{}, `{"totalcount":-3,"items":[{"orderid":5}]}`, []int64{5}, -1, true},
		"a page that was cut":               {sitoo.Query{Num: 2}, `{"totalcount":9,"items":[{"orderid":5}]}`, []int64{5}, 9, true},
		"twice on the page":                 {sitoo.Query{}, `{"totalcount":3,"items":[{"orderid":5},{"orderid":6},{"orderid":5}]}`, []int64{5, 6}, 3, true},
		"of the page before":                {sitoo.Query{After: 5}, `{"totalcount":3,"items":[{"orderid":5},{"orderid":6},{"orderid":4}]}`, []int64{6}, 3, true},
		"after the end":                     {sitoo.Query{Upto: 6}, `{"totalcount":3,"items":[{"orderid":5},{"orderid":6},{"orderid":7}]}`, []int64{5, 6}, 3, false},
		"by id":                             {sitoo.Query{IDs: []int64{6, 5}}, `{"totalcount":2,"items":[{"orderid":5},{"orderid":6}]}`, []int64{5, 6}, 2, false},
		"by id, the last one is not there":  {sitoo.Query{IDs: []int64{5, 6}}, `{"totalcount":1,"items":[{"orderid":5}]}`, []int64{5}, 1, true},
		"by id, with an id that cannot be":  {sitoo.Query{IDs: []int64{-1, 6}}, `{"totalcount":1,"items":[{"orderid":6}]}`, []int64{6}, 1, false},
		"an end before any order":           {sitoo.Query{After: -7, Upto: -1}, `{"totalcount":1,"items":[{"orderid":5}]}`, []int64{5}, 1, true},
		"an id as large as can be, at last": {sitoo.Query{Upto: 1<<63 - 1}, `{"items":[{"orderid":9223372036854775806}]}`, []int64{1<<63 - 2}, -1, false},
	} {
		s, _ := shop(says(200, tt.body))
		p, err := s.Orders(t.Context(), tt.query)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, ids(p)); diff != "" || p.Total != tt.total || p.More != tt.more {
			t.Errorf("%s: %v of %d, more %v, want %v of %d, more %v", name, ids(p), p.Total, p.More, tt.want, tt.total, tt.more)
		}
		if len(tt.want) > 0 && p.Last() != slices.Max(tt.want) || len(tt.want) == 0 && p.Last() != 0 {
			t.Errorf("%s: last is %d", name, p.Last())
		}
	}
}

// What would lose orders is no page.
func TestOrdersRefusesPages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, says string }{
		"newest first":            {`{"totalcount":9,"items":[{"orderid":9},{"orderid":8}]}`, "not sorted"},
		"the filter is ignored":   {`{"totalcount":9,"items":[{"orderid":3},{"orderid":4}]}`, "outside the site or the ids"},
		"another site":            {`{"totalcount":9,"items":[{"orderid":5,"eshopid":2}]}`, "outside the site or the ids"},
		"a count and no orders":   {`{"totalcount":9,"items":[]}`, "lists none"},
		"no items":                {`{"totalcount":9}`, "no items"},
		"items are null":          {`{"items":null}`, "items: no JSON array"},
		"items are an object":     {`{"items":{"1":{}}}`, "items: no JSON array"},
		"a page cut and closed":   {`{"items":[{"orderid":5},{"orderi]}`, "no JSON"},
		"a bracket too few":       {`{"items":[{"orderid":5],"x":1}`, "no JSON"},
		"text behind":             {`{"items":[{"orderid":5}]}<html>`, "no JSON"},
		"an order without a id":   {`{"items":[{"orderid":5},{"email":"kund.ett@example.com"}]}`, "items[1]: no orderid"},
		"an order of id 0":        {`{"items":[{"orderid":0}]}`, "items[0]: no orderid"},
		"an order of id 1.5":      {`{"items":[{"orderid":1.5}]}`, "items[0]: no orderid"},
		"an order that is null":   {`{"items":[null]}`, "items[0]: no JSON object"},
		"an order that is a text": {`{"items":["5"]}`, "items[0]: no JSON object"},
	} {
		s, w := shop(says(200, tt.body))
		p, err := s.Orders(t.Context(), sitoo.Query{After: 4, Upto: 100})
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), tt.says) || len(p.Orders) != 0 || w.count() != 2 {
			t.Errorf("%s: %v, %v after %d requests", name, p, err, w.count())
		}
		if strings.Contains(fmt.Sprint(err), "kund.ett") {
			t.Errorf("%s: %v names a person", name, err)
		}
	}
}

func TestOrdersAsksNothing(t *testing.T) {
	t.Parallel()
	s, w := shop(says(500, ""))
	for _, q := range []sitoo.Query{{After: 9, Upto: 9}, {After: 9, Upto: 3}, {After: 1<<63 - 1}, {IDs: []int64{-4, 0}}, {After: 8, IDs: []int64{7}}, {Upto: 6, IDs: []int64{7}}} {
		if p, err := s.Orders(t.Context(), q); err != nil || len(p.Orders) != 0 || p.More {
			t.Errorf("%+v: %v, %v", q, p, err)
		}
	}
	if _, err := s.Orders(t.Context(), sitoo.Query{IDs: make([]int64, 101)}); fault.KindOf(err) != fault.Internal {
		t.Errorf("101 ids: %v", err)
	}
	if w.count() != 0 {
		t.Errorf("%d requests, want none", w.count())
	}
}

func TestOrdersListed(t *testing.T) {
	t.Parallel()
	sale, back := string(read(t, "cash-sale.json")), string(read(t, "return.json"))
	s, _ := shop(says(200, `{"totalcount":3,"items":[`+sale+`,{"orderid":210400,"eshopid":"1","registerid":null},{"orderid":210401,"eshopid":2},`+back+`]}`))
	p, err := s.Orders(t.Context(), sitoo.Query{})
	if err != nil || len(p.Orders) != 3 {
		t.Fatalf("%v, %v", p, err)
	}
	for i, want := range []sitoo.Listed{
		{ID: 210334, Site: 1, Register: "{5E6F7A8B-0000-4000-8000-00000000BBBB}"},
		{ID: 210400, Site: 1},
		{ID: 210502, Site: 1, Register: "{5E6F7A8B-0000-4000-8000-00000000DDDD}"},
	} {
		got := p.Orders[i]
		if got.ID != want.ID || got.Site != want.Site || got.Register != want.Register {
			t.Errorf("order %d is %d of site %d and till %q, want %+v", i, got.ID, got.Site, got.Register, want)
		}
		if err := sitoo.Check(got.Body); err != nil {
			t.Error(err)
		}
		if o, err := sitoo.DecodeOrder(got.Body); err != nil || o.ID != want.ID {
			t.Errorf("order %d decodes to %d, %v", want.ID, o.ID, err)
		}
	}
	// Of an order that comes twice the later one counts.
	s, _ = shop(says(200, `{"items":[{"orderid":5,"orderstateid":0},{"orderid":6},{"orderid":5,"orderstateid":10}]}`))
	if p, err = s.Orders(t.Context(), sitoo.Query{}); err != nil || !strings.Contains(string(p.Orders[0].Body), `:10`) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestOrderOfShop(t *testing.T) {
	t.Parallel()
	sale := read(t, "cash-sale.json")
	s, _ := shop(says(200, "\n"+strings.Replace(string(sale), `"orderid"`, `"personalid": "19121212-1212", "orderid"`, 1)))
	body, err := s.Order(t.Context(), 210334)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), "personalid") {
		t.Error("the order has a personal identity number")
	}
	if o, err := sitoo.DecodeOrder(body); err != nil || o.ID != 210334 || len(o.Items) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	for name, answer := range map[string]string{"another order": string(sale), "no id": `{}`, "a list": `[{"orderid":7}]`, "an envelope": `{"items":[]}`} {
		s, _ := shop(says(200, answer))
		if o, err := s.Order(t.Context(), 7); fault.KindOf(err) != fault.Unavailable || o != nil {
			t.Errorf("%s: %s, %v", name, o, err)
		}
	}
}

func TestLastOrder(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		`{"totalcount":9,"items":[{"orderid":210502}]}`:                  210502,
		`{"totalcount":9,"items":[{"orderid":"210502"},{"orderid":7}]}`:  210502,
		`{"totalcount":0,"items":[]}`:                                    0,
		`{"items":[]}`:                                                   0,
		`{"totalcount":9,"items":[]}`:                                    -1,
		`{"totalcount":9,"items":[{}]}`:                                  -1,
		`{"totalcount":9,"items":[{"orderid":99999999999999999999999}]}`: -1,
	} {
		s, _ := shop(says(200, body))
		got, err := s.LastOrder(t.Context())
		if want == -1 && fault.KindOf(err) != fault.Unavailable || want >= 0 && (err != nil || got != want) {
			t.Errorf("%s: %d, %v, want %d", body, got, err, want)
		}
	}
}

func TestShopCheck(t *testing.T) {
	t.Parallel()
	const two = `{"totalcount":2,"items":[{"eshopid":1,"siteurl":"https://shop.example.com/"},{"eshopid":2,"siteurl":5}]}`
	const last = `{"totalcount":40,"items":[{"orderid":77}]}`
	for name, tt := range map[string]struct {
		site         int64
		sites, order reply
		want         sitoo.ShopInfo
		says         string // of the refusal
	}{
		"site 1":           {1, says(200, two), says(200, last), sitoo.ShopInfo{Site: 1, URL: "https://shop.example.com/", Orders: 40, LastOrder: 77}, ""},
		"site 2":           {2, says(200, two), says(200, `{"items":[]}`), sitoo.ShopInfo{Site: 2, Orders: -1}, ""},
		"an unknown site":  {3, says(200, two), nil, sitoo.ShopInfo{}, "invalid site: is 3, which the account does not have; one of its sites (1,2) is expected"},
		"no sites":         {1, says(200, `{"items":[]}`), nil, sitoo.ShopInfo{}, "(Sitoo names none)"},
		"orders refused":   {1, says(200, two), says(403, ""), sitoo.ShopInfo{}, "unauthorized"},
		"site of no shape": {1, says(200, `{"items":[5]}`), says(200, `{"items":[5]}`), sitoo.ShopInfo{}, "unavailable"},
		"many sites":       {0x7fff, says(200, `{"items":[`+strings.Repeat(`{"eshopid":1},`, 30)+`{}]}`), nil, sitoo.ShopInfo{}, "1,1,…)"},
	} {
		creds := demo
		creds.Site = tt.site
		s := rest(&wire{replies: []reply{tt.sites, tt.order}})
		got, err := s.Shop(creds).Check(t.Context())
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v, want %s", name, err, tt.says)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

// Credentials that cannot be right send nothing.
func TestShopOfBadCredentials(t *testing.T) {
	t.Parallel()
	w := &wire{replies: []reply{says(200, `{"items":[]}`)}}
	bad := demo
	bad.BaseURL = "https://169.254.169.254/latest"
	for _, call := range restCalls {
		s := rest(w).Shop(bad)
		if err := call.do(t.Context(), s); fault.KindOf(err) != fault.Invalid || fault.As(err).Member != "baseurl" {
			t.Errorf("%s: %v", call.name, err)
		}
		if s.Calls() != 0 {
			t.Errorf("%s: %d calls", call.name, s.Calls())
		}
	}
	if w.count() != 0 {
		t.Errorf("%d requests, want none", w.count())
	}
}

// A redirect is not followed, whatever client is given.
func TestRESTFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	w := &wire{replies: []reply{says(302, "", "Location", "https://api.mysitoo.com/elsewhere"), says(200, `{"items":[]}`)}}
	given := &http.Client{Transport: w}
	s := sitoo.NewREST(sitoo.RESTConfig{HTTP: given, Pause: -1}).Shop(demo)
	if err := orders(t.Context(), s); fault.KindOf(err) != fault.Unavailable || w.count() != 1 {
		t.Errorf("%v after %d requests, want unavailable after 1", err, w.count())
	}
	if given.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// Whatever Sitoo answers: no panic, an error is a fault, short and without
// credentials, and a page keeps its promises.
func FuzzRESTAnswer(f *testing.F) {
	for _, body := range []string{
		`{"totalcount":3,"items":[{"orderid":5,"eshopid":1,"registerid":null},{"orderid":7},{"orderid":"8"}]}`, `{"totalcount":0,"items":[]}`,
		`{"statuscode":429,"errortext":"Too many connections"}`, `{"statuscode":401,"errortext":"zq-word-qz"}`, `{"items":[{"orderid":9},{"orderid":5}]}`,
		`<html>`, ``, `null`, `{"items":[null]}`, `{"orderid":5,"personalid":"x"}`, `{"items":[{"orderid":1e3}]}`, `{"totalcount":9,"items":[]}`,
	} {
		for _, status := range []int{200, 302, 401, 404, 429, 500} {
			f.Add(status, body, "7")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body, after string) {
		if status < 200 || status > 599 {
			return // no final status
		}
		creds := demo
		creds.Password = "zq-word-qz"
		q := sitoo.Query{After: 4, Upto: 100}
		s := rest(&wire{replies: []reply{says(status, body, "Retry-After", after)}}).Shop(creds)
		p, err := s.Orders(t.Context(), q)
		last := q.After
		for _, o := range p.Orders {
			if o.ID <= last || o.ID > q.Upto || json.Valid([]byte(body)) != json.Valid(o.Body) && json.Valid([]byte(body)) {
				t.Errorf("order %d after %d: %s", o.ID, last, o.Body)
			}
			last = o.ID
		}
		if err == nil && status/100 != 2 {
			t.Errorf("a %d is a success", status)
		}
		if p.More && len(p.Orders) == 0 {
			t.Error("more after nothing: for ever")
		}
		var all []error
		all = append(all, err)
		for _, call := range restCalls {
			s := rest(&wire{replies: []reply{says(status, body, "Retry-After", after)}}).Shop(creds)
			all = append(all, call.do(t.Context(), s))
		}
		for _, err := range all {
			if err == nil {
				continue
			}
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || strings.Contains(err.Error(), creds.Password) || len(err.Error()) > 1000 {
				t.Errorf("error %T %q", err, err)
			}
			if e != nil && e.Kind == fault.Busy && (e.RetryAt.Before(evening.Add(time.Second)) || e.RetryAt.After(evening.Add(time.Hour))) {
				t.Errorf("wait until %v", e.RetryAt)
			}
		}
	})
}

// What is found in JSON is what encoding/json finds in it.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"totalcount":3,"items":[{"orderid":5,"a\u0062":"}\"]"},{}],"x":[]}`, ` { "a" : 1 , "a" : [ ] } `, `{"a":"\\"}`, `{"a":tru}`, `{"a"}`, `{,}`, `{"a":1,}`, `{"a":{]}}`, `{"a":1}x`, `{"a`, `{"a":`, `{"\`, `[1]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := map[string]string{}
		err := sitoo.Members(raw, func(name []byte, value json.RawMessage) { got[string(name)] = string(value) })
		var parsed map[string]json.RawMessage
		if json.Unmarshal(raw, &parsed) != nil || parsed == nil {
			return // anything but a panic will do
		}
		if sitoo.Check(raw) != nil {
			return // deeper than any document of Sitoo's, or not UTF-8
		}
		want := map[string]string{}
		for name, value := range parsed {
			want[name] = string(value)
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-encoding/json +got):\n%s", raw, err, diff)
		}
		for _, value := range parsed {
			var list []json.RawMessage
			isList := value[0] == '[' && json.Unmarshal(value, &list) == nil
			n := 0
			err := sitoo.Elements(value, func(item json.RawMessage) {
				if n >= len(list) || string(item) != string(list[n]) {
					t.Errorf("%s: element %d is %s", value, n, item)
				}
				n++
			})
			if (err == nil) != isList || n != len(list) {
				t.Errorf("%s: %d elements, %v, want %d", value, n, err, len(list))
			}
		}
	})
}
