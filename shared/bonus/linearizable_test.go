package bonus_test

import (
	"testing"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/memory"
)

// Whatever tills, orders and returns do at the same time, and wherever their
// processes die, the answers are those of one after the other.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	contract.BonusHistory(t, &memory.Bonus{})
}
