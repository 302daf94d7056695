package spi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/spi"
	"sitoo-rule/shared/worker"
)

// How SPI v1 sends the token is not published: every usual form is taken.
func TestToken(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	auth := func(v string) map[string]string { return map[string]string{"Authorization": v} }
	for name, c := range map[string]struct {
		headers, query map[string]string
		token, form    string
	}{
		"nothing":                         {nil, nil, "", "none"},
		"bearer":                          {auth("Bearer demo-key"), nil, "demo-key", "bearer"},
		"bearer in any case":              {map[string]string{"authorization": "bEARER   demo-key  "}, nil, "demo-key", "bearer"},
		"the header in capitals":          {map[string]string{"AUTHORIZATION": "Bearer demo-key"}, nil, "demo-key", "bearer"},
		"basic, key as password":          {auth("Basic " + b64("sitoo:demo-key")), nil, "demo-key", "basic, as password"},
		"basic, no user":                  {auth("basic " + b64(":demo-key")), nil, "demo-key", "basic, as password"},
		"basic, a colon in the key":       {auth("Basic " + b64("sitoo:demo:key")), nil, "demo:key", "basic, as password"},
		"basic, key as user":              {auth("Basic " + b64("demo-key:")), nil, "demo-key", "basic, as user"},
		"basic, key alone":                {auth("Basic " + b64("demo-key")), nil, "demo-key", "basic, alone"},
		"basic, without its padding":      {auth("Basic " + strings.TrimRight(b64("demo-key"), "=")), nil, "demo-key", "basic, alone"},
		"basic, both empty":               {auth("Basic " + b64(":")), nil, "", "basic, as user"},
		"basic, not base64":               {auth("Basic demo-key"), nil, "", "basic, not base64"},
		"bare":                            {auth(" demo-key "), nil, "demo-key", "authorization"},
		"a scheme without its key":        {auth("Bearer"), nil, "", "none"},
		"a scheme and spaces":             {auth("Basic  "), nil, "", "none"},
		"a scheme nobody knows":           {auth("Digest username=x"), nil, "", "none"},
		"an empty header":                 {auth(""), map[string]string{"apikey": "demo-key"}, "demo-key", "query"},
		"X-Api-Key":                       {map[string]string{"X-Api-Key": " demo-key"}, nil, "demo-key", "x-api-key"},
		"x-api-token":                     {map[string]string{"x-api-token": "demo-key"}, nil, "demo-key", "x-api-token"},
		"query":                           {nil, map[string]string{"apikey": "demo-key"}, "demo-key", "query"},
		"Authorization goes first":        {map[string]string{"Authorization": "Bearer a-key", "X-Api-Key": "b-key"}, map[string]string{"apikey": "c-key"}, "a-key", "bearer"},
		"an unknown scheme and X-Api-Key": {map[string]string{"Authorization": "Digest x=y", "X-Api-Key": "b-key"}, map[string]string{"apikey": "c-key"}, "b-key", "x-api-key"},
		"X-Api-Key before X-Api-Token":    {map[string]string{"X-Api-Token": "c-key", "X-Api-Key": "b-key"}, nil, "b-key", "x-api-key"},
	} {
		token, form := spi.Token(request{Headers: c.headers, QueryStringParameters: c.query})
		if token != c.token || form != c.form {
			t.Errorf("%s: got %q, %q; want %q, %q", name, token, form, c.token, c.form)
		}
	}
}

// Whatever the headers hold, the form that is logged is one of ours, never
// theirs.
func FuzzToken(f *testing.F) {
	f.Add("Bearer demo-key", "", "")
	f.Add("Basic OmRlbW8ta2V5", "x", "")
	f.Add("Basic ====", "", "y")
	f.Add("\xff\x00", " ", "z")
	f.Fuzz(func(t *testing.T, auth, apiKey, query string) {
		token, form := spi.Token(request{Headers: map[string]string{"authorization": auth, "x-api-key": apiKey}, QueryStringParameters: map[string]string{"apikey": query}})
		switch form {
		case "bearer", "authorization", "x-api-key", "query":
			if token == "" {
				t.Errorf("form %s without a token", form)
			}
		case "basic, not base64", "none":
			if token != "" {
				t.Errorf("form %s with a token", form)
			}
		case "basic, alone", "basic, as user", "basic, as password":
		default:
			t.Errorf("form %q", form)
		}
	})
}

