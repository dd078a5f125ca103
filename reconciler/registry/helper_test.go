package registry_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

// serve starts a registry that has app:stable.
func serve(t *testing.T, o registry.Options) (r *registry.Registry, ref, digest string) {
	t.Helper()
	r = registry.TestWith(t, o)
	ref, digest = push(t, r, "stable", "1")
	return r, ref, digest
}

func push(t *testing.T, r *registry.Registry, tag, build string) (ref, digest string) {
	t.Helper()
	ref, digest, err := r.Push(t.Context(), "app", tag, registry.App{Empty: true, Build: build})
	if err != nil {
		t.Fatal(err)
	}
	return ref, digest
}

// ask resolves and expects a digest.
func ask(t *testing.T, c *client.Client, ref string, a reconciler.Ask) reconciler.Release {
	t.Helper()
	got, err := c.Release(t.Context(), ref, a)
	if err != nil {
		t.Fatalf("resolve %s: %v", ref, err)
	}
	return got
}

func fresh(t *testing.T, c *client.Client, ref string) reconciler.Release {
	t.Helper()
	return ask(t, c, ref, reconciler.Ask{Fresh: true})
}

// fails resolves and expects an error that says all of the words.
func fails(t *testing.T, c *client.Client, ref string, words ...string) error {
	t.Helper()
	got, err := c.Release(t.Context(), ref, reconciler.Ask{Fresh: true})
	if err == nil {
		t.Fatalf("%s means %+v", ref, got)
	}
	says(t, err, words...)
	return err
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 900 {
		t.Errorf("error is long or has lines: %q", err)
	}
}

func means(t *testing.T, got reconciler.Release, digest string) {
	t.Helper()
	if !strings.HasSuffix(got.Digest, "/app@"+digest) {
		t.Errorf("it means %q, want %s", got.Digest, digest)
	}
}

// manifests counts the questions what a tag means.
func manifests(r *registry.Registry, tag string) int {
	n := 0
	for _, req := range r.Requests() {
		if req.Method == "HEAD" && strings.HasSuffix(req.Path, "/manifests/"+tag) {
			n++
		}
	}
	return n
}

// memory is a Memory that a test can look into and break.
type memory struct {
	mu   sync.Mutex
	m    map[string][]byte
	puts int
}

func newMemory() *memory { return &memory{m: map[string][]byte{}} }

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]byte(nil), m.m[key]...), nil
}

func (m *memory) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m[key], m.puts = append([]byte(nil), value...), m.puts+1
	return nil
}

// login is a keychain with one login for every registry.
type login struct{ user, password string }

func (l login) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: l.user, Password: l.password}, nil
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func here() string { return "linux/" + runtime.GOARCH }
