// Package deployment puts around a function, at an AWS emulator, what it finds
// when it is deployed: the template's tables, queues and key, the environment
// that leads to them, and the account of a shop.
package deployment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/seal"
)

// secretsKey is the one resource that functions are told of and that is neither
// a table nor a queue.
const secretsKey = "SecretsKey"

// Deployment is what a template declares, made at an AWS endpoint. It does not
// change and is safe for concurrent use.
type Deployment struct {
	template *template.Template
	cfg      aws.Config
	keyID    string
	values   map[reference]string
}

// reference is what !Ref (attr "") and !GetAtt name.
type reference struct{ id, attr string }

// Make creates the template's tables and queues, named prefix and logical id,
// and the key behind the alias. What exists is kept, with what is in it, so it
// may be repeated.
func Make(ctx context.Context, cfg aws.Config, t *template.Template, prefix, alias string) (*Deployment, error) {
	d := &Deployment{template: t, cfg: cfg, values: map[reference]string{}}
	var err error
	if d.keyID, err = awslocal.CreateKey(ctx, cfg, alias); err != nil {
		return nil, err
	}
	d.values[reference{secretsKey, ""}] = d.keyID
	tables := make([]awslocal.Table, len(t.Tables))
	for i, table := range t.Tables {
		tables[i] = awslocal.Table{
			Name: prefix + table.ID, Hash: awslocal.Key(table.Hash), Range: awslocal.Key(table.Sort), TTL: table.TTL,
		}
		d.values[reference{table.ID, ""}] = tables[i].Name
	}
	if err := awslocal.CreateTables(ctx, cfg, tables); err != nil {
		return nil, err
	}
	queues := make([]awslocal.Queue, len(t.Queues))
	for i, q := range t.Queues {
		queues[i] = awslocal.Queue{Name: queueName(prefix, q), Attributes: attributes(q), MaxReceives: q.MaxReceives}
		if dead, has := t.Queue(q.DeadLetters); has {
			queues[i].DeadLetters = queueName(prefix, dead)
		}
	}
	created, err := awslocal.CreateQueues(ctx, cfg, queues)
	if err != nil {
		return nil, err
	}
	for i, q := range t.Queues {
		c := created[queues[i].Name]
		d.values[reference{q.ID, ""}] = c.URL
		d.values[reference{q.ID, "QueueUrl"}] = c.URL
		d.values[reference{q.ID, "QueueName"}] = queues[i].Name
		d.values[reference{q.ID, "Arn"}] = c.ARN
	}
	return d, nil
}

func queueName(prefix string, q template.Queue) string {
	if q.FIFO {
		return prefix + q.ID + ".fifo"
	}
	return prefix + q.ID
}

func attributes(q template.Queue) map[string]string {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	a := map[string]string{
		"VisibilityTimeout":      seconds(q.Visibility),
		"MessageRetentionPeriod": seconds(q.Retention),
		"DelaySeconds":           seconds(q.Delay),
	}
	if q.FIFO {
		a["FifoQueue"] = "true"
		a["ContentBasedDeduplication"] = strconv.FormatBool(q.ContentDedup)
		if q.GroupDedup {
			a["DeduplicationScope"] = "messageGroup"
		}
	}
	return a
}

// Resolve returns what a reference in the template stands for. It fits
// template.Value.Resolve.
func (d *Deployment) Resolve(id, attr string) (string, error) {
	v, has := d.values[reference{id, attr}]
	if !has {
		return "", errors.New("nothing of that name is made on this machine")
	}
	return v, nil
}

// Pollers returns what moves messages from the template's queues to their workers,
// side batches of a queue at a time. worker returns a function to be invoked.
func (d *Deployment) Pollers(client awslocal.SQSClient, side int, log *slog.Logger, worker func(template.Function) lambda.Handler) ([]*awslocal.Poller, error) {
	var all []*awslocal.Poller
	for _, source := range d.template.EventSources {
		f, _ := d.template.Function(source.Function)
		url, err := d.Resolve(source.Queue, "")
		if err != nil {
			return nil, fmt.Errorf("event source %s: %w", source.ID, err)
		}
		arn, err := d.Resolve(source.Queue, "Arn")
		if err != nil {
			return nil, fmt.Errorf("event source %s: %w", source.ID, err)
		}
		all = append(all, &awslocal.Poller{
			Client: client, Queue: awslocal.Created{URL: url, ARN: arn}, BatchSize: source.BatchSize, PartialFailures: source.PartialBatch,
			Concurrency: side, Timeout: f.Timeout, Log: log, Handler: worker(f),
		})
	}
	return all, nil
}

// Environment returns the variables of a deployed function as sorted key=value:
// those the template declares, those that lead to the AWS endpoint with the
// configuration's credentials, and ruleURL as RULE_URL, so that no function
// meets the real Rule by default. SSL_CERT_FILE and SSL_CERT_DIR, which name
// places in Lambda's image, are left out where there is no such file.
func (d *Deployment) Environment(ctx context.Context, f template.Function, ruleURL string) ([]string, error) {
	env := map[string]string{}
	for name, v := range f.Environment {
		text, err := v.Resolve(d.Resolve)
		if err != nil {
			return nil, fmt.Errorf("environment variable %s of %s: %w", name, f.ID, err)
		}
		env[name] = text
	}
	if _, err := os.Stat(env["SSL_CERT_FILE"]); err != nil {
		delete(env, "SSL_CERT_FILE")
		delete(env, "SSL_CERT_DIR")
	}
	credentials, err := d.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS credentials for %s: %w", f.ID, err)
	}
	maps.Copy(env, map[string]string{
		"RULE_URL":                  ruleURL,
		"AWS_ENDPOINT_URL":          aws.ToString(d.cfg.BaseEndpoint),
		"AWS_ACCESS_KEY_ID":         credentials.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":     credentials.SecretAccessKey,
		"AWS_SESSION_TOKEN":         credentials.SessionToken,
		"AWS_REGION":                d.cfg.Region,
		"AWS_DEFAULT_REGION":        d.cfg.Region,
		"AWS_EC2_METADATA_DISABLED": "true",
	})
	all := make([]string, 0, len(env))
	for name, v := range env {
		if v != "" {
			all = append(all, name+"="+v)
		}
	}
	slices.Sort(all)
	return all, nil
}

// Open prepares what f finds, and is Environment otherwise: a function behind a
// queue gets the account of the Rule API key, which in AWS a call to another
// function has created before any message can name it.
func (d *Deployment) Open(ctx context.Context, f template.Function, ruleURL, key string) ([]string, error) {
	if slices.ContainsFunc(d.template.EventSources, func(s template.EventSource) bool { return s.Function == f.ID }) {
		if err := d.addAccount(ctx, f, key); err != nil {
			return nil, err
		}
	}
	return d.Environment(ctx, f, ruleURL)
}

func (d *Deployment) addAccount(ctx context.Context, f template.Function, key string) error {
	table, err := f.Environment["ACCOUNTS_TABLE"].Resolve(d.Resolve)
	if err != nil {
		return fmt.Errorf("accounts table of %s: %w", f.ID, err)
	}
	a := account.Account{ID: strconv.Itoa(fakerule.DefaultAccount), Created: time.Now()}
	store, sealer := dynamo.NewAccounts(dynamodb.NewFromConfig(d.cfg), table), seal.NewKMS(kms.NewFromConfig(d.cfg), d.keyID)
	if _, err := account.Keep(ctx, store, sealer, a, key, true); err != nil {
		return fmt.Errorf("keep the account: %w", err)
	}
	return nil
}
