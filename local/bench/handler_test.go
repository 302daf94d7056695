package bench_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sitoo-rule/local/stack"
)

// BenchmarkHandler measures what the connector itself adds to a call: the time
// and the allocations of a function from event to answer, with the accounts in
// memory and a Rule that answers at once. x-noop compares the time with that of
// noop, a function that decodes the same event and answers "[]".
func BenchmarkHandler(b *testing.B) {
	r := newRule(b)
	handlers, payloads := map[string]lambda.Handler{}, map[string][]byte{}
	s := newShop(b, r, stack.Options{
		RuleURL: inMemory, HTTP: &http.Client{Transport: &replay{next: direct{r}}},
		Wrap: func(function string, h lambda.Handler) lambda.Handler {
			handlers[function] = h
			return capture{h, func(payload []byte) { payloads[function] = bytes.Clone(payload) }}
		},
	})
	ctx := lambdacontext.NewContext(context.Background(), &lambdacontext.LambdaContext{AwsRequestID: "bench"})
	invoke := func(h lambda.Handler, payload []byte) func() {
		return func() {
			if _, err := h.Invoke(ctx, payload); err != nil {
				b.Fatal(err)
			}
		}
	}
	noop := lambda.NewHandler(func(context.Context, events.APIGatewayProxyRequest) (events.APIGatewayProxyResponse, error) {
		return events.APIGatewayProxyResponse{
			StatusCode: http.StatusOK, Headers: map[string]string{"Content-Type": "application/json"}, Body: "[]",
		}, nil
	})
	for _, f := range []struct{ name, path string }{
		{"contact-lookup", "/lookup_contacts?key=0701740605"},
		{"contact-get", "/contacts/" + knownID},
	} {
		s.call("GET", f.path, nil)
		nothing, it := invoke(noop, payloads[f.name]), invoke(handlers[f.name], payloads[f.name])
		if f.name == "contact-lookup" {
			b.Run("noop", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					nothing()
				}
			})
		}
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				it()
			}
			b.ReportMetric(ratio(it, nothing), "x-noop")
		})
	}
}

// ratio returns how many times as long as b a takes. Both run in turns, and the
// median counts, so that whatever else the machine does meets both.
func ratio(a, b func()) float64 {
	const turns, calls = 31, 100
	timed := func(f func()) float64 {
		start := time.Now()
		for range calls {
			f()
		}
		return time.Since(start).Seconds()
	}
	ratios := make([]float64, turns)
	for i := range ratios {
		base := timed(b)
		ratios[i] = timed(a) / base
	}
	return median(ratios)
}

// capture shows a function's events on their way.
type capture struct {
	lambda.Handler
	show func(payload []byte)
}

// Invoke implements lambda.Handler.
func (c capture) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	c.show(payload)
	return c.Handler.Invoke(ctx, payload)
}

// replay answers a GET that it has seen before as it was answered then, at once.
type replay struct {
	next http.RoundTripper
	seen sync.Map // of answer by URL
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// RoundTrip implements http.RoundTripper.
func (p *replay) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return p.next.RoundTrip(r)
	}
	target := r.URL.String()
	v, ok := p.seen.Load(target)
	if !ok {
		res, err := p.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		v, _ = p.seen.LoadOrStore(target, answer{res.StatusCode, res.Header, body})
	}
	a := v.(answer)
	return &http.Response{
		StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
	}, nil
}
