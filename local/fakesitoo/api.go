package fakesitoo

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// answer is a status and a body that is ready to be sent.
type answer struct {
	status int
	header http.Header
	body   []byte
	// objects is how many the body has; orders is whether they are a page of
	// orders.
	objects int
	orders  bool
}

var (
	notFound = failed(http.StatusNotFound, "Not found")
	tooMany  = failed(http.StatusTooManyRequests, "Too many connections")
)

func failed(status int, text string) answer {
	body, err := json.Marshal(struct {
		StatusCode int    `json:"statuscode"`
		ErrorText  string `json:"errortext"`
	}{status, text})
	if err != nil {
		panic("fakesitoo: encode an error: " + err.Error()) // a number and a string always encode
	}
	return answer{status: status, body: body}
}

func succeeded(v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return failed(http.StatusInternalServerError, err.Error())
	}
	return answer{status: http.StatusOK, body: body}
}

// send writes an answer. last is called before the final byte goes out: who
// reads the whole answer and asks again must not find himself still in flight.
func send(w http.ResponseWriter, a answer, last func()) {
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	// A client that has gone is not this server's problem: errors are dropped.
	n := max(len(a.body)-1, 0)
	_, _ = w.Write(a.body[:n])
	if last != nil {
		last()
	}
	_, _ = w.Write(a.body[n:])
}

// serveAPI authenticates, lets one request through at a time, and answers. A
// refused request has done nothing.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	alone := s.enter()
	status := 0
	leave := sync.OnceFunc(func() {
		if s.o.Observe != nil {
			s.o.Observe(Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: status})
		}
		s.leave()
	})
	defer leave() // a fault may end the request without an answer
	reply := func(a answer) {
		status = a.status
		send(w, a, leave)
	}
	path, known := s.path(r)
	switch {
	case !known:
		reply(notFound)
		return
	case !s.allowed(r):
		a := failed(http.StatusUnauthorized, "Authentication failed")
		a.header = http.Header{"Www-Authenticate": {`Basic realm="Sitoo REST API"`}}
		reply(a)
		return
	case !alone:
		a := tooMany
		a.header = http.Header{}
		if s.o.RetryAfter != "" {
			a.header.Set("Retry-After", s.o.RetryAfter)
		}
		if s.o.RateLimitReset != "" {
			a.header.Set("X-Rate-Limit-Reset", s.o.RateLimitReset)
		}
		reply(a)
		return
	}
	f := s.fault(r)
	if f != nil && !f.strike(w, r, reply) {
		return
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		reply(failed(http.StatusBadRequest, "Invalid query string"))
		return
	}
	a := s.route(r.Method, path, &params{values: values, repeat: f != nil && f.Kind == Repeat})
	if s.o.Latency != nil && !wait(r.Context(), s.o.Latency(a.objects)) {
		return
	}
	if a.orders && s.o.Grow > 0 {
		s.Grow(s.o.Grow)
	}
	reply(a)
}

// enter counts a request in. alone is true if no other is under way.
func (s *Server) enter() (alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	s.maxInFlight = max(s.maxInFlight, s.inFlight)
	return s.inFlight == 1
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
}

// path returns the segments after the account, without the .json suffix that
// Sitoo's documentation asks for and its servers do not need.
func (s *Server) path(r *http.Request) ([]string, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/accounts/")
	if !ok {
		return nil, false
	}
	segments := strings.Split(strings.TrimSuffix(rest, ".json"), "/")
	return segments, len(segments) > 1
}

// allowed checks the credentials and that they are those of the account in the
// URL: another account answers as a wrong password does.
func (s *Server) allowed(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	got := sha256.Sum256([]byte(user + "\x00" + password))
	want := sha256.Sum256([]byte(s.o.APIID + "\x00" + s.o.Password))
	segments, _ := s.path(r)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && segments[0] == strconv.FormatInt(s.o.AccountID, 10)
}

