package compose

import (
	"fmt"
	"maps"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// includes reads the files that a document includes and rewrites the entries
// to absolute paths of the stage: compose-go resolves nested relative ones
// against the working directory of the process.
func (l *loader) includes(s *source, root *yaml.Node, mode readMode) {
	key, list := child(root, "include")
	if key == nil || isNull(list) {
		return
	}
	if list = deref(list); list.Kind != yaml.SequenceNode {
		l.problem(at{s.path, key.Line, "include"}, "include", &fileError{text: "include must be a list"})
		remove(root, "include")
		s.changed = true
		return
	}
	kept := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: list.Line}
	for i, item := range list.Content {
		where := at{s.path, item.Line, fmt.Sprintf("include[%d]", i)}
		if n := l.include(s, deref(item), mode, where); n != nil {
			kept.Content = append(kept.Content, n)
		}
	}
	replace(root, "include", kept)
	s.changed = true
}

// inclusion is one entry of include with its paths resolved.
type inclusion struct {
	paths []string
	dir   string
	env   []string
}

func (l *loader) include(s *source, item *yaml.Node, mode readMode, where at) *yaml.Node {
	inc, ok := l.inclusion(item, mode, where)
	if !ok || len(inc.paths) == 0 {
		return nil
	}
	if l.including[inc.paths[0]] {
		l.problem(where, where.field, &fileError{text: "include goes round in a circle: " + inc.paths[0] + " includes itself"})
		return nil
	}
	l.including[inc.paths[0]] = true
	defer delete(l.including, inc.paths[0])
	env, staged := l.includedEnv(inc, mode.env, where)
	var paths []string
	for _, p := range inc.paths {
		sub := l.readSource(p, readMode{base: inc.dir, env: env}, where)
		if sub == nil {
			return nil
		}
		paths = append(paths, sub.staged)
	}
	l.needStage = true
	return l.rewritten(paths, inc.dir, staged)
}

// inclusion resolves the paths of an entry as compose does: relative to the
// directory of the including model, not of the file.
func (l *loader) inclusion(item *yaml.Node, mode readMode, where at) (inclusion, bool) {
	var inc inclusion
	files, dir, env := []*yaml.Node{item}, (*yaml.Node)(nil), []*yaml.Node(nil)
	if item.Kind == yaml.MappingNode {
		_, p := child(item, "path")
		_, dir = child(item, "project_directory")
		_, e := child(item, "env_file")
		files, env = oneOrMore(p), oneOrMore(e)
		for i := 0; i+1 < len(item.Content); i += 2 {
			if k := item.Content[i].Value; k != "path" && k != "project_directory" && k != "env_file" && !strings.HasPrefix(k, "x-") {
				l.problem(where, where.field+"."+k, &fileError{text: "unknown key " + k, hint: didYouMean(k, []string{"path", "project_directory", "env_file"})})
				return inc, false
			}
		}
	}
	for _, n := range files {
		p, ok := l.refer(n, mode.base, mode.env, where, "include")
		if !ok {
			return inc, false
		}
		inc.paths = append(inc.paths, p)
	}
	if len(inc.paths) == 0 {
		l.problem(where, where.field, &fileError{text: "path is missing", hint: "write the path of the file to include"})
		return inc, false
	}
	inc.dir = path.Dir(inc.paths[0])
	if dir != nil && dir.Value != "" {
		var ok bool
		if inc.dir, ok = l.refer(dir, mode.base, mode.env, where, "include"); !ok {
			return inc, false
		}
	}
	for _, n := range env {
		if n.Value == "/dev/null" {
			inc.env = append(inc.env, "")
			continue
		}
		p, ok := l.refer(n, mode.base, mode.env, where, "include")
		if !ok {
			return inc, false
		}
		inc.env = append(inc.env, p)
	}
	return inc, true
}

// includedEnv is what an included file interpolates with: the environment of
// the including one, then the env files of the entry or the .env beside it.
func (l *loader) includedEnv(inc inclusion, outer environment, where at) (environment, []string) {
	files := inc.env
	if len(files) == 0 {
		def := path.Join(inc.dir, ".env")
		r, err := l.tree.resolve(def)
		if err != nil && !isMissing(err) {
			l.problem(where, where.field, err)
		}
		if err != nil || r.info.IsDir() {
			return outer, nil
		}
		files = []string{def}
	}
	own := environment{}
	var staged []string
	for _, name := range files {
		if name == "" {
			continue
		}
		f, err := l.tree.read(name, maxEnvFile)
		if err != nil {
			l.problem(where, where.field, err)
			continue
		}
		l.parseEnv(f, name, "", own, outer.lookup)
		place := l.stage.place(name)
		staged = append(staged, place)
		l.staged[place] = f.data
	}
	maps.Copy(own, outer)
	return own, staged
}

