// Package bonus keeps count of what customers can use at the till: bonus checks
// and promotions. Merchants hand them out in Rule, as json fields; a book per
// customer remembers every use, decides between two tills, and is the only
// authority on what is left.
package bonus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sentence"
)

// The members of a bonus check and of a promotion in Rule's json fields. Others
// are kept as they are.
const (
	memberCheckID      = "bonuscheckid"
	memberPromotionID  = "promotionid"
	memberName         = "name"
	memberDescription  = "description"
	memberValue        = "value"        // what it was worth when it was handed out
	memberRemaining    = "remaining"    // what is left of it
	memberRedeemed     = "redeemed"     // nothing is left
	memberDateRedeemed = "dateredeemed" // when it was used last, null if not
	memberFrom         = "validfrom"    // first day, Swedish time
	memberTo           = "validto"      // last day
)

// idMember names the member that holds an id.
func (k Kind) idMember() string {
	if k == Promotion {
		return memberPromotionID
	}
	return memberCheckID
}

// what is what a kind is called in the arguments of a sentence.
func (k Kind) what() string {
	if k == Promotion {
		return "promotion"
	}
	return "bonuscheck"
}

// unknown is the code of the sentence that there is none.
func (k Kind) unknown() string {
	if k == Promotion {
		return "promotion_unknown"
	}
	return "check_unknown"
}

// field names the field in Rule.
func (k Kind) field() string {
	if k == Promotion {
		return "promotions"
	}
	return "bonuschecks"
}

const (
	// maxItems bounds how many checks of one customer are read.
	maxItems = 1000
	// MaxShown bounds how many are shown at the till.
	MaxShown = 200
	// maxID is the longest id of a check.
	maxID = 100
)

// Offer is one bonus check or promotion as Rule's json field has it.
type Offer struct {
	Kind                  Kind
	ID, Name, Description string
	Value                 decimal.Decimal // in the shop's currency; 1 for a promotion
	// Left is what the field says is left. Once the customer's book knows the
	// check, the book decides instead.
	Left         decimal.Decimal
	DateRedeemed string    // as stored, "" until used
	From, Until  time.Time // it can be used from From to before Until; zero for no limit

	problem string // why it is left out of the card, "" if it is not
}

// List is the content of a json field. It remembers what it does not
// understand, so that a rewrite keeps it.
type List struct {
	kind  Kind
	items []item
}

type item struct {
	raw     json.RawMessage
	members []member // in their order; nil if raw is not an object
	offer   Offer
}

type member struct {
	name string
	raw  json.RawMessage
}

var errShape = errors.New("not a JSON array of objects")

// Parse reads a json field. nil and null are an empty list. The error says that
// the field as a whole is not a JSON array; it must not be rewritten then.
func Parse(k Kind, raw json.RawMessage) (List, error) {
	l := List{kind: k}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return l, nil
	}
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return l, errShape
	}
	seen := map[string]bool{}
	for i, one := range all {
		it := item{raw: one}
		it.members, it.offer.problem = object(one)
		if it.offer.problem == "" {
			it.offer = k.offer(it.members)
		}
		switch id := it.offer.ID; {
		case i >= maxItems:
			it.offer = Offer{problem: "there are too many"}
		case id != "" && seen[id]:
			// The first one counts: were it the last, a copy pasted in by hand
			// would make a used check good again.
			it.offer = Offer{problem: "its id is there twice"}
		case id != "":
			seen[id] = true
		}
		l.items = append(l.items, it)
	}
	return l, nil
}

// object takes an object apart, keeping the order of its members.
func object(raw json.RawMessage) (members []member, problem string) {
	const not = "it is not an object"
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, not
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, not
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, not
		}
		members = append(members, member{name.(string), v})
	}
	return members, ""
}

// find returns a member; of one that is there twice the last, as JSON readers do.
func find(members []member, name string) json.RawMessage {
	for _, m := range slices.Backward(members) {
		if m.name == name {
			return m.raw
		}
	}
	return nil
}

// text returns a string member, or a number's or bool's JSON.
func text(members []member, name string) string {
	raw := find(members, name)
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

func yes(s string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "ja":
		return true
	}
	return false
}

// offer reads one object. What is wrong with it is its problem; an offer with
// an id can be named by a redemption even so, and gets the sentence.
func (k Kind) offer(members []member) Offer {
	o := Offer{
		Kind: k, ID: text(members, k.idMember()), Name: text(members, memberName), Description: text(members, memberDescription),
		DateRedeemed: text(members, memberDateRedeemed), Value: one,
	}
	if o.ID == "" || len(o.ID) > maxID {
		return Offer{problem: "it has no " + k.idMember()}
	}
	redeemed := yes(text(members, memberRedeemed))
	ok := true
	if k == Check {
		if o.Value, ok = Amount(text(members, memberValue)); !ok {
			o.problem = "its value is not an amount"
		}
	}
	o.Left = o.Value
	if left := text(members, memberRemaining); k == Check && left != "" {
		amount, ok := Amount(left)
		if !ok || amount.GreaterThan(o.Value) {
			o.problem = "its remaining is not an amount up to its value"
		}
		o.Left = amount
	}
	if redeemed || o.problem != "" {
		o.Left = decimal.Zero
	}
	if o.From, ok = day(text(members, memberFrom), false); !ok {
		o.problem = "its validfrom is not a date"
	}
	if o.Until, ok = day(text(members, memberTo), true); !ok {
		o.problem = "its validto is not a date"
	}
	return o
}

