package fakerule_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"sitoo-rule/local/fakerule"
)

// What Rule's official clients showed; section 12 of the contract.

func TestFieldsMayBeAnObjectWithNumericKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	const fields = `{"3":{"key":"Order.Total","value":"646.00"},"0":{"key":"Order.Number","value":"5001"}}`
	id := r.upsert(`{"subscribers":{"email":"a@example.com","fields":` + fields + `}}`)
	equal(t, "in the order of the keys", names(r.Entries(key, id, "Order")[0]), "Number Total")
	r.must("PUT", fmt.Sprintf("/v2/subscribers/%d", id), `{"fields":{"0":{"key":"Order.Date","value":"x"}}}`)
	equal(t, "changed", names(r.Entries(key, id, "Order")[0]), "Number Total Date")
	r.must("POST", "/v2/subscribers", `{"update_on_duplicate":true,"subscribers":[{"email":"a@example.com","fields":{"1":{"key":"Order.Number","value":"5002"}}}]}`)
	equal(t, "in a batch", r.Entries(key, id, "Order")[0].Value("Number"), "5002")
	for _, bad := range []string{`{"key":"Order.Total","value":"1"}`, `{"0":"x"}`, `{"-1":{"key":"A.b","value":"1"}}`, `"x"`} {
		got := r.do("POST", "/v2/subscribers", `{"update_on_duplicate":true,"subscribers":{"email":"a@example.com","fields":`+bad+`}}`)
		equal(t, bad, got.status, 400)
	}
}

func names(e fakerule.Entry) string {
	var list []string
	for _, f := range e.Fields {
		list = append(list, f.Name)
	}
	return strings.Join(list, " ")
}

// Of two pages that are read with a subscriber removed between them, the second
// has one less than it would have had.
func TestARemovalWhileAListIsReadHidesOneOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	var ids []int64
	for i := range 4 {
		ids = append(ids, r.upsert(fmt.Sprintf(`{"subscribers":{"email":"kund%d@example.com"}}`, i)))
	}
	list := func(page int) string {
		var out struct {
			Subscribers []struct{ Email string }
		}
		decode(t, r.must("GET", fmt.Sprintf("/v2/subscribers?limit=2&page=%d", page), "").body, &out)
		var emails []string
		for _, s := range out.Subscribers {
			emails = append(emails, strings.TrimSuffix(s.Email, "@example.com"))
		}
		return strings.Join(emails, " ")
	}
	equal(t, "first page", list(1), "kund3 kund2")
	r.must("DELETE", fmt.Sprintf("/v2/subscribers/%d?identified_by=id", ids[3]), "")
	equal(t, "second page: kund1 is hidden", list(2), "kund0")
}

func TestAPlusInAPathIsASpace(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.upsert(`{"tags":["Två ord"],"subscribers":{"email":"a+b@example.com","phone_number":"+46701740605"}}`)
	equal(t, "a tag", r.do("GET", "/v2/tags/Tv%C3%A5+ord", "").status, 200)
	equal(t, "an address", r.do("GET", "/v2/subscribers/a+b@example.com", "").status, 404)
	equal(t, "escaped", r.do("GET", "/v2/subscribers/a%2Bb%40example.com", "").status, 200)
	equal(t, "a number", r.do("GET", "/v2/subscribers/%2B46701740605?identified_by=phone_number", "").status, 200)
}

func TestABounceIsASourceOfASuppression(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	if err := r.Suppress(key, id, "email", "bounce"); err != nil {
		t.Fatal(err)
	}
	if got := r.must("GET", "/v2/subscribers/a@example.com", "").body; !strings.Contains(got, `"suppressed_source_type":"bounce"`) {
		t.Errorf("got %s", got)
	}
	if got := r.must("GET", "/v2/subscribers", "").body; !strings.Contains(got, `"suppressed":true`) {
		t.Errorf("the list has no bool: %s", got)
	}
}

