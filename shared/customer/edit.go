package customer

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Update changes the members of a customer that in holds, and no others. An
// empty member is cleared; the last identifier cannot be. It may be repeated.
// request is the id of the request, for the log.
func (s *Service) Update(ctx context.Context, r *rule.Session, a account.Account, id int64, in Contact, request string) error {
	want, wrong := normalise(in, s.phonesOf(a, in.Text[InvoiceCountry]))
	if wrong != nil && !identifies(Member(fault.As(wrong).Member)) {
		return wrong
	}
	sub, values, err := s.both(ctx, r, rule.ByID(id), id)
	if err != nil {
		return unknown(err)
	}
	have, _ := contactOf(sub, values, s.phonesOf(a), s.Now())
	if wrong != nil {
		// Rule may know the customer by what we would not take from a till; the
		// till sends it back all the same, with whatever else it changes.
		if want, err = normalise(in.withoutShown(have), s.phonesOf(a, in.Text[InvoiceCountry])); err != nil {
			return err
		}
	}

	after := maps.Clone(have.Text)
	maps.Copy(after, want.Text)
	mail, number := after[Email], phoneNumber(after)
	if mail == "" && number == "" {
		e := fault.Say(fault.Invalid, "identifier_last")
		e.Member = "email, mobile, phone"
		return e
	}
	var choices map[int64]map[int64]bool
	if accepted, sent := want.Lists[Consents]; sent {
		if choices, want.Lists[Consents], err = s.choices(ctx, r, a.ID, have.Lists[Consents], accepted); err != nil {
			return err
		}
	}
	c := consents{account: a.ID, sub: sub, values: values, have: have, want: want, choices: choices}
	notes := s.refuse(ctx, &c, request)
	// What Rule is told of consents is noted in the fields only afterwards:
	// were it noted first and then lost, a second try would see no difference.
	change := rule.Change{Fields: append(fieldsOf(changed(want, have), true), notes...)}
	if !sameEmail(sub.Email, mail) {
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
			if fault.KindOf(err) == fault.Conflict && (change.Email == nil) != (change.Phone == nil) {
				code := "edit_email_taken"
				if change.Phone != nil {
					code = "edit_phone_taken"
				}
				return fault.Say(fault.Conflict, code).With(err)
			}
			return unknown(refusal(err, want))
		}
	}
	return s.consent(ctx, r, c)
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
// are written after Rule has been told of them, or with a refusal: see refuse.
func changed(want, have Contact) Contact {
	out := Contact{Text: map[Member]string{}, Flags: map[Member]bool{}, Lists: map[Member][]string{}}
	for m, v := range want.Text {
		if m == MemberNumber && have.Text[m] == "" && v == strconv.FormatInt(have.ID, 10) {
			continue // shown in place of none
		}
		if v != have.Text[m] && (m != Email || !sameEmail(have.Text[m], v)) {
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
	return out
}
