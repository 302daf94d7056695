// Package sheet reads a table file that somebody uploads into rows of text. It
// knows nothing of what the rows mean.
//
// What a file is, its content tells, never its name: a workbook (.xlsx, .xls)
// or text with tabs, semicolons or commas between the columns. Files come from
// outside, so every reader bounds what it takes and what it allocates; a file
// that is refused is refused with a sentence that says what is expected, and
// that names the cell but never what is in it, which may be personal data.
//
// The readers of workbooks are our own. What github.com/xuri/excelize/v2 streams
// does not say that a cell holds a formula, an error or a date, and it keeps what
// a hostile file makes it unpack as objects in memory; the tests write workbooks
// with it, and compare. What github.com/extrame/xls makes of an .xls file is
// wrong about money (49.50, stored as 4950 hundredths, is read as 4950), and it
// ends the process for some broken files.
package sheet

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sentence"
)

// The limits of a file. What is over one is fault.TooLarge. The heap stays
// below 200 MB for the worst file within MaxSize.
const (
	MaxSize    = 4 << 20 // bytes of the file
	MaxRows    = 100_000 // rows that are not empty, the headings not counted
	MaxColumns = 100
	MaxCell    = 65_000 // characters of one cell, what Rule takes for a whole group of fields
	// MaxCells counts every cell up to the last one that is not empty of each row.
	MaxCells = 1_000_000
	// MaxUnpacked is the bytes of XML that are unpacked of an .xlsx file, and
	// the bytes of the text of all cells, however often a file repeats a text.
	MaxUnpacked = 64 << 20
)

// Sheet is a table of text.
type Sheet struct {
	// Format is "xlsx", "xls", "csv" (semicolons or commas) or "txt" (tabs, or
	// a single column).
	Format string
	// Note says which worksheet this is and how another one is read instead, ""
	// if the workbook has no other one that is visible.
	Note string
	// About is what Note says, as the arguments of a sentence about a file.
	About  sentence.Args
	Header Row   // the first line that is not empty
	Rows   []Row // the other ones
}

// Row is a line of a table that is not empty. The cells are trimmed of white
// space, no-break spaces too, and so is the row of the empty cells at its end.
type Row struct {
	Number int // as a spreadsheet counts: 1 is the first line
	Cells  []string
}

// Read reads a table file.
//
// Text is UTF-8, UTF-16 (with a byte order mark, or where every other byte of
// the first characters is 0), Windows-1252, Mac Roman or CP850, which one its
// Nordic letters tell. Letters that were read in a wrong encoding before are
// refused, in workbooks too. The headings tell the separator:
// a tab if there is one, else the more frequent of semicolon and comma; a first
// line as "sep=;" overrules them. A cell may be in quotation marks, as
// spreadsheets write it; a quotation mark inside one that does not begin with
// it is an ordinary character, so that JSON needs no quotation marks around it.
//
// Of a workbook the first visible worksheet is read, hidden rows and columns
// included; Note names it. Numbers are plain ("49.5", "46701740605"), rounded to
// the 15 digits that a spreadsheet works with, whatever their format shows. Those
// of more digits, of which the rest is lost, have an exponent ("1.23E+15"), and a
// percentage is "10%". Dates are
// "2026-12-31", or "2026-12-31T10:00:00" if the format of the cell shows a time
// and the cell has one other than midnight, and "10:00:00" if there is no date;
// booleans are "true" and "false". A formula is refused, as what it shows may
// be stale or of another file, and so are an error such as #N/A, macros and a
// password. An .xls file must be of Excel 97 or later.
//
// The error is fault.TooLarge for what is over a limit and fault.Invalid for
// all else.
func Read(body []byte) (Sheet, error) {
	switch {
	case len(body) > MaxSize:
		return Sheet{}, fault.Say(fault.TooLarge, "file_large", "mib", MaxSize>>20)
	case bytes.HasPrefix(body, []byte("PK\x03\x04")), bytes.HasPrefix(body, []byte("PK\x05\x06")):
		return readXLSX(body)
	case bytes.HasPrefix(body, []byte(compoundMagic)):
		return readXLS(body)
	case bareWorkbook(body):
		return readStream(body)
	}
	return readText(body)
}

