package awsfault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sitoo-rule/shared/awsfault"
	"sitoo-rule/shared/fault"
)

func TestWrap(t *testing.T) {
	t.Parallel()
	answered := func(status int, code string) error {
		return &smithy.OperationError{ServiceID: "S", OperationName: "O", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
			Err:      &smithy.GenericAPIError{Code: code, Message: "no"},
		}}
	}
	for name, tt := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"throttled with 400":       {answered(400, "ThrottlingException"), fault.Unavailable},
		"SQS throttled with 403":   {answered(403, "RequestThrottled"), fault.Unavailable},
		"SQS throttled by KMS":     {answered(400, "KmsThrottled"), fault.Unavailable},
		"credentials expired":      {answered(403, "ExpiredToken"), fault.Unavailable},
		"500":                      {answered(500, "InternalFailure"), fault.Unavailable},
		"502 of a proxy":           {answered(502, ""), fault.Unavailable},
		"200 that makes no sense":  {answered(200, ""), fault.Unavailable},
		"deadline":                 {fmt.Errorf("x: %w", context.DeadlineExceeded), fault.Unavailable},
		"cancelled":                {context.Canceled, fault.Unavailable},
		"no connection":            {&net.OpError{Op: "dial", Err: errors.New("refused")}, fault.Unavailable},
		"something else":           {errors.New("get credentials: none"), fault.Unavailable},
		"server's fault":           {&smithy.GenericAPIError{Code: "X", Fault: smithy.FaultServer}, fault.Unavailable},
		"client's fault":           {&smithy.GenericAPIError{Code: "X", Fault: smithy.FaultClient}, fault.Internal},
		"access denied":            {answered(403, "AccessDenied"), fault.Internal},
		"not there":                {answered(400, "ResourceNotFoundException"), fault.Internal},
		"input the SDK refuses":    {smithy.InvalidParamsError{}, fault.Internal},
		"throttled without status": {&smithy.GenericAPIError{Code: "SlowDown", Fault: smithy.FaultClient}, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := awsfault.Wrap(tt.err, "read %s", "it")
			if got := fault.KindOf(err); got != tt.want {
				t.Errorf("kind of %v = %v, want %v", err, got, tt.want)
			}
			if got, want := err.Error(), tt.want.String()+": read it: "+tt.err.Error(); got != want {
				t.Errorf("error = %q, want %q", got, want)
			}
			if got := fault.As(err).Message; got != "" {
				t.Errorf("sentence for the caller = %q, want none", got)
			}
		})
	}
	cause := errors.New("cause")
	if err := awsfault.Wrap(cause, "read"); !errors.Is(err, cause) {
		t.Errorf("Wrap = %v, want it to keep the cause in its chain", err)
	}
	if err := awsfault.Wrap(nil, "read"); err != nil {
		t.Errorf("Wrap(nil) = %v, want nil", err)
	}
}
