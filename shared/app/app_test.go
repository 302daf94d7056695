package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/worker"
)

var environment = map[string]string{
	"RULE_URL": "https://rule.example.com/api", "COUNTRY": "no", "ACCOUNTS_TABLE": "accounts", "LEDGER_TABLE": "ledger",
	"ORDERS_QUEUE_URL": "https://sqs.eu-north-1.amazonaws.com/123456789012/orders", "ORDERS_DEAD_LETTERS_URL": "https://sqs.eu-north-1.amazonaws.com/123456789012/dead",
	"SECRETS_KEY_ID": "alias/secrets", "AWS_REGION": "eu-north-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:5000",
}

func env(m map[string]string) func(string) string { return func(name string) string { return m[name] } }

func TestFromEnv(t *testing.T) {
	t.Parallel()
	got, err := app.FromEnv(env(environment))
	if err != nil {
		t.Fatal(err)
	}
	want := app.Config{
		RuleURL: "https://rule.example.com/api", Country: "NO", AccountsTable: "accounts", LedgerTable: "ledger",
		OrdersQueue: environment["ORDERS_QUEUE_URL"], OrdersDeadLetters: environment["ORDERS_DEAD_LETTERS_URL"],
		SecretsKey: "alias/secrets", Region: "eu-north-1", Endpoint: "http://127.0.0.1:5000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
	got, err = app.FromEnv(env(nil))
	if want := (app.Config{RuleURL: rule.DefaultURL, Country: "SE"}); err != nil || got != want {
		t.Errorf("of an empty environment: %+v, %v; want %+v", got, err, want)
	}
}

func TestFromEnvReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change map[string]string
		want   []string // the variables that are named, no others
	}{
		"everything": {
			map[string]string{"RULE_URL": "rule.example.com", "ORDERS_QUEUE_URL": "orders", "ORDERS_DEAD_LETTERS_URL": "arn:aws:sqs:eu-north-1:123456789012:dead", "AWS_ENDPOINT_URL": "127.0.0.1:5000", "COUNTRY": "Sweden"},
			[]string{"AWS_ENDPOINT_URL", "COUNTRY", "ORDERS_DEAD_LETTERS_URL", "ORDERS_QUEUE_URL", "RULE_URL"},
		},
		"another scheme":       {map[string]string{"RULE_URL": "ftp://rule.example.com/api"}, []string{"RULE_URL"}},
		"no host":              {map[string]string{"RULE_URL": "https:///api"}, []string{"RULE_URL"}},
		"not a URL":            {map[string]string{"AWS_ENDPOINT_URL": "http://[::1"}, []string{"AWS_ENDPOINT_URL"}},
		"country of digits":    {map[string]string{"COUNTRY": "46"}, []string{"COUNTRY"}},
		"country of one rune":  {map[string]string{"COUNTRY": "Å"}, []string{"COUNTRY"}},
		"country of 3 letters": {map[string]string{"COUNTRY": "SWE"}, []string{"COUNTRY"}},
		"what no part needs":   {map[string]string{"ACCOUNTS_TABLE": "", "LEDGER_TABLE": "", "SECRETS_KEY_ID": "", "ORDERS_QUEUE_URL": "", "ORDERS_DEAD_LETTERS_URL": "", "AWS_ENDPOINT_URL": ""}, nil},
	} {
		m := maps.Clone(environment)
		maps.Copy(m, tt.change)
		_, err := app.FromEnv(env(m))
		var got []string
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				variable, _, _ := strings.Cut(line, " ")
				got = append(got, variable)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v names %v, want %v", name, err, got, tt.want)
		}
	}
}