// route answers a request that is allowed. The stand-in can only be read:
// another method is answered as an unknown URL, for which 404 is documented.
func (s *Server) route(method string, path []string, p *params) answer {
	if method != http.MethodGet && method != http.MethodHead {
		return notFound
	}
	switch path = path[1:]; {
	case len(path) == 1 && path[0] == "orders":
		return s.orders(0, p)
	case len(path) == 1 && path[0] == "sites":
		return s.collection(siteObjects(), p)
	case len(path) < 3 || path[0] != "sites":
		return notFound
	}
	siteID, known := siteOf(path[1])
	if !known {
		return notFound
	}
	switch path = path[2:]; {
	case len(path) == 1 && path[0] == "orders":
		return s.orders(siteID, p)
	case len(path) == 2 && path[0] == "orders":
		return s.order(siteID, path[1])
	case len(path) != 1:
		return notFound
	}
	var items []object
	switch path[0] {
	case "warehouses":
		items = warehouseObjects()
	case "stores":
		items = storeObjects()
	case "cashregisters":
		items = registerObjects(p.text("includenotregistered") == "true")
	case "settings":
		if siteID == byGUID {
			return notFound
		}
		return whole(settingsObject(siteID).append(nil, nil))
	default:
		return notFound
	}
	if siteID == byGUID {
		items = nil
	}
	return s.collection(items, p)
}

// byGUID is the site of a deprecated GUID: it exists and has nothing.
const byGUID = -1

// siteOf reads the site in a URL.
func siteOf(segment string) (id int64, known bool) {
	if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") {
		return byGUID, true
	}
	id, err := strconv.ParseInt(segment, 10, 64)
	if err != nil {
		return 0, false
	}
	for _, s := range sites {
		if s.eshopID == id {
			return id, true
		}
	}
	return 0, false
}

// defaultFields is what a list gives of an order when it is not asked for
// anything in particular.
var defaultFields = func() map[string]bool {
	names := "orderid,eshopid,email,namefirst,namelast,company,moneyfinal_net,moneyfinal_vat," +
		"moneytotal_gross_roundoff,moneytotal_gross_all,checkouttypename,deliverytypename,orderdate," +
		"orderstateid,paymentstateid,ordertypeid,registerid,warehouseid,datereserved,currencycode," +
		"additionaldata,orderitems,payments"
	set := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		set[name] = true
	}
	return set
}()

// orders lists the orders of a site, of all for site 0.
func (s *Server) orders(siteID int64, p *params) answer {
	q := p.query(s.o.MaxNum)
	if p.wrong != "" {
		return failed(http.StatusBadRequest, p.wrong)
	}
	keep := q.page.fields
	if keep == nil {
		keep = defaultFields
	}
	if siteID != 0 {
		// The call of one site has neither the filter nor the field.
		q.eshopIDs = []int64{siteID}
		sited := map[string]bool{}
		for name := range keep {
			sited[name] = name != "eshopid"
		}
		keep = sited
	}
	s.books.RLock()
	defer s.books.RUnlock()
	total, found := s.book.list(q)
	if p.repeat && len(found) > 0 {
		found = append(found, found[0])
		i, _ := slices.BinarySearchFunc(s.book.entries, found[0].id, byID)
		for i--; i >= 0; i-- {
			if e := s.book.entries[i]; q.wants(&e) {
				found = append([]entry{e}, found...)
				break
			}
		}
	}
	a := envelope(total, found, func(buf []byte, e entry) ([]byte, error) { return s.book.append(buf, e, keep) })
	a.orders = a.status == http.StatusOK
	return a
}

// order gives one order with every field; it has no fields parameter.
func (s *Server) order(siteID int64, segment string) answer {
	id, err := strconv.ParseInt(segment, 10, 64)
	if err != nil {
		return notFound
	}
	s.books.RLock()
	defer s.books.RUnlock()
	e, has := s.book.find(id)
	if !has || e.eshopID != siteID {
		return failed(http.StatusNotFound, "Order not found")
	}
	return whole(s.book.append(nil, e, nil))
}

// whole answers with one object.
func whole(body []byte, err error) answer {
	if err != nil {
		return failed(http.StatusInternalServerError, err.Error())
	}
	return answer{status: http.StatusOK, body: body, objects: 1}
}

// envelope answers with a page of a collection, whose objects write writes.
func envelope[T any](total int, items []T, write func([]byte, T) ([]byte, error)) answer {
	body := fmt.Appendf(make([]byte, 0, 64+len(items)*3<<10), `{"totalcount":%d,"items":[`, total)
	for i, item := range items {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = write(body, item); err != nil {
			return failed(http.StatusInternalServerError, err.Error())
		}
	}
	return answer{status: http.StatusOK, body: append(body, "]}"...), objects: len(items)}
}

func (s *Server) collection(all []object, p *params) answer {
	pg := p.page(s.o.MaxNum)
	if p.wrong != "" {
		return failed(http.StatusBadRequest, p.wrong)
	}
	begin := min(pg.start, len(all))
	end := min(begin+pg.num, len(all))
	return envelope(len(all), all[begin:end], func(buf []byte, o object) ([]byte, error) { return o.append(buf, pg.fields) })
}
