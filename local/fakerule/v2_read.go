package fakerule

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // the zone of Rule's times, also on a machine without a time zone database
)

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// stockholm is the zone of the times that Rule writes without one (assumed of
// the dates of v2; seen of Retry-After).
var stockholm = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Stockholm")
	if err != nil {
		panic("fakerule: the embedded time zone database lacks Europe/Stockholm: " + err.Error())
	}
	return zone
}()

// stamp is a time as v3 writes it, stampV2 as v2 does: without a zone.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func stampV2(t time.Time) string { return t.In(stockholm).Format(time.DateTime) }

func (a *account) tagsJSON(s *subscriber) []any {
	list := make([]any, 0, len(s.tags))
	for _, id := range s.tags {
		list = append(list, map[string]any{"id": id, "name": a.tagByID(id).name})
	}
	return list
}

func (s *subscriber) suppressionsJSON(withSubscriber bool) []any {
	list := make([]any, 0, len(s.suppressions))
	for _, x := range s.suppressions {
		m := map[string]any{
			"id": x.id, "created_at": stampV2(x.created), "dispatcher_type": x.dispatcher,
			"message_type": x.message, "suppressed_source_type": x.source,
		}
		if withSubscriber {
			m["subscriber"] = map[string]any{"id": s.id, "email": orNull(s.email), "phone_number": orNull(s.phone)}
		}
		list = append(list, m)
	}
	return list
}

func (a *account) subscriberJSON(s *subscriber) map[string]any {
	return map[string]any{
		"id": s.id, "email": orNull(s.email), "phone_number": orNull(s.phone), "custom_identifier": orNull(s.custom),
		"language": s.language, "opted_in": s.status != statusPending, "created_at": stampV2(s.created),
		"updated_at": stampV2(s.updated), "tags": a.tagsJSON(s), "suppressed": s.suppressionsJSON(false), "syncAtSegments": []any{},
	}
}

func getSubscriber(c *call, s *subscriber) reply {
	return jsonReply(http.StatusOK, map[string]any{"subscriber": c.acc.subscriberJSON(s)})
}

// page reads limit and page, and returns the slice of a list of n items with
// the link to the next page. The link holds the API key if the request had it
// in its query, as Rule's does.
func (c *call) page(n int) (from, to int, meta any, refused *reply) {
	read := func(name string, def int) (int, bool) {
		if !c.query.Has(name) {
			return def, true
		}
		x, err := strconv.Atoi(c.query.Get(name))
		return x, err == nil && x >= 1
	}
	limit, ok := read("limit", maxLimit)
	page, ok2 := read("page", 1)
	var rep reply
	switch {
	case !ok:
		rep = c.refuseOne("limit", "Must be a positive number.")
		return 0, 0, nil, &rep
	case !ok2:
		rep = c.refuseOne("page", "Must be a positive number.")
		return 0, 0, nil, &rep
	case limit > maxLimit:
		rep = c.fail(http.StatusBadRequest, "LimitExceed", "Limit can't exceed 100.")
		return 0, 0, nil, &rep
	}
	from, to = window(n, page, limit)
	var next any
	if to < n && to > from {
		u := url.URL{Scheme: "http", Host: c.r.Host, Path: c.r.URL.Path}
		if c.r.TLS != nil {
			u.Scheme = "https"
		}
		q := url.Values{"limit": {strconv.Itoa(limit)}, "page": {strconv.Itoa(page + 1)}}
		if key := c.query.Get("apikey"); key != "" {
			q.Set("apikey", key)
		}
		u.RawQuery = q.Encode()
		next = u.String()
	}
	return from, to, map[string]any{"next": next}, nil
}

// window returns the bounds of a page, empty ones behind the end.
func window(n, page, size int) (from, to int) {
	if page-1 > n/size { // also keeps the product below from overflowing
		return n, n
	}
	from = min((page-1)*size, n)
	return from, min(from+size, n)
}

// listSubscribers lists the newest first, so that who is made or removed while a
// list is read moves the others between its pages.
func listSubscribers(c *call) reply {
	all := c.acc.sorted()
	slices.Reverse(all)
	from, to, meta, refused := c.page(len(all))
	if refused != nil {
		return *refused
	}
	list := make([]any, 0, to-from)
	for _, s := range all[from:to] {
		m := c.acc.subscriberJSON(s)
		m["suppressed"] = len(s.suppressions) > 0
		delete(m, "syncAtSegments")
		list = append(list, m)
	}
	return jsonReply(http.StatusOK, map[string]any{"subscribers": list, "meta": meta})
}

// getFields shows every group in which the subscriber has something; see
// HistoricalLayout for the historical ones.
func getFields(c *call, s *subscriber) reply {
	c.srv.mu.RLock()
	layout := c.srv.layout
	c.srv.mu.RUnlock()
	groups := []any{}
	for _, g := range c.acc.groups {
		entries := s.of(g)
		if len(entries) == 0 {
			continue
		}
		slices.Reverse(entries)
		group := func(fields any) {
			groups = append(groups, map[string]any{"id": g.id, "name": g.name, "historical": g.historical, "fields": fields})
		}
		switch {
		case !g.historical || layout == HistoricalNewest:
			group(entries[0].fieldsJSON())
		case layout == HistoricalGroups:
			for _, e := range entries {
				group(e.fieldsJSON())
			}
		case layout == HistoricalLists:
			lists := make([]any, 0, len(entries))
			for _, e := range entries {
				lists = append(lists, e.fieldsJSON())
			}
			group(lists)
		default:
			byID := map[string]any{}
			for _, e := range entries {
				byID[strconv.FormatInt(e.id, 10)] = e.fieldsJSON()
			}
			group(byID)
		}
	}
	return jsonReply(http.StatusOK, map[string]any{"groups": groups})
}

func (e *entry) fieldsJSON() []any {
	fields := make([]any, 0, len(e.values))
	for _, v := range e.values {
		fields = append(fields, map[string]any{"id": v.field.id, "name": v.field.name, "type": v.field.typ, "value": plain(v.data)})
	}
	return fields
}

// listSegments shows that there are none: a segment is made in Rule's own pages.
func listSegments(c *call) reply {
	_, _, meta, refused := c.page(0)
	if refused != nil {
		return *refused
	}
	return jsonReply(http.StatusOK, map[string]any{"segments": []any{}, "meta": meta})
}