// Each part names all that it lacks, and puts in what its functions need.
func TestParts(t *testing.T) {
	t.Parallel()
	knocks := make(chan *http.Request, 10)
	rulesDoor := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { knocks <- r }))
	t.Cleanup(rulesDoor.Close)
	m := maps.Clone(environment)
	m["RULE_URL"] = rulesDoor.URL
	full, err := app.FromEnv(env(m))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		part  app.Part
		lacks []string
		has   func(p app.Parts) bool
	}{
		"accounts":     {app.WithAccounts, []string{"ACCOUNTS_TABLE", "SECRETS_KEY_ID"}, func(p app.Parts) bool { return p.Accounts != nil && p.Sealer != nil && p.Rule != nil }},
		"ledger":       {app.WithLedger, []string{"LEDGER_TABLE"}, func(p app.Parts) bool { return p.Ledger != nil }},
		"orders":       {app.WithOrders, []string{"ORDERS_QUEUE_URL"}, func(p app.Parts) bool { return p.Orders != nil && p.OrdersDelay != nil }},
		"dead letters": {app.WithDeadLetters, []string{"ORDERS_DEAD_LETTERS_URL"}, func(p app.Parts) bool { return p.DeadLetters != nil }},
		"phones":       {app.WithPhones(phone.Parser), nil, func(p app.Parts) bool { return p.Phones != nil }},
	} {
		var p app.Parts
		if err := tt.part(full, app.Cloud(full), &p); err != nil || !tt.has(p) {
			t.Errorf("%s: %v, parts %+v; want it to be there", name, err, p)
		}
		err := tt.part(app.Config{RuleURL: rulesDoor.URL}, aws.Config{}, new(app.Parts))
		var got []string
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				got = append(got, strings.TrimSuffix(strings.TrimSpace(line), " is not set"))
			}
		}
		if !slices.Equal(got, tt.lacks) {
			t.Errorf("%s without an environment: %v, want %v to be missed", name, err, tt.lacks)
		}
	}
	// The first connection to Rule is opened at once, and carries no key.
	if r := <-knocks; r.Method != http.MethodHead || r.Header.Get("Authorization") != "" {
		t.Errorf("Rule is greeted with %s and Authorization %q, want HEAD and none", r.Method, r.Header.Get("Authorization"))
	}
}

// A number without a country code is one of the country that is set.
func TestPhonesOfACountry(t *testing.T) {
	t.Parallel()
	for country, want := range map[string]string{"SE": "+46701740605", "NO": ""} {
		var p app.Parts
		if err := app.WithPhones(phone.Parser)(app.Config{Country: country}, aws.Config{}, &p); err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Phones("0701740605"); got != want || ok != (want != "") {
			t.Errorf("in %s: %q, %v; want %q", country, got, ok, want)
		}
	}
}

func TestCloud(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	cloud := app.Cloud(app.Config{Region: "eu-north-1", Endpoint: "http://127.0.0.1:5000"})
	got, err := cloud.Credentials.Retrieve(t.Context())
	if err != nil || got.AccessKeyID != "AKIDEXAMPLE" || got.SecretAccessKey != "example" || got.SessionToken != "session" {
		t.Errorf("credentials are not the environment's: %v", err)
	}
	if cloud.Region != "eu-north-1" || aws.ToString(cloud.BaseEndpoint) != "http://127.0.0.1:5000" {
		t.Errorf("region %q, endpoint %q; want the configured ones", cloud.Region, aws.ToString(cloud.BaseEndpoint))
	}
	if real := app.Cloud(app.Config{Region: "eu-north-1"}); real.BaseEndpoint != nil {
		t.Errorf("endpoint %q, want AWS's own", *real.BaseEndpoint)
	}
}

