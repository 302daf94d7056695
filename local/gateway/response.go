package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// response is a function's answer, checked.
type response struct {
	status int
	header http.Header
	body   []byte
}

// remapped are the headers that the service renames when a function sets them:
// they are its own to set.
var remapped = []string{
	"Authorization", "Connection", "Content-Length", "Content-Md5", "Date", "Expect", "Host", "Keep-Alive", "Max-Forwards",
	"Proxy-Authenticate", "Server", "Te", "Trailer", "Upgrade", "User-Agent", "Www-Authenticate",
}

// response reads a Lambda proxy response. The service is strict: a member that
// it does not know, a body that is not text, or a header that is not a scalar
// make the whole answer malformed, 502.
func (g *gateway) response(r *http.Request, out []byte) (*response, *fault) {
	resp, encoded, err := decodeResponse(out)
	if err != nil {
		return nil, &fault{integrationFailure, fmt.Errorf("malformed Lambda proxy response: %w", err)}
	}
	if !encoded || !g.wantsBinary(r, resp) {
		return resp, nil
	}
	if resp.body, err = base64.StdEncoding.DecodeString(string(resp.body)); err != nil {
		return nil, &fault{configuration, fmt.Errorf("body is not base64: %w", err)}
	}
	return resp, nil
}

// wantsBinary tells whether a base64 body is decoded: the first media type that
// the client accepts decides, without one the response's own.
func (g *gateway) wantsBinary(r *http.Request, resp *response) bool {
	accept, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	if accept == "" {
		accept = resp.header.Get("Content-Type")
	}
	return g.isBinary(accept)
}

func decodeResponse(out []byte) (resp *response, encoded bool, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(out, &members); err != nil {
		return nil, false, errors.New("not a JSON object")
	}
	if members == nil {
		return nil, false, errors.New("null")
	}
	resp = &response{header: http.Header{}}
	for name := range members {
		if !slices.Contains([]string{"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}, name) {
			return nil, false, fmt.Errorf("unknown member %q", name)
		}
	}
	if resp.status, err = decodeStatus(members["statusCode"]); err != nil {
		return nil, false, err
	}
	if raw := members["body"]; raw != nil {
		var body *string
		if err := json.Unmarshal(raw, &body); err != nil {
			return nil, false, errors.New("body is not text")
		}
		if body != nil {
			resp.body = []byte(*body)
		}
	}
	if raw := members["isBase64Encoded"]; raw != nil {
		if err := json.Unmarshal(raw, &encoded); err != nil {
			return nil, false, errors.New("isBase64Encoded is not a boolean")
		}
	}
	if err := resp.decodeHeaders(members["headers"], members["multiValueHeaders"]); err != nil {
		return nil, false, err
	}
	return resp, encoded, nil
}

// decodeStatus takes a number or a number as text, as the service does.
func decodeStatus(raw json.RawMessage) (int, error) {
	status, err := strconv.Atoi(string(bytes.Trim(raw, `"`)))
	if err != nil || status < 200 || status > 599 {
		return 0, errors.New("statusCode is not a number from 200 to 599")
	}
	return status, nil
}

func (resp *response) decodeHeaders(single, multi json.RawMessage) error {
	var singles map[string]any
	if single != nil {
		if err := json.Unmarshal(single, &singles); err != nil {
			return errors.New("headers is not an object")
		}
	}
	var multis map[string][]any
	if multi != nil {
		if err := json.Unmarshal(multi, &multis); err != nil {
			return errors.New("multiValueHeaders is not an object of lists")
		}
	}
	for name, values := range multis {
		for _, v := range values {
			if err := resp.addHeader(name, v); err != nil {
				return err
			}
		}
	}
	for name, v := range singles {
		// A pair that is in both is sent once.
		if s, ok := v.(string); ok && slices.Contains(resp.header.Values(rename(name)), s) {
			continue
		}
		if err := resp.addHeader(name, v); err != nil {
			return err
		}
	}
	return nil
}

func (resp *response) addHeader(name string, v any) error {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case bool, float64:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("header %q: %w", name, err)
		}
		s = string(b)
	default:
		return fmt.Errorf("header %q is not text", name)
	}
	if !isToken(name) || strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Errorf("header %q is not one that HTTP allows", name)
	}
	if !strings.EqualFold(name, "Transfer-Encoding") { // dropped by the service
		resp.header.Add(rename(name), s)
	}
	return nil
}

func rename(name string) string {
	name = http.CanonicalHeaderKey(name)
	if slices.Contains(remapped, name) {
		return "X-Amzn-Remapped-" + name
	}
	return name
}

// isToken tells whether s is a token of RFC 9110, as a header's name must be.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// write sends the response and returns its status.
func (resp *response) write(w http.ResponseWriter) int {
	h := w.Header()
	for name, values := range resp.header {
		h[name] = values
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body) // the client is gone, and nobody else to tell
	return resp.status
}
