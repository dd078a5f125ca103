package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs/acme"
	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// atOnce is how many sources and servers are asked at a time, all certificates
// together.
const atOnce = 8

// hostPrefix begins the directories of hosts that name no certificate. No name
// of a certificate begins so.
const hostPrefix = "_"

var (
	_ reconciler.Certificates = (*Manager)(nil)

	validInstance = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
	validName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	validHost     = regexp.MustCompile(`^[A-Za-z0-9*:][A-Za-z0-9._:-]{0,253}$`)
)

// Manager keeps the certificates of all instances. Its methods may be called
// from many goroutines, also before Run.
type Manager struct {
	opts    Options
	acme    *acme.Manager
	deliver *deliver.Deliverer
	clock   *clock
	counts  counts
	wake    chan struct{}
	slots   chan struct{} // one for each source or server that is asked

	served atomic.Pointer[map[ident]*certificate]

	mu   sync.Mutex // guards what follows
	want map[string]reconciler.WantedCertificates
	all  map[ident]*certificate // also those that are wanted no more and still at work
	runs bool
}

// ident names a certificate: of the desired state by its name, or by the host
// that names none.
type ident struct {
	instance, name string
	host           bool
}

func (i ident) folder() string {
	if i.host {
		return hostPrefix + i.name
	}
	return i.name
}

// path is where it lies below Options.Dir, and its name in Memory.
func (i ident) path() string { return i.instance + "/" + i.folder() }

// request is what an order by ACME is called: one name a daemon. No name of an
// instance has a dot.
func (i ident) request() string { return i.instance + "." + i.name }

func (i ident) check() error {
	valid := validName
	if i.host {
		valid = validHost
	}
	if !validInstance.MatchString(i.instance) || !valid.MatchString(i.name) {
		return fmt.Errorf("keep certificate %q of instance %q: the name cannot be that of a directory", i.name, i.instance)
	}
	return nil
}

// New returns a Manager. It reads nothing, writes nothing and asks nobody.
func New(o Options) *Manager {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(quiet)
	}
	m := &Manager{
		opts: o, clock: newClock(o.Memory), counts: newCounts(), wake: make(chan struct{}, 1), slots: make(chan struct{}, atOnce),
		want: map[string]reconciler.WantedCertificates{}, all: map[ident]*certificate{}, deliver: newDeliverer(o.Servers),
	}
	m.served.Store(&map[ident]*certificate{})
	m.acme = newACME(m)
	return m
}

// Run keeps the certificates until ctx ends. The clock on the wall is read anew
// each time: a timer for the date of a renewal would sleep over a suspended
// machine. It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.runs {
		m.mu.Unlock()
		return errors.New("keep certificates: that is done already")
	}
	m.runs = true
	m.mu.Unlock()
	tick := time.NewTicker(m.opts.Every)
	defer tick.Stop()
	var workers sync.WaitGroup
	defer workers.Wait()
	var acmeErr error
	workers.Go(func() { acmeErr = m.acme.Run(ctx) })
	for ctx.Err() == nil {
		m.pass(ctx, &workers)
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-m.wake:
		}
	}
	workers.Wait()
	return acmeErr
}

// pass has every certificate looked at that nobody is at work on.
func (m *Manager) pass(ctx context.Context, workers *sync.WaitGroup) {
	m.clock.look(m.now(), m.reportAll)
	for _, c := range m.every() {
		if c.begin() {
			workers.Go(func() {
				defer c.end()
				c.look(ctx)
			})
		}
	}
}

func (m *Manager) every() []*certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.all))
}

// trigger has the loop look now. It carries nothing.
func (m *Manager) trigger() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// now is the time on the wall. The monotonic clock stands still while a machine
// is suspended.
func (m *Manager) now() time.Time { return m.opts.Now().Round(0).UTC() }

