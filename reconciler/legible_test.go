package reconciler

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
)

// filledStore is a store with a value of each kind.
func filledStore(t *testing.T) (*Store, *bolt.DB) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := NewStore(db, NewKey())
	if err != nil {
		t.Fatal(err)
	}
	g := Generation{Number: 1, Revision: desired.Revision{Commit: "abc"}}
	_, good := s.markGood("shop", g)
	_, record := s.addRecord("shop", Record{Kind: "deploy", Outcome: Applied})
	_, hold := s.update("shop", func(m *memo) {
		m.Hold = &Hold{Generation: 1, By: "ada"}
		m.Suspended = &Suspension{By: "ada", At: time.Now()}
	})
	err = errors.Join(s.putGeneration("shop", g, Target{}), good, record, hold, NewEvents(s).Report("shop", "Applied", "it stands"),
		s.Memory().Put("shop", []byte("driver")), s.Notebook("server").Put("jobs", []byte("none")), s.putGeneration("blog", Generation{Number: 4}, Target{}))
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func eachValue(t *testing.T, db *bolt.DB, visit func(path []string, key, value []byte)) {
	t.Helper()
	var walk func(path []string, b *bolt.Bucket) error
	walk = func(path []string, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(append(path[:len(path):len(path)], string(k)), b.Bucket(k))
			}
			visit(path, k, v)
			return nil
		})
	}
	err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return walk([]string{string(name)}, b) })
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLegible: all that the store writes can be read; nothing of it when it is
// cut, and no row under another number.
func TestLegible(t *testing.T) {
	t.Parallel()
	s, db := filledStore(t)
	other, err := NewStore(nil, NewKey())
	if err != nil {
		t.Fatal(err)
	}
	rooms, n := []string{"server"}, 0
	eachValue(t, db, func(path []string, key, value []byte) {
		n++
		sealed, err := s.Legible(path, key, value, rooms)
		if err != nil {
			t.Errorf("%v %q: %v", path, key, err)
		}
		if _, err := s.Legible(path, key, value[:len(value)-1], rooms); err == nil {
			t.Errorf("%v %q can be read when it is cut", path, key)
		}
		if again, err := other.Legible(path, key, value, rooms); again != sealed || (err != nil) != sealed {
			t.Errorf("%v %q with another key: sealed %v, %v", path, key, again, err)
		}
		if _, err := s.Legible(path, numberKey(99), value, rooms); len(path) == 3 && !sealed && err == nil {
			t.Errorf("%v %q can be read under another number", path, key)
		}
	})
	if n < 10 {
		t.Errorf("there are %d values", n)
	}
	for _, foreign := range [][]string{{"reconciler"}, {"reconciler", "shop"}} {
		if _, err := s.Legible(foreign, []byte("history"), []byte("x"), rooms); err == nil {
			t.Errorf("a value in the place of a bucket of %v can be read", foreign)
		}
	}
	for _, unknown := range [][]string{{"health"}, {"reconciler", "shop", "later"}} {
		if sealed, err := s.Legible(unknown, []byte("key"), []byte("x"), rooms); sealed || err != nil {
			t.Errorf("%v: sealed %v, %v", unknown, sealed, err)
		}
	}
}

// TestMend: what was applied and held is forgotten when it is lost, the rest
// stays, and no number is given twice.
func TestMend(t *testing.T) {
	t.Parallel()
	s, db := filledStore(t)
	if told, err := s.Mend(); err != nil || told["shop"] != "" || told["blog"] != "" || len(told) != 2 {
		t.Errorf("a store that is whole: %v, %v", told, err)
	}
	err := db.Update(func(tx *bolt.Tx) error {
		return errors.Join(bucket(tx, "shop", targetsBucket).Delete(numberKey(1)), bucket(tx, "blog").Delete(memoKey))
	})
	if err != nil {
		t.Fatal(err)
	}
	told, err := s.Mend()
	if err != nil || told["shop"] == "" || told["blog"] != "" {
		t.Errorf("told is %v, %v", told, err)
	}
	m, err := s.memo("shop")
	if err != nil || m.LastGood != 0 || m.Hold != nil || m.Suspended == nil || m.Next != 2 || m.Applied.Commit != "" {
		t.Errorf("the memo is %+v, %v", m, err)
	}
	if m, err := s.memo("blog"); err != nil || m.Next != 5 {
		t.Errorf("the memo is %+v, %v", m, err)
	}
	if told, err := s.Mend(); err != nil || told["shop"] != "" {
		t.Errorf("a second time: %v, %v", told, err)
	}
}