// A function whose environment lacks something ends at once, with one line that
// names all of it.
func TestStartWithoutEnvironment(t *testing.T) {
	if os.Getenv("START") != "" {
		app.Start(app.OrderWorker, app.WithAccounts, app.WithOrders, app.WithDeadLetters, app.WithLedger, app.WithPhones(phone.Parser))
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStartWithoutEnvironment$")
	cmd.Env = []string{"START=1", "AWS_LAMBDA_LOG_FORMAT=JSON", "RULE_URL=nowhere", "COUNTRY=Sweden", "LEDGER_TABLE=ledger"}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("the process ended with %v, want exit status 1; it wrote %s", err, out.String())
	}
	var line struct{ Level, Error string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Level != "ERROR" {
		t.Fatalf("the process wrote %s (%v), want one JSON line of an error", out.String(), err)
	}
	for _, name := range []string{"RULE_URL", "COUNTRY", "ACCOUNTS_TABLE", "SECRETS_KEY_ID", "ORDERS_QUEUE_URL", "ORDERS_DEAD_LETTERS_URL"} {
		if !strings.Contains(line.Error, name+" is not") {
			t.Errorf("%q does not name %s", line.Error, name)
		}
	}
	if strings.Contains(line.Error, "LEDGER_TABLE") {
		t.Errorf("%q names what is set", line.Error)
	}
}

type outbox struct{ messages []worker.Message }

func (o *outbox) Send(_ context.Context, m worker.Message) error {
	o.messages = append(o.messages, m)
	return nil
}

func (o *outbox) Delay(context.Context, string, time.Duration) error { return nil }

// Each function does its work with the parts that its main gives it, and
// without the others.
func TestFunctions(t *testing.T) {
	t.Parallel()
	const key = fakerule.DefaultKey
	now := func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }
	customers := fakerule.New(fakerule.Options{Now: now})
	if err := customers.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	rulesDoor := httptest.NewServer(customers)
	t.Cleanup(rulesDoor.Close)
	sealer, err := seal.NewLocal(nil)
	if err != nil {
		t.Fatal(err)
	}
	accounts, ledger, orders := &memory.Accounts{}, &memory.Ledger{}, &outbox{}
	if _, err := account.Keep(t.Context(), accounts, sealer, account.Account{ID: "42", Created: now()}, key, true); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	withLog := func(p *app.Parts) { p.Log, p.Now = slog.New(slog.NewJSONHandler(&log, nil)), now }
	withAccounts := func(p *app.Parts) {
		p.Accounts, p.Sealer = accounts, sealer
		p.Rule = rule.New(rule.Config{URL: rulesDoor.URL, Pause: -1, Now: now})
	}
	withPhones := func(p *app.Parts) { p.Phones = phone.Parser("SE") }
	withLedger := func(p *app.Parts) { p.Ledger = ledger }
	withBonus := func(p *app.Parts) { p.Bonus = &memory.Bonus{} }
	answers := &memory.Consents{}
	withConsents := func(p *app.Parts) { p.Syncs, p.Consents = unsent{}, answers }
	withOrders := func(p *app.Parts) { p.Orders, p.OrdersDelay = orders, orders }
	withDeadLetters := func(p *app.Parts) { p.DeadLetters = orders }

	request := func(change func(*events.APIGatewayProxyRequest)) any {
		in := events.APIGatewayProxyRequest{HTTPMethod: "GET", Headers: map[string]string{"Authorization": "Bearer " + key}, RequestContext: events.APIGatewayProxyRequestContext{RequestID: "request-1"}}
		if change != nil {
			change(&in)
		}
		return in
	}
	of := func(id string) func(*events.APIGatewayProxyRequest) {
		return func(in *events.APIGatewayProxyRequest) { in.PathParameters = map[string]string{"contactid": id} }
	}
	const purchase = `{"orderid":700001,"orderstateid":10,"currencycode":"SEK","orderdate":1727433600,"additionaldata":{"customcrm-contactid":"255934461"},
		"moneyfinal_net":"80.00","moneyfinal_vat":"20.00","moneytotal_gross_all":"100.00","orderitems":[]}`
	for _, tt := range []struct { // in this order: the worker takes what order-receive sends
		name     string
		function app.Function
		parts    []func(*app.Parts)
		event    func() any
		want     string // in the answer
	}{
		{"contact-find", app.ContactFind, []func(*app.Parts){withAccounts, withPhones}, func() any {
			return request(func(in *events.APIGatewayProxyRequest) {
				in.QueryStringParameters = map[string]string{"key": "070-174 06 05"}
			})
		}, `\"contactid\":\"255934461\"`},
		{"contact-get", app.ContactGet, []func(*app.Parts){withAccounts}, func() any { return request(of("255934461")) }, `\"contactid\":\"255934461\"`},
		{"contact-add", app.ContactAdd, []func(*app.Parts){withAccounts, withPhones, withConsents}, func() any {
			return request(func(in *events.APIGatewayProxyRequest) { in.Body = `{"email":"ny@example.com","namefirst":"Ny"}` })
		}, `"statusCode":200`},
		{"contact-update", app.ContactUpdate, []func(*app.Parts){withAccounts, withPhones, withConsents}, func() any {
			return request(func(in *events.APIGatewayProxyRequest) {
				of("255934461")(in)
				in.Body = `{"namefirst":"Annan"}`
			})
		}, `\"255934461\"`},
		{"contact-lookup", app.ContactLookup, []func(*app.Parts){withAccounts}, func() any { return request(nil) }, `"statusCode":200`},
		{"consent-list", app.ConsentList, []func(*app.Parts){withAccounts}, func() any { return request(nil) }, `Nyhetsbrev`},
		{"purchase-list", app.PurchaseList, []func(*app.Parts){withAccounts}, func() any { return request(of("255934461")) }, `"statusCode":200`},
		{"unknown-route", app.UnknownRoute, []func(*app.Parts){withAccounts}, func() any { return request(nil) }, `"statusCode":404`},
		{"order-receive", app.OrderReceive, []func(*app.Parts){withAccounts, withOrders, withLedger}, func() any {
			return request(func(in *events.APIGatewayProxyRequest) { in.Body = purchase })
		}, `\"status\":\"queued\"`},
		{"order-worker", app.OrderWorker, []func(*app.Parts){withAccounts, withOrders, withDeadLetters, withLedger, withPhones, withBonus, withConsents}, func() any {
			if len(orders.messages) != 1 {
				t.Fatalf("%d messages were queued, want 1", len(orders.messages))
			}
			return events.SQSEvent{Records: []events.SQSMessage{{MessageId: "m-1", ReceiptHandle: "r-1", Body: orders.messages[0].Body}, {MessageId: "m-2", ReceiptHandle: "r-2", Body: "posted by hand"}}}
		}, `{"batchItemFailures":[]}`},
	} {
		p := app.Parts{}
		withLog(&p)
		for _, with := range tt.parts {
			with(&p)
		}
		log.Reset()
		event, err := json.Marshal(tt.event())
		if err != nil {
			t.Fatal(err)
		}
		got, err := tt.function(p).Invoke(t.Context(), event)
		if err != nil || !strings.Contains(string(got), tt.want) {
			t.Errorf("%s = %s, %v; want %s in it; log %s", tt.name, got, err, tt.want, log.String())
		}
		if !strings.Contains(log.String(), `"operation":"`+tt.name+`"`) || strings.Contains(log.String(), `"panic"`) || strings.Contains(log.String(), key) {
			t.Errorf("%s: log %s, want a line of its own, no panic and no key", tt.name, log.String())
		}
	}
	if rec, ok, err := ledger.Get(t.Context(), order.Key{Account: "42", Order: 700001}); err != nil || !ok || rec.State != order.Sent {
		t.Errorf("ledger says %+v, %v; want the order sent", rec, err)
	}
	if strings.Count(log.String(), `"waited_ms"`) != 1 {
		t.Errorf("log %s, want waited_ms in the order's line alone", log.String())
	}
	if n := len(orders.messages); n != 2 || orders.messages[1].Body != "posted by hand" {
		t.Errorf("messages %v, want the order and, put aside, the one that is none", orders.messages)
	}
}

