package fakerule

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// DefaultAccount is the id of the first account, the one of [DefaultKey] unless
// [Options.Keys] names others. Accounts after it count on.
const DefaultAccount = 42

// An Account is what Rule keeps of an account beside its data; all of its keys
// lead to the same account. It is what GET /v2/sender/details answers.
type Account struct {
	// ID is Rule's number of the account.
	ID int `json:"account_id"`
	// Name and Email are the sender of emails.
	Name  string `json:"name"`
	Email string `json:"email"`
	// Company is who the account belongs to.
	Company string `json:"company"`
	// TextMessageSenderName is the sender of text messages.
	TextMessageSenderName string `json:"text_message_sender_name"`
	// LinkInsteadOfStopWord is how a text message says how to unsubscribe.
	LinkInsteadOfStopWord bool `json:"link_instead_of_stop_word"`
}

// A Key is an API key as people see it: never the key itself.
type Key struct {
	ID        int       `json:"id"`
	AccountID int       `json:"account_id"`
	Name      string    `json:"name"`
	Masked    string    `json:"key"` // its first and last two characters
	Revoked   bool      `json:"revoked"`
	CreatedAt time.Time `json:"created_at"`
}

// Details changes what GET /v2/sender/details answers for an account; the zero
// value is what Rule is known to answer. A refused key is 401 all the same.
type Details struct {
	// Status is the status of the answer, 0 for 200. Anything but 200 is
	// answered with an error body.
	Status int `json:"status,omitempty"`
	// NoAccountID leaves account_id out of the answer.
	NoAccountID bool `json:"no_account_id,omitempty"`
	// AccountID stands in place of the number, as JSON: `"42"`, `null`, `0`.
	AccountID json.RawMessage `json:"account_id,omitempty"`
	// Body is the whole body, whatever it is; it goes before the members above.
	Body string `json:"body,omitempty"`
}

// apiKey is one key; a revoked one is kept, so that a test can still look at
// its account.
type apiKey struct {
	id      int
	secret  string
	name    string
	acc     *account
	revoked bool
	made    time.Time
	updated time.Time
}

// AddAccount makes an account with the given keys, and returns it with its id:
// a.ID, or the next free one if that is 0. Empty members get made-up values. It
// fails for an id or a key that is taken.
func (s *Server) AddAccount(a Account, keys ...string) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ID < 0 || slices.ContainsFunc(s.accounts, func(x *account) bool { return x.id == a.ID }) {
		return Account{}, fmt.Errorf("add account: the id %d is taken or not positive", a.ID)
	}
	for _, k := range keys {
		if k == "" || s.keys[k] != nil {
			return Account{}, errors.New("add account: a key is empty or taken")
		}
	}
	acc := s.addAccount(a)
	for _, k := range keys {
		s.addKey(acc, k, "")
	}
	return acc.info, nil
}

// addAccount wants mu to be held and the id to be free.
func (s *Server) addAccount(a Account) *account {
	if a.ID == 0 {
		a.ID = DefaultAccount
		for _, x := range s.accounts {
			a.ID = max(a.ID, x.id+1)
		}
	}
	n := strconv.Itoa(a.ID)
	a.Name = cmp.Or(a.Name, "Exempelbutiken "+n)
	a.Company = cmp.Or(a.Company, a.Name+" AB")
	a.Email = cmp.Or(a.Email, "kundklubb"+n+"@example.com")
	a.TextMessageSenderName = cmp.Or(a.TextMessageSenderName, "Exempel"+n)
	acc := newAccount(a, s.opt)
	s.accounts = append(s.accounts, acc)
	return acc
}

// addKey wants mu to be held and the key to be free.
func (s *Server) addKey(acc *account, secret, name string) *apiKey {
	s.lastKey++
	now := s.opt.Now()
	k := &apiKey{id: s.lastKey, secret: secret, name: cmp.Or(name, "Key "+strconv.Itoa(s.lastKey)), acc: acc, made: now, updated: now}
	s.keys[secret] = k
	return k
}

