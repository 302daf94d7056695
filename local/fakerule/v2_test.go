package fakerule_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
)

// field makes the body of an upsert of a@example.com with one field.
func field(group, name, typ, value string) string {
	return fmt.Sprintf(`{"update_on_duplicate":true,"subscribers":{"email":"a@example.com","fields":[{"key":"%s.%s","type":"%s","value":%s}]}}`, group, name, typ, value)
}

func TestV2Refusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 32_501)
	many := strings.Repeat(`{"email":"a@example.com"},`, 1001)
	for name, tc := range map[string]struct {
		method, target, body string
		status               int
		want                 string // substring of the body
	}{
		"not JSON":                {"POST", "/v2/subscribers", `{"subscribers":`, 400, `"error":"BadRequest"`},
		"not an object":           {"POST", "/v2/subscribers", `[]`, 400, `must be a JSON object`},
		"not UTF-8":               {"POST", "/v2/subscribers", "{\"subscribers\":{\"email\":\"\xff\"}}", 400, `not UTF-8`},
		"nested too deep":         {"POST", "/v2/subscribers", `{"subscribers":` + strings.Repeat("[", 100_000), 400, `not valid JSON`},
		"no subscribers":          {"POST", "/v2/subscribers", `{}`, 400, `"fields":{"subscribers":[`},
		"empty array":             {"POST", "/v2/subscribers", `{"subscribers":[]}`, 400, `"fields":{"subscribers":[`},
		"no identifier":           {"POST", "/v2/subscribers", `{"subscribers":{"email":"","phone_number":null}}`, 400, `"fields":{"email":[`},
		"bad email":               {"POST", "/v2/subscribers", `{"subscribers":{"email":"kund.ett@"}}`, 400, `"fields":{"email":[`},
		"email without a dot":     {"POST", "/v2/subscribers", `{"subscribers":{"email":"a@b"}}`, 400, `"fields":{"email":[`},
		"email with a name":       {"POST", "/v2/subscribers", `{"subscribers":{"email":"A <a@example.com>"}}`, 400, `"fields":{"email":[`},
		"email of a wrong type":   {"POST", "/v2/subscribers", `{"subscribers":{"email":5}}`, 400, `"fields":{"email":[`},
		"phone that is no number": {"POST", "/v2/subscribers", `{"subscribers":{"email":"a@example.com","phone_number":"12"}}`, 400, `"fields":{"phone_number":["The phone number is not valid."]}`},
		"phone in letters":        {"POST", "/v2/subscribers", `{"subscribers":{"phone_number":"070-FLOWERS"}}`, 400, `"fields":{"phone_number":[`},
		"entry of a batch":        {"POST", "/v2/subscribers", `{"subscribers":[{"email":"a@example.com"},{"phone_number":"x"}]}`, 400, `"fields":{"subscribers.1.phone_number":[`},
		"entry that is null":      {"POST", "/v2/subscribers", `{"subscribers":[null]}`, 400, `"fields":{"subscribers.0":[`},
		"1001 subscribers":        {"POST", "/v2/subscribers", `{"subscribers":[` + strings.TrimSuffix(many, ",") + `]}`, 413, `1000`},
		"tags empty":              {"POST", "/v2/subscribers", `{"tags":[],"subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"tags":[`},
		"tags twice":              {"POST", "/v2/subscribers", `{"tags":["A","A"],"subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"tags.1":[`},
		"tag without a name":      {"POST", "/v2/subscribers", `{"tags":[" "],"subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"tags.0":[`},
		"tag id unknown":          {"POST", "/v2/subscribers", `{"tags":[77],"subscribers":{"email":"a@example.com"}}`, 404, `TagNotFound`},
		"tag of digits unknown":   {"POST", "/v2/subscribers", `{"tags":["2026"],"subscribers":{"email":"a@example.com"}}`, 404, `TagNotFound`},
		"automation unknown":      {"POST", "/v2/subscribers", `{"automation":"send","subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"automation":[`},
		"automation true":         {"POST", "/v2/subscribers", `{"automation":true,"subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"automation":[`},
		"flag that is a string":   {"POST", "/v2/subscribers", `{"update_on_duplicate":"yes","subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"update_on_duplicate":[`},
		"language":                {"POST", "/v2/subscribers", `{"language":"swe","subscribers":{"email":"a@example.com"}}`, 400, `"fields":{"language":[`},
		"key without a dot":       {"POST", "/v2/subscribers", field("A", "", "text", `"x"`), 400, `"fields":{"fields.0.key":[`},
		"key with two dots":       {"POST", "/v2/subscribers", field("A.B", "C", "text", `"x"`), 400, `exactly one dot`},
		"key with a tab":          {"POST", "/v2/subscribers", field("A", `b\tc`, "text", `"x"`), 400, `reserved characters`},
		"type unknown":            {"POST", "/v2/subscribers", field("A", "b", "number", `"1"`), 400, `"fields":{"fields.0.type":[`},
		"type single in a write":  {"POST", "/v2/subscribers", field("A", "b", "single", `"1"`), 400, `"fields":{"fields.0.type":[`},
		"group too long":          {"POST", "/v2/subscribers", `{"subscribers":{"email":"a@example.com","fields":[{"key":"A.b","value":"` + long + `"},{"key":"A.c","value":"` + long + `"}]}}`, 400, `longer than 65000`},
		"wrong content type":      {"POST", "/v2/subscribers", "", 400, `content type`},
		"fields not an array":     {"POST", "/v2/subscribers", `{"subscribers":{"email":"a@example.com","fields":"x"}}`, 400, `"fields":{"fields":[`},
		"limit":                   {"GET", "/v2/subscribers?limit=101", "", 400, `{"error":"LimitExceed","message":"Limit can't exceed 100."}`},
		"limit zero":              {"GET", "/v2/tags?limit=0", "", 400, `"fields":{"limit":[`},
		"page of letters":         {"GET", "/v2/subscribers?page=two", "", 400, `"fields":{"page":[`},
		"identified_by":           {"GET", "/v2/subscribers/x?identified_by=name", "", 400, `"fields":{"identified_by":[`},
		"nobody":                  {"GET", "/v2/subscribers/nobody@example.com", "", 404, `{"error":"SubscriberNotFound","message":"Could not find subscriber"}`},
		"nobody's fields":         {"GET", "/v2/subscriber/5/fields?identified_by=id", "", 404, `SubscriberNotFound`},
		"update by email":         {"PUT", "/v2/subscribers/a@example.com", `{"language":"sv"}`, 404, `SubscriberNotFound`},
		"unknown customization":   {"GET", "/v2/customizations/Nothing", "", 404, `GroupNotFound`},
		"unknown tag":             {"GET", "/v2/tags/Nothing", "", 404, `TagNotFound`},
		"customization type":      {"POST", "/v2/customizations", `{"fields":[{"key":"A.b","type":"bool"}]}`, 400, `"fields":{"fields.0.type":[`},
		"suppress on":             {"POST", "/v2/suppressions", `{"subscribers":[{"id":1}],"suppress_on":{"campaign":["letter"]}}`, 400, `"fields":{"suppress_on":[`},
		"preferences are off":     {"GET", "/v2/preference-groups", "", 404, `NotFound`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			got := r.do(tc.method, tc.target, tc.body)
			if got.status != tc.status || !strings.Contains(got.body, tc.want) {
				t.Errorf("got %d %s\nwant %d with %s", got.status, got.body, tc.status, tc.want)
			}
			equal(t, "nothing is written", len(r.Subscribers(key)), 0)
		})
	}
}

