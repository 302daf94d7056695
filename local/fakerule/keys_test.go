package fakerule_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"sitoo-rule/local/fakerule"
)

// as sends one call with a key of its own.
func (r *rig) as(k, method, target, body string) answer {
	req := request(method, target, body)
	req.Header.Set("Authorization", "Bearer "+k)
	return r.send(req)
}

func TestEveryKeyOfAnAccountLeadsToItsSubscribersAndBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{Budget: 3})
	if err := r.AddKeyTo(42, "renewed-key"); err != nil {
		t.Fatal(err)
	}
	equal(t, "repeated", r.AddKeyTo(42, "renewed-key"), nil)
	r.upsert(`{"subscribers":{"email":"a@example.com"}}`)
	equal(t, "seen with the other key", r.as("renewed-key", "GET", "/v2/subscribers/a@example.com", "").status, 200)
	equal(t, "one account", len(r.Accounts()), 1)
	equal(t, "the same account id", r.AccountID("renewed-key"), "42")
	equal(t, "one budget", r.as("renewed-key", "GET", "/v2/tags", "").header.Get("RequestsCount-Current"), "3")
	equal(t, "used up with one key", r.do("GET", "/v2/tags", "").status, 429)
	r.AddKey("stranger-key")
	equal(t, "another account has its own", r.as("stranger-key", "GET", "/v2/tags", "").status, 200)
	equal(t, "and its own people", len(r.Subscribers("stranger-key")), 0)
	if r.AddKeyTo(42, "stranger-key") == nil || r.AddKeyTo(77, "x") == nil || r.AddKeyTo(42, "") == nil {
		t.Error("a key of another account, an unknown account or an empty key was accepted")
	}
}

func TestARevokedKeyEndsAloneAndComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	made, err := r.NewKey(42, "till")
	if err != nil {
		t.Fatal(err)
	}
	r.RevokeKey(key)
	equal(t, "revoked", r.do("GET", "/v2/sender/details", "").status, 401)
	equal(t, "the other", r.as(made, "GET", "/v2/sender/details", "").status, 200)
	equal(t, "masked", r.Keys(42)[0].Masked+" "+fmt.Sprint(r.Keys(42)[0].Revoked), "de…ey true")
	if err := r.AddKeyTo(42, key); err != nil {
		t.Fatal(err)
	}
	equal(t, "back", r.do("GET", "/v2/sender/details", "").status, 200)
}

func TestAnAccountIsMadeWithANumberOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	a, err := r.AddAccount(fakerule.Account{ID: 7001, Company: "Kedjan AB"}, "k-1", "k-2")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "id", []string{r.AccountID("k-1"), r.AccountID("k-2")}, []string{"7001", "7001"})
	equal(t, "company", a.Company, "Kedjan AB")
	for what, try := range map[string]func() (fakerule.Account, error){
		"id taken":  func() (fakerule.Account, error) { return r.AddAccount(fakerule.Account{ID: 42}) },
		"key taken": func() (fakerule.Account, error) { return r.AddAccount(fakerule.Account{}, "k-3", key) },
		"empty key": func() (fakerule.Account, error) { return r.AddAccount(fakerule.Account{}, "") },
		"negative":  func() (fakerule.Account, error) { return r.AddAccount(fakerule.Account{ID: -1}) },
	} {
		if _, err := try(); err == nil {
			t.Errorf("%s: it was made", what)
		}
	}
	equal(t, "nothing is left of a refused one", r.AccountID("k-3"), "")
}

func TestSenderDetailsSayWhichAccountAKeyBelongsTo(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	sameJSON(t, r.must("GET", "/v2/sender/details", "").body, `{"status":200,"account_id":42,"name":"Exempelbutiken 42",
		"email":"kundklubb42@example.com","company":"Exempelbutiken 42 AB","text_message_sender_name":"Exempel42","link_instead_of_stop_word":false}`)
	for name, tc := range map[string]struct {
		details fakerule.Details
		status  int
		want    string // account_id as JSON, "" for none
	}{
		"forbidden":  {fakerule.Details{Status: 403}, 403, ""},
		"missing":    {fakerule.Details{Status: 404}, 404, ""},
		"broken":     {fakerule.Details{Status: 500}, 500, ""},
		"without":    {fakerule.Details{NoAccountID: true}, 200, ""},
		"a text":     {fakerule.Details{AccountID: json.RawMessage(`"42"`)}, 200, `"42"`},
		"null":       {fakerule.Details{AccountID: json.RawMessage(`null`)}, 200, `null`},
		"a fraction": {fakerule.Details{AccountID: json.RawMessage(`42.5`)}, 200, `42.5`},
		"zero":       {fakerule.Details{AccountID: json.RawMessage(`0`)}, 200, `0`},
		"a body":     {fakerule.Details{Status: 201, Body: `{"account_id":{}}`}, 201, `{}`},
	} {
		if err := r.SetDetails(42, tc.details); err != nil {
			t.Fatal(name, err)
		}
		if err := r.Reset(); err != nil { // the switch stays
			t.Fatal(err)
		}
		got := r.do("GET", "/v2/sender/details", "")
		equal(t, name, got.status, tc.status)
		var out struct {
			ID json.RawMessage `json:"account_id"`
		}
		decode(t, got.body, &out)
		equal(t, name+": account_id", string(out.ID), tc.want)
	}
	equal(t, "a refused key goes first", r.as("no-key", "GET", "/v2/sender/details", "").status, 401)
	if r.SetDetails(7, fakerule.Details{}) == nil || r.SetDetails(0, fakerule.Details{Status: 42}) == nil ||
		r.SetDetails(0, fakerule.Details{AccountID: json.RawMessage(`{`)}) == nil {
		t.Error("an unknown account, a wrong status or broken JSON was accepted")
	}
	if err := r.SetDetails(0, fakerule.Details{}); err != nil {
		t.Fatal(err)
	}
	equal(t, "as before", r.do("GET", "/v2/sender/details", "").status, 200)
}

