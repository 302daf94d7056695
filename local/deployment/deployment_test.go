package deployment_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/deployment"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/seal"
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
  Dead:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
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

		a, err := dynamo.NewAccounts(dynamodb.NewFromConfig(cfg), value("ACCOUNTS_TABLE")).Get(ctx, account.ID("demo-key"))
		if err != nil {
			t.Fatalf("the worker's account: %v", err)
		}
		key, err := seal.NewKMS(kms.NewFromConfig(cfg), value("SECRETS_KEY_ID")).Open(ctx, a.ID, a.SealedKey)
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

func TestMakeWithoutAWS(t *testing.T) {
	t.Parallel()
	cfg := aws.Config{Region: "eu-north-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), RetryMaxAttempts: 1}
	if _, err := deployment.Make(t.Context(), cfg, &template.Template{}, "x-", "alias/x"); err == nil {
		t.Error("made without an endpoint that answers")
	}
}
