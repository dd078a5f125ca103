package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// ConfigFile is where sops looks for whom a new file is encrypted, in the
// file's own directory and then in those above it.
const ConfigFile = ".sops.yaml"

// Rule is what the repository says about the secrets of one instance.
type Rule struct {
	// Config is the .sops.yaml that holds, by its path in the tree; empty:
	// there is none.
	Config string
	// Recipients are the age recipients of the rule that fits, in its order;
	// Others the keys of other kinds, as KIND:KEY, which only sops can serve.
	Recipients []string
	Others     []string

	which   map[string]string // by the key in .sops.yaml
	onlyMAC bool
	data    []byte
	doc     *yaml.Node
	node    *yaml.Node // the rule
}

// Recipients finds the rule for the secrets of the instance in dir as sops
// does: the nearest .sops.yaml counts, and in it the first rule whose
// path_regex fits. What is wrong with it is desired.Problems; any other error
// means that the tree could not be read.
func Recipients(tree fs.FS, dir string) (Rule, error) {
	dir = path.Clean(dir)
	for at := dir; ; at = path.Dir(at) {
		file := path.Join(at, ConfigFile)
		data, err := readFile(tree, file)
		if err != nil {
			return Rule{}, err
		}
		if data != nil {
			inner := path.Join(dir, File)
			if at != "." {
				inner = strings.TrimPrefix(inner, at+"/")
			}
			return readRule(file, data, inner)
		}
		if at == "." {
			return Rule{}, nil
		}
	}
}

// Read reads the file of an instance's secrets; nil: there is none.
func Read(tree fs.FS, dir string) ([]byte, error) { return readFile(tree, path.Join(dir, File)) }

// readFile reads a regular file; nil: there is none.
func readFile(tree fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(tree, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stat %s: %w", name, err)
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return append([]byte{}, data...), nil
}

func readRule(file string, data []byte, inner string) (Rule, error) {
	r := Rule{Config: file, data: data, which: map[string]string{}}
	refuse := func(n *yaml.Node, field, text, hint string) (Rule, error) {
		p := desired.Problem{File: file, Field: field, Text: text, Hint: hint}
		if n != nil {
			p.Line = n.Line
		}
		return Rule{}, desired.Problems{p}
	}
	if len(data) > MaxFile {
		return refuse(nil, "", fmt.Sprintf("the file is larger than %d KiB", MaxFile>>10), "")
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return Rule{}, desired.Problems{desired.SyntaxProblem(file, data, err)}
	}
	r.doc = &doc
	var root *yaml.Node
	if len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	for i, n := range list(root, "creation_rules") {
		if n.Kind != yaml.MappingNode {
			return refuse(n, fmt.Sprintf("creation_rules[%d]", i), "is not a map", "write {path_regex: …, age: age1…}")
		}
		fits, err := ruleFits(n, inner)
		if err != nil {
			return refuse(n, fmt.Sprintf("creation_rules[%d].path_regex", i), err.Error(), "")
		}
		if !fits {
			continue
		}
		r.node = n
		if key, err := r.read(n); err != nil {
			return refuse(n, fmt.Sprintf("creation_rules[%d].%s", i, key), err.Error(), "")
		}
		return r, nil
	}
	return refuse(root, "creation_rules", "no rule fits "+inner, "add one: {path_regex: '"+regexp.QuoteMeta(File)+"$', age: age1…}")
}

func ruleFits(n *yaml.Node, inner string) (bool, error) {
	pattern := text(n, "path_regex")
	if len(pattern) > maxPattern {
		return false, fmt.Errorf("is longer than %d characters", maxPattern)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false, errors.New("is not a regular expression")
	}
	return re.MatchString(inner), nil
}

// read takes in one rule; key says where it is wrong.
func (r *Rule) read(n *yaml.Node) (key string, err error) {
	groups := list(n, "key_groups")
	if len(groups) > 1 {
		return "key_groups", errors.New("splits the data key among several groups, which Fairlead does not write")
	}
	if _, key, err := readWhich(func(key string) string { return text(n, key) }); err != nil {
		return key, err
	}
	for _, key := range whichKeys() {
		if v := text(n, key); v != "" {
			r.which[key] = v
		}
	}
	r.onlyMAC = text(n, "mac_only_encrypted") == "true"
	for _, at := range append(groups, n) {
		for _, one := range texts(field(at, "age")) {
			if !slices.Contains(r.Recipients, one) {
				r.Recipients = append(r.Recipients, one)
			}
		}
		for _, kind := range []string{"pgp", "kms", "gcp_kms", "azure_keyvault", "hc_vault", "hc_vault_transit_uri", "hckms"} {
			if v := field(at, kind); v != nil && v.Tag != "!!null" && v.Value+strings.Repeat("x", len(v.Content)) != "" {
				r.Others = append(r.Others, kind)
			}
		}
	}
	if len(r.Recipients) > maxRecipients {
		return "age", fmt.Errorf("has more than %d recipients", maxRecipients)
	}
	return "", nil
}

// texts are the entries of a list, which may be written as one text with
// commas.
func texts(n *yaml.Node) (out []string) {
	if n == nil {
		return nil
	}
	parts := strings.Split(n.Value, ",")
	if n.Kind == yaml.SequenceNode {
		parts = nil
		for _, item := range n.Content {
			parts = append(parts, strings.Split(item.Value, ",")...)
		}
	}
	for _, s := range parts {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// newConfig is a .sops.yaml for the secrets beside it.
func newConfig(recipients []string) []byte {
	return fmt.Appendf(nil, `# For whom %[1]s is encrypted: public age keys, with commas between them. Whoever has one of the private halves can
# read and change it: fairlead secret …, or sops edit %[1]s. After a change here: fairlead secret rekey.
creation_rules:
    - path_regex: ^%[2]s$
      age: %[3]s
`, File, regexp.QuoteMeta(File), strings.Join(recipients, ","))
}

// withRecipients is the .sops.yaml with other recipients in the rule.
func (r Rule) withRecipients(recipients []string) ([]byte, error) {
	at := r.node
	if groups := list(r.node, "key_groups"); len(groups) == 1 && field(at, "age") == nil {
		at = groups[0]
	}
	old := field(at, "age")
	switch {
	case old == nil:
		at.Content = append(at.Content, textNode("age"), textNode(strings.Join(recipients, ",")))
	case old.Kind == yaml.SequenceNode:
		old.Content = slices.DeleteFunc(old.Content, func(n *yaml.Node) bool { return !slices.Contains(recipients, strings.TrimSpace(n.Value)) })
		for _, one := range recipients {
			if !slices.Contains(texts(old), one) {
				old.Content = append(old.Content, textNode(one))
			}
		}
	case old.Kind == yaml.ScalarNode && old.Line > 0 && spliced(r.data, old, strings.Join(recipients, ",")) != nil:
		return spliced(r.data, old, strings.Join(recipients, ",")), nil
	default:
		old.SetString(strings.Join(recipients, ","))
	}
	return encode(r.doc, indentOf(r.doc))
}

// spliced writes a text in the place of one that stands plain on its line, so
// that nothing else of the file changes; nil: it does not.
func spliced(data []byte, n *yaml.Node, text string) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	if n.Style != 0 || n.Line > len(lines) {
		return nil
	}
	line := lines[n.Line-1]
	from := n.Column - 1
	if from < 0 || !bytes.HasPrefix(line[min(from, len(line)):], []byte(n.Value)) {
		return nil
	}
	lines[n.Line-1] = slices.Concat(line[:from], []byte(text), line[from+len(n.Value):])
	return bytes.Join(lines, nil)
}
