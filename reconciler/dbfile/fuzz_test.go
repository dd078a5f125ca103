package dbfile

import (
	"bytes"
	"os"
	"testing"
)

// FuzzScan: a scan of whatever bytes ends, and neither panics nor reads more
// often than there are pages.
func FuzzScan(f *testing.F) {
	o := made(f.Fatalf, f.TempDir(), 11, false)
	whole, err := os.ReadFile(o.Path)
	if err != nil {
		f.Fatal(err)
	}
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
