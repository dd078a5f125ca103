package dbfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Verdict is what a value is worth to whoever wrote it.
type Verdict int

// The verdicts. Of sealed values that cannot be opened nobody can tell whether
// they are damaged or the key is another one: only when others can be opened are
// they the damaged ones.
const (
	Sound    Verdict = iota // it can be read, or nobody knows
	Opened                  // it is sealed, and can be opened
	Unsealed                // it is sealed, and cannot be opened
	Spoilt                  // it cannot be read
)

// Judge tells of a value of a bucket what it is worth. Path are the names of the
// buckets, the outermost first. It must keep neither of them.
type Judge func(path []string, key, value []byte) Verdict

// place is a part of a bucket that could not be read: all keys from lo on that
// are less than hi. A nil bound is none.
type place struct {
	path   []string
	lo, hi []byte
	what   string
	// idle says that no key is missing: pages that belong to nobody.
	idle bool
}

func (l place) holds(key []byte) bool {
	return !l.idle && bytes.Compare(key, l.lo) >= 0 && (l.hi == nil || bytes.Compare(key, l.hi) < 0)
}

// visitor takes what a scan can read. The bytes are valid during the call.
type visitor interface {
	bucket(path []string, sequence uint64) error
	value(path []string, key, value []byte) error
}

const (
	maxTree    = 32 // pages between root and leaf
	maxBuckets = 16 // in each other
	maxPlaces  = 100_000
)

// scan walks through everything that can be read. It ends on whatever bytes: a
// page is read as often as there are pages in the file, and twice, at most.
type scan struct {
	*pager
	judge   Judge
	visit   visitor
	places  []place
	taken   []uint64 // a bit a page: something points to it
	budget  uint64
	opened  int
	closed  []place // values that could not be opened
	lenient bool    // what cannot be opened is visited all the same
}

func newScan(p *pager, judge Judge, visit visitor) *scan {
	within := min(p.pages, uint64(p.size/p.pageSize)+1)
	return &scan{pager: p, judge: judge, visit: visit, taken: make([]uint64, within/64+1), budget: 2*within + 64}
}

// run visits everything. An error is one of the visitor's.
func (s *scan) run() error {
	if need := int64(s.pages); need > s.size/s.pageSize {
		s.lose(place{idle: true, what: fmt.Sprintf("the file ends after %d of %d pages", s.size/s.pageSize, need)})
	}
	if err := s.tree(nil, s.root, nil, nil, 0); err != nil {
		return err
	}
	if s.opened > 0 {
		s.places = append(s.places, s.closed...)
	}
	s.free()
	return nil
}

// lose remembers that something could not be read.
func (s *scan) lose(l place) {
	if len(s.places) < maxPlaces {
		l.path, l.lo, l.hi = slices.Clone(l.path), bytes.Clone(l.lo), bytes.Clone(l.hi)
		s.places = append(s.places, l)
	}
}

// take marks a page, and reports whether something else pointed to it before.
func (s *scan) take(id uint64) (again bool) {
	if id/64 >= uint64(len(s.taken)) {
		return false
	}
	again = s.taken[id/64]&(1<<(id%64)) != 0
	s.taken[id/64] |= 1 << (id % 64)
	return again
}

// tree visits the keys of a bucket from lo on that are less than hi.
func (s *scan) tree(path []string, id uint64, lo, hi []byte, depth int) error {
	lost := place{path: path, lo: lo, hi: hi}
	if depth > maxTree || s.budget == 0 {
		lost.what = fmt.Sprintf("page %d: the tree never ends", id)
		s.lose(lost)
		return nil
	}
	s.budget--
	p, err := s.read(id)
	if err == nil && p.flags != branchPage && p.flags != leafPage {
		err = fmt.Errorf("page %d is neither branch nor leaf", id)
	}
	if err != nil {
		lost.what = err.Error()
		s.lose(lost)
		return nil
	}
	list, whole := p.elements()
	again := false
	for i := range p.span {
		again = s.take(id+i) || again
	}
	if again {
		s.lose(place{path: path, lo: lo, hi: hi, what: fmt.Sprintf("page %d belongs to two", id)})
	}
	empty := p.count == 0 && (depth > 0 || p.flags == branchPage)
	if sound := whole && !empty && s.fits(p, list); !sound && allOK(list) {
		s.lose(place{path: path, lo: lo, hi: hi, idle: whole && !empty, what: fmt.Sprintf("page %d has a header that is not its own", id)})
	}
	return s.entries(path, fmt.Sprintf("page %d", id), p.flags == branchPage, list, lo, hi, depth)
}

func allOK(list []element) bool {
	return !slices.ContainsFunc(list, func(e element) bool { return !e.ok })
}

