package sheet_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/charmap"

	"sitoo-rule/shared/sheet"
)

var update = flag.Bool("update", false, "write the sample files in events/bonuscheck-import/files")

// samples is where the sample files are that people start from.
const samples = "../../events/bonuscheck-import/files"

// sample is a bonus check of the sample files. The customers are those of the
// stand-in for Rule, but for the last one, who is new.
type sample struct{ email, phone, id, name, description, value string }

var (
	first = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last  = time.Date(2030, 12, 31, 0, 0, 0, 0, time.UTC)
)

// sampleChecks returns six bonus checks, the first with the number n.
func sampleChecks(n int) []sample {
	checks := []sample{
		{"kund.ett@example.com", "+46701740605", "", "Bonuscheck 100 kr", "Gäller hela sortimentet", "100.00"},
		{"kund.ett@example.com", "+46701740605", "", "Födelsedagscheck", "Grattis på födelsedagen", "49.50"},
		{"", "+46701740606", "", "Bonuscheck 100 kr", "Gäller hela sortimentet", "100.00"},
		{"kund.tre@example.com", "", "", "Bonuscheck 50 kr", "Gäller strumpor, mössor och vantar", "50.00"},
		{"kund.fyra@example.com", "+46701740608", "", "Bonuscheck 250 kr", "Tack för att du är \"stamkund\"", "250.00"},
		{"kund.nio@example.com", "+46701740609", "", "Välkommen", "Välkomstcheck till nya medlemmar", "25.00"},
	}
	for i := range checks {
		checks[i].id = fmt.Sprintf("bc-%d", n+i)
	}
	return checks
}

// sampleXLSX is as somebody types it into a spreadsheet: amounts are numbers
// and days are dates.
func sampleXLSX(t *testing.T) []byte {
	return bookFile(t, func(f *excelize.File) error {
		const name = "Sheet1"
		if err := f.SetSheetRow(name, "A1", &[]string{"email", "phone", "bonuscheckid", "name", "description", "value", "validfrom", "validto"}); err != nil {
			return err
		}
		code := "yyyy-mm-dd"
		days, err := f.NewStyle(&excelize.Style{CustomNumFmt: &code})
		if err != nil {
			return err
		}
		amounts, err := f.NewStyle(&excelize.Style{NumFmt: 2})
		if err != nil {
			return err
		}
		checks := sampleChecks(2001)
		for i, c := range checks {
			var value float64
			if _, err := fmt.Sscan(c.value, &value); err != nil {
				return err
			}
			if err := f.SetSheetRow(name, fmt.Sprintf("A%d", i+2), &[]any{c.email, c.phone, c.id, c.name, c.description, value, first, last}); err != nil {
				return err
			}
		}
		if err := f.SetCellStyle(name, "F2", fmt.Sprintf("F%d", len(checks)+1), amounts); err != nil {
			return err
		}
		if err := f.SetCellStyle(name, "G2", fmt.Sprintf("H%d", len(checks)+1), days); err != nil {
			return err
		}
		return f.SetColWidth(name, "A", "H", 24)
	})
}

