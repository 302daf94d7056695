package bonus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
)

// now is a Monday morning in March, winter time in Stockholm.
var now = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func parse(t testing.TB, k bonus.Kind, raw string) bonus.List {
	t.Helper()
	l, err := bonus.Parse(k, json.RawMessage(raw))
	if err != nil {
		t.Fatalf("Parse(%s) = %v", raw, err)
	}
	return l
}

func text(t testing.TB, l bonus.List) string {
	t.Helper()
	raw, err := l.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// shown is a card in short: ids with what is left of them.
func shown(list []bonus.Shown) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.ID+" "+s.Left.StringFixed(2))
	}
	return out
}

// Every check that a field can hold has its rule: it is on the card, it is not
// because it cannot be used now, or it is not because it cannot be read, which
// is logged.
func TestCard(t *testing.T) {
	t.Parallel()
	const (
		value   = "its value is not an amount"
		remains = "its remaining is not an amount up to its value"
		object  = "it is not an object"
		noID    = "it has no bonuscheckid"
		twice   = "its id is there twice"
	)
	for name, c := range map[string]struct {
		raw  string
		want []string       // what is shown
		left map[string]int // what is left out, and why
	}{
		"nothing":       {raw: ""},
		"white space":   {raw: " \n"},
		"null":          {raw: "null"},
		"an empty list": {raw: " [] "},
		"as documented": {
			raw: `[{"bonuscheckid":"bc-1001","name":"Bonus mars","description":"Tack","value":"100.00","remaining":"40.00","redeemed":false,
				"dateredeemed":"2026-03-02T09:00:00Z","validfrom":"2026-01-01","validto":"2026-12-31"}]`,
			want: []string{"bc-1001 40.00"},
		},
		"only what must be there": {raw: `[{"bonuscheckid":"a","value":"1"}]`, want: []string{"a 1.00"}},
		"numbers for texts":       {raw: `[{"bonuscheckid":1001,"name":7,"value":49.5,"remaining":10}]`, want: []string{"1001 10.00"}},
		"texts for numbers":       {raw: `[{"bonuscheckid":" a ","value":" 49.50 ","remaining":" 10 "}]`, want: []string{"a 10.00"}},
		"comma amounts":           {raw: `[{"bonuscheckid":"a","value":"49,50","remaining":"0,05"}]`, want: []string{"a 0.05"}},
		"amounts as some write them": {
			raw:  `[{"bonuscheckid":"a","value":"+5"},{"bonuscheckid":"b","value":".5"},{"bonuscheckid":"c","value":"5.000"},{"bonuscheckid":"d","value":"007"}]`,
			want: []string{"a 5.00", "b 0.50", "c 5.00", "d 7.00"},
		},
		"the largest amount": {raw: `[{"bonuscheckid":"a","value":999999999999.99}]`, want: []string{"a 999999999999.99"}},
		"amounts that are none": {
			raw: `[{"bonuscheckid":"a","value":-1},{"bonuscheckid":"b","value":1e2},{"bonuscheckid":"c","value":"1E999999999"},{"bonuscheckid":"d","value":"NaN"},
				{"bonuscheckid":"e","value":"1,2,3"},{"bonuscheckid":"f","value":true},{"bonuscheckid":"g","value":[1]},{"bonuscheckid":"h","value":{"a":1}},
				{"bonuscheckid":"i","value":"10 kr"},{"bonuscheckid":"j","value":1234567890123},{"bonuscheckid":"k","value":"1.00000000000000000000"},
				{"bonuscheckid":"l","value":null},{"bonuscheckid":"m"},{"bonuscheckid":"n","value":"1,234.50"},{"bonuscheckid":"o","value":"0x10"},{"bonuscheckid":"p","value":"1_0"}]`,
			left: map[string]int{value: 16},
		},
		"three decimals": {
			raw:  `[{"bonuscheckid":"a","value":"1.005"},{"bonuscheckid":"b","value":1.001},{"bonuscheckid":"c","value":"9","remaining":"1.005"}]`,
			left: map[string]int{value: 2, remains: 1},
		},
		"remaining more than value":      {raw: `[{"bonuscheckid":"a","value":"10","remaining":"10.01"}]`, left: map[string]int{remains: 1}},
		"remaining that is no amount":    {raw: `[{"bonuscheckid":"a","value":"10","remaining":"slut"},{"bonuscheckid":"b","value":"10","remaining":-1}]`, left: map[string]int{remains: 2}},
		"remaining that says nothing":    {raw: `[{"bonuscheckid":"a","value":"10","remaining":""},{"bonuscheckid":"b","value":"10","remaining":null}]`, want: []string{"a 10.00", "b 10.00"}},
		"worth nothing":                  {raw: `[{"bonuscheckid":"a","value":0},{"bonuscheckid":"b","value":"0.00","redeemed":false}]`},
		"nothing left":                   {raw: `[{"bonuscheckid":"a","value":10,"remaining":0}]`},
		"used, in every spelling":        {raw: `[{"bonuscheckid":"a","value":1,"redeemed":true},{"bonuscheckid":"b","value":1,"redeemed":"TRUE"},{"bonuscheckid":"c","value":1,"redeemed":1},{"bonuscheckid":"d","value":1,"redeemed":" yes "},{"bonuscheckid":"e","value":1,"redeemed":"Ja"},{"bonuscheckid":"f","value":1,"redeemed":"1"}]`},
		"used, whatever it says is left": {raw: `[{"bonuscheckid":"a","value":10,"remaining":10,"redeemed":true}]`},
		"not used, in every spelling": {
			raw:  `[{"bonuscheckid":"a","value":1,"redeemed":false},{"bonuscheckid":"b","value":1,"redeemed":"FALSE"},{"bonuscheckid":"c","value":1,"redeemed":0},{"bonuscheckid":"d","value":1,"redeemed":"nej"},{"bonuscheckid":"e","value":1,"redeemed":null},{"bonuscheckid":"f","value":1,"redeemed":""},{"bonuscheckid":"g","value":1,"redeemed":{}}]`,
			want: []string{"a 1.00", "b 1.00", "c 1.00", "d 1.00", "e 1.00", "f 1.00", "g 1.00"},
		},
		"expired":       {raw: `[{"bonuscheckid":"a","value":1,"validto":"2026-03-01"}]`},
		"not yet valid": {raw: `[{"bonuscheckid":"a","value":1,"validfrom":"2026-03-03"}]`},
		"the last day":  {raw: `[{"bonuscheckid":"a","value":1,"validfrom":"2026-03-02","validto":"2026-03-02"}]`, want: []string{"a 1.00"}},
		"until a moment": {
			raw:  `[{"bonuscheckid":"a","value":1,"validto":"2026-03-02T09:00:01Z"},{"bonuscheckid":"b","value":1,"validto":"2026-03-02T10:00:00"},{"bonuscheckid":"c","value":1,"validto":"2026-03-02 10:00:01"},{"bonuscheckid":"d","value":1,"validfrom":"2026-03-02T10:00:00+01:00"}]`,
			want: []string{"a 1.00", "c 1.00", "d 1.00"},
		},
		"dates that are none": {
			raw:  `[{"bonuscheckid":"a","value":1,"validto":"snart"},{"bonuscheckid":"b","value":1,"validfrom":"2026-02-30"},{"bonuscheckid":"c","value":1,"validto":20261231},{"bonuscheckid":"d","value":1,"validfrom":"0001-01-01"},{"bonuscheckid":"e","value":1,"validto":"9999-12-31T23:59:59Z"}]`,
			want: []string{"e 1.00"},
			left: map[string]int{"its validto is not a date": 2, "its validfrom is not a date": 2},
		},
		"the last day there is": {raw: `[{"bonuscheckid":"a","value":1,"validto":"9999-12-31"}]`, want: []string{"a 1.00"}},
		"thousands or decimals": {
			raw:  `[{"bonuscheckid":"a","value":"1,000"},{"bonuscheckid":"b","value":"1,5"},{"bonuscheckid":"c","value":"1,50"},{"bonuscheckid":"d","value":2000,"remaining":"1,500"}]`,
			want: []string{"b 1.50", "c 1.50"}, left: map[string]int{"its value is not an amount": 1, "its remaining is not an amount up to its value": 1},
		},
		"dates that say nothing": {raw: `[{"bonuscheckid":"a","value":1,"validfrom":"","validto":null}]`, want: []string{"a 1.00"}},
		"an id twice": {
			raw:  `[{"bonuscheckid":"a","value":1,"redeemed":true},{"bonuscheckid":"a","value":1},{"bonuscheckid":"b","value":1},{"bonuscheckid":"b","value":9}]`,
			want: []string{"b 1.00"}, left: map[string]int{twice: 2},
		},
		"an id twice, the first unreadable": {
			raw:  `[{"bonuscheckid":"a","value":"?"},{"bonuscheckid":"a","value":1}]`,
			left: map[string]int{value: 1, twice: 1},
		},
		"a member twice": {raw: `[{"bonuscheckid":"a","value":1,"value":2}]`, want: []string{"a 2.00"}},
		"no object":      {raw: `[7,null,"x",[],true,{"bonuscheckid":"a","value":1}]`, want: []string{"a 1.00"}, left: map[string]int{object: 5}},
		"no id": {
			raw:  `[{},{"value":1},{"bonuscheckid":"","value":1},{"bonuscheckid":null,"value":1},{"bonuscheckid":{"a":1},"value":1},{"promotionid":"p","value":1},{"bonuscheckid":"` + strings.Repeat("x", 101) + `","value":1}]`,
			left: map[string]int{noID: 7},
		},
		"the longest id": {raw: `[{"bonuscheckid":"` + strings.Repeat("x", 100) + `","value":1}]`, want: []string{strings.Repeat("x", 100) + " 1.00"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, left := bonus.Card(parse(t, bonus.Check, c.raw), bonus.Book{}, now)
			if diff := cmp.Diff(c.want, shown(got)); diff != "" {
				t.Errorf("shown: %s", diff)
			}
			for _, ordinary := range []string{"it is used", "it is worth nothing", "it is not valid yet", "it has expired"} {
				delete(left, ordinary)
			}
			if !maps.Equal(left, c.left) {
				t.Errorf("left out: %v, want %v", left, c.left)
			}
		})
	}
}

