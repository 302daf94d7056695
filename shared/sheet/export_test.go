package sheet

import (
	"bufio"
	"bytes"
	"io"
)

// Space says whether r is white space that is trimmed.
func Space(r rune) bool { return trim(string(r)) == "" }

// Tokens reads XML, as one line for each start, end and text between them.
func Tokens(body []byte) ([]string, error) {
	s := newScanner(bufio.NewReaderSize(nil, maxToken), bytes.NewReader(body), &budget{MaxUnpacked, maxElements})
	var tokens []string
	text := ""
	for {
		k, err := s.next()
		if k == chars && err == nil {
			text += string(s.text)
			continue
		}
		if text != "" {
			tokens = append(tokens, "text "+text)
			text = ""
		}
		switch {
		case err == io.EOF:
			return tokens, nil
		case err != nil:
			return tokens, err
		case k == start:
			tokens = append(tokens, "start "+s.name+" r="+s.attr("r"))
		default:
			tokens = append(tokens, "end "+s.name)
		}
	}
}