// fits reports whether a page takes as many pages as its entries need. Older
// versions of bbolt took one more when they filled the last one.
func (s *scan) fits(p page, list []element) bool {
	bytes := uint64(headerSize + len(list)*elementSize)
	for _, e := range list {
		bytes += uint64(len(e.key) + len(e.value))
	}
	size := uint64(s.pageSize)
	return p.span == (bytes+size-1)/size || p.span == bytes/size+1
}

// entries visits those of a page that are where they should be, and in order.
func (s *scan) entries(path []string, where string, branch bool, list []element, lo, hi []byte, depth int) error {
	inOrder(list, lo, hi)
	from := lo // no key that may be missing is less
	for i, e := range list {
		next := nextKey(list[i+1:], hi)
		if !e.ok {
			s.lose(place{path: path, lo: from, hi: next, what: fmt.Sprintf("%s, entry %d cannot be read", where, i+1)})
			continue
		}
		var err error
		switch {
		case branch:
			err = s.tree(path, e.child, e.key, next, depth+1)
		case e.bucket:
			err = s.enter(path, e)
		default:
			err = s.one(path, where, e)
		}
		if err != nil {
			return err
		}
		from = after(e.key)
	}
	return nil
}

// inOrder leaves of the entries those ok that are between the bounds and make
// the longest row of keys that grow: one key that is wrong takes no other along.
func inOrder(list []element, lo, hi []byte) {
	before := make([]int, len(list))
	var ends []int // of the best row of each length; before is what comes before each in its row
	for i := range list {
		e := &list[i]
		if e.ok = e.ok && bytes.Compare(e.key, lo) >= 0 && (hi == nil || bytes.Compare(e.key, hi) < 0); !e.ok {
			continue
		}
		at, _ := slices.BinarySearchFunc(ends, e.key, func(j int, key []byte) int { return bytes.Compare(list[j].key, key) })
		if before[i] = -1; at > 0 {
			before[i] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, i)
		}
		ends[at] = i
	}
	kept := make([]bool, len(list))
	if len(ends) > 0 {
		for i := ends[len(ends)-1]; i >= 0; i = before[i] {
			kept[i] = true
		}
	}
	for i := range list {
		list[i].ok = kept[i]
	}
}

// nextKey is the first key that can be read; hi when none can.
func nextKey(list []element, hi []byte) []byte {
	for _, e := range list {
		if e.ok {
			return e.key
		}
	}
	return hi
}

// after is the least key that is greater.
func after(key []byte) []byte { return append(slices.Clip(key), 0) }

// one visits a value.
func (s *scan) one(path []string, where string, e element) error {
	lost := place{path: path, lo: e.key, hi: after(e.key), what: where + ": a value cannot be read"}
	verdict := Spoilt // the outermost bucket holds nothing but buckets
	if len(path) > 0 {
		verdict = s.judge(path, e.key, e.value)
	}
	switch verdict {
	case Spoilt:
		s.lose(lost)
		return nil
	case Unsealed:
		lost.path, lost.lo = slices.Clone(path), bytes.Clone(e.key)
		s.closed = append(s.closed, lost)
		if !s.lenient {
			return nil
		}
	case Opened:
		s.opened++
	}
	return s.visit.value(path, e.key, e.value)
}

// enter visits a bucket that is a value of another one.
func (s *scan) enter(path []string, e element) error {
	inner := append(slices.Clip(path), string(e.key))
	order := binary.NativeEndian
	var root, sequence uint64
	if len(e.value) >= bucketSize {
		root, sequence = order.Uint64(e.value), order.Uint64(e.value[8:])
	}
	if sound := root >= 2 && root < s.pages || root == 0 && len(e.value) >= bucketSize+headerSize; !sound || len(inner) > maxBuckets {
		s.lose(place{path: path, lo: e.key, hi: after(e.key), what: "the bucket " + quoted(inner) + " cannot be read"})
		return nil
	}
	if err := s.visit.bucket(inner, sequence); err != nil {
		return err
	}
	if root != 0 {
		return s.tree(inner, root, nil, nil, 0)
	}
	return s.inline(inner, e.value[bucketSize:])
}

// inline visits a small bucket, which lies in the value itself: b is at least a
// header.
func (s *scan) inline(path []string, b []byte) error {
	where := "the bucket " + quoted(path)
	p := header(b)
	list, whole := p.elements()
	size := headerSize + p.count*elementSize
	for i := range list {
		size += len(list[i].key) + len(list[i].value)
		if list[i].bucket { // bbolt puts none there
			list[i].ok = false
		}
	}
	sound := p.id == 0 && p.flags == leafPage && p.span == 1 && whole && size == len(b)
	if !sound && allOK(list) {
		s.lose(place{path: path, idle: whole && p.flags == leafPage && size == len(b), what: where + " has a header that is not its own"})
	}
	if p.flags != leafPage {
		return nil
	}
	return s.entries(path, where, false, list, nil, nil, 0)
}

func quoted(path []string) string { return fmt.Sprintf("%q", strings.Join(path, "/")) }
