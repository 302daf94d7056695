// Package spi is the HTTP edge: what Sitoo calls. It finds the account behind a
// request, decodes the body, keeps the till's deadline, and turns an error into
// a status and one sentence that a cashier can act on. It knows API Gateway;
// the domain packages do not.
package spi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/handler"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sentence"
	"sitoo-rule/shared/sitoo"
)

const (
	// defaultBudget is one second less than the 8 s that a till's answer may
	// take: what is noted after Rule has answered, or not, takes up to one.
	defaultBudget = 7 * time.Second
	// maxBody is more than a contact with every member filled in.
	maxBody = 1 << 20
	// maxOrder is more of a body than Lambda passes on, which is about 4.4 MB: an
	// order must not be lost for its length.
	maxOrder = 6 << 20
)

// Edge is what all operations share. It is safe for concurrent use.
type Edge struct {
	Accounts *account.Directory
	Log      *slog.Logger
	Now      func() time.Time
	// Budget is what one request may take but for a last note, 7 s if zero.
	Budget time.Duration
}

// Request is one call as an operation sees it.
type Request struct {
	Account account.Account
	Rule    *rule.Session
	ID      string // API Gateway's request id
	Path    map[string]string
	Query   map[string]string
	Action  string // the last part of the route
	Confirm string // the header X-Confirm
	Body    []byte // passed the option's check if the operation takes a body
	// ContentType and Disposition are the headers that describe a body, "" if
	// the request has none.
	ContentType, Disposition string
	Log                      *slog.Logger
	// Status is what an operation sets of an answer that is no error, if it is not
	// the option's.
	Status int

	note   []any    // what the operation adds to its log line
	counts []string // see Count
	visit  *account.Visit
}

// Note adds to the operation's log line. Values are never personal.
func (r *Request) Note(args ...any) { r.note = append(r.note, args...) }

// Operation answers a request with a value that is sent as JSON.
type Operation func(ctx context.Context, r *Request) (any, error)

// option tells operations apart.
type option struct {
	body    int                // longest body, 0 for an operation without one
	check   func([]byte) error // of the body, sitoo.Check if nil
	durable bool               // what it takes must not be lost: it sees to a refused key itself
	// fresh is for what changes something for good: Rule is asked about the key at
	// that moment, whatever it said before.
	fresh bool
	// first is for what writes before it has called Rule by itself: Rule has
	// accepted the key within account.VerifiedFor, or is asked.
	first bool
	// quiet is for what must release nothing that is parked.
	quiet    bool
	conflict int           // status of fault.Conflict, that of statuses if zero
	status   int           // of an answer that is no error, 200 if zero
	budget   time.Duration // if no till waits, and more than the edge's is needed
}

// handler makes an operation a Lambda handler.
func (e *Edge) handler(name string, o option, op Operation) lambda.Handler {
	return handler.Of(func(ctx context.Context, in events.APIGatewayProxyRequest) (out events.APIGatewayProxyResponse, _ error) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(ctx, max(cmp.Or(e.Budget, defaultBudget), o.budget))
		defer cancel()
		id := in.RequestContext.RequestID
		log := e.Log.With("operation", name, "request", id)
		r := &Request{ID: id, Path: in.PathParameters, Query: in.QueryStringParameters, Action: action(in), Confirm: header(in, "X-Confirm"), Log: log}
		var value any
		var err error
		func() {
			// A defect answers this one request with a sentence; it does not
			// take the process, and the requests after it, down.
			defer func() {
				if p := recover(); p != nil {
					log.ErrorContext(ctx, "panic", "panic", panicText(p), "stack", string(debug.Stack()))
					err = fault.New(fault.Internal, "")
				}
			}()
			value, err = e.run(ctx, o, op, r, in)
		}()
		out = answer(value, err, r.Account.Settings.Language, e.Now())
		switch status := cmp.Or(r.Status, o.status); {
		case err == nil && status != 0:
			out.StatusCode = status
		case err != nil && o.conflict != 0 && fault.KindOf(err) == fault.Conflict:
			out.StatusCode = o.conflict
		}
		e.log(ctx, r, out.StatusCode, err, time.Since(start))
		return out, nil
	})
}

