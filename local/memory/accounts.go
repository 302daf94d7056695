package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sitoo-rule/shared/account"
)

// Accounts is an account.Store. The zero value is empty and ready; it must
// not be copied.
type Accounts struct {
	// Fail, when set, is asked before a call takes effect, with the method's
	// name, and again after it has, with Done appended. Its error becomes the
	// call's: the first kind is a call that never arrived, the second one
	// whose answer was lost. Set it before the store is used.
	Fail func(op string) error

	core
	accounts  map[string]account.Account // by id, without what is a label's
	keys      map[string]account.Key
	settings  map[string]account.Settings // by id, without the country
	countries map[string]string           // by scope
	access    map[string]*account.SitooAccess
	claims    map[account.Shop]account.Claim
	attempts  map[string]account.Attempts
	refused   map[string]time.Time
	strangers map[int64][]string // tickets by their minute
}

var _ account.Store = (*Accounts)(nil)

// put stores a value in a map that may not be there yet.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// call is do with what was attempted in the error.
func (s *Accounts) call(ctx context.Context, op, id string, effect func() error) error {
	if err := s.do(ctx, s.Fail, op, effect); err != nil {
		return fmt.Errorf("%s of %s: %w", op, id, err)
	}
	return nil
}

func cloneKey(k account.Key) account.Key {
	k.Sealed, k.Labels = bytes.Clone(k.Sealed), slices.Clone(k.Labels)
	for _, t := range []*time.Time{&k.FirstSeen, &k.FirstAccepted, &k.Accepted, &k.RefusedSince, &k.Refused, &k.Delivered, &k.Dropped} {
		*t = milli(*t)
	}
	return k
}

func cloneAccess(at *account.SitooAccess) *account.SitooAccess {
	if at == nil {
		return nil
	}
	c := *at
	c.Sealed, c.Since, c.Used = bytes.Clone(c.Sealed), milli(c.Since), milli(c.Used)
	return &c
}

// Key returns a key by its id, or account.ErrNotFound.
func (s *Accounts) Key(ctx context.Context, id string) (got account.Key, err error) {
	err = s.call(ctx, "Key", id, func() error {
		k, ok := s.keys[id]
		if !ok {
			return account.ErrNotFound
		}
		got = cloneKey(k)
		return nil
	})
	return got, err
}

// Get returns an account as a label sees it, and a key with it.
func (s *Accounts) Get(ctx context.Context, id, label, key string) (a account.Account, k account.Key, err error) {
	err = s.call(ctx, "Get", "account "+id, func() error {
		found, ok := s.accounts[id]
		if !ok {
			return account.ErrNotFound
		}
		scope := account.Scope(id, label)
		a, k = found, cloneKey(s.keys[key])
		a.Label, a.Labels = label, slices.Clone(a.Labels)
		a.Sitoo = cloneAccess(s.access[scope])
		a.Settings = s.settings[id]
		a.Settings.Country = s.countries[scope]
		return nil
	})
	if err != nil {
		return account.Account{}, account.Key{}, err
	}
	return a, k, nil
}

// Keys returns all keys of an account, those seen first first.
func (s *Accounts) Keys(ctx context.Context, id string) (list []account.Key, err error) {
	err = s.call(ctx, "Keys", "account "+id, func() error {
		for _, k := range s.keys {
			if k.Account == id {
				list = append(list, cloneKey(k))
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b account.Key) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.ID, b.ID))
	})
	return list, err
}

// Create stores an account's id, name and time, unless there is one of that id.
func (s *Accounts) Create(ctx context.Context, a account.Account) error {
	return s.call(ctx, "Create", "account "+a.ID, func() error {
		if _, ok := s.accounts[a.ID]; !ok {
			put(&s.accounts, a.ID, account.Account{ID: a.ID, Name: a.Name, Created: milli(a.Created)})
		}
		return nil
	})
}

// AddKey stores a key, unless there is one of that id, and returns it.
func (s *Accounts) AddKey(ctx context.Context, k account.Key) (got account.Key, err error) {
	err = s.call(ctx, "AddKey", "key "+k.ID, func() error {
		if _, ok := s.keys[k.ID]; !ok {
			put(&s.keys, k.ID, cloneKey(k))
		}
		got = cloneKey(s.keys[k.ID])
		return nil
	})
	return got, err
}

