package stack_test

import "testing"

// A check that paid for parts of a sale comes back in the parts that are
// returned, whichever way a return says which they are.
func TestPartialRefunds(t *testing.T) {
	t.Parallel()
	row := func(id, quantity int, check bool) map[string]any {
		r := map[string]any{"orderitemid": id, "sku": "A", "quantity": quantity, "vatvalue": 25, "moneyitemtotal_net": "160.00", "moneyitemtotal_vat": "40.00", "additionaldata": map[string]any{}}
		if check { // 20.00 net a piece: 50.00 of the check for two
			r["moneydiscount"] = "20.00"
			r["additionaldata"] = map[string]any{"customcrm-bonuscheckid": hundred}
		}
		return r
	}
	back := func(original any, quantity int) map[string]any {
		r := row(9, quantity, false)
		if original != nil {
			r["additionaldata"] = map[string]any{"pos-originalsales-orderitemid": original}
		}
		return r
	}
	type refund = []any // rows of one return
	for name, c := range map[string]struct {
		refunds []refund
		left    string // on the card, "" for a check that does not show
	}{
		"nothing":                        {nil, ""},
		"a row":                          {[]refund{{back("0", -2)}}, "50.00"},
		"one of two":                     {[]refund{{back("0", -1)}}, "25.00"},
		"both rows":                      {[]refund{{back("0", -2), back("1", -2)}}, "100.00"},
		"one of each":                    {[]refund{{back("0", -1), back("1", -1)}}, "50.00"},
		"one, and later the other":       {[]refund{{back("0", -1)}, {back("0", -1)}}, "50.00"},
		"a row, and later the rest":      {[]refund{{back("0", -2)}, {back("1", -2)}}, "100.00"},
		"rows that name none":            {[]refund{{back(nil, -2)}}, "100.00"},
		"more than was sold":             {[]refund{{back("0", -5)}}, "50.00"},
		"a row that the check is not on": {[]refund{{back("2", -1)}}, ""},
		"an exchange":                    {[]refund{{back("0", -1), row(1, 1, false)}}, "25.00"},
		"a number for a row's id":        {[]refund{{back(1.0, -1)}}, "25.00"},
		"quantities as floats":           {[]refund{{map[string]any{"orderitemid": 0, "quantity": "-1.0000000000000002", "additionaldata": map[string]any{"pos-originalsales-orderitemid": 0}}}}, "25.00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("POST", "/transactions", sale(600000, func(o map[string]any) {
				of("255934464")(o)
				o["orderitems"] = []any{row(0, 2, true), row(1, 2, true), row(2, 1, false)}
			})), 200)
			r.drain()
			for i, rows := range c.refunds {
				refund := sale(int64(600001+i), func(o map[string]any) {
					of("255934464")(o)
					o["creditorderid"] = 600000
					o["orderitems"] = rows
				})
				r.want(r.call("POST", "/transactions", refund), 200)
				r.want(r.call("POST", "/transactions", refund), 200) // every order comes twice
				r.drain()
			}
			if got := r.shown()[hundred]; got != c.left {
				t.Errorf("the card shows %q, want %q", got, c.left)
			}
		})
	}
}
