package rule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"sitoo-rule/shared/fault"
)

// MaxGroup is how many characters the values of one group may have together in
// one write.
const MaxGroup = 65_000

// Entry is one entry of a historical group.
type Entry struct {
	ID    string
	Group string
	// Overwritten is true if Rule says that the group keeps no history: the
	// next entry replaces this one.
	Overwritten bool
	Values      map[string]Value
}

// UnmarshalJSON reads v3's record.
func (e *Entry) UnmarshalJSON(b []byte) error {
	var w struct {
		ID         json.RawMessage `json:"id"`
		Group      json.RawMessage `json:"group_name"`
		Historical json.RawMessage `json:"historical"`
		Values     []struct {
			Name  json.RawMessage `json:"field_name"`
			Value json.RawMessage `json:"field_value"`
		} `json:"values"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Entry{ID: Value{w.ID}.Text(), Group: Value{w.Group}.Text(), Values: make(map[string]Value, len(w.Values))}
	switch (Value{w.Historical}).Text() {
	case "false", "0":
		e.Overwritten = true
	}
	for _, v := range w.Values {
		e.Values[Value{v.Name}.Text()] = Value{v.Value}
	}
	return nil
}

type v3Value struct {
	Field  string `json:"field"`
	Create bool   `json:"create_if_not_exists"`
	Value  any    `json:"value"`
}

func v3Values(fields []Field) []v3Value {
	list := make([]v3Value, len(fields))
	for i, f := range fields {
		list[i] = v3Value{f.Name, true, f.Value}
	}
	return list
}

func dataPath(id int64) string { return "/v3/custom-field-data/" + strconv.FormatInt(id, 10) }

// AppendEntry adds an entry to a historical group, creating the group as
// historical if it does not exist (assumed: a new group becomes historical by
// its first entry, and one that exists stays as it is). All fields are of that
// group; those in also are of ordinary groups, and are overwritten in the same
// request. It must not be repeated blindly: after an Uncertain error ask FindEntry
// first. fault.NotFound if there is no such subscriber.
func (s *Session) AppendEntry(ctx context.Context, id int64, group string, fields []Field, also ...Field) error {
	groups := []any{map[string]any{"group": group, "create_if_not_exists": true, "historical": true, "values": v3Values(fields)}}
	return s.do(ctx, call{method: http.MethodPost, path: dataPath(id), body: map[string]any{"groups": append(groups, v3Groups(also)...)}})
}

// Overwrite writes fields of ordinary groups, which are made if they do not
// exist. It may be repeated.
func (s *Session) Overwrite(ctx context.Context, id int64, fields ...Field) error {
	return s.do(ctx, call{method: http.MethodPost, path: dataPath(id), repeats: true, body: map[string]any{"groups": v3Groups(fields)}})
}

// v3Groups returns fields of ordinary groups, group by group.
func v3Groups(fields []Field) (groups []any) {
	byGroup := map[string][]Field{}
	var names []string
	for _, f := range fields {
		if byGroup[f.Group] == nil {
			names = append(names, f.Group)
		}
		byGroup[f.Group] = append(byGroup[f.Group], f)
	}
	for _, name := range names {
		groups = append(groups, map[string]any{"group": name, "create_if_not_exists": true, "values": v3Values(byGroup[name])})
	}
	return groups
}

// FindEntry returns the entry of a group in which a field has a value; ok is
// false if there is none. A miss counts against the account's error share.
func (s *Session) FindEntry(ctx context.Context, id int64, group, field, value string) (e Entry, ok bool, err error) {
	var out struct {
		Data *Entry `json:"data"`
	}
	err = s.do(ctx, call{
		method: http.MethodGet, path: dataPath(id) + "/search", out: &out, repeats: true,
		query: url.Values{"group": {group}, "field": {field}, "value": {value}},
	})
	if fault.KindOf(err) == fault.NotFound && err != nil {
		return Entry{}, false, nil
	}
	if err != nil || out.Data == nil {
		return Entry{}, false, err
	}
	return *out.Data, true, nil
}

// PatchEntry writes fields into the entry of a group in which field has value.
// It may be repeated.
func (s *Session) PatchEntry(ctx context.Context, id int64, group, field, value string, fields []Field) error {
	return s.do(ctx, call{method: http.MethodPut, path: dataPath(id), repeats: true, body: map[string]any{
		"identifier": map[string]string{"group": group, "field": field, "value": value},
		"values":     v3Values(fields),
	}})
}

// Entries returns one page (from 1) of a subscriber's entries in a group, in
// Rule's order, which is not documented. more is false at the end. No such
// group or subscriber gives no entries.
func (s *Session) Entries(ctx context.Context, id int64, group string, page, perPage int) (list []Entry, more bool, err error) {
	var out struct {
		Data json.RawMessage `json:"data"`
		Meta json.RawMessage `json:"meta"`
	}
	err = s.do(ctx, call{
		method: http.MethodGet, path: fmt.Sprintf("%s/group/%s", dataPath(id), url.PathEscape(group)), out: &out, repeats: true,
		query: url.Values{"page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(perPage)}},
	})
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return nil, false, nil
		}
		return nil, false, err
	}
	data := bytes.TrimSpace(out.Data)
	if len(data) > 0 && string(data) != "null" && data[0] != '[' && data[0] != '{' {
		return nil, false, s.unanswered("GET /v3/custom-field-data/{}/group/{}", errors.New("answer has no data"), false)
	}
	records := elements(data)
	for _, raw := range records {
		var e Entry
		if json.Unmarshal(raw, &e) == nil { // a record out of shape does not hide the others
			list = append(list, e)
		}
	}
	// Rule may cap per_page; it says what it used.
	var meta struct {
		PerPage json.RawMessage `json:"per_page"`
	}
	if json.Unmarshal(out.Meta, &meta) == nil {
		if n, err := strconv.ParseFloat(Value{meta.PerPage}.Text(), 64); err == nil && n >= 1 && n <= 1e6 {
			perPage = int(n)
		}
	}
	return list, len(records) >= perPage, nil
}
