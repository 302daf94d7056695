package spi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/spi"
)

const (
	apiID   = "90001-42"
	baseURL = "https://api.mysitoo.com/v2/accounts/90001"
)

// secrets are what no answer and no log line may hold.
var secrets = []string{
	fakesitoo.DefaultPassword, apiID, key, "wrong-password", "90001-7", "another-password",
	base64.StdEncoding.EncodeToString([]byte(apiID + ":" + fakesitoo.DefaultPassword)),
}

// shopRig is a rig with a shop in Sitoo's stand-in.
type shopRig struct {
	*rig
	t     *testing.T
	shop  *fakesitoo.Server
	rest  *sitoo.REST
	asked atomic.Int32 // requests that Sitoo got
}

func newShopRig(t *testing.T) *shopRig {
	t.Helper()
	r := &shopRig{rig: newRig(t), t: t}
	r.shop = fakesitoo.New(fakesitoo.Options{APIID: apiID, Orders: 40, RetryAfter: "17", Observe: func(fakesitoo.Request) { r.asked.Add(1) }})
	r.rest = sitoo.NewREST(sitoo.RESTConfig{HTTP: r.shop.Client(), Now: func() time.Time { return now }, Pause: -1})
	return r
}

// call calls a function with a key and a body, and checks that no secret comes
// out of it.
func (r *shopRig) call(method, key, body string) response {
	r.t.Helper()
	in := post(body)
	in.HTTPMethod, in.Path = method, "/sitoo/credentials"
	in.Headers["Authorization"] = "Bearer " + key
	h := r.CredentialsPut(r.rest)
	switch method {
	case "GET":
		h = r.CredentialsGet()
	case "DELETE":
		h = r.CredentialsDelete()
	}
	out := invoke(r.t, h, in)
	for _, secret := range secrets {
		if strings.Contains(out.Body, secret) || strings.Contains(r.logs.String(), secret) {
			r.t.Errorf("%s shows %q: %s\n%s", method, secret, out.Body, r.logs)
		}
	}
	return out
}

// entered is what GET says with a key.
func (r *shopRig) entered(key string) string {
	r.t.Helper()
	out := r.call("GET", key, "")
	if out.StatusCode != 200 {
		r.t.Errorf("GET: %d %s", out.StatusCode, out.Body)
	}
	return out.Body
}

