package rule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sitoo-rule/shared/fault"
)

// Identifier names a subscriber.
type Identifier struct{ by, value string }

// ByID names a subscriber by Rule's numeric id.
func ByID(id int64) Identifier { return Identifier{"id", strconv.FormatInt(id, 10)} }

// ByEmail names a subscriber by the whole email address.
func ByEmail(email string) Identifier { return Identifier{"email", email} }

// ByPhone names a subscriber by phone number, in E.164.
func ByPhone(e164 string) Identifier { return Identifier{"phone_number", e164} }

func (i Identifier) path(format string) string {
	// QueryEscape, since Rule wants "+" and "@" escaped in a path as well.
	return fmt.Sprintf(format, strings.ReplaceAll(url.QueryEscape(i.value), "+", "%20"))
}

func (i Identifier) query() url.Values { return url.Values{"identified_by": {i.by}} }

// Subscriber is a person in Rule.
type Subscriber struct {
	ID         int64
	Email      string // "" if none
	Phone      string // E.164, "" if none
	OptedIn    bool
	Tags       []string
	Suppressed []Suppression // of an answer that says only "yes", every channel, without a source
}

// Suppression says that Rule does not send a kind of message to a subscriber.
type Suppression struct {
	Dispatcher string // "campaign" or "transactional"
	Message    string // "email" or "text_message"
	Source     string // who set it: "user", "admin", "spam", "api", …
}

// UnmarshalJSON reads the shapes that v2 and v3 use: phone or phone_number,
// suppressed as a list, an object or a bool, tags as a list, an object or null,
// ids as numbers or strings.
func (s *Subscriber) UnmarshalJSON(b []byte) error {
	var w struct {
		ID          json.RawMessage `json:"id"`
		Email       json.RawMessage `json:"email"`
		PhoneNumber json.RawMessage `json:"phone_number"`
		Phone       json.RawMessage `json:"phone"`
		OptedIn     json.RawMessage `json:"opted_in"`
		Tags        json.RawMessage `json:"tags"`
		Suppressed  json.RawMessage `json:"suppressed"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*s = Subscriber{OptedIn: true}
	if len(w.ID) > 0 && string(w.ID) != "null" {
		id, err := strconv.ParseInt(strings.Trim(string(w.ID), `"`), 10, 64)
		if err != nil || id <= 0 {
			return fmt.Errorf("subscriber id %q is not a positive number", cut(string(w.ID), 40))
		}
		s.ID = id
	}
	for name, raw := range map[string]json.RawMessage{"email": w.Email, "phone_number": w.PhoneNumber, "phone": w.Phone} {
		if len(raw) > 0 && (raw[0] == '[' || raw[0] == '{') {
			return fmt.Errorf("subscriber %s is not a text", name)
		}
	}
	s.Email = Value{w.Email}.Text()
	s.Phone = cmp.Or(Value{w.PhoneNumber}.Text(), Value{w.Phone}.Text())
	switch (Value{w.OptedIn}).Text() {
	case "false", "0":
		s.OptedIn = false
	}
	for _, raw := range elements(w.Tags) {
		var t struct {
			Name json.RawMessage `json:"name"`
		}
		if json.Unmarshal(raw, &t) == nil && len(t.Name) > 0 {
			s.Tags = append(s.Tags, Value{t.Name}.Text())
		}
	}
	switch (Value{w.Suppressed}).Text() {
	case "true", "1":
		// It does not say which campaigns, or who stopped them: all of them, for
		// good.
		for _, m := range []string{"email", "text_message"} {
			s.Suppressed = append(s.Suppressed, Suppression{Dispatcher: "campaign", Message: m})
		}
	default:
		for _, raw := range elements(w.Suppressed) {
			var x struct {
				Dispatcher string `json:"dispatcher_type"`
				Message    string `json:"message_type"`
				Source     string `json:"suppressed_source_type"`
			}
			if json.Unmarshal(raw, &x) == nil {
				s.Suppressed = append(s.Suppressed, Suppression(x))
			}
		}
	}
	return nil
}

