package templatetest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// longest is how long SQS keeps a message at the most: 14 days, in seconds.
const longest = 14 * 24 * 60 * 60

func TestQueues(t *testing.T) {
	t.Parallel()
	top := load(t)
	guarded := map[string]bool{}
	for _, p := range resources(t, top, "AWS::SQS::QueuePolicy") {
		for _, s := range listAt(p.body, "Properties", "PolicyDocument", "Statement") {
			if at(s, "Effect") == "Deny" && at(s, "Principal") == "*" && at(s, "Condition", "Bool", "aws:SecureTransport") == "false" {
				guarded[target(at(s, "Resource"))] = true
			}
		}
	}
	for _, q := range resources(t, top, "AWS::SQS::Queue") {
		if got := number(top, q.at("MessageRetentionPeriod")); got != longest {
			t.Errorf("%s: messages are kept %d s, want %d", q.id, got, longest)
		}
		if q.at("SqsManagedSseEnabled") != true {
			t.Errorf("%s: messages are not encrypted", q.id)
		}
		if !guarded[q.id] {
			t.Errorf("%s: no policy refuses requests without TLS", q.id)
		}
	}

	wantPolled := map[string]string{
		"OrdersQueue": "OrderWorker", "BonusQueue": "BonuscheckSyncWorker", "ImportsQueue": "BonuscheckImportWorker",
		"BackfillQueue": "BackfillWorker", "HistoryQueue": "HistoryWorker",
	}
	polled := map[string]string{}
	for _, e := range events(t, top) {
		if e.kind != "SQS" {
			continue
		}
		polled[target(e.body["Queue"])] = e.function.id
		queue := objectAt(top, "Resources", target(e.body["Queue"]), "Properties")
		seconds := number(top, setting(top, e.function, "Timeout"))
		if got := number(top, queue["VisibilityTimeout"]); seconds < 1 || got < 6*seconds {
			t.Errorf("%s: visibility %d s, want at least six times the %d s of the function", e.function.id, got, seconds)
		}
		// The worker puts aside by age, with a reason, long before the queue
		// does without one: where messages may wait for days, see worker.Edge.
		least := 100
		if queue["FifoQueue"] == true {
			least = 300
		}
		if got := number(top, at(queue, "RedrivePolicy", "maxReceiveCount")); got < least {
			t.Errorf("%s: maxReceiveCount %d, want at least %d", e.function.id, got, least)
		}
		dead := target(at(queue, "RedrivePolicy", "deadLetterTargetArn"))
		if textAt(top, "Resources", dead, "Type") != "AWS::SQS::Queue" {
			t.Errorf("%s: the dead-letter queue %q is not in the template", e.function.id, dead)
		}
		if diff := cmp.Diff([]any{"ReportBatchItemFailures"}, listAt(e.body, "FunctionResponseTypes")); diff != "" {
			t.Errorf("%s: one bad message fails its batch (-want +got):\n%s", e.function.id, diff)
		}
		// Messages of a batch are worked side by side, which a FIFO queue's
		// order does not allow.
		size := 10
		if queue["FifoQueue"] == true {
			size = 1
		}
		if got := number(top, e.body["BatchSize"]); got != size {
			t.Errorf("%s: batch size %d, want %d", e.function.id, got, size)
		}
		if got := number(top, at(e.body, "ScalingConfig", "MaximumConcurrency")); got < 2 || got > 1000 {
			t.Errorf("%s: MaximumConcurrency %d, want 2 to 1000", e.function.id, got)
		}
	}
	if diff := cmp.Diff(wantPolled, polled); diff != "" {
		t.Errorf("queues and their workers (-want +got):\n%s", diff)
	}
}

