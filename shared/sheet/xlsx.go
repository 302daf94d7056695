package sheet

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"sitoo-rule/shared/fault"
)

// Refusals of workbooks, of both kinds.
var (
	errMacros   = fault.Say(fault.Invalid, "file_macros")
	errPassword = fault.Say(fault.Invalid, "file_password")
	errNoSheet  = fault.Say(fault.Invalid, "file_no_sheet")
)

// damaged is the error for a workbook that cannot be read. err, for the log,
// holds nothing of the cells.
func damaged(err error) error {
	return fault.Say(fault.Invalid, "file_damaged").With(err)
}

// formulaAt is the error for a cell that is worked out.
func formulaAt(row, col int) error {
	return fault.Say(fault.Invalid, "file_formula", "cell", cellName(row, col))
}

// errorAt is the error for a cell that shows an error.
func errorAt(row, col int) error {
	return fault.Say(fault.Invalid, "file_error", "cell", cellName(row, col))
}

// workbook is an .xlsx file: XML in a ZIP archive.
type workbook struct {
	parts    map[string]*zip.File // by name in lower case
	budget   budget
	in       *bufio.Reader // what all parts are read with, one after the other
	from1904 bool
	formats  []format // by the number of a cell's style
	shared   []string
}

// readXLSX reads a file that is a ZIP archive.
func readXLSX(body []byte) (Sheet, error) {
	archive, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return Sheet{}, damaged(fmt.Errorf("open the archive: %w", err))
	}
	if len(archive.File) > maxEntries {
		return Sheet{}, fault.Say(fault.TooLarge, "file_parts", "limit", maxEntries)
	}
	w := workbook{parts: make(map[string]*zip.File, len(archive.File)), budget: budget{MaxUnpacked, maxElements}, in: bufio.NewReaderSize(nil, maxToken)}
	for _, f := range archive.File {
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "/"))
		if w.parts[name] != nil {
			return Sheet{}, damaged(errors.New("a part is there twice"))
		}
		w.parts[name] = f
	}
	if err := w.refuse(); err != nil {
		return Sheet{}, err
	}
	var b builder
	if err := w.read(&b); err != nil {
		return Sheet{}, b.told(err)
	}
	return b.done("xlsx")
}

// read reads the first visible worksheet.
func (w *workbook) read(b *builder) error {
	whole, err := w.links("")
	if err != nil {
		return err
	}
	main, ok := whole.first["officedocument"]
	if !ok {
		main = "xl/workbook.xml"
	}
	if err := w.types(main); err != nil {
		return err
	}
	visible, err := w.book(main)
	if err != nil {
		return err
	}
	links, err := w.links(main)
	if err != nil {
		return err
	}
	if _, ok := links.first["vbaproject"]; ok {
		return errMacros
	}
	var sheet string
	for _, v := range visible {
		l := links.byID[v.id]
		switch {
		case l.kind != "worksheet":
		case sheet == "":
			sheet = l.target
			b.named(v.name)
		default:
			b.others++
		}
	}
	if sheet == "" {
		return errNoSheet
	}
	if name, ok := links.first["styles"]; ok {
		if err := w.styles(name); err != nil {
			return err
		}
	}
	if name, ok := links.first["sharedstrings"]; ok {
		if err := w.strings(name); err != nil {
			return err
		}
	}
	return w.sheet(sheet, b)
}

// sheetEntry is a sheet in the workbook's list: the id of its relationship, and
// its name.
type sheetEntry struct{ id, name string }

// book reads the list of sheets. It returns the visible ones.
func (w *workbook) book(name string) (visible []sheetEntry, err error) {
	err = w.each(name, func(parent string, e *scanner) error {
		switch {
		case parent == "workbook" && e.name == "workbookPr":
			w.from1904 = isTrue(e.attr("date1904"))
		case parent == "sheets" && e.name == "sheet":
			if len(visible) == maxEntries {
				return damaged(errors.New("too many sheets"))
			}
			if s := e.attr("state"); s == "" || s == "visible" {
				visible = append(visible, sheetEntry{e.relation(), e.attr("name")})
			}
		}
		return nil
	})
	return visible, err
}

