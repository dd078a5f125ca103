package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The format of bbolt's file, version 2: pages of which the first two are meta
// pages, each with a checksum; all other pages have none. Numbers are in the
// byte order of the machine (go.etcd.io/bbolt/internal/common).
const (
	headerSize  = 16
	elementSize = 16
	metaSize    = 64 // with the checksum at 56
	bucketSize  = 16 // root page and sequence

	magic         = 0xED0CDAED
	formatVersion = 2
	noFreelist    = ^uint64(0)

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01

	maxKey = 32768
	// bbolt itself tries these page sizes, from 1 KiB to 16 MiB.
	pageSizeShifts = 14
)

// errNoMeta says that neither meta page can be read: without one nobody knows
// where anything is.
var errNoMeta = errors.New("neither of its two meta pages can be read")

// ErrNewer says that another version of bbolt wrote the file. It is left alone.
var ErrNewer = errors.New("it has a format that this version does not know")

// meta is the root of everything at one transaction.
type meta struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // the high water mark: no page has this number or a higher one
	txid     uint64
}

// pager reads pages. It uses pread, never a memory map: a page that is not there
// is then an error and not a signal.
type pager struct {
	file io.ReaderAt
	size int64
	meta
}

// openPager finds the meta page that bbolt would use: the newer one of those
// whose checksum is right.
func openPager(file io.ReaderAt, size int64) (*pager, error) {
	p := &pager{file: file, size: size}
	first, okFirst := p.metaAt(0)
	second, okSecond := meta{}, false
	if okFirst {
		second, okSecond = p.metaAt(first.pageSize)
	}
	for shift := 0; !okFirst && !okSecond && shift <= pageSizeShifts; shift++ {
		second, okSecond = p.metaAt(1024 << shift)
	}
	switch {
	case okFirst && (!okSecond || first.txid >= second.txid):
		p.meta = first
	case okSecond:
		p.meta = second
	case p.newer():
		return nil, ErrNewer
	default:
		return nil, errNoMeta
	}
	return p, nil
}

// newer reports whether both meta pages say the same other version: chance does
// not.
func (p *pager) newer() bool {
	var versions [2]uint32
	for i, at := range []int64{0, int64(os.Getpagesize())} {
		b := make([]byte, 8)
		if _, err := p.file.ReadAt(b, at+headerSize); err != nil || binary.NativeEndian.Uint32(b) != magic {
			return false
		}
		versions[i] = binary.NativeEndian.Uint32(b[4:])
	}
	return versions[0] == versions[1] && versions[0] > formatVersion
}

func (p *pager) metaAt(offset int64) (m meta, ok bool) {
	b := make([]byte, headerSize+metaSize)
	if _, err := p.file.ReadAt(b, offset); err != nil {
		return m, false
	}
	b = b[headerSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:56])
	order := binary.NativeEndian
	if order.Uint32(b) != magic || order.Uint32(b[4:]) != formatVersion || order.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	m = meta{pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:])}
	return m, m.pageSize >= 1024 && m.pageSize <= 1024<<pageSizeShifts && m.pageSize&(m.pageSize-1) == 0
}

// page is one page with those that it flows over into.
type page struct {
	id    uint64
	flags uint16
	count int
	span  uint64 // pages that it takes
	body  []byte // behind the header
}

// read reads a page and believes nothing of it but its size, which lies within
// the file.
func (p *pager) read(id uint64) (page, error) {
	if id < 2 || id >= p.pages {
		return page{}, fmt.Errorf("page %d is none of its %d pages", id, p.pages)
	}
	head := make([]byte, p.pageSize)
	if err := p.at(head, id); err != nil {
		return page{}, err
	}
	found := header(head)
	if found.id != id {
		return page{}, fmt.Errorf("page %d calls itself %d", id, found.id)
	}
	if found.span > p.pages-id || int64(found.span) > p.size/p.pageSize {
		return page{}, fmt.Errorf("page %d reaches beyond the end", id)
	}
	if found.span > 1 {
		head = make([]byte, int64(found.span)*p.pageSize)
		if err := p.at(head, id); err != nil {
			return page{}, err
		}
	}
	found.body = head[headerSize:]
	return found, nil
}

func (p *pager) at(b []byte, id uint64) error {
	if _, err := p.file.ReadAt(b, int64(id)*p.pageSize); errors.Is(err, io.EOF) {
		return fmt.Errorf("page %d is not there: the file is too short", id)
	} else if err != nil {
		return fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	return nil
}

func header(b []byte) page {
	order := binary.NativeEndian
	return page{id: order.Uint64(b), flags: order.Uint16(b[8:]), count: int(order.Uint16(b[10:])), span: uint64(order.Uint32(b[12:])) + 1, body: b[headerSize:]}
}

// element is an entry of a page: a key with a value or a bucket, or with the
// page that holds the keys from it on.
type element struct {
	key, value []byte
	child      uint64
	bucket     bool
	ok         bool // it lies where an element of that page has to lie
}

// elements reads the entries of a branch or a leaf. whole says that each lies
// right behind the one before, as bbolt writes them; else those that touch a
// neighbour as they should are still ok.
func (p page) elements() (list []element, whole bool) {
	table := p.count * elementSize
	if table > len(p.body) {
		return nil, false
	}
	list, whole = make([]element, p.count), true
	begin, end := make([]int, p.count+1), make([]int, p.count)
	for i := range list {
		list[i], begin[i], end[i] = p.element(i)
	}
	for i := range list {
		e := &list[i]
		before := i == 0 && begin[i] == table || i > 0 && begin[i] == end[i-1]
		after := i+1 < p.count && begin[i+1] == end[i]
		sound := e.ok && begin[i] >= table
		whole = whole && sound && before
		e.ok = sound && (before || after)
	}
	return list, whole
}

// element reads one entry, and says where its key begins and its value ends.
func (p page) element(i int) (e element, begin, end int) {
	order, at := binary.NativeEndian, i*elementSize
	b := p.body[at : at+elementSize]
	var position, key, value uint64
	switch p.flags {
	case branchPage:
		position, key, e.child = uint64(order.Uint32(b)), uint64(order.Uint32(b[4:])), order.Uint64(b[8:])
	default:
		flags := order.Uint32(b)
		position, key, value = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
		e.bucket, e.ok = flags == bucketElement, flags <= bucketElement
	}
	from := uint64(at) + position
	to := from + key + value
	if key == 0 || key > maxKey || to > uint64(len(p.body)) {
		e.ok = false
		return e, -1, -2
	}
	e.ok = e.ok || p.flags == branchPage
	e.key, e.value = p.body[from:from+key:from+key], p.body[from+key:to:to]
	return e, int(from), int(to)
}
