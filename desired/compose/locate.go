package compose

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// at is a place in a file.
type at struct {
	file  string
	line  int
	field string
}

func (l *loader) add(p desired.Problem) {
	p.Text = l.stage.scrub(p.Text)
	if !slices.Contains(l.problems, p) {
		l.problems = append(l.problems, p)
	}
}

// problem adds an error at a place. An error that is not about the content of
// the tree ends the load: nothing can be said about the files then.
func (l *loader) problem(where at, field string, err error) {
	var fe *fileError
	if !errors.As(err, &fe) {
		l.fatal = errors.Join(l.fatal, err)
		return
	}
	l.add(desired.Problem{File: where.file, Line: where.line, Field: field, Text: fe.text, Hint: fe.hint})
}

// wrong adds a problem about a path of the model.
func (l *loader) wrong(p []string, text, hint string) {
	where := l.locate(p)
	l.add(desired.Problem{File: where.file, Line: where.line, Field: where.field, Text: text, Hint: hint})
}

// forbidden adds what a policy does not permit at a path of the model.
func (l *loader) forbidden(p []string, b *desired.Breach) {
	if b == nil {
		return
	}
	where := l.locate(p)
	l.add(desired.Problem{File: where.file, Line: where.line, Field: where.field, Text: b.Text, Hint: b.Hint, Rule: b.Rule})
}

func (l *loader) note(where at, text string) {
	p := desired.Problem{File: where.file, Line: where.line, Field: where.field, Text: text}
	p.Text = l.stage.scrub(p.Text)
	if !slices.Contains(l.notes, p) {
		l.notes = append(l.notes, p)
	}
}

func (l *loader) noteAt(p []string, text string) { l.note(l.locate(p), text) }

// locate finds the place that a path of the merged model comes from: the last
// file that has it, or what it extends, or the nearest thing above it.
func (l *loader) locate(p []string) at {
	if where, ok := l.places[strings.Join(p, "\x00")]; ok {
		where.field = field(p)
		return where
	}
	for n := len(p); n > 0; n-- {
		if s, node := l.find(p[:n], 0); node != nil {
			return at{s.path, node.Line, field(p)}
		}
	}
	if len(l.sources) > 0 {
		return at{l.main(), 0, field(p)}
	}
	return at{l.in.Dir, 0, field(p)}
}

// main is the first compose file of the instance.
func (l *loader) main() string {
	if len(l.mainFiles) > 0 {
		return l.mainFiles[0]
	}
	return l.in.Dir
}

// find gives the node that a path names. An index into a list is only sure
// when one file alone has the list.
func (l *loader) find(p []string, depth int) (*source, *yaml.Node) {
	if i := slices.IndexFunc(p, isIndex); i > 1 && l.count(p[:i]) > 1 {
		return nil, nil
	}
	for _, s := range slices.Backward(l.sources) {
		if s.template {
			continue
		}
		if n := s.find(p); n != nil {
			return s, n
		}
	}
	if len(p) < 3 || p[0] != "services" || depth > 10 {
		return nil, nil
	}
	for _, s := range slices.Backward(l.sources) {
		for _, e := range s.extends {
			if e.service != p[1] {
				continue
			}
			if t, n := l.findExtended(s, e, p, depth); n != nil {
				return t, n
			}
		}
	}
	return nil, nil
}

func (l *loader) findExtended(s *source, e extension, p []string, depth int) (*source, *yaml.Node) {
	q := append([]string{"services", e.ref}, p[2:]...)
	if e.file == "" {
		if n := s.find(q); n != nil {
			return s, n
		}
		if e.ref == p[1] {
			return nil, nil
		}
		return l.find(q, depth+1)
	}
	for _, t := range l.sources {
		if t.path != e.file {
			continue
		}
		if n := t.find(q); n != nil {
			return t, n
		}
		for _, deeper := range t.extends {
			if deeper.service == e.ref && depth < 10 {
				if u, n := l.findExtended(t, deeper, q, depth+1); n != nil {
					return u, n
				}
			}
		}
	}
	return nil, nil
}

// count is the number of files which have a path.
func (l *loader) count(p []string) int {
	n := 0
	for _, s := range l.sources {
		if !s.template && s.find(p) != nil {
			n++
		}
	}
	return n
}

func isIndex(s string) bool { _, err := strconv.Atoi(s); return err == nil }

func (s *source) find(p []string) *yaml.Node {
	for _, doc := range slices.Backward(s.docs) {
		if n := findIn(doc, p, s.lists); n != nil {
			return n
		}
	}
	return nil
}

// value gives what a file says at a path.
func (s *source) value(p []string) *yaml.Node {
	for _, doc := range slices.Backward(s.docs) {
		if n := valueIn(doc, p, s.lists); n != nil {
			return n
		}
	}
	return nil
}

// findIn gives the key (or the list item) that a path ends at.
func findIn(root *yaml.Node, p []string, lists positions) *yaml.Node {
	here, value := root, root
	for _, part := range p {
		value = deref(value)
		switch {
		case value == nil:
			return nil
		case value.Kind == yaml.MappingNode:
			here, value = child(value, part)
		case value.Kind == yaml.SequenceNode:
			here = item(value, part, lists)
			value = here
		default:
			return nil
		}
		if here == nil {
			return nil
		}
	}
	return here
}

// item finds a list entry by index, or by what it says: NAME or NAME=value.
func item(list *yaml.Node, part string, lists positions) *yaml.Node {
	if i, err := strconv.Atoi(part); err == nil {
		return lists.entry(list, i)
	}
	for _, n := range list.Content {
		n = deref(n)
		if name, _, _ := strings.Cut(n.Value, "="); n.Kind == yaml.ScalarNode && name == part {
			return n
		}
		if _, v := child(n, "source"); v != nil && v.Value == part {
			return n
		}
	}
	return nil
}

// parts reads a path as compose-go writes it. Names may have dots in them, so
// the files decide where a name ends.
func (l *loader) parts(path string) []string {
	path = strings.NewReplacer("[]", "", "..", ".").Replace(path)
	words := split(strings.Trim(path, "."))
	for n := len(words); len(words) > 1 && n > 1; n-- {
		p := append([]string{words[0]}, strings.Join(words[1:n], "."))
		if s, node := l.find(p, 0); node != nil && s != nil {
			return append(p, words[n:]...)
		}
	}
	return words
}

// scalars finds every place where a scalar is written.
func (l *loader) scalars(value string) []scalarAt {
	if l.byValue == nil {
		l.byValue = map[string][]scalarAt{}
		for _, s := range l.sources {
			for _, doc := range s.docs {
				visit(doc, nil, func(p []string, n *yaml.Node) {
					if n.Kind == yaml.ScalarNode && (strings.Contains(n.Value, "$") || strings.HasPrefix(n.Value, "~")) {
						l.byValue[n.Value] = append(l.byValue[n.Value], scalarAt{s, p, n.Line})
					}
				})
			}
		}
	}
	return l.byValue[value]
}

type scalarAt struct {
	source *source
	path   []string
	line   int
}
