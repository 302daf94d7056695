package rule_test

import (
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// trusting is the product's own HTTP client, which trusts a test's server too.
func trusting(t *testing.T, srv *httptest.Server) *http.Client {
	t.Helper()
	web := rule.NewHTTPClient()
	tr, ok := web.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", web.Transport)
	}
	tr.TLSClientConfig.RootCAs = x509.NewCertPool()
	tr.TLSClientConfig.RootCAs.AddCert(srv.Certificate())
	t.Cleanup(web.CloseIdleConnections)
	return web
}

// Once a connection is open, no answer costs a new one: not an error, not a
// long one, not one that nobody reads, not a redirect.
func TestConnectionsLiveOn(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			var conns atomic.Int32
			var status atomic.Int32
			var body atomic.Value
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Proto != proto {
					t.Errorf("request by %s, want %s", r.Proto, proto)
				}
				w.Header().Set("Retry-After", "1")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(int(status.Load()))
				_, _ = io.WriteString(w, body.Load().(string))
			}))
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			srv.EnableHTTP2 = proto == "HTTP/2.0"
			srv.StartTLS()
			t.Cleanup(srv.Close)
			c := rule.New(rule.Config{URL: srv.URL, HTTP: trusting(t, srv), Pause: -1})
			for i, a := range []struct {
				status int
				body   string
			}{
				{200, `{}`},
				{404, `{"error":"SubscriberNotFound"}`},
				{500, "<html>" + strings.Repeat("x", 1<<18) + "</html>"},
				{429, strings.Repeat("y", 1<<18)},
				{302, "<html>Moved</html>"},
				{204, ""},
				{200, `{"data":[` + strings.Repeat(" ", 1<<18) + `]}`},
				{200, "<html>"},
				{401, `{"error":"NotAuthorized"}`},
			} {
				status.Store(int32(a.status))
				body.Store(a.body)
				for _, call := range calls {
					_ = call.do(t.Context(), c.Session(key, time.Time{}, nil))
				}
				if got := conns.Load(); got != 1 {
					t.Fatalf("%d connections after answer %d, a %d with %d bytes; want the first alone", got, i+1, a.status, len(a.body))
				}
			}
		})
	}
}

// The key does not travel to where a redirect points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) }))
		t.Cleanup(srv.Close)
		web := trusting(t, srv)
		web.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(elsewhere.Certificate())
		s := rule.New(rule.Config{URL: srv.URL, HTTP: web, Pause: -1}).Session(key, time.Time{}, nil)
		f, e := ruleError(t, s.Verify(t.Context()))
		if f.Kind != fault.Unavailable || e.Status != status {
			t.Errorf("redirect %d gave %+v around %+v, want unavailable", status, f, e)
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("%d requests went where the redirects point", n)
	}
}

// A server that is not the one it claims to be gets no key.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s := rule.New(rule.Config{URL: srv.URL, Pause: -1}).Session(key, time.Time{}, nil)
	_, e := ruleError(t, s.AppendEntry(t.Context(), 1, "g", nil))
	if e.Uncertain || s.Calls() != 2 || visits.Load() != 0 {
		t.Errorf("uncertain: %v after %d tries and %d requests served; want certain, 2, 0", e.Uncertain, s.Calls(), visits.Load())
	}
}

// Nothing listens: nothing was sent, and even what must not be doubled is
// tried again.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := rule.New(rule.Config{URL: "http://" + addr, Pause: -1}).Session(key, time.Time{}, nil)
	f, e := ruleError(t, s.AppendEntry(t.Context(), 1, "g", nil))
	if f.Kind != fault.Unavailable || e.Uncertain || s.Calls() != 2 {
		t.Errorf("%v, uncertain: %v after %d tries; want unavailable, certain, 2", f.Kind, e.Uncertain, s.Calls())
	}
}

// The connection ends while the answer is awaited.
func TestConnectionLostOnTheWire(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(srv.Close)
	s := rule.New(rule.Config{URL: srv.URL, Pause: -1}).Session(key, time.Time{}, nil)
	_, e := ruleError(t, s.AppendEntry(t.Context(), 1, "g", nil))
	if !e.Uncertain || s.Calls() != 1 {
		t.Errorf("uncertain: %v after %d tries; want uncertain after 1", e.Uncertain, s.Calls())
	}
}

