package desired

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The bounds of instance.yaml. maxValues counts an aliased value each time it
// is used, which is what stops an alias bomb.
const (
	maxBytes  = 1 << 20
	maxDepth  = 32
	maxValues = 20_000
	// maxProblems is more than anybody reads; without it a large file would
	// make a list of problems as large, in quadratic time.
	maxProblems = 100
)

var errTooMuch = errors.New("too much")

// reader walks a YAML document into a struct, collecting what is wrong. The
// decoder of the yaml package stops at the first error of a value, keeps no
// lines and forgives unquoted times and booleans; that is why it is not used.
type reader struct {
	kind     fileKind
	file     string
	lines    map[string]int // of each field that is there
	secrets  map[string]int // fields with a secret reference
	values   int
	problems Problems
}

// spot is where in the document the reader is.
type spot struct {
	field string
	is    string // syntax of the text
	empty bool   // a list may have no entry
	depth int
}

func (r *reader) add(line int, field, text, hint string) {
	r.problems.add(Problem{File: r.file, Line: line, Field: field, Text: text, Hint: hint})
}

// add keeps at most maxProblems and a last one that says so.
func (ps *Problems) add(p Problem) {
	switch {
	case len(*ps) < maxProblems:
		*ps = append(*ps, p)
	case len(*ps) == maxProblems:
		*ps = append(*ps, Problem{File: p.File, Line: p.Line, Text: "there are more problems", Hint: "mend these first"})
	}
}

// document reads data into v, which points to a struct.
func (r *reader) document(data []byte, v any) {
	if len(data) > maxBytes {
		r.add(0, "", fmt.Sprintf("the file is larger than %d KiB", maxBytes>>10), "")
		return
	}
	root, ok := r.parse(data)
	if !ok {
		return
	}
	if err := r.value(root, reflect.ValueOf(v).Elem(), spot{}); err != nil {
		r.add(root.Line, "", "the file is nested too deeply or holds too many values",
			fmt.Sprintf("at most %d levels and %d values, aliases counted each time", maxDepth, maxValues))
	}
}

// parse returns the only document of data.
func (r *reader) parse(data []byte) (*yaml.Node, bool) {
	var doc, next yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		if r.kind.least == "" {
			return nil, false
		}
		r.add(1, "", "the file is empty", "it needs at least "+r.kind.least)
		return nil, false
	} else if err != nil {
		r.problems.add(SyntaxProblem(r.file, data, err))
		return nil, false
	}
	if err := dec.Decode(&next); err == nil {
		r.add(next.Line, "", "the file holds more than one document", "remove the line ---")
		return nil, false
	} else if !errors.Is(err, io.EOF) {
		r.problems.add(SyntaxProblem(r.file, data, err))
		return nil, false
	}
	return doc.Content[0], true
}

var (
	yamlLine   = regexp.MustCompile(`^line (\d+): `)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// yamlParser are the texts of the yaml package's parser, which counts lines
	// from 0 in an error; those of its scanner and composer count from 1.
	yamlParser = regexp.MustCompile(`^(did not find expected (<|node content|'-' indicator|key|',' or)|` +
		`found (undefined tag handle|duplicate %|incompatible YAML))`)
)

// SyntaxProblem is what the yaml package's error says about a file that is not
// YAML, with the line as a person counts it.
func SyntaxProblem(file string, data []byte, err error) Problem {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		if text = text[len(m[0]):]; yamlParser.MatchString(text) {
			line++
		}
	} else if m := yamlAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
	}
	last := 1 + bytes.Count(bytes.TrimRight(data, "\n"), []byte("\n"))
	p := Problem{File: file, Line: min(line, last), Text: "is not YAML: " + text}
	if strings.HasPrefix(text, "did not find expected ',' or ") {
		if at := bareVariable(data, p.Line); at > 0 {
			p.Line, p.Hint = at, `between { } or [ ] a variable has to be quoted: "${NAME}"`
		}
	}
	return p
}

// maxFlow is how many lines of a flow collection are looked at.
const maxFlow = 50

// bareVariable is the line of the first ${ without quotes in the flow collection
// that begins on a line: YAML takes its brace for the start of a mapping. 0: there
// is none.
func bareVariable(data []byte, from int) int {
	lines := strings.Split(string(data), "\n")
	quote, depth, last := byte(0), 0, byte(' ')
	for n := from; n <= min(len(lines), from+maxFlow); n++ {
		line := lines[n-1]
		for i := range len(line) {
			c := line[i]
			switch {
			case quote != 0:
				if c == quote && (quote == '\'' || last != '\\') {
					quote = 0
				}
			case (c == '"' || c == '\'') && strings.IndexByte(" \t{[,:", last) >= 0: // else it is an apostrophe
				quote = c
			case c == '{' && last == '$' && depth > 0:
				return n
			case c == '{', c == '[':
				depth++
			case c == '}', c == ']':
				depth--
			}
			last = c
		}
		last = ' '
		if depth <= 0 && quote == 0 {
			return 0
		}
	}
	return 0
}