// members are the credentials that Sitoo accepts, with changes.
func members(changes map[string]any) string {
	m := map[string]any{
		"baseurl": baseURL, "accountid": "90001", "site": 1, "apiid": apiID, "password": fakesitoo.DefaultPassword,
	}
	for k, v := range changes {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

const (
	none = `{"account":"42","entered":false}`
	kept = `{"account":"42","entered":true,"baseurl":"` + baseURL + `","accountid":"90001","site":1,"since":"2026-03-02T09:00:00Z"}`
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	if got := r.entered(key); got != none {
		t.Errorf("before: %s, want %s", got, none)
	}
	shop := r.rest.Shop(sitoo.Credentials{BaseURL: baseURL, Site: 1, APIID: apiID, Password: fakesitoo.DefaultPassword})
	info, err := shop.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"status":"kept","account":"42","entered":true,"baseurl":"%s","accountid":"90001","site":1,"siteurl":"https://shop.example.com/","orders":%d,"lastorder":%d,`+
		`"since":"2026-03-02T09:00:00Z","message":"Sitoo accepts the credentials, and they are kept."}`, baseURL, info.Orders, info.LastOrder)
	for range 2 { // it may be repeated
		if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 || out.Body != want {
			t.Errorf("PUT: %d %s, want %s", out.StatusCode, out.Body, want)
		}
		if got := r.entered(key); got != kept {
			t.Errorf("after: %s, want %s", got, kept)
		}
	}
	line := r.logs.line(t, "done")
	if line["operation"] != "credentials-get" || line["account"] != "42" {
		t.Errorf("log %v", line)
	}

	// The connector reads the shop with them, and GET says when it last did.
	a, err := r.Accounts.Get(t.Context(), "42")
	if err != nil {
		t.Fatal(err)
	}
	id, password, err := r.Accounts.Access(t.Context(), a)
	if err != nil || id != apiID || password != fakesitoo.DefaultPassword {
		t.Errorf("Access = %q, %v; want what was entered", id, err)
	}
	if got, want := r.entered(key), strings.TrimSuffix(kept, "}")+`,"lastused":"2026-03-02T09:00:00Z"}`; got != want {
		t.Errorf("used: %s, want %s", got, want)
	}
	for range 2 {
		if out := r.call("DELETE", key, ""); out.StatusCode != 200 || out.Body != none {
			t.Errorf("DELETE: %d %s", out.StatusCode, out.Body)
		}
		if got := r.entered(key); got != none {
			t.Errorf("after DELETE: %s", got)
		}
	}
}

// Bodies that mean the same.
func TestCredentialsLiberal(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"as documented":           members(nil),
		"site as text":            members(map[string]any{"site": " 1 "}),
		"account id as a number":  members(map[string]any{"accountid": 90001}),
		"no account id":           members(map[string]any{"accountid": nil}),
		"null account id":         `{"accountid":null,` + members(map[string]any{"accountid": nil})[1:],
		"base URL without it":     members(map[string]any{"baseurl": "https://api.mysitoo.com"}),
		"base URL up to accounts": members(map[string]any{"baseurl": "https://api.mysitoo.com/v2/accounts/"}),
		"a slash at its end":      members(map[string]any{"baseurl": " " + baseURL + "/ "}),
		"capitals in the host":    members(map[string]any{"baseurl": "https://API.mysitoo.com/v2/accounts/90001"}),
		"blanks from copying":     members(map[string]any{"apiid": " " + apiID + "\n", "password": fakesitoo.DefaultPassword + " "}),
		"members of its own":      members(map[string]any{"name": "butiken", "more": []int{1}}),
		"a byte order mark":       "\uFEFF" + members(nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newShopRig(t)
			if out := r.call("PUT", key, body); out.StatusCode != 200 {
				t.Errorf("PUT: %d %s", out.StatusCode, out.Body)
			}
			if got := r.entered(key); got != kept {
				t.Errorf("after: %s, want %s", got, kept)
			}
		})
	}
}

// What is refused is not kept, and what was there before stays.
func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	sitooSays := func(f fakesitoo.Fault) func(*shopRig) {
		f.Times = -1
		return func(r *shopRig) { r.shop.Inject(f) }
	}
	const pieceOf503 = "Nothing was kept; try again in a moment."
	for name, tt := range map[string]struct {
		body    string
		arrange func(r *shopRig)
		status  int
		member  string
		message string // a piece of it
		unasked bool   // Sitoo hears nothing of it
	}{
		"wrong password":        {body: members(map[string]any{"password": "wrong-password"}), status: 400, message: "Sitoo does not accept the credentials (status 401: Authentication failed). Nothing was kept."},
		"wrong API id":          {body: members(map[string]any{"apiid": "90001-7"}), status: 400, message: "status 401"},
		"another account":       {body: members(map[string]any{"accountid": "90002", "baseurl": "https://api.mysitoo.com"}), status: 400, message: "status 401"},
		"403":                   {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 403}), status: 400, message: "status 403"},
		"404":                   {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 404}), status: 400, message: "status 404"},
		"400":                   {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 400}), status: 400, message: "status 400"},
		"a site it has not":     {body: members(map[string]any{"site": 7}), status: 400, member: "site", message: "one of its sites (1,2)"},
		"Sitoo is busy":         {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 429, Header: http.Header{"Retry-After": {"17"}}}), status: 503, message: pieceOf503},
		"Sitoo fails":           {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 500}), status: 503, message: pieceOf503},
		"Sitoo breaks off":      {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Kind: fakesitoo.Cut}), status: 503, message: pieceOf503},
		"no connection":         {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Kind: fakesitoo.Reset}), status: 503, message: "Sitoo did not answer."},
		"a proxy's page":        {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Kind: fakesitoo.Garbage}), status: 503, message: "did not answer as expected"},
		"its orders are closed": {body: members(nil), arrange: sitooSays(fakesitoo.Fault{Status: 403, Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "orders") }}), status: 400, message: "status 403"},

		"not one of Sitoo's hosts": {body: members(map[string]any{"baseurl": "https://api.example.com/v2/accounts/90001"}), status: 400, member: "baseurl", message: "api.mysitoo.com", unasked: true},
		"an address inside":        {body: members(map[string]any{"baseurl": "http://169.254.169.254/v2/accounts/90001"}), status: 400, member: "baseurl", unasked: true},
		"an address, https":        {body: members(map[string]any{"baseurl": "https://169.254.169.254/"}), status: 400, member: "baseurl", unasked: true},
		"a name like Sitoo's":      {body: members(map[string]any{"baseurl": "https://api.mysitoo.com.example.com"}), status: 400, member: "baseurl", unasked: true},
		"not https":                {body: members(map[string]any{"baseurl": "http://api.mysitoo.com"}), status: 400, member: "baseurl", unasked: true},
		"a password in the URL":    {body: members(map[string]any{"baseurl": "https://90001-1:another-password@api.mysitoo.com"}), status: 400, member: "baseurl", unasked: true},
		"two account ids":          {body: members(map[string]any{"accountid": "90002"}), status: 400, member: "accountid", unasked: true},
		"no base URL":              {body: members(map[string]any{"baseurl": nil}), status: 400, member: "baseurl", unasked: true},
		"no account id at all":     {body: members(map[string]any{"accountid": "", "baseurl": "https://api.mysitoo.com"}), status: 400, member: "accountid", unasked: true},
		"no site":                  {body: members(map[string]any{"site": nil}), status: 400, member: "site", unasked: true},
		"site 0":                   {body: members(map[string]any{"site": 0}), status: 400, member: "site", unasked: true},
		"a site's GUID":            {body: members(map[string]any{"site": "{3CCB9848-0000-4000-8000-000000000001}"}), status: 400, member: "site", unasked: true},
		"a site between":           {body: members(map[string]any{"site": 1.5}), status: 400, member: "site", unasked: true},
		"no API id":                {body: members(map[string]any{"apiid": " "}), status: 400, member: "apiid", unasked: true},
		"no password":              {body: members(map[string]any{"password": nil}), status: 400, member: "password", unasked: true},
		"password in a list":       {body: members(map[string]any{"password": []string{"another-password"}}), status: 400, member: "password", unasked: true},
		"site in an object":        {body: members(map[string]any{"site": map[string]int{"id": 1}}), status: 400, member: "site", unasked: true},
		"a true base URL":          {body: members(map[string]any{"baseurl": true}), status: 400, member: "baseurl", unasked: true},
		"password twice":           {body: `{"password":"another-password",` + members(nil)[1:], status: 400, member: "password", unasked: true},
		"no body":                  {body: "", status: 400, unasked: true},
		"no JSON":                  {body: `{"password":"another-password`, status: 400, unasked: true},
		"a list":                   {body: "[" + members(nil) + "]", status: 400, unasked: true},
		"far too long":             {body: members(map[string]any{"password": strings.Repeat("x", 20_000)}), status: 413, unasked: true},

		"Rule refuses the key":   {body: members(nil), arrange: func(r *shopRig) { r.rig.rule.RevokeKey(key) }, status: 401, message: "Rule", unasked: true},
		"Rule blocks":            {body: members(nil), arrange: func(r *shopRig) { r.rig.rule.BlockFor(key, 10*time.Minute) }, status: 503, unasked: true},
		"the store does not":     {body: members(nil), arrange: func(r *shopRig) { r.failing("SetSitoo") }, status: 503},
		"the shop is not noted":  {body: members(nil), arrange: func(r *shopRig) { r.failing("Claim") }, status: 503},
		"there is another panic": {body: members(nil), arrange: func(r *shopRig) { r.rest = nil }, status: 503, unasked: true},
	} {
		for _, before := range []string{none, kept} {
			t.Run(fmt.Sprintf("%s, before %v", name, before == kept), func(t *testing.T) {
				t.Parallel()
				r := newShopRig(t)
				if before == kept {
					if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
						t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
					}
				} else if got := r.entered(key); got != none { // the account is there
					t.Fatal(got)
				}
				if tt.arrange != nil {
					tt.arrange(r)
				}
				r.asked.Store(0)
				out := r.call("PUT", key, tt.body)
				f := failure(t, out)
				if out.StatusCode != tt.status || f.Member != tt.member || !strings.Contains(f.Message, tt.message) {
					t.Errorf("PUT: %d %s, want %d %q about %q", out.StatusCode, out.Body, tt.status, tt.message, tt.member)
				}
				if name == "Sitoo is busy" && out.Headers["Retry-After"] != "18" {
					t.Errorf("Retry-After %q, want 18", out.Headers["Retry-After"])
				}
				if tt.unasked != (r.asked.Load() == 0) {
					t.Errorf("Sitoo was asked %d times", r.asked.Load())
				}
				a, err := r.Accounts.Get(t.Context(), "42")
				if err != nil || (a.Sitoo != nil) != (before == kept) {
					t.Errorf("%+v, %v; want it as it was before", a.Sitoo, err)
				}
				if tt.status != 401 && r.entered(key) != before {
					t.Errorf("after: %s, want %s", r.entered(key), before)
				}
			})
		}
	}
}

// failing makes the store of accounts fail at an operation.
func (r *shopRig) failing(op string) {
	r.Accounts.Store.(*memory.Accounts).Fail = func(at string) error {
		if at == op {
			return context.DeadlineExceeded
		}
		return nil
	}
}

// Sitoo does not answer at all: the merchant hears of it in time.
func TestCredentialsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newShopRig(t)
		r.entered(key)
		r.shop.Inject(fakesitoo.Fault{Kind: fakesitoo.Hang, Times: -1})
		start := time.Now()
		out := r.call("PUT", key, members(nil))
		if took := time.Since(start); out.StatusCode != 503 || took > 8*time.Second || !strings.Contains(out.Body, "Sitoo did not answer") {
			t.Errorf("%d %s after %s", out.StatusCode, out.Body, took)
		}
		if got := r.entered(key); got != none {
			t.Errorf("after: %s", got)
		}
	})
}

