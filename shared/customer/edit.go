package customer

import (
	"context"
	"maps"
	"slices"
	"strings"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

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
