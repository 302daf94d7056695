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
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/parking"
	"sitoo-rule/shared/worker"
)

func TestBegun(t *testing.T) {
	t.Parallel()
	contract.Begun(t, func(*testing.T) worker.Begun { return new(memory.History) })
	contract.Begun(t, func(*testing.T) worker.Begun { return new(memory.Imports) })
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	contract.Strangers(t, func(*testing.T) account.StrangerCount { return new(memory.Accounts) })
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	contract.Accounts(t, func(*testing.T) account.Store { return new(memory.Accounts) })
}

func TestParked(t *testing.T) {
	t.Parallel()
	contract.Parked(t, func(*testing.T) parking.Store { return new(memory.Parked) })
}

func TestLedger(t *testing.T) {
	t.Parallel()
	contract.Ledger(t, func(*testing.T) order.Ledger { return new(memory.Ledger) })
}

func TestConsents(t *testing.T) {
	t.Parallel()
	contract.Consents(t, func(*testing.T) customer.Answers { return new(memory.Consents) })
}

func TestBonus(t *testing.T) {
	t.Parallel()
	contract.Bonus(t, func(*testing.T) bonus.Store { return new(memory.Bonus) })
}

func TestImports(t *testing.T) {
	t.Parallel()
	contract.Imports(t, func(*testing.T) bonus.Imports { return new(memory.Imports) })
}

func TestHistory(t *testing.T) {
	t.Parallel()
	contract.Jobs(t, func(*testing.T) history.Jobs { return new(memory.History) })
	contract.People(t, func(*testing.T) history.People { return new(memory.History) })
}

type stores struct {
	accounts memory.Accounts
	ledger   memory.Ledger
	bonus    memory.Bonus
	imports  memory.Imports
	history  memory.History
}