// endless is an answer that never ends; it counts what is read of it.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (*endless) Close() error { return nil }

func TestAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	const limit = 8 << 20
	for status, want := range map[int]fault.Kind{200: fault.Unavailable, 404: fault.Unavailable, 500: fault.Unavailable, 429: fault.Busy} {
		body := &endless{}
		s, w := session(func(r *http.Request) (*http.Response, error) {
			res, err := answered(status, "")(r)
			res.Body = body
			return res, err
		})
		err := s.AppendEntry(t.Context(), 1, "g", nil)
		f, e := ruleError(t, err)
		if f.Kind != want || e.Uncertain != (want != fault.Busy) || w.count() != 1 {
			t.Errorf("%d: %v, uncertain: %v after %d requests; want %v after one", status, f.Kind, e.Uncertain, w.count(), want)
		}
		if n := body.read.Load(); n < limit || n > limit+1<<20 {
			t.Errorf("%d: %d bytes were read, want little more than %d", status, n, limit)
		}
		if want == fault.Unavailable && !strings.HasSuffix(e.Error(), "no answer: answer over 8388608 bytes") {
			t.Errorf("%d: %q, want it to tell the limit", status, e.Error())
		}
	}
	// Up to the limit, an answer is one.
	s, _ := session(answered(200, `{"subscriber":{"id":1}`+strings.Repeat(" ", limit-23)+`}`))
	if _, err := s.Subscriber(t.Context(), rule.ByID(1)); err != nil {
		t.Errorf("answer of %d bytes: %v", limit, err)
	}
}

// An address and a number stand in a path as Rule wants them: with + and @
// escaped, and with nothing that could make it another path.
func TestPaths(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.RequestURI)
		_, _ = io.WriteString(w, `{"subscriber":{"id":1},"groups":[]}`)
	}))
	t.Cleanup(srv.Close)
	s := rule.New(rule.Config{URL: srv.URL + "/api", Pause: -1}).Session(key, time.Time{}, nil)
	for _, tt := range []struct {
		who  rule.Identifier
		want string
	}{
		{rule.ByEmail("kund.ett@example.com"), "kund.ett%40example.com?identified_by=email"},
		{rule.ByEmail("kund+ett@example.com"), "kund%2Bett%40example.com?identified_by=email"},
		{rule.ByEmail("kund/ett@example.com"), "kund%2Fett%40example.com?identified_by=email"},
		{rule.ByEmail("50%25@example.com"), "50%2525%40example.com?identified_by=email"},
		{rule.ByEmail("what?who#where@example.com"), "what%3Fwho%23where%40example.com?identified_by=email"},
		{rule.ByEmail(`"two words"@example.com`), "%22two%20words%22%40example.com?identified_by=email"},
		{rule.ByEmail("åsa@example.com"), "%C3%A5sa%40example.com?identified_by=email"},
		{rule.ByEmail("a&identified_by=id@example.com"), "a%26identified_by%3Did%40example.com?identified_by=email"},
		{rule.ByEmail("%s%d@example.com"), "%25s%25d%40example.com?identified_by=email"},
		{rule.ByPhone("+46701740605"), "%2B46701740605?identified_by=phone_number"},
		{rule.ByID(255934461), "255934461?identified_by=id"},
	} {
		if _, err := s.Subscriber(t.Context(), tt.who); err != nil {
			t.Fatal(err)
		}
		if want := "/api/v2/subscribers/" + tt.want; got.Load() != want {
			t.Errorf("Subscriber(%v) asks for %s, want %s", tt.who, got.Load(), want)
		}
	}
}

// The client gives up connecting long before a till gives up.
func TestHTTPClient(t *testing.T) {
	t.Parallel()
	web := rule.NewHTTPClient()
	if err := web.CheckRedirect(nil, nil); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("CheckRedirect = %v, want the redirect itself as the answer", err)
	}
	tr := web.Transport.(*http.Transport)
	if tr.TLSClientConfig.MinVersion < 0x0303 || tr.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("TLS of version %x or better, verification off: %v", tr.TLSClientConfig.MinVersion, tr.TLSClientConfig.InsecureSkipVerify)
	}
	if tr.TLSHandshakeTimeout <= 0 || tr.TLSHandshakeTimeout > 3*time.Second {
		t.Errorf("TLS handshake may take %v", tr.TLSHandshakeTimeout)
	}
}
