// Package account knows which shops use the connector. An account is an account
// in Rule, and Rule's API keys lead to it: Rule alone decides whether a key is
// good, and says whose it is. A shop that has a new key stays the same account.
//
// A chain with several Sitoo accounts tells them apart by labels, which follow
// the key in the token (KEY/label). Orders, Sitoo's credentials, backfills and the
// country belong to an account and a label, see Account.Scope; customers, bonus
// checks and their books to the account.
package account

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrNotFound is returned by a Store for an account or a key it does not hold.
var ErrNotFound = errors.New("account: not found")

// Account is what is kept of a shop. It holds no readable secret.
type Account struct {
	// ID is Rule's number of the account, in digits, or where Rule does not say
	// it, the ID of the key that led there first. It is also the seals' context.
	ID   string
	Name string // of the company, as Rule says it; may be empty
	// Label is the label that this view of the account is of, "" for none: Sitoo
	// and Settings.Country are the label's.
	Label        string
	Created      time.Time // when Rule first accepted a key of it
	BlockedUntil time.Time // Rule answers 429 until then; zero if it never did
	Schema       int       // version of the field schema declared in Rule, 0 for none
	// Labels are those under which orders have come, sorted; "" may be among them.
	Labels []string
	// Parked says what of the account waits for a key that Rule accepts.
	Parked Parked
	// Sitoo is nil if the merchant has entered no credentials. It is not to be
	// changed.
	Sitoo *SitooAccess
	// Settings is what the shop has chosen.
	Settings Settings
}

// Parked is how much of an account is parked: see package parking.
type Parked struct {
	Count int
	Bytes int64
	// Watched is until when a message is under way that looks after it.
	Watched time.Time
}

// Scope names the account and the label in one word, as they stand where an
// order's number is told apart from other labels': "42", or "42/fi".
func (a Account) Scope() string { return Scope(a.ID, a.Label) }

// Scope joins an account's id and a label.
func Scope(id, label string) string {
	if label == "" {
		return id
	}
	return id + "/" + label
}

// SplitScope is the reverse of Scope.
func SplitScope(scope string) (id, label string) {
	id, label, _ = strings.Cut(scope, "/")
	return id, label
}

var label = regexp.MustCompile(`^[A-Za-z0-9-]{1,20}$`)

// ReadLabel returns a label as it is kept, in small letters: 1 to 20 letters,
// digits and hyphens, in either case; "" is a label of its own.
func ReadLabel(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	return strings.ToLower(s), label.MatchString(s)
}

// SplitToken returns the API key and the label of a token: what follows the last
// slash is a label, if it can be one.
func SplitToken(token string) (key, label string) {
	i := strings.LastIndexByte(token, '/')
	if i < 0 || i == len(token)-1 {
		return token, ""
	}
	if l, ok := ReadLabel(token[i+1:]); ok {
		return token[:i], l
	}
	return token, ""
}

// Key is a Rule API key as it is kept. It holds no readable secret.
type Key struct {
	ID      string // ID(the key)
	Account string
	Sealed  []byte
	Last4   string // the key's last four characters, "" for a short key
	Labels  []string
	// FirstSeen is when Rule was first asked about it, and FirstAccepted when an
	// operation that counts was first accepted with it.
	FirstSeen, FirstAccepted time.Time
	// Accepted is when Rule last accepted it; noted every few minutes.
	Accepted time.Time
	// RefusedSince is since when Rule has refused it, zero if it accepts it, and
	// Refused when it last did.
	RefusedSince, Refused time.Time
	Delivered             time.Time // when an order or event last came with it
	Dropped               time.Time // by the merchant, for good; zero if it was not
}

// Bad reports whether the key is refused or dropped, as far as is known.
func (k Key) Bad() bool { return !k.RefusedSince.IsZero() || !k.Dropped.IsZero() }

// SitooAccess is how a shop's orders are read from Sitoo.
type SitooAccess struct {
	BaseURL   string
	AccountID string // in Sitoo
	Site      int64  // the site's eshopid
	Sealed    []byte // API id and password, sealed
	Since     time.Time
	Used      time.Time // when they were last opened to be used, zero if never
}

// Shop names the shop that the access is to.
func (a SitooAccess) Shop() Shop { return Shop{environment(a.BaseURL), a.AccountID, a.Site} }

// Shop is a site of an account in one of Sitoo's environments: the same number in
// the sandbox is another shop.
type Shop struct {
	Environment string // host and port, such as api.mysitoo.com
	Account     string
	Site        int64
}

// String names the shop, as sentences do.
func (s Shop) String() string {
	return s.Account + ", site " + strconv.FormatInt(s.Site, 10) + " at " + s.Environment
}

