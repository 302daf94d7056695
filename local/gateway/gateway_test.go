package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sitoo-rule/local/gateway"
	"sitoo-rule/local/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const till = `
Globals:
  Api:
    BinaryMediaTypes: [image/png, 'application/pdf', 'audio/*']
    GatewayResponses:
      %s
Resources:
  ContactFind: {Type: AWS::Serverless::Function, Properties: {Timeout: 10, Events: {E: {Type: Api, Properties: {Path: /sitoo/contacts, Method: GET}}}}}
  ContactAdd: {Type: AWS::Serverless::Function, Properties: {Timeout: 60, Events: {E: {Type: Api, Properties: {Path: /sitoo/contacts, Method: POST}}}}}
  ContactGet: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Api, Properties: {Path: '/sitoo/contacts/{contactid}', Method: GET}}}}}
  ContactNew: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Api, Properties: {Path: /sitoo/contacts/new, Method: GET}}}}}
  PurchaseList: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Api, Properties: {Path: '/sitoo/contacts/{contactid}/transactions', Method: GET}}}}}
  UnknownRoute:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Root: {Type: Api, Properties: {Path: /sitoo, Method: ANY}}
        Contacts: {Type: Api, Properties: {Path: /sitoo/contacts, Method: ANY}}
        Below: {Type: Api, Properties: {Path: '/sitoo/{proxy+}', Method: ANY}}
`

// own is what our template does with the service's faults.
const own = `
      DEFAULT_4XX: {ResponseTemplates: {application/json: '{"error":$context.error.messageString,"type":"$context.error.responseType"}'}}
      DEFAULT_5XX: {StatusCode: 503, ResponseParameters: {Headers: {Retry-After: "'5'", X-Id: context.requestId, X-Agent: method.request.header.User-Agent}}, ResponseTemplates: {application/json: '{"error":"Try again.","id":"$context.requestId","nothing":"$context.unknown"}'}}
      REQUEST_TOO_LARGE: {StatusCode: 400}
