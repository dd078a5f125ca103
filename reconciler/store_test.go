package reconciler

import (
	"fmt"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
)

func testStore(t *testing.T) *Store {
	t.Helper()
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, err := NewStore(db, NewKey())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The images to return to are never cleaned up; those before them may be.
func TestImagesInUse(t *testing.T) {
	s := testStore(t)
	for n, good := range map[int]bool{1: true, 2: true, 3: false, 4: true, 5: false} {
		id := fmt.Sprintf("sha256:%d", n)
		g := Generation{Number: n, Good: good, Images: map[string]Image{fmt.Sprintf("app:%d", n): {ID: id, Digest: "app@" + id}}}
		if err := s.putGeneration("acme", g, Target{Spec: desired.Spec{Name: "acme"}}); err != nil {
			t.Fatal(err)
		}
	}
	keep, err := s.ImagesInUse()
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]bool{1: false, 2: true, 3: false, 4: true, 5: true} {
		for _, key := range []string{fmt.Sprintf("app:%d", n), fmt.Sprintf("sha256:%d", n), fmt.Sprintf("app@sha256:%d", n)} {
			if keep[key] != want {
				t.Errorf("image %s is kept: %v, want %v", key, keep[key], want)
			}
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := testStore(t)
	for range maxRecords + 20 {
		if _, err := s.addRecord("acme", Record{Kind: "heal"}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.History("acme", 10*maxRecords)
	if err != nil || len(list) != maxRecords || list[0].Seq != maxRecords+20 {
		t.Errorf("%d records, newest %d, %v", len(list), list[0].Seq, err)
	}
}

// A service that flaps does not push the deployments out of the history.
func TestHistoryKeepsDeploymentsBeforeHeals(t *testing.T) {
	s := testStore(t)
	for i := range maxRecords + 50 {
		r := Record{Kind: "heal"}
		if i < 10 {
			r = Record{Kind: "deploy", Outcome: Applied}
		}
		if _, err := s.addRecord("acme", r); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.History("acme", maxRecords)
	if err != nil || len(list) != maxRecords || list[len(list)-1].Kind != "deploy" || list[len(list)-10].Kind != "deploy" || list[len(list)-11].Kind != "heal" {
		t.Errorf("%d records, %v", len(list), err)
	}
}

func TestGenerationsAreDroppedAndKept(t *testing.T) {
	s := testStore(t)
	for n := range 5 {
		if err := s.putGeneration("acme", Generation{Number: n + 1}, Target{Generation: n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.retain("acme", map[int]bool{2: true, 5: true}); err != nil {
		t.Fatal(err)
	}
	list, err := s.Generations("acme")
	if err != nil || len(list) != 2 || list[0].Number != 2 || list[1].Number != 5 {
		t.Errorf("left: %+v, %v", list, err)
	}
	if _, _, err := s.generation("acme", 3); err == nil {
		t.Error("a dropped generation can be read")
	}
	if _, target, err := s.generation("acme", 5); err != nil || target.Generation != 5 {
		t.Errorf("kept generation: %+v, %v", target, err)
	}
}

func TestDriverMemoryIsPerInstance(t *testing.T) {
	m := testStore(t).Memory()
	if got, err := m.Get("acme"); err != nil || got != nil {
		t.Errorf("empty memory: %q, %v", got, err)
	}
	if err := m.Put("acme", []byte("notes")); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Get("acme"); err != nil || string(got) != "notes" {
		t.Errorf("memory: %q, %v", got, err)
	}
	if got, err := m.Get("globex"); err != nil || got != nil {
		t.Errorf("memory of another: %q, %v", got, err)
	}
}
