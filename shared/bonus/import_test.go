package bonus_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/fault"
)

// tableOf takes a table apart: cells are separated by "|", rows by line ends.
// The headings stand in line 1.
func tableOf(text string) (header []string, rows iter.Seq2[int, []string]) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Split(lines[0], "|"), func(yield func(int, []string) bool) {
		for i, l := range lines[1:] {
			if !yield(i+2, strings.Split(l, "|")) {
				return
			}
		}
	}
}

func planOf(text string) (bonus.Plan, []bonus.Failure, int, error) {
	header, rows := tableOf(text)
	return bonus.NewPlan(header, rows, phone.Parser("SE"))
}

// said writes a plan as text: a line for each customer, with its rows.
func said(p bonus.Plan) string {
	var b strings.Builder
	for _, c := range p.Customers {
		fmt.Fprintf(&b, "%s %s:", c.Email, c.Phone)
		for _, l := range c.Lines {
			fmt.Fprintf(&b, " %d", l.Row)
			for _, raw := range l.Checks {
				fmt.Fprintf(&b, " %s", raw)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ table, want string }{
		"every column, in English": {
			`email|phone|bonuscheckid|name|description|value|remaining|redeemed|dateredeemed|validfrom|validto
			 Kund.Ett@example.com|070-174 06 05|bc-1|Bonus <mars>|Tröja & byxa|100|40|no|2026-03-02T09:00:00Z|2026-01-01|2026-12-31`,
			`kund.ett@example.com +46701740605: 2 {"bonuscheckid":"bc-1","name":"Bonus <mars>","description":"Tröja & byxa","value":"100.00","remaining":"40.00","redeemed":false,"dateredeemed":"2026-03-02T09:00:00Z","validfrom":"2026-01-01","validto":"2026-12-31"}`,
		},
		"every column, in Swedish": {
			`E-postadress|Mobilnummer|Bonuscheck-ID|Rubrik|Beskrivning|Värde|Återstår|Inlöst|Inlöst datum|Giltig från|Giltig till
			 kund@example.com|0701740606|1001|Bonus||1 000,50 kr|0|Ja|20260302|2026/01/01|2026-12-31T00:00:00`,
			`kund@example.com +46701740606: 2 {"bonuscheckid":"1001","name":"Bonus","value":"1000.50","remaining":"0.00","redeemed":true,"dateredeemed":"2026-03-02","validfrom":"2026-01-01","validto":"2026-12-31"}`,
		},
		"headings without their accents, and in pieces": {
			"EPOST|check_id|varde|Giltigt.fra\u030an|anva\u0308nd\n a@example.com|1|5|2026-01-01|nej",
			`a@example.com : 2 {"bonuscheckid":"1","value":"5.00","redeemed":false,"validfrom":"2026-01-01"}`,
		},
		"the last day there is": {
			"tel|id|summa|slutdatum\n0701740607|a|5|9999-12-31",
			` +46701740607: 2 {"bonuscheckid":"a","value":"5.00","validto":"9999-12-31"}`,
		},
		"the least": {
			"tel|id|summa\n0701740607|a|49.5",
			` +46701740607: 2 {"bonuscheckid":"a","value":"49.50"}`,
		},
		"a short row, an empty one and one too long": {
			"id|belopp|mejl|namn\na|1|a@example.com\n||| \nb|2|a@example.com|B|more",
			`a@example.com : 2 {"bonuscheckid":"a","value":"1.00"} 4 {"bonuscheckid":"b","name":"B","value":"2.00"}`,
		},
		"a row for each customer": {
			`Sitoo-Contact.bonuschecks|email|id|name
			 [{"bonuscheckid":"a", "value":10,"unknown":{"x":[1]}},{"bonuscheckid":2,"value":"5,50","redeemed":"nej"}]|a@example.com|77|Kund Ett
			 []|b@example.com|78|
			 |c@example.com|79|
			 null|d@example.com|80|`,
			`a@example.com : 2 {"bonuscheckid":"a","value":10,"unknown":{"x":[1]}} {"bonuscheckid":2,"value":"5,50","redeemed":"nej"}
			 b@example.com : 3
			 c@example.com : 4
			 d@example.com : 5`,
		},
		"one person in many spellings": {
			`email|phone|id|value
			 |0701740608|p|1
			 a@example.com||a|1
			 x@example.com||x|1
			 A@EXAMPLE.COM|+46 70 174 06 08|both|1
			 a@example.com||again|1
			 |070-174 06 08|once more|1`,
			`a@example.com +46701740608: 2 {"bonuscheckid":"p","value":"1.00"} 3 {"bonuscheckid":"a","value":"1.00"} 5 {"bonuscheckid":"both","value":"1.00"} 6 {"bonuscheckid":"again","value":"1.00"} 7 {"bonuscheckid":"once more","value":"1.00"}
			 x@example.com : 4 {"bonuscheckid":"x","value":"1.00"}`,
		},
		"the same check twice, said alike": {
			`email|id|value
			 a@example.com|1|5
			 a@example.com|1|5,00
			 b@example.com|1|7`,
			`a@example.com : 2 {"bonuscheckid":"1","value":"5.00"} 3
			 b@example.com : 4 {"bonuscheckid":"1","value":"7.00"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, bad, count, err := planOf(c.table)
			if len(bad) > 0 || count > 0 || err != nil {
				t.Fatal(bad, count, err)
			}
			lines := strings.Split(c.want, "\n")
			for i := range lines {
				lines[i] = strings.TrimLeft(lines[i], "\t")
				if i > 0 {
					lines[i] = strings.TrimPrefix(lines[i], " ")
				}
			}
			if diff := cmp.Diff(strings.Join(lines, "\n")+"\n", said(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanCounts(t *testing.T) {
	t.Parallel()
	p, _, _, err := planOf("email|Ålder|id| |value|kundklubb\na@example.com|40|1||5|ja\n||||\nb@example.com|50|2||5|nej")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Ålder", "kundklubb"}, p.Ignored); diff != "" || p.Rows != 2 {
		t.Errorf("%d rows; ignored %s", p.Rows, diff)
	}
	p, _, _, err = planOf("email|id|name|bonuschecks\na@example.com|1|Kund|[]")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"id", "name"}, p.Ignored); diff != "" {
		t.Error(diff)
	}
}

// A table that cannot be meant is refused as a whole.
func TestPlanColumns(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"id|value":                             "have neither an email address nor a phone number; the first row is expected to have headings, one of them email or phone",
		"":                                     "have neither an email address nor a phone number; the first row is expected to have headings, one of them email or phone",
		"email|value":                          "have no bonus checks; headings bonuscheckid and value are expected, or bonuschecks for a column with the JSON",
		"email|id":                             "do not say what the bonus checks are worth; the heading value is expected",
		"email|id|value|mail":                  "A email and D mail both hold the email address, one of them is expected",
		"telefon|id|value|Mobil":               "A telefon and D Mobil both hold the phone number, one of them is expected",
		"email|bonuscheckid|value|bonuschecks": "B bonuscheckid has a row's bonus check and D bonuschecks all bonus checks of a customer, one of them is expected",
		"email|name|namn|bonuschecks|bonuscheckar": "D bonuschecks and E bonuscheckar both hold all bonus checks of a customer, one of them is expected",
		strings.Repeat("x|", 27) + "mejl|id|id":    "AC id and AD id both hold the bonus check's id, one of them is expected",
		strings.Repeat("x|", 701) + "id|mejl|id":   "ZZ id and AAB id both hold the bonus check's id, one of them is expected",
	} {
		p, bad, count, err := planOf(header + "\n1|2|3|4")
		f := fault.As(err)
		if f == nil || f.Kind != fault.Invalid || f.Member != "columns" || f.Message != want || len(bad)+count+len(p.Customers) > 0 {
			t.Errorf("%.40s: %v, want %q", header, err, want)
		}
	}
	for _, table := range []string{"email|id|value", "email|id|value\n||"} {
		if _, _, _, err := planOf(table); fault.KindOf(err) != fault.Invalid || fault.As(err).Member != "file" {
			t.Errorf("%q: %v", table, err)
		}
	}
}

// Every bad row is named, with its column and what is wrong with it; an address
// or a number never is.
func TestPlanFailures(t *testing.T) {
	t.Parallel()
	type failure struct {
		Row            int
		Column, Reason string
	}
	type failures = []failure
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		table string
		want  failures
		count int
	}{
		"people": {
			`email|phone|id|value
			 |||5
			 ||1|5
			 kund|  |1|5
			 |070-174|1|5
			 |19121212-1212|1|5
			 a@example.com;b@example.com|811228-9874|1|5`,
			failures{
				{2, "", "There is neither an email address nor a phone number in this row."},
				{2, "C id", "is missing, the id of the bonus check is expected"},
				{3, "", "There is neither an email address nor a phone number in this row."},
				{4, "A email", "is not a whole email address"},
				{5, "B phone", "is not a phone number"},
				{6, "B phone", "is a personal identity number, which is not sent to Rule; a phone number is expected"},
				{7, "A email", "is not a whole email address"},
				{7, "B phone", "is a personal identity number, which is not sent to Rule; a phone number is expected"},
			},
			6,
		},
		"two people in one": {
			`email|phone|id|value
			 a@example.com|0701740609|1|5
			 a@example.com|0701740610|2|5
			 b@example.com|0701740609|3|5
			 b@example.com||4|5
			 b@example.com|0701740611|5|5
			 c@example.com|0701740611|6|5`,
			failures{
				{3, "B phone", "is not the same as in row 2, which has the same email address"},
				{4, "A email", "is not the same as in row 2, which has the same phone number"},
				{7, "A email", "is not the same as in row 6, which has the same phone number"},
			},
			3,
		},
		"amounts": {
			`mail|id|Värde (poäng)|value|kvar
			 a@example.com|1|1|1.000|
			 a@example.com|2|1|hundra kronor och lite till|
			 a@example.com|3|1|0|
			 a@example.com|4|1|-5|
			 a@example.com|5|1||5
			 a@example.com|6|1|5|6
			 a@example.com|7|1|1000000000000|
			 a@example.com|8|1|10 00|
			 a@example.com|9|1|1e3|x
			 a@example.com|10|1|b@example.com|
			 a@example.com|11|1|070-1740605|
			 a@example.com|12|1|1,005|`,
			failures{
				{2, "D value", `"1.000" is not an amount such as 100 or 49,50`},
				{3, "D value", `the value is not an amount such as 100 or 49,50`},
				{4, "D value", "is 0, a bonus check is expected to be worth something"},
				{5, "D value", `"-5" is not an amount such as 100 or 49,50`},
				{6, "D value", "is missing, an amount such as 100 or 49,50 is expected"},
				{7, "E kvar", `"6" is more than the value`},
				{8, "D value", `the value is not an amount such as 100 or 49,50`},
				{9, "D value", `"10 00" is not an amount such as 100 or 49,50`},
				{10, "D value", `"1e3" is not an amount such as 100 or 49,50`},
				{10, "E kvar", `the value is not an amount such as 100 or 49,50`},
				{11, "D value", `the value is not an amount such as 100 or 49,50`},
				{12, "D value", `the value is not an amount such as 100 or 49,50`},
				{13, "D value", `"1,005" is not an amount such as 100 or 49,50`},
			},
			12,
		},
		"the rest": {
			`mail|id|value|name|description|remaining|redeemed|dateredeemed|validfrom|validto
			 a@example.com|` + long + `|1|` + long + `|` + strings.Repeat("å", 1001) + `
			 a@example.com|2|1||||kanske|igår|31/13 2026|2026-02-30
			 a@example.com|3|1|||1|ja||2026-12-31|2026-12-30
			 a@example.com|4|1||||||45292|0001-01-01`,
			failures{
				{2, "B id", "has more than 100 characters"},
				{2, "D name", "has 300 characters, at most 255 are expected"},
				{2, "E description", "has 1001 characters, at most 1000 are expected"},
				{3, "G redeemed", "is neither true nor false, yes nor no"},
				{3, "H dateredeemed", `the value is not a date such as 2026-12-31`},
				{3, "I validfrom", `"31/13 2026" is not a date such as 2026-12-31`},
				{3, "J validto", `"2026-02-30" is not a date such as 2026-12-31`},
				{4, "G redeemed", "says that the bonus check is used, but something is left of it"},
				{4, "J validto", "is before validfrom"},
				{5, "I validfrom", `"45292" is how a spreadsheet counts days; format the column as a date and save the file again`},
				{5, "J validto", `"0001-01-01" is not a date such as 2026-12-31`},
			},
			4,
		},
		"what is not text": {
			"mail|id|value|name\na@example.com|1|5|a\x00b\nb@example.com|a\tb|5|\nc\xff@example.com|1|5|\n\ufffe|1|5|",
			failures{
				{2, "D name", "has characters in it that are not text; type the cell again"},
				{3, "B id", "has characters in it that are not text; type the cell again"},
				{4, "A mail", "has characters in it that are not text; type the cell again"},
				{5, "A mail", "has characters in it that are not text; type the cell again"},
			},
			4,
		},
		"json": {
			`mail|bonuscheckar
			 a@example.com|{"bonuscheckid":"a","value":1}
			 a@example.com|[1,{"value":1},{"bonuscheckid":"a"},{"bonuscheckid":"b","value":0},{"bonuscheckid":"c","value":1,"redeemed":"kanske"}]
			 a@example.com|[{"bonuscheckid":"d","value":1,"redeemed":true,"remaining":1},{"bonuscheckid":"e","value":1,"remaining":2},{"bonuscheckid":"f","value":1,"validfrom":"2026-02-02","validto":"2026-01-01"}]
			 a@example.com|[{"bonuscheckid":"g","value":1},{"bonuscheckid":"g","value":1}]
			 a@example.com|[{"bonuscheckid":"h","value":1,"redeemed":"sant"}]
			 a@example.com|[` + strings.Repeat("1,", 100) + `1]
			 a@example.com|bc-1
			 a@example.com|[{"bonuscheckid":"i","value":1,"x":"` + strings.Repeat("å", 60_000) + `"}]`,
			failures{
				{2, "B bonuscheckar", "is not a JSON array of bonus checks"},
				{3, "B bonuscheckar", "bonus check 1 cannot be read: it is not an object"},
				{3, "B bonuscheckar", "bonus check 2 cannot be read: it has no bonuscheckid"},
				{3, "B bonuscheckar", "bonus check 3 cannot be read: its value is not an amount"},
				{3, "B bonuscheckar", "of bonus check 4, the value is 0"},
				{3, "B bonuscheckar", "of bonus check 5, redeemed is neither true nor false"},
				{4, "B bonuscheckar", "of bonus check 1, redeemed says that it is used, but something is left of it"},
				{4, "B bonuscheckar", "bonus check 2 cannot be read: its remaining is not an amount up to its value"},
				{4, "B bonuscheckar", "of bonus check 3, validto is before validfrom"},
				{5, "B bonuscheckar", "bonus check 2 cannot be read: its id is there twice"},
				{6, "B bonuscheckar", "of bonus check 1, redeemed is neither true nor false"},
				{7, "B bonuscheckar", "has 101 bonus checks, at most 100 are expected"},
				{8, "B bonuscheckar", "is not a JSON array of bonus checks"},
				{9, "B bonuscheckar", "has 60039 characters, at most 60000 are expected"},
			},
			8,
		},
		"rows that contradict each other": {
			`email|phone|id|value
			 |0701740612|1|6
			 a@example.com||1|5
			 a@example.com||2|5
			 a@example.com|0701740612|1|6
			 a@example.com||2|5,00`,
			failures{{3, "", "Row 2 says something else about the same bonus check of the same customer."}},
			1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, bad, count, err := planOf(c.table)
			var got failures
			for _, f := range bad {
				got = append(got, failure{f.Row, f.Column, f.Reason})
				if f.Code == "" || f.Swedish == "" || strings.ContainsAny(f.Reason+f.Swedish, "{}") {
					t.Errorf("%+v has no code, or not all of its texts", f)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if count != c.count || err != nil || p.Customers != nil {
				t.Errorf("%d bad rows, %v, %d customers; want %d", count, err, len(p.Customers), c.count)
			}
		})
	}
}

func TestPlanLimits(t *testing.T) {
	t.Parallel()
	table := func(n int, row func(i int) string) string {
		var b strings.Builder
		b.WriteString("email|id|value|description\n")
		for i := range n {
			b.WriteString(row(i) + "\n")
		}
		return b.String()
	}
	check := func(text int) func(int) string {
		return func(i int) string { return fmt.Sprintf("a@example.com|%d|1|%s", i, strings.Repeat("å", text)) }
	}
	for name, c := range map[string]struct {
		table string
		row   int // the bad one, 0 for none
		want  string
	}{
		"a hundred checks":          {table(100, check(0)), 0, ""},
		"one more":                  {table(105, check(0)), 102, "The customer gets more than 100 bonus checks."},
		"as many characters":        {table(56, check(1000)), 0, ""},
		"too many characters":       {table(60, check(1000)), 58, "The customer's bonus checks have more than 60000 characters together."},
		"the same row a 1000 times": {table(1000, func(int) string { return "a@example.com|1|1|" }), 0, ""},
		"and once more":             {table(1001, func(int) string { return "a@example.com|1|1|" }), 1002, "The customer has more than 1000 rows."},
	} {
		_, bad, count, err := planOf(c.table)
		got, want := "", ""
		if len(bad) > 0 {
			got = fmt.Sprint(bad[0].Row, bad[0].Reason)
		}
		if c.row > 0 {
			want = fmt.Sprint(c.row, c.want)
		}
		if got != want || len(bad) > 1 || count != len(bad) || err != nil {
			t.Errorf("%s: %d bad rows, %v, want %s: %v", name, count, err, want, bad)
		}
	}

	// Of many bad rows the first ones are named, and all of them counted, also
	// where rows turn out to be bad in another order.
	_, bad, count, err := planOf(table(500, func(i int) string {
		switch {
		case i == 0:
			return "a@example.com|1|1|"
		case i < 10:
			return "a@example.com|1|2|"
		}
		return "a|b|1|"
	}))
	if err != nil || count != 499 || len(bad) != bonus.MaxFailures || bad[0].Row != 3 || bad[8].Row != 11 || bad[99].Row != 102 {
		t.Errorf("%d bad rows, %v; %v", count, err, bad)
	}
	if !slices.IsSortedFunc(bad, func(a, b bonus.Failure) int { return a.Row - b.Row }) {
		t.Error("not by row")
	}
}

// Whatever a table holds, it is refused with sentences that name no one, or
// makes checks that can be used.
func FuzzPlan(f *testing.F) {
	for _, s := range []string{
		"email|phone|id|value\na@example.com|0701740605|1|5\na@example.com|0701740606|1|5",
		"mejl|bonuschecks\na@example.com|[{\"bonuscheckid\":1,\"value\":\"4,5\"}]\na@example.com|[{\"bonuscheckid\":1,\"value\":5}]",
		"tel|id|value|kvar|inlöst|inlöst datum|giltig från|giltig till\n0701740605|a|1 000,50 kr|5|ja|20260101|2026-01-01|2026-12-31T10:00:00\n0701740605|a|1|",
		"email|id|value|name\n|||\na@example.com|\x00|1.000:-|\xff", "", "|", "id\n\n",
	} {
		f.Add(s)
	}
	phones := customer.Phones(phone.Parser("SE"))
	f.Fuzz(func(t *testing.T, table string) {
		header, rows := tableOf(table)
		p, bad, count, err := bonus.NewPlan(header, rows, phones)
		if (err != nil) != (fault.KindOf(err) == fault.Invalid && err != nil) || len(bad) > bonus.MaxFailures || (count > 0) != (len(bad) > 0) || count > 0 && p.Customers != nil {
			t.Fatal(bad, count, err)
		}
		for _, b := range bad {
			if b.Row < 2 || b.Reason == "" || strings.Contains(b.Reason, "@") {
				t.Error(b)
			}
		}
		if err != nil || count > 0 {
			return
		}
		seen, lines := map[string]bool{"": true}, 0
		for _, c := range p.Customers {
			if c.Email+c.Phone == "" || c.Email != "" && seen[c.Email] || c.Phone != "" && seen[c.Phone] || len(c.Lines) == 0 {
				t.Errorf("%+v", c)
			}
			seen[c.Email], seen[c.Phone] = true, true
			lines += len(c.Lines)
			var all []json.RawMessage
			for i, l := range c.Lines {
				if i > 0 && l.Row <= c.Lines[i-1].Row {
					t.Errorf("rows of %+v", c)
				}
				all = append(all, l.Checks...)
			}
			raw, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			l, err := bonus.Parse(bonus.Check, raw)
			if err != nil || l.Len() != len(all) {
				t.Fatalf("%s: %v", raw, err)
			}
			for _, one := range all {
				var id struct {
					ID any `json:"bonuscheckid"`
				}
				if err := json.Unmarshal(one, &id); err != nil {
					t.Fatal(err)
				}
			}
			if _, left := bonus.Card(l, bonus.Book{}, importing); len(left) > 0 {
				t.Errorf("%s: %v", raw, left)
			}
		}
		if lines != p.Rows {
			t.Errorf("%d rows in the plan, %d of customers", p.Rows, lines)
		}
	})
}