// elements returns the elements of a JSON array, or of an object: PHP writes a
// list with gaps as an object, whose members are numbers. It returns nil for
// anything else.
func elements(raw json.RawMessage) []json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil
	}
	var list []json.RawMessage
	if raw[0] != '{' {
		_ = json.Unmarshal(raw, &list)
		return list
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	names := slices.Collect(maps.Keys(members))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	for _, name := range names {
		list = append(list, members[name])
	}
	return list
}

// Tagged reports whether the subscriber has a tag.
func (s *Subscriber) Tagged(name string) bool { return slices.Contains(s.Tags, name) }

// FieldType is Rule's type of a custom field.
type FieldType string

// The types of custom fields, and the Go value each is written from.
const (
	Text     FieldType = "text"     // string; amounts too, Rule has no numbers
	Date     FieldType = "date"     // string, YYYY-MM-DD
	DateTime FieldType = "datetime" // string in TimeLayout, local to Stockholm
	Multiple FieldType = "multiple" // []string
	JSON     FieldType = "json"     // any JSON value
)

// Field is a custom field with its value.
type Field struct {
	Group, Name string
	Type        FieldType
	// Value is a string, a []string for Multiple, a json.RawMessage for JSON.
	// An empty string clears the field (assumed: Rule's documentation names
	// no way to clear one field).
	Value any
}

// MarshalJSON writes v2's form, in which a JSON value is encoded as a string.
func (f Field) MarshalJSON() ([]byte, error) {
	value := f.Value
	if raw, ok := value.(json.RawMessage); ok {
		value = string(raw)
	}
	return json.Marshal(struct {
		Key   string    `json:"key"`
		Value any       `json:"value"`
		Type  FieldType `json:"type,omitempty"`
	}{f.Group + "." + f.Name, value, f.Type})
}

// Values is what a subscriber's custom fields hold: group, field, raw value.
type Values map[string]map[string]Value

// Value is one field's value as Rule sent it.
type Value struct{ Raw json.RawMessage }

// Text returns the value as text: a string as it is, anything else as JSON, ""
// for null.
func (v Value) Text() string {
	var s string
	if len(v.Raw) == 0 || json.Unmarshal(v.Raw, &s) == nil {
		return s
	}
	return string(v.Raw)
}

// List returns a multiple field's values. Rule sends them as an array, as an
// array encoded in a string, or joined with commas.
func (v Value) List() []string {
	text := v.Text()
	var many []string
	var array []json.RawMessage
	if json.Unmarshal([]byte(text), &array) == nil {
		for _, raw := range array {
			many = append(many, Value{raw}.Text())
		}
		return many
	}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			many = append(many, part)
		}
	}
	return many
}

// JSON returns a json field's value, which Rule sends as such (v3) or encoded
// in a string (v2). It returns nil if there is none; it may not be valid JSON.
func (v Value) JSON() json.RawMessage {
	var s string
	if len(v.Raw) > 0 && json.Unmarshal(v.Raw, &s) != nil {
		return v.Raw
	}
	if strings.TrimSpace(s) == "" {
		return nil
	}
	return json.RawMessage(s)
}

// Verify asks Rule whether the key is good, at the cost of one request. A bad
// key is fault.Unauthorized.
func (s *Session) Verify(ctx context.Context) error {
	return s.do(ctx, call{method: http.MethodGet, path: "/v2/tags", query: url.Values{"limit": {"1"}}, repeats: true})
}

// Subscriber returns a subscriber; fault.NotFound if there is none, which
// counts against the account's error share.
func (s *Session) Subscriber(ctx context.Context, who Identifier) (Subscriber, error) {
	var out struct {
		Subscriber Subscriber `json:"subscriber"`
	}
	err := s.do(ctx, call{method: http.MethodGet, path: who.path("/v2/subscribers/%s"), query: who.query(), out: &out, repeats: true})
	if err == nil && out.Subscriber.ID == 0 {
		err = s.unanswered("GET /v2/subscribers/{}", fmt.Errorf("answer has no subscriber.id"), false)
	}
	return out.Subscriber, err
}

