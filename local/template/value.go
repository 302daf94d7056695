package template

import (
	"fmt"
	"strings"
)

// Value is a property that may name resources, such as a queue's URL. Parameters
// and pseudo parameters are already resolved; what is left are texts and
// references, to be put together in order.
type Value []Part

// Part is a text or, when Ref is set, a reference to a resource.
type Part struct {
	Text string
	Ref  string // logical id
	Attr string // the attribute of !GetAtt, "" for !Ref
}

// Literal returns the value as text and whether it is free of references.
func (v Value) Literal() (string, bool) {
	var b strings.Builder
	for _, p := range v {
		if p.Ref != "" {
			return "", false
		}
		b.WriteString(p.Text)
	}
	return b.String(), true
}

// Reference returns the logical id and attribute of a value that is one
// reference and nothing else.
func (v Value) Reference() (id, attr string, ok bool) {
	if len(v) != 1 || v[0].Ref == "" {
		return "", "", false
	}
	return v[0].Ref, v[0].Attr, true
}

// Resolve puts the value together, asking lookup what each reference stands for.
// attr is "" for !Ref. The error is lookup's, with the reference it was asked.
func (v Value) Resolve(lookup func(id, attr string) (string, error)) (string, error) {
	var b strings.Builder
	for _, p := range v {
		if p.Ref == "" {
			b.WriteString(p.Text)
			continue
		}
		s, err := lookup(p.Ref, p.Attr)
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", p, err)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// String returns the value for people, references as ${Id} or ${Id.Attr}.
func (v Value) String() string {
	var b strings.Builder
	for _, p := range v {
		b.WriteString(p.String())
	}
	return b.String()
}

// String returns the text, or the reference as ${Id} or ${Id.Attr}.
func (p Part) String() string {
	switch {
	case p.Ref == "":
		return p.Text
	case p.Attr == "":
		return "${" + p.Ref + "}"
	default:
		return "${" + p.Ref + "." + p.Attr + "}"
	}
}
