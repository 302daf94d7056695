package template

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parser collects faults so that all of them are told at once.
type parser struct {
	*evaluator
	faults []error
}

// fault notes what is wrong with a property. Globals are read once for every
// function, so the same fault may come again: it is told once.
func (p *parser) fault(where, format string, args ...any) {
	err := fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...))
	if slices.ContainsFunc(p.faults, func(e error) bool { return e.Error() == err.Error() }) {
		return
	}
	p.faults = append(p.faults, err)
}

func (p *parser) template(root *node) *Template {
	t := &Template{Parameters: maps.Clone(p.params), GatewayResponses: map[string]GatewayResponse{}}
	resources := root.get("Resources")
	if resources == nil || resources.kind != mapping {
		p.fault("Resources", "missing, expected a mapping of resources")
		return t
	}
	globals := root.get("Globals")
	p.api(t, p.follow("Globals.Api", globals.get("Api")))

	var functions []resource
	for _, id := range resources.keys {
		if strings.HasPrefix(id, "Fn::ForEach::") {
			continue // what is served here stands on its own: loops hold logs, alarms, roles and policies
		}
		r := resources.vals[id]
		kind := r.get("Type")
		if r.kind != mapping || kind == nil || kind.kind != scalar {
			p.fault(id+".Type", "missing, expected a resource type such as AWS::SQS::Queue")
			continue
		}
		if c := r.get("Condition"); c != nil {
			there, err := p.named(c.text, c.line)
			if err != nil {
				p.fault(id+".Condition", "%v", err)
				continue
			}
			if !there {
				continue
			}
		}
		res := resource{p: p, id: id, where: id, props: p.follow(id+".Properties", r.get("Properties"))}
		switch kind.text {
		case "AWS::Serverless::Function":
			functions = append(functions, res)
		case "AWS::SQS::Queue":
			t.Queues = append(t.Queues, res.queue())
		case "AWS::DynamoDB::Table":
			t.Tables = append(t.Tables, res.table())
		}
	}
	defaults := resource{p: p, id: "Globals", where: "Globals.Function", props: p.follow("Globals.Function", globals.get("Function"))}
	for _, r := range functions {
		p.function(t, r, defaults)
	}
	p.checkQueues(t)
	p.checkRoutes(t)
	return t
}

// follow resolves a node that may be an Fn::If, noting a fault.
func (p *parser) follow(where string, n *node) *node {
	n, err := p.resolve(n)
	if err != nil {
		p.fault(where, "%v", err)
	}
	return n
}

// gatewayTypes are the response types of API Gateway's REST APIs:
// https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
var gatewayTypes = []string{
	"ACCESS_DENIED", "API_CONFIGURATION_ERROR", "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE",
	"BAD_REQUEST_BODY", "BAD_REQUEST_PARAMETERS", "DEFAULT_4XX", "DEFAULT_5XX", "EXPIRED_TOKEN",
	"INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "INVALID_API_KEY", "INVALID_SIGNATURE",
	"MISSING_AUTHENTICATION_TOKEN", "QUOTA_EXCEEDED", "REQUEST_TOO_LARGE", "RESOURCE_NOT_FOUND",
	"THROTTLED", "UNAUTHORIZED", "UNSUPPORTED_MEDIA_TYPE", "WAF_FILTERED",
}

