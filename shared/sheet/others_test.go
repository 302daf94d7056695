package sheet_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sheet"
)

// Files in which other programs do what is seldom seen are read as those
// programs mean them, or refused with what to do.
func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	header := row(1, "email", "bonuscheckid", "value")
	want := map[string]sheet.Sheet{
		"1904-x15-workbookPr.xlsx":    table("xlsx", row(1, "email", "bonuscheckid", "value", "validto"), row(2, "kund@example.com", "x-2", "100", "2030-12-31")),
		"inlinestr-with-v.xlsx":       table("xlsx", header, row(2, "kund@example.com", "x-3", "100")),
		"sheetjs-content-type.xlsx":   table("xlsx", header, row(2, "kund@example.com", "x-1", "100")),
		"surrogates.xlsx":             table("xlsx", row(1, "email", "bonuscheckid", "name", "value"), row(2, "kund@example.com", "x-4", "Check 😀", "100")),
		"embedded-workbook-first.xls": table("xls", header, row(2, "right@example.com", "right-1", "100")),
		"embedded-word.xls":           table("xls", header, row(2, "right@example.com", "right-1", "100")),
		"stream-Book-biff8.xls":       table("xls", header, row(2, "right@example.com", "right-1", "100")),
		"sst-count-too-large.xls":     table("xls", header, row(2, "kund@example.com", "sst-1", "100")),
		"heading-tom.csv":             table("csv", row(1, "email", "bonuscheckid", "name", "value", "Giltig t.o.m."), row(2, "tom@example.com", "tom-1", "Check", "100", "2026-12-31")),
		"id-scientific.csv": table(
			"csv", row(1, "email", "bonuscheckid", "name", "value"),
			row(2, "sci@example.com", "7,35001E+12", "Check A", "100"), row(3, "sci@example.com", "7,35001E+12", "Check A", "100"),
		),
		"macroman-lowercase.csv": table(
			"csv", row(1, "E-post", "Checknummer", "Namn", "Beskrivning", "Belopp", "Giltig från", "Giltig till"),
			row(2, "kund@example.com", "mac-1", "Vårcheck för dig", "Gäller även rea", "100,50", "2026-01-01", "2030-12-31"),
		),
	}
	refused := map[string]string{"utf8-doubleencoded.csv": "F1 holds letters that were read in the wrong encoding before"}
	names, err := filepath.Glob("testdata/others/*")
	if err != nil || len(names) != len(want)+len(refused) {
		t.Fatalf("%d files (%v), want %d", len(names), err, len(want)+len(refused))
	}
	for _, path := range names {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if what := refused[name]; what != "" {
				refuses(t, body, fault.Invalid, what)
				return
			}
			reads(t, body, want[name])
		})
	}
}