var kinds = []fault.Kind{fault.Internal, fault.Invalid, fault.TooLarge, fault.Unauthorized, fault.NotFound, fault.Conflict, fault.Busy, fault.Unavailable}

// Every kind of error has a status that Sitoo knows and a sentence.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for i, k := range kinds {
		if int(k) != i || i == len(kinds)-1 && (k+1).String() != fault.Internal.String() {
			t.Fatalf("the list of kinds is not whole: %s", k)
		}
		want := map[fault.Kind]int{
			fault.Internal: 503, fault.Invalid: 400, fault.TooLarge: 413, fault.Unauthorized: 401, fault.NotFound: 404, fault.Conflict: 400, fault.Busy: 503, fault.Unavailable: 503,
		}[k]
		for name, err := range map[string]error{
			"bare":    &fault.Error{Kind: k},
			"wrapped": fmt.Errorf("hemlig: %w", fault.Wrap(k, errors.New("hemlig"), "")),
		} {
			out := spi.Answer(nil, err, now)
			checkAnswer(t, out)
			if f := failure(t, out); out.StatusCode != want || f.Error != k.String() || f.Member != "" || strings.Contains(out.Body, "hemlig") {
				t.Errorf("%s, %s: %d %s, want %d", k, name, out.StatusCode, out.Body, want)
			}
		}
		out := spi.Answer(nil, fault.New(k, "En mening."), now)
		if f := failure(t, out); (f.Message == "En mening.") == (k == fault.Internal) {
			t.Errorf("%s with a sentence: %s", k, out.Body)
		}
	}
	out := spi.Answer(nil, fault.Bad("email", "is not an email address, something like anna@example.com is expected"), now)
	want := `{"error":"invalid","message":"email is not an email address, something like anna@example.com is expected.","member":"email","code":"invalid"}`
	if out.StatusCode != 400 || out.Body != want {
		t.Errorf("got %d %s, want %s", out.StatusCode, out.Body, want)
	}
}

// Errors that nobody has put into words never show theirs.
func TestInternal(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"an error":             errors.New("hemlig"),
		"a sentence, Internal": fault.New(fault.Internal, "hemlig"),
		"wrapped":              fmt.Errorf("hemlig: %w", context.DeadlineExceeded),
		"joined":               errors.Join(errors.New("hemlig"), context.Canceled),
		"Rule's words":         fault.Wrap(fault.Internal, errors.New("hemlig"), "hemlig %s", "hemlig"),
	} {
		out := spi.Answer(map[string]string{"a": "hemlig"}, err, now)
		checkAnswer(t, out)
		if f := failure(t, out); out.StatusCode != 503 || f.Error != "internal" || strings.Contains(out.Body, "hemlig") {
			t.Errorf("%s: %d %s", name, out.StatusCode, out.Body)
		}
	}
	// What cannot be written as JSON is our defect too.
	for _, v := range []any{make(chan int), func() {}, map[string]any{"hemlig": make(chan int)}} {
		out := spi.Answer(v, nil, now)
		checkAnswer(t, out)
		if out.StatusCode != 503 || strings.Contains(out.Body, "hemlig") {
			t.Errorf("%T: %d %s", v, out.StatusCode, out.Body)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind fault.Kind
		at   time.Time
		want string
	}{
		"a block":           {fault.Busy, now.Add(10 * time.Minute), "601"},
		"part of a second":  {fault.Busy, now.Add(time.Millisecond), "1"},
		"not before":        {fault.Busy, now.Add(1900 * time.Millisecond), "2"},
		"now":               {fault.Busy, now, ""},
		"over":              {fault.Busy, now.Add(-time.Hour), ""},
		"unknown":           {fault.Busy, time.Time{}, ""},
		"an outage":         {fault.Unavailable, now.Add(time.Minute), "61"},
		"no use in waiting": {fault.Invalid, now.Add(time.Minute), ""},
	} {
		out := spi.Answer(nil, fmt.Errorf("x: %w", &fault.Error{Kind: c.kind, RetryAt: c.at}), now)
		checkAnswer(t, out)
		if got := out.Headers["Retry-After"]; got != c.want {
			t.Errorf("%s: Retry-After %q, want %q", name, got, c.want)
		}
	}
}

