// Package docker is the driver for a Docker engine, versions 20.10 to 29. It
// maps desired values to what the Docker API takes, looks at what is there,
// and takes one step after the other until both agree. It is the only package
// that may import the Docker client; it decides nothing about revisions,
// generations or when to act.
package docker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"
	"github.com/docker/go-connections/sockets"
	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
)

// DefaultHost is where an engine listens unless told otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// How long a call may take. What needs longer (a stop with its grace, a pull)
// has its own limit.
const (
	readTimeout  = 30 * time.Second
	writeTimeout = 2 * time.Minute
)

// Options say which engine to drive and for whom.
type Options struct {
	// Host is the engine's address, unix:// or tcp://; empty is DefaultHost.
	Host string
	// CertDir holds ca.pem, and cert.pem with key.pem where the engine asks for
	// them: a tcp:// engine is then reached by TLS. Empty: without.
	CertDir string
	// Owner is written on everything that is made and must be on everything
	// that is touched: the data directory's path.
	Owner string
	Log   *logrus.Entry // nil: nothing is logged
	// Memory keeps what must survive a restart of the daemon; nil keeps it in
	// memory only.
	Memory Memory
	// Keep returns the images (IDs, references or digests) that a clean-up
	// must leave; nil: no clean-up when the disk is short.
	Keep func(context.Context) (map[string]bool, error)
	// MinFree is how many bytes must be free under the engine's root before a
	// pull; below it unprotected images are removed first. Zero: 1 GiB.
	MinFree uint64
	// Wrap is put around the transport to the engine, to count or fail calls.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Engine drives one Docker engine for one owner. It may be used from several
// goroutines.
type Engine struct {
	opts   Options
	log    *logrus.Entry
	lists  *batcher
	notes  *notebook
	wakers wakers
	// lockLimit is how long a process, or a lock of it, may outlive the stop of
	// its container.
	lockLimit time.Duration
	toldLimit time.Duration // see toldLimit

	mu  sync.Mutex
	cli *client.Client
	// made are the containers that this process made, by ID, and making the
	// names whose creation was not answered: both are known to be ours though
	// they are not remembered yet.
	made   map[string]bool
	making map[string]bool
	// prepared are the images of each instance's last Prepare: between it and
	// the first container they are in no generation that a clean-up knows.
	prepared map[string]map[string]bool
	// whose maps container IDs to instances, for events that carry no labels.
	whose map[string]string
}

var _ reconciler.Driver = (*Engine)(nil)

// New returns an Engine without talking to it. An error means that the host
// is not an address.
func New(opts Options) (*Engine, error) {
	if opts.Host == "" {
		opts.Host = DefaultHost
	}
	if opts.Owner == "" {
		return nil, fmt.Errorf("set up docker driver: no owner given")
	}
	if opts.Memory == nil {
		opts.Memory = NewMemory()
	}
	if opts.MinFree == 0 {
		opts.MinFree = 1 << 30
	}
	log := opts.Log
	if log == nil {
		silent := logrus.New()
		silent.SetLevel(logrus.PanicLevel)
		log = logrus.NewEntry(silent)
	}
	e := &Engine{
		opts: opts, log: log, notes: newNotebook(opts.Memory), lockLimit: lockLimit, toldLimit: toldLimit,
		made: map[string]bool{}, making: map[string]bool{}, whose: map[string]string{},
		prepared: map[string]map[string]bool{},
	}
	e.lists = newBatcher(e.listOwned)
	var err error
	e.cli, err = dial(opts)
	return e, err
}

// dial makes a client; the connection is made by its first call.
func dial(opts Options) (*client.Client, error) {
	u, err := client.ParseHostURL(opts.Host)
	if err != nil {
		return nil, fmt.Errorf("set up docker driver: %w", err)
	}
	tr := &http.Transport{MaxIdleConns: 32, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second}
	addr := u.Host
	if u.Scheme == "unix" {
		addr = strings.TrimPrefix(opts.Host, "unix://")
	}
	if err := sockets.ConfigureTransport(tr, u.Scheme, addr); err != nil {
		return nil, fmt.Errorf("set up docker driver: %s: %w", opts.Host, err)
	}
	scheme := "http"
	if opts.CertDir != "" {
		if u.Scheme != "tcp" {
			return nil, fmt.Errorf("set up docker driver: %s: certificates are for tcp:// only", opts.Host)
		}
		scheme, tr.Proxy = "https", nil // a proxy would be spoken to before the engine is known
		tr.DialTLSContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return dialTLS(ctx, opts.CertDir, addr) }
	}
	var rt http.RoundTripper = tr
	if opts.Wrap != nil {
		rt = opts.Wrap(tr)
	}
	hc := &http.Client{Transport: rt, CheckRedirect: client.CheckRedirect}
	cli, err := client.NewClientWithOpts(client.WithHost(opts.Host), client.WithHTTPClient(hc), client.WithScheme(scheme), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("set up docker driver: %w", err)
	}
	return cli, nil
}

// api is the client as it is now.
func (e *Engine) api() *client.Client {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cli
}

// redial forgets the negotiated API version. An engine that was upgraded under
// a running daemon may refuse the old one (engine 29 does below 1.44).
func (e *Engine) redial() {
	cli, err := dial(e.opts)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cli = cli
}

// version returns the negotiated API version. The first call asks the engine.
func (e *Engine) version(ctx context.Context) (string, error) {
	cli := e.api()
	if err := call(ctx, readTimeout, func(ctx context.Context) error {
		return cli.NewVersionError(ctx, "1.24", "any")
	}); err != nil {
		return "", e.fail(err, "ask engine for its version")
	}
	return cli.ClientVersion(), nil
}

// call runs one API call with a limit of time.
func call(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

func (e *Engine) markMade(id, instance string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.made[id], e.whose[id] = true, instance
}

func (e *Engine) isMade(id, name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.made[id] || e.making[name]
}

// announce notes that a container of this name is about to be made; an answer
// that is lost leaves the note.
func (e *Engine) announce(name string, making bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if making {
		e.making[name] = true
	} else {
		delete(e.making, name)
	}
}
