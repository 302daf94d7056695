// Command run starts the whole product on this machine: the API that Sitoo
// calls, its workers, and stand-ins for Rule and Sitoo.
package main

import (
	"cmp"
	"context"
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
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// orders is how many old orders the made-up shop has.
const orders = 200

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
		rule := fakerule.New(fakerule.Options{Keys: []string{key}, Log: nil})
		if err := rule.Load(seed); err != nil {
			return fmt.Errorf("%s%w", from, err)
		}
		l, err := listen(cmp.Or(getenv("RULE_PORT"), "3001"))
		if err != nil {
			return err
		}
		serve(ctx, &group, l, rule)
		ruleURL = "http://" + l.Addr().String()
		customers = customersOf(rule.Subscribers(key))
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

	o := stack.Options{Template: t, RuleURL: ruleURL, Log: log}
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
	serve(ctx, &group, api, s.Gateway)
	say("API for Sitoo      %s   with the API token %s", apiURL, key)
	say("try:  curl -H 'Authorization: Bearer %s' '%s/contacts?key=070-174+06+05'", key, apiURL)
	say("and:  curl -H 'Authorization: Bearer %s' -F file=@%s %s/bonuschecks", key, sample, apiURL)
	say("ready")
	<-ctx.Done()
	return nil
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
