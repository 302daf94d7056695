package sheet_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sheet"
)

// checkRead fails the test unless what was read keeps the limits, or was
// refused as the sender's mistake.
func checkRead(t *testing.T, body []byte, s sheet.Sheet, err error) {
	t.Helper()
	if err != nil {
		if f := fault.As(err); f.Kind != fault.Invalid && f.Kind != fault.TooLarge || f.Message == "" {
			t.Errorf("a file of %d bytes: error = %v, want it to be the sender's", len(body), err)
		}
		return
	}
	if what := within(s); what != "" {
		t.Errorf("the table of a file of %d bytes %s", len(body), what)
	}
}

// bomb returns a workbook with one part that unpacks to before, again as often
// as makes times 400 kB, and after. What comes again is packed once, and the
// packed bytes are repeated. claim is the size that the archive claims of the
// part, 0 for the right one.
func bomb(t testing.TB, p parts, name, before, again string, times int, after string, claim uint64) []byte {
	t.Helper()
	again = strings.Repeat(again, 1+400_000/len(again)) // more than deflate looks back
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	write := func(s string) []byte {
		from := packed.Len()
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(packed.Bytes()[from:])
	}
	write(before)
	write(again)
	packed.Write(bytes.Repeat(write(again), times))
	write(after)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for part, content := range p.without(name) {
		f, err := z.Create(part)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	size := uint64(len(before) + (times+2)*len(again) + len(after))
	if claim == 0 {
		claim = size
	}
	f, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CompressedSize64: uint64(packed.Len()), UncompressedSize64: claim})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(packed.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes of file, %d MB unpacked", name, file.Len(), size/1e6)
	return file.Bytes()
}

// peak is what the heap may have grown to after every hostile file.
const peak = 200 << 20

