package fakerule

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// postCustomizations makes groups and fields. It cannot make a group
// historical.
func postCustomizations(c *call) reply {
	var in struct{ Fields json.RawMessage }
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	var list []struct{ Key, Type json.RawMessage }
	if json.Unmarshal(in.Fields, &list) != nil || len(list) == 0 {
		return c.refuseOne("fields", "Must be an array of objects with key and type.")
	}
	p := problems{}
	known := types{}
	type made struct{ group, field, typ string }
	var all []made
	for i, f := range list {
		at := fmt.Sprintf("fields.%d", i)
		g, name, ok := readKey(p, at+".key", f.Key)
		if !ok {
			continue
		}
		said := text(p, at+".type", f.Type)
		if said == "single" {
			if has := c.acc.fieldType(g, name); has != "" && has != said {
				p.add(at+".type", fmt.Sprintf("The field %s.%s exists with type %s.", g, name, has))
				continue
			}
			all = append(all, made{g, name, said})
			continue
		}
		typ, ok := c.readType(p, at+".type", said, g, name, known)
		if !ok {
			continue
		}
		all = append(all, made{g, name, typ})
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, m := range all {
		c.acc.ensureField(c.acc.ensureGroup(m.group, false, c.now), m.field, m.typ, c.now)
	}
	return jsonReply(http.StatusOK, map[string]string{"message": "success"})
}

// fieldType is the type of a field, "" if it does not exist.
func (a *account) fieldType(g, f string) string {
	gr := a.groupByName(g)
	if gr == nil {
		return ""
	}
	fd := gr.fieldByName(f)
	if fd == nil {
		return ""
	}
	return fd.typ
}

func (g *group) json() map[string]any {
	fields := make([]any, 0, len(g.fields))
	for _, f := range g.fields {
		fields = append(fields, map[string]any{"id": f.id, "name": f.name, "type": f.typ})
	}
	return map[string]any{
		"id": g.id, "name": g.name, "created_at": stampV2(g.created), "updated_at": stampV2(g.updated), "fields": fields,
	}
}

func listCustomizations(c *call) reply {
	from, to, meta, refused := c.page(len(c.acc.groups))
	if refused != nil {
		return *refused
	}
	list := make([]any, 0, to-from)
	for _, g := range c.acc.groups[from:to] {
		list = append(list, g.json())
	}
	return jsonReply(http.StatusOK, map[string]any{"groups": list, "meta": meta})
}

func getCustomization(c *call) reply {
	g := c.acc.group(c.args[0])
	if g == nil {
		return c.noGroup()
	}
	return jsonReply(http.StatusOK, g.json())
}

func (c *call) noGroup() reply {
	return c.fail(http.StatusNotFound, "GroupNotFound", "Could not find group")
}
