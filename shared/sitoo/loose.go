package sitoo

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// What comes to the door once must not be lost because one member of it is not
// of its kind. A loose object gives what can be read of each member, and notes
// the names of the others.

// maxUnread is how many names of members are noted.
const maxUnread = 20

// unread are the members that could not be read, by their paths, the first 20.
type unread struct{ names []string }

func (u *unread) add(path string) {
	if len(u.names) < maxUnread && !slices.Contains(u.names, path) {
		u.names = append(u.names, path)
	}
}

// errBroken is the error of a document that breaks off, or goes wrong, At a byte.
type errBroken struct{ at int }

func (e errBroken) Error() string {
	return "The body is not JSON: it breaks off or goes wrong at byte " + strconv.Itoa(e.at)
}

var errNoObject = errors.New("no JSON object")

// walk calls found for every part of the JSON object or array raw, in order; an
// element of an array has no name. It looks no deeper, so that nothing inside a
// part keeps the others from being read. The error is errNoObject, or an
// errBroken after the parts before it were found.
func walk(raw []byte, found func(name string, value json.RawMessage)) error {
	i := skipSpace(raw, 0)
	if i == len(raw) || raw[i] != '{' && raw[i] != '[' {
		return errNoObject
	}
	object, closing := raw[i] == '{', raw[i]+2
	for i = skipSpace(raw, i+1); i < len(raw) && raw[i] != closing; {
		name := ""
		if object {
			if raw[i] != '"' {
				return errBroken{i}
			}
			end, ok := skipString(raw, i)
			if !ok {
				return errBroken{len(raw)}
			}
			name, _ = unquote(raw[i:end])
			if i = skipSpace(raw, end); i == len(raw) || raw[i] != ':' {
				return errBroken{i}
			}
			i = skipSpace(raw, i+1)
		}
		end, ok := skipNested(raw, i, len(raw))
		if !ok {
			return errBroken{i}
		}
		value := raw[i:end:end]
		if i = skipSpace(raw, end); i == len(raw) { // half a number, perhaps
			return errBroken{i}
		}
		found(name, value)
		switch raw[i] {
		case closing:
		case ',':
			i = skipSpace(raw, i+1)
		default:
			return errBroken{i}
		}
	}
	if i == len(raw) {
		return errBroken{i}
	}
	if i = skipSpace(raw, i+1); i < len(raw) {
		return errBroken{i}
	}
	return nil
}

// unquote reads a JSON string, and one with line breaks and the like in it that
// JSON has escaped.
func unquote(raw []byte) (s string, ok bool) {
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	var b bytes.Buffer
	for _, c := range raw {
		if c < 0x20 {
			b.WriteString(`\u00` + strconv.FormatInt(int64(c>>4), 16) + strconv.FormatInt(int64(c&15), 16))
		} else {
			b.WriteByte(c)
		}
	}
	return s, json.Unmarshal(b.Bytes(), &s) == nil
}

// loose reads the members of one JSON object.
type loose struct {
	path    string // "" or "orderitems[3]."
	members map[string]json.RawMessage
	unread  *unread
}

// newLoose reads an object. Of two members of one name the last that is not null
// counts, and the name is noted if that one is known and they differ.
func newLoose(raw []byte, path string, known []string, u *unread) (loose, error) {
	o := loose{path: path, members: map[string]json.RawMessage{}, unread: u}
	if i := skipSpace(raw, 0); i == len(raw) || raw[i] != '{' {
		return o, errNoObject
	}
	err := walk(raw, func(name string, value json.RawMessage) {
		before, twice := o.members[name]
		if twice && string(value) == "null" {
			return
		}
		o.members[name] = value
		if twice && string(before) != "null" && !bytes.Equal(before, value) && slices.Contains(known, name) {
			u.add(path + name)
		}
	})
	return o, err
}

func (o loose) note(name string) { o.unread.add(o.path + name) }

// raw returns a member, ok false if it is absent, null or empty; PHP writes an
// empty object as an empty array.
func (o loose) raw(name string) (json.RawMessage, bool) {
	raw, ok := o.members[name]
	if !ok || string(raw) == "null" || string(raw) == `""` {
		return nil, false
	}
	if first := raw[0]; first == '[' || first == '{' {
		if inside := bytes.TrimSpace(raw[1 : len(raw)-1]); len(inside) == 0 {
			return nil, false
		}
	}
	return raw, true
}

// text returns a string; a number or a bool is taken as its JSON.
func (o loose) text(name string) string {
	raw, ok := o.raw(name)
	if !ok {
		return ""
	}
	switch raw[0] {
	case '"':
		if s, ok := unquote(raw); ok {
			return s
		}
	case '{', '[':
	default:
		if json.Valid(raw) {
			return string(raw)
		}
	}
	o.note(name)
	return ""
}

