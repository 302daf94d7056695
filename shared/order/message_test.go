package order_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sitoo"
)

func message(body string) order.Message {
	return order.Message{
		Account: "0123456789abcdef0123456789abcdef", Request: "c0ffee00-0000-4000-8000-000000000001",
		Received: time.Date(2026, 3, 2, 9, 0, 0, 123456789, time.UTC), Order: json.RawMessage(body),
	}
}

// sqsTakes reports whether a queue takes the text: SQS allows what XML 1.0
// allows.
func sqsTakes(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000)
	})
}

// What is queued is what comes off the queue, whatever the order holds.
func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	name := func(s string) string { return `{"orderid":210334,"namefirst":"` + s + `"}` }
	for what, c := range map[string]struct {
		body   string
		packed bool
	}{
		"an order":                   {`{"orderid":210334,"email":"kund.ett@example.com"}`, false},
		"letters of the world":       {name("Åsa <b>&🙂\u2028 é"), false},
		"escapes":                    {name(`\u0000\ufffe\uffff\ud83d\ude42\n`), false},
		"U+FFFE":                     {name("x\ufffey"), true},
		"U+FFFF":                     {name("x\uffffy"), true},
		"a plane's end":              {name("x\U0001ffffy"), false},
		"invalid UTF-8":              {name("x\xffy"), true},
		"a control character":        {name("x\x01y"), true},
		"white space":                {"{\n\t\"orderid\": 1 }\r\n", false},
		"just not long":              {name(strings.Repeat("x", 100_000-len(name("")))), false},
		"long":                       {name(strings.Repeat("x", 100_000)), true},
		"what packs into a sixtieth": {name(strings.Repeat("åäö/\\u0001", 100_000)), true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			in := message(c.body)
			text, err := in.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if !sqsTakes(text) || len(text) > 1<<20 {
				t.Errorf("SQS does not take the text of %d bytes", len(text))
			}
			if got := strings.Contains(text, `"order_gzip":`); got != c.packed {
				t.Errorf("packed %v, want %v", got, c.packed)
			}
			if string(in.Order) != c.body {
				t.Error("Encode changed the message")
			}
			got, err := order.DecodeMessage(text)
			if err != nil {
				t.Fatal(err)
			}
			want := in
			if !c.packed { // as JSON, white space does not count
				var b bytes.Buffer
				if err := json.Compact(&b, in.Order); err != nil {
					t.Fatal(err)
				}
				want.Order = b.Bytes()
			}
			if !bytes.Equal(got.Order, want.Order) {
				t.Errorf("order of %d bytes, want %d", len(got.Order), len(want.Order))
			}
			got.Order, want.Order = nil, nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// More than a megabyte of what does not compress cannot be queued, and say so.
func TestMessageTooLarge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1_700_000)
	for i := range noise {
		noise[i] = 'a' + byte(random.UintN(26))
	}
	text, err := message(`{"orderid":1,"x":"` + string(noise) + `"}`).Encode()
	if fault.KindOf(err) != fault.TooLarge || err == nil || text != "" {
		t.Errorf("got %d bytes, %v; want TooLarge", len(text), err)
	}
}

