package rule_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const unknown = 10 * time.Minute // what Rule's blocks last
	summer := "2026-05-14T12:12:16Z" // 14:12:16 in Stockholm
	for name, tt := range map[string]struct {
		server string // Rule's clock and ours, RFC 3339
		header string
		body   string
		date   string // Rule's Date header; "" for none
		want   time.Duration
	}{
		"seen live, summer":     {server: summer, header: "2026-05-14 14:22:16", body: "Too Many Requests. You can continue at 2026-05-14 14:22:16.", date: "Thu, 14 May 2026 12:12:16 GMT", want: unknown},
		"winter":                {server: "2026-01-14T12:12:16Z", header: "2026-01-14 13:22:16", want: 10 * time.Minute},
		"new year":              {server: "2026-12-31T22:55:00Z", header: "2027-01-01 00:05:00", want: 10 * time.Minute},
		"documented: seconds":   {server: summer, header: "120", want: 2 * time.Minute},
		"fraction of a second":  {server: summer, header: "2.5", want: 2500 * time.Millisecond},
		"spaces around":         {server: summer, header: " 30 ", want: 30 * time.Second},
		"HTTP date":             {server: summer, header: "Thu, 14 May 2026 12:15:16 GMT", want: 3 * time.Minute},
		"body of v3 alone":      {server: summer, body: "Too Many Requests. You can continue at 2026-05-14 14:16:16.", want: 4 * time.Minute},
		"body as a JSON string": {server: summer, body: `"Too Many Requests. You can continue at 2026-05-14 14:16:16."`, want: 4 * time.Minute},
		"body as an envelope":   {server: summer, body: `{"message":"You can continue at 2026-05-14 14:16:16."}`, want: 4 * time.Minute},
		"header before body":    {server: summer, header: "60", body: "You can continue at 2026-05-14 14:22:16.", want: time.Minute},
		"body if header is odd": {server: summer, header: "soon", body: "You can continue at 2026-05-14 14:16:16.", want: 4 * time.Minute},
		"body broken off":       {server: summer, body: "You can continue at 2026-05-14 14", want: unknown},
		"body without a time":   {server: summer, body: "You can continue at the end of the day.", want: unknown},
		"v2's words":            {server: summer, body: `"Too Many Attempts."`, want: unknown},
		"nothing":               {server: summer, want: unknown},

		"zero":                {server: summer, header: "0", want: time.Second},
		"negative":            {server: summer, header: "-5", want: unknown},
		"a day":               {server: summer, header: "86400", want: time.Hour},
		"seconds since 1970":  {server: summer, header: "1778761336", want: unknown},
		"beyond any duration": {server: summer, header: "1e300", want: unknown},
		"NaN":                 {server: summer, header: "NaN", want: unknown},
		"infinite":            {server: summer, header: "+Inf", want: unknown},
		"past":                {server: summer, header: "2026-05-14 14:00:00", want: time.Second},
		"past HTTP date":      {server: summer, header: "Thu, 14 May 2026 11:00:00 GMT", want: time.Second},
		"in ten years":        {server: summer, header: "2036-05-14 14:00:00", want: time.Hour},
		// Only in October does an hour more or less give another reading.
		"past by most of an hour":   {server: summer, header: "2026-05-14 13:22:16", want: time.Second},
		"an hour and ten min ahead": {server: summer, header: "2026-05-14 15:22:16", want: time.Hour},
		"no such day":               {server: summer, header: "2026-02-30 14:00:00", want: unknown},

		// Whoever has a wrong clock, the wait is what lies between Rule's two.
		"our clock is slow":          {server: summer, header: "2026-05-14 14:25:16", date: "Thu, 14 May 2026 12:15:16 GMT", want: 10 * time.Minute},
		"our clock is fast":          {server: summer, header: "2026-05-14 12:22:16", date: "Thu, 14 May 2026 10:12:16 GMT", want: 10 * time.Minute},
		"HTTP date and a wrong Date": {server: summer, header: "Thu, 14 May 2026 12:20:16 GMT", date: "Thu, 14 May 2026 12:15:16 GMT", want: 5 * time.Minute},
		"seconds need no clock":      {server: summer, header: "120", date: "Thu, 14 May 2020 12:15:16 GMT", want: 2 * time.Minute},
		"Date is not a date":         {server: summer, header: "2026-05-14 14:22:16", date: "yesterday", want: 10 * time.Minute},

		"RFC 850":                      {server: summer, header: "Thursday, 14-May-26 12:15:16 GMT", want: 3 * time.Minute},
		"asctime":                      {server: summer, header: "Thu May 14 12:15:16 2026", want: 3 * time.Minute},
		"HTTP date with an offset":     {server: summer, header: "Thu, 14 May 2026 14:15:16 +0200", want: 3 * time.Minute},
		"RFC 3339":                     {server: summer, header: "2026-05-14T14:15:16+02:00", want: 3 * time.Minute},
		"RFC 3339, UTC":                {server: summer, header: "2026-05-14T12:15:16Z", want: 3 * time.Minute},
		"Stockholm, without seconds":   {server: "2026-05-14T12:12:00Z", header: "2026-05-14 14:22", want: 10 * time.Minute},
		"Stockholm, with a T":          {server: summer, header: "2026-05-14T14:22:16", want: 10 * time.Minute},
		"in quotation marks":           {server: summer, header: `"120"`, want: 2 * time.Minute},
		"blank":                        {server: summer, header: "  ", want: unknown},
		"seconds, and a unit":          {server: summer, header: "120 s", want: unknown},
		"two values in one":            {server: summer, header: "60, 120", want: 2 * time.Minute},
		"two, one of them odd":         {server: summer, header: "soon, 120", want: 2 * time.Minute},
		"a long number":                {server: summer, header: "999999999999999999999999", want: unknown},
		"hexadecimal":                  {server: summer, header: "0x10", want: unknown},
		"years ago":                    {server: summer, header: "1970-01-01 00:00:00", want: unknown},
		"years ago, HTTP":              {server: summer, header: "Thu, 01 Jan 1970 00:00:00 GMT", want: unknown},
		"the year 9999":                {server: summer, header: "9999-12-31 23:59:59", want: time.Hour},
		"Date of 1970":                 {server: summer, header: "2026-05-14 14:22:16", date: "Thu, 01 Jan 1970 00:00:00 GMT", want: 10 * time.Minute},
		"Date of 2099":                 {server: summer, header: "2026-05-14 14:22:16", date: "Thu, 14 May 2099 12:12:16 GMT", want: 10 * time.Minute},
		"body without seconds":         {server: "2026-05-14T12:12:00Z", body: "You can continue at 2026-05-14 14:16.", want: 4 * time.Minute},
		"body with a zone":             {server: summer, body: "You can continue at 2026-05-14T14:16:16+02:00.", want: 4 * time.Minute},
		"body in other letters":        {server: summer, body: "TOO MANY REQUESTS. YOU CAN CONTINUE AT: 2026-05-14 14:16:16", want: 4 * time.Minute},
		"body of the year 1":           {server: summer, body: "You can continue at 0001-01-01 00:00:00.", want: unknown},
		"body with a day that is none": {server: summer, body: "You can continue at 2026-02-31 14:16:16.", want: unknown},

		// On 2026-10-25, 02:00 to 03:00 comes twice: first in summer time.
		"first 02:25":               {server: "2026-10-25T00:15:00Z", header: "2026-10-25 02:25:00", want: 10 * time.Minute},
		"second 02:25":              {server: "2026-10-25T01:15:00Z", header: "2026-10-25 02:25:00", want: 10 * time.Minute},
		"into the first hour":       {server: "2026-10-24T23:55:00Z", header: "2026-10-25 02:05:00", want: 10 * time.Minute},
		"from the first to second":  {server: "2026-10-25T00:55:00Z", header: "2026-10-25 02:05:00", want: 10 * time.Minute},
		"out of the second hour":    {server: "2026-10-25T01:55:00Z", header: "2026-10-25 03:05:00", want: 10 * time.Minute},
		"second, in the body alone": {server: "2026-10-25T01:15:00Z", body: "continue at 2026-10-25 02:25:00.", want: 10 * time.Minute},
		"second, without seconds":   {server: "2026-10-25T01:15:00Z", header: "2026-10-25 02:25", want: 10 * time.Minute},
		"second, Rule's clock":      {server: "2026-10-25T00:15:00Z", header: "2026-10-25 02:25:00", date: "Sun, 25 Oct 2026 01:15:00 GMT", want: 10 * time.Minute},
		// On 2026-03-29, 02:00 to 03:00 does not come at all.
		"over the hour that is missing": {server: "2026-03-29T00:55:00Z", header: "2026-03-29 03:05:00", want: 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339, tt.server)
			if err != nil {
				t.Fatal(err)
			}
			if got := waitFor(t, now, tt.header, tt.body, tt.date); got != tt.want {
				t.Errorf("wait = %v, want %v", got, tt.want)
			}
		})
	}
}

