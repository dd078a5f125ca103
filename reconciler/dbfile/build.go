package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A transaction of a database that is built takes so much at most.
const (
	maxBatch      = 1000
	maxBatchBytes = 4 << 20
)

// builder makes a new database of what scans visit. What the new one does not
// take is lost, and remembered; an error says that it cannot be written.
type builder struct {
	db     *bolt.DB
	tx     *bolt.Tx
	n      int
	bytes  int
	entry  map[string]bool // buckets that were entered
	counts map[string]int  // values by bucket
	lost   []place
}

func newBuilder(name string) (*builder, error) {
	// Nobody sees it before it is synced as a whole.
	db, err := bolt.Open(name, 0o600, &bolt.Options{NoSync: true, Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("build database: %w", err)
	}
	return &builder{db: db, entry: map[string]bool{}, counts: map[string]int{}}, nil
}

func pathKey(path []string) string { return strings.Join(path, "\x00") }

// bucket implements visitor.
func (b *builder) bucket(path []string, sequence uint64) error {
	b.entry[pathKey(path)] = true
	return b.write(len(path), func() error {
		at, err := b.open(path)
		if err == nil && at.Sequence() < sequence {
			err = at.SetSequence(sequence)
		}
		return err
	}, place{path: path})
}

// value implements visitor.
func (b *builder) value(path []string, key, value []byte) error {
	return b.write(len(key)+len(value), func() error {
		at, err := b.open(path)
		if err == nil {
			err = at.Put(key, value)
		}
		if err == nil {
			b.counts[pathKey(path)]++
		}
		return err
	}, place{path: path, lo: key, hi: after(key)})
}

// write does one thing within a transaction. That bbolt refuses it concerns only
// what it was about.
func (b *builder) write(size int, do func() error, lost place) error {
	if err := b.begin(); err != nil {
		return err
	}
	if err := do(); err != nil {
		lost.what = fmt.Sprintf("something in %s cannot be taken over: %v", quoted(lost.path), err)
		b.lost = append(b.lost, lost)
		return nil
	}
	b.n, b.bytes = b.n+1, b.bytes+size
	if b.n < maxBatch && b.bytes < maxBatchBytes {
		return nil
	}
	return b.flush()
}

func (b *builder) begin() (err error) {
	if b.tx == nil {
		if b.tx, err = b.db.Begin(true); err != nil {
			return fmt.Errorf("build database: %w", err)
		}
	}
	return nil
}

func (b *builder) flush() error {
	if b.tx == nil {
		return nil
	}
	tx := b.tx
	b.tx, b.n, b.bytes = nil, 0, 0
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("build database: %w", err)
	}
	return nil
}

// open makes a bucket with those that it is in.
func (b *builder) open(path []string) (*bolt.Bucket, error) {
	at, err := b.tx.CreateBucketIfNotExists([]byte(path[0]))
	for _, name := range path[1:] {
		if err != nil {
			return nil, err
		}
		at, err = at.CreateBucketIfNotExists([]byte(name))
	}
	return at, err
}

// has reports whether a key is there already, within a transaction.
func (b *builder) has(path []string, key []byte) bool {
	at := b.tx.Bucket([]byte(path[0]))
	for _, name := range path[1:] {
		if at == nil {
			return false
		}
		at = at.Bucket([]byte(name))
	}
	return at != nil && at.Get(key) != nil
}

// finish syncs and closes the database. No bucket counts on from a number that
// one of its keys has.
func (b *builder) finish() error {
	err := b.flush()
	if err == nil {
		err = b.db.Update(func(tx *bolt.Tx) error {
			return tx.ForEach(func(_ []byte, at *bolt.Bucket) error { return countOn(at) })
		})
	}
	if err == nil {
		err = b.db.Sync()
	}
	if err != nil {
		return fmt.Errorf("build database: %w", errors.Join(err, b.abandon()))
	}
	return b.abandon()
}

// countOn sets the sequence of a bucket whose keys are numbers.
func countOn(b *bolt.Bucket) error {
	if last, _ := b.Cursor().Last(); len(last) == 8 {
		if n := binary.BigEndian.Uint64(last); n > b.Sequence() && n < 1<<48 { // a key that is a text is no number
			if err := b.SetSequence(n); err != nil {
				return err
			}
		}
	}
	return b.ForEachBucket(func(name []byte) error { return countOn(b.Bucket(name)) })
}

// abandon closes the database.
func (b *builder) abandon() error {
	if b.tx != nil {
		_ = b.tx.Rollback() // it is closed all the same
		b.tx = nil
	}
	return b.db.Close()
}

// filler takes from a copy what the damaged file lost, and nothing else: what was
// removed since the copy was made stays removed.
type filler struct {
	*builder
	places map[string][]place // by bucket
	may    func(path []string) bool
	filled map[string]int
}

func newFiller(b *builder, places []place, may func([]string) bool) *filler {
	f := &filler{builder: b, places: map[string][]place{}, may: may, filled: map[string]int{}}
	for _, l := range places {
		f.places[pathKey(l.path)] = append(f.places[pathKey(l.path)], l)
	}
	return f
}

// bucket implements visitor. Buckets come about with their first value; only
// what they count on from is taken over.
func (f *filler) bucket(path []string, sequence uint64) error {
	n := len(path) - 1
	if !f.may(path) || !f.entry[pathKey(path)] && !f.lacks(path[:n], path[n]) {
		return nil
	}
	known := f.entry[pathKey(path)]
	err := f.builder.bucket(path, sequence)
	if !known { // it is not one of the damaged file's
		delete(f.entry, pathKey(path))
	}
	return err
}

// value implements visitor.
func (f *filler) value(path []string, key, value []byte) error {
	depth := len(path)
	for depth > 0 && !f.entry[pathKey(path[:depth])] {
		depth--
	}
	name := string(key)
	if depth < len(path) {
		name = path[depth]
	}
	if !f.may(path) || !f.lacks(path[:depth], name) {
		return nil
	}
	if err := f.begin(); err != nil || f.has(path, key) {
		return err
	}
	f.filled[pathKey(path)]++
	return f.builder.value(path, key, value)
}

// lacks reports whether a name of a bucket may be among what was lost.
func (f *filler) lacks(path []string, name string) bool {
	return slices.ContainsFunc(f.places[pathKey(path)], func(l place) bool { return l.holds([]byte(name)) })
}
