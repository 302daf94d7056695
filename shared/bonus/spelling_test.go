package bonus_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer/phone"
)

// cellOf reads one cell of a column: the member that it makes, or the codes of
// what is wrong with it.
func cellOf(t *testing.T, member, cell string) string {
	t.Helper()
	header, row := []string{"email", "bonuscheckid", "value"}, []string{"a@example.com", "x", "5"}
	at := -1
	for i, h := range header {
		if h == member {
			at = i
		}
	}
	if at < 0 {
		header, row, at = append(header, member), append(row, ""), len(header)
	}
	row[at] = cell
	p, bad, _, err := bonus.NewPlan(header, func(yield func(int, []string) bool) { yield(2, row) }, phone.Parser("SE"))
	if err != nil {
		t.Fatal(member, cell, err)
	}
	var codes []string
	for _, b := range bad {
		codes = append(codes, b.Code)
	}
	if len(codes) > 0 {
		return strings.Join(codes, " ")
	}
	c := p.Customers[0]
	if member == "phone" {
		return c.Phone
	}
	_, after, _ := strings.Cut(string(c.Lines[0].Checks[0]), `"`+member+`":"`)
	text, _, _ := strings.Cut(after, `"`)
	return text
}

// Dates are read in the spellings of the Nordic countries, and one that could be
// two is refused.
func TestDates(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"2026-12-31": {
			"2026-12-31", "2026/12/31", "20261231", "2026.12.31", "2026. 12. 31.", "2026 12 31", "2026-12-31T00:00:00", "2026-12-31 00:00", "2026-12-31T00:00:00.000", "'2026-12-31",
			"31.12.2026", "31. 12. 2026", "31.12.26", "31.12.2026.", "31/12/2026", "31-12-2026", "31/12 2026", "31/12-2026", "31/12-26", "12/31/2026",
			"31 december 2026", "31 dec 2026", "31 dec. 2026", "den 31 december 2026", "31. desember 2026", "31. december 2026", "31. joulukuuta 2026", "31-dec-26", "31-Dec-2026",
			"torsdag 31 december 2026", "torsdag den 31. december 2026", "Thursday, December 31, 2026", "torstaina 31. joulukuuta 2026", "2026-dec-31", "31.des.2026", "December 31, 2026", "Dec 31, 2026", "31st of December 2026", "31\u00a0december\u00a02026", "31.12.2026 00:00", "31.12.2026 kl. 00:00:00",
		},
		"2026-01-05":                {"2026-1-5", "5.1.2026", "05.01.2026", "5 januari 2026", "5. januar 2026", "5. tammikuuta 2026", "5 jan 26", "January 5, 2026"},
		"2026-11-02":                {"2.11.2026", "2 november 2026", "2. marraskuuta 2026", "2/11 2026"},
		"2026-03-03":                {"3/3/2026", "3-3-2026", "3. maaliskuuta 2026", "3 mars 2026", "3. marts 2026", "March 3rd, 2026"},
		"2026-12-31T23:59:00":       {"2026-12-31 23:59", "2026-12-31T23:59", "31.12.2026 23:59", "31/12/2026 23:59:00", "31 december 2026 kl. 23:59", "31 dec 2026, 23:59", "2026/12/31 23:59:00.000", "31.12.2026 klo 23:59"},
		"2026-12-31T23:59:00+01:00": {"2026-12-31T23:59:00+01:00", "2026-12-31T23:59:00+0100", "2026-12-31 23:59:00+01:00", "2026-12-31 23:59:00 +0100"},
		"9999-12-31":                {"9999-12-31", "31.12.9999"},
		"date_ambiguous":            {"3/4/2026", "03-04-2026", "26-12-31", "31/12/26", "01/02/03", "1/2/2026 10:00"},
		"date_number":               {"46387", "46387.5", "46387,75"},
		"date":                      {"2026-02-30", "31.11.2026", "31.13.2026", "13/13/2026", "2026-12", "december 2026", "31 decembr", "igår", "2026-12-31 25:00", "31 foo 2026", "0000-00-00", "1900-01-00", "31122026", "5", "-", "0001-01-01", "31.12.2026 23:60"},
	} {
		for _, s := range spellings {
			if got := cellOf(t, "validto", s); got != want {
				t.Errorf("%q is read as %s, want %s", s, got, want)
			}
		}
	}
}