func TestUpsertMatches(t *testing.T) {
	t.Parallel()
	// Two people are there: 1 with both identifiers, 2 with an email.
	for name, tc := range map[string]struct {
		subscribers string
		update      bool
		status      int
		want        []string // email and phone of everybody afterwards
	}{
		"email, other case": {`{"email":"ETT@Example.com"}`, true, 200, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"phone in Swedish":  {`{"phone_number":"070-174 06 05"}`, true, 200, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"phone with 00":     {`{"phone_number":"0046 70 174 06 05"}`, true, 200, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"email gets a phone": {
			`{"email":"tva@example.com","phone_number":"+46701740606"}`, true, 200,
			[]string{"ett@example.com +46701740605", "tva@example.com +46701740606"},
		},
		"phone gets another email": {
			`{"email":"ny@example.com","phone_number":"+46701740605"}`, true, 200,
			[]string{"ny@example.com +46701740605", "tva@example.com "},
		},
		"null leaves the phone":    {`{"email":"ett@example.com","phone_number":null}`, true, 200, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"two people":               {`{"email":"tva@example.com","phone_number":"+46701740605"}`, true, 409, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"without update, known":    {`{"email":"ett@example.com"}`, false, 409, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"without update, new":      {`{"email":"tre@example.com"}`, false, 200, []string{"ett@example.com +46701740605", "tva@example.com ", "tre@example.com "}},
		"foreign phone":            {`{"phone_number":"+4712345678"}`, true, 400, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"batch, twice the same":    {`[{"email":"tre@example.com"},{"email":"TRE@example.com","phone_number":"0701740607"}]`, true, 200, []string{"ett@example.com +46701740605", "tva@example.com ", "tre@example.com +46701740607"}},
		"batch, same, no update":   {`[{"email":"tre@example.com"},{"email":"TRE@example.com"}]`, false, 409, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"batch, clash at the end":  {`[{"email":"tre@example.com"},{"email":"tva@example.com","phone_number":"0701740605"}]`, true, 409, []string{"ett@example.com +46701740605", "tva@example.com "}},
		"batch, freed by a change": {`[{"email":"ny@example.com","phone_number":"0701740605"},{"email":"ett@example.com"}]`, true, 200, []string{"ny@example.com +46701740605", "tva@example.com ", "ett@example.com "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			r.upsert(`{"subscribers":{"email":"ett@example.com","phone_number":"+46701740605"}}`)
			r.upsert(`{"subscribers":{"email":"tva@example.com"}}`)
			got := r.do("POST", "/v2/subscribers", fmt.Sprintf(`{"update_on_duplicate":%t,"subscribers":%s}`, tc.update, tc.subscribers))
			if got.status != tc.status {
				t.Errorf("status: got %d %s, want %d", got.status, got.body, tc.status)
			}
			if tc.status == 409 && !strings.Contains(got.body, `"error":"DuplicateSubscriber"`) {
				t.Errorf("body: got %s", got.body)
			}
			var have []string
			for _, s := range r.Subscribers(key) {
				have = append(have, s.Email+" "+s.Phone)
			}
			equal(t, "people", have, tc.want)
		})
	}
}

func TestSubscriberAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	got := r.must("POST", "/v2/subscribers", `{"tags":["Sitoo"],"subscribers":{"email":"Kund.Ett@example.com","phone_number":"0701740605"}}`)
	const subscriber = `{"id":255934501,"email":"kund.ett@example.com","phone_number":"+46701740605","custom_identifier":null,
		"language":"sv","opted_in":true,"created_at":"2026-05-14 14:12:16","updated_at":"2026-05-14 14:12:16",
		"tags":[{"id":1,"name":"Sitoo"}],"suppressed":[],"syncAtSegments":[]}`
	sameJSON(t, got.body, `{"message":"Success","subscriber":`+subscriber+`}`)
	for _, target := range []string{
		"kund.ett%40example.com", "KUND.ETT@example.com?identified_by=email", "%2B46701740605?identified_by=phone_number",
		"070-174%2006%2005?identified_by=phone_number", "255934501?identified_by=id",
	} {
		sameJSON(t, r.must("GET", "/v2/subscribers/"+target, "").body, `{"subscriber":`+subscriber+`}`)
	}
	r.must("POST", "/v2/suppressions", `{"subscribers":[{"email":"kund.ett@example.com"}],"suppress_on":{"campaign":["email"],"transaction":["text_message"]}}`)
	got = r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"subscribers":[{"email":"kund.ett@example.com"},{"email":"ny@example.com"}]}`)
	var out struct {
		Success    bool
		Created    int `json:"subscribers_created"`
		Updated    int `json:"subscribers_updated"`
		Suppressed []struct {
			Dispatcher string `json:"dispatcher_type"`
			Message    string `json:"message_type"`
			Source     string `json:"suppressed_source_type"`
		}
	}
	decode(t, got.body, &out)
	if !out.Success || out.Created != 1 || out.Updated != 1 || len(out.Suppressed) != 2 || out.Suppressed[1].Dispatcher != "transactional" {
		t.Errorf("got %s", got.body)
	}
	equal(t, "a suppressed subscriber stays suppressed", len(r.Subscribers(key)[0].Suppressions), 2)
}

func TestFieldValues(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typ, value string
		ok         bool
		shown      string // as v2 reads it
	}{
		"text":                     {"text", `"åäö <b>"`, true, `åäö <b>`},
		"text, number":             {"text", `149.00`, true, `149.00`},
		"text, bool":               {"text", `true`, false, ""},
		"text, array":              {"text", `["a"]`, false, ""},
		"null":                     {"text", `null`, false, ""},
		"date":                     {"date", `"1986-05-15"`, true, "1986-05-15"},
		"date, not there":          {"date", `"2025-02-29"`, false, ""},
		"date, with time":          {"date", `"1986-05-15T00:00:00Z"`, false, ""},
		"date, number":             {"date", `19860515`, false, ""},
		"datetime":                 {"datetime", `"2026-05-14 14:12:16"`, true, "2026-05-14 14:12:16"},
		"datetime, T":              {"datetime", `"2026-05-14T14:12:16"`, false, ""},
		"datetime, fraction":       {"datetime", `"2026-05-14 14:12:16.5"`, false, ""},
		"time":                     {"time", `"08:30:00"`, true, "08:30:00"},
		"time, short hour":         {"time", `"8:30:00"`, false, ""},
		"multiple":                 {"multiple", `["A","B & C"]`, true, `["A","B & C"]`},
		"multiple, empty":          {"multiple", `[]`, true, `[]`},
		"multiple, encoded":        {"multiple", `"[\"A\",\"B & C\"]"`, true, `["A","B & C"]`},
		"multiple, plain text":     {"multiple", `"klarna_payments"`, true, `["klarna_payments"]`},
		"multiple, text like one":  {"multiple", `"[1]"`, true, `["[1]"]`},
		"multiple, numeric keys":   {"multiple", `{"10":"C","0":"A","2":"B"}`, true, `["A","B","C"]`},
		"multiple, other keys":     {"multiple", `{"a":"A"}`, false, ""},
		"multiple, bad in keys":    {"multiple", `{"0":1}`, false, ""},
		"multiple, numbers":        {"multiple", `[1]`, false, ""},
		"multiple, null inside":    {"multiple", `["A",null]`, false, ""},
		"json":                     {"json", `"[{\"name\":\"Mössa\"}]"`, true, `[{"name":"Mössa"}]`},
		"json, not encoded":        {"json", `[{"name":"Mössa"}]`, false, ""},
		"json, broken inside":      {"json", `"[{"`, false, ""},
		"65,000 characters":        {"text", `"` + strings.Repeat("ä", 65_000) + `"`, true, strings.Repeat("ä", 65_000)},
		"one character more":       {"text", `"` + strings.Repeat("ä", 65_001) + `"`, false, ""},
		"empty clears, text":       {"text", `""`, true, ""},
		"empty clears, date":       {"date", `""`, true, ""},
		"empty clears, multiple":   {"multiple", `""`, true, ""},
		"empty clears, json":       {"json", `""`, true, ""},
		"type left out means text": {"", `"x"`, true, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			got := r.do("POST", "/v2/subscribers", field("Sitoo-Contact", "f", tc.typ, tc.value))
			if !tc.ok {
				if got.status != 400 {
					t.Errorf("got %d %s, want 400", got.status, got.body)
				}
				return
			}
			if got.status != 200 {
				t.Fatalf("got %d %s, want 200", got.status, got.body)
			}
			var out struct {
				Groups []struct {
					Name       string
					Historical bool
					Fields     []struct {
						Name, Type string
						Value      *string
					}
				}
			}
			decode(t, r.must("GET", "/v2/subscriber/a@example.com/fields", "").body, &out)
			f := out.Groups[0].Fields[0]
			if (tc.shown == "") != (f.Value == nil) || (f.Value != nil && *f.Value != tc.shown) {
				t.Errorf("value: got %v, want %q", f.Value, tc.shown)
			}
			want := tc.typ
			if want == "" {
				want = "text"
			}
			equal(t, "type", f.Type, want)
		})
	}
}

func TestFieldTypeIsFixedByItsFirstCreation(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.must("POST", "/v2/subscribers", field("A", "b", "json", `"[]"`))
	got := r.do("POST", "/v2/subscribers", field("A", "b", "text", `"x"`))
	equal(t, "another type", got.status, 400)
	if !strings.Contains(got.body, `"fields.0.type"`) || !strings.Contains(got.body, "exists with type json") {
		t.Errorf("body: got %s", got.body)
	}
	r.must("POST", "/v2/subscribers", field("A", "b", "", `"[1]"`)) // the type it has
	equal(t, "the type it has, wrong value", r.do("POST", "/v2/subscribers", field("A", "b", "", `"x"`)).status, 400)
	contradiction := `{"update_on_duplicate":true,"subscribers":{"email":"a@example.com","fields":[{"key":"N.x","value":"1"},{"key":"N.x","type":"date","value":"2026-01-01"}]}}`
	equal(t, "a call that contradicts itself", r.do("POST", "/v2/subscribers", contradiction).status, 400)
	r.must("POST", "/v2/customizations", `{"fields":[{"key":"A.choice","type":"single"}]}`)
	r.must("POST", "/v2/subscribers", field("A", "choice", "text", `"x"`))
	equal(t, "schema against schema", r.do("POST", "/v2/customizations", `{"fields":[{"key":"A.choice","type":"date"}]}`).status, 400)
	equal(t, "schema single against json", r.do("POST", "/v2/customizations", `{"fields":[{"key":"A.b","type":"single"}]}`).status, 400)
}

func TestOrdinaryGroupIsOverwrittenFieldByField(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com","fields":[{"key":"G.a","value":"1"},{"key":"G.b","value":"2"},{"key":"H.c","value":"3"}]}}`)
	r.must("POST", "/v2/subscribers", field("G", "a", "text", `"new"`))
	equal(t, "G", r.Entries(key, id, "G"), []fakerule.Entry{{ID: 1, CreatedAt: start, Fields: []fakerule.Field{
		{Name: "a", Type: "text", Value: "new"}, {Name: "b", Type: "text", Value: "2"},
	}}})
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"fields_clear":true,"subscribers":{"email":"a@example.com","fields":[{"key":"G.b","value":"4"}]}}`)
	sub, _ := r.Subscriber(key, id)
	if len(sub.Groups) != 1 || sub.Groups[0].Entries[0].Value("b") != "4" || sub.Groups[0].Entries[0].Value("a") != "" {
		t.Errorf("after fields_clear: got %+v", sub.Groups)
	}
}

func TestHistoricalGroupAppends(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	write := func(order string) {
		r.must("POST", "/v2/subscribers", field("Sitoo-Order", "orderid", "text", `"`+order+`"`))
	}
	write("1")
	write("2") // made by v2, so not historical: overwritten
	r.DefineHistorical(key, "Sitoo-Order", true)
	write("3")
	write("3") // appends blindly
	id := r.Subscribers(key)[0].ID
	var orders []string
	for _, e := range r.Entries(key, id, "Sitoo-Order") {
		orders = append(orders, e.Value("orderid"))
	}
	equal(t, "orders", orders, []string{"2", "3", "3"})
	sameJSON(t, r.must("GET", "/v2/subscriber/a@example.com/fields", "").body,
		`{"groups":[{"id":1,"name":"Sitoo-Order","historical":true,"fields":[{"id":1,"name":"orderid","type":"text","value":"3"}]}]}`)
}

func TestPagesOfSubscribers(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	for i := range 5 {
		r.upsert(fmt.Sprintf(`{"subscribers":{"email":"kund%d@example.com"}}`, i))
	}
	var got []string
	target, pages := "/v2/subscribers?limit=2&apikey=demo-key", 0
	for target != "" {
		req := httptest.NewRequest("GET", target, nil) // the key is in the query
		a := r.send(req)
		var out struct {
			Subscribers []struct {
				Email      string
				Suppressed bool
			}
			Meta struct{ Next *string }
		}
		decode(t, a.body, &out)
		for _, s := range out.Subscribers {
			got = append(got, s.Email)
		}
		target = ""
		if out.Meta.Next != nil {
			u, err := url.Parse(*out.Meta.Next)
			if err != nil || u.Scheme != "http" || u.Host != "example.com" || u.Query().Get("apikey") != "demo-key" {
				t.Fatalf("next: got %q, %v", *out.Meta.Next, err)
			}
			target = u.RequestURI()
		}
		pages++
	}
	equal(t, "pages", pages, 3)
	equal(t, "emails", got, []string{"kund4@example.com", "kund3@example.com", "kund2@example.com", "kund1@example.com", "kund0@example.com"})
	for _, far := range []string{"9", "9223372036854775807"} {
		sameJSON(t, r.must("GET", "/v2/subscribers?page="+far, "").body, `{"subscribers":[],"meta":{"next":null}}`)
	}
	if next := r.must("GET", "/v2/subscribers?limit=2", "").body; strings.Contains(next, "apikey") {
		t.Errorf("next holds a key that was not in the query: %s", next)
	}
}

func TestUpdateSubscriber(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   string
		status int
		want   string // email, phone, language
	}{
		"email":                   {`{"email":"Ny@example.com"}`, 200, "ny@example.com +46701740605 sv"},
		"phone":                   {`{"phone_number":"0701740607"}`, 200, "ett@example.com +46701740607 sv"},
		"its own again":           {`{"email":"ett@example.com","phone_number":"0701740605"}`, 200, "ett@example.com +46701740605 sv"},
		"language":                {`{"language":"EN"}`, 200, "ett@example.com +46701740605 en"},
		"nothing":                 {`{}`, 200, "ett@example.com +46701740605 sv"},
		"null takes the phone":    {`{"phone_number":null}`, 200, "ett@example.com  sv"},
		"empty takes the email":   {`{"email":""}`, 200, " +46701740605 sv"},
		"never the last":          {`{"email":"","phone_number":""}`, 400, "ett@example.com +46701740605 sv"},
		"somebody else's email":   {`{"email":"tva@example.com"}`, 409, "ett@example.com +46701740605 sv"},
		"somebody else's phone":   {`{"email":"ny@example.com","phone_number":"0701740606"}`, 409, "ett@example.com +46701740605 sv"},
		"a bad phone":             {`{"email":"ny@example.com","phone_number":"1"}`, 400, "ett@example.com +46701740605 sv"},
		"a bad field":             {`{"email":"ny@example.com","fields":[{"key":"x","value":"y"}]}`, 400, "ett@example.com +46701740605 sv"},
		"an unknown tag id":       {`{"email":"ny@example.com","tags":["99"]}`, 404, "ett@example.com +46701740605 sv"},
		"a member of wrong type":  {`{"email":["x"]}`, 400, "ett@example.com +46701740605 sv"},
		"fields and tags at once": {`{"fields":[{"key":"A.b","value":"c"}],"tags":["T"]}`, 200, "ett@example.com +46701740605 sv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			id := r.upsert(`{"subscribers":{"email":"ett@example.com","phone_number":"+46701740605"}}`)
			r.upsert(`{"subscribers":{"email":"tva@example.com","phone_number":"+46701740606"}}`)
			got := r.do("PUT", fmt.Sprintf("/v2/subscribers/%d", id), tc.body)
			if got.status != tc.status {
				t.Errorf("status: got %d %s, want %d", got.status, got.body, tc.status)
			}
			s, _ := r.Subscriber(key, id)
			equal(t, "subscriber", s.Email+" "+s.Phone+" "+s.Language, tc.want)
			if tc.status == 200 && s.Email != "" {
				r.must("GET", "/v2/subscribers/"+url.PathEscape(s.Email), "")
			}
		})
	}
}

func TestDeleteSubscribers(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	for i := range 5 {
		r.upsert(fmt.Sprintf(`{"subscribers":{"email":"kund%d@example.com","phone_number":"+4670174060%d"}}`, i, i+5))
	}
	first := r.Subscribers(key)[0].ID
	sameJSON(t, r.must("DELETE", fmt.Sprintf("/v2/subscribers/%d?identified_by=id", first), "").body, `{"message":"Success"}`)
	equal(t, "again", r.do("DELETE", fmt.Sprintf("/v2/subscribers/%d?identified_by=id", first), "").status, 404)
	r.must("DELETE", "/v2/subscribers", fmt.Sprintf(`{"subscribers":[{"email":"kund1@example.com"},{"phone_number":"0701740607"},%d,{"email":"nobody@example.com"}]}`, first+3))
	left := r.Subscribers(key)
	if len(left) != 1 || left[0].Email != "kund4@example.com" {
		t.Errorf("left: got %+v", left)
	}
	equal(t, "two identifiers", r.do("DELETE", "/v2/subscribers", `{"subscribers":[{"id":1,"email":"a@example.com"}]}`).status, 400)
	r.upsert(`{"subscribers":{"email":"kund0@example.com","phone_number":"+46701740605"}}`) // the identifiers are free again
}

func people(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"email":"kund%d@example.com"}`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestLargeBatchesAreAppliedLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{AsyncDelay: time.Minute})
	sameJSON(t, r.must("POST", "/v2/subscribers", `{"subscribers":`+people(20)+`}`).body, `{"success":true,"message":"Success"}`)
	equal(t, "20 wait", len(r.Subscribers(key)), 0)
	equal(t, "up to 19 at once", r.must("POST", "/v2/subscribers", `{"subscribers":`+people(19)+`}`).status, 200)
	equal(t, "they are there", len(r.Subscribers(key)), 19)
	r.clock.advance(time.Minute)
	equal(t, "those that waited and were there by then", len(r.Subscribers(key)), 20)

	got := r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"tags":["Batch"],"subscribers":`+people(1000)+`}`)
	sameJSON(t, got.body, `{"success":true,"message":"Success"}`)
	r.clock.advance(time.Minute - time.Nanosecond)
	equal(t, "not yet", len(r.Subscribers(key)), 20)
	r.clock.advance(time.Nanosecond)
	equal(t, "when the delay is over", len(r.Subscribers(key)), 1000)
	equal(t, "all tagged", r.Subscribers(key)[999].Tags, []string{"Batch"})

	r.must("POST", "/v2/subscribers", `{"subscribers":`+strings.ReplaceAll(people(21), "kund", "ny")+`}`)
	equal(t, "waiting", len(r.Subscribers(key)), 1000)
	r.Settle()
	equal(t, "after Settle", len(r.Subscribers(key)), 1021)

	bad := `[{"email":"tva@example.com","phone_number":"x"},` + people(30)[1:]
	equal(t, "a bad phone fails the whole call", r.do("POST", "/v2/subscribers", `{"subscribers":`+bad+`}`).status, 400)
}

// What an import of bonus checks goes by: a batch is written or refused as a
// whole, and its answer may say more or less.
func TestBatchAnswers(t *testing.T) {
	t.Parallel()
	const batch = `{"update_on_duplicate":true,"sync_subscribers":false,"tags":["Sitoo"],"subscribers":[
		{"email":"ett@example.com","fields":[{"key":"Sitoo-Contact.bonuschecks","type":"json","value":"[{\"bonuscheckid\":\"bc-1001\",\"value\":\"100.00\"}]"}]},
		{"phone_number":"070-174 06 06"}]}`
	for name, tc := range map[string]struct {
		with fakerule.BatchAnswer
		want string // with the ids of the subscribers alone
	}{
		"in full":     {fakerule.BatchInFull, `{"success":true,"message":"Success","subscribers":[255934501,255934502],"subscribers_created":1,"subscribers_updated":1,"subscribers_suppressed":1,"suppressed":1}`},
		"counts":      {fakerule.BatchCounts, `{"success":true,"message":"Success","subscribers_created":1,"subscribers_updated":1,"subscribers_suppressed":1}`},
		"subscribers": {fakerule.BatchSubscribers, `{"success":true,"message":"Success","subscribers":[255934502,255934501]}`},
		"bare":        {fakerule.BatchBare, `{"success":true,"message":"Success"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{BatchAnswer: tc.with})
			id := r.upsert(`{"subscribers":{"email":"ett@example.com"}}`)
			if err := r.Suppress(key, id, "email", "user"); err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			decode(t, r.must("POST", "/v2/subscribers", batch).body, &got)
			if list, ok := got["subscribers"].([]any); ok {
				for i, s := range list {
					list[i] = s.(map[string]any)["id"]
				}
			}
			if list, ok := got["suppressed"].([]any); ok {
				got["suppressed"] = float64(len(list))
			}
			var want map[string]any
			decode(t, tc.want, &want)
			equal(t, "answer", got, want)
			ett, _ := r.Subscriber(key, id)
			checks, _ := ett.Field("Sitoo-Contact.bonuschecks")
			equal(t, "bonus checks", checks, fakerule.Field{Name: "bonuschecks", Type: "json", Value: `[{"bonuscheckid":"bc-1001","value":"100.00"}]`})
			equal(t, "a new one", r.Subscribers(key)[1].Phone, "+46701740606")
			equal(t, "automations", len(r.Automations(key)), 0)
		})
	}
}

