package spi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sitoo-rule/shared/spi"
)

func TestShape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     "empty",
		" \n":                  "empty",
		"dateredeemed=hemlig":  "not JSON, 19 bytes",
		`{"a":`:                "not JSON, 5 bytes",
		"\xff\xfe":             "not JSON, 2 bytes",
		`"hemlig"`:             "string",
		`7`:                    "number",
		`null`:                 "null",
		`{}`:                   "{}",
		`[]`:                   "[]x0",
		`[{"a":1},7,"hemlig"]`: "[{a:number}]x3",
		`{"dateredeemed":"hemlig","remaining":12.5,"orderid":null,"ok":true}`:                    "{dateredeemed:string,ok:bool,orderid:null,remaining:number}",
		`{"bonus_checks":[{"bonus_check_id":"hemlig","value":100}],"invoice_address2":"hemlig"}`: "{bonus_checks:[{bonus_check_id:string,value:number}]x1,{text}:string}",
		// Names that could be values.
		`{"kund.ett@example.com":1,"070-1740605":1,"19121212":1,"":1,"Anna Ett":1,"Åsa":1,"a\nb":1}`: "{{text}:number,{text}:number,{text}:number,{text}:number,{text}:number,{text}:number,{text}:number}",
		`{"` + strings.Repeat("a", 24) + `":1}`:                                                      "{" + strings.Repeat("a", 24) + ":number}",
		`{"` + strings.Repeat("a", 25) + `":1}`:                                                      "{{text}:number}",
		`{"bc-000123":true}`:                                                                         "{{text}:bool}",
		`{"orderId":7,"Anna":1}`:                                                                     "{{text}:number,{text}:number}",
		// Deeper than anybody needs.
		`{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":1}}}}}}}}`: "{a:{b:{c:{d:{e:{f:object}}}}}}",
		`[[[[[[[["hemlig"]]]]]]]]`:                          "[[[[[[[]x1]x1]x1]x1]x1]x1]x1",
	} {
		if got := spi.Shape([]byte(in)); got != want {
			t.Errorf("%.60q has the shape %q, want %q", in, got, want)
		}
	}
	if got := spi.Shape([]byte(`{"a":` + strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000) + `}`)); !strings.HasPrefix(got, "not JSON") {
		t.Errorf("nested arrays have the shape %.100q", got)
	}
	wide := "{" + strings.Repeat(`"aaaaaaaaaaaaaaaaaaaaaaaa":"hemlig",`, 5) + `"b":1}`
	list := "[" + strings.Repeat(wide+",", 1000) + wide + "]"
	if got := spi.Shape([]byte(list)); got != "[{aaaaaaaaaaaaaaaaaaaaaaaa:string,b:number}]x1001" {
		t.Errorf("a long list has the shape %.100q", got)
	}
}

// grammar is all that a shape may be made of: types, counts, our own words, and
// names of members.
var grammar = regexp.MustCompile(`^(empty|not JSON, [0-9]+ bytes|([{}\[\],:]|\]x[0-9]+|[a-z_-]{1,24})*…?)$`)

// Whatever a document holds, its shape has no value of it: not of strings, not
// of numbers, not of names that are no names.
func TestShapeHasNoValues(t *testing.T) {
	t.Parallel()
	secret := rapid.SampledFrom([]string{"HEMLIG", "kund.HEMLIG@example.com", "+4670HEMLIG", "HEMLIG HEMLIG", "\u0000HEMLIG", "HEMLIG\n", "12HEMLIG", "ÅHEMLIG"})
	name := rapid.OneOf(rapid.SampledFrom([]string{"orderid", "name_first", "invoice_address2", "a-b", "x"}), rapid.Map(secret, func(s string) string { return s + "@1" }))
	number := rapid.SampledFrom([]float64{987654321, -98765.4321, 9.87654321e200, 987654321987654321})
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{rapid.Map(secret, func(s string) any { return s }), rapid.Map(number, func(n float64) any { return n }), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Just[any](nil)}
		if depth == 0 {
			return rapid.OneOf(leaves...)
		}
		return rapid.Custom(func(t *rapid.T) any {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				m := map[string]any{}
				for range rapid.IntRange(0, 5).Draw(t, "members") {
					m[name.Draw(t, "name")] = value(depth-1).Draw(t, "value")
				}
				return m
			case 1:
				var list []any
				for range rapid.IntRange(0, 3).Draw(t, "entries") {
					list = append(list, value(depth-1).Draw(t, "entry"))
				}
				return list
			}
			return rapid.OneOf(leaves...).Draw(t, "leaf")
		})
	}
	document := value(5)
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(document.Draw(t, "document"))
		if err != nil {
			t.Fatal(err)
		}
		got := spi.Shape(raw)
		if !grammar.MatchString(got) || strings.Contains(got, "HEMLIG") || strings.Contains(got, "9876") || len(got) > 2010 {
			t.Fatalf("%s has the shape %s", raw, got)
		}
		// Half a document says how long it is, and nothing else.
		if got := spi.Shape(raw[:len(raw)/2]); strings.Contains(got, "HEMLIG") || strings.Contains(got, "9876") {
			t.Fatalf("half of %s has the shape %s", raw, got)
		}
	})
}

