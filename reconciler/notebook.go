package reconciler

import (
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Notebook returns a part of the store in which another room keeps notes under
// keys of its own, sealed. It is apart from the instances.
func (s *Store) Notebook(room string) Notebook { return Notebook{s, []byte(room)} }

// Notebook keeps bytes by key.
type Notebook struct {
	store *Store
	room  []byte
}

// Get returns what was put last under a key; nil when nothing was.
func (n Notebook) Get(key string) ([]byte, error) {
	var sealed []byte
	err := n.store.db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(n.room); b != nil {
			sealed = append(sealed, b.Get([]byte(key))...)
		}
		return nil
	})
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	return n.store.seal.open(sealed)
}

// Put replaces what is kept under a key.
func (n Notebook) Put(key string, data []byte) error {
	sealed, err := n.store.seal.seal(data)
	if err != nil {
		return err
	}
	err = n.store.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(n.room)
		if err != nil {
			return err
		}
		return b.Put([]byte(key), sealed)
	})
	if err != nil {
		return fmt.Errorf("keep note %s of %s: %w", key, n.room, err)
	}
	return nil
}
