package rule_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// What is sent a second time: what fails for now, if nothing was sent or the
// call may be repeated; and never a third time.
func TestRetry(t *testing.T) {
	t.Parallel()
	const (
		never  = iota // an answer, and the same again
		ifSafe        // Rule may have carried it out
		always        // Rule has not
	)
	for name, tt := range map[string]struct {
		reply     reply
		again     int
		kind      fault.Kind
		uncertain bool
	}{
		"connection refused": {refusedConnection, always, fault.Unavailable, false},
		"lost":               {lost, ifSafe, fault.Unavailable, true},
		"answer broken off":  {brokenOff(200, `{"subscriber":`), ifSafe, fault.Unavailable, true},
		"refusal broken off": {brokenOff(400, `{"error":`), ifSafe, fault.Unavailable, true},
		"500":                {answered(500, `{"error":"UnexpectedError"}`), ifSafe, fault.Unavailable, true},
		"502, a page":        {answered(502, "<html>"), ifSafe, fault.Unavailable, true},
		"503":                {answered(503, ""), ifSafe, fault.Unavailable, true},
		"504":                {answered(504, ""), ifSafe, fault.Unavailable, true},
		"200, a page":        {answered(200, "<html>"), ifSafe, fault.Unavailable, true},
		"200, bare string":   {answered(200, `"Something"`), ifSafe, fault.Unavailable, true},
		"200, unknown error": {answered(200, `{"error":"UnexpectedError"}`), ifSafe, fault.Unavailable, true},
		"408":                {answered(408, ""), always, fault.Unavailable, false},
		"302":                {answered(302, ""), always, fault.Unavailable, false},
		"400":                {answered(400, `{"error":"BadRequest"}`), never, fault.Invalid, false},
		"401":                {answered(401, `{"error":"NotAuthorized"}`), never, fault.Unauthorized, false},
		"409":                {answered(409, `{"error":"DuplicateSubscriber"}`), never, fault.Conflict, false},
		"413":                {answered(413, ""), never, fault.TooLarge, false},
		"422":                {answered(422, `{"message":"no","errors":{}}`), never, fault.Invalid, false},
		"429":                {answered(429, "Too Many Attempts."), never, fault.Busy, false},
		"429, broken off":    {brokenOff(429, "Too"), never, fault.Busy, false},
		"200, known error":   {answered(200, `{"error":"BadRequest"}`), never, fault.Invalid, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range calls {
				s, w := session(tt.reply)
				err := call.do(t.Context(), s)
				f, e := ruleError(t, err)
				if f.Kind != tt.kind || e.Uncertain != tt.uncertain || rule.Uncertain(err) != tt.uncertain {
					t.Errorf("%s: %v, uncertain: %v; want %v, uncertain: %v", call.name, f.Kind, e.Uncertain, tt.kind, tt.uncertain)
				}
				want := 1
				if tt.again == always || tt.again == ifSafe && call.safe {
					want = 2
				}
				if w.count() != want || s.Calls() != want {
					t.Errorf("%s: %d requests (Calls says %d), want %d", call.name, w.count(), s.Calls(), want)
				}
			}
		})
	}
}

// The second try is the same request, whole, and its answer counts.
func TestSecondTryHelps(t *testing.T) {
	t.Parallel()
	for _, call := range calls {
		first := lost
		if !call.safe {
			first = refusedConnection
		}
		s, w := session(first, func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet || r.URL.Path == "/api/v2/subscribers" {
				return answered(200, `{"subscriber":{"id":7},"data":null,"groups":[]}`)(r)
			}
			return answered(204, "")(r)
		})
		err := call.do(t.Context(), s)
		if call.name == "entries" || call.name == "preference groups" || call.name == "update" || call.name == "update of fields alone" {
			err = nil // their answers have other shapes
		}
		if err != nil {
			t.Errorf("%s: %v, want the second answer", call.name, err)
		}
		if w.count() < 2 {
			t.Fatalf("%s: %d requests, want 2", call.name, w.count())
		}
		a, b := w.requests[0], w.requests[1]
		if a.Method != b.Method || a.URL.String() != b.URL.String() || a.body != b.body || a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
			t.Errorf("%s: second try %s %s %q, want the first again: %s %s %q", call.name, b.Method, b.URL, b.body, a.Method, a.URL, a.body)
		}
	}
}

func TestBlockBetweenTries(t *testing.T) {
	t.Parallel()
	s, w := session(lost, answered(429, "", "Retry-After", "60"))
	f, _ := ruleError(t, s.Verify(t.Context()))
	if f.Kind != fault.Busy || !f.RetryAt.Equal(noon.Add(time.Minute)) || w.count() != 2 {
		t.Errorf("%+v after %d requests, want busy for a minute after 2", f, w.count())
	}
}

