package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const maxWalk = 1_000_000 // entries that are looked at for one glob

// local is a directory of the host. os.Root refuses whatever leaves it.
type local struct {
	dir   string
	allow func(dir string) error
}

func (l *local) root() (*os.Root, error) {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, rest.Permanent(connectors.WithHint(fmt.Errorf("open dir: %w", err), "See that files.dir is there on this host, and that the daemon may read it"))
	}
	if err := l.permitted(root); err != nil {
		_ = root.Close() // the first error counts
		return nil, rest.Permanent(fmt.Errorf("open dir: %w", err))
	}
	return root, nil
}

// permitted asks the host about the directory that was really opened: whoever
// may write below a permitted one can put a link where dir is.
func (l *local) permitted(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
	if err != nil || real == l.dir {
		return err
	}
	return l.allow(real)
}

func (l *local) list(ctx context.Context, p place, each func(object) error) error {
	root, err := l.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if !p.glob() {
		o, err := l.look(root, p, p.pattern)
		if errors.Is(err, fs.ErrNotExist) {
			err = errMissing
		}
		if err != nil {
			return err
		}
		return each(o)
	}
	top, looked := path.Dir(prefix(p.pattern)+"x"), 0
	err = fs.WalkDir(root.FS(), top, func(name string, d fs.DirEntry, err error) error {
		if looked++; looked > maxWalk {
			return fmt.Errorf("list %s: more than %d entries below %s", p.shown, maxWalk, top)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("list %s: %w", p.shown, err)
		case d.IsDir() && name != top && hidden(path.Base(name)) && !strings.Contains(p.pattern, "/.") && !hidden(p.pattern):
			return fs.SkipDir
		case d.IsDir() || !match(p.pattern, name):
			return nil
		}
		o, err := l.look(root, p, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		return each(o)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no such directory: the glob matches nothing
	}
	return err
}

// look follows links as long as they stay in the directory.
func (l *local) look(root *os.Root, p place, name string) (object, error) {
	info, err := root.Stat(name)
	if err != nil {
		return object{}, fmt.Errorf("look at %s: %w", name, leaves(err))
	}
	return regular(object{place: p, name: name, shown: name}, info)
}

// leaves says what os.Root refuses in words.
func leaves(err error) error {
	if strings.Contains(err.Error(), "escapes") { // os has no error value for it
		return connectors.WithHint(fmt.Errorf("it is a link that leaves dir: %w", err), "Put the file itself into the directory")
	}
	return err
}

func regular(o object, info fs.FileInfo) (object, error) {
	if !info.Mode().IsRegular() {
		return o, fmt.Errorf("%s is no file (%s)", o.shown, info.Mode().Type())
	}
	o.size, o.modified = info.Size(), info.ModTime()
	o.tag = fmt.Sprintf("%d-%d", info.Size(), info.ModTime().UnixNano())
	return o, nil
}

// open does not wait for the other end of a pipe that a name stands for meanwhile.
func (l *local) open(_ context.Context, o *object, offset int64) (io.ReadCloser, error) {
	root, err := l.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.OpenFile(o.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, rest.Permanent(fmt.Errorf("open: %w", leaves(err)))
	}
	info, err := file.Stat()
	if err == nil {
		var now object
		if now, err = regular(*o, info); err == nil && now.tag != o.tag {
			err = errChanged
		}
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // the first error counts
		return nil, err
	}
	return &watchedFile{file, o.tag}, nil
}

// watchedFile says at its end when the file became another meanwhile.
type watchedFile struct {
	*os.File
	tag string
}

func (w *watchedFile) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	info, stat := w.Stat()
	if stat != nil {
		return n, stat
	}
	if now, wrong := regular(object{}, info); wrong != nil || now.tag != w.tag {
		return n, errChanged
	}
	return n, err
}
