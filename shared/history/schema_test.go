package history_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/sitoo"
)

const (
	// sampleFolder has the sample events of the backfill worker.
	sampleFolder = "../../events/backfill-worker"
	schemaFile   = sampleFolder + "/schema/message.json"
)

// schema compiles the schema of what support posts. Formats are left alone, as
// most programs that read a schema leave them.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	// Also checks it against the schema of schemas.
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allows says whether the schema has nothing against a message.
func allows(s *jsonschema.Schema, body string) bool {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	return err == nil && s.Validate(v) == nil
}

// takes says whether a message is taken as one of support's, and the sentence if
// not.
func takes(body string) (bool, string) {
	start, _, err := history.DecodeBackfill(body)
	if err != nil {
		return false, err.Error()
	}
	return start != nil, ""
}

// beyond says whether a message that a schema allows is wrong in what a schema
// cannot say: a day that does not exist, and a period that ends before it begins
// or is longer than 30 years. It knows the calendar and nothing of the decoder.
func beyond(body string) bool {
	var m struct{ From, To *string }
	if json.Unmarshal([]byte(body), &m) != nil || m.From == nil || m.To == nil {
		return false
	}
	from, err := time.Parse(time.DateOnly, *m.From)
	if err != nil {
		return true
	}
	to, err := time.Parse(time.DateOnly, *m.To)
	return err != nil || to.Before(from) || to.After(from.AddDate(30, 0, 0))
}

// strict is a message in the form that the schema shows: without what is null or
// an empty text, and without blanks around a text. It is the message itself if
// that is no object. The members stay as they were spelled.
func strict(body string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &m) != nil || m == nil {
		return body
	}
	for _, name := range []string{"account", "sitooaccount", "from", "to", "orders", "customers", "dryrun"} {
		if string(m[name]) == "null" {
			delete(m, name)
		}
		var text string
		if name == "orders" || name == "dryrun" || json.Unmarshal(m[name], &text) != nil {
			continue
		}
		m[name], _ = json.Marshal(strings.TrimSpace(text)) // a text can be encoded
		if string(m[name]) == `""` {
			delete(m, name)
		}
	}
	out, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return string(out)
}

