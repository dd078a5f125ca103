package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/reconciler"
)

// The corpus is of files as people write them (reference: what 226 public
// compose files use). Their images cannot be had everywhere, so one image
// stands in for all: it has every program that the files call. What else is
// changed is what this machine may not have or must not lose; see fitMachine.
const corpus = "../../desired/compose/testdata/corpus"

// chameleonImage is where the stand-in is kept on the engine while the test runs.
const chameleonImage = "fairlead-test/chameleon"

// TestCorpusConverges loads, plans and converges every file of the corpus, and
// then does nothing in a second pass.
func TestCorpusConverges(t *testing.T) {
	dirs, err := os.ReadDir(corpus)
	if err != nil || len(dirs) < 40 {
		t.Fatalf("read corpus: %d directories, %v", len(dirs), err)
	}
	specs := map[string]desired.Spec{}
	paths := map[string]bool{"/chameleon": true}
	for _, d := range dirs {
		spec := loadCorpus(t, d.Name())
		for _, s := range spec.Services {
			programs(s, paths)
		}
		specs[d.Name()] = spec
	}
	raw, err := client.NewClientWithOpts(client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	ref := chameleonImage + fmt.Sprintf(":%d", os.Getpid())
	importChameleon(t, raw, ref, paths)
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) { convergeCorpus(t, raw, specs[d.Name()], ref) })
	}
}

func loadCorpus(t *testing.T, name string) desired.Spec {
	t.Helper()
	p, err := compose.Load(desired.ComposeInput{Tree: os.DirFS(filepath.Join(corpus, name)), Dir: ".", Name: "corpus"})
	if err != nil {
		t.Fatalf("load %s: %v", name, err)
	}
	return desired.Spec{Name: "corpus", Services: p.Services, Networks: p.Networks, Volumes: p.Volumes, Files: p.Files,
		Bake: 1, AllowEmpty: true}
}

// programs collects the absolute paths, or PATH names, that a service executes.
func programs(s desired.Service, paths map[string]bool) {
	add := func(name string) {
		if !strings.HasPrefix(name, "/") {
			name = "/bin/" + name
		}
		paths[name] = true
	}
	if len(s.Entrypoint) > 0 {
		add(s.Entrypoint[0])
	} else if s.ClearEntrypoint && len(s.Command) > 0 {
		add(s.Command[0])
	}
	if h := s.Healthcheck; h != nil && len(h.Test) > 1 {
		add("/bin/sh")
		if h.Test[0] == "CMD" {
			add(h.Test[1])
		}
	}
}

// importChameleon builds the stand-in and makes an image of it under ref.
func importChameleon(t *testing.T, raw *client.Client, ref string, paths map[string]bool) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "chameleon")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", bin, "./testdata/chameleon")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	var root bytes.Buffer
	tw := tar.NewWriter(&root)
	put := func(h *tar.Header, content []byte) {
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	users := []byte("root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nnode:x:1000:1000::/:/bin/sh\n")
	groups := []byte("root:x:0:\nvideo:x:44:\nrender:x:105:\nwww-data:x:33:\nnode:x:1000:\n")
	put(&tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(users)), Typeflag: tar.TypeReg}, users)
	put(&tar.Header{Name: "etc/group", Mode: 0o644, Size: int64(len(groups)), Typeflag: tar.TypeReg}, groups)
	put(&tar.Header{Name: "chameleon", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}, program)
	for p := range paths {
		if p != "/chameleon" {
			put(&tar.Header{Name: p[1:], Linkname: "chameleon", Mode: 0o755, Typeflag: tar.TypeLink}, nil)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	body, err := raw.ImageImport(t.Context(), image.ImportSource{Source: &root, SourceName: "-"}, ref,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/chameleon"]`, "ENV PATH=/bin:/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(body); err != nil || bytes.Contains(out, []byte(`"error"`)) {
		t.Fatalf("import: %s %v", out, err)
	}
	t.Cleanup(func() {
		_, err := raw.ImageRemove(context.Background(), ref, image.RemoveOptions{Force: true})
		if err != nil {
			t.Logf("clean up: %v", err)
		}
	})
}

func convergeCorpus(t *testing.T, raw *client.Client, spec desired.Spec, ref string) {
	r := newRig(t, nil)
	spec = fitMachine(t, r, raw, spec, ref)
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	store, err := reconciler.NewStore(db, reconciler.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	source := &specSource{spec: spec, commit: "1"}
	inst := reconciler.NewInstance(reconciler.Config{
		Name: r.instance, Dir: ".", Home: filepath.Join(r.owner, "instances", r.instance), Journals: filepath.Join(r.owner, "journal"),
		Driver: r.engine, Store: store, Events: reconciler.NewEvents(store), Source: source, Load: source.load,
		Interval: 1 << 40, DeepEvery: 1 << 40, Log: quiet(),
	})
	s := inst.Once(t.Context())
	if s.Sync != reconciler.Synced || s.Health != reconciler.Healthy {
		t.Errorf("%s %s %s", s.Sync, s.Health, s.Phase)
		for _, c := range s.Conditions {
			t.Errorf("%s %s %s %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	inst.Once(t.Context())
	if records, err := inst.History(10); err != nil || len(records) != 1 {
		t.Errorf("history after a second pass: %d records, %v", len(records), err)
		for _, rec := range records {
			t.Errorf("%s %s %s %+v", rec.Kind, rec.Outcome, rec.Reason, rec.Actions)
		}
	}
}

// specSource is a repository of one revision.
type specSource struct {
	spec   desired.Spec
	commit string
}
