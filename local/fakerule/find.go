package fakerule

import (
	"slices"
	"strconv"
	"strings"
)

// finder returns what says whether a subscriber has what is looked for: the
// phone number in any spelling, or every word of it somewhere in the email
// address, phone number, ids and texts, without regard to case.
func finder(wanted string) func(*subscriber) bool {
	words := strings.Fields(strings.ToLower(wanted))
	phone, isPhone := normalPhone(wanted)
	return func(s *subscriber) bool {
		if isPhone && s.phone == phone {
			return true
		}
		return !slices.ContainsFunc(words, func(word string) bool { return !s.says(word) })
	}
}

// says tells whether one word, in lower case, is there.
func (s *subscriber) says(word string) bool {
	for _, text := range []string{s.email, s.phone, s.custom, strconv.FormatInt(s.id, 10)} {
		if strings.Contains(strings.ToLower(text), word) {
			return true
		}
	}
	for _, e := range s.entries {
		for _, v := range e.values {
			if text, ok := v.data.(string); ok && strings.Contains(strings.ToLower(text), word) {
				return true
			}
		}
	}
	return false
}

// name is what a subscriber is called by the fields that the till and web shops
// fill, "" if there is nothing.
func name(s Subscriber) string {
	for _, keys := range [][2]string{
		{"Sitoo-Contact.namefirst", "Sitoo-Contact.namelast"},
		{"Subscriber.FirstName", "Subscriber.LastName"},
	} {
		first, _ := s.Field(keys[0])
		last, _ := s.Field(keys[1])
		if both := strings.TrimSpace(first.Value + " " + last.Value); both != "" {
			return both
		}
	}
	return ""
}

// headline says whether a field belongs in the line that stands for an entry.
func headline(field string) bool {
	return slices.Contains([]string{"orderid", "ordertype", "total", "Number", "Total"}, field)
}