// AddKey accepts an API key from now on: again if it was revoked, and with a
// new and empty account of its own if it was never seen. It is safe to repeat.
func (s *Server) AddKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch k := s.keys[key]; {
	case key == "":
	case k != nil:
		k.revoked = false
	default:
		s.addKey(s.addAccount(Account{}), key, "")
	}
}

// AddKeyTo accepts another key of an account from now on. It is safe to repeat
// and fails for an account that does not exist, or a key of another one.
func (s *Server) AddKeyTo(accountID int, key string) error {
	_, err := s.newKey(accountID, key, "")
	return err
}

// NewKey makes another key of an account and returns it.
func (s *Server) NewKey(accountID int, name string) (string, error) {
	k, err := s.newKey(accountID, rand.Text(), name)
	if err != nil {
		return "", err
	}
	return k.secret, nil
}

func (s *Server) newKey(accountID int, secret, name string) (apiKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.accounts, func(a *account) bool { return a.id == accountID })
	switch {
	case i < 0:
		return apiKey{}, fmt.Errorf("add key: there is no account %d", accountID)
	case secret == "":
		return apiKey{}, errors.New("add key: the key is empty")
	}
	if k := s.keys[secret]; k != nil {
		if k.acc.id != accountID {
			return apiKey{}, errors.New("add key: the key belongs to another account")
		}
		k.revoked = false
		return *k, nil
	}
	return *s.addKey(s.accounts[i], secret, name), nil
}

// RevokeKey refuses an API key from now on. Its account is kept. It is safe to
// repeat.
func (s *Server) RevokeKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[key]; k != nil {
		k.revoked = true
	}
}

// revoke is RevokeKey for a key of one account by its id; false if there is no
// such key, or not any more.
func (s *Server) revoke(acc *account, id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.acc == acc && k.id == id && !k.revoked {
			k.revoked = true
			return true
		}
	}
	return false
}

// Accounts returns all accounts, oldest first.
func (s *Server) Accounts() []Account {
	var list []Account
	for _, a := range s.all() {
		list = append(list, a.info)
	}
	return list
}

// Keys returns the keys of an account, oldest first, revoked ones included.
func (s *Server) Keys(accountID int) []Key {
	list := []Key{}
	for _, k := range s.keysOf(func(k *apiKey) bool { return k.acc.id == accountID }) {
		list = append(list, Key{ID: k.id, AccountID: accountID, Name: k.name, Masked: mask(k.secret), Revoked: k.revoked, CreatedAt: k.made})
	}
	return list
}

// keysOf returns copies of the keys that are wanted, oldest first.
func (s *Server) keysOf(wanted func(*apiKey) bool) []apiKey {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []apiKey
	for _, k := range s.keys {
		if wanted(k) {
			list = append(list, *k)
		}
	}
	slices.SortFunc(list, func(x, y apiKey) int { return cmp.Compare(x.id, y.id) })
	return list
}

// AccountID returns the id that [Request.Account] has for calls with key, "" for
// a key that never had an account.
func (s *Server) AccountID(key string) string {
	if a := s.any(key); a != nil {
		return a.name()
	}
	return ""
}

// SetDetails changes what an account's keys get from GET /v2/sender/details, or
// with account 0 those of all accounts there are. It stays after Reset.
func (s *Server) SetDetails(accountID int, d Details) error {
	if d.Status != 0 && (d.Status < 200 || d.Status > 599) {
		return fmt.Errorf("set details: %d is not a status of an answer", d.Status)
	}
	if len(d.AccountID) > 0 && !json.Valid(d.AccountID) {
		return errors.New("set details: the account id is not JSON")
	}
	found := false
	for _, a := range s.all() {
		if accountID == 0 || a.id == accountID {
			a.mu.Lock()
			a.details, found = d, true
			a.mu.Unlock()
		}
	}
	if !found {
		return fmt.Errorf("set details: there is no account %d", accountID)
	}
	return nil
}