// panicText names a panic without its text, which can hold what was decoded.
func panicText(p any) string {
	if err, ok := errors.AsType[interface {
		error
		RuntimeError()
	}](asError(p)); ok {
		return err.Error()
	}
	return "not a runtime error"
}

func asError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	return errors.New("panic")
}

func (e *Edge) run(ctx context.Context, o option, op Operation, r *Request, in events.APIGatewayProxyRequest) (any, error) {
	token, form := Token(in)
	r.Note("token", form)
	if token == "" {
		return nil, fault.Say(fault.Unauthorized, "key_missing")
	}
	present := e.Accounts.Present
	if o.quiet {
		present = e.Accounts.PresentQuietly
	}
	v, err := present(ctx, token)
	if err != nil {
		return nil, err
	}
	r.visit, r.Account, r.Rule = v, v.Account, v.Rule
	if v.Account.Label != "" {
		r.Note("label", v.Account.Label)
	}
	if err := e.verify(ctx, o, v); err != nil {
		return nil, err
	}
	if o.body > 0 {
		if r.Body, err = body(in, o.body); err != nil {
			return nil, err
		}
		check := o.check
		if check == nil {
			check = sitoo.Check
		}
		if err := check(r.Body); err != nil {
			return nil, err
		}
		r.ContentType, r.Disposition = header(in, "Content-Type"), header(in, "Content-Disposition")
	}
	value, err := op(ctx, r)
	if err == nil && !o.durable {
		// What has not called Rule by itself shows the key to it all the same.
		err = e.Accounts.Verify(ctx, v, account.VerifiedFor)
	}
	if err != nil {
		return nil, err
	}
	return value, nil
}

// verify shows the key to Rule before an operation that must not begin with one
// that Rule refuses.
func (e *Edge) verify(ctx context.Context, o option, v *account.Visit) error {
	switch {
	case o.durable:
		return nil
	case o.fresh:
		return e.Accounts.Verify(ctx, v, 0)
	case o.first || v.Key.Bad():
		return e.Accounts.Verify(ctx, v, account.VerifiedFor)
	}
	return nil
}

func body(in events.APIGatewayProxyRequest, limit int) ([]byte, error) {
	raw := []byte(in.Body)
	if in.IsBase64Encoded {
		var err error
		if raw, err = base64.StdEncoding.DecodeString(in.Body); err != nil {
			return nil, fault.Say(fault.Invalid, "body_not_base64").With(err)
		}
	}
	if len(raw) > limit {
		return nil, fault.Say(fault.TooLarge, "body_too_large", "bytes", len(raw), "most", limit)
	}
	// A till that names another content type still sends JSON; one that sends
	// a form does not, and its body fails the check.
	return []byte(strings.TrimPrefix(string(raw), "\uFEFF")), nil
}

// Token finds the API token in a request. How SPI v1 sends it is not published,
// so every usual form is taken; form names the one that was found, for the log.
func Token(in events.APIGatewayProxyRequest) (token, form string) {
	if auth := header(in, "Authorization"); auth != "" {
		scheme, rest, two := strings.Cut(auth, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case two && strings.EqualFold(scheme, "Bearer"):
			return rest, "bearer"
		case two && strings.EqualFold(scheme, "Basic"):
			return basic(rest)
		case !two && !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "Basic"):
			return auth, "authorization"
		}
	}
	for _, name := range []string{"X-Api-Key", "X-Api-Token"} {
		if v := header(in, name); v != "" {
			return v, strings.ToLower(name)
		}
	}
	if v := in.QueryStringParameters["apikey"]; v != "" {
		return v, "query"
	}
	return "", "none"
}

// header returns a header, by its name in any case.
func header(in events.APIGatewayProxyRequest, name string) string {
	if v, ok := in.Headers[name]; ok {
		return strings.TrimSpace(v)
	}
	for k, v := range in.Headers {
		if strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func basic(encoded string) (token, form string) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		if raw, err = base64.RawStdEncoding.DecodeString(encoded); err != nil {
			return "", "basic, not base64"
		}
	}
	user, password, colon := strings.Cut(string(raw), ":")
	switch {
	case !colon:
		return user, "basic, alone"
	case password == "":
		return user, "basic, as user"
	}
	return password, "basic, as password"
}

