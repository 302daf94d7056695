package runtimeapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	// ErrTimeout is returned when the function did not poll within the start
	// time or did not answer within the time of an invocation. The process has
	// been killed.
	ErrTimeout = errors.New("runtimeapi: the function took too long")
	// ErrExited is returned when the process ended on its own.
	ErrExited = errors.New("runtimeapi: the function's process ended")
	// ErrClosed is returned by Invoke after Close.
	ErrClosed = errors.New("runtimeapi: process closed")
)

// Options say what to start. Path is required.
type Options struct {
	Path string   // the bootstrap executable
	Dir  string   // working directory, default the executable's folder, as in Lambda
	Env  []string // the whole environment as key=value; nothing is inherited

	Name string // function name, default that of the executable's folder
	ARN  string // default one made of Name in eu-north-1, account 000000000000

	InitTimeout time.Duration // from start to first poll, default 10 s as in Lambda
	Timeout     time.Duration // for one invocation, default 30 s
}

// Process is a running function. It is safe for concurrent use; invocations
// are served one at a time in no promised order. Close it.
type Process struct {
	o      Options
	api    *api
	cmd    *exec.Cmd
	server *http.Server
	served chan struct{} // closed when the server has returned
	exited chan struct{} // closed when the process is gone, with exit set
	exit   error
	start  time.Duration
	turn   chan struct{} // holds one token: the right to invoke
	seq    int           // invocations so far, under turn

	logFile *os.File // what the function prints, read from logRead on
	logMu   sync.Mutex
	logRead int64
	initLog []string

	closeOnce sync.Once
	closed    chan struct{}
}

// Result is what came of one invocation.
type Result struct {
	Payload  []byte         // the reply, nil if the function failed
	Err      *FunctionError // the function's error, nil if it replied
	Duration time.Duration  // from handing out the payload to the answer
	Log      []string       // the lines printed to stdout and stderr meanwhile
}

// Start starts the function and returns when it has polled for its first
// invocation. It fails with a *FunctionError if the function reports a failed
// start, with ErrTimeout or with ErrExited; the text of the last two ends with
// what the function printed. Nothing is left running after an error.
//
// The function gets Options.Env, then what Lambda sets unless Env already has
// it: AWS_LAMBDA_RUNTIME_API, AWS_LAMBDA_FUNCTION_NAME and its relatives,
// AWS_REGION, LAMBDA_TASK_ROOT, _HANDLER and TZ.
func Start(ctx context.Context, o Options) (*Process, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("runtimeapi: find %s: %w", o.Path, err)
	}
	o.Path = path
	if o.Dir == "" {
		o.Dir = filepath.Dir(path)
	}
	if o.Name == "" {
		o.Name = filepath.Base(filepath.Dir(path))
	}
	if o.ARN == "" {
		o.ARN = "arn:aws:lambda:eu-north-1:000000000000:function:" + o.Name
	}
	if o.InitTimeout <= 0 {
		o.InitTimeout = 10 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}

	// A file instead of a pipe: when the function polls again, all that it
	// printed is there to read, so that every line belongs to its invocation.
	logFile, err := os.CreateTemp("", "runtimeapi-*.log")
	if err != nil {
		return nil, fmt.Errorf("runtimeapi: create the log file: %w", err)
	}
	dropLog := func() {
		_ = logFile.Close()
		_ = os.Remove(logFile.Name())
	}
	// Opened again to append, as stdout and stderr are two writers.
	out, err := os.OpenFile(logFile.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		dropLog()
		return nil, fmt.Errorf("runtimeapi: open the log file: %w", err)
	}
	defer func() { _ = out.Close() }()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		dropLog()
		return nil, fmt.Errorf("runtimeapi: listen: %w", err)
	}
	p := &Process{
		o:       o,
		api:     newAPI(o.ARN),
		served:  make(chan struct{}),
		exited:  make(chan struct{}),
		turn:    make(chan struct{}, 1),
		logFile: logFile,
		closed:  make(chan struct{}),
	}
	p.server = &http.Server{Handler: p.api.handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(listener) // ends with Close
	}()

	// No context: the process outlives Start and ends with Close.
	p.cmd = exec.Command(o.Path)
	p.cmd.Dir = o.Dir
	p.cmd.Env = environment(o, listener.Addr().String())
	p.cmd.Stdout, p.cmd.Stderr = out, out
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		close(p.exited)
		p.stop()
		return nil, fmt.Errorf("runtimeapi: start %s: %w", o.Path, err)
	}
	go func() {
		p.exit = p.cmd.Wait()
		close(p.exited)
	}()

	timer := time.NewTimer(o.InitTimeout)
	defer timer.Stop()
	var failure error
	select {
	case <-p.api.polled:
		p.start = p.api.firstPollAt().Sub(begun)
		p.initLog = p.takeLog()
		p.turn <- struct{}{}
		return p, nil
	case <-p.api.initFailed:
		failure = fmt.Errorf("runtimeapi: %s did not start: %w", o.Name, p.api.initFailure())
	case <-p.exited:
		failure = fmt.Errorf("%w before its first poll: %s", ErrExited, p.epitaph())
	case <-timer.C:
		failure = fmt.Errorf("%w: no poll within %v of its start", ErrTimeout, o.InitTimeout)
	case <-ctx.Done():
		failure = fmt.Errorf("runtimeapi: start %s: %w", o.Name, ctx.Err())
	}
	p.kill()
	if lines := p.takeLog(); len(lines) > 0 {
		failure = fmt.Errorf("%w; it printed:\n%s", failure, strings.Join(lines, "\n"))
	}
	p.stop()
	return nil, failure
}

