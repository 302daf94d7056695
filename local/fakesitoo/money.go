package fakesitoo

import (
	"fmt"
	"strconv"
	"strings"
)

// ore is an amount in öre, hundredths of a krona. Sitoo writes it as a string
// with exactly two decimals, a point, and a leading minus on returns.
type ore int64

// appendFixed writes n, which counts units of 10^-decimals, with that many
// decimals.
func appendFixed(buf []byte, n int64, decimals int) []byte {
	if n < 0 {
		buf, n = append(buf, '-'), -n
	}
	unit := int64(1)
	for range decimals {
		unit *= 10
	}
	buf = append(strconv.AppendInt(buf, n/unit, 10), '.')
	for n %= unit; unit > 1; n %= unit {
		unit /= 10
		buf = append(buf, byte('0'+n/unit))
	}
	return buf
}

// parseOre reads an amount with up to two decimals, at most a billion kronor.
func parseOre(s string) (ore, error) {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	digits := whole + (fraction + "00")[:2]
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || whole == "" || len(fraction) > 2 || n > 1e11 {
		return 0, fmt.Errorf("%q is not an amount such as 123.50", s)
	}
	if strings.HasPrefix(s, "-") {
		return -ore(n), nil
	}
	return ore(n), nil
}

// milli is a quantity in thousandths. Sitoo writes it with three decimals.
type milli int64

// ratio returns a*num/den rounded half away from zero.
func ratio(a ore, num, den int64) ore {
	p := int64(a) * num
	if p < 0 {
		return ore(-((-p*2 + den) / (2 * den)))
	}
	return ore((p*2 + den) / (2 * den))
}

// wholeKronor returns what cash rounding adds to the amount.
func wholeKronor(o ore) ore { return ratio(o, 1, 100)*100 - o }
