package fakerule

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Statuses of a subscriber, as v3 names them.
const (
	statusActive  = "ACTIVE"
	statusPending = "PENDING"
	statusBlocked = "BLOCKED"
)

// defaultLanguage is the language of an account that was never told another.
const defaultLanguage = "sv"

// firstSubscriber is a little below the ids that real accounts show today.
const firstSubscriber = 255934500

// account is everything that belongs to one Rule account. All methods but
// settleAll want mu to be held; id and info never change.
type account struct {
	mu   sync.Mutex
	id   int
	info Account

	details     Details
	budget      budget
	last        struct{ subscriber, tag, group, field, entry, suppression int64 }
	subscribers map[int64]*subscriber
	byEmail     map[string]int64
	byPhone     map[string]int64
	byCustom    map[string]int64
	tags        []*tag   // oldest first
	groups      []*group // oldest first
	preferences []PreferenceGroup
	automations []Automation
	jobs        []job
	asyncDelay  time.Duration
}

type subscriber struct {
	id                   int64
	email, phone, custom string
	language, status     string
	created, updated     time.Time
	tags                 []int64
	suppressions         []suppression
	entries              []*entry // oldest first
	choices              map[int64]bool
}

type suppression struct {
	id                          int64
	dispatcher, message, source string
	created                     time.Time
}

type tag struct {
	id                int64
	name, description string
	created, updated  time.Time
}

type group struct {
	id               int64
	name             string
	historical       bool
	created, updated time.Time
	fields           []*field // oldest first
}

type field struct {
	id        int64
	name, typ string
}

// An entry is one set of a group's values: the only one of an ordinary group,
// one of many of a historical group.
type entry struct {
	id      int64
	group   *group
	created time.Time
	values  []value // in the order of their first write
}

// A value is one of: nil (cleared), string, []string (multiple),
// json.RawMessage (json), or, left behind by hand, a string or verbatim
// whatever the type.
type value struct {
	field *field
	data  any
}

// verbatim is a value other than a string that nobody checked; it is shown as
// it is.
type verbatim json.RawMessage

type job struct {
	due time.Time
	do  func(at time.Time)
}

// A PreferenceGroup is a set of topics that subscribers opt in to. An account
// without any has the feature turned off.
type PreferenceGroup struct {
	ID          int64        `json:"id"`
	Name        string       `json:"name"`
	Preferences []Preference `json:"preferences"`
}

// A Preference is one topic. FallbackOptIn is what holds for a subscriber who
// never chose.
type Preference struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	FallbackOptIn bool   `json:"fallback_opt_in"`
}

func newAccount(info Account, o Options) *account {
	a := &account{
		id: info.ID, info: info, asyncDelay: o.AsyncDelay,
		budget:      budget{allowed: o.Budget, percent: o.ErrorPercent, sample: o.ErrorSample},
		subscribers: map[int64]*subscriber{},
		byEmail:     map[string]int64{},
		byPhone:     map[string]int64{},
		byCustom:    map[string]int64{},
	}
	a.last.subscriber = firstSubscriber
	return a
}

func (a *account) name() string { return strconv.Itoa(a.id) }

// later queues asynchronous work, or does it now if there is no delay.
func (a *account) later(now time.Time, do func(at time.Time)) {
	if a.asyncDelay < 0 {
		do(now)
		return
	}
	a.jobs = append(a.jobs, job{due: now.Add(a.asyncDelay), do: do})
}

// settle does the work that is due, in the order in which it was asked for.
func (a *account) settle(now time.Time) {
	for len(a.jobs) > 0 && !a.jobs[0].due.After(now) {
		next := a.jobs[0]
		a.jobs = a.jobs[1:]
		next.do(next.due)
	}
}

// settleAll does all waiting work, due or not.
func (a *account) settleAll(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.jobs) > 0 {
		next := a.jobs[0]
		a.jobs = a.jobs[1:]
		next.do(now)
	}
}

// Subscribers

// find returns the subscriber that an identifier names, nil if there is none.
func (a *account) find(by, x string) *subscriber {
	var id int64
	switch by {
	case "email":
		id = a.byEmail[strings.ToLower(strings.TrimSpace(x))]
	case "phone_number":
		phone, _ := normalPhone(x)
		id = a.byPhone[phone]
	case "custom_identifier":
		id = a.byCustom[x]
	case "id":
		id, _ = number(x)
	}
	return a.subscribers[id]
}

// identity is who a request says it is about. Empty members are not changed.
type identity struct{ email, phone, custom string }

// add makes a subscriber. The caller has made sure that the identity is free.
func (a *account) add(who identity, language, status string, now time.Time) *subscriber {
	a.last.subscriber++
	s := &subscriber{
		id: a.last.subscriber, language: language, status: status,
		created: now, updated: now, choices: map[int64]bool{},
	}
	a.subscribers[s.id] = s
	a.identify(s, who)
	return s
}

// identify gives s an identity that is free.
func (a *account) identify(s *subscriber, who identity) {
	replace(a.byEmail, &s.email, who.email, s.id)
	replace(a.byPhone, &s.phone, who.phone, s.id)
	replace(a.byCustom, &s.custom, who.custom, s.id)
}

func replace(index map[string]int64, old *string, with string, id int64) {
	if with == "" || with == *old {
		return
	}
	delete(index, *old)
	*old = with
	index[with] = id
}

