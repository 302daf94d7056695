package sheet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sheet"
)

// The files are written by another program: testdata/make-xls.py.
func TestXLSFiles(t *testing.T) {
	t.Parallel()
	long := table("xls", row(1, "text"))
	for i := range 150 {
		text := "€"
		if i%2 == 1 {
			text = "åäö"
		}
		long.Rows = append(long.Rows, row(i+2, fmt.Sprintf("%03d ", i)+strings.Repeat(text, 60+i)))
	}
	for name, want := range map[string]sheet.Sheet{
		"table.xls": table(
			"xls",
			row(2, "e-post", "telefon", "namn", "värde", "giltig till", "aktiv"),
			row(4, "kund.ett@example.com", "46701740605", "Bonus mars", "49.5", "2026-12-31", "true"),
			row(5, "kund.tva@example.com", "+46701740606", "5 € 😀 åäö", "1234.56", "2026-12-31T10:00:00", "false"),
			row(6, "", "0701740607", "två\nrader", "0.3", "10:30:00"),
			row(9, "kund.fyra@example.com", "", "", "-3", "2030-12-31"),
		),
		"from1904.xls":   table("xls", row(1, "validto"), row(2, "2026-12-31")),
		"long-texts.xls": long,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads(t, fixture(t, name), want)
		})
	}
	for name, want := range map[string]string{
		"formula.xls": "C7 holds a formula",
		"error.xls":   "B3 holds an error",
		"empty.xls":   "The table is empty.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuses(t, fixture(t, name), fault.Invalid, want)
		})
	}
}

// fixture returns a file of testdata.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// record returns a record of BIFF8: its id, its length and its fields.
func record(id uint16, fields ...any) []byte {
	data := pack(fields...)
	return append(pack(id, uint16(len(data))), data...)
}

