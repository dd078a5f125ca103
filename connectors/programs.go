package connectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/desired"
)

const (
	// maxProgram bounds the files of a program as they are kept.
	maxProgram = 256 << 20
	// sparePrograms is how many are kept that nobody wants: going back to an older
	// generation of an instance hands no files over.
	sparePrograms = 32
	treeSuffix    = ".json"
)

func (o Options) programsDir(instance string) string {
	return filepath.Join(o.Dir, instance, "programs")
}

// keepProgram puts the files of a program away under their hash, in one file
// that is replaced in one step.
func (o Options) keepProgram(instance, hash string, tree desired.FileTree) error {
	if !plainHash(hash) || tree.Hash() != hash {
		return fmt.Errorf("keep program %.80q: that is not the hash of its files", hash)
	}
	dir := o.programsDir(instance)
	file := filepath.Join(dir, hash+treeSuffix)
	if _, err := o.readProgram(instance, hash); err == nil {
		now := time.Now() // by which the spare ones are told apart
		_ = os.Chtimes(file, now, now)
		return nil
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("keep program %s: %w", hash, err)
	}
	o.step("keep program")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep program %s: %w", hash, err)
	}
	if err := replaceFile(file, data); err != nil {
		return fmt.Errorf("keep program %s: %w", hash, err)
	}
	return nil
}

// replaceFile writes a file beside another, brings it onto the disk and gives it
// the name.
func replaceFile(file string, data []byte) error {
	tmp := file + ".tmp"
	_ = os.Remove(tmp) // which a crash left
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, file)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readProgram reads the files of a program, which are those of their hash.
func (o Options) readProgram(instance, hash string) (desired.FileTree, error) {
	var tree desired.FileTree
	if !plainHash(hash) {
		return tree, fmt.Errorf("read program: %.80q is not a hash", hash)
	}
	f, err := os.OpenFile(filepath.Join(o.programsDir(instance), hash+treeSuffix), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return tree, fmt.Errorf("read program: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProgram+1))
	if err == nil && len(data) > maxProgram {
		err = fmt.Errorf("it has more than %d bytes", maxProgram)
	}
	if err == nil {
		err = json.Unmarshal(data, &tree)
	}
	if err == nil && tree.Hash() != hash {
		err = errors.New("its files were changed")
	}
	if err != nil {
		return desired.FileTree{}, fmt.Errorf("read program %s: %w", hash, err)
	}
	return tree, nil
}

// prunePrograms removes programs that nobody wants, the oldest first, but for
// some.
func (o Options) prunePrograms(instance string, wanted map[string]bool) {
	dir := o.programsDir(instance)
	entries, _ := os.ReadDir(dir)
	type spare struct {
		name string
		at   time.Time
	}
	var all []spare
	for _, e := range entries {
		hash, ok := strings.CutSuffix(e.Name(), treeSuffix)
		if info, err := e.Info(); ok && !wanted[hash] && err == nil {
			all = append(all, spare{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b spare) int { return b.at.Compare(a.at) })
	for _, s := range all[min(len(all), sparePrograms):] {
		_ = os.Remove(filepath.Join(dir, s.name)) // the next time, else
	}
}

// writeProgram writes the files of a program into a directory for one run, so
// that no run finds what another changed.
func (o Options) writeProgram(instance, hash, dir string) error {
	tree, err := o.readProgram(instance, hash)
	if err != nil {
		return WithHint(err, "the files of this connector are read again with the next commit")
	}
	o.step("write program")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("write program: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write program: %w", err)
	}
	defer root.Close()
	for _, e := range tree.Entries {
		if err := writeEntry(root, e); err != nil {
			return fmt.Errorf("write program: %s: %w", e.Path, err)
		}
	}
	return nil
}

func writeEntry(root *os.Root, e desired.FileEntry) error {
	if !fs.ValidPath(e.Path) {
		return errors.New("the path is not one")
	}
	if err := root.MkdirAll(path.Dir(e.Path), 0o755); err != nil {
		return err
	}
	if e.Link != "" {
		return root.Symlink(e.Link, e.Path)
	}
	f, err := root.OpenFile(e.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(e.Content)
	return errors.Join(err, f.Chmod(e.Mode.Perm()), f.Close())
}

// plainHash reports whether a key of files is safe as a name.
func plainHash(s string) bool {
	return len(s) >= 8 && len(s) <= 128 && strings.Trim(s, "0123456789abcdef") == ""
}
