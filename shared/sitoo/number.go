package sitoo

import (
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/shopspring/decimal"
)

const (
	// maxWhole is how many digits an amount may have before the decimal point.
	maxWhole = 12
	// maxDigits is how many digits of a number are kept, and tiny how many zeros
	// behind the decimal point make it 0: a float has 17 digits, and
	// 1e-999999999 would cost gigabytes to print.
	maxDigits, tiny = 40, 30
)

// parseDecimal reads a number with a decimal point and an exponent, such as a
// program writes one: 12.50, 1.772442E+9, 1.4e-14. whole is how many digits it
// may have before the decimal point.
func parseDecimal(s string, whole int) (decimal.Decimal, bool) {
	sign := strings.HasPrefix(s, "-")
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		power := s[i+1:]
		unsigned := strings.TrimLeft(power, "+-")
		if unsigned == "" || len(power)-len(unsigned) > 1 || !digits(unsigned) {
			return decimal.Zero, false
		}
		var err error
		if exponent, err = strconv.Atoi(power); err != nil || exponent > 1<<20 || exponent < -1<<20 {
			exponent = 1 << 20
			if power[0] == '-' {
				exponent = -exponent
			}
		}
		s = s[:i]
	}
	before, after, _ := strings.Cut(s, ".")
	if !digits(before) || !digits(after) || before+after == "" {
		return decimal.Zero, false
	}
	all := before + after
	point := len(before) + exponent // where the decimal point stands in all
	trimmed := strings.TrimLeft(all, "0")
	point -= len(all) - len(trimmed)
	switch {
	case trimmed == "" || point < -tiny:
		return decimal.Zero, true
	case point > whole:
		return decimal.Zero, false
	}
	if len(trimmed) > maxDigits {
		trimmed = trimmed[:maxDigits]
	}
	n, ok := new(big.Int).SetString(trimmed, 10)
	if !ok {
		return decimal.Zero, false
	}
	if sign {
		n.Neg(n)
	}
	return decimal.NewFromBigInt(n, int32(point-len(trimmed))), true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// parseAmount reads an amount or a quantity as programs and people write one:
// with a decimal point or comma, an exponent, spaces or the other sign between
// thousands, and any kind of minus. It has at most 12 digits before the point.
func parseAmount(s string) (decimal.Decimal, bool) {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u2212' || r == '\u2013': // a minus sign, and a dash for one
			return '-'
		}
		return r
	}, strings.TrimSpace(s))
	grouped := ","
	if strings.LastIndexByte(s, ',') > strings.LastIndexByte(s, '.') {
		s = strings.NewReplacer(",", ".", ".", ",").Replace(s)
		if strings.Count(s, ".") > 1 {
			return decimal.Zero, false
		}
	} else if strings.Count(s, ".") > 1 {
		grouped = "."
	}
	if strings.Contains(s, " ") {
		grouped = " "
	}
	s, ok := ungroup(s, grouped)
	if !ok {
		return decimal.Zero, false
	}
	return parseDecimal(s, maxWhole)
}

// ungroup takes the separators between thousands out of a number, and is not ok
// where they stand elsewhere.
func ungroup(s, separator string) (string, bool) {
	parts := strings.Split(s, separator)
	for i, part := range parts {
		whole, _, _ := strings.Cut(part, ".")
		if i == 0 {
			whole = strings.TrimLeft(whole, "+-")
		}
		if len(parts) > 1 && (i > 0 && len(whole) != 3 || whole == "" || len(whole) > 3) || i > 0 && i < len(parts)-1 && whole != part {
			return "", false
		}
	}
	return strings.Join(parts, ""), true
}

// Whole reads a whole number as programs write one, a float included: 210334,
// 210334.0, 2.10334E+5.
func Whole(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	d, ok := parseDecimal(s, 19)
	if !ok {
		return 0, false
	}
	if d = d.Round(6); !d.IsInteger() || !d.BigInt().IsInt64() {
		return 0, false
	}
	return d.IntPart(), true
}

// ISO 4217: the currencies whose unit is not a hundredth.
var units = map[string]int32{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0,
	"VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3, "CLF": 4, "UYW": 4,
}

// Decimals is how many decimals the smallest unit of a currency has: 0 for JPY,
// 2 for SEK and for what is no known currency, 3 for KWD.
func Decimals(currency string) int32 {
	if n, ok := units[currency]; ok {
		return n
	}
	return 2
}

// zoned and local are the ways in which programs write a moment, with and
// without its time zone.
var (
	zoned = []string{
		time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z0700",
		"2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05 UTC", time.RFC1123, time.RFC1123Z,
	}
	local = []string{"2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly}
)

// zeroDates begin what a database writes where it has no date.
var zeroDates = []string{"0000-", "0001-01-01", "-0001-"}

// parseMoment reads seconds, or milliseconds or microseconds, since 1970, also
// with a fraction or an exponent, or a moment in words; one without a zone is in
// zone. What means that there is no date, as 0, gives the zero time. Moments are
// between 1970 and 2191.
func parseMoment(s string, zone *time.Location) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, true
	}
	if d, ok := parseDecimal(s, 16); ok {
		const most = 7_000_000_000               // the year 2191
		for _, power := range []int32{0, 3, 6} { // seconds, milliseconds, microseconds
			switch limit := decimal.New(most, power); {
			case d.IsZero():
				return time.Time{}, true
			case d.IsNegative():
				return time.Time{}, false
			case d.LessThan(limit):
				return time.UnixMicro(d.Shift(6 - power).IntPart()).Truncate(time.Second).UTC(), true
			}
		}
		return time.Time{}, false
	}
	for _, zero := range zeroDates {
		if strings.HasPrefix(s, zero) {
			return time.Time{}, true
		}
	}
	for i, layout := range append(zoned[:len(zoned):len(zoned)], local...) {
		at := time.UTC
		if i >= len(zoned) {
			at = zone
		}
		t, err := time.ParseInLocation(layout, s, at)
		switch {
		case err != nil:
		case t.Unix() == 0:
			return time.Time{}, true
		case t.Year() >= 1970 && t.Year() < 2191:
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
