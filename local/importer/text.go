package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	utf "golang.org/x/text/encoding/unicode"

	"sitoo-rule/shared/sheet"
)

// maxRow is how many bytes of UTF-8 a row may have: more than any that can be
// imported.
const maxRow = 1 << 20

// errChanged is for a file that is not what it was a moment ago.
var errChanged = errors.New("the file has changed while it was read")

// text is a table as text of any size, read as package sheet reads smaller ones:
// the same encodings, separators and quotation marks. A test holds the two
// together.
type text struct {
	src       io.ReaderAt
	start     int64 // after a byte order mark
	size      int64 // of the whole file
	encoding  encoding.Encoding
	wide      bool // UTF-16
	single    bool // a byte for each character
	separator byte
	newline   byte // what ends a row: '\r' in a file of an old Macintosh
	skip      int  // bytes of the line that only names the separator
}

// line is a row of text that is not empty.
type line struct {
	number int // as a spreadsheet counts
	cells  []string
	at     int64
	size   int // bytes of the file
}

// newText finds out how a file is written.
func newText(src io.ReaderAt, size int64) (*text, error) {
	t := &text{src: src, size: size, encoding: utf.UTF8, separator: '\t', newline: '\n'}
	if err := t.detect(); err != nil {
		return nil, err
	}
	w := t.window(t.start, t.size)
	s, _, err := w.fill()
	if err != nil {
		return nil, err
	}
	if what := strings.TrimSpace(string(s[:min(len(s), 100)])); strings.HasPrefix(what, "<") || strings.HasPrefix(what, "{") || strings.HasPrefix(what, "[{") {
		return nil, errors.New("the file is a web page, XML or JSON and not a table; save the table as .csv or .txt (tab-separated)")
	}
	if !bytes.ContainsRune(s, '\n') {
		t.newline = '\r'
	}
	t.separate(s)
	return t, nil
}

// detect finds out the encoding.
func (t *text) detect() error {
	head := make([]byte, min(t.size, 512))
	if _, err := io.ReadFull(io.NewSectionReader(t.src, 0, t.size), head); err != nil {
		return err
	}
	marked := bytes.HasPrefix(head, []byte("\xef\xbb\xbf"))
	if marked {
		t.start = 3
	} else if endian, mark, ok := utf16Of(head); ok {
		if t.size%2 != 0 {
			return errors.New("the file is UTF-16 text that is cut off; save it again, as UTF-8 if you can choose")
		}
		t.start, t.wide, t.encoding = int64(mark), true, utf.UTF16(endian, utf.IgnoreBOM)
		return nil
	}
	good, bad, number, macintosh, first, firstMac := 0, 0, 1, 1, 0, 0
	r := bufio.NewReaderSize(io.NewSectionReader(t.src, t.start, t.size-t.start), 64<<10)
	for {
		c, n, err := r.ReadRune()
		switch {
		case errors.Is(err, io.EOF):
			if bad == 0 {
				return nil
			}
			if number == 1 { // its lines end as an old Macintosh writes them
				first = firstMac
			}
			if marked || good > bad {
				return fmt.Errorf("the file is UTF-8, which line %d is not; save it again as UTF-8", first)
			}
			charset, err := sheet.Charset(io.NewSectionReader(t.src, t.start, t.size-t.start))
			if err != nil {
				return err
			}
			t.single, t.encoding = true, charset
			return nil
		case err != nil:
			return err
		case c == utf8.RuneError && n == 1:
			if bad++; bad == 1 {
				first, firstMac = number, macintosh
			}
		case c == '\n':
			number++
		case c == '\r':
			macintosh++
		case n > 1:
			good++
		}
	}
}

// utf16Of tells the byte order of UTF-16 by its mark, of mark bytes, or because
// every other byte of the first characters is 0.
func utf16Of(head []byte) (endian utf.Endianness, mark int, ok bool) {
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return utf.LittleEndian, 2, true
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return utf.BigEndian, 2, true
	}
	var zeros [2]int
	n := len(head) &^ 1
	for i, c := range head[:n] {
		if c == 0 {
			zeros[i&1]++
		}
	}
	enough := (n/2*9 + 9) / 10
	switch {
	case n > 0 && zeros[0] == 0 && zeros[1] >= enough:
		return utf.LittleEndian, 0, true
	case n > 0 && zeros[1] == 0 && zeros[0] >= enough:
		return utf.BigEndian, 0, true
	}
	return utf.LittleEndian, 0, false
}

