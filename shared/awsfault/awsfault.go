// Package awsfault says what an error of the AWS SDK means in the words of
// package fault, once for every adapter.
package awsfault

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sitoo-rule/shared/fault"
)

// transient are codes that come with a 4xx status, that the SDK does not
// retry, and that pass by themselves: the credentials of a long-lived function
// are exchanged while it runs, and SQS passes on KMS's throttling.
var transient = retry.RetryableErrorCode{Codes: map[string]struct{}{
	"ExpiredToken":          {},
	"ExpiredTokenException": {},
	"RequestExpired":        {},
	"KmsThrottled":          {},
}}

// Wrap gives an error of an AWS call its kind, saying what was attempted, and
// keeps err in the chain. Unavailable is everything that may be gone on a later
// try: throttling, timeouts, a cancelled context, broken connections, 5xx and
// answers that make no sense. Internal is a request that AWS understood and
// refuses (a missing table, a policy that lacks a permission, an input it does
// not take): repeating it gives the same answer until somebody repairs it. The
// error carries no sentence for the caller. Wrap returns nil for a nil err.
func Wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		Kind: kind(err),
		Err:  fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err),
	}
}

func kind(err error) fault.Kind {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Unavailable
	}
	if transient.IsErrorRetryable(err) == aws.TrueTernary ||
		retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary {
		return fault.Unavailable
	}
	if _, ok := errors.AsType[smithy.InvalidParamsError](err); ok {
		return fault.Internal
	}
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		if status := r.HTTPStatusCode(); status >= 400 && status < 500 {
			return fault.Internal
		}
		return fault.Unavailable
	}
	if a, ok := errors.AsType[smithy.APIError](err); ok && a.ErrorFault() == smithy.FaultClient {
		return fault.Internal
	}
	return fault.Unavailable
}
