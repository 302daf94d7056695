package fakerule

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func (a *account) groupByName(name string) *group {
	i := slices.IndexFunc(a.groups, func(g *group) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return a.groups[i]
}

// group returns the group that x names, digits being an id; a name made of
// digits is found too.
func (a *account) group(x string) *group {
	if id, ok := number(x); ok {
		if i := slices.IndexFunc(a.groups, func(g *group) bool { return g.id == id }); i >= 0 {
			return a.groups[i]
		}
	}
	return a.groupByName(x)
}

func (g *group) fieldByName(name string) *field {
	i := slices.IndexFunc(g.fields, func(f *field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return g.fields[i]
}

func (g *group) field(x string) *field {
	if id, ok := number(x); ok {
		if i := slices.IndexFunc(g.fields, func(f *field) bool { return f.id == id }); i >= 0 {
			return g.fields[i]
		}
	}
	return g.fieldByName(x)
}

func (a *account) ensureGroup(name string, historical bool, now time.Time) *group {
	if g := a.groupByName(name); g != nil {
		return g
	}
	a.last.group++
	g := &group{id: a.last.group, name: name, historical: historical, created: now, updated: now}
	a.groups = append(a.groups, g)
	return g
}

func (a *account) ensureField(g *group, name, typ string, now time.Time) *field {
	if f := g.fieldByName(name); f != nil {
		return f
	}
	a.last.field++
	f := &field{id: a.last.field, name: name, typ: typ}
	g.fields = append(g.fields, f)
	g.updated = now
	return f
}

// A write is one checked value on its way into a group.
type write struct {
	group, field, typ string
	data              any // see value
	size              int // characters
}

// write stores checked values: one new entry for every historical group among
// them, else into the only entry of the group. A value whose field has got
// another type since the check is dropped.
func (a *account) write(s *subscriber, writes []write, now time.Time) {
	var order []*group
	values := map[*group][]value{}
	for _, w := range writes {
		g := a.ensureGroup(w.group, false, now)
		f := a.ensureField(g, w.field, w.typ, now)
		if !sameType(f.typ, w.typ) {
			continue
		}
		if _, seen := values[g]; !seen {
			order = append(order, g)
		}
		values[g] = append(values[g], value{field: f, data: w.data})
	}
	for _, g := range order {
		a.put(s, g, values[g], now)
	}
}

// put appends to a historical group and overwrites an ordinary one.
func (a *account) put(s *subscriber, g *group, values []value, now time.Time) *entry {
	e := s.newest(g)
	if e == nil || g.historical {
		a.last.entry++
		e = &entry{id: a.last.entry, group: g, created: now}
		s.entries = append(s.entries, e)
	}
	for _, v := range values {
		e.set(v)
	}
	s.updated = now
	return e
}

func (e *entry) set(v value) {
	i := slices.IndexFunc(e.values, func(x value) bool { return x.field == v.field })
	if i < 0 {
		e.values = append(e.values, v)
		return
	}
	e.values[i] = v
}

func (s *subscriber) newest(g *group) *entry {
	for _, e := range slices.Backward(s.entries) {
		if e.group == g {
			return e
		}
	}
	return nil
}

// sameType says whether a value of type typ goes into a field of type of;
// "single" is a type of the schema only, its values are sent as text.
func sameType(of, typ string) bool {
	return of == typ || (of == "single" && typ == "text")
}

// maxGroup is how many characters the values of one group may have in one
// write.
const maxGroup = 65000

// tooLong names the groups whose values have too many characters together.
func tooLong(writes []write) []string {
	sum := map[string]int{}
	for _, w := range writes {
		sum[w.group] += w.size
	}
	var long []string
	for g, n := range sum {
		if n > maxGroup {
			long = append(long, g)
		}
	}
	slices.Sort(long)
	return long
}

// checkValue reads a value of a field of type typ. The message says what is
// wrong with it, "" for nothing. An empty string clears the field whatever its
// type (assumed: no source says how a field is cleared); null is refused, as
// Rule's own clients never send it.
func checkValue(typ string, raw json.RawMessage, v3 bool) (data any, size int, message string) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, 0, "The value must not be null."
	}
	var s string
	text := raw[0] == '"' && json.Unmarshal(raw, &s) == nil
	if text && s == "" {
		return nil, 0, ""
	}
	size = utf8.RuneCountInString(s)
	switch typ {
	case "text", "single":
		if !text && !v3 {
			var n json.Number
			if json.Unmarshal(raw, &n) == nil {
				return n.String(), len(n), ""
			}
		}
		if !text {
			return nil, 0, "The value must be a text."
		}
		return s, size, ""
	case "date", "datetime", "time":
		layout := map[string]string{"date": time.DateOnly, "datetime": time.DateTime, "time": time.TimeOnly}[typ]
		// Parsing alone is too kind: it takes a one-digit hour and a fraction.
		if t, err := time.Parse(layout, s); !text || err != nil || t.Format(layout) != s {
			return nil, 0, "The value must be a " + typ + ", as " + layout + "."
		}
		return s, size, ""
	case "multiple":
		list, ok := choices(raw, v3)
		if !ok {
			return nil, 0, "The value must be an array of strings."
		}
		return list, utf8.RuneCount(encode(list)), ""
	case "json":
		if text && json.Valid([]byte(s)) {
			return json.RawMessage(s), size, ""
		}
		if v3 && (raw[0] == '[' || raw[0] == '{') {
			return slices.Clone(raw), utf8.RuneCount(raw), ""
		}
		if v3 {
			return nil, 0, "The value must be an object or an array."
		}
		return nil, 0, "The value must be a JSON encoded string."
	}
	return nil, 0, "The type is unknown."
}

// choices reads the value of a multiple field. v2 also takes what Rule's PHP and
// Node clients send: one plain text, an array as a text, and an object whose
// keys are numbers.
func choices(raw json.RawMessage, v3 bool) ([]string, bool) {
	if v3 {
		return stringList(raw)
	}
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		if encoded := json.RawMessage(strings.TrimSpace(text)); len(encoded) > 0 && json.Valid(encoded) {
			if list, ok := stringList(encoded); ok {
				return list, true
			}
		}
		return []string{text}, true
	}
	return stringList(numbered(raw))
}

