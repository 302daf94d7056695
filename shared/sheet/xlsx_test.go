package sheet_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sheet"
)

// bookFile returns a workbook that excelize writes.
func bookFile(t testing.TB, build func(f *excelize.File) error) []byte {
	t.Helper()
	f := excelize.NewFile()
	if err := f.SetDocProps(&excelize.DocProperties{Creator: "sitoo-rule", Created: "2026-01-01T00:00:00Z", Modified: "2026-01-01T00:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	if err := build(f); err != nil {
		t.Fatalf("build the workbook: %v", err)
	}
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatalf("write the workbook: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// set sets cells by name, and the format of those that are dates.
func set(f *excelize.File, name string, cells map[string]any) error {
	for cell, v := range cells {
		if err := f.SetCellValue(name, cell, v); err != nil {
			return err
		}
	}
	return nil
}

func TestXLSX(t *testing.T) {
	t.Parallel()
	styled := func(f *excelize.File, cell string, v any, style excelize.Style) error {
		id, err := f.NewStyle(&style)
		if err != nil {
			return err
		}
		if err := f.SetCellValue("Sheet1", cell, v); err != nil {
			return err
		}
		return f.SetCellStyle("Sheet1", cell, cell, id)
	}
	code := func(s string) excelize.Style { return excelize.Style{CustomNumFmt: &s} }
	day := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		build func(f *excelize.File) error
		want  sheet.Sheet
	}{
		"values": {
			func(f *excelize.File) error {
				return set(f, "Sheet1", map[string]any{
					"A2": " e-post ", "B2": "värde", "D2": "telefon",
					"A4": "kund.ett@example.com\u00a0", "B4": 49.5, "C4": true, "D4": 46701740605,
					"B5": 100, "C5": false, "D5": "+46701740606",
					"A9": 0.1 + 0.2, "B9": 1e21, "C9": -1e-7, "D9": 1.0 / 3, "E9": 0, "F9": " ",
					"A10": "_x_ <&> \U0001F600", "B10": "två\nrader", "C10": "[{\"bonuscheckid\":\"bc-1\"}]", "D10": int64(1234567890123456789),
				})
			},
			table(
				"xlsx",
				row(2, "e-post", "värde", "", "telefon"),
				row(4, "kund.ett@example.com", "49.5", "true", "46701740605"),
				row(5, "", "100", "false", "+46701740606"),
				row(9, "0.3", "1E+21", "-0.0000001", "0.333333333333333", "0"),
				row(10, "_x_ <&> \U0001F600", "två\nrader", `[{"bonuscheckid":"bc-1"}]`, "1234567890123456789"),
			),
		},
		"formats": {
			func(f *excelize.File) error {
				for cell, c := range map[string]struct {
					v     any
					style excelize.Style
				}{
					"A1": {day, excelize.Style{NumFmt: 14}},
					"B1": {day.Add(10 * time.Hour), excelize.Style{NumFmt: 22}},
					"C1": {day, excelize.Style{NumFmt: 22}},
					"D1": {46387, code("yyyy-mm-dd")},
					"E1": {46387.75, code("yyyy-mm-dd")}, // as it is shown
					"F1": {46387.75, code("d mmm yyyy hh:mm:ss")},
					"G1": {0.4375, code("hh:mm")},
					"H1": {49.5, code(`#,##0.00\ "kr"`)},
					"I1": {0.25, excelize.Style{NumFmt: 9}},
					"J1": {100, code(`0.00 [$kr-41D]`)},
					"K1": {7, code(`"dagar "0`)},
					"L1": {30.5, code("[h]:mm")},
					"M1": {46387, code("[$-41D]d mmmm yyyy;@")},
					"N1": {46387.999999999, code("yyyy-mm-dd hh:mm:ss.000")},
					"O1": {5, code("[Red]0;[Blue]-0")},
					"P1": {46701740605, code("+0")},
					"Q1": {46387.5, code("m/d/yy h:mm AM/PM")},
					"R1": {-2, code("yyyy-mm-dd")},
					"S1": {"2026-12-31", code("yyyy-mm-dd")},
					"T1": {46387, code("mmmm")},
					"U1": {12, code("General")},
					"V1": {12, code("@")},
					"W1": {12, code("0 s")},
				} {
					if err := styled(f, cell, c.v, c.style); err != nil {
						return err
					}
				}
				return nil
			},
			table("xlsx", row(1, "2026-12-31", "2026-12-31T10:00:00", "2026-12-31", "2026-12-31", "2026-12-31", "2026-12-31T18:00:00", "10:30:00",
				"49.5", "25%", "100", "7", "30.5", "2026-12-31", "2027-01-01", "5", "46701740605", "2026-12-31T12:00:00", "-2", "2026-12-31", "2026-12-31", "12", "12", "12")),
		},
		"the first visible worksheet": {
			func(f *excelize.File) error {
				for _, name := range []string{"b", "c"} {
					if _, err := f.NewSheet(name); err != nil {
						return err
					}
				}
				f.SetActiveSheet(2)
				if err := f.SetSheetVisible("Sheet1", false); err != nil {
					return err
				}
				if err := f.SetCellFormula("c", "A1", "=1+1"); err != nil {
					return err
				}
				if err := f.SetRowVisible("b", 2, false); err != nil {
					return err
				}
				return set(f, "b", map[string]any{"A1": "email", "A2": "hidden row", "B3": "merged"})
			},
			func() sheet.Sheet {
				s := table("xlsx", row(1, "email"), row(2, "hidden row"), row(3, "", "merged"))
				s.Note = "Only the first visible worksheet is read, which is “b”, and the workbook has 1 more. If the table is in another one, move that to the front, save the file and send it again."
				return s
			}(),
		},
		"a workbook of 1904": {
			func(f *excelize.File) error {
				yes := true
				if err := f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &yes}); err != nil {
					return err
				}
				return styled(f, "A1", 44925, excelize.Style{NumFmt: 14})
			},
			table("xlsx", row(1, "2026-12-31")),
		},
		"formatted text": {
			func(f *excelize.File) error {
				return f.SetCellRichText("Sheet1", "A1", []excelize.RichTextRun{{Text: "e-"}, {Text: "post", Font: &excelize.Font{Bold: true}}})
			},
			table("xlsx", row(1, "e-post")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads(t, bookFile(t, tt.build), tt.want)
		})
	}
}

