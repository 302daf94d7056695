package runtimeapi

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Readable spreads a reply over lines for people: JSON is indented, and so is
// the JSON that an API Gateway reply carries as text in its body. Members come
// sorted by name. What is not JSON is returned as it is.
func Readable(reply []byte) string {
	v, ok := parse(reply)
	if !ok {
		return string(reply)
	}
	if o, is := v.(map[string]any); is {
		if text, is := o["body"].(string); is {
			if body, ok := parse([]byte(text)); ok {
				o["body"] = body
			}
		}
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if e.Encode(v) != nil {
		return string(reply)
	}
	return strings.TrimSuffix(buf.String(), "\n")
}

// parse reads one JSON value, numbers as they are written.
func parse(data []byte) (any, bool) {
	if !json.Valid(data) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err == nil
}
