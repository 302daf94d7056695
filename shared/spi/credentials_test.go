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

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/spi"
	"sitoo-rule/shared/worker"
)

const (
	renewedKey = "demo-key-renewed"
	apiID      = "90001-42"
	baseURL    = "https://api.mysitoo.com/v2/accounts/90001"
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
	none = `{"entered":false}`
	kept = `{"entered":true,"baseurl":"` + baseURL + `","accountid":"90001","site":1,"since":"2026-03-02T09:00:00Z"}`
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
	want := fmt.Sprintf(`{"status":"kept","entered":true,"baseurl":"%s","accountid":"90001","site":1,"siteurl":"https://shop.example.com/","orders":%d,"lastorder":%d,`+
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
	if line["operation"] != "credentials-get" || line["account"] != account.ID(key) {
		t.Errorf("log %v", line)
	}

	// The connector reads the shop with them, and GET says when it last did.
	a, err := r.Accounts.Get(t.Context(), account.ID(key))
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

		"not one of Sitoo's hosts": {body: members(map[string]any{"baseurl": "https://api.example.com/v2/accounts/90001"}), status: 400, member: "baseurl", message: ".mysitoo.com", unasked: true},
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

		"Rule refuses the key":   {body: members(nil), arrange: func(r *shopRig) { r.rig.rule.RevokeKey(key) }, status: 401, message: "Rule"},
		"Rule blocks":            {body: members(nil), arrange: func(r *shopRig) { r.rig.rule.BlockFor(key, 10*time.Minute) }, status: 503},
		"the store does not":     {body: members(nil), arrange: func(r *shopRig) { r.failing("SetSitoo") }, status: 503},
		"the shop is not noted":  {body: members(nil), arrange: func(r *shopRig) { r.failing("ClaimShop") }, status: 503},
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
				a, err := r.Accounts.Get(t.Context(), account.ID(key))
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

// sameAccount lets the renewed key reach the account in Rule that the first key
// reaches, as Rule does, and refuses those that the merchant has removed.
type sameAccount struct {
	next    http.RoundTripper
	removed map[string]bool
}

func (s *sameAccount) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case s.removed[token]:
		r.Header.Set("Authorization", "Bearer removed")
	case token == renewedKey:
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return s.next.RoundTrip(r)
}

// A shop that renews its API key keeps its account, with everything in it.
func TestCredentialsRenewedKey(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	web := &sameAccount{next: direct{r.rig.rule}, removed: map[string]bool{}}
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: web}, Now: func() time.Time { return now }, Pause: -1})
	r.Rule = client
	r.Accounts.Verify = func(ctx context.Context, key string) error { return client.Session(key, time.Time{}, nil).Verify(ctx) }

	r.bonus.Syncs = sender(func(context.Context, worker.Message) error { return nil })

	var ledger memory.Ledger
	var queued []string
	queue := sender(func(_ context.Context, m worker.Message) error { queued = append(queued, m.Group); return nil })
	sell := func(key string, id int) int {
		t.Helper()
		in := post(fmt.Sprintf(`{"orderid":%d,"email":"kund.fyra@example.com"}`, id))
		in.Headers["Authorization"] = "Bearer " + key
		return invoke(t, r.OrderReceive(queue, &ledger), in).StatusCode
	}
	redeem := func(key, orderID string) response {
		t.Helper()
		in := post(`{"orderid":"` + orderID + `"}`)
		in.Headers["Authorization"] = "Bearer " + key
		in.PathParameters = map[string]string{"contactid": "255934464", "bonuscheckid": "BC-2026-0001"}
		return invoke(t, r.BonusRedeem(r.bonus), in)
	}
	old := account.ID(key)
	if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
		t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
	}
	if got := sell(key, 1001); got != 200 {
		t.Fatalf("an order: %d", got)
	}
	if out := redeem(key, "1001"); out.StatusCode != 200 {
		t.Fatalf("redeem: %d %s", out.StatusCode, out.Body)
	}

	// Sitoo may have the new key before the connector knows whose it is.
	if got := r.entered(renewedKey); got != none {
		t.Errorf("the new key, before: %s", got)
	}
	// Wrong credentials give nothing away.
	if out := r.call("PUT", renewedKey, members(map[string]any{"password": "wrong-password"})); out.StatusCode != 400 {
		t.Errorf("PUT with a wrong password: %d %s", out.StatusCode, out.Body)
	}
	if a, err := r.Accounts.Get(t.Context(), account.ID(renewedKey)); err != nil || a.ID == old {
		t.Errorf("account %s, %v; want the new key's own still", a.ID, err)
	}
	out := r.call("PUT", renewedKey, members(nil))
	var answer spi.Entered
	if err := json.Unmarshal([]byte(out.Body), &answer); err != nil || out.StatusCode != 200 || answer.Status != "renewed" || !strings.Contains(answer.Message, "taken the place") {
		t.Fatalf("PUT with the new key: %d %s, %v", out.StatusCode, out.Body, err)
	}
	line := r.logs.line(t, "done")
	if line["account"] != old || line["renewed"] != true || line["from"] != account.ID(renewedKey) {
		t.Errorf("log %v, want the account and where it came from", line)
	}
	if strings.Contains(r.logs.String(), renewedKey) || strings.Contains(out.Body, renewedKey) {
		t.Errorf("the key is shown: %s\n%s", out.Body, r.logs)
	}

	// The same account: its credentials, its orders, its bonus checks, and the
	// new key for what works in the background.
	if got := r.entered(renewedKey); got != kept {
		t.Errorf("the new key, after: %s", got)
	}
	if got := sell(renewedKey, 1002); got != 200 || queued[len(queued)-1] != old {
		t.Errorf("an order with the new key: %d, queued for %q", got, queued)
	}
	for _, id := range []int64{1001, 1002} {
		if _, ok, err := ledger.Get(t.Context(), order.Key{Account: old, Order: id}); !ok || err != nil {
			t.Errorf("order %d is not in the account's ledger: %v", id, err)
		}
	}
	if out := redeem(renewedKey, "1002"); out.StatusCode != 400 {
		t.Errorf("a bonus check that was used: %d %s, want 400", out.StatusCode, out.Body)
	}
	if out := redeem(renewedKey, "1001"); out.StatusCode != 200 {
		t.Errorf("the same use again: %d %s, want its first answer", out.StatusCode, out.Body)
	}
	a, err := r.Accounts.Get(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := r.Accounts.Key(t.Context(), a); err != nil || secret != renewedKey {
		t.Errorf("the account's key is not the new one (%v)", err)
	}

	// The merchant removes the old key in Rule. It is refused, and only it; it
	// cannot bring other credentials in, nor itself back.
	web.removed[key] = true
	if out := redeem(key, "1003"); out.StatusCode != 401 {
		t.Errorf("the old key: %d %s, want 401", out.StatusCode, out.Body)
	}
	if out := r.call("PUT", key, members(nil)); out.StatusCode != 401 {
		t.Errorf("PUT with the old key: %d %s, want 401", out.StatusCode, out.Body)
	}
	if got := sell(key, 1003); got != 200 || queued[len(queued)-1] != old {
		t.Errorf("an order with the old key: %d, queued for %q; it must not be lost", got, queued)
	}
	if got := sell(renewedKey, 1004); got != 200 {
		t.Errorf("an order with the new key: %d", got)
	}
	if out := redeem(renewedKey, "1001"); out.StatusCode != 200 {
		t.Errorf("the new key, after the old one was refused: %d %s", out.StatusCode, out.Body)
	}
	again, err := r.Accounts.Get(t.Context(), old)
	if diff := cmp.Diff(a, again); err != nil || diff != "" {
		t.Errorf("the account has changed: %v (-want +got):\n%s", err, diff)
	}
	ids, err := r.Accounts.Accounts(t.Context(), "90001")
	if diff := cmp.Diff([]string{old}, ids); err != nil || diff != "" {
		t.Errorf("Accounts: %v (-want +got):\n%s", err, diff)
	}
}