func (s *Accounts) changeKey(ctx context.Context, op, id string, change func(*account.Key)) error {
	return s.call(ctx, op, "key "+id, func() error {
		k, ok := s.keys[id]
		if !ok {
			return account.ErrNotFound
		}
		change(&k)
		s.keys[id] = cloneKey(k)
		return nil
	})
}

// AcceptKey notes that Rule accepted a key.
func (s *Accounts) AcceptKey(ctx context.Context, id, label string, at time.Time) error {
	return s.changeKey(ctx, "AcceptKey", id, func(k *account.Key) {
		if at = milli(at); at.Before(k.Refused) || at.Before(k.Accepted) {
			return
		}
		k.Accepted, k.RefusedSince, k.Refused = at, time.Time{}, time.Time{}
		if k.FirstAccepted.IsZero() {
			k.FirstAccepted = at
		}
		k.Labels = with(k.Labels, label)
	})
}

// with returns a sorted list with a member.
func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	list = append(slices.Clone(list), s)
	slices.Sort(list)
	return list
}

// RefuseKey notes that Rule refused a key.
func (s *Accounts) RefuseKey(ctx context.Context, id string, at time.Time) error {
	return s.changeKey(ctx, "RefuseKey", id, func(k *account.Key) {
		if at = milli(at); at.Before(k.Accepted) || at.Before(k.Refused) {
			return
		}
		if k.Refused = at; k.RefusedSince.IsZero() {
			k.RefusedSince = at
		}
	})
}

// DeliveredKey notes that an order or event came with a key.
func (s *Accounts) DeliveredKey(ctx context.Context, id string, at time.Time) error {
	return s.changeKey(ctx, "DeliveredKey", id, func(k *account.Key) {
		if at = milli(at); at.After(k.Delivered) {
			k.Delivered = at
		}
	})
}

// DropKey notes that a key was dropped; the zero time takes it back.
func (s *Accounts) DropKey(ctx context.Context, id string, at time.Time) error {
	return s.changeKey(ctx, "DropKey", id, func(k *account.Key) { k.Dropped = at })
}

func (s *Accounts) change(ctx context.Context, op, id string, change func(*account.Account)) error {
	return s.call(ctx, op, "account "+id, func() error {
		a, ok := s.accounts[id]
		if !ok {
			return account.ErrNotFound
		}
		change(&a)
		s.accounts[id] = a
		return nil
	})
}

// Block moves the account's BlockedUntil forward to until, never back.
func (s *Accounts) Block(ctx context.Context, id string, until time.Time) error {
	return s.change(ctx, "Block", id, func(a *account.Account) {
		if until = milli(until); until.After(a.BlockedUntil) {
			a.BlockedUntil = until
		}
	})
}

// SetSchema raises the account's schema version, never lowers it.
func (s *Accounts) SetSchema(ctx context.Context, id string, version int) error {
	return s.change(ctx, "SetSchema", id, func(a *account.Account) { a.Schema = max(a.Schema, version) })
}

// SawLabel notes that an order came under a label.
func (s *Accounts) SawLabel(ctx context.Context, id, label string) error {
	return s.change(ctx, "SawLabel", id, func(a *account.Account) { a.Labels = with(a.Labels, label) })
}

// Park adds to what is counted as parked, if the limits allow it.
func (s *Accounts) Park(ctx context.Context, id string, count int, n int64, most account.Parked) (ok bool, err error) {
	err = s.change(ctx, "Park", id, func(a *account.Account) {
		p := a.Parked
		ok = count <= 0 && n <= 0 || p.Count+count <= most.Count && p.Bytes+n <= most.Bytes
		if ok {
			a.Parked.Count, a.Parked.Bytes = p.Count+count, p.Bytes+n
		}
	})
	return ok && err == nil, err
}

// Watch notes until when what is parked is looked after.
func (s *Accounts) Watch(ctx context.Context, id string, now, until time.Time) (ok bool, err error) {
	err = s.change(ctx, "Watch", id, func(a *account.Account) {
		if ok = !now.Before(a.Parked.Watched); ok {
			a.Parked.Watched = milli(until)
		}
	})
	return ok && err == nil, err
}

