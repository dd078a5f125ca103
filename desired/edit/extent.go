package edit

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// The reader of YAML tells where a node begins, and not where it ends. What
// follows finds that out; a mistake here is found when the edit is read back.

// content is where a node begins behind its anchor and tag.
func (d *document) content(n *yaml.Node) (begin, props int) {
	pos := d.at(n)
	props = pos
	for pos < len(d.text) && (d.text[pos] == '&' || d.text[pos] == '!') && (n.Anchor != "" || n.Style&yaml.TaggedStyle != 0) {
		for pos < len(d.text) && !strings.ContainsRune(" \t\r\n", rune(d.text[pos])) {
			pos++
		}
		props = pos
		pos = d.skip(pos)
	}
	return pos, props
}

// skip passes over spaces, line ends and comments.
func (d *document) skip(pos int) int {
	for pos < len(d.text) {
		switch c := d.text[pos]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			pos++
		case c == '#' && (pos == 0 || strings.ContainsRune(" \t\r\n", rune(d.text[pos-1]))):
			pos = d.lineEnd(pos)
		default:
			return pos
		}
	}
	return pos
}

// endOf is where a node ends, without the end of its line.
func (d *document) endOf(n *yaml.Node) int {
	begin, props := d.content(n)
	switch {
	case n.Kind == yaml.AliasNode:
		return d.wordEnd(begin)
	case n.Kind == yaml.ScalarNode:
		return d.scalarEnd(n, begin, props)
	case n.Style&yaml.FlowStyle != 0:
		return d.flowEnd(begin)
	case len(n.Content) == 0:
		return props
	}
	return d.endOf(n.Content[len(n.Content)-1])
}

func (d *document) wordEnd(pos int) int {
	for pos < len(d.text) && !strings.ContainsRune(" \t\r\n,]}", rune(d.text[pos])) {
		pos++
	}
	return pos
}

func (d *document) scalarEnd(n *yaml.Node, begin, props int) int {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0, n.Style&yaml.SingleQuotedStyle != 0:
		return d.quoteEnd(begin)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return d.blockEnd(n, begin)
	case n.Value == "":
		return props
	case d.inFlow(n):
		return d.plainFlowEnd(begin)
	}
	return d.plainEnd(n, begin)
}

// quoteEnd is behind the quote that closes the one at pos.
func (d *document) quoteEnd(pos int) int {
	if pos >= len(d.text) {
		return pos
	}
	quote := d.text[pos]
	for pos++; pos < len(d.text); pos++ {
		switch {
		case d.text[pos] == '\\' && quote == '"':
			pos++
		case d.text[pos] != quote:
		case quote == '\'' && pos+1 < len(d.text) && d.text[pos+1] == quote:
			pos++
		default:
			return pos + 1
		}
	}
	return len(d.text)
}

// flowEnd is behind the bracket that closes the one at pos.
func (d *document) flowEnd(pos int) int {
	depth, fresh := 0, true // fresh: a token may begin here
	for pos < len(d.text) {
		c := d.text[pos]
		switch {
		case c == '#' && strings.ContainsRune(" \t\r\n", rune(d.text[pos-1])):
			pos = d.lineEnd(pos)
			continue
		case (c == '"' || c == '\'') && fresh:
			pos = d.quoteEnd(pos)
			fresh = false
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return pos + 1
			}
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			fresh = strings.ContainsRune("{[,:", rune(c))
		}
		pos++
	}
	return len(d.text)
}

func (d *document) inFlow(n *yaml.Node) bool {
	for p := d.up[n]; p != nil; p = d.up[p] {
		if p.Style&yaml.FlowStyle != 0 {
			return true
		}
	}
	return false
}

// plainFlowEnd ends an unquoted text between brackets.
func (d *document) plainFlowEnd(begin int) int {
	pos := begin
	for ; pos < len(d.text); pos++ {
		c := d.text[pos]
		if strings.ContainsRune(",[]{}", rune(c)) || c == '#' && strings.ContainsRune(" \t\r\n", rune(d.text[pos-1])) ||
			c == ':' && (pos+1 == len(d.text) || strings.ContainsRune(" \t\r\n,[]{}", rune(d.text[pos+1]))) {
			break
		}
	}
	return begin + len(strings.TrimRight(d.text[begin:pos], " \t\r\n"))
}

// limit is where the line begins in which the next node is, or the end.
func (d *document) limit(n *yaml.Node) int {
	next := d.after[n]
	switch {
	case next == nil:
		return d.end
	case d.lineOf(d.at(next)) > d.lineOf(d.at(n)):
		return d.lines[d.lineOf(d.at(next))]
	}
	return d.at(next)
}

// plainEnd ends an unquoted text outside of brackets, which may go over lines. A
// comment ends it.
func (d *document) plainEnd(n *yaml.Node, begin int) int {
	limit, end := d.limit(n), begin
	for pos := begin; pos < limit; pos = d.nextLine(pos) {
		line := d.text[pos:min(d.lineEnd(pos), limit)]
		if isComment(line) && pos > begin {
			break
		}
		comment := len(line)
		for i := 1; i < len(line); i++ {
			if line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
				comment = i
				break
			}
		}
		if d.isKey(n) {
			if i := strings.Index(line+" ", ": "); i >= 0 {
				return pos + i
			}
			if i := strings.Index(line, ":\t"); i >= 0 {
				return pos + i
			}
		}
		if text := strings.TrimRight(line[:comment], " \t"); text != "" {
			end = pos + len(text)
		}
		if comment < len(line) {
			break
		}
	}
	return end
}

func (d *document) isKey(n *yaml.Node) bool {
	p := d.up[n]
	if p == nil || p.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(p.Content); i += 2 {
		if p.Content[i] == n {
			return true
		}
	}
	return false
}

// ownerIndent is the indentation of what holds a block of text.
func (d *document) ownerIndent(n *yaml.Node) int {
	if p := d.up[n]; p != nil {
		if p.Kind == yaml.MappingNode && len(p.Content) > 0 {
			return p.Content[0].Column - 1
		}
		return p.Column - 1
	}
	return -1
}

// blockEnd ends a text after | or >: the lines that are indented as the first
// one, and with + also the empty ones after them.
func (d *document) blockEnd(n *yaml.Node, begin int) int {
	header, limit := d.text[begin:d.lineEnd(begin)], d.limit(n)
	word, _, _ := strings.Cut(header, " ")
	end, indent := begin+len(strings.TrimRight(word, "\t")), 0
	if i := strings.IndexAny(word, "123456789"); i >= 0 {
		indent = max(d.ownerIndent(n), 0) + int(word[i]-'0')
	}
	last := end
	for pos := d.nextLine(begin); pos < limit; pos = d.nextLine(pos) {
		line := d.text[pos:d.lineEnd(pos)]
		if isBlank(line) && (indent == 0 || indentOf(line) < indent) {
			last = pos + len(line)
			continue
		}
		if indent == 0 {
			if indent = indentOf(line); indent <= d.ownerIndent(n) {
				break
			}
		}
		if indentOf(line) < indent {
			break
		}
		end = pos + len(line)
		last = end
	}
	if strings.Contains(word, "+") {
		return last
	}
	return end
}