// Column returns what a spreadsheet calls the column i, which counts from 0:
// "A", "Z", "AA". It is "" for a negative i.
func Column(i int) string {
	var name []byte
	for ; i >= 0; i = i/26 - 1 {
		name = append(name, byte('A'+i%26))
	}
	slices.Reverse(name)
	return string(name)
}

// cellName returns what a spreadsheet calls a cell, as "C7".
func cellName(row, col int) string { return Column(col) + strconv.Itoa(row) }

// builder gathers a table cell by cell and keeps the limits.
type builder struct {
	sheet       Sheet
	row         []string // of the row at hand, up to its last cell that is not empty
	cells, text int      // of all rows so far

	name   string // of the worksheet, "" in text
	others int    // worksheets that are visible and not read
}

// cell adds a cell to the row at hand, to the right of those it has.
func (b *builder) cell(row, col int, s string) error {
	s = trim(s)
	if s == "" {
		return nil
	}
	if col >= MaxColumns {
		return fault.Say(fault.TooLarge, "file_columns", "cell", cellName(row, col), "column", Column(MaxColumns-1), "limit", MaxColumns)
	}
	if len(s) > MaxCell && utf8.RuneCountInString(s) > MaxCell {
		return tooLong(row, col)
	}
	if Misread(s) {
		return fault.Say(fault.Invalid, "file_misread", "cell", cellName(row, col))
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, control) {
		return fault.Say(fault.Invalid, "file_character", "cell", cellName(row, col))
	}
	b.cells += col + 1 - len(b.row)
	b.text += len(s)
	if b.cells > MaxCells {
		return fault.Say(fault.TooLarge, "file_cells", "limit", MaxCells)
	}
	if b.text > MaxUnpacked {
		return fault.Say(fault.TooLarge, "file_text", "mib", MaxUnpacked>>20)
	}
	for len(b.row) < col {
		b.row = append(b.row, "")
	}
	b.row = append(b.row, s)
	return nil
}

// tooLong is the error for a cell with too much text.
func tooLong(row, col int) error {
	return fault.Say(fault.TooLarge, "file_cell_long", "cell", cellName(row, col), "limit", MaxCell)
}

// end ends the row at hand.
func (b *builder) end(number int) error {
	if len(b.row) == 0 {
		return nil
	}
	row := Row{Number: number, Cells: slices.Clone(b.row)}
	b.row = b.row[:0]
	if b.sheet.Header.Number == 0 {
		b.sheet.Header = row
		return nil
	}
	if len(b.sheet.Rows) == MaxRows {
		return fault.Say(fault.TooLarge, "file_rows", "limit", MaxRows)
	}
	b.sheet.Rows = append(b.sheet.Rows, row)
	return nil
}

// done returns the table.
func (b *builder) done(format string) (Sheet, error) {
	b.sheet.Format, b.sheet.Note, b.sheet.About = format, b.note(), b.about()
	if b.sheet.Header.Number > 0 {
		return b.sheet, nil
	}
	f := fault.Say(fault.Invalid, "file_no_table")
	if b.name == "" {
		return Sheet{}, f
	}
	args := b.about()
	if b.others == 0 {
		args = sentence.Args{sentence.Sheet: b.name}
	}
	return Sheet{}, f.About(args)
}

// about is what the answer says of the worksheet, nil if there is but one.
func (b *builder) about() sentence.Args {
	if b.others == 0 {
		return nil
	}
	return sentence.Args{sentence.Sheet: b.name, sentence.Others: b.others}
}

// note is the Note of the table.
func (b *builder) note() string { return noteOf(b.about()) }

func noteOf(about sentence.Args) string {
	if about == nil {
		return ""
	}
	text, _ := sentence.Text(sentence.English, "file_sheet", about)
	return text
}

// told adds to an error about the worksheet which one it is, if there are others:
// it may be one that explains the table.
func (b *builder) told(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || b.others == 0 {
		return err
	}
	return f.About(b.about())
}

// named notes what a worksheet is called.
func (b *builder) named(name string) {
	name = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, name)
	if r := []rune(name); len(r) > 31 { // as many as a spreadsheet takes
		name = string(r[:31])
	}
	b.name = name
}

// trim removes white space around s: no-break spaces are, and so are the
// invisible marks that copying from a web page leaves.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff'
	})
}

// control says whether r is a character that no text of a table has, the one
// that stands for damage included.
func control(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', '\u0085':
		return false
	case utf8.RuneError:
		return true
	}
	return unicode.IsControl(r)
}
