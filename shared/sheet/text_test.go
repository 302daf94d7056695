package sheet_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sheet"
)

// encodings are the ones a file may have.
var encodings = map[string]encoding.Encoding{
	"UTF-8":                  encoding.Nop,
	"UTF-8 with mark":        unicode.UTF8BOM,
	"UTF-16 LE with mark":    unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"UTF-16 BE with mark":    unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"UTF-16 LE without mark": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"UTF-16 BE without mark": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	"Windows-1252":           charmap.Windows1252,
}

func TestTextEncodings(t *testing.T) {
	t.Parallel()
	for name, e := range encodings {
		for _, separator := range []string{"\t", ";", ","} {
			for _, quoted := range []bool{false, true} {
				for _, end := range []string{"\n", "\r\n", "\r"} {
					t.Run(fmt.Sprintf("%s %q quoted=%v %q", name, separator, quoted, end), func(t *testing.T) {
						t.Parallel()
						mark := ""
						if quoted {
							mark = `"`
						}
						var b strings.Builder
						for _, line := range [][]string{
							{"e-post", "värde", "giltig från"},
							{"kund.ett@example.com", "5 €", "Åäö – é"},
							{},
							{"", "49.50", "", "", ""},
						} {
							for i, cell := range line {
								if i > 0 {
									b.WriteString(separator)
								}
								b.WriteString(mark + cell + mark)
							}
							b.WriteString(end)
						}
						body, err := e.NewEncoder().Bytes([]byte(b.String()))
						if err != nil {
							t.Fatal(err)
						}
						format := "csv"
						if separator == "\t" {
							format = "txt"
						}
						reads(t, body, table(
							format,
							row(1, "e-post", "värde", "giltig från"),
							row(2, "kund.ett@example.com", "5 €", "Åäö – é"),
							row(4, "", "49.50"),
						))
					})
				}
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	const checks = `[{"bonuscheckid":"bc-1","name":"Bonus, mars; \"vår\"","value":"100.00"},{"bonuscheckid":"bc-2"}]`
	doubled := strings.ReplaceAll(checks, `"`, `""`)
	for name, tt := range map[string]struct {
		body string
		want sheet.Sheet
	}{
		"bare JSON between tabs": {
			"emailAddress\tSitoo-Contact.bonuschecks\tphone\r\nkund@example.com\t" + checks + "\t1\r\n",
			table("txt", row(1, "emailAddress", "Sitoo-Contact.bonuschecks", "phone"), row(2, "kund@example.com", checks, "1")),
		},
		"quoted JSON between tabs": {
			"emailAddress\tSitoo-Contact.bonuschecks\nkund@example.com\t\"" + doubled + "\"\n",
			table("txt", row(1, "emailAddress", "Sitoo-Contact.bonuschecks"), row(2, "kund@example.com", checks)),
		},
		"quoted JSON between commas": {
			"emailAddress,Sitoo-Contact.bonuschecks,x\nkund@example.com,\"" + doubled + "\",1",
			table("csv", row(1, "emailAddress", "Sitoo-Contact.bonuschecks", "x"), row(2, "kund@example.com", checks, "1")),
		},
		"bare JSON between semicolons": {
			"e-post;bonus\nkund@example.com;[{\"bonuscheckid\":\"bc-1\",\"value\":5}]",
			table("csv", row(1, "e-post", "bonus"), row(2, "kund@example.com", `[{"bonuscheckid":"bc-1","value":5}]`)),
		},
		"quotation marks that mean nothing between tabs": {
			"namn\tx\n\"Bonus\" mars\t1\n\"Vår\t2\nhöst\"\t3\n\"\"\t4\n\"a\" \t5",
			table("txt", row(1, "namn", "x"), row(2, `"Bonus" mars`, "1"), row(3, `"Vår`, "2"), row(4, `höst"`, "3"), row(5, "", "4"), row(6, "a", "5")),
		},
		"the last cell only begins with a quotation mark, between tabs": {
			"namn\tx\n1\t\"Vår\n2\t3",
			table("txt", row(1, "namn", "x"), row(2, "1", `"Vår`), row(3, "2", "3")),
		},
		"a line end in quotation marks is one row": {
			"namn;x\n\"två\r\nrader\";\"1\"\nnästa;2\n",
			table("csv", row(1, "namn", "x"), row(2, "två\nrader", "1"), row(3, "nästa", "2")),
		},
		"a line end in quotation marks, between tabs": {
			"namn\tx\n\"två\nrader\"\t1\nnästa\t2\n",
			table("txt", row(1, "namn", "x"), row(2, "två\nrader", "1"), row(3, "nästa", "2")),
		},
		"a separator in the headings": {
			"\"namn;,,,,\";x\na;b",
			table("csv", row(1, "namn;,,,,", "x"), row(2, "a", "b")),
		},
		"more semicolons than commas": {
			"namn;värde, kr;till\na;1,50;c",
			table("csv", row(1, "namn", "värde, kr", "till"), row(2, "a", "1,50", "c")),
		},
		"one column": {
			"email\na,b;c\n",
			table("txt", row(1, "email"), row(2, "a,b;c")),
		},
		"empty lines first": {
			"\n,,,\n \u00a0 \n\"\"\nemail,phone\n,2\n",
			table("csv", row(5, "email", "phone"), row(6, "", "2")),
		},
		"the separator is said": {
			"sep=,\nnamn;x,y\n1,2",
			table("csv", row(1, "namn;x", "y"), row(2, "1", "2")),
		},
		"white space": {
			"\u00a0email \t\u200bphone\ufeff\n\u00a0a\u00a0b \t \" c \"\t\u00a0\n",
			table("txt", row(1, "email", "phone"), row(2, "a\u00a0b", "c")),
		},
		"spaces around quotation marks": {
			"email, \"phone\" ,x\n \"a,b\" , \"c\"\"d\",e",
			table("csv", row(1, "email", "phone", "x"), row(2, "a,b", `c"d`, "e")),
		},
		"the headings only": {"email;phone", table("csv", row(1, "email", "phone"))},
		"the end of a DOS file": {
			"email;phone\r\na;b\r\n\x1a",
			table("csv", row(1, "email", "phone"), row(2, "a", "b")),
		},
		"a quotation mark inside a bare cell": {
			"namn;x\n5\" skärm;1",
			table("csv", row(1, "namn", "x"), row(2, `5" skärm`, "1")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reads(t, []byte(tt.body), tt.want)
		})
	}
}

func TestTextRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, want string }{
		"nothing":                       {"", "The table is empty."},
		"white space":                   {" \n\t\n;;\u00a0;\n", "The table is empty."},
		"a byte order mark":             {"\ufeff", "The table is empty."},
		"only a separator":              {"sep=;\n", "The table is empty."},
		"a mark of UTF-16":              {"\xff\xfe", "The table is empty."},
		"a quotation mark without end":  {"a;b\n1;\"x\n2;y\n", "B2 begins with a quotation mark"},
		"a quotation mark not doubled":  {"a,b\n\"x\"y,1\n", "A2 begins with a quotation mark"},
		"UTF-8 that is damaged":         {"e-post;namn\na;åäö\nb;å\xc3;\n", "line 3 is not"},
		"UTF-8 that is damaged, marked": {"\ufeffe-post;namn\na;b\nb;\xe5;\n", "says that it is UTF-8, which line 3 is not"},
		"UTF-16 that is cut off":        {"\xff\xfea\x00;", "cut off"},
		"a control character":           {"a;b\n1;\x02\n", "line 2 holds a control character"},
		"a zero":                        {"a;b\n1;\x00\n", "line 2 holds a control character"},
		"a character no Windows has":    {"a;b\n1;\x81\n", "an encoding that cannot be told: line 2"},
		"a character replaced before":   {"a;b\n1;\ufffd\n", "Line 2 holds a character that is damaged"},
		"half a character of UTF-16":    {"\xff\xfea\x00\x3d\xd8;\x00", "Line 1 holds a character that is damaged"},
		"a web page":                    {"\r\n<html><table><tr><td>email</td></tr></table></html>", "a web page or XML"},
		"a web page, marked":            {"\ufeff<!DOCTYPE html>", "a web page or XML"},
		"a table of a web page":         {"<TABLE border=1>", "a web page or XML"},
		"XML of Excel 2003":             {"<?xml version=\"1.0\"?><Workbook>", "a web page or XML"},
		"a web page in UTF-16":          {"<\x00h\x00t\x00m\x00l\x00>\x00", "a web page or XML"},
		"a saved web page":              {"MIME-Version: 1.0\nX", "a saved web page"},
		"JSON":                          {"[{\"email\":\"a\"}]", "JSON"},
		"PDF":                           {"%PDF-1.7\n%\xe2\xe3", "a PDF document"},
		"RTF":                           {"{\\rtf1 x}", "an RTF document"},
		"gzip":                          {"\x1f\x8b\x08\x00", "gzip"},
		"7z":                            {"7z\xbc\xaf\x27\x1c", "7z"},
		"rar":                           {"Rar!\x1a\x07", "rar"},
		"PNG":                           {"\x89PNG\r\n", "a picture"},
		"JPEG":                          {"\xff\xd8\xff\xe0", "a picture"},
		"GIF":                           {"GIF89a", "a picture"},
		"a program":                     {"\x7fELF\x02\x01\x01\x00", "control character"},
		"Excel 2":                       {"\x09\x00\x04\x00\x02\x00\x10\x00", "Excel 95 or older"},
		"Excel 3":                       {"\x09\x02\x06\x00\x00\x00\x10\x00\x00\x00", "Excel 95 or older"},
		"Excel 4":                       {"\x09\x04\x06\x00\x00\x04\x10\x00", "Excel 95 or older"},
		"Excel 4, a workbook":           {"\x09\x04\x06\x00\x00\x04\x00\x01", "Excel 95 or older"},
		"Excel 5 without a container":   {"\x09\x08\x08\x00\x00\x05\x05\x00\x00\x00\x00\x00", "Excel 95 or older"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refuses(t, []byte(tt.body), fault.Invalid, tt.want)
		})
	}
}

