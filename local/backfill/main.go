// Command backfill posts the message that brings old orders over, as support
// does, and shows how the job comes along: `make backfill`. It posts to the
// queue of `make run`, or with AWS=1 to the one that QUEUE_URL names.
package main

import (
	"bytes"
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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/sqsqueue"
	"sitoo-rule/shared/worker"
)

const (
	defaultURL = "http://127.0.0.1:3000/sitoo"
	defaultKey = "demo-key"
	// often is how often progress is asked for.
	often = 2 * time.Second
	// appear is how long a job may take to be there after its message is posted.
	appear = time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := command{
		getenv: os.Getenv, out: os.Stdout, now: time.Now, sleep: sleep,
		http: &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		queue: func(ctx context.Context, queueURL string) (worker.Sender, error) {
			cfg, err := config.LoadDefaultConfig(ctx)
			if err != nil {
				return nil, fmt.Errorf("AWS configuration: %w", err)
			}
			return sqsqueue.New(sqs.NewFromConfig(cfg), queueURL), nil
		},
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "backfill:", err)
		os.Exit(1)
	}
}

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

type command struct {
	getenv func(string) string
	out    io.Writer
	http   *http.Client
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error
	queue  func(ctx context.Context, url string) (worker.Sender, error)
}

// message returns what support posts, and the id of the job that comes of it.
func (c *command) message(key string) (body, id string, err error) {
	m := map[string]any{"account": cmp.Or(c.getenv("ACCOUNT"), account.ID(key))}
	for name, v := range map[string]string{"from": c.getenv("FROM"), "to": c.getenv("TO"), "customers": c.getenv("CUSTOMERS")} {
		if v != "" {
			m[name] = v
		}
	}
	if v := c.getenv("DRYRUN"); v != "" {
		if m["dryrun"], err = strconv.ParseBool(v); err != nil {
			return "", "", errors.New("DRYRUN is true or false")
		}
	}
	if v := c.getenv("ORDERS"); v != "" {
		var ids []int64
		for one := range strings.SplitSeq(v, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(one), 10, 64)
			if err != nil {
				return "", "", errors.New("ORDERS is a list of order numbers, such as 210334,210335")
			}
			ids = append(ids, n)
		}
		m["orders"] = ids
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", "", err
	}
	// What the worker would put aside is said here and now.
	start, _, err := history.DecodeBackfill(string(raw))
	if err != nil {
		return "", "", err
	}
	return string(raw), history.JobID(start.Account, start.Spec), nil
}

func (c *command) run(ctx context.Context) error {
	base := strings.TrimRight(cmp.Or(c.getenv("URL"), defaultURL), "/")
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("URL is not the address of the connector, such as https://api.example.com/sitoo")
	}
	home := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1"
	if u.Scheme != "https" && (u.Scheme != "http" || !home) {
		return errors.New("URL must begin with https://, or anybody on the way could read the key")
	}
	key := c.getenv("KEY")
	if key == "" && !home {
		return errors.New("say the shop's Rule API key, which the progress is asked with: KEY=")
	}
	key = cmp.Or(key, defaultKey)
	body, id, err := c.message(key)
	if err != nil {
		return err
	}
	before, err := c.status(ctx, base, key, id)
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	if c.getenv("AWS") == "1" {
		queueURL := c.getenv("QUEUE_URL")
		if queueURL == "" {
			return errors.New("say the queue: QUEUE_URL=, the output BackfillQueueUrl of the stack")
		}
		q, err := c.queue(ctx, queueURL)
		if err != nil {
			return err
		}
		// A message posted anew within five minutes is a new one.
		err = q.Send(ctx, worker.Message{Body: body, Group: "support", Dedup: id + "-" + strconv.FormatInt(c.now().UnixNano(), 36)})
		if err != nil {
			return err
		}
	} else {
		u.Path = "/_queues/BackfillQueue"
		if _, err := c.call(ctx, http.MethodPost, u.String(), "", body); err != nil {
			return fmt.Errorf("post the message: %w", err)
		}
	}
	fmt.Fprintf(c.out, "posted %s\nbackfill %s\n", body, id)
	return c.watch(ctx, base, key, id, before)
}

// watch shows progress until the job has ended.
func (c *command) watch(ctx context.Context, base, key, id string, before history.Status) error {
	posted, last := c.now(), ""
	for {
		st, err := c.status(ctx, base, key, id)
		fresh := err == nil && (st.Run > before.Run || !before.State.Final())
		switch {
		case err != nil && !errors.Is(err, errNone):
			return err
		case !fresh && c.now().Sub(posted) > appear:
			return errors.New("no job has come of the message: look for it in BackfillDeadLetters, its attribute reason says why")
		case fresh:
			line := fmt.Sprintf("%3d %%  %s %s: %d read, %d to write, %d written, %d there already, %d skipped", st.Percent, st.State, st.Phase, st.Read, st.Matched, st.Written, st.Already, sum(st.Skipped))
			if st.Reason != "" {
				line += "; " + st.Reason
			}
			if line != last {
				fmt.Fprintln(c.out, line)
				last = line
			}
			if st.State.Final() || st.State == history.Paused {
				return c.end(st)
			}
		}
		if err := c.sleep(ctx, often); err != nil {
			return errors.New("no longer watched; the job goes on, and GET /sitoo/backfills tells how")
		}
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

func (c *command) end(st history.Status) error {
	for _, m := range st.Months {
		fmt.Fprintf(c.out, "  %s  %d in Sitoo, %d in Rule, %d skipped, %d failed\n", m.Name, m.Sitoo, m.Written, m.Skipped, m.Failed)
	}
	for _, f := range st.Failed {
		fmt.Fprintf(c.out, "  failed, %s: %v\n", f.Reason, f.Orders)
	}
	if st.State != history.Done || len(st.Failed) > 0 {
		return fmt.Errorf("the backfill is %s", st.State)
	}
	return nil
}

var errNone = errors.New("there is no such backfill")

func (c *command) status(ctx context.Context, base, key, id string) (st history.Status, err error) {
	raw, err := c.call(ctx, http.MethodGet, base+"/backfills/"+id, key, "")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return st, fmt.Errorf("the connector's answer: %w", err)
	}
	return st, nil
}

func (c *command) call(ctx context.Context, method, address, key, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be called")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the address
		}
		return nil, fmt.Errorf("the connector does not answer (is `make run` running?): %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("the connector's answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusNotFound && method == http.MethodGet:
		return nil, errNone
	case res.StatusCode >= 300:
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(bytes.TrimSpace(raw), &said)
		return nil, fmt.Errorf("the connector answers %d: %s", res.StatusCode, said.Message)
	}
	return raw, nil
}
