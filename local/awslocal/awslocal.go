// Package awslocal makes an AWS endpoint, an emulator or a development
// account, into a place where the real adapters run on one machine: it creates
// the tables, queues and key the template declares, and moves messages from
// SQS to their workers as Lambda's event source mapping would.
package awslocal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Key is an attribute of a table's key.
type Key struct {
	Name string
	Type string // S, N or B
}

// Table is what has to be known of a DynamoDB table to create it. It is
// billed per request.
type Table struct {
	Name  string
	Hash  Key
	Range Key    // zero for a table without one
	TTL   string // the attribute that expires items, "" for none
}

// Queue is what has to be known of an SQS queue to create it.
type Queue struct {
	Name string // ends in .fifo for a FIFO queue
	// Attributes are SQS's own: VisibilityTimeout, MessageRetentionPeriod,
	// FifoQueue and so on, all as text. The redrive policy is made from the
	// fields below.
	Attributes map[string]string
	// DeadLetters is the Name of the queue that takes what was received
	// MaxReceives times, "" for none. It is among the queues being created.
	DeadLetters string
	MaxReceives int
}

// Created is a queue as its users address it.
type Created struct {
	URL string
	ARN string
}

// tableWait is how long a new table may take to become active.
const tableWait = 2 * time.Minute

// CreateTables creates the tables that are missing and waits until they can be
// used. A table that exists is kept with its items; if its key is another, that
// is an error.
func CreateTables(ctx context.Context, cfg aws.Config, tables []Table) error {
	client := dynamodb.NewFromConfig(cfg)
	for _, t := range tables {
		if err := createTable(ctx, client, t); err != nil {
			return fmt.Errorf("create table %s: %w", t.Name, err)
		}
	}
	return nil
}

func createTable(ctx context.Context, client *dynamodb.Client, t Table) error {
	in := &dynamodb.CreateTableInput{
		TableName:   aws.String(t.Name),
		BillingMode: dynamodbtypes.BillingModePayPerRequest,
	}
	for _, k := range []struct {
		Key
		role dynamodbtypes.KeyType
	}{{t.Hash, dynamodbtypes.KeyTypeHash}, {t.Range, dynamodbtypes.KeyTypeRange}} {
		if k.Name == "" {
			continue
		}
		in.KeySchema = append(in.KeySchema, dynamodbtypes.KeySchemaElement{
			AttributeName: aws.String(k.Name), KeyType: k.role,
		})
		in.AttributeDefinitions = append(in.AttributeDefinitions, dynamodbtypes.AttributeDefinition{
			AttributeName: aws.String(k.Name), AttributeType: dynamodbtypes.ScalarAttributeType(k.Type),
		})
	}
	_, err := client.CreateTable(ctx, in)
	if _, exists := errors.AsType[*dynamodbtypes.ResourceInUseException](err); err != nil && !exists {
		return err
	}

	made, err := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay = 100 * time.Millisecond
	}).WaitForOutput(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(t.Name)}, tableWait)
	if err != nil {
		return fmt.Errorf("wait for it: %w", err)
	}
	if got, want := keyOf(made.Table.KeySchema, made.Table.AttributeDefinitions), keyOf(in.KeySchema, in.AttributeDefinitions); got != want {
		return fmt.Errorf("it exists with the key %s, want %s", got, want)
	}
	return expire(ctx, client, t)
}

// keyOf writes a key as text, so that two can be compared and shown.
func keyOf(schema []dynamodbtypes.KeySchemaElement, attributes []dynamodbtypes.AttributeDefinition) string {
	types := make(map[string]dynamodbtypes.ScalarAttributeType, len(attributes))
	for _, a := range attributes {
		types[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	var key []string
	for _, k := range schema {
		name := aws.ToString(k.AttributeName)
		key = append(key, fmt.Sprintf("%s %s %s", k.KeyType, name, types[name]))
	}
	slices.Sort(key)
	return fmt.Sprint(key)
}

// expire turns the table's TTL on. It looks first: turning on what is on is
// an error.
func expire(ctx context.Context, client *dynamodb.Client, t Table) error {
	if t.TTL == "" {
		return nil
	}
	is, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(t.Name)})
	if err != nil {
		return fmt.Errorf("look at its TTL: %w", err)
	}
	if d := is.TimeToLiveDescription; d != nil && aws.ToString(d.AttributeName) == t.TTL &&
		(d.TimeToLiveStatus == dynamodbtypes.TimeToLiveStatusEnabled || d.TimeToLiveStatus == dynamodbtypes.TimeToLiveStatusEnabling) {
		return nil
	}
	_, err = client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: aws.String(t.Name),
		TimeToLiveSpecification: &dynamodbtypes.TimeToLiveSpecification{
			AttributeName: aws.String(t.TTL), Enabled: aws.Bool(true),
		},
	})
	if err != nil {
		return fmt.Errorf("set its TTL: %w", err)
	}
	return nil
}

