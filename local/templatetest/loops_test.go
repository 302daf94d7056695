package templatetest_test

import (
	"fmt"
	"strings"
	"testing"
)

// expanded is the template's resources with its loops written out, as
// AWS::LanguageExtensions does it in the cloud before anything else reads them:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-foreach.html
func expanded(t *testing.T, top object) object {
	t.Helper()
	out := object{}
	add := func(id string, r any) {
		if _, twice := out[id]; twice {
			t.Fatalf("template.yaml: %s stands twice", id)
		}
		out[id] = r
	}
	for id, r := range objectAt(top, "Resources") {
		if !strings.HasPrefix(id, "Fn::ForEach::") {
			add(id, r)
			continue
		}
		loop, ok := r.([]any)
		if !ok || len(loop) != 3 {
			t.Fatalf("template.yaml: %s is no list of a name, a collection and a body", id)
		}
		name, _ := loop[0].(string)
		each, _ := loop[1].([]any)
		body, _ := loop[2].(object)
		if name == "" || len(each) == 0 || len(body) == 0 {
			t.Fatalf("template.yaml: %s has no name, collection or body", id)
		}
		for _, item := range each {
			for key, r := range with(top, body, name, fmt.Sprint(item)).(object) {
				add(key, r)
			}
		}
	}
	return out
}

// with is a loop's body with its variable replaced, and what that makes plain
// made plain: a reference by a name, a value of a mapping, a text.
func with(top object, v any, name, item string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "${"+name+"}", item)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = with(top, v[i], name, item)
		}
		return out
	case object:
		if v["Ref"] == name {
			return item
		}
		out := object{}
		for key, member := range v {
			out[with(top, key, name, item).(string)] = with(top, member, name, item)
		}
		return simple(top, out)
	}
	return v
}

// simple evaluates an intrinsic function whose arguments are known by now.
func simple(top, v object) any {
	switch {
	case v["Fn::FindInMap"] != nil:
		path := texts(v["Fn::FindInMap"])
		return at(top, append([]string{"Mappings"}, path...)...)
	case v["Fn::GetAtt"] != nil:
		if parts := texts(v["Fn::GetAtt"]); len(parts) == 2 {
			return object{"Fn::GetAtt": parts[0] + "." + parts[1]}
		}
	case v["Fn::Sub"] != nil:
		text, _ := v["Fn::Sub"].(string)
		if list, ok := v["Fn::Sub"].([]any); ok {
			text = fmt.Sprint(list[0])
			for name, value := range list[1].(object) {
				text = strings.ReplaceAll(text, "${"+name+"}", fmt.Sprint(value))
			}
		}
		if strings.Contains(text, "${") {
			return object{"Fn::Sub": text}
		}
		return text
	}
	return v
}
