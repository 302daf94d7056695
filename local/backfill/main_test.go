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
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

const testKey = "hemlig-nyckel"

// clock is one that only sleeping moves.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
	// until is called before each sleep ends; its error is the sleep's.
	until func(n int) error
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.slept, c.now = append(c.slept, d), c.now.Add(d)
	n, until := len(c.slept), c.until
	c.mu.Unlock()
	if until != nil {
		if err := until(n); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// at is a time of the test's day, as the command shows it.
func at(hour, minute, second int) (time.Time, string) {
	t := time.Date(2026, 3, 2, hour, minute, second, 0, time.UTC)
	return t, t.Local().Format(time.TimeOnly)
}

// step is what the connector answers when it is asked about the job.
type step struct {
	history.Status
	code int    // 200 if 0
	body string // in place of the status
	lost bool   // the connection ends without an answer
	cut  bool   // the connection ends within the answer
}

// script is a connector that answers as it is told.
type script struct {
	mu     sync.Mutex
	before step   // before the message is posted; no job if its state is ""
	steps  []step // afterwards, the last one for good
	list   string // of the jobs, none if ""
	later  string // of the jobs once the message is posted, the same if ""
	own    string // the only job that it knows, any if ""
	none   string // what is answered about credentials, if not that they are entered
	refuse int    // what posting is answered, if not 0

	posts  []string
	asked  []string // paths of jobs
	routes []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes = append(s.routes, r.Method+" "+r.URL.Path)
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/_queues/BackfillQueue" || r.Header.Get("Authorization") != "" {
			http.Error(w, `{"message":"There is no such queue."}`, http.StatusBadRequest)
			return
		}
		if s.refuse != 0 {
			w.WriteHeader(s.refuse)
			return
		}
		s.posts = append(s.posts, string(body))
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		http.Error(w, `{"error":"unauthorized","message":"Rule does not accept the shop's API key."}`, http.StatusUnauthorized)
		return
	}
	switch id, one := strings.CutPrefix(r.URL.Path, "/sitoo/backfills/"); {
	case one:
		s.asked = append(s.asked, id)
		s.answer(w, id)
	case r.URL.Path == "/sitoo/backfills":
		if s.later != "" && len(s.posts) > 0 {
			s.list = s.later
		}
		_, _ = io.WriteString(w, cmp.Or(s.list, "[]"))
	case r.URL.Path == "/sitoo/credentials":
		_, _ = io.WriteString(w, cmp.Or(s.none, `{"account":"42","entered":true}`))
	default:
		http.Error(w, `{"error":"not_found","message":"This connector has no such URL."}`, http.StatusNotFound)
	}
}

