package desired

import (
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// ParseSmoke reads the smoke steps of a file: a list of steps as they stand
// under smoke in instance.yaml, or a whole instance.yaml. Everything wrong with
// it is returned at once as Problems, where file is the name that they carry;
// no step at all is wrong too.
func ParseSmoke(file string, data []byte) ([]SmokeStep, error) {
	p := &parsed{document: document{file: file}}
	r := &reader{kind: instanceKind, file: file, lines: map[string]int{}, secrets: map[string]int{}}
	if len(data) > maxBytes {
		r.add(0, "", fmt.Sprintf("the file is larger than %d KiB", maxBytes>>10), "")
		return nil, r.problems.Err()
	}
	root, ok := r.parse(data)
	if !ok {
		return nil, r.problems.Err()
	}
	if root.Kind == yaml.MappingNode {
		p = parseInstance(file, data)
	} else {
		p.readSmoke(r, root)
	}
	if len(p.Smoke) == 0 && len(p.problems) == 0 {
		p.add("smoke", "holds no step", "add a list of steps: - {name: health, get: /api/health}")
	}
	return p.Smoke, p.problems.Err()
}

// readSmoke reads a list of steps as if it stood under smoke.
func (p *parsed) readSmoke(r *reader, root *yaml.Node) {
	const field = "smoke"
	if err := r.value(root, reflect.ValueOf(&p.Smoke).Elem(), spot{field: field}); err != nil {
		r.add(root.Line, field, "the list is nested too deeply or holds too many values",
			fmt.Sprintf("at most %d levels and %d values, aliases counted each time", maxDepth, maxValues))
	}
	p.lines, p.secrets, p.problems = r.lines, r.secrets, r.problems
	p.checkSmoke()
}