// A refused batch names the entries that are wrong, by their places, and is
// not written at all.
func TestBatchNamesItsEntries(t *testing.T) {
	t.Parallel()
	const good = `{"email":"ett@example.com","fields":[{"key":"Sitoo-Contact.namefirst","value":"Kund"}]}`
	for name, tc := range map[string]struct {
		entries string // after a good one
		status  int
		fields  []string
	}{
		"a phone":            {`{"phone_number":"ring mig"}`, 400, []string{"subscribers.1.phone_number"}},
		"an email":           {`{"email":"kund.två"},` + good, 400, []string{"subscribers.1.email"}},
		"two entries":        {`{"email":"x"},{"email":"tre@example.com"},{"email":"fyra@example.com","phone_number":"1"}`, 400, []string{"subscribers.1.email", "subscribers.3.phone_number"}},
		"nobody":             {`{"fields":[]}`, 400, []string{"subscribers.1.email"}},
		"not an object":      {`7`, 400, []string{"subscribers.1"}},
		"broken json":        {`{"email":"tva@example.com","fields":[{"key":"Sitoo-Contact.bonuschecks","type":"json","value":"[{"}]}`, 400, []string{"subscribers.1.fields.0.value"}},
		"a field's type":     {`{"email":"tva@example.com","fields":[{"key":"Sitoo-Contact.namefirst","type":"json","value":"[]"}]}`, 400, []string{"subscribers.1.fields.0.type"}},
		"too long":           {`{"email":"tva@example.com","fields":[{"key":"Sitoo-Contact.bonuschecks","type":"json","value":"[\"` + strings.Repeat("x", 65_000) + `\"]"}]}`, 400, []string{"subscribers.1.fields"}},
		"email and phone of": {`{"email":"known@example.com","phone_number":"+46701740606"}`, 409, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			r.upsert(`{"subscribers":{"email":"known@example.com"}}`)
			r.upsert(`{"subscribers":{"phone_number":"+46701740606"}}`)
			got := r.do("POST", "/v2/subscribers", `{"update_on_duplicate":true,"sync_subscribers":false,"tags":["Sitoo"],"subscribers":[`+good+`,`+tc.entries+`]}`)
			var out struct {
				Error  string
				Fields map[string][]string
			}
			decode(t, got.body, &out)
			equal(t, "status", got.status, tc.status)
			equal(t, "error", out.Error, map[int]string{400: "BadRequest", 409: "DuplicateSubscriber"}[tc.status])
			equal(t, "members", slices.Sorted(maps.Keys(out.Fields)), tc.fields)
			equal(t, "nothing is written", len(r.Subscribers(key)), 2)
		})
	}
}