func TestContactID(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]int64{
		"255934461": 255934461, "1": 1, "9223372036854775807": 9223372036854775807,
		"0255934461": 255934461, // the same number
		"":           0, "0": 0, "-0": 0, "000": 0, "-255934461": 0, "+255934461": 0, "255934461/": 0, "../255934461": 0, "255934461/transactions": 0, "1%2F2": 0,
		"9223372036854775808": 0, "99999999999999999999999999": 0, "1e3": 0, "1.0": 0, "0x10": 0, "1_000": 0, " 1": 0, "1 ": 0, "1\n": 0, "1\x00": 0,
		"٢٥٥": 0, "２５５": 0, "undefined": 0, "null": 0, "kund.ett@example.com": 0,
		"c0ffee00-0000-4000-8000-000000000001": 0, strings.Repeat("1", 10_000): 0,
	} {
		got, err := spi.ContactID(&spi.Request{Path: map[string]string{"contactid": raw}})
		if got != want && err == nil || (err == nil) != (want > 0) {
			t.Errorf("%.40q gives %d, %v; want %d", raw, got, err, want)
		}
		if f := fault.As(err); f != nil && (f.Kind != fault.Invalid || f.Member != "contactid" || strings.Contains(f.Message, "kund.ett")) {
			t.Errorf("%.40q gives %v", raw, err)
		}
	}
	if _, err := spi.ContactID(&spi.Request{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no id at all: %v", err)
	}
}

// Bodies, as tills, proxies and mistakes send them.
func TestBody(t *testing.T) {
	t.Parallel()
	const good = `{"email":"kund.ett@example.com"}`
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	long := func(n int) string { return good + strings.Repeat(" ", n-len(good)) }
	for name, c := range map[string]struct {
		body        string
		base64      bool
		contentType string
		status      int
		says        string
	}{
		"JSON":                      {good, false, "application/json", 200, ""},
		"in base64":                 {b64(good), true, "application/json", 200, ""},
		"of no type":                {good, false, "", 200, ""},
		"of a wrong type":           {good, false, "text/plain; charset=iso-8859-1", 200, ""},
		"with a byte order mark":    {"\ufeff" + good, false, "application/json", 200, ""},
		"with one, in base64":       {b64("\ufeff" + good), true, "application/json", 200, ""},
		"with two":                  {"\ufeff\ufeff" + good, false, "application/json", 400, "body_not_json"},
		"a form":                    {"email=kund.ett%40example.com", false, "application/x-www-form-urlencoded", 400, "body_not_json"},
		"a form with parts":         {"--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nkund.ett@example.com\r\n--x--", false, "multipart/form-data; boundary=x", 400, "body_not_json"},
		"XML":                       {"<contact/>", false, "application/xml", 400, "body_not_json"},
		"nothing":                   {"", false, "application/json", 400, "body_empty"},
		"nothing, in base64":        {"", true, "application/json", 400, "body_empty"},
		"UTF-16":                    {b64("\xff\xfe{\x00}\x00"), true, "application/json", 400, "body_not_utf8"},
		"Windows-1252":              {b64("{\"namefirst\":\"Bj\xf6rn\"}"), true, "application/json", 400, "body_not_utf8"},
		"base64 that is none":       {good, true, "application/json", 400, "body_not_base64"},
		"a list":                    {"[]", false, "application/json", 400, "body_not_object"},
		"half":                      {good[:10], false, "application/json", 400, "body_not_json"},
		"a member twice":            {`{"email":"a@example.com","email":"b@example.com"}`, false, "application/json", 400, "twice"},
		"300 KB of nested arrays":   {`{"a":` + strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000) + "}", false, "application/json", 400, "member_deep"},
		"just not too long":         {long(spi.MaxBody), false, "application/json", 200, ""},
		"too long":                  {long(spi.MaxBody + 1), false, "application/json", 413, `"args":{"bytes":1048577,"most":1048576}`},
		"too long, in base64":       {b64(long(spi.MaxBody + 1)), true, "application/json", 413, `"args":{"bytes":1048577,"most":1048576}`},
		"just not, in base64":       {b64(long(spi.MaxBody)), true, "application/json", 200, ""},
		"a card that is too simple": {`"255934461"`, false, "application/json", 400, "body_not_object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var got string
			h := r.Handler("test", spi.MaxBody, func(_ context.Context, r *spi.Request) (any, error) {
				got = string(r.Body)
				return "ok", nil
			})
			in := post(c.body)
			in.IsBase64Encoded, in.Headers["Content-Type"] = c.base64, c.contentType
			out := invoke(t, h, in)
			if out.StatusCode != c.status || !strings.Contains(out.Body, c.says) {
				t.Errorf("%d %s; want %d and something with %q", out.StatusCode, out.Body, c.status, c.says)
			}
			if c.status == 200 && strings.TrimSpace(got) != good {
				t.Errorf("the operation gets %.60q", got)
			}
			if c.status != 200 && got != "" {
				t.Error("the operation was called")
			}
			for _, secret := range []string{"kund.ett", "Björn", key} {
				if strings.Contains(r.logs.String(), secret) {
					t.Errorf("the log has %q: %s", secret, r.logs)
				}
			}
		})
	}
}

