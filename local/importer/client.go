package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sitoo-rule/shared/bonus"
)

const (
	// firstPause and lastPause bound the wait before a call is made again; it
	// doubles with each try.
	firstPause = time.Second
	lastPause  = time.Minute
	// longest is how long a Retry-After may be that is kept to. Rule's blocks
	// last 10 minutes.
	longest = 15 * time.Minute
	// patience is how long a call is tried again.
	patience = 45 * time.Minute
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 4 << 20
)

// client speaks to the connector.
type client struct {
	url, key string
	http     *http.Client
	now      func() time.Time
	sleep    func(ctx context.Context, d time.Duration) error
	say      func(format string, args ...any)
}

// status is how far an import is.
type status = bonus.Status

// refusal is an answer that is the same however often it is asked for.
type refusal struct {
	Status  int             `json:"-"`
	Message string          `json:"message"`
	Detail  []bonus.Failure `json:"detail"`
}

// Error implements error.
func (e *refusal) Error() string {
	return fmt.Sprintf("the connector answers %d: %s", e.Status, cmp.Or(e.Message, http.StatusText(e.Status)))
}

// post sends a file and returns the import's id.
func (c *client) post(ctx context.Context, name string, file []byte) (id string, err error) {
	var out struct {
		ID string `json:"importid"`
	}
	header := http.Header{
		"Content-Type":        {"text/csv; charset=utf-8"},
		"Content-Disposition": {mime.FormatMediaType("attachment", map[string]string{"filename": name})},
	}
	err = c.call(ctx, http.MethodPost, "/bonuschecks", header, file, &out)
	if err == nil && out.ID == "" {
		err = errors.New("the connector's answer names no import: is URL its address, with /sitoo at the end?")
	}
	return out.ID, err
}

// status asks how far an import is.
func (c *client) status(ctx context.Context, id string) (st status, err error) {
	err = c.call(ctx, http.MethodGet, "/bonuschecks/imports/"+url.PathEscape(id), nil, nil, &st)
	if err == nil && st.State == "" {
		err = errors.New("the connector's answer does not say how far the import is")
	}
	return st, err
}

// call sends a request until it is answered for good, or for as long as it is
// patient. Sending a file twice does no harm, so what got lost is sent again.
func (c *client) call(ctx context.Context, method, path string, header http.Header, body []byte, out any) error {
	begun := c.now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		after, err := c.once(ctx, method, path, header, body, out)
		if err == nil || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if _, final := errors.AsType[*refusal](err); final {
			return err
		}
		wait := max(pause, after)
		if c.now().Add(wait).Sub(begun) > patience {
			return fmt.Errorf("given up after %s: %w", c.now().Sub(begun).Round(time.Second), err)
		}
		c.say("%v; again in %s", err, wait.Round(time.Second))
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// once sends a request once. after is how long the answer asks to be left alone,
// if it is not too long.
func (c *client) once(ctx context.Context, method, path string, header http.Header, body []byte, out any) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address was shown already
		}
		return 0, fmt.Errorf("the connector does not answer (%w)", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("the connector's answer breaks off (%w)", err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusAccepted {
		if err := json.Unmarshal(raw, out); err != nil {
			return 0, &refusal{Status: res.StatusCode, Message: "not with what was expected: is URL its address, with /sitoo at the end?"}
		}
		return 0, nil
	}
	e := &refusal{Status: res.StatusCode}
	if json.Unmarshal(raw, e) != nil { // from something on the way
		*e = refusal{Status: res.StatusCode}
	}
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode < http.StatusInternalServerError {
		return 0, e
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		after = min(time.Duration(seconds), longest/time.Second) * time.Second
	}
	return after, errors.New(e.Error()) // no refusal: it can be another one next time
}
