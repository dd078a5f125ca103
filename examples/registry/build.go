package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
)

const (
	modulePath  = "github.com/fairlead/fairlead"
	layerFormat = "1" // part of the cache key: raise it when layerFiles changes
)

// appLayer is the layer that every image shares. A failure is not remembered: the next image tries again.
func (r *Registry) appLayer(ctx context.Context) (v1.Layer, error) {
	r.layerMu.Lock()
	defer r.layerMu.Unlock()
	if r.layer != nil {
		return r.layer, nil
	}
	path, err := r.buildLayer(ctx)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("open app layer: %w", err)
	}
	r.layer = layer
	return layer, nil
}

// buildLayer makes the layer's file, or finds it made by this or another process. Processes wait for each other.
func (r *Registry) buildLayer(ctx context.Context) (string, error) {
	root, err := r.moduleRoot()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "examples", "app")
	key, err := sourceKey(source)
	if err != nil {
		return "", err
	}
	cache, err := r.cacheDir()
	if err != nil {
		return "", err
	}
	layer := filepath.Join(cache, "app-"+key+".tar.gz")
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(layer); err == nil {
		return layer, nil
	}
	return layer, compileLayer(ctx, source, layer)
}

func (r *Registry) cacheDir() (string, error) {
	dir := r.opts.Cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find cache directory (set HOME or XDG_CACHE_HOME): %w", err)
		}
		dir = filepath.Join(user, "fairlead")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	return dir, nil
}

// moduleRoot is the directory of the module's go.mod at or above the working directory.
func (r *Registry) moduleRoot() (string, error) {
	if r.opts.Source != "" {
		return r.opts.Source, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module root: %w", err)
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(data, []byte("module "+modulePath+"\n")) {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return "", fmt.Errorf("find module root: no go.mod of %s at or above the working directory: "+
			"run inside a checkout or set Options.Source", modulePath)
	}
}

// sourceKey changes with the program's sources, the Go version and the way the layer is made.
func sourceKey(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", fmt.Errorf("list %s: %w", dir, err)
	}
	sort.Strings(names)
	sum := sha256.New()
	fmt.Fprintln(sum, layerFormat, runtime.Version(), runtime.GOARCH)
	used := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read source: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(name), len(data))
		_, _ = sum.Write(data) // a hash never fails to write
		used++
	}
	if used == 0 {
		return "", fmt.Errorf("find sources of examples/app: no Go file in %s", dir)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// lock holds name exclusively among processes until the returned function is called.
func lock(name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock build cache: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock build cache %s: %w", name, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing releases the lock
}

// compileLayer builds the static binary and writes the layer that carries it.
func compileLayer(ctx context.Context, source, layer string) error {
	tmp, err := os.MkdirTemp("", "fairlead-app-")
	if err != nil {
		return fmt.Errorf("make build directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // a left-over temporary directory is not worth a failure
	binary := filepath.Join(tmp, "app")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build examples/app: %w\n%s", err, out)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read built app: %w", err)
	}
	packed, err := packLayer(program)
	if err != nil {
		return fmt.Errorf("pack app layer: %w", err)
	}
	return writeFile(layer, bytes.NewReader(packed))
}

// layerFiles is the image's file system: what a program FROM scratch still expects to find.
func layerFiles(program []byte) []layerFile {
	return []layerFile{
		{name: "app", mode: 0o755, data: program},
		{name: "config/", mode: 0o755},
		{name: "data/", mode: 0o1777},
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\napp:x:1000:\n")},
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/:/app\napp:x:1000:1000:app:/data:/app\n")},
		{name: "tmp/", mode: 0o1777},
	}
}

type layerFile struct {
	name string
	mode int64
	data []byte
}

func packLayer(program []byte) ([]byte, error) {
	var buf bytes.Buffer
	zip, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	tw := tar.NewWriter(zip)
	for _, f := range layerFiles(program) {
		if err := addFile(tw, f); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(tw.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func addFile(tw *tar.Writer, f layerFile) error {
	h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: imageTime, Typeflag: tar.TypeReg}
	if strings.HasSuffix(f.name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(tw, bytes.NewReader(f.data))
	return err
}
