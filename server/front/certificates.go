package front

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

// certificatesEvery is how often what is known of every route's certificate is
// asked again: a connection that stays open must not keep a header that its
// certificate has lost the right to.
const certificatesEvery = 10 * time.Second

// Certificates says what a host is served with.
type Certificates interface {
	// Certificate returns the certificate of a host. The name is the one that
	// its route has in the desired state of the instance; empty: it has none.
	// It is called in every full handshake, from many goroutines, and now and
	// then without one: it must answer from memory, or nearly so.
	Certificate(instance, name, host string) (Certificate, error)
}

// Certificate is a chain with its key.
type Certificate struct {
	*tls.Certificate
	// Live says that clients trust it now. Without that it is served without
	// HSTS, which would lock people out.
	Live bool
}

// none is what a Front without Certificates has.
type none struct{}

func (none) Certificate(string, string, string) (Certificate, error) {
	return Certificate{}, errors.New("there are no certificates")
}

// ask returns the certificate of a route, and remembers whether it is live.
func (f *Front) ask(rt *route) (Certificate, error) {
	c, err := f.opts.Certificates.Certificate(rt.instance, rt.state.Load().Certificate, rt.host)
	if err == nil {
		rt.live.Store(c.Live)
	}
	return c, err
}

func (f *Front) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(certificatesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, rt := range f.table.Load().hosts {
			_, _ = f.ask(rt) // who keeps them reports what is wrong
		}
	}
}
