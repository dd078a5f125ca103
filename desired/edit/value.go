package edit

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// What a file says, without how: scalar, list, and mapping in its order. Aliases
// are what they stand for.
type (
	scalar  struct{ tag, value string }
	mapping []member
	member  struct{ key, value any }
)

// maxValues counts an aliased value each time it is used, which is what stops an
// alias bomb.
const (
	maxValues = 200_000
	maxDepth  = 200
)

// value is what the document says; nil: nothing.
func (d *document) value() (any, error) {
	if d.root == nil {
		return nil, nil
	}
	return valueOf(d.root)
}

func valueOf(n *yaml.Node) (any, error) {
	r := valueReader{}
	return r.read(n, 0)
}

type valueReader struct{ count int }

func (r *valueReader) read(n *yaml.Node, depth int) (any, error) {
	if r.count++; r.count > maxValues || depth > maxDepth {
		return nil, fmt.Errorf("%w: it is nested too deeply or holds too many values", ErrShape)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.read(n.Alias, depth+1)
	case yaml.ScalarNode:
		return scalar{n.ShortTag(), n.Value}, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := r.read(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	m := mapping{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, err := r.read(n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		v, err := r.read(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		m = append(m, member{k, v})
	}
	return m, nil
}

// meaning is what a value says once it is written.
func meaning(value any) (any, error) {
	text, err := writer{eol: "\n", step: 2, dash: 2}.inline(value, true)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) != 1 {
		return nil, fmt.Errorf("%w: the value cannot be written", ErrShape)
	}
	return valueOf(doc.Content[0])
}

func empty(v any) bool {
	s, is := v.(scalar)
	return v == nil || is && s.tag == "!!null"
}

func (m mapping) index(key string) int {
	for i, e := range m {
		if k, is := e.key.(scalar); is && k.value == key {
			return i
		}
	}
	return -1
}

// setIn is v with another value at a path.
func setIn(v any, path Path, value any) (any, error) {
	if len(path) == 0 {
		return meaning(value)
	}
	return within(v, path[0], true, func(inner any) (any, error) { return setIn(inner, path[1:], value) })
}

func appendIn(v any, path Path, values []any) (any, error) {
	if len(path) > 0 {
		return within(v, path[0], true, func(inner any) (any, error) { return appendIn(inner, path[1:], values) })
	}
	more, err := meaning(values)
	if err != nil {
		return nil, err
	}
	list, is := v.([]any)
	if !is && !empty(v) {
		return nil, fmt.Errorf("%w: it is no list", ErrShape)
	}
	return append(list[:len(list):len(list)], more.([]any)...), nil
}

// within is v with what a step leads to changed. make says that a key may be
// missing.
func within(v any, step any, make bool, change func(any) (any, error)) (any, error) {
	if key, is := step.(string); is {
		m, isMap := v.(mapping)
		if !isMap && !(make && empty(v)) {
			return nil, fmt.Errorf("%w: what holds %q is no mapping", ErrShape, key)
		}
		i := m.index(key)
		if i < 0 {
			if !make {
				return nil, ErrNotFound
			}
			inner, err := change(nil)
			k, _ := meaning(key)
			return append(m[:len(m):len(m)], member{k, inner}), err
		}
		inner, err := change(m[i].value)
		out := append(mapping{}, m...)
		out[i].value = inner
		return out, err
	}
	list, isList := v.([]any)
	i, is := step.(int)
	if !isList || !is {
		return nil, fmt.Errorf("%w: it is no list", ErrShape)
	}
	if i < 0 || i >= len(list) {
		return nil, ErrNotFound
	}
	inner, err := change(list[i])
	out := append([]any{}, list...)
	out[i] = inner
	return out, err
}

func deleteIn(v any, path Path) (any, error) {
	if len(path) > 1 {
		return within(v, path[0], false, func(inner any) (any, error) { return deleteIn(inner, path[1:]) })
	}
	switch step := path[0].(type) {
	case string:
		m, _ := v.(mapping)
		if i := m.index(step); i >= 0 {
			return append(append(mapping{}, m[:i]...), m[i+1:]...), nil
		}
	case int:
		list, _ := v.([]any)
		if step >= 0 && step < len(list) {
			return append(append([]any{}, list[:step]...), list[step+1:]...), nil
		}
	}
	return nil, ErrNotFound
}
