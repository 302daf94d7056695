package fakerule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

func putSubscriber(c *call) reply {
	s := c.acc.find("id", c.args[0])
	if s == nil {
		return c.noSubscriber()
	}
	var in struct {
		Email       json.RawMessage `json:"email"`
		PhoneNumber json.RawMessage `json:"phone_number"`
		Language    json.RawMessage `json:"language"`
		Fields      json.RawMessage `json:"fields"`
		Tags        json.RawMessage `json:"tags"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	who := readIdentity(p, "", in.Email, in.PhoneNumber)
	language := readLanguage(p, "language", in.Language)
	writes := c.readFields(p, "fields", in.Fields, types{})
	var refs []tagRef
	unknownTag := false
	if len(in.Tags) > 0 {
		refs, unknownTag = c.readTags(p, "tags", in.Tags)
	}
	// Null or an empty string takes an identifier away, except for the last
	// one (assumed).
	noEmail := len(p) == 0 && len(in.Email) > 0 && who.email == ""
	noPhone := len(p) == 0 && len(in.PhoneNumber) > 0 && who.phone == ""
	left := identity{email: s.email, phone: s.phone, custom: s.custom}
	if noEmail || who.email != "" {
		left.email = who.email
	}
	if noPhone || who.phone != "" {
		left.phone = who.phone
	}
	if len(p) == 0 && left == (identity{}) {
		p.add("email", "An email or a phone number is needed.")
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	if unknownTag {
		return c.noTag()
	}
	for _, other := range []int64{c.acc.byEmail[who.email], c.acc.byPhone[who.phone]} {
		if other != 0 && other != s.id {
			return c.fail(http.StatusConflict, "DuplicateSubscriber", "Subscriber already exists")
		}
	}
	if noEmail {
		delete(c.acc.byEmail, s.email)
		s.email = ""
	}
	if noPhone {
		delete(c.acc.byPhone, s.phone)
		s.phone = ""
	}
	c.acc.identify(s, who)
	if language != "" {
		s.language = language
	}
	s.updated = c.now
	c.acc.write(s, writes, c.now)
	c.acc.addTags(s, refs, true, "", c.now)
	return getSubscriber(c, s)
}

func deleteSubscriber(c *call, s *subscriber) reply {
	c.acc.remove(s)
	return jsonReply(http.StatusOK, success)
}

// deleteSubscribers takes objects with one identifier, bare emails and bare
// ids; whoever does not exist is passed over.
func deleteSubscribers(c *call) reply {
	var in struct {
		Subscribers []json.RawMessage `json:"subscribers"`
	}
	if rep, ok := c.decode(&in); !ok {
		return rep
	}
	p := problems{}
	var found []*subscriber
	if len(in.Subscribers) == 0 || len(in.Subscribers) > maxBatch {
		p.add("subscribers", fmt.Sprintf("Must be an array of 1 to %d subscribers.", maxBatch))
	}
	for i, raw := range in.Subscribers {
		by, x, ok := readReference(raw)
		if !ok {
			p.add(fmt.Sprintf("subscribers.%d", i), "Must have exactly one identifier.")
			continue
		}
		if s := c.acc.find(by, x); s != nil {
			found = append(found, s)
		}
	}
	if len(p) > 0 {
		return c.refuse(p)
	}
	for _, s := range found {
		c.acc.remove(s)
	}
	return jsonReply(http.StatusOK, success)
}

// readReference reads one entry of a bulk call: an object with exactly one
// identifier, or for short an email or an id.
func readReference(raw json.RawMessage) (by, x string, ok bool) {
	members := map[string]json.RawMessage{}
	switch {
	case raw[0] == '"':
		members["email"] = raw
	case raw[0] != '{':
		members["id"] = raw
	case json.Unmarshal(raw, &members) != nil:
		return "", "", false
	}
	for _, name := range []string{"id", "email", "phone_number", "custom_identifier"} {
		value, has := members[name]
		if !has || string(value) == "null" {
			continue
		}
		if by != "" {
			return "", "", false
		}
		by = name
		if json.Unmarshal(value, &x) != nil {
			x = string(bytes.TrimSpace(value))
			if _, digits := number(x); name != "id" || !digits {
				return "", "", false
			}
		}
	}
	return by, x, by != "" && x != ""
}
