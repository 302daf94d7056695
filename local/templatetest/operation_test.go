package templatetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/order"
)

// mailsItself are the alarms that may stay on for a day or more: until somebody
// has acted, or a large import or backfill is through. In the composite they
// would keep everything else from being mailed.
var mailsItself = []string{
	"ApiClientErrors", "BackfillDeadLettersOld", "BackfillPutAside", "BackfillWait",
	"BonusDeadLettersOld", "BonusInFlight", "BonusPutAside", "DeadLettersOld",
	"HistoryDeadLettersOld", "HistoryPutAside", "HistoryWait",
	"ImportsDeadLettersOld", "ImportsPutAside", "ImportsWait", "OrdersInFlight", "OrdersPutAside",
}

// maxChildren is how many alarms the rule of a composite one may name (quotas of
// CloudWatch alarms).
const maxChildren = 100

// worksOn are the workers that go on with the next piece of work while there is
// time, and from when on they begin no more, in ms: a run that ends a little later
// is none that is slow.
var worksOn = map[string]int{"BackfillWorker": 277_000, "HistoryWorker": 267_000}

// TestAlarms wants an alarm for everything that can go wrong, each of which
// mails: those of mailsItself on their own, the others through the composite.
func TestAlarms(t *testing.T) {
	t.Parallel()
	top := load(t)
	type alarm struct{ Namespace, Metric, Of string }
	var want, got []alarm
	for _, f := range functions(t, top) {
		for _, metric := range []string{"Errors", "Throttles", "Duration"} {
			want = append(want, alarm{"AWS/Lambda", metric, f.id})
		}
	}
	for _, q := range resources(t, top, "AWS::SQS::Queue") {
		want = append(want, alarm{"AWS/SQS", "ApproximateAgeOfOldestMessage", q.id})
		if dead := textAt(q.body, "Properties", "RedrivePolicy", "deadLetterTargetArn", "Fn::GetAtt"); dead != "" {
			want = append(want, alarm{"AWS/SQS", "ApproximateNumberOfMessagesVisible", strings.TrimSuffix(dead, ".Arn")})
			if q.at("FifoQueue") != true { // SQS hands out no more when too many wait for their next try
				want = append(want, alarm{"AWS/SQS", "ApproximateNumberOfMessagesNotVisible", q.id})
			}
		}
	}
	want = append(want, alarm{"AWS/ApiGateway", "5XXError", "AWS::StackName"}, alarm{"AWS/ApiGateway", "4XXError", "AWS::StackName"})
	for _, f := range resources(t, top, "AWS::Logs::MetricFilter") {
		for _, m := range listAt(f.body, "Properties", "MetricTransformations") {
			want = append(want, alarm{target(at(m, "MetricNamespace")), textAt(m, "MetricName"), ""})
		}
	}

	mail := object{"Fn::If": []any{"MailAlarms", []any{object{"Ref": "AlarmTopic"}}, object{"Ref": "AWS::NoValue"}}}
	tills := map[string]bool{}
	for _, e := range events(t, top) {
		tills[e.function.id] = e.kind == "Api" && !noTill[e.function.id]
	}
	var rolled, alone []string
	for _, a := range resources(t, top, "AWS::CloudWatch::Alarm") {
		metric := objectAt(a.body, "Properties")
		if several := listAt(metric, "Metrics"); len(several) > 0 { // the first is what the alarm is about
			metric = objectAt(several[0], "MetricStat", "Metric")
		}
		of := "" // a metric of ours has no dimensions
		if dimensions := listAt(metric, "Dimensions"); len(dimensions) > 0 {
			of = target(at(dimensions[0], "Value"))
		}
		namespace := textAt(metric, "Namespace")
		if namespace == "" {
			namespace = target(metric["Namespace"])
		}
		got = append(got, alarm{namespace, textAt(metric, "MetricName"), of})
		if a.at("AlarmActions") == nil {
			rolled = append(rolled, `ALARM("${`+a.id+`}")`)
		} else {
			alone = append(alone, a.id)
			if diff := cmp.Diff(mail, objectAt(a.body, "Properties", "AlarmActions")); diff != "" {
				t.Errorf("%s: actions (-want +got):\n%s", a.id, diff)
			}
		}
		if metric := a.at("MetricName"); metric == "Duration" {
			limit := 1000 * number(top, setting(top, resource{of, objectAt(top, "Resources", of)}, "Timeout"))
			threshold := number(top, a.at("Threshold"))
			switch {
			case tills[of] && threshold != 1000*patience/2:
				t.Errorf("%s: threshold %d ms, want half of what a till waits, %d ms", a.id, threshold, 1000*patience/2)
			case noTill[of] && threshold >= 1000*fileBudget: // it has given up by then
				t.Errorf("%s: threshold %d ms, want below the handler's %d ms", a.id, threshold, 1000*fileBudget)
			case !tills[of] && (threshold >= limit || threshold*10 < limit*8):
				t.Errorf("%s: threshold %d ms, want close to and below the time-out of %d ms", a.id, threshold, limit)
			case worksOn[of] > 0 && threshold < worksOn[of]+10_000:
				t.Errorf("%s: threshold %d ms, which a run may take that begins its last piece of work at %d ms", a.id, threshold, worksOn[of])
			}
		}
		if a.at("TreatMissingData") != "notBreaching" {
			t.Errorf("%s: a quiet night is an alarm", a.id)
		}
	}
	order := func(a, b alarm) int {
		return strings.Compare(a.Namespace+a.Metric+a.Of, b.Namespace+b.Metric+b.Of)
	}
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff(mailsItself, alone); diff != "" {
		t.Errorf("alarms that mail by themselves (-want +got):\n%s", diff)
	}
	composites := resources(t, top, "AWS::CloudWatch::CompositeAlarm")
	if len(composites) != 1 {
		t.Fatalf("%d composite alarms, want 1", len(composites))
	}
	if diff := cmp.Diff(mail, objectAt(composites[0].body, "Properties", "AlarmActions")); diff != "" {
		t.Errorf("%s: actions (-want +got):\n%s", composites[0].id, diff)
	}
	rule, _ := composites[0].at("AlarmRule", "Fn::Join").([]any)
	if len(rule) != 2 || rule[0] != " OR " {
		t.Fatalf("%s: rule %v, want alarms joined by OR", composites[0].id, rule)
	}
	var listed []string
	for _, line := range texts(rule[1]) {
		listed = append(listed, strings.Split(line, " OR ")...)
	}
	slices.Sort(listed)
	slices.Sort(rolled)
	if diff := cmp.Diff(rolled, listed); diff != "" {
		t.Errorf("%s (-alarms +rule):\n%s", composites[0].id, diff)
	}
	if len(listed) > maxChildren {
		t.Errorf("%s names %d alarms, CloudWatch takes %d", composites[0].id, len(listed), maxChildren)
	}
}

