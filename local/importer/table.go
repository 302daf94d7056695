package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/sheet"
)

// What a part may have. The connector takes 4 MiB and 2,000,000 cells, of which
// each needs a byte here; it checks a part of this size in a second or two.
const (
	maxRows  = 20_000
	maxBytes = 1_900_000
)

// limits are the rows and bytes of a part.
type limits struct{ rows, bytes int }

// table is a file. Rows of text are read again when they are sent.
type table struct {
	header []string
	note   string // which worksheet of several it is
	rows   []row  // below the headings, without empty ones; complete after scan
	text   *text  // nil if rows have their cells
	file   *os.File
}

// row is where a row is, and how large.
type row struct {
	number int      // as a spreadsheet counts: 1 is the first line
	cells  []string // of a table that is held in memory
	at     int64    // of text: where its bytes are, and how many
	size   int
	bytes  int // in a part, at most
}

// open opens a file and reads its headings. close closes it.
func open(name string) (*table, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	t, err := read(f)
	if err != nil {
		_ = f.Close()
		return nil, sentence(err)
	}
	t.file = f
	return t, nil
}

func (t *table) close() { _ = t.file.Close() }

// workbooks are the first bytes of an .xlsx and an .xls file.
var workbooks = []string{"PK\x03\x04", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"}

// read reads what package sheet takes with it, as the connector would. Only text
// can be larger.
func read(f *os.File) (*table, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", f.Name())
	}
	if info.Size() <= sheet.MaxSize {
		body := make([]byte, info.Size())
		if _, err := f.ReadAt(body, 0); err != nil && len(body) > 0 {
			return nil, err
		}
		return inMemory(body)
	}
	start := make([]byte, 8)
	if _, err := f.ReadAt(start, 0); err != nil {
		return nil, err
	}
	for _, w := range workbooks {
		if bytes.HasPrefix(start, []byte(w)) {
			return nil, fmt.Errorf("a workbook of more than %d MiB is not read: save it as .csv (UTF-8) in the spreadsheet program, which may be of any size, and import that file", sheet.MaxSize>>20)
		}
	}
	return openText(f, info.Size())
}

func inMemory(body []byte) (*table, error) {
	s, err := sheet.Read(body)
	if err != nil {
		return nil, err
	}
	t := &table{header: s.Header.Cells, note: s.Note, rows: make([]row, len(s.Rows))}
	for i, r := range s.Rows {
		t.rows[i] = row{number: r.Number, cells: r.Cells, bytes: rendered(r.Cells)}
	}
	return t, nil
}

// openText reads the headings of text of any size.
func openText(src io.ReaderAt, size int64) (*table, error) {
	x, err := newText(src, size)
	if err != nil {
		return nil, err
	}
	t := &table{text: x}
	err = x.scan(func(l line) bool { t.header = l.cells; return false })
	if err == nil && t.header == nil {
		err = errors.New("the file is empty")
	}
	return t, err
}

// scan yields the rows below the headings, with their numbers.
func (t *table) scan(yield func(number int, cells []string) bool) error {
	if t.text == nil {
		for _, r := range t.rows {
			if !yield(r.number, r.cells) {
				return nil
			}
		}
		return nil
	}
	t.rows = nil
	headings := true
	return t.text.scan(func(l line) bool {
		if headings {
			headings = false
			return true
		}
		t.rows = append(t.rows, row{number: l.number, at: l.at, size: l.size, bytes: rendered(l.cells)})
		return yield(l.number, l.cells)
	})
}

// cells returns the cells of a row.
func (t *table) cells(i int) ([]string, error) {
	r := t.rows[i]
	if t.text == nil {
		return r.cells, nil
	}
	return t.text.row(r)
}

// rendered is the most bytes that a row can have in a part.
func rendered(cells []string) int {
	n := 1
	for _, c := range cells {
		n += len(c) + 3 // quotation marks around it, and what is after it
		for i := range len(c) {
			if c[i] == '"' {
				n++
			}
		}
	}
	return n
}

// split makes parts of a table's rows, each by number. All rows of a customer
// are in one part, unless they alone are too many for one.
func split(t *table, customers []bonus.Customer, most limits) (parts [][]int) {
	var part []int
	size := rendered(t.header)
	cut := func() {
		if len(part) > 0 {
			slices.Sort(part)
			parts = append(parts, part)
		}
		part, size = nil, rendered(t.header)
	}
	for _, c := range customers {
		list := make([]int, len(c.Lines))
		bytes := 0
		for n, l := range c.Lines {
			list[n], _ = slices.BinarySearchFunc(t.rows, l.Row, func(r row, number int) int { return r.number - number })
			bytes += t.rows[list[n]].bytes
		}
		if len(part)+len(list) > most.rows || size+bytes > most.bytes {
			cut()
		}
		for _, i := range list {
			if len(part) == most.rows || size+t.rows[i].bytes > most.bytes {
				cut()
			}
			part, size = append(part, i), size+t.rows[i].bytes
		}
	}
	cut()
	return parts
}

// render writes a part as the connector reads it: the headings, and the rows
// from the second line on.
func render(t *table, rows []int) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("sep=;\n") // no heading can be taken for a separator then; the line is not counted
	w := csv.NewWriter(&b)
	w.Comma = ';'
	if err := w.Write(t.header); err != nil {
		return nil, fmt.Errorf("write headings: %w", err)
	}
	for _, i := range rows {
		cells, err := t.cells(i)
		if err != nil {
			return nil, err
		}
		if err := w.Write(cells); err != nil {
			return nil, fmt.Errorf("write row %d: %w", t.rows[i].number, err)
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
