package bonus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

var importing = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

var errKilled = errors.New("the process was killed")

// mill is everything that an import passes through. What it does towards the
// outside is counted, before it has its effect and after, and it can be killed
// at any of these steps: nothing it tries has an effect from then on.
type mill struct {
	*testing.T
	rule     *fakerule.Server
	books    *memory.Bonus
	imports  *memory.Imports
	importer *bonus.Importer
	worker   *bonus.ImportWorker
	tills    *bonus.Service // which outlive the import's process
	file     int            // how many files have been sent

	mu     sync.Mutex
	clock  time.Time
	at     int // the step that kills, counted from 1; 0 for none
	steps  []string
	dead   bool
	queue  []worker.Message
	taken  map[string]bool
	lose   func(method, path string, body []byte) bool // answers that do not arrive
	hook   func(method, path string, body []byte)      // called before a request has its effect
	copies []bonus.Message
}

func (m *mill) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clock
}

func (m *mill) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(d)
}

func (m *mill) step(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errKilled
	}
	m.steps = append(m.steps, name)
	if m.dead = len(m.steps) == m.at; m.dead {
		return errKilled
	}
	return nil
}

func (m *mill) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead, m.at = false, 0
}

// till is a process that the import's death does not touch.
type till struct{ m *mill }

func (t till) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	return t.m.serve(r, body), nil
}

func bodyOf(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	return io.ReadAll(r.Body)
}

func (m *mill) serve(r *http.Request, body []byte) *http.Response {
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	m.rule.ServeHTTP(w, r)
	return w.Result()
}

func (m *mill) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	if m.hook != nil {
		m.hook(r.Method, r.URL.Path, body)
	}
	if err := m.step(r.Method); err != nil {
		return nil, err
	}
	answer := m.serve(r, body)
	if m.lose != nil && m.lose(r.Method, r.URL.Path, body) {
		return &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody, Request: r}, nil
	}
	if err := m.step(r.Method + " done"); err != nil {
		return nil, err
	}
	return answer, nil
}

// Send is the queue of parts: what has been taken once is not taken again.
func (m *mill) Send(_ context.Context, msg worker.Message) error {
	if err := m.step("send"); err != nil {
		return err
	}
	m.mu.Lock()
	if !m.taken[msg.Dedup] {
		m.taken[msg.Dedup] = true
		m.queue = append(m.queue, msg)
	}
	m.mu.Unlock()
	return m.step("send done")
}

// syncs is the queue of messages that complete Rule's copy.
type syncs struct{ m *mill }

func (s syncs) Send(_ context.Context, msg worker.Message) error {
	d, err := bonus.DecodeMessage(msg.Body)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.copies = append(s.m.copies, d)
	return err
}

