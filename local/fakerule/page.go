package fakerule

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed page.html
var pageHTML string

const (
	perPage         = 50 // subscribers on one page
	maxShownEntries = 20 // entries of a historical group
	maxShownEvents  = 50 // automations and requests
)

// controlHandler serves what is for people and not part of Rule's API.
func (s *Server) controlHandler() http.Handler {
	// Parsed when somebody looks: most servers live in a test and never show it.
	page := sync.OnceValue(func() *template.Template {
		return template.Must(template.New("page").Funcs(template.FuncMap{
			"local":  func(t time.Time) string { return t.In(stockholm).Format(time.DateTime) },
			"table":  readTable,
			"title":  title,
			"shown":  shown,
			"newest": newest,
			"hidden": func(g Group) int { return max(0, len(g.Entries)-maxShownEntries) },
		}).Parse(pageHTML))
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.servePage(w, r, page()) })
	mux.HandleFunc("GET /_state", s.serveState)
	mux.HandleFunc("POST /_reset", s.serveReset)
	s.switches(mux)
	// A page of somebody else's must not be able to empty the account.
	return http.NewCrossOriginProtection().Handler(mux)
}

// accountView is what the page and the state show of an account.
type accountView struct {
	ID                  string       `json:"id"`
	Company             string       `json:"company"`
	Keys                []Key        `json:"keys"`
	Requests            int          `json:"requests_in_window"`
	Budget              int          `json:"requests_allowed"`
	ErrorPercent        int          `json:"error_percent"`
	ErrorLimit          int          `json:"error_percent_limit"`
	BlockedUntil        *time.Time   `json:"blocked_until"`
	RequestsDuringBlock int          `json:"requests_during_block"`
	Waiting             int          `json:"asynchronous_work_waiting"`
	Tags                []string     `json:"tags"`
	Total               int          `json:"subscribers_total"`
	Subscribers         []Subscriber `json:"subscribers"`
	Automations         []Automation `json:"automations"` // oldest first
}

// mask keeps enough of a key to tell two apart.
func mask(key string) string {
	if len(key) < 8 {
		return "…"
	}
	return key[:2] + "…" + key[len(key)-2:]
}

// view returns an account with the subscribers from..to of an order.
func (s *Server) view(a *account, by func(x, y *subscriber) int, page, size int) accountView {
	keys := s.Keys(a.id)
	now := s.opt.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle(now)
	v := accountView{
		ID: a.name(), Company: a.info.Company, Keys: keys, Budget: a.budget.allowed, ErrorLimit: a.budget.percent,
		RequestsDuringBlock: a.budget.inside, Waiting: len(a.jobs), Total: len(a.subscribers),
		Automations: slices.Clone(a.automations), Subscribers: []Subscriber{}, Tags: []string{},
	}
	v.Requests, v.ErrorPercent = a.budget.usage(now)
	if now.Before(a.budget.until) {
		until := a.budget.until
		v.BlockedUntil = &until
	}
	for _, t := range a.tags {
		v.Tags = append(v.Tags, t.name)
	}
	all := slices.SortedFunc(maps.Values(a.subscribers), by)
	from, to := window(len(all), page, size)
	for _, sub := range all[from:to] {
		v.Subscribers = append(v.Subscribers, a.snapshot(sub))
	}
	return v
}

func byID(x, y *subscriber) int { return cmp.Compare(x.id, y.id) }

// newestFirst puts on top whoever something happened to last.
func newestFirst(x, y *subscriber) int {
	return cmp.Or(y.updated.Compare(x.updated), cmp.Compare(x.id, y.id))
}

func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	views := []accountView{}
	for _, a := range s.all() {
		views = append(views, s.view(a, byID, 1, max(1, a.size())))
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
	Now         time.Time
	Refresh     bool
	Accounts    []accountLink
	Account     accountView
	Automations []Automation // newest first
	Requests    []Request    // newest first
	Page, Pages int
	Prev, Next  string // links, "" if there is none
	Toggle      string
}

type accountLink struct {
	Label, URL string
	Current    bool
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request, page *template.Template) {
	accounts := s.all()
	q := r.URL.Query()
	wanted := accounts[0]
	for _, a := range accounts {
		if a.name() == q.Get("account") {
			wanted = a
		}
	}
	number, err := strconv.Atoi(q.Get("page"))
	if err != nil || number < 1 {
		number = 1
	}
	refresh := q.Get("refresh") == "on"
	link := func(account string, page int, refresh bool) string {
		u := fmt.Sprintf("/?account=%s&page=%d", account, page)
		if refresh {
			u += "&refresh=on"
		}
		return u
	}
	v := s.view(wanted, newestFirst, number, perPage)
	d := pageData{
		Now: s.opt.Now(), Refresh: refresh, Account: v, Page: number,
		Pages: max(1, (v.Total+perPage-1)/perPage), Toggle: link(v.ID, number, !refresh),
	}
	for _, a := range accounts {
		d.Accounts = append(d.Accounts, accountLink{Label: a.name() + " (" + a.info.Company + ")", URL: link(a.name(), 1, refresh), Current: a == wanted})
	}
	if number > 1 {
		d.Prev = link(v.ID, min(number-1, d.Pages), refresh)
	}
	if number < d.Pages {
		d.Next = link(v.ID, number+1, refresh)
	}
	for _, a := range slices.Backward(v.Automations) {
		if len(d.Automations) < maxShownEvents {
			d.Automations = append(d.Automations, a)
		}
	}
	for _, r := range slices.Backward(s.Requests()) {
		if r.Account == v.ID && len(d.Requests) < maxShownEvents {
			d.Requests = append(d.Requests, r)
		}
	}
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
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes())
}

// newest returns the entries as the page shows them: newest first, not too
// many.
func newest(g Group) []Entry {
	list := slices.Clone(g.Entries)
	slices.Reverse(list)
	return list[:min(len(list), maxShownEntries)]
}

// A table is a json value that is an array of objects: one row for each, a
// column for each member, in the order in which they come up.
type table struct {
	Head []string
	Rows [][]string
}

// readTable makes a table of a json field's value, nil if it is not of that
// shape.
func readTable(f Field) *table {
	if f.Type != "json" {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal([]byte(f.Value), &list) != nil || len(list) == 0 {
		return nil
	}
	t := &table{}
	var rows []map[string]string
	for _, raw := range list {
		row := map[string]string{}
		d := json.NewDecoder(bytes.NewReader(raw))
		if open, err := d.Token(); err != nil || open != json.Delim('{') {
			return nil
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil
			}
			name, _ := key.(string)
			var cell json.RawMessage
			if d.Decode(&cell) != nil {
				return nil
			}
			var text string
			switch { // what is nested stands there as JSON
			case cell[0] == '"' && json.Unmarshal(cell, &text) == nil:
			case string(cell) != "null":
				text = string(cell)
			}
			row[name] = text
			if !slices.Contains(t.Head, name) {
				t.Head = append(t.Head, name)
			}
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		cells := make([]string, len(t.Head))
		for i, name := range t.Head {
			cells[i] = row[name]
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// shown is a field's value as Rule's own pages print it: the choices of a
// multiple field with commas between them.
func shown(f Field) string {
	var list []string
	if f.Type == "multiple" && json.Unmarshal([]byte(f.Value), &list) == nil {
		return strings.Join(list, ", ")
	}
	return f.Value
}

// title is what a subscriber is called on the page.
func title(s Subscriber) string {
	return strings.Join(slices.DeleteFunc([]string{s.Email, s.Phone, s.Custom}, func(x string) bool { return x == "" }), " · ")
}
