package customer

import (
	"context"
	"errors"
	"slices"
	"strings"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Add registers a customer and returns the id; known says that Rule had her
// already. It may be repeated.
//
// A new customer costs one request. Somebody whom Rule knows by one of the two
// identifiers keeps what Rule has of her: an identifier and fields that are empty
// there are filled, and nothing is overwritten. If the other identifier is set in
// Rule and differs, or is another customer's, it is fault.Conflict and nothing is
// written: nobody can take over another person by half of what identifies her.
// request is the id of the request, for the log.
func (s *Service) Add(ctx context.Context, r *rule.Session, a account.Account, in Contact, request string) (id int64, known bool, err error) {
	c, err := normalise(in, s.phonesOf(a, in.Text[InvoiceCountry]))
	if err != nil {
		return 0, false, err
	}
	who := person{c.Text[Email], phoneNumber(c.Text)}
	if who == (person{}) {
		e := fault.Say(fault.Invalid, "identifier_needed")
		e.Member = "email, mobile, phone"
		return 0, false, e
	}
	choices, accepted, err := s.choices(ctx, r, a.ID, nil, c.Lists[Consents])
	if err != nil {
		return 0, false, err
	}
	n := s.newcomer(a, c.Flags, s.NewID())
	n.Account, n.Email, n.Phone, n.Request = a.ID, who.email, who.phone, request
	queued := s.queue(ctx, n.Message)
	tags := []string{Tag}
	if n.yes {
		tags = append(tags, NewsletterTag)
	}
	text := c.withoutConsents()
	sub, err := s.create(ctx, r, rule.Upsert{Email: who.email, Phone: who.phone, Fields: append(fieldsOf(text, false), n.notes...), Tags: tags}, false)
	if err != nil && fault.KindOf(err) == fault.Conflict {
		id, known, err = s.addKnown(ctx, r, a, who, c, n, queued)
	} else if err == nil {
		id, err = sub.ID, s.settle(ctx, r, a.ID, sub.ID, n.asked, accepted, n.Types, choices, queued)
	}
	if err != nil {
		return 0, false, refusal(err, c)
	}
	s.found.add(a.ID, Key{Email: who.email}, id)
	s.found.add(a.ID, Key{Phone: who.phone}, id)
	return id, known, nil
}

// person is by what Rule knows somebody; either may be empty.
type person struct{ email, phone string }

// settle tells Rule of a new customer's consents.
func (s *Service) settle(ctx context.Context, r *rule.Session, account string, id int64, asked bool, accepted, stop []string, choices map[int64]map[int64]bool, queued bool) error {
	chosen := false
	err := inParallel(
		func() error { return s.stop(ctx, r, id, queued, stop) },
		func() error { s.marked(ctx, account, id); return nil },
		func() error {
			if err := s.Answers.Count(ctx, account, s.Now(), asked); err != nil {
				s.Log.WarnContext(ctx, "it is not counted whether a new customer was asked", "error", err)
			}
			return nil
		},
		func() (err error) { chosen, err = s.choose(ctx, r, id, choices); return err },
	)
	if err == nil && chosen {
		err = s.update(ctx, r, id, rule.Change{Fields: fieldsOf(Contact{Lists: map[Member][]string{Consents: accepted}}, true)})
	}
	return half(err)
}

// addKnown is Add for somebody whom Rule knows by one of the identifiers, or by
// both: four requests, in three waits.
func (s *Service) addKnown(ctx context.Context, r *rule.Session, a account.Account, who person, c Contact, n newcomer, queued bool) (id int64, known bool, err error) {
	sub, err := s.whose(ctx, r, who)
	if err != nil {
		return 0, false, err
	}
	values, err := s.fields(ctx, r, sub.ID)
	if err != nil {
		return 0, false, err
	}
	if noteID(values) == n.ID { // it was this call that made her: its first answer was lost
		choices, accepted, err := s.choices(ctx, r, a.ID, nil, c.Lists[Consents])
		if err != nil {
			return 0, false, err
		}
		return sub.ID, false, s.settle(ctx, r, a.ID, sub.ID, n.asked, accepted, n.Types, choices, queued)
	}
	have, _ := contactOf(sub, values, s.phonesOf(a), s.Now())
	change := rule.Change{Fields: fieldsOf(missing(c, have, values, sub), false)}
	if sub.Email == "" && who.email != "" {
		change.Email = &who.email
	}
	if sub.Phone == "" && who.phone != "" {
		change.Phone = &who.phone
	}
	if !sub.Tagged(Tag) {
		change.Tags = append(change.Tags, Tag)
	}
	// A yes counts; a box that was left unticked takes nothing away. A no that was
	// noted a moment ago and is not in Rule yet is brought there now.
	want := Contact{Flags: map[Member]bool{}}
	var stop []string
	for _, m := range marketed {
		if !c.Flags[m] {
			if pending(sub, values, m, s.Now()) {
				stop = append(stop, channels[m])
			}
			continue
		}
		want.Flags[m] = true
		if have.Flags[m] && !sub.Tagged(NewsletterTag) && !slices.Contains(change.Tags, NewsletterTag) {
			change.Tags = append(change.Tags, NewsletterTag)
		}
	}
	accepted := slices.Clone(have.Lists[Consents])
	for _, consent := range c.Lists[Consents] {
		if !slices.Contains(accepted, consent) {
			accepted = append(accepted, consent)
		}
	}
	choices, accepted, err := s.choices(ctx, r, a.ID, have.Lists[Consents], accepted)
	if err != nil {
		return 0, false, err
	}
	if change.Email != nil || change.Phone != nil || len(change.Fields) > 0 || len(change.Tags) > 0 {
		if err := s.update(ctx, r, sub.ID, change); err != nil {
			return 0, false, err
		}
	}
	want.Lists = map[Member][]string{Consents: accepted}
	err = s.consent(ctx, r, consents{account: a.ID, sub: sub, values: values, have: have, want: want, choices: choices, stop: stop, registering: true})
	return sub.ID, true, err
}

// whose returns the subscriber who has the identifiers. It is fault.Conflict if
// they are two people's, or if one is somebody's who has another of the other
// kind.
func (s *Service) whose(ctx context.Context, r *rule.Session, who person) (rule.Subscriber, error) {
	var byMail, byPhone rule.Subscriber
	find := func(into *rule.Subscriber, k Key) func() error {
		return func() (err error) {
			if k.Zero() {
				return nil
			}
			*into, err = r.Subscriber(ctx, k.Identifier())
			if err != nil && fault.KindOf(err) == fault.NotFound {
				return nil
			}
			return err
		}
	}
	if err := inParallel(find(&byMail, Key{Email: who.email}), find(&byPhone, Key{Phone: who.phone})); err != nil {
		return rule.Subscriber{}, err
	}
	switch {
	case byMail.ID == 0 && byPhone.ID == 0: // made a moment ago, or deleted
		return rule.Subscriber{}, fault.Say(fault.Unavailable, "register_again")
	case byMail.ID != 0 && byPhone.ID != 0 && byMail.ID != byPhone.ID:
		return rule.Subscriber{}, fault.Say(fault.Conflict, "two_customers")
	case byMail.ID == 0 && byPhone.Email != "" && who.email != "" && !sameEmail(byPhone.Email, who.email):
		return rule.Subscriber{}, fault.Say(fault.Conflict, "phone_taken")
	case byPhone.ID == 0 && byMail.Phone != "" && who.phone != "" && !s.sameNumber(byMail.Phone, who.phone):
		return rule.Subscriber{}, fault.Say(fault.Conflict, "email_taken")
	case byMail.ID != 0:
		return byMail, nil
	}
	return byPhone, nil
}

// sameEmail reports whether Rule's address is the one that a till sent.
func sameEmail(rules, ours string) bool {
	normal, ok := NormaliseEmail(rules)
	return strings.EqualFold(rules, ours) || ok && normal == ours
}

// sameNumber reports whether Rule's number is the one that a till sent.
func (s *Service) sameNumber(rules, ours string) bool {
	if rules == ours {
		return true
	}
	normal, ok := s.Phones(rules)
	return ok && normal == ours
}

// missing returns the members of c that Rule has no value of. A value that
// cannot be read is one: it is not overwritten.
func missing(c, have Contact, values rule.Values, sub rule.Subscriber) Contact {
	out := Contact{Text: map[Member]string{}, Flags: map[Member]bool{}, Lists: map[Member][]string{}}
	for _, row := range table {
		if row.group == "" || strings.TrimSpace(values[row.group][string(row.member)].Text()) != "" {
			continue
		}
		if v := c.Text[row.member]; v != "" && have.Text[row.member] == "" && (row.kind != number || v != sub.Phone) {
			out.Text[row.member] = v
		}
		if many := c.Lists[row.member]; len(many) > 0 && row.member != Consents {
			out.Lists[row.member] = many
		}
		if v, ok := c.Flags[row.member]; ok && row.member == AcceptsMail {
			out.Flags[row.member] = v
		}
	}
	return out
}

// create makes a subscriber; quietly, no tag starts an automation. A custom field
// that Rule refuses, because staff made one of that name with another type, does
// not keep the customer out: it is left out, and the log says which.
func (s *Service) create(ctx context.Context, r *rule.Session, u rule.Upsert, quiet bool) (rule.Subscriber, error) {
	sub, err := r.Create(ctx, u, quiet)
	if keep, dropped := withoutRefused(err, u.Fields); dropped {
		s.Log.WarnContext(ctx, "Rule refuses a custom field; the customer is saved without it", "error", err)
		u.Fields = keep
		sub, err = r.Create(ctx, u, quiet)
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

// refusal turns Rule's refusal of a customer into a sentence that a cashier can
// act on. Rule's own words stay in the log.
func refusal(err error, c Contact) error {
	if f := fault.As(err); f.Code != "" {
		return err
	}
	e, _ := errors.AsType[*rule.Error](err)
	switch kind := fault.KindOf(err); {
	case kind == fault.Conflict:
		return fault.Say(fault.Conflict, "edit_identifier_taken").With(err)
	case kind == fault.Invalid && e != nil && e.Names("phone_number"):
		m := Mobile
		if c.Text[Mobile] == "" {
			m = Phone
		}
		return fault.SayBad(string(m), "phone_refused").With(err)
	case kind == fault.Invalid && e != nil && e.Names("email"):
		return fault.SayBad(string(Email), "email_refused").With(err)
	}
	return err
}

// Create makes a customer of what an order says, whom Rule does not know:
// fault.Conflict if it does. She was not asked, so no campaign reaches her unless
// the account's consent is implied. Quietly, no automation starts.
func (s *Service) Create(ctx context.Context, r *rule.Session, a account.Account, k Key, fields []rule.Field, quiet bool, request string) (rule.Subscriber, error) {
	n := s.newcomer(a, nil, s.NewID())
	n.Account, n.Email, n.Phone, n.Request = a.ID, k.Email, k.Phone, request
	if !s.queue(ctx, n.Message) {
		return rule.Subscriber{}, fault.New(fault.Unavailable, "The queue does not take what keeps campaigns from a new customer.")
	}
	fields = append(slices.Clone(fields), n.notes...)
	sub, err := s.create(ctx, r, rule.Upsert{Email: k.Email, Phone: k.Phone, Fields: fields, Tags: []string{Tag}}, quiet)
	if err != nil {
		return rule.Subscriber{}, err
	}
	s.marked(ctx, a.ID, sub.ID)
	return sub, s.stop(ctx, r, sub.ID, true, n.Types)
}
