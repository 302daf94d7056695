package sitoo_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

func TestCheckOptional(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		says string // part of the refusal, "" if the body is accepted
	}{
		"nothing":                 {"", ""},
		"white space":             {" \r\n\t", ""},
		"null":                    {" null\n", ""},
		"an empty object":         {"{}", ""},
		"PHP's empty object":      {"[ ]", ""},
		"a redemption":            {`{"remaining":"40.00"}`, ""},
		"an array":                {`[{"remaining":"40.00"}]`, "not an object"},
		"not JSON":                {"remaining=40", "not JSON"},
		"a word that is null":     {"nul l", "not JSON"},
		"a member twice":          {`{"orderid":1,"orderid":2}`, "twice"},
		"a megabyte of nothing":   {"[" + strings.Repeat(" ", 1<<20) + "]", ""},
		"an array with a null":    {"[null]", "not an object"},
		"a null and more":         {"null null", "not an object"},
		"two of PHP's empty ones": {"[][]", "not an object"},
	} {
		err := sitoo.CheckOptional([]byte(c.body))
		if c.says == "" && err != nil {
			t.Errorf("%s: refused: %v", name, err)
		}
		if f := fault.As(err); c.says != "" && (f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, c.says)) {
			t.Errorf("%s: got %v, want an Invalid error with %q", name, err, c.says)
		}
	}
}

func TestDecodeRedemption(t *testing.T) {
	t.Parallel()
	left := func(s string) sitoo.Redemption { d := dec(s); return sitoo.Redemption{Remaining: &d} }
	on := func(s string) sitoo.Redemption {
		d, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return sitoo.Redemption{Date: d}
	}
	of := func(s string) sitoo.Redemption { return sitoo.Redemption{OrderID: s} }
	forty := dec("40")
	for name, c := range map[string]struct {
		body string
		want sitoo.Redemption
	}{
		"everything": {
			`{"dateredeemed":"2026-03-02T09:00:00Z","remaining":"40.00","orderid":210335}`,
			sitoo.Redemption{Date: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), Remaining: &forty, OrderID: "210335"},
		},
		"no body":            {"", sitoo.Redemption{}},
		"white space":        {" \n", sitoo.Redemption{}},
		"null":               {"null", sitoo.Redemption{}},
		"PHP's empty object": {"[]", sitoo.Redemption{}},
		"an empty object":    {"{}", sitoo.Redemption{}},
		"empty strings":      {`{"dateredeemed":"","remaining":" ","orderid":""}`, sitoo.Redemption{}},
		"nulls":              {`{"dateredeemed":null,"remaining":null,"orderid":null}`, sitoo.Redemption{}},
		"unknown members":    {`{"registerid":"{5E6F}","used":{"a":[1]},"Remaining":"x"}`, sitoo.Redemption{}},

		"a date with a zone":          {`{"dateredeemed":"2026-03-02T10:00:00+01:00"}`, on("2026-03-02T09:00:00Z")},
		"a date with fractions":       {`{"dateredeemed":"2026-03-02T09:00:00.250Z"}`, sitoo.Redemption{Date: time.Date(2026, 3, 2, 9, 0, 0, 250_000_000, time.UTC)}},
		"a date as PHP has it":        {`{"dateredeemed":"2026-03-02T10:00:00+0100"}`, on("2026-03-02T09:00:00Z")},
		"a date without a zone":       {`{"dateredeemed":"2026-03-02T09:00:00"}`, on("2026-03-02T09:00:00Z")},
		"a date as a database has it": {`{"dateredeemed":" 2026-03-02 09:00:00 "}`, on("2026-03-02T09:00:00Z")},
		"a day":                       {`{"dateredeemed":"2026-03-02"}`, on("2026-03-02T00:00:00Z")},
		"seconds":                     {`{"dateredeemed":1772442000}`, on("2026-03-02T09:00:00Z")},
		"seconds as text":             {`{"dateredeemed":"1772442000"}`, on("2026-03-02T09:00:00Z")},
		"milliseconds":                {`{"dateredeemed":1772442000000}`, on("2026-03-02T09:00:00Z")},
		"seconds as a float":          {`{"dateredeemed":1.772442e9}`, on("2026-03-02T09:00:00Z")},
		"a database's zero":           {`{"dateredeemed":"0000-00-00 00:00:00"}`, sitoo.Redemption{}},
		"the year 1":                  {`{"dateredeemed":"0001-01-01T00:00:00Z"}`, sitoo.Redemption{}},
		"no seconds":                  {`{"dateredeemed":0}`, sitoo.Redemption{}},

		"nothing left":           {`{"remaining":"0.00"}`, left("0")},
		"nothing left, a number": {`{"remaining":0}`, left("0")},
		"nothing left, negative": {`{"remaining":"-0.00"}`, left("0")},
		"a number":               {`{"remaining":40.5}`, left("40.5")},
		"a comma":                {`{"remaining":"40,50"}`, left("40.5")},
		"trailing zeros":         {`{"remaining":"40.500000"}`, left("40.5")},
		"a plus":                 {`{"remaining":"+40"}`, left("40")},
		"a float":                {`{"remaining":40.10000000000001}`, left("40.1")},
		"a float below":          {`{"remaining":40.099999999999994}`, left("40.1")},
		"half an öre":            {`{"remaining":"40.005"}`, left("40.01")},
		"next to nothing":        {`{"remaining":-1.4e-14}`, left("0")},
		"an exponent":            {`{"remaining":4e1}`, left("40")},
		"the most":               {`{"remaining":"999999999999.99"}`, left("999999999999.99")},

		"an order as text":        {`{"orderid":" 210335 "}`, of("210335")},
		"an order with a decimal": {`{"orderid":210335.0}`, of("210335")},
		"an order of the till's":  {`{"orderid":"{3CCB9848-0000}"}`, of("{3CCB9848-0000}")},
		"an order in Swedish":     {`{"orderid":"kvitto-å7"}`, of("kvitto-å7")},
		"64 characters":           {`{"orderid":"` + strings.Repeat("å", 64) + `"}`, of(strings.Repeat("å", 64))},
		"no order yet":            {`{"orderid":0}`, sitoo.Redemption{}},
		"no order yet, as text":   {`{"orderid":"0"}`, sitoo.Redemption{}},
		"no order yet, a decimal": {`{"orderid":0.0}`, sitoo.Redemption{}},
	} {
		got, err := sitoo.DecodeRedemption([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestDecodeRedemptionRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, member, says string }{
		"a list":                  {`[{}]`, "", "not an object"},
		"a text":                  {`"x"`, "", "not an object"},
		"a date in words":         {`{"dateredeemed":"idag"}`, "dateredeemed", "moment in time"},
		"a date that is none":     {`{"dateredeemed":"2026-02-30"}`, "dateredeemed", "moment in time"},
		"a date before 1970":      {`{"dateredeemed":-1}`, "dateredeemed", "moment in time"},
		"a date in an object":     {`{"dateredeemed":{"date":"2026-03-02"}}`, "dateredeemed", "not a text"},
		"a debt":                  {`{"remaining":"-0.01"}`, "remaining", "below 0"},
		"words":                   {`{"remaining":"allt"}`, "remaining", "not an amount"},
		"a currency":              {`{"remaining":"40 kr"}`, "remaining", "not an amount"},
		"a truth":                 {`{"remaining":true}`, "remaining", "not an amount"},
		"too many digits":         {`{"remaining":"1000000000000"}`, "remaining", "not an amount"},
		"a list of amounts":       {`{"remaining":[40]}`, "remaining", "not a text"},
		"an order that is yes":    {`{"orderid":true}`, "orderid", "not valid"},
		"an order of 65":          {`{"orderid":"` + strings.Repeat("1", 65) + `"}`, "orderid", "at most 64"},
		"an order with a space":   {`{"orderid":"210 335"}`, "orderid", "visible"},
		"an order with a break":   {`{"orderid":"210\n335"}`, "orderid", "visible"},
		"an order with a joiner":  {`{"orderid":"210\u200b335"}`, "orderid", "visible"},
		"an order in an object":   {`{"orderid":{"id":1}}`, "orderid", "not a text"},
		"the first mistake":       {`{"orderid":[],"remaining":"x","dateredeemed":"x"}`, "orderid", "not a text"},
		"the second alone":        {`{"orderid":7,"remaining":"x"}`, "remaining", "not an amount"},
		"one bad among the three": {`{"orderid":7,"remaining":"40.00","dateredeemed":"x"}`, "dateredeemed", "moment in time"},
	} {
		got, err := sitoo.DecodeRedemption([]byte(c.body))
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || f.Member != c.member || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s: got %v, want member %q and something with %q", name, err, c.member, c.says)
		}
		if diff := cmp.Diff(sitoo.Redemption{}, got); diff != "" {
			t.Errorf("%s: half a redemption came with the error: %s", name, diff)
		}
	}
}

