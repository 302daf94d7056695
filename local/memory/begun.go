package memory

import (
	"context"
	"slices"

	"sitoo-rule/shared/worker"
)

// begun is what History and Imports keep of deliveries that have begun.
type begun map[[2]string][]string

var (
	_ worker.Begun = (*History)(nil)
	_ worker.Begun = (*Imports)(nil)
)

func (b *begun) begin(group, message, attempt string) int {
	if *b == nil {
		*b = begun{}
	}
	k := [2]string{group, message}
	if !slices.Contains((*b)[k], attempt) {
		(*b)[k] = append((*b)[k], attempt)
	}
	return len((*b)[k])
}

// Begin notes an attempt at a message and returns how many are noted.
func (s *History) Begin(ctx context.Context, group, message, attempt string) (n int, err error) {
	err = s.do(ctx, s.Fail, "Begin", func() error { n = s.begun.begin(group, message, attempt); return nil })
	return n, err
}

// End forgets all attempts at a message.
func (s *History) End(ctx context.Context, group, message string) error {
	return s.do(ctx, s.Fail, "End", func() error { delete(s.begun, [2]string{group, message}); return nil })
}

// Begin notes an attempt at a message and returns how many are noted.
func (s *Imports) Begin(ctx context.Context, group, message, attempt string) (n int, err error) {
	err = s.do(ctx, s.Fail, "Begin", func() error { n = s.begun.begin(group, message, attempt); return nil })
	return n, err
}

// End forgets all attempts at a message.
func (s *Imports) End(ctx context.Context, group, message string) error {
	return s.do(ctx, s.Fail, "End", func() error { delete(s.begun, [2]string{group, message}); return nil })
}
