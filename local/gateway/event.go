package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sitoo-rule/local/template"
)

// event is the JSON that the service sends, with its nulls where
// events.APIGatewayProxyRequest would leave a member out.
type event struct {
	Resource              string              `json:"resource"`
	Path                  string              `json:"path"`
	HTTPMethod            string              `json:"httpMethod"`
	Headers               map[string]string   `json:"headers"`
	MultiValueHeaders     map[string][]string `json:"multiValueHeaders"`
	QueryString           map[string]string   `json:"queryStringParameters"`
	MultiValueQueryString map[string][]string `json:"multiValueQueryStringParameters"`
	PathParameters        map[string]string   `json:"pathParameters"`
	StageVariables        map[string]string   `json:"stageVariables"`
	RequestContext        requestContext      `json:"requestContext"`
	Body                  *string             `json:"body"`
	IsBase64Encoded       bool                `json:"isBase64Encoded"`
}

type requestContext struct {
	ResourceID        string   `json:"resourceId"`
	ResourcePath      string   `json:"resourcePath"`
	HTTPMethod        string   `json:"httpMethod"`
	ExtendedRequestID string   `json:"extendedRequestId"`
	RequestTime       string   `json:"requestTime"`
	Path              string   `json:"path"`
	AccountID         string   `json:"accountId"`
	Protocol          string   `json:"protocol"`
	Stage             string   `json:"stage"`
	DomainPrefix      string   `json:"domainPrefix"`
	RequestTimeEpoch  int64    `json:"requestTimeEpoch"`
	RequestID         string   `json:"requestId"`
	Identity          identity `json:"identity"`
	DomainName        string   `json:"domainName"`
	APIID             string   `json:"apiId"`
}

// identity is that of a caller without AWS credentials: all but the address and
// the user agent is null.
type identity struct {
	CognitoIdentityPoolID         *string `json:"cognitoIdentityPoolId"`
	AccountID                     *string `json:"accountId"`
	CognitoIdentityID             *string `json:"cognitoIdentityId"`
	Caller                        *string `json:"caller"`
	SourceIP                      string  `json:"sourceIp"`
	PrincipalOrgID                *string `json:"principalOrgId"`
	AccessKey                     *string `json:"accessKey"`
	CognitoAuthenticationType     *string `json:"cognitoAuthenticationType"`
	CognitoAuthenticationProvider *string `json:"cognitoAuthenticationProvider"`
	UserArn                       *string `json:"userArn"`
	UserAgent                     *string `json:"userAgent"`
	User                          *string `json:"user"`
}

const apiID = "local"

// requestTime is the layout of requestContext.requestTime.
const requestTime = "02/Jan/2006:15:04:05 -0700"

// hopByHop are request headers that end at the gateway.
var hopByHop = []string{
	"Connection", "Expect", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (g *gateway) event(r *http.Request, x *exchange, body []byte) ([]byte, error) {
	path := r.URL.EscapedPath()
	ip := sourceIP(r)
	domain, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		domain = r.Host
	}
	prefix, _, _ := strings.Cut(domain, ".")
	e := event{
		Resource:          x.match.path,
		Path:              path,
		HTTPMethod:        r.Method,
		MultiValueHeaders: g.headers(r, x, ip),
		RequestContext: requestContext{
			ResourceID:        apiID,
			ResourcePath:      x.match.path,
			HTTPMethod:        r.Method,
			ExtendedRequestID: x.extendedID,
			RequestTime:       x.start.UTC().Format(requestTime),
			Path:              "/" + g.stage + path,
			AccountID:         template.AccountID,
			Protocol:          r.Proto,
			Stage:             g.stage,
			DomainPrefix:      prefix,
			RequestTimeEpoch:  x.start.UnixMilli(),
			RequestID:         x.requestID,
			Identity:          identity{SourceIP: ip},
			DomainName:        domain,
			APIID:             apiID,
		},
	}
	e.Headers = lasts(e.MultiValueHeaders)
	if len(x.match.params) > 0 {
		e.PathParameters = x.match.params
	}
	if query := parseQuery(r.URL.RawQuery); len(query) > 0 {
		e.MultiValueQueryString, e.QueryString = query, lasts(query)
	}
	if agent := r.UserAgent(); agent != "" {
		e.RequestContext.Identity.UserAgent = &agent
	}
	if len(body) > 0 {
		text := string(body)
		if e.IsBase64Encoded = g.isBinary(r.Header.Get("Content-Type")); e.IsBase64Encoded {
			text = base64.StdEncoding.EncodeToString(body)
		}
		// A body of another media type is text to the service: what is not
		// UTF-8 in it becomes U+FFFD, which encoding/json does too.
		e.Body = &text
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // escapes would count towards the limit
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (g *gateway) headers(r *http.Request, x *exchange, ip string) map[string][]string {
	h := r.Header.Clone()
	for _, name := range hopByHop {
		h.Del(name)
	}
	h.Set("Host", r.Host)
	forwarded := append(h.Values("X-Forwarded-For"), ip)
	h.Set("X-Forwarded-For", strings.Join(forwarded, ", "))
	proto, port := "http", "80"
	if r.TLS != nil {
		proto, port = "https", "443"
	}
	if _, p, err := net.SplitHostPort(r.Host); err == nil {
		port = p
	}
	h.Set("X-Forwarded-Proto", proto)
	h.Set("X-Forwarded-Port", port)
	h.Set("X-Amzn-Trace-Id", x.trace)
	return h
}

// parseQuery decodes a query string. Unlike url.ParseQuery it keeps what it can:
// a pair with a broken escape is passed on as it came, and a semicolon is part of
// a value.
func parseQuery(raw string) map[string][]string {
	query := map[string][]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		k, v = unescape(k), unescape(v)
		query[k] = append(query[k], v)
	}
	return query
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// lasts keeps each name's last value, as the service does.
func lasts(multi map[string][]string) map[string]string {
	single := make(map[string]string, len(multi))
	for k, vs := range multi {
		if len(vs) > 0 {
			single[k] = vs[len(vs)-1]
		}
	}
	return single
}

func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// isBinary tells whether a Content-Type is among the binary media types. The
// service takes a missing one for application/json.
func (g *gateway) isBinary(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		mediaType, _, _ = strings.Cut(contentType, ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	}
	if mediaType == "" {
		mediaType = "application/json"
	}
	major, _, _ := strings.Cut(mediaType, "/")
	return slices.ContainsFunc(g.binary, func(declared string) bool {
		return declared == "*/*" || declared == mediaType || declared == major+"/*"
	})
}

// context returns what $context stands for in a gateway response.
func (g *gateway) context(r *http.Request, x *exchange, f *fault) map[string]string {
	c := map[string]string{
		"accountId":                   template.AccountID,
		"apiId":                       apiID,
		"stage":                       g.stage,
		"requestId":                   x.requestID,
		"extendedRequestId":           x.extendedID,
		"httpMethod":                  r.Method,
		"path":                        "/" + g.stage + r.URL.EscapedPath(),
		"protocol":                    r.Proto,
		"resourcePath":                x.match.path,
		"requestTime":                 x.start.UTC().Format(requestTime),
		"requestTimeEpoch":            fmt.Sprint(x.start.UnixMilli()),
		"identity.sourceIp":           sourceIP(r),
		"error.message":               f.kind.message,
		"error.messageString":         quote(f.kind.message),
		"error.responseType":          f.kind.name,
		"identity.userAgent":          r.UserAgent(),
		"error.validationErrorString": "",
	}
	maps.DeleteFunc(c, func(_, v string) bool { return v == "" })
	return c
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
