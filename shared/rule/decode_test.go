package rule_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

func TestSubscriber(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		json string
		want rule.Subscriber
	}{
		"v2, one": {
			`{"id":255934461,"email":"kund.ett@example.com","phone_number":"+46701740605","custom_identifier":null,"language":"sv","opted_in":true,
			  "created_at":"2025-11-03T09:12:00Z","updated_at":"2025-11-03T09:12:00Z","tags":[{"id":1,"name":"Sitoo"},{"id":2,"name":"Newsletter"}],
			  "suppressed":[{"id":5,"created_at":"2025-11-03T09:12:00Z","dispatcher_type":"campaign","message_type":"email","suppressed_source_type":"user"}],"syncAtSegments":[]}`,
			rule.Subscriber{
				ID: 255934461, Email: "kund.ett@example.com", Phone: "+46701740605", OptedIn: true, Tags: []string{"Sitoo", "Newsletter"},
				Suppressed: []rule.Suppression{{Dispatcher: "campaign", Message: "email", Source: "user"}},
			},
		},
		"v2, in a list: suppressed is a bool": {
			`{"id":7,"email":"kund.ett@example.com","phone_number":null,"opted_in":false,"suppressed":true,"tags":null}`,
			rule.Subscriber{ID: 7, Email: "kund.ett@example.com", Suppressed: []rule.Suppression{{Dispatcher: "campaign", Message: "email"}, {Dispatcher: "campaign", Message: "text_message"}}},
		},
		"v3: phone":          {`{"id":7,"email":null,"phone":"+46701740605","status":"ACTIVE","has_next_item":false}`, rule.Subscriber{ID: 7, Phone: "+46701740605", OptedIn: true}},
		"both phones":        {`{"id":7,"phone":"+46701740606","phone_number":"+46701740605"}`, rule.Subscriber{ID: 7, Phone: "+46701740605", OptedIn: true}},
		"one phone is empty": {`{"id":7,"phone":"+46701740606","phone_number":""}`, rule.Subscriber{ID: 7, Phone: "+46701740606", OptedIn: true}},
		"id as a string":     {`{"id":"255934461"}`, rule.Subscriber{ID: 255934461, OptedIn: true}},
		"largest id":         {`{"id":9223372036854775807}`, rule.Subscriber{ID: 9223372036854775807, OptedIn: true}},
		"no id":              {`{"email":"kund.ett@example.com"}`, rule.Subscriber{Email: "kund.ett@example.com", OptedIn: true}},
		"id is null":         {`{"id":null}`, rule.Subscriber{OptedIn: true}},
		"tags as names":      {`{"id":7,"tags":["Sitoo"]}`, rule.Subscriber{ID: 7, OptedIn: true}},
		"tags as an object":  {`{"id":7,"tags":{}}`, rule.Subscriber{ID: 7, OptedIn: true}},
		"no tags":            {`{"id":7,"tags":[],"suppressed":[]}`, rule.Subscriber{ID: 7, OptedIn: true}},
		"suppressed odd":     {`{"id":7,"suppressed":"yes"}`, rule.Subscriber{ID: 7, OptedIn: true}},
		"null":               {`null`, rule.Subscriber{OptedIn: true}},
	} {
		got := rule.Subscriber{ID: 1, Email: "of before", Tags: []string{"of before"}}
		if err := json.Unmarshal([]byte(tt.json), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: subscriber differs (-want +got):\n%s", name, diff)
		}
	}
	for name, bad := range map[string]string{
		"negative id": `{"id":-7}`, "id of 0": `{"id":0}`, "id with a fraction": `{"id":7.5}`, "id of words": `{"id":"seven"}`, "empty id": `{"id":""}`,
		"id over 64 bits": `{"id":9223372036854775808}`, "id as a list": `{"id":[7]}`, "email as a list": `{"id":7,"email":["kund.ett@example.com"]}`, "a list": `[]`, "a string": `"7"`,
	} {
		if err := json.Unmarshal([]byte(bad), new(rule.Subscriber)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTagged(t *testing.T) {
	t.Parallel()
	s := rule.Subscriber{Tags: []string{"Sitoo", "OrderCompleted"}}
	for tag, want := range map[string]bool{"Sitoo": true, "sitoo": false, "Order": false, "": false} {
		if got := s.Tagged(tag); got != want {
			t.Errorf("Tagged(%q) = %v, want %v", tag, got, want)
		}
	}
}

// An answer that is proper JSON and still names no subscriber is not "nobody".
func TestSubscriberWithoutID(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"subscriber":{}}`, `{"subscriber":null}`, `{"subscriber":{"id":null,"email":"kund.ett@example.com"}}`, `null`} {
		s, _ := session(answered(200, body))
		_, err := s.Subscriber(t.Context(), rule.ByID(7))
		if fault.KindOf(err) != fault.Unavailable || rule.Uncertain(err) {
			t.Errorf("%s: %v, want unavailable", body, err)
		}
	}
	for _, body := range []string{`{"message":"Success"}`, `{"message":"Success","subscriber":{}}`} {
		s, _ := session(answered(200, body))
		if got, err := s.Upsert(t.Context(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}); err != nil || got.ID != 0 {
			t.Errorf("Upsert answered %s: %+v, %v; want no id and no error", body, got, err)
		}
	}
	s, _ := session(answered(200, `{"message":"Success","subscriber":{"id":255934461},"suppressed":[]}`))
	if got, err := s.Upsert(t.Context(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}); err != nil || got.ID != 255934461 {
		t.Errorf("Upsert = %+v, %v; want id 255934461", got, err)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		raw  string
		text string
		list []string
		json string
	}{
		"text":                        {`"Konceptbutik"`, "Konceptbutik", []string{"Konceptbutik"}, "Konceptbutik"},
		"number":                      {`149.50`, "149.50", []string{"149.50"}, "149.50"},
		"bool":                        {`true`, "true", []string{"true"}, "true"},
		"null":                        {`null`, "", nil, ""},
		"absent":                      {``, "", nil, ""},
		"empty":                       {`""`, "", nil, ""},
		"multiple, as an array":       {`["A","B, C"]`, `["A","B, C"]`, []string{"A", "B, C"}, `["A","B, C"]`},
		"multiple, encoded":           {`"[\"A\",\"B, C\"]"`, `["A","B, C"]`, []string{"A", "B, C"}, `["A","B, C"]`},
		"multiple, joined":            {`"A, B ,,C"`, "A, B ,,C", []string{"A", "B", "C"}, "A, B ,,C"},
		"multiple, numbers as well":   {`[1,"a",2.50]`, `[1,"a",2.50]`, []string{"1", "a", "2.50"}, `[1,"a",2.50]`},
		"multiple, encoded numbers":   {`"[11,12]"`, `[11,12]`, []string{"11", "12"}, `[11,12]`},
		"multiple, empty":             {`[]`, `[]`, nil, `[]`},
		"multiple, encoded and empty": {`"[]"`, `[]`, nil, `[]`},
		"multiple, one":               {`"[broken"`, `[broken`, []string{"[broken"}, `[broken`},
		"json, as such":               {`[{"id":"B1"}]`, `[{"id":"B1"}]`, []string{`{"id":"B1"}`}, `[{"id":"B1"}]`},
		"json, encoded":               {`"[{\"id\":\"B1\"}]"`, `[{"id":"B1"}]`, []string{`{"id":"B1"}`}, `[{"id":"B1"}]`},
		"json, only spaces":           {`"  "`, "  ", nil, ""},
	} {
		v := rule.Value{Raw: raw(tt.raw)}
		if got := v.Text(); got != tt.text {
			t.Errorf("%s: Text = %q, want %q", name, got, tt.text)
		}
		if got := v.List(); !slices.Equal(got, tt.list) {
			t.Errorf("%s: List = %q, want %q", name, got, tt.list)
		}
		if got := v.JSON(); string(got) != tt.json || (got == nil) != (tt.json == "") {
			t.Errorf("%s: JSON = %q, want %q", name, got, tt.json)
		}
	}
}

// A field is written in v2's form: one key, JSON in a string.
func TestFieldMarshal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field rule.Field
		want  string
	}{
		{rule.Field{Group: "Sitoo-Contact", Name: "namefirst", Type: rule.Text, Value: "Kund"}, `{"key":"Sitoo-Contact.namefirst","value":"Kund","type":"text"}`},
		{rule.Field{Group: "Sitoo-Contact", Name: "namefirst", Value: ""}, `{"key":"Sitoo-Contact.namefirst","value":""}`},
		{rule.Field{Group: "Sitoo-Contact", Name: "bonuschecks", Type: rule.JSON, Value: raw(`{"a": 1}`)}, `{"key":"Sitoo-Contact.bonuschecks","value":"{\"a\": 1}","type":"json"}`},
		{rule.Field{Group: "Sitoo-Order", Name: "skus", Type: rule.Multiple, Value: []string{"a", "b"}}, `{"key":"Sitoo-Order.skus","value":["a","b"],"type":"multiple"}`},
	} {
		got, err := json.Marshal(tt.field)
		if err != nil || string(got) != tt.want {
			t.Errorf("Marshal(%+v) = %s, %v; want %s", tt.field, got, err, tt.want)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	const contact, address = "Sitoo-Contact", "Sitoo-Address"
	whole := rule.Values{contact: {"namefirst": {Raw: raw(`"Kund"`)}, "company": {Raw: raw(`null`)}, "bonuschecks": {Raw: raw(`[{"id":"B1"}]`)}}, address: {"invoice_city": {Raw: raw(`"Lund"`)}}}
	const one = `{"id":1,"group_name":"Sitoo-Contact","historical":false,"created_at":"2026-05-14T12:12:16Z","values":[
		{"field_id":1,"field_name":"namefirst","field_type":"text","field_value":"Kund"},{"field_name":"company","field_value":null},
		{"field_name":"bonuschecks","field_type":"json","field_value":[{"id":"B1"}]}]}`
	const two = `{"group_name":"Sitoo-Address","values":[{"field_name":"invoice_city","field_value":"Lund"}]}`
	for name, c := range map[string]struct {
		body   string
		want   rule.Values
		unread bool
	}{
		"as documented":                {`{"data":[` + one + `,` + two + `],"meta":{"page":1,"per_page":100}}`, whole, false},
		"as an object":                 {`{"data":{"0":` + one + `,"7":` + two + `}}`, whole, false},
		"values as an object":          {`{"data":[` + two + `,{"group_name":"Sitoo-Contact","values":{"0":{"field_name":"namefirst","field_value":"Kund"},"1":{"field_name":"company","field_value":null},"4":{"field_name":"bonuschecks","field_value":[{"id":"B1"}]}}}]}`, whole, false},
		"values by name":               {`{"data":[` + two + `,{"group_name":"Sitoo-Contact","values":{"namefirst":"Kund","company":null,"bonuschecks":[{"id":"B1"}]}}]}`, whole, false},
		"foreign groups of any shape":  {`{"data":[{"group_name":"Order","values":7},{"group_name":"Cart","values":{"a":[1]}},7,null,"x",{"group_name":{"a":1}},[` + one + `],` + one + `,` + two + `]}`, whole, false},
		"a history":                    {`{"data":[{"group_name":"Sitoo-Contact","created_at":"2026-05-14T13:00:00Z","values":[{"field_name":"namefirst","field_value":"Kund"}]},` + strings.Replace(one, `"Kund"`, `"Förr"`, 1) + `,` + two + `]}`, whole, false},
		"nothing":                      {`{"data":[]}`, rule.Values{}, false},
		"null":                         {`{"data":null}`, rule.Values{}, false},
		"a group without a value":      {`{"data":[{"group_name":"Sitoo-Contact","values":null}]}`, rule.Values{contact: {}}, false},
		"a group of ours out of shape": {`{"data":[{"group_name":"Sitoo-Contact","values":"oj"},` + two + `]}`, rule.Values{contact: {}, address: whole[address]}, true},
		"values out of shape":          {`{"data":[{"group_name":"Sitoo-Contact","values":[1,2]},` + two + `]}`, rule.Values{contact: {}, address: whole[address]}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := session(answered(200, c.body))
			got, err := s.Fields(t.Context(), 7, contact, address)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("fields differ (-want +got):\n%s", diff)
			}
			if errors.Is(err, rule.ErrUnread) != c.unread || err != nil && !c.unread {
				t.Errorf("error %v, want Unread: %v", err, c.unread)
			}
		})
	}
	// An answer without the member is none: "no fields" would be written over what
	// the customer has.
	for _, body := range []string{`{}`, `{"data":7}`, `{"data":"x"}`, `{"groups":[]}`} {
		s, _ := session(answered(200, body))
		if got, err := s.Fields(t.Context(), 7, contact); err == nil || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v, %v; want unavailable", body, got, err)
		}
	}
}

// What else of a subscriber comes in shapes that are not documented.
func TestSubscriberLeniently(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body string
		tags []string
		sup  int
	}{
		{`{"tags":[{"id":1,"name":"Sitoo"},{"id":2,"name":"VIP"}],"suppressed":[{"message_type":"email"}]}`, []string{"Sitoo", "VIP"}, 1},
		{`{"tags":{"0":{"id":1,"name":"Sitoo"},"3":{"id":2,"name":"VIP"}},"suppressed":{"2":{"message_type":"email"}}}`, []string{"Sitoo", "VIP"}, 1},
		{`{"tags":["Sitoo"],"suppressed":true}`, nil, 2},
		{`{"tags":null,"suppressed":false}`, nil, 0},
		{`{"tags":7,"suppressed":"1"}`, nil, 2},
		{`{}`, nil, 0},
	} {
		var s rule.Subscriber
		if err := json.Unmarshal([]byte(tt.body), &s); err != nil {
			t.Errorf("%s: %v", tt.body, err)
		}
		if diff := cmp.Diff(tt.tags, s.Tags); diff != "" || len(s.Suppressed) != tt.sup {
			t.Errorf("%s: tags %s, suppressed %v", tt.body, diff, s.Suppressed)
		}
	}
}

// A refusal in the words of v3's framework is a conflict as well.
func TestTaken(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"message":"The given data was invalid.","errors":{"email":["The email has already been taken."]}}`,
		`{"message":"The phone number has already been taken."}`,
		`{"error":"BadRequest","fields":{"subscribers.phone_number":["Has already been taken"]}}`,
	} {
		for _, status := range []int{422, 400} {
			s, _ := session(answered(status, body))
			if _, err := s.Create(t.Context(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}, false); fault.KindOf(err) != fault.Conflict {
				t.Errorf("%d %s: %v, want a conflict", status, body, err)
			}
		}
	}
	s, _ := session(answered(422, `{"errors":{"fields.0.value":["has already been taken for granted"],"email":["is wrong"]}}`))
	if _, err := s.Create(t.Context(), rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}}, false); fault.KindOf(err) != fault.Invalid {
		t.Errorf("another refusal: %v, want invalid", err)
	}
}

