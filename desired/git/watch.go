package git

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

const (
	// quiet is how long nothing may happen before a hint, settle the longest
	// that a hint is held back. A commit is a dozen events in some 6 ms, of
	// which one or two, the renames of refs, are of interest; each rename is
	// atomic, so a hint that comes early finds the old commit or the new one.
	quiet  = 5 * time.Millisecond
	settle = 2 * time.Second
)

// watcher turns changes of a local repository's refs into hints. It watches
// directories: a watch on a file is lost when the file is replaced. It promises
// nothing; polling finds what it misses.
type watcher struct {
	fs   *fsnotify.Watcher
	out  chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex // guards what follows
	roots []string   // watched with everything below
	dirs  []string   // watched alone
}

func newWatcher(log *logrus.Entry) *watcher {
	w := &watcher{out: make(chan struct{}, 1)}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		log.WithError(err).Warn("the repository cannot be watched (fs.inotify.max_user_instances?); it is polled")
		return w
	}
	w.done.Go(func() { w.loop(log) })
	return w
}

func (w *watcher) stop() {
	if w.fs != nil {
		w.fs.Close()
	}
	w.done.Wait()
}

// hints is nil, and blocks for ever, without a watcher.
func (w *watcher) hints() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.out
}

// blind tells that nothing is watched.
func (w *watcher) blind() bool { return w.fs == nil || len(w.fs.WatchList()) == 0 }

// cover watches a repository's refs, and tells whether anything was added.
func (w *watcher) cover(g gitDir) bool {
	if w.fs == nil {
		return false
	}
	w.mu.Lock()
	w.dirs = []string{g.dir, g.common}
	w.roots = []string{filepath.Join(g.common, "refs")}
	w.mu.Unlock()
	return w.rescan()
}

// rescan adds what is not watched yet. Adding a directory again is harmless
// and mends a watch whose directory was replaced.
func (w *watcher) rescan() bool {
	w.mu.Lock()
	dirs, roots := w.dirs, w.roots
	w.mu.Unlock()
	before := len(w.fs.WatchList())
	for _, d := range dirs {
		_ = w.fs.Add(d) // it may be gone: the next poll says so
	}
	for _, root := range roots {
		w.addBelow(root)
	}
	return len(w.fs.WatchList()) > before
}

func (w *watcher) addBelow(root string) {
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = w.fs.Add(path)
		}
		return nil
	})
}

// loop collects events until the watcher is closed.
func (w *watcher) loop(log *logrus.Entry) {
	var first time.Time
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case ev, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if !w.relevant(ev) {
				continue
			}
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				log.WithError(err).Debug("watch repository")
			}
			w.rescan()
		case <-timer.C:
			first = time.Time{}
			hint(w.out)
			continue
		}
		if first.IsZero() {
			first = time.Now()
		}
		timer.Reset(min(quiet, max(0, settle-time.Since(first))))
	}
}

// relevant tells whether an event may mean that a ref moved: HEAD, packed-refs
// and everything below refs, but not git's locks, nor the index, which even
// `git status` writes.
func (w *watcher) relevant(ev fsnotify.Event) bool {
	name := filepath.Base(ev.Name)
	if ev.Op == fsnotify.Chmod || strings.HasSuffix(name, ".lock") {
		return false
	}
	if name == "HEAD" || name == "packed-refs" {
		return true
	}
	w.mu.Lock()
	roots := w.roots
	w.mu.Unlock()
	for _, root := range roots {
		if ev.Name != root && !strings.HasPrefix(ev.Name, root+string(filepath.Separator)) {
			continue
		}
		if info, err := os.Lstat(ev.Name); err == nil && info.IsDir() {
			w.addBelow(ev.Name) // what was made in it before the watch is found by the look that follows
		}
		return true
	}
	return false
}