// separate finds out what is between the columns, from the beginning of a file.
func (t *text) separate(s []byte) {
	end := func(s []byte) int {
		if i := bytes.IndexByte(s, t.newline); i >= 0 {
			return i + 1
		}
		return len(s)
	}
	first := end(s)
	if l := strings.TrimRight(string(s[:first]), "\r\n"); len(l) == len("sep=;") && strings.EqualFold(l[:4], "sep=") && strings.Contains("\t;,", l[4:]) {
		t.separator, t.skip = l[4], first
		return
	}
	for strings.Trim(trim(string(s[:first])), "\t;,\"") == "" {
		if first == len(s) {
			return
		}
		s = s[first:]
		first = end(s)
	}
	tabs, semicolons, commas := 0, 0, 0
	quoted := false
	for _, c := range s[:first] {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\t':
			tabs++
		case c == ';':
			semicolons++
		case c == ',':
			commas++
		}
	}
	switch {
	case tabs > 0 || semicolons+commas == 0:
	case semicolons >= commas:
		t.separator = ';'
	default:
		t.separator = ','
	}
}

// scan yields the lines that are not empty until it is told to stop.
func (t *text) scan(yield func(line) bool) error {
	w := t.window(t.start, t.size)
	at, skip := t.start, t.skip
	for number := 1; ; number++ {
		s, whole, err := w.fill()
		if err != nil {
			return err
		}
		if skip > 0 { // bytes of ASCII
			at += int64(t.length(s[:skip]))
			w.advance(skip)
			skip, number = 0, 0
			continue
		}
		if len(s) == 0 {
			return nil
		}
		cells, n, err := t.parse(s, whole, number)
		if err != nil {
			return err
		}
		size := t.length(s[:n])
		w.advance(n)
		if len(cells) > 0 && !yield(line{number, cells, at, size}) {
			return nil
		}
		at += int64(size)
	}
}

// row reads a row again.
func (t *text) row(r row) ([]string, error) {
	s := make([]byte, r.size)
	if _, err := t.src.ReadAt(s, r.at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read row %d: %w", r.number, err)
	}
	if t.wide || t.single {
		var err error
		if s, err = t.encoding.NewDecoder().Bytes(s); err != nil {
			return nil, fmt.Errorf("read row %d: %w", r.number, err)
		}
	}
	cells, n, err := t.parse(s, true, r.number)
	if err == nil && (n != len(s) || rendered(cells) != r.bytes) {
		err = errChanged
	}
	return cells, err
}

// length is how many bytes of the file make s.
func (t *text) length(s []byte) int {
	switch {
	case t.single:
		return utf8.RuneCount(s)
	case t.wide:
		n := 0
		for _, r := range string(s) {
			n += 2 * max(utf16.RuneLen(r), 1)
		}
		return n
	}
	return len(s)
}

// window shows a stretch of a file as UTF-8.
type window struct {
	r    io.Reader
	b    []byte
	end  bool // r has no more
	trim bool // of what marks the end of a file under DOS
}

func (t *text) window(from, to int64) *window {
	var r io.Reader = io.NewSectionReader(t.src, from, to-from)
	if t.wide || t.single {
		r = t.encoding.NewDecoder().Reader(r)
	}
	return &window{r: r, trim: !t.wide}
}

// fill returns what is next: the rest of the file if whole, otherwise at least
// maxRow bytes.
func (w *window) fill() (s []byte, whole bool, err error) {
	for !w.end && len(w.b) < maxRow {
		w.b = append(make([]byte, 0, 2*maxRow), w.b...)
		n, err := io.ReadFull(w.r, w.b[len(w.b):cap(w.b)])
		w.b = w.b[:len(w.b)+n]
		if w.end = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !w.end {
			return nil, false, fmt.Errorf("read file: %w", err)
		}
		if w.end && w.trim {
			w.b = bytes.TrimRight(w.b, "\x1a")
		}
	}
	return w.b, w.end, nil
}

func (w *window) advance(n int) { w.b = w.b[n:] }

// parse reads the row that s begins with, and its n bytes, the line end
// included. whole says that nothing comes after s.
func (t *text) parse(s []byte, whole bool, number int) (cells []string, n int, err error) {
	p := parser{t: t, s: s}
	for col, last := 0, false; !last; col++ {
		var cell string
		cell, last, err = p.next(number, col)
		if p.touched && !whole {
			return nil, 0, fmt.Errorf("row %d has more than %d MiB, or a quotation mark in it is not closed", number, maxRow>>20)
		}
		if err != nil {
			return nil, 0, err
		}
		if cell = trim(cell); cell == "" {
			continue
		}
		if err := check(cell, number, col); err != nil {
			return nil, 0, err
		}
		for len(cells) < col {
			cells = append(cells, "")
		}
		cells = append(cells, cell)
	}
	return cells, p.pos, nil
}

