package sheet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"sitoo-rule/shared/fault"
)

const (
	// maxToken is the bytes of the longest text or tag of XML that is read:
	// MaxCell characters, each written as an entity, with some room.
	maxToken = 1 << 20
	// maxDepth is how deep XML may be nested. A cell with formatted text is 7.
	maxDepth = 64
	// maxElements is how many elements are read of a file: two for each cell,
	// and two for each text. It bounds the time, as the others do the memory.
	maxElements = 3 * MaxCells
)

// Errors of XML, which quote nothing of it.
var (
	errXML      = errors.New("a part is not XML")
	errToken    = fault.Say(fault.TooLarge, "file_cell_longer", "limit", MaxCell)
	errUnpacked = fault.Say(fault.TooLarge, "file_unpacked", "mib", MaxUnpacked>>20)
	errElements = fault.Say(fault.TooLarge, "file_elements")
)

// budget is what may still be read of a file, over all its parts.
type budget struct {
	bytes, elements int
}

// Kinds of tokens.
type kind uint8

const (
	start kind = iota
	end
	chars
)

// scanner reads the XML of a part token by token, without the names' prefixes.
// What is not of the namespace of the part's first element is an extension, which
// may use the names of the format's own elements for other things: its names
// begin with a colon.
// It is several times as fast as encoding/xml, which a file at the limits keeps
// busy for longer than a caller waits, and it never holds more than a token of
// maxToken bytes. Document types, which no workbook has, are refused. What is
// not well-formed may pass where that changes nothing of what is read.
type scanner struct {
	in     *bufio.Reader
	budget *budget
	tag    bool     // what comes next is behind "<"
	empty  bool     // the element at hand ends where it begins
	path   []string // the elements around what comes next, from the outside
	names  map[string]string
	long   []byte // a token that is not all in the buffer of in

	spaces []namespace // that have been declared around what comes next
	own    string      // the namespace of the first element

	// Of the token at hand; the bytes are valid until the next one.
	name  string // of an element
	attrs []byte
	text  []byte
}

// newScanner returns a scanner of r that keeps to b. in is what it reads with.
func newScanner(in *bufio.Reader, r io.Reader, b *budget) *scanner {
	in.Reset(&metered{r, b})
	return &scanner{in: in, budget: b, names: make(map[string]string)}
}

// metered counts what is unpacked, rather than believe the archive about it.
type metered struct {
	r io.Reader
	b *budget
}

// Read reads no more than the budget has left.
func (m *metered) Read(p []byte) (int, error) {
	if m.b.bytes == 0 {
		return 0, errUnpacked
	}
	n, err := m.r.Read(p[:min(len(p), m.b.bytes)])
	m.b.bytes -= n
	return n, err
}

// next reads the next token; io.EOF after the last one.
func (s *scanner) next() (kind, error) {
	if s.empty {
		s.empty = false
		return end, s.leave(s.name)
	}
	for {
		if !s.tag {
			text, err := s.in.ReadSlice('<')
			switch {
			case err == io.EOF && len(s.path) == 0:
				if len(bytes.TrimSpace(text)) > 0 {
					return 0, errXML
				}
				return 0, io.EOF
			case err != nil:
				return 0, cut(err)
			}
			s.tag = true
			if text = text[:len(text)-1]; len(s.path) == 0 {
				if len(bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))) > 0 {
					return 0, errXML
				}
			} else if len(text) > 0 {
				s.text, err = decodeXML(text)
				return chars, err
			}
		}
		s.tag = false
		first, err := s.in.Peek(1)
		if err != nil {
			return 0, cut(err)
		}
		switch first[0] {
		case '?':
			what, err := s.until("?>", 1)
			if err != nil {
				return 0, err
			}
			if bytes.HasPrefix(what, []byte("?xml ")) {
				for key, value := range attributes(what[5 : len(what)-2]) {
					if string(key) == "encoding" && !bytes.EqualFold(value, []byte("utf-8")) {
						return 0, errors.New("a part is not UTF-8")
					}
				}
			}
		case '!':
			if text, err := s.special(); err != nil || text {
				return chars, err
			}
		case '/':
			name, err := s.until(">", 0)
			if err != nil {
				return 0, err
			}
			name = bytes.TrimRight(name[1:len(name)-1], " \t\r\n")
			return end, s.leave(s.intern(name[bytes.IndexByte(name, ':')+1:]))
		default:
			return start, s.enter()
		}
	}
}

