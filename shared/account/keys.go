package account

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sitoo-rule/shared/fault"
)

// Verify makes sure that Rule accepts the visit's key: it asks, unless Rule has
// accepted it within the given time, and notes the answer. A key that Rule has
// refused within the last minute is refused without asking.
func (d *Directory) Verify(ctx context.Context, v *Visit, within time.Duration) error {
	if v.Rule.Accepted() {
		return nil
	}
	v.noting.Lock()
	k := v.Key
	v.noting.Unlock()
	if !k.Dropped.IsZero() {
		return refusal("")
	}
	now := d.Now()
	if !k.RefusedSince.IsZero() {
		if now.Sub(k.Refused) < refusedFor {
			return refusal("")
		}
	} else if within > 0 && !k.Accepted.IsZero() && now.Sub(k.Accepted) < within {
		return nil
	}
	err := v.Rule.Verify(ctx)
	if err == nil {
		return nil
	}
	switch fault.KindOf(err) {
	case fault.Unauthorized:
		return refusal("").With(err)
	case fault.Invalid, fault.TooLarge, fault.Conflict, fault.NotFound:
		err = &fault.Error{Kind: fault.Unavailable, Err: err}
	}
	return fmt.Errorf("ask Rule about the key: %w", err)
}

// accepted notes that Rule has just accepted the visit's key, every few minutes.
// A failure costs no more than another question.
func (d *Directory) accepted(ctx context.Context, v *Visit) {
	now, every := d.Now(), noteEvery
	if v.Account.Parked.Count > 0 { // it goes out by a key that was accepted after it
		every = noteOften
	}
	v.noting.Lock()
	k := v.Key
	v.noting.Unlock()
	if v.quiet || k.ID == "" || k.RefusedSince.IsZero() && now.Sub(k.Accepted) < every && slices.Contains(k.Labels, v.Account.Label) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if !k.RefusedSince.IsZero() {
		d.Log.InfoContext(ctx, "Rule accepts a key again", "account", v.Account.ID, "key", k.ID)
	}
	if err := d.Store.AcceptKey(ctx, v.Key.ID, v.Account.Label, now); err != nil {
		d.Log.WarnContext(ctx, "could not note that Rule accepts a key", "account", v.Account.ID, "key", v.Key.ID, "error", err)
		return
	}
	v.noting.Lock()
	defer v.noting.Unlock()
	v.Key.Accepted, v.Key.RefusedSince, v.Key.Refused = now, time.Time{}, time.Time{}
}

// refuse shares that Rule has just refused the visit's key.
func (d *Directory) refuse(ctx context.Context, v *Visit) {
	now := d.Now()
	if v.Key.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	v.noting.Lock()
	if v.Key.RefusedSince.IsZero() {
		v.Key.RefusedSince = now
	}
	v.Key.Refused = now
	since := v.Key.RefusedSince
	v.noting.Unlock()
	d.Log.WarnContext(ctx, "Rule refuses a key", "account", v.Account.ID, "key", v.Key.ID, "since", since)
	if err := d.Store.RefuseKey(ctx, v.Key.ID, now); err != nil {
		d.Log.WarnContext(ctx, "could not share that Rule refused a key", "account", v.Account.ID, "key", v.Key.ID, "error", err)
	}
}

// InGrace reports whether what a refused key delivers is still taken: Rule has
// accepted the key within Grace, and no newer key of the account for more than a
// day.
func (d *Directory) InGrace(ctx context.Context, k Key) (bool, error) {
	now := d.Now()
	if !k.Dropped.IsZero() || k.Accepted.IsZero() || now.Sub(k.Accepted) >= Grace {
		return false, nil
	}
	keys, err := d.Store.Keys(ctx, k.Account)
	if err != nil {
		return false, fmt.Errorf("look for newer keys: %w", err)
	}
	for _, other := range keys {
		if other.ID != k.ID && other.FirstSeen.After(k.RefusedSince) && !other.FirstAccepted.IsZero() && now.Sub(other.FirstAccepted) >= successorGrace {
			return false, nil
		}
	}
	return true, nil
}

// Delivered notes that an order or event came with the visit's key and label,
// every few minutes. A failure is logged only.
func (d *Directory) Delivered(ctx context.Context, v *Visit) {
	now := d.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if now.Sub(v.Key.Delivered) >= noteEvery {
		if err := d.Store.DeliveredKey(ctx, v.Key.ID, now); err != nil {
			d.Log.WarnContext(ctx, "could not note that a key delivers", "account", v.Account.ID, "key", v.Key.ID, "error", err)
		}
	}
	if !slices.Contains(v.Account.Labels, v.Account.Label) {
		if err := d.Store.SawLabel(ctx, v.Account.ID, v.Account.Label); err != nil {
			d.Log.WarnContext(ctx, "could not note a label", "account", v.Account.ID, "error", err)
		}
	}
}

// unknownAccount is the sentence for a message that names no account of ours.
const unknownAccount = "There is no account with the message's account id."

