package desired

import (
	"regexp"
	"slices"
	"strings"
)

// document is a YAML file with the places of its fields.
type document struct {
	file     string
	lines    map[string]int // of each field that is there
	secrets  map[string]int // fields with a secret reference
	problems Problems
}

// parsed is an instance.yaml that was read.
type parsed struct {
	Instance
	document
}

// ParseInstance reads instance.yaml strictly: everything wrong with the file
// by itself is returned at once as Problems, where file is the name that they
// carry. What a version does not support, and what needs the compose files to
// judge, is left to Load.
func ParseInstance(file string, data []byte) (Instance, error) {
	p := parseInstance(file, data)
	return p.Instance, p.problems.Err()
}

func parseInstance(file string, data []byte) *parsed {
	p := &parsed{}
	p.document = readDocument(instanceKind, file, data, &p.Instance)
	p.check()
	return p
}

// readDocument reads a file of a kind into v, which points to a struct.
func readDocument(kind fileKind, file string, data []byte, v any) document {
	r := &reader{kind: kind, file: file, lines: map[string]int{}, secrets: map[string]int{}}
	r.document(data, v)
	return document{file: file, lines: r.lines, secrets: r.secrets, problems: r.problems}
}

// fileKind is what differs between the kinds of files that are read.
type fileKind struct {
	least  string         // what such a file needs at least; empty: nothing
	places *regexp.Regexp // the fields in which a secret reference is filled in
	whole  bool           // of a value that is one reference nothing is known before
}

var instanceKind = fileKind{least: "apiVersion: fairlead/v1 and name: NAME", places: secretPlaces}

// has says whether the file has the field.
func (p *document) has(field string) bool { _, ok := p.lines[field]; return ok }

// line is where the field stands, or the nearest field around it.
func (p *document) line(field string) int {
	for {
		if line, ok := p.lines[field]; ok || field == "" {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
}

func (p *document) add(field, text, hint string) {
	p.problems.add(Problem{File: p.file, Line: p.line(field), Field: field, Text: text, Hint: hint})
}

// blank says that nothing of the file could be read.
func (p *document) blank() bool { return len(p.problems) > 0 && len(p.lines) == 0 }

// itselfBad says whether something is wrong with the field as a whole.
func (p *document) itselfBad(field string) bool {
	return slices.ContainsFunc(p.problems, func(x Problem) bool { return x.Field == field })
}

// badBeyond says whether something is wrong with what is in the field, except
// for one part of it.
func (p *document) badBeyond(field, part string) bool {
	return len(p.problems) > maxProblems || slices.ContainsFunc(p.problems, func(x Problem) bool {
		return within(x.Field, field) && !within(x.Field, part)
	})
}

// within says whether a field is another one or stands in it.
func within(field, other string) bool {
	rest, ok := strings.CutPrefix(field, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// bad says whether something is wrong with the field or what is in it.
func (p *document) bad(field string) bool {
	return len(p.problems) > maxProblems || slices.ContainsFunc(p.problems, func(x Problem) bool { return within(x.Field, field) })
}
