package rule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

const key = "demo-key"

// noon is when the tests' clocks stand, unless they say otherwise: 14:12:16 in
// Stockholm, the moment of a block that was seen live.
var noon = time.Date(2026, 5, 14, 12, 12, 16, 0, time.UTC)

// reply answers one request. It has the request's body at hand, too.
type reply func(r *http.Request) (*http.Response, error)

// answered replies with a status and a body.
func answered(status int, body string, headers ...string) reply {
	return func(r *http.Request) (*http.Response, error) {
		connected(r)
		h := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Request: r, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}, nil
	}
}

// connected tells the client that the request got a connection.
func connected(r *http.Request) {
	if t := httptrace.ContextClientTrace(r.Context()); t != nil && t.GotConn != nil {
		t.GotConn(httptrace.GotConnInfo{})
	}
}

var errLost = errors.New("read: connection reset by peer")

// refusedConnection fails before anything is sent.
func refusedConnection(*http.Request) (*http.Response, error) {
	return nil, errors.New("dial tcp 192.0.2.1:443: connect: connection refused")
}

// lost fails after the request was sent.
func lost(r *http.Request) (*http.Response, error) {
	connected(r)
	return nil, errLost
}

// silent takes the request and never answers.
func silent(r *http.Request) (*http.Response, error) {
	connected(r)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// brokenOff answers with a status and loses the connection inside the body.
func brokenOff(status int, begin string) reply {
	return func(r *http.Request) (*http.Response, error) {
		res, err := answered(status, "")(r)
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(begin), failing{}))
		return res, err
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// sent is a request that reached the wire.
type sent struct {
	*http.Request
	body string
	at   time.Time
}

// wire is an http.RoundTripper that answers the requests with its replies in
// turn, the last of them for all that follow.
type wire struct {
	mu       sync.Mutex
	replies  []reply
	requests []sent
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	w.mu.Lock()
	answer := w.replies[min(len(w.requests), len(w.replies)-1)]
	w.requests = append(w.requests, sent{r, string(body), time.Now()})
	w.mu.Unlock()
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return answer(r)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// session returns a session whose requests are answered by replies. Nobody
// waits between tries.
func session(replies ...reply) (*rule.Session, *wire) {
	w := &wire{replies: replies}
	return client(w, noon).Session(key, time.Time{}, nil), w
}

func client(w http.RoundTripper, now time.Time) *rule.Client {
	web := rule.NewHTTPClient()
	web.Transport = w
	return rule.New(rule.Config{URL: "https://rule.example.com/api/", HTTP: web, Pause: -1, Now: func() time.Time { return now }})
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// ruleError fails unless err is a fault around a *rule.Error, and returns both.
func ruleError(t *testing.T, err error) (*fault.Error, *rule.Error) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is not a fault", err, err)
	}
	e, ok := errors.AsType[*rule.Error](err)
	if !ok {
		t.Fatalf("error %v holds no *rule.Error", err)
	}
	return f, e
}

// calls are all calls of a session, each with an email address, a phone number
// or an id that no error may repeat.
var calls = []struct {
	name string
	// safe is whether the call may be sent again when it is not known what
	// became of it.
	safe bool
	do   func(ctx context.Context, s *rule.Session) error
}{
	{"verify", true, func(ctx context.Context, s *rule.Session) error { return s.Verify(ctx) }},
	{"subscriber by email", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Subscriber(ctx, rule.ByEmail("kund.ett+butik@example.com"))
		return err
	}},
	{"subscriber by phone", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Subscriber(ctx, rule.ByPhone("+46701740605"))
		return err
	}},
	{"subscriber by id", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Subscriber(ctx, rule.ByID(255934461))
		return err
	}},
	{"fields of some groups", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Fields(ctx, 255934461, "Sitoo-Contact", "Sitoo-Address")
		return err
	}},
	{"create", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Create(ctx, rule.Upsert{Email: "kund.ett@example.com", Phone: "+46701740605", Tags: []string{"Sitoo"}}, false)
		return err
	}},
	{"create quietly", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Create(ctx, rule.Upsert{Phone: "+46701740605", Tags: []string{"Sitoo"}}, true)
		return err
	}},
	{"upsert", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Upsert(ctx, rule.Upsert{
			Email: "kund.ett@example.com", Phone: "+46701740605", Tags: []string{"Sitoo"}, Fields: []rule.Field{
				{Group: "Sitoo-Contact", Name: "namefirst", Type: rule.Text, Value: "Åsa & <Bo>"},
				{Group: "Sitoo-Contact", Name: "birthday", Type: rule.Date, Value: "1986-05-15"},
				{Group: "Sitoo-Contact", Name: "acceptedconsents", Type: rule.Multiple, Value: []string{"11", "12"}},
			},
		})
		return err
	}},
	{"upsert by email alone", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Upsert(ctx, rule.Upsert{Email: "kund.ett@example.com", Tags: []string{"Sitoo"}})
		return err
	}},
	{"upsert many", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.UpsertMany(ctx, []rule.Upsert{
			{Email: "kund.ett@example.com", Phone: "+46701740605", Fields: []rule.Field{
				{Group: "Sitoo-Contact", Name: "bonuschecks", Type: rule.JSON, Value: raw(`[{"bonuscheckid":"bc-1001","value":"100.00"}]`)},
			}},
			{Email: "kund.tva@example.com"},
			{Phone: "+46701740607"},
		}, []string{"Sitoo"})
		return err
	}},
	{"update", true, func(ctx context.Context, s *rule.Session) error {
		email, none := "kund.tva@example.com", ""
		_, err := s.Update(ctx, 255934461, rule.Change{Email: &email, Phone: &none, Tags: []string{"Sitoo"}, Fields: []rule.Field{
			{Group: "Sitoo-Contact", Name: "bonuschecks", Type: rule.JSON, Value: raw(`[{"id":"B1","value":"50.00"}]`)},
			{Group: "Sitoo-Contact", Name: "company", Type: rule.Text, Value: ""},
		}})
		return err
	}},
	{"update of fields alone", true, func(ctx context.Context, s *rule.Session) error {
		_, err := s.Update(ctx, 255934461, rule.Change{Fields: []rule.Field{{Group: "Sitoo-Contact", Name: "company", Type: rule.Text, Value: "Exempel AB"}}})
		return err
	}},
	{"tag", true, func(ctx context.Context, s *rule.Session) error {
		return s.Tag(ctx, 255934461, []string{"Sitoo"}, rule.Quiet)
	}},
	{"tag that starts automations", false, func(ctx context.Context, s *rule.Session) error {
		return s.Tag(ctx, 255934461, []string{"Sitoo", "OrderCompleted"}, rule.Reset)
	}},
	{"untag", true, func(ctx context.Context, s *rule.Session) error { return s.Untag(ctx, 255934461, "Min tagg/ett") }},
	{"suppress", true, func(ctx context.Context, s *rule.Session) error {
		return s.Suppress(ctx, 255934461, "email", "text_message")
	}},
	{"unsuppress", true, func(ctx context.Context, s *rule.Session) error {
		return s.Unsuppress(ctx, 255934461, "text_message")
	}},
	{"preference groups", true, func(ctx context.Context, s *rule.Session) error { _, err := s.PreferenceGroups(ctx); return err }},
	{"set preferences", true, func(ctx context.Context, s *rule.Session) error {
		return s.SetPreferences(ctx, 255934461, 1, map[int64]bool{12: false, 11: true, 9: true})
	}},
	{"declare", true, func(ctx context.Context, s *rule.Session) error {
		return s.Declare(ctx, []rule.Field{
			{Group: "Sitoo-Order", Name: "orderid", Type: rule.Text},
			{Group: "Sitoo-Order", Name: "orderdate", Type: rule.DateTime},
			{Group: "Sitoo-Order", Name: "products", Type: rule.JSON, Value: "is not sent"},
		})
	}},
	{"append entry", false, func(ctx context.Context, s *rule.Session) error {
		return s.AppendEntry(ctx, 255934461, "Sitoo-Order", []rule.Field{
			{Group: "Sitoo-Order", Name: "orderid", Type: rule.Text, Value: "40025"},
			{Group: "Sitoo-Order", Name: "orderdate", Type: rule.DateTime, Value: "2026-05-14 14:12:16"},
			{Group: "Sitoo-Order", Name: "names", Type: rule.Multiple, Value: []string{"Tröja", "Strumpor"}},
			{Group: "Sitoo-Order", Name: "products", Type: rule.JSON, Value: raw(`[{"name":"Tröja","quantity":1}]`)},
		})
	}},
	{"find entry", true, func(ctx context.Context, s *rule.Session) error {
		_, _, err := s.FindEntry(ctx, 255934461, "Sitoo-Order", "orderid", "40025")
		return err
	}},
	{"patch entry", true, func(ctx context.Context, s *rule.Session) error {
		return s.PatchEntry(ctx, 255934461, "Sitoo-Order", "orderid", "40025", []rule.Field{
			{Group: "Sitoo-Order", Name: "total", Type: rule.Text, Value: "879.00"},
		})
	}},
	{"entries", true, func(ctx context.Context, s *rule.Session) error {
		_, _, err := s.Entries(ctx, 255934461, "Sitoo-Order", 2, 50)
		return err
	}},
}
