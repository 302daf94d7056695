package fakerule

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

//go:embed seed.json
var seed []byte

// Seed returns the built-in example for Load: one account with made-up
// customers, their contact fields, a few orders, bonus checks and tags.
func Seed() io.Reader { return bytes.NewReader(seed) }

//go:embed webshops.json
var webShops []byte

// WebShops returns for Load what eleven other integrations leave in Rule: an
// account for each, 4201 to 4211, with a key such as "webshop-shopify" and one
// customer, kund.webb@example.com, whose orders, carts and bookings have that
// integration's groups, fields and traps.
func WebShops() io.Reader { return bytes.NewReader(webShops) }

// The JSON that Load reads. Members that are not here are an error.
type (
	seedFile struct {
		Accounts []seedAccount `json:"accounts"`
	}
	seedAccount struct {
		Key         string            `json:"key"`
		Account     *Account          `json:"account"`
		Schema      []seedGroup       `json:"schema"`
		Preferences []PreferenceGroup `json:"preferences"`
		Subscribers []seedSubscriber  `json:"subscribers"`
	}
	seedGroup struct {
		Group      string            `json:"group"`
		Historical bool              `json:"historical"`
		Fields     map[string]string `json:"fields"`
	}
	seedSubscriber struct {
		ID               int64         `json:"id"`
		Email            string        `json:"email"`
		PhoneNumber      string        `json:"phone_number"`
		CustomIdentifier string        `json:"custom_identifier"`
		Language         string        `json:"language"`
		Status           string        `json:"status"`
		CreatedAt        time.Time     `json:"created_at"`
		Tags             []string      `json:"tags"`
		Suppressions     []Suppression `json:"suppressions"`
		Entries          []seedEntry   `json:"entries"`
	}
	seedEntry struct {
		Group     string                     `json:"group"`
		CreatedAt time.Time                  `json:"created_at"`
		Values    map[string]json.RawMessage `json:"values"`
	}
)

// Load adds accounts and subscribers from a JSON file, and remembers it for
// Reset:
//
//	{"accounts": [{
//	  "key": "demo-key",                       // left out: the first key of Options
//	  "account": {"account_id": 4201, "company": "Kedjan AB"}, // of a new key; left out: the next free one
//	  "schema": [{"group": "Sitoo-Order", "historical": true,
//	              "fields": {"orderid": "text", "products": "json"}}],
//	  "preferences": [{"id": 1, "name": "Topics", "preferences": [
//	              {"id": 11, "name": "News", "fallback_opt_in": false}]}],
//	  "subscribers": [{
//	    "id": 255934461,                       // left out: the next free one
//	    "email": "kund.ett@example.com", "phone_number": "+46701740605",
//	    "custom_identifier": "", "language": "sv",
//	    "status": "ACTIVE",                    // or PENDING, BLOCKED
//	    "created_at": "2026-01-15T09:00:00Z",  // left out: now
//	    "tags": ["Sitoo"],                     // no automation fires
//	    "suppressions": [{"dispatcher_type": "campaign", "message_type": "email",
//	                      "suppressed_source_type": "user"}],
//	    "entries": [{"group": "Sitoo-Order", "created_at": "2026-02-01T12:00:00Z",
//	                 "values": {"orderid": "10001", "products": [{"sku": "A1"}]}}]
//	  }]
//	}]}
//
// Values are checked and typed like those of a v3 write, so that arrays and
// objects stand as they are; fields that the schema does not name get the type
// that their value suggests. A file with a mistake changes nothing.
func (s *Server) Load(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("load seed: %w", err)
	}
	if err := s.load(raw); err != nil {
		return fmt.Errorf("load seed: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads = append(s.loads, raw)
	return nil
}

// Reset forgets everything that happened and is back at what Load had loaded.
// Accounts, keys, faults and the clock stay. It must not run beside Load.
func (s *Server) Reset() error {
	details := map[int]Details{}
	for _, a := range s.all() {
		a.mu.Lock() // never while s.mu is held: calls take them the other way round
		details[a.id] = a.details
		a.mu.Unlock()
	}
	s.mu.Lock()
	for i, old := range s.accounts {
		fresh := newAccount(old.info, s.opt)
		fresh.details = details[old.id]
		s.accounts[i] = fresh
		for _, k := range s.keys {
			if k.acc == old {
				k.acc = fresh
			}
		}
	}
	s.requests = nil
	loads := slices.Clone(s.loads)
	s.mu.Unlock()
	for _, raw := range loads {
		if err := s.load(raw); err != nil {
			return fmt.Errorf("reset: %w", err)
		}
	}
	return nil
}

func (s *Server) load(raw []byte) error {
	var file seedFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the end of the JSON")
	}
	first := s.opt.Keys[0]
	keys, ids := map[string]bool{}, map[int]bool{}
	for _, in := range file.Accounts {
		key := cmp.Or(in.Key, first)
		if keys[key] {
			return errors.New("two accounts have the same key")
		}
		keys[key] = true
		if in.Account != nil && s.any(key) == nil {
			if id := in.Account.ID; id < 0 || (id != 0 && (ids[id] || slices.ContainsFunc(s.all(), func(a *account) bool { return a.id == id }))) {
				return fmt.Errorf("the account id %d is taken or not positive", id)
			}
			ids[in.Account.ID] = true
		}
	}
	// First into accounts of its own, to see whether it is right and whole.
	for _, dry := range []bool{true, false} {
		for i, in := range file.Accounts {
			key := cmp.Or(in.Key, first)
			a, err := newAccount(Account{}, s.opt), error(nil)
			if dry {
				if live := s.any(key); live != nil {
					live.mu.Lock()
					a.occupy(live)
					live.mu.Unlock()
				}
			} else if a, err = s.accountFor(key, in.Account); err != nil {
				return fmt.Errorf("account %d: %w", i+1, err)
			}
			a.mu.Lock()
			err = a.seed(in, s.opt.Now())
			a.mu.Unlock()
			if err != nil {
				return fmt.Errorf("account %d: %w", i+1, err)
			}
		}
	}
	return nil
}