func FuzzShape(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":[1,{"b":null}]}`, `{"kund.ett@example.com":{}}`, `[`, "\xff", `{"\ud800":1}`, `1e999`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := spi.Shape(raw)
		if got == "" || len(got) > 2010 || !utf8.ValidString(got) || strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-{}[],:? …") != "" {
			t.Errorf("%q has the shape %q", raw, got)
		}
	})
}

// A call that nobody knows: 404, and one line that tells what it was, without
// values.
func TestUnknownRoute(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(in *request)
		want   map[string]any
	}{
		"a redemption": {
			func(in *request) {
				in.HTTPMethod, in.Path, in.Body = "PUT", "/sitoo/contacts/255934461/bonuschecks/bc-000123/redeem", `{"dateredeemed":"hemlig","remaining":7}`
				in.QueryStringParameters = map[string]string{"b": "hemlig", "a": "hemlig", "kund.hemlig@example.com": "1"}
			},
			map[string]any{"method": "PUT", "path": "/sitoo/contacts/{text}/bonuschecks/{text}/redeem", "query": "a,b,{text}", "body": "{dateredeemed:string,remaining:number}", "token": "bearer"},
		},
		"nothing at all": {func(in *request) { *in = request{} }, map[string]any{"method": "", "path": "", "query": "", "body": "empty", "token": "none"}},
		"base64": {func(in *request) {
			in.Body, in.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(`{"a":"hemlig"}`)), true
		}, map[string]any{"body": "{a:string}"}},
		"base64 that is none": {func(in *request) { in.Body, in.IsBase64Encoded = "{hemlig}", true }, map[string]any{"body": "invalid"}},
		"a body that is long": {func(in *request) { in.Body = strings.Repeat("hemlig", 1<<20) }, map[string]any{"body": "too_large"}},
		"a byte order mark":   {func(in *request) { in.Body = "\ufeff{}" }, map[string]any{"body": "{}"}},
		"a person in the path": {
			func(in *request) { in.Path = "/sitoo/contacts/kund.hemlig@example.com/0701740605/Anna%20Hemlig//" },
			map[string]any{"path": "/sitoo/contacts/{text}/{text}/{text}//"},
		},
		"a key that no shop has": {
			func(in *request) {
				in.HTTPMethod, in.Path, in.Body, in.Headers = "GET", "/sitoo/hemlig/words", `{"hemlig":{"words":1}}`, map[string]string{"X-Api-Key": "hemlig"}
				in.QueryStringParameters = map[string]string{"hemlig": "hemlig", "words": "hemlig"}
			},
			map[string]any{"method": "GET", "path": "/{text}/{text}/{text}", "query": "{text},{text}", "body": "{{text}:{{text}:number}}", "token": "x-api-key"},
		},
		"no key": {
			func(in *request) { in.Path, in.Headers = "/sitoo/hemlig", nil },
			map[string]any{"path": "/{text}/{text}", "body": "{}", "token": "none"},
		},
		"a long path":           {func(in *request) { in.Path = strings.Repeat("/aaaaaaaaa", 100) }, map[string]any{"path": strings.Repeat("/aaaaaaaaa", 30) + "…"}},
		"a method that is none": {func(in *request) { in.HTTPMethod = "hemlig\r\n1" }, map[string]any{"method": "{text}"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs := &logBuffer{}
			in := post("{}")
			c.change(&in)
			known := func(_ context.Context, token string) bool { return token == key }
			out := invoke(t, spi.UnknownRoute(known, slog.New(slog.NewJSONHandler(logs, nil)), func() time.Time { return now }), in)
			if f := failure(t, out); out.StatusCode != 404 || f.Error != "not_found" {
				t.Errorf("%d %s", out.StatusCode, out.Body)
			}
			line := logs.line(t, "done")
			c.want["operation"], c.want["status"], c.want["outcome"], c.want["level"] = "unknown-route", 404.0, "not_found", "WARN"
			for k, want := range c.want {
				if line[k] != want {
					t.Errorf("logged %s: %v, want %v", k, line[k], want)
				}
			}
			if n := bytes.Count([]byte(logs.String()), []byte("\n")); n != 1 {
				t.Errorf("%d log lines", n)
			}
			for _, s := range []string{"hemlig", "Hemlig", "740605", "255934461", "000123", key} {
				if strings.Contains(logs.String(), s) {
					t.Errorf("the log has %q: %s", s, logs)
				}
			}
		})
	}
}
