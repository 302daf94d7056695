package sheet

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sentence"
)

// readText reads a file that is neither kind of workbook.
func readText(body []byte) (Sheet, error) {
	s, err := decode(body)
	if err != nil {
		return Sheet{}, err
	}
	if what := otherText(s); what != "" {
		return Sheet{}, fault.Say(fault.Invalid, "file_other", sentence.What, what)
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if !strings.Contains(s, "\n") {
		s = strings.ReplaceAll(s, "\r", "\n") // as an old Macintosh writes it
	}
	separator, s := separatorOf(s)
	p := parser{s: s, separator: separator}
	var b builder
	for row := 1; p.pos < len(p.s); row++ {
		for col, last := 0, false; !last; col++ {
			var cell string
			if cell, last, err = p.next(row, col); err == nil {
				err = b.cell(row, col, cell)
			}
			if err != nil {
				return Sheet{}, err
			}
		}
		if err := b.end(row); err != nil {
			return Sheet{}, err
		}
	}
	if separator == '\t' {
		return b.done("txt")
	}
	return b.done("csv")
}

// binaries are the first bytes of files that are sent by mistake.
var binaries = []struct{ magic, what string }{
	{"%PDF", "pdf"},
	{"{\\rtf", "rtf"},
	{"\x1f\x8b", "gzip"},
	{"7z\xbc\xaf\x27\x1c", "7z"},
	{"Rar!", "rar"},
	{"\x89PNG", "picture"},
	{"\xff\xd8\xff", "picture"},
	{"GIF8", "picture"},
}

// otherText returns what a text is, as sentences name it, if it is not a table: programs that offer
// to export to Excel often write a web page and call it .xls.
func otherText(s string) string {
	s = trim(s)
	switch {
	case len(s) > 1 && s[0] == '<' && (s[1] == '!' || s[1] == '?' || 'a' <= s[1]|0x20 && s[1]|0x20 <= 'z'):
		return "web"
	case strings.HasPrefix(s, "MIME-Version:"):
		return "saved_web"
	case strings.HasPrefix(s, "{"), strings.HasPrefix(s, "[{"):
		return "json"
	}
	return ""
}

// decode returns the text of a file.
func decode(body []byte) (string, error) {
	for _, b := range binaries {
		if bytes.HasPrefix(body, []byte(b.magic)) {
			return "", fault.Say(fault.Invalid, "file_other", sentence.What, b.what)
		}
	}
	var s string
	switch rest, marked := bytes.CutPrefix(body, []byte("\xef\xbb\xbf")); {
	case utf8.Valid(rest):
		// UTF-16 of plain letters is valid UTF-8 as well, with a zero byte in each.
		if endian, ok := utf16Of(body); ok && !marked {
			return decodeUTF16(body, endian)
		}
		s = string(rest)
	case marked:
		return "", fault.Say(fault.Invalid, "file_utf8_marked", "line", badLine(rest))
	default:
		if endian, ok := utf16Of(body); ok {
			return decodeUTF16(body, endian)
		}
		// Text of single bytes that happens to hold valid UTF-8 is next to
		// unheard of. UTF-8 with a damaged character is not: somebody's name
		// would be stored garbled.
		if good, bad := sequences(rest); good > bad {
			return "", fault.Say(fault.Invalid, "file_utf8", "line", badLine(rest))
		}
		charset, err := Charset(bytes.NewReader(rest))
		if err != nil {
			return "", err
		}
		text, err := charset.NewDecoder().Bytes(rest)
		if err != nil {
			return "", fault.Say(fault.Invalid, "file_not_text").With(err)
		}
		s = string(text)
	}
	s = strings.TrimRight(s, "\x1a") // the end of a file under DOS
	return s, printable(s)
}

// utf16Of tells the byte order of UTF-16, by its mark or because every other
// byte of the first characters is 0.
func utf16Of(body []byte) (unicode.Endianness, bool) {
	if len(body) < 2 {
		return unicode.LittleEndian, false
	}
	switch binary.BigEndian.Uint16(body) {
	case 0xfffe:
		return unicode.LittleEndian, true
	case 0xfeff:
		return unicode.BigEndian, true
	}
	// Å, Ä and Ö have a zero byte too; a character in ten may be without.
	var zeros [2]int
	n := min(len(body), 512) &^ 1
	for i, c := range body[:n] {
		if c == 0 {
			zeros[i&1]++
		}
	}
	switch enough := (n/2*9 + 9) / 10; {
	case zeros[0] == 0 && zeros[1] >= enough:
		return unicode.LittleEndian, true
	case zeros[1] == 0 && zeros[0] >= enough:
		return unicode.BigEndian, true
	}
	return unicode.LittleEndian, false
}

// decodeUTF16 returns the text of a file that is UTF-16.
func decodeUTF16(body []byte, e unicode.Endianness) (string, error) {
	if len(body)%2 != 0 {
		return "", fault.Say(fault.Invalid, "file_utf16")
	}
	text, err := unicode.UTF16(e, unicode.UseBOM).NewDecoder().Bytes(body)
	if err != nil {
		return "", fault.Say(fault.Invalid, "file_not_text").With(err)
	}
	s := string(text)
	return s, printable(s)
}

// sequences counts the characters of more than one byte that are valid UTF-8,
// and the bytes that are not.
func sequences(b []byte) (good, bad int) {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			bad++
		case n > 1:
			good++
		}
		b = b[n:]
	}
	return good, bad
}

