package history_test

import (
	"testing"
	"testing/synctest"

	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

// What a job has noted of who is in Rule is deleted when the job ends, however it
// ends, and not before.
func TestListIsForgottenWhenTheJobEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, o *office){
		"done": func(_ *testing.T, o *office) { o.run(); o.finish() },
		"cancelled": func(t *testing.T, o *office) {
			o.apart(func() {
				if _, err := o.desk.Cancel(t.Context(), shopAccount, o.job().ID); err != nil {
					t.Error(err)
				}
			})
			o.run()
		},
		"failed": func(t *testing.T, o *office) {
			if err := o.backfill.GiveUp(t.Context(), o.queue[0].Body, fault.New(fault.Internal, "no")); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := slowly(t)
				o.post(posted(winterly))
				known := o.rule.Subscribers("demo-key")[0]
				listed := func() int {
					j := o.job()
					list := history.ListsOf(j.ID, j.Run) + "1"
					found, err := o.store.Find(t.Context(), shopAccount, list, []history.Digest{o.seals().Digest(customer.Key{Email: known.Email}), o.seals().Digest(customer.Key{Phone: known.Phone})})
					if err != nil {
						t.Fatal(err)
					}
					sealed, err := o.store.FindContacts(t.Context(), shopAccount, list, []int64{known.ID})
					if err != nil {
						t.Fatal(err)
					}
					return len(found) + len(sealed)
				}
				for range 3 {
					if err := o.deliver(); err != nil {
						t.Fatal(err)
					}
				}
				if j := o.job(); j.State.Final() || j.Lists != 1 || listed() == 0 {
					t.Fatalf("the job is %s, %d lists, %d noted; want it under way with its list", j.State, j.Lists, listed())
				}
				end(t, o)
				if j := o.job(); !j.State.Final() || listed() != 0 {
					t.Errorf("the job is %s and %d are noted still", j.State, listed())
				}
			})
		})
	}
}
