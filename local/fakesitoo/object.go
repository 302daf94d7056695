package fakesitoo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// member is one member of a JSON object.
type member struct {
	name  string
	value any
}

// object is a JSON object whose members keep their order.
type object []member

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) { return o.append(nil, nil) }

// append writes the members that keep wants to buf, all of them if keep is
// nil. It goes through the values itself, as a page of 500 orders through the
// reflection of encoding/json would make every backfill test wait.
func (o object) append(buf []byte, keep map[string]bool) ([]byte, error) {
	buf = append(buf, '{')
	first := true
	for _, m := range o {
		if keep != nil && !keep[m.name] {
			continue
		}
		if !first {
			buf = append(buf, ',')
		}
		first = false
		var err error
		if buf, err = appendValue(buf, m.name); err != nil {
			return nil, err
		}
		if buf, err = appendValue(append(buf, ':'), m.value); err != nil {
			return nil, fmt.Errorf("encode %s: %w", m.name, err)
		}
	}
	return append(buf, '}'), nil
}

// appendValue writes one value to buf, the way json.Marshal would.
func appendValue(buf []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(buf, "null"...), nil
	case int:
		return strconv.AppendInt(buf, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(buf, v, 10), nil
	case ore:
		return append(appendFixed(append(buf, '"'), int64(v), 2), '"'), nil
	case milli:
		return append(appendFixed(append(buf, '"'), int64(v), 3), '"'), nil
	case json.RawMessage:
		return append(buf, v...), nil
	case object:
		return v.append(buf, nil)
	case []object:
		return appendList(buf, v, nil)
	case map[string]string:
		o := make(object, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			o = append(o, member{k, v[k]})
		}
		return o.append(buf, nil)
	case string:
		if plain(v) {
			return append(append(append(buf, '"'), v...), '"'), nil
		}
	}
	data, err := json.Marshal(v)
	return append(buf, data...), err
}

// appendList writes the objects, each with the members that keep wants.
func appendList(buf []byte, list []object, keep map[string]bool) ([]byte, error) {
	buf = append(buf, '[')
	for i, o := range list {
		if i > 0 {
			buf = append(buf, ',')
		}
		var err error
		if buf, err = o.append(buf, keep); err != nil {
			return nil, err
		}
	}
	return append(buf, ']'), nil
}

// plain reports whether s is the same inside a JSON string.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// set replaces a member or adds it at the end.
func (o object) set(name string, value any) object {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

// parseObject reads a JSON object, keeping its members as they are written. Of
// a member that comes twice the last one counts.
func parseObject(data []byte) (object, error) {
	if !json.Valid(data) {
		return nil, errors.New("not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var o object
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read a member's name: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("read %v: %w", name, err)
		}
		o = o.set(name.(string), value)
	}
	return o, nil
}
