package fakerule

import (
	"bytes"
	"cmp"
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page.html
var pageHTML string

//go:embed page.js
var pageJS []byte

const (
	perPage         = 50 // subscribers on one page
	maxShownEntries = 20 // entries of a historical group
	maxShownEvents  = 20 // automations and requests
)

// controlHandler serves what is for people and not part of Rule's API.
func (s *Server) controlHandler() http.Handler {
	// Parsed at the first look: most servers live in a test and never show it.
	page := sync.OnceValue(func() *template.Template {
		return template.Must(template.New("page").Funcs(template.FuncMap{
			"local":  func(t time.Time) string { return t.In(stockholm).Format(time.DateTime) },
			"table":  readTable,
			"title":  title,
			"shown":  shown,
			"newest": newest,
			"name":   name, "headline": headline,
			"hidden": func(g Group) int { return max(0, len(g.Entries)-maxShownEntries) },
		}).Parse(pageHTML))
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.servePage(w, r, page()) })
	mux.HandleFunc("GET /_page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(pageJS)
	})
	mux.HandleFunc("GET /_state", s.serveState)
	mux.HandleFunc("POST /_reset", s.serveReset)
	s.switches(mux)
	// Another host's page must not be able to empty the account.
	return http.NewCrossOriginProtection().Handler(mux)
}

// accountView is what the page and the state show of an account.
type accountView struct {
	ID                  string           `json:"id"`
	Company             string           `json:"company"`
	Keys                []Key            `json:"keys"`
	Requests            int              `json:"requests_in_window"`
	Budget              int              `json:"requests_allowed"`
	ErrorPercent        int              `json:"error_percent"`
	ErrorLimit          int              `json:"error_percent_limit"`
	BlockedUntil        *time.Time       `json:"blocked_until"`
	RequestsDuringBlock int              `json:"requests_during_block"`
	Waiting             int              `json:"asynchronous_work_waiting"`
	Tags                []string         `json:"tags"`
	Total               int              `json:"subscribers_total"`
	Subscribers         []Subscriber     `json:"subscribers"`
	Automations         []Automation     `json:"automations"` // oldest first
	called              map[int64]string // the subscribers that are meant, by id
}

// mask keeps enough of a key to tell two apart.
func mask(key string) string {
	if len(key) < 8 {
		return "…"
	}
	return key[:2] + "…" + key[len(key)-2:]
}

// view returns an account with a page of the subscribers that have what is
// wanted, in an order, and with what those set off; "" is all of them.
func (s *Server) view(a *account, wanted string, by func(x, y *subscriber) int, page, size int) accountView {
	keys := s.Keys(a.id)
	now := s.opt.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(now)
	v := accountView{
		ID: a.name(), Company: a.info.Company, Keys: keys, Budget: a.budget.allowed, ErrorLimit: a.budget.percent,
		RequestsDuringBlock: a.budget.inside, Waiting: len(a.jobs),
		Automations: []Automation{}, Subscribers: []Subscriber{}, Tags: []string{}, called: map[int64]string{},
	}
	v.Requests, v.ErrorPercent = a.budget.usage(now)
	if now.Before(a.budget.until) {
		until := a.budget.until
		v.BlockedUntil = &until
	}
	for _, t := range a.tags {
		v.Tags = append(v.Tags, t.name)
	}
	has := finder(wanted)
	all := slices.DeleteFunc(slices.SortedFunc(maps.Values(a.subscribers), by), func(sub *subscriber) bool { return !has(sub) })
	for _, sub := range all {
		v.called[sub.id] = calling(sub.email, sub.phone, sub.custom)
	}
	for _, fired := range a.automations {
		if _, meant := v.called[fired.Subscriber]; meant || wanted == "" {
			v.Automations = append(v.Automations, fired)
		}
	}
	v.Total = len(all)
	from, to := window(len(all), page, size)
	for _, sub := range all[from:to] {
		v.Subscribers = append(v.Subscribers, a.snapshot(sub))
	}
	return v
}

func byID(x, y *subscriber) int { return cmp.Compare(x.id, y.id) }

// newestFirst puts on top the subscriber that changed last.
func newestFirst(x, y *subscriber) int {
	return cmp.Or(y.updated.Compare(x.updated), cmp.Compare(x.id, y.id))
}

func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	views := []accountView{}
	for _, a := range s.all() {
		views = append(views, s.view(a, "", byID, 1, max(1, a.size())))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(map[string]any{"accounts": views, "requests": s.Requests()}))
}

func (a *account) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.subscribers)
}

func (s *Server) serveReset(w http.ResponseWriter, r *http.Request) {
	if err := s.Reset(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

type pageData struct {
	Query       string // what is looked for, "" for nothing
	Accounts    []accountChoice
	Account     accountView
	Automations []firedView // newest first
	Requests    []Request   // newest first
	Page, Pages int
	Prev, Next  string // links, "" if there is none
	Open        int    // how many subscribers are shown with their fields open
}

// firedView is an automation as the page shows it.
type firedView struct {
	Automation
	Number   int // counted from the first
	Who, URL string
}

type accountChoice struct {
	ID, Company string
	Current     bool
}

// openAll is up to how many subscribers a page shows with their fields open;
// of more only the first.
const openAll = 3

func (s *Server) servePage(w http.ResponseWriter, r *http.Request, page *template.Template) {
	d := s.pageData(r.URL.Query())
	// Rendered in whole before anything is sent, so that a fault is a 500 and
	// not half a page.
	var b bytes.Buffer
	if err := page.Execute(&b, d); err != nil {
		s.opt.Log.Error("rule stand-in: page", "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes())
}

// pageData collects what the page shows for a query.
func (s *Server) pageData(q url.Values) pageData {
	accounts := s.all()
	chosen := accounts[0]
	for _, a := range accounts {
		if a.name() == q.Get("account") {
			chosen = a
		}
	}
	number, err := strconv.Atoi(q.Get("page"))
	if err != nil || number < 1 {
		number = 1
	}
	wanted := strings.TrimSpace(q.Get("q"))
	link := func(account, wanted string, page int) string {
		v := url.Values{"account": {account}}
		if wanted != "" {
			v.Set("q", wanted)
		}
		if page > 1 {
			v.Set("page", strconv.Itoa(page))
		}
		return "/?" + v.Encode()
	}
	v := s.view(chosen, wanted, newestFirst, number, perPage)
	d := pageData{Query: wanted, Account: v, Page: number, Pages: max(1, (v.Total+perPage-1)/perPage), Open: 1}
	if len(v.Subscribers) <= openAll {
		d.Open = openAll
	}
	for _, a := range accounts {
		d.Accounts = append(d.Accounts, accountChoice{ID: a.name(), Company: a.info.Company, Current: a == chosen})
	}
	if number > 1 {
		d.Prev = link(v.ID, wanted, min(number-1, d.Pages))
	}
	if number < d.Pages {
		d.Next = link(v.ID, wanted, number+1)
	}
	for i, a := range slices.Backward(v.Automations) {
		if len(d.Automations) < maxShownEvents {
			id := strconv.FormatInt(a.Subscriber, 10)
			d.Automations = append(d.Automations, firedView{
				Automation: a, Number: i + 1, Who: cmp.Or(v.called[a.Subscriber], "id "+id), URL: link(v.ID, id, 1),
			})
		}
	}
	for _, r := range slices.Backward(s.Requests()) {
		if r.Account == v.ID && len(d.Requests) < maxShownEvents {
			d.Requests = append(d.Requests, r)
		}
	}
	return d
}