// TestRetried: a standard queue leaves a message that has been received a few
// times out of the age of its oldest one, so the worker's own lines are counted.
// They are warnings, which the log must hold whatever its level.
func TestRetried(t *testing.T) {
	t.Parallel()
	top := load(t)
	limit := number(top, at(top, "Resources", "OrdersWait", "Properties", "Threshold"))
	// As long as OrdersWait allows; and seven tries, which are 15 s doubling, so
	// that the seventh comes as long after the first.
	if wait := 15 * (1<<6 - 1); wait < number(top, at(top, "Resources", "BonusWait", "Properties", "Threshold")) {
		t.Errorf("seven tries take %d s, less than BonusWait allows", wait)
	}
	const parked = `{ $.msg = "parked" }`
	conflict := fmt.Sprintf(`{ $.msg = %q }`, order.ConflictMessage)
	want := map[string][]any{
		"OrderWorkerLogs":          {fmt.Sprintf(`{ ($.outcome = "again") && ($.waited_ms > %d) }`, 1000*limit), parked, conflict},
		"HistoryWorkerLogs":        {conflict},
		"OrderReceiveLogs":         {parked},
		"BonuscheckSyncWorkerLogs": {`{ ($.outcome = "again") && ($.receives > 6) }`},
	}
	// What the gateway turned away is in its log alone.
	throttled := `{ ($.gatewayResponse = "THROTTLED") && ($.resourcePath = "/sitoo/transactions") }`
	for _, e := range events(t, top) {
		fifo := at(top, "Resources", target(e.body["Queue"]), "Properties", "FifoQueue") == true
		counted := slices.ContainsFunc(want[e.function.id+"Logs"], func(p any) bool { return strings.Contains(fmt.Sprint(p), `"again"`) })
		if e.kind == "SQS" && counted == fifo {
			t.Errorf("%s: its lines counted %v, its queue FIFO %v; want one or the other", e.function.id, counted, fifo)
		}
	}
	got := map[string][]any{}
	for _, f := range resources(t, top, "AWS::Logs::MetricFilter") {
		group := target(f.at("LogGroupName"))
		if group == "ApiAccessLogs" {
			if f.at("FilterPattern") != throttled {
				t.Errorf("%s counts %v, want %s", f.id, f.at("FilterPattern"), throttled)
			}
			continue
		}
		got[group] = append(got[group], f.at("FilterPattern"))
		for _, m := range listAt(f.body, "Properties", "MetricTransformations") {
			lookBack(t, top, textAt(m, "MetricName"))
		}
	}
	for _, patterns := range got {
		slices.SortFunc(patterns, func(a, b any) int { return strings.Compare(fmt.Sprint(b), fmt.Sprint(a)) })
	}
	for _, patterns := range want {
		slices.SortFunc(patterns, func(a, b any) int { return strings.Compare(fmt.Sprint(b), fmt.Sprint(a)) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metric filters (-want +got):\n%s", diff)
	}
	for _, level := range listAt(top, "Parameters", "LogLevel", "AllowedValues") {
		if level == "ERROR" {
			t.Error("LogLevel may be ERROR, which keeps warnings from the log")
		}
	}
}

// lookBack wants an alarm that looks back on more than the worker's longest wait
// between two tries, an hour and a tenth; otherwise it goes off and on with each.
func lookBack(t *testing.T, top object, id string) {
	t.Helper()
	alarm := objectAt(top, "Resources", id, "Properties")
	if got := number(top, alarm["Period"]) * number(top, alarm["EvaluationPeriods"]); got <= 66*60 || number(top, alarm["DatapointsToAlarm"]) != 1 {
		t.Errorf("%s looks back %d s, want more than %d s, and one line is enough", id, got, 66*60)
	}
}

// TestWaits: each queue's oldest message may wait as long as its work takes on a
// bad day, and no longer than the worker's two days.
func TestWaits(t *testing.T) {
	t.Parallel()
	top := load(t)
	const (
		block = 10 * 60      // seconds that Rule blocks an account
		delay = 90           // seconds that a message about a used bonus check is hidden first
		aside = 48 * 60 * 60 // seconds after which a worker puts aside
		open  = 14 * 60 * 60 // seconds that tills may use up their shop's budget on a day
	)
	for id, least := range map[string]int{
		"OrdersWait": block, "BonusWait": delay + block, "ImportsWait": open, "BackfillWait": open, "HistoryWait": open,
	} {
		if got := number(top, at(top, "Resources", id, "Properties", "Threshold")); got <= least || got > aside/2 {
			t.Errorf("%s: threshold %d s, want more than %d s, and time to act before %d s", id, got, least, aside)
		}
	}
	for _, id := range []string{"DeadLettersOld", "BonusDeadLettersOld", "ImportsDeadLettersOld", "BackfillDeadLettersOld", "HistoryDeadLettersOld"} {
		if got := number(top, at(top, "Resources", id, "Properties", "Threshold")); got != longest-4*24*60*60 {
			t.Errorf("%s: threshold %d s, want four days before SQS deletes, %d s", id, got, longest-4*24*60*60)
		}
	}
}

// TestAlarmsInReadme checks that whoever is woken up finds what to do.
func TestAlarmsInReadme(t *testing.T) {
	t.Parallel()
	top := load(t)
	headings := readHeadings(t)
	names := regexp.MustCompile(`README: (.+)$`)
	for _, kind := range []string{"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"} {
		for _, a := range resources(t, top, kind) {
			description, _ := a.at("AlarmDescription").(string)
			m := names.FindStringSubmatch(description)
			if m == nil {
				t.Errorf("%s: %q names no section of the README", a.id, description)
				continue
			}
			if !slices.Contains(headings, m[1]) {
				t.Errorf("%s: the README has no section %q", a.id, m[1])
			}
		}
	}
}

// readHeadings returns the sections of the README, each with those it stands
// in: "When something is wrong > A function fails".
func readHeadings(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var all, open []string
	fenced := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		text := strings.TrimLeft(line, "#")
		level := len(line) - len(text) - 1 // 0 for the title, 1 for a section
		if fenced || level < 1 || !strings.HasPrefix(text, " ") {
			continue
		}
		open = append(open[:min(level-1, len(open))], strings.TrimSpace(text))
		all = append(all, strings.Join(open, " > "))
	}
	return all
}

func TestParameters(t *testing.T) {
	t.Parallel()
	top := load(t)
	used := map[string]bool{}
	var collect func(v any)
	collect = func(v any) {
		switch v := v.(type) {
		case object:
			used[textAt(v, "Ref")] = true
			for _, member := range v {
				collect(member)
			}
		case []any:
			for _, member := range v {
				collect(member)
			}
		}
	}
	collect(top)
	for name, body := range objectAt(top, "Parameters") {
		if textAt(body, "Description") == "" {
			t.Errorf("%s: no description", name)
		}
		if at(body, "Default") == nil {
			t.Errorf("%s: no default", name)
		}
		if at(body, "AllowedValues") == nil && at(body, "AllowedPattern") == nil && at(body, "MinValue") == nil {
			t.Errorf("%s: takes anything", name)
		}
		if !used[name] {
			t.Errorf("%s: is not used", name)
		}
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	top := load(t)
	url := textAt(top, "Outputs", "SitooApiUrl", "Value", "Fn::Sub")
	if !strings.HasPrefix(url, "https://") || !strings.HasSuffix(url, "/sitoo") {
		t.Errorf("SitooApiUrl is %q, want an address that ends in /sitoo", url)
	}
	if got := textAt(top, "Outputs", "DomainApiUrl", "Value", "Fn::Sub"); got != "https://${DomainName}/sitoo" {
		t.Errorf("DomainApiUrl is %q, want the API below the operator's own name", got)
	}
	want := map[string]string{}
	for _, table := range resources(t, top, "AWS::DynamoDB::Table") {
		want[table.id+"Name"] = table.id
	}
	// A redrive needs the ARNs of both: the worker puts aside by sending, so SQS
	// knows of no queue to send back to.
	queues := resources(t, top, "AWS::SQS::Queue")
	for _, q := range queues {
		want[q.id+"Url"] = q.id
	}
	for name, id := range want {
		if got := textAt(top, "Outputs", name, "Value", "Ref"); got != id {
			t.Errorf("%s is of %q, want %s", name, got, id)
		}
	}
	for _, q := range queues {
		id := q.id
		if got := textAt(top, "Outputs", id+"Arn", "Value", "Fn::GetAtt"); got != id+".Arn" {
			t.Errorf("%sArn is of %q, want %s.Arn", id, got, id)
		}
	}
	for name, body := range objectAt(top, "Outputs") {
		if textAt(body, "Description") == "" {
			t.Errorf("output %s: no description", name)
		}
	}
}

// TestSamconfig reads the parameters of both stages, which neither SAM nor
// cfn-lint compares with the template before a deployment.
func TestSamconfig(t *testing.T) {
	t.Parallel()
	top := load(t)
	data, err := os.ReadFile(filepath.Join(root, "samconfig.toml"))
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`^\[(\w+)\.`)
	override := regexp.MustCompile(`^\s+"(\w+)=([^"]*)",$`)
	stages := map[string]map[string]string{}
	stage := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if m := section.FindStringSubmatch(line); m != nil {
			stage = m[1]
			stages[stage] = map[string]string{}
		}
		m := override.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		stages[stage][m[1]] = m[2]
		parameter := objectAt(top, "Parameters", m[1])
		if parameter == nil {
			t.Errorf("%s: the template has no parameter %s", stage, m[1])
		}
		if allowed := listAt(parameter, "AllowedValues"); allowed != nil && !slices.ContainsFunc(allowed, func(v any) bool {
			return v == m[2] || number(top, v) != -1 && number(top, v) == number(top, m[2])
		}) {
			t.Errorf("%s: %s=%s is not one of %v", stage, m[1], m[2], allowed)
		}
	}
	for name, want := range map[string]string{"dev": "false", "prod": "true"} {
		if got := stages[name]["DeletionProtection"]; got != want {
			t.Errorf("%s: DeletionProtection=%s, want %s", name, got, want)
		}
	}
}

// TestRuleUrl: the shops' keys and customers go to Rule, so its address is https;
// http only leads to the machine itself, where a stand-in is.
func TestRuleUrl(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(textAt(load(t), "Parameters", "RuleUrl", "AllowedPattern"))
	for url, want := range map[string]bool{
		"https://app.rule.io/api": true, "https://rule.example.com:8443": true,
		"http://127.0.0.1:3001": true, "http://localhost:3001/api": true,
		"http://app.rule.io/api": false, "http://127.0.0.1.example.com": false, "http://localhost.example.com/api": false,
		"http://127.0.0.1@example.com": false, "http://10.0.0.1": false, "https://app.rule.io/": false, "": false,
	} {
		if got := pattern.MatchString(url); got != want {
			t.Errorf("RuleUrl takes %q: %v, want %v", url, got, want)
		}
	}
}