// An order's log line says whose it is and how long it waited, and no more.
func TestOrderWorkerLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }
	p := app.Parts{Accounts: &memory.Accounts{}, Ledger: &memory.Ledger{}, DeadLetters: &outbox{}, OrdersDelay: &outbox{}, Now: now, Log: slog.New(slog.NewJSONHandler(&log, nil))}
	text, err := order.Message{Account: "0123456789abcdef0123456789abcdef", Request: "request-1", Received: now().Add(-90 * time.Second), Order: json.RawMessage(`{"orderid":40025,"email":"kund.ett@example.com"}`)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	event, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{{MessageId: "m-1", Body: text}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.OrderWorker(p).Invoke(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("log %s: %v", log.String(), err)
	}
	for name, want := range map[string]any{
		"operation": "order-worker", "outcome": "put aside", "kind": "not_found", "account": "0123456789abcdef0123456789abcdef", "order": 40025.0, "request": "request-1", "waited_ms": 90000.0,
	} {
		if line[name] != want {
			t.Errorf("log says %s = %v, want %v", name, line[name], want)
		}
	}
	if strings.Contains(log.String(), "kund.ett") {
		t.Errorf("log holds the order's address: %s", log.String())
	}
}

// unsent takes messages to nowhere.
type unsent struct{}

func (unsent) Send(context.Context, worker.Message) error { return nil }