// What is no JSON, or is nested too deep to be carried in JSON, goes round all the
// same: it is looked at behind the queue.
func TestMessageOfNoJSON(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"orderid":7,"a":`, `{"orderid":7,"a":NaN}`, "{\"orderid\":7,\"a\":\"\xff\"}", `{"orderid":7,"a":` + strings.Repeat("[", 9_995) + strings.Repeat("]", 9_995) + `}`,
		`{"orderid":7,"a":` + strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_001),
	} {
		text, err := message(raw).Encode()
		if err != nil {
			t.Errorf("%.40s: %v", raw, err)
			continue
		}
		if m, err := order.DecodeMessage(text); err != nil || string(m.Order) != raw {
			t.Errorf("%.40s comes back as %.40s, %v", raw, m.Order, err)
		}
	}
}

// An order of any length fits: rows are cut, and those that tell of a bonus check
// stay, as do those that say which row they take back.
func TestMessageFits(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(random.UintN(26))
		}
		return string(b)
	}
	long := func(rows int, name func() string) string {
		var b strings.Builder
		b.WriteString(`{"orderid":7,"comment":"` + noise(1000) + `","orderitems":[`)
		for i := range rows {
			data := "{}"
			if i%(rows/10) == rows/10-1 {
				data = fmt.Sprintf(`{"customcrm-bonuscheckid":"bc-%d","pos-originalsales-orderitemid":"%d"}`, i, i)
			}
			fmt.Fprintf(&b, `{"orderitemid":%d,"productname":"%s","quantity":1,"additionaldata":%s},`, i, name(), data)
		}
		return strings.TrimSuffix(b.String(), ",") + `],"email":"kund.ett@example.com"}`
	}
	for name, c := range map[string]struct {
		order string
		rows  int
		cut   bool
	}{
		"short":                   {long(10, func() string { return "Tröja" }), 10, false},
		"2 MiB of texts":          {long(12_000, func() string { return "Tröja " + strings.Repeat("x", 100) }), 12_000, false},
		"4 MiB of texts":          {long(12_000, func() string { return "Tröja " + strings.Repeat("x", 300) }), 12_000, true},
		"does not compress":       {long(4_000, func() string { return noise(500) }), 4_000, true},
		"more rows than receipts": {long(25_000, func() string { return "x" }), 25_000, true},
		"one text of 3 MiB":       {`{"orderid":7,"email":"kund.ett@example.com","comment":"` + noise(3<<20) + `","orderitems":[` + strings.Repeat(`{"additionaldata":{"crm-bonuscheckid":"bc-1"}},`, 9) + `{"additionaldata":{"crm-bonuscheckid":"bc-2"}}]}`, 10, false},
	} {
		text, omitted, err := message(c.order).Fit()
		if err != nil || len(text) > 1<<20 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
			continue
		}
		m, err := order.DecodeMessage(text)
		if err != nil || m.Omitted != omitted || omitted > 0 != c.cut || len(m.Order) > 2<<20+64<<10 && !strings.Contains(name, "2 MiB") {
			t.Errorf("%s: %d omitted of %d, order of %d bytes, %v", name, omitted, m.Omitted, len(m.Order), err)
			continue
		}
		o, err := sitoo.DecodeOrder(m.Order)
		if c.cut {
			count := decimal.Zero
			for _, i := range o.Items {
				count = count.Add(i.Quantity)
			}
			for _, r := range m.Rest {
				count = count.Add(r.Quantity)
			}
			if !count.Equal(decimal.NewFromInt(int64(c.rows))) {
				t.Errorf("%s: %s of %d rows are counted", name, count, c.rows)
			}
		} else if m.Rest != nil {
			t.Errorf("%s: %v is missing, but no row", name, m.Rest)
		}
		proofs := 0
		for _, i := range o.Items {
			if i.Additional["customcrm-bonuscheckid"] != "" || i.Additional["crm-bonuscheckid"] != "" {
				proofs++
			}
		}
		if err != nil || o.ID != 7 || o.Email != "kund.ett@example.com" || len(o.Items)+omitted != c.rows || proofs != 10 {
			t.Errorf("%s: order %d with %d rows and %d omitted of %d, %d tell of checks, %v", name, o.ID, len(o.Items), omitted, c.rows, proofs, err)
		}
	}
}

func pack(t *testing.T, raw []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// A message that cannot be read never will be: Invalid, so that it is put aside
// at once.
func TestDecodeMessageRefuses(t *testing.T) {
	t.Parallel()
	bomb := pack(t, make([]byte, 8<<20+1))
	half := pack(t, []byte(`{"orderid":1}`))
	raw, err := base64.StdEncoding.DecodeString(half)
	if err != nil {
		t.Fatal(err)
	}
	wrongSum := bytes.Clone(raw)
	wrongSum[len(wrongSum)-5] ^= 1
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct{ body, member string }{
		"nothing":                 {"", ""},
		"not JSON":                {"order 210334", ""},
		"a list":                  {"[]", ""},
		"a text":                  {`"x"`, ""},
		"two":                     {`{"account":"a","order":{}}{"account":"a","order":{}}`, ""},
		"null":                    {"null", "account"},
		"an empty object":         {"{}", "account"},
		"no account":              {`{"order":{"orderid":1}}`, "account"},
		"no order":                {`{"account":"a"}`, "order"},
		"an empty pack":           {`{"account":"a","order_gzip":""}`, "order"},
		"a pack of nothing":       {`{"account":"a","order_gzip":"` + pack(t, nil) + `"}`, "order"},
		"an account that is none": {`{"account":7,"order":{}}`, ""},
		"a time that is none":     {`{"account":"a","received":"igår","order":{}}`, ""},
		"not base64":              {`{"account":"a","order_gzip":"%%%"}`, ""},
		"not gzip":                {`{"account":"a","order_gzip":"` + b64([]byte(`{"orderid":1}`)) + `"}`, ""},
		"half a gzip":             {`{"account":"a","order_gzip":"` + b64(raw[:len(raw)-9]) + `"}`, ""},
		"a head of gzip":          {`{"account":"a","order_gzip":"` + b64(raw[:10]) + `"}`, ""},
		"a wrong check sum":       {`{"account":"a","order_gzip":"` + b64(wrongSum) + `"}`, ""},
		"gzip and more":           {`{"account":"a","order_gzip":"` + b64(append(bytes.Clone(raw), 'x')) + `"}`, ""},
		"a gzip bomb":             {`{"account":"a","order_gzip":"` + bomb + `"}`, ""},
	} {
		got, err := order.DecodeMessage(c.body)
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || f.Member != c.member || f.Message == "" {
			t.Errorf("%s: %v, %v; want Invalid, member %q", name, got, err, c.member)
		}
		if diff := cmp.Diff(order.Message{}, got); diff != "" {
			t.Errorf("%s: half a message came with the error: %s", name, diff)
		}
	}
}

// A message is refused or has an account and an order, and goes round.
func FuzzDecodeMessage(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"account":"a","order":{"orderid":1}}`, `{"account":"a","request":"r","received":"2026-03-02T09:00:00Z","order":{"orderid":1,"namefirst":"\uffff"}}`,
		`{"account":"a","order_gzip":"H4sIAAAAAAAA/6tWyi9KSS3KTFGyMqwFAJcSS2UNAAAA"}`, `{"account":"a","order":null}`, `{"account":"\u0001","order":[1, 2]}`, "{\"account\":\"\xff\",\"order\":1}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		m, err := order.DecodeMessage(body)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if m.Account == "" || len(m.Order) == 0 || len(m.Order) > 8<<20 || len(m.Packed) > 0 {
			t.Fatalf("%q gives %+v", body, m)
		}
		text, err := m.Encode()
		if err != nil {
			if json.Valid(m.Order) && fault.KindOf(err) != fault.TooLarge && m.Received.Year() < 10_000 {
				t.Errorf("%q gives a message that cannot be queued: %v", body, err)
			}
			return
		}
		again, err := order.DecodeMessage(text)
		if err != nil {
			t.Fatalf("%q goes round to %q: %v", body, text, err)
		}
		if again.Account != m.Account || !again.Received.Equal(m.Received) {
			t.Errorf("%q goes round to %+v", body, again)
		}
	})
}

// A message weighs what its order unpacks to, and one that cannot be read what it
// is long; nothing a message holds makes weighing it fail.
func TestWeight(t *testing.T) {
	t.Parallel()
	long := json.RawMessage(`{"orderid":1,"x":"` + strings.Repeat("a", order.MaxSize-20) + `"}`)
	packed, err := order.Message{Account: "shop", Order: long}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	short, err := order.Message{Account: "shop", Order: json.RawMessage(`{"orderid":1}`)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := order.Message{Account: "shop", Order: bytes.Repeat([]byte(" "), 64<<20)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"packed": {packed, len(long)}, "as it came": {short, len(short)}, "nothing": {"", 0}, "no JSON": {`{"order_gzip`, 12},
		"no gzip": {`{"order_gzip":"AAAA"}`, 21}, "broken off": {`{"order_gzip":"H4sIAAAAAAAA"}`, 29}, "more than may be": {bomb, 8<<20 + 1},
	} {
		if got := order.Weight(tt.body); got != tt.want {
			t.Errorf("%s weighs %d, want %d", name, got, tt.want)
		}
	}
}
