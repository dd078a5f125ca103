package secrets

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// writtenBy is the version of sops whose format a new file has; sops warns of
// files by a newer one than itself.
const writtenBy = "3.9.0"

// Set returns the file with some values changed, nil for those that are to go.
// It needs the keys to a file that is there, proves it first and keeps for
// whom it is encrypted; what does not change keeps its bytes. Without an old
// file it makes one for the recipients of rule. When nothing changes the answer
// is old itself.
func Set(file string, old []byte, rule Rule, keys *Keys, values map[string]*string, now time.Time) ([]byte, error) {
	if err := checkValues(values); err != nil {
		return nil, err
	}
	e, err := edited(file, old, rule, keys)
	if err != nil {
		return nil, err
	}
	for _, name := range sorted(values) {
		if err := e.set(name, values[name]); err != nil {
			return nil, err
		}
	}
	if !e.changed {
		return old, nil
	}
	return e.finish(now)
}

func checkValues(values map[string]*string) error {
	for _, name := range sorted(values) {
		v := values[name]
		if err := CheckName(name); err != nil && v != nil {
			return err
		}
		switch {
		case v == nil:
		case *v == "":
			return fmt.Errorf("the value of %s is empty; remove the secret instead", name)
		case len(*v) > MaxValue:
			return fmt.Errorf("the value of %s is larger than %d KiB", name, MaxValue>>10)
		case !utf8.ValidString(*v) || strings.ContainsRune(*v, 0):
			return fmt.Errorf("the value of %s is not text: write it in base64", name)
		}
	}
	return nil
}

// edit is a file that is being changed.
type edit struct {
	*document
	*opened
	changed bool
}

// edited opens a file for changes, or begins a new one.
func edited(file string, old []byte, rule Rule, keys *Keys) (*edit, error) {
	if len(bytes.TrimSpace(old)) > 0 {
		f, err := parse(file, old)
		if err != nil {
			return nil, err
		}
		o, err := f.open(keys)
		if err != nil {
			return nil, err
		}
		return &edit{document: f, opened: o}, nil
	}
	if len(rule.Others) > 0 {
		return nil, desired.Problems{{File: rule.Config, Text: "the rule names keys that are not of age: " + strings.Join(rule.Others, ", "),
			Hint: "make the file with sops, which has them; Fairlead changes it then"}}
	}
	if len(rule.Recipients) == 0 {
		return nil, errors.New("there is nobody to encrypt for: no recipient is known")
	}
	return begun(file, rule)
}

// begun is a new file without a value.
func begun(file string, rule Rule) (*edit, error) {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	meta := &yaml.Node{Kind: yaml.MappingNode}
	says := map[string]*yaml.Node{"lastmodified": textNode(""), "mac": textNode(""), "version": textNode(writtenBy)}
	for k, v := range rule.which {
		says[k] = textNode(v)
	}
	if len(rule.which) == 0 {
		says["unencrypted_suffix"] = textNode("_unencrypted")
	}
	if rule.onlyMAC {
		says["mac_only_encrypted"] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"}
	}
	for _, key := range sorted(says) { // the order of sops
		put(meta, key, says[key])
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	put(root, metaKey, meta)
	f := &document{file: file, doc: &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}}, root: root}
	f.meta.node = meta
	f.meta.onlySealed = rule.onlyMAC
	if err := f.readWhich(&f.meta); err != nil {
		return nil, err
	}
	e := &edit{document: f, opened: &opened{key: key, values: map[string]string{}, plains: map[*yaml.Node]plain{}}}
	return e, e.sealFor(rule.Recipients)
}

