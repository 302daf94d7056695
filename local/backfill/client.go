package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sitoo-rule/shared/history"
)

// maxAnswer bounds what is read of an answer: a report lists failed orders one
// by one.
const maxAnswer = 16 << 20

// client speaks to the connector.
type client struct {
	url, key string // no key is sent if it is ""
	http     *http.Client
}

// refusal is an answer that is not what was asked for.
type refusal struct {
	status  int
	message string
}

// Error implements error.
func (e *refusal) Error() string {
	return fmt.Sprintf("the connector answers %d: %s", e.status, cmp.Or(e.message, http.StatusText(e.status), "no reason"))
}

// passes reports whether an error may be another one next time. The connector
// has answered before: an address that is gone is one that is being deployed.
func passes(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return !ok || r.status == http.StatusNotFound || r.status == http.StatusRequestTimeout || r.status == http.StatusTooManyRequests || r.status >= http.StatusInternalServerError
}

var (
	errNone       = errors.New("there is no such backfill")
	errUnexpected = errors.New("the answer is not the connector's: is URL its address, with /sitoo at the end?")
)

// find returns the job with an id, errNone if there is none.
func (c client) find(ctx context.Context, id string) (history.Status, error) {
	st, err := c.status(ctx, id)
	if r, ok := errors.AsType[*refusal](err); !ok || r.status != http.StatusNotFound {
		return st, err
	}
	// Something else than the connector has no such address, either.
	if _, err := c.list(ctx); err != nil {
		return history.Status{}, err
	}
	return history.Status{}, errNone
}

func (c client) status(ctx context.Context, id string) (st history.Status, err error) {
	if err := c.get(ctx, "/backfills/"+id, &st); err != nil {
		return history.Status{}, err
	}
	if st.ID != id || st.State == "" {
		return history.Status{}, errUnexpected
	}
	return st, nil
}

// list returns the jobs of the key's account, without their reports.
func (c client) list(ctx context.Context) (list []history.Status, err error) {
	if err := c.get(ctx, "/backfills", &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, errUnexpected
	}
	return list, nil
}

// shop is whose the key is, and whether its credentials for Sitoo are there.
type shop struct {
	Account string `json:"account"`
	Label   string `json:"label"`
	Entered *bool  `json:"entered"`
}

// shop asks whose the key is.
func (c client) shop(ctx context.Context) (s shop, err error) {
	err = c.get(ctx, "/credentials", &s)
	if err == nil && (s.Entered == nil || s.Account == "") {
		err = errUnexpected
	}
	return s, err
}

func (c client) get(ctx context.Context, path string, out any) error {
	raw, err := c.call(ctx, http.MethodGet, path, "")
	if err != nil {
		return err
	}
	if json.Unmarshal(raw, out) != nil {
		return errUnexpected
	}
	return nil
}

func (c client) post(ctx context.Context, path, body string) error {
	_, err := c.call(ctx, http.MethodPost, path, body)
	return err
}

func (c client) call(ctx context.Context, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("URL cannot be called")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the address
		}
		return nil, fmt.Errorf("the connector does not answer (%w)", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the connector's answer breaks off (%w)", err)
	}
	if res.StatusCode < 200 || res.StatusCode >= 300 {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(raw, &said) // none from something on the way
		return nil, &refusal{res.StatusCode, said.Message}
	}
	return raw, nil
}