const record = `{"id":"e-1","group_id":9,"group_name":"Sitoo-Order","historical":true,"created_at":"2026-05-14T12:12:16Z","values":[
	{"field_id":1,"field_name":"orderid","field_type":"text","field_value":"40025"},
	{"field_id":2,"field_name":"names","field_type":"multiple","field_value":["Tröja"]},
	{"field_id":3,"field_name":"products","field_type":"json","field_value":[{"name":"Tröja"}]}]}`

var entry = rule.Entry{ID: "e-1", Group: "Sitoo-Order", Values: map[string]rule.Value{
	"orderid": {Raw: json.RawMessage(`"40025"`)}, "names": {Raw: json.RawMessage(`["Tröja"]`)}, "products": {Raw: json.RawMessage(`[{"name":"Tröja"}]`)},
}}

func TestEntry(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		json string
		want rule.Entry
	}{
		"v3's record":   {record, entry},
		"id, a number":  {`{"id":255,"group_name":"g","values":[]}`, rule.Entry{ID: "255", Group: "g", Values: map[string]rule.Value{}}},
		"no values":     {`{"id":null,"values":null}`, rule.Entry{Values: map[string]rule.Value{}}},
		"name of null":  {`{"values":[{"field_name":null,"field_value":1}]}`, rule.Entry{Values: map[string]rule.Value{"": {Raw: raw("1")}}}},
		"same name two": {`{"values":[{"field_name":"a","field_value":1},{"field_name":"a","field_value":2}]}`, rule.Entry{Values: map[string]rule.Value{"a": {Raw: raw("2")}}}},
	} {
		var got rule.Entry
		if err := json.Unmarshal([]byte(tt.json), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: entry differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestFindEntry(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body  string
		found bool
		kind  fault.Kind // of the error, if not found
		fails bool
	}{
		"found":          {body: `{"data":` + record + `}`, found: true},
		"null":           {body: `{"data":null}`},
		"nothing":        {body: `{}`},
		"a list":         {body: `{"data":[` + record + `]}`, fails: true, kind: fault.Unavailable},
		"out of shape":   {body: `{"data":{"values":"?"}}`, fails: true, kind: fault.Unavailable},
		"error and data": {body: `{"error":"NotAuthorized","data":null}`, fails: true, kind: fault.Unauthorized},
	} {
		s, _ := session(answered(200, tt.body))
		got, found, err := s.FindEntry(t.Context(), 7, "Sitoo-Order", "orderid", "40025")
		if found != tt.found || (err != nil) != tt.fails || tt.fails && fault.KindOf(err) != tt.kind {
			t.Errorf("%s: found %v, %v; want %v, error %v of kind %v", name, found, err, tt.found, tt.fails, tt.kind)
		}
		if found {
			if diff := cmp.Diff(entry, got); diff != "" {
				t.Errorf("%s: entry differs (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		page int // what is asked for
		want int
		more bool
	}{
		"a full page":               {`{"data":[` + record + `,` + record + `],"meta":{"page":1,"per_page":2}}`, 2, 2, true},
		"the last page":             {`{"data":[` + record + `],"meta":{"page":2,"per_page":2}}`, 2, 1, false},
		"none":                      {`{"data":[],"meta":{"page":3,"per_page":2}}`, 2, 0, false},
		"null":                      {`{"data":null}`, 2, 0, false},
		"no meta, full":             {`{"data":[` + record + `]}`, 1, 1, true},
		"Rule gives fewer a page":   {`{"data":[` + record + `],"meta":{"per_page":1}}`, 50, 1, true},
		"one out of shape":          {`{"data":[{"values":"?"},` + record + `],"meta":{"per_page":2}}`, 2, 1, true},
		"one that is not an object": {`{"data":["?",7,` + record + `],"meta":{"per_page":50}}`, 50, 1, false},
	} {
		s, _ := session(answered(200, tt.body))
		list, more, err := s.Entries(t.Context(), 7, "Sitoo-Order", 1, tt.page)
		if err != nil || len(list) != tt.want || more != tt.more {
			t.Errorf("%s: %d entries, more: %v, %v; want %d, more: %v", name, len(list), more, err, tt.want, tt.more)
		}
		for _, e := range list {
			if diff := cmp.Diff(entry, e); diff != "" {
				t.Errorf("%s: entry differs (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestPreferenceGroups(t *testing.T) {
	t.Parallel()
	const list = `[{"id":1,"account_id":3,"name":"Kundklubben","link":null,"preferences":[{"id":11,"name":"Nyhetsbrev","fallback_opt_in":true},{"id":12,"name":"Sms"}]}]`
	want := []rule.PreferenceGroup{{ID: 1, Name: "Kundklubben", Preferences: []rule.Preference{{ID: 11, Name: "Nyhetsbrev", Default: true}, {ID: 12, Name: "Sms"}}}}
	for name, tt := range map[string]struct {
		body string
		want []rule.PreferenceGroup
	}{
		"documented":     {list, want},
		"in an envelope": {`{"preference_groups":` + list + `}`, want},
		"none":           {`[]`, nil},
		"none, enveloped": {
			`{"preference_groups":[]}`, nil,
		},
		"nothing": {`{}`, nil},
		"null":    {`null`, nil},
	} {
		s, _ := session(answered(200, tt.body))
		got, err := s.PreferenceGroups(t.Context())
		if err != nil || !cmp.Equal(tt.want, got) && len(tt.want)+len(got) > 0 {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	for _, body := range []string{`[{"id":"one"}]`, `{"preference_groups":7}`, `7`, ``} {
		s, _ := session(answered(200, body))
		if got, err := s.PreferenceGroups(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%q: %v, %v; want unavailable", body, got, err)
		}
	}
}
