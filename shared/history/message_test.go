package history_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/rule"
)

// shopAccount is the account of the tests.
const shopAccount = "0123456789abcdef0123456789abcdef"

// swedish is a midnight in Stockholm.
func swedish(day string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, day, rule.Stockholm)
	if err != nil {
		panic(err) // a mistake in a test's table
	}
	return t
}

// posted is what support posts, with other members in place.
func posted(members string) string {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(`{"account":"`+shopAccount+`","from":"2024-01-01","to":"2024-12-31"}`), &all); err != nil {
		panic(err)
	}
	var other map[string]json.RawMessage
	if err := json.Unmarshal([]byte(members), &other); err != nil {
		panic(err)
	}
	for name, v := range other {
		if all[name] = v; string(v) == `"-"` {
			delete(all, name)
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDecodeBackfill(t *testing.T) {
	t.Parallel()
	year := history.Spec{From: swedish("2024-01-01"), To: swedish("2025-01-01")}
	with := func(change func(*history.Spec)) history.Spec {
		s := year
		change(&s)
		return s
	}
	for body, want := range map[string]history.Start{
		posted(`{}`): {Account: shopAccount, Spec: year},
		"\n" + posted(`{"account":" `+shopAccount+` "}`) + " ":          {Account: shopAccount, Spec: year},
		posted(`{"account":"-","sitooaccount":"90001"}`):                {SitooAccount: "90001", Spec: year},
		posted(`{"account":null,"sitooaccount":90001}`):                 {SitooAccount: "90001", Spec: year},
		posted(`{"account":"","sitooaccount":90001.0}`):                 {SitooAccount: "90001", Spec: year},
		posted(`{"dryrun":true}`):                                       {Account: shopAccount, Spec: with(func(s *history.Spec) { s.DryRun = true })},
		posted(`{"dryrun":false,"customers":"known"}`):                  {Account: shopAccount, Spec: year},
		posted(`{"customers":"create","orders":null}`):                  {Account: shopAccount, Spec: with(func(s *history.Spec) { s.Create = true })},
		posted(`{"from":"2024-12-31"}`):                                 {Account: shopAccount, Spec: with(func(s *history.Spec) { s.From = swedish("2024-12-31") })},
		posted(`{"from":"-","to":"-","orders":[5,210334,7,5]}`):         {Account: shopAccount, Spec: history.Spec{Orders: []int64{5, 7, 210334}}},
		posted(`{"from":"","to":" ","orders":[210334.0,2.1e2]}`):        {Account: shopAccount, Spec: history.Spec{Orders: []int64{210, 210334}}},
		posted(`{"from":"1995-01-01"}`):                                 {Account: shopAccount, Spec: with(func(s *history.Spec) { s.From = swedish("1995-01-01") })},
		posted(`{"from":"2024-03-31","to":"2024-03-31"}`):               {Account: shopAccount, Spec: history.Spec{From: swedish("2024-03-31"), To: swedish("2024-04-01")}}, // of 23 hours
		posted(`{"from":"2024-10-27","to":"2024-10-27","orders":null}`): {Account: shopAccount, Spec: history.Spec{From: swedish("2024-10-27"), To: swedish("2024-10-28")}},
	} {
		got, step, err := history.DecodeBackfill(body)
		if err != nil || step != nil {
			t.Errorf("%s: %+v, %v", body, step, err)
			continue
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

// refused returns messages that are refused, each with the member and the
// sentence.
func refused() map[string][2]string {
	const (
		object  = `; an object such as {"account":"...","from":"2024-01-01","to":"2024-12-31"} is expected.`
		neither = "is only in what a job posts to itself, and this is no such message; what support posts has no member step"
		members = "is not known; account, label, sitooaccount, from, to, dryrun, orders, customers are"
		text    = "a text in quotation marks is expected, "
		id      = `the account's number in Rule such as "42", as the log lines show it`
		noID    = "is not an account id; " + id + " is expected"
		label   = `the label after the slash of the shop's API token, such as "fi"`
		sitoos  = `Sitoo's account id such as "90001"`
		none    = "is missing, and so is sitooaccount; one of them is expected: " + id + ", or " + sitoos
		noDay   = `is not a day; year, month and day are expected as in "2024-01-31", and no time of day`
		oneDay  = `a day such as "2024-01-31"`
		both    = "are there beside from or to; either orders, or from and to, are expected"
		list    = "a list such as [210334,210335]"
		plain   = "numbers without quotation marks are expected, " + list
		noWhole = "that is not whole, or too large; " + list + " is expected"
	)
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint(i + 1)
	}
	// chosen is what support posts for some orders.
	chosen := func(orders string) string { return posted(`{"from":"-","to":"-","orders":` + orders + `}`) }
	return map[string][2]string{
		``:                                       {"", "The message is empty" + object},
		" \n":                                    {"", "The message is empty" + object},
		`null`:                                   {"", "The message is null and not a JSON object" + object},
		` []`:                                    {"", "The message is a list and not a JSON object" + object},
		`"from 2024"`:                            {"", "The message is a text and not a JSON object" + object},
		`-7`:                                     {"", "The message is a number and not a JSON object" + object},
		`{"account":"a"`:                         {"", "The message is not JSON: it breaks off, a quotation mark, ] or } is missing at its end" + object},
		`{"account":"å"} {}`:                     {"", "The message is not JSON from character 17 on" + object},
		`from 2024 to 2025`:                      {"", "The message is not JSON from character 2 on" + object},
		`{'account':'a'}`:                        {"", "The message is not JSON from character 2 on" + object},
		"\ufeff{}":                               {"", "The message is not JSON from character 1 on" + object},
		`{"från":"å","account":”a”}`:             {"", `The message is not JSON: character 23 is a quotation mark as word processors make them, where a plain one (") is expected` + object},
		`{“account”: “a”}`:                       {"", `The message is not JSON: character 2 is a quotation mark as word processors make them, where a plain one (") is expected` + object},
		`{}`:                                     {"account", none},
		posted(`{"account":""}`):                 {"account", none},
		posted(`{"account":null}`):               {"account", none},
		posted(`{"account":{}}`):                 {"account", "is an object; " + text + id},
		posted(`{"account":"090001"}`):           {"account", noID},
		posted(`{"account":"42","label":"f i"}`): {"label", "is no label, 1 to 20 letters, digits or hyphens; " + label + " is expected"},
		posted(`{"account":"-","sitooaccount":"90001","label":"fi"}`): {"label", "is there beside sitooaccount; it belongs to account"},
		posted(`{"account":"` + strings.ToUpper(shopAccount) + `"}`):  {"account", noID},
		posted(`{"account":"` + shopAccount + `0"}`):                  {"account", noID},
		posted(`{"sitooaccount":"90001"}`):                            {"sitooaccount", "is there beside account; one of the two is expected"},
		posted(`{"account":"-","sitooaccount":90001.5}`):              {"sitooaccount", "is a number; " + text + sitoos},
		posted(`{"account":"-","sitooaccount":9007199254740992}`):     {"sitooaccount", "is a number; " + text + sitoos},
		posted(`{"account":"-","sitooaccount":["90001"]}`):            {"sitooaccount", "is a list; " + text + sitoos},
		posted(`{"account":"-","sitooaccount":-90001}`):               {"sitooaccount", "is not an account id; " + sitoos + " is expected"},
		posted(`{"account":"-","sitooaccount":"90001/sites/1"}`):      {"sitooaccount", "is not an account id; " + sitoos + " is expected"},
		posted(`{"From":"2024-01-01"}`):                               {"From", members},
		posted(`{"dry_run":true,"zzz":1}`):                            {"dry_run", members},
		posted(`{"note":null}`):                                       {"note", members},
		posted(`{"":1}`):                                              {`""`, members},
		posted(`{"` + strings.Repeat("a", 50) + `":1}`):               {strings.Repeat("a", 40) + "…", members},
		posted(`{"kund.ett@example.com":1}`):                          {"?", members}, // it could be anything
		posted(`{"0701740605":1}`):                                    {"?", members},
		posted(`{"dryrun":"yes"}`):                                    {"dryrun", "is a text; true or false is expected, without quotation marks"},
		posted(`{"dryrun":1}`):                                        {"dryrun", "is a number; true or false is expected, without quotation marks"},
		posted(`{"customers":"all"}`):                                 {"customers", `is neither "known" nor "create"; one of them is expected, in small letters`},
		posted(`{"customers":true}`):                                  {"customers", `is true; ` + text + `"known" or "create"`},
		posted(`{"from":"-"}`):                                        {"from", "is missing beside to; the first day is expected, " + oneDay},
		posted(`{"to":" "}`):                                          {"to", "is missing beside from; the last day is expected, " + oneDay},
		posted(`{"from":"-","to":null,"orders":null}`):                {"from, to", `are missing, and so are orders; two days such as "2024-01-01" and "2024-12-31", or order numbers, are expected`},
		posted(`{"from":20240101}`):                                   {"from", "is a number; " + text + oneDay},
		posted(`{"to":{"day":"2024-01-01"}}`):                         {"to", "is an object; " + text + oneDay},
		posted(`{"from":"2024-02-30"}`):                               {"from", "is 2024-02-30, a day that does not exist; one of the calendar is expected"},
		posted(`{"to":"2024-13-01"}`):                                 {"to", "is 2024-13-01, a day that does not exist; one of the calendar is expected"},
		posted(`{"from":"2024-1-1"}`):                                 {"from", noDay},
		posted(`{"from":"01/02/2024"}`):                               {"from", noDay},
		posted(`{"to":"2024-12-31T00:00:00Z"}`):                       {"to", noDay},
		posted(`{"from":"1989-12-31"}`):                               {"from", "is 1989-12-31; a day from 1990 to 2200 is expected"},
		posted(`{"to":"2201-01-01"}`):                                 {"to", "is 2201-01-01; a day from 1990 to 2200 is expected"},
		posted(`{"from":"2025-01-01"}`):                               {"to", "is 2024-12-31 and before from, which is 2025-01-01; the last day is expected"},
		posted(`{"from":"1994-12-30"}`):                               {"to", "is more than 30 years after from; several messages with a shorter period each are expected"},
		posted(`{"orders":[1]}`):                                      {"orders", both},
		posted(`{"from":"-","orders":[1]}`):                           {"orders", both},
		posted(`{"to":"-","orders":[]}`):                              {"orders", both},
		chosen(`[]`):                                                  {"orders", "is an empty list; 1 to 1000 order numbers are expected"},
		chosen(`"210334"`):                                            {"orders", "is a text; " + list + " is expected"},
		chosen(`210334`):                                              {"orders", "is a number; " + list + " is expected"},
		chosen(`[210334,"210335"]`):                                   {"orders", "has a text in place 2 of 2; " + plain},
		chosen(`[7,null,8]`):                                          {"orders", "has null in place 2 of 3; " + plain},
		chosen(`[[210334]]`):                                          {"orders", "has a list in place 1 of 1; " + plain},
		chosen(`[1.5]`):                                               {"orders", "has a number in place 1 of 1 " + noWhole},
		chosen(`[7,9007199254740992]`):                                {"orders", "has a number in place 2 of 2 " + noWhole},
		chosen(`[1e400]`):                                             {"orders", "has a number in place 1 of 1 " + noWhole},
		chosen(`[` + strings.Join(many, ",") + `]`):                   {"orders", "has 1001 order numbers; 1000 are the most in one message, so several are expected"},
		chosen(`[7,0]`):                                               {"orders", "has a number below 1 in place 2 of 2; " + list + " is expected"},
		chosen(`[-7]`):                                                {"orders", "has a number below 1 in place 1 of 1; " + list + " is expected"},
		posted(`{"step":1}`):                                          {"step", neither},
		posted(`{"step":1,"job":"a","run":0}`):                        {"step", neither},
		`{"account":"a","job":"j","run":1,"step":-1}`:                 {"step", neither},
		`{"account":"a","job":"j","run":"1","step":1}`:                {"step", neither},
		`{"account":"a","job":"j","run":1,"step":1e99}`:               {"step", neither},
	}
}

func TestDecodeBackfillRefuses(t *testing.T) {
	t.Parallel()
	for body, want := range refused() {
		start, step, err := history.DecodeBackfill(body)
		f := fault.As(err)
		if start != nil || step != nil || f == nil || f.Kind != fault.Invalid || f.Member != want[0] || f.Message != want[1] {
			t.Errorf("%.200s: %v\nwant %v", body, err, want)
		} else if strings.Contains(err.Error(), "%!") {
			t.Errorf("%.200s: %v", body, err)
		}
	}
	// Of one letter json knows only a byte, and names another letter.
	for body, want := range map[string]string{`{'a':1}`: `'\''`, `{“a”:1}`: "", `{å:1}`: ""} {
		_, _, err := history.DecodeBackfill(body)
		if cause := fault.As(err).Err; (cause == nil) != (want == "") || cause != nil && !strings.Contains(cause.Error(), want) {
			t.Errorf("%s: the cause is %v, want %q in it", body, cause, want)
		}
	}
}

func TestDecodeStep(t *testing.T) {
	t.Parallel()
	want := history.Step{Account: "a", Job: "j", Run: 2, Step: 7}
	body, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	start, got, err := history.DecodeBackfill(string(body))
	if err != nil || start != nil || *got != want {
		t.Errorf("%s: %+v, %+v, %v", body, start, got, err)
	}
	seen := map[string]bool{}
	for _, s := range []history.Step{{"a", "j", 1, 11}, {"a", "j", 11, 1}, {"a", "j1", 1, 1}, {"a", "j", 1, 1}} {
		seen[s.Dedup()] = true
	}
	if len(seen) != 4 {
		t.Errorf("steps share what a queue knows them by: %v", seen)
	}
}

func TestJobID(t *testing.T) {
	t.Parallel()
	spec := func(members string) history.Spec {
		s, _, err := history.DecodeBackfill(posted(members))
		if err != nil {
			t.Fatal(err)
		}
		return s.Spec
	}
	id := history.JobID("a", spec(`{}`))
	if len(id) != 12 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("JobID = %q, want 12 digits", id)
	}
	utc := spec(`{}`)
	utc.From, utc.To = utc.From.UTC(), utc.To.UTC()
	if got := history.JobID("a", utc); got != id {
		t.Errorf("the same job with other zones has another id")
	}
	if a, b := history.JobID("a", spec(`{"from":"-","to":"-","orders":[2,1,2]}`)), history.JobID("a", spec(`{"from":"-","to":"-","orders":[1,2]}`)); a != b {
		t.Errorf("the same orders in another order make another job")
	}
	seen := map[string]string{id: "{}", history.JobID("b", spec(`{}`)): "another account"}
	for _, members := range []string{`{"dryrun":true}`, `{"customers":"create"}`, `{"from":"2024-01-02"}`, `{"to":"2024-12-30"}`, `{"from":"-","to":"-","orders":[1,2]}`, `{"from":"-","to":"-","orders":[12]}`} {
		other := history.JobID("a", spec(members))
		if same, ok := seen[other]; ok {
			t.Errorf("%s and %s are the same job", members, same)
		}
		seen[other] = members
	}
}

// zipped is data as a part carries it.
func zipped(data string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(data)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestDecodePart(t *testing.T) {
	t.Parallel()
	orders := []json.RawMessage{json.RawMessage(`{"orderid":1,"comment":"<b>&\u2028 åäö"}`), json.RawMessage(`{"orderid":2}`)}
	m := history.PartMessage{Account: "a", Job: "j", Run: 2, Part: "p", Request: "r", Create: true, Resend: true}
	if err := m.Pack(orders); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, back, err := history.DecodePart(string(body))
	if err != nil || !cmp.Equal(got, m) || len(back) != 2 {
		t.Fatalf("DecodePart = %+v, %d orders, %v", got, len(back), err)
	}
	for i := range orders {
		var want, have any
		if json.Unmarshal(orders[i], &want) != nil || json.Unmarshal(back[i], &have) != nil || !cmp.Equal(want, have) {
			t.Errorf("order %d came back as %s", i, back[i])
		}
	}

	with := func(change func(m *history.PartMessage)) string {
		other := m
		change(&other)
		b, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	bomb := bytes.Repeat(zipped(strings.Repeat(" ", 1<<20)), 17) // gzip reads on where another begins
	for name, body := range map[string]string{
		"nothing":               ``,
		"no object":             `[]`,
		"no bytes":              `{"account":"a","job":"j","run":1,"part":"p","orders_gzip":7}`,
		"no account":            with(func(m *history.PartMessage) { m.Account = "" }),
		"no job":                with(func(m *history.PartMessage) { m.Job = "" }),
		"no run":                with(func(m *history.PartMessage) { m.Run = 0 }),
		"no part":               with(func(m *history.PartMessage) { m.Part = "" }),
		"no orders":             with(func(m *history.PartMessage) { m.Packed = nil }),
		"not compressed":        with(func(m *history.PartMessage) { m.Packed = []byte(`[{"orderid":1}]`) }),
		"breaks off":            with(func(m *history.PartMessage) { m.Packed = m.Packed[:len(m.Packed)-9] }),
		"no array":              with(func(m *history.PartMessage) { m.Packed = zipped(`{"orderid":1}`) }),
		"no JSON":               with(func(m *history.PartMessage) { m.Packed = zipped(`[{"orderid":1}`) }),
		"unpacks to 17 MiB":     with(func(m *history.PartMessage) { m.Packed = bomb }),
		"an account of numbers": `{"account":1}`,
	} {
		if _, orders, err := history.DecodePart(body); fault.KindOf(err) != fault.Invalid || orders != nil || fault.As(err).Message == "" || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: %d orders, %v; want it refused", name, len(orders), err)
		}
	}
}

// Whatever is posted is a start, a step, or refused with a sentence; and what a
// start says makes the same job when it is posted again.
func FuzzDecodeBackfill(f *testing.F) {
	for _, seed := range []string{
		posted(`{}`), posted(`{"dryrun":true,"customers":"create"}`), posted(`{"from":"-","to":"-","orders":[3,1,2]}`), posted(`{"account":"-","sitooaccount":90001}`),
		`{"account":"a","job":"j","run":1,"step":0}`, `null`, `{"orders":[null]}`, `{"step":`, posted(`{"from":"0000-00-00"}`), `{"\ud800":1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		start, step, err := history.DecodeBackfill(body)
		switch {
		case err != nil:
			if fault.KindOf(err) != fault.Invalid || fault.As(err).Message == "" || start != nil || step != nil {
				t.Errorf("%q: %v, %v, %v", body, start, step, err)
			}
		case step != nil:
			if start != nil || step.Account == "" || step.Job == "" || step.Run < 1 || step.Step < 0 {
				t.Errorf("%q: %+v", body, step)
			}
		default:
			s := start.Spec
			period := s.From.Before(s.To) && len(s.Orders) == 0
			chosen := s.From.IsZero() && s.To.IsZero() && len(s.Orders) > 0 && len(s.Orders) <= 1000 && s.Orders[0] > 0 && slices.IsSorted(s.Orders)
			if period == chosen || (start.Account == "") == (start.SitooAccount == "") {
				t.Errorf("%q: %+v", body, start)
			}
			again, _, err := history.DecodeBackfill(body)
			if err != nil || history.JobID("a", again.Spec) != history.JobID("a", s) {
				t.Errorf("%q read again is another job", body)
			}
		}
	})
}

// A part never makes the worker panic, and what it holds survives being packed
// again.
func FuzzDecodePart(f *testing.F) {
	for _, packed := range [][]byte{zipped(`[{"orderid":1},{"orderid":2}]`), zipped(`[]`), zipped(`null`), zipped(`[null,1,"a"]`), zipped(``), []byte("\x1f\x8b"), nil} {
		body, err := json.Marshal(history.PartMessage{Account: "a", Job: "j", Run: 1, Part: "p", Packed: packed})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(body))
	}
	f.Add(`{"run":1e9}`)
	f.Fuzz(func(t *testing.T, body string) {
		m, orders, err := history.DecodePart(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || fault.As(err).Message == "" || orders != nil {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if err := m.Pack(orders); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, back, err := history.DecodePart(string(again)); err != nil || len(back) != len(orders) {
			t.Errorf("%q packed again: %d orders of %d, %v", body, len(back), len(orders), err)
		}
	})
}
