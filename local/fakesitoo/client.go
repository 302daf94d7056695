package fakesitoo

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// Client returns an HTTP client whose every request is answered by the server in
// this process, whatever its host. There is no network: a request is over when
// its answer is there, time can be testing/synctest's, and a fault that ends the
// connection ends it as the network would.
func (s *Server) Client() *http.Client {
	return &http.Client{
		Transport:     inProcess{s},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type inProcess struct{ s *Server }

var errReset = errors.New("read: connection reset by peer")

// RoundTrip serves the request.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	w := &recorder{header: http.Header{}}
	aborted := w.serve(p.s, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.status == 0 {
		return nil, errReset
	}
	res := &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}
	if aborted {
		res.ContentLength = -1
		res.Body = io.NopCloser(io.MultiReader(&w.body, brokenOff{}))
	}
	return res, nil
}

type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int // 0 until the answer begins
	body   bytes.Buffer
}

// serve serves a request and reports whether the connection ended without the
// rest of the answer.
func (w *recorder) serve(h http.Handler, r *http.Request) (aborted bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(p)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