// lineEnd returns what ends a line: '\r' in a file of an old Macintosh, which has
// no '\n'.
func lineEnd[T string | []byte](text T) rune {
	for i := range len(text) {
		if text[i] == '\n' {
			return '\n'
		}
	}
	return '\r'
}

// badLine returns the number of the first line that is not valid UTF-8.
func badLine(b []byte) int {
	line, newline := 1, lineEnd(b)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == newline {
			line++
		}
		b = b[n:]
	}
	return line
}

// printable refuses control characters: the file is of another kind.
func printable(s string) error {
	line, newline := 1, lineEnd(s)
	for _, r := range s {
		switch {
		case r == newline:
			line++
		case r == utf8.RuneError:
			return fault.Say(fault.Invalid, "file_line_damaged", "line", line)
		case control(r):
			return fault.Say(fault.Invalid, "file_line_control", "line", line)
		}
	}
	return nil
}

// separatorOf returns what is between the columns, and the table without a line
// that says so.
func separatorOf(s string) (byte, string) {
	if line, rest, _ := strings.Cut(s, "\n"); len(line) == len("sep=;") && strings.EqualFold(line[:4], "sep=") && strings.Contains("\t;,", line[4:]) {
		return line[4], rest
	}
	var header string
	for line := range strings.Lines(s) {
		if strings.Trim(trim(line), "\t;,\"") != "" {
			header = line
			break
		}
	}
	var tabs, semicolons, commas int
	quoted := false
	for i := range len(header) {
		switch c := header[i]; {
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
		return '\t', s
	case semicolons >= commas:
		return ';', s
	}
	return ',', s
}

// parser splits text into cells.
//
// encoding/csv is not enough. A file with tabs is written both ways, with cells
// in quotation marks by spreadsheets and with bare JSON and names such as
// "Bonus" mars by other programs, and LazyQuotes would take everything after
// such a quotation mark, whole rows, for one cell without a word.
type parser struct {
	s         string
	pos       int
	separator byte
}

// next returns the next cell, and whether it is the last one of its row. Line
// ends are "\n".
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
		case end-from > utf8.UTFMax*MaxCell:
			return "", false, tooLong(row, col)
		case p.separator != '\t':
			return "", false, fault.Say(fault.Invalid, "file_quotation", "cell", cellName(row, col))
		}
	}
	if !quoted {
		n := strings.IndexAny(p.s[p.pos:], string([]byte{p.separator, '\n'}))
		if n < 0 {
			n = len(p.s) - p.pos
		}
		cell = p.s[p.pos : p.pos+n]
		p.pos += n
	}
	last = p.pos == len(p.s) || p.s[p.pos] == '\n'
	p.pos = min(p.pos+1, len(p.s)) // past the separator or the line end
	return cell, last, nil
}

// quoted returns the cell in quotation marks whose text begins at from, and
// where what follows it begins. It is not ok, and end is how far it looked, if
// there is no such cell.
//
// In a file with tabs, a cell that would hold both a tab and a line end is none:
// no spreadsheet lets anybody type that, and it is how rows would be swallowed.
func (p *parser) quoted(from int) (cell string, end int, ok bool) {
	doubled, line, tab := false, false, false
	for i := from; i < len(p.s) && i-from <= utf8.UTFMax*MaxCell; i++ {
		switch c := p.s[i]; {
		case c == '"' && strings.HasPrefix(p.s[i+1:], `"`):
			doubled = true
			i++
		case c == '"':
			cell, end = p.s[from:i], i+1
			for end < len(p.s) && p.s[end] == ' ' {
				end++
			}
			if end < len(p.s) && p.s[end] != p.separator && p.s[end] != '\n' {
				return "", from, false
			}
			if doubled {
				cell = strings.ReplaceAll(cell, `""`, `"`)
			}
			return cell, end, true
		case c == '\n':
			line = true
		case c == '\t':
			tab = true
		}
		if p.separator == '\t' && line && tab {
			return "", from, false
		}
		end = i
	}
	return "", end, false
}