// value reads one node. Its only error is errTooMuch; everything else wrong is
// added to the problems.
func (r *reader) value(n *yaml.Node, v reflect.Value, at spot) error {
	if r.values++; r.values > maxValues || at.depth > maxDepth {
		return errTooMuch
	}
	if _, ok := r.lines[at.field]; !ok {
		r.lines[at.field] = n.Line
	}
	if n.Kind == yaml.AliasNode {
		at.depth++
		return r.value(n.Alias, v, at)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch v.Interface().(type) {
	case Duration, Size, Window, time.Time:
		r.special(n, v, at)
		return nil
	case Notify:
		if n.Kind == yaml.ScalarNode { // short for a map with nothing but the URL
			r.scalar(n, v.FieldByName("URL"), at)
			return nil
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		return r.object(n, v, at)
	case reflect.Map:
		return r.dict(n, v, at)
	case reflect.Slice:
		return r.list(n, v, at)
	case reflect.Interface:
		got, err := r.free(n, at)
		if got != nil {
			v.Set(reflect.ValueOf(got))
		}
		return err
	}
	r.scalar(n, v, at)
	return nil
}

// object reads a mapping into a struct.
func (r *reader) object(n *yaml.Node, v reflect.Value, at spot) error {
	fields := structFields(v.Type())
	err := r.pairs(n, at, func(key *yaml.Node, child spot, value *yaml.Node) error {
		f, ok := fields[key.Value]
		if !ok {
			r.unknown(key, child.field, fields)
			return nil
		}
		child.is, child.empty = f.Tag.Get("is"), f.Tag.Get("empty") != ""
		return r.value(value, v.FieldByIndex(f.Index), child)
	})
	if err != nil || n.Kind != yaml.MappingNode {
		return err
	}
	for name, f := range fields {
		if _, there := r.lines[join(at.field, name)]; f.Tag.Get("need") != "" && !there {
			hint := ""
			if sample := syntaxes[f.Tag.Get("is")].sample(); sample != "" {
				hint = "add " + name + ": " + sample
			}
			r.add(n.Line, join(at.field, name), "is required", hint)
		}
	}
	return nil
}

func (r *reader) unknown(key *yaml.Node, field string, fields map[string]reflect.StructField) {
	if key.Value == "<<" {
		r.add(key.Line, field, "merge keys are not supported", "write the keys out, or use an alias for a whole value")
		return
	}
	r.add(key.Line, field, "unknown key", didYouMean(key.Value, sortedKeys(fields)))
}

// dict reads a mapping into a map with text keys.
func (r *reader) dict(n *yaml.Node, v reflect.Value, at spot) error {
	v.Set(reflect.MakeMap(v.Type()))
	is, _, _ := strings.Cut(at.is, ";")
	keys := syntaxes[keySyntax(at.is)]
	return r.pairs(n, at, func(key *yaml.Node, child spot, value *yaml.Node) error {
		if text := keys.text(key.Value); text != "" {
			r.add(key.Line, child.field, text, keys.advice(key.Value))
		}
		child.is = is
		elem := reflect.New(v.Type().Elem()).Elem()
		err := r.value(value, elem, child)
		v.SetMapIndex(reflect.ValueOf(key.Value), elem)
		return err
	})
}

// keySyntax and the cut above split "VALUES;KEYS", which structFields makes.
func keySyntax(is string) string {
	_, keys, _ := strings.Cut(is, ";")
	return keys
}

// pairs calls visit for each key of a mapping that is text and not a
// duplicate.
func (r *reader) pairs(n *yaml.Node, at spot, visit func(*yaml.Node, spot, *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		r.wrong(n, at, "a map", "write it as KEY: VALUE lines, indented")
		return nil
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		child := spot{field: join(at.field, key.Value), depth: at.depth + 1}
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" && key.Tag != "!!merge" {
			r.add(key.Line, at.field, "a key is "+describe(key)+", not text", "put it in quotes")
			continue
		}
		if line, twice := first[key.Value]; twice {
			r.add(key.Line, child.field, "duplicate key", fmt.Sprintf("it stands on line %d already", line))
			continue
		}
		first[key.Value] = key.Line
		r.lines[child.field] = key.Line
		if err := visit(key, child, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// list reads a sequence into a slice.
func (r *reader) list(n *yaml.Node, v reflect.Value, at spot) error {
	if n.Kind != yaml.SequenceNode {
		r.wrong(n, at, "a list", "write [ONE, TWO], or one line with a dash for each")
		return nil
	}
	if len(n.Content) == 0 && !at.empty {
		r.add(n.Line, at.field, "the list is empty", "remove the key or give it a value")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, c := range n.Content {
		child := spot{field: fmt.Sprintf("%s[%d]", at.field, i), is: at.is, depth: at.depth + 1}
		if err := r.value(c, v.Index(i), child); err != nil {
			return err
		}
	}
	return nil
}

// wrong reports a value of another type than wanted.
func (r *reader) wrong(n *yaml.Node, at spot, want, hint string) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		r.add(n.Line, at.field, "has no value", "remove the key or give it a value")
		return
	}
	r.add(n.Line, at.field, "is "+describe(n)+", not "+want, hint)
}

func join(field, key string) string {
	if field == "" {
		return clip(key)
	}
	return field + "." + clip(key)
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a time"
	case "!!null":
		return "nothing"
	}
	return "a value with the tag " + clip(n.Tag)
}
