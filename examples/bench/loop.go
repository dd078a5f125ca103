package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
)

// loop is the daemon's loop put together in this process, as cmd/fairlead does, but with its calls counted and a pass
// made when it is asked for.
type loop struct {
	counter
	db         *bolt.DB
	repo       *git.Repo
	manager    *reconciler.Manager
	changed    chan struct{}
	ownerLabel string
	stop       context.CancelFunc
	done       sync.WaitGroup
	closeGit   func()
}

// ownerLabel is on everything that Fairlead makes; it holds the data directory.
const ownerLabel = "fairlead.owner"

// startLoop starts it and waits until every instance stands.
func startLoop(ctx context.Context, b *bench, id, url string, names []string, closeGit func()) (*loop, error) {
	data := filepath.Join(b.dir, id+"-home")
	l := &loop{changed: make(chan struct{}, 1), ownerLabel: ownerLabel + "=" + data, closeGit: closeGit}
	if err := l.assemble(b.host, data, url); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if err := l.repo.Sync(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	running, stop := context.WithCancel(ctx)
	l.stop = stop
	l.done.Go(func() { _ = l.manager.Run(running) }) // it ends with its context
	err := until(ctx, convergeLimit, func() (bool, error) {
		for _, r := range l.instances() {
			if !idle(r.Status(), time.Time{}) {
				return false, nil
			}
		}
		return len(l.instances()) == len(names), nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("deploy %s: %w", id, err), l.close())
	}
	// What the events of the start still ask for has to be over.
	return l, pause(ctx, 2*time.Second)
}

func (l *loop) assemble(host, data, url string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if l.db, err = bolt.Open(filepath.Join(data, "fairlead.db"), 0o600, &bolt.Options{Timeout: time.Second}); err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	store, err := reconciler.NewStore(l.db, make([]byte, 32))
	if err != nil {
		return err
	}
	silent := logrus.New()
	silent.SetOutput(io.Discard)
	log := logrus.NewEntry(silent)
	engine, err := docker.New(docker.Options{Host: host, Owner: data, Log: log, Memory: store.Memory(), Wrap: l.RoundTripper})
	if err != nil {
		return err
	}
	l.repo = git.Open(git.Options{Repo: url, Mirror: filepath.Join(data, "repo"), Log: log})
	l.manager = reconciler.NewManager(reconciler.ManagerConfig{
		Data: data, Driver: engine, Store: store, Events: reconciler.NewEvents(store), Source: fromRepo{l.repo},
		Changed: l.changed, Discover: discover, Load: load, Hints: engine.Events,
		Interval: time.Hour, DeepEvery: time.Hour, Log: log,
	})
	return nil
}

type fromRepo struct{ *git.Repo }

func (f fromRepo) Status() reconciler.SourceStatus {
	s := f.Repo.Status()
	return reconciler.SourceStatus{Ref: s.Ref, LastSuccess: s.LastSuccess, Err: s.Err}
}

func discover(tree fs.FS) ([]reconciler.Found, error) {
	dirs, err := desired.Discover(tree, nil)
	if err != nil {
		return nil, err
	}
	var found []reconciler.Found
	for _, dir := range dirs {
		name, err := desired.NameOf(tree, dir, "root")
		if err != nil {
			return nil, err
		}
		found = append(found, reconciler.Found{Name: name, Dir: dir})
	}
	return found, nil
}

func load(tree fs.FS, dir string, local fs.FS) (desired.Spec, error) {
	return desired.Load(desired.Input{Tree: tree, Dir: dir, Local: local, RootName: "root", Compose: compose.Load})
}

func (l *loop) instances() []*reconciler.Instance { return l.manager.Instances() }

const look = 200 * time.Microsecond

// pass makes one: the repository is asked, and every instance looks. It ends when the last instance is through.
func (l *loop) pass(ctx context.Context) (took time.Duration, calls int64, err error) {
	before, began := l.n.Load(), time.Now()
	if err := l.repo.Sync(ctx); err != nil {
		return 0, 0, err
	}
	asked := time.Now()
	l.changed <- struct{}{}
	ended := asked
	for _, r := range l.instances() {
		for !idle(r.Status(), asked) {
			if err := ctx.Err(); err != nil {
				return 0, 0, err
			}
			time.Sleep(look) // the end is read from the status: to look late costs nothing
			if time.Since(asked) > time.Minute {
				return 0, 0, fmt.Errorf("%s made no pass within a minute", r.Name())
			}
		}
		if at := r.Status().LastPass; at.After(ended) {
			ended = at
		}
	}
	return ended.Sub(began), l.n.Load() - before, nil
}

func (l *loop) close() error {
	var errs []error
	if l.stop != nil {
		l.stop()
	}
	l.done.Wait()
	if l.repo != nil {
		errs = append(errs, l.repo.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	l.closeGit()
	return errors.Join(errs...)
}
