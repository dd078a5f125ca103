package desired

import (
	"errors"
	"strings"
	"testing"
)

func TestParseSmoke(t *testing.T) {
	const head = "apiVersion: fairlead/v1\nname: acme\nhealth: {service: app, port: 8000}\n"
	tests := []struct {
		name, text string
		steps      int
		wrong      string // a part of the problems; "" is none
	}{
		{"a list", "- {name: a, get: /}\n- name: b\n  post: /b\n  body: [1]\n", 2, ""},
		{"an instance", head + "smoke: [{name: a, get: /}]\n", 1, ""},
		{"an instance without steps", head, 0, "s.yaml:1: smoke: holds no step"},
		{"an instance that is wrong", head + "smok: []\nsmoke: [{name: a, get: /}]\n", 0, "s.yaml:4: smok: unknown key (did you mean smoke?)"},
		{"an empty list", "[]", 0, "s.yaml:1: smoke: the list is empty"},
		{"an empty file", "", 0, "s.yaml:1: the file is empty"},
		{"a text", "smoke", 0, "s.yaml:1: smoke: is text, not a list"},
		{"not YAML", "- {name: a", 0, "is not YAML"},
		{"two documents", "- {name: a, get: /}\n---\n- {name: b, get: /}\n", 0, "more than one document"},
		{"unknown key", "- {name: a, get: /}\n- {name: b, gett: /}\n", 0, "s.yaml:2: smoke[1].gett: unknown key (did you mean get?)"},
		{"nobody saved it", "- {name: a, get: /, bearer: t}\n", 0, `s.yaml:1: smoke[0].bearer: no step above saves "t"`},
		{"too large", strings.Repeat("#", maxBytes+1), 0, "larger than 1024 KiB"},
		{"too deep", "- {name: a, post: /, body: " + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}\n", 0, "nested too deeply"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps, err := ParseSmoke("s.yaml", []byte(tt.text))
			if tt.wrong == "" {
				if err != nil || len(steps) != tt.steps {
					t.Errorf("%d steps, %v", len(steps), err)
				}
				return
			}
			var problems Problems
			if !errors.As(err, &problems) || !strings.Contains(problems.Error(), tt.wrong) {
				t.Errorf("error %v, want %q", err, tt.wrong)
			}
		})
	}
}

func FuzzParseSmoke(f *testing.F) {
	for _, seed := range []string{"- {name: a, get: /}", "- name: a\n  post: /\n  expect: {statusIn: [200], json: {a: {not: 1}}}", "[]", "smoke: []", "- &a {name: a, get: /}\n- *a", "x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		steps, err := ParseSmoke("s.yaml", data)
		var problems Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("error %v is no problem of the file", err)
		}
		if err == nil && len(steps) == 0 {
			t.Fatal("no step, and nothing is wrong")
		}
		for _, p := range problems {
			if p.File != "s.yaml" || p.Text == "" {
				t.Fatalf("problem %+v", p)
			}
		}
	})
}
