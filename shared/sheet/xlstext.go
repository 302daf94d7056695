package sheet

import (
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf16"
)

// texts reads the texts that cells refer to by number.
func (x *xls) texts(segments [][]byte) error {
	if len(segments[0]) < 8 {
		return damaged(errors.New("the texts are cut off"))
	}
	count := binary.LittleEndian.Uint32(segments[0][4:])
	segments[0] = segments[0][8:]
	texts := newTexts(segments...)
	x.shared = nil
	// Each is three bytes or more, whatever their number is said to be: some
	// writers count the cells.
	for range count {
		if texts.done() {
			break
		}
		s, ok := texts.next()
		if !ok {
			return damaged(errors.New("the texts are cut off"))
		}
		x.shared = append(x.shared, s)
	}
	return nil
}

// texts reads texts that go on in the records after the one they begin in.
type texts struct {
	segments [][]byte
}

// newTexts returns a reader of the texts in a record and those after it.
func newTexts(segments ...[]byte) *texts { return &texts{segments: segments} }

// take returns the next n bytes, or fewer if the record at hand has fewer. It
// returns none at the end.
func (t *texts) take(n int) []byte {
	for len(t.segments) > 0 && len(t.segments[0]) == 0 {
		t.segments = t.segments[1:]
	}
	if len(t.segments) == 0 {
		return nil
	}
	n = min(n, len(t.segments[0]))
	b := t.segments[0][:n]
	t.segments[0] = t.segments[0][n:]
	return b
}

// done says whether nothing is left.
func (t *texts) done() bool {
	return !slices.ContainsFunc(t.segments, func(b []byte) bool { return len(b) > 0 })
}

// skip goes past n bytes.
func (t *texts) skip(n int) bool {
	for n > 0 {
		b := t.take(n)
		if b == nil {
			return false
		}
		n -= len(b)
	}
	return true
}

// uint reads a number of n bytes.
func (t *texts) uint(n int) (v int, ok bool) {
	for i := range n {
		b := t.take(1)
		if b == nil {
			return 0, false
		}
		v |= int(b[0]) << (8 * i)
	}
	return v, true
}

// next returns the next text: its length, flags, how much formatting and
// phonetic text comes after it, its characters of one or two bytes each, and
// the rest. Where it goes on in another record, that begins with flags anew.
// ([MS-XLS] 2.5.293)
func (t *texts) next() (string, bool) {
	left, ok := t.uint(2)
	flags, ok2 := t.uint(1)
	if !ok || !ok2 {
		return "", false
	}
	rest := 0
	if flags&8 != 0 {
		runs, ok := t.uint(2)
		if !ok {
			return "", false
		}
		rest += 4 * runs
	}
	if flags&4 != 0 {
		n, ok := t.uint(4)
		if !ok {
			return "", false
		}
		rest += n
	}
	var units []uint16
	for left > 0 {
		if len(t.segments) == 0 {
			return "", false
		}
		if len(t.segments[0]) == 0 {
			t.segments = t.segments[1:]
			if flags, ok = t.uint(1); !ok {
				return "", false
			}
			continue
		}
		width := 1 + flags&1
		b := t.take(width * left)
		if len(b)%width != 0 {
			return "", false
		}
		for i := 0; i < len(b); i += width {
			u := uint16(b[i])
			if width == 2 {
				u |= uint16(b[i+1]) << 8
			}
			units = append(units, u)
		}
		left -= len(b) / width
	}
	return string(utf16.Decode(units)), t.skip(rest)
}
