package fakesitoo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
// nil.
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
	case json.RawMessage:
		return append(buf, v...), nil
	case string:
		return appendText(buf, v), nil
	}
	data, err := json.Marshal(v)
	return append(buf, data...), err
}

// appendText writes a string, the way json.Marshal would.
func appendText(buf []byte, v string) []byte {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			data, err := json.Marshal(v)
			if err != nil {
				panic("fakesitoo: encode a text: " + err.Error()) // a string always encodes
			}
			return append(buf, data...)
		}
	}
	return append(append(append(buf, '"'), v...), '"')
}

// writer writes one JSON object, the members that keep wants.
type writer struct {
	buf  []byte
	keep map[string]bool // nil for all
	some bool            // a member is written
}

func begin(buf []byte, keep map[string]bool) writer { return writer{buf: append(buf, '{'), keep: keep} }

func (w *writer) end() []byte { return append(w.buf, '}') }

// member writes a member's name and reports whether its value is to follow.
func (w *writer) member(name string) bool {
	if w.keep != nil && !w.keep[name] {
		return false
	}
	if w.some {
		w.buf = append(w.buf, ',')
	}
	w.some = true
	w.buf = append(appendText(w.buf, name), ':')
	return true
}

func (w *writer) null(name string) {
	if w.member(name) {
		w.buf = append(w.buf, "null"...)
	}
}

func (w *writer) text(name, v string) {
	if w.member(name) {
		w.buf = appendText(w.buf, v)
	}
}

func (w *writer) orNull(name, v string) {
	if v == "" {
		w.null(name)
		return
	}
	w.text(name, v)
}

func (w *writer) number(name string, v int64) {
	if w.member(name) {
		w.buf = strconv.AppendInt(w.buf, v, 10)
	}
}

func (w *writer) idOrNull(name string, v int64) {
	if v == 0 {
		w.null(name)
		return
	}
	w.number(name, v)
}

func (w *writer) money(name string, v ore) {
	if w.member(name) {
		w.buf = append(appendFixed(append(w.buf, '"'), int64(v), 2), '"')
	}
}

func (w *writer) amount(name string, v milli) {
	if w.member(name) {
		w.buf = append(appendFixed(append(w.buf, '"'), int64(v), 3), '"')
	}
}

// pair is a member that is a text.
type pair struct{ name, value string }

// texts writes an object of texts by name. Of a name in both, texts counts.
func (w *writer) texts(name string, texts map[string]string, more ...pair) {
	if !w.member(name) {
		return
	}
	var room [20]pair
	all := room[:0]
	for k, v := range texts {
		all = append(all, pair{k, v})
	}
	for _, p := range more {
		if _, has := texts[p.name]; !has {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	o := begin(w.buf, nil)
	for _, p := range all {
		o.text(p.name, p.value)
	}
	w.buf = o.end()
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
