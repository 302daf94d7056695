// Command importer sends a file of bonus checks of any size to the connector:
// `make import`. The whole file is checked here first, by the rules that the
// connector goes by, so that nothing of it is imported if a row is bad. Then it
// is sent in parts that the connector takes, each after the one before is done.
//
// A workbook is held in memory and bounded by package sheet. Text is streamed:
// what is held of it is what the check makes of its rows.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
)

// The connector of `make run`, and the key that it takes.
const (
	defaultURL = "http://127.0.0.1:3000/sitoo"
	defaultKey = "demo-key"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	info, err := os.Stdout.Stat()
	c := command{
		getenv: os.Getenv, out: os.Stdout, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
		http: &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		now:  time.Now, sleep: sleep, limits: limits{maxRows, maxBytes},
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "import:", err)
		os.Exit(1)
	}
}

// sleep waits until d has passed or ctx ends, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// command is what a run is made of.
type command struct {
	getenv   func(name string) string
	out      io.Writer
	terminal bool // out shows one line of progress that is written over
	http     *http.Client
	now      func() time.Time
	sleep    func(ctx context.Context, d time.Duration) error
	limits   limits
}

// settings are what the environment says, which make fills from its arguments.
type settings struct {
	file, url, key, country string
	part                    int // the first one to send
}

var country = regexp.MustCompile(`^[A-Z]{2}$`)

func (c *command) settings() (s settings, err error) {
	s = settings{
		file: c.getenv("FILE"), url: strings.TrimRight(cmp.Or(c.getenv("URL"), defaultURL), "/"),
		key: c.getenv("KEY"), country: cmp.Or(c.getenv("COUNTRY"), "SE"), part: 1,
	}
	if s.file == "" {
		return s, errors.New("say which file: make import FILE=bonuschecks.csv")
	}
	u, err := url.Parse(s.url)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return s, errors.New("URL is not the address of the connector, such as https://api.example.com/sitoo") // not quoted: it may hold a key
	}
	home := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !home) {
		return s, errors.New("URL must begin with https://, or anybody on the way could read the key")
	}
	if s.key == "" && !home {
		return s, errors.New("say the shop's Rule API key: KEY=")
	}
	s.key = cmp.Or(s.key, defaultKey)
	if strings.ContainsFunc(s.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s, errors.New("KEY holds characters that no API key has")
	}
	if !country.MatchString(s.country) {
		return s, errors.New("COUNTRY is two capital letters, as the connector's parameter Country")
	}
	if text := c.getenv("PART"); text != "" {
		if s.part, err = strconv.Atoi(text); err != nil || s.part < 1 {
			return s, errors.New("PART is the number of the part to go on with, from 1")
		}
	}
	return s, nil
}

// Reasons why a run ends without everything being imported.
var (
	errBad         = errors.New("the file has bad rows, and nothing of it was sent")
	errFailed      = errors.New("some rows have failed")
	errInterrupted = errors.New("interrupted")
)

// run imports a file. Its error says in a sentence why not all of it is.
func (c *command) run(ctx context.Context) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	d := &display{out: c.out, terminal: c.terminal}
	d.line("reading %s", s.file)
	t, err := open(s.file)
	if err != nil {
		return err
	}
	defer t.close()
	plan, err := c.plan(ctx, d, t, s.country)
	if err != nil {
		return err
	}
	parts := split(t, plan.Customers, c.limits)
	if s.part > len(parts) {
		return fmt.Errorf("PART is %d, but the file makes %s", s.part, count(len(parts), "part"))
	}
	d.line("%s of %s, in %s, to %s", count(plan.Rows, "row"), count(len(plan.Customers), "customer"), count(len(parts), "part"), s.url)
	r := &sending{
		client: &client{url: s.url, key: s.key, http: c.http, now: c.now, sleep: c.sleep, say: d.line},
		d:      d, t: t, settings: s, total: plan.Rows, parts: parts,
	}
	return r.run(ctx)
}

// plan checks the whole file.
func (c *command) plan(ctx context.Context, d *display, t *table, country string) (bonus.Plan, error) {
	var broken error
	rows := func(yield func(int, []string) bool) {
		broken = t.scan(func(n int, cells []string) bool { return ctx.Err() == nil && yield(n, cells) })
	}
	plan, bad, n, err := bonus.NewPlan(t.header, rows, customer.Phones(phone.Parser(country)))
	if ctx.Err() != nil {
		return plan, errInterrupted
	}
	if t.note != "" {
		d.line("%s", t.note)
	}
	if err = cmp.Or(broken, err); err != nil {
		return plan, sentence(err)
	}
	if len(plan.Ignored) > 0 {
		d.line("columns that mean nothing here: %s", strings.Join(plan.Ignored, ", "))
	}
	if m := plan.Message(); m != "" {
		d.line("%s", m)
	}
	if n > 0 {
		d.failures(bad)
		// A row can be bad in several ways.
		d.line("%s cannot be read; at most %d reasons are listed. Correct the file and run the same command again.", count(n, "row"), bonus.MaxFailures)
		return plan, errBad
	}
	return plan, nil
}

// sending is a file on its way.
type sending struct {
	client   *client
	d        *display
	t        *table
	settings settings
	parts    [][]int
	total    int // rows

	before                     int // rows of the parts before the one at hand
	written, unchanged, failed int // of the parts that are done
}

