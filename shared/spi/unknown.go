package spi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/handler"
)

// knownWithin bounds the question whether a key is known: the answer to the
// call does not wait long for what only the log has.
const knownWithin = time.Second

// UnknownRoute answers whatever else arrives below the base path: 404, and one
// log line with the method, the path and the shape of the body, members' types
// but no values. Parts of Sitoo's SPI are not published; for a key that known
// reports to be a shop's, that line has the plain words of the path and the
// members' names too, which is how Sitoo's first call tells what they are. Of
// anyone else it has no word. A nil known knows no key.
func UnknownRoute(known func(ctx context.Context, token string) bool, log *slog.Logger, now func() time.Time) lambda.Handler {
	return handler.Of(func(ctx context.Context, in events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
		start := time.Now()
		token, form := Token(in)
		words := words(noWord)
		if known != nil && token != "" {
			asked, cancel := context.WithTimeout(ctx, knownWithin)
			if known(asked, token) {
				words = plainWord
			}
			cancel()
		}
		var shaped string
		if raw, err := body(in, maxBody); err == nil {
			shaped = words.shape(raw)
		} else {
			shaped = fault.KindOf(err).String()
		}
		var query []string
		for name := range in.QueryStringParameters {
			query = append(query, words(name))
		}
		slices.Sort(query)
		out := answer(nil, fault.Say(fault.NotFound, "no_such_url"), "", now())
		log.WarnContext(ctx, "done", "operation", "unknown-route", "request", in.RequestContext.RequestID, "outcome", "not_found", "status", out.StatusCode,
			"duration_ms", time.Since(start).Milliseconds(), "method", shapeMethod(in.HTTPMethod), "path", words.path(in.Path), "query", cutText(strings.Join(query, ","), maxPath),
			"body", shaped, "token", form)
		return out, nil
	})
}

const (
	maxShape  = 2000 // characters of a shape
	shapeDeep = 6    // levels of a shape
	maxPath   = 300  // characters of a path, and of the query's names
	maxWord   = 24   // characters of a word
	hidden    = "{text}"
)

// words says what stands in the log for a part of a path or a member's name.
type words func(part string) string

// noWord hides everything.
func noWord(string) string { return hidden }

// plainWord keeps what is a word of an interface, lower-case letters, _ and -;
// anything else could be a person's or a secret.
func plainWord(part string) string {
	if len(part) > maxWord || part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz_-") != "" {
		return hidden
	}
	return part
}

// Shape describes a JSON document by its members' names, as far as they are
// plain words, and types. An array is described by its first element and its
// length.
func Shape(raw []byte) string { return words(plainWord).shape(raw) }

func (w words) shape(raw []byte) string {
	if len(strings.TrimSpace(string(raw))) == 0 {
		return "empty"
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return "not JSON, " + strconv.Itoa(len(raw)) + " bytes"
	}
	var b strings.Builder
	w.describe(&b, v, 0)
	return cutText(b.String(), maxShape)
}

func (w words) describe(b *strings.Builder, v any, depth int) {
	if b.Len() > maxShape {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if depth == shapeDeep {
			b.WriteString("object")
			return
		}
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(w(name) + ":")
			w.describe(b, v[name], depth+1)
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		if len(v) > 0 && depth < shapeDeep {
			w.describe(b, v[0], depth+1)
		}
		b.WriteString("]x" + strconv.Itoa(len(v)))
	case string:
		b.WriteString("string")
	case float64:
		b.WriteString("number")
	case bool:
		b.WriteString("bool")
	default:
		b.WriteString("null")
	}
}

// shapeMethod keeps a method of HTTP.
func shapeMethod(s string) string {
	switch s {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "":
		return s
	}
	return hidden
}

// path keeps the words of a path and hides its ids, addresses and numbers.
func (w words) path(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if p != "" {
			parts[i] = w(p)
		}
	}
	return cutText(strings.Join(parts, "/"), maxPath)
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
