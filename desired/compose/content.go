package compose

import (
	"fmt"
	"io/fs"
	"path"

	"github.com/fairlead/fairlead/desired"
)

// content reads what a mount of name holds: one file, or a whole directory.
func (t tree) content(name string) (desired.FileTree, error) {
	r, err := t.resolve(name)
	if err != nil {
		return desired.FileTree{}, err
	}
	if !r.info.IsDir() {
		f, err := t.read(name, maxTrackedFile)
		if err != nil {
			return desired.FileTree{}, err
		}
		entry := desired.FileEntry{Path: path.Base(name), Mode: f.mode, Content: f.data}
		return desired.FileTree{Single: true, Entries: []desired.FileEntry{entry}}, nil
	}
	w := walk{tree: t, root: r.name}
	if err := w.dir("."); err != nil {
		return desired.FileTree{}, err
	}
	return desired.FileTree{Entries: w.entries}, nil
}

// walk gathers the files below a directory, in order of path.
type walk struct {
	tree    tree
	root    string
	entries []desired.FileEntry
	bytes   int64
}

func (w *walk) dir(rel string) error {
	names, err := w.tree.names(path.Join(w.root, rel))
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == ".git" {
			continue
		}
		if err := w.entry(path.Join(rel, n)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(rel string) error {
	name := path.Join(w.root, rel)
	info, local, err := w.tree.lstat(name)
	if err != nil {
		return err
	}
	if len(w.entries) >= maxTrackedCount {
		return &fileError{text: fmt.Sprintf("%s holds more than %d files", w.root, maxTrackedCount), hint: "mount a smaller directory"}
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return w.dir(rel)
	case mode&fs.ModeSymlink != 0:
		return w.link(rel, name, local)
	case mode.IsRegular():
		return w.file(rel, found{name, info, local})
	default:
		return &fileError{text: name + " is neither a file nor a directory"}
	}
}

func (w *walk) link(rel, name string, local bool) error {
	target, err := w.tree.readLink(name, local)
	if err != nil {
		return err
	}
	if _, ok := joinInside(path.Dir(rel), target); !ok {
		return &fileError{
			text: fmt.Sprintf("%s is a symbolic link that leads out of the mounted directory (%s)", name, target),
			hint: "put the file itself there",
		}
	}
	w.entries = append(w.entries, desired.FileEntry{Path: rel, Mode: 0o777, Link: target})
	return nil
}

func (w *walk) file(rel string, r found) error {
	f, err := w.tree.readResolved(r, maxTrackedFile)
	if err != nil {
		return err
	}
	if w.bytes += int64(len(f.data)); w.bytes > maxTrackedTree {
		return tooLarge(w.root, maxTrackedTree)
	}
	w.entries = append(w.entries, desired.FileEntry{Path: rel, Mode: f.mode, Content: f.data})
	return nil
}
