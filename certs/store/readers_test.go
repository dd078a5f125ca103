package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

// While pairs are published and delivered, a reader always finds a whole one.
func TestReadersNeverSeeHalfAPair(t *testing.T) {
	dir, to := newDir(t), target(newDir(t))
	to.Formats = []store.Format{store.Combined}
	s, _ := open(t, dir)
	pairs := []pair.Pair{realPair(t, newKey(t)), realPair(t, newKey(t))}
	publish(t, s, pairs[0])
	deliver(t, pairs[0], to)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	read := func(look func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := look(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read(func() error { return combinedIsWhole(filepath.Join(to.Dir, "combined.pem")) })
	read(func() error { return currentIsWhole(dir) })
	for i := range 60 {
		publish(t, s, pairs[(i+1)%2])
		deliver(t, pairs[(i+1)%2], to)
	}
	stop()
	wg.Wait()
}

func combinedIsWhole(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	i := bytes.Index(data, []byte("-----BEGIN PRIVATE KEY"))
	_, err = pair.Load(data[:max(i, 0)], data[max(i, 0):])
	return err
}

// currentIsWhole opens the directory that current leads to, and then reads.
func currentIsWhole(dir string) error {
	root, err := os.OpenRoot(filepath.Join(dir, "current"))
	if err != nil {
		return err
	}
	defer root.Close()
	chain, err := root.ReadFile("fullchain.pem")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // so slow that the generation is gone meanwhile
	}
	if err != nil {
		return err
	}
	key, err := root.ReadFile("privkey.pem")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = pair.Load(chain, key)
	return err
}

// Whatever is published, spoiled, restored and started again, in any order: a
// pair that was live once is live, a real one is never followed by a stand-in,
// and no number is used twice.
func TestStoreKeepsItsPromises(t *testing.T) {
	key := newKey(t)
	pairs := []pair.Pair{standIn(t, key), realPair(t, key), realPair(t, newKey(t)), standIn(t, key)}
	rapid.Check(t, func(r *rapid.T) {
		dir := filepath.Join(t.TempDir(), "data")
		s, _ := open(t, dir)
		defer func() { _ = s.Close() }()
		highest, real := 0, false
		for _, op := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 8).Draw(r, "ops") {
			switch op {
			case 0, 1, 2, 3:
				g, err := s.Publish(pairs[op], store.Origin{})
				if live, ok := s.Current(); err == nil && (!ok || live.Number != g.Number) || err != nil && (!real || !pairs[op].SelfSigned()) {
					r.Fatalf("publish: %v", err)
				}
			case 4, 5:
				spoilCurrent(r, dir)
				if _, err := s.Restore(); err != nil {
					r.Fatal(err)
				}
			case 6, 7:
				must(t, s.Close())
				if s, _, _ = store.Open(dir, store.Options{Now: clock}); s == nil {
					r.Fatal("it does not open")
				}
			case 8:
				if list := s.Generations(); len(list) > 1 && !(real && list[0].Pair.SelfSigned()) {
					if _, err := s.Rollback(list[0].Number); err != nil {
						r.Fatal(err)
					}
				}
			case 9:
				_ = os.Symlink("nowhere", filepath.Join(dir, ".tmp-current")) // as a crash leaves it
			}
			g, ok := s.Current()
			if g.Number < highest || real && g.Pair.SelfSigned() {
				r.Fatalf("live is %v after %d, real %t", g, highest, real)
			}
			highest, real = g.Number, real || ok && !g.Pair.SelfSigned()
			if drift, err := s.Verify(); err != nil || len(drift) > 0 {
				r.Fatalf("drift %v, %v", drift, err)
			}
			if ok && currentIsWhole(dir) != nil {
				r.Fatal("what is on disk is no pair")
			}
		}
	})
}

func spoilCurrent(r *rapid.T, dir string) {
	name := filepath.Join(dir, rapid.SampledFrom([]string{"current", "current/privkey.pem", "current/fullchain.pem", "current/meta.json"}).Draw(r, "file"))
	if rapid.Bool().Draw(r, "delete") {
		_ = os.Remove(name) // there may be nothing yet
		return
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		_ = os.WriteFile(name, []byte("oops"), 0o600)
	}
}