func newMill(t *testing.T, o fakerule.Options) *mill {
	t.Helper()
	m := &mill{T: t, clock: importing, taken: map[string]bool{}}
	o.Now = m.now
	m.rule = fakerule.New(o)
	err := m.rule.Load(strings.NewReader(`{"accounts":[{"schema":[{"group":"Sitoo-Contact","fields":{"bonuschecks":"json","promotions":"json"}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m.books = &memory.Bonus{Fail: func(op string) error { return m.step("books " + op) }}
	m.imports = &memory.Imports{Fail: func(op string) error { return m.step("imports " + op) }}
	m.importer = &bonus.Importer{Imports: m.imports, Parts: m, Now: m.now, NewID: func() string { m.file++; return fmt.Sprintf("import-%d", m.file) }}
	m.worker = &bonus.ImportWorker{
		Books: m.books, Imports: m.imports, Now: m.now, Log: slog.New(slog.DiscardHandler),
	}
	client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: m}, Now: m.now, Pause: -1})
	m.worker.Session = func(context.Context, string) (*rule.Session, error) {
		return client.Session(fakerule.DefaultKey, time.Time{}, nil), nil
	}
	n := 0
	m.tills = &bonus.Service{Store: m.books, Syncs: syncs{m}, Log: slog.New(slog.DiscardHandler), Now: m.now, NewID: func() string { n++; return fmt.Sprintf("till-%d", n) }}
	return m
}

// till returns a session with Rule of another process.
func (m *mill) till() *rule.Session {
	c := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: till{m}}, Now: m.now, Pause: -1})
	return c.Session(fakerule.DefaultKey, time.Time{}, nil)
}

// has makes a subscriber who has bonus checks in Rule.
func (m *mill) has(email, phone, checks string) int64 {
	m.Helper()
	s, err := m.till().Upsert(m.Context(), rule.Upsert{Email: email, Phone: phone, Tags: []string{"Sitoo"}})
	if err != nil {
		m.Fatal(err)
	}
	if checks != "" {
		if err := m.rule.SetField(fakerule.DefaultKey, s.ID, 0, "Sitoo-Contact.bonuschecks", checks); err != nil {
			m.Fatal(err)
		}
	}
	return s.ID
}

// shows returns the checks that Rule has of a subscriber, "" if there are none.
func (m *mill) shows(email string) string {
	m.Helper()
	for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
		if s.Email == email {
			f, _ := s.Field("Sitoo-Contact.bonuschecks")
			return f.Value
		}
	}
	m.Errorf("there is no subscriber %s", email)
	return ""
}

// send sends a file, and again while it could not be queued.
func (m *mill) send(table string) bonus.Import {
	m.Helper()
	p, bad, _, err := planOf(table)
	if err != nil || len(bad) > 0 {
		m.Fatal(bad, err)
	}
	for range 3 {
		i, err := m.importer.Start(m.Context(), "a", "request-1", "bonus.csv", p)
		if err == nil {
			return i
		}
		if fault.KindOf(err) != fault.Unavailable {
			m.Fatal(err)
		}
		m.restart()
	}
	m.Fatal("the file cannot be sent")
	return bonus.Import{}
}

// work delivers what is queued until it is done. It returns how often a
// delivery failed.
func (m *mill) work() (failures int) {
	m.Helper()
	for len(m.queue) > 0 {
		_, _, err := m.worker.Work(m.Context(), m.queue[0].Body, fmt.Sprintf("attempt-%d", len(m.steps)))
		if err == nil && !m.dead {
			m.queue = m.queue[1:]
			continue
		}
		if failures++; failures > 60 {
			m.Fatal("the queue does not get done: ", err)
		}
		m.restart()
		wait := 15 * time.Second
		if at := fault.As(err); at != nil {
			wait = max(wait, at.RetryAt.Sub(m.now()))
		}
		m.pass(wait)
	}
	return failures
}

// syncAll delivers the messages that complete Rule's copy.
func (m *mill) syncAll() {
	m.Helper()
	m.pass(3 * time.Minute)
	for _, c := range m.copies {
		if err := m.tills.Sync(m.Context(), m.till(), bonus.Key{Account: c.Account, Subscriber: c.Subscriber}); err != nil {
			m.Error(err)
		}
	}
}

func (m *mill) status(id string) bonus.Status {
	m.Helper()
	s, err := m.importer.Status(m.Context(), "a", id)
	if err != nil {
		m.Fatal(err)
	}
	return s
}

// counts writes what became of an import's rows.
func counts(s bonus.Status) string {
	return fmt.Sprintf("%s %d%%: %d of %d, %d written, %d unchanged, %d failed", s.State, s.Percent, s.Done, s.Rows, s.Written, s.Unchanged, s.Failed)
}

// requests counts the requests to Rule by method, and forgets them.
func (m *mill) requests() string {
	n := map[string]int{}
	for _, r := range m.rule.Requests() {
		n[r.Method]++
	}
	m.rule.ResetRequests()
	return fmt.Sprintf("%d GET, %d POST, %d PUT", n["GET"], n["POST"], n["PUT"])
}

// settled checks that nobody holds a lease, and that Rule shows what the books
// say.
func (m *mill) settled() {
	m.Helper()
	for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
		b, err := m.books.Get(m.Context(), bonus.Key{Account: "a", Subscriber: s.ID})
		if err != nil {
			m.Fatal(err)
		}
		if b.Holder != "" || b.Version != b.Synced {
			m.Errorf("%s: holder %q, version %d, synced %d", s.Email, b.Holder, b.Version, b.Synced)
		}
	}
}

// many is a table of n customers with a check each, beginning with number from.
func many(from, n int, value string) string {
	var b strings.Builder
	b.WriteString("email|id|value\n")
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "kund%d@example.com|bc-%d|%s\n", i, i, value)
	}
	return b.String()
}

// What an import costs: new customers two requests for each 19, others one each
// and two for each 19, and a file that says nothing new no write at all.
func TestImportRequests(t *testing.T) {
	t.Parallel()
	for _, answer := range []struct {
		fakerule.BatchAnswer
		name, fresh, known, again string
	}{
		{fakerule.BatchInFull, "in full", "0 GET, 22 POST, 0 PUT", "200 GET, 22 POST, 0 PUT", "200 GET, 11 POST, 0 PUT"},
		{fakerule.BatchCounts, "counts only", "200 GET, 22 POST, 0 PUT", "400 GET, 22 POST, 0 PUT", "400 GET, 11 POST, 0 PUT"},
		{fakerule.BatchSubscribers, "subscribers only", "200 GET, 22 POST, 0 PUT", "200 GET, 22 POST, 0 PUT", "200 GET, 11 POST, 0 PUT"},
		{fakerule.BatchBare, "neither", "400 GET, 22 POST, 0 PUT", "400 GET, 22 POST, 0 PUT", "400 GET, 11 POST, 0 PUT"},
	} {
		t.Run(answer.name, func(t *testing.T) {
			t.Parallel()
			m := newMill(t, fakerule.Options{BatchAnswer: answer.BatchAnswer, Budget: 100_000})
			for _, c := range []struct{ value, counts, requests string }{
				{"100", "done 100%: 200 of 200, 200 written, 0 unchanged, 0 failed", answer.fresh},
				{"200", "done 100%: 200 of 200, 200 written, 0 unchanged, 0 failed", answer.known},
				{"200", "done 100%: 200 of 200, 0 written, 200 unchanged, 0 failed", answer.again},
			} {
				i := m.send(many(1, 200, c.value))
				if i.Parts != 2 || i.Customers != 200 {
					t.Errorf("%+v", i)
				}
				if n := m.work(); n > 0 {
					t.Errorf("%d deliveries failed", n)
				}
				if got := counts(m.status(i.ID)); got != c.counts {
					t.Errorf("%s; want %s", got, c.counts)
				}
				if got := m.requests(); got != c.requests {
					t.Errorf("%s; want %s", got, c.requests)
				}
				for n := range 200 {
					want := fmt.Sprintf(`[{"bonuscheckid":"bc-%d","value":"%s.00"}]`, n+1, c.value)
					if got := m.shows(fmt.Sprintf("kund%d@example.com", n+1)); got != want {
						t.Errorf("%s, want %s", got, want)
					}
				}
				m.settled()
			}
			if n := len(m.rule.Automations(fakerule.DefaultKey)); n != 0 {
				t.Errorf("%d automations were started", n)
			}
		})
	}
}

// What a file does to checks that Rule has already.
func TestImportMerge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		has, rows, want, counts, failure string
	}{
		"new beside old, strangers kept": {
			`[{"x":1}, 7, {"bonuscheckid":"old","value":5.50,"colour":"red"}]`, "k@example.com||new|10",
			`[{"x":1},7,{"bonuscheckid":"old","value":5.50,"colour":"red"},{"bonuscheckid":"new","value":"10.00"}]`, "1 written, 0 unchanged, 0 failed", "",
		},
		"changed": {
			`[{"colour":"red","bonuscheckid":"old","value":5.50,"remaining":5.5}]`, "k@example.com||old|10",
			`[{"colour":"red","bonuscheckid":"old","value":"10.00","remaining":"10.00"}]`, "1 written, 0 unchanged, 0 failed", "",
		},
		"used, all of it": {
			`[{"bonuscheckid":"old","value":5,"redeemed":true,"dateredeemed":"2026-01-01"}]`, "k@example.com||old|10",
			`[{"bonuscheckid":"old","value":5,"redeemed":true,"dateredeemed":"2026-01-01"}]`, "0 written, 1 unchanged, 0 failed", "",
		},
		"used, some of it": {
			`[{"bonuscheckid":"old","value":5,"remaining":3}]`, "k@example.com||old|10",
			`[{"bonuscheckid":"old","value":5,"remaining":3}]`, "0 written, 1 unchanged, 0 failed", "",
		},
		"some rows new, some not": {
			`[{"bonuscheckid":1,"value":5}]`, "k@example.com||1|5,00\nk@example.com||2|5\nk@example.com||2|5",
			`[{"bonuscheckid":1,"value":5},{"bonuscheckid":"2","value":"5.00"}]`, "1 written, 2 unchanged, 0 failed", "",
		},
		"a field that nobody can read": {
			`{"bonuscheckid":1}`, "k@example.com||1|5", `{"bonuscheckid":1}`, "0 written, 0 unchanged, 1 failed",
			"The customer's bonus checks cannot be read: in Rule, the field Sitoo-Contact.bonuschecks is not a JSON array.",
		},
		"too many characters": {
			`["` + strings.Repeat("å", 59_960) + `"]`, "k@example.com||1|5\nk@example.com||2|5", `["` + strings.Repeat("å", 59_960) + `"]`, "0 written, 0 unchanged, 2 failed",
			"With those that Rule has already, the customer's bonus checks have more than 60000 characters.",
		},
		"one subscriber, two customers of the file": {
			``, "k@example.com||1|5\n|0701740605|2|7\nl@example.com||3|9",
			`[{"bonuscheckid":"1","value":"5.00"},{"bonuscheckid":"2","value":"7.00"}]`, "3 written, 0 unchanged, 0 failed", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMill(t, fakerule.Options{})
			m.has("k@example.com", "+46701740605", c.has)
			i := m.send("email|phone|id|value\n" + c.rows)
			m.work()
			st := m.status(i.ID)
			if !strings.HasSuffix(counts(st), c.counts) || st.State != bonus.Done {
				t.Errorf("%s, want %s", counts(st), c.counts)
			}
			if got := m.shows("k@example.com"); got != c.want {
				t.Errorf("%.200s\nwant %.200s", got, c.want)
			}
			for n, f := range st.Failures {
				if want := (bonus.Failure{Row: n + 2, Reason: c.failure}); inWords(t, f) != want {
					t.Error(f)
				}
			}
			m.settled()
		})
	}
}

// The JSON of a customer with no checks costs no request, and makes nobody.
func TestImportNothing(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	i := m.send("email|bonuschecks\na@example.com|[]\nb@example.com|")
	m.work()
	if got := counts(m.status(i.ID)) + "; " + m.requests(); got != "done 100%: 2 of 2, 0 written, 2 unchanged, 0 failed; 0 GET, 0 POST, 0 PUT" {
		t.Error(got)
	}
}

func answered(status int, body string) *fakerule.Fault {
	return &fakerule.Fault{Status: status, Body: body}
}

// Customers whom Rule refuses fail, with a reason that names nobody; all others
// are imported.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	const (
		table = "email|phone|id|value\na@example.com||1|5\nx@example.com|0701740605|2|5\nx@example.com|0701740605|3|5\nc@example.com||4|5"
		two   = "In Rule, the email address and the phone number belong to two subscribers."
	)
	holds := func(body []byte, what string) bool { return bytes.Contains(body, []byte(what)) }
	for name, c := range map[string]struct {
		two      bool // x@example.com and the phone number are two subscribers
		fault    func(r *http.Request, body []byte) *fakerule.Fault
		want     string
		failures []bonus.Failure
		requests string
	}{
		// The email address counts; whose the number is, is Rule's to know.
		"two subscribers": {true, nil, "4 written, 0 unchanged, 0 failed", nil, "3 GET, 2 POST, 3 PUT"},
		"named": {
			false, func(_ *http.Request, body []byte) *fakerule.Fault {
				if holds(body, "x@example.com") {
					return answered(400, `{"error":"BadRequest","message":"x@example.com","fields":{"subscribers.1.phone_number":["+46701740605 is bad"]}}`)
				}
				return nil
			}, "2 written, 0 unchanged, 2 failed",
			[]bonus.Failure{{Row: 3, Reason: "Rule does not accept the phone number."}, {Row: 4, Reason: "Rule does not accept the phone number."}},
			"0 GET, 3 POST, 0 PUT",
		},
		"not named": {
			false, func(_ *http.Request, body []byte) *fakerule.Fault {
				if holds(body, "x@example.com") {
					return answered(400, `{"error":"BadRequest","message":"x@example.com is bad"}`)
				}
				return nil
			}, "2 written, 0 unchanged, 2 failed",
			[]bonus.Failure{{Row: 3, Reason: "Rule refuses the customer (status 400)."}, {Row: 4, Reason: "Rule refuses the customer (status 400)."}},
			"0 GET, 5 POST, 0 PUT",
		},
		"all of them": {
			false, func(_ *http.Request, body []byte) *fakerule.Fault {
				if !holds(body, "bonuscheckid") {
					return answered(400, `{"fields":{"subscribers.0.email":"?","subscribers.1":"?","subscribers.2.email":"?","subscribers.9.email":"?"}}`)
				}
				return nil
			}, "0 written, 0 unchanged, 4 failed",
			[]bonus.Failure{
				{Row: 2, Reason: "Rule does not accept the email address."},
				{Row: 3, Reason: "Rule refuses the customer (status 400)."},
				{Row: 4, Reason: "Rule refuses the customer (status 400)."},
				{Row: 5, Reason: "Rule does not accept the email address."},
			},
			"0 GET, 1 POST, 0 PUT",
		},
		"one after the other": { // named first, and then the rest not
			false, func(_ *http.Request, body []byte) *fakerule.Fault {
				switch {
				case holds(body, "c@example.com"):
					return answered(400, `{"fields":{"subscribers.2.email":"?"}}`)
				case holds(body, "x@example.com") && holds(body, "a@example.com"):
					return answered(400, `{"fields":{"subscribers.1.email":"?"}}`)
				case holds(body, "x@example.com"):
					return answered(400, ``)
				}
				return nil
			}, "1 written, 0 unchanged, 3 failed",
			[]bonus.Failure{
				{Row: 3, Reason: "Rule refuses the customer (status 400)."},
				{Row: 4, Reason: "Rule refuses the customer (status 400)."},
				{Row: 5, Reason: "Rule does not accept the email address."},
			},
			"0 GET, 5 POST, 0 PUT",
		},
		"the write, as a whole": {
			false, func(r *http.Request, body []byte) *fakerule.Fault {
				if holds(body, "bonuscheckid") && (r.Method == http.MethodPost || holds(body, `\"3\"`)) {
					return answered(413, ``)
				}
				return nil
			}, "2 written, 0 unchanged, 2 failed",
			[]bonus.Failure{{Row: 3, Reason: "Rule does not accept the bonus checks."}, {Row: 4, Reason: "Rule does not accept the bonus checks."}},
			"0 GET, 2 POST, 3 PUT",
		},
		"the read": {
			false, func(r *http.Request, _ []byte) *fakerule.Fault {
				if strings.Contains(r.URL.Path, "/fields") {
					return answered(400, ``)
				}
				return nil
			}, "0 written, 0 unchanged, 4 failed",
			[]bonus.Failure{
				{Row: 2, Reason: "Rule does not tell what bonus checks the customer has."},
				{Row: 3, Reason: "Rule does not tell what bonus checks the customer has."},
				{Row: 4, Reason: "Rule does not tell what bonus checks the customer has."},
				{Row: 5, Reason: "Rule does not tell what bonus checks the customer has."},
			},
			"3 GET, 1 POST, 0 PUT",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMill(t, fakerule.Options{})
			if c.two {
				m.has("x@example.com", "", "")
				m.has("y@example.com", "+46701740605", "")
			}
			if name == "the read" {
				m.has("a@example.com", "", "")
			}
			m.requests()
			m.rule.SetFault(c.fault)
			i := m.send(table)
			if n := m.work(); n > 0 {
				t.Errorf("%d deliveries failed", n)
			}
			st := m.status(i.ID)
			if !strings.HasSuffix(counts(st), c.want) {
				t.Errorf("%s, want %s", counts(st), c.want)
			}
			var got []bonus.Failure
			for _, f := range st.Failures {
				got = append(got, inWords(t, f))
			}
			if diff := cmp.Diff(c.failures, got); diff != "" {
				t.Error(diff)
			}
			if got := m.requests(); got != c.requests {
				t.Errorf("%s, want %s", got, c.requests)
			}
			if len(c.failures) < 4 && m.shows("a@example.com") == "" {
				t.Error("the others have no checks")
			}
			m.rule.SetFault(nil)
			m.settled()
		})
	}
}