// Of a workbook's XML only elements and attributes of its own namespace count,
// whatever prefix they have, and only where they belong.
func TestXLSXExtensions(t *testing.T) {
	t.Parallel()
	const main, strict, x14, r = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://purl.oclc.org/ooxml/spreadsheetml/main", "http://schemas.microsoft.com/office/spreadsheetml/2009/9/main", "http://purl.oclc.org/ooxml/officeDocument/relationships"
	p := small(`<row><c s="1"><v>44925</v></c></row>`)
	day := table("xlsx", row(1, "2026-12-31"))
	one := table("xlsx", row(1, "1"))
	book := func(before, sheets, after string) parts {
		return p.with("xl/workbook.xml", `<m:workbook xmlns:m="`+strict+`" xmlns:q="`+r+`" xmlns:r="other">`+before+`<m:sheets>`+sheets+`</m:sheets>`+after+`</m:workbook>`)
	}
	const mine = `<m:sheet name="a" r:id="rId9" id="rId8" q:id="rId1"/>`
	of := func(rows string) parts {
		return p.with("xl/worksheets/sheet1.xml", `<worksheet xmlns="`+main+`" xmlns:x14="`+x14+`" xmlns:same="`+main+`"><sheetData>`+rows+`</sheetData></worksheet>`)
	}
	for name, tt := range map[string]struct {
		parts parts
		want  sheet.Sheet
	}{
		"strict, with prefixes":              {book(`<m:workbookPr date1904="true"/>`, mine, ""), day},
		"properties after the sheets":        {book("", mine, `<m:workbookPr date1904="1"/>`), day},
		"properties of an extension":         {book(`<m:workbookPr date1904="1"/>`, mine, `<m:extLst><m:ext><workbookPr xmlns="x15"/><m:workbookPr/></m:ext></m:extLst>`), day},
		"an attribute of an extension":       {book(`<m:workbookPr r:date1904="0" date1904="1"/>`, mine, ""), day},
		"a list of sheets of an extension":   {book(`<m:workbookPr date1904="1"/><r:sheets><r:sheet q:id="rId2"/></r:sheets>`, `<r:sheet q:id="rId2"/>`+mine, ""), day},
		"a row of an extension":              {of(`<x14:row r="1"><x14:c><x14:v>9</x14:v></x14:c></x14:row><row><c><v>1</v></c></row>`), one},
		"a cell of an extension":             {of(`<row><x14:c r="A1"><v>9</v></x14:c><c><v>1</v></c></row>`), one},
		"a value of an extension":            {of(`<row><c><x14:v>9</x14:v><v>1</v><extLst><ext><v>8</v></ext></extLst></c></row>`), one},
		"a formula of an extension":          {of(`<row><c><v>1</v><extLst><x14:f>1+1</x14:f></extLst></c></row>`), one},
		"a type and a place of an extension": {of(`<row x14:r="7"><c x14:r="C3" x14:t="s" x14:s="1"><v>1</v></c></row>`), one},
		"the same namespace by two prefixes": {of(`<same:row><c><same:v>1</same:v></c></same:row>`), one},
		"a namespace declared on the spot":   {of(`<row><c><v xmlns="` + x14 + `">9</v><v>1</v></c></row>`), one},
		"values before and after": {
			of(`<row><c t="inlineStr"><v>9</v><is><t>1</t></is></c></row><row><c t="inlineStr"><is><t>1</t></is><v>9</v></c><c t="str"><is><t>9</t></is><v>1</v></c><c t="inlineStr"><v>1</v></c><c><is><t>9</t></is><v>1</v></c></row>`),
			table("xlsx", row(1, "1"), row(2, "1", "1", "1", "1")),
		},
		"shared texts": {
			small(`<row><c t="s"><v>0</v></c><c t="s"><v>1</v></c><c t="s"><v>2</v></c></row>`).with("xl/sharedStrings.xml",
				`<sst xmlns="`+main+`" xmlns:x14="`+x14+`" count="9" uniqueCount="1"><si><r><rPr><b/><t>9</t></rPr><t>1</t></r><rPh sb="0" eb="1"><t>9</t></rPh><phoneticPr/></si><si><t>a</t><extLst><ext><t>9</t></ext></extLst><x14:t>9</x14:t></si><si><t xml:space="preserve"> b </t></si></sst>`),
			table("xlsx", row(1, "1", "a", "b")),
		},
		"formats after the styles, and of extensions": {
			p.with("xl/workbook.xml", strings.Replace(p["xl/workbook.xml"], "<sheets>", `<workbookPr date1904="1"/><sheets>`, 1)).with("xl/styles.xml", `<styleSheet xmlns="`+main+`" xmlns:x14="`+x14+`"><dxfs><dxf><numFmt numFmtId="164" formatCode="0"/></dxf></dxfs><cellXfs><xf/><x14:xf/><xf numFmtId="164"/></cellXfs><numFmts><numFmt numFmtId="164" formatCode="yyyy-mm-dd"/><x14:numFmt numFmtId="164" formatCode="0"/></numFmts></styleSheet>`),
			day,
		},
		"an embedded workbook with macros": {
			of(`<row><c><v>1</v></c></row>`).with("xl/embeddings/a.xlsm", "PK").with("[Content_Types].xml", `<Types><Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.macroEnabled.main+xml"/><Default Extension="xlsm" ContentType="application/vnd.ms-excel.sheet.macroEnabled.12"/><Override PartName="/xl/embeddings/a.xlsm" ContentType="application/vnd.ms-excel.sheet.macroEnabled.12"/></Types>`),
			one,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads(t, tt.parts.file(), tt.want)
		})
	}
	macros := `<Types xmlns="types"><Override ContentType="application/vnd.ms-excel.template.macroEnabled.main+xml" PartName="/XL/Workbook.xml"/></Types>`
	refuses(t, p.with("[Content_Types].xml", macros).file(), fault.Invalid, "holds macros")
}

