package rule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// people returns n subscribers to upsert.
func people(n int) []rule.Upsert {
	list := make([]rule.Upsert, n)
	for i := range list {
		list[i].Email = fmt.Sprintf("kund.%d@example.com", i)
	}
	return list
}

// Of Rule's answer everything is optional but the status.
func TestUpsertMany(t *testing.T) {
	t.Parallel()
	one := rule.Subscriber{ID: 255934461, Email: "kund.ett@example.com", OptedIn: true}
	two := rule.Subscriber{ID: 255934462, Phone: "+46701740606", OptedIn: true}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   rule.Bulk
	}{
		"documented": {
			200, `{"success":true,"message":"Success","subscribers":[{"id":255934461,"email":"kund.ett@example.com"},{"id":255934462,"email":null,"phone_number":"+46701740606"}],
			"subscribers_created":1,"subscribers_updated":1,"subscribers_suppressed":0,"suppressed":[]}`,
			rule.Bulk{Subscribers: []rule.Subscriber{one, two}, Created: 1, Updated: 1, Counted: true},
		},
		"an acknowledgement":       {200, `{"success":true,"message":"Success"}`, rule.Bulk{}},
		"success, another way":     {200, `{"success":"true"}`, rule.Bulk{}},
		"counts alone":             {200, `{"subscribers_created":2,"subscribers_updated":0}`, rule.Bulk{Created: 2, Counted: true}},
		"counts as text":           {200, `{"subscribers_created":"2","subscribers_updated":"17"}`, rule.Bulk{Created: 2, Updated: 17, Counted: true}},
		"one count of the two":     {200, `{"subscribers_updated":2}`, rule.Bulk{}},
		"the other":                {200, `{"subscribers_created":2,"subscribers_updated":null}`, rule.Bulk{}},
		"a count that is none":     {200, `{"subscribers_created":1.5,"subscribers_updated":2}`, rule.Bulk{}},
		"a negative count":         {200, `{"subscribers_created":-1,"subscribers_updated":2}`, rule.Bulk{}},
		"a count over all":         {200, `{"subscribers_created":1e30,"subscribers_updated":99999999999999999999}`, rule.Bulk{}},
		"subscribers alone":        {200, `{"subscribers":[{"id":"255934461","email":"kund.ett@example.com"}]}`, rule.Bulk{Subscribers: []rule.Subscriber{one}}},
		"one without an id":        {200, `{"subscribers":[{"email":"kund.tre@example.com"},null,7,"x",{"id":-7},{"id":255934461,"email":"kund.ett@example.com"}]}`, rule.Bulk{Subscribers: []rule.Subscriber{one}}},
		"subscribers as an object": {200, `{"subscribers":{"id":255934461}}`, rule.Bulk{}},
		"null":                     {200, `null`, rule.Bulk{}},
		"nothing":                  {200, ``, rule.Bulk{}},
		"a line break":             {202, "\n", rule.Bulk{}},
		"no content":               {204, ``, rule.Bulk{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := session(answered(tt.status, tt.body))
			got, err := s.UpsertMany(t.Context(), people(2), []string{"Sitoo"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if w.count() != 1 {
				t.Errorf("%d requests, want 1", w.count())
			}
		})
	}
}

func TestUpsertManyFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status    int
		body      string
		kind      fault.Kind
		uncertain bool
		entries   []int
	}{
		"two entries":    {400, `{"error":"BadRequest","fields":{"subscribers.12.email":["no"],"subscribers.3.phone_number":["no"],"subscribers.3.fields.0.value":["no"]}}`, fault.Invalid, false, []int{3, 12}},
		"one, in a 200":  {200, `{"error":"BadRequest","fields":{"subscribers.0":["no"]}}`, fault.Invalid, false, []int{0}},
		"nobody named":   {400, `{"error":"BadRequest","fields":{"tags":["no"],"email":["no"]}}`, fault.Invalid, false, nil},
		"a conflict":     {409, `{"error":"DuplicateSubscriber","message":"Email and phone number belong to different subscribers"}`, fault.Conflict, false, nil},
		"a conflict's":   {409, `{"error":"DuplicateSubscriber","fields":{"subscribers.1.email":["taken"]}}`, fault.Conflict, false, []int{1}},
		"too many":       {413, ``, fault.TooLarge, false, nil},
		"a defect":       {500, `{"error":"UnexpectedError"}`, fault.Unavailable, true, nil},
		"no success":     {200, `{"success":false}`, fault.Unavailable, true, nil},
		"not an object":  {200, `[]`, fault.Unavailable, true, nil},
		"not an answer":  {200, `<html>`, fault.Unavailable, true, nil},
		"blocked":        {429, `"Too Many Attempts."`, fault.Busy, false, nil},
		"half an answer": {200, `{"subscribers":[{"id":1}`, fault.Unavailable, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := session(answered(tt.status, tt.body))
			got, err := s.UpsertMany(t.Context(), people(19), []string{"Sitoo"})
			f, e := ruleError(t, err)
			if f.Kind != tt.kind || rule.Uncertain(err) != tt.uncertain {
				t.Errorf("%v, uncertain %v; want %v, %v", f.Kind, e.Uncertain, tt.kind, tt.uncertain)
			}
			if diff := cmp.Diff(tt.entries, e.Entries()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(rule.Bulk{}, got); diff != "" {
				t.Errorf("an answer came with the error: %s", diff)
			}
		})
	}
}

