package customer

import (
	"maps"
	"strings"
	"time"

	"sitoo-rule/shared/rule"
)

// phoneNumber returns the number that Rule knows the person by. A contact has
// two, a subscriber one: the mobile goes first, since messages are sent there.
func phoneNumber(text map[Member]string) string {
	if text[Mobile] != "" {
		return text[Mobile]
	}
	return text[Phone]
}

// identifies reports whether Rule knows a person by the member.
func identifies(m Member) bool { return m == Email || m == Mobile || m == Phone }

// withoutShown returns c without the identifiers that are as the card shows
// them.
func (c Contact) withoutShown(card Contact) Contact {
	c.Text = maps.Clone(c.Text)
	maps.DeleteFunc(c.Text, func(m Member, v string) bool { return identifies(m) && v != "" && v == card.Text[m] })
	return c
}

// fieldsOf returns the custom fields for the members that c holds. With clear,
// empty members become empty fields, otherwise they are left out.
func fieldsOf(c Contact, clear bool) []rule.Field {
	var fields []rule.Field
	add := func(row int, value any, empty bool) {
		if !empty || clear {
			fields = append(fields, rule.Field{Group: table[row].group, Name: string(table[row].member), Type: table[row].kind.fieldType(), Value: value})
		}
	}
	for i, row := range table {
		if row.group == "" {
			continue
		}
		switch row.kind {
		case flag:
			if v, ok := c.Flags[row.member]; ok {
				add(i, flagText(v), false)
			}
		case list:
			if v, ok := c.Lists[row.member]; ok {
				add(i, v, len(v) == 0)
			}
		default:
			if v, ok := c.Text[row.member]; ok {
				add(i, v, v == "")
			}
		}
	}
	return fields
}

func flagText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

// damage is a field that cannot be shown as it stands in Rule.
type damage struct{ Group, Field string }

// contactOf puts a customer card together from what Rule holds. Every field is
// read on its own: one that staff have damaged by hand is left out and
// reported, and the rest still shows.
func contactOf(s rule.Subscriber, values rule.Values, phones Phones, now time.Time) (Contact, []damage) {
	c := Contact{ID: s.ID, Text: map[Member]string{}, Flags: map[Member]bool{}, Lists: map[Member][]string{}}
	var bad []damage
	for _, row := range table {
		if row.group == "" {
			continue
		}
		v, ok := values[row.group][string(row.member)]
		if !ok {
			continue
		}
		switch row.kind {
		case flag:
			switch strings.ToLower(strings.TrimSpace(v.Text())) {
			case "true", "1", "yes", "ja":
				c.Flags[row.member] = true
			case "false", "0", "no", "nej":
				c.Flags[row.member] = false
			case "":
			default:
				bad = append(bad, damage{row.group, string(row.member)})
			}
		case list:
			if many := v.List(); len(many) > 0 && len(many) <= maxList {
				c.Lists[row.member] = many
			} else if len(many) > maxList {
				bad = append(bad, damage{row.group, string(row.member)})
			}
		default:
			k := row.kind
			if k == number && phones == nil {
				k = text // stored in E.164 by us; not worth 5 MB to check again
			}
			clean, err := normaliseText(row.member, k, v.Text(), phones)
			if err != nil {
				bad = append(bad, damage{row.group, string(row.member)})
			} else if clean != "" {
				c.Text[row.member] = clean
			}
		}
	}
	// What Rule knows a person by is the truth; the fields only say which of
	// the till's two boxes the number belongs in.
	if s.Email != "" {
		c.Text[Email] = s.Email
	}
	switch {
	case s.Phone == "":
		delete(c.Text, Mobile)
	case c.Text[Mobile] == "" && c.Text[Phone] == s.Phone:
	default:
		c.Text[Mobile] = s.Phone
	}
	for _, m := range marketed {
		c.Flags[m] = accepts(s, m) && !pending(s, values, m, now)
	}
	c.BonusChecks = values[ContactGroup][bonusChecks].JSON()
	c.Promotions = values[ContactGroup][promotions].JSON()
	return c, bad
}

// channels are Rule's message types for the two accepts_* that Rule enforces.
var channels = map[Member]string{AcceptsEmail: "email", AcceptsSMS: "text_message"}

// accepts reports whether Rule sends the subscriber campaigns on a channel.
// That, and not a field, is the truth that a till shows: a till sends back what
// it was shown, and an edit of an address must not change a consent.
func accepts(s rule.Subscriber, m Member) bool {
	return s.OptedIn && !suppressed(s, m)
}

func stops(x rule.Suppression, m Member) bool {
	return x.Message == channels[m] && x.Dispatcher != "transactional" && x.Dispatcher != "transaction"
}

// Known reports whether Rule's fields tell anything of a person beside how to
// reach them.
func Known(values rule.Values) bool {
	for _, row := range table {
		if row.group != "" && row.kind != flag && values[row.group][string(row.member)].Text() != "" {
			return true
		}
	}
	return false
}

// OrderPerson is what an order says of its customer beside email and phone.
type OrderPerson struct {
	FirstName, LastName, Company string
	Address                      map[string]string // by Sitoo's member names
}

// FromOrder returns the fields for what an order says of its customer. A value
// that is not in order is left out: no address is worth an order.
func FromOrder(p OrderPerson, phones Phones) []rule.Field {
	raw := map[Member]string{FirstName: p.FirstName, LastName: p.LastName, Company: p.Company}
	for name, v := range p.Address {
		raw[Member(name)] = v
	}
	c := Contact{Text: map[Member]string{}}
	for _, row := range table {
		if row.kind != text && row.kind != country {
			continue
		}
		if v, err := normaliseText(row.member, row.kind, raw[row.member], phones); err == nil && v != "" {
			c.Text[row.member] = v
		}
	}
	return fieldsOf(c, false)
}
