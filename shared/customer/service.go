package customer

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// The tags this package gives.
const (
	Tag           = "Sitoo"      // everyone we write
	NewsletterTag = "Newsletter" // those who accept marketing
)

// Service does what a cashier asks for. It is safe for concurrent use and
// lives as long as the process.
type Service struct {
	Phones Phones // nil in functions that never read a number from outside
	Log    *slog.Logger
	Now    func() time.Time

	found  recent
	mu     sync.Mutex
	groups map[string]cachedGroups
}

// Find returns the customer with exactly this email address or phone number;
// ok is false if there is none. A miss costs one request to Rule and a hit two,
// the second sent only after the first has found somebody, or beside it when
// the key has been found here before.
func (s *Service) Find(ctx context.Context, r *rule.Session, account, key string) (c Contact, ok bool, err error) {
	k := ParseKey(key, s.Phones)
	if k.Zero() {
		return Contact{}, false, nil
	}
	who := k.Identifier()
	known := s.found.has(account, k)
	var sub rule.Subscriber
	var values rule.Values
	if known {
		sub, values, err = both(ctx, r, who)
	} else if sub, err = first(ctx, r, who); err == nil {
		values, err = fields(ctx, r, rule.ByID(sub.ID))
	}
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.NotFound, kind == fault.Invalid: // what Rule cannot read names nobody there
		s.found.forget(account, k)
		return Contact{}, false, nil
	default:
		return Contact{}, false, err
	}
	s.found.add(account, k)
	return s.card(ctx, sub, values), true, nil
}

// Get returns the customer with an id, at the cost of two requests sent at the
// same time; fault.NotFound if there is none.
func (s *Service) Get(ctx context.Context, r *rule.Session, id int64) (Contact, error) {
	sub, values, err := both(ctx, r, rule.ByID(id))
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return Contact{}, fault.Wrap(fault.NotFound, err, "There is no customer with that id.")
	}
	if err != nil {
		return Contact{}, err
	}
	return s.card(ctx, sub, values), nil
}

func (s *Service) card(ctx context.Context, sub rule.Subscriber, values rule.Values) Contact {
	c, bad := contactOf(sub, values, s.Phones)
	for _, d := range bad {
		s.Log.WarnContext(ctx, "field left out of the card: not in the expected format", "group", d.Group, "field", d.Field, "subscriber", sub.ID)
	}
	return c
}

// both reads a subscriber and its fields at the same time.
func both(ctx context.Context, r *rule.Session, who rule.Identifier) (rule.Subscriber, rule.Values, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var values rule.Values
	var ferr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		values, ferr = fields(ctx, r, who)
	}()
	sub, err := r.Subscriber(ctx, who)
	if err != nil && fault.KindOf(err) == fault.Unavailable {
		// Only then: giving up a request costs its connection, and after an
		// answer such as 404 the other one's is a moment away.
		cancel()
	}
	<-done
	if err == nil {
		err = ferr
	}
	return sub, values, err
}

// fields reads a subscriber's fields; somebody without any has none.
func fields(ctx context.Context, r *rule.Session, who rule.Identifier) (rule.Values, error) {
	v, err := r.Fields(ctx, who)
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return rule.Values{}, nil
	}
	return v, err
}

