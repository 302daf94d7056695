// Package parking keeps what a shop has delivered and nobody can work yet, for two
// weeks: orders of a key that Rule refuses, for one. What is kept is sealed with
// the account as encryption context. A queue could not: it forgets after 14 days,
// and each message would circle on it.
package parking

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/worker"
)

const (
	// Kept is how long what is parked waits before it is a dead letter.
	Kept = 14 * 24 * time.Hour
	// keptLonger is how long stores keep it at the least: nothing is lost while
	// whoever looks after it is late.
	keptLonger = 2 * Kept
	// MaxCount and MaxBytes bound what one account has parked.
	MaxCount = 20_000
	MaxBytes = 200 << 20
	// watchFor is until when a message that looks after what is parked is taken to
	// be under way.
	watchFor = 15 * time.Minute
	// maxBody bounds what one item unpacks to.
	maxBody = 8 << 20
	// keyLasts is how long one data key seals.
	keyLasts = 5 * time.Minute
)

// Item is one thing that is parked. It holds no personal data.
type Item struct {
	Account string // id, without a label
	ID      string // sorts by Parked
	Kind    string // what it is: Order
	Label   string
	Key     string // id of the API key that it came with
	Order   int64  // its number, if it is an order
	Reason  string // why it waits
	Parked  time.Time
	Bytes   int64 // of the sealed body
	// DataKey is the key that the body is sealed with, itself sealed.
	DataKey []byte
}

// Order is the Kind of an order: the body is an order.Message.
const Order = "order"

// Expires is when a store may forget an item.
func (i Item) Expires() time.Time { return i.Parked.Add(keptLonger) }

// Store keeps items. Implementations are safe for concurrent use, read their own
// writes, and every method may be repeated. Bodies of any size are taken.
type Store interface {
	Put(ctx context.Context, i Item, body []byte) error
	// List returns an account's items after an id, by id, at most limit.
	List(ctx context.Context, account, after string, limit int) ([]Item, error)
	// Body returns an item's body, ErrGone if it is not there (any more).
	Body(ctx context.Context, i Item) ([]byte, error)
	// Delete forgets an item, and reports whether it was there.
	Delete(ctx context.Context, i Item) (there bool, err error)
}

// ErrGone is returned for an item that is not there.
var ErrGone = errors.New("parking: no such item")

// Lot parks, and gives out again. It is safe for concurrent use.
type Lot struct {
	Store    Store
	Accounts interface {
		Park(ctx context.Context, account string, count int, bytes int64, most account.Parked) (ok bool, err error)
		Watch(ctx context.Context, account string, now, until time.Time) (ok bool, err error)
	}
	Sealer   account.Sealer
	Watchers worker.Sender // the queue whose worker looks after what is parked
	Now      func() time.Time
	Log      *slog.Logger
	NewID    func() string

	mu   sync.Mutex
	keys map[string]dataKey // by account
}

type dataKey struct {
	plain, sealed []byte
	until         time.Time
}

// Watch is the message that looks after what an account has parked.
type Watch struct {
	Account string `json:"account"`
	Parked  bool   `json:"parked"`
	// Until is, in unix milliseconds, until when it stands for the account: one that
	// finds a later time there has been replaced. 0 for one posted by hand.
	Until int64 `json:"until,omitempty"`
}

// DecodeWatch reads a message; ok is false if it is another one.
func DecodeWatch(body string) (w Watch, ok bool) {
	if len(body) > 200 || json.Unmarshal([]byte(body), &w) != nil || !w.Parked || w.Account == "" {
		return Watch{}, false
	}
	return w, true
}

// Park keeps a body. ID, Parked, Bytes and DataKey of i are filled in.
// fault.Unavailable, with a sentence, if the account has as much parked as it may.
// A failure may leave it parked all the same.
func (l *Lot) Park(ctx context.Context, i Item, body []byte) error {
	key, err := l.key(ctx, i.Account)
	if err != nil {
		return fmt.Errorf("make a data key: %w", err)
	}
	sealed, err := seal(key.plain, i.Account, body)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	now := l.Now().UTC()
	// Of two at the same moment the lower number is the earlier order.
	id := fmt.Sprintf("%015d-%015d-%s", now.UnixMilli(), i.Order, l.NewID())
	i.ID, i.Parked, i.Bytes, i.DataKey = id, now, int64(len(sealed)), key.sealed
	ok, err := l.Accounts.Park(ctx, i.Account, 1, i.Bytes, account.Parked{Count: MaxCount, Bytes: MaxBytes})
	if err != nil {
		return fmt.Errorf("count what is parked: %w", err)
	}
	if !ok {
		l.Log.ErrorContext(ctx, "no more can be parked", "account", i.Account)
		return fault.New(fault.Unavailable, "Rule refuses the shop's API key, and no more of its orders can be kept. Renew the key in Sitoo's settings; it must be sent again.")
	}
	if err := l.Store.Put(ctx, i, sealed); err != nil {
		if _, cerr := l.Accounts.Park(context.WithoutCancel(ctx), i.Account, -1, -i.Bytes, account.Parked{}); cerr != nil {
			l.Log.WarnContext(ctx, "could not uncount what is not parked", "account", i.Account, "error", cerr)
		}
		return fmt.Errorf("park: %w", err)
	}
	l.Log.WarnContext(ctx, "parked", "account", i.Account, "kind", i.Kind, "key", i.Key, "order", i.Order, "reason", i.Reason)
	return l.watch(ctx, i.Account)
}