// Amounts are read with the currencies of the Nordic countries around them; a
// percentage is none.
func TestAmounts(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"100.00": {
			"100", "100,00", "100.0", "100 kr", "100 kr.", "kr 100", "kr. 100", "Kr 100,-", "100:-", "100,-", "100.-", "100,–", "100:- kr", "100 SEK", "SEK 100", "sek100", "NOK 100", "100 DKK", "EUR 100", "100 €", "€100",
			"100\u00a0kr", "100\u202fkr", "100 kronor", "100 euro", "100.0000", "'100", `="100"`,
		},
		"1000.50":       {"1000,50", "1000.5", "1 000,50", "1\u00a0000,50 kr", "1\u202f000.50", "1.000,50", "1,000.50", "1'000.50", "kr 1.000,50"},
		"1234567.00":    {"1 234 567", "1.234.567,00", "1,234,567.00"},
		"percent":       {"10 %", "10%", "12.5%", "10 procent", "10 prosent", "10 percent", "0,1 %"},
		"amount":        {"1.000", "1,000", "1.234.567", "hundra", "-5", "100-", "10 00", "1e3", "100 USD", "$100", "ca 100", "5 poäng", "1.000,500", "kr", "=", "100 kr rabatt"},
		"value_missing": {"", "'"},
		"zero":          {"0", "0,00 kr"},
	} {
		for _, s := range spellings {
			if got := cellOf(t, "value", s); got != want {
				t.Errorf("%q is read as %s, want %s", s, got, want)
			}
		}
	}
	for table, want := range map[string]string{
		"email|id|value\na@example.com|1|5\na@example.com|2|5 kr\na@example.com|3|5 SEK\na@example.com|4|5:-\na@example.com|5|kr 5": "",
		"email|id|value\na@example.com|1|5 kr\na@example.com|2|5\na@example.com|3|5 €":                                              "4 currency 2",
		"email|id|value\na@example.com|1|5 SEK\na@example.com|2|NOK 5\na@example.com|3|5 EUR\na@example.com|4|5 kr":                 "3 currency 2, 4 currency 2",
		"email|id|value\na@example.com|1|5 €\na@example.com|2|5 EUR\na@example.com|3|5":                                             "",
	} {
		_, bad, _, err := planOf(table)
		var got []string
		for _, b := range bad {
			got = append(got, fmt.Sprint(b.Row, " ", b.Code, " ", b.Args.Row))
		}
		if s := strings.Join(got, ", "); s != want || err != nil {
			t.Errorf("%q: %s, %v; want %s", table, s, err, want)
		}
	}
}

// Phone numbers and ids that a spreadsheet has changed are understood where
// nothing is lost, and refused where something is.
func TestRuinedNumbers(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"'0701740605": "+46701740605", "’0701740605": "+46701740605", `="0701740605"`: "+46701740605", "701740605": "+46701740605", "46701740605": "+46701740605",
		"46701740605.0": "+46701740605", "701740605,0": "+46701740605", "+46701740605.00": "+46701740605", "' 070-174 06 05": "+46701740605",
		"4,67017E+10": "phone_scientific", "4.67017406E+10": "phone_scientific", "7,01741E+08": "phone_scientific", "4.67017E10": "phone_scientific", "4.7e+10": "phone_scientific",
		"4670": "phone", "191212121212.0": "personal_number",
	} {
		if got := cellOf(t, "phone", cell); got != want {
			t.Errorf("phone %q is read as %s, want %s", cell, got, want)
		}
	}
	for cell, want := range map[string]string{
		"'00123": "00123", `="00123"`: "00123", "00123": "00123", "1001.0": "1001", "1001,00": "1001", "12E4": "12E4", "1E5": "1E5", "BC-1.0": "BC-1.0", "1.5": "1.5", "2026.12": "2026.12",
		"1234567890123456": "1234567890123456", "7350010000000000": "7350010000000000",
		"7,35001E+12": "id_scientific", "7.35001E+12": "id_scientific", "7E+12": "id_scientific", "1.23456789012346E+15": "id_scientific", "7.35001E12": "id_scientific", "7.35001e+12": "id_scientific",
	} {
		if got := cellOf(t, "bonuscheckid", cell); got != want {
			t.Errorf("id %q is read as %s, want %s", cell, got, want)
		}
	}
	for table, want := range map[string]int{
		"email|id|value\na@example.com|7350010000000100000|5\na@example.com|7350010000000200000|5\n":            2,
		"email|id|value\na@example.com|7350010000000100000|5\na@example.com|7350010000000200001|5\n":            0,
		"email|id|value\na@example.com|7350010000000100000|5\nb@example.com|7350010000000100000|5\n":            0, // the id of a campaign
		"email|id|value\na@example.com|7350010000000010|5\na@example.com|7350010000000020|5\nb@example.com|x|5": 0,
	} {
		_, bad, count, err := planOf(table)
		if count != want || len(bad) != want || err != nil || want > 0 && bad[0].Code != "id_rounded" {
			t.Errorf("%q: %d bad rows, %v %v, want %d", table, count, bad, err, want)
		}
	}
}

