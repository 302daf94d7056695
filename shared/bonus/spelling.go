package bonus

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	// asText is how some write a number so that a spreadsheet takes it for text.
	asText = regexp.MustCompile(`^="([^"]*)"$`)
	// scientific is how a spreadsheet shows a number that is too long for its
	// column. An id such as 12E4 is none.
	scientific = regexp.MustCompile(`(?i)^\d+(?:[.,]\d+)?e\+\d+$|^\d+[.,]\d+e\d+$`)
	// asFraction is a whole number in a column that a program took for numbers
	// with decimals.
	asFraction = regexp.MustCompile(`^(\+?\d{1,15})[.,]0+$`)
	// rounded is a number of more digits than a spreadsheet keeps.
	rounded = regexp.MustCompile(`^\d{15}0+$`)
	long    = regexp.MustCompile(`^\d{16,}$`)
)

// typed returns what somebody typed into a cell so that it stays as it is:
// '0701740605 and ="0701740605" are 0701740605.
func typed(s string) string {
	if m := asText.FindStringSubmatch(s); m != nil {
		s = m[1]
	}
	return strings.TrimSpace(strings.TrimLeft(s, "'’‘`´"))
}

// whole returns a number without the decimals that a program gave it.
func whole(s string) string {
	if m := asFraction.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return s
}

// truth reads a yes or a no, in English or in a Nordic language; fine is false
// for anything else. Nothing is a no.
func truth(s string) (yes, fine bool) {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "ja", "sant", "sand", "kyllä", "tosi":
		return true, true
	case "", "false", "0", "no", "nej", "nei", "falskt", "falsk", "ei", "epätosi", "null":
		return false, true
	}
	return false, false
}

var (
	// money is an amount as people write it. Three digits after a point or comma
	// may be thousands or decimals unless the other one comes after them: nobody
	// knows. Databases write four.
	money   = regexp.MustCompile(`^(\d{1,3}(?:[ '’]\d{3})+|\d+)(?:[.,](\d{1,2}|\d\d00))?$`)
	grouped = regexp.MustCompile(`^(\d{1,3}(?:\.\d{3})+),(\d{1,2})$|^(\d{1,3}(?:,\d{3})+)\.(\d{1,2})$`)
	// before and after are what may stand around an amount.
	before  = regexp.MustCompile(`(?i)^(kr|sek|nok|dkk|isk|eur|€)[. ]*`)
	after   = regexp.MustCompile(`(?i) *(?:(kr|sek|nok|dkk|isk|eur|€|kronor|kroner|euro)\.?|:--?|[.,][-–])$`)
	percent = regexp.MustCompile(`(?i)%|procent|prosent|percent|pct`)
	spaces  = regexp.MustCompile(`[\p{Z}\t]+`)
)

// amount reads an amount and writes it with two decimals. currency is what it
// names, in lower case, "" if nothing.
func amount(s string) (text, currency string, ok bool) {
	s = strings.TrimSpace(spaces.ReplaceAllString(s, " "))
	if m := before.FindStringSubmatch(s); m != nil {
		s, currency = s[len(m[0]):], strings.ToLower(m[1])
	}
	for range 2 { // "100:- kr" has two
		if m := after.FindStringSubmatch(s); m != nil {
			s, currency = strings.TrimSuffix(s, m[0]), cmp.Or(strings.ToLower(m[1]), currency)
		}
	}
	m := money.FindStringSubmatch(s)
	if m == nil {
		if m = grouped.FindStringSubmatch(s); m == nil {
			return "", "", false
		}
		m = []string{s, cmp.Or(m[1], m[3]), cmp.Or(m[2], m[4])}
	}
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, m[1])
	a, ok := Amount(digits + "." + cmp.Or(m[2], "0"))
	if !ok {
		return "", "", false
	}
	return a.StringFixed(2), currencies[currency], true
}

// currencies are what names of currencies mean: "kr" is that of any country
// which has one.
var currencies = map[string]string{"kr": "kr", "kronor": "kr", "kroner": "kr", "sek": "SEK", "nok": "NOK", "dkk": "DKK", "isk": "ISK", "eur": "EUR", "€": "EUR", "euro": "EUR"}

// sameCurrency says whether amounts in both can be in one file.
func sameCurrency(a, b string) bool {
	return a == b || a == "" || b == "" || a == "kr" && b != "EUR" || b == "kr" && a != "EUR"
}

// layouts are the spellings of dates that package time reads.
var layouts = []string{
	time.DateOnly, "2006/01/02", "20060102", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05 -0700",
}

var (
	// The parts of a date in the order of their names; clock is a time after one.
	yearFirst  = regexp.MustCompile(`^(?P<y>\d{4})(?:-|/|\.|\. | )(?P<m>\d{1,2})(?:-|/|\.|\. | )(?P<d>\d{1,2})\.?$`)
	dots       = regexp.MustCompile(`^(?P<d>\d{1,2})\. ?(?P<m>\d{1,2})\. ?(?P<y>\d{4}|\d{2})\.?$`)
	dayFirst   = regexp.MustCompile(`^(?P<d>\d{1,2})/(?P<m>\d{1,2})(?:-| )(?P<y>\d{4}|\d{2})$`)
	either     = regexp.MustCompile(`^(\d{1,2})[-/ ](\d{1,2})[-/ ](\d{4}|\d{2})$`)
	short      = regexp.MustCompile(`^\d{1,2}[-/]\d{1,2}[-/]\d{2}$`)
	named      = regexp.MustCompile(`^(?:den )?(?P<d>\d{1,2})(?:st|nd|rd|th|:a|:e)?[. -]*(?:of )?(?P<name>\pL+)\.?[ ,-]*(?P<y>\d{4}|\d{2})$`)
	nameFirst  = regexp.MustCompile(`^(?P<name>\pL+)\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4})$`)
	nameInside = regexp.MustCompile(`^(?P<y>\d{4})[- ](?P<name>\pL+)\.?[- ](?P<d>\d{1,2})$`)
	weekday    = regexp.MustCompile(`^\pL+(?:dag|day|tai|taina|vikko|vikkona),? `)
	clock      = regexp.MustCompile(`^(.*?),? (?:kl\.? ?|klo ?|at )?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?$`)
	serial     = regexp.MustCompile(`^[3-7]\d{4}(?:[.,]\d+)?$`)
)

