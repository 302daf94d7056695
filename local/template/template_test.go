package template_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/template"
)

func load(t *testing.T) *template.Template {
	t.Helper()
	tpl, err := template.Load(filepath.Join("testdata", "shop.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestLoad(t *testing.T) {
	t.Parallel()
	literal := func(s string) template.Value { return template.Value{{Text: s}} }
	ref := func(id, attr string) template.Value { return template.Value{{Ref: id, Attr: attr}} }
	globals := func(more map[string]template.Value) map[string]template.Value {
		env := map[string]template.Value{
			"RULE_URL":       literal("https://app.rule.io/api"),
			"COUNTRY":        literal("SE"),
			"LOG_LEVEL":      literal("INFO"),
			"ACCOUNTS_TABLE": ref("AccountsTable", ""),
		}
		for k, v := range more {
			env[k] = v
		}
		return env
	}
	want := &template.Template{
		Parameters: map[string]string{"RuleUrl": "https://app.rule.io/api", "Country": "SE", "Level": "", "NoDefault": ""},
		Functions: []template.Function{
			{ID: "ContactGet", Name: "contact-get", Timeout: 10 * time.Second, MemoryMB: 256, Environment: globals(nil)},
			{ID: "OrderReceive", Name: "order-receive", Timeout: 8 * time.Second, MemoryMB: 256, Environment: globals(map[string]template.Value{
				"COUNTRY":          literal("NO"),
				"ORDERS_QUEUE_URL": ref("OrdersQueue", ""),
				"DEAD":             ref("OrdersDeadLetters", "Arn"),
				"WHERE": {
					{Text: "https://"},
					{Text: "SE"},
					{Text: ".example.com/"},
					{Text: "eu-north-1"},
					{Text: "/"},
					{Ref: "OrdersQueue", Attr: "QueueName"},
					{Text: "/"},
					{Text: "${kept}"},
				},
				"JOINED": {{Text: "a"}, {Text: "-"}, {Ref: "LedgerTable"}, {Text: "-"}, {Text: "c"}},
			})},
			{ID: "OrderWorker", Name: "order-worker", Timeout: 30 * time.Second, MemoryMB: 256, Environment: globals(nil)},
			{ID: "UnknownRoute", Name: "unknown-route", Timeout: 10 * time.Second, MemoryMB: 256, Environment: globals(nil)},
		},
		Routes: []template.Route{
			{Method: "GET", Path: "/sitoo/contacts/{contactid}", Function: "ContactGet"},
			{Method: "POST", Path: "/sitoo/transactions", Function: "OrderReceive"},
			{Method: "ANY", Path: "/sitoo", Function: "UnknownRoute"},
			{Method: "ANY", Path: "/sitoo/{proxy+}", Function: "UnknownRoute"},
		},
		GatewayResponses: map[string]template.GatewayResponse{
			"DEFAULT_4XX":       {Body: `{"error":$context.error.messageString}`},
			"DEFAULT_5XX":       {Status: 503, Body: `{"error":"Try again in a moment."}`, Headers: map[string]string{"Retry-After": "'5'"}},
			"REQUEST_TOO_LARGE": {Status: 413},
		},
		BinaryMediaTypes: []string{"application/octet-stream", "image/png"},
		Queues: []template.Queue{
			{ID: "OrdersQueue", Visibility: 180 * time.Second, Retention: 96 * time.Hour, Delay: 2 * time.Second, DeadLetters: "OrdersDeadLetters", MaxReceives: 5},
			{ID: "OrdersDeadLetters", Visibility: 30 * time.Second, Retention: 14 * 24 * time.Hour},
			{ID: "HistoryQueue", FIFO: true, ContentDedup: true, GroupDedup: true, Visibility: 30 * time.Second, Retention: 96 * time.Hour},
			{ID: "OnlyWithSweden", Visibility: 30 * time.Second, Retention: 96 * time.Hour},
		},
		EventSources: []template.EventSource{
			{ID: "OrderWorker.Orders", Queue: "OrdersQueue", Function: "OrderWorker", BatchSize: 5, Window: time.Second, MaxConcurrency: 4, PartialBatch: true, Enabled: true},
			{ID: "OrderWorker.History", Queue: "HistoryQueue", Function: "OrderWorker", BatchSize: 1},
		},
		Tables: []template.Table{
			{ID: "AccountsTable", Hash: template.Key{Name: "id", Type: "S"}, TTL: "expires"},
			{ID: "LedgerTable", Hash: template.Key{Name: "account", Type: "S"}, Sort: template.Key{Name: "order", Type: "N"}},
		},
	}
	if diff := cmp.Diff(want, load(t)); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	tpl := load(t)
	if f, ok := tpl.Function("OrderWorker"); !ok || f.Name != "order-worker" {
		t.Errorf("Function = %+v, %t", f, ok)
	}
	if q, ok := tpl.Queue("OrdersQueue"); !ok || q.MaxReceives != 5 {
		t.Errorf("Queue = %+v, %t", q, ok)
	}
	if tb, ok := tpl.Table("LedgerTable"); !ok || tb.Sort.Name != "order" {
		t.Errorf("Table = %+v, %t", tb, ok)
	}
	_, f := tpl.Function("OrdersQueue")
	_, q := tpl.Queue("OrderWorker")
	_, tb := tpl.Table("SecretsKey")
	if f || q || tb {
		t.Errorf("found what is not there: %t %t %t", f, q, tb)
	}
}

func TestValue(t *testing.T) {
	t.Parallel()
	f, _ := load(t).Function("OrderReceive")
	v := f.Environment["WHERE"]
	if _, ok := v.Literal(); ok {
		t.Error("a value with a reference is a literal")
	}
	if _, _, ok := v.Reference(); ok {
		t.Error("a longer value is one reference")
	}
	if id, attr, ok := f.Environment["DEAD"].Reference(); id != "OrdersDeadLetters" || attr != "Arn" || !ok {
		t.Errorf("Reference = %q %q %t", id, attr, ok)
	}
	got, err := v.Resolve(func(id, attr string) (string, error) { return id + "!" + attr, nil })
	if want := "https://SE.example.com/eu-north-1/OrdersQueue!QueueName/${kept}"; got != want || err != nil {
		t.Errorf("Resolve = %q, %v, want %q", got, err, want)
	}
	unknown := errors.New("unknown")
	if _, err := v.Resolve(func(string, string) (string, error) { return "", unknown }); !errors.Is(err, unknown) || !strings.Contains(err.Error(), "${OrdersQueue.QueueName}") {
		t.Errorf("Resolve's error = %v, want it to wrap lookup's and name the reference", err)
	}
}

func TestKebab(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"ContactFind": "contact-find", "Order": "order", "SQSWorker": "sqs-worker", "OrderV2": "order-v2", "OrderV2Worker": "order-v2-worker",
	} {
		tpl, err := template.Parse([]byte("Resources: {" + id + ": {Type: AWS::Serverless::Function}}"))
		if err != nil {
			t.Fatal(err)
		}
		f := tpl.Functions[0]
		if f.Name != want || f.Timeout != 3*time.Second || f.MemoryMB != 128 {
			t.Errorf("%s: got %+v, want the name %q and SAM's defaults", id, f, want)
		}
	}
}

// api and sqs make a template of one function with one event.
func api(method, path string) string {
	return "Resources: {Fn: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Api, Properties: {Method: '" + method + "', Path: '" + path + "'}}}}}}"
}

func two(a, b string) string {
	event := func(name, route string) string {
		method, path, _ := strings.Cut(route, " ")
		return name + ": {Type: Api, Properties: {Method: " + method + ", Path: '" + path + "'}}"
	}
	return "Resources: {Fn: {Type: AWS::Serverless::Function, Properties: {Events: {" + event("A", a) + ", " + event("B", b) + "}}}}"
}

func sqs(queue, event string) string {
	return "Resources: {Q: {Type: AWS::SQS::Queue, Properties: {" + queue + "}}, Fn: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: SQS, Properties: {" + event + "}}}}}}"
}

func queue(props string) string {
	return "Resources: {Q: {Type: AWS::SQS::Queue, Properties: {" + props + "}}, D: {Type: AWS::SQS::Queue}, F: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}}"
}

func env(value string) string {
	return "Conditions: {A: !Not [!Condition B], B: {Condition: A}}\nResources: {Fn: {Type: AWS::Serverless::Function, Properties: {Environment: {Variables: {X: " + value + "}}}}}"
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   string
		want []string // each a part of the error
	}{
		{"empty", "", []string{"empty"}},
		{"not YAML", "a: [", []string{"not YAML"}},
		{"a list", "[1]", []string{"a list, expected a mapping"}},
		{"no resources", "Globals: {}", []string{"Resources: missing"}},
		{"resource without type", "Resources: {A: {Properties: {}}}", []string{"A.Type: missing"}},
		{"key twice", "Resources: {}\nResources: {}", []string{"Resources"}},
		{"duplicate route", two("get /a/{id}", "GET /a/{id}"), []string{"GET /a/{id}", "declared twice"}},
		{"two names for one variable", two("get /a/{id}", "POST /a/{other}"), []string{`"{other}"`, `"{id}"`}},
		{"variable beside greedy", two("get /a/{id}", "ANY /a/{proxy+}"), []string{"one variable per level"}},
		{"no slash", api("GET", "sitoo"), []string{"Fn.Events: GET sitoo", "begins with a slash"}},
		{"slash at the end", api("GET", "/sitoo/"), []string{"does not end with a slash"}},
		{"two slashes", api("GET", "/a//b"), []string{"two slashes"}},
		{"variable in a part", api("GET", "/a{b}"), []string{`"a{b}"`}},
		{"variable without a name", api("GET", "/{+}"), []string{`"{+}"`}},
		{"greedy in the middle", api("GET", "/{p+}/a"), []string{"last part"}},
		{"variable twice", api("GET", "/{a}/{a}"), []string{"comes twice"}},
		{"unknown method", api("FETCH", "/a"), []string{"FETCH /a", "unknown method", "ANY, DELETE, GET"}},
		{"no method", api("", "/a"), []string{"Fn.Events.E.Method: missing"}},
		{"no path", api("GET", ""), []string{"Fn.Events.E.Path: missing"}},
		{"HTTP API", strings.Replace(api("GET", "/a"), "Type: Api", "Type: HttpApi", 1), []string{"Fn.Events.E.Type: HttpApi is not served"}},
		{"undeclared queue", sqs("", "Queue: !GetAtt Other.Arn"), []string{"Fn.Events.E.Queue", `"Other" is not a resource`}},
		{"event of something else", sqs("", "Queue: !GetAtt Fn.Arn"), []string{"Fn.E.Queue", `"Fn" is not a queue`}},
		{"queue by address", sqs("", "Queue: 'arn:aws:sqs:x'"), []string{"Fn.Events.E.Queue", "expected !GetAtt"}},
		{"batch of none", sqs("", "Queue: !GetAtt Q.Arn, BatchSize: 0"), []string{"Fn.Events.E.BatchSize", "from 1 to 10000"}},
		{"batch without window", sqs("", "Queue: !GetAtt Q.Arn, BatchSize: 11"), []string{"MaximumBatchingWindowInSeconds", "at least 1 s"}},
		{"FIFO batch", sqs("FifoQueue: true", "Queue: !GetAtt Q.Arn, BatchSize: 11"), []string{"Fn.E.BatchSize", "at most 10"}},
		{"FIFO window", sqs("FifoQueue: true", "Queue: !GetAtt Q.Arn, MaximumBatchingWindowInSeconds: 1"), []string{"no batching window"}},
		{"concurrency of one", sqs("", "Queue: !GetAtt Q.Arn, ScalingConfig: {MaximumConcurrency: 1}"), []string{"ScalingConfig.MaximumConcurrency", "from 2 to 1000"}},
		{"response type", sqs("", "Queue: !GetAtt Q.Arn, FunctionResponseTypes: [Report]"), []string{`"Report", expected ReportBatchItemFailures`}},
		{"visibility below time-out", sqs("VisibilityTimeout: 2", "Queue: !GetAtt Q.Arn"), []string{"Q.VisibilityTimeout", "at least the time-out of Fn"}},
		{"visibility too long", queue("VisibilityTimeout: 43201"), []string{"Q.VisibilityTimeout", "from 0 to 43200"}},
		{"visibility as text", queue("VisibilityTimeout: long"), []string{`"long", expected a whole number`}},
		{"visibility as list", queue("VisibilityTimeout: [1]"), []string{"Q.VisibilityTimeout: is a list"}},
		{"redrive without count", queue("RedrivePolicy: {deadLetterTargetArn: !GetAtt D.Arn}"), []string{"maxReceiveCount: missing"}},
		{"redrive without target", queue("RedrivePolicy: {maxReceiveCount: 3}"), []string{"deadLetterTargetArn: missing"}},
		{"redrive to the other kind", queue("RedrivePolicy: {deadLetterTargetArn: !GetAtt F.Arn, maxReceiveCount: 3}"), []string{"FIFO dead-letter queue"}},
		{"redrive to itself", queue("RedrivePolicy: {deadLetterTargetArn: !GetAtt Q.Arn, maxReceiveCount: 3}"), []string{"the queue itself"}},
		{"dedup on standard", queue("ContentBasedDeduplication: true"), []string{"only FIFO"}},
		{"scope of dedup on standard", queue("DeduplicationScope: queue"), []string{"DeduplicationScope: only FIFO"}},
		{"scope of dedup", queue("FifoQueue: true, DeduplicationScope: group"), []string{`Q.DeduplicationScope: "group", expected messageGroup or queue`}},
		{"FIFO to a standard queue", queue("FifoQueue: true, RedrivePolicy: {deadLetterTargetArn: !GetAtt D.Arn, maxReceiveCount: 3}"), []string{"FIFO dead-letter queue"}},
		{"flag", queue("FifoQueue: maybe"), []string{`"maybe", expected true or false`}},
		{"unknown name", env("!Ref Nowhere"), []string{"Fn.Environment.Variables.X", `"Nowhere" is neither`}},
		{"unknown attribute", env("!GetAtt Nowhere"), []string{"takes a resource and an attribute"}},
		{"open Sub", env("!Sub 'a ${b'"), []string{"${ without }"}},
		{"Select out of range", env("!Select [2, [a]]"), []string{"Fn::Select"}},
		{"unknown mapping", env("!FindInMap [a, b, c]"), []string{`no mapping has "a"`}},
		{"unsupported", env("!ImportValue x"), []string{`"ImportValue" is not supported`}},
		{"unknown condition", env("!If [Z, a, b]"), []string{`no condition "Z"`}},
		{"circle of conditions", env("!If [A, a, b]"), []string{"depends on itself"}},
		{"variables as list", "Globals: {Function: {Environment: {Variables: [a]}}}\nResources: {Fn: {Type: AWS::Serverless::Function}}", []string{"Globals.Function.Environment.Variables: is a list"}},
		{"unknown response", "Globals: {Api: {GatewayResponses: {DEFAULT_6XX: {}}}}\nResources: {}", []string{"GatewayResponses.DEFAULT_6XX", "expected one of"}},
		{"status of a response", "Globals: {Api: {GatewayResponses: {DEFAULT_5XX: {StatusCode: 99}}}}\nResources: {}", []string{"DEFAULT_5XX.StatusCode", "from 100 to 599"}},
		{"media type", "Globals: {Api: {BinaryMediaTypes: [png]}}\nResources: {}", []string{`"png", expected a media type`}},
		{"key without type", "Resources: {T: {Type: AWS::DynamoDB::Table, Properties: {KeySchema: [{AttributeName: id, KeyType: HASH}]}}}", []string{`T.KeySchema.AttributeName: "id" is not among`}},
		{"table without key", "Resources: {T: {Type: AWS::DynamoDB::Table}}", []string{"T.KeySchema: has no HASH key"}},
		{"one folder for two functions", "Resources: {SQSFn: {Type: AWS::Serverless::Function}, SqsFn: {Type: AWS::Serverless::Function}}", []string{`folder name "sqs-fn"`}},
		{"all faults at once", "Resources: {A: {Type: AWS::SQS::Queue, Properties: {DelaySeconds: 901}}, B: {Type: AWS::SQS::Queue, Properties: {DelaySeconds: -1}}}", []string{"A.DelaySeconds", "B.DelaySeconds"}},
		{"aliases that multiply", "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e]", []string{"beyond reason"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := template.Parse([]byte(tt.in))
			if err == nil {
				t.Fatalf("Parse = %+v, want an error", got)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v\nwant it to say %q", err, want)
				}
			}
		})
	}
}

