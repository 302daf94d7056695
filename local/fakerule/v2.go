package fakerule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	maxBatch = 1000 // subscribers in one call
	maxLimit = 100  // items of a v2 list page
	// fireBelow is the number of subscribers in a call below which automations
	// fire by themselves; fireAtMost is how many fire when the call asks for it.
	fireBelow, fireAtMost = 20, 100
)

func routesV2() []route {
	return []route{
		handle("POST /v2/subscribers", postSubscribers),
		handle("GET /v2/subscribers", listSubscribers),
		handle("DELETE /v2/subscribers", deleteSubscribers),
		handle("GET /v2/subscribers/*", withSubscriber(getSubscriber)),
		handle("PUT /v2/subscribers/*", putSubscriber),
		handle("DELETE /v2/subscribers/*", withSubscriber(deleteSubscriber)),
		handle("GET /v2/subscriber/*/fields", withSubscriber(getFields)),
		handle("POST /v2/subscribers/*/tags", withSubscriber(postTags)),
		handle("GET /v2/subscribers/*/tags", withSubscriber(getTags)),
		handle("DELETE /v2/subscribers/*/tags/clear", withSubscriber(clearTags)),
		handle("DELETE /v2/subscribers/*/tags/*", withSubscriber(deleteTag)),
		handle("GET /v2/tags", listTags),
		handle("GET /v2/tags/*", withTag(showTag)),
		handle("PUT /v2/tags/*", withTag(renameTag)),
		handle("DELETE /v2/tags/*", withTag(removeTag)),
		handle("DELETE /v2/tags/*/clear", withTag(emptyTag)),
		handle("POST /v2/customizations", postCustomizations),
		handle("GET /v2/customizations", listCustomizations),
		handle("GET /v2/customizations/*", getCustomization),
		handle("POST /v2/suppressions", postSuppressionsV2),
		handle("GET /v2/suppressions", listSuppressions),
		handle("DELETE /v2/suppressions/*", withSubscriber(deleteSuppressionsV2)),
		handle("GET /v2/segments", listSegments),
		handle("GET /v2/sender/details", getSenderDetails),
		handle("GET /v2/preference-groups", listPreferenceGroups),
		handle("GET /v2/subscriber/*/preference_group/*", withSubscriber(getPreferences)),
		handle("PATCH /v2/subscriber/*/preference_group/*", withSubscriber(patchPreferences)),
	}
}

var success = map[string]string{"message": "Success"}

// withSubscriber finds the subscriber that the path and identified_by name.
func withSubscriber(h func(*call, *subscriber) reply) func(*call) reply {
	return func(c *call) reply {
		by := c.query.Get("identified_by")
		switch by {
		case "":
			by = "email"
		case "email", "phone_number", "id", "custom_identifier":
		default:
			return c.refuseOne("identified_by", "Must be email, phone_number, id or custom_identifier.")
		}
		s := c.acc.find(by, c.args[0])
		if s == nil {
			return c.noSubscriber()
		}
		return h(c, s)
	}
}

// flag reads an optional boolean; absent and null are nil.
func flag(p problems, member string, raw json.RawMessage) *bool {
	var b *bool
	if len(raw) > 0 && json.Unmarshal(raw, &b) != nil {
		p.add(member, "Must be true or false.")
		return nil
	}
	return b
}

// text reads an optional string; absent, null and empty are "".
func text(p problems, member string, raw json.RawMessage) string {
	var s *string
	if len(raw) > 0 && json.Unmarshal(raw, &s) != nil {
		p.add(member, "Must be a string.")
	}
	if s == nil {
		return ""
	}
	return *s
}

// readIdentity reads the members that say who a subscriber is; prefix is the
// path to them.
func readIdentity(p problems, prefix string, email, phone json.RawMessage) identity {
	var who identity
	var ok bool
	if e := text(p, prefix+"email", email); e != "" {
		if who.email, ok = normalEmail(e); !ok {
			p.add(prefix+"email", "The email must be a valid email address.")
		}
	}
	if n := text(p, prefix+"phone_number", phone); n != "" {
		if who.phone, ok = normalPhone(n); !ok {
			p.add(prefix+"phone_number", "The phone number is not valid.")
		}
	}
	return who
}

