package fakerule

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

func postTags(c *call, s *subscriber) reply {
	var in struct{ Tags, Automation json.RawMessage }
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	refs, unknown := c.readTags(p, "tags", in.Tags)
	mode := readAutomation(p, in.Automation, "reset", "force")
	switch {
	case len(p) > 0:
		return c.refuse(p)
	case unknown:
		return c.noTag()
	}
	c.acc.addTags(s, refs, true, mode, c.now)
	return jsonReply(http.StatusOK, success)
}

func getTags(c *call, s *subscriber) reply {
	return jsonReply(http.StatusOK, map[string]any{"tags": c.acc.tagsJSON(s)})
}

func clearTags(c *call, s *subscriber) reply {
	s.tags = nil
	s.updated = c.now
	return jsonReply(http.StatusOK, success)
}

// deleteTag is idempotent for a tag that exists in the account.
func deleteTag(c *call, s *subscriber) reply {
	t := c.acc.tag(c.args[1])
	if t == nil {
		return c.noTag()
	}
	s.dropTag(t.id)
	s.updated = c.now
	return jsonReply(http.StatusOK, success)
}

// Tags of the account

func (t *tag) json() map[string]any {
	return map[string]any{
		"id": t.id, "name": t.name, "description": orNull(t.description),
		"created_at": stampV2(t.created), "updated_at": stampV2(t.updated),
	}
}

func listTags(c *call) reply {
	from, to, meta, refused := c.page(len(c.acc.tags))
	if refused != nil {
		return *refused
	}
	list := make([]any, 0, to-from)
	for _, t := range c.acc.tags[from:to] {
		list = append(list, t.json())
	}
	return jsonReply(http.StatusOK, map[string]any{"tags": list, "meta": meta})
}

func withTag(h func(*call, *tag) reply) func(*call) reply {
	return func(c *call) reply {
		var t *tag
		switch c.query.Get("identified_by") {
		case "":
			t = c.acc.tag(c.args[0])
		case "id":
			id, _ := number(c.args[0])
			t = c.acc.tagByID(id)
		case "name":
			t = c.acc.tagByName(c.args[0])
		default:
			return c.refuseOne("identified_by", "Must be id or name.")
		}
		if t == nil {
			return c.noTag()
		}
		return h(c, t)
	}
}

func showTag(c *call, t *tag) reply {
	out := t.json()
	if c.query.Get("with_count") == "true" {
		delete(out, "created_at")
		delete(out, "updated_at")
		n := 0
		for _, s := range c.acc.subscribers {
			if slices.Contains(s.tags, t.id) {
				n++
			}
		}
		out["recipient_count"] = n
	}
	return jsonReply(http.StatusOK, out)
}

func renameTag(c *call, t *tag) reply {
	var in struct{ Name, Description json.RawMessage }
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	name, description := strings.TrimSpace(text(p, "name", in.Name)), text(p, "description", in.Description)
	if len(in.Name) > 0 && name == "" {
		p.add("name", "Must not be empty.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	if other := c.acc.tagByName(name); other != nil && other != t {
		return c.fail(http.StatusConflict, "DuplicateTag", "Tag already exists")
	}
	if name != "" {
		t.name = name
	}
	if len(in.Description) > 0 {
		t.description = description
	}
	t.updated = c.now
	return jsonReply(http.StatusOK, t.json())
}

func removeTag(c *call, t *tag) reply {
	for _, s := range c.acc.subscribers {
		s.dropTag(t.id)
	}
	c.acc.tags = slices.DeleteFunc(c.acc.tags, func(x *tag) bool { return x == t })
	return jsonReply(http.StatusOK, success)
}

func emptyTag(c *call, t *tag) reply {
	for _, s := range c.acc.subscribers {
		s.dropTag(t.id)
	}
	return jsonReply(http.StatusOK, success)
}
