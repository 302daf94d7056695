package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/seal"
	"sitoo-rule/shared/sitoo"
	"sitoo-rule/shared/spi"
	"sitoo-rule/shared/sqsqueue"
)

// Part adds to a function what it needs, and says what the environment lacks
// for that. Each function names its parts, so that it links no others.
type Part func(c Config, cloud aws.Config, p *Parts) error

// WithAccounts adds the accounts, their seal, and Rule.
func WithAccounts(c Config, cloud aws.Config, p *Parts) error {
	p.Accounts = dynamo.NewAccounts(dynamodb.NewFromConfig(cloud), c.AccountsTable)
	p.Sealer = seal.NewKMS(kms.NewFromConfig(cloud), c.SecretsKey)
	web := rule.NewHTTPClient()
	p.Rule = rule.New(rule.Config{URL: c.RuleURL, HTTP: web})
	warm(web, c.RuleURL)
	return errors.Join(needs("ACCOUNTS_TABLE", c.AccountsTable), needs("SECRETS_KEY_ID", c.SecretsKey))
}

// WithKnownKeys adds the accounts alone, for a function that only asks whether a
// key is known: no seal, and no connection to Rule.
func WithKnownKeys(c Config, cloud aws.Config, p *Parts) error {
	p.Accounts = dynamo.NewAccounts(dynamodb.NewFromConfig(cloud), c.AccountsTable)
	return needs("ACCOUNTS_TABLE", c.AccountsTable)
}

// WithPatience lets calls to Rule take long: a call for many orders is carried
// out slowly, and one that is given up early is asked about for a while. It
// comes after WithAccounts.
func WithPatience(c Config, _ aws.Config, p *Parts) error {
	p.Rule = rule.New(rule.Config{URL: c.RuleURL, HTTP: rule.NewHTTPClient(), Patience: 20 * time.Second})
	return nil
}

// WithLedger adds the order ledger.
func WithLedger(c Config, cloud aws.Config, p *Parts) error {
	l := dynamo.NewLedger(dynamodb.NewFromConfig(cloud), c.LedgerTable)
	l.Retention = c.Retention
	p.Ledger = l
	return needs("LEDGER_TABLE", c.LedgerTable)
}

// WithParked adds what is parked.
func WithParked(c Config, cloud aws.Config, p *Parts) error {
	p.Parked = dynamo.NewParked(dynamodb.NewFromConfig(cloud), c.ParkedTable)
	return needs("PARKED_TABLE", c.ParkedTable)
}

// WithOrders adds the queue of orders, for sending and for delaying.
func WithOrders(c Config, cloud aws.Config, p *Parts) error {
	q := sqsqueue.New(sqs.NewFromConfig(cloud), c.OrdersQueue)
	p.Orders, p.OrdersDelay = q, q
	return needs("ORDERS_QUEUE_URL", c.OrdersQueue)
}

// WithDeadLetters adds the queue of orders that were put aside.
func WithDeadLetters(c Config, cloud aws.Config, p *Parts) error {
	p.DeadLetters = sqsqueue.New(sqs.NewFromConfig(cloud), c.OrdersDeadLetters)
	return needs("ORDERS_DEAD_LETTERS_URL", c.OrdersDeadLetters)
}

// WithBonus adds the books of bonus checks.
func WithBonus(c Config, cloud aws.Config, p *Parts) error {
	b := dynamo.NewBonus(dynamodb.NewFromConfig(cloud), c.BonusTable)
	b.Retention = c.Retention
	p.Bonus = b
	return needs("BONUS_TABLE", c.BonusTable)
}

// WithBonusQueue adds the queue of messages that complete Rule's copy of bonus
// checks, for sending and for delaying.
func WithBonusQueue(c Config, cloud aws.Config, p *Parts) error {
	q := sqsqueue.New(sqs.NewFromConfig(cloud), c.BonusQueue)
	p.Syncs, p.SyncsDelay = q, q
	return needs("BONUS_QUEUE_URL", c.BonusQueue)
}

// WithBonusDeadLetters adds the queue where that queue's messages are put aside.
func WithBonusDeadLetters(c Config, cloud aws.Config, p *Parts) error {
	p.DeadLetters = sqsqueue.New(sqs.NewFromConfig(cloud), c.BonusDeadLetters)
	return needs("BONUS_DEAD_LETTERS_URL", c.BonusDeadLetters)
}

// WithConsents adds what tills were told of marketing.
func WithConsents(c Config, cloud aws.Config, p *Parts) error {
	p.Consents = dynamo.NewConsents(dynamodb.NewFromConfig(cloud), c.ConsentsTable)
	return needs("CONSENTS_TABLE", c.ConsentsTable)
}

// WithImports adds the progress of imports.
func WithImports(c Config, cloud aws.Config, p *Parts) error {
	p.Imports = dynamo.NewImports(dynamodb.NewFromConfig(cloud), c.ImportsTable)
	return needs("IMPORTS_TABLE", c.ImportsTable)
}

// WithImportsQueue adds the queue of parts of imports, for sending and for
// delaying.
func WithImportsQueue(c Config, cloud aws.Config, p *Parts) error {
	q := sqsqueue.New(sqs.NewFromConfig(cloud), c.ImportsQueue)
	p.ImportParts, p.ImportPartsDelay = q, q
	return needs("IMPORTS_QUEUE_URL", c.ImportsQueue)
}

