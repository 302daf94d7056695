// Package templatetest_test checks what template.yaml promises and what
// neither cfn-lint nor `sam validate` looks at: routes, time-outs against
// visibility, policies, gateway responses, alarms, and that the template, the
// functions, their sample events and the README agree.
package templatetest_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// root is the top of the repository, seen from this package.
const root = "../.."

// An object is a YAML mapping. Intrinsic functions are in their long form:
// !Ref X is {"Ref": "X"} and !GetAtt A.B is {"Fn::GetAtt": "A.B"}.
type object = map[string]any

func load(t *testing.T) object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatalf("template.yaml: %v", err)
	}
	v, err := plain(&node)
	if err != nil {
		t.Fatalf("template.yaml: %v", err)
	}
	top, ok := v.(object)
	if !ok {
		t.Fatalf("template.yaml is a %T, want a mapping", v)
	}
	top["Resources"] = expanded(t, top)
	return top
}

// plain turns a node into objects, slices and scalars, and CloudFormation's
// short tags into their long form.
func plain(n *yaml.Node) (any, error) {
	var v any
	switch n.Kind {
	case yaml.DocumentNode:
		return plain(n.Content[0])
	case yaml.MappingNode:
		m := object{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := m[key]; twice {
				return nil, fmt.Errorf("line %d: %s stands twice", n.Content[i].Line, key)
			}
			member, err := plain(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[key] = member
		}
		v = m
	case yaml.SequenceNode:
		s := []any{}
		for _, c := range n.Content {
			member, err := plain(c)
			if err != nil {
				return nil, err
			}
			s = append(s, member)
		}
		v = s
	default:
		if tag := n.Tag; strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
			v = n.Value
			break
		}
		if err := n.Decode(&v); err != nil {
			return nil, fmt.Errorf("line %d: %w", n.Line, err)
		}
	}
	switch tag := n.Tag; {
	case !strings.HasPrefix(tag, "!") || strings.HasPrefix(tag, "!!"):
		return v, nil
	case tag == "!Ref":
		return object{"Ref": v}, nil
	default:
		return object{"Fn::" + tag[1:]: v}, nil
	}
}

// at walks down objects by name; it returns nil where there is nothing.
func at(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(object)
		v = m[name]
	}
	return v
}

func objectAt(v any, path ...string) object { m, _ := at(v, path...).(object); return m }
func listAt(v any, path ...string) []any    { s, _ := at(v, path...).([]any); return s }
func textAt(v any, path ...string) string   { s, _ := at(v, path...).(string); return s }

// number reads a number, also that of a parameter's default. It returns -1 for
// anything else, which no limit in these tests allows.
func number(top object, v any) int {
	if name := textAt(v, "Ref"); name != "" {
		v = at(top, "Parameters", name, "Default")
	}
	switch v := v.(type) {
	case int:
		return v
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	return -1
}

// target is the logical id that !Ref X or !GetAtt X.Arn means, "" if v is
// neither.
func target(v any) string {
	if name := textAt(v, "Ref"); name != "" {
		return name
	}
	name, _, _ := strings.Cut(textAt(v, "Fn::GetAtt"), ".")
	return name
}

// texts returns every string in v, at any depth.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, member := range v {
			all = append(all, texts(member)...)
		}
		return all
	case object:
		var all []string
		for _, member := range v {
			all = append(all, texts(member)...)
		}
		return all
	}
	return nil
}

// A resource is one entry of the template.
type resource struct {
	id   string
	body object
}

func (r resource) at(path ...string) any {
	return at(r.body, append([]string{"Properties"}, path...)...)
}

// resources lists those of a type, sorted by logical id, and fails if there
// are none.
func resources(t *testing.T, top object, kind string) []resource {
	t.Helper()
	var found []resource
	for id, body := range objectAt(top, "Resources") {
		if textAt(body, "Type") == kind {
			found = append(found, resource{id, body.(object)})
		}
	}
	if len(found) == 0 {
		t.Fatalf("the template has no %s", kind)
	}
	slices.SortFunc(found, func(a, b resource) int { return cmp.Compare(a.id, b.id) })
	return found
}

func functions(t *testing.T, top object) []resource {
	t.Helper()
	return resources(t, top, "AWS::Serverless::Function")
}

// setting is a property of a function, its own or the one of Globals.
func setting(top object, f resource, path ...string) any {
	if v := f.at(path...); v != nil {
		return v
	}
	return at(top, append([]string{"Globals", "Function"}, path...)...)
}

// environment is what a function finds in its environment, Globals included.
func environment(top object, f resource) object {
	env := object{}
	maps.Copy(env, objectAt(top, "Globals", "Function", "Environment", "Variables"))
	maps.Copy(env, objectAt(f.body, "Properties", "Environment", "Variables"))
	return env
}

// An event is what starts a function.
type event struct {
	function resource
	name     string
	kind     string
	body     object
}

func events(t *testing.T, top object) []event {
	t.Helper()
	var all []event
	for _, f := range functions(t, top) {
		for name, v := range objectAt(f.body, "Properties", "Events") {
			all = append(all, event{f, name, textAt(v, "Type"), objectAt(v, "Properties")})
		}
	}
	return all
}
