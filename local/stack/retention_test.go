package stack_test

import (
	"testing"
	"time"

	"sitoo-rule/shared/bonus"
)

// A used check is remembered until it can be used no more, and for good if it has
// no last day.
func TestUsedChecksAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/bonuschecks", "mobile;bonuscheckid;name;value;validto\n+46701740605;bc-kept-1;Check;100;2031-12-31\n+46701740605;bc-kept-2;Check;100;\n"), 202)
	r.drain()
	kept := func() (time.Time, bool) {
		b, err := r.Bonus.Get(t.Context(), bonus.Key{Account: r.id, Subscriber: 255934461})
		if err != nil {
			t.Fatal(err)
		}
		return b.KeptUntil(r.clock.Now().AddDate(3, 0, 0))
	}
	r.want(r.call("POST", "/contacts/255934461/bonuschecks/bc-kept-1/redeem", `{"orderid":900101}`), 200)
	stockholm, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		t.Fatal(err)
	}
	if until, ok := kept(); !ok || !until.Equal(time.Date(2032, 1, 1, 0, 0, 0, 0, stockholm)) {
		t.Errorf("kept until %v, %v; want the end of its last day", until, ok)
	}
	r.want(r.call("POST", "/contacts/255934461/bonuschecks/bc-kept-2/redeem", `{"orderid":900102}`), 200)
	if until, ok := kept(); ok {
		t.Errorf("kept until %v, want for good: one of them has no last day", until)
	}
}
