package customer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// Who is sent campaigns is Rule's to say, by its suppressions, and a card shows
// what Rule says. A no is brought there in three steps: a message is queued that
// completes it should the rest fail, the no is noted in Rule's fields by the call
// that writes the customer, and Rule is told to stop. In between the note speaks.

const (
	// completeAfter is when the message comes that completes a refusal, should the
	// process that took it die or Rule not answer: after that process's time.
	completeAfter = 60 * time.Second
	// believed is how long a refusal counts that is noted and that Rule does not
	// show. It is longer than a worker waits between two tries, so that it counts
	// until Rule does; after that somebody has lifted it, on the web for example.
	believed = 3 * time.Hour
	// renewed is how old a note gets before a try that failed renews it.
	renewed = time.Hour
	// refusedField is where it is noted since when and by which call a refusal
	// counts.
	refusedField = "marketingrefused"
)

// marketed are the members for the channels of campaigns.
var marketed = []Member{AcceptsEmail, AcceptsSMS}

// Message is what is queued to complete a refusal of marketing.
type Message struct {
	Account    string   `json:"account"`
	Subscriber int64    `json:"subscriber,omitempty"` // 0 for a customer who was about to be made
	Email      string   `json:"email,omitempty"`      // by what Rule would know her then
	Phone      string   `json:"phone,omitempty"`
	ID         string   `json:"refusal"` // of the note
	At         int64    `json:"at"`      // Unix time in seconds
	Types      []string `json:"types"`   // message types in Rule
	Request    string   `json:"request"` // id of the request it is about
}

// DecodeMessage reads a queued message; ok is false for one of another kind, and
// the error is fault.Invalid for one that cannot be read.
func DecodeMessage(body string) (m Message, ok bool, err error) {
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.ID == "" {
		return Message{}, false, nil
	}
	if m.Account == "" || m.Subscriber <= 0 && m.Email == "" && m.Phone == "" || len(m.Types) == 0 {
		return m, true, fault.New(fault.Invalid, "The message does not say which customer of which account refuses what.")
	}
	return m, true, nil
}

// A newcomer is what is done for a customer whom Rule does not know.
type newcomer struct {
	Message // Types is what is stopped for her
	notes   []rule.Field
	yes     bool // she accepts marketing on a channel
	asked   bool // she was asked, of one channel at the least
}

// newcomer says what is done for a new customer who answered flags; id is the
// note's.
func (s *Service) newcomer(a account.Account, flags map[Member]bool, id string) newcomer {
	var n newcomer
	note := Contact{Flags: map[Member]bool{}}
	for _, m := range marketed {
		said, answered := flags[m]
		n.asked = n.asked || answered
		switch {
		case said:
			n.yes = true
			note.Flags[m] = true
		case answered || a.Settings.Consent != account.ConsentImplied:
			n.Types = append(n.Types, channels[m])
			note.Flags[m] = false
		}
	}
	now := s.Now()
	n.ID, n.At = id, now.Unix()
	n.notes = fieldsOf(note, true)
	if len(n.Types) > 0 {
		n.notes = append(n.notes, refusedNote(now, n.ID, false))
	}
	return n
}

// queue sends the message that completes a refusal, and reports whether it is on
// its way.
func (s *Service) queue(ctx context.Context, m Message) bool {
	if len(m.Types) == 0 {
		return true
	}
	body, err := json.Marshal(m)
	if err == nil {
		err = s.Syncs.Send(ctx, worker.Message{Body: string(body), Group: m.Account, Delay: completeAfter})
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "a refusal of marketing could not be queued; it is brought to Rule by this call alone", "error", err)
	}
	return err == nil
}

// stop tells Rule to send no campaigns of the types. Where a message completes
// that, a failure is none of the till's.
func (s *Service) stop(ctx context.Context, r *rule.Session, id int64, queued bool, types []string) error {
	if len(types) == 0 {
		return nil
	}
	err := r.Suppress(ctx, id, types...)
	if err != nil && queued {
		s.Log.WarnContext(ctx, "a refusal of marketing is not in Rule yet; it is completed within minutes", "subscriber", id, "error", err)
		return nil
	}
	return err
}

