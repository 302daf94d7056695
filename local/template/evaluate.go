package template

import (
	"fmt"
	"strconv"
	"strings"
)

// evaluator works out intrinsic functions with every parameter at its default.
type evaluator struct {
	params     map[string]string
	conditions *node
	mappings   *node
	resources  *node
	pending    map[string]bool // conditions being worked out, to refuse circles
	known      map[string]bool // conditions already worked out
}

func newEvaluator(root *node) *evaluator {
	e := &evaluator{
		params:     map[string]string{},
		conditions: root.get("Conditions"),
		mappings:   root.get("Mappings"),
		resources:  root.get("Resources"),
		pending:    map[string]bool{},
		known:      map[string]bool{},
	}
	if ps := root.get("Parameters"); ps != nil && ps.kind == mapping {
		for _, name := range ps.keys {
			e.params[name] = ""
			if d := ps.vals[name].get("Default"); d != nil && d.kind == scalar {
				e.params[name] = d.text
			}
		}
	}
	return e
}

var pseudo = map[string]string{
	"AWS::Region":    Region,
	"AWS::AccountId": AccountID,
	"AWS::Partition": Partition,
	"AWS::StackName": Stack,
	"AWS::StackId":   "arn:" + Partition + ":cloudformation:" + Region + ":" + AccountID + ":stack/" + Stack + "/local",
	"AWS::URLSuffix": "amazonaws.com",
}

// resolve follows Fn::If and AWS::NoValue: nil means that the property is not
// there. Other intrinsic functions stay.
func (e *evaluator) resolve(n *node) (*node, error) {
	// Each turn descends one level, and convert has limited the depth.
	for n != nil && n.kind == call {
		switch n.text {
		case "Ref":
			if n.items[0].kind == scalar && n.items[0].text == "AWS::NoValue" {
				return nil, nil
			}
			return n, nil
		case "If":
			arg := n.items[0]
			if arg.kind != sequence || len(arg.items) != 3 || arg.items[0].kind != scalar {
				return nil, fmt.Errorf("line %d: Fn::If takes a condition's name and two values", n.line)
			}
			yes, err := e.named(arg.items[0].text, n.line)
			if err != nil {
				return nil, err
			}
			if yes {
				n = arg.items[1]
			} else {
				n = arg.items[2]
			}
		default:
			return n, nil
		}
	}
	if n != nil && n.kind == null {
		return nil, nil
	}
	return n, nil
}

// value evaluates a property that becomes text.
func (e *evaluator) value(n *node) (Value, error) {
	n, err := e.resolve(n)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, nil
	}
	switch n.kind {
	case scalar:
		return Value{{Text: n.text}}, nil
	case call:
		return e.call(n)
	default:
		return nil, fmt.Errorf("is %s, expected text", n.kind)
	}
}

func (e *evaluator) call(n *node) (Value, error) {
	arg := n.items[0]
	switch n.text {
	case "Ref":
		if arg.kind != scalar {
			return nil, fmt.Errorf("line %d: Ref takes a name", n.line)
		}
		return e.reference(arg.text, n.line)
	case "GetAtt":
		id, attr := "", ""
		switch {
		case arg.kind == scalar:
			id, attr, _ = strings.Cut(arg.text, ".")
		case arg.kind == sequence && len(arg.items) == 2 && arg.items[0].kind == scalar && arg.items[1].kind == scalar:
			id, attr = arg.items[0].text, arg.items[1].text
		}
		return e.attribute(id, attr, n.line)
	case "Sub":
		return e.sub(arg, n.line)
	case "Join":
		if arg.kind != sequence || len(arg.items) != 2 || arg.items[0].kind != scalar || arg.items[1].kind != sequence {
			return nil, fmt.Errorf("line %d: Fn::Join takes a separator and a list", n.line)
		}
		var v Value
		for i, item := range arg.items[1].items {
			if i > 0 {
				v = append(v, Part{Text: arg.items[0].text})
			}
			part, err := e.value(item)
			if err != nil {
				return nil, err
			}
			v = append(v, part...)
		}
		return v, nil
	case "Select":
		if arg.kind == sequence && len(arg.items) == 2 && arg.items[0].kind == scalar && arg.items[1].kind == sequence {
			i, err := strconv.Atoi(arg.items[0].text)
			if err == nil && i >= 0 && i < len(arg.items[1].items) {
				return e.value(arg.items[1].items[i])
			}
		}
		return nil, fmt.Errorf("line %d: Fn::Select takes an index and a list that has it", n.line)
	case "FindInMap":
		at := e.mappings
		if arg.kind != sequence || len(arg.items) != 3 {
			return nil, fmt.Errorf("line %d: Fn::FindInMap takes a map and two keys", n.line)
		}
		for _, item := range arg.items {
			key, err := e.text(item)
			if err != nil {
				return nil, err
			}
			if at = at.get(key); at == nil {
				return nil, fmt.Errorf("line %d: Fn::FindInMap: no mapping has %q", n.line, key)
			}
		}
		return e.value(at)
	default:
		return nil, fmt.Errorf("line %d: the intrinsic function %q is not supported locally", n.line, n.text)
	}
}

