package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sitoo-rule/shared/bonus"
)

// Imports is a bonus.Imports that forgets nothing until the process ends. The
// zero value is empty and ready; it must not be copied.
type Imports struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	imports map[importKey]bonus.Import
	parts   map[importKey]map[int]bonus.Part

	begun begun
}

type importKey struct{ account, id string }

var _ bonus.Imports = (*Imports)(nil)

// Create notes an import. One of that id that exists is left as it is.
func (s *Imports) Create(ctx context.Context, i bonus.Import) error {
	k := importKey{i.Account, i.ID}
	return s.run(ctx, "Create", k, func() error {
		if _, ok := s.imports[k]; ok {
			return nil
		}
		if s.imports == nil {
			s.imports = make(map[importKey]bonus.Import)
		}
		i.Created = milli(i.Created)
		s.imports[k] = i
		return nil
	})
}

// Queue notes that every part is on the queue. bonus.ErrNoImport if there is no
// such import.
func (s *Imports) Queue(ctx context.Context, account, id string) error {
	k := importKey{account, id}
	return s.run(ctx, "Queue", k, func() error {
		i, ok := s.imports[k]
		if !ok {
			return bonus.ErrNoImport
		}
		i.Queued = true
		s.imports[k] = i
		return nil
	})
}

// Get returns an import and the parts that have begun, by number;
// bonus.ErrNoImport if there is none.
func (s *Imports) Get(ctx context.Context, account, id string) (bonus.Import, []bonus.Part, error) {
	var (
		k     = importKey{account, id}
		i     bonus.Import
		parts []bonus.Part
	)
	err := s.run(ctx, "Get", k, func() error {
		var ok bool
		if i, ok = s.imports[k]; !ok {
			return bonus.ErrNoImport
		}
		for _, p := range s.parts[k] {
			p.Failures = slices.Clone(p.Failures)
			parts = append(parts, p)
		}
		return nil
	})
	if err != nil {
		return bonus.Import{}, nil, err
	}
	slices.SortFunc(parts, func(a, b bonus.Part) int { return cmp.Compare(a.Number, b.Number) })
	return i, parts, nil
}

// Latest returns the ids of the account's latest imports, newest first, at most
// bonus.MaxLatest.
func (s *Imports) Latest(ctx context.Context, account string) ([]string, error) {
	var list []bonus.Import
	err := s.do(ctx, s.Fail, "Latest", func() error {
		for k, i := range s.imports {
			if k.account == account {
				list = append(list, i)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list imports of account %s: %w", account, err)
	}
	slices.SortFunc(list, func(a, b bonus.Import) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	var ids []string
	for _, i := range list[:min(len(list), bonus.MaxLatest)] {
		ids = append(ids, i.ID)
	}
	return ids, nil
}

// Part returns the progress of a part, a Part with nothing but its number if it
// has not begun.
func (s *Imports) Part(ctx context.Context, account, id string, number int) (bonus.Part, error) {
	k, p := importKey{account, id}, bonus.Part{Number: number}
	err := s.run(ctx, "Part", k, func() error {
		if number < 1 {
			return fmt.Errorf("there is no part %d", number)
		}
		if have, ok := s.parts[k][number]; ok {
			p = have
			p.Failures = slices.Clone(p.Failures)
		}
		return nil
	})
	if err != nil {
		return bonus.Part{}, err
	}
	return p, nil
}

// SavePart notes a part's progress. A part that is finished, or whose stored
// Done is higher, is left as it is, which is not an error. The first
// bonus.MaxFailures failures are kept.
func (s *Imports) SavePart(ctx context.Context, account, id string, p bonus.Part) error {
	k := importKey{account, id}
	return s.run(ctx, "SavePart", k, func() error {
		if p.Number < 1 {
			return fmt.Errorf("there is no part %d", p.Number)
		}
		if have := s.parts[k][p.Number]; have.Finished || have.Done > p.Done {
			return nil
		}
		p.Failures = slices.Clone(p.Failures[:min(len(p.Failures), bonus.MaxFailures)])
		if len(p.Failures) == 0 {
			p.Failures = nil
		}
		p.Until, p.Updated = milli(p.Until), milli(p.Updated)
		if s.parts == nil {
			s.parts = make(map[importKey]map[int]bonus.Part)
		}
		if s.parts[k] == nil {
			s.parts[k] = make(map[int]bonus.Part)
		}
		s.parts[k][p.Number] = p
		return nil
	})
}

func (s *Imports) run(ctx context.Context, op string, k importKey, effect func() error) error {
	if err := s.do(ctx, s.Fail, op, effect); err != nil {
		return fmt.Errorf("%s import %s of account %s: %w", op, k.id, k.account, err)
	}
	return nil
}
