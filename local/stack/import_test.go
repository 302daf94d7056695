package stack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/queue"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/worker"
)

// upload sends a file of bonus checks as the body of a request.
func (r *rig) upload(file []byte) answer {
	r.t.Helper()
	req := r.request(http.MethodPost, "/bonuschecks", file)
	req.Header.Set("Content-Type", "application/octet-stream")
	return r.send(req)
}

// uploadForm sends a file as a browser or curl -F does.
func (r *rig) uploadForm(file []byte, name string) answer {
	r.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	_ = form.WriteField("comment", "våren") // another field of the form
	part, err := form.CreateFormFile("file", name)
	if err != nil {
		r.t.Fatal(err)
	}
	_, _ = part.Write(file)
	_ = form.Close()
	req := r.request(http.MethodPost, "/bonuschecks", b.Bytes())
	req.Header.Set("Content-Type", form.FormDataContentType())
	return r.send(req)
}

// accepted returns the id of an import that was answered 202.
func (r *rig) accepted(a answer) string {
	r.t.Helper()
	id, _ := r.want(a, http.StatusAccepted).(map[string]any)["importid"].(string)
	if id == "" {
		r.t.Fatalf("no import id in %s", a.Body)
	}
	return id
}

// imported sends a file and works it off.
func (r *rig) imported(file []byte) bonus.Status {
	r.t.Helper()
	id := r.accepted(r.upload(file))
	r.drain()
	return r.status(id)
}

func (r *rig) status(id string) bonus.Status {
	r.t.Helper()
	var s bonus.Status
	r.decode(r.call(http.MethodGet, "/bonuschecks/imports/"+id, nil), &s)
	return s
}

// allImports are the account's, newest first.
func (r *rig) allImports() (list []bonus.Status) {
	r.t.Helper()
	r.decode(r.call(http.MethodGet, "/bonuschecks/imports", nil), &list)
	return list
}

func (r *rig) decode(a answer, out any) {
	r.t.Helper()
	r.want(a, http.StatusOK)
	if err := json.Unmarshal([]byte(a.Body), out); err != nil {
		r.t.Fatalf("%v: %s", err, a.Body)
	}
}

// progress is a status in short.
func progress(s bonus.Status) string {
	return fmt.Sprintf("%s %d%%: %d of %d, written %d, unchanged %d, failed %d", s.State, s.Percent, s.Done, s.Rows, s.Written, s.Unchanged, s.Failed)
}

func (r *rig) parts() *queue.Queue {
	q, ok := r.Broker.Queue("ImportsQueue")
	if !ok {
		r.t.Fatal("no queue ImportsQueue")
	}
	return q
}

func (r *rig) partsAside() []queue.Message {
	q, ok := r.Broker.Queue("ImportsDeadLetters")
	if !ok {
		r.t.Fatal("no queue ImportsDeadLetters")
	}
	return q.Messages()
}

// goOn lets time pass and brings back the parts of imports that wait.
func (r *rig) goOn(d time.Duration) {
	r.t.Helper()
	r.clock.Advance(d)
	r.parts().Redeliver(func(queue.Message) bool { return true })
	r.drain()
}

// inField returns a customer's bonus checks as Rule's field has them. Without an
// at sign, who is a phone number.
func (r *rig) inField(who string) []map[string]any {
	r.t.Helper()
	for _, s := range r.rule.Subscribers(key) {
		if s.Email != who && s.Phone != who {
			continue
		}
		f, ok := s.Field("Sitoo-Contact.bonuschecks")
		if !ok {
			return nil
		}
		if f.Type != "json" {
			r.t.Errorf("the field has type %s", f.Type)
		}
		var list []map[string]any
		if err := json.Unmarshal([]byte(f.Value), &list); err != nil {
			r.t.Fatalf("in Rule: %v: %s", err, f.Value)
		}
		return list
	}
	return nil
}

