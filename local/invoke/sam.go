package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sitoo-rule/local/samlocal"
	"sitoo-rule/local/template"
	"sitoo-rule/local/world"
)

// inSAM returns a runner for `sam local invoke`, of the function that sam build
// made in the folder build. The function finds what it finds in `make smoke`, so
// that an event of events/ is answered as its golden file says: its folder's events
// before it, by name, have been played.
func inSAM(program, build, root, event string, getenv func(string) string) runner {
	return func(ctx context.Context, t *template.Template, f template.Function, payload []byte, ruleURL string) (outcome, error) {
		var out outcome
		out.how = "the built function in Docker, with sam local invoke"
		door, err := samlocal.NewDoor(ctx)
		if err != nil {
			return out, err
		}
		defer door.Close()
		w, err := world.New(ctx, t, getenv)
		if err != nil {
			return out, err
		}
		env, closeWorld, err := w.Open(ctx, f)
		if err != nil {
			return out, err
		}
		defer closeWorld()
		if ruleURL != "" {
			env = append(env, "RULE_URL="+ruleURL) // the last one counts
		}
		l, err := samlocal.New(ctx, door, samlocal.Options{Program: program, Build: build, Env: map[string][]string{f.ID: env}})
		if err != nil {
			return out, err
		}
		defer l.Close()
		before, err := earlier(root, f.Name, event)
		if err != nil {
			return out, err
		}
		if len(before) > 0 {
			out.how += fmt.Sprintf(", after the %d events before it in events/%s", len(before), f.Name)
			if err := play(ctx, l, f.ID, before); err != nil {
				return out, err
			}
		}
		out.Result, err = l.Invoke(ctx, f.ID, payload)
		return out, err
	}
}

// earlier returns the events of a function's folder before an event, by name; none
// for an event from elsewhere.
func earlier(root, function, event string) (before []string, err error) {
	folder, err := filepath.Abs(filepath.Join(root, "events", function))
	if err != nil {
		return nil, fmt.Errorf("find the events of %s: %w", function, err)
	}
	if event, err = filepath.Abs(event); err != nil {
		return nil, fmt.Errorf("find the event: %w", err)
	}
	if filepath.Dir(event) != folder {
		return nil, nil
	}
	all, err := filepath.Glob(filepath.Join(folder, "*.json")) // sorted
	if err != nil {
		return nil, fmt.Errorf("find the events of %s: %w", function, err)
	}
	for _, path := range all {
		if strings.Compare(filepath.Base(path), filepath.Base(event)) < 0 {
			before = append(before, path)
		}
	}
	return before, nil
}

// play feeds a function events, all in one container.
func play(ctx context.Context, l *samlocal.Local, id string, events []string) error {
	service, err := l.Start(ctx, samlocal.Lambda)
	if err != nil {
		return err
	}
	defer service.Close()
	for _, path := range events {
		payload, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("the events before: %w", err)
		}
		// An error that the function reports is an answer, too.
		if _, err := service.Invoke(ctx, id, payload); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
