package fakerule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dispatcherCampaign      = "campaign"
	dispatcherTransactional = "transactional"

	defaultPerPage = 15 // assumed: the framework's own default, low on purpose
	maxPerPage     = 100
)

// messageTypes are the channels of a suppression.
var messageTypes = []string{"email", "text_message"}

func routesV3() []route {
	return []route{
		handle("POST /v3/subscribers", postSubscriberV3),
		handle("POST /v3/subscribers/tags", bulkTags(true)),
		handle("DELETE /v3/subscribers/tags", bulkTags(false)),
		handle("POST /v3/subscribers/block", bulkStatus(statusBlocked)),
		handle("POST /v3/subscribers/unblock", bulkStatus(statusActive)),
		handle("DELETE /v3/subscribers/*", withSubscriber(deleteSubscriberV3)),
		handle("PUT /v3/subscribers/*/tags", withSubscriber(putTagsV3)),
		handle("DELETE /v3/subscribers/*/tags/*", withSubscriber(deleteTagV3)),
		handle("GET /v3/api-keys", listKeys),
		handle("POST /v3/api-keys", postKey),
		handle("PUT /v3/api-keys/*", putKey),
		handle("DELETE /v3/api-keys/*", deleteKey),
		handle("POST /v3/suppressions", bulkSuppress(true)),
		handle("DELETE /v3/suppressions", bulkSuppress(false)),
		handle("POST /v3/custom-field-data/*", withData(postData)),
		handle("PUT /v3/custom-field-data/*", withData(putData)),
		handle("GET /v3/custom-field-data/*", withData(listData)),
		handle("GET /v3/custom-field-data/*/search", withData(searchData)),
		handle("GET /v3/custom-field-data/*/group/*", withData(listGroupData)),
		handle("DELETE /v3/custom-field-data/*/group/*", withData(deleteGroupData)),
	}
}

// Subscribers

