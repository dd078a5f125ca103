package git

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// maxBlob bounds a file that is read from a commit.
	maxBlob = 32 << 20
	// maxMeta bounds a commit, tag or tree object.
	maxMeta = 8 << 20
	// objectCache keeps delta bases for a burst of reads. go-git's default of
	// 96 MiB would be most of the daemon's memory.
	objectCache = 1 << 20
)

// store reads objects, checked against their hash. go-git's storage is not
// safe for concurrent use and does not see packs that appear later; a store is
// and does.
type store struct {
	mu sync.Mutex // guards what follows
	fs billy.Filesystem
	s  *filesystem.Storage
	// current gives the store that took this one's place, when there is one.
	current func() *store
	// kick asks for a look at the repository.
	kick chan struct{}
	// drafted are objects that are nowhere yet; nil: there are none.
	drafted map[plumbing.Hash]plumbing.EncodedObject
	// damaged is set when an object of a commit could not be read.
	damaged atomic.Bool
}

func newStore(fs billy.Filesystem, current func() *store, kick chan struct{}) *store {
	return &store{fs: fs, s: newStorage(fs), current: current, kick: kick}
}

func newStorage(fs billy.Filesystem) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(objectCache),
		filesystem.Options{AlternatesFS: osfs.New("/")})
}

// move points the store at another directory.
func (st *store) move(fs billy.Filesystem) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.fs, st.s = fs, newStorage(fs)
}

// refresh forgets which packs there are.
func (st *store) refresh() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s = newStorage(st.fs)
}

// storage gives go-git's storage for what needs all of it. It must not be used
// by two goroutines.
func (st *store) storage() *filesystem.Storage {
	st.mu.Lock()
	defer st.mu.Unlock()
	return newStorage(st.fs)
}

// read gives the content of an object.
func (st *store) read(kind plumbing.ObjectType, h plumbing.Hash) ([]byte, error) {
	b, err := st.readHere(kind, h)
	if err == nil || errors.Is(err, ErrTooLarge) {
		return b, err
	}
	if now := st.current(); now != nil && now != st {
		if b, elsewhere := now.readHere(kind, h); elsewhere == nil {
			return b, nil
		}
	}
	if !st.damaged.Swap(true) {
		hint(st.kick)
	}
	return nil, fmt.Errorf("read %s %s: %w (%v)", kind, h, ErrUnreadable, err)
}

func (st *store) readHere(kind plumbing.ObjectType, h plumbing.Hash) ([]byte, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if o, ok := st.drafted[h]; ok && o.Type() == kind {
		return readAll(o)
	}
	b, err := readObject(st.s, kind, h)
	if err == nil || errors.Is(err, ErrTooLarge) {
		return b, err
	}
	// A pack may have come or been packed anew since this one was opened.
	st.s = newStorage(st.fs)
	return readObject(st.s, kind, h)
}

func readObject(s *filesystem.Storage, kind plumbing.ObjectType, h plumbing.Hash) (b []byte, err error) {
	// go-git's decoders index into what they read; a pack damaged on disk has
	// made them panic before.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode object: %v", p)
		}
	}()
	limit := limitOf(kind)
	if size, err := s.EncodedObjectSize(h); err == nil && size > limit {
		return nil, tooLarge(size, limit)
	}
	o, err := s.EncodedObject(kind, h)
	if err != nil {
		return nil, err
	}
	if o.Size() > limit {
		return nil, tooLarge(o.Size(), limit)
	}
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if b, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if plumbing.ComputeHash(kind, b) != h {
		return nil, errors.New("its content does not have this hash")
	}
	return b, nil
}

func readAll(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func limitOf(kind plumbing.ObjectType) int64 {
	if kind == plumbing.BlobObject {
		return maxBlob
	}
	return maxMeta
}

func tooLarge(size, limit int64) error {
	return fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, size, limit)
}

func (st *store) size(h plumbing.Hash) (int64, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if o, ok := st.drafted[h]; ok {
		return o.Size(), nil
	}
	if n, err := st.s.EncodedObjectSize(h); err == nil {
		return n, nil
	}
	st.s = newStorage(st.fs)
	// EncodedObjectSize does not look into alternates; EncodedObject does.
	o, err := st.s.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return 0, err
	}
	return o.Size(), nil
}

func (st *store) has(h plumbing.Hash) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.s.HasEncodedObject(h) == nil {
		return true
	}
	_, err := st.s.EncodedObject(plumbing.AnyObject, h) // looks into alternates too
	return err == nil
}

func (st *store) commit(h plumbing.Hash) (*object.Commit, error) {
	b, err := st.read(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	c := &object.Commit{}
	if err := c.Decode(memoryObject(plumbing.CommitObject, b)); err != nil {
		return nil, fmt.Errorf("decode commit %s: %w", h, err)
	}
	return c, nil
}

// tree gives the entries of a tree, in git's order.
func (st *store) tree(h plumbing.Hash) ([]object.TreeEntry, error) {
	b, err := st.read(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	t := &object.Tree{}
	if err := t.Decode(memoryObject(plumbing.TreeObject, b)); err != nil {
		return nil, fmt.Errorf("decode tree %s: %w", h, err)
	}
	return t.Entries, nil
}

// peel follows annotated tags to a commit.
func (st *store) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range 10 {
		b, err := st.readHere(plumbing.TagObject, h)
		if err != nil {
			_, err := st.commit(h)
			return h, err
		}
		t := &object.Tag{}
		if err := t.Decode(memoryObject(plumbing.TagObject, b)); err != nil {
			return h, fmt.Errorf("decode tag %s: %w", h, err)
		}
		h = t.Target
	}
	return h, fmt.Errorf("follow tag %s: tags of tags without end", h)
}

// check walks a commit's tree and reports what is missing. Submodules are not
// part of a repository.
func (st *store) check(commit plumbing.Hash) error {
	c, err := st.commit(commit)
	if err != nil {
		return err
	}
	seen := map[plumbing.Hash]bool{}
	return st.checkTree(c.TreeHash, seen, 0)
}

const (
	maxDepth = 256
	// maxTrees bounds the distinct directories of a commit.
	maxTrees = 200_000
)

func (st *store) checkTree(h plumbing.Hash, seen map[plumbing.Hash]bool, depth int) error {
	if seen[h] {
		return nil
	}
	if seen[h] = true; depth > maxDepth || len(seen) > maxTrees {
		return fmt.Errorf("check tree: %w: directories are nested or numbered beyond reason", ErrTooLarge)
	}
	entries, err := st.tree(h)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case e.Mode == filemode.Dir:
			err = st.checkTree(e.Hash, seen, depth+1)
		case e.Mode != filemode.Submodule && !st.has(e.Hash):
			err = fmt.Errorf("check tree: %s %s: %w", e.Name, e.Hash, plumbing.ErrObjectNotFound)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func memoryObject(kind plumbing.ObjectType, b []byte) plumbing.EncodedObject {
	o := &plumbing.MemoryObject{}
	o.SetType(kind)
	_, _ = o.Write(b) // writes to memory do not fail
	return o
}

func osfsAt(dir string) billy.Filesystem { return osfs.New(dir) }
