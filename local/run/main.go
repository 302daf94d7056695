// Command run starts the whole product on this machine: the API that Sitoo
// calls, its workers, and stand-ins for Rule and Sitoo.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/standins"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// sample is a file of bonus checks for the made-up customers.
const sample = "events/bonuscheck-import/files/bonuschecks.csv"

// run starts everything, prints where it is, and ends with ctx.
func run(ctx context.Context, getenv func(string) string, out, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	t, err := template.Load("template.yaml")
	if err != nil {
		return fmt.Errorf("%w (run it from the project's folder)", err)
	}
	api, err := standins.Listen("", cmp.Or(getenv("PORT"), "3000"))
	if err != nil {
		return err
	}
	apiURL := "http://" + api.Addr().String() + "/sitoo"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

	shop := standins.Options{
		Key: cmp.Or(getenv("RULE_KEY"), fakerule.DefaultKey), Seed: getenv("RULE_SEED"), RulePort: getenv("RULE_PORT"), SitooPort: getenv("SITOO_PORT"), SPI: getenv("SPI"),
	}
	ruleURL := getenv("RULE_URL")
	var customers standins.Customers
	if ruleURL == "" {
		if ruleURL, customers, err = standins.Rule(ctx, &group, shop); err != nil {
			return err
		}
		say("Rule (stand-in)    %s   open it: customers, fields, orders, automations", ruleURL)
	} else {
		say("Rule               %s", ruleURL)
	}
	sitooURL := getenv("SITOO_URL")
	if sitooURL == "" {
		if sitooURL, err = standins.Sitoo(ctx, &group, shop, customers, apiURL); err != nil {
			return err
		}
		say("Sitoo (stand-in)   %s   a made-up shop; sells with POST /_sell", sitooURL)
		say("Till (stand-in)    %s/till   open it: what a cashier sees", sitooURL)
	} else {
		say("Sitoo              %s", sitooURL)
	}

	o := stack.Options{Template: t, RuleURL: ruleURL, Log: log, SitooAnyHost: true, Throttle: time.Now}
	c, err := start(ctx, o, sitooURL, getenv, logs, say)
	if err != nil {
		return err
	}
	group.Go(func() { c.work(ctx) })
	standins.Serve(ctx, &group, api, c.handler)
	say("API for Sitoo      %s   with the API token %s", apiURL, shop.Key)
	say("try:  curl -H 'Authorization: Bearer %s' '%s/contacts?key=070-174+06+05'", shop.Key, apiURL)
	say("and:  curl -H 'Authorization: Bearer %s' -F file=@%s %s/bonuschecks", shop.Key, sample, apiURL)
	say("ready")
	<-ctx.Done()
	return nil
}

// connector is what answers Sitoo.
type connector struct {
	handler http.Handler
	work    func(context.Context) // works the queues until its context ends
}

// start makes the connector: the handlers in this process, with everything in
// memory or (AWS=1) at an AWS endpoint, or (SAM=<the SAM CLI>) what is deployed, in
// Docker.
func start(ctx context.Context, o stack.Options, sitooURL string, getenv func(string) string, logs io.Writer, say func(string, ...any)) (connector, error) {
	if getenv("AWS") == "1" || getenv("SAM") != "" {
		cfg, err := cloud(ctx)
		if err != nil {
			return connector{}, err
		}
		o.Cloud = &cfg
		say("AWS                %s", cmp.Or(getenv("AWS_ENDPOINT_URL"), "region "+cfg.Region))
	}
	if program := getenv("SAM"); program != "" {
		return inDocker(ctx, o, program, sitooURL, getenv, logs, say)
	}
	s, err := stack.New(ctx, o)
	if err != nil {
		return connector{}, err
	}
	return connector{handler: withQueues(s), work: s.Run}, nil
}

// withQueues serves the API, and beside it the queues in memory: a POST to
// /_queues/<logical id> is what `aws sqs send-message` is in AWS, and a GET shows
// what is on the queue, without taking it.
func withQueues(s *stack.Stack) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.Gateway)
	if s.Broker == nil {
		return mux
	}
	mux.HandleFunc("POST /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		q, ok := s.Broker.Queue(r.PathValue("id"))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, sqsqueue.MaxSize))
		if !ok || err != nil {
			http.Error(w, `{"message":"There is no such queue, or the message is too large."}`, http.StatusBadRequest)
			return
		}
		if err := q.Send(r.Context(), worker.Message{Body: string(body), Group: "support", Dedup: rand.Text()}); err != nil {
			http.Error(w, `{"message":"The queue does not take the message."}`, http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"status":"queued"}`)
	})
	mux.HandleFunc("GET /_queues/{id}", func(w http.ResponseWriter, r *http.Request) {
		q, ok := s.Broker.Queue(r.PathValue("id"))
		if !ok {
			http.Error(w, `{"message":"There is no such queue."}`, http.StatusNotFound)
			return
		}
		list := []queued{}
		for _, m := range q.Messages() {
			list = append(list, queued{m.Attributes[worker.Reason], m.State, m.Receives, m.Sent, m.VisibleAt, m.Body})
		}
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(list)
	})
	return mux
}

// queued is a message as it is shown.
type queued struct {
	Reason    string      `json:"reason,omitempty"` // why it was put aside
	State     queue.State `json:"state"`
	Receives  int         `json:"receives"`
	Sent      time.Time   `json:"sent"`
	VisibleAt time.Time   `json:"visible_at"`
	Body      string      `json:"body"`
}

// cloud returns how to reach AWS, as the environment and the profile say.
func cloud(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("AWS=1 needs AWS_REGION, and credentials")
	}
	return cfg, nil
}
