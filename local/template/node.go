package template

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A template is at most 1 MB for CloudFormation; the limits here keep aliases
// that multiply from using up the machine.
const (
	maxDepth = 100
	maxNodes = 200_000
)

type kind int

const (
	null kind = iota
	scalar
	sequence
	mapping
	call // an intrinsic function, short or long form
)

func (k kind) String() string {
	return [...]string{"nothing", "a scalar", "a list", "a mapping", "an intrinsic function"}[k]
}

// node is the template with both spellings of intrinsic functions (!Sub x and
// Fn::Sub: x) made one, and aliases followed.
type node struct {
	kind  kind
	text  string   // scalar's text; name of a call without Fn::
	items []*node  // sequence; a call's one argument
	keys  []string // mapping, in the order of the file
	vals  map[string]*node
	line  int
}

func (n *node) get(key string) *node {
	if n == nil || n.kind != mapping {
		return nil
	}
	return n.vals[key]
}

func convert(y *yaml.Node, depth int, nodes *int) (*node, error) {
	*nodes++
	if depth > maxDepth || *nodes > maxNodes {
		return nil, fmt.Errorf("line %d: the template is nested or repeated beyond reason", y.Line)
	}
	if y.Kind == yaml.AliasNode {
		return convert(y.Alias, depth+1, nodes)
	}
	n := &node{line: y.Line}
	switch y.Kind {
	case yaml.ScalarNode:
		n.kind, n.text = scalar, y.Value
		if y.Tag == "!!null" {
			n.kind = null
		}
	case yaml.SequenceNode:
		n.kind = sequence
		for _, c := range y.Content {
			item, err := convert(c, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case yaml.MappingNode:
		n.kind, n.vals = mapping, make(map[string]*node, len(y.Content)/2)
		for i := 0; i+1 < len(y.Content); i += 2 {
			k, v := y.Content[i], y.Content[i+1]
			if k.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: a key is not text", k.Line)
			}
			if _, twice := n.vals[k.Value]; twice {
				return nil, fmt.Errorf("line %d: the key %q is there twice", k.Line, k.Value)
			}
			val, err := convert(v, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, k.Value)
			n.vals[k.Value] = val
		}
	default:
		return nil, fmt.Errorf("line %d: unexpected YAML", y.Line)
	}
	if name, ok := strings.CutPrefix(y.Tag, "!"); ok && name != "" && !strings.HasPrefix(name, "!") {
		return &node{kind: call, text: name, items: []*node{n}, line: y.Line}, nil
	}
	if n.kind == mapping && len(n.keys) == 1 {
		key := n.keys[0]
		name, fn := strings.CutPrefix(key, "Fn::")
		// Condition: X is an intrinsic only where a condition is expected;
		// there evaluator.condition reads the mapping.
		if fn || key == "Ref" {
			return &node{kind: call, text: name, items: []*node{n.vals[key]}, line: y.Line}, nil
		}
	}
	return n, nil
}
