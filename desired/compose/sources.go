package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// source is one YAML file that takes part in the model. Sources are kept in
// the order in which compose merges them: what comes later wins.
type source struct {
	path    string // in the repository
	base    string // the directory its relative paths start from
	staged  string // where compose-go finds it
	data    []byte
	docs    []*yaml.Node
	lists   positions
	changed bool // docs differ from data
	extends []extension
	// template says that the file was only read for a service to be extended:
	// what it says about others has no effect.
	template bool
}

// extension is one use of extends.
type extension struct {
	service, file, ref string // file is empty for the same file
}

// readMode says what a YAML file is read for.
type readMode struct {
	base     string
	env      environment
	template bool // extends.file: no include, no top level but services
}

// readSource parses a YAML file and everything that it includes or extends.
// from is the place that names the file.
func (l *loader) readSource(name string, mode readMode, from at) *source {
	key := fmt.Sprintf("%s\x00%s\x00%t\x00%v", name, mode.base, mode.template, mode.env)
	if s := l.byKey[key]; s != nil {
		return s
	}
	if len(l.byKey) >= maxSources {
		l.problem(from, from.field, &fileError{text: fmt.Sprintf("more than %d files are included or extended", maxSources)})
		return nil
	}
	f, err := l.tree.read(name, maxComposeFile)
	if err != nil {
		l.problem(from, from.field, err)
		return nil
	}
	s := &source{path: name, base: mode.base, data: f.data, template: mode.template, lists: positions{}}
	s.staged = l.stage.place(name)
	l.byKey[key] = s
	if !l.parse(s) {
		return nil
	}
	for _, doc := range s.docs {
		l.references(s, doc, mode)
	}
	l.sources = append(l.sources, s)
	return s
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// parse decodes the documents of a file and checks what YAML itself demands.
func (l *loader) parse(s *source) bool {
	dec := yaml.NewDecoder(bytes.NewReader(s.data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			p := desired.Problem{File: s.path, Line: 1, Text: strings.TrimPrefix(err.Error(), "yaml: "), Hint: "the file is not valid YAML"}
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				p.Line, p.Text = atoi(m[1]), err.Error()[len(m[0]):]
			}
			l.add(p)
			return false
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
			continue
		}
		root := doc.Content[0]
		if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
			continue
		}
		if root.Kind != yaml.MappingNode {
			l.add(desired.Problem{File: s.path, Line: root.Line, Text: "the file is not a mapping", Hint: "a compose file begins with services:"})
			return false
		}
		if !l.finite(s, root) || !l.sound(s, root) {
			return false
		}
		s.docs = append(s.docs, root)
	}
}

// sound refuses duplicate keys, and more than compose-go would resolve.
func (l *loader) sound(s *source, root *yaml.Node) bool {
	ok := true
	visit(root, nil, func(p []string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && strings.Count(n.Value, "..") > maxUp {
			l.add(desired.Problem{File: s.path, Line: n.Line, Field: field(p), Text: "the path leads out of the repository"})
			ok = false
		}
		if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "" {
			n.Value = "null" // in a flow mapping the encoder would write it as a string
		}
		if n.Kind == yaml.SequenceNode {
			for i, entry := range n.Content {
				s.lists[entry] = i
			}
		}
		if n.Kind != yaml.MappingNode {
			return
		}
		first := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			ok = l.textKey(s, p, k) && ok
			if line, dup := first[k.Value]; dup && k.Value != "<<" {
				if l.twice(s, p, n, i, line) {
					i -= 2
				} else {
					ok = false
				}
				continue
			}
			first[k.Value] = k.Line
		}
	})
	return ok
}

// twice reports the key at i, which stands on an earlier line already, and
// takes it out where nothing else can depend on it, so that it hides no other
// problem.
func (l *loader) twice(s *source, p []string, n *yaml.Node, i, line int) (out bool) {
	k, v, before := n.Content[i], n.Content[i+1], len(l.problems)
	l.add(desired.Problem{
		File: s.path, Line: k.Line, Field: field(append(p[:len(p):len(p)], k.Value)),
		Text: fmt.Sprintf("the key %s is written twice (first on line %d)", k.Value, line), Hint: "keep one of them",
	})
	if v.Kind != yaml.ScalarNode || v.Anchor != "" || k.Anchor != "" {
		return false
	}
	n.Content = slices.Delete(n.Content, i, i+2)
	s.changed = true
	l.mended += len(l.problems) - before
	return true
}

