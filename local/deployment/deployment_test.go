package deployment_test

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/deployment"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

const declared = `
Transform: AWS::Serverless-2016-10-31
Resources:
  AccountsTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
  ImportsTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: import, AttributeType: S}, {AttributeName: part, AttributeType: N}]
      KeySchema: [{AttributeName: import, KeyType: HASH}, {AttributeName: part, KeyType: RANGE}]
      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}
  Dead:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      ContentBasedDeduplication: false
      DeduplicationScope: messageGroup
      FifoThroughputLimit: perMessageGroupId
      VisibilityTimeout: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  SecretsKey:
    Type: AWS::KMS::Key
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Environment:
        Variables:
          RULE_URL: https://app.rule.io/api
          ACCOUNTS_TABLE: !Ref AccountsTable
          IMPORTS_TABLE: !Ref ImportsTable
          DEAD: !Ref Dead
          QUEUE: !Ref Work
          QUEUE_ARN: !GetAtt Work.Arn
          QUEUE_NAME: !GetAtt Work.QueueName
          SECRETS_KEY_ID: !Ref SecretsKey
          SSL_CERT_FILE: /nowhere/bundle.pem
          SSL_CERT_DIR: /nonexistent
          EMPTY: ""
      Events:
        Work: {Type: SQS, Properties: {Queue: !GetAtt Work.Arn}}
  Reader:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {ACCOUNTS_TABLE: !Ref AccountsTable}}
  Lost:
    Type: AWS::Serverless::Function
    Properties:
      Environment: {Variables: {ROLE: !Ref LostRole}}
  LostRole:
    Type: AWS::IAM::Role
`

func TestDeployment(t *testing.T) {
	t.Parallel()
	cfg, ok := contract.Emulator(t)
	if !ok {
		return
	}
	tmpl, err := template.Parse([]byte(declared))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// The second time all is there, and nothing of it is lost.
	for range 2 {
		d, err := deployment.Make(ctx, cfg, tmpl, "deployment-test-", "alias/deployment-test")
		if err != nil {
			t.Fatal(err)
		}
		open := func(id string) []string {
			f, _ := tmpl.Function(id)
			env, err := d.Open(ctx, f, "http://127.0.0.1:3001/api", "demo-key")
			if err != nil {
				t.Fatalf("open %s: %v", id, err)
			}
			return env
		}
		env := open("Worker")
		value := func(name string) string {
			i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
			if i < 0 {
				return ""
			}
			return strings.TrimPrefix(env[i], name+"=")
		}
		for name, want := range map[string]string{
			"RULE_URL": "http://127.0.0.1:3001/api", "ACCOUNTS_TABLE": "deployment-test-AccountsTable",
			"QUEUE_NAME": "deployment-test-Work.fifo", "AWS_REGION": cfg.Region,
			"SSL_CERT_FILE": "", "SSL_CERT_DIR": "",
		} {
			if got := value(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if !strings.HasSuffix(value("QUEUE"), "/deployment-test-Work.fifo") || !strings.HasSuffix(value("QUEUE_ARN"), ":deployment-test-Work.fifo") {
			t.Errorf("queue %q, %q", value("QUEUE"), value("QUEUE_ARN"))
		}
		if value("AWS_ENDPOINT_URL") == "" || value("AWS_ACCESS_KEY_ID") == "" || value("SECRETS_KEY_ID") == "" {
			t.Errorf("the environment does not lead to AWS: %q", env)
		}

		checkQueue(t, cfg, value("QUEUE"), value("DEAD"))
		checkImports(t, cfg, value("IMPORTS_TABLE"))

		k, err := dynamo.NewAccounts(dynamodb.NewFromConfig(cfg), value("ACCOUNTS_TABLE")).Key(ctx, account.ID("demo-key"))
		if err != nil {
			t.Fatalf("the worker's account: %v", err)
		}
		key, err := seal.NewKMS(kms.NewFromConfig(cfg), value("SECRETS_KEY_ID")).Open(ctx, k.Account, k.Sealed)
		if err != nil || key != "demo-key" {
			t.Errorf("the account's key is %q, %v", key, err)
		}
		if env := open("Reader"); !slices.Contains(env, "ACCOUNTS_TABLE=deployment-test-AccountsTable") {
			t.Errorf("the reader's environment: %q", env)
		}
		lost, _ := tmpl.Function("Lost")
		if _, err := d.Environment(ctx, lost, ""); err == nil || !strings.Contains(err.Error(), "ROLE of Lost") {
			t.Errorf("a reference to what is not made: %v", err)
		}
	}
}

// checkQueue sends to a FIFO queue and its dead-letter queue with the real
// adapter, and looks at how the first is set up.
func checkQueue(t *testing.T, cfg aws.Config, url, dead string) {
	t.Helper()
	client := sqs.NewFromConfig(cfg)
	is, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(url), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "messageGroup", "VisibilityTimeout": "60",
	} {
		if got := is.Attributes[name]; got != want {
			t.Errorf("%s of %s = %q, want %q", name, url, got, want)
		}
	}
	if policy := is.Attributes["RedrivePolicy"]; !strings.Contains(policy, ":deployment-test-Dead.fifo") || !strings.Contains(policy, "3") {
		t.Errorf("redrive policy %s, want 3 receives to the FIFO dead-letter queue", policy)
	}
	for _, url := range []string{url, dead} {
		q := sqsqueue.New(client, url)
		if err := q.Send(t.Context(), worker.Message{Body: "{}", Group: "shop", Dedup: rand.Text()}); err != nil {
			t.Errorf("send: %v", err)
		}
	}
}

// checkImports uses the table of imports with the real adapter.
func checkImports(t *testing.T, cfg aws.Config, table string) {
	t.Helper()
	client := dynamodb.NewFromConfig(cfg)
	is, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(table)})
	if err != nil || aws.ToString(is.TimeToLiveDescription.AttributeName) != "expires" {
		t.Errorf("TTL of %s = %+v, %v; want it on expires", table, is, err)
	}
	imports, id := dynamo.NewImports(client, table), rand.Text()
	if err := imports.Create(t.Context(), bonus.Import{Account: "shop", ID: id, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := imports.SavePart(t.Context(), "shop", id, bonus.Part{Number: 1, Done: 19, Updated: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, parts, err := imports.Get(t.Context(), "shop", id); err != nil || len(parts) != 1 || parts[0].Done != 19 {
		t.Errorf("the import's parts: %+v, %v", parts, err)
	}
}

func TestMakeWithoutAWS(t *testing.T) {
	t.Parallel()
	cfg := aws.Config{Region: "eu-north-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), RetryMaxAttempts: 1}
	if _, err := deployment.Make(t.Context(), cfg, &template.Template{}, "x-", "alias/x"); err == nil {
		t.Error("made without an endpoint that answers")
	}
}