// A row names a person by the email address, and by the number only where it has
// no address: a wrong digit neither joins two people nor changes a number.
func TestImportIdentifies(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	m.has("x@example.com", "+46701740606", "")
	m.has("y@example.com", "+46701740605", "")
	for _, file := range []string{
		"email|phone|id|value\nx@example.com|0701740605|1|5",    // another's number
		"email|phone|id|value\nx@example.com|0701740699|2|5",    // nobody's
		"email|phone|id|value\n|0701740605|3|5",                 // the number alone
		"email|phone|id|value\nnew@example.com|0701740606|4|5",  // somebody new, with another's number
		"email|phone|id|value\nnew2@example.com|0701740698|5|5", // somebody new, with a number of their own
	} {
		i := m.send(file)
		m.work()
		if st := m.status(i.ID); st.Written != 1 {
			t.Errorf("%q: %s", file, counts(st))
		}
	}
	for mail, want := range map[string]struct{ phone, checks string }{
		"x@example.com":    {"+46701740606", "1 2"},
		"y@example.com":    {"+46701740605", "3"},
		"new@example.com":  {"", "4"},
		"new2@example.com": {"+46701740698", "5"},
	} {
		var ids []string
		var list []map[string]any
		if err := json.Unmarshal([]byte(m.shows(mail)), &list); err != nil {
			t.Errorf("%s shows %q", mail, m.shows(mail))
		}
		for _, o := range list {
			ids = append(ids, fmt.Sprint(o["bonuscheckid"]))
		}
		phone := ""
		for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
			if s.Email == mail {
				phone = s.Phone
			}
		}
		if got := strings.Join(ids, " "); got != want.checks || phone != want.phone {
			t.Errorf("%s has the checks %s and the number %q, want %s and %q", mail, got, phone, want.checks, want.phone)
		}
	}
}