// Schema and decoder agree. Where they do not, the decoder takes a form that is
// not the strict one, or refuses what a schema cannot say.
func TestSchema(t *testing.T) {
	t.Parallel()
	const (
		same = iota
		loose
		calendar
	)
	numbers := func(n int, one string) string {
		return posted(`{"from":"-","to":"-","orders":[` + strings.Repeat(one+",", n-1) + one + `]}`)
	}
	s := schema(t)
	for _, tt := range []struct {
		body    string
		allowed bool // by the schema
		why     int  // it is not the decoder's verdict
	}{
		{posted(`{}`), true, same},
		{"\n" + posted(`{}`) + "\n", true, same},
		{posted(`{"dryrun":true,"customers":"create"}`), true, same},
		{posted(`{"dryrun":false,"customers":"known"}`), true, same},
		{posted(`{"account":"-","sitooaccount":"90001"}`), true, same},
		{posted(`{"account":"-","sitooaccount":90001}`), true, same},
		{posted(`{"account":"-","sitooaccount":9.0001e4}`), true, same},
		{posted(`{"account":"-","sitooaccount":0}`), true, same},
		{posted(`{"account":"-","sitooaccount":9007199254740991}`), true, same},
		{posted(`{"account":"-","sitooaccount":"my_shop-1"}`), true, same},
		{posted(`{"account":"-","sitooaccount":"` + strings.Repeat("9", 40) + `"}`), true, same},
		{posted(`{"from":"1990-01-01","to":"1990-01-01"}`), true, same},
		{posted(`{"from":"2199-12-31","to":"2200-12-31"}`), true, same},
		{posted(`{"from":"1994-12-31","to":"2024-12-31"}`), true, same},
		{posted(`{"from":"2024-02-29"}`), true, same},
		{numbers(1, "1"), true, same},
		{numbers(1000, "210334"), true, same},
		{numbers(2, "210334.0"), true, same},
		{numbers(1, "9007199254740991"), true, same},
		{posted(`{"from":"-","to":"-","orders":[2,1,2],"dryrun":true,"customers":"create"}`), true, same},

		{posted(`{"account":" ` + shopAccount + ` "}`), false, loose},
		{posted(`{"account":null,"sitooaccount":90001}`), false, loose},
		{posted(`{"sitooaccount":""}`), false, loose},
		{posted(`{"dryrun":null,"customers":null}`), false, loose},
		{posted(`{"customers":""}`), false, loose},
		{posted(`{"customers":"create "}`), false, loose},
		{posted(`{"orders":null}`), false, loose},
		{posted(`{"from":"","to":null,"orders":[1]}`), false, loose},
		{posted(`{"from":" 2024-01-01"}`), false, loose},

		{posted(`{"from":"2024-02-30"}`), true, calendar},
		{posted(`{"to":"2023-02-29"}`), true, calendar},
		{posted(`{"from":"2025-01-01"}`), true, calendar},
		{posted(`{"from":"1994-12-30"}`), true, calendar},

		{`{"account":"a","job":"j","run":1,"step":0}`, false, same}, // what a job posts is not for support
		{posted(`{"account":"` + shopAccount[1:] + `"}`), false, same},
		{posted(`{"account":"` + shopAccount + `0"}`), false, same},
		{posted(`{"account":"` + strings.ToUpper(shopAccount) + `"}`), false, same},
		{numbers(1001, "210334"), false, same},
		{numbers(1, "9007199254740992"), false, same},
		{numbers(1, "0"), false, same},
		{posted(`{"account":"-","sitooaccount":"` + strings.Repeat("9", 41) + `"}`), false, same},
		{posted(`{"account":"-","sitooaccount":"åhus"}`), false, same},
		{posted(`{"from":"1989-12-31"}`), false, same},
		{posted(`{"to":"2201-01-01"}`), false, same},
		{posted(`{"dry-run":true}`), false, same},
	} {
		if got := allows(s, tt.body); got != tt.allowed {
			t.Errorf("%.200s: allowed by the schema %t, want %t", tt.body, got, tt.allowed)
		}
		if got, says := takes(tt.body); got != (tt.allowed == (tt.why == same)) {
			t.Errorf("%.200s: taken %t, want %t: %s", tt.body, got, !got, says)
		}
		if got := beyond(tt.body); got != (tt.why == calendar) && tt.allowed {
			t.Errorf("%.200s: beyond a schema %t, want %t", tt.body, got, !got)
		}
		if tt.why == loose && !allows(s, strict(tt.body)) {
			t.Errorf("%.200s: the schema does not allow the strict form either, %s", tt.body, strict(tt.body))
		}
	}
	exceptions := 0
	for body := range refused() {
		if !allows(s, body) {
			continue
		}
		if exceptions++; !beyond(body) {
			t.Errorf("%.200s is refused, and the schema allows it", body)
		}
	}
	if exceptions != 3 { // no such day, before from, 30 years; the other day has month 13
		t.Errorf("the schema allows %d messages that are refused, want 3", exceptions)
	}
}

