package sheet

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// format is what the number format of a cell makes of its number.
type format uint8

const (
	plain    format = iota
	date            // a day
	dateTime        // a day and a time
	clock           // a time
	percent
)

// formatOf tells what a number format means: by its code, or, if the file has
// none for it, by its number among those that are built in.
func formatOf(id int, code string) format {
	if code != "" {
		return formatOfCode(code)
	}
	switch {
	case 14 <= id && id <= 17, 27 <= id && id <= 31, id == 36, 50 <= id && id <= 54, id == 57, id == 58:
		return date
	case 18 <= id && id <= 21, 32 <= id && id <= 35, id == 45, id == 47, id == 55, id == 56:
		return clock
	case id == 22:
		return dateTime
	case id == 9, id == 10:
		return percent
	}
	return plain
}

// formatOfCode tells what a code such as "yyyy-mm-dd" or `#,##0.00\ "kr"` means.
func formatOfCode(code string) format {
	var letters strings.Builder // without texts, colours, currencies and locales
scan:
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case '\\', '_', '*': // the next character is text, a gap or a filling
			i++
		case '"':
			n := strings.IndexByte(code[i+1:], '"')
			if n < 0 {
				break scan
			}
			i += n + 1
		case '[':
			n := strings.IndexByte(code[i+1:], ']')
			if n < 0 {
				break scan
			}
			if strings.Trim(strings.ToLower(code[i+1:i+1+n]), "hms") == "" {
				return plain // a number of hours, minutes or seconds
			}
			i += n + 1
		case ';': // what negative numbers look like
			break scan
		default:
			letters.WriteByte(c)
		}
	}
	s := strings.NewReplacer("am/pm", "h", "a/p", "h", "general", "", "s.000", "s", "s.00", "s", "s.0", "s").Replace(strings.ToLower(letters.String()))
	day, hour := strings.ContainsAny(s, "dy"), strings.ContainsAny(s, "hs")
	switch {
	case strings.Contains(s, "%"):
		return percent
	case strings.ContainsAny(s, "0#?@"):
		return plain
	case day && hour:
		return dateTime
	case hour:
		return clock
	case day, strings.Contains(s, "m"):
		return date
	}
	return plain
}

// text returns a number as the format shows it.
func (f format) text(n float64, from1904 bool) string {
	switch f {
	case plain:
		return number(n)
	case percent:
		return number(n*100) + "%"
	}
	t, ok := dayOf(n, from1904)
	switch {
	case !ok:
		return number(n)
	case f == clock && n < 1:
		return t.Format(time.TimeOnly)
	}
	return f.show(t)
}

// show returns a date, with its time if the format shows one.
func (f format) show(t time.Time) string {
	if f == date || t.Equal(t.Truncate(24*time.Hour)) {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02T15:04:05")
}

// lastDay is 9999-12-31, the last day that a spreadsheet knows.
const lastDay = 2958465

// dayOf returns the time that a spreadsheet's number of days means, to the
// second. It is not ok for a number that means none.
func dayOf(n float64, from1904 bool) (time.Time, bool) {
	if !(n >= 0 && n < lastDay+1) {
		return time.Time{}, false
	}
	days := math.Floor(n)
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	switch {
	case from1904:
		first = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
	case days == 60:
		return time.Time{}, false // 1900-02-29, which spreadsheets think was a day
	case days < 60:
		first = first.AddDate(0, 0, 1)
	}
	return first.AddDate(0, 0, int(days)).Add(time.Duration(math.Round((n-days)*86400)) * time.Second), true
}

// exact is what numbers are below of which a spreadsheet keeps every whole digit.
const exact = 1e15

// number returns n rounded to the 15 digits that a spreadsheet works with:
// 0.1+0.2 is "0.3". If that leaves out a digit before the point, it is with an
// exponent, as a spreadsheet shows it: nobody is to take it for an id.
func number(n float64) string {
	if rounded, err := strconv.ParseFloat(strconv.FormatFloat(n, 'e', 14, 64), 64); err == nil {
		n = rounded
	}
	if n == 0 {
		return "0" // and not "-0"
	}
	if math.Abs(n) >= exact {
		return strconv.FormatFloat(n, 'E', -1, 64)
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// finite says whether n is a number.
func finite(n float64) bool { return !math.IsNaN(n) && !math.IsInf(n, 0) }
