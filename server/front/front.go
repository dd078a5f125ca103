package front

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
)

// Options are the settings of a Front. The zero value of each is its default.
type Options struct {
	Log *logrus.Entry // nil: nothing is logged
	// Certificates says which certificate a host is served with; nil: no host
	// has one.
	Certificates Certificates
	// ACME answers /.well-known/acme-challenge/ on the plain listener.
	ACME http.Handler
	// ACMECertificate answers clients that offer acme-tls/1 alone (RFC 8737):
	// its second result says whether a client is one of them. nil: there are none.
	ACMECertificate func(*tls.ClientHelloInfo) (*tls.Certificate, bool)
	// TrustedProxies are the peers whose X-Forwarded-* headers are believed, and
	// who may open as many connections as there may be: they speak for many clients.
	TrustedProxies []netip.Prefix
	// AccessEvery logs one in so many requests, and every answer from 500 on;
	// 0 logs none.
	AccessEvery int
	// HTTPSPort is where plain HTTP is redirected to; 443.
	HTTPSPort int

	// MaxConns is how many connections one listener has open at a time; 10,000.
	// Those beyond it are closed as soon as they come.
	MaxConns int
	// MaxConnsPerClient is how many of them one client may have, which is an IPv4
	// address or the first 64 bits of an IPv6 address; 5,000. Half of them may
	// be such as have asked nothing yet. A whole office may stand behind one
	// address, and each request that is held takes a connection of HTTP/1.1. As
	// many as MaxConns, or more: nothing is counted by client.
	MaxConnsPerClient int

	MaxHeld        int   // requests held at a time; 10,000
	MaxHeldRoute   int   // of one host; 4,000, which is 20 s of 200 requests a second
	MaxHeldBytes   int64 // what the held requests may take, with what comes in of their bodies; 256 MiB
	MaxHeaderBytes int   // of one request; 64 KiB

	ReadHeaderTimeout time.Duration // also of a TLS handshake; 10 s
	IdleTimeout       time.Duration // of a client's connection between requests; 2 min
	DialTimeout       time.Duration // of a connection to a container; 3 s
	// BackendIdle is how long an unused connection to a container is kept. The
	// default of 1.5 s is below what application servers grant (gunicorn 2 s,
	// uvicorn and Node 5 s), so that no request is written to a connection
	// that the application is about to close.
	BackendIdle time.Duration
	// ResponseTimeout bounds the wait for the headers of an answer; 0: as long
	// as the client waits.
	ResponseTimeout time.Duration
	// StartGrace is how long hosts that are not known yet wait for Ready; 30 s.
	StartGrace time.Duration
	// ShutdownTimeout is how long requests in flight may take once Run's
	// context has ended; 10 s.
	ShutdownTimeout time.Duration
}

func or[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

func (o *Options) fill() {
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = logrus.NewEntry(l)
	}
	if o.Certificates == nil {
		o.Certificates = none{}
	}
	or(&o.HTTPSPort, 443)
	or(&o.MaxConns, 10_000)
	or(&o.MaxConnsPerClient, 5_000)
	or(&o.MaxHeld, 10_000)
	or(&o.MaxHeldRoute, 4_000)
	or(&o.MaxHeldBytes, 256<<20)
	or(&o.MaxHeaderBytes, 64<<10)
	or(&o.ReadHeaderTimeout, 10*time.Second)
	or(&o.IdleTimeout, 2*time.Minute)
	or(&o.DialTimeout, 3*time.Second)
	or(&o.BackendIdle, 1500*time.Millisecond)
	or(&o.StartGrace, 30*time.Second)
	or(&o.ShutdownTimeout, 10*time.Second)
}

// Front is the proxy. Its methods may be called from several goroutines, also
// before and after Run.
type Front struct {
	opts       Options
	log        *logrus.Entry
	table      atomic.Pointer[table]
	ready      chan struct{}
	readyOnce  sync.Once
	ctx        context.Context // of what endpoints do in the background
	stop       context.CancelFunc
	exchanges  sync.Pool
	buffers    buffers
	total      totals
	served     atomic.Uint64 // requests, for the sampling of the access log
	leaving    atomic.Bool   // Run's context has ended
	complained atomic.Int64  // when the log said last that there are too many connections, in ns

	mu        sync.Mutex // guards what follows, and the queues of the routes
	instances map[string]*instance
	held      int
	heldBytes int64
	stopping  bool // nothing is held any more
}

var _ reconciler.Traffic = (*Front)(nil)

// New returns a Front that serves nothing yet.
func New(opts Options) *Front {
	opts.fill()
	f := &Front{opts: opts, log: opts.Log, ready: make(chan struct{}), instances: map[string]*instance{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.table.Store(&table{next: make(chan struct{})})
	f.exchanges.New = func() any { return newExchange(f) }
	return f
}

// Ready says that every instance has been Set, so that a host which is not
// known now does not exist. It may be called again.
func (f *Front) Ready() { f.readyOnce.Do(func() { close(f.ready) }) }
