package fakerule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/fakerule"
)

func TestV3Refusals(t *testing.T) {
	t.Parallel()
	many := strings.TrimSuffix(strings.Repeat(`{"id":1},`, 1001), ",")
	data := func(values string) string {
		return `{"groups":[{"group":"G","create_if_not_exists":true,"values":[` + values + `]}]}`
	}
	// The subscriber 255934501 exists, with the fields T.text and T.date.
	for name, tc := range map[string]struct {
		method, target, body string
		status               int
		want                 string
	}{
		"not JSON":             {"POST", "/v3/subscribers", `{`, 400, `"error":"BadRequest"`},
		"no identifier":        {"POST", "/v3/subscribers", `{}`, 422, `"errors":{"email":[`},
		"bad phone":            {"POST", "/v3/subscribers", `{"phone_number":"1"}`, 422, `"errors":{"phone_number":[`},
		"bad status":           {"POST", "/v3/subscribers", `{"email":"b@example.com","status":"active"}`, 422, `"errors":{"status":[`},
		"known subscriber":     {"POST", "/v3/subscribers", `{"email":"A@example.com"}`, 409, `"error":"Conflict"`},
		"nobody to delete":     {"DELETE", "/v3/subscribers/x@example.com", "", 404, `SubscriberNotFound`},
		"tags empty":           {"PUT", "/v3/subscribers/a@example.com/tags", `{"tags":[]}`, 422, `"errors":{"tags":[`},
		"tag id unknown":       {"PUT", "/v3/subscribers/a@example.com/tags", `{"tags":[5]}`, 404, `TagNotFound`},
		"automation":           {"PUT", "/v3/subscribers/a@example.com/tags", `{"tags":["A"],"automation":"always"}`, 422, `"errors":{"automation":[`},
		"automation false":     {"PUT", "/v3/subscribers/a@example.com/tags", `{"tags":["A"],"automation":false}`, 422, `"errors":{"automation":[`},
		"bulk, nobody":         {"POST", "/v3/suppressions/", `{"subscribers":[]}`, 422, `"errors":{"subscribers":[`},
		"bulk, 1001":           {"POST", "/v3/suppressions/", `{"subscribers":[` + many + `]}`, 422, `"errors":{"subscribers":[`},
		"bulk, two ids":        {"POST", "/v3/subscribers/block", `{"subscribers":[{"id":1,"email":"a@example.com"}]}`, 422, `"errors":{"subscribers.0":[`},
		"bulk, no object":      {"POST", "/v3/subscribers/block", `{"subscribers":["a@example.com"]}`, 422, `"errors":{"subscribers.0":[`},
		"bulk, not a list":     {"POST", "/v3/subscribers/block", `{"subscribers":5}`, 422, `"errors":{"subscribers":[`},
		"message type":         {"DELETE", "/v3/suppressions", `{"subscribers":[{"id":1}],"message_types":["sms"]}`, 422, `"errors":{"message_types":[`},
		"data by email":        {"POST", "/v3/custom-field-data/a@example.com", data(`{"field":"a","value":"b"}`), 404, `SubscriberNotFound`},
		"data, nobody":         {"GET", "/v3/custom-field-data/5", "", 404, `SubscriberNotFound`},
		"no groups":            {"POST", "/v3/custom-field-data/255934501", `{"groups":[]}`, 422, `"errors":{"groups":[`},
		"no values":            {"POST", "/v3/custom-field-data/255934501", data(""), 422, `"errors":{"groups.0.values":[`},
		"no group name":        {"POST", "/v3/custom-field-data/255934501", `{"groups":[{"values":[]}]}`, 422, `"errors":{"groups.0.group":[`},
		"value null":           {"POST", "/v3/custom-field-data/255934501", data(`{"field":"a","create_if_not_exists":true,"value":null}`), 422, `"errors":{"groups.0.values.0.value":[`},
		"value missing":        {"POST", "/v3/custom-field-data/255934501", data(`{"field":"a","create_if_not_exists":true}`), 422, `"errors":{"groups.0.values.0.value":[`},
		"value number":         {"POST", "/v3/custom-field-data/255934501", data(`{"field":"a","create_if_not_exists":true,"value":7}`), 422, `"errors":{"groups.0.values.0.value":[`},
		"array for a text":     {"POST", "/v3/custom-field-data/255934501", `{"groups":[{"group":"T","values":[{"field":"text","value":["x"]}]}]}`, 422, `"errors":{"groups.0.values.0.value":[`},
		"text for a date":      {"POST", "/v3/custom-field-data/255934501", `{"groups":[{"group":"T","values":[{"field":"date","value":"soon"}]}]}`, 422, `"errors":{"groups.0.values.0.value":[`},
		"too long":             {"POST", "/v3/custom-field-data/255934501", data(`{"field":"a","create_if_not_exists":true,"value":["` + strings.Repeat("x", 64_997) + `"]}`), 422, `65000`},
		"new group by id":      {"POST", "/v3/custom-field-data/255934501", `{"groups":[{"group":99,"create_if_not_exists":true,"values":[{"field":"a","value":"b"}]}]}`, 422, `"errors":{"groups.0.group":[`},
		"new field with a dot": {"POST", "/v3/custom-field-data/255934501", data(`{"field":"a.b","create_if_not_exists":true,"value":"x"}`), 422, `"errors":{"groups.0.values.0.field":[`},
		"unknown group":        {"GET", "/v3/custom-field-data/255934501/group/Nothing", "", 404, `GroupNotFound`},
		"unknown group delete": {"DELETE", "/v3/custom-field-data/255934501/group/Nothing", "", 404, `GroupNotFound`},
		"search for nothing":   {"GET", "/v3/custom-field-data/255934501/search?group=T", "", 422, `"errors":{"data_id":[`},
		"search in vain":       {"GET", "/v3/custom-field-data/255934501/search?group=T&field=text&value=no", "", 404, `NotFound`},
		"put, no identifier":   {"PUT", "/v3/custom-field-data/255934501", `{"values":[{"field":"text","value":"x"}]}`, 422, `identifier.group`},
		"put, no entry":        {"PUT", "/v3/custom-field-data/255934501", `{"identifier":{"data_id":99},"values":[{"field":"text","value":"x"}]}`, 404, `NotFound`},
		"put, bad value":       {"PUT", "/v3/custom-field-data/255934501", `{"identifier":{"data_id":1},"values":[{"field":"date","value":"x"}]}`, 422, `"errors":{"values.0.value":[`},
		"per_page":             {"GET", "/v3/custom-field-data/255934501?per_page=0", "", 422, `"errors":{"per_page":[`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fakerule.Options{})
			r.upsert(`{"subscribers":{"email":"a@example.com","fields":[{"key":"T.text","value":"x"},{"key":"T.date","type":"date","value":"2026-01-01"}]}}`)
			before, _ := r.Subscriber(key, 255934501)
			got := r.do(tc.method, tc.target, tc.body)
			if got.status != tc.status || !strings.Contains(got.body, tc.want) {
				t.Errorf("got %d %s\nwant %d with %s", got.status, got.body, tc.status, tc.want)
			}
			r.Settle()
			after, _ := r.Subscriber(key, 255934501)
			equal(t, "nothing is written", after, before)
		})
	}
}