// environment is the host of a base URL, and its port where it is not the
// scheme's own.
func environment(baseURL string) string {
	u, err := url.Parse(baseURL)
	if err != nil {
		return baseURL
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// Claim says whose a shop is.
type Claim struct {
	Shop
	Scope string // the account and the label it stands under
	// Home is where it stood last, also once it is released: its orders are known
	// there.
	Home string
	// Out are the accounts that an operator has put out: they cannot claim it.
	Out []string
}

// ID returns the id of a Rule API key: 128 bits of its SHA-256 in lower-case hex.
// Keys are long and random, so the digest cannot be turned back; the prefix keeps
// it from equalling any other digest of the same key.
func ID(key string) string {
	sum := sha256.Sum256([]byte("sitoo-rule account\x00" + key))
	return hex.EncodeToString(sum[:16])
}

// Store keeps accounts and keys. Implementations are safe for concurrent use,
// read their own writes, and every method may be repeated. Methods that change an
// account, a key or a shop are ErrNotFound where there is none.
type Store interface {
	// Key returns a key by its id, or ErrNotFound.
	Key(ctx context.Context, id string) (Key, error)
	// Get returns an account as a label sees it, or ErrNotFound; and the key of
	// that id with it, in the same round trip, zero if there is none.
	Get(ctx context.Context, account, label, key string) (Account, Key, error)
	// Keys returns all keys of an account, those seen first first.
	Keys(ctx context.Context, account string) ([]Key, error)
	// Create stores a's ID, Name and Created if no account of that id exists. One
	// that exists is left as it is.
	Create(ctx context.Context, a Account) error
	// AddKey stores a key if none of that id exists, and returns the one that is
	// stored: what a key is settled on stays.
	AddKey(ctx context.Context, k Key) (Key, error)
	// AcceptKey notes that Rule accepted a key at a time, unless it has refused it
	// after that, and that it came with a label.
	AcceptKey(ctx context.Context, id, label string, at time.Time) error
	// RefuseKey notes that Rule refused a key at a time, unless it has accepted it
	// after that.
	RefuseKey(ctx context.Context, id string, at time.Time) error
	// DeliveredKey notes that an order or event came with a key. It only ever moves
	// the time forward.
	DeliveredKey(ctx context.Context, id string, at time.Time) error
	// DropKey notes that the merchant dropped a key; the zero time takes it back.
	DropKey(ctx context.Context, id string, at time.Time) error

	// Block notes that Rule wants no call before until. It only ever moves the
	// time forward.
	Block(ctx context.Context, account string, until time.Time) error
	// SetSchema notes which version of the field schema Rule has. It only ever
	// raises the number.
	SetSchema(ctx context.Context, account string, version int) error
	// SawLabel notes that an order came under a label.
	SawLabel(ctx context.Context, account, label string) error
	// Park adds to what is counted as parked, if neither then exceeds its limit;
	// ok is false if one would. Negative numbers take away, and always may.
	Park(ctx context.Context, account string, count int, bytes int64, most Parked) (ok bool, err error)
	// Watch notes until when what is parked is looked after, unless it is for that
	// long or longer as of now: ok is false then.
	Watch(ctx context.Context, account string, now, until time.Time) (ok bool, err error)

	// SetSettings keeps what the shop has chosen; Country is the label's.
	SetSettings(ctx context.Context, account, label string, s Settings) error

	// SetSitoo keeps how the shop of an account and a label is read from Sitoo in
	// place of what was there; nil removes it. It needs no account.
	SetSitoo(ctx context.Context, account, label string, a *SitooAccess) error
	// UsedSitoo notes when the access was used. It only ever moves the time
	// forward; an account without access is left as it is.
	UsedSitoo(ctx context.Context, account, label string, at time.Time) error
	// Claims returns whose the sites of a Sitoo account are or were, in every
	// environment, in order; none is not an error.
	Claims(ctx context.Context, sitooAccount string) ([]Claim, error)
	// Claim makes scope the shop's, if it is nobody's, scope's already, or
	// instead's, and scope's account has not been put out. It returns what holds
	// then.
	Claim(ctx context.Context, s Shop, scope, instead string) (Claim, error)
	// Release takes the shop from scope; one that is not scope's is left as it is.
	// out puts scope's account out: it cannot claim the shop any more.
	Release(ctx context.Context, s Shop, scope string, out bool) error

	// Attempt counts an attempt under a name. From the fourth within ten minutes on
	// each is followed by a time in which there may be none, which doubles; it
	// returns until when, zero for an attempt that may be made.
	Attempt(ctx context.Context, name string, at time.Time) (until time.Time, err error)
	// Forgive takes back the last attempt that was counted under a name.
	Forgive(ctx context.Context, name string) error

	// Refuse remembers until when an unknown key that Rule refused is not tried
	// again.
	Refuse(ctx context.Context, id string, until time.Time) error
	// Refused returns that time, zero if there is none. It may lie in the past.
	Refused(ctx context.Context, id string) (time.Time, error)
}

// Attempts is what a Store keeps of attempts under one name.
type Attempts struct {
	Count int
	Last  time.Time
	Until time.Time // there may be none before this
}

const (
	freeAttempts  = 3
	attemptWindow = 10 * time.Minute
	firstBackOff  = time.Minute
	lastBackOff   = time.Hour
)

// Next counts an attempt at a time; until is not zero if it may not be made.
func (a Attempts) Next(at time.Time) (next Attempts, until time.Time) {
	if at.Before(a.Until) {
		return a, a.Until
	}
	if at.Sub(a.Last) >= attemptWindow && at.Sub(a.Until) >= attemptWindow {
		a.Count = 0
	}
	a.Count, a.Last, a.Until = a.Count+1, at, time.Time{}
	if over := a.Count - freeAttempts; over > 0 {
		a.Until = at.Add(min(firstBackOff<<min(over-1, 10), lastBackOff))
	}
	return a, time.Time{}
}

// Back takes an attempt back.
func (a Attempts) Back() Attempts {
	a.Count, a.Until = max(a.Count-1, 0), time.Time{}
	return a
}

// Sealer turns a secret into bytes that are safe to store. The account id is
// bound to the sealed bytes: opening them under another id fails.
type Sealer interface {
	Seal(ctx context.Context, accountID, secret string) ([]byte, error)
	Open(ctx context.Context, accountID string, sealed []byte) (string, error)
}
