package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/app"
)

// inProcess runs the function's handler here, with stores in memory. A function
// behind a queue finds the account of the stand-in's key, which otherwise an
// earlier call of another function has created.
func inProcess(ctx context.Context, t *template.Template, f template.Function, payload []byte, ruleURL string) (outcome, error) {
	var out outcome
	out.how = "the handler in this process, stores in memory (set AWS_ENDPOINT_URL for the built function)"
	var log lines
	var parts app.Parts
	s, err := stack.New(ctx, stack.Options{
		Template: t, RuleURL: ruleURL,
		Log: slog.New(slog.NewJSONHandler(&log, nil)),
		Change: func(function string, p *app.Parts) {
			if function == f.Name {
				parts = *p
			}
		},
	})
	if err != nil {
		return out, err
	}
	if slices.ContainsFunc(t.EventSources, func(s template.EventSource) bool { return s.Function == f.ID }) {
		if err := addAccount(ctx, parts); err != nil {
			return out, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	begun := time.Now()
	out.Payload, out.Err = call(ctx, s, f.Name, payload)
	out.Duration = time.Since(begun)
	out.Log = log.all()
	return out, nil
}

// invoker is what this way of invoking needs of the stack.
type invoker interface {
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// call invokes a function and reports its error, or its panic, as Lambda would.
func call(ctx context.Context, s invoker, function string, payload []byte) (reply []byte, fault *runtimeapi.FunctionError) {
	defer func() {
		if v := recover(); v != nil {
			reply, fault = nil, &runtimeapi.FunctionError{Type: fmt.Sprintf("panic of %T", v), Message: fmt.Sprint(v)}
		}
	}()
	reply, err := s.Invoke(ctx, function, payload)
	if err == nil {
		return reply, nil
	}
	if e, is := errors.AsType[messages.InvokeResponse_Error](err); is {
		return nil, &runtimeapi.FunctionError{Type: e.Type, Message: e.Message}
	}
	kind := fmt.Sprintf("%T", err)
	return nil, &runtimeapi.FunctionError{Type: kind[strings.LastIndexByte(kind, '.')+1:], Message: err.Error()}
}

func addAccount(ctx context.Context, p app.Parts) error {
	if p.Accounts == nil || p.Sealer == nil {
		return nil // it knows no accounts
	}
	a := account.Account{ID: strconv.Itoa(fakerule.DefaultAccount), Created: time.Now()}
	if _, err := account.Keep(ctx, p.Accounts, p.Sealer, a, fakerule.DefaultKey, true); err != nil {
		return fmt.Errorf("keep the stand-in's account: %w", err)
	}
	return nil
}

// lines collects log lines, from several goroutines if need be.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.FieldsFunc(l.buf.String(), func(r rune) bool { return r == '\n' })
}
