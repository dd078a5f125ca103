package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Init makes a repository with a work tree in dir, whose branch main has one
// commit with these files. A zero author is Fairlead itself. A directory that
// is a repository, or holds one of the files, is left as it is.
func Init(dir string, files map[string][]byte, by Author) (desired.Revision, error) {
	opt := Options{Author: by}.withDefaults()
	for name := range files {
		if err := checkPath(name); err != nil {
			return desired.Revision{}, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return desired.Revision{}, fmt.Errorf("make repository: %w", err)
	}
	if err := checkFree(dir, files); err != nil {
		return desired.Revision{}, err
	}
	dot := filepath.Join(dir, ".git")
	if err := skeleton(dot); err != nil {
		return desired.Revision{}, fmt.Errorf("make repository: %w", err)
	}
	g := gitDir{dir: dot, common: dot, work: dir}
	st := newStore(g.fs(), func() *store { return nil }, nil)
	d := &draft{builder: newBuilder(st), changes: map[string]change{}}
	for name, content := range files {
		d.changes[name] = change{filemode.Regular, d.put(plumbing.BlobObject, content)}
	}
	if err := d.initial(g, opt.Author); err != nil {
		return desired.Revision{}, fmt.Errorf("make repository: %w", err)
	}
	c, err := st.commit(d.commit)
	if err != nil {
		return desired.Revision{}, err
	}
	snap, err := snapshotOf(st, c, d.commit, "main")
	return snap.Revision, err
}

func (d *draft) initial(g gitDir, by Author) error {
	tree, err := d.tree(plumbing.ZeroHash, d.changes)
	if err != nil {
		return err
	}
	if d.commit, err = d.builder.commit(tree, nil, by, "Begin", time.Now(), nil); err != nil {
		return err
	}
	if err := d.store(g); err != nil {
		return err
	}
	wt, err := openWorkTree(g, d.st)
	if err != nil {
		return err
	}
	defer wt.close()
	if err := wt.apply(d); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(g.dir, headsPrefix, "main"), []byte(d.commit.String()+"\n"), 0o644); err != nil {
		return err
	}
	return wt.commitIndex()
}

func checkFree(dir string, files map[string][]byte) error {
	if _, err := os.Lstat(filepath.Join(dir, ".git")); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make repository: %s is one already", dir)
	}
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("make repository: %s exists already", filepath.Join(dir, name))
		}
	}
	return nil
}

// skeleton makes an empty .git directory; HEAD comes last, as it makes it one.
func skeleton(dot string) error {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(dot, d), 0o755); err != nil {
			return err
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
	if err := writeFile(filepath.Join(dot, "config"), []byte(config), 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(dot, "HEAD"), []byte("ref: refs/heads/main\n"), 0o644)
}