// Tills first: above the share that is left to imports, and while Rule answers
// 429, an import waits and says why; then it goes on from where it was.
func TestImportBudget(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{Budget: 30})
	i := m.send(many(1, 190, "5"))
	work := func() error {
		_, _, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt")
		return err
	}
	err := work()
	f, st := fault.As(err), m.status(i.ID)
	if err == nil || f.Kind != fault.Busy || !f.RetryAt.Equal(m.now().Add(2*time.Minute)) {
		t.Fatal(err)
	}
	// 15 requests of 30 are its share, and a batch takes two.
	if st.Reason != "Most of Rule's budget is used up; the tills come first." || !st.Until.Equal(f.RetryAt) || counts(st) != "waiting 80%: 152 of 190, 152 written, 0 unchanged, 0 failed" {
		t.Errorf("%+v", st)
	}
	if got := m.requests(); got != "0 GET, 16 POST, 0 PUT" {
		t.Error(got)
	}
	if err := work(); fault.KindOf(err) != fault.Busy || m.requests() != "0 GET, 0 POST, 0 PUT" {
		t.Error(err)
	}
	// Only a request tells how it is by now.
	m.pass(2 * time.Minute)
	if err := work(); fault.KindOf(err) != fault.Busy || m.requests() != "0 GET, 2 POST, 0 PUT" {
		t.Error(err)
	}
	m.pass(10 * time.Minute)
	if err := work(); err != nil {
		t.Error(err)
	}
	if got := counts(m.status(i.ID)); got != "done 100%: 190 of 190, 190 written, 0 unchanged, 0 failed" {
		t.Error(got)
	}

	m = newMill(t, fakerule.Options{})
	i = m.send(many(1, 38, "5"))
	m.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		if len(m.rule.Requests()) > 2 {
			return &fakerule.Fault{Status: 429, Header: http.Header{"Retry-After": {"600"}}, Body: `"Too Many Attempts."`}
		}
		return nil
	})
	_, r, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt")
	st = m.status(i.ID)
	if f := fault.As(err); err == nil || f.Kind != fault.Busy || !f.RetryAt.Equal(m.now().Add(10*time.Minute)) || r.Calls() != 3 {
		t.Fatal(err)
	}
	if got := counts(st); got != "waiting 50%: 19 of 38, 19 written, 0 unchanged, 0 failed" || st.Reason != "Rule's limit of requests is reached." || !st.Until.Equal(m.now().Add(10*time.Minute)) {
		t.Errorf("%+v", st)
	}
	m.rule.SetFault(nil)
	m.pass(10 * time.Minute)
	m.work()
	if st = m.status(i.ID); counts(st) != "done 100%: 38 of 38, 38 written, 0 unchanged, 0 failed" || st.Reason != "" || !st.Until.IsZero() {
		t.Errorf("%+v", st)
	}
	m.settled()
}

// A delivery whose time is nearly over leaves the rest to the next one.
func TestImportTime(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	i := m.send(many(1, 38, "5"))
	ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second)
	defer cancel()
	_, _, err := m.worker.Work(ctx, m.queue[0].Body, "attempt")
	if f := fault.As(err); err == nil || f.Kind != fault.Busy || f.RetryAt.After(m.now()) || m.requests() != "0 GET, 0 POST, 0 PUT" {
		t.Errorf("%v", err)
	}
	if st := m.status(i.ID); st.State != bonus.Queued || st.Reason != "" {
		t.Errorf("%+v", st)
	}
}

