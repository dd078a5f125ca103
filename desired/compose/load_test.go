package compose

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

// TestInvalid holds what is said about wrong files against the golden text.
func TestInvalid(t *testing.T) {
	dirs, err := filepath.Glob("testdata/invalid/*")
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d directories: %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			_, err := Load(desired.ComposeInput{Tree: os.DirFS(dir), Dir: "inst", Name: "acme"})
			var ps desired.Problems
			if !errors.As(err, &ps) {
				t.Fatalf("got %v, want problems", err)
			}
			for _, p := range ps {
				if p.File == "" || strings.Contains(p.String(), os.TempDir()) || strings.Contains(p.String(), virtualRoot) {
					t.Errorf("bad problem: %s", p)
				}
			}
			golden(t, filepath.Join(dir, "want.txt"), ps.Error()+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
