package dbfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// When a copy is made: that soon after something that must not be forgotten,
// that soon after anything else that is worth it, and otherwise that often.
const (
	copySoon  = time.Minute
	copyLater = 15 * time.Minute
	copyEvery = 24 * time.Hour
)

// copyNames are the names of copies, the newest first.
func copyNames(dir string) []string {
	return []string{filepath.Join(dir, "fairlead.db"), filepath.Join(dir, "fairlead.db.before")}
}

// Keeper makes copies of an open database: the newest, and the one before. Each
// is checked before it counts, so that it also finds out when the file that is
// open is damaged.
type Keeper struct {
	db    *bolt.DB
	dir   string
	judge Judge

	soon, later, made chan struct{}

	mu     sync.Mutex // one copy at a time; guards what follows
	copied int        // the transaction that was copied last
	err    error
}

// NewKeeper does no I/O.
func NewKeeper(db *bolt.DB, dir string, judge Judge) *Keeper {
	return &Keeper{db: db, dir: dir, judge: judge, soon: make(chan struct{}, 1), later: make(chan struct{}, 1), made: make(chan struct{}, 1), copied: -1}
}

// Err is why the last copy was not made; nil when it was. *DamagedError says that
// the file that is open is damaged.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Soon has a copy made within a minute: what changed must not be forgotten.
func (k *Keeper) Soon() { nudge(k.soon) }

// Later has a copy made within a quarter of an hour.
func (k *Keeper) Later() { nudge(k.later) }

// Made is sent to after a copy was tried: looking at all of it takes memory.
func (k *Keeper) Made() <-chan struct{} { return k.made }

func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // one is enough
	}
}

// Run makes copies until ctx ends. complain hears of what goes wrong, once each
// time it begins to.
func (k *Keeper) Run(ctx context.Context, complain func(error)) {
	wait, failing := k.firstWait(), false
	for {
		if !k.wait(ctx, wait) {
			return
		}
		err := k.Save()
		nudge(k.made)
		if wait = copyEvery; err != nil {
			wait = copyLater
		}
		if err != nil && !failing {
			complain(err)
		}
		failing = err != nil
	}
}

// firstWait is short when there is no copy of the last day.
func (k *Keeper) firstWait() time.Duration {
	newest, err := os.Stat(copyNames(k.dir)[0])
	if err != nil || time.Since(newest.ModTime()) > copyEvery {
		return copySoon
	}
	return copyEvery
}

// wait returns when a copy is due, at the latest after d; false: ctx has ended.
func (k *Keeper) wait(ctx context.Context, d time.Duration) bool {
	due := time.Now().Add(d)
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		sooner := copyEvery
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-k.soon:
			sooner = copySoon
		case <-k.later:
			sooner = copyLater
		}
		if at := time.Now().Add(sooner); at.Before(due) {
			due = at
			timer.Reset(sooner)
		}
	}
}

// Save makes a copy now, unless nothing was written since the last one.
func (k *Keeper) Save() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = k.save()
	return k.err
}

func (k *Keeper) save() error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	f, err := os.CreateTemp(k.dir, unfinished+"*") // with mode 0600
	if err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	defer os.Remove(f.Name()) // when it was not renamed
	number, fresh := 0, false
	err = k.db.View(func(tx *bolt.Tx) (err error) {
		if number, fresh = tx.ID(), tx.ID() != k.copied; fresh {
			_, err = tx.WriteTo(f)
		}
		return err
	})
	if err == nil && fresh {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	if !fresh {
		return nil
	}
	if err := k.take(f.Name()); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	k.copied = number
	return nil
}

// take makes a file the newest copy, if it is whole.
func (k *Keeper) take(name string) error {
	found, err := examine(name, k.judge)
	if err != nil {
		return err
	}
	if len(found.places) > 0 {
		return &DamagedError{found.places[0].what}
	}
	names := copyNames(k.dir)
	if err := os.Rename(names[0], names[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(os.Rename(name, names[0]), syncDir(k.dir))
}