// all returns the accounts, oldest first.
func (s *Server) all() []*account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.accounts)
}

// any returns the account of a key, revoked or not.
func (s *Server) any(key string) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k := s.keys[key]; k != nil {
		return k.acc
	}
	return nil
}

// The calls of Rule's API

func getSenderDetails(c *call) reply {
	a, d := c.acc.info, c.acc.details
	status := cmp.Or(d.Status, http.StatusOK)
	switch {
	case d.Body != "":
		return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(d.Body)}
	case status == http.StatusForbidden:
		return c.fail(status, "Forbidden", "This action is unauthorized.")
	case status == http.StatusNotFound:
		return c.fail(status, "NotFound", "There is no such resource.")
	case status >= http.StatusBadRequest:
		return c.fail(status, "UnexpectedError", "An unexpected error occurred. Contact support if the error persists.")
	}
	out := map[string]any{
		"status": status, "account_id": a.ID, "name": a.Name, "email": a.Email, "company": a.Company,
		"text_message_sender_name": a.TextMessageSenderName, "link_instead_of_stop_word": a.LinkInsteadOfStopWord,
	}
	if len(d.AccountID) > 0 {
		out["account_id"] = d.AccountID
	}
	if d.NoAccountID {
		delete(out, "account_id")
	}
	return jsonReply(status, out)
}

// keyJSON is a key as v3 shows it; the key itself is there only when it is made.
func (k apiKey) json(made bool) map[string]any {
	out := map[string]any{"id": k.id, "name": k.name, "created_at": stamp(k.made), "updated_at": stamp(k.updated)}
	if made {
		out["key"] = k.secret
	}
	return out
}

// listKeys shows the keys of the account. That any key of an account may see
// and change the others is assumed: who may is not published.
func listKeys(c *call) reply {
	list := []any{}
	for _, k := range c.srv.keysOf(func(k *apiKey) bool { return k.acc == c.acc && !k.revoked }) {
		list = append(list, k.json(false))
	}
	return jsonReply(http.StatusOK, map[string]any{"data": list})
}

// readName reads the only member of a key that a call may give.
func (c *call) readName() (string, *reply) {
	var in struct{ Name json.RawMessage }
	if rep, ok := c.decode(&in); !ok {
		return "", &rep
	}
	p := problems{}
	name := strings.TrimSpace(text(p, "name", in.Name))
	if len(p) == 0 && (name == "" || utf8.RuneCountInString(name) > 255) {
		p.add("name", "The name must have 1 to 255 characters.")
	}
	if len(p) > 0 {
		rep := c.refuse(p)
		return "", &rep
	}
	return name, nil
}

func postKey(c *call) reply {
	name, refused := c.readName()
	if refused != nil {
		return *refused
	}
	k, err := c.srv.newKey(c.acc.id, rand.Text(), name)
	if err != nil {
		return c.fail(http.StatusInternalServerError, "UnexpectedError", "An unexpected error occurred.")
	}
	return jsonReply(http.StatusCreated, map[string]any{"data": k.json(true)})
}

func putKey(c *call) reply {
	name, refused := c.readName()
	if refused != nil {
		return *refused
	}
	id, _ := number(c.args[0])
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	for _, k := range c.srv.keys {
		if k.acc == c.acc && int64(k.id) == id && !k.revoked {
			k.name, k.updated = name, c.now
			return jsonReply(http.StatusOK, map[string]any{"data": k.json(false)})
		}
	}
	return c.noKey()
}

func deleteKey(c *call) reply {
	id, _ := number(c.args[0])
	if !c.srv.revoke(c.acc, int(id)) {
		return c.noKey()
	}
	return noContent()
}

func (c *call) noKey() reply {
	return c.fail(http.StatusNotFound, "NotFound", "Could not find API key")
}