// A second shop in Rule, which has Sitoo's credentials, too.
const (
	strangersKey  = "a-strangers-key"
	strangersNone = `{"account":"43","entered":false}`
)

// Sitoo's credentials prove nothing about another account in Rule: whoever has
// them, an integrator for one, does not get the shop.
func TestCredentialsOfAnothersShop(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	r.rig.rule.AddKey(strangersKey)
	put := func(key string, changes map[string]any, status int, says string) {
		t.Helper()
		if out := r.call("PUT", key, members(changes)); out.StatusCode != status || !strings.Contains(out.Body, says) {
			t.Errorf("PUT with %s: %d %s, want %d %s", key, out.StatusCode, out.Body, status, says)
		}
	}
	put(key, nil, 200, `"status":"kept"`)
	put(strangersKey, nil, 409, `"conflict"`)
	if line := r.logs.line(t, "a shop was entered that is another account's"); line["account"] != "43" || line["owner"] != "42" || line["level"] != "WARN" {
		t.Errorf("log %v", line)
	}
	if got := r.entered(strangersKey); got != strangersNone {
		t.Errorf("the stranger has %s", got)
	}
	if got := r.entered(key); got != kept {
		t.Errorf("the shop has %s", got)
	}
	// The shop lets go of it.
	if out := r.call("DELETE", key, ""); out.StatusCode != 200 {
		t.Errorf("DELETE: %d %s", out.StatusCode, out.Body)
	}
	put(strangersKey, nil, 200, `"status":"kept"`)
	put(key, nil, 409, `"conflict"`)
	// An operator puts the stranger out, for good.
	released, err := r.Accounts.ReleaseShop(t.Context(), "90001")
	if err != nil || len(released) != 1 || released[0].Scope != "43" {
		t.Errorf("ReleaseShop = %+v, %v", released, err)
	}
	if got := r.entered(strangersKey); got != strangersNone {
		t.Errorf("the stranger still has %s", got)
	}
	put(strangersKey, nil, 409, `"conflict"`)
	put(key, nil, 200, `"status":"kept"`)
	put(strangersKey, nil, 409, `"conflict"`)
	if released, err := r.Accounts.ReleaseShop(t.Context(), "4711"); err != nil || len(released) != 0 {
		t.Errorf("ReleaseShop of none = %+v, %v", released, err)
	}
}