// Headings of the Nordic countries are understood, with what hints at the form of
// the cells.
func TestHeadings(t *testing.T) {
	t.Parallel()
	for _, header := range []string{
		"E-post *|Mobilnr|Checknr|Namn|Beskrivning|Belopp (kr)|Kvar i kr|Inlöst|Inlöst datum|Giltig fr.o.m.|Giltig t.o.m.",
		"E-postadress:|Mobil (obligatorisk)|Bonuscheck-nr|Rubrik|Beskrivning (frivillig)|Värde, SEK|Saldo|Använd|Använd datum|Gäller från och med|Gäller till och med",
		"MEJL|TFN|CHECK-ID|TITEL|BESKRIVNING|SUMMA [kr]|ÅTERSTÅR|INLÖST|INLÖSNINGSDATUM|GILTIGT FOM|GILTIGT TOM",
		"Email*|Cell phone|Check number|Title|Description|Amount (SEK)|Balance|Used|Date used|Valid from (yyyy-mm-dd)|Valid until",
		"E-mail address|Phone No|Check ID|Name|Description|Value (EUR)|Remaining|Redeemed|Date redeemed|Start date|Expiry date",
		"E-postadresse|Mobilnummer|Sjekknummer|Navn|Beskrivelse|Beløp (NOK)|Gjenstår|Innløst|Innløst dato|Gyldig f.o.m.|Gyldig t.o.m.",
		"E-post|Tlf.|Bonussjekk-nr.|Tittel|Beskrivelse|Verdi|Restbeløp|Brukt|Brukt dato|Gjelder fra|Utløpsdato",
		"E-mailadresse|Telefonnr.|Checknummer|Overskrift|Beskrivelse|Beløb kr|Restværdi|Indløst|Indløsningsdato|Gælder fra|Udløber",
		"Sähköposti|Matkapuhelin|Sekkinumero|Nimi|Kuvaus|Määrä (€)|Jäljellä|Käytetty|Käyttöpäivä|Voimassa alkaen|Voimassa asti",
		"Sähköpostiosoite|Puh.|Tunnus|Otsikko|Selite|Arvo|Saldo|Lunastettu|Lunastuspäivä|Alkupäivä|Päättymispäivä (pvm)",
		"Mail|Tel|Kupongkod|Namn|Beskrivning|Belopp|Rest|Använd|Använddatum|Fr.o.m.|T o m",
		"mail|tel|Voucher code|name|description|value|rest|redeemed|dateredeemed|From|To",
	} {
		p, bad, _, err := planOf(header + "\na@example.com|0701740605|1|B|C|5|0|ja|2026-03-01|2026-01-01|2026-12-31")
		want := `a@example.com +46701740605: 2 {"bonuscheckid":"1","name":"B","description":"C","value":"5.00","remaining":"0.00","redeemed":true,"dateredeemed":"2026-03-01","validfrom":"2026-01-01","validto":"2026-12-31"}` + "\n"
		if err != nil || len(bad) > 0 || len(p.Ignored) > 0 {
			t.Errorf("%s: %v %v, ignored %q", header, err, bad, p.Ignored)
		} else if diff := cmp.Diff(want, said(p)); diff != "" {
			t.Errorf("%s: %s", header, diff)
		}
	}
	for _, last := range []string{
		"Giltig t.o.m", "Giltig t. o. m.", "Giltig tom", "Gäller till", "Gäller t.o.m.", "Gäller tom", "T o m", "t.o.m.", "Tom", "Till och med", "Giltig till (datum)", "Giltig till:", "Giltigt till och med", "Sista dag", "Sista giltighetsdag",
		"Slutdatum", "Utgångsdatum", "Förfallodatum", "Går ut", "Utgår", "Valid to", "valid_until", "ValidThru", "Expires at", "Expiration date", "End date", "Last day", "Until", "Gyldig til", "Gyldig t.o.m.", "Sluttdato", "Utløper", "Siste dag",
		"Gælder til", "Slutdato", "Udløbsdato", "Sidste dag", "Voimassa saakka", "Päättyy", "Loppupäivä", "Vanhenee",
	} {
		p, bad, _, err := planOf("email|id|value|" + last + "\na@example.com|1|5|2026-12-31")
		if err != nil || len(bad) > 0 || !strings.Contains(said(p), `"validto":"2026-12-31"`) {
			t.Errorf("%s: %v %v %s", last, err, bad, said(p))
		}
	}
	// A weak heading means something only where no other one does.
	p, bad, _, err := planOf("email|checkid|kupongkod|value|Start|Giltig från|Till|Giltig till|rest\na@example.com|1|rea|5|x|2026-01-01|y|2026-12-31|")
	if diff := cmp.Diff([]string{"kupongkod", "Start", "Till"}, p.Ignored); diff != "" || err != nil || len(bad) > 0 {
		t.Errorf("%v %v, ignored %s", err, bad, diff)
	}
	p, _, _, err = planOf("email|kupongkod|id|value|Slut|Till\na@example.com|rea|1|5|2027-12-31|2026-12-31")
	if err != nil || !strings.Contains(said(p), `{"bonuscheckid":"1","value":"5.00","validto":"2026-12-31"}`) || !strings.HasPrefix(p.Message(), "Column E Slut looks like dates") {
		t.Error(err, said(p), p.Message())
	}
	if _, _, _, err := planOf("email|id|value|Till|till\na@example.com|1|5|2026-12-31|2026-12-31"); err == nil || !strings.Contains(err.Error(), "D Till and E till both hold the last day") {
		t.Error(err)
	}
	// What is in brackets is not left out if it says what the column is about.
	p, _, _, err = planOf("email|id|value|Namn (kund)|Belopp (ex. moms)\na@example.com|1|5|Kund Ett|4")
	if diff := cmp.Diff([]string{"Namn (kund)", "Belopp (ex. moms)"}, p.Ignored); diff != "" || err != nil || p.Message() != "" {
		t.Errorf("%v, ignored %s, %q", err, diff, p.Message())
	}
}

