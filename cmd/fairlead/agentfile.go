package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// The bounds of agent.yaml.
const (
	maxAgentFile = 64 << 10
	maxAgentList = 100
)

// agentReader reads agent.yaml and collects everything that is wrong with it.
type agentReader struct {
	file     string
	into     *settings
	problems desired.Problems
}

func (r *agentReader) add(n *yaml.Node, field, problem, hint string) {
	r.problems = append(r.problems, desired.Problem{File: r.file, Line: n.Line, Field: field, Text: problem, Hint: hint})
}

// parseAgentFile reads agent.yaml strictly into s.
func parseAgentFile(name string, data []byte, s *settings) error {
	r := &agentReader{file: name, into: s}
	if len(data) > maxAgentFile {
		r.problems = append(r.problems, desired.Problem{File: name, Text: fmt.Sprintf("the file is larger than %d KiB", maxAgentFile>>10)})
		return r.problems
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || (err == nil && len(doc.Content) == 0) {
		return nil // nothing is set
	}
	if err != nil {
		r.syntax(err)
		return r.problems
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		r.add(&more, "", "the file holds more than one document", "remove the line ---")
	}
	if root := doc.Content[0]; root.Kind != yaml.ScalarNode || root.Tag != "!!null" {
		r.mapping(root, "")
	}
	return r.problems.Err()
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

func (r *agentReader) syntax(err error) {
	problem, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlLine.FindStringSubmatch(problem); m != nil {
		line, _ = strconv.Atoi(m[1])
		problem = problem[len(m[0]):]
	}
	r.problems = append(r.problems, desired.Problem{File: r.file, Line: line, Text: "is not YAML: " + problem})
}

func (r *agentReader) mapping(n *yaml.Node, prefix string) {
	if n.Kind != yaml.MappingNode {
		r.add(n, strings.TrimSuffix(prefix, "."), "is not a map", "write it as KEY: VALUE lines, indented")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := prefix + key.Value
		if line, twice := seen[key.Value]; twice {
			r.add(key, field, "duplicate key", fmt.Sprintf("it stands on line %d already", line))
			continue
		}
		seen[key.Value] = key.Line
		r.key(key, value, field)
	}
}

func (r *agentReader) key(key, value *yaml.Node, field string) {
	all := options()
	i := slices.IndexFunc(all, func(o option) bool { return o.key == field })
	switch {
	case i >= 0:
		r.value(all[i], value)
	case slices.ContainsFunc(all, func(o option) bool { return strings.HasPrefix(o.key, field+".") }):
		r.mapping(value, field+".")
	default:
		r.add(key, field, "unknown key", r.near(field))
	}
}

// near is a hint for a key that is not known.
func (r *agentReader) near(field string) string {
	var best string
	least := 1 + len(field)/3
	var known []string
	for _, o := range options() {
		known = append(known, o.key)
	}
	for _, name := range known {
		if d := desired.Distance(strings.ToLower(field), strings.ToLower(name)); d <= least {
			best, least = name, d-1
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	slices.Sort(known)
	return "allowed: " + strings.Join(known, ", ")
}

func (r *agentReader) value(o option, n *yaml.Node) {
	if o.list {
		r.list(o, n)
		return
	}
	if v, ok := r.scalar(o, n, o.key); ok {
		r.set(o, n, []string{v})
	}
}

func (r *agentReader) list(o option, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 && !o.empty || len(n.Content) > maxAgentList {
		r.add(n, o.key, fmt.Sprintf("is not a list of 1 to %d", maxAgentList), "write [ONE, TWO]")
		return
	}
	var values []string
	for i, item := range n.Content {
		v, ok := r.scalar(o, item, fmt.Sprintf("%s[%d]", o.key, i))
		if !ok {
			return
		}
		values = append(values, v)
	}
	r.set(o, n, values)
}

func (r *agentReader) scalar(o option, n *yaml.Node, field string) (string, bool) {
	want, tag := "text", "!!str"
	switch o.kind {
	case "BOOL":
		want, tag = "true or false", "!!bool"
	case "NUMBER":
		want, tag = "a number", "!!int"
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		r.add(n, field, "has no value", "remove the key or give it a value")
	case n.Kind != yaml.ScalarNode:
		r.add(n, field, "is not "+want, "")
	case n.Tag == "!!int" && o.kind == "DURATION":
		r.add(n, field, "has no unit", "for example "+n.Value+"s")
	case n.Tag != tag && want == "text":
		r.add(n, field, "is not text", "put it in quotes")
	case n.Tag != tag:
		r.add(n, field, "is not "+want, "")
	default:
		return n.Value, true
	}
	return "", false
}

func (r *agentReader) set(o option, n *yaml.Node, values []string) {
	if err := o.set(r.into, values); err != nil {
		problem, hint, _ := strings.Cut(err.Error(), "; ")
		r.add(n, o.key, problem, hint)
	}
}

// readBounded reads at most limit bytes of a regular file.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is not a file", name)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
