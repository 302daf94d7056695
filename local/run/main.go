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
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/rule"
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

// What the made-up shop has: old orders, and how many customers made them, of
// whom Rule knows some already.
const (
	orders    = 20_000
	buyers    = 400
	knownToUs = 300
)

// sample is a file of bonus checks for the made-up customers.
const sample = "events/bonuscheck-import/files/bonuschecks.csv"

// run starts everything, prints where it is, and ends with ctx.
func run(ctx context.Context, getenv func(string) string, out, logs io.Writer) error {
	log := slog.New(slog.NewJSONHandler(logs, nil))
	t, err := template.Load("template.yaml")
	if err != nil {
		return fmt.Errorf("%w (run it from the project's folder)", err)
	}
	api, err := listen(cmp.Or(getenv("PORT"), "3000"))
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

	key := cmp.Or(getenv("RULE_KEY"), fakerule.DefaultKey)
	ruleURL := getenv("RULE_URL")
	var customers []fakesitoo.Customer
	if ruleURL == "" {
		seed, from := fakerule.Seed(), ""
		if name := getenv("RULE_SEED"); name != "" {
			f, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("RULE_SEED: %w", err)
			}
			defer f.Close()
			seed, from = f, "RULE_SEED "+name+": "
		}
		known := fakerule.New(fakerule.Options{Keys: []string{key}, Log: nil})
		if err := known.Load(seed); err != nil {
			return fmt.Errorf("%s%w", from, err)
		}
		l, err := listen(cmp.Or(getenv("RULE_PORT"), "3001"))
		if err != nil {
			return err
		}
		serve(ctx, &group, l, known)
		ruleURL = "http://" + l.Addr().String()
		customers = customersOf(known.Subscribers(key))
		made := fakesitoo.MakeCustomers(buyers)[len(fakesitoo.DefaultCustomers()):]
		customers = append(customers, made...)
		if err := introduce(ctx, ruleURL, key, made[:knownToUs]); err != nil {
			return err
		}
		known.Settle()
		say("Rule (stand-in)    %s   open it: customers, fields, orders, automations", ruleURL)
	} else {
		say("Rule               %s", ruleURL)
	}
	if getenv("SITOO_URL") == "" {
		l, err := listen(cmp.Or(getenv("SITOO_PORT"), "3002"))
		if err != nil {
			return err
		}
		sitoo := fakesitoo.New(fakesitoo.Options{Orders: orders, Customers: customers, Connector: apiURL, Token: key})
		serve(ctx, &group, l, sitoo)
		say("Sitoo (stand-in)   http://%s   a made-up shop; sells with POST /_sell", l.Addr())
	} else {
		say("Sitoo              %s", getenv("SITOO_URL"))
	}

	o := stack.Options{Template: t, RuleURL: ruleURL, Log: log, SitooAnyHost: true, Throttle: time.Now}
	if getenv("AWS") == "1" {
		cfg, err := cloud(ctx, getenv)
		if err != nil {
			return err
		}
		o.Cloud = &cfg
		say("AWS                %s", cmp.Or(getenv("AWS_ENDPOINT_URL"), "region "+cfg.Region))
	}
	s, err := stack.New(ctx, o)
	if err != nil {
		return err
	}
	group.Go(func() { s.Run(ctx) })
	serve(ctx, &group, api, withQueues(s))
	say("API for Sitoo      %s   with the API token %s", apiURL, key)
	say("try:  curl -H 'Authorization: Bearer %s' '%s/contacts?key=070-174+06+05'", key, apiURL)
	say("and:  curl -H 'Authorization: Bearer %s' -F file=@%s %s/bonuschecks", key, sample, apiURL)
	say("ready")
	<-ctx.Done()
	return nil
}

// introduce makes customers known to Rule, with nothing but their address.
func introduce(ctx context.Context, ruleURL, key string, customers []fakesitoo.Customer) error {
	list := make([]rule.Upsert, len(customers))
	for i, c := range customers {
		list[i] = rule.Upsert{Email: c.Email}
	}
	r := rule.New(rule.Config{URL: ruleURL}).Session(key, time.Time{}, nil)
	if _, err := r.UpsertMany(ctx, list, []string{"Sitoo"}); err != nil {
		return fmt.Errorf("introduce the made-up customers: %w", err)
	}
	return nil
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

// cloud returns how to reach AWS, as the environment and the profile say. An
// endpoint that the environment names is an emulator: see awslocal.Serial.
func cloud(ctx context.Context, getenv func(string) string) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w", err)
	}
	if getenv("AWS_ENDPOINT_URL") != "" {
		// Only now: loading it adds AWS_CA_BUNDLE to the client, which it
		// cannot do to this one.
		cfg.HTTPClient = &http.Client{Transport: awslocal.Serial(http.DefaultTransport), Timeout: 30 * time.Second}
	}
	if cfg.Region == "" {
		return cfg, errors.New("AWS=1 needs AWS_REGION, and credentials")
	}
	return cfg, nil
}

func listen(port string) (net.Listener, error) {
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, fmt.Errorf("%q is not a port", port)
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, fmt.Errorf("%w (PORT, RULE_PORT and SITOO_PORT choose others)", err)
	}
	return l, nil
}

// serve serves h until ctx ends.
func serve(ctx context.Context, group *sync.WaitGroup, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() { _ = server.Serve(l) })
	group.Go(func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
	})
}

// customersOf makes Rule's made-up people the shop's customers.
func customersOf(list []fakerule.Subscriber) []fakesitoo.Customer {
	var out []fakesitoo.Customer
	for _, s := range list {
		text := func(field string) string { f, _ := s.Field(field); return f.Value }
		out = append(out, fakesitoo.Customer{
			ContactID: strconv.FormatInt(s.ID, 10), Email: s.Email, Phone: s.Phone,
			MemberNumber: text("Sitoo-Contact.membernumber"), NameFirst: text("Sitoo-Contact.namefirst"), NameLast: text("Sitoo-Contact.namelast"),
			Address: text("Sitoo-Address.invoice_address"), Zip: text("Sitoo-Address.invoice_zip"), City: text("Sitoo-Address.invoice_city"),
		})
	}
	return out
}
