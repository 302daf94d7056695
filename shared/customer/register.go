package customer

import (
	"context"
	"errors"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

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
