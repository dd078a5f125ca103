package desired

import (
	"slices"
	"strings"
)

// parsed is an instance.yaml with the places of its fields.
type parsed struct {
	Instance
	file     string
	lines    map[string]int
	secrets  map[string]int
	problems Problems
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
	p := &parsed{file: file}
	r := &reader{file: file, lines: map[string]int{}, secrets: map[string]int{}}
	r.document(data, &p.Instance)
	p.lines, p.secrets, p.problems = r.lines, r.secrets, r.problems
	p.check()
	return p
}

// has says whether the file has the field.
func (p *parsed) has(field string) bool { _, ok := p.lines[field]; return ok }

// line is where the field stands, or the nearest field around it.
func (p *parsed) line(field string) int {
	for {
		if line, ok := p.lines[field]; ok || field == "" {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
}

func (p *parsed) add(field, text, hint string) {
	p.problems.add(Problem{File: p.file, Line: p.line(field), Field: field, Text: text, Hint: hint})
}

// blank says that nothing of the file could be read.
func (p *parsed) blank() bool { return len(p.problems) > 0 && len(p.lines) == 0 }

// itselfBad says whether something is wrong with the field as a whole.
func (p *parsed) itselfBad(field string) bool {
	return slices.ContainsFunc(p.problems, func(x Problem) bool { return x.Field == field })
}

// badBeyond says whether something is wrong with what is in the field, except
// for one part of it.
func (p *parsed) badBeyond(field, part string) bool {
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
func (p *parsed) bad(field string) bool {
	return len(p.problems) > maxProblems || slices.ContainsFunc(p.problems, func(x Problem) bool { return within(x.Field, field) })
}