func (p *parser) api(t *Template, api *node) {
	r := resource{p: p, id: "Globals", where: "Globals.Api", props: api}
	for _, n := range r.list("BinaryMediaTypes") {
		s, err := p.text(n)
		if err != nil {
			p.fault("Globals.Api.BinaryMediaTypes", "%v", err)
			continue
		}
		// SAM writes the slash as ~1, JSON pointer's escape.
		s = strings.ToLower(strings.ReplaceAll(s, "~1", "/"))
		if major, minor, ok := strings.Cut(s, "/"); !ok || major == "" || minor == "" {
			p.fault("Globals.Api.BinaryMediaTypes", "%q, expected a media type such as image/png or */*", s)
			continue
		}
		t.BinaryMediaTypes = append(t.BinaryMediaTypes, s)
	}
	p.throttles(t, r)
	responses := r.mapping("GatewayResponses")
	if responses == nil {
		return
	}
	for _, name := range responses.keys {
		where := "Globals.Api.GatewayResponses." + name
		if !slices.Contains(gatewayTypes, name) {
			p.fault(where, "unknown response type, expected one of %s", strings.Join(gatewayTypes, ", "))
			continue
		}
		g := resource{p: p, id: "Globals", where: where, props: p.follow(where, responses.vals[name])}
		resp := GatewayResponse{Status: g.number("StatusCode", 0, 100, 599)}
		if m := g.mapping("ResponseTemplates"); m != nil {
			resp.Body = (resource{p: p, id: "Globals", where: where + ".ResponseTemplates", props: m}).text("application/json")
		}
		if m := g.mapping("ResponseParameters"); m != nil {
			h := resource{p: p, id: "Globals", where: where + ".ResponseParameters", props: m}
			if m := h.mapping("Headers"); m != nil {
				h = resource{p: p, id: "Globals", where: h.where + ".Headers", props: m}
				resp.Headers = map[string]string{}
				for _, k := range m.keys {
					resp.Headers[k] = h.text(k)
				}
			}
		}
		t.GatewayResponses[name] = resp
	}
}

// throttles reads the method settings. API Gateway takes 10,000 requests a second
// of an account, and 5000 at once.
func (p *parser) throttles(t *Template, api resource) {
	for i, n := range api.list("MethodSettings") {
		where := fmt.Sprintf("%s.MethodSettings[%d]", api.where, i)
		m := resource{p: p, id: api.id, where: where, props: p.follow(where, n)}
		path := m.required("ResourcePath")
		if path != "/*" { // API Gateway wants ~1 for the slashes after the first
			path = strings.ReplaceAll(strings.TrimPrefix(path, "/"), "~1", "/")
		}
		th := Throttle{
			Method: strings.ToUpper(m.required("HttpMethod")), Path: path,
			Rate: m.number("ThrottlingRateLimit", 0, 1, 10_000), Burst: m.number("ThrottlingBurstLimit", 0, 1, 5000),
		}
		if th.Rate > 0 && th.Burst > 0 {
			t.Throttles = append(t.Throttles, th)
		}
	}
	slices.SortStableFunc(t.Throttles, func(a, b Throttle) int { return cmp.Compare(len(a.Path), len(b.Path)) })
}

func (p *parser) function(t *Template, r, defaults resource) {
	f := Function{ID: r.id, Name: kebab(r.id), Environment: map[string]Value{}}
	// Lambda's own limits: 15 minutes, 128 MB to 10 GB.
	f.Timeout = r.seconds("Timeout", defaults.seconds("Timeout", 3*time.Second, 1, 900), 1, 900)
	f.MemoryMB = r.number("MemorySize", defaults.number("MemorySize", 128, 128, 10240), 128, 10240)
	for _, from := range []resource{defaults, r} {
		env := from.mapping("Environment")
		if env == nil {
			continue
		}
		where := from.where + ".Environment.Variables"
		vars := p.follow(where, env.get("Variables"))
		if vars == nil {
			continue
		}
		if vars.kind != mapping {
			p.fault(where, "is %s, expected a mapping", vars.kind)
			continue
		}
		for _, name := range vars.keys {
			n := p.follow(where+"."+name, vars.vals[name])
			if n == nil {
				continue
			}
			v, err := p.value(n)
			if err != nil {
				p.fault(where+"."+name, "%v", err)
				continue
			}
			f.Environment[name] = v
		}
	}
	if slices.ContainsFunc(t.Functions, func(o Function) bool { return o.Name == f.Name }) {
		p.fault(r.where, "another function's id gives the folder name %q too", f.Name)
	}
	t.Functions = append(t.Functions, f)

	events := r.mapping("Events")
	if events == nil {
		return
	}
	for _, name := range events.keys {
		where := r.where + ".Events." + name
		event := p.follow(where, events.vals[name])
		kind := event.get("Type")
		if kind == nil || kind.kind != scalar {
			p.fault(where+".Type", "missing, expected an event type such as Api or SQS")
			continue
		}
		e := resource{p: p, id: r.id, where: where, props: p.follow(where+".Properties", event.get("Properties"))}
		switch kind.text {
		case "Api":
			t.Routes = append(t.Routes, Route{Method: strings.ToUpper(e.required("Method")), Path: e.required("Path"), Function: r.id})
		case "SQS":
			if s, ok := e.eventSource(name); ok {
				t.EventSources = append(t.EventSources, s)
			}
		case "HttpApi":
			p.fault(where+".Type", "HttpApi is not served locally, expected Api (only REST APIs have gateway responses)")
		}
	}
}

