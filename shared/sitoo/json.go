// Package sitoo holds Sitoo's wire types: the contacts of the Custom CRM SPI v1
// and the order object. It reads them liberally, as the contract asks: unknown
// members are ignored, a number may come as a string and a string as a number.
// What cannot be read is a fault.Invalid error that names the member.
package sitoo

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/fault"
)

// maxDepth is deeper than anything Sitoo nests (an order goes to 4).
const maxDepth = 32

// Check reports whether body is one JSON object that is safe to decode: valid
// UTF-8, no member twice in one object, not nested deeper than any document of
// Sitoo's. The error is fault.Invalid.
func Check(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return fault.Say(fault.Invalid, "body_empty")
	}
	if !utf8.Valid(body) {
		return fault.Say(fault.Invalid, "body_not_utf8")
	}
	type level struct {
		seen map[string]struct{} // nil in an array
		key  bool                // the next string is a member's name
		name string
	}
	var stack []level
	path := func() string {
		var names []string
		for _, l := range stack {
			if l.name != "" {
				names = append(names, l.name)
			}
		}
		return cut(strings.Join(names, "."), 120)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for first := true; ; first = false {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) && len(stack) == 0 {
			return nil
		}
		if err != nil { // io.EOF inside the object too: Token does not mind
			return fault.Say(fault.Invalid, "body_not_json", "byte", dec.InputOffset()).With(err)
		}
		if first && tok != json.Delim('{') {
			return fault.Say(fault.Invalid, "body_not_object")
		}
		if !first && len(stack) == 0 {
			return fault.Say(fault.Invalid, "body_goes_on")
		}
		if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
			stack = stack[:len(stack)-1]
		} else if n := len(stack); n > 0 && stack[n-1].key {
			name, _ := tok.(string)
			top := &stack[n-1]
			if _, twice := top.seen[name]; twice {
				top.name = memberName(name)
				return doubled(path())
			}
			top.seen[name] = struct{}{}
			top.key, top.name = false, memberName(name)
			continue
		} else if ok {
			if n == maxDepth {
				return fault.SayBad(path(), "member_deep", "levels", maxDepth)
			}
			if d == '{' {
				stack = append(stack, level{seen: map[string]struct{}{}, key: true})
			} else {
				stack = append(stack, level{})
			}
			continue
		}
		if n := len(stack); n > 0 && stack[n-1].seen != nil {
			stack[n-1].key, stack[n-1].name = true, ""
		}
	}
}

// CheckKnown is Check for a body of which only the members that are known are
// read: what the others hold, and how often they are there, refuses nothing.
func CheckKnown(body []byte, known ...string) error {
	seen, odd := map[string]bool{}, false
	var bad error
	err := walk(body, func(name string, value json.RawMessage) {
		if !slices.Contains(known, name) {
			odd = odd || !sound(value)
			return
		}
		if seen[name] && bad == nil {
			bad = doubled(name)
		}
		seen[name] = true
		if bad == nil {
			bad = Check(slices.Concat([]byte("{"), quote(name), []byte(":"), value, []byte("}")))
			if f := fault.As(bad); f != nil && strings.HasPrefix(f.Member, name+".") {
				bad = nil // inside what is no object: who reads it says that
			}
		}
	})
	if err != nil || odd || len(body) == 0 || bytes.TrimSpace(body)[0] != '{' {
		return cmp.Or(Check(body), bad)
	}
	return bad
}

// sound reports whether a value that is not read is JSON, as far as Go reads: it
// gives up on what is nested too deep.
func sound(value []byte) bool {
	const deep = 9000
	return json.Valid(bytes.ToValidUTF8(value, nil)) || bytes.Count(value, []byte("["))+bytes.Count(value, []byte("{")) > deep
}

func doubled(path string) error {
	return fault.SayBad(path, "member_twice")
}

// memberName returns a member's name as it may stand in a sentence and in the
// log: what is no name could be anything, a person's included.
func memberName(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return "?"
	}
	return cut(s, 60)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// object reads the members of one JSON object, keeping the first error.
type object struct {
	path    string // "" or "orderitems[3]."
	members map[string]json.RawMessage
	err     *error
}

func newObject(raw []byte, path string, err *error) object {
	o := object{path: path, err: err}
	o.members = map[string]json.RawMessage{}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || walk(raw, func(name string, value json.RawMessage) { o.members[name] = value }) != nil {
		o.fail("", "body_not_object")
	}
	return o
}

// fail keeps a sentence of the catalogue about a member.
func (o object) fail(name, code string, args ...any) {
	if *o.err == nil {
		*o.err = fault.SayBad(strings.Trim(o.path+name, "."), code, args...)
	}
}

// raw returns a member, ok false if it is absent or null.
func (o object) raw(name string) (json.RawMessage, bool) {
	raw, ok := o.members[name]
	if !ok || string(raw) == "null" {
		return nil, false
	}
	return raw, true
}

// text returns a string; a number or a bool is taken as its JSON.
func (o object) text(name string) string {
	raw, ok := o.raw(name)
	if !ok {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if raw[0] == '{' || raw[0] == '[' {
		o.fail(name, "member_not_text")
		return ""
	}
	return string(raw)
}

// flag returns a bool, given as one, as a string or as 0 and 1.
func (o object) flag(name string) bool {
	switch strings.ToLower(strings.TrimSpace(o.text(name))) {
	case "true", "1":
		return true
	case "false", "0", "":
		return false
	}
	o.fail(name, "yes_or_no")
	return false
}

// money returns an amount; 0 if absent.
func (o object) money(name string) decimal.Decimal {
	s := strings.TrimSpace(o.text(name))
	if s == "" {
		return decimal.Zero
	}
	d, ok := parseAmount(s)
	if !ok {
		o.fail(name, "amount_wrong")
	}
	return d
}

// strings returns an array of strings; a single value is an array of one.
func (o object) strings(name string) []string {
	raw, ok := o.raw(name)
	if !ok {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		if s := o.text(name); s != "" {
			return []string{s}
		}
		return nil
	}
	list := []string{}
	for i, item := range items {
		one := object{path: o.path, members: map[string]json.RawMessage{name: item}, err: o.err}
		if len(item) > 0 && (item[0] == '{' || item[0] == '[') {
			o.fail(name+"["+strconv.Itoa(i)+"]", "member_not_text")
			continue
		}
		if s := one.text(name); s != "" {
			list = append(list, s)
		}
	}
	return list
}
