package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// List returns subscribers of the account, 100 at a time: next is "" for the
// first call, and after that what the call before returned; an empty one says
// that there are no more. The order is Rule's. Who is added or deleted meanwhile
// may come twice or not at all, and so may another one who changes pages because
// of it; one out of shape is left out. It may be repeated.
func (s *Session) List(ctx context.Context, next string) (list []Subscriber, more string, err error) {
	query, err := url.ParseQuery(next)
	if err != nil {
		return nil, "", fmt.Errorf("where the list goes on: %w", err)
	}
	query.Set("limit", "100")
	var out struct {
		Subscribers []json.RawMessage `json:"subscribers"`
		Meta        struct {
			Next string `json:"next"`
		} `json:"meta"`
	}
	if err := s.do(ctx, call{method: http.MethodGet, path: "/v2/subscribers", query: query, out: &out, repeats: true}); err != nil {
		return nil, "", err
	}
	if out.Subscribers == nil { // not to be taken for an account without subscribers
		return nil, "", s.unanswered("GET /v2/subscribers", fmt.Errorf("answer has no subscribers"), false)
	}
	for _, raw := range out.Subscribers {
		var one Subscriber
		if json.Unmarshal(raw, &one) == nil && one.ID > 0 {
			list = append(list, one)
		}
	}
	// A page of nobody is the end, too: it would go on for ever.
	if out.Meta.Next == "" || len(out.Subscribers) == 0 {
		return list, "", nil
	}
	// Rule's link leads anywhere it likes, and may hold the API key: only what
	// says where the list goes on is taken from it. Older documentation has a
	// cursor in place of a page.
	u, err := url.Parse(out.Meta.Next)
	if err != nil {
		return nil, "", s.unanswered("GET /v2/subscribers", fmt.Errorf("meta.next is not a URL"), false)
	}
	on := url.Values{}
	for _, name := range []string{"page", "cursor"} {
		if v := u.Query().Get(name); v != "" {
			on.Set(name, v)
		}
	}
	if more = on.Encode(); more == "" || more == next {
		return nil, "", s.unanswered("GET /v2/subscribers", fmt.Errorf("meta.next does not lead on"), false)
	}
	return list, more, nil
}
