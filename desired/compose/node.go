package compose

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// deref follows an alias to what it stands for.
func deref(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode && i < 10; i++ {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = deref(n)
	return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// child finds a key of a mapping: its own, or one that a merge brings in.
func child(m *yaml.Node, key string) (k, v *yaml.Node) { return childDepth(m, key, 0) }

func childDepth(m *yaml.Node, key string, depth int) (k, v *yaml.Node) {
	m = deref(m)
	if m == nil || m.Kind != yaml.MappingNode || depth > 10 {
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i], m.Content[i+1]
		}
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value != "<<" {
			continue
		}
		for _, merged := range oneOrMore(m.Content[i+1]) {
			if k, v = childDepth(merged, key, depth+1); k != nil {
				return k, v
			}
		}
	}
	return nil, nil
}

// oneOrMore gives the items of a list, or the single value.
func oneOrMore(n *yaml.Node) []*yaml.Node {
	if n = deref(n); n == nil || isNull(n) {
		return nil
	}
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

func remove(m *yaml.Node, key string) bool {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = append(m.Content[:i:i], m.Content[i+2:]...)
			return true
		}
	}
	return false
}

func replace(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

// visit walks a document without following aliases: what they stand for is in
// the document as well.
func visit(n *yaml.Node, p []string, f func([]string, *yaml.Node)) {
	f(p, n)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			visit(n.Content[i+1], append(p[:len(p):len(p)], n.Content[i].Value), f)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			visit(item, append(p[:len(p):len(p)], strconv.Itoa(i)), f)
		}
	}
}

// positions remembers the place of list entries, which changes when one is
// taken out.
type positions map[*yaml.Node]int

// entry finds a list entry by its first position.
func (p positions) entry(list *yaml.Node, i int) *yaml.Node {
	for at, n := range list.Content {
		if was, ok := p[n]; ok && was == i || !ok && at == i {
			return n
		}
	}
	return nil
}

// field writes a path as people do: services.web.ports[0].
func field(p []string) string {
	var b strings.Builder
	for i, part := range p {
		if _, err := strconv.Atoi(part); err == nil && i > 0 && part[0] != '-' && i != 1 {
			b.WriteString("[" + part + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// split is the way back from field.
func split(f string) []string {
	return strings.FieldsFunc(f, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