// accountFor returns the account of a key, made if the key is new.
func (s *Server) accountFor(key string, info *Account) (*account, error) {
	if s.any(key) == nil {
		if _, err := s.AddAccount(*cmp.Or(info, &Account{}), key); err != nil {
			return nil, err
		}
	}
	return s.any(key), nil
}

// occupy takes over what a seed can collide with.
func (a *account) occupy(live *account) {
	for id, s := range live.subscribers {
		a.subscribers[id] = &subscriber{id: id}
		a.identify(a.subscribers[id], identity{email: s.email, phone: s.phone, custom: s.custom})
	}
	for _, g := range live.groups {
		copied := *g
		copied.fields = slices.Clone(g.fields)
		a.groups = append(a.groups, &copied)
	}
	a.last = live.last
}

func (a *account) seed(in seedAccount, now time.Time) error {
	for _, sg := range in.Schema {
		if sg.Group == "" || strings.ContainsFunc(sg.Group, reserved) {
			return fmt.Errorf("group %q: a name without dots is needed", sg.Group)
		}
		g := a.ensureGroup(sg.Group, sg.Historical, now)
		g.historical = sg.Historical
		for _, name := range slices.Sorted(maps.Keys(sg.Fields)) {
			typ := sg.Fields[name]
			if !slices.Contains([]string{"text", "single", "multiple", "json", "date", "datetime", "time"}, typ) {
				return fmt.Errorf("field %s.%s: unknown type %q", sg.Group, name, typ)
			}
			if f := a.ensureField(g, name, typ, now); f.typ != typ {
				return fmt.Errorf("field %s.%s: it exists with type %s", sg.Group, name, f.typ)
			}
		}
	}
	a.preferences = append(a.preferences, in.Preferences...)
	for i, person := range in.Subscribers {
		if err := a.seedSubscriber(person, now); err != nil {
			return fmt.Errorf("subscriber %d: %w", i+1, err)
		}
	}
	return nil
}

func (a *account) seedSubscriber(in seedSubscriber, now time.Time) error {
	who := identity{custom: in.CustomIdentifier}
	var ok bool
	if in.Email != "" {
		if who.email, ok = normalEmail(in.Email); !ok {
			return fmt.Errorf("email %q is not valid", in.Email)
		}
	}
	if in.PhoneNumber != "" {
		if who.phone, ok = normalPhone(in.PhoneNumber); !ok {
			return fmt.Errorf("phone number %q is not valid", in.PhoneNumber)
		}
	}
	if who == (identity{}) {
		return errors.New("an email, a phone number or a custom identifier is needed")
	}
	language, ok := normalLanguage(cmp.Or(in.Language, defaultLanguage))
	if !ok {
		return fmt.Errorf("language %q is not an ISO 639-1 code", in.Language)
	}
	status := cmp.Or(in.Status, statusActive)
	if !slices.Contains([]string{statusActive, statusPending, statusBlocked}, status) {
		return fmt.Errorf("status %q is not ACTIVE, PENDING or BLOCKED", in.Status)
	}
	if a.byEmail[who.email] != 0 || a.byPhone[who.phone] != 0 || a.byCustom[who.custom] != 0 || a.subscribers[in.ID] != nil {
		return errors.New("the id, email, phone number or custom identifier is taken")
	}
	at := now
	if !in.CreatedAt.IsZero() {
		at = in.CreatedAt
	}
	next := a.last.subscriber
	if in.ID != 0 {
		a.last.subscriber = in.ID - 1 // so that add gives this id
	}
	s := a.add(who, language, status, at)
	a.last.subscriber = max(next, a.last.subscriber)
	for _, name := range in.Tags {
		if _, digits := number(name); digits || name == "" {
			return fmt.Errorf("tag %q is not a name", name)
		}
		a.addTags(s, []tagRef{{name: name}}, false, "", at)
	}
	for _, x := range in.Suppressions {
		dispatcher := cmp.Or(x.Dispatcher, dispatcherCampaign)
		if err := checkSuppression(dispatcher, x.MessageType, x.Source); err != nil {
			return err
		}
		a.suppress(s, dispatcher, x.MessageType, x.Source, at)
	}
	for i, e := range in.Entries {
		when := at
		if !e.CreatedAt.IsZero() {
			when = e.CreatedAt
		}
		var writes []write
		for _, name := range slices.Sorted(maps.Keys(e.Values)) {
			if e.Group == "" || name == "" || strings.ContainsFunc(e.Group+name, reserved) {
				return fmt.Errorf("entry %d: %q.%q is not a field", i+1, e.Group, name)
			}
			typ := cmp.Or(a.fieldType(e.Group, name), inferType(e.Values[name]))
			data, size, message := checkValue(typ, e.Values[name], true)
			if message != "" {
				return fmt.Errorf("entry %d, %s.%s: %s", i+1, e.Group, name, message)
			}
			writes = append(writes, write{group: e.Group, field: name, typ: typ, data: data, size: size})
		}
		if long := tooLong(writes); len(long) > 0 {
			return fmt.Errorf("entry %d: more than %d characters", i+1, maxGroup)
		}
		a.write(s, writes, when)
	}
	return nil
}
