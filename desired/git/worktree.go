package git

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"
)

// workTree changes the checked-out files of a branch that is about to move.
// It holds git's lock of the index.
type workTree struct {
	g       gitDir
	st      *store
	root    *os.Root
	lock    *os.File
	idx     *index.Index
	written time.Time
	entries map[string]*index.Entry
}

func openWorkTree(g gitDir, st *store) (*workTree, error) {
	name := filepath.Join(g.dir, "index.lock")
	lock, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, lockError("index", name, err)
	}
	ownerOf(g).take(name)
	w := &workTree{g: g, st: st, lock: lock, entries: map[string]*index.Entry{}}
	if w.idx, w.written, err = readIndex(g); err != nil {
		w.close()
		return nil, err
	}
	if w.root, err = os.OpenRoot(g.work); err != nil {
		w.close()
		return nil, fmt.Errorf("open work tree: %w", err)
	}
	for _, e := range w.idx.Entries {
		w.entries[e.Name] = e
	}
	return w, nil
}

// close gives up the lock, unless it became the index.
func (w *workTree) close() {
	if w.root != nil {
		w.root.Close()
	}
	if w.lock != nil {
		w.lock.Close()
		_ = os.Remove(w.lock.Name())
	}
}

// check refuses to write over anything that is not in the tip.
func (w *workTree) check(d *draft) error {
	tip, err := d.st.commit(d.tip.commit)
	if err != nil {
		return err
	}
	dirty := map[string]bool{}
	for name, to := range d.changes {
		was, exists, err := entryAt(d.st, tip.TreeHash, name)
		if err != nil {
			return err
		}
		e := w.entries[name]
		switch {
		case exists && (e == nil || e.Stage != 0 || e.Hash != was.Hash || e.Mode != was.Mode):
			dirty[name] = true
		case exists && e.Mode != filemode.Submodule && !e.SkipWorktree && !unchanged(w.root, e, w.written):
			dirty[name] = true
		case !exists && (e != nil || w.inTheWay(name)):
			dirty[name] = true
		case !to.removes():
			if up := w.blockedAbove(name, d.changes); up != "" {
				dirty[up] = true
			}
		}
	}
	if len(dirty) == 0 {
		return nil
	}
	var paths []string
	for name := range dirty {
		paths = append(paths, name)
	}
	slices.Sort(paths)
	return &DirtyError{Paths: paths}
}

// inTheWay tells whether a file that git does not know is where one is to be written.
func (w *workTree) inTheWay(name string) bool {
	_, err := lstatIn(w.root, filepath.FromSlash(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// blockedAbove finds a directory of name that is something else in the work
// tree and is not removed by the same change.
func (w *workTree) blockedAbove(name string, changes map[string]change) string {
	for up := path.Dir(name); up != "."; up = path.Dir(up) {
		info, err := w.root.Lstat(filepath.FromSlash(up))
		if err != nil || info.IsDir() {
			continue
		}
		if c, changed := changes[up]; !changed || !c.removes() {
			return up
		}
	}
	return ""
}

// apply writes files and prepares the index. Removals come first, for a file
// that becomes a directory.
func (w *workTree) apply(d *draft) error {
	names := make([]string, 0, len(d.changes))
	for name := range d.changes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if d.changes[name].removes() {
			if err := w.remove(name); err != nil {
				return fmt.Errorf("update work tree: %w", err)
			}
		}
	}
	for _, name := range names {
		if c := d.changes[name]; !c.removes() {
			if err := w.put(d, name, c); err != nil {
				return fmt.Errorf("update work tree: %w", err)
			}
		}
	}
	return w.writeIndex()
}

func (w *workTree) remove(name string) error {
	e := w.entries[name]
	delete(w.entries, name)
	if e == nil || e.SkipWorktree || e.Mode == filemode.Submodule {
		return nil
	}
	if err := w.root.Remove(filepath.FromSlash(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for up := path.Dir(name); up != "."; up = path.Dir(up) {
		if w.root.Remove(filepath.FromSlash(up)) != nil { // not empty
			break
		}
	}
	return nil
}

func (w *workTree) put(d *draft, name string, c change) error {
	e := w.entries[name]
	if e == nil {
		e = &index.Entry{Name: name}
		w.entries[name] = e
	}
	e.Hash, e.Mode, e.IntentToAdd = c.hash, c.mode, false
	if e.SkipWorktree || c.mode == filemode.Submodule {
		return nil
	}
	content, err := d.blob(c.hash)
	if err != nil {
		return err
	}
	info, err := w.write(filepath.FromSlash(name), content, c.mode)
	if err != nil {
		return err
	}
	*e = index.Entry{Name: name, Hash: c.hash, Mode: c.mode, Size: uint32(info.Size()), ModifiedAt: info.ModTime(), CreatedAt: info.ModTime()}
	return nil
}

// blob reads a file that is new in the draft, or was in the repository before.
func (d *draft) blob(h plumbing.Hash) ([]byte, error) {
	for _, o := range d.objs {
		if o.Hash() == h {
			return readMemory(o)
		}
	}
	return d.st.read(plumbing.BlobObject, h)
}

func readMemory(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	return b.Bytes(), err
}

// write replaces one file of the work tree as a whole.
func (w *workTree) write(name string, content []byte, mode filemode.FileMode) (fs.FileInfo, error) {
	dir := filepath.Dir(name)
	if err := w.root.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	tmp := filepath.Join(dir, ".fairlead-"+rand.Text())
	defer w.root.Remove(tmp) // fails after the rename, as it should
	if mode == filemode.Symlink {
		if err := w.root.Symlink(string(content), tmp); err != nil {
			return nil, err
		}
	} else if err := w.writeTemp(tmp, content, mode); err != nil {
		return nil, err
	}
	if err := w.root.Rename(tmp, name); err != nil {
		return nil, err
	}
	ownerOf(w.g).takeAbove(w.g.work, filepath.Join(w.g.work, name))
	return w.root.Lstat(name)
}

func (w *workTree) writeTemp(tmp string, content []byte, mode filemode.FileMode) error {
	perm := fs.FileMode(0o644)
	if mode == filemode.Executable {
		perm = 0o755
	}
	f, err := w.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// writeIndex fills the lock file with the new index.
func (w *workTree) writeIndex() error {
	w.idx.Entries = w.idx.Entries[:0]
	for _, e := range w.entries {
		w.idx.Entries = append(w.idx.Entries, e)
	}
	sort.Slice(w.idx.Entries, func(i, j int) bool { return w.idx.Entries[i].Name < w.idx.Entries[j].Name })
	w.idx.Cache, w.idx.ResolveUndo, w.idx.EndOfIndexEntry = nil, nil, nil
	if err := index.NewEncoder(w.lock).Encode(w.idx); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := w.lock.Sync(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// commitIndex makes the lock file the index.
func (w *workTree) commitIndex() error {
	if err := os.Rename(w.lock.Name(), filepath.Join(w.g.dir, "index")); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	w.lock.Close()
	w.lock = nil
	return nil
}
