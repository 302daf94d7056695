package spi

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/handler"
)

// UnknownRoute answers whatever else arrives below the base path: 404, and one
// log line with the method, the path and the shape of the body, members' names
// and types but no values. Parts of Sitoo's SPI are not published; that line is
// how its first call tells what they are. It needs nothing but a log.
func UnknownRoute(log *slog.Logger, now func() time.Time) lambda.Handler {
	return handler.Of(func(ctx context.Context, in events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
		start := time.Now()
		_, form := Token(in)
		var shaped string
		if raw, err := body(in, maxBody); err == nil {
			shaped = Shape(raw)
		} else {
			shaped = fault.KindOf(err).String()
		}
		var query []string
		for name := range in.QueryStringParameters {
			query = append(query, shapeName(name))
		}
		slices.Sort(query)
		out := answer(nil, fault.Say(fault.NotFound, "no_such_url"), "", now())
		log.WarnContext(ctx, "done", "operation", "unknown-route", "request", in.RequestContext.RequestID, "outcome", "not_found", "status", out.StatusCode,
			"duration_ms", time.Since(start).Milliseconds(), "method", shapeName(in.HTTPMethod), "path", shapePath(in.Path), "query", strings.Join(query, ","), "body", shaped, "token", form)
		return out, nil
	})
}

const (
	maxShape  = 2000 // characters of a shape
	shapeDeep = 6    // levels of a shape
)

// Shape describes a JSON document by its members' names and types. An array is
// described by its first element and its length.
func Shape(raw []byte) string {
	if len(strings.TrimSpace(string(raw))) == 0 {
		return "empty"
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return "not JSON, " + strconv.Itoa(len(raw)) + " bytes"
	}
	var b strings.Builder
	shape(&b, v, 0)
	return cutText(b.String(), maxShape)
}

func shape(b *strings.Builder, v any, depth int) {
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
			b.WriteString(shapeName(name) + ":")
			shape(b, v[name], depth+1)
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		if len(v) > 0 && depth < shapeDeep {
			shape(b, v[0], depth+1)
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

// shapeName keeps a name that looks like one; anything else could be a value.
func shapeName(s string) string {
	// One digit at the end belongs to names such as invoice_address2.
	letters := strings.TrimRight(s, "0123456789")
	plain := len(s) <= 40 && len(s)-len(letters) <= 1 && !strings.ContainsFunc(letters, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == '-')
	})
	if plain {
		return s
	}
	return "?"
}

// shapePath keeps the words of a path and hides its ids, addresses and numbers.
func shapePath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = shapeName(p)
	}
	return cutText(strings.Join(parts, "/"), 300)
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