// A shop whose account has no key left that Rule accepts, and that has delivered
// nothing for a fortnight, can be another account's.
func TestCredentialsOfAnAbandonedShop(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	at := now
	r.Now = func() time.Time { return at }
	r.Accounts.Now = r.Now
	r.rig.rule.AddKey(strangersKey)
	put := func(status int) {
		t.Helper()
		if out := r.call("PUT", strangersKey, members(nil)); out.StatusCode != status {
			t.Errorf("after %v: %d %s, want %d", at.Sub(now), out.StatusCode, out.Body, status)
		}
	}
	if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
		t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
	}
	v, err := r.Accounts.Present(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	r.Accounts.Delivered(t.Context(), v)
	at = at.Add(15 * 24 * time.Hour)
	put(409) // Rule accepts its key, whatever is known of it here
	r.rig.rule.RevokeKey(key)
	if err := r.Accounts.Store.DeliveredKey(t.Context(), v.Key.ID, at.Add(-13*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	put(409)
	at = at.Add(24 * time.Hour)
	put(200)
	a, err := r.Accounts.Get(t.Context(), "42")
	if err != nil || a.Sitoo != nil {
		t.Errorf("the first account still reads the shop: %+v, %v", a.Sitoo, err)
	}
}

// The sandbox with the same number is another shop.
func TestCredentialsOfTheSandbox(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	r.rig.rule.AddKey(strangersKey)
	sandbox := map[string]any{"baseurl": "https://api-sandbox.mysitoo.com/v2/accounts/90001"}
	for key, changes := range map[string]map[string]any{key: nil, strangersKey: sandbox} {
		if out := r.call("PUT", key, members(changes)); out.StatusCode != 200 {
			t.Errorf("PUT: %d %s", out.StatusCode, out.Body)
		}
	}
	if got := r.entered(key); got != kept {
		t.Errorf("the shop has %s", got)
	}
}

// Only Sitoo's API is asked: a name below mysitoo.com can be anybody's shop.
func TestCredentialsForAnotherHost(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	for _, host := range []string{"example.mysitoo.com", "api.example.mysitoo.com", "apix.mysitoo.com", "api-sandbox2.mysitoo.com", "api.mysitoo.com.example.com", "api1234567.mysitoo.com"} {
		out := r.call("PUT", key, members(map[string]any{"baseurl": "https://" + host + "/v2/accounts/90001"}))
		if f := failure(t, out); out.StatusCode != 400 || f.Member != "baseurl" {
			t.Errorf("%s: %d %s", host, out.StatusCode, out.Body)
		}
	}
	if r.asked.Load() != 0 {
		t.Errorf("%d requests to Sitoo", r.asked.Load())
	}
}

// A label has a shop of its own. A shop that has orders under one label does not
// come under another, where they would be brought over again.
func TestCredentialsOfALabel(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	put := func(key string, site, status int, says string) {
		t.Helper()
		if out := r.call("PUT", key, members(map[string]any{"site": site})); out.StatusCode != status || !strings.Contains(out.Body, says) {
			t.Errorf("PUT with %s: %d %s, want %d %s", key, out.StatusCode, out.Body, status, says)
		}
	}
	put(key, 1, 200, "")
	put(key+"/fi", 1, 200, "") // no order has come: it moves
	if got := r.entered(key); got != none {
		t.Errorf("without the label: %s", got)
	}
	if got := r.entered(key + "/FI"); got != strings.Replace(kept, `"42",`, `"42","label":"fi",`, 1) {
		t.Errorf("with the label: %s", got)
	}
	v, err := r.Accounts.Present(t.Context(), key+"/fi")
	if err != nil {
		t.Fatal(err)
	}
	r.Accounts.Delivered(t.Context(), v)
	put(key, 1, 409, "under the label fi")
	if out := r.call("DELETE", key+"/fi", ""); out.StatusCode != 200 {
		t.Errorf("DELETE: %d %s", out.StatusCode, out.Body)
	}
	put(key, 1, 409, "KEY/fi") // its orders are known there still
	put(key+"/fi", 1, 200, "")
}

// Whoever guesses passwords has three tries, from one account in Rule and for one
// in Sitoo.
func TestCredentialsAreNoOracle(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	at := now
	r.Now = func() time.Time { return at }
	r.Accounts.Now = r.Now
	r.rig.rule.AddKey(strangersKey)
	wrong := map[string]any{"password": "wrong-password"}
	put := func(key string, changes map[string]any, status int) response {
		t.Helper()
		out := r.call("PUT", key, members(changes))
		if out.StatusCode != status {
			t.Errorf("after %v: %d %s, want %d", at.Sub(now), out.StatusCode, out.Body, status)
		}
		return out
	}
	for range 5 { // what is right counts for nothing
		put(key, nil, 200)
	}
	for range 4 {
		put(strangersKey, wrong, 400)
	}
	asked := r.asked.Load()
	if out := put(strangersKey, wrong, 503); out.Headers["Retry-After"] != "61" {
		t.Errorf("headers %v", out.Headers)
	}
	put(key, nil, 503) // whoever it is
	put(strangersKey, map[string]any{"baseurl": "https://api.mysitoo.com/v2/accounts/90002", "accountid": "90002"}, 503)
	if r.asked.Load() != asked {
		t.Error("Sitoo was asked during a pause")
	}
	at = at.Add(61 * time.Second)
	put(strangersKey, wrong, 400)
	at = at.Add(61 * time.Second)
	put(strangersKey, wrong, 503) // two minutes now
	at = at.Add(time.Minute)
	put(key, nil, 200)
}

// What changes something for good asks Rule at that moment: a key that was removed
// is refused, whatever is known of it.
func TestCredentialsWithARemovedKey(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	put := func(status int) {
		t.Helper()
		if out := r.call("PUT", key, members(nil)); out.StatusCode != status {
			t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
		}
	}
	put(200)
	r.rig.rule.RevokeKey(key)
	for _, method := range []string{"DELETE", "PUT", "DELETE"} {
		if out := r.call(method, key, members(nil)); out.StatusCode != 401 {
			t.Errorf("%s: %d %s, want 401", method, out.StatusCode, out.Body)
		}
	}
	a, err := r.Accounts.Get(t.Context(), "42")
	if err != nil || a.Sitoo == nil {
		t.Errorf("%+v, %v; want the credentials still", a, err)
	}
}

// Whatever a body holds, reading it names a member or nothing, and quotes none
// of it.
func FuzzCredentials(f *testing.F) {
	for _, seed := range []string{
		members(nil), `{}`, `{"site":"1"}`, `{"site":1e400}`, `{"site":9223372036854775808}`, `{"password":{"hemlig":1}}`, `{"apiid":null,"password":-0}`, `[]`, `null`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := spi.Credentials(body)
		if err == nil {
			return
		}
		e := fault.As(err)
		if e.Kind != fault.Invalid || got != (sitoo.Credentials{}) || e.Err != nil || len(e.Message) > 150 {
			t.Errorf("%+v, %v", got, err)
		}
		switch e.Member {
		case "", "baseurl", "accountid", "site", "apiid", "password":
		default:
			t.Errorf("member %q", e.Member)
		}
	})
}