var one = decimal.NewFromInt(1)

// Amount reads an amount of at most 12 digits before the point and two decimals
// after it; a comma is taken for a point, as Swedish spreadsheets write it. With
// three digits after it, it may as well set off thousands: that is no amount.
func Amount(s string) (decimal.Decimal, bool) {
	if _, after, _ := strings.Cut(s, ","); len(after) == 3 {
		return decimal.Zero, false
	}
	s = strings.Replace(s, ",", ".", 1)
	whole, _, _ := strings.Cut(s, ".")
	if s == "" || len(whole) > 12 || len(s) > 20 || strings.ContainsAny(s, "eE") {
		return decimal.Zero, false
	}
	d, err := decimal.NewFromString(s)
	if err != nil || d.IsNegative() || !d.Equal(d.Truncate(2)) {
		return decimal.Zero, false
	}
	return d, true
}

// day reads a day in Stockholm, or a moment, as the start of what it names, or
// with end as the moment after it. An empty text is no limit.
func day(s string, end bool) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", rule.TimeLayout, time.DateOnly} {
		t, err := time.ParseInLocation(layout, s, rule.Stockholm)
		if err != nil {
			continue
		}
		ok := t.Year() > 1970 && t.Year() < 10000
		if end && layout == time.DateOnly {
			t = t.AddDate(0, 0, 1) // into the year 10000, of a check that never ends
		}
		return t.UTC(), ok
	}
	return time.Time{}, false
}

// Find returns the offer of that id. ok is false if the list has none.
func (l List) Find(id string) (o Offer, ok bool) {
	for _, it := range l.items {
		if id != "" && it.offer.ID == id {
			return it.offer, true
		}
	}
	return Offer{}, false
}

// Why an offer that is in order is not on the card.
const (
	whyNothing = "it is worth nothing"
	whyUsed    = "it is used"
	whyEarly   = "it is not valid yet"
	whyExpired = "it has expired"
)

// ordinary are the reasons that call for nobody.
var ordinary = map[string]bool{whyNothing: true, whyUsed: true, whyEarly: true, whyExpired: true}

// usable says why an offer cannot be used now: in short for the log, and as a
// sentence for the till; "" and nil if it can. left is what the book, or the
// field itself, says.
func (o Offer) usable(left decimal.Decimal, date string, now time.Time) (why string, err error) {
	switch {
	case o.problem != "":
		return o.problem, fault.Say(fault.Conflict, "check_damaged", sentence.What, o.Kind.what(), "problem", o.problem)
	case !left.IsPositive() && !o.Value.IsPositive():
		return whyNothing, fault.Say(fault.Conflict, "check_worthless", sentence.What, o.Kind.what())
	case !left.IsPositive() && date != "":
		return whyUsed, fault.Say(fault.Conflict, "check_used_on", sentence.What, o.Kind.what(), "date", said(date))
	case !left.IsPositive():
		return whyUsed, fault.Say(fault.Conflict, "check_used", sentence.What, o.Kind.what())
	case now.Before(o.From):
		return whyEarly, fault.Say(fault.Conflict, "check_early", sentence.What, o.Kind.what(), "date", local(o.From))
	case !o.Until.IsZero() && !now.Before(o.Until):
		return whyExpired, fault.Say(fault.Conflict, "check_expired", sentence.What, o.Kind.what(), "date", local(o.Until.Add(-time.Second)))
	}
	return "", nil
}

// said writes a moment, as it is stored, for a sentence: Swedish time, or the
// text as it is if it is something else.
func said(date string) string {
	if t, err := time.Parse(time.RFC3339, date); err == nil {
		return t.In(rule.Stockholm).Format("2006-01-02 15:04")
	}
	if _, ok := day(date, false); !ok {
		return "a day that Rule does not tell"
	}
	return date
}

// local writes a day for a sentence.
func local(t time.Time) string { return t.In(rule.Stockholm).Format(time.DateOnly) }

// Shown is what the till's card shows.
type Shown struct {
	ID, Name, Description string
	Left                  decimal.Decimal // what can be used of it
}

// Card returns what of a list can be used now, MaxShown at most. left counts
// what is left out, by reason, for the log.
func Card(l List, b Book, now time.Time) (shown []Shown, left map[string]int) {
	left = map[string]int{}
	for _, it := range l.items {
		o := it.offer
		remains, date := b.left(o)
		if why, err := o.usable(remains, date, now); err != nil {
			left[why]++
			continue
		}
		if len(shown) == MaxShown {
			left["there are too many"]++
			continue
		}
		shown = append(shown, Shown{o.ID, o.Name, o.Description, remains})
	}
	return shown, left
}