// ErrUnread is the error of fields of a subscriber that Rule has and that are in no
// known shape. Values read all the same may come with it.
var ErrUnread = errors.New("rule: a group of fields is in no known shape")

// Fields returns a subscriber's custom fields in the groups that are named;
// fault.NotFound if there is no such subscriber. No other group is asked for,
// and one that comes all the same is passed over: whatever its shape, it must
// not cost the customer. Where one of the groups named is in no known shape, the
// error is ErrUnread, and the others are returned with it. A group that keeps a
// history shows what each field held last.
func (s *Session) Fields(ctx context.Context, id int64, groups ...string) (Values, error) {
	var out struct {
		Data json.RawMessage `json:"data"`
	}
	err := s.do(ctx, call{
		method: http.MethodGet, path: dataPath(id), out: &out, repeats: true,
		query: url.Values{"groups_name[]": groups, "page": {"1"}, "per_page": {"100"}},
	})
	if err != nil {
		return nil, err
	}
	data := bytes.TrimSpace(out.Data)
	if string(data) == "null" {
		return Values{}, nil
	}
	if len(data) == 0 || data[0] != '[' && data[0] != '{' {
		// Read as "no fields", it would be written over what the customer has.
		return nil, s.unanswered("GET /v3/custom-field-data/{}", fmt.Errorf("answer has no data: %w", ErrUnread), false)
	}
	return records(data, groups)
}

// records reads the records of some groups. Of several of one group, which keeps
// a history then, the newest value of a field counts.
func records(data json.RawMessage, groups []string) (Values, error) {
	values := Values{}
	var err error
	list := elements(data)
	type dated struct {
		created string
		group   string
		values  map[string]Value
	}
	var found []dated
	for _, raw := range list {
		var w struct {
			Group   json.RawMessage `json:"group_name"`
			Created json.RawMessage `json:"created_at"`
			Values  json.RawMessage `json:"values"`
		}
		if json.Unmarshal(raw, &w) != nil {
			continue // whose it is cannot be told
		}
		name := Value{w.Group}.Text()
		if !slices.Contains(groups, name) {
			continue
		}
		fields, ok := fieldValues(w.Values)
		if !ok {
			err = &fault.Error{Kind: fault.Unavailable, Err: fmt.Errorf("%s: %w", name, ErrUnread)}
		}
		found = append(found, dated{Value{w.Created}.Text(), name, fields})
	}
	slices.SortStableFunc(found, func(a, b dated) int { return strings.Compare(a.created, b.created) })
	for _, d := range found {
		if values[d.group] == nil {
			values[d.group] = map[string]Value{}
		}
		maps.Copy(values[d.group], d.values)
	}
	return values, err
}

// fieldValues reads the values of a record: objects with the field's name and
// its value, or, of an object, the values by name. ok is false for anything else.
func fieldValues(raw json.RawMessage) (fields map[string]Value, ok bool) {
	raw = bytes.TrimSpace(raw)
	fields = map[string]Value{}
	if len(raw) == 0 || string(raw) == "null" {
		return fields, true
	}
	if raw[0] != '[' && raw[0] != '{' {
		return fields, false
	}
	var byName map[string]json.RawMessage
	_ = json.Unmarshal(raw, &byName)
	for _, one := range elements(raw) {
		var v struct {
			Name  json.RawMessage `json:"field_name"`
			Value json.RawMessage `json:"field_value"`
		}
		if json.Unmarshal(one, &v) == nil && len(v.Name) > 0 {
			fields[Value{v.Name}.Text()] = Value{v.Value}
			byName = nil
		}
	}
	for name, v := range byName {
		fields[name] = Value{v}
	}
	return fields, len(fields) > 0 || len(elements(raw)) == 0
}

// Automation says what a tag does to the automations it starts.
type Automation string

// The modes of a tag write.
const (
	// Quiet starts what a new tag starts, and nothing for a tag already there.
	Quiet Automation = ""
	// Reset cancels what is queued for the subscriber and starts over.
	Reset Automation = "reset"
)

