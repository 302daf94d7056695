package fakerule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	dispatcherCampaign      = "campaign"
	dispatcherTransactional = "transactional"

	defaultPerPage = 15 // assumed: the framework's own default, low on purpose
	maxPerPage     = 100
)

// messageTypes are the channels of a suppression.
var messageTypes = []string{"email", "text_message"}

func routesV3() []route {
	return []route{
		handle("POST /v3/subscribers", postSubscriberV3),
		handle("POST /v3/subscribers/tags", bulkTags(true)),
		handle("DELETE /v3/subscribers/tags", bulkTags(false)),
		handle("POST /v3/subscribers/block", bulkStatus(statusBlocked)),
		handle("POST /v3/subscribers/unblock", bulkStatus(statusActive)),
		handle("DELETE /v3/subscribers/*", withSubscriber(deleteSubscriberV3)),
		handle("PUT /v3/subscribers/*/tags", withSubscriber(putTagsV3)),
		handle("DELETE /v3/subscribers/*/tags/*", withSubscriber(deleteTagV3)),
		handle("GET /v3/api-keys", listKeys),
		handle("POST /v3/api-keys", postKey),
		handle("PUT /v3/api-keys/*", putKey),
		handle("DELETE /v3/api-keys/*", deleteKey),
		handle("POST /v3/suppressions", bulkSuppress(true)),
		handle("DELETE /v3/suppressions", bulkSuppress(false)),
		handle("POST /v3/custom-field-data/*", withData(postData)),
		handle("PUT /v3/custom-field-data/*", withData(putData)),
		handle("GET /v3/custom-field-data/*", withData(listData)),
		handle("GET /v3/custom-field-data/*/search", withData(searchData)),
		handle("GET /v3/custom-field-data/*/group/*", withData(listGroupData)),
		handle("DELETE /v3/custom-field-data/*/group/*", withData(deleteGroupData)),
	}
}

// Subscribers