// Add registers a customer and returns the id. Somebody whom Rule already knows
// by that email address or phone number is updated, not doubled, and no look-up
// is spent to find out. It may be repeated.
func (s *Service) Add(ctx context.Context, r *rule.Session, account string, in Contact) (int64, error) {
	c, err := normalise(in, s.Phones)
	if err != nil {
		return 0, err
	}
	mail, number := c.Text[Email], phoneNumber(c.Text)
	if mail == "" && number == "" {
		return 0, fault.Bad("email, mobile, phone", "are all empty, at least one of them is expected")
	}
	choices, err := s.choices(ctx, r, account, nil, c.Lists[Consents])
	if err != nil {
		return 0, err
	}
	tags := []string{Tag}
	if c.Flags[AcceptsEmail] || c.Flags[AcceptsSMS] {
		tags = append(tags, NewsletterTag)
	}
	sub, err := s.upsert(ctx, r, rule.Upsert{Email: mail, Phone: number, Fields: fieldsOf(c.withoutConsents(), false), Tags: tags})
	if err != nil {
		return 0, refusal(err, c, true)
	}
	// Registering somebody anew never lifts a suppression: an edit does, where
	// it can tell that the suppression was the till's own. For that reason what
	// is noted of an earlier one is not overwritten here either.
	var stop []string
	note := Contact{Flags: map[Member]bool{}}
	for _, m := range []Member{AcceptsEmail, AcceptsSMS} {
		if v, ok := c.Flags[m]; ok && !v && accepts(sub, m) {
			stop = append(stop, channels[m])
			note.Flags[m] = false
		}
	}
	// The note comes first: Rule's suppressions, and not the note, tell a second
	// try what is left to do, and one without its note could never be lifted.
	if notes := fieldsOf(note, true); len(notes) > 0 {
		if err := s.update(ctx, r, sub.ID, rule.Change{Fields: notes}); err != nil {
			return 0, half(err)
		}
	}
	chosen := false
	err = inParallel(
		func() error {
			if len(stop) == 0 {
				return nil
			}
			return r.Suppress(ctx, sub.ID, stop...)
		},
		func() error {
			if mail, ok := c.Flags[AcceptsEmail]; !ok || mail || !sub.Tagged(NewsletterTag) {
				return nil
			}
			if sms, ok := c.Flags[AcceptsSMS]; !ok || sms {
				return nil
			}
			return r.Untag(ctx, sub.ID, NewsletterTag)
		},
		func() (err error) { chosen, err = s.choose(ctx, r, sub.ID, choices); return err },
	)
	if err != nil {
		return 0, half(err)
	}
	if chosen {
		err := s.update(ctx, r, sub.ID, rule.Change{Fields: fieldsOf(Contact{Lists: map[Member][]string{Consents: c.Lists[Consents]}}, true)})
		if err != nil {
			return 0, half(err)
		}
	}
	for _, k := range []Key{{Email: mail}, {Phone: number}} {
		if !k.Zero() {
			s.found.add(account, k)
		}
	}
	return sub.ID, nil
}

// upsert writes a subscriber. A custom field that Rule refuses, because staff
// made one of that name with another type, does not keep the customer out: it
// is left out, and the log says which.
func (s *Service) upsert(ctx context.Context, r *rule.Session, u rule.Upsert) (rule.Subscriber, error) {
	sub, err := r.Upsert(ctx, u)
	if keep, dropped := withoutRefused(err, u.Fields); dropped {
		s.Log.WarnContext(ctx, "Rule refuses a custom field; the customer is saved without it", "error", err)
		u.Fields = keep
		sub, err = r.Upsert(ctx, u)
	}
	if err != nil {
		return sub, err
	}
	if sub.ID == 0 { // Rule's answer may leave the id out
		return r.Subscriber(ctx, Key{Email: u.Email, Phone: u.Phone}.Identifier())
	}
	return sub, nil
}

// withoutRefused returns the fields less those that a refusal is about. If the
// refusal does not say which, none is kept. dropped is false if the refusal is
// not about custom fields.
func withoutRefused(err error, fields []rule.Field) (keep []rule.Field, dropped bool) {
	e, ok := errors.AsType[*rule.Error](err)
	if !ok || fault.KindOf(err) != fault.Invalid || len(fields) == 0 || e.Names("email") || e.Names("phone_number") {
		return fields, false
	}
	if keep, dropped = rule.WithoutRefused(err, fields); dropped {
		return keep, true
	}
	return nil, true
}

