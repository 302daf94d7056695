package rule_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// replies answers with a status and a body.
type replies struct {
	status int
	body   string
}

func (a replies) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func asking(status int, body string) *rule.Session {
	c := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: replies{status, body}}, Pause: -1})
	return c.Session("a-key", time.Time{}, nil)
}

// Rule says whose a key is by a positive whole number, or settles nothing.
func TestSender(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   rule.Sender
	}{
		{200, `{"status":200,"account_id":42,"name":"Exempel","company":" Exempel AB "}`, rule.Sender{Account: "42", Name: "Exempel AB"}},
		{200, `{"account_id":"42","name":"Exempel"}`, rule.Sender{Account: "42", Name: "Exempel"}},
		{200, `{"account_id":9007199254740993}`, rule.Sender{Account: "9007199254740993"}},
		{200, `{"account_id":42,"company":` + `"` + strings.Repeat("å", 300) + `"}`, rule.Sender{Account: "42", Name: strings.Repeat("å", 100) + "…"}},
		{200, `{"account_id":0}`, rule.Sender{}},
		{200, `{"account_id":-1}`, rule.Sender{}},
		{200, `{"account_id":4.2}`, rule.Sender{}},
		{200, `{"account_id":"+42"}`, rule.Sender{}},
		{200, `{"account_id":null}`, rule.Sender{}},
		{200, `{"account_id":[42]}`, rule.Sender{}},
		{200, `{}`, rule.Sender{}},
		{200, `[]`, rule.Sender{}},
		{200, ``, rule.Sender{}},
		{500, `{}`, rule.Sender{}},
	} {
		got, err := asking(tt.status, tt.body).Sender(t.Context())
		if got != tt.want || (err == nil) != (tt.want.Account != "") || err != nil && (fault.KindOf(err) != fault.Unavailable || errors.Is(err, rule.ErrNoSender)) {
			t.Errorf("%d %s: %+v, %v; want %+v", tt.status, tt.body, got, err, tt.want)
		}
	}
	for _, status := range []int{403, 404} {
		if _, err := asking(status, `{"error":"Forbidden"}`).Sender(t.Context()); !errors.Is(err, rule.ErrNoSender) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err := asking(401, `{"error":"NotAuthorized"}`).Sender(t.Context()); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("401: %v", err)
	}
}

// A session tells what an answer says of its key: accepted once, refused each
// time, and nothing where something else may have answered.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		body   string
		want   string
	}{
		{200, `{"subscriber":{"id":1}}`, "accepted"},
		{404, `{"error":"SubscriberNotFound"}`, "accepted"},
		{401, `{"error":"NotAuthorized"}`, "refused refused"},
		{403, `{}`, ""},
		{400, `{}`, ""},
		{429, `{}`, ""},
		{502, `<html>`, ""},
		{200, `<html>`, ""},
	} {
		s := asking(tt.status, tt.body)
		var heard []string
		s.OnVerdict(func(_ context.Context, accepted bool) {
			heard = append(heard, map[bool]string{true: "accepted", false: "refused"}[accepted])
		})
		for range 2 {
			_, _ = s.Subscriber(t.Context(), rule.ByEmail("kund.ett@example.com"))
		}
		if got := strings.Join(heard, " "); got != tt.want || s.Accepted() != (tt.want == "accepted") {
			t.Errorf("%d %s: heard %q, accepted %v; want %q", tt.status, tt.body, got, s.Accepted(), tt.want)
		}
	}
}
