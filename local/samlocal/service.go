package samlocal

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"sitoo-rule/local/runtimeapi"
)

// Commands of `sam local` that serve.
const (
	API    = "start-api"    // the routes of the template
	Lambda = "start-lambda" // every function, see Service.Invoke
)

// Service is a `sam local` that serves. It is safe for concurrent use. Close it.
type Service struct {
	URL string // where, without a slash at the end

	cmd    *exec.Cmd
	client *http.Client
	exited chan struct{} // closed when the process is gone
	read   chan struct{} // closed when all that it printed has been read

	mu         sync.Mutex
	lines      []string // printed lately
	containers []string
}

// startTime is how long the SAM CLI may take to serve, on a busy machine.
const startTime = 2 * time.Minute

// Start starts API or Lambda on a free port, and returns when it serves. Each
// function gets a container with its first call, and keeps it.
func (l *Local) Start(ctx context.Context, command string) (*Service, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Service{
		URL: "http://" + net.JoinHostPort("127.0.0.1", port), client: &http.Client{},
		exited: make(chan struct{}), read: make(chan struct{}),
	}
	// It ends with Close, after those who call it.
	s.cmd = l.command(context.WithoutCancel(ctx), command, "--host", "127.0.0.1", "--port", port, "--warm-containers", "LAZY")
	in, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("sam local %s: %w", command, err)
	}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("sam local %s: %w", command, err)
	}
	_ = out.Close()
	go s.follow(in, l.o.Log)
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.ready(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("sam local %s: %w", command, err)
	}
	return s, nil
}

func freePort(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port for sam local: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	return port, err
}

// ready returns when the service takes connections.
func (s *Service) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	address := strings.TrimPrefix(s.URL, "http://")
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w", ctx.Err())
		case <-s.exited:
			<-s.read
			return fmt.Errorf("it ended:\n%s", last(s.recent()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// follow reads what the SAM CLI prints, hands on what functions do, and notes the
// containers.
func (s *Service) follow(in io.ReadCloser, log io.Writer) {
	defer close(s.read)
	defer func() { _ = in.Close() }()
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			s.note(line)
			if !chatter(line) {
				_, _ = fmt.Fprintln(log, line)
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *Service) note(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, is := container(line); is {
		s.containers = append(s.containers, id)
		return
	}
	s.lines = append(s.lines[max(0, len(s.lines)-200):], line)
}

// recent returns what was printed lately.
func (s *Service) recent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// Invoke invokes a function of Lambda by its logical id. An error means that it
// could not be invoked, or died without an answer.
func (s *Service) Invoke(ctx context.Context, id string, payload []byte) (runtimeapi.Result, error) {
	begun := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/2015-03-31/functions/"+id+"/invocations", bytes.NewReader(payload))
	if err != nil {
		return runtimeapi.Result{}, fmt.Errorf("invoke %s: %w", id, err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return runtimeapi.Result{}, fmt.Errorf("invoke %s: %w", id, err)
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(res.Body)
	if err != nil {
		return runtimeapi.Result{}, fmt.Errorf("invoke %s: %w", id, err)
	}
	if res.StatusCode != http.StatusOK {
		return runtimeapi.Result{}, fmt.Errorf("invoke %s: %s: %s\n%s", id, res.Status, reply, last(s.recent()))
	}
	out, err := judge(runtimeapi.Result{Duration: time.Since(begun)}, reply)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", id, err, last(s.recent()))
	}
	return out, err
}

// Close stops the service and removes its containers. It is not safe to repeat.
func (s *Service) Close() {
	// The SAM CLI would stop one after the other, and wait for each.
	remove(context.Background(), s.started())
	_ = s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	remove(context.Background(), s.started())
}

// started returns the ids of the containers.
func (s *Service) started() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.containers...)
}
