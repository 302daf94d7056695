package sitoo

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
)

// Redemption is what a till says when a bonus check or a promotion is used.
// Every member is optional.
type Redemption struct {
	Date time.Time // UTC, zero if not said
	// Remaining is what is left of a bonus check, 0 or more in whole öre; nil
	// if not said.
	Remaining *decimal.Decimal
	OrderID   string // Sitoo's order id, "" if not said
}

// Redeemed is the answer to the redemption of a bonus check, and to one that is
// taken back.
type Redeemed struct {
	ID           string      `json:"bonuscheckid"`
	Redeemed     bool        `json:"redeemed"` // nothing is left of it
	DateRedeemed *string     `json:"dateredeemed"`
	Used         json.Number `json:"used"` // by this redemption
	Remaining    json.Number `json:"remaining"`
}

// RedeemedPromotion is Redeemed for a promotion, which has no amounts.
type RedeemedPromotion struct {
	ID           string  `json:"promotionid"`
	Redeemed     bool    `json:"redeemed"`
	DateRedeemed *string `json:"dateredeemed"`
}

// nothing reports whether a body that may be left out was: PHP writes an object
// without members as an array.
func nothing(body []byte) bool {
	body = bytes.TrimSpace(body)
	if n := len(body); n > 1 && body[0] == '[' && body[n-1] == ']' {
		return len(bytes.TrimSpace(body[1:n-1])) == 0
	}
	return len(body) == 0 || string(body) == "null"
}

// CheckOptional is CheckKnown for a redemption, whose body may be left out:
// nothing at all, null and [] pass as well.
func CheckOptional(body []byte) error {
	if nothing(body) {
		return nil
	}
	return CheckKnown(body, "dateredeemed", "remaining", "orderid")
}

// maxOrderID is how long an order's id may be, in characters.
const maxOrderID = 64

// DecodeRedemption reads the body of a redeem call. An empty string, null and a
// member that is not there say the same; so does 0 for a date or an order,
// neither of which has that number. An amount is rounded to whole öre, half away
// from zero. A date without a time zone is taken as UTC: the till's zone is not
// known here. The error is fault.Invalid and names the member. body has passed
// CheckOptional.
func DecodeRedemption(body []byte) (Redemption, error) {
	if nothing(body) {
		return Redemption{}, nil
	}
	var err error
	o := newObject(body, "", &err)
	if err != nil {
		return Redemption{}, fault.Say(fault.Invalid, "body_not_object")
	}
	r := Redemption{OrderID: o.orderID("orderid")}
	var ok bool
	if r.Date, ok = parseMoment(o.text("dateredeemed"), time.UTC); !ok {
		o.fail("dateredeemed", "moment_wrong")
	}
	if strings.TrimSpace(o.text("remaining")) != "" {
		left := o.money("remaining").Round(2) // a till that counts in floats writes 40.10000000000001
		if left.IsNegative() {
			o.fail("remaining", "amount_negative")
		}
		r.Remaining = &left
	}
	if err != nil {
		return Redemption{}, err
	}
	return r, nil
}

// orderID returns an order's id, given as a number or as text; "" if absent or 0.
func (o object) orderID(name string) string {
	if raw, _ := o.raw(name); string(raw) == "true" || string(raw) == "false" {
		o.fail(name, "order_number_wrong")
		return ""
	}
	s := strings.TrimSpace(o.text(name))
	if n, ok := Whole(s); ok && n >= 0 {
		s = strconv.FormatInt(n, 10)
	}
	if s == "0" {
		return ""
	}
	if utf8.RuneCountInString(s) > maxOrderID || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		o.fail(name, "order_number_long", "most", maxOrderID)
		return ""
	}
	return s
}
