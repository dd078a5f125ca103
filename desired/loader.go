package desired

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Load reads an instance: instance.yaml, the compose files that it names, and
// what they say together. Everything wrong is returned at once as Problems;
// any other error means that the files could not be read, which says nothing
// about them.
func Load(in Input) (Spec, error) {
	l := &loader{in: in, dir: path.Clean(in.Dir), fsys: Overlay(in.Tree, in.Dir, in.Local)}
	if err := l.read(); err != nil {
		return Spec{}, fmt.Errorf("load instance %s: %w", l.dir, err)
	}
	p, err := l.compose()
	if err != nil {
		return Spec{}, fmt.Errorf("load instance %s: %w", l.dir, err)
	}
	read, err := l.certificateFiles()
	if err != nil {
		return Spec{}, fmt.Errorf("load instance %s: %w", l.dir, err)
	}
	roots, err := l.connectorRoots()
	if err != nil {
		return Spec{}, fmt.Errorf("load instance %s: %w", l.dir, err)
	}
	policy, err := l.policy()
	if err != nil {
		return Spec{}, fmt.Errorf("load instance %s: %w", l.dir, err)
	}
	var s Spec
	if p != nil {
		s = l.spec(*p, read, roots)
		s.Policy = policy
	}
	l.file.checkSecrets()
	for _, c := range l.connectors {
		l.problems = append(l.problems, c.problems...)
	}
	if err := append(l.problems, l.file.problems...).Err(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// loader is one Load.
type loader struct {
	in   Input
	dir  string
	fsys fs.FS
	file *parsed
	// connectors are the files of connectors, and programs the directories of
	// those that have one, by name.
	connectors []*connectorDocument
	programs   map[string]FileTree
	name       string
	kept       kept
	wanted     []string // secrets that compose files refer to, where no host is meant
	local      []string
	notes      []string
	secrets    []string // that were filled in
	problems   Problems
}

// note tells of what is right and has no effect.
func (l *loader) note(field, text, hint string) { l.noteIn(&l.file.document, field, text, hint) }

func (l *loader) noteIn(doc *document, field, text, hint string) {
	p := Problem{File: doc.file, Line: doc.line(field), Field: field, Text: text, Hint: hint}
	l.notes = append(l.notes, p.String())
}

// read takes in everything but the compose files.
func (l *loader) read() error {
	name := path.Join(l.dir, instanceFile)
	data, err := readBounded(l.fsys, name)
	if err != nil {
		return err
	}
	if data == nil {
		l.file = &parsed{document: document{file: name}}
		err = l.unnamed()
	} else {
		l.file = parseInstance(name, data)
		l.name = l.file.Name
	}
	if err != nil {
		return err
	}
	notes, err := unread(l.fsys, l.dir, data != nil)
	if err != nil {
		return err
	}
	misnamed, err := isFile(l.fsys, path.Join(l.dir, "instance.yml"))
	if err != nil {
		return err
	}
	if misnamed {
		l.problems = append(l.problems, Problem{File: path.Join(l.dir, "instance.yml"), Text: "is not read", Hint: "rename it to " + instanceFile})
	}
	local, odd, err := localFiles(l.in.Local)
	l.local, l.notes = local, notes
	l.problems = slices.Concat(l.problems, odd)
	if err == nil && data != nil {
		err = errors.Join(l.readSecrets(), l.readConnectors())
	}
	if err != nil || !slices.Contains(local, instanceFile) {
		return err
	}
	return l.sameName()
}

// sameName refuses an instance.yaml of the host that renames the instance: its
// local directory was found by the name in the repository.
func (l *loader) sameName() error {
	name, err := NameOf(l.in.Tree, l.dir, l.in.RootName)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if err == nil && l.name != name && l.name != "" {
		l.file.add("name", fmt.Sprintf("is not the name in the repository, %q", name), "the host's own "+instanceFile+" must keep it")
	}
	return nil
}

// unnamed finds the name of an instance without instance.yaml.
func (l *loader) unnamed() error {
	name, err := nameWithout(l.in.Tree, l.dir, l.in.RootName)
	var problems Problems
	if errors.As(err, &problems) {
		l.problems = append(l.problems, problems...)
		return nil
	}
	l.name = name
	return err
}

// compose reads the compose files; nil when something that they are read by is
// already known to be wrong, which would only be reported again, or as what it
// is not. A name is nothing that they are read by.
func (l *loader) compose() (*Project, error) {
	var c ComposeFiles
	if l.file.Compose != nil {
		c = *l.file.Compose
	}
	ready, empty, err := l.composeThere(c.Files)
	if err != nil || !ready || l.file.badBeyond("compose", "compose.files") {
		return nil, err
	}
	name := l.name
	if name == "" || l.file.bad("name") {
		name = standInName
	}
	p, err := l.in.Compose(ComposeInput{Tree: l.in.Tree, Dir: l.dir, Local: l.in.Local, Name: name,
		Files: once(c.Files), Profiles: c.Profiles, Env: c.Env, NoFiles: empty, Fill: l.composeValues,
		Bounds: l.bounds(), Real: l.in.Real})
	var problems Problems
	if errors.As(err, &problems) {
		l.problems = append(l.problems, problems...)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read compose files: %w", err)
	}
	l.noteHostSecrets("compose", l.wanted)
	p.HostEnv = l.values(p.HostEnv)
	return &p, nil
}

// standInName names the project of compose files whose instance has no good
// name: they are read for what is wrong with them only.
const standInName = "instance"

// once leaves an entry where it stands first.
func once(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// composeThere says whether the compose files are there, or none are needed.
func (l *loader) composeThere(files []string) (ready, empty bool, err error) {
	if l.file.blank() {
		return false, false, nil // not YAML: which files are meant is not known
	}
	if l.file.has("compose.files") {
		ready, err := l.filesThere("compose.files", files)
		return ready, false, err
	}
	found, err := findCompose(l.fsys, l.dir)
	if err != nil || found != "" {
		return found != "", false, err
	}
	if l.file.AllowEmpty {
		return true, true, nil
	}
	l.problems = append(l.problems, Problem{File: l.file.file, Line: l.file.line("compose"), Text: "there is no compose file",
		Hint: "add compose.yaml, or name the files in compose.files"})
	return false, false, nil
}

// filesThere checks the files that a list names.
func (l *loader) filesThere(field string, files []string) (bool, error) {
	ready := !l.file.itselfBad(field)
	for i, f := range files {
		at := fmt.Sprintf("%s[%d]", field, i)
		if l.file.bad(at) {
			ready = ready && slices.Contains(files[:i], f) // it stands twice, which changes nothing
			continue
		}
		full := path.Join(l.dir, f)
		if strings.HasPrefix(full, "../") || full == ".." {
			l.file.add(at, fmt.Sprintf("%q is outside the repository", clip(f)), "")
			ready = false
			continue
		}
		there, err := isFile(l.fsys, full)
		if err != nil {
			return false, err
		}
		if !there {
			hint, err := l.nearFile(f)
			if err != nil {
				return false, err
			}
			l.file.add(at, fmt.Sprintf("there is no file %q", clip(f)), hint)
			ready = false
		}
	}
	return ready, nil
}

// nearFile is a hint for a file that is not there.
func (l *loader) nearFile(name string) (string, error) {
	dir := path.Dir(name)
	entries, err := readDir(l.fsys, path.Join(l.dir, dir))
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") && e.Name() != instanceFile && len(names) < 8 {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	return didYouMean(name, names), nil
}

// spec puts together what was read. What the files do not say right together
// is added to the problems.
func (l *loader) spec(p Project, read map[string]certificateFiles, roots map[string]string) Spec {
	l.checkServices(p)
	l.lock(p)
	s := Spec{
		Name: l.name, Dir: l.dir,
		Suspend: l.file.Suspend, AllowEmpty: l.file.AllowEmpty,
		Services: p.Services, Networks: p.Networks, Volumes: p.Volumes, Files: p.Files,
		HealthTimeout: DefaultHealthTimeout, Bake: DefaultBake, RetainGenerations: DefaultRetainGenerations,
		LocalFiles: l.local,
		Follow:     l.follow(p), Check: l.check(p), Smoke: l.smoke(p),
		Front: l.front(p), Certificates: l.certificates(p, read), Notify: l.notify(p),
	}
	s.Connectors, s.Files = l.connectorSpecs(p, roots), l.withPrograms(p.Files)
	l.boundImages(s.Connectors)
	l.boundDeliveries(s.Certificates)
	if h := l.file.Health; h != nil {
		s.HealthTimeout = orDefault(h.Timeout, DefaultHealthTimeout)
		s.Bake = orDefault(h.Bake, DefaultBake)
	}
	if u := l.file.Upgrade; u != nil {
		s.Rollback = u.Rollback
	}
	if r := l.file.Retain; r != nil {
		s.RetainGenerations = cmp.Or(r.Generations, DefaultRetainGenerations)
	}
	l.noteMounts(p)
	s.Sensitive = slices.Concat(p.Sensitive, l.sensitive(), l.secrets)
	s.Notes = slices.Concat(l.notes, p.Notes)
	return s
}

// ownFile says whether a file of the instance's directory is the host's own.
func (l *loader) ownFile(name string) bool {
	return slices.ContainsFunc(l.local, func(own string) bool { return path.Join(l.dir, own) == name })
}

// sensitive are the variables of an instance.yaml that is the host's own.
func (l *loader) sensitive() []string {
	if l.file.Compose == nil || !l.ownFile(l.file.file) {
		return nil
	}
	var values []string
	for _, name := range sortedKeys(l.file.Compose.Env) {
		if v := l.file.Compose.Env[name]; v != "" {
			values = append(values, v)
		}
	}
	return values
}
