package fakerule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Automation is one automation that a tag set off.
type Automation struct {
	Subscriber int64  `json:"subscriber"`
	Tag        string `json:"tag"`
	// Mode is the automation member of the call: "", "send", "reset" or "force".
	Mode string `json:"mode"`
	// Added is whether the subscriber did not have the tag before.
	Added bool      `json:"added"`
	At    time.Time `json:"at"`
}

// Subscriber is a snapshot of what Rule would show of a person.
type Subscriber struct {
	ID           int64         `json:"id"`
	Email        string        `json:"email"`
	Phone        string        `json:"phone_number"` // E.164
	Custom       string        `json:"custom_identifier,omitempty"`
	Language     string        `json:"language"`
	Status       string        `json:"status"` // ACTIVE, PENDING or BLOCKED
	CreatedAt    time.Time     `json:"created_at"`
	UpdatedAt    time.Time     `json:"updated_at"`
	Tags         []string      `json:"tags"` // in the order in which they were given
	Suppressions []Suppression `json:"suppressions"`
	Groups       []Group       `json:"groups"` // those in which the subscriber has something
}

// Suppression is one channel on which a subscriber gets nothing.
type Suppression struct {
	Dispatcher  string `json:"dispatcher_type"`        // campaign or transactional
	MessageType string `json:"message_type"`           // email or text_message
	Source      string `json:"suppressed_source_type"` // user, admin, spam, bounce or api
}

// Group is a subscriber's part of a group of custom fields.
type Group struct {
	Name       string  `json:"name"`
	Historical bool    `json:"historical"`
	Entries    []Entry `json:"entries"` // oldest first; one unless historical
}

// Entry is one set of values.
type Entry struct {
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Fields    []Field   `json:"fields"`
}

// Field is one value as v2 would answer it: the JSON encoding of a multiple or
// json field, "" for one that was cleared.
type Field struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Value returns the value of a field of the entry, "" if it has none.
func (e Entry) Value(field string) string {
	i := slices.IndexFunc(e.Fields, func(f Field) bool { return f.Name == field })
	if i < 0 {
		return ""
	}
	return e.Fields[i].Value
}

// Field returns the field with a key such as "Sitoo-Contact.namefirst", from
// the newest entry of a historical group.
func (s Subscriber) Field(key string) (Field, bool) {
	group, name, _ := strings.Cut(key, ".")
	for _, g := range s.Groups {
		if g.Name != group {
			continue
		}
		fields := g.Entries[len(g.Entries)-1].Fields
		if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }); i >= 0 {
			return fields[i], true
		}
	}
	return Field{}, false
}

// locked runs f on the account of key, with what is due applied before. It
// returns false if there is no such account.
func (s *Server) locked(key string, f func(*account)) bool {
	a := s.any(key)
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(s.opt.Now())
	f(a)
	return true
}

// Requests returns the API calls so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Request, len(s.requests))
	for i, r := range s.requests {
		list[i] = *r
	}
	return list
}

// ResetRequests forgets the calls so far. The budget does not forget them.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Settle applies all asynchronous work that waits, due or not.
func (s *Server) Settle() {
	for _, a := range s.all() {
		a.settleAll(s.opt.Now())
	}
}

// BlockFor blocks the account of key for d from now, as Rule does when a budget
// is used up.
func (s *Server) BlockFor(key string, d time.Duration) {
	s.locked(key, func(a *account) { a.budget.block(s.opt.Now().Add(d)) })
}

// RequestsDuringBlock returns how many calls came during a block after a 429
// had already told of it. A client that keeps to Retry-After leaves it at 0,
// unless calls were on their way at the same time as the one that was told.
func (s *Server) RequestsDuringBlock(key string) int {
	n := 0
	s.locked(key, func(a *account) { n = a.budget.inside })
	return n
}

// Subscribers returns the subscribers of an account by ascending id.
func (s *Server) Subscribers(key string) []Subscriber {
	var list []Subscriber
	s.locked(key, func(a *account) {
		for _, sub := range a.sorted() {
			list = append(list, a.snapshot(sub))
		}
	})
	return list
}

// Subscriber returns one subscriber, false if there is none.
func (s *Server) Subscriber(key string, id int64) (Subscriber, bool) {
	var out Subscriber
	found := false
	s.locked(key, func(a *account) {
		if sub := a.subscribers[id]; sub != nil {
			out, found = a.snapshot(sub), true
		}
	})
	return out, found
}

// Entries returns the entries that a subscriber has in a group, oldest first.
func (s *Server) Entries(key string, id int64, group string) []Entry {
	sub, _ := s.Subscriber(key, id)
	i := slices.IndexFunc(sub.Groups, func(g Group) bool { return g.Name == group })
	if i < 0 {
		return nil
	}
	return sub.Groups[i].Entries
}

// Automations returns the automations that were set off, oldest first.
func (s *Server) Automations(key string) []Automation {
	var list []Automation
	s.locked(key, func(a *account) { list = slices.Clone(a.automations) })
	return list
}