// What is shown is said in the field's own words.
func TestCardWords(t *testing.T) {
	t.Parallel()
	got, _ := bonus.Card(parse(t, bonus.Check, `[{"bonuscheckid":"a","name":"Bonus \u00e5","description":"<b>","value":"5"}]`), bonus.Book{}, now)
	want := []bonus.Shown{{ID: "a", Name: "Bonus å", Description: "<b>", Left: dec("5")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPromotionsCard(t *testing.T) {
	t.Parallel()
	raw := `[{"promotionid":"p-1","name":"Tre för två"},{"promotionid":2,"redeemed":true},{"promotionid":"p-3","value":"gratis","remaining":"0"},{"bonuscheckid":"a","value":1},
		{"promotionid":"p-4","validto":"2026-03-01"}]`
	got, left := bonus.Card(parse(t, bonus.Promotion, raw), bonus.Book{}, now)
	if want := []string{"p-1 1.00", "p-3 1.00"}; !slices.Equal(shown(got), want) {
		t.Errorf("shown %v, want %v", shown(got), want)
	}
	if want := map[string]int{"it has no promotionid": 1, "it has expired": 1, "it is used": 1}; !maps.Equal(left, want) {
		t.Errorf("left out %v, want %v", left, want)
	}
}

// A field that is no list is an error, and never rewritten: there is no List.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"not JSON": `{not json`, "half a list": `[{"bonuscheckid":"a","value":1}`, "one check alone": `{"bonuscheckid":"a","value":1}`,
		"a text": `"bc-1"`, "encoded twice": `"[{\"bonuscheckid\":\"a\",\"value\":1}]"`, "a number": `1`, "two lists": `[][]`,
		"a comma too many": `[{"bonuscheckid":"a","value":1},]`, "a page": "<html>", "a damaged check": `[{"bonuscheckid":"a","value":1,}]`,
		"too deep": strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		if l, err := bonus.Parse(bonus.Check, json.RawMessage(raw)); err == nil || l.Len() != 0 {
			t.Errorf("%s: %d checks, error %v; want none and an error", name, l.Len(), err)
		}
	}
}

// The last day ends in Stockholm, also in summer and when the clocks change.
func TestDays(t *testing.T) {
	t.Parallel()
	for day, c := range map[string]struct{ first, last string }{
		"2026-03-02": {"2026-03-01T23:00:00Z", "2026-03-02T22:59:59Z"}, // winter
		"2026-07-01": {"2026-06-30T22:00:00Z", "2026-07-01T21:59:59Z"}, // summer
		"2026-03-29": {"2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z"}, // 23 hours
		"2026-10-25": {"2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z"}, // 25 hours
		"2028-02-29": {"2028-02-28T23:00:00Z", "2028-02-29T22:59:59Z"},
	} {
		l := parse(t, bonus.Check, fmt.Sprintf(`[{"bonuscheckid":"a","value":1,"validfrom":%q,"validto":%q}]`, day, day))
		first, last := moment(t, c.first), moment(t, c.last)
		for at, want := range map[time.Time]int{first.Add(-time.Second): 0, first: 1, last: 1, last.Add(time.Second): 0} {
			if got, _ := bonus.Card(l, bonus.Book{}, at); len(got) != want {
				t.Errorf("a check for %s is shown %d times at %s, want %d", day, len(got), at, want)
			}
		}
	}
}

// A field that somebody has filled with thousands of checks does not make a
// card that no till can show; what is beyond the limits survives a rewrite.
func TestManyChecks(t *testing.T) {
	t.Parallel()
	var items []string
	for i := range 5000 {
		items = append(items, fmt.Sprintf(`{"bonuscheckid":"bc-%d","value":1}`, i))
	}
	l := parse(t, bonus.Check, "["+strings.Join(items, ",")+"]")
	got, left := bonus.Card(l, bonus.Book{}, now)
	if want := map[string]int{"there are too many": 4800}; len(got) != bonus.MaxShown || !maps.Equal(left, want) {
		t.Errorf("%d shown, left out %v; want %d and %v", len(got), left, bonus.MaxShown, want)
	}
	if _, ok := l.Find("bc-999"); !ok {
		t.Error("the thousandth check is not found")
	}
	if _, ok := l.Find("bc-1000"); ok {
		t.Error("a check beyond the limit is found")
	}
	var b bonus.Book
	use(t, &b, l, bonus.Request{Kind: bonus.Check, ID: "bc-1"})
	out, _ := l.With(b)
	items[1] = `{"bonuscheckid":"bc-1","value":1,"remaining":0.00,"redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}`
	if text(t, out) != "["+strings.Join(items, ",")+"]" {
		t.Error("the rewrite changed other checks")
	}
}

// use redeems, and fails the test if that is refused.
func use(t testing.TB, b *bonus.Book, l bonus.List, r bonus.Request) bonus.Answer {
	t.Helper()
	o, ok := l.Find(r.ID)
	a, changed, err := b.Redeem(o, ok, r, now)
	if err != nil || !changed {
		t.Fatalf("Redeem(%+v): changed %v, error %v", r, changed, err)
	}
	return a
}

func ptr(s string) *decimal.Decimal { d := dec(s); return &d }

// With writes what is about a use, and nothing else, letter by letter.
func TestWith(t *testing.T) {
	t.Parallel()
	const date = `"2026-03-02T09:00:00Z"`
	for name, c := range map[string]struct {
		raw       string
		remaining string // asked for of check a; "" for all of it
		want      string
	}{
		"only what must be there": {
			`[{"bonuscheckid":"a","value":"100.00"}]`, "40",
			`[{"bonuscheckid":"a","value":"100.00","remaining":"40.00","redeemed":false,"dateredeemed":` + date + `}]`,
		},
		"in full": {
			`[{"bonuscheckid":"a","value":"100.00","remaining":"100.00","redeemed":false,"dateredeemed":null}]`, "",
			`[{"bonuscheckid":"a","value":"100.00","remaining":"0.00","redeemed":true,"dateredeemed":` + date + `}]`,
		},
		"a number stays one": {
			`[{"dateredeemed":"","redeemed":"nej","value":100,"bonuscheckid":1}]`, "",
			`[{"dateredeemed":` + date + `,"redeemed":true,"value":100,"bonuscheckid":1,"remaining":0.00}]`,
		},
		"what says so already stays": {
			`[{"bonuscheckid":"a","value":"100,00","remaining":"100","redeemed":"FALSE"}]`, "40",
			`[{"bonuscheckid":"a","value":"100,00","remaining":"40.00","redeemed":"FALSE","dateredeemed":` + date + `}]`,
		},
		"unknown members": {
			`[{"z": {"b" : [1, 2 ,{"c":null}],"a":1.0},"bonuscheckid":"a","big":12345678901234567890.1234567890123456789e400,"value":"100","esc":"\u00e5\/\ud83d\ude00<&>","no":null,"y":[ ]}]`, "40",
			`[{"z":{"b" : [1, 2 ,{"c":null}],"a":1.0},"bonuscheckid":"a","big":12345678901234567890.1234567890123456789e400,"value":"100","esc":"\u00e5\/\ud83d\ude00<&>","no":null,"y":[ ],"remaining":"40.00","redeemed":false,"dateredeemed":` + date + `}]`,
		},
		"unknown members twice": {
			`[{"x":1,"bonuscheckid":"a","x":2,"value":"100"}]`, "40",
			`[{"x":1,"bonuscheckid":"a","x":2,"value":"100","remaining":"40.00","redeemed":false,"dateredeemed":` + date + `}]`,
		},
		"ours twice": {
			`[{"remaining":"1","bonuscheckid":"a","redeemed":true,"value":"100","remaining":"100","redeemed":false,"x":1}]`, "40",
			`[{"remaining":"40.00","bonuscheckid":"a","redeemed":true,"value":"100","redeemed":false,"x":1,"dateredeemed":` + date + `}]`,
		},
		"its neighbours": {
			`[ 7, {"bonuscheckid" : "b", "value" : 1} ,null,{"value":"x"},{"bonuscheckid":"a","value":"100"},{"bonuscheckid":"a","value":"5"},"\u00e5",[{"bonuscheckid":"a"}]]`, "40",
			`[7,{"bonuscheckid" : "b", "value" : 1},null,{"value":"x"},{"bonuscheckid":"a","value":"100","remaining":"40.00","redeemed":false,"dateredeemed":` + date + `},{"bonuscheckid":"a","value":"5"},"\u00e5",[{"bonuscheckid":"a"}]]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := parse(t, bonus.Check, c.raw)
			r := bonus.Request{Kind: bonus.Check, ID: "a", Order: "1"}
			if strings.Contains(c.raw, `"bonuscheckid":1`) {
				r.ID = "1"
			}
			if c.remaining != "" {
				r.Remaining = ptr(c.remaining)
			}
			var b bonus.Book
			if out, changed := l.With(b); changed || text(t, out) != text(t, l) {
				t.Errorf("an empty book changes %s", text(t, out))
			}
			a := use(t, &b, l, r)
			out, changed := l.With(b)
			if got := text(t, out); got != c.want || !changed {
				t.Errorf("changed %v\ngot  %s\nwant %s", changed, got, c.want)
			}
			if again, changed := out.With(b); changed || text(t, again) != c.want {
				t.Errorf("a second time: changed %v, %s", changed, text(t, again))
			}
			if again, changed := parse(t, bonus.Check, c.want).With(b); changed {
				t.Errorf("read again: changed to %s", text(t, again))
			}
			o, _ := out.Find(r.ID)
			if !o.Left.Equal(a.Remaining) {
				t.Errorf("the copy alone says %s is left, the till was told %s", o.Left, a.Remaining)
			}
		})
	}
}

// A check that was used and taken back says so: the date goes, the flag is off.
func TestWithTakenBack(t *testing.T) {
	t.Parallel()
	l := parse(t, bonus.Check, `[{"bonuscheckid":"a","value":"100","x":1}]`)
	var b bonus.Book
	r := bonus.Request{Kind: bonus.Check, ID: "a", Order: "1"}
	use(t, &b, l, r)
	l, _ = l.With(b)
	o, _ := l.Find("a")
	if _, changed, err := b.Restore(o, true, r, now); err != nil || !changed {
		t.Fatalf("Restore: changed %v, error %v", changed, err)
	}
	out, changed := l.With(b)
	want := `[{"bonuscheckid":"a","value":"100","x":1,"remaining":"100.00","redeemed":false,"dateredeemed":null}]`
	if got := text(t, out); got != want || !changed {
		t.Errorf("changed %v\ngot  %s\nwant %s", changed, got, want)
	}
	// A promotion has no amounts.
	p := parse(t, bonus.Promotion, `[{"promotionid":"p","name":"Tre för två"}]`)
	use(t, &b, p, bonus.Request{Kind: bonus.Promotion, ID: "p"})
	out, changed = p.With(b)
	want = `[{"promotionid":"p","name":"Tre för två","redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}]`
	if got := text(t, out); got != want || !changed {
		t.Errorf("changed %v\ngot  %s\nwant %s", changed, got, want)
	}
}

// What a check opened with must be in the book before its copy may say what is
// left: a copy written too early would be taken for the opening.
func TestWithUnknownOpening(t *testing.T) {
	t.Parallel()
	var b bonus.Book
	prove(t, &b, parse(t, bonus.Check, `[]`), proof("a", "7", "30"))
	l := parse(t, bonus.Check, `[{"bonuscheckid":"a","value":"100"}]`)
	if out, changed := l.With(b); changed {
		t.Errorf("rewritten to %s", text(t, out))
	}
	if got, _ := bonus.Card(l, b, now); !slices.Equal(shown(got), []string{"a 70.00"}) {
		t.Errorf("the card shows %v, want what is left", shown(got))
	}
	if !b.Adopt(l) || b.Adopt(l) {
		t.Error("Adopt must change the book once")
	}
	if b.Adopt(parse(t, bonus.Promotion, `[{"promotionid":"a"}]`)) {
		t.Error("a promotion of the same id was adopted")
	}
	out, changed := l.With(b)
	want := `[{"bonuscheckid":"a","value":"100","remaining":"70.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z"}]`
	if got := text(t, out); got != want || !changed {
		t.Errorf("changed %v, got %s", changed, got)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	type counts struct{ changed, unchanged int }
	for name, c := range map[string]struct {
		have string
		file []string
		used string // a check that the book has seen used
		want string
		counts
	}{
		"into nothing":    {have: ``, file: []string{`{"bonuscheckid":"a","value":"1.00","x":{"y":1}}`}, want: `[{"bonuscheckid":"a","value":"1.00","x":{"y":1}}]`, counts: counts{1, 0}},
		"nothing":         {have: `[{"bonuscheckid":"a","value":1}]`, want: `[{"bonuscheckid":"a","value":1}]`},
		"a new one":       {have: `[{"bonuscheckid":"a","value":1}]`, file: []string{`{"bonuscheckid":"b","value":2}`}, want: `[{"bonuscheckid":"a","value":1},{"bonuscheckid":"b","value":2}]`, counts: counts{1, 0}},
		"the same":        {have: `[{"bonuscheckid":"a","value":1}]`, file: []string{`{"bonuscheckid":"a","value":1}`}, want: `[{"bonuscheckid":"a","value":1}]`, counts: counts{0, 1}},
		"the same, twice": {have: `[]`, file: []string{`{"bonuscheckid":"a","value":1}`, `{"bonuscheckid":"a","value":1}`}, want: `[{"bonuscheckid":"a","value":1}]`, counts: counts{1, 1}},
		"numbers and texts are the same": {
			have: `[{"bonuscheckid":1,"value":100,"name":7,"redeemed":false,"dateredeemed":null,"x":"1.50"}]`,
			file: []string{`{"bonuscheckid":"1","value":"100.00","name":"7","redeemed":"false","dateredeemed":"","x":1.5,"description":""}`},
			want: `[{"bonuscheckid":1,"value":100,"name":7,"redeemed":false,"dateredeemed":null,"x":"1.50"}]`, counts: counts{0, 1},
		},
		"a new name, the rest kept": {
			have: `[{"bonuscheckid":"a","mine":[1, 2],"name":"Bonus","value":"1.00","x":9}]`,
			file: []string{`{"bonuscheckid":"a","name":"Julbonus","value":"1","y":true}`},
			want: `[{"bonuscheckid":"a","mine":[1, 2],"name":"Julbonus","value":"1.00","x":9,"y":true}]`, counts: counts{1, 0},
		},
		"nested members": {
			have: `[{"bonuscheckid":"a","value":1,"x":{"a":1}}]`, file: []string{`{"bonuscheckid":"a","value":1,"x":{"a":2}}`},
			want: `[{"bonuscheckid":"a","value":1,"x":{"a":2}}]`, counts: counts{1, 0},
		},
		"used, says the book":                 {have: `[{"bonuscheckid":"a","value":"9"}]`, used: "a", file: []string{`{"bonuscheckid":"a","value":"100","name":"x"}`}, want: `[{"bonuscheckid":"a","value":"9"}]`, counts: counts{0, 1}},
		"used, says the list":                 {have: `[{"bonuscheckid":"a","value":1,"redeemed":true}]`, file: []string{`{"bonuscheckid":"a","value":1,"redeemed":false}`}, want: `[{"bonuscheckid":"a","value":1,"redeemed":true}]`, counts: counts{0, 1}},
		"used in part, says the list":         {have: `[{"bonuscheckid":"a","value":10,"remaining":4}]`, file: []string{`{"bonuscheckid":"a","value":10,"remaining":10}`}, want: `[{"bonuscheckid":"a","value":10,"remaining":4}]`, counts: counts{0, 1}},
		"used and damaged":                    {have: `[{"bonuscheckid":"a","value":"?","redeemed":"ja"}]`, file: []string{`{"bonuscheckid":"a","value":10,"redeemed":false}`}, want: `[{"bonuscheckid":"a","value":"?","redeemed":"ja"}]`, counts: counts{0, 1}},
		"used and worth nothing":              {have: `[{"bonuscheckid":"a","value":0,"redeemed":true}]`, file: []string{`{"bonuscheckid":"a","value":10,"redeemed":false}`}, want: `[{"bonuscheckid":"a","value":0,"redeemed":true}]`, counts: counts{0, 1}},
		"damaged, and put right":              {have: `[{"bonuscheckid":"a","value":"?","x":1}]`, file: []string{`{"bonuscheckid":"a","value":10}`}, want: `[{"bonuscheckid":"a","value":10,"x":1}]`, counts: counts{1, 0}},
		"one that is there twice: the first":  {have: `[{"bonuscheckid":"a","value":1},{"bonuscheckid":"a","value":2}]`, file: []string{`{"bonuscheckid":"a","value":3}`}, want: `[{"bonuscheckid":"a","value":3},{"bonuscheckid":"a","value":2}]`, counts: counts{1, 0}},
		"among things that cannot be read":    {have: `[7,{"value":1},null]`, file: []string{`{"bonuscheckid":"a","value":1}`}, want: `[7,{"value":1},null,{"bonuscheckid":"a","value":1}]`, counts: counts{1, 0}},
		"the old ones are not touched at all": {have: `[{ "bonuscheckid" : "a" , "value" : 1 }]`, file: []string{`{"bonuscheckid":"a","value":"1"}`, `{"bonuscheckid":"b","value":1}`}, want: `[{ "bonuscheckid" : "a" , "value" : 1 },{"bonuscheckid":"b","value":1}]`, counts: counts{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := parse(t, bonus.Check, c.have)
			var b bonus.Book
			if c.used != "" {
				use(t, &b, l, bonus.Request{Kind: bonus.Check, ID: c.used})
			}
			var file []json.RawMessage
			for _, one := range c.file {
				file = append(file, json.RawMessage(one))
			}
			before := text(t, l)
			out, changed, unchanged := l.Merge(b, file)
			if got := text(t, out); got != c.want || (counts{changed, unchanged}) != c.counts {
				t.Errorf("changed %d, unchanged %d; want %v\ngot  %s\nwant %s", changed, unchanged, c.counts, got, c.want)
			}
			if text(t, l) != before {
				t.Error("Merge changed the list it was called on")
			}
			again, changed, unchanged := parse(t, bonus.Check, text(t, out)).Merge(b, file)
			if text(t, again) != c.want || changed != 0 || unchanged != len(file) {
				t.Errorf("the same file again: changed %d, unchanged %d, %s", changed, unchanged, text(t, again))
			}
		})
	}
}

// ours are the members that a use rewrites.
var ours = []string{"remaining", "redeemed", "dateredeemed"}

// strangers decodes a list and drops what a use rewrites.
func strangers(t *testing.T, raw []byte) []any {
	t.Helper()
	var list []any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&list); err != nil {
		t.Fatalf("%q is not a list: %v", raw, err)
	}
	for _, one := range list {
		if m, ok := one.(map[string]any); ok {
			for _, name := range ours {
				delete(m, name)
			}
		}
	}
	return list
}

// Whatever stands in a field: what comes out of it can be shown, every check on
// the card can be used, and a rewrite changes nothing but the use. FuzzList is
// run with arbitrary bytes as the field and as one object of a file.
func FuzzList(f *testing.F) {
	for _, s := range []string{
		``, `null`, `[]`, `[[]]`, `[{"bonuscheckid":"a","value":50,"redeemed":false,"x":{"y":[1,2.50]}},{"bonuscheckid":"b","value":"1"}]`,
		`[{"bonuscheckid":1,"value":"4,5","remaining":"1"}]`, `[{"bonuscheckid":"a","value":".5","bonuscheckid":"b"}]`, `[{"\ud800":1,"bonuscheckid":"a","value":1,"":2}]`,
		`[{"bonuscheckid":"a","value":"1e9"}]`, `[{"bonuscheckid":"a","value":1,"validto":"2026-03-02","VALUE":3}]`, `[{"a":1e999,"bonuscheckid":"\u0000","value":1,"redeemed":"ja"},7]`,
	} {
		f.Add([]byte(s), []byte(`{"bonuscheckid":"a","value":"7","x":[1],"name":"å"}`))
	}
	f.Add([]byte(`[{"bonuscheckid":"a","value":"7","x":1.0}]`), []byte(`{"bonuscheckid":"a","value":7.00,"x":"1","value":7}`))
	f.Fuzz(func(t *testing.T, raw, object []byte) {
		l, err := bonus.Parse(bonus.Check, raw)
		if err != nil {
			if l.Len() != 0 {
				t.Errorf("%d checks and an error", l.Len())
			}
			return
		}
		var b bonus.Book
		card, _ := bonus.Card(l, b, now)
		for _, s := range card {
			if v := s.Left.StringFixed(2); s.ID == "" || len(v) > 24 || !s.Left.IsPositive() || !json.Valid([]byte(v)) {
				t.Errorf("the card shows %+v", s)
			}
			use(t, &b, l, bonus.Request{Kind: bonus.Check, ID: s.ID})
		}
		out, changed := l.With(b)
		if changed != (len(card) > 0) {
			t.Errorf("%d checks used, changed %v", len(card), changed)
		}
		rewritten := text(t, out)
		if len(bytes.TrimSpace(raw)) > 0 && string(bytes.TrimSpace(raw)) != "null" {
			if diff := cmp.Diff(strangers(t, raw), strangers(t, []byte(rewritten))); diff != "" {
				t.Errorf("the rewrite changed more than the use: %s", diff)
			}
		}
		if again, changed := parse(t, bonus.Check, rewritten).With(b); changed || text(t, again) != rewritten {
			t.Errorf("a second rewrite changes %s to %s", rewritten, text(t, again))
		}
		if after, _ := bonus.Card(parse(t, bonus.Check, rewritten), bonus.Book{}, now); len(card) < bonus.MaxShown && len(after) != 0 {
			t.Errorf("the copy alone still shows %v", shown(after))
		}

		// The importer only merges objects that have an id.
		one, err := bonus.Parse(bonus.Check, slices.Concat([]byte("["), object, []byte("]")))
		if err != nil || one.Len() != 1 || !hasID(one, object) {
			return
		}
		file := []json.RawMessage{object}
		merged, n, m := out.Merge(b, file)
		if n+m != 1 {
			t.Errorf("one object, changed %d, unchanged %d", n, m)
		}
		whole := text(t, merged)
		if !json.Valid([]byte(whole)) {
			t.Fatalf("merged to %s", whole)
		}
		if again, n, m := merged.Merge(b, file); n != 0 || m != 1 || text(t, again) != whole {
			t.Errorf("merged again: changed %d, unchanged %d\nfrom %s\nto   %s", n, m, whole, text(t, again))
		}
		for i, s := range strangers(t, []byte(rewritten)) {
			have, ok := s.(map[string]any)
			got, _ := strangers(t, []byte(whole))[i].(map[string]any)
			for name := range have {
				if _, kept := got[name]; ok && !kept {
					t.Errorf("the member %q of check %d is gone", name, i)
				}
			}
		}
	})
}

// hasID reports whether the only object of a list has an id that Rule's copy
// could hold.
func hasID(l bonus.List, object []byte) bool {
	var m map[string]any
	if json.Unmarshal(object, &m) != nil {
		return false
	}
	id := strings.TrimSpace(fmt.Sprint(m["bonuscheckid"]))
	_, ok := l.Find(id)
	return ok
}
