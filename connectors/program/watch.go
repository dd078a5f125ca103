package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors"
)

// What a program may leave: more would only keep others busy.
const (
	maxEntries   = 20_000 // files and directories
	maxDepth     = 8
	maxInstalled = 200_000 // of packages, whose directories are deeper, too
	// minFree is what must stay free on the disk that a program writes to.
	minFree  = 256 << 20 // bytes
	watchGap = time.Second
)

// used is what is in a directory.
type used struct {
	bytes   int64
	entries int
	tables  map[string]int64 // bytes by the first part of the path
}

// bounds are what a directory may come to.
type bounds struct {
	bytes   int64
	entries int
	depth   int
}

// watch measures what a program writes while it runs, tells how far it is, and
// stops it when it writes too much. The function that it returns ends that.
func (a *attempt) watch(ctx context.Context, dir string, limit int64, stop context.CancelCauseFunc) func() {
	return observe(ctx, func() error {
		u, err := measure(dir, bounds{limit, maxEntries, maxDepth})
		if err == nil && a.run.Job.Progress != nil {
			for table, n := range u.tables {
				a.run.Job.Progress(table, n, 0)
			}
		}
		return err
	}, dir, stop)
}

// watchTree is the watch over an installation.
func (a *attempt) watchTree(ctx context.Context, dir string, limit int64, entries int, stop context.CancelCauseFunc) func() {
	return observe(ctx, func() error {
		_, err := measure(dir, bounds{limit, entries, 64})
		return err
	}, dir, stop)
}

func observe(ctx context.Context, look func() error, dir string, stop context.CancelCauseFunc) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(watchGap)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := errors.Join(look(), roomLeft(dir)); err != nil {
				stop(err)
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// roomLeft sees to it that one program does not fill the disk for all others.
func roomLeft(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the disk: %w", err)
	}
	if int64(st.Bavail)*st.Bsize < minFree {
		return connectors.WithHint(fmt.Errorf("it was stopped: less than %s are left on the disk", bytesText(minFree)),
			"free some space where the data directory is")
	}
	return nil
}

// measure adds up a directory that somebody may be writing to. Nothing in it is
// followed, and what is beyond the bounds is an error.
func measure(dir string, most bounds) (used, error) {
	u := used{tables: map[string]int64{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return u, fmt.Errorf("look at what was written: %w", err)
	}
	defer root.Close()
	return u, walk(root, ".", 1, most.depth, func(name string, info fs.FileInfo) error {
		if u.entries++; u.entries > most.entries {
			return connectors.WithHint(fmt.Errorf("it left more than %d files and directories", most.entries), "write fewer and larger files")
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		size := sizeOf(info)
		u.bytes += size
		first, _, _ := strings.Cut(name, "/")
		if table := tableOf(first, false); table != "" {
			u.tables[table] += size
		}
		if u.bytes > most.bytes {
			return connectors.WithHint(fmt.Errorf("it wrote more than %s", bytesText(most.bytes)), "let it write less, or raise disk")
		}
		return nil
	})
}

// sizeOf is what a file takes or pretends to take: who reads a sparse file reads
// all of it.
func sizeOf(info fs.FileInfo) int64 {
	size := info.Size()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		size = max(size, st.Blocks*512)
	}
	return size
}

var errTooDeep = errors.New("it left directories in directories, too deep")

// walk visits what is below a directory, each entry before what is in it. It
// goes by pieces, since a directory may hold more names than memory does.
func walk(root *os.Root, dir string, depth, most int, visit func(name string, info fs.FileInfo) error) error {
	if depth > most {
		return fmt.Errorf("%w (more than %d)", errTooDeep, most)
	}
	d, err := root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if gone(err) && depth > 1 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at what was written: %w", err)
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			info, err := root.Lstat(name)
			if gone(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("look at what was written: %w", err)
			}
			if err := visit(name, info); err != nil {
				return err
			}
			if info.IsDir() {
				if err := walk(root, name, depth+1, most, visit); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at what was written: %w", err)
		}
	}
}

// gone says that an entry was removed, or became something else, while we
// looked.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
