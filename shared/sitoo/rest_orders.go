package sitoo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sitoo-rule/shared/fault"
)

const (
	// MaxPage is the most orders that a page is asked for. Sitoo publishes no
	// maximum; 500 is in use elsewhere.
	MaxPage = 500
	// MaxIDs is the most orders that a query can ask for by id: what fits in a
	// URL of usual length.
	MaxIDs = 100
)

// orderFields are the members that a list is asked for, as in the contract. The
// personal identity number is left out: no part of the connector has a use for
// it. Not asked for, Sitoo would leave out phone and creditorderid, too.
const orderFields = "orderid,eshopid,externalid,creditorderid,orderdate,orderstateid,paymentstateid,ordertypeid," +
	"email,namefirst,namelast,phone,company,customerref,currencycode,registerid,warehouseid,userid_staff," +
	"moneytotal_net,moneytotal_vat,moneycheckout_net,moneycheckout_vat,moneydelivery_net,moneydelivery_vat," +
	"moneyfinal_net,moneyfinal_vat,moneyfinal_salestax,moneytotal_gross_roundoff,moneytotal_gross_all," +
	"checkouttypename,deliverytypename,additionaldata,orderitems,payments"

// Query says which orders of the shop's site a page is about. All that it names
// must hold.
type Query struct {
	// After is the id that the orders are above, 0 for the first order on; Upto
	// is the last id wanted, 0 for no end. A job pages with After set to the
	// last page's Last and Upto fixed.
	After, Upto int64
	Num         int     // orders per page, MaxPage if 0 or above it
	IDs         []int64 // these orders only, at most MaxIDs
	States      []int   // order states such as StateClosed, any if empty
	Types       []int   // order types such as TypeOrder, any if empty
	// From and To bound the time of the transaction, zero for no bound. They are
	// passed on as a help: orders of the seconds around them come too (whether
	// Sitoo's bounds are inclusive is not published). Order dates do not follow
	// ids: an offline till's orders come late, with a high id.
	From, To time.Time
	// Addresses asks for the invoice and delivery addresses, too.
	Addresses bool
}

// values returns the query's parameters. Sitoo ignores those that it does not
// know, so they must be right: https://developer.sitoo.com/api-reference/orders.
func (q Query) values(site int64) url.Values {
	v := url.Values{"eshopid": {strconv.FormatInt(site, 10)}, "sort": {"orderid"}, "num": {strconv.Itoa(q.Num)}, "fields": {orderFields}}
	if q.Addresses {
		v.Set("fields", orderFields+","+strings.Join(addressMembers, ","))
	}
	// Of a parameter that is repeated Sitoo takes the last value only.
	if len(q.IDs) > 0 {
		v.Set("orderid", list(q.IDs))
	} else {
		if q.After > 0 {
			v.Set("orderidfrom", strconv.FormatInt(q.After+1, 10)) // inclusive
		}
		if q.Upto > 0 {
			v.Set("orderidto", strconv.FormatInt(q.Upto+1, 10)) // exclusive
		}
	}
	if len(q.States) > 0 {
		v.Set("orderstate", list(q.States))
	}
	if len(q.Types) > 0 {
		v.Set("ordertype", list(q.Types))
	}
	if !q.From.IsZero() {
		v.Set("orderdatefrom", strconv.FormatInt(max(q.From.Unix()-1, 0), 10))
	}
	if !q.To.IsZero() {
		v.Set("orderdateto", strconv.FormatInt(q.To.Unix()+1, 10))
	}
	return v
}

func list[T int | int64](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatInt(int64(v), 10)
	}
	return strings.Join(texts, ",")
}

// Listed is one order of a page.
type Listed struct {
	ID   int64
	Site int64 // its eshopid, 0 if it does not say
	// Register is the till's id, "" for an order that no till made.
	Register string
	// Body is the order as Sitoo wrote it. It is to pass sitoo.Check before
	// DecodeOrder reads it; what they refuse is wrong with this order alone. The
	// bodies of a page share its memory.
	Body json.RawMessage
}

// Page is one page of orders.
type Page struct {
	// Orders are ascending by id, each once, all of them above the query's After
	// and not above its Upto.
	Orders []Listed
	// Total is how many orders of the shop Sitoo counts for the query, those of
	// this page and the pages after it; -1 if it does not say.
	Total int
	// More is whether to ask for the page after Last. It is false only when
	// Sitoo has nothing left: a page that is not full may just have been cut.
	More bool
}

