package bonus_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func TestChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw     string
		want    []bonus.Check
		skipped int
		fails   bool
	}{
		"as documented": {
			`[{"bonuscheckid":"bc-1","name":"Bonus","description":"Februari","value":50,"redeemed":false,"dateredeemed":null},
			  {"bonuscheckid":"bc-2","name":"Bonus","description":"","value":"100.00","redeemed":true,"dateredeemed":"2026-02-01T10:00:00Z"}]`,
			[]bonus.Check{
				{ID: "bc-1", Name: "Bonus", Description: "Februari", Value: dec("50")},
				{ID: "bc-2", Name: "Bonus", Value: dec("100"), Redeemed: true, DateRedeemed: "2026-02-01T10:00:00Z"},
			},
			0, false,
		},
		"nothing":        {"", nil, 0, false},
		"white space":    {" \n", nil, 0, false},
		"null":           {"null", nil, 0, false},
		"an empty list":  {"[]", nil, 0, false},
		"members absent": {`[{"bonuscheckid":"a","value":"1"}]`, []bonus.Check{{ID: "a", Value: dec("1")}}, 0, false},
		"as a spreadsheet writes it": {
			`[{"bonuscheckid":1001,"name":7,"value":"49,50","redeemed":"ja","extra":{"a":1}}]`,
			[]bonus.Check{{ID: "1001", Name: "7", Value: dec("49.50"), Redeemed: true}},
			0, false,
		},
		"every yes": {
			`[{"bonuscheckid":"a","value":1,"redeemed":"TRUE"},{"bonuscheckid":"b","value":1,"redeemed":1},{"bonuscheckid":"c","value":1,"redeemed":" yes "},{"bonuscheckid":"d","value":1,"redeemed":"maybe"}]`,
			[]bonus.Check{{ID: "a", Value: dec("1"), Redeemed: true}, {ID: "b", Value: dec("1"), Redeemed: true}, {ID: "c", Value: dec("1"), Redeemed: true}, {ID: "d", Value: dec("1")}},
			0, false,
		},
		"one good among the bad": {
			`[7,null,"x",[],{},{"bonuscheckid":"","value":1},{"bonuscheckid":{"a":1},"value":1},{"bonuscheckid":"a"},{"bonuscheckid":"b","value":"gratis"},{"bonuscheckid":"good","value":0}]`,
			[]bonus.Check{{ID: "good", Value: dec("0")}},
			9, false,
		},
		"amounts that are none": {
			`[{"bonuscheckid":"a","value":-1},{"bonuscheckid":"a","value":1e3},{"bonuscheckid":"a","value":"1E999999999"},{"bonuscheckid":"a","value":"NaN"},{"bonuscheckid":"a","value":"1,2,3"},
			  {"bonuscheckid":"a","value":true},{"bonuscheckid":"a","value":[1]},{"bonuscheckid":"a","value":"10 kr"},{"bonuscheckid":"a","value":1234567890123},{"bonuscheckid":"a","value":"0.` + strings.Repeat("0", 50) + `1"}]`,
			nil, 10, false,
		},
		"the largest amount": {`[{"bonuscheckid":"a","value":999999999999.99}]`, []bonus.Check{{ID: "a", Value: dec("999999999999.99")}}, 0, false},
		"not JSON":           {`{not json`, nil, 0, true},
		"half a list":        {`[{"bonuscheckid":"a","value":1}`, nil, 0, true},
		"one check alone":    {`{"bonuscheckid":"a","value":1}`, nil, 0, true},
		"a text":             {`"bc-1"`, nil, 0, true},
		"encoded twice":      {`"[{\"bonuscheckid\":\"a\",\"value\":1}]"`, nil, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, skipped, err := bonus.Checks(json.RawMessage(c.raw))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if skipped != c.skipped || (err != nil) != c.fails {
				t.Errorf("skipped %d, error %v; want %d, error %v", skipped, err, c.skipped, c.fails)
			}
		})
	}
}

func TestPromotions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw     string
		want    []bonus.Promotion
		skipped int
		fails   bool
	}{
		"as stored": {
			`[{"promotionid":"p-1","name":"Tre för två","description":"Strumpor","redeemed":false},{"promotionid":2,"redeemed":true}]`,
			[]bonus.Promotion{{ID: "p-1", Name: "Tre för två", Description: "Strumpor"}, {ID: "2", Redeemed: true}},
			0, false,
		},
		"one good among the bad": {`[7,{"name":"utan id"},{"promotionid":null},{"promotionid":"p"}]`, []bonus.Promotion{{ID: "p"}}, 3, false},
		"nothing":                {"", nil, 0, false},
		"not a list":             {`{}`, nil, 0, true},
	} {
		got, skipped, err := bonus.Promotions(json.RawMessage(c.raw))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if skipped != c.skipped || (err != nil) != c.fails {
			t.Errorf("%s: skipped %d, error %v; want %d, error %v", name, skipped, err, c.skipped, c.fails)
		}
	}
}

// A field that somebody has filled with thousands of checks does not make a
// card that no till can show.
func TestManyChecks(t *testing.T) {
	t.Parallel()
	raw := "[" + strings.Repeat(`{"bonuscheckid":"a","value":1},`, 4999) + `{"bonuscheckid":"a","value":1}]`
	got, skipped, err := bonus.Checks(json.RawMessage(raw))
	if len(got) != 200 || skipped != 4800 || err != nil {
		t.Errorf("%d checks, %d skipped, error %v; want 200, 4800 and none", len(got), skipped, err)
	}
}

// Whatever stands in the fields, what comes out of them can be shown.
func FuzzChecks(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", `[{"bonuscheckid":"bc-1","name":"Bonus","value":50,"redeemed":true,"dateredeemed":"2026-02-01"}]`, `[{"bonuscheckid":1,"value":"4,5"}]`,
		`[{"bonuscheckid":"a","value":"1e9"}]`, `[{"promotionid":"p"}]`, `[[]]`, `[{"bonuscheckid":"a","value":+1}]`, `[{"bonuscheckid":"a","value":".5"}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		checks, skipped, err := bonus.Checks(raw)
		if err != nil && (len(checks) > 0 || skipped > 0) {
			t.Errorf("a field that cannot be read gave %d checks", len(checks))
		}
		for _, c := range checks {
			if v := c.Value.StringFixed(2); c.ID == "" || len(v) > 24 || strings.HasPrefix(v, "-") || !json.Valid([]byte(v)) {
				t.Errorf("%q gives the check %+v", raw, c)
			}
		}
		list, _, perr := bonus.Promotions(raw)
		if (perr != nil) != (err != nil) {
			t.Errorf("promotions: %v, checks: %v", perr, err)
		}
		for _, p := range list {
			if p.ID == "" {
				t.Errorf("%q gives a promotion without id", raw)
			}
		}
	})
}
