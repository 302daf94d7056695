package customer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	shops "sitoo-rule/shared/account"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/customer/phone"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

// throughHandler carries requests to a handler, in virtual time.
type throughHandler struct{ h http.Handler }

func (d throughHandler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// container is one process of contact-find.
type container struct {
	*customer.Service
	client *rule.Client
}

func containers(n int, server *fakerule.Server) []container {
	list := make([]container, n)
	for i := range list {
		list[i] = container{
			&customer.Service{Phones: phone.Parser("SE"), Log: slog.New(slog.DiscardHandler), Now: time.Now},
			rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: throughHandler{server}}, Pause: -1}),
		}
	}
	return list
}

// find searches as a till does: 7 s at the most. It returns what came of it and
// how long that took.
func (c container) find(t *testing.T, key string) (found bool, took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	start := time.Now()
	_, found, err = c.Find(ctx, c.client.Session(fakerule.DefaultKey, time.Time{}, nil), shops.Account{ID: account}, key)
	return found, time.Since(start), err
}

func blocked(server *fakerule.Server) bool {
	for _, q := range server.Requests() {
		if q.Status == http.StatusTooManyRequests {
			return true
		}
	}
	return false
}

// Searches that find nobody, in a row, in one process or in many, at leisure or
// at the same moment, do not make Rule shut the shop out. Those whom the shop has
// found lately are found at once all the while, somebody new within 8 s or with a
// sentence, and when the ten minutes are over everything is as it was.
func TestMissesInARow(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		containers, misses, atOnce int
		pause                      time.Duration
	}{
		"48, one process":              {1, 48, 1, time.Second},
		"48, one process, at leisure":  {1, 48, 1, 8 * time.Second},
		"300, one process":             {1, 300, 1, time.Second},
		"48, six processes":            {6, 48, 1, time.Second},
		"300, twelve processes":        {12, 300, 1, time.Second},
		"300, six at the same moment":  {6, 300, 6, time.Second},
		"120, six, as fast as can be":  {6, 120, 6, 0},
		"600, three, at great leisure": {3, 600, 1, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := fakerule.New(fakerule.Options{Now: time.Now})
				if err := server.Load(fakerule.Seed()); err != nil {
					t.Fatal(err)
				}
				all := containers(tt.containers, server)
				for _, c := range all {
					if found, _, err := c.find(t, "kund.ett@example.com"); !found || err != nil {
						t.Fatalf("before: %v, %v", found, err)
					}
				}
				var mu sync.Mutex
				missed, spaced := 0, 0
				for i := 0; i < tt.misses; i += tt.atOnce {
					var wg sync.WaitGroup
					for j := range tt.atOnce {
						wg.Go(func() {
							found, took, err := all[(i+j)%len(all)].find(t, fmt.Sprintf("ny.%d@example.org", i+j))
							mu.Lock()
							defer mu.Unlock()
							switch f := fault.As(err); {
							case err == nil && !found:
								missed++
							case f != nil && f.Kind == fault.Busy && f.Message != "" && f.RetryAt.After(time.Now()):
								spaced++
							default:
								t.Errorf("search %d: %v, %v", i+j, found, err)
							}
							if took >= 8*time.Second {
								t.Errorf("search %d took %v", i+j, took)
							}
						})
					}
					wg.Wait()
					if found, took, err := all[i%len(all)].find(t, "kund.ett@example.com"); i%10 == 0 && (!found || err != nil || took > time.Second) {
						t.Fatalf("after %d searches, one who was found lately: %v, %v after %v", i, found, err, took)
					}
					time.Sleep(tt.pause)
				}
				if blocked(server) {
					t.Errorf("Rule has blocked the shop; %d searches missed, %d had to wait", missed, spaced)
				}
				if missed < 20 {
					t.Errorf("only %d searches were answered, %d had to wait", missed, spaced)
				}
				// A customer whom no process has found yet, now or with the next search.
				found, took, err := all[0].find(t, "kund.fyra@example.com")
				if (err == nil && !found) || (err != nil && fault.KindOf(err) != fault.Busy) || took >= 8*time.Second {
					t.Errorf("somebody new: %v, %v after %v", found, err, took)
				}
				time.Sleep(11 * time.Minute)
				for i := range 5 {
					if _, took, err := all[0].find(t, fmt.Sprintf("later.%d@example.org", i)); err != nil || took > time.Second {
						t.Errorf("ten minutes later: %v after %v", err, took)
					}
				}
			})
		})
	}
}

// Only misses, without a single success between them: the worst there is.
func TestNothingButMisses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := fakerule.New(fakerule.Options{Now: time.Now})
		if err := server.Load(fakerule.Seed()); err != nil {
			t.Fatal(err)
		}
		all := containers(4, server)
		missed := 0
		for i := range 48 {
			if _, _, err := all[i%4].find(t, fmt.Sprintf("ny.%d@example.org", i)); err == nil {
				missed++
			}
		}
		// Then a rush of sales: a hundred requests that go well must not be the ones
		// from which on Rule counts.
		for range 60 {
			if found, _, err := all[0].find(t, "kund.fyra@example.com"); err != nil && fault.KindOf(err) != fault.Busy || err == nil && !found {
				t.Fatalf("a customer: %v, %v", found, err)
			}
			time.Sleep(2 * time.Second)
		}
		if blocked(server) || missed < 15 {
			t.Errorf("blocked %v, %d of 48 searches answered", blocked(server), missed)
		}
	})
}

// A shop far from Rule's limit pays nothing: one request for a search that finds
// nobody.
func TestMissCostsOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := fakerule.New(fakerule.Options{Now: time.Now})
		if err := server.Load(fakerule.Seed()); err != nil {
			t.Fatal(err)
		}
		c := containers(1, server)[0]
		for range 100 { // a shop that is open
			if _, _, err := c.find(t, "kund.ett@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		before := len(server.Requests())
		for i := range 40 { // 16 % of all requests
			if _, took, err := c.find(t, fmt.Sprintf("ny.%d@example.org", i)); err != nil || took > 0 {
				t.Fatalf("search %d: %v after %v", i, err, took)
			}
		}
		if got := len(server.Requests()) - before; got != 40 {
			t.Errorf("40 searches cost %d requests", got)
		}
	})
}
