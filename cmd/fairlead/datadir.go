package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/dbfile"
)

// dataDir is an open data directory.
type dataDir struct {
	path    string
	lock    *os.File // nil: only read
	db      *bolt.DB
	key     []byte
	damage  *dbfile.Report // what was found of the database at this start; nil: all was well
	scratch string         // a directory that goes when it is closed
}

// openTimeout bounds the wait for another process that reads the database.
const openTimeout = 5 * time.Second

// errHeld says that another process owns the data directory (law 15).
var errHeld = errors.New("it is in use")

// openData makes the data directory if need be, and takes it for this process.
func openData(path string) (*dataDir, error) {
	for _, dir := range []string{path, filepath.Join(path, "state"), filepath.Join(path, "journal"), filepath.Join(path, "instances")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	d := &dataDir{path: path}
	var err error
	if d.lock, err = takeLock(filepath.Join(path, "lock")); err != nil {
		return nil, fmt.Errorf("take data directory %s: %w", path, err)
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *dataDir) open() error {
	if err := os.Chmod(d.path, 0o700); err != nil {
		return fmt.Errorf("protect data directory: %w", err)
	}
	var err error
	if d.key, err = storeKey(filepath.Join(d.path, "state", "store.key"), d.database(), d.copies()); err != nil {
		return err
	}
	o, err := d.databaseOptions()
	if err != nil {
		return err
	}
	d.db, d.damage, err = dbfile.Open(o)
	return err
}

// Close gives the data directory back.
func (d *dataDir) Close() error {
	var errs []error
	if d.db != nil {
		errs = append(errs, d.db.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close()) // which ends the lock
	}
	if d.scratch != "" {
		errs = append(errs, os.RemoveAll(d.scratch))
	}
	return errors.Join(errs...)
}

// takeLock locks a file for as long as the process lives, and writes its pid
// into it for whoever finds it held.
func takeLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(heldBy(name), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f, nil
}

// heldBy names the process that holds a lock.
func heldBy(name string) error {
	b, err := readBounded(name, 32)
	pid := strings.TrimSpace(string(b))
	if _, aerr := strconv.Atoi(pid); err != nil || aerr != nil {
		return fmt.Errorf("%w by another process", errHeld)
	}
	return fmt.Errorf("%w by process %s", errHeld, pid)
}

// lockHeld says who holds the lock of a data directory; nil when nobody does.
func lockHeld(path string) error {
	name := filepath.Join(path, "lock")
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return heldBy(name)
	}
	return nil
}

// storeKey reads the key of the store, or makes it at the first start. Without
// the key a database, or its copies, cannot be read, and a new one would only hide
// that.
func storeKey(name, database, copies string) ([]byte, error) {
	key, err := readBounded(name, 64)
	if errors.Is(err, fs.ErrNotExist) {
		for _, written := range []string{database, copies} {
			if _, err := os.Stat(written); err == nil {
				return nil, withHint(fmt.Errorf("read store key: %s is gone, and %s was written with it", name, written),
					"put it back from the backup, or move database and copies away too: history and generations are lost then, what runs is recognised")
			}
		}
		key = reconciler.NewKey()
		return key, writeFile(name, key, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("read store key: %w", err)
	}
	return key, nil
}

// writeFile writes a file so that it is there whole or not at all.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // when it was not renamed
	_, err = f.Write(content)
	for _, step := range []func() error{
		func() error { return f.Chmod(mode) },
		f.Sync, f.Close,
		func() error { return os.Rename(f.Name(), name) },
		func() error { return syncDir(dir) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), ignoreClosed(f.Close()))
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// peekData opens what there is of a data directory for reading only, without a
// lock. What is missing is made in a scratch directory.
func peekData(path string) (*dataDir, error) {
	scratch, err := os.MkdirTemp("", "fairlead-")
	if err != nil {
		return nil, fmt.Errorf("make scratch directory: %w", err)
	}
	d := &dataDir{path: path, scratch: scratch}
	if err := d.peek(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *dataDir) peek() error {
	_, err := os.Stat(d.database())
	if errors.Is(err, fs.ErrNotExist) {
		name := filepath.Join(d.scratch, "empty.db")
		d.key = reconciler.NewKey()
		if d.db, err = bolt.Open(name, 0o600, &bolt.Options{Timeout: openTimeout}); err != nil {
			return fmt.Errorf("open %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	if d.key, err = readBounded(filepath.Join(d.path, "state", "store.key"), 64); err != nil {
		return fmt.Errorf("read store key: %w", err)
	}
	o, err := d.databaseOptions()
	if err != nil {
		return err
	}
	d.db, err = dbfile.OpenToRead(o)
	return hintOfDamage(err)
}