func (a *account) remove(s *subscriber) {
	delete(a.subscribers, s.id)
	delete(a.byEmail, s.email)
	delete(a.byPhone, s.phone)
	delete(a.byCustom, s.custom)
}

// sorted returns the subscribers by ascending id.
func (a *account) sorted() []*subscriber {
	return slices.SortedFunc(maps.Values(a.subscribers), func(x, y *subscriber) int { return cmp.Compare(x.id, y.id) })
}

// A plan foresees what a batch does to the identities of an account, so that a
// batch is refused as a whole before any of it is done.
type plan struct {
	acc          *account
	email, phone map[string]int64 // what changes; 0 is freed
	who          map[int64]identity
	next         int64 // negative ids of subscribers that do not exist yet
}

func (a *account) plan() *plan {
	return &plan{acc: a, email: map[string]int64{}, phone: map[string]int64{}, who: map[int64]identity{}}
}

// upsert foresees one entry. exists is whether it finds somebody, clash that
// email and phone belong to two subscribers.
func (p *plan) upsert(in identity) (exists, clash bool) {
	byEmail, byPhone := p.lookUp(p.email, p.acc.byEmail, in.email), p.lookUp(p.phone, p.acc.byPhone, in.phone)
	if byEmail != 0 && byPhone != 0 && byEmail != byPhone {
		return true, true
	}
	id := cmp.Or(byEmail, byPhone)
	if exists = id != 0; !exists {
		p.next--
		id = p.next
	}
	was, known := p.who[id]
	if s := p.acc.subscribers[id]; !known && s != nil {
		was = identity{email: s.email, phone: s.phone}
	}
	if in.email != "" && in.email != was.email {
		p.email[was.email], p.email[in.email] = 0, id
		was.email = in.email
	}
	if in.phone != "" && in.phone != was.phone {
		p.phone[was.phone], p.phone[in.phone] = 0, id
		was.phone = in.phone
	}
	p.who[id] = was
	return exists, false
}

func (p *plan) lookUp(changed, base map[string]int64, x string) int64 {
	if x == "" {
		return 0
	}
	if id, ok := changed[x]; ok {
		return id
	}
	return base[x]
}

// match returns whom an identity belongs to; clash as in plan.upsert.
func (a *account) match(in identity) (s *subscriber, clash bool) {
	var byEmail, byPhone *subscriber
	if in.email != "" {
		byEmail = a.find("email", in.email)
	}
	if in.phone != "" {
		byPhone = a.subscribers[a.byPhone[in.phone]]
	}
	if byEmail != nil && byPhone != nil && byEmail != byPhone {
		return nil, true
	}
	return cmp.Or(byEmail, byPhone), false
}

// A tagRef is a tag as a request names it. id is 0 for a name that does not
// exist yet.
type tagRef struct {
	id   int64
	name string
}

func (a *account) tagByName(name string) *tag {
	i := slices.IndexFunc(a.tags, func(t *tag) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return a.tags[i]
}

func (a *account) tagByID(id int64) *tag {
	i := slices.IndexFunc(a.tags, func(t *tag) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return a.tags[i]
}

// tag returns the tag that x names, digits being an id.
func (a *account) tag(x string) *tag {
	if id, ok := number(x); ok {
		return a.tagByID(id)
	}
	return a.tagByName(x)
}

// ensureTag returns the tag of a reference, made if it is new; nil if it was
// deleted since the reference was made.
func (a *account) ensureTag(ref tagRef, now time.Time) *tag {
	if ref.id != 0 {
		return a.tagByID(ref.id)
	}
	if t := a.tagByName(ref.name); t != nil {
		return t
	}
	a.last.tag++
	t := &tag{id: a.last.tag, name: ref.name, created: now, updated: now}
	a.tags = append(a.tags, t)
	return t
}

// addTags tags s. An automation fires for a tag that is new to s, and for one
// that s already has when mode is reset or force; never unless fire is set.
func (a *account) addTags(s *subscriber, refs []tagRef, fire bool, mode string, now time.Time) {
	for _, ref := range refs {
		t := a.ensureTag(ref, now)
		if t == nil {
			continue
		}
		added := !slices.Contains(s.tags, t.id)
		if added {
			s.tags = append(s.tags, t.id)
			s.updated = now
		}
		if fire && (added || mode == "reset" || mode == "force") {
			a.automations = append(a.automations, Automation{Subscriber: s.id, Tag: t.name, Mode: mode, Added: added, At: now})
		}
	}
}

func (s *subscriber) dropTag(id int64) {
	s.tags = slices.DeleteFunc(s.tags, func(x int64) bool { return x == id })
}

// Suppressions

// suppress is idempotent: whoever suppressed first stays the source.
func (a *account) suppress(s *subscriber, dispatcher, message, source string, now time.Time) {
	if slices.ContainsFunc(s.suppressions, func(x suppression) bool { return x.dispatcher == dispatcher && x.message == message }) {
		return
	}
	a.last.suppression++
	s.suppressions = append(s.suppressions, suppression{
		id: a.last.suppression, dispatcher: dispatcher, message: message, source: source, created: now,
	})
}

// lift ends suppressions whoever made them: also those of the customer's own
// choice and of a spam report. Empty means any.
func (s *subscriber) lift(dispatcher, message string) {
	s.suppressions = slices.DeleteFunc(s.suppressions, func(x suppression) bool {
		return (dispatcher == "" || x.dispatcher == dispatcher) && (message == "" || x.message == message)
	})
}
