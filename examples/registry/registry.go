// Package registry serves a real OCI registry on loopback and fills it with images of examples/app, so that the demo,
// the benchmarks and the tests pull over HTTP what an engine would pull from anywhere else. Registry protocol and image
// making live here, and the faults that a registry can have; nothing here talks to an engine except Forget. Not for
// production: the daemon never imports it.
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options say where and how to serve. The zero value serves from memory on a free port of 127.0.0.1.
type Options struct {
	Addr       string                          // "127.0.0.1:0" when empty; port 0 picks a free one
	Dir        string                          // keeps blobs and manifests here over restarts; in memory when empty
	Source     string                          // the module's root, to build examples/app; found from the working directory when empty
	Cache      string                          // where the built binary is kept; os.UserCacheDir()/fairlead when empty
	Log        io.Writer                       // one line a request; discarded when nil
	Username   string                          // with Password: basic authentication is required when set
	Password   string                          //
	Token      bool                            // bearer tokens from /token in place of basic authentication
	TLS        bool                            // serves HTTPS with a certificate of an authority of its own, see CA
	Middleware func(http.Handler) http.Handler // outermost, sees every request; for faults that Fault cannot say
}

// Registry is a running registry. Its methods may be called from several goroutines.
type Registry struct {
	opts   Options
	addr   string
	server *http.Server
	served chan struct{} // closed when the server has stopped

	handler http.Handler // below middleware and faults
	faults  faults
	log     requestLog

	ca    []byte // PEM; nil without TLS
	token string // what Token hands out

	layerMu sync.Mutex
	layer   v1.Layer // every image's first layer; nil until the first image, or when building it failed
}

// Start listens and serves until Close. It returns an error when the address is taken or Dir cannot be used.
func Start(opts Options) (*Registry, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	r := &Registry{opts: opts, served: make(chan struct{}), token: "token-" + rand.Text()}
	if err := r.open(); err != nil {
		return nil, err
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for registry on %s: %w", opts.Addr, err)
	}
	r.addr = ln.Addr().String()
	r.server = &http.Server{Handler: r.outer(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: r.logger()}
	if opts.TLS {
		if ln, err = r.secure(ln); err != nil {
			return nil, err
		}
	}
	go func() {
		defer close(r.served)
		_ = r.server.Serve(ln) // always ErrServerClosed once Close has run
	}()
	return r, nil
}

// open makes the protocol handler, with what Dir remembers when there is one.
func (r *Registry) open() error {
	options := []ggcr.Option{ggcr.Logger(r.logger())}
	if r.opts.Dir == "" {
		r.handler = ggcr.New(options...)
		return nil
	}
	blobs := filepath.Join(r.opts.Dir, "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return fmt.Errorf("make registry directory: %w", err)
	}
	inner := ggcr.New(append(options, ggcr.WithBlobHandler(ggcr.NewDiskBlobHandler(blobs)))...)
	kept := manifestStore{dir: filepath.Join(r.opts.Dir, "manifests")}
	if err := kept.replay(inner); err != nil {
		return err
	}
	r.handler = kept.keeping(inner)
	return nil
}

// outer puts log, middleware, faults and authentication around the protocol handler, in this order from outside.
func (r *Registry) outer() http.Handler {
	h := r.faults.wrap(r.authenticate(r.handler))
	if r.opts.Middleware != nil {
		h = r.opts.Middleware(h)
	}
	return r.log.wrap(h)
}

func (r *Registry) authenticate(next http.Handler) http.Handler {
	if r.opts.Username == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case r.opts.Token && req.URL.Path == "/token":
			r.serveToken(w, req)
		case r.opts.Token && req.Header.Get("Authorization") != "Bearer "+r.token && !r.isLogin(req):
			r.demandToken(w, req)
		case !r.opts.Token && !r.isLogin(req):
			writeStatus(w, http.StatusUnauthorized, 0)
		default:
			next.ServeHTTP(w, req)
		}
	})
}

func (r *Registry) logger() *log.Logger {
	out := r.opts.Log
	if out == nil {
		out = io.Discard
	}
	return log.New(out, "registry: ", log.LstdFlags|log.LUTC|log.Lmsgprefix)
}

// Addr is the address served, "127.0.0.1:PORT".
func (r *Registry) Addr() string { return r.addr }

// Ref is the image reference of repo:tag here, "127.0.0.1:PORT/repo:tag". It need not have been pushed.
func (r *Registry) Ref(repo, tag string) string { return r.addr + "/" + repo + ":" + tag }

// RefDigest is the image reference of repo@digest here.
func (r *Registry) RefDigest(repo, digest string) string { return r.addr + "/" + repo + "@" + digest }

// Close stops serving at once, cutting requests in flight, and waits until the port is free. It may be called twice.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.served
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close registry %s: %w", r.addr, err)
	}
	return nil
}

// Request is one request that the registry has seen.
type Request struct {
	Method string
	Path   string
}

const maxRequests = 100_000 // enough for every test, and a bound for a demo left running

// requestLog remembers the last requests, for tests that say "nothing was pulled".
type requestLog struct {
	mu  sync.Mutex
	all []Request
}

func (l *requestLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		l.add(Request{Method: req.Method, Path: req.URL.Path})
		next.ServeHTTP(w, req)
	})
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == maxRequests {
		l.all = slices.Delete(l.all, 0, maxRequests/2)
	}
	l.all = append(l.all, r)
}

// Requests are the requests seen over the network so far, oldest first; Push is not among them. Only the last are kept
// when there are very many.
func (r *Registry) Requests() []Request {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return slices.Clone(r.log.all)
}

// ResetRequests forgets the requests seen so far.
func (r *Registry) ResetRequests() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.all = nil
}
