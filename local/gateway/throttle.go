package gateway

import (
	"net/http"
	"sync"
	"time"

	"sitoo-rule/local/template"
)

var throttled = faultKind{"THROTTLED", http.StatusTooManyRequests, "Too Many Requests", "TooManyRequestsException"}

// throttle holds each route to its own limit, as the service does: a bucket of
// tokens that fills again at a rate.
type throttle struct {
	limits []template.Throttle
	now    func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket // by method and resource path
}

type bucket struct {
	tokens float64
	at     time.Time
}

// allow reports whether a route takes one request more. A nil throttle takes all.
func (t *throttle) allow(method, path string) bool {
	if t == nil {
		return true
	}
	var limit template.Throttle
	for _, l := range t.limits { // the last that fits is the closest
		if (l.Method == "*" || l.Method == method) && (l.Path == "/*" || l.Path == path) {
			limit = l
		}
	}
	if limit.Rate == 0 {
		return true
	}
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.buckets[method+" "+path]
	if !ok {
		b = &bucket{tokens: float64(limit.Burst), at: now}
		t.buckets[method+" "+path] = b
	}
	b.tokens = min(float64(limit.Burst), b.tokens+now.Sub(b.at).Seconds()*float64(limit.Rate))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
