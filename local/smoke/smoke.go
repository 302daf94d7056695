package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/template"
)

// opener makes fresh state for one function and returns the environment that
// leads it there. Close frees it.
type opener func(ctx context.Context, f template.Function) (env []string, closeState func(), err error)

// starter returns a function that is invoked, see process.
type starter func(f template.Function, bootstrap string, env []string) invoker

// invoker is a function that takes one event after the other.
type invoker interface {
	invoke(ctx context.Context, payload []byte) (runtimeapi.Result, error)
	startTime() time.Duration // of the first start
	close()
}

// smoke is one run of the command.
type smoke struct {
	build, events string
	update        bool
	open          opener
	start         starter
	side          int                                                     // functions played side by side, 1 if 0
	measure       func(bootstrap string) (plain, zipped int64, err error) // nil not to
	out           io.Writer

	passed, failed int
}

func (s *smoke) printf(format string, args ...any) {
	// A closed output is noticed by whoever closed it.
	_, _ = fmt.Fprintf(s.out, format, args...)
}

// fail notes one failure and says what it is.
func (s *smoke) fail(what, format string, args ...any) {
	s.failed++
	s.printf("  FAIL  %s: %s\n", what, fmt.Sprintf(format, args...))
}

// run feeds every function and reports whether all went well.
func (s *smoke) run(ctx context.Context, declared []template.Function, only string) bool {
	built := s.built()
	var wanted []template.Function
	for _, f := range declared {
		if only == "" || f.Name == only {
			wanted = append(wanted, f)
		}
	}
	s.play(ctx, wanted, built)
	for _, f := range wanted {
		delete(built, f.ID)
	}
	if only == "" {
		for _, id := range slices.Sorted(maps.Keys(built)) {
			s.fail(id, "%s is built, and the template declares no such function", id)
		}
	}
	if len(wanted) == 0 {
		s.fail("functions", "there is none to start")
	}
	s.printf("%d passed, %d failed\n", s.passed, s.failed)
	return s.failed == 0
}

// play feeds functions, s.side of them at a time, and prints in their order what
// each had to say.
func (s *smoke) play(ctx context.Context, wanted []template.Function, built map[string]bool) {
	type part struct {
		smoke
		said bytes.Buffer
		done chan struct{}
	}
	turns := make(chan struct{}, max(s.side, 1))
	parts := make([]*part, len(wanted))
	for i, f := range wanted {
		p := &part{smoke: *s, done: make(chan struct{})}
		p.out, p.passed, p.failed = &p.said, 0, 0
		parts[i] = p
		go func() {
			defer close(p.done)
			turns <- struct{}{}
			defer func() { <-turns }()
			p.printf("%s\n", f.Name)
			if !built[f.ID] {
				p.fail(f.Name, "the template declares %s, and %s has no such folder", f.ID, s.build)
				return
			}
			p.function(ctx, f)
		}()
	}
	for _, p := range parts {
		<-p.done
		s.printf("%s", p.said.String())
		s.passed += p.passed
		s.failed += p.failed
	}
}

// built returns the logical ids of the functions in the build folder.
func (s *smoke) built() map[string]bool {
	ids := map[string]bool{}
	entries, err := os.ReadDir(s.build)
	if err != nil {
		s.fail(s.build, "%v", err)
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(s.build, e.Name(), "bootstrap")); e.IsDir() && err == nil {
			ids[e.Name()] = true
		}
	}
	return ids
}

// function feeds one function all its events.
func (s *smoke) function(ctx context.Context, f template.Function) {
	events, orphans, err := eventsOf(filepath.Join(s.events, f.Name))
	if err != nil {
		s.fail(f.Name, "%v", err)
		return
	}
	for _, o := range orphans {
		s.fail(o, "a golden file without an event; delete it, or bring the event back")
	}
	if len(events) == 0 {
		s.fail(f.Name, "no event in %s", filepath.Join(s.events, f.Name))
		return
	}
	bootstrap := filepath.Join(s.build, f.ID, "bootstrap")
	env, closeState, err := s.open(ctx, f)
	if err != nil {
		s.fail(f.Name, "%v", err)
		return
	}
	defer closeState()

	begun := time.Now()
	p := s.start(f, bootstrap, env)
	defer p.close()
	for _, e := range events {
		s.event(ctx, p, begun, e)
	}
	if s.measure == nil {
		return
	}
	size, zipped, err := s.measure(bootstrap)
	if err != nil {
		s.fail(f.Name, "%v", err)
		return
	}
	s.printf("        start %v, bootstrap %s, zipped %s\n", p.startTime().Round(100*time.Microsecond), megabytes(size), megabytes(zipped))
}

