package desired

import (
	"strings"
	"testing"
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
