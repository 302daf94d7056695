package simulation

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/history"
	"sitoo-rule/shared/order"
)

// Audit holds what Rule has against what Sitoo has, and returns all that is
// wrong: nothing, if the product keeps its promises.
func (w *World) Audit() []string {
	wrong := slices.Clone(w.problems)
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	st, err := w.Status()
	if err != nil {
		return append(wrong, err.Error())
	}
	j, err := w.Job()
	if err != nil {
		return append(wrong, err.Error())
	}
	if st.State != history.Done {
		bad("the job is %s in %s: %s", st.State, st.Phase, st.Reason)
	}
	for _, id := range deadLetters {
		q, _ := w.Broker.Queue(id)
		for _, m := range q.Messages() {
			bad("in %s: %v %.200s", id, m.Attributes, m.Body)
		}
	}

	whose := w.whose()
	expected, live, period := map[int64]fakesitoo.Audited{}, map[int64]bool{}, 0
	for _, a := range w.Sitoo.Audit() {
		sold := w.Copies[a.ID] > 0
		in := a.ID <= j.Last && a.Site == 1 && a.Till && !a.Date.Before(j.From) && a.Date.Before(j.To) && whose(a) != ""
		if a.Kind != fakesitoo.Purchase && a.Kind != fakesitoo.Return || !in && !sold {
			continue
		}
		if in {
			period++
		}
		expected[a.ID], live[a.ID] = a, sold
	}
	if len(expected) == 0 {
		bad("nothing is expected: the shop is too small")
	}

	// What Rule has.
	w.Rule.Settle()
	times := map[int64]int{}
	sold := map[int64][2]int{} // live purchases and returns, by subscriber
	for _, s := range w.Rule.Subscribers(Key) {
		last := int64(0)
		for _, e := range w.Rule.Entries(Key, s.ID, order.Group) {
			id, err := strconv.ParseInt(e.Value("orderid"), 10, 64)
			a, ok := expected[id]
			switch {
			case err != nil || !ok:
				bad("subscriber %d has an entry %q that nobody expects", s.ID, e.Value("orderid"))
				continue
			case times[id] > 0:
				bad("order %d is there more than once", id)
			}
			times[id]++
			if want := whose(a); !is(s, want) {
				bad("order %d is at subscriber %d, want %s", id, s.ID, want)
			}
			if e.Value("total") != a.Total || e.Value("orderdate") == "" {
				bad("order %d has the total %q of %q, and the date %q", id, e.Value("total"), a.Total, e.Value("orderdate"))
			}
			if live[id] {
				n := sold[s.ID]
				n[0]++
				sold[s.ID] = n
			} else if !w.closed[id] {
				if id < last {
					bad("order %d is after order %d at subscriber %d", id, last, s.ID)
				}
				last = id
			}
		}
	}
	for id, a := range expected {
		if times[id] == 0 {
			bad("order %d of %s is missing: live %v", id, whose(a), live[id])
		}
	}

	// Nobody was told of an old order, and everybody of a new one.
	told := map[int64]int{}
	for _, a := range w.Rule.Automations(Key) {
		if a.Tag == order.PurchaseTag || a.Tag == order.ReturnTag {
			told[a.Subscriber]++
		} else if _, known := w.Known[a.Subscriber]; !known {
			bad("automation of %s for subscriber %d", a.Tag, a.Subscriber)
		}
	}
	for id, n := range sold {
		if told[id] < n[0] || w.o.Faults == 0 && told[id] != n[0] {
			bad("subscriber %d bought %d times at a till and has %d automations", id, n[0], told[id])
		}
	}
	for id, n := range told {
		if sold[id][0] == 0 {
			bad("subscriber %d has %d automations and bought nothing at a till", id, n)
		}
	}

	// The limits.
	if n := w.Sitoo.MaxInFlight(); n > 1 {
		bad("%d requests to Sitoo at the same time", n)
	}
	if n := w.Rule.RequestsDuringBlock(Key); n > 3*w.untold {
		bad("%d requests to Rule during a block, of which %d were not noted", n, w.untold)
	}

	// The report.
	sum := history.Month{}
	for _, m := range st.Months {
		sum.Sitoo += m.Sitoo
		sum.Written += m.Written
		sum.Skipped += m.Skipped
		sum.Failed += m.Failed
		if m.Left != 0 {
			bad("%d orders of %s are left", m.Left, m.Name)
		}
	}
	skipped := 0
	for why, n := range st.Skipped {
		if why != history.Outside && why != history.Missing {
			skipped += n
		}
	}
	if sum.Sitoo != sum.Written+sum.Skipped+sum.Failed || sum.Written != st.Written+st.Already || sum.Failed != 0 || sum.Skipped != skipped {
		bad("the report does not add up: %+v, %d written, %d there already, %d skipped, %v", sum, st.Written, st.Already, skipped, st.Failed)
	}
	if got := sum.Written + st.Skipped[history.OnItsWay]; got != period {
		bad("the report has %d orders written or on their way, the shop %d", got, period)
	}
	return wrong
}

// whose returns a function that says whose an order is, as the beginning of the
// world has it: "id 7", or of someone whom the job is to make the address or
// number; "" for none. A contact id that Rule does not have may be of someone who
// was deleted there: an old order makes no customer of it.
func (w *World) whose() func(a fakesitoo.Audited) string {
	mail, phone := map[string]int64{}, map[string]int64{}
	for id, s := range w.Known {
		if s.Email != "" {
			mail[s.Email] = id
		}
		if s.Phone != "" {
			phone[s.Phone] = id
		}
	}
	return func(a fakesitoo.Audited) string {
		contact, _ := strconv.ParseInt(a.ContactID, 10, 64)
		if _, known := w.Known[contact]; known {
			return "id " + a.ContactID
		}
		if id := cmp.Or(mail[a.Email], phone[a.Phone]); id != 0 {
			return "id " + strconv.FormatInt(id, 10)
		}
		if w.o.Create && contact == 0 {
			return cmp.Or(a.Email, a.Phone)
		}
		return ""
	}
}

// is reports whether a subscriber is the one that whose names.
func is(s fakerule.Subscriber, whose string) bool {
	return whose == "id "+strconv.FormatInt(s.ID, 10) || whose == s.Email || whose == s.Phone
}

// Took is how long the job took, in virtual time.
func (w *World) Took() time.Duration {
	st, err := w.Status()
	if err != nil {
		return 0
	}
	return st.Ended.Sub(w.began)
}
