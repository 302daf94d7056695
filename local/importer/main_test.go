package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/sheet"
)

const testKey = "hemlig-nyckel"

// clock is one that only sleeping moves.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
	// until is called before each sleep; its error ends the sleep.
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

// script is a connector that answers as it is told.
type script struct {
	mu      sync.Mutex
	posts   []post
	polls   int
	onPost  func(n int, w http.ResponseWriter) (answered bool) // n from 1
	onPoll  func(n int, st *bonus.Status) (code int)
	message string
}

type post struct {
	name string
	body []byte
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := r.Header.Get("Authorization"); got != "Bearer "+testKey {
		http.Error(w, `{"message":"Rule does not accept the shop's API key."}`, http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPost {
		body, _ := io.ReadAll(r.Body)
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		s.posts = append(s.posts, post{params["filename"], body})
		if s.onPost != nil && s.onPost(len(s.posts), w) {
			return
		}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"importid":"imp-%d","state":"queued"}`, len(s.posts))
		return
	}
	s.polls++
	rows := len(s.rows(len(s.posts) - 1))
	st := bonus.Status{ID: "imp", State: bonus.Done, Percent: 100, Rows: rows, Done: rows, Written: rows}
	if s.onPoll != nil {
		if code := s.onPoll(s.polls, &st); code != 0 {
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"error":"x","message":%q}`, s.message)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(st)
}

// rows returns what a part has below its headings.
func (s *script) rows(n int) [][]string {
	if n < 0 {
		return nil
	}
	t, err := sheet.Read(s.posts[n].body)
	if err != nil {
		return nil
	}
	var list [][]string
	for _, r := range t.Rows {
		list = append(list, r.Cells)
	}
	return list
}

// importing runs the command with a file against a connector.
type importing struct {
	clock  *clock
	limits limits
	path   string // of the connector on its server
	env    map[string]string
	out    bytes.Buffer
}

func (i *importing) run(t *testing.T, ctx context.Context, h http.Handler, file string) error {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	if i.clock == nil {
		i.clock = newClock()
	}
	if i.limits == (limits{}) {
		i.limits = limits{maxRows, maxBytes}
	}
	env := map[string]string{"FILE": file, "URL": server.URL + i.path, "KEY": testKey}
	for name, v := range i.env {
		env[name] = v
	}
	c := command{
		getenv: func(name string) string { return env[name] }, out: &i.out, http: server.Client(),
		now: i.clock.Now, sleep: i.clock.Sleep, limits: i.limits,
	}
	err := c.run(ctx)
	if text := i.out.String() + fmt.Sprint(err); strings.Contains(text, testKey) {
		t.Errorf("the key is shown: %s", text)
	}
	return err
}

func (i *importing) says(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(i.out.String(), w) {
			t.Errorf("it does not say %q but\n%s", w, i.out.String())
		}
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Three parts of a file with empty lines: each has the headings, and all rows of
// a customer, whichever way they name her.
const three = `email;phone;bonuscheckid;value;namn

ett@example.com;;bc-1;100;"Bonus; ""mars"""
tva@example.com;;bc-2;100;x
;070-174 06 10;bc-3;100;x

tre@example.com;;bc-4;100;x
ett@example.com;+46701740610;bc-5;100;x
fyra@example.com;;bc-6;49,50;x
`

func TestParts(t *testing.T) {
	t.Parallel()
	s := &script{}
	i := &importing{limits: limits{4, maxBytes}}
	if err := i.run(t, t.Context(), s, write(t, "vår.csv", three)); err != nil {
		t.Fatal(err)
	}
	var got [][][]string
	for n := range s.posts {
		got = append(got, s.rows(n))
		if want := fmt.Sprintf("vår.csv (part %d of 2)", n+1); s.posts[n].name != want {
			t.Errorf("name %q, want %q", s.posts[n].name, want)
		}
		if h, _ := sheet.Read(s.posts[n].body); !slices.Equal(h.Header.Cells, []string{"email", "phone", "bonuscheckid", "value", "namn"}) {
			t.Errorf("headings %q", h.Header.Cells)
		}
	}
	want := [][][]string{
		{
			{"ett@example.com", "", "bc-1", "100", `Bonus; "mars"`},
			{"tva@example.com", "", "bc-2", "100", "x"},
			{"", "070-174 06 10", "bc-3", "100", "x"},
			{"ett@example.com", "+46701740610", "bc-5", "100", "x"},
		},
		{
			{"tre@example.com", "", "bc-4", "100", "x"},
			{"fyra@example.com", "", "bc-6", "49,50", "x"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	i.says(t, "6 rows of 4 customers, in 2 parts", "100 %  6 of 6 rows, 0 failed; part 2 of 2 is done", "6 rows done: 6 written, 0 unchanged, 0 failed")
}

// Nothing is sent of a file with a bad row.
func TestBadRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"rows":         {three + "\n\nfem;;bc-7;noll;x\n;;bc-8;100;x\n", []string{"row 12, column A email: is not a whole email address", "row 12, column D value: ", "row 13: There is neither", "2 rows cannot be read"}},
		"contradicted": {three + "ett@example.com;;bc-1;200;x\n", []string{"row 10: Row 3 says something else about the same bonus check"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{}, &importing{limits: limits{3, maxBytes}}
			if err := i.run(t, t.Context(), s, write(t, "x.csv", c.content)); !errors.Is(err, errBad) {
				t.Errorf("error %v, want %v", err, errBad)
			}
			i.says(t, c.want...)
			if len(s.posts) > 0 {
				t.Errorf("%d parts were sent", len(s.posts))
			}
		})
	}
}

// Files that cannot be read, and settings that cannot be right, are refused in a
// sentence before anything is sent.
func TestRefused(t *testing.T) {
	t.Parallel()
	good := write(t, "good.csv", three)
	large := write(t, "large.xlsx", "PK\x03\x04"+strings.Repeat("x", sheet.MaxSize))
	web := write(t, "web.xls", "<html>"+strings.Repeat("x", sheet.MaxSize))
	quote := write(t, "quote.csv", "email;bonuscheckid;value;name\n"+strings.Repeat("a@example.com;x;1;"+strings.Repeat("x", 1000)+"\n", 5000)+`b@example.com;"x`+strings.Repeat("y;1\n", 20_000))
	long := write(t, "long.txt", "email\tbonuscheckid\tvalue\n"+strings.Repeat("a@example.com\tx\t1\t"+strings.Repeat("x", 1000)+"\n", 5000)+strings.Repeat("b", 3*maxRow))
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"no file":           {map[string]string{"FILE": ""}, "say which file"},
		"not there":         {map[string]string{"FILE": "no-such-file.csv"}, "no such file"},
		"a folder":          {map[string]string{"FILE": "."}, "is not a file"},
		"empty":             {map[string]string{"FILE": write(t, "empty.csv", "")}, "empty"},
		"other columns":     {map[string]string{"FILE": write(t, "x.csv", "a;b\n1;2\n")}, "columns have neither an email address nor a phone number"},
		"large workbook":    {map[string]string{"FILE": large}, "save it as .csv"},
		"a web page":        {map[string]string{"FILE": web}, "web page"},
		"open quote":        {map[string]string{"FILE": quote}, "B5002 begins with a quotation mark"},
		"a long row":        {map[string]string{"FILE": long}, "row 5002 has more than 1 MiB"},
		"no address":        {map[string]string{"URL": "api.example.com"}, "URL is not"},
		"a key in URL":      {map[string]string{"URL": "https://" + testKey + "@api.example.com/sitoo"}, "URL is not"},
		"a key in query":    {map[string]string{"URL": "https://api.example.com/sitoo?apikey=" + testKey}, "URL is not"},
		"in the clear":      {map[string]string{"URL": "http://api.example.com/sitoo"}, "https"},
		"no key":            {map[string]string{"URL": "https://api.example.com/sitoo", "KEY": ""}, "KEY="},
		"a key of two":      {map[string]string{"KEY": "a\nb"}, "KEY holds"},
		"a country":         {map[string]string{"COUNTRY": "Sverige"}, "COUNTRY"},
		"part in words":     {map[string]string{"PART": "tre"}, "PART"},
		"part 0":            {map[string]string{"PART": "0"}, "PART"},
		"a part too many":   {map[string]string{"PART": "2"}, "PART is 2, but the file makes 1 part"},
		"refused by itself": {map[string]string{"KEY": "another"}, "the connector answers 401: Rule does not accept the shop's API key."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, i := &script{}, &importing{env: c.env}
			err := i.run(t, t.Context(), s, good)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(s.posts) > 0 {
				t.Errorf("%d parts were sent", len(s.posts))
			}
		})
	}
}

// What passes is tried again, for as long as the answer asks or ever longer.
func TestAgain(t *testing.T) {
	t.Parallel()
	s := &script{message: "Rule is taking a pause."}
	s.onPost = func(n int, w http.ResponseWriter) bool {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "90")
			http.Error(w, `{"error":"busy","message":"Rule is taking a pause."}`, http.StatusServiceUnavailable)
		case 2:
			http.Error(w, "too many", http.StatusTooManyRequests)
		case 3:
			panic(http.ErrAbortHandler) // no answer at all
		case 4:
			w.Header().Set("Retry-After", "99999999999")
			w.WriteHeader(http.StatusBadGateway)
		default:
			return false
		}
		return true
	}
	s.onPoll = func(n int, st *bonus.Status) int {
		switch n {
		case 1:
			return http.StatusServiceUnavailable
		case 2:
			*st = bonus.Status{State: bonus.Queued, Rows: 6}
		case 3:
			*st = bonus.Status{State: bonus.Waiting, Rows: 6, Done: 2, Failed: 1, Reason: "Rule's limit of requests is reached.", Until: time.Date(2026, 3, 2, 9, 30, 0, 0, time.Local)}
		case 4:
			*st = bonus.Status{State: bonus.Running, Rows: 6, Done: 4, Failed: 1}
		}
		return 0
	}
	i := &importing{}
	if err := i.run(t, t.Context(), s, write(t, "x.csv", three)); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{
		90 * time.Second, 2 * time.Second, 4 * time.Second, 15 * time.Minute, // sending
		500 * time.Millisecond, time.Second, time.Second, 500 * time.Millisecond, 500 * time.Millisecond, // asking
	}
	if diff := cmp.Diff(want, i.clock.slept); diff != "" {
		t.Errorf("slept (-want +got):\n%s", diff)
	}
	i.says(t, "the connector answers 503: Rule is taking a pause.; again in 1m30s", "the connector answers 429: Too Many Requests; again in 2s", "does not answer",
		"waiting until 09:30: Rule's limit of requests is reached.", "33 %  2 of 6 rows, 1 failed; part 1 of 1 is waiting until 09:30")
}