// ids are the ids of a customer's bonus checks in Rule, sorted.
func (r *rig) ids(who string) string {
	r.t.Helper()
	var list []string
	for _, c := range r.inField(who) {
		list = append(list, fmt.Sprint(c["bonuscheckid"]))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// everybody is all that Rule has, but for when it was written last.
func (r *rig) everybody() []fakerule.Subscriber {
	list := r.rule.Subscribers(key)
	for i := range list {
		list[i].UpdatedAt = time.Time{}
	}
	return list
}

// lines makes a text file of rows.
func lines(sep string, rows ...[]string) []byte {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(strings.Join(row, sep) + "\r\n")
	}
	return []byte(b.String())
}

// windows1252 encodes the characters that these tests use.
func windows1252(utf8 []byte) (out []byte) {
	for _, c := range string(utf8) {
		if c == '–' {
			c = 0x96
		}
		out = append(out, byte(c))
	}
	return out
}

// workbook makes an .xlsx file. What looks like an amount or a date is one.
func workbook(t *testing.T, rows ...[]string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, row := range rows {
		for j, text := range row {
			var v any = text
			if n, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64); err == nil {
				v = n
			} else if d, err := time.Parse(time.DateOnly, text); err == nil {
				v = d
			}
			cell, err := excelize.CoordinatesToCellName(j+1, i+1)
			if err == nil {
				err = f.SetCellValue("Sheet1", cell, v)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// handout is a text file with a row per customer: an email address and, as JSON,
// the ids of checks of 100 kr.
func handout(customers ...[]string) []byte {
	rows := [][]string{{"emailAddress", "Sitoo-Contact.bonuschecks"}}
	for _, c := range customers {
		var list []string
		for _, id := range c[1:] {
			list = append(list, fmt.Sprintf(`{"bonuscheckid":%q,"name":"Vårcheck","value":"100.00"}`, id))
		}
		rows = append(rows, []string{c[0], "[" + strings.Join(list, ",") + "]"})
	}
	return lines("\t", rows...)
}

// A merchant's session: a file in each format, as the body and in a form. What
// it says is in Rule and on the card; the same file again changes nothing.
func TestImportSession(t *testing.T) {
	t.Parallel()
	table := [][]string{
		{"E-post", "Mobil", "Bonuschecknummer", "Namn", "Beskrivning", "Värde", "Giltigt från", "Giltigt till", "Anteckning"},
		{"kund.fyra@example.com", "", "bc-9", "Vårcheck", "Gäller även rea – 25 %", "49,50", "2026-01-01", "2026-12-31", "x"},
		{"Kund.Ett@Example.com", "", "bc-1", "Vårcheck", "", "100", "", "", ""},
		{"", "070-174 06 99", "bc-2", "Sommarcheck", "", "1000", "2026-06-01", "2026-08-31", ""},
		{"ny@example.com", "070-174 06 98", "bc-3", "Vårcheck", "", "100", "", "", ""},
		{"ny@example.com", "", "bc-4", "Höstcheck", "", "25", "", "", ""},
	}
	const nine = `{"bonuscheckid":"bc-9","name":"Vårcheck","description":"Gäller även rea – 25 %","value":"49.50","validfrom":"2026-01-01","validto":"2026-12-31"}`
	const one = `{"bonuscheckid":"bc-1","name":"Vårcheck","value":"100.00"}`
	const two = `{"bonuscheckid":"bc-2","name":"Sommarcheck","value":"1000.00","validfrom":"2026-06-01","validto":"2026-08-31"}`
	const three = `{"bonuscheckid":"bc-3","name":"Vårcheck","value":"100.00"}`
	const four = `{"bonuscheckid":"bc-4","name":"Höstcheck","value":"25.00"}`
	perCustomer := lines(
		"\t", []string{"emailAddress", "phone_number", "Sitoo-Contact.bonuschecks", "Anteckning"},
		[]string{"kund.fyra@example.com", "", "[" + nine + "]", "x"}, []string{"Kund.Ett@Example.com", "", "[" + one + "]"},
		[]string{"", "070-174 06 99", "[" + two + "]"}, []string{"ny@example.com", "070-174 06 98", "[" + three + "]"}, []string{"ny@example.com", "", "[" + four + "]"},
	)
	for name, file := range map[string][]byte{
		"sommar.xlsx": workbook(t, table...), "sommar.csv": windows1252(lines(";", table...)), "sommar.txt": perCustomer,
	} {
		for _, form := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, form %v", name, form), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, options{seeded: true})
				send := func() answer {
					if form {
						return r.uploadForm(file, name)
					}
					return r.upload(file)
				}
				fyraHad := r.inField("kund.fyra@example.com")
				people := len(r.everybody())
				a := send()
				id := r.accepted(a)
				if diff := cmp.Diff(map[string]any{
					"importid": id, "state": "queued", "rows": 5.0, "customers": 4.0, "ignored_columns": []any{"Anteckning"},
				}, r.want(a, 202)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				r.drain()
				s := r.status(id)
				if got := progress(s); got != "done 100%: 5 of 5, written 5, unchanged 0, failed 0" || s.Customers != 4 || len(s.Failures) != 0 {
					t.Errorf("status %+v", s)
				}
				if form && s.File != name || !form && s.File != "" {
					t.Errorf("file %q", s.File)
				}
				if diff := cmp.Diff([]bonus.Status{s}, r.allImports()); diff != "" {
					t.Errorf("list (-one +list):\n%s", diff)
				}

				for who, checks := range map[string]string{
					"kund.ett@example.com": one, "+46701740699": two, "ny@example.com": three + "," + four, "+46701740698": three + "," + four,
				} {
					var want []map[string]any
					if err := json.Unmarshal([]byte("["+checks+"]"), &want); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, r.inField(who)); diff != "" {
						t.Errorf("%s in Rule (-want +got):\n%s", who, diff)
					}
				}
				var added map[string]any
				if err := json.Unmarshal([]byte(nine), &added); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(append(fyraHad, added), r.inField("kund.fyra@example.com")); diff != "" {
					t.Errorf("what fyra had, and more (-want +got):\n%s", diff)
				}
				if got := r.shown(); got["bc-9"] != "49.50" || got[hundred] != "100.00" {
					t.Errorf("card %v", got)
				}

				// New customers have the house tag, and nobody's flow has started.
				all := r.everybody()
				if len(all) != people+2 {
					t.Errorf("%d new customers, want 2", len(all)-people)
				}
				for _, s := range all[people:] {
					if diff := cmp.Diff([]string{"Sitoo"}, s.Tags); diff != "" || len(s.Suppressions) != 0 {
						t.Errorf("tags %v, suppressions %v", s.Tags, s.Suppressions)
					}
				}
				if n := r.rule.Automations(key); len(n) != 0 {
					t.Errorf("automations fired: %v", n)
				}

				// The same file again.
				var mu sync.Mutex
				wrote := 0
				r.rule.SetFault(func(q *http.Request, body []byte) *fakerule.Fault {
					mu.Lock()
					defer mu.Unlock()
					if q.Method != http.MethodGet && bytes.Contains(body, []byte(`"fields"`)) {
						wrote++
					}
					return nil
				})
				r.clock.Advance(time.Minute)
				second := r.accepted(send())
				r.drain()
				if got := progress(r.status(second)); got != "done 100%: 5 of 5, written 0, unchanged 5, failed 0" {
					t.Errorf("the second time: %s", got)
				}
				if diff := cmp.Diff(all, r.everybody()); diff != "" || wrote != 0 {
					t.Errorf("%d writes of fields, and Rule differs:\n%s", wrote, diff)
				}
				if list := r.allImports(); len(list) != 2 || list[0].ID != second || list[1].ID != id {
					t.Errorf("list %+v", list)
				}
				if n := len(r.parts().Messages()) + len(r.partsAside()); n != 0 {
					t.Errorf("%d messages are left", n)
				}
				// Nothing of the import is in a till's way.
				r.want(r.redeem("POST", bonusPath("bc-9"), `{"orderid":1}`), 200)
				if got := r.inRule("bc-9"); got["redeemed"] != true || got["remaining"] != "0.00" {
					t.Errorf("used right after, in Rule %v", got)
				}
				for _, secret := range []string{"kund.", "ny@", "740699", key} {
					if strings.Contains(r.logs.String(), secret) {
						t.Errorf("the log has %q", secret)
					}
				}
			})
		}
	}
}

// An import changes what is not used, keeps what it does not know, and never
// touches what is used: whole, in part, by an order, or according to Rule alone.
func TestImportOverExisting(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const stored = `[
		{"bonuscheckid":"new","value":100,"campaign":{"id":7,"tags":["a",null]},"name":"Gammal"},
		{"bonuscheckid":"whole","value":"100.00","campaign":"x"}, {"bonuscheckid":"part","value":"100.00","validto":"2026-12-31"}, {"bonuscheckid":"proved","value":"100.00"},
		{"bonuscheckid":"in-rule","value":"100.00","redeemed":true,"dateredeemed":"2026-01-01T10:00:00Z"}, {"bonuscheckid":"in-rule-part","value":"100.00","remaining":"10.00"},
		"what is this", {"without":"id"}
	]`
	if err := r.rule.SetField(key, 255934464, 0, "Sitoo-Contact.bonuschecks", stored); err != nil {
		t.Fatal(err)
	}
	r.want(r.redeem("POST", bonusPath("whole"), `{"orderid":1}`), 200)
	r.want(r.redeem("POST", bonusPath("part"), `{"orderid":2,"remaining":"40"}`), 200)
	r.want(r.call("POST", "/transactions", sale(3, discounted("customcrm-bonuscheckid", "proved"))), 200)
	r.drain()
	field := func() string {
		s, _ := r.rule.Subscriber(key, 255934464)
		f, _ := s.Field("Sitoo-Contact.bonuschecks")
		return f.Value
	}
	before := field()
	rows := [][]string{{"email", "bonuscheckid", "name", "value", "validto"}}
	for _, id := range []string{"new", "whole", "part", "proved", "in-rule", "in-rule-part"} {
		rows = append(rows, []string{"kund.fyra@example.com", id, "Ny", "500", "2027-01-31"})
	}
	if got := progress(r.imported(lines(",", rows...))); got != "done 100%: 6 of 6, written 1, unchanged 5, failed 0" {
		t.Errorf("status %s", got)
	}
	want := strings.Replace(before, `{"bonuscheckid":"new","value":100,"campaign":{"id":7,"tags":["a",null]},"name":"Gammal"}`,
		`{"bonuscheckid":"new","value":"500.00","campaign":{"id":7,"tags":["a",null]},"name":"Ny","validto":"2027-01-31"}`, 1)
	if got := field(); got != want {
		t.Errorf("in Rule\n%s\nwant\n%s", got, want)
	}
	if diff := cmp.Diff(map[string]string{"new": "500.00", "part": "40.00", "in-rule-part": "10.00", "P-7": "promotion"}, r.shown()); diff != "" {
		t.Errorf("card (-want +got):\n%s", diff)
	}
}

// A check that nobody has used is worth what the latest file says, however its
// remaining amount was written before.
func TestImportRevalues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ stored, file, want string }{
		"up":   {`"value":"100.00","remaining":"100.00","redeemed":false`, "500", "500.00"},
		"down": {`"value":"100.00","remaining":"100.00","redeemed":false`, "50", "50.00"},
		"bare": {`"value":100`, "50", "50.00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			if err := r.rule.SetField(key, 255934464, 0, "Sitoo-Contact.bonuschecks", `[{"bonuscheckid":"x",`+c.stored+`}]`); err != nil {
				t.Fatal(err)
			}
			r.imported(lines(",", []string{"email", "bonuscheckid", "value"}, []string{"kund.fyra@example.com", "x", c.file}))
			if got := r.shown()["x"]; got != c.want {
				t.Errorf("the card shows %q, want %q; in Rule %v", got, c.want, r.inRule("x"))
			}
			r.want(r.redeem("POST", bonusPath("x"), `{"orderid":1}`), 200)
			if got := r.inRule("x"); got["redeemed"] != true || got["remaining"] == nil {
				t.Errorf("used, in Rule %v", got)
			}
		})
	}
}