// integer returns a whole number, ok false if it is absent or cannot be read.
func (o loose) integer(name string) (n int64, ok bool) {
	s := o.text(name)
	if strings.TrimSpace(s) == "" {
		return 0, false
	}
	if n, ok = Whole(s); !ok {
		o.note(name)
	}
	return n, ok
}

// state returns a state number of Sitoo's, Unsaid if it is absent or cannot be
// read: not a 0, which is "open".
func (o loose) state(name string) int {
	n, ok := o.integer(name)
	if !ok {
		return Unsaid
	}
	if n < -1_000_000 || n > 1_000_000 {
		o.note(name)
		return Unsaid
	}
	return int(n)
}

// money returns an amount, 0 if it is absent or cannot be read.
func (o loose) money(name string) decimal.Decimal {
	s := o.text(name)
	if strings.TrimSpace(s) == "" {
		return decimal.Zero
	}
	d, ok := parseAmount(s)
	if !ok {
		o.note(name)
	}
	return d
}

// date returns a moment; one without a time zone is in zone.
func (o loose) date(name string, zone *time.Location) time.Time {
	s := o.text(name)
	t, ok := parseMoment(s, zone)
	if !ok {
		o.note(name)
	}
	return t
}

// rows returns what is in an array. PHP can write one as an object with numbers
// for names, and a program that knows of one row the row alone; either may have
// been encoded as text.
func (o loose) rows(name string) []json.RawMessage {
	raw, ok := o.raw(name)
	if !ok {
		return nil
	}
	raw = unwrap(raw)
	var list []json.RawMessage
	var keys []int
	numbered := raw[0] == '{'
	err := walk(raw, func(key string, value json.RawMessage) {
		n, bad := strconv.Atoi(key)
		numbered = numbered && bad == nil
		list, keys = append(list, value), append(keys, n)
	})
	switch {
	case err != nil:
		o.note(name)
		return nil
	case raw[0] == '[':
		return list
	case !numbered:
		return []json.RawMessage{raw}
	}
	byKey := make([]int, len(list))
	for i := range byKey {
		byKey[i] = i
	}
	slices.SortStableFunc(byKey, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	sorted := make([]json.RawMessage, len(list))
	for i, from := range byKey {
		sorted[i] = list[from]
	}
	return sorted
}

// unwrap returns the object or array that a text holds as JSON.
func unwrap(raw json.RawMessage) json.RawMessage {
	if raw[0] != '"' {
		return raw
	}
	if s, ok := unquote(raw); ok {
		if s = strings.TrimSpace(s); s != "" && (s[0] == '{' || s[0] == '[') {
			return json.RawMessage(s)
		}
	}
	return raw
}

// objects calls fn for every object of an array; what is none is noted.
func (o loose) objects(name string, known []string, fn func(loose)) {
	for i, raw := range o.rows(name) {
		path := name + "[" + strconv.Itoa(i) + "]"
		if child, err := newLoose(raw, o.path+path+".", known, o.unread); err != nil {
			o.note(path)
		} else {
			fn(child)
		}
	}
}

// texts returns an object of text values, such as additionaldata.
func (o loose) texts(name string) map[string]string {
	if raw := o.members[name]; len(raw) > 0 && raw[0] == '{' && len(bytes.TrimSpace(raw[1:len(raw)-1])) == 0 {
		return map[string]string{}
	}
	raw, ok := o.raw(name)
	if !ok {
		return nil
	}
	child, err := newLoose(unwrap(raw), o.path+name+".", nil, o.unread)
	if err != nil {
		o.note(name)
		return nil
	}
	m := make(map[string]string, len(child.members))
	for key, v := range child.members {
		if v[0] != '{' && v[0] != '[' && json.Valid(v) { // keys of integrators are free, and ours are all texts
			m[key] = child.text(key)
		}
	}
	return m
}

// personal finds a personal number in JSON that breaks off.
var personal = regexp.MustCompile(`(?i)"personalid"\s*:\s*("(\\.|[^"\\])*"?|[^,}\]]*)`)

// WithoutPersonalID returns an order's JSON without the personal identity
// number, which no part of the connector has a use for; all else stays as it is.
// The error is fault.Invalid for what is no object; of one that breaks off, what
// is there is returned.
func WithoutPersonalID(body []byte) (json.RawMessage, error) {
	if i := skipSpace(body, 0); i == len(body) || body[i] != '{' {
		return nil, notAnOrder()
	}
	out := []byte{'{'}
	err := walk(body, func(name string, value json.RawMessage) {
		if strings.EqualFold(name, "personalid") {
			return
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, quote(name)...)
		out = append(append(out, ':'), value...)
	})
	if err != nil {
		return personal.ReplaceAll(body, []byte(`"personalid":""`)), nil
	}
	return append(out, '}'), nil
}

func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(b.Bytes())
}
