// Package examples_test loads every example with the real loader, as fairlead
// validate does.
package examples_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
)

var update = flag.Bool("update", false, "write error.golden files anew")

func load(t *testing.T, tree fs.FS, dir, root string) (desired.Spec, error) {
	t.Helper()
	return desired.Load(desired.Input{Tree: tree, Dir: dir, RootName: root, Compose: compose.Load, Signers: git.CheckSigners})
}

func TestMinimal(t *testing.T) {
	s, err := load(t, os.DirFS("."), "minimal", "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "minimal" || len(s.Services) != 1 || s.Services["web"].Image != "127.0.0.1:5055/app:1" || s.Services["web"].Ports[0].Target != 8000 {
		t.Errorf("got %+v", s)
	}
}

func TestMulti(t *testing.T) {
	tree := os.DirFS("multi")
	dirs, err := desired.Discover(tree, nil)
	if err != nil || !slices.Equal(dirs, []string{"instances/acme", "instances/globex"}) {
		t.Fatalf("found %v, %v", dirs, err)
	}
	acme, err := load(t, tree, dirs[0], "")
	if err != nil {
		t.Fatal(err)
	}
	app := acme.Services["app"]
	if app.Environment["CUSTOMER"] != "Acme" || app.Resources.Memory != 256<<20 || app.Mounts[0].Type != desired.MountTracked || !acme.Services["nightly"].Job {
		t.Errorf("acme: %+v", app)
	}
	globex, err := load(t, tree, dirs[1], "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"app", "gate"} {
		if got := globex.Services[name].Image; got != "127.0.0.1:5055/fleet/app:stable-2026.04.3" {
			t.Errorf("globex %s has image %s", name, got)
		}
	}
	if got := globex.Services["gate"].Ports[0].Published; got != "8082" || globex.RetainGenerations != 5 {
		t.Errorf("globex: port %s, %d generations", got, globex.RetainGenerations)
	}
}

func TestAgnes(t *testing.T) {
	s, err := load(t, os.DirFS("."), "agnes", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ServiceNames(); !slices.Equal(got, []string{"app", "caddy", "scheduler"}) {
		t.Errorf("services are %v", got)
	}
	app, caddy := s.Services["app"], s.Services["caddy"]
	if app.Image != "127.0.0.1:5055/agnes:stable-2026.04.3" || caddy.Image != "127.0.0.1:5055/proxy:2" {
		t.Errorf("images %s, %s", app.Image, caddy.Image)
	}
	if len(app.Ports) != 0 || len(caddy.Ports) != 1 || app.Environment["SERVER_URL"] != "https://data.example.com" {
		t.Errorf("app %+v, caddy %+v", app, caddy)
	}
	if got := s.Volumes["data"].DriverOpts["device"]; got != "/srv/agnes-data" {
		t.Errorf("the data volume is on %q", got)
	}
	want := desired.Dependency{Service: "app", Condition: desired.Healthy, Required: true}
	if got := s.Services["scheduler"].DependsOn; len(got) != 1 || got[0] != want {
		t.Errorf("the scheduler waits for %+v", got)
	}
}

// TestInvalid compares what is said about each broken example with its
// error.golden, which -update writes.
func TestInvalid(t *testing.T) {
	entries, err := os.ReadDir("invalid")
	if err != nil || len(entries) < 13 {
		t.Fatalf("found %d cases: %v", len(entries), err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir := filepath.Join("invalid", e.Name())
			_, err := load(t, os.DirFS(dir), ".", e.Name())
			var problems desired.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want problems", err)
			}
			for _, p := range problems {
				if p.File == "" || p.Text == "" || strings.Contains(p.String(), "\n") {
					t.Errorf("a problem without place or text: %+v", p)
				}
			}
			compare(t, filepath.Join(dir, "error.golden"), problems.Error()+"\n")
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v): go test ./examples -update writes it\ngot:\n%swant:\n%s", file, err, got, want)
	}
}

// Every right example says in the first line of its files what it shows.
func TestHeaders(t *testing.T) {
	seen := 0
	for _, dir := range []string{"minimal", "multi", "agnes", "channel", "connectors"} {
		err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".yaml" {
				return err
			}
			seen++
			data, err := os.ReadFile(name)
			if err == nil && !strings.HasPrefix(string(data), "# ") {
				t.Errorf("%s has no comment at its head", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 10 {
		t.Errorf("only %d files", seen)
	}
}