// parts are the files of a workbook, in the XML that others write.
type parts map[string]string

// small is a workbook around the rows of its one sheet.
func small(rows string) parts {
	return parts{
		"[Content_Types].xml":        `<Types><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>`,
		"_rels/.rels":                `<Relationships><Relationship Id="r1" Type="http://x/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/workbook.xml":            `<workbook xmlns:r="http://x/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`,
		"xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://x/sharedStrings" Target="/xl/sharedStrings.xml"/><Relationship Id="rId3" Type="http://x/styles" Target="styles.xml"/></Relationships>`,
		"xl/sharedStrings.xml":       `<sst><si><t>email</t></si><si><r><t>a</t></r><r><t xml:space="preserve"> b</t></r><rPh><t>x</t></rPh></si><si><t>1_x000D_2</t></si></sst>`,
		"xl/styles.xml":              `<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf/><xf numFmtId="164"><alignment/></xf></cellXfs></styleSheet>`,
		"xl/worksheets/sheet1.xml":   `<worksheet><sheetData>` + rows + `</sheetData><extLst><f>1</f></extLst></worksheet>`,
	}
}

// with returns the parts with one more or another one.
func (p parts) with(name, content string) parts {
	q := parts{name: content}
	for k, v := range p {
		if k != name {
			q[k] = v
		}
	}
	return q
}

// without returns the parts but for one.
func (p parts) without(name string) parts {
	q := p.with(name, "")
	delete(q, name)
	return q
}

// file returns the parts as a file.
func (p parts) file() []byte {
	names := make([]string, 0, len(p))
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		h := zip.FileHeader{Name: name, Method: zip.Deflate}
		if p[name] == "" {
			h.Method = zip.Store
		}
		f, err := w.CreateHeader(&h)
		if err == nil {
			_, err = f.Write([]byte(p[name]))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// What excelize does not write.
func TestXLSXParts(t *testing.T) {
	t.Parallel()
	reads(
		t, small(`<row><c t="s"><v>0</v></c><c/><c t="s"><v> 1 </v></c><c t="s"><v>2</v></c></row><row r="4"><c r="B4" t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r><rPh><t>x</t></rPh></is></c><c t="str"><v>text</v></c><c r="E4" t="d"><v>2026-12-31T00:00:00</v></c><c t="d"><v>2026-12-31T10:00:00Z</v></c><c t="d"><v>next year</v></c></row>`+
			`<row/><row r="9"><c s="1"><v>46387</v></c><c t="n"><v>4.95E1</v></c><c><v>007</v></c><c s="9"><v>1</v></c><c t="b"><v>1</v></c><c t="s"/><c s="x"><v>-0</v></c></row>`).file(),
		table(
			"xlsx",
			row(1, "email", "", "a b", "1\r2"),
			row(4, "", "inline", "text", "", "2026-12-31", "2026-12-31T10:00:00", "next year"),
			row(9, "2026-12-31", "49.5", "7", "1", "true", "", "0"),
		),
	)
	one := table("xlsx", row(1, "1"))
	rows := small(`<row><c><v>1</v></c></row>`)
	for name, p := range map[string]parts{
		"prefixes":             rows.with("xl/worksheets/sheet1.xml", `<x:worksheet xmlns:x="y"><x:sheetData><x:row><x:c><x:v>1</x:v></x:c></x:row></x:sheetData></x:worksheet>`),
		"upper case":           rows.without("xl/sharedStrings.xml").with("xl/SharedStrings.XML", `<sst/>`),
		"backslashes":          rows.without("xl/worksheets/sheet1.xml").with(`xl\worksheets\sheet1.xml`, rows["xl/worksheets/sheet1.xml"]),
		"no relationships":     rows.without("_rels/.rels"),
		"no styles, no texts":  rows.with("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="rId1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`),
		"what is outside":      rows.with("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="rId1" Type="http://x/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://x/sharedStrings" TargetMode="External" Target="http://x.example.com/"/></Relationships>`),
		"another folder":       rows.without("xl/workbook.xml").without("xl/_rels/workbook.xml.rels").with("_rels/.rels", `<Relationships><Relationship Id="r1" Type="http://x/officeDocument" Target="/y/workbook.xml"/></Relationships>`).with("y/workbook.xml", rows["xl/workbook.xml"]).with("y/_rels/workbook.xml.rels", strings.ReplaceAll(rows["xl/_rels/workbook.xml.rels"], `"styles.xml`, `"../xl/styles.xml`)).with("y/worksheets/sheet1.xml", rows["xl/worksheets/sheet1.xml"]),
		"a chart comes first":  rows.with("xl/workbook.xml", `<workbook><sheets><sheet id="rId2"/><sheet id="rId1"/></sheets></workbook>`),
		"far empty cells":      small(`<row><c><v>1</v></c><c r="XFD1" s="1"/></row><row r="1048576"><c r="XFD1048576"/></row>`),
		"JSON is not the file": small(`<row><c t="inlineStr"><is><t>1</t></is></c></row>`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads(t, p.file(), one)
		})
	}
}

