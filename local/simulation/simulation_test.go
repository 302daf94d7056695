package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/simulation"
	"sitoo-rule/local/template"
)

var read = sync.OnceValues(func() (*template.Template, error) { return template.Load("../../template.yaml") })

// play plays a world to its end in a bubble of virtual time, and has it audited.
func play(t *testing.T, o simulation.Options, then func(t *testing.T, w *simulation.World)) {
	t.Helper()
	tpl, err := read()
	if err != nil {
		t.Fatal(err)
	}
	o.Template = tpl
	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		wrong := w.Audit()
		for i, problem := range wrong {
			if i == 12 {
				t.Errorf("and %d more", len(wrong)-i)
				break
			}
			t.Error(problem)
		}
		if then != nil {
			then(t, w)
		}
	})
}

// A world without faults: the auditor finds everything, each receipt is sent
// once, and nothing is told twice.
func TestCalm(t *testing.T) {
	t.Parallel()
	play(t, simulation.Options{Seed: 1, Orders: 1500, Customers: 300, Known: 200, Sales: 40}, func(t *testing.T, w *simulation.World) {
		if w.Counts.Kills+w.Counts.Faults != 0 || len(w.Copies) != 40 {
			t.Errorf("%+v, %d copies of orders", w.Counts, len(w.Copies))
		}
		for _, r := range w.Rule.Requests() {
			if r.Status >= 400 && r.Route != "GET /v3/custom-field-data/*/search" { // of an order that a backfill may just have written
				t.Errorf("%s is answered %d", r.Route, r.Status)
			}
		}
	})
}

// The customers whom Rule does not know are made, each once.
func TestCreate(t *testing.T) {
	t.Parallel()
	play(t, simulation.Options{Seed: 2, Orders: 1000, Customers: 300, Known: 100, Sales: 10, Create: true}, func(t *testing.T, w *simulation.World) {
		if made := len(w.Rule.Subscribers(simulation.Key)) - len(w.Known); made < 20 { // most orders name a contact id that Rule does not have, and make no customer
			t.Errorf("only %d customers were made", made)
		}
	})
}

// The queues worked side by side, as in Lambda, with the times that networks and
// servers take.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	play(t, simulation.Options{
		Seed: 3, Orders: 1500, Customers: 300, Known: 200, AtOnce: true, Answer: 250 * time.Millisecond,
		Page: func(n int) time.Duration { return time.Duration(n) * 4 * time.Millisecond },
	}, nil)
}

// Half of Rule's budget is left to the tills, however small it is.
func TestBudget(t *testing.T) {
	t.Parallel()
	play(t, simulation.Options{
		Seed: 4, Orders: 800, Customers: 200, Known: 150, AtOnce: true, Answer: 250 * time.Millisecond, Server: fakerule.Options{Budget: 40},
	}, func(t *testing.T, w *simulation.World) {
		window, worst := []time.Time{}, 0
		for _, r := range w.Rule.Requests() {
			if r.Status == 429 {
				t.Errorf("%s is refused", r.Route)
			}
			window = append(window, r.At)
			for r.At.Sub(window[0]) >= fakerule.Window {
				window = window[1:]
			}
			worst = max(worst, len(window))
		}
		if worst > 40/2+5 { // the account's first order takes five, once begun
			t.Errorf("%d requests in ten minutes, half of 40 are for history", worst)
		}
		if w.Took() < 10*time.Minute {
			t.Errorf("it took %s, and must have waited", w.Took())
		}
	})
}

// number reads a setting of `make simulate`.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

// faulty is a world in which everything goes wrong.
func faulty(seed, orders int) simulation.Options {
	customers := max(orders/8, 200)
	part := 0
	if orders <= 2000 && seed%2 == 0 {
		part = 30
	}
	return simulation.Options{
		Part: part, Ahead: part / 10,
		Seed: uint64(seed), Orders: orders, Customers: customers, Known: customers * 3 / 4, Sales: 40 + orders/500, Create: seed%4 == 3,
		// The larger the shop, the more effects a part has; it must get through at
		// times.
		Faults: min(0.002, 1.0/float64(orders)+0.0002),
	}
}

// Whatever dies, gets lost, comes twice or late, and whatever tills do in the
// meantime: Rule has in the end what Sitoo has. `make simulate` plays more seeds
// and larger shops, and one seed again.
func TestFaults(t *testing.T) {
	t.Parallel()
	first, orders := number("FIRST", 1), number("ORDERS", orders)
	for seed := first; seed < first+number("SEEDS", seeds); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			play(t, faulty(seed, orders), func(t *testing.T, w *simulation.World) {
				t.Logf("%d deliveries with %d effects, %d killed, %d other faults, %s; %s", w.Counts.Deliveries, w.Counts.Effects, w.Counts.Kills, w.Counts.Faults, w.Took(), w.Trace())
				if w.Counts.Kills+w.Counts.Faults == 0 {
					t.Error("nothing went wrong")
				}
			})
		})
	}
}

// A seed is played again as it was.
func TestReplay(t *testing.T) {
	t.Parallel()
	var traces [2]string
	for i := range traces {
		play(t, faulty(11, 400), func(_ *testing.T, w *simulation.World) { traces[i] = w.Trace() })
	}
	if traces[0] != traces[1] {
		t.Errorf("the same seed came to %s and to %s", traces[0], traces[1])
	}
}

// Rule is down for more than a day, with parts on the queue: who is in
// Rule is listed anew before they are written, and who was deleted there meanwhile
// does not come back.
func TestDownForDays(t *testing.T) {
	t.Parallel()
	var w *simulation.World
	var gone int64
	o := simulation.Options{Seed: 5, Orders: 700, Customers: 200, Known: 150, AtOnce: true, Answer: 250 * time.Millisecond}
	o.Wrap = func(function string, h lambda.Handler) lambda.Handler {
		if function != "history-worker" {
			return h
		}
		return handler(func(ctx context.Context, payload []byte) ([]byte, error) {
			if gone == 0 {
				gone = slices.Sorted(maps.Keys(w.Known))[0]
				w.Forget(gone)
				until := time.Now().Add(30 * time.Hour)
				w.Rule.SetFault(func(*http.Request, []byte) *fakerule.Fault {
					if time.Now().Before(until) {
						return &fakerule.Fault{Status: http.StatusServiceUnavailable}
					}
					return nil
				})
			}
			return h.Invoke(ctx, payload)
		})
	}
	o.Begun = func(world *simulation.World) { w = world }
	play(t, o, func(t *testing.T, w *simulation.World) {
		j, err := w.Job()
		if err != nil || j.Lists < 2 || w.Took() < 30*time.Hour {
			t.Errorf("%d lists in %s, %v", j.Lists, w.Took(), err)
		}
		for _, s := range w.Rule.Subscribers(simulation.Key) {
			if s.ID == gone {
				t.Errorf("subscriber %d is there", gone)
			}
		}
		if n := len(w.Rule.Subscribers(simulation.Key)); n != len(w.Known) {
			t.Errorf("%d subscribers, %d were known", n, len(w.Known))
		}
	})
}

type handler func(ctx context.Context, payload []byte) ([]byte, error)

func (h handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) { return h(ctx, payload) }