// check refuses what the connector would, with the row's number in the file.
func check(cell string, row, col int) error {
	name := fmt.Sprintf("%s%d", sheet.Column(col), row)
	switch {
	case col >= sheet.MaxColumns:
		return fmt.Errorf("%s is to the right of column %s; a table may have %d columns", name, sheet.Column(sheet.MaxColumns-1), sheet.MaxColumns)
	case len(cell) > sheet.MaxCell && utf8.RuneCountInString(cell) > sheet.MaxCell:
		return tooLong(row, col)
	}
	if sheet.Misread(cell) {
		return fmt.Errorf("%s holds letters that were read in the wrong encoding before, such as Ã¥ for å; go back to the file in which they are right, and save it as UTF-8 text (in Excel: CSV UTF-8)", name)
	}
	for _, r := range cell {
		switch {
		case r == utf8.RuneError:
			return fmt.Errorf("%s holds a character that is damaged; correct it, and save the file as UTF-8", name)
		case r != '\t' && r != '\n' && r != '\v' && r != '\f' && r != '\r' && r != '\u0085' && unicode.IsControl(r):
			return fmt.Errorf("%s holds a control character; type the cell again and save the file", name)
		}
	}
	return nil
}

func tooLong(row, col int) error {
	return fmt.Errorf("%s%d holds more than %d characters, which is the limit of a cell", sheet.Column(col), row, sheet.MaxCell)
}

// trim removes white space around s, and the invisible marks that copying from a
// web page leaves.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff' })
}

// parser splits a row into cells.
type parser struct {
	t       *text
	s       []byte
	pos     int
	touched bool // what comes after s could matter
}

// next returns the next cell, and whether it is the last one of its row.
func (p *parser) next(row, col int) (cell string, last bool, err error) {
	from := p.pos
	for from < len(p.s) && p.s[from] == ' ' {
		from++
	}
	quoted := false
	if from < len(p.s) && p.s[from] == '"' {
		var end int
		cell, end, quoted = p.quoted(from + 1)
		switch {
		case quoted:
			p.pos = end
		case end-from > utf8.UTFMax*sheet.MaxCell:
			return "", false, tooLong(row, col)
		case p.t.separator != '\t':
			return "", false, fmt.Errorf("%s%d begins with a quotation mark, and is not as expected after it: a cell in quotation marks ends with one, and one inside it is written twice", sheet.Column(col), row)
		}
	}
	if !quoted {
		end := p.pos
		for end < len(p.s) && p.s[end] != p.t.separator && p.s[end] != p.t.newline {
			end++
		}
		cell, p.pos = string(p.s[p.pos:end]), end
	}
	if p.pos == len(p.s) {
		p.touched = true
		return cell, true, nil
	}
	if p.s[p.pos] == '\r' && p.t.newline == '\n' { // of the line end after a cell in quotation marks
		p.pos++
	}
	last = p.s[p.pos] == p.t.newline
	p.pos++
	return cell, last, nil
}

// quoted returns the cell in quotation marks whose text begins at from, and
// where what follows it begins. It is not ok, and end is how far it looked, if
// there is no such cell: see package sheet for which there are.
func (p *parser) quoted(from int) (cell string, end int, ok bool) {
	doubled, newline, tab := false, false, false
	for i := from; i < len(p.s) && i-from <= utf8.UTFMax*sheet.MaxCell; i++ {
		switch c := p.s[i]; {
		case c == '"' && i+1 < len(p.s) && p.s[i+1] == '"':
			doubled = true
			i++
		case c == '"':
			cell, end = string(p.s[from:i]), i+1
			for end < len(p.s) && p.s[end] == ' ' {
				end++
			}
			after := p.s[end:]
			if len(after) > 0 && after[0] != p.t.separator && after[0] != p.t.newline && !bytes.HasPrefix(after, []byte("\r\n")) {
				p.touched = p.touched || len(after) == 1
				return "", from, false
			}
			if doubled {
				cell = strings.ReplaceAll(cell, `""`, `"`)
			}
			if p.t.newline == '\r' {
				cell = strings.ReplaceAll(cell, "\r", "\n")
			}
			return strings.ReplaceAll(cell, "\r\n", "\n"), end, true
		case c == p.t.newline:
			newline = true
		case c == '\t':
			tab = true
		}
		if p.t.separator == '\t' && newline && tab {
			return "", from, false
		}
		end = i
	}
	p.touched = p.touched || from+utf8.UTFMax*sheet.MaxCell >= len(p.s)
	return "", end, false
}