// A connector that is away for long is given up, and it is said how to go on.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	s := &script{}
	s.onPost = func(n int, w http.ResponseWriter) bool {
		if n > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n > 1
	}
	i := &importing{limits: limits{3, maxBytes}}
	err := i.run(t, t.Context(), s, write(t, "x.csv", three))
	if err == nil || !strings.Contains(err.Error(), "given up after 44m") {
		t.Errorf("error %v", err)
	}
	i.says(t, "the same command and PART=2")
}

// The connector's word about rows is about the file's, not the part's.
func TestOriginalRows(t *testing.T) {
	t.Parallel()
	s := &script{}
	s.onPoll = func(n int, st *bonus.Status) int {
		if n == 1 {
			st.Written, st.Failed = 1, 2
			st.Failures = []bonus.Failure{{Row: 3, Reason: "In Rule, row 2 is another's."}}
		}
		return 0
	}
	s.onPost = func(n int, w http.ResponseWriter) bool {
		if n == 2 {
			http.Error(w, `{"error":"invalid","message":"Nothing was imported: 1 rows cannot be read.","detail":[{"row":4,"column":"B phone","reason":"is not the same as in row 3, which has row 99"}]}`, http.StatusBadRequest)
		}
		return n == 2
	}
	i := &importing{limits: limits{3, maxBytes}}
	err := i.run(t, t.Context(), s, write(t, "x.csv", three))
	if err == nil || !strings.Contains(err.Error(), "answers 400: Nothing was imported") {
		t.Errorf("error %v", err)
	}
	i.says(t, "row 5: In Rule, row 3 is another's.", "1 more failed row of this part",
		"row 9, column B phone: is not the same as in row 7, which has row 99", "Nothing of part 2 of 2 was imported")
}

