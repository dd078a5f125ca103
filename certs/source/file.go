package source

import (
	"context"
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

func checkFile(r *Ref) error {
	r.path = "/" + r.path
	if r.place != "" || r.path == "/" || path.Clean(r.path) != r.path {
		return invalid("a file needs an absolute path: file:///etc/ssl/chain.pem")
	}
	return nil
}

func fetchFile(_ context.Context, j *job) (Blob, error) {
	file, err := j.openFile(j.ref.path)
	if err != nil {
		return Blob{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return Blob{}, fail(ErrFailed, "stat: %s", cause(err))
	case !info.Mode().IsRegular():
		return Blob{}, fail(ErrWrongKind, "it is not a regular file")
	case info.Size() > MaxSize:
		return Blob{}, fail(ErrTooLarge, "it has more than %d bytes", MaxSize)
	}
	if j.use.Field == Key {
		if err := keyFile(info); err != nil {
			return Blob{}, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return Blob{}, fail(ErrFailed, "read: %s", cause(err))
	}
	return Blob{Data: data, Version: Version(fmt.Sprintf("%x", info.ModTime().UnixNano()))}, nil
}

// fileRoot is the allowed directory that a file is in, the innermost one.
func (f *Fetcher) fileRoot(name string) (root string, err error) {
	if d := f.opts.DataDir; d != "" && below(filepath.Join(d, "state"), name) {
		return "", fail(ErrRefused, "the state of the daemon is not fetched from")
	}
	for _, r := range f.opts.FileRoots {
		if r = filepath.Clean(r); filepath.IsAbs(r) && below(r, name) && len(r) > len(root) {
			root = r
		}
	}
	if root == "" {
		return "", fail(ErrRefused, "it is in none of the directories that file:// may read on this host; list its directory in fetch.fileRoots of agent.yaml")
	}
	return root, nil
}

// openFile opens a file below one of the allowed directories. Links are
// followed within that directory only, as those of Let's Encrypt's live/ are.
func (f *Fetcher) openFile(name string) (*os.File, error) {
	root, err := f.fileRoot(name)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, fileFailure(err)
	}
	defer func() { _ = dir.Close() }()
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return nil, fail(ErrRefused, "it is not in %s", root)
	}
	file, err := dir.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would block
	if err != nil {
		return nil, fileFailure(err)
	}
	return file, f.outsideState(file)
}

// outsideState refuses a file that a link within the root led to in the state.
func (f *Fetcher) outsideState(file *os.File) error {
	if f.opts.DataDir == "" {
		return nil
	}
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	state, err2 := filepath.EvalSymlinks(filepath.Join(f.opts.DataDir, "state"))
	if err == nil && err2 == nil && below(state, real) {
		_ = file.Close()
		return fail(ErrRefused, "the state of the daemon is not fetched from")
	}
	return nil
}

func below(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

func fileFailure(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(ErrNotFound, "there is no such file on this host")
	case errors.Is(err, fs.ErrPermission):
		return fail(ErrForbidden, "the user of the daemon (uid %d) may not read it", os.Geteuid())
	case errors.Is(err, syscall.ENOTDIR):
		return fail(ErrNotFound, "a part of its path is not a directory")
	case strings.Contains(err.Error(), "escapes"):
		return fail(ErrRefused, "a link leads out of the directory that file:// may read; list the directory it leads to in fetch.fileRoots of agent.yaml, or name the file there")
	}
	return fail(ErrFailed, "open: %s", cause(err))
}

// keyFile refuses a key that others than its owner can read or have put there.
func keyFile(info fs.FileInfo) error {
	if bits := info.Mode().Perm() & 0o077; bits != 0 {
		return fail(ErrRefused, "others than its owner may use the private key (mode %04o); chmod 600 it", info.Mode().Perm())
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fail(ErrRefused, "the private key belongs neither to root nor to the user of the daemon (uid %d)", os.Geteuid())
	}
	return nil
}