// A column of dates that is not used is named: checks that were to end never do.
func TestIgnoredDates(t *testing.T) {
	t.Parallel()
	for table, want := range map[string][]string{
		"email|id|value|Bäst före\na@example.com|1|5|31.12.2026\na@example.com|2|5|":                   {"D Bäst före"},
		"email|id|value|Bäst före|Sålt den\na@example.com|1|5|3/4/2026|2026-01-01":                     {"D Bäst före", "E Sålt den"},
		"email|id|value|Giltighetstid\na@example.com|1|5|30 dagar":                                     {"D Giltighetstid"},
		"email|id|value|validto|Valid to (till)\na@example.com|1|5|2026-12-31|2027-12-31":              {"E Valid to (till)"},
		"email|id|value|Butik|Nummer|Kontonummer\na@example.com|1|5|Lund|20261231|1.5":                 nil,
		"email|id|value|Datum\na@example.com|1|5|":                                                     nil,
		"email|id|value|Noter\na@example.com|1|5|2026-12-31\na@example.com|2|5|x\na@example.com|3|5|y": nil,
		"email|validto|bonuschecks\na@example.com|2026-12-31|[]":                                       nil,
	} {
		p, bad, _, err := planOf(table)
		if diff := cmp.Diff(want, p.Dates); diff != "" || err != nil || len(bad) > 0 {
			t.Errorf("%q: %v %v %s", table, err, bad, diff)
		}
		for _, name := range want {
			if m := p.Message(); !strings.HasPrefix(m, "Column") || !strings.Contains(m, name) || !strings.HasSuffix(m, ".") {
				t.Errorf("%q does not name %s", m, name)
			}
		}
	}
}

// JSON that a program's smart quotes, Python or a spreadsheet has changed has a
// reason of its own.
func TestChangedJSON(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		`[{“bonuscheckid”:“a”,“value”:5}]`:                                      "json_quotes",
		`[{”bonuscheckid”:”a”,”value”:5}]`:                                      "json_quotes",
		`[{„bonuscheckid“:„a“,"value":5}]`:                                      "json_quotes",
		`[{"bonuscheckid":”a”,"value":5}]`:                                      "json_quotes",
		`[{»bonuscheckid«:"a","value":5}]`:                                      "json_quotes",
		`[{'bonuscheckid': 'a', 'value': 5}]`:                                   "json_single",
		`[{‘bonuscheckid’: ‘a’}]`:                                               "json_quotes",
		`[{"bonuscheckid":"a","value":5}`:                                       "json",
		`bc-1`:                                                                  "json",
		`[{"bonuscheckid":"a","value":5,"x":"` + strings.Repeat("y", 32_767-36): "json_cut",
	} {
		_, bad, _, err := planOf("email|bonuschecks\na@example.com|" + cell)
		if err != nil || len(bad) != 1 || bad[0].Code != want || bad[0].Column != "B bonuschecks" || bad[0].Row != 2 {
			t.Errorf("%.60s: %v %v, want %s", cell, bad, err, want)
		}
	}
}

// The page for merchants and for who translates the reasons has all of them.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/bonus-check-files.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, r := range bonus.Reasons() {
		row := strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s |\n", code, r[0], r[1]), "{cell}", "…")
		if !strings.Contains(string(page), row) {
			t.Errorf("the page lacks %s", row)
		}
	}
}
