package fakerule

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

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
			"id": x.id, "created_at": stamp(x.created), "dispatcher_type": x.dispatcher,
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
		"language": s.language, "opted_in": s.status != statusPending, "created_at": stamp(s.created),
		"updated_at": stamp(s.updated), "tags": a.tagsJSON(s), "suppressed": s.suppressionsJSON(false), "syncAtSegments": []any{},
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

func listSubscribers(c *call) reply {
	all := c.acc.sorted()
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

// getFields shows every group in which the subscriber has something. Of a
// historical group it shows the newest entry alone (assumed).
func getFields(c *call, s *subscriber) reply {
	groups := []any{}
	for _, g := range c.acc.groups {
		e := s.newest(g)
		if e == nil {
			continue
		}
		fields := make([]any, 0, len(e.values))
		for _, v := range e.values {
			fields = append(fields, map[string]any{"id": v.field.id, "name": v.field.name, "type": v.field.typ, "value": plain(v.data)})
		}
		groups = append(groups, map[string]any{"id": g.id, "name": g.name, "historical": g.historical, "fields": fields})
	}
	return jsonReply(http.StatusOK, map[string]any{"groups": groups})
}
