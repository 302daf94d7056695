package rule_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

func TestCustomizations(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		replies []string
		want    rule.Schema
		queries []string
	}{
		"none":   {[]string{`{"groups":[],"meta":{"next":null}}`}, rule.Schema{}, []string{"limit=100"}},
		"simple": {[]string{`{"groups":[]}`}, rule.Schema{}, []string{"limit=100"}},
		"documented": {
			[]string{`{"groups":[{"id":1,"name":"Sitoo-Order","fields":[{"id":2,"name":"orderid","type":"text"},{"id":3,"name":"orderdate","type":"datetime"}]}],"meta":{"next":""}}`},
			rule.Schema{"Sitoo-Order": {"orderid": rule.Text, "orderdate": rule.DateTime}},
			[]string{"limit=100"},
		},
		"out of shape": {
			[]string{`{"groups":[{"name":"A","fields":{}},{"name":"B","fields":null},{"name":7,"fields":[{"name":"x"},null]}],"meta":[]}`},
			rule.Schema{"A": {}, "B": {}, "7": {"x": "", "": ""}},
			[]string{"limit=100"},
		},
		"pages": {
			[]string{
				`{"groups":[{"name":"A"}],"meta":{"next":"https://elsewhere.example.com/api?page=2&limit=1&apikey=demo-key"}}`,
				`{"groups":[{"name":"B"}],"meta":{"next":"?cursor=c3"}}`,
				`{"groups":[{"name":"C"}],"meta":{}}`,
			},
			rule.Schema{"A": {}, "B": {}, "C": {}},
			[]string{"limit=100", "limit=100&page=2", "cursor=c3&limit=100"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var replies []reply
			for _, body := range tt.replies {
				replies = append(replies, answered(200, body))
			}
			s, w := session(replies...)
			got, err := s.Customizations(t.Context())
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
			var queries []string
			for _, r := range w.requests {
				if r.Method != "GET" || r.URL.Host != "rule.example.com" || r.URL.Path != "/api/v2/customizations" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				queries = append(queries, r.URL.RawQuery)
			}
			if diff := cmp.Diff(tt.queries, queries); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

// What cannot be told from "there are none" is no answer, and no list is read
// for ever.
func TestCustomizationsUnreadable(t *testing.T) {
	t.Parallel()
	pages := make([]reply, 50)
	for i := range pages {
		pages[i] = answered(200, fmt.Sprintf(`{"groups":[],"meta":{"next":"?page=%d"}}`, i+2))
	}
	for name, replies := range map[string][]reply{
		"no groups":         {answered(200, `{}`)},
		"groups as null":    {answered(200, `{"groups":null}`)},
		"groups as text":    {answered(200, `{"groups":"x"}`)},
		"a link to nowhere": {answered(200, `{"groups":[],"meta":{"next":"https://rule.example.com/"}}`)},
		"no link":           {answered(200, `{"groups":[],"meta":{"next":"://\u0000"}}`)},
		"round in a circle": {answered(200, `{"groups":[],"meta":{"next":"?page=2"}}`)},
		"no end":            pages,
	} {
		s, _ := session(replies...)
		got, err := s.Customizations(t.Context())
		if got != nil || err == nil || fault.KindOf(err) != fault.Unavailable || rule.Uncertain(err) && name != "groups as text" || s.Calls() > 10 {
			t.Errorf("%s: %v, %v after %d requests; want unavailable", name, got, err, s.Calls())
		}
		if err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the key is shown: %v", name, err)
		}
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		who   rule.Identifier
		path  string
		query string
	}{
		"by id":    {rule.ByID(255934461), "/api/v2/subscribers/255934461", "identified_by=id"},
		"by email": {rule.ByEmail("kund.ett+butik@example.com"), "/api/v2/subscribers/kund.ett%2Bbutik%40example.com", "identified_by=email"},
	} {
		s, w := session(lost, answered(200, `{"message":"Success"}`))
		if err := s.Delete(t.Context(), tt.who); err != nil || w.count() != 2 {
			t.Errorf("%s: %v after %d requests, want none after 2", name, err, w.count())
		}
		for _, r := range w.requests {
			if r.Method != "DELETE" || r.URL.EscapedPath() != tt.path || r.URL.RawQuery != tt.query || r.body != "" {
				t.Errorf("%s: %s %s?%s %s", name, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.body)
			}
		}
	}
	for status, want := range map[int]fault.Kind{404: fault.NotFound, 401: fault.Unauthorized, 429: fault.Busy, 500: fault.Unavailable} {
		s, _ := session(answered(status, `{"error":"SubscriberNotFound"}`))
		err := s.Delete(context.WithoutCancel(t.Context()), rule.ByEmail("kund.ett@example.com"))
		if fault.KindOf(err) != want || strings.Contains(err.Error(), "kund") {
			t.Errorf("status %d: %v, want %v", status, err, want)
		}
	}
}
