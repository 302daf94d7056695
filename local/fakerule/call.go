package fakerule

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// A route is one documented call; a "*" segment is an argument.
type route struct {
	name     string
	method   string
	segments []string
	handle   func(*call) reply
}

func handle(pattern string, h func(*call) reply) route {
	method, path, _ := strings.Cut(pattern, " ")
	segments, _ := split(path)
	return route{name: pattern, method: method, segments: segments, handle: h}
}

// match finds the route of a request. known says that the path exists, if only
// for another method. Routes with a literal segment stand before those with an
// argument in its place.
func (s *Server) match(method string, segments []string) (rt route, args []string, known bool) {
	for _, rt := range s.routes {
		args, ok := rt.fits(segments)
		if !ok {
			continue
		}
		known = true
		if rt.method == method {
			return rt, args, true
		}
	}
	return route{}, nil, known
}

func (rt route) fits(segments []string) (args []string, ok bool) {
	if len(segments) != len(rt.segments) {
		return nil, false
	}
	for i, want := range rt.segments {
		switch {
		case want == "*":
			args = append(args, segments[i])
		case want != segments[i]:
			return nil, false
		}
	}
	return args, true
}

// split cuts an escaped path into unescaped segments, so that an escaped slash
// stays inside its segment. A slash at the end says nothing, and a plus is a
// space, as in a query.
func split(escaped string) ([]string, bool) {
	escaped = strings.Trim(escaped, "/")
	if escaped == "" {
		return nil, true
	}
	segments := strings.Split(escaped, "/")
	for i, seg := range segments {
		plain, err := url.QueryUnescape(seg)
		if err != nil {
			return nil, false
		}
		segments[i] = plain
	}
	return segments, true
}

// A reply is an answer that is not sent yet.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func jsonReply(status int, v any) reply {
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: encode(v)}
}

// encode returns v as JSON without escaping HTML, as Rule does not either. v is
// made of our own types; the only foreign part, raw JSON, was checked on its
// way in.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("fakerule: a reply cannot be encoded: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func noContent() reply { return reply{status: http.StatusNoContent} }

// A call is one request on its way through a handler. Handlers run with the
// account locked.
type call struct {
	srv   *Server
	acc   *account
	r     *http.Request
	v3    bool
	body  []byte
	args  []string
	query url.Values
	now   time.Time
}

// fail is an error answer that both versions shape alike.
func (c *call) fail(status int, code, message string) reply {
	return jsonReply(status, map[string]string{"error": code, "message": message})
}

func (c *call) noSubscriber() reply {
	return c.fail(http.StatusNotFound, "SubscriberNotFound", "Could not find subscriber")
}

// problems are what is wrong with a request's body, by member.
type problems map[string][]string

func (p problems) add(member, message string) { p[member] = append(p[member], message) }

// refuse is the version's answer to problems: v2 400 with fields, v3 422 with
// errors.
func (c *call) refuse(p problems) reply {
	if c.v3 {
		return jsonReply(http.StatusUnprocessableEntity, map[string]any{"message": "The given data was invalid.", "errors": p})
	}
	return jsonReply(http.StatusBadRequest, map[string]any{
		"error": "BadRequest", "message": "Some fields could not be validated", "fields": p,
	})
}

func (c *call) refuseOne(member, message string) reply {
	return c.refuse(problems{member: {message}})
}

// decode reads the body into v, whose members are raw JSON, so that it fails
// only for a body that is not an object. The second result is the refusal.
func (c *call) decode(v any) (reply, bool) {
	media, params, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return c.fail(http.StatusBadRequest, "BadRequest", "The content type must be application/json."), false
	}
	// v3 requires the charset; an ordinary client that leaves it out fails
	// silently on the real thing, so here it fails aloud.
	if c.v3 && !strings.EqualFold(strings.ReplaceAll(params, " ", ""), "charset=utf-8") {
		return c.fail(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content type must be application/json;charset=utf-8."), false
	}
	if trimmed := bytes.TrimSpace(c.body); len(trimmed) == 0 || trimmed[0] != '{' {
		return c.fail(http.StatusBadRequest, "BadRequest", "The body must be a JSON object."), false
	}
	if !utf8.Valid(c.body) {
		return c.fail(http.StatusBadRequest, "BadRequest", "The body is not UTF-8."), false
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return c.refuseOne(wrong.Field, "Has the wrong type."), false
		}
		return c.fail(http.StatusBadRequest, "BadRequest", "The body is not valid JSON."), false
	}
	return reply{}, true
}
