package rule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
)

// Schema is which custom fields an account has: group, field, type. A type that
// Rule does not tell is "". Beside the types that are written there is "single",
// for a text that is one of several.
type Schema map[string]map[string]FieldType

// maxSchemaPages bounds how many pages of 100 groups are read: far more than an
// account has, so that a list without an end does not use up its budget.
const maxSchemaPages = 10

// Customizations returns the account's groups of custom fields, empty if it has
// none. It costs a request for every 100 groups and may be repeated. Rule does
// not tell here which groups are historical: see Entry.
func (s *Session) Customizations(ctx context.Context) (Schema, error) {
	const what = "GET /v2/customizations"
	schema := Schema{}
	query := url.Values{"limit": {"100"}}
	for range maxSchemaPages {
		var out struct {
			Groups *[]struct {
				Name   json.RawMessage `json:"name"`
				Fields json.RawMessage `json:"fields"`
			} `json:"groups"`
			Meta json.RawMessage `json:"meta"`
		}
		if err := s.do(ctx, call{method: http.MethodGet, path: "/v2/customizations", query: query, out: &out, repeats: true}); err != nil {
			return nil, err
		}
		if out.Groups == nil {
			return nil, s.unanswered(what, errors.New("answer has no groups"), false)
		}
		for _, g := range *out.Groups {
			fields := map[string]FieldType{}
			var list []struct {
				Name json.RawMessage `json:"name"`
				Type json.RawMessage `json:"type"`
			}
			_ = json.Unmarshal(g.Fields, &list) // PHP writes no fields as {} or null
			for _, f := range list {
				fields[Value{f.Name}.Text()] = FieldType(Value{f.Type}.Text())
			}
			schema[Value{g.Name}.Text()] = fields
		}
		var meta struct {
			Next string `json:"next"`
		}
		_ = json.Unmarshal(out.Meta, &meta) // none: there are no more
		if meta.Next == "" {
			return schema, nil
		}
		// As in List: nothing else is taken from a link that leads anywhere.
		u, err := url.Parse(meta.Next)
		if err != nil {
			return nil, s.unanswered(what, errors.New("meta.next is not a URL"), false)
		}
		on := url.Values{"limit": {"100"}}
		for _, name := range []string{"page", "cursor"} {
			if v := u.Query().Get(name); v != "" {
				on.Set(name, v)
			}
		}
		if len(on) == 1 || on.Encode() == query.Encode() {
			return nil, s.unanswered(what, errors.New("meta.next does not lead on"), false)
		}
		query = on
	}
	return nil, s.unanswered(what, errors.New("there is no end of groups"), false)
}
