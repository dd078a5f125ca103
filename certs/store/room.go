package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

const maxFile = 1 << 20 // of what is read back; a chain takes some 10 kB

// file is what one should be.
type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// room is a directory that is worked in. No path leaves it, and no link is
// followed out of it.
type room struct {
	*os.Root
	tmp      string // how names begin that a crash may leave; no others do
	uid, gid int    // who files are given to; -1: who runs this
	step     func(string)
}

// at tells a test what is about to be done.
func (r room) at(step string) {
	if r.step != nil {
		r.step(step)
	}
}

// owned refuses a directory that others own or may write to: they could put
// another key there, or have us write into their files.
func owned(dir string) (fs.FileInfo, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case !info.IsDir():
		return nil, fmt.Errorf("%s is no directory of its own but %s", dir, what(info.Mode()))
	case uid != os.Geteuid() && uid != 0:
		return nil, fmt.Errorf("%s belongs to user %d: others could change what is in it; chown it to user %d", dir, uid, os.Geteuid())
	case info.Mode()&0o022 != 0:
		return nil, fmt.Errorf("%s may be written to by others (mode %04o): chmod go-w it", dir, info.Mode().Perm())
	}
	return info, nil
}

// enter opens a directory that nobody else can change, and makes it first when
// it is missing.
func enter(dir string, mode fs.FileMode, r room) (room, error) {
	switch err := os.Mkdir(dir, mode); {
	case err == nil:
		if err := errors.Join(os.Chmod(dir, mode), syncPath(filepath.Dir(dir))); err != nil {
			return r, err
		}
	case !errors.Is(err, fs.ErrExist):
		return r, err
	}
	info, err := owned(dir)
	if err != nil {
		return r, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, err
	}
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		return r, errors.Join(fmt.Errorf("%s was replaced while it was opened", dir), err, root.Close())
	}
	r.Root = root
	return r, nil
}

// create writes a file that is not there yet, onto the disk.
func (r room) create(name string, f file) error {
	r.at("create " + name)
	out, err := r.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r.at("write " + name)
	err = errors.Join(r.fill(out, f), out.Close())
	if err != nil {
		_ = r.Remove(name) // half of it; the error is what counts
	}
	return err
}

func (r room) fill(out *os.File, f file) error {
	if r.uid >= 0 || r.gid >= 0 {
		if err := out.Chown(r.uid, r.gid); err != nil {
			return err
		}
	}
	if err := out.Chmod(f.mode); err != nil { // whatever the umask is
		return err
	}
	if _, err := out.Write(f.data); err != nil {
		return err
	}
	r.at("sync " + f.name)
	return out.Sync()
}

// replace puts a file in the place of whatever has its name, in one step.
func (r room) replace(name string, f file) error {
	tmp := r.tmp + strings.ReplaceAll(name, "/", "-")
	if err := r.RemoveAll(tmp); err != nil {
		return err
	}
	if err := r.create(tmp, f); err != nil {
		return err
	}
	r.at("rename to " + name)
	return r.rename(tmp, name)
}

// link makes name a symbolic link to target, in one step.
func (r room) link(name, target string) error {
	tmp := r.tmp + name
	if err := r.RemoveAll(tmp); err != nil {
		return err
	}
	r.at("link " + name)
	if err := r.Symlink(target, tmp); err != nil {
		return err
	}
	r.at("flip " + name)
	return r.rename(tmp, name)
}

// rename replaces what has the new name and syncs the directory. A directory is
// in the way of everything else.
func (r room) rename(from, to string) error {
	if err := r.Rename(from, to); err != nil {
		_ = r.RemoveAll(from)
		return err
	}
	r.at("sync directory of " + to)
	return r.sync(path.Dir(to))
}

// mine is the same room, where files belong to who runs this.
func (r room) mine() room {
	r.uid, r.gid = -1, -1
	return r
}

