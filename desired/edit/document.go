package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const byteOrderMark = "\ufeff"

// document is a file that was read, with where everything in it is. Offsets
// count from behind a byte order mark.
type document struct {
	mark  string // the byte order mark, or nothing
	text  string
	lines []int      // offset of each line
	end   int        // of the document: the file's, or that of the line "..."
	root  *yaml.Node // nil: the document is empty
	// after is the node that follows each one and all that is in it; nil: none.
	after map[*yaml.Node]*yaml.Node
	up    map[*yaml.Node]*yaml.Node
	writer
}

// read takes in one document. What the reader of YAML counts as a line is
// counted so here, or refused.
func read(file []byte) (*document, error) {
	d := &document{after: map[*yaml.Node]*yaml.Node{}, up: map[*yaml.Node]*yaml.Node{}}
	d.text = string(file)
	if rest, marked := strings.CutPrefix(d.text, byteOrderMark); marked {
		d.mark, d.text = byteOrderMark, rest
	}
	switch {
	case len(file) > MaxFile:
		return nil, fmt.Errorf("%w: the file is larger than %d KiB", ErrShape, MaxFile>>10)
	case !utf8.Valid(file):
		return nil, fmt.Errorf("%w: the file is not UTF-8", ErrShape)
	case strings.ContainsAny(d.text, "\u0085\u2028\u2029") || strings.Contains(strings.ReplaceAll(d.text, "\r\n", ""), "\r"):
		return nil, fmt.Errorf("%w: the file has line ends that are neither LF nor CRLF", ErrShape)
	}
	if err := d.parse(); err != nil {
		return nil, err
	}
	d.lines = []int{0}
	for i := range len(d.text) {
		if d.text[i] == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	d.end = len(d.text)
	for _, at := range d.lines {
		if rest, is := strings.CutPrefix(d.text[at:], "..."); is && (rest == "" || strings.ContainsRune(" \t\r\n", rune(rest[0]))) {
			d.end = at
			break
		}
	}
	if d.root != nil {
		d.link(d.root, nil)
	}
	d.writer = d.manner()
	return d, nil
}

func (d *document) parse() (err error) {
	var doc, next yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader([]byte(d.text)))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("%w: it is not YAML: %s", ErrShape, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&next); err == nil {
		return fmt.Errorf("%w: the file holds more than one document", ErrShape)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it is not YAML: %s", ErrShape, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	d.root = doc.Content[0]
	if d.root.Kind == yaml.ScalarNode && d.root.Tag == "!!null" && d.root.Value == "" && d.root.Anchor == "" {
		d.root = nil
	}
	return nil
}

// link notes what follows a node, and what holds it.
func (d *document) link(n, next *yaml.Node) {
	d.after[n] = next
	for i, child := range n.Content {
		follows := next
		if i+1 < len(n.Content) {
			follows = n.Content[i+1]
		}
		d.up[child] = n
		d.link(child, follows)
	}
}

func (d *document) apply(s splice) []byte {
	return []byte(d.mark + d.text[:s.begin] + s.text + d.text[s.end:])
}

// at is the offset of a node: of its anchor or tag when it has one.
func (d *document) at(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(d.lines) {
		return len(d.text)
	}
	pos := d.lines[n.Line-1]
	for range n.Column - 1 {
		if pos >= len(d.text) {
			return len(d.text)
		}
		_, size := utf8.DecodeRuneInString(d.text[pos:])
		pos += size
	}
	return pos
}

// lineOf is the line that an offset is in, from 0.
func (d *document) lineOf(pos int) int {
	low, high := 0, len(d.lines)
	for high-low > 1 {
		if mid := (low + high) / 2; d.lines[mid] <= pos {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// lineEnd is where the text of the line ends that an offset is in.
func (d *document) lineEnd(pos int) int {
	end := len(d.text)
	if i := strings.IndexByte(d.text[pos:], '\n'); i >= 0 {
		end = pos + i
	}
	if end > pos && d.text[end-1] == '\r' {
		end--
	}
	return end
}

// nextLine is where the line after that of an offset begins.
func (d *document) nextLine(pos int) int {
	if i := strings.IndexByte(d.text[pos:], '\n'); i >= 0 {
		return pos + i + 1
	}
	return len(d.text)
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func isBlank(line string) bool { return strings.Trim(line, " \t") == "" }

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

// manner is how the file is written, as far as it shows.
func (d *document) manner() writer {
	w := writer{eol: "\n", step: 2, dash: 2, bare: d.text != "" && !strings.HasSuffix(d.text, "\n")}
	if i := strings.IndexByte(d.text, '\n'); i > 0 && d.text[i-1] == '\r' {
		w.eol = "\r\n"
	}
	stepKnown, dashKnown := false, false
	for n, parent := range d.up {
		if parent.Kind != yaml.MappingNode || n.Style&yaml.FlowStyle != 0 || n.Line <= parent.Line && n.Kind != yaml.SequenceNode {
			continue
		}
		by := n.Column - parent.Column
		switch {
		case n.Kind == yaml.MappingNode && by > 0 && by <= 8 && n.Anchor == "" && n.Tag == "!!map" && (!stepKnown || by < w.step):
			w.step, stepKnown = by, true
		case n.Kind == yaml.SequenceNode && by >= 0 && by <= 8 && n.Anchor == "" && n.Tag == "!!seq" && d.dashAt(n) && (!dashKnown || by < w.dash):
			w.dash, dashKnown = by, true
		}
	}
	if stepKnown && !dashKnown {
		w.dash = w.step
	}
	return w
}

func (d *document) dashAt(n *yaml.Node) bool {
	pos := d.at(n)
	return pos < len(d.text) && d.text[pos] == '-'
}
