package fakerule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// withData finds the subscriber of custom-field-data, whose path takes nothing
// but the numeric id.
func withData(h func(*call, *subscriber) reply) func(*call) reply {
	return func(c *call) reply {
		s := c.acc.find("id", c.args[0])
		if s == nil {
			return c.noSubscriber()
		}
		return h(c, s)
	}
}

// reference reads a group or field given as a name or an id.
func reference(p problems, member string, raw json.RawMessage) string {
	if len(raw) > 0 && raw[0] != '"' {
		if _, ok := number(string(raw)); ok {
			return string(raw)
		}
	}
	name := text(p, member, raw)
	if name == "" && len(p[member]) == 0 {
		p.add(member, "Must be a name or an id.")
	}
	return name
}

// A valueIn is one value of a v3 write.
type valueIn struct {
	Field  json.RawMessage `json:"field"`
	Create json.RawMessage `json:"create_if_not_exists"`
	Value  json.RawMessage `json:"value"`
}

// readValues checks values against the fields of g, nil for a group that is
// about to be made. Unknown fields without create_if_not_exists are ignored
// without a word.
func readValues(p problems, member string, list []valueIn, group string, g *group) []write {
	if len(list) == 0 {
		p.add(member, "Must be an array that is not empty.")
	}
	var writes []write
	made := map[string]string{}
	for i, in := range list {
		at := fmt.Sprintf("%s.%d", member, i)
		name := reference(p, at+".field", in.Field)
		create := flag(p, at+".create_if_not_exists", in.Create)
		if name == "" {
			continue
		}
		var f *field
		if g != nil {
			f = g.field(name)
		}
		typ, known := made[name]
		switch {
		case f != nil:
			name, typ = f.name, f.typ
		case known:
		case create == nil || !*create:
			continue
		case in.Field[0] != '"' || strings.ContainsFunc(name, reserved):
			p.add(at+".field", "The field does not exist and cannot have this name.")
			continue
		default:
			typ = inferType(in.Value)
			made[name] = typ
		}
		data, size, message := checkValue(typ, in.Value, true)
		if message != "" {
			p.add(at+".value", message)
			continue
		}
		writes = append(writes, write{group: group, field: name, typ: typ, data: data, size: size})
	}
	for range tooLong(writes) {
		p.add(member, fmt.Sprintf("The values of a group must not be longer than %d characters.", maxGroup))
	}
	return writes
}

func reserved(r rune) bool { return r == '.' || r < ' ' || r == 0x7f }

// postData writes groups. historical:true makes a new group historical and so
// appends for ever after; on an existing ordinary group it changes nothing and
// the write overwrites (assumed, the worst case for a caller who expects an
// entry per order).
func postData(c *call, s *subscriber) reply {
	var in struct {
		Groups []struct {
			Group      json.RawMessage `json:"group"`
			Create     json.RawMessage `json:"create_if_not_exists"`
			Historical json.RawMessage `json:"historical"`
			Values     []valueIn       `json:"values"`
		} `json:"groups"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	if len(in.Groups) == 0 {
		p.add("groups", "Must be an array that is not empty.")
	}
	type groupWrite struct {
		name       string
		historical bool
		writes     []write
	}
	var todo []groupWrite
	for i, gin := range in.Groups {
		at := fmt.Sprintf("groups.%d", i)
		name := reference(p, at+".group", gin.Group)
		create := flag(p, at+".create_if_not_exists", gin.Create)
		historical := flag(p, at+".historical", gin.Historical)
		if name == "" {
			continue
		}
		g := c.acc.group(name)
		switch {
		case g != nil:
			name = g.name
		case create == nil || !*create:
			continue // ignored without a word
		case gin.Group[0] != '"' || strings.ContainsFunc(name, reserved):
			p.add(at+".group", "The group does not exist and cannot have this name.")
			continue
		}
		todo = append(todo, groupWrite{
			name: name, historical: historical != nil && *historical,
			writes: readValues(p, at+".values", gin.Values, name, g),
		})
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, t := range todo {
		c.acc.ensureGroup(t.name, t.historical, c.now)
		c.acc.write(s, t.writes, c.now)
	}
	return reply{status: http.StatusCreated}
}

// putData changes values of one entry that exists. Of several that match, it is
// the oldest (assumed).
func putData(c *call, s *subscriber) reply {
	var in struct {
		Identifier struct {
			DataID json.RawMessage `json:"data_id"`
			Group  json.RawMessage `json:"group"`
			Field  json.RawMessage `json:"field"`
			Value  json.RawMessage `json:"value"`
		} `json:"identifier"`
		Values []valueIn `json:"values"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	var e *entry
	if id := in.Identifier; len(id.DataID) > 0 && string(id.DataID) != "null" {
		n := text(problems{}, "", id.DataID)
		if n == "" {
			n = string(id.DataID)
		}
		e = s.entryByID(n)
	} else {
		g, f := reference(p, "identifier.group", id.Group), reference(p, "identifier.field", id.Field)
		v := reference(p, "identifier.value", id.Value)
		e = s.search(c.acc, g, f, v)
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	if e == nil {
		return c.noData()
	}
	writes := readValues(p, "values", in.Values, e.group.name, e.group)
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, w := range writes {
		e.set(value{field: c.acc.ensureField(e.group, w.field, w.typ, c.now), data: w.data})
	}
	s.updated = c.now
	return noContent()
}

func (c *call) noData() reply {
	return c.fail(http.StatusNotFound, "NotFound", "Could not find custom field data")
}

func (s *subscriber) entryByID(x string) *entry {
	id, _ := number(x)
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.id == id })
	if i < 0 {
		return nil
	}
	return s.entries[i]
}