var methods = []string{"ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

func (p *parser) checkRoutes(t *Template) {
	declared := map[string]string{} // method and path to function
	variable := map[string]string{} // path up to a variable part, to that part
	for _, r := range t.Routes {
		where := r.Function + ".Events: " + r.Method + " " + r.Path
		if r.Method != "" && !slices.Contains(methods, r.Method) {
			p.fault(where, "unknown method, expected one of %s", strings.Join(methods, ", "))
		}
		if r.Path == "" {
			continue // told as missing
		}
		if !strings.HasPrefix(r.Path, "/") {
			p.fault(where, "expected a path that begins with a slash")
			continue
		}
		if r.Path != "/" && strings.HasSuffix(r.Path, "/") {
			p.fault(where, "expected a path that does not end with a slash")
			continue
		}
		if other, twice := declared[r.Method+" "+r.Path]; twice {
			p.fault(where, "the route is declared twice, in %s too", other)
			continue
		}
		declared[r.Method+" "+r.Path] = r.Function
		if r.Path != "/" {
			p.checkPath(where, r.Path, variable)
		}
	}
}

func (p *parser) checkPath(where, path string, variable map[string]string) {
	parts := strings.Split(path[1:], "/")
	seen := map[string]bool{}
	for i, part := range parts {
		open, closed := strings.HasPrefix(part, "{"), strings.HasSuffix(part, "}")
		switch {
		case part == "":
			p.fault(where, "two slashes in a row")
			return
		case !open && !closed && !strings.ContainsAny(part, "{}"):
			continue
		case !open || !closed || len(part) < 3 || strings.ContainsAny(part[1:len(part)-1], "{}"):
			p.fault(where, "%q, expected a variable to be the whole part between slashes, such as {id}", part)
			return
		}
		name, greedy := strings.CutSuffix(part[1:len(part)-1], "+")
		if name == "" || seen[name] {
			p.fault(where, "the variable %q has no name or comes twice", part)
			return
		}
		seen[name] = true
		if greedy && i != len(parts)-1 {
			p.fault(where, "%q, expected a greedy variable to be the last part", part)
			return
		}
		// API Gateway refuses to create a sibling of a variable path part that
		// is variable too.
		prefix := strings.Join(parts[:i], "/")
		if other := cmp.Or(variable[prefix], part); other != part {
			p.fault(where, "%q stands where another route has %q; API Gateway takes one variable per level", part, other)
			return
		}
		variable[prefix] = part
	}
}

func (p *parser) checkQueues(t *Template) {
	for _, q := range t.Queues {
		if q.DeadLetters == "" {
			continue
		}
		dead, ok := t.Queue(q.DeadLetters)
		switch where := q.ID + ".RedrivePolicy.deadLetterTargetArn"; {
		case !ok:
			p.fault(where, "%q is not a queue of this template", q.DeadLetters)
		case dead.ID == q.ID:
			p.fault(where, "is the queue itself, expected another one")
		case dead.FIFO != q.FIFO:
			p.fault(where, "%q is of another kind; a FIFO queue needs a FIFO dead-letter queue, a standard one a standard one", q.DeadLetters)
		}
	}
	for _, s := range t.EventSources {
		where := s.ID
		q, ok := t.Queue(s.Queue)
		if !ok {
			p.fault(where+".Queue", "%q is not a queue of this template", s.Queue)
			continue
		}
		// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-parameters.html
		switch {
		case q.FIFO && s.BatchSize > 10:
			p.fault(where+".BatchSize", "%d, expected at most 10 for a FIFO queue", s.BatchSize)
		case s.BatchSize > 10 && s.Window < time.Second:
			p.fault(where+".MaximumBatchingWindowInSeconds", "%v, expected at least 1 s with a BatchSize above 10", s.Window)
		case q.FIFO && s.Window > 0:
			p.fault(where+".MaximumBatchingWindowInSeconds", "FIFO queues have no batching window")
		}
		if f, ok := t.Function(s.Function); ok && q.Visibility < f.Timeout {
			p.fault(q.ID+".VisibilityTimeout", "%v, expected at least the time-out of %s, %v", q.Visibility, f.ID, f.Timeout)
		}
	}
}

// resource reads properties and notes what is wrong with them under where.
type resource struct {
	p     *parser
	id    string
	where string
	props *node
}

func (r resource) property(name string) (*node, string) {
	where := r.where + "." + name
	return r.p.follow(where, r.props.get(name)), where
}

func (r resource) text(name string) string {
	n, where := r.property(name)
	if n == nil {
		return ""
	}
	s, err := r.p.text(n)
	if err != nil {
		r.p.fault(where, "%v", err)
	}
	return s
}

func (r resource) required(name string) string {
	before := len(r.p.faults)
	s := r.text(name)
	if s == "" && len(r.p.faults) == before {
		r.p.fault(r.where+"."+name, "missing")
	}
	return s
}

func (r resource) number(name string, otherwise, least, most int) int {
	n, where := r.property(name)
	if n == nil {
		return otherwise
	}
	s, err := r.p.text(n)
	if err != nil {
		r.p.fault(where, "%v", err)
		return otherwise
	}
	i, err := strconv.Atoi(s)
	if err != nil || i < least || i > most {
		r.p.fault(where, "%q, expected a whole number from %d to %d", s, least, most)
		return otherwise
	}
	return i
}

func (r resource) seconds(name string, otherwise time.Duration, least, most int) time.Duration {
	return time.Duration(r.number(name, int(otherwise/time.Second), least, most)) * time.Second
}

func (r resource) flag(name string, otherwise bool) bool {
	n, where := r.property(name)
	if n == nil {
		return otherwise
	}
	s, err := r.p.text(n)
	if err != nil {
		r.p.fault(where, "%v", err)
		return otherwise
	}
	switch strings.ToLower(s) {
	case "true":
		return true
	case "false":
		return false
	default:
		r.p.fault(where, "%q, expected true or false", s)
		return otherwise
	}
}

func (r resource) mapping(name string) *node {
	n, where := r.property(name)
	if n != nil && n.kind != mapping {
		r.p.fault(where, "is %s, expected a mapping", n.kind)
		return nil
	}
	return n
}

func (r resource) list(name string) []*node {
	n, where := r.property(name)
	if n == nil {
		return nil
	}
	if n.kind != sequence {
		r.p.fault(where, "is %s, expected a list", n.kind)
		return nil
	}
	return n.items
}

// arn reads a property that must be !GetAtt of a resource's Arn, and returns the
// logical id.
func (r resource) arn(name string) (string, bool) {
	n, where := r.property(name)
	if n == nil {
		r.p.fault(where, "missing, expected !GetAtt of a queue's Arn")
		return "", false
	}
	v, err := r.p.value(n)
	if err != nil {
		r.p.fault(where, "%v", err)
		return "", false
	}
	id, attr, ok := v.Reference()
	if !ok || attr != "Arn" {
		r.p.fault(where, "%q, expected !GetAtt of a queue's Arn", v)
		return "", false
	}
	return id, true
}

// queue reads an AWS::SQS::Queue; limits are SetQueueAttributes'.
func (r resource) queue() Queue {
	q := Queue{
		ID:           r.id,
		FIFO:         r.flag("FifoQueue", false),
		ContentDedup: r.flag("ContentBasedDeduplication", false),
		Visibility:   r.seconds("VisibilityTimeout", 30*time.Second, 0, 43200),
		Retention:    r.seconds("MessageRetentionPeriod", 345600*time.Second, 60, 1209600),
		Delay:        r.seconds("DelaySeconds", 0, 0, 900),
	}
	if q.ContentDedup && !q.FIFO {
		r.p.fault(r.where+".ContentBasedDeduplication", "only FIFO queues have it")
	}
	switch scope, where := r.text("DeduplicationScope"), r.where+".DeduplicationScope"; {
	case scope == "":
	case !q.FIFO:
		r.p.fault(where, "only FIFO queues have it")
	case scope == "messageGroup":
		q.GroupDedup = true
	case scope != "queue":
		r.p.fault(where, "%q, expected messageGroup or queue", scope)
	}
	if policy := r.mapping("RedrivePolicy"); policy != nil {
		rp := resource{p: r.p, id: r.id, where: r.where + ".RedrivePolicy", props: policy}
		q.DeadLetters, _ = rp.arn("deadLetterTargetArn")
		if n, where := rp.property("maxReceiveCount"); n == nil {
			r.p.fault(where, "missing, expected a whole number from 1 to 1000")
		}
		q.MaxReceives = rp.number("maxReceiveCount", 0, 1, 1000)
	}
	return q
}

func (r resource) eventSource(name string) (EventSource, bool) {
	queue, ok := r.arn("Queue")
	s := EventSource{
		ID:             r.id + "." + name,
		Queue:          queue,
		Function:       r.id,
		BatchSize:      r.number("BatchSize", 10, 1, 10000),
		Window:         r.seconds("MaximumBatchingWindowInSeconds", 0, 0, 300),
		Enabled:        r.flag("Enabled", true),
		MaxConcurrency: 0,
	}
	if scaling := r.mapping("ScalingConfig"); scaling != nil {
		sc := resource{p: r.p, id: r.id, where: r.where + ".ScalingConfig", props: scaling}
		s.MaxConcurrency = sc.number("MaximumConcurrency", 0, 2, 1000)
	}
	for _, n := range r.list("FunctionResponseTypes") {
		t, err := r.p.text(n)
		if err != nil || t != "ReportBatchItemFailures" {
			r.p.fault(r.where+".FunctionResponseTypes", "%q, expected ReportBatchItemFailures", t)
			continue
		}
		s.PartialBatch = true
	}
	return s, ok
}

func (r resource) table() Table {
	t := Table{ID: r.id}
	types := map[string]string{}
	for _, n := range r.list("AttributeDefinitions") {
		d := resource{p: r.p, id: r.id, where: r.where + ".AttributeDefinitions", props: r.p.follow(r.where, n)}
		name, kind := d.required("AttributeName"), d.required("AttributeType")
		if !slices.Contains([]string{"S", "N", "B"}, kind) {
			r.p.fault(d.where+".AttributeType", "%q, expected S, N or B", kind)
		}
		types[name] = kind
	}
	for _, n := range r.list("KeySchema") {
		k := resource{p: r.p, id: r.id, where: r.where + ".KeySchema", props: r.p.follow(r.where, n)}
		key := Key{Name: k.required("AttributeName")}
		var ok bool
		if key.Type, ok = types[key.Name]; !ok {
			r.p.fault(k.where+".AttributeName", "%q is not among the AttributeDefinitions", key.Name)
		}
		switch kind := k.required("KeyType"); kind {
		case "HASH":
			t.Hash = key
		case "RANGE":
			t.Sort = key
		default:
			r.p.fault(k.where+".KeyType", "%q, expected HASH or RANGE", kind)
		}
	}
	if t.Hash.Name == "" {
		r.p.fault(r.where+".KeySchema", "has no HASH key")
	}
	if ttl := r.mapping("TimeToLiveSpecification"); ttl != nil {
		s := resource{p: r.p, id: r.id, where: r.where + ".TimeToLiveSpecification", props: ttl}
		if s.flag("Enabled", false) {
			t.TTL = s.required("AttributeName")
		}
	}
	return t
}
