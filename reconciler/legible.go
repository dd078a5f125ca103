package reconciler

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
)

var errForeign = errors.New("there is no such value")

// Legible says whether a value of the store's file can be read, and whether that
// one is sealed: of those nobody can tell damage from another key. Path are the
// buckets that it is in; notebooks are the rooms that have one. What the store
// does not know of is as it should be.
func (s *Store) Legible(path []string, key, value []byte, notebooks []string) (sealed bool, err error) {
	switch {
	case len(path) == 1 && slices.Contains(notebooks, path[0]):
		return s.opens(value)
	case len(path) == 0 || path[0] != string(rootBucket):
		return false, nil
	case len(path) == 1:
		return false, errForeign // it holds a bucket for each instance
	case len(path) == 2:
		return s.legibleOfInstance(key, value)
	case len(path) == 3:
		return s.legibleOfRow(path[2], key, value)
	}
	return false, nil
}

func (s *Store) opens(value []byte) (sealed bool, err error) {
	_, err = s.seal.open(value)
	return true, err
}

func (s *Store) legibleOfInstance(key, value []byte) (sealed bool, err error) {
	switch string(key) {
	case string(driverKey):
		return s.opens(value)
	case string(memoKey):
		return false, json.Unmarshal(value, new(memo))
	case string(generationsBucket), string(targetsBucket), string(historyBucket), string(eventsBucket):
		return false, errForeign
	}
	return false, nil
}

// legibleOfRow looks at one of many: it has its own number in it.
func (s *Store) legibleOfRow(bucket string, key, value []byte) (sealed bool, err error) {
	var number int
	switch bucket {
	case string(targetsBucket):
		return s.opens(value)
	case string(generationsBucket):
		var g Generation
		err, number = json.Unmarshal(value, &g), g.Number
	case string(historyBucket):
		var r Record
		err, number = json.Unmarshal(value, &r), r.Seq
	case string(eventsBucket):
		var e Event
		err, number = json.Unmarshal(value, &e), e.Seq
	default:
		return false, nil
	}
	if err == nil && string(numberKey(number)) != string(key) {
		err = fmt.Errorf("it has number %d, which is not its key", number)
	}
	return false, err
}

// Mend makes the store agree with itself after a part of it was lost: what names
// a generation that is not there any more forgets it, so that the next pass
// recognises what runs instead of waiting for it. It returns what was forgotten,
// for every instance that is known.
func (s *Store) Mend() (map[string]string, error) {
	names, err := s.instances()
	if err != nil {
		return nil, err
	}
	told := map[string]string{}
	for _, name := range names {
		if told[name], err = s.mend(name); err != nil {
			return told, err
		}
	}
	return told, nil
}

func (s *Store) mend(instance string) (forgot string, err error) {
	gone := func(number int) bool {
		_, _, err := s.generation(instance, number)
		return number != 0 && errors.Is(err, ErrNoGeneration)
	}
	m, err := s.memo(instance)
	if err != nil {
		return "", err
	}
	next, err := s.nextNumber(instance)
	if err != nil {
		return "", err
	}
	lostGood, lostHold := gone(m.LastGood), m.Hold != nil && gone(m.Hold.Generation)
	if !lostGood && !lostHold && m.Next >= next {
		return "", nil
	}
	_, err = s.update(instance, func(m *memo) {
		m.Next = max(m.Next, next, m.LastGood+1)
		if lostHold {
			forgot = fmt.Sprintf("generation %d is not held any more; ", m.Hold.Generation)
			m.Hold = nil
		}
		if lostGood {
			forgot += fmt.Sprintf("generation %d, which was applied, cannot be rolled back to; ", m.LastGood)
			m.LastGood, m.Applied, m.AppliedAt = 0, desired.Revision{}, time.Time{}
		}
	})
	return forgot, err
}

// nextNumber is greater than that of every generation.
func (s *Store) nextNumber(instance string) (next int, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		for _, sub := range [][]byte{generationsBucket, targetsBucket} {
			if b := bucket(tx, instance, sub); b != nil {
				if last, _ := b.Cursor().Last(); len(last) == 8 {
					next = max(next, int(binary.BigEndian.Uint64(last))+1)
				}
			}
		}
		return nil
	})
	return next, err
}
