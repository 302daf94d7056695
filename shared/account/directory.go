package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sitoo-rule/shared/fault"
)

const (
	// refusedFor is how long a key that Rule refused is not tried again: long
	// enough to keep a flood away from Rule, short enough for a merchant who
	// has just pasted a new key.
	refusedFor = time.Minute
	// trustFor is how long a process may go on with what it last knew of an
	// account while the store does not answer.
	trustFor = 15 * time.Minute
	// maxKnown bounds how many accounts a process remembers.
	maxKnown = 10_000
)

// Directory finds the account behind a token, and the key behind an account. It
// is safe for concurrent use and lives as long as the process.
type Directory struct {
	Store  Store
	Sealer Sealer
	// Verify asks Rule whether a key is good: nil, fault.Unauthorized, or an
	// error that leaves it open.
	Verify func(ctx context.Context, key string) error
	Now    func() time.Time
	Log    *slog.Logger
	// Strangers bounds how many unknown keys are shown to Rule; nil for no bound.
	Strangers *Strangers

	mu      sync.Mutex
	known   map[string]known     // by the account's id
	aliases map[string]string    // where other ids lead
	refused map[string]time.Time // by the id of a key, whosever it is
	opened  map[string]opened
}

type known struct {
	account Account
	at      time.Time
}

type opened struct{ sealed, secret string }

var errRefused = fault.Say(fault.Unauthorized, "token_refused")

// Authorize returns the account of a token, which is the merchant's Rule API
// key, the newest or an earlier one. The first call with a key that Rule accepts
// creates the account. A key that Rule has lately refused is fault.Unauthorized
// without asking again.
func (d *Directory) Authorize(ctx context.Context, token string) (Account, error) {
	id := ID(token)
	if d.refusedLately(id) {
		return Account{}, errRefused
	}
	return d.Accepted(ctx, token)
}

// Accepted is Authorize for what must not be lost: an account that Rule has
// accepted once counts, even if Rule refuses its key today.
func (d *Directory) Accepted(ctx context.Context, token string) (Account, error) {
	if !wellFormed(token) {
		return Account{}, errRefused
	}
	id := ID(token)
	a, err := d.Get(ctx, id)
	if !errors.Is(err, ErrNotFound) {
		return a, err
	}
	if d.refusedLately(id) {
		return Account{}, errRefused
	}
	if err := d.Strangers.UsedUp(); err != nil {
		return Account{}, err
	}
	until, err := d.Store.Refused(ctx, id)
	if err != nil {
		return Account{}, fmt.Errorf("look up refused keys: %w", err)
	}
	if d.Now().Before(until) {
		d.rememberRefused(id, until)
		return Account{}, errRefused
	}
	if err := d.Strangers.Ask(ctx, token, d.Verify); err != nil {
		if fault.KindOf(err) == fault.Unauthorized {
			d.Refuse(ctx, id)
			return Account{}, fault.Say(fault.Unauthorized, "token_refused").With(err)
		}
		switch fault.KindOf(err) {
		case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
			// Whatever it is that Rule does not like, it is not the caller's.
			err = &fault.Error{Kind: fault.Unavailable, Err: err}
		}
		return Account{}, fmt.Errorf("ask Rule about a new key: %w", err)
	}
	sealed, err := d.Sealer.Seal(ctx, id, token)
	if err != nil {
		return Account{}, fmt.Errorf("seal key: %w", err)
	}
	if err := d.Store.Create(ctx, Account{ID: id, SealedKey: sealed, Created: d.Now()}); err != nil {
		return Account{}, fmt.Errorf("create account: %w", err)
	}
	d.Log.InfoContext(ctx, "new account", "account", id)
	return d.Get(ctx, id)
}

// Get returns an account by id or alias, ErrNotFound if there is none. While the
// store does not answer, what this process last knew will do.
func (d *Directory) Get(ctx context.Context, id string) (Account, error) {
	a, err := d.Store.Get(ctx, id)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		// A block that could not be shared holds in this process all the same.
		if k, ok := d.known[a.ID]; ok && k.account.BlockedUntil.After(a.BlockedUntil) {
			a.BlockedUntil = k.account.BlockedUntil
		}
		if d.known == nil || len(d.known) >= maxKnown {
			d.known = map[string]known{}
		}
		d.known[a.ID] = known{a, d.Now()}
		if a.ID == id {
			break
		}
		if d.aliases == nil || len(d.aliases) >= maxKnown {
			d.aliases = map[string]string{}
		}
		d.aliases[id] = a.ID
		delete(d.known, id) // an account of its own until the shop proved itself
	case errors.Is(err, ErrNotFound):
		delete(d.known, id)
		delete(d.aliases, id)
	default:
		if k, ok := d.known[d.leadsTo(id)]; ok && d.Now().Sub(k.at) < trustFor {
			d.Log.WarnContext(ctx, "account store does not answer; going on with what is known", "account", id, "error", err)
			return k.account, nil
		}
	}
	return a, err
}

// leadsTo returns the account's id that an id stands for, as far as this process
// knows. The lock is held.
func (d *Directory) leadsTo(id string) string {
	if to, ok := d.aliases[id]; ok {
		return to
	}
	return id
}

// Block shares that Rule wants no calls for an account before until. A failure
// is logged only: this process keeps to the block in any case.
func (d *Directory) Block(ctx context.Context, id string, until time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	d.mu.Lock()
	if k, ok := d.known[d.leadsTo(id)]; ok && k.account.BlockedUntil.Before(until) {
		k.account.BlockedUntil = until
		d.known[k.account.ID] = k
	}
	d.mu.Unlock()
	if err := d.Store.Block(ctx, id, until); err != nil {
		d.Log.ErrorContext(ctx, "could not share Rule's block", "account", id, "error", err)
	}
}

// Refuse remembers for a minute that Rule refused a key. id is the key's own, see
// ID, and not its account's: an old key of a shop does not lock the new one out.
func (d *Directory) Refuse(ctx context.Context, id string) {
	until := d.Now().Add(refusedFor)
	d.rememberRefused(id, until)
	if err := d.Store.Refuse(ctx, id, until); err != nil {
		d.Log.WarnContext(ctx, "could not share that Rule refused a key", "key", id, "error", err)
	}
}

func (d *Directory) rememberRefused(id string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused == nil || len(d.refused) >= maxKnown {
		d.refused = map[string]time.Time{}
	}
	d.refused[id] = until
}

func (d *Directory) refusedLately(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Now().Before(d.refused[id])
}

// Key returns an account's Rule API key, the newest. Opening the seal costs a
// call, once per process and sealed key.
func (d *Directory) Key(ctx context.Context, a Account) (string, error) {
	key, err := d.open(ctx, a.ID, a.ID, a.SealedKey)
	if err != nil {
		return "", fmt.Errorf("open key: %w", err)
	}
	return key, nil
}

// open opens what is sealed for an account; what is remembered under name costs
// no call.
func (d *Directory) open(ctx context.Context, name, id string, sealed []byte) (string, error) {
	d.mu.Lock()
	o, ok := d.opened[name]
	d.mu.Unlock()
	if ok && o.sealed == string(sealed) {
		return o.secret, nil
	}
	secret, err := d.Sealer.Open(ctx, id, sealed)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened == nil || len(d.opened) >= maxKnown {
		d.opened = map[string]opened{}
	}
	d.opened[name] = opened{string(sealed), secret}
	return secret, nil
}

// wellFormed reports whether a token can be an API key at all: visible ASCII,
// so that it can stand in a header, and of a sensible length.
func wellFormed(token string) bool {
	return len(token) >= 4 && len(token) <= 512 && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
