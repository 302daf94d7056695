package sheet

import (
	"bytes"
	"errors"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// namespace is what a prefix means from an element on, until that ends.
type namespace struct {
	depth       int // of the element
	prefix, uri string
}

// maxSpaces is how many namespaces may be declared at a time. It bounds the
// time that looking them up takes.
const maxSpaces = 100

// declare notes the namespaces that the element at hand declares.
func (s *scanner) declare() error {
	if !bytes.Contains(s.attrs, []byte("xmlns")) { // as that of nearly every one
		return nil
	}
	for key, value := range attributes(s.attrs) {
		prefix, ok := bytes.CutPrefix(key, []byte("xmlns"))
		if !ok || len(prefix) > 0 && prefix[0] != ':' {
			continue
		}
		if len(s.spaces) == maxSpaces {
			return errors.New("a part declares too many namespaces")
		}
		s.spaces = append(s.spaces, namespace{len(s.path), string(bytes.TrimPrefix(prefix, []byte(":"))), unquoted(value)})
	}
	return nil
}

// space returns the namespace of a prefix. One that is not declared is its own.
func (s *scanner) space(prefix []byte) string {
	for i := len(s.spaces) - 1; i >= 0; i-- {
		if s.spaces[i].prefix == string(prefix) {
			return s.spaces[i].uri
		}
	}
	return string(prefix)
}

// attr returns an attribute of the element at hand, "" if it has none of that
// name. One with a prefix is an extension's.
func (s *scanner) attr(name string) string {
	for key, value := range attributes(s.attrs) {
		if string(key) == name {
			return unquoted(value)
		}
	}
	return ""
}

// relation returns the id of what the element at hand refers to: the attribute
// id of the namespace of relationships, whatever its prefix, or else one of no
// namespace that is known.
func (s *scanner) relation() (id string) {
	for key, value := range attributes(s.attrs) {
		prefix, name, ok := bytes.Cut(key, []byte(":"))
		switch {
		case !ok && string(key) == "id", ok && string(name) == "id" && id == "":
			id = unquoted(value)
		}
		if ok && string(name) == "id" && strings.HasSuffix(s.space(prefix), "/relationships") {
			return unquoted(value)
		}
	}
	return id
}

// attributes yields the names of attributes, with their prefixes, and the values
// as they are written.
func attributes(attrs []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for {
			key, rest, _ := bytes.Cut(attrs, []byte("="))
			rest = bytes.TrimLeft(rest, " \t\r\n")
			if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
				return
			}
			value, rest, _ := bytes.Cut(rest[1:], rest[:1])
			if !yield(bytes.TrimSpace(key), value) {
				return
			}
			attrs = rest
		}
	}
}

// unquoted returns the value of an attribute that is written as b.
func unquoted(b []byte) string {
	if text, err := decodeXML(b); err == nil {
		b = text
	}
	return string(b)
}

// decodeXML returns text with its entities and line ends decoded. It is b
// itself if there are none.
func decodeXML(b []byte) ([]byte, error) {
	b = lineEnds(b)
	i := bytes.IndexByte(b, '&')
	if i < 0 {
		return b, nil
	}
	text := make([]byte, 0, len(b))
	for ; i >= 0; i = bytes.IndexByte(b, '&') {
		text = append(text, b[:i]...)
		b = b[i+1:]
		n := bytes.IndexByte(b[:min(len(b), len("#1114111;"))], ';')
		if n < 0 {
			return nil, errXML
		}
		switch name := string(b[:n]); name {
		case "lt":
			text = append(text, '<')
		case "gt":
			text = append(text, '>')
		case "amp":
			text = append(text, '&')
		case "quot":
			text = append(text, '"')
		case "apos":
			text = append(text, '\'')
		default:
			r, ok := reference(name)
			if utf16.IsSurrogate(r) { // half a character, as some write it in two
				rest := b[n+1:]
				m := bytes.IndexByte(rest[:min(len(rest), len("&#57343;"))], ';')
				if m < 1 || rest[0] != '&' {
					return nil, errXML
				}
				low, _ := reference(string(rest[1:m]))
				if r, n = utf16.DecodeRune(r, low), n+1+m; r == utf8.RuneError {
					return nil, errXML
				}
			}
			if !ok || !utf8.ValidRune(r) {
				return nil, errXML
			}
			text = utf8.AppendRune(text, r)
		}
		b = b[n+1:]
	}
	return append(text, b...), nil
}

// reference returns the character, or the half of one, that a name such as
// "#229" or "#xE5" means.
func reference(name string) (rune, bool) {
	digits, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	r, err := strconv.ParseUint(digits, base, 21)
	return rune(r), ok && err == nil
}

// lineEnds returns text with line ends as XML has them, b itself if it has them.
func lineEnds(b []byte) []byte {
	if bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
}
