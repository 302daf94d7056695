// Command setupcheck asks the connector to try a shop's set-up and shows what
// works and what to do about the rest: `make check-setup`.
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
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"sitoo-rule/shared/setup"
)

// The connector of `make run`, and the key that it takes.
const (
	defaultURL = "http://127.0.0.1:3000/sitoo"
	defaultKey = "demo-key"
)

const (
	// patience is more than the connector's answer may take.
	patience = 40 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := command{getenv: os.Getenv, out: os.Stdout, http: &http.Client{
		Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "check-setup:", err)
		os.Exit(1)
	}
}

// command is what a run is made of.
type command struct {
	getenv func(name string) string
	out    io.Writer
	http   *http.Client
}

// settings are what the environment says, which make fills from its arguments.
func (c *command) settings() (address, key string, err error) {
	address = strings.TrimRight(cmp.Or(c.getenv("URL"), defaultURL), "/")
	key = c.getenv("KEY")
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", errors.New("URL is not the address of the connector, such as https://api.example.com/sitoo") // not quoted: it may hold a key
	}
	home := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !home) {
		return "", "", errors.New("URL must begin with https://, or anybody on the way could read the key")
	}
	if key == "" && !home {
		return "", "", errors.New("say the shop's Rule API key: KEY=")
	}
	key = cmp.Or(key, defaultKey)
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", "", errors.New("KEY holds characters that no API key has")
	}
	return address, key, nil
}

var errFailed = errors.New("not everything works: see the lines that say failed")

// run asks for a check and shows it. Its error says in a sentence why not
// everything is known to work.
func (c *command) run(ctx context.Context) error {
	address, key, err := c.settings()
	if err != nil {
		return err
	}
	report, err := c.ask(ctx, address, key)
	if err != nil {
		return err
	}
	width := 0
	for _, l := range report.Lines {
		width = max(width, len(l.Name))
	}
	for _, l := range report.Lines {
		text := l.Detail
		if l.Advice != "" {
			text = strings.TrimSpace(text + " What to do: " + l.Advice)
		}
		line := fmt.Sprintf("%-*s  %-*s  %s", len(setup.Skipped), l.Status, width, l.Name, text)
		// A proxy or the like may repeat what it was sent.
		line = strings.ReplaceAll(line, key, "[key]")
		fmt.Fprintln(c.out, strings.TrimRight(printable(line), " "))
	}
	if report.Status != setup.OK {
		return errFailed
	}
	return nil
}

// ask sends the request.
func (c *command) ask(ctx context.Context, address, key string) (report setup.Report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/setup", nil)
	if err != nil {
		return report, errors.New("make the request: URL is not an address")
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return report, errors.New("interrupted; the connector ends the check by itself")
		}
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return report, fmt.Errorf("the connector does not answer (%w)", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return report, fmt.Errorf("the connector's answer breaks off (%w)", err)
	}
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(raw, &refusal) // none from something on the way
		said := cmp.Or(refusal.Message, http.StatusText(res.StatusCode))
		return report, fmt.Errorf("the connector answers %d: %s", res.StatusCode, strings.ReplaceAll(printable(said), key, "[key]"))
	}
	if json.Unmarshal(raw, &report) != nil || len(report.Lines) == 0 || report.Status == "" {
		return setup.Report{}, errors.New("the answer is not that of a set-up check: is URL the connector's address, with /sitoo at the end?")
	}
	return report, nil
}

// printable keeps what an answer holds from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return ' '
		}
		return r
	}, s)
}