// TestFIFO: the parts of an import, the steps of a backfill and its orders are
// worked one at a time for each shop, so those queues are FIFO, and a FIFO queue
// takes no other dead-letter queue. None finds duplicates by the body: a part
// that is put aside again soon after a redrive would be dropped, and so would
// what support posts once more.
func TestFIFO(t *testing.T) {
	t.Parallel()
	top := load(t)
	source := object{
		"FifoQueue": true, "ContentBasedDeduplication": false,
		"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	}
	dead := object{"FifoQueue": true, "ContentBasedDeduplication": false}
	want := map[string]object{
		"OrdersQueue": {}, "OrdersDeadLetters": {}, "BonusQueue": {}, "BonusDeadLetters": {},
		"ImportsQueue": source, "ImportsDeadLetters": dead,
		"BackfillQueue": source, "BackfillDeadLetters": dead,
		"HistoryQueue": source, "HistoryDeadLetters": dead,
	}
	got := map[string]object{}
	for _, q := range resources(t, top, "AWS::SQS::Queue") {
		got[q.id] = object{}
		for _, name := range []string{"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"} {
			if v := q.at(name); v != nil {
				got[q.id][name] = v
			}
		}
		if dead := target(q.at("RedrivePolicy", "deadLetterTargetArn")); dead != "" {
			if other := at(top, "Resources", dead, "Properties", "FifoQueue"); other != q.at("FifoQueue") {
				t.Errorf("%s: FIFO %v, its dead-letter queue %v", q.id, q.at("FifoQueue"), other)
			}
			if other := at(top, "Resources", dead, "Properties", "MaximumMessageSize"); other != q.at("MaximumMessageSize") {
				t.Errorf("%s: messages of %v bytes at the most, its dead-letter queue takes %v", q.id, q.at("MaximumMessageSize"), other)
			}
		}
		if q.at("FifoQueue") == true && q.at("DelaySeconds") != nil {
			t.Errorf("%s: hides messages first, which holds up its whole group", q.id)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FIFO (-want +got):\n%s", diff)
	}
}

// TestSettles: a history worker that finds the orders of one who died in the
// middle of a call asks Rule which of them are there, and Rule works calls of many
// customers a while after it took them.
func TestSettles(t *testing.T) {
	t.Parallel()
	top := load(t)
	const settle = 15 * 60 // seconds, as shared/history has it
	if got := number(top, at(top, "Resources", "HistoryQueue", "Properties", "VisibilityTimeout")); got <= settle {
		t.Errorf("HistoryQueue: visibility %d s, want more than the %d s that Rule may take", got, settle)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	top := load(t)
	wantKeys := map[string][]string{
		"AccountsTable": {"id S HASH"},
		"LedgerTable":   {"account S HASH", "order N RANGE"},
		"BonusTable":    {"account S HASH", "subscriber N RANGE"},
		"ConsentsTable": {"account S HASH", "item S RANGE"},
		"ImportsTable":  {"import S HASH", "part N RANGE"},
		"HistoryTable":  {"account S HASH", "item S RANGE"},
		"ParkedTable":   {"account S HASH", "item S RANGE"},
	}
	// The adapters say how long an item is kept: a line of the ledger, or a book of
	// bonus checks, that was deleted too early would let the same thing happen twice.
	expires := object{"AttributeName": "expires", "Enabled": true}
	wantTTL := map[string]object{}
	for table := range wantKeys {
		wantTTL[table] = expires
	}
	gotTTL := map[string]object{}
	gotKeys := map[string][]string{}
	for _, table := range resources(t, top, "AWS::DynamoDB::Table") {
		kept(t, table)
		if table.at("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != true {
			t.Errorf("%s: cannot be restored to a point in time", table.id)
		}
		if table.at("SSESpecification", "SSEEnabled") != true {
			t.Errorf("%s: is not encrypted with a key of the account", table.id)
		}
		if got := table.at("BillingMode"); got != "PAY_PER_REQUEST" {
			t.Errorf("%s: billing %v, want PAY_PER_REQUEST", table.id, got)
		}
		want := object{"Fn::If": []any{"ProtectTables", true, false}}
		if diff := cmp.Diff(want, objectAt(table.body, "Properties", "DeletionProtectionEnabled")); diff != "" {
			t.Errorf("%s: deletion protection (-want +got):\n%s", table.id, diff)
		}
		gotTTL[table.id] = objectAt(table.body, "Properties", "TimeToLiveSpecification")
		types := map[string]string{}
		for _, a := range listAt(table.body, "Properties", "AttributeDefinitions") {
			types[textAt(a, "AttributeName")] = textAt(a, "AttributeType")
		}
		for _, k := range listAt(table.body, "Properties", "KeySchema") {
			name := textAt(k, "AttributeName")
			gotKeys[table.id] = append(gotKeys[table.id], name+" "+types[name]+" "+textAt(k, "KeyType"))
		}
	}
	if diff := cmp.Diff(wantKeys, gotKeys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if got := at(top, "Parameters", "DeletionProtection", "Default"); got != "true" {
		t.Errorf("deletion protection is %v by default, want true", got)
	}
	if diff := cmp.Diff(wantTTL, gotTTL); diff != "" {
		t.Errorf("time to live (-want +got):\n%s", diff)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	top := load(t)
	for _, key := range resources(t, top, "AWS::KMS::Key") {
		kept(t, key)
		if key.at("EnableKeyRotation") != true {
			t.Errorf("%s: is not rotated", key.id)
		}
	}
	for _, alias := range resources(t, top, "AWS::KMS::Alias") {
		if got := target(alias.at("TargetKeyId")); got != "SecretsKey" {
			t.Errorf("%s: names %q, want SecretsKey", alias.id, got)
		}
	}
}

// kept checks that a resource outlives the stack and its own replacement, but
// not a first deployment that failed: it would leave an empty table and a key
// behind, whose names the next try finds taken.
func kept(t *testing.T, r resource) {
	t.Helper()
	for name, want := range map[string]string{"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"} {
		if got := r.body[name]; got != want {
			t.Errorf("%s: %s %v, want %s", r.id, name, got, want)
		}
	}
}

// TestRetention: whatever keeps, or reads, what is forgotten some day goes by the
// same number of months, and so does the backfill that must not reach beyond it.
func TestRetention(t *testing.T) {
	t.Parallel()
	top := load(t)
	for _, f := range functions(t, top) {
		env := environment(top, f)
		want := env["LEDGER_TABLE"] != nil || env["BONUS_TABLE"] != nil || f.id == "BackfillWorker"
		if got := target(env["RETENTION_MONTHS"]) == "RetentionMonths"; got != want {
			t.Errorf("%s: RETENTION_MONTHS %v, want it there: %v", f.id, env["RETENTION_MONTHS"], want)
		}
	}
	if got := number(top, at(top, "Parameters", "RetentionMonths", "Default")); got != 36 {
		t.Errorf("%d months by default, want 36", got)
	}
}

// TestRetained: nothing that is kept is left behind by a first deployment that
// failed.
func TestRetained(t *testing.T) {
	t.Parallel()
	for id, body := range objectAt(load(t), "Resources") {
		if r := (resource{id, body.(object)}); r.body["DeletionPolicy"] != nil {
			kept(t, r)
		}
	}
}

// TestQuota: a new AWS account runs ten functions at a time, and Lambda reserves
// none of them for anybody there. With the defaults the workers of its first shop
// leave the tills three: a FIFO queue has one worker for each shop, others have
// as many as they may.
func TestQuota(t *testing.T) {
	t.Parallel()
	const quota, tills = 10, 3
	top := load(t)
	workers := 0
	for _, e := range events(t, top) {
		if e.kind != "SQS" {
			continue
		}
		limit := at(e.body, "ScalingConfig", "MaximumConcurrency")
		if name := textAt(limit, "Ref"); name != "OrdersConcurrency" && name != "WorkersConcurrency" {
			t.Errorf("%s: MaximumConcurrency %v, want a parameter that can be raised with the account's quota", e.function.id, limit)
		}
		if at(top, "Resources", target(e.body["Queue"]), "Properties", "FifoQueue") == true {
			workers++
		} else {
			workers += number(top, limit)
		}
	}
	if workers > quota-tills {
		t.Errorf("the workers of one shop take %d of the %d concurrent executions of a new account, want at most %d", workers, quota, quota-tills)
	}
}