// refusedNote is the field that says since when, and by which call, a refusal
// counts; tagged, that it counts in spite of the tag for who accepts marketing.
func refusedNote(at time.Time, id string, tagged bool) rule.Field {
	v := at.UTC().Format(time.RFC3339) + " " + id
	if tagged {
		v += " " + NewsletterTag
	}
	return rule.Field{Group: ContactGroup, Name: refusedField, Type: rule.Text, Value: v}
}

// noteOf reads that field. The zero time says that there is none.
func noteOf(values rule.Values) (at time.Time, id string, tagged bool) {
	parts := strings.Fields(values[ContactGroup][refusedField].Text())
	if len(parts) < 2 {
		return time.Time{}, "", false
	}
	at, err := time.Parse(time.RFC3339, parts[0])
	if err != nil {
		return time.Time{}, "", false
	}
	return at, parts[1], len(parts) > 2
}

func noteID(values rule.Values) string {
	_, id, _ := noteOf(values)
	return id
}

// refusing reports whether our own field says no to a channel.
func refusing(values rule.Values, m Member) bool {
	return values[ContactGroup][string(m)].Text() == "false"
}

// pending reports whether a refusal is noted that Rule does not show yet. A
// customer who has been given the tag for who accepts marketing since has said
// yes elsewhere, on the web for example (assumed: what says so there gives the
// tag).
func pending(sub rule.Subscriber, values rule.Values, m Member, now time.Time) bool {
	at, _, tagged := noteOf(values)
	if !refusing(values, m) || at.IsZero() || now.Sub(at) > believed || suppressed(sub, m) {
		return false
	}
	elsewhere := sub.Tagged(NewsletterTag) && !tagged && refusing(values, AcceptsEmail) && refusing(values, AcceptsSMS)
	return !elsewhere
}

func suppressed(sub rule.Subscriber, m Member) bool {
	return slices.ContainsFunc(sub.Suppressed, func(x rule.Suppression) bool { return stops(x, m) })
}

// consents is what an answer to marketing and topics is worked out from.
type consents struct {
	account    string
	sub        rule.Subscriber
	values     rule.Values
	have, want Contact
	choices    map[int64]map[int64]bool
	// stop is what refuse has noted and Rule is to be told; queued says that a
	// message completes it.
	stop   []string
	queued bool
	// registering says that no card was shown before: the answer is new.
	registering bool
}

// refuse takes note of the channels that an edit says no to, where the card
// showed a yes: in our own memory, on the queue, and in the fields that it
// returns, which go to Rule before Rule is told to stop. Rule's suppressions, and
// not the note, tell a second try what is left to do; one without its note could
// never be lifted.
func (s *Service) refuse(ctx context.Context, c *consents, request string) []rule.Field {
	note := Contact{Flags: map[Member]bool{}}
	var refused []Member
	for _, m := range marketed {
		if v, ok := c.want.Flags[m]; ok && !v && c.have.Flags[m] {
			note.Flags[m] = false
			refused = append(refused, m)
			c.stop = append(c.stop, channels[m])
		}
	}
	if len(refused) == 0 {
		c.queued = true
		return nil
	}
	now, id := s.Now(), s.NewID()
	_ = inParallel(
		func() error {
			if err := s.Answers.Refuse(ctx, c.account, c.sub.ID, now, refused...); err != nil {
				s.Log.ErrorContext(ctx, "a refusal of marketing is not remembered; a card that is open at another till may lift it", "subscriber", c.sub.ID, "error", err)
			}
			return nil
		},
		func() error {
			c.queued = s.queue(ctx, Message{Account: c.account, Subscriber: c.sub.ID, ID: id, At: now.Unix(), Types: c.stop, Request: request})
			return nil
		},
	)
	return append(fieldsOf(note, true), refusedNote(now, id, c.sub.Tagged(NewsletterTag)))
}