// run sends the parts one after the other.
func (r *sending) run(ctx context.Context) error {
	for n, p := range r.parts {
		if n+1 >= r.settings.part {
			if err := r.part(ctx, n, p); err != nil {
				return err
			}
		}
		r.before += len(p)
	}
	r.d.line("%s done: %d written, %d unchanged, %d failed", count(r.written+r.unchanged+r.failed, "row"), r.written, r.unchanged, r.failed)
	if r.failed > 0 {
		r.d.line("Correct the rows that failed, or what their reasons name, and run the same command again. %s", safe)
		return errFailed
	}
	return nil
}

const safe = "That is safe: what is imported already stays as it is."

// resends bounds how often a part is sent whose import the connector gave up.
const resends = 3

// part sends one part and waits until it is done.
func (r *sending) part(ctx context.Context, n int, rows []int) error {
	body, err := render(r.t, rows)
	if err != nil {
		return r.stopped(ctx, n, nil, err)
	}
	name := filepath.Base(r.settings.file)
	if len(r.parts) > 1 {
		name = fmt.Sprintf("%s (part %d of %d)", name, n+1, len(r.parts))
	}
	for try := 1; ; try++ {
		r.progress(n, status{}, "being sent")
		id, err := r.client.post(ctx, name, body)
		if err != nil {
			return r.stopped(ctx, n, rows, err)
		}
		st, err := r.wait(ctx, n, id)
		if err != nil {
			r.d.line("Part %d of %d is queued and goes on by itself: %s/bonuschecks/imports/%s says how far it is.", n+1, len(r.parts), r.settings.url, id)
			return r.stopped(ctx, n+1, nil, err)
		}
		if st.State == bonus.Interrupted && try < resends {
			r.d.line("the connector could not queue the part; it is sent again")
			continue
		}
		if st.State == bonus.Interrupted {
			return r.stopped(ctx, n, rows, errors.New("the connector cannot queue the part"))
		}
		r.written += st.Written
		r.unchanged += st.Unchanged
		r.failed += st.Failed
		r.d.failures(r.original(rows, st.Failures))
		if more := st.Failed - len(st.Failures); more > 0 {
			r.d.line("  and %s of this part, whose reasons are not kept", count(more, "more failed row"))
		}
		return nil
	}
}

// wait follows an import until it is done, or interrupted.
func (r *sending) wait(ctx context.Context, n int, id string) (st status, err error) {
	const first, last = 500 * time.Millisecond, 10 * time.Second
	pause, why := first, ""
	for {
		if err := r.client.sleep(ctx, pause); err != nil {
			return st, err
		}
		done := st.Done
		if st, err = r.client.status(ctx, id); err != nil {
			return st, err
		}
		doing := string(st.State)
		if st.State == bonus.Waiting {
			if !st.Until.IsZero() {
				doing += " until " + st.Until.Local().Format("15:04")
			}
			if st.Reason != why { // it may wait for the same thing often
				why = st.Reason
				r.d.line("%s: %s", doing, why)
			}
		}
		r.progress(n, st, doing)
		if st.State == bonus.Done || st.State == bonus.Interrupted {
			return st, nil
		}
		if pause = min(2*pause, last); st.Done > done {
			pause = first
		}
	}
}

// progress shows how far the whole file is.
func (r *sending) progress(n int, st status, doing string) {
	done := r.before + st.Done
	percent := done * 100 / r.total
	if done < r.total {
		percent = min(percent, 99)
	}
	r.d.progress(fmt.Sprint(n, percent/10), fmt.Sprintf("%3d %%  %d of %d rows, %d failed; part %d of %d is %s", percent, done, r.total, r.failed+st.Failed, n+1, len(r.parts), doing))
}

// stopped says how to go on, and returns why there is something to go on with.
// Part n, from 0, is the first that is not certainly queued; rows are its rows
// if it was sent.
func (r *sending) stopped(ctx context.Context, n int, rows []int, err error) error {
	r.d.end()
	if ctx.Err() != nil {
		err = errInterrupted
	}
	refused, final := errors.AsType[*refusal](err)
	switch {
	case final && rows != nil:
		r.d.failures(r.original(rows, refused.Detail))
		r.d.line("Nothing of part %d of %d was imported, nor of those after it. Once that is mended, run the same command again. %s", n+1, len(r.parts), safe)
	case n == 0:
		r.d.line("Run the same command again. %s", safe)
	case n < len(r.parts):
		r.d.line("To go on, with the file as it is: the same command and PART=%d. Without PART it begins anew. %s", n+1, safe)
	}
	return err
}

// rowNumber is how reasons name another row of the same file.
var rowNumber = regexp.MustCompile(`\b([Rr]ow) (\d+)\b`)

// original translates what the connector says of a part's rows to the file's.
func (r *sending) original(rows []int, list []bonus.Failure) []bonus.Failure {
	number := func(n int) (int, bool) {
		if n < 2 || n-2 >= len(rows) {
			return n, false
		}
		return r.t.rows[rows[n-2]].number, true
	}
	out := make([]bonus.Failure, len(list))
	for i, f := range list {
		f.Row, _ = number(f.Row)
		f.Reason = rowNumber.ReplaceAllStringFunc(f.Reason, func(s string) string {
			word, digits, _ := strings.Cut(s, " ")
			if n, err := strconv.Atoi(digits); err == nil {
				if n, ok := number(n); ok {
					return fmt.Sprintf("%s %d", word, n)
				}
			}
			return s
		})
		out[i] = f
	}
	return out
}