// What is read of a redemption can be kept, whatever the till sends.
func FuzzDecodeRedemption(f *testing.F) {
	for _, s := range []string{
		"", "null", "[]", "{}", `{"dateredeemed":"2026-03-02 09:00:00","remaining":"40,00","orderid":"210335"}`, `{"dateredeemed":1772442000,"remaining":0.001,"orderid":0}`,
		`{"remaining":-1}`, `{"orderid":"\u200b"}`, `{"orderid":true}`, `{"dateredeemed":"2026-03-02T10:00:00+0100"}`, `{"remaining":1e999999999}`, `{"orderid":" 0.0 "}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if err := sitoo.CheckOptional(body); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("CheckOptional: %v is not Invalid", err)
			}
			return
		}
		r, err := sitoo.DecodeRedemption(body)
		if err != nil {
			if fe := fault.As(err); fe.Kind != fault.Invalid || fe.Member == "" || fe.Message == "" {
				t.Errorf("%v does not say what is wrong", err)
			}
			return
		}
		if !r.Date.IsZero() && (r.Date.Location() != time.UTC || r.Date.Year() < 1970 || r.Date.Year() > 2200) {
			t.Errorf("date %v", r.Date)
		}
		if r.Remaining != nil && (r.Remaining.IsNegative() || !r.Remaining.Equal(r.Remaining.Round(2)) || r.Remaining.GreaterThan(decimal.New(1, 12))) {
			t.Errorf("remaining %v", r.Remaining)
		}
		if len(r.OrderID) > 256 || strings.ContainsFunc(r.OrderID, unicode.IsSpace) || r.OrderID == "0" {
			t.Errorf("order %q", r.OrderID)
		}
	})
}

func TestRedeemed(t *testing.T) {
	t.Parallel()
	when := "2026-03-02T09:00:00Z"
	for want, v := range map[string]any{
		`{"bonuscheckid":"bc-1001","redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z","used":60.00,"remaining":0.00}`: sitoo.Redeemed{ID: "bc-1001", Redeemed: true, DateRedeemed: &when, Used: "60.00", Remaining: "0.00"},
		`{"bonuscheckid":"bc-1001","redeemed":false,"dateredeemed":null,"used":0,"remaining":100.00}`:                    sitoo.Redeemed{ID: "bc-1001", Used: "0", Remaining: "100.00"},
		`{"promotionid":"P-7","redeemed":true,"dateredeemed":"2026-03-02T09:00:00Z"}`:                                    sitoo.RedeemedPromotion{ID: "P-7", Redeemed: true, DateRedeemed: &when},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}
