package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

// The connector of `make run`, and the key that it takes.
const (
	defaultURL = "http://127.0.0.1:3000/sitoo"
	defaultKey = "demo-key"
)

// settings are what the environment says, which make fills from its arguments.
type settings struct {
	url   string // of the connector, without a slash at its end
	home  string // what is beside it on this machine: the root of `make run`
	key   string
	queue string // the URL of the queue in AWS, "" for that of `make run`
	// account is the account that was asked for, "" for the key's.
	account string
	body    string // the message that support posts
	start   history.Start
}

// settings reads them. Its error is a sentence, and holds none of the values:
// any of them may be the key, in the wrong place.
func (c *command) settings() (s settings, err error) {
	s.url = strings.TrimRight(cmp.Or(c.getenv("URL"), defaultURL), "/")
	u, err := url.Parse(s.url)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return s, errors.New("URL is not the address of the connector, such as https://api.example.com/sitoo")
	}
	home := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !home) {
		return s, errors.New("URL must begin with https://, or anybody on the way could read the key")
	}
	s.home = u.Scheme + "://" + u.Host
	s.key = c.getenv("KEY")
	if s.key == "" && !home {
		return s, errors.New("say the shop's Rule API key, which the progress is asked with: KEY=")
	}
	s.key = cmp.Or(s.key, defaultKey)
	if strings.ContainsFunc(s.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s, errors.New("KEY holds characters that no API key has")
	}
	if s.queue, err = c.queueURL(home); err != nil {
		return s, err
	}
	s.account = strings.TrimSpace(c.getenv("ACCOUNT"))
	if s.account == s.key { // which may look like one, and would be posted
		return s, errors.New("ACCOUNT is the key; the account's number in Rule, as the log lines show it, is expected, or nothing")
	}
	// Without an account it is the key's, which the connector is asked for.
	if s.body, err = c.message(cmp.Or(s.account, "1"), strings.TrimSpace(c.getenv("LABEL"))); err != nil {
		return s, err
	}
	// What the worker would put aside is said here and now.
	start, _, err := history.DecodeBackfill(s.body)
	if err != nil {
		return s, sentence(err)
	}
	s.start = *start
	return s, nil
}

// queueURL returns the queue in AWS, "" if the message is for `make run`.
func (c *command) queueURL(home bool) (string, error) {
	queue := strings.TrimSpace(c.getenv("QUEUE_URL"))
	switch aws := c.getenv("AWS"); {
	case aws != "" && aws != "1":
		return "", errors.New("AWS is 1, or is left out")
	case aws == "" && queue != "":
		return "", errors.New("QUEUE_URL is of no use without AWS=1")
	case aws == "" && !home:
		return "", errors.New("say AWS=1 and QUEUE_URL=: only `make run` takes the message at its own address")
	case aws == "":
		return "", nil
	case queue == "":
		return "", errors.New("say the queue: QUEUE_URL=, the output BackfillQueueUrl of the stack")
	}
	u, err := url.Parse(queue)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || !strings.HasSuffix(u.Path, ".fifo") {
		return "", errors.New("QUEUE_URL is not the address of a FIFO queue, such as https://sqs.eu-north-1.amazonaws.com/123456789012/BackfillQueue.fifo: the output BackfillQueueUrl of the stack")
	}
	return queue, nil
}

// message returns what support posts.
func (c *command) message(id, label string) (string, error) {
	m := map[string]any{"account": id}
	if label != "" {
		m["label"] = label
	}
	for name, v := range map[string]string{"from": c.getenv("FROM"), "to": c.getenv("TO"), "customers": c.getenv("CUSTOMERS")} {
		if v = strings.TrimSpace(v); v != "" {
			m[name] = v
		}
	}
	if v := c.getenv("DRYRUN"); v != "" {
		dry, err := strconv.ParseBool(v)
		if err != nil {
			return "", errors.New("DRYRUN is true or false")
		}
		m["dryrun"] = dry
	}
	if v := c.getenv("ORDERS"); v != "" {
		ids := []int64{} // not null: that would be a message without orders
		for _, one := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ';' || r <= ' ' }) {
			n, err := strconv.ParseInt(one, 10, 64)
			if err != nil {
				return "", errors.New("ORDERS is a list of order numbers, such as 210334,210335")
			}
			ids = append(ids, n)
		}
		m["orders"] = ids
	}
	raw, err := json.Marshal(m)
	return string(raw), err
}

// sentence is what is wrong with a message, said of what it was made from.
func sentence(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || f.Message == "" {
		return err
	}
	return errors.New(strings.TrimSpace(strings.ToUpper(f.Member) + " " + f.Message))
}
