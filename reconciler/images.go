package reconciler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ImagesInUse returns the images that a clean-up must leave, by ID, reference
// and digest: for every instance those of the applied generation, of the good
// one before it, of one that is held, and of the newest one, which may be on
// its way (law 8).
func (s *Store) ImagesInUse() (map[string]bool, error) {
	keep := map[string]bool{}
	err := s.eachImage(2, func(ref string, img Image) { keep[ref], keep[img.ID], keep[img.Digest] = true, true, true })
	if err != nil {
		return nil, fmt.Errorf("list images in use: %w", err)
	}
	delete(keep, "")
	return keep, nil
}

// ImagesKept returns the images that the regular clean-up leaves, by ID and
// digest: for every instance those of all generations that it can go back to, of
// the applied one, of one that is held, and of the newest one.
func (s *Store) ImagesKept() (map[string]bool, error) {
	keep := map[string]bool{}
	err := s.eachImage(math.MaxInt, func(ref string, img Image) {
		keep[img.ID], keep[img.Digest] = true, true
		if img.ID == "" { // a reference alone may mean something else by now
			keep[ref] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list images that are kept: %w", err)
	}
	delete(keep, "")
	return keep, nil
}

// eachImage visits the images of every instance's newest, applied and held
// generations, and of so many good ones, newest first.
func (s *Store) eachImage(good int, visit func(ref string, img Image)) error {
	names, err := s.instances()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.eachImageOf(name, good, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachImageOf(instance string, good int, visit func(ref string, img Image)) error {
	m, err := s.memo(instance)
	if err != nil {
		return err
	}
	list, err := s.Generations(instance)
	if err != nil {
		return err
	}
	seen := 0
	for i, g := range slices.Backward(list) {
		if g.Good {
			seen++
		}
		newest, held := i == len(list)-1, m.Hold != nil && m.Hold.Generation == g.Number
		if !newest && !held && g.Number != m.LastGood && (!g.Good || seen > good) {
			continue
		}
		for ref, img := range g.Images {
			visit(ref, img)
		}
	}
	return nil
}

// Pruner is a Driver that removes images that nothing needs any more: those that
// it fetched itself, that no container of anybody uses, and that keep names
// neither by ID, by digest nor by reference. It returns what went.
type Pruner interface {
	Prune(ctx context.Context, keep map[string]bool) ([]string, error)
}

// pruneLimit bounds a clean-up. What is left over goes after the next apply.
const pruneLimit = time.Minute

// clearImages removes the images that the last apply left without a generation.
// It says what went, and fails nothing.
func (r *Instance) clearImages(ctx context.Context) {
	pruner, able := r.cfg.Driver.(Pruner)
	if !r.untidy || !able || ctx.Err() != nil {
		return
	}
	r.untidy = false
	ctx, cancel := context.WithTimeout(ctx, pruneLimit)
	defer cancel()
	keep, err := r.cfg.Store.ImagesKept()
	if err != nil {
		r.cfg.Log.WithError(err).Warn("Leave images that no generation needs")
		return
	}
	gone, err := pruner.Prune(ctx, keep)
	if len(gone) > 0 {
		r.cfg.Log.WithField("images", strings.Join(gone, " ")).Info("Remove images that no generation needs")
	}
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.WithError(err).Warn("Leave images that no generation needs")
	}
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