// A key is shown when it is made, and never again.
func TestKeysAreManagedOverTheAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	r.AddKey("stranger-key")
	var made struct {
		Data struct {
			ID   int
			Name string
			Key  string
		}
	}
	decode(t, r.must("POST", "/v3/api-keys", `{"name":"Till"}`).body, &made)
	at := fmt.Sprintf("/v3/api-keys/%d", made.Data.ID)
	equal(t, "it works", r.as(made.Data.Key, "GET", "/v2/tags", "").status, 200)
	sameJSON(t, r.must("PUT", at, `{"name":"Old till"}`).body, fmt.Sprintf(
		`{"data":{"id":%d,"name":"Old till","created_at":"2026-05-14T12:12:16Z","updated_at":"2026-05-14T12:12:16Z"}}`, made.Data.ID))
	list := r.must("GET", "/v3/api-keys", "").body
	if strings.Contains(list, made.Data.Key) || strings.Contains(list, "stranger") || strings.Count(list, `"id"`) != 2 {
		t.Errorf("the list shows a key, a stranger's, or not both: %s", list)
	}
	equal(t, "no name", r.do("POST", "/v3/api-keys", `{"name":" "}`).status, 422)
	for _, method := range []string{"PUT", "DELETE"} {
		equal(t, method+" of a stranger", r.as("stranger-key", method, at, `{"name":"x"}`).status, 404)
	}
	equal(t, "deleted", r.do("DELETE", at, "").status, 204)
	equal(t, "twice", r.do("DELETE", at, "").status, 404)
	equal(t, "refused", r.as(made.Data.Key, "GET", "/v2/tags", "").status, 401)
}

func TestSwitchesOverTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t, fakerule.Options{})
	say := func(target, body string) answer {
		return r.send(httptest.NewRequest("POST", target, strings.NewReader(body)))
	}
	var made struct {
		AccountID int `json:"account_id"`
		Key       string
	}
	decode(t, say("/_accounts", `{"company":"Kedjan AB"}`).body, &made)
	equal(t, "account", made.AccountID, 43)
	equal(t, "its key", r.as(made.Key, "GET", "/v2/tags", "").status, 200)
	decode(t, say("/_keys", `{"account_id":42,"name":"second"}`).body, &made)
	equal(t, "account of the second key", made.AccountID, 42)
	equal(t, "the second key", r.as(made.Key, "GET", "/v2/tags", "").status, 200)
	equal(t, "revoke", say("/_keys/revoke", `{"key":"demo-key"}`).status, 200)
	equal(t, "revoked", r.do("GET", "/v2/tags", "").status, 401)
	equal(t, "accepted again", say("/_keys", `{"key":"demo-key"}`).status, 200)
	equal(t, "details", say("/_details", `{"account_id":42,"details":{"account_id":"42"}}`).status, 200)
	if got := r.do("GET", "/v2/sender/details", "").body; !strings.Contains(got, `"account_id":"42"`) {
		t.Errorf("the switch did nothing: %s", got)
	}
	for target, body := range map[string]string{
		"/_accounts": `{"account_id":42}`, "/_keys": `{"account_id":9}`, "/_keys/revoke": `{"key":"x"}`, "/_details": `{"detail":{}}`,
	} {
		got := say(target, body)
		if got.status != 400 || !strings.Contains(got.body, "message") {
			t.Errorf("%s %s: got %d %s", target, body, got.status, got.body)
		}
	}
	list := r.send(httptest.NewRequest("GET", "/_accounts", nil)).body
	if !strings.Contains(list, "Kedjan AB") || !strings.Contains(list, `"key":"de…ey"`) || strings.Contains(list, "demo-key") {
		t.Errorf("accounts: %s", list)
	}
	foreign := httptest.NewRequest("POST", "/_keys", strings.NewReader(`{}`))
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	equal(t, "from a page of another host", r.send(foreign).status, 403)
}
