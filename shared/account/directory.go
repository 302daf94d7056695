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
	"sitoo-rule/shared/rule"
)

const (
	// refusedFor is how long a key that Rule refused is not tried again: long
	// enough to keep a flood away from Rule, short enough for a merchant who
	// has just pasted a new key.
	refusedFor = time.Minute
	// VerifiedFor is how long Rule's word on a key holds.
	VerifiedFor = 15 * time.Minute
	// noteEvery is how often it is noted at the most that a key is accepted, or
	// that something came with it.
	// noteOften is the same while orders wait for a key that is accepted after them.
	noteEvery, noteOften = 5 * time.Minute, 10 * time.Second
	// trustFor is how long a process may go on with what it last knew of an
	// account while the store does not answer.
	trustFor = 15 * time.Minute
	// Grace is how long after Rule last accepted a key what it delivers is kept.
	Grace = 14 * 24 * time.Hour
	// successorGrace is how long a refused key still delivers once a newer key of
	// the account is accepted.
	successorGrace = 24 * time.Hour
	// maxKnown bounds how many accounts a process remembers.
	maxKnown = 10_000
	// noteTime bounds a note that is taken beside an answer.
	noteTime = time.Second
)

// Directory finds the account behind a token, and a session with Rule for an
// account. It is safe for concurrent use and lives as long as the process.
type Directory struct {
	Store  Store
	Sealer Sealer
	Rule   *rule.Client
	Now    func() time.Time
	Log    *slog.Logger
	// Strangers bounds how many unknown keys are shown to Rule; nil for no bound.
	Strangers *Strangers

	mu      sync.Mutex
	known   map[string]known     // by key and scope
	refused map[string]time.Time // by the id of a key, whosever it is
	blocks  map[string]time.Time // by account
	opened  map[string]opened
}

type known struct {
	account Account
	key     Key
	at      time.Time
}

type opened struct{ sealed, secret string }

// Visit is what a token, or a message, leads to.
type Visit struct {
	Account Account
	Key     Key
	Rule    *rule.Session // with that key
	// quiet is set where that the key is accepted must release nothing.
	quiet bool
	// noting guards what Rule says of Key while the visit lasts: calls to Rule at the
	// same time may say it at the same time.
	noting sync.Mutex
}

// refusal is the error of a token that Rule does not accept, with what a label is
// where one may be meant.
func refusal(token string) *fault.Error {
	if strings.Contains(token, "/") {
		return fault.Say(fault.Unauthorized, "token_refused_label")
	}
	return fault.Say(fault.Unauthorized, "token_refused")
}

// Present returns the account that a token leads to. A key that is not known is
// shown to Rule, and known from then on if Rule accepts it. A key that was
// dropped, or that Rule has refused within the last minute and that was never
// accepted, is fault.Unauthorized.
//
// What Present returns may have a key that Rule refuses by now: see Verify.
func (d *Directory) Present(ctx context.Context, token string) (*Visit, error) {
	return d.present(ctx, token, false)
}

// PresentQuietly is Present for what must release nothing that is parked: that
// Rule accepts the key is not noted.
func (d *Directory) PresentQuietly(ctx context.Context, token string) (*Visit, error) {
	return d.present(ctx, token, true)
}

