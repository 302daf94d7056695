package simulation_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/simulation"
	"sitoo-rule/local/template"
)

var read = sync.OnceValues(func() (*template.Template, error) { return template.Load("../../template.yaml") })

// play plays a world to its end in a bubble of virtual time.
func play(t *testing.T, o simulation.Options, then func(t *testing.T, w *simulation.World)) {
	t.Helper()
	tpl, err := read()
	if err != nil {
		t.Fatal(err)
	}
	o.Template = tpl
	synctest.Test(t, func(t *testing.T) {
		w, err := simulation.New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Play(t.Context()); err != nil {
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

func TestCalm(t *testing.T) {
	t.Parallel()
	play(t, simulation.Options{Seed: 1, Orders: 3000, Customers: 400, Known: 300, Sales: 40}, func(t *testing.T, w *simulation.World) {
		st, _ := w.Status()
		t.Logf("%+v\n%s", w.Counts, w.Took())
		t.Logf("%+v", st)
		t.Logf("%d requests", len(w.Rule.Requests()))
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			play(t, simulation.Options{Seed: seed, Orders: 2000, Customers: 400, Known: 300, Sales: 60, Faults: 0.0008, Create: seed%3 == 2}, func(t *testing.T, w *simulation.World) {
				t.Logf("%+v %s %s", w.Counts, w.Took(), w.Trace())
			})
		})
	}
}

func TestPace(t *testing.T) {
	for _, n := range []int{20000} {
		play(t, simulation.Options{
			Seed: 3, Orders: n, Customers: n/8, Known: n/10, AtOnce: true, Answer: 250*time.Millisecond,
			Page: func(n int) time.Duration { return 400*time.Millisecond + time.Duration(n)*3*time.Millisecond },
		}, func(t *testing.T, w *simulation.World) {
			st, _ := w.Status()
			kinds := map[string]int{}
			for _, q := range w.Rule.Requests() { kinds[q.Route]++ }
			t.Logf("%s, %d requests %v\n%+v", w.Took(), len(w.Rule.Requests()), kinds, st)
		})
	}
}
