package sitoo

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A page of 500 orders is over a megabyte, and of each order three members are
// needed before it is decoded. These functions find them in one pass and without
// copying, where encoding/json takes four. They hold brackets and strings
// against each other; that what lies between them is JSON, Check says, order by
// order.

var errShape = errors.New("no JSON")

// members calls found for every member of the JSON object raw, in order.
func members(raw []byte, found func(name []byte, value json.RawMessage)) error {
	i := skipSpace(raw, 0)
	if i == len(raw) || raw[i] != '{' {
		return errors.New("no JSON object")
	}
	return each(raw, i, '}', func(i int) (int, bool) {
		if raw[i] != '"' {
			return 0, false
		}
		end, ok := skipString(raw, i)
		if !ok {
			return 0, false
		}
		name := raw[i+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var text string
			if json.Unmarshal(raw[i:end], &text) != nil {
				return 0, false
			}
			name = []byte(text)
		}
		i = skipSpace(raw, end)
		if i == len(raw) || raw[i] != ':' {
			return 0, false
		}
		i = skipSpace(raw, i+1)
		end, ok = skipValue(raw, i)
		if ok {
			found(name, raw[i:end:end])
		}
		return end, ok
	})
}

// elements calls found for every element of the JSON array raw, in order.
func elements(raw []byte, found func(value json.RawMessage)) error {
	i := skipSpace(raw, 0)
	if i == len(raw) || raw[i] != '[' {
		return errors.New("no JSON array")
	}
	return each(raw, i, ']', func(i int) (int, bool) {
		end, ok := skipValue(raw, i)
		if ok {
			found(raw[i:end:end])
		}
		return end, ok
	})
}

// each calls one with the place of every part of what begins with a bracket at i
// and takes up the rest of raw. one returns the place after the part.
func each(raw []byte, i int, closing byte, one func(i int) (end int, ok bool)) error {
	for first := true; ; first = false {
		i = skipSpace(raw, i+1) // after the bracket, or a comma
		if i == len(raw) {
			return errShape
		}
		if !first || raw[i] != closing {
			end, ok := one(i)
			if !ok {
				return errShape
			}
			if i = skipSpace(raw, end); i == len(raw) {
				return errShape
			}
		}
		switch {
		case raw[i] == closing && skipSpace(raw, i+1) == len(raw):
			return nil
		case raw[i] != ',':
			return errShape
		}
	}
}

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the place after the string that begins at i.
func skipString(raw []byte, i int) (end int, ok bool) {
	for begin := i + 1; ; begin = i + 1 {
		n := bytes.IndexByte(raw[begin:], '"')
		if n < 0 {
			return 0, false
		}
		i = begin + n
		slashes := 0
		for raw[i-1-slashes] == '\\' {
			slashes++ // ends at the opening quote, if not before
		}
		if slashes%2 == 0 {
			return i + 1, true
		}
	}
}

// skipValue returns the place after the value that begins at i, which is nested
// no deeper than any document of Sitoo's.
func skipValue(raw []byte, i int) (end int, ok bool) { return skipNested(raw, i, maxDepth+2) }

// skipNested is skipValue for a value that is nested no deeper than most.
func skipNested(raw []byte, i, most int) (end int, ok bool) {
	begin := i
	var few [maxDepth + 2]byte
	open := few[:0] // the brackets that are to close
	for i < len(raw) {
		switch c := raw[i]; c {
		case '"':
			if i, ok = skipString(raw, i); !ok {
				return 0, false
			}
			if len(open) == 0 {
				return i, true
			}
			continue
		case '{', '[':
			if len(open) == most {
				return 0, false
			}
			open = append(open, c+2) // '}' and ']' stand two after their opening ones
		case '}', ']':
			if len(open) == 0 { // the value's own end: it is a bare word
				return i, i > begin
			}
			if open[len(open)-1] != c {
				return 0, false
			}
			open = open[:len(open)-1]
			if len(open) == 0 {
				return i + 1, true
			}
		case ',', ' ', '\n', '\t', '\r':
			if len(open) == 0 {
				return i, i > begin
			}
		}
		i++
	}
	return 0, false // what it stands in is not closed
}