// An order uses a check before the file comes that hands it out: what is handed
// out is what is left.
func TestImportOfWhatIsUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/transactions", sale(3, discounted("customcrm-bonuscheckid", "later"))), 200)
	r.drain()
	file := lines(",", []string{"email", "bonuscheckid", "value"}, []string{"kund.fyra@example.com", "later", "250"})
	for _, want := range []string{"written 1, unchanged 0", "written 0, unchanged 1"} {
		if got := progress(r.imported(file)); got != "done 100%: 1 of 1, "+want+", failed 0" {
			t.Errorf("status %s, want %s", got, want)
		}
		if got := r.inRule("later"); got["value"] != "250.00" || got["remaining"] != "150.00" || got["redeemed"] != false {
			t.Errorf("in Rule %v", got)
		}
		if got := r.shown()["later"]; got != "150.00" {
			t.Errorf("the card shows %q", got)
		}
	}
	r.want(r.call("POST", "/transactions", sale(4, back(3))), 200)
	r.drain()
	if got := r.shown()["later"]; got != "250.00" {
		t.Errorf("after the return, the card shows %q", got)
	}
}

// A till redeems at every step of an import that hands the same check out under
// another name: it stays used, once, and the import still ends.
func TestRedeemDuringImport(t *testing.T) {
	t.Parallel()
	file := lines(",", []string{"email", "bonuscheckid", "value", "name"},
		[]string{"kund.fyra@example.com", hundred, "100", "Nytt namn"}, []string{"kund.fyra@example.com", "bc-9", "49.50", "Ny"})
	for at := 0; ; at++ {
		k := &killer{at: -1}
		var a answer
		var when string
		r := newMortalRig(t, k, options{seeded: true})
		k.instead = func(step string) {
			when = fmt.Sprintf("at step %d, %q", at, step)
			a = r.redeem("POST", bonusPath(hundred), `{"orderid":"5001","remaining":"40"}`)
		}
		r.want(r.call("GET", "/lookup_contacts", nil), 200)
		k.arm(at)
		id := r.accepted(r.upload(file))
		r.drain()
		if when == "" {
			if at < 20 {
				t.Fatalf("only %d steps: %v", at, k.steps)
			}
			return
		}
		if a.Status != 200 || !strings.Contains(a.Body, `"used":60.00,"remaining":40.00`) {
			t.Errorf("%s: the till got %d %s", when, a.Status, a.Body)
		}
		if got := r.shown(); got[hundred] != "40.00" {
			t.Errorf("%s: right after, the card shows %v", when, got)
		}
		for range 2 {
			r.goOn(4 * time.Minute)
			r.sweep()
		}
		if s := r.status(id); s.State != bonus.Done || s.Failed != 0 || s.Done != 2 {
			t.Errorf("%s: %s %s", when, progress(s), s.Reason)
		}
		if got := r.shown(); got[hundred] != "40.00" || got["bc-9"] != "49.50" {
			t.Errorf("%s: the card shows %v", when, got)
		}
		if got := r.inRule(hundred); got["remaining"] != "40.00" || got["redeemed"] != false || got["dateredeemed"] == nil {
			t.Errorf("%s: in Rule %v", when, got)
		}
		if got := r.ids("kund.fyra@example.com"); got != "BC-2025-0099 BC-2025-0100 BC-2026-0001 BC-2026-0002 bc-9" {
			t.Errorf("%s: in Rule %s", when, got)
		}
	}
}