func TestLargeBatchLeavesOutWhatClashes(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.upsert(`{"subscribers":{"phone_number":"+46701740605"}}`)
	clash := `[{"email":"kund3@example.com"},{"email":"kund3@example.com","phone_number":"+46701740605"},` + people(30)[1:]
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"subscribers":`+clash+`}`)
	r.Settle()
	equal(t, "subscribers", len(r.Subscribers(key)), 31)
	at := fakerule.Options{AsyncDelay: -1}
	now := newRig(t, at)
	now.must("POST", "/v2/subscribers", `{"subscribers":`+people(25)+`}`)
	equal(t, "no delay", len(now.Subscribers(key)), 25)
}

func TestAutomations(t *testing.T) {
	t.Parallel()
	// The subscriber kund0@example.com exists and has the tag Old.
	for name, tc := range map[string]struct {
		method, target, body string
		want                 map[string]int // by tag
	}{
		"new tag":                       {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"tags":["New"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{"New": 1}},
		"new tag, automation false":     {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":false,"tags":["New"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{"New": 1}},
		"known tag":                     {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"tags":["Old"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{}},
		"known tag, reset":              {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["Old","New"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{"Old": 1, "New": 1}},
		"known tag, force":              {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"force","tags":["Old"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{"Old": 1}},
		"sync false fires nothing":      {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"force","sync_subscribers":false,"tags":["Old","New"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{}},
		"19 subscribers":                {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"tags":["New"],"subscribers":` + people(19) + `}`, map[string]int{"New": 19}},
		"20 subscribers":                {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"tags":["New"],"subscribers":` + people(20) + `}`, map[string]int{}},
		"20 subscribers, sync":          {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"sync_subscribers":true,"tags":["New"],"subscribers":` + people(20) + `}`, map[string]int{"New": 20}},
		"150 subscribers, sync":         {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"sync_subscribers":true,"tags":["New"],"subscribers":` + people(150) + `}`, map[string]int{"New": 100}},
		"v2 tags":                       {"POST", "/v2/subscribers/kund0@example.com/tags", `{"tags":["Old","New"]}`, map[string]int{"New": 1}},
		"v2 tags, reset":                {"POST", "/v2/subscribers/kund0@example.com/tags", `{"tags":["Old"],"automation":"reset"}`, map[string]int{"Old": 1}},
		"v3 tags, silent":               {"PUT", "/v3/subscribers/kund0@example.com/tags", `{"tags":["Old","New"]}`, map[string]int{}},
		"v3 tags, null":                 {"PUT", "/v3/subscribers/kund0@example.com/tags", `{"tags":["New"],"automation":null}`, map[string]int{}},
		"v3 tags, send":                 {"PUT", "/v3/subscribers/kund0@example.com/tags", `{"tags":["Old","New"],"automation":"send"}`, map[string]int{"New": 1}},
		"v3 tags, force":                {"PUT", "/v3/subscribers/kund0@example.com/tags", `{"tags":["Old"],"automation":"force"}`, map[string]int{"Old": 1}},
		"v3 tags, force, sync false":    {"PUT", "/v3/subscribers/kund0@example.com/tags", `{"tags":["Old"],"automation":"force","sync_subscriber":false}`, map[string]int{}},
		"v3 bulk tags":                  {"POST", "/v3/subscribers/tags", `{"tags":["New"],"subscribers":[{"email":"kund0@example.com"}]}`, map[string]int{}},
		"a batch that names a tag's id": {"POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["1"],"subscribers":{"email":"kund0@example.com"}}`, map[string]int{"Old": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			r.must("POST", "/v2/subscribers", `{"sync_subscribers":false,"tags":["Old"],"subscribers":{"email":"kund0@example.com"}}`)
			equal(t, "none before", len(r.Automations(key)), 0)
			r.must(tc.method, tc.target, tc.body)
			r.Settle()
			got := map[string]int{}
			for _, a := range r.Automations(key) {
				got[a.Tag]++
			}
			equal(t, "automations", got, tc.want)
		})
	}
}