// textKey refuses a key that YAML reads as something else than text.
func (l *loader) textKey(s *source, p []string, k *yaml.Node) bool {
	tag := deref(k).ShortTag()
	if k.Kind != yaml.MappingNode && k.Kind != yaml.SequenceNode && tag != "!!int" && tag != "!!null" && tag != "!!bool" && tag != "!!float" {
		return true
	}
	l.add(desired.Problem{File: s.path, Line: k.Line, Field: field(p), Text: "the key " + k.Value + " is not text", Hint: "write it in quotes"})
	return false
}

// references prepares what a document says about other files, and takes out
// what has no meaning here.
func (l *loader) references(s *source, root *yaml.Node, mode readMode) {
	if k, _ := child(root, "version"); k != nil {
		if !mode.template {
			l.note(at{s.path, k.Line, "version"}, "the key is obsolete and has no effect")
		}
		remove(root, "version")
		s.changed = true
	}
	if k, v := child(root, "name"); k != nil && !mode.template && v.Value != l.in.Name && v.Value != "" {
		l.note(at{s.path, k.Line, "name"}, fmt.Sprintf("%s is set aside: the project is named after the instance, %s", v.Value, l.in.Name))
	}
	if !mode.template {
		l.includes(s, root, mode)
	}
	l.extensions(s, root, mode)
}

// encode gives the file as compose-go is to read it.
func (s *source) encode() ([]byte, error) {
	if !s.changed {
		return s.data, nil
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	for _, doc := range s.docs {
		if err := enc.Encode(doc); err != nil {
			return nil, fmt.Errorf("encode %s: %w", s.path, err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", s.path, err)
	}
	return b.Bytes(), nil
}

// maxUp bounds how far a relative path may reach up. The stage lies that deep
// in its temporary directory, so that what leaves the repository is seen.
const maxUp = 16

// virtualRoot stands for the repository's root when compose-go needs no file
// on disk: nothing ever reads it.
const virtualRoot = "/.fairlead-tree"

// stage is where compose-go finds the files that it insists on reading itself:
// those behind include and extends. It holds nothing else.
type stage struct {
	top   string // the temporary directory, or virtualRoot
	made  bool
	taken map[string]string // place to path in the repository
}

func newStage() *stage { return &stage{top: virtualRoot, taken: map[string]string{}} }

// root is the place of the repository's root.
func (s *stage) root() string { return s.top + strings.Repeat("/_", maxUp) }

// place reserves a path for a file of the repository.
func (s *stage) place(name string) string {
	p := name
	for i := 2; s.taken[p] != ""; i++ {
		p = fmt.Sprintf("%s~%d", name, i)
	}
	s.taken[p] = name
	return p
}

// open makes the temporary directory.
func (s *stage) open() error {
	if s.made {
		return nil
	}
	dir, err := os.MkdirTemp("", "fairlead-compose-") // 0700
	if err != nil {
		return fmt.Errorf("make temporary directory: %w", err)
	}
	s.top, s.made = dir, true
	return nil
}

func (s *stage) close() {
	if s.made {
		os.RemoveAll(s.top)
	}
}

func (s *stage) abs(p string) string { return s.root() + "/" + p }

func (s *stage) write(p string, data []byte) error {
	name := filepath.FromSlash(s.abs(p))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("stage %s: %w", p, errors.Unwrap(err))
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return fmt.Errorf("stage %s: %w", p, errors.Unwrap(err))
	}
	return nil
}

// where turns a path that compose-go returned back: relative to the
// repository's root, or an absolute path of the host.
func (s *stage) where(p, base string) (string, bool, error) {
	outside := &fileError{
		text: "the path leads out of the repository",
		hint: "keep the file in the repository, or name the host's file by its absolute path",
	}
	switch {
	case strings.HasPrefix(p, "~"):
		return "", false, &fileError{text: "~ is the home directory of whoever runs the command: here that is nobody", hint: "write the absolute path"}
	case p == s.root():
		return ".", false, nil
	case strings.HasPrefix(p, s.root()+"/"):
		return path.Clean(p[len(s.root())+1:]), false, nil
	case p == s.top || strings.HasPrefix(p, s.top+"/"):
		return "", false, outside
	case path.IsAbs(p):
		return path.Clean(p), true, nil
	}
	in, ok := joinInside(base, p)
	if !ok {
		return "", false, outside
	}
	return in, false, nil
}

// scrub takes the temporary directory out of a message.
func (s *stage) scrub(text string) string {
	text = strings.ReplaceAll(text, s.root()+"/", "")
	text = strings.ReplaceAll(text, s.root(), ".")
	return strings.ReplaceAll(text, s.top, "(outside)")
}