// postSubscriberV3 makes a subscriber. It is no upsert: somebody who exists is
// a 409 (the status is not documented).
func postSubscriberV3(c *call) reply {
	var in struct {
		Email            json.RawMessage `json:"email"`
		PhoneNumber      json.RawMessage `json:"phone_number"`
		CustomIdentifier json.RawMessage `json:"custom_identifier"`
		Status           json.RawMessage `json:"status"`
		Language         json.RawMessage `json:"language"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	who := readIdentity(p, "", in.Email, in.PhoneNumber)
	who.custom = text(p, "custom_identifier", in.CustomIdentifier)
	status := text(p, "status", in.Status)
	language := readLanguage(p, "language", in.Language)
	switch status {
	case "":
		status = statusActive
	case statusActive, statusBlocked, statusPending:
	default:
		p.add("status", "The status must be ACTIVE, BLOCKED or PENDING.")
	}
	if len(p) == 0 && who == (identity{}) {
		p.add("email", "One of email, phone_number and custom_identifier is needed.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	a := c.acc
	if a.byEmail[who.email] != 0 || a.byPhone[who.phone] != 0 || a.byCustom[who.custom] != 0 {
		return c.fail(http.StatusConflict, "Conflict", "Subscriber already exists")
	}
	s := a.add(who, cmp.Or(language, defaultLanguage), status, c.now)
	return jsonReply(http.StatusCreated, map[string]any{"data": map[string]any{
		// The phone is sent as phone_number and answered as phone.
		"id": s.id, "email": orNull(s.email), "phone": orNull(s.phone), "custom_identifier": orNull(s.custom),
		"account_id": a.id, "status": s.status, "language": s.language, "has_next_item": false,
		"created_at": stamp(s.created), "updated_at": stamp(s.updated),
	}})
}

func deleteSubscriberV3(c *call, s *subscriber) reply {
	c.acc.remove(s)
	return noContent()
}

// putTagsV3 tags at once: silently without automation, and with any automation
// a blocked subscriber is active again.
func putTagsV3(c *call, s *subscriber) reply {
	var in struct {
		Tags           json.RawMessage `json:"tags"`
		Automation     json.RawMessage `json:"automation"`
		SyncSubscriber json.RawMessage `json:"sync_subscriber"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	refs, unknown := c.readTags(p, "tags", in.Tags)
	mode := ""
	if string(in.Automation) == "false" {
		p.add("automation", "Must be send or force or reset.")
	} else {
		mode = readAutomation(p, in.Automation, "send", "force", "reset")
	}
	sync := flag(p, "sync_subscriber", in.SyncSubscriber)
	switch {
	case len(p) > 0:
		return c.refuse(p)
	case unknown:
		return c.noTag()
	}
	c.acc.addTags(s, refs, mode != "" && (sync == nil || *sync), mode, c.now)
	if mode != "" && s.status == statusBlocked {
		s.status = statusActive
	}
	return noContent()
}

func deleteTagV3(c *call, s *subscriber) reply {
	t := c.acc.tag(c.args[1])
	if t == nil {
		return c.noTag()
	}
	s.dropTag(t.id)
	s.updated = c.now
	return noContent()
}

// Bulk calls: answered at once, done later

// references checks the entries of a bulk call. Each result finds its
// subscriber when the work is done, nil if there is none then.
func (c *call) references(p problems, list []json.RawMessage) []func() *subscriber {
	if len(list) == 0 || len(list) > maxBatch {
		p.add("subscribers", fmt.Sprintf("Must be an array of 1 to %d subscribers.", maxBatch))
		return nil
	}
	found := make([]func() *subscriber, 0, len(list))
	acc := c.acc
	for i, raw := range list {
		by, x, ok := readReference(raw)
		if !ok || raw[0] != '{' {
			p.add(fmt.Sprintf("subscribers.%d", i), "Must have exactly one identifier.")
			continue
		}
		found = append(found, func() *subscriber { return acc.find(by, x) })
	}
	return found
}

// each does work for every subscriber of a bulk call once its delay is over.
func (c *call) each(found []func() *subscriber, do func(s *subscriber, at time.Time)) reply {
	c.acc.later(c.now, func(at time.Time) {
		for _, find := range found {
			if s := find(); s != nil {
				do(s, at)
			}
		}
	})
	return noContent()
}

// The callback_url of a bulk call is accepted and never called: what Rule sends
// there is not published.
type bulk struct {
	Subscribers  []json.RawMessage `json:"subscribers"`
	Tags         json.RawMessage   `json:"tags"`
	MessageTypes []string          `json:"message_types"`
}

func bulkTags(add bool) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		refs, unknown := c.readTags(p, "tags", in.Tags)
		switch {
		case len(p) > 0:
			return c.refuse(p)
		case unknown:
			return c.noTag()
		}
		acc := c.acc
		return c.each(found, func(s *subscriber, at time.Time) {
			if add {
				acc.addTags(s, refs, false, "", at)
				return
			}
			for _, ref := range refs {
				if t := acc.tagByName(ref.name); t != nil {
					s.dropTag(t.id)
					s.updated = at
				}
			}
		})
	}
}

func bulkStatus(status string) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		if len(p) > 0 {
			return c.refuse(p)
		}
		return c.each(found, func(s *subscriber, at time.Time) {
			if status == statusBlocked || s.status == statusBlocked {
				s.status = status
				s.updated = at
			}
		})
	}
}

// bulkSuppress suppresses marketing or lifts it. Lifting does not ask who
// suppressed: a customer's own choice goes with the rest, so callers have to be
// careful.
func bulkSuppress(on bool) func(*call) reply {
	return func(c *call) reply {
		var in bulk
		if rep, ok := c.decode(&in); !ok {
			return rep
		}
		p := problems{}
		found := c.references(p, in.Subscribers)
		messages := in.MessageTypes
		if len(messages) == 0 {
			messages = messageTypes
		}
		if slices.ContainsFunc(messages, func(t string) bool { return !slices.Contains(messageTypes, t) }) {
			p.add("message_types", "The message types are email and text_message.")
		}
		if len(p) > 0 {
			return c.refuse(p)
		}
		acc := c.acc
		return c.each(found, func(s *subscriber, at time.Time) {
			for _, m := range messages {
				if on {
					acc.suppress(s, dispatcherCampaign, m, "api", at)
				} else {
					s.lift(dispatcherCampaign, m)
				}
			}
		})
	}
}