// consent tells Rule what has changed of marketing and topics, and notes what
// Rule has taken.
func (s *Service) consent(ctx context.Context, r *rule.Session, c consents) error {
	lift := s.lifted(ctx, c)
	note := Contact{Flags: map[Member]bool{}, Lists: map[Member][]string{}}
	chosen := false
	err := inParallel(
		func() error { return s.stop(ctx, r, c.sub.ID, c.queued, c.stop) },
		func() error { return s.lift(ctx, r, c, lift, note.Flags) },
		func() error {
			err := s.untag(ctx, r, c)
			if err != nil && c.queued {
				s.Log.WarnContext(ctx, "the tag for who accepts marketing is not taken away yet; it is within minutes", "subscriber", c.sub.ID, "error", err)
				return nil
			}
			return err
		},
		func() (err error) { chosen, err = s.choose(ctx, r, c.sub.ID, c.choices); return err },
	)
	if err != nil {
		return half(err)
	}
	if chosen {
		note.Lists[Consents] = c.want.Lists[Consents]
	}
	if notes := fieldsOf(note, true); len(notes) > 0 {
		return half(s.update(ctx, r, c.sub.ID, rule.Change{Fields: notes}))
	}
	return nil
}

// untag takes the tag away from who accepts nothing any more.
func (s *Service) untag(ctx context.Context, r *rule.Session, c consents) error {
	if len(c.stop) == 0 || !c.sub.Tagged(NewsletterTag) {
		return nil
	}
	for _, m := range marketed {
		after := c.have.Flags[m]
		if v, ok := c.want.Flags[m]; ok {
			after = v
		}
		if after {
			return nil
		}
	}
	return r.Untag(ctx, c.sub.ID, NewsletterTag)
}

// lifted returns the channels whose refusal a yes lifts. Only a change is acted
// upon: a till sends back what it was shown.
//
// A suppression is lifted only if it was set through the API (assumed: Rule calls
// that source "api") and our own field says that it was ours: a till's no, or
// that nobody was asked. One that the customer, a bounce, a spam report or Rule's
// staff set stays, and the card goes on showing it. So does a till's no of the
// last hours where an edit says yes: the card may have been open since before it.
func (s *Service) lifted(ctx context.Context, c consents) (lift []Member) {
	for _, m := range marketed {
		if !c.want.Flags[m] || c.have.Flags[m] {
			continue
		}
		foreign := slices.ContainsFunc(c.sub.Suppressed, func(x rule.Suppression) bool { return stops(x, m) && x.Source != "api" })
		if foreign || !refusing(c.values, m) || !suppressed(c.sub, m) && !pending(c.sub, c.values, m, s.Now()) {
			s.Log.InfoContext(ctx, "a refusal of marketing that no till set stays", "member", string(m), "subscriber", c.sub.ID)
			continue
		}
		lift = append(lift, m)
	}
	if len(lift) > 0 && !c.registering {
		lift = slices.DeleteFunc(lift, s.newer(ctx, c))
	}
	return lift
}

// newer returns whether a channel was refused at a till not long ago. In doubt
// it was.
func (s *Service) newer(ctx context.Context, c consents) func(Member) bool {
	at, err := s.Answers.Refused(ctx, c.account, c.sub.ID)
	return func(m Member) bool {
		fresh := err != nil || !at[m].IsZero() && s.Now().Sub(at[m]) < RefusalLasts
		if fresh {
			s.Log.InfoContext(ctx, "a refusal of marketing stays: a till was told so within 12 hours, or that cannot be ruled out", "member", string(m), "subscriber", c.sub.ID, "error", err)
		}
		return fresh
	}
}