func (s *script) answer(w http.ResponseWriter, id string) {
	if s.own != "" && s.own != id {
		http.Error(w, `{"error":"not_found","message":"There is no backfill with that id."}`, http.StatusNotFound)
		return
	}
	now := s.before
	if len(s.posts) > 0 && len(s.steps) > 0 {
		if now = s.steps[0]; len(s.steps) > 1 {
			s.steps = s.steps[1:]
		}
	}
	switch {
	case now.lost:
		panic(http.ErrAbortHandler)
	case now.cut:
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"state":"done"`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case now.code != 0 || now.body != "":
		if now.code != 0 {
			w.WriteHeader(now.code)
		}
		_, _ = io.WriteString(w, now.body)
	case now.State == "":
		http.Error(w, `{"error":"not_found","message":"There is no backfill with that id."}`, http.StatusNotFound)
	default:
		if now.ID == "" {
			now.ID = id
		}
		if now.Run == 0 {
			now.Run = 1
		}
		_ = json.NewEncoder(w).Encode(now.Status)
	}
}

// running runs the command against a connector.
type running struct {
	clock *clock
	env   map[string]string
	queue func(ctx context.Context, url string) (worker.Sender, error)
	out   bytes.Buffer
}

func (i *running) run(t *testing.T, ctx context.Context, h http.Handler) error {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	if i.clock == nil {
		i.clock = newClock()
	}
	env := map[string]string{"URL": server.URL + "/sitoo", "KEY": testKey}
	if i.env["ORDERS"] == "" {
		env["FROM"], env["TO"] = "2024-01-01", "2024-12-31"
	}
	for name, v := range i.env {
		env[name] = v
	}
	key := env["KEY"]
	web := server.Client()
	web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := command{getenv: func(name string) string { return env[name] }, out: &i.out, http: web, now: i.clock.Now, sleep: i.clock.Sleep, queue: i.queue}
	err := c.run(ctx)
	if text := i.out.String() + fmt.Sprint(err); key != "" && strings.Contains(text, key) || strings.ContainsAny(text, "\x1b\r\t") {
		t.Errorf("the key is shown, or the cursor moved: %q", text)
	}
	// Only the address changes from one run to the next.
	shown := strings.ReplaceAll(i.out.String(), server.URL, "http://connector")
	i.out.Reset()
	i.out.WriteString(shown)
	return err
}

func (i *running) says(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(i.out.String(), w) {
			t.Errorf("it does not say %q but\n%s", w, i.out.String())
		}
	}
}

func (i *running) never(t *testing.T, unwanted ...string) {
	t.Helper()
	for _, w := range unwanted {
		if strings.Contains(i.out.String(), w) {
			t.Errorf("it says %q:\n%s", w, i.out.String())
		}
	}
}

// fails fails unless err is said in these words.
func fails(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, rule.Stockholm) }

// done is a job that is done, with nothing read.
var done = step{Status: history.Status{State: history.Done, Percent: 100}}

// What the environment says is posted word for word, and the job that comes of
// it is the one that is watched.
func TestPosted(t *testing.T) {
	t.Parallel()
	const id = "42"
	year := history.Spec{From: day(2024, 1, 1), To: day(2025, 1, 1)}
	for name, tt := range map[string]struct {
		env     map[string]string
		want    string
		account string
		spec    history.Spec
	}{
		"days":          {nil, `{"account":"` + id + `","from":"2024-01-01","to":"2024-12-31"}`, id, year},
		"one day":       {map[string]string{"FROM": " 2024-03-31 ", "TO": "2024-03-31"}, `{"account":"` + id + `","from":"2024-03-31","to":"2024-03-31"}`, id, history.Spec{From: day(2024, 3, 31), To: day(2024, 4, 1)}},
		"an account":    {map[string]string{"ACCOUNT": id}, `{"account":"` + id + `","from":"2024-01-01","to":"2024-12-31"}`, id, year},
		"a dry run":     {map[string]string{"DRYRUN": "true"}, `{"account":"` + id + `","dryrun":true,"from":"2024-01-01","to":"2024-12-31"}`, id, history.Spec{From: year.From, To: year.To, DryRun: true}},
		"a dry run, 1":  {map[string]string{"DRYRUN": "1"}, `{"account":"` + id + `","dryrun":true,"from":"2024-01-01","to":"2024-12-31"}`, id, history.Spec{From: year.From, To: year.To, DryRun: true}},
		"no dry run":    {map[string]string{"DRYRUN": "false"}, `{"account":"` + id + `","dryrun":false,"from":"2024-01-01","to":"2024-12-31"}`, id, year},
		"create":        {map[string]string{"CUSTOMERS": "create"}, `{"account":"` + id + `","customers":"create","from":"2024-01-01","to":"2024-12-31"}`, id, history.Spec{From: year.From, To: year.To, Create: true}},
		"known":         {map[string]string{"CUSTOMERS": "known"}, `{"account":"` + id + `","customers":"known","from":"2024-01-01","to":"2024-12-31"}`, id, year},
		"orders":        {map[string]string{"ORDERS": "210335,210334"}, `{"account":"` + id + `","orders":[210335,210334]}`, id, history.Spec{Orders: []int64{210334, 210335}}},
		"orders pasted": {map[string]string{"ORDERS": " 210335, 210334;\n210335 "}, `{"account":"` + id + `","orders":[210335,210334,210335]}`, id, history.Spec{Orders: []int64{210334, 210335}}},
		"one order":     {map[string]string{"ORDERS": "210334", "CUSTOMERS": "create"}, `{"account":"` + id + `","customers":"create","orders":[210334]}`, id, history.Spec{Orders: []int64{210334}, Create: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{steps: []step{done}}, &running{env: tt.env}
			if err := i.run(t, t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff([]string{tt.want}, s.posts); diff != "" {
				t.Errorf("posted (-want +got):\n%s", diff)
			}
			job := history.JobID(tt.account, tt.spec)
			if diff := gocmp.Diff([]string{job, job}, s.asked); diff != "" {
				t.Errorf("asked about (-want +got):\n%s", diff)
			}
			i.says(t, "posted "+tt.want+"\nbackfill "+job+"\n")
		})
	}
}

// Settings that cannot be right are refused in a sentence; nothing is asked,
// and nothing posted.
func TestRefused(t *testing.T) {
	t.Parallel()
	const account32 = "0123456789abcdef0123456789abcdef"
	queue := "https://sqs.eu-north-1.amazonaws.com/123456789012/sitoo-rule-BackfillQueue.fifo"
	for name, tt := range map[string]struct {
		env  map[string]string
		want string // all of it
	}{
		"no days":               {map[string]string{"FROM": "", "TO": ""}, `FROM, TO are missing, and so are orders; two days such as "2024-01-01" and "2024-12-31", or order numbers, are expected`},
		"no first day":          {map[string]string{"FROM": ""}, `FROM is missing beside to; the first day is expected, a day such as "2024-01-31"`},
		"no last day":           {map[string]string{"TO": " "}, `TO is missing beside from; the last day is expected, a day such as "2024-01-31"`},
		"a day that is none":    {map[string]string{"FROM": "2024-02-30"}, "FROM is 2024-02-30, a day that does not exist; one of the calendar is expected"},
		"a day of another kind": {map[string]string{"TO": "31/12/2024"}, `TO is not a day; year, month and day are expected as in "2024-01-31", and no time of day`},
		"the wrong way round":   {map[string]string{"FROM": "2025-01-01"}, "TO is 2024-12-31 and before from, which is 2025-01-01; the last day is expected"},
		"too long":              {map[string]string{"FROM": "1991-01-01"}, "TO is more than 30 years after from; several messages with a shorter period each are expected"},
		"orders and days":       {map[string]string{"ORDERS": "210334", "FROM": "2024-01-01"}, "ORDERS are there beside from or to; either orders, or from and to, are expected"},
		"orders in words":       {map[string]string{"ORDERS": "210334,all"}, "ORDERS is a list of order numbers, such as 210334,210335"},
		"an order too large":    {map[string]string{"ORDERS": "99999999999999999999"}, "ORDERS is a list of order numbers, such as 210334,210335"},
		"order 0":               {map[string]string{"ORDERS": "0"}, "ORDERS has a number below 1 in place 1 of 1; a list such as [210334,210335] is expected"},
		"no orders":             {map[string]string{"ORDERS": ",;"}, "ORDERS is an empty list; 1 to 1000 order numbers are expected"},
		"many orders":           {map[string]string{"ORDERS": strings.Repeat("1,", 1001)}, "ORDERS has 1001 order numbers; 1000 are the most in one message, so several are expected"},
		"perhaps a dry run":     {map[string]string{"DRYRUN": "yes"}, "DRYRUN is true or false"},
		"other customers":       {map[string]string{"CUSTOMERS": "all"}, `CUSTOMERS is neither "known" nor "create"; one of them is expected, in small letters`},
		"an account by name":    {map[string]string{"ACCOUNT": "Example Shop"}, "ACCOUNT is not an account id; the account's number in Rule such as \"42\", as the log lines show it is expected"},
		"the key as account":    {map[string]string{"ACCOUNT": testKey}, "ACCOUNT is the key; the account's number in Rule, as the log lines show it, is expected, or nothing"},
		"a key like an account": {map[string]string{"ACCOUNT": account32, "KEY": account32}, "ACCOUNT is the key; the account's number in Rule, as the log lines show it, is expected, or nothing"},
		"the key as a day":      {map[string]string{"FROM": testKey}, `FROM is not a day; year, month and day are expected as in "2024-01-31", and no time of day`},
		"the key as customers":  {map[string]string{"CUSTOMERS": testKey}, `CUSTOMERS is neither "known" nor "create"; one of them is expected, in small letters`},
		"a key of two":          {map[string]string{"KEY": "a\nb"}, "KEY holds characters that no API key has"},
		"no address":            {map[string]string{"URL": "api.example.com"}, "URL is not the address of the connector, such as https://api.example.com/sitoo"},
		"a broken address":      {map[string]string{"URL": "https://api.example.com:" + testKey}, "URL is not the address of the connector, such as https://api.example.com/sitoo"},
		"a key in URL":          {map[string]string{"URL": "https://" + testKey + "@api.example.com/sitoo"}, "URL is not the address of the connector, such as https://api.example.com/sitoo"},
		"a key in its query":    {map[string]string{"URL": "https://api.example.com/sitoo?apikey=" + testKey}, "URL is not the address of the connector, such as https://api.example.com/sitoo"},
		"a key after #":         {map[string]string{"URL": "https://api.example.com/sitoo#" + testKey}, "URL is not the address of the connector, such as https://api.example.com/sitoo"},
		"in the clear":          {map[string]string{"URL": "http://api.example.com/sitoo", "AWS": "1", "QUEUE_URL": queue}, "URL must begin with https://, or anybody on the way could read the key"},
		"a name that looks":     {map[string]string{"URL": "http://localhost.example.com/sitoo"}, "URL must begin with https://, or anybody on the way could read the key"},
		"another protocol":      {map[string]string{"URL": "ftp://localhost/sitoo"}, "URL must begin with https://, or anybody on the way could read the key"},
		"no key":                {map[string]string{"URL": "https://api.example.com/sitoo", "KEY": "", "AWS": "1", "QUEUE_URL": queue}, "say the shop's Rule API key, which the progress is asked with: KEY="},
		"AWS in words":          {map[string]string{"AWS": "true", "QUEUE_URL": queue}, "AWS is 1, or is left out"},
		"a queue without AWS":   {map[string]string{"QUEUE_URL": queue}, "QUEUE_URL is of no use without AWS=1"},
		"elsewhere without AWS": {map[string]string{"URL": "https://api.example.com/sitoo"}, "say AWS=1 and QUEUE_URL=: only `make run` takes the message at its own address"},
		"AWS without a queue":   {map[string]string{"AWS": "1"}, "say the queue: QUEUE_URL=, the output BackfillQueueUrl of the stack"},
		"a queue by name":       {map[string]string{"AWS": "1", "QUEUE_URL": "BackfillQueue.fifo"}, "QUEUE_URL is not the address of a FIFO queue, such as https://sqs.eu-north-1.amazonaws.com/123456789012/BackfillQueue.fifo: the output BackfillQueueUrl of the stack"},
		"a standard queue":      {map[string]string{"AWS": "1", "QUEUE_URL": "https://sqs.eu-north-1.amazonaws.com/123456789012/OrdersQueue"}, "QUEUE_URL is not the address of a FIFO queue, such as https://sqs.eu-north-1.amazonaws.com/123456789012/BackfillQueue.fifo: the output BackfillQueueUrl of the stack"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{steps: []step{done}}, &running{env: tt.env}
			err := i.run(t, t.Context(), s)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if len(s.routes) > 0 || i.out.Len() > 0 {
				t.Errorf("requests %v, output %q", s.routes, i.out.String())
			}
		})
	}
}

// The connector is on this machine, or is spoken to by https.
func TestAddresses(t *testing.T) {
	t.Parallel()
	const queue = "https://sqs.eu-north-1.amazonaws.com/123456789012/sitoo-rule-BackfillQueue.fifo"
	for name, tt := range map[string]struct{ url, key, aws, queue, want, home string }{
		"nothing said": {"", "", "", "", "http://127.0.0.1:3000/sitoo", "http://127.0.0.1:3000"},
		"by name":      {"http://localhost:3000/sitoo/", "", "", "", "http://localhost:3000/sitoo", "http://localhost:3000"},
		"IPv6":         {"http://[::1]:3000/sitoo", "", "", "", "http://[::1]:3000/sitoo", "http://[::1]:3000"},
		"in AWS":       {"https://api.example.com/prod/sitoo", testKey, "1", queue, "https://api.example.com/prod/sitoo", "https://api.example.com"},
		"an emulator":  {"", "", "1", "http://localhost:4566/000000000000/BackfillQueue.fifo", "http://127.0.0.1:3000/sitoo", "http://127.0.0.1:3000"},
	} {
		env := map[string]string{"URL": tt.url, "KEY": tt.key, "AWS": tt.aws, "QUEUE_URL": tt.queue, "FROM": "2024-01-01", "TO": "2024-01-31"}
		c := command{getenv: func(n string) string { return env[n] }}
		s, err := c.settings()
		if err != nil || s.url != tt.want || s.home != tt.home || s.queue != tt.queue || s.key == "" {
			t.Errorf("%s: %q, %q, %q, %v; want %q, %q, %q", name, s.url, s.home, s.queue, err, tt.want, tt.home, tt.queue)
		}
	}
}

// What the connector has against it is said before anything is posted.
func TestNothingPosted(t *testing.T) {
	t.Parallel()
	const other = "0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct {
		script *script
		env    map[string]string
		want   string
	}{
		"another key":            {&script{}, map[string]string{"KEY": "another"}, "the connector answers 401: Rule does not accept the shop's API key."},
		"no /sitoo":              {&script{}, map[string]string{"URL": "/"}, "the connector answers 404: This connector has no such URL."},
		"a pause":                {&script{before: step{code: 503, body: `{"error":"busy","message":"Rule is taking a pause."}`}}, nil, "the connector answers 503: Rule is taking a pause."},
		"a gateway's":            {&script{before: step{code: 502, body: "<html>" + testKey}}, nil, "the connector answers 502: Bad Gateway"},
		"the key sent back":      {&script{before: step{code: 403, body: `{"message":"\u001b[2J` + testKey + ` is forbidden"}`}}, nil, "the connector answers 403:  [2J[key] is forbidden"},
		"elsewhere":              {&script{before: step{code: 302}}, nil, "the connector answers 302: Found"},
		"a status unheard of":    {&script{before: step{code: 299 + 300}}, nil, "the connector answers 599: no reason"},
		"a page":                 {&script{before: step{body: "<html>"}}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"another answer":         {&script{before: step{body: "{}"}}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"a job without state":    {&script{before: step{body: `{"backfillid":"` + history.JobID("42", history.Spec{From: day(2024, 1, 1), To: day(2025, 1, 1)}) + `"}`}}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"no word of credentials": {&script{none: "{}"}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"another job":            {&script{before: step{Status: history.Status{ID: "x", State: history.Running}}}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"no list":                {&script{list: "null"}, nil, "the answer is not the connector's: is URL its address, with /sitoo at the end?"},
		"no answer":              {&script{before: step{lost: true}}, nil, "the connector does not answer ("},
		"half an answer":         {&script{before: step{cut: true}}, nil, "the connector's answer breaks off ("},
		"no credentials":         {&script{none: `{"account":"42","entered":false}`}, nil, "the shop of KEY has entered no credentials for Sitoo; it does that once, with PUT /sitoo/credentials"},
		"another shop's key":     {&script{list: `[{"state":"done","backfillid":"b","account":"ffff"}]`}, map[string]string{"ACCOUNT": other}, "KEY belongs to another account than ACCOUNT: it could not show the progress"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := tt.script, &running{env: map[string]string{}}
			h := http.Handler(s)
			for name, v := range tt.env {
				i.env[name] = v
			}
			if i.env["URL"] == "/" { // the server's own address, less the path
				delete(i.env, "URL")
				h = http.StripPrefix("/sitoo", s)
			}
			err := i.run(t, t.Context(), h)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || !strings.HasSuffix(err.Error(), "; nothing was posted") || strings.Contains(err.Error(), "http://") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if len(s.posts) > 0 || i.out.Len() > 0 || len(i.clock.slept) > 0 {
				t.Errorf("posted %v, output %q", s.posts, i.out.String())
			}
		})
	}
}

// A connection that cannot be made is said without the key and the address.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := httptest.NewServer(&script{})
	defer plain.Close()
	for name, tt := range map[string]struct{ url, want string }{
		"nobody there": {gone.URL + "/" + testKey, "the connector does not answer ("},
		"no https":     {strings.Replace(plain.URL, "http:", "https:", 1), "the connector does not answer ("},
	} {
		i := &running{env: map[string]string{"URL": tt.url}}
		err := i.run(t, t.Context(), &script{})
		fails(t, err, tt.want)
		if err != nil && (strings.Contains(err.Error(), "://") || !strings.HasSuffix(err.Error(), "nothing was posted")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A queue that does not take the message, or may have taken it.
func TestNotPosted(t *testing.T) {
	t.Parallel()
	s, i := &script{refuse: 500}, &running{}
	fails(t, i.run(t, t.Context(), s), "post the message: the connector answers 500: Internal Server Error; if it is on the queue nevertheless, the same command joins its job")
	i.never(t, "posted")
	i = &running{env: map[string]string{"AWS": "1", "QUEUE_URL": "https://sqs.example.com/1/q.fifo"}}
	i.queue = func(context.Context, string) (worker.Sender, error) {
		return nil, errors.New("AWS configuration:\nno region for " + testKey)
	}
	fails(t, i.run(t, t.Context(), &script{}), "post the message: AWS configuration: no region for [key];")
	i.queue = func(context.Context, string) (worker.Sender, error) {
		return sender(func(worker.Message) error { return errors.New("AccessDenied") }), nil
	}
	fails(t, i.run(t, t.Context(), &script{}), "post the message: AccessDenied;")
}

type sender func(worker.Message) error

func (s sender) Send(_ context.Context, m worker.Message) error { return s(m) }

// With AWS=1 the message goes to the queue that is named, and to nothing else;
// posted again it is a message of its own.
func TestAWS(t *testing.T) {
	t.Parallel()
	const queue = "https://sqs.eu-north-1.amazonaws.com/123456789012/sitoo-rule-BackfillQueue.fifo"
	var sent []worker.Message
	var urls []string
	c := newClock()
	s := &script{before: done, steps: nil}
	for range 2 {
		i := &running{clock: c, env: map[string]string{"AWS": "1", "QUEUE_URL": queue}}
		i.queue = func(_ context.Context, url string) (worker.Sender, error) {
			urls = append(urls, url)
			return sender(func(m worker.Message) error {
				sent = append(sent, m)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.before.Run = 2 * len(sent) // a new run
				return nil
			}), nil
		}
		if err := i.run(t, t.Context(), s); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(time.Millisecond)
	}
	body := `{"account":"` + "42" + `","from":"2024-01-01","to":"2024-12-31"}`
	if len(s.posts) != 0 || len(sent) != 2 || sent[0].Dedup == sent[1].Dedup {
		t.Fatalf("posted %v, sent %+v", s.posts, sent)
	}
	for n, m := range sent {
		want := worker.Message{Body: body, Group: "support", Dedup: m.Dedup}
		if diff := gocmp.Diff(want, m); diff != "" || len(m.Dedup) < 10 || len(m.Dedup) > 128 || urls[n] != queue {
			t.Errorf("sent to %s (-want +got):\n%s", urls[n], diff)
		}
	}
}

// interrupting ends the command while it waits for an answer.
type interrupting struct {
	*script
	when   string
	cancel context.CancelFunc
}

func (h interrupting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	posted := len(h.posts) > 0
	h.mu.Unlock()
	at := r.Method + " " + r.URL.Path
	if before, after := strings.CutSuffix(h.when, " posted"); at == h.when || after && posted && strings.HasPrefix(at, before) {
		h.cancel()
		_, _ = io.Copy(io.Discard, r.Body) // the server notices that nobody waits
		<-r.Context().Done()
		return
	}
	h.script.ServeHTTP(w, r)
}