// Last returns the id of the page's last order, 0 if it has none.
func (p Page) Last() int64 {
	if len(p.Orders) == 0 {
		return 0
	}
	return p.Orders[len(p.Orders)-1].ID
}

// Orders returns a page of orders by ascending id. It pages by id, never by
// position: positions move when orders come. What comes twice on a page (an
// order that is changed while Sitoo lists) is taken once, as it came last; an
// order outside the site or the query's ids is left out. A page that is not
// ascending, or empty while Sitoo counts more, is fault.Unavailable: to go on
// after it would lose orders.
func (s *Shop) Orders(ctx context.Context, q Query) (Page, error) {
	if len(q.IDs) > MaxIDs {
		return Page{}, fault.New(fault.Internal, "read orders from Sitoo: %d ids, at most %d are possible", len(q.IDs), MaxIDs)
	}
	q.After = max(q.After, 0)
	q.Upto = min(max(q.Upto, 0), math.MaxInt64-1)
	if q.Upto > 0 && q.Upto <= q.After || q.After == math.MaxInt64 {
		return Page{}, nil
	}
	if len(q.IDs) > 0 {
		// What the two filters mean together is not published: ids outside the
		// bounds are not asked for, and the bounds are those of the ids.
		q.IDs = slices.DeleteFunc(slices.Clone(q.IDs), func(id int64) bool { return id <= q.After || q.Upto > 0 && id > q.Upto })
		if len(q.IDs) == 0 {
			return Page{}, nil
		}
		q.Upto = slices.Max(q.IDs)
	}
	if q.Num <= 0 || q.Num > MaxPage {
		q.Num = MaxPage
	}
	var page Page
	err := s.do(ctx, get{what: "GET orders", path: "/orders.json", query: q.values(s.site), read: func(answer []byte) (err error) {
		page, err = readPage(answer, q, s.site)
		return err
	}})
	return page, err
}

// readPage decodes a page and holds it against its query.
func readPage(answer []byte, q Query, site int64) (Page, error) {
	total, items, err := readList(answer)
	if err != nil {
		return Page{}, err
	}
	if len(items) == 0 && total > 0 {
		return Page{}, fmt.Errorf("it counts %d orders and lists none", total)
	}
	page := Page{Total: total, Orders: make([]Listed, 0, len(items))}
	at := make(map[int64]int, len(items))
	for i, item := range items {
		o, err := readListed(item)
		if err != nil {
			return Page{}, fmt.Errorf("items[%d]: %w", i, err)
		}
		if o.ID <= q.After || q.Upto > 0 && o.ID > q.Upto || o.Site != 0 && o.Site != site {
			continue
		}
		if i, twice := at[o.ID]; twice {
			page.Orders[i] = o
			continue
		}
		if o.ID < page.Last() {
			return Page{}, errors.New("the orders are not sorted by orderid")
		}
		at[o.ID] = len(page.Orders)
		page.Orders = append(page.Orders, o)
	}
	if len(page.Orders) == 0 && len(items) > 0 {
		return Page{}, errors.New("all orders are outside the site or the ids asked for")
	}
	page.More = len(items) > 0 && (q.Upto == 0 || page.Last() < q.Upto)
	return page, nil
}

// readList decodes the envelope of a collection. total is -1 if it is not said.
func readList(answer []byte) (total int, items []json.RawMessage, err error) {
	var count, list json.RawMessage
	if err := members(answer, func(name []byte, value json.RawMessage) {
		switch string(name) {
		case "totalcount":
			count = value
		case "items":
			list = value
		}
	}); err != nil {
		return 0, nil, err
	}
	if list == nil {
		return 0, nil, errors.New("no items")
	}
	if err := elements(list, func(item json.RawMessage) { items = append(items, item) }); err != nil {
		return 0, nil, fmt.Errorf("items: %w", err)
	}
	total = -1
	if n, ok := wholeNumber(count); ok && n <= math.MaxInt32 {
		total = int(n)
	}
	return total, items, nil
}

// readListed reads what is needed of an order before it is decoded.
func readListed(item json.RawMessage) (Listed, error) {
	o := Listed{Body: item}
	var id, site, register json.RawMessage
	if err := members(item, func(name []byte, value json.RawMessage) {
		switch string(name) {
		case "orderid":
			id = value
		case "eshopid":
			site = value
		case "registerid":
			register = value
		}
	}); err != nil {
		return Listed{}, err
	}
	var ok bool
	if o.ID, ok = wholeNumber(id); !ok || o.ID == 0 {
		return Listed{}, errors.New("no orderid")
	}
	o.Site, _ = wholeNumber(site)
	_ = json.Unmarshal(register, &o.Register) // null for a web order
	return o, nil
}

