package memory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

const (
	// maxJobs is how many jobs a list has.
	maxJobs = 50
	// maxResult is how many bytes of JSON a job or a part may be, as in DynamoDB.
	maxResult = 400_000
	// lastWord is what of that is kept for a job to say why it ends.
	lastWord = 4000
	// maxSealed is how many bytes are kept of a contact, as in DynamoDB.
	maxSealed = 255
)

// History is a history.Jobs and a history.People that forgets nothing until the
// process ends. The zero value is empty and ready; it must not be copied.
type History struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	jobs   map[jobKey]page
	parts  map[runKey]map[string][]byte
	people map[listKey]map[history.Digest]int64
	known  map[listKey]map[int64][]byte

	begun begun
}

type (
	jobKey struct{ account, id string }
	runKey struct {
		jobKey
		run int
	}
	listKey struct{ account, list string }
)

var (
	_ history.Jobs   = (*History)(nil)
	_ history.People = (*History)(nil)
)

// Get returns a job, history.ErrNoJob if there is none.
func (s *History) Get(ctx context.Context, account, id string) (history.Job, error) {
	k, j := jobKey{account, id}, history.Job{}
	err := s.do(ctx, s.Fail, "Get", func() (err error) {
		p, ok := s.jobs[k]
		if !ok {
			return history.ErrNoJob
		}
		j, err = jobOf(p)
		return err
	})
	if err != nil {
		return history.Job{}, k.wrap(err, "get")
	}
	return j, nil
}

func jobOf(p page) (j history.Job, err error) {
	err = json.Unmarshal(p.text, &j)
	j.Rev = p.rev
	return j, err
}