// Suppress suppresses marketing on messageType (email or text_message) as
// source (user, admin, spam, bounce or api) would. It replaces what there was.
func (s *Server) Suppress(key string, id int64, messageType, source string) error {
	if err := checkSuppression(dispatcherCampaign, messageType, source); err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return s.edit("suppress", key, id, func(a *account, sub *subscriber) error {
		sub.lift(dispatcherCampaign, messageType)
		a.suppress(sub, dispatcherCampaign, messageType, source, s.opt.Now())
		return nil
	})
}

func checkSuppression(dispatcher, message, source string) error {
	switch {
	case !slices.Contains([]string{dispatcherCampaign, dispatcherTransactional}, dispatcher):
		return fmt.Errorf("dispatcher type %q is not campaign or transactional", dispatcher)
	case !slices.Contains(messageTypes, message):
		return fmt.Errorf("message type %q is not one of %v", message, messageTypes)
	case !slices.Contains([]string{"user", "admin", "spam", "bounce", "api"}, source):
		return fmt.Errorf("source %q is not user, admin, spam, bounce or api", source)
	}
	return nil
}

// SetField puts any value into a field, such as "Sitoo-Contact.bonuschecks", of
// one entry, unchecked: what staff can do to it by hand. Entry 0 is the newest
// one of the group, made if there is none; a field that does not exist becomes
// a text field. A string is stored as it is whatever the field's type, anything
// else is shown as the JSON that it encodes to.
func (s *Server) SetField(key string, id, entryID int64, field string, v any) error {
	groupName, name, ok := strings.Cut(field, ".")
	if !ok {
		return fmt.Errorf("set field: %q is not Group.Field", field)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("set field %s: %w", field, err)
	}
	var data any = verbatim(raw)
	if text, ok := v.(string); ok {
		data = text
	}
	return s.edit("set field "+field, key, id, func(a *account, sub *subscriber) error {
		now := s.opt.Now()
		g := a.ensureGroup(groupName, false, now)
		e := sub.newest(g)
		if entryID != 0 {
			if e = sub.entryByID(fmt.Sprint(entryID)); e == nil || e.group != g {
				return fmt.Errorf("group %s has no entry %d", groupName, entryID)
			}
		}
		if e == nil {
			e = a.put(sub, g, nil, now)
		}
		e.set(value{field: a.ensureField(g, name, "text", now), data: data})
		return nil
	})
}

func (s *Server) edit(what, key string, id int64, f func(*account, *subscriber) error) error {
	err := fmt.Errorf("there is no account with this key")
	s.locked(key, func(a *account) {
		sub := a.subscribers[id]
		if sub == nil {
			err = fmt.Errorf("there is no subscriber %d", id)
			return
		}
		err = f(a, sub)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// DefineHistorical makes a group historical, or not, as the switch in Rule's
// settings does, and makes the group if it does not exist. Entries that are
// there stay.
func (s *Server) DefineHistorical(key, group string, historical bool) {
	s.locked(key, func(a *account) {
		a.ensureGroup(group, historical, s.opt.Now()).historical = historical
	})
}

// SetHistoricalLayout changes how v2 shows historical groups from now on. It
// stays after Reset.
func (s *Server) SetHistoricalLayout(l HistoricalLayout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.layout = l
}

// DefinePreferences gives an account its preference groups. None turns the
// feature off, which is where an account starts.
func (s *Server) DefinePreferences(key string, groups ...PreferenceGroup) {
	s.locked(key, func(a *account) { a.preferences = slices.Clone(groups) })
}

func (a *account) snapshot(s *subscriber) Subscriber {
	out := Subscriber{
		ID: s.id, Email: s.email, Phone: s.phone, Custom: s.custom, Language: s.language, Status: s.status,
		CreatedAt: s.created, UpdatedAt: s.updated,
	}
	for _, id := range s.tags {
		out.Tags = append(out.Tags, a.tagByID(id).name)
	}
	for _, x := range s.suppressions {
		out.Suppressions = append(out.Suppressions, Suppression{Dispatcher: x.dispatcher, MessageType: x.message, Source: x.source})
	}
	for _, g := range a.groups {
		entries := s.of(g)
		if len(entries) == 0 {
			continue
		}
		shown := Group{Name: g.name, Historical: g.historical}
		for _, e := range entries {
			one := Entry{ID: e.id, CreatedAt: e.created}
			for _, v := range e.values {
				one.Fields = append(one.Fields, Field{Name: v.field.name, Type: v.field.typ, Value: printed(v.data)})
			}
			shown.Entries = append(shown.Entries, one)
		}
		out.Groups = append(out.Groups, shown)
	}
	return out
}

// printed is a value as one string.
func printed(data any) string {
	switch d := plain(data).(type) {
	case string:
		return d
	case json.RawMessage:
		return string(d)
	}
	return ""
}
