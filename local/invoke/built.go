package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"

	"sitoo-rule/local/deployment"
	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
)

// built returns a runner for the function as it is deployed, built from the
// project's folder, with what make run AWS=1 creates at the AWS endpoint.
func built(root, endpoint string) runner {
	return func(ctx context.Context, t *template.Template, f template.Function, payload []byte, ruleURL string) (outcome, error) {
		out := outcome{how: "the built function, against " + endpoint}
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return out, fmt.Errorf("AWS configuration: %w", err)
		}
		cfg.BaseEndpoint = &endpoint
		if cfg.Region == "" {
			cfg.Region = template.Region
		}
		d, err := deployment.Make(ctx, cfg, t, stack.Prefix, stack.Alias)
		if err != nil {
			return out, err
		}
		env, err := d.Open(ctx, f, ruleURL, fakerule.DefaultKey)
		if err != nil {
			return out, err
		}
		dir, err := os.MkdirTemp("", "invoke-*")
		if err != nil {
			return out, fmt.Errorf("make a folder for the build: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bootstrap := filepath.Join(dir, f.ID, "bootstrap")
		if err := build(ctx, root, "./functions/"+f.Name, bootstrap); err != nil {
			return out, err
		}
		return start(ctx, out, runtimeapi.Options{Path: bootstrap, Name: f.ID, Env: env, Timeout: f.Timeout}, payload)
	}
}

// build builds a function with the flags of the Makefile, for this machine.
func build(ctx context.Context, root, folder, bootstrap string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc",
		"-ldflags", "-s -w -buildid=", "-o", bootstrap, folder)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", folder, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// start starts a bootstrap, invokes it once and ends it.
func start(ctx context.Context, out outcome, o runtimeapi.Options, payload []byte) (outcome, error) {
	p, err := runtimeapi.Start(ctx, o)
	if err != nil {
		return out, err
	}
	defer func() { _ = p.Close() }() // never fails
	out.start, out.early = p.StartTime(), p.InitLog()
	out.Result, err = p.Invoke(ctx, payload)
	return out, err
}