// watch sends the message that looks after an account, unless one is under way.
func (l *Lot) watch(ctx context.Context, id string) error {
	now := l.Now()
	ok, err := l.Accounts.Watch(ctx, id, now, now.Add(watchFor))
	if err != nil {
		return fmt.Errorf("look after what is parked: %w", err)
	}
	if !ok {
		return nil
	}
	return l.send(ctx, id, now.Add(watchFor), 0)
}

// Watch sees to it that a message looks after what an account has parked, where
// the last one is overdue.
func (l *Lot) Watch(ctx context.Context, a account.Account) {
	if a.Parked.Count <= 0 || l.Now().Before(a.Parked.Watched) {
		return
	}
	if err := l.watch(ctx, a.ID); err != nil {
		l.Log.WarnContext(ctx, "nothing looks after what is parked", "account", a.ID, "error", err)
	}
}

// Again sends the message that follows w, after a delay, unless another delivery
// of w has done so.
func (l *Lot) Again(ctx context.Context, w Watch, delay time.Duration) error {
	until := l.Now().Add(delay + watchFor)
	if own := time.UnixMilli(w.Until); !until.After(own) {
		until = own.Add(time.Millisecond)
	}
	ok, err := l.Accounts.Watch(ctx, w.Account, until.Add(-time.Millisecond), until)
	if err != nil {
		return fmt.Errorf("look after what is parked: %w", err)
	}
	if !ok {
		return nil
	}
	return l.send(ctx, w.Account, until, delay)
}

func (l *Lot) send(ctx context.Context, id string, until time.Time, delay time.Duration) error {
	body, err := json.Marshal(Watch{id, true, until.UnixMilli()})
	if err != nil {
		return err
	}
	if err := l.Watchers.Send(ctx, worker.Message{Body: string(body), Group: id, Delay: delay}); err != nil {
		return fmt.Errorf("look after what is parked: %w", err)
	}
	return nil
}

// Open returns an item's body, ErrGone if it is not there (any more).
func (l *Lot) Open(ctx context.Context, i Item) ([]byte, error) {
	sealed, err := l.Store.Body(ctx, i)
	if err != nil {
		return nil, err
	}
	secret, err := l.Sealer.Open(ctx, i.Account, i.DataKey)
	if err != nil {
		return nil, fmt.Errorf("open a data key: %w", err)
	}
	plain, err := base64.StdEncoding.DecodeString(secret)
	if err != nil {
		return nil, fault.New(fault.Internal, "the data key is damaged")
	}
	return open(plain, i.Account, sealed)
}

// Remove forgets an item.
func (l *Lot) Remove(ctx context.Context, i Item) error {
	there, err := l.Store.Delete(ctx, i)
	if err != nil {
		return fmt.Errorf("remove what was parked: %w", err)
	}
	if !there { // another delivery has removed and uncounted it
		return nil
	}
	if _, err := l.Accounts.Park(ctx, i.Account, -1, -i.Bytes, account.Parked{}); err != nil {
		l.Log.WarnContext(ctx, "could not uncount what is not parked any more", "account", i.Account, "error", err)
	}
	return nil
}

// Count returns how many items wait for each key of an account.
func Count(ctx context.Context, s Store, id string) (map[string]int, error) {
	counts := map[string]int{}
	for after := ""; ; {
		list, err := s.List(ctx, id, after, 1000)
		if err != nil {
			return nil, fmt.Errorf("count what is parked: %w", err)
		}
		for _, i := range list {
			counts[i.Key]++
			after = i.ID
		}
		if len(list) == 0 {
			return counts, nil
		}
	}
}

// key returns the data key that seals for an account now.
func (l *Lot) key(ctx context.Context, id string) (dataKey, error) {
	l.mu.Lock()
	k, ok := l.keys[id]
	l.mu.Unlock()
	if ok && l.Now().Before(k.until) {
		return k, nil
	}
	k = dataKey{plain: make([]byte, 32), until: l.Now().Add(keyLasts)}
	rand.Read(k.plain)
	var err error
	if k.sealed, err = l.Sealer.Seal(ctx, id, base64.StdEncoding.EncodeToString(k.plain)); err != nil {
		return dataKey{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil || len(l.keys) > 1000 {
		l.keys = map[string]dataKey{}
	}
	l.keys[id] = k
	return k, nil
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func seal(key []byte, id string, body []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, b.Bytes(), []byte(id)), nil
}

func open(key []byte, id string, sealed []byte) ([]byte, error) {
	damaged := func(err error) error {
		return &fault.Error{Kind: fault.Internal, Err: fmt.Errorf("open what is parked: %w", err)}
	}
	a, err := aead(key)
	if err != nil {
		return nil, damaged(err)
	}
	packed, err := a.Open(nil, nil, sealed, []byte(id))
	if err != nil {
		return nil, damaged(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, damaged(err)
	}
	body, err := io.ReadAll(io.LimitReader(z, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("it unpacks to over %d bytes", maxBody)
	}
	if err != nil {
		return nil, damaged(err)
	}
	return body, nil
}
