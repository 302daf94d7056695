package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// derive makes of the template that sam build left the one that the emulator can
// take. What goes, and nothing else:
//
//   - composite alarms and alarms of several metrics, which it does not know, and
//     outputs that name one;
//   - SSL_CERT_FILE and SSL_CERT_DIR, which name places in Lambda's image: its
//     functions are processes of this machine;
//   - a parameter as MaximumConcurrency, which it would keep as text and compare
//     with numbers: the value that the parameter has comes in its place;
//   - SAM's spelling of a slash in BinaryMediaTypes, which it would take for the
//     characters themselves: files would arrive damaged.
//
// That its functions call the emulator, not AWS, is not in the template: they get
// AWS_ENDPOINT_URL from the emulator, as Lambda's get theirs from Lambda.
func derive(built []byte, parameters map[string]string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(built, &doc); err != nil {
		return nil, fmt.Errorf("read the built template: %w", err)
	}
	if doc.Kind != yaml.DocumentNode || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the built template is not a mapping")
	}
	root := doc.Content[0]
	values := maps.Clone(parameters)
	if values == nil {
		values = map[string]string{}
	}
	for name, p := range entries(child(root, "Parameters")) {
		if d := child(p, "Default"); d != nil && values[name] == "" {
			values[name] = d.Value
		}
	}
	gone := map[string]bool{}
	remove(child(root, "Resources"), func(id string, r *yaml.Node) bool {
		kind := child(r, "Type")
		gone[id] = kind != nil && (kind.Value == "AWS::CloudWatch::CompositeAlarm" || child(child(r, "Properties"), "Metrics") != nil)
		return gone[id]
	})
	remove(child(root, "Outputs"), func(_ string, o *yaml.Node) bool { return names(o, gone) })
	if id := slices.IndexFunc(slices.Collect(maps.Values(entries(child(root, "Resources")))), func(r *yaml.Node) bool { return names(r, gone) }); id >= 0 {
		return nil, fmt.Errorf("a resource of the template names an alarm that the emulator does not know, a composite or one of several metrics")
	}
	walk(root, func(key string, value *yaml.Node) bool {
		return key == "SSL_CERT_FILE" || key == "SSL_CERT_DIR"
	})
	var err error
	walk(root, func(key string, value *yaml.Node) bool {
		switch name, ok := reference(value); {
		case ok && key == "MaximumConcurrency":
			if values[name] == "" {
				err = fmt.Errorf("MaximumConcurrency: the parameter %s has no value", name)
			}
			*value = yaml.Node{Kind: yaml.ScalarNode, Value: values[name]}
		case key == "BinaryMediaTypes":
			for _, kind := range value.Content {
				kind.Value = strings.ReplaceAll(kind.Value, "~1", "/")
			}
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(&doc)
}

// child returns the value of a key of a mapping, nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node { return entries(n)[key] }

// entries returns the values of a mapping, none if it is something else.
func entries(n *yaml.Node) map[string]*yaml.Node {
	all := map[string]*yaml.Node{}
	if n == nil || n.Kind != yaml.MappingNode {
		return all
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		all[n.Content[i].Value] = n.Content[i+1]
	}
	return all
}

// remove takes entries out of a mapping.
func remove(n *yaml.Node, is func(key string, value *yaml.Node) bool) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !is(n.Content[i].Value, n.Content[i+1]) {
			kept = append(kept, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = kept
}

// walk calls is for every entry of every mapping below n, and takes out those
// for which it returns true.
func walk(n *yaml.Node, is func(key string, value *yaml.Node) bool) {
	remove(n, is)
	for _, c := range n.Content {
		walk(c, is)
	}
}

// reference returns the name in {Ref: name} or !Ref name.
func reference(n *yaml.Node) (name string, ok bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!Ref" {
		return n.Value, true
	}
	r := child(n, "Ref")
	return valueOf(r), r != nil && len(n.Content) == 2
}

func valueOf(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

// names reports whether one of the resources is named below n by !Ref or
// !GetAtt, in either spelling.
func names(n *yaml.Node, ids map[string]bool) bool {
	if name, ok := reference(n); ok && ids[name] {
		return true
	}
	if list := child(n, "Fn::GetAtt"); list != nil && len(list.Content) > 0 && ids[list.Content[0].Value] {
		return true
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return names(c, ids) })
}