// A part whose import the connector could not queue is sent again, three times.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	for lost, want := range map[int]string{2: "", 3: "the connector cannot queue the part"} {
		s := &script{}
		s.onPoll = func(n int, st *bonus.Status) int {
			if n <= lost {
				*st = bonus.Status{State: bonus.Interrupted, Rows: 6}
			}
			return 0
		}
		i := &importing{}
		err := i.run(t, t.Context(), s, write(t, "x.csv", three))
		if got := ""; err != nil {
			if got = err.Error(); got != want {
				t.Errorf("lost %d times: error %q, want %q", lost, got, want)
			}
		} else if want != "" {
			t.Errorf("lost %d times: no error", lost)
		}
		if len(s.posts) != 3 {
			t.Errorf("lost %d times: sent %d times, want 3", lost, len(s.posts))
		}
	}
}

// Interrupted, it says how to go on, and that way sends the rest.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	file := write(t, "x.csv", three)
	s, i := &script{}, &importing{limits: limits{2, maxBytes}, clock: newClock()}
	ctx, cancel := context.WithCancel(t.Context())
	i.clock.until = func(n int) error {
		if n == 2 {
			cancel()
		}
		return nil
	}
	if err := i.run(t, ctx, s, file); !errors.Is(err, errInterrupted) {
		t.Errorf("error %v", err)
	}
	i.says(t, "Part 2 of 3 is queued and goes on by itself", "/bonuschecks/imports/imp-2 says how far it is", "the same command and PART=3")
	i = &importing{limits: limits{2, maxBytes}, env: map[string]string{"PART": "3"}}
	if err := i.run(t, t.Context(), s, file); err != nil {
		t.Fatal(err)
	}
	i.says(t, "100 %  6 of 6 rows")
	var ids []string
	for n := range s.posts {
		for _, r := range s.rows(n) {
			ids = append(ids, r[2])
		}
	}
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"bc-1", "bc-2", "bc-3", "bc-4", "bc-5", "bc-6"}, ids); diff != "" {
		t.Errorf("sent in both runs (-want +got):\n%s", diff)
	}
}

