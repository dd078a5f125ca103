package reconciler

import (
	"encoding/json"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// ImagesInUse returns the images that a clean-up must leave, by ID, reference
// and digest: those of every instance's last good generation, of one that is
// held, and of the newest one, which may be on its way (law 8).
func (s *Store) ImagesInUse() (map[string]bool, error) {
	keep := map[string]bool{}
	err := s.db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		if root == nil {
			return nil
		}
		return root.ForEachBucket(func(name []byte) error {
			return keepImages(root.Bucket(name), keep)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list images in use: %w", err)
	}
	return keep, nil
}

func keepImages(instance *bolt.Bucket, keep map[string]bool) error {
	var m memo
	if err := json.Unmarshal(orEmpty(instance.Get(memoKey)), &m); err != nil {
		return err
	}
	gens := instance.Bucket(generationsBucket)
	if gens == nil {
		return nil
	}
	newest, _ := gens.Cursor().Last()
	wanted := [][]byte{numberKey(m.LastGood), newest}
	if m.Hold != nil {
		wanted = append(wanted, numberKey(m.Hold.Generation))
	}
	for _, key := range wanted {
		var g Generation
		if err := json.Unmarshal(orEmpty(gens.Get(key)), &g); err != nil {
			return err
		}
		for ref, image := range g.Images {
			keep[ref], keep[image.ID] = true, true
			if image.Digest != "" {
				keep[image.Digest] = true
			}
		}
	}
	return nil
}