// Update changes the members of a customer that in holds, and no others. An
// empty member is cleared; the last identifier cannot be. It may be repeated.
func (s *Service) Update(ctx context.Context, r *rule.Session, account string, id int64, in Contact) error {
	want, wrong := normalise(in, s.Phones)
	if wrong != nil && !identifies(Member(fault.As(wrong).Member)) {
		return wrong
	}
	sub, values, err := both(ctx, r, rule.ByID(id))
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return fault.Wrap(fault.NotFound, err, "There is no customer with that id.")
		}
		return err
	}
	have, _ := contactOf(sub, values, s.Phones)
	if wrong != nil {
		// Rule may know the customer by what we would not take from a till; the
		// till sends it back all the same, with whatever else it changes.
		if want, err = normalise(in.withoutShown(have), s.Phones); err != nil {
			return err
		}
	}

	after := maps.Clone(have.Text)
	maps.Copy(after, want.Text)
	mail, number := after[Email], phoneNumber(after)
	if mail == "" && number == "" {
		return fault.Bad("email, mobile, phone", "would all be empty, and a customer is found by one of them: at least one must stay")
	}
	var choices map[int64]map[int64]bool
	if consents, sent := want.Lists[Consents]; sent {
		if choices, err = s.choices(ctx, r, account, have.Lists[Consents], consents); err != nil {
			return err
		}
	}

	// What Rule is told of consents is noted in the fields only afterwards:
	// were it noted first and then lost, a second try would see no difference.
	change := rule.Change{Fields: fieldsOf(changed(want, have), true)}
	if !strings.EqualFold(mail, sub.Email) {
		change.Email = &mail
	}
	// A number that Rule has only as a field, because staff took it away from
	// the subscriber, is not given back by an edit of something else.
	if number != sub.Phone && (number != phoneNumber(have.Text) || mail == "") {
		change.Phone = &number
	}
	if change.Email != nil || change.Phone != nil || len(change.Fields) > 0 || !sub.Tagged(Tag) {
		if !sub.Tagged(Tag) {
			change.Tags = []string{Tag}
		}
		if err := s.update(ctx, r, id, change); err != nil {
			return refusal(err, want, false)
		}
	}

	later, apply := s.marketing(ctx, r, sub, have, want, values)
	chosen := false
	err = inParallel(apply, func() (err error) { chosen, err = s.choose(ctx, r, id, choices); return err })
	if err != nil {
		return half(err)
	}
	if chosen {
		later.Lists = map[Member][]string{Consents: want.Lists[Consents]}
	}
	if notes := fieldsOf(later, true); len(notes) > 0 {
		if err := s.update(ctx, r, id, rule.Change{Fields: notes}); err != nil {
			return half(err)
		}
	}
	return nil
}

func (s *Service) update(ctx context.Context, r *rule.Session, id int64, c rule.Change) error {
	_, err := r.Update(ctx, id, c)
	if keep, dropped := withoutRefused(err, c.Fields); dropped {
		s.Log.WarnContext(ctx, "Rule refuses a custom field; the customer is saved without it", "error", err)
		c.Fields = keep
		if c.Email != nil || c.Phone != nil || len(c.Fields) > 0 || len(c.Tags) > 0 {
			_, err = r.Update(ctx, id, c)
		} else {
			err = nil
		}
	}
	return err
}

// changed returns the members of want that differ from have, less those that
// are written after Rule has been told of them.
func changed(want, have Contact) Contact {
	out := Contact{Text: map[Member]string{}, Flags: map[Member]bool{}, Lists: map[Member][]string{}}
	for m, v := range want.Text {
		if v != have.Text[m] {
			out.Text[m] = v
		}
	}
	for m, v := range want.Lists {
		if m != Consents && !slices.Equal(v, have.Lists[m]) {
			out.Lists[m] = v
		}
	}
	// What was never asked shows as no: an echo of that is not an answer.
	if v, ok := want.Flags[AcceptsMail]; ok && v != have.Flags[AcceptsMail] {
		out.Flags[AcceptsMail] = v
	}
	// A no is noted before Rule is told: Rule's suppressions, and not the note,
	// tell a second try what is left to do, and one without its note could never
	// be lifted. A yes is noted afterwards, for the same reason.
	for _, m := range []Member{AcceptsEmail, AcceptsSMS} {
		if v, ok := want.Flags[m]; ok && !v && have.Flags[m] {
			out.Flags[m] = false
		}
	}
	return out
}

