// Package cutoff stands between a client and a server and can make connections
// die in silence, as a firewall that forgets them or a router that is unplugged
// does: nothing is closed, and nothing arrives any more.
package cutoff

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy passes bytes on between its clients and one server. It is safe for
// concurrent use.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	alive  []*atomic.Bool
	open   []net.Conn
	opened int
}

// Listen starts a proxy in front of the server at target, host:port.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target}
	go p.accept()
	return p, nil
}

// Addr is where clients connect, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Opened returns how many connections clients have opened so far.
func (p *Proxy) Opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// Cut makes every connection that is open now die in silence. Later ones work.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.alive {
		a.Store(false)
	}
	p.alive = nil
}

// Close closes the proxy and all its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		alive := new(atomic.Bool)
		alive.Store(true)
		p.mu.Lock()
		p.opened++
		p.alive = append(p.alive, alive)
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		go pass(server, client, alive)
		go pass(client, server, alive)
	}
}

// pass reads on after the cut, so that the sender's window never fills and it
// has no way to tell.
func pass(to, from net.Conn, alive *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && alive.Load() {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			if alive.Load() && err == io.EOF {
				_ = to.Close()
			}
			return
		}
	}
}