func TestAutomationsSayHow(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"automation":"reset","tags":["OrderCompleted"],"subscribers":{"email":"a@example.com"}}`)
	r.clock.advance(time.Second)
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"automation":"reset","tags":["OrderCompleted"],"subscribers":{"email":"a@example.com"}}`)
	equal(t, "automations", r.Automations(key), []fakerule.Automation{
		{Subscriber: id, Tag: "OrderCompleted", Mode: "reset", Added: true, At: start},
		{Subscriber: id, Tag: "OrderCompleted", Mode: "reset", At: start.Add(time.Second)},
	})
}

func TestTagsOfASubscriber(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.upsert(`{"tags":["A","B","C"],"subscribers":{"phone_number":"+46701740605"}}`)
	const who = "/v2/subscribers/%2B46701740605/tags"
	const by = "?identified_by=phone_number"
	sameJSON(t, r.must("GET", who+by, "").body, `{"tags":[{"id":1,"name":"A"},{"id":2,"name":"B"},{"id":3,"name":"C"}]}`)
	sameJSON(t, r.must("DELETE", who+"/B"+by, "").body, `{"message":"Success"}`)
	r.must("DELETE", who+"/3"+by, "") // by id
	r.must("DELETE", who+"/3"+by, "") // it is not there any more, the tag is
	equal(t, "unknown tag", r.do("DELETE", who+"/X"+by, "").status, 404)
	equal(t, "left", r.Subscribers(key)[0].Tags, []string{"A"})
	r.must("DELETE", who+"/clear"+by, "")
	equal(t, "cleared", len(r.Subscribers(key)[0].Tags), 0)
	r.must("POST", who+by, `{"tags":["A/B"]}`)
	r.must("DELETE", who+"/A%2FB"+by, "")
	equal(t, "a slash in a name", len(r.Subscribers(key)[0].Tags), 0)
}

func TestTagsOfTheAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.upsert(`{"tags":["A","B"],"subscribers":{"email":"a@example.com"}}`)
	sameJSON(t, r.must("GET", "/v2/tags/A?with_count=true", "").body, `{"id":1,"name":"A","description":null,"recipient_count":1}`)
	equal(t, "name as an id", r.do("GET", "/v2/tags/A?identified_by=id", "").status, 404)
	got := r.do("PUT", "/v2/tags/1", `{"name":"B"}`)
	equal(t, "a name that is taken", got.status, 409)
	if !strings.Contains(got.body, "DuplicateTag") {
		t.Errorf("body: got %s", got.body)
	}
	r.must("PUT", "/v2/tags/1", `{"name":"Z","description":"x"}`)
	equal(t, "renamed", r.Subscribers(key)[0].Tags, []string{"Z", "B"})
	r.must("DELETE", "/v2/tags/B/clear", "")
	equal(t, "emptied", r.Subscribers(key)[0].Tags, []string{"Z"})
	r.must("DELETE", "/v2/tags/Z?identified_by=name", "")
	equal(t, "removed", len(r.Subscribers(key)[0].Tags), 0)
	var out struct{ Tags []struct{ Name string } }
	decode(t, r.must("GET", "/v2/tags", "").body, &out)
	if len(out.Tags) != 1 || out.Tags[0].Name != "B" {
		t.Errorf("tags: got %+v", out.Tags)
	}
}