// special reads what begins with "!". It says whether that is text.
func (s *scanner) special() (text bool, err error) {
	if begins, _ := s.in.Peek(3); string(begins) == "!--" {
		_, _ = s.in.Discard(3)
		_, err := s.until("-->", 0)
		return false, err
	}
	const data = "![CDATA["
	if begins, _ := s.in.Peek(len(data)); string(begins) != data || len(s.path) == 0 {
		return false, errXML
	}
	what, err := s.until("]]>", len(data))
	if err != nil {
		return false, err
	}
	s.text = lineEnds(what[len(data) : len(what)-len("]]>")])
	return true, nil
}

// until reads up to and with the mark, whose last character is ">" and which
// does not begin before from.
func (s *scanner) until(mark string, from int) ([]byte, error) {
	s.long = s.long[:0]
	for {
		what, err := s.in.ReadSlice('>')
		if err != nil {
			return nil, cut(err)
		}
		if len(s.long) == 0 && len(what) >= from+len(mark) && bytes.HasSuffix(what, []byte(mark)) {
			return what, nil
		}
		if len(s.long)+len(what) > maxToken {
			return nil, errToken
		}
		if s.long = append(s.long, what...); len(s.long) >= from+len(mark) && bytes.HasSuffix(s.long, []byte(mark)) {
			return s.long, nil
		}
	}
}

// enter reads the start of an element.
func (s *scanner) enter() error {
	tag, err := s.startTag()
	if err != nil {
		return err
	}
	tag = tag[:len(tag)-1]
	if tag, s.empty = bytes.CutSuffix(tag, []byte("/")); len(tag) == 0 {
		return errXML
	}
	n := bytes.IndexAny(tag, " \t\r\n")
	if n < 0 {
		n = len(tag)
	}
	s.attrs = tag[n:]
	if s.budget.elements--; s.budget.elements < 0 {
		return errElements
	}
	if len(s.path) == maxDepth {
		return errors.New("a part is nested too deeply")
	}
	if err := s.declare(); err != nil {
		return err
	}
	prefix, name, ok := bytes.Cut(tag[:n], []byte(":"))
	switch {
	case !ok:
		prefix, name = nil, prefix
	case len(prefix) == 0 || len(name) == 0:
		return errXML
	}
	uri := s.space(prefix)
	if len(s.path) == 0 {
		s.own = uri
	}
	if s.name = s.intern(name); uri != s.own {
		s.name = s.intern(append([]byte(":"), name...))
	}
	s.path = append(s.path, s.name)
	return nil
}

// startTag reads up to and with the ">" that is not in an attribute.
func (s *scanner) startTag() ([]byte, error) {
	s.long = s.long[:0]
	var quote byte
	for {
		what, err := s.in.ReadSlice('>')
		if err != nil {
			return nil, cut(err)
		}
		quote = quoteAfter(quote, what)
		if len(s.long) == 0 && quote == 0 {
			return what, nil
		}
		if len(s.long)+len(what) > maxToken {
			return nil, errToken
		}
		if s.long = append(s.long, what...); quote == 0 {
			return s.long, nil
		}
	}
}

// quoteAfter returns the quotation mark that is open after b, which begins
// inside of quote, 0 for none.
func quoteAfter(quote byte, b []byte) byte {
	for {
		i := bytes.IndexAny(b, `"'`)
		if quote != 0 {
			i = bytes.IndexByte(b, quote)
		}
		switch {
		case i < 0:
			return quote
		case quote != 0:
			quote = 0
		default:
			quote = b[i]
		}
		b = b[i+1:]
	}
}

// leave ends the element at hand.
func (s *scanner) leave(name string) error {
	n := len(s.path)
	if n == 0 || strings.TrimPrefix(s.path[n-1], ":") != strings.TrimPrefix(name, ":") {
		return errors.New("an element of a part ends that has not begun")
	}
	s.name, s.path = s.path[n-1], s.path[:n-1]
	for i := len(s.spaces); i > 0 && s.spaces[i-1].depth == n-1; i-- {
		s.spaces = s.spaces[:i-1]
	}
	return nil
}

// intern returns a name as a string that is allocated once.
func (s *scanner) intern(b []byte) string {
	name, ok := s.names[string(b)]
	if !ok {
		name = string(b)
		if len(s.names) < 100 {
			s.names[name] = name
		}
	}
	return name
}

// cut returns what an error of reading means in the middle of a part.
func cut(err error) error {
	switch err {
	case io.EOF:
		return errors.New("a part is cut off")
	case bufio.ErrBufferFull:
		return errToken
	}
	return err
}