// An order may be longer than a contact; a path without a body takes whatever
// comes.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	q := &queue{}
	receive := r.OrderReceive(q, &memory.Ledger{}, nil)
	sale := `{"orderid":1,"additionaldata":{"customcrm-contactid":"255934461"}}`
	pad := func(n int) string { return sale + strings.Repeat(" ", n-len(sale)) }
	for n, want := range map[int]int{4_500_000: 200, spi.MaxOrder: 200, spi.MaxOrder + 1: 413} {
		if out := invoke(t, receive, post(pad(n))); out.StatusCode != want {
			t.Errorf("an order of %d bytes: %d %s, want %d", n, out.StatusCode, out.Body, want)
		}
	}
	if spi.MaxBody != 1<<20 || spi.MaxOrder < 4_500_000 {
		t.Error("the limits are not those of the contract")
	}
	in := get("", map[string]string{"key": "0701740605"})
	in.Body = "\xff not JSON"
	if out := invoke(t, r.ContactFind(r.customers, r.bonus), in); out.StatusCode != 200 {
		t.Errorf("a GET with a body: %d %s", out.StatusCode, out.Body)
	}
}

// A defect in an operation costs that one request, and the log says where it is
// but not what was in it.
func TestPanic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var none map[string]int
	for name, c := range map[string]struct {
		do     func()
		logged string
	}{
		"a text":       {func() { panic("hemlig") }, "not a runtime error"},
		"an error":     {func() { panic(errors.New("hemlig")) }, "not a runtime error"},
		"a fault":      {func() { panic(fault.New(fault.Invalid, "hemlig")) }, "not a runtime error"},
		"nil":          {func() { panic(nil) }, "nil"},
		"a nil map":    {func() { none["hemlig"] = 1 }, "nil map"},
		"an index":     {func() { _ = []int{}[len("hemlig")] }, "index out of range [6]"},
		"a wrong type": {func() { _ = any("hemlig").(int) }, "interface conversion"},
		"a wrapped index": {func() {
			defer func() { panic(fmt.Errorf("hemlig: %w", recover().(error))) }()
			_ = []int{}[len("hemlig")]
		}, "index out of range [6]"},
		"a broken promise": {func() { panic(http.ErrAbortHandler) }, "not a runtime error"},
	} {
		h := r.Handler("test", 0, func(context.Context, *spi.Request) (any, error) { c.do(); return "ok", nil })
		out := invoke(t, h, post(""))
		if f := failure(t, out); out.StatusCode != 503 || f.Error != "internal" {
			t.Errorf("%s: %d %s", name, out.StatusCode, out.Body)
		}
		line := r.logs.line(t, "panic")
		if what, _ := line["panic"].(string); !strings.Contains(what, c.logged) {
			t.Errorf("%s: logged as %q, want something with %q", name, what, c.logged)
		}
		if stack, _ := line["stack"].(string); !strings.Contains(stack, "edge_test.go") || line["level"] != "ERROR" || line["operation"] != "test" {
			t.Errorf("%s: the log does not say where: %v", name, line)
		}
		if done := r.logs.line(t, "done"); done["outcome"] != "internal" || done["status"] != 503.0 || done["level"] != "ERROR" {
			t.Errorf("%s: the operation's line is %v", name, done)
		}
	}
	if strings.Contains(strings.ReplaceAll(r.logs.String(), "edge_test.go", ""), "hemlig") {
		t.Errorf("the log has what was in the panic: %s", r.logs)
	}
	if out := invoke(t, r.Handler("test", 0, func(context.Context, *spi.Request) (any, error) { return "ok", nil }), post("")); out.StatusCode != 200 || out.Body != `"ok"` {
		t.Errorf("the request after it: %d %s", out.StatusCode, out.Body)
	}
}