// What encoding/csv writes is read back, whatever is in the cells.
func FuzzText(f *testing.F) {
	for name, e := range encodings {
		body, err := e.NewEncoder().Bytes([]byte("e-post;namn\nkund@example.com;Åsa\n"))
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		f.Add(body, "a", "b", "c\n\"d\";,\t")
	}
	f.Add([]byte("a\tb\n\"x\t\"y\n\"z\"\t1\n\"\n\"\t2"), "", "å", "\"")
	f.Add([]byte("sep=;\n\"a\"\"b\" ;c\r\n\r"), "\u00a0", "x ", "\r")
	f.Fuzz(func(t *testing.T, body []byte, a, b, c string) {
		s, err := sheet.Read(body)
		checkRead(t, body, s, err)

		for _, separator := range []rune{';', ',', '\t'} {
			var file bytes.Buffer
			w := csv.NewWriter(&file)
			w.Comma = separator
			if err := w.WriteAll([][]string{{"x", "y", "z"}, {a, b, c}, {"1", "2", "3"}}); err != nil {
				t.Fatal(err)
			}
			got, err := sheet.Read(file.Bytes())
			checkRead(t, file.Bytes(), got, err)
			if !utf8.ValidString(a+"|"+b+"|"+c) || separator == '\t' && strings.ContainsAny(a+b+c, "\t") && strings.ContainsAny(a+b+c, "\r\n") {
				continue // not text, or no cell of a spreadsheet
			}
			if err != nil {
				continue
			}
			want := []string{}
			for _, cell := range []string{a, b, c} {
				want = append(want, strings.TrimFunc(strings.ReplaceAll(cell, "\r\n", "\n"), sheet.Space))
			}
			for len(want) > 0 && want[len(want)-1] == "" {
				want = want[:len(want)-1]
			}
			rows := got.Rows
			if n := len(want); n > 0 && len(rows) > 0 && strings.Join(rows[0].Cells, "|") == strings.Join(want, "|") {
				rows = rows[1:]
			} else if n > 0 {
				t.Errorf("%q between %q is read as %v", want, separator, rows)
			}
			if len(rows) != 1 || rows[0].Number != 3 || strings.Join(rows[0].Cells, "|") != "1|2|3" {
				t.Errorf("the row after %q between %q is read as %v", want, separator, rows)
			}
		}
	})
}