// styles reads what the number formats of the cells' styles mean.
func (w *workbook) styles(name string) error {
	own := make(map[int]format)
	var used []int
	err := w.each(name, func(parent string, e *scanner) error {
		id, err := strconv.Atoi(e.attr("numFmtId"))
		switch {
		case parent == "numFmts" && e.name == "numFmt" && err == nil && 0 <= id && id <= math.MaxUint16:
			own[id] = formatOf(id, e.attr("formatCode"))
		case parent == "cellXfs" && e.name == "xf":
			used = append(used, id)
		}
		return nil
	})
	for _, id := range used {
		f, ok := own[id]
		if !ok {
			f = formatOf(id, "")
		}
		w.formats = append(w.formats, f)
	}
	return err
}

// strings reads the texts that cells refer to by number.
func (w *workbook) strings(name string) error {
	var text []byte
	return w.scan(name, func(s *scanner, k kind) error {
		switch {
		case k == start && s.name == "si":
			text = text[:0]
		case k == chars:
			text = s.richText(text, 2)
		case k == end && s.name == "si":
			if len(w.shared) == MaxCells {
				return fault.Say(fault.TooLarge, "file_texts", "limit", MaxCells)
			}
			w.shared = append(w.shared, unescape(string(text)))
		}
		return nil
	})
}

// cell is a cell as the XML has it.
type cell struct {
	row, col int
	kind     string // the attribute t
	style    string
	value    []byte // of the element v
	inline   []byte // of the element is
}

// sheet reads a worksheet. Rows, and cells in a row, come in order; without a
// number they follow the one before.
func (w *workbook) sheet(name string, b *builder) error {
	c := cell{col: -1}
	return w.scan(name, func(s *scanner, k kind) (err error) {
		// The element that begins is in the path, one that ends is not any more.
		n := len(s.path)
		if n < 2 || s.path[1] != "sheetData" {
			if k == end && s.name == "sheetData" {
				return errDone
			}
			return nil
		}
		switch {
		case k == chars && n == 5 && s.path[4] == "v":
			c.value = s.add(c.value)
		case k == chars && n > 5 && s.path[4] == "is":
			c.inline = s.richText(c.inline, 5)
		case k == start && n == 3 && s.name == "row":
			c.row, err = rowAfter(c.row, s.attr("r"))
			c.col = -1
		case k == start && n == 4 && s.name == "c":
			c.col, err = columnAfter(c.col, c.row, s.attr("r"))
			c.kind, c.style, c.value, c.inline = s.attr("t"), s.attr("s"), c.value[:0], c.inline[:0]
		case k == start && n == 5 && s.name == "f":
			err = formulaAt(c.row, c.col)
		case k == end && n == 3 && s.name == "c":
			var text string
			if text, err = w.value(c); err == nil {
				err = b.cell(c.row, c.col, text)
			}
		case k == end && n == 2 && s.name == "row":
			err = b.end(c.row)
		}
		return err
	})
}

// errDone ends a scan before the end of the part.
var errDone = errors.New("done")

// rowAfter returns the number of the row after another one, which its own
// reference tells if it has one.
func rowAfter(last int, ref string) (int, error) {
	row := last + 1
	if ref != "" {
		var err error
		if row, err = strconv.Atoi(ref); err != nil || row <= last {
			return 0, damaged(errors.New("a row's number is not above the one before it"))
		}
	}
	if row > 1<<20 {
		return 0, damaged(errors.New("a row is below the last row of a worksheet"))
	}
	return row, nil
}

// columnAfter returns the number of the column after another one, which a
// cell's own reference tells if it has one.
func columnAfter(last, row int, ref string) (int, error) {
	if ref == "" {
		return last + 1, nil // bounded by what may be unpacked
	}
	letters := strings.TrimRight(ref, "0123456789")
	if n, err := strconv.Atoi(ref[len(letters):]); err != nil || n != row || len(letters) < 1 || len(letters) > 3 {
		return 0, damaged(errors.New("a cell's reference is not one in its row"))
	}
	col := 0
	for _, c := range []byte(strings.ToUpper(letters)) {
		if c < 'A' || 'Z' < c {
			return 0, damaged(errors.New("a cell's reference is not one in its row"))
		}
		col = col*26 + int(c-'A') + 1
	}
	if col--; col <= last {
		return 0, damaged(errors.New("a cell is not to the right of the one before it"))
	}
	return col, nil
}

