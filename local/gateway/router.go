package gateway

import (
	"strings"

	"sitoo-rule/local/template"
)

// router finds the resource for a path, then the method on it. As in the
// service the path decides first: a resource that matches better but lacks the
// method is not passed over for one that has it.
type router struct{ root *resource }

type resource struct {
	path     string
	static   map[string]*resource
	variable *resource         // {name}
	greedy   *resource         // {name+}
	name     string            // of the variable this resource stands for
	methods  map[string]string // method or ANY to the function's logical id
}

// match is a route found for a request.
type match struct {
	path     string // the resource path, with its variables' names
	function string // logical id
	// params are percent-encoded still: REST APIs leave that to functions.
	params map[string]string
}

func newRouter(routes []template.Route) *router {
	rt := &router{root: &resource{path: "/"}}
	for _, r := range routes {
		at := rt.root
		for part := range strings.SplitSeq(strings.Trim(r.Path, "/"), "/") {
			if part != "" {
				at = at.child(part)
			}
		}
		if at.methods == nil {
			at.methods = map[string]string{}
		}
		at.methods[r.Method] = r.Function
	}
	return rt
}

func (rs *resource) child(part string) *resource {
	path := strings.TrimSuffix(rs.path, "/") + "/" + part
	name, variable := strings.CutPrefix(part, "{")
	name = strings.TrimSuffix(name, "}")
	name, greedy := strings.CutSuffix(name, "+")
	switch {
	case variable && greedy:
		if rs.greedy == nil {
			rs.greedy = &resource{path: path, name: name}
		}
		return rs.greedy
	case variable:
		if rs.variable == nil {
			rs.variable = &resource{path: path, name: name}
		}
		return rs.variable
	default:
		if rs.static == nil {
			rs.static = map[string]*resource{}
		}
		if rs.static[part] == nil {
			rs.static[part] = &resource{path: path}
		}
		return rs.static[part]
	}
}

// find returns the route for a method and a percent-encoded path. One slash at
// the end makes no difference to the service.
func (rt *router) find(method, path string) (match, bool) {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	var parts []string
	if path != "" {
		parts = strings.Split(path, "/")
	}
	m := match{params: map[string]string{}}
	rs := rt.root.find(parts, m.params)
	if rs == nil {
		return match{}, false
	}
	m.path = rs.path
	var ok bool
	if m.function, ok = rs.methods[method]; !ok {
		m.function, ok = rs.methods["ANY"]
	}
	return m, ok
}

// find tries what is written out before a variable, and that before a greedy one.
func (rs *resource) find(parts []string, params map[string]string) *resource {
	if len(parts) == 0 {
		if rs.methods == nil {
			return nil
		}
		return rs
	}
	if next := rs.static[parts[0]]; next != nil {
		if found := next.find(parts[1:], params); found != nil {
			return found
		}
	}
	if next := rs.variable; next != nil && parts[0] != "" {
		if found := next.find(parts[1:], params); found != nil {
			params[next.name] = parts[0]
			return found
		}
	}
	if next := rs.greedy; next != nil {
		params[next.name] = strings.Join(parts, "/")
		return next
	}
	return nil
}
