package fakesitoo

import (
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
)

//go:embed till.html
var tillHTML []byte

//go:embed till.js
var tillJS []byte

//go:embed page.js
var pageJS []byte

// pagePolicy is what the pages for people may load: nothing but their own.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// pages serves what is for people: the shop's page, the till, and what they
// call. Another host's page may read nothing here and change nothing.
func (s *Server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /_page.js", asset("text/javascript; charset=utf-8", pageJS))
	mux.HandleFunc("GET /till", asset("text/html; charset=utf-8", tillHTML))
	mux.HandleFunc("GET /_till.js", asset("text/javascript; charset=utf-8", tillJS))
	mux.HandleFunc("GET /_till/shop", s.serveShop)
	mux.HandleFunc("/_till/crm/", s.serveTillCall)
	mux.HandleFunc("POST /_sell", s.serveSell)
	mux.HandleFunc("GET /_events", func(w http.ResponseWriter, _ *http.Request) { send(w, succeeded(s.Deliveries()), nil) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { send(w, notFound, nil) })
	return http.NewCrossOriginProtection().Handler(mux)
}

func asset(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { send(w, forPeople(contentType, body), nil) }
}

// forPeople is the answer that a page or a part of one is.
func forPeople(contentType string, body []byte) answer {
	return answer{status: http.StatusOK, body: body, header: http.Header{
		"Content-Type": {contentType}, "Content-Security-Policy": {pagePolicy},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}}
}

// goods is a product as the till sells it.
type goods struct {
	SKU        string `json:"sku"`
	Name       string `json:"name"`
	Attributes string `json:"attributes"`
	Price      string `json:"price"` // VAT included, of one piece or bag
}

// serveShop tells the till page what it sells, and where.
func (s *Server) serveShop(w http.ResponseWriter, _ *http.Request) {
	all := make([]goods, 0, len(products))
	for _, p := range products {
		r := row{product: p, quantity: 1}
		if p.unit != "" {
			r.perUnit = 250
		}
		all = append(all, goods{p.sku, p.name, p.attributes, string(appendFixed(nil, int64(r.net()+r.vat()), 2))})
	}
	store, _ := storeOf(registers[0].warehouse)
	send(w, succeeded(map[string]any{
		"store": store.name, "register": registers[0].key, "connector": s.o.Connector, "products": all,
	}), nil)
}

// tillCalls are the calls of Sitoo's Custom CRM SPI that the till page makes, as
// the first segment of their path.
var tillCalls = []string{"contacts", "lookup_contacts", "consents"}

// serveTillCall makes one call of the till page: what follows /_till/crm is
// asked of the connector as it is, or with SPI 2 in v2's words, with the token
// that the shop has entered.
// The browser cannot: it is another host, and must not know the token.
func (s *Server) serveTillCall(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/_till/crm")
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case !slices.Contains(tillCalls, first):
		send(w, notFound, nil)
		return
	case s.o.Connector == "":
		send(w, failed(http.StatusBadGateway, "No connector is set."), nil)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSale))
	if err != nil {
		send(w, failed(http.StatusBadRequest, "The body is not readable: "+err.Error()), nil)
		return
	}
	var d delivered
	asked := path
	if s.o.SPI == 2 {
		d, asked = s.askV2(r.Context(), tillCall{r.Method, path, r.URL.RawQuery, body})
		asked = "/v2" + asked
	} else {
		if r.URL.RawQuery != "" {
			asked += "?" + r.URL.RawQuery
		}
		d = s.call(r.Context(), r.Method, asked, body)
	}
	if d.Status == 0 || d.Error != "" {
		send(w, failed(http.StatusBadGateway, "The connector gives no answer: "+d.Error), nil)
		return
	}
	said, isJSON := d.Body.(json.RawMessage)
	if !isJSON {
		said = succeeded(d.Body).body
	}
	a := forPeople("application/json", said)
	a.status = d.Status
	a.header.Set("X-Till-Call", r.Method+" "+asked) // what the page's list shows
	send(w, a, nil)
}
