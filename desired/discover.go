package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Discover returns the directories of the instances in tree, in order: those
// matching one of the globs ("instances/*", "instances/acme", "."), or without
// globs the root if it is an instance, otherwise those directly below it and
// below instances/. A directory is an instance when it has an instance.yaml or
// a compose file.
//
// A glob that matches no instance, and two instances with one name, are
// Problems; the directories that were found are returned beside them. Any
// other error means that the tree could not be read.
func Discover(tree fs.FS, globs []string) ([]string, error) {
	f := finder{tree: tree}
	if len(globs) == 0 {
		return f.byDefault()
	}
	for _, g := range globs {
		before := len(f.dirs)
		if !validGlob(g) {
			f.problem(g, "is not a path or glob in the repository", "for example instances/*")
			continue
		}
		if err := f.match(".", strings.Split(path.Clean(g), "/")); err != nil {
			return nil, err
		}
		if before == len(f.dirs) {
			f.problem(g, "matches no instance", "an instance is a directory with an instance.yaml or a compose file")
		}
	}
	return f.done()
}

func validGlob(g string) bool {
	_, err := path.Match(g, "")
	return err == nil && fs.ValidPath(path.Clean(g)) && !strings.Contains(g, "**")
}

// finder is one Discover. dirs may hold a directory twice until done.
type finder struct {
	tree     fs.FS
	dirs     []string
	problems Problems
}

func (f *finder) problem(file, text, hint string) {
	f.problems = append(f.problems, Problem{File: file, Text: text, Hint: hint})
}

func (f *finder) byDefault() ([]string, error) {
	if err := f.match(".", []string{"."}); err != nil {
		return nil, err
	}
	if len(f.dirs) == 0 {
		if err := errors.Join(f.match(".", []string{"*"}), f.match(".", []string{"instances", "*"})); err != nil {
			return nil, err
		}
	}
	if len(f.dirs) == 0 {
		f.problem(".", "the repository holds no instance", "add instances/NAME/instance.yaml and a compose file; fairlead init makes one")
	}
	return f.done()
}

// match adds the instances below dir that the rest of a glob matches. fs.Glob
// is of no use: it takes an unreadable directory for an empty one (law 3).
func (f *finder) match(dir string, rest []string) error {
	if len(rest) == 0 || rest[0] == "." {
		yes, err := isInstance(f.tree, dir)
		if yes {
			f.dirs = append(f.dirs, dir)
		}
		return err
	}
	entries, err := readDir(f.tree, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(rest[0], ".")
		ok, err := path.Match(rest[0], e.Name())
		if err != nil || !ok || hidden || !e.IsDir() {
			continue
		}
		if err := f.match(path.Join(dir, e.Name()), rest[1:]); err != nil {
			return err
		}
	}
	return nil
}

// isInstance says whether a directory has an instance.yaml or a compose file.
// One with a misspelt instance.yml is taken too, so that Load can say so.
func isInstance(tree fs.FS, dir string) (bool, error) {
	for _, name := range []string{instanceFile, "instance.yml"} {
		yes, err := isFile(tree, path.Join(dir, name))
		if err != nil || yes {
			return yes, err
		}
	}
	name, err := findCompose(tree, dir)
	return name != "", err
}

// done orders what was found and looks for a name that is used twice. A name
// that cannot be read is for Load to report.
func (f *finder) done() ([]string, error) {
	slices.Sort(f.dirs)
	f.dirs = slices.Compact(f.dirs)
	owner := map[string]string{}
	for _, dir := range f.dirs {
		name, err := NameOf(f.tree, dir, "")
		var problems Problems
		if errors.As(err, &problems) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if first, twice := owner[name]; twice {
			f.problem(path.Join(dir, instanceFile), fmt.Sprintf("the name %s is used by %s already", name, first),
				"give one of them another name")
			continue
		}
		owner[name] = dir
	}
	return f.dirs, f.problems.Err()
}

// NameOf reads only the name of the instance in dir: that of instance.yaml,
// without one that of the compose file, or of the directory. root stands for
// the name of the directory when dir is the root of the tree; it may be empty.
func NameOf(tree fs.FS, dir, root string) (string, error) {
	file := path.Join(dir, instanceFile)
	data, err := readBounded(tree, file)
	if err != nil {
		return "", err
	}
	if data == nil {
		return nameWithout(tree, dir, root)
	}
	p := parseInstance(file, data)
	if p.Name != "" && !p.bad("name") {
		return p.Name, nil
	}
	return "", p.problems.Err()
}

// nameWithout names an instance that has no instance.yaml.
func nameWithout(tree fs.FS, dir, root string) (string, error) {
	file, err := findCompose(tree, dir)
	if err != nil {
		return "", err
	}
	data, err := readBounded(tree, path.Join(dir, file))
	if err != nil {
		return "", err
	}
	if name := cleanName(composeName(data)); name != "" {
		return name, nil
	}
	base := root
	if dir != "." {
		base = path.Base(dir)
	}
	if name := cleanName(base); name != "" {
		return name, nil
	}
	return "", Problems{{File: path.Join(dir, instanceFile), Text: fmt.Sprintf("no name can be made of the directory's name %q", clip(base)),
		Hint: "add an instance.yaml with apiVersion: fairlead/v1 and name: NAME"}}
}

// composeName is the name: of a compose file, when it has no variable. Whatever
// is wrong with the file is for the loader of compose files to say.
func composeName(data []byte) string {
	if len(data) > maxBytes {
		return ""
	}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return ""
	}
	pairs := doc.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i].Value == "name" && pairs[i+1].Kind == yaml.ScalarNode && !strings.Contains(pairs[i+1].Value, "$") {
			return pairs[i+1].Value
		}
	}
	return ""
}

// cleanName makes a valid name of a directory's; empty when nothing is left.
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r == '-' || r == '_' || r == '.' || r == ' ':
			return '-'
		}
		return -1
	}, strings.ToLower(s))
	s = strings.TrimLeft(s, "-0123456789")
	return strings.TrimRight(s[:min(len(s), 39)], "-")
}