// With returns the list as the book says it should be. changed is false if it
// is that already. What is not about a use stays as it is, letter by letter.
func (l List) With(b Book) (out List, changed bool) {
	out = List{kind: l.kind, items: slices.Clone(l.items)}
	for i, it := range out.items {
		e := b.entry(l.kind, it.offer.ID)
		// One whose opening is not in the book yet must not be rewritten: what it
		// says is left is the opening.
		if it.offer.ID == "" || it.offer.problem != "" || e == nil || e.Opening == nil {
			continue
		}
		left, date := b.left(it.offer)
		used := !left.IsPositive()
		members := slices.Clone(it.members)
		if l.kind == Check {
			// An amount stays a number or a text, as whoever wrote the value likes it.
			text := left.StringFixed(2)
			raw, _ := json.Marshal(text)
			if v := find(members, memberValue); len(v) > 0 && v[0] != '"' {
				raw = json.RawMessage(text)
			}
			if have, ok := Amount(textOf(find(members, memberRemaining))); !ok || !have.Equal(left) {
				members = set(members, memberRemaining, raw)
			}
		}
		if have := find(members, memberRedeemed); have == nil || yes(textOf(have)) != used {
			members = set(members, memberRedeemed, fmt.Append(nil, used))
		}
		when := json.RawMessage("null")
		if date != "" {
			when, _ = json.Marshal(date)
		}
		if textOf(find(members, memberDateRedeemed)) != date {
			members = set(members, memberDateRedeemed, when)
		}
		if !slices.EqualFunc(members, it.members, func(a, b member) bool { return a.name == b.name && bytes.Equal(a.raw, b.raw) }) {
			out.items[i], changed = rebuilt(l.kind, members), true
		}
	}
	return out, changed
}

func textOf(raw json.RawMessage) string { return text([]member{{"v", raw}}, "v") }

// set replaces a member where it stands, or adds it at the end. One that is
// there twice is there once afterwards.
func set(members []member, name string, raw json.RawMessage) []member {
	at := slices.IndexFunc(members, func(m member) bool { return m.name == name })
	if at < 0 {
		return append(members, member{name, raw})
	}
	members[at].raw = raw
	rest := slices.DeleteFunc(members[at+1:], func(m member) bool { return m.name == name })
	return members[:at+1+len(rest)]
}

func rebuilt(k Kind, members []member) item {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name)
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.raw)
	}
	b.WriteByte('}')
	return item{raw: b.Bytes(), members: members, offer: k.offer(members)}
}

// Merge returns the list with checks handed out anew: an object of an id that
// is there replaces that one's members, keeping those it does not have; others
// are added at the end. A check that the book has seen used, or that the list
// itself says is used, in part or whole, stays as it is. unchanged counts the
// objects that said nothing new.
func (l List) Merge(b Book, objects []json.RawMessage) (out List, changed, unchanged int) {
	out = List{kind: l.kind, items: slices.Clone(l.items)}
	for _, raw := range objects {
		members, _ := object(raw)
		fresh := l.kind.offer(members)
		at := slices.IndexFunc(out.items, func(it item) bool { return it.offer.ID != "" && it.offer.ID == fresh.ID })
		if at < 0 {
			out.items = append(out.items, rebuilt(l.kind, members))
			changed++
			continue
		}
		have := out.items[at]
		used := b.entry(l.kind, fresh.ID) != nil || yes(text(have.members, memberRedeemed)) ||
			have.offer.problem == "" && have.offer.Left.LessThan(have.offer.Value)
		merged := slices.Clone(have.members)
		for _, m := range members {
			if !same(find(merged, m.name), m.raw) {
				merged = set(merged, m.name, m.raw)
			}
		}
		if whole := find(merged, memberValue); len(whole) > 0 && find(members, memberRemaining) == nil && text(merged, memberRemaining) != "" && !same(find(merged, memberRemaining), whole) {
			merged = set(merged, memberRemaining, whole) // nothing of it is used: all of the new value is left
		}
		next := rebuilt(l.kind, merged)
		if used || bytes.Equal(next.raw, rebuilt(l.kind, have.members).raw) {
			unchanged++
			continue
		}
		out.items[at] = next
		changed++
	}
	return out, changed, unchanged
}

// same reports whether two members say the same: a number may be written as a
// text, an amount with or without decimals, and nothing as null or "".
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	for _, raw := range [][]byte{a, b} {
		if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
			return false
		}
	}
	s, t := textOf(a), textOf(b)
	x, ok1 := Amount(s)
	y, ok2 := Amount(t)
	return s == t || ok1 && ok2 && x.Equal(y)
}

// MarshalJSON writes the list as Rule's json field holds it.
func (l List) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, it := range l.items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(it.raw)
	}
	b.WriteByte(']')
	return b.Bytes(), nil
}

// Len returns how many things the list holds, readable or not.
func (l List) Len() int { return len(l.items) }
