package compose

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cut removes the node that a path names from a document.
func cut(root *yaml.Node, p []string, lists positions) bool {
	parent := root
	if len(p) > 1 {
		if parent = deref(valueIn(root, p[:len(p)-1], lists)); parent == nil {
			return false
		}
	}
	last := p[len(p)-1]
	switch parent.Kind {
	case yaml.MappingNode:
		if remove(parent, last) {
			return true
		}
		for i := 0; i+1 < len(parent.Content); i += 2 {
			if parent.Content[i].Value != "<<" {
				continue
			}
			for _, m := range oneOrMore(parent.Content[i+1]) {
				if m = deref(m); m != nil && m.Kind == yaml.MappingNode && remove(m, last) {
					return true
				}
			}
		}
	case yaml.SequenceNode:
		n := item(parent, last, lists)
		if i := slices.Index(parent.Content, n); n != nil && i >= 0 {
			parent.Content = slices.Delete(slices.Clone(parent.Content), i, i+1)
			return true
		}
	}
	return false
}

// valueIn gives the value that a path names.
func valueIn(root *yaml.Node, p []string, lists positions) *yaml.Node {
	value := root
	for _, part := range p {
		switch value = deref(value); {
		case value == nil:
			return nil
		case value.Kind == yaml.MappingNode:
			_, value = child(value, part)
		case value.Kind == yaml.SequenceNode:
			value = item(value, part, lists)
		default:
			return nil
		}
	}
	return value
}

// refine finds the list entry that a message quotes, when compose-go names
// only the list.
func (l *loader) refine(p []string, text string) []string {
	for _, s := range slices.Backward(l.sources) {
		for _, doc := range s.docs {
			list := deref(valueIn(doc, p, s.lists))
			if list == nil || list.Kind != yaml.SequenceNode {
				continue
			}
			for i, entry := range list.Content {
				if was, ok := s.lists[entry]; ok {
					i = was
				}
				if n := deref(entry); n.Kind == yaml.ScalarNode && len(n.Value) > 2 && strings.Contains(text, n.Value) {
					return append(p[:len(p):len(p)], strconv.Itoa(i))
				}
			}
		}
	}
	return p
}

var quotedValue = regexp.MustCompile(`(?:invalid (?:spec|containerPort|hostPort|proto|IP address|ip address|empty [a-z ]+|range format|range|port|start port|end port|value|size|duration)[^:]*:? |["'` + "`" + `])([^\s"'` + "`" + `:,]+)`)

// culprit looks for the value that a message without a path quotes: compose-go
// tells of a bad port or volume only what it says.
func (l *loader) culprit(message string) []string {
	for _, m := range quotedValue.FindAllStringSubmatch(message, -1) {
		if p := l.withValue(m[1]); p != nil {
			return p
		}
	}
	for _, word := range strings.Fields(message) {
		if word = strings.Trim(word, `"':,.`+"`"); len(word) > 2 && strings.ContainsAny(word, ":/0123456789") {
			if p := l.withValue(word); p != nil {
				return p
			}
		}
	}
	return nil
}

// withValue finds a list entry or a value below a service that contains a word.
func (l *loader) withValue(word string) []string {
	var found []string
	for _, s := range slices.Backward(l.sources) {
		for _, doc := range s.docs {
			visit(doc, nil, func(p []string, n *yaml.Node) {
				if found == nil && n.Kind == yaml.ScalarNode && len(p) > 2 && (strings.Contains(n.Value, word) || strings.Contains(l.vars.values[n.Value], word)) && parsed(p) {
					if found = p; isIndex(p[len(p)-1]) {
						found[len(p)-1] = strconv.Itoa(s.lists[n])
					}
				}
			})
		}
	}
	return found
}

// parsed tells whether compose-go parses the text at a path.
func parsed(p []string) bool {
	if p[0] != "services" {
		return p[0] == "networks" || p[0] == "volumes"
	}
	return p[2] != "environment" && p[2] != "labels" && p[2] != "command" && p[2] != "image"
}
