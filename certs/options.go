package certs

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs/source"
)

// Servers are the containers of the instances, as far as certificates go.
// reconciler/docker implements it.
type Servers interface {
	// Signal sends a signal to every running container of a service that this
	// daemon owns, and returns how many there were.
	Signal(ctx context.Context, instance, service, signal string) (int, error)
	// Addresses are where the running containers of a service are reached from
	// this host.
	Addresses(ctx context.Context, instance, service string) ([]netip.Addr, error)
}

// Memory keeps what has to outlive the daemon beside the store: when a source
// was asked and failed, what was refused. Nothing in it is secret.
// reconciler.Store gives one, Notebook.
type Memory interface {
	// Get returns what was put last under a key; nil when nothing was.
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// Options are the settings of a Manager. Dir, Fetch and Memory are required;
// the zero value of every other one is its default.
type Options struct {
	// Dir holds INSTANCE/NAME/ for every certificate, and acme/ below .acme.
	Dir    string
	Fetch  *source.Fetcher
	Memory Memory
	// Servers are signalled and asked for their addresses; nil: there are none.
	Servers Servers
	// CAFile is a PEM bundle that chains may end at, beside the system's roots
	// and those of a certificate's own CA. It is read again for every check.
	CAFile string
	// Seed makes a fleet renew at different times; the host's name for one.
	Seed string
	// Event is told what people may want to know; nil: nobody is.
	Event func(instance, reason, message string)
	// AllowHost and Proxy bound what ACME may ask, as Fetch bounds the rest.
	AllowHost func(host string) error
	Proxy     func(*http.Request) (*url.URL, error)

	Every time.Duration    // between two looks at the clock; 10 s
	Now   func() time.Time // nil: time.Now
	Log   *logrus.Entry    // nil: nothing is logged

	step func(string) // told before each thing that is done to the disk; for tests
}