func TestCustomizations(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	const body = `{"fields":[{"key":"Sitoo-Order.products","type":"json"},{"key":"Sitoo-Order.total"}]}`
	sameJSON(t, r.must("POST", "/v2/customizations", body).body, `{"message":"success"}`)
	r.must("POST", "/v2/customizations", body) // idempotent
	const group = `{"id":1,"name":"Sitoo-Order","created_at":"2026-05-14 14:12:16","updated_at":"2026-05-14 14:12:16",
		"fields":[{"id":1,"name":"products","type":"json"},{"id":2,"name":"total","type":"text"}]}`
	sameJSON(t, r.must("GET", "/v2/customizations", "").body, `{"groups":[`+group+`],"meta":{"next":null}}`)
	sameJSON(t, r.must("GET", "/v2/customizations/Sitoo-Order", "").body, group)
	sameJSON(t, r.must("GET", "/v2/customizations/1", "").body, group)
	// A group that was made here is not historical.
	r.must("POST", "/v2/subscribers", field("Sitoo-Order", "total", "text", `"1"`))
	r.must("POST", "/v2/subscribers", field("Sitoo-Order", "total", "text", `"2"`))
	equal(t, "entries", len(r.Entries(key, r.Subscribers(key)[0].ID, "Sitoo-Order")), 1)
}