func readLanguage(p problems, member string, raw json.RawMessage) string {
	l := text(p, member, raw)
	if l == "" {
		return ""
	}
	l, ok := normalLanguage(l)
	if !ok {
		p.add(member, "The language must be an ISO 639-1 code.")
	}
	return l
}

// types remembers which types a call gives to fields that do not exist yet, so
// that a call cannot contradict itself.
type types map[[2]string]string

// readFields reads v2's array of {key, value, type}, or an object with numeric
// keys in its place.
func (c *call) readFields(p problems, member string, raw json.RawMessage, known types) []write {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var list []struct{ Key, Value, Type json.RawMessage }
	if json.Unmarshal(numbered(raw), &list) != nil {
		p.add(member, "Must be an array of objects with key, value and type.")
		return nil
	}
	writes := make([]write, 0, len(list))
	for i, in := range list {
		at := fmt.Sprintf("%s.%d", member, i)
		g, f, ok := readKey(p, at+".key", in.Key)
		if !ok {
			continue
		}
		typ, ok := c.readType(p, at+".type", text(p, at+".type", in.Type), g, f, known)
		if !ok {
			continue
		}
		if typ == "single" {
			typ = "text"
		}
		data, size, message := checkValue(typ, in.Value, false)
		if message != "" {
			p.add(at+".value", message)
			continue
		}
		writes = append(writes, write{group: g, field: f, typ: typ, data: data, size: size})
	}
	for _, g := range tooLong(writes) {
		p.add(member, fmt.Sprintf("The values of group %s are longer than %d characters.", g, maxGroup))
	}
	return writes
}

// readKey takes a key apart. Which characters Rule reserves is not published;
// control characters and outer spaces are refused (assumed).
func readKey(p problems, member string, raw json.RawMessage) (g, f string, ok bool) {
	key := text(p, member, raw)
	g, f, _ = strings.Cut(key, ".")
	switch {
	case strings.Count(key, ".") != 1 || g == "" || f == "":
		p.add(member, "The key must be Group.Field with exactly one dot.")
		return "", "", false
	case strings.TrimSpace(g) != g || strings.TrimSpace(f) != f || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		p.add(member, "There are reserved characters in the key.")
		return "", "", false
	}
	return g, f, true
}

// readType finds the type of a field: what the request says, else what the
// field has, else text. A field's type is fixed by its first creation.
func (c *call) readType(p problems, member, said, g, f string, known types) (string, bool) {
	has := cmp.Or(c.acc.fieldType(g, f), known[[2]string{g, f}])
	switch said {
	case "":
		said = cmp.Or(has, "text")
	case "text", "multiple", "json", "date", "datetime", "time":
	default:
		p.add(member, "The type must be text, multiple, json, date, datetime or time.")
		return "", false
	}
	if has != "" && has != said && !sameType(has, said) {
		p.add(member, fmt.Sprintf("The field %s.%s exists with type %s.", g, f, has))
		return "", false
	}
	known[[2]string{g, f}] = said
	return said, true
}

// readTags reads an array of tag names and ids. unknown is set for an id that
// does not exist; a string of digits is an id.
func (c *call) readTags(p problems, member string, raw json.RawMessage) (refs []tagRef, unknown bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		p.add(member, "Must be an array that is not empty.")
		return nil, false
	}
	for i, x := range list {
		at := fmt.Sprintf("%s.%d", member, i)
		name := string(x)
		if x[0] == '"' {
			name = strings.TrimSpace(text(p, at, x))
		} else if _, ok := number(name); !ok {
			name = ""
		}
		if name == "" {
			p.add(at, "Must be a tag's name or id.")
			continue
		}
		ref := tagRef{name: name}
		id, digits := number(name)
		if t := c.acc.tag(name); t != nil {
			ref = tagRef{id: t.id, name: t.name}
		} else if digits {
			unknown = true
			ref = tagRef{id: id}
		}
		if slices.Contains(refs, ref) {
			p.add(at, "The tag is there twice.")
			continue
		}
		refs = append(refs, ref)
	}
	return refs, unknown
}

// readAutomation reads the mode in which tags fire for subscribers that have
// them already; false and absent are "".
func readAutomation(p problems, raw json.RawMessage, allowed ...string) string {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "false" {
		return ""
	}
	var mode string
	if json.Unmarshal(raw, &mode) != nil || !slices.Contains(allowed, mode) {
		p.add("automation", "Must be "+strings.Join(allowed, " or ")+".")
		return ""
	}
	return mode
}
