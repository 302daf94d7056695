package fakerule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// One checked entry of POST /v2/subscribers.
type upsert struct {
	who      identity
	language string
	writes   []write
}

// A batch is a checked POST /v2/subscribers.
type batch struct {
	entries  []upsert
	tags     []tagRef
	update   bool
	clear    bool
	optIn    bool
	mode     string
	sync     *bool
	language string
}

// outcome counts what a batch did.
type outcome struct {
	subscribers      []*subscriber
	created, updated int
}

func postSubscribers(c *call) reply {
	var in struct {
		Subscribers       json.RawMessage `json:"subscribers"`
		Tags              json.RawMessage `json:"tags"`
		UpdateOnDuplicate json.RawMessage `json:"update_on_duplicate"`
		Automation        json.RawMessage `json:"automation"`
		SyncSubscribers   json.RawMessage `json:"sync_subscribers"`
		FieldsClear       json.RawMessage `json:"fields_clear"`
		RequireOptIn      json.RawMessage `json:"require_opt_in"`
		Language          json.RawMessage `json:"language"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	var list []json.RawMessage
	single := len(in.Subscribers) > 0 && in.Subscribers[0] == '{'
	switch {
	case single:
		list = []json.RawMessage{in.Subscribers}
	case json.Unmarshal(in.Subscribers, &list) != nil || len(list) == 0:
		return c.refuseOne("subscribers", "Must be an object or an array that is not empty.")
	case len(list) > maxBatch:
		return c.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", fmt.Sprintf("At most %d subscribers in one call.", maxBatch))
	}
	isSet := func(b *bool) bool { return b != nil && *b }
	b := batch{
		update:   isSet(flag(p, "update_on_duplicate", in.UpdateOnDuplicate)),
		clear:    isSet(flag(p, "fields_clear", in.FieldsClear)),
		optIn:    isSet(flag(p, "require_opt_in", in.RequireOptIn)),
		mode:     readAutomation(p, in.Automation, "reset", "force"),
		sync:     flag(p, "sync_subscribers", in.SyncSubscribers),
		language: readLanguage(p, "language", in.Language),
	}
	unknownTag := false
	if len(in.Tags) > 0 {
		b.tags, unknownTag = c.readTags(p, "tags", in.Tags)
	}
	known := types{}
	for i, raw := range list {
		prefix := ""
		if !single {
			prefix = fmt.Sprintf("subscribers.%d.", i)
		}
		b.entries = append(b.entries, c.readUpsert(p, prefix, raw, known))
	}
	switch {
	case len(p) > 0:
		return c.refuse(p)
	case unknownTag:
		return c.noTag()
	case len(list) > c.srv.opt.AsyncAbove:
		acc := c.acc
		acc.later(c.now, func(at time.Time) { acc.apply(b, at) })
		return jsonReply(http.StatusOK, map[string]any{"success": true, "message": "Success"})
	}
	foreseen := c.acc.plan()
	for _, e := range b.entries {
		exists, clash := foreseen.upsert(e.who)
		switch {
		case clash:
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Email and phone number belong to different subscribers")
		case exists && !b.update:
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Subscriber already exists")
		}
	}
	done := c.acc.apply(b, c.now)
	var suppressed []any
	seen := map[int64]bool{}
	for _, s := range done.subscribers {
		if !seen[s.id] {
			suppressed = append(suppressed, s.suppressionsJSON(true)...)
		}
		seen[s.id] = true
	}
	if single {
		out := map[string]any{"message": "Success", "subscriber": c.acc.subscriberJSON(done.subscribers[0])}
		if len(suppressed) > 0 {
			out["suppressed"] = suppressed
		}
		return jsonReply(http.StatusOK, out)
	}
	shown, held := make([]any, 0, len(done.subscribers)), 0
	for _, s := range done.subscribers {
		shown = append(shown, c.acc.subscriberJSON(s))
		if len(s.suppressions) > 0 {
			held++
		}
	}
	out := map[string]any{"success": true, "message": "Success"}
	with := c.srv.opt.BatchAnswer
	if with == BatchInFull || with == BatchCounts {
		out["subscribers_created"], out["subscribers_updated"], out["subscribers_suppressed"] = done.created, done.updated, held
	}
	if with == BatchSubscribers {
		slices.Reverse(shown)
	}
	if with == BatchInFull || with == BatchSubscribers {
		out["subscribers"] = shown
	}
	if len(suppressed) > 0 && with == BatchInFull {
		out["suppressed"] = suppressed
	}
	return jsonReply(http.StatusOK, out)
}

func (c *call) readUpsert(p problems, prefix string, raw json.RawMessage, known types) upsert {
	var in struct {
		Email       json.RawMessage `json:"email"`
		PhoneNumber json.RawMessage `json:"phone_number"`
		Language    json.RawMessage `json:"language"`
		Fields      json.RawMessage `json:"fields"`
	}
	if raw[0] != '{' || json.Unmarshal(raw, &in) != nil {
		p.add(strings.TrimSuffix(prefix, "."), "Must be an object.")
		return upsert{}
	}
	before := len(p)
	e := upsert{who: readIdentity(p, prefix, in.Email, in.PhoneNumber)}
	if len(p) == before && e.who == (identity{}) {
		p.add(prefix+"email", "An email or a phone number is needed.")
	}
	e.language = readLanguage(p, prefix+"language", in.Language)
	e.writes = c.readFields(p, prefix+"fields", in.Fields, known)
	return e
}

func (c *call) noTag() reply {
	return c.fail(http.StatusNotFound, "TagNotFound", "Could not find tag")
}

// apply writes a batch. An entry that cannot be written by now, because of what
// came between, is left out: nobody is waiting for its answer any more.
func (a *account) apply(b batch, at time.Time) outcome {
	var done outcome
	for i, e := range b.entries {
		s, clash := a.match(e.who)
		if clash || (s != nil && !b.update) {
			continue
		}
		language := cmp.Or(e.language, b.language)
		if s == nil {
			status := statusActive
			if b.optIn {
				status = statusPending
			}
			s = a.add(e.who, cmp.Or(language, defaultLanguage), status, at)
			done.created++
		} else {
			a.identify(s, e.who)
			if language != "" {
				s.language = language
			}
			s.updated = at
			done.updated++
		}
		if b.clear {
			s.entries = nil // the entries of historical groups too
		}
		a.write(s, e.writes, at)
		fire := len(b.entries) < fireBelow
		if b.sync != nil {
			fire = *b.sync && i < fireAtMost
		}
		a.addTags(s, b.tags, fire, b.mode, at)
		done.subscribers = append(done.subscribers, s)
	}
	return done
}
