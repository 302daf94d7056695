package sheet_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sentence"
	"sitoo-rule/shared/sheet"
)

// table is what a file should hold, a row as its number and cells.
func table(format string, header sheet.Row, rows ...sheet.Row) sheet.Sheet {
	return sheet.Sheet{Format: format, Header: header, Rows: rows}
}

func row(number int, cells ...string) sheet.Row { return sheet.Row{Number: number, Cells: cells} }

// reads fails the test unless a file is read as want.
func reads(t *testing.T, body []byte, want sheet.Sheet) {
	t.Helper()
	got, err := sheet.Read(body)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if text, _ := sentence.Text(sentence.English, "file_sheet", got.About); got.About == nil != (got.Note == "") || got.About != nil && text != got.Note {
		t.Errorf("About is %v beside the note %q", got.About, got.Note)
	}
	got.About = want.About // Note says it
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

// refuses fails the test unless a file is refused with a kind and a sentence
// that holds text.
func refuses(t *testing.T, body []byte, kind fault.Kind, text string) {
	t.Helper()
	got, err := sheet.Read(body)
	switch f := fault.As(err); {
	case err == nil:
		t.Errorf("read as %d rows of %s, want it to be refused", len(got.Rows), got.Format)
	case f.Kind != kind || !strings.Contains(f.Message, text):
		t.Errorf("error = %v, want %v with %q", err, kind, text)
	case !strings.HasSuffix(f.Message, "."):
		t.Errorf("message %q is not a sentence", f.Message)
	case !sentence.OfFile(f.Code) || strings.ContainsAny(f.Sentence(sentence.Swedish), "{}") || f.Sentence(sentence.Swedish) == f.Message:
		t.Errorf("code %q, in Swedish %q", f.Code, f.Sentence(sentence.Swedish))
	}
}

// within says what limit a table breaks, "" if none.
func within(s sheet.Sheet) string {
	cells, text := 0, 0
	last := s.Header.Number
	switch {
	case len(s.Rows) > sheet.MaxRows:
		return "has too many rows"
	case last < 1 || len(s.Header.Cells) == 0:
		return "has no header"
	}
	for i, r := range append([]sheet.Row{s.Header}, s.Rows...) {
		cells += len(r.Cells)
		switch {
		case i > 0 && r.Number <= last:
			return "has a row's number twice, or out of order"
		case len(r.Cells) == 0 || len(r.Cells) > sheet.MaxColumns:
			return "has a row with no cells or too many"
		case r.Cells[len(r.Cells)-1] == "":
			return "has a row that ends with an empty cell"
		}
		last = r.Number
		for _, c := range r.Cells {
			text += len(c)
			if utf8.RuneCountInString(c) > sheet.MaxCell || strings.TrimSpace(c) != c {
				return "has a cell that is too long or not trimmed"
			}
		}
	}
	if cells > sheet.MaxCells || text > sheet.MaxUnpacked {
		return "has too many cells or too much text"
	}
	return ""
}

func TestColumn(t *testing.T) {
	t.Parallel()
	for i, want := range map[int]string{-1: "", 0: "A", 1: "B", 25: "Z", 26: "AA", 27: "AB", 51: "AZ", 52: "BA", 99: "CV", 701: "ZZ", 702: "AAA", 16383: "XFD"} {
		if got := sheet.Column(i); got != want {
			t.Errorf("Column(%d) = %q, want %q", i, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	rows := func(n int) string { return "email\n" + strings.Repeat("x\n", n) }
	wide := func(n int) string { return "email;" + strings.Repeat(";", n-2) + "x\n" }
	for name, tt := range map[string]struct {
		body string
		want string // "" for none
	}{
		"as many rows as may be":       {body: rows(sheet.MaxRows)},
		"a row too many":               {body: rows(sheet.MaxRows + 1), want: "more than 100000 rows"},
		"empty rows don't count":       {body: rows(sheet.MaxRows) + strings.Repeat("\t\n\n", 1000) + "\n"},
		"as many columns as may be":    {body: wide(sheet.MaxColumns)},
		"a column too many":            {body: wide(sheet.MaxColumns + 1), want: "CW1 is to the right of column CV"},
		"empty columns don't count":    {body: "email" + strings.Repeat(";", 5000) + "\nx" + strings.Repeat(" ;", 5000)},
		"as long a cell as may be":     {body: "email;x\n;" + strings.Repeat("å", sheet.MaxCell)},
		"a character too many":         {body: "email;x\n;" + strings.Repeat("å", sheet.MaxCell+1), want: "B2 holds more than 65000 characters"},
		"one too many in quotes":       {body: "email;x\n;\"" + strings.Repeat("å", sheet.MaxCell+1) + `"`, want: "B2 holds more than 65000 characters"},
		"far too many in quotes":       {body: "email;x\n;\"" + strings.Repeat("å", 5*sheet.MaxCell) + `"`, want: "B2 holds more than 65000 characters"},
		"as many cells as may be":      {body: strings.Repeat(wide(sheet.MaxColumns), sheet.MaxCells/sheet.MaxColumns)},
		"a cell too many":              {body: strings.Repeat(wide(sheet.MaxColumns), sheet.MaxCells/sheet.MaxColumns) + "x", want: "more than 1000000 cells"},
		"as large as may be":           {body: "email\n" + strings.Repeat(" ", sheet.MaxSize-7) + "x"},
		"a byte too large":             {body: strings.Repeat(" ", sheet.MaxSize) + "x", want: "larger than 4 MiB"},
		"a byte too large, a workbook": {body: "PK\x03\x04" + strings.Repeat(" ", sheet.MaxSize), want: "larger than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.want != "" {
				refuses(t, []byte(tt.body), fault.TooLarge, tt.want)
				return
			}
			got, err := sheet.Read([]byte(tt.body))
			if err != nil {
				t.Fatalf("Read: %v", err)
			}
			if what := within(got); what != "" {
				t.Errorf("the table %s", what)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	lines, cells, about, err := sheet.Lines([]byte("\nemail;phone\n\n;1\n"))
	if diff := cmp.Diff([]int{2, 4}, lines); diff != "" || about != nil || err != nil {
		t.Errorf("error = %v, lines (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([][]string{{"email", "phone"}, {"", "1"}}, cells); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	if _, _, _, err := sheet.Lines(nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("error of an empty file = %v, want invalid", err)
	}
}
