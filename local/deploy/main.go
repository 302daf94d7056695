// Command deploy puts what `make build` built into an AWS emulator, with the SAM
// CLI and the real template, beside stand-ins for Rule and Sitoo, and serves them
// until it is stopped: `make deploy-local`. AWS_ENDPOINT_URL names the emulator,
// which .ci/with-emulator starts.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/standins"
	"sitoo-rule/local/template"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	build := flag.String("build", ".aws-sam/host", "the `folder` that sam build made for this machine")
	flag.Parse()
	if err := run(ctx, *build, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

// run deploys, prints where everything is, and ends with ctx.
func run(ctx context.Context, build string, getenv func(string) string, out io.Writer) error {
	parameters, err := settings(getenv("PARAMETERS"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	shop := standins.Options{
		Key: cmp.Or(getenv("RULE_KEY"), fakerule.DefaultKey), Seed: getenv("RULE_SEED"), RulePort: getenv("RULE_PORT"), SitooPort: getenv("SITOO_PORT"),
	}
	w, err := begin(ctx, &group, build, getenv, shop)
	if err != nil {
		return err
	}
	say("Rule (stand-in)    %s   open it: customers, fields, orders, automations", w.rule)
	say("AWS (emulator)     %s", w.deployer.endpoint)
	say("deploying, which takes about a minute")
	if err := w.deploy(ctx, parameters); err != nil {
		return err
	}
	sitoo, err := w.sitoo(ctx, &group)
	if err != nil {
		return err
	}
	door, err := w.door(ctx, &group, cmp.Or(getenv("PORT"), "3000"))
	if err != nil {
		return err
	}
	say("Sitoo (stand-in)   %s   a made-up shop; sells with POST /_sell", sitoo)
	say("API for Sitoo      %s   with the API token %s", w.stack.api, shop.Key)
	say("                   %s/sitoo leads there, so that what the README says to type can be typed", door)
	say("try:  curl -H 'Authorization: Bearer %s' '%s/contacts?key=070-174+06+05'", shop.Key, w.stack.api)
	say("ready")
	<-ctx.Done()
	return nil
}

// settings reads parameters of the template, written Name=value with blanks
// between them.
func settings(text string) (map[string]string, error) {
	parameters := map[string]string{}
	for _, one := range strings.Fields(text) {
		name, value, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("PARAMETERS: %q is not Name=value, such as Country=NO", one)
		}
		parameters[name] = value
	}
	return parameters, nil
}

// world is a deployed stack, and what stands around it.
type world struct {
	deployer deployer
	stack    deployed
	shop     standins.Options
	rule     string // address of the stand-in for Rule
	known    standins.Customers
}

// begin serves the stand-in for Rule, whose address the deployment is told.
func begin(ctx context.Context, group *sync.WaitGroup, build string, getenv func(string) string, shop standins.Options) (*world, error) {
	endpoint := getenv("AWS_ENDPOINT_URL")
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return nil, errors.New("AWS_ENDPOINT_URL is not set; it names the AWS emulator (make deploy-local starts one)")
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("AWS_ENDPOINT_URL is not an address of this machine: this deploys to an emulator only")
	}
	w := &world{shop: shop, deployer: deployer{
		sam: filepath.Join(cmp.Or(getenv("VENV"), ".venv"), "bin", "sam"), build: build, endpoint: strings.TrimRight(endpoint, "/"),
	}}
	w.rule, w.known, err = standins.Rule(ctx, group, shop)
	return w, err
}

// deploy brings the stack to what is built.
func (w *world) deploy(ctx context.Context, parameters map[string]string) (err error) {
	all := map[string]string{"RuleUrl": w.rule}
	for name, v := range parameters {
		all[name] = v
	}
	w.stack, err = w.deployer.deploy(ctx, all)
	return err
}

// sitoo serves the stand-in for Sitoo, whose tills call the deployed API.
func (w *world) sitoo(ctx context.Context, group *sync.WaitGroup) (string, error) {
	return standins.Sitoo(ctx, group, w.shop, w.known, w.stack.api)
}

// door serves, at the address of `make run`, what `make run` has there: the API,
// and the queues by their logical ids.
func (w *world) door(ctx context.Context, group *sync.WaitGroup, port string) (string, error) {
	to, err := url.Parse(strings.TrimSuffix(w.stack.api, "/sitoo"))
	if err != nil {
		return "", fmt.Errorf("the stack's API URL: %w", err)
	}
	l, err := standins.Listen("", port)
	if err != nil {
		return "", err
	}
	client := sqs.NewFromConfig(aws.Config{
		Region: template.Region, BaseEndpoint: aws.String(w.deployer.endpoint), Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	mux.Handle("/_queues/", awslocal.Door(client, func(ctx context.Context, id string) (string, error) {
		// CloudFormation's name of a queue that has none of its own.
		found, err := client.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: aws.String(stackName + "-" + id + "-")})
		if err != nil || len(found.QueueUrls) != 1 {
			return "", err
		}
		return found.QueueUrls[0], nil
	}))
	standins.Serve(ctx, group, l, mux)
	return "http://" + l.Addr().String(), nil
}
