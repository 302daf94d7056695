package samlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Derive makes a template for sam local of one that sam build made. It differs in
// two things, for the sake of what the SAM CLI does otherwise than AWS:
//
//   - An event for ANY method goes where its path has events for methods of its own.
//     API Gateway prefers those; the SAM CLI lets ANY replace them.
//   - Functions have the environment of env, as key=value by logical id, in the
//     place of what the template declares. The SAM CLI resolves a reference to a
//     queue or a table to its logical id, and passes no variable that is not
//     declared.
func Derive(built []byte, env map[string][]string) ([]byte, error) {
	var t struct {
		Resources map[string]map[string]any `yaml:"Resources"`
	}
	var whole map[string]any
	if err := errors.Join(yaml.Unmarshal(built, &whole), yaml.Unmarshal(built, &t)); err != nil {
		return nil, fmt.Errorf("the built template: %w", err)
	}
	own := map[string]bool{} // paths with a method of their own
	each(t.Resources, func(_ string, _, properties map[string]any) {
		routes(properties, func(_ map[string]any, _, path, method string) {
			own[path] = own[path] || method != "any"
		})
	})
	each(t.Resources, func(id string, _, properties map[string]any) {
		routes(properties, func(events map[string]any, event, path, method string) {
			if method == "any" && own[path] {
				delete(events, event)
			}
		})
		if len(env[id]) == 0 {
			return
		}
		environment := part(properties, "Environment")
		variables := part(environment, "Variables")
		for _, kv := range env[id] {
			name, value, _ := strings.Cut(kv, "=")
			variables[name] = value
		}
	})
	resources := map[string]any{}
	for id, r := range t.Resources {
		resources[id] = r
	}
	whole["Resources"] = resources
	derived, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("the built template: %w", err)
	}
	return derived, nil
}

// each calls do with every function.
func each(resources map[string]map[string]any, do func(id string, resource, properties map[string]any)) {
	for id, r := range resources {
		if r["Type"] == "AWS::Serverless::Function" {
			do(id, r, part(r, "Properties"))
		}
	}
}

// routes calls do with every event of type Api, its method in lower case.
func routes(properties map[string]any, do func(events map[string]any, event, path, method string)) {
	events, _ := properties["Events"].(map[string]any)
	for name, e := range events {
		event, _ := e.(map[string]any)
		if event["Type"] != "Api" {
			continue
		}
		of := part(event, "Properties")
		path, _ := of["Path"].(string)
		method, _ := of["Method"].(string)
		do(events, name, path, strings.ToLower(method))
	}
}

// part returns a member that is a mapping, which is made if it is missing.
func part(of map[string]any, name string) map[string]any {
	m, ok := of[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		of[name] = m
	}
	return m
}