// sampleCSV is as a Swedish spreadsheet saves it: semicolons, decimal commas,
// Windows-1252.
func sampleCSV(t *testing.T) []byte {
	var b strings.Builder
	b.WriteString("e-post;telefon;bonuscheck-id;namn;beskrivning;värde;giltig från;giltig till\r\n")
	for _, c := range sampleChecks(2011) {
		if strings.ContainsAny(c.description, `";`) {
			c.description = `"` + strings.ReplaceAll(c.description, `"`, `""`) + `"`
		}
		fmt.Fprintf(&b, "%s;%s;%s;%s;%s;%s;%s;%s\r\n", c.email, c.phone, c.id, c.name, c.description, strings.ReplaceAll(c.value, ".", ","), first.Format(time.DateOnly), last.Format(time.DateOnly))
	}
	body, err := charmap.Windows1252.NewEncoder().String(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return []byte(body)
}

// sampleTXT is as Rule's own import takes it: a row per customer, with the
// bonus checks as JSON in the column of the field.
func sampleTXT(t *testing.T) []byte {
	var b strings.Builder
	b.WriteString("emailAddress\tphone_number\tSitoo-Contact.bonuschecks\n")
	checks := sampleChecks(2021)
	for i := 0; i < len(checks); {
		customer := checks[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\n", customer.email, customer.phone, sampleJSON(t, checks[i:]))
		for i < len(checks) && checks[i].email == customer.email && checks[i].phone == customer.phone {
			i++
		}
	}
	return []byte(b.String())
}

// sampleJSON returns those of the checks that are the first one's customer's.
func sampleJSON(t *testing.T, checks []sample) string {
	type check struct {
		ID           string  `json:"bonuscheckid"`
		Name         string  `json:"name"`
		Description  string  `json:"description"`
		Value        string  `json:"value"`
		Redeemed     bool    `json:"redeemed"`
		DateRedeemed *string `json:"dateredeemed"`
		ValidFrom    string  `json:"validfrom"`
		ValidTo      string  `json:"validto"`
	}
	var list []check
	for _, c := range checks {
		if c.email == checks[0].email && c.phone == checks[0].phone {
			list = append(list, check{ID: c.id, Name: c.name, Description: c.description, Value: c.value, ValidFrom: first.Format(time.DateOnly), ValidTo: last.Format(time.DateOnly)})
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unpacked returns the parts of a workbook, and any other file as one part: how
// an archive is packed changes with the version of Go.
func unpacked(t *testing.T, body []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return map[string]string{"": string(body)}
	}
	files := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
	}
	return files
}

// The sample files are what is written here, with -update, and are read as the
// rows that they are made of.
func TestSamples(t *testing.T) {
	t.Parallel()
	from, to := first.Format(time.DateOnly), last.Format(time.DateOnly)
	rows := func(n int, value func(string) string) (rows []sheet.Row) {
		for i, c := range sampleChecks(n) {
			rows = append(rows, row(i+2, c.email, c.phone, c.id, c.name, c.description, value(c.value), from, to))
		}
		return rows
	}
	byCustomer := sampleChecks(2021)
	for name, tt := range map[string]struct {
		make func(t *testing.T) []byte
		want sheet.Sheet
	}{
		"bonuschecks.xlsx": {sampleXLSX, table(
			"xlsx", row(1, "email", "phone", "bonuscheckid", "name", "description", "value", "validfrom", "validto"),
			rows(2001, func(s string) string {
				return strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s, "0"), "0"), ".")
			})...,
		)},
		"bonuschecks.csv": {sampleCSV, table(
			"csv", row(1, "e-post", "telefon", "bonuscheck-id", "namn", "beskrivning", "värde", "giltig från", "giltig till"),
			rows(2011, func(s string) string { return strings.ReplaceAll(s, ".", ",") })...,
		)},
		"bonuschecks.txt": {sampleTXT, table(
			"txt", row(1, "emailAddress", "phone_number", "Sitoo-Contact.bonuschecks"),
			row(2, byCustomer[0].email, byCustomer[0].phone, sampleJSON(t, byCustomer[:2])),
			row(3, byCustomer[2].email, byCustomer[2].phone, sampleJSON(t, byCustomer[2:3])),
			row(4, byCustomer[3].email, byCustomer[3].phone, sampleJSON(t, byCustomer[3:4])),
			row(5, byCustomer[4].email, byCustomer[4].phone, sampleJSON(t, byCustomer[4:5])),
			row(6, byCustomer[5].email, byCustomer[5].phone, sampleJSON(t, byCustomer[5:])),
		)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, path := tt.make(t), filepath.Join(samples, name)
			if *update {
				if err := os.MkdirAll(samples, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, body, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; go test ./shared/sheet -run TestSamples -update writes it", err)
			}
			if diff := cmp.Diff(unpacked(t, body), unpacked(t, file)); diff != "" {
				t.Errorf("%s is not what is written here (-written +is):\n%s", name, diff)
			}
			reads(t, file, tt.want)
		})
	}
}
