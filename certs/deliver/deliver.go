// Package deliver brings a published pair to the other servers of a
// certificate and finds out whether they serve it: it has the directories
// written, tells a server to reload, by a signal or by Caddy's admin API, and
// believes only a handshake. What a server said about its reload counts for
// nothing. What the pair is, when there is a new one and what is said of it to
// whom is decided elsewhere; how a directory is written is in certs/store.
package deliver

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// Servers are the containers of the instances, as far as certificates go.
type Servers interface {
	// Signal sends a signal to every running container of a service that this
	// daemon owns, and returns how many there were.
	Signal(ctx context.Context, instance, service, signal string) (int, error)
	// Addresses are where the running containers of a service are reached from
	// this host.
	Addresses(ctx context.Context, instance, service string) ([]netip.Addr, error)
}

// Options are the settings of a Deliverer. The zero value of each is its default.
type Options struct {
	Servers Servers // nil: there are no containers
	// Dial connects to servers and admin APIs, at addresses, never at names;
	// nil: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Deliverer remembers what was proved of which server, in memory: after a
// restart of the daemon every server is asked first, and told to reload only
// when it has something else. Its methods may be called from many goroutines.
type Deliverer struct {
	opts Options

	mu   sync.Mutex
	dirs map[string]*directory
	seen map[identity]*server
}

// New returns a Deliverer.
func New(opts Options) *Deliverer {
	if opts.Dial == nil {
		opts.Dial = (&net.Dialer{}).DialContext
	}
	return &Deliverer{opts: opts, dirs: map[string]*directory{}, seen: map[identity]*server{}}
}

// Outcome is what came of one directory or one server.
type Outcome struct {
	// Target is what is shown. It is OK when the directory holds the pair, or
	// when a handshake showed that the server has it.
	Target reconciler.CertificateTarget
	// Changed says that something was written, or that the server was told to
	// reload, by this very call.
	Changed bool
	// Drift is what other hands had changed in a directory, and what is put
	// back; a renewal and the first delivery are none.
	Drift []store.Drift
	// Err is why Target is not OK. Its text is Target's message.
	Err error
}

// Deliver brings the pair to every directory and server of a certificate and
// returns what came of each, directories first, in the order of the
// specification. Where all is well it costs a look at the directories and, at
// times, a handshake; else it takes as long as the slowest server may
// (Reloader.Within). Call it again and again: what failed is tried again when
// enough time has passed, or at once when the pair or an address changed.
func (d *Deliverer) Deliver(ctx context.Context, instance string, spec desired.CertificateSpec, live pair.Pair) []Outcome {
	if live.IsZero() {
		return nil
	}
	out := make([]Outcome, 0, len(spec.Deliver)+len(spec.Reload))
	files := filesAsTheyWere
	for _, to := range spec.Deliver {
		o := d.write(to, live)
		out = append(out, o)
		files = files.and(o)
	}
	servers := make([]Outcome, len(spec.Reload))
	var wg sync.WaitGroup
	for i, r := range spec.Reload {
		wg.Go(func() { servers[i] = d.serve(ctx, instance, spec, r, live, files) })
	}
	wg.Wait()
	return append(out, servers...)
}

// files is what became of the directories in a call.
type files int

const (
	filesAsTheyWere files = iota
	filesWritten
	filesFailed // at least one, and none was written
)

func (f files) and(o Outcome) files {
	switch {
	case o.Changed:
		return filesWritten
	case o.Err != nil && f == filesAsTheyWere:
		return filesFailed
	}
	return f
}
