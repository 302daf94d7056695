// Package template reads an AWS SAM template as far as one machine needs it:
// functions and their environment, the routes of the implicit REST API, its
// gateway responses, queues with their workers, and tables. What it does not
// know it ignores, except where that would make the local stack serve something
// else than what would be deployed: then it is an error that names the resource
// and the property.
package template

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// What CloudFormation's pseudo parameters stand for on one machine. They are
// made up; the account is the one that no AWS customer has.
const (
	Region    = "eu-north-1"
	AccountID = "000000000000"
	Partition = "aws"
	Stack     = "local"
)

// Template is what the local stack needs of a SAM template. Slices are in the
// order of the file. It is not changed after Parse, so it is safe to share.
type Template struct {
	// Parameters holds every parameter's default; one without a default is "".
	Parameters       map[string]string
	Functions        []Function
	Routes           []Route
	GatewayResponses map[string]GatewayResponse
	// Throttles are the limits of the routes, those for every route first.
	Throttles []Throttle
	// BinaryMediaTypes are the media types whose bodies reach functions as
	// base64, such as image/png or */*.
	BinaryMediaTypes []string
	Queues           []Queue
	EventSources     []EventSource
	Tables           []Table
}

// Function is an AWS::Serverless::Function.
type Function struct {
	ID          string           // logical id: ContactFind
	Name        string           // the id in kebab case, also its folder: contact-find
	Timeout     time.Duration    // 3 s unless declared
	MemoryMB    int              // 128 unless declared
	Environment map[string]Value // Globals overlaid by the function's own
}

// Route is an event of type Api: one method of one path.
type Route struct {
	Method   string // upper case; ANY stands for every method without its own route
	Path     string // with {param} and, last, {proxy+}
	Function string // logical id
}

// GatewayResponse replaces what API Gateway answers for one kind of fault.
// Throttle is how many requests a route takes: Rate a second in the long run, and
// Burst at once on top.
type Throttle struct {
	Method string // "*" for all
	Path   string // "/*" for all
	Rate   int
	Burst  int
}

type GatewayResponse struct {
	// Status is the HTTP status, 0 to keep the fault's own.
	Status int
	// Body is the application/json template, "" to keep the default one.
	Body string
	// Headers are the mapping expressions by header name: 'a literal in quotes'
	// or context.requestId.
	Headers map[string]string
}

// Queue is an AWS::SQS::Queue.
type Queue struct {
	ID           string // logical id
	FIFO         bool
	ContentDedup bool          // ContentBasedDeduplication
	GroupDedup   bool          // DeduplicationScope is messageGroup
	Visibility   time.Duration // 30 s unless declared
	Retention    time.Duration // 4 days unless declared
	Delay        time.Duration
	DeadLetters  string // logical id of the dead-letter queue, "" without
	MaxReceives  int    // receives before a message goes there, 0 without
}

// EventSource is an event of type SQS: a queue and the function that works on it.
type EventSource struct {
	ID             string // logical id of the function, a dot, the event's name
	Queue          string // logical id
	Function       string // logical id
	BatchSize      int    // 10 unless declared
	Window         time.Duration
	MaxConcurrency int  // 0 without a limit of its own
	PartialBatch   bool // FunctionResponseTypes has ReportBatchItemFailures
	Enabled        bool
}

// Table is an AWS::DynamoDB::Table.
type Table struct {
	ID   string // logical id
	Hash Key
	// Sort is the sort key; its Name is "" when there is none.
	Sort Key
	// TTL is the attribute that holds the expiry time, "" without.
	TTL string
}

// Key is one attribute of a table's key.
type Key struct {
	Name string
	Type string // S, N or B
}

// Load reads and parses the template in the file at path.
func Load(path string) (*Template, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", path, err)
	}
	return t, nil
}

// Parse parses a template. The error joins all faults found, one per line; each
// names the resource and the property, and says what was expected.
func Parse(data []byte) (*Template, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the template is empty, expected a mapping with Resources")
	}
	nodes := 0
	root, err := convert(doc.Content[0], 0, &nodes)
	if err != nil {
		return nil, err
	}
	if root.kind != mapping {
		return nil, fmt.Errorf("the template is %s, expected a mapping with Resources", root.kind)
	}
	p := &parser{evaluator: newEvaluator(root)}
	t := p.template(root)
	if err := errors.Join(p.faults...); err != nil {
		return nil, err
	}
	return t, nil
}

// Function returns the function with a logical id.
func (t *Template) Function(id string) (Function, bool) {
	for _, f := range t.Functions {
		if f.ID == id {
			return f, true
		}
	}
	return Function{}, false
}

// Queue returns the queue with a logical id.
func (t *Template) Queue(id string) (Queue, bool) {
	for _, q := range t.Queues {
		if q.ID == id {
			return q, true
		}
	}
	return Queue{}, false
}

// Table returns the table with a logical id.
func (t *Template) Table(id string) (Table, bool) {
	for _, tb := range t.Tables {
		if tb.ID == id {
			return tb, true
		}
	}
	return Table{}, false
}

// kebab turns a logical id into the name of its folder: ContactFind to
// contact-find, SQSWorker to sqs-worker, OrderV2 to order-v2.
func kebab(id string) string {
	var b strings.Builder
	runes := []rune(id)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) {
			after := !unicode.IsUpper(runes[i-1])
			before := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if after || before {
				b.WriteByte('-')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