// TestHostile is not parallel, so that the memory it measures is that of the
// files. A heap does not give back what it has reserved: its size tells the
// largest it has been.
func TestHostile(t *testing.T) { //nolint:paralleltest // see above
	const sheet1, texts, styles, book, rels = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
	one := small(`<row><c><v>1</v></c></row>`)
	const open, end = `<worksheet><sheetData>`, `</sheetData></worksheet>`
	// times of 400 kB
	const toLimit, toGB, to4GB = 170, 2_500, 10_000
	for _, tt := range []struct {
		name string
		body func() []byte
		kind fault.Kind
		want string
	}{
		{"4 GB", func() []byte {
			return bomb(t, one, sheet1, open, "<"+strings.Repeat("a", 400_000)+"/>", to4GB, end, 0)
		}, fault.TooLarge, "unpacks to more than 64 MiB"},
		{"4 GB, said to be a kilobyte", func() []byte {
			return bomb(t, one, sheet1, open, `<a/>`, to4GB, end, 1000)
		}, fault.Invalid, "damaged"},
		{"4 GB of cells", func() []byte {
			return bomb(t, one, sheet1, open+`<row>`, `<c/>`, to4GB, end, 0)
		}, fault.TooLarge, "too many cells, empty ones counted"},
		{"4 GB of a part that is not read", func() []byte {
			return bomb(t, one, "xl/media/image1.png", "", "\x00", to4GB, "", 0)
		}, fault.Internal, ""},
		{"a cell of 1 GB", func() []byte {
			return bomb(t, one, sheet1, open+`<row><c t="str"><v>`, "x", toGB, `</v></c></row>`+end, 0)
		}, fault.TooLarge, "more than 65000 characters"},
		{"10 million empty rows", func() []byte {
			return bomb(t, one, sheet1, open, `<row/>`, 10_000_000/(400_000/6), end, 0)
		}, fault.Invalid, "damaged"},
		{"a text of 1 GB", func() []byte {
			return bomb(t, one, texts, `<sst><si><t>`, "x", toGB, `</t></si></sst>`, 0)
		}, fault.TooLarge, "more than 65000 characters"},
		{"a comment of 1 GB", func() []byte {
			return bomb(t, one, sheet1, open+`<!--`, "<>", toGB, `-->`+end, 0)
		}, fault.TooLarge, "more than 65000 characters"},
		{"10 million rows", func() []byte {
			return bomb(t, one, sheet1, open, `<row><c><v>1</v></c></row>`, 10_000_000/(400_000/26), end, 0)
		}, fault.TooLarge, "more than 100000 rows"},
		{"attributes without end", func() []byte {
			return bomb(t, one, sheet1, open+`<row `, `a="" `, toLimit, `/>`+end, 0)
		}, fault.TooLarge, "more than 65000 characters"},
		{"elements in elements", func() []byte {
			return bomb(t, one, sheet1, open, `<a>`, toLimit, end, 0)
		}, fault.Invalid, "damaged"},
		{"as many empty texts", func() []byte {
			return bomb(t, one, texts, `<sst>`, `<si/>`, toLimit, `</sst>`, 0)
		}, fault.TooLarge, "more than 1000000 texts"},
		{"as many texts of as many characters", func() []byte {
			return bomb(t, one, texts, `<sst>`, `<si><t>`+strings.Repeat("x", 60_000)+`</t></si>`, toLimit, `</sst>`, 0)
		}, fault.TooLarge, "unpacks to more than 64 MiB"},
		{"a long text in every row", func() []byte {
			p := small("").with(texts, `<sst><si><t>`+strings.Repeat("x", sheet.MaxCell)+`</t></si></sst>`)
			return bomb(t, p, sheet1, open, `<row><c t="s"><v>0</v></c></row>`, 6, end, 0)
		}, fault.TooLarge, "more than 64 MiB of text"},
		{"only the last column in every row", func() []byte {
			return bomb(t, one, sheet1, open, `<row>`+strings.Repeat(`<c/>`, 99)+`<c><v>1</v></c></row>`, toLimit, end, 0)
		}, fault.TooLarge, "more than 1000000 cells"},
		{"styles", func() []byte {
			return bomb(t, one, styles, `<styleSheet><cellXfs>`, `<xf/>`, toLimit/8, `</cellXfs></styleSheet>`, 0)
		}, fault.Internal, ""},
		{"sheets", func() []byte {
			return bomb(t, one, book, `<workbook><sheets>`, `<sheet id="1"/>`, toLimit, `</sheets></workbook>`, 0)
		}, fault.Invalid, "damaged"},
		{"workbooks in a workbook", func() []byte {
			return parts{"a.zip": string(parts{"xl/workbook.xml": ""}.file())}.file()
		}, fault.Invalid, "without a workbook"},
		{"many tiny parts", func() []byte {
			p := parts{}
			for i := range 35_000 {
				p[fmt.Sprint(i)] = ""
			}
			return p.file()
		}, fault.TooLarge, "more than 10000 parts"},
		{"relationships", func() []byte {
			var b strings.Builder
			for i := range 60_000 {
				fmt.Fprintf(&b, `<Relationship Id="%d"/>`, i)
			}
			return one.with(rels, `<Relationships>`+b.String()+`</Relationships>`).file()
		}, fault.Invalid, "damaged"},
		{"namespaces", func() []byte {
			var b strings.Builder
			for i := range 99 {
				fmt.Fprintf(&b, ` xmlns:a%d="y"`, i)
			}
			return bomb(t, one, sheet1, `<worksheet`+b.String()+`><sheetData>`, `<a/>`, 2_500_000/(400_000/4), `</sheetData></worksheet>`, 0)
		}, fault.Invalid, "empty"},
		{"number formats", func() []byte {
			var b strings.Builder
			for i := range 70_000 {
				fmt.Fprintf(&b, `<numFmt numFmtId="%d" formatCode="d"/>`, i)
			}
			return one.with(styles, `<styleSheet><numFmts>`+b.String()+`</numFmts></styleSheet>`).file()
		}, fault.Internal, ""},
		{"a long text in every cell of .xls", func() []byte {
			cells := [][]byte{biffLabel(0, 0, "x")}
			for i := range 60_000 {
				cells = append(cells, record(0xfd, uint16(i+1), uint16(0), uint16(0), uint32(0)))
			}
			return xlsFile(biffBook([][]byte{record(0xfc, uint32(1), uint32(1), uint16(8000), byte(0), make([]byte, 0), bytes.Repeat([]byte("x"), 8000))}, cells))
		}, fault.TooLarge, "more than 64 MiB of text"},
		{"as many cells in .xls", func() []byte {
			packed := make([]byte, 0, 8000)
			for range 1300 {
				packed = append(packed, pack(uint16(0), uint32(1<<2|2))...)
			}
			cells := make([][]byte, 500)
			for i := range cells {
				cells[i] = record(0xbd, uint16(i), uint16(0), packed, uint16(1299))
			}
			return xlsFile(biffBook(nil, cells))
		}, fault.TooLarge, "CW1 is to the right"},
		{"empty records in .xls", func() []byte {
			return xlsFile(biffBook([][]byte{record(0xfc, uint32(1), uint32(1<<30)), bytes.Repeat(record(0x3c), 900_000)}, nil))
		}, fault.Invalid, "empty"},
		{"small texts in .xls", func() []byte {
			globals := [][]byte{record(0xfc, uint32(1), uint32(1<<30))}
			for range 490 {
				globals = append(globals, record(0x3c, bytes.Repeat([]byte{1, 0, 0, 'x'}, 2000)))
			}
			return xlsFile(biffBook(globals, nil))
		}, fault.Invalid, "empty"},
		{"a table of .xls that is everywhere", func() []byte {
			file := slices.Concat([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, sheet.MaxSize-8))
			binary.LittleEndian.PutUint16(file[30:], 9)
			binary.LittleEndian.PutUint16(file[32:], 6)
			return file // every sector is number 0, and after itself
		}, fault.Invalid, "damaged"},
		{"lines", func() []byte { return bytes.Repeat([]byte("\n"), sheet.MaxSize) }, fault.Invalid, "empty"},
		{"rows of text", func() []byte { return bytes.Repeat([]byte("x\n"), sheet.MaxSize/2) }, fault.TooLarge, "more than 100000 rows"},
		{"separators", func() []byte { return bytes.Repeat([]byte("\t"), sheet.MaxSize) }, fault.Invalid, "empty"},
		{"columns of text", func() []byte { return bytes.Repeat([]byte("x;"), sheet.MaxSize/2) }, fault.TooLarge, "CW1 is to the right"},
		{"quotation marks", func() []byte { return bytes.Repeat([]byte(`"`), sheet.MaxSize) }, fault.TooLarge, "A1 holds more than 65000 characters"},
		{"quotation marks on every line", func() []byte { return append([]byte("a\tb\n"), bytes.Repeat([]byte("\"x\n"), 90_000)...) }, fault.Internal, ""},
		{"quotation marks, one to a line", func() []byte {
			return append([]byte("a\n"), bytes.Repeat([]byte("\"\n"+strings.Repeat("\n", 200)), 20_000)...)
		}, fault.Internal, ""},
		{"text of one line", func() []byte { return bytes.Repeat([]byte("x"), sheet.MaxSize) }, fault.TooLarge, "A1 holds more than 65000 characters"},
		{"UTF-16 as long as may be", func() []byte { return bytes.Repeat([]byte("\x00x\x00\n"), sheet.MaxSize/4) }, fault.TooLarge, "more than 100000 rows"},
	} {
		t.Run(tt.name, func(t *testing.T) { //nolint:paralleltest // see above
			body := tt.body()
			if len(body) > sheet.MaxSize {
				t.Fatalf("the file has %d bytes, which says nothing", len(body))
			}
			before := allocated()
			if tt.want == "" {
				s, err := sheet.Read(body)
				if err != nil {
					t.Errorf("Read: %v", err)
				}
				checkRead(t, body, s, err)
			} else {
				refuses(t, body, tt.kind, tt.want)
			}
			t.Logf("allocated %d MB", (allocated()-before)>>20)
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapSys > peak {
				t.Errorf("the heap has grown to %d MB, want %d at most", m.HeapSys>>20, peak>>20)
			}
		})
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("the heap has grown to %d MB", m.HeapSys>>20)
}

// allocated returns the bytes that were ever allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
