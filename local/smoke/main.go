// Command smoke starts every built function the way AWS Lambda does, feeds it
// the sample events and compares its replies with golden files:
//
//	go run ./local/smoke -build .aws-sam/build -events events [-update] [-fn contact-find]
//
// A function's events are events/<function>/*.json, sent in the order of their
// names to one process; the reply to found-by-phone.json is in golden/found-by-phone.json beside
// it. Every function starts with tables and queues of its own and a freshly
// seeded Rule stand-in. AWS_ENDPOINT_URL names the AWS emulator; the functions
// get made-up credentials, so that a real account refuses them.
//
// Replies are compared as they are: the stand-ins' ids and clock are fixed. Some
// things vary all the same, and stand in golden files as "(new id)" and "(during
// this run)": the id of a new import, the address of a set-up check's test
// customer, the time of a use that the till did not date, and when a backfill was
// paused, resumed or cancelled. White space between JSON tokens does not count.
//
// With -sam the functions are run by `sam local start-lambda`, each in a container
// of its own; the rest is the same.
//
// It prints a line for every event, each function's start time and size, and
// last "N passed, M failed". The exit status is 1 if anything failed and 2 if
// the command line is wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sitoo-rule/local/template"
	"sitoo-rule/local/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main with everything handed in. It returns the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s := smoke{start: native, measure: sizes, out: stdout}
	flags.StringVar(&s.build, "build", ".aws-sam/build", "the `folder` that sam build made")
	flags.StringVar(&s.events, "events", "events", "the `folder` of sample events")
	flags.BoolVar(&s.update, "update", false, "write the golden files instead of comparing with them")
	only := flags.String("fn", "", "only this function, such as contact-find")
	sam := flags.String("sam", "", "run the functions in Docker, with `sam local` of this SAM CLI")
	path := flags.String("template", "template.yaml", "the SAM template")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		if err == nil {
			flags.Usage()
		}
		return 2
	}
	t, err := template.Load(*path)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "smoke:", err)
		return 2
	}
	w, err := world.New(ctx, t, getenv)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "smoke:", err)
		return 2
	}
	s.open = w.Open
	if *sam != "" {
		closeSAM, err := s.inSAM(ctx, *sam, t.Functions, *only)
		if err != nil {
			_, _ = fmt.Fprintln(stderr, "smoke:", err)
			return 1
		}
		defer closeSAM()
	}
	if s.run(ctx, t.Functions, *only) {
		return 0
	}
	return 1
}
