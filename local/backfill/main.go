// Command backfill posts the message that brings old orders over, as support
// does, and shows how the job comes along: `make backfill`. It posts to the
// queue of `make run`, or with AWS=1 to the one that QUEUE_URL names.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
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

// command is what a run is made of.
type command struct {
	getenv func(name string) string
	out    io.Writer
	http   *http.Client
	now    func() time.Time
	sleep  func(ctx context.Context, d time.Duration) error
	queue  func(ctx context.Context, url string) (worker.Sender, error)
}

// run posts the message and follows the job to its end. Its error says in a
// sentence why not every order that was asked for is in Rule, as far as is known.
func (c *command) run(ctx context.Context) error {
	s, err := c.settings()
	if err == nil {
		err = c.bring(ctx, s)
	}
	if err != nil {
		return errors.New(c.clean(err.Error()))
	}
	return nil
}

// bring does what the settings ask for.
func (c *command) bring(ctx context.Context, s settings) error {
	w := &watch{command: c, settings: s, client: client{url: s.url, key: s.key, http: c.http}}
	known, err := "", w.whose(ctx)
	if err == nil {
		known, err = w.prepare(ctx)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing was posted")
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was posted", err)
	}
	if err := c.post(ctx, w.settings, w.id); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fmt.Errorf("post the message: %w; if it is on the queue nevertheless, the same command joins its job", err)
	}
	c.say("posted %s", w.body)
	c.say("backfill %s%s", w.id, known)
	return w.follow(ctx)
}

// whose asks whose the key is: the backfill is that account's, unless the settings
// say an account, which must be the same.
func (w *watch) whose(ctx context.Context) error {
	of, err := w.client.shop(ctx)
	if err != nil {
		return err
	}
	if w.account == "" {
		if w.body, err = w.message(of.Account, of.Label); err != nil {
			return err
		}
		start, _, err := history.DecodeBackfill(w.body)
		if err != nil {
			return errUnexpected // the account is no account's id
		}
		w.start = *start
	}
	switch {
	case w.start.Account != of.Account || w.start.Label != of.Label:
		return errors.New("KEY belongs to another account than ACCOUNT: it could not show the progress")
	case !*of.Entered:
		return errors.New("the shop of KEY has entered no credentials for Sitoo; it does that once, with PUT /sitoo/credentials")
	}
	w.id = history.JobID(account.Scope(w.start.Account, w.start.Label), w.start.Spec)
	return nil
}

// post puts the message on the queue.
func (c *command) post(ctx context.Context, s settings, id string) error {
	if s.queue == "" {
		return client{url: s.home, http: c.http}.post(ctx, "/_queues/BackfillQueue", s.body)
	}
	q, err := c.queue(ctx, s.queue)
	if err != nil {
		return err
	}
	// Posted again within five minutes it is a message of its own: the job may
	// have ended meanwhile.
	return q.Send(ctx, worker.Message{Body: s.body, Group: "support", Dedup: id + "-" + rand.Text()})
}

// say shows a line.
func (c *command) say(format string, args ...any) {
	fmt.Fprintln(c.out, c.clean(fmt.Sprintf(format, args...)))
}

// clean makes a text fit to be shown: whatever answers may repeat the key that
// it was sent, and characters that move the cursor.
func (c *command) clean(s string) string {
	if key := c.getenv("KEY"); key != "" {
		s = strings.ReplaceAll(s, key, "[key]")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
			return ' '
		}
		return r
	}, s)
}