// Every method meets the hook before and after its effect, and the effect has
// happened exactly when the second error comes.
func TestFail(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)
	k := order.Key{Account: "shop", Order: 1}
	done := order.Key{Account: "shop", Order: 3}
	customer := bonus.Key{Account: "shop", Subscriber: 4711}

	calls := map[string]struct {
		call     func(ctx context.Context, s *stores) error
		happened func(ctx context.Context, s *stores) bool // nil for a read
	}{
		"accounts Get": {call: func(ctx context.Context, s *stores) error {
			_, _, err := s.accounts.Get(ctx, "shop", "", "")
			return err
		}},
		"accounts Create": {
			call: func(ctx context.Context, s *stores) error {
				return s.accounts.Create(ctx, account.Account{ID: "new"})
			},
			happened: func(ctx context.Context, s *stores) bool {
				_, _, err := s.accounts.Get(ctx, "new", "", "")
				return err == nil
			},
		},
		"accounts Block": {
			call: func(ctx context.Context, s *stores) error {
				return s.accounts.Block(ctx, "shop", now)
			},
			happened: func(ctx context.Context, s *stores) bool {
				a, _, err := s.accounts.Get(ctx, "shop", "", "")
				return err == nil && a.BlockedUntil.Equal(now)
			},
		},
		"accounts SetSchema": {
			call: func(ctx context.Context, s *stores) error {
				return s.accounts.SetSchema(ctx, "shop", 2)
			},
			happened: func(ctx context.Context, s *stores) bool {
				a, _, err := s.accounts.Get(ctx, "shop", "", "")
				return err == nil && a.Schema == 2
			},
		},
		"accounts Refuse": {
			call: func(ctx context.Context, s *stores) error {
				return s.accounts.Refuse(ctx, "bad", now)
			},
			happened: func(ctx context.Context, s *stores) bool {
				until, err := s.accounts.Refused(ctx, "bad")
				return err == nil && until.Equal(now)
			},
		},
		"accounts SetSitoo": {
			call: func(ctx context.Context, s *stores) error {
				return s.accounts.SetSitoo(ctx, "shop", "", &account.SitooAccess{Site: 1})
			},
			happened: func(ctx context.Context, s *stores) bool {
				a, _, err := s.accounts.Get(ctx, "shop", "", "")
				return err == nil && a.Sitoo != nil
			},
		},
		"accounts UsedSitoo": {
			call: func(ctx context.Context, s *stores) error { return s.accounts.UsedSitoo(ctx, "shop", "", now) },
			happened: func(ctx context.Context, s *stores) bool {
				a, _, err := s.accounts.Get(ctx, "shop", "", "")
				return err == nil && a.Sitoo.Used.Equal(now)
			},
		},
		"accounts Claim": {
			call: func(ctx context.Context, s *stores) error {
				c, err := s.accounts.Claim(ctx, account.Shop{Account: "90001", Site: 1}, "shop", "")
				if err != nil && c.Scope != "" {
					return errors.New("Claim returned an owner beside its error")
				}
				return err
			},
			happened: func(ctx context.Context, s *stores) bool {
				list, err := s.accounts.Claims(ctx, "90001")
				return err == nil && len(list) == 1
			},
		},
		"accounts Claims": {call: func(ctx context.Context, s *stores) error {
			_, err := s.accounts.Claims(ctx, "90001")
			return err
		}},
		"accounts AddKey": {
			call: func(ctx context.Context, s *stores) error {
				_, err := s.accounts.AddKey(ctx, account.Key{ID: "key", Account: "shop"})
				return err
			},
			happened: func(ctx context.Context, s *stores) bool {
				k, err := s.accounts.Key(ctx, "key")
				return err == nil && k.Account == "shop"
			},
		},
		"accounts Refused": {call: func(ctx context.Context, s *stores) error {
			_, err := s.accounts.Refused(ctx, "bad")
			return err
		}},
		"ledger Queue": {
			call: func(ctx context.Context, s *stores) error {
				return s.ledger.Queue(ctx, order.Key{Account: "shop", Order: 2}, order.Stamp{}, now)
			},
			happened: func(ctx context.Context, s *stores) bool {
				_, ok, err := s.ledger.Get(ctx, order.Key{Account: "shop", Order: 2})
				return err == nil && ok
			},
		},
		"ledger Claim": {
			call: func(ctx context.Context, s *stores) error {
				c, err := s.ledger.Claim(ctx, k, order.Stamp{}, "b", now.Add(time.Hour), time.Minute)
				if err != nil && !cmp.Equal(c, order.Claim{}) {
					return errors.New("Claim returned a claim beside its error")
				}
				return err
			},
			happened: func(ctx context.Context, s *stores) bool {
				r, _, err := s.ledger.Get(ctx, k)
				return err == nil && r.Attempt == "b"
			},
		},
		"ledger Note": {
			call: func(ctx context.Context, s *stores) error {
				return s.ledger.Note(ctx, k, "a", 4711, now)
			},
			happened: func(ctx context.Context, s *stores) bool {
				r, _, err := s.ledger.Get(ctx, k)
				return err == nil && r.Subscriber == 4711
			},
		},
		"ledger Finish": {
			call: func(ctx context.Context, s *stores) error {
				return s.ledger.Finish(ctx, k, "a", order.Sent, "", false, now)
			},
			happened: func(ctx context.Context, s *stores) bool {
				r, _, err := s.ledger.Get(ctx, k)
				return err == nil && r.State == order.Sent
			},
		},
		"ledger Reopen": {
			call: func(ctx context.Context, s *stores) error {
				return s.ledger.Reopen(ctx, done, now.Add(time.Hour), false)
			},
			happened: func(ctx context.Context, s *stores) bool {
				r, _, err := s.ledger.Get(ctx, done)
				return err == nil && r.State == order.Queued
			},
		},
		"ledger Get": {call: func(ctx context.Context, s *stores) error {
			_, _, err := s.ledger.Get(ctx, k)
			return err
		}},
		"bonus Get": {call: func(ctx context.Context, s *stores) error {
			b, err := s.bonus.Get(ctx, customer)
			if err != nil && !cmp.Equal(b, bonus.Book{}) {
				return errors.New("Get returned a book beside its error")
			}
			return err
		}},
		"bonus Put": {
			call: func(ctx context.Context, s *stores) error {
				return s.bonus.Put(ctx, customer, bonus.Book{Rev: 1, Version: 2})
			},
			happened: func(ctx context.Context, s *stores) bool {
				b, err := s.bonus.Get(ctx, customer)
				return err == nil && b.Rev == 2
			},
		},
		"imports Create": {
			call: func(ctx context.Context, s *stores) error {
				return s.imports.Create(ctx, bonus.Import{Account: "shop", ID: "new"})
			},
			happened: func(ctx context.Context, s *stores) bool {
				_, _, err := s.imports.Get(ctx, "shop", "new")
				return err == nil
			},
		},
		"imports Queue": {
			call: func(ctx context.Context, s *stores) error { return s.imports.Queue(ctx, "shop", "file") },
			happened: func(ctx context.Context, s *stores) bool {
				i, _, err := s.imports.Get(ctx, "shop", "file")
				return err == nil && i.Queued
			},
		},
		"imports Get": {call: func(ctx context.Context, s *stores) error {
			i, parts, err := s.imports.Get(ctx, "shop", "file")
			if err != nil && (!cmp.Equal(i, bonus.Import{}) || parts != nil) {
				return errors.New("Get returned an import beside its error")
			}
			return err
		}},
		"imports Latest": {call: func(ctx context.Context, s *stores) error {
			ids, err := s.imports.Latest(ctx, "shop")
			if err != nil && ids != nil {
				return errors.New("Latest returned ids beside its error")
			}
			return err
		}},
		"imports Part": {call: func(ctx context.Context, s *stores) error {
			p, err := s.imports.Part(ctx, "shop", "file", 1)
			if err != nil && !cmp.Equal(p, bonus.Part{}) {
				return errors.New("Part returned a part beside its error")
			}
			return err
		}},
		"imports SavePart": {
			call: func(ctx context.Context, s *stores) error {
				return s.imports.SavePart(ctx, "shop", "file", bonus.Part{Number: 1, Done: 19})
			},
			happened: func(ctx context.Context, s *stores) bool {
				p, err := s.imports.Part(ctx, "shop", "file", 1)
				return err == nil && p.Done == 19
			},
		},
		"history Get": {call: func(ctx context.Context, s *stores) error {
			j, err := s.history.Get(ctx, "shop", "job")
			if err != nil && !cmp.Equal(j, history.Job{}) {
				return errors.New("Get returned a job beside its error")
			}
			return err
		}},
		"history List": {call: func(ctx context.Context, s *stores) error {
			jobs, err := s.history.List(ctx, "shop")
			if err != nil && jobs != nil {
				return errors.New("List returned jobs beside its error")
			}
			return err
		}},
		"history Put": {
			call: func(ctx context.Context, s *stores) error {
				return s.history.Put(ctx, history.Job{Account: "shop", ID: "job", Rev: 1, Step: 2})
			},
			happened: func(ctx context.Context, s *stores) bool {
				j, err := s.history.Get(ctx, "shop", "job")
				return err == nil && j.Rev == 2 && j.Step == 2
			},
		},
		"history Part": {call: func(ctx context.Context, s *stores) error {
			p, err := s.history.Part(ctx, "shop", "job", 1, "a")
			if err != nil && !cmp.Equal(p, history.Part{}) {
				return errors.New("Part returned a part beside its error")
			}
			return err
		}},
		"history Parts": {call: func(ctx context.Context, s *stores) error {
			parts, err := s.history.Parts(ctx, "shop", "job", 1)
			if err != nil && parts != nil {
				return errors.New("Parts returned parts beside its error")
			}
			return err
		}},
		"history SavePart": {
			call: func(ctx context.Context, s *stores) error {
				return s.history.SavePart(ctx, "shop", "job", 1, history.Part{ID: "a", Done: 19})
			},
			happened: func(ctx context.Context, s *stores) bool {
				p, err := s.history.Part(ctx, "shop", "job", 1, "a")
				return err == nil && p.Done == 19
			},
		},
		"history Add": {
			call: func(ctx context.Context, s *stores) error {
				return s.history.Add(ctx, "shop", "list", map[history.Digest]int64{{1}: 4711})
			},
			happened: func(ctx context.Context, s *stores) bool {
				got, err := s.history.Find(ctx, "shop", "list", []history.Digest{{1}})
				return err == nil && got[history.Digest{1}] == 4711
			},
		},
		"history Find": {call: func(ctx context.Context, s *stores) error {
			_, err := s.history.Find(ctx, "shop", "list", []history.Digest{{1}})
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
				s := &stores{
					memory.Accounts{Fail: fail}, memory.Ledger{Fail: fail}, memory.Bonus{Fail: fail}, memory.Imports{Fail: fail}, memory.History{Fail: fail},
				}
				if err := s.accounts.Create(ctx, account.Account{ID: "shop"}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.ledger.Claim(ctx, k, order.Stamp{}, "a", now, time.Minute); err != nil {
					t.Fatal(err)
				}
				if _, err := s.ledger.Claim(ctx, done, order.Stamp{}, "a", now, time.Minute); err != nil {
					t.Fatal(err)
				}
				if err := s.ledger.Finish(ctx, done, "a", order.Sent, "", false, now); err != nil {
					t.Fatal(err)
				}
				if err := s.bonus.Put(ctx, customer, bonus.Book{}); err != nil {
					t.Fatal(err)
				}
				if err := s.imports.Create(ctx, bonus.Import{Account: "shop", ID: "file"}); err != nil {
					t.Fatal(err)
				}
				if err := s.history.Put(ctx, history.Job{Account: "shop", ID: "job"}); err != nil {
					t.Fatal(err)
				}
				if name == "accounts UsedSitoo" {
					if err := s.accounts.SetSitoo(ctx, "shop", "", &account.SitooAccess{Site: 1}); err != nil {
						t.Fatal(err)
					}
				}

				armed = true
				if err := tt.call(ctx, s); !errors.Is(err, boom) {
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
				if tt.happened != nil && tt.happened(ctx, s) != after {
					t.Errorf("the effect happened: %v, want %v", !after, after)
				}
			})
		}
	}
}