// event is a delivery of a message to a worker.
func event(m queue.Message) []byte {
	b, _ := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{{
		MessageId: "again-" + m.ID, Body: m.Body, ReceiptHandle: "none",
		Attributes: map[string]string{"ApproximateReceiveCount": "2", "MessageGroupId": m.Group, "SentTimestamp": strconv.FormatInt(m.Sent.UnixMilli(), 10)},
	}}})
	return b
}

// Two files for the same customers at once, and a message that is delivered a
// second time while its first delivery is at work, at any step of it: everybody
// has every check once, and rows are counted once.
func TestTwoImportsAtOnce(t *testing.T) {
	t.Parallel()
	for name, other := range map[string][]byte{
		"another file": handout([]string{"ny@example.com", "b-1"}, []string{"kund.fyra@example.com", "b-2", "b-3"}, []string{"ny2@example.com", "b-4"}),
		"the same":     nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := handout([]string{"kund.fyra@example.com", "a-1"}, []string{"ny@example.com", "a-2", "a-3"})
			for at := 0; ; at++ {
				k := &killer{at: -1}
				r := newMortalRig(t, k, options{seeded: true})
				r.want(r.call("GET", "/lookup_contacts", nil), 200)
				var when, second string
				k.instead = func(step string) {
					when = fmt.Sprintf("at step %d, %q", at, step)
					// What is in the group's way is the first part, so SQS would not
					// deliver this one now; a redrive by hand can.
					messages := r.parts().Messages()
					if _, err := r.Invoke(t.Context(), "bonuscheck-import-worker", event(messages[len(messages)-1])); err != nil {
						t.Error(err)
					}
				}
				// The worker begins when both are queued.
				held := make(chan struct{})
				r.rule.SetFault(butForKeys(func(*http.Request, []byte) *fakerule.Fault { <-held; return nil }))
				first := r.accepted(r.upload(file))
				if other != nil {
					second = r.accepted(r.upload(other))
				}
				k.arm(at)
				close(held)
				r.drain()
				if when == "" {
					if at < 10 {
						t.Fatalf("only %d steps: %v", at, k.steps)
					}
					return
				}
				for range 3 {
					r.goOn(4 * time.Minute)
				}
				if got := progress(r.status(first)); !strings.HasPrefix(got, "done 100%: 2 of 2") {
					t.Errorf("%s: the first: %s", when, got)
				}
				fyras, ny := "a-1", "a-2 a-3"
				if other != nil {
					fyras, ny = "a-1 b-2 b-3", "a-2 a-3 b-1"
					if got := progress(r.status(second)); !strings.HasPrefix(got, "done 100%: 3 of 3") {
						t.Errorf("%s: the second: %s", when, got)
					}
				}
				if got := r.ids("kund.fyra@example.com"); got != "BC-2025-0099 BC-2025-0100 BC-2026-0001 BC-2026-0002 "+fyras {
					t.Errorf("%s: fyra has %s", when, got)
				}
				if got := r.ids("ny@example.com"); got != ny {
					t.Errorf("%s: ny has %s, want %s", when, got, ny)
				}
				if n := len(r.parts().Messages()) + len(r.partsAside()); n != 0 {
					t.Errorf("%s: %d messages are left", when, n)
				}
			}
		})
	}
}

