package fakerule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// postSuppressionsV2 suppresses at once; whoever does not exist is passed over.
// Without suppress_on it is every campaign channel.
func postSuppressionsV2(c *call) reply {
	var in struct {
		Subscribers []json.RawMessage `json:"subscribers"`
		SuppressOn  *struct {
			Campaign    []string `json:"campaign"`
			Transaction []string `json:"transaction"`
		} `json:"suppress_on"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	on := map[string][]string{dispatcherCampaign: messageTypes}
	if in.SuppressOn != nil {
		on = map[string][]string{dispatcherCampaign: in.SuppressOn.Campaign, dispatcherTransactional: in.SuppressOn.Transaction}
	}
	for _, list := range on {
		if slices.ContainsFunc(list, func(t string) bool { return !slices.Contains(messageTypes, t) }) {
			p.add("suppress_on", "The message types are email and text_message.")
		}
	}
	found := c.references(p, in.Subscribers)
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, find := range found {
		s := find()
		if s == nil {
			continue
		}
		for _, dispatcher := range []string{dispatcherCampaign, dispatcherTransactional} {
			for _, message := range on[dispatcher] {
				c.acc.suppress(s, dispatcher, message, "api", c.now)
			}
		}
	}
	return jsonReply(http.StatusOK, success)
}

func listSuppressions(c *call) reply {
	var all []any
	for _, s := range c.acc.sorted() {
		all = append(all, s.suppressionsJSON(true)...)
	}
	from, to, meta, refused := c.page(len(all))
	if refused != nil {
		return *refused
	}
	list := append([]any{}, all[from:to]...)
	return jsonReply(http.StatusOK, map[string]any{"suppressions": list, "meta": meta})
}

// deleteSuppressionsV2 lifts by dispatcher and message type whoever suppressed.
// The dispatcher is called transaction here and transactional in answers.
func deleteSuppressionsV2(c *call, s *subscriber) reply {
	dispatcher, message := c.query.Get("dispatcher_type"), c.query.Get("message_type")
	p := problems{}
	switch dispatcher {
	case "", dispatcherCampaign:
	case "transaction":
		dispatcher = dispatcherTransactional
	default:
		p.add("dispatcher_type", "Must be campaign or transaction.")
	}
	if message != "" && !slices.Contains(messageTypes, message) {
		p.add("message_type", "Must be email or text_message.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	s.lift(dispatcher, message)
	return jsonReply(http.StatusOK, success)
}

// Preferences

func (c *call) noPreferences() reply {
	return c.fail(http.StatusNotFound, "NotFound", "Preferences are not enabled for this account.")
}

func listPreferenceGroups(c *call) reply {
	if len(c.acc.preferences) == 0 {
		return c.noPreferences()
	}
	list := make([]any, 0, len(c.acc.preferences))
	for _, g := range c.acc.preferences {
		list = append(list, map[string]any{"id": g.ID, "account_id": c.acc.id, "name": g.Name, "preferences": g.Preferences})
	}
	return jsonReply(http.StatusOK, list)
}

func (c *call) preferenceGroup() (PreferenceGroup, bool) {
	id, _ := number(c.args[1])
	i := slices.IndexFunc(c.acc.preferences, func(g PreferenceGroup) bool { return g.ID == id })
	if i < 0 {
		return PreferenceGroup{}, false
	}
	return c.acc.preferences[i], true
}

func getPreferences(c *call, s *subscriber) reply {
	g, ok := c.preferenceGroup()
	if !ok {
		return c.noPreferences()
	}
	list := make([]any, 0, len(g.Preferences))
	for _, p := range g.Preferences {
		in, chosen := s.choices[p.ID]
		if !chosen {
			in = p.FallbackOptIn
		}
		list = append(list, map[string]any{"preference_id": p.ID, "name": p.Name, "is_opted_in": in})
	}
	return jsonReply(http.StatusOK, map[string]any{"id": g.ID, "name": g.Name, "preferences": list})
}

func patchPreferences(c *call, s *subscriber) reply {
	g, ok := c.preferenceGroup()
	if !ok {
		return c.noPreferences()
	}
	if s.status == statusPending {
		return c.fail(http.StatusBadRequest, "BadRequest", "Preferences cannot be changed for a pending subscriber.")
	}
	var in struct {
		Preferences []struct {
			ID json.RawMessage `json:"preference_id"`
			In json.RawMessage `json:"is_opted_in"`
		} `json:"preferences"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	if len(in.Preferences) == 0 {
		p.add("preferences", "Must be an array that is not empty.")
	}
	choices := map[int64]bool{}
	for i, x := range in.Preferences {
		at := fmt.Sprintf("preferences.%d", i)
		id, _ := number(string(x.ID))
		if !slices.ContainsFunc(g.Preferences, func(p Preference) bool { return p.ID == id }) {
			p.add(at+".preference_id", "There is no such preference in this group.")
			continue
		}
		opted := flag(p, at+".is_opted_in", x.In)
		if opted == nil {
			p.add(at+".is_opted_in", "Must be true or false.")
			continue
		}
		choices[id] = *opted
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for id, in := range choices {
		s.choices[id] = in
	}
	s.updated = c.now
	return getPreferences(c, s)
}
