package stack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// workbooks makes an .xlsx file of worksheets, the first ones with rows.
func workbooks(t *testing.T, names []string, tables ...[][]string) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, name := range names {
		if _, err := f.NewSheet(name); err != nil {
			t.Fatal(err)
		}
		if i >= len(tables) {
			continue
		}
		for n, row := range tables[i] {
			if err := f.SetSheetRow(name, fmt.Sprint("A", n+1), &row); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		t.Fatal(err)
	}
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// othersFile returns a file in which another program does what is seldom seen.
func othersFile(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../shared/sheet/testdata/others", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// What a merchant sends is in Rule as she sees it in her own program, or she is
// told what to do about it and nothing is imported.
func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	check := func(members ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			m[members[i].(string)] = members[i+1]
		}
		return m
	}
	for name, want := range map[string]struct {
		who  string
		have map[string]any
	}{
		"1904-x15-workbookPr.xlsx":    {"kund@example.com", check("bonuscheckid", "x-2", "value", "100.00", "validto", "2030-12-31")},
		"inlinestr-with-v.xlsx":       {"kund@example.com", check("bonuscheckid", "x-3", "value", "100.00")},
		"macroman-lowercase.csv":      {"kund@example.com", check("bonuscheckid", "mac-1", "name", "Vårcheck för dig", "description", "Gäller även rea", "value", "100.50", "validfrom", "2026-01-01", "validto", "2030-12-31")},
		"embedded-workbook-first.xls": {"right@example.com", check("bonuscheckid", "right-1", "value", "100.00")},
		"embedded-word.xls":           {"right@example.com", check("bonuscheckid", "right-1", "value", "100.00")},
		"stream-Book-biff8.xls":       {"right@example.com", check("bonuscheckid", "right-1", "value", "100.00")},
		"sst-count-too-large.xls":     {"kund@example.com", check("bonuscheckid", "sst-1", "value", "100.00")},
		"sheetjs-content-type.xlsx":   {"kund@example.com", check("bonuscheckid", "x-1", "value", "100.00")},
		"surrogates.xlsx":             {"kund@example.com", check("bonuscheckid", "x-4", "name", "Check 😀", "value", "100.00")},
		"heading-tom.csv":             {"tom@example.com", check("bonuscheckid", "tom-1", "name", "Check", "value", "100.00", "validto", "2026-12-31")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{})
			if got := progress(r.imported(othersFile(t, name))); !strings.HasPrefix(got, "done 100%: 1 of 1, written 1") {
				t.Error(got)
			}
			if diff := cmp.Diff([]map[string]any{want.have}, r.inField(want.who)); diff != "" {
				t.Errorf("in Rule (-want +got):\n%s", diff)
			}
		})
	}
	for name, want := range map[string][]string{
		"utf8-doubleencoded.csv": {"F1 holds letters that were read in the wrong encoding", "save it as .xlsx or as UTF-8 text"},
		"id-scientific.csv":      {`"row":2,"column":"B bonuscheckid","code":"id_scientific","args":{"value":"7,35001E+12"}`, `"row":3`, "format the column as text", "Formatera kolumnen som text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{})
			a := r.upload(othersFile(t, name))
			r.want(a, http.StatusBadRequest)
			for _, w := range want {
				if !strings.Contains(a.Body, w) {
					t.Errorf("no %s in %s", w, a.Body)
				}
			}
			if r.drain(); len(r.everybody()) > 0 || len(r.allImports()) > 0 {
				t.Error("something was imported")
			}
		})
	}
}

// The answer names a column of dates that is not used, and the worksheet that
// was read.
func TestImportMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	message := func(status int, file []byte) string {
		t.Helper()
		m, _ := r.want(r.upload(file), status).(map[string]any)["message"].(string)
		return m
	}
	if m := message(202, lines(";", []string{"email", "id", "value", "Bäst före"}, []string{"a@example.com", "1", "5", "31.12.2026"})); !strings.HasPrefix(m, "Column D Bäst före looks like dates and is not used.") {
		t.Error(m)
	}
	if m := message(202, lines(";", []string{"email", "id", "value", "Butik"}, []string{"a@example.com", "1", "5", "Lund"})); m != "" {
		t.Error(m)
	}
	book := workbooks(t, []string{"Checkar", "Mer"}, [][]string{{"email", "id", "value"}, {"b@example.com", "1", "5"}})
	if m := message(202, book); !strings.Contains(m, "“Checkar”, and the workbook has 1 more") {
		t.Error(m)
	}
	if m := message(400, workbooks(t, []string{"Tom", "Checkar"})); !strings.Contains(m, "The table is empty.") || !strings.Contains(m, "“Tom”, and the workbook has 1 more") {
		t.Error(m)
	}
	m := message(400, workbooks(t, []string{"Information", "Checkar"}, [][]string{{"Så här gör du"}, {"Fyll i nästa blad"}}))
	if !strings.HasPrefix(m, "columns have neither an email address nor a phone number") || !strings.HasSuffix(m, "which is “Information”, and the workbook has 1 more. If the table is in another one, move that to the front, save the file and send it again.") {
		t.Error(m)
	}
}

// A file can be checked alone: the answer says what it would hand out, and
// nothing is imported.
func TestImportDryRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{})
	file := lines(
		";", []string{"email", "mobil", "id", "belopp", "giltig från", "giltig t.o.m.", "butik"},
		[]string{"a@example.com", "", "1", "100 kr", "2026-04-01", "31.12.2026", "Lund"},
		[]string{"a@example.com", "", "2", "49,50", "", "2027-01-31", "Lund"},
		[]string{"", "'0701740605", "1", "25", "2026-03-01", "", "Lund"},
	)
	dryrun := func(query string, file []byte) answer {
		req := r.request(http.MethodPost, "/bonuschecks?dryrun"+query, file)
		req.Header.Set("Content-Type", "text/csv")
		return r.send(req)
	}
	want := `{"rows":3,"customers":2,"checks":3,"sum":"174.50","firstday":"2026-03-01","lastday":"2027-01-31","withoutlastday":1,"ignored_columns":["butik"]}`
	for _, query := range []string{"=true", "=TRUE", "=1", ""} {
		a := dryrun(query, file)
		r.want(a, http.StatusOK)
		var got, expected any
		if err := json.Unmarshal([]byte(a.Body), &got); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal([]byte(want), &expected)
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	r.want(dryrun("=maybe", file), http.StatusBadRequest)
	if a := dryrun("=true", lines(";", []string{"email", "id", "value"}, []string{"a", "1", "5"})); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, `"code":"email"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if r.drain(); len(r.everybody()) > 0 || len(r.allImports()) > 0 {
		t.Error("something was imported")
	}
	r.accepted(dryrun("=false", file))
}
