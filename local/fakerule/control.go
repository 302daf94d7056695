package fakerule

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// The switches: calls for people and tests on this machine, no part of Rule's
// API. Each takes and answers JSON, and a mistake is a 400 that names it.
func (s *Server) switches(mux *http.ServeMux) {
	mux.HandleFunc("GET /_accounts", s.serveAccounts)
	mux.HandleFunc("POST /_accounts", command(s.makeAccount))
	mux.HandleFunc("POST /_keys", command(s.makeKey))
	mux.HandleFunc("POST /_keys/revoke", command(s.setRevoked(true)))
	mux.HandleFunc("POST /_keys/accept", command(s.setRevoked(false)))
	mux.HandleFunc("POST /_details", command(s.changeDetails))
	mux.HandleFunc("POST /_historical", command(s.changeLayout))
}

// command serves a switch: it reads the body, which may hold nothing but the
// members of In, and answers what do returns.
func command[In any](do func(In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		d.DisallowUnknownFields()
		status, out := http.StatusOK, any(nil)
		err := d.Decode(&in)
		if err == nil {
			out, err = do(in)
		}
		if err != nil {
			status, out = http.StatusBadRequest, map[string]string{"message": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(append(encode(out), '\n'))
	}
}

// accountKeys is an account with its keys.
type accountKeys struct {
	Account
	Details Details `json:"details"`
	Keys    []Key   `json:"keys"`
}

func (s *Server) serveAccounts(w http.ResponseWriter, _ *http.Request) {
	list := []accountKeys{}
	for _, a := range s.all() {
		a.mu.Lock()
		d := a.details
		a.mu.Unlock()
		list = append(list, accountKeys{Account: a.info, Details: d, Keys: s.Keys(a.id)})
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(encode(list), '\n'))
}

// madeKey is shown once, when the key is made.
type madeKey struct {
	AccountID int    `json:"account_id"`
	Key       string `json:"key"`
}

type accountIn struct {
	Account
	Key string `json:"key"` // made up if left out
}

func (s *Server) makeAccount(in accountIn) (any, error) {
	key := cmp.Or(in.Key, rand.Text())
	a, err := s.AddAccount(in.Account, key)
	return madeKey{a.ID, key}, err
}

type keyIn struct {
	AccountID int    `json:"account_id"`
	Name      string `json:"name"`
	Key       string `json:"key"` // made up if left out
}

func (s *Server) makeKey(in keyIn) (any, error) {
	k, err := s.newKey(cmp.Or(in.AccountID, DefaultAccount), cmp.Or(in.Key, rand.Text()), in.Name)
	if err != nil {
		return nil, err
	}
	return madeKey{k.acc.id, k.secret}, nil
}

// keyRef names a key by itself or by its id.
type keyRef struct {
	Key string `json:"key"`
	ID  int    `json:"id"`
}

func (s *Server) setRevoked(revoked bool) func(keyRef) (any, error) {
	return func(in keyRef) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, k := range s.keys {
			if k.secret == in.Key || k.id == in.ID {
				k.revoked = revoked
				return map[string]int{"account_id": k.acc.id, "id": k.id}, nil
			}
		}
		return nil, errors.New("there is no such key: give key or id")
	}
}

type detailsIn struct {
	AccountID int     `json:"account_id"` // left out: all accounts
	Details   Details `json:"details"`    // left out: as Rule answers
}

func (s *Server) changeDetails(in detailsIn) (any, error) {
	return in.Details, s.SetDetails(in.AccountID, in.Details)
}

type layoutIn struct {
	Layout string `json:"layout"`
}

func (s *Server) changeLayout(in layoutIn) (any, error) {
	i := slices.Index(historicalNames, in.Layout)
	if i < 0 {
		return nil, fmt.Errorf("layout: one of %s is expected", strings.Join(historicalNames, ", "))
	}
	s.SetHistoricalLayout(HistoricalLayout(i))
	return in, nil
}
