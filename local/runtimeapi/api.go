// Package runtimeapi starts a built Lambda function on this machine and
// invokes it the way AWS Lambda does: it serves the Lambda Runtime API
// (version 2018-06-01) on the loopback interface, starts the function's
// bootstrap executable against it, hands out one payload at a time and
// measures. What is tested this way is the artefact that is deployed, its
// start-up included, not only the code inside.
//
// The API's routes and headers are those of
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.
package runtimeapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxReply is Lambda's limit for the reply of a synchronous invocation.
const maxReply = 6 << 20

// FunctionError is the error that a function reported, or that the Runtime API
// found in what it did. A function that returns one has been invoked and goes
// on; one that panicked ends.
type FunctionError struct {
	Type    string       `json:"errorType"`
	Message string       `json:"errorMessage"`
	Stack   []StackFrame `json:"stackTrace,omitempty"`
}

// StackFrame is one line of a panic's stack, innermost first.
type StackFrame struct {
	Path  string `json:"path"`
	Line  int    `json:"line"`
	Label string `json:"label"`
}

// Error returns the type and the message.
func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// invocation is one payload on its way through the function.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	trace    string

	begun    time.Time     // when the function took it, set before answered is closed
	answered chan struct{} // closed with reply, fault and ended set
	idle     chan struct{} // closed when the function asks for the next one
	reply    []byte
	fault    *FunctionError
	ended    time.Time
}

// api is the Runtime API for one process.
type api struct {
	functionARN string
	polled      chan struct{} // closed at the first poll
	initFailed  chan struct{} // closed when the function reports a failed start
	work        chan *invocation
	done        chan struct{} // closed when the process is gone

	mu        sync.Mutex
	current   *invocation // handed out, and not followed by another poll
	firstPoll time.Time
	initFault *FunctionError
}

func newAPI(functionARN string) *api {
	return &api{
		functionARN: functionARN,
		polled:      make(chan struct{}),
		initFailed:  make(chan struct{}),
		work:        make(chan *invocation),
		done:        make(chan struct{}),
	}
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", a.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", a.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", a.failure)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", a.initError)
	return mux
}

// next hands out the next payload. A function that polls has ended the
// invocation before, answered or not.
func (a *api) next(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	a.mu.Lock()
	if a.firstPoll.IsZero() {
		a.firstPoll = now
		close(a.polled)
	}
	if c := a.current; c != nil {
		a.settle(c, nil, &FunctionError{Type: "Runtime.NoReply", Message: "the function asked for the next invocation without answering this one"}, now)
		a.current = nil
		close(c.idle)
	}
	a.mu.Unlock()

	select {
	case <-r.Context().Done():
		return
	case <-a.done:
		refuse(w, http.StatusGone, "Runtime.Stopped", "the Runtime API is closing")
		return
	case inv := <-a.work:
		a.mu.Lock()
		a.current = inv
		inv.begun = time.Now()
		a.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", a.functionARN)
		h.Set("Lambda-Runtime-Trace-Id", inv.trace)
		// A function that is gone before it has the payload is noticed by its exit.
		_, _ = w.Write(inv.payload)
	}
}

func (a *api) response(w http.ResponseWriter, r *http.Request) {
	body, err := readReply(w, r)
	now := time.Now()
	var fault *FunctionError
	switch {
	case tooLarge(err):
		fault = &FunctionError{Type: "Function.ResponseSizeTooLarge", Message: fmt.Sprintf("the reply is over Lambda's limit of %d bytes", maxReply)}
	case err != nil:
		refuse(w, http.StatusBadRequest, "Runtime.Truncated", "the reply could not be read")
		return
	default:
		// A reply that failed half-way says so after its body.
		fault = trailerFault(r.Trailer)
	}
	if !a.answer(r.PathValue("id"), body, fault, now) {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "no invocation of this id is waiting for an answer")
		return
	}
	if tooLarge(err) {
		refuse(w, http.StatusRequestEntityTooLarge, fault.Type, fault.Message)
		return
	}
	accept(w)
}

func (a *api) failure(w http.ResponseWriter, r *http.Request) {
	body, err := readReply(w, r)
	now := time.Now()
	if err != nil {
		refuse(w, http.StatusBadRequest, "Runtime.Truncated", "the error could not be read")
		return
	}
	if !a.answer(r.PathValue("id"), nil, parseFault(body), now) {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "no invocation of this id is waiting for an answer")
		return
	}
	accept(w)
}

func (a *api) initError(w http.ResponseWriter, r *http.Request) {
	body, err := readReply(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "Runtime.Truncated", "the error could not be read")
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.initFault == nil {
		a.initFault = parseFault(body)
		close(a.initFailed)
	}
	accept(w)
}

// answer settles the invocation of that id. It reports false if there is none
// or if it has been answered.
func (a *api) answer(id string, reply []byte, fault *FunctionError, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.current
	return c != nil && c.id == id && a.settle(c, reply, fault, now)
}

// settle records the first answer to c, with a.mu held.
func (a *api) settle(c *invocation, reply []byte, fault *FunctionError, now time.Time) bool {
	select {
	case <-c.answered:
		return false
	default:
	}
	c.ended, c.fault = now, fault
	if fault == nil {
		c.reply = reply
	}
	close(c.answered)
	return true
}

func (a *api) firstPollAt() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.firstPoll
}

func (a *api) initFailure() *FunctionError {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.initFault
}

func readReply(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxReply))
}

func tooLarge(err error) bool {
	_, is := errors.AsType[*http.MaxBytesError](err)
	return is
}

// parseFault reads an error report. A function in trouble may write anything,
// so what is no report becomes the message.
func parseFault(body []byte) *FunctionError {
	var f FunctionError
	if err := json.Unmarshal(body, &f); err != nil || (f.Type == "" && f.Message == "") {
		return &FunctionError{Type: "Runtime.UnknownError", Message: strings.ToValidUTF8(string(body), "\uFFFD")}
	}
	return &f
}

func trailerFault(trailer http.Header) *FunctionError {
	kind := trailer.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		return nil
	}
	f := &FunctionError{Type: kind}
	if body, err := base64.StdEncoding.DecodeString(trailer.Get("Lambda-Runtime-Function-Error-Body")); err == nil && len(body) > 0 {
		f = parseFault(body)
	}
	return f
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`+"\n")
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(FunctionError{Type: kind, Message: message})
}
