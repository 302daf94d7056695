package fakerule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Serve starts a stand-in that holds the built-in example, on a free port of
// this machine, and returns the base URL for clients. stop ends it.
func Serve(ctx context.Context, o Options) (url string, stop func(), err error) {
	rule := New(o)
	if err := rule.Load(Seed()); err != nil {
		return "", nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen for the Rule stand-in: %w", err)
	}
	server := &http.Server{Handler: rule, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Close
	}()
	return "http://" + listener.Addr().String() + "/api", func() {
		_ = server.Close()
		<-served
	}, nil
}
