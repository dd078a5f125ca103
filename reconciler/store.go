package reconciler

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
)

// Store remembers generations, history, quarantine and holds, in one bucket of
// the daemon's bbolt file. Targets hold what containers are made from, secrets
// included, so they are stored sealed with a key of this host (law 12).
type Store struct {
	db   *bolt.DB
	seal sealer
}

// NewStore uses an open database. The key is 32 bytes that stay on this host.
func NewStore(db *bolt.DB, key []byte) (*Store, error) {
	seal, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	return &Store{db: db, seal: seal}, nil
}

// Generation is one target that was tried: numbered, recorded, the unit of
// rollback.
type Generation struct {
	Number   int              `json:"number"`
	Revision desired.Revision `json:"revision"`
	SpecHash string           `json:"spec_hash"`
	Images   map[string]Image `json:"images,omitempty"`
	// Release is what people call the digest that the followed reference
	// meant; empty when nothing was followed.
	Release string    `json:"release,omitempty"`
	Started time.Time `json:"started"`
	// Good says that it was applied whole and passed its checks.
	Good bool `json:"good"`
}

// Quarantined is a generation that failed and is not tried again until its
// specification changes (law 8). Images are what its references meant then.
type Quarantined struct {
	SpecHash string           `json:"spec_hash"`
	Images   map[string]Image `json:"images,omitempty"`
	// Release is the digest that was at fault: nothing else had changed. It is
	// not taken again by whatever specification.
	Release    string           `json:"release,omitempty"`
	Generation int              `json:"generation"`
	Revision   desired.Revision `json:"revision"`
	Reason     string           `json:"reason"`
	At         time.Time        `json:"at"`
}

// Hold keeps an older generation until a newer revision changes the instance,
// or the channel that it follows means something else.
type Hold struct {
	Generation int       `json:"generation"`
	Instead    string    `json:"instead"`           // hash of the spec that is not applied
	Release    string    `json:"release,omitempty"` // digest that its reference meant then
	By         string    `json:"by"`
	At         time.Time `json:"at"`
}

// stands reports whether nothing newer came since: neither a revision that
// changes the instance, nor a release.
func (h Hold) stands(specHash, newest string) bool {
	return specHash == h.Instead && (newest == "" || h.Release == "" || sameDigest(newest, h.Release))
}

// Suspension is a stop that a person asked for, not the repository.
type Suspension struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// memo is what an instance remembers beside its generations.
type memo struct {
	LastGood    int              `json:"last_good"` // generation that is applied; 0: none yet
	Next        int              `json:"next"`      // number of the next generation
	Attempted   desired.Revision `json:"attempted,omitzero"`
	Applied     desired.Revision `json:"applied,omitzero"`
	AppliedAt   time.Time        `json:"applied_at,omitzero"`
	Quarantined []Quarantined    `json:"quarantined,omitempty"`
	Hold        *Hold            `json:"hold,omitempty"`
	Suspended   *Suspension      `json:"suspended,omitempty"`
	// Now is a digest that a person asked for without waiting for the gates.
	Now  string     `json:"now,omitempty"`
	Busy *busySince `json:"busy,omitempty"`
	// Trusted is the newest revision that somebody vouched for; nil: signatures
	// are not asked for.
	Trusted *trusted `json:"trusted,omitempty"`
	// Told is the decision that people were told of last, so that they are told
	// once, whatever fails and starts anew in between.
	Told string `json:"told,omitempty"`
}

// busySince is since when the application holds upgrades back, and which digest
// it runs: a channel that moves in the meantime does not begin the wait anew.
type busySince struct {
	Digest string    `json:"digest"`
	Since  time.Time `json:"since"`
}

var (
	rootBucket        = []byte("reconciler")
	generationsBucket = []byte("generations")
	targetsBucket     = []byte("targets")
	historyBucket     = []byte("history")
	eventsBucket      = []byte("events")
	memoKey           = []byte("memo")
	driverKey         = []byte("driver")
)