func TestTheLayoutOfHistoricalGroupsCanBeChosen(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.DefineHistorical(key, "H", true)
	for _, n := range []string{"1", "2"} {
		r.upsert(`{"update_on_duplicate":true,"subscribers":{"email":"a@example.com","fields":[{"key":"H.n","value":"` + n + `"},{"key":"Flat.n","value":"` + n + `"}]}}`)
	}
	field := func(id int, n string) string {
		return fmt.Sprintf(`[{"id":%d,"name":"n","type":"text","value":"%s"}]`, id, n)
	}
	group := func(fields string) string { return `{"id":1,"name":"H","historical":true,"fields":` + fields + `}` }
	flat := `{"id":2,"name":"Flat","historical":false,"fields":` + field(2, "2") + `}`
	for layout, want := range map[string]string{
		"newest": group(field(1, "2")),
		"groups": group(field(1, "2")) + "," + group(field(1, "1")),
		"lists":  group(`[` + field(1, "2") + `,` + field(1, "1") + `]`),
		"object": group(`{"1":` + field(1, "1") + `,"3":` + field(1, "2") + `}`),
	} {
		got := r.send(httptest.NewRequest("POST", "/_historical", strings.NewReader(`{"layout":"`+layout+`"}`)))
		equal(t, layout, got.status, 200)
		sameJSON(t, r.must("GET", "/v2/subscriber/a@example.com/fields", "").body, `{"groups":[`+want+`,`+flat+`]}`)
	}
	equal(t, "no such layout", r.send(httptest.NewRequest("POST", "/_historical", strings.NewReader(`{"layout":"tree"}`))).status, 400)
	first := newRig(t, fakerule.Options{Historical: fakerule.HistoricalObject})
	first.DefineHistorical(key, "H", true)
	first.upsert(`{"subscribers":{"email":"a@example.com","fields":[{"key":"H.n","value":"1"}]}}`)
	sameJSON(t, first.must("GET", "/v2/subscriber/a@example.com/fields", "").body, `{"groups":[`+group(`{"1":`+field(1, "1")+`}`)+`]}`)
}

// A date field has to be made before its first value: a v3 write would make it
// a text.
func TestADateFieldIsMadeBeforeItsFirstValue(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	r.must("POST", "/v2/customizations", `{"fields":[{"key":"Sitoo-Contact.lastorderdate","type":"date"}]}`)
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	write := func(value string) string {
		return `{"groups":[{"group":"Sitoo-Contact","values":[{"field":"lastorderdate","create_if_not_exists":true,"value":"` + value + `"}]}]}`
	}
	r.must("POST", path, write("2026-05-14"))
	equal(t, "no date", r.do("POST", path, write("soon")).status, 422)
	sub, _ := r.Subscriber(key, id)
	f, _ := sub.Field("Sitoo-Contact.lastorderdate")
	equal(t, "field", f, fakerule.Field{Name: "lastorderdate", Type: "date", Value: "2026-05-14"})
	equal(t, "another type", r.do("POST", "/v2/customizations", `{"fields":[{"key":"Sitoo-Contact.lastorderdate","type":"text"}]}`).status, 400)
}

func TestOneV3CallWritesSeveralGroups(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	id := r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	path := fmt.Sprintf("/v3/custom-field-data/%d", id)
	const body = `{"groups":[
		{"group":"Sitoo-Order","create_if_not_exists":true,"historical":true,"values":[{"field":"orderid","create_if_not_exists":true,"value":"1"}]},
		{"group":"Sitoo-Contact","create_if_not_exists":true,"values":[{"field":"lastorderdate","create_if_not_exists":true,"value":"2026-05-14"}]},
		{"group":"Unknown","values":[{"field":"a","value":"b"}]}]}`
	equal(t, "status", r.must("POST", path, body).status, 201)
	r.must("POST", path, body)
	equal(t, "historical", len(r.Entries(key, id, "Sitoo-Order")), 2)
	equal(t, "overwritten", len(r.Entries(key, id, "Sitoo-Contact")), 1)
	equal(t, "ignored", len(r.Entries(key, id, "Unknown")), 0)
	broken := strings.Replace(body, `"value":"2026-05-14"`, `"value":5`, 1)
	equal(t, "one is wrong", r.do("POST", path, broken).status, 422)
	equal(t, "nothing is written", len(r.Entries(key, id, "Sitoo-Order")), 2)
	var out struct {
		Data []struct {
			Group string `json:"group_name"`
		}
		Meta json.RawMessage
	}
	decode(t, r.must("GET", path+"?groups_name[]=Sitoo-Contact&groups_name[]=Sitoo-Address&per_page=100", "").body, &out)
	equal(t, "named groups", fmt.Sprint(out.Data), "[{Sitoo-Contact}]")
	decode(t, r.must("GET", path+"?groups_name%5B%5D=Sitoo-Contact&groups_name%5B%5D=Sitoo-Order", "").body, &out)
	equal(t, "both, escaped", len(out.Data), 3)
	sameJSON(t, string(out.Meta), `{"page":1,"per_page":15}`)
}

