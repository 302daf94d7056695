package fakerule_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
)

const key = "demo-key"

// start is a summer day: Stockholm is two hours ahead of UTC.
var start = time.Date(2026, 5, 14, 12, 12, 16, 0, time.UTC)

// clock is moved by the test alone.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a Server without a network, for everything but connections.
type rig struct {
	*fakerule.Server
	t     *testing.T
	clock *clock
}

func newRig(t *testing.T, o fakerule.Options) *rig {
	t.Helper()
	c := &clock{now: start}
	o.Now = c.Now
	return &rig{Server: fakerule.New(o), t: t, clock: c}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one call with the right key and content type. It may be used by
// several goroutines at once.
func (r *rig) do(method, target, body string) answer {
	return r.send(request(method, target, body))
}

func request(method, target, body string) *http.Request {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
	}
	return req
}

func (r *rig) send(req *http.Request) answer {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	b, _ := io.ReadAll(w.Result().Body)
	return answer{status: w.Code, header: w.Result().Header, body: string(b)}
}

// must is do for a call that has to succeed.
func (r *rig) must(method, target, body string) answer {
	r.t.Helper()
	a := r.do(method, target, body)
	if a.status >= 300 {
		r.t.Fatalf("%s %s %s: got %d %s", method, target, body, a.status, a.body)
	}
	return a
}

// upsert registers one person and returns the id.
func (r *rig) upsert(body string) int64 {
	r.t.Helper()
	var out struct{ Subscriber struct{ ID int64 } }
	decode(r.t, r.must("POST", "/v2/subscribers", body).body, &out)
	if out.Subscriber.ID == 0 {
		r.t.Fatalf("upsert %s: there is no id in the answer", body)
	}
	return out.Subscriber.ID
}

func decode(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
}

// sameJSON compares two JSON texts without regard to order and space.
func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	decode(t, got, &g)
	decode(t, want, &w)
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("JSON differs (-want +got):\n%s", d)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, d)
	}
}
