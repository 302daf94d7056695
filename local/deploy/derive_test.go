package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"sitoo-rule/local/template"
)

// What the emulator cannot take goes, and everything else of a template stays.
func TestDerive(t *testing.T) {
	t.Parallel()
	const built = `
Parameters:
  Workers: {Type: Number, Default: 7}
Globals:
  Api: {BinaryMediaTypes: ["*~1*"]}
Resources:
  Work:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {SSL_CERT_FILE: /etc/ca.pem, SSL_CERT_DIR: /none, KEEP: !Ref Workers}}
      Events:
        A: {Type: SQS, Properties: {ScalingConfig: {MaximumConcurrency: !Ref Workers}}}
        B: {Type: SQS, Properties: {ScalingConfig: {MaximumConcurrency: {Ref: Workers}}}}
        C: {Type: SQS, Properties: {ScalingConfig: {MaximumConcurrency: 5}}}
  One: {Type: AWS::CloudWatch::Alarm}
  All: {Type: AWS::CloudWatch::CompositeAlarm}
  Share: {Type: AWS::CloudWatch::Alarm, Properties: {Metrics: [{Id: share}]}}
Outputs:
  AlarmName: {Value: !Ref All}
  AlarmArn: {Value: {"Fn::GetAtt": [All, Arn]}}
  Kept: {Value: !Ref One}
`
	for name, tt := range map[string]struct {
		parameters map[string]string
		workers    string
	}{"the default": {nil, "7"}, "a value of its own": {map[string]string{"Workers": "3"}, "3"}} {
		got, err := derive([]byte(built), tt.parameters)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := strings.NewReplacer(
			"SSL_CERT_FILE: /etc/ca.pem, SSL_CERT_DIR: /none, ", "",
			"MaximumConcurrency: !Ref Workers", "MaximumConcurrency: "+tt.workers,
			"MaximumConcurrency: {Ref: Workers}", "MaximumConcurrency: "+tt.workers,
			"*~1*", "*/*",
			"  All: {Type: AWS::CloudWatch::CompositeAlarm}\n", "",
			"  Share: {Type: AWS::CloudWatch::Alarm, Properties: {Metrics: [{Id: share}]}}\n", "",
			"  AlarmName: {Value: !Ref All}\n", "",
			"  AlarmArn: {Value: {\"Fn::GetAtt\": [All, Arn]}}\n", "",
		).Replace(built)
		if diff := cmp.Diff(read(t, []byte(want)), read(t, got)); diff != "" {
			t.Errorf("%s: derived (-want +got):\n%s", name, diff)
		}
	}
	for name, bad := range map[string]string{
		"names the alarm that goes": strings.Replace(built, "One: {Type: AWS::CloudWatch::Alarm}", "One: {Type: AWS::SNS::Topic, Properties: {Name: !Ref All}}", 1),
		"no value":                  strings.Replace(built, ", Default: 7", "", 1),
		"not YAML":                  "a: [",
		"not a template":            "- a",
	} {
		if got, err := derive([]byte(bad), nil); err == nil {
			t.Errorf("%s: derived:\n%s\nwant an error", name, got)
		}
	}
}

// read decodes YAML.
func read(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The template of the repository keeps its functions, routes, queues and tables:
// what is played is what is deployed to AWS.
func TestDeriveKeepsTheTemplate(t *testing.T) {
	t.Parallel()
	real, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	derived, err := derive(real, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := template.Parse(real)
	if err != nil {
		t.Fatal(err)
	}
	after, err := template.Parse(derived)
	if err != nil {
		t.Fatalf("%v\n%s", err, derived)
	}
	if len(after.Functions) != len(before.Functions) || len(after.Routes) != len(before.Routes) || len(after.Queues) != len(before.Queues) ||
		len(after.Tables) != len(before.Tables) || len(after.EventSources) != len(before.EventSources) || len(after.GatewayResponses) != len(before.GatewayResponses) {
		t.Errorf("derived: %d functions, %d routes, %d queues, %d tables; the template has %d, %d, %d, %d",
			len(after.Functions), len(after.Routes), len(after.Queues), len(after.Tables), len(before.Functions), len(before.Routes), len(before.Queues), len(before.Tables))
	}
	for i, source := range after.EventSources {
		if source != before.EventSources[i] {
			t.Errorf("derived event source %+v, want %+v", source, before.EventSources[i])
		}
	}
}

// Where AWS would serve the API, the emulator serves it below its own address.
func TestLocal(t *testing.T) {
	t.Parallel()
	got, err := local("https://1a2b3c.execute-api.eu-north-1.amazonaws.com/Prod/sitoo", "http://127.0.0.1:4566")
	if want := "http://127.0.0.1:4566/restapis/1a2b3c/Prod/_user_request_/sitoo"; err != nil || got != want {
		t.Errorf("local = %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"", "https://api.example.com/sitoo", "https://1a2b3c.execute-api.eu-north-1.amazonaws.com", "://"} {
		if got, err := local(bad, "http://127.0.0.1:4566"); err == nil {
			t.Errorf("local(%q) = %q, want an error", bad, got)
		}
	}
}

// Parameters that cannot be read, and an address that is not of this machine, are
// said in words before anything is deployed.
func TestSettings(t *testing.T) {
	t.Parallel()
	got, err := settings(" Country=NO  LogLevel=INFO ")
	if err != nil || len(got) != 2 || got["Country"] != "NO" || got["LogLevel"] != "INFO" {
		t.Errorf("settings = %v, %v", got, err)
	}
	for name, env := range map[string]map[string]string{
		"no equals sign":     {"PARAMETERS": "Country"},
		"no name":            {"PARAMETERS": "=NO"},
		"no emulator":        {},
		"AWS itself":         {"AWS_ENDPOINT_URL": "https://sqs.eu-north-1.amazonaws.com"},
		"another machine":    {"AWS_ENDPOINT_URL": "http://192.0.2.1:4566"},
		"not an address":     {"AWS_ENDPOINT_URL": "http://%"},
		"port in words":      {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "RULE_PORT": "tre"},
		"nothing built here": {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "RULE_PORT": "0"},
	} {
		err := run(t.Context(), t.TempDir(), func(n string) string { return env[n] }, t.Output())
		if err == nil || len(err.Error()) < 15 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