func TestV3WantsTheCharset(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]int{
		"application/json;charset=utf-8": 201, "application/json; charset=UTF-8": 201,
		"application/json": 415, "text/plain": 400, "": 400,
	} {
		r := newRig(t, fakerule.Options{})
		req := request("POST", "/v3/subscribers", `{"email":"a@example.com"}`)
		req.Header.Set("Content-Type", contentType)
		if got := r.send(req); got.status != want {
			t.Errorf("%q: got %d %s, want %d", contentType, got.status, got.body, want)
		}
	}
}

func TestSubscribersV3(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	got := r.must("POST", "/v3/subscribers", `{"phone_number":"0701740605","custom_identifier":"c-1","status":"BLOCKED","language":"EN"}`)
	sameJSON(t, got.body, `{"data":{"id":255934501,"email":null,"phone":"+46701740605","custom_identifier":"c-1","account_id":42,"status":"BLOCKED",
		"language":"en","has_next_item":false,"created_at":"2026-05-14T12:12:16Z","updated_at":"2026-05-14T12:12:16Z"}}`)
	r.must("PUT", "/v3/subscribers/c-1/tags?identified_by=custom_identifier", `{"tags":["A"]}`)
	equal(t, "a silent tag leaves the block", r.Subscribers(key)[0].Status, "BLOCKED")
	equal(t, "send unblocks", r.must("PUT", "/v3/subscribers/255934501/tags?identified_by=id", `{"tags":["A"],"automation":"send"}`).status, 204)
	equal(t, "status", r.Subscribers(key)[0].Status, "ACTIVE")
	r.must("DELETE", "/v3/subscribers/255934501/tags/A?identified_by=id", "")
	equal(t, "untagged", len(r.Subscribers(key)[0].Tags), 0)
	equal(t, "deleted", r.must("DELETE", "/v3/subscribers/%2B46701740605?identified_by=phone_number", "").status, 204)
	equal(t, "nobody left", len(r.Subscribers(key)), 0)
}

