package edit

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// find goes along a path as far as there is something: it returns the last node
// and what is left of the path.
func (d *document) find(path Path) (*yaml.Node, Path, error) {
	n := d.root
	for i, step := range path {
		if n == nil {
			return nil, path[i:], nil
		}
		if n.Kind == yaml.AliasNode {
			return nil, nil, fmt.Errorf("%w: %s comes from the alias *%s", ErrShape, path[:i], n.Value)
		}
		child, err := childOf(n, step, path[:i])
		if err != nil {
			return nil, nil, err
		}
		if child == nil {
			return n, path[i:], nil
		}
		n = child
	}
	return n, nil, nil
}

// childOf is what a step leads to; nil: it is missing, and may be made.
func childOf(n *yaml.Node, step any, at Path) (*yaml.Node, error) {
	switch s := step.(type) {
	case string:
		if n.Kind == yaml.MappingNode {
			return entryOf(n, s), nil
		}
		if isNull(n) {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %s is no mapping", ErrShape, at)
	case int:
		if n.Kind != yaml.SequenceNode {
			return nil, fmt.Errorf("%w: %s is no list", ErrShape, at)
		}
		if s < 0 || s >= len(n.Content) {
			return nil, fmt.Errorf("%s: %w", append(at[:len(at):len(at)], s), ErrNotFound)
		}
		return n.Content[s], nil
	}
	return nil, fmt.Errorf("%w: a step of a path is a key or an index", ErrShape)
}

func entryOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// wrap puts a value below the keys that lead to it.
func wrap(rest Path, value any) (any, error) {
	for i := len(rest) - 1; i >= 0; i-- {
		key, is := rest[i].(string)
		if !is {
			return nil, fmt.Errorf("%w: no list is made to set an entry of it", ErrShape)
		}
		value = Map{{key, value}}
	}
	return value, nil
}

func (d *document) set(path Path, value any) (splice, error) {
	n, rest, err := d.find(path)
	if err != nil {
		return splice{}, err
	}
	if len(rest) == 0 {
		return d.replace(n, value)
	}
	if n != nil && !isNull(n) {
		if value, err = wrap(rest[1:], value); err != nil {
			return splice{}, err
		}
		key, is := rest[0].(string)
		if !is {
			return splice{}, fmt.Errorf("%w: there is no such entry", ErrShape)
		}
		return d.addKey(n, key, value)
	}
	if value, err = wrap(rest, value); err != nil {
		return splice{}, err
	}
	return d.fill(n, value)
}

// fill gives a value to what has none: a null, or the file.
func (d *document) fill(n *yaml.Node, value any) (splice, error) {
	if n != nil {
		return d.replace(n, value)
	}
	text, err := d.whole(value)
	at := d.end
	if at > 0 && d.text[at-1] != '\n' {
		text = d.eol + text
	}
	return splice{at, at, text}, err
}

// indent is the column of a block collection's entries.
func indent(n *yaml.Node) int {
	if n.Kind == yaml.MappingNode {
		return n.Content[0].Column - 1
	}
	return n.Column - 1
}

// replace puts a value in the place of another.
func (d *document) replace(n *yaml.Node, value any) (splice, error) {
	begin, props := d.content(n)
	end := d.endOf(n)
	if n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		if begin = props; !isBlock(value) && end > props {
			begin, _ = d.content(n)
		}
	}
	if d.inFlow(n) || !isBlock(value) {
		text, err := d.inline(value, d.inFlow(n))
		if begin > 0 && begin == end && strings.IndexByte(" \t\n,[{", d.text[begin-1]) < 0 {
			text = " " + text
		}
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 && n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 && n.Kind != yaml.AliasNode && d.up[n] != nil {
			return d.collapse(n, end, text, err)
		}
		return splice{begin, end, text}, err
	}
	p := d.up[n]
	if p == nil {
		text, err := d.whole(value)
		return splice{begin, end, strings.TrimSuffix(text, d.eol)}, err
	}
	if p.Kind == yaml.SequenceNode {
		column := p.Column - 1 + 2
		text, err := d.block(value, column)
		if begin == end && strings.IndexByte(" \t", d.text[begin-1]) < 0 {
			text = " " + text
		}
		return splice{begin, end, text}, err
	}
	return d.replaceBelow(n, p, begin, end, value)
}

// collapse writes a value on the line of its key in the place of a block below it.
func (d *document) collapse(n *yaml.Node, end int, text string, err error) (splice, error) {
	p := d.up[n]
	if p.Kind != yaml.MappingNode {
		return splice{d.at(n), end, text}, err
	}
	colon := d.colonOf(n)
	return splice{colon, end, " " + text}, err
}

// colonOf is behind the colon before a value.
func (d *document) colonOf(n *yaml.Node) int {
	p := d.up[n]
	for i := 1; i < len(p.Content); i += 2 {
		if p.Content[i] == n {
			key := p.Content[i-1]
			pos := d.endOf(key)
			if at := strings.IndexByte(d.text[pos:], ':'); at >= 0 {
				return pos + at + 1
			}
		}
	}
	return d.at(n)
}

// replaceBelow writes a block below its key; what the line of the key ends with
// stays there.
func (d *document) replaceBelow(n, p *yaml.Node, begin, end int, value any) (splice, error) {
	column := indent(p) + d.step
	if _, list := value.([]any); list {
		column = indent(p) + d.dash
	}
	colon := d.colonOf(n)
	if n.Anchor != "" {
		colon = begin
	}
	rest := d.text[end:d.lineEnd(end)]
	if d.lineOf(begin) != d.lineOf(colon) { // it stood below already
		rest = d.text[colon:d.lineEnd(colon)]
	}
	if rest = strings.TrimRight(rest, " \t"); rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		rest = " " + rest
	}
	text, err := d.block(value, column)
	if d.lineOf(begin) == d.lineOf(colon) {
		end = d.lineEnd(end)
	}
	return splice{colon, end, rest + d.eol + strings.Repeat(" ", column) + text}, err
}