// What an operation gets, and what its log line says.
func TestRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.Handler("test", spi.MaxBody, func(ctx context.Context, q *spi.Request) (any, error) {
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > spi.Budget || left < spi.Budget/2 {
			t.Errorf("the operation has %v", left)
		}
		if q.Account.ID != "42" || q.ID != "c0ffee00-0000-4000-8000-000000000001" || q.Path["contactid"] != "7" || q.Query["a"] != "b" {
			t.Errorf("request %+v", q)
		}
		if err := q.Rule.Verify(ctx); err != nil {
			t.Error(err)
		}
		q.Note("found", true)
		return map[string]string{"html": "<b>&"}, nil
	})
	in := post("{}")
	in.PathParameters, in.QueryStringParameters = map[string]string{"contactid": "7"}, map[string]string{"a": "b"}
	if out := invoke(t, h, in); out.StatusCode != 200 || out.Body != `{"html":"<b>&"}` {
		t.Errorf("%d %s", out.StatusCode, out.Body)
	}
	line := r.logs.line(t, "done")
	for k, want := range map[string]any{
		"operation": "test", "request": "c0ffee00-0000-4000-8000-000000000001", "status": 200.0, "outcome": "ok", "account": "42", "token": "bearer", "found": true,
		"rule_requests": 1.0, "rule_used": 2.0, "rule_errors_percent": 0.0, "level": "INFO",
	} {
		if line[k] != want {
			t.Errorf("logged %s: %v, want %v", k, line[k], want)
		}
	}
	if strings.Contains(r.logs.String(), key) {
		t.Error("the log has the key")
	}
}

// Nothing that a request holds gets into a header of the answer.
func TestHeaderInjection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	evil := "x\r\nSet-Cookie: a=b\r\n\r\n<script>"
	for name, in := range map[string]request{
		"in the token": func() request { q := post("{}"); q.Headers["Authorization"] = "Bearer " + evil; return q }(),
		"in a header": func() request {
			q := post("{}")
			q.Headers["Origin"], q.Headers["X-Request-Id"], q.Headers["Retry-After"] = evil, evil, evil
			return q
		}(),
		"in the id":    get(evil, nil),
		"in the query": get("1", map[string]string{"include_extended": evil, evil: evil}),
		"in the path":  func() request { q := get("1", nil); q.Path = evil; q.HTTPMethod = evil; return q }(),
		"in a member":  post(`{"email":"kund@example.com\r\nSet-Cookie: a=b"}`),
		"in a name":    post(`{"x\r\nSet-Cookie: a=b":1,"x\r\nSet-Cookie: a=b":2}`),
	} {
		for _, h := range []interface {
			Invoke(context.Context, []byte) ([]byte, error)
		}{r.ContactAdd(r.customers), r.ContactGet(r.customers, r.bonus), r.ContactFind(r.customers, r.bonus), spi.UnknownRoute(nil, r.Log, r.Now)} {
			out := invoke(t, h, in) // checks the headers
			if strings.Contains(out.Body, "<script>") {
				t.Errorf("%s: the answer has it: %s", name, out.Body)
			}
		}
	}
}

