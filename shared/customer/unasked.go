package customer

import (
	"context"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// Who is made by an old order, in a call for many, was not asked about marketing
// either. What Create does for one, its caller does for many: it writes the notes
// with them, stops the types, and leaves to the queue what it cannot finish.

// Unasked returns what is noted of customers who were not asked, by a note with
// this id, and the message types to stop for them: none where the account's
// consent is implied.
func (s *Service) Unasked(a account.Account, id string) (notes []rule.Field, stop []string) {
	n := s.newcomer(a, nil, id)
	return n.notes, n.Types
}

// Made reports whether a subscriber has the note with this id, which says that
// the call that wrote it made her. It costs one request.
func (s *Service) Made(ctx context.Context, r *rule.Session, subscriber int64, id string) (bool, error) {
	values, err := s.fields(ctx, r, subscriber)
	return noteID(values) == id, err
}

// Leave has the queue complete what the note with this id says of a customer who
// may have been made: campaigns are stopped within minutes. For one who was not
// made by the call that wrote it nothing is done. It may be repeated.
func (s *Service) Leave(ctx context.Context, account string, k Key, id, request string) error {
	m := Message{Account: account, Email: k.Email, Phone: k.Phone, ID: id, At: s.Now().Unix(), Request: request}
	for _, c := range marketed {
		m.Types = append(m.Types, channels[c])
	}
	if !s.queue(ctx, m) {
		return fault.New(fault.Unavailable, "The queue does not take what keeps campaigns from a new customer.")
	}
	return nil
}
