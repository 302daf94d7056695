package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/stack"
	"sitoo-rule/shared/app"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/rule"
)

// BenchmarkImport measures a file of 50,000 bonus checks on its way to Rule: the
// check of the whole file, the queue, the worker, Rule. The naive way, in the
// same run, is one upsert for each row, one after the other, by the same client
// to the same stand-in; it overwrites what customers have. Rule's stand-in takes
// 5 ms for each answer, and its limits are off: in real life they are what an
// import waits for, and requests are what count.
//
// Where nobody is in Rule yet it also measures how much memory of what the
// template gives them the two functions need at the most, everything that Go
// holds included.
func BenchmarkImport(b *testing.B) {
	for _, f := range []importFile{
		{name: "new-customers", each: 1},
		{name: "existing-customers", each: 1, existing: true},
		{name: "3-rows-per-customer", each: 3},
	} {
		b.Run(f.name, f.run)
	}
}

// importFile is a file of bonus checks.
type importFile struct {
	name     string
	each     int  // rows of each customer, one here and one there in the file
	existing bool // whether the customers are in Rule, with a bonus check
}

// size returns how many rows a file has, and how many of them the naive way
// sends. `make bench-short` only sees to it that the benchmark works.
func (f importFile) size() (rows, naive int) {
	if flag.Lookup("test.benchtime").Value.String() == "1x" {
		return 1_900, 190
	}
	return 50_000, 2_000
}

// email is the customer's of a row.
func (f importFile) email(row, rows int) string {
	return fmt.Sprintf("kund.%d@example.com", row%((rows+f.each-1)/f.each))
}

// text returns the file.
func (f importFile) text(rows int) []byte {
	var b bytes.Buffer
	b.WriteString("E-post;Checknummer;Namn;Belopp;Giltigt till\n")
	for i := range rows {
		fmt.Fprintf(&b, "%s;bc-%d;Vårcheck;100;2099-12-31\n", f.email(i, rows), i)
	}
	return b.Bytes()
}

func (f importFile) run(b *testing.B) {
	rows, sample := f.size()
	var sent, perNaive int
	var taken, alone time.Duration
	var memory struct{ check, worker int }
	n := 0
	for b.Loop() {
		r := newRule(b)
		if f.existing {
			f.load(b, r, rows)
		}
		m := &meter{RoundTripper: distant{direct{r}, 5 * time.Millisecond}}
		t := load(b)
		w := &watched{limits: map[string]int{}, off: f.existing}
		for i, fn := range t.Functions {
			w.limits[fn.Name] = fn.MemoryMB
			t.Functions[i].Timeout = 10 * time.Minute // nothing here is about how fast this machine is
		}
		w.checked = make(chan struct{})
		s := newShop(b, r, stack.Options{
			Template: t, RuleURL: inMemory, HTTP: &http.Client{Transport: m}, Patience: time.Minute, Wrap: w.wrap,
			Change: func(_ string, p *app.Parts) { p.Budget = 10 * time.Minute },
		})
		m.take()
		begun := time.Now()
		s.file(f.text(rows), rows, w)
		taken += time.Since(begun)
		sent += m.take().requests
		memory.check, memory.worker = max(memory.check, w.check), max(memory.worker, w.worker)

		begun = time.Now()
		f.naive(b, m, rows, sample)
		alone += time.Since(begun)
		perNaive += m.take().requests
		n++
	}
	rate, naive := float64(n*rows)/taken.Seconds(), float64(n*sample)/alone.Seconds()
	requests, naively := float64(sent*1000)/float64(n*rows), float64(perNaive*1000)/float64(n*sample)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate, "rows/s")
	b.ReportMetric(rate/naive, "x-naive-rows/s")
	b.ReportMetric(requests, "rule-requests/1000rows")
	b.ReportMetric(requests/naively, "x-naive-requests")
	if !f.existing {
		b.ReportMetric(float64(memory.check), "check-%memory")
		b.ReportMetric(float64(memory.worker), "worker-%memory")
	}
}