func TestSuppressionsV2(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	sameJSON(t, r.must("POST", "/v2/suppressions", `{"subscribers":[{"email":"a@example.com"},{"email":"nobody@example.com"}]}`).body, `{"message":"Success"}`)
	both := []fakerule.Suppression{
		{Dispatcher: "campaign", MessageType: "email", Source: "api"},
		{Dispatcher: "campaign", MessageType: "text_message", Source: "api"},
	}
	equal(t, "suppressions", r.Subscribers(key)[0].Suppressions, both)
	var out struct{ Suppressions []json.RawMessage }
	decode(t, r.must("GET", "/v2/suppressions?limit=1", "").body, &out)
	sameJSON(t, string(out.Suppressions[0]), fmt.Sprintf(`{"id":1,"created_at":"2026-05-14 14:12:16","dispatcher_type":"campaign","message_type":"email",
		"suppressed_source_type":"api","subscriber":{"id":%d,"email":"a@example.com","phone_number":null}}`, id))
	r.must("DELETE", "/v2/suppressions/a@example.com?dispatcher_type=transaction", "")
	equal(t, "of another dispatcher", r.Subscribers(key)[0].Suppressions, both)
	r.must("DELETE", "/v2/suppressions/a@example.com?dispatcher_type=campaign&message_type=email", "")
	equal(t, "lifted", r.Subscribers(key)[0].Suppressions, both[1:])
	equal(t, "unknown message type", r.do("DELETE", "/v2/suppressions/a@example.com?message_type=fax", "").status, 400)
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	path := fmt.Sprintf("/v2/subscriber/%d/preference_group/7?identified_by=id", id)
	equal(t, "the feature is off", r.do("GET", path, "").status, 404)
	r.DefinePreferences(key, fakerule.PreferenceGroup{ID: 7, Name: "Klubb", Preferences: []fakerule.Preference{
		{ID: 71, Name: "Brev"}, {ID: 72, Name: "Sms", FallbackOptIn: true},
	}})
	sameJSON(t, r.must("GET", "/v2/preference-groups", "").body, `[{"id":7,"account_id":42,"name":"Klubb","preferences":[
		{"id":71,"name":"Brev","fallback_opt_in":false},{"id":72,"name":"Sms","fallback_opt_in":true}]}]`)
	sameJSON(t, r.must("GET", path, "").body, `{"id":7,"name":"Klubb","preferences":[
		{"preference_id":71,"name":"Brev","is_opted_in":false},{"preference_id":72,"name":"Sms","is_opted_in":true}]}`)
	sameJSON(t, r.must("PATCH", path, `{"preferences":[{"preference_id":71,"is_opted_in":true},{"preference_id":72,"is_opted_in":false}]}`).body,
		`{"id":7,"name":"Klubb","preferences":[
		{"preference_id":71,"name":"Brev","is_opted_in":true},{"preference_id":72,"name":"Sms","is_opted_in":false}]}`)
	equal(t, "unknown preference", r.do("PATCH", path, `{"preferences":[{"preference_id":9,"is_opted_in":true}]}`).status, 400)
	equal(t, "no choice", r.do("PATCH", path, `{"preferences":[{"preference_id":71}]}`).status, 400)

	pending := r.upsert(`{"require_opt_in":true,"subscribers":{"email":"b@example.com"}}`)
	sub, _ := r.Subscriber(key, pending)
	equal(t, "status", sub.Status, "PENDING")
	equal(t, "a pending subscriber", r.do("PATCH", "/v2/subscriber/b@example.com/preference_group/7", `{"preferences":[{"preference_id":71,"is_opted_in":true}]}`).status, 400)
}
