package desired

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a file, said so that a person (or an agent)
// can mend it: where, what, and what to do.
type Problem struct {
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"` // 1 is the first; 0: not known
	Field string `json:"field,omitempty"`
	Text  string `json:"problem"`
	Hint  string `json:"hint,omitempty"`
	// Rule is the key of the policy that does not permit it; empty: it is wrong
	// by itself.
	Rule string `json:"rule,omitempty"`
}

// String reads "file:line: field: problem (hint)".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	b.WriteString(": " + p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is the error of a revision that does not load: everything wrong
// with it at once.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Sort puts the problems in the order of file, line and field.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Field, b.Field)
	})
}

// Forbidden says whether all that is wrong is against a policy.
func (ps Problems) Forbidden() bool {
	return len(ps) > 0 && !slices.ContainsFunc(ps, func(p Problem) bool { return p.Rule == "" })
}

// Verdict is what they come to for a revision, as the end of a sentence.
func (ps Problems) Verdict() string {
	if ps.Forbidden() {
		return "is against a policy"
	}
	return "does not validate"
}

// Err returns the problems sorted, or nil when there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	ps.Sort()
	return ps
}