// Upsert is a subscriber to create or update, matched on email or phone.
type Upsert struct {
	Email, Phone string // at least one
	Fields       []Field
	Tags         []string // at least one, no duplicates
}

// Upsert creates or updates a subscriber in one request, without looking first.
// It may be repeated. fault.Conflict means that email and phone belong to two
// subscribers; nothing was written then (assumed). An answer without an id
// gives a Subscriber whose ID is 0.
func (s *Session) Upsert(ctx context.Context, u Upsert) (Subscriber, error) {
	var out struct {
		Subscriber Subscriber `json:"subscriber"`
	}
	err := s.do(ctx, call{
		method: http.MethodPost, path: "/v2/subscribers", repeats: true, out: &out,
		body: map[string]any{"update_on_duplicate": true, "tags": u.Tags, "subscribers": u.entry()},
	})
	return out.Subscriber, err
}

// Create is Upsert for somebody who is not in Rule: fault.Conflict, and nothing
// written, where the email address or the phone number is a subscriber's
// already. A try whose answer was lost may have made the subscriber; the second
// one is a Conflict then. Quietly, no tag starts an automation.
func (s *Session) Create(ctx context.Context, u Upsert, quiet bool) (Subscriber, error) {
	body := map[string]any{"update_on_duplicate": false, "tags": u.Tags, "subscribers": u.entry()}
	if quiet {
		body["sync_subscribers"] = false
	}
	var out struct {
		Subscriber Subscriber `json:"subscriber"`
	}
	err := s.do(ctx, call{method: http.MethodPost, path: "/v2/subscribers", repeats: true, out: &out, body: body})
	return out.Subscriber, err
}

// entry returns the upsert as an entry of "subscribers".
func (u Upsert) entry() map[string]any {
	who := map[string]any{}
	if u.Email != "" {
		who["email"] = u.Email
	}
	if u.Phone != "" {
		who["phone_number"] = u.Phone
	}
	if len(u.Fields) > 0 {
		who["fields"] = u.Fields
	}
	return who
}

// Change is an update of a subscriber. A nil identifier stays as it is, an
// empty one is cleared (assumed: sent as null).
type Change struct {
	Email, Phone *string
	Fields       []Field
	Tags         []string
}

// Update changes a subscriber by id. It may be repeated. fault.NotFound if
// there is none, fault.Conflict if another subscriber has the new email or
// phone.
func (s *Session) Update(ctx context.Context, id int64, c Change) (Subscriber, error) {
	body := map[string]any{}
	for name, v := range map[string]*string{"email": c.Email, "phone_number": c.Phone} {
		if v == nil {
			continue
		}
		body[name] = v
		if *v == "" {
			body[name] = nil
		}
	}
	if len(c.Fields) > 0 {
		body["fields"] = c.Fields
	}
	if len(c.Tags) > 0 {
		body["tags"] = c.Tags
	}
	var out struct {
		Subscriber Subscriber `json:"subscriber"`
	}
	err := s.do(ctx, call{method: http.MethodPut, path: ByID(id).path("/v2/subscribers/%s"), body: body, out: &out, repeats: true})
	return out.Subscriber, err
}

// Tag gives a subscriber tags. With Reset a repetition starts the automations
// once more, so an uncertain outcome is not tried again here. v2 is used
// because v3's tag call unblocks a blocked subscriber.
func (s *Session) Tag(ctx context.Context, id int64, tags []string, mode Automation) error {
	body := map[string]any{"tags": tags}
	if mode != Quiet {
		body["automation"] = mode
	}
	who := ByID(id)
	return s.do(ctx, call{method: http.MethodPost, path: who.path("/v2/subscribers/%s/tags"), query: who.query(), body: body, repeats: mode == Quiet})
}