// Whatever is posted, the decoder takes it if and only if the schema allows its
// strict form and the calendar is with it. So the schema allows nothing that is
// refused, and hides nothing that works.
func TestSchemaIsTheDecoder(t *testing.T) {
	t.Parallel()
	s := schema(t)
	quoted := func(texts ...string) []string {
		out := make([]string, len(texts))
		for i, text := range texts {
			b, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			out[i] = string(b)
		}
		return out
	}
	year := func(first, last int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf(`"%d-%02d-%02d"`, rapid.IntRange(first, last).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"), rapid.IntRange(1, 28).Draw(t, "day"))
		})
	}
	list := func(of *rapid.Generator[string]) *rapid.Generator[string] {
		return rapid.Map(rapid.SliceOfN(of, 1, 4), func(all []string) string { return "[" + strings.Join(all, ",") + "]" })
	}
	whole := rapid.OneOf(
		rapid.Map(rapid.Int64Range(1, 1<<53-1), func(n int64) string { return fmt.Sprint(n) }),
		rapid.Map(rapid.IntRange(1, 400000), func(n int) string { return fmt.Sprintf("%d.0", n) }),
	)
	anyDay := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf(`"%04d-%02d-%02d"`, rapid.IntRange(1988, 2202).Draw(t, "year"), rapid.IntRange(0, 13).Draw(t, "month"), rapid.IntRange(0, 32).Draw(t, "day"))
		}),
		rapid.SampledFrom(quoted("2024-01-31", " 2024-01-31", "2024-01-31\n", "2023-02-29", "2024-1-31", "20240131", "2024-01-31T00:00:00Z", "２０２４-01-31", "+2024-01-31", "12024-01-31")),
	)
	anyNumber := rapid.OneOf(
		rapid.Map(rapid.Int64Range(-2, 1<<53+1), func(n int64) string { return fmt.Sprint(n) }),
		rapid.SampledFrom([]string{"1.5", "1e3", "1E+3", "15e-1", "150e-1", "-0", "0.0", "1e20", "9007199254740992", "9223372036854775807"}),
	)
	anything := rapid.OneOf(anyNumber, rapid.SampledFrom([]string{"null", "true", "false", "{}", "[]", `""`, `" "`, `"\ud800"`, `"\u0000"`}), rapid.Map(rapid.String(), func(text string) string { return quoted(text)[0] }))
	// What each member may be, and what may be wrong with it, or odd.
	good := map[string]*rapid.Generator[string]{
		"account":      rapid.SampledFrom(quoted(shopAccount, shopAccount, " "+shopAccount+"\t")),
		"sitooaccount": rapid.OneOf(whole, rapid.SampledFrom(quoted("90001", "90001 ", "a_b-C"))),
		"from":         year(1996, 2009), "to": year(2010, 2025),
		"orders":    list(whole),
		"customers": rapid.SampledFrom(quoted("known", "create", " create")),
		"dryrun":    rapid.SampledFrom([]string{"true", "false", "null"}),
	}
	odd := map[string]*rapid.Generator[string]{
		"account":      rapid.SampledFrom(quoted(strings.ToUpper(shopAccount), shopAccount+"\n0", shopAccount[1:])),
		"sitooaccount": rapid.OneOf(anyNumber, rapid.SampledFrom(quoted("-1", "90 001", "90001/sites/1", strings.Repeat("9", 41)))),
		"from":         anyDay, "to": anyDay,
		"orders":    list(rapid.OneOf(whole, anyNumber, rapid.SampledFrom([]string{"null", `"7"`, "true", "[1]"}))),
		"customers": rapid.SampledFrom(quoted("Known", "all", "known,create")),
		"dryrun":    rapid.SampledFrom([]string{`"true"`, "1"}),
		"From":      rapid.Just("null"), "": rapid.Just("1"), "note": rapid.Just(`"a"`), "job": rapid.Just(`"j"`),
	}
	// One as it should be, with up to two things changed.
	message := rapid.Custom(func(t *rapid.T) string {
		names := slices.Concat(
			rapid.SampledFrom([][]string{{"account"}, {"sitooaccount"}}).Draw(t, "whose"),
			rapid.SampledFrom([][]string{{"from", "to"}, {"orders"}}).Draw(t, "which"),
			rapid.SampledFrom([][]string{nil, {"customers"}, {"dryrun"}, {"customers", "dryrun"}}).Draw(t, "how"),
		)
		members := map[string]string{}
		for _, name := range names {
			members[name] = good[name].Draw(t, name)
		}
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			name := rapid.SampledFrom(slices.Sorted(maps.Keys(odd))).Draw(t, "changed")
			value := rapid.SampledFrom([]*rapid.Generator[string]{good[name], odd[name], anything, nil}).Draw(t, "change to")
			if delete(members, name); value != nil {
				members[name] = value.Draw(t, name)
			}
		}
		var all []string
		for _, name := range slices.Sorted(maps.Keys(members)) {
			all = append(all, fmt.Sprintf("%q: %s", name, members[name]))
		}
		return "{" + strings.Join(all, ",") + "}"
	})
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		body := message.Draw(t, "message")
		plain := strict(body)
		want := allows(s, plain) && !beyond(plain)
		got, says := takes(body)
		if got != want {
			t.Fatalf("%s: taken %t; its strict form is allowed by the schema %t: %s", body, got, want, says)
		}
		if allows(s, body) && !got && !beyond(body) {
			t.Fatalf("%s is allowed by the schema, and refused: %s", body, says)
		}
		seen[got]++
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("%d messages were taken and %d refused; a test of one of them alone is none", seen[true], seen[false])
	}
}

// An id that may be entered with credentials may be posted, and no other.
func TestSitooAccountIsAsEntered(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"90001", "0", " 90001 ", "My_shop-1", strings.Repeat("a", 40), strings.Repeat("a", 41), "-1", "_", "a b", "a/b", "a.b", "å", "a\n"} {
		c := sitoo.Credentials{BaseURL: "https://api.mysitoo.com", AccountID: id, Site: 1, APIID: "90001-1", Password: "demo-password"}
		_, err := c.Check(sitoo.Hosts{})
		text, jerr := json.Marshal(id)
		if jerr != nil {
			t.Fatal(jerr)
		}
		if ok, says := takes(posted(`{"account":"-","sitooaccount":` + string(text) + `}`)); ok != (err == nil) {
			t.Errorf("%q: posted %s; entered %v", id, says, err)
		}
	}
}

