package customer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// The tags this package gives.
const (
	Tag           = "Sitoo"      // everyone we write; its automation starts once, when it is new
	NewsletterTag = "Newsletter" // those who accept marketing
)

// Service does what a cashier asks for. It is safe for concurrent use and
// lives as long as the process.
type Service struct {
	Phones Phones // nil in functions that never read a number from outside
	// Syncs takes the delayed messages that complete a refusal of marketing: see
	// Complete. Answers remembers what tills were told. Both are nil in functions
	// that write no customer.
	Syncs   worker.Sender
	Answers Answers
	Log     *slog.Logger
	Now     func() time.Time
	// NewID returns an id that is used once.
	NewID func() string

	found  recent
	mu     sync.Mutex
	groups map[string]cachedGroups
}

// Answers remembers what tills were told of marketing: refusals for RefusalLasts,
// and for some weeks how many new customers were asked at all. Implementations
// are safe for concurrent use.
type Answers interface {
	// Refuse notes that the customer has said no to the channels (AcceptsEmail,
	// AcceptsSMS) at a time, in place of an earlier one. It may be repeated.
	Refuse(ctx context.Context, account string, subscriber int64, at time.Time, channels ...Member) error
	// Refused returns when that was last, by channel. The read is strongly
	// consistent. What is older than RefusalLasts may be there or not.
	Refused(ctx context.Context, account string, subscriber int64) (map[Member]time.Time, error)
	// Tagged reports whether Marked has noted that a customer has the tag Sitoo.
	Tagged(ctx context.Context, account string, subscriber int64) (bool, error)
	// Marked notes that. It may be repeated.
	Marked(ctx context.Context, account string, subscriber int64) error
	// Count counts a new customer, who was asked whether she takes marketing or
	// was not, under the day of at in Swedish time. A repetition counts twice.
	Count(ctx context.Context, account string, at time.Time, asked bool) error
	// Counts returns how many were counted since the day of a time.
	Counts(ctx context.Context, account string, since time.Time) (asked, unasked int, err error)
}

// RefusalLasts is how long a till's no is not lifted by an edit: a card that was
// open before it, at another till, may yet be saved with the yes that it showed.
const RefusalLasts = 12 * time.Hour

// phonesOf reads phone numbers as they are dialled in the account's country.
// Where a number does not fit there, it is read as one of more's.
func (s *Service) phonesOf(a account.Account, more ...string) Phones {
	if s.Phones == nil {
		return nil
	}
	return func(raw string, countries ...string) (string, bool) {
		return s.Phones(raw, append(append([]string{a.Settings.Country}, countries...), more...)...)
	}
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

// Mark gives a customer the tag Sitoo, whose automation it starts if it is new to
// her and never again. It costs a request to Rule the first time, and none once it
// is noted that she has it. fault.NotFound if there is no such customer.
func (s *Service) Mark(ctx context.Context, r *rule.Session, account string, subscriber int64) error {
	has, err := s.Answers.Tagged(ctx, account, subscriber)
	if err != nil { // to tag once more does no harm
		s.Log.WarnContext(ctx, "it is not known whether a customer has the tag Sitoo; she is given it", "subscriber", subscriber, "error", err)
	}
	if has {
		return nil
	}
	if err := r.Tag(ctx, subscriber, []string{Tag}, rule.Quiet); err != nil {
		return err
	}
	s.marked(ctx, account, subscriber)
	return nil
}

// marked notes that a customer has the tag Sitoo.
func (s *Service) marked(ctx context.Context, account string, subscriber int64) {
	if err := s.Answers.Marked(ctx, account, subscriber); err != nil {
		s.Log.WarnContext(ctx, "it is not noted that a customer has the tag Sitoo; her next order gives it once more", "subscriber", subscriber, "error", err)
	}
}
