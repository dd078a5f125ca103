package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A value of the tests says of itself where it belongs, so that a judge can tell.
func valueOf(path []string, key []byte, n int) []byte {
	head := fmt.Sprintf("{%s|%x|", strings.Join(path, "/"), key)
	return []byte(head + strings.Repeat("x", n) + "}")
}

// judge knows the values of the tests. Those of sealed/ begin with a sign that
// stands for the key.
func judge(path []string, key, value []byte) Verdict {
	if path[0] == "sealed" {
		switch {
		case strings.HasPrefix(string(value), "open:"):
			return Opened
		}
		return Unsealed
	}
	text := string(value)
	if !strings.HasPrefix(text, fmt.Sprintf("{%s|%x|", strings.Join(path, "/"), key)) || strings.Trim(text[:len(text)-1], "x") != strings.Trim(text[:strings.LastIndex(text, "|")+1], "x") || !strings.HasSuffix(text, "}") {
		return Spoilt
	}
	return Sound
}

// content is what a database has: values by path and key.
type content map[string]string

func (c content) bucket(path []string, _ uint64) error { return nil }
func (c content) value(path []string, key, value []byte) error {
	c[pathKey(path)+"\x00"+string(key)] = string(value)
	return nil
}

// fail ends a test, or the process that stands for one.
type fail func(format string, args ...any)

func (f fail) on(err error) {
	if err != nil {
		f("%v", err)
	}
}

// fillDatabase writes to a database in many transactions, as a daemon would:
// rows by number of which the oldest go, people by name, small buckets.
func fillDatabase(f fail, db *bolt.DB, r *rand.Rand, rounds int) {
	for range rounds {
		f.on(db.Update(func(tx *bolt.Tx) error {
			for range 1 + r.IntN(20) {
				if err := fillOnce(tx, r); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func fillOnce(tx *bolt.Tx, r *rand.Rand) error {
	switch r.IntN(4) {
	case 0:
		return putIn(tx, []string{"people", "users"}, fmt.Appendf(nil, "user-%d", r.IntN(60)), r.IntN(300))
	case 1:
		return putIn(tx, []string{"people", fmt.Sprintf("room-%d", r.IntN(30))}, []byte("key"), r.IntN(30))
	case 2:
		b, err := ensure(tx, []string{"sealed"})
		if err != nil {
			return err
		}
		return b.Put(fmt.Appendf(nil, "%d", r.IntN(9)), []byte("open:"+strings.Repeat("s", r.IntN(9000))))
	}
	path := []string{"rows", fmt.Sprintf("instance-%d", r.IntN(3)), "history"}
	b, err := ensure(tx, path)
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	if n > 40 {
		if err := b.Delete(binary.BigEndian.AppendUint64(nil, n-40)); err != nil {
			return err
		}
	}
	return putIn(tx, path, binary.BigEndian.AppendUint64(nil, n), r.IntN(1000))
}

func ensure(tx *bolt.Tx, path []string) (*bolt.Bucket, error) {
	b := &builder{tx: tx}
	return b.open(path)
}

func putIn(tx *bolt.Tx, path []string, key []byte, n int) error {
	b, err := ensure(tx, path)
	if err != nil {
		return err
	}
	return b.Put(key, valueOf(path, key, n))
}

// options are those of a data directory of the tests.
func options(dir string) Options {
	return Options{Path: filepath.Join(dir, "fairlead.db"), Copies: filepath.Join(dir, "copies"), Damaged: filepath.Join(dir, "damaged"), Judge: judge,
		Fill: func(path []string) bool { return path[len(path)-1] != "room-0" }, Timeout: time.Second, Now: time.Now}
}

// readAll is everything that bbolt finds, which also shows that it can.
func readAll(db *bolt.DB) (content, error) {
	all := content{}
	var walk func(path []string, b *bolt.Bucket) error
	walk = func(path []string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(append(path[:len(path):len(path)], string(k)), b.Bucket(k))
			}
			return all.value(path, k, v)
		})
	}
	return all, db.View(func(tx *bolt.Tx) error {
		if err := errors.Join(func() (list []error) {
			for err := range tx.Check() {
				list = append(list, err)
			}
			return list
		}()...); err != nil {
			return err
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return walk([]string{string(name)}, b) })
	})
}

// scanned is everything that a scan finds of a file, with the pages that lead to
// each value.
func scanned(f fail, name string) content {
	all := content{}
	f.on(carry(name, judge, false, all))
	return all
}

func mustOpen(f fail, o Options) (*bolt.DB, *Report) {
	db, r, err := Open(o)
	f.on(err)
	return db, r
}

// made is a data directory with a database in it, and a copy of an earlier state
// if there is to be one.
func made(f fail, dir string, seed uint64, withCopy bool) Options {
	o, r := options(dir), rand.New(rand.NewPCG(seed, 1))
	db, report := mustOpen(f, o)
	if report != nil {
		f("a new database is damaged: %s", report)
	}
	db.NoSync = true // nobody pulls the plug here
	fillDatabase(f, db, r, 5+r.IntN(20))
	if withCopy {
		f.on(NewKeeper(db, o.Copies, judge).Save())
		fillDatabase(f, db, r, 1+r.IntN(6))
	}
	f.on(db.Close())
	return o
}

// spoil damages a file in one of the ways in which disks do.
func spoil(f fail, name string, r *rand.Rand) (what string) {
	b, err := os.ReadFile(name)
	f.on(err)
	page := func() int { return r.IntN(max(len(b)/4096, 1)) * 4096 }
	switch r.IntN(5) {
	case 0, 1:
		n := 1 + r.IntN(4)
		what = fmt.Sprintf("%d bits", n)
		for range n {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	case 2:
		b, what = b[:r.IntN(len(b))], "cut"
	case 3:
		at := page()
		clear(b[at:min(at+4096, len(b))])
		what = fmt.Sprintf("page %d zeroed", at/4096)
	case 4:
		from, to := page(), page()
		copy(b[to:min(to+4096, len(b))], b[from:])
		what = fmt.Sprintf("page %d over %d", from/4096, to/4096)
	}
	f.on(os.WriteFile(name, b, 0o600))
	return what
}

func fatal(t *testing.T) fail { t.Helper(); return t.Fatalf }