// A key that Rule refuses in the middle of an operation is remembered.
func TestRefusedKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	calls := 0
	h := r.Handler("test", 0, func(ctx context.Context, q *spi.Request) (any, error) {
		calls++
		return nil, q.Rule.Verify(ctx)
	})
	if out := invoke(t, h, post("")); out.StatusCode != 200 {
		t.Fatalf("%d %s", out.StatusCode, out.Body)
	}
	r.rule.RevokeKey(key)
	for range 3 {
		if out := invoke(t, h, post("")); out.StatusCode != 401 || strings.Contains(out.Body, key) {
			t.Errorf("%d %s", out.StatusCode, out.Body)
		}
	}
	if calls != 2 {
		t.Errorf("the operation was called %d times, want 2", calls)
	}
	none := post("")
	none.Headers = nil
	if out := invoke(t, h, none); out.StatusCode != 401 || !strings.Contains(out.Body, `"code":"key_missing"`) {
		t.Errorf("%d %s", out.StatusCode, out.Body)
	}
}

// Rule's block is the shop's, and the till hears until when.
func TestBlocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	find := r.ContactFind(r.customers, r.bonus)
	in := get("", map[string]string{"key": "kund.ett@example.com"})
	if out := invoke(t, find, in); out.StatusCode != 200 {
		t.Fatalf("%d %s", out.StatusCode, out.Body)
	}
	r.rule.BlockFor(key, 10*time.Minute)
	for range 3 {
		out := invoke(t, find, in)
		if out.StatusCode != 503 || failure(t, out).Error != "busy" || out.Headers["Retry-After"] != "601" {
			t.Errorf("%d %v %s", out.StatusCode, out.Headers, out.Body)
		}
	}
	if n := r.rule.RequestsDuringBlock(key); n != 0 {
		t.Errorf("%d requests during the block", n)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for v, extended := range map[string]bool{"": false, "false": false, "0": false, "False": false, "true": true, "1": true, " TRUE ": true} {
		out := invoke(t, r.ContactGet(r.customers, r.bonus), get("255934461", map[string]string{"include_extended": v}))
		var card map[string]any
		if err := json.Unmarshal([]byte(out.Body), &card); err != nil || out.StatusCode != 200 {
			t.Fatalf("%q: %d %s", v, out.StatusCode, out.Body)
		}
		if _, got := card["bonuschecks"]; got != extended {
			t.Errorf("%q: extended %v, want %v", v, got, extended)
		}
	}
	for _, v := range []string{"yes", "2", "kanske", "true,false", "null"} {
		out := invoke(t, r.ContactFind(r.customers, r.bonus), get("", map[string]string{"key": "0701740605", "include_extended": v}))
		if f := failure(t, out); out.StatusCode != 400 || f.Member != "include_extended" {
			t.Errorf("%q: %d %s", v, out.StatusCode, out.Body)
		}
	}
	if out := invoke(t, r.ContactGet(r.customers, r.bonus), get("7", nil)); out.StatusCode != 404 {
		t.Errorf("nobody: %d %s", out.StatusCode, out.Body)
	}
}

// queue is a worker.Sender that keeps what it is sent, or fails.
type queue struct {
	sent []worker.Message
	err  error
}

func (q *queue) Send(_ context.Context, m worker.Message) error {
	if q.err == nil {
		q.sent = append(q.sent, m)
	}
	return q.err
}