// A till uses a check at any moment of an import: it stays used, in the book and
// in Rule's copy once that is completed.
func TestImportRedeemMeanwhile(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{
		"before POST /v2/subscribers 1", "before GET 1", "after GET 1", "before POST /v2/subscribers 2", "after POST /v2/subscribers 2",
	} {
		for _, beside := range []string{"", "\nk@example.com|bc-3|150"} {
			t.Run(moment+beside, func(t *testing.T) {
				t.Parallel()
				m := newMill(t, fakerule.Options{})
				id := m.has("k@example.com", "", `[{"bonuscheckid":"bc-1","value":"100.00"},{"bonuscheckid":"bc-2","value":"100.00"}]`)
				k := bonus.Key{Account: "a", Subscriber: id}
				i := m.send("email|id|value\nk@example.com|bc-1|150" + beside)
				n := map[string]int{}
				happened := false
				at := func(when, method, path string) {
					what := when + " " + method
					if method == http.MethodPost {
						what += " " + path
					}
					n[what]++
					if fmt.Sprintf("%s %d", what, n[what]) != moment {
						return
					}
					happened = true
					rest := decimal.NewFromInt(40)
					a, err := m.tills.Redeem(t.Context(), m.till(), k, bonus.Request{Kind: bonus.Check, ID: "bc-1", Order: "9001", Remaining: &rest}, "request-2")
					if err != nil || !a.Remaining.Equal(rest) {
						t.Errorf("%+v, %v", a, err)
					}
				}
				m.hook = func(method, path string, _ []byte) { at("before", method, path) }
				m.lose = func(method, path string, _ []byte) bool { at("after", method, path); return false }
				m.work()
				m.hook, m.lose = nil, nil
				st, want := m.status(i.ID), 0 // rows of bc-1 that are written: those that were, before it was used
				if strings.Contains(moment, "POST /v2/subscribers 2") {
					want++
				}
				if beside != "" {
					want++
				}
				if st.State != bonus.Done || st.Failed > 0 || st.Done != st.Rows || st.Written != want || !happened {
					t.Errorf("%+v", st)
				}
				m.syncAll()
				m.settled()
				l, err := bonus.Parse(bonus.Check, json.RawMessage(m.shows("k@example.com")))
				if err != nil {
					t.Fatal(err)
				}
				used, _ := l.Find("bc-1")
				fresh, ok := l.Find("bc-3")
				if !used.Left.Equal(decimal.NewFromInt(40)) || used.DateRedeemed == "" || ok != (beside != "") || ok && !fresh.Left.Equal(decimal.NewFromInt(150)) {
					t.Errorf("Rule shows %s", m.shows("k@example.com"))
				}
				_, err = m.tills.Redeem(t.Context(), m.till(), k, bonus.Request{Kind: bonus.Check, ID: "bc-1", Order: "9002"}, "request-3")
				if err != nil {
					t.Error(err)
				}
				a, err := m.tills.Redeem(t.Context(), m.till(), k, bonus.Request{Kind: bonus.Check, ID: "bc-1", Order: "9003"}, "request-4")
				if fault.KindOf(err) != fault.Conflict {
					t.Errorf("used a third time: %+v, %v", a, err)
				}
			})
		}
	}
}