// postSubscriberV3 makes a subscriber. It is no upsert: somebody who exists is
// a 409 (the status is not documented).
func postSubscriberV3(c *call) reply {
	var in struct {
		Email            json.RawMessage `json:"email"`
		PhoneNumber      json.RawMessage `json:"phone_number"`
		CustomIdentifier json.RawMessage `json:"custom_identifier"`
		Status           json.RawMessage `json:"status"`
		Language         json.RawMessage `json:"language"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	who := readIdentity(p, "", in.Email, in.PhoneNumber)
	who.custom = text(p, "custom_identifier", in.CustomIdentifier)
	status := text(p, "status", in.Status)
	language := readLanguage(p, "language", in.Language)
	switch status {
	case "":
		status = statusActive
	case statusActive, statusBlocked, statusPending:
	default:
		p.add("status", "The status must be ACTIVE, BLOCKED or PENDING.")
	}
	if len(p) == 0 && who == (identity{}) {
		p.add("email", "One of email, phone_number and custom_identifier is needed.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	a := c.acc
	if a.byEmail[who.email] != 0 || a.byPhone[who.phone] != 0 || a.byCustom[who.custom] != 0 {
		return c.fail(http.StatusConflict, "Conflict", "Subscriber already exists")
	}
	s := a.add(who, cmp.Or(language, defaultLanguage), status, c.now)
	return jsonReply(http.StatusCreated, map[string]any{"data": map[string]any{
		// The phone is sent as phone_number and answered as phone.
		"id": s.id, "email": orNull(s.email), "phone": orNull(s.phone), "custom_identifier": orNull(s.custom),
		"account_id": a.id, "status": s.status, "language": s.language, "has_next_item": false,
		"created_at": stamp(s.created), "updated_at": stamp(s.updated),
	}})
}

func deleteSubscriberV3(c *call, s *subscriber) reply {
	c.acc.remove(s)
	return noContent()
}

// putTagsV3 tags at once: silently without automation, and with any automation
// a blocked subscriber is active again.
func putTagsV3(c *call, s *subscriber) reply {
	var in struct {
		Tags           json.RawMessage `json:"tags"`
		Automation     json.RawMessage `json:"automation"`
		SyncSubscriber json.RawMessage `json:"sync_subscriber"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	refs, unknown := c.readTags(p, "tags", in.Tags)
	mode := ""
	if string(in.Automation) == "false" {
		p.add("automation", "Must be send or force or reset.")
	} else {
		mode = readAutomation(p, in.Automation, "send", "force", "reset")
	}
	sync := flag(p, "sync_subscriber", in.SyncSubscriber)
	switch {
	case len(p) > 0:
		return c.refuse(p)
	case unknown:
		return c.noTag()
	}
	c.acc.addTags(s, refs, mode != "" && (sync == nil || *sync), mode, c.now)
	if mode != "" && s.status == statusBlocked {
		s.status = statusActive
	}
	return noContent()
}

func deleteTagV3(c *call, s *subscriber) reply {
	t := c.acc.tag(c.args[1])
	if t == nil {
		return c.noTag()
	}
	s.dropTag(t.id)
	s.updated = c.now
	return noContent()
}

// Bulk calls: answered at once, done later

// references checks the entries of a bulk call. Each result finds its
// subscriber when the work is done, nil if there is none then.
func (c *call) references(p problems, list []json.RawMessage) []func() *subscriber {
	if len(list) == 0 || len(list) > maxBatch {
		p.add("subscribers", fmt.Sprintf("Must be an array of 1 to %d subscribers.", maxBatch))
		return nil
	}
	found := make([]func() *subscriber, 0, len(list))
	acc := c.acc
	for i, raw := range list {
		by, x, ok := readReference(raw)
		if !ok || raw[0] != '{' {
			p.add(fmt.Sprintf("subscribers.%d", i), "Must have exactly one identifier.")
			continue
		}
		found = append(found, func() *subscriber { return acc.find(by, x) })
	}
	return found
}

// each does work for every subscriber of a bulk call once its delay is over.
func (c *call) each(found []func() *subscriber, do func(s *subscriber, at time.Time)) reply {
	c.acc.later(c.now, func(at time.Time) {
		for _, find := range found {
			if s := find(); s != nil {
				do(s, at)
			}
		}
	})
	return noContent()
}

// The callback_url of a bulk call is accepted and never called: what Rule sends
// there is not published.
type bulk struct {
	Subscribers  []json.RawMessage `json:"subscribers"`
	Tags         json.RawMessage   `json:"tags"`
	MessageTypes []string          `json:"message_types"`
}

func bulkTags(add bool) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		refs, unknown := c.readTags(p, "tags", in.Tags)
		switch {
		case len(p) > 0:
			return c.refuse(p)
		case unknown:
			return c.noTag()
		}
		acc := c.acc
		return c.each(found, func(s *subscriber, at time.Time) {
			if add {
				acc.addTags(s, refs, false, "", at)
				return
			}
			for _, ref := range refs {
				if t := acc.tagByName(ref.name); t != nil {
					s.dropTag(t.id)
					s.updated = at
				}
			}
		})
	}
}

func bulkStatus(status string) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		if len(p) > 0 {
			return c.refuse(p)
		}
		return c.each(found, func(s *subscriber, at time.Time) {
			if status == statusBlocked || s.status == statusBlocked {
				s.status = status
				s.updated = at
			}
		})
	}
}

// bulkSuppress suppresses marketing or lifts it. Lifting does not ask who
// suppressed: a customer's own choice goes with the rest, so callers have to be
// careful.
func bulkSuppress(on bool) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		messages := in.MessageTypes
		if len(messages) == 0 {
			messages = messageTypes
		}
		if slices.ContainsFunc(messages, func(t string) bool { return !slices.Contains(messageTypes, t) }) {
			p.add("message_types", "The message types are email and text_message.")
		}
		if len(p) > 0 {
			return c.refuse(p)
		}
		acc := c.acc
		return c.each(found, func(s *subscriber, at time.Time) {
			for _, m := range messages {
				if on {
					acc.suppress(s, dispatcherCampaign, m, "api", at)
				} else {
					s.lift(dispatcherCampaign, m)
				}
			}
		})
	}
}

// Custom field data

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