func TestWithoutUpdateOnDuplicateAKnownPersonIsAConflict(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.upsert(`{"subscribers":{"email":"a@example.com","phone_number":"0701740605"}}`)
	for _, who := range []string{`"email":"A@example.com"`, `"phone_number":"+46701740605"`, `"email":"b@example.com","phone_number":"070-174 06 05"`} {
		for _, update := range []string{``, `"update_on_duplicate":false,`} {
			for _, list := range []string{`{` + who + `}`, `[{` + who + `}]`, `[{"email":"c@example.com"},{` + who + `}]`} {
				got := r.do("POST", "/v2/subscribers", `{`+update+`"tags":["Sitoo"],"subscribers":`+list+`}`)
				equal(t, who+update+list, got.status, 409)
			}
		}
	}
	equal(t, "nothing is written", len(r.Subscribers(key)), 1)
	equal(t, "nor tagged", len(r.Subscribers(key)[0].Tags), 0)
}

func TestThereAreNoSegments(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	sameJSON(t, r.must("GET", "/v2/segments", "").body, `{"segments":[],"meta":{"next":null}}`)
	equal(t, "limit", r.do("GET", "/v2/segments?limit=101", "").status, 400)
}

// Each of the eleven is an account with a key of its own, so that one's types do
// not decide another's.
func TestWebShopsLeaveWhatTheirIntegrationsWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	for _, load := range []func() error{func() error { return r.Load(fakerule.WebShops()) }, r.Reset} {
		if err := load(); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]string{ // the number, or none, of each entry in order
			"woocommerce": "5001 5001 5001", "woocommerce-next": "- 5002", "magento-2": "000000123 000000123", "magento-1": "100000007 100000123",
			"shopify": "- #1042 #1042", "centra": "20177 20177 20177", "norce": "80042", "kodmyran": "3007", "geins": "9001", "prestashop": "XKBKNABJK", "bookzen": "",
		} {
			people := r.Subscribers("webshop-" + k)
			if len(people) != 1 || people[0].Email != "kund.webb@example.com" {
				t.Fatalf("%s: %+v", k, people)
			}
			var numbers []string
			for _, e := range r.Entries("webshop-"+k, people[0].ID, "Order") {
				number := "-"
				for _, name := range []string{"Number", "IncrementId", "Id"} {
					if v := e.Value(name); v != "" {
						number = v
					}
				}
				numbers = append(numbers, number)
			}
			equal(t, k, strings.Join(numbers, " "), want)
		}
	}
	equal(t, "accounts", len(r.Accounts()), 12)
	equal(t, "the company", r.Accounts()[5].Company, "Shopify-butiken AB")
	equal(t, "the demo shop has none of it", len(r.Subscribers(key)), 0)
	equal(t, "a booking", r.Entries("webshop-bookzen", 255940011, "Booking")[0].Value("BookingRef"), "BZ-77")
	if r.Load(strings.NewReader(`{"accounts":[{"key":"a","account":{"account_id":77}},{"key":"b","account":{"account_id":42}}]}`)) == nil || r.AccountID("a") != "" {
		t.Error("an account id that is taken was accepted, or half of the file")
	}
	r.RevokeKey("webshop-norce")
	if err := r.Reset(); err != nil {
		t.Fatal(err)
	}
	equal(t, "a revoked key stays revoked", r.as("webshop-norce", "GET", "/v2/tags", "").status, 401)
}
