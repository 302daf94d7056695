// Package handler makes a Go function of an event a Lambda handler.
package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
)

// Of returns the handler that decodes its payload for f and encodes f's answer.
//
// lambda.NewHandler is not used: it takes the buffer of an answer back before
// the answer has been read, which is safe only for a process that has one
// invocation at a time. The local stack has more.
func Of[In, Out any](f func(context.Context, In) (Out, error)) lambda.Handler {
	return of(func(ctx context.Context, payload []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(payload, &in); err != nil {
			return nil, fmt.Errorf("decode event: %w", err)
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(out); err != nil {
			return nil, fmt.Errorf("encode answer: %w", err)
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
	})
}

type of func(context.Context, []byte) ([]byte, error)

// Invoke runs the handler.
func (f of) Invoke(ctx context.Context, payload []byte) ([]byte, error) { return f(ctx, payload) }