// Interrupted before anything was sent, nothing is.
func TestInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, i := &script{}, &importing{}
	if err := i.run(t, ctx, s, write(t, "x.csv", three)); !errors.Is(err, errInterrupted) || len(s.posts) > 0 {
		t.Errorf("error %v, %d parts sent", err, len(s.posts))
	}
}

// A key that is revoked while a part is worked on: the part is on its way.
func TestRevoked(t *testing.T) {
	t.Parallel()
	s, i := &script{message: "Rule does not accept the key."}, &importing{limits: limits{3, maxBytes}}
	s.onPoll = func(int, *bonus.Status) int { return http.StatusUnauthorized }
	err := i.run(t, t.Context(), s, write(t, "x.csv", three))
	if err == nil || !strings.Contains(err.Error(), "answers 401: Rule does not accept the key.") {
		t.Errorf("error %v", err)
	}
	i.says(t, "Part 1 of 2 is queued and goes on by itself", "the same command and PART=2")
}

// A file that is another one by the time its rows are sent is not sent.
func TestChangedFile(t *testing.T) {
	t.Parallel()
	line := "kund.%d@example.com;bc-1;100;" + strings.Repeat("x", 1000) + "\n"
	var b strings.Builder
	b.WriteString("email;bonuscheckid;value;namn\n")
	for n := range 5000 {
		fmt.Fprintf(&b, line, 10_000+n)
	}
	file := write(t, "x.csv", strings.Replace(b.String(), "namn", "note", 1))
	s, i := &script{}, &importing{}
	s.onPost = func(n int, _ http.ResponseWriter) bool {
		if n == 1 {
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(b.String(), ";100;", `;";";`)), 0o600); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	if err := i.run(t, t.Context(), s, file); !errors.Is(err, errChanged) || len(s.posts) != 1 {
		t.Errorf("error %v, %d parts sent", err, len(s.posts))
	}
	i.says(t, "the same command and PART=2")
}

// An answer of something else than the connector is one that cannot be right.
func TestNotTheConnector(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Welcome</html>") },
		"JSON":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &importing{}
			if err := i.run(t, t.Context(), h, write(t, "x.csv", three)); err == nil || !strings.Contains(err.Error(), "is URL its address") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// On a terminal the line of progress is written over; no cell moves the cursor.
func TestDisplay(t *testing.T) {
	t.Parallel()
	var terminal, file bytes.Buffer
	for _, d := range []*display{{out: &terminal, terminal: true}, {out: &file}} {
		d.line("a\x1b[2J\r\nb")
		d.progress("1", " 1 %")
		d.progress("1", " 2 %")
		d.progress("1", " 2 %")
		d.line("c")
		d.progress("2", "20 %")
		d.end()
	}
	if want := "a [2J  b\n\r\x1b[K 1 %\r\x1b[K 2 %\nc\n\r\x1b[K20 %\n"; terminal.String() != want {
		t.Errorf("terminal: %q, want %q", terminal.String(), want)
	}
	if want := "a [2J  b\n 1 %\nc\n20 %\n"; file.String() != want {
		t.Errorf("file: %q, want %q", file.String(), want)
	}
}
