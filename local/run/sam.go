package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/local/awslocal"
	"sitoo-rule/local/deployment"
	"sitoo-rule/local/samlocal"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
)

// inDocker makes the connector of the built functions, which sam local runs in
// Docker: its API answers, and its Lambda gets what is on the queues. Tables,
// queues and key are made at the emulator that AWS_ENDPOINT_URL names. The shop is
// Sitoo's address on this machine.
func inDocker(ctx context.Context, o stack.Options, program, shop string, getenv func(string) string, logs io.Writer, say func(string, ...any)) (c connector, err error) {
	if getenv("AWS_ENDPOINT_URL") == "" {
		return connector{}, errors.New("AWS_ENDPOINT_URL is not set; it names the AWS emulator that the functions speak to (make sam-api starts one)")
	}
	var closers []func()
	closeAll := func() {
		for i := range closers {
			closers[len(closers)-1-i]()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	door, err := samlocal.NewDoor(ctx)
	if err != nil {
		return connector{}, err
	}
	closers = append(closers, door.Close)
	d, err := deployment.Make(ctx, *o.Cloud, o.Template, stack.Prefix, stack.Alias)
	if err != nil {
		return connector{}, err
	}
	envs := map[string][]string{}
	for _, f := range o.Template.Functions {
		if envs[f.ID], err = d.Environment(ctx, f, o.RuleURL); err != nil {
			return connector{}, err
		}
		if _, has := f.Environment["SITOO_ANY_HOST"]; has {
			envs[f.ID] = append(envs[f.ID], "SITOO_ANY_HOST=true") // the last one counts
		}
	}
	l, err := samlocal.New(ctx, door, samlocal.Options{Program: program, Build: cmp.Or(getenv("SAM_BUILD"), ".aws-sam/docker"), Env: envs, Log: logs})
	if err != nil {
		return connector{}, err
	}
	closers = append(closers, l.Close)
	api, functions, err := services(ctx, l)
	if err != nil {
		return connector{}, err
	}
	closers = append(closers, func() { // side by side: each takes seconds
		var both sync.WaitGroup
		both.Go(api.Close)
		both.Go(functions.Close)
		both.Wait()
	})
	pollers, err := d.Pollers(sqs.NewFromConfig(*o.Cloud), 1, o.Log, func(f template.Function) lambda.Handler { return remote{functions, f.ID} })
	if err != nil {
		return connector{}, err
	}
	target, err := url.Parse(api.URL)
	if err != nil {
		return connector{}, fmt.Errorf("address of sam local: %w", err)
	}
	inside, err := door.Open(shop)
	if err != nil {
		return connector{}, err
	}
	say("Sitoo, in Docker   %s   what the baseurl of the shop's credentials begins with here", inside)
	handler := http.NewServeMux()
	handler.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	handler.Handle("/_queues/", awslocal.Door(sqs.NewFromConfig(*o.Cloud), func(_ context.Context, id string) (string, error) {
		if _, ok := o.Template.Queue(id); !ok {
			return "", nil
		}
		return d.Resolve(id, "")
	}))
	return connector{
		handler: handler,
		work: func(ctx context.Context) {
			defer closeAll()
			var all sync.WaitGroup
			for _, p := range pollers {
				all.Go(func() { p.Run(ctx) })
			}
			all.Wait()
		},
	}, nil
}

// services starts sam local's API and its Lambda.
func services(ctx context.Context, l *samlocal.Local) (api, functions *samlocal.Service, err error) {
	var both sync.WaitGroup
	var failed error
	both.Go(func() { functions, failed = l.Start(ctx, samlocal.Lambda) })
	api, err = l.Start(ctx, samlocal.API)
	both.Wait()
	if err = errors.Join(err, failed); err != nil {
		for _, s := range []*samlocal.Service{api, functions} {
			if s != nil {
				s.Close()
			}
		}
		return nil, nil, err
	}
	return api, functions, nil
}

// remote is a function in sam local.
type remote struct {
	service *samlocal.Service
	id      string
}

var _ lambda.Handler = remote{}

// Invoke runs the function. What it reports as an error is one.
func (r remote) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	res, err := r.service.Invoke(ctx, r.id, payload)
	if err == nil && res.Err != nil {
		err = res.Err
	}
	return res.Payload, err
}
