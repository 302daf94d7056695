// Package contract is the one test suite for everything that stands behind the
// small interfaces: the stores in memory and in DynamoDB, the sealers, the
// queues. What passes here can take the other's place.
//
// A run shares nothing with an earlier one: all ids are new, so an open
// function may return a store that has been used before.
package contract

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/shared/fault"
)

// Emulator returns the configuration of an AWS emulator when the run is one
// against AWS: SITOO_RULE_AWS is set and AWS_ENDPOINT_URL names the endpoint.
// Otherwise ok is false and the caller returns: the same suite has then run
// against the stores in memory, and the adapters against hand-made clients, so
// what is left out is the wire, which `make test-aws` adds. A run that asks for
// AWS without an endpoint fails rather than reach a real account. The connections
// are its own: a test server that closes ends those of http.DefaultTransport.
// Requests to DynamoDB go through awslocal.Serial, for the reason given there.
func Emulator(t *testing.T) (cfg aws.Config, ok bool) {
	t.Helper()
	if os.Getenv("SITOO_RULE_AWS") == "" {
		return aws.Config{}, false
	}
	if os.Getenv("AWS_ENDPOINT_URL") == "" {
		t.Fatal("SITOO_RULE_AWS is set, but AWS_ENDPOINT_URL is not")
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatalf("AWS configuration: %v", err)
	}
	cfg.HTTPClient = &http.Client{Transport: awslocal.Serial(http.DefaultTransport.(*http.Transport).Clone())}
	return cfg, true
}

// start is the time at which every test of the suite begins; nothing here
// reads the clock.
var start = time.Date(2026, 3, 2, 9, 30, 0, 123e6, time.UTC)

// newID returns an id that no run has used before.
func newID() string { return strings.ToLower(rand.Text()) }

// wantUnavailable checks the error of a call whose context was over.
func wantUnavailable(t *testing.T, op string, err error) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != fault.Unavailable {
		t.Errorf("%s with a cancelled context = %v (%v), want unavailable", op, err, got)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%s with a cancelled context = %v, want one that wraps context.Canceled", op, err)
	}
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