func TestV3BulkCallsAreAppliedLater(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com","phone_number":"0701740605"}}`)
	now := func() fakerule.Subscriber { s, _ := r.Subscriber(key, id); return s }

	r.must("POST", "/v3/subscribers/tags", `{"subscribers":[{"email":"a@example.com"},{"id":5}],"tags":["A","B"],"callback_url":"https://example.com/done"}`)
	equal(t, "not yet", len(now().Tags), 0)
	r.clock.advance(fakerule.DefaultAsyncDelay)
	equal(t, "tagged", now().Tags, []string{"A", "B"})
	r.must("DELETE", "/v3/subscribers/tags", `{"subscribers":[{"phone_number":"+46701740605"}],"tags":["B","C"]}`)
	r.must("POST", "/v3/subscribers/block", fmt.Sprintf(`{"subscribers":[{"id":%d}]}`, id))
	r.Settle()
	equal(t, "untagged", now().Tags, []string{"A"})
	equal(t, "blocked", now().Status, "BLOCKED")
	r.must("POST", "/v3/subscribers/unblock", fmt.Sprintf(`{"subscribers":[{"id":"%d"}]}`, id))
	r.Settle()
	equal(t, "unblocked", now().Status, "ACTIVE")
}

func TestSuppressionsV3(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	body := fmt.Sprintf(`{"subscribers":[{"id":%d}]`, id)
	sources := func() map[string]string {
		s, _ := r.Subscriber(key, id)
		got := map[string]string{}
		for _, x := range s.Suppressions {
			got[x.Dispatcher+" "+x.MessageType] = x.Source
		}
		return got
	}
	for _, source := range []string{"user", "spam"} {
		if err := r.Suppress(key, id, "email", source); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "seeded", sources(), map[string]string{"campaign email": "spam"})
	equal(t, "status", r.must("POST", "/v3/suppressions/", body+`}`).status, 204)
	equal(t, "not yet", sources(), map[string]string{"campaign email": "spam"})
	r.Settle()
	equal(t, "idempotent, the first source stays", sources(), map[string]string{"campaign email": "spam", "campaign text_message": "api"})
	r.must("POST", "/v2/suppressions", body+`,"suppress_on":{"transaction":["email"]}}`)
	r.must("DELETE", "/v3/suppressions/", body+`,"message_types":["email"]}`)
	r.Settle()
	equal(t, "lifted whoever made it, marketing only", sources(), map[string]string{"campaign text_message": "api", "transactional email": "api"})

	for name, err := range map[string]error{
		"source":     r.Suppress(key, id, "email", "weather"),
		"message":    r.Suppress(key, id, "sms", "user"),
		"subscriber": r.Suppress(key, 5, "email", "user"),
		"key":        r.Suppress("other-key", id, "email", "user"),
	} {
		if err == nil {
			t.Errorf("Suppress with a wrong %s: got no error", name)
		}
	}
}

// order is a v3 write of one Sitoo-Order entry.
func order(id string, historical bool, extra string) string {
	return fmt.Sprintf(`{"groups":[{"group":"Sitoo-Order","create_if_not_exists":true,"historical":%t,"values":[
		{"field":"orderid","create_if_not_exists":true,"value":%q}%s]}]}`, historical, id, extra)
}

func orders(r *rig, id int64) []string {
	var got []string
	for _, e := range r.Entries(key, id, "Sitoo-Order") {
		got = append(got, e.Value("orderid"))
	}
	return got
}

func TestHistoricalGroupsOfV3(t *testing.T) {
	t.Parallel()
	t.Run("new group", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, fakerule.Options{})
		id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
		path := fmt.Sprintf("/v3/custom-field-data/%d", id)
		got := r.must("POST", path, order("1", true, ""))
		equal(t, "status", got.status, 201)
		r.must("POST", path, order("2", true, ""))
		r.must("POST", path, order("3", false, "")) // the group is what counts
		r.must("POST", "/v2/subscribers", field("Sitoo-Order", "orderid", "text", `"4"`))
		equal(t, "orders", orders(r, id), []string{"1", "2", "3", "4"})
	})
	t.Run("existing ordinary group", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, fakerule.Options{})
		id := r.upsert(field("Sitoo-Order", "orderid", "text", `"0"`))
		path := fmt.Sprintf("/v3/custom-field-data/%d", id)
		r.must("POST", path, order("1", true, ""))
		r.must("POST", path, order("2", true, ""))
		equal(t, "overwritten", orders(r, id), []string{"2"})
	})
}

func TestUnknownGroupsAndFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(field("G", "known", "text", `"0"`))
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	r.must("POST", path, `{"groups":[
		{"group":"New","values":[{"field":"a","create_if_not_exists":true,"value":"1"}]},
		{"group":99,"values":[{"field":"a","value":"1"}]},
		{"group":"G","values":[{"field":"known","value":"1"},{"field":"new","value":"2"},{"field":77,"value":"3"}]}]}`)
	sub, _ := r.Subscriber(key, id)
	equal(t, "groups", sub.Groups, []fakerule.Group{{Name: "G", Entries: []fakerule.Entry{
		{ID: 1, CreatedAt: start, Fields: []fakerule.Field{{Name: "known", Type: "text", Value: "1"}}},
	}}})
	// Nothing known among the values: not even an empty entry.
	r.DefineHistorical(key, "Sitoo-Order", true)
	r.must("POST", path, `{"groups":[{"group":"Sitoo-Order","values":[{"field":"orderid","value":"1"}]}]}`)
	equal(t, "entries", len(r.Entries(key, id, "Sitoo-Order")), 0)
}

func TestTypesOfV3(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.must("POST", "/v2/customizations", `{"fields":[{"key":"Sitoo-Order.orderdate","type":"datetime"}]}`)
	r.DefineHistorical(key, "Sitoo-Order", true)
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	const create = `"create_if_not_exists":true`
	r.must("POST", path, order("1", true, `,
		{"field":"orderdate","value":"2026-05-14 14:00:00"},{"field":"paid","value":"2026-05-14",`+create+`},
		{"field":"names","value":["A","B"],`+create+`},{"field":"products","value":[{"name":"A"}],`+create+`},
		{"field":"extra","value":{"a":[1]},`+create+`},{"field":"empty","value":"",`+create+`}`))
	r.must("POST", path, order("2", true, `,{"field":"products","value":"[{\"name\":\"B\"}]"},{"field":"names","value":[]}`))
	var out struct {
		Data []struct {
			ID         int64
			GroupName  string `json:"group_name"`
			Historical bool
			Values     []struct {
				Name  string          `json:"field_name"`
				Type  string          `json:"field_type"`
				Value json.RawMessage `json:"field_value"`
			}
		}
		Meta struct {
			Page    int
			PerPage int `json:"per_page"`
		}
	}
	decode(t, r.must("GET", path+"/group/Sitoo-Order", "").body, &out)
	got := []string{}
	for _, rec := range out.Data {
		for _, v := range rec.Values {
			got = append(got, fmt.Sprintf("%d %s %s %s", rec.ID, v.Name, v.Type, v.Value))
		}
	}
	equal(t, "values", got, []string{
		`1 orderid text "1"`, `1 orderdate datetime "2026-05-14 14:00:00"`, `1 paid text "2026-05-14"`,
		`1 names multiple ["A","B"]`, `1 products json [{"name":"A"}]`, `1 extra json {"a":[1]}`, `1 empty text null`,
		`2 orderid text "2"`, `2 products json [{"name":"B"}]`, `2 names multiple []`,
	})
	if !out.Data[0].Historical || out.Data[0].GroupName != "Sitoo-Order" || out.Meta.Page != 1 {
		t.Errorf("record: got %+v", out)
	}
	// v2 shows the same as strings.
	sub, _ := r.Subscriber(key, id)
	f, _ := sub.Field("Sitoo-Order.products")
	equal(t, "v2", f, fakerule.Field{Name: "products", Type: "json", Value: `[{"name":"B"}]`})
	equal(t, "text for a json field", r.do("POST", path, order("3", true, `,{"field":"products","value":"x"}`)).status, 422)
	equal(t, "objects for a multiple field", r.do("POST", path, order("3", true, `,{"field":"names","value":[{}]}`)).status, 422)
}

