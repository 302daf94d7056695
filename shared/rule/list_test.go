package rule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Where the list goes on is all that is taken from Rule's link: not its host,
// not the key in it.
func TestList(t *testing.T) {
	t.Parallel()
	const one = `[{"id":255934461,"email":"kund.ett@example.com","suppressed":false,"tags":null}]`
	list := []rule.Subscriber{{ID: 255934461, Email: "kund.ett@example.com", OptedIn: true}}
	for name, tt := range map[string]struct {
		next string
		body string
		sent string // the query
		list []rule.Subscriber
		more string
		kind fault.Kind // of the error; 0 for none
	}{
		"the first page":      {"", `{"subscribers":` + one + `,"meta":{"next":"https://app.rule.io/api/v2/subscribers?limit=100&page=2"}}`, "limit=100", list, "page=2", 0},
		"the last":            {"page=2", `{"subscribers":` + one + `,"meta":{"next":null}}`, "limit=100&page=2", list, "", 0},
		"no meta":             {"page=2", `{"subscribers":` + one + `}`, "limit=100&page=2", list, "", 0},
		"a key in the link":   {"", `{"subscribers":` + one + `,"meta":{"next":"http://evil.example/x?apikey=demo-key&page=2&limit=7&email=a"}}`, "limit=100", list, "page=2", 0},
		"a cursor":            {"", `{"subscribers":` + one + `,"meta":{"next":"?cursor=a%2Bb%26c"}}`, "limit=100", list, "cursor=a%2Bb%26c", 0},
		"with a cursor":       {"cursor=a%2Bb%26c", `{"subscribers":` + one + `}`, "cursor=a%2Bb%26c&limit=100", list, "", 0},
		"nobody":              {"", `{"subscribers":[],"meta":{"next":null}}`, "limit=100", nil, "", 0},
		"nobody, and more":    {"", `{"subscribers":[],"meta":{"next":"?page=2"}}`, "limit=100", nil, "", 0},
		"one out of shape":    {"", `{"subscribers":[7,null,{"id":"x"},{"email":"a@example.com"},` + one[1:] + `}`, "limit=100", list, "", 0},
		"no subscribers":      {"", `{}`, "limit=100", nil, "", fault.Unavailable},
		"null":                {"", `{"subscribers":null}`, "limit=100", nil, "", fault.Unavailable},
		"an object":           {"", `{"subscribers":{}}`, "limit=100", nil, "", fault.Unavailable},
		"not JSON":            {"", `<html>`, "limit=100", nil, "", fault.Unavailable},
		"nothing":             {"", ``, "limit=100", nil, "", fault.Unavailable},
		"back to the same":    {"page=2", `{"subscribers":` + one + `,"meta":{"next":"?page=2"}}`, "limit=100&page=2", nil, "", fault.Unavailable},
		"to no page":          {"page=2", `{"subscribers":` + one + `,"meta":{"next":"https://app.rule.io/"}}`, "limit=100&page=2", nil, "", fault.Unavailable},
		"to no URL":           {"page=2", `{"subscribers":` + one + `,"meta":{"next":"http://[demo-key/%zz"}}`, "limit=100&page=2", nil, "", fault.Unavailable},
		"next is not a text":  {"", `{"subscribers":` + one + `,"meta":{"next":2}}`, "limit=100", nil, "", fault.Unavailable},
		"an error in a 200":   {"", `{"error":"NotAuthorized"}`, "limit=100", nil, "", fault.Unauthorized},
		"a limit of our own":  {"limit=5000&page=2", `{"subscribers":` + one + `}`, "limit=100&page=2", list, "", 0},
		"a meta out of shape": {"", `{"subscribers":` + one + `,"meta":[]}`, "limit=100", nil, "", fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := session(answered(200, tt.body))
			got, more, err := s.List(t.Context(), tt.next)
			if (err != nil) != (tt.kind != 0) || err != nil && fault.KindOf(err) != tt.kind {
				t.Fatalf("%v, want kind %s", err, tt.kind)
			}
			if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("the key is in %v", err)
			}
			if diff := cmp.Diff(tt.list, got); diff != "" || more != tt.more {
				t.Errorf("goes on at %q, want %q: %s", more, tt.more, diff)
			}
			q := w.requests[0]
			if q.Method != http.MethodGet || q.URL.Host != "rule.example.com" || q.URL.Path != "/api/v2/subscribers" || q.URL.RawQuery != tt.sent {
				t.Errorf("%s %s, want the query %s", q.Method, q.URL, tt.sent)
			}
		})
	}
	s, w := session(answered(200, `{}`))
	if _, _, err := s.List(t.Context(), "%zz"); err == nil || w.count() != 0 {
		t.Errorf("a place that is none: %v, %d requests", err, w.count())
	}
}

// A page that does not come is asked for again.
func TestListAgain(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]reply{"500": answered(500, ""), "lost": lost, "refused": refusedConnection, "broken off": brokenOff(200, `{"subscribers":[`)} {
		s, w := session(first, answered(200, `{"subscribers":[{"id":1}]}`))
		list, more, err := s.List(t.Context(), "")
		if err != nil || len(list) != 1 || more != "" || w.count() != 2 {
			t.Errorf("%s: %v, %q, %v after %d requests", name, list, more, err, w.count())
		}
	}
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{
		`{"subscribers":[{"id":1}],"meta":{"next":"?page=2"}}`, `{"subscribers":[],"meta":{"next":"?cursor=x"}}`, `{"subscribers":[{"id":"2"},7],"meta":{"next":null}}`,
		`{"subscribers":null}`, `{"meta":{"next":"http://[::1"}}`, `[]`, ``,
	} {
		f.Add("page=1", seed)
	}
	f.Fuzz(func(t *testing.T, next, body string) {
		s, w := session(answered(200, body))
		list, more, err := s.List(t.Context(), next)
		if err != nil && (list != nil || more != "") {
			t.Errorf("%v, %q beside %v", list, more, err)
		}
		if more != "" && (more == next || len(list) == 0 && body == "") {
			t.Errorf("%q leads to %q", next, more)
		}
		for _, one := range list {
			if one.ID <= 0 {
				t.Errorf("a subscriber of id %d", one.ID)
			}
		}
		for _, q := range w.requests {
			if q.URL.Host != "rule.example.com" || q.URL.Query().Get("limit") != "100" {
				t.Error(fmt.Sprint(q.URL))
			}
		}
	})
}
