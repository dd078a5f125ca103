package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// certificate is one of an instance. What is under work belongs to whoever holds
// it: one goroutine at a time, which may be at it for as long as a source or a
// server takes to answer.
type certificate struct {
	m   *Manager
	id  ident
	dir string

	live atomic.Pointer[served] // what handshakes show; nil: nothing

	opening sync.Mutex // guards the store while it is opened
	opened  atomic.Bool

	mu     sync.Mutex // guards what follows, for moments
	spec   desired.CertificateSpec
	hash   string
	commit string
	left   bool // wanted no more
	status reconciler.CertificateStatus

	work chan struct{} // capacity 1; guards everything that follows
	state
}

// state is what a certificate knows between two looks.
type state struct {
	store   *store.Store
	memo    memo
	saved   []byte // the memo as it was put last; nil: it was not read yet
	fresh   bool   // what was refused is looked at again, once in a process
	staged  *candidate
	request string   // hash of the spec that the signing request was made for
	ordered string   // orderKey of what was handed to ACME
	key     []byte   // that the source gave last, or nil
	advice  []string // of the source: what works and should not stay so

	asked     time.Time // when the source answered last
	restored  time.Time // when the disk was compared last
	wakes     time.Time // when the loop is woken to ask the source
	delivered delivered
	skew      time.Duration   // of this host's clock against the source's
	troubles  map[step]string // of this host, by what was tried
}

// candidate is what a source or an authority gave, not checked yet.
type candidate struct {
	pair.Candidate
	origin     store.Origin
	chain, key source.Version // of what it was made of
	from       time.Time      // when it is staged: until then
}

// served is a pair as handshakes need it.
type served struct {
	tls                 *tls.Certificate
	notBefore, notAfter time.Time
	real                bool
	leaf                string
	generation          int
}

func (s *served) validAt(t time.Time) bool { return !t.Before(s.notBefore) && !t.After(s.notAfter) }

func newCertificate(m *Manager, id ident) *certificate {
	c := &certificate{m: m, id: id, dir: filepath.Join(m.opts.Dir, id.instance, id.folder()), work: make(chan struct{}, 1)}
	c.troubles, c.fresh = map[step]string{}, true
	return c
}

// set says what is wanted now.
func (c *certificate) set(spec desired.CertificateSpec, commit string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spec, c.hash, c.commit, c.left = spec, spec.Hash(), commit, false
	c.status.Name, c.status.Domains, c.status.Source = c.id.name, spec.Domains, sourceOf(spec)
	if c.status.Phase == "" {
		c.status.Phase, c.status.Since = reconciler.CertificatePending, c.m.now()
	}
}

// forget says that it is wanted no more.
func (c *certificate) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
}

func (c *certificate) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

func (c *certificate) wanted() (spec desired.CertificateSpec, hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spec, c.hash
}

func (c *certificate) told() reconciler.CertificateStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// begin takes the work if nobody is at it.
func (c *certificate) begin() bool {
	select {
	case c.work <- struct{}{}:
		return true
	default:
		return false
	}
}

func (c *certificate) end() { <-c.work }

// await takes the work when whoever is at it has ended.
func (c *certificate) await(ctx context.Context) error {
	select {
	case c.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for certificate %s: %w", c.id.path(), ctx.Err())
	}
}

// serving is what handshakes show. The first one after a start may come before
// the first look: it has what lies on disk.
func (c *certificate) serving() *served {
	if s := c.live.Load(); s != nil || c.opened.Load() {
		return s
	}
	_ = c.open() // the look tells of the error
	return c.live.Load()
}

// open reads the store and serves what is there. It does so once, and again
// after an error.
func (c *certificate) open() error {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.opened.Load() {
		return nil
	}
	if c.gone() {
		return errors.New("it is wanted no more")
	}
	if err := c.id.check(); err != nil {
		return err
	}
	if err := c.makeWay(); err != nil {
		return err
	}
	spec, _ := c.wanted()
	s, repairs, err := store.Open(c.dir, store.Options{Keep: spec.Keep, Now: c.m.opts.Now, Step: c.m.opts.step})
	if err != nil {
		return err
	}
	c.store = s
	if g, any := s.Current(); any {
		c.serve(g)
	}
	c.opened.Store(true)
	c.drifted("", repairs)
	return nil
}

// makeWay makes the directories above. Nobody but the daemon has to get through:
// what is mounted into a container needs no way to it.
func (c *certificate) makeWay() error {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o700); err != nil {
		return fmt.Errorf("make directory of certificates: %w", err)
	}
	return nil
}

// close lets go of the store of a certificate that is wanted no more.
func (c *certificate) close() error {
	c.opening.Lock()
	defer c.opening.Unlock()
	if !c.opened.Load() {
		return nil
	}
	c.opened.Store(false)
	c.live.Store(nil)
	s := c.store
	c.state = state{fresh: true, troubles: map[step]string{}}
	return s.Close()
}

// serve swaps what handshakes show. It is on disk already.
func (c *certificate) serve(g store.Generation) {
	leaf := g.Pair.Leaf()
	c.live.Store(&served{
		tls: g.Pair.TLS(), notBefore: leaf.NotBefore, notAfter: leaf.NotAfter, real: !g.Pair.SelfSigned(),
		leaf: pair.Fingerprint(leaf), generation: g.Number,
	})
}

// tell reports something that happened to the certificate.
func (c *certificate) tell(reason, format string, args ...any) {
	c.m.report(c.id.instance, reason, fmt.Sprintf("certificate %s: ", c.id.name)+fmt.Sprintf(format, args...))
}

// tellOnce reports it unless the mark is that of the last report of its kind, also by
// an earlier process. Empty says that it is over.
func (c *certificate) tellOnce(kind, reason, mark, message string) {
	if c.memo.Reported[kind] == mark {
		return
	}
	if mark == "" {
		delete(c.memo.Reported, kind)
		return
	}
	c.memo.Reported[kind] = mark
	c.tell(reason, "%s", message)
}