`

func parse(t testing.TB, responses string) *template.Template {
	t.Helper()
	if responses == "" {
		responses = "{}"
	}
	tpl, err := template.Parse(fmt.Appendf(nil, till, responses))
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// counted returns ids in a row, so that an event is the same every time.
func counted() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("id-%d", n.Add(1)) }
}

func handler(t testing.TB, responses string, invoke gateway.Invoke) http.Handler {
	t.Helper()
	return gateway.New(gateway.Config{Template: parse(t, responses), Invoke: invoke, NewID: counted()})
}

func answer(out string) gateway.Invoke {
	return func(context.Context, string, []byte) ([]byte, error) { return []byte(out), nil }
}

func do(h http.Handler, method, target string, body io.Reader, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		request  string
		status   int
		function string
		resource string
		params   map[string]string
	}{
		{"GET /sitoo/contacts", 200, "contact-find", "/sitoo/contacts", nil},
		{"GET /sitoo/contacts/", 200, "contact-find", "/sitoo/contacts", nil},
		{"POST /sitoo/contacts", 200, "contact-add", "/sitoo/contacts", nil},
		{"DELETE /sitoo/contacts", 200, "unknown-route", "/sitoo/contacts", nil},
		{"HEAD /sitoo/contacts", 200, "unknown-route", "/sitoo/contacts", nil},
		{"GET /sitoo/contacts/17", 200, "contact-get", "/sitoo/contacts/{contactid}", map[string]string{"contactid": "17"}},
		{"GET /sitoo/contacts/a%2Fb%40c+d", 200, "contact-get", "/sitoo/contacts/{contactid}", map[string]string{"contactid": "a%2Fb%40c+d"}},
		{"GET /sitoo/contacts/new", 200, "contact-new", "/sitoo/contacts/new", nil},
		{"GET /sitoo/contacts/new/transactions", 200, "purchase-list", "/sitoo/contacts/{contactid}/transactions", map[string]string{"contactid": "new"}},
		{"GET /sitoo/contacts/17/orders", 200, "unknown-route", "/sitoo/{proxy+}", map[string]string{"proxy": "contacts/17/orders"}},
		{"GET /sitoo/contacts//transactions", 200, "unknown-route", "/sitoo/{proxy+}", map[string]string{"proxy": "contacts//transactions"}},
		{"PATCH /sitoo", 200, "unknown-route", "/sitoo", nil},
		{"PATCH /sitoo/", 200, "unknown-route", "/sitoo", nil},
		// The path decides before the method: no way round to {proxy+}.
		{"PUT /sitoo/contacts/17", 403, "", "", nil},
		{"GET /", 403, "", "", nil},
		{"GET /other", 403, "", "", nil},
		{"GET /sitoox", 403, "", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.request, func(t *testing.T) {
			t.Parallel()
			var function string
			var event events.APIGatewayProxyRequest
			h := handler(t, "", func(_ context.Context, name string, payload []byte) ([]byte, error) {
				function = name
				return []byte(`{"statusCode":200}`), json.Unmarshal(payload, &event)
			})
			method, target, _ := strings.Cut(tt.request, " ")
			resp := do(h, method, target, nil)
			if resp.StatusCode != tt.status || function != tt.function || event.Resource != tt.resource {
				t.Errorf("got %d from %q on %q, want %d from %q on %q", resp.StatusCode, function, event.Resource, tt.status, tt.function, tt.resource)
			}
			if diff := cmp.Diff(tt.params, event.PathParameters); diff != "" {
				t.Errorf("pathParameters (-want +got):\n%s", diff)
			}
			if tt.status == 200 && event.Path != target {
				t.Errorf("path = %q, want it as it came, %q", event.Path, target)
			}
		})
	}
}

// TestEvent compares whole events with the JSON that the service would send.
func TestEvent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		target string
		body   string
		header []string
	}{
		{"find", "GET", "/sitoo/contacts?key=%2B46701740605&key=a+b&empty&bad=%zz;1&include_extended=true", "", []string{"Authorization", "Bearer demo-key", "X-Many", "one", "X-Many", "two", "Connection", "keep-alive", "User-Agent", "Sitoo"}},
		{"add", "POST", "/sitoo/contacts", `{"namefirst":"Åsa <&>"}`, []string{"Content-Type", "application/json; charset=utf-8", "X-Forwarded-For", "198.51.100.7"}},
		{"picture", "POST", "/sitoo/contacts", "\x89PNG\r\n\xff", []string{"Content-Type", "image/png"}},
		{"sound", "POST", "/sitoo/contacts", "abc", []string{"Content-Type", "audio/ogg; x=1"}},
		{"latin1", "POST", "/sitoo/contacts", "\"\xc5sa\"", []string{"Content-Type", "application/json"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // stops the clock
				var payload []byte
				h := handler(t, "", func(_ context.Context, _ string, in []byte) ([]byte, error) {
					payload = in
					return []byte(`{"statusCode":200}`), nil
				})
				do(h, tt.method, "http://till.example.com:3000"+tt.target, strings.NewReader(tt.body), tt.header...)

				var event events.APIGatewayProxyRequest
				if err := json.Unmarshal(payload, &event); err != nil {
					t.Fatal(err)
				}
				trace := event.Headers["X-Amzn-Trace-Id"]
				if !strings.HasPrefix(trace, "Root=1-386d4380-") || len(trace) != 40 {
					t.Errorf("trace id %q is not as the service makes them", trace)
				}
				got := strings.ReplaceAll(string(payload), trace, "TRACE")
				var pretty bytes.Buffer
				if err := json.Indent(&pretty, []byte(got), "", "  "); err != nil {
					t.Fatal(err)
				}
				pretty.WriteByte('\n')
				golden(t, filepath.Join("testdata", tt.name+".json"), pretty.Bytes())
			})
		})
	}
}

// With */* as binary media type every body reaches the function byte for byte,
// whatever its sender calls it, an answer that is text stays text, and base64
// counts towards what Lambda takes.
func TestEverythingBinary(t *testing.T) {
	t.Parallel()
	const sent = "PK\x03\x04\x00\xff\xfe \xc5sa"
	tests := []struct {
		name    string
		body    string
		header  []string
		status  int
		encoded bool
	}{
		{"json", `{"namefirst":"Åsa"}`, []string{"Content-Type", "application/json"}, 200, true},
		{"no type", `{"namefirst":"Åsa"}`, nil, 200, true},
		{"curl --data-binary", sent, []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, true},
		{"curl -F", sent, []string{"Content-Type", "multipart/form-data; boundary=x"}, 200, true},
		{"spreadsheet", sent, []string{"Content-Type", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}, 200, true},
		{"text of an older Excel", sent, []string{"Content-Type", "text/plain"}, 200, true},
		{"a type that is none", sent, []string{"Content-Type", "file"}, 200, true},
		{"client that wants a picture", sent, []string{"Accept", "image/png"}, 200, true},
		{"nothing", "", nil, 200, false},
		{"4 MB", strings.Repeat("x", 4<<20), nil, 200, true},
		{"5 MB", strings.Repeat("x", 5<<20), nil, 413, false},
	}
	tpl, err := template.Parse([]byte("Globals: {Api: {BinaryMediaTypes: ['*~1*']}}\nResources:\n" +
		"  Import: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Api, Properties: {Path: /sitoo/bonuschecks, Method: POST}}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // whose clock stands still while the function works
				var event events.APIGatewayProxyRequest
				h := gateway.New(gateway.Config{Template: tpl, Invoke: func(_ context.Context, _ string, in []byte) ([]byte, error) {
					return []byte(`{"statusCode":200,"body":"{\"name\":\"Åsa\"}"}`), json.Unmarshal(in, &event)
				}})
				resp := do(h, "POST", "/sitoo/bonuschecks", strings.NewReader(tt.body), tt.header...)
				if resp.StatusCode != tt.status {
					t.Fatalf("status = %d, want %d", resp.StatusCode, tt.status)
				}
				if got, want := read(t, resp), `{"name":"Åsa"}`; tt.status == 200 && got != want {
					t.Errorf("answer = %s, want %s", got, want)
				}
				if tt.status != 200 {
					return
				}
				got := event.Body
				if event.IsBase64Encoded {
					raw, err := base64.StdEncoding.DecodeString(got)
					if err != nil {
						t.Fatal(err)
					}
					got = string(raw)
				}
				if event.IsBase64Encoded != tt.encoded || got != tt.body {
					t.Errorf("body of %d bytes, base64 %v; want the %d that were sent, base64 %v", len(got), event.IsBase64Encoded, len(tt.body), tt.encoded)
				}
			})
		})
	}
}

// golden compares got with a file; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestLambdaContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := handler(t, "", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			lc, ok := lambdacontext.FromContext(ctx)
			if !ok || lc.AwsRequestID == "" || lc.AwsRequestID == "id-1" {
				t.Errorf("lambdacontext = %+v, %t; want a request id of the function's own", lc, ok)
			}
			if want := "arn:aws:lambda:eu-north-1:000000000000:function:contact-find"; lc.InvokedFunctionArn != want {
				t.Errorf("ARN = %q, want %q", lc.InvokedFunctionArn, want)
			}
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 10*time.Second {
				t.Errorf("deadline in %v, %t; want the template's 10 s", time.Until(deadline), ok)
			}
			return []byte(`{"statusCode":204}`), nil
		})
		resp := do(h, "GET", "/sitoo/contacts", nil)
		if resp.StatusCode != 204 || resp.Header.Get("X-Amzn-Requestid") != "id-1" {
			t.Errorf("got %d %v", resp.StatusCode, resp.Header)
		}
	})
}

func TestResponses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		out    string
		accept string
		status int
		body   string
		header http.Header // of those named
	}{
		{"plain", `{"statusCode":200,"body":"[]"}`, "", 200, "[]", http.Header{"Content-Type": {"application/json"}}},
		{"own type", `{"statusCode":404,"headers":{"content-type":"text/plain","x-n":7,"x-b":true},"body":"no"}`, "", 404, "no", http.Header{"Content-Type": {"text/plain"}, "X-N": {"7"}, "X-B": {"true"}}},
		{"status as text", `{"statusCode":"201","body":null}`, "", 201, "", nil},
		{"merged headers", `{"statusCode":200,"headers":{"A":"1","B":"3"},"multiValueHeaders":{"a":["1","2"]}}`, "", 200, "", http.Header{"A": {"1", "2"}, "B": {"3"}}},
		{"null headers", `{"statusCode":200,"headers":null,"multiValueHeaders":null,"body":""}`, "", 200, "", nil},
		{"remapped", `{"statusCode":401,"headers":{"WWW-Authenticate":"Bearer","Server":"x","Transfer-Encoding":"chunked"}}`, "", 401, "", http.Header{"Www-Authenticate": nil, "X-Amzn-Remapped-Www-Authenticate": {"Bearer"}, "X-Amzn-Remapped-Server": {"x"}, "Transfer-Encoding": nil}},
		{"binary wanted", `{"statusCode":200,"isBase64Encoded":true,"body":"iVBORw=="}`, "image/png, */*", 200, "\x89PNG", nil},
		{"binary by its type", `{"statusCode":200,"isBase64Encoded":true,"headers":{"Content-Type":"application/pdf"},"body":"JVBERg=="}`, "", 200, "%PDF", nil},
		{"base64 not wanted", `{"statusCode":200,"isBase64Encoded":true,"body":"iVBORw=="}`, "*/*", 200, "iVBORw==", nil},
		{"not base64", `{"statusCode":200,"isBase64Encoded":true,"body":"?"}`, "image/png", 500, `{"message":"Internal server error"}`, nil},
		{"nothing", ``, "", 502, `{"message":"Internal server error"}`, http.Header{"X-Amzn-Errortype": {"InternalServerErrorException"}}},
		{"null", `null`, "", 502, `{"message":"Internal server error"}`, nil},
		{"text", `"ok"`, "", 502, `{"message":"Internal server error"}`, nil},
		{"no status", `{"body":"x"}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"status out of range", `{"statusCode":99}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"status as fraction", `{"statusCode":200.5}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"body as object", `{"statusCode":200,"body":{}}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"unknown member", `{"statusCode":200,"cookies":[]}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"other case", `{"StatusCode":200}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"header as list", `{"statusCode":200,"headers":{"a":["b"]}}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"headers as list", `{"statusCode":200,"headers":[]}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"multi as text", `{"statusCode":200,"multiValueHeaders":{"a":"b"}}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"header injection", `{"statusCode":200,"headers":{"a":"b\r\nset-cookie: c"}}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"header name", `{"statusCode":200,"headers":{"a b":"c"}}`, "", 502, `{"message":"Internal server error"}`, nil},
		{"flag as text", `{"statusCode":200,"isBase64Encoded":"yes"}`, "", 502, `{"message":"Internal server error"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := []string{}
			if tt.accept != "" {
				header = []string{"Accept", tt.accept}
			}
			resp := do(handler(t, "", answer(tt.out)), "GET", "/sitoo/contacts", nil, header...)
			if got := read(t, resp); resp.StatusCode != tt.status || got != tt.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, tt.status, tt.body)
			}
			for name, want := range tt.header {
				if diff := cmp.Diff(want, resp.Header[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	fail := func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("boom") }
	crash := func(context.Context, string, []byte) ([]byte, error) { panic("boom") }
	big := func(n int) gateway.Invoke {
		return answer(`{"statusCode":200,"body":"` + strings.Repeat("a", n-len(`{"statusCode":200,"body":""}`)) + `"}`)
	}
	const mb = 1 << 20
	tests := []struct {
		name        string
		responses   string
		request     string
		body        int
		invoke      gateway.Invoke
		status      int
		want        string
		header      http.Header
		notTheOther bool // the answer is the function's, want is not compared
	}{
		{name: "no route", request: "GET /x", invoke: fail, status: 403, want: `{"message":"Missing Authentication Token"}`, header: http.Header{"X-Amzn-Errortype": {"MissingAuthenticationTokenException"}}},
		{name: "no route, ours", responses: own, request: "GET /x", invoke: fail, status: 403, want: `{"error":"Missing Authentication Token","type":"MISSING_AUTHENTICATION_TOKEN"}`},
		{name: "error", request: "GET /sitoo", invoke: fail, status: 502, want: `{"message":"Internal server error"}`},
		{
			name: "error, ours", responses: own, request: "GET /sitoo", invoke: fail, status: 503, want: `{"error":"Try again.","id":"id-1","nothing":""}`,
			header: http.Header{"Retry-After": {"5"}, "X-Id": {"id-1"}, "X-Agent": {"Sitoo"}, "Content-Type": {"application/json"}},
		},
		{name: "panic", request: "GET /sitoo", invoke: crash, status: 502, want: `{"message":"Internal server error"}`},
		{name: "malformed, ours", responses: own, request: "GET /sitoo", invoke: answer("{}"), status: 503, want: `{"error":"Try again.","id":"id-1","nothing":""}`},
		{name: "body over 10 MB", request: "POST /sitoo/contacts", body: 10*mb + 1, invoke: fail, status: 413, want: `{"message":"Request Too Long"}`},
		{name: "body over 10 MB, ours", responses: own, request: "POST /sitoo/contacts", body: 10*mb + 1, invoke: fail, status: 400, want: `{"message":"Request Too Long"}`},
		{name: "event over 6 MB", request: "POST /sitoo/contacts", body: 6 * mb, invoke: fail, status: 413, want: `{"message":"Request Too Long"}`},
		{name: "event under 6 MB", request: "POST /sitoo/contacts", body: 6*mb - 4096, invoke: answer(`{"statusCode":200}`), status: 200},
		{name: "answer over 6 MB", request: "GET /sitoo", invoke: big(6*mb + 101), status: 502, want: `{"message":"Internal server error"}`},
		{name: "answer of 6 MB", request: "GET /sitoo", invoke: big(6*mb + 100), status: 200, notTheOther: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method, target, _ := strings.Cut(tt.request, " ")
			resp := do(handler(t, tt.responses, tt.invoke), method, target, strings.NewReader(strings.Repeat("<", tt.body)), "User-Agent", "Sitoo")
			if got := read(t, resp); resp.StatusCode != tt.status || (got != tt.want && !tt.notTheOther) {
				t.Errorf("got %d %.200q, want %d %q", resp.StatusCode, got, tt.status, tt.want)
			}
			for name, want := range tt.header {
				if diff := cmp.Diff(want, resp.Header[name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request string
		works   time.Duration
		heeds   bool // whether the function heeds its context
		status  int
		after   time.Duration
	}{
		{"in time", "GET /sitoo/contacts", 9999 * time.Millisecond, false, 200, 9999 * time.Millisecond},
		{"function's time-out", "GET /sitoo/contacts", time.Minute, false, 504, 10 * time.Second},
		{"function's time-out, heeded", "GET /sitoo/contacts", time.Minute, true, 504, 10 * time.Second},
		{"just before the gateway's", "POST /sitoo/contacts", 28 * time.Second, false, 200, 28 * time.Second},
		{"gateway's time-out", "POST /sitoo/contacts", 40 * time.Second, true, 504, 29 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var finished atomic.Bool
				h := handler(t, "", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
					var heed <-chan struct{}
					if tt.heeds {
						heed = ctx.Done()
					}
					select {
					case <-time.After(tt.works):
						finished.Store(true)
						return []byte(`{"statusCode":200}`), nil
					case <-heed:
						return []byte(`{"statusCode":200,"body":"too late"}`), nil
					}
				})
				start := time.Now()
				method, target, _ := strings.Cut(tt.request, " ")
				resp := do(h, method, target, nil)
				if took := time.Since(start); resp.StatusCode != tt.status || took != tt.after {
					t.Errorf("got %d after %v, want %d after %v", resp.StatusCode, took, tt.status, tt.after)
				}
				if resp.StatusCode == 504 && read(t, resp) != `{"message":"Endpoint request timed out"}` {
					t.Error("the answer does not say that it timed out")
				}
				time.Sleep(time.Minute) // the bubble's clock: lets the function end
				if tt.name == "gateway's time-out" && !finished.Load() {
					t.Error("the function was stopped with its caller; the service lets it go on")
				}
			})
		})
	}
}

func TestClientGoneDoesNotStopFunction(t *testing.T) {
	t.Parallel()
	var seen error
	h := handler(t, "", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		seen = ctx.Err()
		return []byte(`{"statusCode":200}`), nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/sitoo", nil))
	if seen != nil || w.Code != 200 {
		t.Errorf("context's error = %v, status %d; want the function to run on", seen, w.Code)
	}
}

func TestBrokenBody(t *testing.T) {
	t.Parallel()
	h := handler(t, "", func(context.Context, string, []byte) ([]byte, error) {
		t.Error("the function was called with half a body")
		return nil, nil
	})
	resp := do(h, "POST", "/sitoo/contacts", io.MultiReader(strings.NewReader("{"), errReader{}))
	if resp.StatusCode != 400 {
		t.Errorf("status = %d, want 400", resp.StatusCode)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAccessLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := gateway.New(gateway.Config{
			Template: parse(t, own),
			NewID:    counted(),
			Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})),
			Invoke: func(context.Context, string, []byte) ([]byte, error) {
				time.Sleep(1500 * time.Microsecond)
				return []byte(`{"statusCode":201}`), nil
			},
		})
		do(h, "GET", "/sitoo/contacts/4711?key=secret", nil)
		do(h, "GET", "/nowhere/4711?key=secret", nil)
		want := `{"level":"INFO","msg":"request","method":"GET","resource":"/sitoo/contacts/{contactid}","status":201,"duration_ms":1.5,"request_id":"id-1","source_ip":"192.0.2.1"}
{"level":"WARN","msg":"request","method":"GET","resource":"","status":403,"duration_ms":0,"request_id":"id-4","source_ip":"192.0.2.1","fault":"MISSING_AUTHENTICATION_TOKEN","cause":"no route"}
`
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// TestServer goes over a real connection, many at once.
func TestServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(handler(t, "", func(_ context.Context, _ string, payload []byte) ([]byte, error) {
		var e events.APIGatewayProxyRequest
		if err := json.Unmarshal(payload, &e); err != nil {
			return nil, err
		}
		if e.RequestContext.Identity.SourceIP != "127.0.0.1" || e.Headers["X-Forwarded-Port"] == "" {
			return nil, fmt.Errorf("source %q", e.RequestContext.Identity.SourceIP)
		}
		return json.Marshal(events.APIGatewayProxyResponse{StatusCode: 200, Body: e.PathParameters["contactid"] + e.Body})
	}))
	defer srv.Close()
	errs := make(chan error)
	for i := range 20 {
		go func() {
			resp, err := srv.Client().Get(fmt.Sprintf("%s/sitoo/contacts/%d", srv.URL, i))
			if err != nil {
				errs <- err
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if want := fmt.Sprint(i); err == nil && (string(b) != want || resp.StatusCode != 200) {
				err = fmt.Errorf("got %d %q, want 200 %q", resp.StatusCode, b, want)
			}
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// FuzzRequest sends odd requests and answers: nothing panics, and what reaches a
// function is an event.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/sitoo/contacts/17", "key=%2B46", "", "application/json", `{"statusCode":200}`)
	f.Add("POST", "/sitoo/contacts", "&&=&%zz", "\xff", "image/png", `{"statusCode":200,"headers":{"a":1}}`)
	f.Add("FOO", "/sitoo//%2F/..", ";", "{}", ";;", `null`)
	f.Fuzz(func(t *testing.T, method, path, query, body, contentType, out string) {
		h := handler(t, own, func(_ context.Context, _ string, payload []byte) ([]byte, error) {
			var e events.APIGatewayProxyRequest
			if err := json.Unmarshal(payload, &e); err != nil {
				t.Errorf("event is not JSON: %v", err)
			}
			return []byte(out), nil
		})
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("status %d", w.Code)
		}
	})
}
