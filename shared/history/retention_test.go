package history_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
)

// No backfill reaches further back than the ledger remembers once the account is
// older than that, and says from when on it may; a younger account has no limit.
func TestBackfillReachesNoFurtherThanTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01
		for name, tt := range map[string]struct {
			age    int // years
			months int
			from   string
			says   string // "" if it begins
		}{
			"an old account, too far back":    {4, 0, "1996-12-31", "1997-01-02"},
			"an old account, the day itself":  {4, 0, "1997-01-02", ""},
			"a young account":                 {2, 0, "1992-01-01", ""},
			"a longer retention":              {4, 60, "1996-12-31", ""},
			"a shorter one":                   {2, 12, "1998-12-31", "1999-01-02"},
			"a shorter one, not too far back": {2, 12, "1999-06-01", ""},
		} {
			o := newOffice(t, fakesitoo.Options{Seed: 6, Orders: 10}, fakerule.Options{})
			o.created = time.Now().AddDate(-tt.age, 0, 0)
			o.backfill.Retention = order.Retention(tt.months)
			_, err := o.backfill.Work(t.Context(), posted(`{"from":"`+tt.from+`","to":"1999-12-31"}`), "request")
			f := fault.As(err)
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("%s: %v, want it to begin", name, err)
			case tt.says != "" && (err == nil || f.Kind != fault.Invalid || f.Member != "from" || !strings.Contains(f.Message, tt.says)):
				t.Errorf("%s: %v, want from to be refused until %s", name, err, tt.says)
			}
		}
	})
}

// Orders that a message names are read whatever their date, and those from before
// what the ledger remembers are left out, with the reason.
func TestNamedOrdersOlderThanTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, fakesitoo.Options{Seed: 6, Orders: 60, MaxNum: 30}, fakerule.Options{})
		o.created = time.Now()
		var ids []int64
		for _, a := range o.sitoo.Audit() {
			if a.Site == 1 && len(ids) < 20 {
				ids = append(ids, a.ID)
			}
		}
		list, err := json.Marshal(ids)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * 365 * 24 * time.Hour) // the orders are from the 2020s
		o.post(posted(`{"from":"-","to":"-","orders":` + string(list) + `}`))
		if errs := o.run(); errs != nil {
			t.Errorf("errors %v", errs)
		}
		o.finish()
		if j := o.job(); j.Skipped[history.Forgotten] != len(ids) || j.Matched != 0 || len(o.parts) != 0 {
			t.Errorf("skipped %v, %d to write, %d parts; want all %d left out", j.Skipped, j.Matched, len(o.parts), len(ids))
		}
	})
}