// value returns what is in a cell.
func (w *workbook) value(c cell) (string, error) {
	if c.kind == "e" {
		return "", errorAt(c.row, c.col)
	}
	// Only one of the two is the cell's; what else is there is a leftover.
	text, other := c.value, c.inline
	if c.kind == "inlineStr" {
		text, other = other, text
	}
	s := trim(string(text))
	if s == "" {
		s = trim(string(other))
	}
	if s == "" {
		return "", nil
	}
	switch c.kind {
	case "s":
		if i, err := strconv.Atoi(s); err == nil && 0 <= i && i < len(w.shared) {
			return w.shared[i], nil
		}
	case "str", "inlineStr":
		return unescape(s), nil
	case "b":
		return strconv.FormatBool(isTrue(s)), nil
	case "d":
		return isoDate(s), nil
	case "", "n":
		f := plain
		if i, err := strconv.Atoi(c.style); err == nil && 0 <= i && i < len(w.formats) {
			f = w.formats[i]
		}
		// Whole numbers stay as they are: an id may have more digits than a
		// spreadsheet can work with.
		if f == plain && len(s) <= 20 && strings.Trim(s, "0123456789") == "" && (s[0] != '0' || len(s) == 1) {
			return s, nil
		}
		if n, err := strconv.ParseFloat(s, 64); err == nil && finite(n) {
			return f.text(n, w.from1904), nil
		}
	}
	return "", damaged(errors.New("a cell is not of its type"))
}

// isoDate returns a date that is stored as text as other dates are returned.
func isoDate(s string) string {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return dateTime.show(t)
		}
	}
	return s
}

// isTrue reads a boolean of XML.
func isTrue(s string) bool { return s == "1" || s == "true" }

// unescape turns what a spreadsheet writes for characters that XML cannot
// hold, as _x000D_ for a carriage return, into those characters. One beyond
// U+FFFF is written as two, halves of it.
func unescape(s string) string {
	i := strings.Index(s, "_x")
	if i < 0 {
		return s
	}
	var b strings.Builder
	for ; i >= 0; i = strings.Index(s, "_x") {
		b.WriteString(s[:i])
		s = s[i:]
		r, ok := escaped(s)
		if !ok {
			b.WriteByte('_')
			s = s[1:]
			continue
		}
		s = s[len(escape):]
		if low, ok := escaped(s); ok && utf16.IsSurrogate(r) && utf16.IsSurrogate(low) {
			r, s = utf16.DecodeRune(r, low), s[len(escape):]
		}
		b.WriteRune(r)
	}
	b.WriteString(s)
	return b.String()
}

// escape is the form in which a spreadsheet writes a character.
const escape = "_x000D_"

// escaped returns the character that s begins with in that form.
func escaped(s string) (rune, bool) {
	if len(s) < len(escape) || !strings.HasPrefix(s, "_x") || s[len(escape)-1] != '_' {
		return 0, false
	}
	r, err := strconv.ParseUint(s[2:len(escape)-1], 16, 16)
	return rune(r), err == nil
}

// richText adds the characters at hand to a text whose element is at a depth,
// if they are of it: plain, or of one of its stretches of the same format. How it
// is pronounced is not.
func (s *scanner) richText(text []byte, depth int) []byte {
	path := s.path[depth:]
	if n := len(path); n == 0 || path[n-1] != "t" || n > 2 || n == 2 && path[0] != "r" {
		return text
	}
	return s.add(text)
}

// add adds the characters at hand to a value, until it is larger than a cell may
// be.
func (s *scanner) add(value []byte) []byte {
	if len(value) > utf8.UTFMax*MaxCell {
		return value
	}
	return append(value, s.text...)
}