// Many merchants' clerks send overlapping files at the same moment.
func TestManyImportsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	answers := make([]answer, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var customers [][]string
			for c := range 40 {
				customers = append(customers, []string{fmt.Sprintf("kund%d@example.com", (c+5*i)%50), fmt.Sprintf("f%d-%d", i, c)})
			}
			answers[i] = r.upload(handout(customers...))
		})
	}
	wg.Wait()
	r.drain()
	want := map[string]int{}
	for i, a := range answers {
		if got := progress(r.status(r.accepted(a))); got != "done 100%: 40 of 40, written 40, unchanged 0, failed 0" {
			t.Errorf("file %d: %s", i, got)
		}
		for c := range 40 {
			want[fmt.Sprintf("kund%d@example.com", (c+5*i)%50)]++
		}
	}
	for who, n := range want {
		if got := len(strings.Fields(r.ids(who))); got != n {
			t.Errorf("%s has %d checks, want %d", who, got, n)
		}
	}
}

// An import leaves half of Rule's budget to the tills: it waits, says why and
// until when, and goes on by itself; the tills notice nothing.
func TestImportLeavesBudget(t *testing.T) {
	t.Parallel()
	const budget = 300
	r := newRig(t, options{seeded: true, rule: fakerule.Options{Budget: budget}})
	list := func(id string) []byte {
		var customers [][]string
		for i := range 200 {
			customers = append(customers, []string{fmt.Sprintf("kund%d@example.com", i), id})
		}
		return handout(customers...)
	}
	if got := progress(r.imported(list("a"))); got != "done 100%: 200 of 200, written 200, unchanged 0, failed 0" {
		t.Fatalf("customers who are new: %s", got)
	}
	r.clock.Advance(11 * time.Minute)
	r.rule.ResetRequests()
	id := r.accepted(r.upload(list("b")))
	r.drain()
	s := r.status(id)
	until := r.clock.Now().Add(2 * time.Minute)
	if s.State != bonus.Waiting || s.Reason != "Most of Rule's budget is used up; the tills come first." || !s.Until.Equal(until) || s.Done == 0 || s.Done >= 200 {
		t.Errorf("%s, because %q until %s", progress(s), s.Reason, s.Until)
	}
	if n := len(r.rule.Requests()); n < budget/2 || n > budget/2+25 {
		t.Errorf("it stopped after %d requests, want about %d", n, budget/2)
	}
	for _, m := range r.parts().Messages() {
		if wait := time.Until(m.VisibleAt); m.State == queue.InFlight && (wait < time.Minute || wait > 3*time.Minute) {
			t.Errorf("a part comes again in %s, want about 2 minutes", wait)
		}
	}
	r.want(r.redeem("POST", bonusPath(hundred), `{"orderid":1}`), 200)
	rounds := 0
	for ; r.status(id).State != bonus.Done && rounds < 30; rounds++ {
		r.want(r.call("GET", "/contacts?key=0701740605", nil), 200)
		done := r.status(id).Done
		r.goOn(2*time.Minute + time.Second)
		if s := r.status(id); s.Done < done || s.State != bonus.Waiting && s.State != bonus.Done {
			t.Errorf("rows done went from %d to %d, state %s", done, s.Done, s.State)
		}
	}
	if got := progress(r.status(id)); got != "done 100%: 200 of 200, written 200, unchanged 0, failed 0" || rounds < 2 {
		t.Errorf("after %d rounds: %s", rounds, got)
	}
	for _, q := range r.rule.Requests() {
		if q.Status == http.StatusTooManyRequests {
			t.Fatalf("Rule said 429 to %s", q.Route)
		}
	}
	for i := range 200 {
		if got := r.ids(fmt.Sprintf("kund%d@example.com", i)); got != "a b" {
			t.Errorf("customer %d has %s", i, got)
		}
	}
}