// CreateQueues creates the queues that are missing, sets the attributes of
// those that exist, and returns all by name. Messages stay where they are.
func CreateQueues(ctx context.Context, cfg aws.Config, queues []Queue) (map[string]Created, error) {
	client := sqs.NewFromConfig(cfg)
	made := make(map[string]Created, len(queues))
	for _, q := range queues {
		c, err := createQueue(ctx, client, q)
		if err != nil {
			return nil, fmt.Errorf("create queue %s: %w", q.Name, err)
		}
		made[q.Name] = c
	}
	// Second, so that a queue may be listed before its dead-letter queue.
	for _, q := range queues {
		if q.DeadLetters == "" {
			continue
		}
		dead, ok := made[q.DeadLetters]
		if !ok {
			return nil, fmt.Errorf("queue %s: its dead-letter queue %s is not declared", q.Name, q.DeadLetters)
		}
		policy, err := json.Marshal(map[string]string{
			"deadLetterTargetArn": dead.ARN,
			"maxReceiveCount":     strconv.Itoa(q.MaxReceives),
		})
		if err != nil {
			return nil, fmt.Errorf("redrive policy of queue %s: %w", q.Name, err)
		}
		if err := setAttributes(ctx, client, made[q.Name].URL, map[string]string{"RedrivePolicy": string(policy)}); err != nil {
			return nil, fmt.Errorf("redrive policy of queue %s: %w", q.Name, err)
		}
	}
	return made, nil
}

func createQueue(ctx context.Context, client *sqs.Client, q Queue) (Created, error) {
	var url string
	is, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(q.Name)})
	if _, missing := errors.AsType[*sqstypes.QueueDoesNotExist](err); missing {
		out, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(q.Name), Attributes: q.Attributes})
		if err != nil {
			return Created{}, err
		}
		url = aws.ToString(out.QueueUrl)
	} else if err != nil {
		return Created{}, fmt.Errorf("look for it: %w", err)
	} else {
		url = aws.ToString(is.QueueUrl)
		change := maps.Clone(q.Attributes)
		delete(change, "FifoQueue") // given by the name, and fixed for life
		if err := setAttributes(ctx, client, url, change); err != nil {
			return Created{}, err
		}
	}
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       aws.String(url),
		AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return Created{}, fmt.Errorf("read its ARN: %w", err)
	}
	return Created{URL: url, ARN: out.Attributes[string(sqstypes.QueueAttributeNameQueueArn)]}, nil
}

func setAttributes(ctx context.Context, client *sqs.Client, url string, attributes map[string]string) error {
	if len(attributes) == 0 {
		return nil
	}
	_, err := client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: aws.String(url), Attributes: attributes,
	})
	if err != nil {
		return fmt.Errorf("set its attributes: %w", err)
	}
	return nil
}

// CreateKey returns the id of the KMS key behind an alias ("alias/…"), which
// it creates if there is none: what was sealed before still opens.
func CreateKey(ctx context.Context, cfg aws.Config, alias string) (string, error) {
	client := kms.NewFromConfig(cfg)
	id, err := findKey(ctx, client, alias)
	if err != nil || id != "" {
		return id, err
	}
	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("sitoo-rule, local development")})
	if err != nil {
		return "", fmt.Errorf("create key: %w", err)
	}
	_, err = client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(alias), TargetKeyId: key.KeyMetadata.KeyId})
	if _, raced := errors.AsType[*kmstypes.AlreadyExistsException](err); raced {
		return findKey(ctx, client, alias)
	}
	if err != nil {
		return "", fmt.Errorf("name key %s: %w", alias, err)
	}
	return aws.ToString(key.KeyMetadata.KeyId), nil
}

// findKey returns "" if there is no key behind the alias.
func findKey(ctx context.Context, client *kms.Client, alias string) (string, error) {
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(alias)})
	if _, missing := errors.AsType[*kmstypes.NotFoundException](err); missing {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for key %s: %w", alias, err)
	}
	return aws.ToString(out.KeyMetadata.KeyId), nil
}