func TestParseTellsGlobalFaultOnce(t *testing.T) {
	t.Parallel()
	_, err := template.Parse([]byte("Globals: {Function: {Timeout: 901}}\nResources: {A: {Type: AWS::Serverless::Function}, B: {Type: AWS::Serverless::Function}}"))
	if err == nil || strings.Count(err.Error(), "Timeout") != 1 {
		t.Errorf("error = %v, want Globals.Function.Timeout once", err)
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	t.Parallel()
	if _, err := template.Load("testdata/none.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want fs.ErrNotExist", err)
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "shop.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(sqs("FifoQueue: true", "Queue: !GetAtt Q.Arn")))
	f.Add([]byte(env("!If [A, !Sub ['${x}', {x: !Ref AWS::Region}], b]")))
	f.Fuzz(func(t *testing.T, data []byte) {
		tpl, err := template.Parse(data)
		if err != nil {
			return
		}
		for _, r := range tpl.Routes {
			if _, ok := tpl.Function(r.Function); !ok || !strings.HasPrefix(r.Path, "/") {
				t.Errorf("route %+v of a template that was accepted", r)
			}
		}
		for _, s := range tpl.EventSources {
			if _, ok := tpl.Queue(s.Queue); !ok {
				t.Errorf("event source %+v without a queue", s)
			}
		}
	})
}
