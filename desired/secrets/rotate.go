package secrets

import (
	"crypto/rand"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// rotate gives the file a new data key. Those who read it by other means than
// age would be shut out, so that is refused.
func (e *edit) rotate() error {
	if len(e.meta.others) > 0 {
		return e.problem(e.meta.node, metaKey, "has recipients that are not of age: "+strings.Join(e.meta.others, ", "), "sops rotate gives them the new key, too")
	}
	old := e.key
	e.key = make([]byte, keySize)
	if _, err := rand.Read(e.key); err != nil {
		return fmt.Errorf("make data key: %w", err)
	}
	for _, l := range e.leaves() {
		if !e.meta.encrypts(l.path) {
			continue
		}
		enc, err := sealValue(e.plains[l.node], e.key, l.place())
		if err != nil {
			return err
		}
		l.node.Value = enc
	}
	for _, at := range comments(e.doc, nil) {
		if err := e.rotateComment(at, old); err != nil {
			return err
		}
	}
	if holder := e.ageHolder(); field(holder, "age") != nil {
		put(holder, "age", &yaml.Node{Kind: yaml.SequenceNode})
	}
	return nil
}

// commentAt is a comment with the places that it may have been encrypted for:
// sops counts it to the mapping or the list that it stands in, which YAML does
// not tell exactly.
type commentAt struct {
	text   *string
	places []string
}

func comments(n *yaml.Node, path []string) (out []commentAt) {
	var parent []string
	if len(path) > 0 {
		parent = path[:len(path)-1]
	}
	places := []string{placeOf(path), placeOf(parent)}
	for _, text := range []*string{&n.HeadComment, &n.LineComment, &n.FootComment} {
		if strings.Contains(*text, "ENC[") {
			out = append(out, commentAt{text, places})
		}
	}
	for i, c := range n.Content {
		inner := path
		if n.Kind == yaml.MappingNode {
			key := n.Content[i-i%2]
			if len(path) == 0 && key.Value == metaKey && i%2 == 1 {
				continue
			}
			inner = append(append([]string{}, path...), key.Value)
		}
		out = append(out, comments(c, inner)...)
	}
	return out
}

// rotateComment encrypts the lines of a comment anew. A line that the old key
// does not open is left as it is: sops takes it for one in the clear.
func (e *edit) rotateComment(at commentAt, old []byte) error {
	lines := strings.Split(*at.text, "\n")
	for i, line := range lines {
		for _, place := range at.places {
			p, err := unsealValue(strings.TrimPrefix(line, "#"), old, place)
			if err != nil {
				continue
			}
			enc, err := sealValue(p, e.key, place)
			if err != nil {
				return err
			}
			lines[i] = "#" + enc
			break
		}
	}
	*at.text = strings.Join(lines, "\n")
	return nil
}
