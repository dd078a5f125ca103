package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// change is what a path becomes. The zero value removes it.
type change struct {
	mode filemode.FileMode
	hash plumbing.Hash
}

func (c change) removes() bool { return c == change{} }

// builder collects the new objects of a commit.
type builder struct {
	st   *store // what exists
	objs []plumbing.EncodedObject
	seen map[plumbing.Hash]bool
}

func newBuilder(st *store) *builder { return &builder{st: st, seen: map[plumbing.Hash]bool{}} }

func (b *builder) put(kind plumbing.ObjectType, content []byte) plumbing.Hash {
	o := memoryObject(kind, content)
	if h := o.Hash(); !b.seen[h] {
		b.seen[h] = true
		b.objs = append(b.objs, o)
	}
	return o.Hash()
}

// view reads what exists and what was collected.
func (b *builder) view() *store {
	st := newStore(b.st.fs, func() *store { return b.st }, b.st.kick)
	st.drafted = map[plumbing.Hash]plumbing.EncodedObject{}
	for _, o := range b.objs {
		st.drafted[o.Hash()] = o
	}
	return st
}

// flatten lists every file of a tree.
func flatten(st *store, tree plumbing.Hash) (map[string]change, error) {
	files := map[string]change{}
	return files, flattenInto(st, tree, "", files, 0)
}

func flattenInto(st *store, tree plumbing.Hash, dir string, files map[string]change, depth int) error {
	if depth > maxDepth || len(files) > maxTrees*10 {
		return fmt.Errorf("list files: %w: directories are nested or numbered beyond reason", ErrTooLarge)
	}
	entries, err := st.tree(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if e.Mode != filemode.Dir {
			files[name] = change{e.Mode, e.Hash}
		} else if err := flattenInto(st, e.Hash, name, files, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entryAt finds one path in a tree; ok is false when there is nothing.
func entryAt(st *store, tree plumbing.Hash, name string) (found object.TreeEntry, ok bool, err error) {
	found = object.TreeEntry{Mode: filemode.Dir, Hash: tree}
	if name == "." {
		return found, true, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if found.Mode != filemode.Dir {
			return found, false, nil
		}
		entries, err := st.tree(found.Hash)
		if err != nil {
			return found, false, err
		}
		i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == part })
		if i < 0 {
			return found, false, nil
		}
		found = entries[i]
	}
	return found, true, nil
}

// tree makes the tree that base becomes with changes. An empty result is the
// zero hash: git has no empty directories.
func (b *builder) tree(base plumbing.Hash, changes map[string]change) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !base.IsZero() {
		list, err := b.st.tree(base)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		for _, e := range list {
			entries[e.Name] = e
		}
	}
	leaves, below := split(changes)
	for name, c := range leaves {
		if c.removes() && entries[name].Mode != filemode.Dir {
			delete(entries, name)
		}
	}
	for name, inner := range below {
		if err := b.subtree(entries, name, inner); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	for name, c := range leaves {
		if c.removes() {
			continue
		}
		if entries[name].Mode == filemode.Dir {
			return plumbing.ZeroHash, fmt.Errorf("write %s: it is a directory", name)
		}
		entries[name] = object.TreeEntry{Name: name, Mode: c.mode, Hash: c.hash}
	}
	return b.putTree(entries)
}

// split parts the changes of this directory from those of the ones below.
func split(changes map[string]change) (leaves map[string]change, below map[string]map[string]change) {
	leaves, below = map[string]change{}, map[string]map[string]change{}
	for name, c := range changes {
		first, rest, deeper := strings.Cut(name, "/")
		if !deeper {
			leaves[name] = c
			continue
		}
		if below[first] == nil {
			below[first] = map[string]change{}
		}
		below[first][rest] = c
	}
	return leaves, below
}

func (b *builder) subtree(entries map[string]object.TreeEntry, name string, changes map[string]change) error {
	base := plumbing.ZeroHash
	if e, ok := entries[name]; ok {
		if e.Mode != filemode.Dir {
			if onlyRemoves(changes) {
				return nil
			}
			return fmt.Errorf("write below %s: it is a file", name)
		}
		base = e.Hash
	}
	h, err := b.tree(base, changes)
	if err != nil {
		return err
	}
	if h.IsZero() {
		delete(entries, name)
	} else {
		entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: h}
	}
	return nil
}

func onlyRemoves(changes map[string]change) bool {
	for _, c := range changes {
		if !c.removes() {
			return false
		}
	}
	return true
}

func (b *builder) putTree(entries map[string]object.TreeEntry) (plumbing.Hash, error) {
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	t := &object.Tree{}
	for _, e := range entries {
		t.Entries = append(t.Entries, e)
	}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	o := &plumbing.MemoryObject{}
	if err := t.Encode(o); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("encode tree: %w", err)
	}
	return b.putObject(o), nil
}

func (b *builder) putObject(o plumbing.EncodedObject) plumbing.Hash {
	if h := o.Hash(); !b.seen[h] {
		b.seen[h] = true
		b.objs = append(b.objs, o)
	}
	return o.Hash()
}

// commit makes a commit of a tree. A zero tree becomes git's empty one.
func (b *builder) commit(tree plumbing.Hash, parents []plumbing.Hash, by Author, message string, now time.Time, key Signer) (plumbing.Hash, error) {
	if tree.IsZero() {
		tree = b.put(plumbing.TreeObject, nil)
	}
	who := object.Signature{Name: clean(by.Name), Email: clean(by.Email), When: now}
	c := &object.Commit{Author: who, Committer: who, Message: strings.TrimSpace(message) + "\n", TreeHash: tree, ParentHashes: parents}
	if err := signCommit(c, key); err != nil {
		return plumbing.ZeroHash, err
	}
	o := &plumbing.MemoryObject{}
	if err := c.Encode(o); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("encode commit: %w", err)
	}
	return b.putObject(o), nil
}

// clean leaves out what may not be in a name or address of a commit.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == '<' || r == '>' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}

// checkPath refuses what git would refuse in a tree (verify_path).
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." {
		return fmt.Errorf("write %q: not a path inside the repository", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		lower := strings.ToLower(part)
		if lower == ".git" || lower == "git~1" || strings.HasPrefix(lower, ".git ") || strings.ContainsAny(part, "\\\x00\n") {
			return fmt.Errorf("write %q: git does not allow this name", name)
		}
	}
	return nil
}

var errEmptyMessage = errors.New("commit: the message is empty")