// Open returns an account, by its scope, with a session with Rule: with the key
// of that id if one is named, or else with the one that Rule accepted last. The
// key may be refused by now: see Verify. fault.NotFound if there is no such
// account or key, fault.Unauthorized if Rule refuses all of the account's keys.
func (d *Directory) Open(ctx context.Context, scope, key string) (*Visit, error) {
	id, label := SplitScope(scope)
	a, k, err := d.read(ctx, id, label, key)
	if err != nil {
		return nil, missing(err)
	}
	if key == "" {
		if k, err = d.best(ctx, id); err != nil {
			return nil, err
		}
	} else if k.Account != id {
		return nil, fault.New(fault.NotFound, "The account has no key with the message's key id.")
	}
	return d.visit(ctx, a, k)
}

// OpenVerified is Open with the key that Rule accepted last: Rule has accepted it
// within VerifiedFor, or is asked about it, and then about the account's others.
func (d *Directory) OpenVerified(ctx context.Context, scope string) (*Visit, error) {
	var refused []string
	for {
		id, label := SplitScope(scope)
		a, _, err := d.read(ctx, id, label, "")
		if err != nil {
			return nil, missing(err)
		}
		k, err := d.best(ctx, id, refused...)
		if err != nil {
			return nil, err
		}
		v, err := d.visit(ctx, a, k)
		if err != nil {
			return nil, err
		}
		if err = d.Verify(ctx, v, VerifiedFor); err == nil {
			return v, nil
		}
		if fault.KindOf(err) != fault.Unauthorized {
			return nil, err
		}
		refused = append(refused, k.ID)
	}
}

// visit returns a visit with a key that is kept.
func (d *Directory) visit(ctx context.Context, a Account, k Key) (*Visit, error) {
	secret, err := d.open(ctx, k.ID, a.ID, k.Sealed)
	if err != nil {
		return nil, fmt.Errorf("account %s: open key: %w", a.ID, err)
	}
	v := &Visit{Account: a, Key: k}
	v.Rule = d.session(v, secret)
	return v, nil
}

// acceptedAlike is how far apart two keys can have been accepted to be taken for
// equally good: of two that are both in use always the same one works, since what
// a backfill knows of Rule's subscribers is sealed with it.
const acceptedAlike = time.Hour

// best returns the key of an account that Rule accepted last, but for those that
// are left out. One that Rule refuses comes after all others.
func (d *Directory) best(ctx context.Context, id string, without ...string) (Key, error) {
	keys, err := d.Keys(ctx, id)
	if err != nil {
		return Key{}, fmt.Errorf("account %s: %w", id, err)
	}
	keys = slices.DeleteFunc(keys, func(k Key) bool { return slices.Contains(without, k.ID) })
	if good := slices.DeleteFunc(slices.Clone(keys), Key.Bad); len(good) > 0 {
		keys = good
	}
	if len(keys) == 0 {
		return Key{}, fault.New(fault.Unauthorized, "Rule accepts none of the shop's API keys.")
	}
	last := slices.MaxFunc(keys, func(a, b Key) int { return a.Accepted.Compare(b.Accepted) })
	for _, k := range keys { // those seen first first
		if last.Accepted.Sub(k.Accepted) < acceptedAlike {
			return k, nil
		}
	}
	return last, nil
}

// Keys returns the account's keys that were not dropped, those seen first first.
func (d *Directory) Keys(ctx context.Context, account string) ([]Key, error) {
	keys, err := d.Store.Keys(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return slices.DeleteFunc(keys, func(k Key) bool { return !k.Dropped.IsZero() }), nil
}

// Drop drops a key of the account for good. One that Rule still accepts, asked at
// this moment, is dropped only if confirmed, and never by itself: fault.Conflict.
// fault.NotFound if the account has no such key, or has dropped it already.
func (d *Directory) Drop(ctx context.Context, by *Visit, key string, confirmed bool) error {
	keys, err := d.Keys(ctx, by.Account.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(keys, func(k Key) bool { return k.ID == key })
	if at < 0 {
		return fault.New(fault.NotFound, "The shop has no key with this id. GET /sitoo/keys lists them.")
	}
	if key == by.Key.ID {
		return fault.New(fault.Conflict, "A key cannot drop itself. Call with another API key of the shop, or remove this one in Rule (Settings > Developer).")
	}
	accepted, err := d.accepts(ctx, keys[at])
	if err != nil {
		return err
	}
	if accepted && !confirmed {
		return fault.New(fault.Conflict, "Rule still accepts this key, and a till that uses it would stop working. Call again with the header X-Confirm: drop if that is meant.")
	}
	if err := d.Store.DropKey(ctx, key, d.Now()); err != nil {
		return fmt.Errorf("drop key: %w", err)
	}
	d.Log.WarnContext(ctx, "a key is dropped", "account", by.Account.ID, "key", key, "accepted", accepted)
	return nil
}

// accepts asks Rule about a key at this moment. Nothing is noted but a refusal.
func (d *Directory) accepts(ctx context.Context, k Key) (bool, error) {
	v, err := d.Open(ctx, k.Account, k.ID)
	if err != nil {
		return false, err
	}
	v.quiet = true
	err = v.Rule.Verify(ctx)
	if err != nil && fault.KindOf(err) != fault.Unauthorized {
		return false, fmt.Errorf("ask Rule about a key: %w", err)
	}
	return err == nil, nil
}
