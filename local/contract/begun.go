package contract

import (
	"testing"

	"sitoo-rule/shared/worker"
)

// Begun tests a worker.Begun.
func Begun(t *testing.T, open func(t *testing.T) worker.Begun) {
	t.Run("attempts count until one ends by itself", func(t *testing.T) {
		t.Parallel()
		s, group, other := open(t), newID(), newID()
		begin := func(group, message, attempt string, want int) {
			t.Helper()
			if n, err := s.Begin(t.Context(), group, message, attempt); err != nil || n != want {
				t.Errorf("attempt %s at %s: %d, %v; want %d", attempt, message, n, err, want)
			}
		}
		begin(group, "m-1", "a", 1)
		begin(group, "m-1", "a", 1) // the same again
		begin(group, "m-1", "b", 2)
		begin(group, "m-2", "c", 1)
		begin(other, "m-1", "d", 1)
		for range 2 { // may be repeated
			if err := s.End(t.Context(), group, "m-1"); err != nil {
				t.Fatal(err)
			}
		}
		begin(group, "m-1", "e", 1)
		begin(other, "m-1", "f", 2)
	})
}
