package dbfile

import (
	"encoding/binary"
	"fmt"
)

// free compares the list of free pages with what the trees use. A page that is
// in use and free is written over by the next transaction; one that is neither
// is lost room at best, and at worst what something should point to.
func (s *scan) free() {
	ids, err := s.freePages()
	if err != nil {
		s.lose(place{idle: true, what: "the list of free pages: " + err.Error()})
		return
	}
	for _, id := range ids {
		switch {
		case id < 2 || id >= s.pages:
			s.lose(place{idle: true, what: fmt.Sprintf("the list of free pages names %d, which there is not", id)})
		case s.take(id):
			s.lose(place{idle: true, what: fmt.Sprintf("page %d is free and in use, or free twice", id)})
		}
	}
	if s.freelist == noFreelist {
		return
	}
	stray := 0
	for id := uint64(2); id < s.pages && id/64 < uint64(len(s.taken)); id++ {
		if s.taken[id/64]&(1<<(id%64)) == 0 {
			stray++
		}
	}
	if stray > 0 {
		s.lose(place{idle: true, what: fmt.Sprintf("nothing points to %d of its pages", stray)})
	}
}

// freePages reads the list.
func (s *scan) freePages() (ids []uint64, err error) {
	if s.freelist == noFreelist {
		return nil, nil
	}
	p, err := s.read(s.freelist)
	if err != nil {
		return nil, err
	}
	if p.flags != freelistPage {
		return nil, fmt.Errorf("page %d is none", p.id)
	}
	for i := range p.span {
		if s.take(p.id + i) {
			return nil, fmt.Errorf("page %d belongs to two", p.id+i)
		}
	}
	order, count, at := binary.NativeEndian, uint64(p.count), 0
	if count == 0xFFFF { // there are more than fit into the header: then the first entry counts
		count, at = order.Uint64(p.body), 8
	}
	if count > uint64(len(p.body)-at)/8 {
		return nil, fmt.Errorf("page %d has no room for %d entries", p.id, count)
	}
	for range count {
		ids = append(ids, order.Uint64(p.body[at:]))
		at += 8
	}
	return ids, nil
}