// Untag takes a tag away. A tag that is not there is not an error.
func (s *Session) Untag(ctx context.Context, id int64, tag string) error {
	who := ByID(id)
	err := s.do(ctx, call{method: http.MethodDelete, path: who.path("/v2/subscribers/%s/tags/") + url.PathEscape(tag), query: who.query(), repeats: true})
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// Suppress stops campaigns of the given types ("email", "text_message") to a
// subscriber; receipts and the like still go out. It may be repeated. v2 is
// used because v3 only takes note and acts later.
func (s *Session) Suppress(ctx context.Context, id int64, types ...string) error {
	return s.SuppressMany(ctx, []int64{id}, types...)
}

// SuppressMany is Suppress for several subscribers in one request. One who is not
// in Rule is passed over (assumed).
func (s *Session) SuppressMany(ctx context.Context, ids []int64, types ...string) error {
	list := make([]map[string]int64, len(ids))
	for i, id := range ids {
		list[i] = map[string]int64{"id": id}
	}
	return s.do(ctx, call{method: http.MethodPost, path: "/v2/suppressions", repeats: true, body: map[string]any{
		"subscribers": list, "suppress_on": map[string][]string{"campaign": types},
	}})
}

// Unsuppress lifts the suppression of campaigns of one type, whoever set it: the
// caller makes sure that it was ours to lift. It may be repeated; one that is
// not there is not an error.
func (s *Session) Unsuppress(ctx context.Context, id int64, messageType string) error {
	who := ByID(id)
	query := who.query()
	query.Set("dispatcher_type", "campaign")
	query.Set("message_type", messageType)
	err := s.do(ctx, call{method: http.MethodDelete, path: who.path("/v2/suppressions/%s"), query: query, repeats: true})
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// PreferenceGroup is a topic group a subscriber can opt in to.
type PreferenceGroup struct {
	ID          int64        `json:"id"`
	Name        string       `json:"name"`
	Preferences []Preference `json:"preferences"`
}

// Preference is one topic. Default says that subscribers who never chose count
// as opted in.
type Preference struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Default bool   `json:"fallback_opt_in"`
}

// PreferenceGroups returns the account's preference groups, none if the
// account does not use the feature.
func (s *Session) PreferenceGroups(ctx context.Context) ([]PreferenceGroup, error) {
	var out json.RawMessage
	if err := s.do(ctx, call{method: http.MethodGet, path: "/v2/preference-groups", out: &out, repeats: true}); err != nil {
		return nil, err
	}
	var groups []PreferenceGroup
	if json.Unmarshal(out, &groups) == nil {
		return groups, nil
	}
	// Other v2 lists come in an envelope; take that as well (assumed).
	var wrapped struct {
		Groups []PreferenceGroup `json:"preference_groups"`
	}
	if err := json.Unmarshal(out, &wrapped); err != nil {
		return nil, s.unanswered("GET /v2/preference-groups", err, false)
	}
	return wrapped.Groups, nil
}

// SetPreferences opts a subscriber in (true) or out of preferences of one
// group. It may be repeated.
func (s *Session) SetPreferences(ctx context.Context, id, group int64, choices map[int64]bool) error {
	type choice struct {
		ID int64 `json:"preference_id"`
		In bool  `json:"is_opted_in"`
	}
	list := make([]choice, 0, len(choices))
	for p, in := range choices {
		list = append(list, choice{p, in})
	}
	slices.SortFunc(list, func(a, b choice) int { return int(a.ID - b.ID) })
	who := ByID(id)
	return s.do(ctx, call{
		method: http.MethodPatch, path: fmt.Sprintf("%s/preference_group/%d", who.path("/v2/subscriber/%s"), group),
		query: who.query(), body: map[string]any{"preferences": list}, repeats: true,
	})
}

// Declare makes sure that fields exist with their types; values are ignored.
// It may be repeated.
func (s *Session) Declare(ctx context.Context, fields []Field) error {
	type decl struct {
		Key  string    `json:"key"`
		Type FieldType `json:"type"`
	}
	list := make([]decl, len(fields))
	for i, f := range fields {
		list[i] = decl{f.Group + "." + f.Name, f.Type}
	}
	return s.do(ctx, call{method: http.MethodPost, path: "/v2/customizations", body: map[string]any{"fields": list}, repeats: true})
}