// months are how the names of months begin, in English and the Nordic languages,
// longer ones first.
var months = []struct {
	name  string
	month time.Month
}{
	{"marras", 11},
	{"maalis", 3},
	{"tammi", 1},
	{"helmi", 2},
	{"huhti", 4},
	{"touko", 5},
	{"kesä", 6},
	{"heinä", 7},
	{"elo", 8},
	{"syys", 9},
	{"loka", 10},
	{"joulu", 12},
	{"jan", 1},
	{"feb", 2},
	{"mar", 3},
	{"apr", 4},
	{"maj", 5},
	{"may", 5},
	{"mai", 5},
	{"jun", 6},
	{"jul", 7},
	{"aug", 8},
	{"sep", 9},
	{"okt", 10},
	{"oct", 10},
	{"nov", 11},
	{"dec", 12},
	{"des", 12},
}

// dayText reads a date and writes it as 2006-01-02, or where it has a time of
// day, with that. code is why it cannot be read, "" if it can.
func dayText(s string) (text, code string) {
	s = strings.TrimSpace(spaces.ReplaceAllString(s, " "))
	for _, layout := range layouts {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		text := t.Format("2006-01-02T15:04:05")
		if strings.Contains(layout, "07") {
			text = t.Format(time.RFC3339)
		}
		return checkedDay(t, text)
	}
	if serial.MatchString(s) {
		return "", "date_number"
	}
	date, hour, minute, second := strings.ToLower(s), "0", "0", "0"
	if m := clock.FindStringSubmatch(date); m != nil {
		date, hour, minute, second = m[1], m[2], m[3], cmp.Or(m[4], "0")
	}
	y, mo, d, code := dateParts(date)
	if code != "" {
		return "", code
	}
	h, mi, sec := digitsOf(hour), digitsOf(minute), digitsOf(second)
	t := time.Date(y, time.Month(mo), d, h, mi, sec, 0, time.UTC)
	if t.Day() != d || t.Month() != time.Month(mo) || h > 23 || mi > 59 || sec > 59 {
		return "", "date"
	}
	return checkedDay(t, t.Format("2006-01-02T15:04:05"))
}

// checkedDay returns the text of a time, without its hours if they are 0, as
// spreadsheets write a date.
func checkedDay(t time.Time, text string) (string, string) {
	if h, m, sec := t.Clock(); h == 0 && m == 0 && sec == 0 {
		text = t.Format(time.DateOnly)
	}
	if _, ok := day(text, false); !ok {
		return "", "date"
	}
	return text, ""
}

// dateParts reads a date without a time, in lower case.
func dateParts(s string) (year, month, dayOfMonth int, code string) {
	s = weekday.ReplaceAllString(s, "")
	for _, form := range []*regexp.Regexp{yearFirst, dots, dayFirst, named, nameFirst, nameInside} {
		m := form.FindStringSubmatch(s)
		if m == nil {
			continue
		}
		part := func(name string) string {
			if i := form.SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		month := digitsOf(part("m"))
		if name := part("name"); name != "" {
			for _, known := range months {
				if strings.HasPrefix(name, known.name) {
					month = int(known.month)
					break
				}
			}
		}
		if month < 1 || month > 12 {
			return 0, 0, 0, "date"
		}
		return century(part("y")), month, digitsOf(part("d")), ""
	}
	if short.MatchString(s) {
		return 0, 0, 0, "date_ambiguous"
	}
	m := either.FindStringSubmatch(s)
	if m == nil || len(m[3]) != 4 {
		return 0, 0, 0, "date"
	}
	a, b := digitsOf(m[1]), digitsOf(m[2])
	switch {
	case a > 12 && b <= 12, a == b:
		return digitsOf(m[3]), b, a, ""
	case b > 12 && a <= 12:
		return digitsOf(m[3]), a, b, ""
	case a <= 12 && b <= 12:
		return 0, 0, 0, "date_ambiguous"
	}
	return 0, 0, 0, "date"
}

// digitsOf reads digits; 0 for none.
func digitsOf(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// century reads a year, of this century if it has two digits.
func century(s string) int {
	if len(s) == 2 {
		return 2000 + digitsOf(s)
	}
	return digitsOf(s)
}

// shown repeats a value that cannot be read, unless it could be somebody's name,
// address or number, in the wrong column.
func shown(s string) string {
	digits, letters := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.IsLetter(r):
			letters++
		}
	}
	if digits == 0 || digits > 8 || letters > 3 || strings.ContainsRune(s, '@') || utf8.RuneCountInString(s) > 20 {
		return ""
	}
	return s
}
