package main

import (
	"context"
	"time"

	"sitoo-rule/local/runtimeapi"
	"sitoo-rule/local/samlocal"
	"sitoo-rule/local/template"
)

// inSAM makes the run start functions with sam local. All worlds are made first:
// sam local reads every function's environment when it starts.
func (s *smoke) inSAM(ctx context.Context, program string, declared []template.Function, only string) (closeSAM func(), err error) {
	var closers []func()
	closeSAM = func() {
		for i := range closers {
			closers[len(closers)-1-i]()
		}
	}
	defer func() {
		if err != nil {
			closeSAM()
		}
	}()
	door, err := samlocal.NewDoor(ctx)
	if err != nil {
		return nil, err
	}
	closers = append(closers, door.Close)
	envs := map[string][]string{}
	for _, f := range declared {
		if only != "" && f.Name != only {
			continue
		}
		env, closeState, err := s.open(ctx, f)
		if err != nil {
			return nil, err
		}
		closers = append(closers, closeState)
		envs[f.ID] = env
	}
	l, err := samlocal.New(ctx, door, samlocal.Options{Program: program, Build: s.build, Env: envs})
	if err != nil {
		return nil, err
	}
	closers = append(closers, l.Close)
	service, err := l.Start(ctx, samlocal.Lambda)
	if err != nil {
		return nil, err
	}
	closers = append(closers, service.Close)
	s.open = func(_ context.Context, f template.Function) ([]string, func(), error) {
		return envs[f.ID], func() {}, nil
	}
	// The SAM CLI waits for a second now and then, with nothing to do; and it is the
	// same bootstrap that is measured without it.
	s.side, s.measure = 4, nil
	s.start = func(f template.Function, _ string, _ []string) invoker { return remote{service, f.ID} }
	return closeSAM, nil
}

// remote is a function in sam local.
type remote struct {
	service *samlocal.Service
	id      string
}

func (r remote) invoke(ctx context.Context, payload []byte) (runtimeapi.Result, error) {
	return r.service.Invoke(ctx, r.id, payload)
}

func (r remote) startTime() time.Duration { return 0 } // not known

func (r remote) close() {} // with the service
