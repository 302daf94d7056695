package bonus_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/bonus"
)

// A return that comes before the order it credits gives back what that order
// proves to have used, once, whole or by rows.
func TestExpect(t *testing.T) {
	t.Parallel()
	list, err := bonus.Parse(bonus.Check, json.RawMessage(`[{"bonuscheckid":"a","value":100}]`))
	if err != nil {
		t.Fatal(err)
	}
	offer, ok := list.Find("a")
	if !ok {
		t.Fatal("no check")
	}
	one := decimal.NewFromInt(1)
	row := func(id string) []bonus.Row { return []bonus.Row{{ID: id, Quantity: one}} }
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		told  bool
		early []bonus.GivesBack
		left  string
	}{
		"whole":                  {false, []bonus.GivesBack{{Order: "8", Original: "7"}}, "100"},
		"twice":                  {false, []bonus.GivesBack{{Order: "8", Original: "7"}, {Order: "8", Original: "7"}}, "100"},
		"by rows":                {false, []bonus.GivesBack{{Order: "8", Original: "7", Rows: row("1")}}, "60"},
		"by rows, in two":        {false, []bonus.GivesBack{{Order: "8", Original: "7", Rows: row("1")}, {Order: "9", Original: "7", Rows: row("2")}}, "100"},
		"of another order":       {false, []bonus.GivesBack{{Order: "8", Original: "6"}}, "0"},
		"told, and not proved":   {true, []bonus.GivesBack{{Order: "8", Original: "7"}}, "100"},
		"none":                   {false, nil, "0"},
		"more than are kept for": {false, others(60, bonus.GivesBack{Order: "8", Original: "7"}), "100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bonus.Book
			if c.told {
				if _, _, err := b.Redeem(offer, true, bonus.Request{Kind: bonus.Check, ID: "a", Order: "7"}, at); err != nil {
					t.Fatal(err)
				}
			}
			for _, g := range c.early {
				b.Expect(g)
			}
			if len(b.Early) > 50 {
				t.Errorf("%d early returns are kept", len(b.Early))
			}
			for range 2 { // the order comes twice
				_, _, err := b.Prove(offer, true, bonus.Proof{
					Kind: bonus.Check, ID: "a", Order: "7", Date: at, Amount: decimal.NewFromInt(100),
					Rows: []bonus.Row{{ID: "1", Quantity: one, Amount: decimal.NewFromInt(60)}, {ID: "2", Quantity: one, Amount: decimal.NewFromInt(40)}},
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			shown, _ := bonus.Card(list, b, at)
			left := "0"
			if len(shown) == 1 {
				left = shown[0].Left.String()
			}
			if left != c.left {
				t.Errorf("left %s, want %s", left, c.left)
			}
		})
	}
}

// others returns returns of other orders, and then g.
func others(n int, g bonus.GivesBack) (list []bonus.GivesBack) {
	for i := range n {
		id := decimal.NewFromInt(int64(1000 + i)).String()
		list = append(list, bonus.GivesBack{Order: "r" + id, Original: id})
	}
	return append(list, g)
}
