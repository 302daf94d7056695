package openapitest_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/local/stack"
)

// watcher holds every answer of the API against the document.
type watcher struct {
	next http.Handler
	doc  *openapi3.T
	fail func(format string, args ...any)

	mu   sync.Mutex
	seen map[string]bool // operations that have answered
}

func (w *watcher) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	rec := httptest.NewRecorder()
	w.next.ServeHTTP(rec, in)
	body := rec.Body.Bytes()
	maps.Copy(out.Header(), rec.Header())
	out.WriteHeader(rec.Code)
	_, _ = out.Write(body)

	all := operations(w.doc)
	name := in.Method + " " + w.route(in)
	if err := answered(all, name, rec.Code, bytes.TrimSpace(body)); err != nil {
		w.fail("%v", err)
	}
	if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
		w.fail("%s answers %q, want JSON", name, got)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[name] = true
}

// route is the path of the document that a request goes to: the one with the
// fewest parameters, as API Gateway takes it.
func (w *watcher) route(in *http.Request) string {
	best, least := in.URL.Path, 1<<10
	got := strings.Split(in.URL.Path, "/")
	for path := range w.doc.Paths.Map() {
		want := strings.Split(path, "/")
		if len(want) != len(got) {
			continue
		}
		n, same := 0, true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				n++
			} else if want[i] != got[i] {
				same = false
			}
		}
		if same && n < least {
			best, least = path, n
		}
	}
	return best
}

// serve starts the whole product in memory, with both stand-ins, behind a watcher.
func serve(t *testing.T) (w *watcher, api, shop string) {
	t.Helper()
	rule := fakerule.New(fakerule.Options{})
	if err := rule.Load(fakerule.Seed()); err != nil {
		t.Fatal(err)
	}
	backend, till := httptest.NewServer(rule), httptest.NewServer(fakesitoo.New(fakesitoo.Options{Orders: 20}))
	t.Cleanup(backend.Close)
	t.Cleanup(till.Close)
	d := *declared(t)
	// No test is about how fast this machine is.
	d.Functions = slices.Clone(d.Functions)
	for i := range d.Functions {
		d.Functions[i].Timeout = 2 * time.Minute
	}
	s, err := stack.New(t.Context(), stack.Options{Template: &d, RuleURL: backend.URL + "/api", SitooAnyHost: true, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	w = &watcher{next: s.Gateway, doc: document(t), fail: t.Errorf, seen: map[string]bool{}}
	front := httptest.NewServer(w)
	t.Cleanup(front.Close)
	return w, strings.TrimPrefix(front.URL, "http://"), strings.TrimPrefix(till.URL, "http://")
}

// A day at the till, a file of bonus checks and the set-up: whatever the product
// answers is in the document.
func TestAnswersOfTheStack(t *testing.T) {
	t.Parallel()
	w, api, shop := serve(t)
	call := func(method, path, body string, status int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+api+"/sitoo"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+fakerule.DefaultKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Errorf("%s %s answers %d %s, %v; want %d", method, path, res.StatusCode, text, err, status)
		}
		return string(text)
	}
	call("GET", "/contacts?key=070-174+06+90", "", 200)
	call("POST", "/contacts", `{"mobile":"12"}`, 400)
	id := strings.Trim(call("POST", "/contacts", `{"mobile":"070-174 06 90","namefirst":"Ny","namelast":"Kund","accepts_email":true}`, 200), `"`)
	call("GET", "/contacts?key=0046701740690&include_extended=true", "", 200)
	call("PUT", "/contacts/"+id, `{"email":"ny.kund@example.com"}`, 200)
	call("GET", "/contacts/255934461?include_extended=true", "", 200)
	call("GET", "/contacts/1", "", 404)
	call("GET", "/contacts/one", "", 400)
	call("GET", "/lookup_contacts?key=070-174+06+05", "", 200)
	call("GET", "/consents", "", 200)

	call("POST", "/transactions", `{"orderid":900001,"orderdate":1772442000,"currencycode":"SEK","moneytotal_gross_all":"879.00","additionaldata":{"customcrm-contactid":"`+id+`"}}`, 200)
	call("POST", "/transactions", `{"orderid":900009}`, 200)
	call("POST", "/transactions", `[]`, 400)
	call("GET", "/contacts/255934461/transactions", "", 200)

	check, promotion := "/contacts/255934464/bonuschecks/BC-2026-0001/redeem", "/contacts/255934464/promotions/P-0/redeem"
	call("POST", check, `{"remaining":"40","orderid":900101}`, 200)
	call("PUT", check, `{"orderid":900102}`, 200)
	call("POST", check, `{"orderid":900103}`, 400)
	call("DELETE", check+"?orderid=900101", "", 200)
	call("POST", promotion, "", 404)
	call("PUT", promotion, "", 404)
	call("DELETE", promotion, "", 404)
	file, err := os.ReadFile(filepath.Join(root, "events", "bonuscheck-import", "files", "bonuschecks.csv"))
	if err != nil {
		t.Fatal(err)
	}
	call("POST", "/bonuschecks?dryrun=true", string(file), 200)
	call("POST", "/bonuschecks", string(file), 202)
	call("POST", "/bonuschecks", "email;bonuscheckid;value\nkund.ett@example.com;bc-1;much\n", 400)
	call("GET", "/bonuschecks/imports", "", 200)
	call("GET", "/bonuschecks/imports/NONE", "", 404)

	credentials := func(password string) string {
		return `{"baseurl":"http://` + shop + `/v2/accounts/90001","site":1,"apiid":"90001-1","password":"` + password + `"}`
	}
	call("PUT", "/credentials", credentials("wrong"), 400)
	call("PUT", "/credentials", credentials(fakesitoo.DefaultPassword), 200)
	call("GET", "/credentials", "", 200)
	call("GET", "/setup", "", 200)
	call("GET", "/backfills", "", 200)
	call("GET", "/backfills/000000000000", "", 404)
	call("POST", "/backfills/000000000000/pause", "", 404)
	call("DELETE", "/credentials", "", 200)
	call("GET", "/keys", "", 200)
	call("DELETE", "/keys/NONE", "", 404)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(operations(w.doc))) {
		// These need an import or a backfill that is there: TestGoldenAnswers has them.
		if !w.seen[name] && !strings.Contains(name, "{importid}") && !strings.Contains(name, "{backfillid}") {
			t.Errorf("%s was not asked", name)
		}
	}
}
