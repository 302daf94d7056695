package contract

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

// Jobs tests a history.Jobs.
func Jobs(t *testing.T, open func(t *testing.T) history.Jobs) {
	newJob := func() history.Job {
		return history.Job{
			Account: newID(), ID: newID()[:12], Run: 2,
			Spec:  history.Spec{From: start.AddDate(-2, 0, 0), To: start, Create: true},
			State: history.Running, Phase: history.Reading, Reason: "waits for Rule's budget", Until: start.Add(time.Minute),
			Created: start, Began: start.Add(time.Minute), Updated: start.Add(time.Second), Counted: 1501, Listed: "page=3", People: 1234, Last: 1<<40 + 7, Cursor: 210334, Step: 17,
			Open: []int64{210001, 210002}, Parts: []string{"a", "b"}, Read: 1500, Matched: 900,
			Skipped: map[string]int{"no customer": 500, "customer not in Rule": 100},
			Months:  map[string]history.Month{"2026-02": {Sitoo: 1500, Skipped: 600}},
			Lost:    map[string][]int64{"cannot be read": {210003, 210004}},
		}
	}
	get := func(t *testing.T, s history.Jobs, account, id string) history.Job {
		t.Helper()
		j, err := s.Get(t.Context(), account, id)
		if err != nil {
			t.Fatalf("Get(%s): %v", id, err)
		}
		return j
	}
	// put stores j and returns it as it is to come back.
	put := func(t *testing.T, s history.Jobs, j history.Job) history.Job {
		t.Helper()
		if err := s.Put(t.Context(), j); err != nil {
			t.Fatalf("Put at revision %d: %v", j.Rev, err)
		}
		j.Rev++
		return j
	}
	want := func(t *testing.T, s history.Jobs, j history.Job) {
		t.Helper()
		if diff := cmp.Diff(j, get(t, s, j.Account, j.ID)); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
	}
	save := func(t *testing.T, s history.Jobs, j history.Job, p history.Part) {
		t.Helper()
		if err := s.SavePart(t.Context(), j.Account, j.ID, j.Run, p); err != nil {
			t.Fatalf("SavePart(%s): %v", p.ID, err)
		}
	}
	wantParts := func(t *testing.T, s history.Jobs, j history.Job, parts ...history.Part) {
		t.Helper()
		got, err := s.Parts(t.Context(), j.Account, j.ID, j.Run)
		slices.SortFunc(got, func(a, b history.Part) int { return strings.Compare(a.ID, b.ID) })
		if diff := cmp.Diff(parts, got); err != nil || diff != "" {
			t.Errorf("Parts: %v (-want +got):\n%s", err, diff)
		}
		for _, p := range parts {
			one, err := s.Part(t.Context(), j.Account, j.ID, j.Run, p.ID)
			if diff := cmp.Diff(p, one); err != nil || diff != "" {
				t.Errorf("Part(%s): %v (-want +got):\n%s", p.ID, err, diff)
			}
		}
	}
	full := func(id string) history.Part {
		return history.Part{
			ID: id, Done: 300, Written: 250, Already: 20, Skipped: map[string]int{"customer not in Rule": 28},
			Failed: map[string][]int64{"Rule refuses the order.": {210001, 210002}}, Failures: 2,
			Months: map[string]history.Month{"2026-02": {Written: 270, Skipped: 28, Failed: 2}},
			Reason: "waits for Rule's budget", Until: start.Add(time.Minute), Began: start.Add(-time.Minute), Updated: start,
		}
	}

	t.Run("an unknown job", func(t *testing.T) {
		t.Parallel()
		s, j := open(t), newJob()
		for _, id := range []string{j.ID, "", "åäö 😀/#", strings.Repeat("x", 3000)} {
			got, err := s.Get(t.Context(), j.Account, id)
			if !errors.Is(err, history.ErrNoJob) || !cmp.Equal(got, history.Job{}) {
				t.Errorf("Get(%.40q) = %+v, %v; want ErrNoJob", id, got, err)
			}
		}
		if jobs, err := s.List(t.Context(), j.Account); err != nil || len(jobs) != 0 {
			t.Errorf("List = %v, %v; want none", jobs, err)
		}
		p, err := s.Part(t.Context(), j.Account, j.ID, 1, "a")
		if diff := cmp.Diff(history.Part{ID: "a"}, p); err != nil || diff != "" {
			t.Errorf("Part: %v (-want +got):\n%s", err, diff)
		}
		if parts, err := s.Parts(t.Context(), j.Account, j.ID, 1); err != nil || len(parts) != 0 {
			t.Errorf("Parts = %v, %v; want none", parts, err)
		}
		save(t, s, j, full("a")) // an orphan of the queue
		if _, err := s.Get(t.Context(), j.Account, j.ID); !errors.Is(err, history.ErrNoJob) {
			t.Errorf("Get = %v, want ErrNoJob still", err)
		}
		if jobs, err := s.List(t.Context(), j.Account); err != nil || len(jobs) != 0 {
			t.Errorf("List = %v, %v; want none still", jobs, err)
		}
		j.Rev = 1
		if err := s.Put(t.Context(), j); !errors.Is(err, history.ErrChanged) {
			t.Errorf("Put of a revision that is not there = %v, want ErrChanged", err)
		}
	})

	t.Run("a job comes back as it was stored", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		j := put(t, s, newJob())
		want(t, s, j)
		done := history.Job{
			Account: j.Account, ID: j.ID, Rev: j.Rev, Run: 3, Spec: history.Spec{Orders: []int64{1, 2}, DryRun: true},
			State: history.Done, Phase: history.Writing, Created: start, Updated: start, Ended: start.Add(time.Hour),
		}
		want(t, s, put(t, s, done)) // nothing is left over of what was there
		minimal := put(t, s, history.Job{Account: newID(), ID: newID()})
		want(t, s, minimal)
	})

	t.Run("who has not read the latest changes nothing", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		first := newJob()
		second := put(t, s, first)
		third := second
		third.State = history.Paused
		third = put(t, s, third)
		for _, rev := range []int64{0, 1, 3, -1} {
			late := first
			late.Rev, late.Reason = rev, "late"
			if err := s.Put(t.Context(), late); !errors.Is(err, history.ErrChanged) {
				t.Errorf("Put at revision %d of 2 = %v, want ErrChanged", rev, err)
			}
		}
		want(t, s, third)
	})

	t.Run("of many writers at once one gets through", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		j := put(t, s, newJob())
		const writers, rounds = 8, 3
		for range rounds {
			var all sync.WaitGroup
			var mu sync.Mutex
			var won []history.Job
			for i := range writers {
				all.Go(func() {
					mine := j
					mine.Step = 100*i + 1
					switch err := s.Put(t.Context(), mine); {
					case err == nil:
						mu.Lock()
						defer mu.Unlock()
						won = append(won, mine)
					case !errors.Is(err, history.ErrChanged):
						t.Errorf("Put: %v", err)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%d writers got through, want one", len(won))
			}
			j = won[0]
			j.Rev++
			want(t, s, j)
		}
	})

	t.Run("jobs are told apart by account and by id", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		j := put(t, s, newJob())
		for _, other := range []history.Job{
			{Account: j.Account, ID: newID()}, {Account: newID(), ID: j.ID}, {Account: j.Account, ID: j.ID + "x"},
		} {
			if _, err := s.Get(t.Context(), other.Account, other.ID); !errors.Is(err, history.ErrNoJob) {
				t.Errorf("Get = %v, want ErrNoJob", err)
			}
			put(t, s, other)
		}
		want(t, s, j)
	})

	t.Run("the latest jobs of an account", func(t *testing.T) {
		t.Parallel()
		s, account := open(t), newID()
		const many = 53
		var newest []history.Job
		for n := range many {
			j := history.Job{Account: account, ID: fmt.Sprintf("%s-%d", newID(), n), Created: start.Add(time.Duration(n) * time.Minute)}
			newest = slices.Insert(newest, 0, put(t, s, j))
		}
		put(t, s, newJob())
		got, err := s.List(t.Context(), account)
		if diff := cmp.Diff(newest[:50], got); err != nil || diff != "" {
			t.Errorf("List: %v (-want +got):\n%s", err, diff)
		}
		again := newest[many-1] // the oldest is started anew
		again.Created, again.Run = start.Add(24*time.Hour), 2
		again = put(t, s, again)
		got, err = s.List(t.Context(), account)
		if diff := cmp.Diff(append([]history.Job{again}, newest[:49]...), got); err != nil || diff != "" {
			t.Errorf("List: %v (-want +got):\n%s", err, diff)
		}
	})

	t.Run("a job that is too large", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		j := newJob()
		j.Open = make([]int64, 20_000)
		for i := range j.Open {
			j.Open[i] = 1e12 + int64(i)
		}
		j = put(t, s, j) // 280,000 bytes
		want(t, s, j)
		large := j
		large.Open = append(slices.Clone(j.Open), j.Open...)
		if err := s.Put(t.Context(), large); fault.KindOf(err) != fault.TooLarge {
			t.Errorf("Put of 560,000 bytes = %v, want too large", err)
		}
		want(t, s, j)
	})

	t.Run("parts of a run", func(t *testing.T) {
		t.Parallel()
		s, j := open(t), newJob()
		b, a := full("b"), full("a")
		save(t, s, j, b)
		save(t, s, j, a)
		wantParts(t, s, j, a, b)
		// What a part waited for is gone when it goes on.
		a = history.Part{ID: "a", Done: 500, Written: 500, Finished: true, Updated: start.Add(time.Minute)}
		save(t, s, j, a)
		wantParts(t, s, j, a, b)
		// Another run, and a run whose number begins in the same way.
		for _, run := range []int{1, 20, 22} {
			other := j
			other.Run = run
			wantParts(t, s, other)
			save(t, s, other, full("a"))
		}
		other := j
		other.ID += "x"
		save(t, s, other, full("c"))
		wantParts(t, s, j, a, b)
	})

	t.Run("a part only moves forward", func(t *testing.T) {
		t.Parallel()
		s, j := open(t), newJob()
		at := func(done int, finished bool, reason string) history.Part {
			return history.Part{ID: "a", Done: done, Finished: finished, Reason: reason, Updated: start}
		}
		for n, step := range []struct{ save, want history.Part }{
			{at(0, false, "begun"), at(0, false, "begun")},
			{at(19, false, ""), at(19, false, "")},
			{at(19, false, "waits"), at(19, false, "waits")}, // as far, and something new
			{at(18, false, "late"), at(19, false, "waits")},
			{at(18, true, "late"), at(19, false, "waits")},
			{at(100, false, ""), at(100, false, "")}, // a number, not a text
			{at(20, false, ""), at(100, false, "")},
			{at(100, true, ""), at(100, true, "")},
			{at(100, true, "again"), at(100, true, "")},
			{at(500, false, "late"), at(100, true, "")},
		} {
			save(t, s, j, step.save)
			got, err := s.Part(t.Context(), j.Account, j.ID, j.Run, "a")
			if diff := cmp.Diff(step.want, got); err != nil || diff != "" {
				t.Errorf("step %d: %v (-want +got):\n%s", n, err, diff)
			}
		}
	})

	t.Run("many parts, with much to tell", func(t *testing.T) {
		t.Parallel()
		s, j := open(t), newJob()
		var parts []history.Part
		for n := range 12 { // more than DynamoDB answers at once
			p := full(fmt.Sprintf("part-%02d", n))
			p.Reason = strings.Repeat("x", 120_000)
			save(t, s, j, p)
			parts = append(parts, p)
		}
		wantParts(t, s, j, parts...)
		large := full("large")
		large.Reason = strings.Repeat("x", 400_000)
		if err := s.SavePart(t.Context(), j.Account, j.ID, j.Run, large); fault.KindOf(err) != fault.TooLarge {
			t.Errorf("SavePart of over 400,000 bytes = %v, want too large", err)
		}
	})

	t.Run("what the caller does stays with the caller", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		in := newJob()
		j := put(t, s, in)
		in.Open[0], in.Skipped["no customer"], in.Months["2026-02"], in.Lost["cannot be read"][0] = 9, 9, history.Month{}, 9
		got := get(t, s, j.Account, j.ID)
		got.Open[0], got.Skipped["no customer"], got.Lost["cannot be read"][0] = 8, 8, 8
		again := newJob()
		again.Account, again.ID, again.Rev = j.Account, j.ID, j.Rev
		want(t, s, again)
		p := full("a")
		save(t, s, j, p)
		p.Skipped["customer not in Rule"] = 9
		p.Failed["Rule refuses the order."][0] = 9
		wantParts(t, s, j, full("a"))
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, j, ctx := open(t), newJob(), cancelled(t)
		_, err := s.Get(ctx, j.Account, j.ID)
		wantUnavailable(t, "Get", err)
		_, err = s.List(ctx, j.Account)
		wantUnavailable(t, "List", err)
		wantUnavailable(t, "Put", s.Put(ctx, j))
		_, err = s.Part(ctx, j.Account, j.ID, 1, "a")
		wantUnavailable(t, "Part", err)
		_, err = s.Parts(ctx, j.Account, j.ID, 1)
		wantUnavailable(t, "Parts", err)
		wantUnavailable(t, "SavePart", s.SavePart(ctx, j.Account, j.ID, 1, full("a")))
		if _, err := s.Get(t.Context(), j.Account, j.ID); !errors.Is(err, history.ErrNoJob) {
			t.Errorf("Get = %v, want ErrNoJob: the cancelled Put took effect", err)
		}
	})
}

