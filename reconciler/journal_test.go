package reconciler

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestJournalRemembersAnApplyThatDidNotEnd(t *testing.T) {
	j := newJournal(t.TempDir(), "acme")
	for _, e := range []Entry{
		{Step: StepBegin, Generation: 3, Previous: 2, Kind: "deploy", Attempt: 1, Touched: []string{"app"}},
		{Step: StepAction, Generation: 3, Action: "replace container acme-app-1"},
		{Step: StepUndo, Generation: 3, Reason: "unhealthy"},
	} {
		if err := j.write(e); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := newJournal(filepath.Dir(j.path), "acme").read()
	if err != nil {
		t.Fatal(err)
	}
	in := lastApply(entries)
	if in == nil || in.Generation != 3 || in.Previous != 2 || !in.Undoing || in.Committed || in.Reason != "unhealthy" || in.Touched[0] != "app" {
		t.Errorf("interrupted = %+v", in)
	}
	if err := j.clear(); err != nil {
		t.Fatal(err)
	}
	if entries, err := j.read(); err != nil || len(entries) > 0 {
		t.Errorf("after clear: %v %v", entries, err)
	}
}

// A crash may cut off the last line at any byte: what was synced before stays,
// and the next entry is readable.
func TestJournalSurvivesATornLine(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(dir, "acme")
	if err := j.write(Entry{Step: StepBegin, Generation: 1}); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(first) {
		torn := append(bytes.Clone(first), first[:cut]...)
		if err := os.WriteFile(j.path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		again := newJournal(dir, "acme")
		if err := again.write(Entry{Step: StepCommit, Generation: 1}); err != nil {
			t.Fatal(err)
		}
		entries, err := again.read()
		if in := lastApply(entries); err != nil || in == nil || !in.Committed {
			t.Fatalf("cut after %d bytes: %+v, %v", cut, entries, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"step":"begin","generation":1}` + "\n" + `{"step":"commit"}`))
	f.Add([]byte("\x00\xff{}\n[]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseJournal(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		lastApply(entries)
	})
}

func TestSealerRefusesAnotherKeyAndTampering(t *testing.T) {
	s, err := newSealer(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.seal([]byte("secret"))
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("sealed %q, %v", sealed, err)
	}
	if plain, err := s.open(sealed); err != nil || string(plain) != "secret" {
		t.Errorf("opened %q, %v", plain, err)
	}
	other, err := newSealer(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.open(sealed); err == nil {
		t.Error("opened with another key")
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := s.open(sealed); err == nil {
		t.Error("opened after tampering")
	}
	if _, err := newSealer([]byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
}
