package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/desired"
)

// maxSeeded bounds what is read of a file that an application may have written.
// No file of a repository is larger (desired/compose).
const maxSeeded = 16 << 20

// seed brings what the repository holds at a writable path into work/. A file
// is written when it is new or changed in the repository; one that the
// application wrote in the meantime is kept beside it (".before-<hash>").
//
// Whoever runs in a container that mounts the path can put links there. One that
// leads out of work/ is an error: root would write where it points.
func seed(home, source string, tree desired.FileTree) error {
	if _, err := within(workDir(home), source); err != nil {
		return err
	}
	if err := os.MkdirAll(workDir(home), 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(workDir(home))
	if err != nil {
		return err
	}
	defer root.Close()
	record := path.Join(".seeds", strings.ReplaceAll(path.Clean(source), "/", "%2F")+".json")
	before := map[string]string{}
	if data, err := readSeeded(root, record); err == nil {
		_ = json.Unmarshal(data, &before) // damaged: as if never seeded, which keeps copies
	}
	now := map[string]string{}
	for _, e := range tree.Entries {
		name := path.Clean(source)
		if !tree.Single {
			if _, err := within(workDir(home), e.Path); err != nil {
				return err
			}
			name = path.Join(name, e.Path)
		}
		if now[e.Path] = contentHash(e); now[e.Path] == before[e.Path] {
			continue
		}
		if err := seedEntry(root, name, e, before[e.Path]); err != nil {
			return err
		}
	}
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return putEntry(root, record, desired.FileEntry{Mode: 0o600, Content: text})
}

func seedEntry(root *os.Root, name string, e desired.FileEntry, before string) error {
	current, err := seededEntry(root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && contentHash(withPath(current, e.Path)) == before:
	case err == nil && current.Link == e.Link && string(current.Content) == string(e.Content) && (e.Link != "" || current.Mode == e.Mode.Perm()):
		return nil
	case errors.Is(err, errNotSeeded), err == nil:
		if err := root.Rename(name, name+".before-"+contentHash(e)[:8]); err != nil {
			return err
		}
	default:
		return err
	}
	return putEntry(root, name, e)
}

func withPath(e desired.FileEntry, name string) desired.FileEntry { e.Path = name; return e }

// errNotSeeded says that something is there that no seed is: a pipe, a device,
// a file that is too large. It is not opened.
var errNotSeeded = errors.New("it is not what a repository can hold")

// seededEntry is what stands at the place of a seed.
func seededEntry(root *os.Root, name string) (e desired.FileEntry, err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return e, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		e.Link, err = root.Readlink(name)
		return e, err
	}
	e.Mode = info.Mode().Perm()
	e.Content, err = readSeeded(root, name)
	return e, err
}

// readSeeded reads a regular file. One that becomes a pipe under the hand keeps
// nobody waiting.
func readSeeded(root *os.Root, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("read %s: it is a directory", name)
	case !info.Mode().IsRegular():
		return nil, errNotSeeded
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSeeded+1))
	if err == nil && len(data) > maxSeeded {
		err = errNotSeeded
	}
	return data, err
}

// putEntry puts a file or link in the place of what stands there.
func putEntry(root *os.Root, name string, e desired.FileEntry) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := name + ".fairlead-tmp"
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if e.Link != "" {
		if err := root.Symlink(e.Link, tmp); err != nil {
			return err
		}
		return root.Rename(tmp, name)
	}
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(e.Content)
	if e.UID != nil || e.GID != nil {
		err = errors.Join(err, f.Chown(orKeep(e.UID), orKeep(e.GID)))
	}
	if err := errors.Join(err, f.Chmod(e.Mode.Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	return root.Rename(tmp, name)
}