// List returns the account's jobs, those created last first, at most 50.
func (s *History) List(ctx context.Context, account string) ([]history.Job, error) {
	var jobs []history.Job
	err := s.do(ctx, s.Fail, "List", func() error {
		for k, p := range s.jobs {
			if k.account != account {
				continue
			}
			j, err := jobOf(p)
			if err != nil {
				return err
			}
			jobs = append(jobs, j)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs of account %s: %w", account, err)
	}
	slices.SortFunc(jobs, func(a, b history.Job) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return jobs[:min(len(jobs), maxJobs)], nil
}

// Put stores j as revision j.Rev+1, provided that the stored job is at j.Rev;
// otherwise it is history.ErrChanged. A job over 400,000 bytes of JSON is
// fault.TooLarge.
func (s *History) Put(ctx context.Context, j history.Job) error {
	k := jobKey{j.Account, j.ID}
	return k.wrap(s.do(ctx, s.Fail, "Put", func() error {
		text, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if most := maxResult - lastWord; len(text) > maxResult || len(text) > most && !j.State.Final() && j.State != history.Paused {
			return fault.New(fault.TooLarge, "The backfill has more open orders, or more parts, than can be kept count of. Start one for a shorter period.")
		}
		if s.jobs[k].rev != j.Rev {
			return history.ErrChanged
		}
		if s.jobs == nil {
			s.jobs = make(map[jobKey]page)
		}
		s.jobs[k] = page{j.Rev + 1, text}
		return nil
	}), "put")
}

// Part returns the result of a part of a job's run, a Part with nothing but its
// id if there is none.
func (s *History) Part(ctx context.Context, account, job string, run int, id string) (history.Part, error) {
	k, p := runKey{jobKey{account, job}, run}, history.Part{ID: id}
	err := s.do(ctx, s.Fail, "Part", func() error {
		if text, ok := s.parts[k][id]; ok {
			return json.Unmarshal(text, &p)
		}
		return nil
	})
	if err != nil {
		return history.Part{}, k.wrap(err, "get part "+id+" of")
	}
	return p, nil
}

// Parts returns all results of a job's run, by their ids.
func (s *History) Parts(ctx context.Context, account, job string, run int) ([]history.Part, error) {
	var parts []history.Part
	k := runKey{jobKey{account, job}, run}
	err := s.do(ctx, s.Fail, "Parts", func() error {
		for _, text := range s.parts[k] {
			var p history.Part
			if err := json.Unmarshal(text, &p); err != nil {
				return err
			}
			parts = append(parts, p)
		}
		return nil
	})
	if err != nil {
		return nil, k.wrap(err, "get parts of")
	}
	slices.SortFunc(parts, func(a, b history.Part) int { return cmp.Compare(a.ID, b.ID) })
	return parts, nil
}

// SavePart notes a part's result. One that is finished, or whose stored Done is
// higher, is left as it is, which is not an error.
func (s *History) SavePart(ctx context.Context, account, job string, run int, p history.Part) error {
	k := runKey{jobKey{account, job}, run}
	return k.wrap(s.do(ctx, s.Fail, "SavePart", func() error {
		text, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if len(text) > maxResult {
			return fault.New(fault.TooLarge, "The reasons why orders failed are more than can be kept.")
		}
		if there, ok := s.parts[k][p.ID]; ok {
			var have history.Part
			if err := json.Unmarshal(there, &have); err != nil || have.Finished || have.Done > p.Done {
				return err
			}
		}
		if s.parts == nil {
			s.parts = make(map[runKey]map[string][]byte)
		}
		if s.parts[k] == nil {
			s.parts[k] = make(map[string][]byte)
		}
		s.parts[k][p.ID] = text
		return nil
	}), "save part "+p.ID+" of")
}

// Add notes subscribers by digest.
func (s *History) Add(ctx context.Context, account, list string, people map[history.Digest]int64) error {
	k := listKey{account, list}
	return k.wrap(s.do(ctx, s.Fail, "Add", func() error {
		if s.people == nil {
			s.people = make(map[listKey]map[history.Digest]int64)
		}
		if s.people[k] == nil {
			s.people[k] = make(map[history.Digest]int64)
		}
		maps.Copy(s.people[k], people)
		return nil
	}), "add to")
}

// Find returns those of the digests that are known.
func (s *History) Find(ctx context.Context, account, list string, of []history.Digest) (map[history.Digest]int64, error) {
	k, known := listKey{account, list}, map[history.Digest]int64{}
	err := s.do(ctx, s.Fail, "Find", func() error {
		for _, d := range of {
			if id, ok := s.people[k][d]; ok {
				known[d] = id
			}
		}
		return nil
	})
	if err != nil {
		return nil, k.wrap(err, "search")
	}
	return known, nil
}

// AddContacts notes subscribers by Rule's id.
func (s *History) AddContacts(ctx context.Context, account, list string, sealed map[int64][]byte) error {
	k := listKey{account, list}
	return k.wrap(s.do(ctx, s.Fail, "AddContacts", func() error {
		for _, b := range sealed {
			if len(b) > maxSealed {
				return fault.Wrap(fault.Internal, fmt.Errorf("%d bytes, at most %d", len(b), maxSealed), "note a contact")
			}
		}
		if s.known == nil {
			s.known = make(map[listKey]map[int64][]byte)
		}
		if s.known[k] == nil {
			s.known[k] = make(map[int64][]byte)
		}
		for id, b := range sealed {
			s.known[k][id] = bytes.Clone(b)
		}
		return nil
	}), "add contacts to")
}

// FindContacts returns those of the ids that are known.
func (s *History) FindContacts(ctx context.Context, account, list string, ids []int64) (map[int64][]byte, error) {
	k, known := listKey{account, list}, map[int64][]byte{}
	err := s.do(ctx, s.Fail, "FindContacts", func() error {
		for _, id := range ids {
			if b, ok := s.known[k][id]; ok {
				known[id] = bytes.Clone(b)
			}
		}
		return nil
	})
	if err != nil {
		return nil, k.wrap(err, "search contacts of")
	}
	return known, nil
}

// Forget deletes all lists of a job's run.
func (s *History) Forget(ctx context.Context, account, job string, run int) error {
	prefix := history.ListsOf(job, run)
	of := func(k listKey) bool { return k.account == account && strings.HasPrefix(k.list, prefix) }
	return listKey{account, prefix}.wrap(s.do(ctx, s.Fail, "Forget", func() error {
		maps.DeleteFunc(s.people, func(k listKey, _ map[history.Digest]int64) bool { return of(k) })
		maps.DeleteFunc(s.known, func(k listKey, _ map[int64][]byte) bool { return of(k) })
		return nil
	}), "forget")
}

func (k jobKey) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s job %s of account %s: %w", doing, k.id, k.account, err)
}

func (k listKey) wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s list %s of account %s: %w", doing, k.list, k.account, err)
}
