package fakerule

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// newest returns the entries as the page shows them: newest first, not too
// many.
func newest(g Group) []Entry {
	list := slices.Clone(g.Entries)
	slices.Reverse(list)
	return list[:min(len(list), maxShownEntries)]
}

// A table is a json value that is an array of objects: one row for each, a
// column for each member, in the order in which they come up.
type table struct {
	Head []string
	Rows [][]string
}

// readTable makes a table of a json field's value, nil if it is not of that
// shape.
func readTable(f Field) *table {
	if f.Type != "json" {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal([]byte(f.Value), &list) != nil || len(list) == 0 {
		return nil
	}
	t := &table{}
	var rows []map[string]string
	for _, raw := range list {
		row := map[string]string{}
		d := json.NewDecoder(bytes.NewReader(raw))
		if open, err := d.Token(); err != nil || open != json.Delim('{') {
			return nil
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil
			}
			name, _ := key.(string)
			var cell json.RawMessage
			if d.Decode(&cell) != nil {
				return nil
			}
			var text string
			switch { // what is nested stands there as JSON
			case cell[0] == '"' && json.Unmarshal(cell, &text) == nil:
			case string(cell) != "null":
				text = string(cell)
			}
			row[name] = text
			if !slices.Contains(t.Head, name) {
				t.Head = append(t.Head, name)
			}
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		cells := make([]string, len(t.Head))
		for i, name := range t.Head {
			cells[i] = row[name]
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// shown is a field's value as Rule's own pages print it: the choices of a
// multiple field with commas between them.
func shown(f Field) string {
	var list []string
	if f.Type == "multiple" && json.Unmarshal([]byte(f.Value), &list) == nil {
		return strings.Join(list, ", ")
	}
	return f.Value
}

// title is what a subscriber is called on the page.
func title(s Subscriber) string {
	return calling(s.Email, s.Phone, s.Custom)
}

func calling(identifiers ...string) string {
	return strings.Join(slices.DeleteFunc(identifiers, func(x string) bool { return x == "" }), " · ")
}
