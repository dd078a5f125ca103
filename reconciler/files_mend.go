package reconciler

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fairlead/fairlead/desired"
)

// mendTree writes the content back into a directory that was made by writeTree
// and changed by hand. Containers hold its files and the directory itself by
// their inodes: of one that took its place they would see nothing. False says
// that this cannot be done.
func mendTree(dir string, tree desired.FileTree) bool {
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return false
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	for _, e := range tree.Entries {
		name, err := within(dir, e.Path)
		if err != nil || !sameEntry(name, e) && mendEntry(dir, root, e) != nil {
			return false
		}
	}
	return intact(dir, tree)
}

func mendEntry(dir string, root *os.Root, e desired.FileEntry) error {
	if _, err := root.Lstat(e.Path); errors.Is(err, fs.ErrNotExist) {
		return writeEntry(dir, e)
	}
	return rewrite(root, e)
}

// rewrite gives a regular file its content back, keeping its inode.
func rewrite(root *os.Root, e desired.FileEntry) error {
	info, err := root.Lstat(e.Path)
	if err != nil || !info.Mode().IsRegular() || e.Link != "" {
		return fmt.Errorf("rewrite %s: it is not a regular file any more", e.Path)
	}
	f, err := root.OpenFile(e.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(e.Content, 0)
	return errors.Join(err, f.Truncate(int64(len(e.Content))), f.Chmod(e.Mode.Perm()), f.Sync(), f.Close())
}