// bucket opens the instance's bucket for reading; nil when there is none yet.
func bucket(tx *bolt.Tx, instance string, sub ...[]byte) *bolt.Bucket {
	b := tx.Bucket(rootBucket)
	for _, name := range append([][]byte{[]byte(instance)}, sub...) {
		if b == nil {
			return nil
		}
		b = b.Bucket(name)
	}
	return b
}

// ensureBucket opens the instance's bucket for writing.
func ensureBucket(tx *bolt.Tx, instance string, sub ...[]byte) (*bolt.Bucket, error) {
	b, err := tx.CreateBucketIfNotExists(rootBucket)
	for _, name := range append([][]byte{[]byte(instance)}, sub...) {
		if err != nil {
			return nil, err
		}
		b, err = b.CreateBucketIfNotExists(name)
	}
	return b, err
}

func numberKey(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func (s *Store) memo(instance string) (m memo, err error) {
	m.Next = 1
	err = s.db.View(func(tx *bolt.Tx) error {
		if b := bucket(tx, instance); b != nil {
			if v := b.Get(memoKey); v != nil {
				return json.Unmarshal(v, &m)
			}
		}
		return nil
	})
	if err != nil {
		return m, fmt.Errorf("read state of %s: %w", instance, err)
	}
	return m, nil
}

// update changes the memo in one transaction and returns what it became.
func (s *Store) update(instance string, change func(*memo)) (memo, error) {
	var m memo
	err := s.db.Update(func(tx *bolt.Tx) error {
		b, err := ensureBucket(tx, instance)
		if err != nil {
			return err
		}
		return changeMemo(b, func(stored *memo) {
			change(stored)
			m = *stored
		})
	})
	if err != nil {
		return m, fmt.Errorf("write state of %s: %w", instance, err)
	}
	return m, nil
}

func putJSON(b *bolt.Bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// putGeneration records a generation together with its sealed target.
func (s *Store) putGeneration(instance string, g Generation, t Target) error {
	plain, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("write generation %d of %s: %w", g.Number, instance, err)
	}
	sealed, err := s.seal.seal(plain)
	if err != nil {
		return fmt.Errorf("seal generation %d of %s: %w", g.Number, instance, err)
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		targets, err := ensureBucket(tx, instance, targetsBucket)
		if err != nil {
			return err
		}
		if err := targets.Put(numberKey(g.Number), sealed); err != nil {
			return err
		}
		gens, err := ensureBucket(tx, instance, generationsBucket)
		if err != nil {
			return err
		}
		if err := putJSON(gens, numberKey(g.Number), g); err != nil {
			return err
		}
		return changeMemo(bucket(tx, instance), func(m *memo) { m.Next = max(m.Next, g.Number+1) })
	})
	if err != nil {
		return fmt.Errorf("write generation %d of %s: %w", g.Number, instance, err)
	}
	return nil
}

// changeMemo reads, changes and writes the memo of an instance's bucket.
func changeMemo(b *bolt.Bucket, change func(*memo)) error {
	m := memo{Next: 1}
	if v := b.Get(memoKey); v != nil {
		if err := json.Unmarshal(v, &m); err != nil {
			return err
		}
	}
	change(&m)
	return putJSON(b, memoKey, m)
}

// markGood makes a generation the applied one, in one transaction.
func (s *Store) markGood(instance string, g Generation) (m memo, err error) {
	err = s.db.Update(func(tx *bolt.Tx) error {
		gens, err := ensureBucket(tx, instance, generationsBucket)
		if err != nil {
			return err
		}
		if err := putJSON(gens, numberKey(g.Number), g); err != nil {
			return err
		}
		return changeMemo(bucket(tx, instance), func(stored *memo) {
			stored.LastGood, stored.Next = g.Number, max(stored.Next, g.Number+1)
			stored.Applied, stored.AppliedAt = g.Revision, time.Now().UTC()
			m = *stored
		})
	})
	if err != nil {
		return m, fmt.Errorf("mark generation %d of %s good: %w", g.Number, instance, err)
	}
	return m, nil
}