// marketing compares what the till wants for email and text messages with what
// Rule does, and returns what to do and what to note afterwards. Only a change
// is acted upon: a till sends back what it was shown.
//
// A suppression is lifted only if it was set through the API (assumed: Rule calls
// that source "api") and our own field says that a till did it. One that the customer, a bounce, a spam report or
// Rule's staff set stays, and the card goes on showing it.
func (s *Service) marketing(ctx context.Context, r *rule.Session, sub rule.Subscriber, have, want Contact, values rule.Values) (note Contact, apply func() error) {
	note = Contact{Flags: map[Member]bool{}}
	var stop, lift []string
	var tag bool
	after := map[Member]bool{AcceptsEmail: have.Flags[AcceptsEmail], AcceptsSMS: have.Flags[AcceptsSMS]}
	for _, m := range []Member{AcceptsEmail, AcceptsSMS} {
		v, ok := want.Flags[m]
		if !ok || v == have.Flags[m] {
			continue
		}
		after[m] = v
		if !v {
			stop = append(stop, channels[m])
		} else {
			ours := values[ContactGroup][string(m)].Text() == "false"
			foreign := slices.ContainsFunc(sub.Suppressed, func(x rule.Suppression) bool { return stops(x, m) && x.Source != "api" })
			suppressed := slices.ContainsFunc(sub.Suppressed, func(x rule.Suppression) bool { return stops(x, m) })
			if suppressed && (foreign || !ours) || !suppressed {
				s.Log.InfoContext(ctx, "a refusal of marketing that no till set stays", "member", string(m), "subscriber", sub.ID)
				after[m] = false
				continue
			}
			lift = append(lift, channels[m])
			tag = true
			note.Flags[m] = true
		}
	}
	return note, func() error {
		return inParallel(
			func() error {
				if len(stop) == 0 {
					return nil
				}
				return r.Suppress(ctx, sub.ID, stop...)
			},
			func() error {
				for _, channel := range lift {
					if err := r.Unsuppress(ctx, sub.ID, channel); err != nil {
						return err
					}
				}
				return nil
			},
			func() error {
				if !tag || sub.Tagged(NewsletterTag) {
					return nil
				}
				return r.Tag(ctx, sub.ID, []string{NewsletterTag}, rule.Quiet)
			},
			func() error {
				if len(stop) == 0 || after[AcceptsEmail] || after[AcceptsSMS] || !sub.Tagged(NewsletterTag) {
					return nil
				}
				return r.Untag(ctx, sub.ID, NewsletterTag)
			},
		)
	}
}

// refusal turns Rule's refusal of a customer into a sentence that a cashier can
// act on. Rule's own words stay in the log.
func refusal(err error, c Contact, adding bool) error {
	e, _ := errors.AsType[*rule.Error](err)
	switch kind := fault.KindOf(err); {
	case kind == fault.Conflict && adding:
		return &fault.Error{Kind: fault.Conflict, Err: err, Message: "The email address and the phone number belong to two different customers. Search for each of them, or register with only one of the two."}
	case kind == fault.Conflict:
		return &fault.Error{Kind: fault.Conflict, Err: err, Message: "The new email address or phone number belongs to another customer. Nothing was changed."}
	case kind == fault.Invalid && e != nil && e.Names("phone_number"):
		m := Mobile
		if c.Text[Mobile] == "" {
			m = Phone
		}
		return &fault.Error{Kind: fault.Invalid, Member: string(m), Err: err, Message: "is refused by Rule, a number that can be dialled is expected"}
	case kind == fault.Invalid && e != nil && e.Names("email"):
		return &fault.Error{Kind: fault.Invalid, Member: string(Email), Err: err, Message: "is refused by Rule, an address that can receive mail is expected"}
	case kind == fault.NotFound && !adding:
		return fault.Wrap(fault.NotFound, err, "There is no customer with that id.")
	}
	return err
}

// half marks a failure after the customer was saved: asking again completes it.
func half(err error) error {
	k := fault.KindOf(err)
	if k == fault.Unauthorized || k == fault.Busy {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "The customer is saved, but not yet the consents. Save once more.")
}

// Consent is a topic that a customer can accept.
type Consent struct {
	ID, Name, Description string
	Default               bool // ticked for a new customer
}

// ConsentList returns the account's topics, none if Rule's preferences are not
// used.
func (s *Service) ConsentList(ctx context.Context, r *rule.Session, account string) ([]Consent, error) {
	groups, err := s.preferenceGroups(ctx, r, account)
	if err != nil {
		return nil, err
	}
	list := []Consent{}
	for _, g := range groups {
		for _, p := range g.Preferences {
			list = append(list, Consent{ID: strconv.FormatInt(p.ID, 10), Name: p.Name, Description: g.Name, Default: p.Default})
		}
	}
	return list, nil
}

// groupsFor is how long a process trusts an account's list of topics, which
// staff change a few times a year.
const groupsFor = 5 * time.Minute

type cachedGroups struct {
	list  []rule.PreferenceGroup
	until time.Time
}