// A process that has not heard of the refusal yet: the key is asked about before
// it takes another's place.
func TestCredentialsRemovedKey(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
		t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
	}
	r.rig.rule.AddKey(renewedKey)
	if out := r.call("PUT", renewedKey, members(nil)); out.StatusCode != 200 {
		t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
	}
	r.rig.rule.RevokeKey(key)
	if out := r.call("PUT", key, members(map[string]any{"site": 2})); out.StatusCode != 401 {
		t.Errorf("PUT with a removed key: %d %s, want 401", out.StatusCode, out.Body)
	}
	a, err := r.Accounts.Get(t.Context(), account.ID(key))
	if err != nil || a.Sitoo.Site != 1 {
		t.Errorf("%+v, %v; want site 1 still", a.Sitoo, err)
	}
	if secret, err := r.Accounts.Key(t.Context(), a); err != nil || secret != renewedKey {
		t.Errorf("the account's key is not the new one (%v)", err)
	}
}

// The shop goes back to its first key: a later one that is removed does not lock
// it out.
func TestCredentialsBack(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	r.rig.rule.AddKey(renewedKey)
	for _, step := range []struct{ key, want string }{{key, "kept"}, {renewedKey, "renewed"}, {key, "renewed"}, {key, "kept"}} {
		out := r.call("PUT", step.key, members(nil))
		if out.StatusCode != 200 || !strings.Contains(out.Body, `"status":"`+step.want+`"`) {
			t.Fatalf("PUT: %d %s, want %s", out.StatusCode, out.Body, step.want)
		}
	}
	r.rig.rule.RevokeKey(renewedKey)
	if out := r.call("PUT", renewedKey, members(nil)); out.StatusCode != 401 {
		t.Errorf("PUT with the removed key: %d %s, want 401", out.StatusCode, out.Body)
	}
	if got := r.entered(key); got != kept {
		t.Errorf("with the first key: %s, want %s", got, kept)
	}
}

// A key that has a shop of its own is told so.
func TestCredentialsAnothersShop(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	r.rig.rule.AddKey(renewedKey)
	for k, site := range map[string]int{key: 1, renewedKey: 2} {
		if out := r.call("PUT", k, members(map[string]any{"site": site})); out.StatusCode != 200 {
			t.Fatalf("PUT: %d %s", out.StatusCode, out.Body)
		}
	}
	out := r.call("PUT", renewedKey, members(nil))
	if f := failure(t, out); out.StatusCode != 400 || f.Error != "conflict" || !strings.Contains(f.Message, "site 2") {
		t.Errorf("PUT: %d %s", out.StatusCode, out.Body)
	}
	if got := r.entered(key); got != kept {
		t.Errorf("the first shop: %s", got)
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
