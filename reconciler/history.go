package reconciler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
)

// Outcome is how an apply ended. Rolled back is its own outcome, never success
// (law 8).
type Outcome string

// The outcomes of an apply.
const (
	Applied    Outcome = "Applied"    // the target stands and passed its checks
	RolledBack Outcome = "RolledBack" // it failed, the last good generation is back
	Failed     Outcome = "Failed"     // it failed and could not be, or was not, rolled back
	Superseded Outcome = "Superseded" // a newer revision took over
)

// Record is one entry of an instance's history: an apply with what led to it
// and what came of it.
type Record struct {
	Seq        int              `json:"seq"`
	Kind       string           `json:"kind"` // deploy, heal, rollback
	Generation int              `json:"generation"`
	From       int              `json:"from,omitempty"` // generation that was good before
	Revision   desired.Revision `json:"revision"`
	Who        string           `json:"who,omitempty"`     // author of the commit, or the operator who asked
	Release    string           `json:"release,omitempty"` // what people call what the channel or pin meant
	Actions    []Action         `json:"actions,omitempty"`
	// Gaps are the times in which requests had nowhere to go.
	Gaps    []Gap   `json:"gaps,omitempty"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // why it failed
	// Failed is what did not come about, where that is known: start, stable,
	// health, completion, smoke.
	Failed string   `json:"failed,omitempty"`
	Logs   []string `json:"logs,omitempty"` // last lines of the container that failed
	// Correlation is the id of the request that led to it; empty: none did.
	Correlation string        `json:"correlation,omitempty"`
	Started     time.Time     `json:"started"`
	Duration    time.Duration `json:"duration_ns"`
}

// maxRecords bounds the history of an instance.
const maxRecords = 500

func (s *Store) addRecord(instance string, r Record) (Record, error) {
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := ensureBucket(tx, instance, historyBucket)
		if err != nil {
			return err
		}
		seq, err := b.NextSequence()
		if err != nil {
			return err
		}
		r.Seq = int(seq)
		if err := putJSON(b, numberKey(r.Seq), r); err != nil {
			return err
		}
		return dropOldest(b)
	})
	if err != nil {
		return r, fmt.Errorf("write history of %s: %w", instance, err)
	}
	return r, nil
}

// dropOldest keeps the history within its bound. What repeats itself (a service
// that falls over, a first deployment that never succeeds) goes before the
// deployments that people look for months later.
func dropOldest(b *bolt.Bucket) error {
	var oldest, repeating []byte
	count := 0
	err := b.ForEach(func(k, v []byte) error {
		count++
		if oldest == nil {
			oldest = k
		}
		if repeating != nil {
			return nil
		}
		var r Record
		if err := json.Unmarshal(v, &r); err != nil {
			return err
		}
		if r.Kind == "heal" || r.Outcome == Failed {
			repeating = k
		}
		return nil
	})
	if err != nil || count <= maxRecords {
		return err
	}
	if repeating != nil {
		oldest = repeating
	}
	return b.Delete(bytes.Clone(oldest))
}

// appendBounded adds an entry under the next number and drops the oldest
// beyond limit.
func appendBounded(b *bolt.Bucket, limit int, entry func(seq int) any) error {
	seq, err := b.NextSequence()
	if err != nil {
		return err
	}
	if err := putJSON(b, numberKey(int(seq)), entry(int(seq))); err != nil {
		return err
	}
	if int(seq) > limit {
		return b.Delete(numberKey(int(seq) - limit))
	}
	return nil
}

// History returns up to limit records of an instance, newest first.
func (s *Store) History(instance string, limit int) (list []Record, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		return newestFirst(bucket(tx, instance, historyBucket), limit, func(v []byte) error {
			var r Record
			if err := json.Unmarshal(v, &r); err != nil {
				return err
			}
			list = append(list, r)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read history of %s: %w", instance, err)
	}
	return list, nil
}

func newestFirst(b *bolt.Bucket, limit int, read func(v []byte) error) error {
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, v := c.Last(); k != nil && limit > 0; k, v = c.Prev() {
		if err := read(v); err != nil {
			return err
		}
		limit--
	}
	return nil
}
