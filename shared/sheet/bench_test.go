package sheet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"sitoo-rule/shared/sheet"
)

// BenchmarkRead reads a file of 50,000 bonus checks, of each kind.
func BenchmarkRead(b *testing.B) {
	const rows = 50_000
	var text strings.Builder
	text.WriteString("email;phone;bonuscheckid;name;description;value;validfrom;validto\n")
	cells := func(i int) []any {
		return []any{fmt.Sprintf("k%d@example.com", i), 46700000000 + i, fmt.Sprintf("bc-%d", i), "Bonus", "Vår", 49.5, "2026-01-01", "2026-12-31"}
	}
	for i := range rows {
		for n, c := range cells(i) {
			if n > 0 {
				text.WriteByte(';')
			}
			fmt.Fprint(&text, c)
		}
		text.WriteByte('\n')
	}
	book := bookFile(b, func(f *excelize.File) error {
		w, err := f.NewStreamWriter("Sheet1")
		if err != nil {
			return err
		}
		for i := range rows + 1 {
			if err := w.SetRow(fmt.Sprintf("A%d", i+1), cells(i)); err != nil {
				return err
			}
		}
		return w.Flush()
	})
	for name, body := range map[string][]byte{"csv": []byte(text.String()), "xlsx": book} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				s, err := sheet.Read(body)
				if err != nil || len(s.Rows) != rows {
					b.Fatalf("read %d rows, error %v", len(s.Rows), err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
