package fakerule

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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

// readFields reads v2's array of {key, value, type}.
func (c *call) readFields(p problems, member string, raw json.RawMessage, known types) []write {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var list []struct{ Key, Value, Type json.RawMessage }
	if json.Unmarshal(raw, &list) != nil {
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

// One checked entry of POST /v2/subscribers.
type upsert struct {
	who      identity
	language string
	writes   []write
}

// A batch is a checked POST /v2/subscribers.
type batch struct {
	entries  []upsert
	tags     []tagRef
	update   bool
	clear    bool
	optIn    bool
	mode     string
	sync     *bool
	language string
}

// outcome counts what a batch did.
type outcome struct {
	subscribers      []*subscriber
	created, updated int
}

func postSubscribers(c *call) reply {
	var in struct {
		Subscribers       json.RawMessage `json:"subscribers"`
		Tags              json.RawMessage `json:"tags"`
		UpdateOnDuplicate json.RawMessage `json:"update_on_duplicate"`
		Automation        json.RawMessage `json:"automation"`
		SyncSubscribers   json.RawMessage `json:"sync_subscribers"`
		FieldsClear       json.RawMessage `json:"fields_clear"`
		RequireOptIn      json.RawMessage `json:"require_opt_in"`
		Language          json.RawMessage `json:"language"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	var list []json.RawMessage
	single := len(in.Subscribers) > 0 && in.Subscribers[0] == '{'
	switch {
	case single:
		list = []json.RawMessage{in.Subscribers}
	case json.Unmarshal(in.Subscribers, &list) != nil || len(list) == 0:
		return c.refuseOne("subscribers", "Must be an object or an array that is not empty.")
	case len(list) > maxBatch:
		return c.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", fmt.Sprintf("At most %d subscribers in one call.", maxBatch))
	}
	isSet := func(b *bool) bool { return b != nil && *b }
	b := batch{
		update:   isSet(flag(p, "update_on_duplicate", in.UpdateOnDuplicate)),
		clear:    isSet(flag(p, "fields_clear", in.FieldsClear)),
		optIn:    isSet(flag(p, "require_opt_in", in.RequireOptIn)),
		mode:     readAutomation(p, in.Automation, "reset", "force"),
		sync:     flag(p, "sync_subscribers", in.SyncSubscribers),
		language: readLanguage(p, "language", in.Language),
	}
	unknownTag := false
	if len(in.Tags) > 0 {
		b.tags, unknownTag = c.readTags(p, "tags", in.Tags)
	}
	known := types{}
	for i, raw := range list {
		prefix := ""
		if !single {
			prefix = fmt.Sprintf("subscribers.%d.", i)
		}
		b.entries = append(b.entries, c.readUpsert(p, prefix, raw, known))
	}
	switch {
	case len(p) > 0:
		return c.refuse(p)
	case unknownTag:
		return c.noTag()
	case len(list) > c.srv.opt.AsyncAbove:
		acc := c.acc
		acc.later(c.now, func(at time.Time) { acc.apply(b, at) })
		return jsonReply(http.StatusOK, map[string]any{"success": true, "message": "Success"})
	}
	foreseen := c.acc.plan()
	for _, e := range b.entries {
		exists, clash := foreseen.upsert(e.who)
		switch {
		case clash:
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Email and phone number belong to different subscribers")
		case exists && !b.update:
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Subscriber already exists")
		}
	}
	done := c.acc.apply(b, c.now)
	var suppressed []any
	seen := map[int64]bool{}
	for _, s := range done.subscribers {
		if !seen[s.id] {
			suppressed = append(suppressed, s.suppressionsJSON(true)...)
		}
		seen[s.id] = true
	}
	if single {
		out := map[string]any{"message": "Success", "subscriber": c.acc.subscriberJSON(done.subscribers[0])}
		if len(suppressed) > 0 {
			out["suppressed"] = suppressed
		}
		return jsonReply(http.StatusOK, out)
	}
	shown, held := make([]any, 0, len(done.subscribers)), 0
	for _, s := range done.subscribers {
		shown = append(shown, c.acc.subscriberJSON(s))
		if len(s.suppressions) > 0 {
			held++
		}
	}
	out := map[string]any{"success": true, "message": "Success"}
	with := c.srv.opt.BatchAnswer
	if with == BatchInFull || with == BatchCounts {
		out["subscribers_created"], out["subscribers_updated"], out["subscribers_suppressed"] = done.created, done.updated, held
	}
	if with == BatchSubscribers {
		slices.Reverse(shown)
	}
	if with == BatchInFull || with == BatchSubscribers {
		out["subscribers"] = shown
	}
	if len(suppressed) > 0 && with == BatchInFull {
		out["suppressed"] = suppressed
	}
	return jsonReply(http.StatusOK, out)
}

func (c *call) readUpsert(p problems, prefix string, raw json.RawMessage, known types) upsert {
	var in struct {
		Email       json.RawMessage `json:"email"`
		PhoneNumber json.RawMessage `json:"phone_number"`
		Language    json.RawMessage `json:"language"`
		Fields      json.RawMessage `json:"fields"`
	}
	if raw[0] != '{' || json.Unmarshal(raw, &in) != nil {
		p.add(strings.TrimSuffix(prefix, "."), "Must be an object.")
		return upsert{}
	}
	before := len(p)
	e := upsert{who: readIdentity(p, prefix, in.Email, in.PhoneNumber)}
	if len(p) == before && e.who == (identity{}) {
		p.add(prefix+"email", "An email or a phone number is needed.")
	}
	e.language = readLanguage(p, prefix+"language", in.Language)
	e.writes = c.readFields(p, prefix+"fields", in.Fields, known)
	return e
}

func (c *call) noTag() reply {
	return c.fail(http.StatusNotFound, "TagNotFound", "Could not find tag")
}

// apply writes a batch. An entry that cannot be written by now, because of what
// came between, is left out: nobody is waiting for its answer any more.
func (a *account) apply(b batch, at time.Time) outcome {
	var done outcome
	for i, e := range b.entries {
		s, clash := a.match(e.who)
		if clash || (s != nil && !b.update) {
			continue
		}
		language := cmp.Or(e.language, b.language)
		if s == nil {
			status := statusActive
			if b.optIn {
				status = statusPending
			}
			s = a.add(e.who, cmp.Or(language, defaultLanguage), status, at)
			done.created++
		} else {
			a.identify(s, e.who)
			if language != "" {
				s.language = language
			}
			s.updated = at
			done.updated++
		}
		if b.clear {
			s.entries = nil // the entries of historical groups too
		}
		a.write(s, e.writes, at)
		fire := len(b.entries) < fireBelow
		if b.sync != nil {
			fire = *b.sync && i < fireAtMost
		}
		a.addTags(s, b.tags, fire, b.mode, at)
		done.subscribers = append(done.subscribers, s)
	}
	return done
}

// Reading

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (a *account) tagsJSON(s *subscriber) []any {
	list := make([]any, 0, len(s.tags))
	for _, id := range s.tags {
		list = append(list, map[string]any{"id": id, "name": a.tagByID(id).name})
	}
	return list
}

func (s *subscriber) suppressionsJSON(withSubscriber bool) []any {
	list := make([]any, 0, len(s.suppressions))
	for _, x := range s.suppressions {
		m := map[string]any{
			"id": x.id, "created_at": stamp(x.created), "dispatcher_type": x.dispatcher,
			"message_type": x.message, "suppressed_source_type": x.source,
		}
		if withSubscriber {
			m["subscriber"] = map[string]any{"id": s.id, "email": orNull(s.email), "phone_number": orNull(s.phone)}
		}
		list = append(list, m)
	}
	return list
}

func (a *account) subscriberJSON(s *subscriber) map[string]any {
	return map[string]any{
		"id": s.id, "email": orNull(s.email), "phone_number": orNull(s.phone), "custom_identifier": orNull(s.custom),
		"language": s.language, "opted_in": s.status != statusPending, "created_at": stamp(s.created),
		"updated_at": stamp(s.updated), "tags": a.tagsJSON(s), "suppressed": s.suppressionsJSON(false), "syncAtSegments": []any{},
	}
}

func getSubscriber(c *call, s *subscriber) reply {
	return jsonReply(http.StatusOK, map[string]any{"subscriber": c.acc.subscriberJSON(s)})
}

// page reads limit and page, and returns the slice of a list of n items with
// the link to the next page. The link holds the API key if the request had it
// in its query, as Rule's does.
func (c *call) page(n int) (from, to int, meta any, refused *reply) {
	read := func(name string, def int) (int, bool) {
		if !c.query.Has(name) {
			return def, true
		}
		x, err := strconv.Atoi(c.query.Get(name))
		return x, err == nil && x >= 1
	}
	limit, ok := read("limit", maxLimit)
	page, ok2 := read("page", 1)
	var rep reply
	switch {
	case !ok:
		rep = c.refuseOne("limit", "Must be a positive number.")
		return 0, 0, nil, &rep
	case !ok2:
		rep = c.refuseOne("page", "Must be a positive number.")
		return 0, 0, nil, &rep
	case limit > maxLimit:
		rep = c.fail(http.StatusBadRequest, "LimitExceed", "Limit can't exceed 100.")
		return 0, 0, nil, &rep
	}
	from, to = window(n, page, limit)
	var next any
	if to < n && to > from {
		u := url.URL{Scheme: "http", Host: c.r.Host, Path: c.r.URL.Path}
		if c.r.TLS != nil {
			u.Scheme = "https"
		}
		q := url.Values{"limit": {strconv.Itoa(limit)}, "page": {strconv.Itoa(page + 1)}}
		if key := c.query.Get("apikey"); key != "" {
			q.Set("apikey", key)
		}
		u.RawQuery = q.Encode()
		next = u.String()
	}
	return from, to, map[string]any{"next": next}, nil
}

// window returns the bounds of a page, empty ones behind the end.
func window(n, page, size int) (from, to int) {
	if page-1 > n/size { // also keeps the product below from overflowing
		return n, n
	}
	from = min((page-1)*size, n)
	return from, min(from+size, n)
}

func listSubscribers(c *call) reply {
	all := c.acc.sorted()
	from, to, meta, refused := c.page(len(all))
	if refused != nil {
		return *refused
	}
	list := make([]any, 0, to-from)
	for _, s := range all[from:to] {
		m := c.acc.subscriberJSON(s)
		m["suppressed"] = len(s.suppressions) > 0
		delete(m, "syncAtSegments")
		list = append(list, m)
	}
	return jsonReply(http.StatusOK, map[string]any{"subscribers": list, "meta": meta})
}

// getFields shows every group in which the subscriber has something. Of a
// historical group it shows the newest entry alone (assumed).
func getFields(c *call, s *subscriber) reply {
	groups := []any{}
	for _, g := range c.acc.groups {
		e := s.newest(g)
		if e == nil {
			continue
		}
		fields := make([]any, 0, len(e.values))
		for _, v := range e.values {
			fields = append(fields, map[string]any{"id": v.field.id, "name": v.field.name, "type": v.field.typ, "value": plain(v.data)})
		}
		groups = append(groups, map[string]any{"id": g.id, "name": g.name, "historical": g.historical, "fields": fields})
	}
	return jsonReply(http.StatusOK, map[string]any{"groups": groups})
}

// Changing one subscriber

func putSubscriber(c *call) reply {
	s := c.acc.find("id", c.args[0])
	if s == nil {
		return c.noSubscriber()
	}
	var in struct {
		Email       json.RawMessage `json:"email"`
		PhoneNumber json.RawMessage `json:"phone_number"`
		Language    json.RawMessage `json:"language"`
		Fields      json.RawMessage `json:"fields"`
		Tags        json.RawMessage `json:"tags"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	who := readIdentity(p, "", in.Email, in.PhoneNumber)
	language := readLanguage(p, "language", in.Language)
	writes := c.readFields(p, "fields", in.Fields, types{})
	var refs []tagRef
	unknownTag := false
	if len(in.Tags) > 0 {
		refs, unknownTag = c.readTags(p, "tags", in.Tags)
	}
	// Null or an empty string takes an identifier away, except for the last
	// one (assumed).
	noEmail := len(p) == 0 && len(in.Email) > 0 && who.email == ""
	noPhone := len(p) == 0 && len(in.PhoneNumber) > 0 && who.phone == ""
	left := identity{email: s.email, phone: s.phone, custom: s.custom}
	if noEmail || who.email != "" {
		left.email = who.email
	}
	if noPhone || who.phone != "" {
		left.phone = who.phone
	}
	if len(p) == 0 && left == (identity{}) {
		p.add("email", "An email or a phone number is needed.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	if unknownTag {
		return c.noTag()
	}
	for _, other := range []int64{c.acc.byEmail[who.email], c.acc.byPhone[who.phone]} {
		if other != 0 && other != s.id {
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Subscriber already exists")
		}
	}
	if noEmail {
		delete(c.acc.byEmail, s.email)
		s.email = ""
	}
	if noPhone {
		delete(c.acc.byPhone, s.phone)
		s.phone = ""
	}
	c.acc.identify(s, who)
	if language != "" {
		s.language = language
	}
	s.updated = c.now
	c.acc.write(s, writes, c.now)
	c.acc.addTags(s, refs, true, "", c.now)
	return getSubscriber(c, s)
}

func deleteSubscriber(c *call, s *subscriber) reply {
	c.acc.remove(s)
	return jsonReply(http.StatusOK, success)
}

// deleteSubscribers takes objects with one identifier, bare emails and bare
// ids; whoever does not exist is passed over.
func deleteSubscribers(c *call) reply {
	var in struct {
		Subscribers []json.RawMessage `json:"subscribers"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	var found []*subscriber
	if len(in.Subscribers) == 0 || len(in.Subscribers) > maxBatch {
		p.add("subscribers", fmt.Sprintf("Must be an array of 1 to %d subscribers.", maxBatch))
	}
	for i, raw := range in.Subscribers {
		by, x, ok := readReference(raw)
		if !ok {
			p.add(fmt.Sprintf("subscribers.%d", i), "Must have exactly one identifier.")
			continue
		}
		if s := c.acc.find(by, x); s != nil {
			found = append(found, s)
		}
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, s := range found {
		c.acc.remove(s)
	}
	return jsonReply(http.StatusOK, success)
}

// readReference reads one entry of a bulk call: an object with exactly one
// identifier, or for short an email or an id.
func readReference(raw json.RawMessage) (by, x string, ok bool) {
	members := map[string]json.RawMessage{}
	switch {
	case raw[0] == '"':
		members["email"] = raw
	case raw[0] != '{':
		members["id"] = raw
	case json.Unmarshal(raw, &members) != nil:
		return "", "", false
	}
	for _, name := range []string{"id", "email", "phone_number", "custom_identifier"} {
		value, has := members[name]
		if !has || string(value) == "null" {
			continue
		}
		if by != "" {
			return "", "", false
		}
		by = name
		if json.Unmarshal(value, &x) != nil {
			x = string(bytes.TrimSpace(value))
			if _, digits := number(x); name != "id" || !digits {
				return "", "", false
			}
		}
	}
	return by, x, by != "" && x != ""
}

// Tags of a subscriber

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
		"created_at": stamp(t.created), "updated_at": stamp(t.updated),
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

// The schema of custom fields

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
		"id": g.id, "name": g.name, "created_at": stamp(g.created), "updated_at": stamp(g.updated), "fields": fields,
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

// Suppressions

// postSuppressionsV2 suppresses at once; whoever does not exist is passed over.
// Without suppress_on it is every campaign channel.
func postSuppressionsV2(c *call) reply {
	var in struct {
		Subscribers []json.RawMessage `json:"subscribers"`
		SuppressOn  *struct {
			Campaign    []string `json:"campaign"`
			Transaction []string `json:"transaction"`
		} `json:"suppress_on"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	on := map[string][]string{dispatcherCampaign: messageTypes}
	if in.SuppressOn != nil {
		on = map[string][]string{dispatcherCampaign: in.SuppressOn.Campaign, dispatcherTransactional: in.SuppressOn.Transaction}
	}
	for _, list := range on {
		if slices.ContainsFunc(list, func(t string) bool { return !slices.Contains(messageTypes, t) }) {
			p.add("suppress_on", "The message types are email and text_message.")
		}
	}
	found := c.references(p, in.Subscribers)
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, find := range found {
		s := find()
		if s == nil {
			continue
		}
		for _, dispatcher := range []string{dispatcherCampaign, dispatcherTransactional} {
			for _, message := range on[dispatcher] {
				c.acc.suppress(s, dispatcher, message, "api", c.now)
			}
		}
	}
	return jsonReply(http.StatusOK, success)
}

func listSuppressions(c *call) reply {
	var all []any
	for _, s := range c.acc.sorted() {
		all = append(all, s.suppressionsJSON(true)...)
	}
	from, to, meta, refused := c.page(len(all))
	if refused != nil {
		return *refused
	}
	list := append([]any{}, all[from:to]...)
	return jsonReply(http.StatusOK, map[string]any{"suppressions": list, "meta": meta})
}

// deleteSuppressionsV2 lifts by dispatcher and message type whoever suppressed.
// The dispatcher is called transaction here and transactional in answers.
func deleteSuppressionsV2(c *call, s *subscriber) reply {
	dispatcher, message := c.query.Get("dispatcher_type"), c.query.Get("message_type")
	p := problems{}
	switch dispatcher {
	case "", dispatcherCampaign:
	case "transaction":
		dispatcher = dispatcherTransactional
	default:
		p.add("dispatcher_type", "Must be campaign or transaction.")
	}
	if message != "" && !slices.Contains(messageTypes, message) {
		p.add("message_type", "Must be email or text_message.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	s.lift(dispatcher, message)
	return jsonReply(http.StatusOK, success)
}

// Preferences

func (c *call) noPreferences() reply {
	return c.fail(http.StatusNotFound, "NotFound", "Preferences are not enabled for this account.")
}

func listPreferenceGroups(c *call) reply {
	if len(c.acc.preferences) == 0 {
		return c.noPreferences()
	}
	list := make([]any, 0, len(c.acc.preferences))
	for _, g := range c.acc.preferences {
		list = append(list, map[string]any{"id": g.ID, "account_id": c.acc.id, "name": g.Name, "preferences": g.Preferences})
	}
	return jsonReply(http.StatusOK, list)
}

func (c *call) preferenceGroup() (PreferenceGroup, bool) {
	id, _ := number(c.args[1])
	i := slices.IndexFunc(c.acc.preferences, func(g PreferenceGroup) bool { return g.ID == id })
	if i < 0 {
		return PreferenceGroup{}, false
	}
	return c.acc.preferences[i], true
}

func getPreferences(c *call, s *subscriber) reply {
	g, ok := c.preferenceGroup()
	if !ok {
		return c.noPreferences()
	}
	list := make([]any, 0, len(g.Preferences))
	for _, p := range g.Preferences {
		in, chosen := s.choices[p.ID]
		if !chosen {
			in = p.FallbackOptIn
		}
		list = append(list, map[string]any{"preference_id": p.ID, "name": p.Name, "is_opted_in": in})
	}
	return jsonReply(http.StatusOK, map[string]any{"id": g.ID, "name": g.Name, "preferences": list})
}

func patchPreferences(c *call, s *subscriber) reply {
	g, ok := c.preferenceGroup()
	if !ok {
		return c.noPreferences()
	}
	if s.status == statusPending {
		return c.fail(http.StatusBadRequest, "BadRequest", "Preferences cannot be changed for a pending subscriber.")
	}
	var in struct {
		Preferences []struct {
			ID json.RawMessage `json:"preference_id"`
			In json.RawMessage `json:"is_opted_in"`
		} `json:"preferences"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	if len(in.Preferences) == 0 {
		p.add("preferences", "Must be an array that is not empty.")
	}
	choices := map[int64]bool{}
	for i, x := range in.Preferences {
		at := fmt.Sprintf("preferences.%d", i)
		id, _ := number(string(x.ID))
		if !slices.ContainsFunc(g.Preferences, func(p Preference) bool { return p.ID == id }) {
			p.add(at+".preference_id", "There is no such preference in this group.")
			continue
		}
		opted := flag(p, at+".is_opted_in", x.In)
		if opted == nil {
			p.add(at+".is_opted_in", "Must be true or false.")
			continue
		}
		choices[id] = *opted
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for id, in := range choices {
		s.choices[id] = in
	}
	s.updated = c.now
	return getPreferences(c, s)
}