func TestXLSXRefused(t *testing.T) {
	t.Parallel()
	rows := small(`<row><c><v>1</v></c></row>`)
	in := func(cell string) []byte {
		return small(`<row><c><v>1</v></c></row><row r="7">` + cell + `</row>`).file()
	}
	password, err := excelize.Encrypt(rows.file(), &excelize.Options{Password: "made-up"})
	if err != nil {
		t.Fatal(err)
	}
	locked := rows.file()
	locked[bytes.LastIndex(locked, []byte("PK\x01\x02"))+8] |= 1
	var twice bytes.Buffer
	z := zip.NewWriter(&twice)
	for _, name := range []string{"xl/workbook.xml", "XL/workbook.xml"} {
		if _, err := z.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		body []byte
		kind fault.Kind
		want string
	}{
		"a formula": {bookFile(t, func(f *excelize.File) error {
			return f.SetCellFormula("Sheet1", "C7", "=SUM(A1:A6)")
		}), fault.Invalid, "C7 holds a formula"},
		"a formula without a value": {in(`<c r="AB7"><f/></c>`), fault.Invalid, "AB7 holds a formula"},
		"a formula to the right":    {in(`<c r="XFD7"><f>1+1</f><v>2</v></c>`), fault.Invalid, "XFD7 holds a formula"},
		"an error":                  {in(`<c r="C7" t="e"><v>#N/A</v></c>`), fault.Invalid, "C7 holds an error"},
		"macros": {bookFile(t, func(f *excelize.File) error {
			f.Path = "x.xlsm"
			return f.AddVBAProject(compoundFile(map[string][]byte{"VBA": {1}}))
		}), fault.Invalid, "holds macros"},
		"macros that are declared":   {rows.with("[Content_Types].xml", `<Types><Override PartName="/xl/workbook.xml" ContentType="application/vnd.ms-excel.sheet.macroEnabled.main+xml"/></Types>`).file(), fault.Invalid, "holds macros"},
		"macros elsewhere":           {rows.with("xl/_rels/workbook.xml.rels", `<Relationships><Relationship Id="1" Type="http://x/vbaProject" Target="code.bin"/></Relationships>`).file(), fault.Invalid, "holds macros"},
		"a sheet of macros":          {rows.with("xl/macrosheets/sheet1.xml", "").file(), fault.Invalid, "holds macros"},
		"a password":                 {password, fault.Invalid, "protected with a password"},
		"a password of the ZIP":      {locked, fault.Invalid, "protected with a password"},
		".xlsb":                      {parts{"xl/workbook.bin": "", "[Content_Types].xml": ""}.file(), fault.Invalid, "(.xlsb)"},
		".ods":                       {parts{"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": ""}.file(), fault.Invalid, "(.ods)"},
		".docx":                      {parts{"word/document.xml": ""}.file(), fault.Invalid, "without a workbook"},
		"a ZIP of a workbook":        {parts{"bonus.xlsx": string(rows.file())}.file(), fault.Invalid, "without a workbook"},
		"an empty ZIP":               {parts{}.file(), fault.Invalid, "without a workbook"},
		"a part twice":               {twice.Bytes(), fault.Invalid, "damaged"},
		"half a file":                {rows.file()[:500], fault.Invalid, "damaged"},
		"no types":                   {rows.without("[Content_Types].xml").file(), fault.Invalid, "damaged"},
		"no sheet":                   {rows.without("xl/worksheets/sheet1.xml").file(), fault.Invalid, "damaged"},
		"an empty sheet":             {small("").file(), fault.Invalid, "The table is empty."},
		"hidden sheets":              {rows.with("xl/workbook.xml", `<workbook><sheets><sheet state="hidden" id="rId1"/><sheet state="veryHidden" id="rId1"/></sheets></workbook>`).file(), fault.Invalid, "no visible worksheet"},
		"XML that breaks off":        {rows.with("xl/worksheets/sheet1.xml", `<worksheet><sheetData><row><c><v>1</v>`).file(), fault.Invalid, "damaged"},
		"too many namespaces":        {rows.with("xl/worksheets/sheet1.xml", `<worksheet`+strings.Repeat(` xmlns:a="y"`, 101)+`><sheetData/></worksheet>`).file(), fault.Invalid, "damaged"},
		"not XML":                    {rows.with("xl/styles.xml", `<a></b>`).file(), fault.Invalid, "damaged"},
		"an entity":                  {in(`<c t="str"><v>&kund;</v></c>`), fault.Invalid, "damaged"},
		"rows that go back":          {small(`<row r="2"/><row r="2"/>`).file(), fault.Invalid, "damaged"},
		"a row too far down":         {small(`<row r="1048577"/>`).file(), fault.Invalid, "damaged"},
		"a row of letters":           {small(`<row r="x"/>`).file(), fault.Invalid, "damaged"},
		"cells that go back":         {in(`<c r="B7"/><c r="B7"/>`), fault.Invalid, "damaged"},
		"a cell of another row":      {in(`<c r="B8"/>`), fault.Invalid, "damaged"},
		"a cell of no column":        {in(`<c r="7"/>`), fault.Invalid, "damaged"},
		"a cell of an odd column":    {in(`<c r="Å7"/>`), fault.Invalid, "damaged"},
		"a text that is missing":     {in(`<c t="s"><v>3</v></c>`), fault.Invalid, "damaged"},
		"a number that is none":      {in(`<c><v>abc</v></c>`), fault.Invalid, "damaged"},
		"a number without limit":     {in(`<c><v>Inf</v></c>`), fault.Invalid, "damaged"},
		"a type nobody knows":        {in(`<c t="x"><v>1</v></c>`), fault.Invalid, "damaged"},
		"a control character":        {in(`<c t="str"><v>a_x0000_b</v></c>`), fault.Invalid, "A7 holds a character that is damaged"},
		"a column too many":          {in(`<c r="CW7"><v>1</v></c>`), fault.TooLarge, "CW7 is to the right of column CV"},
		"a long cell":                {in(`<c r="C7" t="str"><v>` + strings.Repeat("å", sheet.MaxCell+1) + `</v></c>`), fault.TooLarge, "C7 holds more than 65000 characters"},
		"a longer cell":              {in(`<c r="C7" t="str"><v>` + strings.Repeat("å", 300_000) + `<!-- -->` + strings.Repeat("å", 300_000) + `</v></c>`), fault.TooLarge, "C7 holds more than 65000 characters"},
		"a long text that is shared": {small(`<row r="7"><c r="C7" t="s"><v>0</v></c></row>`).with("xl/sharedStrings.xml", `<sst><si><t>`+strings.Repeat("å", sheet.MaxCell+1)+`</t></si></sst>`).file(), fault.TooLarge, "C7 holds more than 65000 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuses(t, tt.body, tt.kind, tt.want)
		})
	}
}

