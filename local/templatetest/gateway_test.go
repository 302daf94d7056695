package templatetest_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// gatewayResponses are the answers that API Gateway gives on its own, with
// their usual status; 0 where it has none. Source: "Gateway response types" in
// the API Gateway developer guide.
var gatewayResponses = map[string]int{
	"ACCESS_DENIED":                  403,
	"API_CONFIGURATION_ERROR":        500,
	"AUTHORIZER_CONFIGURATION_ERROR": 500,
	"AUTHORIZER_FAILURE":             500,
	"BAD_REQUEST_BODY":               400,
	"BAD_REQUEST_PARAMETERS":         400,
	"DEFAULT_4XX":                    0,
	"DEFAULT_5XX":                    0,
	"EXPIRED_TOKEN":                  403,
	"INTEGRATION_FAILURE":            504,
	"INTEGRATION_TIMEOUT":            504,
	"INVALID_API_KEY":                403,
	"INVALID_SIGNATURE":              403,
	"MISSING_AUTHENTICATION_TOKEN":   403,
	"QUOTA_EXCEEDED":                 429,
	"REQUEST_TOO_LARGE":              413,
	"RESOURCE_NOT_FOUND":             404,
	"THROTTLED":                      429,
	"UNAUTHORIZED":                   401,
	"UNSUPPORTED_MEDIA_TYPE":         415,
	"WAF_FILTERED":                   403,
}

func TestGatewayResponses(t *testing.T) {
	t.Parallel()
	top := load(t)
	declared := objectAt(top, "Globals", "Api", "GatewayResponses")
	for name := range declared {
		if _, ok := gatewayResponses[name]; !ok {
			t.Errorf("%s is not a gateway response", name)
		}
	}
	word := regexp.MustCompile(`^[a-z_]+$`)
	for name, usual := range gatewayResponses {
		body := objectAt(declared, name)
		if body == nil {
			t.Errorf("%s: not declared, so its body is not ours", name)
			continue
		}
		status := number(top, body["StatusCode"])
		switch {
		case name == "DEFAULT_4XX":
			if body["StatusCode"] != nil {
				t.Errorf("%s: status %v would replace that of every 4xx", name, body["StatusCode"])
			}
		case name == "DEFAULT_5XX" || usual >= 500:
			if status != 503 {
				t.Errorf("%s: status %v, want 503: Sitoo drops events for good on other errors", name, body["StatusCode"])
			}
		case status < 400 || status > 499:
			t.Errorf("%s: status %v, want a 4xx", name, body["StatusCode"])
		}

		text := textAt(body, "ResponseTemplates", "application/json")
		var answer struct{ Error, Message string }
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&answer); err != nil {
			t.Errorf("%s: body %q: %v", name, text, err)
		}
		if !word.MatchString(answer.Error) || !strings.HasSuffix(answer.Message, ".") {
			t.Errorf("%s: body %q, want a machine word and a sentence", name, text)
		}
		if strings.ContainsAny(text, "$#") {
			t.Errorf("%s: body %q is a template: $context.error.message can hold the API token", name, text)
		}
	}
	for name, want := range map[string]int{
		"MISSING_AUTHENTICATION_TOKEN": 404, "REQUEST_TOO_LARGE": 413, "THROTTLED": 429, "QUOTA_EXCEEDED": 429,
	} {
		if got := number(top, at(declared, name, "StatusCode")); got != want {
			t.Errorf("%s: status %d, want %d", name, got, want)
		}
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	top := load(t)
	api := objectAt(top, "Globals", "Api")
	format := textAt(api, "AccessLogSetting", "Format")
	var line map[string]string
	if err := json.Unmarshal([]byte(format), &line); err != nil {
		t.Fatalf("access log format %q: %v", format, err)
	}
	// Nothing else: the path and the query string hold search keys, contact
	// ids and perhaps the token, an error message the Authorization header,
	// the identity an address.
	allowed := map[string]bool{
		"$context.requestId": true, "$context.requestTimeEpoch": true, "$context.httpMethod": true,
		"$context.resourcePath": true, "$context.status": true, "$context.responseLatency": true,
		"$context.responseLength": true, "$context.error.responseType": true, "$context.integration.requestId": true,
		"$context.integration.status": true, "$context.integration.latency": true, "$context.integration.error": true,
	}
	for name, v := range line {
		if !allowed[v] {
			t.Errorf("access log: %s is %s, which is not one of the harmless variables", name, v)
		}
		delete(allowed, v)
	}
	for _, v := range []string{
		"$context.requestId", "$context.httpMethod", "$context.resourcePath", "$context.status",
		"$context.responseLatency", "$context.integration.error",
	} {
		if allowed[v] {
			t.Errorf("access log: %s is missing", v)
		}
	}

	group := ""
	for _, s := range texts(at(api, "AccessLogSetting", "DestinationArn")) {
		_, group, _ = strings.Cut(s, "log-group:${")
		group = strings.TrimSuffix(group, "}")
	}
	if days := number(top, at(top, "Resources", group, "Properties", "RetentionInDays")); days < 1 {
		t.Errorf("access log: log group %q is kept for ever", group)
	}
}

// TestLogRole: an account without any API refuses the role that API Gateway
// writes logs with, so an API has to be there first.
func TestLogRole(t *testing.T) {
	t.Parallel()
	for _, a := range resources(t, load(t), "AWS::ApiGateway::Account") {
		if got := a.body["DependsOn"]; got != "ServerlessRestApi" {
			t.Errorf("%s depends on %v, want ServerlessRestApi", a.id, got)
		}
	}
}

func TestApi(t *testing.T) {
	t.Parallel()
	top := load(t)
	api := objectAt(top, "Globals", "Api")
	if got := api["OpenApiVersion"]; got != "3.0.1" {
		t.Errorf("OpenApiVersion %v, want 3.0.1: without it SAM adds a stage that nobody asked for", got)
	}
	if got := at(api, "EndpointConfiguration", "Type"); got != "REGIONAL" {
		t.Errorf("endpoint %v, want REGIONAL", got)
	}
	if got := api["TracingEnabled"]; got != false {
		t.Errorf("tracing %v, want false: traces keep addresses", got)
	}
	// Whatever type its sender gives a file, its bytes must arrive: what API
	// Gateway takes for text loses all that is not UTF-8. SAM writes ~1 for a slash.
	if diff := cmp.Diff([]any{"*~1*"}, api["BinaryMediaTypes"]); diff != "" {
		t.Errorf("binary media types (-want +got):\n%s", diff)
	}
	settings := listAt(api, "MethodSettings")
	if len(settings) != 1 {
		t.Fatalf("%d method settings, want one for every route", len(settings))
	}
	if s := settings[0]; at(s, "ResourcePath") != "/*" || at(s, "HttpMethod") != "*" {
		t.Errorf("method settings for %v %v, want every route", at(s, "HttpMethod"), at(s, "ResourcePath"))
	}
	for _, name := range []string{"ThrottlingRateLimit", "ThrottlingBurstLimit"} {
		if number(top, at(settings[0], name)) < 1 {
			t.Errorf("%s is not set", name)
		}
	}
	if at(settings[0], "DataTraceEnabled") != false || at(settings[0], "LoggingLevel") != "OFF" {
		t.Errorf("execution logs are on: they hold whole requests")
	}
}