// lift lifts refusals, and notes in flags which. A no that another till takes
// meanwhile wins.
func (s *Service) lift(ctx context.Context, r *rule.Session, c consents, lift []Member, flags map[Member]bool) error {
	if len(lift) == 0 {
		return nil
	}
	for _, m := range lift {
		if err := r.Unsuppress(ctx, c.sub.ID, channels[m]); err != nil {
			return err
		}
	}
	if !c.registering {
		newer := s.newer(ctx, c)
		for _, m := range slices.Clone(lift) {
			if !newer(m) {
				continue
			}
			if err := r.Suppress(ctx, c.sub.ID, channels[m]); err != nil {
				return err
			}
			lift = slices.DeleteFunc(lift, func(x Member) bool { return x == m })
		}
	}
	for _, m := range lift {
		flags[m] = true
	}
	if len(lift) == 0 || c.sub.Tagged(NewsletterTag) {
		return nil
	}
	return r.Tag(ctx, c.sub.ID, []string{NewsletterTag}, rule.Quiet)
}

// Complete brings a refusal of marketing to Rule, if who took it did not. It may
// be repeated, and costs one request where nothing is left to do. A customer who
// is not in Rule refuses nothing.
func (s *Service) Complete(ctx context.Context, r *rule.Session, m Message) error {
	sub, err := s.refuser(ctx, r, m)
	if err != nil || sub.ID == 0 {
		return err
	}
	var left []Member
	for _, c := range marketed {
		if slices.Contains(m.Types, channels[c]) && !suppressed(sub, c) {
			left = append(left, c)
		}
	}
	if len(left) > 0 {
		if left, err = s.complete(ctx, r, m, sub, left); err != nil {
			return err
		}
	}
	accepts := slices.ContainsFunc(marketed, func(c Member) bool { return !suppressed(sub, c) && !slices.Contains(left, c) })
	if m.Subscriber == 0 || accepts || !sub.Tagged(NewsletterTag) {
		return nil
	}
	return r.Untag(ctx, sub.ID, NewsletterTag)
}

// complete tells Rule of the channels of a message that it does not show as
// refused, and returns those that are now.
func (s *Service) complete(ctx context.Context, r *rule.Session, m Message, sub rule.Subscriber, left []Member) (done []Member, err error) {
	values, err := r.Fields(ctx, sub.ID, ContactGroup)
	if err != nil && !errors.Is(err, rule.ErrUnread) {
		if fault.KindOf(err) == fault.NotFound {
			return nil, nil
		}
		return nil, err
	}
	at, id, tagged := noteOf(values)
	// Of somebody by an address or a number, only the call's own note says that
	// this call made her. A later edit may have said no to the other channel.
	if id != m.ID && (m.Subscriber == 0 || id != "" && at.Before(time.Unix(m.At, 0))) {
		return nil, nil
	}
	var types []string
	for _, c := range left {
		if refusing(values, c) { // nobody has said yes since
			types, done = append(types, channels[c]), append(done, c)
		}
	}
	if len(types) == 0 {
		return nil, nil
	}
	if err = r.Suppress(ctx, sub.ID, types...); err == nil {
		return done, nil
	}
	if s.Now().Sub(at) > renewed { // the card must go on saying no
		if _, uerr := r.Update(ctx, sub.ID, rule.Change{Fields: []rule.Field{refusedNote(s.Now(), cmp.Or(id, m.ID), tagged)}}); uerr != nil {
			err = errors.Join(err, uerr)
		}
	}
	return nil, err
}

// refuser returns whom a message is about, the zero Subscriber if Rule does not
// have her.
func (s *Service) refuser(ctx context.Context, r *rule.Session, m Message) (rule.Subscriber, error) {
	who := rule.ByID(m.Subscriber)
	if m.Subscriber == 0 {
		who = Key{Email: m.Email, Phone: m.Phone}.Identifier()
	}
	sub, err := r.Subscriber(ctx, who)
	if err != nil && (fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Invalid) {
		return rule.Subscriber{}, nil
	}
	return sub, err
}
