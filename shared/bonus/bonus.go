// Package bonus reads what a customer can redeem: the bonus checks and
// promotions that merchants keep in Rule as json fields.
package bonus

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/shopspring/decimal"
)

// Check is a bonus check. The members are the documented data points of the
// field Sitoo-Contact.bonuschecks.
type Check struct {
	ID, Name, Description string
	Value                 decimal.Decimal // an amount in the shop's currency
	Redeemed              bool
	DateRedeemed          string // as stored, "" until used
}

// Promotion is an offer that a customer can use once.
type Promotion struct {
	ID, Name, Description string
	Redeemed              bool
}

var errShape = errors.New("not a JSON array of objects")

// maxItems bounds how many checks one customer's card shows.
const maxItems = 200

// Checks reads the json field. What is not a check with an id and an amount is
// left out and counted in skipped; err says that the field as a whole cannot be
// read. The card shows the rest in every case.
func Checks(raw json.RawMessage) (list []Check, skipped int, err error) {
	items, skipped, err := objects(raw)
	for _, o := range items {
		c := Check{
			ID: o.text("bonuscheckid"), Name: o.text("name"), Description: o.text("description"),
			Redeemed: o.flag("redeemed"), DateRedeemed: o.text("dateredeemed"),
		}
		value, ok := amount(o.text("value"))
		if c.ID == "" || !ok {
			skipped++
			continue
		}
		c.Value = value
		list = append(list, c)
	}
	return list, skipped, err
}

// Promotions reads the json field of promotions, as Checks does.
func Promotions(raw json.RawMessage) (list []Promotion, skipped int, err error) {
	items, skipped, err := objects(raw)
	for _, o := range items {
		p := Promotion{ID: o.text("promotionid"), Name: o.text("name"), Description: o.text("description"), Redeemed: o.flag("redeemed")}
		if p.ID == "" {
			skipped++
			continue
		}
		list = append(list, p)
	}
	return list, skipped, err
}

type object map[string]json.RawMessage

func objects(raw json.RawMessage) (list []object, skipped int, err error) {
	if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" {
		return nil, 0, nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, 0, errShape
	}
	for _, item := range items {
		var o object
		if json.Unmarshal(item, &o) != nil || o == nil || len(list) == maxItems {
			skipped++
			continue
		}
		list = append(list, o)
	}
	return list, skipped, nil
}

// text returns a string member, or a number's or bool's JSON.
func (o object) text(name string) string {
	raw := o[name]
	var s string
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if json.Unmarshal(raw, &s) == nil {
		return strings.TrimSpace(s)
	}
	if raw[0] == '{' || raw[0] == '[' {
		return ""
	}
	return string(raw)
}

func (o object) flag(name string) bool {
	switch strings.ToLower(o.text(name)) {
	case "true", "1", "yes", "ja":
		return true
	}
	return false
}

// amount reads an amount of at most 12 digits before the point; a comma is
// taken for one, as Swedish spreadsheets write it.
func amount(s string) (decimal.Decimal, bool) {
	s = strings.Replace(s, ",", ".", 1)
	whole, _, _ := strings.Cut(s, ".")
	if s == "" || len(whole) > 12 || len(s) > 20 || strings.ContainsAny(s, "eE") {
		return decimal.Zero, false
	}
	d, err := decimal.NewFromString(s)
	if err != nil || d.IsNegative() {
		return decimal.Zero, false
	}
	return d, true
}