// A 200 for an order means that the queue has it, and nothing else does.
func TestOrderReceive(t *testing.T) {
	t.Parallel()
	const sale = `{"orderid":210334,"personalid":"19121212-1212","additionaldata":{"customcrm-contactid":"255934461"},"tomorrow":{"a":1.10}}`
	r := newRig(t)
	q, ledger := &queue{}, &memory.Ledger{}
	if out := invoke(t, r.OrderReceive(q, ledger, nil), post(sale)); out.StatusCode != 200 || out.Body != `{"orderid":210334,"status":"queued"}` {
		t.Fatalf("%d %s", out.StatusCode, out.Body)
	}
	if len(q.sent) != 1 || q.sent[0].Group != "42" {
		t.Fatalf("sent %+v", q.sent)
	}
	m, err := order.DecodeMessage(q.sent[0].Body)
	if err != nil || m.Account != "42" || m.Request != "c0ffee00-0000-4000-8000-000000000001" || !m.Received.Equal(now) {
		t.Errorf("message %+v, %v", m, err)
	}
	if want := `{"orderid":210334,"additionaldata":{"customcrm-contactid":"255934461"},"tomorrow":{"a":1.10}}`; string(m.Order) != want {
		t.Errorf("order %s, want %s", m.Order, want)
	}
	rec, ok, err := ledger.Get(t.Context(), order.Key{Account: "42", Order: 210334})
	if err != nil || !ok || rec.State != order.Queued {
		t.Errorf("ledger %+v, %v, %v", rec, ok, err)
	}

	broken := &memory.Ledger{Fail: func(string) error { return errors.New("throttled") }}
	if out := invoke(t, r.OrderReceive(q, broken, nil), post(sale)); out.StatusCode != 200 {
		t.Errorf("without the ledger: %d %s", out.StatusCode, out.Body)
	}
	for err, want := range map[error]int{errors.New("hemlig"): 503, fault.New(fault.Busy, "hemlig"): 503, fault.New(fault.TooLarge, "Too large."): 413, context.DeadlineExceeded: 503} {
		ledger := &memory.Ledger{}
		out := invoke(t, r.OrderReceive(&queue{err: err}, ledger, nil), post(sale))
		if out.StatusCode != want || strings.Contains(out.Body, "hemlig") {
			t.Errorf("the queue says %v: %d %s, want %d", err, out.StatusCode, out.Body, want)
		}
		if _, known, _ := ledger.Get(t.Context(), order.Key{Account: "42", Order: 210334}); known {
			t.Errorf("the queue says %v, and the ledger that it is queued", err)
		}
	}
	for body, member := range map[string]string{
		`{}`: "orderid", `{"orderid":"ett"}`: "orderid", `[]`: "", `{"a":1,`: "",
	} {
		if out := invoke(t, r.OrderReceive(q, ledger, nil), post(body)); out.StatusCode != 400 || failure(t, out).Member != member {
			t.Errorf("%s: %d %s", body, out.StatusCode, out.Body)
		}
	}
	if len(q.sent) != 2 {
		t.Errorf("%d messages were sent, want 2", len(q.sent))
	}
	if strings.Contains(r.logs.String(), "121212") {
		t.Error("the log has a personal number")
	}
}