// The schema's own examples work, and every member is described and known.
func TestSchemaExamples(t *testing.T) {
	t.Parallel()
	s := schema(t)
	raw, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Title, Description string
		Properties         map[string]struct {
			Description string
			Examples    []json.RawMessage
		}
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, example := range doc.Examples {
		if !allows(s, string(example)) {
			t.Errorf("the schema does not allow its example %s", example)
		}
		if ok, says := takes(string(example)); !ok {
			t.Errorf("the example %s is refused: %s", example, says)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(example, &members); err != nil {
			t.Fatal(err)
		}
		for name := range members {
			shown[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(doc.Properties))
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("members of the examples (-schema +examples):\n%s", diff)
	}
	if doc.Title == "" || doc.Description == "" {
		t.Error("the schema has no title or no description")
	}
	for name, p := range doc.Properties {
		if p.Description == "" || len(p.Examples) == 0 {
			t.Errorf("%s has no description or no example", name)
		}
		// Beside what else is wanted with it.
		with := map[string]string{"account": "sitooaccount", "sitooaccount": "account", "orders": "from"}[name]
		for _, example := range p.Examples {
			members := fmt.Sprintf(`{%q:%s}`, name, example)
			if with != "" {
				members = fmt.Sprintf(`{%q:%s,%q:"-"}`, name, example, with)
			}
			if with == "from" {
				members = fmt.Sprintf(`{%q:%s,"from":"-","to":"-"}`, name, example)
			}
			if body := posted(members); !allows(s, body) {
				t.Errorf("the schema does not allow the example of %s in %s", name, body)
			} else if ok, says := takes(body); !ok {
				t.Errorf("the example of %s in %s is refused: %s", name, body, says)
			}
		}
	}
	// The sentence about a member that is not known lists those that are.
	_, _, err = history.DecodeBackfill(posted(`{"note":1}`))
	says := fault.As(err).Message
	list := strings.TrimSuffix(strings.TrimPrefix(says, "is not known; "), " are")
	if diff := cmp.Diff(names, slices.Sorted(strings.SplitSeq(list, ", "))); diff != "" {
		t.Errorf("members (-schema +%q):\n%s", says, diff)
	}
}

// The sample events that are meant to be good are allowed by the schema and
// taken; the others are not, each for its own reason. What the worker then says
// of them, local/invoke tests.
func TestSampleMessages(t *testing.T) {
	t.Parallel()
	const good = ""
	want := map[string]string{ // the member that is wrong
		"1-period": good, "2-the-same-again": good, "3-dry-run": good, "4-customers-create": good, "5-orders": good, "6-by-sitooaccount": good,
		"unknown-account": good, "unknown-sitoo-account": good, // as messages
		"account-and-sitooaccount": "sitooaccount", "neither-account": "account", "sitoos-number-as-account": good,
		"day-that-does-not-exist": "from", "to-is-before-from": "to",
		"not-json": "the message", "quotation-marks-of-a-word-processor": "the message",
		"orders-empty": "orders", "orders-with-a-text": "orders", "orders-with-from": "orders",
		"unknown-member": "dry_run",
		"step-of-no-job": "a step",
	}
	s := schema(t)
	names, err := filepath.Glob(sampleFolder + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	deliveries, posts := map[string]string{}, map[string]string{}
	for _, path := range names {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var event events.SQSEvent
		if err := json.Unmarshal(raw, &event); err != nil || len(event.Records) != 1 {
			t.Errorf("%s: %d records, %v; want one", name, len(event.Records), err)
			continue
		}
		m := event.Records[0]
		if sum := md5.Sum([]byte(m.Body)); m.Md5OfBody != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: md5OfBody is not that of its body", name)
		}
		for what, seen := range map[string]map[string]string{m.MessageId: deliveries, m.Attributes["MessageDeduplicationId"]: posts} {
			if other, ok := seen[what]; ok || what == "" {
				t.Errorf("%s and %s share the id %q", name, other, what)
			}
			seen[what] = name
		}
		start, step, err := history.DecodeBackfill(m.Body)
		switch {
		case err != nil:
			if got[name] = fault.As(err).Member; got[name] == "" {
				got[name] = "the message"
			}
		case step != nil:
			got[name] = "a step"
		case start != nil:
			got[name] = good
		}
		if ok := allows(s, m.Body); ok != (got[name] == good || beyond(m.Body)) {
			t.Errorf("%s: allowed by the schema %t, and what is wrong is %q", name, ok, got[name])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is wrong with the sample messages (-want +got):\n%s", diff)
	}
}