// statuses is the one table from kinds of errors to SPI v1's statuses. What is
// 5xx is 503: Sitoo drops for good what is answered with any other.
var statuses = map[fault.Kind]int{
	fault.Invalid:      http.StatusBadRequest,
	fault.TooLarge:     http.StatusRequestEntityTooLarge,
	fault.Unauthorized: http.StatusUnauthorized,
	fault.NotFound:     http.StatusNotFound,
	fault.Conflict:     http.StatusBadRequest,
	fault.Busy:         http.StatusServiceUnavailable,
	fault.Unavailable:  http.StatusServiceUnavailable,
	fault.Internal:     http.StatusServiceUnavailable,
}

func answer(value any, err error, language string, now time.Time) events.APIGatewayProxyResponse {
	out := events.APIGatewayProxyResponse{StatusCode: http.StatusOK, Headers: map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store",
	}}
	if err != nil {
		f := fault.As(err)
		out.StatusCode = statuses[f.Kind]
		if out.StatusCode == http.StatusServiceUnavailable && f.RetryAt.After(now) {
			out.Headers["Retry-After"] = strconv.Itoa(int(f.RetryAt.Sub(now).Seconds()) + 1)
		}
		swedish := ""
		if sentence.OfFile(f.Code) { // whatever the account's, as of the rows of a file
			language, swedish = sentence.English, f.Sentence(sentence.Swedish)
		}
		value = struct {
			Error   string        `json:"error"`
			Message string        `json:"message"`
			Swedish string        `json:"message_sv,omitempty"`
			Member  string        `json:"member,omitempty"`
			Code    string        `json:"code"`
			Args    sentence.Args `json:"args,omitempty"`
			Detail  any           `json:"detail,omitempty"`
		}{f.Kind.String(), f.Sentence(language), swedish, f.Member, f.SentenceCode(), f.Args, f.Detail}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil { // cannot happen: answers are made of plain types
		out.StatusCode = http.StatusServiceUnavailable
		b.Reset()
		b.WriteString(`{"error":"internal","code":"internal","message":"Något gick fel hos oss."}`)
	}
	out.Body = strings.TrimSuffix(b.String(), "\n")
	return out
}

// log writes the one line of an operation.
func (e *Edge) log(ctx context.Context, r *Request, status int, err error, took time.Duration) {
	level, outcome := slog.LevelInfo, "ok"
	args := []any{"status", status, "duration_ms", took.Milliseconds(), "account", r.Account.ID}
	if r.Rule != nil {
		u := r.Rule.Usage()
		args = append(args, "rule_requests", r.Rule.Calls(), "rule_used", u.Used, "rule_errors_percent", u.ErrorsShare)
	}
	if err != nil {
		f := fault.As(err)
		outcome = f.Kind.String()
		args = append(args, "member", f.Member, "error", causes(err))
		if status >= 500 {
			level = slog.LevelError
		}
	}
	r.Log.Log(ctx, level, "done", slices.Concat(args, []any{"outcome", outcome}, r.note, embedded(r.counts, e.Now()))...)
}

// causes is the text of an error for the log, without the sentences of
// Invalid, which can quote what a person typed.
func causes(err error) string {
	f := fault.As(err)
	if f.Kind == fault.Invalid || f.Kind == fault.TooLarge {
		if f.Err == nil {
			return f.Kind.String()
		}
		if e, ok := errors.AsType[*rule.Error](f.Err); ok {
			return e.Error()
		}
		return f.Kind.String()
	}
	return err.Error()
}

// contactID reads the path's id: Rule's numeric subscriber id.
func contactID(r *Request) (int64, error) {
	raw := r.Path["contactid"]
	id, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || id <= 0 || raw[0] == '+' {
		return 0, fault.SayBad("contactid", "contactid_wrong")
	}
	return id, nil
}
