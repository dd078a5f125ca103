package compose

import (
	"io/fs"
	"path"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

// object is the use of a config or a secret by a service.
type object struct {
	kind   string // configs or secrets
	secret bool
	dir    string // where a relative target lies
	ref    types.FileReferenceConfig
	def    types.FileObjectConfig
	path   []string // of the use
}

func (l *loader) configs(s *types.ServiceConfig, d *desired.Service) {
	for i, c := range s.Configs {
		def, ok := l.model.Configs[c.Source]
		o := object{kind: "configs", dir: "/", ref: types.FileReferenceConfig(c), def: types.FileObjectConfig(def)}
		l.object(s.Name, i, ok, mapKeys(l.model.Configs), o, d)
	}
}

func (l *loader) secrets(s *types.ServiceConfig, d *desired.Service) {
	for i, c := range s.Secrets {
		def, ok := l.model.Secrets[c.Source]
		o := object{kind: "secrets", secret: true, dir: "/run/secrets", ref: types.FileReferenceConfig(c), def: types.FileObjectConfig(def)}
		l.object(s.Name, i, ok, mapKeys(l.model.Secrets), o, d)
	}
}

func (l *loader) object(service string, i int, defined bool, names []string, o object, d *desired.Service) {
	o.path = []string{"services", service, o.kind, itoa(i)}
	if !defined {
		if !l.wasRemoved(o.kind, o.ref.Source) {
			l.wrong(o.path, "there is nothing named "+o.ref.Source+" under "+o.kind, orDeclare(o.ref.Source, o.kind, names))
		}
		return
	}
	m := desired.Mount{Type: desired.MountTracked, ReadOnly: true, Target: o.target()}
	if o.def.File != "" {
		in, host, err := l.stage.where(o.def.File, l.in.Dir)
		if err != nil {
			l.objectWrong(o, err)
			return
		}
		if host {
			l.hostObject(o, in, m, d)
			return
		}
		o.def.File = in
	}
	t, ok := l.objectContent(o)
	if !ok {
		return
	}
	m.Source = l.keep(t)
	d.Mounts = append(d.Mounts, m)
}

func (o object) target() string {
	t := o.ref.Target
	if t == "" {
		t = o.ref.Source
	}
	if path.IsAbs(t) {
		return path.Clean(t)
	}
	return path.Join(o.dir, t)
}

func (l *loader) objectWrong(o object, err error) {
	where := l.locate([]string{o.kind, o.ref.Source, "file"})
	l.problem(where, where.field, err)
}

// hostObject binds a file that is named by its absolute path. Nothing of it is
// read, so what it says is not part of the revision.
func (l *loader) hostObject(o object, name string, m desired.Mount, d *desired.Service) {
	l.boundPath([]string{o.kind, o.ref.Source, "file"}, name)
	m.Type, m.Source = desired.MountBind, name
	l.noteAt([]string{o.kind, o.ref.Source, "file"}, "a file of the host is bound as it is: a change of it is not noticed")
	if o.ref.UID != "" || o.ref.GID != "" || o.ref.Mode != nil {
		l.noteAt(o.path, "uid, gid and mode have no effect on a file of the host")
	}
	d.Mounts = append(d.Mounts, m)
}

// objectContent is the content of a config or secret, as a tree to be mounted.
func (l *loader) objectContent(o object) (desired.FileTree, bool) {
	t := desired.FileTree{Single: true}
	switch {
	case o.def.File != "":
		var err error
		if t, err = l.tree.content(o.def.File); err != nil {
			if isMissing(err) {
				err = &fileError{
					text: "the file " + o.def.File + " does not exist",
					hint: "add it to the repository, or to the instance's local directory on the host",
				}
			}
			l.objectWrong(o, err)
			return t, false
		}
	case o.def.Environment != "":
		value, ok := l.env[o.def.Environment]
		if !ok {
			value, ok = o.def.Content, o.def.Content != "" // resolved with the env file of an include
		}
		if !ok {
			l.wrong([]string{o.kind, o.ref.Source, "environment"}, "the variable "+o.def.Environment+" is not defined",
				"add it to "+path.Join(l.in.Dir, ".env")+" on the host or in the repository, or set it under compose.env in instance.yaml")
			return t, false
		}
		t.Entries = []desired.FileEntry{{Path: o.ref.Source, Mode: 0o444, Content: []byte(value)}}
	case o.def.Content != "" || !o.secret:
		t.Entries = []desired.FileEntry{{Path: o.ref.Source, Mode: 0o444, Content: []byte(o.def.Content)}}
	default:
		return t, false // refused keys alone: told by the table
	}
	t.Secret = o.secret
	return t, l.owned(o, &t)
}

// owned applies uid, gid and mode, and remembers what must not be shown.
func (l *loader) owned(o object, t *desired.FileTree) bool {
	uid, ok := l.id(o, "uid", o.ref.UID)
	gid, ok2 := l.id(o, "gid", o.ref.GID)
	for i := range t.Entries {
		e := &t.Entries[i]
		if o.secret {
			l.sensitive(string(e.Content))
		}
		e.UID, e.GID = uid, gid
		if o.ref.Mode != nil && e.Link == "" {
			e.Mode = fs.FileMode(*o.ref.Mode) & fs.ModePerm
		}
	}
	return ok && ok2
}

func (l *loader) id(o object, name, value string) (*int, bool) {
	if value == "" {
		return nil, true
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		l.wrong(append(o.path[:len(o.path):len(o.path)], name), strconv.Quote(value)+" is not a number", "write the numeric id: the host does not know the container's names")
		return nil, false
	}
	id := int(n)
	return &id, true
}