// check is what the naive way writes, and what an existing customer has.
func check(id string) []rule.Field {
	return []rule.Field{{
		Group: customer.ContactGroup, Name: "bonuschecks", Type: rule.JSON,
		Value: json.RawMessage(`[{"bonuscheckid":"` + id + `","name":"Vårcheck","value":"100.00","validto":"2099-12-31"}]`),
	}}
}

// load makes every customer of the file one whom Rule has, with a bonus check.
func (f importFile) load(b *testing.B, r *fakerule.Server, rows int) {
	b.Helper()
	c := session(direct{r})
	var list []rule.Upsert
	for i := range rows {
		list = append(list, rule.Upsert{Email: f.email(i, rows), Fields: check("old")})
		if len(list) == rule.BulkLimit || i == rows-1 {
			if _, err := c.UpsertMany(b.Context(), list, []string{customer.Tag}); err != nil {
				b.Fatal(err)
			}
			list = list[:0]
		}
	}
}

// naive sends some rows of the file, one by one.
func (f importFile) naive(b *testing.B, m *meter, rows, sample int) {
	b.Helper()
	c := session(m)
	for i := range sample {
		u := rule.Upsert{Email: f.email(i, rows), Fields: check(fmt.Sprintf("bc-%d", i)), Tags: []string{customer.Tag}}
		if _, err := c.Upsert(b.Context(), u); err != nil {
			b.Fatal(err)
		}
	}
}

func session(web http.RoundTripper) *rule.Session {
	c := rule.New(rule.Config{URL: inMemory, HTTP: &http.Client{Transport: web}, Patience: time.Minute})
	return c.Session(fakerule.DefaultKey, time.Time{}, nil)
}

// file imports a file of new bonus checks, and waits until it is done.
func (s *shop) file(text []byte, rows int, w *watched) {
	s.b.Helper()
	var started struct {
		ID string `json:"importid"`
	}
	if err := json.Unmarshal(s.answered(http.StatusAccepted, "POST", "/bonuschecks", text), &started); err != nil {
		s.b.Fatal(err)
	}
	close(w.checked)
	s.drain()
	var st bonus.Status
	if err := json.Unmarshal(s.call("GET", "/bonuschecks/imports/"+started.ID, nil), &st); err != nil {
		s.b.Fatal(err)
	}
	if st.State != bonus.Done || st.Written != rows {
		s.b.Fatalf("%d of %d rows are written, %d unchanged, %d failed; the import is %s: %s %v", st.Written, rows, st.Unchanged, st.Failed, st.State, st.Reason, st.Failures)
	}
}

// watched measures functions' memory, in percent of what the template gives them.
type watched struct {
	limits        map[string]int
	off           bool
	checked       chan struct{} // closed when the worker may begin
	runs          int
	check, worker int
}

// wrap comes between Lambda and a function.
func (w *watched) wrap(function string, h lambda.Handler) lambda.Handler {
	switch function {
	case "bonuscheck-import":
		return invoked(func(ctx context.Context, payload []byte) (out []byte, err error) {
			w.check = w.peak(function, func() { out, err = h.Invoke(ctx, payload) })
			return out, err
		})
	case "bonuscheck-import-worker":
		return invoked(func(ctx context.Context, payload []byte) (out []byte, err error) {
			<-w.checked
			// Later ones are like the first, but Rule's stand-in has grown.
			if w.runs++; w.runs > 3 {
				return h.Invoke(ctx, payload)
			}
			w.worker = max(w.worker, w.peak(function, func() { out, err = h.Invoke(ctx, payload) }))
			return out, err
		})
	}
	return h
}

type invoked func(ctx context.Context, payload []byte) ([]byte, error)

// Invoke implements lambda.Handler.
func (f invoked) Invoke(ctx context.Context, payload []byte) ([]byte, error) { return f(ctx, payload) }

// peak returns the most memory that Go takes of the machine while do runs, in
// percent of the function's.
func (w *watched) peak(function string, do func()) int {
	if w.off {
		do()
		return 0
	}
	debug.FreeOSMemory()
	most := held()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, held())
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	do()
	close(done)
	<-ended
	return int(most * 100 / (uint64(w.limits[function]) << 20))
}

// held returns the bytes that Go has of the machine's memory.
func held() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}
