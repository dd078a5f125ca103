package dbfile

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// FuzzScan: a scan of whatever bytes ends, and neither panics nor reads more
// often than there are pages.
func FuzzScan(f *testing.F) {
	whole := small(f.Fatalf, options(f.TempDir()))
	f.Add(whole, uint32(0), byte(0))
	f.Add(whole, uint32(4096*3+headerSize), byte(0xff))
	f.Add(whole[:len(whole)/2], uint32(4096*2+8), byte(1))
	f.Add(whole[:4096*2], uint32(0), byte(0))
	f.Add([]byte{}, uint32(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint32, flip byte) {
		if len(b) > 1<<20 {
			return
		}
		b = bytes.Clone(b)
		if int(at) < len(b) {
			b[at] ^= flip
		}
		counted := &countingReader{Reader: bytes.NewReader(b)}
		p, err := openPager(counted, int64(len(b)))
		if err != nil {
			return
		}
		all := content{}
		s := newScan(p, judge, all)
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		if most := 8*len(b)/1024 + 1000; counted.n > most {
			t.Errorf("%d reads of a file of %d bytes", counted.n, len(b))
		}
	})
}

// small is a database with a tree, a bucket within another and one within its
// value, in as few pages as that takes.
func small(f fail, o Options) []byte {
	db, _ := mustOpen(f, o)
	f.on(db.Update(func(tx *bolt.Tx) error {
		for i := range 40 {
			if err := putIn(tx, []string{"people", "users"}, fmt.Appendf(nil, "user-%02d", i), 100); err != nil {
				return err
			}
		}
		return putIn(tx, []string{"people", "room-0"}, []byte("key"), 3)
	}))
	f.on(db.Update(func(tx *bolt.Tx) error { return putIn(tx, []string{"people", "users"}, []byte("user-99"), 9) }))
	f.on(db.Close())
	whole, err := os.ReadFile(o.Path)
	f.on(err)
	p, err := openPager(bytes.NewReader(whole), int64(len(whole)))
	f.on(err)
	return whole[:int64(p.pages)*p.pageSize]
}

type countingReader struct {
	*bytes.Reader
	n int
}

func (c *countingReader) ReadAt(b []byte, at int64) (int, error) {
	c.n++
	return c.Reader.ReadAt(b, at)
}

// BenchmarkExamine looks at a database of a daemon that is years old.
func BenchmarkExamine(b *testing.B) {
	o := large(b.Fatalf, b.TempDir())
	info, err := os.Stat(o.Path)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		found, err := examine(o.Path, judge)
		if err != nil || len(found.places) > 0 {
			b.Fatalf("%+v, %v", found.places, err)
		}
	}
}