func (e *evaluator) reference(name string, line int) (Value, error) {
	if s, ok := pseudo[name]; ok {
		return Value{{Text: s}}, nil
	}
	if s, ok := e.params[name]; ok {
		return Value{{Text: s}}, nil
	}
	if e.resources.get(name) == nil && !implicit(name) {
		return nil, fmt.Errorf("line %d: %q is neither a parameter nor a resource", line, name)
	}
	return Value{{Ref: name}}, nil
}

func (e *evaluator) attribute(id, attr string, line int) (Value, error) {
	if id == "" || attr == "" {
		return nil, fmt.Errorf("line %d: Fn::GetAtt takes a resource and an attribute", line)
	}
	if e.resources.get(id) == nil && !implicit(id) {
		return nil, fmt.Errorf("line %d: %q is not a resource", line, id)
	}
	return Value{{Ref: id, Attr: attr}}, nil
}

// implicit tells of the resources that SAM adds.
func implicit(id string) bool { return strings.HasPrefix(id, "ServerlessRestApi") }

func (e *evaluator) sub(arg *node, line int) (Value, error) {
	var own *node
	if arg.kind == sequence && len(arg.items) == 2 && arg.items[1].kind == mapping {
		arg, own = arg.items[0], arg.items[1]
	}
	if arg.kind != scalar {
		return nil, fmt.Errorf("line %d: Fn::Sub takes a text, or a text and a mapping", line)
	}
	var v Value
	rest := arg.text
	for {
		before, after, found := strings.Cut(rest, "${")
		if before != "" {
			v = append(v, Part{Text: before})
		}
		if !found {
			return v, nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("line %d: Fn::Sub: ${ without }", line)
		}
		rest = tail
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			v = append(v, Part{Text: "${" + literal + "}"})
			continue
		}
		name = strings.TrimSpace(name)
		var (
			part Value
			err  error
		)
		if n := own.get(name); n != nil {
			part, err = e.value(n)
		} else if id, attr, dotted := strings.Cut(name, "."); dotted {
			part, err = e.attribute(id, attr, line)
		} else {
			part, err = e.reference(name, line)
		}
		if err != nil {
			return nil, err
		}
		v = append(v, part...)
	}
}

// text evaluates a property that must be known without any resource.
func (e *evaluator) text(n *node) (string, error) {
	v, err := e.value(n)
	if err != nil {
		return "", err
	}
	s, ok := v.Literal()
	if !ok {
		return "", fmt.Errorf("refers to %s, expected a value that is known before deployment", v)
	}
	return s, nil
}

func (e *evaluator) named(name string, line int) (bool, error) {
	n := e.conditions.get(name)
	if n == nil {
		return false, fmt.Errorf("line %d: there is no condition %q", line, name)
	}
	if e.pending[name] {
		return false, fmt.Errorf("line %d: the condition %q depends on itself", line, name)
	}
	if yes, ok := e.known[name]; ok {
		return yes, nil
	}
	e.pending[name] = true
	defer delete(e.pending, name)
	yes, err := e.condition(n)
	if err == nil {
		e.known[name] = yes
	}
	return yes, err
}

func (e *evaluator) condition(n *node) (bool, error) {
	if n.kind == mapping && len(n.keys) == 1 && n.keys[0] == "Condition" && n.vals["Condition"].kind == scalar {
		return e.named(n.vals["Condition"].text, n.line)
	}
	if n.kind != call {
		return false, fmt.Errorf("line %d: a condition is an intrinsic function", n.line)
	}
	arg := n.items[0]
	if n.text == "Condition" && arg.kind == scalar {
		return e.named(arg.text, n.line)
	}
	if arg.kind != sequence {
		return false, fmt.Errorf("line %d: Fn::%s takes a list", n.line, n.text)
	}
	switch n.text {
	case "Equals":
		if len(arg.items) != 2 {
			return false, fmt.Errorf("line %d: Fn::Equals takes two values", n.line)
		}
		a, err := e.text(arg.items[0])
		if err != nil {
			return false, err
		}
		b, err := e.text(arg.items[1])
		return a == b, err
	case "Not":
		if len(arg.items) != 1 {
			return false, fmt.Errorf("line %d: Fn::Not takes one condition", n.line)
		}
		b, err := e.condition(arg.items[0])
		return !b, err
	case "And", "Or":
		for _, item := range arg.items {
			b, err := e.condition(item)
			if err != nil {
				return false, err
			}
			if b == (n.text == "Or") {
				return b, nil
			}
		}
		return n.text == "And", nil
	default:
		return false, fmt.Errorf("line %d: Fn::%s is not a condition", n.line, n.text)
	}
}
