package rule_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"sitoo-rule/local/cutoff"
	"sitoo-rule/shared/rule"
)

// A connection that dies in silence costs at most the call that finds it out,
// and none that may be sent twice.
func TestConnectionThatDiesInSilence(t *testing.T) {
	t.Parallel()
	var over2 atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			over2.Add(1)
		}
		_, _ = w.Write([]byte(`{"tags":[]}`))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy, err := cutoff.Listen(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	web := rule.NewHTTPClient()
	transport, _ := web.Transport.(*http.Transport)
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	s := rule.New(rule.Config{URL: "https://" + proxy.Addr(), HTTP: web, Pause: -1}).Session(key, time.Time{}, nil)
	if err := s.Verify(t.Context()); err != nil || over2.Load() != 1 {
		t.Fatalf("before: %v, %d requests over HTTP/2; want none and 1", err, over2.Load())
	}
	proxy.Cut()
	failed := 0
	for range 10 {
		if err := s.Verify(t.Context()); err != nil {
			failed++
		}
	}
	if failed > 0 || over2.Load() != 11 || proxy.Opened() != 2 {
		t.Errorf("of 10 calls %d failed, %d requests arrived over %d connections; want 0, 11 and 2", failed, over2.Load(), proxy.Opened())
	}
}
