package sheet

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sentence"
)

// What a compound file holds, by the name of a stream or storage in lower case.
var contents = []struct {
	name string
	err  error
}{
	{"encryptedpackage", errPassword}, // an .xlsx file with a password
	{"_vba_project_cur", errMacros},
	{"_vba_project", errMacros},
	{"worddocument", fault.Say(fault.Invalid, "file_other", sentence.What, "doc")},
	{"powerpoint document", fault.Say(fault.Invalid, "file_other", sentence.What, "ppt")},
}

// errOldXLS is the error for a workbook older than what an .xls file is today.
var errOldXLS = fault.Say(fault.Invalid, "file_excel95")

// readXLS reads a compound file with a workbook in the format BIFF8, as Excel
// 97 to 2003 and most that write .xls do.
func readXLS(body []byte) (Sheet, error) {
	c, err := openCompound(body)
	if err != nil {
		return Sheet{}, damaged(err)
	}
	for _, kind := range contents {
		if _, ok := c.find(kind.name); ok {
			return Sheet{}, kind.err
		}
	}
	entry, ok := c.find("workbook")
	if !ok { // Excel 95 called it so, and so do some who write what is newer
		entry, ok = c.find("book")
	}
	if !ok {
		return Sheet{}, fault.Say(fault.Invalid, "file_no_workbook")
	}
	stream, err := c.stream(entry)
	if err != nil {
		return Sheet{}, damaged(err)
	}
	return readStream(stream)
}

// bareWorkbook says whether a file begins as the stream of a workbook does, of
// which it is not in a compound file. Before Excel 5 it never was.
func bareWorkbook(body []byte) bool {
	if len(body) < 6 || body[0] != recBOF&0xff || body[3] != 0 {
		return false
	}
	switch body[1] { // the version, and how long the record is
	case 0, 2, 4:
		return 4 <= body[2] && body[2] <= 6
	case recBOF >> 8:
		return body[2] == 8 || body[2] == 16
	}
	return false
}

// readStream reads the stream of a workbook.
func readStream(stream []byte) (Sheet, error) {
	x := xls{stream: stream}
	if err := x.globals(); err != nil {
		return Sheet{}, err
	}
	b := builder{others: x.others}
	b.named(x.name)
	if err := x.read(&b); err != nil {
		return Sheet{}, b.told(err)
	}
	return b.done("xls")
}

// The records of BIFF8 that are read. ([MS-XLS] 2.3)
const (
	recFormula    = 0x0006
	recEOF        = 0x000a
	rec1904       = 0x0022
	recFilePass   = 0x002f
	recContinue   = 0x003c
	recBoundSheet = 0x0085
	recMulRK      = 0x00bd
	recRString    = 0x00d6
	recXF         = 0x00e0
	recSST        = 0x00fc
	recLabelSST   = 0x00fd
	recNumber     = 0x0203
	recLabel      = 0x0204
	recBoolErr    = 0x0205
	recArray      = 0x0221
	recRK         = 0x027e
	recFormat     = 0x041e
	recBOF        = 0x0809
)

// xls is the workbook stream of an .xls file.
type xls struct {
	stream   []byte
	sheet    int // where the first visible worksheet begins, 0 if there is none
	name     string
	others   int // worksheets that are visible, too
	from1904 bool
	own      map[uint16]format // number formats of the file's own
	formats  []format          // by the number of a cell's XF record
	shared   []string
	cells    []xlsCell
}

// xlsCell is a cell, its row and column counted from 0.
type xlsCell struct {
	row, col uint16
	text     string
}

// record returns the record at a place of the stream and where the next one
// begins. It is not ok at the end of the stream, and if it is cut off.
func (x *xls) record(at int) (id uint16, data []byte, next int, ok bool) {
	if at < 0 || at+4 > len(x.stream) {
		return 0, nil, 0, false
	}
	id = binary.LittleEndian.Uint16(x.stream[at:])
	next = at + 4 + int(binary.LittleEndian.Uint16(x.stream[at+2:]))
	if next > len(x.stream) {
		return 0, nil, 0, false
	}
	return id, x.stream[at+4 : next], next, true
}

// globals reads what is about the whole workbook.
func (x *xls) globals() error {
	id, data, at, ok := x.record(0)
	switch {
	case len(x.stream) > 1 && x.stream[0] == recBOF&0xff && x.stream[1] < recBOF>>8: // of Excel 2 to 4
		return errOldXLS
	case !ok || id&0xff != recBOF&0xff || len(data) < 2:
		return damaged(errors.New("the workbook has no beginning"))
	case id != recBOF || binary.LittleEndian.Uint16(data) != 0x0600:
		return errOldXLS
	}
	x.own = make(map[uint16]format)
	for {
		id, data, next, ok := x.record(at)
		if !ok {
			return damaged(errors.New("the workbook is cut off"))
		}
		at = next
		switch id {
		case recEOF:
			if x.sheet == 0 {
				return errNoSheet
			}
			return nil
		case recFilePass:
			return errPassword
		case rec1904:
			x.from1904 = len(data) > 0 && data[0] == 1
		case recFormat:
			if len(data) > 4 {
				code, _ := newTexts(data[2:]).next()
				number := binary.LittleEndian.Uint16(data)
				x.own[number] = formatOf(int(number), code)
			}
		case recXF:
			if len(data) < 4 {
				return damaged(errors.New("a format of cells is cut off"))
			}
			number := binary.LittleEndian.Uint16(data[2:])
			f, ok := x.own[number]
			if !ok {
				f = formatOf(int(number), "")
			}
			x.formats = append(x.formats, f)
		case recBoundSheet:
			if err := x.listed(data); err != nil {
				return err
			}
		case recSST:
			var segments [][]byte
			segments, at = x.continued(data, at)
			if err := x.texts(segments); err != nil {
				return err
			}
		}
	}
}

