package gateway

import (
	"net/http"
	"regexp"
	"strings"

	"sitoo-rule/local/template"
)

// faultKind is one type of gateway response. Statuses and messages are the
// service's own where the template does not replace them.
type faultKind struct {
	name      string
	status    int
	message   string
	errorType string
}

var (
	missingToken = faultKind{"MISSING_AUTHENTICATION_TOKEN", http.StatusForbidden, "Missing Authentication Token", "MissingAuthenticationTokenException"}
	badBody      = faultKind{"BAD_REQUEST_BODY", http.StatusBadRequest, "Invalid request body", "BadRequestException"}
	tooLarge     = faultKind{"REQUEST_TOO_LARGE", http.StatusRequestEntityTooLarge, "Request Too Long", "RequestTooLongException"}
	// The documented status of INTEGRATION_FAILURE is 504; for a function that
	// failed or answered what is no proxy response the service sends 502.
	integrationFailure = faultKind{"INTEGRATION_FAILURE", http.StatusBadGateway, "Internal server error", "InternalServerErrorException"}
	integrationTimeout = faultKind{"INTEGRATION_TIMEOUT", http.StatusGatewayTimeout, "Endpoint request timed out", "InternalServerErrorException"}
	configuration      = faultKind{"API_CONFIGURATION_ERROR", http.StatusInternalServerError, "Internal server error", "InternalServerErrorException"}
)

// fault is a request that no function answered, or not usably.
type fault struct {
	kind  faultKind
	cause error // for the log
}

// gatewayResponse returns what the template says about a kind of fault: its own
// entry, else the default's for its class, else nothing.
func (g *gateway) gatewayResponse(k faultKind) template.GatewayResponse {
	if resp, ok := g.responses[k.name]; ok {
		return resp
	}
	if k.status >= 500 {
		return g.responses["DEFAULT_5XX"]
	}
	return g.responses["DEFAULT_4XX"]
}

func (g *gateway) writeFault(w http.ResponseWriter, r *http.Request, x *exchange, f *fault) int {
	resp := g.gatewayResponse(f.kind)
	status, body := resp.Status, resp.Body
	if status == 0 {
		status = f.kind.status
	}
	if body == "" {
		body = `{"message":$context.error.messageString}`
	}
	values := g.context(r, x, f)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Errortype", f.kind.errorType)
	for name, expr := range resp.Headers {
		name = strings.TrimPrefix(name, "gatewayresponse.header.")
		if literal, ok := strings.CutPrefix(expr, "'"); ok {
			h.Set(name, strings.TrimSuffix(literal, "'"))
		} else if key, ok := strings.CutPrefix(expr, "context."); ok {
			h.Set(name, values[key])
		} else if key, ok := strings.CutPrefix(expr, "method.request.header."); ok {
			h.Set(name, r.Header.Get(key))
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(expand(body, values))) // the client is gone, and nobody else to tell
	return status
}

var variable = regexp.MustCompile(`\$(\{context\.[A-Za-z.]+\}|context\.[A-Za-z]+(\.[A-Za-z]+)*)`)

// expand fills in a gateway response's template. It is not VTL in the service
// either: variables, and nothing else. An unknown one becomes nothing.
func expand(body string, values map[string]string) string {
	return variable.ReplaceAllStringFunc(body, func(s string) string {
		return values[strings.TrimPrefix(strings.Trim(s, "${}"), "context.")]
	})
}