// directory makes a directory with these files, or leaves nothing. What is kept
// belongs to who runs this.
func (r room) directory(name string, mode fs.FileMode, files []file, kept ...file) (err error) {
	tmp := r.tmp + name
	if err := r.RemoveAll(tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = r.RemoveAll(tmp)
		}
	}()
	r.at("make directory " + name)
	if err := errors.Join(r.Mkdir(tmp, 0o700), r.Chmod(tmp, mode)); err != nil {
		return err
	}
	if err := errors.Join(r.createAll(tmp, files), r.mine().createAll(tmp, kept)); err != nil {
		return err
	}
	if err := r.sync(tmp); err != nil {
		return err
	}
	r.at("read back " + name)
	if drift := append(r.compareAll(tmp, files), r.mine().compareAll(tmp, kept)...); len(drift) > 0 {
		return fmt.Errorf("read back what was written: %s", drift[0])
	}
	r.at("rename directory " + name)
	return r.rename(tmp, name)
}

func (r room) createAll(dir string, files []file) error {
	for _, f := range files {
		if err := r.create(path.Join(dir, f.name), f); err != nil {
			return err
		}
	}
	return nil
}

func (r room) compareAll(dir string, files []file) (list []Drift) {
	for _, f := range files {
		if drift := r.compare(path.Join(dir, f.name), f); drift != nil {
			list = append(list, *drift)
		}
	}
	return list
}

// discard takes a directory away so that no half of it is ever seen.
func (r room) discard(name string) error {
	tmp := r.tmp + "gone-" + name
	if err := r.RemoveAll(tmp); err != nil {
		return err
	}
	r.at("set aside " + name)
	if err := r.Rename(name, tmp); err != nil {
		return err
	}
	r.at("remove " + name)
	return r.RemoveAll(tmp)
}

// sweep removes what a crash left.
func (r room) sweep() (gone []string, err error) {
	entries, err := r.list()
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), r.tmp) {
			gone, err = append(gone, e.Name()), errors.Join(err, r.RemoveAll(e.Name()))
		}
	}
	return gone, err
}

func (r room) list() ([]fs.DirEntry, error) { return fs.ReadDir(r.FS(), ".") }

func (r room) sync(dir string) error {
	d, err := r.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read reads a regular file; a link is none.
func (r room) read(name string) ([]byte, fs.FileInfo, error) {
	info, err := r.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, fmt.Errorf("%s is %s", name, what(info.Mode()))
	}
	in, err := r.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, info, err
	}
	defer in.Close()
	if opened, err := in.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, info, errors.Join(fmt.Errorf("%s was replaced while it was opened", name), err)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d KiB", name, maxFile>>10)
	}
	return data, info, err
}

// compare says how a file differs from what it should be; nil: not at all.
func (r room) compare(name string, f file) *Drift {
	data, info, err := r.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Drift{name, Missing, "nothing", "a file"}
	case info != nil && !info.Mode().IsRegular():
		return &Drift{name, Replaced, what(info.Mode()), "a file"}
	case err != nil:
		return &Drift{name, Unreadable, err.Error(), "a file"}
	case !bytes.Equal(data, f.data):
		return &Drift{name, Edited, fmt.Sprintf("%d other bytes", len(data)), fmt.Sprintf("the %d that were written", len(f.data))}
	case info.Mode().Perm() != f.mode:
		return &Drift{name, Mode, fmt.Sprintf("%04o", info.Mode().Perm()), fmt.Sprintf("%04o", f.mode)}
	}
	return r.compareOwner(name, info)
}

func (r room) compareOwner(name string, info fs.FileInfo) *Drift {
	uid, gid := r.uid, r.gid
	if uid < 0 {
		uid = os.Geteuid()
	}
	have := info.Sys().(*syscall.Stat_t)
	if int(have.Uid) != uid || gid >= 0 && int(have.Gid) != gid {
		found, expected := fmt.Sprintf("%d:%d", have.Uid, have.Gid), fmt.Sprintf("%d:%d", uid, gid)
		if gid < 0 { // whatever group it has
			found, expected = fmt.Sprintf("user %d", have.Uid), fmt.Sprintf("user %d", uid)
		}
		return &Drift{name, Owner, found, expected}
	}
	return nil
}

func what(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a special file"
}