// event is one sample event and its golden file.
type event struct {
	name   string // found
	path   string // events/contact-find/found-by-phone.json
	golden string // events/contact-find/golden/found-by-phone.json
}

// eventsOf lists a function's events by name, and the golden files that belong
// to none. A missing folder is an empty one.
func eventsOf(folder string) (events []event, orphans []string, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", folder, err)
	}
	wanted := map[string]bool{}
	for _, path := range slices.Sorted(slices.Values(paths)) {
		file := filepath.Base(path)
		golden := filepath.Join(folder, "golden", file)
		wanted[golden] = true
		events = append(events, event{strings.TrimSuffix(file, ".json"), path, golden})
	}
	files, err := os.ReadDir(filepath.Join(folder, "golden"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("list the golden files: %w", err)
	}
	for _, f := range files {
		if path := filepath.Join(folder, "golden", f.Name()); !wanted[path] {
			orphans = append(orphans, path)
		}
	}
	return events, orphans, nil
}

// event sends one event and judges the reply.
func (s *smoke) event(ctx context.Context, p invoker, begun time.Time, e event) {
	payload, err := os.ReadFile(e.path)
	if err != nil {
		s.fail(e.name, "%v", err)
		return
	}
	res, err := p.invoke(ctx, payload)
	if err != nil {
		s.fail(e.name, "%v", err)
		s.quote("its log", res.Log)
		return
	}
	got, err := replyOf(res)
	if err != nil {
		s.fail(e.name, "%v", err)
		s.quote("its log", res.Log)
		return
	}
	got = steady(got, begun, time.Now())
	if s.update {
		if err := writeGolden(e.golden, got); err != nil {
			s.fail(e.name, "%v", err)
			return
		}
	}
	want, err := os.ReadFile(e.golden)
	if err != nil {
		s.fail(e.name, "no golden file: %v; run with -update to write it, and read it", err)
		return
	}
	if diff := compare(want, got); diff != nil {
		s.fail(e.name, "differs from %s (- golden, + reply)", e.golden)
		s.quote("", diff)
		s.quote("its log", res.Log)
		return
	}
	s.passed++
	s.printf("  ok    %s (%v)\n", e.name, res.Duration.Round(100*time.Microsecond))
}

// quote prints lines below a failure.
func (s *smoke) quote(title string, lines []string) {
	if title != "" && len(lines) > 0 {
		s.printf("        %s:\n", title)
	}
	for _, line := range lines {
		s.printf("        %s\n", line)
	}
}

// process is a function that is started when the next event needs it: at first,
// and after an event that ended it.
type process struct {
	options runtimeapi.Options
	running *runtimeapi.Process
	start   time.Duration // of the first start
}

// native starts functions as processes of this machine.
func native(f template.Function, bootstrap string, env []string) invoker {
	return &process{options: runtimeapi.Options{Path: bootstrap, Name: f.ID, Env: env, Timeout: f.Timeout}}
}

func (p *process) startTime() time.Duration { return p.start }

func (p *process) invoke(ctx context.Context, payload []byte) (runtimeapi.Result, error) {
	if p.running == nil {
		started, err := runtimeapi.Start(ctx, p.options)
		if err != nil {
			return runtimeapi.Result{}, err
		}
		p.running = started
		if p.start == 0 {
			p.start = started.StartTime()
		}
	}
	res, err := p.running.Invoke(ctx, payload)
	if err != nil || (res.Err != nil && len(res.Err.Stack) > 0) { // it panicked
		p.close()
	}
	return res, err
}

func (p *process) close() {
	if p.running != nil {
		_ = p.running.Close() // never fails
		p.running = nil
	}
}

// sizes returns a bootstrap's size and that of a zip file with it alone, which
// is what is uploaded.
func sizes(path string) (plain, zipped int64, err error) {
	in, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("measure the bootstrap: %w", err)
	}
	defer func() { _ = in.Close() }()
	var c counter
	archive := zip.NewWriter(&c)
	out, err := archive.Create("bootstrap")
	if err != nil {
		return 0, 0, fmt.Errorf("zip %s: %w", path, err)
	}
	if plain, err = io.Copy(out, in); err != nil {
		return 0, 0, fmt.Errorf("zip %s: %w", path, err)
	}
	if err := archive.Close(); err != nil {
		return 0, 0, fmt.Errorf("zip %s: %w", path, err)
	}
	return plain, int64(c), nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// megabytes writes a size in units of 2^20 bytes, as Lambda's limits are.
func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
