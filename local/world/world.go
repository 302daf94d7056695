// Package world makes what a function finds when a sample event of events/ reaches
// it: tables and queues of its own at an AWS emulator, with what other functions
// have left behind, and a seeded stand-in for Rule whose clock stands still, so that
// replies can be compared with golden files.
package world

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/deployment"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/template"
)

// alias names the one key that all runs share: it holds nothing.
const alias = "alias/sitoo-rule-smoke"

// now is the Rule stand-in's clock: replies that show it stay the same.
var now = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

// World makes fresh state for functions at an AWS emulator.
type World struct {
	template *template.Template
	cfg      aws.Config
	run      string // tells this run's tables and queues from another's
}

// New returns the world at the emulator that AWS_ENDPOINT_URL names, and checks
// that it is there.
func New(ctx context.Context, t *template.Template, getenv func(string) string) (*World, error) {
	endpoint := getenv("AWS_ENDPOINT_URL")
	if endpoint == "" {
		return nil, errors.New("AWS_ENDPOINT_URL is not set; it names the AWS emulator that the functions speak to (make smoke starts one)")
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	w := &World{
		template: t,
		run:      hex.EncodeToString(random),
		cfg: aws.Config{
			Region:       template.Region,
			BaseEndpoint: aws.String(endpoint),
			// An emulator takes any credentials, AWS none like these.
			Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		},
	}
	if _, err := awslocal.CreateKey(ctx, w.cfg, alias); err != nil {
		return nil, fmt.Errorf("prepare the emulator at %s: %w", endpoint, err)
	}
	return w, nil
}

// Open makes a world of its own for one function: new tables and queues with the
// function's past in them, and a seeded Rule stand-in on a free port. It returns
// the environment that leads the function there, as key=value, and what ends it.
func (w *World) Open(ctx context.Context, f template.Function) (env []string, closeState func(), err error) {
	d, err := deployment.Make(ctx, w.cfg, w.template, "smoke-"+w.run+"-"+f.ID+"-", alias)
	if err != nil {
		return nil, nil, err
	}
	if err := w.past(ctx, d, f); err != nil {
		return nil, nil, fmt.Errorf("prepare what %s finds: %w", f.Name, err)
	}
	url, closeRule, err := fakerule.Serve(ctx, fakerule.Options{
		Now:        func() time.Time { return now },
		AsyncDelay: -1, // the clock stands still, so what waits for it would wait for ever
	})
	if err != nil {
		return nil, nil, err
	}
	if env, err = d.Open(ctx, f, url, fakerule.DefaultKey); err != nil {
		closeRule()
		return nil, nil, err
	}
	return env, closeRule, nil
}