// SetSettings keeps what the shop has chosen.
func (s *Accounts) SetSettings(ctx context.Context, id, label string, v account.Settings) error {
	return s.call(ctx, "SetSettings", "account "+id, func() error {
		put(&s.countries, account.Scope(id, label), v.Country)
		v.Country = ""
		put(&s.settings, id, v)
		return nil
	})
}

// SetSitoo keeps how a shop is read from Sitoo, nil removes it.
func (s *Accounts) SetSitoo(ctx context.Context, id, label string, at *account.SitooAccess) error {
	return s.call(ctx, "SetSitoo", "account "+id, func() error {
		put(&s.access, account.Scope(id, label), cloneAccess(at))
		return nil
	})
}

// UsedSitoo moves the time of the access's last use forward to at, never back.
func (s *Accounts) UsedSitoo(ctx context.Context, id, label string, at time.Time) error {
	return s.call(ctx, "UsedSitoo", "account "+id, func() error {
		if a := s.access[account.Scope(id, label)]; a != nil && milli(at).After(a.Used) {
			a.Used = milli(at)
		}
		return nil
	})
}

// Claims returns whose the sites of a Sitoo account are or were, in order.
func (s *Accounts) Claims(ctx context.Context, sitooAccount string) (list []account.Claim, err error) {
	err = s.call(ctx, "Claims", "Sitoo account "+sitooAccount, func() error {
		for c := range maps.Values(s.claims) {
			if c.Account == sitooAccount {
				list = append(list, cloneClaim(c))
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b account.Claim) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Site, b.Site))
	})
	return list, err
}

func cloneClaim(c account.Claim) account.Claim {
	c.Out = slices.Clone(c.Out)
	return c
}

// Claim makes scope the shop's, where that may be.
func (s *Accounts) Claim(ctx context.Context, shop account.Shop, scope, instead string) (got account.Claim, err error) {
	err = s.call(ctx, "Claim", "account "+scope, func() error {
		c := s.claims[shop]
		c.Shop = shop
		id, _ := account.SplitScope(scope)
		if !slices.Contains(c.Out, id) && (c.Scope == "" || c.Scope == scope || c.Scope == instead) {
			c.Scope, c.Home = scope, scope
			put(&s.claims, shop, c)
		}
		got = cloneClaim(c)
		return nil
	})
	if err != nil {
		return account.Claim{}, err
	}
	return got, nil
}

// Release takes the shop from scope.
func (s *Accounts) Release(ctx context.Context, shop account.Shop, scope string, out bool) error {
	return s.call(ctx, "Release", "account "+scope, func() error {
		c, ok := s.claims[shop]
		if !ok {
			return nil
		}
		if c.Scope == scope {
			c.Scope = ""
		}
		if id, _ := account.SplitScope(scope); out {
			c.Out = with(c.Out, id)
		}
		s.claims[shop] = c
		return nil
	})
}

// Attempt counts an attempt under a name.
func (s *Accounts) Attempt(ctx context.Context, name string, at time.Time) (until time.Time, err error) {
	err = s.call(ctx, "Attempt", name, func() error {
		var next account.Attempts
		next, until = s.attempts[name].Next(milli(at))
		put(&s.attempts, name, next)
		return nil
	})
	return until, err
}

// Forgive takes back the last attempt that was counted under a name.
func (s *Accounts) Forgive(ctx context.Context, name string) error {
	return s.call(ctx, "Forgive", name, func() error {
		put(&s.attempts, name, s.attempts[name].Back())
		return nil
	})
}

// Refuse remembers until when a key that Rule refused is not tried again. The
// last call wins.
func (s *Accounts) Refuse(ctx context.Context, id string, until time.Time) error {
	return s.call(ctx, "Refuse", "key "+id, func() error {
		put(&s.refused, id, milli(until))
		return nil
	})
}

// Refused returns until when the key is not tried again, zero if that is not
// known. It may lie in the past.
func (s *Accounts) Refused(ctx context.Context, id string) (until time.Time, err error) {
	err = s.call(ctx, "Refused", "key "+id, func() error {
		until = s.refused[id]
		return nil
	})
	return until, err
}