// Characters beyond U+FFFF come in several spellings; half of one is refused.
func TestXLSXSurrogates(t *testing.T) {
	t.Parallel()
	in := func(text string) []byte {
		return small(`<row><c t="inlineStr"><is><t>a</t></is></c></row><row r="7"><c r="C7" t="inlineStr"><is><t>` + text + `</t></is></c></row>`).file()
	}
	for text, want := range map[string]string{
		"_xD83D__xDE00_": "😀", "_xd83d__xde00_!": "😀!", "&#xD83D;&#xDE00;": "😀", "&#55357;&#56832;x": "😀x", "&#x1F600;": "😀",
		"_x005F_xD83D_": "_xD83D_", "_xD83D": "_xD83D", "_x00E5_": "å", "_x000A_å_x000A_x": "å\nx",
	} {
		reads(t, in(text), table("xlsx", row(1, "a"), row(7, "", "", want)))
	}
	for _, text := range []string{"_xD83D_", "a_xDE00_", "_xD83D_a_xDE00_", "_xDE00__xD83D_"} {
		refuses(t, in(text), fault.Invalid, "C7 holds a character that is damaged")
	}
	refuses(t, in("&#xD83D;"), fault.Invalid, "damaged")
}

// A number of which a spreadsheet has lost digits does not look like one that is
// whole, and ten percent is not 0.1.
func TestNumbersAsShown(t *testing.T) {
	t.Parallel()
	p := small(`<row><c><v>999999999999999</v></c><c><v>1.234567890123456E+15</v></c><c><v>7.3500100000000002E+17</v></c><c><v>7350010000000001</v></c><c s="1"><v>0.1</v></c><c s="2"><v>0.125</v></c><c s="3"><v>0.07</v></c><c s="4"><v>5</v></c></row>`).
		with("xl/styles.xml", `<styleSheet><numFmts><numFmt numFmtId="170" formatCode="0.0\ %"/><numFmt numFmtId="171" formatCode="0&quot;%&quot;"/></numFmts><cellXfs><xf/><xf numFmtId="9"/><xf numFmtId="10"/><xf numFmtId="170"/><xf numFmtId="171"/></cellXfs></styleSheet>`)
	reads(t, p.file(), table("xlsx", row(1, "999999999999999", "1.23456789012346E+15", "7.35001E+17", "7350010000000001", "10%", "12.5%", "7%", "5")))
	reads(t, xlsFile(biffBook(
		[][]byte{record(0xe0, uint16(0), uint16(9), make([]byte, 16))},
		[][]byte{record(0x203, uint16(0), uint16(0), uint16(0), 0.25), record(0x203, uint16(0), uint16(1), uint16(9), 7350010000000001.0)},
	)), table("xls", row(1, "25%", "7.35001E+15")))
}