// rewritten is an include entry that depends on nothing but the stage.
func (l *loader) rewritten(paths []string, dir string, env []string) *yaml.Node {
	entry := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	add := func(key string, values []string) {
		seq := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, v := range values {
			seq.Content = append(seq.Content, l.stagedPath(v))
		}
		entry.Content = append(entry.Content, text(key), seq)
	}
	add("path", paths)
	entry.Content = append(entry.Content, text("project_directory"), l.stagedPath(dir))
	if len(env) == 0 {
		entry.Content = append(entry.Content, text("env_file"), &yaml.Node{
			Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{text("/dev/null")},
		})
		return entry
	}
	add("env_file", env)
	return entry
}

// stagedPath is a scalar that is filled in when the stage's place is known.
func (l *loader) stagedPath(p string) *yaml.Node {
	n := text("")
	l.late[n] = p
	return n
}

// extensions reads the files that services extend.
func (l *loader) extensions(s *source, root *yaml.Node, mode readMode) {
	_, services := child(root, "services")
	if services = deref(services); services != nil && services.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(services.Content); i += 2 {
			l.extension(s, services.Content[i].Value, deref(services.Content[i+1]), mode, map[*yaml.Node]bool{})
		}
	}
}

// extension handles extends of one service, also where a YAML merge brings it in.
func (l *loader) extension(s *source, name string, service *yaml.Node, mode readMode, seen map[*yaml.Node]bool) {
	if service == nil || service.Kind != yaml.MappingNode || seen[service] {
		return
	}
	seen[service] = true
	for i := 0; i+1 < len(service.Content); i += 2 {
		if service.Content[i].Value != "<<" {
			continue
		}
		for _, merged := range oneOrMore(service.Content[i+1]) {
			l.extension(s, name, deref(merged), mode, seen)
		}
	}
	key, ext := child(service, "extends")
	if key == nil {
		return
	}
	if ext = deref(ext); ext.Kind != yaml.MappingNode {
		s.extends = append(s.extends, extension{service: name, ref: ext.Value})
		return
	}
	_, ref := child(ext, "service")
	_, file := child(ext, "file")
	e := extension{service: name}
	if ref != nil {
		e.ref, _ = l.vars.substitute(deref(ref).Value, mode.env.lookup)
	}
	if file = deref(file); file != nil && file.Value != "" || l.late[file] != "" {
		e.file = l.extendFile(s, file, ext, mode, at{s.path, key.Line, "services." + name + ".extends"})
	}
	s.extends = append(s.extends, e)
}

func (l *loader) extendFile(s *source, file, ext *yaml.Node, mode readMode, where at) string {
	if p, done := l.late[file]; done {
		return l.stage.taken[p]
	}
	p, ok := l.refer(file, mode.base, mode.env, where, "extends")
	if !ok {
		return ""
	}
	sub := l.readSource(p, readMode{base: path.Dir(p), env: mode.env, template: true}, where)
	if sub == nil {
		return ""
	}
	l.needStage, s.changed = true, true
	replace(ext, "file", l.stagedPath(sub.staged))
	return p
}

// refer resolves a path that a compose file names for reading.
func (l *loader) refer(n *yaml.Node, base string, env environment, where at, what string) (string, bool) {
	if n = deref(n); n.Kind != yaml.ScalarNode {
		l.problem(where, where.field, &fileError{text: "a path is expected"})
		return "", false
	}
	p, _ := l.vars.substitute(n.Value, env.lookup)
	if isRemote(p) {
		l.problem(where, where.field, &fileError{
			text: fmt.Sprintf("%s of a remote file is not supported by this version (%s)", what, p),
			hint: "commit a copy of the file to the repository: then a revision says everything",
		})
		return "", false
	}
	in, host, err := l.stage.where(p, base)
	if err == nil && host {
		err = &fileError{text: p + " is outside of the repository", hint: "keep the file in the repository"}
	}
	if err != nil {
		l.problem(where, where.field, err)
		return "", false
	}
	return in, true
}

func isRemote(p string) bool {
	return strings.Contains(p, "://") || strings.HasPrefix(p, "git@") || strings.HasPrefix(p, "github.com/")
}
