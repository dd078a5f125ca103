package compose

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Bounds of what is read. They are far above what people write, and keep a
// hostile or mistaken repository from filling the daemon's memory.
const (
	maxComposeFile  = 4 << 20
	maxEnvFile      = 1 << 20
	maxTrackedFile  = 16 << 20
	maxTrackedTree  = 64 << 20
	maxTrackedCount = 20000
	maxSources      = 200
	maxLinks        = 40
)

// tree reads the repository with the host's own files lying over the instance
// directory. It follows a symbolic link only when it stays inside the
// repository, and decides that by itself: the file systems below may follow
// anything.
type tree struct {
	repo  fs.FS
	dir   string // the instance's directory in repo
	local fs.FS  // may be nil
}

// fileError is what is wrong with one path of the tree, in words for a person.
type fileError struct {
	text, hint string
	missing    bool
}

func (e *fileError) Error() string { return e.text }

func errMissing(name string) error {
	return &fileError{text: name + " does not exist in the repository", missing: true}
}

func isMissing(err error) bool {
	var fe *fileError
	return errors.As(err, &fe) && fe.missing
}

// under gives name relative to dir, and whether it lies there.
func under(dir, name string) (string, bool) {
	if dir == "." || name == dir {
		if name == dir {
			return ".", true
		}
		return name, true
	}
	return strings.CutPrefix(name, dir+"/")
}

// lstat tells what name is, without following a link, and whether it is one of
// the host's own files. A directory counts as the repository's when both have it.
func (t tree) lstat(name string) (fs.FileInfo, bool, error) {
	own, err := t.lstatLocal(name)
	if err != nil || own != nil && !own.IsDir() {
		return own, true, err
	}
	info, err := fs.Lstat(t.repo, name)
	switch {
	case err == nil && info.Mode()&fs.ModeIrregular != 0: // how a commit's tree shows one
		return nil, false, &fileError{
			text: name + " is a Git submodule, whose files are not in this repository",
			hint: "vendor them: put a copy of what is needed into the repository",
		}
	case err == nil:
		return info, false, nil
	case !absent(err):
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	case own != nil:
		return own, true, nil
	}
	return nil, false, errMissing(name)
}

// lstatLocal gives nil when the host has no file of that name.
func (t tree) lstatLocal(name string) (fs.FileInfo, error) {
	rel, ok := under(t.dir, name)
	if t.local == nil || !ok {
		return nil, nil
	}
	info, err := fs.Lstat(t.local, rel)
	if err != nil && !absent(err) {
		return nil, fmt.Errorf("read %s of the host's own files: %w", rel, err)
	}
	if err != nil {
		return nil, nil
	}
	return info, nil
}

// absent tells whether a file is really not there: an error of another kind
// must never pass for that (law 3).
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) }

func (t tree) readLink(name string, local bool) (string, error) {
	fsys, at := t.repo, name
	if local {
		fsys, at = t.local, t.rel(name)
	}
	target, err := fs.ReadLink(fsys, at)
	if err != nil {
		return "", fmt.Errorf("read link %s: %w", name, err)
	}
	return target, nil
}

func (t tree) rel(name string) string { r, _ := under(t.dir, name); return r }

// found is a path with every symbolic link followed.
type found struct {
	name  string
	info  fs.FileInfo
	local bool
}

// resolve follows the links of name, component by component.
func (t tree) resolve(name string) (found, error) {
	if !fs.ValidPath(name) {
		return found{}, errMissing(name)
	}
	r := found{name: "."}
	rest := strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		if r.info != nil && !r.info.IsDir() {
			return found{}, errMissing(name)
		}
		next := path.Join(r.name, rest[0])
		rest = rest[1:]
		info, local, err := t.lstat(next)
		if err != nil {
			if isMissing(err) {
				err = errMissing(name)
			}
			return found{}, err
		}
		r = found{next, info, local}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if links++; links > maxLinks {
			return found{}, &fileError{text: name + " is a loop of symbolic links"}
		}
		target, err := t.readLink(next, local)
		if err != nil {
			return found{}, err
		}
		to, ok := joinInside(path.Dir(next), target)
		if !ok {
			return found{}, &fileError{
				text: fmt.Sprintf("%s is a symbolic link that leads out of the repository (%s)", next, target),
				hint: "put a copy of the file into the repository",
			}
		}
		rest = append(strings.Split(to, "/"), rest...)
		r = found{name: "."}
	}
	if r.info == nil {
		info, local, err := t.lstat(".")
		return found{".", info, local}, err
	}
	return r, nil
}

// joinInside joins a slash-separated relative path to dir; false when the
// result is outside of the root.
func joinInside(dir, p string) (string, bool) {
	if path.IsAbs(p) {
		return "", false
	}
	j := path.Join(dir, p)
	return j, j != ".." && !strings.HasPrefix(j, "../")
}

// file is the content of one regular file.
type file struct {
	name  string // after following links
	data  []byte
	mode  fs.FileMode
	local bool
}

// read returns a regular file of at most limit bytes.
func (t tree) read(name string, limit int64) (file, error) {
	r, err := t.resolve(name)
	if err != nil {
		return file{}, err
	}
	if r.info.IsDir() {
		return file{}, &fileError{text: name + " is a directory"}
	}
	if !r.info.Mode().IsRegular() {
		return file{}, &fileError{text: name + " is not a regular file"}
	}
	return t.readResolved(r, limit)
}

func (t tree) readResolved(r found, limit int64) (file, error) {
	if r.info.Size() > limit {
		return file{}, tooLarge(r.name, limit)
	}
	fsys, at := t.repo, r.name
	if r.local {
		fsys, at = t.local, t.rel(r.name)
	}
	f, err := fsys.Open(at)
	if err != nil {
		return file{}, fmt.Errorf("read %s: %w", r.name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return file{}, fmt.Errorf("read %s: %w", r.name, err)
	}
	if int64(len(data)) > limit {
		return file{}, tooLarge(r.name, limit)
	}
	if isLFSPointer(data) {
		return file{}, &fileError{
			text: r.name + " is a Git LFS pointer, not the file itself",
			hint: "commit the file without LFS, or put it into the host's local directory",
		}
	}
	return file{r.name, data, fileMode(r), r.local}, nil
}

func tooLarge(name string, limit int64) error {
	return &fileError{
		text: fmt.Sprintf("%s is larger than %s", name, size(limit)),
		hint: "keep large data in a volume or in the image",
	}
}

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// fileMode is what git keeps of a mode; the host's own files keep theirs.
func fileMode(r found) fs.FileMode {
	perm := r.info.Mode().Perm()
	switch {
	case r.local:
		return perm
	case perm&0o111 != 0:
		return 0o755
	default:
		return 0o644
	}
}

// isLFSPointer recognises what Git LFS leaves in the place of a file
// (git-lfs specification, "The Pointer").
func isLFSPointer(data []byte) bool {
	return len(data) < 1024 && bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/"))
}

// names lists a directory: what the repository has, and what the host adds.
func (t tree) names(dir string) ([]string, error) {
	set := map[string]bool{}
	entries, err := fs.ReadDir(t.repo, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		set[e.Name()] = true
	}
	if rel, ok := under(t.dir, dir); ok && t.local != nil {
		more, err := fs.ReadDir(t.local, rel)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list the host's own files at %s: %w", dir, err)
		}
		for _, e := range more {
			set[e.Name()] = true
		}
	}
	names := make([]string, 0, len(set))
	for n := range set {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}