// WithImportsDeadLetters adds the queue of parts that were put aside.
func WithImportsDeadLetters(c Config, cloud aws.Config, p *Parts) error {
	p.DeadLetters = sqsqueue.New(sqs.NewFromConfig(cloud), c.ImportDeadLetters)
	return needs("IMPORTS_DEAD_LETTERS_URL", c.ImportDeadLetters)
}

// WithSitoo adds Sitoo's REST API.
func WithSitoo(c Config, _ aws.Config, p *Parts) error {
	p.Sitoo = sitoo.NewREST(sitoo.RESTConfig{HTTP: sitoo.NewRESTHTTPClient(), AllowAnyHost: c.SitooAnyHost, Hosts: c.Hosts()})
	return nil
}

// WithHistory adds jobs that bring old orders over.
func WithHistory(c Config, cloud aws.Config, p *Parts) error {
	p.History = dynamo.NewHistory(dynamodb.NewFromConfig(cloud), c.HistoryTable)
	p.Retention = c.Retention
	return needs("HISTORY_TABLE", c.HistoryTable)
}

// WithBackfillQueue adds the queue of jobs' steps, for sending and for delaying.
func WithBackfillQueue(c Config, cloud aws.Config, p *Parts) error {
	q := sqsqueue.New(sqs.NewFromConfig(cloud), c.BackfillQueue)
	p.Steps, p.StepsDelay = q, q
	return needs("BACKFILL_QUEUE_URL", c.BackfillQueue)
}

// WithBackfillDeadLetters adds the queue where that queue's messages are put
// aside.
func WithBackfillDeadLetters(c Config, cloud aws.Config, p *Parts) error {
	p.DeadLetters = sqsqueue.New(sqs.NewFromConfig(cloud), c.BackfillDeadLetters)
	return needs("BACKFILL_DEAD_LETTERS_URL", c.BackfillDeadLetters)
}

// WithHistoryQueue adds the queue of old orders, for sending and for delaying.
func WithHistoryQueue(c Config, cloud aws.Config, p *Parts) error {
	q := sqsqueue.New(sqs.NewFromConfig(cloud), c.HistoryQueue)
	p.OldOrders, p.OldOrdersDelay = q, q
	return needs("HISTORY_QUEUE_URL", c.HistoryQueue)
}

// WithHistoryDeadLetters adds the queue of old orders that were put aside.
func WithHistoryDeadLetters(c Config, cloud aws.Config, p *Parts) error {
	p.DeadLetters = sqsqueue.New(sqs.NewFromConfig(cloud), c.HistoryDeadLetters)
	return needs("HISTORY_DEAD_LETTERS_URL", c.HistoryDeadLetters)
}

// WithSheets adds the reading of spreadsheets. read is sheet.Lines; it is handed
// in so that only the function that names it carries the library.
func WithSheets(read spi.Sheets) Part {
	return func(_ Config, _ aws.Config, p *Parts) error {
		p.Sheets = read
		return nil
	}
}

// WithPhones adds the reading of phone numbers. parser is phone.Parser; it is
// handed in so that only functions that name it carry its 5 MB.
func WithPhones(parser func(country string) func(string, ...string) (string, bool)) Part {
	return func(c Config, _ aws.Config, p *Parts) error {
		p.Phones = customer.Phones(parser(c.Country))
		return nil
	}
}

func needs(name, value string) error {
	if value == "" {
		return fmt.Errorf("%s is not set", name)
	}
	return nil
}

// MemoryLimit returns how many bytes Go may hold before it collects garbage
// whatever that costs: six sevenths of what Lambda gives the function, the rest
// is for the binary and the stacks. 0, for no limit, if the environment does not
// say or has GOMEMLIMIT, which Go reads itself. Without a limit Go lets garbage
// double what is in use, and Lambda ends a process that goes over.
func MemoryLimit(getenv func(string) string) int64 {
	mb, err := strconv.ParseInt(getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), 10, 32)
	if err != nil || mb <= 0 || getenv("GOMEMLIMIT") != "" {
		return 0
	}
	return mb << 20 / 7 * 6
}

// Start runs a function in Lambda until the process ends. With an environment
// that lacks something it ends at once, with a line that names everything that
// is wrong.
func Start(f Function, parts ...Part) {
	log := lambdacontext.NewLogger()
	if limit := MemoryLimit(os.Getenv); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	c, err := FromEnv(os.Getenv)
	p := Parts{Log: log, Now: time.Now}
	cloud := Cloud(c)
	for _, add := range parts {
		err = errors.Join(err, add(c, cloud, &p))
	}
	if err != nil {
		log.Error("the function cannot start: its environment is not complete", slog.Any("error", err))
		os.Exit(1)
	}
	lambda.Start(f(p))
}

// Cloud returns how to reach AWS from inside Lambda, which hands credentials to
// a function in its environment. Calls give up early: a till is waiting.
func Cloud(c Config) aws.Config {
	cfg := aws.Config{
		Region: c.Region,
		Credentials: credentials.NewStaticCredentialsProvider(
			os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")),
		HTTPClient: awshttp.NewBuildableClient().WithTimeout(2 * time.Second).WithTransportOptions(func(t *http.Transport) {
			// As for Rule: a connection that has died in silence is found out.
			t.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second}
		}),
		RetryMaxAttempts: 3,
	}
	if c.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(c.Endpoint)
	}
	return cfg
}

// warm opens the first connection to Rule while the function starts, so that
// the first customer does not wait for the CA bundle to be parsed and for TLS.
// The request carries no key and concerns no account; what it answers does not
// matter, and neither does its failure.
func warm(web *http.Client, url string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
		if err != nil {
			return
		}
		if res, err := web.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
}