// Rule blocks the account in the middle of an import: nobody calls before the
// block is over, the status says so, and then it goes on.
func TestImportDuringABlock(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	var customers [][]string
	for i := range 25 { // two batches
		customers = append(customers, []string{fmt.Sprintf("kund%d@example.com", i), "a"})
	}
	var once sync.Once
	r.rule.SetFault(func(_ *http.Request, body []byte) *fakerule.Fault {
		if bytes.Contains(body, []byte(`"fields"`)) {
			once.Do(func() { r.rule.BlockFor(key, 10*time.Minute) })
		}
		return nil
	})
	start := r.clock.Now()
	id := r.accepted(r.upload(handout(customers...)))
	r.drain()
	check := func(when string) {
		t.Helper()
		s := r.status(id)
		if got := progress(s); got != "waiting 76%: 19 of 25, written 19, unchanged 0, failed 0" || s.Reason != "Rule's limit of requests is reached." ||
			s.Until.Before(start.Add(10*time.Minute)) || s.Until.After(start.Add(11*time.Minute)) {
			t.Errorf("%s: %s because %q until %s", when, got, s.Reason, s.Until)
		}
	}
	check("told")
	r.rule.ResetRequests()
	r.goOn(5 * time.Minute)
	r.want(r.call("GET", "/contacts?key=0701740605", nil), 503)
	check("in between")
	if n := r.routes(); len(n) != 0 || r.rule.RequestsDuringBlock(key) != 0 {
		t.Errorf("requests during the block: %v", n)
	}
	r.goOn(6 * time.Minute)
	if got := progress(r.status(id)); got != "done 100%: 25 of 25, written 25, unchanged 0, failed 0" {
		t.Errorf("after the block: %s", got)
	}
}

// The process is killed at every step of an import's way, from the upload to the
// last note of the worker. The merchant sends the file again if it was not
// accepted. Whatever the step: everybody has every check once, every row is
// counted once, and a till can redeem what was handed out.
func TestImportKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	customers := [][]string{{"kund.fyra@example.com", "a-1"}, {"ny@example.com", "a-2", "a-3"}}
	for i := range 188 { // they get nothing, and fill the first of two parts
		customers = append(customers, []string{fmt.Sprintf("ingen%d@example.com", i)})
	}
	customers[30] = []string{"kund.ett@example.com", "a-4"}
	customers = append(customers, []string{"kund.tre@example.com", "a-5"})
	file := handout(customers...)
	for at := 0; ; at++ {
		k := &killer{at: -1}
		r := newMortalRig(t, k, options{seeded: true})
		r.want(r.call("GET", "/lookup_contacts", nil), 200)
		people := len(r.everybody())
		k.arm(at)
		a := r.upload(file)
		r.drain()
		step, dead := k.killed()
		k.restart()
		when := fmt.Sprintf("killed at step %d, %q", at, step)
		if !dead && at < 50 {
			t.Fatalf("only %d steps: %v", at, k.steps)
		}
		if a.Status != http.StatusAccepted {
			if a.Status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", when, a.Status, a.Body)
			}
			a = r.upload(file)
		}
		id := r.accepted(a)
		for range 4 {
			r.goOn(4 * time.Minute) // longer than a lease
		}
		s := r.status(id)
		if got := progress(s); !strings.HasPrefix(got, "done 100%: 191 of 191, ") || s.Failed != 0 || s.Reason != "" {
			t.Errorf("%s: %s %s", when, got, s.Reason)
		}
		if !dead && s.Written != 4 {
			t.Errorf("without a kill: %s", progress(s))
		}
		for _, s := range r.allImports() {
			if s.Done > s.Rows || s.Failed != 0 {
				t.Errorf("%s: another one: %s", when, progress(s))
			}
		}
		for who, want := range map[string]string{
			"kund.fyra@example.com": "BC-2025-0099 BC-2025-0100 BC-2026-0001 BC-2026-0002 a-1",
			"ny@example.com":        "a-2 a-3", "kund.ett@example.com": "a-4", "kund.tre@example.com": "a-5",
		} {
			if got := r.ids(who); got != want {
				t.Errorf("%s: %s has %s, want %s", when, who, got, want)
			}
		}
		if n := len(r.everybody()); n != people+1 {
			t.Errorf("%s: %d new customers", when, n-people)
		}
		if n := len(r.rule.Automations(key)); n != 0 {
			t.Errorf("%s: %d automations", when, n)
		}
		if n := len(r.parts().Messages()) + len(r.partsAside()); n != 0 {
			t.Errorf("%s: %d messages are left", when, n)
		}
		r.want(r.redeem("POST", bonusPath("a-1"), `{"orderid":1}`), 200)
		if got := r.inRule("a-1"); got["redeemed"] != true {
			t.Errorf("%s: redeemed, in Rule %v", when, got)
		}
		if !dead {
			return
		}
	}
}