// Set says which certificates an instance wants until the next Set. What is
// wanted no more is served no more; its files stay.
func (m *Manager) Set(instance string, want reconciler.WantedCertificates) {
	want.ByName, want.Hosts = maps.Clone(want.ByName), slices.Clone(want.Hosts)
	m.mu.Lock()
	defer m.mu.Unlock()
	if had, known := m.want[instance]; known && reflect.DeepEqual(had, want) {
		return
	}
	m.want[instance] = want
	specs := map[ident]desired.CertificateSpec{}
	for name, spec := range want.ByName {
		specs[ident{instance, name, false}] = spec
	}
	for _, host := range want.Hosts {
		specs[ident{instance, host, true}] = desired.CertificateSpec{Domains: []string{host}}
	}
	for id, spec := range specs {
		if m.all[id] == nil {
			m.all[id] = newCertificate(m, id)
		}
		m.all[id].set(spec, want.Commit)
	}
	for id, c := range m.all {
		if _, wanted := specs[id]; id.instance == instance && !wanted {
			c.forget()
		}
	}
	m.publishIndex()
	m.trigger()
}

// publishIndex makes what is wanted what handshakes find. m.mu is held.
func (m *Manager) publishIndex() {
	index := map[ident]*certificate{}
	for id, c := range m.all {
		if !c.gone() {
			index[id] = c
		}
	}
	m.served.Store(&index)
}

// retire removes a certificate that is wanted no more, once nobody is at work
// on it.
func (m *Manager) retire(c *certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.gone() && m.all[c.id] == c {
		delete(m.all, c.id)
	}
}

// Certificate is what a handshake shows: of a name, or the self-signed one of a
// host that names none. live says that it is real and valid now. It takes no
// lock, except to read from the disk once after a start.
func (m *Manager) Certificate(instance, name, host string) (c *tls.Certificate, live bool, err error) {
	id := ident{instance, name, false}
	if name == "" {
		id = ident{instance, host, true}
	}
	cert := (*m.served.Load())[id]
	if cert == nil {
		return nil, false, fmt.Errorf("serve certificate: instance %s has no %s", instance, id.folder())
	}
	s := cert.serving()
	if s == nil {
		return nil, false, fmt.Errorf("serve certificate: there is none yet for %s of instance %s", id.folder(), instance)
	}
	return s.tls, s.real && s.validAt(m.opts.Now()), nil
}

// Certificates tells of the certificates of an instance, in order of name.
func (m *Manager) Certificates(instance string) []reconciler.CertificateStatus {
	var all []reconciler.CertificateStatus
	for id, c := range *m.served.Load() {
		if id.instance == instance {
			all = append(all, c.told())
		}
	}
	slices.SortFunc(all, func(a, b reconciler.CertificateStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// find returns a certificate of the desired state, or of a host that names none.
func (m *Manager) find(instance, name string) (*certificate, error) {
	index := *m.served.Load()
	if c := index[ident{instance, name, false}]; c != nil {
		return c, nil
	}
	if c := index[ident{instance, name, true}]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("instance %s has no certificate %s", instance, name)
}

// HTTPHandler answers the HTTP-01 challenges of ACME, and 404 to anything else.
func (m *Manager) HTTPHandler() http.Handler { return m.acme.HTTPHandler() }

// ChallengeCertificate is what a client that proves a name by TLS-ALPN-01 is
// shown; the second result is false for every other client.
func (m *Manager) ChallengeCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, bool) {
	return m.acme.ChallengeCertificate(hello)
}

// NeedsChallenges reports whether an authority comes to ports 80 or 443 to prove
// a name of some wanted certificate.
func (m *Manager) NeedsChallenges() bool {
	for _, c := range *m.served.Load() {
		if spec, _ := c.wanted(); spec.ACME != nil && needsFront(spec.ACME) {
			return true
		}
	}
	return false
}

// reportAll tells people of all instances.
func (m *Manager) reportAll(reason, message string) {
	m.mu.Lock()
	all := slices.Sorted(maps.Keys(m.want))
	m.mu.Unlock()
	for _, instance := range all {
		m.report(instance, reason, message)
	}
}

// report tells people what happened, once.
func (m *Manager) report(instance, reason, message string) {
	m.opts.Log.WithFields(logrus.Fields{"instance": instance, "reason": reason}).Info("certs: " + message)
	if m.opts.Event != nil {
		m.opts.Event(instance, reason, message)
	}
}

func newDeliverer(s Servers) *deliver.Deliverer {
	if s == nil { // which is not a nil of the other interface
		return deliver.New(deliver.Options{})
	}
	return deliver.New(deliver.Options{Servers: s})
}
