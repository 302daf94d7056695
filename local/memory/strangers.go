package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sitoo-rule/shared/account"
)

var _ account.StrangerCount = (*Accounts)(nil)

// TakeStranger notes a ticket for a minute, unless limit are noted for it.
func (s *Accounts) TakeStranger(ctx context.Context, minute time.Time, ticket string, limit int) (bool, error) {
	ok := false
	err := s.do(ctx, s.Fail, "TakeStranger", func() error {
		if s.strangers == nil {
			s.strangers = make(map[int64][]string)
		}
		m := minute.Unix()
		noted := slices.Contains(s.strangers[m], ticket)
		if ok = noted || len(s.strangers[m]) < limit; ok && !noted {
			s.strangers[m] = append(s.strangers[m], ticket)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("count an unknown key: %w", err)
	}
	return ok, nil
}

// ReturnStranger takes a ticket back.
func (s *Accounts) ReturnStranger(ctx context.Context, minute time.Time, ticket string) error {
	err := s.do(ctx, s.Fail, "ReturnStranger", func() error {
		s.strangers[minute.Unix()] = slices.DeleteFunc(s.strangers[minute.Unix()], func(t string) bool { return t == ticket })
		return nil
	})
	if err != nil {
		return fmt.Errorf("take an unknown key out of the count: %w", err)
	}
	return nil
}
