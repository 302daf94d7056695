package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	utf "golang.org/x/text/encoding/unicode"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/sheet"
)

// encodings are how a file may be written.
var encodings = map[string]encoding.Encoding{
	"UTF-8": utf.UTF8, "UTF-8 with mark": utf.UTF8BOM, "Windows-1252": charmap.Windows1252,
	"UTF-16LE with mark": utf.UTF16(utf.LittleEndian, utf.UseBOM), "UTF-16BE with mark": utf.UTF16(utf.BigEndian, utf.UseBOM),
	"UTF-16LE": utf.UTF16(utf.LittleEndian, utf.IgnoreBOM), "Mac Roman": charmap.Macintosh, "CP850": charmap.CodePage850,
}

var texts = map[string]string{
	"semicolons":      "E-post;Värde;Namn\na@example.com;49,50;Åsa\n\n;;\nb@example.com;1;\"x;\"\"y\"\"\"\n",
	"commas":          "email,värde\r\na@example.com,\"49,50\"\r\n\"b\r\nc\",1",
	"tabs":            "email\tvalue\tjson\na@example.com\t1\t[{\"name\": \"Bonus\"}]\nb\t\"Bonus\" mars\t\"två\nrader\"\n\"a\tb\n",
	"old Macintosh":   "email;value\ra@example.com;\"1\r2\"\rå;3",
	"named separator": "sep=,\r\nemail,a;b;c\r\nx,1\r\n",
	"trimmed":         " email ;\u00a0value\u200b\n  \"a b\"  ;  c \n",
	"empty at first":  "\n;;\nemail;value\nx;1\n",
	"separators only": "; ;\n ,",
	"one column":      "email\na\n\"b\nc\"\n",
	"end of DOS":      "email;value\na;1\n\x1a",
	"bad quote":       "email;value\n\"a\"b;1\n",
	"control":         "email;value\na;\x07\n",
	"pairs":           "email;value\n😀;1\nb;2\n",
	"carriage":        "email;value\r\n\"a\"\r;1\r\nb;\"2\" \r\n\"c\"\r\r\n",
}

// large reads a file as those are read that are too large for package sheet.
func large(t testing.TB, body []byte) (header []string, rows []sheet.Row, err error) {
	t.Helper()
	table, err := openText(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, nil, err
	}
	err = table.scan(func(n int, cells []string) bool { rows = append(rows, sheet.Row{Number: n, Cells: cells}); return true })
	if err != nil {
		return nil, nil, err
	}
	for i := range table.rows { // and again, when they are sent
		if cells, err := table.cells(i); err != nil || !slices.Equal(cells, rows[i].Cells) {
			t.Errorf("row %d is read again as %q (%v), and was %q", table.rows[i].number, cells, err, rows[i].Cells)
		}
	}
	return table.header, rows, nil
}

// agree holds the two readers of text together.
func agree(t testing.TB, body []byte) {
	t.Helper()
	want, werr := sheet.Read(body)
	if want.Format == "xlsx" || want.Format == "xls" {
		return
	}
	header, rows, err := large(t, body)
	if (err == nil) != (werr == nil) {
		t.Fatalf("%q: error %v, and of package sheet %v", body, err, werr)
	}
	if err != nil {
		return
	}
	if diff := cmp.Diff(want.Header.Cells, header); diff != "" {
		t.Errorf("%q: headings (-sheet +large):\n%s", body, diff)
	}
	if diff := cmp.Diff(want.Rows, rows); diff != "" && len(want.Rows)+len(rows) > 0 {
		t.Errorf("%q: rows (-sheet +large):\n%s", body, diff)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for name, s := range texts {
		for how, e := range encodings {
			t.Run(name+" in "+how, func(t *testing.T) {
				t.Parallel()
				body, err := encoding.ReplaceUnsupported(e.NewEncoder()).Bytes([]byte(s))
				if err != nil {
					t.Fatal(err)
				}
				agree(t, body)
			})
		}
	}
}

// Text that is damaged is refused, and not read as another encoding.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"email;value\nÅÄÖ\xff;1\n", "\xef\xbb\xbfemail;value\n\xc5;1\n", "\xff\xfee\x00m", "e\x00m\x00a", "email;value\n\x81;1\n", "email;v\ufffd\n",
		"\xff\xfee\x00\x00\xd8;\x00\n\x00", "email;value\rÅÄÖ;1\rx\xff;2\r", "email;n\na;VÃ¥r\n", "email;n\na;Du\x9aan\n", "email;n\na;x\x8fx\n", "email\rn\x90x\r",
	} {
		agree(t, []byte(s))
		if _, _, err := large(t, []byte(s)); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

// A file of many windows is read as a whole, in every encoding, and comes back
// from the parts as it was.
func TestLargeText(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("email;bonuscheckid;value;namn\n")
	const rows = 8_000
	long := strings.Repeat("ö", 300)
	for i := range rows {
		fmt.Fprintf(&b, "kund.%d@example.com;bc-%d;100;\"Påsk\n\"\"%d\"\" €%s\"\n", i%(rows/2), i, i, long)
	}
	for how, e := range encodings {
		if how == "CP850" { // it has no €
			continue
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			body, err := e.NewEncoder().Bytes([]byte(b.String()))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			header, got, err := large(t, body)
			if err != nil || len(got) != rows || len(header) != 4 {
				t.Fatalf("%d rows below %q (%v), want %d", len(got), header, err, rows)
			}
			for _, r := range got {
				want := []string{fmt.Sprintf("kund.%d@example.com", n%(rows/2)), fmt.Sprintf("bc-%d", n), "100", fmt.Sprintf("Påsk\n\"%d\" €%s", n, long)}
				if n++; r.Number != n+1 || !slices.Equal(r.Cells, want) {
					t.Fatalf("row %d: %q, want row %d: %q", r.Number, r.Cells, n+1, want)
				}
			}
		})
	}
}

