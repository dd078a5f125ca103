package starter_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors/starter"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
)

const name = "acme_shop"

// kinds are all starters there are, by what ConnectorSpec.Kind says of them.
func kinds() map[string][2]string {
	all := map[string][2]string{"program": {"a", ""}, "container": {"b", ""}}
	for _, s := range starter.Sources() {
		all[s] = [2]string{"c", s}
	}
	return all
}

func instance(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "instance.yaml"), []byte("apiVersion: fairlead/v1\nname: acme\nallowEmpty: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), "connectors", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestStartersAreValid(t *testing.T) {
	for kind, c := range kinds() {
		dir := instance(t)
		written, err := starter.Write(dir, name, c[0], c[1])
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		there := files(t, dir)
		slices.Sort(written)
		if slices.Sort(there); !slices.Equal(written, there) {
			t.Errorf("%s: said %v, wrote %v", kind, written, there)
		}
		for _, f := range there {
			data, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil || strings.Contains(string(data), "__NAME__") {
				t.Errorf("%s: %s: %v\n%s", kind, f, err, data)
			}
		}
		spec, err := desired.Load(desired.Input{Tree: os.DirFS(dir), Dir: ".", AnyHost: true, Compose: compose.Load})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		} else if got := spec.Connectors[name].Kind(); len(spec.Connectors) != 1 || got != kind {
			t.Errorf("%s: it is %s", kind, got)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	for _, there := range []string{name + ".yaml", name + ".yml", "Acme_Shop/x"} {
		for kind, c := range kinds() {
			dir := instance(t)
			file := filepath.Join(dir, "connectors", there)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			if written, err := starter.Write(dir, name, c[0], c[1]); err == nil || !strings.Contains(err.Error(), "there already") {
				t.Errorf("%s over %s: %v, %v", kind, there, written, err)
			}
			if all := files(t, dir); len(all) != 1 {
				t.Errorf("%s over %s: %v", kind, there, all)
			}
		}
	}
}

func TestWhatThereIsNoStarterFor(t *testing.T) {
	dir := instance(t)
	for _, c := range []struct{ name, tier, source, want string }{
		{"../x", "a", "", "is no name"}, {"a-b", "a", "", "is no name"}, {"", "b", "", "is no name"},
		{"x", "d", "", "is no tier"}, {"x", "c", "", "no built-in source"}, {"x", "c", "oracle", "no built-in source"},
		{"x", "a", "files", "a source is of tier c"},
	} {
		if _, err := starter.Write(dir, c.name, c.tier, c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := starter.Write(filepath.Join(dir, "none"), "x", "a", ""); err == nil {
		t.Error("a directory that is not there is no error")
	}
	// A link out of the instance's directory is not followed.
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "connectors")); err != nil {
		t.Fatal(err)
	}
	if _, err := starter.Write(dir, "x", "a", ""); err == nil {
		t.Error("a link was followed")
	}
}

// The programs work as they are, and the one of tier a goes on from its state.
func TestStartersRun(t *testing.T) {
	run := func(dir, program string, state []byte) (out string) {
		t.Helper()
		out = t.TempDir()
		file := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(file, state, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("python3", filepath.Join(dir, "connectors", name, program))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FAIRLEAD_OUT=" + out, "FAIRLEAD_STATE=" + file, "WAREHOUSES=north,south"}
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return out
	}
	read := func(out, name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	dir := instance(t)
	if _, err := starter.Write(dir, name, "a", ""); err != nil {
		t.Fatal(err)
	}
	first := run(dir, "extractor.py", []byte("{}"))
	if got := strings.Count(read(first, "orders.csv"), "\n"); got != 4 {
		t.Errorf("%d lines at first", got)
	}
	second := run(dir, "extractor.py", []byte(read(first, "_state.json")))
	if got := strings.TrimSpace(read(second, "orders.csv")); got != "id,placed_at,amount,currency" {
		t.Errorf("the second time: %q", got)
	}
	for _, f := range []string{"_meta.json", "_state.json"} {
		if !json.Valid([]byte(read(second, f))) {
			t.Errorf("%s is no JSON", f)
		}
	}
	dir = instance(t)
	if _, err := starter.Write(dir, name, "b", ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(read(run(dir, "main.py", nil), "stock.ndjson"), "\n"); got != 3 {
		t.Errorf("%d rows of stock", got)
	}
}

// The page for authors shows what is written, word for word.
func TestTheDocumentShowsTheStarters(t *testing.T) {
	doc, err := os.ReadFile("../../docs/connectors.md")
	if err != nil {
		t.Fatal(err)
	}
	for example, c := range map[string][2]string{"shop": {"a", ""}, "stock": {"b", ""}, "exports": {"c", "files"}} {
		dir := instance(t)
		if _, err := starter.Write(dir, example, c[0], c[1]); err != nil {
			t.Fatal(err)
		}
		for _, f := range files(t, dir) {
			content, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil || !strings.Contains(string(doc), "\n"+string(content)+"```\n") {
				t.Errorf("docs/connectors.md does not show %s as it is: %v", f, err)
			}
		}
	}
}
