package memory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/order"
)

func TestAccounts(t *testing.T) {
	t.Parallel()
	contract.Accounts(t, func(*testing.T) account.Store { return new(memory.Accounts) })
}

func TestLedger(t *testing.T) {
	t.Parallel()
	contract.Ledger(t, func(*testing.T) order.Ledger { return new(memory.Ledger) })
}

// Every method meets the hook before and after its effect, and the effect has
// happened exactly when the second error comes.
func TestFail(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	k := order.Key{Account: "shop", Order: 1}

	calls := map[string]struct {
		call     func(ctx context.Context, s *memory.Accounts, l *memory.Ledger) error
		happened func(ctx context.Context, s *memory.Accounts, l *memory.Ledger) bool // nil for a read
	}{
		"accounts Get": {call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
			_, err := s.Get(ctx, "shop")
			return err
		}},
		"accounts Create": {
			call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
				return s.Create(ctx, account.Account{ID: "new"})
			},
			happened: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) bool {
				_, err := s.Get(ctx, "new")
				return err == nil
			},
		},
		"accounts Block": {
			call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
				return s.Block(ctx, "shop", now)
			},
			happened: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) bool {
				a, err := s.Get(ctx, "shop")
				return err == nil && a.BlockedUntil.Equal(now)
			},
		},
		"accounts SetSchema": {
			call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
				return s.SetSchema(ctx, "shop", 2)
			},
			happened: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) bool {
				a, err := s.Get(ctx, "shop")
				return err == nil && a.Schema == 2
			},
		},
		"accounts Refuse": {
			call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
				return s.Refuse(ctx, "bad", now)
			},
			happened: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) bool {
				until, err := s.Refused(ctx, "bad")
				return err == nil && until.Equal(now)
			},
		},
		"accounts Refused": {call: func(ctx context.Context, s *memory.Accounts, _ *memory.Ledger) error {
			_, err := s.Refused(ctx, "bad")
			return err
		}},
		"ledger Queue": {
			call: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) error {
				return l.Queue(ctx, order.Key{Account: "shop", Order: 2}, now)
			},
			happened: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) bool {
				_, ok, err := l.Get(ctx, order.Key{Account: "shop", Order: 2})
				return err == nil && ok
			},
		},
		"ledger Claim": {
			call: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) error {
				c, err := l.Claim(ctx, k, "b", now.Add(time.Hour), time.Minute)
				if err != nil && !cmp.Equal(c, order.Claim{}) {
					return errors.New("Claim returned a claim beside its error")
				}
				return err
			},
			happened: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) bool {
				r, _, err := l.Get(ctx, k)
				return err == nil && r.Attempt == "b"
			},
		},
		"ledger Note": {
			call: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) error {
				return l.Note(ctx, k, "a", 4711, now)
			},
			happened: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) bool {
				r, _, err := l.Get(ctx, k)
				return err == nil && r.Subscriber == 4711
			},
		},
		"ledger Finish": {
			call: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) error {
				return l.Finish(ctx, k, "a", order.Sent, "", false, now)
			},
			happened: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) bool {
				r, _, err := l.Get(ctx, k)
				return err == nil && r.State == order.Sent
			},
		},
		"ledger Get": {call: func(ctx context.Context, _ *memory.Accounts, l *memory.Ledger) error {
			_, _, err := l.Get(ctx, k)
			return err
		}},
	}
	for name, tt := range calls {
		for _, after := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " before", true: " after"}[after], func(t *testing.T) {
				t.Parallel()
				var (
					ctx   = t.Context()
					boom  = errors.New("boom")
					armed bool
					ops   []string
				)
				fail := func(op string) error {
					if !armed {
						return nil
					}
					ops = append(ops, op)
					if after && len(ops) == 1 {
						return nil
					}
					return boom
				}
				s, l := &memory.Accounts{Fail: fail}, &memory.Ledger{Fail: fail}
				if err := s.Create(ctx, account.Account{ID: "shop", SealedKey: []byte("sealed")}); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Claim(ctx, k, "a", now, time.Minute); err != nil {
					t.Fatal(err)
				}

				armed = true
				if err := tt.call(ctx, s, l); !errors.Is(err, boom) {
					t.Errorf("error = %v, want the hook's", err)
				}
				armed = false

				_, op, _ := strings.Cut(name, " ")
				want := []string{op}
				if after {
					want = append(want, op+memory.Done)
				}
				if !slices.Equal(ops, want) {
					t.Errorf("the hook was asked %q, want %q", ops, want)
				}
				if tt.happened != nil && tt.happened(ctx, s, l) != after {
					t.Errorf("the effect happened: %v, want %v", !after, after)
				}
			})
		}
	}
}