func TestListsOfCustomFieldData(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(field("Flat", "a", "text", `"x"`))
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	for i := range 120 {
		r.must("POST", path, order(fmt.Sprint(i), true, ""))
		r.clock.advance(time.Second)
	}
	for query, want := range map[string]string{
		"":                              "1 15 15 first 1",
		"?per_page=1000":                "1 100 100 first 1",
		"?per_page=100&page=2":          "2 100 21 first 101",
		"?per_page=50&page=3":           "3 50 21 first 101",
		"?page=99":                      "99 15 0 first 0",
		"/group/Sitoo-Order":            "1 15 15 first 2",
		"/group/2?per_page=100&page=2":  "2 100 20 first 102",
		"?groups_name[]=Flat":           "1 15 1 first 1",
		"?groups_id[]=2&per_page=3":     "1 3 3 first 2",
		"?groups_name[]=Nothing":        "1 15 0 first 0",
		"/group/Sitoo-Order?fields[]=x": "1 15 15 first 2",
	} {
		var out struct {
			Data []struct{ ID int64 }
			Meta struct {
				Page    int
				PerPage int `json:"per_page"`
			}
		}
		decode(t, r.must("GET", path+query, "").body, &out)
		first := int64(0)
		if len(out.Data) > 0 {
			first = out.Data[0].ID
		}
		got := fmt.Sprintf("%d %d %d first %d", out.Meta.Page, out.Meta.PerPage, len(out.Data), first)
		equal(t, "GET "+query, got, want)
	}
	sameJSON(t, r.must("GET", path+"/group/Sitoo-Order?per_page=1&fields[]=orderid", "").body,
		`{"data":[{"id":2,"group_id":2,"group_name":"Sitoo-Order","historical":true,"created_at":"2026-05-14T12:12:16Z",
		"values":[{"field_id":2,"field_name":"orderid","field_type":"text","field_value":"0"}]}],"meta":{"page":1,"per_page":1}}`)
}

func TestSearchPutAndDelete(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	for _, o := range []string{"10", "11", "11"} {
		r.must("POST", path, order(o, true, `,{"field":"total","create_if_not_exists":true,"value":"1.00"}`))
	}
	for query, want := range map[string]int64{
		"group=Sitoo-Order&field=orderid&value=11": 2, "group=1&field=1&value=10": 1, "data_id=3": 3,
	} {
		var out struct{ Data struct{ ID int64 } }
		decode(t, r.must("GET", path+"/search?"+query, "").body, &out)
		equal(t, query, out.Data.ID, want)
	}
	equal(t, "status", r.must("PUT", path, `{"identifier":{"group":"Sitoo-Order","field":"orderid","value":"11"},"values":[
		{"field":"total","value":""},{"field":"note","value":"n","create_if_not_exists":true},{"field":"ignored","value":"x"}]}`).status, 204)
	r.must("PUT", path, `{"identifier":{"data_id":"3"},"values":[{"field":"orderid","value":"12"}]}`)
	equal(t, "orders", orders(r, id), []string{"10", "11", "12"})
	equal(t, "patched", r.Entries(key, id, "Sitoo-Order")[1].Fields, []fakerule.Field{
		{Name: "orderid", Type: "text", Value: "11"}, {Name: "total", Type: "text"}, {Name: "note", Type: "text", Value: "n"},
	})
	equal(t, "status", r.must("DELETE", path+"/group/Sitoo-Order", "").status, 204)
	equal(t, "all gone", len(r.Entries(key, id, "Sitoo-Order")), 0)
	r.must("POST", path, order("13", false, ""))
	r.must("POST", path, order("14", false, ""))
	equal(t, "the group is still historical", orders(r, id), []string{"13", "14"})
}

func TestSetFieldDamages(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	if err := r.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	const id = 255934461
	path := fmt.Sprintf("/v3/custom-field-data/%d/group/Sitoo-Order", id)
	first := r.Entries(key, id, "Sitoo-Order")[0].ID
	for _, err := range []error{
		r.SetField(key, id, first, "Sitoo-Order.products", "[{broken"),
		r.SetField(key, id, 0, "Sitoo-Order.total", []any{1, nil}),
		r.SetField(key, id, 0, "Sitoo-Contact.birthday", "i maj"),
		r.SetField(key, id, 0, "Staff-Notes.note", "hello"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	body := r.must("GET", path, "").body
	for _, want := range []string{`"field_type":"json","field_value":"[{broken"`, `"field_value":[1,null]`} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s in %s", want, body)
		}
	}
	body = r.must("GET", "/v2/subscriber/kund.ett@example.com/fields", "").body
	for _, want := range []string{`"type":"date","value":"i maj"`, `"value":[1,null]`, `"name":"Staff-Notes"`} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %s in %s", want, body)
		}
	}
	for name, err := range map[string]error{
		"entry": r.SetField(key, id, 9999, "Sitoo-Order.total", "x"),
		"key":   r.SetField(key, id, 0, "total", "x"),
		"value": r.SetField(key, id, 0, "A.b", func() {}),
		"id":    r.SetField(key, 1, 0, "A.b", "x"),
	} {
		if err == nil {
			t.Errorf("SetField with a wrong %s: got no error", name)
		}
	}
}