func (s *Service) preferenceGroups(ctx context.Context, r *rule.Session, account string) ([]rule.PreferenceGroup, error) {
	s.mu.Lock()
	cached, ok := s.groups[account]
	s.mu.Unlock()
	if ok && s.Now().Before(cached.until) {
		return cached.list, nil
	}
	list, err := r.PreferenceGroups(ctx)
	// An account without the feature answers 404, or refuses (assumed).
	if e, ok := errors.AsType[*rule.Error](err); ok && (e.Status == 400 || e.Status == 403 || e.Status == 404) {
		list, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[string]cachedGroups{}
	}
	s.groups[account] = cachedGroups{list, s.Now().Add(groupsFor)}
	return list, nil
}

// choices returns, by preference group, what changes between the consents that
// a till was shown and those it sends. What did not change is not sent: the
// customer may have chosen otherwise since, on Rule's own page.
func (s *Service) choices(ctx context.Context, r *rule.Session, account string, have, want []string) (map[int64]map[int64]bool, error) {
	differs := map[string]bool{}
	for _, id := range want {
		if !slices.Contains(have, id) {
			differs[id] = true
		}
	}
	for _, id := range have {
		if !slices.Contains(want, id) {
			differs[id] = false
		}
	}
	if len(differs) == 0 {
		return nil, nil
	}
	groups, err := s.preferenceGroups(ctx, r, account)
	if err != nil {
		return nil, err
	}
	byGroup, unknown := sortOut(differs, groups)
	if unknown != "" { // staff may have added it a moment ago
		s.mu.Lock()
		delete(s.groups, account)
		s.mu.Unlock()
		if groups, err = s.preferenceGroups(ctx, r, account); err != nil {
			return nil, err
		}
		byGroup, unknown = sortOut(differs, groups)
	}
	if unknown != "" {
		return nil, fault.Bad(string(Consents), "names the consent %q, which this shop does not have; GET /consents lists those it has", unknown)
	}
	return byGroup, nil
}

// sortOut returns choices by the group that each consent is in. unknown is one
// that is accepted and in none of them; one that is gone cannot be withdrawn,
// and need not be.
func sortOut(differs map[string]bool, groups []rule.PreferenceGroup) (byGroup map[int64]map[int64]bool, unknown string) {
	byGroup = map[int64]map[int64]bool{}
	left := maps.Clone(differs)
	for _, g := range groups {
		for _, p := range g.Preferences {
			id := strconv.FormatInt(p.ID, 10)
			if in, ok := left[id]; ok {
				if byGroup[g.ID] == nil {
					byGroup[g.ID] = map[int64]bool{}
				}
				byGroup[g.ID][p.ID] = in
				delete(left, id)
			}
		}
	}
	for id, in := range left {
		if in && (unknown == "" || id < unknown) {
			unknown = id
		}
	}
	return byGroup, unknown
}

// choose sends choices to Rule. chosen is true if there were any and Rule took
// them all: only then may they be noted as what the customer accepts.
func (s *Service) choose(ctx context.Context, r *rule.Session, id int64, choices map[int64]map[int64]bool) (chosen bool, err error) {
	chosen = len(choices) > 0
	for group, c := range choices {
		err := r.SetPreferences(ctx, id, group, c)
		if k := fault.KindOf(err); err != nil && (k == fault.Invalid || k == fault.NotFound || k == fault.Conflict) {
			// Somebody who has not confirmed the opt-in cannot have
			// preferences yet; that is Rule's rule, and trying again is no use.
			s.Log.WarnContext(ctx, "Rule refuses the consents", "subscriber", id, "error", err)
			chosen = false
			continue
		}
		if err != nil {
			return false, err
		}
	}
	return chosen, nil
}

// inParallel runs all functions and returns their first error.
func inParallel(fns ...func() error) error {
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recent remembers which keys were found, as hashes only: it is a hint that
// saves a round trip, and being wrong costs one request.
type recent struct {
	mu       sync.Mutex
	now, old map[uint64]struct{}
}

// maxRecent bounds the memory of recent to a few megabytes.
const maxRecent = 50_000

var seed = maphash.MakeSeed()

func (r *recent) hash(account string, k Key) uint64 {
	return maphash.Comparable(seed, [3]string{account, k.Email, k.Phone})
}

func (r *recent) has(account string, k Key) bool {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, a := r.now[h]
	_, b := r.old[h]
	return a || b
}

func (r *recent) add(account string, k Key) {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil || len(r.now) >= maxRecent {
		r.old, r.now = r.now, map[uint64]struct{}{}
	}
	r.now[h] = struct{}{}
}

func (r *recent) forget(account string, k Key) {
	h := r.hash(account, k)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, h)
	delete(r.old, h)
}
