package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sitoo-rule/shared/setup"
)

const testKey = "hemlig-nyckel"

// check runs the command against h and returns what it prints.
func check(t *testing.T, h http.HandlerFunc) (string, error) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	env := map[string]string{"URL": server.URL + "/sitoo/", "KEY": testKey}
	var out bytes.Buffer
	c := command{getenv: func(name string) string { return env[name] }, out: &out, http: server.Client()}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	err := c.run(t.Context())
	if strings.Contains(out.String()+fmt.Sprint(err), testKey) {
		t.Errorf("the key is shown: %s%v", out.String(), err)
	}
	return out.String(), err
}

func TestShown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lines []setup.Line
		want  string
		err   error
	}{
		"all works": {[]setup.Line{
			{Name: "API key", Status: "ok", Detail: "Rule accepts the API key."},
			{Name: "Sitoo site", Status: "skipped", Detail: "There are no credentials for Sitoo."},
		}, `ok       API key     Rule accepts the API key.
skipped  Sitoo site  There are no credentials for Sitoo.
`, nil},
		"something does not": {[]setup.Line{
			{Name: "API key", Status: "ok"},
			{Name: "Order history", Status: "failed", Detail: "The group is not historical.", Advice: "Switch it to historical."},
			{Name: "x", Status: "failed", Advice: "Do \x1b[2Jthis.\n" + testKey},
		}, `ok       API key
failed   Order history  The group is not historical. What to do: Switch it to historical.
failed   x              What to do: Do  [2Jthis. [key]
`, errFailed},
	} {
		got, err := check(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.URL.Path != "/sitoo/setup" || r.Header.Get("Authorization") != "Bearer "+testKey || r.URL.RawQuery != "" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			_ = json.NewEncoder(w).Encode(setup.NewReport(tt.lines))
		})
		if got != tt.want || err != tt.err {
			t.Errorf("%s: %v,\n%s, want\n%s", name, err, got, tt.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"refused key":       {401, `{"error":"unauthorized","message":"Rule does not accept the shop's API key."}`, "answers 401: Rule does not accept the shop's API key."},
		"pause":             {503, `{"error":"busy","message":"The customer register is taking a pause."}`, "answers 503: The customer register is taking a pause."},
		"a gateway's":       {502, `<html>` + testKey, "answers 502: Bad Gateway"},
		"the key sent back": {403, `{"message":"` + testKey + ` is forbidden"}`, "answers 403: [key] is forbidden"},
		"elsewhere":         {302, ``, "answers 302: Found"},
		"a page":            {200, `<html>`, "is URL the connector's address"},
		"another answer":    {200, `{"status":"ok"}`, "is URL the connector's address"},
		"nothing":           {200, ``, "is URL the connector's address"},
	} {
		out, err := check(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example.com/")
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		})
		if out != "" || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v; want %q", name, out, err, tt.want)
		}
	}
	if _, err := check(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }); err == nil || strings.Contains(err.Error(), "http://") {
		t.Errorf("no answer: %v", err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url, key string
		want     string // of the error, "" for none
		address  string
	}{
		"nothing said":        {"", "", "", defaultURL},
		"on this machine":     {"http://localhost:3000/sitoo/", "", "", "http://localhost:3000/sitoo"},
		"by https":            {"https://api.example.com/sitoo", testKey, "", "https://api.example.com/sitoo"},
		"by http":             {"http://api.example.com/sitoo", testKey, "https://", ""},
		"a name that looks":   {"http://localhost.example.com/sitoo", testKey, "https://", ""},
		"no key":              {"https://api.example.com/sitoo", "", "KEY=", ""},
		"a key with a break":  {"", "a\nb", "characters", ""},
		"a user in it":        {"https://x:" + testKey + "@api.example.com", testKey, "not the address", ""},
		"a query":             {"https://api.example.com/?apikey=" + testKey, testKey, "not the address", ""},
		"no address":          {"api.example.com", testKey, "not the address", ""},
		"another way than it": {"ftp://api.example.com", testKey, "https://", ""},
	} {
		env := map[string]string{"URL": tt.url, "KEY": tt.key}
		c := command{getenv: func(name string) string { return env[name] }}
		address, key, err := c.settings()
		if tt.want == "" && (err != nil || address != tt.address || key == "") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), testKey)) {
			t.Errorf("%s: %q, %v; want %q, %q", name, address, err, tt.address, tt.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := command{getenv: func(string) string { return "" }, out: &bytes.Buffer{}, http: http.DefaultClient}
	if err := c.run(ctx); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v, want that it was interrupted", err)
	}
}