// numbered makes an array of an object whose keys are all numbers, which is what
// PHP makes of a list with a gap; anything else stays as it is.
func numbered(raw json.RawMessage) json.RawMessage {
	members := map[string]json.RawMessage{}
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &members) != nil {
		return raw
	}
	type item struct {
		at    int
		value json.RawMessage
	}
	items := make([]item, 0, len(members))
	for key, value := range members {
		n, err := strconv.Atoi(key)
		if err != nil || n < 0 {
			return raw
		}
		items = append(items, item{n, value})
	}
	slices.SortFunc(items, func(x, y item) int { return cmp.Compare(x.at, y.at) })
	list := make([]json.RawMessage, len(items))
	for i, x := range items {
		list[i] = x.value
	}
	return encode(list)
}

func stringList(raw json.RawMessage) ([]string, bool) {
	var list []any
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	texts := make([]string, len(list))
	for i, x := range list {
		text, ok := x.(string)
		if !ok {
			return nil, false
		}
		texts[i] = text
	}
	return texts, true
}

// inferType is the type that v3 gives to a new field.
func inferType(raw json.RawMessage) string {
	if len(raw) > 0 && raw[0] == '[' {
		if _, ok := stringList(raw); ok {
			return "multiple"
		}
	}
	if len(raw) > 0 && (raw[0] == '[' || raw[0] == '{') {
		return "json"
	}
	return "text"
}

// plain is a value as v2 shows it: a string whatever the type (its documented
// type is string or null), except for what staff left behind.
func plain(data any) any {
	switch d := data.(type) {
	case []string:
		return string(encode(d))
	case json.RawMessage:
		return string(d)
	case verbatim:
		return json.RawMessage(d)
	}
	return data
}

// rich is a value as v3 shows it: arrays and JSON as they are.
func rich(data any) any {
	if d, ok := data.(verbatim); ok {
		return json.RawMessage(d)
	}
	return data
}
