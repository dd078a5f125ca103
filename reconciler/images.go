package reconciler

import (
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// ImagesInUse returns the images that a clean-up must leave, by ID, reference
// and digest: for every instance those of the applied generation, of the good
// one before it, of one that is held, and of the newest one, which may be on
// its way (law 8).
func (s *Store) ImagesInUse() (map[string]bool, error) {
	keep := map[string]bool{}
	names, err := s.instances()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.keepImages(name, keep); err != nil {
			return nil, fmt.Errorf("list images in use: %w", err)
		}
	}
	delete(keep, "")
	return keep, nil
}

func (s *Store) keepImages(instance string, keep map[string]bool) error {
	m, err := s.memo(instance)
	if err != nil {
		return err
	}
	list, err := s.Generations(instance)
	if err != nil {
		return err
	}
	good := 0
	for i, g := range slices.Backward(list) {
		if g.Good {
			good++
		}
		newest, held := i == len(list)-1, m.Hold != nil && m.Hold.Generation == g.Number
		if !newest && !held && g.Number != m.LastGood && (!g.Good || good > 2) {
			continue
		}
		for ref, img := range g.Images {
			keep[ref], keep[img.ID], keep[img.Digest] = true, true, true
		}
	}
	return nil
}

// instances lists the names that the store knows anything of.
func (s *Store) instances() (names []string, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(rootBucket); b != nil {
			return b.ForEachBucket(func(k []byte) error { names = append(names, string(k)); return nil })
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	return names, nil
}