// ErrNoGeneration says that a generation is not, or no longer, recorded.
var ErrNoGeneration = errors.New("no such generation")

// generation returns a generation with its target.
func (s *Store) generation(instance string, number int) (g Generation, t Target, err error) {
	var sealed []byte
	err = s.db.View(func(tx *bolt.Tx) error {
		gens, targets := bucket(tx, instance, generationsBucket), bucket(tx, instance, targetsBucket)
		if gens == nil || targets == nil {
			return ErrNoGeneration
		}
		v := gens.Get(numberKey(number))
		sealed = append(sealed, targets.Get(numberKey(number))...)
		if v == nil || len(sealed) == 0 {
			return ErrNoGeneration
		}
		return json.Unmarshal(v, &g)
	})
	if err != nil {
		return g, t, fmt.Errorf("read generation %d of %s: %w", number, instance, err)
	}
	plain, err := s.seal.open(sealed)
	if err == nil {
		err = json.Unmarshal(plain, &t)
	}
	if err != nil {
		return g, t, fmt.Errorf("open generation %d of %s: %w", number, instance, err)
	}
	return g, t, nil
}

// Generations lists the recorded generations of an instance, oldest first.
func (s *Store) Generations(instance string) (list []Generation, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		b := bucket(tx, instance, generationsBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, v []byte) error {
			var g Generation
			if err := json.Unmarshal(v, &g); err != nil {
				return err
			}
			list = append(list, g)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list generations of %s: %w", instance, err)
	}
	return list, nil
}

// appliedFrom returns the instance whose applied generation was read from a
// directory of the repository; empty when there is none, or none can be read.
func (s *Store) appliedFrom(dir string) string {
	names, err := s.instances()
	if err != nil {
		return ""
	}
	for _, name := range names {
		m, err := s.memo(name)
		if err != nil || m.LastGood == 0 {
			continue
		}
		if _, t, err := s.generation(name, m.LastGood); err == nil && t.Spec.Dir == dir {
			return name
		}
	}
	return ""
}

// retain drops the generations that are not in keep.
func (s *Store) retain(instance string, keep map[int]bool) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, sub := range [][]byte{generationsBucket, targetsBucket} {
			b := bucket(tx, instance, sub)
			if b == nil {
				continue
			}
			var drop [][]byte
			_ = b.ForEach(func(k, _ []byte) error {
				if !keep[int(binary.BigEndian.Uint64(k))] {
					drop = append(drop, append([]byte(nil), k...))
				}
				return nil
			})
			for _, k := range drop {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop old generations of %s: %w", instance, err)
	}
	return nil
}

// Memory returns the part of the store in which a driver remembers what it
// made for an instance.
func (s *Store) Memory() DriverMemory { return DriverMemory{s} }

// DriverMemory keeps a driver's bytes per instance, sealed.
type DriverMemory struct{ store *Store }

// Get returns what was put last for the instance; nil when nothing was.
func (m DriverMemory) Get(instance string) ([]byte, error) {
	var sealed []byte
	err := m.store.db.View(func(tx *bolt.Tx) error {
		if b := bucket(tx, instance); b != nil {
			sealed = append(sealed, b.Get(driverKey)...)
		}
		return nil
	})
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	return m.store.seal.open(sealed)
}

// Put replaces what is remembered for the instance.
func (m DriverMemory) Put(instance string, data []byte) error {
	sealed, err := m.store.seal.seal(data)
	if err != nil {
		return err
	}
	return m.store.db.Update(func(tx *bolt.Tx) error {
		b, err := ensureBucket(tx, instance)
		if err != nil {
			return err
		}
		return b.Put(driverKey, sealed)
	})
}
