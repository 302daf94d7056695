package fakesitoo

import (
	"context"
	"net"
	"net/http"
	"time"
)

// FaultKind says how a request goes wrong.
type FaultKind int

const (
	// Status answers with Fault.Status and Sitoo's error body.
	Status FaultKind = iota
	// Hang never answers; it ends when the client gives up.
	Hang
	// Slow answers as usual, after Fault.Delay.
	Slow
	// Garbage answers 200 (or Fault.Status) with Fault.Body, an HTML page if "".
	Garbage
	// Cut sends the headers and a piece of the body, and closes the connection.
	Cut
	// Reset resets the connection without an answer. Go's client repeats a GET
	// by itself when that happens on a connection it has used before.
	Reset
	// Repeat answers as usual, but on a page of orders one comes twice, and so
	// does the last one of the page before: orders that move while they are
	// listed.
	Repeat
)

// Fault makes requests go wrong. A request that meets one has passed
// authentication, and holds its place as the one in flight while the fault lasts.
type Fault struct {
	Kind   FaultKind
	Status int           // default 500 for the kind Status
	Header http.Header   // sent with Status and Garbage
	Body   string        // of Garbage
	Delay  time.Duration // of Slow
	// Match picks the requests, all of them if nil. It must not call the Server.
	Match func(*http.Request) bool
	// Times is how many requests it hits: 0 means one, a negative number all.
	Times int
}

// Inject adds a fault. Where several match, the first one added strikes.
func (s *Server) Inject(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// SetFault installs f, which is asked about every request that no injected
// fault strikes; nil means that nothing goes wrong. A Fault's Match and Times
// do not count. f runs outside every lock, one request at a time as Sitoo takes
// them, and may wait. SetFault(nil) takes it away.
func (s *Server) SetFault(f func(*http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask = f
}

// Heal removes all faults. One that has struck goes on to its end.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.ask = nil, nil
}

// fault returns the fault that strikes a request, nil if none does.
func (s *Server) fault(r *http.Request) *Fault {
	f, ask := s.injected(r)
	if f == nil && ask != nil {
		f = ask(r)
	}
	return f
}

func (s *Server) injected(r *http.Request) (*Fault, func(*http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Times == 0 || (f.Match != nil && !f.Match(r)) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return f, nil
	}
	return nil, s.ask
}

// strike does the damage. It reports true if the request goes on as usual.
func (f *Fault) strike(w http.ResponseWriter, r *http.Request, reply func(answer)) bool {
	switch f.Kind {
	case Slow:
		return wait(r.Context(), f.Delay)
	case Repeat:
		return true
	case Hang:
		<-r.Context().Done()
	case Garbage:
		a := answer{status: f.Status, header: f.Header.Clone(), body: []byte(f.Body)}
		if a.status == 0 {
			a.status = http.StatusOK
		}
		if f.Body == "" {
			a.body = []byte("<html><body>Sitoo is being updated</body></html>")
		}
		reply(a)
	case Cut:
		const piece = `{"totalcount":1,"items":[{"orderid":2`
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "4096")
		_, _ = w.Write([]byte(piece))
		_ = http.NewResponseController(w).Flush() // else nothing of it goes out
		panic(http.ErrAbortHandler)
	case Reset:
		if hijacker, can := w.(http.Hijacker); can {
			if conn, _, err := hijacker.Hijack(); err == nil {
				if tcp, is := conn.(*net.TCPConn); is {
					_ = tcp.SetLinger(0) // close with RST instead of FIN
				}
				_ = conn.Close()
				return false
			}
		}
		panic(http.ErrAbortHandler)
	default:
		status := f.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		a := failed(status, http.StatusText(status))
		if status == http.StatusTooManyRequests {
			a = tooMany
		}
		a.header = f.Header.Clone()
		reply(a)
	}
	return false
}

// wait waits, and reports false if the client has gone before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