// Rule fails at each request of an import, in every way: everybody has every
// check once.
func TestRuleFailsAnImport(t *testing.T) {
	t.Parallel()
	for name, fault := range badDays {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n++ {
				r := newRig(t, options{seeded: true, Options: patience(time.Second)})
				r.want(r.call("GET", "/lookup_contacts", nil), 200)
				struck := failOnce(r, n+1, fault) // the first one is about the key, before the file is taken
				id := r.accepted(r.upload(handout([]string{"kund.fyra@example.com", "a-1"}, []string{"ny@example.com", "a-2"})))
				r.drain()
				if !struck() {
					if n < 4 {
						t.Fatalf("only %d requests", n)
					}
					break
				}
				if s := r.status(id); s.State != bonus.Done && (s.State != bonus.Waiting || s.Reason == "") {
					t.Errorf("request %d: %s %q", n, progress(s), s.Reason)
				}
				for range 3 {
					r.goOn(11 * time.Minute)
				}
				if s := r.status(id); s.State != bonus.Done || s.Done != 2 || s.Failed != 0 || s.Reason != "" {
					t.Errorf("request %d: %s %q", n, progress(s), s.Reason)
				}
				if got := r.ids("kund.fyra@example.com"); got != "BC-2025-0099 BC-2025-0100 BC-2026-0001 BC-2026-0002 a-1" {
					t.Errorf("request %d: fyra has %s", n, got)
				}
				if got := r.ids("ny@example.com"); got != "a-2" {
					t.Errorf("request %d: ny has %s", n, got)
				}
				if a := r.rule.Automations(key); len(a) != 0 {
					t.Errorf("request %d: automations %v", n, a)
				}
				if n := len(r.parts().Messages()) + len(r.partsAside()); n != 0 {
					t.Errorf("%d messages are left", n)
				}
			}
		})
	}
}

// A file with bad rows is refused whole, and the answer lists them.
func TestImportBadRows(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{1, 30, 250} {
		t.Run(strconv.Itoa(bad), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			before := r.everybody()
			rows := [][]string{{"Mobil", "E-post", "Bonuschecknummer", "Värde"}}
			for i := range 10 {
				rows = append(rows, []string{"", fmt.Sprintf("kund%d@example.com", i), "bc", "100"})
			}
			var want []any
			for i := range bad {
				row, failure := []string{"", fmt.Sprintf("fel%d@example.com", i), "bc", "100"}, map[string]any{"row": float64(12 + i)}
				switch i % 5 {
				case 0:
					row[1] = "inte.en.adress"
					failure["column"], failure["reason"] = "B E-post", "is not a whole email address"
					failure["code"], failure["reason_sv"] = "email", "E-postadressen är inte fullständig."
				case 1:
					row[3] = "1,234"
					failure["column"], failure["reason"] = "D Värde", `"1,234" is not an amount such as 100 or 49,50`
					failure["code"], failure["args"] = "amount", map[string]any{"value": "1,234"}
					failure["reason_sv"] = "Beloppet går inte att läsa. Skriv till exempel 100 eller 49,50."
				case 2:
					row[2] = ""
					failure["column"], failure["reason"] = "C Bonuschecknummer", "is missing, the id of the bonus check is expected"
					failure["code"], failure["reason_sv"] = "id_missing", "Checkens nummer saknas."
				case 3:
					row[1] = ""
					failure["reason"] = "There is neither an email address nor a phone number in this row."
					failure["code"], failure["reason_sv"] = "person", "Raden saknar både e-post och mobilnummer."
				case 4:
					row[0] = "070-KUNDEN"
					failure["column"], failure["reason"] = "A Mobil", "is not a phone number"
					failure["code"], failure["reason_sv"] = "phone", "Det här är inget telefonnummer. Skriv till exempel 070-174 06 05."
				}
				rows = append(rows, row)
				if i < bonus.MaxFailures {
					want = append(want, failure)
				}
			}
			a := r.uploadForm(windows1252(lines(";", rows...)), "fel.csv")
			m := r.want(a, 400).(map[string]any)
			if diff := cmp.Diff(want, m["detail"]); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
			text, _ := m["message"].(string)
			if m["error"] != "invalid" || !strings.Contains(text, fmt.Sprintf("Nothing was imported: %d row", bad)) || !strings.HasSuffix(text, ".") {
				t.Errorf("error %v, message %q", m["error"], text)
			}
			r.drain()
			if diff := cmp.Diff(before, r.everybody()); diff != "" {
				t.Errorf("Rule has changed:\n%s", diff)
			}
			if n := len(r.parts().Messages()); n != 0 || len(r.allImports()) != 0 {
				t.Errorf("%d messages, imports %v", n, r.allImports())
			}
			for _, secret := range []string{"inte.en", "fel0", "KUNDEN"} {
				if strings.Contains(r.logs.String(), secret) {
					t.Errorf("the log has %q", secret)
				}
			}
		})
	}
}