// Where several Retry-After come, the account is left alone for the longest.
func TestRetryAfterTwice(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{{"60", "120"}, {"120", "60"}, {"soon", "120"}, {"120", ""}, {"-1", "2026-05-14 14:14:16"}} {
		w := &wire{replies: []reply{func(r *http.Request) (*http.Response, error) {
			res, err := answered(429, "")(r)
			res.Header = http.Header{"Retry-After": values}
			return res, err
		}}}
		now := time.Date(2026, 5, 14, 12, 12, 16, 0, time.UTC)
		f := fault.As(client(w, now).Session(key, time.Time{}, nil).Verify(t.Context()))
		if got := f.RetryAt.Sub(now); got != 2*time.Minute {
			t.Errorf("%q: %v, want 2m", values, got)
		}
	}
}

// waitFor returns how long a 429 keeps the account waiting.
func waitFor(t testing.TB, now time.Time, header, body, date string) time.Duration {
	t.Helper()
	h := http.Header{}
	if header != "" {
		h["Retry-After"] = []string{header}
	}
	if date != "" {
		h["Date"] = []string{date}
	}
	w := &wire{replies: []reply{func(r *http.Request) (*http.Response, error) {
		res, err := answered(429, body)(r)
		res.Header = h
		return res, err
	}}}
	s := client(w, now).Session(key, time.Time{}, nil)
	err := s.Verify(t.Context())
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind != fault.Busy {
		t.Fatalf("error = %v, want busy", err)
	}
	if got := s.BlockedUntil(); !got.Equal(f.RetryAt) {
		t.Errorf("BlockedUntil = %v, want the error's RetryAt %v", got, f.RetryAt)
	}
	return f.RetryAt.Sub(now)
}