// StartTime returns the time from starting the executable to its first poll:
// the part of a cold start that the function's own code decides.
func (p *Process) StartTime() time.Duration { return p.start }

// InitLog returns the lines that the function printed before its first poll.
func (p *Process) InitLog() []string { return slices.Clone(p.initLog) }

// Invoke sends one payload and waits until the function has answered and is
// ready for the next one, or has ended. An error that the function reported is
// in the result, with a nil error. ErrTimeout and ErrExited end the process; the
// result then still carries the log. A cancelled ctx kills the process too, as
// an abandoned invocation would answer into the next one. ErrClosed after Close.
func (p *Process) Invoke(ctx context.Context, payload []byte) (Result, error) {
	// Close wins over a free turn.
	select {
	case <-p.closed:
		return Result{}, ErrClosed
	default:
	}
	select {
	case <-p.closed:
		return Result{}, ErrClosed
	case <-ctx.Done():
		return Result{}, fmt.Errorf("runtimeapi: wait for a turn: %w", ctx.Err())
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	}

	p.seq++
	inv := &invocation{
		// Counted, not random: a reply that quotes its request id stays comparable.
		id:       fmt.Sprintf("00000000-0000-4000-8000-%012d", p.seq),
		trace:    fmt.Sprintf("Root=1-00000000-%024d;Parent=%016d;Sampled=0", p.seq, p.seq),
		payload:  payload,
		deadline: time.Now().Add(p.o.Timeout),
		answered: make(chan struct{}),
		idle:     make(chan struct{}),
	}
	timer := time.NewTimer(p.o.Timeout)
	defer timer.Stop()

	// Handed out, then answered, then idle; a process that ends after its
	// answer has answered all the same.
	var failure error
	handOut := p.api.work
	for waiting := true; waiting; {
		select {
		case handOut <- inv:
			handOut = nil
		case <-inv.idle:
			waiting = false
		case <-p.exited:
			waiting = false
			if !isAnswered(inv) {
				failure = fmt.Errorf("%w: %s", ErrExited, p.epitaph())
			}
		case <-timer.C:
			failure = fmt.Errorf("%w: no answer within %v", ErrTimeout, p.o.Timeout)
			if isAnswered(inv) {
				failure = fmt.Errorf("%w: answered, but not ready again within %v", ErrTimeout, p.o.Timeout)
			}
			waiting = false
		case <-ctx.Done():
			failure = fmt.Errorf("runtimeapi: invoke: %w", ctx.Err())
			waiting = false
		case <-p.closed:
			failure = ErrClosed
			waiting = false
		}
	}
	if failure != nil {
		p.kill()
		return Result{Log: p.takeLog()}, failure
	}
	return Result{
		Payload:  inv.reply,
		Err:      inv.fault,
		Duration: inv.ended.Sub(inv.begun),
		Log:      p.takeLog(),
	}, nil
}

// Close kills the process and frees everything it held. It may be repeated.
func (p *Process) Close() error {
	p.closeOnce.Do(func() {
		close(p.closed)
		p.kill()
		<-p.turn // an Invoke under way has read its log
		p.stop()
		p.turn <- struct{}{}
	})
	return nil
}

// kill ends the process and waits for its end.
func (p *Process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.exited
}

// stop frees what surrounds the process, which has ended.
func (p *Process) stop() {
	close(p.api.done)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		_ = p.server.Close()
	}
	<-p.served
	_ = p.logFile.Close()
	_ = os.Remove(p.logFile.Name())
}

// takeLog returns the lines printed since it was last called.
func (p *Process) takeLog() []string {
	p.logMu.Lock()
	defer p.logMu.Unlock()
	data, err := io.ReadAll(io.NewSectionReader(p.logFile, p.logRead, 1<<62))
	p.logRead += int64(len(data))
	var lines []string
	for line := range bytes.Lines(data) {
		lines = append(lines, strings.ToValidUTF8(string(bytes.TrimRight(line, "\r\n")), "\uFFFD"))
	}
	if err != nil {
		lines = append(lines, "(runtimeapi: the rest of the log could not be read: "+err.Error()+")")
	}
	return lines
}

// epitaph says how the process ended.
func (p *Process) epitaph() string {
	if p.exit == nil {
		return "exit status 0"
	}
	return p.exit.Error()
}

func isAnswered(inv *invocation) bool {
	select {
	case <-inv.answered:
		return true
	default:
		return false
	}
}

// environment returns o.Env with Lambda's own variables added. Those that name
// the Runtime API and the function cannot be overridden.
func environment(o Options, address string) []string {
	region := "eu-north-1"
	if parts := strings.Split(o.ARN, ":"); len(parts) > 3 && parts[3] != "" {
		region = parts[3]
	}
	env := []string{
		"AWS_REGION=" + region,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
		"LAMBDA_TASK_ROOT=" + o.Dir,
		"TZ=:UTC",
	}
	env = append(env, o.Env...)
	return append(env,
		"_HANDLER=bootstrap",
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"AWS_LAMBDA_FUNCTION_NAME="+o.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/"+o.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=local",
		"AWS_LAMBDA_RUNTIME_API="+address,
	)
}