// search returns the oldest entry of a group whose field has exactly a value.
func (s *subscriber) search(a *account, groupName, fieldName, wanted string) *entry {
	g := a.group(groupName)
	if g == nil {
		return nil
	}
	f := g.field(fieldName)
	for _, e := range s.entries {
		if e.group != g {
			continue
		}
		for _, v := range e.values {
			if v.field == f && plain(v.data) == any(wanted) {
				return e
			}
		}
	}
	return nil
}

func (e *entry) json(only func(*field) bool) map[string]any {
	values := make([]any, 0, len(e.values))
	for _, v := range e.values {
		if only != nil && !only(v.field) {
			continue
		}
		values = append(values, map[string]any{
			"field_id": v.field.id, "field_name": v.field.name, "field_type": v.field.typ, "field_value": rich(v.data),
		})
	}
	return map[string]any{
		"id": e.id, "group_id": e.group.id, "group_name": e.group.name, "historical": e.group.historical,
		"created_at": stamp(e.created), "values": values,
	}
}

// records answers a page of entries, oldest first. There is no link to the next
// page; meta says how long a page is, which may be less than what was asked for.
func (c *call) records(entries []*entry, only func(*field) bool) reply {
	page, perPage := 1, defaultPerPage
	p := problems{}
	for name, n := range map[string]*int{"page": &page, "per_page": &perPage} {
		if !c.query.Has(name) {
			continue
		}
		x, err := strconv.Atoi(c.query.Get(name))
		if err != nil || x < 1 {
			p.add(name, "Must be a positive number.")
			continue
		}
		*n = x
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	perPage = min(perPage, maxPerPage)
	from, to := window(len(entries), page, perPage)
	data := make([]any, 0, to-from)
	for _, e := range entries[from:to] {
		data = append(data, e.json(only))
	}
	return jsonReply(http.StatusOK, map[string]any{"data": data, "meta": map[string]int{"page": page, "per_page": perPage}})
}

func listData(c *call, s *subscriber) reply {
	entries := s.entries
	ids, names := c.query["groups_id[]"], c.query["groups_name[]"]
	if len(ids)+len(names) > 0 {
		entries = slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool {
			return !slices.Contains(ids, strconv.FormatInt(e.group.id, 10)) && !slices.Contains(names, e.group.name)
		})
	}
	return c.records(entries, nil)
}

func listGroupData(c *call, s *subscriber) reply {
	g := c.acc.group(c.args[1])
	if g == nil {
		return c.noGroup()
	}
	var only func(*field) bool
	if fields := c.query["fields[]"]; len(fields) > 0 {
		only = func(f *field) bool {
			return slices.Contains(fields, f.name) || slices.Contains(fields, strconv.FormatInt(f.id, 10))
		}
	}
	return c.records(s.of(g), only)
}

// of returns the entries of one group, oldest first.
func (s *subscriber) of(g *group) []*entry {
	return slices.DeleteFunc(slices.Clone(s.entries), func(e *entry) bool { return e.group != g })
}

func searchData(c *call, s *subscriber) reply {
	q := c.query
	var e *entry
	switch {
	case q.Get("data_id") != "":
		e = s.entryByID(q.Get("data_id"))
	case q.Get("group") != "" && q.Get("field") != "" && q.Get("value") != "":
		e = s.search(c.acc, q.Get("group"), q.Get("field"), q.Get("value"))
	default:
		return c.refuseOne("data_id", "Either data_id or group, field and value are needed.")
	}
	if e == nil {
		return c.noData()
	}
	return jsonReply(http.StatusOK, map[string]any{"data": e.json(nil)})
}

func deleteGroupData(c *call, s *subscriber) reply {
	g := c.acc.group(c.args[1])
	if g == nil {
		return c.noGroup()
	}
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool { return e.group == g })
	s.updated = c.now
	return noContent()
}
