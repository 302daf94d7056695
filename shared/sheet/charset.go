package sheet

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/encoding/charmap"

	"sitoo-rule/shared/fault"
)

// charsets are the encodings of a byte for each character that are told apart.
// CP850 has the letters of CP437, CP858 and CP865 too, and Windows-1252 those of
// ISO 8859-1.
var charsets = []*charmap.Charmap{charmap.Windows1252, charmap.Macintosh, charmap.CodePage850}

// nordic are the letters beyond ASCII that names in the Nordic countries have.
const nordic = "åäöÅÄÖæøÆØéÉüÜ"

// evidence is what a text looks like if it is read in an encoding.
type evidence struct {
	good  int // Nordic letters in words
	odd   int // what there is, and seldom: other letters in words, signs beside them
	signs int // within words
	bad   int // what there is not: capitals after small letters, no character at all
}

// plausible says whether the text is likely to be in the encoding.
func (e evidence) plausible() bool { return e.good > 0 && e.bad+e.signs == 0 && 4*e.odd <= e.good }

// see weighs a character beyond ASCII by the ones beside it.
func (e *evidence) see(before, r, after rune) {
	in, out := unicode.IsLetter(before), unicode.IsLetter(after)
	capital := unicode.IsUpper(r) && unicode.IsLower(before)
	switch {
	case r == '\ufffd', unicode.IsControl(r):
		e.bad++
	case !in && !out, strings.ContainsRune("\u00a0\u00ad·–—´", r):
	case strings.ContainsRune(nordic, r):
		if capital || unicode.IsLower(r) && unicode.IsUpper(after) {
			e.odd++
		} else {
			e.good++
		}
	case unicode.IsLetter(r) && r < 'ʰ':
		if capital || unicode.IsUpper(r) && in && unicode.IsLower(after) {
			e.bad++
		} else {
			e.odd++
		}
	case r == '’' && in && out:
		if unicode.IsUpper(before) && unicode.IsUpper(after) {
			e.odd++
		}
	case in && out, strings.ContainsRune("†‡‰ˆ‚", r):
		e.signs++
	case r == '”', r == '’': // as Swedish has it, on both sides
	case out && strings.ContainsRune("“‘‹«§#°", r):
	case !out && strings.ContainsRune("“‘»›…™®©°", r):
	default:
		e.odd++
	}
}

// Charset tells in which encoding of a byte for each character a text is that is
// not UTF-8, by what its letters make of words: Windows-1252, unless that makes
// no sense and another does. The error is fault.Invalid for a text that could be
// in several, or in none; or that of reading.
func Charset(r io.Reader) (*charmap.Charmap, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var seen [3]evidence
	var b [3]byte // the byte at hand is in the middle
	line, first := 1, 0
	for end := false; !end; {
		next, err := in.ReadByte()
		if end = errors.Is(err, io.EOF); err != nil && !end {
			return nil, err
		}
		b = [3]byte{b[1], b[2], next} // 0 at the end
		if b[1] == '\n' || b[1] == '\r' && next != '\n' {
			line++
		}
		if b[1] < 0x80 {
			continue
		}
		for i, c := range charsets {
			seen[i].see(c.DecodeByte(b[0]), c.DecodeByte(b[1]), c.DecodeByte(b[2]))
		}
		if first == 0 && seen[0].bad+seen[0].signs+seen[0].odd > 0 {
			first = line
		}
	}
	windows, best := seen[0], 0
	for i, e := range seen {
		if i > 0 && e.plausible() && (best == 0 || e.good > seen[best].good) {
			best = i
		}
	}
	switch wrong := windows.bad + windows.signs; {
	case wrong == 0 && (windows.odd == 0 || windows.good > 0), best == 0 && windows.bad <= windows.good:
		return charmap.Windows1252, nil
	case wrong > 0 && best > 0:
		return charsets[best], nil
	}
	return nil, fault.Say(fault.Invalid, "file_encoding", "line", first)
}

// misread are signs of text that was read in a wrong encoding and saved again:
// how the first byte of a Nordic letter in UTF-8 looks, and what its second byte
// can look like then.
var misread = []struct {
	first  rune
	second string
}{
	{'Ã', "\u00a0¡¢£¤¥¦§¨©ª«¬\u00ad®¯°±²³´µ¶·¸¹º»¼½¾¿€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"}, // as Windows-1252
	{'Â', "\u00a0£¤§¨°´·»«¿ƒ‚€"},
	{'â', "€‚"},
	{'ð', "Ÿ"},
	{'√', "•§∂ÖÑñ©¶∏òÜºâú"},   // as Mac Roman
	{'├', "ÑñÂ╢àäû⌐®╕©ªÿå╝ë"}, // as CP437 and CP850
}

// Misread says whether a text was read in a wrong encoding before it was saved
// as it is: it has "Ã¥" where a person wrote "å".
func Misread(s string) bool {
	before, last := rune(0), rune(0)
	for _, r := range s {
		if last < 0x80 { // as nearly always
			before, last = last, r
			continue
		}
		for _, m := range misread {
			if last == m.first && (strings.ContainsRune(m.second, r) || m.first == 'Ã' && 0x80 <= r && r < 0xa0) {
				return true
			}
		}
		if unicode.IsLetter(before) && unicode.IsLetter(r) && within(before, last, r) {
			return true
		}
		before, last = last, r
	}
	return false
}

// within says whether what is between two letters is no part of a word: how a
// Nordic letter looks that was read as another single byte than it was.
func within(before, r, after rune) bool {
	switch r {
	case '†', '„', '‰', 'ˆ', '÷', '‡', '¬', '¤':
		return true
	case 'Œ', 'Š', 'Ž':
		return unicode.IsLower(after)
	case '”', '™':
		return unicode.IsLower(before) && unicode.IsLower(after)
	}
	return false
}
