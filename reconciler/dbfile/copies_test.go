package dbfile

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestWhenCopiesAreMade: soon after what must not be forgotten, later after the
// rest, at the latest after a day; many reasons at once make one copy.
func TestWhenCopiesAreMade(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		fresh bool // there is a copy already
		do    func(k *Keeper)
		after time.Duration
	}{
		"at the first start": {false, func(*Keeper) {}, copySoon},
		"after a day":        {true, func(*Keeper) {}, copyEvery},
		"soon":               {true, func(k *Keeper) { k.Soon(); k.Soon() }, copySoon},
		"later":              {true, func(k *Keeper) { k.Later(); k.Later() }, copyLater},
		"the sooner of two":  {true, func(k *Keeper) { k.Later(); synctest.Wait(); k.Soon(); synctest.Wait(); k.Later() }, copySoon},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				k := NewKeeper(nil, dir, judge)
				if c.fresh {
					name := copyNames(dir)[0]
					now := time.Now()
					if err := errors.Join(os.WriteFile(name, []byte("x"), 0o600), os.Chtimes(name, now, now)); err != nil {
						t.Fatal(err)
					}
				}
				began, due := time.Now(), make(chan time.Duration, 1)
				go func() {
					if k.wait(t.Context(), k.firstWait()) {
						due <- time.Since(began)
					}
				}()
				c.do(k)
				if got := <-due; got != c.after {
					t.Errorf("a copy is made after %s, not %s", got, c.after)
				}
			})
		})
	}
}

// TestFailingCopiesAreToldOnce: what goes wrong is complained of when it begins,
// known as long as it lasts, and tried again.
func TestFailingCopiesAreToldOnce(t *testing.T) {
	t.Parallel()
	f, dir := fatal(t), t.TempDir()
	o := made(f, dir, 12, false)
	f.on(os.WriteFile(o.Copies, nil, 0o600)) // a file where the directory should be
	db, _ := mustOpen(f, o)
	defer func() { f.on(db.Close()) }()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k, told, done := NewKeeper(db, o.Copies, judge), 0, make(chan struct{})
		go func() { defer close(done); k.Run(ctx, func(error) { told++ }) }()
		time.Sleep(copySoon + 3*copyLater) // in the time of the bubble
		synctest.Wait()
		if told != 1 || k.Err() == nil {
			t.Errorf("told %d times; %v", told, k.Err())
		}
		f.on(os.Remove(o.Copies))
		time.Sleep(copyLater)
		synctest.Wait()
		if k.Err() != nil || !exists(filepath.Join(o.Copies, "fairlead.db")) {
			t.Errorf("afterwards: %v", k.Err())
		}
		select {
		case <-k.Made():
		default:
			t.Error("nobody is told that it looked at a whole database")
		}
		cancel()
		<-done
	})
}

// large is a database with a full audit log.
func large(f fail, dir string) Options {
	o := options(dir)
	db, _ := mustOpen(f, o)
	db.NoSync = true
	for from := range uint64(100) {
		f.on(db.Update(func(tx *bolt.Tx) error {
			for i := range uint64(1000) {
				if err := putIn(tx, []string{"people", "audit"}, binary.BigEndian.AppendUint64(nil, from*1000+i), 300); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	f.on(db.Close())
	return o
}