// Which worksheet is read is said where there are others or it is empty.
func TestFirstSheet(t *testing.T) {
	t.Parallel()
	two := small(`<row><c><v>1</v></c></row>`).with("xl/workbook.xml", `<workbook><sheets><sheet name="dold" state="hidden" id="rId4"/><sheet name="Läs &amp; förstå" id="rId4"/><sheet name="Checkar" id="rId1"/><sheet name="Diagram" id="rId5"/></sheets></workbook>`).
		with("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="rId1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId4" Type="http://x/worksheet" Target="worksheets/info.xml"/><Relationship Id="rId5" Type="http://x/chartsheet" Target="c.xml"/></Relationships>`)
	refuses(t, two.with("xl/worksheets/info.xml", `<worksheet><sheetData/></worksheet>`).file(), fault.Invalid,
		"The table is empty. A line of headings is expected, and a row for each record below it. Only the first visible worksheet is read, which is “Läs & förstå”, and the workbook has 1 more. If the table is in another one, move that to the front, save the file and send it again.")
	refuses(t, small("").file(), fault.Invalid, "Only the first visible worksheet is read, which is “a”.")
	refuses(t, two.with("xl/worksheets/info.xml", `<worksheet><sheetData><row r="3"><c r="B3"><f>TODAY()</f></c></row></sheetData></worksheet>`).file(), fault.Invalid,
		"B3 holds a formula. Copy the cells and paste them as values, save the file and send it again. Only the first visible worksheet is read, which is “Läs & förstå”")
	want := table("xlsx", row(1, "Så gör du"))
	want.Note = "Only the first visible worksheet is read, which is “Läs & förstå”, and the workbook has 1 more. If the table is in another one, move that to the front, save the file and send it again."
	reads(t, two.with("xl/worksheets/info.xml", `<worksheet><sheetData><row><c t="str"><v>Så gör du</v></c></row></sheetData></worksheet>`).file(), want)

	// The same of .xls: a sheet that is hidden, one that is read, and two more.
	names := func(n string, flags byte, kind byte) []byte {
		return record(0x85, uint32(1), flags, kind, byte(len(n)), byte(0), []byte(n))
	}
	stream := biffBook([][]byte{names("dold", 2, 0)}, [][]byte{biffLabel(0, 0, "x")})
	more := slices.Concat(names("mer", 0, 0), names("diagram", 0, 2), names("till", 0, 0))
	end := len(stream) - len(slices.Concat(record(0x0a), record(0x809, uint16(0x600), uint16(0x10), make([]byte, 12)), biffLabel(0, 0, "x"), record(0x0a)))
	binary.LittleEndian.PutUint32(stream[end-9:], uint32(end+4+len(more))) // of the record before the end
	xls := table("xls", row(1, "x"))
	xls.Note = "Only the first visible worksheet is read, which is “a”, and the workbook has 2 more. If the table is in another one, move that to the front, save the file and send it again."
	reads(t, xlsFile(slices.Concat(stream[:end], more, stream[end:])), xls)
}

// What is embedded in an .xls file, and what it is called, does not matter.
func TestXLSEmbedded(t *testing.T) {
	t.Parallel()
	good := biffBook(nil, [][]byte{biffLabel(0, 0, "email")})
	other := biffBook(nil, [][]byte{biffLabel(0, 0, "embedded")})
	want := table("xls", row(1, "email"))
	// nested moves streams of a file into a storage: by the number of its entry.
	nested := func(streams map[string][]byte, storage string, inner ...string) []byte {
		streams[storage] = nil
		file := compoundFile(streams)
		names := []string{}
		for name := range streams {
			names = append(names, name)
		}
		slices.Sort(names)
		at := func(name string) uint32 { return uint32(slices.Index(names, name) + 1) }
		dir := file[512*(1+int(binary.LittleEndian.Uint32(file[48:]))):]
		before := uint32(0xffffffff)
		for _, name := range inner {
			binary.LittleEndian.PutUint32(dir[128*at(name)+72:], before)
			before = at(name)
		}
		binary.LittleEndian.PutUint32(dir[128*at(storage)+76:], before)
		binary.LittleEndian.PutUint32(dir[76:], 0xffffffff)
		for _, name := range names {
			if !slices.Contains(inner, name) {
				binary.LittleEndian.PutUint32(dir[128*at(name)+68:], binary.LittleEndian.Uint32(dir[76:]))
				binary.LittleEndian.PutUint32(dir[76:], at(name))
			}
		}
		return file
	}
	for name, streams := range map[string]map[string][]byte{
		"a document":              {"WordDocument": {1}, "Workbook": good},
		"a presentation":          {"PowerPoint Document": {1}, "Workbook": good},
		"a workbook with macros":  {"_VBA_PROJECT_CUR": {1}, "WORKBOOK": good},
		"an .xlsx":                {"Package": []byte("PK\x03\x04"), "Workbook": good},
		"a password's workbook":   {"EncryptedPackage": {1}, "Workbook": good},
		"an old workbook":         {"Book": {1}, "Workbook": good},
		"a chart":                 {"Workbook": other, "Book": good},
		"a newer one in an older": {"workbook": other, "Book": good, "\x01Ole": {1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var inner []string
			for n, body := range streams {
				if string(body) != string(good) {
					inner = append(inner, n)
				}
			}
			slices.Sort(inner)
			reads(t, nested(streams, "MBD00A1B2C3", inner...), want)
		})
	}
	refuses(t, nested(map[string][]byte{"Workbook": good, "WordDocument": {1}}, "ObjectPool", "Workbook"), fault.Invalid, "a text document")
	refuses(t, nested(map[string][]byte{"Workbook": good, "Thing": {1}}, "ObjectPool", "Workbook"), fault.Invalid, "holds no workbook")
	reads(t, good, want) // not in a compound file at all
}

// The Nordic letters of a text tell its encoding, however few they are.
func TestCharsets(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		"small letters":   "e-post;värde;giltig från\nkund@example.com;5;för dig\n",
		"capitals":        "E-POST;VÄRDE;GILTIG FRÅN\nKUND@EXAMPLE.COM;5;FÖR DIG\n",
		"one small":       "email;value\na@example.com;för\n",
		"one at the end":  "email;value\na@example.com;blå\n",
		"one capital":     "email;value\na@example.com;VÄRDE\n",
		"Danish":          "e-mail;beløb;bemærk\na@example.com;5;på\n",
		"Danish capitals": "E-MAIL;BELØB;BEMÆRK\nA@EXAMPLE.COM;5;PÅ\n",
		"Finnish":         "sähköposti;määrä\na@example.com;voimassa päättyy\n",
		"French":          "email;name\na@example.com;Café é René\n",
		"between numbers": "email;name\na@example.com;5 år och 6 månader, 100\u00a0kr\n",
	}
	for name, s := range texts {
		for charset, e := range map[string]encoding.Encoding{
			"Windows-1252": charmap.Windows1252, "Mac Roman": charmap.Macintosh, "CP850": charmap.CodePage850, "CP437": charmap.CodePage437,
			"UTF-16 LE": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "UTF-16 BE": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
		} {
			body, err := e.NewEncoder().Bytes([]byte(s))
			if err != nil && charset == "CP437" { // it has no ø
				continue
			}
			if err != nil {
				t.Fatal(name, charset, err)
			}
			t.Run(name+" "+charset, func(t *testing.T) {
				t.Parallel()
				if _, err := sheet.Read(body); err != nil && strings.HasPrefix(name, "one ") && charset != "Windows-1252" {
					refuses(t, body, fault.Invalid, "an encoding that cannot be told: line 2") // so few could be several
					return
				}
				lines := strings.Split(strings.TrimSpace(s), "\n")
				reads(t, body, table("csv", row(1, strings.Split(lines[0], ";")...), row(2, strings.Split(lines[1], ";")...)))
			})
		}
	}
	// Windows-1252 with what is seldom, and what could be either.
	for s, want := range map[string]string{
		"email;n\na;Dušan frÅga åäö": "Dušan frÅga åäö", "email;n\na;François": "François", "email;n\na;100 € – 5 % … “x” ’y’": "100 € – 5 % … “x” ’y’",
		"email;n\na;l’été": "l’été", "email;n\na;Bonus™ från": "Bonus™ från", "email;n\na;Zoë": "Zoë", "email;n\na;5 §": "5 §", "email;n\na;Levi´s": "Levi´s", "email;n\na;Levi®s": "Levi®s", "email;n\na;•Rabatt ½kg 5×2": "•Rabatt ½kg 5×2", "email;n\na;…och så": "…och så",
	} {
		body, err := charmap.Windows1252.NewEncoder().String(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := sheet.Read([]byte(body))
		if err != nil || got.Rows[0].Cells[1] != want {
			t.Errorf("%q is read as %v, %v", s, got.Rows, err)
		}
	}
	for s, e := range map[string]encoding.Encoding{"email;n\na;Dušan": charmap.Windows1252, "email;n\rb;c\ra;xÅxÇx": charmap.CodePage850, "email;n\na;aÃbÕc": charmap.Macintosh} {
		body, err := e.NewEncoder().Bytes([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, body, fault.Invalid, fmt.Sprintf("an encoding that cannot be told: line %d", strings.Count(s, "\n")+strings.Count(s, "\r")+1))
	}
}

// Text that was saved after it had been read in a wrong encoding is refused, in
// every kind of file.
func TestMisread(t *testing.T) {
	t.Parallel()
	const letters = "åäöÅÄÖéÉæÆøØü"
	// wrong is text in UTF-8 as another encoding shows it.
	wrong := func(e *charmap.Charmap, s string) string {
		var b strings.Builder
		for i := range len(s) {
			r := e.DecodeByte(s[i])
			if r == '\ufffd' { // as browsers and Python's latin-1 do it
				r = rune(s[i])
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	for _, r := range letters {
		for name, e := range map[string]*charmap.Charmap{"Windows-1252": charmap.Windows1252, "ISO 8859-1": charmap.ISO8859_1, "Mac Roman": charmap.Macintosh, "CP850": charmap.CodePage850, "CP437": charmap.CodePage437} {
			if s := wrong(e, "V"+string(r)+"r"); !sheet.Misread(s) {
				t.Errorf("%q, %c as %s, is not seen", s, r, name)
			}
		}
	}
	once := wrong(charmap.Windows1252, "Vårcheck för 5 €")
	for _, s := range []string{once, wrong(charmap.Windows1252, once), "Vår’s " + wrong(charmap.Windows1252, "’"), wrong(charmap.Windows1252, "😀"), "f÷r", "V‰rde", "fˆr", "VŒrcheck", "frŠn", "V†rcheck", "V„rde", "f”r"} {
		if !sheet.Misread(s) {
			t.Errorf("%q is not seen", s)
		}
	}
	for _, s := range []string{letters, "SÃO PAULO", "Â", "Â ", "l’été", "5”skärm", "“Bonus”", "Šárka Žižek Œuvre Dušan", "100 €", "10 ‰", "a ÷ b", "5÷2", "…och", "Bonus™", "π√2", "😀", "日本", "Ã", "bär”", "—", "ðí", "câmara"} {
		if sheet.Misread(s) {
			t.Errorf("%q is taken for text that was misread", s)
		}
	}
	refuses(t, []byte("a;b\nc;"+once+"\n"), fault.Invalid, "B2 holds letters that were read in the wrong encoding before, such as Ã¥ for å. Go back to the file")
	refuses(t, small(`<row><c t="str"><v>a</v></c></row><row r="7"><c r="C7" t="str"><v>`+once+`</v></c></row>`).file(), fault.Invalid, "C7 holds letters")
	refuses(t, xlsFile(biffBook(nil, [][]byte{biffLabel(0, 0, "email"), biffLabel(2, 1, once)})), fault.Invalid, "B3 holds letters")
}

// The lines of a file of an old Macintosh are counted where it is refused, too.
func TestLinesOfMacintosh(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"a;b\r1;å\r2;å\xc3\r":               "line 3 is not",
		"\ufeffa;b\r1;2\r\xe5;\r":           "line 3 is not",
		"a;b\r1;2\r\r\x02;\r":               "line 4 holds a control character",
		"a;b\r1;\ufffd\r":                   "Line 2 holds a character that is damaged",
		"a;b\r1;2\r\"x\"y;2\r":              "A3 begins with a quotation mark",
		"a;b\r\nå\rx;2\r\nå;\xe5\r\n":       "line 3 is not",
		"\xff\xfea\x00\r\x00\x02\x00\r\x00": "line 2 holds a control character",
	} {
		refuses(t, []byte(body), fault.Invalid, want)
	}
}