// A part that cannot be brought to Rule for two days is put aside; the status
// says which rows have failed, and why. Sending the file again mends it.
func TestImportPutAside(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("GET", "/lookup_contacts", nil), 200)
	r.rule.SetFault(butForKeys(func(*http.Request, []byte) *fakerule.Fault {
		return &fakerule.Fault{Status: 500, Body: `{"error":"UnexpectedError"}`}
	}))
	file := handout([]string{"kund.fyra@example.com", "a-1"}, []string{"ny@example.com", "a-2"})
	id := r.accepted(r.upload(file))
	r.drain()
	if s := r.status(id); s.State != bonus.Waiting || s.Reason != "Rule does not answer, or not sensibly." || !s.Until.IsZero() {
		t.Errorf("%s because %q until %s", progress(s), s.Reason, s.Until)
	}
	// The queue's clock is the machine's, the worker's stands still.
	r.clock.Advance(time.Since(r.clock.Now()))
	r.goOn(47 * time.Hour)
	if n, s := len(r.partsAside()), r.status(id); n != 0 || s.State != bonus.Waiting {
		t.Fatalf("two days are not over, and %d messages are put aside; %s", n, progress(s))
	}
	r.goOn(2 * time.Hour)
	aside := r.partsAside()
	if len(aside) != 1 || aside[0].Attributes[worker.Reason] == "" || len(r.parts().Messages()) != 0 {
		t.Fatalf("%d messages are put aside, want 1 with its reason", len(aside))
	}
	s := r.status(id)
	if got := progress(s); got != "done 100%: 2 of 2, written 0, unchanged 0, failed 2" || s.Reason != "" {
		t.Errorf("%s %q", got, s.Reason)
	}
	given := bonus.Failure{
		Row: 2, Code: "given_up", Args: bonus.Args{Value: "Rule does not answer, or not sensibly."},
		Reason: "The import was given up. Rule does not answer, or not sensibly.", Swedish: "Importen gavs upp. Skicka filen igen.",
	}
	next := given
	next.Row = 3
	if diff := cmp.Diff([]bonus.Failure{given, next}, s.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	r.rule.SetFault(nil)
	r.clock.Advance(11 * time.Minute) // Rule's count of errors starts anew
	if s := r.imported(file); progress(s) != "done 100%: 2 of 2, written 2, unchanged 0, failed 0" {
		t.Errorf("sent again: %s %v", progress(s), s.Failures)
	}
}

// A row that Rule will not have fails alone, with a reason.
func TestImportRowsThatRuleRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	if err := r.rule.SetField(key, 255934463, 0, "Sitoo-Contact.bonuschecks", "[{damaged"); err != nil {
		t.Fatal(err)
	}
	s := r.imported(lines("\t", []string{"email", "phone", "id", "value"},
		[]string{"kund.fyra@example.com", "", "a-1", "100"},
		[]string{"kund.ett@example.com", "070-174 06 08", "a-1", "100"}, // the number is fyra's: the address counts
		[]string{"kund.tre@example.com", "", "a-1", "100"},              // the field is damaged
		[]string{"ny@example.com", "", "a-1", "100"},
	))
	if got := progress(s); got != "done 100%: 4 of 4, written 3, unchanged 0, failed 1" {
		t.Errorf("status %s", got)
	}
	if diff := cmp.Diff([]bonus.Failure{
		{
			Row: 4, Code: "rule_damaged", Reason: "The customer's bonus checks cannot be read: in Rule, the field Sitoo-Contact.bonuschecks is not a JSON array.",
			Swedish: "Kundens bonuscheckar går inte att läsa: fältet Sitoo-Contact.bonuschecks i Rule är ingen JSON-lista.",
		},
	}, s.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	sub, _ := r.rule.Subscriber(key, 255934463)
	if f, _ := sub.Field("Sitoo-Contact.bonuschecks"); f.Value != "[{damaged" {
		t.Errorf("the damaged field is %s", f.Value)
	}
	if got := r.ids("ny@example.com"); got != "a-1" {
		t.Errorf("ny has %s", got)
	}
}

// A check is revalued by a file while a till uses it: what the file gave is used,
// or left, whatever the moment. Fails at "bonus Put done" and the POST after it.
func TestRevaluedWhileUsed(t *testing.T) {
	t.Parallel()
	file := lines(",", []string{"email", "bonuscheckid", "value"}, []string{"kund.fyra@example.com", hundred, "150"})
	for at := 0; ; at++ {
		k := &killer{at: -1}
		var when string
		r := newMortalRig(t, k, options{seeded: true})
		k.instead = func(step string) {
			when = fmt.Sprintf("at step %d, %q", at, step)
			r.redeem("POST", bonusPath(hundred), `{"orderid":"5001","remaining":"40"}`)
		}
		r.want(r.call("GET", "/lookup_contacts", nil), 200)
		k.arm(at)
		r.accepted(r.upload(file))
		r.drain()
		if when == "" {
			return
		}
		for range 2 {
			r.goOn(4 * time.Minute)
			r.sweep()
		}
		r.want(r.redeem("DELETE", bonusPath(hundred), ""), 200)
		if got := r.inRule(hundred); got["value"] != got["remaining"] || got["dateredeemed"] != nil {
			t.Errorf("%s: used and taken back, in Rule %v", when, got)
		}
	}
}

// butForKeys lets Rule answer whether a key is good: a file is not taken before.
func butForKeys(f func(*http.Request, []byte) *fakerule.Fault) func(*http.Request, []byte) *fakerule.Fault {
	return func(q *http.Request, body []byte) *fakerule.Fault {
		if q.URL.Path == "/v2/tags" {
			return nil
		}
		return f(q, body)
	}
}
