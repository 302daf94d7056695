package rule_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	const what = "PUT /v2/subscribers/{}"
	for name, tt := range map[string]struct {
		status int
		body   string
		kind   fault.Kind
		want   rule.Error
		text   string // what the log gets
	}{
		"v2 bad field": {
			400, `{"error":"BadRequest","message":"Some fields could not be validated","fields":{"phone_number":["The phone number +4670 is not valid."],"email":["Not an address."]}}`,
			fault.Invalid,
			rule.Error{Status: 400, Code: "BadRequest", Text: "Some fields could not be validated", Fields: map[string][]string{"phone_number": {"The phone number +4670 is not valid."}, "email": {"Not an address."}}},
			"rule: PUT /v2/subscribers/{}: status 400 BadRequest (email, phone_number)",
		},
		"v2 list too long": {400, `{"error":"LimitExceed","message":"Limit can't exceed 100."}`, fault.Invalid, rule.Error{Status: 400, Code: "LimitExceed", Text: "Limit can't exceed 100."}, "rule: PUT /v2/subscribers/{}: status 400 LimitExceed"},
		"v2 bad key":       {401, `{"error":"NotAuthorized"}`, fault.Unauthorized, rule.Error{Status: 401, Code: "NotAuthorized"}, "rule: PUT /v2/subscribers/{}: status 401 NotAuthorized"},
		"v2 nobody":        {404, `{"error":"SubscriberNotFound","message":"Could not find subscriber"}`, fault.NotFound, rule.Error{Status: 404, Code: "SubscriberNotFound", Text: "Could not find subscriber"}, "rule: PUT /v2/subscribers/{}: status 404 SubscriberNotFound"},
		"v2 taken":         {409, `{"error":"DuplicateSubscriber","message":"Subscriber already exists"}`, fault.Conflict, rule.Error{Status: 409, Code: "DuplicateSubscriber", Text: "Subscriber already exists"}, "rule: PUT /v2/subscribers/{}: status 409 DuplicateSubscriber"},
		"v2 too many":      {413, ``, fault.TooLarge, rule.Error{Status: 413, Text: "Request Entity Too Large"}, "rule: PUT /v2/subscribers/{}: status 413"},
		"v2 defect": {
			500, `{"error":"UnexpectedError","message":"An unexpected error occurred for kund.ett@example.com."}`,
			fault.Unavailable,
			rule.Error{Status: 500, Code: "UnexpectedError", Text: "An unexpected error occurred for kund.ett@example.com.", Uncertain: true},
			"rule: PUT /v2/subscribers/{}: status 500 UnexpectedError",
		},
		"v2 bare string": {400, `"Bad phone +46701740605"`, fault.Invalid, rule.Error{Status: 400, Text: "Bad phone +46701740605"}, "rule: PUT /v2/subscribers/{}: status 400"},
		"v3 validation": {
			422, `{"message":"The given data was invalid.","errors":{"groups.0.values.3.value":["The value is too long."],"groups":"Is odd."}}`,
			fault.Invalid,
			rule.Error{Status: 422, Text: "The given data was invalid.", Fields: map[string][]string{"groups.0.values.3.value": {"The value is too long."}, "groups": {"Is odd."}}},
			"rule: PUT /v2/subscribers/{}: status 422 (groups, groups.0.values.3.value)",
		},
		"v3 other": {403, `{"error":"forbidden","message":"No."}`, fault.Unavailable, rule.Error{Status: 403, Code: "forbidden", Text: "No."}, "rule: PUT /v2/subscribers/{}: status 403 forbidden"},
		"v3 sentence in the word's place": {
			400, `{"error":"kund.ett@example.com is not an address"}`,
			fault.Invalid,
			rule.Error{Status: 400, Text: "kund.ett@example.com is not an address"},
			"rule: PUT /v2/subscribers/{}: status 400",
		},
		"v3 number in the word's place": {400, `{"error":46701740605}`, fault.Invalid, rule.Error{Status: 400, Text: "46701740605"}, "rule: PUT /v2/subscribers/{}: status 400"},
		"v3 word in an object": {
			503, `{"error":{"code":"maintenance","message":"Back soon."}}`,
			fault.Unavailable,
			rule.Error{Status: 503, Code: "maintenance", Uncertain: true},
			"rule: PUT /v2/subscribers/{}: status 503 maintenance",
		},
		// PHP writes an empty map as [].
		"empty maps as arrays":   {404, `{"error":"SubscriberNotFound","message":[],"fields":[],"errors":[]}`, fault.NotFound, rule.Error{Status: 404, Code: "SubscriberNotFound", Text: "[]"}, "rule: PUT /v2/subscribers/{}: status 404 SubscriberNotFound"},
		"member without words":   {422, `{"errors":{"email":7}}`, fault.Invalid, rule.Error{Status: 422, Fields: map[string][]string{"email": {""}}}, "rule: PUT /v2/subscribers/{}: status 422 (email)"},
		"plain text":             {400, `kund.ett@example.com?`, fault.Invalid, rule.Error{Status: 400, Text: "Bad Request"}, "rule: PUT /v2/subscribers/{}: status 400"},
		"page of a proxy":        {502, "<html><head><title>502 Bad Gateway</title></head></html>", fault.Unavailable, rule.Error{Status: 502, Text: "Bad Gateway", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 502"},
		"gateway gave up":        {504, "", fault.Unavailable, rule.Error{Status: 504, Text: "Gateway Timeout", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 504"},
		"request never whole":    {408, "", fault.Unavailable, rule.Error{Status: 408, Text: "Request Timeout"}, "rule: PUT /v2/subscribers/{}: status 408"},
		"moved":                  {302, "<html>", fault.Unavailable, rule.Error{Status: 302, Text: "Found"}, "rule: PUT /v2/subscribers/{}: status 302"},
		"200 with error":         {200, `{"error":"DuplicateSubscriber","message":"Taken"}`, fault.Conflict, rule.Error{Status: 200, Code: "DuplicateSubscriber", Text: "Taken"}, "rule: PUT /v2/subscribers/{}: status 200 DuplicateSubscriber"},
		"200 with error, nobody": {200, `{"error":"SubscriberNotFound"}`, fault.NotFound, rule.Error{Status: 200, Code: "SubscriberNotFound"}, "rule: PUT /v2/subscribers/{}: status 200 SubscriberNotFound"},
		"200 with error, key":    {200, ` {"error":"NotAuthorized","fields":[]}`, fault.Unauthorized, rule.Error{Status: 200, Code: "NotAuthorized"}, "rule: PUT /v2/subscribers/{}: status 200 NotAuthorized"},
		"200 with error, fields": {
			200, `{"error":"BadRequest","message":{"odd":1},"fields":{"subscribers.phone_number":"?"}}`,
			fault.Invalid,
			rule.Error{Status: 200, Code: "BadRequest", Text: `{"odd":1}`, Fields: map[string][]string{"subscribers.phone_number": {"?"}}},
			"rule: PUT /v2/subscribers/{}: status 200 BadRequest (subscribers.phone_number)",
		},
		"200 with unknown error":  {200, `{"error":"UnexpectedError"}`, fault.Unavailable, rule.Error{Status: 200, Code: "UnexpectedError", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200 UnexpectedError"},
		"200 with error: true":    {200, `{"error":true,"message":"No."}`, fault.Unavailable, rule.Error{Status: 200, Code: "true", Text: "No.", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200 true"},
		"200 with error: [text]":  {200, `{"error":["No."]}`, fault.Unavailable, rule.Error{Status: 200, Text: `["No."]`, Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200"},
		"200 with error: {code}":  {200, `{"error":{"code":401}}`, fault.Unavailable, rule.Error{Status: 200, Text: `{"code":401}`, Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200"},
		"200 with bare string":    {200, `"kund.ett@example.com was not saved"`, fault.Unavailable, rule.Error{Status: 200, Text: "kund.ett@example.com was not saved", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200"},
		"200 with a page":         {200, "<html>", fault.Unavailable, rule.Error{Status: 200, Text: "answer is not the documented JSON: invalid character '<' looking for beginning of value", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200: answer is not the documented JSON: invalid character '<' looking for beginning of value"},
		"200 with nothing":        {200, "", fault.Unavailable, rule.Error{Status: 200, Text: "answer is not the documented JSON: unexpected end of JSON input", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200: answer is not the documented JSON: unexpected end of JSON input"},
		"200 with half a string":  {200, `"half`, fault.Unavailable, rule.Error{Status: 200, Text: "answer is not the documented JSON: unexpected end of JSON input", Uncertain: true}, "rule: PUT /v2/subscribers/{}: status 200: answer is not the documented JSON: unexpected end of JSON input"},
		"200 with another's type": {200, `{"subscriber":[]}`, fault.Unavailable, rule.Error{Status: 200, Uncertain: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := session(answered(tt.status, tt.body))
			_, err := s.Update(t.Context(), 255934461, rule.Change{})
			f, e := ruleError(t, err)
			if f.Kind != tt.kind {
				t.Errorf("kind = %v, want %v", f.Kind, tt.kind)
			}
			if f.Message != "" {
				t.Errorf("sentence for the caller = %q, want none of Rule's words", f.Message)
			}
			if rule.Uncertain(err) != tt.want.Uncertain {
				t.Errorf("Uncertain = %v, want %v", rule.Uncertain(err), tt.want.Uncertain)
			}
			tt.want.What = what
			opts := cmp.Options{cmpopts.IgnoreUnexported(rule.Error{})}
			if tt.text == "" { // the decoder's own words
				opts = append(opts, cmpopts.IgnoreFields(rule.Error{}, "Text"))
				tt.text = e.Error()
			}
			if diff := cmp.Diff(&tt.want, e, opts); diff != "" {
				t.Errorf("error differs (-want +got):\n%s", diff)
			}
			if got := e.Error(); got != tt.text {
				t.Errorf("text = %q, want %q", got, tt.text)
			}
		})
	}
}

// A member "error" that says there is none is none.
func TestNoErrorInside(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"message":"Success"}`, `{"error":null}`, `{"error":false}`, `{"error":""}`, `{"error":[]}`, `{"error":[ ]}`, `{"error":{}}`, `{"error":0}`,
		`{"message":"success"}`, `[]`, `null`, `true`, ``, "\n",
	} {
		s, _ := session(answered(200, body))
		if err := s.Tag(t.Context(), 1, []string{"Sitoo"}, rule.Quiet); err != nil {
			t.Errorf("body %q: %v, want success", body, err)
		}
	}
	s, _ := session(answered(204, ""))
	if err := s.PatchEntry(t.Context(), 1, "g", "f", "v", nil); err != nil {
		t.Errorf("204: %v, want success", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	e := rule.Error{Fields: map[string][]string{"subscribers.0.phone_number": nil, "email": nil}}
	for member, want := range map[string]bool{"phone_number": true, "email": true, "number": false, "mail": false, "subscribers": false} {
		if got := e.Names(member); got != want {
			t.Errorf("Names(%q) = %v, want %v", member, got, want)
		}
	}
}

func TestUncertain(t *testing.T) {
	t.Parallel()
	lost := &rule.Error{Uncertain: true}
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nil":              {nil, false},
		"another's":        {errors.New("x"), false},
		"itself":           {lost, true},
		"inside a fault":   {&fault.Error{Err: lost}, true},
		"wrapped":          {fmt.Errorf("x: %w", &fault.Error{Err: lost}), true},
		"joined":           {errors.Join(errors.New("x"), lost), true},
		"a proper refusal": {fmt.Errorf("x: %w", &rule.Error{}), false},
	} {
		if got := rule.Uncertain(tt.err); got != tt.want {
			t.Errorf("%s: Uncertain = %v, want %v", name, got, tt.want)
		}
	}
}

// The key is in the Authorization header of each request, and nowhere else: not
// in a URL, and not in any error, however Rule or the network repeat it.
func TestKeyStaysSecret(t *testing.T) {
	t.Parallel()
	const secret = "ab+cd/ef=gh%25 ij&k"
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret)}
	next := "see https://app.rule.io/api/v2/tags?page=2&apikey=" + url.QueryEscape(secret) + "&limit=1"
	quote := func(format string) string { // each form in one text
		var b strings.Builder
		for _, f := range forms {
			b.WriteString(strings.ReplaceAll(format, "KEY", f))
		}
		return b.String()
	}
	for name, r := range map[string]reply{
		"meta.next in a message":   answered(400, fmt.Sprintf(`{"error":"BadRequest","message":%q}`, next)),
		"in a message":             answered(400, fmt.Sprintf(`{"error":"BadRequest","message":%q}`, quote("key KEY is bad; "))),
		"cut in the middle":        answered(400, fmt.Sprintf(`{"message":%q}`, strings.Repeat("x", 290)+secret)),
		"as the word":              answered(400, fmt.Sprintf(`{"error":%q}`, secret)),
		"in the members":           answered(422, fmt.Sprintf(`{"errors":{%q:[%q],"other":%q}}`, secret, quote("KEY"), next)),
		"in a bare string":         answered(500, fmt.Sprintf("%q", next)),
		"in a bare string of 200":  answered(200, fmt.Sprintf("%q", strings.Repeat("y", 295)+next+quote("KEY "))),
		"in a 200 with error":      answered(200, fmt.Sprintf(`{"error":"UnexpectedError","message":%q,"fields":{"k":%q}}`, next, secret)),
		"in the word of 200":       answered(200, fmt.Sprintf(`{"error":%q}`, "bad key "+secret)),
		"in a subscriber's number": answered(200, fmt.Sprintf(`{"subscriber":{"id":%q}}`, secret)),
		"in a 429":                 answered(429, next),
		"in a redirect":            answered(302, "", "Location", "https://elsewhere.example.com/?apikey="+url.QueryEscape(secret)),
		"by the network": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: next, Err: errors.New(quote("proxy refuses KEY; "))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{replies: []reply{r}}
			c := client(w, noon)
			for _, call := range calls {
				err := call.do(t.Context(), c.Session(secret, time.Time{}, nil))
				if err == nil {
					continue
				}
				f, e := ruleError(t, err)
				texts := []string{err.Error(), f.Message, f.Member, e.Error(), fmt.Sprintf("%+v", *e)}
				for _, form := range append(slices.Clone(forms), "ab+cd", "ab%2Bcd") {
					for _, text := range texts {
						if strings.Contains(text, form) {
							t.Fatalf("%s: %q holds the key as %q", call.name, text, form)
						}
					}
				}
			}
			for _, r := range w.requests {
				if got := r.Header.Get("Authorization"); got != "Bearer "+secret {
					t.Errorf("Authorization = %q, want the key", got)
				}
				if strings.Contains(r.URL.String(), "ab+cd") || strings.Contains(r.URL.String(), "ab%2Bcd") || r.URL.User != nil {
					t.Errorf("URL %s holds the key", r.URL)
				}
				if strings.Contains(r.body, "ab+cd") {
					t.Errorf("body %s holds the key", r.body)
				}
			}
		})
	}
}

// What an error says of the route is the same for everybody.
func TestErrorsNameNobody(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"verify": "GET /v2/tags", "subscriber by email": "GET /v2/subscribers/{}", "subscriber by phone": "GET /v2/subscribers/{}", "subscriber by id": "GET /v2/subscribers/{}",
		"fields of some groups": "GET /v3/custom-field-data/{}", "create": "POST /v2/subscribers", "create quietly": "POST /v2/subscribers", "upsert": "POST /v2/subscribers", "upsert by email alone": "POST /v2/subscribers", "upsert many": "POST /v2/subscribers",
		"update": "PUT /v2/subscribers/{}", "update of fields alone": "PUT /v2/subscribers/{}", "tag": "POST /v2/subscribers/{}/tags", "tag that starts automations": "POST /v2/subscribers/{}/tags",
		"untag": "DELETE /v2/subscribers/{}/tags/Min%20tagg%2Fett", "suppress": "POST /v2/suppressions", "unsuppress": "DELETE /v2/suppressions/{}", "preference groups": "GET /v2/preference-groups",
		"set preferences": "PATCH /v2/subscriber/{}/preference_group/1", "declare": "POST /v2/customizations", "append entry": "POST /v3/custom-field-data/{}",
		"find entry": "GET /v3/custom-field-data/{}/search", "patch entry": "PUT /v3/custom-field-data/{}", "entries": "GET /v3/custom-field-data/{}/group/Sitoo-Order",
	}
	for _, call := range calls {
		for name, r := range map[string]reply{"refused": answered(400, ""), "no connection": refusedConnection, "lost": lost, "a page": answered(200, "<html>"), "blocked": answered(429, "")} {
			s, _ := session(r)
			_, e := ruleError(t, call.do(t.Context(), s))
			if e.What != want[call.name] {
				t.Errorf("%s, %s: What = %q, want %q", call.name, name, e.What, want[call.name])
			}
			for _, personal := range []string{"example.com", "kund", "46701740605", "255934461", "40025"} {
				if strings.Contains(e.Error(), personal) {
					t.Errorf("%s, %s: %q holds %q", call.name, name, e.Error(), personal)
				}
			}
		}
	}
}

func TestMissesThatAreAnswers(t *testing.T) {
	t.Parallel()
	miss := answered(404, `{"error":"NotFound","message":"nothing"}`)
	for name, call := range map[string]func(context.Context, *rule.Session) error{
		"untag":      func(ctx context.Context, s *rule.Session) error { return s.Untag(ctx, 1, "Sitoo") },
		"unsuppress": func(ctx context.Context, s *rule.Session) error { return s.Unsuppress(ctx, 1, "email") },
		"find entry": func(ctx context.Context, s *rule.Session) error {
			_, ok, err := s.FindEntry(ctx, 1, "g", "f", "v")
			if ok {
				t.Error("FindEntry found an entry in a 404")
			}
			return err
		},
		"entries": func(ctx context.Context, s *rule.Session) error {
			list, more, err := s.Entries(ctx, 1, "g", 1, 50)
			if len(list) != 0 || more {
				t.Errorf("Entries found %v in a 404, more: %v", list, more)
			}
			return err
		},
	} {
		s, w := session(miss)
		if err := call(t.Context(), s); err != nil || w.count() != 1 {
			t.Errorf("%s: %v after %d requests, want no error after one", name, err, w.count())
		}
		s, _ = session(answered(401, ""))
		if err := call(t.Context(), s); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("%s with a bad key: %v, want unauthorized", name, err)
		}
	}
}

// Which fields a refusal is about: by key, by name, or by place in the request.
func TestWithoutRefused(t *testing.T) {
	t.Parallel()
	fields := []rule.Field{{Group: "Sitoo-Order", Name: "orderid"}, {Group: "Sitoo-Order", Name: "orderdate"}, {Group: "Sitoo-Contact", Name: "birthday"}}
	refusal := func(kind fault.Kind, names ...string) error {
		e := &rule.Error{Fields: map[string][]string{}}
		for _, n := range names {
			e.Fields[n] = []string{"is wrong"}
		}
		return fmt.Errorf("write: %w", &fault.Error{Kind: kind, Err: e})
	}
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"by key":              {refusal(fault.Invalid, "Sitoo-Contact.birthday"), []string{"orderid", "orderdate"}},
		"by name":             {refusal(fault.Invalid, "orderdate"), []string{"orderid", "birthday"}},
		"by place, v2":        {refusal(fault.Invalid, "fields.2.type"), []string{"orderid", "orderdate"}},
		"by place, of a list": {refusal(fault.Invalid, "subscribers.0.fields.1.value"), []string{"orderid", "birthday"}},
		"by place, v3":        {refusal(fault.Invalid, "groups.0.values.1.value"), []string{"orderid", "birthday"}},
		"several":             {refusal(fault.Invalid, "fields.1", "fields.2"), []string{"orderid"}},
		"no place of ours":    {refusal(fault.Invalid, "fields.7", "groups.1", "email"), nil},
		"no name":             {refusal(fault.Invalid), nil},
		"another kind":        {refusal(fault.Unavailable, "fields.1"), nil},
		"not Rule's":          {fault.Bad("orderdate", "is wrong"), nil},
		"no error":            {nil, nil},
	} {
		keep, dropped := rule.WithoutRefused(c.err, fields)
		var got []string
		for _, f := range keep {
			got = append(got, f.Name)
		}
		want := c.want
		if want == nil {
			want = []string{"orderid", "orderdate", "birthday"}
		}
		if dropped != (c.want != nil) || !slices.Equal(got, want) {
			t.Errorf("%s: keeps %v, dropped %v; want %v", name, got, dropped, want)
		}
	}
}