func (d *Directory) present(ctx context.Context, token string, quiet bool) (*Visit, error) {
	key, label := SplitToken(token)
	if !wellFormed(key) {
		return nil, refusal(token)
	}
	id := ID(key)
	owner, err := d.owner(ctx, id)
	if errors.Is(err, ErrNotFound) {
		if err := d.admitUnknown(ctx, id, token); err != nil {
			return nil, err
		}
		owner, err = d.introduce(ctx, id, key, token, quiet)
	}
	if err != nil {
		return nil, err
	}
	a, k, err := d.read(ctx, owner, label, id)
	if errors.Is(err, ErrNotFound) { // deleted since this process saw it
		return nil, &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	if err != nil {
		return nil, err
	}
	if !k.Dropped.IsZero() {
		return nil, fault.Say(fault.Unauthorized, "key_dropped")
	}
	v := &Visit{Account: a, Key: k, quiet: quiet}
	v.Rule = d.session(v, key)
	return v, nil
}

// owner returns the account that a key leads to, which never changes: what this
// process has seen once costs no read.
func (d *Directory) owner(ctx context.Context, id string) (string, error) {
	d.mu.Lock()
	k, ok := d.known[id]
	d.mu.Unlock()
	if ok {
		return k.key.Account, nil
	}
	if d.refusedLately(id) {
		return "", ErrNotFound
	}
	found, err := d.Store.Key(ctx, id)
	if err != nil {
		return "", err
	}
	d.remember(id, Account{}, found)
	return found.Account, nil
}

func (d *Directory) remember(name string, a Account, k Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxKnown {
		d.known = map[string]known{}
	}
	d.known[name] = known{a, k, d.Now()}
}

// admitUnknown lets a key that is not known be shown to Rule, unless it was
// refused within the last minute.
func (d *Directory) admitUnknown(ctx context.Context, id, token string) error {
	if d.refusedLately(id) {
		return refusal(token)
	}
	if err := d.Strangers.UsedUp(); err != nil {
		return err
	}
	until, err := d.Store.Refused(ctx, id)
	if err != nil {
		return fmt.Errorf("look up refused keys: %w", err)
	}
	if d.Now().Before(until) {
		d.rememberRefused(id, until)
		return refusal(token)
	}
	return nil
}

// introduce asks Rule whose a key is, and keeps it.
func (d *Directory) introduce(ctx context.Context, id, key, token string, quiet bool) (owner string, err error) {
	s := d.Rule.Session(key, time.Time{}, nil)
	var sender rule.Sender
	named := true
	err = d.Strangers.Ask(ctx, key, func(ctx context.Context, _ string) (err error) {
		if sender, err = s.Sender(ctx); !errors.Is(err, rule.ErrNoSender) {
			return err
		}
		sender, named = rule.Sender{Account: id}, false
		if err = s.Verify(ctx); err == nil {
			d.Log.WarnContext(ctx, "Rule does not say whose a key is; its digest stands for the account", "account", id)
		}
		return err
	})
	if err != nil {
		return "", d.unsettled(ctx, id, token, err)
	}
	stored, err := Keep(ctx, d.Store, d.Sealer, Account{ID: sender.Account, Name: sender.Name, Created: d.Now()}, key, !quiet)
	if err != nil {
		return "", err
	}
	d.Log.InfoContext(ctx, "new key", "account", stored.Account, "key", id, "named", named)
	d.remember(id, Account{}, stored)
	return stored.Account, nil
}

// Keep stores a key of an account, and the account if it is the first: Rule has
// accepted it at a.Created, which counts if accepted is set. It returns the key
// as it is stored, which one that was settled before stays.
func Keep(ctx context.Context, s Store, sealer Sealer, a Account, key string, accepted bool) (Key, error) {
	sealed, err := sealer.Seal(ctx, a.ID, key)
	if err != nil {
		return Key{}, fmt.Errorf("seal key: %w", err)
	}
	if err := s.Create(ctx, a); err != nil {
		return Key{}, fmt.Errorf("create account: %w", err)
	}
	k := Key{ID: ID(key), Account: a.ID, Sealed: sealed, Last4: lastOf(key), FirstSeen: a.Created}
	if accepted {
		k.FirstAccepted, k.Accepted = a.Created, a.Created
	}
	stored, err := s.AddKey(ctx, k)
	if err != nil {
		return Key{}, fmt.Errorf("keep key: %w", err)
	}
	return stored, nil
}

// unsettled is the error of a key that Rule did not accept, or of which Rule did
// not say whose it is.
func (d *Directory) unsettled(ctx context.Context, id, token string, err error) error {
	switch fault.KindOf(err) {
	case fault.Unauthorized:
		until := d.Now().Add(refusedFor)
		d.rememberRefused(id, until)
		if serr := d.Store.Refuse(ctx, id, until); serr != nil {
			d.Log.WarnContext(ctx, "could not share that Rule refused a key", "key", id, "error", serr)
		}
		return refusal(token).With(err)
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		// Whatever it is that Rule does not like, it is not the caller's.
		err = &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	return fmt.Errorf("ask Rule about a new key: %w", err)
}

// lastOf returns what a list shows of a key: nothing of one so short that it
// would tell much of it.
func lastOf(key string) string {
	if len(key) < 8 {
		return ""
	}
	return key[len(key)-4:]
}

// read returns an account and a key. While the store does not answer, what this
// process last knew will do.
func (d *Directory) read(ctx context.Context, id, label, key string) (Account, Key, error) {
	name := key + " " + Scope(id, label)
	a, k, err := d.Store.Get(ctx, id, label, key)
	switch {
	case err == nil:
		d.remember(name, a, k)
		if k.ID != "" {
			d.remember(k.ID, Account{}, k)
		}
	case errors.Is(err, ErrNotFound):
		d.mu.Lock()
		delete(d.known, name)
		delete(d.known, key)
		d.mu.Unlock()
		return Account{}, Key{}, err
	default:
		d.mu.Lock()
		old, ok := d.known[name]
		d.mu.Unlock()
		if !ok || d.Now().Sub(old.at) >= trustFor {
			return Account{}, Key{}, err
		}
		d.Log.WarnContext(ctx, "account store does not answer; going on with what is known", "account", id, "error", err)
		a, k = old.account, old.key
	}
	// A block that could not be shared holds in this process all the same.
	d.mu.Lock()
	if until := d.blocks[id]; until.After(a.BlockedUntil) {
		a.BlockedUntil = until
	}
	d.mu.Unlock()
	return a, k, nil
}

// Get returns an account by its scope, ErrNotFound if there is none.
func (d *Directory) Get(ctx context.Context, scope string) (Account, error) {
	id, label := SplitScope(scope)
	a, _, err := d.read(ctx, id, label, "")
	return a, err
}

// session returns a session that notes what Rule says of the visit's key.
func (d *Directory) session(v *Visit, key string) *rule.Session {
	id := v.Account.ID
	s := d.Rule.Session(key, v.Account.BlockedUntil, func(ctx context.Context, until time.Time) { d.Block(ctx, id, until) })
	s.OnVerdict(func(ctx context.Context, accepted bool) {
		if accepted {
			d.accepted(ctx, v)
		} else {
			d.refuse(ctx, v)
		}
	})
	return s
}

// Block shares that Rule wants no calls for an account before until. A failure
// is logged only: this process keeps to the block in any case.
func (d *Directory) Block(ctx context.Context, id string, until time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	d.mu.Lock()
	if d.blocks == nil || len(d.blocks) >= maxKnown {
		d.blocks = map[string]time.Time{}
	}
	d.blocks[id] = until
	d.mu.Unlock()
	if err := d.Store.Block(ctx, id, until); err != nil {
		d.Log.ErrorContext(ctx, "could not share Rule's block", "account", id, "error", err)
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
