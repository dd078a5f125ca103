// Package registry says what image references mean in their registries now. It
// implements reconciler.Releases over the OCI distribution protocol: one
// question a reference however many instances ask, credentials, certificates,
// mirrors, limits, and a memory over restarts. Nothing is pulled here, no engine
// is known, and when to move to what was found is decided by others.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
)

const (
	defaultTimeout = 15 * time.Second
	defaultEvery   = 5 * time.Minute
	minEvery       = 5 * time.Second
	maxEvery       = time.Hour // deprecations are looked up with each question
	interestLasts  = 15 * time.Minute
	maxEntries     = 2000
)

// Options say how registries are asked. The zero value asks as Docker does.
type Options struct {
	Platform string              // "os/arch[/variant]" when a question names none; empty: what Engine says
	Memory   Memory              // keeps what is known over restarts; nil: forgets
	Changed  func(ref string)    // called when a reference means something else, or its registry is lost or back; must not block
	Timeout  time.Duration       // of one question; 15 s when 0
	Every    time.Duration       // when a question does not say; 5 min when 0
	CAFile   string              // PEM bundle, beside the system's
	CertsDir string              // HOST/*.crt, *.cert and *.key as Docker has them; empty: /etc/docker/certs.d
	Insecure []string            // hosts, with port, that may be asked by plain HTTP; loopback always may
	Mirrors  map[string][]string // by registry host: base URLs, asked in order (docs/registries.md says for what)
	Log      *logrus.Entry       // nil: silent

	// Engine says what platform the engine runs on; nil: linux on this processor.
	Engine func(context.Context) (string, error)

	Keychain  authn.Keychain    // nil: the Docker config file
	Transport http.RoundTripper // nil: TCP and TLS
}

// Client asks registries. Its methods may be called from several goroutines.
type Client struct {
	opts    Options
	notes   *notebook
	machine machine
	running atomic.Bool
	kick    chan struct{}

	mu      sync.Mutex
	entries map[string]*entry

	hosts    hosts
	sessions sessions
	catalogs catalogs
}

var _ reconciler.Releases = (*Client)(nil)

// New returns a client. It does no I/O.
func New(o Options) *Client {
	if platform := o.Platform; platform != "" {
		o.Engine = func(context.Context) (string, error) { return platform, nil }
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	if o.CertsDir == "" {
		o.CertsDir = "/etc/docker/certs.d"
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Memory == nil {
		o.Memory = nothing{}
	}
	return &Client{opts: o, notes: &notebook{mem: o.Memory, log: o.Log}, machine: machine{ask: o.Engine},
		kick: make(chan struct{}, 1), entries: map[string]*entry{}}
}

// Release implements reconciler.Releases. A reference that is none is Terminal;
// RetryAfter is a registry that limits; everything else may mend by itself.
func (c *Client) Release(ctx context.Context, ref string, ask reconciler.Ask) (reconciler.Release, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return reconciler.Release{}, reconciler.Terminal(fmt.Errorf("resolve %.200q: it is no image reference; write REPOSITORY:TAG or REPOSITORY@sha256:…", ref))
	}
	tag, ok := parsed.(name.Tag)
	if !ok {
		return c.pinned(ctx, ref, parsed, ask), nil
	}
	switch {
	case ask.Platform != "":
	case ask.Known:
		ask.Platform = c.machine.known()
	default:
		ask.Platform = c.machine.platform(ctx)
	}
	if ask.Every <= 0 {
		ask.Every = c.opts.Every
	}
	e, err := c.entry(tag)
	if err != nil {
		return reconciler.Release{}, err
	}
	if ask.Known {
		r, _, _ := e.known(ref, ask.Platform, time.Now())
		return r, nil
	}
	if e.want(ref, ask, time.Now()) {
		c.nudge()
	}
	return c.answer(ctx, e, ref, ask)
}

func (c *Client) answer(ctx context.Context, e *entry, ref string, ask reconciler.Ask) (reconciler.Release, error) {
	before := e.answers()
	if r, err, enough := e.known(ref, ask.Platform, time.Now()); enough && !ask.Fresh {
		return r, err
	}
	wait, cancel := context.WithTimeout(ctx, c.opts.Timeout+time.Second) // the question's own limit says more
	defer cancel()
	for range 3 { // a question that was under way may not have been about this platform
		f := c.join(e, ask.Fresh, before)
		late := c.leave(e, f, f.wait(wait))
		before = e.answers()
		r, err, enough := e.known(ref, ask.Platform, time.Now())
		switch {
		case late != nil && ctx.Err() != nil:
			return reconciler.Release{}, fmt.Errorf("resolve %s: %w", ref, ctx.Err())
		case late != nil && r.Digest == "":
			return r, fmt.Errorf("resolve %s: %s did not answer within %s", ref, e.tag.RegistryStr(), c.opts.Timeout)
		case late != nil && r.Err == nil: // what is known was not asked again
			r.Err, r.Since = fmt.Errorf("resolve %s: %s did not answer within %s", ref, e.tag.RegistryStr(), c.opts.Timeout), time.Now()
			return r, nil
		case late != nil || enough:
			return r, err
		}
	}
	return reconciler.Release{}, fmt.Errorf("resolve %s: %w", ref, errNotAsked)
}

var errNotAsked = errors.New("it was not asked")

// entry finds or makes what is known of a tag.
func (c *Client) entry(tag name.Tag) (*entry, error) { return c.entryOf(tag.Name(), tag) }

func (c *Client) entryOf(key string, tag name.Tag) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		return e, nil
	}
	if len(c.entries) >= maxEntries {
		return nil, fmt.Errorf("resolve %s: %d references are followed already", tag, maxEntries)
	}
	e := &entry{tag: tag, key: key, retired: strings.HasSuffix(key, retiredMark), rec: c.notes.get(key), wants: map[time.Duration]time.Time{}, names: map[string]bool{}, platforms: map[string]time.Time{}}
	c.entries[key] = e
	return e, nil
}

// nudge wakes Run.
func (c *Client) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// writtenRepository is the repository as the reference writes it: what people
// and the engine call it.
func writtenRepository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		ref = ref[:colon]
	}
	return ref
}
