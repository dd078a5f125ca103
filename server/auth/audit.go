package auth

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The outcomes that the audit log tells apart.
const (
	OutcomeDone    = "done"
	OutcomeRefused = "refused" // by us: not allowed, not valid, too often
	OutcomeFailed  = "failed"  // it was tried
)

// The bounds of the audit log.
const (
	defaultKeep = 100_000
	maxText     = 200 // bytes of one text of an entry
	maxListed   = 1000
)

// Entry is one thing that somebody did, or was refused. It holds neither
// secrets nor bodies of requests.
type Entry struct {
	Seq         uint64    `json:"seq"`
	At          time.Time `json:"at"`
	User        string    `json:"user_id,omitempty"`
	Email       string    `json:"email,omitempty"`
	Who         string    `json:"who,omitempty"` // as people call them
	Via         string    `json:"via,omitempty"`
	Session     string    `json:"session,omitempty"` // or the token
	Address     string    `json:"address,omitempty"`
	Operation   string    `json:"operation"`
	Target      string    `json:"target,omitempty"`
	Outcome     string    `json:"outcome"`
	Detail      string    `json:"detail,omitempty"`
	Correlation string    `json:"correlation_id,omitempty"`
}

// By fills in who asks and where from, as far as the context knows.
func (e Entry) By(ctx context.Context) Entry {
	if c, known := From(ctx); known {
		e.User, e.Email, e.Who, e.Via, e.Session = c.ID, c.Email, c.Name, c.Via, c.Session
		if e.Who == "" {
			e.Who = c.Email
		}
	}
	v := VisitFrom(ctx)
	e.Address, e.Correlation = v.address(), v.Correlation
	return e
}

// Record adds an entry. The oldest go when there are too many. Of what one
// caller is refused over and over only some is kept, so that nobody washes away
// what was done.
func (s *Store) Record(e Entry) error {
	if e.Outcome == OutcomeRefused {
		if wait, _ := s.refusals.take(e.User + " " + e.Address); wait > 0 {
			return nil
		}
	}
	e.At = time.Now().UTC().Truncate(time.Millisecond)
	for _, text := range []*string{&e.User, &e.Email, &e.Who, &e.Via, &e.Session, &e.Address, &e.Operation, &e.Target, &e.Outcome, &e.Detail, &e.Correlation} {
		*text = clip(*text, maxText)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists(rootBucket)
		if err != nil {
			return err
		}
		b, err := root.CreateBucketIfNotExists(auditBucket)
		if err != nil {
			return err
		}
		if e.Seq, err = b.NextSequence(); err != nil {
			return err
		}
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if err := b.Put(seqKey(e.Seq), data); err != nil {
			return err
		}
		return trim(b, e.Seq, s.keep)
	})
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

func seqKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// trim removes the oldest entries beyond those that are kept. There is seldom
// more than one; after keep was made smaller a few go each time.
func trim(b *bolt.Bucket, last uint64, keep int) error {
	const atOnce = 16
	cursor := b.Cursor()
	for range atOnce {
		k, _ := cursor.First()
		if k == nil || binary.BigEndian.Uint64(k)+uint64(keep) > last {
			return nil
		}
		if err := cursor.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// AuditQuery says which entries are wanted, the newest first.
type AuditQuery struct {
	Limit  int    // 0: 100
	Before uint64 // only entries with a smaller number; 0: from the newest on
	User   string // id or address; empty: everybody
}

// concerns reports whether a user did something, or it was done to them: then
// their address begins the target.
func (e Entry) concerns(u User) bool {
	to, _, _ := strings.Cut(e.Target, " ")
	return (u.ID != "" && e.User == u.ID) || (u.Email != "" && (strings.EqualFold(e.Email, u.Email) || strings.EqualFold(to, u.Email)))
}

// Audit returns entries, the newest first.
func (s *Store) Audit(ctx context.Context, q AuditQuery) ([]Entry, error) {
	of := User{ID: q.User, Email: foldEmail(q.User)} // perhaps of one who is gone
	if u, err := s.User(ctx, q.User); err == nil {
		of = u
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	q.Limit = min(q.Limit, maxListed)
	list := []Entry{}
	err := s.auditBackwards(q.Before, func(e Entry) bool {
		if q.User == "" || e.concerns(of) {
			list = append(list, e)
		}
		return len(list) < q.Limit
	})
	return list, err
}

// auditBackwards gives the entries before a number until more says that it is
// enough.
func (s *Store) auditBackwards(before uint64, more func(Entry) bool) error {
	err := s.db.View(func(tx *bolt.Tx) error {
		b := auditIn(tx)
		if b == nil {
			return nil
		}
		cursor := b.Cursor()
		k, v := cursor.Last()
		if before > 0 {
			if k, v = cursor.Seek(seqKey(before)); k == nil {
				k, v = cursor.Last()
			}
			for k != nil && binary.BigEndian.Uint64(k) >= before {
				k, v = cursor.Prev()
			}
		}
		for ; k != nil; k, v = cursor.Prev() {
			var e Entry
			if err := json.Unmarshal(v, &e); err != nil {
				return fmt.Errorf("entry %d: %w", binary.BigEndian.Uint64(k), err)
			}
			if !more(e) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	return nil
}

func auditIn(tx *bolt.Tx) *bolt.Bucket {
	if root := tx.Bucket(rootBucket); root != nil {
		return root.Bucket(auditBucket)
	}
	return nil
}

// exportBatch is how many entries are read at a time: a slow reader must not
// keep the database from giving pages back.
const exportBatch = 500

// ExportAudit writes all entries as JSON lines, the oldest first.
func (s *Store) ExportAudit(ctx context.Context, w io.Writer) error {
	for next := uint64(0); ; {
		var batch []byte
		err := s.db.View(func(tx *bolt.Tx) error {
			b := auditIn(tx)
			if b == nil {
				return nil
			}
			cursor := b.Cursor()
			n := 0
			for k, v := cursor.Seek(seqKey(next)); k != nil && n < exportBatch; k, v = cursor.Next() {
				batch = append(append(batch, v...), '\n')
				next, n = binary.BigEndian.Uint64(k)+1, n+1
			}
			return nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		if len(batch) == 0 {
			return nil
		}
		if _, err := w.Write(batch); err != nil {
			return err
		}
	}
}
