package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sitoo-rule/local/template"
)

// stackName is what the stack is called in the emulator.
const stackName = "sitoo-rule-local"

// stopTime is how long a command may take to end that is told to.
const stopTime = 10 * time.Second

// deployer deploys what sam build left to an emulator.
type deployer struct {
	sam      string // the program
	build    string // the folder
	endpoint string // of the emulator
}

// deployed is a stack in the emulator.
type deployed struct {
	api     string            // the API URL for Sitoo, at the emulator
	outputs map[string]string // as the template declares them
}

// deploy brings the stack to what is built, with the parameters and the
// template's defaults for the others. Repeating it updates the stack.
func (d deployer) deploy(ctx context.Context, parameters map[string]string) (deployed, error) {
	p := map[string]string{
		"Architecture": map[string]string{"amd64": "x86_64"}[runtime.GOARCH],
		// The stand-in for Sitoo is not one of Sitoo's hosts, and nothing here is
		// worth protecting.
		"SitooAnyHost": "true", "DeletionProtection": "false",
	}
	if p["Architecture"] == "" {
		p["Architecture"] = runtime.GOARCH
	}
	maps.Copy(p, parameters)
	built, err := os.ReadFile(filepath.Join(d.build, "template.yaml"))
	if err != nil {
		return deployed{}, fmt.Errorf("nothing is built: %w", err)
	}
	derived, err := derive(built, p)
	if err != nil {
		return deployed{}, err
	}
	// Beside the built one: the paths of the functions start from there.
	path := filepath.Join(d.build, "emulator.yaml")
	if err := os.WriteFile(path, derived, 0o600); err != nil {
		return deployed{}, fmt.Errorf("write the template for the emulator: %w", err)
	}
	args := []string{
		"deploy", "--template-file", path, "--stack-name", stackName, "--region", template.Region, "--resolve-s3",
		"--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar", "--parameter-overrides",
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		args = append(args, name+"="+p[name])
	}
	if _, err := d.run(ctx, args...); err != nil {
		return deployed{}, fmt.Errorf("deploy: %w", err)
	}
	return d.find(ctx)
}

// find reads the outputs of the stack.
func (d deployer) find(ctx context.Context) (deployed, error) {
	raw, err := d.run(ctx, "list", "stack-outputs", "--stack-name", stackName, "--region", template.Region, "--output", "json")
	if err != nil {
		return deployed{}, fmt.Errorf("read the outputs of the stack: %w", err)
	}
	var list []struct{ OutputKey, OutputValue string }
	if err := json.Unmarshal(raw, &list); err != nil {
		return deployed{}, fmt.Errorf("read the outputs of the stack: %w", err)
	}
	s := deployed{outputs: map[string]string{}}
	for _, o := range list {
		s.outputs[o.OutputKey] = o.OutputValue
	}
	s.api, err = local(s.outputs["SitooApiUrl"], d.endpoint)
	return s, err
}

// local returns where the emulator serves what AWS would serve at an address of
// API Gateway.
func local(address, endpoint string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("the stack's API URL: %w", err)
	}
	m := regexp.MustCompile(`^([a-z0-9]+)\.execute-api\.`).FindStringSubmatch(u.Host)
	stage, path, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if m == nil || !ok {
		return "", fmt.Errorf("the output SitooApiUrl is %q, not an address of API Gateway", address)
	}
	return fmt.Sprintf("%s/restapis/%s/%s/_user_request_/%s", endpoint, m[1], stage, path), nil
}

// run runs sam, and returns what it prints to its standard output. With ctx it
// ends as with Ctrl-C.
func (d deployer) run(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, d.sam, args...)
	c.Env = append(os.Environ(), "SAM_CLI_TELEMETRY=0", "AWS_ENDPOINT_URL="+d.endpoint)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	var out, all strings.Builder
	c.Stdout, c.Stderr = io.MultiWriter(&out, &all), &all
	if err := c.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		return nil, fmt.Errorf("sam %s: %w\n%s", args[0], err, all.String())
	}
	return []byte(out.String()), nil
}
