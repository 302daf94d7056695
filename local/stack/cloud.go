package stack

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/customer/phone"
)

// prefix is what everything that the stack creates at an AWS endpoint is called,
// so that it is told apart there.
const prefix = "sitoo-rule-local-"

// inCloud gives functions the parts that they have in Lambda, against
// Options.Cloud.
func (s *Stack) inCloud(ctx context.Context, o Options) (func(id, attr string) (string, error), func(template.Function, func(string) string) (app.Parts, error), error) {
	var tables []awslocal.Table
	for _, t := range o.Template.Tables {
		tables = append(tables, awslocal.Table{
			Name: prefix + t.ID, Hash: awslocal.Key(t.Hash), Range: awslocal.Key(t.Sort), TTL: t.TTL,
		})
	}
	if err := awslocal.CreateTables(ctx, *o.Cloud, tables); err != nil {
		return nil, nil, fmt.Errorf("create tables: %w", err)
	}
	name := func(q template.Queue) string {
		if q.FIFO {
			return prefix + q.ID + ".fifo"
		}
		return prefix + q.ID
	}
	var queues []awslocal.Queue
	for _, q := range o.Template.Queues {
		seconds := func(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
		w := awslocal.Queue{Name: name(q), MaxReceives: q.MaxReceives, Attributes: map[string]string{
			"VisibilityTimeout": seconds(q.Visibility), "MessageRetentionPeriod": seconds(q.Retention), "DelaySeconds": seconds(q.Delay),
		}}
		if q.FIFO {
			w.Attributes["FifoQueue"] = "true"
			w.Attributes["ContentBasedDeduplication"] = strconv.FormatBool(q.ContentDedup)
		}
		if q.DeadLetters != "" {
			dead, _ := o.Template.Queue(q.DeadLetters)
			w.DeadLetters = name(dead)
		}
		queues = append(queues, w)
	}
	created, err := awslocal.CreateQueues(ctx, *o.Cloud, queues)
	if err != nil {
		return nil, nil, fmt.Errorf("create queues: %w", err)
	}
	key, err := awslocal.CreateKey(ctx, *o.Cloud, "alias/"+prefix+"secrets")
	if err != nil {
		return nil, nil, fmt.Errorf("create key: %w", err)
	}
	resolve := func(id, attr string) (string, error) {
		if q, ok := o.Template.Queue(id); ok {
			if attr == "Arn" {
				return created[name(q)].ARN, nil
			}
			return created[name(q)].URL, nil
		}
		if _, ok := o.Template.Table(id); ok {
			return prefix + id, nil
		}
		return key, nil // the only other resource that functions are told of
	}
	parts := func(_ template.Function, env func(string) string) (app.Parts, error) {
		c, err := app.FromEnv(env)
		if err != nil {
			return app.Parts{}, err
		}
		var p app.Parts
		for _, x := range []struct {
			has bool
			add app.Part
		}{
			{c.AccountsTable != "", app.WithAccounts},
			{c.LedgerTable != "", app.WithLedger},
			{c.OrdersQueue != "", app.WithOrders},
			{c.OrdersDeadLetters != "", app.WithDeadLetters},
			{true, app.WithPhones(phone.Parser)},
		} {
			if x.has {
				if err := x.add(c, *o.Cloud, &p); err != nil {
					return app.Parts{}, err
				}
			}
		}
		return p, nil
	}
	for _, source := range o.Template.EventSources {
		q, _ := o.Template.Queue(source.Queue)
		f, _ := o.Template.Function(source.Function)
		poller := &awslocal.Poller{
			Client: sqs.NewFromConfig(*o.Cloud), Queue: created[name(q)], BatchSize: source.BatchSize, PartialFailures: source.PartialBatch,
			Concurrency: 2, Timeout: f.Timeout, Log: o.Log, Handler: worker{s, f.Name},
		}
		s.workers = append(s.workers, poller.Run)
	}
	return resolve, parts, nil
}

// worker is a function by name, which may not be made yet.
type worker struct {
	s    *Stack
	name string
}

var _ lambda.Handler = worker{}

// Invoke runs the function.
func (w worker) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	return w.s.Invoke(ctx, w.name, payload)
}