// addKey puts a key behind the others of a mapping.
func (d *document) addKey(n *yaml.Node, key string, value any) (splice, error) {
	switch {
	case n.Kind == yaml.AliasNode:
		return splice{}, fmt.Errorf("%w: the mapping comes from the alias *%s", ErrShape, n.Value)
	case n.Kind != yaml.MappingNode:
		return splice{}, fmt.Errorf("%w: it is no mapping", ErrShape)
	case len(n.Content) == 0 && !d.inFlow(n):
		return d.replace(n, Map{{key, value}})
	case n.Style&yaml.FlowStyle != 0:
		text, err := d.inline(Map{{key, value}}, true)
		return d.addFlow(n, text[1:max(1, len(text)-1)]), err
	}
	text, err := d.block(Map{{key, value}}, indent(n))
	return d.addLines(n, text), err
}

// addLines puts lines below the last of a block collection.
func (d *document) addLines(n *yaml.Node, text string) splice {
	end := d.endOf(n)
	at := d.nextLine(end)
	text = strings.Repeat(" ", indent(n)) + text
	if at == 0 || d.text[at-1] != '\n' {
		return splice{at, at, d.eol + text}
	}
	return splice{at, at, text + d.eol}
}

// addFlow puts an entry behind the last one between brackets.
func (d *document) addFlow(n *yaml.Node, text string) splice {
	if len(n.Content) == 0 {
		begin, _ := d.content(n)
		return splice{begin + 1, begin + 1, text}
	}
	at := d.endOf(n.Content[len(n.Content)-1])
	if comma := d.skip(at); comma < len(d.text) && d.text[comma] == ',' {
		return splice{comma + 1, comma + 1, " " + text}
	}
	return splice{at, at, ", " + text}
}

func (d *document) appendTo(path Path, values []any) (splice, error) {
	n, rest, err := d.find(path)
	if err != nil {
		return splice{}, err
	}
	if len(rest) > 0 || n == nil || isNull(n) || n.Kind == yaml.SequenceNode && len(n.Content) == 0 && !d.inFlow(n) {
		if len(rest) == 0 && n != nil {
			return d.replace(n, values)
		}
		if len(path) == 0 {
			return d.fill(n, values)
		}
		return d.set(path, values)
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return splice{}, fmt.Errorf("%w: the list comes from the alias *%s", ErrShape, n.Value)
	case n.Kind != yaml.SequenceNode:
		return splice{}, fmt.Errorf("%w: it is no list", ErrShape)
	case n.Style&yaml.FlowStyle != 0:
		text, err := d.inline(values, true)
		return d.addFlow(n, text[1:max(1, len(text)-1)]), err
	}
	text, err := d.block(values, indent(n))
	return d.addLines(n, text), err
}

func (d *document) remove(path Path) (splice, error) {
	n, rest, err := d.find(path)
	if err != nil {
		return splice{}, err
	}
	if len(rest) > 0 || n == nil {
		return splice{}, fmt.Errorf("%s: %w", path, ErrNotFound)
	}
	p := d.up[n]
	i := indexIn(p, n)
	first, each := i, 1
	if p.Kind == yaml.MappingNode {
		first, each = i-1, 2
	}
	switch {
	case len(p.Content) == each && p.Kind == yaml.MappingNode:
		return d.replace(p, Map{})
	case len(p.Content) == each:
		return d.replace(p, []any{})
	case p.Style&yaml.FlowStyle != 0 && first+each < len(p.Content):
		return splice{d.at(p.Content[first]), d.at(p.Content[first+each]), ""}, nil
	case p.Style&yaml.FlowStyle != 0:
		return splice{d.endOf(p.Content[first-1]), d.endOf(n), ""}, nil
	}
	begin := d.entryBegin(p, first)
	if line := d.lines[d.lineOf(begin)]; strings.TrimLeft(d.text[line:begin], " ") != "" {
		return splice{begin, d.entryBegin(p, first+each), ""}, nil // it stands behind the dash of an entry
	}
	end := d.nextLine(d.endOf(n))
	begin = d.lines[d.lineOf(begin)]
	if end == len(d.text) && d.bare && begin > 0 && !endsInBlock(p, first) { // the last line keeps having no end
		begin -= len(d.eol)
	}
	return splice{begin, end, ""}, nil
}

// endsInBlock says whether what stands before an entry is a text of several
// lines, of which the end of its last line is a part.
func endsInBlock(p *yaml.Node, i int) bool {
	if i == 0 {
		return false
	}
	n := p.Content[i-1]
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

func indexIn(p, n *yaml.Node) int {
	for i, child := range p.Content {
		if child == n {
			return i
		}
	}
	return -1
}

// entryBegin is where an entry of a block collection begins: a key, or the dash
// of a list.
func (d *document) entryBegin(p *yaml.Node, i int) int {
	if i >= len(p.Content) {
		return d.endOf(p)
	}
	at := d.at(p.Content[i])
	if p.Kind == yaml.MappingNode {
		return at
	}
	for n := d.lineOf(at); n >= 0; n-- {
		dash := d.lines[n] + p.Column - 1
		if dash <= at && dash < len(d.text) && d.text[dash] == '-' && dash <= d.lineEnd(d.lines[n]) && strings.Trim(d.text[d.lines[n]:dash], " -") == "" {
			return dash
		}
	}
	return at
}
