package fakesitoo

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// What the page shows at the most: orders, and customers to sell to.
const newest, maxChoices = 50, 25

// shown is an order as the page shows it.
type shown struct {
	ID, Date, What, Customer, Contact, Total, Receipt string
	Link                                              string
	Returnable                                        bool // the page has a button to give it back
}

// servePage shows the newest orders and how to call the API.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	s.books.RLock()
	total, found := s.book.list(query{page: page{num: newest}})
	rows := make([]shown, 0, len(found))
	for _, e := range found {
		rows = append(rows, s.show(e))
	}
	s.books.RUnlock()

	var buf bytes.Buffer
	err := pageTemplate.Execute(&buf, map[string]any{
		"Host": r.Host, "Account": s.o.AccountID, "APIID": s.o.APIID, "Password": s.o.Password,
		"Connector": s.o.Connector, "Total": total, "Orders": rows, "Customers": s.o.Customers[:min(len(s.o.Customers), maxChoices)],
	})
	if err != nil {
		send(w, failed(http.StatusInternalServerError, err.Error()), nil)
		return
	}
	send(w, forPeople("text/html; charset=utf-8", buf.Bytes()), nil)
}

func (s *Server) show(e entry) shown {
	out := shown{
		ID:      strconv.FormatInt(e.id, 10),
		Date:    time.Unix(e.date, 0).UTC().Format("2006-01-02 15:04"),
		What:    what(e),
		Receipt: e.receiptID,
		Link:    "/v2/accounts/" + strconv.FormatInt(s.o.AccountID, 10) + "/sites/" + strconv.FormatInt(e.eshopID, 10) + "/orders/" + strconv.FormatInt(e.id, 10) + ".json",
	}
	// Read back from the JSON, as an order that was added is nothing else.
	// What has another type than expected is left out.
	var o struct {
		Email, Phone, NameFirst, NameLast string
		Total                             string            `json:"moneytotal_gross_all"`
		Currency                          string            `json:"currencycode"`
		Additional                        map[string]string `json:"additionaldata"`
	}
	if data, err := s.book.append(nil, e, nil); err == nil {
		_ = json.Unmarshal(data, &o)
	}
	out.Total = o.Total + " " + o.Currency
	out.Returnable = what(e) == "finished" && !strings.HasPrefix(o.Total, "-")
	out.Contact = cmp.Or(o.Additional["customcrm-contactid"], o.Additional["crm-customerid"])
	for _, part := range []string{o.NameFirst, o.NameLast, o.Email, o.Phone} {
		if part != "" {
			out.Customer += part + " "
		}
	}
	return out
}

// what names an order in a word or two.
func what(e entry) string {
	switch {
	case e.kind == 100:
		return "booking"
	case e.kind == 110:
		return "parked"
	case e.state == 0:
		return "open"
	case e.state == 20:
		return "cancelled"
	case e.state == -1:
		return "abandoned"
	case e.credits != 0:
		return "return of " + strconv.FormatInt(e.credits, 10)
	case e.receiptID == "":
		return "web order"
	default:
		return "finished"
	}
}
