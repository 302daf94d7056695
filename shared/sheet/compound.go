package sheet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf16"
)

// compoundMagic is how a compound file begins. ([MS-CFB] 2.2)
const compoundMagic = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// The numbers that are no sector.
const (
	endOfChain = 0xfffffffe
	maxSector  = 0xfffffffa
)

// compound is a compound file: streams, in chains of sectors.
type compound struct {
	body    []byte
	size    int      // of a sector
	fat     []uint32 // the sector after each
	miniFAT []uint32 // the same for the small sectors, of which small streams are
	mini    []byte   // what the small sectors are in
	cutoff  int      // how large a stream is too large for small sectors
	entries []entry
}

// entry is a stream or a storage.
type entry struct {
	name  string // in lower case
	kind  byte
	start uint32
	size  int
	// The entries before and after it in the same storage, and one in it itself,
	// by number.
	left, right, child uint32
	inner              bool // in another storage than the root
}

// Kinds of entries.
const (
	storageEntry = 1
	streamEntry  = 2
	rootEntry    = 5
)

// miniSize is the size of a small sector.
const miniSize = 64

// openCompound reads the directory of a compound file. It allocates no more
// than a few times the size of the file, whatever the file claims.
func openCompound(body []byte) (*compound, error) {
	le := binary.LittleEndian
	if len(body) < 512 {
		return nil, errors.New("the header is cut off")
	}
	shift := le.Uint16(body[30:])
	if shift != 9 && shift != 12 || le.Uint16(body[32:]) != 6 {
		return nil, errors.New("the sectors are of an odd size")
	}
	c := &compound{body: body, size: 1 << shift, cutoff: int(le.Uint32(body[56:]))}
	// The first sectors of the allocation table are in the header, the rest in
	// a chain of sectors of its own.
	var sectors []uint32
	for i := 76; i < 512; i += 4 {
		sectors = append(sectors, le.Uint32(body[i:]))
	}
	for at, n := le.Uint32(body[68:]), 0; at <= maxSector; n++ {
		s := c.sector(at)
		if len(s) < c.size || n > len(body)/c.size {
			return nil, errors.New("the allocation table is damaged")
		}
		for i := 0; i < c.size-4; i += 4 {
			sectors = append(sectors, le.Uint32(s[i:]))
		}
		at = le.Uint32(s[c.size-4:])
	}
	limit := len(body)/c.size + 1
	for _, n := range sectors {
		if n > maxSector || len(c.fat) >= limit {
			break
		}
		c.fat = append(c.fat, uint32s(c.sector(n))...)
	}
	if err := c.directory(le.Uint32(body[48:])); err != nil {
		return nil, err
	}
	if at := le.Uint32(body[60:]); at <= maxSector {
		table, err := c.chain(at)
		if err != nil {
			return nil, err
		}
		c.miniFAT = uint32s(table)
	}
	return c, nil
}

// directory reads the entries, from the sector at which their chain begins.
func (c *compound) directory(at uint32) error {
	le := binary.LittleEndian
	dir, err := c.chain(at)
	if err != nil {
		return err
	}
	for ; len(dir) >= 128; dir = dir[128:] {
		n := int(le.Uint16(dir[64:])) - 2
		e := entry{kind: dir[66], start: le.Uint32(dir[116:]), size: int(le.Uint32(dir[120:]))}
		if e.kind != storageEntry && e.kind != streamEntry && e.kind != rootEntry || n < 0 || n > 62 {
			c.entries = append(c.entries, entry{})
			continue
		}
		e.left, e.right, e.child = le.Uint32(dir[68:]), le.Uint32(dir[72:]), le.Uint32(dir[76:])
		units := make([]uint16, n/2)
		for i := range units {
			units[i] = le.Uint16(dir[2*i:])
		}
		e.name = strings.ToLower(string(utf16.Decode(units)))
		if e.kind == rootEntry && c.mini == nil && e.start <= maxSector {
			if c.mini, err = c.chain(e.start); err != nil {
				return err
			}
		}
		c.entries = append(c.entries, e)
	}
	c.nest()
	return nil
}

// uint32s returns the numbers in b.
func uint32s(b []byte) []uint32 {
	numbers := make([]uint32, len(b)/4)
	for i := range numbers {
		numbers[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return numbers
}

// sector returns a sector, cut off if the file is, and empty outside of it.
func (c *compound) sector(n uint32) []byte {
	from := min((int(n)+1)*c.size, len(c.body))
	return c.body[from:min(from+c.size, len(c.body))]
}

// chain returns the sectors from one on.
func (c *compound) chain(at uint32) ([]byte, error) {
	var b bytes.Buffer
	for n := 0; at != endOfChain; n++ {
		if at >= uint32(len(c.fat)) || n == len(c.fat) || b.Len() > len(c.body) {
			return nil, errors.New("a chain of sectors is damaged")
		}
		b.Write(c.sector(at))
		at = c.fat[at]
	}
	return b.Bytes(), nil
}

// nest finds out which entries are in another storage than the root, as those of
// an object are that is embedded: a chart, a document, another workbook. What no
// storage has, in a directory that is damaged, counts as the root's.
func (c *compound) nest() {
	seen := make([]bool, len(c.entries))
	walk := func(from uint32, inner bool) {
		for next := []uint32{from}; len(next) > 0; {
			n := next[len(next)-1]
			next = next[:len(next)-1]
			if n == 0 || n >= uint32(len(seen)) || seen[n] {
				continue
			}
			seen[n] = true
			e := &c.entries[n]
			e.inner = inner
			next = append(next, e.left, e.right)
			if inner {
				next = append(next, e.child)
			}
		}
	}
	if len(c.entries) > 0 {
		walk(c.entries[0].child, false)
	}
	for _, e := range c.entries {
		if e.kind == storageEntry {
			walk(e.child, true)
		}
	}
}

// find returns the first entry of a name in the root.
func (c *compound) find(name string) (entry, bool) {
	for _, e := range c.entries {
		if e.name == name && !e.inner && (e.kind == streamEntry || e.kind == storageEntry) {
			return e, true
		}
	}
	return entry{}, false
}

// stream returns what is in a stream.
func (c *compound) stream(e entry) ([]byte, error) {
	var b []byte
	if e.size < c.cutoff {
		for at, n := e.start, 0; at != endOfChain && len(b) < e.size; n++ {
			from := int(at) * miniSize
			if at >= uint32(len(c.miniFAT)) || n == len(c.miniFAT) || from >= len(c.mini) {
				return nil, errors.New("a chain of small sectors is damaged")
			}
			b = append(b, c.mini[from:min(from+miniSize, len(c.mini))]...)
			at = c.miniFAT[at]
		}
	} else {
		var err error
		if b, err = c.chain(e.start); err != nil {
			return nil, err
		}
	}
	if len(b) < e.size {
		return nil, errors.New("a stream is cut off")
	}
	return b[:e.size], nil
}
