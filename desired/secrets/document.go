package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// document is a file that was read, still encrypted.
type document struct {
	file string
	doc  *yaml.Node
	root *yaml.Node // the mapping
	meta metadata
	size int
}

// entry is a key at the top of the file with what it holds.
type entry struct{ key, value *yaml.Node }

func (e entry) referable() bool {
	return e.value.Kind == yaml.ScalarNode && e.value.Tag != "!!null" && referable.MatchString(e.key.Value)
}

// leaf is a value of the file with its place: the keys that lead to it. Lists
// add nothing to a place.
type leaf struct {
	node   *yaml.Node
	path   []string
	inList bool
}

func (l leaf) place() string { return placeOf(l.path) }

func placeOf(path []string) string { return strings.Join(path, ":") + ":" }

func (f *document) problem(n *yaml.Node, field, text, hint string) desired.Problems {
	p := desired.Problem{File: f.file, Field: clip(field), Text: text, Hint: hint}
	if n != nil {
		p.Line = n.Line
	}
	return desired.Problems{p}
}

const setHint = "fairlead secret set makes it, or sops encrypt"

// parse reads a file as far as that goes without a key.
func parse(file string, data []byte) (*document, error) {
	f := &document{file: file, size: len(data)}
	if len(data) > MaxFile {
		return nil, f.problem(nil, "", fmt.Sprintf("the file is larger than %d KiB", MaxFile>>10), "keep large things elsewhere, and only the key to them here")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		return nil, f.problem(&yaml.Node{Line: 1}, "", "the file is empty", setHint)
	case err != nil:
		return nil, desired.Problems{desired.SyntaxProblem(file, data, err)}
	}
	if err := dec.Decode(&more); err == nil {
		return nil, f.problem(&more, "", "the file holds more than one document", "remove the line ---")
	} else if !errors.Is(err, io.EOF) {
		return nil, desired.Problems{desired.SyntaxProblem(file, data, err)}
	}
	f.doc, f.root = &doc, doc.Content[0]
	if f.root.Kind != yaml.MappingNode {
		return nil, f.problem(f.root, "", "is not a map of names and values", setHint)
	}
	c := checker{document: f}
	if err := c.check(f.root, nil, 0); err != nil {
		return nil, err
	}
	return f, f.readMeta()
}

// checker refuses what sops would not write: what is left is a tree without
// aliases whose keys are texts, each once.
type checker struct {
	*document
	values int
}

func (c *checker) check(n *yaml.Node, path []string, depth int) error {
	if c.values++; c.values > maxValues || depth > maxDepth {
		return c.problem(n, "", "the file is nested too deeply or holds too many values", fmt.Sprintf("at most %d levels and %d values", maxDepth, maxValues))
	}
	field := strings.Join(path, ".")
	switch n.Kind {
	case yaml.AliasNode:
		return c.problem(n, field, "is an alias", "write the value out: each is encrypted for its place")
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := c.check(item, path, depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		return c.mapping(n, path, depth)
	}
	return nil
}

func (c *checker) mapping(n *yaml.Node, path []string, depth int) error {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" && key.Tag != "!!merge" {
			return c.problem(key, strings.Join(path, "."), "a key is not text", "put it in quotes")
		}
		inner := append(slices.Clone(path), key.Value)
		if line, twice := first[key.Value]; twice {
			return c.problem(key, strings.Join(inner, "."), "duplicate key", fmt.Sprintf("it stands on line %d already", line))
		}
		first[key.Value] = key.Line
		if err := c.check(n.Content[i+1], inner, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entries are the keys at the top, without what sops keeps for itself.
func (f *document) entries() []entry {
	var out []entry
	for i := 0; i+1 < len(f.root.Content); i += 2 {
		if key := f.root.Content[i]; key.Value != metaKey {
			out = append(out, entry{key, f.root.Content[i+1]})
		}
	}
	return out
}

// leaves are all values in the order of the file, in which the code of the
// file counts them.
func (f *document) leaves() []leaf {
	var out []leaf
	for _, e := range f.entries() {
		out = appendLeaves(out, e.value, []string{e.key.Value}, false)
	}
	return out
}

func appendLeaves(out []leaf, n *yaml.Node, path []string, inList bool) []leaf {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			out = appendLeaves(out, n.Content[i+1], append(slices.Clone(path), n.Content[i].Value), false)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			out = appendLeaves(out, item, path, true)
		}
	default:
		if n.Tag != "!!null" { // which sops neither encrypts nor counts
			out = append(out, leaf{n, path, inList})
		}
	}
	return out
}

// clear is what a value that is not encrypted stands for. It follows what sops
// makes of each type of YAML.
func clear(n *yaml.Node) (plain, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return plain{}, errKind
	}
	switch v := v.(type) {
	case string:
		return plain{v, kindText}, nil
	case int:
		return plain{strconv.Itoa(v), kindInt}, nil
	case float64:
		return plain{strconv.FormatFloat(v, 'f', -1, 64), kindFloat}, nil
	case bool:
		return plain{titleBool(v), kindBool}, nil
	case time.Time:
		return plain{v.Format(time.RFC3339Nano), kindTime}, nil
	}
	return plain{}, errKind
}

// sealed refuses values in the clear where the file says that there are none.
func (f *document) sealed() error {
	var all desired.Problems
	for _, l := range f.leaves() {
		if f.meta.encrypts(l.path) && l.node.Value != "" && !(l.node.Tag == "!!str" && isSealed(l.node.Value)) {
			all = append(all, f.problem(l.node, strings.Join(l.path, "."), errNotSealed.Error(), clearHint)...)
		}
	}
	return all.Err()
}

const clearHint = "set it with fairlead secret set, or sops edit; if it was committed, replace the value: whoever reads the repository has it"