func TestUpsertManyLimits(t *testing.T) {
	t.Parallel()
	own := people(2)
	own[1].Tags = []string{"Sitoo"}
	for name, tt := range map[string]struct {
		list     []rule.Upsert
		requests int
		fails    bool
	}{
		"nobody":           {nil, 0, false},
		"one":              {people(1), 1, false},
		"a thousand":       {people(1000), 1, false},
		"a thousand and 1": {people(1001), 0, true},
		"tags of one's":    {own, 0, true},
	} {
		s, w := session(answered(200, `{}`))
		_, err := s.UpsertMany(t.Context(), tt.list, []string{"Sitoo"})
		if (err != nil) != tt.fails || err != nil && fault.KindOf(err) != fault.Internal || w.count() != tt.requests {
			t.Errorf("%s: %v after %d requests; want an Internal error: %v, and %d", name, err, w.count(), tt.fails, tt.requests)
		}
		if w.count() == 0 {
			continue
		}
		var body struct{ Subscribers []json.RawMessage }
		if err := json.Unmarshal([]byte(w.requests[0].body), &body); err != nil || len(body.Subscribers) != len(tt.list) {
			t.Errorf("%s: %d subscribers in the request, %v", name, len(body.Subscribers), err)
		}
	}
}

// A second AppendMany would be a second entry for everybody: only what cannot
// have reached Rule is tried again.
func TestAppendMany(t *testing.T) {
	t.Parallel()
	list := people(2)
	for i := range list {
		list[i].Fields = []rule.Field{{Group: "Sitoo-Order", Name: "orderid", Type: rule.Text, Value: fmt.Sprint(40025 + i)}}
	}
	done := answered(200, `{"success":true}`)
	for name, tt := range map[string]struct {
		first     reply
		requests  int
		kind      fault.Kind
		fails     bool
		uncertain bool
	}{
		"done":           {first: done, requests: 1},
		"not connected":  {first: refusedConnection, requests: 2},
		"lost":           {first: lost, requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"broken off":     {first: brokenOff(200, `{"succ`), requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"a defect":       {first: answered(500, ""), requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"a gateway's":    {first: answered(504, "<html>"), requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"not an answer":  {first: answered(200, "<html>"), requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"no success":     {first: answered(200, `{"success":false}`), requests: 1, kind: fault.Unavailable, fails: true, uncertain: true},
		"refused":        {first: answered(400, `{"error":"BadRequest"}`), requests: 1, kind: fault.Invalid, fails: true},
		"a conflict":     {first: answered(409, `{"error":"DuplicateSubscriber"}`), requests: 1, kind: fault.Conflict, fails: true},
		"blocked":        {first: answered(429, `"Too Many Attempts."`), requests: 1, kind: fault.Busy, fails: true},
		"a key refused":  {first: answered(401, ``), requests: 1, kind: fault.Unauthorized, fails: true},
		"a front's word": {first: answered(403, ``), requests: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := session(tt.first, done)
			_, err := s.AppendMany(t.Context(), list, []string{"Sitoo"})
			if (err != nil) != tt.fails || err != nil && fault.KindOf(err) != tt.kind || rule.Uncertain(err) != tt.uncertain {
				t.Errorf("%v, uncertain %v; want %s, %v", err, rule.Uncertain(err), tt.kind, tt.uncertain)
			}
			if w.count() != tt.requests {
				t.Errorf("%d requests, want %d", w.count(), tt.requests)
			}
			const want = `{"subscribers":[` +
				`{"email":"kund.0@example.com","fields":[{"key":"Sitoo-Order.orderid","value":"40025","type":"text"}]},` +
				`{"email":"kund.1@example.com","fields":[{"key":"Sitoo-Order.orderid","value":"40026","type":"text"}]}],` +
				`"sync_subscribers":false,"tags":["Sitoo"],"update_on_duplicate":true}`
			var got, expected any
			if err := json.Unmarshal([]byte(w.requests[0].body), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(want), &expected); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntriesOfAnError(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fields []string
		want   []int
	}{
		"none":             {nil, nil},
		"in order, once":   {[]string{"subscribers.10.email", "subscribers.2.email", "subscribers.2.phone_number", "subscribers.999"}, []int{2, 10, 999}},
		"not a place":      {[]string{"subscribers", "subscribers.email", "subscribers.-1.email", "subscribers.+1.email", "subscribers.1e2.x", "subscribers..email", "subscribers.¹.x"}, nil},
		"beyond the list":  {[]string{"subscribers.1000.email", "subscribers.99999999999999999999.email"}, nil},
		"another's":        {[]string{"groups.1.values", "tags.0", "email", "0", "1.email"}, nil},
		"a field's key":    {[]string{"Sitoo-Contact.bonuschecks"}, nil},
		"one and the tags": {[]string{"subscribers.0.email", "tags.0"}, []int{0}},
	} {
		e := rule.Error{Fields: map[string][]string{}}
		for _, f := range tt.fields {
			e.Fields[f] = nil
		}
		if diff := cmp.Diff(tt.want, e.Entries()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Bulk work stops at its share of Rule's budget, and goes on when what is known
// has grown old.
func TestCrowded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		headers string
		percent int
		want    bool
	}{
		"nothing known":           {"", 0, false},
		"half, not over":          {"RequestsCount-Allowed 2000 RequestsCount-Current 1000", 50, false},
		"half and one":            {"RequestsCount-Allowed 2000 RequestsCount-Current 1001", 50, true},
		"all of it":               {"RequestsCount-Allowed 2000 RequestsCount-Current 2000", 100, false},
		"used alone":              {"RequestsCount-Current 2000", 50, false},
		"allowed alone":           {"RequestsCount-Allowed 0", 50, false},
		"a plan of nothing":       {"RequestsCount-Allowed 0 RequestsCount-Current 1", 50, true},
		"errors, not over":        {"X-ErrorPercent-Limit 50 X-ErrorPercent-Current 25", 50, false},
		"errors":                  {"X-ErrorPercent-Limit 49 X-ErrorPercent-Current 25", 50, true},
		"errors beside few calls": {"RequestsCount-Allowed 2000 RequestsCount-Current 3 X-ErrorPercent-Limit 49 X-ErrorPercent-Current 33", 60, true},
		"calls beside no errors":  {"RequestsCount-Allowed 2000 RequestsCount-Current 1500 X-ErrorPercent-Limit 49 X-ErrorPercent-Current 0", 60, true},
		"neither":                 {"RequestsCount-Allowed 2000 RequestsCount-Current 1200 X-ErrorPercent-Limit 49 X-ErrorPercent-Current 29", 60, false},
		"large figures":           {"RequestsCount-Allowed 999999999 RequestsCount-Current 999999999", 99, true},
	} {
		s, _ := session(answered(200, "{}", strings.Fields(tt.headers)...))
		if s.Crowded(tt.percent) {
			t.Errorf("%s: crowded before any answer", name)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.Crowded(tt.percent); got != tt.want {
			t.Errorf("%s: Crowded(%d) = %v, want %v", name, tt.percent, got, tt.want)
		}
	}

	var mu sync.Mutex
	now := noon
	web := rule.NewHTTPClient()
	web.Transport = &wire{replies: []reply{answered(200, "{}", "RequestsCount-Allowed", "2000", "RequestsCount-Current", "1999"), answered(200, "{}")}}
	c := rule.New(rule.Config{HTTP: web, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	if err := c.Session(key, time.Time{}, nil).Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := c.Session(key, time.Time{}, nil) // another of the account: what is known is shared
	for i, want := range []bool{true, true, false} {
		if got := s.Crowded(50); got != want {
			t.Errorf("after %d half minutes: Crowded = %v, want %v", i, got, want)
		}
		pass(30*time.Second + time.Duration(i)) // the third look is past the minute
	}
	if err := s.Verify(t.Context()); err != nil || s.Crowded(50) {
		t.Errorf("%v: an answer that does not speak of the budget made old figures new", err)
	}
	if c.Session("another-key", time.Time{}, nil).Crowded(0) {
		t.Error("one account's use crowds another")
	}
}

func FuzzBulk(f *testing.F) {
	for _, seed := range []string{
		`{"success":true,"subscribers":[{"id":1}],"subscribers_created":1,"subscribers_updated":0}`, `{"subscribers":[null,7,{"id":"2"}]}`, `{"subscribers_created":"1","subscribers_updated":1.5}`,
		`{"success":false}`, `null`, `[]`, `{"subscribers":{}}`, `{"subscribers_created":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got rule.Bulk
		if json.Unmarshal(b, &got) != nil {
			return
		}
		if got.Created < 0 || got.Updated < 0 || !got.Counted && got.Created+got.Updated != 0 {
			t.Errorf("counts of %+v", got)
		}
		for _, s := range got.Subscribers {
			if s.ID <= 0 {
				t.Errorf("a subscriber of id %d", s.ID)
			}
		}
	})
}