// wholeNumber reads a number of 0 or more, given as one or as a string.
func wholeNumber(raw json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	return n, err == nil && n >= 0
}

// Order returns one order of the site whole, with every member that Sitoo has,
// less the personal identity number. It is fault.NotFound if the site has no
// such order. Body it with Check and DecodeOrder.
func (s *Shop) Order(ctx context.Context, id int64) (json.RawMessage, error) {
	if id <= 0 {
		return nil, fault.New(fault.NotFound, "Sitoo has no order %d.", id)
	}
	var order json.RawMessage
	path := fmt.Sprintf("/sites/%d/orders/%d.json", s.site, id)
	err := s.do(ctx, get{what: "GET order", path: path, read: func(answer []byte) error {
		o, err := readListed(answer)
		if err != nil {
			return err
		}
		if o.ID != id {
			return errors.New("it is another order")
		}
		order, err = WithoutPersonalID(o.Body)
		return err
	}})
	if fault.KindOf(err) == fault.NotFound {
		f := *fault.As(err)
		f.Message = fmt.Sprintf("Sitoo has no order %d in site %d.", id, s.site)
		return nil, &f
	}
	return order, err
}

// newest asks for the order with the highest id alone.
func (s *Shop) newest(ctx context.Context) (id int64, total int, err error) {
	q := url.Values{"eshopid": {strconv.FormatInt(s.site, 10)}, "sort": {"-orderid"}, "num": {"1"}, "fields": {"orderid"}}
	err = s.do(ctx, get{what: "GET orders", path: "/orders.json", query: q, read: func(answer []byte) error {
		var items []json.RawMessage
		var err error
		if total, items, err = readList(answer); err != nil {
			return err
		}
		id = 0
		if len(items) == 0 {
			if total > 0 {
				return fmt.Errorf("it counts %d orders and lists none", total)
			}
			return nil
		}
		o, err := readListed(items[0])
		id = o.ID
		return err
	}})
	return id, total, err
}

// LastOrder returns the highest order id that the site has now, 0 if it has no
// order: the fixed end of a job.
func (s *Shop) LastOrder(ctx context.Context) (int64, error) {
	id, _, err := s.newest(ctx)
	return id, err
}

// ShopInfo is what Check finds.
type ShopInfo struct {
	Site      int64
	URL       string // the site's own address, "" if Sitoo does not say
	Orders    int    // how many there are, -1 if Sitoo does not say
	LastOrder int64  // the highest order id, 0 if there is none
}

// Check proves that Sitoo accepts the credentials, that the account has the
// site, and that its orders can be read; it takes two requests. A site that the
// account does not have is fault.Invalid with the member site: Sitoo would
// answer with an empty list for good.
func (s *Shop) Check(ctx context.Context) (ShopInfo, error) {
	var known []int64
	info := ShopInfo{Site: s.site}
	q := url.Values{"num": {strconv.Itoa(MaxPage)}, "fields": {"eshopid,siteurl"}}
	err := s.do(ctx, get{what: "GET sites", path: "/sites.json", query: q, read: func(answer []byte) error {
		_, items, err := readList(answer)
		if err != nil {
			return err
		}
		known = nil
		for _, item := range items {
			var body struct {
				ID  json.RawMessage `json:"eshopid"`
				URL json.RawMessage `json:"siteurl"`
			}
			if err := json.Unmarshal(item, &body); err != nil {
				return errors.New("a site is no JSON object")
			}
			id, ok := wholeNumber(body.ID)
			if !ok {
				continue
			}
			known = append(known, id)
			if id == s.site {
				var text string
				_ = json.Unmarshal(body.URL, &text) // it only helps a person to know it again
				info.URL = s.harmless(text)
			}
		}
		return nil
	}})
	if err != nil {
		return ShopInfo{}, err
	}
	if !slices.Contains(known, s.site) {
		return ShopInfo{}, fault.Bad("site", "is %d, which the account does not have; one of its sites (%s) is expected", s.site, named(known))
	}
	info.LastOrder, info.Orders, err = s.newest(ctx)
	if err != nil {
		return ShopInfo{}, err
	}
	return info, nil
}

// named lists sites for a sentence.
func named(ids []int64) string {
	const most = 20
	switch {
	case len(ids) == 0:
		return "Sitoo names none"
	case len(ids) > most:
		return list(ids[:most]) + ",…"
	}
	return list(ids)
}
