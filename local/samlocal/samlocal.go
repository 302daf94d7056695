// Package samlocal runs the built functions with the SAM CLI's `sam local`: in
// Docker, in the image of their runtime, behind the SAM CLI's own API and Lambda.
// The template that sam build made is not fit for that as it is, see Derive, and
// what listens on this machine is not reached from containers, see Door.
package samlocal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

// Options say what to run. All but Log is required.
type Options struct {
	Program string // the SAM CLI
	Build   string // the folder that sam build made
	// Env is the environment of functions, as key=value by logical id. What the
	// template declares and this does not have stays; a value that is a URL of
	// this machine's loopback address is replaced by one that containers reach.
	Env map[string][]string
	Log io.Writer // what functions print; nothing is kept if nil
}

// Local is sam local with a template of its own. It is safe for concurrent use.
// Close it, after the services that it started.
type Local struct {
	o        Options
	door     *Door
	template string
	environ  []string
}

// New writes the template, into the build folder. Where no Docker answers, the
// error is ErrNoDocker.
func New(ctx context.Context, door *Door, o Options) (*Local, error) {
	program, err := filepath.Abs(o.Program)
	if err != nil {
		return nil, fmt.Errorf("find the SAM CLI: %w", err)
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("the SAM CLI is missing, run make venv: %w", err)
	}
	o.Program = program
	if o.Log == nil {
		o.Log = io.Discard
	}
	built, err := os.ReadFile(filepath.Join(o.Build, "template.yaml"))
	if err != nil {
		return nil, fmt.Errorf("what sam build made: %w", err)
	}
	inside := maps.Clone(o.Env)
	for id, env := range o.Env {
		if inside[id], err = door.OpenAll(env); err != nil {
			return nil, fmt.Errorf("environment of %s: %w", id, err)
		}
	}
	derived, err := Derive(built, inside)
	if err != nil {
		return nil, err
	}
	// Beside the other one: where functions are is said relative to it.
	f, err := os.CreateTemp(o.Build, "sam-local-*.json")
	if err != nil {
		return nil, fmt.Errorf("write the template for sam local: %w", err)
	}
	_, err = f.Write(derived)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write the template for sam local: %w", err)
	}
	return &Local{o: o, door: door, template: f.Name(), environ: environ(os.Environ(), o.Env)}, nil
}

// Close removes the template.
func (l *Local) Close() { _ = os.Remove(l.template) }

// environ is what the SAM CLI inherits: neither credentials or settings of AWS,
// with which functions might reach a real account, nor anything that it would put
// in the place of a function's own variable.
func environ(inherited []string, env map[string][]string) []string {
	own := map[string]bool{}
	for _, list := range env {
		for _, kv := range list {
			name, _, _ := strings.Cut(kv, "=")
			own[name] = true
		}
	}
	all := []string{
		"SAM_CLI_TELEMETRY=0", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_DEFAULT_REGION=" + template.Region,
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
	}
	for _, kv := range inherited {
		switch name, value, _ := strings.Cut(kv, "="); {
		case name == "AWS_ENDPOINT_URL":
			// The SAM CLI asks who it is, the real AWS if it is told no other, and
			// again if that does not answer.
			all = append(all, "AWS_ENDPOINT_URL_STS="+value)
		case !own[name] && !strings.HasPrefix(name, "AWS_"):
			all = append(all, kv)
		}
	}
	return all
}

// command is `sam local NAME` with the template.
func (l *Local) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, l.o.Program, append([]string{
		"local", name, "--parameter-overrides", "Architecture=" + processor(), "--template", l.template, "--region", template.Region,
	}, args...)...)
	c.Env = l.environ
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = patience
	return c
}

// processor is this machine's, for which the functions are built, in AWS's words.
func processor() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

// patience is how long the SAM CLI may take to stop its containers.
const patience = 30 * time.Second

// Invoke runs `sam local invoke` once, in a container of its own. An error means
// that the function could not be started, or died without an answer; the result
// has what it printed.
func (l *Local) Invoke(ctx context.Context, id string, payload []byte) (runtimeapi.Result, error) {
	var reply, log bytes.Buffer
	c := l.command(ctx, "invoke", id, "--event", "-")
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(payload), &reply, &log
	begun := time.Now()
	err := c.Run()
	res := runtimeapi.Result{Duration: time.Since(begun)}
	var containers []string
	for line := range strings.Lines(log.String()) {
		if id, is := container(line); is {
			containers = append(containers, id)
		}
		if line = strings.TrimSpace(line); !chatter(line) {
			res.Log = append(res.Log, line)
		}
	}
	remove(ctx, containers)
	if err != nil {
		return res, fmt.Errorf("sam local invoke: %w", err)
	}
	return judge(res, reply.Bytes())
}

// judge tells a reply from an error and from none.
func judge(res runtimeapi.Result, reply []byte) (runtimeapi.Result, error) {
	if reply = bytes.TrimSpace(reply); len(reply) == 0 {
		return res, errors.New("the function died without an answer")
	}
	var fault runtimeapi.FunctionError
	if json.Unmarshal(reply, &fault) == nil && fault.Type != "" {
		res.Err = &fault
		if strings.HasPrefix(fault.Type, "Runtime.") {
			return res, fmt.Errorf("the function died: %w", res.Err)
		}
		return res, nil
	}
	res.Payload = reply
	return res, nil
}

// container returns the id of the container that a line of the SAM CLI names.
func container(line string) (id string, is bool) {
	_, id, is = strings.Cut(line, "SAM_CONTAINER_ID: ")
	return strings.TrimSpace(id), is
}

// remove removes containers that the SAM CLI has left behind, if it has.
func remove(ctx context.Context, ids []string) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_ = exec.CommandContext(ctx, "docker", append([]string{"rm", "--force"}, ids...)...).Run() // most are gone
}

// own are the beginnings of lines that the SAM CLI and Lambda's runtime print
// beside what functions do.
var own = []string{
	"START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "SAM_CONTAINER_ID: ", "Mounting ", "Invoking bootstrap",
	"Local image ", "Using local image: ", "Building image", "Removing rapid images", "Containers Initialization", "Lambda function ", "Reading invoke payload",
	"Requested to skip pulling images", "You can now ", "Press CTRL+C", " * ", "WARNING: This is a development server",
}

// accessLog is what the SAM CLI says of each request, coloured on some machines:
// with the query string, which may hold a phone number.
var accessLog = regexp.MustCompile(` - - \[.* HTTP/1\.`)

// chatter reports whether a line is none of a function's.
func chatter(line string) bool {
	for _, begin := range own {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return strings.Trim(line, " .*\t\r\n") == "" || accessLog.MatchString(line) ||
		strings.Contains(line, "failed to get the next invoke: ") // its container is taken away
}

// last returns the last lines of what was printed, for an error.
func last(lines []string) string {
	return cmp.Or(strings.Join(lines[max(0, len(lines)-10):], "\n"), "it printed nothing")
}