// Bonus checks and promotions that can be used now show; each case of one that
// cannot has its rule, and what is damaged a line in the log. The customer shows
// in every case.
func TestExtended(t *testing.T) {
	t.Parallel()
	const good = `{"bonuscheckid":"bc-1","name":"Bonus","value":"49,5"}`
	const shown = `{"bonuscheckid":"bc-1","name":"Bonus","description":"","value":49.50,"redeemed":false,"dateredeemed":null}`
	for name, c := range map[string]struct{ field, want, why string }{
		"none":                  {`[]`, ``, ""},
		"nothing":               {``, ``, ""},
		"one":                   {"[" + good + "]", shown, ""},
		"in part":               {`[{"bonuscheckid":"bc-1","name":"Bonus","value":100,"remaining":49.5}]`, shown, ""},
		"an unknown member":     {`[{"bonuscheckid":"bc-1","name":"Bonus","value":49.5,"campaign":{"id":7}}]`, shown, ""},
		"a number as text":      {`[{"bonuscheckid":"bc-1","name":"Bonus","value":"49.50"}]`, shown, ""},
		"used":                  {`[` + good + `,{"bonuscheckid":"bc-2","value":100,"redeemed":"ja"}]`, shown, "it is used"},
		"used up":               {`[` + good + `,{"bonuscheckid":"bc-2","value":100,"remaining":0}]`, shown, "it is used"},
		"worth nothing":         {`[` + good + `,{"bonuscheckid":"bc-2","value":0}]`, shown, "it is worth nothing"},
		"expired":               {`[` + good + `,{"bonuscheckid":"bc-2","value":1,"validto":"2026-03-01"}]`, shown, "it has expired"},
		"not yet":               {`[` + good + `,{"bonuscheckid":"bc-2","value":1,"validfrom":"2026-03-03"}]`, shown, "it is not valid yet"},
		"its last day":          {`[{"bonuscheckid":"bc-1","name":"Bonus","value":49.5,"validfrom":"2026-03-02","validto":"2026-03-02"}]`, shown, ""},
		"damaged":               {`{not json`, ``, "not in the expected format"},
		"an object":             {good, ``, "not in the expected format"},
		"one that is none":      {`[` + good + `,7]`, shown, "it is not an object"},
		"one without id":        {`[` + good + `,{"value":1}]`, shown, "it has no bonuscheckid"},
		"one without value":     {`[` + good + `,{"bonuscheckid":"bc-2"}]`, shown, "its value is not an amount"},
		"more left than value":  {`[` + good + `,{"bonuscheckid":"bc-2","value":1,"remaining":2}]`, shown, "its remaining is not an amount up to its value"},
		"a day that is none":    {`[` + good + `,{"bonuscheckid":"bc-2","value":1,"validto":"snart"}]`, shown, "its validto is not a date"},
		"an id that came twice": {`[` + good + `,{"bonuscheckid":"bc-1","value":999}]`, shown, "its id is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if err := r.rule.SetField(fakerule.DefaultKey, 255934461, 0, "Sitoo-Contact.bonuschecks", c.field); err != nil {
				t.Fatal(err)
			}
			for _, h := range []lambda.Handler{r.ContactGet(r.customers, r.bonus), r.ContactFind(r.customers, r.bonus)} {
				out := invoke(t, h, get("255934461", map[string]string{"include_extended": "true", "key": "0701740605"}))
				for _, want := range []string{`"namefirst":"Kund"`, `"bonuschecks":[` + c.want + `]`, `"promotions":[]`} {
					if out.StatusCode != 200 || !strings.Contains(out.Body, want) {
						t.Errorf("%d %s\nis without\n%s", out.StatusCode, out.Body, want)
					}
				}
			}
			if c.why != "" && strings.Count(r.logs.String(), c.why) != 2 || c.why == "" && strings.Contains(r.logs.String(), "left out") {
				t.Errorf("log, want two lines with %q:\n%s", c.why, r.logs)
			}
		})
	}
}

// A promotion shows until it is used.
func TestPromotions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const field = `[{"promotionid":"p-1","name":"Tre för två"},{"promotionid":2,"redeemed":true},{}]`
	if err := r.rule.SetField(fakerule.DefaultKey, 255934461, 0, "Sitoo-Contact.promotions", field); err != nil {
		t.Fatal(err)
	}
	out := invoke(t, r.ContactGet(r.customers, r.bonus), get("255934461", map[string]string{"include_extended": "true"}))
	if want := `"promotions":[{"promotionid":"p-1","name":"Tre för två","description":"","redeemed":false}]`; !strings.Contains(out.Body, want) {
		t.Errorf("%s\nis without\n%s", out.Body, want)
	}
}

// While the book does not answer nothing shows that could be used, and the
// customer does.
func TestBookDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.bonus.Store = &memory.Bonus{Fail: func(string) error { return errors.New("throttled") }}
	if err := r.rule.SetField(fakerule.DefaultKey, 255934461, 0, "Sitoo-Contact.bonuschecks", `[{"bonuscheckid":"bc-1","value":1}]`); err != nil {
		t.Fatal(err)
	}
	out := invoke(t, r.ContactGet(r.customers, r.bonus), get("255934461", map[string]string{"include_extended": "true"}))
	if out.StatusCode != 200 || !strings.Contains(out.Body, `"bonuschecks":[]`) || !strings.Contains(out.Body, `"namefirst":"Kund"`) {
		t.Errorf("%d %s", out.StatusCode, out.Body)
	}
	if !strings.Contains(r.logs.String(), "the card shows none") {
		t.Error("no line in the log")
	}
}