// People tests a history.People.
func People(t *testing.T, open func(t *testing.T) history.People) {
	digest := func(n int) history.Digest {
		sum := sha256.Sum256(fmt.Appendf(nil, "subscriber %d", n))
		return history.Digest(sum[:12])
	}
	// some returns digests from one number up to another, with that number as id.
	some := func(from, to int) map[history.Digest]int64 {
		m := map[history.Digest]int64{}
		for n := from; n < to; n++ {
			m[digest(n)] = int64(n) + 1
		}
		return m
	}
	add := func(t *testing.T, s history.People, account, list string, people map[history.Digest]int64) {
		t.Helper()
		if err := s.Add(t.Context(), account, list, people); err != nil {
			t.Fatalf("Add: %v", err)
		}
	}
	want := func(t *testing.T, s history.People, account, list string, people map[history.Digest]int64, ask ...history.Digest) {
		t.Helper()
		got, err := s.Find(t.Context(), account, list, append(slices.Collect(maps.Keys(people)), ask...))
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		if !maps.Equal(people, got) || got == nil {
			t.Errorf("Find = %d of %d, or others", len(got), len(people))
		}
	}

	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		none := map[history.Digest]int64{}
		want(t, s, account, list, none)
		want(t, s, account, list, none, digest(1), digest(2), digest(1))
		add(t, s, account, list, nil)
		want(t, s, account, list, none, digest(1))
	})

	t.Run("pages of subscribers", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		add(t, s, account, list, some(0, 300))
		for range 2 { // repeated
			add(t, s, account, list, some(300, 600))
		}
		add(t, s, account, list, some(599, 610)) // one page ends as the next begins
		want(t, s, account, list, some(0, 610), digest(610), digest(-1), history.Digest{}, digest(3), digest(3))
		want(t, s, account, list, some(5, 6), digest(700))
	})

	t.Run("the last word holds", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		add(t, s, account, list, some(0, 20))
		moved := map[history.Digest]int64{digest(7): 1<<63 - 1}
		add(t, s, account, list, moved)
		all := some(0, 20)
		maps.Copy(all, moved)
		want(t, s, account, list, all)
		add(t, s, account, list, some(7, 8))
		want(t, s, account, list, some(0, 20))
	})

	t.Run("digests that are almost the same", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		all := map[history.Digest]int64{{}: 1, {0: 255}: 2, {11: 1}: 3, {0: 255, 11: 255}: 4}
		for i := range 300 { // all of them in one place
			all[history.Digest{5, byte(i >> 8), 10: byte(i), 11: 1}] = int64(i) + 10
		}
		add(t, s, account, list, all)
		want(t, s, account, list, all, history.Digest{11: 2}, history.Digest{5}, history.Digest{5, 10: 1}, history.Digest{5, 2}, history.Digest{254})
	})

	t.Run("lists are told apart", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		add(t, s, account, list, some(0, 3))
		for _, other := range [][2]string{{account, list + "-1"}, {account, list[:5]}, {newID(), list}} {
			want(t, s, other[0], other[1], map[history.Digest]int64{}, digest(0), digest(1))
			add(t, s, other[0], other[1], some(1, 2))
		}
		want(t, s, account, list, some(0, 3))
	})

	t.Run("several at once", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				people := some(10*i, 10*i+15)
				for n := range 20 { // they all want the same places
					people[history.Digest{byte(n % 3), byte(i), byte(n)}] = int64(n)
				}
				add(t, s, account, list, people)
				want(t, s, account, list, people)
			})
		}
		all.Wait()
		everybody := some(0, 65)
		for i := range 6 {
			for n := range 20 {
				everybody[history.Digest{byte(n % 3), byte(i), byte(n)}] = int64(n)
			}
		}
		want(t, s, account, list, everybody)
	})

	// sealed returns contacts with ids from one number up to another, each with
	// some bytes of its own.
	sealed := func(from, to int64, salt string) map[int64][]byte {
		m := map[int64][]byte{}
		for id := from; id < to; id++ {
			m[id] = bytes.Repeat([]byte(salt+strconv.FormatInt(id, 10)), 1+int(id%7))
		}
		return m
	}
	t.Run("the lists of a job's run are forgotten together, and no others", func(t *testing.T) {
		t.Parallel()
		s, account, job := open(t), newID(), newID()
		list := func(job string, run, n int) string { return fmt.Sprint(history.ListsOf(job, run), n) }
		names := []string{list(job, 1, 1), list(job, 1, 2), list(job, 2, 1), list(job, 11, 1), list(newID(), 1, 1)}
		for _, name := range names {
			for i := range 3 {
				add(t, s, account, name, map[history.Digest]int64{{byte(i)}: 7, {200, byte(i)}: 8})
			}
			if err := s.AddContacts(t.Context(), account, name, map[int64][]byte{7: {1}, 300: {2}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // may be repeated
			if err := s.Forget(t.Context(), account, job, 1); err != nil {
				t.Fatal(err)
			}
		}
		for i, name := range names {
			found, err := s.Find(t.Context(), account, name, []history.Digest{{0}, {1}, {200, 2}})
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := s.FindContacts(t.Context(), account, name, []int64{7, 300})
			if err != nil {
				t.Fatal(err)
			}
			if want := i >= 2; (len(found) == 3) != want || (len(sealed) == 2) != want || !want && len(found)+len(sealed) > 0 {
				t.Errorf("list %s: %d and %d are there; want it kept %v", name, len(found), len(sealed), want)
			}
		}
	})

	addContacts := func(t *testing.T, s history.People, account, list string, m map[int64][]byte) {
		t.Helper()
		if err := s.AddContacts(t.Context(), account, list, m); err != nil {
			t.Fatalf("AddContacts: %v", err)
		}
	}
	wantContacts := func(t *testing.T, s history.People, account, list string, m map[int64][]byte, ask ...int64) {
		t.Helper()
		got, err := s.FindContacts(t.Context(), account, list, append(slices.Collect(maps.Keys(m)), ask...))
		if err != nil {
			t.Fatalf("FindContacts: %v", err)
		}
		if !maps.EqualFunc(m, got, bytes.Equal) || got == nil {
			t.Errorf("FindContacts = %d of %d, or others", len(got), len(m))
		}
	}

	t.Run("contacts", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		none := map[int64][]byte{}
		wantContacts(t, s, account, list, none)
		wantContacts(t, s, account, list, none, 1, 255, 256)
		addContacts(t, s, account, list, nil)
		addContacts(t, s, account, list, sealed(1000, 1600, "a"))
		for range 2 { // repeated
			addContacts(t, s, account, list, sealed(300, 900, "b"))
		}
		all := sealed(1000, 1600, "a")
		maps.Copy(all, sealed(300, 900, "b"))
		wantContacts(t, s, account, list, all, 299, 900, 999, 1600, 300+1<<32, 0, -1)
		// The last word holds, whatever its length.
		again := map[int64][]byte{1000: {}, 1001: bytes.Repeat([]byte{7}, 255), 1002: []byte("x"), 1<<63 - 1: []byte("y")}
		addContacts(t, s, account, list, again)
		maps.Copy(all, again)
		wantContacts(t, s, account, list, all)
		// Lists are told apart, and from the digests of the same list.
		add(t, s, account, list, some(0, 3))
		wantContacts(t, s, account, list, all)
		want(t, s, account, list, some(0, 3))
		for _, other := range [][2]string{{account, list + "-1"}, {newID(), list}} {
			wantContacts(t, s, other[0], other[1], none, 1000)
		}
		if err := s.AddContacts(t.Context(), account, list, map[int64][]byte{1: make([]byte, 256)}); err == nil {
			t.Error("256 bytes are taken")
		}
		wantContacts(t, s, account, list, none, 1)
	})

	t.Run("contacts of several at once", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		var all sync.WaitGroup
		everybody := map[int64][]byte{}
		for i := range int64(6) {
			m := map[int64][]byte{}
			for n := range int64(20) { // they all want the same places
				m[256*(6*n+i)+n%3] = []byte{byte(i), byte(n)}
			}
			maps.Copy(everybody, m)
			all.Go(func() {
				addContacts(t, s, account, list, m)
				wantContacts(t, s, account, list, m)
			})
		}
		all.Wait()
		wantContacts(t, s, account, list, everybody)
	})

	t.Run("what a caller does with contacts stays with the caller", func(t *testing.T) {
		t.Parallel()
		s, account, list := open(t), newID(), newID()
		in := map[int64][]byte{1: []byte("one")}
		addContacts(t, s, account, list, in)
		in[1][0] = 'x'
		got, err := s.FindContacts(t.Context(), account, list, []int64{1})
		if err != nil {
			t.Fatal(err)
		}
		got[1][0] = 'y'
		wantContacts(t, s, account, list, map[int64][]byte{1: []byte("one")})
	})

	t.Run("a cancelled context", func(t *testing.T) {
		t.Parallel()
		s, account, list, ctx := open(t), newID(), newID(), cancelled(t)
		wantUnavailable(t, "AddContacts", s.AddContacts(ctx, account, list, sealed(0, 3, "a")))
		_, err := s.FindContacts(ctx, account, list, []int64{1})
		wantUnavailable(t, "FindContacts", err)
		wantContacts(t, s, account, list, map[int64][]byte{}, 1)
		wantUnavailable(t, "Add", s.Add(ctx, account, list, some(0, 3)))
		_, err = s.Find(ctx, account, list, []history.Digest{digest(1)})
		wantUnavailable(t, "Find", err)
		want(t, s, account, list, map[history.Digest]int64{}, digest(1))
	})
}