// Rule that takes a request and never answers costs two tries of 3.5 s and a
// pause, which fits in a till's 8 s.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{replies: []reply{silent}}
		web := rule.NewHTTPClient()
		web.Transport = w
		s := rule.New(rule.Config{HTTP: web}).Session(key, time.Time{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		start := time.Now()
		_, e := ruleError(t, s.Verify(ctx))
		took := time.Since(start)
		if w.count() != 2 || took < 7*time.Second || took > 7200*time.Millisecond {
			t.Errorf("%d tries in %v, want 2 in 7 s and a pause", w.count(), took)
		}
		pause := w.requests[1].at.Sub(w.requests[0].at) - 3500*time.Millisecond
		if pause <= 0 || pause > 200*time.Millisecond {
			t.Errorf("pause = %v, want at most 200 ms", pause)
		}
		if !e.Uncertain {
			t.Error("outcome is not uncertain")
		}
	})
}

func TestPauseVaries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pauses := map[time.Duration]bool{}
		for range 20 {
			w := &wire{replies: []reply{refusedConnection}}
			web := rule.NewHTTPClient()
			web.Transport = w
			_ = rule.New(rule.Config{HTTP: web, Pause: time.Second}).Session(key, time.Time{}, nil).Verify(t.Context())
			pause := w.requests[1].at.Sub(w.requests[0].at)
			if pause <= 0 || pause > time.Second {
				t.Errorf("pause = %v, want within a second", pause)
			}
			pauses[pause] = true
		}
		if len(pauses) < 15 {
			t.Errorf("20 pauses, only %d different", len(pauses))
		}
	})
}

func TestNoTimeForASecondTry(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		left time.Duration // of the caller's time, after the first try
		want int
	}{
		"plenty":   {5 * time.Second, 2},
		"enough":   {500 * time.Millisecond, 2},
		"too near": {499 * time.Millisecond, 1},
		"none":     {0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second+tt.left)
				defer cancel()
				s, w := session(func(r *http.Request) (*http.Response, error) {
					time.Sleep(time.Second) // the bubble's clock: nobody waits
					return lost(r)
				})
				if f, _ := ruleError(t, s.Verify(ctx)); f.Kind != fault.Unavailable {
					t.Errorf("kind = %v, want unavailable", f.Kind)
				}
				if w.count() != tt.want {
					t.Errorf("%d requests, want %d", w.count(), tt.want)
				}
			})
		})
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	t.Run("before the first try", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s, w := session(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })
		_, e := ruleError(t, s.Verify(ctx))
		if e.Uncertain || w.count() > 1 {
			t.Errorf("uncertain: %v after %d requests, want certain and no second one", e.Uncertain, w.count())
		}
	})
	t.Run("during a try", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			s, w := session(silent)
			start := time.Now()
			_, e := ruleError(t, s.Verify(ctx))
			if took := time.Since(start); took != time.Second || w.count() != 1 || !e.Uncertain {
				t.Errorf("%d requests, uncertain: %v after %v; want 1, uncertain, after 1 s", w.count(), e.Uncertain, took)
			}
		})
	})
	t.Run("during the pause", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Nanosecond, cancel)
			w := &wire{replies: []reply{lost}}
			web := rule.NewHTTPClient()
			web.Transport = w
			s := rule.New(rule.Config{HTTP: web, Pause: 10000 * time.Hour}).Session(key, time.Time{}, nil)
			start := time.Now()
			_, e := ruleError(t, s.Verify(ctx))
			if took := time.Since(start); took != time.Nanosecond || w.count() != 1 || !e.Uncertain {
				t.Errorf("%d requests, uncertain: %v after %v; want 1, uncertain, at once", w.count(), e.Uncertain, took)
			}
		})
	})
}

func TestBodyThatCannotBeSent(t *testing.T) {
	t.Parallel()
	s, w := session(answered(200, "{}"))
	err := s.AppendEntry(t.Context(), 1, "g", []rule.Field{{Name: "f", Type: rule.JSON, Value: raw("{broken")}})
	if fault.KindOf(err) != fault.Internal || w.count() != 0 || rule.Uncertain(err) {
		t.Errorf("%v after %d requests, want internal and none", err, w.count())
	}
	web := rule.NewHTTPClient()
	web.Transport = w
	err = rule.New(rule.Config{URL: "https://rule.example.com/%zz?apikey=" + key, HTTP: web}).Session(key, time.Time{}, nil).Verify(t.Context())
	if fault.KindOf(err) != fault.Internal || w.count() != 0 {
		t.Errorf("%v after %d requests with a URL that is none, want internal and none", err, w.count())
	}
	if _, ok := errors.AsType[*rule.Error](err); ok {
		t.Errorf("%v claims to be Rule's", err)
	}
}
