package samlocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// ErrNoDocker is why nothing is started where no Docker answers.
var ErrNoDocker = errors.New("sam local starts functions in Docker, and no Docker answers here")

// desktop is the name by which containers call the machine where Docker runs in a
// machine of its own, as it does on a Mac and on Windows.
const desktop = "host.docker.internal"

// Door lets what runs in Docker's containers reach what listens on this machine's
// loopback address, under the same port. It is safe for concurrent use. Close it.
type Door struct {
	bridge netip.Addr // this machine on Docker's bridge, zero if that is not here

	mu      sync.Mutex
	opened  map[string]string // by loopback address: as containers call it
	servers []*http.Server
	served  sync.WaitGroup
}

// NewDoor asks Docker for its bridge. The error is ErrNoDocker where there is none
// that answers.
func NewDoor(ctx context.Context) (*Door, error) {
	var complaint bytes.Buffer
	c := exec.CommandContext(ctx, "docker", "network", "inspect", "bridge", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}\n{{end}}")
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		why := strings.TrimSpace(complaint.String())
		if why == "" {
			why = err.Error()
		}
		return nil, fmt.Errorf("%w: %s", ErrNoDocker, why)
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	return &Door{bridge: bridge(string(out), local), opened: map[string]string{}}, nil
}

// bridge returns the address of Docker's bridge if it is one of this machine's.
// Docker does not say it where it is the first one of the bridge's network.
func bridge(networks string, local []net.Addr) netip.Addr {
	for line := range strings.Lines(networks) {
		gateway, subnet, _ := strings.Cut(line, " ")
		addr, err := netip.ParseAddr(strings.TrimSpace(gateway))
		if err != nil {
			network, err := netip.ParsePrefix(strings.TrimSpace(subnet))
			if err != nil {
				continue
			}
			addr = network.Masked().Addr().Next()
		}
		for _, l := range local {
			if n, ok := l.(*net.IPNet); ok && addr.Is4() && n.IP.String() == addr.String() {
				return addr
			}
		}
	}
	return netip.Addr{}
}

// Open returns the address by which containers reach a URL of this machine's
// loopback address. Any other text is returned as it is. It is safe to repeat.
func (d *Door) Open(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return text, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return text, nil
	}
	inside := *u
	if !d.bridge.IsValid() {
		// What listens on the loopback address there is reached by this name.
		inside.Host = net.JoinHostPort(desktop, u.Port())
		return inside.String(), nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if host, has := d.opened[u.Host]; has {
		inside.Host = host
		return inside.String(), nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(d.bridge.String(), u.Port()))
	if err != nil {
		l, err = net.Listen("tcp", net.JoinHostPort(d.bridge.String(), "0"))
	}
	if err != nil {
		return "", fmt.Errorf("listen on Docker's bridge: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: u.Scheme, Host: u.Host}) },
		},
	}
	d.servers = append(d.servers, server)
	d.served.Go(func() { _ = server.Serve(l) }) // ends with Close
	inside.Host = l.Addr().String()
	d.opened[u.Host] = inside.Host
	return inside.String(), nil
}

// OpenAll does Open with every value of an environment, given as key=value.
func (d *Door) OpenAll(env []string) ([]string, error) {
	all := make([]string, len(env))
	for i, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		inside, err := d.Open(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[i] = name + "=" + inside
	}
	return all, nil
}

// Close lets nothing through any more.
func (d *Door) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.servers {
		_ = s.Close()
	}
	d.served.Wait()
}