// What excelize reads of a sheet is what we read.
func TestXLSXAgainstExcelize(t *testing.T) {
	t.Parallel()
	numbers := []float64{0, 1, -1, 49.5, 0.1, 100, 1e5, 46701740605, 1.5e-5, 123456.789, math.Pi, 99999999999999, 0.07, 1234.56}
	body := bookFile(t, func(f *excelize.File) error {
		for i, n := range numbers {
			if err := set(f, "Sheet1", map[string]any{fmt.Sprintf("A%d", i+1): n, fmt.Sprintf("C%d", i+1): fmt.Sprint("rad ", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	f, err := excelize.OpenReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := f.GetRows("Sheet1", excelize.Options{RawCellValue: true})
	if err != nil {
		t.Fatal(err)
	}
	want := sheet.Sheet{Format: "xlsx"}
	for i, cells := range rows {
		switch cells[0] { // what excelize leaves to the format of the cell
		case "1.5E-05", "1.5e-05":
			cells[0] = "0.000015"
		case "3.141592653589793":
			cells[0] = "3.14159265358979"
		}
		want.Rows = append(want.Rows, row(i+1, cells...))
	}
	want.Header, want.Rows = want.Rows[0], want.Rows[1:]
	reads(t, body, want)
}

func FuzzXLSX(f *testing.F) {
	p := small(`<row r="2"><c r="A2" t="s"><v>0</v></c><c s="1"><v>46387</v></c><c t="inlineStr"><is><t>a</t></is></c></row>`)
	f.Add(p.file(), p["xl/worksheets/sheet1.xml"], p["xl/sharedStrings.xml"], p["xl/styles.xml"], p["xl/workbook.xml"])
	f.Add([]byte("PK\x03\x04"), `<a><sheetData><row><c t="e"><f/></c></row></sheetData></a>`, `<sst><si><t>_x0041_`, ``, p["xl/workbook.xml"])
	f.Fuzz(func(t *testing.T, raw []byte, rows, texts, styles, book string) {
		for _, body := range [][]byte{
			raw, append([]byte("PK\x03\x04"), raw...),
			p.with("xl/worksheets/sheet1.xml", rows).with("xl/sharedStrings.xml", texts).with("xl/styles.xml", styles).with("xl/workbook.xml", book).file(),
		} {
			s, err := sheet.Read(body)
			checkRead(t, body, s, err)
		}
	})
}

// Texts that excelize writes, shared ones and ones in the cell, are read by both
// alike.
func TestXLSXTextsAgainstExcelize(t *testing.T) {
	t.Parallel()
	texts := []string{"a", "åäö", "😀", "two\nlines", "tab\tbed", "a_x0041_b", "x_x000D_y", "<&>\"'", "1", "007", "2026-12-31", "true", "{\"a\": [\"b\"]}", "e\u0301", "日本", "x\u00a0y", "&#x41;", "]]>"}
	for name, write := range map[string]func(f *excelize.File) error{
		"shared": func(f *excelize.File) error {
			for i, s := range texts {
				if err := f.SetCellValue("Sheet1", fmt.Sprintf("A%d", i+1), s); err != nil {
					return err
				}
			}
			return nil
		},
		"in the cell": func(f *excelize.File) error {
			w, err := f.NewStreamWriter("Sheet1")
			if err != nil {
				return err
			}
			for i, s := range texts {
				if err := w.SetRow(fmt.Sprintf("A%d", i+1), []any{s}); err != nil {
					return err
				}
			}
			return w.Flush()
		},
		"in stretches": func(f *excelize.File) error {
			for i, s := range texts {
				half := []rune(s)
				runs := []excelize.RichTextRun{{Text: string(half[:len(half)/2])}, {Text: string(half[len(half)/2:]), Font: &excelize.Font{Bold: true}}}
				if strings.Contains(s, "_x") {
					runs = runs[:1] // two halves of an escape are none
				}
				if runs[0].Text == "" {
					runs = runs[1:]
				}
				if err := f.SetCellRichText("Sheet1", fmt.Sprintf("A%d", i+1), runs); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := bookFile(t, write)
			f, err := excelize.OpenReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			rows, err := f.GetRows("Sheet1")
			if err != nil || len(rows) != len(texts) {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			want := sheet.Sheet{Format: "xlsx"}
			for i, cells := range rows {
				want.Rows = append(want.Rows, row(i+1, cells...))
			}
			want.Header, want.Rows = want.Rows[0], want.Rows[1:]
			reads(t, body, want)
		})
	}
}