// pack returns fields as they are in a file.
func pack(fields ...any) []byte {
	var b bytes.Buffer
	for _, f := range fields {
		if err := binary.Write(&b, binary.LittleEndian, f); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// biffBook returns the stream of a workbook with one worksheet: globals are the
// records about the workbook, cells those of the sheet.
func biffBook(globals, cells [][]byte) []byte {
	return biffBookOf([]byte{0, 0}, globals, cells)
}

// biffBookOf is biffBook with the visibility and the type of the sheet.
func biffBookOf(sheetKind []byte, globals, cells [][]byte) []byte {
	head := record(0x809, uint16(0x600), uint16(5), make([]byte, 12))
	middle := slices.Concat(globals...)
	place := len(head) + len(middle) + 4 + 4 + 2 + 3 + 4
	return slices.Concat(
		head, middle,
		record(0x85, uint32(place), sheetKind, []byte{1, 0, 'a'}), // 4 + 4 + 2 + 3
		record(0x0a),
		record(0x809, uint16(0x600), uint16(0x10), make([]byte, 12)),
		slices.Concat(cells...),
		record(0x0a),
	)
}

// biffLabel is a cell with text.
func biffLabel(row, col int, s string) []byte {
	units := utf16.Encode([]rune(s))
	return record(0x204, uint16(row), uint16(col), uint16(0), uint16(len(units)), byte(1), units)
}

// compoundFile wraps streams in a compound file, each in a chain of sectors.
func compoundFile(streams map[string][]byte) []byte {
	const size, none, end, isFAT = 512, 0xffffffff, 0xfffffffe, 0xfffffffd
	names := make([]string, 0, len(streams))
	for name := range streams {
		names = append(names, name)
	}
	slices.Sort(names)
	var body, dir []byte
	var fat []uint32
	add := func(b []byte) (start int) {
		start = len(fat)
		n := max((len(b)+size-1)/size, 1)
		for i := range n {
			fat = append(fat, uint32(start+i+1))
		}
		fat[len(fat)-1] = end
		body = append(body, append(b, make([]byte, n*size-len(b))...)...)
		return start
	}
	enter := func(name string, kind byte, start uint32, length int) {
		units := make([]uint16, 32)
		n := copy(units, utf16.Encode([]rune(name)))
		dir = append(dir, pack(units, uint16(2*n+2), kind, byte(1), int32(-1), int32(-1), int32(1), make([]byte, 36), start, uint64(length))...)
	}
	enter("Root Entry", 5, end, 0)
	for _, name := range names {
		b := streams[name]
		if b == nil {
			enter(name, 1, 0, 0) // a storage
			continue
		}
		b = append(bytes.Clone(b), make([]byte, max(0, 4096-len(b)))...)
		enter(name, 2, uint32(add(b)), len(b))
	}
	dirStart := add(dir)
	fatStart, sectors := len(fat), 1
	for (fatStart + sectors) > sectors*size/4 {
		sectors++
	}
	table := make([]uint32, sectors*size/4)
	for i := range table {
		switch {
		case i < fatStart:
			table[i] = fat[i]
		case i < fatStart+sectors:
			table[i] = isFAT
		default:
			table[i] = none
		}
	}
	inHeader := make([]uint32, 109)
	for i := range inHeader {
		inHeader[i] = none
		if i < sectors {
			inHeader[i] = uint32(fatStart + i)
		}
	}
	header := pack([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 16), uint16(0x3e), uint16(3), uint16(0xfffe), uint16(9), uint16(6),
		make([]byte, 10), uint32(sectors), uint32(dirStart), uint32(0), uint32(4096), uint32(end), uint32(0), uint32(end), uint32(0), inHeader)
	return slices.Concat(header, body, pack(table))
}

// xlsFile is a file with a workbook.
func xlsFile(stream []byte) []byte { return compoundFile(map[string][]byte{"Workbook": stream}) }

// smallFile is a file with a workbook in small sectors, as short streams are.
func smallFile(stream []byte) []byte {
	table := make([]uint32, len(stream)/64+1)
	for i := range table {
		table[i] = uint32(i + 1)
	}
	table[len(table)-1] = 0xfffffffe
	file := compoundFile(map[string][]byte{"Data": stream, "Table": pack(table), "Workbook": nil})
	le := binary.LittleEndian
	dir := file[512*(1+int(le.Uint32(file[48:]))):]
	root, data, workbook := dir, dir[128:], dir[3*128:]
	copy(root[116:124], data[116:124]) // the small sectors are in Data
	copy(file[60:64], dir[2*128+116:]) // their allocation table is Table
	le.PutUint32(file[56:], 1<<20)     // what is less is in small sectors
	workbook[66] = 2                   // a stream,
	le.PutUint32(workbook[116:], 0)    // from the first one on
	le.PutUint32(workbook[120:], uint32(len(stream)))
	return file
}

func TestXLSSmall(t *testing.T) {
	t.Parallel()
	stream := biffBook(nil, [][]byte{biffLabel(0, 0, "email"), biffLabel(1, 0, strings.Repeat("å", 100))})
	reads(t, smallFile(stream), table("xls", row(1, "email"), row(2, strings.Repeat("å", 100))))
	le := binary.LittleEndian
	for name, change := range map[string]func(file []byte){
		"a chain that leaves the table": func(file []byte) { le.PutUint32(file[512*(1+int(le.Uint32(file[60:])))+4:], 1<<20) },
		"a chain that ends early":       func(file []byte) { le.PutUint32(file[512*(1+int(le.Uint32(file[60:])))+4:], 0xfffffffe) },
		"a chain that goes in rings": func(file []byte) {
			le.PutUint32(file[512*(1+int(le.Uint32(file[48:])))+3*128+120:], 1<<20-1)
			le.PutUint32(file[512*(1+int(le.Uint32(file[60:]))):], 0)
		},
		"a table that is nowhere": func(file []byte) { le.PutUint32(file[60:], 1<<20) },
		"data that is nowhere":    func(file []byte) { le.PutUint32(file[512*(1+int(le.Uint32(file[48:])))+116:], 1<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := smallFile(stream)
			change(file)
			refuses(t, file, fault.Invalid, "damaged")
		})
	}
}

// Records that the program of testdata does not write.
func TestXLSRecords(t *testing.T) {
	t.Parallel()
	xf := func(format uint16) []byte { return record(0xe0, uint16(0), format, make([]byte, 16)) }
	hundredths := func(n int32) uint32 { return uint32(n)<<2 | 3 }
	whole := func(n int32) uint32 { return uint32(n)<<2 | 2 }
	upper := func(n float64) uint32 { return uint32(math.Float64bits(n)>>32) &^ 3 }
	reads(
		t, xlsFile(biffBook(
			[][]byte{
				xf(0), xf(14), xf(22), xf(164),
				// Texts: plain, with formatting and phonetic text, and one that goes
				// on in the next record with characters of another width.
				record(0xfc, uint32(9), uint32(3), uint16(2), byte(0), []byte("\xe5b"),
					uint16(1), byte(8|4), uint16(1), uint32(3), []byte("x"), make([]byte, 4), make([]byte, 3),
					uint16(4), byte(0), []byte("ab")),
				record(0x3c, byte(1), []uint16{'€', 'd'}),
			},
			[][]byte{
				// Out of order: writers need not keep it.
				record(0x27e, uint16(2), uint16(1), uint16(0), hundredths(-5)),
				record(0x27e, uint16(2), uint16(0), uint16(0), hundredths(4950)),
				biffLabel(0, 0, "värde"),
				record(0xbd, uint16(1), uint16(0), uint16(0), whole(100), uint16(1), whole(46387), uint16(2), upper(46387.5), uint16(2)),
				record(0x27e, uint16(2), uint16(2), uint16(0), upper(2.5)),
				record(0x27e, uint16(2), uint16(3), uint16(0), whole(-7)),
				// A chart, with cells of its own.
				record(0x809, uint16(0x600), uint16(0x20), make([]byte, 12)), biffLabel(0, 5, "chart"), record(0x0a),
				record(0xfd, uint16(3), uint16(0), uint16(0), uint32(0)),
				record(0xfd, uint16(3), uint16(1), uint16(0), uint32(1)),
				record(0xfd, uint16(3), uint16(2), uint16(0), uint32(2)),
				record(0xd6, uint16(3), uint16(3), uint16(0), uint16(2), byte(0), []byte("rt"), uint16(0)),
				record(0x203, uint16(4), uint16(0), uint16(0), 46701740605.0),
				record(0x203, uint16(4), uint16(1), uint16(1), 60.0),
				record(0x203, uint16(4), uint16(2), uint16(1), 59.0),
				record(0x203, uint16(4), uint16(3), uint16(1), -1.0),
				record(0x203, uint16(4), uint16(4), uint16(99), 1e21),
				record(0x205, uint16(5), uint16(0), uint16(0), byte(1), byte(0)),
			},
		)),
		table(
			"xls",
			row(1, "värde"),
			row(2, "100", "2026-12-31", "2026-12-31T12:00:00"),
			row(3, "49.5", "-0.05", "2.5", "-7"),
			row(4, "åb", "x", "ab€d", "rt"),
			row(5, "46701740605", "60", "1900-02-28", "-1", "1E+21"),
			row(6, "true"),
		),
	)
}

func TestXLSRefused(t *testing.T) {
	t.Parallel()
	label := biffLabel(0, 0, "email")
	good := biffBook(nil, [][]byte{label})
	book := func(cells ...[]byte) []byte { return xlsFile(biffBook(nil, append([][]byte{label}, cells...))) }
	changed := func(at int, b ...byte) []byte {
		file := xlsFile(good)
		copy(file[at:], b)
		return file
	}
	reads(t, xlsFile(good), table("xls", row(1, "email")))
	for name, tt := range map[string]struct {
		body []byte
		kind fault.Kind
		want string
	}{
		"a workbook with macros":      {compoundFile(map[string][]byte{"Workbook": good, "_VBA_PROJECT_CUR": nil}), fault.Invalid, "holds macros"},
		"a module of macros":          {xlsFile(biffBookOf([]byte{0, 6}, nil, nil)), fault.Invalid, "holds macros"},
		"a sheet of macros":           {xlsFile(biffBookOf([]byte{1, 1}, nil, nil)), fault.Invalid, "holds macros"},
		"a password":                  {xlsFile(biffBook([][]byte{record(0x2f, make([]byte, 6))}, nil)), fault.Invalid, "protected with a password"},
		"an .xlsx with a password":    {compoundFile(map[string][]byte{"EncryptedPackage": {1}, "EncryptionInfo": {1}}), fault.Invalid, "protected with a password"},
		"a .doc":                      {compoundFile(map[string][]byte{"WordDocument": {1}}), fault.Invalid, "a text document (.doc)"},
		"a .ppt":                      {compoundFile(map[string][]byte{"PowerPoint Document": {1}}), fault.Invalid, "a presentation (.ppt)"},
		"another kind":                {compoundFile(map[string][]byte{"Thing": {1}}), fault.Invalid, "holds no workbook"},
		"Excel 95":                    {compoundFile(map[string][]byte{"Book": record(0x809, uint16(0x500), uint16(5))}), fault.Invalid, "Excel 95 or older"},
		"Excel 4 in a stream":         {compoundFile(map[string][]byte{"Book": record(0x409, uint16(0), uint16(0x100))}), fault.Invalid, "Excel 95 or older"},
		"Excel 95 in a newer stream":  {xlsFile(record(0x809, uint16(0x500), uint16(5))), fault.Invalid, "Excel 95 or older"},
		"only a hidden sheet":         {xlsFile(biffBookOf([]byte{1, 0}, nil, nil)), fault.Invalid, "no visible worksheet"},
		"only a chart":                {xlsFile(biffBookOf([]byte{0, 2}, nil, nil)), fault.Invalid, "no visible worksheet"},
		"a formula":                   {book(record(0x06, uint16(9), uint16(27), make([]byte, 18))), fault.Invalid, "AB10 holds a formula"},
		"a formula of many cells":     {book(record(0x221, uint16(9), uint16(9), byte(1), byte(1), make([]byte, 8))), fault.Invalid, "B10 holds a formula"},
		"an error":                    {book(record(0x205, uint16(3), uint16(2), uint16(0), byte(0x2a), byte(1))), fault.Invalid, "C4 holds an error"},
		"a control character":         {book(biffLabel(4, 0, "a\x00b")), fault.Invalid, "A5 holds a character that is damaged"},
		"a column too many":           {book(biffLabel(1, 100, "x")), fault.TooLarge, "CW2 is to the right"},
		"no sheet":                    {xlsFile(slices.Concat(record(0x809, uint16(0x600), uint16(5)), record(0x0a))), fault.Invalid, "no visible worksheet"},
		"a cell twice":                {book(label), fault.Invalid, "damaged"},
		"a cell that is cut off":      {book(record(0x203, uint16(1), uint16(1))), fault.Invalid, "damaged"},
		"a text that is missing":      {book(record(0xfd, uint16(1), uint16(1), uint16(0), uint32(7))), fault.Invalid, "damaged"},
		"not a number":                {book(record(0x203, uint16(1), uint16(1), uint16(0), math.NaN())), fault.Invalid, "damaged"},
		"no beginning":                {xlsFile([]byte("x")), fault.Invalid, "damaged"},
		"no end":                      {xlsFile(slices.Concat(record(0x809, uint16(0x600), uint16(5)), record(0x1, make([]byte, 5000)))), fault.Invalid, "damaged"},
		"texts without their number":  {xlsFile(biffBook([][]byte{record(0xfc, uint32(1))}, nil)), fault.Invalid, "damaged"},
		"half a character":            {xlsFile(biffBook([][]byte{record(0xfc, uint32(1), uint32(1), uint16(2), byte(1), byte('x')), record(0x3c, byte(1), uint16('x'))}, nil)), fault.Invalid, "damaged"},
		"a format that is cut off":    {xlsFile(biffBook([][]byte{record(0xe0, uint16(0))}, nil)), fault.Invalid, "damaged"},
		"a list that is cut off":      {xlsFile(biffBook([][]byte{record(0x85, uint16(0))}, nil)), fault.Invalid, "damaged"},
		"a text that is cut off":      {book(record(0x204, uint16(1), uint16(0), uint16(0), uint16(9), byte(0), byte('x'))), fault.Invalid, "damaged"},
		"a row that is too long":      {book(record(0xbd, uint16(1), uint16(65535), uint16(0), uint32(2), uint16(0))), fault.Invalid, "damaged"},
		"a sheet that is nowhere":     {xlsFile(slices.Concat(record(0x809, uint16(0x600), uint16(5)), record(0x85, uint32(1<<31), uint16(0), byte(1), byte(0), byte('a')), record(0x0a))), fault.Invalid, "damaged"},
		"a sheet without end":         {xlsFile(bytes.TrimSuffix(biffBook(nil, [][]byte{record(1, make([]byte, 5000))}), record(0x0a))), fault.Invalid, "damaged"},
		"texts that are cut off":      {xlsFile(biffBook([][]byte{record(0xfc, uint32(1), uint32(1<<32-1), uint16(1))}, nil)), fault.Invalid, "damaged"},
		"a text too few":              {xlsFile(biffBook([][]byte{record(0xfc, uint32(1), uint32(1<<32-1), uint16(1), byte(0), byte('x'))}, [][]byte{record(0xfd, uint16(1), uint16(1), uint16(0), uint32(1))})), fault.Invalid, "damaged"},
		"a header that is cut off":    {xlsFile(good)[:100], fault.Invalid, "damaged"},
		"odd sectors":                 {changed(30, 31), fault.Invalid, "damaged"},
		"a table that goes in rings":  {changed(68, 0, 0, 0, 0), fault.Invalid, "damaged"},
		"a directory out of the file": {changed(48, 0xff, 0xff), fault.Invalid, "damaged"},
		"a ring outside of the file":  {outside(xlsFile(good)), fault.Invalid, "damaged"},
		"a chain that goes in rings":  {ring(xlsFile(good)), fault.Invalid, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuses(t, tt.body, tt.kind, tt.want)
		})
	}
}

// outside makes the directory a sector that the file does not have, and that is
// its own next one.
func outside(file []byte) []byte {
	const sector = 120
	fat := 512 * (1 + int(binary.LittleEndian.Uint32(file[76:])))
	binary.LittleEndian.PutUint32(file[fat+4*sector:], sector)
	binary.LittleEndian.PutUint32(file[48:], sector)
	return file
}

// ring makes the first sector of a file its own next one.
func ring(file []byte) []byte {
	fat := 512 * (1 + int(binary.LittleEndian.Uint32(file[76:])))
	binary.LittleEndian.PutUint32(file[fat:], 0)
	return file
}

func FuzzXLS(f *testing.F) {
	names, err := filepath.Glob("testdata/*.xls")
	if err != nil || len(names) == 0 {
		f.Fatalf("the files of testdata: %v, %v", names, err)
	}
	for _, name := range names {
		if body := fixture(f, filepath.Base(name)); len(body) < 10_000 {
			f.Add(body)
		}
	}
	f.Add(biffBook(
		[][]byte{record(0xfc, uint32(1), uint32(1), uint16(4), byte(0), []byte("ab")), record(0x3c, byte(1), []uint16{'€', 'd'})},
		[][]byte{biffLabel(0, 0, "email"), record(0xfd, uint16(1), uint16(0), uint16(0), uint32(0)), record(0xbd, uint16(2), uint16(0), make([]byte, 12), uint16(1))},
	))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, file := range [][]byte{body, append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), body[min(8, len(body)):]...), xlsFile(body)} {
			s, err := sheet.Read(file)
			checkRead(t, file, s, err)
		}
	})
}
