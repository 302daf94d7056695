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

	polled := 0
	for _, e := range events(t, top) {
		if e.kind != "SQS" {
			continue
		}
		polled++
		queue := objectAt(top, "Resources", target(e.body["Queue"]), "Properties")
		seconds := number(top, setting(top, e.function, "Timeout"))
		if got := number(top, queue["VisibilityTimeout"]); seconds < 1 || got < 6*seconds {
			t.Errorf("%s: visibility %d s, want at least six times the %d s of the function", e.function.id, got, seconds)
		}
		// The worker puts aside by age, with a reason, long before the queue
		// does without one.
		if got := number(top, at(queue, "RedrivePolicy", "maxReceiveCount")); got < 100 {
			t.Errorf("%s: maxReceiveCount %d, want at least 100", e.function.id, got)
		}
		dead := target(at(queue, "RedrivePolicy", "deadLetterTargetArn"))
		if textAt(top, "Resources", dead, "Type") != "AWS::SQS::Queue" {
			t.Errorf("%s: the dead-letter queue %q is not in the template", e.function.id, dead)
		}
		if diff := cmp.Diff([]any{"ReportBatchItemFailures"}, listAt(e.body, "FunctionResponseTypes")); diff != "" {
			t.Errorf("%s: one bad message fails its batch (-want +got):\n%s", e.function.id, diff)
		}
		if got := number(top, e.body["BatchSize"]); got != 10 {
			t.Errorf("%s: batch size %d, want 10", e.function.id, got)
		}
		if got := number(top, at(e.body, "ScalingConfig", "MaximumConcurrency")); got < 2 || got > 1000 {
			t.Errorf("%s: MaximumConcurrency %d, want 2 to 1000", e.function.id, got)
		}
	}
	if polled != 1 {
		t.Errorf("%d queues have a worker, want 1", polled)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	top := load(t)
	wantKeys := map[string][]string{
		"AccountsTable": {"id S HASH"},
		"LedgerTable":   {"account S HASH", "order N RANGE"},
	}
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
	want := object{"AttributeName": "expires", "Enabled": true}
	if diff := cmp.Diff(want, objectAt(top, "Resources", "AccountsTable", "Properties", "TimeToLiveSpecification")); diff != "" {
		t.Errorf("AccountsTable: time to live (-want +got):\n%s", diff)
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

// kept checks that a resource outlives the stack and its own replacement.
func kept(t *testing.T, r resource) {
	t.Helper()
	for _, name := range []string{"DeletionPolicy", "UpdateReplacePolicy"} {
		if got := r.body[name]; got != "Retain" {
			t.Errorf("%s: %s %v, want Retain", r.id, name, got)
		}
	}
}
