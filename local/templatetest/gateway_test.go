package templatetest_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/sentence"

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

// sendAgain are the answers to what was right and came too often, or looked like
// an attack: Sitoo sends again what is answered with 503.
var sendAgain = map[string]bool{"THROTTLED": true, "QUOTA_EXCEEDED": true, "WAF_FILTERED": true}

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
		case sendAgain[name]:
			after := textAt(body, "ResponseParameters", "Headers", "Retry-After")
			if status != 503 || !regexp.MustCompile(`^'[1-9][0-9]*'$`).MatchString(after) {
				t.Errorf("%s: status %v and Retry-After %q, want 503 and seconds in quotation marks: what was turned away is sent again", name, body["StatusCode"], after)
			}
		case status < 400 || status > 499:
			t.Errorf("%s: status %v, want a 4xx", name, body["StatusCode"])
		}

		text := textAt(body, "ResponseTemplates", "application/json")
		var answer struct{ Error, Message, Code string }
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&answer); err != nil {
			t.Errorf("%s: body %q: %v", name, text, err)
		}
		if !word.MatchString(answer.Error) || !strings.HasSuffix(answer.Message, ".") {
			t.Errorf("%s: body %q, want a machine word and a sentence", name, text)
		}
		sv, ok := sentence.Text(sentence.Swedish, answer.Code, nil)
		en, _ := sentence.Text(sentence.English, answer.Code, nil)
		if !ok || answer.Message != sv+" "+en {
			t.Errorf("%s: %q is not the catalogue's sentence of the code %q in both languages, Swedish first", name, answer.Message, answer.Code)
		}
		if strings.ContainsAny(text, "$#") || strings.ContainsFunc(text, func(r rune) bool { return r > 126 }) {
			t.Errorf("%s: body %q is a template: $context.error.message can hold the API token", name, text)
		}
	}
	for name, want := range map[string]int{
		"MISSING_AUTHENTICATION_TOKEN": 404, "REQUEST_TOO_LARGE": 413,
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
	// ids and perhaps the token, an error message the Authorization header. The
	// address that a request came from tells one who floods the API from a till.
	allowed := map[string]bool{
		"$context.identity.sourceIp": true,
		"$context.requestId":         true, "$context.requestTimeEpoch": true, "$context.httpMethod": true,
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
		"$context.responseLatency", "$context.integration.error", "$context.identity.sourceIp",
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
	limits := map[string][2]int{}
	for _, m := range settings {
		route := textAt(m, "HttpMethod") + " " + strings.ReplaceAll(strings.TrimPrefix(textAt(m, "ResourcePath"), "/"), "~1", "/")
		limits[route] = [2]int{number(top, at(m, "ThrottlingRateLimit")), number(top, at(m, "ThrottlingBurstLimit"))}
		if at(m, "DataTraceEnabled") != false || at(m, "LoggingLevel") != "OFF" {
			t.Errorf("%s: execution logs are on: they hold whole requests", route)
		}
	}
	every, orders := limits["* *"], limits["POST /sitoo/transactions"]
	if every[0] < 1 || every[1] < 1 || orders[0] <= every[0] || orders[1] <= every[1] {
		t.Errorf("limits %v, want some for every route, and higher ones for orders", limits)
	}
	// What Sitoo brings and would send again is not kept out by a flood elsewhere.
	for route := range limits {
		if route != "* *" && !slices.ContainsFunc(events(t, top), func(e event) bool { return textAt(e.body, "Method")+" "+textAt(e.body, "Path") == route }) {
			t.Errorf("%s has a limit and is no route", route)
		}
	}
}

// TestDomain: an operator's own host name leads to the API, over TLS 1.2 at the
// least, only where it is asked for, and with a certificate.
func TestDomain(t *testing.T) {
	t.Parallel()
	top := load(t)
	for _, d := range resources(t, top, "AWS::ApiGateway::DomainName") {
		if d.body["Condition"] != "HasDomain" || d.at("SecurityPolicy") != "TLS_1_2" || target(d.at("RegionalCertificateArn")) != "DomainCertificateArn" {
			t.Errorf("%s: %v, want it under its condition, with TLS 1.2 and the certificate", d.id, d.body)
		}
	}
	for _, m := range resources(t, top, "AWS::ApiGateway::BasePathMapping") {
		if m.body["Condition"] != "HasDomain" || target(m.at("RestApiId")) != "ServerlessRestApi" || m.at("BasePath") != nil {
			t.Errorf("%s: %v, want the whole API, without a path of its own", m.id, m.body)
		}
	}
	if rule := at(top, "Rules", "DomainHasCertificate", "Assertions"); rule == nil {
		t.Error("a name without a certificate is not refused")
	}
	for _, name := range []string{"DomainName", "DomainCertificateArn", "DomainZoneId"} {
		if got := at(top, "Parameters", name, "Default"); got != "" {
			t.Errorf("%s is %v by default, want nothing", name, got)
		}
	}
}
