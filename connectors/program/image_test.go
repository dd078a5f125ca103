package program_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/docker/docker/api/types/image"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
)

// ordersImage pushes an image FROM scratch whose program leaves orders.csv.
func (r *rig) ordersImage(reg *registry.Registry, config v1.Config) string {
	r.Helper()
	binary := filepath.Join(r.TempDir(), "orders")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./testdata/orders")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		r.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(binary)
	r.check(err)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		data []byte
	}{{"orders", data}, {"etc/passwd", []byte("root:x:0:0::/:\nshop:x:1234:1235::/:\n")}, {"etc/group", []byte("root:x:0:\nsales:x:1300:\n")}} {
		r.check(w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.data))}))
		_, err := w.Write(f.data)
		r.check(err)
	}
	r.check(w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	r.check(err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	r.check(err)
	file, err := img.ConfigFile()
	r.check(err)
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = "amd64", "linux", config
	img, err = mutate.ConfigFile(img, file)
	r.check(err)
	ref := reg.Ref("fldt/orders", r.instance)
	tag, err := name.NewTag(ref, name.Insecure)
	r.check(err)
	r.check(remote.Write(tag, img, remote.WithTransport(http.DefaultTransport)))
	r.Cleanup(func() {
		_, _ = r.raw.ImageRemove(context.Background(), ref, image.RemoveOptions{}) // it was not pulled in each test
	})
	return ref
}

func TestAnImageOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg, err := registry.Start(registry.Options{})
	r.check(err)
	defer reg.Close()
	ref := r.ordersImage(reg, v1.Config{Entrypoint: []string{"/orders"}, User: "shop"})
	r.good(desired.ProgramSource{Image: ref})
	if len(reg.Requests()) == 0 {
		t.Error("the image was not pulled")
	}
	reg.ResetRequests()
	for _, c := range []struct{ user, says string }{{"", "1234"}, {"0", "0"}, {"77:sales", "77"}, {"root", "0"}} {
		res := r.good(desired.ProgramSource{Image: ref, User: c.user})
		if got := res.log.String(); got != "writing orders as "+c.says+"\n" {
			t.Errorf("user %q: %s", c.user, got)
		}
		if len(res.Tables) != 1 || res.Tables[0].Table != "orders" {
			t.Errorf("tables: %v", res.Tables)
		}
	}
	if asked := reg.Requests(); len(asked) > 0 {
		t.Errorf("the registry was asked again: %v", asked)
	}
	if res := r.bad(desired.ProgramSource{Image: ref, User: "nobody"}, "no such user"); !reconciler.IsTerminal(res.err) {
		t.Error("a user that is not there is tried again")
	}
}

func TestAnImageThatIsNotToBeHad(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg, err := registry.Start(registry.Options{})
	r.check(err)
	defer reg.Close()
	res := r.bad(desired.ProgramSource{Image: reg.Ref("fldt/none", "1")}, "has no such image")
	if reconciler.IsTerminal(res.err) {
		t.Error("it is not tried again, though images get pushed")
	}
}

func TestAnImageWithoutACommand(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reg, err := registry.Start(registry.Options{})
	r.check(err)
	defer reg.Close()
	ref := r.ordersImage(reg, v1.Config{})
	r.bad(desired.ProgramSource{Image: ref}, "no command of its own", "ENTRYPOINT")
	r.good(desired.ProgramSource{Image: ref, Run: []string{"/orders"}})
}
