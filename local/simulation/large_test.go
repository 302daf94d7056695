//go:build !race

package simulation_test

import (
	"testing"

	"sitoo-rule/local/simulation"
)

// seeds and orders are what TestFaults plays by itself.
const seeds, orders = 8, 1000

// A shop of 50,000 orders. It is not built with the race detector, which would
// take ten times as long and see no more than in the small shops.
func TestLargeShop(t *testing.T) {
	t.Parallel()
	play(t, faulty(number("FIRST", 1), 50_000), func(t *testing.T, w *simulation.World) {
		t.Logf("%d deliveries with %d effects, %d killed, %d other faults, %s; %s", w.Counts.Deliveries, w.Counts.Effects, w.Counts.Kills, w.Counts.Faults, w.Took(), w.Trace())
	})
}
