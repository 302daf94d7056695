package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/local/stack"
	"sitoo-rule/local/template"
	"sitoo-rule/shared/app"
)

// product is the whole connector with Rule's stand-in behind it, on a clock that
// moves while the command sleeps.
type product struct {
	*stack.Stack
	rule  *fakerule.Server
	clock *clock
}

func newProduct(t *testing.T, o fakerule.Options) *product {
	t.Helper()
	tpl, err := template.Load("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range tpl.Functions { // no test is about how fast this machine is
		tpl.Functions[i].Timeout = 2 * time.Minute
	}
	p := &product{clock: newClock()}
	o.Keys, o.Now = []string{testKey}, p.clock.Now
	p.rule = fakerule.New(o)
	backend := httptest.NewServer(p.rule)
	t.Cleanup(backend.Close)
	p.Stack, err = stack.New(t.Context(), stack.Options{
		Template: tpl, RuleURL: backend.URL, Now: p.clock.Now, Pause: -1, Patience: time.Minute,
		Change: func(_ string, parts *app.Parts) { parts.Budget = 2 * time.Minute },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	p.clock.until = func(int) error { return p.rest() }
	return p
}

// rest brings back what waits, and waits until the queues have nothing to do.
func (p *product) rest() error {
	q, ok := p.Broker.Queue("ImportsQueue")
	if !ok {
		return errors.New("there is no ImportsQueue")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := p.Broker.Drain(ctx); err != nil {
		return err
	}
	q.Redeliver(func(queue.Message) bool { return true })
	return p.Broker.Drain(ctx)
}

// checks returns Rule's field by email address, or phone number.
func (p *product) checks() map[string]string {
	out := map[string]string{}
	for _, s := range p.rule.Subscribers(testKey) {
		f, _ := s.Field("Sitoo-Contact.bonuschecks")
		who := s.Email
		if who == "" {
			who = s.Phone
		}
		var list []struct {
			ID string `json:"bonuscheckid"`
		}
		_ = json.Unmarshal([]byte(f.Value), &list)
		var ids []string
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		out[who] = strings.Join(ids, " ")
	}
	return out
}

// file is one of three parts, with 30 customers and 60 rows; each customer's
// second row is far from the first.
func file(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("E-post;Checknummer;Belopp\n")
	for i := range 60 {
		fmt.Fprintf(&b, "kund.%d@example.com;bc-%d;100\n", i%30, i)
	}
	return write(t, "x.csv", b.String())
}

// run imports a file of parts of 20 rows, which the queue may hold one of.
func (p *product) run(t *testing.T, ctx context.Context, file string, env map[string]string) (*importing, error) {
	t.Helper()
	q, ok := p.Broker.Queue("ImportsQueue")
	if !ok {
		t.Fatal("there is no ImportsQueue")
	}
	i := &importing{limits: limits{20, maxBytes}, clock: p.clock, path: "/sitoo", env: env}
	err := i.run(t, ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := len(q.Messages()); r.Method == http.MethodPost && n > 0 {
			t.Errorf("a part is sent while %d are on the queue", n)
		}
		p.Gateway.ServeHTTP(w, r)
	}), file)
	return i, err
}

// A file of three parts through the whole connector: interrupted, gone on with,
// and sent again, every row of it is in Rule once.
func TestImport(t *testing.T) {
	t.Parallel()
	p := newProduct(t, fakerule.Options{})
	name := file(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.clock.until = func(int) error { cancel(); return ctx.Err() } // before the first part is done
	i, err := p.run(t, ctx, name, nil)
	if !errors.Is(err, errInterrupted) {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	i.says(t, "60 rows of 30 customers, in 3 parts", "Part 1 of 3 is queued and goes on by itself", "PART=2")
	if err := p.rest(); err != nil {
		t.Fatal(err)
	}
	p.clock.until = func(int) error { return p.rest() }
	if i, err = p.run(t, t.Context(), name, map[string]string{"PART": "2"}); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	i.says(t, "66 %  40 of 60 rows, 0 failed; part 2 of 3 is done", "40 rows done: 40 written, 0 unchanged, 0 failed")
	want := map[string]string{}
	for n := range 30 {
		want[fmt.Sprintf("kund.%d@example.com", n)] = fmt.Sprintf("bc-%d bc-%d", n, n+30)
	}
	if diff := cmp.Diff(want, p.checks()); diff != "" {
		t.Errorf("in Rule (-want +got):\n%s", diff)
	}
	if i, err = p.run(t, t.Context(), name, nil); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	i.says(t, "60 rows done: 0 written, 60 unchanged, 0 failed")
	if diff := cmp.Diff(want, p.checks()); diff != "" {
		t.Errorf("in Rule after the second time (-want +got):\n%s", diff)
	}
}

// Rows that fail at Rule are shown with their numbers in the file, and the run
// has failed; what an import waits for is shown.
func TestFailedRows(t *testing.T) {
	t.Parallel()
	p := newProduct(t, fakerule.Options{Budget: 40})
	name := file(t)
	if i, err := p.run(t, t.Context(), name, nil); err != nil {
		t.Fatalf("error %v\n%s", err, i.out.String())
	}
	for _, s := range p.rule.Subscribers(testKey) {
		if s.Email == "kund.17@example.com" {
			if err := p.rule.SetField(testKey, s.ID, 0, "Sitoo-Contact.bonuschecks", "broken"); err != nil {
				t.Fatal(err)
			}
		}
	}
	i, err := p.run(t, t.Context(), name, nil)
	if !errors.Is(err, errFailed) {
		t.Errorf("error %v, want %v", err, errFailed)
	}
	i.says(t, "row 19: The customer's bonus checks cannot be read", "row 49: The customer's bonus checks cannot be read",
		"60 rows done: 0 written, 58 unchanged, 2 failed", "Most of Rule's budget is used up; the tills come first.", "waiting until")
}

// Files in which other programs do what is seldom seen are imported as the
// connector takes them, or refused with what to do before anything is sent.
func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("../../shared/sheet/testdata/others/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	want := map[string]string{
		"1904-x15-workbookPr.xlsx": "x-2", "inlinestr-with-v.xlsx": "x-3", "macroman-lowercase.csv": "mac-1", "embedded-workbook-first.xls": "right-1",
		"embedded-word.xls": "right-1", "stream-Book-biff8.xls": "right-1", "sst-count-too-large.xls": "sst-1", "sheetjs-content-type.xlsx": "x-1",
		"surrogates.xlsx": "x-4", "heading-tom.csv": "tom-1",
	}
	refused := map[string]string{
		"utf8-doubleencoded.csv": "F1 holds letters that were read in the wrong encoding before",
		"id-scientific.csv":      `row 3, column B bonuscheckid: "7,35001E+12" is an id in scientific notation`,
	}
	for _, file := range names {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProduct(t, fakerule.Options{})
			i, err := p.run(t, t.Context(), file, nil)
			ids := ""
			for _, have := range p.checks() {
				ids += have
			}
			switch what := refused[name]; {
			case what != "" && (err == nil || !strings.Contains(i.out.String()+err.Error(), what)):
				t.Errorf("error %v, want %q\n%s", err, what, i.out.String())
			case what == "" && err != nil:
				t.Errorf("error %v\n%s", err, i.out.String())
			case ids != want[name]:
				t.Errorf("checks %q in Rule, want %q", ids, want[name])
			}
		})
	}
}