// Around both changes of the clock, whatever the minute, a block that Rule
// writes down in Stockholm's time is read as exactly as long as it is.
func TestRetryAfterRoundClockChanges(t *testing.T) {
	t.Parallel()
	for _, noon := range []time.Time{time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC)} {
		for minute := range 24 * 60 {
			now := noon.Add(time.Duration(minute) * time.Minute)
			for _, want := range []time.Duration{time.Second, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute} {
				header := now.Add(want).In(rule.Stockholm).Format(rule.TimeLayout)
				if got := waitFor(t, now, header, "", ""); got != want {
					t.Errorf("at %v, %q: wait = %v, want %v", now, header, got, want)
				}
			}
		}
	}
}

func TestBlockIsRemembered(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, told := noon, []time.Time(nil)
	w := &wire{replies: []reply{answered(429, "", "Retry-After", "600"), answered(200, "{}")}}
	web := rule.NewHTTPClient()
	web.Transport = w
	c := rule.New(rule.Config{HTTP: web, Pause: -1, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	s := c.Session(key, time.Time{}, func(_ context.Context, until time.Time) { told = append(told, until) })

	until := noon.Add(10 * time.Minute)
	f, e := ruleError(t, s.Verify(t.Context()))
	if f.Kind != fault.Busy || !f.RetryAt.Equal(until) || e.Status != 429 || e.Uncertain {
		t.Errorf("429 gave %+v around %+v, want busy until %v", f, e, until)
	}
	for _, call := range calls {
		f, e := ruleError(t, call.do(t.Context(), s))
		if f.Kind != fault.Busy || !f.RetryAt.Equal(until) || e.Status != 0 || e.Uncertain {
			t.Errorf("%s during the block gave %+v around %+v, want busy until %v, not sent", call.name, f, e, until)
		}
	}
	if w.count() != 1 || s.Calls() != 1 {
		t.Errorf("%d requests (Calls says %d), want 1: none during the block", w.count(), s.Calls())
	}
	if len(told) != 1 || !told[0].Equal(until) {
		t.Errorf("onBlock was told %v, want once, %v", told, until)
	}
	if !s.BlockedUntil().Equal(until) {
		t.Errorf("BlockedUntil = %v, want %v", s.BlockedUntil(), until)
	}

	mu.Lock()
	now = until
	mu.Unlock()
	if err := s.Verify(t.Context()); err != nil || w.count() != 2 {
		t.Errorf("after the block: %v after %d requests in all, want an answer to a second one", err, w.count())
	}
}

func TestBlockThatIsKnown(t *testing.T) {
	t.Parallel()
	w := &wire{replies: []reply{answered(200, "{}")}}
	told := 0
	until := noon.Add(time.Minute)
	s := client(w, noon).Session(key, until, func(context.Context, time.Time) { told++ })
	if f, _ := ruleError(t, s.Verify(t.Context())); f.Kind != fault.Busy || !f.RetryAt.Equal(until) {
		t.Errorf("got %+v, want busy until %v", f, until)
	}
	if w.count() != 0 || told != 0 {
		t.Errorf("%d requests, onBlock told %d times; want none of either", w.count(), told)
	}
	past := client(w, noon).Session(key, noon.Add(-time.Minute), nil)
	if err := past.Verify(t.Context()); err != nil {
		t.Errorf("with a block that is over: %v", err)
	}
}

// A session has two calls under way when Rule blocks: both are refused, and
// the block is shared once. Nobody needs to be told.
func TestBlockOfTwoAtOnce(t *testing.T) {
	t.Parallel()
	for _, listens := range []bool{true, false} {
		both := make(chan struct{}, 2)
		gate := make(chan struct{})
		w := &wire{replies: []reply{func(r *http.Request) (*http.Response, error) {
			both <- struct{}{}
			<-gate
			return answered(429, "", "Retry-After", "60")(r)
		}}}
		var mu sync.Mutex
		told := 0
		var onBlock func(context.Context, time.Time)
		if listens {
			onBlock = func(context.Context, time.Time) { mu.Lock(); defer mu.Unlock(); told++ }
		}
		s := client(w, noon).Session(key, time.Time{}, onBlock)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := s.Verify(t.Context()); fault.KindOf(err) != fault.Busy {
					t.Errorf("got %v, want busy", err)
				}
			})
		}
		<-both
		<-both
		close(gate)
		wg.Wait()
		if listens && told != 1 {
			t.Errorf("onBlock was told %d times, want once", told)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	unknown := rule.Usage{Allowed: -1, Used: -1, ErrorLimit: -1, ErrorsShare: -1}
	s, _ := session(
		answered(200, "{}", "RequestsCount-Allowed", "2000", "RequestsCount-Current", "812", "X-ErrorPercent-Limit", "49", "X-ErrorPercent-Current", "3.7"),
		answered(404, "{}", "RequestsCount-Current", "813", "X-ErrorPercent-Current", "4"),
		answered(200, "{}", "RequestsCount-Current", "NaN", "RequestsCount-Allowed", "-1", "X-ErrorPercent-Limit", "1e99", "X-ErrorPercent-Current", "many"),
		answered(200, "<html>", "RequestsCount-Current", "900"),
		answered(429, "", "X-ErrorPercent-Limit", "49", "X-ErrorPercent-Current", "51"),
	)
	if got := s.Usage(); got != unknown {
		t.Errorf("before any answer: %+v, want %+v", got, unknown)
	}
	for i, want := range []rule.Usage{
		{2000, 812, 49, 3},
		{2000, 813, 49, 4},
		{2000, 813, 49, 4},
		{2000, 900, 49, 4},
	} {
		_ = s.AppendEntry(t.Context(), 1, "Sitoo-Order", nil)
		if got := s.Usage(); got != want {
			t.Errorf("after answer %d: %+v, want %+v", i+1, got, want)
		}
	}
	_ = s.Verify(t.Context())
	if got, want := s.Usage(), (rule.Usage{Allowed: 2000, Used: 900, ErrorLimit: 49, ErrorsShare: 51}); got != want {
		t.Errorf("after a 429: %+v, want %+v", got, want)
	}
}

// Of calls that were under way together, the answer that counts more requests is
// the newer one, whichever comes last; a later call's answer counts in any case.
func TestUsageOfCallsUnderWayTogether(t *testing.T) {
	t.Parallel()
	under, gate := make(chan struct{}), make(chan struct{})
	told := func(used, errors string) reply {
		return answered(200, "{}", "RequestsCount-Allowed", "2000", "RequestsCount-Current", used, "X-ErrorPercent-Limit", "49", "X-ErrorPercent-Current", errors)
	}
	w := &wire{replies: []reply{
		func(r *http.Request) (*http.Response, error) {
			close(under)
			<-gate
			return told("29", "10")(r)
		},
		told("31", "3"), told("5", "0"),
	}}
	s := client(w, noon).Session(key, time.Time{}, nil)
	first := make(chan error)
	go func() { first <- s.Verify(t.Context()) }()
	<-under
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if got, want := s.Usage(), (rule.Usage{Allowed: 2000, Used: 31, ErrorLimit: 49, ErrorsShare: 3}); got != want {
		t.Errorf("after the earlier call's late answer: %+v, want %+v", got, want)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.Usage().Used; got != 5 {
		t.Errorf("after a later call: %d used, want 5", got)
	}
}