// A part is read by the connector as the cells that it was made of.
func TestRender(t *testing.T) {
	t.Parallel()
	header := []string{"a\tb", "c;d", "e,f\"", "g"}
	cells := [][]string{{"", "\"", `x;"y`, "två\nrader"}, {"'=1", "", "", "\\."}, {`\.`}, {`[{"a": "b;c"}]`, "tab\tbed", ",", strings.Repeat("\"", 40)}}
	tab := &table{header: header}
	for n, c := range cells {
		tab.rows = append(tab.rows, row{number: 10 * n, cells: c, bytes: rendered(c)})
	}
	body, err := render(tab, []int{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	size := len("sep=;\n") + rendered(header)
	for _, r := range tab.rows {
		size += r.bytes
	}
	if len(body) > size {
		t.Errorf("%d bytes, reckoned %d", len(body), size)
	}
	got, err := sheet.Read(body)
	if err != nil {
		t.Fatal(err)
	}
	want := sheet.Sheet{Format: "csv", Header: sheet.Row{Number: 1, Cells: header}}
	for n, c := range cells {
		want.Rows = append(want.Rows, sheet.Row{Number: n + 2, Cells: c})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("part (-want +got):\n%s", diff)
	}
}

// A row is not taken for whole before what comes after it is known.
func TestWindowEnds(t *testing.T) {
	t.Parallel()
	x := text{separator: '\t', newline: '\n'}
	for _, s := range []string{"a", "a\tb", "\"a", "\"a\"", "\"a\" ", "b\t\"a\"\r", "\"a\nb\"\r"} {
		if cells, _, err := x.parse([]byte(s), false, 1); err == nil {
			t.Errorf("%q: cells %q, want an error", s, cells)
		}
		if _, n, err := x.parse([]byte(s), true, 1); err != nil || n == 0 {
			t.Errorf("%q, and nothing after it: %v", s, err)
		}
	}
}

// Rows of one customer stay together unless they fill a part alone.
func TestSplit(t *testing.T) {
	t.Parallel()
	customers := func(sizes ...int) (t *table, list []bonus.Customer) {
		t = &table{header: []string{"email"}}
		for n, size := range sizes {
			c := bonus.Customer{Email: fmt.Sprint(n)}
			for range size {
				c.Lines = append(c.Lines, bonus.Line{Row: 2 * (len(t.rows) + 1)})
				t.rows = append(t.rows, row{number: 2 * (len(t.rows) + 1), bytes: 10})
			}
			list = append(list, c)
		}
		return t, list
	}
	for name, c := range map[string]struct {
		sizes []int
		most  limits
		want  []int // rows of each part
	}{
		"all in one":       {[]int{1, 2, 3}, limits{6, 1000}, []int{6}},
		"kept together":    {[]int{2, 2, 2}, limits{3, 1000}, []int{2, 2, 2}},
		"more than a part": {[]int{1, 7, 1}, limits{3, 1000}, []int{1, 3, 3, 2}},
		"by size":          {[]int{2, 2, 1}, limits{100, 39}, []int{2, 3}},
		"larger than any":  {[]int{5}, limits{100, 29}, []int{2, 2, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, list := customers(c.sizes...)
			var got []int
			for _, p := range split(table, list, c.most) {
				got = append(got, len(p))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	for _, s := range texts {
		for _, e := range encodings {
			if body, err := encoding.ReplaceUnsupported(e.NewEncoder()).Bytes([]byte(s)); err == nil {
				f.Add(body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, body) })
}
