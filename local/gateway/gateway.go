// Package gateway is Amazon API Gateway (REST API, Lambda proxy integration) as
// far as a till can tell: it turns HTTP requests into the events that the service
// sends, and what functions answer into HTTP, with the service's limits and
// faults. Routes and gateway responses are the template's.
//
// The service's rules are from
// https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
// and api-gateway-known-issues.html beside it.
package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"sitoo-rule/local/invocation"
	"sitoo-rule/local/template"
)

// Limits of the service.
const (
	MaxBody     = 10 << 20         // bytes of a request's body that API Gateway takes
	MaxEvent    = 6 << 20          // bytes of an event that Lambda takes
	MaxResponse = 6<<20 + 100      // bytes that Lambda takes from a function
	MaxWait     = 29 * time.Second // how long API Gateway waits for a function
)

// Invoke runs a function; see invocation.Invoke.
type Invoke = invocation.Invoke

// Config is what New needs.
type Config struct {
	// Template declares routes, functions, gateway responses and binary media
	// types. It is one that template.Parse returned.
	Template *template.Template
	// Invoke runs the functions.
	Invoke Invoke
	// Log gets one line per request: method, resource path, status, duration
	// and request id, and with a fault its type and cause. It never gets a
	// query string or the values in a path. Nil logs nothing.
	Log *slog.Logger
	// Stage is the stage's name in events, "local" if empty. It is not part of
	// the URL, as with a custom domain.
	Stage string
	// NewID returns a new request id; nil takes random UUIDs.
	NewID func() string
	// Throttle, the clock that the template's limits go by. Nil has no limits: a
	// test may ask faster than a till.
	Throttle func() time.Time
	// Wait is how long it waits for a function, MaxWait if 0: a test may run on a
	// machine with much else to do.
	Wait time.Duration
}

// New returns the handler that serves every route of the template. Requests for
// other paths get what the service answers: 403 Missing Authentication Token.
//
// Like the service it does not stop a function when the client goes away, and
// one that runs past MaxWait goes on after its caller has been answered.
func New(c Config) http.Handler {
	g := &gateway{
		invoke:    c.Invoke,
		log:       c.Log,
		stage:     c.Stage,
		newID:     c.NewID,
		routes:    newRouter(c.Template.Routes),
		functions: map[string]template.Function{},
		responses: c.Template.GatewayResponses,
		binary:    c.Template.BinaryMediaTypes,
		wait:      cmp.Or(c.Wait, MaxWait),
	}
	for _, f := range c.Template.Functions {
		g.functions[f.ID] = f
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.stage == "" {
		g.stage = "local"
	}
	if g.newID == nil {
		g.newID = newID
	}
	if c.Throttle != nil {
		g.throttle = &throttle{limits: c.Template.Throttles, now: c.Throttle, buckets: map[string]*bucket{}}
	}
	return g
}

type gateway struct {
	invoke    Invoke
	log       *slog.Logger
	stage     string
	newID     func() string
	routes    *router
	functions map[string]template.Function // by logical id
	responses map[string]template.GatewayResponse
	binary    []string
	throttle  *throttle
	wait      time.Duration
}

// exchange is one request on its way through.
type exchange struct {
	start      time.Time
	requestID  string
	extendedID string
	trace      string
	match      match
	function   template.Function
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{start: time.Now(), requestID: g.newID(), extendedID: g.newID()}
	x.trace = fmt.Sprintf("Root=1-%08x-%x", x.start.Unix(), randomBytes(12))
	w.Header().Set("X-Amzn-Requestid", x.requestID)
	w.Header().Set("X-Amz-Apigw-Id", x.extendedID)

	status, fault := g.serve(w, r, x)
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("resource", x.match.path),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(time.Since(x.start).Microseconds())/1000),
		slog.String("request_id", x.requestID),
		slog.String("source_ip", sourceIP(r)),
	}
	level := slog.LevelInfo
	if fault != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("fault", fault.kind.name), slog.String("cause", fault.cause.Error()))
	}
	g.log.LogAttrs(r.Context(), level, "request", attrs...)
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request, x *exchange) (int, *fault) {
	resp, f := g.exchange(r, x)
	if f != nil {
		return g.writeFault(w, r, x, f), f
	}
	w.Header().Set("X-Amzn-Trace-Id", x.trace)
	return resp.write(w), nil
}

func (g *gateway) exchange(r *http.Request, x *exchange) (*response, *fault) {
	var found bool
	if x.match, found = g.routes.find(r.Method, r.URL.EscapedPath()); !found {
		return nil, &fault{missingToken, errors.New("no route")}
	}
	if !g.throttle.allow(r.Method, x.match.path) {
		return nil, &fault{throttled, errors.New("the route's limit is reached")}
	}
	x.function, found = g.functions[x.match.function]
	if !found {
		return nil, &fault{integrationFailure, fmt.Errorf("function %q is not declared", x.match.function)}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return nil, &fault{badBody, fmt.Errorf("read body: %w", err)}
	}
	if len(body) > MaxBody {
		return nil, &fault{tooLarge, fmt.Errorf("the body is over %d bytes", MaxBody)}
	}
	payload, err := g.event(r, x, body)
	if err != nil {
		return nil, &fault{integrationFailure, err}
	}
	if len(payload) > MaxEvent {
		return nil, &fault{tooLarge, fmt.Errorf("the event is over %d bytes", MaxEvent)}
	}
	out, f := g.call(r.Context(), x, payload)
	if f != nil {
		return nil, f
	}
	if len(out) > MaxResponse {
		return nil, &fault{integrationFailure, fmt.Errorf("%s answered with over %d bytes", x.function.Name, MaxResponse)}
	}
	return g.response(r, out)
}

// call runs the function under its time-out and the gateway's. The service tells
// a function's own time-out as 502 and its own as 504; here both are 504, the
// one a reader would look for.
func (g *gateway) call(parent context.Context, x *exchange, payload []byte) ([]byte, *fault) {
	call := invocation.Start(context.WithoutCancel(parent), x.function, g.newID(), g.invoke, payload, func(run func()) { go run() })
	limit := time.NewTimer(g.wait)
	defer limit.Stop()
	out, err := call.Wait(limit.C)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, invocation.ErrLeft):
		return nil, &fault{integrationTimeout, fmt.Errorf("%s did not answer within %v", x.function.Name, g.wait)}
	case errors.Is(err, invocation.ErrTimeout):
		return nil, &fault{integrationTimeout, fmt.Errorf("%s %w", x.function.Name, err)}
	default:
		return nil, &fault{integrationFailure, fmt.Errorf("%s: %w", x.function.Name, err)}
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}

// newID returns a random UUID, version 4.
func newID() string {
	b := randomBytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
