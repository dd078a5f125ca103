package desired

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The yaml package counts the lines of its errors in two ways.
func TestSyntaxErrorLines(t *testing.T) {
	const head = "apiVersion: fairlead/v1\nname: a\n"
	tests := map[string]struct {
		in   string
		line int
	}{
		"flow list":      {head + "compose:\n  files: [a\nhealth: 1", 4},
		"flow map":       {head + "compose: {files: 1\nhealth: 1", 3},
		"first line":     {"{", 1},
		"key":            {head + "health:\n  bake: 1s\n bad: 1", 5},
		"key at the end": {head + "]", 3},
		"no colon":       {head + "health\nbake: 1", 3},
		"tab":            {head + "health:\n\tbake: 1s", 4},
		"quote":          {head + "health: \"x", 3},
		"colon":          {head + "health: a: b", 3},
		"dash":           {head + "notify:\n  - a\n  b", 5},
		"anchor":         {head + "health: 1\nretain: *none", 4},
		"escape":         {head + "health: \"\\q\"", 3},
		"tag":            {head + "health: !x!y 1", 3},
		"directive":      {"%YAML 1.1\n%YAML 1.1\n---\n" + head, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInstance("i", []byte(tt.in))
			if err == nil {
				t.Fatal("it is taken for YAML")
			}
			p := err.(Problems)
			if len(p) != 1 || p[0].Line != tt.line || !strings.HasPrefix(p[0].Text, "is not YAML: ") {
				t.Errorf("got %v, want line %d", err, tt.line)
			}
		})
	}
}

// TestBareVariableIsToldToBeQuoted: YAML's own words do not lead anybody to the
// missing quotes.
func TestBareVariableIsToldToBeQuoted(t *testing.T) {
	for _, tt := range []struct {
		yaml string
		line int // with the hint; 0: none
	}{
		{"smoke:\n  - {name: a, post: /a, body: {email: ${secret:E}, p: 1}}\n", 2},
		{"smoke:\n  - {name: a, post: /a,\n     body: {email: \"a\",\n      p: ${secret:E}},\n     b: 2}\nz: 1\n", 4},
		{"a: {url: http://${HOST}/x}\n", 1},
		{"a: [x, ${HOST}]\n", 1},
		{"a: {x: ${A}\n", 1},
		{"a: {w: don't, x: ${A}}\n", 1},
		{"a: {x: \"${A}\" \"${B}\"}\n", 0},
		{"a: {x: '${A}' b}\n", 0},
		{"a: {x: y\nb: 1\n", 0},
		{"a: {x: y: z}\nb: ${A}\n", 0},
	} {
		var doc yaml.Node
		err := yaml.Unmarshal([]byte(tt.yaml), &doc)
		if err == nil {
			t.Errorf("%q is YAML", tt.yaml)
			continue
		}
		p := SyntaxProblem("instance.yaml", []byte(tt.yaml), err)
		if hinted := strings.Contains(p.Hint, "quoted"); hinted != (tt.line > 0) || hinted && p.Line != tt.line {
			t.Errorf("%q: %s, want the hint at line %d", tt.yaml, p, tt.line)
		}
	}
}
