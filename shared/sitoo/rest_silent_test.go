package sitoo_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"sitoo-rule/local/cutoff"
	"sitoo-rule/shared/sitoo"
)

// A connection to Sitoo that dies in silence is found out by itself: no call
// fails, and none waits for the half minute that an answer may take.
func TestConnectionThatDiesInSilence(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the request came over %s, want HTTP/2", r.Proto)
		}
		_, _ = w.Write([]byte(`{"totalcount":0,"items":[]}`))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy, err := cutoff.Listen(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	web := sitoo.NewRESTHTTPClient()
	transport, _ := web.Transport.(*http.Transport)
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	creds := demo
	creds.BaseURL = "https://" + proxy.Addr() + "/v2/accounts/90001"
	s := sitoo.NewREST(sitoo.RESTConfig{HTTP: web, Pause: -1, AllowAnyHost: true}).Shop(creds)
	if _, err := s.Orders(t.Context(), sitoo.Query{}); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	failed := 0
	for range 10 {
		if _, err := s.Orders(t.Context(), sitoo.Query{}); err != nil {
			failed++
		}
	}
	// A call that waited for its time-out would have failed: it is not tried again.
	if failed > 0 || proxy.Opened() != 2 {
		t.Errorf("of 10 calls %d failed, over %d connections; want 0 and 2", failed, proxy.Opened())
	}
}