// continued returns the data of a record and of those that go on with it, and
// where the next one begins.
func (x *xls) continued(data []byte, at int) ([][]byte, int) {
	segments := [][]byte{data}
	for {
		id, data, next, ok := x.record(at)
		if !ok || id != recContinue {
			return segments, at
		}
		segments, at = append(segments, data), next
	}
}

// listed reads an entry of the list of sheets.
func (x *xls) listed(data []byte) error {
	if len(data) < 6 {
		return damaged(errors.New("the list of sheets is cut off"))
	}
	switch hidden, kind := data[4]&3 != 0, data[5]; {
	case kind == 1, kind == 6: // a sheet of macros, a module
		return errMacros
	case kind != 0 || hidden:
	case x.sheet != 0:
		x.others++
	default:
		x.sheet = int(binary.LittleEndian.Uint32(data))
		x.name = sheetName(data[6:])
	}
	return nil
}

// sheetName reads the name of a sheet: a text whose length is one byte.
func sheetName(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	name, _ := newTexts([]byte{data[0], 0}, data[1:]).next()
	return name
}

// read reads the first visible worksheet.
func (x *xls) read(b *builder) error {
	id, _, at, ok := x.record(x.sheet)
	if !ok || id != recBOF {
		return damaged(errors.New("the worksheet has no beginning"))
	}
	for depth := 1; depth > 0; { // a chart in the sheet has a beginning and an end of its own
		id, data, next, ok := x.record(at)
		if !ok {
			return damaged(errors.New("the worksheet is cut off"))
		}
		at = next
		switch {
		case id == recBOF:
			depth++
		case id == recEOF:
			depth--
		case depth == 1:
			if err := x.cell(id, data); err != nil {
				return err
			}
		}
	}
	// Writers need not keep the order of cells.
	slices.SortStableFunc(x.cells, func(a, b xlsCell) int {
		return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.col, b.col))
	})
	for i, c := range x.cells {
		if i > 0 && x.cells[i-1].row == c.row && x.cells[i-1].col == c.col {
			return damaged(errors.New("a cell is there twice"))
		}
		if i > 0 && x.cells[i-1].row != c.row {
			if err := b.end(int(x.cells[i-1].row) + 1); err != nil {
				return err
			}
		}
		if err := b.cell(int(c.row)+1, int(c.col), c.text); err != nil {
			return err
		}
	}
	if n := len(x.cells); n > 0 {
		return b.end(int(x.cells[n-1].row) + 1)
	}
	return nil
}

// sizes is how much of a record about a cell there must be.
var sizes = map[uint16]int{
	recFormula: 4, recArray: 6, recNumber: 14, recRK: 10, recMulRK: 12, recLabelSST: 10, recLabel: 9, recRString: 9, recBoolErr: 8,
}

// cell reads a record of a worksheet that may be about a cell.
func (x *xls) cell(id uint16, data []byte) error {
	size, ok := sizes[id]
	if !ok {
		return nil
	}
	if len(data) < size {
		return damaged(errors.New("a cell is cut off"))
	}
	le := binary.LittleEndian
	row, col := le.Uint16(data), le.Uint16(data[2:])
	text := ""
	switch id {
	case recFormula:
		return formulaAt(int(row)+1, int(col))
	case recArray:
		return formulaAt(int(row)+1, int(data[4]))
	case recBoolErr:
		if data[7] != 0 {
			return errorAt(int(row)+1, int(col))
		}
		text = strconv.FormatBool(data[6] != 0)
	case recNumber:
		n := math.Float64frombits(le.Uint64(data[6:]))
		if !finite(n) {
			return damaged(errors.New("a cell is not a number"))
		}
		text = x.number(le.Uint16(data[4:]), n)
	case recRK:
		text = x.number(le.Uint16(data[4:]), rk(le.Uint32(data[6:])))
	case recMulRK:
		for i := 4; i+6 <= len(data)-2; i += 6 {
			x.add(row, col, x.number(le.Uint16(data[i:]), rk(le.Uint32(data[i+2:]))))
			if col++; col == 0 {
				return damaged(errors.New("a row is too long"))
			}
		}
		return nil
	case recLabelSST:
		i := le.Uint32(data[6:])
		if i >= uint32(len(x.shared)) {
			return damaged(errors.New("a cell's text is missing"))
		}
		text = x.shared[i]
	case recLabel, recRString:
		if text, ok = newTexts(data[6:]).next(); !ok {
			return damaged(errors.New("a cell's text is cut off"))
		}
	}
	x.add(row, col, text)
	return nil
}

// add notes a cell unless it is empty.
func (x *xls) add(row, col uint16, text string) {
	if text != "" {
		x.cells = append(x.cells, xlsCell{row, col, text})
	}
}

// number returns a number as the format of the XF record shows it.
func (x *xls) number(xf uint16, n float64) string {
	f := plain
	if int(xf) < len(x.formats) {
		f = x.formats[xf]
	}
	return f.text(n, x.from1904)
}

// rk returns a number that is packed in four bytes: a whole number of 30 bits,
// or the upper half of a float64, either of them in hundredths or not. It is
// finite for a file that a spreadsheet wrote, and made 0 for any other.
func rk(v uint32) float64 {
	n := math.Float64frombits(uint64(v&^3) << 32)
	if v&2 != 0 {
		n = float64(int32(v) >> 2)
	}
	if v&1 != 0 {
		n /= 100
	}
	if !finite(n) {
		return 0
	}
	return n
}
