// Command invoke runs one function once, with one event, and shows its reply,
// its log and how long it took:
//
//	go run ./local/invoke -fn contact-find -event events/contact-find/found-by-phone.json
//
// Go is all it needs: the function's handler runs in this process, with stores
// in memory. With AWS_ENDPOINT_URL set, the function is built as it is for
// deployment, for this machine, and its bootstrap is started under a Lambda
// Runtime API against that endpoint, with the tables and queues of make run
// AWS=1. With -sam the function that sam build has made is started by `sam local
// invoke`, in Docker, against that endpoint, and finds what it finds in make smoke:
// a sample event is answered as its golden file says. In any case Rule is a stand-in with its seed of made-up customers,
// unless RULE_URL names another.
//
// The exit status is 1 if the function fails or the event is not one of its
// kind, and 2 if the command line is wrong.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// outcome is an invocation and what is known about its start.
type outcome struct {
	runtimeapi.Result
	how   string        // where the function ran
	start time.Duration // from starting the process to its first poll, 0 if there is none
	early []string      // what it printed before that
}

// runner invokes a function. An error means that it could not be invoked or
// ended without an answer; the outcome may still have its log.
type runner func(ctx context.Context, t *template.Template, f template.Function, payload []byte, ruleURL string) (outcome, error)

// run is main with everything handed in. It returns the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("invoke", flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("fn", "", "the `function`, such as contact-find")
	event := flags.String("event", "", "the `file` with the event")
	root := flags.String("C", ".", "the project's `folder`, with template.yaml and functions")
	sam := flags.String("sam", "", "run the built function in Docker, with `sam local invoke` of this SAM CLI")
	build := flags.String("build", ".aws-sam/invoke", "the `folder` that sam build made, for -sam")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *name == "" || *event == "" || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	wrong := func(err error) int {
		_, _ = fmt.Fprintln(stderr, "invoke:", err)
		return 2
	}
	payload, err := os.ReadFile(*event)
	if err != nil {
		return wrong(err)
	}
	t, err := template.Load(filepath.Join(*root, "template.yaml"))
	if err != nil {
		return wrong(err)
	}
	f, err := find(t, *name)
	if err != nil {
		return wrong(err)
	}
	if err := suits(t, f, payload); err != nil {
		_, _ = fmt.Fprintf(stderr, "invoke: %s: %v\n", *event, err)
		return 1
	}
	ruleURL := getenv("RULE_URL")
	if *sam != "" {
		out, err := inSAM(*sam, *build, *root, *event, getenv)(ctx, t, f, payload, ruleURL)
		return show(stdout, f, *event, out, err)
	}
	if ruleURL == "" {
		url, closeRule, err := fakerule.Serve(ctx, fakerule.Options{})
		if err != nil {
			return wrong(err)
		}
		defer closeRule()
		ruleURL = url
	}
	invoke := runner(inProcess)
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		invoke = built(*root, endpoint)
	}
	out, err := invoke(ctx, t, f, payload, ruleURL)
	return show(stdout, f, *event, out, err)
}

func find(t *template.Template, name string) (template.Function, error) {
	known := ""
	for _, f := range t.Functions {
		if f.Name == name {
			return f, nil
		}
		known += " " + f.Name
	}
	return template.Function{}, fmt.Errorf("there is no function %q, only%s", name, known)
}

// suits returns an error if the event is not of the kind that starts f: a
// handler decodes any JSON, and would answer a request of no method and no path,
// or a batch of no messages, as if that had been meant.
func suits(t *template.Template, f template.Function, event []byte) error {
	var e struct {
		Records    []json.RawMessage
		HTTPMethod string `json:"httpMethod"`
	}
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("not an event: %w", err)
	}
	if slices.ContainsFunc(t.EventSources, func(s template.EventSource) bool { return s.Function == f.ID }) && len(e.Records) == 0 {
		return fmt.Errorf("%s works on a queue, and this event has no Records; see events/%s for some that do", f.Name, f.Name)
	}
	if slices.ContainsFunc(t.Routes, func(r template.Route) bool { return r.Function == f.ID }) && e.HTTPMethod == "" {
		return fmt.Errorf("%s answers requests, and this event has no httpMethod; see events/%s for some that do", f.Name, f.Name)
	}
	return nil
}

// show prints the outcome and returns the exit status.
func show(w io.Writer, f template.Function, event string, out outcome, err error) int {
	status := 0
	// A closed output is noticed by whoever closed it.
	printf := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	printf("%s with %s", f.Name, event)
	if out.how != "" {
		printf("%s", out.how)
	}
	switch {
	case err != nil:
		printf("\nfailed: %v", err)
		status = 1
	case out.Err != nil:
		printf("\nthe function's error:\n%s: %s", out.Err.Type, out.Err.Message)
		for _, frame := range out.Err.Stack {
			printf("  %s:%d %s", frame.Path, frame.Line, frame.Label)
		}
		status = 1
	default:
		printf("\nreply:\n%s", runtimeapi.Readable(out.Payload))
	}
	if log := append(out.early, out.Log...); len(log) > 0 {
		printf("\nlog:")
		for _, line := range log {
			printf("%s", line)
		}
	}
	if out.Duration > 0 {
		printf("\nduration %v", out.Duration.Round(10*time.Microsecond))
	}
	if out.start > 0 {
		printf("start to first poll %v", out.start.Round(10*time.Microsecond))
	}
	return status
}