// An import that took longer than its lease leaves alone what somebody else
// holds by now.
func TestImportLeaseOver(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	k := bonus.Key{Account: "a", Subscriber: m.has("k@example.com", "", "")}
	m.send("email|id|value\nk@example.com|bc-1|150")
	m.lose = func(_, _ string, body []byte) bool {
		if bytes.Contains(body, []byte("bonuscheckid")) {
			m.pass(3 * time.Minute)
			b, err := m.books.Get(t.Context(), k)
			b.Holder, b.Until = "till", m.now().Add(time.Minute)
			if err := errors.Join(err, m.books.Put(t.Context(), k, b)); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	m.work()
	if b, err := m.books.Get(t.Context(), k); err != nil || b.Holder != "till" {
		t.Errorf("%+v, %v", b, err)
	}
}

// What a dead till left undone in Rule's copy, an import that writes it does.
func TestImportCompletes(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	k := bonus.Key{Account: "a", Subscriber: m.has("k@example.com", "", `[{"bonuscheckid":"bc-1","value":100}]`)}
	hundred := decimal.NewFromInt(100)
	err := m.books.Put(t.Context(), k, bonus.Book{Version: 1, Entries: []bonus.Entry{
		{Kind: bonus.Check, ID: "bc-1", Opening: &hundred, Uses: []bonus.Use{{Order: "9001", Amount: hundred, Date: importing, Told: true}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.send("email|id|value\nk@example.com|bc-2|150")
	m.work()
	m.settled()
	want := `[{"bonuscheckid":"bc-1","value":100,"remaining":0.00,"redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"},{"bonuscheckid":"bc-2","value":"150.00"}]`
	if got := m.shows("k@example.com"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A subscriber whom Rule has made just now is not read, unless a book says that
// somebody else has been there meanwhile.
func TestImportFresh(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	next := m.has("k@example.com", "", "") + 1
	if err := m.books.Put(t.Context(), bonus.Key{Account: "a", Subscriber: next}, bonus.Book{}); err != nil {
		t.Fatal(err)
	}
	m.requests()
	m.send(many(1, 2, "5"))
	m.work()
	if got := m.requests(); got != "1 GET, 2 POST, 0 PUT" {
		t.Error(got)
	}
}

// An order may have used a check before it is imported: what is left is what
// the order left.
func TestImportAfterOrder(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	id := m.has("k@example.com", "", "")
	proofs := []bonus.Proof{{Kind: bonus.Check, ID: "bc-1", Order: "9001", Date: importing, Amount: decimal.NewFromInt(30)}}
	if err := m.tills.Prove(t.Context(), m.till(), bonus.Key{Account: "a", Subscriber: id}, proofs, "request"); err != nil {
		t.Fatal(err)
	}
	i := m.send("email|id|value\nk@example.com|bc-1|100")
	m.work()
	if got := counts(m.status(i.ID)); got != "done 100%: 1 of 1, 1 written, 0 unchanged, 0 failed" {
		t.Error(got)
	}
	want := `[{"bonuscheckid":"bc-1","value":"100.00","remaining":"70.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z"}]`
	if got := m.shows("k@example.com"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	m.settled()
}

// What Rule does not show of promotions is not noted as shown, since an import
// writes bonus checks only.
func TestImportBesidePromotions(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	k := bonus.Key{Account: "a", Subscriber: m.has("k@example.com", "", "")}
	if err := m.rule.SetField(fakerule.DefaultKey, k.Subscriber, 0, "Sitoo-Contact.promotions", `[{"promotionid":"p"}]`); err != nil {
		t.Fatal(err)
	}
	one := decimal.NewFromInt(1)
	err := m.books.Put(t.Context(), k, bonus.Book{Version: 1, Entries: []bonus.Entry{
		{Kind: bonus.Promotion, ID: "p", Opening: &one, Uses: []bonus.Use{{Order: "9001", Amount: one, Date: importing, Told: true}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.send("email|id|value\nk@example.com|bc-1|100")
	m.work()
	b, err := m.books.Get(t.Context(), k)
	if err != nil || b.Synced != 0 || b.Version != 1 || b.Holder != "" || m.shows("k@example.com") == "" {
		t.Errorf("%+v, %v", b, err)
	}
	m.copies = []bonus.Message{{Account: "a", Subscriber: k.Subscriber}}
	m.syncAll()
	m.settled()
}

// While a till writes a customer's checks an import keeps off, and holds up no
// other customer of the batch.
func TestImportHeldUp(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	m.has("kund1@example.com", "", "")
	id := m.has("kund2@example.com", "", "")
	until := importing.Add(time.Minute)
	if err := m.books.Put(t.Context(), bonus.Key{Account: "a", Subscriber: id}, bonus.Book{Holder: "till", Until: until}); err != nil {
		t.Fatal(err)
	}
	i := m.send(many(1, 3, "5"))
	_, _, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt")
	st := m.status(i.ID)
	if f := fault.As(err); err == nil || f.Kind != fault.Busy || !f.RetryAt.Equal(until) || st.State != bonus.Waiting || !st.Until.Equal(until) || st.Reason == "" {
		t.Errorf("%v; %+v", err, st)
	}
	for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
		b, err := m.books.Get(t.Context(), bonus.Key{Account: "a", Subscriber: s.ID})
		if f, _ := s.Field("Sitoo-Contact.bonuschecks"); err != nil || f.Value != "" || s.ID != id && b.Holder != "" {
			t.Errorf("%s: %+v, %v, %s", s.Email, b, err, f.Value)
		}
	}
	m.pass(time.Minute)
	m.work()
	if got := counts(m.status(i.ID)); got != "done 100%: 3 of 3, 3 written, 0 unchanged, 0 failed" {
		t.Error(got)
	}
	m.settled()
}

// A write that went unanswered may still arrive: nobody else writes the copies
// until it cannot any more.
func TestImportUnanswered(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	id := m.has("kund1@example.com", "", "")
	i := m.send(many(1, 1, "5"))
	m.lose = func(_, _ string, body []byte) bool { return bytes.Contains(body, []byte("bonuscheckid")) }
	_, _, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt")
	if fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	st := m.status(i.ID)
	if st.State != bonus.Waiting || st.Reason != "Rule does not answer, or not sensibly." {
		t.Errorf("%+v", st)
	}
	m.lose = nil
	b, err := m.books.Get(t.Context(), bonus.Key{Account: "a", Subscriber: id})
	if err != nil || b.Holder != "attempt" {
		t.Errorf("%+v, %v", b, err)
	}
	_, _, err = m.worker.Work(t.Context(), m.queue[0].Body, "attempt 2")
	if f := fault.As(err); err == nil || f.Kind != fault.Busy || !f.RetryAt.Equal(b.Until) {
		t.Error(err)
	}
	m.work()
	if got := counts(m.status(i.ID)); got != "done 100%: 1 of 1, 0 written, 1 unchanged, 0 failed" {
		t.Error(got)
	}
}

// Wherever the process is killed, the file sent again where it could not be
// queued, and the message delivered again: Rule ends up the same, every row is
// counted once, and no lease is left behind.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	// Two batches: those who get nothing fill the first one.
	table := `email|phone|bonuschecks
		|0701740605|[{"bonuscheckid":"bc-1","value":150}]
		|0701740605|[{"bonuscheckid":"bc-2","value":150}]
		k@example.com||[{"bonuscheckid":"bc-3","value":70},{"bonuscheckid":"bc-4","value":7}]
		d@example.com||[{"bonuscheckid":"x","value":1}]
		`
	for i := range 16 {
		table += fmt.Sprintf("nobody%d@example.com||[]\n", i)
	}
	table += `e@example.com||[{"bonuscheckid":"bc-5","value":5}]
		f@example.com||[{"bonuscheckid":"bc-6","value":6}]`
	run := func(at int) (m *mill, steps []string, rule string) {
		m = newMill(t, fakerule.Options{Budget: 100_000})
		id := m.has("k@example.com", "+46701740605", `[{"bonuscheckid":"bc-1","value":100},{"bonuscheckid":"bc-2","value":100,"x":[1]}]`)
		m.has("d@example.com", "", `damaged`)
		if _, err := m.tills.Redeem(t.Context(), m.till(), bonus.Key{Account: "a", Subscriber: id}, bonus.Request{Kind: bonus.Check, ID: "bc-1"}, "request"); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.steps, m.at = nil, at
		m.mu.Unlock()
		i := m.send(table)
		m.work()
		steps = slices.Clone(m.steps)
		m.restart()
		st := m.status(i.ID)
		if st.State != bonus.Done || st.Rows != 22 || st.Done != 22 || st.Failed != 1 || len(st.Failures) != 1 || st.Written > 4 {
			t.Errorf("killed at %d: %+v", at, st)
		}
		var b strings.Builder
		for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
			f, _ := s.Field("Sitoo-Contact.bonuschecks")
			fmt.Fprintf(&b, "%s %s %v\n", s.Email, f.Value, s.Tags)
		}
		return m, steps, b.String()
	}
	m, steps, want := run(0)
	if got := counts(m.status("import-1")); got != "done 100%: 22 of 22, 4 written, 17 unchanged, 1 failed" {
		t.Fatal(got)
	}
	m.settled()
	if len(steps) < 40 {
		t.Fatalf("only %d steps: %v", len(steps), steps)
	}
	for at := range steps {
		m, _, got := run(at + 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("killed at %s (%d): %s", steps[at], at+1, diff)
		}
		m.pass(3 * time.Minute) // leases of the dead have ended
		for _, s := range m.rule.Subscribers(fakerule.DefaultKey) {
			b, err := m.books.Get(t.Context(), bonus.Key{Account: "a", Subscriber: s.ID})
			if err != nil || b.Holder != "" && m.now().Before(b.Until) || b.Version != b.Synced {
				t.Errorf("killed at %s (%d): %+v, %v", steps[at], at+1, b, err)
			}
		}
	}
}

// A part that is put aside has its remaining rows failed, with the reason.
func TestImportGivenUp(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	i := m.send(many(1, 130, "5"))
	m.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
		if len(m.rule.Requests()) > 2 {
			return answered(http.StatusUnauthorized, `{"error":"NotAuthorized"}`)
		}
		return nil
	})
	_, _, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt")
	st := m.status(i.ID)
	if fault.KindOf(err) != fault.Unauthorized || st.State != bonus.Waiting || st.Reason != "Rule refuses the account's API key." || st.Done != 19 {
		t.Errorf("%v; %+v", err, st)
	}
	for range 2 {
		if err := m.worker.GiveUp(t.Context(), m.queue[0].Body, err); err != nil {
			t.Fatal(err)
		}
		st = m.status(i.ID)
		if got := counts(st); got != "done 100%: 130 of 130, 19 written, 0 unchanged, 111 failed" || len(st.Failures) != bonus.MaxFailures {
			t.Error(got, len(st.Failures))
		}
		if want := (bonus.Failure{Row: 21, Reason: "The import was given up. Rule refuses the account's API key."}); inWords(t, st.Failures[0]) != want {
			t.Error(st.Failures[0])
		}
	}
	m.rule.SetFault(nil)
	m.requests()
	m.worker.Session = nil // not asked for
	if _, _, err := m.worker.Work(t.Context(), m.queue[0].Body, "attempt"); err != nil || m.requests() != "0 GET, 0 POST, 0 PUT" {
		t.Error("a part that was given up is worked: ", err)
	}
	if err := m.worker.GiveUp(t.Context(), "garbage", errKilled); err != nil {
		t.Error(err)
	}
}

// What a plan takes, the worker takes; and an import with a part that cannot be
// read all the same ends, instead of waiting for it for ever.
func TestImportPartUnreadable(t *testing.T) {
	t.Parallel()
	m := newMill(t, fakerule.Options{})
	i := m.send("email|id|value|validto\na@example.com|1|5|9999-12-31")
	if _, err := bonus.DecodePart(m.queue[0].Body); err != nil {
		t.Error(err)
	}
	body := strings.Replace(m.queue[0].Body, `"5.00"`, `"five"`, 1)
	_, _, err := m.worker.Work(t.Context(), body, "attempt")
	if fault.KindOf(err) != fault.Invalid {
		t.Fatal(err)
	}
	if err := m.worker.GiveUp(t.Context(), body, err); err != nil {
		t.Fatal(err)
	}
	if got := counts(m.status(i.ID)); got != "done 100%: 1 of 1, 0 written, 0 unchanged, 1 failed" {
		t.Error(got)
	}
}

func TestImportStatus(t *testing.T) {
	t.Parallel()
	created := bonus.Import{Account: "a", ID: "i", File: "bonus.csv", Rows: 300, Customers: 300, Parts: 2, Created: importing}
	for name, c := range map[string]struct {
		queued bool
		age    time.Duration
		parts  []bonus.Part
		want   string
		reason string
	}{
		"being queued":      {false, time.Minute, nil, "queuing 0%: 0 of 300, 0 written, 0 unchanged, 0 failed", ""},
		"never queued":      {false, 16 * time.Minute, nil, "interrupted 0%: 0 of 300, 0 written, 0 unchanged, 0 failed", "The file could not be queued. Send it again: what is imported already stays as it is."},
		"queued in part":    {false, 16 * time.Minute, []bonus.Part{{Number: 1, Rows: 190, Written: 190, Finished: true}}, "interrupted 63%: 190 of 300, 190 written, 0 unchanged, 0 failed", "The file could not be queued. Send it again: what is imported already stays as it is."},
		"queued":            {true, 16 * time.Minute, nil, "queued 0%: 0 of 300, 0 written, 0 unchanged, 0 failed", ""},
		"begun":             {true, 0, []bonus.Part{{Number: 1, Rows: 190, Written: 1, Unchanged: 2, Failed: 3}}, "running 2%: 6 of 300, 1 written, 2 unchanged, 3 failed", ""},
		"waiting":           {true, 0, []bonus.Part{{Number: 1, Rows: 190, Written: 190, Finished: true}, {Number: 2, Reason: "why"}}, "waiting 63%: 190 of 300, 190 written, 0 unchanged, 0 failed", "why"},
		"all but one":       {true, 0, []bonus.Part{{Number: 1, Written: 190, Finished: true}, {Number: 2, Written: 109}}, "running 99%: 299 of 300, 299 written, 0 unchanged, 0 failed", ""},
		"done":              {true, 0, []bonus.Part{{Number: 1, Written: 190, Finished: true}, {Number: 2, Failed: 110, Finished: true}}, "done 100%: 300 of 300, 190 written, 0 unchanged, 110 failed", ""},
		"done, not noted":   {false, time.Hour, []bonus.Part{{Number: 1, Written: 190, Finished: true}, {Number: 2, Failed: 110, Finished: true}}, "done 100%: 300 of 300, 190 written, 0 unchanged, 110 failed", ""},
		"counted, not done": {true, 0, []bonus.Part{{Number: 1, Written: 190, Finished: true}, {Number: 2, Written: 110}}, "running 99%: 300 of 300, 300 written, 0 unchanged, 0 failed", ""},
	} {
		imports := &memory.Imports{}
		err := imports.Create(t.Context(), created)
		if c.queued {
			err = errors.Join(err, imports.Queue(t.Context(), "a", "i"))
		}
		for _, p := range c.parts {
			p.Failures = []bonus.Failure{{Row: 300 - p.Number}, {Row: p.Number}}
			p.Updated = importing.Add(time.Duration(p.Number) * time.Minute)
			err = errors.Join(err, imports.SavePart(t.Context(), "a", "i", p))
		}
		if err != nil {
			t.Fatal(err)
		}
		s := bonus.Importer{Imports: imports, Now: func() time.Time { return importing.Add(c.age) }}
		st, err := s.Status(t.Context(), "a", "i")
		if err != nil || counts(st) != c.want || st.Reason != c.reason || st.File != "bonus.csv" || !st.Created.Equal(importing) || st.Updated.Sub(importing) != time.Duration(len(c.parts))*time.Minute {
			t.Errorf("%s: %+v, %v; want %s", name, st, err, c.want)
		}
		if !slices.IsSortedFunc(st.Failures, func(a, b bonus.Failure) int { return a.Row - b.Row }) || len(st.Failures) != 2*len(c.parts) {
			t.Errorf("%s: %v", name, st.Failures)
		}
		for _, other := range [][2]string{{"b", "i"}, {"a", "j"}, {"a", ""}, {"a", strings.Repeat("i", 3000)}} {
			if _, err := s.Status(t.Context(), other[0], other[1]); fault.KindOf(err) != fault.NotFound || fault.As(err).Message == "" {
				t.Errorf("%.20v: %v", other, err)
			}
		}
	}
}

// An import whose parts do not reach the queue says that the file is to be sent
// again.
func TestImportNotQueued(t *testing.T) {
	t.Parallel()
	for at, left := range []bonus.State{"", bonus.Interrupted, bonus.Interrupted, bonus.Interrupted, bonus.Interrupted, bonus.Queued} {
		m := newMill(t, fakerule.Options{})
		m.at = at + 1
		p, _, _, err := planOf(many(1, 5, "5"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.importer.Start(t.Context(), "a", "request", "", p)
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.As(err).Message, "Send the file again") {
			t.Errorf("killed at %v: %v", m.steps, err)
		}
		m.restart()
		m.pass(time.Hour)
		st, err := m.importer.Status(t.Context(), "a", "import-1")
		if st.State != left || (err != nil) != (left == "") {
			t.Errorf("killed at %v: %+v, %v", m.steps, st, err)
		}
	}
}

// Every part fits a message, whatever is in it, and the parts together are the
// plan.
func TestImportParts(t *testing.T) {
	t.Parallel()
	big := func(n int) string { // customers with as many characters as they may have
		var b strings.Builder
		b.WriteString("email|id|value|description\n")
		for i := range n {
			for j := range 56 {
				fmt.Fprintf(&b, "kund%d@example.com|%d|1|%s\n", i, j, strings.Repeat("\U0001F381", 1000))
			}
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		table string
		parts int
	}{
		"as many as there may be": {many(1, 190, "5"), 1},
		"one more":                {many(1, 191, "5"), 2},
		"three":                   {many(1, 381, "5"), 3},
		"long ones":               {big(9), 3},
	} {
		m := newMill(t, fakerule.Options{})
		i := m.send(c.table)
		slices.SortFunc(m.queue, func(a, b worker.Message) int { return strings.Compare(a.Dedup, b.Dedup) })
		rows, people := 0, 0
		for n, msg := range m.queue {
			p, err := bonus.DecodePart(msg.Body)
			if err != nil {
				t.Fatal(err)
			}
			if p.Account != "a" || msg.Group != "a" || p.Import != i.ID || p.Part != n+1 || msg.Dedup != fmt.Sprintf("%s-%d", i.ID, n+1) || p.Request != "request-1" || len(msg.Body) > 1<<20-4096 {
				t.Errorf("%s: part %d of %d bytes: %s %s %d", name, n, len(msg.Body), msg.Group, msg.Dedup, p.Part)
			}
			people += len(p.Customers)
			for _, c := range p.Customers {
				rows += len(c.Lines)
			}
		}
		if i.Parts != c.parts || len(m.queue) != c.parts || rows != i.Rows || people != i.Customers {
			t.Errorf("%s: %d parts, %d rows, %d customers: %+v", name, len(m.queue), rows, people, i)
		}
	}
}

func TestDecodePart(t *testing.T) {
	t.Parallel()
	for body, ok := range map[string]bool{
		`{"account":"a","import":"i","part":1,"customers":[{"email":"a@example.com","lines":[{"row":2,"checks":[{"bonuscheckid":"1","value":5}]}]}]}`: true,
		`{"account":"a","import":"i","part":1}`:  true,
		`garbage`:                                false,
		`{"import":"i","part":1}`:                false,
		`{"account":"a","part":1}`:               false,
		`{"account":"a","import":"i"}`:           false,
		`{"account":"a","import":"i","part":-1}`: false,
		`{"account":"a","import":"i","part":1,"customers":[{"lines":[]}]}`:                                                               false,
		`{"account":"a","import":"i","part":1,"customers":[{"phone":"+46701740605","lines":[{"row":2,"checks":[7]}]}]}`:                  false,
		`{"account":"a","import":"i","part":1,"customers":[{"phone":"+46701740605","lines":[{"row":2,"checks":[{"value":7}]}]}]}`:        false,
		`{"account":"a","import":"i","part":1,"customers":[{"phone":"+46701740605","lines":[{"row":2,"checks":[{"bonuscheckid":7}]}]}]}`: false,
	} {
		m := newMill(t, fakerule.Options{})
		if _, err := bonus.DecodePart(body); (err == nil) != ok || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", body, err)
		}
		if _, _, err := m.worker.Work(t.Context(), body, "attempt"); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
	m := newMill(t, fakerule.Options{})
	m.worker.Session = func(context.Context, string) (*rule.Session, error) {
		return nil, fault.New(fault.NotFound, "There is no account with the message's account id.")
	}
	if _, _, err := m.worker.Work(t.Context(), `{"account":"b","import":"i","part":1,"customers":[{"email":"a@example.com"}]}`, "attempt"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// Whatever is on the queue, it is refused or names its customers.
func FuzzDecodePart(f *testing.F) {
	f.Add(`{"account":"a","import":"i","part":1,"request":"r","customers":[{"email":"a@example.com","lines":[{"row":2,"checks":[{"bonuscheckid":"1","value":5}]}]}]}`)
	f.Add(`{"account":"a","import":"i","part":1,"customers":[{"phone":"1","lines":[{"checks":[null,{}]}]}]}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, body string) {
		m, err := bonus.DecodePart(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Error(err)
			}
			return
		}
		for _, c := range m.Customers {
			for _, l := range c.Lines {
				raw, err := json.Marshal(l.Checks)
				if err != nil {
					t.Fatal(err)
				}
				list, err := bonus.Parse(bonus.Check, raw)
				if err != nil || list.Len() != len(l.Checks) {
					t.Errorf("%s: %v", raw, err)
				}
			}
			if c.Email+c.Phone == "" || m.Account == "" || m.Import == "" || m.Part < 1 {
				t.Errorf("%+v", m)
			}
		}
	})
}

// inWords is a failure as a person reads it. It has a code, and its Swedish.
func inWords(t *testing.T, f bonus.Failure) bonus.Failure {
	t.Helper()
	if f.Code == "" || f.Swedish == "" || strings.ContainsAny(f.Reason+f.Swedish, "{}") {
		t.Errorf("%+v has no code, or not all of its texts", f)
	}
	return bonus.Failure{Row: f.Row, Column: f.Column, Reason: f.Reason}
}
