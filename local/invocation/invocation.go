// Package invocation runs functions in this process the way Lambda runs them:
// under their time-out, with a lambdacontext, and so that a panic is an error of
// that one invocation.
package invocation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"sitoo-rule/local/template"
)

// Invoke runs a function, named by its folder (contact-find), with a Lambda
// event, and returns its answer. The context has a deadline, the function's
// time-out, and a lambdacontext. It is called from many goroutines at once. An
// error, and a panic too, is what Lambda calls a function error.
type Invoke func(ctx context.Context, function string, payload []byte) ([]byte, error)

var (
	// ErrTimeout is returned for a function that did not answer in its time.
	ErrTimeout = errors.New("timed out")
	// ErrLeft is returned to a caller that waits no longer.
	ErrLeft = errors.New("did not answer as long as its caller waits")
)

// Call is one invocation under way.
type Call struct {
	ctx     context.Context
	timeout time.Duration
	done    chan result
}

type result struct {
	out []byte
	err error
}

// Start runs a function in a goroutine that spawn starts. It ends with ctx, with
// the function's time-out, or by itself; one that heeds neither is left behind.
func Start(ctx context.Context, f template.Function, requestID string, invoke Invoke, payload []byte, spawn func(func())) *Call {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	ctx = lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{
		AwsRequestID: requestID,
		InvokedFunctionArn: "arn:" + template.Partition + ":lambda:" + template.Region + ":" +
			template.AccountID + ":function:" + f.Name,
	})
	c := &Call{ctx: ctx, timeout: f.Timeout, done: make(chan result, 1)}
	spawn(func() {
		defer cancel()
		var res result
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			// What a function answers after its time-out never leaves Lambda.
			if err := ctx.Err(); err != nil {
				res = result{err: err}
			}
			c.done <- res
		}()
		res.out, res.err = invoke(ctx, f.Name, payload)
	})
	return c
}

// Wait returns the function's answer. It fails with ErrTimeout, with ErrLeft
// when left fires first (nil never does), with the context's error, or with the
// function's own. It is called once.
func (c *Call) Wait(left <-chan time.Time) ([]byte, error) {
	var res result
	select {
	case res = <-c.done:
	case <-c.ctx.Done():
		// The deadline or the end, or the function has just answered and
		// cancelled.
		select {
		case res = <-c.done:
		default:
			res.err = c.ctx.Err()
		}
	case <-left:
		return nil, ErrLeft
	}
	if res.err != nil && errors.Is(c.ctx.Err(), context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w after %v", ErrTimeout, c.timeout)
	}
	return res.out, res.err
}