// set changes one value.
func (e *edit) set(name string, value *string) error {
	at := slices.IndexFunc(e.root.Content, func(n *yaml.Node) bool { return n.Value == name })
	for at >= 0 && at%2 == 1 { // a value, which happens to be the name
		next := slices.IndexFunc(e.root.Content[at+1:], func(n *yaml.Node) bool { return n.Value == name })
		if at += 1 + next; next < 0 {
			at = -1
		}
	}
	if value == nil {
		if at >= 0 && name != metaKey {
			e.root.Content = slices.Delete(e.root.Content, at, at+2)
			e.changed = true
		}
		return nil
	}
	if have, there := e.values[name]; there && have == *value {
		return nil
	}
	if !e.meta.encrypts([]string{name}) {
		return e.problem(e.meta.node, name, "would stand in the clear: the file encrypts only some names", "look at encrypted_regex, encrypted_suffix and their kin in the file's "+metaKey+" block")
	}
	p := plain{*value, kindText}
	enc, err := sealValue(p, e.key, placeOf([]string{name}))
	if err != nil {
		return err
	}
	node := textNode(enc)
	e.plains[node], e.changed = p, true
	if at >= 0 {
		node.LineComment = e.root.Content[at+1].LineComment
		e.root.Content[at+1] = node
		return nil
	}
	end := slices.IndexFunc(e.root.Content, func(n *yaml.Node) bool { return n == e.meta.node }) - 1
	e.root.Content = slices.Insert(e.root.Content, end, textNode(name), node)
	return nil
}

// finish writes the code of the file and its time, and the whole as text.
func (e *edit) finish(now time.Time) ([]byte, error) {
	e.meta.lastModified = now.UTC().Format(time.RFC3339)
	code, err := e.code(func(l leaf) (plain, error) { return e.plains[l.node], nil })
	if err != nil {
		return nil, err
	}
	mac, err := sealValue(plain{code, kindText}, e.key, e.macPlace())
	if err != nil {
		return nil, err
	}
	put(e.meta.node, "lastmodified", textNode(e.meta.lastModified))
	put(e.meta.node, "mac", textNode(mac))
	out, err := encode(e.doc, indentOf(e.doc))
	if err == nil && len(out) > MaxFile {
		return nil, e.problem(nil, "", fmt.Sprintf("would be larger than %d KiB", MaxFile>>10), "keep large things elsewhere, and only the key to them here")
	}
	return out, err
}

// sealFor writes for whom the data key is encrypted. Those who have it already
// keep theirs.
func (e *edit) sealFor(recipients []string) error {
	old := map[string]*yaml.Node{}
	holder := e.ageHolder()
	for _, k := range list(holder, "age") {
		old[text(k, "recipient")] = k
	}
	age := &yaml.Node{Kind: yaml.SequenceNode}
	for _, one := range recipients {
		n := old[one]
		if n == nil {
			enc, err := seal(e.key, one)
			if err != nil {
				return err
			}
			n = &yaml.Node{Kind: yaml.MappingNode}
			put(n, "enc", textNode(enc))
			put(n, "recipient", textNode(one))
		}
		age.Content = append(age.Content, n)
	}
	e.changed = true
	if field(holder, "age") == nil {
		holder.Content = slices.Insert(holder.Content, 0, textNode("age"), age)
	} else {
		put(holder, "age", age)
	}
	return nil
}

// ageHolder is the mapping with the list of age recipients.
func (e *edit) ageHolder() *yaml.Node {
	if groups := list(e.meta.node, "key_groups"); len(groups) == 1 && field(e.meta.node, "age") == nil {
		return groups[0]
	}
	return e.meta.node
}

func textNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// put sets a key of a mapping, behind the others when it is new.
func put(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, textNode(key), value)
}

// indentOf is how far a file indents, which sops lets people choose.
func indentOf(doc *yaml.Node) int {
	const usual = 4
	if len(doc.Content) == 0 {
		return usual
	}
	root := doc.Content[0]
	for i := 1; i < len(root.Content); i += 2 {
		if n := root.Content[i]; n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 {
			if by := n.Content[0].Column - root.Column; by >= 2 && by <= 8 {
				return by
			}
		}
	}
	return usual
}

// encode writes with the encoder that sops writes with, so that what neither
// changed looks the same behind both.
func encode(doc *yaml.Node, indent int) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(indent)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), nil
}
