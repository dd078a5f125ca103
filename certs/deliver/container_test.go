package deliver_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler/docker"
)

// engine is the real one, with an image that has a Caddy in it and nothing else.
type engine struct {
	testing.TB
	raw             *client.Client
	driver          *docker.Engine
	owner, instance string
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	e := &engine{TB: t, owner: t.TempDir(), instance: fmt.Sprintf("fldv%08x", rand.Uint32())}
	var err error
	e.raw, err = client.NewClientWithOpts(client.WithHost(docker.DefaultHost), client.WithAPIVersionNegotiation())
	must(t, err)
	t.Cleanup(func() { must(t, e.raw.Close()) })
	e.driver, err = docker.New(docker.Options{Owner: e.owner})
	must(t, err)
	body, err := e.raw.ImageImport(t.Context(), image.ImportSource{Source: archive(t, caddy(t)), SourceName: "-"}, e.instance, image.ImportOptions{})
	must(t, err)
	_, err = io.Copy(io.Discard, body)
	must(t, errors.Join(err, body.Close()))
	t.Cleanup(func() {
		_, err := e.raw.ImageRemove(context.Background(), e.instance, image.RemoveOptions{})
		must(t, err)
	})
	return e
}

// archive is a file system with one program and directories to write to.
func archive(t testing.TB, program string) io.Reader {
	t.Helper()
	f, err := os.Open(program)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() }) // only read from
	info, err := f.Stat()
	must(t, err)
	var head, tail bytes.Buffer
	w := tar.NewWriter(&head)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}))
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "caddy", Mode: 0o755, Size: info.Size()}))
	tail.Write(make([]byte, (512-info.Size()%512)%512+1024)) // to the end of a block, and two empty ones
	return io.MultiReader(&head, f, &tail)
}

// run starts a Caddy as a service's container, as the driver would make it.
func (e *engine) run(service, caddyfile string, binds ...string) {
	e.Helper()
	name := e.instance + "-" + service + "-1"
	made, err := e.raw.ContainerCreate(e.Context(), &container.Config{
		Image: e.instance, Cmd: []string{"/caddy", "run", "--config", "/etc/caddy/Caddyfile"}, Env: []string{"HOME=/tmp"},
		Labels: map[string]string{"fairlead.owner": e.owner, "fairlead.instance": e.instance, "fairlead.service": service,
			"fairlead.replica": "1", "fairlead.name": name},
	}, &container.HostConfig{Binds: append(binds, caddyfile+":/etc/caddy/Caddyfile:ro")}, nil, nil, name)
	must(e, err)
	e.Cleanup(func() {
		must(e, e.raw.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true}))
	})
	must(e, e.raw.ContainerStart(e.Context(), made.ID, container.StartOptions{}))
}

// A Caddy in a container gets its pair through a mount of the directory. One
// that has the files mounted keeps the old pair for ever, whatever it is told,
// and that is found out.
func TestCaddyInContainers(t *testing.T) {
	e := newEngine(t)
	s := newStage(t)
	config := s.file(t, strings.NewReplacer("127.0.0.1:ADMIN", ":2019", "DIR/", "/tls/", ":HTTPS", ":443", "\tbind 127.0.0.1\n", "").Replace(caddyfile))
	e.run("good", config, s.dir+":/tls:ro")
	e.run("bad", config, filepath.Join(s.dir, "fullchain.pem")+":/tls/fullchain.pem:ro", filepath.Join(s.dir, "privkey.pem")+":/tls/privkey.pem:ro")
	d := deliver.New(deliver.Options{Servers: e.driver})
	want := to(s.dir)
	send := func(r desired.Reloader, p pair.Pair) deliver.Outcome {
		t.Helper()
		want.Reload = []desired.Reloader{r}
		out := d.Deliver(t.Context(), e.instance, want, p)
		proved(t, out[0])
		return out[1]
	}
	bySignal := func(service string, within time.Duration) desired.Reloader {
		return desired.Reloader{Service: service, Signal: "SIGUSR1", Within: within}
	}
	for _, service := range []string{"good", "bad"} { // both have what was there when they started
		proved(t, send(bySignal(service, 30*time.Second), s.first))
	}
	second := fresh(t)
	o := send(bySignal("good", 30*time.Second), second)
	proved(t, o)
	if !o.Changed {
		t.Error("it was not told")
	}
	fails(t, send(bySignal("bad", 2*time.Second), second), "serves "+pair.Fingerprint(s.first.Leaf())[:23], "mount the directory")
	third := fresh(t)
	proved(t, send(desired.Reloader{Service: "good", Caddy: ":2019", Within: 30 * time.Second}, third))
	fails(t, send(desired.Reloader{Service: "none", Signal: "SIGUSR1"}, third), "no container of it is running")
}
