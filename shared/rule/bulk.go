package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"sitoo-rule/shared/fault"
)

const (
	// BulkLimit is how many subscribers one UpsertMany may have and still be
	// answered when they are written: from 20 on Rule lets automations be, and
	// is assumed to work asynchronously too. Where that begins is not published.
	BulkLimit = 19
	// maxBulk is how many subscribers Rule takes in one request.
	maxBulk = 1000
)

// Bulk is Rule's answer to an UpsertMany. Everything in it is optional in
// Rule's contract: an answer of a larger call only says that the work has been
// taken on.
type Bulk struct {
	// Subscribers are those that the answer held with an id, in Rule's order,
	// which is not known to be that of the request: email and phone say who is
	// who.
	Subscribers      []Subscriber
	Created, Updated int
	Counted          bool // the answer had both counts
}

// UnmarshalJSON reads the answer. A member out of shape is as good as none.
func (b *Bulk) UnmarshalJSON(data []byte) error {
	var w struct {
		Success     json.RawMessage `json:"success"`
		Subscribers json.RawMessage `json:"subscribers"`
		Created     json.RawMessage `json:"subscribers_created"`
		Updated     json.RawMessage `json:"subscribers_updated"`
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*b = Bulk{}
	if string(w.Success) == "false" {
		return errors.New("success is false, and no error is named")
	}
	var list []json.RawMessage
	_ = json.Unmarshal(w.Subscribers, &list)
	for _, raw := range list {
		var s Subscriber
		if json.Unmarshal(raw, &s) == nil && s.ID > 0 {
			b.Subscribers = append(b.Subscribers, s)
		}
	}
	created, has := count(w.Created)
	if updated, both := count(w.Updated); has && both {
		b.Created, b.Updated, b.Counted = created, updated, true
	}
	return nil
}

// count reads a number of subscribers, given as a number or as text.
func count(raw json.RawMessage) (n int, ok bool) {
	n, err := strconv.Atoi(Value{raw}.Text())
	return max(n, 0), err == nil && n >= 0
}

// UpsertMany creates or updates up to 1000 subscribers in one request, and
// starts no automation for any of them. It may be repeated. tags, at least one
// and no duplicates, go to all of them; an Upsert has none of its own here. Up
// to BulkLimit subscribers are written when it returns, more of them some time
// later (assumed). An empty list costs no request.
//
// fault.Invalid and fault.Conflict are about the whole call: nothing was
// written (assumed). Error.Entries tells which subscribers Rule would not
// have, if it said so. A Conflict may be between two of the list.
func (s *Session) UpsertMany(ctx context.Context, list []Upsert, tags []string) (Bulk, error) {
	return s.many(ctx, list, tags, true, true)
}

// CreateMany is UpsertMany for people who are not in Rule: fault.Conflict, and
// nothing written, where one of them is there already (assumed). A try whose
// answer was lost may have made them; the second one is a Conflict then. No
// automation starts.
func (s *Session) CreateMany(ctx context.Context, list []Upsert, tags []string) (Bulk, error) {
	return s.many(ctx, list, tags, true, false)
}

// AppendMany is UpsertMany with fields of a historical group, of which every
// write is one entry more: it must not be repeated, and an outcome that is
// uncertain is not tried again.
func (s *Session) AppendMany(ctx context.Context, list []Upsert, tags []string) (Bulk, error) {
	return s.many(ctx, list, tags, false, true)
}

func (s *Session) many(ctx context.Context, list []Upsert, tags []string, repeats, update bool) (Bulk, error) {
	if len(list) == 0 {
		return Bulk{}, nil
	}
	if len(list) > maxBulk {
		return Bulk{}, fault.Wrap(fault.Internal, fmt.Errorf("%d subscribers, at most %d", len(list), maxBulk), "upsert many")
	}
	entries := make([]map[string]any, len(list))
	for i, u := range list {
		if len(u.Tags) > 0 {
			return Bulk{}, fault.Wrap(fault.Internal, fmt.Errorf("subscriber %d has tags of its own", i), "upsert many")
		}
		entries[i] = u.entry()
	}
	var out Bulk
	err := s.do(ctx, call{
		method: http.MethodPost, path: "/v2/subscribers", repeats: repeats, out: &out, empty: true,
		body: map[string]any{"update_on_duplicate": update, "sync_subscribers": false, "tags": tags, "subscribers": entries},
	})
	if err != nil {
		return Bulk{}, err
	}
	return out, nil
}
