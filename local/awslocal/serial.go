package awslocal

import (
	"net/http"
	"strings"
	"sync"
)

// Serial returns a transport that lets one request at a time reach DynamoDB and
// all others through as they come. DynamoDB checks a condition and writes in one
// step; MiniStack serves requests side by side, and one run in some ten showed two
// conditional writes at once that both succeeded. What is tested through
// Serial is what our code does between its requests, with the guarantee it
// relies on inside each. It holds for the clients that share the transport.
func Serial(next http.RoundTripper) http.RoundTripper { return &serial{next: next} }

type serial struct {
	next http.RoundTripper
	mu   sync.Mutex
}

func (s *serial) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_") {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	return s.next.RoundTrip(r)
}
