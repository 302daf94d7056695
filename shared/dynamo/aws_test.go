package dynamo_test

import (
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/contract"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	customers "sitoo-rule/shared/customer"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/worker"
)

// TestMain makes the contract's property test short over the wire, where a call
// takes a hundred times as long, unless -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	if os.Getenv("SITOO_RULE_AWS") != "" {
		if err := flag.Set("rapid.checks", "5"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Over the wire, and over one that loses the answer of every write's first
// try: the SDK sends it again, and nobody may notice.
func TestEmulator(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	err := awslocal.CreateTables(t.Context(), cfg, []awslocal.Table{
		{Name: "test-accounts", Hash: awslocal.Key{Name: "id", Type: "S"}, TTL: "expires"},
		{Name: "test-bonus", Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "subscriber", Type: "N"}},
		{Name: "test-consents", Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "item", Type: "S"}, TTL: "expires"},
		{Name: "test-history", Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "item", Type: "S"}, TTL: "expires"},
		{Name: "test-imports", Hash: awslocal.Key{Name: "import", Type: "S"}, Range: awslocal.Key{Name: "part", Type: "N"}, TTL: "expires"},
		{Name: "test-parked", Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "item", Type: "S"}, TTL: "expires"},
		{Name: "test-ledger", Hash: awslocal.Key{Name: "account", Type: "S"}, Range: awslocal.Key{Name: "order", Type: "N"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*dynamodb.Client{
		"wire": dynamodb.NewFromConfig(cfg),
		"wire that loses answers": dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
			o.HTTPClient = &http.Client{Transport: &lossy{next: cfg.HTTPClient.(*http.Client).Transport}}
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxBackoff = time.Millisecond
				o.RateLimiter = ratelimit.None
			})
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("accounts", func(t *testing.T) {
				t.Parallel()
				contract.Accounts(t, func(*testing.T) account.Store { return dynamo.NewAccounts(client, "test-accounts") })
			})
			t.Run("begun", func(t *testing.T) {
				t.Parallel()
				contract.Begun(t, func(*testing.T) worker.Begun { return dynamo.NewHistory(client, "test-history") })
				contract.Begun(t, func(*testing.T) worker.Begun { return dynamo.NewImports(client, "test-imports") })
			})
			t.Run("strangers", func(t *testing.T) {
				t.Parallel()
				contract.Strangers(t, func(*testing.T) account.StrangerCount { return dynamo.NewAccounts(client, "test-accounts") })
			})
			t.Run("ledger", func(t *testing.T) {
				t.Parallel()
				contract.Ledger(t, func(*testing.T) order.Ledger { return dynamo.NewLedger(client, "test-ledger") })
			})
			t.Run("bonus", func(t *testing.T) {
				t.Parallel()
				contract.Bonus(t, func(*testing.T) bonus.Store { return dynamo.NewBonus(client, "test-bonus") })
			})
			t.Run("consents", func(t *testing.T) {
				t.Parallel()
				contract.Consents(t, func(*testing.T) customers.Answers { return dynamo.NewConsents(client, "test-consents") })
			})
			t.Run("jobs", func(t *testing.T) {
				t.Parallel()
				contract.Jobs(t, func(*testing.T) history.Jobs { return dynamo.NewHistory(client, "test-history") })
			})
			t.Run("people", func(t *testing.T) {
				t.Parallel()
				contract.People(t, func(*testing.T) history.People { return dynamo.NewHistory(client, "test-history") })
			})
			t.Run("parked", func(t *testing.T) {
				t.Parallel()
				contract.Parked(t, func(*testing.T) parking.Store { return dynamo.NewParked(client, "test-parked") })
			})
			t.Run("imports", func(t *testing.T) {
				t.Parallel()
				contract.Imports(t, func(*testing.T) bonus.Imports { return dynamo.NewImports(client, "test-imports") })
			})
		})
	}
}

// lossy lets the first try of every write reach DynamoDB and loses the answer.
type lossy struct {
	next http.RoundTripper
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	target := r.Header.Get("X-Amz-Target")
	if err != nil || strings.HasSuffix(target, ".GetItem") || strings.HasSuffix(target, ".Query") ||
		!strings.HasPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt=1;") {
		return resp, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}
